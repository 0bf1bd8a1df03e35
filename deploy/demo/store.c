#include "deploy/demo/store.h"

#include <errno.h>
#include <inttypes.h>
#include <lmdb.h>
#include <sys/stat.h>

#define MAP_SIZE ((size_t)1 << 30)
#define KEY_SIZE 16
#define TEXT_MAX 4096

struct demo_store {
    MDB_env *env;
    MDB_dbi sent, got;
    MDB_txn *writing; /* NULL: nothing to commit */
};

/* Values: one of these, then text. Read by the same program on the same machine only. */
struct sent_record {
    uint32_t submitted, accepted, duplicates, refused, reason;
    uint64_t sequence;
    int64_t accepted_at_us;
};

struct got_record {
    uint32_t count, attempt;
    uint64_t number, sequence;
    int64_t accepted_at_us;
};

static truc_error error_of(int code)
{
    switch (code) {
    case 0:
        return TRUC_OK;
    case MDB_NOTFOUND:
        return TRUC_E_NOT_FOUND;
    case MDB_MAP_FULL:
    case ENOSPC:
        return TRUC_E_FULL;
    case ENOMEM:
        return TRUC_E_NOMEM;
    case MDB_CORRUPTED:
    case MDB_INVALID:
    case MDB_VERSION_MISMATCH:
    case MDB_PAGE_NOTFOUND:
        return TRUC_E_CORRUPT;
    default: /* LMDB's other codes and errno: the operating system's */
        errno = code > 0 ? code : EIO;
        return TRUC_E_IO;
    }
}

truc_error demo_store_open(const char *path, struct demo_store **out)
{
    MDB_txn *txn = NULL;
    struct demo_store *store = calloc(1, sizeof *store);
    if (store == NULL) {
        return TRUC_E_NOMEM;
    }
    if (mkdir(path, 0700) != 0 && errno != EEXIST) {
        free(store);
        return TRUC_E_IO;
    }
    int code = mdb_env_create(&store->env);
    code = code != 0 ? code : mdb_env_set_maxdbs(store->env, 2);
    code = code != 0 ? code : mdb_env_set_mapsize(store->env, MAP_SIZE);
    code = code != 0 ? code : mdb_env_open(store->env, path, MDB_NOTLS, 0600);
    code = code != 0 ? code : mdb_txn_begin(store->env, NULL, 0, &txn);
    code = code != 0 ? code : mdb_dbi_open(txn, "sent", MDB_CREATE, &store->sent);
    code = code != 0 ? code : mdb_dbi_open(txn, "got", MDB_CREATE, &store->got);
    if (code == 0) {
        code = mdb_txn_commit(txn);
    } else if (txn != NULL) {
        mdb_txn_abort(txn);
    }
    if (code != 0) {
        demo_store_close(&store);
        return error_of(code);
    }
    *out = store;
    return TRUC_OK;
}

void demo_store_close(struct demo_store **store)
{
    if (*store == NULL) {
        return;
    }
    if ((*store)->writing != NULL) {
        mdb_txn_abort((*store)->writing);
    }
    if ((*store)->env != NULL) {
        mdb_env_close((*store)->env);
    }
    free(*store);
    *store = NULL;
}

truc_error demo_store_commit(struct demo_store *store)
{
    MDB_txn *txn = store->writing;
    store->writing = NULL;
    return txn == NULL ? TRUC_OK : error_of(mdb_txn_commit(txn));
}

static truc_error writing(struct demo_store *store)
{
    return store->writing != NULL ? TRUC_OK : error_of(mdb_txn_begin(store->env, NULL, 0, &store->writing));
}

/* Reads the record at the front of the value; its text stays where it is. */
static truc_error get(struct demo_store *store, MDB_dbi dbi, uint8_t key[KEY_SIZE], void *record, size_t size,
                      char text[TEXT_MAX])
{
    MDB_val k = {KEY_SIZE, key}, v;
    truc_error error = writing(store);
    error = error != TRUC_OK ? error : error_of(mdb_get(store->writing, dbi, &k, &v));
    if (error != TRUC_OK) {
        return error;
    }
    if (v.mv_size < size || v.mv_size - size >= TEXT_MAX) {
        return TRUC_E_CORRUPT;
    }
    memcpy(record, v.mv_data, size);
    memcpy(text, (const char *)v.mv_data + size, v.mv_size - size);
    text[v.mv_size - size] = '\0';
    return TRUC_OK;
}

static truc_error put(struct demo_store *store, MDB_dbi dbi, uint8_t key[KEY_SIZE], const void *record, size_t size,
                      const char *text)
{
    size_t length = strlen(text);
    MDB_val k = {KEY_SIZE, key}, v = {size + length, NULL};
    int code = mdb_put(store->writing, dbi, &k, &v, MDB_RESERVE);
    if (code == 0) {
        memcpy(v.mv_data, record, size);
        memcpy((char *)v.mv_data + size, text, length);
    }
    return error_of(code);
}

#define VIEW(bytes) (int)(bytes).size, (bytes).size == 0 ? "" : (const char *)(bytes).data

truc_error demo_store_sent(struct demo_store *store, const char *agency, const struct truc_event *event)
{
    struct sent_record record = {0};
    uint8_t key[KEY_SIZE];
    char text[TEXT_MAX], time[40] = "";
    truc_event_key(truc_bytes_of(agency), event->source, event->id, key);
    truc_error error = get(store, store->sent, key, &record, sizeof record, text);
    if (error == TRUC_E_NOT_FOUND) {
        if (event->has_time) {
            truc_time_format(event->time_us, time);
        }
        (void)snprintf(text, sizeof text, "%.*s\t%.*s\t%.*s\t%.*s\t%s", VIEW(event->id), VIEW(event->type),
                       VIEW(event->subject), VIEW(event->recipients), time);
    } else if (error != TRUC_OK) {
        return error;
    }
    record.submitted++;
    return put(store, store->sent, key, &record, sizeof record, text);
}

