/* RFC 6962 trees: published heads, proofs and refusals, and every proof of every tree up to 130 leaves. */
#include "tests/unit/proto/vectors.h"
#include "truc/merkle.h"

#include <dirent.h>
#include <fnmatch.h>

#define MANY 130
#define LEVELS 9

/* All perfect subtrees of a tree of one-byte leaves 0x00, 0x01, ..., gathered by a frontier's sink. */
struct forest {
    struct truc_hash nodes[LEVELS][MANY];
    size_t told;
    truc_error refuse; /* given for every node where not TRUC_OK */
};

static void on_node(void *context, unsigned level, uint64_t index, const struct truc_hash *hash)
{
    struct forest *forest = context;
    assert_in_range(level, 0, LEVELS - 1);
    assert_in_range(index, 0, (MANY >> level) - 1);
    forest->nodes[level][index] = *hash;
    forest->told++;
}

static truc_error node_of(void *context, unsigned level, uint64_t index, struct truc_hash *out)
{
    const struct forest *forest = context;
    if (forest->refuse != TRUC_OK) {
        return forest->refuse;
    }
    assert_in_range(level, 0, LEVELS - 1);
    assert_in_range(index, 0, (MANY >> level) - 1);
    *out = forest->nodes[level][index];
    return TRUC_OK;
}

static struct forest forest;
static struct truc_hash leaves[MANY];
static struct truc_hash roots[MANY + 1];

/* The definition of RFC 6962 section 2.1, word for word, as what the others are compared with. */
static void definition(size_t begin, size_t end, struct truc_hash *out)
{
    size_t k = 1;
    if (end - begin == 0) {
        truc_sha256(out, truc_bytes_of(""));
        return;
    }
    if (end - begin == 1) {
        *out = leaves[begin];
        return;
    }
    while (k * 2 < end - begin) {
        k *= 2;
    }
    struct truc_hash left, right;
    definition(begin, begin + k, &left);
    definition(begin + k, end, &right);
    truc_node_hash(out, &left, &right);
}

static int plant(void **state)
{
    (void)state;
    static struct truc_frontier frontier;
    for (unsigned i = 0; i < MANY; i++) {
        uint8_t value = (uint8_t)i;
        truc_leaf_hash(&leaves[i], truc_bytes(&value, 1));
        truc_frontier_append(&frontier, &leaves[i], on_node, &forest);
    }
    for (size_t size = 0; size <= MANY; size++) {
        definition(0, size, &roots[size]);
    }
    return 0;
}

static void assert_hash(const struct truc_hash *got, const struct truc_hash *wanted)
{
    assert_memory_equal(got->bytes, wanted->bytes, TRUC_HASH_SIZE);
}

