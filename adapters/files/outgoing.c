#include "adapters/files/outgoing_internal.h"

#include "adapters/files/paper.h"
#include "truc/log.h"
#include "truc/merkle.h"

#include <errno.h>
#include <inttypes.h>

#define EARLIER_WAIT_US INT64_C(15000000)
#define EARLIER_POLL_US INT64_C(100000)
#define HOLD_TRIES 10u /* so often a file that is put off holds up those behind it; then it is by itself */

int64_t outgoing_now_us(void)
{
    struct timespec now;
    if (clock_gettime(CLOCK_MONOTONIC, &now) != 0) {
        abort(); /* it cannot be missing on Linux */
    }
    return (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

/* ---- jobs -------------------------------------------------------------------------------------------------------- */

void outgoing_enter(struct outgoing_job *job, enum outgoing_state state)
{
    /* A receipt of an earlier run may come while its file waits to be submitted again; a recovered file may have its
     * receipt beside it. */
    static const bool may[JOB_STATES][JOB_STATES] = {
        [JOB_CLAIMED] = {[JOB_SUBMITTED] = true, [JOB_ANSWERED] = true, [JOB_RECEIPTED] = true},
        [JOB_SUBMITTED] = {[JOB_ANSWERED] = true},
        [JOB_ANSWERED] = {[JOB_RECEIPTED] = true},
    };
    if (!may[job->state][state]) {
        abort();
    }
    job->state = state;
    job->due_us = 0;
}

truc_error outgoing_add(struct outgoing *o, const char *name, struct outgoing_job **out)
{
    if (o->count == o->capacity) {
        size_t capacity = o->capacity == 0 ? 64 : o->capacity * 2;
        struct outgoing_job **jobs = realloc(o->jobs, capacity * sizeof(struct outgoing_job *));
        if (jobs == NULL) {
            return TRUC_E_NOMEM;
        }
        o->jobs = jobs;
        o->capacity = capacity;
    }
    struct outgoing_job *job = calloc(1, sizeof *job);
    if (job == NULL) {
        return TRUC_E_NOMEM;
    }
    (void)snprintf(job->name, sizeof job->name, "%s", name);
    o->jobs[o->count++] = job;
    *out = job;
    return TRUC_OK;
}

void outgoing_remove(struct outgoing *o, size_t index)
{
    truc_buffer_close(&o->jobs[index]->paper);
    free(o->jobs[index]);
    o->count--; /* the others keep their order, in which they are submitted */
    memmove(o->jobs + index, o->jobs + index + 1, (o->count - index) * sizeof(struct outgoing_job *));
}

const struct folder *outgoing_paper_folder(const struct outgoing *o, bool refused)
{
    return o->receipts.path != NULL ? &o->receipts : refused ? &o->refused : &o->done;
}

/* ---- life -------------------------------------------------------------------------------------------------------- */

static truc_error open_one(struct folder *folder, const char *key, const char *path, struct truc_buffer *why)
{
    truc_error error = folder_open(path, folder);
    if (error == TRUC_OK || error == TRUC_E_NOMEM) {
        return error;
    }
    error = truc_buffer_printf(why, "%s: %s: %s\n", key, path, strerror(errno));
    return error == TRUC_OK ? TRUC_E_CONFIG : error;
}

/* Files go from one to the other by rename, which cannot leave a file system. */
static truc_error check_devices(struct outgoing *o, struct truc_buffer *why)
{
    const struct folder *others[] = {&o->pending, &o->done, &o->refused, &o->quarantine};
    for (size_t i = 0; i < sizeof others / sizeof others[0]; i++) {
        bool same;
        truc_error error = folder_same_device(&o->out, others[i], &same);
        if (error == TRUC_OK && !same) {
            error =
                truc_buffer_printf(why, "%s: should be on the file system of out, %s\n", others[i]->path, o->out.path);
            return error == TRUC_OK ? TRUC_E_CONFIG : error;
        }
        if (error != TRUC_OK) {
            return error;
        }
    }
    return TRUC_OK;
}

truc_error outgoing_new(const struct files_settings *settings, const struct files_draft_rules *rules,
                        struct outgoing **out, struct truc_buffer *why)
{
    struct outgoing *o = calloc(1, sizeof *o);
    *out = NULL;
    if (o == NULL) {
        return TRUC_E_NOMEM;
    }
    o->settings = settings;
    o->rules = rules;
    truc_error error = open_one(&o->out, "out", settings->out, why);
    if (error == TRUC_OK) {
        error = open_one(&o->pending, "pending", settings->pending, why);
    }
    if (error == TRUC_OK) {
        error = open_one(&o->done, "done", settings->done, why);
    }
    if (error == TRUC_OK) {
        error = open_one(&o->refused, "refused", settings->refused, why);
    }
    if (error == TRUC_OK) {
        error = open_one(&o->quarantine, "quarantine", settings->quarantine, why);
    }
    if (error == TRUC_OK && settings->receipts != NULL) {
        error = open_one(&o->receipts, "receipts", settings->receipts, why);
    }
    if (error == TRUC_OK) {
        error = check_devices(o, why);
    }
    if (error != TRUC_OK) {
        outgoing_free(&o);
    }
    *out = o;
    return error;
}

void outgoing_free(struct outgoing **outgoing)
{
    struct outgoing *o = *outgoing;
    if (o == NULL) {
        return;
    }
    while (o->count > 0) {
        outgoing_remove(o, o->count - 1);
    }
    free(o->jobs);
    for (size_t i = 0; i < o->arrival_count; i++) {
        free(o->arrivals[i].name);
    }
    free(o->arrivals);
    folder_close(&o->out);
    folder_close(&o->pending);
    folder_close(&o->done);
    folder_close(&o->refused);
    folder_close(&o->quarantine);
    folder_close(&o->receipts);
    free(o);
    *outgoing = NULL;
}

/* ---- submitting -------------------------------------------------------------------------------------------------- */

/* The job's event, the same bytes each time. What cannot be one goes to quarantine, and *gone is set. */
static truc_error draft(struct outgoing *o, const struct outgoing_job *job, struct truc_buffer *event, bool *gone)
{
    char plain[FILES_NAME_SIZE], why[256] = "";
    struct truc_buffer text = {0};
    *gone = false;
    files_name_plain(job->name, plain);
    truc_error error = folder_read(&o->pending, job->name, FILE_MAX, &text);
    if (error == TRUC_OK) {
        error = files_draft_make(o->rules, plain, truc_buffer_view(&text), event, why);
        if (error == TRUC_E_MALFORMED || error == TRUC_E_TOO_LARGE) {
            *gone = true;
        }
    } else if (error == TRUC_E_TOO_LARGE) {
        (void)snprintf(why, sizeof why, "it is over %zu bytes", FILE_MAX);
        *gone = true;
    } else if (error == TRUC_E_INVALID) {
        (void)snprintf(why, sizeof why, "it is not a regular file");
        *gone = true;
    } else if (error == TRUC_E_IO && errno == EACCES) {
        (void)snprintf(why, sizeof why, "it cannot be read: permission denied");
        *gone = true;
    }
    if (*gone) {
        error = outgoing_quarantine(o, &o->pending, job->name, why);
        *gone = error == TRUC_OK;
    } else if (error == TRUC_E_NOT_FOUND) {
        truc_log(TRUC_LOG_WARN, "file_taken_away", "folder=pending");
        *gone = true;
        error = TRUC_OK;
    }
    truc_buffer_close(&text);
    return error;
}

/* Receipts of this run and nothing else are owed. Receipts that the library makes by itself are counted by the client
 * too, so under load the count may never say so; but what was first in the spool goes out first on a session. */
static bool earlier_settled(const struct outgoing *o)
{
    uint64_t own = 0;
    for (size_t i = 0; i < o->count; i++) {
        own += o->jobs[i]->state == JOB_SUBMITTED;
    }
    return truc_client_pending(o->client) <= own ||
           (o->open_us != 0 && outgoing_now_us() - o->open_us > EARLIER_WAIT_US);
}

static truc_error submit(struct outgoing *o, struct outgoing_job *job, bool *gone)
{
    struct truc_buffer event = {0};
    truc_error error = draft(o, job, &event, gone);
    if (error == TRUC_OK && !*gone) {
        truc_leaf_hash(&job->hash, truc_buffer_view(&event));
        job->hashed = true;
        error = truc_client_submit(o->client, truc_buffer_view(&event), &job->ticket);
        if (error == TRUC_OK) {
            outgoing_enter(job, JOB_SUBMITTED);
        } else if (error == TRUC_E_MALFORMED || error == TRUC_E_TOO_LARGE) {
            error = outgoing_quarantine(o, &o->pending, job->name, "the client library does not take it as an event");
            *gone = error == TRUC_OK;
        }
    }
    truc_buffer_close(&event);
    return error;
}

/* true: a trouble of the disk or the spool that passes. */
static bool is_passing(truc_error error)
{
    return error == TRUC_E_FULL || error == TRUC_E_IO || error == TRUC_E_AGAIN || error == TRUC_E_EXISTS ||
           error == TRUC_E_NOT_FOUND;
}

static void put_off(struct outgoing_job *job, truc_error error, const char *what)
{
    if (job->due_us == 0) {
        truc_log(TRUC_LOG_WARN, "put_off", "what=%s why=\"%s\"", what, truc_error_string(error));
    }
    job->due_us = outgoing_now_us() + RETRY_US;
    job->tries++;
}

/* Put off and still in its place in the order: those behind it wait as well. */
static bool holds(const struct outgoing_job *job, int64_t now)
{
    return job->state == JOB_CLAIMED && job->due_us > now && job->tries <= HOLD_TRIES;
}

static truc_error sync_claims(struct outgoing *o)
{
    if (!o->claims_unsynced) {
        return TRUC_OK;
    }
    /* Else a power loss could bring a file back to out after its receipt was written. */
    truc_error error = folder_sync(&o->pending);
    if (error == TRUC_OK) {
        error = folder_sync(&o->out);
    }
    o->claims_unsynced = error != TRUC_OK;
    return error;
}

/* In order, since order is kept per subject: files of an earlier run before those that came since. A file that cannot
 * be read or quarantined now holds up the others for some seconds, not for ever. */
static truc_error submit_all(struct outgoing *o)
{
    const int64_t now = outgoing_now_us();
    bool asked = false;
    truc_error error = sync_claims(o);
    if (error != TRUC_OK) {
        truc_log(TRUC_LOG_ERROR, "sync_failed", "folder=pending errno=%d", errno);
        o->full_until_us = now + RETRY_US;
        return is_passing(error) ? TRUC_OK : error;
    }
    for (size_t i = 0; i < o->count && now >= o->full_until_us; i++) {
        struct outgoing_job *job = o->jobs[i];
        bool gone = false;
        if (holds(job, now)) {
            return TRUC_OK;
        }
        if (job->state != JOB_CLAIMED || job->due_us > now) {
            continue;
        }
        if (job->recovered && !asked && !earlier_settled(o)) {
            return TRUC_OK;
        }
        asked = asked || job->recovered;
        error = submit(o, job, &gone);
        if (gone) {
            outgoing_remove(o, i--);
        } else if (error == TRUC_E_FULL) { /* the spool: for all of them */
            put_off(job, error, "submit");
            o->full_until_us = job->due_us;
        } else if (is_passing(error)) {
            put_off(job, error, "submit");
            if (holds(job, now)) {
                return TRUC_OK;
            }
        } else if (error != TRUC_OK) {
            return error;
        }
    }
    return TRUC_OK;
}

/* ---- receipts ---------------------------------------------------------------------------------------------------- */

static struct outgoing_job *job_of(const struct outgoing *o, const struct truc_receipt *receipt)
{
    struct truc_hash hash;
    for (size_t i = 0; i < o->count; i++) {
        if (o->jobs[i]->state == JOB_SUBMITTED && o->jobs[i]->ticket == receipt->ticket) {
            return o->jobs[i];
        }
    }
    truc_leaf_hash(&hash, receipt->event);
    for (size_t i = 0; i < o->count; i++) {
        struct outgoing_job *job = o->jobs[i];
        if (job->state == JOB_CLAIMED && job->hashed && memcmp(&job->hash, &hash, sizeof hash) == 0) {
            return job;
        }
    }
    return NULL;
}

static truc_error write_paper(struct outgoing *o, struct outgoing_job *job)
{
    char name[FILES_NAME_SIZE];
    if (!files_name_ending(job->name, job->refused ? PAPER_REFUSED : PAPER_RECEIPT, name)) {
        abort(); /* the claim has left room */
    }
    truc_error error = folder_put(outgoing_paper_folder(o, job->refused), name, truc_buffer_view(&job->paper));
    if (error == TRUC_OK) {
        outgoing_enter(job, JOB_RECEIPTED);
    }
    return error;
}

static void log_receipt(const struct outgoing_job *job, const struct truc_receipt *receipt)
{
    char file[2 * FILES_NAME_SIZE];
    (void)truc_log_quote(truc_bytes_of(job->name), file, sizeof file);
    if (receipt->reason == TRUC_ACCEPTED) {
        truc_log(TRUC_LOG_DEBUG, "file_receipted", "file=%s sequence=%" PRIu64 " duplicate=%d", file, receipt->sequence,
                 receipt->duplicate);
    } else {
        truc_log(TRUC_LOG_WARN, "file_refused", "file=%s reason=%s", file, truc_reason_name(receipt->reason));
    }
}

void outgoing_on_receipt(struct outgoing *o, const struct truc_receipt *receipt)
{
    struct outgoing_job *job = job_of(o, receipt);
    if (job == NULL) {
        /* Its file has its receipt already: it was submitted twice around a crash. */
        truc_log(TRUC_LOG_INFO, "receipt_repeated", "sequence=%" PRIu64 " reason=%s", receipt->sequence,
                 truc_reason_name(receipt->reason));
        return;
    }
    job->refused = receipt->reason != TRUC_ACCEPTED;
    log_receipt(job, receipt);
    truc_error error = paper_write(job->name, receipt, &job->paper);
    if (error != TRUC_OK) {
        /* The file stays in pending and is submitted again at the next start: nothing is lost. */
        truc_log(TRUC_LOG_ERROR, "receipt_not_written", "why=\"%s\"", truc_error_string(error));
        return;
    }
    outgoing_enter(job, JOB_ANSWERED);
    o->counts.refused += job->refused;
    o->counts.duplicates += !job->refused && receipt->duplicate;
    o->counts.accepted += !job->refused && !receipt->duplicate;
    error = write_paper(o, job);
    if (error != TRUC_OK) {
        put_off(job, error, "receipt");
    }
}

static truc_error move_on(struct outgoing *o, const struct outgoing_job *job)
{
    char as[FILES_NAME_SIZE];
    const struct folder *to = job->refused ? &o->refused : &o->done;
    truc_error error = TRUC_E_EXISTS;
    for (uint64_t n = 1; error == TRUC_E_EXISTS && n < 1000; n++) {
        if (!files_name_numbered(job->name, n, as)) {
            return TRUC_E_IO;
        }
        error = folder_move(&o->pending, job->name, to, as);
    }
    return error == TRUC_E_NOT_FOUND ? TRUC_OK : error; /* somebody took it out of pending; the receipt stands */
}

/* The papers of all are durable before the first file moves: once for many. */
static truc_error sync_papers(const struct outgoing *o)
{
    truc_error error = folder_sync(outgoing_paper_folder(o, false));
    if (error == TRUC_OK && o->receipts.path == NULL) {
        error = folder_sync(&o->refused);
    }
    return error;
}

static truc_error sync_moves(const struct outgoing *o)
{
    truc_error error = folder_sync(&o->done);
    if (error == TRUC_OK) {
        error = folder_sync(&o->refused);
    }
    return error == TRUC_OK ? folder_sync(&o->pending) : error;
}

static truc_error finish_all(struct outgoing *o)
{
    const int64_t now = outgoing_now_us();
    bool any = false;
    truc_error error = TRUC_OK;
    for (size_t i = 0; i < o->count; i++) {
        struct outgoing_job *job = o->jobs[i];
        if (job->state == JOB_ANSWERED && job->due_us <= now) {
            error = write_paper(o, job);
            if (error != TRUC_OK) {
                put_off(job, error, "receipt");
            }
        }
        any = any || (job->state == JOB_RECEIPTED && job->due_us <= now);
    }
    if (!any) {
        return TRUC_OK;
    }
    error = sync_papers(o);
    for (size_t i = 0; i < o->count; i++) {
        struct outgoing_job *job = o->jobs[i];
        if (job->state != JOB_RECEIPTED || job->due_us > now) {
            continue;
        }
        truc_error moved = error == TRUC_OK ? move_on(o, job) : error;
        if (moved != TRUC_OK) {
            put_off(job, moved, "move");
        } else {
            outgoing_remove(o, i--);
        }
    }
    error = error == TRUC_OK ? sync_moves(o) : error;
    if (error != TRUC_OK) {
        truc_log(TRUC_LOG_ERROR, "sync_failed", "folder=done errno=%d", errno);
    }
    return TRUC_OK; /* where the sync failed, a power loss makes the next start move them once more */
}

truc_error outgoing_work(struct outgoing *o)
{
    truc_error error = finish_all(o);
    return error == TRUC_OK ? submit_all(o) : error;
}

/* ---- after a crash ----------------------------------------------------------------------------------------------- */

static bool has_paper(const struct outgoing *o, const char *name, bool refused)
{
    char paper[FILES_NAME_SIZE];
    return files_name_ending(name, refused ? PAPER_REFUSED : PAPER_RECEIPT, paper) &&
           folder_has(outgoing_paper_folder(o, refused), paper);
}

static truc_error recover_one(struct outgoing *o, const char *name)
{
    struct outgoing_job *job;
    struct truc_buffer event = {0};
    bool gone = false;
    truc_error error = outgoing_add(o, name, &job);
    if (error != TRUC_OK) {
        return error;
    }
    if (has_paper(o, name, false) || has_paper(o, name, true)) {
        job->refused = has_paper(o, name, true);
        outgoing_enter(job, JOB_RECEIPTED);
        return TRUC_OK;
    }
    job->recovered = true;
    error = draft(o, job, &event, &gone);
    if (error == TRUC_OK && !gone) {
        truc_leaf_hash(&job->hash, truc_buffer_view(&event));
        job->hashed = true;
    }
    if (gone) {
        outgoing_remove(o, o->count - 1);
    }
    truc_buffer_close(&event);
    return is_passing(error) ? TRUC_OK : error;
}

truc_error outgoing_recover(struct outgoing *o, struct truc_client *client)
{
    struct folder_list list;
    o->client = client;
    /* No limit: in_flight bounded what was claimed, unless the administrator has lowered it since. */
    truc_error error = folder_events(&o->pending, SIZE_MAX, &list);
    for (size_t i = 0; i < list.count && error == TRUC_OK; i++) {
        error = recover_one(o, list.items[i].name);
    }
    folder_list_close(&list);
    if (o->count > 0) {
        truc_log(TRUC_LOG_INFO, "files_recovered", "files=%zu", o->count);
    }
    return error;
}

/* ---- for the loop ------------------------------------------------------------------------------------------------ */

size_t outgoing_count(const struct outgoing *o)
{
    return o->count;
}

int outgoing_timeout_ms(const struct outgoing *o)
{
    const int64_t now = outgoing_now_us();
    int64_t next = INT64_MAX, held = 0; /* nothing is submitted before those in front of it */
    for (size_t i = 0; i < o->count; i++) {
        const struct outgoing_job *job = o->jobs[i];
        int64_t due = job->due_us;
        if (job->state == JOB_SUBMITTED) {
            continue;
        }
        if (job->state == JOB_CLAIMED) {
            due = due < o->full_until_us ? o->full_until_us : due;
            due = job->recovered && due < now + EARLIER_POLL_US ? now + EARLIER_POLL_US : due;
            due = due < held ? held : due;
            held = job->recovered || holds(job, now) ? due : held;
        }
        next = due < next ? due : next;
    }
    if (next == INT64_MAX) {
        return -1;
    }
    return next <= now ? 0 : (int)((next - now + 999) / 1000);
}

void outgoing_on_open(struct outgoing *o, bool open)
{
    o->open_us = open ? outgoing_now_us() : 0;
}

const struct outgoing_counts *outgoing_counts(const struct outgoing *o)
{
    return &o->counts;
}
