/* Signed notes and checkpoints: the published examples, and everything that is nearly one. */
#include "tests/unit/proto/vectors.h"
#include "truc/note.h"

/* golang.org/x/mod sumdb/note note_test.go, the signed-note format's reference implementation */
static const char peter_key[] = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW";
static const char peter_seed[] = "AYEKFALVFGyNhPJEMzD1QIDr+Y7hfZx09iUvxdXHKDFz";
static const char enoch_key[] = "EnochRoot+af0cfe78+ATtqJ7zOtqQtYqOo0CpvDXNlMhV3HeJDpjrASKGLWdop";
#define DASH "\xe2\x80\x94 "
#define TEXT                                                                                                           \
    "If you think cryptography is the answer to your problem,\n"                                                       \
    "then you don't know what your problem is.\n"
#define PETER_BASE64 "x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM="
#define PETER DASH "PeterNeumann " PETER_BASE64 "\n"
#define ENOCH_BASE64 "rwz+eBzmZa0SO3NbfRGzPCpDckykFXSdeX+MNtCOXm2/5n2tiOHp+vAF1aGrQ5ovTG01oOTGwnWLox33WWd1RvMc+QQ="
#define ENOCH DASH "EnochRoot " ENOCH_BASE64 "\n"

struct scene {
    struct truc_note_verifier peter, enoch;
    struct truc_key *peter_private;
    struct truc_key *log_key;
    struct truc_note_verifier log;
};

/* The published seed (RFC 8032) as a PKCS#8 file (RFC 8410), the one way in for a private key. */
static truc_error load_seed(const char *base64, struct truc_key **out)
{
    struct truc_buffer seed = {0}, der = {0}, pem = {0};
    char path[128];
    const char *where = getenv("TMPDIR");
    (void)snprintf(path, sizeof path, "%s/truc-test-XXXXXX", where != NULL ? where : "/tmp");
    from_hex("302e020100300506032b657004220420", &der);
    truc_error error = truc_base64_decode(truc_bytes_of(base64), &seed);
    assert_int_equal(seed.size, 33);
    if (error == TRUC_OK) {
        error = truc_buffer_append(&der, seed.data + 1, 32);
    }
    assert_int_equal(truc_buffer_printf(&pem, "-----BEGIN PRIVATE KEY-----\n"), TRUC_OK);
    assert_int_equal(truc_base64_encode(truc_buffer_view(&der), &pem), TRUC_OK);
    assert_int_equal(truc_buffer_printf(&pem, "\n-----END PRIVATE KEY-----\n"), TRUC_OK);
    int file = mkstemp(path);
    assert_int_equal(write(file, pem.data, pem.size), pem.size);
    assert_int_equal(close(file), 0);
    if (error == TRUC_OK) {
        error = truc_key_load(path, out);
    }
    assert_int_equal(unlink(path), 0);
    truc_buffer_close(&seed);
    truc_buffer_close(&der);
    truc_buffer_close(&pem);
    return error;
}

static int open_scene(void **state)
{
    struct scene *scene = calloc(1, sizeof *scene);
    assert_non_null(scene);
    assert_int_equal(truc_note_verifier_parse(truc_bytes_of(peter_key), &scene->peter), TRUC_OK);
    assert_int_equal(truc_note_verifier_parse(truc_bytes_of(enoch_key), &scene->enoch), TRUC_OK);
    assert_int_equal(load_seed(peter_seed, &scene->peter_private), TRUC_OK);
    assert_int_equal(truc_key_generate(TRUC_ALGORITHM_ED25519, &scene->log_key), TRUC_OK);
    assert_int_equal(truc_note_verifier_make("truc.example/log", scene->log_key, &scene->log), TRUC_OK);
    *state = scene;
    return 0;
}

static int close_scene(void **state)
{
    struct scene *scene = *state;
    truc_note_verifier_close(&scene->peter);
    truc_note_verifier_close(&scene->enoch);
    truc_note_verifier_close(&scene->log);
    truc_key_free(&scene->peter_private);
    truc_key_free(&scene->log_key);
    free(scene);
    return 0;
}

static truc_error try_open(const char *note, const struct truc_note_verifier *verifier)
{
    struct truc_bytes text;
    return truc_note_open(truc_bytes_of(note), verifier, &text);
}

/* --- verifier keys --- */

