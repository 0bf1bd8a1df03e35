/* Keys: what is accepted as one, how it is named, who owns it. */
#include "proto/crypto_internal.h"

#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/x509.h>
#include <stdlib.h>

#define SPKI_MAX 1024 /* RSA-4096 takes 550 */
#define RSA_BITS_MIN 2048
#define RSA_BITS_MAX 4096
#define RSA_BITS_MADE 3072
#define RSA_EXPONENT_BITS_MAX 33 /* a longer one only makes verifying slow, which is what a hostile key would want */

/* A P-256 key has one spelling here: named curve, uncompressed point (RFC 5480). Any other, explicit parameters above
 * all, would give one key two keyids. */
static const uint8_t p256_prefix[] = {0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48,
                                      0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a, 0x86, 0x48,
                                      0xce, 0x3d, 0x03, 0x01, 0x07, 0x03, 0x42, 0x00, 0x04};
#define P256_SPKI_SIZE (sizeof p256_prefix + 64)

/* RFC 8410 */
static const uint8_t ed25519_prefix[] = {0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00};
#define ED25519_SPKI_SIZE (sizeof ed25519_prefix + 32)

/* The encodings of the eight points of small order (sign bit aside). Under such a public key signatures can be made by
 * anybody, so its owner could disown what it signed. */
static const uint8_t ed25519_small_order[][32] = {
    {0x00},
    {0x01},
    {0x26, 0xe8, 0x95, 0x8f, 0xc2, 0xb2, 0x27, 0xb0, 0x45, 0xc3, 0xf4, 0x89, 0xf2, 0xef, 0x98, 0xf0,
     0xd5, 0xdf, 0xac, 0x05, 0xd3, 0xc6, 0x33, 0x39, 0xb1, 0x38, 0x02, 0x88, 0x6d, 0x53, 0xfc, 0x05},
    {0xc7, 0x17, 0x6a, 0x70, 0x3d, 0x4d, 0xd8, 0x4f, 0xba, 0x3c, 0x0b, 0x76, 0x0d, 0x10, 0x67, 0x0f,
     0x2a, 0x20, 0x53, 0xfa, 0x2c, 0x39, 0xcc, 0xc6, 0x4e, 0xc7, 0xfd, 0x77, 0x92, 0xac, 0x03, 0x7a},
    {0xec, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
     0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f},
    {0xed, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
     0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f},
    {0xee, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
     0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f},
};

static const char *const algorithm_names[] = {
    [TRUC_ALGORITHM_P256] = "p256", [TRUC_ALGORITHM_ED25519] = "ed25519", [TRUC_ALGORITHM_RSA] = "rsa"};
#define ALGORITHMS_END (TRUC_ALGORITHM_RSA + 1)

const char *truc_algorithm_name(enum truc_algorithm algorithm)
{
    unsigned number = (unsigned)algorithm;
    return number >= TRUC_ALGORITHM_P256 && number < ALGORITHMS_END ? algorithm_names[number] : "unknown";
}

truc_error truc_algorithm_parse(const char *name, enum truc_algorithm *out)
{
    for (int i = TRUC_ALGORITHM_P256; i < ALGORITHMS_END; i++) {
        if (strcmp(name, algorithm_names[i]) == 0) {
            *out = (enum truc_algorithm)i;
            return TRUC_OK;
        }
    }
    return TRUC_E_UNSUPPORTED;
}

static truc_error check_p256(const struct truc_key *key)
{
    char group[32];
    if (EVP_PKEY_get_group_name(key->pkey, group, sizeof group, NULL) != 1 || strcmp(group, "prime256v1") != 0) {
        return TRUC_E_UNSUPPORTED;
    }
    bool one_spelling = key->spki_size == P256_SPKI_SIZE && memcmp(key->spki, p256_prefix, sizeof p256_prefix) == 0;
    return one_spelling ? TRUC_OK : TRUC_E_MALFORMED;
}

static truc_error check_ed25519(const struct truc_key *key)
{
    if (key->spki_size != ED25519_SPKI_SIZE || memcmp(key->spki, ed25519_prefix, sizeof ed25519_prefix) != 0) {
        return TRUC_E_MALFORMED;
    }
    uint8_t point[32];
    memcpy(point, key->spki + sizeof ed25519_prefix, sizeof point);
    point[31] &= 0x7f;
    for (size_t i = 0; i < sizeof ed25519_small_order / sizeof ed25519_small_order[0]; i++) {
        if (memcmp(point, ed25519_small_order[i], sizeof point) == 0) {
            return TRUC_E_UNSUPPORTED;
        }
    }
    return TRUC_OK;
}

static truc_error check_rsa(const struct truc_key *key)
{
    int bits = EVP_PKEY_get_bits(key->pkey);
    BIGNUM *exponent = NULL;
    if (EVP_PKEY_get_bn_param(key->pkey, OSSL_PKEY_PARAM_RSA_E, &exponent) != 1) {
        return crypto_fail(TRUC_E_CRYPTO);
    }
    bool good = bits >= RSA_BITS_MIN && bits <= RSA_BITS_MAX && BN_is_odd(exponent) && !BN_is_one(exponent) &&
                BN_num_bits(exponent) <= RSA_EXPONENT_BITS_MAX;
    BN_free(exponent);
    return good ? TRUC_OK : TRUC_E_UNSUPPORTED;
}

