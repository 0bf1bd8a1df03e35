/* Intake: verified seals, acks and the rest become inputs of the commit that is being built, in the order in which they
 * will stand in the journal. */
#include "hub/hub.h"

#define RETRY_MS 200
#define RETRY_FULL_MS 2000
#define ACK_RANGES_MAX 4096
#define ACK_COUNT_MAX 65536
#define NOTE_MAX 200
#define SUBSCRIBING_MAX 16
#define SUBSCRIBE_FULL_MS 1000

/* ---- refusals
 * ----------------------------------------------------------------------------------------------------------- */

static bool costs_the_session(truc_reason reason)
{
    return reason == TRUC_MALFORMED || reason == TRUC_BAD_SEAL || reason == TRUC_WRONG_ORIGIN ||
           reason == TRUC_SEAL_FORK;
}

static void block_chain(struct hub_session *session, const struct truc_seal *seal, truc_reason reason)
{
    bool same = session->blocked && memcmp(session->blocked_chain, seal->chain, sizeof seal->chain) == 0;

    if (same && session->blocked_number <= seal->number)
        return;
    session->blocked = true;
    memcpy(session->blocked_chain, seal->chain, sizeof seal->chain);
    session->blocked_number = seal->number;
    session->blocked_reason = reason;
}

void hub_refuse(struct hub *hub, struct hub_submission *submission, truc_reason reason, const char *text,
                uint32_t retry_ms)
{
    Truc__V1__Refused refused = TRUC__V1__REFUSED__INIT;
    struct hub_session *session = hub_session_find(hub, submission->session);
    struct truc_seal *seal = &submission->parsed.seal;

    hub->refused[reason]++;
    hub_uncharge(hub, submission);
    submission->state = SUBMISSION_DONE;
    if (!session)
        return;
    if (submission->parses) {
        refused.seal_digest =
            (ProtobufCBinaryData){sizeof submission->parsed.digest.bytes, submission->parsed.digest.bytes};
        refused.chain = (ProtobufCBinaryData){sizeof seal->chain, seal->chain};
        refused.number = seal->number;
        if (truc_reason_is_transient(reason))
            block_chain(session, seal, reason);
    }
    refused.reason = (uint32_t)reason;
    refused.text = (char *)(text ? text : truc_reason_advice(reason));
    refused.retry_after_ms = truc_reason_is_transient(reason) ? (retry_ms ? retry_ms : RETRY_MS) : 0;
    truc_log(truc_reason_is_transient(reason) ? TRUC_LOG_DEBUG : TRUC_LOG_WARN, "seal_refused",
             "session=%llu agency=%s reason=%s text=\"%s\"", (unsigned long long)session->id, session->agency_code,
             truc_reason_name(reason), refused.text);
    hub_session_send(hub, session, TRUC_FRAME_REFUSED, 0, &refused.base, NULL);
    if (costs_the_session(reason))
        hub_session_end(hub, session, reason, refused.text);
}

/* ---- key slots
 * ---------------------------------------------------------------------------------------------------------- */

/* Subjects seen lately and their slots. What is forgotten gets a new slot at its next event: a subject may have
 * several, a slot never serves two subjects. */
#define SLOT_MEMORY 65536
#define SLOTS_LOW 32768
#define SLOTS_STEP 65536

struct hub_slot_memory {
    struct {
        uint64_t subject, slot;
    } entries[SLOT_MEMORY];
};

void hub_slots_learn(struct hub *hub, uint64_t slot)
{
    if (slot >= hub->next_slot)
        hub->next_slot = slot + 1;
}

struct fill_job {
    struct hub_read_job job;
    struct hub *hub;
    uint64_t wanted;
    truc_error error;
};

static void fill_run(struct hub_read_job *job, struct hub_reader_tools *tools)
{
    struct fill_job *fill = job->context;

    (void)tools;
    fill->error = hub_slots_ensure(fill->hub->slots, fill->wanted);
}

static void fill_done(struct hub_read_job *job)
{
    struct fill_job *fill = job->context;

    fill->hub->filling_slots = false;
    if (fill->error == TRUC_E_FULL)
        hub_storage_rejected(fill->hub);
    else if (fill->error)
        hub_fatal(fill->hub, "filling key slots", fill->error);
    free(fill);
}

