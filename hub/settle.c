/* What is no seal becomes an input of the commit that is being built, too: acks, nacks, subscriptions, and what timers
 * and lost sessions propose. The answer comes as SETTLED once it is durable. */
#include "hub/hub.h"

#define ACK_RANGES_MAX 4096
#define ACK_COUNT_MAX 65536
#define NOTE_MAX 200
#define SUBSCRIBING_MAX 16
#define SUBSCRIBE_FULL_MS 1000

static bool settle_later(struct hub *hub, uint64_t session, uint64_t lease, struct hub_range range, char *subscription)
{
    struct hub_commit *commit = hub->building;

    if (commit->settle_count == commit->settle_capacity) {
        size_t capacity = commit->settle_capacity ? commit->settle_capacity * 2 : 64;
        struct hub_settle *more = realloc(commit->settles, capacity * sizeof *more);
        if (!more)
            return false;
        commit->settles = more;
        commit->settle_capacity = capacity;
    }
    commit->settles[commit->settle_count++] = (struct hub_settle){session, lease, range, subscription};
    return true;
}

/* The agency's acks within this commit: one input. */
static struct hub_ack_group *ack_group(struct hub *hub, struct hub_session *session)
{
    struct hub_commit *commit = hub->building;

    for (size_t i = 0; i < commit->ack_count; i++)
        if (commit->acks[i].agency == session->agency)
            return &commit->acks[i];
    if (commit->ack_count == commit->ack_capacity) {
        size_t capacity = commit->ack_capacity ? commit->ack_capacity * 2 : 16;
        struct hub_ack_group *more = realloc(commit->acks, capacity * sizeof *more);
        if (!more)
            return NULL;
        commit->acks = more;
        commit->ack_capacity = capacity;
    }
    struct hub_row_item *item = hub_commit_add(commit, NULL);
    if (!item)
        return NULL;
    item->input.kind = HUB_INPUT_ACK;
    memcpy(item->input.agency, session->agency_code, sizeof item->input.agency);
    struct hub_ack_group *group = &commit->acks[commit->ack_count++];
    *group = (struct hub_ack_group){.agency = session->agency, .item = commit->count - 1};
    return group;
}

#define STALE_MAX 256

/* What came too late, of one ACK: few frames, however many ranges it names. */
struct stale_batch {
    size_t count;
    Truc__V1__AckRange items[STALE_MAX], *views[STALE_MAX];
};

static void send_stale(struct hub *hub, struct hub_session *session, struct stale_batch *batch)
{
    Truc__V1__Settled settled = TRUC__V1__SETTLED__INIT;

    if (batch->count == 0)
        return;
    settled.stale = batch->views;
    settled.n_stale = batch->count;
    hub_session_send(hub, session, TRUC_FRAME_SETTLED, 0, &settled.base, NULL);
    batch->count = 0;
}

static void add_stale(struct hub *hub, struct hub_session *session, struct stale_batch *batch, uint64_t lease,
                      struct hub_range range)
{
    if (batch->count == STALE_MAX)
        send_stale(hub, session, batch);
    Truc__V1__AckRange *item = &batch->items[batch->count];
    truc__v1__ack_range__init(item);
    item->lease = lease;
    item->first = range.first;
    item->count = range.count;
    batch->views[batch->count++] = item;
    hub->counters[COUNT_STALE] += range.count;
}

static truc_error take_ack(struct hub *hub, struct hub_session *session, const Truc__V1__AckRange *range,
                           struct stale_batch *late)
{
    struct hub_ranges valid = {0}, stale = {0};
    truc_error error = hub_dispatch_ack(hub->dispatch, session->id, range->lease,
                                        (struct hub_range){range->first, range->count}, &valid, &stale);
    struct hub_ack_group *group = error || valid.count == 0 ? NULL : ack_group(hub, session);

