/* The child of `log verify`: hands rows to workers, takes them back in order, replays every decision, compares every
 * checkpoint that the journal, the state or the caller holds, and the state itself. */
#include "hub/admin/verify_replay.h"

#include <stdarg.h>

#define FINDINGS_SENT_MAX 10000 /* further ones are counted */

void verify_find(struct verify_report *report, const struct verify_place *place, const char *format, ...)
{
    char text[512];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof(text), format, arguments);
    va_end(arguments);
    pthread_mutex_lock(&report->lock);
    if (report->findings++ < FINDINGS_SENT_MAX) {
        json_t *row =
            json_pack("{s:s, s:o, s:o, s:o, s:s?, s:s}", "kind", "finding", "row",
                      place->row == VERIFY_NONE ? json_null() : json_integer((json_int_t)place->row), "leaf",
                      place->leaf == VERIFY_NONE ? json_null() : json_integer((json_int_t)place->leaf), "sequence",
                      place->sequence == VERIFY_NONE ? json_null() : json_integer((json_int_t)place->sequence),
                      "agency", place->agency, "what", text);
        admin_must(row != NULL);
        (void)admin_json_line(report->out, row); /* a parent that is gone wants nothing more */
        json_decref(row);
    }
    pthread_mutex_unlock(&report->lock);
}

/* ---- workers --------------------------------------------------------------------------------------------------------
 */

static void *work(void *argument)
{
    struct worker *worker = argument;
    struct pipeline *pipeline = worker->pipeline;
    pthread_mutex_lock(&pipeline->lock);
    for (;;) {
        while (!pipeline->stop && pipeline->next < pipeline->total && pipeline->next - pipeline->consumed >= RING) {
            pthread_cond_wait(&pipeline->room, &pipeline->lock);
        }
        if (pipeline->stop || pipeline->next >= pipeline->total) {
            break;
        }
        uint64_t number = pipeline->next++;
        struct verify_row *row = &pipeline->ring[number % RING];
        pthread_mutex_unlock(&pipeline->lock);

        atomic_store(&worker->progress->reading[worker->number], number + 1);
        verify_row_clear(row);
        truc_error error = verify_row_check(&worker->tools, number, row);
        atomic_store(&worker->progress->reading[worker->number], 0);

        pthread_mutex_lock(&pipeline->lock);
        row->done = true;
        if (error != TRUC_OK) {
            pipeline->error = error;
        }
        if (number == pipeline->consumed || error != TRUC_OK) {
            pthread_cond_signal(&pipeline->ready);
        }
    }
    pthread_mutex_unlock(&pipeline->lock);
    return NULL;
}

static truc_error start_workers(struct replay *replay)
{
    truc_error error = TRUC_OK;
    for (unsigned i = 0; error == TRUC_OK && i < replay->options->workers; i++) {
        struct worker *worker = &replay->workers[i];
        worker->pipeline = &replay->pipeline;
        worker->progress = replay->progress;
        worker->number = i;
        worker->tools.slots = replay->slots;
        worker->tools.keys = &replay->keys;
        error = hub_journal_reader_new(replay->journal, &worker->tools.journal);
        error = error != TRUC_OK ? error : hub_row_reader_new(&worker->tools.rows);
        error = error != TRUC_OK ? error : truc_aead_new(&worker->tools.aead);
        error = error != TRUC_OK ? error : truc_arena_new(64u << 20, &worker->tools.arena);
        if (error == TRUC_OK) {
            worker->started = pthread_create(&worker->thread, NULL, work, worker) == 0;
            error = worker->started ? TRUC_OK : TRUC_E_NOMEM;
        }
    }
    return error;
}

static void stop_workers(struct replay *replay)
{
    pthread_mutex_lock(&replay->pipeline.lock);
    replay->pipeline.stop = true;
    pthread_cond_broadcast(&replay->pipeline.room);
    pthread_mutex_unlock(&replay->pipeline.lock);
    for (unsigned i = 0; i < VERIFY_WORKERS_MAX; i++) {
        struct worker *worker = &replay->workers[i];
        if (worker->started) {
            pthread_join(worker->thread, NULL);
        }
        hub_journal_reader_free(&worker->tools.journal);
        hub_row_reader_free(&worker->tools.rows);
        truc_aead_free(&worker->tools.aead);
        truc_arena_free(&worker->tools.arena);
        truc_buffer_close(&worker->tools.content);
    }
    for (size_t i = 0; i < RING; i++) {
        verify_row_close(&replay->pipeline.ring[i]);
    }
}

