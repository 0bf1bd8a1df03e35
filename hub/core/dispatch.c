#include "hub/core/dispatch_internal.h"

/* ---- life ------------------------------------------------------------------------------------------------------ */

truc_error hub_dispatch_new(struct hub_core *core, const struct hub_dispatch_limits *limits, uint64_t lease_base,
                            struct hub_dispatch **out)
{
    struct hub_dispatch *dispatch = calloc(1, sizeof *dispatch);
    if (dispatch == NULL) {
        return TRUC_E_NOMEM;
    }
    dispatch->core = core;
    dispatch->limits = *limits;
    if (dispatch->limits.window == 0) {
        dispatch->limits.window = DISPATCH_WINDOW;
    }
    if (dispatch->limits.lease_us <= 0) {
        dispatch->limits.lease_us = DISPATCH_LEASE_US;
    }
    if (dispatch->limits.credit_events == 0) {
        dispatch->limits.credit_events = DISPATCH_CREDIT_EVENTS;
    }
    if (dispatch->limits.credit_bytes == 0) {
        dispatch->limits.credit_bytes = DISPATCH_CREDIT_BYTES;
    }
    dispatch->last_lease = lease_base;
    dispatch->now_us = hub_core_accepted_at(core);
    dispatch->wake_us = INT64_MAX;
    dispatch->expire_us = INT64_MAX;
    dispatch_pool_open(&dispatch->entry_pool, sizeof(struct dispatch_entry));
    dispatch_pool_open(&dispatch->subject_pool, sizeof(struct dispatch_subject));
    dispatch_pool_open(&dispatch->frame_pool, sizeof(struct dispatch_frame));
    truc_error err = TRUC_OK;
    for (uint32_t agency = 1; agency <= hub_core_agency_count(core) && err == TRUC_OK; agency++) {
        struct dispatch_inbox *inbox;
        err = dispatch_inbox_open(dispatch, agency, &inbox); /* loaded with the first call that knows the time */
    }
    if (err != TRUC_OK) {
        hub_dispatch_free(&dispatch);
        return err;
    }
    *out = dispatch;
    return TRUC_OK;
}

void hub_dispatch_free(struct hub_dispatch **dispatch)
{
    struct hub_dispatch *gone = *dispatch;
    *dispatch = NULL;
    if (gone == NULL) {
        return;
    }
    struct dispatch_session *session, *next;
    HASH_ITER(hh, gone->sessions, session, next)
    {
        HASH_DELETE(hh, gone->sessions, session);
        dispatch_heap_close(&session->ready);
        free(session);
    }
    HASH_CLEAR(hh, gone->frames);
    dispatch_holds_close(gone);
    for (size_t i = 0; i < gone->inbox_count; i++) {
        struct dispatch_inbox *inbox = gone->inboxes[i];
        if (inbox != NULL) {
            dispatch_heap_close(&inbox->ready);
            dispatch_heap_close(&inbox->wake);
            dispatch_heap_close(&inbox->expiry);
            free(inbox->by_number);
            free(inbox->by_sequence);
            free(inbox->by_subject);
            free(inbox);
        }
    }
    free(gone->inboxes);
    dispatch_pool_close(&gone->entry_pool);
    dispatch_pool_close(&gone->subject_pool);
    dispatch_pool_close(&gone->frame_pool);
    free(gone);
}

struct dispatch_inbox *dispatch_inbox_find(const struct hub_dispatch *dispatch, uint32_t agency)
{
    return agency < dispatch->inbox_count ? dispatch->inboxes[agency] : NULL;
}

truc_error dispatch_inbox_open(struct hub_dispatch *dispatch, uint32_t agency, struct dispatch_inbox **out)
{
    *out = dispatch_inbox_find(dispatch, agency);
    if (*out != NULL) {
        return TRUC_OK;
    }
    const struct hub_agency *known = hub_core_agency_by_number(dispatch->core, agency);
    if (known == NULL) {
        return TRUC_E_INVALID;
    }
    if (agency >= dispatch->inbox_count) {
        size_t count = 2 * (size_t)agency + 16;
        struct dispatch_inbox **inboxes = realloc(dispatch->inboxes, count * sizeof(struct dispatch_inbox *));
        if (inboxes == NULL) {
            return TRUC_E_NOMEM;
        }
        for (size_t i = dispatch->inbox_count; i < count; i++) {
            inboxes[i] = NULL;
        }
        dispatch->inboxes = inboxes;
        dispatch->inbox_count = count;
    }
    struct dispatch_inbox *inbox = calloc(1, sizeof *inbox);
    if (inbox == NULL) {
        return TRUC_E_NOMEM;
    }
    inbox->agency = agency;
    inbox->scan = 1; /* not the floor: it passes over dead letters, which may hold their subject */
    inbox->behind = inbox->scan < known->next_number;
    dispatch->inboxes[agency] = inbox;
    dispatch_want_load(dispatch, inbox);
    *out = inbox;
    return TRUC_OK;
}

