#include "hub/core/dispatch_internal.h"

#define SLOTS_MIN 64

/* ---- tables: chains through the entries; numbers are dense, so they need no mixing ----------------------------- */

static size_t mix(uint64_t value, uint64_t seed)
{
    value ^= seed;
    value ^= value >> 33;
    value *= UINT64_C(0xff51afd7ed558ccd);
    value ^= value >> 33;
    value *= UINT64_C(0xc4ceb9fe1a85ec53);
    value ^= value >> 33;
    return (size_t)value;
}

static truc_error numbers_grow(struct dispatch_inbox *inbox)
{
    size_t slots = inbox->number_slots == 0 ? SLOTS_MIN : inbox->number_slots * 2;
    struct dispatch_entry **table = calloc(slots, sizeof(struct dispatch_entry *));
    if (table == NULL) {
        return TRUC_E_NOMEM;
    }
    for (size_t i = 0; i < inbox->number_slots; i++) {
        struct dispatch_entry *entry = inbox->by_number[i];
        while (entry != NULL) {
            struct dispatch_entry *next = entry->by_number;
            struct dispatch_entry **slot = &table[entry->posting.number & (slots - 1)];
            entry->by_number = *slot;
            *slot = entry;
            entry = next;
        }
    }
    free(inbox->by_number);
    inbox->by_number = table;
    inbox->number_slots = slots;
    return TRUC_OK;
}

static truc_error sequences_grow(struct dispatch_inbox *inbox)
{
    size_t slots = inbox->sequence_slots == 0 ? SLOTS_MIN : inbox->sequence_slots * 2;
    struct dispatch_entry **table = calloc(slots, sizeof(struct dispatch_entry *));
    if (table == NULL) {
        return TRUC_E_NOMEM;
    }
    for (size_t i = 0; i < inbox->sequence_slots; i++) {
        struct dispatch_entry *entry = inbox->by_sequence[i];
        while (entry != NULL) {
            struct dispatch_entry *next = entry->by_sequence;
            struct dispatch_entry **slot = &table[mix(entry->posting.sequence, 0) & (slots - 1)];
            entry->by_sequence = *slot;
            *slot = entry;
            entry = next;
        }
    }
    free(inbox->by_sequence);
    inbox->by_sequence = table;
    inbox->sequence_slots = slots;
    return TRUC_OK;
}

static truc_error subjects_grow(const struct hub_dispatch *dispatch, struct dispatch_inbox *inbox)
{
    size_t slots = inbox->subject_slots == 0 ? SLOTS_MIN : inbox->subject_slots * 2;
    struct dispatch_subject **table = calloc(slots, sizeof(struct dispatch_subject *));
    if (table == NULL) {
        return TRUC_E_NOMEM;
    }
    for (size_t i = 0; i < inbox->subject_slots; i++) {
        struct dispatch_subject *subject = inbox->by_subject[i];
        while (subject != NULL) {
            struct dispatch_subject *next = subject->chain;
            struct dispatch_subject **slot = &table[mix(subject->subject, dispatch->limits.seed) & (slots - 1)];
            subject->chain = *slot;
            *slot = subject;
            subject = next;
        }
    }
    free(inbox->by_subject);
    inbox->by_subject = table;
    inbox->subject_slots = slots;
    return TRUC_OK;
}

struct dispatch_entry *dispatch_entry_find(const struct dispatch_inbox *inbox, uint64_t number)
{
    if (inbox->number_slots == 0) {
        return NULL;
    }
    struct dispatch_entry *entry = inbox->by_number[number & (inbox->number_slots - 1)];
    while (entry != NULL && entry->posting.number != number) {
        entry = entry->by_number;
    }
    return entry;
}

bool dispatch_sequence_seen(const struct dispatch_inbox *inbox, uint64_t sequence)
{
    if (inbox->sequence_slots == 0) {
        return false;
    }
    const struct dispatch_entry *entry = inbox->by_sequence[mix(sequence, 0) & (inbox->sequence_slots - 1)];
    while (entry != NULL && entry->posting.sequence != sequence) {
        entry = entry->by_sequence;
    }
    return entry != NULL;
}

truc_error dispatch_entry_seen(struct dispatch_inbox *inbox, struct dispatch_entry *entry)
{
    if (entry->seen) {
        return TRUC_OK;
    }
    if (inbox->seen >= inbox->sequence_slots) {
        truc_error err = sequences_grow(inbox);
        if (err != TRUC_OK) {
            return err;
        }
    }
    struct dispatch_entry **slot = &inbox->by_sequence[mix(entry->posting.sequence, 0) & (inbox->sequence_slots - 1)];
    entry->by_sequence = *slot;
    *slot = entry;
    entry->seen = true;
    inbox->seen++;
    return TRUC_OK;
}

