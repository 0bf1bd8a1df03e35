#include "adapters/client/spool_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

/* The map is larger than the quota: pages freed by a commit are free for use only after the next one, and large events
 * want neighbouring pages. The quota is what bounds the spool; LMDB takes a new page only when no freed one fits. */
#define MAP_SLACK (64u << 20)
#define PAGE 4096u

/* ---- layers and the thread ---------------------------------------------------------------------------------------
 */

/* The snapshot may be older than a layer that is gone from memory: a new one, when something is read again. */
static void forget_snapshot(struct spool *spool)
{
    if (spool->reading) {
        mdb_txn_reset(spool->reader);
        spool->reading = false;
    }
}

static void give(struct spool *spool, int64_t now_us)
{
    spool->busy = true;
    spool->given_us = now_us;
    spool->disk.layer = spool->frozen;
    background_run(spool->thread, spool_disk_write, &spool->disk);
}

/* What the thread has done, if it is done. */
static truc_error collect(struct spool *spool)
{
    if (!spool->busy || !background_done(spool->thread)) {
        return spool->failed;
    }
    spool->busy = false;
    spool->full = spool->disk.result == TRUC_E_FULL;
    if (spool->disk.result == TRUC_OK) {
        spool->frozen_waits = false;
        spool->synced = spool->pending_mark - 1;
        spool->live = spool->disk.live;
        layer_clear(spool->frozen);
        forget_snapshot(spool);
    } else if (!spool->full) {
        errno = spool->disk.os_error;
        spool->failed = spool->disk.result;
    }
    return spool->failed;
}

/* The thread is idle. A layer that did not fit takes along what came since: some of it may have been dropped. */
static truc_error freeze(struct spool *spool, int64_t now_us)
{
    if (spool->frozen_waits) {
        truc_error error = layer_merge(spool->frozen, spool->pending);
        if (error != TRUC_OK) {
            return error; /* without memory: some of it twice in both, which changes nothing */
        }
        layer_clear(spool->pending);
    } else {
        struct layer *layer = spool->pending;
        spool->pending = spool->frozen;
        spool->frozen = layer;
        spool->frozen_waits = true;
    }
    spool->pending_mark++;
    give(spool, now_us);
    return TRUC_OK;
}

/* Not each event's time, but a dozen of times between which they were put: an event is at most so much older as the
 * step says. */
#define AGE_STEP_US INT64_C(10000)

static void note_age(struct spool *spool, int64_t now_us)
{
    const struct spool_age *last = &spool->ages[(spool->age_count + SPOOL_AGES - 1) % SPOOL_AGES];
    if (spool->age_count == 0 || (last->first < spool->next_event && now_us - last->us >= AGE_STEP_US)) {
        spool->ages[spool->age_count++ % SPOOL_AGES] = (struct spool_age){spool->next_event, now_us};
    }
}

/* No later than when the oldest event of the pending layer was put; INT64_MAX: there is none. */
static int64_t oldest_event_us(const struct spool *spool)
{
    const struct layer_table *events = &spool->pending->tables[STORE_EVENTS];
    size_t kept = spool->age_count < SPOOL_AGES ? spool->age_count : SPOOL_AGES;
    if (events->row_count == 0) {
        return INT64_MAX;
    }
    for (size_t i = 1; i <= kept; i++) {
        const struct spool_age *age = &spool->ages[(spool->age_count - i) % SPOOL_AGES];
        if (age->first <= events->rows[0].key) {
            return age->us;
        }
    }
    return INT64_MIN / 2; /* older than all that is remembered */
}

int64_t client_spool_took_us(const struct spool *spool)
{
    return spool->took_us;
}

int64_t client_spool_deadline(const struct spool *spool, struct spool_patience patience)
{
    if (spool->busy || spool->failed != TRUC_OK || (!spool->frozen_waits && layer_is_empty(spool->pending))) {
        return INT64_MAX;
    }
    if (spool->frozen_waits) {
        return spool->given_us + SPOOL_RETRY_US;
    }
    int64_t oldest = patience.event_us == INT64_MAX ? INT64_MAX : oldest_event_us(spool);
    int64_t aged = oldest == INT64_MAX ? INT64_MAX : oldest + patience.event_us;
    int64_t gathered = spool->given_us + patience.gather_us;
    return aged < gathered ? aged : gathered;
}

truc_error client_spool_flush(struct spool *spool, int64_t now_us, struct spool_patience patience)
{
    const bool was_busy = spool->busy;
    truc_error error = collect(spool);
    spool->took_us = was_busy && !spool->busy ? now_us - spool->given_us : spool->took_us;
    note_age(spool, now_us);
    if (error != TRUC_OK || now_us < client_spool_deadline(spool, patience)) {
        return error;
    }
    return freeze(spool, now_us);
}

