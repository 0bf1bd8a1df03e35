/* The overlay over the port: map.h. */
#include "hub/core/map.h"

#include <stdlib.h>

#define FIRST_CAPACITY 64
#define ENTRY_OVERHEAD sizeof(struct map_entry)

static uint64_t mix(uint64_t a, uint64_t b)
{
    unsigned __int128 product = (unsigned __int128)(a ^ 0x9e3779b97f4a7c15u) * (b ^ 0xe7037ed1a0b428dbu);
    return (uint64_t)product ^ (uint64_t)(product >> 64);
}

uint64_t core_hash(uint64_t seed, struct truc_bytes bytes)
{
    uint64_t hash = mix(seed, bytes.size);
    size_t at = 0;
    for (; bytes.size - at >= 8; at += 8) {
        uint64_t word;
        memcpy(&word, bytes.data + at, 8);
        hash = mix(hash, word);
    }
    if (at < bytes.size) {
        uint64_t word = 0;
        memcpy(&word, bytes.data + at, bytes.size - at);
        hash = mix(hash, word);
    }
    return hash;
}

static uint64_t hash_key(const struct map_key *key)
{
    uint64_t words[MAP_KEY_MAX / 8];
    memcpy(words, key->bytes, sizeof words);
    return mix(mix(words[0], words[1]), mix(words[2], key->size));
}

static bool same_key(const struct map_key *a, const struct map_key *b)
{
    return a->size == b->size && memcmp(a->bytes, b->bytes, MAP_KEY_MAX) == 0;
}

static struct map_entry *table_find(const struct map_table *table, const struct map_key *key, uint64_t hash)
{
    if (table->capacity == 0) {
        return NULL;
    }
    for (size_t at = hash & (table->capacity - 1); table->slots[at] != NULL; at = (at + 1) & (table->capacity - 1)) {
        if (table->slots[at]->hash == hash && same_key(&table->slots[at]->key, key)) {
            return table->slots[at];
        }
    }
    return NULL;
}

static void table_place(struct map_entry **slots, size_t capacity, struct map_entry *entry)
{
    size_t at = entry->hash & (capacity - 1);
    while (slots[at] != NULL) {
        at = (at + 1) & (capacity - 1);
    }
    slots[at] = entry;
}

static truc_error table_grow(struct map_table *table)
{
    size_t capacity = table->capacity == 0 ? FIRST_CAPACITY : table->capacity * 2;
    struct map_entry **slots = calloc(capacity, sizeof(struct map_entry *));
    if (slots == NULL) {
        return TRUC_E_NOMEM;
    }
    for (size_t i = 0; i < table->capacity; i++) {
        if (table->slots[i] != NULL) {
            table_place(slots, capacity, table->slots[i]);
        }
    }
    free(table->slots);
    table->slots = slots;
    table->capacity = capacity;
    return TRUC_OK;
}

static void table_close(struct map_table *table)
{
    for (size_t i = 0; i < table->capacity; i++) {
        if (table->slots[i] != NULL) {
            free(table->slots[i]->value);
            free(table->slots[i]);
        }
    }
    free(table->slots);
    *table = (struct map_table){0};
}

void map_init(struct map *map, const struct hub_port *port)
{
    *map = (struct map){.port = *port, .epoch = 1};
}

void map_close(struct map *map)
{
    table_close(&map->active);
    if (map->frozen != NULL) {
        struct hub_dirty *frozen = map->frozen;
        map_thaw(map, &frozen);
    }
}

/* Below the active changes. */
static truc_error get_below(struct map *map, const struct map_key *key, uint64_t hash, struct truc_bytes *value)
{
    if (map->frozen != NULL) {
        const struct map_entry *entry = table_find(&map->frozen->table, key, hash);
        if (entry != NULL) {
            *value = truc_bytes(entry->value, entry->size);
            return entry->deleted ? TRUC_E_NOT_FOUND : TRUC_OK;
        }
    }
    return map->port.get(map->port.context, truc_bytes(key->bytes, key->size), value);
}

truc_error map_get(struct map *map, const struct map_key *key, struct truc_bytes *value)
{
    uint64_t hash = hash_key(key);
    const struct map_entry *entry = table_find(&map->active, key, hash);
    if (entry != NULL) {
        *value = truc_bytes(entry->value, entry->size);
        return entry->deleted ? TRUC_E_NOT_FOUND : TRUC_OK;
    }
    return get_below(map, key, hash, value);
}

