/* Proofs. First byte: 0 the text of a tlog-proof; 1 paths of any kind against the verifiers; 2 proofs that a small tree
 * gives, which must hold, and must not hold once a bit is another; 3 the same for multiproofs. */
#include "tests/fuzz/fuzz.h"
#include "truc/note.h"

#define LEAVES 64

static struct truc_key *key;
static struct truc_note_verifier verifier;

static void check_text(struct truc_bytes text)
{
    struct truc_tlog_proof proof;
    struct truc_checkpoint checkpoint;
    struct truc_buffer again = {0};
    if (truc_tlog_proof_parse(text, &proof) == TRUC_OK) {
        FUZZ_CHECK(proof.count <= TRUC_PROOF_MAX);
        FUZZ_CHECK(truc_tlog_proof_verify(&proof, text, &verifier, &checkpoint) != TRUC_OK);
        FUZZ_OK(truc_tlog_proof_text(&proof, &again));
        struct truc_tlog_proof same;
        FUZZ_OK(truc_tlog_proof_parse(truc_buffer_view(&again), &same));
        FUZZ_CHECK(same.index == proof.index && same.count == proof.count);
        FUZZ_CHECK(memcmp(same.path, proof.path, proof.count * sizeof proof.path[0]) == 0);
    }
    truc_buffer_close(&again);
}

static struct truc_hash hash_of(struct fuzz *fuzz)
{
    struct truc_hash hash;
    memset(&hash, fuzz_u8(fuzz), sizeof hash);
    return hash;
}

static void check_any(struct fuzz *fuzz)
{
    struct truc_hash path[TRUC_PROOF_MAX + 2], a = hash_of(fuzz), b = hash_of(fuzz), root;
    uint32_t indexes[16];
    uint64_t first = fuzz_number(fuzz), second = fuzz_number(fuzz);
    size_t count = fuzz_u8(fuzz) % (TRUC_PROOF_MAX + 3), leaves = fuzz_u8(fuzz) % 17, path_count;
    struct truc_hash *nodes = calloc(TRUC_MULTIPROOF_MAX + 1, sizeof *nodes), hashes[16], out[TRUC_PROOF_MAX];
    FUZZ_CHECK(nodes != NULL);
    for (size_t i = 0; i < count; i++) {
        path[i] = nodes[i] = hash_of(fuzz);
    }
    for (size_t i = 0; i < leaves; i++) {
        indexes[i] = (uint32_t)fuzz_number(fuzz);
        hashes[i] = hash_of(fuzz);
    }
    truc_error error = truc_inclusion_verify(first, second, &a, path, count, &b);
    FUZZ_CHECK(error == TRUC_E_BAD_PROOF || (error == TRUC_OK && count == 0 && second == 1));
    FUZZ_ANY(truc_consistency_verify(first, second, path, count, &a, &b));
    FUZZ_ANY(truc_multiproof_root((uint32_t)second, indexes, hashes, leaves, nodes, count, &root, fuzz_u8(fuzz), out,
                                  &path_count));
    FUZZ_ANY(truc_multiproof_make(nodes, (uint32_t)(second % (TRUC_MULTIPROOF_MAX + 1)), indexes, leaves, nodes,
                                  &path_count));
    free(nodes);
}

struct tree {
    struct truc_hash leaves[LEAVES], scratch[LEAVES];
    size_t size;
};

static void tree_of(struct fuzz *fuzz, struct tree *tree)
{
    tree->size = fuzz_u8(fuzz) % LEAVES + 1;
    for (size_t i = 0; i < tree->size; i++) {
        const uint8_t leaf[2] = {(uint8_t)i, fuzz_u8(fuzz)};
        truc_leaf_hash(&tree->leaves[i], truc_bytes(leaf, sizeof leaf));
    }
}

static struct truc_hash root_of(struct tree *tree, size_t size)
{
    struct truc_hash root;
    memcpy(tree->scratch, tree->leaves, size * sizeof tree->leaves[0]);
    truc_merkle_root(tree->scratch, size, &root);
    return root;
}

static truc_error node_of(void *context, unsigned level, uint64_t index, struct truc_hash *out)
{
    struct tree *tree = context;
    uint64_t width = UINT64_C(1) << level;
    FUZZ_CHECK(level < 7 && (index + 1) * width <= tree->size);
    memcpy(tree->scratch, &tree->leaves[index * width], width * sizeof tree->leaves[0]);
    truc_merkle_root(tree->scratch, width, out);
    return TRUC_OK;
}

