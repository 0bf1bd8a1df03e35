/* JSON text as it stands: what an agency wrote inside "data" is carried as it was written, so it is cut out and joined,
 * never parsed into numbers and printed again. Shared by the reader and the writer of events' JSON. */
#ifndef TRUC_PROTO_JSON_TEXT_H
#define TRUC_PROTO_JSON_TEXT_H

#include "truc/event.h"

/* The text of a member of an object that jansson has found well formed; `quoted_key` with its quotes. false: not there
 * under this spelling (a key may be written with escapes). */
bool truc_json_member(struct truc_bytes json, const char *quoted_key, struct truc_bytes *out);
/* Appends well-formed JSON without the white space between its tokens: one line, and nothing else is changed.
 * Errors: TRUC_E_NOMEM. */
TRUC_MUST_USE truc_error truc_json_append_minified(struct truc_bytes json, struct truc_buffer *out);
/* application/json, text/json, anything+json, with or without parameters. */
bool truc_type_is_json(struct truc_bytes type);
/* datacontenttype from the event's attributes (of an event that is being made, whose data_type is not set yet); empty
 * where absent. */
struct truc_bytes truc_event_declared_type(const struct truc_event *event);

#endif
