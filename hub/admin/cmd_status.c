/* truc status, truc deadletter list|show|requeue|drop */
#include "hub/admin/session.h"

static json_int_t number(const json_t *row, const char *key)
{
    return json_integer_value(json_object_get(row, key));
}

/* 1234567 -> 1,234,567 */
static const char *grouped(json_int_t value, char out[32])
{
    char digits[24];
    int length = snprintf(digits, sizeof(digits), "%" JSON_INTEGER_FORMAT, value), at = 0;
    for (int i = 0; i < length; i++) {
        out[at++] = digits[i];
        if ((length - 1 - i) % 3 == 0 && i + 1 < length && digits[i] != '-') {
            out[at++] = ',';
        }
    }
    out[at] = '\0';
    return out;
}

static const char *sized(json_int_t bytes, char out[32])
{
    static const char *const units[] = {"bytes", "KiB", "MiB", "GiB", "TiB"};
    double value = (double)bytes;
    size_t unit = 0;
    while (value >= 1024 && unit + 1 < sizeof(units) / sizeof(units[0])) {
        value /= 1024;
        unit++;
    }
    (void)snprintf(out, 32, unit == 0 ? "%.0f %s" : "%.1f %s", value, units[unit]);
    return out;
}

static const char *lasting(json_int_t seconds, char out[32])
{
    if (seconds >= 86400) {
        (void)snprintf(out, 32, "%lld d %lld h", (long long)(seconds / 86400), (long long)(seconds / 3600 % 24));
    } else if (seconds >= 3600) {
        (void)snprintf(out, 32, "%lld h %lld min", (long long)(seconds / 3600), (long long)(seconds / 60 % 60));
    } else if (seconds >= 60) {
        (void)snprintf(out, 32, "%lld min %lld s", (long long)(seconds / 60), (long long)(seconds % 60));
    } else {
        (void)snprintf(out, 32, "%lld s", (long long)seconds);
    }
    return out;
}

/* What somebody should do something about. */
static size_t print_troubles(const json_t *row)
{
    char a[32];
    size_t count = 0;
    if (json_is_true(json_object_get(row, "storage_full"))) {
        count++;
        printf(
            "STORAGE FULL: no new events are taken (the senders are told, and send again by themselves); acks,\n"
            "deliveries and the administrators' acts go on. %s are free on the hub's disk. Make room there, or raise\n"
            "storage.journal in hub.yaml and start the hub again; it goes on by itself when there is room.\n",
            sized(number(row, "disk_free_bytes"), a));
    }
    if (strcmp(admin_row_text(row, "clock"), "unsure") == 0) {
        count++;
        printf(
            "CLOCK UNSURE: the hub's clock has jumped, and no new events are taken until it is sure again. Look after\n"
            "the time service of its machine (timedatectl).\n");
    }
    return count;
}

/* Foreign text, cleaned for the terminal; everything else here is numbers. */
static void print_value(const json_t *value)
{
    struct truc_buffer text = {0};
    admin_value_text(value, ADMIN_COLUMN_TEXT, &text);
    (void)fwrite(text.data, 1, text.size, stdout);
    truc_buffer_close(&text);
}

static void print_refusals(const json_t *refused)
{
    const char *name;
    json_t *count;
    const char *separator = "";
    json_object_foreach((json_t *)(uintptr_t)refused, name, count)
    {
        char a[32];
        printf("%s%s ", separator, grouped(json_integer_value(count), a));
        json_t *text = json_string(name);
        admin_must(text != NULL);
        print_value(text);
        json_decref(text);
        separator = ", ";
    }
    printf("%s\n", separator[0] == '\0' ? "none" : "");
}

