/* From the application's events to sealed frames.
 *
 *   submit -> store -> fill (the next seal) -> flight (signed; sent, perhaps more than once) -> receipt -> gone
 *
 * Tickets grow along that way: flights, fill, store's rest. While the store holds more than fill can take, `fill_from`
 * says where to read on. A rewind puts flights back simply by reading from their first ticket again. */
#include "adapters/client/session_internal.h"

/* The counter is written once for many tickets, and long before the first of them is given: a ticket that was given is
 * never given again, also where the crash took the event along. */
#define TICKETS_AHEAD (UINT64_C(1) << 20)

truc_error session_new_chain(struct client_session *s)
{
    s->chain_number = 0;
    return s->random(s->chain, sizeof s->chain);
}

static bool fits(const struct client_session *s, size_t size)
{
    return s->fill->count == 0 ||
           (s->fill->count < s->seal_events && s->fill->body->bytes.size + 4 + size <= s->seal_bytes);
}

static truc_error fill_append(struct client_session *s, uint64_t ticket, uint8_t whose, struct truc_bytes event)
{
    struct flight *fill = s->fill;
    if (fill->count == 0) {
        truc_error error = client_body_renew(&fill->body);
        if (error != TRUC_OK) {
            return error;
        }
        fill->mark = 0;
    }
    if (whose != STORE_EVENT_OURS) {
        fill->mark = session_mark(s);
    }
    truc_error error = truc_body_append(&fill->body->bytes, event);
    if (error == TRUC_OK) {
        truc_leaf_hash(&s->leaves[fill->count], event);
        fill->tickets[fill->count] = ticket;
        fill->whose[fill->count] = whose;
        fill->count++;
    }
    return error;
}

/* Takes what the store holds beyond fill, as far as fill has room. */
static truc_error refill(struct client_session *s)
{
    while (s->fill_from != UINT64_MAX) {
        uint64_t ticket = s->fill_from;
        struct truc_bytes row;
        truc_error error = s->store.next(s->store.context, STORE_EVENTS, &ticket, &row);
        if (error == TRUC_E_NOT_FOUND) {
            s->fill_from = UINT64_MAX;
            return TRUC_OK;
        }
        if (error != TRUC_OK) {
            return error;
        }
        if (row.size < 1) {
            return TRUC_E_CORRUPT;
        }
        if (!fits(s, row.size - 1)) {
            return TRUC_OK;
        }
        error = fill_append(s, ticket, row.data[0], truc_bytes(row.data + 1, row.size - 1));
        if (error != TRUC_OK) {
            return error;
        }
        s->fill_from = ticket + 1;
    }
    return TRUC_OK;
}

truc_error session_raise_tickets(struct client_session *s)
{
    truc_error error = session_meta_put_u64(s, META_NEXT_TICKET, s->next_ticket + TICKETS_AHEAD);
    if (error == TRUC_OK) {
        s->ticket_ceiling = s->next_ticket + TICKETS_AHEAD;
        s->ceiling_mark = session_mark(s);
        s->ticket_safe = s->store.mark == NULL ? s->ticket_ceiling : s->ticket_safe;
    }
    return error;
}

/* `event` was read: it is one, from `source`. */
static truc_error take(struct client_session *s, struct truc_bytes event, struct truc_bytes source, uint8_t whose,
                       uint64_t *ticket)
{
    truc_error error;
    if (!truc_bytes_equal(truc_source_agency(source), truc_bytes_of(s->agency))) {
        return TRUC_E_MALFORMED;
    }
    if (s->next_ticket + TICKETS_AHEAD / 2 >= s->ticket_ceiling) {
        error = session_raise_tickets(s);
        if (error != TRUC_OK) {
            return error;
        }
    }
    if (s->next_ticket >= s->ticket_safe) {
        return TRUC_E_FULL; /* half a million events handed over during one sync */
    }
    error = s->store.put(s->store.context, STORE_EVENTS, s->next_ticket, truc_bytes(&whose, 1), event);
    if (error != TRUC_OK) {
        return error;
    }
    *ticket = s->next_ticket++;
    s->pending++;
    s->due = true;
    if (s->fill_from != UINT64_MAX) {
        return TRUC_OK; /* others wait in the store before it */
    }
    if (!fits(s, event.size)) {
        s->fill_from = *ticket;
        return TRUC_OK;
    }
    return fill_append(s, *ticket, whose, event);
}

truc_error client_session_submit(struct client_session *s, struct truc_bytes event, uint8_t whose, uint64_t *ticket)
{
    struct truc_event parsed;
    truc_error error = event.size > TRUC_EVENT_MAX ? TRUC_E_TOO_LARGE : truc_event_parse(event, &parsed);
    return error == TRUC_OK ? take(s, event, parsed.source, whose, ticket) : error;
}

