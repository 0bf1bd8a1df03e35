/* truc send: CloudEvents JSON in, verified receipts out. */
#include "hub/admin/session.h"

#include "truc/config.h"

#include <errno.h>
#include <time.h>

#define INPUT_MAX (1u << 30)

static enum admin_exit read_stream(const struct admin_call *call, FILE *in, const char *name, struct truc_buffer *out)
{
    for (;;) {
        if (truc_buffer_reserve(out, 65536) != TRUC_OK || out->size > INPUT_MAX) {
            return admin_fail(call, ADMIN_NO, "%s is over 1 GiB; send it in parts", name);
        }
        size_t got = fread(out->data + out->size, 1, 65536, in);
        out->size += got;
        if (got == 0) {
            return ferror(in) ? admin_fail(call, ADMIN_NO, "%s cannot be read: %s", name, strerror(errno)) : ADMIN_OK;
        }
    }
}

static enum admin_exit read_input(const struct admin_call *call, const char *path, struct truc_buffer *out)
{
    if (strcmp(path, "-") == 0) {
        return read_stream(call, stdin, "the standard input", out);
    }
    FILE *in = fopen(path, "rbe");
    if (in == NULL) {
        return admin_fail(call, ADMIN_USAGE, "%s cannot be opened: %s", path, strerror(errno));
    }
    enum admin_exit exit_code = read_stream(call, in, path, out);
    fclose(in);
    return exit_code;
}

static void set_text(json_t *event, const char *name, const char *value)
{
    if (value != NULL) {
        json_t *text = json_string(value);
        admin_must(text != NULL && json_object_set_new(event, name, text) == 0);
    }
}

/* The event's text, with what a person need not write put in front: the version, the own source. Text is spliced, never
 * read and written again: numbers keep their spelling. */
static void complete(const json_t *event, struct truc_bytes raw, const char *agency, struct truc_buffer *out)
{
    bool empty = json_object_size(event) == 0;
    truc_error error = truc_buffer_append(out, "{", 1);
    if (error == TRUC_OK && json_object_get(event, "specversion") == NULL) {
        error = truc_buffer_printf(out, "\"specversion\":\"1.0\"%s", empty ? "" : ",");
    }
    if (error == TRUC_OK && json_object_get(event, "source") == NULL) {
        error = truc_buffer_printf(out, "%s\"source\":\"" TRUC_SOURCE_PREFIX "%s\"%s", empty ? "," : "", agency,
                                   empty ? "" : ",");
    }
    admin_must(error == TRUC_OK && truc_buffer_append(out, raw.data + 1, raw.size - 1) == TRUC_OK);
}

/* `raw` is the object's text, from brace to brace; empty: `event` is written as text again. */
static enum admin_exit send_one(struct admin_session *session, const struct admin_call *call, const json_t *event,
                                struct truc_bytes raw, size_t number)
{
    char why[256] = "";
    struct truc_buffer encoded = {0}, completed = {0};
    char *text = NULL;
    if (!json_is_object(event)) {
        return admin_fail(call, ADMIN_NO, "event %zu is not a JSON object", number);
    }
    if (raw.size == 0) {
        text = json_dumps(event, JSON_COMPACT);
        admin_must(text != NULL);
        raw = truc_bytes_of(text);
    }
    complete(event, raw, admin_session_config(session)->agency, &completed);
    truc_error error = truc_event_from_json(truc_buffer_view(&completed), &encoded, why);
    enum admin_exit exit_code =
        error != TRUC_OK ? admin_fail(call, ADMIN_NO, "event %zu is not a CloudEvents JSON object that can be sent: %s",
                                      number, why[0] == '\0' ? truc_error_string(error) : why)
                         : admin_session_submit(session, truc_buffer_view(&encoded));
    truc_buffer_close(&encoded);
    truc_buffer_close(&completed);
    free(text);
    return exit_code;
}

