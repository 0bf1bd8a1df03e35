/* The hub's ROUTER on libuv: messages in and out by peer, and the means to take a peer's connection. The one place that
 * knows ZeroMQ; it knows nothing of frames.
 *
 * A peer is one connection. Its number is never used twice. libzmq tells of a lost connection only through the socket
 * monitor, by file descriptor, and has no call that drops one peer: the descriptor of the connection that a message
 * came on (ZMQ_SRCFD) ties the two together, and shutdown(2) on it is what takes the connection. The watchdog compares
 * the bytes that the kernel received on a connection with what came out as whole messages, so that an endless
 * multipart, which libzmq would collect for ever without telling, costs its sender the connection too.
 *
 * Everything runs on the loop's thread. */
#ifndef HUB_NET_SOCKET_H
#define HUB_NET_SOCKET_H

#include "truc/bytes.h"

#include <uv.h>
#include <zmq.h>

struct hub_socket;

#define HUB_SOCKET_PARTS_MAX 2

struct hub_socket_events {
    void *context;
    /* ZAP: may a client with this CURVE key come in? */
    bool (*may_connect)(void *context, const uint8_t key[32]);
    /* A whole message. `parts` are the callee's to move out of (zmq_msg_move); what is left is closed afterwards.
     * part_count > HUB_SOCKET_PARTS_MAX says that more parts came, which were thrown away. */
    void (*on_message)(void *context, uint32_t peer, const uint8_t key[32], zmq_msg_t *parts, size_t part_count);
    /* The connection is gone; no more messages of this peer. Also after hub_socket_drop. */
    void (*on_gone)(void *context, uint32_t peer);
    /* A turn of the loop has taken all messages that were there. */
    void (*on_drained)(void *context);
    /* A connection was taken by the watchdog, for the log. */
    void (*on_flood)(void *context, uint32_t peer, uint64_t bytes);
};

struct hub_socket_limits {
    size_t part_bytes;     /* larger parts end the connection inside libzmq */
    uint64_t unsent_bytes; /* watchdog: given to a peer and not taken by it */
    uint64_t unread_bytes; /* watchdog: received by the kernel beyond the last whole message */
    int handshake_ms;
    unsigned connections; /* beyond these the oldest one that has said nothing yet is taken, or else the new one */
    int io_threads;
};

/* Binds ZAP first, then the ROUTER with CURVE. Keys are Z85. `endpoint` may end in ":0" or ":*"; the real one is
 * hub_socket_endpoint. Errors: TRUC_E_IO (errno of zmq), TRUC_E_NOMEM. */
TRUC_MUST_USE truc_error hub_socket_open(uv_loop_t *loop, const char *endpoint, const char *curve_public,
                                         const char *curve_secret, const struct hub_socket_limits *limits,
                                         const struct hub_socket_events *events, struct hub_socket **out);
const char *hub_socket_endpoint(const struct hub_socket *socket);
/* Sends part 1 (copied) and, if not NULL, part 2 (consumed in any case). Never blocks.
 * Errors: TRUC_E_AGAIN (its queue is full), TRUC_E_CLOSED (gone): the peer should lose its session. */
TRUC_MUST_USE truc_error hub_socket_send(struct hub_socket *socket, uint32_t peer, struct truc_bytes part1,
                                         zmq_msg_t *part2);
/* Bytes that were sent to the peer and that it has not acknowledged yet: in libzmq's queue and in the kernel's.
 * High-water marks count messages; this counts what they weigh. 0 for an unknown peer. */
uint64_t hub_socket_unsent(const struct hub_socket *socket, uint32_t peer);
/* The same of all peers together. Counted up at each send; counted anew, peer by peer, where it is over `enough` and
 * the last count is older than 20 ms: so it may be too high, never too low. */
uint64_t hub_socket_backlog(struct hub_socket *socket, uint64_t enough);
/* Bytes given to it so far. */
uint64_t hub_socket_sent(const struct hub_socket *socket, uint32_t peer);
/* Takes the connection after `linger_ms`, so that a last message can leave. Messages of the peer are thrown away from
 * now on; on_gone comes in time. */
void hub_socket_drop(struct hub_socket *socket, uint32_t peer, unsigned linger_ms);
size_t hub_socket_peers(const struct hub_socket *socket);
/* Stops taking new messages and connections; sending still works. */
void hub_socket_pause(struct hub_socket *socket);
/* Closes sockets and context (waits for queued messages at most linger_ms) and the loop's handles. */
void hub_socket_close(struct hub_socket **socket, int linger_ms);

#endif
