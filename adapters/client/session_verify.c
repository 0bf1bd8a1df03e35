/* What must hold before a delivered event is believed. */
#include "adapters/client/session_internal.h"

/* The same envelope comes with every delivery out of its seal; its signature is checked once while it stays in here.
 * The slot is found by the hash of all its bytes, so nothing else passes for it. */
static struct truc_hash *verified_slot(struct client_session *s, struct truc_bytes envelope, struct truc_hash *hash)
{
    truc_sha256(hash, envelope);
    return &s->verified[hash->bytes[0] % VERIFIED_SLOTS];
}

static truc_error verify_envelope(struct client_session *s, struct truc_bytes bytes, struct truc_envelope *envelope)
{
    truc_error error = truc_envelope_parse(bytes, envelope);
    if (error != TRUC_OK) {
        return error;
    }
    if (strcmp(envelope->seal.origin, s->origin) != 0) {
        return TRUC_E_BAD_SIGNATURE; /* a seal of another log, whoever signed it */
    }
    struct truc_hash hash;
    struct truc_hash *slot = verified_slot(s, bytes, &hash);
    if (memcmp(slot, &hash, sizeof hash) == 0) {
        return TRUC_OK;
    }
    const struct truc_key *key = session_key_of(s, envelope->seal.sender, envelope->seal.keyid);
    if (key == NULL) {
        return TRUC_E_UNKNOWN_KEY;
    }
    error = truc_envelope_verify(envelope, key);
    if (error == TRUC_OK) {
        *slot = hash;
    }
    return error;
}

truc_error session_verify_group(struct client_session *s, const Truc__V1__DeliverGroup *group,
                                const struct truc_bytes *events, struct truc_envelope *envelope,
                                struct truc_hash *hashes)
{
    uint32_t indexes[TRUC_SEAL_EVENTS_MAX];
    struct truc_hash nodes[TRUC_MULTIPROOF_MAX], root;
    if (group->n_items == 0 || group->n_items > TRUC_SEAL_EVENTS_MAX) {
        return TRUC_E_MALFORMED;
    }
    truc_error error = verify_envelope(s, session_view(group->envelope), envelope);
    if (error != TRUC_OK) {
        return error;
    }
    error = session_hashes(group->nodes, group->n_nodes, TRUC_MULTIPROOF_MAX, nodes);
    if (error != TRUC_OK) {
        return error;
    }
    for (size_t i = 0; i < group->n_items; i++) {
        indexes[i] = group->items[i]->index;
        truc_leaf_hash(&hashes[i], events[i]);
    }
    error = truc_multiproof_root(envelope->seal.count, indexes, hashes, group->n_items, nodes, group->n_nodes, &root, 0,
                                 NULL, NULL);
    if (error == TRUC_OK && memcmp(&root, &envelope->seal.root, sizeof root) != 0) {
        error = TRUC_E_BAD_PROOF;
    }
    return error;
}