truc_error map_resize(struct map *map, struct map_entry *entry, size_t size)
{
    if (size > entry->capacity) {
        size_t capacity = entry->capacity == 0 ? size : entry->capacity;
        while (capacity < size) {
            capacity *= 2;
        }
        uint8_t *value = realloc(entry->value, capacity);
        if (value == NULL) {
            return TRUC_E_NOMEM;
        }
        entry->value = value;
        entry->capacity = capacity;
    }
    if (size > entry->size) {
        memset(entry->value + entry->size, 0, size - entry->size);
    }
    map->active.bytes = map->active.bytes - entry->size + size;
    entry->size = size;
    return TRUC_OK;
}

/* A new entry of the active table, empty. */
static truc_error insert(struct map *map, const struct map_key *key, uint64_t hash, struct map_entry **out)
{
    struct map_table *table = &map->active;
    if ((table->count + 1) * 4 > table->capacity * 3) {
        truc_error error = table_grow(table);
        if (error != TRUC_OK) {
            return error;
        }
    }
    struct map_entry *entry = calloc(1, sizeof *entry);
    if (entry == NULL) {
        return TRUC_E_NOMEM;
    }
    entry->key = *key;
    entry->hash = hash;
    table_place(table->slots, table->capacity, entry);
    table->count++;
    table->bytes += ENTRY_OVERHEAD;
    *out = entry;
    return TRUC_OK;
}

truc_error map_edit(struct map *map, const struct map_key *key, struct map_entry **out)
{
    uint64_t hash = hash_key(key);
    struct map_entry *entry = table_find(&map->active, key, hash);
    if (entry != NULL) {
        entry->deleted = false;
        *out = entry;
        return TRUC_OK;
    }
    struct truc_bytes below = {NULL, 0};
    truc_error found = get_below(map, key, hash, &below);
    if (found != TRUC_OK && found != TRUC_E_NOT_FOUND) {
        return found;
    }
    truc_error error = insert(map, key, hash, &entry);
    if (error == TRUC_OK && found == TRUC_OK && below.size > 0) {
        error = map_resize(map, entry, below.size);
        if (error == TRUC_OK) {
            memcpy(entry->value, below.data, below.size);
        }
    }
    *out = entry;
    return error;
}

truc_error map_put(struct map *map, const struct map_key *key, struct truc_bytes value)
{
    uint64_t hash = hash_key(key);
    struct map_entry *entry = table_find(&map->active, key, hash);
    truc_error error = entry == NULL ? insert(map, key, hash, &entry) : TRUC_OK;
    if (error == TRUC_OK) {
        error = map_resize(map, entry, value.size);
    }
    if (error == TRUC_OK) {
        entry->deleted = false;
        if (value.size > 0) {
            memcpy(entry->value, value.data, value.size);
        }
    }
    return error;
}

truc_error map_delete(struct map *map, const struct map_key *key)
{
    uint64_t hash = hash_key(key);
    struct map_entry *entry = table_find(&map->active, key, hash);
    truc_error error = entry == NULL ? insert(map, key, hash, &entry) : TRUC_OK;
    if (error != TRUC_OK) {
        return error;
    }
    map->active.bytes -= entry->size;
    free(entry->value);
    entry->value = NULL;
    entry->size = entry->capacity = 0;
    entry->deleted = true;
    map->epoch++;
    return TRUC_OK;
}

static int compare_keys(struct truc_bytes a, struct truc_bytes b)
{
    int order = memcmp(a.data, b.data, a.size < b.size ? a.size : b.size);
    return order != 0 ? order : (a.size > b.size) - (a.size < b.size);
}

static struct truc_bytes entry_key(const struct map_entry *entry)
{
    return truc_bytes(entry->key.bytes, entry->key.size);
}

static int compare_entries(const void *a, const void *b)
{
    return compare_keys(entry_key(*(struct map_entry *const *)a), entry_key(*(struct map_entry *const *)b));
}

