/* truc-import: a historical log (a CSV table and a map) as events of one agency. Runs again where it was interrupted:
 * every event has the same id and bytes each time, and the hub takes it once. */
#include "adapters/import/convert.h"
#include "adapters/import/table.h"
#include "truc/client.h"

#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <signal.h>
#include <time.h>

#define VERSION "truc-import/0.1"
/* Handed over and not yet receipted: enough to fill several seals, and little to hold in the spool. */
#define PENDING_MAX 8192
#define REFUSALS_MAX 256

enum import_exit { EXIT_DONE = 0, EXIT_SOME_SKIPPED = 1, EXIT_USAGE = 2, EXIT_HUB = 3 };

static const char usage[] =
    "usage: truc-import --map FILE --input CSV --profile DIR [--dry-run] [--rate N] [--timeout S]\n"
    "       truc-import --map FILE --input CSV --agency CODE --dry-run\n"
    "\n"
    "Reads a table and sends what its map makes of it as events of the profile's agency. Sending twice is safe: an "
    "event\n"
    "has the same id and bytes at each run.\n"
    "  --dry-run    reads, makes and checks the events, and sends nothing\n"
    "  --rate N     at most N events a second\n"
    "  --timeout S  give up when the hub has receipted nothing for S seconds (default 60); run it again later\n"
    "Exit codes: 0 everything was read and accepted, 1 some rows were skipped or events refused, 2 wrong usage,\n"
    "map or table, 3 the hub could not be reached or the connection ended for good\n";

struct importer {
    const char *map, *input, *profile, *agency;
    bool dry_run;
    uint64_t rate, timeout_s;
    struct truc_client *client;
    uint64_t sent, receipted, accepted, duplicates, earlier, first_ticket;
    uint64_t refused[REFUSALS_MAX];
    int64_t started_ms, progress_ms;
    truc_error stopped;
};

static volatile sig_atomic_t interrupted;

static void on_signal(int signal_number)
{
    (void)signal_number;
    interrupted = 1;
}

