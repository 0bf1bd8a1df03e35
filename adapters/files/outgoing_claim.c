/* From the out-folder to pending: which files are whole, and under which name they go on. */
#include "adapters/files/outgoing_internal.h"
#include "adapters/files/paper.h"
#include "truc/log.h"

#include <errno.h>
#include <fcntl.h>

#define NUMBERS_TRIED 1000u
#define LIST_MAX 65536u /* names that are held in memory at a time */

static int64_t wall_us(void)
{
    struct timespec now;
    if (clock_gettime(CLOCK_REALTIME, &now) != 0) {
        abort(); /* it cannot be missing on Linux */
    }
    return (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

/* Names that leave no room for an ending keep their beginning, and the hash of all of it tells them apart. */
static void shorten(const char *name, char out[FILES_NAME_SIZE])
{
    struct truc_hash hash;
    char hex[17];
    if (strlen(name) <= FILES_NAME_MAX) {
        (void)snprintf(out, FILES_NAME_SIZE, "%s", name);
        return;
    }
    truc_sha256(&hash, truc_bytes_of(name));
    truc_hex(truc_bytes(hash.bytes, 8), hex);
    (void)snprintf(out, FILES_NAME_SIZE, "%.*s-%s.json", FILES_NAME_MAX - 60, name, hex);
}

static bool is_taken(const struct outgoing *o, const char *name)
{
    char receipt[FILES_NAME_SIZE], refusal[FILES_NAME_SIZE];
    if (!files_name_ending(name, PAPER_RECEIPT, receipt) || !files_name_ending(name, PAPER_REFUSED, refusal)) {
        return true;
    }
    return folder_has(&o->pending, name) || folder_has(&o->done, name) || folder_has(&o->refused, name) ||
           folder_has(outgoing_paper_folder(o, false), receipt) || folder_has(outgoing_paper_folder(o, true), refusal);
}

static void number(const char *name, uint64_t n, char out[FILES_NAME_SIZE])
{
    if (!files_name_numbered(name, n < NUMBERS_TRIED ? n : (uint64_t)wall_us(), out)) {
        abort(); /* shorten() has left room */
    }
}

truc_error outgoing_quarantine(struct outgoing *o, const struct folder *from, const char *name, const char *why)
{
    char kept[FILES_NAME_SIZE], as[FILES_NAME_SIZE], paper[FILES_NAME_SIZE + 8], quoted[2 * FILES_NAME_SIZE], time[40];
    struct truc_buffer text = {0};
    truc_error error = TRUC_E_EXISTS;
    shorten(name, kept);
    truc_time_format(wall_us(), time);
    for (uint64_t n = 1; error == TRUC_E_EXISTS && n <= NUMBERS_TRIED + 1; n++) {
        number(kept, n, as);
        if (folder_has(&o->quarantine, as)) {
            continue;
        }
        /* The reason first: a crash in between writes it again, and never leaves a file without one. */
        (void)snprintf(paper, sizeof paper, "%s.why", as);
        truc_buffer_clear(&text);
        error = truc_buffer_printf(&text, "%s\n%s\n", time, why);
        if (error == TRUC_OK) {
            error = folder_put(&o->quarantine, paper, truc_buffer_view(&text));
        }
        if (error == TRUC_OK) {
            error = folder_move(from, name, &o->quarantine, as);
        }
    }
    if (error == TRUC_OK) {
        error = folder_sync(&o->quarantine);
    }
    truc_buffer_close(&text);
    if (error == TRUC_OK) {
        o->counts.quarantined++;
        truc_log(TRUC_LOG_WARN, "file_quarantined", "file=%s",
                 truc_log_quote(truc_bytes_of(as), quoted, sizeof quoted));
    }
    return error;
}

static truc_error claim(struct outgoing *o, const char *name)
{
    char kept[FILES_NAME_SIZE], as[FILES_NAME_SIZE];
    struct outgoing_job *job;
    truc_error error = TRUC_E_EXISTS;
    shorten(name, kept);
    for (uint64_t n = 1; error == TRUC_E_EXISTS && n <= NUMBERS_TRIED + 1; n++) {
        number(kept, n, as);
        if (!is_taken(o, as)) {
            error = folder_move(&o->out, name, &o->pending, as);
        }
    }
    if (error != TRUC_OK) {
        return error;
    }
    o->claims_unsynced = true;
    o->counts.claimed++;
    return outgoing_add(o, as, &job);
}

static const char *kind_of(mode_t mode)
{
    return S_ISLNK(mode)    ? "a symbolic link; links are not followed"
           : S_ISFIFO(mode) ? "a named pipe"
           : S_ISDIR(mode)  ? "a folder"
           : S_ISSOCK(mode) ? "a socket"
                            : "a device";
}

/* ---- what came by rename ----------------------------------------------------------------------------------------- */

static int64_t changed_us(const struct stat *status)
{
    return (int64_t)status->st_ctim.tv_sec * 1000000 + status->st_ctim.tv_nsec / 1000;
}

static int by_name(const void *a, const void *b)
{
    const struct outgoing_arrival *first = a, *second = b;
    int order = strcmp(first->name, second->name);
    return order != 0 ? order : (first->changed_us > second->changed_us) - (first->changed_us < second->changed_us);
}

truc_error outgoing_arrived(struct outgoing *o, const char *name)
{
    struct stat status;
    if (!files_name_is_event(name) || fstatat(o->out.fd, name, &status, AT_SYMLINK_NOFOLLOW) != 0) {
        return TRUC_OK;
    }
    o->arrivals_new = true;
    if (o->arrival_count == LIST_MAX) {
        return TRUC_OK; /* not remembered: it is whole when it has settled, like any other */
    }
    if (o->arrival_count == o->arrival_capacity) {
        size_t capacity = o->arrival_capacity == 0 ? 64 : o->arrival_capacity * 2;
        struct outgoing_arrival *arrivals = realloc(o->arrivals, capacity * sizeof *arrivals);
        if (arrivals == NULL) {
            return TRUC_E_NOMEM;
        }
        o->arrivals = arrivals;
        o->arrival_capacity = capacity;
    }
    char *copy = strdup(name);
    if (copy == NULL) {
        return TRUC_E_NOMEM;
    }
    o->arrivals[o->arrival_count++] =
        (struct outgoing_arrival){.name = copy, .changed_us = changed_us(&status), .rank = ++o->arrived};
    return TRUC_OK;
}

/* The file as it came by rename; NULL: it did not, or it was changed since. */
static struct outgoing_arrival *arrival_of(const struct outgoing *o, char *name)
{
    struct stat status;
    if (o->arrival_count == 0 || fstatat(o->out.fd, name, &status, AT_SYMLINK_NOFOLLOW) != 0) {
        return NULL;
    }
    const struct outgoing_arrival key = {.name = name, .changed_us = changed_us(&status)};
    return bsearch(&key, o->arrivals, o->arrival_count, sizeof key, by_name);
}

/* A file system's clock ticks in milliseconds: within one tick the order of the renames says more than the names. */
static void rank(struct outgoing *o, struct folder_list *list)
{
    if (o->arrival_count == 0) {
        return;
    }
    qsort(o->arrivals, o->arrival_count, sizeof *o->arrivals, by_name);
    for (size_t i = 0; i < list->count; i++) {
        struct outgoing_arrival *arrival = arrival_of(o, list->items[i].name);
        if (arrival != NULL) {
            arrival->waits = true;
            list->items[i].rank = arrival->rank;
        }
    }
    folder_list_sort(list);
}

/* Those that are claimed or gone. */
static void forget_arrivals(struct outgoing *o)
{
    size_t kept = 0;
    for (size_t i = 0; i < o->arrival_count; i++) {
        if (o->arrivals[i].waits) {
            o->arrivals[i].waits = false;
            o->arrivals[kept++] = o->arrivals[i];
        } else {
            free(o->arrivals[i].name);
        }
    }
    o->arrival_count = kept;
}

/* ---- the scan ---------------------------------------------------------------------------------------------------- */

enum look {
    LOOK_DONE,  /* claimed, in quarantine, or gone */
    LOOK_HOLDS, /* not settled: what is behind it waits with it */
    LOOK_LATER, /* not settled for long: by itself */
    LOOK_FULL,  /* no room */
};

/* Whole: it came by rename, or nothing about it has changed for the settle time. The change time is the kernel's: no
 * program can set it back. A time in the future (the clock was set back) settles when the clock has come there; nobody
 * waits for that. */
static truc_error look_at(struct outgoing *o, char *name, enum look *look, int64_t *left_us)
{
    struct stat status;
    const int64_t settle_us = o->settings->settle_ms * 1000;
    *look = LOOK_DONE;
    if (fstatat(o->out.fd, name, &status, AT_SYMLINK_NOFOLLOW) != 0) {
        return TRUC_OK; /* gone again: its owner took it back */
    }
    if (!S_ISREG(status.st_mode)) {
        char why[128];
        (void)snprintf(why, sizeof why, "It is %s. Only regular files are sent.", kind_of(status.st_mode));
        return outgoing_quarantine(o, &o->out, name, why);
    }
    struct outgoing_arrival *arrival = arrival_of(o, name);
    *left_us = arrival != NULL ? 0 : changed_us(&status) + settle_us - wall_us();
    if (*left_us > 0) {
        *look = *left_us > 2 * settle_us ? LOOK_LATER : LOOK_HOLDS;
        return TRUC_OK;
    }
    if (o->count >= (size_t)o->settings->in_flight) {
        *look = LOOK_FULL;
        return TRUC_OK;
    }
    truc_error error = claim(o, name);
    if (arrival != NULL && error == TRUC_OK) {
        arrival->waits = false;
    }
    return error == TRUC_E_NOT_FOUND ? TRUC_OK : error;
}

/* What the disk or the rights refuse is told and tried again at the next scan; only lack of memory ends the program. */
static truc_error forgive(const char *name, truc_error error)
{
    char quoted[2 * FILES_NAME_SIZE];
    if (error == TRUC_OK || error == TRUC_E_NOMEM) {
        return error;
    }
    truc_log(TRUC_LOG_ERROR, "file_not_moved", "file=%s why=\"%s\" errno=%d",
             truc_log_quote(truc_bytes_of(name), quoted, sizeof quoted), truc_error_string(error), errno);
    return TRUC_OK;
}

bool outgoing_wants_scan(const struct outgoing *o)
{
    const size_t most = (size_t)o->settings->in_flight;
    /* With many left a scan looks at many: not for each single one that fits in again. */
    const bool room = o->no_room ? o->count <= most / 2 : o->count < most;
    return room && !o->held && (o->arrivals_new || o->no_room);
}

/* true: go on with the next. */
static bool weigh(struct outgoing *o, truc_error failure, enum look look, int64_t left_us, size_t *waiting,
                  int *pause_ms)
{
    if (failure != TRUC_OK) {
        ++*waiting;
        return failure != TRUC_E_FULL; /* the disk's trouble is everybody's; a single file's is not */
    }
    switch (look) {
    case LOOK_DONE:
        return true;
    case LOOK_LATER:
        ++*waiting;
        return true;
    case LOOK_HOLDS:
        ++*waiting;
        o->held = true;
        *pause_ms = (int)(left_us / 1000) + 1;
        return false;
    case LOOK_FULL:
        ++*waiting;
        o->no_room = true;
        return false;
    }
    abort();
}

truc_error outgoing_scan(struct outgoing *o, size_t *waiting, int *pause_ms)
{
    struct folder_list list;
    *pause_ms = -1;
    o->arrivals_new = o->no_room = o->held = false;
    truc_error error = folder_events(&o->out, LIST_MAX, &list);
    if (error != TRUC_OK) {
        *waiting = 1; /* nobody knows how many */
        return forgive(".", error);
    }
    *waiting = list.cut;
    rank(o, &list);
    bool on = true;
    for (size_t i = 0; i < list.count && error == TRUC_OK; i++) {
        enum look look = LOOK_DONE;
        int64_t left_us = 0;
        if (!on) {
            *waiting += list.count - i;
            break;
        }
        truc_error failure = look_at(o, list.items[i].name, &look, &left_us);
        error = forgive(list.items[i].name, failure);
        on = weigh(o, failure, look, left_us, waiting, pause_ms);
    }
    folder_list_close(&list);
    forget_arrivals(o);
    return error;
}
