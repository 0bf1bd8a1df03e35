/* load send|recv PROFILE [name=value ...]: one agency under load, driven by tests/bench/run.
 *
 *   stdout  "ready" once the session is open (and its subscription durable)
 *   stdin   "BEGIN FROM TO": CLOCK_MONOTONIC in microseconds. Load runs from BEGIN; what happens in FROM ... TO is
 * measured stdin   recv only: "N", how many deliveries there will have been in all; ends when they are there, or after
 * DRAIN stdout  one JSON object: counts, CPU of this process in FROM ... TO, histogram of latencies
 *
 * send: size=BYTES of data, window=EVENTS not yet receipted, seal=EVENTS at most in a seal, flights=SEALS under way,
 *       rate=EVENTS a second (0: as fast as the window lets), to=AGENCY (empty: to the topic's subscribers), unsynced=1
 * recv: subscribe=TYPE, credit=EVENTS kept open (0: the library's default)
 *
 * Latencies run from the time at which an event was due, not from when there was time for it: a stall counts for every
 * event that it delayed. The due time travels in the first 8 bytes of the data. */
#include "truc/client.h"
#include "truc/log.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#define TYPE "bench.event.v1"
#define SECOND INT64_C(1000000)
#define DRAIN (30 * SECOND)
#define START_WAIT 30000 /* ms */
#define RING (1u << 16)  /* due times by ticket; above every window */
#define BURST 1024       /* submits between two steps */
#define SALTS 256        /* made in one call of the generator */

/* Log-linear: 64 steps an octave, so a bucket is at most 1.6 % wide. */
#define STEPS 64
#define BUCKETS (STEPS * 40)

struct histogram {
    uint64_t counts[BUCKETS], total;
    int64_t largest;
};

struct options {
    uint64_t size, window, seal, flights, rate, unsynced, credit;
    const char *to, *subscribe;
};

struct load {
    struct truc_client *client;
    struct options options;
    int64_t begin, from, to;
    int64_t due[RING];
    uint64_t submitted, accepted, refused, delivered, redelivered, settled;
    uint64_t in_window;
    int64_t last_us, cpu_from, cpu_to;
    struct histogram latency;
    truc_error failed;
    bool ready;
    /* the event that is being made */
    struct truc_event event;
    uint8_t *data;
    uint8_t salts[SALTS][TRUC_SALT_SIZE];
    char id[64], subject[64], source[128], prefix[17];
};

static int64_t now_us(void)
{
    struct timespec now;
    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * SECOND + now.tv_nsec / 1000;
}

static int64_t cpu_us(void)
{
    struct rusage usage;
    (void)getrusage(RUSAGE_SELF, &usage);
    return ((int64_t)usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) * SECOND + usage.ru_utime.tv_usec +
           usage.ru_stime.tv_usec;
}

static void must(truc_error error, const char *what)
{
    if (error != TRUC_OK) {
        fprintf(stderr, "load: %s: %s\n", what, truc_error_string(error));
        exit(1);
    }
}

/* ---- latencies ------------------------------------------------------------------------------------------------------
 */

static unsigned bucket_of(int64_t us)
{
    uint64_t value = us < 0 ? 0 : (uint64_t)us;
    if (value < STEPS) {
        return (unsigned)value;
    }
    unsigned shift = 63u - (unsigned)__builtin_clzll(value) - 6u;
    unsigned bucket = (shift + 1) * STEPS + (unsigned)(value >> shift) - STEPS;
    return bucket < BUCKETS ? bucket : BUCKETS - 1;
}

static uint64_t bucket_low(unsigned bucket)
{
    return bucket < STEPS ? bucket : (uint64_t)(STEPS + bucket % STEPS) << (bucket / STEPS - 1);
}

static void record(struct load *load, int64_t due, int64_t now)
{
    load->last_us = now;
    if (now < load->from || now >= load->to) {
        return;
    }
    load->in_window++;
    int64_t us = now - due;
    load->latency.counts[bucket_of(us)]++;
    load->latency.total++;
    if (us > load->latency.largest) {
        load->latency.largest = us;
    }
}

/* CPU is read at the first chance after the window's ends. */
static void watch(struct load *load, int64_t now)
{
    if (load->cpu_from < 0 && now >= load->from) {
        load->cpu_from = cpu_us();
    }
    if (load->cpu_to < 0 && now >= load->to) {
        load->cpu_to = cpu_us();
    }
}

