#include "adapters/client/spool.h"

#include <errno.h>
#include <fcntl.h>
#include <lmdb.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

/* The map is larger than the quota: pages freed by a commit are free for use only after the next one, and large events
 * want neighbouring pages. The quota is what bounds the spool; LMDB takes a new page only when no freed one fits. */
#define MAP_SLACK (64u << 20)
#define PAGE 4096u

static const char *const table_names[STORE_TABLES] = {"meta", "events", "handled", "owed", "keys"};

struct spool {
    MDB_env *env;
    MDB_txn *txn; /* NULL between a commit and the next use */
    MDB_dbi tables[STORE_TABLES];
    MDB_cursor *cursors[STORE_TABLES]; /* of the present transaction; NULL until used */
    int lock;
    uint64_t quota, live; /* live: pages of the events that are there, in bytes */
    size_t dirty;
    bool written;
    truc_error failed; /* sticky: after a failed commit the state in memory and on disk are not the same any more */
};

static truc_error error_of(int code)
{
    switch (code) {
    case MDB_SUCCESS:
        return TRUC_OK;
    case MDB_NOTFOUND:
        return TRUC_E_NOT_FOUND;
    case MDB_MAP_FULL:
    case MDB_TXN_FULL:
    case ENOSPC:
    case EDQUOT:
        return TRUC_E_FULL;
    case MDB_CORRUPTED:
    case MDB_INVALID:
    case MDB_PAGE_NOTFOUND:
    case MDB_PANIC:
        return TRUC_E_CORRUPT;
    case MDB_VERSION_MISMATCH:
        return TRUC_E_UNSUPPORTED;
    case ENOMEM:
        return TRUC_E_NOMEM;
    default: /* an errno, or a code of LMDB that says that a call was wrong */
        errno = code > 0 ? code : EIO;
        return TRUC_E_IO;
    }
}

/* What a row of an event costs in the file, roughly upwards: small ones share pages, large ones have their own. */
static uint64_t cost_of(size_t size)
{
    return size <= PAGE / 4 ? size + 32 : size <= PAGE / 2 ? PAGE / 2 : (size + 16 + PAGE - 1) / PAGE * PAGE;
}

static truc_error begin(struct spool *spool)
{
    if (spool->failed != TRUC_OK) {
        return spool->failed;
    }
    return spool->txn != NULL ? TRUC_OK : error_of(mdb_txn_begin(spool->env, NULL, 0, &spool->txn));
}

/* After an error inside a write transaction LMDB lets nothing more happen in it. */
static truc_error fail(struct spool *spool, int code)
{
    truc_error error = error_of(code);
    spool->failed = error == TRUC_OK ? TRUC_E_IO : error;
    return spool->failed;
}

static truc_error spool_put(void *context, enum store_table table, uint64_t key, struct truc_bytes head,
                            struct truc_bytes tail)
{
    struct spool *spool = context;
    uint8_t name[8];
    truc_error error = begin(spool);
    if (error != TRUC_OK) {
        return error;
    }
    const size_t size = head.size + tail.size;
    if (table == STORE_EVENTS && spool->live + cost_of(size) > spool->quota) {
        return TRUC_E_FULL;
    }
    store_put_u64(name, key);
    MDB_val k = {sizeof name, name};
    MDB_val v = {size, NULL};
    unsigned flags = MDB_RESERVE | (table == STORE_EVENTS ? MDB_APPEND : 0);
    int code = mdb_put(spool->txn, spool->tables[table], &k, &v, flags);
    if (code != MDB_SUCCESS) {
        return fail(spool, code);
    }
    if (head.size > 0) {
        memcpy(v.mv_data, head.data, head.size);
    }
    if (tail.size > 0) {
        memcpy((uint8_t *)v.mv_data + head.size, tail.data, tail.size);
    }
    if (table == STORE_EVENTS) {
        spool->live += cost_of(size);
    }
    spool->dirty += size + 32;
    spool->written = true;
    return TRUC_OK;
}

static truc_error spool_get(void *context, enum store_table table, uint64_t key, struct truc_bytes *out)
{
    struct spool *spool = context;
    uint8_t name[8];
    truc_error error = begin(spool);
    if (error != TRUC_OK) {
        return error;
    }
    store_put_u64(name, key);
    MDB_val k = {sizeof name, name}, v;
    error = error_of(mdb_get(spool->txn, spool->tables[table], &k, &v));
    if (error == TRUC_OK) {
        *out = truc_bytes(v.mv_data, v.mv_size);
    }
    return error;
}

static truc_error cursor_at(struct spool *spool, enum store_table table, uint64_t from, MDB_val *k, MDB_val *v)
{
    truc_error error = begin(spool);
    if (error == TRUC_OK && spool->cursors[table] == NULL) {
        error = error_of(mdb_cursor_open(spool->txn, spool->tables[table], &spool->cursors[table]));
    }
    if (error != TRUC_OK) {
        return error;
    }
    uint8_t name[8];
    store_put_u64(name, from);
    *k = (MDB_val){sizeof name, name};
    error = error_of(mdb_cursor_get(spool->cursors[table], k, v, MDB_SET_RANGE));
    return error == TRUC_OK && k->mv_size != 8 ? TRUC_E_CORRUPT : error;
}

