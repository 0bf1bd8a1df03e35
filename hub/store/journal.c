/* The journal in LMDB: one table (the unnamed one), key = row number, 8 bytes big-endian, value = the row. */
#include "hub/store/journal.h"

#include "hub/store/environment.h"
#include "hub/store/row.h"

#include <stdatomic.h>
#include <sys/statvfs.h>

#define NAME "journal.mdb"
#define TAIL_ROWS 8            /* checked at a start, as far as they fit ... */
#define TAIL_BYTES (64u << 20) /* ... into this; the last one always */

struct hub_journal {
    struct hub_environment environment;
    MDB_dbi table;
    char *folder;
    _Atomic uint64_t rows;
    MDB_txn *txn; /* the allocation under way; the writer's */
};

struct hub_journal_reader {
    struct hub_journal *journal;
    MDB_txn *txn;
    bool live; /* a snapshot is held */
};

static void key_of(uint64_t row, uint8_t out[8])
{
    for (unsigned i = 8; i-- > 0; row >>= 8) {
        out[i] = (uint8_t)row;
    }
}

static int get_row(MDB_txn *txn, MDB_dbi table, uint64_t row, struct truc_bytes *out)
{
    uint8_t bytes[8];
    MDB_val key = {sizeof bytes, bytes}, value;
    key_of(row, bytes);
    int code = mdb_get(txn, table, &key, &value);
    if (code == 0) {
        *out = truc_bytes(value.mv_data, value.mv_size);
    }
    return code;
}

/* ---- the check at a start, in a child process
 * ---------------------------------------------------------------------------- */

static truc_error check_row(MDB_txn *txn, MDB_dbi table, uint64_t row, struct hub_row_header *header, uint64_t *bytes,
                            char why[HUB_WHY_SIZE])
{
    struct truc_bytes value;
    truc_error error = hub_environment_error(get_row(txn, table, row, &value));
    if (error == TRUC_OK) {
        *bytes += value.size;
        error = hub_row_open(value, header);
    }
    if (error == TRUC_E_UNSUPPORTED) {
        (void)snprintf(why, HUB_WHY_SIZE, NAME ": row %llu has a format that this version does not know",
                       (unsigned long long)row);
        return error;
    }
    if (error != TRUC_OK || header->row != row) {
        (void)snprintf(why, HUB_WHY_SIZE, NAME " is damaged: row %llu of %s", (unsigned long long)row,
                       error == TRUC_E_NOT_FOUND ? "those at its end is missing"
                                                 : "those at its end does not fit its digest");
        return TRUC_E_CORRUPT;
    }
    return TRUC_OK;
}

static truc_error check_tail(MDB_txn *txn, MDB_dbi table, uint64_t rows, char why[HUB_WHY_SIZE])
{
    struct hub_row_header header, later;
    uint64_t bytes = 0;
    for (uint64_t i = 0; i < TAIL_ROWS && i < rows && bytes < TAIL_BYTES; i++) {
        uint64_t row = rows - 1 - i;
        truc_error error = check_row(txn, table, row, &header, &bytes, why);
        if (error != TRUC_OK) {
            return error;
        }
        if (i > 0 && memcmp(later.previous.bytes, header.digest.bytes, TRUC_HASH_SIZE) != 0) {
            (void)snprintf(why, HUB_WHY_SIZE, NAME " is damaged: row %llu does not name the row before it",
                           (unsigned long long)row + 1);
            return TRUC_E_CORRUPT;
        }
        later = header;
    }
    return TRUC_OK;
}

/* The last key must be the number of rows less one: so no row is missing in the count. */
static truc_error count_rows(MDB_txn *txn, MDB_dbi table, uint64_t *out)
{
    MDB_cursor *cursor;
    MDB_stat stat;
    MDB_val key, value;
    uint8_t last[8];
    int code = mdb_stat(txn, table, &stat);
    if (code == 0) {
        code = mdb_cursor_open(txn, table, &cursor);
    }
    if (code != 0) {
        return hub_environment_error(code);
    }
    code = mdb_cursor_get(cursor, &key, &value, MDB_LAST);
    bool fits = false;
    if (code == 0 && stat.ms_entries > 0) {
        key_of(stat.ms_entries - 1, last);
        fits = key.mv_size == sizeof last && memcmp(key.mv_data, last, sizeof last) == 0;
    } else if (code == MDB_NOTFOUND) {
        fits = stat.ms_entries == 0;
        code = 0;
    }
    mdb_cursor_close(cursor);
    *out = stat.ms_entries;
    return code != 0 ? hub_environment_error(code) : fits ? TRUC_OK : TRUC_E_CORRUPT;
}

