/* AES-256-GCM against the published answers, and against every altered byte. */
#include "tests/unit/proto/vectors.h"
#include "truc/crypto.h"

/* McGrew and Viega, "The Galois/Counter Mode of Operation", test case 16 */
static const char gcm_key[] = "feffe9928665731c6d6a8f9467308308feffe9928665731c6d6a8f9467308308";
static const char gcm_nonce[] = "cafebabefacedbaddecaf888";
static const char gcm_associated[] = "feedfacedeadbeeffeedfacedeadbeefabaddad2";
static const char gcm_plain[] = "d9313225f88406e5a55909c5aff5269a86a7a9531534f7da2e4c303d8a318a72"
                                "1c3c0c95956809532fcf0e2449a6b525b16aedf5aa0de657ba637b39";
static const char gcm_sealed[] = "522dc1f099567d07f47f37a32a84427d643a8cdcbfe5c0c97598a2bd2555d1aa"
                                 "8cb08e48590dbb3da7b08b1056828838c5f61e6393ba7a0abcc9f662"
                                 "76fc6ece0f4e1768cddf8853bb2d551b";
#define GCM_SIZE 60

struct gcm {
    struct truc_aead *aead;
    struct truc_buffer key, nonce, associated, plain, sealed;
};

static int open_gcm(void **state)
{
    struct gcm *gcm = calloc(1, sizeof *gcm);
    if (gcm == NULL || truc_aead_new(&gcm->aead) != TRUC_OK) {
        free(gcm);
        return -1;
    }
    from_hex(gcm_key, &gcm->key);
    from_hex(gcm_nonce, &gcm->nonce);
    from_hex(gcm_associated, &gcm->associated);
    from_hex(gcm_plain, &gcm->plain);
    from_hex(gcm_sealed, &gcm->sealed);
    *state = gcm;
    return 0;
}

static int close_gcm(void **state)
{
    struct gcm *gcm = *state;
    truc_aead_free(&gcm->aead);
    truc_aead_free(&gcm->aead);
    truc_buffer_close(&gcm->key);
    truc_buffer_close(&gcm->nonce);
    truc_buffer_close(&gcm->associated);
    truc_buffer_close(&gcm->plain);
    truc_buffer_close(&gcm->sealed);
    free(gcm);
    return 0;
}

static truc_error gcm_open(struct gcm *gcm, size_t size, uint8_t *out)
{
    return truc_aead_decrypt(gcm->aead, gcm->key.data, gcm->nonce.data, truc_buffer_view(&gcm->associated),
                             truc_bytes(gcm->sealed.data, size), out);
}

static void gcm_gives_the_published_answer_and_back(void **state)
{
    struct gcm *gcm = *state;
    uint8_t out[GCM_SIZE + TRUC_AEAD_TAG_SIZE];
    for (unsigned round = 0; round < 3; round++) { /* one context goes to and fro */
        assert_int_equal(truc_aead_encrypt(gcm->aead, gcm->key.data, gcm->nonce.data,
                                           truc_buffer_view(&gcm->associated), truc_buffer_view(&gcm->plain), out),
                         TRUC_OK);
        assert_hex(truc_bytes(out, sizeof out), gcm_sealed);
        assert_int_equal(gcm_open(gcm, gcm->sealed.size, out), TRUC_OK);
        assert_hex(truc_bytes(out, GCM_SIZE), gcm_plain);
    }
    memcpy(out, gcm->sealed.data, sizeof out); /* in place */
    assert_int_equal(truc_aead_decrypt(gcm->aead, gcm->key.data, gcm->nonce.data, truc_buffer_view(&gcm->associated),
                                       truc_bytes(out, sizeof out), out),
                     TRUC_OK);
    assert_hex(truc_bytes(out, GCM_SIZE), gcm_plain);
}

static void whatever_is_altered_nothing_comes_out(void **state)
{
    struct gcm *gcm = *state;
    uint8_t out[GCM_SIZE], zeros[GCM_SIZE] = {0};
    struct truc_buffer *parts[] = {&gcm->key, &gcm->nonce, &gcm->associated, &gcm->sealed};
    for (size_t p = 0; p < 4; p++) {
        for (size_t i = 0; i < parts[p]->size; i++) {
            parts[p]->data[i] ^= 0x20;
            memset(out, 0xee, sizeof out);
            assert_int_equal(gcm_open(gcm, gcm->sealed.size, out), TRUC_E_BAD_SIGNATURE);
            assert_memory_equal(out, zeros, sizeof out);
            parts[p]->data[i] ^= 0x20;
        }
    }
    for (size_t size = 0; size < gcm->sealed.size; size++) {
        assert_int_equal(gcm_open(gcm, size, out), TRUC_E_BAD_SIGNATURE);
    }
    assert_int_equal(gcm_open(gcm, gcm->sealed.size, out), TRUC_OK);
}

/* The same paper's test case 13: nothing to encrypt, nothing beside it. */
static void nothing_can_be_sealed_too(void **state)
{
    struct gcm *gcm = *state;
    const uint8_t key[TRUC_AEAD_KEY_SIZE] = {0}, nonce[TRUC_AEAD_NONCE_SIZE] = {0};
    uint8_t tag[TRUC_AEAD_TAG_SIZE];
    struct truc_bytes none = truc_bytes(NULL, 0);
    assert_int_equal(truc_aead_encrypt(gcm->aead, key, nonce, none, none, tag), TRUC_OK);
    assert_hex(truc_bytes(tag, sizeof tag), "530f8afbc74536b9a963b4f1c4cb738b");
    assert_int_equal(truc_aead_decrypt(gcm->aead, key, nonce, none, truc_bytes(tag, sizeof tag), tag), TRUC_OK);
    tag[0] ^= 1;
    assert_int_equal(truc_aead_decrypt(gcm->aead, key, nonce, none, truc_bytes(tag, sizeof tag), tag),
                     TRUC_E_BAD_SIGNATURE);
}

#define WITH_GCM(test) cmocka_unit_test_setup_teardown(test, open_gcm, close_gcm)

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH_GCM(gcm_gives_the_published_answer_and_back),
        WITH_GCM(whatever_is_altered_nothing_comes_out),
        WITH_GCM(nothing_can_be_sealed_too),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
