/* truc log export: one event's evidence (from the home or online), or a range as NDJSON. */
#include "hub/admin/log_home.h"
#include "hub/admin/output.h"
#include "hub/admin/session.h"

struct exporting {
    FILE *out;
    bool content;
    uint64_t count, erased;
};

/* The event as JSON text; empty where its bytes are no event. */
static truc_error content_json(struct truc_bytes bytes, struct truc_buffer *out)
{
    struct truc_event event;
    truc_error error = truc_event_parse(bytes, &event);
    return error == TRUC_OK ? truc_event_to_json(&event, out) : TRUC_OK;
}

/* Members to stand behind the row's own: `,"event":{...}`. The event's text goes in as it is, numbers in their
 * spelling. */
static truc_error content_members(struct exporting *exporting, struct admin_log *log,
                                  const struct admin_log_event *event, struct truc_buffer *out)
{
    struct truc_buffer bytes = {0}, text = {0};
    truc_error error = admin_log_content(log, event, &bytes);
    if (error == TRUC_E_NOT_FOUND) {
        exporting->erased++;
        error = truc_buffer_printf(out, ",\"erased\":true");
    } else if (error == TRUC_OK) {
        error = content_json(truc_buffer_view(&bytes), &text);
        bool readable = text.size > 0;
        if (error == TRUC_OK && !readable) { /* refused as malformed: its bytes are evidence all the same */
            error = truc_base64_encode(truc_buffer_view(&bytes), &text);
        }
        error = error != TRUC_OK ? error : truc_buffer_printf(out, readable ? ",\"event\":" : ",\"event_base64\":\"");
        error = error != TRUC_OK ? error : truc_buffer_append(out, text.data, text.size);
        error = error != TRUC_OK || readable ? error : truc_buffer_append(out, "\"", 1);
    }
    truc_buffer_close(&bytes);
    truc_buffer_close(&text);
    return error;
}

static truc_error export_event(void *context, struct admin_log *log, const struct admin_log_event *event)
{
    struct exporting *exporting = context;
    struct truc_buffer members = {0};
    json_t *row = admin_log_row(event);
    char *text = json_dumps(row, JSON_COMPACT);
    admin_must(text != NULL);
    truc_error error = exporting->content ? content_members(exporting, log, event, &members) : TRUC_OK;
    if (error == TRUC_OK) {
        size_t size = strlen(text) - 1; /* without its closing brace */
        bool ok = fwrite(text, 1, size, exporting->out) == size &&
                  (members.size == 0 || fwrite(members.data, 1, members.size, exporting->out) == members.size) &&
                  fputs("}\n", exporting->out) != EOF;
        error = ok ? TRUC_OK : TRUC_E_IO;
    }
    exporting->count++;
    free(text);
    json_decref(row);
    truc_buffer_close(&members);
    return error;
}

static enum admin_exit export_range(struct admin_call *call)
{
    struct admin_log log;
    struct admin_log_filter filter;
    struct admin_output output;
    char agency[TRUC_AGENCY_MAX + 1];
    enum admin_exit exit_code = admin_log_filter_read(call, &filter, agency);
    if (exit_code == ADMIN_OK && admin_text(call, "home") == NULL) {
        exit_code = admin_fail(call, ADMIN_USAGE,
                               "a range is read from the hub's --home DIR on its machine; online, one "
                               "event's evidence can be had with --sequence N --profile DIR");
    }
    if (exit_code == ADMIN_OK) {
        exit_code = admin_log_open(call, &log);
    }
    if (exit_code != ADMIN_OK) {
        return exit_code;
    }
    exit_code = admin_output_open(call, admin_text(call, "output"), &output);
    if (exit_code == ADMIN_OK) {
        struct exporting exporting = {.out = output.out, .content = admin_flag(call, "content")};
        truc_error error = admin_log_walk(&log, &filter, export_event, &exporting);
        if (error != TRUC_OK) {
            exit_code = admin_log_explain(&log, error, "exporting");
        }
        exit_code = admin_output_close(call, &output, exit_code);
        if (exit_code == ADMIN_OK) {
            fprintf(stderr, "%llu events%s", (unsigned long long)exporting.count,
                    exporting.content ? "" : ", without contents (--content adds them)");
            fprintf(stderr, exporting.erased > 0 ? ", %llu of them erased\n" : "\n",
                    (unsigned long long)exporting.erased);
        }
    }
    admin_log_close(&log);
    return exit_code;
}

/* ---- evidence -------------------------------------------------------------------------------------------------------
 */

static enum admin_exit write_evidence(const struct admin_call *call, const struct truc_evidence *evidence)
{
    struct truc_buffer text = {0};
    struct admin_output output;
    enum admin_exit exit_code = ADMIN_OK;
    truc_error error = truc_evidence_encode(evidence, &text);
    if (error != TRUC_OK) {
        exit_code = admin_fail(call, ADMIN_NO, "the evidence cannot be written down: %s", truc_error_string(error));
    } else {
        exit_code = admin_output_open(call, admin_text(call, "output"), &output);
        if (exit_code == ADMIN_OK) {
            (void)fwrite(text.data, 1, text.size, output.out); /* close looks at ferror */
            if (text.size > 0 && text.data[text.size - 1] != '\n') {
                (void)fputc('\n', output.out);
            }
            exit_code = admin_output_close(call, &output, ADMIN_OK);
        }
        if (exit_code == ADMIN_OK && output.path != NULL && !call->json) {
            printf("Evidence is in %s%s. Anybody checks it offline with\n"
                   "  truc verify %s --note-key NOTE_KEY --agency-key SENDERS_PUBLIC_KEY.pem\n",
                   output.path, evidence->event.size == 0 ? " (the content was erased; its hash stands for it)" : "",
                   output.path);
        }
    }
    truc_buffer_close(&text);
    return exit_code;
}

