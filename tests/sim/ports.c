/* The two ports of the network: hub/net/socket.h and adapters/client/wire.h, over the simulated one. */
#include "adapters/client/wire.h"
#include "hub/net/socket.h"
#include "tests/sim/network.h"
#include "tests/sim/world.h"

#include <sys/eventfd.h>
#include <unistd.h>
#include <zmq.h>

#define SEND_HWM 8192
#define CLIENT_HWM 4096
#define DRAIN_MAX 512
#define WATCH_MS 100

/* ---- the hub's side ---- */

struct peer {
    struct peer *next;
    struct sim_link *link; /* NULL: gone */
    uint32_t number;
    uint8_t key[32];
    bool met, dropping, told;
    int64_t drop_at;
    uint64_t sent;
};

struct arrival {
    struct arrival *next;
    struct peer *peer;
    struct sim_message *message; /* NULL: the peer is gone */
};

struct hub_socket {
    struct hub_socket_events events;
    struct hub_socket_limits limits;
    struct sim_loop *loop;
    struct peer *peers;
    struct arrival *first, **last;
    int64_t watch_at;
    bool paused;
    char endpoint[64];
};

static void push_arrival(struct hub_socket *socket, struct peer *peer, struct sim_message *message)
{
    struct arrival *arrival = malloc(sizeof *arrival);

    if (!arrival)
        abort();
    *arrival = (struct arrival){.peer = peer, .message = message};
    *socket->last = arrival;
    socket->last = &arrival->next;
    sim_loop_wake(socket->loop);
}

static struct peer *peer_of(struct hub_socket *socket, struct sim_link *link)
{
    struct peer *peer = link->hub_peer;

    if (!peer) {
        peer = calloc(1, sizeof *peer);
        if (!peer)
            abort();
        peer->link = link;
        peer->number = link->number;
        memcpy(peer->key, link->key, sizeof peer->key);
        peer->next = socket->peers;
        socket->peers = peer;
        link->hub_peer = peer;
    }
    return peer;
}

static void on_arrived(void *context, struct sim_link *link, struct sim_message *message)
{
    struct hub_socket *socket = context;

    push_arrival(socket, peer_of(socket, link), message);
}

static void on_closed(void *context, struct sim_link *link, bool refused)
{
    struct hub_socket *socket = context;

    (void)refused;
    push_arrival(socket, peer_of(socket, link), NULL);
}

static struct peer *find(const struct hub_socket *socket, uint32_t number)
{
    for (struct peer *peer = socket->peers; peer; peer = peer->next)
        if (peer->number == number && !peer->told)
            return peer;
    return NULL;
}

static void tell_gone(struct hub_socket *socket, struct peer *peer)
{
    if (peer->told)
        return;
    peer->told = true;
    if (peer->link)
        sim_link_leave_hub(peer->link, true);
    peer->link = NULL;
    if (peer->met)
        socket->events.on_gone(socket->events.context, peer->number);
}

static void give(struct hub_socket *socket, struct peer *peer, struct sim_message *message)
{
    zmq_msg_t parts[3];

    peer->met = true;
    for (size_t i = 0; i < message->count; i++) {
        zmq_msg_init_size(&parts[i], message->parts[i].size);
        if (message->parts[i].size)
            memcpy(zmq_msg_data(&parts[i]), message->parts[i].data, message->parts[i].size);
    }
    socket->events.on_message(socket->events.context, peer->number, peer->key, parts, message->count);
    for (size_t i = 0; i < message->count; i++)
        zmq_msg_close(&parts[i]);
}

static void watch(struct hub_socket *socket)
{
    for (struct peer *peer = socket->peers, *next; peer; peer = next) {
        next = peer->next;
        uint64_t unsent = peer->link && !peer->dropping ? peer->link->down.bytes : 0;
        if (unsent > socket->limits.unsent_bytes) {
            socket->events.on_flood(socket->events.context, peer->number, unsent);
            peer->dropping = true;
            peer->drop_at = sim_now();
        }
        if (peer->dropping && peer->drop_at <= sim_now())
            tell_gone(socket, peer);
    }
    for (struct peer **at = &socket->peers; *at;)
        if ((*at)->told && (*at)->link == NULL) {
            *at = (*at)->next; /* its memory stays: an arrival may still name it */
        } else {
            at = &(*at)->next;
        }
}