static void a_verifier_key_is_read_and_written(void **state)
{
    const struct scene *scene = *state;
    struct truc_buffer text = {0};
    assert_string_equal(scene->peter.name, "PeterNeumann");
    assert_int_equal(scene->peter.hash, 0xc74f20a3);
    assert_int_equal(truc_note_verifier_text(&scene->peter, &text), TRUC_OK);
    assert_true(truc_bytes_equal(truc_buffer_view(&text), truc_bytes_of(peter_key)));
    truc_buffer_close(&text);

    struct truc_note_verifier made;
    assert_int_equal(truc_note_verifier_make("PeterNeumann", scene->peter_private, &made), TRUC_OK);
    assert_int_equal(made.hash, 0xc74f20a3);
    truc_note_verifier_close(&made);
    assert_null(made.key);
}

static void refuse_verifier(const char *text, size_t size)
{
    struct truc_note_verifier verifier = {0};
    if (truc_note_verifier_parse(truc_bytes(text, size), &verifier) != TRUC_E_MALFORMED) {
        fail_msg("taken for a verifier key: %.*s", (int)size, text);
    }
    assert_null(verifier.key);
}

static void a_mangled_verifier_key_is_refused(void **state)
{
    (void)state;
    char text[sizeof peter_key];
    memcpy(text, peter_key, sizeof text);
    size_t length = strlen(text);
    *strstr(text, "c74f20a3") = 'C'; /* another spelling of the same hash */
    refuse_verifier(text, length);
    memcpy(text, peter_key, sizeof text);
    for (size_t begin = 0; begin <= length; begin++) {
        for (size_t end = begin; end <= length; end++) {
            if (begin != 0 || end != length) {
                refuse_verifier(text + begin, end - begin);
            }
        }
    }
    for (size_t i = 0; i < length; i++) {
        text[i]++;
        refuse_verifier(text, length);
        text[i]--;
    }
    /* too long a key, another algorithm, each with a hash that fits; the neutral point; a space in the name */
    static const char *const bad[] = {
        "PeterNeumann+cc469956+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TWBADKEY==",
        "PeterNeumann+173116ae+ZRpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW",
        "Peter Neumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW",
        "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW\n",
        "++",
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        refuse_verifier(bad[i], strlen(bad[i]));
    }
}

static void names_with_spaces_pluses_or_broken_utf8_are_refused(void **state)
{
    const struct scene *scene = *state;
    char longest[TRUC_NOTE_NAME_MAX + 2];
    memset(longest, 'n', sizeof longest - 1);
    longest[sizeof longest - 1] = '\0';
    const char *const bad[] = {
        "",
        "a b",
        "a+b",
        "a\nb",
        "a\tb",
        "a\x01",
        "a\xc2\x85",
        "a\xc2\xa0",
        "\xe2\x80\x83",
        "a\xe2\x80\xa8",
        "\xe3\x80\x80",
        "\xe1\x9a\x80",
        "a\x80",
        "\xc0\xaf",
        "\xe0\x80\xaf",
        "\xed\xa0\x80",
        "\xf4\x90\x80\x80",
        "\xf8\x88\x80\x80\x80",
        "\xe2\x80",
        "\xff",
        longest,
    };
    struct truc_note_verifier made = {0};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        assert_int_equal(truc_note_verifier_make(bad[i], scene->log_key, &made), TRUC_E_INVALID);
        assert_null(made.key);
    }
    longest[TRUC_NOTE_NAME_MAX] = '\0';
    const char *const good[] = {"a", "truc.example/nh\xe1\xba\xadt-k\xc3\xbd", "\xf0\x9f\x94\x91", longest};
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
        assert_int_equal(truc_note_verifier_make(good[i], scene->log_key, &made), TRUC_OK);
        assert_string_equal(made.name, good[i]);
        truc_note_verifier_close(&made);
    }
    struct truc_key *p256 = NULL;
    assert_int_equal(truc_key_generate(TRUC_ALGORITHM_P256, &p256), TRUC_OK);
    assert_int_equal(truc_note_verifier_make("name", p256, &made), TRUC_E_INVALID);
    truc_key_free(&p256);
}

/* --- notes --- */

static void the_published_note_is_made_again_byte_for_byte(void **state)
{
    const struct scene *scene = *state;
    struct truc_buffer note = {0};
    assert_int_equal(truc_note_sign(truc_bytes_of(TEXT), "PeterNeumann", scene->peter_private, &note), TRUC_OK);
    assert_true(truc_bytes_equal(truc_buffer_view(&note), truc_bytes_of(TEXT "\n" PETER)));
    truc_buffer_close(&note);
}