void dispatch_mark_active(struct hub_dispatch *dispatch, struct dispatch_inbox *inbox)
{
    if (inbox->active) {
        return;
    }
    inbox->active = true;
    inbox->active_next = NULL;
    *(dispatch->active.last != NULL ? &dispatch->active.last->active_next : &dispatch->active.first) = inbox;
    dispatch->active.last = inbox;
}

/* ---- effects --------------------------------------------------------------------------------------------------- */

/* The core tells what a posting is now; the entry follows. An effect may be older than that by the rest of its row. */
static truc_error follow(struct hub_dispatch *dispatch, const struct hub_effect *effect)
{
    struct dispatch_inbox *inbox = dispatch_inbox_find(dispatch, effect->agency);
    if (inbox == NULL) {
        return TRUC_OK; /* it will be read from the core as a whole */
    }
    struct dispatch_entry *entry = dispatch_entry_find(inbox, effect->number);
    if (entry == NULL && effect->number >= inbox->scan &&
        !dispatch_comes_before(dispatch, inbox, effect->subject, effect->number)) {
        inbox->behind = true;
        dispatch_want_load(dispatch, inbox);
        return TRUC_OK; /* not loaded yet */
    }
    struct hub_posting posting;
    truc_error err = hub_core_posting(dispatch->core, effect->agency, effect->number, &posting);
    if (err != TRUC_OK && err != TRUC_E_NOT_FOUND) {
        return err;
    }
    bool live = err == TRUC_OK && (posting.state == HUB_POSTING_PENDING || dispatch_holds(dispatch, &posting));
    if (!live) {
        return entry != NULL ? dispatch_entry_remove(dispatch, inbox, entry) : TRUC_OK;
    }
    if (entry != NULL) {
        err = dispatch_entry_place(dispatch, inbox, entry, &posting);
    } else if (posting.subject == 0 && inbox->entries - inbox->held >= dispatch->limits.window) {
        inbox->scan = effect->number; /* unordered and no room: the window comes to it again */
        inbox->behind = true;
    } else {
        err = dispatch_entry_add(dispatch, inbox, &posting);
    }
    return err;
}

static truc_error posted(struct hub_dispatch *dispatch, const struct hub_effect *effect)
{
    struct dispatch_inbox *inbox;
    truc_error err = dispatch_inbox_open(dispatch, effect->agency, &inbox);
    if (err == TRUC_OK && effect->number >= inbox->scan && !inbox->load) {
        inbox->behind = true;
        dispatch_want_load(dispatch, inbox);
    }
    return err;
}

static truc_error gone(struct hub_dispatch *dispatch, const struct hub_effect *effect)
{
    struct dispatch_inbox *inbox = dispatch_inbox_find(dispatch, effect->agency);
    struct dispatch_entry *entry = inbox != NULL ? dispatch_entry_find(inbox, effect->number) : NULL;
    return entry != NULL ? dispatch_entry_remove(dispatch, inbox, entry) : TRUC_OK;
}

truc_error hub_dispatch_effect(struct hub_dispatch *dispatch, const struct hub_effect *effect)
{
    if (dispatch->failure != TRUC_OK) {
        return dispatch->failure;
    }
    switch (effect->kind) {
    case HUB_EFFECT_POSTED:
        return posted(dispatch, effect);
    case HUB_EFFECT_SETTLED:
    case HUB_EFFECT_RECALLED:
        return gone(dispatch, effect);
    case HUB_EFFECT_RETURNED:
    case HUB_EFFECT_DEAD:
    case HUB_EFFECT_REQUEUED:
        if (hub_core_accepted_at(dispatch->core) > dispatch->now_us) {
            dispatch->now_us = hub_core_accepted_at(dispatch->core);
        }
        return follow(dispatch, effect);
    case HUB_EFFECT_AGENCY: { /* resumed, perhaps */
        struct dispatch_inbox *inbox;
        truc_error err = dispatch_inbox_open(dispatch, effect->agency, &inbox);
        if (err == TRUC_OK) {
            dispatch_mark_active(dispatch, inbox);
        }
        return err;
    }
    case HUB_EFFECT_LEAF:
    case HUB_EFFECT_KEYS:
    case HUB_EFFECT_SUBSCRIBED:
    case HUB_EFFECT_FORK:
    case HUB_EFFECT_PARAMETERS:
        return TRUC_OK;
    }
    return TRUC_E_INVALID;
}

/* ---- sessions -------------------------------------------------------------------------------------------------- */

