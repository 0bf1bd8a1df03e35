#include "hub/core/recall.h"

#include "truc/event.h"

#include <stdlib.h>

#define SECOND_US INT64_C(1000000)

/* Each of a recall's names in turn; *at starts at 0. No name: everybody. A name under which nobody is enrolled is
 * passed over: it refuses the recall; should somebody be enrolled before that is decided, the event is not in the log
 * yet either, and this is asked again. */
static bool next_meant(const struct hub_core *core, struct truc_bytes recipients, size_t *at, struct hub_meant *out)
{
    struct truc_bytes name;
    if (recipients.size == 0) {
        *out = (struct hub_meant){0};
        return (*at)++ == 0;
    }
    while (truc_recipients_next(recipients, at, &name)) {
        if (hub_core_meant(core, name, out) == TRUC_OK) {
            return true;
        }
    }
    return false;
}

static truc_error hold(struct hub_recall *recall, const struct hub_core *core, struct hub_dispatch *dispatch)
{
    struct hub_meant meant;
    size_t names = 0;
    for (size_t at = 0; next_meant(core, recall->facts->recipients, &at, &meant);) {
        names++;
    }
    recall->held = calloc(names + 1, sizeof *recall->held);
    truc_error error = recall->held != NULL ? TRUC_OK : TRUC_E_NOMEM;
    for (size_t at = 0; error == TRUC_OK && next_meant(core, recall->facts->recipients, &at, &meant);) {
        error = hub_dispatch_hold(dispatch, recall->sequence, meant);
        if (error == TRUC_OK) {
            recall->held[recall->held_count++] = meant;
        }
    }
    return error;
}

static truc_error look(struct hub_recall *recall, struct hub_core *core, struct hub_dispatch *dispatch)
{
    truc_error error = hub_core_find(core, recall->facts->recalled, &recall->sequence);
    if (error != TRUC_OK) {
        return error == TRUC_E_NOT_FOUND ? TRUC_OK : error;
    }
    recall->state = HUB_RECALL_HOLDING;
    return hold(recall, core, dispatch);
}

/* A fact of the input, since leases are not journaled. */
static truc_error note_in_hand(struct hub_recall *recall, const struct hub_core *core,
                               const struct hub_dispatch *dispatch)
{
    bool all = recall->state == HUB_RECALL_HOPELESS;
    struct hub_meant meant;
    uint32_t agency;
    size_t used = 0;
    recall->in_hand = calloc(hub_core_agency_count(core) / 8 + 1, 1);
    if (recall->in_hand == NULL) {
        return TRUC_E_NOMEM;
    }
    for (size_t at = 0; next_meant(core, recall->facts->recipients, &at, &meant);) {
        for (size_t i = 0; (agency = hub_core_meant_at(core, &meant, i)) != 0; i++) {
            if (all || hub_dispatch_in_flight(dispatch, agency, recall->sequence)) {
                recall->in_hand[agency / 8] |= (uint8_t)(1u << agency % 8);
                used = agency / 8 + 1 > used ? agency / 8 + 1 : used;
            }
        }
    }
    recall->facts->in_hand = truc_bytes(recall->in_hand, used);
    return TRUC_OK;
}

/* A name that nobody bears, an id that was used, times that are over. Not times that will be over soon: such a recall
 * holds its event, and counts if it is decided in time; if not it is EXPIRED, and the hold ends as any does. */
static truc_error foresee(const struct hub_recall *recall, struct hub_core *core, uint32_t sender, int64_t now_us,
                          bool *refused)
{
    const struct hub_event_facts *facts = recall->facts;
    const struct hub_parameters *parameters = hub_core_parameters(core);
    int64_t ahead_us = (int64_t)parameters->future_skew_s * SECOND_US;
    uint64_t sequence;
    *refused = facts->size > parameters->event_bytes ||
               (facts->time_us != HUB_TIME_NONE && facts->time_us > now_us + ahead_us) ||
               (facts->expires_us != HUB_TIME_NONE && facts->expires_us <= now_us) ||
               !hub_core_knows_recipients(core, sender, facts->recipients);
    if (*refused) {
        return TRUC_OK;
    }
    truc_error error = hub_core_find(core, facts->key, &sequence);
    *refused = error == TRUC_OK;
    return error == TRUC_E_NOT_FOUND ? TRUC_OK : error;
}