static void a_note_opens_for_each_of_its_signers(void **state)
{
    const struct scene *scene = *state;
    static const char note[] = TEXT "\n" PETER ENOCH;
    struct truc_bytes text = {0};
    assert_int_equal(truc_note_open(truc_bytes_of(note), &scene->peter, &text), TRUC_OK);
    assert_true(truc_bytes_equal(text, truc_bytes_of(TEXT)));
    assert_ptr_equal(text.data, note); /* borrowed */
    assert_int_equal(truc_note_open(truc_bytes_of(note), &scene->enoch, &text), TRUC_OK);
    assert_int_equal(try_open(TEXT "\n" PETER PETER, &scene->peter), TRUC_OK);
    assert_int_equal(try_open(note, &scene->log), TRUC_E_UNKNOWN_KEY);
    assert_int_equal(try_open(TEXT "\n" PETER, &scene->enoch), TRUC_E_UNKNOWN_KEY);
    /* the name of a known key with another hash, and the other way about, are strangers */
    assert_int_equal(try_open(TEXT "\n" DASH "PeterNeumann " ENOCH_BASE64 "\n", &scene->peter), TRUC_E_UNKNOWN_KEY);
    assert_int_equal(try_open(TEXT "\n" DASH "EnochRoot " PETER_BASE64 "\n", &scene->peter), TRUC_E_UNKNOWN_KEY);
}

static void a_bad_signature_of_a_known_key_spoils_the_note(void **state)
{
    const struct scene *scene = *state;
    static const char bad[] = DASH
        "PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAQ=\n";
    char note[1024];
    assert_int_equal(try_open("If you think otherwise\n\n" PETER, &scene->peter), TRUC_E_BAD_SIGNATURE);
    (void)snprintf(note, sizeof note, TEXT "\n%s", bad);
    assert_int_equal(try_open(note, &scene->peter), TRUC_E_BAD_SIGNATURE);
    (void)snprintf(note, sizeof note, TEXT "\n" PETER "%s", bad);
    assert_int_equal(try_open(note, &scene->peter), TRUC_E_BAD_SIGNATURE);
    (void)snprintf(note, sizeof note, TEXT "\n%s" ENOCH, bad);
    assert_int_equal(try_open(note, &scene->enoch), TRUC_OK); /* not Enoch's business */
    /* the key's id with a signature cut short */
    assert_int_equal(try_open(TEXT "\n" DASH "PeterNeumann x08gowA=\n", &scene->peter), TRUC_E_BAD_SIGNATURE);
}

static void what_is_not_a_note_is_refused(void **state)
{
    const struct scene *scene = *state;
    static const char *const bad[] = {
        "",
        "\n",
        "\n\n",
        TEXT,
        TEXT "\n",
        TEXT PETER,
        TEXT "\n" DASH "PeterNeumann " PETER_BASE64,
        "\x01" TEXT "\n" PETER,
        "\xff" TEXT "\n" PETER,
        "a\tb\n\n" PETER,
        "a\r\n\n" PETER,
        TEXT "\n" DASH "Bad Name " PETER_BASE64 "\n",
        TEXT "\n" PETER "Unexpected line.\n",
        TEXT "\n" PETER "\n",
        TEXT "\n- PeterNeumann " PETER_BASE64 "\n",
        TEXT "\n" DASH " " PETER_BASE64 "\n",
        TEXT "\n" DASH "PeterNeumann\n",
        TEXT "\n" DASH "PeterNeumann \n",
        TEXT "\n" DASH "PeterNeumann x08gow==\n",
        TEXT "\n" DASH "PeterNeumann " PETER_BASE64 " \n",
        TEXT "\n" PETER DASH "Somebody !!!!\n",
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        if (try_open(bad[i], &scene->peter) != TRUC_E_MALFORMED) {
            fail_msg("taken for a note: case %zu", i);
        }
    }
}

static void the_text_ends_at_the_last_empty_line(void **state)
{
    const struct scene *scene = *state;
    struct truc_buffer note = {0};
    struct truc_bytes text;
    static const char poem[] = "one\n\ntwo\n\n\n" DASH "not a signature\n";
    assert_int_equal(truc_note_sign(truc_bytes_of(poem), "truc.example/log", scene->log_key, &note), TRUC_OK);
    assert_int_equal(truc_note_open(truc_buffer_view(&note), &scene->log, &text), TRUC_OK);
    assert_true(truc_bytes_equal(text, truc_bytes_of(poem)));
    truc_buffer_close(&note);
}