static void turn(void *context)
{
    struct hub_socket *socket = context;
    bool any = false;

    if (sim_now() >= socket->watch_at) {
        socket->watch_at = sim_now() + WATCH_MS * SIM_MS;
        watch(socket);
    }
    for (int left = DRAIN_MAX; left > 0 && socket->first && !socket->paused; left--) {
        struct arrival *arrival = socket->first;
        socket->first = arrival->next;
        if (!socket->first)
            socket->last = &socket->first;
        if (!arrival->message)
            tell_gone(socket, arrival->peer);
        else if (!arrival->peer->told && !arrival->peer->dropping)
            give(socket, arrival->peer, arrival->message);
        any = true;
        sim_message_free(arrival->message);
        free(arrival);
    }
    if (any)
        socket->events.on_drained(socket->events.context);
    if (socket->first && !socket->paused)
        sim_loop_wake(socket->loop);
}

truc_error hub_socket_open(uv_loop_t *loop, const char *endpoint, const char *curve_public, const char *curve_secret,
                           const struct hub_socket_limits *limits, const struct hub_socket_events *events,
                           struct hub_socket **out)
{
    struct hub_socket *socket = calloc(1, sizeof *socket);

    (void)curve_public, (void)curve_secret;
    if (!socket)
        return TRUC_E_NOMEM;
    socket->events = *events;
    socket->limits = *limits;
    socket->loop = sim_loop_of(loop);
    socket->last = &socket->first;
    snprintf(socket->endpoint, sizeof socket->endpoint, "%s", endpoint);
    sim_loop_turn(socket->loop, turn, socket);
    const struct sim_listener listener = {.context = events->context,
                                          .may_connect = events->may_connect,
                                          .end = {.context = socket, .arrived = on_arrived, .closed = on_closed}};
    sim_network_listen(&listener);
    *out = socket;
    return TRUC_OK;
}

const char *hub_socket_endpoint(const struct hub_socket *socket)
{
    return socket->endpoint;
}

truc_error hub_socket_send(struct hub_socket *socket, uint32_t number, struct truc_bytes part1, zmq_msg_t *part2)
{
    struct peer *peer = find(socket, number);
    truc_error error = TRUC_OK;

    if (!peer || !peer->link || peer->dropping)
        error = TRUC_E_CLOSED;
    else if (peer->link->down.count >= SEND_HWM)
        error = TRUC_E_AGAIN;
    if (!error) {
        struct truc_bytes parts[2] = {part1, truc_bytes(NULL, 0)};
        if (part2)
            parts[1] = truc_bytes(zmq_msg_data(part2), zmq_msg_size(part2));
        world_on_hub_sends(peer->key, part1, parts[1]);
        peer->sent += parts[0].size + parts[1].size;
        sim_link_send(peer->link, false, sim_message_new(parts, part2 ? 2 : 1));
    }
    if (part2)
        zmq_msg_close(part2);
    return error;
}

uint64_t hub_socket_unsent(const struct hub_socket *socket, uint32_t number)
{
    const struct peer *peer = find(socket, number);

    return peer && peer->link ? peer->link->down.bytes : 0;
}

uint64_t hub_socket_backlog(struct hub_socket *socket, uint64_t enough)
{
    uint64_t bytes = 0;

    (void)enough;
    for (const struct peer *peer = socket->peers; peer; peer = peer->next)
        bytes += peer->link ? peer->link->down.bytes : 0;
    return bytes;
}

uint64_t hub_socket_sent(const struct hub_socket *socket, uint32_t number)
{
    const struct peer *peer = find(socket, number);

    return peer ? peer->sent : 0;
}

void hub_socket_drop(struct hub_socket *socket, uint32_t number, unsigned linger_ms)
{
    struct peer *peer = find(socket, number);

    if (!peer || peer->dropping)
        return;
    peer->dropping = true;
    peer->drop_at = sim_now() + (int64_t)linger_ms * SIM_MS;
}

size_t hub_socket_peers(const struct hub_socket *socket)
{
    size_t count = 0;

    for (const struct peer *peer = socket->peers; peer; peer = peer->next)
        count += !peer->told;
    return count;
}

void hub_socket_pause(struct hub_socket *socket)
{
    socket->paused = true;
}

