/* One connection to one endpoint: a DEALER with CURVE and its monitor. The one file of the client that knows ZeroMQ.
 *
 * ZMQ_FD is edge-triggered: it is silent about what was there before it was last looked at. Whoever waits for it must
 * have drained the socket, and looked again after sending. */
#ifndef TRUC_CLIENT_WIRE_H
#define TRUC_CLIENT_WIRE_H

#include "adapters/client/outbox.h"

struct wire;

struct wire_keys {
    const char *hub_public, *own_public, *own_secret; /* Z85; borrowed */
};

/* Errors: TRUC_E_INVALID (a key or an endpoint that ZeroMQ does not take), TRUC_E_IO. */
TRUC_MUST_USE truc_error client_wire_new(void *zmq, const char *endpoint, const struct wire_keys *keys,
                                         struct wire **out);
/* `linger_ms`: how long what was sent may still take to leave. Blocks for the close of the socket's context only. */
void client_wire_free(struct wire **wire, int linger_ms);
/* Readable when there may be something to do; the same for the life of the wire. */
int client_wire_fd(const struct wire *wire);

enum wire_status { WIRE_FINE, WIRE_LOST, WIRE_REFUSED };
/* What the monitor saw; `why` names it (static storage). */
enum wire_status client_wire_status(struct wire *wire, const char **why);

/* Takes one message; the parts are borrowed until the next call. TRUC_E_AGAIN: nothing there. More parts than two come
 * as count 3. Errors: TRUC_E_IO. */
TRUC_MUST_USE truc_error client_wire_receive(struct wire *wire, struct truc_bytes parts[2], size_t *count);
/* Sends one message; its body is shared without a copy. TRUC_E_AGAIN: the socket takes no more for now. */
TRUC_MUST_USE truc_error client_wire_send(struct wire *wire, const struct client_outgoing *message);

/* Whether a message is there, or, where one waits to be sent, room for it: sending looks at the same signal that the
 * descriptor shows, and takes it away. */
bool client_wire_ready(const struct wire *wire, bool to_send);

#endif
