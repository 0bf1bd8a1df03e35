#include "adapters/client/wire.h"

#include <errno.h>
#include <sys/epoll.h>
#include <unistd.h>
#include <zmq.h>

#define SEND_HWM 4096 /* messages; what a session may have under way is bounded above it */
#define RECEIVE_HWM 256
#define PART_MAX (2 << 20)
#define COPY_BELOW 1024 /* sharing a body costs more than copying this much */

struct wire {
    void *socket, *monitor;
    int epoll;
    zmq_msg_t parts[2];
    enum wire_status status;
    const char *why;
};

static truc_error add_descriptor(struct wire *wire, void *socket)
{
    int fd;
    size_t size = sizeof fd;
    if (zmq_getsockopt(socket, ZMQ_FD, &fd, &size) != 0) {
        return TRUC_E_IO;
    }
    struct epoll_event event = {.events = EPOLLIN, .data.fd = fd};
    return epoll_ctl(wire->epoll, EPOLL_CTL_ADD, fd, &event) == 0 ? TRUC_OK : TRUC_E_IO;
}

static truc_error set_options(struct wire *wire, const struct wire_keys *keys)
{
    const int send = SEND_HWM, receive = RECEIVE_HWM, linger = 0;
    const int64_t part = PART_MAX;
    if (zmq_setsockopt(wire->socket, ZMQ_CURVE_SERVERKEY, keys->hub_public, strlen(keys->hub_public) + 1) != 0 ||
        zmq_setsockopt(wire->socket, ZMQ_CURVE_PUBLICKEY, keys->own_public, strlen(keys->own_public) + 1) != 0 ||
        zmq_setsockopt(wire->socket, ZMQ_CURVE_SECRETKEY, keys->own_secret, strlen(keys->own_secret) + 1) != 0) {
        return TRUC_E_INVALID;
    }
    if (zmq_setsockopt(wire->socket, ZMQ_SNDHWM, &send, sizeof send) != 0 ||
        zmq_setsockopt(wire->socket, ZMQ_RCVHWM, &receive, sizeof receive) != 0 ||
        zmq_setsockopt(wire->socket, ZMQ_MAXMSGSIZE, &part, sizeof part) != 0 ||
        zmq_setsockopt(wire->socket, ZMQ_LINGER, &linger, sizeof linger) != 0) {
        return TRUC_E_IO;
    }
    return TRUC_OK;
}

static truc_error watch(struct wire *wire, void *zmq)
{
    static _Atomic unsigned counter;
    const int events = ZMQ_EVENT_HANDSHAKE_SUCCEEDED | ZMQ_EVENT_HANDSHAKE_FAILED_NO_DETAIL |
                       ZMQ_EVENT_HANDSHAKE_FAILED_PROTOCOL | ZMQ_EVENT_HANDSHAKE_FAILED_AUTH | ZMQ_EVENT_CLOSED |
                       ZMQ_EVENT_DISCONNECTED | ZMQ_EVENT_CONNECT_RETRIED;
    const int linger = 0;
    char name[64];
    (void)snprintf(name, sizeof name, "inproc://truc-client-monitor-%u", atomic_fetch_add(&counter, 1));
    if (zmq_socket_monitor(wire->socket, name, events) != 0) {
        return TRUC_E_IO;
    }
    wire->monitor = zmq_socket(zmq, ZMQ_PAIR);
    if (wire->monitor == NULL || zmq_setsockopt(wire->monitor, ZMQ_LINGER, &linger, sizeof linger) != 0 ||
        zmq_connect(wire->monitor, name) != 0) {
        return TRUC_E_IO;
    }
    return add_descriptor(wire, wire->monitor);
}

truc_error client_wire_new(void *zmq, const char *endpoint, const struct wire_keys *keys, struct wire **out)
{
    struct wire *wire = calloc(1, sizeof *wire);
    if (wire == NULL) {
        return TRUC_E_NOMEM;
    }
    truc_error error = TRUC_OK;
    (void)zmq_msg_init(&wire->parts[0]); /* these two cannot fail */
    (void)zmq_msg_init(&wire->parts[1]);
    wire->epoll = epoll_create1(EPOLL_CLOEXEC);
    wire->socket = zmq_socket(zmq, ZMQ_DEALER);
    if (wire->epoll < 0 || wire->socket == NULL) {
        error = TRUC_E_IO;
        goto out;
    }
    error = set_options(wire, keys);
    if (error == TRUC_OK) {
        error = watch(wire, zmq);
    }
    if (error == TRUC_OK) {
        error = add_descriptor(wire, wire->socket);
    }
    if (error == TRUC_OK && zmq_connect(wire->socket, endpoint) != 0) {
        error = TRUC_E_INVALID;
    }
out:
    if (error != TRUC_OK) {
        client_wire_free(&wire, 0);
    }
    *out = wire;
    return error;
}

void client_wire_free(struct wire **wire_, int linger_ms)
{
    struct wire *wire = *wire_;
    if (wire == NULL) {
        return;
    }
    if (wire->socket != NULL) {
        (void)zmq_setsockopt(wire->socket, ZMQ_LINGER, &linger_ms, sizeof linger_ms);
        (void)zmq_socket_monitor(wire->socket, NULL, 0);
        (void)zmq_close(wire->socket);
    }
    if (wire->monitor != NULL) {
        (void)zmq_close(wire->monitor);
    }
    if (wire->epoll >= 0) {
        (void)close(wire->epoll);
    }
    (void)zmq_msg_close(&wire->parts[0]);
    (void)zmq_msg_close(&wire->parts[1]);
    free(wire);
    *wire_ = NULL;
}

