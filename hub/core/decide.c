/* The outcome of one event: a function of the state, the event's facts and accepted_at. The order of the checks is part
 * of the protocol (PROTOCOL.md, "Reason codes"): every auditor must come to the same reason. */
#include "hub/core/core_internal.h"

uint8_t core_check_facts(const struct hub_core *core, const struct hub_event_facts *facts)
{
    const struct hub_parameters *parameters = &core->parameters;
    if ((facts->flags & HUB_FACT_MALFORMED) != 0) {
        return TRUC_MALFORMED;
    }
    if ((facts->flags & HUB_FACT_TOO_LARGE) != 0 || facts->size > parameters->event_bytes) {
        return TRUC_TOO_LARGE;
    }
    if ((facts->flags & HUB_FACT_FOREIGN_SOURCE) != 0) {
        return TRUC_NOT_GRANTED;
    }
    if (facts->time_us != HUB_TIME_NONE &&
        facts->time_us > core->accepted_at_us + (int64_t)parameters->future_skew_s * CORE_SECOND_US) {
        return TRUC_CLOCK_SKEW;
    }
    return TRUC_ACCEPTED;
}

bool core_is_expired(const struct hub_core *core, const struct hub_event_facts *facts)
{
    return facts->expires_us != HUB_TIME_NONE && facts->expires_us <= core->accepted_at_us;
}

/* A seal was admitted when its key was good; a governance act before it in the journal, or in the seal itself, may have
 * ended that. */
static uint8_t check_sealer(const struct hub_core *core, const struct core_sealing *sealing)
{
    size_t at;
    const struct hub_signing_key *key = core_key(core, sealing->input->seal.keyid, &at);
    if (key == NULL || key->revoked_at_us != 0) {
        return TRUC_KEY_REVOKED;
    }
    return sealing->sender->pub.suspended ? TRUC_SUSPENDED : TRUC_ACCEPTED;
}

static truc_error check_repeated(struct hub_core *core, const struct hub_event_facts *facts, struct truc_outcome *out)
{
    struct core_accepted before;
    truc_error error = core_idempotency_find(core, facts->key, &before);
    if (error != TRUC_OK) {
        return error == TRUC_E_NOT_FOUND ? TRUC_OK : error;
    }
    if (memcmp(before.hash, facts->leaf_hash.bytes, sizeof before.hash) == 0) {
        *out = (struct truc_outcome){TRUC_OUTCOME_DUPLICATE, before.sequence};
    } else {
        out->code = TRUC_ID_CONFLICT;
    }
    return TRUC_OK;
}

static truc_error post_all(struct hub_core *core, const struct core_sealing *sealing, uint32_t index,
                           const struct core_route *route, struct hub_effects *effects)
{
    const struct hub_event_facts *facts = &sealing->input->events[index];
    struct core_post post = {.sequence = sealing->first_sequence + index,
                             .cause = sealing->first_sequence + index,
                             .leaf_index = sealing->leaf_index,
                             .subject = facts->subject,
                             .index = index,
                             .size = facts->size,
                             .expires_us = facts->expires_us};
    truc_error error = TRUC_OK;
    for (size_t i = 0; error == TRUC_OK && i < route->count; i++) {
        post.grant = route->targets[i].grant;
        error = core_inbox_post(core, core_agency(core, route->targets[i].agency), &post, effects);
    }
    return error;
}

static size_t cost_of(const struct hub_core *core, struct truc_bytes recipients)
{
    struct hub_meant meant = {0};
    struct truc_bytes name;
    size_t cost = recipients.size == 0 ? hub_core_meant_count(core, &meant) : 0;
    for (size_t at = 0; truc_recipients_next(recipients, &at, &name);) {
        /* A name under which nobody is enrolled costs its look-up. */
        cost += hub_core_meant(core, name, &meant) == TRUC_OK ? hub_core_meant_count(core, &meant) : 1;
    }
    return cost;
}

uint32_t hub_core_recalls_end(const struct hub_core *core, const struct hub_event_facts *events, uint32_t count)
{
    size_t cost = 0;
    for (uint32_t i = 0; i < count; i++) {
        if (events[i].kind != HUB_EVENT_RECALL || events[i].flags != 0) {
            continue;
        }
        if (cost >= HUB_RECALLS_OF_SEAL) {
            return i;
        }
        cost += cost_of(core, events[i].recipients);
    }
    return count;
}

static bool is_in_hand(const struct hub_event_facts *facts, uint32_t agency)
{
    return agency / 8 < facts->in_hand.size && (facts->in_hand.data[agency / 8] >> agency % 8 & 1) != 0;
}

