/* A map: how the columns of a table become events. YAML; every mistake is said with its line.
 *
 *   source: "desk:wabo"          source = urn:truc:<agency>:<this>
 *   delimiter: ","
 *   offset: "+07:00"             of times that are written without one
 *   id: "{concept:instance}"     what follows are templates (template.h); the id must name the event for ever
 *   subject: "{agency}-{case:startdate|day}-{case:concept:name|digits:7}"
 *   time: "{time:timestamp}"
 *   recipients:                  first that matches the type; none: the topic's subscribers
 *     - "vn.truc.dossier.transferred.v1 = H14.11,H14.13"
 *     - "* = H14.11"
 *   rules:                       TYPE [at TEMPLATE] [when TEMPLATE is [not] PATTERN [and ...]]
 *     - "vn.truc.dossier.accepted.v1 when {concept:name} is T04*"
 *     - "vn.truc.dossier.processing-finished.v1 at {closed_dt} when {closed_dt} is not empty"
 *   fields:                      TYPE-PATTERN: PATH = TEMPLATE; an empty value sets nothing
 *     - "*: dossier.code = {subject}"
 *   tables:                      TABLE: KEY = VALUE; KEY * is every other
 *     - "channel: Internet = ONLINE"
 *
 * Every rule that a row meets makes one event; where that can be several, the id must hold {type}. PATTERN may end in
 * '*'; `empty` is the empty text. */
#ifndef TRUC_IMPORT_MAP_H
#define TRUC_IMPORT_MAP_H

#include "adapters/import/template.h"

#include <protobuf-c/protobuf-c.h>

#define IMPORT_CONDITIONS_MAX 4

struct import_condition {
    struct import_template value;
    bool negated;
    char *pattern;
};

struct import_rule {
    char *type;
    const ProtobufCMessageDescriptor *descriptor;
    struct import_template at; /* count 0: the map's time */
    size_t condition_count;
    struct import_condition conditions[IMPORT_CONDITIONS_MAX];
};

struct import_field {
    char *types, *path;
    struct import_template value;
};

struct import_recipients {
    char *types, *recipients;
};

struct import_map {
    char *source;
    char delimiter;
    int32_t offset_minutes;
    struct import_template id, subject, time;
    struct import_rule *rules;
    size_t rule_count;
    struct import_field *fields;
    size_t field_count;
    struct import_recipients *recipients;
    size_t recipient_count;
    struct import_entry *entries;
    size_t entry_count;
};

/* Reads and checks a map: types have a schema, paths lead to fields. Appends what is wrong to `why`, one a line.
 * Errors: TRUC_E_CONFIG, TRUC_E_IO, TRUC_E_NOMEM. */
TRUC_MUST_USE truc_error import_map_load(const char *path, struct import_map **out, struct truc_buffer *why);
TRUC_MUST_USE truc_error import_map_read(const char *name, struct truc_bytes text, struct import_map **out,
                                         struct truc_buffer *why);
void import_map_free(struct import_map **map);
/* Binds all templates to a header. Errors: TRUC_E_CONFIG with the missing column in `why`. */
TRUC_MUST_USE truc_error import_map_bind(struct import_map *map, const struct truc_bytes *names, size_t count,
                                         struct truc_buffer *why);

#endif
