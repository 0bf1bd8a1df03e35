/* A table of small rows, packed: 64 neighbouring keys share one row of LMDB, whose key is theirs divided by 64. A put
 * and a delete for each delivery was most of what a subscriber's disk thread did.
 *
 * Such a row: for each key that is there, in ascending order, the key's remainder (1 byte), its value's size (1 byte),
 * the value. None at all: there is no row. */
#include "adapters/client/spool_internal.h"

#define PACK 64u
#define ABSENT 0xff

struct block {
    uint64_t number;
    bool stored; /* the table has a row of it */
    uint8_t sizes[PACK];
    uint8_t values[PACK][SPOOL_PACKED_MAX];
};

/* The entry at *at; false at the end, or where it is damaged (*at stays before the end then). */
static bool next_entry(struct truc_bytes row, size_t *at, unsigned *index, struct truc_bytes *value)
{
    if (row.size - *at < 2 || row.data[*at] >= PACK || row.data[*at + 1] > SPOOL_PACKED_MAX ||
        row.data[*at + 1] > row.size - *at - 2) {
        return false;
    }
    *index = row.data[*at];
    *value = truc_bytes(row.data + *at + 2, row.data[*at + 1]);
    *at += 2 + value->size;
    return true;
}

static truc_error block_load(MDB_cursor *cursor, uint64_t number, struct block *out)
{
    uint8_t name[8];
    store_put_u64(name, number);
    MDB_val k = {sizeof name, name}, v;
    size_t at = 0;
    unsigned index;
    struct truc_bytes value;
    out->number = number;
    memset(out->sizes, ABSENT, sizeof out->sizes);
    int code = mdb_cursor_get(cursor, &k, &v, MDB_SET_RANGE);
    out->stored = code == MDB_SUCCESS && k.mv_size == 8 && store_get_u64(k.mv_data) == number;
    if (!out->stored) {
        return code == MDB_NOTFOUND ? TRUC_OK : spool_error_of(code);
    }
    const struct truc_bytes row = truc_bytes(v.mv_data, v.mv_size);
    while (next_entry(row, &at, &index, &value)) {
        out->sizes[index] = (uint8_t)value.size;
        memcpy(out->values[index], value.data, value.size);
    }
    return at == row.size ? TRUC_OK : TRUC_E_CORRUPT;
}

static truc_error block_store(MDB_cursor *cursor, const struct block *block)
{
    uint8_t name[8], row[PACK * (2 + SPOOL_PACKED_MAX)];
    size_t size = 0;
    store_put_u64(name, block->number);
    for (unsigned i = 0; i < PACK; i++) {
        if (block->sizes[i] != ABSENT) {
            row[size] = (uint8_t)i;
            row[size + 1] = block->sizes[i];
            memcpy(row + size + 2, block->values[i], block->sizes[i]);
            size += 2u + block->sizes[i];
        }
    }
    if (size == 0) {
        uint64_t none = 0;
        return block->stored ? spool_drop_rows(cursor, (struct layer_range){block->number, block->number}, &none)
                             : TRUC_OK;
    }
    MDB_val k = {sizeof name, name}, v = {size, row};
    return spool_error_of(mdb_cursor_put(cursor, &k, &v, 0));
}

static truc_error drop_inside(MDB_cursor *cursor, uint64_t number, uint64_t from, uint64_t to)
{
    struct block block;
    truc_error error = block_load(cursor, number, &block);
    if (error != TRUC_OK || !block.stored) {
        return error;
    }
    memset(block.sizes + from, ABSENT, to - from + 1);
    return block_store(cursor, &block);
}

static truc_error drop(MDB_cursor *cursor, struct layer_range range)
{
    uint64_t first = range.first / PACK, last = range.last / PACK, none = 0;
    const uint64_t from = range.first % PACK, to = range.last % PACK;
    truc_error error = TRUC_OK;
    if (first == last) {
        return drop_inside(cursor, first, from, to);
    }
    if (from > 0) {
        error = drop_inside(cursor, first++, from, PACK - 1);
    }
    if (error == TRUC_OK && to < PACK - 1) {
        error = drop_inside(cursor, last, 0, to);
        if (last-- == first) { /* nothing is left between the two ends */
            return error;
        }
    }
    return error == TRUC_OK && first <= last ? spool_drop_rows(cursor, (struct layer_range){first, last}, &none)
                                             : error;
}

