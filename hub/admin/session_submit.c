/* Events handed over in one command, acts of governance among them, and what became of them. */
#include "hub/admin/session_internal.h"

static char *copy_text(struct truc_bytes text)
{
    char *copy = strndup(text.size == 0 ? "" : (const char *)text.data, text.size);
    admin_must(copy != NULL);
    return copy;
}

static bool has_room(void *context)
{
    const struct admin_session *session = context;
    return session->answered_count == session->waiting_count || truc_client_pending(session->client) < 4096;
}

static bool all_answered(void *context)
{
    const struct admin_session *session = context;
    return session->answered_count == session->waiting_count;
}

enum admin_exit admin_session_submit(struct admin_session *session, struct truc_bytes event)
{
    struct truc_event parsed;
    truc_error error = truc_event_parse(event, &parsed);
    if (error != TRUC_OK) {
        return admin_fail(session->call, ADMIN_NO, "the event breaks a rule: %s", truc_error_string(error));
    }
    if (session->waiting_count == session->waiting_capacity) {
        session->waiting_capacity = session->waiting_capacity == 0 ? 64 : 2 * session->waiting_capacity;
        session->waiting = reallocarray(session->waiting, session->waiting_capacity, sizeof(*session->waiting));
        admin_must(session->waiting != NULL);
    }
    uint64_t ticket = 0;
    error = truc_client_submit(session->client, event, &ticket);
    for (int attempt = 0; error == TRUC_E_FULL && attempt < 16; attempt++) {
        /* The spool is full: let the hub take some first. */
        error = admin_session_run(session, has_room, session, session->timeout_ms);
        if (error == TRUC_OK) {
            error = truc_client_submit(session->client, event, &ticket);
        }
    }
    if (error == TRUC_E_MALFORMED) {
        return admin_fail(session->call, ADMIN_NO,
                          "the event cannot be sent by %s: its source must be urn:truc:%s, alone or with ':' and more",
                          admin_session_config(session)->agency, admin_session_config(session)->agency);
    }
    if (error != TRUC_OK) {
        return admin_session_explain(session, error, "handing over an event");
    }
    session->waiting[session->waiting_count++] =
        (struct waiting){.ticket = ticket, .id = copy_text(parsed.id), .type = copy_text(parsed.type)};
    return ADMIN_OK;
}

/* What an act that is not possible as things stand most likely ran into, and where to look. */
static const char *impossible(const char *command)
{
    static const struct {
        const char *command, *advice;
    } known[] = {
        {"agency add", "An agency with this code, or one of these keys, is enrolled already: truc agency list"},
        {"agency suspend", "It is not enrolled, suspended already, or the last administrator: truc agency list"},
        {"agency resume", "It is not enrolled, or not suspended: truc agency list"},
        {"agency quota", "It is not enrolled: truc agency list"},
        {"parameters set", "A value is above what the protocol allows, or too small for acts of governance themselves: "
                           "truc help parameters set"},
        {"key add", "The agency is not enrolled, or this key is enrolled already: truc key list"},
        {"key revoke", "The agency has no such key, it is revoked already, or no administrator could act without it: "
                       "truc key list"},
        {"grant add", "A grant of this name was given before (names are not used twice), or one of the two parties is "
                      "not enrolled: truc grant list, truc agency list"},
        {"grant revoke", "There is no grant of this name, or it is withdrawn already: truc grant list"},
        {"subscription add", "The agency is not enrolled, or subscribed to this already: truc subscription list"},
        {"subscription remove", "There is no such subscription: truc subscription list"},
        {"deadletter requeue", "Not all of these numbers are dead letters of this agency: truc deadletter list"},
        {"deadletter drop", "Not all of these numbers are dead letters of this agency: truc deadletter list"},
    };
    for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++) {
        if (strcmp(known[i].command, command) == 0) {
            return known[i].advice;
        }
    }
    return "The act is not possible as things stand: what it would make is there already, or what it would change is "
           "not there or is so already";
}

