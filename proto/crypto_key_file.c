/* Keys in PEM files: PKCS#8 PrivateKeyInfo and SubjectPublicKeyInfo (RFC 7468). */
#include "proto/crypto_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <openssl/bio.h>
#include <openssl/crypto.h>
#include <openssl/pem.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#define FILE_MAX 16384 /* RSA-4096 takes 3,300 */

static truc_error write_all(int file, const uint8_t *data, size_t size)
{
    while (size > 0) {
        ssize_t wrote = write(file, data, size);
        if (wrote < 0 && errno == EINTR) {
            continue;
        }
        if (wrote <= 0) {
            return TRUC_E_IO;
        }
        data += wrote;
        size -= (size_t)wrote;
    }
    return TRUC_OK;
}

/* Syncs the folder that holds `path`, so that the file's name survives a power loss as its bytes do. */
static truc_error sync_folder(const char *path)
{
    const char *slash = strrchr(path, '/');
    char *folder = slash == NULL ? strdup(".") : slash == path ? strdup("/") : strndup(path, (size_t)(slash - path));
    if (folder == NULL) {
        return TRUC_E_NOMEM;
    }
    int file = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    free(folder);
    if (file < 0) {
        return TRUC_E_IO;
    }
    truc_error error = fsync(file) == 0 ? TRUC_OK : TRUC_E_IO;
    int saved = errno;
    close(file);
    errno = saved;
    return error;
}

/* Makes `path` new, with all of `text` in it and synced, or leaves nothing behind. errno says what failed. */
static truc_error write_new_file(const char *path, mode_t mode, const uint8_t *text, size_t size)
{
    int file = open(path, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, mode);
    if (file < 0) {
        return errno == EEXIST ? TRUC_E_EXISTS : TRUC_E_IO;
    }
    truc_error error = write_all(file, text, size);
    if (error == TRUC_OK && fsync(file) != 0) {
        error = TRUC_E_IO;
    }
    int saved = errno;
    if (close(file) != 0 && error == TRUC_OK) {
        saved = errno;
        error = TRUC_E_IO;
    }
    errno = saved;
    if (error == TRUC_OK) {
        error = sync_folder(path);
    }
    if (error != TRUC_OK) {
        saved = errno;
        unlink(path);
        errno = saved;
    }
    return error;
}

static truc_error save(const struct truc_key *key, bool with_private, mode_t mode, const char *path)
{
    truc_error error = TRUC_E_CRYPTO;
    char *text = NULL;
    BIO *pem = BIO_new(BIO_s_mem()); /* wipes what it held when freed */
    if (pem == NULL) {
        return crypto_fail(TRUC_E_NOMEM);
    }
    int good = with_private ? PEM_write_bio_PKCS8PrivateKey(pem, key->pkey, NULL, NULL, 0, NULL, NULL)
                            : PEM_write_bio_PUBKEY(pem, key->pkey);
    long size = good == 1 ? BIO_get_mem_data(pem, &text) : 0;
    if (size > 0) {
        error = write_new_file(path, mode, (const uint8_t *)text, (size_t)size);
    }
    int saved = errno;
    BIO_free(pem);
    errno = saved;
    return error == TRUC_E_CRYPTO ? crypto_fail(error) : error;
}

truc_error truc_key_save_private(const struct truc_key *key, const char *path)
{
    return key->is_private ? save(key, true, 0600, path) : TRUC_E_INVALID;
}

truc_error truc_key_save_public(const struct truc_key *key, const char *path)
{
    return save(key, false, 0644, path);
}

/* Reads at most FILE_MAX bytes into `text`, which has room for one more to see that there are no further. */
static truc_error read_file(const char *path, uint8_t text[FILE_MAX + 1], size_t *size)
{
    int file = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
    if (file < 0) {
        return TRUC_E_IO;
    }
    truc_error error = TRUC_OK;
    size_t got = 0;
    while (got <= FILE_MAX) {
        ssize_t more = read(file, text + got, FILE_MAX + 1 - got);
        if (more < 0 && errno == EINTR) {
            continue;
        }
        if (more < 0) {
            error = TRUC_E_IO;
        }
        if (more <= 0) {
            break;
        }
        got += (size_t)more;
    }
    int saved = errno;
    close(file);
    errno = saved;
    *size = got;
    return error == TRUC_OK && got > FILE_MAX ? TRUC_E_MALFORMED : error;
}

static truc_error from_pkcs8(const unsigned char *der, long size, struct truc_key **out)
{
    const unsigned char *at = der;
    PKCS8_PRIV_KEY_INFO *info = d2i_PKCS8_PRIV_KEY_INFO(NULL, &at, size);
    EVP_PKEY *pkey = info != NULL && at == der + size ? EVP_PKCS82PKEY(info) : NULL;
    PKCS8_PRIV_KEY_INFO_free(info);
    if (pkey == NULL) {
        return crypto_fail(TRUC_E_MALFORMED);
    }
    struct truc_key *key = NULL;
    truc_error error = crypto_key_adopt(&pkey, true, &key);
    if (error != TRUC_OK) {
        return error;
    }
    /* A damaged file whose halves do not belong together would sign what nobody can verify. */
    EVP_PKEY_CTX *check = EVP_PKEY_CTX_new_from_pkey(NULL, key->pkey, NULL);
    if (check == NULL || EVP_PKEY_pairwise_check(check) != 1) {
        error = crypto_fail(check == NULL ? TRUC_E_NOMEM : TRUC_E_MALFORMED);
        truc_key_free(&key);
    } else {
        *out = key;
    }
    EVP_PKEY_CTX_free(check);
    return error;
}

static truc_error from_pem(const uint8_t *text, size_t size, struct truc_key **out)
{
    truc_error error = TRUC_E_MALFORMED;
    char *name = NULL, *header = NULL;
    unsigned char *der = NULL;
    long der_size = 0;
    BIO *pem = BIO_new_mem_buf(text, (int)size);
    if (pem == NULL) {
        error = TRUC_E_NOMEM;
        goto out;
    }
    /* Read as bytes with a label: OpenSSL's key readers would ask for a pass phrase on the terminal. */
    if (PEM_read_bio_ex(pem, &name, &header, &der, &der_size, PEM_FLAG_SECURE) != 1) {
        goto out;
    }
    if (strcmp(name, "PUBLIC KEY") == 0) {
        error = truc_key_from_spki(truc_bytes(der, (size_t)der_size), out);
    } else if (strcmp(name, "PRIVATE KEY") == 0) {
        error = from_pkcs8(der, der_size, out);
    } else {
        error = TRUC_E_UNSUPPORTED; /* encrypted, or of an older form: openssl pkcs8 -topk8 turns it into ours */
    }
out:
    OPENSSL_secure_free(name);
    OPENSSL_secure_free(header);
    OPENSSL_secure_clear_free(der, (size_t)der_size);
    BIO_free(pem);
    return error == TRUC_OK ? error : crypto_fail(error);
}

truc_error truc_key_load(const char *path, struct truc_key **out)
{
    uint8_t text[FILE_MAX + 1];
    size_t size = 0;
    truc_error error = read_file(path, text, &size);
    if (error == TRUC_OK) {
        error = from_pem(text, size, out);
    }
    int saved = errno;
    truc_wipe(text, size);
    errno = saved;
    return error;
}
