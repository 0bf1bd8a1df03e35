/* truc-files: an agency exchanges events through folders. What goes out: outgoing.h. What comes in: incoming.h. */
#include "adapters/files/incoming.h"
#include "adapters/files/outgoing.h"
#include "adapters/files/watch.h"
#include "truc/log.h"

#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <jansson.h>
#include <poll.h>
#include <signal.h>
#include <sys/signalfd.h>
#include <unistd.h>

#define VERSION "truc-files/0.1"

/* --once: what the hub says is left in the inbox. */
enum inbox_state { INBOX_UNKNOWN, INBOX_ASKED, INBOX_EMPTY, INBOX_LEFT };

enum files_exit { EXIT_DONE = 0, EXIT_SOME_REFUSED = 1, EXIT_CONFIG = 2, EXIT_HUB = 3 };

static const char usage[] =
    "usage: truc-files --config FILE [--check-config] [--once]\n"
    "\n"
    "Sends the CloudEvents JSON files of one folder as sealed events and writes what is delivered into another.\n"
    "  --check-config  reads and checks the configuration and the profile, and exits\n"
    "  --once          sends what is there, waits for the receipts, receives until the inbox is empty or nothing\n"
    "                  came for once.wait, and exits\n"
    "Exit codes: 0 done, 1 (--once) some files were refused or put into quarantine, 2 wrong usage or configuration,\n"
    "3 the hub or the spool cannot be used; nothing is lost: start it again\n";

struct files {
    struct files_settings settings;
    struct files_draft_rules rules;
    struct draft_key key;
    struct truc_profile *profile;
    struct truc_client *client;
    struct outgoing *outgoing;
    struct incoming *incoming;
    struct watch watch;
    int signals;
    bool once, stop;
    size_t waiting;      /* files that the last scan left */
    int64_t scan_us;     /* next scan */
    int64_t progress_us; /* when something last went on */
    int64_t open_us;     /* since when the session is open; 0: it is not */
    enum inbox_state inbox;
    int64_t inbox_us; /* when it was asked for */
    json_int_t inbox_left;
};

