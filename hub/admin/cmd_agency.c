/* truc agency add|list|show|suspend|resume|quota */
#include "hub/admin/keys.h"
#include "hub/admin/session.h"

#include <inttypes.h>

static const struct admin_column agency_columns[] = {
    {"agency", "AGENCY", ADMIN_COLUMN_TEXT},     {"name", "NAME", ADMIN_COLUMN_TEXT},
    {"role", "ROLE", ADMIN_COLUMN_TEXT},         {"state", "STATE", ADMIN_COLUMN_TEXT},
    {"groups", "GROUPS", ADMIN_COLUMN_TEXT},     {"keys", "KEYS", ADMIN_COLUMN_TEXT},
    {"sessions", "SESSIONS", ADMIN_COLUMN_TEXT}, {"inbox_pending", "PENDING", ADMIN_COLUMN_TEXT},
    {"inbox_dead", "DEAD", ADMIN_COLUMN_TEXT},   {NULL, NULL, ADMIN_COLUMN_TEXT}};

static enum admin_exit read_role(const struct admin_call *call, Truc__V1__Role *out)
{
    const char *role = admin_text(call, "role");
    *out = TRUC__V1__ROLE__ROLE_AGENCY;
    if (role == NULL || strcmp(role, "agency") == 0) {
        return ADMIN_OK;
    }
    if (strcmp(role, "administrator") == 0) {
        *out = TRUC__V1__ROLE__ROLE_ADMINISTRATOR;
        return ADMIN_OK;
    }
    if (strcmp(role, "auditor") == 0) {
        *out = TRUC__V1__ROLE__ROLE_AUDITOR;
        return ADMIN_OK;
    }
    return admin_fail(call, ADMIN_USAGE, "--role: '%s' is not one of agency, administrator, auditor", role);
}

/* The keys to enrol: given ones, or new ones in a new profile folder. */
static enum admin_exit get_keys(struct admin_call *call, struct admin_session *session, const char *agency,
                                struct admin_new_keys *keys)
{
    const char *folder = admin_text(call, "profile-out");
    if (folder == NULL) {
        enum admin_exit exit_code = admin_transport_read(call, admin_text(call, "transport-key"), keys->transport);
        return exit_code == ADMIN_OK ? admin_key_read(call, admin_text(call, "key"), &keys->signing) : exit_code;
    }
    enum admin_exit exit_code = admin_keys_make(call, folder, keys);
    if (exit_code == ADMIN_OK) {
        exit_code = admin_profile_make(call, folder, agency, admin_session_config(session));
        if (exit_code != ADMIN_OK) {
            admin_profile_remove(folder);
        }
    }
    return exit_code;
}

static enum admin_exit enrol(struct admin_call *call, struct admin_session *session, const char *agency,
                             Truc__V1__EnrolAgency *enrolment)
{
    const char *folder = admin_text(call, "profile-out");
    struct admin_new_keys keys = {0};
    char did[128];
    json_t *rows = NULL;
    enum admin_exit exit_code = get_keys(call, session, agency, &keys);
    if (exit_code != ADMIN_OK) {
        return exit_code;
    }
    struct truc_bytes spki = truc_key_spki(keys.signing);
    enrolment->transport_key = (ProtobufCBinaryData){sizeof(keys.transport), keys.transport};
    enrolment->spki = (ProtobufCBinaryData){spki.size, (uint8_t *)(uintptr_t)spki.data};
    Truc__V1__Governance act = TRUC__V1__GOVERNANCE__INIT;
    act.reason = admin_proto_text(admin_text(call, "reason"));
    act.act_case = TRUC__V1__GOVERNANCE__ACT_ENROL_AGENCY;
    act.enrol_agency = enrolment;
    exit_code = admin_session_govern(session, &act);
    if (exit_code == ADMIN_OK) {
        exit_code = admin_session_settle(session, &rows);
        snprintf(did, sizeof(did), "Agency %s is enrolled", agency);
        admin_receipts_print(call, rows, did);
    }
    if (folder != NULL && exit_code == ADMIN_REFUSED) {
        admin_profile_remove(folder); /* keys that nobody enrolled are of no use */
    } else if (folder != NULL && exit_code != ADMIN_OK) {
        fprintf(stderr, "truc: whether %s is enrolled is not known yet; its profile stays in %s\n", agency, folder);
    } else if (folder != NULL && !call->json) {
        printf("Its profile is in %s: hand this folder to the agency over a safe way and keep no copy.\n"
               "Nothing reaches it or leaves it before a grant says so: truc grant add ...\n",
               folder);
    } else if (folder == NULL && exit_code == ADMIN_OK && !call->json) {
        printf("It has its own keys. Give it the hub's endpoint, and hub.public and note.key of your own profile: they "
               "are "
               "public,\nand its profile folder needs them beside its sign.pem, transport.secret, transport.public and "
               "profile.yaml.\n"
               "Nothing reaches it or leaves it before a grant says so: truc grant add ...\n");
    }
    json_decref(rows);
    truc_key_free(&keys.signing);
    return exit_code;
}

