/* The hub's life: start (start.c), serve, stop in order. */
#include "hub/hub.h"

#include <errno.h>
#include <limits.h>
#include <malloc.h>
#include <sys/resource.h>
#include <unistd.h>

#define TICK_MS 20
#define STOP_MS 10000
#define SPACE_EVERY_MS 500
#define SESSIONS_EVERY_MS 1000

const char *const hub_counter_names[COUNT_N] = {
    "seals",  "events",     "event_bytes", "delivered",    "acked",      "nacked",   "released",
    "stale",  "commits",    "commit_us",   "row_bytes",    "cold_reads", "sessions", "dropped_sessions",
    "floods", "bad_frames", "checkpoints", "state_commits"};

static const char *what_to_do(const struct hub *hub, truc_error error)
{
    if (hub->state && hub_state_is_damaged(hub->state))
        return "start the hub again: it makes data/state.mdb again from the journal";
    if (error == TRUC_E_CORRUPT)
        return "truc log verify --home HOME says what is damaged; restore that from its backup";
    if (error == TRUC_E_IO || error == TRUC_E_FULL)
        return "look after the disk, then start the hub again: it finds out what is on the disk; nothing that was not "
               "synced was acknowledged";
    return "start the hub again; if it comes back, send this line to who maintains it";
}

/* So that the next start need not ask anybody. */
static void condemn_state(struct hub *hub, const char *what)
{
    char *data = hub_home_file(hub->home.path, "data");
    truc_error error = data ? hub_state_condemn(data, what) : TRUC_E_NOMEM;

    if (error)
        truc_log(TRUC_LOG_ERROR, "not_noted",
                 "what=\"data/state.damaged could not be written: delete data/state.mdb before the next start\" "
                 "error=\"%s\"",
                 truc_error_string(error));
    free(data);
}

void hub_fatal(struct hub *hub, const char *what, truc_error error)
{
    int reason = errno;

    truc_log(TRUC_LOG_ERROR, "fatal", "what=\"%s\" error=\"%s\" reason=\"%s\" do=\"%s\"", what,
             truc_error_string(error), error == TRUC_E_IO && reason ? strerror(reason) : "", what_to_do(hub, error));
    if (hub->state && hub_state_is_damaged(hub->state))
        condemn_state(hub, what);
    hub->fatal = true;
    hub->exit_code = 1;
    uv_stop(&hub->loop);
}

/* ---- the loop
 * --------------------------------------------------------------------------------------------------------- */

static void check_space(struct hub *hub);

static void on_wake(uv_async_t *async)
{
    struct hub *hub = async->data;
    uint64_t commits = hub->counters[COUNT_COMMITS];

    hub_readers_finish(hub->readers);
    hub_commit_finish(hub);
    if (hub->counters[COUNT_COMMITS] != commits)
        check_space(hub);
    hub_intake_resume(hub);
    hub_state_flush(hub, false);
    hub_outflow(hub);
}

static void on_drained(void *context)
{
    struct hub *hub = context;

    hub_outflow(hub); /* credit and acks may have made something deliverable; starts the commit too */
}

static void check_space(struct hub *hub)
{
    uint64_t reserve = (uint64_t)hub->home.settings.reserve_bytes;
    /* A disk that does not even say how much room it has gets no seals. */
    bool full = hub_journal_space(hub->journal, &hub->space) != TRUC_OK || hub->space.disk_free < reserve ||
                hub->space.used + reserve >= hub->space.quota || uv_now(&hub->loop) < hub->rejected_until_ms;
    if (full != hub->storage_full)
        truc_log(full ? TRUC_LOG_ERROR : TRUC_LOG_INFO, full ? "storage_full" : "storage_ok",
                 "disk_free=%llu used=%llu quota=%llu reserve=%llu", (unsigned long long)hub->space.disk_free,
                 (unsigned long long)hub->space.used, (unsigned long long)hub->space.quota,
                 (unsigned long long)reserve);
    hub->storage_full = full;
}

