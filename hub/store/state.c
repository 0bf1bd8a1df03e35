/* The state in LMDB: table "map" is the core's ordered map, table "notes" the shell's small facts. */
#include "hub/store/state.h"

#include "hub/store/environment.h"

#include "truc/config.h"

#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <unistd.h>
#include <xxhash.h>

#define NAME "state.mdb"
#define NOTE_NAME_MAX 64

struct note {
    struct note *next;
    struct truc_buffer value;
    char name[NOTE_NAME_MAX + 1];
};

struct hub_state {
    struct hub_environment environment;
    MDB_dbi map, notes;
    MDB_txn *snapshot; /* the port's; NULL after a failure */
    atomic_bool damaged;
    pthread_mutex_t lock; /* over the notes */
    struct note *waiting; /* notes that no commit has taken yet */
    struct note *flying;  /* those of the commit under way */
};

/* Damage that was met is remembered, whoever hides the error on its way up. */
static truc_error seen(struct hub_state *state, truc_error error)
{
    if (error == TRUC_E_CORRUPT) {
        atomic_store(&state->damaged, true);
    }
    return error;
}

bool hub_state_is_damaged(const struct hub_state *state)
{
    return atomic_load(&state->damaged);
}

void hub_state_distrust(struct hub_state *state)
{
    atomic_store(&state->damaged, true);
}

/* ---- the check at a start, in a child process
 * ------------------------------------------------------------------------------- */

static truc_error touch_ends(MDB_txn *txn, const char *name)
{
    MDB_dbi table;
    MDB_cursor *cursor;
    MDB_val key, value;
    int code = mdb_dbi_open(txn, name, 0, &table);
    if (code == MDB_NOTFOUND) {
        return TRUC_OK; /* a start that was cut short before the tables were made */
    }
    if (code == 0) {
        code = mdb_cursor_open(txn, table, &cursor);
    }
    if (code != 0) {
        return hub_environment_error(code);
    }
    code = mdb_cursor_get(cursor, &key, &value, MDB_FIRST);
    if (code == 0) {
        code = mdb_cursor_get(cursor, &key, &value, MDB_LAST);
    }
    mdb_cursor_close(cursor);
    return code == MDB_NOTFOUND ? TRUC_OK : hub_environment_error(code);
}

static truc_error probe(MDB_env *env, char why[HUB_WHY_SIZE])
{
    MDB_txn *txn;
    truc_error error = hub_environment_error(mdb_txn_begin(env, NULL, MDB_RDONLY, &txn));
    if (error != TRUC_OK) {
        return error;
    }
    error = touch_ends(txn, "map");
    if (error == TRUC_OK) {
        error = touch_ends(txn, "notes");
    }
    mdb_txn_abort(txn);
    if (error == TRUC_E_CORRUPT) {
        (void)snprintf(why, HUB_WHY_SIZE, NAME " is damaged: one of its tables cannot be read");
    }
    return error;
}

/* ---- open and close
 * ----------------------------------------------------------------------------------------------------------- */

static truc_error open_tables(struct hub_state *state, bool read_only)
{
    MDB_txn *txn;
    unsigned flags = read_only ? 0u : MDB_CREATE;
    int code = mdb_txn_begin(state->environment.env, NULL, read_only ? MDB_RDONLY : 0u, &txn);
    if (code != 0) {
        return hub_environment_error(code);
    }
    code = mdb_dbi_open(txn, "map", flags, &state->map);
    if (code == 0) {
        code = mdb_dbi_open(txn, "notes", flags, &state->notes);
    }
    if (code != 0) {
        mdb_txn_abort(txn);
        return hub_environment_error(code);
    }
    code = mdb_txn_commit(txn); /* keeps the handles */
    if (code == 0) {
        code = mdb_txn_begin(state->environment.env, NULL, MDB_RDONLY, &state->snapshot);
        state->snapshot = code == 0 ? state->snapshot : NULL;
    }
    return hub_environment_error(code);
}

