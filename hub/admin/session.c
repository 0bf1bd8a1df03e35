#include "hub/admin/session.h"

#include "truc/config.h"

#include <errno.h>

#define DEFAULT_TIMEOUT_S 20

/* An event that was handed over in this command. */
#define LOCK_WAIT_MS 3000

struct waiting {
    uint64_t ticket;
    bool answered;
    struct truc_receipt receipt; /* its borrowed members are not kept */
    char *text;
    char *id, *type;
};

struct admin_session {
    const struct admin_call *call;
    struct admin_session_hooks hooks;
    struct truc_profile *profile;
    struct truc_client *client;
    int64_t timeout_ms;
    enum truc_client_state state;
    truc_error state_error;
    char state_text[512];
    struct waiting *waiting;
    size_t waiting_count, waiting_capacity, answered_count, first_unanswered;
    size_t older; /* receipts of earlier commands that came now */
};

char *admin_proto_text(const char *text)
{
    return (char *)(uintptr_t)(text == NULL ? "" : text);
}

enum admin_exit admin_profile(const struct admin_call *call, struct truc_profile **out)
{
    const char *folder = admin_text(call, "profile");
    folder = folder == NULL ? getenv("TRUC_PROFILE") : folder;
    if (folder == NULL || folder[0] == '\0') {
        return admin_fail(
            call, ADMIN_USAGE,
            "which profile? Give --profile DIR or set TRUC_PROFILE (`truc init` made admin-1 and admin-2)");
    }
    struct truc_buffer why = {0};
    truc_error error = truc_profile_load(folder, out, &why);
    if (error != TRUC_OK) {
        admin_fail(call, ADMIN_USAGE, "the profile %s cannot be used: %s", folder, truc_error_string(error));
        fwrite(why.data, 1, why.size, stderr);
    }
    truc_buffer_close(&why);
    return error == TRUC_OK ? ADMIN_OK : ADMIN_USAGE;
}

static void on_state(void *context, enum truc_client_state state, truc_error error, const char *text)
{
    struct admin_session *session = context;
    session->state = state;
    /* A later "connecting" must not hide why the last attempt failed. */
    if (error != TRUC_OK || (text != NULL && text[0] != '\0')) {
        session->state_error = error;
        snprintf(session->state_text, sizeof(session->state_text), "%s",
                 text == NULL || text[0] == '\0' ? truc_error_string(error) : text);
    }
}

static void on_receipt(void *context, const struct truc_receipt *receipt)
{
    struct admin_session *session = context;
    while (session->first_unanswered < session->waiting_count && session->waiting[session->first_unanswered].answered) {
        session->first_unanswered++; /* receipts come nearly in order: the search ends where it begins */
    }
    for (size_t i = session->first_unanswered; i < session->waiting_count; i++) {
        struct waiting *waiting = &session->waiting[i];
        if (waiting->ticket == receipt->ticket && !waiting->answered) {
            waiting->answered = true;
            waiting->receipt = *receipt;
            waiting->text = strdup(receipt->text == NULL ? "" : receipt->text);
            admin_must(waiting->text != NULL);
            session->answered_count++;
            return;
        }
    }
    session->older++;
}

static void on_delivery(void *context, const struct truc_delivery *delivery)
{
    struct admin_session *session = context;
    if (session->hooks.on_delivery != NULL) {
        session->hooks.on_delivery(session->hooks.context, delivery);
    }
}

static void on_settled(void *context, uint64_t first_number, uint32_t count)
{
    struct admin_session *session = context;
    if (session->hooks.on_settled != NULL) {
        session->hooks.on_settled(session->hooks.context, first_number, count);
    }
}

struct run {
    struct admin_session *session;
    bool (*done)(void *context);
    void *context;
};

static bool run_done(void *context)
{
    const struct run *run = context;
    return run->session->state == TRUC_CLIENT_STOPPED || (run->done != NULL && run->done(run->context));
}

truc_error admin_session_run(struct admin_session *session, bool (*done)(void *context), void *context,
                             int64_t timeout_ms)
{
    struct run run = {session, done, context};
    int limit = timeout_ms < 0 ? -1 : timeout_ms > INT32_MAX ? INT32_MAX : (int)timeout_ms;
    truc_error error = truc_client_run(session->client, run_done, &run, limit);
    if (error == TRUC_OK && session->state == TRUC_CLIENT_STOPPED && (done == NULL || !done(context))) {
        error = session->state_error == TRUC_OK ? TRUC_E_REFUSED : session->state_error;
    }
    return error;
}

