/* RFC 6962 trees. The path algorithms are those of RFC 9162 section 2.1, turned from recursion into walks: a walk from
 * the head down meets the hashes of a proof in the order opposite to the one they are sent in. */
#include "truc/merkle.h"

#include <stdlib.h>

#define SIZE_LIMIT ((uint64_t)1 << 63)

void truc_leaf_hash(struct truc_hash *out, struct truc_bytes leaf)
{
    static const uint8_t prefix = 0x00;
    const struct truc_bytes parts[2] = {{&prefix, 1}, leaf};
    truc_sha256_parts(out, parts, 2);
}

void truc_node_hash(struct truc_hash *out, const struct truc_hash *left, const struct truc_hash *right)
{
    uint8_t joined[1 + 2 * TRUC_HASH_SIZE] = {0x01};
    memcpy(joined + 1, left->bytes, TRUC_HASH_SIZE);
    memcpy(joined + 1 + TRUC_HASH_SIZE, right->bytes, TRUC_HASH_SIZE);
    truc_sha256(out, truc_bytes(joined, sizeof joined));
}

void truc_empty_root(struct truc_hash *out)
{
    truc_sha256(out, truc_bytes(NULL, 0));
}

static bool hash_equal(const struct truc_hash *a, const struct truc_hash *b)
{
    return memcmp(a->bytes, b->bytes, TRUC_HASH_SIZE) == 0;
}

void truc_merkle_root(struct truc_hash *leaves, size_t count, struct truc_hash *out)
{
    if (count == 0) {
        truc_empty_root(out);
        return;
    }
    /* Level by level; an odd last node moves up as it is, which gives the same tree as splitting from the head. */
    while (count > 1) {
        for (size_t i = 0; i < count / 2; i++) {
            truc_node_hash(&leaves[i], &leaves[2 * i], &leaves[2 * i + 1]);
        }
        if (count % 2 == 1) {
            leaves[count / 2] = leaves[count - 1];
        }
        count = count / 2 + count % 2;
    }
    *out = leaves[0];
}

/* The largest power of two below n; n is 2 to 2^63. */
static uint64_t split_point(uint64_t n)
{
    return (uint64_t)1 << (63 - __builtin_clzll(n - 1));
}

truc_error truc_range_root(truc_node_fn node, void *context, uint64_t begin, uint64_t end, struct truc_hash *out)
{
    if (begin > end || end > SIZE_LIMIT) {
        return TRUC_E_INVALID;
    }
    uint64_t size = end - begin;
    if (size == 0) {
        truc_empty_root(out);
        return TRUC_OK;
    }
    if ((size & (size - 1)) == 0 && begin % size == 0) {
        unsigned level = (unsigned)__builtin_ctzll(size);
        return node(context, level, begin >> level, out);
    }
    /* At most 63 deep: the size halves, or becomes a power of two on the left. */
    uint64_t middle = begin + split_point(size);
    struct truc_hash left, right;
    truc_error error = truc_range_root(node, context, begin, middle, &left);
    if (error == TRUC_OK) {
        error = truc_range_root(node, context, middle, end, &right);
    }
    if (error == TRUC_OK) {
        truc_node_hash(out, &left, &right);
    }
    return error;
}

static void reverse(struct truc_hash *path, size_t count)
{
    for (size_t i = 0; i < count / 2; i++) {
        struct truc_hash swapped = path[i];
        path[i] = path[count - 1 - i];
        path[count - 1 - i] = swapped;
    }
}

truc_error truc_inclusion_path(truc_node_fn node, void *context, uint64_t index, uint64_t size,
                               struct truc_hash path[TRUC_PROOF_MAX], size_t *count)
{
    if (index >= size || size > SIZE_LIMIT) {
        return TRUC_E_INVALID;
    }
    size_t found = 0;
    uint64_t begin = 0, end = size;
    while (end - begin > 1) {
        uint64_t middle = begin + split_point(end - begin);
        bool left = index < middle;
        truc_error error = truc_range_root(node, context, left ? middle : begin, left ? end : middle, &path[found++]);
        if (error != TRUC_OK) {
            return error;
        }
        begin = left ? begin : middle;
        end = left ? middle : end;
    }
    reverse(path, found);
    *count = found;
    return TRUC_OK;
}

truc_error truc_consistency_path(truc_node_fn node, void *context, uint64_t old_size, uint64_t new_size,
                                 struct truc_hash path[TRUC_PROOF_MAX], size_t *count)
{
    if (old_size > new_size || new_size > SIZE_LIMIT) {
        return TRUC_E_INVALID;
    }
    *count = 0;
    if (old_size == 0 || old_size == new_size) {
        return TRUC_OK;
    }
    size_t found = 0;
    uint64_t begin = 0, end = new_size;
    while (end != old_size) {
        uint64_t middle = begin + split_point(end - begin);
        bool left = old_size <= middle;
        truc_error error = truc_range_root(node, context, left ? middle : begin, left ? end : middle, &path[found++]);
        if (error != TRUC_OK) {
            return error;
        }
        begin = left ? begin : middle;
        end = left ? middle : end;
    }
    /* What is left is the old tree's last perfect part. Where that is all of it, the verifier has it: the old head. */
    if (begin != 0) {
        truc_error error = truc_range_root(node, context, begin, end, &path[found++]);
        if (error != TRUC_OK) {
            return error;
        }
    }
    reverse(path, found);
    *count = found;
    return TRUC_OK;
}

