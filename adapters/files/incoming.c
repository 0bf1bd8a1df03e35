#include "adapters/files/incoming.h"

#include "adapters/files/published.h"
#include "truc/log.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <unistd.h>

#define STAGING ".truc"
#define BATCH_MAX 128 /* descriptors that stay open until the sync of all */
#define FILE_MAX ((size_t)16 << 20)
#define ATTEMPT ",\"trucattempt\":"
#define PROBE_SIZE (1u << 20)
#define MODE 0640

enum entry_state { ENTRY_STAGED, ENTRY_SHOWN, ENTRY_FAILED };

struct batch_entry {
    uint64_t number, sequence;
    int fd; /* -1: synced already */
    enum entry_state state;
    bool replay;
    bool listed; /* perhaps on the disk: then its staged file must stay */
};

struct incoming {
    const struct files_settings *settings;
    struct truc_client *client;
    struct folder in, staging;
    struct published published;
    uint64_t round; /* acks with a mark (truc_client_mark) below it are durable */
    struct batch_entry batch[BATCH_MAX];
    size_t count;
    bool blocked;      /* the folder takes nothing */
    int64_t probe_us;  /* when it is tried again */
    uint32_t wait_ms;  /* grows while it stays so */
    truc_error failed; /* inside a callback, for the next work */
    struct truc_buffer text;
    struct incoming_counts counts;
};