    if (!error && valid.count > 0 && !group)
        error = TRUC_E_NOMEM;
    for (size_t i = 0; !error && i < valid.count; i++) {
        session->acked += valid.items[i].count;
        hub->counters[COUNT_ACKED] += valid.items[i].count;
        error = hub_ranges_add(&group->ranges, valid.items[i]);
        if (!error && !settle_later(hub, session->id, range->lease, valid.items[i], NULL))
            error = TRUC_E_NOMEM;
    }
    for (size_t i = 0; !error && i < stale.count; i++)
        add_stale(hub, session, late, range->lease, stale.items[i]);
    hub_ranges_close(&valid);
    hub_ranges_close(&stale);
    return error;
}

void hub_on_ack(struct hub *hub, struct hub_session *session, const Truc__V1__Ack *ack)
{
    struct stale_batch late = {.count = 0};

    if (ack->n_ranges > ACK_RANGES_MAX) {
        hub_session_end(hub, session, TRUC_MALFORMED, "more than 4096 ranges in an ACK");
        return;
    }
    for (size_t i = 0; i < ack->n_ranges; i++) {
        if (ack->ranges[i]->count == 0 || ack->ranges[i]->count > ACK_COUNT_MAX) {
            hub_session_end(hub, session, TRUC_MALFORMED, "an empty range in an ACK, or one of more than 65536");
            return;
        }
        truc_error error = take_ack(hub, session, ack->ranges[i], &late);
        if (error) {
            hub_fatal(hub, "taking an ack", error);
            return;
        }
    }
    send_stale(hub, session, &late);
}

void hub_on_nack(struct hub *hub, struct hub_session *session, const Truc__V1__Nack *nack)
{
    struct hub_range range = {nack->number, 1};

    if (!hub_dispatch_nack(hub->dispatch, session->id, nack->lease, nack->number)) {
        struct stale_batch late = {.count = 0};
        add_stale(hub, session, &late, nack->lease, range);
        send_stale(hub, session, &late);
        return;
    }
    size_t note = strnlen(nack->note, NOTE_MAX);
    char *copy = hub_commit_alloc(hub->building, note + 1);
    struct hub_row_item *item = hub_commit_add(hub->building, NULL);
    if (!copy || !item || !settle_later(hub, session->id, nack->lease, range, NULL)) {
        hub_fatal(hub, "taking a nack", TRUC_E_NOMEM);
        return;
    }
    memcpy(copy, nack->note, note);
    item->input.kind = HUB_INPUT_NACK;
    memcpy(item->input.agency, session->agency_code, sizeof item->input.agency);
    item->input.u.nack.number = nack->number;
    item->input.u.nack.delay_ms = nack->delay_ms;
    item->input.u.nack.reject = nack->reject;
    item->input.u.nack.note = truc_bytes(copy, note);
    hub->counters[COUNT_NACKED]++;
}

static void settle_subscription_now(struct hub *hub, struct hub_session *session, char *type)
{
    Truc__V1__Settled settled = TRUC__V1__SETTLED__INIT;

    settled.subscriptions = &type;
    settled.n_subscriptions = 1;
    hub_session_send(hub, session, TRUC_FRAME_SETTLED, 0, &settled.base, NULL);
}

/* What changes nothing is answered without the journal. Not while one of this session is under way: it may be the one
 * that makes the difference. */
static bool subscription_changes_something(struct hub *hub, const struct hub_session *session,
                                           const Truc__V1__Subscribe *subscribe)
{
    bool there = false;

    for (size_t i = 0; !there && i < hub_core_subscription_count(hub->core); i++) {
        const struct hub_subscription *one = hub_core_subscription_at(hub->core, i);
        there = one->agency == session->agency && strcmp(one->type, subscribe->type) == 0 &&
                strcmp(one->source_agency, subscribe->source_agency) == 0;
    }
    return session->subscribing > 0 || there == (bool)subscribe->remove;
}

/* Those on their way count as made: the core must not have to leave one out without a word. */
static bool may_subscribe_more(struct hub *hub, uint32_t agency)
{
    size_t made = hub_core_subscriptions_of(hub->core, agency);

    for (struct hub_session *one = hub->sessions_by_id; one; one = one->by_id.next)
        if (one->agency == agency)
            made += one->subscribing;
    return made < HUB_SUBSCRIPTIONS_MAX;
}

