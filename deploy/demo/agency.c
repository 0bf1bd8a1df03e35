#include "deploy/demo/agency.h"

#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <time.h>

#define VERSION "demo-agency/0.1"
#define STATUS_MS 100
#define ARENA (4u << 20)

static const char usage[] =
    "usage: demo-agency --role onestop|construction|land|warehouse --profile DIR --store DIR --data DIR --maps DIR\n"
    "       demo-agency --dump DIR      prints what a store holds\n"
    "Runs until SIGTERM; says how far it is on stdout.\n";

static volatile sig_atomic_t stopping;

static void on_signal(int signal_number)
{
    (void)signal_number;
    stopping = 1;
}

static int64_t clock_us(clockid_t clock)
{
    struct timespec now;
    (void)clock_gettime(clock, &now);
    return (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

/* ---- sending ----------------------------------------------------------------------------------------------------- */

truc_error demo_submit(struct demo_agency *agency, struct truc_bytes event)
{
    struct truc_event parsed;
    uint64_t ticket;
    truc_error error = truc_event_parse(event, &parsed);
    error = error != TRUC_OK ? error : demo_store_sent(agency->store, agency->role->code, &parsed);
    error = error != TRUC_OK ? error : truc_client_submit(agency->client, event, &ticket);
    if (error == TRUC_OK) {
        if (agency->counts.submitted++ == 0) {
            agency->counts.first_submit_us = clock_us(CLOCK_REALTIME);
        }
    }
    return error;
}

truc_error demo_queue(struct demo_agency *agency, const char *channel, const struct import_draft *draft,
                      const ProtobufCMessage *message, const char *json)
{
    char source[128];
    struct import_draft whole = *draft;
    truc_error error = TRUC_OK;
    (void)snprintf(source, sizeof source, TRUC_SOURCE_PREFIX "%s:%s", agency->role->code, channel);
    whole.source = truc_bytes_of(source);
    truc_buffer_clear(&agency->data);
    if (json != NULL) {
        whole.data_is_json = true;
        whole.data = truc_bytes_of(json);
    } else {
        error = import_message_pack(message, &agency->data);
        whole.data = truc_buffer_view(&agency->data);
    }
    truc_buffer_clear(&agency->event);
    error = error != TRUC_OK ? error : import_event_make(&whole, &agency->key, &agency->event);
    return error != TRUC_OK ? error : truc_body_append(&agency->queue, truc_buffer_view(&agency->event));
}

static truc_error submit_queue(struct demo_agency *agency)
{
    struct truc_bytes event;
    size_t at = 0;
    truc_error error;
    while ((error = truc_body_next(truc_buffer_view(&agency->queue), &at, &event)) == TRUC_OK) {
        error = demo_submit(agency, event);
        if (error != TRUC_OK) {
            return error;
        }
    }
    truc_buffer_clear(&agency->queue);
    return error == TRUC_E_NOT_FOUND ? TRUC_OK : error;
}

/* ---- what the client tells ----------------------------------------------------------------------------------------
 */

static void fail(struct demo_agency *agency, const char *what, truc_error error)
{
    fprintf(stderr, "demo-agency %s: %s: %s\n", agency->role->name, what, truc_error_string(error));
    agency->failure = error;
}

static uint64_t recipients_in(struct truc_bytes recipients)
{
    struct truc_bytes one;
    size_t at = 0;
    uint64_t count = 0;
    while (truc_recipients_next(recipients, &at, &one)) {
        count++;
    }
    return count == 0 ? 1 : count; /* none: a topic, with one subscriber here */
}

static void on_receipt(void *context, const struct truc_receipt *receipt)
{
    struct demo_agency *agency = context;
    struct truc_event event;
    const struct demo_receipt kept = {.reason = receipt->reason,
                                      .duplicate = receipt->duplicate,
                                      .sequence = receipt->sequence,
                                      .accepted_at_us = receipt->accepted_at_us};
    truc_error error = truc_event_parse(receipt->event, &event);
    error = error != TRUC_OK ? error : demo_store_receipted(agency->store, agency->role->code, &event, &kept);
    if (error != TRUC_OK) {
        fail(agency, "a receipt could not be kept", error);
        return;
    }
    agency->counts.receipted++;
    agency->counts.last_receipt_us = clock_us(CLOCK_REALTIME);
    if (receipt->reason != TRUC_ACCEPTED) {
        agency->counts.refused++;
    } else if (receipt->duplicate) {
        agency->counts.duplicates++;
    } else {
        agency->counts.accepted++;
        agency->counts.owed += recipients_in(event.recipients);
    }
}

/* Grows the list of acks; they go out when the store is synced. */
static truc_error ack_later(struct demo_agency *agency, uint64_t number)
{
    if (agency->ack_count == agency->ack_capacity) {
        size_t capacity = agency->ack_capacity == 0 ? 1024 : agency->ack_capacity * 2;
        uint64_t *grown = realloc(agency->acks, capacity * sizeof *grown);
        if (grown == NULL) {
            return TRUC_E_NOMEM;
        }
        agency->acks = grown;
        agency->ack_capacity = capacity;
    }
    agency->acks[agency->ack_count++] = number;
    return TRUC_OK;
}

static void on_delivery(void *context, const struct truc_delivery *delivery)
{
    struct demo_agency *agency = context;
    const struct demo_delivery kept = {.sender = delivery->sender,
                                       .number = delivery->number,
                                       .sequence = delivery->sequence,
                                       .accepted_at_us = delivery->accepted_at_us,
                                       .attempt = delivery->attempt};
    uint32_t count = 0;
    truc_error error = demo_store_got(agency->store, delivery->event, &kept, &count);
    error = error != TRUC_OK ? error : agency->role->react(agency, delivery);
    error = error != TRUC_OK ? error : ack_later(agency, delivery->number);
    if (error != TRUC_OK) {
        fail(agency, "a delivery could not be kept", error);
        return;
    }
    agency->counts.got++;
    agency->counts.again += count > 1;
    agency->counts.last_delivery_us = clock_us(CLOCK_REALTIME);
}

static void on_state(void *context, enum truc_client_state state, truc_error error, const char *said)
{
    static const char *const names[] = {[TRUC_CLIENT_IDLE] = "idle",
                                        [TRUC_CLIENT_CONNECTING] = "connecting",
                                        [TRUC_CLIENT_OPEN] = "open",
                                        [TRUC_CLIENT_WAITING] = "waiting",
                                        [TRUC_CLIENT_STOPPED] = "stopped"};
    struct demo_agency *agency = context;
    agency->state = (unsigned)state < sizeof names / sizeof names[0] ? names[state] : "unknown";
    if (state == TRUC_CLIENT_STOPPED) {
        fprintf(stderr, "demo-agency %s: the hub refused for good: %s\n", agency->role->name, said == NULL ? "" : said);
        agency->failure = error == TRUC_OK ? TRUC_E_CLOSED : error;
    }
}

/* ---- the loop -----------------------------------------------------------------------------------------------------
 */

static void say_status(const struct demo_agency *agency, const struct demo_feeds *feeds, bool done)
{
    const struct demo_counts *c = &agency->counts;
    printf("status state=%s done=%d progress=%.4f pending=%" PRIu64 " submitted=%" PRIu64 " receipted=%" PRIu64
           " accepted=%" PRIu64 " duplicates=%" PRIu64 " refused=%" PRIu64 " owed=%" PRIu64 " got=%" PRIu64
           " again=%" PRIu64 " first_submit_us=%" PRId64 " last_receipt_us=%" PRId64 " last_delivery_us=%" PRId64 "\n",
           agency->state, done, demo_feeds_progress(feeds),
           truc_client_pending(agency->client) + (agency->queue.size > 0), c->submitted, c->receipted, c->accepted,
           c->duplicates, c->refused, c->owed, c->got, c->again, c->first_submit_us, c->last_receipt_us,
           c->last_delivery_us);
    (void)fflush(stdout); /* a reader that is gone ends this process by SIGPIPE */
}

static truc_error send_acks(struct demo_agency *agency)
{
    truc_error error = TRUC_OK;
    for (size_t i = 0; i < agency->ack_count && error == TRUC_OK; i++) {
        error = truc_client_ack(agency->client, agency->acks[i]);
        if (error == TRUC_E_NOT_FOUND) {
            error = TRUC_OK; /* its lease is over: it comes again, and the client answers */
        }
    }
    agency->ack_count = 0;
    return error;
}

/* One turn: read a little, make durable, talk, make durable what was heard, answer. */
static truc_error turn(struct demo_agency *agency, struct demo_feeds *feeds, bool *done)
{
    truc_error error = submit_queue(agency);
    if (error == TRUC_OK && !*done && truc_client_pending(agency->client) < DEMO_PENDING_MAX) {
        error = demo_feeds_turn(feeds, done);
    }
    error = error != TRUC_OK ? error : demo_store_commit(agency->store);
    error = error != TRUC_OK ? error : truc_client_step(agency->client);
    error = error != TRUC_OK ? error : agency->failure;
    error = error != TRUC_OK ? error : demo_store_commit(agency->store);
    return error != TRUC_OK ? error : send_acks(agency);
}

static void wait_a_little(const struct demo_agency *agency, bool done)
{
    int timeout = truc_client_timeout_ms(agency->client);
    bool more = agency->queue.size > 0 || (!done && truc_client_pending(agency->client) < DEMO_PENDING_MAX);
    struct pollfd fd = {.fd = truc_client_fd(agency->client), .events = POLLIN};
    timeout = more ? 0 : timeout < 0 || timeout > STATUS_MS ? STATUS_MS : timeout;
    (void)poll(&fd, 1, timeout); /* interrupted or failed: the next turn sees why */
}

static truc_error loop(struct demo_agency *agency, struct demo_feeds *feeds)
{
    int64_t said_us = 0;
    bool done = false;
    truc_error error = truc_client_receive(agency->client, true);
    while (error == TRUC_OK && stopping == 0) {
        error = turn(agency, feeds, &done);
        int64_t now = clock_us(CLOCK_MONOTONIC);
        if (now - said_us >= STATUS_MS * 1000) {
            say_status(agency, feeds, done);
            said_us = now;
        }
        if (error == TRUC_OK) {
            wait_a_little(agency, done);
        }
    }
    say_status(agency, feeds, done);
    demo_feeds_report(feeds, stdout);
    if (agency->counts.units_read > 0) {
        printf("units read=%" PRIu64 " moved=%" PRIu64 " unknown=%" PRIu64 "\n", agency->counts.units_read,
               agency->counts.units_moved, agency->counts.units_unknown);
    }
    return error;
}

static void close_agency(struct demo_agency *agency)
{
    truc_client_free(&agency->client);
    demo_store_close(&agency->store);
    demo_units_free(&agency->units);
    truc_arena_free(&agency->arena);
    for (size_t i = 0; i < agency->parcel_count; i++) {
        truc_buffer_close(&agency->parcels[i].wkb);
    }
    free(agency->parcels);
    free(agency->acks);
    truc_buffer_close(&agency->queue);
    truc_buffer_close(&agency->data);
    truc_buffer_close(&agency->event);
}

static truc_error open_agency(struct demo_agency *agency, const char *profile_path, const char *store, const char *data,
                              struct truc_buffer *why)
{
    char path[4096];
    struct truc_profile *profile = NULL;
    const struct truc_client_callbacks callbacks = {
        .context = agency, .on_state = on_state, .on_receipt = on_receipt, .on_delivery = on_delivery};
    truc_error error = truc_arena_new(ARENA, &agency->arena);
    error = error != TRUC_OK ? error : demo_store_open(store, &agency->store);
    (void)snprintf(path, sizeof path, "%s/import.key", profile_path);
    error = error != TRUC_OK ? error : draft_key_open(path, &agency->key);
    error = error != TRUC_OK ? error : truc_profile_load(profile_path, &profile, why);
    if (error == TRUC_OK) {
        struct truc_client_config *config = truc_profile_config(profile);
        config->software = VERSION;
        error = strcmp(config->agency, agency->role->code) == 0 ? TRUC_OK : TRUC_E_CONFIG;
        error = error != TRUC_OK ? error : truc_client_new(config, &callbacks, &agency->client);
    }
    truc_profile_free(&profile);
    if (error == TRUC_OK) {
        truc_error found = demo_units_load(data, &agency->units);
        error = found == TRUC_E_NOT_FOUND ? TRUC_OK : found;
    }
    return error;
}

static int run(const struct demo_role *role, const char *profile, const char *store, const char *data, const char *maps)
{
    struct demo_agency agency = {.role = role, .state = "idle"};
    struct demo_feeds *feeds = NULL;
    struct truc_buffer why = {0};
    truc_error error = open_agency(&agency, profile, store, data, &why);
    error = error != TRUC_OK ? error : demo_feeds_open(&agency, data, maps, &feeds);
    if (error == TRUC_OK && strcmp(role->code, DEMO_ONESTOP) == 0) {
        error = demo_faults_send(&agency);
    }
    error = error != TRUC_OK ? error : loop(&agency, feeds);
    if (error != TRUC_OK) {
        fprintf(stderr, "demo-agency %s: %s\n%.*s", role->name, truc_error_string(error), (int)why.size,
                why.size == 0 ? "" : (const char *)why.data);
    }
    demo_feeds_close(&feeds);
    close_agency(&agency);
    truc_buffer_close(&why);
    return error == TRUC_OK ? 0 : 1;
}

static int dump(const char *path)
{
    struct demo_store *store = NULL;
    truc_error error = demo_store_open(path, &store);
    error = error != TRUC_OK ? error : demo_store_dump(store, stdout);
    demo_store_close(&store);
    if (error != TRUC_OK) {
        fprintf(stderr, "demo-agency: %s: %s\n", path, truc_error_string(error));
    }
    return error == TRUC_OK ? 0 : 1;
}

int main(int argc, char **argv)
{
    enum { ROLE, PROFILE, STORE, DATA, MAPS, DUMP, OPTIONS };
    static const struct option options[] = {{"role", required_argument, NULL, ROLE},
                                            {"profile", required_argument, NULL, PROFILE},
                                            {"store", required_argument, NULL, STORE},
                                            {"data", required_argument, NULL, DATA},
                                            {"maps", required_argument, NULL, MAPS},
                                            {"dump", required_argument, NULL, DUMP},
                                            {NULL, 0, NULL, 0}};
    const char *given[OPTIONS] = {NULL};
    int option;
    while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
        if (option < 0 || option >= OPTIONS) {
            fputs(usage, stderr);
            return 2;
        }
        given[option] = optarg;
    }
    if (given[DUMP] != NULL) {
        return dump(given[DUMP]);
    }
    const struct demo_role *role = given[ROLE] == NULL ? NULL : demo_role_named(given[ROLE]);
    if (role == NULL || given[PROFILE] == NULL || given[STORE] == NULL || given[DATA] == NULL || given[MAPS] == NULL) {
        fputs(usage, stderr);
        return 2;
    }
    struct sigaction action = {.sa_handler = on_signal};
    (void)sigaction(SIGTERM, &action, NULL);
    (void)sigaction(SIGINT, &action, NULL);
    return run(role, given[PROFILE], given[STORE], given[DATA], given[MAPS]);
}