static enum admin_exit send_value(struct admin_session *session, const struct admin_call *call, json_t *value,
                                  struct truc_bytes raw, size_t *number)
{
    if (json_is_object(value)) {
        return send_one(session, call, value, raw, ++*number);
    }
    enum admin_exit exit_code = ADMIN_OK;
    size_t at;
    json_t *event;
    json_array_foreach(value, at, event)
    {
        exit_code = exit_code == ADMIN_OK ? send_one(session, call, event, truc_bytes(NULL, 0), ++*number) : exit_code;
    }
    return exit_code;
}

/* One JSON value after the other: NDJSON, a single pretty-printed object, or CloudEvents' batch array. */
static enum admin_exit send_all(struct admin_session *session, const struct admin_call *call, struct truc_bytes input)
{
    size_t at = 0, number = 0;
    enum admin_exit exit_code = ADMIN_OK;
    while (exit_code == ADMIN_OK) {
        while (at < input.size && strchr(" \t\r\n", input.data[at]) != NULL && input.data[at] != '\0') {
            at++;
        }
        if (at == input.size) {
            break;
        }
        json_error_t where;
        json_t *value = json_loadb((const char *)input.data + at, input.size - at,
                                   JSON_REJECT_DUPLICATES | JSON_DISABLE_EOF_CHECK, &where);
        if (value == NULL) {
            exit_code = admin_fail(call, ADMIN_NO, "behind event %zu, byte %zu: not JSON: %s", number, at, where.text);
            break;
        }
        exit_code = send_value(session, call, value, truc_bytes(input.data + at, (size_t)where.position), &number);
        at += (size_t)where.position;
        json_decref(value);
    }
    if (exit_code == ADMIN_OK && number == 0) {
        exit_code = admin_fail(call, ADMIN_USAGE, "there is no event in the input");
    }
    return exit_code;
}

/* The event's text without its closing brace. */
static void add_head(const json_t *event, struct truc_buffer *out)
{
    char *head = json_dumps(event, JSON_COMPACT);
    admin_must(head != NULL && truc_buffer_append(out, head, strlen(head) - 1) == TRUC_OK);
    free(head);
}

/* Data that is JSON goes in as it was written; other text as a string. */
static enum admin_exit add_data(const struct admin_call *call, json_t *event, struct truc_bytes data,
                                struct truc_buffer *out)
{
    json_t *value = json_loadb((const char *)data.data, data.size, JSON_REJECT_DUPLICATES | JSON_DECODE_ANY, NULL);
    bool is_json = value != NULL;
    if (!is_json) {
        value = json_stringn((const char *)data.data, data.size);
    }
    if (value == NULL) {
        return admin_fail(call, ADMIN_USAGE, "--data is neither JSON nor UTF-8 text; send it as data_base64 in a FILE");
    }
    set_text(event, "datacontenttype", is_json ? "application/json" : "text/plain");
    add_head(event, out);
    char *string = is_json ? NULL : json_dumps(value, JSON_COMPACT | JSON_ENCODE_ANY);
    truc_error error = truc_buffer_printf(out, ",\"data\":");
    error = error != TRUC_OK ? error
            : is_json        ? truc_buffer_append(out, data.data, data.size)
                             : truc_buffer_append(out, string, strlen(string));
    admin_must(error == TRUC_OK && truc_buffer_append(out, "}", 1) == TRUC_OK);
    free(string);
    json_decref(value);
    return ADMIN_OK;
}

