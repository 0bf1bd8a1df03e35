/* The spool: an LMDB environment in a folder of its own, behind the store port. One process holds it at a time.
 * Keys are big-endian numbers, so that tickets are appended.
 *
 * Nobody waits for the disk. Writes go to a layer in memory; a thread takes whole layers to LMDB, one transaction each,
 * committed with LMDB's own syncs (no flag that weakens them), while the next layer fills:
 *
 *   put, drop -> pending layer --flush--> frozen layer (the thread's) --commit--> LMDB
 *   get, next <- pending       <-         frozen                      <-          LMDB
 *
 * Layers are numbered; a number is the mark of what is in it. A crash loses what is in the layers and no more, and
 * never a part of one. Where the disk is full the frozen layer stays, events are refused, and it is tried again,
 * together with what was written (and dropped!) meanwhile. */
#ifndef TRUC_CLIENT_SPOOL_H
#define TRUC_CLIENT_SPOOL_H

#include "adapters/client/store.h"

struct spool;

/* Makes the folder (0700) if missing; `quota` bounds the bytes of events in it.
 * Errors: TRUC_E_LOCKED, TRUC_E_CORRUPT, TRUC_E_UNSUPPORTED (a format of another version), TRUC_E_IO, TRUC_E_FULL. */
TRUC_MUST_USE truc_error client_spool_open(const char *folder, uint64_t quota, struct spool **out);
/* Drops what is not durable. Waits for a commit that runs. */
void client_spool_close(struct spool **spool);
/* Its mark function is the spool's. */
struct client_store client_spool_store(struct spool *spool);

/* How long writes stay in memory. A commit costs the same for one row and for a hundred, and what comes and goes before
 * it costs nothing: so times are short only while somebody waits for the mark. */
struct spool_patience {
    int64_t gather_us; /* since the last layer was given to the thread */
    int64_t event_us;  /* an event that is still there; INT64_MAX: as everything else */
};

/* Never blocks: sees what the thread did, and gives it the pending layer if it is idle and patience is over by `now_us`
 * (monotonic). To be called before events are put, too: that is when they begin to age.
 * Errors: TRUC_E_IO, TRUC_E_CORRUPT, TRUC_E_NOMEM; sticky: what is on the disk is not known any more. */
#define SPOOL_RETRY_US INT64_C(1000000) /* where the disk is full */
TRUC_MUST_USE truc_error client_spool_flush(struct spool *spool, int64_t now_us, struct spool_patience patience);
/* How long the last layer took to become durable, as flush saw it; 0: none yet. */
int64_t client_spool_took_us(const struct spool *spool);
/* When flush has to be called again (same clock); INT64_MAX: not before a write or the descriptor's signal. */
int64_t client_spool_deadline(const struct spool *spool, struct spool_patience patience);
/* Blocks until everything written so far is durable. Errors: as flush, and TRUC_E_FULL: the disk is full, nothing is
 * lost, try again. */
TRUC_MUST_USE truc_error client_spool_commit(struct spool *spool);
/* What is at this mark or below it is durable. As far as flush or commit has seen. */
uint64_t client_spool_synced(const struct spool *spool);
/* The disk was full at the last try: events are refused until there is room. */
bool client_spool_is_full(const struct spool *spool);
/* Readable when a commit has ended: flush. The same for the life of the spool. */
int client_spool_fd(const struct spool *spool);
/* Bytes in memory that are not durable yet. */
size_t client_spool_dirty(const struct spool *spool);
/* Rows in a table; reads them all. */
TRUC_MUST_USE truc_error client_spool_count(struct spool *spool, enum store_table table, uint64_t *out);

#endif
