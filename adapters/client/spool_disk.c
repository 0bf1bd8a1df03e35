/* The spool's LMDB environment: opening and checking it, and the one function that writes to it. */
#include "adapters/client/spool_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#define ALLOCATE_STEP (UINT64_C(1) << 20)
#define PAGES_SPARE 64 /* branches, free lists, the meta pages: what a commit may need beside its rows */

static const char *const table_names[STORE_TABLES] = {"meta", "events", "handled-64", "owed", "keys", "wishes"};
#define HANDLED_OF_FORMAT_1 "handled"

truc_error spool_error_of(int code)
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

/* ---- writing ------------------------------------------------------------------------------------------------------
 */

/* A full disk is met here, before anything is written: inside a commit LMDB cannot tell it from a failing one where a
 * write comes out short. The file does not become longer: where it ends is a sign of health at the next start. */
static truc_error make_room(struct spool_disk *disk)
{
    MDB_envinfo info;
    MDB_stat stat;
    mdb_filehandle_t fd;
    int code = mdb_env_info(disk->env, &info);
    code = code != 0 ? code : mdb_env_stat(disk->env, &stat);
    code = code != 0 ? code : mdb_env_get_fd(disk->env, &fd);
    if (code != 0) {
        return spool_error_of(code);
    }
    uint64_t need = (info.me_last_pgno + 1 + PAGES_SPARE) * stat.ms_psize;
    for (int t = 0; t < STORE_TABLES; t++) {
        const struct layer_table *table = &disk->layer->tables[t];
        for (size_t i = 0; i < table->row_count; i++) {
            need += store_event_cost(table->rows[i].size) * 2; /* pages are at least half full */
        }
    }
    if (disk->no_allocate || need <= disk->allocated) {
        return TRUC_OK;
    }
    need = (need + ALLOCATE_STEP - 1) / ALLOCATE_STEP * ALLOCATE_STEP;
    do {
        code = fallocate(fd, FALLOC_FL_KEEP_SIZE, 0, (off_t)need) == 0 ? 0 : errno;
    } while (code == EINTR);
    if (code == EOPNOTSUPP) {
        disk->no_allocate = true;
        return TRUC_OK;
    }
    if (code == 0) {
        disk->allocated = need;
    }
    return spool_error_of(code);
}

truc_error spool_drop_rows(MDB_cursor *cursor, struct layer_range range, uint64_t *cost)
{
    uint8_t name[8];
    store_put_u64(name, range.first);
    MDB_val k = {sizeof name, name}, v;
    int code = mdb_cursor_get(cursor, &k, &v, MDB_SET_RANGE);
    while (code == MDB_SUCCESS) {
        if (k.mv_size != 8) {
            return TRUC_E_CORRUPT;
        }
        if (store_get_u64(k.mv_data) > range.last) {
            return TRUC_OK;
        }
        *cost += store_event_cost(v.mv_size);
        code = mdb_cursor_del(cursor, 0);
        if (code == MDB_SUCCESS) {
            code = mdb_cursor_get(cursor, &k, &v, MDB_NEXT);
        }
    }
    return code == MDB_NOTFOUND ? TRUC_OK : spool_error_of(code);
}

static truc_error put_row(MDB_cursor *cursor, const struct layer *layer, const struct layer_row *row, unsigned flags)
{
    uint8_t name[8];
    store_put_u64(name, row->key);
    MDB_val k = {sizeof name, name}, v = {row->size, NULL};
    int code = mdb_cursor_put(cursor, &k, &v, flags | MDB_RESERVE);
    if (code == MDB_SUCCESS && row->size > 0) {
        memcpy(v.mv_data, layer->bytes.data + row->at, row->size);
    }
    return spool_error_of(code);
}

static truc_error write_table(MDB_txn *txn, const struct spool_disk *disk, enum store_table which, uint64_t *live)
{
    const struct layer_table *table = &disk->layer->tables[which];
    MDB_cursor *cursor;
    uint64_t gone = 0;
    if (table->row_count == 0 && table->dropped_count == 0) {
        return TRUC_OK;
    }
    truc_error error = spool_error_of(mdb_cursor_open(txn, disk->tables[which], &cursor));
    if (error != TRUC_OK) {
        return error;
    }
    if (spool_is_packed(which)) {
        error = spool_packed_write(cursor, disk->layer, table);
        mdb_cursor_close(cursor);
        return error;
    }
    for (size_t i = 0; i < table->dropped_count && error == TRUC_OK; i++) {
        error = spool_drop_rows(cursor, table->dropped[i], &gone);
    }
    for (size_t i = 0; i < table->row_count && error == TRUC_OK; i++) {
        error = put_row(cursor, disk->layer, &table->rows[i], which == STORE_EVENTS ? MDB_APPEND : 0);
    }
    mdb_cursor_close(cursor);
    if (which == STORE_EVENTS) {
        *live = *live + disk->layer->events_cost - (gone < *live ? gone : *live);
    }
    return error;
}

static truc_error write_layer(struct spool_disk *disk)
{
    MDB_txn *txn;
    uint64_t live = disk->live;
    truc_error error = make_room(disk);
    if (error == TRUC_OK) {
        error = spool_error_of(mdb_txn_begin(disk->env, NULL, 0, &txn));
    }
    if (error != TRUC_OK) {
        return error;
    }
    for (int t = 0; t < STORE_TABLES && error == TRUC_OK; t++) {
        error = write_table(txn, disk, (enum store_table)t, &live);
    }
    if (error != TRUC_OK) {
        int saved = errno;
        mdb_txn_abort(txn);
        errno = saved;
        return error;
    }
    error = spool_error_of(mdb_txn_commit(txn));
    if (error == TRUC_OK) {
        disk->live = live;
    }
    return error;
}

