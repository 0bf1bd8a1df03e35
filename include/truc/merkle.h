/* RFC 6962 (RFC 9162) Merkle trees over SHA-256: hashes, compact ranges, inclusion and consistency proofs. Pure. */
#ifndef TRUC_MERKLE_H
#define TRUC_MERKLE_H

#include "truc/crypto.h"

#define TRUC_PROOF_MAX 64 /* hashes in the longest proof: trees of up to 2^63 leaves */

/* SHA-256(0x00 || leaf). */
void truc_leaf_hash(struct truc_hash *out, struct truc_bytes leaf);
/* SHA-256(0x01 || left || right). */
void truc_node_hash(struct truc_hash *out, const struct truc_hash *left, const struct truc_hash *right);
/* SHA-256 of nothing: the head of an empty tree. */
void truc_empty_root(struct truc_hash *out);

/* The head over `count` leaf hashes, computed in place: `leaves` is scratch afterwards. count may be 0. */
void truc_merkle_root(struct truc_hash *leaves, size_t count, struct truc_hash *out);

/* Hash of the perfect subtree at (level, index): 2^level leaves from index * 2^level. Returns an error for a node that
 * it cannot give; that error is handed on by the functions below. */
typedef truc_error (*truc_node_fn)(void *context, unsigned level, uint64_t index, struct truc_hash *out);

/* The head over leaves [begin, end), gathered from perfect subtrees. begin <= end <= 2^63. At most 64 nodes are asked
 * for where begin is a multiple of a power of two that is not below end - begin (0 always is); else up to end - begin.
 * Errors: TRUC_E_INVALID. */
TRUC_MUST_USE truc_error truc_range_root(truc_node_fn node, void *context, uint64_t begin, uint64_t end,
                                         struct truc_hash *out);
/* Inclusion path of leaf `index` in the tree of `size`, from leaf to head. Errors: TRUC_E_INVALID (index >= size). */
TRUC_MUST_USE truc_error truc_inclusion_path(truc_node_fn node, void *context, uint64_t index, uint64_t size,
                                             struct truc_hash path[TRUC_PROOF_MAX], size_t *count);
/* Consistency proof from old_size to new_size; empty when they are equal or old_size is 0.
 * Errors: TRUC_E_INVALID (old_size > new_size). */
TRUC_MUST_USE truc_error truc_consistency_path(truc_node_fn node, void *context, uint64_t old_size, uint64_t new_size,
                                               struct truc_hash path[TRUC_PROOF_MAX], size_t *count);
/* The same inclusion path for a tree whose leaf hashes are all at hand (a seal). Costs size - 1 hashes a call: for many
 * paths of one tree keep the nodes that truc_frontier_append() tells, and use truc_inclusion_path(). */
TRUC_MUST_USE truc_error truc_inclusion_path_of(const struct truc_hash *leaves, size_t size, size_t index,
                                                struct truc_hash path[TRUC_PROOF_MAX], size_t *count);

/* Verifiers: strict, no spare hashes, index < size. TRUC_OK or TRUC_E_BAD_PROOF.
 * Consistency from old_size 0 to a larger tree is TRUC_E_BAD_PROOF, as in the published vectors: nothing can be proven
 * there. A caller whose last checkpoint is of the empty tree has nothing to check and does not call. */
TRUC_MUST_USE truc_error truc_inclusion_verify(uint64_t index, uint64_t size, const struct truc_hash *leaf,
                                               const struct truc_hash *path, size_t count,
                                               const struct truc_hash *root);
TRUC_MUST_USE truc_error truc_consistency_verify(uint64_t old_size, uint64_t new_size, const struct truc_hash *path,
                                                 size_t count, const struct truc_hash *old_root,
                                                 const struct truc_hash *new_root);

/* One proof for several leaves of a small tree (a seal): the hashes of the largest subtrees without any of them, from
 * left to right (PROTOCOL.md section 9, "Multiproof"). `indexes` ascend strictly and are below size; `leaves` are all
 * leaf hashes; `nodes` has room for TRUC_MULTIPROOF_MAX. Errors: TRUC_E_INVALID. */
#define TRUC_MULTIPROOF_MAX 1024
TRUC_MUST_USE truc_error truc_multiproof_make(const struct truc_hash *leaves, uint32_t size, const uint32_t *indexes,
                                              size_t count, struct truc_hash *nodes, size_t *node_count);
/* Every hash of a small tree (1 to TRUC_MULTIPROOF_MAX leaves), kept so that many proofs cost no hashing. `tree` begins
 * with the leaf hashes and receives the levels above behind them, each from left to right, an odd last node moving up
 * as it is; it has room for truc_tree_size(size). The last one is the root. */
size_t truc_tree_size(uint32_t size);
void truc_tree_make(struct truc_hash *tree, uint32_t size);
/* truc_multiproof_make out of such a tree: the same nodes, looked up. Errors: TRUC_E_INVALID. */
TRUC_MUST_USE truc_error truc_multiproof_look_up(const struct truc_hash *tree, uint32_t size, const uint32_t *indexes,
                                                 size_t count, struct truc_hash *nodes, size_t *node_count);
/* The root that `count` leaf hashes at `indexes` and the nodes lead to; sizes up to 1024. `path`, if not NULL, receives
 * the inclusion path of the leaf number `path_of` in indexes. Errors: TRUC_E_BAD_PROOF (also for bad indexes). */
TRUC_MUST_USE truc_error truc_multiproof_root(uint32_t size, const uint32_t *indexes, const struct truc_hash *hashes,
                                              size_t count, const struct truc_hash *nodes, size_t node_count,
                                              struct truc_hash *root, size_t path_of,
                                              struct truc_hash path[TRUC_PROOF_MAX], size_t *path_count);

/* The right edge of a growing tree: one hash for each bit set in size. Append costs 2 hashes on average. */
struct truc_frontier {
    uint64_t size;
    struct truc_hash nodes[TRUC_PROOF_MAX]; /* nodes[level] is valid where bit `level` of size is set */
};

/* Appends one leaf hash. `on_node`, if not NULL, is told every perfect subtree that this completes, the leaf included.
 */
typedef void (*truc_node_sink)(void *context, unsigned level, uint64_t index, const struct truc_hash *hash);
void truc_frontier_append(struct truc_frontier *frontier, const struct truc_hash *leaf, truc_node_sink on_node,
                          void *context);
void truc_frontier_root(const struct truc_frontier *frontier, struct truc_hash *out);

#endif
