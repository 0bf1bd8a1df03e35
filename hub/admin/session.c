#include "hub/admin/session_internal.h"

#include "truc/config.h"

#include <errno.h>
#include <unistd.h>

#define DEFAULT_TIMEOUT_S 20
#define LOCK_WAIT_MS 3000

char *admin_proto_text(const char *text)
{
    return (char *)(uintptr_t)(text == NULL ? "" : text);
}

/* An agency that made its own keys and takes their folder for the whole profile. */
static void hint_at_own_keys(const char *folder)
{
    char *key = NULL, *yaml = NULL;
    admin_must(asprintf(&key, "%s/sign.pem", folder) >= 0 && asprintf(&yaml, "%s/profile.yaml", folder) >= 0);
    if (access(key, F_OK) == 0 && access(yaml, F_OK) != 0) {
        fprintf(stderr,
                "There are only an agency's own keys in it. The hub's administrator makes the other files, none of "
                "them secret,\nwith `truc agency add ... --profile-out DIR` or `truc agency profile CODE --out DIR`: "
                "copy them into %s\n",
                folder);
    }
    free(key);
    free(yaml);
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
        hint_at_own_keys(folder);
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

/* Once when it begins or is another one, and when it is over: what waits is not stuck without a word. */
static void on_obstacle(void *context, const struct truc_obstacle *obstacle)
{
    struct admin_session *session = context;
    char since[40];
    const char *name = session->call->command->name;
    if (obstacle->name[0] == '\0') {
        fprintf(stderr, "truc %s: what was in the way is over\n", name);
        return;
    }
    truc_time_format(obstacle->since_us, since);
    fprintf(stderr, "truc %s: waiting since %s: %s. %s%s\n", name, since, obstacle->name, obstacle->text,
            obstacle->spool_full ? "" : " It is sent again by itself; what was handed over stays in the spool");
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
    if (timeout_ms == ADMIN_RUN_TIMEOUT) {
        timeout_ms = session->timeout_ms;
    }
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
                                                    .on_settled = on_settled,
                                                    .on_obstacle = on_obstacle};
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