static void print_counters(const json_t *counters)
{
    char a[32], b[32], c[32];
    json_int_t commits = number(counters, "commits");
    printf("  taken       %s events (%s) in %s seals\n", grouped(number(counters, "events"), a),
           sized(number(counters, "event_bytes"), b), grouped(number(counters, "seals"), c));
    printf("  delivered   %s, of these acked %s, given back %s\n", grouped(number(counters, "delivered"), a),
           grouped(number(counters, "acked"), b), grouped(number(counters, "nacked"), c));
    printf("  lease lost  %s by sessions that ended or were late; %s answers came too late\n",
           grouped(number(counters, "released"), a), grouped(number(counters, "stale"), b));
    printf("  disk        %s commits, %.1f ms each; %s of journal; %s events read back from it\n", grouped(commits, a),
           commits > 0 ? (double)number(counters, "commit_us") / 1000 / (double)commits : 0.0,
           sized(number(counters, "row_bytes"), b), grouped(number(counters, "cold_reads"), c));
    printf("  sessions    %s opened, %s ended by the hub for misbehaving", grouped(number(counters, "sessions"), a),
           grouped(number(counters, "dropped_sessions"), b));
    printf(" (%s floods, %s bad frames)\n", grouped(number(counters, "floods"), a),
           grouped(number(counters, "bad_frames"), b));
}

/* The whole picture on one screen: what needs doing first, then how much there is, then how much there was. */
static void print_status(const json_t *row)
{
    char a[32], b[32];
    size_t troubles = print_troubles(row);
    printf("%sThe hub of ", troubles > 0 ? "\n" : "");
    print_value(json_object_get(row, "origin"));
    printf(" (version ");
    print_value(json_object_get(row, "version"));
    printf(") %s, for %s\n\n", troubles > 0 ? "runs" : "is well", lasting(number(row, "uptime_s"), a));
    printf("log         %s leaves; the next event is sequence %s\n", grouped(number(row, "tree_size"), a),
           grouped(number(row, "next_sequence"), b));
    printf("agencies    %s; %s sessions now\n", grouped(number(row, "agencies"), a),
           grouped(number(row, "sessions"), b));
    printf("storage     journal %s; %s free on its disk\n", sized(number(row, "journal_bytes"), a),
           sized(number(row, "disk_free_bytes"), b));
    printf("state       %s rows of %s not yet written behind the journal (nobody waits for them)\n",
           grouped(number(row, "state_lag_rows"), a), grouped(number(row, "journal_rows"), b));
    printf("clock       ");
    print_value(json_object_get(row, "clock"));
    printf("\n\nSince its start:\n");
    print_counters(json_object_get(row, "counters"));
    printf("  refused     seals and sessions, not in the log: ");
    print_refusals(json_object_get(row, "seals_refused"));
    printf("\nSince the log began:\n  refused     events, with proof in the log: ");
    print_refusals(json_object_get(row, "events_refused"));
}

static enum admin_exit run_status(struct admin_call *call)
{
    struct admin_session *session = NULL;
    json_t *rows = NULL;
    enum admin_exit exit_code = admin_session_open(call, NULL, &session);
    if (exit_code == ADMIN_UNREACHABLE) {
        fprintf(stderr,
                "If the hub ended by itself, the last lines of its log say why and what to do. Where they speak of "
                "damage, `truc log verify --home HOME`\non its machine names what is damaged; the state is made "
                "again from the journal, a damaged journal comes from its backup\n");
    }
    if (exit_code == ADMIN_OK) {
        exit_code = admin_session_query(session, "status", (const char *const[]){NULL}, &rows);
    }
    json_t *row = json_array_get(rows, 0);
    if (exit_code == ADMIN_OK && !json_is_object(row)) {
        exit_code = admin_fail(call, ADMIN_NO, "the hub answered without a status");
    }
    if (exit_code == ADMIN_OK && call->json) {
        static const struct admin_column as_it_is[] = {{NULL, NULL, ADMIN_COLUMN_TEXT}};
        admin_record_print(call, as_it_is, row);
    } else if (exit_code == ADMIN_OK) {
        print_status(row);
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
