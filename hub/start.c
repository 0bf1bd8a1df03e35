/* The start: the store is opened and checked, the state brought up to the journal, the threads are begun, and the start
 * itself becomes a row. */
#include "hub/hub.h"

#include <errno.h>
#include <unistd.h>

#define SLOTS_FIRST 4096

truc_error hub_explain(struct truc_buffer *why, const char *what, truc_error error, const char *detail)
{
    const char *text = detail && *detail ? detail : truc_error_string(error);
    truc_error said = truc_buffer_printf(why, "%s: %s\n", what, text);

    return said ? said : error;
}

/* Whoever found the state damaged left word of it: it is made again. Nobody has to be asked, since nothing in it is not
 * in the journal. */
static truc_error open_state(struct hub *hub, const char *data, struct truc_buffer *why)
{
    struct truc_buffer word = {0};
    char detail[256] = "";
    truc_error error = hub_state_renew(data, &word);

    if (!error)
        truc_log(TRUC_LOG_WARN, "state_renewed",
                 "what=\"data/state.mdb was found damaged and is made again from the journal\" found=\"%.*s\"",
                 (int)word.size, word.data ? (const char *)word.data : "");
    truc_buffer_close(&word);
    if (error && error != TRUC_E_NOT_FOUND)
        return hub_explain(why, "data/state.damaged", error,
                           "the damaged state cannot be removed: see that data/ can be written to");
    error = hub_state_open(data, (uint64_t)hub->home.settings.state_bytes, true, false, &hub->state, detail);
    if (!error)
        return TRUC_OK;
    error = hub_explain(why, "state", error, detail);
    if (error == TRUC_E_CORRUPT && !hub_state_condemn(data, detail))
        return hub_explain(why, "state", error, "start the hub again: it makes data/state.mdb again from the journal");
    return error;
}

