/* LMDB's functions as the hub's store and the client's spool use them, over ordered trees in memory that are copied
 * where they change: a snapshot is a root. A commit takes time; what is durable is what a commit has left behind when
 * it returned, and one that a crash interrupted is there or not, as chance will have it. */
#include "tests/sim/tree.h"
#include "tests/sim/world.h"

#include <errno.h>
#include <fcntl.h>
#include <lmdb.h>
#include <sys/mman.h>
#include <unistd.h>

#define TABLES_MAX 8
#define FIRST_NAMED 2 /* 0: the list of free pages, 1: the unnamed table */
#define PAGE 4096u

struct table {
    char name[16];
    struct node *root;
    uint64_t count;
    uint64_t bytes;
};

struct image {
    struct table tables[TABLES_MAX];
    uint64_t txn;
    uint64_t pages;
};

struct sim_file {
    struct sim_file *next;
    char path[200];
    struct image durable, committing;
    bool under_way; /* a commit that a crash may take or leave */
    struct sim_process *process;
    void (*changed)(void);
};

static struct sim_file *files;
static uint64_t txns;

/* ---- files ---- */

struct sim_file *sim_file_find(const char *path)
{
    for (struct sim_file *file = files; file; file = file->next)
        if (strcmp(file->path, path) == 0)
            return file;
    return NULL;
}

static struct sim_file *file_at(const char *path)
{
    struct sim_file *file = sim_file_find(path);

    if (file)
        return file;
    file = calloc(1, sizeof *file);
    if (!file || (size_t)snprintf(file->path, sizeof file->path, "%s", path) >= sizeof file->path)
        abort();
    file->next = files;
    files = file;
    return file;
}

void sim_file_delete(const char *path)
{
    struct sim_file *file = sim_file_find(path);

    unlink(path);
    if (file) {
        memset(&file->durable, 0, sizeof file->durable);
        file->under_way = false;
    }
}

bool sim_file_get(const struct sim_file *file, struct truc_bytes key, struct truc_bytes *value)
{
    const struct node *node = tree_find(file->durable.tables[1].root, key.data, key.size);

    if (node)
        *value = truc_bytes(node->value, node->value_size);
    return node != NULL;
}

uint64_t sim_file_rows(const struct sim_file *file)
{
    return file->durable.tables[1].count;
}

void sim_file_watch(const char *path, void (*changed)(void))
{
    file_at(path)->changed = changed;
}

static void make_durable(struct sim_file *file)
{
    file->durable = file->committing;
    file->under_way = false;
    if (file->changed)
        file->changed();
}

void sim_lmdb_crash(struct sim_process *process)
{
    for (struct sim_file *file = files; file; file = file->next)
        if (file->under_way && file->process == process) {
            bool there = sim_pick(2) == 0;
            SIM_TRACE("%s: the commit under way is %s", file->path, there ? "there" : "lost");
            file->under_way = false;
            if (there)
                make_durable(file);
        }
}

/* ---- environments ---- */

struct MDB_env {
    struct sim_file *file;
    size_t map_size;
    MDB_dbi max_tables;
    int fd;
    bool broken; /* a meta page failed: LMDB begins no further write transaction */
    MDB_txn *writer;
};

struct MDB_txn {
    MDB_env *env;
    struct image image;
    uint64_t number;
    bool read_only, live;
};

struct MDB_cursor {
    MDB_txn *txn;
    MDB_dbi table;
    bool placed;
    uint8_t key[512];
    size_t key_size;
};

static struct sim_disk *disk_now(void)
{
    struct sim_process *process = sim_process_now();

    return process ? process->disk : NULL;
}

int mdb_env_create(MDB_env **out)
{
    *out = calloc(1, sizeof **out);
    if (!*out)
        return ENOMEM;
    (*out)->map_size = 10u << 20;
    (*out)->fd = -1;
    return 0;
}

int mdb_env_set_mapsize(MDB_env *env, size_t size)
{
    env->map_size = size;
    return 0;
}