/* transparency-dev/merkle testonly/constants.go, after RFC 6962: eight leaves, nine heads. */
static void the_eight_standard_leaves_have_their_known_heads(void **state)
{
    (void)state;
    static const char *const inputs[8] = {
        "", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f"};
    static const char *const heads[9] = {"e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
                                         "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
                                         "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
                                         "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
                                         "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
                                         "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
                                         "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
                                         "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
                                         "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328"};
    struct truc_frontier frontier = {0};
    struct truc_hash standard[8], scratch[8], head;
    for (size_t size = 0; size <= 8; size++) {
        memcpy(scratch, standard, size * sizeof scratch[0]);
        truc_merkle_root(scratch, size, &head);
        assert_hex(truc_bytes(head.bytes, sizeof head.bytes), heads[size]);
        truc_frontier_root(&frontier, &head);
        assert_hex(truc_bytes(head.bytes, sizeof head.bytes), heads[size]);
        if (size < 8) {
            struct truc_buffer input = {0};
            from_hex(inputs[size], &input);
            truc_leaf_hash(&standard[size], truc_buffer_view(&input));
            truc_frontier_append(&frontier, &standard[size], NULL, NULL);
            truc_buffer_close(&input);
        }
    }
}

static void all_ways_to_a_head_agree(void **state)
{
    (void)state;
    struct truc_frontier frontier = {0};
    struct truc_hash scratch[MANY], head;
    for (size_t size = 0; size <= MANY; size++) {
        memcpy(scratch, leaves, size * sizeof scratch[0]);
        truc_merkle_root(scratch, size, &head);
        assert_hash(&head, &roots[size]);
        truc_frontier_root(&frontier, &head);
        assert_hash(&head, &roots[size]);
        assert_int_equal(truc_range_root(node_of, &forest, 0, size, &head), TRUC_OK);
        assert_hash(&head, &roots[size]);
        if (size < MANY) {
            truc_frontier_append(&frontier, &leaves[size], NULL, NULL);
        }
    }
    truc_empty_root(&head);
    assert_hash(&head, &roots[0]);
}

static void the_head_of_any_range_is_that_of_its_leaves_alone(void **state)
{
    (void)state;
    struct truc_hash head, wanted;
    for (size_t end = 0; end <= MANY; end++) {
        for (size_t begin = 0; begin <= end; begin++) {
            definition(begin, end, &wanted);
            assert_int_equal(truc_range_root(node_of, &forest, begin, end, &head), TRUC_OK);
            assert_hash(&head, &wanted);
        }
    }
    assert_int_equal(truc_range_root(node_of, &forest, 2, 1, &head), TRUC_E_INVALID);
    assert_int_equal(truc_range_root(node_of, &forest, 0, UINT64_MAX, &head), TRUC_E_INVALID);
}

static void a_frontier_tells_every_perfect_subtree_once(void **state)
{
    (void)state;
    size_t perfect = 0;
    for (unsigned level = 0; MANY >> level > 0; level++) {
        perfect += (size_t)MANY >> level;
        for (size_t i = 0; i < (size_t)MANY >> level; i++) {
            struct truc_hash wanted;
            definition(i << level, (i + 1) << level, &wanted);
            assert_hash(&forest.nodes[level][i], &wanted);
        }
    }
    assert_int_equal(forest.told, perfect);
}

/* Whatever single hash, position or size is changed, the proof falls. */
static void assert_inclusion_is_tight(uint64_t index, uint64_t size, struct truc_hash *path, size_t count)
{
    const struct truc_hash *leaf = &leaves[index], *root = &roots[size];
    assert_int_equal(truc_inclusion_verify(index, size, leaf, path, count, root), TRUC_OK);
    for (size_t i = 0; i < count; i++) {
        path[i].bytes[i % TRUC_HASH_SIZE] ^= 0x10;
        assert_int_equal(truc_inclusion_verify(index, size, leaf, path, count, root), TRUC_E_BAD_PROOF);
        path[i].bytes[i % TRUC_HASH_SIZE] ^= 0x10;
    }
    path[count] = *root;
    assert_int_equal(truc_inclusion_verify(index, size, leaf, path, count + 1, root), TRUC_E_BAD_PROOF);
    if (count > 0) {
        assert_int_equal(truc_inclusion_verify(index, size, leaf, path, count - 1, root), TRUC_E_BAD_PROOF);
        assert_int_equal(truc_inclusion_verify(index ^ 1, size, leaf, path, count, root), TRUC_E_BAD_PROOF);
    }
    assert_int_equal(truc_inclusion_verify(index + size, size, leaf, path, count, root), TRUC_E_BAD_PROOF);
    assert_int_equal(truc_inclusion_verify(UINT64_MAX, size, leaf, path, count, root), TRUC_E_BAD_PROOF);
    assert_int_equal(truc_inclusion_verify(index, 0, leaf, path, count, root), TRUC_E_BAD_PROOF);
    assert_int_equal(truc_inclusion_verify(index, size, leaf, path, count, &roots[size - 1]), TRUC_E_BAD_PROOF);
}

static void every_leaf_of_every_tree_is_proven(void **state)
{
    (void)state;
    struct truc_hash path[TRUC_PROOF_MAX], same[TRUC_PROOF_MAX];
    size_t count, same_count;
    for (size_t size = 1; size <= MANY; size++) {
        for (size_t index = 0; index < size; index++) {
            assert_int_equal(truc_inclusion_path(node_of, &forest, index, size, path, &count), TRUC_OK);
            assert_int_equal(truc_inclusion_path_of(leaves, size, index, same, &same_count), TRUC_OK);
            assert_int_equal(count, same_count);
            if (count > 0) {
                assert_memory_equal(path, same, count * sizeof path[0]);
            }
            assert_inclusion_is_tight(index, size, path, count);
        }
        assert_int_equal(truc_inclusion_path(node_of, &forest, size, size, path, &count), TRUC_E_INVALID);
        assert_int_equal(truc_inclusion_path_of(leaves, size, size, path, &count), TRUC_E_INVALID);
    }
    assert_int_equal(truc_inclusion_path(node_of, &forest, 0, 0, path, &count), TRUC_E_INVALID);
}

static void assert_consistency_is_tight(uint64_t old, uint64_t new, struct truc_hash *path, size_t count)
{
    const struct truc_hash *before = &roots[old], *after = &roots[new];
    assert_int_equal(truc_consistency_verify(old, new, path, count, before, after), TRUC_OK);
    for (size_t i = 0; i < count; i++) {
        path[i].bytes[i % TRUC_HASH_SIZE] ^= 0x10;
        assert_int_equal(truc_consistency_verify(old, new, path, count, before, after), TRUC_E_BAD_PROOF);
        path[i].bytes[i % TRUC_HASH_SIZE] ^= 0x10;
    }
    path[count] = *after;
    assert_int_equal(truc_consistency_verify(old, new, path, count + 1, before, after), TRUC_E_BAD_PROOF);
    if (count > 0) {
        assert_int_equal(truc_consistency_verify(old, new, path, count - 1, before, after), TRUC_E_BAD_PROOF);
        assert_int_equal(truc_consistency_verify(new, old, path, count, before, after), TRUC_E_BAD_PROOF);
    }
    assert_int_equal(truc_consistency_verify(old, new, path, count, &roots[old - 1], after), TRUC_E_BAD_PROOF);
    assert_int_equal(truc_consistency_verify(old, new, path, count, before, &roots[new - 1]), TRUC_E_BAD_PROOF);
    assert_int_equal(truc_consistency_verify(0, new, path, count, before, after), TRUC_E_BAD_PROOF);
}

static void every_tree_continues_every_earlier_one(void **state)
{
    (void)state;
    struct truc_hash path[TRUC_PROOF_MAX];
    size_t count;
    for (size_t new = 1; new <= MANY; new ++) {
        for (size_t old = 1; old <= new; old++) {
            assert_int_equal(truc_consistency_path(node_of, &forest, old, new, path, &count), TRUC_OK);
            assert_int_equal(count == 0, old == new);
            assert_consistency_is_tight(old, new, path, count);
        }
        assert_int_equal(truc_consistency_path(node_of, &forest, new + 1, new, path, &count), TRUC_E_INVALID);
        assert_int_equal(truc_consistency_path(node_of, &forest, 0, new, path, &count), TRUC_OK);
        assert_int_equal(count, 0);
    }
}

static void an_empty_tree_proves_nothing(void **state)
{
    (void)state;
    assert_int_equal(truc_consistency_verify(0, 0, NULL, 0, &roots[0], &roots[0]), TRUC_OK);
    assert_int_equal(truc_consistency_verify(0, 0, NULL, 0, &roots[1], &roots[1]), TRUC_E_BAD_PROOF);
    assert_int_equal(truc_consistency_verify(0, 1, NULL, 0, &roots[0], &roots[1]), TRUC_E_BAD_PROOF);
}

static void a_store_that_fails_is_not_papered_over(void **state)
{
    (void)state;
    struct forest broken = {.refuse = TRUC_E_CORRUPT};
    struct truc_hash path[TRUC_PROOF_MAX];
    size_t count;
    assert_int_equal(truc_range_root(node_of, &broken, 0, 7, path), TRUC_E_CORRUPT);
    assert_int_equal(truc_inclusion_path(node_of, &broken, 3, 7, path, &count), TRUC_E_CORRUPT);
    assert_int_equal(truc_consistency_path(node_of, &broken, 3, 7, path, &count), TRUC_E_CORRUPT);
    assert_int_equal(truc_consistency_path(node_of, &broken, 4, 7, path, &count), TRUC_E_CORRUPT);
}

static truc_error any_node(void *context, unsigned level, uint64_t index, struct truc_hash *out)
{
    (void)context;
    memset(out, (int)(level ^ index), sizeof *out);
    return TRUC_OK;
}

static void the_largest_trees_fit_the_longest_proof(void **state)
{
    (void)state;
    struct truc_hash path[TRUC_PROOF_MAX], head;
    const uint64_t sizes[] = {(uint64_t)1 << 63, ((uint64_t)1 << 63) - 1, ((uint64_t)1 << 62) + 1};
    for (size_t i = 0; i < 3; i++) {
        size_t count = 0;
        assert_int_equal(truc_inclusion_path(any_node, NULL, 0, sizes[i], path, &count), TRUC_OK);
        assert_in_range(count, 62, TRUC_PROOF_MAX);
        assert_int_equal(truc_range_root(any_node, NULL, 0, sizes[i], &head), TRUC_OK);
        assert_int_equal(truc_consistency_path(any_node, NULL, sizes[i] - 1, sizes[i], path, &count), TRUC_OK);
        assert_in_range(count, 1, TRUC_PROOF_MAX);
    }
    size_t count = 0;
    assert_int_equal(truc_inclusion_path(any_node, NULL, 0, UINT64_MAX, path, &count), TRUC_E_INVALID);
    assert_int_equal(truc_consistency_path(any_node, NULL, 1, UINT64_MAX, path, &count), TRUC_E_INVALID);
    /* A hostile size is only arithmetic to the verifiers. */
    assert_int_equal(truc_inclusion_verify(UINT64_MAX - 1, UINT64_MAX, &leaves[0], path, 64, &roots[1]),
                     TRUC_E_BAD_PROOF);
    assert_int_equal(truc_consistency_verify(UINT64_MAX - 1, UINT64_MAX, path, 64, &roots[1], &roots[2]),
                     TRUC_E_BAD_PROOF);
}

/* --- the rolling hashes of draft-ietf-plants-merkle-tree-certs, appendix "Subtree Test Vectors", as reproduced by
 * transparency-dev/merkle testonly/vectors_test.go: one line for each valid subtree [start, end) of up to 130 leaves
 * --- */

static bool is_subtree(uint64_t start, uint64_t end)
{
    uint64_t ceiling = 1;
    while (ceiling < end - start) {
        ceiling *= 2;
    }
    return start == end || start % ceiling == 0;
}

static void add_hashes(struct truc_buffer *text, const struct truc_hash *hashes, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        char hex[2 * TRUC_HASH_SIZE + 1];
        truc_hex(truc_bytes(hashes[i].bytes, TRUC_HASH_SIZE), hex);
        assert_int_equal(truc_buffer_printf(text, " %s", hex), TRUC_OK);
    }
    assert_int_equal(truc_buffer_append(text, "\n", 1), TRUC_OK);
}

