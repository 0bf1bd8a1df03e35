/* Load for the crash tests: an application on libtruc that writes down what it was told, so that somebody else can
 * count.
 *
 *   load send PROFILE RECORD SUBJECTS TO,TO... sync|beside
 *       hands over numbered events until SIGTERM, then waits for the receipts. sync: waits for the spool before
 * anything is sent; beside: does not, and hands over again, the same bytes, what was not durable when it was killed
 *   load receive PROFILE RECORD now|late
 *       takes deliveries until SIGTERM; acks in the callback, or after the step
 *   load dump STATE
 *       the rows of a hub's state (STORAGE.md), one a line, for comparison
 *
 * RECORD is appended to and found again by the next process of the same role, as an application's own database would
 * be. One line a fact:
 *
 *   B                 a process starts
 *   S first count     these events are about to be handed over
 *   Q first count     these are handed over again
 *   H first count     they are durable in the spool: from here on none may be lost
 *   R number sequence reason logged duplicate ticket     a receipt; written before the callback returns
 *   D number sequence attempt replay id     a delivery is handed to the application; likewise
 *   A count           the acks of this process's first `count` D lines are durable in the spool
 *   L number          a lease was lost
 *   W state text      the client's state
 *   X text            the end, and why
 *
 * Event n has the id SENDER-n. n % SUBJECTS is its subject (0: none), its place there n / SUBJECTS; the subject decides
 * who gets it: all of TO, or one of them. */
#include "truc/client.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <lmdb.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <unistd.h>

#define EXIT_USAGE 2
#define EXIT_CLIENT 3 /* the library stopped: see X */
#define WINDOW 500    /* events handed over and not receipted, before the sender waits */
#define MOST_AT_ONCE 120
#define MOST_RECIPIENTS 8
#define SHOWN_MAX 2048
#define LOOK_MS 100 /* SIGTERM is noticed after that at the latest */

static volatile sig_atomic_t stopping;

static void on_term(int number)
{
    (void)number;
    stopping = 1;
}

static _Noreturn void die(const char *what, const char *why)
{
    fprintf(stderr, "load: %s: %s\n", what, why);
    exit(1);
}

static void must(const char *what, truc_error error)
{
    if (error != TRUC_OK) {
        die(what, truc_error_string(error));
    }
}

/* ---- the record
 * ------------------------------------------------------------------------------------------------------ */

struct range {
    uint64_t first, count;
};

struct record {
    int fd;
    bool unsynced;
    uint64_t next;      /* number after the last one that an S line names */
    struct range *open; /* of S lines without an H line, oldest first */
    size_t open_count, open_room;
};

static void record_intend(struct record *record, struct range range)
{
    if (record->open_count == record->open_room) {
        size_t room = record->open_room == 0 ? 64 : record->open_room * 2;
        struct range *grown = reallocarray(record->open, room, sizeof *grown);
        if (grown == NULL) {
            die("record", "out of memory");
        }
        record->open = grown;
        record->open_room = room;
    }
    record->open[record->open_count++] = range;
}

/* The oldest `count` of them are durable. */
static void record_confirm(struct record *record, size_t count)
{
    record->open_count -= count;
    if (count > 0) {
        memmove(record->open, record->open + count, record->open_count * sizeof *record->open);
    }
}

/* A process that was killed may have left half a line. -> where the whole ones end */
static off_t read_record(struct record *record, FILE *file)
{
    char *line = NULL;
    size_t room = 0;
    off_t whole = 0;
    ssize_t got;
    while ((got = getline(&line, &room, file)) > 0 && line[got - 1] == '\n') {
        uint64_t first, count;
        if (sscanf(line, "S %" SCNu64 " %" SCNu64, &first, &count) == 2) {
            record->next = first + count;
            record_intend(record, (struct range){first, count});
        } else if (sscanf(line, "H %" SCNu64 " %" SCNu64, &first, &count) == 2) {
            record_confirm(record, record->open_count > 0 && record->open[0].first == first ? 1 : 0);
        }
        whole += got;
    }
    free(line);
    return whole;
}

