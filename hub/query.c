/* Queries: rows of the registry and of the hub's own figures, as JSON. PROTOCOL.md section 12. */
#include "hub/hub.h"

#include <jansson.h>

#define ROWS_MAX 500
#define VERSION "0.1.0"

struct query {
    struct hub *hub;
    const struct hub_agency *asker;
    const char *agency, *from, *to; /* arguments; NULL where absent */
    uint64_t cursor;                /* first index to look at */
    size_t limit;
    json_t *rows;
    uint64_t next; /* 0: no more */
    bool failed;
};

/* Takes the row. false: the page is full, `at` comes first on the next one. */
static bool add(struct query *query, uint64_t at, json_t *row)
{
    if (json_array_size(query->rows) == query->limit) {
        json_decref(row);
        query->next = at;
        return false;
    }
    if (!row || json_array_append_new(query->rows, row) != 0)
        query->failed = true;
    return true;
}

static json_t *time_or_null(int64_t time_us)
{
    char text[40];

    if (time_us == 0)
        return json_null();
    truc_time_format(time_us, text);
    return json_string(text);
}

static const char *code_of(const struct hub *hub, uint32_t number)
{
    const struct hub_agency *agency = hub_core_agency_by_number(hub->core, number);

    return agency ? agency->code : "";
}

static bool wanted(const char *filter, const char *value)
{
    return !filter || strcmp(filter, value) == 0;
}

static const char *role_name(enum hub_role role)
{
    static const char *const names[] = {"agency", "administrator", "auditor"};

    return names[role];
}

static json_int_t sessions_of(const struct hub *hub, uint32_t agency)
{
    struct hub_session *session, *next;
    json_int_t count = 0;

    HASH_ITER(by_id, hub->sessions_by_id, session, next)
    count += session->agency == agency && session->state == SESSION_OPEN;
    return count;
}

/* ---- one function a query
 * ------------------------------------------------------------------------------------------------ */

static void q_status(struct query *query)
{
    struct hub *hub = query->hub;
    json_t *counters = json_object(), *refused = json_object(), *events_refused = json_object();

    for (size_t i = 0; i < COUNT_N; i++)
        json_object_set_new(counters, hub_counter_names[i], json_integer((json_int_t)hub->counters[i]));
    for (unsigned i = 0; i < HUB_REASONS; i++) {
        uint64_t events = hub_core_refusals(hub->core, i);
        if (hub->refused[i])
            json_object_set_new(refused, truc_reason_name(i), json_integer((json_int_t)hub->refused[i]));
        if (events)
            json_object_set_new(events_refused, truc_reason_name(i), json_integer((json_int_t)events));
    }
    add(query, 0,
        json_pack(
            "{s:s, s:s, s:I, s:I, s:I, s:I, s:I, s:o, s:o, s:o, s:I, s:I, s:I, s:I, s:s, s:b}", "origin",
            hub_core_origin(hub->core), "version", VERSION, "tree_size", (json_int_t)hub_core_tree_size(hub->core),
            "next_sequence", (json_int_t)hub_core_next_sequence(hub->core), "agencies",
            (json_int_t)hub_core_agency_count(hub->core), "sessions", (json_int_t)HASH_CNT(by_id, hub->sessions_by_id),
            "uptime_s", (json_int_t)((uv_now(&hub->loop) - hub->started_ms) / 1000), "counters", counters,
            "seals_refused", refused, "events_refused", events_refused, "state_lag_rows",
            (json_int_t)(hub_core_applied(hub->core) - hub->state_rows), "journal_rows",
            (json_int_t)hub_journal_rows(hub->journal), "journal_bytes", (json_int_t)hub->space.used, "disk_free_bytes",
            (json_int_t)hub->space.disk_free, "clock", hub->clock.unsure ? "unsure" : "sure", "storage_full",
            hub->storage_full));
}

