/* What the journal and the state have in common: an LMDB environment that is checked before it is trusted, held by one
 * writer, and whose commits answer "written", "rejected" or "unknown". hub/STORAGE.md, "Environments". */
#ifndef HUB_STORE_ENVIRONMENT_H
#define HUB_STORE_ENVIRONMENT_H

#include "truc/bytes.h"

#include <lmdb.h>

#define HUB_WHY_SIZE 256

struct hub_environment_options {
    const char *folder;
    const char *name; /* of the file in it */
    const char *lock; /* of the file that a writer holds locked */
    uint64_t map_bytes;
    unsigned tables; /* named ones */
    bool create, read_only;
    bool remakeable; /* the contents can be made again: a short write on a full disk is a rejection */
    /* Reads what is risky to read; runs in a child process, where a crash is a finding. Says in `why` what is damaged.
     */
    truc_error (*probe)(MDB_env *env, char why[HUB_WHY_SIZE]);
};

struct hub_environment {
    MDB_env *env;
    int lock_fd; /* -1: read only */
    bool remakeable;
    bool no_allocate;   /* the file system cannot allocate ahead */
    uint64_t allocated; /* the file's bytes up to here have their place on the disk */
};

/* Errors: TRUC_E_NOT_FOUND, TRUC_E_LOCKED, TRUC_E_CORRUPT, TRUC_E_UNSUPPORTED, TRUC_E_IO, TRUC_E_FULL, TRUC_E_NOMEM;
 * each with a sentence in `why`. */
TRUC_MUST_USE truc_error hub_environment_open(const struct hub_environment_options *options,
                                              struct hub_environment *out, char why[HUB_WHY_SIZE]);
void hub_environment_close(struct hub_environment *environment);

/* LMDB's return codes as ours. */
truc_error hub_environment_error(int code);
/* Makes sure that `bytes` more, and the pages that lead to them, have a place on the disk, so that the commit cannot
 * meet a full one. Errors: TRUC_E_FULL, TRUC_E_IO. */
TRUC_MUST_USE truc_error hub_environment_room(struct hub_environment *environment, uint64_t bytes);
/* Commits, consumes the transaction. TRUC_E_FULL: nothing was written, the environment stands as before. Any other
 * error: unknown. */
TRUC_MUST_USE truc_error hub_environment_commit(struct hub_environment *environment, MDB_txn *txn);
uint64_t hub_environment_used(const struct hub_environment *environment);

/* Length and meta pages of the file, then the probe in a child process. Before the environment is opened here. */
TRUC_MUST_USE truc_error hub_environment_check(const char *path, const struct hub_environment_options *options,
                                               char why[HUB_WHY_SIZE]);
/* Opens LMDB itself. For the check and for open. */
TRUC_MUST_USE truc_error hub_environment_start(const char *path, const struct hub_environment_options *options,
                                               unsigned flags, MDB_env **out, char why[HUB_WHY_SIZE]);

#endif
