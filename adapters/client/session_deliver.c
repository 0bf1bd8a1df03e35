/* DELIVER: from a frame to the application, after everything in it was verified. A frame whose signing key is not known
 * yet waits here, and those behind it with it, since the order within a subject must stay. */
#include "adapters/client/session_internal.h"

#define UNVERIFIED "the client could not verify it"

struct delivery_frame {
    const Truc__V1__Deliver *message;
    struct truc_bytes *events;    /* in the order of groups and items */
    struct delivered_seal *seals; /* of the groups */
    size_t count;
    uint64_t bytes;
    uint64_t number; /* of the frame */
};

/* Unpacks into the arena and finds the events in the body. */
static truc_error take_apart(struct client_session *s, struct truc_bytes head, struct truc_bytes body,
                             struct delivery_frame *frame)
{
    ProtobufCMessage *message;
    truc_arena_reset(s->arena);
    truc_error error = truc_unpack(s->arena, truc_frame_descriptor(TRUC_FRAME_DELIVER), head, &message);
    if (error != TRUC_OK) {
        return error;
    }
    frame->message = (const Truc__V1__Deliver *)message;
    for (size_t i = 0; i < frame->message->n_groups; i++) {
        frame->count += frame->message->groups[i]->n_items;
    }
    frame->events = truc_arena_alloc(s->arena, (frame->count + 1) * sizeof *frame->events);
    frame->seals = truc_arena_alloc(s->arena, (frame->message->n_groups + 1) * sizeof *frame->seals);
    if (frame->events == NULL || frame->seals == NULL) {
        return TRUC_E_TOO_LARGE;
    }
    for (size_t g = 0; g < frame->message->n_groups; g++) {
        struct delivered_seal *seal = &frame->seals[g];
        seal->believed = false;
        seal->error = truc_envelope_parse(session_view(frame->message->groups[g]->envelope), &seal->envelope);
    }
    size_t at = 0, found = 0;
    struct truc_bytes event;
    while ((error = truc_body_next(body, &at, &event)) == TRUC_OK) {
        if (found == frame->count) {
            return TRUC_E_MALFORMED;
        }
        frame->events[found++] = event;
        frame->bytes += event.size;
    }
    return error == TRUC_E_NOT_FOUND && found == frame->count ? TRUC_OK : TRUC_E_MALFORMED;
}

/* Written before anything is handed out: what was ever acked is never above it. */
static truc_error raise_top(struct client_session *s, const struct delivery_frame *frame)
{
    uint64_t number = s->top_number, sequence = s->top_sequence;
    for (size_t g = 0; g < frame->message->n_groups; g++) {
        const Truc__V1__DeliverGroup *group = frame->message->groups[g];
        for (size_t i = 0; i < group->n_items; i++) {
            if (group->items[i]->number > number) {
                number = group->items[i]->number;
                sequence = group->items[i]->sequence;
            }
        }
    }
    if (number == s->top_number) {
        return TRUC_OK;
    }
    uint8_t row[16];
    store_put_u64(row, number);
    store_put_u64(row + 8, sequence);
    return session_meta_put(s, META_TOP, truc_bytes(row, sizeof row));
}

/* Numbers have no gap, and each names the sequence of the one before. Several connections share an inbox and unordered
 * events overtake, so a gap is worth a line and no more; a predecessor that changed is a warning. */
static void watch_order(struct client_session *s, const Truc__V1__DeliverItem *item)
{
    if (item->number <= s->top_number) {
        return;
    }
    if (s->top_number > 0 && item->number == s->top_number + 1 && item->previous_sequence != s->top_sequence) {
        truc_log(TRUC_LOG_WARN, "inbox_predecessor_differs", "agency=%s number=%llu known=%llu told=%llu", s->agency,
                 (unsigned long long)item->number, (unsigned long long)s->top_sequence,
                 (unsigned long long)item->previous_sequence);
    } else if (s->top_number > 0 && item->number > s->top_number + 1) {
        truc_log(TRUC_LOG_INFO, "inbox_gap", "agency=%s after=%llu number=%llu", s->agency,
                 (unsigned long long)s->top_number, (unsigned long long)item->number);
    }
    s->top_number = item->number;
    s->top_sequence = item->sequence;
}