int client_wire_fd(const struct wire *wire)
{
    return wire->epoll;
}

static void on_event(struct wire *wire, unsigned event, uint32_t value)
{
    switch (event) {
    case ZMQ_EVENT_HANDSHAKE_SUCCEEDED:
        return;
    case ZMQ_EVENT_HANDSHAKE_FAILED_AUTH:
        wire->status = WIRE_REFUSED;
        wire->why = "the hub does not know this transport key: is it enrolled?";
        return;
    case ZMQ_EVENT_HANDSHAKE_FAILED_PROTOCOL:
    case ZMQ_EVENT_HANDSHAKE_FAILED_NO_DETAIL:
        wire->why = "the CURVE handshake failed: check hub.public and the endpoint";
        break;
    case ZMQ_EVENT_DISCONNECTED:
        wire->why = wire->why == NULL ? "the connection was closed" : wire->why;
        break;
    default: /* CLOSED, CONNECT_RETRIED: no connection came about */
        wire->why = wire->why == NULL ? "no connection to the endpoint" : wire->why;
        break;
    }
    (void)value;
    wire->status = wire->status == WIRE_FINE ? WIRE_LOST : wire->status;
}

enum wire_status client_wire_status(struct wire *wire, const char **why)
{
    zmq_msg_t part;
    for (;;) {
        (void)zmq_msg_init(&part);
        if (zmq_msg_recv(&part, wire->monitor, ZMQ_DONTWAIT) < 0) {
            (void)zmq_msg_close(&part);
            break;
        }
        if (zmq_msg_size(&part) == 6) { /* 16-bit event, 32-bit value, in the machine's order */
            uint16_t event;
            uint32_t value;
            memcpy(&event, zmq_msg_data(&part), sizeof event);
            memcpy(&value, (const uint8_t *)zmq_msg_data(&part) + sizeof event, sizeof value);
            on_event(wire, event, value);
        }
        (void)zmq_msg_close(&part); /* the second part is the address: passed over */
    }
    *why = wire->why != NULL ? wire->why : "";
    return wire->status;
}

truc_error client_wire_receive(struct wire *wire, struct truc_bytes parts[2], size_t *count)
{
    *count = 0;
    for (bool more = true; more;) {
        zmq_msg_t rest, *part = &rest;
        if (*count < 2) {
            part = &wire->parts[*count];
            (void)zmq_msg_close(part);
        }
        (void)zmq_msg_init(part);
        if (zmq_msg_recv(part, wire->socket, ZMQ_DONTWAIT) < 0) {
            return errno == EAGAIN || errno == EINTR ? TRUC_E_AGAIN : TRUC_E_IO; /* messages come whole or not at all */
        }
        more = zmq_msg_more(part) != 0;
        if (*count < 2) {
            parts[*count] = truc_bytes(zmq_msg_data(part), zmq_msg_size(part));
        } else {
            (void)zmq_msg_close(part);
        }
        *count += *count < 3;
    }
    return TRUC_OK;
}

static void release_body(void *data, void *hint)
{
    struct client_body *body = hint;
    (void)data;
    client_body_release(&body);
}

static truc_error make_part(const struct client_outgoing *message, zmq_msg_t *part)
{
    if (message->body == NULL || message->size < COPY_BELOW) {
        if (zmq_msg_init_size(part, message->size) != 0) {
            return TRUC_E_NOMEM;
        }
        if (message->size > 0) {
            memcpy(zmq_msg_data(part), message->body->bytes.data + message->offset, message->size);
        }
        return TRUC_OK;
    }
    struct client_body *body = client_body_ref(message->body);
    if (zmq_msg_init_data(part, body->bytes.data + message->offset, message->size, release_body, body) != 0) {
        client_body_release(&body);
        return TRUC_E_NOMEM;
    }
    return TRUC_OK;
}

truc_error client_wire_send(struct wire *wire, const struct client_outgoing *message)
{
    const struct truc_buffer *head = &message->head;
    zmq_msg_t part;
    truc_error error = message->has_body ? make_part(message, &part) : TRUC_OK;
    if (error != TRUC_OK) {
        return error;
    }
    int flags = ZMQ_DONTWAIT | (message->has_body ? ZMQ_SNDMORE : 0);
    if (zmq_send(wire->socket, head->data, head->size, flags) < 0) {
        error = errno == EAGAIN || errno == EINTR ? TRUC_E_AGAIN : TRUC_E_IO;
    }
    /* After part 1 was taken part 2 is too: the high-water mark counts whole messages. */
    if (error == TRUC_OK && message->has_body && zmq_msg_send(&part, wire->socket, ZMQ_DONTWAIT) < 0) {
        error = TRUC_E_IO;
    }
    if (error != TRUC_OK && message->has_body) {
        (void)zmq_msg_close(&part);
    }
    return error;
}

bool client_wire_ready(const struct wire *wire, bool to_send)
{
    int events = 0, wanted = ZMQ_POLLIN | (to_send ? ZMQ_POLLOUT : 0);
    size_t size = sizeof events;
    return zmq_getsockopt(wire->socket, ZMQ_EVENTS, &events, &size) != 0 || (events & wanted) != 0;
}
