/* truc replay: events of the past once more, to an agency's inbox (ordered by a governance act that says who and why)
 * or to a file. */
#include "hub/admin/log_home.h"
#include "hub/admin/output.h"
#include "hub/admin/session.h"

#define ACT_BYTES_MAX (200u << 10) /* of one order; the hub reads acts of at most 256 KiB */
#define ACT_ITEMS_MAX 4096

struct item {
    uint64_t sequence, leaf_index, subject;
    uint32_t index, size;
    char sender[TRUC_AGENCY_MAX + 1];
    char *type;
};

struct replaying {
    const struct admin_call *call;
    FILE *out; /* NDJSON; NULL: none */
    struct item *items;
    size_t count, capacity;
    uint64_t bytes, refused, repeated, erased;
    json_t *by_type;
};

static void remember(struct replaying *replaying, const struct admin_log_event *event)
{
    if (replaying->count == replaying->capacity) {
        replaying->capacity = replaying->capacity == 0 ? 1024 : 2 * replaying->capacity;
        replaying->items = reallocarray(replaying->items, replaying->capacity, sizeof(*replaying->items));
        admin_must(replaying->items != NULL);
    }
    struct item *item = &replaying->items[replaying->count++];
    *item = (struct item){.sequence = event->sequence,
                          .leaf_index = event->leaf_index,
                          .subject = event->facts->subject,
                          .index = event->index,
                          .size = event->facts->size};
    snprintf(item->sender, sizeof(item->sender), "%s", event->seal->sender);
    item->type = strndup((const char *)event->facts->type.data, event->facts->type.size);
    admin_must(item->type != NULL);
    replaying->bytes += event->facts->size;
    json_t *count = json_object_get(replaying->by_type, item->type);
    admin_must(json_object_set_new(replaying->by_type, item->type, json_integer(json_integer_value(count) + 1)) == 0);
}

static truc_error write_event(struct replaying *replaying, struct admin_log *log, const struct admin_log_event *event)
{
    struct truc_buffer bytes = {0}, json = {0};
    struct truc_event parsed;
    truc_error error = admin_log_content(log, event, &bytes);
    if (error == TRUC_OK) {
        error = truc_event_parse(truc_buffer_view(&bytes), &parsed);
        error = error != TRUC_OK ? error : truc_event_to_json(&parsed, &json);
        if (error == TRUC_OK &&
            (fwrite(json.data, 1, json.size, replaying->out) != json.size || fputc('\n', replaying->out) == EOF)) {
            error = TRUC_E_IO;
        }
    } else if (error == TRUC_E_NOT_FOUND) {
        replaying->erased++;
        error = TRUC_OK;
    }
    truc_buffer_close(&bytes);
    truc_buffer_close(&json);
    return error;
}

static truc_error take(void *context, struct admin_log *log, const struct admin_log_event *event)
{
    struct replaying *replaying = context;
    uint64_t slot;
    uint8_t key[TRUC_AEAD_KEY_SIZE];
    if (event->outcome.code == TRUC_OUTCOME_DUPLICATE) {
        replaying->repeated++; /* its first one is the event */
        return TRUC_OK;
    }
    /* What was refused never was delivered, and the hub's own business is nobody's news. */
    if (event->outcome.code != TRUC_OUTCOME_ACCEPTED || event->facts->kind != HUB_EVENT_PLAIN) {
        replaying->refused++;
        return TRUC_OK;
    }
    if (replaying->out != NULL) {
        remember(replaying, event);
        return write_event(replaying, log, event);
    }
    truc_error error = hub_row_reader_slot(log->rows, event->index, &slot);
    if (error == TRUC_OK) {
        error = hub_slots_get(log->slots, slot, key);
        truc_wipe(key, sizeof(key));
    }
    if (error == TRUC_E_NOT_FOUND) {
        replaying->erased++; /* nothing is left to deliver */
        return TRUC_OK;
    }
    if (error == TRUC_OK) {
        remember(replaying, event);
    }
    return error;
}

/* ---- ordering -------------------------------------------------------------------------------------------------------
 */

static void append_part(struct truc_buffer *text, const char *name, const char *value)
{
    if (value != NULL) {
        admin_must(truc_buffer_printf(text, "%s%s=%s", text->size == 0 ? "" : " ", name, value) == TRUC_OK);
    }
}

/* The filter as it was asked for, for the record; the subject as its hash, since the record stays for ever. */
static char *filter_text(const struct admin_call *call, const struct admin_log_filter *filter)
{
    struct truc_buffer text = {0};
    char hash[17];
    static const char *const names[] = {"from", "to", "since", "until", "agency", "type"};
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        append_part(&text, names[i], admin_text(call, names[i]));
    }
    if (filter->subject != 0) {
        snprintf(hash, sizeof(hash), "%016llx", (unsigned long long)filter->subject);
        append_part(&text, "subject_hash", hash);
    }
    admin_must(truc_buffer_append(&text, "", 1) == TRUC_OK);
    return (char *)text.data;
}