static void assert_rolls_to(struct truc_buffer *text, const char *wanted)
{
    struct truc_hash digest;
    truc_sha256(&digest, truc_buffer_view(text));
    truc_buffer_close(text);
    assert_hex(truc_bytes(digest.bytes, sizeof digest.bytes), wanted);
}

static void subtree_heads_roll_to_the_published_hash(void **state)
{
    (void)state;
    struct truc_buffer text = {0};
    for (unsigned end = 0; end <= MANY; end++) {
        for (unsigned start = 0; start <= end; start++) {
            struct truc_hash head;
            if (is_subtree(start, end)) {
                assert_int_equal(truc_range_root(node_of, &forest, start, end, &head), TRUC_OK);
                assert_int_equal(truc_buffer_printf(&text, "[%u, %u)", start, end), TRUC_OK);
                add_hashes(&text, &head, 1);
            }
        }
    }
    assert_rolls_to(&text, "b82806ad4265bb151c1119c0f4db437bb4d1a1f887b3a7fba1cd4ebf552e3e81");
}

static void subtree_inclusion_proofs_roll_to_the_published_hash(void **state)
{
    (void)state;
    struct truc_buffer text = {0};
    for (unsigned end = 0; end <= MANY; end++) {
        for (unsigned start = 0; start <= end; start++) {
            for (unsigned index = start; is_subtree(start, end) && index < end; index++) {
                struct truc_hash path[TRUC_PROOF_MAX];
                size_t count;
                assert_int_equal(truc_inclusion_path_of(leaves + start, end - start, index - start, path, &count),
                                 TRUC_OK);
                assert_int_equal(truc_buffer_printf(&text, "%u [%u, %u)", index, start, end), TRUC_OK);
                add_hashes(&text, path, count);
            }
        }
    }
    assert_rolls_to(&text, "ac2a8f989e44d99e399db448050ff5f19757df53cfb716aa81015d3955d8163f");
}

