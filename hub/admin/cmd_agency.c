/* truc agency list|show|suspend|resume|quota */
#include "hub/admin/keys.h"
#include "hub/admin/session.h"

#include <inttypes.h>

static const struct admin_column agency_columns[] = {
    {"agency", "AGENCY", ADMIN_COLUMN_TEXT},     {"name", "NAME", ADMIN_COLUMN_TEXT},
    {"role", "ROLE", ADMIN_COLUMN_TEXT},         {"state", "STATE", ADMIN_COLUMN_TEXT},
    {"groups", "GROUPS", ADMIN_COLUMN_TEXT},     {"keys", "KEYS", ADMIN_COLUMN_TEXT},
    {"sessions", "SESSIONS", ADMIN_COLUMN_TEXT}, {"inbox_pending", "PENDING", ADMIN_COLUMN_TEXT},
    {"inbox_dead", "DEAD", ADMIN_COLUMN_TEXT},   {NULL, NULL, ADMIN_COLUMN_TEXT}};

static const struct admin_column shown_columns[] = {{"agency", "AGENCY", ADMIN_COLUMN_TEXT},
                                                    {"name", "NAME", ADMIN_COLUMN_TEXT},
                                                    {"role", "ROLE", ADMIN_COLUMN_TEXT},
                                                    {"state", "STATE", ADMIN_COLUMN_TEXT},
                                                    {"groups", "GROUPS", ADMIN_COLUMN_TEXT},
                                                    {"sessions", "SESSIONS", ADMIN_COLUMN_TEXT},
                                                    {"keys", "SIGNING KEYS", ADMIN_COLUMN_TEXT},
                                                    {"quota_events_per_s", "EVENTS A SECOND", ADMIN_COLUMN_TEXT},
                                                    {"quota_bytes_per_s", "BYTES A SECOND", ADMIN_COLUMN_TEXT},
                                                    {"inbox_pending", "PENDING", ADMIN_COLUMN_TEXT},
                                                    {"inbox_dead", "DEAD LETTERS", ADMIN_COLUMN_TEXT},
                                                    {NULL, NULL, ADMIN_COLUMN_TEXT}};

static enum admin_exit run_list(struct admin_call *call)
{
    return admin_query_once(call, "agencies", (const char *const[]){NULL}, agency_columns, "no agencies");
}

/* Appends the rows whose `key` is one of the agency's names to the object under `title`. */
static enum admin_exit add_rows(struct admin_session *session, json_t *row, const char *title, const char *what,
                                const char *argument, const char *agency)
{
    json_t *rows = NULL, *old = json_object_get(row, title);
    const char *const arguments[] = {argument, agency, NULL};
    enum admin_exit exit_code = admin_session_query(session, what, arguments, &rows);
    if (exit_code != ADMIN_OK) {
        return exit_code;
    }
    if (old == NULL) {
        admin_must(json_object_set_new(row, title, rows) == 0);
    } else {
        admin_must(json_array_extend(old, rows) == 0);
        json_decref(rows);
    }
    return ADMIN_OK;
}

static void print_part(const struct admin_call *call, json_t *row, const char *title,
                       const struct admin_column *columns)
{
    printf("\n%s\n", title);
    admin_table_print(call, columns, json_object_get(row, title), "  none");
    admin_must(json_object_del(row, title) == 0);
}

static void name_no_limit(json_t *row, const char *key)
{
    if (json_integer_value(json_object_get(row, key)) == 0) {
        admin_must(json_object_set_new(row, key, json_string("no limit")) == 0);
    }
}

static void show(const struct admin_call *call, json_t *row)
{
    static const struct admin_column grants[] = {
        {"grant", "GRANT", ADMIN_COLUMN_TEXT}, {"from", "FROM", ADMIN_COLUMN_TEXT},   {"to", "TO", ADMIN_COLUMN_TEXT},
        {"type", "TYPE", ADMIN_COLUMN_TEXT},   {"state", "STATE", ADMIN_COLUMN_TEXT}, {NULL, NULL, ADMIN_COLUMN_TEXT}};
    static const struct admin_column subscriptions[] = {{"type", "TYPE", ADMIN_COLUMN_TEXT},
                                                        {"source_agency", "ONLY FROM", ADMIN_COLUMN_TEXT},
                                                        {NULL, NULL, ADMIN_COLUMN_TEXT}};
    static const struct admin_column inbox[] = {{"next_number", "NEXT NUMBER", ADMIN_COLUMN_TEXT},
                                                {"floor", "SETTLED UP TO", ADMIN_COLUMN_TEXT},
                                                {"pending", "PENDING", ADMIN_COLUMN_TEXT},
                                                {"dead", "DEAD", ADMIN_COLUMN_TEXT},
                                                {NULL, NULL, ADMIN_COLUMN_TEXT}};
    if (call->json) {
        admin_record_print(call, agency_columns, row);
        return;
    }
    json_t *head = json_copy(row);
    admin_must(head != NULL);
    static const char *const parts[] = {"keys of the agency", "grants from it", "grants to it", "subscriptions",
                                        "inbox"};
    for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]); i++) {
        admin_must(json_object_del(head, parts[i]) == 0);
    }
    name_no_limit(head, "quota_events_per_s");
    name_no_limit(head, "quota_bytes_per_s");
    admin_record_print(call, shown_columns, head);
    json_decref(head);
    print_part(call, row, parts[0], admin_key_columns + 1);
    print_part(call, row, parts[1], grants);
    print_part(call, row, parts[2], grants);
    print_part(call, row, parts[3], subscriptions);
    print_part(call, row, parts[4], inbox);
}

