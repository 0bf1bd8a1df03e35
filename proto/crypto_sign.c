/* Signing and verifying. Verifying P-256 is the hub's hottest cryptography. */
#include "proto/crypto_internal.h"

#include <openssl/rsa.h>

/* PKCS#1 v1.5 over SHA-256; nothing to set for ECDSA, which takes the digest as it is. */
static bool set_padding(const struct truc_key *key, EVP_PKEY_CTX *context)
{
    return key->algorithm != TRUC_ALGORITHM_RSA ||
           (EVP_PKEY_CTX_set_rsa_padding(context, RSA_PKCS1_PADDING) == 1 &&
            EVP_PKEY_CTX_set_signature_md(context, crypto_algorithms()->sha256) == 1);
}

static EVP_PKEY_CTX *new_verifier(const struct truc_key *key)
{
    EVP_PKEY_CTX *context = EVP_PKEY_CTX_new_from_pkey(NULL, key->pkey, NULL);
    if (context == NULL || EVP_PKEY_verify_init(context) != 1 || !set_padding(key, context)) {
        EVP_PKEY_CTX_free(context);
        return NULL;
    }
    return context;
}

/* This thread's context for `key`, made ready if it is not kept. Borrowed. */
static EVP_PKEY_CTX *find_verifier(const struct truc_key *key)
{
    struct crypto_verifier *kept = &crypto_thread()->verifiers[key->serial % CRYPTO_VERIFIERS];
    if (kept->serial != key->serial) {
        EVP_PKEY_CTX_free(kept->context);
        kept->context = new_verifier(key);
        kept->serial = kept->context == NULL ? 0 : key->serial;
    }
    return kept->context;
}

static truc_error verify_digest(const struct truc_key *key, struct truc_bytes message, struct truc_bytes signature)
{
    struct truc_hash digest;
    truc_sha256(&digest, message);
    /* A kept context holds the key alive beyond truc_key_free(), which a private key must not be. */
    EVP_PKEY_CTX *context = key->is_private ? new_verifier(key) : find_verifier(key);
    if (context == NULL) {
        return crypto_fail(TRUC_E_CRYPTO);
    }
    int result = EVP_PKEY_verify(context, signature.data, signature.size, digest.bytes, sizeof digest.bytes);
    if (key->is_private) {
        EVP_PKEY_CTX_free(context);
    }
    return result == 1 ? TRUC_OK : crypto_fail(TRUC_E_BAD_SIGNATURE);
}

/* OpenSSL may not be given NULL even for no bytes. */
static const unsigned char *or_empty(struct truc_bytes bytes)
{
    static const unsigned char empty[1];
    return bytes.size == 0 ? empty : bytes.data;
}

static truc_error verify_ed25519(const struct truc_key *key, struct truc_bytes message, struct truc_bytes signature)
{
    EVP_MD_CTX *context = EVP_MD_CTX_new();
    if (context == NULL || EVP_DigestVerifyInit_ex(context, NULL, NULL, NULL, NULL, key->pkey, NULL) != 1) {
        EVP_MD_CTX_free(context);
        return crypto_fail(TRUC_E_CRYPTO);
    }
    int result = EVP_DigestVerify(context, signature.data, signature.size, or_empty(message), message.size);
    EVP_MD_CTX_free(context);
    return result == 1 ? TRUC_OK : crypto_fail(TRUC_E_BAD_SIGNATURE);
}

truc_error truc_key_verify(const struct truc_key *key, struct truc_bytes message, struct truc_bytes signature)
{
    if (signature.size == 0 || signature.size > TRUC_SIGNATURE_MAX) {
        return TRUC_E_BAD_SIGNATURE;
    }
    return key->algorithm == TRUC_ALGORITHM_ED25519 ? verify_ed25519(key, message, signature)
                                                    : verify_digest(key, message, signature);
}

static truc_error sign_digest(const struct truc_key *key, struct truc_bytes message, uint8_t *out, size_t *size)
{
    struct truc_hash digest;
    truc_sha256(&digest, message);
    /* The key stays what it is: only the place of its idle context changes, and whoever takes that has it alone. */
    _Atomic(EVP_PKEY_CTX *) *place = &((struct truc_key *)(uintptr_t)key)->signer;
    EVP_PKEY_CTX *context = atomic_exchange(place, NULL);
    bool good = true;
    if (context == NULL) {
        context = EVP_PKEY_CTX_new_from_pkey(NULL, key->pkey, NULL);
        good = context != NULL && EVP_PKEY_sign_init(context) == 1 && set_padding(key, context);
    }
    good = good && EVP_PKEY_sign(context, out, size, digest.bytes, sizeof digest.bytes) == 1;
    if (good) {
        context = atomic_exchange(place, context); /* another thread may have put one back meanwhile */
    }
    EVP_PKEY_CTX_free(context);
    return good ? TRUC_OK : crypto_fail(TRUC_E_CRYPTO);
}

static truc_error sign_ed25519(const struct truc_key *key, struct truc_bytes message, uint8_t *out, size_t *size)
{
    EVP_MD_CTX *context = EVP_MD_CTX_new();
    bool good = context != NULL && EVP_DigestSignInit_ex(context, NULL, NULL, NULL, NULL, key->pkey, NULL) == 1 &&
                EVP_DigestSign(context, out, size, or_empty(message), message.size) == 1;
    EVP_MD_CTX_free(context);
    return good ? TRUC_OK : crypto_fail(TRUC_E_CRYPTO);
}

truc_error truc_key_sign(const struct truc_key *key, struct truc_bytes message, struct truc_buffer *signature)
{
    if (!key->is_private) {
        return TRUC_E_INVALID;
    }
    truc_error error = truc_buffer_reserve(signature, TRUC_SIGNATURE_MAX);
    if (error != TRUC_OK) {
        return error;
    }
    size_t size = TRUC_SIGNATURE_MAX;
    uint8_t *out = signature->data + signature->size;
    error = key->algorithm == TRUC_ALGORITHM_ED25519 ? sign_ed25519(key, message, out, &size)
                                                     : sign_digest(key, message, out, &size);
    if (error == TRUC_OK) {
        signature->size += size;
    }
    return error;
}
