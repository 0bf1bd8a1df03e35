#include "hub/hub.h"

static int by_keyid(const void *a, const void *b)
{
    return strcmp(((const struct hub_keyring_key *)a)->keyid, ((const struct hub_keyring_key *)b)->keyid);
}

static truc_error obtain(const struct hub_signing_key *registered, const struct hub_keyring *before,
                         struct hub_keyring_key *out)
{
    const struct hub_keyring_key *known = before ? hub_keyring_find(before, registered->keyid) : NULL;
    truc_error error = TRUC_OK;

    if (known)
        out->key = truc_key_ref(known->key);
    else
        error = truc_key_from_spki(registered->spki, &out->key);
    if (error)
        return error == TRUC_E_NOMEM ? error : TRUC_E_CORRUPT;
    out->keyid = truc_key_id(out->key);
    out->agency = registered->agency;
    return TRUC_OK;
}

truc_error hub_keyring_new(struct hub_core *core, struct hub_keyring *before, struct hub_keyring **out)
{
    size_t count = hub_core_key_count(core);
    struct hub_keyring *ring = calloc(1, sizeof *ring);
    truc_error error = TRUC_OK;

    if (!ring)
        return TRUC_E_NOMEM;
    atomic_init(&ring->owners, 1);
    ring->keys = calloc(count ? count : 1, sizeof *ring->keys);
    if (!ring->keys)
        error = TRUC_E_NOMEM;
    for (size_t i = 0; !error && i < count; i++)
        if (!(error = obtain(hub_core_key_at(core, i), before, &ring->keys[i])))
            ring->count++;
    if (error) {
        hub_keyring_free(&ring);
        return error;
    }
    qsort(ring->keys, ring->count, sizeof *ring->keys, by_keyid);
    *out = ring;
    return TRUC_OK;
}

struct hub_keyring *hub_keyring_ref(struct hub_keyring *ring)
{
    atomic_fetch_add(&ring->owners, 1);
    return ring;
}

void hub_keyring_free(struct hub_keyring **ring_in)
{
    struct hub_keyring *ring = *ring_in;

    *ring_in = NULL;
    if (!ring || atomic_fetch_sub(&ring->owners, 1) != 1)
        return;
    for (size_t i = 0; i < ring->count; i++)
        truc_key_free(&ring->keys[i].key);
    free(ring->keys);
    free(ring);
}

const struct hub_keyring_key *hub_keyring_find(const struct hub_keyring *ring, const char *keyid)
{
    struct hub_keyring_key wanted = {.keyid = keyid};

    return bsearch(&wanted, ring->keys, ring->count, sizeof *ring->keys, by_keyid);
}