truc_error client_session_submit_event(struct client_session *s, const struct truc_event *event, uint8_t whose,
                                       uint64_t *ticket)
{
    struct truc_event read;
    truc_buffer_clear(&s->encoded);
    truc_error error = truc_event_encode_read(event, &s->encoded, &read);
    return error == TRUC_OK ? take(s, truc_buffer_view(&s->encoded), read.source, whose, ticket) : error;
}

uint64_t client_session_pending(const struct client_session *s)
{
    return s->pending;
}

static truc_error sign_fill(struct client_session *s)
{
    struct flight *fill = s->fill;
    struct truc_seal seal = {.number = s->chain_number + 1, .count = fill->count, .sealed_at_us = s->wall_us};
    memcpy(seal.origin, s->origin, strlen(s->origin) + 1);
    memcpy(seal.sender, s->agency, strlen(s->agency) + 1);
    memcpy(seal.keyid, truc_key_id(s->key), TRUC_KEYID_HEX + 1);
    memcpy(seal.chain, s->chain, sizeof seal.chain);
    seal.has_previous = s->chain_number > 0 || s->has_head;
    if (seal.has_previous) {
        seal.previous = s->chain_number > 0 ? s->chain_last : s->head;
    }
    truc_merkle_root(s->leaves, fill->count, &seal.root);
    truc_buffer_clear(&fill->envelope);
    truc_error error = truc_seal_sign(&seal, s->key, &fill->envelope, &fill->digest);
    if (error != TRUC_OK) {
        return error;
    }
    fill->number = seal.number;
    fill->sent = false;
    fill->order = ++s->next_order;
    memcpy(fill->chain, s->chain, sizeof fill->chain);
    s->chain_number = seal.number;
    s->chain_last = fill->digest;
    return TRUC_OK;
}

static truc_error send_flights(struct client_session *s)
{
    uint64_t bytes = 0;
    for (uint32_t i = 0; i < s->flight_count; i++) {
        struct flight *flight = s->flights[i];
        bytes += flight->body->bytes.size;
        if (bytes > s->session_bytes && i > 0) {
            return TRUC_OK; /* the hub would refuse it as OVERLOADED */
        }
        if (flight->mark > s->synced) {
            return TRUC_OK; /* and those behind it: the chain's order */
        }
        if (!flight->sent) {
            Truc__V1__Submit submit = TRUC__V1__SUBMIT__INIT;
            submit.envelope = (ProtobufCBinaryData){flight->envelope.size, flight->envelope.data};
            truc_error error = session_push(s, TRUC_FRAME_SUBMIT, &submit.base, flight->body);
            if (error != TRUC_OK) {
                return error;
            }
            flight->sent = true;
        }
    }
    return TRUC_OK;
}

/* While all flights are under way the next seal fills; an idle client seals a single event at once. */
truc_error session_seal(struct client_session *s)
{
    if (s->holding) {
        return TRUC_OK;
    }
    truc_error error = refill(s);
    while (error == TRUC_OK && s->flight_count < s->flight_max && s->fill->count > 0) {
        error = sign_fill(s);
        if (error != TRUC_OK) {
            return error;
        }
        struct flight *idle = s->flights[s->flight_count];
        s->flights[s->flight_count++] = s->fill;
        s->fill = idle;
        s->fill->count = 0;
        error = refill(s);
    }
    return error == TRUC_OK ? send_flights(s) : error;
}

truc_error session_rewind(struct client_session *s, uint32_t from)
{
    if (from < s->flight_count) {
        s->fill_from = s->flights[from]->tickets[0];
    } else if (s->fill->count > 0) {
        s->fill_from = s->fill->tickets[0];
    }
    s->flight_count = from < s->flight_count ? from : s->flight_count;
    s->fill->count = 0;
    return session_new_chain(s);
}

void session_unsend(struct client_session *s)
{
    for (uint32_t i = 0; i < s->flight_count; i++) {
        s->flights[i]->sent = false;
    }
}

static void free_flight(struct flight *flight)
{
    if (flight != NULL) {
        client_body_release(&flight->body);
        truc_buffer_close(&flight->envelope);
        free(flight);
    }
}

void session_submit_close(struct client_session *s)
{
    for (uint32_t i = 0; s->flights != NULL && i < s->flight_max; i++) {
        free_flight(s->flights[i]);
    }
    free(s->flights);
    free_flight(s->fill);
    truc_buffer_close(&s->encoded);
}
