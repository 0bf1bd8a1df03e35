#include "hub/core/dispatch_internal.h"

/* ---- frames ---------------------------------------------------------------------------------------------------- */

static struct dispatch_frame *frame_open(struct hub_dispatch *dispatch, struct dispatch_session *session)
{
    struct dispatch_frame *frame = dispatch_pool_take(&dispatch->frame_pool);
    if (frame == NULL) {
        return NULL;
    }
    frame->lease = dispatch->last_lease + 1;
    frame->session = session;
    HASH_ADD(hh, dispatch->frames, lease, sizeof frame->lease, frame);
    if (frame->unhashed) {
        dispatch_pool_give(&dispatch->frame_pool, frame);
        return NULL;
    }
    dispatch->last_lease++;
    frame->until_us = dispatch_after(dispatch->now_us, dispatch->limits.lease_us);
    frame->previous = dispatch->newest;
    *(dispatch->newest != NULL ? &dispatch->newest->next : &dispatch->oldest) = frame;
    dispatch->newest = frame;
    frame->session_next = session->frames;
    if (session->frames != NULL) {
        session->frames->session_previous = frame;
    }
    session->frames = frame;
    return frame;
}

static void frame_close(struct hub_dispatch *dispatch, struct dispatch_frame *frame)
{
    HASH_DELETE(hh, dispatch->frames, frame);
    *(frame->next != NULL ? &frame->next->previous : &dispatch->newest) = frame->previous;
    *(frame->previous != NULL ? &frame->previous->next : &dispatch->oldest) = frame->next;
    if (frame->session_next != NULL) {
        frame->session_next->session_previous = frame->session_previous;
    }
    *(frame->session_previous != NULL ? &frame->session_previous->session_next : &frame->session->frames) =
        frame->session_next;
    dispatch_pool_give(&dispatch->frame_pool, frame);
}

void dispatch_frame_drop(struct hub_dispatch *dispatch, struct dispatch_entry *entry)
{
    struct dispatch_frame *frame = entry->frame;
    *(entry->frame_next != NULL ? &entry->frame_next->frame_previous : &frame->last) = entry->frame_previous;
    *(entry->frame_previous != NULL ? &entry->frame_previous->frame_next : &frame->first) = entry->frame_next;
    entry->frame = NULL;
    frame->count--;
    if (frame->count == 0) {
        frame_close(dispatch, frame);
    }
}

struct dispatch_session *dispatch_session_find(const struct hub_dispatch *dispatch, uint64_t session)
{
    struct dispatch_session *found;
    HASH_FIND(hh, dispatch->sessions, &session, sizeof session, found);
    return found;
}

/* The frame of that lease, if it is the session's. */
static struct dispatch_frame *frame_find(const struct hub_dispatch *dispatch, uint64_t session, uint64_t lease)
{
    struct dispatch_frame *found;
    HASH_FIND(hh, dispatch->frames, &lease, sizeof lease, found);
    return found != NULL && found->session->session == session ? found : NULL;
}

/* ---- take ------------------------------------------------------------------------------------------------------ */

/* The number came up, but its subject is another session's. If that is gone, the number comes again when its last lease
 * ends. */
static void hand_over(struct hub_dispatch *dispatch, uint64_t holder, uint64_t number)
{
    struct dispatch_session *session = dispatch_session_find(dispatch, holder);
    if (session == NULL) {
        return;
    }
    dispatch_trim_ready(dispatch, session->inbox, &session->ready);
    truc_error err = dispatch_heap_push(&session->ready, (struct dispatch_item){(int64_t)number, number});
    if (err != TRUC_OK) {
        dispatch->failure = err;
    }
}