/* The reason's own advice, or what it means for an act of governance. */
static const char *advice(const struct admin_session *session, const struct waiting *waiting)
{
    if (strcmp(waiting->type, TRUC_TYPE_GOVERNANCE) == 0) {
        switch (waiting->receipt.reason) {
        case TRUC_ILLEGAL_TRANSITION:
            return impossible(session->call->command->name);
        case TRUC_NOT_GRANTED:
            return "Only administrators may do this; and a replay needs, for each of its events, a grant from the "
                   "event's sender to the recipient";
        default: /* the others mean the same for every event */
            break;
        }
    }
    return truc_reason_advice(waiting->receipt.reason);
}

static json_t *receipt_row(const struct admin_session *session, const struct waiting *waiting)
{
    const struct truc_receipt *receipt = &waiting->receipt;
    bool refused = receipt->reason != TRUC_ACCEPTED;
    json_t *row = json_pack("{s:s, s:s, s:s, s:o, s:o, s:o, s:b}", "id", waiting->id, "type", waiting->type, "outcome",
                            refused              ? truc_reason_name(receipt->reason)
                            : receipt->duplicate ? "duplicate"
                                                 : "accepted",
                            "sequence", receipt->logged ? json_integer((json_int_t)receipt->sequence) : json_null(),
                            "accepted_at", admin_json_time(receipt->logged ? receipt->accepted_at_us : 0), "leaf",
                            receipt->logged ? json_integer((json_int_t)receipt->leaf_index) : json_null(), "logged",
                            (int)receipt->logged);
    admin_must(row != NULL);
    if (refused) {
        admin_must(json_object_set_new(row, "advice", json_string(advice(session, waiting))) == 0);
    }
    return row;
}

enum admin_exit admin_session_settle(struct admin_session *session, json_t **rows)
{
    *rows = json_array();
    admin_must(*rows != NULL);
    size_t answered = 0;
    truc_error error = truc_client_sync(session->client);
    /* The time is for silence: as long as receipts come in, more are waited for. */
    while (error == TRUC_OK && !all_answered(session)) {
        answered = session->answered_count;
        error = admin_session_run(session, all_answered, session, session->timeout_ms);
        if (error == TRUC_E_TIMEOUT && session->answered_count > answered) {
            error = TRUC_OK;
        }
    }
    enum admin_exit exit_code = ADMIN_OK;
    size_t refused = 0;
    for (size_t i = 0; i < session->waiting_count; i++) {
        const struct waiting *waiting = &session->waiting[i];
        if (!waiting->answered) {
            continue;
        }
        admin_must(json_array_append_new(*rows, receipt_row(session, waiting)) == 0);
        if (waiting->receipt.reason != TRUC_ACCEPTED) {
            exit_code = ADMIN_REFUSED;
            if (refused++ < 10) {
                /* most texts of the hub are the advice itself */
                bool own =
                    waiting->text[0] != '\0' && strcmp(waiting->text, truc_reason_advice(waiting->receipt.reason)) != 0;
                admin_fail(session->call, ADMIN_REFUSED, "%s %s was refused: %s%s%s. %s", waiting->type, waiting->id,
                           truc_reason_name(waiting->receipt.reason), own ? ": " : "", own ? waiting->text : "",
                           advice(session, waiting));
            }
        }
    }
    if (refused > 10) {
        admin_fail(session->call, ADMIN_REFUSED, "%zu more were refused", refused - 10);
    }
    if (error != TRUC_OK) {
        enum admin_exit failed = admin_session_explain(session, error, "waiting for receipts");
        exit_code = exit_code == ADMIN_OK ? failed : exit_code;
    }
    return exit_code;
}

/* ---- governance -----------------------------------------------------------------------------------------------------
 */

