/* The group commit, seen from the loop: the commit that is being built goes to the writer as soon as that is free; what
 * it persisted is applied, put under a checkpoint, and only then answered. */
#include "hub/hub.h"

#include <errno.h>

#define FLUSH_BYTES (16u << 20)
#define FLUSH_MS 1000
#define RETRY_MS 200
#define RETRY_STATE_MS 500
#define REJECTED_MS 2000
/* A commit costs every sender in it a checkpoint to verify, and the hub one to sign. While more seals than the pool has
 * hands for are being verified, a small commit waits for them: they would only wait for it. */
#define GATHER_MS 6
#define GATHER_BYTES (128u << 10)

struct hub_commit *hub_commit_new(void)
{
    return calloc(1, sizeof(struct hub_commit));
}

/* A submission, which the cache may go on holding, and those that waited for its receipt. */
static void release_all(struct hub_submission *submission)
{
    if (!submission)
        return;
    for (struct hub_submission *same = submission->same, *next; same; same = next) {
        next = same->same;
        hub_submission_release(same);
    }
    submission->same = NULL;
    hub_submission_release(submission);
}

void hub_commit_free(struct hub_commit **commit_in)
{
    struct hub_commit *commit = *commit_in;

    *commit_in = NULL;
    if (!commit)
        return;
    hub_recalls_close(&commit->recalls);
    for (size_t i = 0; i < commit->count; i++)
        release_all(commit->submissions[i]);
    for (size_t i = 0; i < commit->ack_count; i++)
        hub_ranges_close(&commit->acks[i].ranges);
    for (size_t i = 0; i < commit->settle_count; i++)
        free(commit->settles[i].subscription);
    for (size_t i = 0; i < commit->block_count; i++)
        free(commit->blocks[i]);
    free(commit->items);
    free(commit->submissions);
    free(commit->acks);
    free(commit->settles);
    free(commit->blocks);
    free(commit);
}

struct hub_row_item *hub_commit_add(struct hub_commit *commit, struct hub_submission *submission)
{
    if (commit->count == commit->capacity) {
        size_t capacity = commit->capacity ? commit->capacity * 2 : 64;
        struct hub_row_item *items = realloc(commit->items, capacity * sizeof *items);
        if (!items)
            return NULL;
        commit->items = items;
        struct hub_submission **submissions = realloc(commit->submissions, capacity * sizeof(struct hub_submission *));
        if (!submissions)
            return NULL;
        commit->submissions = submissions;
        commit->capacity = capacity;
    }
    commit->submissions[commit->count] = submission;
    struct hub_row_item *item = &commit->items[commit->count++];
    memset(item, 0, sizeof *item);
    return item;
}

void *hub_commit_alloc(struct hub_commit *commit, size_t size)
{
    if (commit->block_count == commit->block_capacity) {
        size_t capacity = commit->block_capacity ? commit->block_capacity * 2 : 16;
        void **blocks = realloc(commit->blocks, capacity * sizeof *blocks);
        if (!blocks)
            return NULL;
        commit->blocks = blocks;
        commit->block_capacity = capacity;
    }
    void *block = malloc(size ? size : 1);
    if (block)
        commit->blocks[commit->block_count++] = block;
    return block;
}

bool hub_commit_is_due(const struct hub_commit *commit)
{
    return commit->count > commit->notes;
}

static bool gathers(const struct hub *hub, const struct hub_commit *commit)
{
    return hub->turns.seals > 2 * hub->workers && commit->bytes < GATHER_BYTES && !hub->stopping &&
           uv_now(&hub->loop) - hub->started_commit_ms < GATHER_MS;
}

void hub_commit_start(struct hub *hub)
{
    struct hub_commit *commit = hub->retry ? hub->retry : hub->building;

    if (!hub->writer || hub->writing || !hub_commit_is_due(commit) || hub->fatal ||
        uv_now(&hub->loop) < hub->retry_at_ms || gathers(hub, commit))
        return;
    hub->started_commit_ms = uv_now(&hub->loop);
    if (commit == hub->retry) {
        hub->retry = NULL;
    } else if (!(hub->building = hub_commit_new())) {
        hub->building = commit;
        hub_fatal(hub, "building a commit", TRUC_E_NOMEM);
        return;
    }
    int64_t now = hub_clock_now(&hub->clock);
    if (now > hub->accepted_at_us)
        hub->accepted_at_us = now;
    for (size_t i = 0; i < commit->ack_count; i++) {
        commit->items[commit->acks[i].item].input.u.ranges.ranges = commit->acks[i].ranges.items;
        commit->items[commit->acks[i].item].input.u.ranges.count = commit->acks[i].ranges.count;
    }
    commit->batch.accepted_at_us = hub->accepted_at_us;
    commit->batch.items = commit->items;
    commit->batch.count = commit->count;
    commit->batch.context = commit;
    hub->writing = commit;
    hub_writer_submit(hub->writer, &commit->batch);
}