static void check_tree(struct fuzz *fuzz)
{
    struct tree tree;
    struct truc_hash path[TRUC_PROOF_MAX], direct[TRUC_PROOF_MAX];
    size_t count, same;
    tree_of(fuzz, &tree);
    size_t index = fuzz_u8(fuzz) % tree.size, old_size = fuzz_u8(fuzz) % tree.size + 1;
    struct truc_hash root = root_of(&tree, tree.size), old_root = root_of(&tree, old_size), other = root;
    FUZZ_OK(truc_inclusion_path(node_of, &tree, index, tree.size, path, &count));
    FUZZ_OK(truc_inclusion_path_of(tree.leaves, tree.size, index, direct, &same));
    FUZZ_CHECK(same == count && memcmp(path, direct, count * sizeof path[0]) == 0);
    FUZZ_OK(truc_inclusion_verify(index, tree.size, &tree.leaves[index], path, count, &root));
    other.bytes[fuzz_u8(fuzz) % TRUC_HASH_SIZE] ^= (uint8_t)(1u << fuzz_u8(fuzz) % 8);
    FUZZ_CHECK(truc_inclusion_verify(index, tree.size, &tree.leaves[index], path, count, &other) == TRUC_E_BAD_PROOF);
    if (count > 0) {
        FUZZ_CHECK(truc_inclusion_verify(index, tree.size, &tree.leaves[index], path, count - 1, &root) ==
                   TRUC_E_BAD_PROOF);
        path[fuzz_u8(fuzz) % count].bytes[0] ^= 1;
        FUZZ_CHECK(truc_inclusion_verify(index, tree.size, &tree.leaves[index], path, count, &root) ==
                   TRUC_E_BAD_PROOF);
    }
    FUZZ_OK(truc_consistency_path(node_of, &tree, old_size, tree.size, path, &count));
    FUZZ_OK(truc_consistency_verify(old_size, tree.size, path, count, &old_root, &root));
    FUZZ_CHECK(truc_consistency_verify(old_size, tree.size, path, count, &old_root, &other) == TRUC_E_BAD_PROOF);
}

static void check_multiproof(struct fuzz *fuzz)
{
    struct tree tree;
    struct truc_hash nodes[LEAVES], looked_up[LEAVES], hashes[LEAVES], whole[2 * LEAVES + 16], path[TRUC_PROOF_MAX],
        root;
    uint32_t indexes[LEAVES];
    size_t count = 0, node_count, same, path_count;
    tree_of(fuzz, &tree);
    for (uint32_t i = 0; i < tree.size; i++) {
        if (fuzz_u8(fuzz) & 1 || (i + 1 == tree.size && count == 0)) {
            hashes[count] = tree.leaves[i];
            indexes[count++] = i;
        }
    }
    FUZZ_CHECK(truc_tree_size((uint32_t)tree.size) <= sizeof whole / sizeof whole[0]);
    memcpy(whole, tree.leaves, tree.size * sizeof whole[0]);
    truc_tree_make(whole, (uint32_t)tree.size);
    FUZZ_OK(truc_multiproof_make(tree.leaves, (uint32_t)tree.size, indexes, count, nodes, &node_count));
    FUZZ_OK(truc_multiproof_look_up(whole, (uint32_t)tree.size, indexes, count, looked_up, &same));
    FUZZ_CHECK(same == node_count && memcmp(nodes, looked_up, same * sizeof nodes[0]) == 0);
    struct truc_hash expected = root_of(&tree, tree.size);
    size_t of = fuzz_u8(fuzz) % count;
    FUZZ_OK(truc_multiproof_root((uint32_t)tree.size, indexes, hashes, count, nodes, node_count, &root, of, path,
                                 &path_count));
    FUZZ_CHECK(memcmp(&root, &expected, sizeof root) == 0);
    FUZZ_OK(truc_inclusion_verify(indexes[of], tree.size, &hashes[of], path, path_count, &expected));
    if (node_count > 0) {
        FUZZ_CHECK(truc_multiproof_root((uint32_t)tree.size, indexes, hashes, count, nodes, node_count - 1, &root, of,
                                        path, &path_count) == TRUC_E_BAD_PROOF);
    }
    hashes[of].bytes[3] ^= 1;
    truc_error error = truc_multiproof_root((uint32_t)tree.size, indexes, hashes, count, nodes, node_count, &root, of,
                                            path, &path_count);
    FUZZ_CHECK(error != TRUC_OK || memcmp(&root, &expected, sizeof root) != 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct fuzz fuzz = fuzz_of(data, size);
    if (key == NULL) {
        FUZZ_OK(truc_key_generate(TRUC_ALGORITHM_ED25519, &key));
        FUZZ_OK(truc_note_verifier_make("log.example/test", key, &verifier));
    }
    switch (fuzz_u8(&fuzz) % 4) {
    case 0:
        check_text(fuzz_rest(&fuzz));
        break;
    case 1:
        check_any(&fuzz);
        break;
    case 2:
        check_tree(&fuzz);
        break;
    default:
        check_multiproof(&fuzz);
        break;
    }
    return 0;
}

void fuzz_seeds(void)
{
    struct truc_tlog_proof proof = {.index = 7, .count = 2};
    struct truc_checkpoint checkpoint = {.origin = "log.example/test", .size = 9};
    struct truc_buffer note = {0}, out = {0};
    (void)LLVMFuzzerTestOneInput(NULL, 0);
    FUZZ_OK(truc_checkpoint_sign(&checkpoint, key, &note));
    proof.checkpoint = truc_buffer_view(&note);
    fuzz_put_u8(&out, 0);
    FUZZ_OK(truc_tlog_proof_text(&proof, &out));
    fuzz_seed("text", truc_buffer_view(&out));
    fuzz_seed("any", truc_bytes("\1\1\2\3\11\3\2\5\6\7\0\10\2\11", 14));
    fuzz_seed("tree", truc_bytes("\2\25\1\2\3\4\5\6\7\10\11\12\13\14\15\16\17\20\21\22\23\24\25\7\6\5\4\3\2\1", 30));
    fuzz_seed("multiproof", truc_bytes("\3\15\1\2\3\4\5\6\7\10\11\12\13\14\15\16\1\0\1\0\0\1\1\0\1\0\0\0\1\2", 30));
    truc_buffer_close(&note);
    truc_buffer_close(&out);
}
