#include "hub/net/socket_internal.h"
#include "hub/net/tcp.h"

#include <errno.h>

#define ROUTING_ID_SIZE 5
#define DRAIN_MAX 512  /* messages in one turn: timers and other work get their turn too */
#define RECEIVE_HWM 64 /* whole messages that wait in libzmq for one peer */
#define SEND_HWM 8192  /* whole messages for one peer; bytes are bounded by credit and the watchdog */
#define WATCH_MS 100
#define BACKLOG_MS 20

static void read_number(const uint8_t id[ROUTING_ID_SIZE], uint32_t *out)
{
    *out = (uint32_t)id[1] << 24 | (uint32_t)id[2] << 16 | (uint32_t)id[3] << 8 | id[4];
}

static void write_number(uint32_t number, uint8_t id[ROUTING_ID_SIZE])
{
    id[0] = 0;
    id[1] = (uint8_t)(number >> 24);
    id[2] = (uint8_t)(number >> 16);
    id[3] = (uint8_t)(number >> 8);
    id[4] = (uint8_t)number;
}

void hub_peer_gone(struct hub_socket *socket, struct peer *peer)
{
    uint32_t number = peer->number;

    socket->gone[socket->gone_next++ % GONE_MEMORY] = number;
    HASH_DEL(socket->peers, peer);
    free(peer);
    socket->events.on_gone(socket->events.context, number);
}

/* Messages that a connection left behind come out after its end was told: they are nobody's any more. */
static bool is_gone(const struct hub_socket *socket, uint32_t number)
{
    for (size_t i = 0; i < GONE_MEMORY && i < socket->gone_next; i++)
        if (socket->gone[i] == number)
            return true;
    return false;
}

/* The first message of a connection. Monitor events of an earlier connection with the same descriptor were sent before
 * this one was accepted: taking them now keeps the two apart. */
static struct peer *meet(struct hub_socket *socket, uint32_t number, zmq_msg_t *part)
{
    hub_monitor_process(socket);
    if (is_gone(socket, number))
        return NULL;
    const char *user = zmq_msg_gets(part, "User-Id");
    int fd = zmq_msg_get(part, ZMQ_SRCFD);
    struct peer *peer = calloc(1, sizeof *peer);

    if (!peer)
        return NULL;
    peer->number = number;
    peer->fd = fd;
    peer->state = PEER_LIVE;
    if (!user || truc_unhex(truc_bytes_of(user), peer->key, sizeof peer->key) != TRUC_OK)
        peer->state = PEER_DROPPING; /* not authenticated: nothing of it is used */
    HASH_ADD(hh, socket->peers, number, sizeof peer->number, peer);
    return peer;
}

static void take(struct hub_socket *socket, const zmq_msg_t *id, zmq_msg_t *parts, size_t count)
{
    struct connection *connection;
    struct peer *peer;
    uint32_t number;
    const uint8_t *bytes = zmq_msg_data((zmq_msg_t *)id);

    if (count == 0)
        return;
    if (zmq_msg_size(id) != ROUTING_ID_SIZE || bytes[0] != 0) { /* an own routing id: not our protocol */
        hub_connection_shutdown(socket, zmq_msg_get(&parts[0], ZMQ_SRCFD));
        return;
    }
    read_number(bytes, &number);
    HASH_FIND(hh, socket->peers, &number, sizeof number, peer);
    if (!peer)
        peer = meet(socket, number, &parts[0]);
    if (!peer)
        return;
    HASH_FIND_INT(socket->connections, &peer->fd, connection);
    if (connection)
        connection->whole_since = connection->met = true;
    if (peer->state == PEER_LIVE)
        socket->events.on_message(socket->events.context, number, peer->key, parts, count);
}

/* One whole message; false when there is none. Parts beyond the second are counted and thrown away. */
static bool receive(struct hub_socket *socket)
{
    zmq_msg_t id, parts[HUB_SOCKET_PARTS_MAX];
    size_t count = 0, kept = 0;

    zmq_msg_init(&id);
    if (zmq_msg_recv(&id, socket->router, ZMQ_DONTWAIT) < 0) {
        zmq_msg_close(&id);
        return false;
    }
    bool more = zmq_msg_more(&id);
    while (more) {
        zmq_msg_t spare, *part = kept < HUB_SOCKET_PARTS_MAX ? &parts[kept] : &spare;
        zmq_msg_init(part);
        if (zmq_msg_recv(part, socket->router, ZMQ_DONTWAIT) < 0) {
            zmq_msg_close(part);
            break;
        }
        more = zmq_msg_more(part);
        count++;
        if (part == &spare)
            zmq_msg_close(part);
        else
            kept++;
    }
    take(socket, &id, parts, count);
    for (size_t i = 0; i < kept; i++)
        zmq_msg_close(&parts[i]);
    zmq_msg_close(&id);
    return true;
}