static void only_what_would_open_again_is_signed(void **state)
{
    const struct scene *scene = *state;
    struct truc_buffer note = {0}, large = {0};
    static const char *const bad[] = {"", "no newline", "control\x02\n", "tab\t\n", "broken \xc3\n"};
    assert_int_equal(truc_buffer_append(&note, "kept", 4), TRUC_OK);
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        assert_int_equal(truc_note_sign(truc_bytes_of(bad[i]), "name", scene->log_key, &note), TRUC_E_INVALID);
    }
    assert_int_equal(truc_note_sign(truc_bytes_of("text\n"), "a b", scene->log_key, &note), TRUC_E_INVALID);
    assert_int_equal(truc_note_sign(truc_bytes_of("text\n"), "name", scene->peter.key, &note), TRUC_E_INVALID);
    assert_int_equal(truc_buffer_reserve(&large, TRUC_NOTE_MAX), TRUC_OK);
    memset(large.data, 'x', TRUC_NOTE_MAX);
    large.data[TRUC_NOTE_MAX - 1] = '\n';
    large.size = TRUC_NOTE_MAX;
    assert_int_equal(truc_note_sign(truc_buffer_view(&large), "name", scene->log_key, &note), TRUC_E_TOO_LARGE);
    assert_true(truc_bytes_equal(truc_buffer_view(&note), truc_bytes_of("kept")));
    truc_buffer_close(&note);
    truc_buffer_close(&large);
}

static void limits_on_size_and_signatures_hold(void **state)
{
    const struct scene *scene = *state;
    for (size_t count = TRUC_NOTE_SIGNATURES_MAX; count <= TRUC_NOTE_SIGNATURES_MAX + 1; count++) {
        struct truc_buffer note = {0};
        assert_int_equal(truc_buffer_printf(&note, TEXT "\n" PETER), TRUC_OK);
        for (size_t i = 1; i < count; i++) {
            assert_int_equal(truc_buffer_printf(&note, DASH "witness%zu AAAAAAAA\n", i), TRUC_OK);
        }
        struct truc_bytes text;
        assert_int_equal(truc_note_open(truc_buffer_view(&note), &scene->peter, &text),
                         count <= TRUC_NOTE_SIGNATURES_MAX ? TRUC_OK : TRUC_E_MALFORMED);
        truc_buffer_close(&note);
    }
    struct truc_buffer note = {0};
    struct truc_bytes text;
    assert_int_equal(truc_buffer_reserve(&note, 2 * TRUC_NOTE_MAX), TRUC_OK);
    memset(note.data, 'x', TRUC_NOTE_MAX);
    note.size = TRUC_NOTE_MAX;
    assert_int_equal(truc_buffer_printf(&note, "\n\n" PETER), TRUC_OK);
    assert_int_equal(truc_note_open(truc_buffer_view(&note), &scene->peter, &text), TRUC_E_MALFORMED);
    truc_buffer_close(&note);
}

/* --- checkpoints --- */

static struct truc_checkpoint a_checkpoint(uint64_t size)
{
    struct truc_checkpoint checkpoint = {.origin = "truc.example/log", .size = size};
    memset(checkpoint.root.bytes, 0x5c, sizeof checkpoint.root.bytes);
    return checkpoint;
}

static void a_checkpoint_comes_back_as_it_was(void **state)
{
    const struct scene *scene = *state;
    const uint64_t sizes[] = {0, 1, 10, 20852163, ((uint64_t)1 << 63) - 1, (uint64_t)1 << 63};
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        struct truc_checkpoint checkpoint = a_checkpoint(sizes[i]), back;
        struct truc_buffer note = {0};
        assert_int_equal(truc_checkpoint_sign(&checkpoint, scene->log_key, &note), TRUC_OK);
        assert_int_equal(truc_checkpoint_open(truc_buffer_view(&note), &scene->log, &back), TRUC_OK);
        assert_string_equal(back.origin, "truc.example/log");
        assert_int_equal(back.size, sizes[i]);
        assert_memory_equal(back.root.bytes, checkpoint.root.bytes, sizeof back.root.bytes);
        truc_buffer_close(&note);
    }
    struct truc_checkpoint too_many = a_checkpoint(((uint64_t)1 << 63) + 1), unended = a_checkpoint(1);
    struct truc_buffer note = {0};
    assert_int_equal(truc_checkpoint_sign(&too_many, scene->log_key, &note), TRUC_E_INVALID);
    memset(unended.origin, 'o', sizeof unended.origin);
    assert_int_equal(truc_checkpoint_sign(&unended, scene->log_key, &note), TRUC_E_INVALID);
    unended.origin[0] = '\0';
    assert_int_equal(truc_checkpoint_sign(&unended, scene->log_key, &note), TRUC_E_INVALID);
    assert_int_equal(note.size, 0);
    truc_buffer_close(&note);
}

