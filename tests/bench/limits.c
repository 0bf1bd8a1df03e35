/* limits DIR SECONDS: what this machine can do at all, one JSON object on stdout. SECONDS is for each point; DIR lies
 * on the disk under test. Blocks; exit code 1 where a point could not be measured. */
#include "truc/crypto.h"

#include <fcntl.h>
#include <lmdb.h>
#include <openssl/ec.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define PAGE 4096
#define MAP_BYTES (UINT64_C(8) << 30)
#define BATCH 64 /* calls between two looks at the clock, where a call is short */

static double seconds(void)
{
    struct timespec now;
    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static double cpu_seconds(void)
{
    struct timespec now;
    (void)clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static void fail(const char *what)
{
    fprintf(stderr, "limits: %s failed\n", what);
    exit(1);
}

static char *path_in(const char *folder, const char *name)
{
    char *path;
    if (asprintf(&path, "%s/%s", folder, name) < 0) {
        fail("memory");
    }
    return path;
}

/* Appends of 4 KiB, each synced: what a commit cannot beat. */
static double fdatasyncs(const char *folder, double duration)
{
    static uint8_t page[PAGE];
    char *path = path_in(folder, "limits.append");
    int file = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (file < 0 || truc_random(page, sizeof page) != TRUC_OK) {
        fail("opening a file to append to");
    }
    uint64_t count = 0;
    double begin = seconds(), end;
    do {
        if (write(file, page, sizeof page) != (ssize_t)sizeof page || fdatasync(file) != 0) {
            fail("fdatasync");
        }
        count++;
    } while ((end = seconds()) < begin + duration);
    (void)close(file);
    (void)unlink(path);
    free(path);
    return (double)count / (end - begin);
}

/* LMDB as the journal uses it: one row of `size` a synced commit, appended and filled in place. */
static double lmdb_commits(const char *folder, size_t size, double duration)
{
    char *path = path_in(folder, "limits.mdb");
    MDB_env *env;
    MDB_txn *txn;
    MDB_dbi table;
    uint8_t *source = malloc(size);
    if (source == NULL || truc_random(source, size) != TRUC_OK || mdb_env_create(&env) != 0 ||
        mdb_env_set_mapsize(env, MAP_BYTES) != 0 || mdb_env_open(env, path, MDB_NOSUBDIR | MDB_NOLOCK, 0600) != 0 ||
        mdb_txn_begin(env, NULL, 0, &txn) != 0 || mdb_dbi_open(txn, NULL, 0, &table) != 0 || mdb_txn_commit(txn) != 0) {
        fail("opening LMDB");
    }
    uint64_t count = 0;
    double begin = seconds(), end;
    do {
        uint8_t name[8];
        for (unsigned i = 0; i < 8; i++) {
            name[i] = (uint8_t)(count >> (56 - 8 * i));
        }
        MDB_val key = {sizeof name, name}, value = {size, NULL};
        if (mdb_txn_begin(env, NULL, 0, &txn) != 0 ||
            mdb_put(txn, table, &key, &value, MDB_APPEND | MDB_RESERVE) != 0) {
            fail("writing to LMDB");
        }
        memcpy(value.mv_data, source, size);
        if (mdb_txn_commit(txn) != 0) {
            fail("committing to LMDB");
        }
        count++;
    } while ((end = seconds()) < begin + duration && (count + 2) * (size + 2 * PAGE) < MAP_BYTES);
    mdb_env_close(env);
    (void)unlink(path);
    free(path);
    free(source);
    return (double)count / (end - begin);
}

/* OpenSSL alone, on one core: raw P-256 verification of a digest, with the key and context made once. */
static double p256_verifies(double duration)
{
    EVP_PKEY *key = EVP_EC_gen("P-256");
    EVP_PKEY_CTX *sign = key != NULL ? EVP_PKEY_CTX_new(key, NULL) : NULL;
    EVP_PKEY_CTX *verify = key != NULL ? EVP_PKEY_CTX_new(key, NULL) : NULL;
    uint8_t digest[32], signature[80];
    size_t size = sizeof signature;
    if (sign == NULL || verify == NULL || truc_random(digest, sizeof digest) != TRUC_OK ||
        EVP_PKEY_sign_init(sign) != 1 || EVP_PKEY_sign(sign, signature, &size, digest, sizeof digest) != 1 ||
        EVP_PKEY_verify_init(verify) != 1) {
        fail("making a signature");
    }
    uint64_t count = 0;
    double begin = cpu_seconds(), end;
    do {
        for (int i = 0; i < BATCH; i++, count++) {
            if (EVP_PKEY_verify(verify, signature, size, digest, sizeof digest) != 1) {
                fail("verifying a signature");
            }
        }
    } while ((end = cpu_seconds()) < begin + duration);
    EVP_PKEY_CTX_free(sign);
    EVP_PKEY_CTX_free(verify);
    EVP_PKEY_free(key);
    return (double)count / (end - begin);
}

static double sha256_megabytes(size_t size, double duration)
{
    uint8_t *data = malloc(size);
    struct truc_hash hash;
    uint64_t count = 0;
    if (data == NULL || truc_random(data, size) != TRUC_OK) {
        fail("memory");
    }
    double begin = cpu_seconds(), end;
    do {
        for (int i = 0; i < BATCH; i++, count++) {
            truc_sha256(&hash, truc_bytes(data, size));
            data[0] = hash.bytes[0]; /* each hash waits for the one before */
        }
    } while ((end = cpu_seconds()) < begin + duration);
    free(data);
    return (double)count * (double)size / 1e6 / (end - begin);
}

int main(int argc, char **argv)
{
    if (argc != 3 || strtod(argv[2], NULL) <= 0) {
        fputs("usage: limits DIR SECONDS\n", stderr);
        return 2;
    }
    double duration = strtod(argv[2], NULL);
    if (mkdir(argv[1], 0700) != 0 && access(argv[1], W_OK) != 0) {
        fail("making the folder");
    }
    printf("{\"fdatasync_4k_per_s\": %.0f, ", fdatasyncs(argv[1], duration));
    printf("\"lmdb_1m_commits_per_s\": %.0f, ", lmdb_commits(argv[1], 1u << 20, duration));
    printf("\"lmdb_64k_commits_per_s\": %.0f, ", lmdb_commits(argv[1], 64u << 10, duration));
    printf("\"p256_verify_per_s_core\": %.0f, ", p256_verifies(duration));
    printf("\"sha256_1k_mb_per_s\": %.0f, ", sha256_megabytes(1u << 10, duration / 2));
    printf("\"sha256_64k_mb_per_s\": %.0f}\n", sha256_megabytes(64u << 10, duration / 2));
    return 0;
}
