/* Receipts and settled acks: what leaves once a commit is durable. One frame a session and commit, one checkpoint a
 * frame. */
#include "hub/hub.h"

#define RECEIPTS_BYTES (512u << 10) /* of leaves in one frame: part 1 stays below its limit */
#define RECEIPTS_MAX 512

struct receipt_frame {
    Truc__V1__Receipts message;
    Truc__V1__Receipt items[RECEIPTS_MAX], *item_views[RECEIPTS_MAX];
    struct truc_hash paths[RECEIPTS_MAX][TRUC_PROOF_MAX];
    ProtobufCBinaryData path_views[RECEIPTS_MAX][TRUC_PROOF_MAX];
    size_t count, bytes;
    uint64_t session;
};

static void frame_start(struct hub *hub, struct receipt_frame *frame, uint64_t session)
{
    truc__v1__receipts__init(&frame->message);
    frame->message.checkpoint = (ProtobufCBinaryData){hub->checkpoint.size, hub->checkpoint.data};
    frame->message.receipts = frame->item_views;
    frame->count = frame->bytes = 0;
    frame->session = session;
}

truc_error hub_prove_growth(struct hub *hub, const struct hub_session *session, struct truc_hash *hashes,
                            ProtobufCBinaryData *views, size_t *count)
{
    truc_error error =
        truc_consistency_path(hub_core_node, hub->core, session->checkpoint_size, hub->checkpoint_size, hashes, count);

    for (size_t i = 0; !error && i < *count; i++)
        views[i] = (ProtobufCBinaryData){sizeof hashes[i].bytes, hashes[i].bytes};
    return error;
}

void hub_checkpoint_sent(struct hub *hub, struct hub_session *session)
{
    session->checkpoint_size = hub->checkpoint_size;
}

static truc_error frame_send(struct hub *hub, struct receipt_frame *frame)
{
    struct hub_session *session = hub_session_find(hub, frame->session);
    struct truc_hash hashes[TRUC_PROOF_MAX];
    ProtobufCBinaryData views[TRUC_PROOF_MAX];
    truc_error error;

    if (!session || frame->count == 0)
        return TRUC_OK;
    if ((error = hub_prove_growth(hub, session, hashes, views, &frame->message.n_consistency)))
        return error;
    frame->message.consistency = views;
    frame->message.n_receipts = frame->count;
    hub_session_send(hub, session, TRUC_FRAME_RECEIPTS, 0, &frame->message.base, NULL);
    hub_checkpoint_sent(hub, session);
    return TRUC_OK;
}

static truc_error frame_add(struct hub *hub, struct receipt_frame *frame, const struct truc_hash *digest,
                            struct truc_bytes leaf, uint64_t leaf_index)
{
    size_t at = frame->count, path_count;
    Truc__V1__Receipt *item = &frame->items[at];
    truc_error error =
        truc_inclusion_path(hub_core_node, hub->core, leaf_index, hub->checkpoint_size, frame->paths[at], &path_count);

    if (error)
        return error;
    truc__v1__receipt__init(item);
    item->seal_digest = (ProtobufCBinaryData){sizeof digest->bytes, (uint8_t *)digest->bytes};
    item->leaf = (ProtobufCBinaryData){leaf.size, (uint8_t *)leaf.data};
    item->leaf_index = leaf_index;
    for (size_t i = 0; i < path_count; i++)
        frame->path_views[at][i] = (ProtobufCBinaryData){TRUC_HASH_SIZE, frame->paths[at][i].bytes};
    item->path = frame->path_views[at];
    item->n_path = path_count;
    frame->item_views[at] = item;
    frame->bytes += leaf.size + path_count * (TRUC_HASH_SIZE + 2) + 64;
    frame->count++;
    return TRUC_OK;
}

static truc_error answer(struct hub *hub, struct receipt_frame *frame, struct hub_submission *submission,
                         const struct hub_effect *leaf)
{
    hub_uncharge(hub, submission);
    submission->state = SUBMISSION_DONE;
    if (submission->session != frame->session || frame->count == RECEIPTS_MAX || frame->bytes > RECEIPTS_BYTES) {
        truc_error error = frame_send(hub, frame);
        if (error)
            return error;
        frame_start(hub, frame, submission->session);
    }
    return frame_add(hub, frame, &submission->parsed.digest, leaf->leaf, leaf->leaf_index);
}