/* Nodes of a tree whose leaf hashes lie in an array. */
static truc_error node_of_leaves(void *context, unsigned level, uint64_t index, struct truc_hash *out)
{
    const struct truc_hash *leaves = context;
    const struct truc_hash *first = leaves + (size_t)(index << level);
    struct truc_frontier frontier;
    frontier.size = 0;
    for (size_t i = 0; i < (size_t)1 << level; i++) {
        truc_frontier_append(&frontier, &first[i], NULL, NULL);
    }
    *out = frontier.nodes[level];
    return TRUC_OK;
}

truc_error truc_inclusion_path_of(const struct truc_hash *leaves, size_t size, size_t index,
                                  struct truc_hash path[TRUC_PROOF_MAX], size_t *count)
{
    /* node_of_leaves() only reads, whatever the callback's type says. */
    return truc_inclusion_path(node_of_leaves, (void *)(uintptr_t)leaves, index, size, path, count);
}

/* Where a verifier's walk stands: the node's index and the last node's, at the present level. */
struct climb {
    uint64_t node;
    uint64_t last;
};

/* Takes one proof hash; says on which side it stands, and goes up past the levels where the node has no sibling. */
static bool climb_is_right_child(struct climb *at)
{
    bool right = (at->node & 1) == 1 || at->node == at->last;
    if (right) {
        while ((at->node & 1) == 0 && at->node != 0) {
            at->node >>= 1;
            at->last >>= 1;
        }
    }
    at->node >>= 1;
    at->last >>= 1;
    return right;
}

truc_error truc_inclusion_verify(uint64_t index, uint64_t size, const struct truc_hash *leaf,
                                 const struct truc_hash *path, size_t count, const struct truc_hash *root)
{
    if (index >= size) {
        return TRUC_E_BAD_PROOF;
    }
    struct climb at = {index, size - 1};
    struct truc_hash head = *leaf;
    for (size_t i = 0; i < count; i++) {
        if (at.last == 0) {
            return TRUC_E_BAD_PROOF;
        }
        if (climb_is_right_child(&at)) {
            truc_node_hash(&head, &path[i], &head);
        } else {
            truc_node_hash(&head, &head, &path[i]);
        }
    }
    return at.last == 0 && hash_equal(&head, root) ? TRUC_OK : TRUC_E_BAD_PROOF;
}

truc_error truc_consistency_verify(uint64_t old_size, uint64_t new_size, const struct truc_hash *path, size_t count,
                                   const struct truc_hash *old_root, const struct truc_hash *new_root)
{
    if (old_size == 0) {
        /* Every tree continues the empty one, so nothing that a peer says could prove anything (see the header). */
        struct truc_hash empty;
        truc_empty_root(&empty);
        bool same = new_size == 0 && count == 0 && hash_equal(old_root, &empty) && hash_equal(new_root, &empty);
        return same ? TRUC_OK : TRUC_E_BAD_PROOF;
    }
    if (old_size == new_size) {
        return count == 0 && hash_equal(old_root, new_root) ? TRUC_OK : TRUC_E_BAD_PROOF;
    }
    bool whole = (old_size & (old_size - 1)) == 0; /* the old tree is perfect: its head starts the walk, unsent */
    if (old_size > new_size || count == 0) {
        return TRUC_E_BAD_PROOF;
    }
    struct climb at = {old_size - 1, new_size - 1};
    while ((at.node & 1) == 1) {
        at.node >>= 1;
        at.last >>= 1;
    }
    struct truc_hash old_head = whole ? *old_root : path[0];
    struct truc_hash new_head = old_head;
    for (size_t i = whole ? 0 : 1; i < count; i++) {
        if (at.last == 0) {
            return TRUC_E_BAD_PROOF;
        }
        if (climb_is_right_child(&at)) {
            truc_node_hash(&old_head, &path[i], &old_head);
            truc_node_hash(&new_head, &path[i], &new_head);
        } else {
            truc_node_hash(&new_head, &new_head, &path[i]);
        }
    }
    bool good = at.last == 0 && hash_equal(&old_head, old_root) && hash_equal(&new_head, new_root);
    return good ? TRUC_OK : TRUC_E_BAD_PROOF;
}

void truc_frontier_append(struct truc_frontier *frontier, const struct truc_hash *leaf, truc_node_sink on_node,
                          void *context)
{
    if (frontier->size >= SIZE_LIMIT) {
        abort();
    }
    struct truc_hash node = *leaf;
    unsigned level = 0;
    for (;; level++) {
        if (on_node != NULL) {
            on_node(context, level, frontier->size >> level, &node);
        }
        if ((frontier->size >> level & 1) == 0) {
            break;
        }
        truc_node_hash(&node, &frontier->nodes[level], &node);
    }
    frontier->nodes[level] = node;
    frontier->size++;
}

void truc_frontier_root(const struct truc_frontier *frontier, struct truc_hash *out)
{
    if (frontier->size == 0) {
        truc_empty_root(out);
        return;
    }
    unsigned level = (unsigned)__builtin_ctzll(frontier->size);
    struct truc_hash head = frontier->nodes[level];
    for (level++; level < TRUC_PROOF_MAX; level++) {
        if ((frontier->size >> level & 1) == 1) {
            truc_node_hash(&head, &frontier->nodes[level], &head);
        }
    }
    *out = head;
}