struct dispatch_entry *dispatch_peek(struct hub_dispatch *dispatch, struct dispatch_session *session,
                                     struct dispatch_heap **from)
{
    struct dispatch_inbox *inbox = session->inbox;
    for (;;) {
        struct dispatch_heap *heap = &inbox->ready;
        if (heap->count == 0 || (session->ready.count > 0 && session->ready.items[0].number < heap->items[0].number)) {
            heap = &session->ready;
        }
        if (heap->count == 0 || dispatch->failure != TRUC_OK) {
            return NULL;
        }
        struct dispatch_entry *entry = dispatch_entry_find(inbox, heap->items[0].number);
        if (entry == NULL || !dispatch_entry_ready(dispatch, entry)) {
            dispatch_heap_pop(heap);
            continue;
        }
        if (dispatch_hold_stops(dispatch, inbox, entry)) {
            dispatch_heap_pop(heap);
            dispatch->failure = dispatch_put_aside(dispatch, inbox, entry->posting.number);
            continue;
        }
        const struct dispatch_subject *subject = entry->subject;
        if (subject != NULL && subject->in_flight > 0 && subject->holder != session->session) {
            dispatch_heap_pop(heap);
            hand_over(dispatch, subject->holder, entry->posting.number);
            continue;
        }
        *from = heap;
        return entry;
    }
}

static void fill(struct hub_delivery *out, const struct dispatch_entry *entry, const struct dispatch_frame *frame,
                 uint64_t boot_number)
{
    out->session = frame->session->session;
    out->lease = frame->lease;
    out->posting = entry->posting;
    uint64_t attempt = (uint64_t)entry->posting.attempts + 1 + (entry->posting.number < boot_number ? 1 : 0);
    if ((entry->seen || entry->posting.requeued) && attempt < 2) {
        attempt = 2;
    }
    out->attempt = attempt > UINT32_MAX ? UINT32_MAX : (uint32_t)attempt;
}

truc_error hub_dispatch_take(struct hub_dispatch *dispatch, uint64_t session_number, int64_t now_us, uint64_t max_bytes,
                             struct hub_delivery *out, size_t max, size_t *count)
{
    *count = 0;
    truc_error err = dispatch_advance(dispatch, now_us);
    struct dispatch_session *session = dispatch_session_find(dispatch, session_number);
    if (err != TRUC_OK || session == NULL) {
        return err;
    }
    const struct hub_agency *agency = hub_core_agency_by_number(dispatch->core, session->inbox->agency);
    if (agency == NULL || agency->suspended) {
        return TRUC_OK;
    }
    struct dispatch_frame *frame = NULL;
    uint64_t bytes = 0;
    while (*count < max && session->credit_events > 0) {
        struct dispatch_heap *heap;
        struct dispatch_entry *entry = dispatch_peek(dispatch, session, &heap);
        if (entry == NULL || entry->posting.size > session->credit_bytes ||
            (*count > 0 && (bytes > max_bytes || entry->posting.size > max_bytes - bytes))) {
            break;
        }
        if (frame == NULL) {
            frame = frame_open(dispatch, session);
            if (frame == NULL) {
                return TRUC_E_NOMEM;
            }
        }
        dispatch_heap_pop(heap);
        fill(&out[*count], entry, frame, agency->boot_number);
        err = dispatch_entry_lease(dispatch, session->inbox, entry, frame);
        if (err != TRUC_OK) {
            return err;
        }
        session->credit_events--;
        session->credit_bytes -= entry->posting.size;
        bytes += entry->posting.size;
        ++*count;
    }
    return dispatch->failure;
}

/* ---- ack and nack ---------------------------------------------------------------------------------------------- */

/* Fewer numbers than the frame has entries: look each of them up. */
static truc_error ack_numbers(struct hub_dispatch *dispatch, struct dispatch_frame *frame, uint64_t first,
                              uint64_t last, struct hub_ranges *valid, struct hub_ranges *stale)
{
    const struct dispatch_inbox *inbox = frame->session->inbox;
    uint64_t lease = frame->lease; /* the frame may end under way; its address may then belong to nobody */
    uint32_t left = frame->count;
    for (uint64_t number = first;; number++) {
        struct dispatch_entry *entry = left > 0 ? dispatch_entry_find(inbox, number) : NULL;
        bool ours = entry != NULL && entry->state == ENTRY_LEASED && entry->frame->lease == lease;
        truc_error err = dispatch_ranges_add(ours ? valid : stale, number, number);
        if (err != TRUC_OK) {
            return err;
        }
        if (ours) {
            dispatch_entry_settling(dispatch, entry);
            left--;
        }
        if (number == last) {
            return TRUC_OK;
        }
    }
}