truc_error hub_start_store(struct hub *hub, const char *data, struct truc_buffer *why)
{
    char detail[256] = "";
    char *slots = hub_home_file(data, "keys.slots");
    truc_error error;

    if (!slots)
        return TRUC_E_NOMEM;
    errno = 0;
    if ((error =
             hub_journal_open(data, (uint64_t)hub->home.settings.journal_bytes, false, false, &hub->journal, detail)))
        error = hub_explain(why, "journal", error, detail);
    else if ((error = hub_slots_open(slots, false, false, &hub->slots)))
        error = hub_explain(why, "key slots", error,
                            error == TRUC_E_NOT_FOUND || error == TRUC_E_CORRUPT
                                ? "data/keys.slots is missing or damaged: restore it from its backup"
                                : "data/keys.slots cannot be read or synced: look after the disk, then start again");
    else
        error = open_state(hub, data, why);
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

/* The first slot that no row before `applied` names. Every commit writes it: a state that has rows and lacks it is
 * damaged, and to begin at 0 would give one key to two subjects. */
static truc_error noted_slot(struct hub *hub)
{
    struct truc_buffer noted = {0};
    truc_error error = hub_state_noted(hub->state, "slots", &noted);

    if (error == TRUC_E_NOT_FOUND && hub_core_applied(hub->core) == 0) {
        error = TRUC_OK;
    } else if (error == TRUC_E_NOT_FOUND || (!error && noted.size != 8)) {
        hub_state_distrust(hub->state);
        error = TRUC_E_CORRUPT;
    }
    hub->next_slot = 0;
    for (size_t i = 0; !error && i < noted.size; i++)
        hub->next_slot = hub->next_slot << 8 | noted.data[i];
    truc_buffer_close(&noted);
    return error;
}

static truc_error load(struct hub *hub)
{
    struct hub_port port = hub_state_port(hub->state);
    truc_error error = hub_core_new(&port, &hub->core);

    if (error)
        return error;
    if (hub_core_applied(hub->core) > hub_journal_rows(hub->journal))
        return TRUC_E_CORRUPT; /* explain_replay says it; before anything else could have the state made again */
    error = noted_slot(hub);
    return error ? error : replay(hub);
}

/* The state was read and found damaged: it is made from row 0, within this start. */
static truc_error load_again(struct hub *hub, struct truc_buffer *why)
{
    char *data = hub_home_file(hub->home.path, "data");
    truc_error error;

    if (!data)
        return TRUC_E_NOMEM;
    if (hub->frozen)
        hub_core_thaw(hub->core, &hub->frozen);
    hub_core_free(&hub->core);
    hub_effects_clear(&hub->effects);
    hub_state_close(&hub->state);
    if ((error = hub_state_condemn(data, "a start met a value that does not fit its checksum, or misses one")))
        error = hub_explain(why, "data/state.mdb", error,
                            "is damaged, and data/state.damaged cannot be written: delete data/state.mdb, start again");
    else if (!(error = open_state(hub, data, why)))
        error = load(hub);
    free(data);
    return error;
}

/* The first event that a row holds, decrypted: the genesis act has a key of its own, which nothing erases. */
static truc_error read_genesis(struct hub *hub, struct truc_aead *aead)
{
    struct hub_journal_reader *reader = NULL;
    struct hub_row_reader *rows = NULL;
    struct hub_row_header header;
    struct truc_buffer event = {0};
    struct truc_bytes row;
    struct hub_input input;
    truc_error error;

    if (!(error = hub_journal_reader_new(hub->journal, &reader)) && !(error = hub_row_reader_new(&rows)) &&
        !(error = hub_journal_get(reader, 0, &row)) && !(error = hub_row_reader_start(rows, row, true, &header)) &&
        !(error = hub_row_reader_next(rows, &input)))
        error =
            input.kind == HUB_INPUT_SEAL ? hub_row_reader_content(rows, 0, aead, hub->slots, &event) : TRUC_E_CORRUPT;
    truc_buffer_close(&event);
    hub_row_reader_free(&rows);
    hub_journal_reader_free(&reader);
    return error;
}

/* keys.slots is backed up and restored apart from the journal: are these the keys of this log, and all of them? More of
 * them than the rows name do no harm. Fewer would be filled up with other keys, and hide for ever that some are
 * missing.
 */
static truc_error check_slots(struct hub *hub, struct truc_buffer *why)
{
    struct truc_aead *aead = NULL;
    uint64_t have = hub_slots_count(hub->slots);
    char detail[256];

    if (have < hub->next_slot) {
        snprintf(detail, sizeof detail,
                 "is older than the journal: it has %llu keys, rows name %llu. Without the others the newest contents "
                 "cannot be read: restore the newest copy of it",
                 (unsigned long long)have, (unsigned long long)hub->next_slot);
        return hub_explain(why, "data/keys.slots", TRUC_E_CORRUPT, detail);
    }
    truc_error error = truc_aead_new(&aead);
    if (!error)
        error = read_genesis(hub, aead);
    truc_aead_free(&aead);
    if (error == TRUC_E_NOMEM || error == TRUC_E_IO)
        return hub_explain(why, "data/keys.slots", error, NULL);
    if (error)
        return hub_explain(why, "data/keys.slots", TRUC_E_CORRUPT,
                           "does not open what the journal holds: it is another hub's, or damaged. Restore this hub's");
    return TRUC_OK;
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

static truc_error explain_replay(struct hub *hub, truc_error error, struct truc_buffer *why)
{
    uint64_t known = hub->core ? hub_core_applied(hub->core) : 0, rows = hub_journal_rows(hub->journal);
    char detail[256];

    if (error == TRUC_E_CORRUPT && known > rows) {
        snprintf(
            detail, sizeof detail,
            "the journal has %llu rows, but the state knows %llu: the journal is an older copy. Restore the newest "
            "one: agencies that have seen the rows that are missing will refuse this log",
            (unsigned long long)rows, (unsigned long long)known);
        return hub_explain(why, "log", error, detail);
    }
    return hub_explain(
        why, "log", error,
        error == TRUC_E_CORRUPT
            ? "state and journal do not fit together, or a row is damaged: run `truc log verify`; if the "
              "journal is whole, delete data/state.mdb and start again"
            : NULL);
}

static truc_error start_log(struct hub *hub, struct truc_buffer *why)
{
    struct hub_dispatch_limits limits = {
        .lease_us = hub->home.settings.lease_ms * 1000, .credit_events = 65536, .credit_bytes = 64u << 20};
    truc_error error;

    /* Senders choose subjects: without a seed of ours they could choose them all into one bucket. */
    if ((error = truc_random(&limits.seed, sizeof limits.seed)))
        return hub_explain(why, "random", error, NULL);
    if (hub_core_tree_size(hub->core) == 0)
        return hub_explain(why, "log", TRUC_E_CORRUPT, "no genesis: this home was not made by `truc init`");
    if ((error = check_note_key(hub)))
        return hub_explain(why, "hub/note.pem", error,
                           "not the key that the log's genesis names: this home mixes two logs");
    if ((error = check_slots(hub, why)))
        return error;
    errno = 0;
    if ((error = start_threads(hub)) || (error = write_boot(hub)) || (error = hub_sign_checkpoint(hub)) ||
        (error = hub_admit_new(hub->core, &hub->admit)) ||
        (error = hub_dispatch_new(hub->core, &limits, (uint64_t)hub->accepted_at_us, &hub->dispatch)) ||
        (error = hub_keyring_new(hub->core, NULL, &hub->keys)) ||
        (error = hub_cache_new((size_t)hub->home.settings.cache_bytes, &hub->cache)))
        return hub_explain(why, "start", error, error == TRUC_E_IO && errno != 0 ? strerror(errno) : NULL);
    return TRUC_OK;
}

truc_error hub_start_core(struct hub *hub, struct truc_buffer *why)
{
    truc_error error = load(hub);

    if (error && hub_state_is_damaged(hub->state))
        error = load_again(hub, why);
    if (error)
        return explain_replay(hub, error, why);
    if (!(error = start_log(hub, why)) || !hub_state_is_damaged(hub->state))
        return error;
    /* Behind the replay the start writes a row and has threads at work on this state: the next one makes it again. */
    char *data = hub_home_file(hub->home.path, "data");
    if (!data || hub_state_condemn(data, "a start met damage behind the replay"))
        error = hub_explain(why, "data/state.mdb", error, "is damaged: delete it, then start the hub again");
    else
        error = hub_explain(why, "data/state.mdb", error,
                            "is damaged: start the hub again, it makes it again from the journal");
    free(data);
    return error;
}