static int64_t now_ms(void)
{
    struct timespec now;
    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* ---- the hub ----------------------------------------------------------------------------------------------------- */

static void on_receipt(void *context, const struct truc_receipt *receipt)
{
    struct importer *im = context;
    im->progress_ms = now_ms();
    if (im->sent == 0 || receipt->ticket < im->first_ticket) {
        im->earlier++; /* left in the spool by a run that was interrupted; it comes again below, as a duplicate */
        return;
    }
    im->receipted++;
    if (receipt->reason == TRUC_ACCEPTED) {
        im->accepted++;
        im->duplicates += receipt->duplicate;
    } else {
        im->refused[(unsigned)receipt->reason % REFUSALS_MAX]++;
    }
}

static void on_delivery(void *context, const struct truc_delivery *delivery)
{
    (void)context;
    (void)delivery; /* never: this client opens no credit */
}

static void on_state(void *context, enum truc_client_state state, truc_error error, const char *text)
{
    struct importer *im = context;
    if (state == TRUC_CLIENT_STOPPED) {
        im->stopped = error != TRUC_OK ? error : TRUC_E_CLOSED;
        fprintf(stderr, "truc-import: the hub ends the connection for good: %s\n", text == NULL ? "" : text);
    }
}

static bool pending_is_low(void *context)
{
    struct importer *im = context;
    return im->stopped != TRUC_OK || interrupted != 0 || truc_client_pending(im->client) < PENDING_MAX / 2;
}

static bool nothing_is_pending(void *context)
{
    struct importer *im = context;
    return im->stopped != TRUC_OK || interrupted != 0 || truc_client_pending(im->client) == 0;
}

/* Steps until `done`, as long as receipts come. */
static truc_error wait_for(struct importer *im, bool (*done)(void *context))
{
    im->progress_ms = now_ms();
    for (;;) {
        truc_error error = truc_client_run(im->client, done, im, 1000);
        if (error != TRUC_E_TIMEOUT || interrupted != 0) {
            return error == TRUC_E_TIMEOUT ? TRUC_OK : error != TRUC_OK ? error : im->stopped;
        }
        if (now_ms() - im->progress_ms > (int64_t)im->timeout_s * 1000) {
            fprintf(stderr, "truc-import: the hub has receipted nothing for %" PRIu64 " s\n", im->timeout_s);
            return TRUC_E_TIMEOUT;
        }
    }
}

static bool never(void *context)
{
    return ((struct importer *)context)->stopped != TRUC_OK || interrupted != 0;
}

static truc_error pace(struct importer *im)
{
    if (im->rate == 0) {
        return TRUC_OK;
    }
    int64_t due_ms = im->started_ms + (int64_t)(im->sent * 1000 / im->rate), left_ms = due_ms - now_ms();
    if (left_ms <= 0) {
        return TRUC_OK;
    }
    truc_error error = truc_client_run(im->client, never, im, left_ms > 60000 ? 60000 : (int)left_ms);
    return error == TRUC_E_TIMEOUT ? TRUC_OK : error;
}

static truc_error on_made(void *context, const struct import_made *made)
{
    struct importer *im = context;
    uint64_t ticket;
    if (interrupted != 0) {
        return TRUC_E_CLOSED;
    }
    if (im->dry_run) {
        return TRUC_OK;
    }
    truc_error error = pace(im);
    if (error == TRUC_OK && truc_client_pending(im->client) >= PENDING_MAX) {
        error = wait_for(im, pending_is_low);
    }
    if (error == TRUC_OK) {
        error = truc_client_submit(im->client, made->bytes, &ticket);
    }
    if (error == TRUC_E_FULL) { /* the spool: make room, then once more */
        error = wait_for(im, nothing_is_pending);
        if (error == TRUC_OK) {
            error = truc_client_submit(im->client, made->bytes, &ticket);
        }
    }
    if (error != TRUC_OK) {
        return error;
    }
    if (im->sent++ == 0) {
        im->first_ticket = ticket;
    }
    return TRUC_OK;
}

/* ---- the run ----------------------------------------------------------------------------------------------------- */

static bool report(const struct importer *im, const struct import_counts *counts, const struct import_table *table)
{
    bool clean = true;
    printf("%-12s %" PRIu64 " records, %" PRIu64 " events made\n", "read", counts->records, counts->events);
    if (import_table_broken_lines(table) > 0) {
        printf("%-12s %" PRIu64 " records have a line break inside a value\n", "noted",
               import_table_broken_lines(table));
    }
    if (counts->offset_missing > 0) {
        printf("%-12s %" PRIu64 " records have times without offset: the map's was taken\n", "noted",
               counts->offset_missing);
    }
    for (int i = IMPORT_MADE + 1; i < IMPORT_SKIP_COUNT_; i++) {
        if (counts->skipped[i] > 0) {
            clean = false;
            printf("%-12s %" PRIu64 ": %s\n", "skipped", counts->skipped[i], import_skip_name((enum import_skip)i));
        }
    }
    if (im->dry_run) {
        printf("%-12s nothing: a dry run\n", "sent");
        return clean;
    }
    printf("%-12s %" PRIu64 "\n%-12s %" PRIu64 ", accepted %" PRIu64 ", of them %" PRIu64 " were there before\n",
           "sent", im->sent, "receipted", im->receipted, im->accepted, im->duplicates);
    if (im->earlier > 0) {
        printf("%-12s %" PRIu64 " that an interrupted run had left behind\n", "receipted", im->earlier);
    }
    for (unsigned i = 0; i < REFUSALS_MAX; i++) {
        if (im->refused[i] > 0) {
            clean = false;
            printf("%-12s %" PRIu64 ": %s: %s\n", "refused", im->refused[i], truc_reason_name(i),
                   truc_reason_advice(i));
        }
    }
    return clean;
}

static int explain(const struct importer *im, const struct import_converter *converter,
                   const struct import_table *table, truc_error error)
{
    switch (error) {
    case TRUC_E_CONFIG:
        fprintf(stderr, "truc-import: %s does not fit %s: %s", im->map, im->input, import_converter_why(converter));
        return EXIT_USAGE;
    case TRUC_E_MALFORMED:
    case TRUC_E_TOO_LARGE:
        fprintf(stderr,
                "truc-import: %s: record %" PRIu64
                " is not CSV: a quote is not closed or in the wrong place, or there are too many columns\n",
                im->input, import_table_number(table));
        return EXIT_USAGE;
    case TRUC_E_IO:
        fprintf(stderr, "truc-import: reading or spooling failed: %s\n", strerror(errno));
        return EXIT_HUB;
    default: /* every other error of the library ends the run in the same way */
        fprintf(stderr, "truc-import: stopped: %s. Run it again to go on\n",
                interrupted != 0 ? "interrupted" : truc_error_string(error));
        return EXIT_HUB;
    }
}

static int run(struct importer *im, struct import_map *map, const struct draft_key *key)
{
    struct import_converter *converter = NULL;
    struct import_table *table = NULL;
    int exit_code;
    truc_error error = import_converter_new(map, im->agency, key, on_made, im, &converter);
    if (error == TRUC_OK) {
        error = import_table_open(im->input, map->delimiter, import_converter_record, converter, &table);
    }
    if (error != TRUC_OK) {
        fprintf(stderr, "truc-import: %s: %s\n", im->input,
                error == TRUC_E_IO ? strerror(errno) : truc_error_string(error));
        exit_code = EXIT_USAGE;
        goto out;
    }
    im->started_ms = now_ms();
    do {
        error = import_table_read(table);
    } while (error == TRUC_OK);
    exit_code = EXIT_DONE;
    if (error == TRUC_E_NOT_FOUND) {
        error = im->dry_run ? TRUC_OK : wait_for(im, nothing_is_pending);
        if (error == TRUC_OK && interrupted != 0) {
            error = TRUC_E_CLOSED;
        }
    }
    if (error != TRUC_OK) {
        exit_code = explain(im, converter, table, error);
    }
    if (!report(im, import_converter_counts(converter), table) && exit_code == EXIT_DONE) {
        exit_code = EXIT_SOME_SKIPPED;
    }
out:
    import_table_close(&table);
    import_converter_free(&converter);
    return exit_code;
}

/* Says what is wrong, one line an error. */
static int say(struct truc_buffer *why, const char *what, truc_error error)
{
    fprintf(stderr, "truc-import: %s: %s\n%.*s", what, error == TRUC_E_IO ? strerror(errno) : truc_error_string(error),
            (int)why->size, why->size == 0 ? "" : (const char *)why->data);
    return EXIT_USAGE;
}

static int start(struct importer *im)
{
    struct truc_buffer why = {0}, path = {0};
    struct import_map *map = NULL;
    struct truc_profile *profile = NULL;
    struct draft_key key = {{0}};
    int exit_code = EXIT_DONE;
    truc_error error = import_map_load(im->map, &map, &why);
    if (error != TRUC_OK) {
        exit_code = say(&why, im->map, error);
        goto out;
    }
    if (im->profile != NULL) {
        error = truc_profile_load(im->profile, &profile, &why);
        if (error != TRUC_OK) {
            exit_code = say(&why, im->profile, error);
            goto out;
        }
        im->agency = truc_profile_config(profile)->agency;
    }
    if (!im->dry_run) {
        const struct truc_client_callbacks callbacks = {
            .context = im, .on_state = on_state, .on_receipt = on_receipt, .on_delivery = on_delivery};
        truc_profile_config(profile)->software = VERSION;
        error = truc_buffer_printf(&path, "%s/import.key", im->profile);
        error = error != TRUC_OK ? error : draft_key_open((const char *)path.data, &key);
        error = error != TRUC_OK ? error : truc_client_new(truc_profile_config(profile), &callbacks, &im->client);
        if (error != TRUC_OK) {
            exit_code = say(&why, im->profile, error);
            goto out;
        }
    }
    exit_code = run(im, map, &key);
out:
    truc_client_free(&im->client);
    truc_profile_free(&profile);
    import_map_free(&map);
    truc_wipe(&key, sizeof key);
    truc_buffer_close(&why);
    truc_buffer_close(&path);
    return exit_code;
}

static bool number_of(const char *text, uint64_t maximum, uint64_t *out)
{
    char *end;
    errno = 0;
    unsigned long long value = strtoull(text, &end, 10);
    *out = value;
    return text[0] >= '0' && text[0] <= '9' && errno == 0 && *end == '\0' && value > 0 && value <= maximum;
}

int main(int argc, char **argv)
{
    static const struct option options[] = {{"map", required_argument, NULL, 'm'},
                                            {"input", required_argument, NULL, 'i'},
                                            {"profile", required_argument, NULL, 'p'},
                                            {"agency", required_argument, NULL, 'a'},
                                            {"dry-run", no_argument, NULL, 'n'},
                                            {"rate", required_argument, NULL, 'r'},
                                            {"timeout", required_argument, NULL, 't'},
                                            {"help", no_argument, NULL, 'h'},
                                            {NULL, 0, NULL, 0}};
    struct importer im = {.timeout_s = 60};
    bool good = true;
    int option;
    while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
        switch (option) {
        case 'm':
            im.map = optarg;
            break;
        case 'i':
            im.input = optarg;
            break;
        case 'p':
            im.profile = optarg;
            break;
        case 'a':
            im.agency = optarg;
            break;
        case 'n':
            im.dry_run = true;
            break;
        case 'r':
            good &= number_of(optarg, 1000000, &im.rate);
            break;
        case 't':
            good &= number_of(optarg, 86400, &im.timeout_s);
            break;
        case 'h':
            fputs(usage, stdout);
            return EXIT_DONE;
        default: /* getopt has said what is wrong */
            good = false;
            break;
        }
    }
    bool named =
        im.profile != NULL || (im.dry_run && im.agency != NULL && truc_agency_is_valid(truc_bytes_of(im.agency)));
    if (!good || im.map == NULL || im.input == NULL || !named || (im.profile != NULL && im.agency != NULL) ||
        optind != argc) {
        fputs(usage, stderr);
        return EXIT_USAGE;
    }
    struct sigaction action = {.sa_handler = on_signal};
    (void)sigaction(SIGINT, &action, NULL);
    (void)sigaction(SIGTERM, &action, NULL);
    (void)signal(SIGPIPE, SIG_IGN);
    return start(&im);
}