/* More numbers than entries: walk these; what lies between is stale. */
static truc_error ack_entries(struct hub_dispatch *dispatch, struct dispatch_frame *frame, uint64_t first,
                              uint64_t last, struct hub_ranges *valid, struct hub_ranges *stale)
{
    struct dispatch_entry *entry = frame->first;
    uint64_t from = first; /* numbers below are done */
    bool all = false;
    while (entry != NULL && entry->posting.number <= last) {
        struct dispatch_entry *next = entry->frame_next;
        uint64_t number = entry->posting.number;
        if (number >= first) {
            truc_error err = number > from ? dispatch_ranges_add(stale, from, number - 1) : TRUC_OK;
            if (err == TRUC_OK) {
                err = dispatch_ranges_add(valid, number, number);
            }
            if (err != TRUC_OK) {
                return err;
            }
            dispatch_entry_settling(dispatch, entry);
            all = number == last;
            from = number + 1;
        }
        entry = next;
    }
    return all ? TRUC_OK : dispatch_ranges_add(stale, from, last);
}

truc_error hub_dispatch_ack(struct hub_dispatch *dispatch, uint64_t session, uint64_t lease, struct hub_range range,
                            struct hub_ranges *valid, struct hub_ranges *stale)
{
    if (range.count == 0) {
        return TRUC_OK;
    }
    uint64_t first = range.first;
    uint64_t last = first > UINT64_MAX - (range.count - 1) ? UINT64_MAX : first + (range.count - 1);
    struct dispatch_frame *frame = frame_find(dispatch, session, lease);
    if (frame == NULL) {
        return dispatch_ranges_add(stale, first, last);
    }
    if (last - first < frame->count) {
        return ack_numbers(dispatch, frame, first, last, valid, stale);
    }
    return ack_entries(dispatch, frame, first, last, valid, stale);
}

bool hub_dispatch_is_leased(const struct hub_dispatch *dispatch, uint64_t session, uint64_t lease, uint64_t number)
{
    const struct dispatch_frame *frame = frame_find(dispatch, session, lease);
    const struct dispatch_entry *entry = frame == NULL ? NULL : dispatch_entry_find(frame->session->inbox, number);
    return entry != NULL && entry->state == ENTRY_LEASED && entry->frame == frame;
}

bool hub_dispatch_nack(struct hub_dispatch *dispatch, uint64_t session, uint64_t lease, uint64_t number)
{
    struct dispatch_frame *frame = frame_find(dispatch, session, lease);
    if (frame == NULL) {
        return false;
    }
    struct dispatch_entry *entry = dispatch_entry_find(frame->session->inbox, number);
    if (entry == NULL || entry->state != ENTRY_LEASED || entry->frame != frame) {
        return false;
    }
    dispatch_entry_return(dispatch, entry);
    dispatch_entry_step_back(dispatch, entry);
    return true;
}

/* ---- leases that are lost -------------------------------------------------------------------------------------- */

static truc_error frame_ranges(const struct dispatch_frame *frame, struct hub_ranges *out)
{
    truc_error err = TRUC_OK;
    for (const struct dispatch_entry *entry = frame->first; entry != NULL && err == TRUC_OK;
         entry = entry->frame_next) {
        err = dispatch_ranges_add(out, entry->posting.number, entry->posting.number);
    }
    return err;
}

/* Takes the entries off their frame, which ends, and chains them before `rest`. They still look LEASED. */
static struct dispatch_entry *frame_empty(struct hub_dispatch *dispatch, struct dispatch_frame *frame,
                                          struct dispatch_entry *rest)
{
    struct dispatch_entry *first = frame->first;
    frame->last->frame_next = rest;
    frame_close(dispatch, frame);
    return first;
}