static enum admin_exit order_some(const struct admin_call *call, struct admin_session *session, const char *to,
                                  char *filter, const struct item *items, size_t count)
{
    Truc__V1__ReplayItem *messages = calloc(count, sizeof(*messages));
    Truc__V1__ReplayItem **pointers = calloc(count, sizeof(*pointers));
    Truc__V1__OrderReplay order = TRUC__V1__ORDER_REPLAY__INIT;
    Truc__V1__Governance act = TRUC__V1__GOVERNANCE__INIT;
    admin_must(messages != NULL && pointers != NULL);
    for (size_t i = 0; i < count; i++) {
        truc__v1__replay_item__init(&messages[i]);
        messages[i].sequence = items[i].sequence;
        messages[i].leaf_index = items[i].leaf_index;
        messages[i].index = items[i].index;
        messages[i].size = items[i].size;
        messages[i].subject = items[i].subject;
        messages[i].sender = admin_proto_text(items[i].sender);
        messages[i].type = items[i].type;
        pointers[i] = &messages[i];
    }
    order.to = admin_proto_text(to);
    order.filter = filter;
    order.items = pointers;
    order.n_items = count;
    act.reason = admin_proto_text(admin_text(call, "reason"));
    act.act_case = TRUC__V1__GOVERNANCE__ACT_ORDER_REPLAY;
    act.order_replay = &order;
    enum admin_exit exit_code = admin_session_govern(session, &act);
    free(messages);
    free(pointers);
    return exit_code;
}

/* Bytes that an item takes in an order, at most. */
static size_t item_size(const struct item *item)
{
    return 64 + strlen(item->sender) + strlen(item->type);
}

static enum admin_exit order_all(const struct admin_call *call, const struct replaying *replaying, const char *to,
                                 char *filter, json_t **rows)
{
    struct admin_session *session = NULL;
    enum admin_exit exit_code = admin_session_open(call, NULL, &session);
    for (size_t begin = 0; exit_code == ADMIN_OK && begin < replaying->count;) {
        size_t end = begin, bytes = 0;
        while (end < replaying->count && end - begin < ACT_ITEMS_MAX &&
               (end == begin || bytes + item_size(&replaying->items[end]) < ACT_BYTES_MAX)) {
            bytes += item_size(&replaying->items[end++]);
        }
        exit_code = order_some(call, session, to, filter, replaying->items + begin, end - begin);
        begin = end;
    }
    if (exit_code == ADMIN_OK) {
        exit_code = admin_session_settle(session, rows);
    }
    admin_session_close(&session);
    return exit_code;
}

/* ---- the command ----------------------------------------------------------------------------------------------------
 */

static void report(const struct replaying *replaying, const char *to, json_t *receipts, bool dry)
{
    if (replaying->call->json) {
        json_t *row =
            json_pack("{s:I, s:I, s:I, s:I, s:I, s:O, s:b, s:s?, s:O?}", "events", (json_int_t)replaying->count,
                      "bytes", (json_int_t)replaying->bytes, "not_accepted", (json_int_t)replaying->refused,
                      "duplicates", (json_int_t)replaying->repeated, "erased", (json_int_t)replaying->erased, "types",
                      replaying->by_type, "dry_run", (int)dry, "to", to, "receipts", receipts);
        admin_must(row != NULL);
        (void)admin_json_line(replaying->out == stdout ? stderr : stdout, row);
        json_decref(row);
        return;
    }
    FILE *out = replaying->out == stdout ? stderr : stdout; /* the events may be on the standard output */
    const char *type;
    json_t *count;
    fprintf(out, "%zu events, %llu bytes%s%s\n", replaying->count, (unsigned long long)replaying->bytes,
            dry ? " would be replayed" : " replayed", to == NULL ? "" : ", marked as a replay");
    json_object_foreach(replaying->by_type, type, count)
    {
        fprintf(out, "  %8lld  %s\n", (long long)json_integer_value(count), type);
    }
    if (replaying->refused + replaying->repeated + replaying->erased > 0) {
        fprintf(out, "left out: %llu not accepted or the hub's own, %llu duplicates, %llu erased\n",
                (unsigned long long)replaying->refused, (unsigned long long)replaying->repeated,
                (unsigned long long)replaying->erased);
    }
    if (receipts != NULL) {
        char did[160];
        snprintf(did, sizeof(did), "The replay to %s is ordered", to);
        admin_receipts_print(replaying->call, receipts, did);
    }
}