static enum admin_exit run_add(struct admin_call *call)
{
    char agency[TRUC_AGENCY_MAX + 1];
    char *groups[ADMIN_LIST_MAX];
    struct admin_session *session = NULL;
    Truc__V1__EnrolAgency enrolment = TRUC__V1__ENROL_AGENCY__INIT;
    const struct admin_value *given = admin_value(call, "group");
    bool own_keys = admin_text(call, "key") != NULL || admin_text(call, "transport-key") != NULL;
    bool both_keys = admin_text(call, "key") != NULL && admin_text(call, "transport-key") != NULL;

    enum admin_exit exit_code = admin_agency(call, call->operands[0], agency);
    if (exit_code == ADMIN_OK && (own_keys == (admin_text(call, "profile-out") != NULL) || own_keys != both_keys)) {
        exit_code =
            admin_fail(call, ADMIN_USAGE,
                       "give the agency's own keys (--key sign.pub.pem --transport-key Z85), or --profile-out DIR "
                       "to have keys and a profile made");
    }
    if (exit_code == ADMIN_OK) {
        exit_code = read_role(call, &enrolment.role);
    }
    if (exit_code != ADMIN_OK) {
        return exit_code;
    }
    enrolment.agency = agency;
    enrolment.name = admin_proto_text(admin_text(call, "name"));
    for (size_t i = 0; i < given->count; i++) {
        /* "@land" is how grants write a group; its name is "land" */
        groups[i] = admin_proto_text(given->items[i] + (given->items[i][0] == '@'));
    }
    enrolment.groups = groups;
    enrolment.n_groups = given->count;
    exit_code = admin_session_open(call, NULL, &session);
    if (exit_code == ADMIN_OK) {
        exit_code = enrol(call, session, agency, &enrolment);
    }
    admin_session_close(&session);
    return exit_code;
}

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