truc_error hub_dispatch_open(struct hub_dispatch *dispatch, uint64_t session, uint32_t agency)
{
    if (session == 0) {
        return TRUC_E_INVALID;
    }
    if (dispatch_session_find(dispatch, session) != NULL) {
        return TRUC_E_EXISTS;
    }
    struct dispatch_inbox *inbox;
    truc_error err = dispatch_inbox_open(dispatch, agency, &inbox);
    if (err != TRUC_OK) {
        return err;
    }
    struct dispatch_session *made = calloc(1, sizeof *made);
    if (made == NULL) {
        return TRUC_E_NOMEM;
    }
    made->session = session;
    made->inbox = inbox;
    HASH_ADD(hh, dispatch->sessions, session, sizeof made->session, made);
    if (made->unhashed) {
        free(made);
        return TRUC_E_NOMEM;
    }
    if (inbox->sessions == NULL) {
        made->next = made->previous = inbox->sessions = made;
    } else { /* last in turn */
        made->next = inbox->sessions;
        made->previous = inbox->sessions->previous;
        made->previous->next = made;
        made->next->previous = made;
    }
    return TRUC_OK;
}

void hub_dispatch_credit(struct hub_dispatch *dispatch, uint64_t session, uint32_t events, uint64_t bytes)
{
    struct dispatch_session *found = dispatch_session_find(dispatch, session);
    if (found == NULL) {
        return;
    }
    const struct hub_dispatch_limits *limits = &dispatch->limits;
    found->credit_events =
        events < limits->credit_events - found->credit_events ? found->credit_events + events : limits->credit_events;
    found->credit_bytes =
        bytes < limits->credit_bytes - found->credit_bytes ? found->credit_bytes + bytes : limits->credit_bytes;
    dispatch_mark_active(dispatch, found->inbox);
}

void hub_dispatch_pause(struct hub_dispatch *dispatch, uint64_t session, bool paused)
{
    struct dispatch_session *found = dispatch_session_find(dispatch, session);
    if (found != NULL && found->paused != paused) {
        found->paused = paused;
        dispatch_mark_active(dispatch, found->inbox);
    }
}

uint32_t hub_dispatch_credit_left(const struct hub_dispatch *dispatch, uint64_t session)
{
    const struct dispatch_session *found = dispatch_session_find(dispatch, session);
    return found != NULL ? found->credit_events : 0;
}

/* The session of the inbox whose turn it is and that would get something; NULL: none. One round is enough: whoever has
 * credit hands over what is others' until it finds its own. *clogged: there is something for one whose credit in events
 * would do, but not that in bytes; it may fit as soon as another takes what lies on top. */
static struct dispatch_session *ready_session(struct hub_dispatch *dispatch, struct dispatch_inbox *inbox,
                                              bool *clogged)
{
    const struct hub_agency *agency = hub_core_agency_by_number(dispatch->core, inbox->agency);
    struct dispatch_session *first = inbox->sessions, *session = first;
    *clogged = false;
    if (first == NULL || agency == NULL || agency->suspended) {
        return NULL;
    }
    do {
        struct dispatch_heap *heap;
        const struct dispatch_entry *entry =
            session->credit_events > 0 && !session->paused ? dispatch_peek(dispatch, session, &heap) : NULL;
        if (entry != NULL && entry->posting.size <= session->credit_bytes) {
            return session;
        }
        *clogged = *clogged || entry != NULL;
        session = session->next;
    } while (session != first);
    return NULL;
}

uint64_t hub_dispatch_ready(struct hub_dispatch *dispatch, int64_t now_us)
{
    truc_error err = dispatch_advance(dispatch, now_us);
    if (err != TRUC_OK) {
        dispatch->failure = err;
        return 0;
    }
    const struct dispatch_inbox *stop = NULL; /* the first that stays in the queue although nobody is ready */
    while (dispatch->active.first != NULL && dispatch->active.first != stop) {
        struct dispatch_inbox *inbox = dispatch->active.first;
        dispatch->active.first = inbox->active_next;
        if (dispatch->active.first == NULL) {
            dispatch->active.last = NULL;
        }
        inbox->active = false;
        bool clogged;
        struct dispatch_session *session = ready_session(dispatch, inbox, &clogged);
        if (session != NULL) {
            inbox->sessions = session->next;
            dispatch_mark_active(dispatch, inbox);
            return session->session;
        }
        if (clogged) {
            dispatch_mark_active(dispatch, inbox);
            stop = stop == NULL ? inbox : stop;
        }
    }
    return 0;
}

/* ---- questions ------------------------------------------------------------------------------------------------- */

int64_t hub_dispatch_next_us(struct hub_dispatch *dispatch)
{
    if (dispatch->failure != TRUC_OK || dispatch->load.first != NULL) {
        return dispatch->now_us;
    }
    int64_t next = dispatch->wake_us < dispatch->expire_us ? dispatch->wake_us : dispatch->expire_us;
    return dispatch->oldest != NULL && dispatch->oldest->until_us < next ? dispatch->oldest->until_us : next;
}

bool hub_dispatch_in_flight(const struct hub_dispatch *dispatch, uint32_t agency, uint64_t sequence)
{
    const struct dispatch_inbox *inbox = dispatch_inbox_find(dispatch, agency);
    return inbox != NULL && dispatch_sequence_seen(inbox, sequence);
}

size_t hub_dispatch_entries(const struct hub_dispatch *dispatch)
{
    return dispatch->entries;
}
