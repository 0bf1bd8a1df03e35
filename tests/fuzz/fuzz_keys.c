/* Keys and signatures. First byte: 0 DER of a public key; 1 a PEM file; 2 the PEM of a private key, made here, with
 * bytes altered as the rest says; 3 a signature under a key of each algorithm. */
#include "tests/fuzz/folder.h"
#include "truc/crypto.h"

static struct truc_key *keys[2];
static struct truc_buffer pems[2];

static void set_up(void)
{
    static const enum truc_algorithm algorithms[] = {TRUC_ALGORITHM_P256, TRUC_ALGORITHM_ED25519};
    for (size_t i = 0; i < 2 && keys[i] == NULL; i++) {
        char name[16];
        (void)snprintf(name, sizeof name, "made-%zu.pem", i);
        FUZZ_OK(truc_key_generate(algorithms[i], &keys[i]));
        FUZZ_OK(truc_key_save_private(keys[i], fuzz_path(name)));
        int fd = open(fuzz_path(name), O_RDONLY | O_CLOEXEC);
        FUZZ_OK(truc_buffer_reserve(&pems[i], 4096));
        ssize_t size = read(fd, pems[i].data, 4096);
        FUZZ_CHECK(size > 0 && close(fd) == 0);
        pems[i].size = (size_t)size;
    }
}

static void check_key(const struct truc_key *key)
{
    struct truc_buffer signature = {0};
    struct truc_key *again;
    FUZZ_CHECK(strlen(truc_key_id(key)) == TRUC_KEYID_HEX);
    FUZZ_OK(truc_key_from_spki(truc_key_spki(key), &again));
    FUZZ_CHECK(strcmp(truc_key_id(key), truc_key_id(again)) == 0);
    if (truc_key_is_private(key)) {
        FUZZ_OK(truc_key_sign(key, truc_bytes_of("message"), &signature));
        FUZZ_OK(truc_key_verify(again, truc_bytes_of("message"), truc_buffer_view(&signature)));
        FUZZ_CHECK(truc_key_verify(again, truc_bytes_of("massage"), truc_buffer_view(&signature)) ==
                   TRUC_E_BAD_SIGNATURE);
    }
    truc_key_free(&again);
    truc_buffer_close(&signature);
}

static void check_spki(struct truc_bytes der)
{
    struct truc_key *key = NULL;
    truc_error error = truc_key_from_spki(der, &key);
    FUZZ_CHECK(error == TRUC_OK || error == TRUC_E_MALFORMED || error == TRUC_E_UNSUPPORTED);
    if (error == TRUC_OK) { /* one spelling of a key */
        FUZZ_CHECK(truc_bytes_equal(truc_key_spki(key), der) && !truc_key_is_private(key));
        check_key(key);
        truc_key_free(&key);
    }
    if (der.size >= 32) {
        error = truc_key_from_ed25519(der.data, &key);
        FUZZ_CHECK(error == TRUC_OK || error == TRUC_E_MALFORMED || error == TRUC_E_UNSUPPORTED);
        truc_key_free(&key);
    }
}

static void check_pem(struct truc_bytes text)
{
    struct truc_key *key = NULL;
    fuzz_file("key.pem", text);
    truc_error error = truc_key_load(fuzz_path("key.pem"), &key);
    FUZZ_CHECK(error == TRUC_OK || error == TRUC_E_MALFORMED || error == TRUC_E_UNSUPPORTED);
    if (error == TRUC_OK) {
        check_key(key);
        truc_key_free(&key);
    }
}

static void check_altered(struct fuzz *fuzz)
{
    const struct truc_buffer *pem = &pems[fuzz_u8(fuzz) % 2];
    uint8_t *copy = fuzz_copy(truc_buffer_view(pem));
    size_t size = pem->size - (fuzz_u8(fuzz) % 4 == 3 ? fuzz_u8(fuzz) % pem->size : 0);
    while (fuzz_left(fuzz) > 0) {
        size_t at = fuzz_u8(fuzz) % pem->size;
        copy[at] = fuzz_u8(fuzz);
    }
    check_pem(truc_bytes(copy, size));
    free(copy);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct fuzz fuzz = fuzz_of(data, size);
    set_up();
    uint8_t mode = fuzz_u8(&fuzz) % 4;
    if (mode == 2) {
        check_altered(&fuzz);
        return 0;
    }
    struct truc_bytes rest = fuzz_rest(&fuzz);
    if (mode == 0) {
        check_spki(rest);
    } else if (mode == 1) {
        check_pem(rest);
    } else {
        for (size_t i = 0; i < 2; i++) {
            FUZZ_CHECK(truc_key_verify(keys[i], truc_bytes_of("message"), rest) == TRUC_E_BAD_SIGNATURE);
        }
    }
    return 0;
}

void fuzz_seeds(void)
{
    struct truc_key *rsa;
    struct truc_buffer signature = {0}, out = {0};
    set_up();
    FUZZ_OK(truc_key_generate(TRUC_ALGORITHM_RSA, &rsa));
    const struct truc_key *all[] = {keys[0], keys[1], rsa};
    for (size_t i = 0; i < 3; i++) {
        char name[32];
        truc_buffer_clear(&out);
        fuzz_put_u8(&out, 0);
        FUZZ_OK(truc_buffer_append(&out, truc_key_spki(all[i]).data, truc_key_spki(all[i]).size));
        (void)snprintf(name, sizeof name, "spki-%s", truc_algorithm_name(truc_key_algorithm(all[i])));
        fuzz_seed(name, truc_buffer_view(&out));
        truc_buffer_clear(&out);
        truc_buffer_clear(&signature);
        fuzz_put_u8(&out, 3);
        FUZZ_OK(truc_key_sign(all[i], truc_bytes_of("message"), &signature));
        FUZZ_OK(truc_buffer_append(&out, signature.data, signature.size));
        (void)snprintf(name, sizeof name, "signature-%s", truc_algorithm_name(truc_key_algorithm(all[i])));
        fuzz_seed(name, truc_buffer_view(&out));
    }
    fuzz_seed("pem-whole-p256", truc_bytes("\2\0\0", 3));
    fuzz_seed("pem-altered-p256", truc_bytes("\2\0\0\120AZB", 7));
    fuzz_seed("pem-cut-ed25519", truc_bytes("\2\1\3\40", 4));
    truc_buffer_clear(&out);
    fuzz_put_u8(&out, 1);
    FUZZ_OK(truc_key_save_public(keys[0], fuzz_path("public.pem")));
    int fd = open(fuzz_path("public.pem"), O_RDONLY | O_CLOEXEC);
    FUZZ_OK(truc_buffer_reserve(&out, 4096));
    ssize_t size = read(fd, out.data + out.size, 4096);
    FUZZ_CHECK(size > 0 && close(fd) == 0);
    out.size += (size_t)size;
    fuzz_seed("pem-public", truc_buffer_view(&out));
    truc_buffer_close(&out);
    truc_buffer_close(&signature);
    truc_key_free(&rsa);
}
