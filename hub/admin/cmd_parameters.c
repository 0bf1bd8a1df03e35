/* truc parameters show|set: what the log's decisions depend on, PROTOCOL.md section 13. */
#include "hub/admin/session.h"
#include "truc/event.h"
#include "truc/seal.h"

/* Below these an administrator whose clock is a little off could no longer get an act in. */
#define SKEW_SAFE_S 5
#define HORIZON_SAFE_S 3600

static const struct admin_column columns[] = {{"event_bytes", "EVENT BYTES", ADMIN_COLUMN_TEXT},
                                              {"seal_events", "SEAL EVENTS", ADMIN_COLUMN_TEXT},
                                              {"seal_bytes", "SEAL BYTES", ADMIN_COLUMN_TEXT},
                                              {"future_skew_s", "FUTURE SKEW S", ADMIN_COLUMN_TEXT},
                                              {"past_horizon_s", "PAST HORIZON S", ADMIN_COLUMN_TEXT},
                                              {"inbox_age_s", "INBOX AGE S", ADMIN_COLUMN_TEXT},
                                              {"max_attempts", "MAX ATTEMPTS", ADMIN_COLUMN_TEXT},
                                              {"hold_s", "HOLD S", ADMIN_COLUMN_TEXT},
                                              {NULL, NULL, ADMIN_COLUMN_TEXT}};

static enum admin_exit run_show(struct admin_call *call)
{
    struct admin_session *session = NULL;
    json_t *rows = NULL;
    enum admin_exit exit_code = admin_session_open(call, NULL, &session);
    if (exit_code == ADMIN_OK) {
        exit_code = admin_session_query(session, "parameters", (const char *const[]){NULL}, &rows);
    }
    if (exit_code == ADMIN_OK && json_array_size(rows) != 1) {
        exit_code = admin_fail(call, ADMIN_NO, "the hub's answer is not one row");
    }
    if (exit_code == ADMIN_OK) {
        admin_record_print(call, columns, json_array_get(rows, 0));
    }
    json_decref(rows);
    admin_session_close(&session);
    return exit_code;
}

/* How the options stand in the act: 0 there means unchanged, so none of them can be set to 0. */
static const struct setting {
    const char *option;
    uint32_t minimum, maximum;
    size_t offset;
} settings[] = {
    {"event-bytes", 1024, TRUC_EVENT_MAX, offsetof(Truc__V1__Parameters, event_bytes)},
    {"seal-events", 1, TRUC_SEAL_EVENTS_MAX, offsetof(Truc__V1__Parameters, seal_events)},
    {"seal-bytes", 1024, TRUC_SEAL_BYTES_MAX, offsetof(Truc__V1__Parameters, seal_bytes)},
    {"future-skew", 1, UINT32_MAX, offsetof(Truc__V1__Parameters, future_skew_s)},
    {"past-horizon", 1, UINT32_MAX, offsetof(Truc__V1__Parameters, past_horizon_s)},
    {"inbox-age", 1, UINT32_MAX, offsetof(Truc__V1__Parameters, inbox_age_s)},
    {"max-attempts", 1, UINT32_MAX, offsetof(Truc__V1__Parameters, max_attempts)},
    {"hold", 1, UINT32_MAX, offsetof(Truc__V1__Parameters, hold_s)},
};
#define SETTINGS (sizeof(settings) / sizeof(settings[0]))

static enum admin_exit read_parameters(const struct admin_call *call, Truc__V1__Parameters *out)
{
    size_t given = 0;
    for (size_t i = 0; i < SETTINGS; i++) {
        const struct admin_value *value = admin_value(call, settings[i].option);
        if (!value->given) {
            continue;
        }
        if (value->number < settings[i].minimum || value->number > settings[i].maximum) {
            return admin_fail(call, ADMIN_USAGE, "--%s: %u to %u", settings[i].option, settings[i].minimum,
                              settings[i].maximum);
        }
        uint32_t number = (uint32_t)value->number;
        memcpy((char *)out + settings[i].offset, &number, sizeof(number));
        given++;
    }
    return given > 0 ? ADMIN_OK : admin_fail(call, ADMIN_USAGE, "say what to change (truc help parameters set)");
}

static enum admin_exit run_set(struct admin_call *call)
{
    Truc__V1__Parameters parameters = TRUC__V1__PARAMETERS__INIT;
    Truc__V1__Governance act = admin_act(call, TRUC__V1__GOVERNANCE__ACT_PARAMETERS);
    enum admin_exit exit_code = read_parameters(call, &parameters);
    if (exit_code == ADMIN_OK && ((parameters.future_skew_s != 0 && parameters.future_skew_s < SKEW_SAFE_S) ||
                                  (parameters.past_horizon_s != 0 && parameters.past_horizon_s < HORIZON_SAFE_S))) {
        exit_code = admin_confirm(call, "with so little time a sender whose clock is a little off, an administrator "
                                        "too, is refused CLOCK_SKEW until it is set right");
    }
    act.parameters = &parameters;
    return exit_code == ADMIN_OK ? admin_govern_once(call, &act, "The log's parameters are changed") : exit_code;
}

static const struct admin_option show_options[] = {ADMIN_ONLINE_OPTIONS, ADMIN_END};
static const struct admin_option set_options[] = {
    ADMIN_ONLINE_OPTIONS,
    {"event-bytes", ADMIN_NUMBER, "N", "an event has at most N bytes (1024 to 1048576)", false},
    {"seal-events", ADMIN_NUMBER, "N", "a seal covers at most N events (1 to 1024)", false},
    {"seal-bytes", ADMIN_NUMBER, "N", "a seal's events have at most N bytes together (1024 to 4194304)", false},
    {"future-skew", ADMIN_NUMBER, "S", "a sender's clock may be S seconds ahead of the hub's", false},
    {"past-horizon", ADMIN_NUMBER, "S", "seals older than S seconds are refused, duplicates known as long", false},
    {"inbox-age", ADMIN_NUMBER, "S", "an event that nobody took for S seconds becomes a dead letter", false},
    {"max-attempts", ADMIN_NUMBER, "N", "so does one that was delivered N times and never acknowledged", false},
    {"hold", ADMIN_NUMBER, "S", "a dead letter holds back its subject for at most S seconds", false},
    ADMIN_REASON_OPTION,
    ADMIN_YES_OPTION,
    ADMIN_END};

const struct admin_command admin_parameters_commands[] = {
    {"parameters show", "", 0, 0, "the log's limits and deadlines, in force for everybody", show_options, run_show},
    {"parameters set", "", 0, 0, "change some of the log's limits and deadlines", set_options, run_set},
    {NULL, NULL, 0, 0, NULL, NULL, NULL}};
