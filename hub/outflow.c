/* Deliveries: what the dispatcher leases becomes DELIVER frames, from memory where the events are recent, read back and
 * decrypted by a reader thread where they are not. Frames of one session leave in the order in which they were leased.
 */
#include "hub/deliver.h"

#define TAKE_MAX HUB_DELIVER_ITEMS
#define TAKE_BYTES (240u << 10) /* with length prefixes one piece holds it */
#define DAMAGED_DELAY_MS 3600000

struct group_place {
    size_t first, count; /* of deliveries */
    uint64_t row;
    uint32_t offset;
};

struct hub_outframe {
    struct hub_outframe *next; /* in its session's queue */
    struct hub *hub;
    uint64_t session; /* 0: gone meanwhile */
    bool ready, reading;
    size_t bytes; /* of its deliveries */
    struct hub_read_job job;
    struct hub_delivery deliveries[TAKE_MAX];
    size_t count;
    struct group_place groups[TAKE_MAX];
    size_t group_count;
    struct hub_deliver *frame;
    truc_error error;
};

/* Consecutive deliveries of one seal in ascending order make a group. */
static void make_groups(struct hub_outframe *out)
{
    out->group_count = 0;
    for (size_t i = 0; i < out->count; i++) {
        const struct hub_posting *now = &out->deliveries[i].posting,
                                 *before = i ? &out->deliveries[i - 1].posting : NULL;
        if (before && before->leaf_index == now->leaf_index && before->index < now->index)
            out->groups[out->group_count - 1].count++;
        else
            out->groups[out->group_count++] = (struct group_place){.first = i, .count = 1};
    }
}

static bool all_in_memory(struct hub *hub, const struct hub_outframe *out)
{
    struct hub_content content;

    for (size_t i = 0; i < out->group_count; i++)
        if (!hub_cache_get(hub->cache, out->deliveries[out->groups[i].first].posting.leaf_index, &content))
            return false;
    return true;
}

static truc_error fill_from_memory(struct hub *hub, struct hub_outframe *out)
{
    struct hub_content content;
    truc_error error = TRUC_OK;

    for (size_t i = 0; !error && i < out->group_count; i++) {
        const struct group_place *group = &out->groups[i];
        if (!hub_cache_get(hub->cache, out->deliveries[group->first].posting.leaf_index, &content))
            return TRUC_E_NOT_FOUND;
        error = hub_deliver_add(out->frame, &content, &out->deliveries[group->first], group->count);
    }
    return error;
}

/* ---- cold reads, on a reader thread
 * ------------------------------------------------------------------------------------- */

/* A row feeds many frames and may be megabytes: its digest is checked by each reader once while it stays at that row.
 * What is decrypted from it is authenticated anyway, event by event. */
static truc_error check_row(struct hub_reader_tools *tools, uint64_t number, struct truc_bytes row,
                            struct hub_row_header *header)
{
    if (tools->checked && tools->checked_row == number)
        return hub_row_reader_start(tools->rows, row, false, header);
    truc_error error = hub_row_open(row, header);
    tools->checked = error == TRUC_OK;
    tools->checked_row = number;
    return error;
}

static truc_error read_group(struct hub_outframe *out, const struct group_place *group, struct hub_reader_tools *tools)
{
    struct truc_bytes row;
    struct hub_row_header header;
    struct hub_input input;
    struct truc_buffer plain[TAKE_MAX] = {0};
    struct truc_bytes events[TRUC_SEAL_EVENTS_MAX] = {0};
    truc_error error;

    if ((error = hub_journal_get(tools->journal, group->row, &row)) ||
        (error = check_row(tools, group->row, row, &header)) ||
        (error = hub_row_reader_at(tools->rows, row, group->offset, &input)))
        return error;
    if (input.kind != HUB_INPUT_SEAL)
        return TRUC_E_CORRUPT;
    for (size_t i = 0; i < group->count; i++) {
        uint32_t index = out->deliveries[group->first + i].posting.index;
        error = index < input.u.seal.seal.count
                    ? hub_row_reader_content(tools->rows, index, tools->aead, tools->slots, &plain[i])
                    : TRUC_E_CORRUPT;
        if (error && error != TRUC_E_NOT_FOUND)
            goto out;
        if (!error)
            events[index] = truc_buffer_view(&plain[i]);
    }
    struct hub_content content = {
        .accepted_at_us = header.accepted_at_us,
        .leaf_index = out->deliveries[group->first].posting.leaf_index,
        .count = input.u.seal.seal.count,
        .envelope = input.u.seal.envelope,
        .leaf_hashes = &input.u.seal.events[0].leaf_hash,
        .hash_stride = sizeof input.u.seal.events[0],
        .events = events,
    };
    error = hub_deliver_add(out->frame, &content, &out->deliveries[group->first], group->count);
out:
    for (size_t i = 0; i < group->count; i++)
        truc_buffer_close(&plain[i]);
    return error;
}

