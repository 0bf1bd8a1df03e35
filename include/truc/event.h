/* CloudEvents 1.0 in their protobuf format: read without unpacking, written into a buffer.
 *
 * Truc reads these attributes (PROTOCOL.md, "Events"); all others travel untouched:
 *   id source specversion type         required by CloudEvents
 *   subject     what the event is about (a dossier code): order is kept per (recipient, subject)
 *   time        when it happened
 *   recipients  agency codes and @groups separated by commas; absent: the topic's subscribers
 *   expires     timestamp; not delivered afterwards
 *   salt        16 random bytes, required: the event's hash tells nothing once its content is erased
 *   blob        digest of an attachment, refused until the hub can hold attachments
 * `source` is "urn:truc:" agency code, alone or followed by ":" and what the agency likes. */
#ifndef TRUC_EVENT_H
#define TRUC_EVENT_H

#include "truc/crypto.h"

#define TRUC_EVENT_MAX (1u << 20) /* bytes of an encoded event, the default limit and the hard one */
#define TRUC_EVENT_ATTRIBUTES_MAX 64
#define TRUC_ID_MAX 255 /* bytes: id, type, subject */
#define TRUC_SOURCE_MAX 512
#define TRUC_RECIPIENTS_MAX 2048 /* bytes of the attribute; at most TRUC_RECIPIENTS_COUNT entries */
#define TRUC_RECIPIENTS_COUNT 64
#define TRUC_AGENCY_MAX 35 /* Decision 20/2020/QD-TTg */
#define TRUC_SALT_SIZE 16

#define TRUC_TYPE_GOVERNANCE "truc.governance.v1"
#define TRUC_TYPE_DELIVERY_RECEIPT "truc.delivery-receipt.v1"
#define TRUC_TYPE_RECALL "truc.recall.v1"
#define TRUC_SOURCE_PREFIX "urn:truc:"

/* 1 to 35 of A-Z 0-9 in groups joined by single dots. The older leaf-first form (000.00.12.H62) is valid too. */
bool truc_agency_is_valid(struct truc_bytes code);
/* Normalises: a code of the older form, all-numeric groups before a last group that begins with a letter, is turned
 * round and loses its 000/00 filling: 000.00.12.H62 becomes H62.12. `out` has TRUC_AGENCY_MAX + 1 bytes.
 * Errors: TRUC_E_MALFORMED. */
TRUC_MUST_USE truc_error truc_agency_normalise(struct truc_bytes code, char *out);
/* Event type: 1 to 255 of a-z 0-9 . - _ ; a pattern may end in '*'. */
bool truc_type_is_valid(struct truc_bytes type);
bool truc_type_pattern_is_valid(struct truc_bytes pattern);
bool truc_type_matches(struct truc_bytes pattern, struct truc_bytes type);

enum truc_value_kind {
    TRUC_VALUE_BOOLEAN = 1,
    TRUC_VALUE_INTEGER = 2,
    TRUC_VALUE_STRING = 3,
    TRUC_VALUE_BYTES = 4,
    TRUC_VALUE_URI = 5,
    TRUC_VALUE_URI_REF = 6,
    TRUC_VALUE_TIMESTAMP = 7,
};

struct truc_attribute {
    struct truc_bytes name;
    enum truc_value_kind kind;
    struct truc_bytes text; /* string, bytes, uri, uri_ref */
    int64_t number;         /* boolean, integer; timestamp in microseconds */
};

enum truc_data_kind { TRUC_DATA_NONE = 0, TRUC_DATA_BINARY = 6, TRUC_DATA_TEXT = 7, TRUC_DATA_PROTO = 8 };

/* What was read; every view borrows from the event's bytes. */
struct truc_event {
    struct truc_bytes id, source, spec_version, type;
    struct truc_bytes subject, recipients, salt, blob; /* empty where absent */
    bool has_time, has_expires, has_blob;
    int64_t time_us, expires_us;
    enum truc_data_kind data_kind;
    struct truc_bytes data;      /* for TRUC_DATA_PROTO the encoded google.protobuf.Any */
    struct truc_bytes data_type; /* datacontenttype */
    size_t attribute_count;
    struct truc_attribute attributes[TRUC_EVENT_ATTRIBUTES_MAX]; /* all of them, in the order of the wire */
};

/* Reads and validates: wire format, UTF-8 of strings, required attributes, names (a-z0-9, 1 to 20), lengths above, no
 * attribute twice, no field twice, salt of 16 bytes, recipients well formed. No allocation.
 * Stricter than protobuf, so that no two readers can take the same bytes for different events, and nothing travels that
 * was not read: unknown fields, varints that are not in their shortest form, an attribute value without or with two
 * kinds, control characters in id, source and attribute texts (U+0000-1F, 7F-9F), and attributes named as the event's
 * own fields (id, source, specversion, type, data) are malformed too.
 * Errors: TRUC_E_MALFORMED (lengths of parts included), TRUC_E_TOO_LARGE (the whole over TRUC_EVENT_MAX). */