void hub_storage_rejected(struct hub *hub)
{
    hub->storage_full = true;
    hub->rejected_until_ms = uv_now(&hub->loop) + REJECTED_MS;
}

/* ---- rejected: storage full
 * --------------------------------------------------------------------------------------------- */

static void refuse_seals(struct hub *hub, struct hub_commit *commit)
{
    for (size_t i = 0; i < commit->count; i++) {
        struct hub_submission *submission = commit->submissions[i];
        if (!submission)
            continue;
        hub_admit_aborted(hub->admit, submission->agency, &submission->parsed.seal);
        hub_refuse(hub, submission, TRUC_STORAGE_FULL, NULL, 0);
        for (struct hub_submission *same = submission->same, *next; same; same = next) {
            next = same->same;
            hub_refuse(hub, same, TRUC_STORAGE_FULL, NULL, 0);
            hub_submission_release(same);
        }
        submission->same = NULL;
        hub_submission_release(submission);
        commit->submissions[i] = NULL;
        commit->items[i].input.kind = 0; /* taken out below */
    }
}

/* Evidence of a fork stands behind the seal that it forks from: without that one it goes too, and comes again. */
static void drop_forks(struct hub *hub, struct hub_commit *commit)
{
    for (size_t i = 0; i < commit->count; i++) {
        struct hub_input *input = &commit->items[i].input;
        const struct hub_agency *agency = hub_core_agency(hub->core, truc_bytes_of(input->agency));
        struct truc_seal seal = {.number = input->u.fork.number};
        if (input->kind != HUB_INPUT_FORK || !agency)
            continue;
        memcpy(seal.chain, input->u.fork.chain, sizeof seal.chain);
        hub_admit_fork_aborted(hub->admit, agency->number, &seal);
        input->kind = 0;
    }
}

static void take_out_what_was_dropped(struct hub_commit *commit)
{
    size_t kept = 0;

    for (size_t i = 0; i < commit->count; i++) {
        if (commit->items[i].input.kind == 0)
            continue;
        for (size_t a = 0; a < commit->ack_count; a++)
            if (commit->acks[a].item == i)
                commit->acks[a].item = kept;
        commit->submissions[kept] = commit->submissions[i];
        commit->items[kept++] = commit->items[i];
    }
    commit->count = kept;
    commit->bytes = 0;
}

/* Seals are refused and come again. What is no seal (acks, releases, subscriptions) must not be lost: it is tried
 * again, in front of what has come since. */
static void on_rejected(struct hub *hub, struct hub_commit *commit)
{
    if (!hub->storage_full)
        truc_log(TRUC_LOG_ERROR, "storage_full",
                 "what=\"the journal cannot grow: seals are refused until there is room, acks wait\" rows=%llu",
                 (unsigned long long)hub_journal_rows(hub->journal));
    hub_storage_rejected(hub);
    struct hub_commit *both[] = {commit, hub->building};
    for (size_t i = 0; i < 2; i++) {
        truc_error error = hub_recalls_end(&both[i]->recalls, hub->dispatch);
        if (error)
            hub_fatal(hub, "giving a recalled event free", error);
        refuse_seals(hub, both[i]);
        drop_forks(hub, both[i]);
        take_out_what_was_dropped(both[i]);
    }
    hub->retry_at_ms = uv_now(&hub->loop) + RETRY_MS;
    if (hub_commit_is_due(commit))
        hub->retry = commit;
    else
        hub_commit_free(&commit);
}

/* ---- persisted
 * -------------------------------------------------------------------------------------------------------- */

