/* Connections as libzmq's socket monitor tells of them, and the watchdog over them. */
#include "hub/net/socket_internal.h"
#include "hub/net/tcp.h"

#define SPEECHLESS_MS 30000 /* a connection that never says anything is nobody's */
#define MONITOR_ENDPOINT "inproc://hub.monitor"

/* A descriptor can be closed and reused by the I/O thread at any moment: only the same remote address is the same peer.
 */
void hub_connection_shutdown(struct hub_socket *socket, int fd)
{
    struct connection *connection;
    struct sockaddr_storage now;
    socklen_t size = sizeof now;

    HASH_FIND_INT(socket->connections, &fd, connection);
    if (!connection || getpeername(fd, (struct sockaddr *)&now, &size) != 0)
        return;
    if (size == connection->remote_size && memcmp(&now, &connection->remote, size) == 0)
        shutdown(fd, SHUT_RDWR);
}

/* Where no descriptor is left, libzmq's thread turns round and round over a connection that it cannot accept. So one
 * goes before: the oldest that never said anything, which is where a flood of them hurts itself; those that have a
 * session stay. */
static void shed_one(struct hub_socket *socket, struct connection *newest)
{
    struct connection *connection, *next, *victim = newest;

    HASH_ITER(hh, socket->connections, connection, next)
    if (!connection->met && !connection->shed) {
        victim = connection; /* in the order of their coming */
        break;
    }
    victim->shed = true;
    socket->shed++;
    hub_connection_shutdown(socket, victim->fd);
}

static void forget(struct hub_socket *socket, struct connection *connection)
{
    socket->shed -= connection->shed;
    HASH_DEL(socket->connections, connection);
    free(connection);
}

static void on_accepted(struct hub_socket *socket, int fd)
{
    struct connection *connection;

    HASH_FIND_INT(socket->connections, &fd, connection);
    if (connection)
        forget(socket, connection); /* to the end of the list */
    connection = calloc(1, sizeof *connection);
    if (!connection) {
        shutdown(fd, SHUT_RDWR);
        return;
    }
    connection->fd = fd;
    HASH_ADD_INT(socket->connections, fd, connection);
    connection->since_ms = uv_now(socket->loop);
    connection->remote_size = sizeof connection->remote;
    if (getpeername(fd, (struct sockaddr *)&connection->remote, &connection->remote_size) != 0)
        connection->remote_size = 0;
    if (HASH_COUNT(socket->connections) - socket->shed > socket->limits.connections)
        shed_one(socket, connection);
}

static void on_disconnected(struct hub_socket *socket, int fd)
{
    struct connection *connection;
    struct peer *peer, *next;

    HASH_FIND_INT(socket->connections, &fd, connection);
    if (connection)
        forget(socket, connection);
    HASH_ITER(hh, socket->peers, peer, next)
    if (peer->fd == fd)
        hub_peer_gone(socket, peer);
}

/* Two frames: event and value, then the address. */
void hub_monitor_process(struct hub_socket *socket)
{
    for (;;) {
        zmq_msg_t event, address;
        uint16_t kind = 0;
        int32_t value = 0;

        zmq_msg_init(&event);
        if (zmq_msg_recv(&event, socket->monitor, ZMQ_DONTWAIT) < 0) {
            zmq_msg_close(&event);
            return;
        }
        if (zmq_msg_size(&event) == 6) {
            memcpy(&kind, zmq_msg_data(&event), 2);
            memcpy(&value, (const uint8_t *)zmq_msg_data(&event) + 2, 4);
        }
        bool more = zmq_msg_more(&event);
        zmq_msg_close(&event);
        zmq_msg_init(&address);
        if (more)
            zmq_msg_recv(&address, socket->monitor, 0);
        zmq_msg_close(&address);
        if (kind == ZMQ_EVENT_ACCEPTED)
            on_accepted(socket, value);
        else if (kind == ZMQ_EVENT_DISCONNECTED || kind == ZMQ_EVENT_CLOSED)
            on_disconnected(socket, value);
    }
}

truc_error hub_monitor_open(struct hub_socket *socket)
{
    int unlimited = 0;

    if (zmq_socket_monitor(socket->router, MONITOR_ENDPOINT,
                           ZMQ_EVENT_ACCEPTED | ZMQ_EVENT_DISCONNECTED | ZMQ_EVENT_CLOSED) != 0)
        return TRUC_E_IO;
    socket->monitor = zmq_socket(socket->context, ZMQ_PAIR);
    if (!socket->monitor)
        return TRUC_E_IO;
    /* Events are a few bytes for each connection that was accepted: bounded by the descriptors of the process. */
    zmq_setsockopt(socket->monitor, ZMQ_RCVHWM, &unlimited, sizeof unlimited);
    return zmq_connect(socket->monitor, MONITOR_ENDPOINT) == 0 ? TRUC_OK : TRUC_E_IO;
}

/* What the kernel received on a connection since its last whole message is what libzmq holds of an unfinished one (and
 * what waits in the socket). A peer that is only slow stays far below. */
void hub_monitor_watch(struct hub_socket *socket)
{
    struct connection *connection, *next;
    struct peer *peer, *next_peer;

    HASH_ITER(hh, socket->connections, connection, next)
    {
        if (!connection->met && uv_now(socket->loop) - connection->since_ms > SPEECHLESS_MS) {
            hub_connection_shutdown(socket, connection->fd);
            continue;
        }
        uint64_t received = hub_tcp_received(connection->fd);
        if (connection->whole_since) {
            connection->whole_since = false;
            connection->whole_at = received;
        }
        if (received <= connection->whole_at + socket->limits.unread_bytes)
            continue;
        uint32_t number = 0;
        HASH_ITER(hh, socket->peers, peer, next_peer)
        if (peer->fd == connection->fd)
            number = peer->number;
        socket->events.on_flood(socket->events.context, number, received - connection->whole_at);
        hub_connection_shutdown(socket, connection->fd);
    }
}