static void fill_ahead(struct hub *hub)
{
    uint64_t have = hub_slots_count(hub->slots);

    if (hub->filling_slots || have - hub->next_slot > SLOTS_LOW)
        return;
    struct fill_job *fill = calloc(1, sizeof *fill);
    if (!fill)
        return; /* tried again with the next seal */
    fill->job = (struct hub_read_job){.run = fill_run, .done = fill_done, .context = fill};
    fill->hub = hub;
    fill->wanted = have + SLOTS_STEP;
    hub->filling_slots = true;
    hub_readers_submit(hub->readers, &fill->job);
}

bool hub_slots_for(struct hub *hub, struct hub_submission *submission)
{
    uint64_t have = hub_slots_count(hub->slots), shared = UINT64_MAX;

    if (!hub->slot_memory && !(hub->slot_memory = calloc(1, sizeof *hub->slot_memory)))
        return false;
    if (have < hub->next_slot + submission->parsed.seal.count + 1) {
        fill_ahead(hub);
        return false;
    }
    for (uint32_t i = 0; i < submission->parsed.seal.count; i++) {
        uint64_t subject = submission->facts[i].subject;
        if (subject == 0) {
            if (shared == UINT64_MAX)
                shared = hub->next_slot++;
            submission->slots[i] = shared;
            continue;
        }
        typeof(&hub->slot_memory->entries[0]) entry = &hub->slot_memory->entries[subject % SLOT_MEMORY];
        if (entry->subject != subject) {
            entry->subject = subject;
            entry->slot = hub->next_slot++;
        }
        submission->slots[i] = entry->slot;
    }
    fill_ahead(hub);
    return true;
}

/* ---- seals
 * -------------------------------------------------------------------------------------------------------------- */

static bool blocked_by_earlier(const struct hub_session *session, const struct truc_seal *seal)
{
    return session->blocked && memcmp(session->blocked_chain, seal->chain, sizeof seal->chain) == 0 &&
           seal->number > session->blocked_number;
}

static truc_reason transient_condition(struct hub *hub, const struct hub_session *session,
                                       const struct hub_submission *submission)
{
    const struct truc_seal *seal = &submission->parsed.seal;

    hub_clock_check(&hub->clock); /* here too: nothing is taken between a jump and the next tick */
    if (hub->stopping)
        return TRUC_OVERLOADED;
    if (hub->clock.unsure)
        return TRUC_CLOCK_UNSURE;
    /* The reserve is there for governance too. Where even that is used up, the commit is rejected. */
    if ((hub->storage_full || hub->state_full) && !submission->administrator)
        return TRUC_STORAGE_FULL;
    if (blocked_by_earlier(session, seal))
        return session->blocked_reason;
    return TRUC_ACCEPTED;
}

/* Nobody may get it until the recall is applied: then the fact below would no longer be true. */
static truc_error hold_back(struct hub *hub, struct hub_commit *commit, uint32_t agency, uint64_t sequence)
{
    if (commit->hold_count == commit->hold_capacity) {
        size_t capacity = commit->hold_capacity ? commit->hold_capacity * 2 : 16;
        struct hub_recall_hold *more = realloc(commit->holds, capacity * sizeof *more);
        if (!more)
            return TRUC_E_NOMEM;
        commit->holds = more;
        commit->hold_capacity = capacity;
    }
    commit->holds[commit->hold_count++] = (struct hub_recall_hold){.sequence = sequence, .agency = agency};
    return hub_dispatch_hold(hub->dispatch, agency, sequence);
}

/* Which recipients of a recalled event hold it at this moment: a fact of the input, since leases are not journaled. */
static void note_recalls(struct hub *hub, struct hub_submission *submission)
{
    for (uint32_t i = 0; i < submission->parsed.seal.count; i++) {
        struct hub_event_facts *facts = &submission->facts[i];
        struct truc_bytes code;
        uint64_t sequence;
        size_t at = 0;
        if (facts->kind != HUB_EVENT_RECALL || facts->flags ||
            hub_core_find(hub->core, facts->recalled, &sequence) != TRUC_OK)
            continue;
        for (unsigned bit = 0; bit < 64 && truc_recipients_next(facts->recipients, &at, &code); bit++) {
            const struct hub_agency *agency = hub_core_agency(hub->core, code);
            truc_error error = TRUC_OK;
            if (agency && hub_dispatch_in_flight(hub->dispatch, agency->number, sequence))
                facts->recall_in_flight |= UINT64_C(1) << bit;
            else if (agency)
                error = hold_back(hub, hub->building, agency->number, sequence);
            if (error) {
                hub_fatal(hub, "holding a recalled event", error);
                return;
            }
        }
    }
}