static void q_agencies(struct query *query)
{
    uint32_t count = hub_core_agency_count(query->hub->core);

    for (uint32_t n = (uint32_t)query->cursor + 1; n <= count; n++) {
        const struct hub_agency *agency = hub_core_agency_by_number(query->hub->core, n);
        json_int_t keys = 0;
        if (!agency || !wanted(query->agency, agency->code))
            continue;
        for (size_t i = 0; i < hub_core_key_count(query->hub->core); i++)
            keys += hub_core_key_at(query->hub->core, i)->agency == n;
        json_t *groups = json_array();
        for (size_t i = 0; i < agency->group_count; i++)
            json_array_append_new(groups, json_string(agency->groups[i]));
        if (!add(query, n - 1,
                 json_pack("{s:s, s:s, s:s, s:s, s:o, s:I, s:I, s:I, s:I, s:I, s:I}", "agency", agency->code, "name",
                           agency->name, "role", role_name(agency->role), "state",
                           agency->suspended ? "suspended" : "active", "groups", groups, "keys", keys, "sessions",
                           sessions_of(query->hub, n), "inbox_pending", (json_int_t)agency->pending, "inbox_dead",
                           (json_int_t)agency->dead, "quota_events_per_s", (json_int_t)agency->quota_events_per_s,
                           "quota_bytes_per_s", (json_int_t)agency->quota_bytes_per_s)))
            return;
    }
}

static json_t *signing_key_row(const struct query *query, const struct hub_signing_key *key)
{
    struct truc_buffer spki = {0};
    json_t *row = NULL;

    if (truc_base64_encode(key->spki, &spki) == TRUC_OK)
        row = json_pack("{s:s, s:s, s:s, s:s%, s:s, s:o, s:o}", "agency", code_of(query->hub, key->agency), "keyid",
                        key->keyid, "algorithm", truc_algorithm_name(key->algorithm), "spki", spki.data, spki.size,
                        "state", key->revoked_at_us ? "revoked" : "valid", "added_at", time_or_null(key->added_at_us),
                        "revoked_at", time_or_null(key->revoked_at_us));
    truc_buffer_close(&spki);
    return row;
}

static void q_keys(struct query *query)
{
    struct hub_core *core = query->hub->core;
    size_t signing = hub_core_key_count(core), transport = hub_core_transport_count(core);

    for (uint64_t at = query->cursor; at < signing + transport; at++) {
        char hex[65];
        if (at < signing) {
            const struct hub_signing_key *key = hub_core_key_at(core, at);
            if (wanted(query->agency, code_of(query->hub, key->agency)) && !add(query, at, signing_key_row(query, key)))
                return;
            continue;
        }
        const struct hub_transport_key *key = hub_core_transport_at(core, at - signing);
        truc_hex(truc_bytes(key->key, sizeof key->key), hex);
        if (wanted(query->agency, code_of(query->hub, key->agency)) &&
            !add(query, at,
                 json_pack("{s:s, s:s, s:s, s:o, s:o}", "agency", code_of(query->hub, key->agency), "transport_key",
                           hex, "state", key->revoked_at_us ? "revoked" : "valid", "added_at",
                           time_or_null(key->added_at_us), "revoked_at", time_or_null(key->revoked_at_us))))
            return;
    }
}

static void q_grants(struct query *query)
{
    for (uint64_t at = query->cursor; at < hub_core_grant_count(query->hub->core); at++) {
        const struct hub_grant *grant = hub_core_grant_at(query->hub->core, at);
        if (!wanted(query->from, grant->from) || !wanted(query->to, grant->to))
            continue;
        if (!add(query, at,
                 json_pack("{s:s, s:s, s:s, s:s, s:s, s:o, s:o, s:s, s:b, s:b, s:I, s:I}", "grant", grant->grant,
                           "from", grant->from, "to", grant->to, "type", grant->type, "legal_basis", grant->legal_basis,
                           "valid_from", time_or_null(grant->valid_from_us), "valid_until",
                           time_or_null(grant->valid_until_us), "state", grant->withdrawn_at_us ? "withdrawn" : "given",
                           "delivery_receipts", grant->delivery_receipts, "skip_dead_letters", grant->skip_dead_letters,
                           "hold_s", (json_int_t)grant->hold_s, "max_attempts", (json_int_t)grant->max_attempts)))
            return;
    }
}

static void q_subscriptions(struct query *query)
{
    for (uint64_t at = query->cursor; at < hub_core_subscription_count(query->hub->core); at++) {
        const struct hub_subscription *subscription = hub_core_subscription_at(query->hub->core, at);
        const char *agency = code_of(query->hub, subscription->agency);
        if (wanted(query->agency, agency) &&
            !add(query, at,
                 json_pack("{s:s, s:s, s:s}", "agency", agency, "type", subscription->type, "source_agency",
                           subscription->source_agency)))
            return;
    }
}