static enum admin_exit check_usage(const struct admin_call *call, const struct admin_log_filter *filter)
{
    bool inbox = admin_text(call, "to-inbox") != NULL, file = admin_text(call, "output") != NULL;
    if (inbox && file) {
        return admin_fail(call, ADMIN_USAGE, "give either --to-inbox CODE or -o FILE");
    }
    if (!inbox && !file && !admin_flag(call, "dry-run")) {
        return admin_fail(call, ADMIN_USAGE, "where to? --to-inbox CODE --reason TEXT, -o FILE.ndjson, or --dry-run");
    }
    if (inbox && admin_text(call, "reason") == NULL && !admin_flag(call, "dry-run")) {
        return admin_fail(call, ADMIN_USAGE,
                          "--reason TEXT is missing: a replay is an act of governance and the log says why");
    }
    if (!admin_value(call, "from")->given && !filter->has_since) {
        return admin_fail(call, ADMIN_USAGE,
                          "from where? --from N (sequence) or --since TIME; --to N or --until TIME may end it");
    }
    return ADMIN_OK;
}

static enum admin_exit replay(struct admin_call *call, struct admin_log *log, const struct admin_log_filter *filter,
                              const char *to)
{
    struct replaying replaying = {.call = call, .by_type = json_object()};
    struct admin_output output = {0};
    json_t *receipts = NULL;
    bool dry = admin_flag(call, "dry-run");
    enum admin_exit exit_code = ADMIN_OK;
    admin_must(replaying.by_type != NULL);
    if (to == NULL && !dry) {
        exit_code = admin_output_open(call, admin_text(call, "output"), &output);
        replaying.out = output.out;
    }
    if (exit_code == ADMIN_OK) {
        truc_error error = admin_log_walk(log, filter, take, &replaying);
        if (error != TRUC_OK) {
            exit_code = admin_log_explain(log, error, "reading the log");
        }
        if (replaying.out != NULL) {
            exit_code = admin_output_close(call, &output, exit_code);
        }
    }
    if (exit_code == ADMIN_OK && replaying.count == 0) {
        exit_code = admin_fail(call, ADMIN_NO, "nothing in the log fits");
    }
    if (exit_code == ADMIN_OK && to != NULL && !dry) {
        char *text = filter_text(call, filter);
        exit_code = order_all(call, &replaying, to, text, &receipts);
        free(text);
    }
    if (exit_code == ADMIN_OK) {
        report(&replaying, to, receipts, dry);
    }
    for (size_t i = 0; i < replaying.count; i++) {
        free(replaying.items[i].type);
    }
    free(replaying.items);
    json_decref(replaying.by_type);
    json_decref(receipts);
    return exit_code;
}

static enum admin_exit run_replay(struct admin_call *call)
{
    struct admin_log log;
    struct admin_log_filter filter;
    char agency[TRUC_AGENCY_MAX + 1], to[TRUC_AGENCY_MAX + 1];
    const char *inbox = admin_text(call, "to-inbox");
    enum admin_exit exit_code = admin_log_filter_read(call, &filter, agency);
    if (exit_code == ADMIN_OK) {
        exit_code = check_usage(call, &filter);
    }
    if (exit_code == ADMIN_OK && inbox != NULL) {
        exit_code = admin_agency(call, inbox, to);
    }
    if (exit_code == ADMIN_OK) {
        exit_code = admin_log_open(call, &log);
    }
    if (exit_code != ADMIN_OK) {
        return exit_code;
    }
    if (inbox != NULL && hub_core_agency(log.core, truc_bytes_of(to)) == NULL) {
        exit_code = admin_fail(call, ADMIN_NO, "no agency %s is enrolled in this log", to);
    } else {
        exit_code = replay(call, &log, &filter, inbox == NULL ? NULL : to);
    }
    admin_log_close(&log);
    return exit_code;
}

static const struct admin_option replay_options[] = {
    ADMIN_HOME_OPTION,
    ADMIN_FILTER_OPTIONS,
    {"to-inbox", ADMIN_TEXT, "CODE", "deliver them again to this agency, marked as a replay", false},
    {"output", ADMIN_TEXT, "FILE", "(-o) write them as CloudEvents NDJSON into a new file instead", false},
    {"dry-run", ADMIN_FLAG, NULL, "only count", false},
    ADMIN_REASON_OPTION,
    ADMIN_ONLINE_OPTIONS,
    ADMIN_END};

const struct admin_command admin_replay_commands[] = {
    {"replay", "", 0, 0, "send a range again, to an inbox or a file; --from or --since is required", replay_options,
     run_replay},
    {NULL, NULL, 0, 0, NULL, NULL, NULL}};