static void journal(struct hub *hub, struct hub_submission *submission)
{
    struct hub_row_item *item = hub_commit_add(hub->building, submission);

    if (!item) {
        hub_fatal(hub, "building a commit", TRUC_E_NOMEM);
        return;
    }
    note_recalls(hub, submission);
    item->input.kind = HUB_INPUT_SEAL;
    memcpy(item->input.agency, submission->agency_code, sizeof item->input.agency);
    item->input.u.seal.envelope = truc_buffer_view(&submission->envelope);
    item->input.u.seal.seal = submission->parsed.seal;
    item->input.u.seal.digest = submission->parsed.digest;
    item->input.u.seal.events = submission->facts;
    item->body = submission->body;
    item->slots = submission->slots;
    hub->building->bytes += submission->body.size;
    submission->owners++;
    submission->state = SUBMISSION_UNDER_WAY;
}

static struct hub_submission *find_in(struct hub_commit *commit, const struct truc_hash *digest)
{
    for (size_t i = 0; commit && i < commit->count; i++)
        if (commit->submissions[i] && memcmp(&commit->submissions[i]->parsed.digest, digest, sizeof *digest) == 0)
            return commit->submissions[i];
    return NULL;
}

/* The same seal is under way already (a client that reconnected): one receipt answers both. */
static void wait_for_same(struct hub *hub, struct hub_submission *submission)
{
    struct hub_submission *first = find_in(hub->building, &submission->parsed.digest);

    if (!first)
        first = find_in(hub->writing, &submission->parsed.digest);
    if (!first) {
        hub_refuse(hub, submission, TRUC_OVERLOADED, NULL, RETRY_MS);
        return;
    }
    submission->owners++;
    submission->state = SUBMISSION_UNDER_WAY;
    submission->same = first->same;
    first->same = submission;
}

static void journal_fork(struct hub *hub, struct hub_submission *submission)
{
    struct hub_row_item *item = hub_commit_add(hub->building, NULL);
    void *envelope = hub_commit_alloc(hub->building, submission->envelope.size);

    if (!item || !envelope) {
        hub_fatal(hub, "building a commit", TRUC_E_NOMEM);
        return;
    }
    memcpy(envelope, submission->envelope.data, submission->envelope.size);
    item->input.kind = HUB_INPUT_FORK;
    memcpy(item->input.agency, submission->agency_code, sizeof item->input.agency);
    item->input.u.fork.envelope = truc_bytes(envelope, submission->envelope.size);
    memcpy(item->input.u.fork.chain, submission->parsed.seal.chain, TRUC_CHAIN_SIZE);
    item->input.u.fork.number = submission->parsed.seal.number;
    truc_log(TRUC_LOG_ERROR, "seal_fork", "agency=%s number=%llu", submission->agency_code,
             (unsigned long long)submission->parsed.seal.number);
}

static void admit(struct hub *hub, struct hub_session *session, struct hub_submission *submission)
{
    const struct truc_seal *seal = &submission->parsed.seal;
    enum hub_admission admission;
    truc_reason reason = submission->reason;
    uint64_t leaf_index;
    uint32_t retry_ms = 0;

    if (reason) {
        hub_refuse(hub, submission, reason, submission->why, 0);
        return;
    }
    if ((reason = transient_condition(hub, session, submission))) {
        hub_refuse(hub, submission, reason, NULL, reason == TRUC_STORAGE_FULL ? RETRY_FULL_MS : RETRY_MS);
        return;
    }
    truc_error error =
        hub_admit_seal(hub->admit, submission->agency, seal, &submission->parsed.digest, submission->body.size,
                       hub_clock_now(&hub->clock), &admission, &reason, &retry_ms, &leaf_index);
    if (error) {
        hub_fatal(hub, "admission", error);
        return;
    }
    if (admission != HUB_ADMIT_REFUSE && session->blocked)
        session->blocked = memcmp(session->blocked_chain, seal->chain, sizeof seal->chain) != 0 ||
                           seal->number < session->blocked_number;
    switch (admission) {
    case HUB_ADMIT_JOURNAL:
        /* Only now: a refused seal must not cost the disk key slots. */
        if (hub_slots_for(hub, submission)) {
            journal(hub, submission);
        } else {
            hub_admit_aborted(hub->admit, submission->agency, seal);
            hub_refuse(hub, submission, TRUC_OVERLOADED, NULL, RETRY_MS);
        }
        return;
    case HUB_ADMIT_KNOWN:
        hub_uncharge(hub, submission);
        hub_send_known(hub, session, &submission->parsed.digest, leaf_index);
        return;
    case HUB_ADMIT_WAIT:
        wait_for_same(hub, submission);
        return;
    case HUB_ADMIT_FORK:
        journal_fork(hub, submission);
        hub_refuse(hub, submission, TRUC_SEAL_FORK, NULL, 0);
        return;
    case HUB_ADMIT_REFUSE:
        hub_refuse(hub, submission, reason, NULL, retry_ms);
        return;
    }
}