void hub_send_receipts(struct hub *hub, struct hub_commit *commit)
{
    struct receipt_frame *frame = malloc(sizeof *frame);
    truc_error error = frame ? TRUC_OK : TRUC_E_NOMEM;
    size_t effect = 0;
    bool refused = hub_refusals_grew(hub);

    if (!error)
        frame_start(hub, frame, 0);
    for (size_t i = 0; !error && i < commit->count; i++) {
        struct hub_submission *submission = commit->submissions[i];
        if (!submission)
            continue;
        while (effect < hub->effects.count && hub->effects.items[effect].kind != HUB_EFFECT_LEAF)
            effect++;
        if (effect == hub->effects.count) {
            error = TRUC_E_CORRUPT; /* every applied seal has its leaf */
            break;
        }
        error = answer(hub, frame, submission, &hub->effects.items[effect]);
        /* The frame borrows their digests until it is sent: they are released with the commit. */
        for (struct hub_submission *same = submission->same; !error && same; same = same->same)
            error = answer(hub, frame, same, &hub->effects.items[effect]);
        if (refused)
            hub_refusals_tell(hub, submission, &hub->effects.items[effect]);
        effect++;
    }
    if (!error)
        error = frame_send(hub, frame);
    if (error)
        hub_fatal(hub, "making receipts", error);
    free(frame);
}

void hub_send_known(struct hub *hub, struct hub_session *session, const struct truc_hash *digest, uint64_t leaf_index)
{
    struct receipt_frame *frame = malloc(sizeof *frame);
    struct truc_buffer leaf = {0};
    truc_error error = frame ? hub_core_leaf(hub->core, leaf_index, &leaf) : TRUC_E_NOMEM;

    if (!error) {
        frame_start(hub, frame, session->id);
        error = frame_add(hub, frame, digest, truc_buffer_view(&leaf), leaf_index);
    }
    if (!error)
        error = frame_send(hub, frame);
    if (error)
        hub_fatal(hub, "answering a known seal", error);
    truc_buffer_close(&leaf);
    free(frame);
}

/* ---- acks
 * ------------------------------------------------------------------------------------------------------------- */

#define SETTLED_MAX 1024

static int by_session(const void *a, const void *b)
{
    const struct hub_settle *left = a, *right = b;

    return left->session < right->session ? -1 : left->session > right->session;
}

static void send_settled(struct hub *hub, const struct hub_settle *settles, size_t count)
{
    struct hub_session *session = hub_session_find(hub, settles[0].session);
    Truc__V1__Settled message = TRUC__V1__SETTLED__INIT;
    Truc__V1__AckRange ranges[SETTLED_MAX], *range_views[SETTLED_MAX];
    char *subscriptions[SETTLED_MAX];

    if (!session)
        return;
    for (size_t i = 0; i < count; i++) {
        if (settles[i].subscription) {
            if (session->subscribing > 0)
                session->subscribing--;
            subscriptions[message.n_subscriptions++] = settles[i].subscription;
            continue;
        }
        Truc__V1__AckRange *range = &ranges[message.n_ranges];
        truc__v1__ack_range__init(range);
        range->lease = settles[i].lease;
        range->first = settles[i].range.first;
        range->count = settles[i].range.count;
        range_views[message.n_ranges++] = range;
    }
    message.ranges = range_views;
    message.subscriptions = subscriptions;
    hub_session_send(hub, session, TRUC_FRAME_SETTLED, 0, &message.base, NULL);
}

void hub_send_settled(struct hub *hub, struct hub_commit *commit)
{
    size_t from = 0;

    if (commit->settle_count > 1)
        qsort(commit->settles, commit->settle_count, sizeof *commit->settles, by_session);
    for (size_t i = 1; i <= commit->settle_count; i++) {
        if (i < commit->settle_count && commit->settles[i].session == commit->settles[from].session &&
            i - from < SETTLED_MAX)
            continue;
        send_settled(hub, &commit->settles[from], i - from);
        from = i;
    }
}