truc_error spool_packed_write(MDB_cursor *cursor, const struct layer *layer, const struct layer_table *table)
{
    truc_error error = TRUC_OK;
    struct block block;
    for (size_t i = 0; i < table->dropped_count && error == TRUC_OK; i++) {
        error = drop(cursor, table->dropped[i]);
    }
    for (size_t i = 0; i < table->row_count && error == TRUC_OK; i++) {
        const struct layer_row *row = &table->rows[i];
        if (i == 0 || block.number != row->key / PACK) {
            error = i == 0 ? TRUC_OK : block_store(cursor, &block);
            error = error == TRUC_OK ? block_load(cursor, row->key / PACK, &block) : error;
        }
        if (error == TRUC_OK) {
            block.sizes[row->key % PACK] = (uint8_t)row->size;
            memcpy(block.values[row->key % PACK], layer->bytes.data + row->at, row->size);
        }
    }
    return error == TRUC_OK && table->row_count > 0 ? block_store(cursor, &block) : error;
}

truc_error spool_packed_next(MDB_cursor *cursor, uint64_t *key, struct truc_bytes *out)
{
    uint8_t name[8];
    store_put_u64(name, *key / PACK);
    MDB_val k = {sizeof name, name}, v;
    int code = mdb_cursor_get(cursor, &k, &v, MDB_SET_RANGE);
    for (; code == MDB_SUCCESS; code = mdb_cursor_get(cursor, &k, &v, MDB_NEXT)) {
        if (k.mv_size != 8 || store_get_u64(k.mv_data) > UINT64_MAX / PACK) {
            return TRUC_E_CORRUPT;
        }
        const uint64_t base = store_get_u64(k.mv_data) * PACK;
        const struct truc_bytes row = truc_bytes(v.mv_data, v.mv_size);
        size_t at = 0;
        unsigned index;
        while (next_entry(row, &at, &index, out)) {
            if (base + index >= *key) {
                *key = base + index;
                return TRUC_OK;
            }
        }
        if (at != row.size) {
            return TRUC_E_CORRUPT;
        }
    }
    return spool_error_of(code);
}

/* Format 1 had a row for each key. */
truc_error spool_packed_convert(MDB_txn *txn, const char *from, MDB_dbi to)
{
    MDB_dbi old;
    MDB_cursor *cursor;
    MDB_val k, v;
    struct layer layer = {0};
    int code = mdb_dbi_open(txn, from, 0, &old);
    code = code == MDB_SUCCESS ? mdb_cursor_open(txn, old, &cursor) : code;
    if (code != MDB_SUCCESS) {
        return code == MDB_NOTFOUND ? TRUC_OK : spool_error_of(code);
    }
    truc_error error = TRUC_OK;
    while (error == TRUC_OK && (code = mdb_cursor_get(cursor, &k, &v, MDB_FIRST)) == MDB_SUCCESS) {
        if (k.mv_size != 8 || v.mv_size > SPOOL_PACKED_MAX) {
            error = TRUC_E_CORRUPT;
            break;
        }
        error = layer_put(&layer, STORE_HANDLED, store_get_u64(k.mv_data), truc_bytes(v.mv_data, v.mv_size),
                          truc_bytes(NULL, 0));
        code = error == TRUC_OK ? mdb_cursor_del(cursor, 0) : MDB_SUCCESS;
        error = error == TRUC_OK ? spool_error_of(code) : error;
    }
    mdb_cursor_close(cursor);
    error = error == TRUC_OK && code != MDB_NOTFOUND ? spool_error_of(code) : error;
    if (error == TRUC_OK) {
        error = spool_error_of(mdb_cursor_open(txn, to, &cursor));
    }
    if (error == TRUC_OK) {
        error = spool_packed_write(cursor, &layer, &layer.tables[STORE_HANDLED]);
        mdb_cursor_close(cursor);
    }
    layer_close(&layer);
    return error;
}
