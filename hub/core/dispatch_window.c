#include "hub/core/dispatch_internal.h"

/* ---- heaps of an inbox ----------------------------------------------------------------------------------------- */

enum heap_use { USE_READY, USE_WAKE, USE_EXPIRY };

static bool still_meant(const struct hub_dispatch *dispatch, const struct dispatch_entry *entry, enum heap_use use,
                        int64_t key)
{
    switch (use) {
    case USE_READY:
        return dispatch_entry_ready(dispatch, entry);
    case USE_WAKE:
        return entry->posting.not_before_us == key;
    case USE_EXPIRY:
        return true;
    }
    abort();
}

/* Keeps one item for each entry that it is still meant for. Called after as many pushes as items are kept, at least: a
 * constant cost for each. */
static void trim(struct hub_dispatch *dispatch, const struct dispatch_inbox *inbox, struct dispatch_heap *heap,
                 enum heap_use use)
{
    if (heap->count <= 2 * inbox->entries + 64) {
        return;
    }
    uint64_t mark = ++dispatch->mark;
    size_t kept = 0;
    for (size_t i = 0; i < heap->count; i++) {
        struct dispatch_entry *entry = dispatch_entry_find(inbox, heap->items[i].number);
        if (entry != NULL && entry->mark != mark && still_meant(dispatch, entry, use, heap->items[i].key)) {
            entry->mark = mark;
            heap->items[kept++] = heap->items[i];
        }
    }
    heap->count = kept;
    dispatch_heap_order(heap);
}

void dispatch_trim_ready(struct hub_dispatch *dispatch, struct dispatch_inbox *inbox, struct dispatch_heap *heap)
{
    trim(dispatch, inbox, heap, USE_READY);
}

truc_error dispatch_push_ready(struct hub_dispatch *dispatch, struct dispatch_inbox *inbox, uint64_t number)
{
    trim(dispatch, inbox, &inbox->ready, USE_READY);
    dispatch_mark_active(dispatch, inbox);
    return dispatch_heap_push(&inbox->ready, (struct dispatch_item){(int64_t)number, number});
}

truc_error dispatch_push_wake(struct hub_dispatch *dispatch, struct dispatch_inbox *inbox, int64_t at_us,
                              uint64_t number)
{
    trim(dispatch, inbox, &inbox->wake, USE_WAKE);
    if (at_us < dispatch->wake_us) {
        dispatch->wake_us = at_us;
    }
    return dispatch_heap_push(&inbox->wake, (struct dispatch_item){at_us, number});
}

truc_error dispatch_push_expiry(struct hub_dispatch *dispatch, struct dispatch_inbox *inbox, int64_t at_us,
                                uint64_t number)
{
    trim(dispatch, inbox, &inbox->expiry, USE_EXPIRY);
    if (at_us < dispatch->expire_us) {
        dispatch->expire_us = at_us;
    }
    return dispatch_heap_push(&inbox->expiry, (struct dispatch_item){at_us, number});
}

/* ---- timers ---------------------------------------------------------------------------------------------------- */

static truc_error wake_inbox(struct hub_dispatch *dispatch, struct dispatch_inbox *inbox)
{
    while (inbox->wake.count > 0 && inbox->wake.items[0].key <= dispatch->now_us) {
        struct dispatch_entry *entry = dispatch_entry_find(inbox, inbox->wake.items[0].number);
        dispatch_heap_pop(&inbox->wake);
        truc_error err = TRUC_OK;
        if (entry == NULL || entry->posting.not_before_us > dispatch->now_us) {
            continue;
        }
        if (entry->state == ENTRY_HELD) {
            err = dispatch_entry_remove(dispatch, inbox, entry);
        } else if (dispatch_entry_ready(dispatch, entry)) {
            err = dispatch_push_ready(dispatch, inbox, entry->posting.number);
        }
        if (err != TRUC_OK) {
            return err;
        }
    }
    return TRUC_OK;
}

static truc_error wake(struct hub_dispatch *dispatch)
{
    int64_t next = INT64_MAX;
    for (size_t i = 0; i < dispatch->inbox_count; i++) {
        struct dispatch_inbox *inbox = dispatch->inboxes[i];
        if (inbox == NULL) {
            continue;
        }
        truc_error err = wake_inbox(dispatch, inbox);
        if (err != TRUC_OK) {
            return err;
        }
        if (inbox->wake.count > 0 && inbox->wake.items[0].key < next) {
            next = inbox->wake.items[0].key;
        }
    }
    dispatch->wake_us = next;
    return TRUC_OK;
}