/* ---- replay ---------------------------------------------------------------------------------------------------------
 */

/* The core would not have it: say why, as far as can be seen. */
static const char *why_invalid(struct replay *replay, const struct hub_input *input)
{
    enum hub_chain_answer answer;
    uint64_t leaf_index;
    if (input->kind != HUB_INPUT_SEAL) {
        return "an input that could never have been journaled";
    }
    const struct truc_seal *seal = &input->u.seal.seal;
    const struct hub_agency *agency = hub_core_agency(replay->core, truc_bytes_of(seal->sender));
    const struct hub_signing_key *key = hub_core_key(replay->core, seal->keyid);
    if (strcmp(seal->origin, hub_core_origin(replay->core)) != 0) {
        return "a seal of another log";
    }
    if (agency == NULL) {
        return "a seal of an agency that was not enrolled";
    }
    if (key == NULL || key->agency != agency->number) {
        return "a seal with a key that was not enrolled for its sender";
    }
    if (hub_core_chain(replay->core, agency->number, seal, &input->u.seal.digest, &answer, &leaf_index) == TRUC_OK) {
        switch (answer) {
        case HUB_CHAIN_NEXT:
            break;
        case HUB_CHAIN_KNOWN:
            return "a seal that is in the log already";
        case HUB_CHAIN_GAP:
            return "a seal that does not follow the one before in its sender's chain";
        case HUB_CHAIN_FORK:
            return "a second seal for one place in its sender's chain";
        case HUB_CHAIN_CLOSED:
            return "a seal in a chain that was closed by a fork";
        }
    }
    return "an act that was impossible at its place";
}

/* Seals whose key had not come up when the worker was there. By now everything before it is applied. */
static void check_late_signature(struct replay *replay, const struct hub_input *input, const struct verify_place *place)
{
    const struct hub_signing_key *key = hub_core_key(replay->core, input->u.seal.seal.keyid);
    truc_error error = TRUC_E_UNKNOWN_KEY;
    if (key != NULL) {
        error = verify_keys_add(&replay->keys, key->keyid, key->spki);
        error = error == TRUC_OK ? verify_envelope(&replay->keys, input->u.seal.envelope) : error;
    }
    if (error != TRUC_OK) {
        verify_find(&replay->report, place, "its signature does not verify: %s", truc_error_string(error));
    }
}

static void check_fork(struct replay *replay, const struct hub_input *input, uint64_t row)
{
    struct verify_place place = VERIFY_ROW(row);
    place.agency = input->agency;
    if (verify_envelope(&replay->keys, input->u.fork.envelope) != TRUC_OK) {
        verify_find(&replay->report, &place, "the second seal of a fork, kept as evidence, does not verify");
    }
}

/* An act that was treated as no act (verify_facts.c): right only where its sender is no administrator. */
static void check_undecoded_acts(struct replay *replay, const struct hub_seal_input *seal,
                                 const struct verify_place *place, uint64_t first_sequence)
{
    for (uint32_t i = 0; i < seal->seal.count; i++) {
        const struct hub_event_facts *facts = &seal->events[i];
        if (facts->kind != HUB_EVENT_RESERVED || !truc_bytes_equal(facts->type, truc_bytes_of(TRUC_TYPE_GOVERNANCE))) {
            continue;
        }
        const struct hub_agency *sender = hub_core_agency(replay->core, truc_bytes_of(seal->seal.sender));
        if (sender != NULL && sender->role == HUB_ROLE_ADMINISTRATOR) {
            struct verify_place where = *place;
            where.sequence = first_sequence + i;
            verify_find(&replay->report, &where, "an administrator's act was not treated as one");
        }
    }
}

/* What the worker noted, now that the leaf is known. */
static void report_notes(struct replay *replay, const struct verify_row *found, size_t ordinal,
                         const struct verify_place *place, uint64_t first_sequence)
{
    for (size_t i = 0; i < found->note_count; i++) {
        const struct verify_note *note = &found->notes[i];
        if (note->seal != ordinal) {
            continue;
        }
        struct verify_place where = *place;
        if (note->event != UINT32_MAX && first_sequence != VERIFY_NONE) {
            where.sequence = first_sequence + note->event;
        }
        verify_find(&replay->report, &where, "%s", note->text);
    }
}

