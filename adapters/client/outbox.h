/* Frames on their way out. A seal's body is built once and shared by its flight (for sending it again) and by the
 * messages that the transport holds; whoever lets go last frees it, on whatever thread that is. */
#ifndef TRUC_CLIENT_OUTBOX_H
#define TRUC_CLIENT_OUTBOX_H

#include "truc/frame.h"

#include <stdatomic.h>

struct client_body {
    atomic_uint owners;
    struct truc_buffer bytes;
};

TRUC_MUST_USE truc_error client_body_new(struct client_body **out);
struct client_body *client_body_ref(struct client_body *body);
/* Gives one ownership back and sets *body to NULL. Any thread. */
void client_body_release(struct client_body **body);
/* An empty body for writing: the same one where nobody else holds it, otherwise a new one. */
TRUC_MUST_USE truc_error client_body_renew(struct client_body **body);

/* One ZeroMQ message: part 1, and where the frame has a body a piece of it as part 2. */
struct client_outgoing {
    struct truc_buffer head;
    struct client_body *body; /* NULL: no part 2, or an empty one */
    size_t offset, size;
    bool has_body;
    uint64_t mark; /* of what is kept for later: when it may go */
};

struct client_outbox {
    struct client_outgoing *ring;
    size_t capacity, first, count;
};

#define CLIENT_OUTBOX_MAX 65536u /* messages: far beyond what flights, acks and credit can add up to */

void client_outbox_close(struct client_outbox *outbox);
/* Drops everything that waits. */
void client_outbox_clear(struct client_outbox *outbox);
/* Queues a frame, cut into pieces where its body is longer than one. `body` may be NULL; it is shared, not taken.
 * Errors: TRUC_E_FULL, TRUC_E_NOMEM, TRUC_E_INVALID. */
TRUC_MUST_USE truc_error client_outbox_push(struct client_outbox *outbox, enum truc_frame_kind kind,
                                            const ProtobufCMessage *message, struct client_body *body);
/* Queues a frame without a body that may go when the store is durable up to `mark`. */
TRUC_MUST_USE truc_error client_outbox_push_later(struct client_outbox *outbox, enum truc_frame_kind kind,
                                                  const ProtobufCMessage *message, uint64_t mark);
/* The oldest one of `from` becomes the newest one of `to`. Errors: TRUC_E_FULL, TRUC_E_NOMEM; then it stays. */
TRUC_MUST_USE truc_error client_outbox_move(struct client_outbox *from, struct client_outbox *to);
/* The oldest one, NULL where there is none; pop lets it go. */
struct client_outgoing *client_outbox_peek(struct client_outbox *outbox);
void client_outbox_pop(struct client_outbox *outbox);

#endif
