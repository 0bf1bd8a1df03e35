/* What the crypto_*.c files share. Nobody else includes this, or OpenSSL. */
#ifndef TRUC_CRYPTO_INTERNAL_H
#define TRUC_CRYPTO_INTERNAL_H

#include "truc/crypto.h"

#include <openssl/evp.h>
#include <openssl/sha.h>
#include <stdatomic.h>

/* Fetched once for the process: OpenSSL 3.0 spends more on a fetch than on hashing a kilobyte. `sha256` is for
 * signatures; hashing: crypto.c. */
struct crypto_algorithms {
    EVP_MD *sha256;
    EVP_CIPHER *aes256_gcm;
};

/* Aborts where OpenSSL cannot give them: nothing works without. */
const struct crypto_algorithms *crypto_algorithms(void);

/* A verification context that is ready for one public key. Making one costs several microseconds, so each thread keeps
 * those of the keys that it met last, by the key's serial. A serial is never used twice, so a freed key cannot be hit.
 */
#define CRYPTO_VERIFIERS 64

struct crypto_verifier {
    uint64_t serial; /* 0: empty */
    EVP_PKEY_CTX *context;
};

struct crypto_thread {
    SHA256_CTX sha256; /* between truc_sha256_begin and _end */
    struct crypto_verifier verifiers[CRYPTO_VERIFIERS];
};

/* This thread's contexts, made on first use and freed when the thread ends. Aborts when out of memory. */
struct crypto_thread *crypto_thread(void);

struct truc_key {
    atomic_uint owners;
    enum truc_algorithm algorithm;
    bool is_private;
    uint64_t serial;
    EVP_PKEY *pkey;
    _Atomic(EVP_PKEY_CTX *) signer; /* a signing context that nobody uses now; NULL: none. Making one costs a tenth of a
                                       signature */
    uint8_t *spki;                  /* of OpenSSL's allocator */
    size_t spki_size;
    char id[TRUC_KEYID_HEX + 1];
};

/* Makes a key of `*pkey`, which it consumes, also on error. Errors: TRUC_E_UNSUPPORTED, TRUC_E_MALFORMED (a form of
 * SubjectPublicKeyInfo that has a second spelling), TRUC_E_NOMEM, TRUC_E_CRYPTO. */
TRUC_MUST_USE truc_error crypto_key_adopt(EVP_PKEY **pkey, bool is_private, struct truc_key **out);

/* Empties OpenSSL's per-thread error queue and returns `error`, so that no failure is blamed on a later call. */
truc_error crypto_fail(truc_error error);

#endif
