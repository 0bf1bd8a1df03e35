/* Deliveries that are with the application, and its answers on their way to the hub. */
#include "adapters/client/session_internal.h"

#define RANGES_PER_FRAME 1000
#define SETTLED_MAX 65536u /* numbers in one range: the most credit there can be */
#define NOTE_MAX 200u
/* Rows of STORE_HANDLED that stay below the floor, in inbox numbers. What is left there was acked here and never
 * settled: its SETTLED was lost, or the hub never heard the ack and has made a dead letter of it meanwhile. Such a one
 * may be requeued, and must not reach the application twice. */
#define HANDLED_KEPT (UINT64_C(1) << 18)

/* Eight neighbours in the inbox lie side by side, since they come, are answered and go one after the other. The eights
 * are scattered. */
static size_t place_of(const struct lease_table *table, uint64_t number)
{
    const uint64_t eights = ((number >> 3) * UINT64_C(0x9e3779b97f4a7c15)) >> 32;
    return (size_t)(eights << 3 | (number & 7)) & (table->capacity - 1);
}

struct lease *session_lease_find(struct lease_table *table, uint64_t number)
{
    if (table->capacity == 0 || number == 0) {
        return NULL;
    }
    for (size_t i = place_of(table, number); table->slots[i].number != 0; i = (i + 1) & (table->capacity - 1)) {
        if (table->slots[i].number == number) {
            return &table->slots[i];
        }
    }
    return NULL;
}

static struct lease *take_place(struct lease_table *table, uint64_t number)
{
    size_t i = place_of(table, number);
    while (table->slots[i].number != 0) {
        i = (i + 1) & (table->capacity - 1);
    }
    table->count++;
    table->slots[i].number = number;
    return &table->slots[i];
}

struct lease *session_lease_add(struct lease_table *table, uint64_t number)
{
    if ((table->count + 1) * 2 > table->capacity) {
        struct lease_table larger = {.capacity = table->capacity == 0 ? 256 : table->capacity * 2};
        larger.slots = calloc(larger.capacity, sizeof *larger.slots);
        if (larger.slots == NULL) {
            return NULL;
        }
        for (size_t i = 0; i < table->capacity; i++) {
            if (table->slots[i].number != 0) {
                *take_place(&larger, table->slots[i].number) = table->slots[i];
            }
        }
        free(table->slots);
        *table = larger;
    }
    return take_place(table, number);
}

/* Those behind move up, so that no search ends too early. */
void session_lease_remove(struct lease_table *table, uint64_t number)
{
    struct lease *found = session_lease_find(table, number);
    if (found == NULL) {
        return;
    }
    const size_t mask = table->capacity - 1;
    size_t hole = (size_t)(found - table->slots);
    for (size_t i = (hole + 1) & mask; table->slots[i].number != 0; i = (i + 1) & mask) {
        size_t home = place_of(table, table->slots[i].number);
        if (((i - home) & mask) >= ((i - hole) & mask)) {
            table->slots[hole] = table->slots[i];
            hole = i;
        }
    }
    table->slots[hole] = (struct lease){0};
    table->count--;
}

void session_close_lease(struct client_session *s, struct lease *lease, enum lease_state state)
{
    if (lease->state == LEASE_OPEN) {
        s->open_events--;
        s->open_bytes -= lease->size;
    }
    lease->state = (uint8_t)state;
}

static truc_error grow_acks(struct client_session *s)
{
    size_t capacity = s->ack_capacity == 0 ? 64 : s->ack_capacity * 2;
    Truc__V1__AckRange *acks = realloc(s->acks, capacity * sizeof *acks);
    if (acks == NULL) {
        return TRUC_E_NOMEM;
    }
    s->acks = acks;
    uint64_t *marks = realloc(s->ack_marks, capacity * sizeof *marks);
    if (marks == NULL) {
        return TRUC_E_NOMEM;
    }
    s->ack_marks = marks;
    s->ack_capacity = capacity;
    return TRUC_OK;
}

