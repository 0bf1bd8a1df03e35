/* The data of typed events: dossier, land and construction, version 1 (dossier.proto, land.proto, construction.proto).
 * Pure: no allocation, no recursion beyond the schemas' own depth. */
#ifndef TRUC_PAYLOAD_H
#define TRUC_PAYLOAD_H

#include "truc/event.h"

#define TRUC_PAYLOAD_CONTENT_TYPE "application/protobuf"

/* Checks an event's data against the schema of its type. Types that this version does not know pass: the hub carries
 * what the agencies agree on. For a known type: binary_data with datacontenttype application/protobuf; every field
 * known, of its wire type and once; UTF-8 without NUL; only known enum values; one member of a oneof; no varint longer
 * than needed; the fields that the type needs are there (proto3: neither empty nor 0); codes and dates in their
 * grammar. `why` (may be NULL) gets a sentence for the sender that quotes no value. Errors: TRUC_E_MALFORMED. */
TRUC_MUST_USE truc_error truc_payload_check(struct truc_bytes type, enum truc_data_kind kind, struct truc_bytes data,
                                            struct truc_bytes content_type, char why[256]);

/* "<agency>-<yymmdd or yyyymmdd>-<4 to 7 digits>" (Decree 61/2018, article 26), the date one of the calendar. */
bool truc_dossier_code_is_valid(struct truc_bytes code);
/* yyyymmdd, a day of the calendar. */
bool truc_day_is_valid(struct truc_bytes day);

/* The schema of a type, a `const ProtobufCMessageDescriptor *`; NULL for an unknown type. Static storage. */
struct ProtobufCMessageDescriptor;
const struct ProtobufCMessageDescriptor *truc_payload_descriptor(struct truc_bytes type);
/* All known types in a fixed order; NULL behind the last one. */
const char *truc_payload_type(size_t index);

#endif
