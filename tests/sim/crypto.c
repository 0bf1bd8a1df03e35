/* Keys from known bytes, random bytes from the seed, and in most seeds a keyed hash in the place of signatures: it
 * costs one microsecond instead of a hundred, and a byte changed anywhere breaks it just the same. One seed in fifty
 * signs. */
#include "proto/crypto_internal.h"
#include "tests/sim/world.h"

truc_error __real_truc_key_sign(const struct truc_key *key, struct truc_bytes message, struct truc_buffer *signature);
truc_error __wrap_truc_key_sign(const struct truc_key *key, struct truc_bytes message, struct truc_buffer *signature);
truc_error __real_truc_key_verify(const struct truc_key *key, struct truc_bytes message, struct truc_bytes signature);
truc_error __wrap_truc_key_verify(const struct truc_key *key, struct truc_bytes message, struct truc_bytes signature);
truc_error __wrap_truc_random(void *out, size_t size);
truc_error __real_truc_key_from_spki(struct truc_bytes der, struct truc_key **out);
truc_error __wrap_truc_key_from_spki(struct truc_bytes der, struct truc_key **out);
truc_error __real_truc_key_from_ed25519(const uint8_t raw[32], struct truc_key **out);
truc_error __wrap_truc_key_from_ed25519(const uint8_t raw[32], struct truc_key **out);
truc_error __wrap_truc_key_load(const char *path, struct truc_key **out);

bool sim_real_signatures;

static void keyed_hash(const struct truc_key *key, struct truc_bytes message, uint8_t out[64])
{
    const struct truc_bytes parts[] = {truc_bytes_of("simulated"), truc_key_spki(key), message};
    struct truc_hash hash;

    truc_sha256_parts(&hash, parts, 3);
    memcpy(out, hash.bytes, 32);
    memcpy(out + 32, hash.bytes, 32);
}

truc_error __wrap_truc_key_sign(const struct truc_key *key, struct truc_bytes message, struct truc_buffer *signature)
{
    uint8_t bytes[64];

    if (sim_real_signatures)
        return __real_truc_key_sign(key, message, signature);
    if (!truc_key_is_private(key))
        return TRUC_E_INVALID;
    keyed_hash(key, message, bytes);
    return truc_buffer_append(signature, bytes, sizeof bytes);
}

truc_error __wrap_truc_key_verify(const struct truc_key *key, struct truc_bytes message, struct truc_bytes signature)
{
    uint8_t bytes[64];

    if (sim_real_signatures)
        return __real_truc_key_verify(key, message, signature);
    keyed_hash(key, message, bytes);
    return truc_bytes_equal(signature, truc_bytes(bytes, sizeof bytes)) ? TRUC_OK : TRUC_E_BAD_SIGNATURE;
}

truc_error __wrap_truc_random(void *out, size_t size)
{
    sim_random_bytes(out, size);
    return TRUC_OK;
}

/* ---- keys: made once for all seeds, OpenSSL takes its time ---- */

static struct truc_key *keys[SIM_KEYS];

char sim_transport_public[TRUC_TRANSPORT_KEY_TEXT], sim_transport_secret[TRUC_TRANSPORT_KEY_TEXT];

void sim_keys_make(void)
{
    if (truc_transport_keypair(sim_transport_public, sim_transport_secret) != TRUC_OK)
        abort();
    for (unsigned i = 0; i < SIM_KEYS; i++) {
        uint8_t raw[32] = {(uint8_t)i, 's', 'i', 'm'};
        EVP_PKEY *pkey = EVP_PKEY_new_raw_private_key(EVP_PKEY_ED25519, NULL, raw, sizeof raw);
        if (!pkey || crypto_key_adopt(&pkey, true, &keys[i]) != TRUC_OK)
            abort();
    }
}

struct truc_key *sim_key(unsigned number)
{
    return keys[number];
}

const uint8_t *sim_key_transport(unsigned number)
{
    static uint8_t transport[SIM_KEYS][32];
    memset(transport[number], (int)number, sizeof transport[number]);
    return transport[number];
}

truc_error __wrap_truc_key_from_spki(struct truc_bytes der, struct truc_key **out)
{
    for (unsigned i = 0; !sim_real_signatures && i < SIM_KEYS; i++)
        if (truc_bytes_equal(der, truc_key_spki(keys[i]))) {
            *out = truc_key_ref(keys[i]);
            return TRUC_OK;
        }
    return __real_truc_key_from_spki(der, out);
}

/* The raw key is the end of its SPKI. */
truc_error __wrap_truc_key_from_ed25519(const uint8_t raw[32], struct truc_key **out)
{
    for (unsigned i = 0; !sim_real_signatures && i < SIM_KEYS; i++) {
        struct truc_bytes spki = truc_key_spki(keys[i]);
        if (memcmp(spki.data + spki.size - 32, raw, 32) == 0) {
            *out = truc_key_ref(keys[i]);
            return TRUC_OK;
        }
    }
    return __real_truc_key_from_ed25519(raw, out);
}

/* The one that is loaded is the hub's note key. */
truc_error __wrap_truc_key_load(const char *path, struct truc_key **out)
{
    (void)path;
    *out = truc_key_ref(keys[SIM_NOTE_KEY]);
    return TRUC_OK;
}
