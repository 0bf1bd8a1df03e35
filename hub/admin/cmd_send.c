/* truc send: CloudEvents JSON in, verified receipts out. All of the input is read and encoded before the first event is
 * handed over: a mistake in the last line sends nothing. */
#include "hub/admin/send_input.h"
#include "hub/admin/session.h"

static enum admin_exit check_usage(const struct admin_call *call, bool shortcut)
{
    static const char *const only_with_type[] = {"subject", "recipients", "id", "source", "expires", "data", "time"};
    for (size_t i = 0; !shortcut && i < sizeof(only_with_type) / sizeof(only_with_type[0]); i++) {
        if (admin_text(call, only_with_type[i]) != NULL) {
            return admin_fail(call, ADMIN_USAGE, "--%s goes with --type; an event in a FILE says it itself",
                              only_with_type[i]);
        }
    }
    if (admin_text(call, "content-type") != NULL && admin_text(call, "data") == NULL) {
        return admin_fail(call, ADMIN_USAGE, "--content-type goes with --data");
    }
    if (shortcut && call->operand_count > 0) {
        return admin_fail(call, ADMIN_USAGE, "give either a FILE or --type, not both");
    }
    return ADMIN_OK;
}

static enum admin_exit read_events(const struct admin_call *call, bool shortcut, struct send_events *out)
{
    struct truc_profile *profile = NULL;
    struct truc_buffer input = {0};
    struct send_sender sender = {0};
    const char *path = call->operand_count == 0 ? "-" : call->operands[0];
    enum admin_exit exit_code = admin_profile(call, &profile);
    if (exit_code == ADMIN_OK) {
        const struct truc_client_config *config = truc_profile_config(profile);
        exit_code = send_sender_open(call, config->agency, config->spool, &sender);
    }
    if (exit_code == ADMIN_OK && shortcut) {
        exit_code = send_events_make(call, &sender, out);
    } else if (exit_code == ADMIN_OK) {
        exit_code = send_read_file(call, path, &input);
        if (exit_code == ADMIN_OK) {
            exit_code = send_events_read(call, &sender, path, truc_buffer_view(&input), out);
        }
    }
    truc_wipe(sender.secret, sizeof(sender.secret));
    truc_buffer_close(&input);
    truc_profile_free(&profile);
    return exit_code;
}

static enum admin_exit run_send(struct admin_call *call)
{
    struct admin_session *session = NULL;
    struct send_events events = {0};
    json_t *rows = NULL;
    bool shortcut = admin_text(call, "type") != NULL;
    enum admin_exit exit_code = check_usage(call, shortcut);
    if (exit_code == ADMIN_OK) {
        exit_code = read_events(call, shortcut, &events);
    }
    if (exit_code == ADMIN_OK) {
        exit_code = admin_session_open(call, NULL, &session);
    }
    if (exit_code == ADMIN_OK) {
        for (size_t i = 0; i < events.count && exit_code == ADMIN_OK; i++) {
            exit_code = admin_session_submit(session, truc_buffer_view(&events.items[i]));
        }
        /* Whatever stopped it, what was handed over is told. */
        enum admin_exit settled = admin_session_settle(session, &rows);
        exit_code = exit_code == ADMIN_OK ? settled : exit_code;
        admin_receipts_print(call, rows, NULL);
    }
    json_decref(rows);
    send_events_close(&events);
    admin_session_close(&session);
    return exit_code;
}

static const struct admin_option send_options[] = {
    ADMIN_ONLINE_OPTIONS,
    {"type", ADMIN_TEXT, "TYPE", "one event of this type instead of a FILE", false},
    {"subject", ADMIN_TEXT, "TEXT", "what it is about, a dossier's code", false},
    {"recipients", ADMIN_TEXT, "LIST", "agency codes and @groups, separated by commas (default: subscribers)", false},
    {"data", ADMIN_TEXT, "DATA", "JSON, unless --content-type says otherwise; @FILE reads a file", false},
    {"content-type", ADMIN_TEXT, "TYPE", "of the data: text/plain, image/png ... (default: application/json)", false},
    {"id", ADMIN_TEXT, "ID",
     "its id (default: made). The same command again is then the same event, sent and delivered once", false},
    {"time", ADMIN_TEXT, "TIME", "when it happened (default: now; with --id: not said)", false},
    {"source", ADMIN_TEXT, "URN", "its source (default: urn:truc:CODE)", false},
    {"expires", ADMIN_TEXT, "TIME", "not delivered afterwards", false},
    ADMIN_END};

const struct admin_command admin_send_commands[] = {
    {"send", "[FILE]", 0, 1, "send CloudEvents JSON (one, NDJSON or an array; default: standard input)", send_options,
     run_send},
    {NULL, NULL, 0, 0, NULL, NULL, NULL}};
