/* Records of one fixed size, numbered from 0, packed 256 to a value of the map: series key || block number. A value is
 * as long as its last record that was written. */
#ifndef HUB_CORE_BLOCKS_H
#define HUB_CORE_BLOCKS_H

#include "hub/core/map.h"

#define BLOCK_RECORDS 256u

struct block_series {
    struct map_key key;
    size_t record_size;
};

/* Where the last edit was, so that neighbours need no look-up. Zero-initialise; one for each series. */
struct block_cursor {
    uint64_t epoch, block;
    struct map_entry *entry;
};

/* The record for changing, new ones zeroed. Good until the next call on the map. */
TRUC_MUST_USE truc_error block_edit(struct map *map, const struct block_series *series, struct block_cursor *cursor,
                                    uint64_t at, uint8_t **out);
/* Borrowed until the next call on the map. `cursor` may be NULL. Errors: TRUC_E_NOT_FOUND. */
TRUC_MUST_USE truc_error block_read(struct map *map, const struct block_series *series,
                                    const struct block_cursor *cursor, uint64_t at, const uint8_t **out);
TRUC_MUST_USE truc_error block_delete(struct map *map, const struct block_series *series, uint64_t block);

#endif