/* true where the application acked it before, through this store: then the client answers. */
static truc_error was_handled(struct client_session *s, const Truc__V1__DeliverItem *item, bool *handled)
{
    struct truc_bytes row;
    *handled = false;
    if (item->number > s->top_number) {
        return TRUC_OK;
    }
    truc_error error = s->store.get(s->store.context, STORE_HANDLED, item->number, &row);
    if (error == TRUC_E_NOT_FOUND) {
        return TRUC_OK;
    }
    if (error == TRUC_OK) {
        *handled = row.size == 8 && store_get_u64(row.data) == item->sequence;
    }
    return error;
}

static bool was_taken_back(const struct client_session *s, uint64_t subject, uint64_t number, uint64_t frame)
{
    for (size_t i = 0; subject != 0 && i < s->taken_back_count; i++) {
        const struct taken_back *entry = &s->taken_back[i];
        if (entry->subject == subject && number > entry->number && frame <= entry->until_frame) {
            return true;
        }
    }
    return false;
}

static truc_error answer_again(struct client_session *s, const Truc__V1__DeliverItem *item, uint64_t lease_id)
{
    struct lease *lease = session_lease_find(&s->leases, item->number);
    if (lease == NULL) {
        lease = session_lease_add(&s->leases, item->number);
    } else if (lease->state == LEASE_OPEN) {
        session_close_lease(s, lease, LEASE_ACKED);
    }
    if (lease == NULL) {
        return TRUC_E_NOMEM;
    }
    lease->id = lease_id;
    lease->sequence = item->sequence;
    lease->state = LEASE_ACKED;
    s->urgent = true; /* the row may be young: the ack waits for it */
    return session_queue_ack(s, lease_id, item->number);
}

/* The same event again while the application still has it: the hub ended the lease. */
static void replace_lease(struct client_session *s, uint64_t number)
{
    struct lease *lease = session_lease_find(&s->leases, number);
    if (lease == NULL) {
        return;
    }
    bool told = lease->state != LEASE_OPEN;
    if (lease->state == LEASE_OPEN) {
        session_close_lease(s, lease, LEASE_VOID);
    }
    session_lease_remove(&s->leases, number);
    if (!told && s->callbacks.on_stale != NULL) {
        s->callbacks.on_stale(s->callbacks.context, number);
    }
}

static truc_error open_lease(struct client_session *s, const struct truc_delivery *delivery, uint64_t subject,
                             const struct truc_hash *hash)
{
    struct lease *lease = session_lease_add(&s->leases, delivery->number);
    if (lease == NULL) {
        return TRUC_E_NOMEM;
    }
    lease->id = delivery->lease;
    lease->sequence = delivery->sequence;
    lease->subject = subject;
    lease->size = (uint32_t)delivery->bytes.size;
    lease->state = LEASE_OPEN;
    lease->receipt_wanted = delivery->receipt_wanted;
    lease->hash = *hash;
    memcpy(lease->sender, delivery->sender, strlen(delivery->sender) + 1); /* an agency's code: it was parsed */
    s->open_events++;
    s->open_bytes += lease->size;
    return TRUC_OK;
}

static truc_error hand_out(struct client_session *s, const struct delivery_frame *frame,
                           const Truc__V1__DeliverGroup *group, const Truc__V1__DeliverItem *item,
                           struct truc_bytes bytes, const struct truc_hash *hash, const struct truc_envelope *envelope)
{
    struct truc_event event;
    bool handled;
    truc_error error = was_handled(s, item, &handled);
    if (error != TRUC_OK) {
        return error;
    }
    watch_order(s, item);
    if (handled) {
        return answer_again(s, item, frame->message->lease);
    }
    if (truc_event_parse(bytes, &event) != TRUC_OK ||
        !truc_bytes_equal(truc_source_agency(event.source), truc_bytes_of(envelope->seal.sender))) {
        truc_log(TRUC_LOG_ERROR, "delivery_unverified", "agency=%s number=%llu why=source", s->agency,
                 (unsigned long long)item->number);
        return session_send_nack(s, frame->message->lease, item->number, 0, UNVERIFIED);
    }
    uint64_t subject = truc_subject_hash(event.subject);
    if (was_taken_back(s, subject, item->number, frame->number)) {
        return TRUC_OK; /* its lease is over; it comes again behind the one that was nacked */
    }
    replace_lease(s, item->number);
    struct truc_delivery delivery = {.bytes = bytes,
                                     .event = &event,
                                     .sender = envelope->seal.sender,
                                     .number = item->number,
                                     .sequence = item->sequence,
                                     .accepted_at_us = group->accepted_at_us,
                                     .attempt = item->attempt,
                                     .replay = item->replay,
                                     .receipt_wanted = item->receipt_wanted,
                                     .requeued = item->requeued,
                                     .lease = frame->message->lease};
    error = open_lease(s, &delivery, subject, hash);
    if (error == TRUC_OK && s->callbacks.on_delivery != NULL) {
        s->callbacks.on_delivery(s->callbacks.context, &delivery);
    }
    return error;
}

