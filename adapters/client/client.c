/* truc/client.h: session, spool and wire put together. The order within a step is the point of this file:
 *
 *   see what the spool has made durable -> read and handle messages -> seal, ack, credit -> give the spool's thread
 * what was written -> send
 *
 * Nothing here waits for the disk. What must not leave before it is durable is kept back by the session, mark by mark
 * (hub/decisions/0012-spool-sync-beside-send.md). */
#include "adapters/client/session.h"
#include "adapters/client/spool.h"
#include "adapters/client/wire.h"
#include "truc/log.h"

#include <poll.h>
#include <sys/epoll.h>
#include <unistd.h>
#include <zmq.h>

#define DEFAULT_SPOOL (UINT64_C(1) << 30)
#define DEFAULT_SEALS 4u
#define MOST_SEALS 64u
#define DEFAULT_EVENTS 4096u
#define MOST_EVENTS 65536u
#define DEFAULT_BYTES (UINT64_C(8) << 20)
#define MOST_BYTES (UINT64_C(64) << 20)
#define MESSAGES_PER_STEP 256
#define BYTES_PER_STEP (8u << 20)
#define DIRTY_MAX (32u << 20)        /* bytes in memory that are not durable: then the disk is waited for */
#define GATHER_AWAITED INT64_C(5000) /* microseconds; an ack, or the application, waits for the disk */
#define GATHER_AWAITED_MOST INT64_C(50000)
#define GATHER INT64_C(1000000)   /* nobody waits */
#define EVENT_AGE INT64_C(100000) /* an event goes to the hub all the same, and is mostly receipted by then */
#define BYE_LINGER_MS 100
#define TRANSPORT_KEY 40 /* characters of Z85 */

struct truc_client {
    struct client_session *session;
    struct spool *spool;
    void *zmq;
    struct wire *wire;
    uint64_t wire_link; /* of the session's links, the one that `wire` is */
    bool stepping, more;
    bool unsynced;
    uint64_t urgent_mark; /* what is written up to here is not left lying, whatever the application gave up */
    int epoll;            /* of the spool's descriptor and the wire's: one for the client's life */
    truc_error failed;
    int64_t (*clock_us)(void *context);
    void *clock_context;
    char **endpoints;
    size_t endpoint_count;
    char *hub_public, *own_public, *own_secret;
};