truc_error hub_state_open(const char *folder, uint64_t map_bytes, bool create, bool read_only, struct hub_state **out,
                          char why[256])
{
    const struct hub_environment_options options = {
        .folder = folder,
        .name = NAME,
        .lock = "state.lock",
        .map_bytes = map_bytes,
        .tables = 2,
        .create = create,
        .read_only = read_only,
        .remakeable = true,
        .probe = probe,
    };
    struct hub_state *state = calloc(1, sizeof *state);
    why[0] = '\0';
    if (state == NULL) {
        return TRUC_E_NOMEM;
    }
    state->environment.lock_fd = -1;
    if (pthread_mutex_init(&state->lock, NULL) != 0) {
        free(state);
        return TRUC_E_NOMEM;
    }
    truc_error error = hub_environment_open(&options, &state->environment, why);
    if (error == TRUC_OK) {
        error = open_tables(state, read_only);
    }
    if (error != TRUC_OK) {
        if (why[0] == '\0') {
            (void)snprintf(why, HUB_WHY_SIZE, NAME ": %s", truc_error_string(error));
        }
        if (error == TRUC_E_CORRUPT) {
            size_t said = strlen(why);
            (void)snprintf(why + said, HUB_WHY_SIZE - said, "; the journal can make it again");
        }
        hub_state_close(&state);
        return error;
    }
    *out = state;
    return TRUC_OK;
}

static void free_notes(struct note *notes)
{
    while (notes != NULL) {
        struct note *next = notes->next;
        truc_buffer_close(&notes->value);
        free(notes);
        notes = next;
    }
}

void hub_state_close(struct hub_state **state)
{
    struct hub_state *closing = *state;
    if (closing == NULL) {
        return;
    }
    if (closing->snapshot != NULL) {
        mdb_txn_abort(closing->snapshot);
    }
    hub_environment_close(&closing->environment);
    free_notes(closing->waiting);
    (void)pthread_mutex_destroy(&closing->lock);
    free(closing);
    *state = NULL;
}

uint64_t hub_state_used_bytes(const struct hub_state *state)
{
    return hub_environment_used(&state->environment);
}

/* ---- given up, and made again
 * -------------------------------------------------------------------------------------------------------------------
 */

#define WORD "state.damaged"
#define WORD_MAX 4096

static char *file_in(const char *folder, const char *name)
{
    char *path;
    return asprintf(&path, "%s/%s", folder, name) < 0 ? NULL : path;
}

truc_error hub_state_condemn(const char *folder, const char *why)
{
    char *path = file_in(folder, WORD), *text = NULL;
    truc_error error = TRUC_E_NOMEM;
    if (path != NULL && asprintf(&text, "%s\n", why) >= 0) {
        error = truc_file_write(path, truc_bytes_of(text), 0600, true);
        free(text);
    }
    free(path);
    return error;
}

static truc_error remove_durably(const char *folder, const char *const *names, size_t count)
{
    int fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) {
        return TRUC_E_IO;
    }
    bool removed = true;
    for (size_t i = 0; i < count; i++) {
        removed = removed && (unlinkat(fd, names[i], 0) == 0 || errno == ENOENT);
    }
    truc_error error = removed && fsync(fd) == 0 ? TRUC_OK : TRUC_E_IO;
    (void)close(fd);
    return error;
}

truc_error hub_state_renew(const char *folder, struct truc_buffer *why)
{
    static const char *const state[] = {NAME, NAME "-lock"}, *const word[] = {WORD};
    char *path = file_in(folder, WORD);
    if (path == NULL) {
        return TRUC_E_NOMEM;
    }
    truc_error error = truc_file_read(path, WORD_MAX, why);
    bool none = error == TRUC_E_IO && errno == ENOENT;
    free(path);
    if (none) {
        return TRUC_E_NOT_FOUND;
    }
    if (error == TRUC_E_TOO_LARGE) { /* not ours, but the name says enough */
        error = TRUC_OK;
    }
    while (error == TRUC_OK && why->size > 0 && why->data[why->size - 1] == '\n') {
        why->size--;
    }
    if (error == TRUC_OK) {
        error = remove_durably(folder, state, 2);
    }
    return error == TRUC_OK ? remove_durably(folder, word, 1) : error;
}

/* ---- the port
 * -------------------------------------------------------------------------------------------------------------------
 */

/* LMDB has no checksums, and a damaged value must not decide anything: each value carries one, over its key too. It is
 * against damage, not against an enemy (who could make the whole state again): so a quick one will do. */
#define CHECK_SIZE 8u

static uint64_t check_of(struct truc_bytes key, const void *value, size_t size)
{
    return XXH3_64bits_withSeed(value, size, XXH3_64bits(key.data, key.size));
}