/* The draft's SUBTREE_SUBPROOF(start, end, D[from:to], known). We make the case start = 0 only, which is RFC 6962's
 * PROOF; the rest is written down here, and what both can do is compared before it is rolled in. */
static void subtree_proof(uint64_t start, uint64_t end, uint64_t from, uint64_t to, bool known, struct truc_hash *path,
                          size_t *count)
{
    if (start == from && end == to) {
        if (!known) {
            assert_int_equal(truc_range_root(node_of, &forest, from, to, &path[(*count)++]), TRUC_OK);
        }
        return;
    }
    uint64_t k = 1;
    while (k * 2 < to - from) {
        k *= 2;
    }
    bool left = end <= from + k;
    if (left) {
        subtree_proof(start, end, from, from + k, known, path, count);
    } else {
        bool spans = start < from + k;
        subtree_proof(spans ? from + k : start, end, from + k, to, spans ? false : known, path, count);
    }
    uint64_t other = left ? from + k : from;
    assert_int_equal(truc_range_root(node_of, &forest, other, left ? to : from + k, &path[(*count)++]), TRUC_OK);
}

static void subtree_consistency_proofs_roll_to_the_published_hash(void **state)
{
    (void)state;
    struct truc_buffer text = {0};
    size_t compared = 0;
    for (unsigned size = 0; size <= MANY; size++) {
        for (unsigned end = 0; end <= size; end++) {
            for (unsigned start = 0; start <= end; start++) {
                struct truc_hash path[TRUC_PROOF_MAX], ours[TRUC_PROOF_MAX];
                size_t count = 0, ours_count;
                if (!is_subtree(start, end)) {
                    continue;
                }
                if (start < end) {
                    subtree_proof(start, end, 0, size, true, path, &count);
                }
                if (start == 0) {
                    assert_int_equal(truc_consistency_path(node_of, &forest, end, size, ours, &ours_count), TRUC_OK);
                    assert_int_equal(count, ours_count);
                    assert_true(count == 0 || memcmp(path, ours, count * sizeof path[0]) == 0);
                    compared++;
                }
                assert_int_equal(truc_buffer_printf(&text, "[%u, %u) %u", start, end, size), TRUC_OK);
                add_hashes(&text, path, count);
            }
        }
    }
    assert_int_equal(compared, (MANY + 1) * (MANY + 2) / 2);
    assert_rolls_to(&text, "10fa99b37bf9bf9ffa26b412fbd98bd75363256d0b75d61bc4538b9c9c5a0a74");
}

