#include "tests/sim/tree.h"

#include <stdlib.h>
#include <string.h>

uint64_t tree_priority(const uint8_t *key, size_t size)
{
    uint64_t hash = UINT64_C(0xcbf29ce484222325);

    for (size_t i = 0; i < size; i++)
        hash = (hash ^ key[i]) * UINT64_C(0x100000001b3);
    hash ^= hash >> 29;
    hash *= UINT64_C(0xbf58476d1ce4e5b9);
    return hash ^ hash >> 32;
}

int tree_compare(const void *a, size_t a_size, const void *b, size_t b_size)
{
    int order = memcmp(a, b, a_size < b_size ? a_size : b_size);

    return order ? order : (a_size > b_size) - (a_size < b_size);
}

static struct node *own(struct node *node, uint64_t txn)
{
    if (node->txn == txn)
        return node;
    struct node *copy = malloc(sizeof *copy + node->key_size);
    if (!copy)
        abort();
    memcpy(copy, node, sizeof *copy + node->key_size);
    copy->txn = txn;
    return copy;
}

const struct node *tree_find(const struct node *node, const void *key, size_t size)
{
    while (node) {
        int order = tree_compare(key, size, node->key, node->key_size);
        if (order == 0)
            return node;
        node = order < 0 ? node->left : node->right;
    }
    return NULL;
}

/* The first one at or (beyond) behind the key. */
const struct node *tree_find_from(const struct node *node, const void *key, size_t size, bool beyond)
{
    const struct node *best = NULL;

    while (node) {
        int order = tree_compare(key, size, node->key, node->key_size);
        if (order < 0 || (order == 0 && !beyond)) {
            best = node;
            node = node->left;
        } else {
            node = node->right;
        }
    }
    return best;
}

const struct node *tree_edge(const struct node *node, bool last)
{
    while (node && (last ? node->right : node->left))
        node = last ? node->right : node->left;
    return node;
}

struct node *tree_put(struct node *at, const void *key, size_t size, uint64_t priority, uint64_t txn,
                      struct node **placed)
{
    if (!at) {
        struct node *node = calloc(1, sizeof *node + size);
        if (!node)
            abort();
        node->priority = priority;
        node->txn = txn;
        node->key_size = (uint32_t)size;
        memcpy(node->key, key, size);
        *placed = node;
        return node;
    }
    at = own(at, txn);
    int order = tree_compare(key, size, at->key, at->key_size);
    if (order == 0) {
        *placed = at;
        return at;
    }
    struct node **side = order < 0 ? &at->left : &at->right;
    *side = tree_put(*side, key, size, priority, txn, placed);
    struct node *child = *side;
    if (child->priority <= at->priority)
        return at;
    if (order < 0) { /* turned, so that the higher priority is above */
        at->left = child->right;
        child->right = at;
    } else {
        at->right = child->left;
        child->left = at;
    }
    return child;
}

static struct node *join(struct node *left, struct node *right, uint64_t txn)
{
    if (!left || !right)
        return left ? left : right;
    if (left->priority > right->priority) {
        left = own(left, txn);
        left->right = join(left->right, right, txn);
        return left;
    }
    right = own(right, txn);
    right->left = join(left, right->left, txn);
    return right;
}

struct node *tree_delete(struct node *at, const void *key, size_t size, uint64_t txn)
{
    int order = tree_compare(key, size, at->key, at->key_size);

    if (order == 0)
        return join(at->left, at->right, txn);
    at = own(at, txn);
    if (order < 0)
        at->left = tree_delete(at->left, key, size, txn);
    else
        at->right = tree_delete(at->right, key, size, txn);
    return at;
}