TRUC_MUST_USE truc_error truc_event_parse(struct truc_bytes bytes, struct truc_event *out);
/* The agency code inside a source, or an empty view where the source is not of Truc's form. */
struct truc_bytes truc_source_agency(struct truc_bytes source);
/* Calls for the recipients attribute in order; `*at` starts at 0. false at the end. */
bool truc_recipients_next(struct truc_bytes recipients, size_t *at, struct truc_bytes *out);
/* The form of a recipients attribute: 1 to TRUC_RECIPIENTS_COUNT agency codes and @group names, joined by ','. */
bool truc_recipients_are_valid(struct truc_bytes recipients);

/* Appends the encoded event to `out`: fields and attributes exactly as in `event` (attributes[] rules; the convenience
 * members subject, time ... are not looked at; an empty spec_version is written as "1.0"). What truc_event_parse would
 * refuse, a missing salt included, is TRUC_E_INVALID and leaves `out` as it was.
 * Errors: TRUC_E_INVALID, TRUC_E_TOO_LARGE, TRUC_E_NOMEM. */
TRUC_MUST_USE truc_error truc_event_encode(const struct truc_event *event, struct truc_buffer *out);
/* The same; `*read` is what truc_event_parse makes of what was written, borrowed from `out` until that changes. */
TRUC_MUST_USE truc_error truc_event_encode_read(const struct truc_event *event, struct truc_buffer *out,
                                                struct truc_event *read);
/* Adds one attribute; name and texts are borrowed until encode. The event starts as zeros, at least up to attributes[].
 * Errors: TRUC_E_INVALID (name, kind or value, or a name that is there already), TRUC_E_TOO_LARGE (too many). */
TRUC_MUST_USE truc_error truc_event_set_text(struct truc_event *event, const char *name, struct truc_bytes value);
TRUC_MUST_USE truc_error truc_event_set_bytes(struct truc_event *event, const char *name, struct truc_bytes value);
TRUC_MUST_USE truc_error truc_event_set_time(struct truc_event *event, const char *name, int64_t time_us);

/* Idempotency key: first 16 bytes of SHA-256 over the three parts, each behind its 4-byte big-endian length. */
void truc_event_key(struct truc_bytes sender, struct truc_bytes source, struct truc_bytes id, uint8_t out[16]);
/* First 8 bytes of SHA-256(subject) as a big-endian number, never 0; 0 for an empty subject. */
uint64_t truc_subject_hash(struct truc_bytes subject);

/* CloudEvents JSON format (one object): NDJSON lines, the folder adapter. Attributes that JSON cannot carry keep their
 * string forms (RFC 3339 for time and expires, base64 for salt). from_json makes salt and id where absent.
 * "data" of a JSON datacontenttype (or none) becomes text as it was written but for white space; a string without a
 * datacontenttype, or with another one, is the text itself; "data_base64" becomes binary_data. to_json is one line;
 * JSON text that does not parse, binary and proto data (the encoded Any) go as "data_base64". Errors: TRUC_E_MALFORMED
 * with a sentence in `why` (may be NULL) that quotes no values; TRUC_E_NOMEM, TRUC_E_CRYPTO. */
TRUC_MUST_USE truc_error truc_event_from_json(struct truc_bytes json, struct truc_buffer *out, char why[256]);
/* What an event gets where the object does not have it (absent, or null); empty views: nothing, id and salt as above.
 * The salt has TRUC_SALT_SIZE bytes. For adapters that must make the same bytes of the same text again. */
struct truc_event_defaults {
    struct truc_bytes id, source, type, recipients, salt;
};
TRUC_MUST_USE truc_error truc_event_from_json_with(struct truc_bytes json, const struct truc_event_defaults *defaults,
                                                   struct truc_buffer *out, char why[256]);
TRUC_MUST_USE truc_error truc_event_to_json(const struct truc_event *event, struct truc_buffer *out);

/* RFC 3339, e.g. 2026-11-22T09:30:00.250000+07:00; an offset is required. Errors: TRUC_E_MALFORMED. */
TRUC_MUST_USE truc_error truc_time_parse(struct truc_bytes text, int64_t *out_us);
/* UTC with as many fractional digits as needed (0, 3 or 6) and "Z"; out has 40 bytes. */
void truc_time_format(int64_t time_us, char out[40]);

#endif
