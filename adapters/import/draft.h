/* Events whose bytes are the same at every run: what is imported twice is once in the log.
 *
 * An event carries a random salt, so that its hash tells nothing once its content is erased. A salt drawn anew at every
 * run would make other bytes of the same id (ID_CONFLICT). So the salt is derived from the id under a random key that
 * stays beside the adapter: to everybody else it is as good as random. */
#ifndef TRUC_IMPORT_DRAFT_H
#define TRUC_IMPORT_DRAFT_H

#include "adapters/draft/key.h"
#include "truc/event.h"

#include <protobuf-c/protobuf-c.h>

/* What an event is made of; all borrowed. */
struct import_draft {
    struct truc_bytes id, source, type, subject, recipients; /* the last two may be empty */
    bool has_time, has_expires;
    int64_t time_us, expires_us;
    struct truc_bytes data;
    bool data_is_json; /* text_data application/json; otherwise binary_data application/protobuf */
};

/* Appends the encoded event. Errors: TRUC_E_INVALID (breaks a rule of events), TRUC_E_TOO_LARGE, TRUC_E_NOMEM. */
TRUC_MUST_USE truc_error import_event_make(const struct import_draft *draft, const struct draft_key *key,
                                           struct truc_buffer *out);

/* Writes `text` into the field at a dotted path of a message, making the messages on the way in `arena` (truc/frame.h).
 * Numbers are decimal, enums a value's name (with or without its common prefix) or number, booleans true or false,
 * bytes hex. Errors: TRUC_E_NOT_FOUND (no such path, or it goes through a repeated field), TRUC_E_MALFORMED (not a
 * value of the field's type), TRUC_E_NOMEM, TRUC_E_TOO_LARGE. */
struct truc_arena;
TRUC_MUST_USE truc_error import_field_set(ProtobufCMessage *message, const char *path, struct truc_bytes text,
                                          struct truc_arena *arena);
/* Whether a path leads to a field that can be set. */
bool import_field_exists(const ProtobufCMessageDescriptor *descriptor, const char *path);
/* A message of the type with every field at its default, in the arena; NULL beyond its limit. */
ProtobufCMessage *import_message_new(const ProtobufCMessageDescriptor *descriptor, struct truc_arena *arena);
TRUC_MUST_USE truc_error import_message_pack(const ProtobufCMessage *message, struct truc_buffer *out);

#endif
