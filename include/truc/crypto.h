/* Hashes, keys, signatures, random bytes and authenticated encryption. The one user of OpenSSL in the project. */
#ifndef TRUC_CRYPTO_H
#define TRUC_CRYPTO_H

#include "truc/bytes.h"

#define TRUC_HASH_SIZE 32
#define TRUC_KEYID_HEX 64      /* length of a keyid as text, without NUL */
#define TRUC_SIGNATURE_MAX 512 /* bytes of the longest signature accepted: RSA-4096 */
#define TRUC_AEAD_KEY_SIZE 32
#define TRUC_AEAD_NONCE_SIZE 12
#define TRUC_AEAD_TAG_SIZE 16

struct truc_hash {
    uint8_t bytes[TRUC_HASH_SIZE];
};

/* SHA-256 (FIPS 180-4). Cannot fail but for a broken OpenSSL, which aborts. Any thread: contexts are per thread. */
void truc_sha256(struct truc_hash *out, struct truc_bytes data);
/* The same over the concatenation of `count` parts. */
void truc_sha256_parts(struct truc_hash *out, const struct truc_bytes *parts, size_t count);
/* The same in steps, for what is too many parts to list: begin, add ..., end. One at a time a thread, with no other
 * truc_sha256* between; one that is given up is forgotten by the next begin. */
void truc_sha256_begin(void);
void truc_sha256_add(struct truc_bytes part);
void truc_sha256_end(struct truc_hash *out);

/* Fills from the operating system's generator. Errors: TRUC_E_CRYPTO. */
TRUC_MUST_USE truc_error truc_random(void *out, size_t size);

/* Algorithms are bound to a key where it is enrolled and never read from a message.
 *   P-256    ECDSA over SHA-256, DER signature (SEC 1, RFC 3279)
 *   ED25519  RFC 8032, 64-byte signature
 *   RSA      RSASSA-PKCS1-v1_5 over SHA-256 (RFC 8017), 2048 to 4096 bits */
enum truc_algorithm { TRUC_ALGORITHM_P256 = 1, TRUC_ALGORITHM_ED25519 = 2, TRUC_ALGORITHM_RSA = 3 };

const char *truc_algorithm_name(enum truc_algorithm algorithm); /* "p256", "ed25519", "rsa" */
TRUC_MUST_USE truc_error truc_algorithm_parse(const char *name, enum truc_algorithm *out);

/* A signing key pair or a public key alone. Immutable once made, so any number of threads may use one at a time. */
struct truc_key;

/* RSA is made with 3072 bits. Blocking: RSA takes a second. */
TRUC_MUST_USE truc_error truc_key_generate(enum truc_algorithm algorithm, struct truc_key **out);
/* From DER SubjectPublicKeyInfo, hostile bytes welcome. Refuses other curves, RSA under 2048 or over 4096 bits,
 * trailing bytes, a second spelling of a key (compressed point, BER) and Ed25519 points of small order, under which
 * anybody can sign. Errors: TRUC_E_MALFORMED, TRUC_E_UNSUPPORTED, TRUC_E_NOMEM, TRUC_E_CRYPTO. Costs some 0.3 ms: keep
 * the key, do not make it per message. */
TRUC_MUST_USE truc_error truc_key_from_spki(struct truc_bytes der, struct truc_key **out);
/* Raw 32-byte Ed25519 public key, as in a signed-note verifier key. */
TRUC_MUST_USE truc_error truc_key_from_ed25519(const uint8_t raw[32], struct truc_key **out);
/* The raw 32 bytes of an Ed25519 key. Errors: TRUC_E_INVALID for another algorithm. */
TRUC_MUST_USE truc_error truc_key_ed25519_raw(const struct truc_key *key, uint8_t raw[32]);
/* PEM files: unencrypted PKCS#8 private keys (mode 0600), SPKI public keys (0644). Both are made with O_EXCL and synced
 * with their folder: nothing is overwritten. load takes either kind and never asks for a pass phrase. Errors: TRUC_E_IO
 * (errno), TRUC_E_EXISTS, TRUC_E_MALFORMED, TRUC_E_UNSUPPORTED. */
TRUC_MUST_USE truc_error truc_key_save_private(const struct truc_key *key, const char *path);
TRUC_MUST_USE truc_error truc_key_save_public(const struct truc_key *key, const char *path);
TRUC_MUST_USE truc_error truc_key_load(const char *path, struct truc_key **out);
void truc_key_free(struct truc_key **key);
/* Counts one more owner; each truc_key_free() gives one back. */
struct truc_key *truc_key_ref(struct truc_key *key);

/* Lowercase hex SHA-256 of the DER SubjectPublicKeyInfo; lives as long as the key. */
const char *truc_key_id(const struct truc_key *key);
enum truc_algorithm truc_key_algorithm(const struct truc_key *key);
bool truc_key_is_private(const struct truc_key *key);
/* DER SubjectPublicKeyInfo, borrowed, lives as long as the key. */
struct truc_bytes truc_key_spki(const struct truc_key *key);

/* `signature` is appended to. Errors: TRUC_E_INVALID (public key only), TRUC_E_CRYPTO. */
TRUC_MUST_USE truc_error truc_key_sign(const struct truc_key *key, struct truc_bytes message,
                                       struct truc_buffer *signature);
/* TRUC_OK only for a valid signature; TRUC_E_BAD_SIGNATURE otherwise, whatever is wrong with it. */
TRUC_MUST_USE truc_error truc_key_verify(const struct truc_key *key, struct truc_bytes message,
                                         struct truc_bytes signature);

/* A new CURVE (X25519) key pair as Z85 text of 40 characters and NUL. Errors: TRUC_E_CRYPTO. */
#define TRUC_TRANSPORT_KEY_TEXT 41
TRUC_MUST_USE truc_error truc_transport_keypair(char public_key[TRUC_TRANSPORT_KEY_TEXT],
                                                char secret_key[TRUC_TRANSPORT_KEY_TEXT]);
/* The public key that belongs to a secret one (Z85 text). Errors: TRUC_E_MALFORMED (no 40 characters of Z85),
 * TRUC_E_CRYPTO. */
TRUC_MUST_USE truc_error truc_transport_public(const char *secret_key, char public_key[TRUC_TRANSPORT_KEY_TEXT]);

/* AES-256-GCM. One context for one thread; the key is set per call, since every subject has its own. */
struct truc_aead;
TRUC_MUST_USE truc_error truc_aead_new(struct truc_aead **out);
void truc_aead_free(struct truc_aead **aead);
/* Writes plain.size bytes of ciphertext and then the 16-byte tag to `out`. Errors: TRUC_E_CRYPTO. */
TRUC_MUST_USE truc_error truc_aead_encrypt(struct truc_aead *aead, const uint8_t key[TRUC_AEAD_KEY_SIZE],
                                           const uint8_t nonce[TRUC_AEAD_NONCE_SIZE], struct truc_bytes associated,
                                           struct truc_bytes plain, uint8_t *out);
/* `sealed` is ciphertext and tag; writes sealed.size - 16 bytes. Errors: TRUC_E_BAD_SIGNATURE (altered or wrong key).
 */
TRUC_MUST_USE truc_error truc_aead_decrypt(struct truc_aead *aead, const uint8_t key[TRUC_AEAD_KEY_SIZE],
                                           const uint8_t nonce[TRUC_AEAD_NONCE_SIZE], struct truc_bytes associated,
                                           struct truc_bytes sealed, uint8_t *out);

/* Overwrites secrets in a way that the compiler keeps. */
void truc_wipe(void *secret, size_t size);

#endif
