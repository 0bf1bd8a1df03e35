#include "tests/bench/inside.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

struct hub_socket {
    inside_frame_fn on_frame;
    void *context;
    uint64_t sent;
};

static struct hub_socket transport;

void inside_must(truc_error error, const char *what)
{
    if (error != TRUC_OK) {
        fprintf(stderr, "bench: %s: %s\n", what, truc_error_string(error));
        exit(1);
    }
}

/* ---- what hub/net/socket.h promises ---------------------------------------------------------------------------------
 */

truc_error hub_socket_open(uv_loop_t *loop, const char *endpoint, const char *curve_public, const char *curve_secret,
                           const struct hub_socket_limits *limits, const struct hub_socket_events *events,
                           struct hub_socket **out)
{
    (void)loop, (void)endpoint, (void)curve_public, (void)curve_secret, (void)limits, (void)events;
    *out = &transport;
    return TRUC_OK;
}

const char *hub_socket_endpoint(const struct hub_socket *socket)
{
    (void)socket;
    return "inside";
}

truc_error hub_socket_send(struct hub_socket *socket, uint32_t peer, struct truc_bytes part1, zmq_msg_t *part2)
{
    socket->sent += part1.size + (part2 == NULL ? 0 : zmq_msg_size(part2));
    socket->on_frame(socket->context, peer, part1, part2);
    if (part2 != NULL) {
        zmq_msg_close(part2);
    }
    return TRUC_OK;
}

uint64_t hub_socket_unsent(const struct hub_socket *socket, uint32_t peer)
{
    (void)socket, (void)peer;
    return 0;
}

uint64_t hub_socket_backlog(struct hub_socket *socket, uint64_t enough)
{
    (void)socket, (void)enough;
    return 0;
}

uint64_t hub_socket_sent(const struct hub_socket *socket, uint32_t peer)
{
    (void)peer;
    return socket->sent;
}

/* Only at the end: nothing that these tools send is wrong, and a hub that thinks so makes the figures worthless. */
void hub_socket_drop(struct hub_socket *socket, uint32_t peer, unsigned linger_ms)
{
    (void)socket, (void)linger_ms;
    fprintf(stderr, "bench: the hub ended the session of peer %u\n", peer);
}

size_t hub_socket_peers(const struct hub_socket *socket)
{
    (void)socket;
    return 0;
}

void hub_socket_pause(struct hub_socket *socket)
{
    (void)socket;
}

void hub_socket_close(struct hub_socket **socket, int linger_ms)
{
    (void)linger_ms;
    *socket = NULL;
}

/* ---- the hub --------------------------------------------------------------------------------------------------------
 */

struct hub *inside_open(const char *home, inside_frame_fn on_frame, void *context)
{
    static struct hub hub;
    struct truc_buffer why = {0};
    transport = (struct hub_socket){.on_frame = on_frame, .context = context};
    truc_error error = hub_open(&hub, home, &why);
    if (error != TRUC_OK) {
        fprintf(stderr, "%.*s", (int)why.size, why.data == NULL ? "" : (const char *)why.data);
        inside_must(error, home);
    }
    truc_buffer_close(&why);
    return &hub;
}

void inside_close(struct hub *hub)
{
    struct hub_session *session, *next;
    HASH_ITER(by_id, hub->sessions_by_id, session, next)
    {
        hub_on_gone(hub, session->peer);
    }
    if (kill(getpid(), SIGTERM) != 0) {
        inside_must(TRUC_E_IO, "stopping the hub");
    }
    uv_run(&hub->loop, UV_RUN_DEFAULT);
    if (hub->fatal) {
        inside_must(TRUC_E_IO, "the hub failed");
    }
    hub_close(hub);
}

static void fill_part(zmq_msg_t *part, struct truc_bytes bytes)
{
    if (zmq_msg_init_size(part, bytes.size) != 0) {
        inside_must(TRUC_E_NOMEM, "a message");
    }
    if (bytes.size > 0) {
        memcpy(zmq_msg_data(part), bytes.data, bytes.size);
    }
}