static void sequence_forget(struct dispatch_inbox *inbox, struct dispatch_entry *entry)
{
    struct dispatch_entry **at = &inbox->by_sequence[mix(entry->posting.sequence, 0) & (inbox->sequence_slots - 1)];
    while (*at != entry) {
        at = &(*at)->by_sequence;
    }
    *at = entry->by_sequence;
    entry->seen = false;
    inbox->seen--;
}

static void number_forget(struct dispatch_inbox *inbox, struct dispatch_entry *entry)
{
    struct dispatch_entry **at = &inbox->by_number[entry->posting.number & (inbox->number_slots - 1)];
    while (*at != entry) {
        at = &(*at)->by_number;
    }
    *at = entry->by_number;
}

/* ---- subjects -------------------------------------------------------------------------------------------------- */

static struct dispatch_subject **subject_slot(const struct hub_dispatch *dispatch, struct dispatch_inbox *inbox,
                                              uint64_t subject)
{
    return &inbox->by_subject[mix(subject, dispatch->limits.seed) & (inbox->subject_slots - 1)];
}

static struct dispatch_subject *subject_find(const struct hub_dispatch *dispatch, struct dispatch_inbox *inbox,
                                             uint64_t subject)
{
    if (inbox->subject_slots == 0) {
        return NULL;
    }
    struct dispatch_subject *found = *subject_slot(dispatch, inbox, subject);
    while (found != NULL && found->subject != subject) {
        found = found->chain;
    }
    return found;
}

static truc_error subject_open(struct hub_dispatch *dispatch, struct dispatch_inbox *inbox, uint64_t subject,
                               struct dispatch_subject **out)
{
    if (2 * inbox->subjects >= inbox->subject_slots) { /* a walk along a chain is a cache miss at every step */
        truc_error err = subjects_grow(dispatch, inbox);
        if (err != TRUC_OK) {
            return err;
        }
    }
    struct dispatch_subject *made = dispatch_pool_take(&dispatch->subject_pool);
    if (made == NULL) {
        return TRUC_E_NOMEM;
    }
    struct dispatch_subject **slot = subject_slot(dispatch, inbox, subject);
    made->subject = subject;
    made->chain = *slot;
    *slot = made;
    inbox->subjects++;
    *out = made;
    return TRUC_OK;
}

static void subject_close(struct hub_dispatch *dispatch, struct dispatch_inbox *inbox, struct dispatch_subject *subject)
{
    struct dispatch_subject **at = subject_slot(dispatch, inbox, subject->subject);
    while (*at != subject) {
        at = &(*at)->chain;
    }
    *at = subject->chain;
    inbox->subjects--;
    dispatch_pool_give(&dispatch->subject_pool, subject);
}

/* To its place by number: nearly always the end. */
static void subject_insert(struct dispatch_subject *subject, struct dispatch_entry *entry)
{
    struct dispatch_entry *after = subject->tail;
    while (after != NULL && after->posting.number > entry->posting.number) {
        after = after->previous;
    }
    entry->subject = subject;
    entry->previous = after;
    entry->next = after != NULL ? after->next : subject->head;
    *(entry->next != NULL ? &entry->next->previous : &subject->tail) = entry;
    *(after != NULL ? &after->next : &subject->head) = entry;
}

static struct dispatch_entry *past_flight(struct dispatch_entry *entry)
{
    while (entry != NULL && (entry->state == ENTRY_LEASED || entry->state == ENTRY_SETTLING)) {
        entry = entry->next;
    }
    return entry;
}

static void subject_unlink(struct dispatch_subject *subject, struct dispatch_entry *entry)
{
    if (subject->cursor == entry) {
        subject->cursor = past_flight(entry->next);
    }
    *(entry->next != NULL ? &entry->next->previous : &subject->tail) = entry->previous;
    *(entry->previous != NULL ? &entry->previous->next : &subject->head) = entry->next;
}

/* Nothing holds the subject any more: what was kept out of memory is to be looked for. */
static void subject_unspill(struct hub_dispatch *dispatch, struct dispatch_inbox *inbox,
                            struct dispatch_subject *subject)
{
    if (subject->held > 0 || subject->spill_first == 0) {
        return;
    }
    if (subject->spill_first < inbox->scan) {
        inbox->scan = subject->spill_first;
    }
    subject->spill_first = 0;
    inbox->behind = true;
    dispatch_want_load(dispatch, inbox);
}

/* Whatever was spilled has a higher number than all that is in memory; so a number below the tail must come in. */
static bool subject_keeps_out(const struct dispatch_subject *subject, uint64_t number)
{
    return subject->held > 0 && number > subject->tail->posting.number;
}

static void subject_spill(struct dispatch_subject *subject, uint64_t number)
{
    if (subject->spill_first == 0 || number < subject->spill_first) {
        subject->spill_first = number;
    }
}

