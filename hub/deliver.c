#include "hub/deliver.h"

struct hub_deliver {
    Truc__V1__DeliverGroup groups[HUB_DELIVER_ITEMS], *group_views[HUB_DELIVER_ITEMS];
    Truc__V1__DeliverItem items[HUB_DELIVER_ITEMS], *item_views[HUB_DELIVER_ITEMS];
    size_t group_count, item_count;
    struct truc_buffer kept; /* envelopes and nodes; groups hold offsets into it until the frame is sent */
    size_t envelope_at[HUB_DELIVER_ITEMS], nodes_at[HUB_DELIVER_ITEMS];
    /* The body: lent as long as it is one stretch of one submission's body, which goes out as it came in, to any number
     * of sessions; a copy from then on. */
    struct hub_submission *lender; /* an owner of it; NULL: copied */
    const uint8_t *lent;
    zmq_msg_t copy;
    size_t room; /* of the copy; what is expected until there is one */
    size_t used; /* bytes of the body, lent or copied */
    bool copied;
};

truc_error hub_deliver_new(const struct hub_delivery *deliveries, size_t count, struct hub_deliver **out)
{
    struct hub_deliver *frame = malloc(sizeof *frame);

    if (!frame)
        return TRUC_E_NOMEM;
    frame->group_count = frame->item_count = frame->room = frame->used = 0;
    frame->kept = (struct truc_buffer){0};
    frame->lender = NULL;
    frame->lent = NULL;
    frame->copied = false;
    for (size_t i = 0; i < count; i++)
        frame->room += 4u + deliveries[i].posting.size;
    *out = frame;
    return TRUC_OK;
}

static void give_back_loan(struct hub_deliver *frame)
{
    hub_submission_release(frame->lender);
    frame->lender = NULL;
    frame->lent = NULL;
}

void hub_deliver_free(struct hub_deliver **frame)
{
    if (!*frame)
        return;
    give_back_loan(*frame);
    if ((*frame)->copied)
        zmq_msg_close(&(*frame)->copy);
    truc_buffer_close(&(*frame)->kept);
    free(*frame);
    *frame = NULL;
}

/* Room for `size` bytes more in a copy of what there is. Sizes are known beforehand, but for replays: there they are
 * what the order says, and the content decides. */
static truc_error make_room(struct hub_deliver *frame, size_t size)
{
    zmq_msg_t larger;

    if (frame->copied && frame->used + size <= frame->room)
        return TRUC_OK;
    size_t room = frame->used + size <= frame->room ? frame->room : frame->used + size;
    if (zmq_msg_init_size(&larger, room) != 0)
        return TRUC_E_NOMEM;
    if (frame->used > 0)
        memcpy(zmq_msg_data(&larger), frame->copied ? zmq_msg_data(&frame->copy) : frame->lent, frame->used);
    if (frame->copied)
        zmq_msg_close(&frame->copy);
    give_back_loan(frame);
    zmq_msg_init(&frame->copy);
    zmq_msg_move(&frame->copy, &larger);
    zmq_msg_close(&larger);
    frame->room = room;
    frame->copied = true;
    return TRUC_OK;
}

/* A message keeps all of the submission until it is sent: for less than this part of the body it is not worth it. */
#define LEND_PART 16

/* true where the body stays, or becomes, one stretch that a submission lends. */
static bool lend_event(struct hub_deliver *frame, struct hub_submission *lender, struct truc_bytes event)
{
    const uint8_t *from = event.data - 4;

    if (!lender || frame->copied || !hub_cache_lends(lender->hub->cache, lender->hub) ||
        (frame->used > 0 && (frame->lender != lender || frame->lent + frame->used != from)))
        return false;
    if (!frame->lender) {
        atomic_fetch_add(&lender->owners, 1);
        frame->lender = lender;
        frame->lent = from;
    }
    frame->used += 4 + event.size;
    return true;
}

