/* What must hold before a delivered event is believed. */
#include "adapters/client/session_internal.h"

/* The same envelope comes with every delivery out of its seal; its signature is checked once while it stays in here.
 * The slot is found by the hash of all its bytes, so nothing else passes for it. */
static struct truc_hash *verified_slot(struct client_session *s, struct truc_bytes envelope, struct truc_hash *hash)
{
    truc_sha256(hash, envelope);
    return &s->verified[hash->bytes[0] % VERIFIED_SLOTS];
}

static truc_error verify_seal(struct client_session *s, struct truc_bytes bytes, struct delivered_seal *seal)
{
    const struct truc_envelope *envelope = &seal->envelope;
    if (seal->error != TRUC_OK) {
        return seal->error;
    }
    if (strcmp(envelope->seal.origin, s->origin) != 0) {
        return TRUC_E_BAD_SIGNATURE; /* a seal of another log, whoever signed it */
    }
    if (seal->believed) {
        return TRUC_OK;
    }
    struct truc_hash hash;
    struct truc_hash *slot = verified_slot(s, bytes, &hash);
    if (memcmp(slot, &hash, sizeof hash) != 0) {
        const struct truc_key *key = session_key_of(s, envelope->seal.sender, envelope->seal.keyid);
        truc_error error = key == NULL ? TRUC_E_UNKNOWN_KEY : truc_envelope_verify(envelope, key);
        if (error != TRUC_OK) {
            return error;
        }
        *slot = hash;
    }
    seal->believed = true;
    return TRUC_OK;
}

/* `later` was signed by whom `earlier` says it is of, and names it by its digest. */
static bool vouches(const struct delivered_seal *later, const struct delivered_seal *earlier)
{
    const struct truc_seal *a = &earlier->envelope.seal, *b = &later->envelope.seal;
    return later->believed && earlier->error == TRUC_OK && b->has_previous && b->number == a->number + 1 &&
           memcmp(b->chain, a->chain, sizeof b->chain) == 0 &&
           memcmp(&b->previous, &earlier->envelope.digest, sizeof b->previous) == 0 &&
           strcmp(b->sender, a->sender) == 0 && strcmp(b->keyid, a->keyid) == 0 && strcmp(b->origin, a->origin) == 0;
}

/* Chains whose seals may lie between each other's in a frame; a seal of one more is verified by itself. */
#define CHAINS 16

void session_vouch(struct client_session *s, const Truc__V1__Deliver *message, struct delivered_seal *seals)
{
    const struct delivered_seal *latest[CHAINS];
    size_t chains = 0;
    for (size_t g = message->n_groups; g-- > 0;) {
        struct delivered_seal *seal = &seals[g];
        size_t c = 0;
        while (c < chains && memcmp(latest[c]->envelope.seal.chain, seal->envelope.seal.chain,
                                    sizeof seal->envelope.seal.chain) != 0) {
            c++;
        }
        if (seal->error != TRUC_OK || c == CHAINS) {
            continue;
        }
        seal->believed = c < chains && vouches(latest[c], seal);
        if (verify_seal(s, session_view(message->groups[g]->envelope), seal) == TRUC_OK) {
            latest[c] = seal;
            chains += c == chains;
        }
    }
}

truc_error session_verify_group(struct client_session *s, const Truc__V1__DeliverGroup *group,
                                struct delivered_seal *seal, const struct truc_bytes *events, struct truc_hash *hashes)
{
    uint32_t indexes[TRUC_SEAL_EVENTS_MAX];
    struct truc_hash nodes[TRUC_MULTIPROOF_MAX], root;
    if (group->n_items == 0 || group->n_items > TRUC_SEAL_EVENTS_MAX) {
        return TRUC_E_MALFORMED;
    }
    truc_error error = verify_seal(s, session_view(group->envelope), seal);
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
    error = truc_multiproof_root(seal->envelope.seal.count, indexes, hashes, group->n_items, nodes, group->n_nodes,
                                 &root, 0, NULL, NULL);
    if (error == TRUC_OK && memcmp(&root, &seal->envelope.seal.root, sizeof root) != 0) {
        error = TRUC_E_BAD_PROOF;
    }
    return error;
}
