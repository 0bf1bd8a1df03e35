/* truc status, truc deadletter list|show|requeue|drop */
#include "hub/admin/session.h"

static enum admin_exit run_status(struct admin_call *call)
{
    static const struct admin_column columns[] = {{"origin", "log", ADMIN_COLUMN_TEXT},
                                                  {"version", "hub version", ADMIN_COLUMN_TEXT},
                                                  {"tree_size", "leaves", ADMIN_COLUMN_TEXT},
                                                  {"next_sequence", "next sequence", ADMIN_COLUMN_TEXT},
                                                  {"agencies", "agencies", ADMIN_COLUMN_TEXT},
                                                  {"sessions", "sessions", ADMIN_COLUMN_TEXT},
                                                  {"uptime_s", "uptime, seconds", ADMIN_COLUMN_TEXT},
                                                  {"clock", "clock", ADMIN_COLUMN_TEXT},
                                                  {"state_lag_rows", "state behind, rows", ADMIN_COLUMN_TEXT},
                                                  {"journal_bytes", "journal, bytes", ADMIN_COLUMN_TEXT},
                                                  {"disk_free_bytes", "disk free, bytes", ADMIN_COLUMN_TEXT},
                                                  {NULL, NULL, ADMIN_COLUMN_TEXT}};
    struct admin_session *session = NULL;
    json_t *rows = NULL;
    enum admin_exit exit_code = admin_session_open(call, NULL, &session);
    if (exit_code == ADMIN_OK) {
        exit_code = admin_session_query(session, "status", (const char *const[]){NULL}, &rows);
    }
    json_t *row = json_array_get(rows, 0);
    if (exit_code == ADMIN_OK && !json_is_object(row)) {
        exit_code = admin_fail(call, ADMIN_NO, "the hub answered without a status");
    }
    if (exit_code == ADMIN_OK) {
        json_t *counters = json_incref(json_object_get(row, "counters"));
        if (call->json || !json_is_object(counters)) {
            admin_record_print(call, columns, row);
        } else {
            (void)json_object_del(row, "counters");
            admin_record_print(call, columns, row);
            puts("\ncounters since the hub's start");
            admin_record_print(call, columns + sizeof(columns) / sizeof(columns[0]) - 1, counters);
        }
        json_decref(counters);
    }
    json_decref(rows);
    admin_session_close(&session);
    return exit_code;
}

/* ---- dead letters ---------------------------------------------------------------------------------------------------
 */

static const struct admin_column dead_columns[] = {
    {"agency", "INBOX OF", ADMIN_COLUMN_TEXT},   {"number", "NUMBER", ADMIN_COLUMN_TEXT},
    {"sequence", "SEQUENCE", ADMIN_COLUMN_TEXT}, {"reason", "REASON", ADMIN_COLUMN_TEXT},
    {"attempts", "ATTEMPTS", ADMIN_COLUMN_TEXT}, {"since", "SINCE", ADMIN_COLUMN_TIME},
    {"note", "NOTE", ADMIN_COLUMN_TEXT},         {NULL, NULL, ADMIN_COLUMN_TEXT}};

static enum admin_exit run_list(struct admin_call *call)
{
    char agency[TRUC_AGENCY_MAX + 1];
    if (call->operand_count == 0) {
        return admin_query_once(call, "deadletters", (const char *const[]){NULL}, dead_columns, "no dead letters");
    }
    enum admin_exit exit_code = admin_agency(call, call->operands[0], agency);
    return exit_code != ADMIN_OK ? exit_code
                                 : admin_query_once(call, "deadletters", (const char *const[]){"agency", agency, NULL},
                                                    dead_columns, "no dead letters");
}

struct asked {
    bool done;
    truc_reason reason;
    json_t *row;
};

/* What the log knows of the event; its contents stay where they are. */
static void on_evidence(void *context, truc_reason reason, const struct truc_evidence *evidence)
{
    struct asked *asked = context;
    struct truc_event event;
    struct truc_envelope envelope;
    asked->done = true;
    asked->reason = reason;
    if (reason != TRUC_ACCEPTED || evidence == NULL) {
        return;
    }
    if (truc_envelope_parse(truc_buffer_view(&evidence->envelope), &envelope) == TRUC_OK) {
        admin_must(json_object_set_new(asked->row, "sender", json_string(envelope.seal.sender)) == 0);
    }
    if (evidence->event.size > 0 && truc_event_parse(truc_buffer_view(&evidence->event), &event) == TRUC_OK) {
        admin_must(json_object_set_new(asked->row, "id", admin_json_text(event.id)) == 0);
        admin_must(json_object_set_new(asked->row, "type", admin_json_text(event.type)) == 0);
        admin_must(json_object_set_new(asked->row, "time", admin_json_time(event.has_time ? event.time_us : 0)) == 0);
        admin_must(json_object_set_new(asked->row, "bytes", json_integer((json_int_t)evidence->event.size)) == 0);
    }
}

static bool asked_done(void *context)
{
    return ((struct asked *)context)->done;
}

static enum admin_exit describe(struct admin_session *session, json_t *row)
{
    static struct asked asked; /* outlives this call, as the client may hold it until it is freed */
    asked = (struct asked){.row = row};
    truc_error error =
        truc_client_evidence(admin_session_client(session),
                             (uint64_t)json_integer_value(json_object_get(row, "sequence")), on_evidence, &asked);
    if (error == TRUC_OK) {
        error = admin_session_run(session, asked_done, &asked, 20000);
    }
    return error == TRUC_OK ? ADMIN_OK : admin_session_explain(session, error, "asking for the event's evidence");
}

