/* tlog-proofs: every leaf is proven by its text, and nothing that is nearly a proof passes. */
#include "tests/unit/proto/vectors.h"
#include "truc/note.h"

#define ROOT "XFxcXFxcXFxcXFxcXFxcXFxcXFxcXFxcXFxcXFxcXFw=\n"

struct scene {
    struct truc_key *log_key;
    struct truc_note_verifier log;
    struct truc_note_verifier stranger; /* the log's key under another name */
};

static int open_scene(void **state)
{
    struct scene *scene = calloc(1, sizeof *scene);
    assert_non_null(scene);
    assert_int_equal(truc_key_generate(TRUC_ALGORITHM_ED25519, &scene->log_key), TRUC_OK);
    assert_int_equal(truc_note_verifier_make("truc.example/log", scene->log_key, &scene->log), TRUC_OK);
    assert_int_equal(truc_note_verifier_make("truc.example/other", scene->log_key, &scene->stranger), TRUC_OK);
    *state = scene;
    return 0;
}

static int close_scene(void **state)
{
    struct scene *scene = *state;
    truc_note_verifier_close(&scene->log);
    truc_note_verifier_close(&scene->stranger);
    truc_key_free(&scene->log_key);
    free(scene);
    return 0;
}

#define LEAVES 11

/* A log of eleven leaves "leaf 0" to "leaf 10", its checkpoint, and the proof of one of them as text. */
static void make_proof(const struct scene *scene, size_t index, struct truc_buffer *note, struct truc_buffer *text)
{
    struct truc_hash hashes[LEAVES];
    struct truc_tlog_proof proof = {.index = index};
    struct truc_checkpoint checkpoint = {.origin = "truc.example/log", .size = LEAVES};
    for (size_t i = 0; i < LEAVES; i++) {
        char leaf[16];
        (void)snprintf(leaf, sizeof leaf, "leaf %zu", i);
        truc_leaf_hash(&hashes[i], truc_bytes_of(leaf));
    }
    assert_int_equal(truc_inclusion_path_of(hashes, LEAVES, index, proof.path, &proof.count), TRUC_OK);
    truc_merkle_root(hashes, LEAVES, &checkpoint.root);
    assert_int_equal(truc_checkpoint_sign(&checkpoint, scene->log_key, note), TRUC_OK);
    proof.checkpoint = truc_buffer_view(note);
    assert_int_equal(truc_tlog_proof_text(&proof, text), TRUC_OK);
}

static void every_leaf_is_proven_by_its_text(void **state)
{
    const struct scene *scene = *state;
    for (size_t index = 0; index < LEAVES; index++) {
        struct truc_buffer note = {0}, text = {0};
        struct truc_tlog_proof proof;
        struct truc_checkpoint checkpoint;
        char leaf[16], head[64];
        make_proof(scene, index, &note, &text);
        (void)snprintf(leaf, sizeof leaf, "leaf %zu", index);
        (void)snprintf(head, sizeof head, "c2sp.org/tlog-proof@v1\nindex %zu\n", index);
        assert_memory_equal(text.data, head, strlen(head));
        assert_int_equal(truc_tlog_proof_parse(truc_buffer_view(&text), &proof), TRUC_OK);
        assert_int_equal(proof.index, index);
        assert_true(truc_bytes_equal(proof.checkpoint, truc_buffer_view(&note)));
        assert_int_equal(truc_tlog_proof_verify(&proof, truc_bytes_of(leaf), &scene->log, &checkpoint), TRUC_OK);
        assert_int_equal(checkpoint.size, LEAVES);
        assert_int_equal(truc_tlog_proof_verify(&proof, truc_bytes_of(leaf), &scene->log, NULL), TRUC_OK);
        assert_int_equal(truc_tlog_proof_verify(&proof, truc_bytes_of("leaf"), &scene->log, NULL), TRUC_E_BAD_PROOF);
        assert_int_equal(truc_tlog_proof_verify(&proof, truc_bytes_of(leaf), &scene->stranger, NULL),
                         TRUC_E_UNKNOWN_KEY);
        proof.index = (index + 1) % LEAVES;
        assert_int_equal(truc_tlog_proof_verify(&proof, truc_bytes_of(leaf), &scene->log, NULL), TRUC_E_BAD_PROOF);
        truc_buffer_close(&note);
        truc_buffer_close(&text);
    }
}