static int64_t read_clock(clockid_t which)
{
    struct timespec now;
    if (clock_gettime(which, &now) != 0) {
        abort(); /* neither clock can be missing on Linux */
    }
    return (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

static int64_t tick(struct truc_client *client)
{
    int64_t now, wall;
    if (client->clock_us != NULL) {
        now = wall = client->clock_us(client->clock_context);
    } else {
        now = read_clock(CLOCK_MONOTONIC);
        wall = read_clock(CLOCK_REALTIME);
    }
    client_session_clock(client->session, now, wall);
    return now;
}

static truc_error copy_text(const char *text, char **out)
{
    if (text == NULL) {
        return TRUC_E_INVALID;
    }
    *out = strdup(text);
    return *out == NULL ? TRUC_E_NOMEM : TRUC_OK;
}

static truc_error copy_transport_key(const char *text, char **out)
{
    uint8_t key[32];
    truc_error error = copy_text(text, out);
    if (error == TRUC_OK &&
        (strlen(text) != TRANSPORT_KEY || truc_z85_decode(truc_bytes_of(text), key, 32) != TRUC_OK)) {
        error = TRUC_E_INVALID;
    }
    truc_wipe(key, sizeof key);
    return error;
}

static truc_error copy_transport(struct truc_client *client, const struct truc_client_config *config)
{
    truc_error error = copy_transport_key(config->hub_public, &client->hub_public);
    if (error == TRUC_OK) {
        error = copy_transport_key(config->transport_public, &client->own_public);
    }
    if (error == TRUC_OK) {
        error = copy_transport_key(config->transport_secret, &client->own_secret);
    }
    if (error != TRUC_OK) {
        return error;
    }
    client->endpoints = calloc(config->endpoint_count + 1, sizeof *client->endpoints);
    if (client->endpoints == NULL) {
        return TRUC_E_NOMEM;
    }
    for (size_t i = 0; i < config->endpoint_count && error == TRUC_OK; i++) {
        error = copy_text(config->endpoints[i], &client->endpoints[i]);
        client->endpoint_count++;
    }
    return error;
}

static uint32_t choose(uint32_t wanted, uint32_t fallback, uint32_t most)
{
    return wanted == 0 ? fallback : wanted > most ? most : wanted;
}

static truc_error make_session(struct truc_client *client, const struct truc_client_config *config,
                               const struct truc_client_callbacks *callbacks)
{
    uint64_t bytes = config->receive_bytes == 0 ? DEFAULT_BYTES : config->receive_bytes;
    const struct client_session_config session = {
        .agency = config->agency,
        .origin = config->origin,
        .software = config->software,
        .note_key = config->note_key,
        .signing_key = config->signing_key,
        .endpoint_count = config->endpoint_count,
        .max_in_flight_seals = choose(config->max_in_flight_seals, DEFAULT_SEALS, MOST_SEALS),
        .max_seal_events = config->max_seal_events,
        .receive_events = choose(config->receive_events, DEFAULT_EVENTS, MOST_EVENTS),
        .receive_bytes = bytes > MOST_BYTES ? MOST_BYTES : bytes,
        .store = client_spool_store(client->spool),
        .random = truc_random,
    };
    truc_error error = client_session_new(&session, callbacks, &client->session);
    if (error == TRUC_OK) {
        error = client_spool_commit(client->spool);
    }
    if (error == TRUC_OK) {
        client_session_synced(client->session, client_spool_synced(client->spool), false);
    }
    return error;
}

static truc_error watch(struct truc_client *client, int fd)
{
    struct epoll_event event = {.events = EPOLLIN, .data.fd = fd};
    return epoll_ctl(client->epoll, EPOLL_CTL_ADD, fd, &event) == 0 ? TRUC_OK : TRUC_E_IO;
}

truc_error truc_client_new(const struct truc_client_config *config, const struct truc_client_callbacks *callbacks,
                           struct truc_client **out)
{
    *out = NULL;
    if (config->agency == NULL || config->origin == NULL || config->note_key == NULL || config->spool == NULL ||
        config->signing_key == NULL || config->endpoint_count == 0) {
        return TRUC_E_INVALID;
    }
    struct truc_client *client = calloc(1, sizeof *client);
    if (client == NULL) {
        return TRUC_E_NOMEM;
    }
    client->clock_us = config->clock_us;
    client->clock_context = config->clock_context;
    client->unsynced = config->spool_unsynced;
    client->epoll = epoll_create1(EPOLL_CLOEXEC);
    client->zmq = zmq_ctx_new();
    truc_error error = client->zmq == NULL ? TRUC_E_NOMEM
                       : client->epoll < 0 ? TRUC_E_IO
                                           : copy_transport(client, config);
    if (error == TRUC_OK) {
        error = client_spool_open(config->spool, config->spool_bytes == 0 ? DEFAULT_SPOOL : config->spool_bytes,
                                  &client->spool);
    }
    if (error == TRUC_OK) {
        error = watch(client, client_spool_fd(client->spool));
    }
    if (error == TRUC_OK) {
        error = make_session(client, config, callbacks);
    }
    if (error != TRUC_OK) {
        truc_client_free(&client);
        return error;
    }
    (void)tick(client);
    *out = client;
    return TRUC_OK;
}

static truc_error send_outbox(struct truc_client *client)
{
    struct client_outbox *outbox = client_session_outbox(client->session);
    struct client_outgoing *message;
    while (client->wire != NULL && (message = client_outbox_peek(outbox)) != NULL) {
        truc_error error = client_wire_send(client->wire, message);
        if (error == TRUC_E_AGAIN) {
            return TRUC_OK; /* the descriptor tells when there is room */
        }
        if (error == TRUC_E_IO) {
            return client_session_link_lost(client->session, false, "the socket failed");
        }
        if (error != TRUC_OK) {
            return error;
        }
        client_outbox_pop(outbox);
    }
    return TRUC_OK;
}

/* Brings the wire in line with the link that the session wants. */
static truc_error follow_link(struct truc_client *client)
{
    uint64_t link = client_session_link(client->session);
    if (client->wire != NULL && client->wire_link != link) {
        client_wire_free(&client->wire, 0);
    }
    if (link == 0 || client->wire != NULL) {
        return TRUC_OK;
    }
    const struct wire_keys keys = {client->hub_public, client->own_public, client->own_secret};
    const char *endpoint = client->endpoints[client_session_endpoint(client->session)];
    client->wire_link = link;
    truc_error error = client_wire_new(client->zmq, endpoint, &keys, &client->wire);
    if (error == TRUC_OK) {
        return watch(client, client_wire_fd(client->wire)); /* goes with the wire: nobody else has this descriptor */
    }
    return error == TRUC_E_INVALID || error == TRUC_E_IO
               ? client_session_link_lost(client->session, false, "the endpoint or a transport key is not valid")
               : error;
}

static truc_error read_wire(struct truc_client *client)
{
    size_t bytes = 0;
    client->more = false;
    for (int i = 0; client->wire != NULL && client->wire_link == client_session_link(client->session); i++) {
        if (i == MESSAGES_PER_STEP || bytes > BYTES_PER_STEP) {
            client->more = true; /* what is acked and receipted so far shall not wait for the rest */
            return TRUC_OK;
        }
        struct truc_bytes parts[2];
        size_t count;
        truc_error error = client_wire_receive(client->wire, parts, &count);
        if (error == TRUC_E_AGAIN) {
            break;
        }
        if (error != TRUC_OK) {
            return client_session_link_lost(client->session, false, "the socket failed");
        }
        bytes += parts[0].size + (count > 1 ? parts[1].size : 0);
        error = client_session_message(client->session, parts, count);
        if (error != TRUC_OK) {
            return error;
        }
    }
    return TRUC_OK;
}

/* A BYE that came before the connection went is more than the loss itself: messages are read first. */
static truc_error read_status(struct truc_client *client)
{
    const char *why;
    if (client->wire == NULL || client->more || client->wire_link != client_session_link(client->session)) {
        return TRUC_OK;
    }
    enum wire_status status = client_wire_status(client->wire, &why);
    return status == WIRE_FINE ? TRUC_OK : client_session_link_lost(client->session, status == WIRE_REFUSED, why);
}

/* How long writes gather before they go to the disk. */
static struct spool_patience patience(const struct truc_client *client)
{
    const bool awaited =
        client_spool_synced(client->spool) < client->urgent_mark || client_spool_dirty(client->spool) > DIRTY_MAX / 4;
    const int64_t disk = 2 * client_spool_took_us(client->spool); /* a slow or busy one gets fewer and larger commits */
    const int64_t soon = disk < GATHER_AWAITED        ? GATHER_AWAITED
                         : disk < GATHER_AWAITED_MOST ? disk
                                                      : GATHER_AWAITED_MOST;
    return (struct spool_patience){.gather_us = awaited ? soon : GATHER,
                                   .event_us = client->unsynced ? INT64_MAX : EVENT_AGE};
}

/* Sees what is durable by now and gives the thread what it may take. */
static truc_error flush(struct truc_client *client, int64_t now)
{
    if (client_session_take_urgent(client->session)) {
        client->urgent_mark = client_session_mark(client->session);
    }
    truc_error error = client_spool_flush(client->spool, now, patience(client));
    client_session_synced(client->session, client_spool_synced(client->spool), client_spool_is_full(client->spool));
    return error;
}

static truc_error fail(struct truc_client *client, truc_error error)
{
    client->failed = error;
    truc_log(TRUC_LOG_ERROR, "client_failed", "why=\"%s\"", truc_error_string(error));
    client_wire_free(&client->wire, 0);
    return error;
}

static truc_error step(struct truc_client *client)
{
    int64_t now = tick(client);
    truc_error error = flush(client, now);
    if (error == TRUC_OK) {
        error = read_wire(client);
    }
    if (error == TRUC_OK) {
        error = read_status(client);
    }
    if (error == TRUC_OK) {
        error = client_session_work(client->session);
    }
    if (error == TRUC_OK) {
        error = flush(client, now);
    }
    if (error == TRUC_OK) {
        error = follow_link(client);
    }
    if (error == TRUC_OK) {
        error = send_outbox(client);
    }
    if (error == TRUC_OK && client->wire != NULL) {
        bool waiting = client_outbox_peek(client_session_outbox(client->session)) != NULL;
        client->more = client->more || client_wire_ready(client->wire, waiting);
    }
    return error;
}

truc_error truc_client_step(struct truc_client *client)
{
    if (client->stepping) {
        return TRUC_E_INVALID; /* from inside a callback */
    }
    if (client->failed != TRUC_OK) {
        return client->failed;
    }
    client->stepping = true;
    truc_error error = step(client);
    client->stepping = false;
    if (error != TRUC_OK) {
        return fail(client, error);
    }
    return client_session_error(client->session);
}

int truc_client_fd(const struct truc_client *client)
{
    return client->epoll;
}

int truc_client_timeout_ms(const struct truc_client *client)
{
    if (client->more) {
        return 0;
    }
    int64_t deadline = client_session_deadline(client->session);
    int64_t now = client->clock_us != NULL ? client->clock_us(client->clock_context) : read_clock(CLOCK_MONOTONIC);
    int64_t disk = client_spool_deadline(client->spool, patience(client));
    deadline = disk < deadline ? disk : deadline;
    if (deadline <= now) {
        return 0;
    }
    int64_t ms = (deadline - now + 999) / 1000;
    return ms > 60000 ? 60000 : (int)ms;
}

truc_error truc_client_run(struct truc_client *client, bool (*done)(void *context), void *context, int timeout_ms)
{
    const int64_t begin = read_clock(CLOCK_MONOTONIC);
    for (;;) {
        truc_error error = truc_client_step(client);
        if (error != TRUC_OK) {
            return error;
        }
        if (done != NULL && done(context)) {
            return TRUC_OK;
        }
        int wait = truc_client_timeout_ms(client);
        if (timeout_ms >= 0) {
            int64_t left = timeout_ms - (read_clock(CLOCK_MONOTONIC) - begin) / 1000;
            if (left <= 0) {
                return TRUC_E_TIMEOUT;
            }
            wait = left < wait ? (int)left : wait;
        }
        struct pollfd descriptor = {.fd = truc_client_fd(client), .events = POLLIN};
        (void)poll(&descriptor, 1, wait); /* whatever it says, the step looks for itself */
    }
}

/* Not inside a callback: the session may be between two writes that belong together. */
static truc_error submitted(struct truc_client *client)
{
    if (client->stepping || client_spool_dirty(client->spool) <= DIRTY_MAX) {
        return TRUC_OK;
    }
    truc_error error = truc_client_sync(client);
    return error == TRUC_E_FULL ? TRUC_OK : error; /* this one was taken; the next one is not */
}

truc_error truc_client_submit(struct truc_client *client, struct truc_bytes event, uint64_t *ticket)
{
    if (client->failed != TRUC_OK) {
        return client->failed;
    }
    truc_error error = client_session_submit(client->session, event, STORE_EVENT_OURS, ticket);
    return error == TRUC_OK ? submitted(client) : error;
}

truc_error truc_client_submit_event(struct truc_client *client, const struct truc_event *event, uint64_t *ticket)
{
    if (client->failed != TRUC_OK) {
        return client->failed;
    }
    truc_error error = client_session_submit_event(client->session, event, STORE_EVENT_OURS, ticket);
    return error == TRUC_OK ? submitted(client) : error;
}

truc_error truc_client_sync(struct truc_client *client)
{
    if (client->failed != TRUC_OK) {
        return client->failed;
    }
    if (client->stepping) {
        return TRUC_E_INVALID;
    }
    (void)tick(client);
    truc_error error = client_spool_commit(client->spool);
    client_session_synced(client->session, client_spool_synced(client->spool), client_spool_is_full(client->spool));
    return error == TRUC_OK || error == TRUC_E_FULL ? error : fail(client, error);
}

uint64_t truc_client_mark(struct truc_client *client)
{
    client->urgent_mark = client_session_mark(client->session);
    return client->urgent_mark;
}

uint64_t truc_client_synced(const struct truc_client *client)
{
    return client_spool_synced(client->spool);
}

bool truc_client_obstacle(const struct truc_client *client, struct truc_obstacle *out)
{
    return client_session_obstacle(client->session, out);
}

void truc_client_free(struct truc_client **client_)
{
    struct truc_client *client = *client_;
    if (client == NULL) {
        return;
    }
    /* What was answered and not yet committed is worth one more sync; where it fails it comes again. */
    if (client->session != NULL && client->failed == TRUC_OK) {
        truc_error error = client_spool_commit(client->spool);
        client_session_synced(client->session, client_spool_synced(client->spool), false);
        if (error == TRUC_OK) {
            error = client_session_bye(client->session);
        }
        if (error == TRUC_OK) {
            error = send_outbox(client);
        }
        if (error != TRUC_OK) {
            truc_log(TRUC_LOG_WARN, "client_close", "why=\"%s\"", truc_error_string(error));
        }
    }
    client_wire_free(&client->wire, BYE_LINGER_MS);
    if (client->zmq != NULL) {
        (void)zmq_ctx_term(client->zmq); /* waits for the linger, no longer */
    }
    client_session_free(&client->session);
    client_spool_close(&client->spool);
    if (client->epoll >= 0) {
        (void)close(client->epoll);
    }
    for (size_t i = 0; i < client->endpoint_count; i++) {
        free(client->endpoints[i]);
    }
    free(client->endpoints);
    free(client->hub_public);
    free(client->own_public);
    if (client->own_secret != NULL) {
        truc_wipe(client->own_secret, strlen(client->own_secret));
    }
    free(client->own_secret);
    free(client);
    *client_ = NULL;
}

uint64_t truc_client_pending(const struct truc_client *client)
{
    return client_session_pending(client->session);
}

enum truc_client_state truc_client_state(const struct truc_client *client)
{
    return client->failed != TRUC_OK ? TRUC_CLIENT_STOPPED : client_session_state(client->session);
}

truc_error truc_client_receive(struct truc_client *client, bool on)
{
    client_session_receive(client->session, on);
    return client->failed;
}

truc_error truc_client_ack(struct truc_client *client, uint64_t number)
{
    return client->failed != TRUC_OK ? client->failed : client_session_ack(client->session, number);
}

truc_error truc_client_nack(struct truc_client *client, uint64_t number, uint32_t delay_ms, const char *note)
{
    return client->failed != TRUC_OK ? client->failed : client_session_nack(client->session, number, delay_ms, note);
}

truc_error truc_client_reject(struct truc_client *client, uint64_t number, const char *note)
{
    return client->failed != TRUC_OK ? client->failed : client_session_reject(client->session, number, note);
}

truc_error truc_client_subscribe(struct truc_client *client, const char *type, const char *source_agency, bool remove)
{
    return client_session_subscribe(client->session, type, source_agency, remove);
}

uint32_t truc_client_pending_subscriptions(const struct truc_client *client)
{
    return client_session_pending_subscriptions(client->session);
}

truc_error truc_client_evidence(struct truc_client *client, uint64_t sequence, truc_evidence_fn on_evidence,
                                void *context)
{
    return client_session_evidence(client->session, sequence, on_evidence, context);
}

truc_error truc_client_query(struct truc_client *client, const char *what, const char *const *arguments,
                             truc_answer_fn on_answer, void *context)
{
    return client_session_query(client->session, what, arguments, on_answer, context);
}

void truc_client_checkpoint(const struct truc_client *client, struct truc_checkpoint *out)
{
    client_session_checkpoint(client->session, out);
}

const struct truc_key *truc_client_peer_key(const struct truc_client *client, const char *agency, const char *keyid)
{
    return client_session_peer_key(client->session, agency, keyid);
}