static truc_error check_key(struct truc_key *key)
{
    if (EVP_PKEY_is_a(key->pkey, "EC")) {
        key->algorithm = TRUC_ALGORITHM_P256;
        return check_p256(key);
    }
    if (EVP_PKEY_is_a(key->pkey, "ED25519")) {
        key->algorithm = TRUC_ALGORITHM_ED25519;
        return check_ed25519(key);
    }
    if (EVP_PKEY_is_a(key->pkey, "RSA")) {
        key->algorithm = TRUC_ALGORITHM_RSA;
        return check_rsa(key);
    }
    return TRUC_E_UNSUPPORTED;
}

truc_error crypto_key_adopt(EVP_PKEY **pkey, bool is_private, struct truc_key **out)
{
    static atomic_uint_fast64_t last_serial;
    truc_error error = TRUC_E_NOMEM;
    struct truc_key *key = calloc(1, sizeof *key);
    if (key == NULL) {
        EVP_PKEY_free(*pkey);
        *pkey = NULL;
        goto out;
    }
    atomic_init(&key->owners, 1);
    key->is_private = is_private;
    key->serial = atomic_fetch_add(&last_serial, 1) + 1;
    key->pkey = *pkey;
    *pkey = NULL;

    int size = i2d_PUBKEY(key->pkey, &key->spki);
    if (size <= 0) {
        error = crypto_fail(TRUC_E_CRYPTO);
        goto out;
    }
    key->spki_size = (size_t)size;
    error = check_key(key);
    if (error != TRUC_OK) {
        goto out;
    }
    struct truc_hash digest;
    truc_sha256(&digest, truc_bytes(key->spki, key->spki_size));
    truc_hex(truc_bytes(digest.bytes, sizeof digest.bytes), key->id);
    *out = key;
    key = NULL;
out:
    truc_key_free(&key);
    return error;
}

truc_error truc_key_generate(enum truc_algorithm algorithm, struct truc_key **out)
{
    EVP_PKEY *pkey = NULL;
    switch (algorithm) {
    case TRUC_ALGORITHM_P256:
        pkey = EVP_PKEY_Q_keygen(NULL, NULL, "EC", "P-256");
        break;
    case TRUC_ALGORITHM_ED25519:
        pkey = EVP_PKEY_Q_keygen(NULL, NULL, "ED25519");
        break;
    case TRUC_ALGORITHM_RSA:
        pkey = EVP_PKEY_Q_keygen(NULL, NULL, "RSA", (size_t)RSA_BITS_MADE);
        break;
    }
    return pkey == NULL ? crypto_fail(TRUC_E_CRYPTO) : crypto_key_adopt(&pkey, true, out);
}

truc_error truc_key_from_spki(struct truc_bytes der, struct truc_key **out)
{
    if (der.size == 0 || der.size > SPKI_MAX) {
        return TRUC_E_MALFORMED;
    }
    const unsigned char *at = der.data;
    EVP_PKEY *pkey = d2i_PUBKEY(NULL, &at, (long)der.size);
    if (pkey == NULL) {
        return crypto_fail(TRUC_E_MALFORMED);
    }
    struct truc_key *key = NULL;
    truc_error error = crypto_key_adopt(&pkey, false, &key);
    /* BER and trailing bytes: what was given must be what we would write, since the keyid is a hash of it. */
    if (error == TRUC_OK && !truc_bytes_equal(der, truc_key_spki(key))) {
        error = TRUC_E_MALFORMED;
    }
    if (error != TRUC_OK) {
        truc_key_free(&key);
        return crypto_fail(error);
    }
    *out = key;
    return TRUC_OK;
}

truc_error truc_key_from_ed25519(const uint8_t raw[32], struct truc_key **out)
{
    uint8_t der[ED25519_SPKI_SIZE];
    memcpy(der, ed25519_prefix, sizeof ed25519_prefix);
    memcpy(der + sizeof ed25519_prefix, raw, 32);
    return truc_key_from_spki(truc_bytes(der, sizeof der), out);
}

truc_error truc_key_ed25519_raw(const struct truc_key *key, uint8_t raw[32])
{
    if (key->algorithm != TRUC_ALGORITHM_ED25519) {
        return TRUC_E_INVALID;
    }
    memcpy(raw, key->spki + sizeof ed25519_prefix, 32);
    return TRUC_OK;
}

void truc_key_free(struct truc_key **key)
{
    struct truc_key *mine = *key;
    *key = NULL;
    if (mine != NULL && atomic_fetch_sub(&mine->owners, 1) == 1) {
        EVP_PKEY_CTX_free(atomic_load(&mine->signer));
        EVP_PKEY_free(mine->pkey);
        OPENSSL_free(mine->spki);
        free(mine);
    }
}

struct truc_key *truc_key_ref(struct truc_key *key)
{
    atomic_fetch_add(&key->owners, 1);
    return key;
}

const char *truc_key_id(const struct truc_key *key)
{
    return key->id;
}

enum truc_algorithm truc_key_algorithm(const struct truc_key *key)
{
    return key->algorithm;
}

bool truc_key_is_private(const struct truc_key *key)
{
    return key->is_private;
}

struct truc_bytes truc_key_spki(const struct truc_key *key)
{
    return truc_bytes(key->spki, key->spki_size);
}
