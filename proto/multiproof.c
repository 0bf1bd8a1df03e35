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

size_t truc_tree_size(uint32_t size)
{
    size_t total = size;
    for (; size > 1; total += size)
        size = size / 2 + size % 2;
    return total;
}

void truc_tree_make(struct truc_hash *tree, uint32_t size)
{
    while (size > 1) {
        struct truc_hash *above = tree + size;
        for (uint32_t i = 0; i < size / 2; i++)
            truc_node_hash(&above[i], &tree[2 * i], &tree[2 * i + 1]);
        if (size % 2 == 1)
            above[size / 2] = tree[size - 1];
        size = size / 2 + size % 2;
        tree = above;
    }
}

/* The subtree over [lo, hi) is one node of the level on which it fits, since lo is a multiple of that level's width. */
static void node_of(const struct truc_hash *tree, uint32_t size, uint32_t lo, uint32_t hi, struct truc_hash *out)
{
    uint32_t width = 1;
    for (; width < hi - lo; width *= 2) {
        tree += size;
        size = size / 2 + size % 2;
    }
    *out = tree[lo / width];
}

/* `whole`: `leaves` is a tree over so many leaves; 0: only the leaves are there. */
static void make(const struct truc_hash *leaves, uint32_t whole, uint32_t lo, uint32_t hi, const uint32_t *indexes,
                 size_t from, size_t to, struct truc_hash *nodes, size_t *node_count)
{
    if (from == to) {
        struct truc_hash *node = &nodes[(*node_count)++];
        if (whole > 0)
            node_of(leaves, whole, lo, hi, node);
        else
            root_of(leaves, lo, hi, node);
        return;
    }
    if (to - from == hi - lo)
        return; /* every leaf below is an item: nothing to add */
    uint32_t k = split_of(hi - lo);
    size_t middle = items_below(indexes, from, to, lo + k);
    make(leaves, whole, lo, lo + k, indexes, from, middle, nodes, node_count);
    make(leaves, whole, lo + k, hi, indexes, middle, to, nodes, node_count);
}

truc_error truc_multiproof_make(const struct truc_hash *leaves, uint32_t size, const uint32_t *indexes, size_t count,
                                struct truc_hash *nodes, size_t *node_count)
{
    *node_count = 0;
    if (!indexes_are_valid(size, indexes, count))
        return TRUC_E_INVALID;
    make(leaves, 0, 0, size, indexes, 0, count, nodes, node_count);
    return TRUC_OK;
}

truc_error truc_multiproof_look_up(const struct truc_hash *tree, uint32_t size, const uint32_t *indexes, size_t count,
                                   struct truc_hash *nodes, size_t *node_count)
{
    *node_count = 0;
    if (!indexes_are_valid(size, indexes, count))
        return TRUC_E_INVALID;
    make(tree, size, 0, size, indexes, 0, count, nodes, node_count);
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
                                const struct truc_hash *nodes, size_t node_count, struct truc_hash *root,
                                size_t path_of, struct truc_hash path[TRUC_PROOF_MAX], size_t *path_count)
{
    struct walk w = {indexes, hashes, nodes, node_count, 0, false, path_of, path, 0};

    if (!indexes_are_valid(size, indexes, count))
        return TRUC_E_BAD_PROOF;
    walk_root(&w, 0, size, 0, count, root);
    if (path_count)
        *path_count = w.path_count;
    return w.short_of_nodes || w.used != node_count ? TRUC_E_BAD_PROOF : TRUC_OK;
}