static void stop_replaying(struct replay *replay, const struct verify_place *place, const char *why)
{
    replay->replaying = false;
    verify_find(&replay->report, place,
                "%s. The decisions from here on cannot be replayed; what can be checked without "
                "them is checked",
                why);
}

static void replay_seal(struct replay *replay, const struct hub_input *input, const struct verify_row *found,
                        size_t ordinal, uint64_t row)
{
    struct verify_place place = VERIFY_ROW(row);
    uint64_t first = VERIFY_NONE;
    place.agency = input->u.seal.seal.sender;
    if (replay->replaying) {
        place.leaf = hub_core_tree_size(replay->core);
        first = hub_core_next_sequence(replay->core);
        check_undecoded_acts(replay, &input->u.seal, &place, first);
    }
    replay->seals++;
    if (replay->replaying) {
        truc_error error = hub_core_apply(replay->core, input, &replay->effects);
        if (error != TRUC_OK) {
            char why[256];
            snprintf(why, sizeof(why), "%s (%s)", why_invalid(replay, input), truc_error_string(error));
            stop_replaying(replay, &place, why);
        } else {
            verify_orders(replay, &input->u.seal, &place, first);
        }
    }
    if (ordinal < found->seal_count && found->unsigned_seals[ordinal]) {
        check_late_signature(replay, input, &place);
    }
    if (found->why[0] == '\0') { /* of a row that was altered the slots may be anything */
        verify_slots(replay, &input->u.seal, &place, first);
    }
    report_notes(replay, found, ordinal, &place, first);
}

static void replay_input(struct replay *replay, const struct hub_input *input, uint64_t row)
{
    const struct verify_place place = VERIFY_ROW(row);
    replay->other_inputs++;
    if (input->kind == HUB_INPUT_FORK) {
        check_fork(replay, input, row);
    }
    if (!replay->replaying) {
        return;
    }
    if (input->kind == HUB_INPUT_CHECKPOINT) {
        verify_checkpoint(replay, input->u.checkpoint.note, &place, "the checkpoint in this row");
    }
    truc_error error = hub_core_apply(replay->core, input, &replay->effects);
    if (error != TRUC_OK) {
        char why[256];
        snprintf(why, sizeof(why), "%s (%s)", why_invalid(replay, input), truc_error_string(error));
        stop_replaying(replay, &place, why);
    }
}

static void check_header(struct replay *replay, const struct hub_row_header *header, uint64_t number)
{
    const struct verify_place place = VERIFY_ROW(number);
    if (header->row != number) {
        verify_find(&replay->report, &place, "it says that it is row %llu", (unsigned long long)header->row);
    }
    if (memcmp(&header->previous, &replay->before.digest, sizeof(header->previous)) != 0) {
        verify_find(&replay->report, &place, "it does not follow the row before: that one, or this one, was replaced");
    }
    if (number > 0 && header->accepted_at_us < replay->before.accepted_at_us) {
        verify_find(&replay->report, &place, "it was accepted before the row before it");
    }
    replay->before = *header;
}

static truc_error replay_row(struct replay *replay, uint64_t number, const struct verify_row *found)
{
    const struct verify_place place = VERIFY_ROW(number);
    struct hub_row_header header;
    struct hub_input input;
    struct truc_bytes bytes;
    size_t ordinal = 0;
    if (found->why[0] != '\0') {
        verify_find(&replay->report, &place, "%s", found->why);
    }
    truc_error error = hub_journal_get(replay->reader, number, &bytes);
    error = error != TRUC_OK ? error : hub_row_reader_start(replay->rows, bytes, false, &header);
    if (error != TRUC_OK) {
        if (replay->replaying) {
            stop_replaying(replay, &place, "the row cannot be read");
        }
        return error == TRUC_E_NOMEM ? error : TRUC_OK;
    }
    check_header(replay, &header, number);
    if (replay->replaying && hub_core_begin_row(replay->core, number, header.accepted_at_us) != TRUC_OK) {
        stop_replaying(replay, &place, "its time or number does not fit");
    }
    while ((error = hub_row_reader_next(replay->rows, &input)) == TRUC_OK) {
        if (input.kind == HUB_INPUT_SEAL) {
            replay_seal(replay, &input, found, ordinal++, number);
        } else {
            replay_input(replay, &input, number);
        }
    }
    if (error == TRUC_E_NOMEM) {
        return error;
    }
    if (replay->replaying && error != TRUC_E_NOT_FOUND) {
        stop_replaying(replay, &place, "the rest of the row cannot be read");
    }
    if (replay->replaying && hub_core_end_row(replay->core, &replay->effects) != TRUC_OK) {
        stop_replaying(replay, &place, "the row cannot be finished");
    }
    hub_effects_clear(&replay->effects);
    if (replay->replaying) {
        verify_take_note_key(replay);
        verify_compare_state(replay);
    }
    return TRUC_OK;
}