static int64_t now_us(void)
{
    struct timespec now;
    if (clock_gettime(CLOCK_MONOTONIC, &now) != 0) {
        abort(); /* it cannot be missing on Linux */
    }
    return (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

/* ---- callbacks --------------------------------------------------------------------------------------------------- */

static void on_state(void *context, enum truc_client_state state, truc_error error, const char *text)
{
    static const char *const names[] = {"idle", "connecting", "open", "waiting", "stopped"};
    struct files *files = context;
    char quoted[256];
    truc_log(state == TRUC_CLIENT_STOPPED ? TRUC_LOG_ERROR : TRUC_LOG_INFO, "session", "state=%s error=%d text=%s",
             names[state], (int)error, truc_log_quote(truc_bytes_of(text == NULL ? "" : text), quoted, sizeof quoted));
    files->open_us = state == TRUC_CLIENT_OPEN ? now_us() : 0;
    outgoing_on_open(files->outgoing, state == TRUC_CLIENT_OPEN);
}

static void on_receipt(void *context, const struct truc_receipt *receipt)
{
    struct files *files = context;
    files->progress_us = now_us();
    outgoing_on_receipt(files->outgoing, receipt);
}

static void on_delivery(void *context, const struct truc_delivery *delivery)
{
    struct files *files = context;
    files->progress_us = now_us();
    incoming_on_delivery(files->incoming, delivery);
}

/* Rows of `inbox`: one, of this agency. A hub that does not say is taken at its silence. */
static void on_inbox(void *context, truc_reason reason, const char *text, struct truc_bytes body, bool last)
{
    struct files *files = context;
    (void)text;
    if (!last) {
        return;
    }
    json_t *rows = json_loadb((const char *)body.data, body.size, JSON_REJECT_DUPLICATES, NULL);
    const json_t *pending = json_object_get(json_array_get(rows, 0), "pending");
    files->inbox_left = json_is_integer(pending) ? json_integer_value(pending) : 0;
    files->inbox = reason == TRUC_OVERLOADED || files->inbox_left > 0 ? INBOX_LEFT : INBOX_EMPTY;
    json_decref(rows);
}

static void on_settled(void *context, uint64_t first, uint32_t count)
{
    incoming_on_settled(((struct files *)context)->incoming, first, count);
}

static truc_error on_arrived(void *context, const char *name)
{
    return outgoing_arrived(((struct files *)context)->outgoing, name);
}

/* ---- the loop ---------------------------------------------------------------------------------------------------- */

static truc_error look_for_files(struct files *files)
{
    bool changed = false;
    truc_error error = watch_read(&files->watch, on_arrived, files, &changed);
    int64_t now = now_us();
    if (changed && files->scan_us > now + files->settings.settle_ms * 1000) {
        files->scan_us = now + files->settings.settle_ms * 1000; /* a file was written: it settles first */
    }
    if (error == TRUC_OK && (now >= files->scan_us || outgoing_wants_scan(files->outgoing))) {
        int settles_ms;
        error = outgoing_scan(files->outgoing, &files->waiting, &settles_ms);
        int64_t pause = files->waiting > 0 && files->settings.settle_ms < files->settings.scan_ms
                            ? files->settings.settle_ms
                            : files->settings.scan_ms;
        pause = settles_ms >= 0 && settles_ms < pause ? settles_ms : pause;
        files->scan_us = now_us() + (pause < 50 ? 50 : pause) * 1000;
    }
    return error;
}

static truc_error round_of(struct files *files)
{
    truc_error error = look_for_files(files);
    if (error == TRUC_OK) {
        error = outgoing_work(files->outgoing);
    }
    if (error == TRUC_OK) {
        error = truc_client_step(files->client);
    }
    if (error == TRUC_OK) {
        error = incoming_work(files->incoming);
    }
    return error == TRUC_OK ? outgoing_work(files->outgoing) : error;
}

static int lesser(int a, int b)
{
    return a < 0 ? b : b < 0 ? a : a < b ? a : b;
}

static void wait_for_something(struct files *files)
{
    struct pollfd descriptors[] = {{.fd = truc_client_fd(files->client), .events = POLLIN},
                                   {.fd = files->watch.fd, .events = POLLIN},
                                   {.fd = files->signals, .events = POLLIN}};
    int64_t left_ms = (files->scan_us - now_us() + 999) / 1000;
    int timeout = lesser(truc_client_timeout_ms(files->client), left_ms < 0 ? 0 : (int)left_ms);
    timeout = outgoing_wants_scan(files->outgoing) ? 0 : lesser(timeout, outgoing_timeout_ms(files->outgoing));
    timeout = lesser(timeout, incoming_timeout_ms(files->incoming));
    timeout = files->once ? lesser(timeout, 100) : timeout;
    if (poll(descriptors, 3, timeout) > 0 && (descriptors[2].revents & POLLIN) != 0) {
        struct signalfd_siginfo info;
        files->stop = read(files->signals, &info, sizeof info) == (ssize_t)sizeof info;
    }
}

/* Nothing is left to send, and nothing has come for a while. */
static bool is_quiet(const struct files *files)
{
    int64_t idle_us = files->settings.idle_ms * 1000, now = now_us();
    return files->waiting == 0 && !outgoing_wants_scan(files->outgoing) && outgoing_count(files->outgoing) == 0 &&
           files->open_us != 0 && truc_client_pending(files->client) == 0 &&
           truc_client_pending_subscriptions(files->client) == 0 && now - files->open_us >= idle_us &&
           now - files->progress_us >= idle_us;
}

/* --once. Quiet is not empty: what an earlier run had in hand when it died comes again only after the hub's pause,
 * which grows with each time; so the hub is asked. What stays (behind a dead letter, with another instance, put back
 * for a folder that is full) is left for the next run when nothing came for `wait`. */
static truc_error look_whether_done(struct files *files, bool *done)
{
    const int64_t now = now_us(), wait_us = files->settings.wait_ms * 1000;
    const bool late = now - files->progress_us > wait_us;
    *done = false;
    if (!is_quiet(files)) {
        files->inbox = files->inbox == INBOX_ASKED ? INBOX_ASKED : INBOX_UNKNOWN;
        return late ? TRUC_E_TIMEOUT : TRUC_OK;
    }
    const bool old = files->inbox_us <= files->progress_us; /* asked before the last delivery */
    switch (files->inbox) {
    case INBOX_ASKED:
        return late ? TRUC_E_TIMEOUT : TRUC_OK;
    case INBOX_EMPTY:
        *done = !old;
        break;
    case INBOX_LEFT:
        *done = late;
        if (late) {
            truc_log(TRUC_LOG_WARN, "inbox_not_empty", "events=%" JSON_INTEGER_FORMAT, files->inbox_left);
        } else if (!old && now - files->inbox_us < files->settings.idle_ms * 1000) {
            return TRUC_OK;
        }
        break;
    case INBOX_UNKNOWN:
        break;
    }
    if (*done) {
        return TRUC_OK;
    }
    files->inbox = INBOX_ASKED;
    files->inbox_us = now;
    return truc_client_query(files->client, "inbox", NULL, on_inbox, files);
}

static int run(struct files *files)
{
    truc_error error = TRUC_OK;
    files->progress_us = now_us();
    while (error == TRUC_OK && !files->stop) {
        error = round_of(files);
        bool done = false;
        if (error == TRUC_OK && files->once) {
            error = look_whether_done(files, &done);
        }
        if (done) {
            break;
        }
        if (error == TRUC_OK && !files->stop) {
            wait_for_something(files);
        }
    }
    const struct outgoing_counts *sent = outgoing_counts(files->outgoing);
    const struct incoming_counts *got = incoming_counts(files->incoming);
    truc_log(error == TRUC_OK ? TRUC_LOG_INFO : TRUC_LOG_ERROR, "stopped",
             "why=\"%s\" accepted=%" PRIu64 " duplicates=%" PRIu64 " refused=%" PRIu64 " quarantined=%" PRIu64
             " pending=%zu written=%" PRIu64 " repeated=%" PRIu64 " put_back=%" PRIu64,
             error != TRUC_OK ? truc_error_string(error)
             : files->stop    ? "asked to"
                              : "done",
             sent->accepted, sent->duplicates, sent->refused, sent->quarantined, outgoing_count(files->outgoing),
             got->written, got->repeated, got->put_back);
    if (error != TRUC_OK) {
        return EXIT_HUB;
    }
    return files->once && sent->refused + sent->quarantined > 0 ? EXIT_SOME_REFUSED : EXIT_DONE;
}

/* ---- start ------------------------------------------------------------------------------------------------------- */

static int say(const char *what, const struct truc_buffer *why, truc_error error)
{
    fprintf(stderr, "truc-files: %s: %s\n", what, error == TRUC_E_IO ? strerror(errno) : truc_error_string(error));
    if (why->size > 0) {
        fprintf(stderr, "%.*s", (int)why->size, (const char *)why->data);
    }
    return EXIT_CONFIG;
}

/* Signals are read in the loop, so that the work of a round is never cut in two. */
static truc_error catch_signals(struct files *files)
{
    sigset_t set;
    (void)sigemptyset(&set);
    (void)sigaddset(&set, SIGTERM);
    (void)sigaddset(&set, SIGINT);
    (void)signal(SIGPIPE, SIG_IGN);
    if (sigprocmask(SIG_BLOCK, &set, NULL) != 0) {
        return TRUC_E_IO;
    }
    files->signals = signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC);
    return files->signals >= 0 ? TRUC_OK : TRUC_E_IO;
}

static truc_error open_key(struct files *files)
{
    char *path = NULL;
    if (asprintf(&path, "%s/files.key", truc_profile_config(files->profile)->spool) < 0) {
        return TRUC_E_NOMEM;
    }
    truc_error error = draft_key_open(path, &files->key);
    int saved = errno;
    free(path);
    errno = saved;
    return error;
}

static truc_error open_client(struct files *files)
{
    const struct truc_client_callbacks callbacks = {.context = files,
                                                    .on_state = on_state,
                                                    .on_receipt = on_receipt,
                                                    .on_delivery = on_delivery,
                                                    .on_settled = on_settled};
    truc_profile_config(files->profile)->software = VERSION;
    truc_error error = truc_client_new(truc_profile_config(files->profile), &callbacks, &files->client);
    if (error == TRUC_OK) {
        error = open_key(files);
    }
    for (size_t i = 0; i < files->settings.subscriptions.count && error == TRUC_OK; i++) {
        error = truc_client_subscribe(files->client, files->settings.subscriptions.items[i], NULL, false);
    }
    return error == TRUC_OK ? truc_client_receive(files->client, true) : error;
}

static int start(struct files *files, struct truc_buffer *why)
{
    files->rules = (struct files_draft_rules){.agency = truc_profile_config(files->profile)->agency,
                                              .type = files->settings.default_type,
                                              .source = files->settings.default_source,
                                              .recipients = files->settings.recipients,
                                              .key = &files->key};
    truc_error error = outgoing_new(&files->settings, &files->rules, &files->outgoing, why);
    if (error == TRUC_OK) {
        error = incoming_new(&files->settings, &files->incoming, why);
    }
    if (error != TRUC_OK) {
        return say("a folder cannot be used", why, error);
    }
    error = catch_signals(files);
    if (error == TRUC_OK) {
        error = open_client(files);
    }
    if (error == TRUC_OK) {
        watch_open(files->settings.out, &files->watch);
        incoming_start(files->incoming, files->client);
        error = outgoing_recover(files->outgoing, files->client);
    }
    if (error != TRUC_OK) {
        (void)say(files->settings.profile, why, error);
        return EXIT_HUB;
    }
    truc_log(TRUC_LOG_INFO, "ready", "agency=%s recovered=%zu", files->rules.agency, outgoing_count(files->outgoing));
    return run(files);
}

static int configure(struct files *files, const char *path, bool check)
{
    struct truc_buffer why = {0};
    enum truc_log_level level = TRUC_LOG_INFO;
    int exit_code = EXIT_DONE;
    truc_error error = files_settings_load(path, &files->settings, &why);
    if ((error == TRUC_OK || error == TRUC_E_CONFIG) && files->settings.profile != NULL) {
        /* Also where the settings are wrong: all errors are told in one run. */
        truc_error profile_error = truc_profile_load(files->settings.profile, &files->profile, &why);
        error = error == TRUC_OK || profile_error == TRUC_E_NOMEM ? profile_error : error;
    }
    if (error == TRUC_OK) {
        error = truc_log_level_parse(files->settings.log_level, &level);
    }
    if (error != TRUC_OK) {
        exit_code = say(path, &why, error);
    } else if (check) {
        printf("truc-files: %s is in order\n", path);
    } else {
        truc_log_set_level(level);
        exit_code = start(files, &why);
    }
    truc_buffer_close(&why);
    return exit_code;
}

int main(int argc, char **argv)
{
    static const struct option options[] = {{"config", required_argument, NULL, 'c'},
                                            {"check-config", no_argument, NULL, 'n'},
                                            {"once", no_argument, NULL, 'o'},
                                            {"help", no_argument, NULL, 'h'},
                                            {NULL, 0, NULL, 0}};
    struct files files = {.watch = {.fd = -1}, .signals = -1};
    const char *path = NULL;
    bool check = false, good = true;
    int option;
    while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
        switch (option) {
        case 'c':
            path = optarg;
            break;
        case 'n':
            check = true;
            break;
        case 'o':
            files.once = true;
            break;
        case 'h':
            fputs(usage, stdout);
            return EXIT_DONE;
        default: /* getopt has said what is wrong */
            good = false;
            break;
        }
    }
    if (!good || path == NULL || optind != argc) {
        fputs(usage, stderr);
        return EXIT_CONFIG;
    }
    int exit_code = configure(&files, path, check);
    truc_client_free(&files.client); /* says BYE */
    outgoing_free(&files.outgoing);
    incoming_free(&files.incoming);
    watch_close(&files.watch);
    if (files.signals >= 0) {
        (void)close(files.signals);
    }
    truc_profile_free(&files.profile);
    files_settings_close(&files.settings);
    truc_wipe(&files.key, sizeof files.key);
    return exit_code;
}