static int64_t now_us(void)
{
    struct timespec now;
    if (clock_gettime(CLOCK_MONOTONIC, &now) != 0) {
        abort(); /* it cannot be missing on Linux */
    }
    return (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

/* ---- names and texts --------------------------------------------------------------------------------------------- */

static void staged_name(uint64_t number, char out[FILES_NAME_SIZE])
{
    (void)snprintf(out, FILES_NAME_SIZE, "%020" PRIu64 ".json", number);
}

/* Sorted by name is sorted by sequence. A replay is meant to come once more, so it has a name of its own. */
static void shown_name(const struct batch_entry *entry, char out[FILES_NAME_SIZE])
{
    if (entry->replay) {
        (void)snprintf(out, FILES_NAME_SIZE, "%020" PRIu64 "-replay-%" PRIu64 ".json", entry->sequence, entry->number);
    } else {
        (void)snprintf(out, FILES_NAME_SIZE, "%020" PRIu64 ".json", entry->sequence);
    }
}

truc_error incoming_text(const struct truc_delivery *delivery, struct truc_buffer *out)
{
    struct truc_event event = *delivery->event;
    const size_t before = out->size;
    char time[40];
    event.attribute_count = 0;
    for (size_t i = 0; i < delivery->event->attribute_count; i++) {
        const struct truc_attribute *attribute = &delivery->event->attributes[i];
        if (attribute->name.size < 4 || memcmp(attribute->name.data, "truc", 4) != 0) {
            event.attributes[event.attribute_count++] = *attribute;
        }
    }
    truc_time_format(delivery->accepted_at_us, time);
    truc_error error = truc_event_to_json(&event, out);
    if (error == TRUC_OK) {
        out->size--; /* the brace; codes and times need no escape */
        error = truc_buffer_printf(out,
                                   ",\"trucsender\":\"%s\",\"trucsequence\":\"%" PRIu64
                                   "\",\"trucaccepted\":\"%s\",\"trucreplay\":%s" ATTEMPT "%" PRIu32 "}\n",
                                   delivery->sender, delivery->sequence, time, delivery->replay ? "true" : "false",
                                   delivery->attempt);
    }
    if (error != TRUC_OK) {
        out->size = before;
    }
    return error;
}

/* Whether two in-files say the same of the same event: they may differ in the attempt, which stands last. */
static bool same_text(struct truc_bytes a, struct truc_bytes b)
{
    const size_t size = strlen(ATTEMPT);
    struct truc_bytes *both[] = {&a, &b};
    for (size_t i = 0; i < 2; i++) {
        const uint8_t *last = both[i]->size > 0 ? memrchr(both[i]->data, ',', both[i]->size) : NULL;
        if (last == NULL || both[i]->size - (size_t)(last - both[i]->data) < size || memcmp(last, ATTEMPT, size) != 0) {
            return false;
        }
        both[i]->size = (size_t)(last - both[i]->data);
    }
    return truc_bytes_equal(a, b);
}

/* ---- life -------------------------------------------------------------------------------------------------------- */

/* What was staged and not listed was never shown; its delivery comes again. */
static truc_error sweep(struct incoming *in)
{
    int fd = openat(in->staging.fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *folder = fd >= 0 ? fdopendir(fd) : NULL;
    const struct dirent *entry;
    if (folder == NULL) {
        if (fd >= 0) {
            (void)close(fd);
        }
        return TRUC_E_IO;
    }
    while ((entry = readdir(folder)) != NULL) {
        unsigned long long number;
        int end = 0;
        if (sscanf(entry->d_name, "%20llu.json%n", &number, &end) != 1 || end == 0 || entry->d_name[end] != '\0') {
            continue;
        }
        bool listed = false;
        for (size_t i = 0; i < in->published.count && !listed; i++) {
            listed = in->published.entries[i].number == number;
        }
        if (!listed && unlinkat(in->staging.fd, entry->d_name, 0) != 0) {
            truc_log(TRUC_LOG_WARN, "staged_file_stays", "errno=%d", errno);
        }
    }
    (void)closedir(folder);
    return TRUC_OK;
}

static truc_error open_all(struct incoming *in, const struct files_settings *settings)
{
    char *path = NULL;
    truc_error error = folder_open(settings->in, &in->in);
    if (error == TRUC_OK && asprintf(&path, "%s/" STAGING, settings->in) < 0) {
        return TRUC_E_NOMEM;
    }
    if (error == TRUC_OK) {
        error = folder_open(path, &in->staging);
    }
    int saved = errno;
    free(path);
    errno = saved;
    return error;
}

truc_error incoming_new(const struct files_settings *settings, struct incoming **out, struct truc_buffer *why)
{
    struct incoming *in = calloc(1, sizeof *in);
    *out = NULL;
    if (in == NULL) {
        return TRUC_E_NOMEM;
    }
    in->settings = settings;
    in->round = 1;
    truc_error error = open_all(in, settings);
    if (error == TRUC_OK) {
        error = published_load(&in->staging, &in->published);
    }
    if (error == TRUC_OK) {
        error = sweep(in);
    }
    if (error != TRUC_OK) {
        truc_error said =
            error == TRUC_E_NOMEM ? error
            : error == TRUC_E_CORRUPT
                ? truc_buffer_printf(why,
                                     "in: %s/" STAGING "/published is damaged. Without it deliveries that were not "
                                     "acknowledged may appear twice; delete it to go on.\n",
                                     settings->in)
                : truc_buffer_printf(why, "in: %s: %s\n", settings->in, strerror(errno));
        incoming_free(&in);
        return said != TRUC_OK ? said : error == TRUC_E_CORRUPT ? error : TRUC_E_CONFIG;
    }
    *out = in;
    return TRUC_OK;
}

void incoming_free(struct incoming **incoming)
{
    struct incoming *in = *incoming;
    if (in == NULL) {
        return;
    }
    for (size_t i = 0; i < in->count; i++) {
        if (in->batch[i].fd >= 0) {
            (void)close(in->batch[i].fd); /* not shown, not acked: it comes again */
        }
    }
    published_close(&in->published);
    folder_close(&in->in);
    folder_close(&in->staging);
    truc_buffer_close(&in->text);
    free(in);
    *incoming = NULL;
}

void incoming_start(struct incoming *in, struct truc_client *client)
{
    in->client = client;
}

/* ---- a folder that takes nothing --------------------------------------------------------------------------------- */

/* The client's answer is void where the lease went meanwhile: then the delivery comes again by itself. */
static truc_error answered(truc_error error)
{
    return error == TRUC_E_NOT_FOUND ? TRUC_OK : error;
}

static truc_error put_back(struct incoming *in, uint64_t number)
{
    in->counts.put_back++;
    return answered(truc_client_nack(in->client, number, in->wait_ms, "the in-folder takes no files"));
}

/* No more deliveries are drawn, so that none uses up its attempts on a folder that is known to be full. */
static truc_error block(struct incoming *in, truc_error why)
{
    if (in->blocked) {
        return TRUC_OK;
    }
    in->blocked = true;
    in->wait_ms = (uint32_t)in->settings->retry_ms;
    in->probe_us = now_us() + (int64_t)in->wait_ms * 1000;
    truc_log(TRUC_LOG_ERROR, "in_folder_unusable", "why=\"%s\" errno=%d retry_ms=%" PRIu32, truc_error_string(why),
             errno, in->wait_ms);
    return truc_client_receive(in->client, false);
}

static truc_error probe(struct incoming *in)
{
    int fd;
    truc_buffer_clear(&in->text);
    truc_error error = truc_buffer_reserve(&in->text, PROBE_SIZE);
    if (error != TRUC_OK) {
        return error;
    }
    memset(in->text.data, 0, PROBE_SIZE);
    error = folder_stage(&in->staging, "probe", truc_bytes(in->text.data, PROBE_SIZE), MODE, &fd);
    if (error == TRUC_OK) {
        error = fsync(fd) == 0 ? TRUC_OK : TRUC_E_FULL;
        (void)close(fd); /* nothing of value in it */
        (void)unlinkat(in->staging.fd, "probe", 0);
    }
    in->probe_us = now_us() + (int64_t)in->wait_ms * 1000;
    if (error != TRUC_OK) {
        return TRUC_OK;
    }
    in->blocked = false;
    truc_log(TRUC_LOG_INFO, "in_folder_usable", "again=1");
    return truc_client_receive(in->client, true);
}

/* ---- showing ----------------------------------------------------------------------------------------------------- */

static void unstage(struct incoming *in, const struct batch_entry *entry)
{
    char name[FILES_NAME_SIZE];
    staged_name(entry->number, name);
    if (unlinkat(in->staging.fd, name, 0) != 0 && errno != ENOENT) {
        truc_log(TRUC_LOG_WARN, "staged_file_stays", "number=%" PRIu64 " errno=%d", entry->number, errno);
    }
}

static truc_error sync_entry(struct batch_entry *entry)
{
    if (entry->fd < 0) {
        return TRUC_OK;
    }
    truc_error error = fsync(entry->fd) == 0 ? TRUC_OK : errno == ENOSPC || errno == EDQUOT ? TRUC_E_FULL : TRUC_E_IO;
    (void)close(entry->fd); /* synced: what close could still say is known */
    entry->fd = -1;
    return error;
}

/* Everything staged and listed, durably, before the first file is shown. */
static truc_error prepare(struct incoming *in)
{
    truc_error error = TRUC_OK;
    for (size_t i = 0; i < in->count; i++) {
        truc_error synced = sync_entry(&in->batch[i]);
        error = error == TRUC_OK ? synced : error;
    }
    if (error == TRUC_OK) {
        error = folder_sync(&in->staging);
    }
    if (error != TRUC_OK) {
        return error;
    }
    published_forget_answered(&in->published, in->round);
    for (size_t i = 0; i < in->count && error == TRUC_OK; i++) {
        struct batch_entry *entry = &in->batch[i];
        if (entry->state == ENTRY_STAGED) {
            error = published_add(&in->published, entry->number, entry->sequence);
            entry->listed = true; /* whatever the save below says: it may have come to the disk all the same */
        }
    }
    return error == TRUC_OK ? published_save(&in->published, &in->staging) : error;
}

/* The name is there already. The same content: a run whose list is lost had shown it. */
static truc_error shown_before(struct incoming *in, const char *staged, const char *shown, bool *same)
{
    struct truc_buffer there = {0};
    *same = false;
    truc_buffer_clear(&in->text);
    truc_error error = folder_read(&in->staging, staged, FILE_MAX, &in->text);
    if (error == TRUC_OK && folder_read(&in->in, shown, FILE_MAX, &there) == TRUC_OK) {
        *same = same_text(truc_buffer_view(&in->text), truc_buffer_view(&there));
    }
    truc_buffer_close(&there);
    return error;
}

static truc_error show(struct incoming *in, struct batch_entry *entry)
{
    char staged[FILES_NAME_SIZE], plain[FILES_NAME_SIZE], shown[FILES_NAME_SIZE];
    truc_error error = TRUC_E_EXISTS;
    staged_name(entry->number, staged);
    shown_name(entry, plain);
    for (uint64_t n = 1; error == TRUC_E_EXISTS && n < 1000; n++) {
        bool same = false;
        if (!files_name_numbered(plain, n, shown)) {
            return TRUC_E_IO;
        }
        error = folder_move(&in->staging, staged, &in->in, shown);
        if (error == TRUC_E_EXISTS && shown_before(in, staged, shown, &same) == TRUC_OK && same) {
            unstage(in, entry);
            in->counts.repeated++;
            entry->state = ENTRY_SHOWN;
            return TRUC_OK;
        }
    }
    if (error == TRUC_OK) {
        in->counts.written++;
        entry->state = ENTRY_SHOWN;
    }
    return error;
}

static truc_error ack_shown(struct incoming *in)
{
    truc_error error = TRUC_OK;
    for (size_t i = 0; i < in->count && error == TRUC_OK; i++) {
        const struct batch_entry *entry = &in->batch[i];
        struct published_entry *listed = published_find(&in->published, entry->number, entry->sequence);
        if (entry->state == ENTRY_SHOWN) {
            error = truc_client_ack(in->client, entry->number);
            /* Not outstanding any more: it comes again, and the list says that it was shown. */
            if (listed != NULL && error == TRUC_OK) {
                listed->answered = truc_client_mark(in->client);
            }
            error = answered(error);
        } else {
            error = put_back(in, entry->number);
        }
    }
    return error;
}

/* What could not be shown is put back. A file that was never listed goes: its delivery is made anew. */
static void give_up(struct incoming *in)
{
    for (size_t i = 0; i < in->count; i++) {
        if (in->batch[i].state == ENTRY_STAGED) {
            in->batch[i].state = ENTRY_FAILED;
            if (!in->batch[i].listed) {
                unstage(in, &in->batch[i]);
            }
        }
    }
}

static bool has_staged(const struct incoming *in)
{
    for (size_t i = 0; i < in->count; i++) {
        if (in->batch[i].state == ENTRY_STAGED) {
            return true;
        }
    }
    return false;
}

/* Shows the batch in order; the first one that fails takes those behind it along, so that none overtakes. */
static truc_error flush(struct incoming *in)
{
    truc_error error = TRUC_OK;
    if (has_staged(in)) {
        error = prepare(in);
        const bool prepared = error == TRUC_OK;
        for (size_t i = 0; i < in->count && error == TRUC_OK; i++) {
            error = in->batch[i].state == ENTRY_STAGED ? show(in, &in->batch[i]) : TRUC_OK;
        }
        if (prepared && folder_sync(&in->in) != TRUC_OK) {
            /* shown, perhaps not durably: neither an ack nor a second file would be right */
            truc_log(TRUC_LOG_ERROR, "in_folder_not_synced", "errno=%d", errno);
            return TRUC_E_IO;
        }
    }
    if (error == TRUC_E_NOMEM) {
        return error;
    }
    if (error != TRUC_OK) {
        error = block(in, error);
        if (error != TRUC_OK) {
            return error;
        }
        give_up(in);
    }
    error = ack_shown(in);
    in->count = 0;
    return error;
}

/* ---- deliveries -------------------------------------------------------------------------------------------------- */

static bool is_in_batch(const struct incoming *in, uint64_t number)
{
    for (size_t i = 0; i < in->count; i++) {
        if (in->batch[i].number == number) {
            return true;
        }
    }
    return false;
}

static truc_error take(struct incoming *in, const struct truc_delivery *delivery)
{
    char name[FILES_NAME_SIZE];
    struct batch_entry entry = {
        .number = delivery->number, .sequence = delivery->sequence, .fd = -1, .replay = delivery->replay};
    truc_error error;
    staged_name(entry.number, name);
    if (published_find(&in->published, entry.number, entry.sequence) != NULL) {
        if (!folder_has(&in->staging, name)) {
            entry.state = ENTRY_SHOWN;
            in->counts.repeated++;
        }
        entry.listed = true;
    } else {
        truc_buffer_clear(&in->text);
        error = incoming_text(delivery, &in->text);
        if (error == TRUC_E_MALFORMED) {
            return answered(truc_client_reject(in->client, entry.number, "the event cannot be written as JSON"));
        }
        if (error != TRUC_OK) {
            return error;
        }
        error = folder_stage(&in->staging, name, truc_buffer_view(&in->text), MODE, &entry.fd);
        if (error != TRUC_OK) {
            truc_error blocked = block(in, error);
            return blocked != TRUC_OK ? blocked : put_back(in, entry.number);
        }
    }
    in->batch[in->count++] = entry;
    return TRUC_OK;
}

void incoming_on_delivery(struct incoming *in, const struct truc_delivery *delivery)
{
    truc_error error = in->failed;
    if (error == TRUC_OK && (in->count == BATCH_MAX || is_in_batch(in, delivery->number))) {
        error = flush(in);
    }
    if (error == TRUC_OK) {
        error = in->blocked ? put_back(in, delivery->number) : take(in, delivery);
    }
    in->failed = error;
}

void incoming_on_settled(struct incoming *in, uint64_t first, uint32_t count)
{
    if (count > 0) {
        published_forget(&in->published, first, first + (count - 1));
    }
}

truc_error incoming_work(struct incoming *in)
{
    truc_error error = in->failed;
    in->round = truc_client_synced(in->client) + 1;
    if (error == TRUC_OK) {
        error = flush(in);
    }
    if (error == TRUC_OK && in->blocked && now_us() >= in->probe_us) {
        error = probe(in);
    }
    in->failed = error;
    return error;
}

int incoming_timeout_ms(const struct incoming *in)
{
    if (!in->blocked) {
        return -1;
    }
    int64_t left = in->probe_us - now_us();
    return left <= 0 ? 0 : (int)((left + 999) / 1000);
}

const struct incoming_counts *incoming_counts(const struct incoming *in)
{
    return &in->counts;
}