static truc_error replay_all(struct replay *replay)
{
    struct pipeline *pipeline = &replay->pipeline;
    for (uint64_t number = 0; number < pipeline->total; number++) {
        struct verify_row *row = &pipeline->ring[number % RING];
        pthread_mutex_lock(&pipeline->lock);
        while ((pipeline->next <= number || !row->done) && pipeline->error == TRUC_OK) {
            pthread_cond_wait(&pipeline->ready, &pipeline->lock);
        }
        truc_error error = pipeline->error;
        pthread_mutex_unlock(&pipeline->lock);
        if (error != TRUC_OK) {
            return error;
        }
        atomic_store(&replay->progress->replaying, number + 1);
        error = replay_row(replay, number, row);
        atomic_store(&replay->progress->replaying, 0);
        if (error != TRUC_OK) {
            return error;
        }
        replay->signatures += row->signatures;
        replay->erased += row->erased;
        replay->bytes += row->bytes;
        atomic_store(&replay->progress->rows_done, number + 1);
        atomic_fetch_add(&replay->progress->events, row->events);
        atomic_fetch_add(&replay->progress->bytes, row->bytes);
        pthread_mutex_lock(&pipeline->lock);
        row->done = false;
        pipeline->consumed = number + 1;
        pthread_cond_broadcast(&pipeline->room);
        pthread_mutex_unlock(&pipeline->lock);
    }
    return TRUC_OK;
}

/* ---- the child ------------------------------------------------------------------------------------------------------
 */

static truc_error open_all(struct replay *replay, const char *data, const char *slots)
{
    char why[256] = "";
    verify_open_state(replay,
                      data); /* before the journal, so that it cannot be ahead of what is seen of a running hub */
    truc_error error =
        hub_journal_open(data, (uint64_t)replay->options->settings->journal_bytes, false, true, &replay->journal, why);
    if (error != TRUC_OK) {
        verify_find(&replay->report, &VERIFY_NOWHERE, "the journal cannot be opened: %s%s%s", truc_error_string(error),
                    why[0] == '\0' ? "" : ": ", why);
        return TRUC_E_CORRUPT;
    }
    if (hub_slots_open(slots, false, true, &replay->slots) != TRUC_OK) {
        verify_find(&replay->report, &VERIFY_NOWHERE,
                    "the content keys cannot be read: contents are not compared with their "
                    "hashes");
        replay->slots = NULL;
    }
    struct hub_port port = admin_memory_port();
    error = replay->slots == NULL ? TRUC_OK : verify_slots_new(replay);
    error = error != TRUC_OK ? error : hub_journal_reader_new(replay->journal, &replay->reader);
    error = error != TRUC_OK ? error : hub_row_reader_new(&replay->rows);
    error = error != TRUC_OK ? error : hub_core_new(&port, &replay->core);
    replay->pipeline.total = hub_journal_rows(replay->journal);
    atomic_store(&replay->progress->rows, replay->pipeline.total);
    if (error == TRUC_OK && replay->pipeline.total == 0) {
        verify_find(&replay->report, &VERIFY_NOWHERE, "the journal is empty: not even its genesis is there");
    }
    return error;
}