static truc_error add(struct hub_recalls *recalls, struct hub_event_facts *facts, struct hub_recall **out)
{
    if (recalls->count == recalls->capacity) {
        size_t capacity = recalls->capacity == 0 ? 16 : recalls->capacity * 2;
        struct hub_recall *items = reallocarray(recalls->items, capacity, sizeof *items);
        if (items == NULL) {
            return TRUC_E_NOMEM;
        }
        recalls->items = items;
        recalls->capacity = capacity;
    }
    *out = &recalls->items[recalls->count++];
    **out = (struct hub_recall){.state = HUB_RECALL_LOOKING, .facts = facts};
    facts->in_hand = truc_bytes(NULL, 0);
    return TRUC_OK;
}

static truc_error begin(struct hub_recall *recall, struct hub_core *core, struct hub_dispatch *dispatch,
                        uint32_t sender, int64_t now_us)
{
    truc_error error = hub_core_find(core, recall->facts->recalled, &recall->sequence);
    if (error != TRUC_OK) {
        return error == TRUC_E_NOT_FOUND ? TRUC_OK : error;
    }
    bool refused;
    error = foresee(recall, core, sender, now_us, &refused);
    recall->state = refused ? HUB_RECALL_HOPELESS : HUB_RECALL_HOLDING;
    if (error == TRUC_OK && !refused) {
        error = hold(recall, core, dispatch);
    }
    return error == TRUC_OK ? note_in_hand(recall, core, dispatch) : error;
}

truc_error hub_recalls_begin(struct hub_recalls *recalls, struct hub_core *core, struct hub_dispatch *dispatch,
                             uint32_t sender, int64_t now_us, struct hub_event_facts *events, uint32_t count)
{
    uint32_t end = hub_core_recalls_end(core, events, count);
    struct hub_recall *recall;
    truc_error error = TRUC_OK;
    for (uint32_t i = 0; error == TRUC_OK && i < count; i++) {
        if (events[i].kind != HUB_EVENT_RECALL || events[i].flags != 0) {
            continue;
        }
        error = add(recalls, &events[i], &recall);
        if (error == TRUC_OK && i >= end) {
            recall->state = HUB_RECALL_HOPELESS; /* who has its event is not asked either: that is what costs */
        } else if (error == TRUC_OK) {
            error = begin(recall, core, dispatch, sender, now_us);
        }
    }
    return error;
}

truc_error hub_recalls_look_again(struct hub_recalls *recalls, struct hub_core *core, struct hub_dispatch *dispatch)
{
    truc_error error = TRUC_OK;
    for (size_t i = 0; error == TRUC_OK && i < recalls->count; i++) {
        if (recalls->items[i].state == HUB_RECALL_LOOKING) {
            error = look(&recalls->items[i], core, dispatch);
        }
    }
    return error;
}

static void forget(struct hub_recall *recall)
{
    recall->facts->in_hand = truc_bytes(NULL, 0);
    free(recall->held);
    free(recall->in_hand);
}

truc_error hub_recalls_end(struct hub_recalls *recalls, struct hub_dispatch *dispatch)
{
    truc_error error = TRUC_OK;
    for (size_t i = 0; i < recalls->count; i++) {
        struct hub_recall *recall = &recalls->items[i];
        for (size_t held = 0; error == TRUC_OK && held < recall->held_count; held++) {
            error = hub_dispatch_unhold(dispatch, recall->sequence, recall->held[held]);
        }
        forget(recall);
    }
    recalls->count = 0;
    return error;
}

void hub_recalls_close(struct hub_recalls *recalls)
{
    for (size_t i = 0; i < recalls->count; i++) {
        forget(&recalls->items[i]);
    }
    free(recalls->items);
    *recalls = (struct hub_recalls){0};
}