int mdb_env_set_maxdbs(MDB_env *env, MDB_dbi count)
{
    env->max_tables = count;
    return 0;
}

int mdb_env_set_maxreaders(MDB_env *env, unsigned readers)
{
    (void)env, (void)readers;
    return 0;
}

/* The name of the file exists as a real, empty one; its length is asked of a descriptor that has room for everything.
 */
int mdb_env_open(MDB_env *env, const char *path, unsigned flags, mdb_mode_t mode)
{
    static int room = -1;
    char name[200];

    snprintf(name, sizeof name, "%s%s", path, flags & MDB_NOSUBDIR ? "" : "/data.mdb");
    int fd = open(name, O_RDWR | O_CREAT | O_CLOEXEC, mode);
    if (fd < 0)
        return errno;
    close(fd);
    if (room < 0) {
        room = memfd_create("room", MFD_CLOEXEC);
        if (room < 0 || ftruncate(room, (off_t)1 << 42) != 0)
            return errno;
    }
    env->fd = room;
    env->file = file_at(name);
    env->file->process = sim_process_now();
    return 0;
}

void mdb_env_close(MDB_env *env)
{
    free(env);
}

int mdb_env_get_fd(MDB_env *env, mdb_filehandle_t *fd)
{
    *fd = env->fd;
    return 0;
}

int mdb_env_info(MDB_env *env, MDB_envinfo *out)
{
    memset(out, 0, sizeof *out);
    out->me_mapsize = env->map_size;
    out->me_last_pgno = env->file->durable.pages + 1;
    out->me_last_txnid = env->file->durable.txn;
    return 0;
}

int mdb_env_stat(MDB_env *env, MDB_stat *out)
{
    memset(out, 0, sizeof *out);
    out->ms_psize = PAGE;
    out->ms_entries = env->file->durable.tables[1].count;
    return 0;
}

int mdb_reader_check(MDB_env *env, int *dead)
{
    (void)env;
    *dead = 0;
    return 0;
}

char *mdb_strerror(int code)
{
    return code == MDB_NOTFOUND ? (char *)"not found" : (char *)"simulated error";
}

int mdb_env_sync(MDB_env *env, int force)
{
    (void)env, (void)force; /* every commit is synced: no environment here is opened without */
    return 0;
}

/* ---- transactions ---- */

int mdb_txn_begin(MDB_env *env, MDB_txn *parent, unsigned flags, MDB_txn **out)
{
    bool read_only = (flags & MDB_RDONLY) != 0;

    if (parent)
        return EINVAL;
    if (!read_only && env->broken)
        return MDB_PANIC;
    if (!read_only && env->writer) {
        sim_fail("two write transactions at a time in %s", env->file->path);
        return EBUSY;
    }
    MDB_txn *txn = malloc(sizeof *txn);
    if (!txn)
        return ENOMEM;
    *txn = (MDB_txn){.env = env, .image = env->file->durable, .number = ++txns, .read_only = read_only, .live = true};
    if (!read_only)
        env->writer = txn;
    *out = txn;
    return 0;
}

void mdb_txn_abort(MDB_txn *txn)
{
    if (txn->env->writer == txn)
        txn->env->writer = NULL;
    free(txn);
}

void mdb_txn_reset(MDB_txn *txn)
{
    txn->live = false;
}

int mdb_txn_renew(MDB_txn *txn)
{
    txn->image = txn->env->file->durable;
    txn->live = true;
    return 0;
}

size_t mdb_txn_id(MDB_txn *txn)
{
    return txn->read_only ? txn->image.txn : txn->image.txn + 1;
}

static void crash_here(struct sim_disk *disk, enum sim_crash_point point)
{
    if (!disk || disk->crash_at != point || !sim_fiber_now())
        return;
    disk->crash_at = CRASH_NOWHERE;
    world.counts[DID_FALL_BEFORE_COMMIT + point - CRASH_BEFORE_COMMIT]++;
    disk->on_crash(disk); /* does not come back */
}

