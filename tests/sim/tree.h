/* Ordered maps of bytes for lmdb.c: treaps whose nodes are copied before they change, unless the transaction made them
 * itself. So a root is a snapshot for ever; memory goes with the process. */
#ifndef SIM_TREE_H
#define SIM_TREE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct node {
    struct node *left, *right;
    uint64_t priority, txn;
    uint8_t *value;
    uint32_t key_size;
    size_t value_size;
    uint8_t key[];
};

uint64_t tree_priority(const uint8_t *key, size_t size);
int tree_compare(const void *a, size_t a_size, const void *b, size_t b_size);
const struct node *tree_find(const struct node *node, const void *key, size_t size);
/* The first one at the key, or (beyond) only behind it. */
const struct node *tree_find_from(const struct node *node, const void *key, size_t size, bool beyond);
const struct node *tree_edge(const struct node *node, bool last);
/* -> the new root; *placed: the key's node, the transaction's own. */
struct node *tree_put(struct node *at, const void *key, size_t size, uint64_t priority, uint64_t txn,
                      struct node **placed);
/* The key must be there. */
struct node *tree_delete(struct node *at, const void *key, size_t size, uint64_t txn);

#endif