static void no_flipped_bit_of_a_proof_goes_unseen(void **state)
{
    const struct scene *scene = *state;
    struct truc_buffer note = {0}, text = {0};
    make_proof(scene, 6, &note, &text);
    for (size_t i = 0; i < text.size; i++) {
        for (unsigned bit = 0; bit < 8; bit++) {
            struct truc_tlog_proof proof;
            text.data[i] ^= (uint8_t)(1u << bit);
            truc_error error = truc_tlog_proof_parse(truc_buffer_view(&text), &proof);
            if (error == TRUC_OK) {
                error = truc_tlog_proof_verify(&proof, truc_bytes_of("leaf 6"), &scene->log, NULL);
            }
            assert_int_not_equal(error, TRUC_OK);
            text.data[i] ^= (uint8_t)(1u << bit);
        }
    }
    for (size_t size = 0; size < text.size; size++) {
        struct truc_tlog_proof proof;
        truc_error error = truc_tlog_proof_parse(truc_bytes(text.data, size), &proof);
        if (error == TRUC_OK) {
            error = truc_tlog_proof_verify(&proof, truc_bytes_of("leaf 6"), &scene->log, NULL);
        }
        assert_int_not_equal(error, TRUC_OK);
    }
    truc_buffer_close(&note);
    truc_buffer_close(&text);
}

/* The example of the specification; its checkpoint is cut short here, as its signatures are there. */
static void the_published_proof_example_is_read(void **state)
{
    (void)state;
    static const char text[] = "c2sp.org/tlog-proof@v1\n"
                               "extra YWdlLXYxLjIuMS1kYXJ3aW4tYXJtNjQudGFyLmd6kYXJ3aW4tYXJ\n"
                               "index 73894\n"
                               "gSKyXoYZUgZ6jduWYrkDOARinOMGJveXjgMkBTcdPlQ=\n"
                               "B95lDa8R83lS8n0eG+o0buTxRKQTYFi//1U8anccXmA=\n"
                               "EKNzoDWG8LGC0Yp9o+sv3qllpMP9uHQ9B20KNL+Q1zs=\n"
                               "RoopEkOdqkYqMB4MJXrbt/hMjOxsVn0IrWjpz1ZMMes=\n"
                               "AHCioX9nLjsrse6YhjRRmk1WUEirVOLLRoOQ6vfO5vk=\n"
                               "\n"
                               "example.com/fancylog\n";
    struct truc_tlog_proof proof;
    assert_int_equal(truc_tlog_proof_parse(truc_bytes_of(text), &proof), TRUC_OK);
    assert_int_equal(proof.index, 73894);
    assert_int_equal(proof.count, 5);
    assert_hex(truc_bytes(proof.path[0].bytes, 4), "8122b25e");
    assert_hex(truc_bytes(proof.path[4].bytes, 4), "0070a2a1");
    assert_true(truc_bytes_equal(proof.checkpoint, truc_bytes_of("example.com/fancylog\n")));
}

#define HEAD "c2sp.org/tlog-proof@v1\n"

