/* Chains of seals: what comes next, what was there, what is closed by a fork.
 *
 *   (none) --seal 1--> OPEN --seal n + 1--> OPEN --fork--> CLOSED      (none) --fork--> CLOSED */
#include "hub/core/core_internal.h"

#define SEAL_SIZE 40u
#define CHAIN_SIZE 57u

struct chain {
    uint64_t ordinal, number, leaf_index;
    struct truc_hash digest;
    bool closed;
};

static struct map_key chain_key(enum core_letter letter, uint32_t agency, const uint8_t chain[TRUC_CHAIN_SIZE])
{
    struct map_key key = map_key((char)letter);
    map_key32(&key, agency);
    map_key_bytes(&key, chain, TRUC_CHAIN_SIZE);
    return key;
}

static struct block_series seals_of(uint64_t ordinal)
{
    struct block_series series = {map_key((char)CORE_SEALS), SEAL_SIZE};
    map_key64(&series.key, ordinal);
    return series;
}

static truc_error chain_load(struct hub_core *core, uint32_t agency, const uint8_t id[TRUC_CHAIN_SIZE],
                             struct chain *out)
{
    struct map_key key = chain_key(CORE_CHAIN, agency, id);
    struct truc_bytes value;
    truc_error error = map_get(&core->map, &key, &value);
    if (error != TRUC_OK) {
        return error;
    }
    if (value.size != CHAIN_SIZE || value.data[56] > 1) {
        return TRUC_E_CORRUPT;
    }
    out->ordinal = load64(value.data);
    out->number = load64(value.data + 8);
    out->leaf_index = load64(value.data + 16);
    memcpy(out->digest.bytes, value.data + 24, TRUC_HASH_SIZE);
    out->closed = value.data[56] != 0;
    return TRUC_OK;
}

static truc_error chain_save(struct hub_core *core, uint32_t agency, const uint8_t id[TRUC_CHAIN_SIZE],
                             const struct chain *chain)
{
    struct map_key key = chain_key(CORE_CHAIN, agency, id);
    uint8_t value[CHAIN_SIZE];
    store64(value, chain->ordinal);
    store64(value + 8, chain->number);
    store64(value + 16, chain->leaf_index);
    memcpy(value + 24, chain->digest.bytes, TRUC_HASH_SIZE);
    value[56] = chain->closed;
    return map_put(&core->map, &key, truc_bytes(value, sizeof value));
}

/* The chain, or a new one that is not saved yet. */
static truc_error chain_open(struct hub_core *core, uint32_t agency, const uint8_t id[TRUC_CHAIN_SIZE],
                             struct chain *out)
{
    truc_error error = chain_load(core, agency, id, out);
    if (error == TRUC_E_NOT_FOUND) {
        *out = (struct chain){.ordinal = core->next_chain++};
        error = TRUC_OK;
    }
    return error;
}

static enum hub_chain_answer compare_next(const struct chain *chain, const struct truc_seal *seal)
{
    if (chain->closed) {
        return HUB_CHAIN_CLOSED;
    }
    if (seal->number != chain->number + 1) {
        return HUB_CHAIN_GAP;
    }
    /* The first seal of a chain names another chain's head, for an auditor: whatever it names fits. */
    if (seal->number > 1 &&
        (!seal->has_previous || memcmp(seal->previous.bytes, chain->digest.bytes, TRUC_HASH_SIZE) != 0)) {
        return HUB_CHAIN_GAP;
    }
    return HUB_CHAIN_NEXT;
}