enum admin_exit admin_session_explain(struct admin_session *session, truc_error error, const char *doing)
{
    const char *detail = session->state_text[0] == '\0' ? truc_error_string(error) : session->state_text;
    if (error == TRUC_E_TIMEOUT && session->state != TRUC_CLIENT_OPEN) {
        const struct truc_client_config *config = truc_profile_config(session->profile);
        return admin_fail(session->call, ADMIN_UNREACHABLE,
                          "%s: no hub answered in %lld s at %s%s (%s). Is it running, is the address right, is this "
                          "profile's transport key enrolled?",
                          doing, (long long)(session->timeout_ms / 1000),
                          config->endpoint_count > 0 ? config->endpoints[0] : "no endpoint",
                          config->endpoint_count > 1 ? " and the others" : "", detail);
    }
    if (error == TRUC_E_TIMEOUT) {
        return admin_fail(session->call, ADMIN_UNREACHABLE,
                          "%s: connected, but no answer in %lld s%s%s. What was handed over stays in the spool and is "
                          "sent again with the next command of this profile",
                          doing, (long long)(session->timeout_ms / 1000), session->state_error == TRUC_OK ? "" : ": ",
                          session->state_error == TRUC_OK ? "" : session->state_text);
    }
    if (error == TRUC_E_FORKED) {
        return admin_fail(
            session->call, ADMIN_DAMAGED,
            "%s: THE HUB'S LOG IS NOT THE CONTINUATION OF THE ONE SEEN BEFORE (%s). Stop using it and let an "
            "auditor compare checkpoints",
            doing, detail);
    }
    return admin_fail(session->call, admin_exit_of(error), "%s: %s", doing, detail);
}

/* A hub that says no at the door says it again at the next try: a command need not wait for that. */
static bool is_decided(void *context)
{
    const struct admin_session *session = context;
    return session->state == TRUC_CLIENT_OPEN || session->state_error == TRUC_E_REFUSED;
}

/* Two commands of one profile at the same time, a watching `status` beside a person's work: the second one waits a
 * little for the first. A program that stays, such as an adapter, is told of instead. */
static truc_error make_client(struct admin_session *session, const struct truc_client_callbacks *callbacks)
{
    const struct truc_client_config *config = truc_profile_config(session->profile);
    const struct timespec pause = {0, 50L * 1000 * 1000};
    truc_error error = truc_client_new(config, callbacks, &session->client);
    for (int64_t waited_ms = 0; error == TRUC_E_LOCKED && waited_ms < LOCK_WAIT_MS && waited_ms < session->timeout_ms;
         waited_ms += 50) {
        (void)nanosleep(&pause, NULL); /* a signal only makes the next try sooner */
        error = truc_client_new(config, callbacks, &session->client);
    }
    return error;
}

static enum admin_exit open_client(struct admin_session *session)
{
    const struct truc_client_callbacks callbacks = {.context = session,
                                                    .on_state = on_state,
                                                    .on_receipt = on_receipt,
                                                    .on_delivery = on_delivery,
                                                    .on_settled = on_settled};
    struct truc_client_config *config = truc_profile_config(session->profile);
    config->software = "truc/0.1";
    if (session->hooks.receive_events != 0) {
        config->receive_events = session->hooks.receive_events;
    }
    truc_error error = make_client(session, &callbacks);
    if (error == TRUC_E_LOCKED) {
        return admin_fail(session->call, ADMIN_NO,
                          "another program uses this profile's spool %s now; wait for it, or use another profile",
                          config->spool);
    }
    if (error == TRUC_E_UNKNOWN_KEY) {
        return admin_fail(session->call, ADMIN_USAGE,
                          "the spool %s belongs to another log or agency than this profile; give it an own folder",
                          config->spool);
    }
    if (error != TRUC_OK) {
        return admin_fail(session->call, admin_exit_of(error), "the client cannot start (spool %s): %s%s%s",
                          config->spool, truc_error_string(error), error == TRUC_E_IO ? ": " : "",
                          error == TRUC_E_IO ? strerror(errno) : "");
    }
    error = admin_session_run(session, is_decided, session, session->timeout_ms);
    if (error == TRUC_OK && session->state != TRUC_CLIENT_OPEN) {
        error = TRUC_E_REFUSED;
    }
    return error == TRUC_OK ? ADMIN_OK : admin_session_explain(session, error, "connecting");
}

enum admin_exit admin_session_open(const struct admin_call *call, const struct admin_session_hooks *hooks,
                                   struct admin_session **out)
{
    uint64_t timeout_s = admin_number(call, "timeout", DEFAULT_TIMEOUT_S);
    if (timeout_s == 0 || timeout_s > 86400) {
        return admin_fail(call, ADMIN_USAGE, "--timeout: 1 to 86400 seconds");
    }
    struct admin_session *session = calloc(1, sizeof(*session));
    admin_must(session != NULL);
    session->call = call;
    session->timeout_ms = (int64_t)timeout_s * 1000;
    if (hooks != NULL) {
        session->hooks = *hooks;
    }
    enum admin_exit exit_code = admin_profile(call, &session->profile);
    if (exit_code == ADMIN_OK) {
        exit_code = open_client(session);
    }
    if (exit_code != ADMIN_OK) {
        admin_session_close(&session);
    }
    *out = session;
    return exit_code;
}