/* --- the published JSON cases --- */

/* Some cases hold words instead of a hash, where only equality matters: they are filled up with zeros. false where
 * there is nothing at all, which no decoder of ours would hand to a verifier. */
static bool read_hash(const json_t *text, struct truc_hash *out)
{
    struct truc_buffer bytes = {0};
    const char *value = json_string_value(text);
    memset(out, 0, sizeof *out);
    assert_int_equal(truc_base64_decode(truc_bytes_of(value != NULL ? value : ""), &bytes), TRUC_OK);
    assert_in_range(bytes.size, 0, TRUC_HASH_SIZE);
    if (bytes.size > 0) {
        memcpy(out->bytes, bytes.data, bytes.size);
    }
    bool present = bytes.size > 0;
    truc_buffer_close(&bytes);
    return present;
}

static uint64_t read_number(const json_t *json, const char *name)
{
    const json_t *number = json_object_get(json, name);
    assert_true(json_is_real(number));
    double value = json_real_value(number);
    assert_true(value >= 0);
    return value >= 18446744073709551615.0 ? UINT64_MAX : (uint64_t)value;
}

static bool verify_case(const json_t *json, bool inclusion)
{
    struct truc_hash path[TRUC_PROOF_MAX], first, second;
    size_t count = json_array_size(json_object_get(json, "proof"));
    assert_in_range(count, 0, TRUC_PROOF_MAX);
    for (size_t i = 0; i < count; i++) {
        (void)read_hash(json_array_get(json_object_get(json, "proof"), i), &path[i]); /* an empty one is as wrong */
    }
    if (!read_hash(json_object_get(json, inclusion ? "leafHash" : "root1"), &first) ||
        !read_hash(json_object_get(json, inclusion ? "root" : "root2"), &second)) {
        return false;
    }
    truc_error error = inclusion ? truc_inclusion_verify(read_number(json, "leafIdx"), read_number(json, "treeSize"),
                                                         &first, path, count, &second)
                                 : truc_consistency_verify(read_number(json, "size1"), read_number(json, "size2"), path,
                                                           count, &first, &second);
    assert_true(error == TRUC_OK || error == TRUC_E_BAD_PROOF);
    return error == TRUC_OK;
}