truc_error hub_sign_checkpoint(struct hub *hub)
{
    struct truc_checkpoint checkpoint = {.size = hub_core_tree_size(hub->core)};

    snprintf(checkpoint.origin, sizeof checkpoint.origin, "%s", hub_core_origin(hub->core));
    hub_core_root(hub->core, &checkpoint.root);
    truc_buffer_clear(&hub->checkpoint);
    hub->checkpoint_size = checkpoint.size;
    hub->counters[COUNT_CHECKPOINTS]++;
    return truc_checkpoint_sign(&checkpoint, hub->home.note_key, &hub->checkpoint);
}

/* The note goes into the journal with the next row, for the audit. It is no reason to write one. */
static bool remember_checkpoint(struct hub *hub)
{
    void *copy = hub_commit_alloc(hub->building, hub->checkpoint.size);
    struct hub_row_item *item = hub_commit_add(hub->building, NULL);

    if (!copy || !item)
        return false;
    memcpy(copy, hub->checkpoint.data, hub->checkpoint.size);
    item->input.kind = HUB_INPUT_CHECKPOINT;
    item->input.u.checkpoint.note = truc_bytes(copy, hub->checkpoint.size);
    item->input.u.checkpoint.tree_size = hub->checkpoint_size;
    hub->building->notes++;
    return true;
}

/* What the recalls under way mean may have come with this row: they take hold before anybody gets it. */
static truc_error look_again(struct hub *hub)
{
    truc_error error =
        hub->writing ? hub_recalls_look_again(&hub->writing->recalls, hub->core, hub->dispatch) : TRUC_OK;

    return error ? error : hub_recalls_look_again(&hub->building->recalls, hub->core, hub->dispatch);
}

truc_error hub_apply_effects(struct hub *hub)
{
    bool registry = false;
    truc_error error = TRUC_OK;

    for (size_t i = 0; !error && i < hub->effects.count; i++) {
        const struct hub_effect *effect = &hub->effects.items[i];
        registry |= effect->kind == HUB_EFFECT_KEYS || effect->kind == HUB_EFFECT_AGENCY;
        if (hub->dispatch)
            error = hub_dispatch_effect(hub->dispatch, effect);
    }
    if (!error && hub->dispatch)
        error = look_again(hub);
    if (!error && registry) {
        struct hub_keyring *before = hub->keys;
        hub->keys = NULL;
        error = hub_keyring_new(hub->core, before, &hub->keys);
        hub_keyring_free(&before);
        if (!error && hub->socket)
            hub_sessions_check(hub);
    }
    return error;
}

static truc_error apply(struct hub *hub, struct hub_commit *commit)
{
    truc_error error;

    hub_effects_clear(&hub->effects);
    if ((error = hub_core_begin_row(hub->core, commit->batch.row, commit->batch.accepted_at_us)))
        return error;
    for (size_t i = 0; i < commit->count; i++)
        if ((error = hub_core_apply(hub->core, &commit->items[i].input, &hub->effects)))
            return error;
    if ((error = hub_core_end_row(hub->core, &hub->effects)))
        return error;
    for (size_t i = 0; i < commit->count; i++)
        if (commit->submissions[i])
            hub_admit_applied(hub->admit, commit->submissions[i]->agency, &commit->submissions[i]->parsed.seal);
    return TRUC_OK;
}

/* LEAF effects stand in the order of the seals. */
static void keep_in_memory(struct hub *hub, struct hub_commit *commit)
{
    size_t at = 0;

    for (size_t i = 0; i < hub->effects.count; i++) {
        const struct hub_effect *effect = &hub->effects.items[i];
        if (effect->kind != HUB_EFFECT_LEAF)
            continue;
        while (at < commit->count && !commit->submissions[at])
            at++;
        if (at == commit->count)
            return;
        hub_cache_add(hub->cache, effect->leaf_index, effect->sequence, commit->batch.accepted_at_us,
                      commit->submissions[at]);
        hub->counters[COUNT_SEALS]++;
        hub->counters[COUNT_EVENTS] += effect->count;
        hub->counters[COUNT_EVENT_BYTES] += commit->submissions[at]->body.size;
        at++;
    }
}

