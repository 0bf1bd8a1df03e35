/* A session from what the store holds, and its end. */
#include "adapters/client/session_internal.h"

/* A store belongs to one agency of one log for ever: its tickets, chain head and checkpoint mean nothing elsewhere. */
static truc_error load_identity(struct client_session *s)
{
    char identity[TRUC_ORIGIN_MAX + TRUC_AGENCY_MAX + 2];
    size_t origin = strlen(s->origin) + 1, agency = strlen(s->agency);
    memcpy(identity, s->origin, origin);
    memcpy(identity + origin, s->agency, agency);
    struct truc_bytes mine = truc_bytes(identity, origin + agency), row;
    truc_error error = s->store.get(s->store.context, STORE_META, META_IDENTITY, &row);
    if (error == TRUC_OK) {
        return truc_bytes_equal(row, mine) ? TRUC_OK : TRUC_E_UNKNOWN_KEY;
    }
    return error == TRUC_E_NOT_FOUND ? session_meta_put(s, META_IDENTITY, mine) : error;
}

static truc_error load_instance(struct client_session *s)
{
    struct truc_bytes row;
    truc_error error = s->store.get(s->store.context, STORE_META, META_INSTANCE, &row);
    if (error == TRUC_OK) {
        if (row.size != sizeof s->instance) {
            return TRUC_E_CORRUPT;
        }
        memcpy(s->instance, row.data, row.size);
        return TRUC_OK;
    }
    if (error != TRUC_E_NOT_FOUND) {
        return error;
    }
    error = s->random(s->instance, sizeof s->instance);
    return error == TRUC_OK ? session_meta_put(s, META_INSTANCE, truc_bytes(s->instance, sizeof s->instance)) : error;
}

/* Reads a row of fixed size; absent rows leave `out` as it is. */
static truc_error load_fixed(struct client_session *s, enum store_meta key, void *out, size_t size, bool *there)
{
    struct truc_bytes row;
    truc_error error = s->store.get(s->store.context, STORE_META, (uint64_t)key, &row);
    *there = error == TRUC_OK;
    if (error == TRUC_E_NOT_FOUND) {
        return TRUC_OK;
    }
    if (error == TRUC_OK && row.size != size) {
        error = TRUC_E_CORRUPT;
    }
    if (error == TRUC_OK) {
        memcpy(out, row.data, size);
    }
    return error;
}

static truc_error load_numbers(struct client_session *s)
{
    uint8_t ticket[8] = {0}, owed[8] = {0}, top[16] = {0};
    bool there;
    truc_error error = load_fixed(s, META_NEXT_TICKET, ticket, sizeof ticket, &there);
    if (error == TRUC_OK) {
        error = load_fixed(s, META_NEXT_OWED, owed, sizeof owed, &there);
    }
    if (error == TRUC_OK) {
        error = load_fixed(s, META_TOP, top, sizeof top, &there);
    }
    if (error == TRUC_OK) {
        error = load_fixed(s, META_HEAD, s->head.bytes, sizeof s->head.bytes, &s->has_head);
    }
    s->next_ticket = store_get_u64(ticket) == 0 ? 1 : store_get_u64(ticket);
    s->ticket_ceiling = s->next_ticket;
    s->owed_next = store_get_u64(owed) == 0 ? 1 : store_get_u64(owed);
    s->top_number = store_get_u64(top);
    s->top_sequence = store_get_u64(top + 8);
    return error;
}

/* The note was verified when it was stored; verifying it again shows damage, and another note key. */
static truc_error load_checkpoint(struct client_session *s)
{
    struct truc_bytes row;
    truc_error error = s->store.get(s->store.context, STORE_META, META_CHECKPOINT, &row);
    if (error == TRUC_E_NOT_FOUND) {
        return TRUC_OK;
    }
    if (error == TRUC_OK) {
        error = truc_buffer_append(&s->note, row.data, row.size);
    }
    if (error != TRUC_OK) {
        return error;
    }
    error = truc_checkpoint_open(truc_buffer_view(&s->note), &s->note_key, &s->checkpoint);
    return error == TRUC_E_BAD_SIGNATURE || error == TRUC_E_MALFORMED ? TRUC_E_CORRUPT : error;
}

static truc_error count_rows(struct client_session *s, enum store_table table, uint64_t *count)
{
    struct truc_bytes row;
    uint64_t key = 0;
    truc_error error;
    while ((error = s->store.next(s->store.context, table, &key, &row)) == TRUC_OK) {
        ++*count;
        if (table == STORE_EVENTS && key >= s->next_ticket) {
            return TRUC_E_CORRUPT; /* the counter is written ahead of the tickets */
        }
        key++;
    }
    return error == TRUC_E_NOT_FOUND ? TRUC_OK : error;
}

