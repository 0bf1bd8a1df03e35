/* The hub's life: open what is on disk, apply what the state does not have yet, serve, stop in order. */
#include "hub/hub.h"

#include <errno.h>
#include <malloc.h>
#include <unistd.h>

#define TICK_MS 20
#define STOP_MS 10000
#define SPACE_EVERY_MS 500
#define SESSIONS_EVERY_MS 1000
#define SLOTS_FIRST 4096

const char *const hub_counter_names[COUNT_N] = {
    "seals",  "events",     "event_bytes", "delivered",    "acked",      "nacked",   "released",
    "stale",  "commits",    "commit_us",   "row_bytes",    "cold_reads", "sessions", "dropped_sessions",
    "floods", "bad_frames", "checkpoints", "state_commits"};

void hub_fatal(struct hub *hub, const char *what, truc_error error)
{
    truc_log(TRUC_LOG_ERROR, "fatal", "what=\"%s\" error=\"%s\" errno=%d", what, truc_error_string(error), errno);
    if (error == TRUC_E_CORRUPT)
        truc_log(
            TRUC_LOG_ERROR, "what_to_do",
            "text=\"truc log verify --home HOME says whether the log is whole; if only the state is damaged, delete "
            "data/state.mdb and start the hub: it is made again from the journal\"");
    hub->fatal = true;
    hub->exit_code = 1;
    uv_stop(&hub->loop);
}

/* ---- opening
 * ---------------------------------------------------------------------------------------------------------- */

static truc_error explain(struct truc_buffer *why, const char *what, truc_error error, const char *detail)
{
    const char *text = detail && *detail ? detail : truc_error_string(error);
    truc_error said = truc_buffer_printf(why, "%s: %s\n", what, text);

    return said ? said : error;
}

static truc_error open_store(struct hub *hub, const char *data, struct truc_buffer *why)
{
    char detail[256] = "";
    char *slots = hub_home_file(data, "keys.slots");
    truc_error error;

    if (!slots)
        return TRUC_E_NOMEM;
    if ((error =
             hub_journal_open(data, (uint64_t)hub->home.settings.journal_bytes, false, false, &hub->journal, detail)))
        error = explain(why, "journal", error, detail);
    else if ((error = hub_slots_open(slots, false, false, &hub->slots)))
        error = explain(why, "key slots", error, "data/keys.slots is missing or damaged: restore it from its backup");
    else if ((error = hub_state_open(data, (uint64_t)hub->home.settings.state_bytes, true, false, &hub->state, detail)))
        error = explain(why, "state", error, detail);
    free(slots);
    return error;
}

static truc_error learn_slots(struct hub *hub, struct hub_row_reader *rows, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        uint64_t slot;
        truc_error error = hub_row_reader_slot(rows, i, &slot);
        if (error)
            return error;
        hub_slots_learn(hub, slot);
    }
    return TRUC_OK;
}

static truc_error apply_row(struct hub *hub, struct hub_row_reader *rows, struct truc_bytes row)
{
    struct hub_row_header header;
    struct hub_input input;
    truc_error error;

    if ((error = hub_row_reader_start(rows, row, true, &header)) ||
        (error = hub_core_begin_row(hub->core, header.row, header.accepted_at_us)))
        return error;
    while (!(error = hub_row_reader_next(rows, &input))) {
        if (input.kind == HUB_INPUT_SEAL && (error = learn_slots(hub, rows, input.u.seal.seal.count)))
            return error;
        if ((error = hub_core_apply(hub->core, &input, &hub->effects)))
            return error;
    }
    if (error != TRUC_E_NOT_FOUND)
        return error;
    error = hub_core_end_row(hub->core, &hub->effects);
    hub_effects_clear(&hub->effects);
    return error;
}

/* State that grows past what should wait in memory is committed on the way. */
static truc_error flush_while_replaying(struct hub *hub)
{
    truc_error error;

    if (hub_core_dirty_bytes(hub->core) < (64u << 20))
        return TRUC_OK;
    /* With the slots: rows before `applied` are never read for theirs again. */
    if ((error = hub_note_slots(hub)) || (error = hub_core_freeze(hub->core, &hub->frozen)) ||
        (error = hub_state_commit(hub->state, hub->frozen)) || (error = hub_state_refresh(hub->state)))
        return error;
    hub->state_rows = hub_core_applied(hub->core);
    hub_core_thaw(hub->core, &hub->frozen);
    return TRUC_OK;
}