static truc_error probe(MDB_env *env, char why[HUB_WHY_SIZE])
{
    MDB_txn *txn;
    MDB_dbi table;
    uint64_t rows;
    truc_error error = hub_environment_error(mdb_txn_begin(env, NULL, MDB_RDONLY, &txn));
    if (error != TRUC_OK) {
        return error;
    }
    error = hub_environment_error(mdb_dbi_open(txn, NULL, 0, &table));
    if (error == TRUC_OK) {
        error = count_rows(txn, table, &rows);
        if (error == TRUC_E_CORRUPT) {
            (void)snprintf(why, HUB_WHY_SIZE, NAME " is damaged: its last row's number and its count of rows differ");
        }
    }
    if (error == TRUC_OK) {
        error = check_tail(txn, table, rows, why);
    }
    mdb_txn_abort(txn);
    return error;
}

/* ---- open and close
 * ------------------------------------------------------------------------------------------------------- */

static truc_error open_table(struct hub_journal *journal)
{
    MDB_txn *txn;
    uint64_t rows = 0;
    truc_error error = hub_environment_error(mdb_txn_begin(journal->environment.env, NULL, MDB_RDONLY, &txn));
    if (error != TRUC_OK) {
        return error;
    }
    error = hub_environment_error(mdb_dbi_open(txn, NULL, 0, &journal->table));
    if (error == TRUC_OK) {
        error = count_rows(txn, journal->table, &rows);
    }
    mdb_txn_abort(txn);
    atomic_store(&journal->rows, rows);
    return error;
}

truc_error hub_journal_open(const char *folder, uint64_t map_bytes, bool create, bool read_only,
                            struct hub_journal **out, char why[256])
{
    const struct hub_environment_options options = {
        .folder = folder,
        .name = NAME,
        .lock = "lock",
        .map_bytes = map_bytes,
        .create = create,
        .read_only = read_only,
        .probe = probe,
    };
    struct hub_journal *journal = calloc(1, sizeof *journal);
    why[0] = '\0';
    if (journal == NULL) {
        return TRUC_E_NOMEM;
    }
    journal->environment.lock_fd = -1;
    journal->folder = strdup(folder);
    truc_error error = journal->folder == NULL ? TRUC_E_NOMEM : TRUC_OK;
    if (error == TRUC_OK) {
        error = hub_environment_open(&options, &journal->environment, why);
    }
    if (error == TRUC_OK) {
        error = open_table(journal);
    }
    if (error != TRUC_OK) {
        if (why[0] == '\0') {
            (void)snprintf(why, HUB_WHY_SIZE, NAME ": %s", truc_error_string(error));
        }
        hub_journal_close(&journal);
        return error;
    }
    *out = journal;
    return TRUC_OK;
}

void hub_journal_close(struct hub_journal **journal)
{
    if (*journal != NULL) {
        hub_journal_abandon(*journal);
        hub_environment_close(&(*journal)->environment);
        free((*journal)->folder);
        free(*journal);
        *journal = NULL;
    }
}

uint64_t hub_journal_rows(const struct hub_journal *journal)
{
    return atomic_load_explicit(&journal->rows, memory_order_acquire);
}

/* ---- writing
 * ---------------------------------------------------------------------------------------------------------------- */