static truc_error put_event(struct hub_deliver *frame, struct hub_submission *lender, struct truc_bytes event)
{
    if (lend_event(frame, lender, event))
        return TRUC_OK;
    truc_error error = make_room(frame, 4 + event.size);
    if (error)
        return error;
    uint8_t *at = (uint8_t *)zmq_msg_data(&frame->copy) + frame->used;
    uint32_t size = (uint32_t)event.size;
    at[0] = (uint8_t)size;
    at[1] = (uint8_t)(size >> 8);
    at[2] = (uint8_t)(size >> 16);
    at[3] = (uint8_t)(size >> 24);
    memcpy(at + 4, event.data, event.size);
    frame->used += 4 + event.size;
    return TRUC_OK;
}

static void put_item(struct hub_deliver *frame, const struct hub_delivery *delivery)
{
    const struct hub_posting *posting = &delivery->posting;
    Truc__V1__DeliverItem *item = &frame->items[frame->item_count];

    truc__v1__deliver_item__init(item);
    item->number = posting->number;
    item->sequence = posting->sequence;
    item->previous_sequence = posting->previous_sequence;
    item->index = posting->index;
    item->attempt = delivery->attempt;
    item->replay = posting->replay;
    item->requeued = posting->requeued;
    item->receipt_wanted = posting->receipt_wanted;
    frame->item_views[frame->item_count++] = item;
}

static truc_error put_proof(struct hub_deliver *frame, const struct hub_content *content, const uint32_t *indexes,
                            size_t count, size_t *node_count)
{
    struct truc_hash leaves[TRUC_SEAL_EVENTS_MAX], nodes[TRUC_MULTIPROOF_MAX];
    const uint8_t *from = content->leaf_hashes->bytes;
    truc_error error;

    *node_count = 0;
    if (count == content->count)
        return TRUC_OK;
    if (content->tree) {
        error = truc_multiproof_look_up(content->tree, content->count, indexes, count, nodes, node_count);
    } else {
        for (uint32_t i = 0; i < content->count; i++)
            memcpy(&leaves[i], from + i * content->hash_stride, sizeof leaves[i]);
        error = truc_multiproof_make(leaves, content->count, indexes, count, nodes, node_count);
    }
    if (error)
        return error;
    return truc_buffer_append(&frame->kept, nodes, *node_count * sizeof nodes[0]);
}

truc_error hub_deliver_add(struct hub_deliver *frame, const struct hub_content *content,
                           const struct hub_delivery *deliveries, size_t count)
{
    Truc__V1__DeliverGroup *group = &frame->groups[frame->group_count];
    uint32_t indexes[HUB_DELIVER_ITEMS];
    size_t first = frame->item_count, added = 0;
    truc_error error;

    for (size_t i = 0; i < count; i++) {
        const struct hub_posting *posting = &deliveries[i].posting;
        if (posting->index >= content->count)
            return TRUC_E_CORRUPT;
        struct truc_bytes event = content->events[posting->index];
        if (!event.data)
            continue;
        if (event.size != posting->size && !posting->replay)
            return TRUC_E_CORRUPT;
        if ((error = put_event(frame, content->lender, event)))
            return error;
        put_item(frame, &deliveries[i]);
        indexes[added++] = posting->index;
    }
    if (added == 0)
        return TRUC_OK;
    truc__v1__deliver_group__init(group);
    frame->envelope_at[frame->group_count] = frame->kept.size;
    if ((error = truc_buffer_append(&frame->kept, content->envelope.data, content->envelope.size)))
        return error;
    frame->nodes_at[frame->group_count] = frame->kept.size;
    if ((error = put_proof(frame, content, indexes, added, &group->n_nodes)))
        return error;
    group->envelope.len = content->envelope.size;
    group->accepted_at_us = content->accepted_at_us;
    group->leaf_index = content->leaf_index;
    group->items = &frame->item_views[first];
    group->n_items = added;
    frame->group_views[frame->group_count++] = group;
    return TRUC_OK;
}

size_t hub_deliver_count(const struct hub_deliver *frame)
{
    return frame->item_count;
}