truc_error session_queue_ack(struct client_session *s, uint64_t lease, uint64_t number)
{
    const uint64_t mark = session_mark(s);
    Truc__V1__AckRange *last = s->ack_count > 0 ? &s->acks[s->ack_count - 1] : NULL;
    if (last != NULL && s->ack_marks[s->ack_count - 1] == mark && last->lease == lease &&
        last->first + last->count == number) {
        last->count++;
        return TRUC_OK;
    }
    if (s->ack_count == s->ack_capacity) {
        truc_error error = grow_acks(s);
        if (error != TRUC_OK) {
            return error;
        }
    }
    s->ack_marks[s->ack_count] = mark;
    Truc__V1__AckRange *range = &s->acks[s->ack_count++];
    truc__v1__ack_range__init(range);
    range->lease = lease;
    range->first = number;
    range->count = 1;
    return TRUC_OK;
}

truc_error client_session_ack(struct client_session *s, uint64_t number)
{
    struct lease *lease = session_lease_find(&s->leases, number);
    if (lease == NULL || lease->state == LEASE_ACKED) {
        return TRUC_E_NOT_FOUND;
    }
    uint8_t row[8];
    store_put_u64(row, lease->sequence);
    truc_error error =
        s->store.put(s->store.context, STORE_HANDLED, number, truc_bytes(row, sizeof row), truc_bytes(NULL, 0));
    if (error == TRUC_OK && lease->receipt_wanted) {
        error = session_owe(s, lease, TRUC__V1__DELIVERY_RECEIPTS__OUTCOME__PROCESSED);
    }
    if (error != TRUC_OK) {
        return error;
    }
    s->urgent = true;
    s->due = true;
    if (lease->state == LEASE_VOID) {
        session_lease_remove(&s->leases, number); /* it comes again, and is then answered from the store */
        return TRUC_OK;
    }
    session_close_lease(s, lease, LEASE_ACKED);
    return session_queue_ack(s, lease->id, number);
}

/* `wait`: until what was written by now is durable. */
static truc_error push_nack(struct client_session *s, uint64_t lease, uint64_t number, uint32_t delay_ms,
                            const char *note, bool reject, bool wait)
{
    char text[NOTE_MAX + 1] = "";
    size_t size = note != NULL ? strnlen(note, NOTE_MAX + 1) : 0;
    if (size > NOTE_MAX) { /* cut between characters */
        size = NOTE_MAX;
        while (size > 0 && ((unsigned char)note[size] & 0xc0) == 0x80) {
            size--;
        }
    }
    if (size > 0) {
        memcpy(text, note, size);
        text[size] = '\0';
    }
    Truc__V1__Nack nack = TRUC__V1__NACK__INIT;
    nack.lease = lease;
    nack.number = number;
    nack.delay_ms = delay_ms;
    nack.note = text;
    nack.reject = reject;
    s->due = true;
    if (!wait) {
        return session_push(s, TRUC_FRAME_NACK, &nack.base, NULL);
    }
    return client_outbox_push_later(&s->later, TRUC_FRAME_NACK, &nack.base, session_mark(s));
}

truc_error session_send_nack(struct client_session *s, uint64_t lease, uint64_t number, uint32_t delay_ms,
                             const char *note)
{
    return push_nack(s, lease, number, delay_ms, note, false, false);
}

/* The later events of the subject will come again behind the nacked one: those with the application and those that lie
 * here unread lose their lease. */