static void read_run(struct hub_read_job *job, struct hub_reader_tools *tools)
{
    struct hub_outframe *out = job->context;

    for (size_t i = 0; !out->error && i < out->group_count; i++)
        out->error = read_group(out, &out->groups[i], tools);
    hub_journal_reader_reset(tools->journal);
}

static void free_frame(struct hub_outframe *out)
{
    struct hub_session *session = hub_session_find(out->hub, out->session);

    out->hub->queued -= out->bytes;
    if (session)
        session->queued -= out->bytes;
    hub_deliver_free(&out->frame);
    free(out);
}

static void send_ready(struct hub *hub, struct hub_session *session);
static truc_error read_again(struct hub *hub, struct hub_outframe *out);

static void read_done(struct hub_read_job *job)
{
    struct hub_outframe *out = job->context;
    struct hub *hub = out->hub;
    struct hub_session *session = hub_session_find(hub, out->session);

    out->reading = false;
    out->ready = true;
    hub->counters[COUNT_COLD_READS] += out->group_count;
    if (!session)
        free_frame(out);
    else
        send_ready(hub, session);
}

/* ---- sending
 * ---------------------------------------------------------------------------------------------------------- */

/* What cannot be delivered goes back, with the reason, to where an administrator sees it. */
static void give_back(struct hub *hub, struct hub_session *session, const struct hub_delivery *delivery, truc_error why)
{
    char erased[] = "content erased", damaged[] = "content damaged on the hub's disk";
    Truc__V1__Nack nack = TRUC__V1__NACK__INIT;

    nack.lease = delivery->lease;
    nack.number = delivery->posting.number;
    nack.reject = why == TRUC_E_NOT_FOUND;
    nack.delay_ms = why == TRUC_E_NOT_FOUND ? 0 : DAMAGED_DELAY_MS;
    nack.note = why == TRUC_E_NOT_FOUND ? erased : damaged;
    truc_log(TRUC_LOG_ERROR, "cannot_deliver", "agency=%s number=%llu sequence=%llu why=\"%s\"", session->agency_code,
             (unsigned long long)delivery->posting.number, (unsigned long long)delivery->posting.sequence, nack.note);
    hub_on_nack(hub, session, &nack);
}

/* Reading took its time. What was taken back meanwhile (by a nack, or its lease was over) must not leave any more: it
 * would come behind the answer to that nack, and before what stands in front of it. The session gets back the credit
 * for what it does not get. false: `out` holds fewer deliveries now, and its frame is no good. */
static bool keep_what_is_leased(struct hub *hub, struct hub_session *session, struct hub_outframe *out)
{
    size_t kept = 0;
    uint64_t bytes = 0;

    for (size_t i = 0; i < out->count; i++) {
        const struct hub_delivery *delivery = &out->deliveries[i];
        if (hub_dispatch_is_leased(hub->dispatch, session->id, delivery->lease, delivery->posting.number))
            out->deliveries[kept++] = *delivery;
        else
            bytes += delivery->posting.size;
    }
    if (kept == out->count)
        return true;
    hub_dispatch_credit(hub->dispatch, session->id, (uint32_t)(out->count - kept), bytes);
    out->count = kept;
    return false;
}

/* Gives back what could not be read. */
static void give_back_unread(struct hub *hub, struct hub_session *session, struct hub_outframe *out)
{
    for (size_t i = 0; out->error && i < out->count; i++)
        give_back(hub, session, &out->deliveries[i], TRUC_E_CORRUPT);
    for (size_t i = 0; !out->error && hub_deliver_count(out->frame) < out->count && i < out->count; i++)
        if (!hub_deliver_has(out->frame, out->deliveries[i].posting.number))
            give_back(hub, session, &out->deliveries[i], TRUC_E_NOT_FOUND);
}

static void send_frame(struct hub *hub, struct hub_session *session, struct hub_outframe *out)
{
    const struct hub_agency *agency = hub_core_agency_by_number(hub->core, session->agency);
    size_t sent = hub_deliver_send(hub, session, out->frame, out->deliveries[0].lease, agency ? agency->floor : 0);
    session->delivered += sent;
    session->look.sent += out->bytes;
    hub->counters[COUNT_DELIVERED] += sent;
}

static void send_ready(struct hub *hub, struct hub_session *session)
{
    while (session->out_first && session->out_first->ready) {
        struct hub_outframe *out = session->out_first;
        if (out->error == TRUC_E_NOMEM) {
            hub_fatal(hub, "making a delivery", out->error);
            return;
        }
        give_back_unread(hub, session, out);
        bool whole = keep_what_is_leased(hub, session, out);
        if (!whole && out->count > 0 && !hub->stopping) { /* keeps its place: those behind it wait */
            truc_error error = read_again(hub, out);
            if (error)
                hub_fatal(hub, "making a delivery", error);
            return;
        }
        session->out_first = out->next;
        if (!session->out_first)
            session->out_last = &session->out_first;
        if (whole)
            send_frame(hub, session, out);
        free_frame(out);
    }
}