/* The table's entries into `out` from `count` on, but those that `shadow` has too. */
static size_t collect(const struct map_table *table, const struct map_table *shadow, struct map_entry **out,
                      size_t count)
{
    for (size_t i = 0; i < table->capacity; i++) {
        struct map_entry *entry = table->slots[i];
        if (entry != NULL && (shadow == NULL || table_find(shadow, &entry->key, entry->hash) == NULL)) {
            out[count++] = entry;
        }
    }
    return count;
}

truc_error map_freeze(struct map *map, uint64_t applied, struct hub_dirty **out)
{
    if (map->frozen != NULL) {
        return TRUC_E_INVALID;
    }
    struct hub_dirty *dirty = calloc(1, sizeof *dirty);
    struct map_entry **sorted = calloc(map->active.count + 1, sizeof(struct map_entry *));
    if (dirty == NULL || sorted == NULL) {
        free(dirty);
        free(sorted);
        return TRUC_E_NOMEM;
    }
    (void)collect(&map->active, NULL, sorted, 0);
    qsort(sorted, map->active.count, sizeof(struct map_entry *), compare_entries);
    dirty->table = map->active;
    dirty->sorted = sorted;
    dirty->applied = applied;
    map->active = (struct map_table){0};
    map->frozen = dirty;
    map->epoch++;
    *out = dirty;
    return TRUC_OK;
}

void map_thaw(struct map *map, struct hub_dirty **dirty)
{
    if (*dirty == NULL || *dirty != map->frozen) {
        return;
    }
    table_close(&map->frozen->table);
    free(map->frozen->sorted);
    free(map->frozen);
    map->frozen = NULL;
    map->epoch++;
    *dirty = NULL;
}

struct merge {
    struct map_entry **entries;
    size_t count, at;
    truc_error (*each)(void *context, struct truc_bytes key, struct truc_bytes value);
    void *context;
};

static truc_error merge_entry(struct merge *merge)
{
    const struct map_entry *entry = merge->entries[merge->at++];
    return entry->deleted ? TRUC_OK
                          : merge->each(merge->context, entry_key(entry), truc_bytes(entry->value, entry->size));
}

static truc_error merge_port(void *context, struct truc_bytes key, struct truc_bytes value)
{
    struct merge *merge = context;
    int order = 1;
    while (merge->at < merge->count && (order = compare_keys(entry_key(merge->entries[merge->at]), key)) < 0) {
        truc_error error = merge_entry(merge);
        if (error != TRUC_OK) {
            return error;
        }
    }
    /* The overlay's value stands for the port's. */
    return merge->at < merge->count && order == 0 ? merge_entry(merge) : merge->each(merge->context, key, value);
}

truc_error map_each(struct map *map, truc_error (*each)(void *context, struct truc_bytes key, struct truc_bytes value),
                    void *context)
{
    size_t most = map->active.count + (map->frozen != NULL ? map->frozen->table.count : 0);
    struct merge merge = {.each = each, .context = context};
    merge.entries = calloc(most + 1, sizeof(struct map_entry *));
    if (merge.entries == NULL) {
        return TRUC_E_NOMEM;
    }
    merge.count = collect(&map->active, NULL, merge.entries, 0);
    if (map->frozen != NULL) {
        merge.count = collect(&map->frozen->table, &map->active, merge.entries, merge.count);
    }
    qsort(merge.entries, merge.count, sizeof(struct map_entry *), compare_entries);
    truc_error error = map->port.scan(map->port.context, truc_bytes("", 0), merge_port, &merge);
    while (error == TRUC_OK && merge.at < merge.count) {
        error = merge_entry(&merge);
    }
    free(merge.entries);
    return error;
}

uint64_t hub_dirty_applied(const struct hub_dirty *dirty)
{
    return dirty->applied;
}

size_t hub_dirty_count(const struct hub_dirty *dirty)
{
    return dirty->table.count;
}

void hub_dirty_at(const struct hub_dirty *dirty, size_t at, struct truc_bytes *key, struct truc_bytes *value)
{
    const struct map_entry *entry = dirty->sorted[at];
    *key = entry_key(entry);
    /* An empty value is not a deletion: it must have an address. */
    *value = entry->deleted         ? truc_bytes(NULL, 0)
             : entry->value == NULL ? truc_bytes("", 0)
                                    : truc_bytes(entry->value, entry->size);
}
