#include "truc/merkle.h"

/* Both directions walk the seal's tree as RFC 6962 splits it; the items inside [lo, hi) are indexes[from .. to). */
static uint32_t split_of(uint32_t width)
{
    uint32_t k = 1;
    while (k * 2 < width)
        k *= 2;
    return k;
}

static size_t items_below(const uint32_t *indexes, size_t from, size_t to, uint32_t bound)
{
    while (from < to && indexes[from] < bound)
        from++;
    return from;
}

static bool indexes_are_valid(uint32_t size, const uint32_t *indexes, size_t count)
{
    if (size == 0 || size > TRUC_MULTIPROOF_MAX || count == 0 || count > size)
        return false;
    for (size_t i = 0; i < count; i++)
        if (indexes[i] >= size || (i > 0 && indexes[i] <= indexes[i - 1]))
            return false;
    return true;
}

static void root_of(const struct truc_hash *leaves, uint32_t lo, uint32_t hi, struct truc_hash *out)
{
    struct truc_hash scratch[TRUC_MULTIPROOF_MAX];
    memcpy(scratch, leaves + lo, (hi - lo) * sizeof scratch[0]);
    truc_merkle_root(scratch, hi - lo, out);
}

static void make(const struct truc_hash *leaves, uint32_t lo, uint32_t hi, const uint32_t *indexes, size_t from, size_t to,
                 struct truc_hash *nodes, size_t *node_count)
{
    if (from == to) {
        root_of(leaves, lo, hi, &nodes[(*node_count)++]);
        return;
    }
    if (to - from == hi - lo)
        return; /* every leaf below is an item: nothing to add */
    uint32_t k = split_of(hi - lo);
    size_t middle = items_below(indexes, from, to, lo + k);
    make(leaves, lo, lo + k, indexes, from, middle, nodes, node_count);
    make(leaves, lo + k, hi, indexes, middle, to, nodes, node_count);
}

truc_error truc_multiproof_make(const struct truc_hash *leaves, uint32_t size, const uint32_t *indexes, size_t count,
                                struct truc_hash *nodes, size_t *node_count)
{
    *node_count = 0;
    if (!indexes_are_valid(size, indexes, count))
        return TRUC_E_INVALID;
    make(leaves, 0, size, indexes, 0, count, nodes, node_count);
    return TRUC_OK;
}

struct walk {
    const uint32_t *indexes;
    const struct truc_hash *hashes, *nodes;
    size_t node_count, used;
    bool short_of_nodes;
    size_t path_of;
    struct truc_hash *path;
    size_t path_count;
};

static void walk_root(struct walk *w, uint32_t lo, uint32_t hi, size_t from, size_t to, struct truc_hash *out)
{
    if (from == to) {
        if (w->used == w->node_count) {
            w->short_of_nodes = true;
            memset(out, 0, sizeof *out);
            return;
        }
        *out = w->nodes[w->used++];
        return;
    }
    if (hi - lo == 1) {
        *out = w->hashes[from];
        return;
    }
    bool on_path = w->path && w->path_of >= from && w->path_of < to;
    if (to - from == hi - lo && !on_path) {
        root_of(w->hashes, (uint32_t)from, (uint32_t)to, out);
        return;
    }
    uint32_t k = split_of(hi - lo);
    size_t middle = items_below(w->indexes, from, to, lo + k);
    struct truc_hash left, right;
    walk_root(w, lo, lo + k, from, middle, &left);
    walk_root(w, lo + k, hi, middle, to, &right);
    if (on_path && w->path_count < TRUC_PROOF_MAX)
        w->path[w->path_count++] = w->path_of < middle ? right : left;
    truc_node_hash(out, &left, &right);
}

truc_error truc_multiproof_root(uint32_t size, const uint32_t *indexes, const struct truc_hash *hashes, size_t count,
                                const struct truc_hash *nodes, size_t node_count, struct truc_hash *root, size_t path_of,
                                struct truc_hash path[TRUC_PROOF_MAX], size_t *path_count)
{
    struct walk w = {indexes, hashes, nodes, node_count, 0, false, path_of, path, 0};

    if (!indexes_are_valid(size, indexes, count))
        return TRUC_E_BAD_PROOF;
    walk_root(&w, 0, size, 0, count, root);
    if (path_count)
        *path_count = w.path_count;
    return w.short_of_nodes || w.used != node_count ? TRUC_E_BAD_PROOF : TRUC_OK;
}