static truc_error replay(struct hub *hub)
{
    struct hub_journal_reader *reader = NULL;
    struct hub_row_reader *rows = NULL;
    uint64_t from = hub->state_rows = hub_core_applied(hub->core), to = hub_journal_rows(hub->journal);
    truc_error error;

    if (from > to)
        return TRUC_E_CORRUPT; /* a state of another journal, or a journal that was cut */
    if ((error = hub_journal_reader_new(hub->journal, &reader)) || (error = hub_row_reader_new(&rows)))
        goto out;
    for (uint64_t row = from; !error && row < to; row++) {
        struct truc_bytes bytes;
        if (!(error = hub_journal_get(reader, row, &bytes)) && !(error = apply_row(hub, rows, bytes)))
            error = flush_while_replaying(hub);
    }
    if (!error && to > from)
        truc_log(TRUC_LOG_INFO, "replayed", "rows=%llu from=%llu", (unsigned long long)(to - from),
                 (unsigned long long)from);
out:
    hub_row_reader_free(&rows);
    hub_journal_reader_free(&reader);
    return error;
}

static truc_error last_row(struct hub *hub, struct truc_hash *digest)
{
    struct hub_journal_reader *reader = NULL;
    struct truc_bytes bytes;
    struct hub_row_header header = {0};
    uint64_t rows = hub_journal_rows(hub->journal);
    truc_error error = TRUC_OK;

    memset(digest, 0, sizeof *digest);
    if (rows == 0)
        return TRUC_E_NOT_FOUND;
    if ((error = hub_journal_reader_new(hub->journal, &reader)))
        return error;
    if (!(error = hub_journal_get(reader, rows - 1, &bytes)) && !(error = hub_row_open(bytes, &header)))
        *digest = header.digest;
    hub->accepted_at_us = header.accepted_at_us;
    hub_journal_reader_free(&reader);
    return error;
}

static truc_error noted_slot(struct hub *hub)
{
    struct truc_buffer noted = {0};
    truc_error error = hub_state_noted(hub->state, "slots", &noted);
    uint64_t slot = 0;

    if (!error && noted.size == 8) {
        for (int i = 0; i < 8; i++)
            slot = slot << 8 | noted.data[i];
        if (slot > hub->next_slot)
            hub->next_slot = slot;
    }
    truc_buffer_close(&noted);
    return error == TRUC_E_NOT_FOUND ? TRUC_OK : error;
}

/* The key in the home must be the one that genesis names, or every checkpoint of ours would be another log's. */
static truc_error check_note_key(struct hub *hub)
{
    struct truc_note_verifier verifier = {0};
    struct truc_buffer text = {0};
    truc_error error = truc_note_verifier_make(hub_core_origin(hub->core), hub->home.note_key, &verifier);

    if (!error && !(error = truc_note_verifier_text(&verifier, &text)) &&
        !truc_bytes_equal(truc_buffer_view(&text), truc_bytes_of(hub_core_note_key(hub->core))))
        error = TRUC_E_UNKNOWN_KEY;
    truc_buffer_close(&text);
    truc_note_verifier_close(&verifier);
    return error;
}

static void on_store_wake(void *context)
{
    uv_async_send(&((struct hub *)context)->wake);
}

static truc_error start_threads(struct hub *hub)
{
    struct truc_hash digest;
    truc_error error;

    if ((error = last_row(hub, &digest)) ||
        (error = hub_writer_new(hub->journal, hub->slots, &digest, on_store_wake, hub, &hub->writer)) ||
        (error = hub_flusher_new(hub->state, on_store_wake, hub, &hub->flusher)) ||
        (error = hub_readers_new(hub->journal, hub->slots, 2, on_store_wake, hub, &hub->readers)))
        return error;
    return hub_slots_ensure(hub->slots, hub->next_slot + SLOTS_FIRST);
}

/* The start itself is in the journal: what was in flight before may have been seen. Waited for here. */
static truc_error write_boot(struct hub *hub)
{
    struct hub_row_item item = {.input = {.kind = HUB_INPUT_BOOT}};
    struct hub_batch batch = {.items = &item, .count = 1}, *finished = NULL;
    truc_error error;
    int64_t now = hub_wall_us();

    hub->accepted_at_us = now > hub->accepted_at_us ? now : hub->accepted_at_us;
    batch.accepted_at_us = hub->accepted_at_us;
    hub_writer_submit(hub->writer, &batch);
    while (!(finished = hub_writer_finished(hub->writer)))
        usleep(1000); /* nothing else goes on yet */
    if ((error = finished->result) || (error = hub_core_begin_row(hub->core, finished->row, batch.accepted_at_us)) ||
        (error = hub_core_apply(hub->core, &item.input, &hub->effects)))
        return error;
    error = hub_core_end_row(hub->core, &hub->effects);
    hub_effects_clear(&hub->effects);
    return error;
}

