/* SHA-256, random bytes, and the contexts that every thread keeps.
 *
 * SHA-256 goes by libcrypto's own functions and not by EVP, which spends 120 ns more on each hash: three times as much
 * as a block of it (hub/decisions/0021-sha256-without-evp.md). They are deprecated, not gone, in all of OpenSSL 3; this
 * file is the only one that knows of them. */
#define OPENSSL_SUPPRESS_DEPRECATED
#include "proto/crypto_internal.h"

#include <errno.h>
#include <openssl/crypto.h>
#include <openssl/err.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/random.h>

static struct crypto_algorithms algorithms;
static pthread_once_t algorithms_once = PTHREAD_ONCE_INIT;
static pthread_key_t thread_key;
static __thread struct crypto_thread *this_thread;

static void thread_end(void *context)
{
    struct crypto_thread *thread = context;
    this_thread = NULL;
    for (size_t i = 0; i < CRYPTO_VERIFIERS; i++) {
        EVP_PKEY_CTX_free(thread->verifiers[i].context);
    }
    free(thread);
}

static void fetch_algorithms(void)
{
    algorithms.sha256 = EVP_MD_fetch(NULL, "SHA256", NULL);
    algorithms.aes256_gcm = EVP_CIPHER_fetch(NULL, "AES-256-GCM", NULL);
    if (algorithms.sha256 == NULL || algorithms.aes256_gcm == NULL ||
        pthread_key_create(&thread_key, thread_end) != 0) {
        abort();
    }
}

const struct crypto_algorithms *crypto_algorithms(void)
{
    if (pthread_once(&algorithms_once, fetch_algorithms) != 0) {
        abort();
    }
    return &algorithms;
}

/* Kept out of line: crypto_thread() is on the path of every hash, this once per thread. */
static __attribute__((noinline)) struct crypto_thread *thread_begin(void)
{
    (void)crypto_algorithms(); /* makes the thread's key, too */
    struct crypto_thread *thread = calloc(1, sizeof *thread);
    if (thread == NULL || pthread_setspecific(thread_key, thread) != 0) {
        abort();
    }
    this_thread = thread;
    return thread;
}

struct crypto_thread *crypto_thread(void)
{
    return this_thread != NULL ? this_thread : thread_begin();
}

truc_error crypto_fail(truc_error error)
{
    ERR_clear_error();
    return error;
}

void truc_sha256_begin(void)
{
    SHA256_Init(&crypto_thread()->sha256);
}

void truc_sha256_add(struct truc_bytes part)
{
    SHA256_Update(&crypto_thread()->sha256, part.data, part.size);
}

void truc_sha256_end(struct truc_hash *out)
{
    SHA256_Final(out->bytes, &crypto_thread()->sha256);
}

void truc_sha256_parts(struct truc_hash *out, const struct truc_bytes *parts, size_t count)
{
    SHA256_CTX context;
    SHA256_Init(&context);
    for (size_t i = 0; i < count; i++) {
        SHA256_Update(&context, parts[i].data, parts[i].size);
    }
    SHA256_Final(out->bytes, &context);
}

void truc_sha256(struct truc_hash *out, struct truc_bytes data)
{
    truc_sha256_parts(out, &data, 1);
}

truc_error truc_random(void *out, size_t size)
{
    uint8_t *to = out;
    while (size > 0) {
        ssize_t got = getrandom(to, size, 0);
        if (got < 0 && errno == EINTR) {
            continue;
        }
        if (got <= 0) {
            return TRUC_E_CRYPTO;
        }
        to += got;
        size -= (size_t)got;
    }
    return TRUC_OK;
}

void truc_wipe(void *secret, size_t size)
{
    OPENSSL_cleanse(secret, size);
}