struct fetching {
    const struct admin_call *call;
    bool done;
    truc_reason reason;
    enum admin_exit exit_code;
};

static void on_evidence(void *context, truc_reason reason, const struct truc_evidence *evidence)
{
    struct fetching *fetching = context;
    fetching->done = true;
    fetching->reason = reason;
    if (reason == TRUC_ACCEPTED && evidence != NULL) {
        fetching->exit_code = write_evidence(fetching->call, evidence);
    }
}

static bool fetched(void *context)
{
    return ((struct fetching *)context)->done;
}

static enum admin_exit export_online(struct admin_call *call, uint64_t sequence)
{
    static struct fetching fetching; /* outlives this call, as the client may hold it until it is freed */
    struct admin_session *session = NULL;
    fetching = (struct fetching){.call = call};
    enum admin_exit exit_code = admin_session_open(call, NULL, &session);
    if (exit_code != ADMIN_OK) {
        return exit_code;
    }
    truc_error error = truc_client_evidence(admin_session_client(session), sequence, on_evidence, &fetching);
    if (error == TRUC_OK) {
        error = admin_session_run(session, fetched, &fetching, (int64_t)admin_number(call, "timeout", 20) * 1000);
    }
    if (error != TRUC_OK) {
        exit_code = admin_session_explain(session, error, "asking for evidence");
    } else if (fetching.reason != TRUC_ACCEPTED) {
        exit_code = admin_fail(call, ADMIN_REFUSED, "the hub gives no evidence of sequence %llu: %s. %s",
                               (unsigned long long)sequence, truc_reason_name(fetching.reason),
                               fetching.reason == TRUC_NOT_GRANTED
                                   ? "There is no such event, or this profile is neither its sender, its recipient, "
                                     "an auditor nor an administrator"
                                   : truc_reason_advice(fetching.reason));
    } else {
        exit_code = fetching.exit_code;
    }
    admin_session_close(&session);
    return exit_code;
}

static enum admin_exit export_offline(struct admin_call *call, uint64_t sequence)
{
    struct admin_log log;
    struct truc_evidence evidence = {0};
    enum admin_exit exit_code = admin_log_open(call, &log);
    if (exit_code != ADMIN_OK) {
        return exit_code;
    }
    truc_error error = admin_log_evidence(&log, sequence, &evidence);
    if (error == TRUC_E_NOT_FOUND) {
        exit_code = admin_fail(call, ADMIN_NO, "the log has no sequence %llu; its last is %llu",
                               (unsigned long long)sequence, (unsigned long long)hub_core_next_sequence(log.core) - 1);
    } else if (error == TRUC_E_AGAIN) {
        exit_code = admin_fail(call, ADMIN_NO,
                               "no checkpoint on disk covers sequence %llu yet: ask the running hub with "
                               "--profile DIR, or try again when it has written one",
                               (unsigned long long)sequence);
    } else if (error != TRUC_OK) {
        exit_code = admin_log_explain(&log, error, "making evidence");
    } else {
        exit_code = write_evidence(call, &evidence);
    }
    truc_evidence_close(&evidence);
    admin_log_close(&log);
    return exit_code;
}

static enum admin_exit run_export(struct admin_call *call)
{
    const struct admin_value *sequence = admin_value(call, "sequence");
    static const char *const of_ranges[] = {"from", "to", "since", "until", "agency", "type", "subject", "content"};
    if (!sequence->given) {
        return export_range(call);
    }
    for (size_t i = 0; i < sizeof(of_ranges) / sizeof(of_ranges[0]); i++) {
        if (admin_value(call, of_ranges[i])->given) {
            return admin_fail(call, ADMIN_USAGE, "--sequence is one event's evidence; --%s belongs to a range",
                              of_ranges[i]);
        }
    }
    return admin_text(call, "home") != NULL ? export_offline(call, sequence->number)
                                            : export_online(call, sequence->number);
}

static const struct admin_option export_options[] = {
    {"sequence", ADMIN_NUMBER, "N", "evidence of this one event", false},
    {"output", ADMIN_TEXT, "FILE", "(-o) a new file; default: standard output", false},
    {"home", ADMIN_TEXT, "DIR", "the hub's home on this machine; it is only read", false},
    ADMIN_ONLINE_OPTIONS,
    ADMIN_FILTER_OPTIONS,
    {"content", ADMIN_FLAG, NULL, "a range's lines with the events' contents: mind who reads them", false},
    ADMIN_END};

const struct admin_command admin_export_commands[] = {{"log export", "", 0, 0,
                                                       "one event's proof as a file (evidence), or a range as NDJSON",
                                                       export_options, run_export},
                                                      {NULL, NULL, 0, 0, NULL, NULL, NULL}};