void hub_socket_close(struct hub_socket **socket_in, int linger_ms)
{
    struct hub_socket *socket = *socket_in;

    if (!socket)
        return;
    *socket_in = NULL;
    sim_network_listen(NULL);
    sim_loop_turn(socket->loop, NULL, NULL);
    for (struct peer *peer = socket->peers; peer; peer = peer->next)
        if (peer->link)
            sim_link_leave_hub(peer->link, linger_ms > 0);
    sim_network_hub_died(false); /* those that never said a word */
}

/* ---- the client's side ---- */

struct wire {
    struct sim_link *link;
    struct sim_fiber *fiber;
    struct sim_message *first, **last, *taken;
    enum wire_status status;
    int fd; /* for whoever wants to poll; never readable, the world wakes the fiber */
};

static void wire_arrived(void *context, struct sim_link *link, struct sim_message *message)
{
    struct wire *wire = context;

    (void)link;
    *wire->last = message;
    wire->last = &message->next;
    sim_wake(wire->fiber);
}

static void wire_closed(void *context, struct sim_link *link, bool refused)
{
    struct wire *wire = context;

    (void)link;
    wire->status = refused ? WIRE_REFUSED : WIRE_LOST;
    wire->link = NULL;
    sim_wake(wire->fiber);
}

truc_error client_wire_new(void *zmq, const char *endpoint, const struct wire_keys *keys, struct wire **out)
{
    struct wire *wire = calloc(1, sizeof *wire);
    uint8_t key[32];

    (void)zmq;
    if (!wire || truc_z85_decode(truc_bytes_of(keys->own_public), key, sizeof key) != TRUC_OK)
        abort();
    wire->last = &wire->first;
    wire->fd = eventfd(0, EFD_CLOEXEC);
    wire->fiber = sim_fiber_now();
    const struct sim_end end = {.context = wire, .arrived = wire_arrived, .closed = wire_closed};
    wire->link = sim_network_connect(sim_process_now(), &end, key, strstr(endpoint, "hub") != NULL);
    *out = wire;
    return TRUC_OK;
}

void client_wire_free(struct wire **wire_in, int linger_ms)
{
    struct wire *wire = *wire_in;

    if (!wire)
        return;
    *wire_in = NULL;
    if (wire->link)
        sim_link_leave_client(wire->link, linger_ms > 0);
    sim_message_free(wire->taken);
    while (wire->first) {
        struct sim_message *next = wire->first->next;
        sim_message_free(wire->first);
        wire->first = next;
    }
    close(wire->fd);
    free(wire);
}

int client_wire_fd(const struct wire *wire)
{
    return wire->fd;
}

enum wire_status client_wire_status(struct wire *wire, const char **why)
{
    *why = wire->status == WIRE_REFUSED ? "not enrolled" : "the connection was closed";
    return wire->first ? WIRE_FINE : wire->status;
}

truc_error client_wire_receive(struct wire *wire, struct truc_bytes parts[2], size_t *count)
{
    sim_message_free(wire->taken);
    wire->taken = wire->first;
    *count = 0;
    if (!wire->taken)
        return TRUC_E_AGAIN;
    wire->first = wire->taken->next;
    if (!wire->first)
        wire->last = &wire->first;
    wire->taken->next = NULL;
    *count = wire->taken->count;
    for (size_t i = 0; i < *count && i < 2; i++)
        parts[i] = truc_buffer_view(&wire->taken->parts[i]);
    return TRUC_OK;
}

truc_error client_wire_send(struct wire *wire, const struct client_outgoing *message)
{
    struct truc_bytes parts[2] = {truc_buffer_view(&message->head), truc_bytes(NULL, 0)};

    if (!wire->link)
        return TRUC_OK; /* libzmq takes it too, until it is told */
    if (wire->link->up.count >= CLIENT_HWM)
        return TRUC_E_AGAIN;
    if (message->has_body && message->body)
        parts[1] = truc_bytes(message->body->bytes.data + message->offset, message->size);
    attack_saw(parts[0], parts[1], message->has_body ? 2 : 1);
    sim_link_send(wire->link, true, sim_message_new(parts, message->has_body ? 2 : 1));
    return TRUC_OK;
}

bool client_wire_ready(const struct wire *wire, bool to_send)
{
    (void)to_send; /* a link takes all that is sent */
    return wire->first != NULL || wire->status != WIRE_FINE;
}
