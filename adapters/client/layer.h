/* Writes to the spool that are not on the disk yet, in memory: rows that are put and ranges of keys that are dropped.
 * A layer lies over what is below it (another layer, the disk): its rows win, then its drops hide. What was put and
 * dropped before the layer went to the disk never goes there. */
#ifndef TRUC_CLIENT_LAYER_H
#define TRUC_CLIENT_LAYER_H

#include "adapters/client/store.h"

struct layer_row {
    uint64_t key;
    size_t at, size; /* in bytes */
};

struct layer_range {
    uint64_t first, last;
};

/* Both in the order of their keys; ranges neither overlap nor touch. A key that has a row may lie in a range: the row
 * was put after the drop. */
struct layer_table {
    struct layer_row *rows;
    size_t row_count, row_capacity;
    struct layer_range *dropped;
    size_t dropped_count, dropped_capacity;
};

struct layer {
    struct layer_table tables[STORE_TABLES];
    struct truc_buffer bytes;
    uint64_t events_cost; /* store_event_cost of the events in it */
};

void layer_close(struct layer *layer);
/* Empties it; keeps memory for the next time unless it was an unusual lot. */
void layer_clear(struct layer *layer);
bool layer_is_empty(const struct layer *layer);
TRUC_MUST_USE truc_error layer_put(struct layer *layer, enum store_table table, uint64_t key, struct truc_bytes head,
                                   struct truc_bytes tail);
TRUC_MUST_USE truc_error layer_drop(struct layer *layer, enum store_table table, uint64_t first, uint64_t last);
/* What `above` says goes into `below`, as if it had been written there. `above` is left as it is. */
TRUC_MUST_USE truc_error layer_merge(struct layer *below, const struct layer *above);

enum layer_says {
    LAYER_NOTHING, /* ask below */
    LAYER_ROW,     /* *out is it; borrowed until the layer changes */
    LAYER_DROPPED, /* not there, whatever is below */
};
enum layer_says layer_get(const struct layer *layer, enum store_table table, uint64_t key, struct truc_bytes *out);
/* The first row of the layer itself whose key is *key or higher. */
bool layer_next(const struct layer *layer, enum store_table table, uint64_t *key, struct truc_bytes *out);
/* Whether this layer's drops hide `key` of what is below; *last: the end of the range that does. */
bool layer_hides(const struct layer *layer, enum store_table table, uint64_t key, uint64_t *last);

#endif
