/* The core's life: open from the port, rows of inputs, freezing, dump. */
#include "hub/core/core_internal.h"

#include <stdlib.h>

static truc_error load_meta(struct hub_core *core, struct truc_bytes bytes)
{
    struct reader reader = reader_of(bytes);
    uint32_t version = read32(&reader);
    core->applied = read64(&reader);
    core->accepted_at_us = read_time(&reader);
    core->next_sequence = read64(&reader);
    core->frontier.size = read64(&reader);
    core->next_chain = read64(&reader);
    core->idempotency.first = read64(&reader);
    core->idempotency.next = read64(&reader);
    core->registry.next_subscription = read32(&reader);
    for (size_t i = 0; i < CORE_REASONS; i++) {
        core->refusals[i] = read64(&reader);
    }
    if (!reader.bad && version != CORE_STATE_VERSION) {
        return TRUC_E_UNSUPPORTED;
    }
    return read_done(&reader) && core->idempotency.first <= core->idempotency.next ? TRUC_OK : TRUC_E_CORRUPT;
}

static truc_error save_meta(struct hub_core *core)
{
    struct map_key key = map_key((char)CORE_META);
    truc_buffer_clear(&core->scratch);
    struct writer writer = {&core->scratch, TRUC_OK};
    write32(&writer, CORE_STATE_VERSION);
    write64(&writer, core->applied);
    write_time(&writer, core->accepted_at_us);
    write64(&writer, core->next_sequence);
    write64(&writer, core->frontier.size);
    write64(&writer, core->next_chain);
    write64(&writer, core->idempotency.first);
    write64(&writer, core->idempotency.next);
    write32(&writer, core->registry.next_subscription);
    for (size_t i = 0; i < CORE_REASONS; i++) {
        write64(&writer, core->refusals[i]);
    }
    return writer.error != TRUC_OK ? writer.error : map_put(&core->map, &key, truc_buffer_view(&core->scratch));
}

static truc_error load(struct hub_core *core)
{
    struct map_key key = map_key((char)CORE_META);
    struct truc_bytes value;
    truc_error error = map_get(&core->map, &key, &value);
    if (error != TRUC_OK) {
        return error == TRUC_E_NOT_FOUND ? TRUC_OK : error; /* before the first row */
    }
    error = load_meta(core, value);
    if (error != TRUC_OK || core->frontier.size == 0) {
        return error;
    }
    error = core_registry_load(core);
    if (error == TRUC_OK) {
        error = core_exceptions_load(core);
    }
    if (error == TRUC_OK) {
        error = core_idempotency_load(core);
    }
    return error == TRUC_OK ? core_log_load(core) : error;
}

truc_error hub_core_new(const struct hub_port *port, struct hub_core **out)
{
    struct hub_core *core = calloc(1, sizeof *core);
    if (core == NULL) {
        return TRUC_E_NOMEM;
    }
    map_init(&core->map, port);
    core->next_sequence = 1;
    core->registry.version = 1;
    core->registry.next_change_us = INT64_MAX;
    truc_error error = load(core);
    if (error != TRUC_OK) {
        hub_core_free(&core);
    }
    *out = core;
    return error;
}

void hub_core_free(struct hub_core **core)
{
    if (*core == NULL) {
        return;
    }
    core_registry_close(&(*core)->registry);
    core_routes_close(&(*core)->routes);
    core_idempotency_close(&(*core)->idempotency);
    map_close(&(*core)->map);
    truc_buffer_close(&(*core)->scratch);
    free((*core)->note_key);
    free(*core);
    *core = NULL;
}

uint64_t hub_core_applied(const struct hub_core *core)
{
    return core->applied;
}

int64_t hub_core_accepted_at(const struct hub_core *core)
{
    return core->accepted_at_us;
}

const char *hub_core_origin(const struct hub_core *core)
{
    return core->origin;
}

const char *hub_core_note_key(const struct hub_core *core)
{
    return core->note_key == NULL ? "" : core->note_key;
}

uint64_t hub_core_next_sequence(const struct hub_core *core)
{
    return core->next_sequence;
}

/* Remembers the first error: an input that was applied in half must not be built upon. */
static truc_error guard(struct hub_core *core, truc_error error)
{
    if (error != TRUC_OK && core->failure == TRUC_OK) {
        core->failure = error;
    }
    return core->failure;
}

truc_error hub_core_begin_row(struct hub_core *core, uint64_t row, int64_t accepted_at_us)
{
    if (core->failure != TRUC_OK) {
        return core->failure;
    }
    if (core->in_row || row != core->applied || accepted_at_us < core->accepted_at_us ||
        accepted_at_us > CORE_TIME_MAX_US) {
        return TRUC_E_INVALID; /* nothing has changed: the caller may do it right */
    }
    core->in_row = true;
    core->accepted_at_us = accepted_at_us;
    if (core->registry.next_change_us <= accepted_at_us) {
        core_routes_changed(core);
    }
    return guard(core, core_idempotency_forget(core, accepted_at_us));
}