static truc_error take_back_later(struct client_session *s, uint64_t subject, uint64_t number, uint64_t id)
{
    if (s->taken_back_count == s->taken_back_capacity) { /* at most one for each subject that was open */
        size_t capacity = s->taken_back_capacity == 0 ? 16 : s->taken_back_capacity * 2;
        struct taken_back *more = realloc(s->taken_back, capacity * sizeof *more);
        if (more == NULL) {
            return TRUC_E_NOMEM;
        }
        s->taken_back = more;
        s->taken_back_capacity = capacity;
    }
    s->taken_back[s->taken_back_count++] = (struct taken_back){subject, number, id, UINT64_MAX};
    uint64_t *stale = calloc((size_t)s->open_events + 1, sizeof *stale);
    if (stale == NULL) {
        return TRUC_E_NOMEM;
    }
    size_t count = 0;
    for (size_t i = 0; i < s->leases.capacity; i++) {
        struct lease *lease = &s->leases.slots[i];
        if (lease->number > number && lease->subject == subject && lease->state == LEASE_OPEN) {
            session_close_lease(s, lease, LEASE_VOID);
            stale[count++] = lease->number;
        }
    }
    for (size_t i = 0; i < count && s->callbacks.on_stale != NULL; i++) {
        s->callbacks.on_stale(s->callbacks.context, stale[i]);
    }
    free(stale);
    return TRUC_OK;
}

/* A reject takes the later ones along as a nack does: a dead letter holds its subject back, or by grant is skipped, and
 * the hub decides that anew for each of them. */
static truc_error give_back(struct client_session *s, uint64_t number, uint32_t delay_ms, const char *note, bool reject)
{
    struct lease *lease = session_lease_find(&s->leases, number);
    if (lease == NULL || lease->state != LEASE_OPEN) {
        return TRUC_E_NOT_FOUND;
    }
    truc_error error = TRUC_OK;
    if (reject && lease->receipt_wanted) {
        error = session_owe(s, lease, TRUC__V1__DELIVERY_RECEIPTS__OUTCOME__REFUSED);
    }
    if (error == TRUC_OK) {
        error = push_nack(s, lease->id, number, delay_ms, note, reject, reject && lease->receipt_wanted);
    }
    if (error != TRUC_OK) {
        return error;
    }
    const uint64_t subject = lease->subject, id = lease->id;
    session_close_lease(s, lease, LEASE_VOID);
    session_lease_remove(&s->leases, number);
    return subject != 0 ? take_back_later(s, subject, number, id) : TRUC_OK;
}

truc_error client_session_nack(struct client_session *s, uint64_t number, uint32_t delay_ms, const char *note)
{
    return give_back(s, number, delay_ms, note, false);
}

truc_error client_session_reject(struct client_session *s, uint64_t number, const char *note)
{
    return give_back(s, number, 0, note, true);
}

/* A settled number never comes again. */
static truc_error tell_settled(struct client_session *s, uint64_t first, uint32_t run)
{
    truc_error error = s->store.drop(s->store.context, STORE_HANDLED, first, first + run - 1);
    if (error == TRUC_OK && s->callbacks.on_settled != NULL) {
        s->callbacks.on_settled(s->callbacks.context, first, run);
    }
    return error;
}

static truc_error settle_range(struct client_session *s, const Truc__V1__AckRange *range)
{
    uint64_t first = 0;
    uint32_t run = 0;
    for (uint32_t i = 0; i <= range->count; i++) {
        struct lease *lease = i < range->count ? session_lease_find(&s->leases, range->first + i) : NULL;
        if (lease != NULL && lease->state == LEASE_ACKED && lease->id == range->lease) {
            session_lease_remove(&s->leases, range->first + i);
            first = run == 0 ? range->first + i : first;
            run++;
        } else if (run > 0) {
            truc_error error = tell_settled(s, first, run);
            if (error != TRUC_OK) {
                return error;
            }
            run = 0;
        }
    }
    return TRUC_OK;
}

/* What was acked stays remembered: when it comes again the client answers. What is open was taken back by the hub. */
static void lose_range(struct client_session *s, const Truc__V1__AckRange *range)
{
    for (uint32_t i = 0; i < range->count; i++) {
        uint64_t number = range->first + i;
        struct lease *lease = session_lease_find(&s->leases, number);
        if (lease == NULL || lease->id != range->lease) {
            continue;
        }
        if (lease->state == LEASE_ACKED) {
            session_lease_remove(&s->leases, number);
        } else if (lease->state == LEASE_OPEN) {
            session_close_lease(s, lease, LEASE_VOID);
            if (s->callbacks.on_stale != NULL) {
                s->callbacks.on_stale(s->callbacks.context, number);
            }
        }
    }
}

