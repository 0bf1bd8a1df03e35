#include "adapters/client/outbox.h"

truc_error client_body_new(struct client_body **out)
{
    struct client_body *body = calloc(1, sizeof *body);
    if (body == NULL) {
        return TRUC_E_NOMEM;
    }
    atomic_init(&body->owners, 1);
    *out = body;
    return TRUC_OK;
}

struct client_body *client_body_ref(struct client_body *body)
{
    atomic_fetch_add_explicit(&body->owners, 1, memory_order_relaxed);
    return body;
}

void client_body_release(struct client_body **body_)
{
    struct client_body *body = *body_;
    *body_ = NULL;
    if (body != NULL && atomic_fetch_sub_explicit(&body->owners, 1, memory_order_acq_rel) == 1) {
        truc_buffer_close(&body->bytes);
        free(body);
    }
}

truc_error client_body_renew(struct client_body **body)
{
    if (*body != NULL && atomic_load_explicit(&(*body)->owners, memory_order_acquire) == 1) {
        truc_buffer_clear(&(*body)->bytes);
        return TRUC_OK;
    }
    client_body_release(body);
    return client_body_new(body);
}

void client_outbox_close(struct client_outbox *outbox)
{
    for (size_t i = 0; i < outbox->capacity; i++) {
        truc_buffer_close(&outbox->ring[i].head);
        client_body_release(&outbox->ring[i].body);
    }
    free(outbox->ring);
    *outbox = (struct client_outbox){0};
}

void client_outbox_clear(struct client_outbox *outbox)
{
    while (outbox->count > 0) {
        client_outbox_pop(outbox);
    }
}

static truc_error grow(struct client_outbox *outbox)
{
    size_t capacity = outbox->capacity == 0 ? 64 : outbox->capacity * 2;
    if (capacity > CLIENT_OUTBOX_MAX) {
        return TRUC_E_FULL;
    }
    struct client_outgoing *ring = calloc(capacity, sizeof *ring);
    if (ring == NULL) {
        return TRUC_E_NOMEM;
    }
    for (size_t i = 0; i < outbox->capacity; i++) { /* the idle ones too: they keep their buffers */
        ring[i] = outbox->ring[(outbox->first + i) % outbox->capacity];
    }
    free(outbox->ring);
    outbox->ring = ring;
    outbox->capacity = capacity;
    outbox->first = 0;
    return TRUC_OK;
}

static truc_error push_piece(struct client_outbox *outbox, enum truc_frame_kind kind, unsigned flags,
                             const ProtobufCMessage *message, struct client_body *body, size_t offset, size_t size)
{
    truc_error error = outbox->count == outbox->capacity ? grow(outbox) : TRUC_OK;
    if (error != TRUC_OK) {
        return error;
    }
    struct client_outgoing *out = &outbox->ring[(outbox->first + outbox->count) % outbox->capacity];
    truc_buffer_clear(&out->head);
    error = truc_frame_encode(kind, flags, message, &out->head);
    if (error != TRUC_OK) {
        return error;
    }
    out->has_body = truc_frame_has_body(kind);
    out->body = body != NULL ? client_body_ref(body) : NULL;
    out->offset = offset;
    out->size = size;
    outbox->count++;
    return TRUC_OK;
}

truc_error client_outbox_push(struct client_outbox *outbox, enum truc_frame_kind kind, const ProtobufCMessage *message,
                              struct client_body *body)
{
    size_t left = body != NULL ? body->bytes.size : 0, offset = 0;
    truc_error error;
    do {
        size_t size = left < TRUC_PIECE_MAX ? left : TRUC_PIECE_MAX;
        left -= size;
        error = push_piece(outbox, offset == 0 ? kind : TRUC_FRAME_DATA, left > 0 ? TRUC_FRAME_MORE : 0,
                           offset == 0 ? message : NULL, body, offset, size);
        offset += size;
    } while (left > 0 && error == TRUC_OK);
    return error;
}

truc_error client_outbox_push_later(struct client_outbox *outbox, enum truc_frame_kind kind,
                                    const ProtobufCMessage *message, uint64_t mark)
{
    truc_error error = push_piece(outbox, kind, 0, message, NULL, 0, 0);
    if (error == TRUC_OK) {
        outbox->ring[(outbox->first + outbox->count - 1) % outbox->capacity].mark = mark;
    }
    return error;
}

/* The two places change their contents, so that both keep a buffer for the next time. */
truc_error client_outbox_move(struct client_outbox *from, struct client_outbox *to)
{
    truc_error error = to->count == to->capacity ? grow(to) : TRUC_OK;
    if (error != TRUC_OK) {
        return error;
    }
    struct client_outgoing *oldest = &from->ring[from->first];
    struct client_outgoing *place = &to->ring[(to->first + to->count) % to->capacity], kept = *place;
    *place = *oldest;
    *oldest = kept;
    from->first = (from->first + 1) % from->capacity;
    from->count--;
    to->count++;
    return TRUC_OK;
}

struct client_outgoing *client_outbox_peek(struct client_outbox *outbox)
{
    return outbox->count > 0 ? &outbox->ring[outbox->first] : NULL;
}

void client_outbox_pop(struct client_outbox *outbox)
{
    client_body_release(&outbox->ring[outbox->first].body);
    outbox->first = (outbox->first + 1) % outbox->capacity;
    outbox->count--;
}