static void record_open(struct record *record, const char *path)
{
    record->fd = open(path, O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    FILE *file = record->fd < 0 ? NULL : fopen(path, "re");
    if (file == NULL || ftruncate(record->fd, read_record(record, file)) != 0) {
        die(path, strerror(errno));
    }
    fclose(file);
}

/* In one write: a kill afterwards does not undo it. */
__attribute__((format(printf, 2, 3))) static void note(struct record *record, const char *format, ...)
{
    char line[512];
    va_list arguments;
    va_start(arguments, format);
    int size = vsnprintf(line, sizeof line - 1, format, arguments);
    va_end(arguments);
    if (size < 0 || (size_t)size >= sizeof line - 1) {
        die("record", "a line is too long");
    }
    line[size++] = '\n';
    if (write(record->fd, line, (size_t)size) != size) {
        die("record", strerror(errno));
    }
    record->unsynced = true;
}

static void record_sync(struct record *record)
{
    if (record->unsynced && fdatasync(record->fd) != 0) {
        die("record", strerror(errno));
    }
    record->unsynced = false;
}

/* ---- an application
 * -------------------------------------------------------------------------------------------------- */

struct application {
    struct truc_profile *profile;
    struct truc_client *client;
    struct record record;
    const char *agency;
    uint64_t subjects;
    const char *recipients[MOST_RECIPIENTS];
    char *all_recipients;
    size_t recipient_count;
    bool late;       /* acks after the step */
    bool beside;     /* sends without waiting for the spool */
    bool confirming; /* what `confirmed` counts is durable when the spool has come to `mark` */
    uint64_t mark;
    uint64_t confirmed;
    uint64_t taken; /* D lines of this process */
    uint64_t *owed; /* acks that wait for the end of the step */
    size_t owed_count, owed_room;
};

static void on_state(void *context, enum truc_client_state state, truc_error error, const char *text)
{
    static const char *const names[] = {"IDLE", "CONNECTING", "OPEN", "WAITING", "STOPPED"};
    struct application *application = context;
    note(&application->record, "W %s %s: %.300s", names[state], truc_error_string(error), text);
}

static void on_receipt(void *context, const struct truc_receipt *receipt)
{
    struct application *application = context;
    struct truc_event event;
    uint64_t number;
    char id[TRUC_ID_MAX + 1];
    must("a receipt's event", truc_event_parse(receipt->event, &event));
    (void)snprintf(id, sizeof id, "%.*s", (int)event.id.size, (const char *)event.id.data);
    const char *dash = strrchr(id, '-');
    if (dash == NULL || sscanf(dash, "-%" SCNu64, &number) != 1) {
        die("a receipt's event", "is not ours");
    }
    note(&application->record, "R %" PRIu64 " %" PRIu64 " %d %d %d %" PRIu64, number, receipt->sequence,
         (int)receipt->reason, receipt->logged, receipt->duplicate, receipt->ticket);
}

static void owe_ack(struct application *application, uint64_t number)
{
    if (application->owed_count == application->owed_room) {
        size_t room = application->owed_room == 0 ? 1024 : application->owed_room * 2;
        uint64_t *grown = reallocarray(application->owed, room, sizeof *grown);
        if (grown == NULL) {
            die("acks", "out of memory");
        }
        application->owed = grown;
        application->owed_room = room;
    }
    application->owed[application->owed_count++] = number;
}

static void on_delivery(void *context, const struct truc_delivery *delivery)
{
    struct application *application = context;
    note(&application->record, "D %" PRIu64 " %" PRIu64 " %" PRIu32 " %d %.*s", delivery->number, delivery->sequence,
         delivery->attempt, delivery->replay, (int)delivery->event->id.size, (const char *)delivery->event->id.data);
    application->taken++;
    if (application->late) {
        owe_ack(application, delivery->number);
    } else {
        must("ack", truc_client_ack(application->client, delivery->number));
    }
}

static void on_stale(void *context, uint64_t number)
{
    note(&((struct application *)context)->record, "L %" PRIu64, number);
}

static void application_open(struct application *application, const char *profile, const char *record)
{
    const struct truc_client_callbacks callbacks = {.context = application,
                                                    .on_state = on_state,
                                                    .on_receipt = on_receipt,
                                                    .on_delivery = on_delivery,
                                                    .on_stale = on_stale};
    struct truc_buffer why = {0};
    if (truc_profile_load(profile, &application->profile, &why) != TRUC_OK) {
        die(profile, why.size > 0 ? (const char *)why.data : "cannot be read");
    }
    truc_buffer_close(&why);
    struct truc_client_config *config = truc_profile_config(application->profile);
    config->software = "crash-load/1";
    application->agency = config->agency;
    record_open(&application->record, record);
    note(&application->record, "B");
    must("client", truc_client_new(config, &callbacks, &application->client));
}

static int application_close(struct application *application, truc_error error)
{
    note(&application->record, "X %s", truc_error_string(error));
    truc_client_free(&application->client);
    record_sync(&application->record);
    (void)close(application->record.fd);
    truc_profile_free(&application->profile);
    free(application->owed);
    free(application->record.open);
    free(application->all_recipients);
    return error == TRUC_OK ? 0 : EXIT_CLIENT;
}

/* ---- send
 * ------------------------------------------------------------------------------------------------------------ */

/* A number made of another one, evenly spread (splitmix64): the same on every run, so that nothing hangs on a seed. */
static uint64_t scatter(uint64_t n)
{
    n += UINT64_C(0x9e3779b97f4a7c15);
    n = (n ^ n >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    n = (n ^ n >> 27) * UINT64_C(0x94d049bb133111eb);
    return n ^ n >> 31;
}

/* Mostly small, some in the kilobytes, a few over several pages. */
static size_t payload_size(uint64_t number)
{
    uint64_t dice = scatter(number) >> 8;
    return dice % 500 == 0 ? 60000 : dice % 20 == 0 ? 4000 : dice % 600;
}

static struct truc_bytes recipients_of(const struct application *application, uint64_t subject)
{
    size_t who = subject % (application->recipient_count + 1);
    return truc_bytes_of(who == 0 ? application->all_recipients : application->recipients[who - 1]);
}

static void submit(struct application *application, uint64_t number)
{
    static struct truc_event event;
    static char payload[60000];
    char id[64], source[64], text[64];
    uint8_t salt[TRUC_SALT_SIZE];
    struct truc_buffer bytes = {0};
    uint64_t ticket, subject = number % application->subjects;
    memset(&event, 0, sizeof event);
    memset(payload, 'a' + (int)(number % 26), sizeof payload);
    (void)snprintf(id, sizeof id, "%s-%" PRIu64, application->agency, number);
    (void)snprintf(source, sizeof source, "urn:truc:%s:load", application->agency);
    (void)snprintf(text, sizeof text, "%s-%" PRIu64, application->agency, subject);
    for (size_t i = 0; i < sizeof salt; i++) { /* the same bytes whenever the event is made again */
        salt[i] = (uint8_t)(scatter(number ^ (uint64_t)i << 56) >> 8);
    }
    event.id = truc_bytes_of(id);
    event.source = truc_bytes_of(source);
    event.type = truc_bytes_of("crash.load.v1");
    event.data_kind = TRUC_DATA_BINARY;
    event.data = truc_bytes(payload, payload_size(number));
    if (subject != 0) {
        must("subject", truc_event_set_text(&event, "subject", truc_bytes_of(text)));
    }
    must("recipients", truc_event_set_text(&event, "recipients", recipients_of(application, subject)));
    must("salt", truc_event_set_bytes(&event, "salt", truc_bytes(salt, sizeof salt)));
    must("encode", truc_event_encode(&event, &bytes));
    must("submit", truc_client_submit(application->client, truc_buffer_view(&bytes), &ticket));
    truc_buffer_close(&bytes);
}

static void confirm(struct application *application, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        const struct range *range = &application->record.open[i];
        note(&application->record, "H %" PRIu64 " %" PRIu64, range->first, range->count);
    }
    record_confirm(&application->record, count);
}

static void hand_over(struct application *application)
{
    uint64_t first = application->record.next, count = 1 + scatter(~first) % MOST_AT_ONCE;
    note(&application->record, "S %" PRIu64 " %" PRIu64, first, count);
    record_sync(&application->record);
    for (uint64_t i = 0; i < count; i++) {
        submit(application, first + i);
    }
    application->record.next = first + count;
    record_intend(&application->record, (struct range){first, count});
    if (!application->beside) {
        must("sync", truc_client_sync(application->client));
        confirm(application, application->record.open_count);
    }
}

/* What an earlier process left without knowing whether it is durable. */
static void hand_over_again(struct application *application)
{
    for (size_t i = 0; i < application->record.open_count; i++) {
        struct range range = application->record.open[i];
        note(&application->record, "Q %" PRIu64 " %" PRIu64, range.first, range.count);
        for (uint64_t n = 0; n < range.count; n++) {
            submit(application, range.first + n);
        }
    }
    if (!application->beside) {
        must("sync", truc_client_sync(application->client));
        confirm(application, application->record.open_count);
    }
}

/* Whether what it was asked for last is durable by now: *confirmed. If so, or at first, `count` is asked for. */
static bool is_durable(struct application *application, uint64_t count, uint64_t *confirmed)
{
    bool durable = application->confirming && truc_client_synced(application->client) >= application->mark;
    *confirmed = application->confirmed;
    if (durable || !application->confirming) {
        application->confirming = true;
        application->mark = truc_client_mark(application->client);
        application->confirmed = count;
    }
    return durable;
}

/* How many of the open ranges lie below a number. */
static size_t count_below(const struct record *record, uint64_t number)
{
    size_t count = 0;
    while (count < record->open_count && record->open[count].first < number) {
        count++;
    }
    return count;
}

static bool may_go_on(void *context)
{
    struct truc_client *client = ((struct application *)context)->client;
    return truc_client_pending(client) < (stopping ? 1 : WINDOW);
}

static int run_send(char **arguments)
{
    struct application application = {0};
    char *list = strdup(arguments[3]), *rest = list, *one;
    if (list == NULL || (application.all_recipients = strdup(arguments[3])) == NULL) {
        die("arguments", "out of memory");
    }
    application.subjects = strtoull(arguments[2], NULL, 10);
    while ((one = strsep(&rest, ",")) != NULL && application.recipient_count < MOST_RECIPIENTS) {
        application.recipients[application.recipient_count++] = one;
    }
    if (application.subjects < 2) {
        die("SUBJECTS", "should be 2 at least");
    }
    application.beside = strcmp(arguments[4], "beside") == 0;
    application_open(&application, arguments[0], arguments[1]);
    hand_over_again(&application);
    truc_error error = TRUC_OK;
    while (error == TRUC_OK && !(stopping && truc_client_pending(application.client) == 0)) {
        if (!stopping && truc_client_pending(application.client) < WINDOW) {
            hand_over(&application);
        }
        error = truc_client_run(application.client, may_go_on, &application, LOOK_MS);
        error = error == TRUC_E_TIMEOUT ? TRUC_OK : error;
        uint64_t durable;
        if (application.beside && is_durable(&application, application.record.next, &durable)) {
            confirm(&application, count_below(&application.record, durable));
        }
        record_sync(&application.record);
    }
    int status = application_close(&application, error);
    free(list);
    return status;
}

/* ---- receive
 * --------------------------------------------------------------------------------------------------------- */

static truc_error receive_once(struct application *application)
{
    bool was_late = application->owed_count > 0;
    for (size_t i = 0; i < application->owed_count; i++) {
        truc_error error = truc_client_ack(application->client, application->owed[i]);
        if (error == TRUC_E_NOT_FOUND) {
            /* Nothing steps between its delivery and here: a lease cannot have been lost without on_stale. */
            die("ack", "a delivery is not outstanding");
        }
        must("ack", error);
    }
    application->owed_count = 0;
    if (was_late) {
        must("sync", truc_client_sync(application->client));
        note(&application->record, "A %" PRIu64, application->taken);
    }
    truc_error error = truc_client_step(application->client);
    uint64_t durable;
    if (error == TRUC_OK && !application->late && is_durable(application, application->taken, &durable)) {
        note(&application->record, "A %" PRIu64, durable);
    }
    record_sync(&application->record);
    return error;
}

static int run_receive(char **arguments)
{
    struct application application = {.late = strcmp(arguments[2], "late") == 0};
    if (!application.late && strcmp(arguments[2], "now") != 0) {
        die(arguments[2], "should be now or late");
    }
    application_open(&application, arguments[0], arguments[1]);
    truc_error error = truc_client_receive(application.client, true);
    while (error == TRUC_OK && !(stopping && application.owed_count == 0)) {
        int wait = application.owed_count > 0 ? 0 : truc_client_timeout_ms(application.client);
        struct pollfd descriptor = {.fd = truc_client_fd(application.client), .events = POLLIN};
        (void)poll(&descriptor, 1, wait < LOOK_MS ? wait : LOOK_MS);
        error = receive_once(&application);
    }
    return application_close(&application, error);
}

/* ---- dump
 * ------------------------------------------------------------------------------------------------------------ */

static void lmdb(const char *what, int code)
{
    if (code != 0) {
        die(what, mdb_strerror(code));
    }
}

/* Each row's key and value in hex; of a long value its hash. */
static void print_row(struct truc_bytes key, struct truc_bytes value)
{
    char left[2 * SHOWN_MAX + 1], right[2 * SHOWN_MAX + 1];
    struct truc_hash hash;
    truc_hex(key, left);
    if (value.size > SHOWN_MAX) {
        truc_sha256(&hash, value);
        truc_hex(truc_bytes(hash.bytes, sizeof hash.bytes), right);
        printf("%s %zu:%s\n", left, value.size, right);
    } else {
        truc_hex(value, right);
        printf("%s %s\n", left, right);
    }
}

static int run_dump(char **arguments)
{
    MDB_env *environment;
    MDB_txn *transaction;
    MDB_cursor *cursor;
    MDB_dbi table;
    MDB_val key, value;
    int code;
    lmdb("environment", mdb_env_create(&environment));
    lmdb("environment", mdb_env_set_maxdbs(environment, 4));
    lmdb(arguments[0], mdb_env_open(environment, arguments[0], MDB_NOSUBDIR | MDB_RDONLY | MDB_NOTLS, 0600));
    lmdb("read", mdb_txn_begin(environment, NULL, MDB_RDONLY, &transaction));
    lmdb("map", mdb_dbi_open(transaction, "map", 0, &table));
    lmdb("map", mdb_cursor_open(transaction, table, &cursor));
    while ((code = mdb_cursor_get(cursor, &key, &value, MDB_NEXT)) == 0) {
        if (value.mv_size < 8) { /* each value ends in its checksum: hub/STORAGE.md, State */
            code = MDB_CORRUPTED;
            break;
        }
        print_row(truc_bytes(key.mv_data, key.mv_size), truc_bytes(value.mv_data, value.mv_size - 8));
    }
    if (code != MDB_NOTFOUND) {
        die("read", mdb_strerror(code));
    }
    mdb_cursor_close(cursor);
    mdb_txn_abort(transaction);
    mdb_env_close(environment);
    return fflush(stdout) == 0 ? 0 : 1;
}

/* ---- main
 * ------------------------------------------------------------------------------------------------------------ */

static const struct role {
    const char *name;
    int arguments;
    int (*run)(char **arguments);
    const char *usage;
} roles[] = {
    {"send", 5, run_send, "PROFILE RECORD SUBJECTS TO,TO... sync|beside"},
    {"receive", 3, run_receive, "PROFILE RECORD now|late"},
    {"dump", 1, run_dump, "STATE"},
};

int main(int argc, char **argv)
{
    struct sigaction action = {.sa_handler = on_term};
    if (sigaction(SIGTERM, &action, NULL) != 0 || sigaction(SIGINT, &action, NULL) != 0) {
        die("signals", strerror(errno));
    }
    for (size_t i = 0; i < sizeof roles / sizeof roles[0]; i++) {
        if (argc >= 2 && strcmp(argv[1], roles[i].name) == 0 && argc == 2 + roles[i].arguments) {
            return roles[i].run(argv + 2);
        }
    }
    for (size_t i = 0; i < sizeof roles / sizeof roles[0]; i++) {
        fprintf(stderr, "usage: load %s %s\n", roles[i].name, roles[i].usage);
    }
    return EXIT_USAGE;
}