/* The hub has taken the nack: what it sent before is void, what it sends from now on was given out after that. Or the
 * nack came too late, and took nothing back. */
static void answer_taken_back(struct client_session *s, const Truc__V1__AckRange *range, bool stale)
{
    for (size_t i = 0; i < s->taken_back_count; i++) {
        struct taken_back *entry = &s->taken_back[i];
        if (entry->until_frame == UINT64_MAX && entry->lease == range->lease && entry->number >= range->first &&
            entry->number - range->first < range->count) {
            entry->until_frame = stale ? 0 : s->frame;
        }
    }
}

truc_error session_on_settled(struct client_session *s, const Truc__V1__Settled *settled)
{
    for (size_t i = 0; i < settled->n_ranges + settled->n_stale; i++) {
        const Truc__V1__AckRange *range =
            i < settled->n_ranges ? settled->ranges[i] : settled->stale[i - settled->n_ranges];
        if (range->count > SETTLED_MAX || range->first > UINT64_MAX - range->count) {
            return session_drop_link(s, TRUC_E_MALFORMED, "the hub settled more than there can be", false);
        }
        answer_taken_back(s, range, i >= settled->n_ranges);
        if (i >= settled->n_ranges) {
            lose_range(s, range);
            continue;
        }
        truc_error error = settle_range(s, range);
        if (error != TRUC_OK) {
            return error;
        }
    }
    for (size_t i = 0; i < settled->n_subscriptions; i++) {
        truc_error error = session_on_subscribed(s, settled->subscriptions[i], false);
        if (error != TRUC_OK) {
            return error;
        }
    }
    for (size_t i = 0; i < settled->n_refused_subscriptions; i++) {
        truc_error error = session_on_subscribed(s, settled->refused_subscriptions[i], true);
        if (error != TRUC_OK) {
            return error;
        }
    }
    return session_resume_held(s); /* those that waited for one of these */
}

/* Numbers up to the floor are settled or dead; only a dead one that is requeued comes again. Leases that were void are
 * looked through only when they have become many. */
truc_error session_on_floor(struct client_session *s, uint64_t floor)
{
    if (floor <= s->floor) {
        return TRUC_OK;
    }
    truc_error error =
        floor > HANDLED_KEPT ? s->store.drop(s->store.context, STORE_HANDLED, 0, floor - HANDLED_KEPT) : TRUC_OK;
    if (error != TRUC_OK) {
        return error;
    }
    s->floor = floor;
    if (s->leases.count <= 2 * (size_t)s->window_events + s->open_events) {
        return TRUC_OK;
    }
    for (size_t i = 0; i < s->leases.capacity;) {
        const struct lease *lease = &s->leases.slots[i];
        if (lease->number != 0 && lease->number <= floor && lease->state != LEASE_OPEN) {
            session_lease_remove(&s->leases, lease->number); /* another one may have moved here: look again */
        } else {
            i++;
        }
    }
    return TRUC_OK;
}

void session_void_leases(struct client_session *s)
{
    for (size_t i = 0; i < s->leases.capacity;) {
        struct lease *lease = &s->leases.slots[i];
        if (lease->number != 0 && lease->state == LEASE_ACKED) {
            session_lease_remove(&s->leases, lease->number);
            continue;
        }
        i++;
    }
    /* A callback may ack what it has just lost, which moves places: begin again after each. */
    for (size_t i = 0; i < s->leases.capacity && s->open_events > 0; i++) {
        struct lease *lease = &s->leases.slots[i];
        if (lease->number != 0 && lease->state == LEASE_OPEN) {
            uint64_t number = lease->number;
            session_close_lease(s, lease, LEASE_VOID);
            if (s->callbacks.on_stale != NULL) {
                size_t before = s->leases.count;
                s->callbacks.on_stale(s->callbacks.context, number);
                i = s->leases.count != before ? SIZE_MAX : i;
            }
        }
    }
}