/* ---- callbacks ------------------------------------------------------------------------------------------------------
 */

static void on_state(void *context, enum truc_client_state state, truc_error error, const char *text)
{
    struct load *load = context;
    if (state == TRUC_CLIENT_OPEN) {
        load->ready = true;
    } else if (state == TRUC_CLIENT_WAITING || state == TRUC_CLIENT_STOPPED) {
        fprintf(stderr, "load: the link was lost: %s: %s\n", truc_error_string(error), text);
    }
}

static void on_receipt(void *context, const struct truc_receipt *receipt)
{
    struct load *load = context;
    int64_t now = now_us();
    if (receipt->reason == TRUC_ACCEPTED) {
        load->accepted++;
        record(load, load->due[receipt->ticket % RING], now);
    } else if (load->refused++ == 0) {
        fprintf(stderr, "load: refused: %s: %s\n", truc_reason_name(receipt->reason), receipt->text);
    }
}

static void on_delivery(void *context, const struct truc_delivery *delivery)
{
    struct load *load = context;
    int64_t now = now_us(), due = now;
    if (delivery->event->data.size >= sizeof due) {
        memcpy(&due, delivery->event->data.data, sizeof due);
    }
    load->delivered++;
    load->redelivered += delivery->attempt > 1;
    record(load, due, now);
    truc_error error = truc_client_ack(load->client, delivery->number);
    if (error != TRUC_OK) {
        load->failed = error;
    }
}

static void on_settled(void *context, uint64_t first_number, uint32_t count)
{
    (void)first_number;
    ((struct load *)context)->settled += count;
}

/* ---- events ---------------------------------------------------------------------------------------------------------
 */

/* What changes from event to event is written over what stands there. */
enum { ATTRIBUTE_TIME = 1, ATTRIBUTE_SALT = 2 }; /* in the order of prepare_event */

static void add(struct load *load, const char *name, const char *text)
{
    must(truc_event_set_text(&load->event, name, truc_bytes_of(text)), name);
}