truc_error hub_core_end_row(struct hub_core *core, struct hub_effects *effects)
{
    if (core->failure != TRUC_OK) {
        return core->failure;
    }
    if (!core->in_row) {
        return TRUC_E_INVALID;
    }
    core->in_row = false;
    core->applied++;
    core->meta_dirty = true;
    /* The buffer may have moved at any append; leaves lie in it in the order of their effects. */
    size_t at = 0;
    for (size_t i = 0; i < effects->count; i++) {
        struct hub_effect *effect = &effects->items[i];
        if (effect->kind == HUB_EFFECT_LEAF) {
            effect->leaf.data = effects->bytes.data + at;
            at += effect->leaf.size;
        }
    }
    return TRUC_OK;
}

/* Who sealed, if this seal could be journaled here: known agency and key of it, this log, the next of its chain. */
static truc_error find_sealer(struct hub_core *core, const struct hub_seal_input *input, struct core_agency **out)
{
    const struct truc_seal *seal = &input->seal;
    enum hub_chain_answer answer;
    uint64_t leaf_index;
    size_t at;
    struct core_agency *agency = core_agency_of(core, truc_bytes_of(seal->sender));
    const struct hub_signing_key *key = core_key(core, seal->keyid, &at);
    if (agency == NULL || strcmp(agency->pub.code, seal->sender) != 0 || key == NULL ||
        key->agency != agency->pub.number || strcmp(seal->origin, core->origin) != 0) {
        return TRUC_E_INVALID;
    }
    *out = agency;
    truc_error error = hub_core_chain(core, agency->pub.number, seal, &input->digest, &answer, &leaf_index);
    return error == TRUC_OK && answer != HUB_CHAIN_NEXT ? TRUC_E_INVALID : error;
}

static truc_error decide_all(struct hub_core *core, const struct core_sealing *sealing, bool genesis,
                             struct hub_effects *effects)
{
    const struct hub_seal_input *input = sealing->input;
    truc_error error = TRUC_OK;
    core_idempotency_prefetch(core, input->events, input->seal.count);
    for (uint32_t i = 0; error == TRUC_OK && i < input->seal.count; i++) {
        struct truc_outcome *outcome = &core->leaf.outcomes[i];
        if (genesis) {
            *outcome = (struct truc_outcome){TRUC_OUTCOME_ACCEPTED, 0};
            error = core_idempotency_add(core, &input->events[i], sealing->first_sequence);
            continue;
        }
        error = core_decide(core, sealing, i, effects, outcome);
        if (outcome->code != TRUC_OUTCOME_ACCEPTED && outcome->code < CORE_REASONS) {
            core->refusals[outcome->code]++;
        }
    }
    return error;
}

/* Leaf, tree, chain; fills the effect that was put before those of the events. */
static truc_error append_leaf(struct hub_core *core, const struct core_sealing *sealing, const struct hub_input *input,
                              struct hub_effects *effects, size_t effect_at)
{
    const struct hub_seal_input *seal = sealing->input;
    size_t before = effects->bytes.size;
    core->leaf.accepted_at_us = core->accepted_at_us;
    core->leaf.first_sequence = sealing->first_sequence;
    core->leaf.seal_digest = seal->digest;
    core->leaf.count = seal->seal.count;
    truc_error error = truc_leaf_encode(&core->leaf, &effects->bytes);
    if (error != TRUC_OK) {
        return error;
    }
    struct truc_bytes leaf = truc_bytes(effects->bytes.data + before, effects->bytes.size - before);
    const struct hub_leaf_place place = {.leaf_index = sealing->leaf_index,
                                         .row = core->applied,
                                         .first_sequence = sealing->first_sequence,
                                         .offset = input->offset,
                                         .count = seal->seal.count};
    struct hub_effect *effect = &effects->items[effect_at];
    effect->count = seal->seal.count;
    effect->sequence = sealing->first_sequence;
    effect->leaf_index = sealing->leaf_index;
    effect->digest = seal->digest;
    effect->leaf = truc_bytes(NULL, leaf.size); /* its address comes at the row's end */
    error = core_log_append(core, leaf, &place);
    if (error == TRUC_OK) {
        error = core_chain_append(core, sealing->sender, &seal->seal, &seal->digest, sealing->leaf_index);
    }
    core->next_sequence += seal->seal.count;
    return error;
}