void inside_message(struct hub *hub, uint32_t peer, const uint8_t key[32], struct truc_bytes head,
                    const struct truc_bytes *body)
{
    zmq_msg_t parts[HUB_SOCKET_PARTS_MAX];
    size_t count = body == NULL ? 1 : 2;
    fill_part(&parts[0], head);
    if (body != NULL) {
        fill_part(&parts[1], *body);
    }
    hub_on_message(hub, peer, key, parts, count);
    for (size_t i = 0; i < count; i++) {
        zmq_msg_close(&parts[i]);
    }
}

/* ---- agencies and events --------------------------------------------------------------------------------------------
 */

void inside_agency_load(struct inside_agency *agency, const char *folder)
{
    struct truc_buffer why = {0};
    truc_error error = truc_profile_load(folder, &agency->profile, &why);
    if (error != TRUC_OK) {
        fprintf(stderr, "%.*s", (int)why.size, why.data == NULL ? "" : (const char *)why.data);
        inside_must(error, folder);
    }
    truc_buffer_close(&why);
    agency->config = truc_profile_config(agency->profile);
    inside_must(truc_z85_decode(truc_bytes_of(agency->config->transport_public), agency->transport, 32),
                "the transport key");
    (void)snprintf(agency->source, sizeof agency->source, "%s%s", TRUC_SOURCE_PREFIX, agency->config->agency);
}

void inside_agency_close(struct inside_agency *agency)
{
    truc_profile_free(&agency->profile);
}

void inside_events_open(struct inside_events *events)
{
    struct truc_event *event = &events->event;
    events->data = malloc(events->size);
    if (events->data == NULL) {
        inside_must(TRUC_E_NOMEM, "the event");
    }
    inside_must(truc_random(events->data, events->size), "random data");
    inside_must(truc_random(events->salt, sizeof events->salt), "a salt");
    event->source = truc_bytes_of(events->source);
    event->spec_version = truc_bytes_of("1.0");
    event->type = truc_bytes_of("bench.event.v1");
    event->data_kind = TRUC_DATA_BINARY;
    event->data = truc_bytes(events->data, events->size);
}

void inside_events_close(struct inside_events *events)
{
    free(events->data);
}

static truc_error set_rest(struct inside_events *events)
{
    struct truc_event *event = &events->event;
    truc_error error = truc_event_set_time(event, "time", events->time_us);
    if (error == TRUC_OK) {
        error = truc_event_set_text(event, "datacontenttype", truc_bytes_of("application/octet-stream"));
    }
    if (error == TRUC_OK) {
        error = truc_event_set_text(event, "traceparent",
                                    truc_bytes_of("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"));
    }
    return error;
}

/* Six events to a subject, a hundred subjects at a time: as load.c. */
void inside_events_next(struct inside_events *events, struct truc_buffer *out)
{
    struct truc_event *event = &events->event;
    uint64_t n = events->made++;
    memcpy(events->salt, &n, sizeof n);
    memcpy(events->data, &n, events->size < sizeof n ? events->size : sizeof n);
    (void)snprintf(events->id, sizeof events->id, events->small ? "%llu" : "4f1c0de54f1c0de5-%019llu",
                   (unsigned long long)n);
    (void)snprintf(events->subject, sizeof events->subject,
                   events->small ? "case/%llu" : "case/2026/4f1c0de54f1c0de5-%09llu",
                   (unsigned long long)(n / 600 * 100 + n % 100));
    event->id = truc_bytes_of(events->id);
    event->attribute_count = 0;
    truc_error error = truc_event_set_text(event, "subject", truc_bytes_of(events->subject));
    if (error == TRUC_OK) {
        error = truc_event_set_bytes(event, "salt", truc_bytes(events->salt, sizeof events->salt));
    }
    if (error == TRUC_OK) {
        error = truc_event_set_text(event, "recipients", truc_bytes_of(events->to));
    }
    if (error == TRUC_OK && !events->small) {
        error = set_rest(events);
    }
    inside_must(error == TRUC_OK ? truc_event_encode(event, out) : error, "making an event");
}
