/* The state map: the port's keys and values with the changes since the last commit laid over them.
 *
 *   read:  active -> frozen -> port         write: into active, copied there first
 *   freeze: active becomes frozen (immutable, another thread takes it to disk); thaw: frozen is in the port now, drop
 * it
 *
 * Values are few and large (blocks of 256 records), so that an event costs no allocation. */
#ifndef HUB_CORE_MAP_H
#define HUB_CORE_MAP_H

#include "hub/core/core.h"

#define MAP_KEY_MAX 24

struct map_key {
    uint8_t bytes[MAP_KEY_MAX]; /* zeros behind size */
    uint8_t size;
};

static inline struct map_key map_key(char letter)
{
    struct map_key key = {{(uint8_t)letter}, 1};
    return key;
}

/* Callers stay below MAP_KEY_MAX: every key's form is fixed. */
static inline void map_key_bytes(struct map_key *key, const void *bytes, size_t size)
{
    memcpy(key->bytes + key->size, bytes, size);
    key->size = (uint8_t)(key->size + size);
}

static inline void map_key32(struct map_key *key, uint32_t value)
{
    uint8_t bytes[4] = {(uint8_t)(value >> 24), (uint8_t)(value >> 16), (uint8_t)(value >> 8), (uint8_t)value};
    map_key_bytes(key, bytes, sizeof bytes);
}

static inline void map_key64(struct map_key *key, uint64_t value)
{
    map_key32(key, (uint32_t)(value >> 32));
    map_key32(key, (uint32_t)value);
}

struct map_entry {
    struct map_key key;
    bool deleted;
    uint64_t hash;
    uint8_t *value;
    size_t size, capacity;
};

struct map_table {
    struct map_entry **slots;
    size_t capacity, count; /* capacity: 0 or a power of two */
    size_t bytes;
};

struct hub_dirty {
    struct map_table table;
    struct map_entry **sorted;
    uint64_t applied;
};

struct map {
    struct hub_port port;
    struct map_table active;
    struct hub_dirty *frozen;
    /* Changes whenever an entry of `active` may have gone: pointers to entries are good while it stays. */
    uint64_t epoch;
};

void map_init(struct map *map, const struct hub_port *port);
void map_close(struct map *map);

/* The value is borrowed until the next call on the map. Errors: TRUC_E_NOT_FOUND, the port's. */
TRUC_MUST_USE truc_error map_get(struct map *map, const struct map_key *key, struct truc_bytes *value);
/* A changeable copy of the value, empty where the key was absent. The entry is good while map->epoch stays. */
TRUC_MUST_USE truc_error map_edit(struct map *map, const struct map_key *key, struct map_entry **out);
/* Grows or shrinks; new bytes are zero. */
TRUC_MUST_USE truc_error map_resize(struct map *map, struct map_entry *entry, size_t size);
TRUC_MUST_USE truc_error map_put(struct map *map, const struct map_key *key, struct truc_bytes value);
/* Deleting what is not there is no error. Changes the epoch. */
TRUC_MUST_USE truc_error map_delete(struct map *map, const struct map_key *key);

/* Errors: TRUC_E_INVALID (a frozen set is out already), TRUC_E_NOMEM (then nothing has changed). */
TRUC_MUST_USE truc_error map_freeze(struct map *map, uint64_t applied, struct hub_dirty **out);
void map_thaw(struct map *map, struct hub_dirty **dirty);
/* Everything in key order, as if all changes were in the port. */
TRUC_MUST_USE truc_error map_each(struct map *map,
                                  truc_error (*each)(void *context, struct truc_bytes key, struct truc_bytes value),
                                  void *context);

/* A quick hash for tables in memory; never stored, never decided upon. */
uint64_t core_hash(uint64_t seed, struct truc_bytes bytes);

#endif