static void on_idle(uv_idle_t *handle)
{
    (void)handle; /* its being active keeps the loop from waiting: the next prepare drains on */
}

static void set_idling(struct hub_socket *socket, bool on)
{
    if (socket->idling == on)
        return;
    socket->idling = on;
    if (on)
        uv_idle_start(&socket->idle, on_idle);
    else
        uv_idle_stop(&socket->idle);
}

/* ZMQ_FD is edge-triggered: ZMQ_EVENTS is read again before every wait, whatever happened in this turn, sends included.
 */
static void process(struct hub_socket *socket)
{
    int events = 0, left = DRAIN_MAX;
    size_t size = sizeof events;

    hub_zap_process(socket);
    hub_monitor_process(socket);
    if (socket->paused) {
        zmq_getsockopt(socket->router, ZMQ_EVENTS, &events, &size);
        return;
    }
    bool any = false;
    while (left > 0 && receive(socket))
        left--, any = true;
    set_idling(socket, left == 0);
    if (any)
        socket->events.on_drained(socket->events.context);
}

static void on_prepare(uv_prepare_t *handle)
{
    process(handle->data);
}

static void on_readable(uv_poll_t *handle, int status, int events)
{
    (void)handle, (void)status, (void)events; /* the loop woke up: prepare does the work */
}

/* A peer whose connection ended before its first message came out has a descriptor that may by now be another's. libzmq
 * knows: it does not take a message for such a peer. (What a live one gets here stands behind its BYE.) */
static bool is_live(struct hub_socket *socket, const struct peer *peer)
{
    uint8_t id[ROUTING_ID_SIZE];

    write_number(peer->number, id);
    if (zmq_send(socket->router, id, sizeof id, ZMQ_SNDMORE | ZMQ_DONTWAIT) < 0)
        return zmq_errno() == EAGAIN;
    zmq_send(socket->router, "", 0, ZMQ_DONTWAIT);
    return true;
}

static void take_connection(struct hub_socket *socket, struct peer *peer)
{
    if (is_live(socket, peer))
        hub_connection_shutdown(socket, peer->fd);
    else
        hub_peer_gone(socket, peer);
}

static void on_watch(uv_timer_t *timer)
{
    struct hub_socket *socket = timer->data;
    struct peer *peer, *next;
    uint64_t now = uv_now(socket->loop);

    hub_monitor_watch(socket);
    HASH_ITER(hh, socket->peers, peer, next)
    {
        uint64_t acknowledged = peer->state == PEER_LIVE ? hub_tcp_acknowledged(peer->fd) : 0;
        if (acknowledged > peer->sent)
            peer->sent = acknowledged;
        uint64_t unsent = peer->state == PEER_LIVE ? peer->sent - acknowledged : 0;
        if (unsent > socket->limits.unsent_bytes) {
            socket->events.on_flood(socket->events.context, peer->number, unsent);
            peer->state = PEER_DROPPING;
            peer->drop_at_ms = now;
        }
        if (peer->state == PEER_DROPPING && peer->drop_at_ms <= now)
            take_connection(socket, peer);
    }
}

/* A part as TCP counts it: CURVE's MESSAGE (8 + 8 + 16 + 1 bytes) in ZMTP's frame, so that nothing adds up over the
 * life of a connection. Heartbeats and the handshake are seen when they are acknowledged: on_watch. */
static size_t wire_size(size_t part)
{
    size_t message = part + 33;

    return message + (message <= 255 ? 2 : 9);
}

truc_error hub_socket_send(struct hub_socket *socket, uint32_t peer_number, struct truc_bytes part1, zmq_msg_t *part2)
{
    uint8_t id[ROUTING_ID_SIZE];
    struct peer *peer;
    size_t size = wire_size(part1.size) + (part2 ? wire_size(zmq_msg_size(part2)) : 0);
    truc_error error = TRUC_OK;

    HASH_FIND(hh, socket->peers, &peer_number, sizeof peer_number, peer);
    write_number(peer_number, id);
    if (!peer || peer->state != PEER_LIVE)
        error = TRUC_E_CLOSED;
    else if (zmq_send(socket->router, id, sizeof id, ZMQ_SNDMORE | ZMQ_DONTWAIT) < 0)
        error = zmq_errno() == EAGAIN ? TRUC_E_AGAIN : TRUC_E_CLOSED;
    else if (zmq_send(socket->router, part1.data, part1.size, ZMQ_DONTWAIT | (part2 ? ZMQ_SNDMORE : 0)) < 0)
        error = TRUC_E_CLOSED;
    else if (part2 && zmq_msg_send(part2, socket->router, ZMQ_DONTWAIT) < 0)
        error = TRUC_E_CLOSED;
    if (error && part2)
        zmq_msg_close(part2);
    if (!error) {
        peer->sent += size;
        socket->backlog += size;
    }
    return error;
}