static void prepare_event(struct load *load, const char *agency)
{
    struct truc_event *event = &load->event;
    load->data = malloc(load->options.size);
    uint8_t run[8];
    if (load->data == NULL) {
        must(TRUC_E_NOMEM, "the event");
    }
    must(truc_random(load->data, load->options.size), "random data");
    must(truc_random(run, sizeof run), "random data");
    truc_hex(truc_bytes(run, sizeof run), load->prefix);
    (void)snprintf(load->source, sizeof load->source, "%s%s:register", TRUC_SOURCE_PREFIX, agency);
    (void)snprintf(load->id, sizeof load->id, "%s-%019d", load->prefix, 0);
    (void)snprintf(load->subject, sizeof load->subject, "case/2026/%s-%09d", load->prefix, 0);
    event->id = truc_bytes_of(load->id);
    event->source = truc_bytes_of(load->source);
    event->spec_version = truc_bytes_of("1.0");
    event->type = truc_bytes_of(TYPE);
    event->data_kind = TRUC_DATA_BINARY;
    event->data = truc_bytes(load->data, load->options.size);
    add(load, "subject", load->subject);
    must(truc_event_set_time(event, "time", 0), "time");
    must(truc_event_set_bytes(event, "salt", truc_bytes(load->salts[0], TRUC_SALT_SIZE)), "salt");
    add(load, "datacontenttype", "application/octet-stream");
    add(load, "traceparent", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01");
    if (load->options.to[0] != '\0') {
        add(load, "recipients", load->options.to);
    } else {
        add(load, "dataschema", "urn:example:schema:case-updated:3");
    }
}

/* Over the digits at the end of `text`. */
static void write_number(char *text, uint64_t number)
{
    for (char *at = text + strlen(text); number > 0; number /= 10) {
        *--at = (char)('0' + number % 10);
    }
}

/* Six attributes. Six events to a subject, a hundred subjects at a time: a dossier's steps among those of others. */
static void make_event(struct load *load, int64_t due, int64_t wall)
{
    struct truc_attribute *attributes = load->event.attributes;
    uint64_t n = load->submitted;
    if (n % SALTS == 0) {
        must(truc_random(load->salts, sizeof load->salts), "salts");
    }
    memcpy(load->data, &due, sizeof due);
    write_number(load->id, n);
    memset(load->subject + strlen(load->subject) - 9, '0', 9);
    write_number(load->subject, n / 600 * 100 + n % 100);
    attributes[ATTRIBUTE_TIME].number = wall;
    attributes[ATTRIBUTE_SALT].text.data = load->salts[n % SALTS];
}

static void submit(struct load *load, int64_t due, int64_t wall)
{
    uint64_t ticket;
    make_event(load, due, wall);
    must(truc_client_submit_event(load->client, &load->event, &ticket), "submit");
    load->due[ticket % RING] = due;
    load->submitted++;
}

static int64_t due_of(const struct load *load, uint64_t n)
{
    return load->begin + (int64_t)((double)n * 1e6 / (double)load->options.rate);
}

/* What may be handed over now. */
static uint64_t allowed(const struct load *load, int64_t now)
{
    uint64_t pending = truc_client_pending(load->client), n;
    if (load->options.rate == 0) {
        n = load->options.window > pending ? load->options.window - pending : 0;
    } else {
        uint64_t all = (uint64_t)((double)(now - load->begin) / 1e6 * (double)load->options.rate) + 1;
        n = all > load->submitted ? all - load->submitted : 0;
        n = pending + n > RING ? RING - pending : n;
    }
    return n < BURST ? n : BURST;
}

static void wait_for(struct load *load, int64_t wait_us)
{
    int most = truc_client_timeout_ms(load->client);
    struct pollfd descriptor = {.fd = truc_client_fd(load->client), .events = POLLIN};
    if (most >= 0 && (int64_t)most * 1000 < wait_us) {
        wait_us = (int64_t)most * 1000;
    }
    struct timespec timeout = {wait_us / SECOND, wait_us % SECOND * 1000};
    if (wait_us > 0 && ppoll(&descriptor, 1, &timeout, NULL) < 0 && errno != EINTR) {
        must(TRUC_E_IO, "poll");
    }
}

static void send_all(struct load *load)
{
    int64_t now;
    while ((now = now_us()) < load->to || (truc_client_pending(load->client) > 0 && now < load->to + DRAIN)) {
        struct timespec wall;
        (void)clock_gettime(CLOCK_REALTIME, &wall);
        watch(load, now);
        uint64_t n = now < load->begin || now >= load->to ? 0 : allowed(load, now);
        for (uint64_t i = 0; i < n; i++) {
            submit(load, load->options.rate == 0 ? now : due_of(load, load->submitted),
                   (int64_t)wall.tv_sec * SECOND + wall.tv_nsec / 1000);
        }
        must(truc_client_step(load->client), "step");
        now = now_us();
        int64_t next = now < load->begin        ? load->begin
                       : now >= load->to        ? now + SECOND / 10
                       : load->options.rate > 0 ? due_of(load, load->submitted)
                                                : load->to;
        if (now < load->begin || allowed(load, now) == 0 || now >= load->to) {
            wait_for(load, next - now);
        }
    }
    watch(load, now);
}

static void receive_all(struct load *load)
{
    struct pollfd input = {.fd = STDIN_FILENO, .events = POLLIN};
    uint64_t expected = UINT64_MAX;
    int64_t deadline = INT64_MAX, now;
    while ((now = now_us()) < deadline && (load->delivered < expected || load->settled < load->delivered)) {
        watch(load, now);
        must(truc_client_step(load->client), "step");
        must(load->failed, "ack");
        if (now >= load->to && deadline == INT64_MAX && poll(&input, 1, 0) > 0) {
            char line[64];
            if (fgets(line, sizeof line, stdin) == NULL) {
                return; /* the driver is gone */
            }
            expected = strtoull(line, NULL, 10);
            deadline = now + DRAIN;
        }
        wait_for(load, SECOND / 20);
    }
}

/* ---- frame ----------------------------------------------------------------------------------------------------------
 */

static bool is_ready(void *context)
{
    struct load *load = context;
    return load->ready && truc_client_pending_subscriptions(load->client) == 0;
}

static bool set_number(const char *argument, const char *name, uint64_t *out)
{
    size_t length = strlen(name);
    char *end;
    if (strncmp(argument, name, length) != 0 || argument[length] != '=') {
        return false;
    }
    *out = strtoull(argument + length + 1, &end, 10);
    return *end == '\0';
}

static bool set_text(const char *argument, const char *name, const char **out)
{
    size_t length = strlen(name);
    bool fits = strncmp(argument, name, length) == 0 && argument[length] == '=';
    if (fits) {
        *out = argument + length + 1;
    }
    return fits;
}

static bool read_options(int argc, char **argv, struct options *out)
{
    *out = (struct options){.size = 1024, .window = 1000, .to = "", .subscribe = ""};
    for (int i = 3; i < argc; i++) {
        const char *argument = argv[i];
        if (!set_number(argument, "size", &out->size) && !set_number(argument, "window", &out->window) &&
            !set_number(argument, "seal", &out->seal) && !set_number(argument, "flights", &out->flights) &&
            !set_number(argument, "rate", &out->rate) && !set_number(argument, "unsynced", &out->unsynced) &&
            !set_number(argument, "credit", &out->credit) && !set_text(argument, "to", &out->to) &&
            !set_text(argument, "subscribe", &out->subscribe)) {
            return false;
        }
    }
    return argc >= 3 && out->size >= sizeof(int64_t) && out->size <= TRUC_EVENT_MAX / 2 && out->window <= RING;
}

static void report(const struct load *load)
{
    printf("{\"submitted\": %llu, \"accepted\": %llu, \"refused\": %llu, \"delivered\": %llu, \"redelivered\": %llu, "
           "\"in_window\": %llu, \"cpu_us\": %lld, \"last_us\": %lld, \"largest_us\": %lld, \"histogram\": [",
           (unsigned long long)load->submitted, (unsigned long long)load->accepted, (unsigned long long)load->refused,
           (unsigned long long)load->delivered, (unsigned long long)load->redelivered,
           (unsigned long long)load->in_window, (long long)(load->cpu_to - load->cpu_from), (long long)load->last_us,
           (long long)load->latency.largest);
    const char *separator = "";
    for (unsigned i = 0; i < BUCKETS; i++) {
        if (load->latency.counts[i] > 0) {
            printf("%s[%llu, %llu]", separator, (unsigned long long)bucket_low(i),
                   (unsigned long long)load->latency.counts[i]);
            separator = ", ";
        }
    }
    puts("]}");
}

static void open_client(struct load *load, const char *folder, bool sends)
{
    struct truc_profile *profile = NULL;
    struct truc_buffer why = {0};
    const struct truc_client_callbacks callbacks = {.context = load,
                                                    .on_state = on_state,
                                                    .on_receipt = on_receipt,
                                                    .on_delivery = on_delivery,
                                                    .on_settled = on_settled};
    truc_error error = truc_profile_load(folder, &profile, &why);
    if (error != TRUC_OK) {
        fprintf(stderr, "%.*s", (int)why.size, why.data == NULL ? "" : (const char *)why.data);
        must(error, folder);
    }
    struct truc_client_config *config = truc_profile_config(profile);
    config->software = "truc-bench/1";
    config->max_seal_events = (uint32_t)load->options.seal;
    config->max_in_flight_seals = (uint32_t)load->options.flights;
    config->spool_unsynced = load->options.unsynced != 0;
    config->receive_events = (uint32_t)load->options.credit;
    must(truc_client_new(config, &callbacks, &load->client), "opening the client");
    if (sends) {
        prepare_event(load, config->agency);
    } else {
        must(truc_client_receive(load->client, true), "receive");
        if (load->options.subscribe[0] != '\0') {
            must(truc_client_subscribe(load->client, load->options.subscribe, NULL, false), "subscribe");
        }
    }
    must(truc_client_run(load->client, is_ready, load, START_WAIT), "connecting");
    truc_profile_free(&profile);
    truc_buffer_close(&why);
}

int main(int argc, char **argv)
{
    static struct load load = {.cpu_from = -1, .cpu_to = -1};
    char line[128], *end = line;
    bool sends = argc > 1 && strcmp(argv[1], "send") == 0;
    if (argc < 3 || (!sends && strcmp(argv[1], "recv") != 0) || !read_options(argc, argv, &load.options)) {
        fputs("usage: load send|recv PROFILE [name=value ...]\n", stderr);
        return 2;
    }
    truc_log_set_level(TRUC_LOG_ERROR);
    open_client(&load, argv[2], sends);
    puts("ready");
    (void)fflush(stdout);
    if (fgets(line, sizeof line, stdin) == NULL) {
        return 1;
    }
    load.begin = strtoll(end, &end, 10);
    load.from = strtoll(end, &end, 10);
    load.to = strtoll(end, &end, 10);
    if (sends) {
        send_all(&load);
    } else {
        receive_all(&load);
    }
    report(&load);
    truc_client_free(&load.client);
    free(load.data);
    return 0;
}