/* --type and its companions: one event without writing JSON. */
static enum admin_exit send_shortcut(struct admin_session *session, const struct admin_call *call)
{
    char now_text[40];
    struct timespec now;
    struct truc_buffer file = {0}, text = {0};
    const char *data = admin_text(call, "data");
    enum admin_exit exit_code = ADMIN_OK;
    json_t *event = json_object();
    admin_must(event != NULL);
    (void)clock_gettime(CLOCK_REALTIME, &now);
    truc_time_format((int64_t)now.tv_sec * 1000000 + (int64_t)now.tv_nsec / 1000, now_text);
    static const char *const names[] = {"type", "subject", "recipients", "id", "source", "expires"};
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        set_text(event, names[i], admin_text(call, names[i]));
    }
    set_text(event, "time", now_text);
    if (data != NULL && data[0] == '@') {
        exit_code = read_input(call, data + 1, &file);
    } else if (data != NULL) {
        admin_must(truc_buffer_append(&file, data, strlen(data)) == TRUC_OK);
    }
    if (exit_code == ADMIN_OK && data != NULL) {
        exit_code = add_data(call, event, truc_buffer_view(&file), &text);
    } else if (exit_code == ADMIN_OK) {
        add_head(event, &text);
        admin_must(truc_buffer_append(&text, "}", 1) == TRUC_OK);
    }
    if (exit_code == ADMIN_OK) {
        exit_code = send_one(session, call, event, truc_buffer_view(&text), 1);
    }
    truc_buffer_close(&file);
    truc_buffer_close(&text);
    json_decref(event);
    return exit_code;
}

static enum admin_exit run_send(struct admin_call *call)
{
    struct admin_session *session = NULL;
    struct truc_buffer input = {0};
    json_t *rows = NULL;
    bool shortcut = admin_text(call, "type") != NULL;
    static const char *const only_with_type[] = {"subject", "recipients", "id", "source", "expires", "data"};
    for (size_t i = 0; !shortcut && i < sizeof(only_with_type) / sizeof(only_with_type[0]); i++) {
        if (admin_text(call, only_with_type[i]) != NULL) {
            return admin_fail(call, ADMIN_USAGE, "--%s goes with --type; an event in a FILE says it itself",
                              only_with_type[i]);
        }
    }
    if (shortcut && call->operand_count > 0) {
        return admin_fail(call, ADMIN_USAGE, "give either a FILE or --type, not both");
    }
    enum admin_exit exit_code = ADMIN_OK, settled;
    if (!shortcut) {
        exit_code = read_input(call, call->operand_count == 0 ? "-" : call->operands[0], &input);
    }
    if (exit_code == ADMIN_OK) {
        exit_code = admin_session_open(call, NULL, &session);
    }
    if (exit_code == ADMIN_OK) {
        exit_code = shortcut ? send_shortcut(session, call) : send_all(session, call, truc_buffer_view(&input));
        /* Even where a later event was wrong, those before it were handed over: their receipts are told. */
        settled = admin_session_settle(session, &rows);
        exit_code = exit_code == ADMIN_OK ? settled : exit_code;
        admin_receipts_print(call, rows, NULL);
    }
    json_decref(rows);
    truc_buffer_close(&input);
    admin_session_close(&session);
    return exit_code;
}

static const struct admin_option send_options[] = {
    ADMIN_ONLINE_OPTIONS,
    {"type", ADMIN_TEXT, "TYPE", "one event of this type instead of a FILE", false},
    {"subject", ADMIN_TEXT, "TEXT", "what it is about, a dossier's code", false},
    {"recipients", ADMIN_TEXT, "LIST", "agency codes and @groups, separated by commas (default: subscribers)", false},
    {"data", ADMIN_TEXT, "DATA", "JSON or text; @FILE reads a file", false},
    {"id", ADMIN_TEXT, "ID", "its id (default: made)", false},
    {"source", ADMIN_TEXT, "URN", "its source (default: urn:truc:CODE)", false},
    {"expires", ADMIN_TEXT, "TIME", "not delivered afterwards", false},
    ADMIN_END};

const struct admin_command admin_send_commands[] = {
    {"send", "[FILE]", 0, 1, "send CloudEvents JSON (one, NDJSON or an array; default: standard input)", send_options,
     run_send},
    {NULL, NULL, 0, 0, NULL, NULL, NULL}};