void spool_disk_write(void *context)
{
    struct spool_disk *disk = context;
    disk->result = write_layer(disk);
    disk->os_error = disk->result == TRUC_OK ? 0 : errno;
}

/* ---- opening ------------------------------------------------------------------------------------------------------
 */

/* How many pages from `first` on stand in LMDB's own list of free ones (table 0: transaction -> count, page numbers).
 */
static truc_error count_free(const struct spool_disk *disk, uint64_t first, uint64_t *count)
{
    MDB_txn *txn;
    MDB_cursor *cursor;
    MDB_val k, v;
    truc_error error = spool_error_of(mdb_txn_begin(disk->env, NULL, MDB_RDONLY, &txn));
    if (error != TRUC_OK) {
        return error;
    }
    error = spool_error_of(mdb_cursor_open(txn, 0, &cursor));
    const bool opened = error == TRUC_OK;
    while (error == TRUC_OK && (error = spool_error_of(mdb_cursor_get(cursor, &k, &v, MDB_NEXT))) == TRUC_OK) {
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
static truc_error check_length(const struct spool_disk *disk)
{
    mdb_filehandle_t fd;
    struct stat status;
    MDB_envinfo info;
    MDB_stat stat_;
    truc_error error = spool_error_of(mdb_env_get_fd(disk->env, &fd));
    if (error == TRUC_OK) {
        error = spool_error_of(mdb_env_info(disk->env, &info));
    }
    if (error == TRUC_OK) {
        error = spool_error_of(mdb_env_stat(disk->env, &stat_));
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
        return spool_error_of(errno);
    }
    error = count_free(disk, there, &unwritten);
    if (error == TRUC_OK && unwritten != needed - there) {
        error = TRUC_E_CORRUPT;
    }
    if (error != TRUC_OK && ftruncate(fd, status.st_size) != 0) {
        return TRUC_E_IO;
    }
    return error;
}

static truc_error check_format(const struct spool_disk *disk, MDB_txn *txn)
{
    uint8_t name[8];
    store_put_u64(name, META_FORMAT);
    MDB_val k = {sizeof name, name}, v;
    int code = mdb_get(txn, disk->tables[STORE_META], &k, &v);
    if (code != MDB_SUCCESS && code != MDB_NOTFOUND) {
        return spool_error_of(code);
    }
    const struct truc_bytes there = code == MDB_SUCCESS ? truc_bytes(v.mv_data, v.mv_size) : truc_bytes(NULL, 0);
    if (truc_bytes_equal(there, truc_bytes_of(STORE_FORMAT))) {
        return TRUC_OK;
    }
    const bool former = truc_bytes_equal(there, truc_bytes_of(STORE_FORMAT_1));
    if (code == MDB_SUCCESS && !former) {
        return TRUC_E_UNSUPPORTED;
    }
    truc_error error = former ? spool_packed_convert(txn, HANDLED_OF_FORMAT_1, disk->tables[STORE_HANDLED]) : TRUC_OK;
    char format[] = STORE_FORMAT;
    v = (MDB_val){sizeof format - 1, format};
    return error == TRUC_OK ? spool_error_of(mdb_put(txn, disk->tables[STORE_META], &k, &v, 0)) : error;
}

static truc_error count_live(struct spool_disk *disk, MDB_txn *txn)
{
    MDB_cursor *cursor;
    MDB_val k, v;
    int code = mdb_cursor_open(txn, disk->tables[STORE_EVENTS], &cursor);
    if (code != MDB_SUCCESS) {
        return spool_error_of(code);
    }
    while ((code = mdb_cursor_get(cursor, &k, &v, MDB_NEXT)) == MDB_SUCCESS) {
        disk->live += store_event_cost(v.mv_size);
    }
    mdb_cursor_close(cursor);
    return code == MDB_NOTFOUND ? TRUC_OK : spool_error_of(code);
}

static truc_error open_tables(struct spool_disk *disk)
{
    MDB_txn *txn;
    truc_error error = spool_error_of(mdb_txn_begin(disk->env, NULL, 0, &txn));
    if (error != TRUC_OK) {
        return error;
    }
    for (int i = 0; i < STORE_TABLES && error == TRUC_OK; i++) {
        error = spool_error_of(mdb_dbi_open(txn, table_names[i], MDB_CREATE, &disk->tables[i]));
    }
    if (error == TRUC_OK) {
        error = check_format(disk, txn);
    }
    if (error == TRUC_OK) {
        error = count_live(disk, txn);
    }
    if (error != TRUC_OK) {
        mdb_txn_abort(txn);
        return error;
    }
    return spool_error_of(mdb_txn_commit(txn)); /* writes nothing where nothing was new */
}

truc_error spool_disk_open(struct spool_disk *disk, const char *folder, uint64_t map_bytes)
{
    truc_error error = spool_error_of(mdb_env_create(&disk->env));
    if (error != TRUC_OK) {
        return error;
    }
    (void)mdb_env_set_maxdbs(disk->env, STORE_TABLES + 1); /* fails only after open */
    error = spool_error_of(mdb_env_set_mapsize(disk->env, (size_t)map_bytes));
    /* LMDB's own locks keep the two threads apart; NOTLS: the reader is an object of ours, not a thread's. */
    if (error == TRUC_OK) {
        error = spool_error_of(mdb_env_open(disk->env, folder, MDB_NOTLS, 0600));
    }
    if (error == TRUC_OK) {
        error = check_length(disk);
    }
    return error == TRUC_OK ? open_tables(disk) : error;
}
