/* Rows of a table as events. Pure but for memory: where the rows come from and where the events go is the caller's. */
#ifndef TRUC_IMPORT_CONVERT_H
#define TRUC_IMPORT_CONVERT_H

#include "adapters/import/draft.h"
#include "adapters/import/map.h"

struct import_counts {
    uint64_t records;                     /* without the header */
    uint64_t events;                      /* made */
    uint64_t skipped[IMPORT_SKIP_COUNT_]; /* rows or events, by reason */
    uint64_t offset_missing;              /* records with a time without offset: the map's was taken */
};

/* One event that was made; borrowed until it returns. An error ends the conversion. */
struct import_made {
    const char *type;
    struct truc_bytes id, subject, recipients, bytes;
};
typedef truc_error (*import_made_fn)(void *context, const struct import_made *made);

struct import_converter;
/* The map is borrowed and bound to the header that comes first. Errors: TRUC_E_NOMEM. */
TRUC_MUST_USE truc_error import_converter_new(struct import_map *map, const char *agency, const struct draft_key *key,
                                              import_made_fn on_made, void *context, struct import_converter **out);
void import_converter_free(struct import_converter **converter);
/* Record 0 is the header. Fits import_record_fn. Errors: TRUC_E_CONFIG (the header lacks a column:
 * import_converter_why), TRUC_E_NOMEM, or that of on_made. What is wrong with one row is counted, not an error. */
TRUC_MUST_USE truc_error import_converter_record(void *converter, uint64_t number, const struct truc_bytes *fields,
                                                 size_t count);
const struct import_counts *import_converter_counts(const struct import_converter *converter);
const char *import_converter_why(const struct import_converter *converter);

#endif