static truc_error apply_seal(struct hub_core *core, const struct hub_input *input, struct hub_effects *effects)
{
    const struct hub_seal_input *seal = &input->u.seal;
    bool genesis = core->frontier.size == 0;
    size_t effect_at = effects->count;
    struct core_sealing sealing = {
        .input = seal, .leaf_index = core->frontier.size, .first_sequence = core->next_sequence};
    if (seal->seal.count == 0 || seal->seal.count > TRUC_SEAL_EVENTS_MAX) {
        return TRUC_E_INVALID;
    }
    /* The leaf's effect comes before those of its events: whoever reads them in order knows the leaf first. */
    truc_error error = core_effect(effects, HUB_EFFECT_LEAF, 0, NULL);
    if (error == TRUC_OK && genesis) {
        error = core_genesis(core, seal, effects);
    }
    if (error == TRUC_OK) {
        error = find_sealer(core, seal, &sealing.sender);
    }
    if (error == TRUC_OK) {
        effects->items[effect_at].agency = sealing.sender->pub.number;
        sealing.recalls_end = hub_core_recalls_end(core, seal->events, seal->seal.count);
        error = decide_all(core, &sealing, genesis, effects);
    }
    return error == TRUC_OK ? append_leaf(core, &sealing, input, effects, effect_at) : error;
}

/* An agency changes its own subscriptions. What is not well formed, there already, or over the limit changes nothing.
 */
static truc_error apply_subscribe(struct hub_core *core, const struct hub_input *input, struct hub_effects *effects)
{
    struct core_agency *agency = core_agency_of(core, truc_bytes_of(input->agency));
    struct truc_bytes type = input->u.subscribe.type, source = input->u.subscribe.source_agency;
    truc_error error = TRUC_OK;
    if (agency == NULL) {
        return TRUC_E_INVALID;
    }
    if (truc_type_pattern_is_valid(type) && (source.size == 0 || truc_agency_is_valid(source))) {
        if (input->u.subscribe.remove) {
            error = core_unsubscribe(core, agency, type, source);
        } else if (agency->subscriptions < HUB_SUBSCRIPTIONS_MAX) {
            error = core_subscribe(core, agency, type, source);
        }
    }
    if (error != TRUC_OK && error != TRUC_E_EXISTS && error != TRUC_E_NOT_FOUND) {
        return error;
    }
    return core_effect(effects, HUB_EFFECT_SUBSCRIBED, agency->pub.number, NULL);
}

static truc_error apply(struct hub_core *core, const struct hub_input *input, struct hub_effects *effects)
{
    if (core->frontier.size == 0 && input->kind != HUB_INPUT_SEAL) {
        return TRUC_E_INVALID; /* a log begins with its genesis */
    }
    switch (input->kind) {
    case HUB_INPUT_BOOT:
        core_inbox_boot(core);
        return TRUC_OK;
    case HUB_INPUT_SEAL:
        return apply_seal(core, input, effects);
    case HUB_INPUT_ACK:
    case HUB_INPUT_RELEASE:
    case HUB_INPUT_EXPIRE:
        return core_inbox_ranges(core, input, effects);
    case HUB_INPUT_NACK:
        return core_inbox_nack(core, input, effects);
    case HUB_INPUT_SUBSCRIBE:
        return apply_subscribe(core, input, effects);
    case HUB_INPUT_FORK:
        return core_fork(core, input, effects);
    case HUB_INPUT_CHECKPOINT:
        return TRUC_OK;
    }
    return TRUC_E_INVALID;
}

truc_error hub_core_apply(struct hub_core *core, const struct hub_input *input, struct hub_effects *effects)
{
    if (core->failure != TRUC_OK) {
        return core->failure;
    }
    return core->in_row ? guard(core, apply(core, input, effects)) : TRUC_E_INVALID;
}

/* Brings what is held decoded into the map. */
static truc_error flush(struct hub_core *core)
{
    truc_error error = TRUC_OK;
    for (uint32_t i = 0; error == TRUC_OK && i < core->registry.agency_count; i++) {
        struct core_agency *agency = core->registry.agencies[i];
        if (agency->head_dirty) {
            error = core_save_head(core, agency);
            agency->head_dirty = error != TRUC_OK;
        }
    }
    if (error == TRUC_OK && core->meta_dirty) {
        error = save_meta(core);
        core->meta_dirty = error != TRUC_OK;
    }
    return error;
}

truc_error hub_core_freeze(struct hub_core *core, struct hub_dirty **out)
{
    *out = NULL;
    if (core->failure != TRUC_OK) {
        return core->failure;
    }
    if (core->in_row || core->map.frozen != NULL) {
        return TRUC_E_INVALID;
    }
    truc_error error = flush(core);
    return error == TRUC_OK ? map_freeze(&core->map, core->applied, out) : error;
}

void hub_core_thaw(struct hub_core *core, struct hub_dirty **dirty)
{
    map_thaw(&core->map, dirty);
}

size_t hub_core_dirty_bytes(const struct hub_core *core)
{
    return core->map.active.bytes;
}

truc_error hub_core_dump(struct hub_core *core,
                         truc_error (*each)(void *context, struct truc_bytes key, struct truc_bytes value),
                         void *context)
{
    if (core->failure != TRUC_OK) {
        return core->failure;
    }
    if (core->in_row) {
        return TRUC_E_INVALID;
    }
    truc_error error = flush(core);
    return error == TRUC_OK ? map_each(&core->map, each, context) : error;
}