static void a_checkpoint_has_the_published_form(void **state)
{
    const struct scene *scene = *state;
    struct truc_checkpoint checkpoint = a_checkpoint(20852163);
    struct truc_buffer note = {0};
    static const char wanted[] =
        "truc.example/log\n20852163\nXFxcXFxcXFxcXFxcXFxcXFxcXFxcXFxcXFxcXFxcXFw=\n\n" DASH "truc.example/log ";
    assert_int_equal(truc_checkpoint_sign(&checkpoint, scene->log_key, &note), TRUC_OK);
    assert_int_equal(note.size, strlen(wanted) + 92 + 1); /* base64 of 4 + 64 bytes, newline */
    assert_memory_equal(note.data, wanted, strlen(wanted));
    truc_buffer_close(&note);
}

#define ROOT "XFxcXFxcXFxcXFxcXFxcXFxcXFxcXFxcXFxcXFxcXFw=\n"

static truc_error open_signed(const struct scene *scene, const char *text)
{
    struct truc_buffer note = {0};
    struct truc_checkpoint checkpoint;
    assert_int_equal(truc_note_sign(truc_bytes_of(text), "truc.example/log", scene->log_key, &note), TRUC_OK);
    truc_error error = truc_checkpoint_open(truc_buffer_view(&note), &scene->log, &checkpoint);
    truc_buffer_close(&note);
    return error;
}

static void a_well_signed_text_may_still_be_no_checkpoint(void **state)
{
    const struct scene *scene = *state;
    assert_int_equal(open_signed(scene, "truc.example/log\n5\n" ROOT), TRUC_OK);
    assert_int_equal(open_signed(scene, "truc.example/log\n5\n" ROOT "extension\nand another\n"), TRUC_OK);
    static const char *const bad[] = {
        "truc.example/log\n5\n" ROOT "\n",
        "truc.example/log\n5\n" ROOT "extension\n\nmore\n",
        "truc.example/other\n5\n" ROOT,
        "\n5\n" ROOT,
        "truc.example/log\n05\n" ROOT,
        "truc.example/log\n00\n" ROOT,
        "truc.example/log\n+5\n" ROOT,
        "truc.example/log\n-5\n" ROOT,
        "truc.example/log\n 5\n" ROOT,
        "truc.example/log\n5 \n" ROOT,
        "truc.example/log\n0x5\n" ROOT,
        "truc.example/log\n\n" ROOT,
        "truc.example/log\n9223372036854775809\n" ROOT,
        "truc.example/log\n9999999999999999999\n" ROOT,
        "truc.example/log\n18446744073709551621\n" ROOT,
        "truc.example/log\n5\n",
        "truc.example/log\n5\n\n",
        "truc.example/log\n5\nXFxcXFxcXFxcXFxcXFxcXFxcXFxcXFxcXFxcXFxc\n",
        "truc.example/log\n5\nXFxcXFxcXFxcXFxcXFxcXFxcXFxcXFxcXFxcXFxcXFxc\n",
        "truc.example/log\n5\nXFxcXFxcXFxcXFxcXFxcXFxcXFxcXFxcXFxcXFxcXFx=\n",
        "truc.example/log\n",
        "\n",
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        if (open_signed(scene, bad[i]) != TRUC_E_MALFORMED) {
            fail_msg("taken for a checkpoint: case %zu", i);
        }
    }
    struct truc_checkpoint checkpoint;
    assert_int_equal(truc_checkpoint_open(truc_bytes_of(TEXT "\n" PETER), &scene->peter, &checkpoint),
                     TRUC_E_MALFORMED);
    assert_int_equal(truc_checkpoint_open(truc_bytes_of(TEXT "\n" PETER), &scene->log, &checkpoint),
                     TRUC_E_UNKNOWN_KEY);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_verifier_key_is_read_and_written),
        cmocka_unit_test(a_mangled_verifier_key_is_refused),
        cmocka_unit_test(names_with_spaces_pluses_or_broken_utf8_are_refused),
        cmocka_unit_test(the_published_note_is_made_again_byte_for_byte),
        cmocka_unit_test(a_note_opens_for_each_of_its_signers),
        cmocka_unit_test(a_bad_signature_of_a_known_key_spoils_the_note),
        cmocka_unit_test(what_is_not_a_note_is_refused),
        cmocka_unit_test(the_text_ends_at_the_last_empty_line),
        cmocka_unit_test(only_what_would_open_again_is_signed),
        cmocka_unit_test(limits_on_size_and_signatures_hold),
        cmocka_unit_test(a_checkpoint_comes_back_as_it_was),
        cmocka_unit_test(a_checkpoint_has_the_published_form),
        cmocka_unit_test(a_well_signed_text_may_still_be_no_checkpoint),
    };
    return cmocka_run_group_tests(tests, open_scene, close_scene);
}
