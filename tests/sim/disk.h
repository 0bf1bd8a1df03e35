/* Disks: what is durable, and what may go wrong. LMDB environments live in memory (lmdb.c); the few other files are
 * real ones in a folder of the run, whose writes are undone where a power loss would lose them (files.c). */
#ifndef SIM_DISK_H
#define SIM_DISK_H

#include "tests/sim/sim.h"

enum sim_crash_point { CRASH_NOWHERE, CRASH_BEFORE_COMMIT, CRASH_INSIDE_COMMIT, CRASH_AFTER_COMMIT };

struct sim_disk {
    struct sim_process *process; /* whose */
    bool full;                   /* nothing can be allocated */
    bool map_full;               /* a put meets MDB_MAP_FULL now and then */
    unsigned eio_per_mille;      /* a commit or sync fails with EIO: unknown outcome */
    int64_t sync_least, sync_most;
    enum sim_crash_point crash_at; /* at the next commit */
    void (*on_crash)(struct sim_disk *disk);
    uint64_t commits, faults, errors; /* errors: those of unknown outcome */
};

/* ---- lmdb.c: for the world's own eyes ---- */
struct sim_file;
/* NULL where there is none. */
struct sim_file *sim_file_find(const char *path);
/* As if the process had never written it. */
void sim_file_delete(const char *path);
/* The value of a key in the unnamed table of what is durable now. */
bool sim_file_get(const struct sim_file *file, struct truc_bytes key, struct truc_bytes *value);
uint64_t sim_file_rows(const struct sim_file *file);
/* `changed` runs whenever something became durable in that file. */
void sim_file_watch(const char *path, void (*changed)(void));
/* The machine lost its power, or the process was killed: commits under way are there, or not. */
void sim_lmdb_crash(struct sim_process *process);

/* ---- files.c ---- */
/* Of other files: what was written and not synced is lost, in part. */
void sim_files_crash(struct sim_process *process, bool power);

#endif