static enum admin_exit run_show(struct admin_call *call)
{
    char agency[TRUC_AGENCY_MAX + 1];
    struct admin_session *session = NULL;
    json_t *rows = NULL;
    enum admin_exit exit_code = admin_agency(call, call->operands[0], agency);
    if (exit_code == ADMIN_OK) {
        exit_code = admin_session_open(call, NULL, &session);
    }
    if (exit_code == ADMIN_OK) {
        exit_code = admin_session_query(session, "agencies", (const char *const[]){"agency", agency, NULL}, &rows);
    }
    json_t *row = json_array_get(rows, 0);
    if (exit_code == ADMIN_OK && row == NULL) {
        exit_code = admin_fail(call, ADMIN_NO, "no agency %s is enrolled; `truc agency list` shows all", agency);
    }
    if (exit_code == ADMIN_OK) {
        exit_code = add_rows(session, row, "keys of the agency", "keys", "agency", agency);
    }
    if (exit_code == ADMIN_OK) {
        exit_code = add_rows(session, row, "grants from it", "grants", "from", agency);
    }
    if (exit_code == ADMIN_OK) {
        exit_code = add_rows(session, row, "grants to it", "grants", "to", agency);
    }
    if (exit_code == ADMIN_OK) {
        exit_code = add_rows(session, row, "subscriptions", "subscriptions", "agency", agency);
    }
    if (exit_code == ADMIN_OK) {
        exit_code = add_rows(session, row, "inbox", "inbox", "agency", agency);
    }
    admin_transport_rows(json_object_get(row, "keys of the agency"));
    if (exit_code == ADMIN_OK) {
        show(call, row);
    }
    json_decref(rows);
    admin_session_close(&session);
    return exit_code;
}

/* ---- suspend, resume ------------------------------------------------------------------------------------------------
 */

/* Does the agency hold a valid key of this kind? */
static bool has_key(json_t *keys, const char *agency, const char *column)
{
    size_t at;
    json_t *row;
    json_array_foreach(keys, at, row)
    {
        if (json_object_get(row, column) != NULL && strcmp(admin_row_text(row, "agency"), agency) == 0 &&
            strcmp(admin_row_text(row, "state"), "valid") == 0) {
            return true;
        }
    }
    return false;
}

static enum admin_exit ask_if_last(const struct admin_call *call, json_t *agencies, json_t *keys, const char *agency)
{
    size_t at, others = 0;
    bool concerned = false;
    char warning[256];
    json_t *row;
    json_array_foreach(agencies, at, row)
    {
        const char *code = admin_row_text(row, "agency");
        if (strcmp(admin_row_text(row, "role"), "administrator") == 0 &&
            strcmp(admin_row_text(row, "state"), "active") == 0) {
            concerned = concerned || strcmp(code, agency) == 0;
            others += strcmp(code, agency) != 0 && has_key(keys, code, "keyid") && has_key(keys, code, "transport_key");
        }
    }
    if (concerned && others == 0) {
        snprintf(warning, sizeof(warning),
                 "%s is the last administrator who can act. The hub refuses to suspend it, since nobody could govern "
                 "the log any more: enrol another one first (truc agency add --role administrator)",
                 agency);
        return admin_confirm(call, warning);
    }
    if (concerned && others == 1) {
        fprintf(stderr, "truc: note: one administrator is left then; should that key be lost, nobody can govern\n");
    }
    return ADMIN_OK;
}

static enum admin_exit ask_before_suspending(const struct admin_call *call, struct admin_session *session,
                                             const char *agency)
{
    json_t *agencies = NULL, *keys = NULL;
    enum admin_exit exit_code = admin_session_query(session, "agencies", (const char *const[]){NULL}, &agencies);
    if (exit_code == ADMIN_OK) {
        exit_code = admin_session_query(session, "keys", (const char *const[]){NULL}, &keys);
    }
    if (exit_code == ADMIN_OK) {
        exit_code = ask_if_last(call, agencies, keys, agency);
    }
    json_decref(agencies);
    json_decref(keys);
    return exit_code;
}