void client_session_receive(struct client_session *s, bool on)
{
    s->receiving = on;
    s->due = true;
}

/* Those that are durable here. A range that ends where the next begins is made one with it: their marks were what
 * parted them. */
static truc_error send_acks(struct client_session *s)
{
    Truc__V1__AckRange *ranges[RANGES_PER_FRAME];
    size_t at = 0;
    while (at < s->ack_count && s->ack_marks[at] <= s->synced) {
        Truc__V1__Ack ack = TRUC__V1__ACK__INIT;
        ack.ranges = ranges;
        while (at < s->ack_count && s->ack_marks[at] <= s->synced && ack.n_ranges < RANGES_PER_FRAME) {
            Truc__V1__AckRange *range = &s->acks[at++], *last = ack.n_ranges > 0 ? ranges[ack.n_ranges - 1] : NULL;
            if (last != NULL && last->lease == range->lease && last->first + last->count == range->first) {
                last->count += range->count;
            } else {
                ranges[ack.n_ranges++] = range;
            }
        }
        truc_error error = session_push(s, TRUC_FRAME_ACK, &ack.base, NULL);
        if (error != TRUC_OK) {
            return error;
        }
    }
    if (at == 0) {
        return TRUC_OK; /* there may be no array yet */
    }
    s->ack_count -= at;
    memmove(s->acks, s->acks + at, s->ack_count * sizeof *s->acks);
    memmove(s->ack_marks, s->ack_marks + at, s->ack_count * sizeof *s->ack_marks);
    return TRUC_OK;
}

static truc_error send_later(struct client_session *s)
{
    struct client_outgoing *message;
    while ((message = client_outbox_peek(&s->later)) != NULL && message->mark <= s->synced) {
        s->said_us = s->now_us;
        truc_error error = client_outbox_move(&s->later, &s->outbox);
        if (error != TRUC_OK) {
            return error;
        }
    }
    return TRUC_OK;
}

/* The window is what the hub has as credit, what waits here and what is with the application; the rest may be given. */
static truc_error give_credit(struct client_session *s)
{
    uint64_t events = s->credit_events + s->open_events + s->held_events;
    uint64_t bytes = s->credit_bytes + s->open_bytes + s->held_bytes;
    events = events < s->window_events ? s->window_events - events : 0;
    bytes = bytes < s->window_bytes ? s->window_bytes - bytes : 0;
    /* A full disk takes no acks: what would be delivered could not be answered. */
    if (!s->receiving || s->full || (events == 0 && bytes == 0)) {
        s->credit_at_us = INT64_MAX;
        return TRUC_OK;
    }
    bool much = events * 2 >= s->window_events || bytes * 2 >= s->window_bytes;
    if (!much && s->now_us < s->credit_at_us) {
        s->credit_at_us = s->credit_at_us == INT64_MAX ? s->now_us + CREDIT_FLUSH : s->credit_at_us;
        return TRUC_OK;
    }
    Truc__V1__Credit credit = TRUC__V1__CREDIT__INIT;
    credit.events = (uint32_t)events;
    credit.bytes = bytes;
    s->credit_events += events;
    s->credit_bytes += bytes;
    s->credit_at_us = INT64_MAX;
    return session_push(s, TRUC_FRAME_CREDIT, &credit.base, NULL);
}

truc_error session_answer_durable(struct client_session *s)
{
    truc_error error = send_acks(s);
    return error == TRUC_OK ? send_later(s) : error;
}

truc_error session_answer(struct client_session *s)
{
    truc_error error = session_answer_durable(s);
    return error == TRUC_OK ? give_credit(s) : error;
}