uint64_t hub_socket_backlog(struct hub_socket *socket, uint64_t enough)
{
    struct peer *peer, *next;
    uint64_t now = uv_now(socket->loop);

    if (socket->backlog <= enough || now - socket->backlog_ms < BACKLOG_MS)
        return socket->backlog;
    socket->backlog_ms = now;
    socket->backlog = 0;
    HASH_ITER(hh, socket->peers, peer, next)
    {
        if (peer->state == PEER_LIVE)
            socket->backlog += hub_peer_unsent(peer);
    }
    return socket->backlog;
}

uint64_t hub_peer_unsent(const struct peer *peer)
{
    uint64_t acknowledged = hub_tcp_acknowledged(peer->fd);

    return peer->sent > acknowledged ? peer->sent - acknowledged : 0;
}

uint64_t hub_socket_sent(const struct hub_socket *socket, uint32_t number)
{
    struct peer *peer;

    HASH_FIND(hh, socket->peers, &number, sizeof number, peer);
    return peer ? peer->sent : 0;
}

uint64_t hub_socket_unsent(const struct hub_socket *socket, uint32_t number)
{
    struct peer *peer;

    HASH_FIND(hh, socket->peers, &number, sizeof number, peer);
    return peer ? hub_peer_unsent(peer) : 0;
}

void hub_socket_drop(struct hub_socket *socket, uint32_t peer_number, unsigned linger_ms)
{
    struct peer *peer;

    HASH_FIND(hh, socket->peers, &peer_number, sizeof peer_number, peer);
    if (!peer || peer->state != PEER_LIVE)
        return;
    peer->state = PEER_DROPPING;
    peer->drop_at_ms = uv_now(socket->loop) + linger_ms;
}

const char *hub_socket_endpoint(const struct hub_socket *socket)
{
    return socket->endpoint;
}

size_t hub_socket_peers(const struct hub_socket *socket)
{
    return HASH_COUNT(socket->peers);
}

void hub_socket_pause(struct hub_socket *socket)
{
    socket->paused = true;
    set_idling(socket, false);
}

static truc_error set_router_options(struct hub_socket *socket, const char *curve_public, const char *curve_secret)
{
    int on = 1, receive_hwm = RECEIVE_HWM, send_hwm = SEND_HWM, linger = 0, backlog = 1024;
    int handshake = socket->limits.handshake_ms, beat = 5000, beat_timeout = 30000;
    int64_t most = (int64_t)socket->limits.part_bytes + 1024; /* CURVE adds its own few bytes to a part */
    const struct {
        int option;
        const void *value;
        size_t size;
    } options[] = {
        {ZMQ_CURVE_SERVER, &on, sizeof on},
        {ZMQ_CURVE_PUBLICKEY, curve_public, strlen(curve_public) + 1},
        {ZMQ_CURVE_SECRETKEY, curve_secret, strlen(curve_secret) + 1},
        {ZMQ_ZAP_DOMAIN, "truc", 4},
        {ZMQ_ROUTER_MANDATORY, &on, sizeof on},
        {ZMQ_RCVHWM, &receive_hwm, sizeof receive_hwm},
        {ZMQ_SNDHWM, &send_hwm, sizeof send_hwm},
        {ZMQ_MAXMSGSIZE, &most, sizeof most},
        {ZMQ_HANDSHAKE_IVL, &handshake, sizeof handshake},
        {ZMQ_HEARTBEAT_IVL, &beat, sizeof beat},
        {ZMQ_HEARTBEAT_TIMEOUT, &beat_timeout, sizeof beat_timeout},
        {ZMQ_LINGER, &linger, sizeof linger},
        {ZMQ_BACKLOG, &backlog, sizeof backlog},
    };

    for (size_t i = 0; i < sizeof options / sizeof options[0]; i++)
        if (zmq_setsockopt(socket->router, options[i].option, options[i].value, options[i].size) != 0)
            return TRUC_E_IO;
    return TRUC_OK;
}

static truc_error watch_descriptor(struct hub_socket *socket, void *zmq_socket, uv_poll_t *poll)
{
    int fd;
    size_t size = sizeof fd;

    if (zmq_getsockopt(zmq_socket, ZMQ_FD, &fd, &size) != 0)
        return TRUC_E_IO;
    if (uv_poll_init(socket->loop, poll, fd) != 0 || uv_poll_start(poll, UV_READABLE, on_readable) != 0)
        return TRUC_E_IO;
    poll->data = socket;
    return TRUC_OK;
}

