/* Keys on disk: they come back, they are nobody else's to read, and nothing precious is overwritten. */
#include "tests/unit/proto/vectors.h"
#include "truc/crypto.h"

#include <errno.h>
#include <sys/stat.h>

static const enum truc_algorithm algorithms[] = {TRUC_ALGORITHM_P256, TRUC_ALGORITHM_ED25519, TRUC_ALGORITHM_RSA};
static struct truc_key *made[3]; /* one of each, since RSA takes a second */

static int make_keys(void **state)
{
    (void)state;
    for (size_t i = 0; i < 3; i++) {
        if (truc_key_generate(algorithms[i], &made[i]) != TRUC_OK) {
            return -1;
        }
    }
    return 0;
}

static int free_keys(void **state)
{
    (void)state;
    for (size_t i = 0; i < 3; i++) {
        truc_key_free(&made[i]);
    }
    return 0;
}

struct folder {
    char path[64];
};

static int make_folder(void **state)
{
    struct folder *folder = calloc(1, sizeof *folder);
    if (folder == NULL) {
        return -1;
    }
    const char *where = getenv("TMPDIR");
    (void)snprintf(folder->path, sizeof folder->path, "%s/truc-test-XXXXXX", where != NULL ? where : "/tmp");
    *state = folder;
    return mkdtemp(folder->path) != NULL ? 0 : -1;
}

static int remove_folder(void **state)
{
    static const char *const names[] = {"key", "key.pub", "other"};
    struct folder *folder = *state;
    for (size_t i = 0; i < 3; i++) {
        char path[128];
        (void)snprintf(path, sizeof path, "%s/%s", folder->path, names[i]);
        (void)unlink(path);
    }
    int result = rmdir(folder->path);
    free(folder);
    return result;
}

static const char *in_folder(void **state, const char *name)
{
    static char path[8][128]; /* several are in use at a time */
    static unsigned turn;
    const struct folder *folder = *state;
    char *mine = path[turn++ % 8];
    (void)snprintf(mine, sizeof path[0], "%s/%s", folder->path, name);
    return mine;
}

static void put_file(const char *path, const void *data, size_t size)
{
    FILE *file = fopen(path, "wb");
    assert_non_null(file);
    assert_int_equal(fwrite(data, 1, size, file), size);
    assert_int_equal(fclose(file), 0);
}

static void read_text(const char *path, char *text, size_t size)
{
    FILE *file = fopen(path, "rb");
    assert_non_null(file);
    size_t got = fread(text, 1, size - 1, file);
    text[got] = '\0';
    assert_int_equal(fclose(file), 0);
}

static void keys_come_back_from_their_files(void **state)
{
    for (size_t i = 0; i < 3; i++) {
        const char *path = in_folder(state, "key"), *public_path = in_folder(state, "key.pub");
        struct truc_key *loaded = NULL;
        struct truc_buffer signature = {0};
        struct stat status;
        assert_int_equal(truc_key_save_private(made[i], path), TRUC_OK);
        assert_int_equal(stat(path, &status), 0);
        assert_int_equal(status.st_mode & 0777, 0600);
        assert_int_equal(truc_key_load(path, &loaded), TRUC_OK);
        assert_true(truc_key_is_private(loaded));
        assert_string_equal(truc_key_id(loaded), truc_key_id(made[i]));
        assert_int_equal(truc_key_sign(loaded, truc_bytes_of("again"), &signature), TRUC_OK);
        assert_int_equal(truc_key_verify(made[i], truc_bytes_of("again"), truc_buffer_view(&signature)), TRUC_OK);
        truc_key_free(&loaded);

        assert_int_equal(truc_key_save_public(made[i], public_path), TRUC_OK);
        assert_int_equal(truc_key_load(public_path, &loaded), TRUC_OK);
        assert_false(truc_key_is_private(loaded));
        assert_string_equal(truc_key_id(loaded), truc_key_id(made[i]));
        assert_int_equal(truc_key_save_private(loaded, in_folder(state, "other")), TRUC_E_INVALID);
        assert_int_equal(access(in_folder(state, "other"), F_OK), -1);
        truc_key_free(&loaded);
        truc_buffer_close(&signature);
        assert_int_equal(unlink(path), 0);
        assert_int_equal(unlink(public_path), 0);
    }
}

static void a_key_file_is_never_overwritten(void **state)
{
    const char *path = in_folder(state, "key");
    char text[16];
    put_file(path, "precious", 8);
    assert_int_equal(truc_key_save_private(made[0], path), TRUC_E_EXISTS);
    assert_int_equal(truc_key_save_public(made[0], path), TRUC_E_EXISTS);
    read_text(path, text, sizeof text);
    assert_string_equal(text, "precious");
    assert_int_equal(symlink("nowhere", in_folder(state, "other")), 0);
    assert_int_equal(truc_key_save_private(made[0], in_folder(state, "other")), TRUC_E_EXISTS);
}

static void what_the_system_refuses_is_told_with_errno(void **state)
{
    struct truc_key *key = NULL;
    errno = 0;
    assert_int_equal(truc_key_load(in_folder(state, "other"), &key), TRUC_E_IO);
    assert_int_equal(errno, ENOENT);
    assert_int_equal(truc_key_save_private(made[0], in_folder(state, "no/such/folder")), TRUC_E_IO);
    assert_int_equal(errno, ENOENT);
    assert_int_equal(truc_key_load(in_folder(state, ""), &key), TRUC_E_IO);
    assert_int_equal(errno, EISDIR);
    assert_null(key);
}

