/* Threads of the store: the writer (group commit of rows), the flusher (state batches), readers (anything cold).
 * The loop gives work and is woken through `wake`, which runs on the store's threads and must only signal. */
#ifndef HUB_STORE_WRITER_H
#define HUB_STORE_WRITER_H

#include "hub/store/crew.h"
#include "hub/store/journal.h"
#include "hub/store/row.h"
#include "hub/store/state.h"

struct hub_writer;

/* One group commit. The caller owns the items and everything that they borrow until the batch comes back. */
struct hub_batch {
    struct hub_work work;   /* the writer's */
    int64_t accepted_at_us; /* set by the caller */
    struct hub_row_item *items;
    size_t count;
    uint64_t row;      /* set by the writer */
    truc_error result; /* TRUC_OK: persisted; TRUC_E_FULL: rejected; other: unknown, stop the process */
    int os_error;      /* errno of a result that is not TRUC_OK; 0: none */
    uint64_t bytes;    /* of the row */
    int64_t commit_us; /* how long allocate to append took */
    void *context;     /* the caller's */
};

/* Starts the thread. `last` is the digest of the journal's last row (zeros when empty). */
TRUC_MUST_USE truc_error hub_writer_new(struct hub_journal *journal, struct hub_slots *slots,
                                        const struct truc_hash *last, void (*wake)(void *context), void *context,
                                        struct hub_writer **out);
/* Commits what was given, then ends the thread. */
void hub_writer_free(struct hub_writer **writer);
/* Takes the batch. Batches are committed one by one in order. After a rejected batch those behind it are tried as
 * usual. */
void hub_writer_submit(struct hub_writer *writer, struct hub_batch *batch);
/* Next finished batch in order, or NULL. */
struct hub_batch *hub_writer_finished(struct hub_writer *writer);

/* The flusher: one frozen set at a time. */
struct hub_flusher;
TRUC_MUST_USE truc_error hub_flusher_new(struct hub_state *state, void (*wake)(void *context), void *context,
                                         struct hub_flusher **out);
void hub_flusher_free(struct hub_flusher **flusher);
/* false: one is under way. The set stays borrowed until finished. */
bool hub_flusher_submit(struct hub_flusher *flusher, const struct hub_dirty *dirty);
/* true when the one under way is done; *result as hub_state_commit, its errno with it. */
bool hub_flusher_finished(struct hub_flusher *flusher, truc_error *result);

/* Cold work on a pool: `run` on a reader thread with that thread's own tools, then `done` on the loop's thread out of
 * hub_readers_finish. */
struct hub_reader_tools {
    struct hub_journal_reader *journal;
    struct hub_row_reader *rows;
    struct truc_aead *aead;
    const struct hub_slots *slots;
    /* For the jobs: the row whose digest this thread has checked last. Rows never change. */
    bool checked;
    uint64_t checked_row;
};
struct hub_read_job {
    struct hub_work work; /* the pool's */
    void (*run)(struct hub_read_job *job, struct hub_reader_tools *tools);
    void (*done)(struct hub_read_job *job);
    void *context;
};
struct hub_readers;
TRUC_MUST_USE truc_error hub_readers_new(struct hub_journal *journal, const struct hub_slots *slots, unsigned threads,
                                         void (*wake)(void *context), void *context, struct hub_readers **out);
/* Waits for jobs under way; those not begun are finished too. */
void hub_readers_free(struct hub_readers **readers);
void hub_readers_submit(struct hub_readers *readers, struct hub_read_job *job);
/* Calls `done` of every finished job. */
void hub_readers_finish(struct hub_readers *readers);

#endif