static void q_inbox(struct query *query)
{
    uint32_t count = hub_core_agency_count(query->hub->core);

    for (uint32_t n = (uint32_t)query->cursor + 1; n <= count; n++) {
        const struct hub_agency *agency = hub_core_agency_by_number(query->hub->core, n);
        if (agency && wanted(query->agency, agency->code) &&
            !add(query, n - 1,
                 json_pack("{s:s, s:I, s:I, s:I, s:I}", "agency", agency->code, "next_number",
                           (json_int_t)agency->next_number, "floor", (json_int_t)agency->floor, "pending",
                           (json_int_t)agency->pending, "dead", (json_int_t)agency->dead)))
            return;
    }
}

static json_t *dead_row(struct query *query, const struct hub_agency *agency, const struct hub_posting *posting)
{
    const char *note = "";

    if (hub_core_dead_note(query->hub->core, agency->number, posting->number, &note) != TRUC_OK)
        note = "";
    return json_pack("{s:s, s:I, s:I, s:s, s:I, s:o, s:o, s:s}", "agency", agency->code, "number",
                     (json_int_t)posting->number, "sequence", (json_int_t)posting->sequence, "reason",
                     posting->reason ? truc_reason_name(posting->reason) : "ATTEMPTS", "attempts",
                     (json_int_t)posting->attempts, "since", time_or_null(posting->since_us), "held_until",
                     time_or_null(posting->not_before_us), "note", note);
}

/* The cursor is agency << 40 | number. */
static void q_deadletters(struct query *query)
{
    uint32_t count = hub_core_agency_count(query->hub->core), n = (uint32_t)(query->cursor >> 40);
    uint64_t from = query->cursor & ((UINT64_C(1) << 40) - 1);

    for (n = n ? n : 1; n <= count; n++, from = 0) {
        const struct hub_agency *agency = hub_core_agency_by_number(query->hub->core, n);
        struct hub_posting posting;
        if (!agency || !wanted(query->agency, agency->code) || agency->dead == 0)
            continue;
        while (hub_core_posting_next(query->hub->core, n, from, 1u << HUB_POSTING_DEAD, &posting) == TRUC_OK) {
            if (!add(query, (uint64_t)n << 40 | posting.number, dead_row(query, agency, &posting)))
                return;
            from = posting.number + 1;
        }
    }
}

static void q_sessions(struct query *query)
{
    struct hub_session *session, *next;
    uint64_t at = 0;

    HASH_ITER(by_id, query->hub->sessions_by_id, session, next)
    {
        char instance[33];
        if (at++ < query->cursor || session->state != SESSION_OPEN)
            continue;
        truc_hex(truc_bytes(session->instance, sizeof session->instance), instance);
        if (!add(query, at - 1,
                 json_pack("{s:I, s:s, s:s, s:s, s:o, s:I, s:I, s:I, s:I}", "session", (json_int_t)session->id,
                           "agency", session->agency_code, "instance", instance, "software", session->software, "since",
                           time_or_null(session->since_us), "submitted", (json_int_t)session->submitted, "delivered",
                           (json_int_t)session->delivered, "acked", (json_int_t)session->acked, "credit_events",
                           (json_int_t)hub_dispatch_credit_left(query->hub->dispatch, session->id))))
            return;
    }
}

static void q_refusals(struct query *query)
{
    for (uint64_t at = query->cursor ? query->cursor : 1; at < 64; at++) {
        unsigned reason = (unsigned)at;
        uint64_t events = hub_core_refusals(query->hub->core, reason), seals = query->hub->refused[reason];
        if (events + seals > 0 && !add(query, at,
                                       json_pack("{s:s, s:I, s:I}", "reason", truc_reason_name(reason), "count",
                                                 (json_int_t)events, "seals_since_start", (json_int_t)seals)))
            return;
    }
}

static void q_parameters(struct query *query)
{
    const struct hub_parameters *now = hub_core_parameters(query->hub->core);

    add(query, 0,
        json_pack("{s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I}", "event_bytes", (json_int_t)now->event_bytes,
                  "seal_events", (json_int_t)now->seal_events, "seal_bytes", (json_int_t)now->seal_bytes,
                  "future_skew_s", (json_int_t)now->future_skew_s, "past_horizon_s", (json_int_t)now->past_horizon_s,
                  "inbox_age_s", (json_int_t)now->inbox_age_s, "max_attempts", (json_int_t)now->max_attempts, "hold_s",
                  (json_int_t)now->hold_s));
}

static const struct {
    const char *what;
    void (*run)(struct query *query);
    bool for_agencies; /* an agency may ask too, for its own rows; keys for everybody's */
    bool own_only;
} queries[] = {
    {"status", q_status, false, false},
    {"agencies", q_agencies, false, false},
    {"keys", q_keys, true, false},
    {"grants", q_grants, false, false},
    {"subscriptions", q_subscriptions, false, false},
    {"inbox", q_inbox, true, true},
    {"deadletters", q_deadletters, true, true},
    {"sessions", q_sessions, false, false},
    {"refusals", q_refusals, false, false},
    {"parameters", q_parameters, true, false}, /* they bind everybody */
};