void admin_session_close(struct admin_session **session)
{
    struct admin_session *self = *session;
    if (self == NULL) {
        return;
    }
    if (self->older > 0 && !self->call->json) {
        fprintf(stderr, "truc: %zu receipts of earlier commands of this profile came in, too\n", self->older);
    }
    truc_client_free(&self->client);
    truc_profile_free(&self->profile);
    for (size_t i = 0; i < self->waiting_count; i++) {
        free(self->waiting[i].text);
        free(self->waiting[i].id);
        free(self->waiting[i].type);
    }
    free(self->waiting);
    free(self);
    *session = NULL;
}

struct truc_client *admin_session_client(struct admin_session *session)
{
    return session->client;
}

const struct truc_client_config *admin_session_config(struct admin_session *session)
{
    return truc_profile_config(session->profile);
}

/* ---- queries --------------------------------------------------------------------------------------------------------
 */

struct query {
    json_t *rows;
    bool done, broken;
    truc_reason reason;
    char text[256];
};

static void on_answer(void *context, truc_reason reason, const char *text, struct truc_bytes json, bool last)
{
    struct query *query = context;
    query->done = last;
    query->reason = reason;
    if (reason != TRUC_ACCEPTED) {
        query->done = true;
        snprintf(query->text, sizeof(query->text), "%s", text == NULL ? "" : text);
        return;
    }
    json_t *page = json_loadb((const char *)json.data, json.size, JSON_REJECT_DUPLICATES, NULL);
    if (!json_is_array(page) || json_array_extend(query->rows, page) != 0) {
        query->broken = query->done = true;
    }
    json_decref(page);
}

static bool query_done(void *context)
{
    return ((struct query *)context)->done;
}

enum admin_exit admin_session_query(struct admin_session *session, const char *what, const char *const *arguments,
                                    json_t **rows)
{
    /* Static: should the time be over before the answer, the client may still hold the context until it is freed. */
    static struct query query;
    memset(&query, 0, sizeof(query));
    query.rows = json_array();
    admin_must(query.rows != NULL);
    enum admin_exit exit_code = ADMIN_OK;
    truc_error error = truc_client_query(session->client, what, arguments, on_answer, &query);
    if (error == TRUC_OK) {
        error = admin_session_run(session, query_done, &query, session->timeout_ms);
    }
    if (error != TRUC_OK) {
        exit_code = admin_session_explain(session, error, what);
    } else if (query.reason != TRUC_ACCEPTED) {
        exit_code = admin_fail(session->call, ADMIN_REFUSED, "the hub refused the query '%s': %s: %s", what,
                               truc_reason_name(query.reason),
                               query.text[0] != '\0' ? query.text : truc_reason_advice(query.reason));
    } else if (query.broken) {
        exit_code = admin_fail(session->call, ADMIN_NO, "the hub's answer to '%s' is not an array of rows", what);
    }
    if (exit_code == ADMIN_OK) {
        *rows = query.rows;
    } else if (error == TRUC_OK) {
        json_decref(query.rows);
    }
    return exit_code;
}

enum admin_exit admin_query_changed(const struct admin_call *call, const char *what, const char *const *arguments,
                                    const struct admin_column *columns, const char *empty, void (*change)(json_t *rows))
{
    struct admin_session *session = NULL;
    json_t *rows = NULL;
    enum admin_exit exit_code = admin_session_open(call, NULL, &session);
    if (exit_code == ADMIN_OK) {
        exit_code = admin_session_query(session, what, arguments, &rows);
    }
    if (exit_code == ADMIN_OK && change != NULL) {
        change(rows);
    }
    if (exit_code == ADMIN_OK) {
        admin_table_print(call, columns, rows, empty);
    }
    json_decref(rows);
    admin_session_close(&session);
    return exit_code;
}

/* ---- submitting -----------------------------------------------------------------------------------------------------
 */

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
        {"key add", "The agency is not enrolled, or this key is enrolled already: truc key list"},
        {"key revoke", "The agency has no such key, it is revoked already, or it is the last administrator's: "
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

enum admin_exit admin_govern_once(const struct admin_call *call, const Truc__V1__Governance *act, const char *did)
{
    struct admin_session *session = NULL;
    json_t *rows = NULL;
    enum admin_exit exit_code = admin_session_open(call, NULL, &session);
    if (exit_code == ADMIN_OK) {
        exit_code = admin_session_govern(session, act);
    }
    if (exit_code == ADMIN_OK) {
        exit_code = admin_session_settle(session, &rows);
        admin_receipts_print(call, rows, did);
    }
    json_decref(rows);
    admin_session_close(&session);
    return exit_code;
}