static truc_error load_text(void **state, const char *text, size_t size)
{
    struct truc_key *key = NULL;
    put_file(in_folder(state, "key"), text, size);
    truc_error error = truc_key_load(in_folder(state, "key"), &key);
    assert_int_equal(error == TRUC_OK, key != NULL);
    truc_key_free(&key);
    return error;
}

/* The same PEM text under another label. */
static truc_error load_relabelled(void **state, const char *text, const char *label)
{
    struct truc_buffer changed = {0};
    const char *body = strchr(text, '\n');
    const char *end = strstr(text, "-----END");
    assert_true(body != NULL && end != NULL);
    assert_int_equal(
        truc_buffer_printf(&changed, "-----BEGIN %s-----%.*s-----END %s-----\n", label, (int)(end - body), body, label),
        TRUC_OK);
    truc_error error = load_text(state, (const char *)changed.data, changed.size);
    truc_buffer_close(&changed);
    return error;
}

static void files_that_hold_no_key_of_ours_are_refused(void **state)
{
    char pem[4096], *big = calloc(1, 100000);
    assert_non_null(big);
    assert_int_equal(truc_key_save_private(made[0], in_folder(state, "other")), TRUC_OK);
    read_text(in_folder(state, "other"), pem, sizeof pem);
    assert_int_equal(load_text(state, pem, strlen(pem)), TRUC_OK);
    assert_int_equal(load_text(state, "", 0), TRUC_E_MALFORMED);
    assert_int_equal(load_text(state, "hello\n", 6), TRUC_E_MALFORMED);
    assert_int_equal(load_text(state, big, 100000), TRUC_E_MALFORMED);
    assert_int_equal(load_text(state, pem, strlen(pem) / 2), TRUC_E_MALFORMED);
    assert_int_equal(load_relabelled(state, pem, "PRIVATE KEY"), TRUC_OK);
    assert_int_equal(load_relabelled(state, pem, "PUBLIC KEY"), TRUC_E_MALFORMED);
    assert_int_equal(load_relabelled(state, pem, "ENCRYPTED PRIVATE KEY"), TRUC_E_UNSUPPORTED);
    assert_int_equal(load_relabelled(state, pem, "EC PRIVATE KEY"), TRUC_E_UNSUPPORTED);
    assert_int_equal(load_relabelled(state, pem, "CERTIFICATE"), TRUC_E_UNSUPPORTED);
    free(big);
}

static void load_der(void **state, struct truc_bytes der, truc_error wanted)
{
    struct truc_buffer pem = {0};
    assert_int_equal(truc_buffer_printf(&pem, "-----BEGIN PRIVATE KEY-----\n"), TRUC_OK);
    for (size_t at = 0; at < der.size; at += 48) {
        size_t size = der.size - at < 48 ? der.size - at : 48;
        assert_int_equal(truc_base64_encode(truc_bytes(der.data + at, size), &pem), TRUC_OK);
        assert_int_equal(truc_buffer_append(&pem, "\n", 1), TRUC_OK);
    }
    assert_int_equal(truc_buffer_printf(&pem, "-----END PRIVATE KEY-----\n"), TRUC_OK);
    assert_int_equal(load_text(state, (const char *)pem.data, pem.size), wanted);
    truc_buffer_close(&pem);
}

static void a_private_key_whose_halves_do_not_fit_is_refused(void **state)
{
    char pem[4096];
    struct truc_buffer der = {0};
    assert_int_equal(truc_key_save_private(made[0], in_folder(state, "other")), TRUC_OK);
    read_text(in_folder(state, "other"), pem, sizeof pem);
    const char *end = strstr(pem, "-----END");
    size_t length = 0;
    for (char *at = strchr(pem, '\n'); at < end; at++) {
        if (*at != '\n') {
            pem[length++] = *at;
        }
    }
    assert_int_equal(truc_base64_decode(truc_bytes(pem, length), &der), TRUC_OK);
    load_der(state, truc_buffer_view(&der), TRUC_OK);
    der.data[40] ^= 1; /* within the 32 secret bytes: 36 to 67 of PKCS#8 for P-256 */
    load_der(state, truc_buffer_view(&der), TRUC_E_MALFORMED);
    der.data[40] ^= 1;
    assert_int_equal(truc_buffer_append(&der, "\0", 1), TRUC_OK);
    load_der(state, truc_buffer_view(&der), TRUC_E_MALFORMED);
    truc_wipe(der.data, der.size);
    truc_buffer_close(&der);
}

#define WITH_FOLDER(test) cmocka_unit_test_setup_teardown(test, make_folder, remove_folder)

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH_FOLDER(keys_come_back_from_their_files),
        WITH_FOLDER(a_key_file_is_never_overwritten),
        WITH_FOLDER(what_the_system_refuses_is_told_with_errno),
        WITH_FOLDER(files_that_hold_no_key_of_ours_are_refused),
        WITH_FOLDER(a_private_key_whose_halves_do_not_fit_is_refused),
    };
    return cmocka_run_group_tests(tests, make_keys, free_keys);
}