static truc_error start_handles(struct hub_socket *socket)
{
    truc_error error;

    if ((error = watch_descriptor(socket, socket->router, &socket->router_poll)) ||
        (error = watch_descriptor(socket, socket->zap, &socket->zap_poll)) ||
        (error = watch_descriptor(socket, socket->monitor, &socket->monitor_poll)))
        return error;
    uv_prepare_init(socket->loop, &socket->prepare);
    uv_idle_init(socket->loop, &socket->idle);
    uv_timer_init(socket->loop, &socket->watch);
    socket->prepare.data = socket->idle.data = socket->watch.data = socket;
    uv_prepare_start(&socket->prepare, on_prepare);
    uv_timer_start(&socket->watch, on_watch, WATCH_MS, WATCH_MS);
    return TRUC_OK;
}

truc_error hub_socket_open(uv_loop_t *loop, const char *endpoint, const char *curve_public, const char *curve_secret,
                           const struct hub_socket_limits *limits, const struct hub_socket_events *events,
                           struct hub_socket **out)
{
    struct hub_socket *socket = calloc(1, sizeof *socket);
    size_t size = sizeof socket->endpoint;
    truc_error error;

    if (!socket)
        return TRUC_E_NOMEM;
    socket->loop = loop;
    socket->limits = *limits;
    socket->events = *events;
    socket->context = zmq_ctx_new();
    error = TRUC_E_IO;
    if (!socket->context)
        goto out;
    zmq_ctx_set(socket->context, ZMQ_IO_THREADS, limits->io_threads);
    zmq_ctx_set(socket->context, ZMQ_MAX_SOCKETS, 65535);
    if ((error = hub_zap_bind(socket)))
        goto out;
    error = TRUC_E_IO;
    socket->router = zmq_socket(socket->context, ZMQ_ROUTER);
    if (!socket->router)
        goto out;
    if ((error = set_router_options(socket, curve_public, curve_secret)) || (error = hub_monitor_open(socket)))
        goto out;
    error = TRUC_E_IO;
    if (zmq_bind(socket->router, endpoint) != 0 ||
        zmq_getsockopt(socket->router, ZMQ_LAST_ENDPOINT, socket->endpoint, &size) != 0)
        goto out;
    error = start_handles(socket);
out:
    if (error) {
        int saved = errno;
        if (socket->monitor)
            zmq_close(socket->monitor);
        if (socket->router)
            zmq_close(socket->router);
        if (socket->zap)
            zmq_close(socket->zap);
        if (socket->context)
            zmq_ctx_term(socket->context);
        free(socket);
        errno = saved;
        return error;
    }
    *out = socket;
    return TRUC_OK;
}

static void close_zmq(struct hub_socket *socket, int linger_ms)
{
    int no_wait = 0;

    zmq_setsockopt(socket->router, ZMQ_LINGER, &linger_ms, sizeof linger_ms);
    zmq_setsockopt(socket->zap, ZMQ_LINGER, &no_wait, sizeof no_wait);
    zmq_setsockopt(socket->monitor, ZMQ_LINGER, &no_wait, sizeof no_wait);
    zmq_socket_monitor(socket->router, NULL, 0);
    zmq_close(socket->monitor);
    zmq_close(socket->router);
    zmq_close(socket->zap);
    zmq_ctx_term(socket->context);
}

void hub_socket_close(struct hub_socket **socket_in, int linger_ms)
{
    struct hub_socket *socket = *socket_in;
    struct connection *connection, *next_connection;
    struct peer *peer, *next_peer;

    if (!socket)
        return;
    *socket_in = NULL;
    uv_handle_t *handles[] = {(uv_handle_t *)&socket->router_poll,  (uv_handle_t *)&socket->zap_poll,
                              (uv_handle_t *)&socket->monitor_poll, (uv_handle_t *)&socket->prepare,
                              (uv_handle_t *)&socket->idle,         (uv_handle_t *)&socket->watch};
    for (size_t i = 0; i < sizeof handles / sizeof handles[0]; i++)
        uv_close(handles[i], NULL);
    uv_run(socket->loop, UV_RUN_NOWAIT); /* handles must be closed before their memory goes */
    close_zmq(socket, linger_ms);
    HASH_ITER(hh, socket->connections, connection, next_connection)
    {
        HASH_DEL(socket->connections, connection);
        free(connection);
    }
    HASH_ITER(hh, socket->peers, peer, next_peer)
    {
        HASH_DEL(socket->peers, peer);
        free(peer);
    }
    free(socket);
}
