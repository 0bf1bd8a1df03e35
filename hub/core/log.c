/* The tree over leaves, and where each leaf's seal lies in the journal. */
#include "hub/core/core_internal.h"

#define PLACE_SIZE 24u

static struct block_series nodes_of(unsigned level)
{
    struct block_series series = {map_key((char)CORE_NODE), TRUC_HASH_SIZE};
    uint8_t byte = (uint8_t)level;
    map_key_bytes(&series.key, &byte, 1);
    return series;
}

static struct block_series places(void)
{
    return (struct block_series){map_key((char)CORE_LEAF_PLACE), PLACE_SIZE};
}

struct append {
    struct hub_core *core;
    truc_error error;
};

static void on_node(void *context, unsigned level, uint64_t index, const struct truc_hash *hash)
{
    struct append *append = context;
    struct hub_core *core = append->core;
    struct block_series series = nodes_of(level);
    uint8_t *to;
    if (append->error != TRUC_OK) {
        return;
    }
    /* One cursor serves all high levels: it may stand on another level's block, so it never carries over. */
    if (level >= CORE_NODE_LEVELS) {
        core->high_nodes = (struct block_cursor){0};
    }
    struct block_cursor *cursor = level < CORE_NODE_LEVELS ? &core->nodes[level] : &core->high_nodes;
    append->error = block_edit(&core->map, &series, cursor, index, &to);
    if (append->error == TRUC_OK) {
        memcpy(to, hash->bytes, TRUC_HASH_SIZE);
    }
}

truc_error core_log_append(struct hub_core *core, struct truc_bytes leaf, const struct hub_leaf_place *place)
{
    struct block_series series = places();
    struct append append = {core, TRUC_OK};
    struct truc_hash hash;
    uint8_t *to;
    truc_error error = block_edit(&core->map, &series, &core->places, place->leaf_index, &to);
    if (error != TRUC_OK) {
        return error;
    }
    store64(to, place->row);
    store64(to + 8, place->first_sequence);
    store32(to + 16, place->offset);
    store32(to + 20, place->count);
    truc_leaf_hash(&hash, leaf);
    truc_frontier_append(&core->frontier, &hash, on_node, &append);
    return append.error == TRUC_OK ? core_leaf_keep(core, place->leaf_index, leaf) : append.error;
}

truc_error hub_core_node(void *context, unsigned level, uint64_t index, struct truc_hash *out)
{
    struct hub_core *core = context;
    if (level >= 64 || index >= core->frontier.size >> level) {
        return TRUC_E_INVALID;
    }
    struct block_series series = nodes_of(level);
    const uint8_t *from;
    truc_error error = block_read(&core->map, &series, NULL, index, &from);
    if (error == TRUC_OK) {
        memcpy(out->bytes, from, TRUC_HASH_SIZE);
    }
    return error == TRUC_E_NOT_FOUND ? TRUC_E_CORRUPT : error;
}

/* The frontier is not kept: its hashes are nodes. frontier.size is set. */
truc_error core_log_load(struct hub_core *core)
{
    uint64_t size = core->frontier.size;
    truc_error error = TRUC_OK;
    for (unsigned level = 0; level < 64 && size >> level != 0 && error == TRUC_OK; level++) {
        if ((size >> level & 1) != 0) {
            error = hub_core_node(core, level, (size >> level) - 1, &core->frontier.nodes[level]);
        }
    }
    return error;
}

uint64_t hub_core_tree_size(const struct hub_core *core)
{
    return core->frontier.size;
}

void hub_core_root(const struct hub_core *core, struct truc_hash *out)
{
    truc_frontier_root(&core->frontier, out);
}

truc_error hub_core_leaf_place(struct hub_core *core, uint64_t leaf_index, struct hub_leaf_place *out)
{
    struct block_series series = places();
    const uint8_t *from;
    if (leaf_index >= core->frontier.size) {
        return TRUC_E_NOT_FOUND;
    }
    truc_error error = block_read(&core->map, &series, NULL, leaf_index, &from);
    if (error != TRUC_OK) {
        return error == TRUC_E_NOT_FOUND ? TRUC_E_CORRUPT : error;
    }
    *out = (struct hub_leaf_place){.leaf_index = leaf_index,
                                   .row = load64(from),
                                   .first_sequence = load64(from + 8),
                                   .offset = load32(from + 16),
                                   .count = load32(from + 20)};
    return TRUC_OK;
}

truc_error hub_core_sequence_place(struct hub_core *core, uint64_t sequence, struct hub_leaf_place *out)
{
    uint64_t low = 0, high = core->frontier.size;
    if (sequence == 0 || sequence >= core->next_sequence) {
        return TRUC_E_NOT_FOUND;
    }
    /* The last leaf that begins at or before the sequence. */
    while (low < high) {
        uint64_t middle = low + (high - low) / 2;
        truc_error error = hub_core_leaf_place(core, middle, out);
        if (error != TRUC_OK) {
            return error;
        }
        if (out->first_sequence <= sequence) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    truc_error error = low == 0 ? TRUC_E_NOT_FOUND : hub_core_leaf_place(core, low - 1, out);
    /* While a seal is being judged its sequences are given but its leaf is not there yet. */
    return error == TRUC_OK && sequence - out->first_sequence >= out->count ? TRUC_E_NOT_FOUND : error;
}