static truc_error encode_act(const struct truc_client_config *config, const Truc__V1__Governance *act,
                             struct truc_buffer *out)
{
    uint8_t random[2 * TRUC_SALT_SIZE];
    char id[2 * TRUC_SALT_SIZE + 1], source[TRUC_AGENCY_MAX + sizeof(TRUC_SOURCE_PREFIX)];
    struct timespec now;
    struct truc_buffer data = {0};
    truc_error error = truc_random(random, sizeof(random));
    if (error == TRUC_OK) {
        error = truc_buffer_reserve(&data, truc__v1__governance__get_packed_size(act) + 1);
    }
    if (error == TRUC_OK) {
        data.size = truc__v1__governance__pack(act, data.data);
        truc_hex(truc_bytes(random, TRUC_SALT_SIZE), id);
        snprintf(source, sizeof(source), TRUC_SOURCE_PREFIX "%s", config->agency);
        (void)clock_gettime(CLOCK_REALTIME, &now); /* cannot fail with this clock */
        struct truc_event event = {.id = truc_bytes_of(id),
                                   .source = truc_bytes_of(source),
                                   .spec_version = truc_bytes_of("1.0"),
                                   .type = truc_bytes_of(TRUC_TYPE_GOVERNANCE),
                                   .data_kind = TRUC_DATA_BINARY,
                                   .data = truc_buffer_view(&data)};
        error = truc_event_set_text(&event, "datacontenttype", truc_bytes_of("application/protobuf"));
        error = error != TRUC_OK
                    ? error
                    : truc_event_set_time(&event, "time", (int64_t)now.tv_sec * 1000000 + (int64_t)now.tv_nsec / 1000);
        error = error != TRUC_OK
                    ? error
                    : truc_event_set_bytes(&event, "salt", truc_bytes(random + TRUC_SALT_SIZE, TRUC_SALT_SIZE));
        error = error != TRUC_OK ? error : truc_event_encode(&event, out);
    }
    truc_buffer_close(&data);
    return error;
}

enum admin_exit admin_session_govern(struct admin_session *session, const Truc__V1__Governance *act)
{
    struct truc_buffer event = {0};
    enum admin_exit exit_code;
    truc_error error = encode_act(admin_session_config(session), act, &event);
    if (error != TRUC_OK) {
        exit_code = admin_fail(session->call, admin_exit_of(error), "the act cannot be written as an event: %s",
                               truc_error_string(error));
    } else {
        exit_code = admin_session_submit(session, truc_buffer_view(&event));
    }
    truc_buffer_close(&event);
    return exit_code;
}

void admin_receipts_print(const struct admin_call *call, json_t *rows, const char *did)
{
    static const struct admin_column columns[] = {{"sequence", "SEQUENCE", ADMIN_COLUMN_TEXT},
                                                  {"accepted_at", "ACCEPTED AT", ADMIN_COLUMN_TIME},
                                                  {"leaf", "LEAF", ADMIN_COLUMN_TEXT},
                                                  {"type", "TYPE", ADMIN_COLUMN_TEXT},
                                                  {"id", "ID", ADMIN_COLUMN_TEXT},
                                                  {"outcome", "OUTCOME", ADMIN_COLUMN_TEXT},
                                                  {NULL, NULL, ADMIN_COLUMN_TEXT}};
    if (call->json || did == NULL) {
        admin_table_print(call, columns, rows, "nothing was sent");
        return;
    }
    size_t at;
    json_t *row;
    json_array_foreach(rows, at, row)
    {
        const char *outcome = json_string_value(json_object_get(row, "outcome"));
        if (strcmp(outcome, "accepted") == 0 || strcmp(outcome, "duplicate") == 0) {
            printf("%s. In the log as sequence %lld, accepted at %s; the receipt is verified.\n", did,
                   (long long)json_integer_value(json_object_get(row, "sequence")),
                   json_string_value(json_object_get(row, "accepted_at")));
        }
    }
}

Truc__V1__Governance admin_act(const struct admin_call *call, Truc__V1__Governance__ActCase which)
{
    Truc__V1__Governance act = TRUC__V1__GOVERNANCE__INIT;
    act.reason = admin_proto_text(admin_text(call, "reason"));
    act.act_case = which;
    return act;
}

enum admin_exit admin_govern_in(struct admin_session *session, const Truc__V1__Governance *act, const char *did)
{
    json_t *rows = NULL;
    enum admin_exit exit_code = admin_session_govern(session, act);
    if (exit_code == ADMIN_OK) {
        exit_code = admin_session_settle(session, &rows);
        admin_receipts_print(session->call, rows, did);
    }
    json_decref(rows);
    return exit_code;
}

enum admin_exit admin_govern_once(const struct admin_call *call, const Truc__V1__Governance *act, const char *did)
{
    struct admin_session *session = NULL;
    enum admin_exit exit_code = admin_session_open(call, NULL, &session);
    if (exit_code == ADMIN_OK) {
        exit_code = admin_govern_in(session, act, did);
    }
    admin_session_close(&session);
    return exit_code;
}