/* ---- frames
 * ---------------------------------------------------------------------------------------------------------------- */

static void send_answer(struct hub *hub, struct hub_session *session, Truc__V1__Answer *answer, const char *json)
{
    size_t size = strlen(json), at = 0;
    enum truc_frame_kind kind = TRUC_FRAME_ANSWER;

    do {
        size_t n = size - at < TRUC_PIECE_MAX ? size - at : TRUC_PIECE_MAX;
        zmq_msg_t piece;
        if (zmq_msg_init_size(&piece, n) != 0) {
            hub_fatal(hub, "answering a query", TRUC_E_NOMEM);
            return;
        }
        memcpy(zmq_msg_data(&piece), json + at, n);
        at += n;
        hub_session_send(hub, session, kind, at < size ? TRUC_FRAME_MORE : 0,
                         kind == TRUC_FRAME_ANSWER ? &answer->base : NULL, &piece);
        kind = TRUC_FRAME_DATA;
    } while (at < size);
    hub_session_answered(hub, session, size);
}

static void refuse(struct hub *hub, struct hub_session *session, uint64_t request, truc_reason reason, const char *text)
{
    Truc__V1__Answer answer = TRUC__V1__ANSWER__INIT;

    answer.request = request;
    answer.reason = (uint32_t)reason;
    answer.text = (char *)text;
    send_answer(hub, session, &answer, "[]");
}

static const char *argument(const Truc__V1__Query *message, const char *name)
{
    for (size_t i = 0; i < message->n_arguments; i++)
        if (strcmp(message->arguments[i]->key, name) == 0)
            return message->arguments[i]->value;
    return NULL;
}

static void run(struct hub *hub, struct hub_session *session, const Truc__V1__Query *message, size_t which,
                struct query *query)
{
    Truc__V1__Answer answer = TRUC__V1__ANSWER__INIT;
    char cursor[24] = "", *text = NULL;

    query->rows = json_array();
    if (query->rows)
        queries[which].run(query);
    if (query->rows && !query->failed)
        text = json_dumps(query->rows, JSON_COMPACT);
    if (query->next)
        snprintf(cursor, sizeof cursor, "%llu", (unsigned long long)query->next);
    answer.request = message->request;
    answer.cursor = cursor;
    if (text)
        send_answer(hub, session, &answer, text);
    else
        refuse(hub, session, message->request, TRUC_OVERLOADED,
               "the hub could not make the rows: it is out of memory, or a text is no UTF-8");
    free(text);
    json_decref(query->rows);
}

void hub_on_query(struct hub *hub, struct hub_session *session, const Truc__V1__Query *message)
{
    struct query query = {.hub = hub, .asker = hub_core_agency_by_number(hub->core, session->agency)};
    char *end = NULL;
    size_t which = 0;

    while (which < sizeof queries / sizeof queries[0] && strcmp(queries[which].what, message->what) != 0)
        which++;
    if (which == sizeof queries / sizeof queries[0]) {
        refuse(hub, session, message->request, TRUC_MALFORMED, "no such query: see PROTOCOL.md, Queries");
        return;
    }
    if (hub_session_is_slow(hub, session)) {
        refuse(hub, session, message->request, TRUC_OVERLOADED, "take the answers that are on their way first");
        return;
    }
    query.agency = argument(message, "agency");
    query.from = argument(message, "from");
    query.to = argument(message, "to");
    query.limit = message->limit == 0 || message->limit > ROWS_MAX ? ROWS_MAX : message->limit;
    query.cursor = strtoull(message->cursor, &end, 10);
    bool plain = !query.asker || query.asker->role == HUB_ROLE_AGENCY;
    if (*end != '\0') {
        refuse(hub, session, message->request, TRUC_MALFORMED, "the cursor is not one that an answer gave");
        return;
    }
    if (plain && queries[which].own_only && !query.agency)
        query.agency = session->agency_code;
    if (plain && (!queries[which].for_agencies ||
                  (queries[which].own_only && strcmp(query.agency, session->agency_code) != 0))) {
        refuse(hub, session, message->request, TRUC_NOT_GRANTED, "only administrators and auditors may ask for that");
        return;
    }
    run(hub, session, message, which, &query);
}
