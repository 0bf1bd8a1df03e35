/* crowd ADMINISTRATOR PREFIX COUNT: COUNT agencies PREFIX1, PREFIX2 ... are enrolled, each with keys of its own, and
 * connect and wait for deliveries that never come, all in this process.
 *
 *   stdout  "enrolled", then "ready" when all sessions are open
 *   stdin   anything, or its end: stop
 *   stdout  one JSON object: sessions open at the end, links lost meanwhile
 *
 * The sessions are libtruc's own, with its wires; what they remember is kept in memory. */
#include "adapters/client/session.h"
#include "adapters/client/wire.h"
#include "truc.pb-c.h"
#include "truc/client.h"
#include "truc/event.h"
#include "truc/log.h"

#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <time.h>
#include <unistd.h>
#include <zmq.h>

#define GROUP "crowd"
#define WAIT 120000    /* ms */
#define AT_ONCE 64     /* sessions that connect at the same time: more would only wait for each other's handshakes */
#define ROUND_MS 200   /* timers are looked at so often */
#define SOCKETS_EACH 3 /* a wire's, and its monitor's */
#define STORE_ROWS 16  /* rows that an idle session has at most */

struct row {
    enum store_table table;
    uint64_t key;
    struct truc_buffer bytes;
};

struct member {
    char code[TRUC_AGENCY_MAX + 1];
    char public_key[TRUC_TRANSPORT_KEY_TEXT], secret_key[TRUC_TRANSPORT_KEY_TEXT];
    struct truc_key *key;
    struct client_session *session;
    struct wire *wire;
    uint64_t wire_link;
    struct row rows[STORE_ROWS];
    size_t row_count;
    uint64_t lost;
};

static struct crowd {
    struct truc_profile *profile;
    struct truc_client_config *config;
    struct member *members;
    size_t count;
    void *zmq;
    int epoll;
} crowd;

static void must(truc_error error, const char *what)
{
    if (error != TRUC_OK) {
        fprintf(stderr, "crowd: %s: %s\n", what, truc_error_string(error));
        exit(1);
    }
}

