/* truc recv: deliveries as CloudEvents JSON lines on the standard output, acked when they are written there. */
#include "hub/admin/session.h"

#include <errno.h>

struct receiving {
    struct admin_session *session;
    const struct admin_call *call;
    uint64_t wanted; /* 0: no end */
    uint64_t got, acked, settled;
    bool ack, broken;
    truc_error error;
};

/* The event's own JSON; with --json the hub's part around it, for programs. */
static bool print_delivery(const struct receiving *receiving, const struct truc_delivery *delivery)
{
    struct truc_buffer json = {0};
    bool ok = truc_event_to_json(delivery->event, &json) == TRUC_OK;
    if (ok && receiving->call->json) {
        char at[40];
        truc_time_format(delivery->accepted_at_us, at);
        ok = printf("{\"number\":%llu,\"sequence\":%llu,\"sender\":\"%s\",\"accepted_at\":\"%s\",\"attempt\":%u,"
                    "\"replay\":%s,\"requeued\":%s,\"receipt_wanted\":%s,\"event\":",
                    (unsigned long long)delivery->number, (unsigned long long)delivery->sequence, delivery->sender, at,
                    delivery->attempt, delivery->replay ? "true" : "false", delivery->requeued ? "true" : "false",
                    delivery->receipt_wanted ? "true" : "false") > 0;
    }
    ok = ok && fwrite(json.data, 1, json.size, stdout) == json.size;
    ok = ok && (!receiving->call->json || fputc('}', stdout) != EOF) && fputc('\n', stdout) != EOF;
    truc_buffer_close(&json);
    /* Written out before it is acked: an ack says that the event is no longer the hub's affair. */
    return ok && fflush(stdout) == 0;
}

static void on_delivery(void *context, const struct truc_delivery *delivery)
{
    struct receiving *receiving = context;
    if (receiving->broken || (receiving->wanted > 0 && receiving->got == receiving->wanted)) {
        return; /* not answered: its lease ends with the session and it comes again */
    }
    if (!print_delivery(receiving, delivery)) {
        receiving->broken = true;
        return;
    }
    receiving->got++;
    if (receiving->got == receiving->wanted &&
        truc_client_receive(admin_session_client(receiving->session), false) != TRUC_OK) {
        receiving->broken = true; /* no more credit: what is not wanted should not be leased */
        receiving->error = TRUC_E_INVALID;
        return;
    }
    if (receiving->ack) {
        truc_error error = truc_client_ack(admin_session_client(receiving->session), delivery->number);
        receiving->acked += error == TRUC_OK;
        receiving->error = error;
        receiving->broken = error != TRUC_OK;
    }
}

static void on_settled(void *context, uint64_t first_number, uint32_t count)
{
    (void)first_number;
    ((struct receiving *)context)->settled += count;
}

static bool received_enough(void *context)
{
    const struct receiving *receiving = context;
    return receiving->broken || (receiving->wanted > 0 && receiving->got >= receiving->wanted);
}

static bool all_settled(void *context)
{
    const struct receiving *receiving = context;
    return receiving->settled >= receiving->acked;
}

/* Runs until enough came, or nothing came for `quiet_ms`. */
static truc_error receive(struct receiving *receiving, int64_t quiet_ms)
{
    for (;;) {
        uint64_t before = receiving->got;
        truc_error error = admin_session_run(receiving->session, received_enough, receiving, quiet_ms);
        if (error != TRUC_E_TIMEOUT || receiving->got == before) {
            return error;
        }
    }
}

static enum admin_exit run_recv(struct admin_call *call)
{
    struct receiving receiving = {
        .call = call, .wanted = admin_number(call, "count", 0), .ack = !admin_flag(call, "no-ack")};
    /* --timeout S alone is what people try first: it is the time for silence, too. */
    uint64_t quiet_s = admin_number(call, "idle", admin_number(call, "timeout", 5));
    /* No more credit than events wanted, so that none is leased in vain. */
    const struct admin_session_hooks hooks = {
        .context = &receiving,
        .on_delivery = on_delivery,
        .on_settled = on_settled,
        .receive_events = receiving.wanted > 0 && receiving.wanted < 4096 ? (uint32_t)receiving.wanted : 0};
    struct admin_session *session = NULL;
    if (quiet_s > 86400) {
        return admin_fail(call, ADMIN_USAGE, "--idle: at most 86400 seconds; 0 waits for ever");
    }
    enum admin_exit exit_code = admin_session_open(call, &hooks, &session);
    if (exit_code != ADMIN_OK) {
        return exit_code;
    }
    receiving.session = session;
    truc_error error = truc_client_receive(admin_session_client(session), true);
    if (error == TRUC_OK) {
        error = receive(&receiving, quiet_s == 0 ? ADMIN_RUN_FOREVER : (int64_t)quiet_s * 1000);
    }
    if (receiving.broken && receiving.error == TRUC_OK) {
        exit_code =
            admin_fail(call, ADMIN_NO, "the output cannot be written (%s); the event was not acked", strerror(errno));
    } else if (receiving.broken) {
        exit_code = admin_session_explain(session, receiving.error, "acking");
    } else if (error != TRUC_OK && error != TRUC_E_TIMEOUT) {
        exit_code = admin_session_explain(session, error, "receiving");
    } else if (receiving.got < receiving.wanted || receiving.got == 0) {
        exit_code = admin_fail(call, ADMIN_NO, "%llu events came", (unsigned long long)receiving.got);
    }
    if (receiving.acked > receiving.settled) {
        /* The acks are in the spool; should this time not do, they are sent with the next command. */
        error = admin_session_run(session, all_settled, &receiving, ADMIN_RUN_TIMEOUT);
        if (error != TRUC_OK && exit_code == ADMIN_OK) {
            exit_code = admin_session_explain(session, error, "waiting until the hub has the acks");
        }
    }
    admin_session_close(&session);
    return exit_code;
}

static const struct admin_option recv_options[] = {
    ADMIN_ONLINE_OPTIONS,
    {"count", ADMIN_NUMBER, "N", "end after N events", false},
    {"idle", ADMIN_NUMBER, "S", "end when nothing came for S seconds (default 5; 0: never)", false},
    {"no-ack", ADMIN_FLAG, NULL, "do not ack: they come again", false},
    ADMIN_END};

const struct admin_command admin_receive_commands[] = {
    {"recv", "", 0, 0, "receive this agency's events as CloudEvents JSON lines", recv_options, run_recv},
    {NULL, NULL, 0, 0, NULL, NULL, NULL}};