bool hub_has_room(const struct hub *hub, size_t bytes)
{
    uint64_t more = bytes + hub->building->bytes + (hub->writing ? hub->writing->bytes : 0) +
                    (uint64_t)hub->home.settings.reserve_bytes;

    return !hub->storage_full && !hub->state_full && more <= hub->space.disk_free &&
           hub->space.used + more <= hub->space.quota;
}

static void propose_due(struct hub *hub, int64_t now)
{
    for (;;) {
        struct hub_ranges ranges = {0};
        enum hub_input_kind kind;
        uint32_t agency = 0;
        truc_error error = hub_dispatch_due(hub->dispatch, now, &agency, &kind, &ranges);
        if (error)
            hub_fatal(hub, "timers", error);
        else if (agency)
            hub_propose(hub, agency, kind, &ranges);
        hub_ranges_close(&ranges);
        if (error || !agency)
            return;
    }
}

/* What cannot be stored in time was not answered: acks come again as redeliveries, the state from the journal. */
static void try_to_stop(struct hub *hub, uint64_t now)
{
    bool quiet = !hub->writing && !hub->retry && !hub_commit_is_due(hub->building) && !hub->frozen;

    if (!quiet && now < hub->stop_deadline_ms)
        return;
    if (!quiet)
        truc_log(TRUC_LOG_WARN, "stopped_early", "what=\"the disk took nothing more: unanswered acks come again\"");
    hub_sessions_bye(hub);
    uv_stop(&hub->loop);
}

static void on_tick(uv_timer_t *timer)
{
    struct hub *hub = timer->data;
    uint64_t now = uv_now(&hub->loop);
    bool was_unsure = hub->clock.unsure;

    /* Whoever met it may have had nobody to tell. */
    if (hub_state_is_damaged(hub->state) && !hub->fatal) {
        hub_fatal(hub, "reading the state", TRUC_E_CORRUPT);
        return;
    }
    hub_clock_check(&hub->clock);
    if (hub->clock.unsure != was_unsure)
        truc_log(hub->clock.unsure ? TRUC_LOG_ERROR : TRUC_LOG_INFO, hub->clock.unsure ? "clock_unsure" : "clock_ok",
                 "drift_us=%lld", (long long)hub->clock.drift_us);
    if (!hub->clock.unsure)
        propose_due(hub, hub_clock_now(&hub->clock));
    if (now / SPACE_EVERY_MS != (now - TICK_MS) / SPACE_EVERY_MS)
        check_space(hub);
    if (now / SESSIONS_EVERY_MS != (now - TICK_MS) / SESSIONS_EVERY_MS)
        hub_sessions_check(hub);
    hub_state_flush(hub, false);
    hub_intake_resume(hub);
    hub_receivers_look(hub);
    hub_outflow_resume(hub);
    hub_outflow(hub);
    hub_refusals_tick(hub, false);
    if (hub->stopping)
        try_to_stop(hub, now);
}

static void on_stop(uv_signal_t *signal, int number)
{
    struct hub *hub = signal->data;

    if (hub->stopping)
        return;
    truc_log(TRUC_LOG_INFO, "stopping", "signal=%d", number);
    hub->stopping = true;
    hub->stop_deadline_ms = uv_now(&hub->loop) + STOP_MS;
    hub_socket_pause(hub->socket);
    hub_commit_start(hub);
    hub_state_flush(hub, true);
}

static truc_error start_loop(struct hub *hub)
{
    if (uv_async_init(&hub->loop, &hub->wake, on_wake) != 0 || uv_timer_init(&hub->loop, &hub->tick) != 0 ||
        uv_signal_init(&hub->loop, &hub->interrupt) != 0 || uv_signal_init(&hub->loop, &hub->terminate) != 0)
        return TRUC_E_IO;
    hub->wake.data = hub->tick.data = hub->interrupt.data = hub->terminate.data = hub;
    uv_timer_start(&hub->tick, on_tick, TICK_MS, TICK_MS);
    uv_signal_start(&hub->interrupt, on_stop, SIGINT);
    uv_signal_start(&hub->terminate, on_stop, SIGTERM);
    return TRUC_OK;
}