/* On the loop after verification. Seals of one connection are admitted in the order in which they came. */
void hub_submission_verified(struct hub_submission *submission)
{
    struct hub *hub = submission->hub;
    struct hub_session *session = hub_session_find(hub, submission->session);

    submission->state = SUBMISSION_VERIFIED;
    while (session && session->first && session->first->state == SUBMISSION_VERIFIED && !hub->fatal) {
        struct hub_submission *first = session->first;
        session->first = first->next;
        if (!session->first)
            session->last = &session->first;
        first->next = NULL;
        if (session->state != SESSION_CLOSING)
            admit(hub, session, first);
        else
            hub_uncharge(hub, first);
        hub_submission_release(first);
    }
    hub_submission_release(submission);
    hub_commit_start(hub);
}

/* ---- acks and the rest
 * ---------------------------------------------------------------------------------------------------- */

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

static void send_stale(struct hub *hub, struct hub_session *session, uint64_t lease, const struct hub_ranges *stale)
{
    Truc__V1__Settled settled = TRUC__V1__SETTLED__INIT;
    Truc__V1__AckRange items[64], *views[64];

    for (size_t at = 0; at < stale->count; at += 64) {
        size_t n = stale->count - at < 64 ? stale->count - at : 64;
        for (size_t i = 0; i < n; i++) {
            truc__v1__ack_range__init(&items[i]);
            items[i].lease = lease;
            items[i].first = stale->items[at + i].first;
            items[i].count = stale->items[at + i].count;
            views[i] = &items[i];
            hub->counters[COUNT_STALE] += items[i].count;
        }
        settled.stale = views;
        settled.n_stale = n;
        hub_session_send(hub, session, TRUC_FRAME_SETTLED, 0, &settled.base, NULL);
    }
}

static truc_error take_ack(struct hub *hub, struct hub_session *session, const Truc__V1__AckRange *range)
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
    if (!error)
        send_stale(hub, session, range->lease, &stale);
    hub_ranges_close(&valid);
    hub_ranges_close(&stale);
    return error;
}

void hub_on_ack(struct hub *hub, struct hub_session *session, const Truc__V1__Ack *ack)
{
    if (ack->n_ranges > ACK_RANGES_MAX) {
        hub_session_end(hub, session, TRUC_MALFORMED, "more than 4096 ranges in an ACK");
        return;
    }
    for (size_t i = 0; i < ack->n_ranges; i++) {
        if (ack->ranges[i]->count == 0 || ack->ranges[i]->count > ACK_COUNT_MAX) {
            hub_session_end(hub, session, TRUC_MALFORMED, "an empty range in an ACK, or one of more than 65536");
            return;
        }
        truc_error error = take_ack(hub, session, ack->ranges[i]);
        if (error) {
            hub_fatal(hub, "taking an ack", error);
            return;
        }
    }
}

void hub_on_nack(struct hub *hub, struct hub_session *session, const Truc__V1__Nack *nack)
{
    struct hub_range range = {nack->number, 1};

    if (!hub_dispatch_nack(hub->dispatch, session->id, nack->lease, nack->number)) {
        struct hub_ranges stale = {.items = &range, .count = 1, .capacity = 1};
        send_stale(hub, session, nack->lease, &stale);
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