bool dispatch_comes_before(const struct hub_dispatch *dispatch, struct dispatch_inbox *inbox, uint64_t subject,
                           uint64_t number)
{
    const struct dispatch_subject *found = subject != 0 ? subject_find(dispatch, inbox, subject) : NULL;
    return found != NULL && number < found->tail->posting.number;
}

/* ---- states of an entry ---------------------------------------------------------------------------------------- */

bool dispatch_holds(const struct hub_dispatch *dispatch, const struct hub_posting *posting)
{
    return posting->state == HUB_POSTING_DEAD && posting->subject != 0 && !posting->skip &&
           posting->not_before_us > dispatch->now_us;
}

bool dispatch_entry_expired(const struct hub_dispatch *dispatch, const struct dispatch_entry *entry)
{
    return entry->posting.expires_us > 0 && entry->posting.expires_us <= dispatch->now_us;
}

bool dispatch_entry_ready(const struct hub_dispatch *dispatch, const struct dispatch_entry *entry)
{
    return entry->state == ENTRY_WAITING && entry->posting.not_before_us <= dispatch->now_us &&
           !dispatch_entry_expired(dispatch, entry) && (entry->subject == NULL || entry->subject->cursor == entry);
}

/* Whatever its state kept up is let go; the caller gives it the next one. */
static void leave_state(struct hub_dispatch *dispatch, struct dispatch_inbox *inbox, struct dispatch_entry *entry)
{
    switch (entry->state) {
    case ENTRY_LEASED:
        dispatch_frame_drop(dispatch, entry);
        if (entry->subject != NULL) {
            entry->subject->in_flight--;
        }
        break;
    case ENTRY_SETTLING:
        if (entry->subject != NULL) {
            entry->subject->in_flight--;
        }
        break;
    case ENTRY_HELD:
        entry->subject->held--;
        inbox->held--;
        break;
    case ENTRY_WAITING:
    case ENTRY_RETURNING:
        break;
    }
}

void dispatch_entry_step_back(struct hub_dispatch *dispatch, struct dispatch_entry *entry)
{
    struct dispatch_subject *subject = entry->subject;
    if (subject == NULL || (subject->cursor != NULL && subject->cursor->posting.number <= entry->posting.number)) {
        return;
    }
    for (struct dispatch_entry *later = entry->next; later != subject->cursor; later = later->next) {
        if (later->state == ENTRY_LEASED) {
            dispatch_frame_drop(dispatch, later);
            subject->in_flight--;
            later->state = ENTRY_WAITING;
        }
    }
    subject->cursor = entry;
}

void dispatch_entry_return(struct hub_dispatch *dispatch, struct dispatch_entry *entry)
{
    dispatch_frame_drop(dispatch, entry);
    if (entry->subject != NULL) {
        entry->subject->in_flight--;
    }
    entry->state = ENTRY_RETURNING;
}

void dispatch_entry_settling(struct hub_dispatch *dispatch, struct dispatch_entry *entry)
{
    dispatch_frame_drop(dispatch, entry);
    entry->state = ENTRY_SETTLING;
}

truc_error dispatch_entry_lease(struct hub_dispatch *dispatch, struct dispatch_inbox *inbox,
                                struct dispatch_entry *entry, struct dispatch_frame *frame)
{
    truc_error err = dispatch_entry_seen(inbox, entry);
    if (err != TRUC_OK) {
        return err;
    }
    entry->state = ENTRY_LEASED;
    entry->frame = frame;
    entry->frame_next = NULL;
    entry->frame_previous = frame->last;
    *(frame->last != NULL ? &frame->last->frame_next : &frame->first) = entry;
    frame->last = entry;
    frame->count++;
    struct dispatch_subject *subject = entry->subject;
    if (subject == NULL) {
        return TRUC_OK;
    }
    subject->holder = frame->session->session;
    subject->in_flight++;
    subject->cursor = past_flight(entry->next);
    if (subject->cursor != NULL && dispatch_entry_ready(dispatch, subject->cursor)) {
        return dispatch_push_ready(dispatch, inbox, subject->cursor->posting.number);
    }
    return TRUC_OK;
}

/* Out of every list and table but the heaps, which notice by themselves. The state was left before. */
static void forget(struct hub_dispatch *dispatch, struct dispatch_inbox *inbox, struct dispatch_entry *entry)
{
    if (entry->subject != NULL) {
        subject_unlink(entry->subject, entry);
    }
    if (entry->seen) {
        sequence_forget(inbox, entry);
    }
    number_forget(inbox, entry);
    inbox->entries--;
    dispatch->entries--;
    dispatch_pool_give(&dispatch->entry_pool, entry);
}