static truc_error checked(MDB_val key, MDB_val stored, struct truc_bytes *value)
{
    uint64_t check;
    if (stored.mv_size < CHECK_SIZE) {
        return TRUC_E_CORRUPT;
    }
    size_t size = stored.mv_size - CHECK_SIZE;
    memcpy(&check, (const uint8_t *)stored.mv_data + size, CHECK_SIZE);
    if (check != htole64(check_of(truc_bytes(key.mv_data, key.mv_size), stored.mv_data, size))) {
        return TRUC_E_CORRUPT;
    }
    *value = truc_bytes(stored.mv_data, size);
    return TRUC_OK;
}

static int put_checked(MDB_txn *txn, MDB_dbi map, struct truc_bytes key, struct truc_bytes value)
{
    MDB_val at = {key.size, (void *)(uintptr_t)key.data}, to = {value.size + CHECK_SIZE, NULL};
    uint64_t check = htole64(check_of(key, value.data, value.size));
    int code = mdb_put(txn, map, &at, &to, MDB_RESERVE);
    if (code == 0) {
        memcpy(to.mv_data, value.data, value.size);
        memcpy((uint8_t *)to.mv_data + value.size, &check, CHECK_SIZE);
    }
    return code;
}

static MDB_val val_of(struct truc_bytes bytes)
{
    return (MDB_val){bytes.size, (void *)(uintptr_t)bytes.data};
}

static truc_error port_get(void *context, struct truc_bytes key, struct truc_bytes *value)
{
    struct hub_state *state = context;
    MDB_val wanted = val_of(key), found;
    if (state->snapshot == NULL) {
        return TRUC_E_IO;
    }
    int code = mdb_get(state->snapshot, state->map, &wanted, &found);
    return seen(state, code == 0 ? checked(wanted, found, value) : hub_environment_error(code));
}

static truc_error port_scan(void *context, struct truc_bytes prefix,
                            truc_error (*each)(void *each_context, struct truc_bytes key, struct truc_bytes value),
                            void *each_context)
{
    struct hub_state *state = context;
    MDB_cursor *cursor;
    MDB_val key = val_of(prefix), value;
    truc_error error = TRUC_OK;
    if (state->snapshot == NULL) {
        return TRUC_E_IO;
    }
    int code = mdb_cursor_open(state->snapshot, state->map, &cursor);
    if (code != 0) {
        return seen(state, hub_environment_error(code));
    }
    /* LMDB takes no empty key: everything begins at the first one. */
    code = mdb_cursor_get(cursor, &key, &value, prefix.size == 0 ? MDB_FIRST : MDB_SET_RANGE);
    while (code == 0 && error == TRUC_OK && key.mv_size >= prefix.size &&
           (prefix.size == 0 || memcmp(key.mv_data, prefix.data, prefix.size) == 0)) {
        struct truc_bytes whole;
        error = seen(state, checked(key, value, &whole));
        if (error == TRUC_OK) {
            error = each(each_context, truc_bytes(key.mv_data, key.mv_size), whole);
        }
        if (error == TRUC_OK) {
            code = mdb_cursor_get(cursor, &key, &value, MDB_NEXT);
        }
    }
    mdb_cursor_close(cursor);
    if (error != TRUC_OK) {
        return error;
    }
    return code == MDB_NOTFOUND ? TRUC_OK : seen(state, hub_environment_error(code));
}

struct hub_port hub_state_port(struct hub_state *state)
{
    return (struct hub_port){state, port_get, port_scan};
}

truc_error hub_state_refresh(struct hub_state *state)
{
    if (state->snapshot == NULL) {
        return TRUC_E_IO;
    }
    mdb_txn_reset(state->snapshot);
    int code = mdb_txn_renew(state->snapshot);
    if (code != 0) {
        mdb_txn_abort(state->snapshot);
        state->snapshot = NULL;
    }
    return hub_environment_error(code);
}

/* ---- commit
 * ---------------------------------------------------------------------------------------------------------------------
 */

static int put_dirty(struct hub_state *state, MDB_txn *txn, const struct hub_dirty *dirty)
{
    size_t count = hub_dirty_count(dirty);
    for (size_t i = 0; i < count; i++) {
        struct truc_bytes key, value;
        hub_dirty_at(dirty, i, &key, &value);
        MDB_val at = val_of(key);
        int code = value.data == NULL ? mdb_del(txn, state->map, &at, NULL) : put_checked(txn, state->map, key, value);
        if (code != 0 && !(value.data == NULL && code == MDB_NOTFOUND)) {
            return code;
        }
    }
    return 0;
}