static int64_t read_clock(clockid_t which)
{
    struct timespec now;
    (void)clock_gettime(which, &now);
    return (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

/* ---- enrolment ------------------------------------------------------------------------------------------------------
 */

static size_t enrolled;

static void on_receipt(void *context, const struct truc_receipt *receipt)
{
    (void)context;
    if (receipt->reason != TRUC_ACCEPTED) {
        fprintf(stderr, "crowd: enrolment refused: %s\n", truc_reason_name(receipt->reason));
        exit(1);
    }
    enrolled++;
}

static bool all_enrolled(void *context)
{
    (void)context;
    return enrolled == crowd.count;
}

static truc_error add_texts(struct truc_event *event, const struct member *member, struct truc_bytes salt)
{
    truc_error error = truc_event_set_text(event, "subject", truc_bytes_of(member->code));
    if (error == TRUC_OK) {
        error = truc_event_set_time(event, "time", read_clock(CLOCK_REALTIME));
    }
    return error == TRUC_OK ? truc_event_set_bytes(event, "salt", salt) : error;
}

static void enrol(struct truc_client *client, struct member *member)
{
    uint8_t transport[32], packed[1024], salt[TRUC_SALT_SIZE];
    char source[TRUC_AGENCY_MAX + sizeof TRUC_SOURCE_PREFIX], id[TRUC_AGENCY_MAX + 16], *groups[] = {GROUP};
    struct truc_bytes spki = truc_key_spki(member->key);
    Truc__V1__Governance act = TRUC__V1__GOVERNANCE__INIT;
    Truc__V1__EnrolAgency enrolment = TRUC__V1__ENROL_AGENCY__INIT;
    struct truc_event event = {0};
    struct truc_buffer encoded = {0};
    uint64_t ticket;
    must(truc_z85_decode(truc_bytes_of(member->public_key), transport, sizeof transport), "a transport key");
    enrolment.agency = enrolment.name = member->code;
    enrolment.groups = groups;
    enrolment.n_groups = 1;
    enrolment.transport_key = (ProtobufCBinaryData){sizeof transport, transport};
    enrolment.spki = (ProtobufCBinaryData){spki.size, (uint8_t *)spki.data};
    act.reason = "benchmark";
    act.act_case = TRUC__V1__GOVERNANCE__ACT_ENROL_AGENCY;
    act.enrol_agency = &enrolment;
    if (truc__v1__governance__get_packed_size(&act) > sizeof packed) {
        must(TRUC_E_TOO_LARGE, "an enrolment");
    }
    (void)snprintf(source, sizeof source, "%s%s", TRUC_SOURCE_PREFIX, crowd.config->agency);
    (void)snprintf(id, sizeof id, "enrol-%s", member->code);
    event.id = truc_bytes_of(id);
    event.source = truc_bytes_of(source);
    event.type = truc_bytes_of(TRUC_TYPE_GOVERNANCE);
    event.data_kind = TRUC_DATA_BINARY;
    event.data = truc_bytes(packed, truc__v1__governance__pack(&act, packed));
    must(truc_random(salt, sizeof salt), "a salt");
    must(add_texts(&event, member, truc_bytes(salt, sizeof salt)), "an enrolment");
    must(truc_event_encode(&event, &encoded), "an enrolment");
    must(truc_client_submit(client, truc_buffer_view(&encoded), &ticket), "submitting an enrolment");
    truc_buffer_close(&encoded);
}

static void enrol_all(const char *prefix)
{
    struct truc_client *client = NULL;
    const struct truc_client_callbacks callbacks = {.on_receipt = on_receipt};
    must(truc_client_new(crowd.config, &callbacks, &client), "opening the administrator's client");
    for (size_t i = 0; i < crowd.count; i++) {
        struct member *member = &crowd.members[i];
        (void)snprintf(member->code, sizeof member->code, "%s%zu", prefix, i + 1);
        must(truc_key_generate(TRUC_ALGORITHM_P256, &member->key), "a key");
        must(truc_transport_keypair(member->public_key, member->secret_key), "a transport key");
        enrol(client, member);
    }
    must(truc_client_run(client, all_enrolled, NULL, WAIT), "enrolling");
    truc_client_free(&client);
    puts("enrolled");
    (void)fflush(stdout);
}

/* ---- what a session remembers ---------------------------------------------------------------------------------------
 */

static size_t place(const struct member *m, enum store_table table, uint64_t key)
{
    size_t i = 0;
    while (i < m->row_count && (m->rows[i].table < table || (m->rows[i].table == table && m->rows[i].key < key))) {
        i++;
    }
    return i;
}

static bool is_at(const struct member *m, size_t at, enum store_table table, uint64_t key)
{
    return at < m->row_count && m->rows[at].table == table && m->rows[at].key == key;
}

static truc_error store_put(void *context, enum store_table table, uint64_t key, struct truc_bytes head,
                            struct truc_bytes tail)
{
    struct member *m = context;
    size_t at = place(m, table, key);
    if (!is_at(m, at, table, key)) {
        if (m->row_count == STORE_ROWS) {
            return TRUC_E_FULL;
        }
        memmove(&m->rows[at + 1], &m->rows[at], (m->row_count - at) * sizeof m->rows[0]);
        m->rows[at] = (struct row){.table = table, .key = key};
        m->row_count++;
    }
    truc_buffer_clear(&m->rows[at].bytes);
    truc_error error = truc_buffer_append(&m->rows[at].bytes, head.data, head.size);
    return error == TRUC_OK ? truc_buffer_append(&m->rows[at].bytes, tail.data, tail.size) : error;
}

static truc_error store_next(void *context, enum store_table table, uint64_t *key, struct truc_bytes *out)
{
    struct member *m = context;
    size_t at = place(m, table, *key);
    if (at == m->row_count || m->rows[at].table != table) {
        return TRUC_E_NOT_FOUND;
    }
    *key = m->rows[at].key;
    *out = truc_buffer_view(&m->rows[at].bytes);
    return TRUC_OK;
}

static truc_error store_get(void *context, enum store_table table, uint64_t key, struct truc_bytes *out)
{
    uint64_t found = key;
    truc_error error = store_next(context, table, &found, out);
    return error == TRUC_OK && found != key ? TRUC_E_NOT_FOUND : error;
}

static truc_error store_drop(void *context, enum store_table table, uint64_t first, uint64_t last)
{
    struct member *m = context;
    size_t at;
    while ((at = place(m, table, first)) < m->row_count && m->rows[at].table == table && m->rows[at].key <= last) {
        truc_buffer_close(&m->rows[at].bytes);
        m->row_count--;
        memmove(&m->rows[at], &m->rows[at + 1], (m->row_count - at) * sizeof m->rows[0]);
    }
    return TRUC_OK;
}

/* ---- sessions -------------------------------------------------------------------------------------------------------
 */

static void on_state(void *context, enum truc_client_state state, truc_error error, const char *text)
{
    struct member *member = context;
    if (state == TRUC_CLIENT_WAITING || state == TRUC_CLIENT_STOPPED) {
        if (member->lost++ == 0) {
            fprintf(stderr, "crowd: %s: link lost: %s: %s\n", member->code, truc_error_string(error), text);
        }
    }
}

static void start(struct member *member)
{
    const struct truc_client_callbacks callbacks = {.context = member, .on_state = on_state};
    const struct client_session_config config = {
        .agency = member->code,
        .origin = crowd.config->origin,
        .software = "truc-bench/1",
        .note_key = crowd.config->note_key,
        .signing_key = member->key,
        .endpoint_count = 1,
        .max_in_flight_seals = 4,
        .receive_events = 4096,
        .receive_bytes = 8u << 20,
        .store = {.context = member, .put = store_put, .get = store_get, .next = store_next, .drop = store_drop},
        .random = truc_random,
    };
    must(client_session_new(&config, &callbacks, &member->session), "a session");
    client_session_receive(member->session, true);
}

static void follow_link(struct member *member)
{
    const struct wire_keys keys = {crowd.config->hub_public, member->public_key, member->secret_key};
    uint64_t link = client_session_link(member->session);
    if (member->wire != NULL && member->wire_link != link) {
        client_wire_free(&member->wire, 0);
    }
    if (link != 0 && member->wire == NULL) {
        member->wire_link = link;
        must(client_wire_new(crowd.zmq, crowd.config->endpoints[0], &keys, &member->wire), "a wire");
        struct epoll_event event = {.events = EPOLLIN, .data.ptr = member};
        if (epoll_ctl(crowd.epoll, EPOLL_CTL_ADD, client_wire_fd(member->wire), &event) != 0) {
            must(TRUC_E_IO, "epoll");
        }
    }
}

/* As truc_client_step. */
static void step(struct member *member)
{
    struct client_outgoing *message;
    struct truc_bytes parts[2];
    size_t count;
    const char *why;
    do {
        client_session_clock(member->session, read_clock(CLOCK_MONOTONIC), read_clock(CLOCK_REALTIME));
        while (member->wire != NULL && client_wire_receive(member->wire, parts, &count) == TRUC_OK) {
            must(client_session_message(member->session, parts, count), "a message");
        }
        if (member->wire != NULL && member->wire_link == client_session_link(member->session)) {
            enum wire_status status = client_wire_status(member->wire, &why);
            if (status != WIRE_FINE) {
                must(client_session_link_lost(member->session, status == WIRE_REFUSED, why), "a lost link");
            }
        }
        must(client_session_work(member->session), "a session's work");
        follow_link(member);
        struct client_outbox *outbox = client_session_outbox(member->session);
        while (member->wire != NULL && (message = client_outbox_peek(outbox)) != NULL &&
               client_wire_send(member->wire, message) == TRUC_OK) {
            client_outbox_pop(outbox);
        }
    } while (member->wire != NULL && client_wire_ready(member->wire, false));
}

static size_t count_open(size_t started)
{
    size_t open = 0;
    for (size_t i = 0; i < started; i++) {
        open += client_session_state(crowd.members[i].session) == TRUC_CLIENT_OPEN;
    }
    return open;
}

static void turn(size_t started)
{
    static int64_t looked;
    struct epoll_event events[256];
    int count = epoll_wait(crowd.epoll, events, 256, ROUND_MS);
    for (int i = 0; i < count; i++) {
        if (events[i].data.ptr != NULL) {
            step(events[i].data.ptr);
        }
    }
    int64_t now = read_clock(CLOCK_MONOTONIC);
    if (now - looked >= ROUND_MS * 1000) {
        looked = now;
        for (size_t i = 0; i < started; i++) {
            if (client_session_deadline(crowd.members[i].session) <= now) {
                step(&crowd.members[i]);
            }
        }
    }
}

static void connect_all(void)
{
    int64_t deadline = read_clock(CLOCK_MONOTONIC) + INT64_C(1000) * WAIT;
    size_t started = 0, open = 0;
    while (open < crowd.count) {
        while (started < crowd.count && started - open < AT_ONCE) {
            start(&crowd.members[started]);
            step(&crowd.members[started++]);
        }
        turn(started);
        open = count_open(started);
        if (read_clock(CLOCK_MONOTONIC) > deadline) {
            fprintf(stderr, "crowd: %zu of %zu sessions open\n", open, crowd.count);
            must(TRUC_E_TIMEOUT, "connecting");
        }
    }
    puts("ready");
    (void)fflush(stdout);
}

static void stay(void)
{
    struct pollfd input = {.fd = STDIN_FILENO, .events = POLLIN};
    while (poll(&input, 1, 0) == 0) {
        turn(crowd.count);
    }
}

static void report(void)
{
    unsigned long long lost = 0;
    for (size_t i = 0; i < crowd.count; i++) {
        lost += crowd.members[i].lost;
    }
    printf("{\"open\": %zu, \"lost\": %llu}\n", count_open(crowd.count), lost);
}

static void close_all(void)
{
    for (size_t i = 0; i < crowd.count; i++) {
        struct member *member = &crowd.members[i];
        client_wire_free(&member->wire, 0);
        client_session_free(&member->session);
        for (int table = 0; table < STORE_TABLES; table++) {
            (void)store_drop(member, (enum store_table)table, 0, UINT64_MAX);
        }
        truc_key_free(&member->key);
        truc_wipe(member->secret_key, sizeof member->secret_key);
    }
    (void)zmq_ctx_term(crowd.zmq);
    (void)close(crowd.epoll);
    truc_profile_free(&crowd.profile);
    free(crowd.members);
}

int main(int argc, char **argv)
{
    if (argc != 4) {
        fputs("usage: crowd ADMINISTRATOR PREFIX COUNT\n", stderr);
        return 2;
    }
    truc_log_set_level(TRUC_LOG_ERROR);
    crowd.count = strtoul(argv[3], NULL, 10);
    crowd.members = calloc(crowd.count + 1, sizeof *crowd.members);
    crowd.zmq = zmq_ctx_new();
    crowd.epoll = epoll_create1(EPOLL_CLOEXEC);
    if (crowd.members == NULL || crowd.zmq == NULL || crowd.epoll < 0 ||
        zmq_ctx_set(crowd.zmq, ZMQ_MAX_SOCKETS, (int)(SOCKETS_EACH * crowd.count + 16)) != 0) {
        must(TRUC_E_NOMEM, "starting");
    }
    struct truc_buffer why = {0};
    truc_error error = truc_profile_load(argv[1], &crowd.profile, &why);
    fprintf(stderr, "%.*s", (int)why.size, why.data == NULL ? "" : (const char *)why.data);
    must(error, argv[1]);
    truc_buffer_close(&why);
    crowd.config = truc_profile_config(crowd.profile);
    enrol_all(argv[2]);
    /* What waits on standard input is looked at once in a turn. */
    struct epoll_event input = {.events = EPOLLIN};
    (void)epoll_ctl(crowd.epoll, EPOLL_CTL_ADD, STDIN_FILENO, &input);
    connect_all();
    stay();
    report();
    (void)fflush(stdout);
    close_all();
    return 0;
}