static enum admin_exit set_state(struct admin_call *call, Truc__V1__Governance__ActCase which, const char *done)
{
    char agency[TRUC_AGENCY_MAX + 1], did[128];
    struct admin_session *session = NULL;
    Truc__V1__AgencyRef ref = TRUC__V1__AGENCY_REF__INIT;
    Truc__V1__Governance act = admin_act(call, which);
    enum admin_exit exit_code = admin_agency(call, call->operands[0], agency);
    if (exit_code == ADMIN_OK) {
        exit_code = admin_session_open(call, NULL, &session);
    }
    if (exit_code == ADMIN_OK && which == TRUC__V1__GOVERNANCE__ACT_SUSPEND_AGENCY) {
        exit_code = ask_before_suspending(call, session, agency);
    }
    if (exit_code == ADMIN_OK) {
        ref.agency = agency;
        act.suspend_agency = &ref; /* one place of the union for both acts */
        snprintf(did, sizeof(did), "Agency %s is %s", agency, done);
        exit_code = admin_govern_in(session, &act, did);
    }
    admin_session_close(&session);
    return exit_code;
}

static enum admin_exit run_suspend(struct admin_call *call)
{
    return set_state(call, TRUC__V1__GOVERNANCE__ACT_SUSPEND_AGENCY, "suspended: it can neither send nor receive");
}

static enum admin_exit run_resume(struct admin_call *call)
{
    return set_state(call, TRUC__V1__GOVERNANCE__ACT_RESUME_AGENCY, "active again");
}

/* ---- quota ----------------------------------------------------------------------------------------------------------
 */

static enum admin_exit read_quota(const struct admin_call *call, Truc__V1__SetQuota *quota)
{
    bool events = admin_value(call, "events-per-s")->given, bytes = admin_value(call, "bytes-per-s")->given;
    uint64_t events_per_s = admin_number(call, "events-per-s", 0);
    /* The act sets both: a limit that nobody named should not fall silently. */
    if (admin_flag(call, "no-quota") || admin_flag(call, "none") ? events || bytes : !events || !bytes) {
        return admin_fail(call, ADMIN_USAGE,
                          "give both --events-per-s N and --bytes-per-s N (0: no limit), or --no-quota");
    }
    if (events_per_s > UINT32_MAX) {
        return admin_fail(call, ADMIN_USAGE, "--events-per-s: at most %u; 0 is no limit", UINT32_MAX);
    }
    quota->events_per_s = (uint32_t)events_per_s;
    quota->bytes_per_s = admin_number(call, "bytes-per-s", 0);
    return ADMIN_OK;
}

static enum admin_exit run_quota(struct admin_call *call)
{
    char agency[TRUC_AGENCY_MAX + 1], did[200], events[40] = "any number of", bytes[40] = "any number of";
    Truc__V1__SetQuota quota = TRUC__V1__SET_QUOTA__INIT;
    Truc__V1__Governance act = admin_act(call, TRUC__V1__GOVERNANCE__ACT_SET_QUOTA);
    enum admin_exit exit_code = admin_agency(call, call->operands[0], agency);
    if (exit_code == ADMIN_OK) {
        exit_code = read_quota(call, &quota);
    }
    if (exit_code != ADMIN_OK) {
        return exit_code;
    }
    quota.agency = agency;
    act.set_quota = &quota;
    if (quota.events_per_s > 0) {
        snprintf(events, sizeof(events), "%" PRIu32, quota.events_per_s);
    }
    if (quota.bytes_per_s > 0) {
        snprintf(bytes, sizeof(bytes), "%" PRIu64, quota.bytes_per_s);
    }
    snprintf(did, sizeof(did), "Agency %s may send %s events and %s bytes a second", agency, events, bytes);
    return admin_govern_once(call, &act, did);
}

static const struct admin_option plain_options[] = {ADMIN_ONLINE_OPTIONS, ADMIN_END};
static const struct admin_option resume_options[] = {ADMIN_ONLINE_OPTIONS, ADMIN_REASON_OPTION, ADMIN_END};
static const struct admin_option suspend_options[] = {ADMIN_ONLINE_OPTIONS, ADMIN_REASON_OPTION, ADMIN_YES_OPTION,
                                                      ADMIN_END};
static const struct admin_option quota_options[] = {
    ADMIN_ONLINE_OPTIONS,
    {"events-per-s", ADMIN_NUMBER, "N", "events a second that it may send; 0: no limit", false},
    {"bytes-per-s", ADMIN_NUMBER, "N", "bytes a second that it may send; 0: no limit", false},
    {"no-quota", ADMIN_FLAG, NULL, "no limit at all", false},
    {"none", ADMIN_FLAG, NULL, "the same", false},
    ADMIN_REASON_OPTION,
    ADMIN_END};

const struct admin_command admin_agency_commands[] = {
    {"agency list", "", 0, 0, "all agencies, and whether they are connected", plain_options, run_list},
    {"agency show", "CODE", 1, 1, "one agency: keys, grants, subscriptions, inbox, quota", plain_options, run_show},
    {"agency suspend", "CODE", 1, 1, "stop an agency from sending and receiving", suspend_options, run_suspend},
    {"agency resume", "CODE", 1, 1, "let a suspended agency take part again", resume_options, run_resume},
    {"agency quota", "CODE", 1, 1, "limit what an agency may send a second, or lift the limit", quota_options,
     run_quota},
    {NULL, NULL, 0, 0, NULL, NULL, NULL}};