truc_error hub_journal_allocate(struct hub_journal *journal, size_t size, uint8_t **out)
{
    uint8_t bytes[8];
    MDB_val key = {sizeof bytes, bytes}, value = {size, NULL};
    if (journal->txn != NULL || journal->environment.lock_fd < 0 || size == 0) {
        return TRUC_E_INVALID;
    }
    truc_error error = hub_environment_room(&journal->environment, size);
    if (error != TRUC_OK) {
        return error;
    }
    key_of(hub_journal_rows(journal), bytes);
    int code = mdb_txn_begin(journal->environment.env, NULL, 0, &journal->txn);
    if (code != 0) {
        journal->txn = NULL;
        return hub_environment_error(code);
    }
    code = mdb_put(journal->txn, journal->table, &key, &value, MDB_APPEND | MDB_RESERVE);
    if (code != 0) {
        hub_journal_abandon(journal);
        return hub_environment_error(code);
    }
    *out = value.mv_data;
    return TRUC_OK;
}

truc_error hub_journal_append(struct hub_journal *journal, uint64_t *row)
{
    MDB_txn *txn = journal->txn;
    uint64_t number = hub_journal_rows(journal);
    if (txn == NULL) {
        return TRUC_E_INVALID;
    }
    journal->txn = NULL;
    truc_error error = hub_environment_commit(&journal->environment, txn);
    if (error == TRUC_OK) {
        *row = number;
        atomic_store_explicit(&journal->rows, number + 1, memory_order_release);
    }
    return error;
}

void hub_journal_abandon(struct hub_journal *journal)
{
    if (journal->txn != NULL) {
        mdb_txn_abort(journal->txn);
        journal->txn = NULL;
    }
}

/* ---- reading
 * ---------------------------------------------------------------------------------------------------------------- */

truc_error hub_journal_reader_new(struct hub_journal *journal, struct hub_journal_reader **out)
{
    struct hub_journal_reader *reader = calloc(1, sizeof *reader);
    if (reader == NULL) {
        return TRUC_E_NOMEM;
    }
    reader->journal = journal;
    int code = mdb_txn_begin(journal->environment.env, NULL, MDB_RDONLY, &reader->txn);
    if (code != 0) {
        free(reader);
        return hub_environment_error(code);
    }
    reader->live = true;
    hub_journal_reader_reset(reader);
    *out = reader;
    return TRUC_OK;
}

void hub_journal_reader_free(struct hub_journal_reader **reader)
{
    if (*reader != NULL) {
        mdb_txn_abort((*reader)->txn);
        free(*reader);
        *reader = NULL;
    }
}

void hub_journal_reader_reset(struct hub_journal_reader *reader)
{
    if (reader->live) {
        mdb_txn_reset(reader->txn);
        reader->live = false;
    }
}

static truc_error renew(struct hub_journal_reader *reader)
{
    hub_journal_reader_reset(reader);
    int code = mdb_txn_renew(reader->txn);
    reader->live = code == 0;
    if (code == 0 && reader->journal->environment.lock_fd < 0) {
        /* Beside a running hub: it may have written more since. */
        MDB_stat stat;
        code = mdb_stat(reader->txn, reader->journal->table, &stat);
        if (code == 0) {
            atomic_store_explicit(&reader->journal->rows, stat.ms_entries, memory_order_release);
        }
    }
    return hub_environment_error(code);
}

truc_error hub_journal_get(struct hub_journal_reader *reader, uint64_t row, struct truc_bytes *out)
{
    int code = reader->live ? get_row(reader->txn, reader->journal->table, row, out) : MDB_NOTFOUND;
    if (code == MDB_NOTFOUND) { /* no snapshot, or one from before the row */
        truc_error error = renew(reader);
        if (error != TRUC_OK) {
            return error;
        }
        code = get_row(reader->txn, reader->journal->table, row, out);
    }
    return hub_environment_error(code);
}

truc_error hub_journal_space(const struct hub_journal *journal, struct hub_journal_space *out)
{
    MDB_envinfo info;
    struct statvfs space;
    int code = mdb_env_info(journal->environment.env, &info);
    if (code != 0 || statvfs(journal->folder, &space) != 0) {
        return TRUC_E_IO;
    }
    out->used = hub_environment_used(&journal->environment);
    out->quota = info.me_mapsize;
    out->disk_free = (uint64_t)space.f_bavail * space.f_frsize;
    return TRUC_OK;
}