truc_error session_load(struct client_session *s)
{
    truc_error error = load_identity(s);
    if (error == TRUC_OK) {
        error = load_instance(s);
    }
    if (error == TRUC_OK) {
        error = load_numbers(s);
    }
    if (error == TRUC_OK) {
        error = load_checkpoint(s);
    }
    if (error == TRUC_OK) {
        error = count_rows(s, STORE_EVENTS, &s->pending);
    }
    if (error == TRUC_OK) {
        error = count_rows(s, STORE_OWED, &s->owed_count);
    }
    if (error == TRUC_OK) {
        error = session_load_keys(s);
    }
    if (error == TRUC_OK) {
        error = session_load_wishes(s);
    }
    if (error == TRUC_OK) {
        error = session_raise_tickets(s);
    }
    s->fill_from = s->pending > 0 ? 0 : UINT64_MAX;
    return error;
}

static truc_error set_names(struct client_session *s, const struct client_session_config *config)
{
    struct truc_bytes agency = truc_bytes_of(config->agency), origin = truc_bytes_of(config->origin);
    if (!truc_agency_is_valid(agency) || origin.size == 0 || origin.size > TRUC_ORIGIN_MAX ||
        config->endpoint_count == 0 || config->signing_key == NULL || !truc_key_is_private(config->signing_key)) {
        return TRUC_E_INVALID;
    }
    memcpy(s->agency, agency.data, agency.size);
    memcpy(s->origin, origin.data, origin.size);
    s->software = strdup(config->software != NULL ? config->software : "libtruc");
    if (s->software == NULL) {
        return TRUC_E_NOMEM;
    }
    truc_error error = truc_note_verifier_parse(truc_bytes_of(config->note_key), &s->note_key);
    if (error == TRUC_OK && strcmp(s->note_key.name, s->origin) != 0) {
        error = TRUC_E_INVALID; /* the verifier key of another log */
    }
    return error == TRUC_E_MALFORMED ? TRUC_E_INVALID : error;
}

static truc_error make_flights(struct client_session *s, uint32_t max)
{
    s->flight_max = max;
    s->flights = calloc(max, sizeof(struct flight *));
    s->fill = calloc(1, sizeof *s->fill);
    if (s->flights == NULL || s->fill == NULL) {
        return TRUC_E_NOMEM;
    }
    for (uint32_t i = 0; i < max; i++) {
        s->flights[i] = calloc(1, sizeof *s->flights[i]);
        if (s->flights[i] == NULL) {
            return TRUC_E_NOMEM;
        }
    }
    return client_body_renew(&s->fill->body);
}

truc_error client_session_new(const struct client_session_config *config, const struct truc_client_callbacks *callbacks,
                              struct client_session **out)
{
    struct client_session *s = calloc(1, sizeof *s);
    if (s == NULL) {
        return TRUC_E_NOMEM;
    }
    s->callbacks = *callbacks;
    s->store = config->store;
    s->random = config->random;
    s->endpoint_count = config->endpoint_count;
    s->backoff_us = BACKOFF_FIRST;
    s->seal_events_most = config->max_seal_events == 0 || config->max_seal_events > TRUC_SEAL_EVENTS_MAX
                              ? TRUC_SEAL_EVENTS_MAX
                              : config->max_seal_events;
    s->seal_events = s->seal_events_most;
    s->seal_bytes = TRUC_SEAL_BYTES_MAX;
    s->session_bytes = UINT64_MAX;
    s->window_events = config->receive_events;
    /* One event must always fit, with another one under way. */
    s->window_bytes = config->receive_bytes < 2 * TRUC_EVENT_MAX ? 2 * TRUC_EVENT_MAX : config->receive_bytes;
    s->credit_at_us = INT64_MAX;
    s->held_end = &s->held;
    s->asks_end = &s->asks;
    truc_error error = set_names(s, config);
    if (error == TRUC_OK) {
        s->key = truc_key_ref(config->signing_key);
        error = truc_arena_new(UNPACK_MAX, &s->arena);
    }
    if (error == TRUC_OK) {
        error = make_flights(s, config->max_in_flight_seals);
    }
    if (error == TRUC_OK) {
        error = session_load(s);
    }
    if (error == TRUC_OK) {
        error = session_new_chain(s);
    }
    if (error != TRUC_OK) {
        client_session_free(&s);
    }
    *out = s;
    return error;
}

void client_session_free(struct client_session **session)
{
    struct client_session *s = *session;
    if (s == NULL) {
        return;
    }
    session_submit_close(s);
    session_drop_held(s);
    session_ask_close(s);
    session_keys_close(s);
    client_outbox_close(&s->outbox);
    client_outbox_close(&s->later);
    truc_buffer_close(&s->assembled_head);
    truc_buffer_close(&s->assembled_body);
    truc_buffer_close(&s->note);
    truc_note_verifier_close(&s->note_key);
    truc_key_free(&s->key);
    truc_arena_free(&s->arena);
    free(s->leases.slots);
    free(s->taken_back);
    free(s->acks);
    free(s->ack_marks);
    free(s->software);
    free(s);
    *session = NULL;
}