/* All of them count as given back, so all are RETURNING before the first one makes later ones step back. */
static void return_all(struct hub_dispatch *dispatch, struct dispatch_entry *first)
{
    for (struct dispatch_entry *entry = first; entry != NULL; entry = entry->frame_next) {
        entry->frame = NULL;
        entry->state = ENTRY_RETURNING;
        if (entry->subject != NULL) {
            entry->subject->in_flight--;
        }
    }
    for (struct dispatch_entry *entry = first; entry != NULL; entry = entry->frame_next) {
        dispatch_entry_step_back(dispatch, entry);
    }
}

truc_error hub_dispatch_close(struct hub_dispatch *dispatch, uint64_t session_number, struct hub_ranges *released)
{
    struct dispatch_session *session = dispatch_session_find(dispatch, session_number);
    if (session == NULL) {
        return dispatch->failure;
    }
    for (struct dispatch_frame *frame = session->frames; frame != NULL; frame = frame->session_next) {
        truc_error err = frame_ranges(frame, released);
        if (err != TRUC_OK) {
            return err;
        }
    }
    struct dispatch_entry *lost = NULL;
    while (session->frames != NULL) {
        lost = frame_empty(dispatch, session->frames, lost);
    }
    return_all(dispatch, lost);
    struct dispatch_inbox *inbox = session->inbox;
    if (session->next == session) {
        inbox->sessions = NULL;
    } else {
        session->previous->next = session->next;
        session->next->previous = session->previous;
        inbox->sessions = inbox->sessions == session ? session->next : inbox->sessions;
    }
    /* What was handed over to it and is free meanwhile must come up for the others. */
    truc_error err = TRUC_OK;
    for (size_t i = 0; i < session->ready.count && err == TRUC_OK; i++) {
        struct dispatch_entry *entry = dispatch_entry_find(inbox, session->ready.items[i].number);
        if (entry != NULL && dispatch_entry_ready(dispatch, entry)) {
            err = dispatch_push_ready(dispatch, inbox, entry->posting.number);
        }
    }
    HASH_DELETE(hh, dispatch->sessions, session);
    dispatch_heap_close(&session->ready);
    free(session);
    return err != TRUC_OK ? err : dispatch->failure;
}

truc_error hub_dispatch_due(struct hub_dispatch *dispatch, int64_t now_us, uint32_t *agency, enum hub_input_kind *kind,
                            struct hub_ranges *out)
{
    *agency = 0;
    truc_error err = dispatch_advance(dispatch, now_us);
    if (err != TRUC_OK) {
        return err;
    }
    struct dispatch_frame *frame = dispatch->oldest;
    if (frame != NULL && frame->until_us <= dispatch->now_us) {
        err = frame_ranges(frame, out);
        if (err != TRUC_OK) {
            return err;
        }
        *agency = frame->session->inbox->agency;
        *kind = HUB_INPUT_RELEASE;
        return_all(dispatch, frame_empty(dispatch, frame, NULL));
        return TRUC_OK;
    }
    if (dispatch->now_us < dispatch->expire_us) {
        return TRUC_OK;
    }
    int64_t next = INT64_MAX;
    for (size_t i = 0; i < dispatch->inbox_count; i++) {
        struct dispatch_inbox *inbox = dispatch->inboxes[i];
        bool any = false;
        err = inbox != NULL ? dispatch_expired(dispatch, inbox, out, &any) : TRUC_OK;
        if (err != TRUC_OK) {
            return err;
        }
        if (any) { /* expire_us stays: the next call goes on */
            *agency = inbox->agency;
            *kind = HUB_INPUT_EXPIRE;
            return TRUC_OK;
        }
        if (inbox != NULL && inbox->expiry.count > 0 && inbox->expiry.items[0].key < next) {
            next = inbox->expiry.items[0].key;
        }
    }
    dispatch->expire_us = next;
    return TRUC_OK;
}