static void show(const struct admin_call *call, json_t *row)
{
    static const struct admin_column keys[] = {{"keyid", "KEYID", ADMIN_COLUMN_TEXT},
                                               {"transport_key", "TRANSPORT KEY", ADMIN_COLUMN_TEXT},
                                               {"algorithm", "ALGORITHM", ADMIN_COLUMN_TEXT},
                                               {"state", "STATE", ADMIN_COLUMN_TEXT},
                                               {"added_at", "ADDED AT", ADMIN_COLUMN_TIME},
                                               {"revoked_at", "REVOKED AT", ADMIN_COLUMN_TIME},
                                               {NULL, NULL, ADMIN_COLUMN_TEXT}};
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
    admin_record_print(call, agency_columns, head);
    json_decref(head);
    print_part(call, row, parts[0], keys);
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

static enum admin_exit set_state(struct admin_call *call, Truc__V1__Governance__ActCase which, const char *done)
{
    char agency[TRUC_AGENCY_MAX + 1], did[128];
    Truc__V1__AgencyRef ref = TRUC__V1__AGENCY_REF__INIT;
    Truc__V1__Governance act = TRUC__V1__GOVERNANCE__INIT;
    enum admin_exit exit_code = admin_agency(call, call->operands[0], agency);
    if (exit_code != ADMIN_OK) {
        return exit_code;
    }
    ref.agency = agency;
    act.reason = admin_proto_text(admin_text(call, "reason"));
    act.act_case = which;
    act.suspend_agency = &ref; /* one place of the union for both acts */
    snprintf(did, sizeof(did), "Agency %s is %s", agency, done);
    return admin_govern_once(call, &act, did);
}

static enum admin_exit run_suspend(struct admin_call *call)
{
    return set_state(call, TRUC__V1__GOVERNANCE__ACT_SUSPEND_AGENCY, "suspended: it can neither send nor receive");
}

static enum admin_exit run_resume(struct admin_call *call)
{
    return set_state(call, TRUC__V1__GOVERNANCE__ACT_RESUME_AGENCY, "active again");
}

static enum admin_exit run_quota(struct admin_call *call)
{
    char agency[TRUC_AGENCY_MAX + 1], did[200], events[40] = "any number of", bytes[40] = "any number of";
    Truc__V1__SetQuota quota = TRUC__V1__SET_QUOTA__INIT;
    Truc__V1__Governance act = TRUC__V1__GOVERNANCE__INIT;
    uint64_t events_per_s = admin_number(call, "events-per-s", 0);
    enum admin_exit exit_code = admin_agency(call, call->operands[0], agency);
    if (exit_code == ADMIN_OK && events_per_s > UINT32_MAX) {
        exit_code = admin_fail(call, ADMIN_USAGE, "--events-per-s: at most %u; 0 is no limit", UINT32_MAX);
    }
    if (exit_code != ADMIN_OK) {
        return exit_code;
    }
    quota.agency = agency;
    quota.events_per_s = (uint32_t)events_per_s;
    quota.bytes_per_s = admin_number(call, "bytes-per-s", 0);
    act.reason = admin_proto_text(admin_text(call, "reason"));
    act.act_case = TRUC__V1__GOVERNANCE__ACT_SET_QUOTA;
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

static const struct admin_option add_options[] = {
    ADMIN_ONLINE_OPTIONS,
    {"name", ADMIN_TEXT, "NAME", "the agency's name for people", true},
    {"group", ADMIN_LIST, "GROUP", "a group that it belongs to", false},
    {"role", ADMIN_TEXT, "ROLE", "agency (default), administrator, auditor", false},
    {"key", ADMIN_TEXT, "PEM", "its public signing key", false},
    {"transport-key", ADMIN_TEXT, "Z85", "its public transport key, 40 characters", false},
    {"profile-out", ADMIN_TEXT, "DIR", "make keys and a complete client profile in this new folder instead", false},
    {"algorithm", ADMIN_TEXT, "NAME", "of the made key: p256 (default), ed25519, rsa", false},
    ADMIN_REASON_OPTION,
    ADMIN_END};
static const struct admin_option plain_options[] = {ADMIN_ONLINE_OPTIONS, ADMIN_END};
static const struct admin_option act_options[] = {ADMIN_ONLINE_OPTIONS, ADMIN_REASON_OPTION, ADMIN_END};
/* Both are required: the act sets both, and a limit that nobody named should not fall silently. */
static const struct admin_option quota_options[] = {
    ADMIN_ONLINE_OPTIONS,
    {"events-per-s", ADMIN_NUMBER, "N", "events a second that it may send; 0: no limit", true},
    {"bytes-per-s", ADMIN_NUMBER, "N", "bytes a second that it may send; 0: no limit", true},
    ADMIN_REASON_OPTION,
    ADMIN_END};

const struct admin_command admin_agency_commands[] = {
    {"agency add", "CODE", 1, 1, "enrol an agency", add_options, run_add},
    {"agency list", "", 0, 0, "all agencies", plain_options, run_list},
    {"agency show", "CODE", 1, 1, "one agency: keys, grants, subscriptions, inbox", plain_options, run_show},
    {"agency suspend", "CODE", 1, 1, "stop an agency from sending and receiving", act_options, run_suspend},
    {"agency resume", "CODE", 1, 1, "let a suspended agency take part again", act_options, run_resume},
    {"agency quota", "CODE", 1, 1, "limit what an agency may send a second", quota_options, run_quota},
    {NULL, NULL, 0, 0, NULL, NULL, NULL}};