truc_error client_spool_commit(struct spool *spool)
{
    bool tried = false;
    for (;;) {
        if (spool->busy) {
            background_wait(spool->thread);
        }
        truc_error error = collect(spool);
        if (error != TRUC_OK || (!spool->frozen_waits && layer_is_empty(spool->pending))) {
            return error;
        }
        if (tried) {
            return TRUC_E_FULL; /* all of it was in that one layer */
        }
        error = freeze(spool, spool->given_us);
        if (error != TRUC_OK) {
            return error;
        }
        tried = true;
    }
}

uint64_t client_spool_synced(const struct spool *spool)
{
    return spool->synced;
}

bool client_spool_is_full(const struct spool *spool)
{
    return spool->full;
}

int client_spool_fd(const struct spool *spool)
{
    return background_fd(spool->thread);
}

size_t client_spool_dirty(const struct spool *spool)
{
    return spool->pending->bytes.size + (spool->frozen_waits ? spool->frozen->bytes.size : 0);
}

/* ---- the port -----------------------------------------------------------------------------------------------------
 */

static uint64_t spool_mark(void *context)
{
    const struct spool *spool = context;
    return layer_is_empty(spool->pending) ? spool->pending_mark - 1 : spool->pending_mark;
}

static truc_error spool_put(void *context, enum store_table table, uint64_t key, struct truc_bytes head,
                            struct truc_bytes tail)
{
    struct spool *spool = context;
    if (spool->failed != TRUC_OK) {
        return spool->failed;
    }
    if (spool_is_packed(table) && head.size + tail.size > SPOOL_PACKED_MAX) {
        return TRUC_E_INVALID;
    }
    if (table == STORE_EVENTS) {
        uint64_t live = spool->live + spool->pending->events_cost + spool->frozen->events_cost;
        if (spool->full || live + store_event_cost(head.size + tail.size) > spool->quota) {
            return TRUC_E_FULL;
        }
        spool->next_event = key + 1;
    }
    return layer_put(spool->pending, table, key, head, tail);
}

static truc_error spool_drop(void *context, enum store_table table, uint64_t first, uint64_t last)
{
    struct spool *spool = context;
    return spool->failed != TRUC_OK ? spool->failed : layer_drop(spool->pending, table, first, last);
}

static truc_error snapshot(struct spool *spool)
{
    if (spool->failed != TRUC_OK) {
        return spool->failed;
    }
    if (spool->reading) {
        return TRUC_OK;
    }
    int code = spool->reader == NULL ? mdb_txn_begin(spool->disk.env, NULL, MDB_RDONLY, &spool->reader)
                                     : mdb_txn_renew(spool->reader);
    for (int t = 0; t < STORE_TABLES && code == MDB_SUCCESS; t++) {
        code = spool->cursors[t] == NULL ? mdb_cursor_open(spool->reader, spool->disk.tables[t], &spool->cursors[t])
                                         : mdb_cursor_renew(spool->reader, spool->cursors[t]);
    }
    spool->reading = code == MDB_SUCCESS;
    return spool_error_of(code);
}

/* The first row on the disk at *key or behind it. */
static truc_error disk_next(struct spool *spool, enum store_table table, uint64_t *key, struct truc_bytes *out)
{
    uint8_t name[8];
    store_put_u64(name, *key);
    MDB_val k = {sizeof name, name}, v;
    truc_error error = snapshot(spool);
    if (error == TRUC_OK && spool_is_packed(table)) {
        return spool_packed_next(spool->cursors[table], key, out);
    }
    if (error == TRUC_OK) {
        error = spool_error_of(mdb_cursor_get(spool->cursors[table], &k, &v, MDB_SET_RANGE));
    }
    if (error == TRUC_OK && k.mv_size != 8) {
        error = TRUC_E_CORRUPT;
    }
    if (error == TRUC_OK) {
        *key = store_get_u64(k.mv_data);
        *out = truc_bytes(v.mv_data, v.mv_size);
    }
    return error;
}

static truc_error spool_get(void *context, enum store_table table, uint64_t key, struct truc_bytes *out)
{
    struct spool *spool = context;
    const struct layer *layers[] = {spool->pending, spool->frozen};
    for (size_t i = 0; i < 2; i++) {
        enum layer_says says = layer_get(layers[i], table, key, out);
        if (says != LAYER_NOTHING) {
            return says == LAYER_ROW ? TRUC_OK : TRUC_E_NOT_FOUND;
        }
    }
    uint64_t found = key;
    truc_error error = disk_next(spool, table, &found, out);
    return error == TRUC_OK && found != key ? TRUC_E_NOT_FOUND : error;
}