static truc_error write_endpoint(struct hub *hub)
{
    char *path = hub_home_file(hub->home.path, "hub/endpoint"), line[300];
    truc_error error = path ? TRUC_OK : TRUC_E_NOMEM;

    if (!error) {
        snprintf(line, sizeof line, "%s\n", hub_socket_endpoint(hub->socket));
        error = truc_file_write(path, truc_bytes_of(line), 0644, true);
    }
    free(path);
    return error;
}

/* Files, LMDB, libuv and libzmq themselves; and connections that are about to be taken. */
#define DESCRIPTORS_OWN 64

/* -> how many connections may be open: fewer than the descriptors that there are, so that none ever lacks. */
static unsigned most_connections(const struct hub *hub)
{
    struct rlimit limit;
    uint64_t sessions = (uint64_t)hub->home.settings.sessions;

    if (getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur > UINT_MAX)
        return UINT_MAX;
    uint64_t most = limit.rlim_cur > DESCRIPTORS_OWN ? limit.rlim_cur - DESCRIPTORS_OWN : 1;
    if (most < sessions)
        truc_log(TRUC_LOG_WARN, "descriptors",
                 "what=\"%llu open files are allowed: enough for %llu sessions, limits.sessions is %llu\" "
                 "do=\"set LimitNOFILE=%llu in the service's unit, or ulimit -n %llu, or lower limits.sessions\"",
                 (unsigned long long)limit.rlim_cur, (unsigned long long)most, (unsigned long long)sessions,
                 (unsigned long long)(sessions + DESCRIPTORS_OWN), (unsigned long long)(sessions + DESCRIPTORS_OWN));
    return (unsigned)most;
}

static truc_error open_socket(struct hub *hub, struct truc_buffer *why)
{
    const struct hub_socket_events events = {.context = hub,
                                             .may_connect = hub_may_connect,
                                             .on_message = hub_on_message,
                                             .on_gone = hub_on_gone,
                                             .on_drained = on_drained,
                                             .on_flood = hub_on_flood};
    const struct hub_socket_limits limits = {.part_bytes = TRUC_PIECE_MAX,
                                             .unsent_bytes = 96u << 20,
                                             .unread_bytes = 24u << 20,
                                             .handshake_ms = 5000,
                                             .connections = most_connections(hub),
                                             .io_threads = 2};
    truc_error error = hub_socket_open(&hub->loop, hub->home.settings.listen, hub->home.transport_public,
                                       hub->home.transport_secret, &limits, &events, &hub->socket);

    if (error)
        return hub_explain(why, hub->home.settings.listen, error, zmq_strerror(zmq_errno()));
    if ((error = write_endpoint(hub)))
        return hub_explain(why, "hub/endpoint", error, NULL);
    return TRUC_OK;
}

/* libuv makes its pool at the first use, of this size. */
static void set_workers(struct hub *hub)
{
    char text[24];
    long cores = sysconf(_SC_NPROCESSORS_ONLN);

    hub->workers = hub->home.settings.workers > 0 ? (size_t)hub->home.settings.workers : cores > 0 ? (size_t)cores : 1;
    snprintf(text, sizeof text, "%zu", hub->workers);
    setenv("UV_THREADPOOL_SIZE", text, 1);
}

