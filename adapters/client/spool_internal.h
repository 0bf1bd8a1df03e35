/* What the files spool*.c share. */
#ifndef TRUC_CLIENT_SPOOL_INTERNAL_H
#define TRUC_CLIENT_SPOOL_INTERNAL_H

#include "adapters/client/background.h"
#include "adapters/client/layer.h"
#include "adapters/client/spool.h"

#include <lmdb.h>

/* What the thread works with. LMDB's write transactions are all its own (begun and ended there); the other side only
 * reads, and looks at the rest of this while no job runs. */
struct spool_disk {
    MDB_env *env;
    MDB_dbi tables[STORE_TABLES];
    uint64_t live;      /* store_event_cost of the events there */
    uint64_t allocated; /* bytes of the file that surely have blocks */
    bool no_allocate;   /* the file system cannot */
    /* the job */
    const struct layer *layer;
    truc_error result;
    int os_error;
};

/* Events from ticket `first` on were put at `us` or later. */
struct spool_age {
    uint64_t first;
    int64_t us;
};
#define SPOOL_AGES 16

struct spool {
    struct spool_disk disk;
    struct background *thread;
    struct layer layers[2], *pending, *frozen;
    bool busy, full;
    uint64_t pending_mark;             /* the pending layer's number */
    uint64_t synced;                   /* the highest number that is durable */
    uint64_t live;                     /* of disk.live, as of the last job that was seen done */
    bool frozen_waits;                 /* frozen holds a layer that is not durable, whether a job runs or not */
    int64_t took_us;                   /* the last job, until it was seen done */
    int64_t given_us;                  /* when the last job was given */
    uint64_t next_event;               /* above every ticket that was put */
    struct spool_age ages[SPOOL_AGES]; /* a ring, in ascending order */
    size_t age_count;                  /* written in all */
    truc_error failed;                 /* sticky */
    /* reading */
    MDB_txn *reader;
    bool reading;
    MDB_cursor *cursors[STORE_TABLES];
    int lock;
    uint64_t quota;
};

truc_error spool_error_of(int code);
/* ---- spool_disk.c ---- */
/* Opens LMDB, checks its file, makes the tables and the row that names the format, counts what is live. Blocks.
 * Errors: as client_spool_open. */
TRUC_MUST_USE truc_error spool_disk_open(struct spool_disk *disk, const char *folder, uint64_t map_bytes);
/* One layer in one synced transaction; result and os_error say how it went. TRUC_E_FULL: nothing has changed. */
void spool_disk_write(void *disk);
/* Deletes the rows of a range; *cost grows by what events cost. */
TRUC_MUST_USE truc_error spool_drop_rows(MDB_cursor *cursor, struct layer_range range, uint64_t *cost);

/* ---- spool_packed.c: the table of handled deliveries ---- */
#define SPOOL_PACKED_MAX 32u /* bytes of a value */
static inline bool spool_is_packed(enum store_table table)
{
    return table == STORE_HANDLED;
}
/* What a layer says of the table. Errors: as LMDB, TRUC_E_CORRUPT. */
TRUC_MUST_USE truc_error spool_packed_write(MDB_cursor *cursor, const struct layer *layer,
                                            const struct layer_table *table);
/* The first row at *key or behind it; borrowed from the cursor's transaction. Errors: TRUC_E_NOT_FOUND, TRUC_E_CORRUPT,
 * as LMDB. */
TRUC_MUST_USE truc_error spool_packed_next(MDB_cursor *cursor, uint64_t *key, struct truc_bytes *out);
/* Moves the rows of format 1's table into the packed one; fine where there is no such table. */
TRUC_MUST_USE truc_error spool_packed_convert(MDB_txn *txn, const char *from, MDB_dbi to);

#endif
