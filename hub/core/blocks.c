/* Packed records: blocks.h. */
#include "hub/core/blocks.h"

static struct map_key block_key(const struct block_series *series, uint64_t block)
{
    struct map_key key = series->key;
    map_key64(&key, block);
    return key;
}

truc_error block_edit(struct map *map, const struct block_series *series, struct block_cursor *cursor, uint64_t at,
                      uint8_t **out)
{
    uint64_t block = at / BLOCK_RECORDS;
    size_t begin = (size_t)(at % BLOCK_RECORDS) * series->record_size;
    truc_error error = TRUC_OK;
    if (cursor->epoch != map->epoch || cursor->block != block) {
        struct map_key key = block_key(series, block);
        error = map_edit(map, &key, &cursor->entry);
        if (error != TRUC_OK) {
            cursor->epoch = 0;
            return error;
        }
        cursor->epoch = map->epoch;
        cursor->block = block;
    }
    if (cursor->entry->size < begin + series->record_size) {
        error = map_resize(map, cursor->entry, begin + series->record_size);
    }
    *out = error == TRUC_OK ? cursor->entry->value + begin : NULL;
    return error;
}

truc_error block_read(struct map *map, const struct block_series *series, const struct block_cursor *cursor,
                      uint64_t at, const uint8_t **out)
{
    uint64_t block = at / BLOCK_RECORDS;
    size_t begin = (size_t)(at % BLOCK_RECORDS) * series->record_size;
    struct truc_bytes value;
    if (cursor != NULL && cursor->epoch == map->epoch && cursor->block == block) {
        value = truc_bytes(cursor->entry->value, cursor->entry->size);
    } else {
        struct map_key key = block_key(series, block);
        truc_error error = map_get(map, &key, &value);
        if (error != TRUC_OK) {
            return error;
        }
    }
    if (value.size < begin + series->record_size) {
        return TRUC_E_NOT_FOUND;
    }
    *out = value.data + begin;
    return TRUC_OK;
}

truc_error block_delete(struct map *map, const struct block_series *series, uint64_t block)
{
    struct map_key key = block_key(series, block);
    return map_delete(map, &key);
}