bool hub_deliver_has(const struct hub_deliver *frame, uint64_t number)
{
    for (size_t i = 0; i < frame->item_count; i++)
        if (frame->items[i].number == number)
            return true;
    return false;
}

/* The views could not be made before: `kept` moves while it grows. */
static bool fix_views(struct hub_deliver *frame, ProtobufCBinaryData **nodes_out)
{
    size_t all = 0;

    for (size_t i = 0; i < frame->group_count; i++)
        all += frame->groups[i].n_nodes;
    ProtobufCBinaryData *nodes = malloc((all + 1) * sizeof *nodes);
    if (!nodes)
        return false;
    *nodes_out = nodes;
    for (size_t i = 0; i < frame->group_count; i++) {
        frame->groups[i].envelope.data = frame->kept.data + frame->envelope_at[i];
        frame->groups[i].nodes = nodes;
        for (size_t n = 0; n < frame->groups[i].n_nodes; n++)
            *nodes++ =
                (ProtobufCBinaryData){TRUC_HASH_SIZE, frame->kept.data + frame->nodes_at[i] + n * TRUC_HASH_SIZE};
    }
    return true;
}

/* On a ZeroMQ thread, when the bytes were sent. */
static void body_sent(void *data, void *lender)
{
    (void)data;
    hub_submission_release(lender);
}

static bool make_piece(zmq_msg_t *piece, const struct hub_deliver *frame, size_t at, size_t size)
{
    if (!frame->lender) {
        if (zmq_msg_init_size(piece, size) != 0)
            return false;
        memcpy(zmq_msg_data(piece), (uint8_t *)zmq_msg_data((zmq_msg_t *)&frame->copy) + at, size);
        return true;
    }
    atomic_fetch_add(&frame->lender->owners, 1);
    if (zmq_msg_init_data(piece, (void *)(frame->lent + at), size, body_sent, frame->lender) == 0)
        return true;
    hub_submission_release(frame->lender);
    return false;
}

static void send_pieces(struct hub *hub, struct hub_session *session, struct hub_deliver *frame,
                        const Truc__V1__Deliver *message)
{
    enum truc_frame_kind kind = TRUC_FRAME_DELIVER;

    for (size_t at = 0; at < frame->used;) {
        size_t size = frame->used - at < TRUC_PIECE_MAX ? frame->used - at : TRUC_PIECE_MAX;
        zmq_msg_t piece;
        if (!make_piece(&piece, frame, at, size)) {
            hub_fatal(hub, "delivering", TRUC_E_NOMEM);
            return;
        }
        at += size;
        hub_session_send(hub, session, kind, at < frame->used ? TRUC_FRAME_MORE : 0,
                         kind == TRUC_FRAME_DELIVER ? &message->base : NULL, &piece);
        kind = TRUC_FRAME_DATA;
    }
}

size_t hub_deliver_send(struct hub *hub, struct hub_session *session, struct hub_deliver *frame, uint64_t lease,
                        uint64_t floor)
{
    Truc__V1__Deliver message = TRUC__V1__DELIVER__INIT;
    ProtobufCBinaryData *nodes = NULL;

    if (frame->item_count == 0)
        return 0;
    if (!fix_views(frame, &nodes)) {
        hub_fatal(hub, "delivering", TRUC_E_NOMEM);
        return 0;
    }
    message.lease = lease;
    message.floor = floor;
    message.groups = frame->group_views;
    message.n_groups = frame->group_count;
    if (frame->lender && frame->used < frame->lender->body.size / LEND_PART && make_room(frame, 0) != TRUC_OK) {
        hub_fatal(hub, "delivering", TRUC_E_NOMEM);
        free(nodes);
        return 0;
    }
    if (frame->copied && frame->used == frame->room && frame->used <= TRUC_PIECE_MAX) {
        zmq_msg_t whole;
        zmq_msg_init(&whole);
        zmq_msg_move(&whole, &frame->copy);
        hub_session_send(hub, session, TRUC_FRAME_DELIVER, 0, &message.base, &whole);
    } else {
        send_pieces(hub, session, frame, &message);
    }
    free(nodes);
    return frame->item_count;
}