static void check_end(struct replay *replay)
{
    if (!replay->replaying) {
        return;
    }
    if (replay->state_note.size > 0) {
        verify_checkpoint(replay, truc_buffer_view(&replay->state_note), &VERIFY_NOWHERE,
                          "the newest checkpoint in the state");
    }
    if (replay->options->note.size > 0) {
        verify_checkpoint(replay, replay->options->note, &VERIFY_NOWHERE, "the checkpoint that you gave");
    }
    if (replay->state_core != NULL && !replay->state_compared) {
        verify_find(&replay->report, &VERIFY_NOWHERE,
                    "the state on disk knows %llu rows, the journal has only %llu: rows are missing",
                    (unsigned long long)hub_core_applied(replay->state_core),
                    (unsigned long long)replay->pipeline.total);
    }
}

static void send_summary(struct replay *replay)
{
    struct truc_hash root;
    char hex[2 * TRUC_HASH_SIZE + 1] = "";
    bool whole = replay->replaying && replay->pipeline.total > 0 &&
                 atomic_load(&replay->progress->rows_done) == replay->pipeline.total;
    if (replay->core != NULL) {
        hub_core_root(replay->core, &root);
        truc_hex(truc_bytes(root.bytes, sizeof(root.bytes)), hex);
    }
    json_t *row = json_pack("{s:s, s:s, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:s, s:b, s:b, s:b}", "kind",
                            "summary", "origin", replay->core == NULL ? "" : hub_core_origin(replay->core), "findings",
                            (json_int_t)replay->report.findings, "rows", (json_int_t)replay->pipeline.total, "leaves",
                            (json_int_t)(replay->core == NULL ? 0 : hub_core_tree_size(replay->core)), "events",
                            (json_int_t)atomic_load(&replay->progress->events), "bytes", (json_int_t)replay->bytes,
                            "signatures", (json_int_t)replay->signatures, "erased", (json_int_t)replay->erased,
                            "checkpoints", (json_int_t)replay->checkpoints, "other_inputs",
                            (json_int_t)replay->other_inputs, "root", hex, "decisions_replayed", (int)whole,
                            "state_compared", (int)replay->state_compared, "state_equal", (int)replay->state_equal);
    admin_must(row != NULL);
    (void)admin_json_line(replay->report.out, row);
    json_decref(row);
}

static void close_all(struct replay *replay)
{
    stop_workers(replay);
    hub_core_free(&replay->core);
    hub_core_free(&replay->state_core);
    hub_effects_close(&replay->effects);
    hub_state_close(&replay->state);
    hub_row_reader_free(&replay->rows);
    hub_row_reader_free(&replay->ordered_rows);
    hub_journal_reader_free(&replay->ordered);
    hub_journal_reader_free(&replay->reader);
    hub_slots_close(&replay->slots);
    free(replay->slot_owners);
    hub_journal_close(&replay->journal);
    verify_keys_close(&replay->keys);
    truc_note_verifier_close(&replay->note_key);
    truc_buffer_close(&replay->state_note);
}

enum admin_exit verify_child(const struct verify_options *options, struct verify_progress *progress, FILE *out)
{
    struct replay *replay = calloc(1, sizeof(*replay));
    char *data = hub_home_file(options->home, "data"), *slots = hub_home_file(options->home, "data/keys.slots");
    admin_must(replay != NULL && data != NULL && slots != NULL);
    replay->options = options;
    replay->progress = progress;
    replay->report.out = out;
    replay->replaying = true;
    pthread_mutex_init(&replay->report.lock, NULL);
    pthread_mutex_init(&replay->pipeline.lock, NULL);
    pthread_cond_init(&replay->pipeline.room, NULL);
    pthread_cond_init(&replay->pipeline.ready, NULL);
    pthread_rwlock_init(&replay->keys.lock, NULL);

    truc_error error = open_all(replay, data, slots);
    error = error != TRUC_OK ? error : start_workers(replay);
    error = error != TRUC_OK ? error : replay_all(replay);
    if (error == TRUC_OK) {
        check_end(replay);
    } else if (replay->report.findings == 0) {
        verify_find(&replay->report, &VERIFY_NOWHERE, "the verification could not be finished: %s",
                    truc_error_string(error));
    }
    send_summary(replay);
    enum admin_exit exit_code = replay->report.findings == 0 ? ADMIN_OK : ADMIN_DAMAGED;
    close_all(replay);
    free(data);
    free(slots);
    free(replay);
    return exit_code;
}
