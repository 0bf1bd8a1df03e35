/* One proof for several events of a seal: every subset of small trees leads to the root, and nothing else does. */
#include "truc/merkle.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#define SMALL 9

static void make_leaves(struct truc_hash *leaves, uint32_t size)
{
    for (uint32_t i = 0; i < size; i++)
        truc_leaf_hash(&leaves[i], truc_bytes(&i, sizeof i));
}

static void every_subset_of_small_trees_leads_to_the_root(void **state)
{
    struct truc_hash leaves[SMALL], nodes[TRUC_MULTIPROOF_MAX], root, got, scratch[SMALL], path[TRUC_PROOF_MAX];
    (void)state;

    make_leaves(leaves, SMALL);
    for (uint32_t size = 1; size <= SMALL; size++) {
        memcpy(scratch, leaves, sizeof scratch);
        truc_merkle_root(scratch, size, &root);
        for (unsigned set = 1; set < 1u << size; set++) {
            uint32_t indexes[SMALL];
            struct truc_hash hashes[SMALL];
            size_t count = 0, node_count, path_count;
            for (uint32_t i = 0; i < size; i++)
                if (set >> i & 1)
                    hashes[count] = leaves[i], indexes[count++] = i;
            assert_int_equal(truc_multiproof_make(leaves, size, indexes, count, nodes, &node_count), TRUC_OK);
            for (size_t of = 0; of < count; of++) {
                assert_int_equal(
                    truc_multiproof_root(size, indexes, hashes, count, nodes, node_count, &got, of, path, &path_count),
                    TRUC_OK);
                assert_memory_equal(&got, &root, sizeof root);
                assert_int_equal(truc_inclusion_verify(indexes[of], size, &hashes[of], path, path_count, &root),
                                 TRUC_OK);
            }
            hashes[0].bytes[7] ^= 1; /* an altered event leads elsewhere */
            assert_int_equal(truc_multiproof_root(size, indexes, hashes, count, nodes, node_count, &got, 0, NULL, NULL),
                             TRUC_OK);
            assert_memory_not_equal(&got, &root, sizeof root);
        }
    }
}

static void a_kept_tree_gives_the_same_proofs(void **state)
{
    static const uint32_t sizes[] = {1, 2, 3, 5, 6, 7, 9, 64, 65, 1000, 1023, 1024};
    static struct truc_hash leaves[TRUC_MULTIPROOF_MAX], scratch[TRUC_MULTIPROOF_MAX],
        tree[2 * TRUC_MULTIPROOF_MAX + 16], made[TRUC_MULTIPROOF_MAX], found[TRUC_MULTIPROOF_MAX];
    (void)state;

    make_leaves(leaves, TRUC_MULTIPROOF_MAX);
    for (size_t s = 0; s < sizeof sizes / sizeof sizes[0]; s++) {
        uint32_t size = sizes[s], indexes[TRUC_MULTIPROOF_MAX];
        struct truc_hash root;
        memcpy(tree, leaves, size * sizeof leaves[0]);
        memcpy(scratch, leaves, size * sizeof leaves[0]);
        assert_true(truc_tree_size(size) <= sizeof tree / sizeof tree[0]);
        truc_tree_make(tree, size);
        truc_merkle_root(scratch, size, &root);
        assert_memory_equal(&tree[truc_tree_size(size) - 1], &root, sizeof root);
        /* runs as deliveries have them, and single leaves with gaps between */
        for (uint32_t first = 0; first < size; first += size / 9 + 1) {
            for (uint32_t step = 1; step <= 3; step++) {
                size_t count = 0, made_count, found_count;
                for (uint32_t i = first; i < size && count < 190; i += step)
                    indexes[count++] = i;
                assert_int_equal(truc_multiproof_make(leaves, size, indexes, count, made, &made_count), TRUC_OK);
                assert_int_equal(truc_multiproof_look_up(tree, size, indexes, count, found, &found_count), TRUC_OK);
                assert_int_equal(found_count, made_count);
                assert_memory_equal(found, made, made_count * sizeof made[0]);
            }
        }
        uint32_t beyond = size;
        size_t none;
        assert_int_equal(truc_multiproof_look_up(tree, size, &beyond, 1, found, &none), TRUC_E_INVALID);
    }
}

static void missing_and_spare_nodes_are_bad_proofs(void **state)
{
    struct truc_hash leaves[SMALL], nodes[TRUC_MULTIPROOF_MAX], got;
    uint32_t index = 3;
    size_t node_count;
    (void)state;

    make_leaves(leaves, SMALL);
    assert_int_equal(truc_multiproof_make(leaves, SMALL, &index, 1, nodes, &node_count), TRUC_OK);
    assert_int_equal(truc_multiproof_root(SMALL, &index, &leaves[3], 1, nodes, node_count - 1, &got, 0, NULL, NULL),
                     TRUC_E_BAD_PROOF);
    nodes[node_count] = nodes[0];
    assert_int_equal(truc_multiproof_root(SMALL, &index, &leaves[3], 1, nodes, node_count + 1, &got, 0, NULL, NULL),
                     TRUC_E_BAD_PROOF);
}

static void indexes_out_of_range_or_order_are_refused(void **state)
{
    struct truc_hash leaves[SMALL], nodes[TRUC_MULTIPROOF_MAX], got;
    uint32_t beyond[] = {1, 9}, twice[] = {2, 2}, falling[] = {4, 3};
    size_t node_count;
    (void)state;

    make_leaves(leaves, SMALL);
    const uint32_t *bad[] = {beyond, twice, falling};
    for (size_t i = 0; i < 3; i++) {
        assert_int_equal(truc_multiproof_make(leaves, SMALL, bad[i], 2, nodes, &node_count), TRUC_E_INVALID);
        assert_int_equal(truc_multiproof_root(SMALL, bad[i], leaves, 2, nodes, 0, &got, 0, NULL, NULL),
                         TRUC_E_BAD_PROOF);
    }
    assert_int_equal(truc_multiproof_root(0, beyond, leaves, 0, nodes, 0, &got, 0, NULL, NULL), TRUC_E_BAD_PROOF);
    assert_int_equal(truc_multiproof_root(TRUC_MULTIPROOF_MAX + 1, beyond, leaves, 2, nodes, 0, &got, 0, NULL, NULL),
                     TRUC_E_BAD_PROOF);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_subset_of_small_trees_leads_to_the_root),
        cmocka_unit_test(a_kept_tree_gives_the_same_proofs),
        cmocka_unit_test(missing_and_spare_nodes_are_bad_proofs),
        cmocka_unit_test(indexes_out_of_range_or_order_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