truc_error dispatch_entry_remove(struct hub_dispatch *dispatch, struct dispatch_inbox *inbox,
                                 struct dispatch_entry *entry)
{
    struct dispatch_subject *subject = entry->subject;
    leave_state(dispatch, inbox, entry);
    const struct dispatch_entry *cursor = subject != NULL ? subject->cursor : NULL;
    bool in_flight = entry->state == ENTRY_LEASED || entry->state == ENTRY_SETTLING;
    forget(dispatch, inbox, entry);
    truc_error err = TRUC_OK;
    if (subject != NULL) {
        subject_unspill(dispatch, inbox, subject);
        bool freed = subject->cursor != cursor || (in_flight && subject->in_flight == 0);
        if (subject->head == NULL) {
            subject_close(dispatch, inbox, subject);
        } else if (freed && subject->cursor != NULL && dispatch_entry_ready(dispatch, subject->cursor)) {
            err = dispatch_push_ready(dispatch, inbox, subject->cursor->posting.number);
        }
    }
    dispatch_want_load(dispatch, inbox);
    return err;
}

/* Behind a held one only those stay in memory that a session may have seen. */
static void evict_behind(struct hub_dispatch *dispatch, struct dispatch_inbox *inbox, struct dispatch_entry *held)
{
    struct dispatch_subject *subject = held->subject;
    while (subject->tail != held && subject->tail->posting.number > held->posting.number &&
           subject->tail->state == ENTRY_WAITING && !subject->tail->seen) {
        subject_spill(subject, subject->tail->posting.number);
        forget(dispatch, inbox, subject->tail);
    }
}

truc_error dispatch_entry_place(struct hub_dispatch *dispatch, struct dispatch_inbox *inbox,
                                struct dispatch_entry *entry, const struct hub_posting *posting)
{
    struct dispatch_subject *subject = entry->subject;
    bool bound = subject != NULL && subject->in_flight > 0;
    leave_state(dispatch, inbox, entry);
    bool freed = bound && subject->in_flight == 0;
    bool expiry_moved = entry->posting.expires_us != posting->expires_us;
    entry->posting = *posting;
    entry->state = ENTRY_WAITING;
    dispatch_entry_step_back(dispatch, entry);
    truc_error err = TRUC_OK;
    if (posting->state == HUB_POSTING_DEAD) {
        entry->state = ENTRY_HELD;
        subject->held++;
        inbox->held++;
        evict_behind(dispatch, inbox, entry);
    }
    if (posting->not_before_us > dispatch->now_us) {
        err = dispatch_push_wake(dispatch, inbox, posting->not_before_us, posting->number);
    }
    if (err == TRUC_OK && expiry_moved && posting->expires_us > 0) {
        err = dispatch_push_expiry(dispatch, inbox, posting->expires_us, posting->number);
    }
    struct dispatch_entry *next = freed ? subject->cursor : NULL;
    if (err == TRUC_OK && dispatch_entry_ready(dispatch, entry)) {
        err = dispatch_push_ready(dispatch, inbox, posting->number);
    } else if (err == TRUC_OK && next != NULL && dispatch_entry_ready(dispatch, next)) {
        err = dispatch_push_ready(dispatch, inbox, next->posting.number);
    }
    if (subject != NULL) {
        subject_unspill(dispatch, inbox, subject);
    }
    dispatch_want_load(dispatch, inbox);
    return err;
}

truc_error dispatch_entry_add(struct hub_dispatch *dispatch, struct dispatch_inbox *inbox,
                              const struct hub_posting *posting)
{
    if (posting->state != HUB_POSTING_PENDING && !dispatch_holds(dispatch, posting)) {
        return TRUC_OK;
    }
    struct dispatch_subject *subject = NULL;
    truc_error err;
    if (posting->subject != 0) {
        subject = subject_find(dispatch, inbox, posting->subject);
        if (subject != NULL && subject_keeps_out(subject, posting->number)) {
            subject_spill(subject, posting->number);
            return TRUC_OK;
        }
    }
    if (inbox->entries >= inbox->number_slots) {
        err = numbers_grow(inbox);
        if (err != TRUC_OK) {
            return err;
        }
    }
    struct dispatch_entry *entry = dispatch_pool_take(&dispatch->entry_pool);
    if (entry == NULL) {
        return TRUC_E_NOMEM;
    }
    if (posting->subject != 0 && subject == NULL) {
        err = subject_open(dispatch, inbox, posting->subject, &subject);
        if (err != TRUC_OK) {
            dispatch_pool_give(&dispatch->entry_pool, entry);
            return err;
        }
    }
    entry->posting.number = posting->number;
    struct dispatch_entry **slot = &inbox->by_number[posting->number & (inbox->number_slots - 1)];
    entry->by_number = *slot;
    *slot = entry;
    inbox->entries++;
    dispatch->entries++;
    if (subject != NULL) {
        subject_insert(subject, entry);
    }
    return dispatch_entry_place(dispatch, inbox, entry, posting);
}
