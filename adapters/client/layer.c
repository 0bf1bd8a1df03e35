#include "adapters/client/layer.h"

#include <stdlib.h>

#define KEPT_BYTES ((size_t)8 << 20)

void layer_close(struct layer *layer)
{
    for (int t = 0; t < STORE_TABLES; t++) {
        free(layer->tables[t].rows);
        free(layer->tables[t].dropped);
    }
    truc_buffer_close(&layer->bytes);
    *layer = (struct layer){0};
}

void layer_clear(struct layer *layer)
{
    for (int t = 0; t < STORE_TABLES; t++) {
        layer->tables[t].row_count = 0;
        layer->tables[t].dropped_count = 0;
    }
    truc_buffer_clear(&layer->bytes);
    if (layer->bytes.capacity > KEPT_BYTES) {
        truc_buffer_close(&layer->bytes);
    }
    layer->events_cost = 0;
}

bool layer_is_empty(const struct layer *layer)
{
    for (int t = 0; t < STORE_TABLES; t++) {
        if (layer->tables[t].row_count > 0 || layer->tables[t].dropped_count > 0) {
            return false;
        }
    }
    return true;
}

/* The first row whose key is not lower. */
static size_t row_place(const struct layer_table *table, uint64_t key)
{
    size_t low = 0, high = table->row_count;
    if (high > 0 && table->rows[high - 1].key < key) {
        return high; /* most are appended */
    }
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (table->rows[middle].key < key) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

/* The first range that ends at the key or behind it. */
static size_t range_place(const struct layer_table *table, uint64_t key)
{
    size_t low = 0, high = table->dropped_count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (table->dropped[middle].last < key) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

static truc_error row_room(struct layer_table *table)
{
    if (table->row_count < table->row_capacity) {
        return TRUC_OK;
    }
    size_t capacity = table->row_capacity == 0 ? 64 : table->row_capacity * 2;
    struct layer_row *rows = reallocarray(table->rows, capacity, sizeof *rows);
    if (rows == NULL) {
        return TRUC_E_NOMEM;
    }
    table->rows = rows;
    table->row_capacity = capacity;
    return TRUC_OK;
}

truc_error layer_put(struct layer *layer, enum store_table which, uint64_t key, struct truc_bytes head,
                     struct truc_bytes tail)
{
    struct layer_table *table = &layer->tables[which];
    const size_t size = head.size + tail.size, at = row_place(table, key);
    const bool there = at < table->row_count && table->rows[at].key == key;
    truc_error error = row_room(table);
    if (error == TRUC_OK) {
        error = truc_buffer_reserve(&layer->bytes, size);
    }
    if (error != TRUC_OK) {
        return error;
    }
    const struct layer_row row = {key, layer->bytes.size, size};
    error = truc_buffer_append(&layer->bytes, head.data, head.size);
    if (error == TRUC_OK) {
        error = truc_buffer_append(&layer->bytes, tail.data, tail.size);
    }
    if (error != TRUC_OK) {
        return error; /* cannot be: the room is there */
    }
    if (!there) {
        memmove(&table->rows[at + 1], &table->rows[at], (table->row_count - at) * sizeof *table->rows);
        table->row_count++;
    }
    if (which == STORE_EVENTS) {
        layer->events_cost += store_event_cost(size);
        layer->events_cost -= there ? store_event_cost(table->rows[at].size) : 0;
    }
    table->rows[at] = row;
    return TRUC_OK;
}

static truc_error add_range(struct layer_table *table, uint64_t first, uint64_t last)
{
    size_t from = range_place(table, first > 0 ? first - 1 : 0), to = from;
    while (to < table->dropped_count && (last == UINT64_MAX || table->dropped[to].first <= last + 1)) {
        first = table->dropped[to].first < first ? table->dropped[to].first : first;
        last = table->dropped[to].last > last ? table->dropped[to].last : last;
        to++;
    }
    if (from == to && table->dropped_count == table->dropped_capacity) {
        size_t capacity = table->dropped_capacity == 0 ? 16 : table->dropped_capacity * 2;
        struct layer_range *ranges = reallocarray(table->dropped, capacity, sizeof *ranges);
        if (ranges == NULL) {
            return TRUC_E_NOMEM;
        }
        table->dropped = ranges;
        table->dropped_capacity = capacity;
    }
    if (to != from + 1) {
        memmove(table->dropped + from + 1, table->dropped + to, (table->dropped_count - to) * sizeof *table->dropped);
        table->dropped_count = table->dropped_count + 1 - (to - from);
    }
    table->dropped[from] = (struct layer_range){first, last};
    return TRUC_OK;
}

truc_error layer_drop(struct layer *layer, enum store_table which, uint64_t first, uint64_t last)
{
    struct layer_table *table = &layer->tables[which];
    truc_error error = add_range(table, first, last);
    if (error != TRUC_OK) {
        return error;
    }
    size_t from = row_place(table, first), to = from;
    while (to < table->row_count && table->rows[to].key <= last) {
        layer->events_cost -= which == STORE_EVENTS ? store_event_cost(table->rows[to].size) : 0;
        to++;
    }
    if (to > from) {
        memmove(&table->rows[from], &table->rows[to], (table->row_count - to) * sizeof *table->rows);
        table->row_count -= to - from;
    }
    return TRUC_OK;
}

truc_error layer_merge(struct layer *below, const struct layer *above)
{
    const struct truc_bytes none = truc_bytes(NULL, 0);
    truc_error error = TRUC_OK;
    for (int t = 0; t < STORE_TABLES; t++) {
        const struct layer_table *table = &above->tables[t];
        for (size_t i = 0; i < table->dropped_count && error == TRUC_OK; i++) {
            error = layer_drop(below, (enum store_table)t, table->dropped[i].first, table->dropped[i].last);
        }
        for (size_t i = 0; i < table->row_count && error == TRUC_OK; i++) {
            const struct layer_row *row = &table->rows[i];
            error = layer_put(below, (enum store_table)t, row->key, truc_bytes(above->bytes.data + row->at, row->size),
                              none);
        }
    }
    return error;
}

bool layer_next(const struct layer *layer, enum store_table which, uint64_t *key, struct truc_bytes *out)
{
    const struct layer_table *table = &layer->tables[which];
    size_t at = row_place(table, *key);
    if (at == table->row_count) {
        return false;
    }
    *key = table->rows[at].key;
    *out = truc_bytes(layer->bytes.data + table->rows[at].at, table->rows[at].size);
    return true;
}

bool layer_hides(const struct layer *layer, enum store_table which, uint64_t key, uint64_t *last)
{
    const struct layer_table *table = &layer->tables[which];
    size_t at = range_place(table, key);
    if (at == table->dropped_count || table->dropped[at].first > key) {
        return false;
    }
    *last = table->dropped[at].last;
    return true;
}

enum layer_says layer_get(const struct layer *layer, enum store_table which, uint64_t key, struct truc_bytes *out)
{
    uint64_t found = key, last;
    if (layer_next(layer, which, &found, out) && found == key) {
        return LAYER_ROW;
    }
    return layer_hides(layer, which, key, &last) ? LAYER_DROPPED : LAYER_NOTHING;
}
