/* The spool: an LMDB environment in a folder of its own, behind the store port. One process holds it at a time.
 * Keys are big-endian numbers, so that tickets are appended. Every commit is synced; there is no flag that weakens
 * that. */
#ifndef TRUC_CLIENT_SPOOL_H
#define TRUC_CLIENT_SPOOL_H

#include "adapters/client/store.h"

struct spool;

/* Makes the folder (0700) if missing; `quota` bounds the bytes of events in it.
 * Errors: TRUC_E_LOCKED, TRUC_E_CORRUPT, TRUC_E_UNSUPPORTED (a format of another version), TRUC_E_IO. */
TRUC_MUST_USE truc_error client_spool_open(const char *folder, uint64_t quota, struct spool **out);
/* Drops what was not committed. */
void client_spool_close(struct spool **spool);
struct client_store client_spool_store(struct spool *spool);
/* Everything written since the last commit becomes durable; blocks for the disk. Nothing to do: returns at once.
 * Errors: TRUC_E_FULL, TRUC_E_IO; then what was not committed is gone and the spool takes nothing more. */
TRUC_MUST_USE truc_error client_spool_commit(struct spool *spool);
/* Bytes written since the last commit. */
size_t client_spool_dirty(const struct spool *spool);
/* Rows in a table. */
TRUC_MUST_USE truc_error client_spool_count(struct spool *spool, enum store_table table, uint64_t *out);

#endif