static truc_error spool_next(void *context, enum store_table table, uint64_t *key, struct truc_bytes *out)
{
    MDB_val k, v;
    truc_error error = cursor_at(context, table, *key, &k, &v);
    if (error == TRUC_OK) {
        *key = store_get_u64(k.mv_data);
        *out = truc_bytes(v.mv_data, v.mv_size);
    }
    return error;
}

static truc_error spool_drop(void *context, enum store_table table, uint64_t first, uint64_t last)
{
    struct spool *spool = context;
    MDB_val k, v;
    truc_error error = cursor_at(spool, table, first, &k, &v);
    while (error == TRUC_OK && store_get_u64(k.mv_data) <= last) {
        uint64_t cost = table == STORE_EVENTS ? cost_of(v.mv_size) : 0;
        int code = mdb_cursor_del(spool->cursors[table], 0);
        if (code != MDB_SUCCESS) {
            return fail(spool, code);
        }
        spool->live -= cost < spool->live ? cost : spool->live;
        spool->dirty += 32;
        spool->written = true;
        error = error_of(mdb_cursor_get(spool->cursors[table], &k, &v, MDB_NEXT));
        if (error == TRUC_OK && k.mv_size != 8) {
            error = TRUC_E_CORRUPT;
        }
    }
    return error == TRUC_E_NOT_FOUND ? TRUC_OK : error;
}

static void forget_cursors(struct spool *spool)
{
    for (int i = 0; i < STORE_TABLES; i++) {
        if (spool->cursors[i] != NULL) {
            mdb_cursor_close(spool->cursors[i]); /* before the end of its transaction, as LMDB 0.9 wants it */
            spool->cursors[i] = NULL;
        }
    }
}

truc_error client_spool_commit(struct spool *spool)
{
    if (spool->failed != TRUC_OK) {
        return spool->failed;
    }
    if (!spool->written) {
        return TRUC_OK;
    }
    forget_cursors(spool);
    int code = mdb_txn_commit(spool->txn);
    spool->txn = NULL;
    spool->written = false;
    spool->dirty = 0;
    return code == MDB_SUCCESS ? TRUC_OK : fail(spool, code);
}

size_t client_spool_dirty(const struct spool *spool)
{
    return spool->dirty;
}

truc_error client_spool_count(struct spool *spool, enum store_table table, uint64_t *out)
{
    MDB_stat stat;
    truc_error error = begin(spool);
    if (error == TRUC_OK) {
        error = error_of(mdb_stat(spool->txn, spool->tables[table], &stat));
    }
    if (error == TRUC_OK) {
        *out = stat.ms_entries;
    }
    return error;
}

struct client_store client_spool_store(struct spool *spool)
{
    return (struct client_store){
        .context = spool, .put = spool_put, .get = spool_get, .next = spool_next, .drop = spool_drop};
}

/* Two clients on one spool would sign two chains from one head; the lock goes with the process, even a killed one. */
static truc_error take_lock(struct spool *spool, const char *folder)
{
    char *path = NULL;
    if (asprintf(&path, "%s/owner.lock", folder) < 0) {
        return TRUC_E_NOMEM;
    }
    spool->lock = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    free(path);
    if (spool->lock < 0) {
        return TRUC_E_IO;
    }
    if (flock(spool->lock, LOCK_EX | LOCK_NB) != 0) {
        return errno == EWOULDBLOCK ? TRUC_E_LOCKED : TRUC_E_IO;
    }
    return TRUC_OK;
}

/* How many pages from `first` on stand in LMDB's own list of free ones (table 0: transaction -> count, page numbers).
 */
static truc_error count_free(struct spool *spool, uint64_t first, uint64_t *count)
{
    MDB_txn *txn;
    MDB_cursor *cursor;
    MDB_val k, v;
    truc_error error = error_of(mdb_txn_begin(spool->env, NULL, MDB_RDONLY, &txn));
    if (error != TRUC_OK) {
        return error;
    }
    error = error_of(mdb_cursor_open(txn, 0, &cursor));
    const bool opened = error == TRUC_OK;
    while (error == TRUC_OK && (error = error_of(mdb_cursor_get(cursor, &k, &v, MDB_NEXT))) == TRUC_OK) {
        for (size_t at = sizeof(size_t); at + sizeof(size_t) <= v.mv_size; at += sizeof(size_t)) {
            size_t listed, page;
            memcpy(&listed, v.mv_data, sizeof listed); /* a list's room may be larger than the list */
            memcpy(&page, (const uint8_t *)v.mv_data + at, sizeof page);
            *count += at / sizeof(size_t) <= listed && page >= first;
        }
    }
    if (opened) {
        mdb_cursor_close(cursor);
    }
    mdb_txn_abort(txn);
    return error == TRUC_E_NOT_FOUND ? TRUC_OK : error;
}

