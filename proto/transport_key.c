/* CURVE key pairs for the transport: X25519 (RFC 7748) in ZeroMQ's text form. */
#include "proto/crypto_internal.h"

truc_error truc_transport_keypair(char public_key[TRUC_TRANSPORT_KEY_TEXT], char secret_key[TRUC_TRANSPORT_KEY_TEXT])
{
    uint8_t public_bytes[32], secret_bytes[32];
    size_t public_size = sizeof public_bytes, secret_size = sizeof secret_bytes;
    truc_error error = TRUC_E_CRYPTO;
    EVP_PKEY *pair = EVP_PKEY_Q_keygen(NULL, NULL, "X25519");
    if (pair == NULL || EVP_PKEY_get_raw_public_key(pair, public_bytes, &public_size) != 1 ||
        EVP_PKEY_get_raw_private_key(pair, secret_bytes, &secret_size) != 1 || public_size != sizeof public_bytes ||
        secret_size != sizeof secret_bytes) {
        error = crypto_fail(TRUC_E_CRYPTO);
        goto out;
    }
    error = truc_z85_encode(truc_bytes(public_bytes, sizeof public_bytes), public_key);
    if (error != TRUC_OK) {
        goto out;
    }
    error = truc_z85_encode(truc_bytes(secret_bytes, sizeof secret_bytes), secret_key);
out:
    EVP_PKEY_free(pair);
    truc_wipe(secret_bytes, sizeof secret_bytes);
    return error;
}

truc_error truc_transport_public(const char *secret_key, char public_key[TRUC_TRANSPORT_KEY_TEXT])
{
    uint8_t secret_bytes[32], public_bytes[32];
    size_t public_size = sizeof public_bytes;
    EVP_PKEY *pair = NULL;
    truc_error error = truc_z85_decode(truc_bytes_of(secret_key), secret_bytes, sizeof secret_bytes);
    if (error != TRUC_OK) {
        goto out;
    }
    pair = EVP_PKEY_new_raw_private_key(EVP_PKEY_X25519, NULL, secret_bytes, sizeof secret_bytes);
    if (pair == NULL || EVP_PKEY_get_raw_public_key(pair, public_bytes, &public_size) != 1 ||
        public_size != sizeof public_bytes) {
        error = crypto_fail(TRUC_E_CRYPTO);
        goto out;
    }
    error = truc_z85_encode(truc_bytes(public_bytes, sizeof public_bytes), public_key);
out:
    EVP_PKEY_free(pair);
    truc_wipe(secret_bytes, sizeof secret_bytes);
    return error;
}