static void what_is_nearly_a_proof_is_refused(void **state)
{
    (void)state;
    struct truc_tlog_proof proof;
    static const char *const good[] = {
        HEAD "index 0\n\nnote",
        HEAD "extra \nindex 0\n\nnote",
        HEAD "extra AAAA\nindex 9223372036854775808\n" ROOT "\nnote\n",
    };
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
        assert_int_equal(truc_tlog_proof_parse(truc_bytes_of(good[i]), &proof), TRUC_OK);
    }
    static const char *const bad[] = {
        "",
        "c2sp.org/tlog-proof@v1",
        HEAD,
        "c2sp.org/tlog-proof@v2\nindex 0\n\nnote",
        " " HEAD "index 0\n\nnote",
        HEAD "index 0\n",
        HEAD "index 0\n\n",
        HEAD "index 0\n" ROOT,
        HEAD "index 0\nnote",
        HEAD "index\n\nnote",
        HEAD "index \n\nnote",
        HEAD "index 01\n\nnote",
        HEAD "index -1\n\nnote",
        HEAD "index 9223372036854775809\n\nnote",
        HEAD "Index 0\n\nnote",
        HEAD "index 0\r\n\r\nnote",
        HEAD "extra AAAA\n",
        HEAD "extra AAAA\n\nnote",
        HEAD "extra AAA\nindex 0\n\nnote",
        HEAD "extra AAAA\nextra AAAA\nindex 0\n\nnote",
        HEAD "index 0\nextra AAAA\n\nnote",
        HEAD "extraAAAA\nindex 0\n\nnote",
        HEAD "index 0\n " ROOT "\nnote",
        HEAD "index 0\nXFxc\n\nnote",
        HEAD "index 0\nXFxcXFxcXFxcXFxcXFxcXFxcXFxcXFxcXFxcXFxcXFx=\n\nnote",
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        if (truc_tlog_proof_parse(truc_bytes_of(bad[i]), &proof) != TRUC_E_MALFORMED) {
            fail_msg("taken for a proof: case %zu", i);
        }
    }
}

static void limits_of_a_proof_hold(void **state)
{
    (void)state;
    struct truc_tlog_proof proof;
    for (size_t count = TRUC_PROOF_MAX; count <= TRUC_PROOF_MAX + 1; count++) {
        struct truc_buffer text = {0};
        assert_int_equal(truc_buffer_printf(&text, HEAD "index 0\n"), TRUC_OK);
        for (size_t i = 0; i < count; i++) {
            assert_int_equal(truc_buffer_printf(&text, ROOT), TRUC_OK);
        }
        assert_int_equal(truc_buffer_printf(&text, "\nnote"), TRUC_OK);
        assert_int_equal(truc_tlog_proof_parse(truc_buffer_view(&text), &proof),
                         count <= TRUC_PROOF_MAX ? TRUC_OK : TRUC_E_MALFORMED);
        truc_buffer_close(&text);
    }
    struct truc_buffer large = {0};
    assert_int_equal(truc_buffer_printf(&large, HEAD "index 0\n\n%0*d", TRUC_NOTE_MAX + 1, 0), TRUC_OK);
    assert_int_equal(truc_tlog_proof_parse(truc_buffer_view(&large), &proof), TRUC_E_MALFORMED);
    assert_int_equal(truc_buffer_printf(&large, "%0*d", TRUC_TLOG_PROOF_MAX, 0), TRUC_OK);
    assert_int_equal(truc_tlog_proof_parse(truc_buffer_view(&large), &proof), TRUC_E_TOO_LARGE);
    struct truc_tlog_proof wrong = {.count = TRUC_PROOF_MAX + 1, .checkpoint = truc_bytes_of("note")};
    truc_buffer_clear(&large);
    assert_int_equal(truc_tlog_proof_text(&wrong, &large), TRUC_E_INVALID);
    wrong.count = 0;
    wrong.checkpoint.size = 0;
    assert_int_equal(truc_tlog_proof_text(&wrong, &large), TRUC_E_INVALID);
    assert_int_equal(large.size, 0);
    truc_buffer_close(&large);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_leaf_is_proven_by_its_text),
        cmocka_unit_test(no_flipped_bit_of_a_proof_goes_unseen),
        cmocka_unit_test(the_published_proof_example_is_read),
        cmocka_unit_test(what_is_nearly_a_proof_is_refused),
        cmocka_unit_test(limits_of_a_proof_hold),
    };
    return cmocka_run_group_tests(tests, open_scene, close_scene);
}
