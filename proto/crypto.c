/* SHA-256, random bytes, and the contexts that every thread keeps. */
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
    EVP_MD_CTX_free(thread->sha256);
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
    const struct crypto_algorithms *fetched = crypto_algorithms();
    struct crypto_thread *thread = calloc(1, sizeof *thread);
    if (thread == NULL) {
        abort();
    }
    thread->sha256 = EVP_MD_CTX_new();
    if (thread->sha256 == NULL || EVP_DigestInit_ex2(thread->sha256, fetched->sha256, NULL) != 1 ||
        pthread_setspecific(thread_key, thread) != 0) {
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
    if (EVP_DigestInit_ex2(crypto_thread()->sha256, algorithms.sha256, NULL) != 1) {
        abort();
    }
}

void truc_sha256_add(struct truc_bytes part)
{
    if (EVP_DigestUpdate(crypto_thread()->sha256, part.data, part.size) != 1) {
        abort();
    }
}

void truc_sha256_end(struct truc_hash *out)
{
    if (EVP_DigestFinal_ex(crypto_thread()->sha256, out->bytes, NULL) != 1) {
        abort();
    }
}

void truc_sha256_parts(struct truc_hash *out, const struct truc_bytes *parts, size_t count)
{
    truc_sha256_begin();
    for (size_t i = 0; i < count; i++) {
        truc_sha256_add(parts[i]);
    }
    truc_sha256_end(out);
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