static truc_error nack_group(struct client_session *s, const struct delivery_frame *frame,
                             const Truc__V1__DeliverGroup *group, truc_error why)
{
    truc_log(TRUC_LOG_ERROR, "delivery_unverified", "agency=%s leaf=%llu events=%zu why=%s", s->agency,
             (unsigned long long)group->leaf_index, group->n_items,
             why == TRUC_E_UNKNOWN_KEY     ? "unknown_key"
             : why == TRUC_E_BAD_SIGNATURE ? "signature"
                                           : "proof");
    for (size_t i = 0; i < group->n_items; i++) {
        truc_error error = session_send_nack(s, frame->message->lease, group->items[i]->number, 0, UNVERIFIED);
        if (error != TRUC_OK) {
            return error;
        }
    }
    return TRUC_OK;
}

static truc_error hand_out_group(struct client_session *s, const struct delivery_frame *frame,
                                 const Truc__V1__DeliverGroup *group, struct delivered_seal *seal,
                                 const struct truc_bytes *events)
{
    struct truc_hash hashes[TRUC_SEAL_EVENTS_MAX];
    truc_error error = session_verify_group(s, group, seal, events, hashes);
    if (error == TRUC_E_NOMEM || error == TRUC_E_CRYPTO) {
        return error;
    }
    if (error != TRUC_OK) {
        return nack_group(s, frame, group, error);
    }
    for (size_t i = 0; i < group->n_items && error == TRUC_OK; i++) {
        error = hand_out(s, frame, group, group->items[i], events[i], &hashes[i], &seal->envelope);
    }
    return error;
}

static bool is_answered(const struct client_session *s, const char *agency)
{
    for (size_t i = 0; i < s->answered_count && i < ANSWERED_MAX; i++) {
        if (strcmp(s->answered[i], agency) == 0) {
            return true;
        }
    }
    return false;
}

/* Whether it is not known yet if something in the frame was taken back. */
static bool awaits_answer(const struct client_session *s, const struct delivery_frame *frame)
{
    struct truc_event event;
    size_t at = 0;
    bool open = false;
    for (size_t i = 0; i < s->taken_back_count; i++) {
        open = open || s->taken_back[i].until_frame == UINT64_MAX;
    }
    for (size_t g = 0; open && g < frame->message->n_groups; g++) {
        const Truc__V1__DeliverGroup *group = frame->message->groups[g];
        for (size_t i = 0; i < group->n_items; i++, at++) {
            uint64_t subject =
                truc_event_parse(frame->events[at], &event) == TRUC_OK ? truc_subject_hash(event.subject) : 0;
            for (size_t t = 0; subject != 0 && t < s->taken_back_count; t++) {
                const struct taken_back *entry = &s->taken_back[t];
                if (entry->until_frame == UINT64_MAX && entry->subject == subject &&
                    group->items[i]->number > entry->number) {
                    return true;
                }
            }
        }
    }
    return false;
}

/* Whether the frame has to wait: for the answer to a nack, or for somebody's keys, which are then asked for. */
static truc_error must_wait(struct client_session *s, const struct delivery_frame *frame, bool *wait)
{
    *wait = awaits_answer(s, frame);
    if (*wait) {
        return TRUC_OK;
    }
    for (size_t g = 0; g < frame->message->n_groups; g++) {
        if (frame->seals[g].error != TRUC_OK) {
            continue; /* the group is refused later on */
        }
        const struct truc_seal *seal = &frame->seals[g].envelope.seal;
        const char *sender = seal->sender;
        if (session_key_of(s, sender, seal->keyid) == NULL && !is_answered(s, sender)) {
            *wait = true;
            return session_want_keys(s, sender);
        }
    }
    return TRUC_OK;
}