static truc_error recall_from(struct hub_core *core, const struct hub_event_facts *facts, const struct hub_meant *meant,
                              uint64_t sequence, struct hub_effects *effects, bool *taken)
{
    uint32_t number;
    for (size_t at = 0; (number = hub_core_meant_at(core, meant, at)) != 0; at++) {
        if (is_in_hand(facts, number)) {
            continue;
        }
        truc_error error = core_inbox_recall(core, core_agency(core, number), sequence, effects);
        if (error != TRUC_OK && error != TRUC_E_NOT_FOUND) {
            return error;
        }
        *taken = *taken || error == TRUC_OK;
    }
    return TRUC_OK;
}

/* Accepted: none of those meant who had not been handed the event will be. */
static truc_error recall(struct hub_core *core, const struct core_sealing *sealing, uint32_t index,
                         struct hub_effects *effects, uint8_t *reason)
{
    const struct hub_event_facts *facts = &sealing->input->events[index];
    struct core_accepted event;
    struct hub_meant meant = {0};
    struct truc_bytes one;
    bool taken = false;
    if (index >= sealing->recalls_end) {
        *reason = TRUC_TOO_LARGE;
        return TRUC_OK;
    }
    /* First all names: an unknown one refuses the recall as a whole, before anything is taken. */
    if (!hub_core_knows_recipients(core, sealing->sender->pub.number, facts->recipients)) {
        *reason = TRUC_NO_RECIPIENT;
        return TRUC_OK;
    }
    *reason = TRUC_ILLEGAL_TRANSITION;
    truc_error error = core_idempotency_find(core, facts->recalled, &event);
    if (error != TRUC_OK) {
        return error == TRUC_E_NOT_FOUND ? TRUC_OK : error;
    }
    if (facts->recipients.size == 0) {
        error = recall_from(core, facts, &meant, event.sequence, effects, &taken);
    }
    for (size_t at = 0; error == TRUC_OK && truc_recipients_next(facts->recipients, &at, &one);) {
        error = hub_core_meant(core, one, &meant);
        if (error == TRUC_OK) {
            error = recall_from(core, facts, &meant, event.sequence, effects, &taken);
        }
    }
    *reason = taken ? TRUC_ACCEPTED : TRUC_ILLEGAL_TRANSITION;
    return error;
}

static truc_error decide_by_kind(struct hub_core *core, const struct core_sealing *sealing, uint32_t index,
                                 struct hub_effects *effects, uint8_t *reason)
{
    const struct hub_event_facts *facts = &sealing->input->events[index];
    struct core_route route = {0};
    truc_error error = TRUC_OK;
    switch ((enum hub_event_kind)facts->kind) {
    case HUB_EVENT_PLAIN:
        error = core_route_plain(core, sealing->sender, facts->recipients, facts->type, &route);
        break;
    case HUB_EVENT_DELIVERY_RECEIPT:
        error = core_route_receipt(core, sealing->sender, facts->recipients, &route);
        break;
    case HUB_EVENT_GOVERNANCE:
        return core_govern(core, sealing, index, effects, reason);
    case HUB_EVENT_RECALL:
        return recall(core, sealing, index, effects, reason);
    case HUB_EVENT_RESERVED:
        *reason = TRUC_NOT_GRANTED;
        return TRUC_OK;
    default:
        return TRUC_E_INVALID; /* no kind that a journal can hold */
    }
    *reason = route.reason;
    return error == TRUC_OK && route.reason == 0 ? post_all(core, sealing, index, &route, effects) : error;
}

truc_error core_decide(struct hub_core *core, const struct core_sealing *sealing, uint32_t index,
                       struct hub_effects *effects, struct truc_outcome *out)
{
    const struct hub_event_facts *facts = &sealing->input->events[index];
    *out = (struct truc_outcome){check_sealer(core, sealing), 0};
    if (out->code == 0) {
        out->code = core_check_facts(core, facts);
    }
    truc_error error = out->code == 0 ? check_repeated(core, facts, out) : TRUC_OK;
    if (error != TRUC_OK || out->code != 0) {
        return error;
    }
    if (core_is_expired(core, facts)) { /* behind duplicates: who asks again for what was taken in time is told so */
        out->code = TRUC_EXPIRED;
    } else if ((facts->flags & HUB_FACT_BLOB) != 0) {
        out->code = TRUC_MISSING_BLOB;
    } else if ((facts->flags & HUB_FACT_INVALID_PAYLOAD) != 0) {
        out->code = TRUC_INVALID_PAYLOAD;
    } else {
        error = decide_by_kind(core, sealing, index, effects, &out->code);
    }
    if (error == TRUC_OK && out->code == TRUC_OUTCOME_ACCEPTED) {
        /* Refused events are not remembered: mended, they may come again under the same id. */
        error = core_idempotency_add(core, facts, sealing->first_sequence + index);
    }
    return error;
}