static void refuse_subscription(struct hub *hub, struct hub_session *session, char *type)
{
    Truc__V1__Settled settled = TRUC__V1__SETTLED__INIT;

    settled.refused_subscriptions = &type;
    settled.n_refused_subscriptions = 1;
    truc_log(TRUC_LOG_WARN, "subscription_refused", "agency=%s most=%u", session->agency_code, HUB_SUBSCRIPTIONS_MAX);
    hub_session_send(hub, session, TRUC_FRAME_SETTLED, 0, &settled.base, NULL);
}

void hub_on_subscribe(struct hub *hub, struct hub_session *session, const Truc__V1__Subscribe *subscribe)
{
    struct truc_bytes type = truc_bytes_of(subscribe->type), source = truc_bytes_of(subscribe->source_agency);

    if (!truc_type_pattern_is_valid(type) || (source.size > 0 && !truc_agency_is_valid(source))) {
        hub_session_end(hub, session, TRUC_MALFORMED,
                        "SUBSCRIBE: not an event type or prefix ending in '*', or not an agency code");
        return;
    }
    if (!subscription_changes_something(hub, session, subscribe)) {
        settle_subscription_now(hub, session, subscribe->type);
        return;
    }
    if (!subscribe->remove && !may_subscribe_more(hub, session->agency)) {
        refuse_subscription(hub, session, subscribe->type);
        return;
    }
    /* The reserve is for the little that must go on: a subscription now and then, no stream of them. */
    uint64_t now = uv_now(&hub->loop);
    bool lately = session->subscribed_ms != 0 && now - session->subscribed_ms < SUBSCRIBE_FULL_MS;
    if ((hub->storage_full || hub->state_full) && lately) {
        hub_session_end(hub, session, TRUC_STORAGE_FULL, "the hub has no room for a subscription: come again later");
        return;
    }
    if (session->subscribing == SUBSCRIBING_MAX) {
        hub_session_end(hub, session, TRUC_OVERLOADED, "more than 16 SUBSCRIBEs that are not settled yet");
        return;
    }
    session->subscribing++;
    session->subscribed_ms = now;
    char *copy = hub_commit_alloc(hub->building, type.size + source.size);
    struct hub_row_item *item = hub_commit_add(hub->building, NULL);
    if (!copy || !item || !settle_later(hub, session->id, 0, (struct hub_range){0, 0}, strdup(subscribe->type))) {
        hub_fatal(hub, "taking a subscription", TRUC_E_NOMEM);
        return;
    }
    memcpy(copy, type.data, type.size);
    memcpy(copy + type.size, source.data, source.size);
    item->input.kind = HUB_INPUT_SUBSCRIBE;
    memcpy(item->input.agency, session->agency_code, sizeof item->input.agency);
    item->input.u.subscribe.type = truc_bytes(copy, type.size);
    item->input.u.subscribe.source_agency = truc_bytes(copy + type.size, source.size);
    item->input.u.subscribe.remove = subscribe->remove;
}

void hub_propose(struct hub *hub, uint32_t agency, enum hub_input_kind kind, const struct hub_ranges *ranges)
{
    const struct hub_agency *owner = hub_core_agency_by_number(hub->core, agency);
    struct hub_range *copy = hub_commit_alloc(hub->building, ranges->count * sizeof *copy);
    struct hub_row_item *item = hub_commit_add(hub->building, NULL);

    if (!copy || !item || !owner) {
        hub_fatal(hub, "proposing an input", owner ? TRUC_E_NOMEM : TRUC_E_INVALID);
        return;
    }
    memcpy(copy, ranges->items, ranges->count * sizeof *copy);
    item->input.kind = kind;
    memcpy(item->input.agency, owner->code, sizeof item->input.agency);
    item->input.u.ranges.ranges = copy;
    item->input.u.ranges.count = ranges->count;
    hub->counters[COUNT_RELEASED]++;
}