truc_error hub_open(struct hub *hub, const char *home, struct truc_buffer *why)
{
    truc_error error;

    memset(hub, 0, sizeof *hub);
    /* Large messages come and go all the time: giving their memory back each time costs more than it frees. */
    mallopt(M_MMAP_THRESHOLD, 64 << 20);
    mallopt(M_TRIM_THRESHOLD, 128 << 20);
    int loop = uv_loop_init(&hub->loop);
    if (loop != 0)
        return hub_explain(why, "event loop", TRUC_E_IO, uv_strerror(loop));
    hub->loop_open = true;
    hub->started_ms = uv_now(&hub->loop);
    if ((error = hub_home_open(home, &hub->home, why)))
        return error;
    enum truc_log_level level;
    if (truc_log_level_parse(hub->home.settings.log_level, &level) == TRUC_OK)
        truc_log_set_level(level);
    set_workers(hub);
    char *data = hub_home_file(home, "data");
    if (!data)
        return TRUC_E_NOMEM;
    hub->building = hub_commit_new();
    error = hub->building ? truc_arena_new(4u << 20, &hub->arena) : TRUC_E_NOMEM;
    if (!error)
        error = start_loop(hub);
    if (!error)
        error = hub_start_store(hub, data, why);
    free(data);
    if (error)
        return error;
    if ((error = hub_start_core(hub, why)))
        return error;
    check_space(hub);
    hub_clock_check(&hub->clock);
    return open_socket(hub, why);
}

int hub_run(struct hub *hub)
{
    truc_log(TRUC_LOG_INFO, "ready", "endpoint=%s origin=%s tree_size=%llu", hub_socket_endpoint(hub->socket),
             hub_core_origin(hub->core), (unsigned long long)hub_core_tree_size(hub->core));
    printf("ready endpoint=%s\n", hub_socket_endpoint(hub->socket));
    fflush(stdout);
    uv_run(&hub->loop, UV_RUN_DEFAULT);
    hub_refusals_tick(hub, true);
    if (!hub->fatal)
        truc_log(TRUC_LOG_INFO, "stopped", "tree_size=%llu", (unsigned long long)hub_core_tree_size(hub->core));
    return hub->exit_code;
}

static void close_handle(uv_handle_t *handle)
{
    if (handle->type != UV_UNKNOWN_HANDLE && !uv_is_closing(handle))
        uv_close(handle, NULL);
}

void hub_close(struct hub *hub)
{
    if (!hub->loop_open)
        return;
    hub->stopping = true;
    if (hub->socket)
        hub_socket_pause(hub->socket);
    /* The threads first: they wake the loop, which must not look for one that is gone. */
    hub_readers_free(&hub->readers);
    hub_writer_free(&hub->writer);
    hub_flusher_free(&hub->flusher);
    close_handle((uv_handle_t *)&hub->wake);
    close_handle((uv_handle_t *)&hub->tick);
    close_handle((uv_handle_t *)&hub->interrupt);
    close_handle((uv_handle_t *)&hub->terminate);
    uv_run(&hub->loop, UV_RUN_NOWAIT); /* takes a stop that was asked for meanwhile: the next runs must not obey it */
    hub_sessions_free(hub);
    hub_socket_close(&hub->socket, hub->fatal ? 0 : 500);
    uv_run(&hub->loop, UV_RUN_DEFAULT); /* verifications under way end here */
    uv_loop_close(&hub->loop);
    hub_commit_free(&hub->writing);
    hub_commit_free(&hub->retry);
    hub_commit_free(&hub->building);
    hub_dispatch_free(&hub->dispatch);
    hub_admit_free(&hub->admit);
    hub_cache_free(&hub->cache);
    hub_effects_close(&hub->effects);
    if (hub->frozen)
        hub_core_thaw(hub->core, &hub->frozen);
    hub_core_free(&hub->core);
    hub_keyring_free(&hub->keys);
    hub_state_close(&hub->state);
    hub_journal_close(&hub->journal);
    hub_slots_close(&hub->slots);
    free(hub->slot_memory);
    free(hub->agency_in_flight);
    free(hub->refusals.of);
    free(hub->receivers.of);
    truc_arena_free(&hub->arena);
    truc_buffer_close(&hub->checkpoint);
    hub_home_close(&hub->home);
}
