/* The leaves' bytes: receipts and proofs of any age need them, and they could only be made again by a replay. */
#include "hub/core/core_internal.h"

static struct map_key key_of(uint64_t leaf_index)
{
    struct map_key key = map_key((char)CORE_LEAF);
    map_key64(&key, leaf_index);
    return key;
}

truc_error core_leaf_keep(struct hub_core *core, uint64_t leaf_index, struct truc_bytes leaf)
{
    struct map_key key = key_of(leaf_index);
    return map_put(&core->map, &key, leaf);
}

truc_error hub_core_leaf(struct hub_core *core, uint64_t leaf_index, struct truc_buffer *out)
{
    struct map_key key = key_of(leaf_index);
    struct truc_bytes leaf;
    if (leaf_index >= core->frontier.size) {
        return TRUC_E_NOT_FOUND;
    }
    truc_error error = map_get(&core->map, &key, &leaf);
    if (error != TRUC_OK) {
        return error == TRUC_E_NOT_FOUND ? TRUC_E_CORRUPT : error;
    }
    return truc_buffer_append(out, leaf.data, leaf.size);
}