static enum admin_exit run_show(struct admin_call *call)
{
    char agency[TRUC_AGENCY_MAX + 1];
    uint64_t number;
    struct admin_session *session = NULL;
    json_t *rows = NULL, *row, *found = NULL;
    size_t at;
    enum admin_exit exit_code = admin_agency(call, call->operands[0], agency);
    if (exit_code == ADMIN_OK && !admin_decimal(call->operands[1], &number)) {
        exit_code = admin_fail(call, ADMIN_USAGE, "'%s' is not an inbox number", call->operands[1]);
    }
    if (exit_code == ADMIN_OK) {
        exit_code = admin_session_open(call, NULL, &session);
    }
    if (exit_code == ADMIN_OK) {
        exit_code = admin_session_query(session, "deadletters", (const char *const[]){"agency", agency, NULL}, &rows);
    }
    json_array_foreach(rows, at, row)
    {
        if ((uint64_t)json_integer_value(json_object_get(row, "number")) == number) {
            found = row;
        }
    }
    if (exit_code == ADMIN_OK && found == NULL) {
        exit_code =
            admin_fail(call, ADMIN_NO, "number %s is not among the dead letters of %s", call->operands[1], agency);
    }
    if (exit_code == ADMIN_OK) {
        exit_code = describe(session, found);
    }
    if (exit_code == ADMIN_OK) {
        admin_record_print(call, dead_columns, found);
    }
    admin_session_close(&session);
    json_decref(rows);
    return exit_code;
}

static enum admin_exit act_on_all(struct admin_call *call, struct admin_session *session, const char *agency,
                                  Truc__V1__DeadLetterAct__Verb verb)
{
    for (size_t i = 1; i < call->operand_count; i++) {
        Truc__V1__DeadLetterAct letter = TRUC__V1__DEAD_LETTER_ACT__INIT;
        Truc__V1__Governance act = TRUC__V1__GOVERNANCE__INIT;
        if (!admin_decimal(call->operands[i], &letter.number)) {
            return admin_fail(call, ADMIN_USAGE, "'%s' is not an inbox number", call->operands[i]);
        }
        letter.agency = admin_proto_text(agency);
        letter.verb = verb;
        act.reason = admin_proto_text(admin_text(call, "reason"));
        act.act_case = TRUC__V1__GOVERNANCE__ACT_DEAD_LETTER;
        act.dead_letter = &letter;
        enum admin_exit exit_code = admin_session_govern(session, &act);
        if (exit_code != ADMIN_OK) {
            return exit_code;
        }
    }
    return ADMIN_OK;
}

static enum admin_exit act_on(struct admin_call *call, Truc__V1__DeadLetterAct__Verb verb, const char *did)
{
    char agency[TRUC_AGENCY_MAX + 1];
    uint64_t number;
    struct admin_session *session = NULL;
    json_t *rows = NULL;
    enum admin_exit exit_code = admin_agency(call, call->operands[0], agency);
    for (size_t i = 1; exit_code == ADMIN_OK && i < call->operand_count; i++) {
        if (!admin_decimal(call->operands[i], &number)) { /* all are looked at before the first act is sent */
            exit_code = admin_fail(call, ADMIN_USAGE, "'%s' is not an inbox number", call->operands[i]);
        }
    }
    if (exit_code == ADMIN_OK) {
        exit_code = admin_session_open(call, NULL, &session);
    }
    if (exit_code == ADMIN_OK) {
        exit_code = act_on_all(call, session, agency, verb);
    }
    if (exit_code == ADMIN_OK) {
        exit_code = admin_session_settle(session, &rows);
        admin_receipts_print(call, rows, did);
    }
    json_decref(rows);
    admin_session_close(&session);
    return exit_code;
}

static enum admin_exit run_requeue(struct admin_call *call)
{
    return act_on(call, TRUC__V1__DEAD_LETTER_ACT__VERB__REQUEUE, "The dead letter is back at its subject's head");
}

static enum admin_exit run_drop(struct admin_call *call)
{
    return act_on(call, TRUC__V1__DEAD_LETTER_ACT__VERB__DROP, "The dead letter is dropped and will not be delivered");
}

static const struct admin_option plain_options[] = {ADMIN_ONLINE_OPTIONS, ADMIN_END};
static const struct admin_option act_options[] = {ADMIN_ONLINE_OPTIONS, ADMIN_REASON_OPTION, ADMIN_END};

const struct admin_command admin_status_commands[] = {
    {"status", "", 0, 0, "the hub's state and counters", plain_options, run_status},
    {NULL, NULL, 0, 0, NULL, NULL, NULL}};

const struct admin_command admin_deadletter_commands[] = {
    {"deadletter list", "[CODE]", 0, 1, "events that could not be delivered", plain_options, run_list},
    {"deadletter show", "CODE NUMBER", 2, 2, "one of them, with its sender and type", plain_options, run_show},
    {"deadletter requeue", "CODE NUMBER...", 2, ADMIN_OPERANDS_MAX, "deliver again, at the subject's head", act_options,
     run_requeue},
    {"deadletter drop", "CODE NUMBER...", 2, ADMIN_OPERANDS_MAX, "give up; its subject goes on", act_options, run_drop},
    {NULL, NULL, 0, 0, NULL, NULL, NULL}};