truc_error dispatch_expired(struct hub_dispatch *dispatch, struct dispatch_inbox *inbox, struct hub_ranges *out,
                            bool *any)
{
    /* The core decides by its own clock: what it does not take out is asked about again, and is not delivered. */
    int64_t again = dispatch_after(dispatch->now_us, dispatch->limits.lease_us);
    uint32_t count = 0;
    while (count < DISPATCH_EXPIRE_MAX && inbox->expiry.count > 0 && inbox->expiry.items[0].key <= dispatch->now_us) {
        uint64_t number = inbox->expiry.items[0].number;
        const struct dispatch_entry *entry = dispatch_entry_find(inbox, number);
        bool over = entry != NULL && dispatch_entry_expired(dispatch, entry);
        truc_error err = TRUC_OK;
        if (over && entry->state == ENTRY_WAITING) {
            err = dispatch_ranges_add(out, number, number);
            count++;
            *any = true;
        }
        dispatch_heap_pop(&inbox->expiry);
        if (err == TRUC_OK && entry != NULL && entry->posting.expires_us > 0) {
            int64_t at_us = over ? again : entry->posting.expires_us;
            err = dispatch_heap_push(&inbox->expiry, (struct dispatch_item){at_us, number});
        }
        if (err != TRUC_OK) {
            return err;
        }
    }
    return TRUC_OK;
}

/* ---- the window ------------------------------------------------------------------------------------------------ */

static bool has_room(const struct hub_dispatch *dispatch, const struct dispatch_inbox *inbox)
{
    uint32_t window = dispatch->limits.window;
    return inbox->entries - inbox->held < window && inbox->held < window;
}

static void queue_load(struct hub_dispatch *dispatch, struct dispatch_inbox *inbox)
{
    inbox->load = true;
    inbox->load_next = NULL;
    *(dispatch->load.last != NULL ? &dispatch->load.last->load_next : &dispatch->load.first) = inbox;
    dispatch->load.last = inbox;
}

void dispatch_want_load(struct hub_dispatch *dispatch, struct dispatch_inbox *inbox)
{
    /* Not for every one that goes: an eighth of the window at a time. */
    size_t loaded = inbox->entries - inbox->held;
    bool low = loaded == 0 || loaded + dispatch->limits.window / 8 < dispatch->limits.window;
    if (inbox->load || !inbox->behind || !low || !has_room(dispatch, inbox)) {
        return;
    }
    queue_load(dispatch, inbox);
}

/* The next one that may concern the dispatcher. Most often it is the very next number: reading that is cheaper than
 * looking for one. */
static truc_error next_posting(const struct hub_dispatch *dispatch, const struct dispatch_inbox *inbox,
                               struct hub_posting *out)
{
    const unsigned states = 1u << HUB_POSTING_PENDING | 1u << HUB_POSTING_DEAD;
    truc_error err = hub_core_posting(dispatch->core, inbox->agency, inbox->scan, out);
    if (err == TRUC_OK && (states & 1u << out->state) != 0) {
        return TRUC_OK;
    }
    if (err != TRUC_OK && err != TRUC_E_NOT_FOUND) {
        return err;
    }
    return hub_core_posting_next(dispatch->core, inbox->agency, inbox->scan, states, out);
}

static truc_error load_step(struct hub_dispatch *dispatch, struct dispatch_inbox *inbox)
{
    uint64_t end = hub_core_agency_by_number(dispatch->core, inbox->agency)->next_number;
    for (unsigned i = 0; i < DISPATCH_LOAD_STEP && has_room(dispatch, inbox); i++) {
        struct hub_posting posting;
        truc_error err = inbox->scan < end ? next_posting(dispatch, inbox, &posting) : TRUC_E_NOT_FOUND;
        if (err == TRUC_E_NOT_FOUND) {
            inbox->scan = end;
            inbox->behind = false;
            return TRUC_OK;
        }
        if (err != TRUC_OK) {
            return err;
        }
        inbox->scan = posting.number + 1;
        if (dispatch_entry_find(inbox, posting.number) == NULL) {
            err = dispatch_entry_add(dispatch, inbox, &posting);
        }
        if (err != TRUC_OK) {
            return err;
        }
    }
    return TRUC_OK;
}

static truc_error load(struct hub_dispatch *dispatch)
{
    for (unsigned i = 0; i < DISPATCH_LOAD_ROUNDS && dispatch->load.first != NULL; i++) {
        struct dispatch_inbox *inbox = dispatch->load.first;
        dispatch->load.first = inbox->load_next;
        if (dispatch->load.first == NULL) {
            dispatch->load.last = NULL;
        }
        /* It stays marked while it is loaded: adding must not put it into the queue. */
        truc_error err = load_step(dispatch, inbox);
        inbox->load = false;
        if (err != TRUC_OK) {
            return err;
        }
        if (inbox->behind && has_room(dispatch, inbox)) { /* only the step was too short: go on whatever is low */
            queue_load(dispatch, inbox);
        }
    }
    return TRUC_OK;
}

truc_error dispatch_advance(struct hub_dispatch *dispatch, int64_t now_us)
{
    if (dispatch->failure != TRUC_OK) {
        return dispatch->failure;
    }
    if (now_us > dispatch->now_us) {
        dispatch->now_us = now_us;
    }
    truc_error err = TRUC_OK;
    if (dispatch->now_us >= dispatch->wake_us) {
        err = wake(dispatch);
    }
    if (err == TRUC_OK && dispatch->load.first != NULL) {
        err = load(dispatch);
    }
    return err;
}