/* 0, or how it failed before anything that counts was written. */
static int fault_before(struct sim_disk *disk)
{
    if (disk && disk->full && sim_pick(2) == 0) {
        disk->faults++;
        return ENOSPC;
    }
    return 0;
}

static uint64_t pages_of(const struct image *image)
{
    uint64_t bytes = 0;

    for (size_t i = 0; i < TABLES_MAX; i++)
        bytes += image->tables[i].bytes + image->tables[i].count * 24;
    return bytes / PAGE + 2;
}

int mdb_txn_commit(MDB_txn *txn)
{
    MDB_env *env = txn->env;
    struct sim_disk *disk = disk_now();
    int code = 0;

    if (txn->read_only) {
        free(txn);
        return 0;
    }
    crash_here(disk, CRASH_BEFORE_COMMIT);
    code = fault_before(disk);
    if (!code) {
        struct sim_file *file = env->file;
        txn->image.txn = file->durable.txn + 1;
        uint64_t pages = pages_of(&txn->image);
        txn->image.pages = pages > file->durable.pages ? pages : file->durable.pages;
        file->committing = txn->image;
        file->process = sim_process_now();
        file->under_way = true;
        crash_here(disk, CRASH_INSIDE_COMMIT);
        if (disk && sim_fiber_now())
            sim_sleep(sim_between(disk->sync_least, disk->sync_most));
        if (disk && disk->eio_per_mille && sim_often(disk->eio_per_mille)) {
            disk->faults++;
            disk->errors++;
            SIM_TRACE("%s: EIO at a commit", file->path);
            env->broken = true; /* what is on the disk shows at the next start */
            code = EIO;
        } else {
            make_durable(file);
            if (disk)
                disk->commits++;
            crash_here(disk, CRASH_AFTER_COMMIT);
        }
    }
    if (!env->broken || code == 0)
        env->writer = NULL;
    free(txn);
    return code;
}

/* ---- tables ---- */

int mdb_dbi_open(MDB_txn *txn, const char *name, unsigned flags, MDB_dbi *out)
{
    if (!name) {
        *out = 1;
        return 0;
    }
    for (MDB_dbi i = FIRST_NAMED; i < TABLES_MAX; i++) {
        struct table *table = &txn->image.tables[i];
        if (strcmp(table->name, name) == 0) {
            *out = i;
            return 0;
        }
        if (!table->name[0]) {
            if (!(flags & MDB_CREATE))
                return MDB_NOTFOUND;
            snprintf(table->name, sizeof table->name, "%s", name);
            *out = i;
            return 0;
        }
    }
    return MDB_DBS_FULL;
}

int mdb_stat(MDB_txn *txn, MDB_dbi table, MDB_stat *out)
{
    memset(out, 0, sizeof *out);
    out->ms_psize = PAGE;
    out->ms_entries = txn->image.tables[table].count;
    return 0;
}

int mdb_get(MDB_txn *txn, MDB_dbi table, MDB_val *key, MDB_val *value)
{
    if (table == 1 && txn->read_only && sim_fiber_now() && sim_often(150))
        sim_sleep(sim_between(100, 40 * SIM_MS)); /* cold: the page must come from the disk */
    SIM_CHECK(txn->live, "a read in a snapshot that was given back");
    const struct node *node = tree_find(txn->image.tables[table].root, key->mv_data, key->mv_size);

    if (!node)
        return MDB_NOTFOUND;
    *value = (MDB_val){node->value_size, node->value};
    return 0;
}

