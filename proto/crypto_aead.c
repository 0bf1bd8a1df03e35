/* AES-256-GCM with a key per call. */
#include "proto/crypto_internal.h"

#include <stdlib.h>

/* OpenSSL counts in int: longer texts go through in steps. A multiple of the block size. */
#define STEP ((size_t)1 << 30)

struct truc_aead {
    EVP_CIPHER_CTX *context;
};

truc_error truc_aead_new(struct truc_aead **out)
{
    struct truc_aead *aead = calloc(1, sizeof *aead);
    if (aead == NULL) {
        return TRUC_E_NOMEM;
    }
    aead->context = EVP_CIPHER_CTX_new();
    /* The cipher is set here once; later calls pass NULL for it, which keeps OpenSSL from resetting the context. */
    if (aead->context == NULL ||
        EVP_EncryptInit_ex2(aead->context, crypto_algorithms()->aes256_gcm, NULL, NULL, NULL) != 1) {
        truc_aead_free(&aead);
        return crypto_fail(TRUC_E_CRYPTO);
    }
    *out = aead;
    return TRUC_OK;
}

void truc_aead_free(struct truc_aead **aead)
{
    if (*aead != NULL) {
        EVP_CIPHER_CTX_free((*aead)->context);
        free(*aead);
        *aead = NULL;
    }
}

/* Feeds `in`; `out` NULL means associated data. GCM is a stream: as much comes out as goes in. */
static bool feed(EVP_CIPHER_CTX *context, struct truc_bytes in, uint8_t *out)
{
    for (size_t done = 0; done < in.size;) {
        size_t step = in.size - done < STEP ? in.size - done : STEP;
        int written;
        if (EVP_CipherUpdate(context, out == NULL ? NULL : out + done, &written, in.data + done, (int)step) != 1) {
            return false;
        }
        done += step;
    }
    return true;
}

truc_error truc_aead_encrypt(struct truc_aead *aead, const uint8_t key[TRUC_AEAD_KEY_SIZE],
                             const uint8_t nonce[TRUC_AEAD_NONCE_SIZE], struct truc_bytes associated,
                             struct truc_bytes plain, uint8_t *out)
{
    uint8_t none[TRUC_AEAD_TAG_SIZE];
    int written;
    if (EVP_EncryptInit_ex2(aead->context, NULL, key, nonce, NULL) != 1 || !feed(aead->context, associated, NULL) ||
        !feed(aead->context, plain, out) || EVP_EncryptFinal_ex(aead->context, none, &written) != 1 ||
        EVP_CIPHER_CTX_ctrl(aead->context, EVP_CTRL_AEAD_GET_TAG, TRUC_AEAD_TAG_SIZE, out + plain.size) != 1) {
        return crypto_fail(TRUC_E_CRYPTO);
    }
    return TRUC_OK;
}

truc_error truc_aead_decrypt(struct truc_aead *aead, const uint8_t key[TRUC_AEAD_KEY_SIZE],
                             const uint8_t nonce[TRUC_AEAD_NONCE_SIZE], struct truc_bytes associated,
                             struct truc_bytes sealed, uint8_t *out)
{
    if (sealed.size < TRUC_AEAD_TAG_SIZE) {
        return TRUC_E_BAD_SIGNATURE;
    }
    struct truc_bytes cipher = truc_bytes(sealed.data, sealed.size - TRUC_AEAD_TAG_SIZE);
    uint8_t tag[TRUC_AEAD_TAG_SIZE]; /* a copy: ctrl takes no const, and `out` may lie over `sealed` */
    uint8_t none[TRUC_AEAD_TAG_SIZE];
    int written;
    memcpy(tag, sealed.data + cipher.size, sizeof tag);
    if (EVP_DecryptInit_ex2(aead->context, NULL, key, nonce, NULL) != 1 || !feed(aead->context, associated, NULL) ||
        !feed(aead->context, cipher, out) ||
        EVP_CIPHER_CTX_ctrl(aead->context, EVP_CTRL_AEAD_SET_TAG, TRUC_AEAD_TAG_SIZE, tag) != 1 ||
        EVP_DecryptFinal_ex(aead->context, none, &written) != 1) {
        /* What came out has not been authenticated: nobody may read it by mistake. */
        truc_wipe(out, cipher.size);
        return crypto_fail(TRUC_E_BAD_SIGNATURE);
    }
    return TRUC_OK;
}