struct tally {
    size_t cases;
    size_t valid;
};

static void run_folder(const char *folder, bool inclusion, struct tally *tally)
{
    DIR *entries = opendir(folder);
    assert_non_null(entries);
    for (struct dirent *entry; (entry = readdir(entries)) != NULL;) {
        char path[4096];
        if (entry->d_name[0] == '.') {
            continue;
        }
        assert_in_range(snprintf(path, sizeof path, "%s/%s", folder, entry->d_name), 1, sizeof path - 1);
        if (fnmatch("*.json", entry->d_name, 0) != 0) {
            run_folder(path, inclusion, tally);
            continue;
        }
        json_t *json = vectors_load(path);
        const json_t *refuse = json_object_get(json, "wantErr");
        assert_true(json_is_boolean(refuse));
        if (verify_case(json, inclusion) == json_is_true(refuse)) {
            fail_msg("%s: %s", path, json_is_true(refuse) ? "accepted, must be refused" : "refused, must be accepted");
        }
        tally->cases++;
        tally->valid += json_is_false(refuse);
        json_decref(json);
    }
    closedir(entries);
}

static void published_inclusion_cases_come_out_as_they_must(void **state)
{
    (void)state;
    char folder[4096];
    struct tally tally = {0};
    vectors_path("merkle/inclusion", folder, sizeof folder);
    run_folder(folder, true, &tally);
    assert_int_equal(tally.cases, 98);
    assert_in_range(tally.valid, 5, 97);
}

static void published_consistency_cases_come_out_as_they_must(void **state)
{
    (void)state;
    char folder[4096];
    struct tally tally = {0};
    vectors_path("merkle/consistency", folder, sizeof folder);
    run_folder(folder, false, &tally);
    assert_int_equal(tally.cases, 98);
    assert_in_range(tally.valid, 5, 97);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_eight_standard_leaves_have_their_known_heads),
        cmocka_unit_test(all_ways_to_a_head_agree),
        cmocka_unit_test(the_head_of_any_range_is_that_of_its_leaves_alone),
        cmocka_unit_test(a_frontier_tells_every_perfect_subtree_once),
        cmocka_unit_test(every_leaf_of_every_tree_is_proven),
        cmocka_unit_test(every_tree_continues_every_earlier_one),
        cmocka_unit_test(an_empty_tree_proves_nothing),
        cmocka_unit_test(a_store_that_fails_is_not_papered_over),
        cmocka_unit_test(the_largest_trees_fit_the_longest_proof),
        cmocka_unit_test(subtree_heads_roll_to_the_published_hash),
        cmocka_unit_test(subtree_inclusion_proofs_roll_to_the_published_hash),
        cmocka_unit_test(subtree_consistency_proofs_roll_to_the_published_hash),
        cmocka_unit_test(published_inclusion_cases_come_out_as_they_must),
        cmocka_unit_test(published_consistency_cases_come_out_as_they_must),
    };
    return cmocka_run_group_tests(tests, plant, NULL);
}