static truc_error locate(struct hub *hub, struct hub_outframe *out)
{
    for (size_t i = 0; i < out->group_count; i++) {
        struct hub_leaf_place place;
        truc_error error =
            hub_core_leaf_place(hub->core, out->deliveries[out->groups[i].first].posting.leaf_index, &place);
        if (error)
            return error;
        out->groups[i].row = place.row;
        out->groups[i].offset = place.offset;
    }
    return TRUC_OK;
}

static void read_cold(struct hub *hub, struct hub_outframe *out)
{
    out->job = (struct hub_read_job){.run = read_run, .done = read_done, .context = out};
    out->ready = false;
    out->reading = true;
    hub_readers_submit(hub->readers, &out->job);
}

/* Fewer deliveries need another proof: the frame is made anew. Each time there are fewer. */
static truc_error read_again(struct hub *hub, struct hub_outframe *out)
{
    hub_deliver_free(&out->frame);
    out->error = TRUC_OK;
    make_groups(out);
    truc_error error = hub_deliver_new(out->deliveries, out->count, &out->frame);

    if (!error)
        error = locate(hub, out);
    if (!error)
        read_cold(hub, out);
    return error;
}

static truc_error take(struct hub *hub, struct hub_session *session, int64_t now)
{
    struct hub_outframe *out = malloc(sizeof *out);
    truc_error error;

    if (!out)
        return TRUC_E_NOMEM;
    memset(out, 0, offsetof(struct hub_outframe, deliveries));
    out->group_count = 0;
    out->frame = NULL;
    out->error = TRUC_OK;
    out->hub = hub;
    out->session = session->id;
    error = hub_dispatch_take(hub->dispatch, session->id, now, TAKE_BYTES, out->deliveries, TAKE_MAX, &out->count);
    if (error || out->count == 0)
        goto out;
    for (size_t i = 0; i < out->count; i++)
        out->bytes += out->deliveries[i].posting.size;
    hub->queued += out->bytes;
    session->queued += out->bytes;
    make_groups(out);
    if ((error = hub_deliver_new(out->deliveries, out->count, &out->frame)))
        goto out;
    bool hot = all_in_memory(hub, out);
    if (hot)
        out->error = fill_from_memory(hub, out);
    else if ((error = locate(hub, out)))
        goto out;
    *session->out_last = out;
    session->out_last = &out->next;
    if (hot) {
        out->ready = true;
        send_ready(hub, session);
    } else {
        read_cold(hub, out);
    }
    return TRUC_OK;
out:
    free_frame(out);
    return error;
}

/* What waits for slow peers is memory of the hub, however many they are: beyond so much in all, nobody gets more who
 * has this much waiting himself. */
#define UNSENT_MOST (48u << 20)
#define UNSENT_SHARE (64u << 10)

static bool must_pause(struct hub *hub, const struct hub_session *session)
{
    uint64_t most = hub->queued < UNSENT_MOST ? UNSENT_MOST - hub->queued : 0; /* what is being read back counts */

    return hub->queued + hub_socket_backlog(hub->socket, most) > UNSENT_MOST &&
           hub_socket_unsent(hub->socket, session->peer) + session->queued > UNSENT_SHARE;
}

void hub_outflow_resume(struct hub *hub)
{
    struct hub_session *session, *next;

    HASH_ITER(by_id, hub->sessions_by_id, session, next)
    {
        if (session->paused && !must_pause(hub, session)) {
            session->paused = false;
            hub_dispatch_pause(hub->dispatch, session->id, false);
        }
    }
}

void hub_outflow(struct hub *hub)
{
    int64_t now = hub_clock_now(&hub->clock);
    uint64_t id;

    while (!hub->fatal && !hub->stopping && (id = hub_dispatch_ready(hub->dispatch, now))) {
        struct hub_session *session = hub_session_find(hub, id);
        if (session && must_pause(hub, session)) {
            session->paused = true;
            hub_dispatch_pause(hub->dispatch, id, true);
            continue;
        }
        truc_error error = session ? take(hub, session, now) : TRUC_E_CORRUPT;
        if (error) {
            hub_fatal(hub, "delivering", error);
            return;
        }
    }
    hub_commit_start(hub);
}

void hub_outflow_forget(struct hub_session *session)
{
    struct hub_outframe *out, *next;

    for (out = session->out_first; out; out = next) {
        next = out->next;
        out->next = NULL;
        out->session = 0;
        if (!out->reading)
            free_frame(out);
    }
    session->out_first = NULL;
    session->out_last = &session->out_first;
}
