/* truc log show, truc tail: what is in the log, one line an event; contents never. */
#include "hub/admin/log_home.h"

#include <errno.h>
#include <unistd.h>

static const struct admin_column log_columns[] = {{"sequence", "SEQUENCE", ADMIN_COLUMN_TEXT},
                                                  {"accepted_at", "ACCEPTED AT", ADMIN_COLUMN_TIME},
                                                  {"sender", "SENDER", ADMIN_COLUMN_TEXT},
                                                  {"type", "TYPE", ADMIN_COLUMN_TEXT},
                                                  {"recipients", "RECIPIENTS", ADMIN_COLUMN_TEXT},
                                                  {"subject_hash", "SUBJECT HASH", ADMIN_COLUMN_TEXT},
                                                  {"bytes", "BYTES", ADMIN_COLUMN_TEXT},
                                                  {"outcome", "OUTCOME", ADMIN_COLUMN_TEXT},
                                                  {"words", "ACT OF GOVERNANCE", ADMIN_COLUMN_TEXT},
                                                  {NULL, NULL, ADMIN_COLUMN_TEXT}};

#define SHOWN_AT_MOST 1000000

struct showing {
    json_t *rows;
    uint64_t limit;
    bool more;
};

static truc_error collect(void *context, struct admin_log *log, const struct admin_log_event *event)
{
    struct showing *showing = context;
    (void)log;
    if (json_array_size(showing->rows) >= showing->limit) {
        showing->more = true;
        return TRUC_E_CLOSED; /* enough */
    }
    admin_must(json_array_append_new(showing->rows, admin_log_row(event)) == 0);
    return TRUC_OK;
}

static enum admin_exit run_show(struct admin_call *call)
{
    struct admin_log log;
    struct admin_log_filter filter;
    char agency[TRUC_AGENCY_MAX + 1];
    struct showing showing = {.limit = admin_number(call, "limit", 100)};
    enum admin_exit exit_code = admin_log_filter_read(call, &filter, agency);
    if (exit_code == ADMIN_OK && (showing.limit == 0 || showing.limit > SHOWN_AT_MOST)) {
        exit_code =
            admin_fail(call, ADMIN_USAGE, "--limit: 1 to %d; `truc log export --from` has no limit", SHOWN_AT_MOST);
    }
    if (exit_code == ADMIN_OK) {
        exit_code = admin_log_open(call, &log);
    }
    if (exit_code != ADMIN_OK) {
        return exit_code;
    }
    showing.rows = json_array();
    admin_must(showing.rows != NULL);
    truc_error error = admin_log_walk(&log, &filter, collect, &showing);
    if (error != TRUC_OK && error != TRUC_E_CLOSED) {
        exit_code = admin_log_explain(&log, error, "reading the log");
    }
    admin_table_print(call, log_columns, showing.rows, "nothing in the log fits");
    if (showing.more && !call->json) {
        fprintf(stderr, "there are more; --limit N shows more, --from %lld goes on\n",
                (long long)json_integer_value(
                    json_object_get(json_array_get(showing.rows, json_array_size(showing.rows) - 1), "sequence")) +
                    1);
    }
    json_decref(showing.rows);
    admin_log_close(&log);
    return exit_code;
}

/* ---- tail -----------------------------------------------------------------------------------------------------------
 */

#define POLL_MS 200
#define REFRESH_BYTES (16u << 20)

struct tailing {
    const struct admin_call *call;
    uint64_t next; /* sequence */
    uint64_t left; /* events still to show; UINT64_MAX: no end */
    bool terminal; /* titles and aligned columns are for people */
};

/* Of log_columns: rows come one by one, so that widths cannot follow them. */
static const size_t tail_widths[] = {8, 27, 12, 32, 16, 16, 7, 12, 0};

static truc_error print_event(void *context, struct admin_log *log, const struct admin_log_event *event)
{
    struct tailing *tailing = context;
    (void)log;
    json_t *row = admin_log_row(event);
    bool ok = tailing->call->json ? admin_json_line(stdout, row)
                                  : admin_line_print(log_columns, tailing->terminal ? tail_widths : NULL, row);
    json_decref(row);
    tailing->next = event->sequence + 1;
    tailing->left -= tailing->left != UINT64_MAX;
    return !ok ? TRUC_E_IO : tailing->left == 0 ? TRUC_E_CLOSED : TRUC_OK;
}

static truc_error follow(struct admin_log *log, struct tailing *tailing, bool once)
{
    truc_error error = TRUC_OK;
    while (error == TRUC_OK) {
        const struct admin_log_filter filter = {.from = tailing->next};
        error = admin_log_walk(log, &filter, print_event, tailing);
        if (error != TRUC_OK || once) {
            break;
        }
        hub_journal_reader_reset(log->reader);
        const struct timespec pause = {0, POLL_MS * 1000000L};
        (void)nanosleep(&pause, NULL); /* a signal only makes the next look sooner */
        if (log->state != NULL && hub_core_dirty_bytes(log->core) > REFRESH_BYTES) {
            error = admin_log_refresh(log); /* so that neither our memory nor the hub's state file grows with us */
        }
        error = error == TRUC_OK ? admin_log_follow(log) : error;
    }
    return error;
}

static enum admin_exit run_tail(struct admin_call *call)
{
    struct admin_log log;
    uint64_t last = admin_number(call, "last", 10);
    enum admin_exit exit_code = admin_log_open(call, &log);
    if (exit_code != ADMIN_OK) {
        return exit_code;
    }
    uint64_t end = hub_core_next_sequence(log.core);
    struct tailing tailing = {.call = call,
                              .next = admin_number(call, "from", end > last ? end - last : 1),
                              .left = admin_number(call, "count", UINT64_MAX),
                              .terminal = !call->json && isatty(STDOUT_FILENO)};
    if (tailing.terminal) {
        (void)admin_line_print(log_columns, tail_widths, NULL); /* a closed terminal shows at the first row */
    }
    truc_error error = tailing.left == 0 ? TRUC_OK : follow(&log, &tailing, admin_flag(call, "no-follow"));
    if (error == TRUC_E_IO) {
        exit_code = admin_fail(call, ADMIN_NO, "the output cannot be written: %s", strerror(errno));
    } else if (error != TRUC_OK && error != TRUC_E_CLOSED) {
        exit_code = admin_log_explain(&log, error, "following the log");
    }
    admin_log_close(&log);
    return exit_code;
}

static const struct admin_option show_options[] = {ADMIN_HOME_OPTION,
                                                   ADMIN_FILTER_OPTIONS,
                                                   {"limit", ADMIN_NUMBER, "N", "rows at most (default 100)", false},
                                                   ADMIN_END};
static const struct admin_option tail_options[] = {
    ADMIN_HOME_OPTION,
    {"last", ADMIN_NUMBER, "N", "begin with the last N events (default 10)", false},
    {"from", ADMIN_NUMBER, "N", "begin with this sequence", false},
    {"count", ADMIN_NUMBER, "N", "end after N events", false},
    {"no-follow", ADMIN_FLAG, NULL, "end with what is there", false},
    ADMIN_END};

const struct admin_command admin_show_commands[] = {
    {"log show", "", 0, 0, "who sent what to whom and what became of it; never the contents", show_options, run_show},
    {NULL, NULL, 0, 0, NULL, NULL, NULL}};
const struct admin_command admin_tail_commands[] = {
    {"tail", "", 0, 0, "the log as it grows, one line an event", tail_options, run_tail},
    {NULL, NULL, 0, 0, NULL, NULL, NULL}};