static int put_notes(struct hub_state *state, MDB_txn *txn, const struct note *notes)
{
    for (const struct note *note = notes; note != NULL; note = note->next) {
        int code = put_checked(txn, state->notes, truc_bytes_of(note->name), truc_buffer_view(&note->value));
        if (code != 0) {
            return code;
        }
    }
    return 0;
}

/* Gives notes back that no commit took; newer ones of the same name win. */
static void keep_notes(struct hub_state *state, struct note *notes)
{
    while (notes != NULL) {
        struct note *note = notes, **at = &state->waiting;
        notes = note->next;
        note->next = NULL;
        while (*at != NULL && strcmp((*at)->name, note->name) != 0) {
            at = &(*at)->next;
        }
        if (*at == NULL) {
            *at = note;
        } else {
            free_notes(note);
        }
    }
}

truc_error hub_state_commit(struct hub_state *state, const struct hub_dirty *dirty)
{
    MDB_txn *txn;
    truc_error error;
    (void)pthread_mutex_lock(&state->lock);
    struct note *notes = state->waiting;
    state->flying = notes;
    state->waiting = NULL;
    (void)pthread_mutex_unlock(&state->lock);

    int code = mdb_txn_begin(state->environment.env, NULL, 0, &txn);
    if (code == 0) {
        code = put_dirty(state, txn, dirty);
        if (code == 0) {
            code = put_notes(state, txn, notes);
        }
        if (code != 0) {
            mdb_txn_abort(txn);
        }
    }
    error = code == 0 ? hub_environment_commit(&state->environment, txn) : hub_environment_error(code);
    (void)pthread_mutex_lock(&state->lock);
    state->flying = NULL;
    if (error == TRUC_OK) {
        free_notes(notes);
    } else {
        keep_notes(state, notes);
    }
    (void)pthread_mutex_unlock(&state->lock);
    return seen(state, error);
}

/* ---- notes
 * ------------------------------------------------------------------------------------------------------------------------
 */

truc_error hub_state_note(struct hub_state *state, const char *name, struct truc_bytes value)
{
    size_t size = strlen(name);
    if (size == 0 || size > NOTE_NAME_MAX) {
        return TRUC_E_INVALID;
    }
    struct note *note = calloc(1, sizeof *note);
    if (note == NULL) {
        return TRUC_E_NOMEM;
    }
    memcpy(note->name, name, size);
    truc_error error = truc_buffer_append(&note->value, value.data, value.size);
    if (error != TRUC_OK) {
        free_notes(note);
        return error;
    }
    (void)pthread_mutex_lock(&state->lock);
    struct note *older = state->waiting;
    state->waiting = note;
    keep_notes(state, older);
    (void)pthread_mutex_unlock(&state->lock);
    return TRUC_OK;
}

static const struct note *find_note(const struct note *notes, const char *name)
{
    while (notes != NULL && strcmp(notes->name, name) != 0) {
        notes = notes->next;
    }
    return notes;
}

truc_error hub_state_noted(struct hub_state *state, const char *name, struct truc_buffer *out)
{
    MDB_txn *txn;
    MDB_val key = val_of(truc_bytes_of(name)), stored;
    struct truc_bytes value = {0};
    truc_error error = TRUC_E_NOT_FOUND;
    (void)pthread_mutex_lock(&state->lock);
    const struct note *note = find_note(state->waiting, name);
    if (note == NULL) {
        note = find_note(state->flying, name);
    }
    if (note != NULL) {
        error = truc_buffer_append(out, note->value.data, note->value.size);
    }
    (void)pthread_mutex_unlock(&state->lock);
    if (error != TRUC_E_NOT_FOUND) {
        return error;
    }
    int code = mdb_txn_begin(state->environment.env, NULL, MDB_RDONLY, &txn);
    if (code != 0) {
        return hub_environment_error(code);
    }
    code = mdb_get(txn, state->notes, &key, &stored);
    error = code == 0 ? checked(key, stored, &value) : hub_environment_error(code);
    if (error == TRUC_OK) {
        error = truc_buffer_append(out, value.data, value.size);
    }
    mdb_txn_abort(txn);
    return seen(state, error);
}