truc_error demo_store_receipted(struct demo_store *store, const char *agency, const struct truc_event *event,
                                const struct demo_receipt *receipt)
{
    struct sent_record record;
    uint8_t key[KEY_SIZE];
    char text[TEXT_MAX];
    truc_event_key(truc_bytes_of(agency), event->source, event->id, key);
    truc_error error = get(store, store->sent, key, &record, sizeof record, text);
    if (error != TRUC_OK) {
        return error;
    }
    if (receipt->reason != TRUC_ACCEPTED) {
        record.refused++;
        record.reason = receipt->reason;
    } else if (receipt->duplicate) {
        record.duplicates++;
    } else {
        record.accepted++;
        record.sequence = receipt->sequence;
        record.accepted_at_us = receipt->accepted_at_us;
    }
    return put(store, store->sent, key, &record, sizeof record, text);
}

truc_error demo_store_got(struct demo_store *store, const struct truc_event *event,
                          const struct demo_delivery *delivery, uint32_t *count)
{
    struct got_record record = {0};
    uint8_t key[KEY_SIZE];
    char text[TEXT_MAX], time[40] = "";
    truc_event_key(truc_bytes_of(delivery->sender), event->source, event->id, key);
    truc_error error = get(store, store->got, key, &record, sizeof record, text);
    if (error == TRUC_E_NOT_FOUND) {
        if (event->has_time) {
            truc_time_format(event->time_us, time);
        }
        (void)snprintf(text, sizeof text, "%s\t%.*s\t%.*s\t%.*s\t%s", delivery->sender, VIEW(event->id),
                       VIEW(event->type), VIEW(event->subject), time);
    } else if (error != TRUC_OK) {
        return error;
    }
    record.count++;
    record.attempt = delivery->attempt;
    record.number = delivery->number;
    record.sequence = delivery->sequence;
    record.accepted_at_us = delivery->accepted_at_us;
    *count = record.count;
    return put(store, store->got, key, &record, sizeof record, text);
}

/* ---- telling ----------------------------------------------------------------------------------------------------- */

typedef truc_error (*print_fn)(FILE *out, const char *key, const MDB_val *value);

static truc_error print_sent(FILE *out, const char *key, const MDB_val *value)
{
    struct sent_record r;
    char at[40] = "";
    if (value->mv_size < sizeof r) {
        return TRUC_E_CORRUPT;
    }
    memcpy(&r, value->mv_data, sizeof r);
    if (r.accepted > 0) {
        truc_time_format(r.accepted_at_us, at);
    }
    fprintf(out, "sent\t%s\t%u\t%u\t%u\t%u\t%s\t%" PRIu64 "\t%s\t%.*s\n", key, r.submitted, r.accepted, r.duplicates,
            r.refused, r.refused > 0 ? truc_reason_name(r.reason) : "", r.sequence, at,
            (int)(value->mv_size - sizeof r), (const char *)value->mv_data + sizeof r);
    return TRUC_OK;
}

static truc_error print_got(FILE *out, const char *key, const MDB_val *value)
{
    struct got_record r;
    char at[40];
    if (value->mv_size < sizeof r) {
        return TRUC_E_CORRUPT;
    }
    memcpy(&r, value->mv_data, sizeof r);
    truc_time_format(r.accepted_at_us, at);
    fprintf(out, "got\t%s\t%u\t%" PRIu64 "\t%" PRIu64 "\t%s\t%u\t%.*s\n", key, r.count, r.number, r.sequence, at,
            r.attempt, (int)(value->mv_size - sizeof r), (const char *)value->mv_data + sizeof r);
    return TRUC_OK;
}

static truc_error print_all(struct demo_store *store, MDB_dbi dbi, print_fn print, FILE *out)
{
    MDB_txn *txn = NULL;
    MDB_cursor *cursor = NULL;
    MDB_val key, value;
    truc_error error = error_of(mdb_txn_begin(store->env, NULL, MDB_RDONLY, &txn));
    if (error != TRUC_OK) {
        return error;
    }
    error = error_of(mdb_cursor_open(txn, dbi, &cursor));
    while (error == TRUC_OK && (error = error_of(mdb_cursor_get(cursor, &key, &value, MDB_NEXT))) == TRUC_OK) {
        char hex[2 * KEY_SIZE + 1];
        if (key.mv_size != KEY_SIZE) {
            error = TRUC_E_CORRUPT;
            break;
        }
        truc_hex(truc_bytes(key.mv_data, key.mv_size), hex);
        error = print(out, hex, &value);
    }
    if (cursor != NULL) {
        mdb_cursor_close(cursor);
    }
    mdb_txn_abort(txn);
    return error == TRUC_E_NOT_FOUND ? TRUC_OK : error;
}

truc_error demo_store_dump(struct demo_store *store, FILE *out)
{
    truc_error error = print_all(store, store->sent, print_sent, out);
    error = error != TRUC_OK ? error : print_all(store, store->got, print_got, out);
    if (error == TRUC_OK && (fflush(out) != 0 || ferror(out))) {
        error = TRUC_E_IO;
    }
    return error;
}