int mdb_put(MDB_txn *txn, MDB_dbi at, MDB_val *key, MDB_val *value, unsigned flags)
{
    struct table *table = &txn->image.tables[at];
    struct sim_disk *disk = disk_now();
    struct node *node = NULL;

    if (txn->read_only)
        return EACCES;
    uint64_t used = 0;
    for (size_t i = 0; i < TABLES_MAX; i++)
        used += txn->image.tables[i].bytes;
    if (used + value->mv_size > txn->env->map_size || (disk && disk->map_full && sim_often(20))) {
        if (disk)
            disk->faults++;
        return MDB_MAP_FULL;
    }
    if (flags & MDB_APPEND) {
        const struct node *last = tree_edge(table->root, true);
        if (last && tree_compare(key->mv_data, key->mv_size, last->key, last->key_size) <= 0)
            return MDB_KEYEXIST;
    }
    uint8_t *copy = malloc(value->mv_size ? value->mv_size : 1);
    if (!copy)
        return ENOMEM;
    if (flags & MDB_RESERVE)
        memset(copy, 0xa5, value->mv_size); /* what is not filled in shows */
    else if (value->mv_size)
        memcpy(copy, value->mv_data, value->mv_size);
    table->root = tree_put(table->root, key->mv_data, key->mv_size, tree_priority(key->mv_data, key->mv_size),
                           txn->number, &node);
    if (node->value) {
        table->bytes -= node->value_size;
    } else {
        table->count++;
        table->bytes += key->mv_size;
    }
    node->value = copy; /* the old one stays for older snapshots */
    node->value_size = value->mv_size;
    table->bytes += value->mv_size;
    if (flags & MDB_RESERVE)
        value->mv_data = copy;
    return 0;
}

int mdb_del(MDB_txn *txn, MDB_dbi at, MDB_val *key, MDB_val *value)
{
    struct table *table = &txn->image.tables[at];
    const struct node *node = tree_find(table->root, key->mv_data, key->mv_size);

    (void)value;
    if (txn->read_only)
        return EACCES;
    if (!node)
        return MDB_NOTFOUND;
    table->count--;
    table->bytes -= node->value_size + node->key_size;
    table->root = tree_delete(table->root, key->mv_data, key->mv_size, txn->number);
    return 0;
}

/* ---- cursors ---- */

int mdb_cursor_open(MDB_txn *txn, MDB_dbi table, MDB_cursor **out)
{
    MDB_cursor *cursor = calloc(1, sizeof *cursor);

    if (!cursor)
        return ENOMEM;
    cursor->txn = txn;
    cursor->table = table;
    *out = cursor;
    return 0;
}

int mdb_cursor_renew(MDB_txn *txn, MDB_cursor *cursor)
{
    cursor->txn = txn;
    cursor->placed = false;
    return 0;
}

int mdb_cursor_put(MDB_cursor *cursor, MDB_val *key, MDB_val *value, unsigned flags)
{
    return mdb_put(cursor->txn, cursor->table, key, value, flags & ~(unsigned)MDB_CURRENT);
}

void mdb_cursor_close(MDB_cursor *cursor)
{
    free(cursor);
}

int mdb_cursor_get(MDB_cursor *cursor, MDB_val *key, MDB_val *value, MDB_cursor_op operation)
{
    const struct node *root = cursor->txn->image.tables[cursor->table].root, *node = NULL;

    switch ((int)operation) {
    case MDB_FIRST:
        node = tree_edge(root, false);
        break;
    case MDB_LAST:
        node = tree_edge(root, true);
        break;
    case MDB_NEXT:
        node = cursor->placed ? tree_find_from(root, cursor->key, cursor->key_size, true) : tree_edge(root, false);
        break;
    case MDB_SET_RANGE:
        node = tree_find_from(root, key->mv_data, key->mv_size, false);
        break;
    case MDB_SET:
    case MDB_SET_KEY:
        node = tree_find(root, key->mv_data, key->mv_size);
        break;
    default:
        sim_fail("a cursor operation that the simulator does not know: %d", (int)operation);
        return EINVAL;
    }
    if (!node)
        return MDB_NOTFOUND;
    cursor->placed = true;
    cursor->key_size = node->key_size;
    memcpy(cursor->key, node->key, node->key_size);
    *key = (MDB_val){node->key_size, (void *)(uintptr_t)node->key};
    *value = (MDB_val){node->value_size, node->value};
    return 0;
}

int mdb_cursor_del(MDB_cursor *cursor, unsigned flags)
{
    MDB_val key = {cursor->key_size, cursor->key};

    (void)flags;
    return cursor->placed ? mdb_del(cursor->txn, cursor->table, &key, NULL) : EINVAL;
}