/* Pages at the file's end that a transaction took and gave back before its commit were never written: they are free,
 * and the file is shorter than its last page says. Any other missing page is damage, and touching it would kill the
 * process with SIGBUS: the file is made longer before anything is read, and is as it was where damage is found. */
static truc_error check_length(struct spool *spool)
{
    mdb_filehandle_t fd;
    struct stat status;
    MDB_envinfo info;
    MDB_stat stat_;
    truc_error error = error_of(mdb_env_get_fd(spool->env, &fd));
    if (error == TRUC_OK) {
        error = error_of(mdb_env_info(spool->env, &info));
    }
    if (error == TRUC_OK) {
        error = error_of(mdb_env_stat(spool->env, &stat_));
    }
    if (error != TRUC_OK) {
        return error;
    }
    if (fstat(fd, &status) != 0) {
        return TRUC_E_IO;
    }
    uint64_t there = (uint64_t)status.st_size / stat_.ms_psize, needed = info.me_last_pgno + 1, unwritten = 0;
    if (there >= needed) {
        return TRUC_OK;
    }
    if (ftruncate(fd, (off_t)(needed * stat_.ms_psize)) != 0) {
        return error_of(errno);
    }
    error = count_free(spool, there, &unwritten);
    if (error == TRUC_OK && unwritten != needed - there) {
        error = TRUC_E_CORRUPT;
    }
    if (error != TRUC_OK && ftruncate(fd, status.st_size) != 0) {
        return TRUC_E_IO;
    }
    return error;
}

static truc_error check_format(struct spool *spool)
{
    struct truc_bytes format;
    truc_error error = spool_get(spool, STORE_META, META_FORMAT, &format);
    if (error == TRUC_E_NOT_FOUND) {
        return spool_put(spool, STORE_META, META_FORMAT, truc_bytes_of(STORE_FORMAT), truc_bytes(NULL, 0));
    }
    if (error == TRUC_OK && !truc_bytes_equal(format, truc_bytes_of(STORE_FORMAT))) {
        error = TRUC_E_UNSUPPORTED;
    }
    return error;
}

static truc_error open_tables(struct spool *spool)
{
    truc_error error = begin(spool);
    for (int i = 0; i < STORE_TABLES && error == TRUC_OK; i++) {
        error = error_of(mdb_dbi_open(spool->txn, table_names[i], MDB_CREATE, &spool->tables[i]));
    }
    if (error != TRUC_OK) {
        return error;
    }
    spool->written = true;
    error = check_format(spool);
    if (error != TRUC_OK) {
        return error;
    }
    struct truc_bytes row;
    uint64_t key = 0;
    while ((error = spool_next(spool, STORE_EVENTS, &key, &row)) == TRUC_OK) {
        spool->live += cost_of(row.size);
        key++;
    }
    return error == TRUC_E_NOT_FOUND ? client_spool_commit(spool) : error;
}

truc_error client_spool_open(const char *folder, uint64_t quota, struct spool **out)
{
    struct spool *spool = calloc(1, sizeof *spool);
    if (spool == NULL) {
        return TRUC_E_NOMEM;
    }
    spool->lock = -1;
    spool->quota = quota;
    truc_error error = TRUC_OK;
    if (mkdir(folder, 0700) != 0 && errno != EEXIST) {
        error = TRUC_E_IO;
        goto out;
    }
    error = take_lock(spool, folder);
    if (error != TRUC_OK) {
        goto out;
    }
    error = error_of(mdb_env_create(&spool->env));
    if (error != TRUC_OK) {
        goto out;
    }
    (void)mdb_env_set_maxdbs(spool->env, STORE_TABLES); /* fails only after open */
    error = error_of(mdb_env_set_mapsize(spool->env, (size_t)(2 * quota + MAP_SLACK) / PAGE * PAGE));
    if (error != TRUC_OK) {
        goto out;
    }
    /* NOLOCK: our own lock keeps everybody else out, and there are no readers beside the one writer. */
    error = error_of(mdb_env_open(spool->env, folder, MDB_NOLOCK, 0600));
    if (error == TRUC_OK) {
        error = check_length(spool);
    }
    if (error == TRUC_OK) {
        error = open_tables(spool);
    }
out:
    if (error != TRUC_OK) {
        int saved = errno;
        client_spool_close(&spool);
        errno = saved;
    }
    *out = spool;
    return error;
}

void client_spool_close(struct spool **spool_)
{
    struct spool *spool = *spool_;
    if (spool == NULL) {
        return;
    }
    forget_cursors(spool);
    if (spool->txn != NULL) {
        mdb_txn_abort(spool->txn);
    }
    if (spool->env != NULL) {
        mdb_env_close(spool->env);
    }
    if (spool->lock >= 0) {
        (void)close(spool->lock);
    }
    free(spool);
    *spool_ = NULL;
}