/* Places to read from, topmost first: each hides what is below it. */
enum place { PENDING, FROZEN, DISK, PLACES };

static const struct layer *layer_at(const struct spool *spool, int place)
{
    return place == PENDING ? spool->pending : spool->frozen;
}

/* The place's first row at *key or behind it that nothing above hides. */
static truc_error place_next(struct spool *spool, enum place place, enum store_table table, uint64_t *key,
                             struct truc_bytes *out)
{
    for (;;) {
        truc_error error = place == DISK ? disk_next(spool, table, key, out)
                           : layer_next(layer_at(spool, (int)place), table, key, out) ? TRUC_OK
                                                                                      : TRUC_E_NOT_FOUND;
        uint64_t last;
        bool hidden = false;
        for (int above = 0; above < (int)place && !hidden && error == TRUC_OK; above++) {
            hidden = layer_hides(layer_at(spool, above), table, *key, &last);
        }
        if (!hidden) {
            return error;
        }
        if (last == UINT64_MAX) {
            return TRUC_E_NOT_FOUND;
        }
        *key = last + 1;
    }
}

static truc_error spool_next(void *context, enum store_table table, uint64_t *key, struct truc_bytes *out)
{
    struct spool *spool = context;
    bool found = false;
    uint64_t lowest = 0;
    for (int place = 0; place < PLACES; place++) {
        uint64_t at = *key;
        struct truc_bytes row;
        truc_error error = place_next(spool, (enum place)place, table, &at, &row);
        if (error != TRUC_OK && error != TRUC_E_NOT_FOUND) {
            return error;
        }
        if (error == TRUC_OK && (!found || at < lowest)) { /* of one key the topmost row counts */
            found = true;
            lowest = at;
            *out = row;
        }
    }
    *key = lowest;
    return found ? TRUC_OK : TRUC_E_NOT_FOUND;
}

truc_error client_spool_count(struct spool *spool, enum store_table table, uint64_t *out)
{
    struct truc_bytes row;
    uint64_t key = 0;
    truc_error error;
    *out = 0;
    while ((error = spool_next(spool, table, &key, &row)) == TRUC_OK) {
        ++*out;
        if (key++ == UINT64_MAX) {
            return TRUC_OK;
        }
    }
    return error == TRUC_E_NOT_FOUND ? TRUC_OK : error;
}

struct client_store client_spool_store(struct spool *spool)
{
    return (struct client_store){.context = spool,
                                 .put = spool_put,
                                 .get = spool_get,
                                 .next = spool_next,
                                 .drop = spool_drop,
                                 .mark = spool_mark};
}

/* ---- life ---------------------------------------------------------------------------------------------------------
 */

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
        return spool_error_of(errno);
    }
    if (flock(spool->lock, LOCK_EX | LOCK_NB) != 0) {
        return errno == EWOULDBLOCK ? TRUC_E_LOCKED : TRUC_E_IO;
    }
    return TRUC_OK;
}

truc_error client_spool_open(const char *folder, uint64_t quota, struct spool **out)
{
    struct spool *spool = calloc(1, sizeof *spool);
    if (spool == NULL) {
        return TRUC_E_NOMEM;
    }
    spool->lock = -1;
    spool->quota = quota;
    spool->pending = &spool->layers[0];
    spool->frozen = &spool->layers[1];
    spool->pending_mark = 1;
    spool->given_us = INT64_MIN / 2;
    truc_error error = mkdir(folder, 0700) != 0 && errno != EEXIST ? TRUC_E_IO : take_lock(spool, folder);
    if (error == TRUC_OK) {
        error = spool_disk_open(&spool->disk, folder, (2 * quota + MAP_SLACK) / PAGE * PAGE);
    }
    if (error == TRUC_OK) {
        spool->live = spool->disk.live;
        error = background_new("spool", &spool->thread);
    }
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
    background_free(&spool->thread); /* waits for its commit */
    for (int t = 0; t < STORE_TABLES; t++) {
        if (spool->cursors[t] != NULL) {
            mdb_cursor_close(spool->cursors[t]);
        }
    }
    if (spool->reader != NULL) {
        mdb_txn_abort(spool->reader);
    }
    if (spool->disk.env != NULL) {
        mdb_env_close(spool->disk.env);
    }
    if (spool->lock >= 0) {
        (void)close(spool->lock);
    }
    layer_close(&spool->layers[0]);
    layer_close(&spool->layers[1]);
    free(spool);
    *spool_ = NULL;
}