static truc_error hand_out_frame(struct client_session *s, const struct delivery_frame *frame)
{
    size_t at = 0;
    truc_error error = raise_top(s, frame);
    if (frame->message->n_groups > 1) {
        session_vouch(s, frame->message, frame->seals);
    }
    for (size_t g = 0; g < frame->message->n_groups && error == TRUC_OK; g++) {
        const Truc__V1__DeliverGroup *group = frame->message->groups[g];
        error = hand_out_group(s, frame, group, &frame->seals[g], frame->events + at);
        at += group->n_items;
    }
    return error == TRUC_OK ? session_on_floor(s, frame->message->floor) : error;
}

static truc_error keep(struct client_session *s, struct truc_bytes head, struct truc_bytes body,
                       const struct delivery_frame *frame)
{
    if (s->held_bytes + head.size + body.size > s->window_bytes + ASSEMBLED_MAX) {
        return session_drop_link(s, TRUC_E_TOO_LARGE, "the hub sent far more than its credit", false);
    }
    struct held *held = calloc(1, sizeof *held);
    if (held == NULL) {
        return TRUC_E_NOMEM;
    }
    truc_error error = truc_buffer_append(&held->head, head.data, head.size);
    if (error == TRUC_OK) {
        error = truc_buffer_append(&held->body, body.data, body.size);
    }
    if (error != TRUC_OK) {
        truc_buffer_close(&held->head);
        truc_buffer_close(&held->body);
        free(held);
        return error;
    }
    held->frame = frame->number;
    held->events = frame->count;
    *s->held_end = held;
    s->held_end = &held->next;
    s->held_events += frame->count;
    s->held_bytes += head.size + body.size;
    return TRUC_OK;
}

static void drop_first_held(struct client_session *s)
{
    struct held *held = s->held;
    s->held = held->next;
    if (s->held == NULL) {
        s->held_end = &s->held;
    }
    s->held_events -= held->events;
    s->held_bytes -= held->head.size + held->body.size;
    truc_buffer_close(&held->head);
    truc_buffer_close(&held->body);
    free(held);
}

void session_drop_held(struct client_session *s)
{
    while (s->held != NULL) {
        drop_first_held(s);
    }
    s->taken_back_count = 0;
}

/* Those whose nack was answered, and whose frames are all through. */
static void forget_taken_back(struct client_session *s, uint64_t frame)
{
    size_t kept = 0;
    for (size_t i = 0; i < s->taken_back_count; i++) {
        if (s->taken_back[i].until_frame >= frame) {
            s->taken_back[kept++] = s->taken_back[i];
        }
    }
    s->taken_back_count = kept;
}

truc_error session_on_deliver(struct client_session *s, struct truc_bytes head, struct truc_bytes body)
{
    struct delivery_frame frame = {.number = ++s->frame};
    truc_error error = take_apart(s, head, body, &frame);
    if (error == TRUC_E_NOMEM) {
        return error;
    }
    if (error != TRUC_OK) {
        return session_drop_link(s, error, "a DELIVER of the hub does not parse", false);
    }
    s->credit_events -= frame.count < s->credit_events ? frame.count : s->credit_events;
    s->credit_bytes -= frame.bytes < s->credit_bytes ? frame.bytes : s->credit_bytes;
    bool wait = s->held != NULL;
    if (!wait) {
        forget_taken_back(s, frame.number);
        s->answered_count = 0;
        error = must_wait(s, &frame, &wait);
    }
    if (error != TRUC_OK) {
        return error;
    }
    return wait ? keep(s, head, body, &frame) : hand_out_frame(s, &frame);
}

truc_error session_resume_held(struct client_session *s)
{
    while (s->held != NULL && s->state == TRUC_CLIENT_OPEN) {
        struct held *held = s->held;
        struct delivery_frame frame = {.number = held->frame};
        bool wait = false;
        truc_error error = take_apart(s, truc_buffer_view(&held->head), truc_buffer_view(&held->body), &frame);
        if (error == TRUC_OK) {
            error = must_wait(s, &frame, &wait);
        }
        if (error != TRUC_OK || wait) {
            return error;
        }
        error = hand_out_frame(s, &frame);
        if (error != TRUC_OK) {
            return error;
        }
        if (s->held == held) {
            drop_first_held(s);
        }
    }
    return TRUC_OK;
}