static void on_persisted(struct hub *hub, struct hub_commit *commit)
{
    uint64_t size_before = hub_core_tree_size(hub->core);
    truc_error error = apply(hub, commit);

    if (!error)
        error = hub_apply_effects(hub);
    if (!error)
        error = hub_recalls_end(&commit->recalls, hub->dispatch);
    if (!error && hub_core_tree_size(hub->core) != size_before)
        error = hub_sign_checkpoint(hub);
    if (error) {
        hub_fatal(hub, "applying a row", error);
        return;
    }
    hub->counters[COUNT_COMMITS]++;
    hub->counters[COUNT_COMMIT_US] += (uint64_t)commit->batch.commit_us;
    hub->counters[COUNT_ROW_BYTES] += commit->batch.bytes;
    keep_in_memory(hub, commit);
    hub_send_receipts(hub, commit);
    hub_send_settled(hub, commit);
}

void hub_commit_finish(struct hub *hub)
{
    struct hub_batch *batch;

    while (!hub->fatal && (batch = hub_writer_finished(hub->writer))) {
        struct hub_commit *commit = batch->context;
        hub->writing = NULL;
        if (batch->result == TRUC_OK) {
            uint64_t before = hub->checkpoint_size;
            hub_commit_start(hub); /* the disk is kept busy while this one is applied */
            on_persisted(hub, commit);
            if (!hub->fatal && hub->checkpoint_size != before && !remember_checkpoint(hub))
                hub_fatal(hub, "remembering a checkpoint", TRUC_E_NOMEM);
            hub_commit_free(&commit);
        } else if (batch->result == TRUC_E_FULL) {
            on_rejected(hub, commit);
        } else {
            errno = batch->os_error;
            hub_fatal(hub, "writing the journal", batch->result);
            hub_commit_free(&commit);
        }
    }
}

/* ---- state behind the journal
 * ----------------------------------------------------------------------------------------- */

truc_error hub_note_slots(struct hub *hub)
{
    uint8_t slot[8];

    for (int i = 0; i < 8; i++)
        slot[i] = (uint8_t)(hub->next_slot >> (56 - 8 * i));
    return hub_state_note(hub->state, "slots", truc_bytes(slot, sizeof slot));
}

static void note(struct hub *hub)
{
    truc_error error = hub_state_note(hub->state, "checkpoint", truc_buffer_view(&hub->checkpoint));

    if (!error)
        error = hub_note_slots(hub);
    if (error)
        hub_fatal(hub, "noting the checkpoint", error);
}

/* A state that cannot grow would pile up in memory: seals are refused until it can. */
static void flush_finished(struct hub *hub, uint64_t now)
{
    truc_error result;

    if (!hub->flushing || !hub_flusher_finished(hub->flusher, &result))
        return;
    hub->flushing = false;
    if (result == TRUC_OK)
        result = hub_state_refresh(hub->state);
    if (result == TRUC_E_FULL) { /* nothing changed: the same set is tried again */
        if (!hub->state_full)
            truc_log(TRUC_LOG_ERROR, "state_full",
                     "what=\"the state cannot grow: seals are refused until there is room on the disk or in "
                     "storage.state\"");
        hub->state_full = true;
        hub->flush_retry_ms = now + RETRY_STATE_MS;
        return;
    }
    if (result) {
        hub_fatal(hub, "committing the state", result);
        return;
    }
    hub->state_full = false;
    hub_core_thaw(hub->core, &hub->frozen);
    hub->state_rows = hub->frozen_rows;
    hub->counters[COUNT_STATE_COMMITS]++;
}

void hub_state_flush(struct hub *hub, bool force)
{
    uint64_t now = uv_now(&hub->loop);
    size_t bytes = hub_core_dirty_bytes(hub->core);

    flush_finished(hub, now);
    if (hub->frozen && !hub->flushing && now >= hub->flush_retry_ms)
        hub->flushing = hub_flusher_submit(hub->flusher, hub->frozen);
    if (hub->frozen || hub->fatal || bytes == 0)
        return;
    if (!force && bytes < FLUSH_BYTES && now - hub->last_freeze_ms < FLUSH_MS)
        return;
    hub->last_freeze_ms = now;
    hub->frozen_rows = hub_core_applied(hub->core);
    note(hub);
    truc_error error = hub_core_freeze(hub->core, &hub->frozen);
    if (error)
        hub_fatal(hub, "freezing the state", error);
    else
        hub->flushing = hub_flusher_submit(hub->flusher, hub->frozen);
}