truc_error hub_core_chain(struct hub_core *core, uint32_t agency, const struct truc_seal *seal,
                          const struct truc_hash *digest, enum hub_chain_answer *out, uint64_t *leaf_index)
{
    struct chain chain = {0};
    truc_error error = chain_load(core, agency, seal->chain, &chain);
    if (error != TRUC_OK && error != TRUC_E_NOT_FOUND) {
        return error;
    }
    if (seal->number == 0 || seal->number > chain.number) {
        *out = seal->number == 0 ? HUB_CHAIN_GAP : compare_next(&chain, seal);
        return TRUC_OK;
    }
    struct block_series series = seals_of(chain.ordinal);
    const uint8_t *record;
    error = block_read(&core->map, &series, NULL, seal->number - 1, &record);
    if (error != TRUC_OK) {
        return error == TRUC_E_NOT_FOUND ? TRUC_E_CORRUPT : error;
    }
    /* What was taken stays taken, even in a chain that was closed later. */
    if (memcmp(record, digest->bytes, TRUC_HASH_SIZE) == 0) {
        *leaf_index = load64(record + TRUC_HASH_SIZE);
        *out = HUB_CHAIN_KNOWN;
    } else {
        *out = chain.closed ? HUB_CHAIN_CLOSED : HUB_CHAIN_FORK;
    }
    return TRUC_OK;
}

truc_error core_chain_append(struct hub_core *core, struct core_agency *agency, const struct truc_seal *seal,
                             const struct truc_hash *digest, uint64_t leaf_index)
{
    struct chain chain;
    struct block_cursor cursor = {0};
    uint8_t *record;
    truc_error error = chain_open(core, agency->pub.number, seal->chain, &chain);
    if (error != TRUC_OK) {
        return error;
    }
    struct block_series series = seals_of(chain.ordinal);
    error = block_edit(&core->map, &series, &cursor, seal->number - 1, &record);
    if (error != TRUC_OK) {
        return error;
    }
    memcpy(record, digest->bytes, TRUC_HASH_SIZE);
    store64(record + TRUC_HASH_SIZE, leaf_index);
    chain.number = seal->number;
    chain.leaf_index = leaf_index;
    chain.digest = *digest;
    struct hub_chain_head *last = &agency->last_seal;
    memcpy(last->chain, seal->chain, TRUC_CHAIN_SIZE);
    last->number = seal->number;
    last->digest = *digest;
    last->leaf_index = leaf_index;
    agency->head_dirty = true;
    return chain_save(core, agency->pub.number, seal->chain, &chain);
}

truc_error core_fork(struct hub_core *core, const struct hub_input *input, struct hub_effects *effects)
{
    const struct core_agency *agency = core_agency_of(core, truc_bytes_of(input->agency));
    struct chain chain;
    if (agency == NULL) {
        return TRUC_E_INVALID;
    }
    uint32_t number = agency->pub.number;
    truc_error error = chain_open(core, number, input->u.fork.chain, &chain);
    if (error != TRUC_OK || chain.closed) {
        return error; /* closed already: the first evidence stands */
    }
    chain.closed = true;
    error = chain_save(core, number, input->u.fork.chain, &chain);
    if (error != TRUC_OK) {
        return error;
    }
    struct map_key key = chain_key(CORE_FORK, number, input->u.fork.chain);
    truc_buffer_clear(&core->scratch);
    struct writer writer = {&core->scratch, TRUC_OK};
    write64(&writer, input->u.fork.number);
    write_text(&writer, input->u.fork.envelope);
    error = writer.error != TRUC_OK ? writer.error : map_put(&core->map, &key, truc_buffer_view(&core->scratch));
    if (error != TRUC_OK) {
        return error;
    }
    struct hub_effect *effect;
    error = core_effect(effects, HUB_EFFECT_FORK, number, &effect);
    if (error == TRUC_OK) {
        effect->number = input->u.fork.number;
    }
    return error;
}

truc_error hub_core_last_seal(struct hub_core *core, uint32_t agency, struct hub_chain_head *out)
{
    const struct core_agency *found = core_agency(core, agency);
    if (found == NULL) {
        return TRUC_E_NOT_FOUND;
    }
    *out = found->last_seal;
    return TRUC_OK;
}