static truc_error open_core(struct hub *hub, struct truc_buffer *why)
{
    struct hub_port port = hub_state_port(hub->state);
    struct hub_dispatch_limits limits = {
        .lease_us = hub->home.settings.lease_ms * 1000, .credit_events = 65536, .credit_bytes = 64u << 20};
    truc_error error;

    /* Senders choose subjects: without a seed of ours they could choose them all into one bucket. */
    if ((error = truc_random(&limits.seed, sizeof limits.seed)))
        return explain(why, "random", error, NULL);
    if ((error = hub_core_new(&port, &hub->core)) || (error = noted_slot(hub)) || (error = replay(hub)))
        return explain(why, "log", error,
                       error == TRUC_E_CORRUPT
                           ? "state and journal do not fit together, or a row is damaged: run `truc log verify`; if "
                             "the journal is whole, delete data/state.mdb and start again"
                           : NULL);
    if (hub_core_tree_size(hub->core) == 0)
        return explain(why, "log", TRUC_E_CORRUPT, "no genesis: this home was not made by `truc init`");
    if ((error = check_note_key(hub)))
        return explain(why, "hub/note.pem", error,
                       "not the key that the log's genesis names: this home mixes two logs");
    if ((error = start_threads(hub)) || (error = write_boot(hub)) || (error = hub_sign_checkpoint(hub)) ||
        (error = hub_admit_new(hub->core, &hub->admit)) ||
        (error = hub_dispatch_new(hub->core, &limits, (uint64_t)hub->accepted_at_us, &hub->dispatch)) ||
        (error = hub_keyring_new(hub->core, NULL, &hub->keys)) ||
        (error = hub_cache_new((size_t)hub->home.settings.cache_bytes, &hub->cache)))
        return explain(why, "start", error, NULL);
    return TRUC_OK;
}

/* ---- the loop
 * --------------------------------------------------------------------------------------------------------- */

static void on_wake(uv_async_t *async)
{
    struct hub *hub = async->data;

    hub_readers_finish(hub->readers);
    hub_commit_finish(hub);
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
                hub->space.used + reserve > hub->space.quota || uv_now(&hub->loop) < hub->rejected_until_ms;
    if (full != hub->storage_full)
        truc_log(full ? TRUC_LOG_ERROR : TRUC_LOG_INFO, full ? "storage_full" : "storage_ok",
                 "disk_free=%llu used=%llu quota=%llu reserve=%llu", (unsigned long long)hub->space.disk_free,
                 (unsigned long long)hub->space.used, (unsigned long long)hub->space.quota,
                 (unsigned long long)reserve);
    hub->storage_full = full;
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
    hub_outflow(hub);
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
                                             .io_threads = 2};
    truc_error error = hub_socket_open(&hub->loop, hub->home.settings.listen, hub->home.transport_public,
                                       hub->home.transport_secret, &limits, &events, &hub->socket);

    if (error)
        return explain(why, hub->home.settings.listen, error, zmq_strerror(zmq_errno()));
    if ((error = write_endpoint(hub)))
        return explain(why, "hub/endpoint", error, NULL);
    return TRUC_OK;
}

/* libuv makes its pool at the first use, of this size. */
static void set_workers(int64_t workers)
{
    char text[24];
    long cores = sysconf(_SC_NPROCESSORS_ONLN);

    snprintf(text, sizeof text, "%lld", (long long)(workers > 0 ? workers : cores > 0 ? cores : 1));
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
        return explain(why, "event loop", TRUC_E_IO, uv_strerror(loop));
    hub->loop_open = true;
    hub->started_ms = uv_now(&hub->loop);
    if ((error = hub_home_open(home, &hub->home, why)))
        return error;
    enum truc_log_level level;
    if (truc_log_level_parse(hub->home.settings.log_level, &level) == TRUC_OK)
        truc_log_set_level(level);
    set_workers(hub->home.settings.workers);
    char *data = hub_home_file(home, "data");
    if (!data)
        return TRUC_E_NOMEM;
    hub->building = hub_commit_new();
    error = hub->building ? truc_arena_new(4u << 20, &hub->arena) : TRUC_E_NOMEM;
    if (!error)
        error = start_loop(hub);
    if (!error)
        error = open_store(hub, data, why);
    free(data);
    if (error)
        return error;
    if ((error = open_core(hub, why)))
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
    truc_arena_free(&hub->arena);
    truc_buffer_close(&hub->checkpoint);
    hub_home_close(&hub->home);
}
