/* A scripted hub for the client's tests: a real log (tree, leaves, signed checkpoints), real keys, a store in memory
 * and a virtual clock. What it says is built with the protocol library; what it hears is taken from the session's
 * outbox. */
#ifndef TRUC_TESTS_CLIENT_FAKE_HUB_H
#define TRUC_TESTS_CLIENT_FAKE_HUB_H

#include "adapters/client/session.h"
#include "tests/unit/client/memory_store.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#define HUB_ORIGIN "log.example/test"
#define HUB_AGENCY "H1.02"
#define HUB_PEER "H9"
#define HUB_LEAVES 4096
#define HUB_FRAMES 512
#define HUB_SEEN 8192

/* ---- the world ---- */
struct heard {
    unsigned kind;
    struct truc_buffer head, body; /* body of all pieces */
};

struct seen_receipt {
    uint64_t ticket, sequence;
    truc_reason reason;
    bool logged, duplicate;
};

struct seen_delivery {
    uint64_t number, sequence, lease;
    uint32_t attempt;
    char sender[TRUC_AGENCY_MAX + 1], id[64];
};

struct world {
    struct memory_store store;
    struct client_session *session;
    struct client_session_config config;
    struct truc_client_callbacks callbacks;
    struct truc_key *note_key, *own_key, *peer_key;
    struct truc_note_verifier verifier;
    char verifier_text[512];
    int64_t now;
    /* the log */
    struct truc_hash leaves[HUB_LEAVES];
    uint64_t size, next_sequence;
    uint64_t told; /* size of the last checkpoint that this link was told */
    /* what was heard and not looked at yet */
    struct heard heard[HUB_FRAMES];
    size_t heard_count;
    bool more; /* pieces of the last one follow */
    /* what the application saw */
    struct seen_receipt receipts[HUB_SEEN];
    size_t receipt_count;
    struct seen_delivery deliveries[HUB_SEEN];
    size_t delivery_count;
    uint64_t stale[64];
    size_t stale_count;
    uint32_t settled;
    enum truc_client_state state;
    truc_error error;
    char text[256];
    char obstacle[32]; /* name of the last one that was told */
    size_t obstacle_count;
    void (*on_delivery)(struct world *w, const struct truc_delivery *delivery); /* what the application does */
};

static inline void seen_state(void *context, enum truc_client_state state, truc_error error, const char *text)
{
    struct world *w = context;
    w->state = state;
    w->error = error;
    (void)snprintf(w->text, sizeof w->text, "%s", text);
}

static inline void seen_receipt(void *context, const struct truc_receipt *receipt)
{
    struct world *w = context;
    assert_true(w->receipt_count < HUB_SEEN);
    w->receipts[w->receipt_count++] =
        (struct seen_receipt){receipt->ticket, receipt->sequence, receipt->reason, receipt->logged, receipt->duplicate};
}

static inline void seen_delivery(void *context, const struct truc_delivery *delivery)
{
    struct world *w = context;
    assert_true(w->delivery_count < HUB_SEEN);
    struct seen_delivery *seen = &w->deliveries[w->delivery_count++];
    seen->number = delivery->number;
    seen->sequence = delivery->sequence;
    seen->lease = delivery->lease;
    seen->attempt = delivery->attempt;
    (void)snprintf(seen->sender, sizeof seen->sender, "%s", delivery->sender);
    (void)snprintf(seen->id, sizeof seen->id, "%.*s", (int)delivery->event->id.size,
                   (const char *)delivery->event->id.data);
    if (w->on_delivery != NULL) {
        w->on_delivery(w, delivery);
    }
}

static inline void seen_settled(void *context, uint64_t first, uint32_t count)
{
    (void)first;
    ((struct world *)context)->settled += count;
}

static inline void seen_stale(void *context, uint64_t number)
{
    struct world *w = context;
    assert_true(w->stale_count < 64);
    w->stale[w->stale_count++] = number;
}

static inline void seen_obstacle(void *context, const struct truc_obstacle *obstacle)
{
    struct world *w = context;
    (void)snprintf(w->obstacle, sizeof w->obstacle, "%s", obstacle->name);
    w->obstacle_count++;
}

static inline void world_start(struct world *w)
{
    assert_int_equal(client_session_new(&w->config, &w->callbacks, &w->session), TRUC_OK);
    client_session_clock(w->session, w->now, w->now);
}

static inline struct world *world_new(uint32_t seals)
{
    struct world *w = calloc(1, sizeof *w);
    struct truc_buffer text = {0};
    assert_non_null(w);
    w->now = INT64_C(1800000000) * 1000000;
    w->next_sequence = 1;
    assert_int_equal(truc_key_generate(TRUC_ALGORITHM_ED25519, &w->note_key), TRUC_OK);
    assert_int_equal(truc_key_generate(TRUC_ALGORITHM_P256, &w->own_key), TRUC_OK);
    assert_int_equal(truc_key_generate(TRUC_ALGORITHM_P256, &w->peer_key), TRUC_OK);
    assert_int_equal(truc_note_verifier_make(HUB_ORIGIN, w->note_key, &w->verifier), TRUC_OK);
    assert_int_equal(truc_note_verifier_text(&w->verifier, &text), TRUC_OK);
    (void)snprintf(w->verifier_text, sizeof w->verifier_text, "%.*s", (int)text.size, (const char *)text.data);
    truc_buffer_close(&text);
    w->callbacks = (struct truc_client_callbacks){.context = w,
                                                  .on_state = seen_state,
                                                  .on_receipt = seen_receipt,
                                                  .on_delivery = seen_delivery,
                                                  .on_settled = seen_settled,
                                                  .on_stale = seen_stale,
                                                  .on_obstacle = seen_obstacle};
    w->config = (struct client_session_config){
        .agency = HUB_AGENCY,
        .origin = HUB_ORIGIN,
        .software = "test/1",
        .note_key = w->verifier_text,
        .signing_key = w->own_key,
        .endpoint_count = 3,
        .max_in_flight_seals = seals,
        .receive_events = 100,
        .receive_bytes = 4 << 20,
        .store = {&w->store, memory_put, memory_get, memory_next, memory_drop, NULL},
        .random = truc_random,
    };
    w->leaves[w->size++] = (struct truc_hash){{1}}; /* genesis */
    world_start(w);
    return w;
}

static inline void forget_heard(struct world *w)
{
    for (size_t i = 0; i < w->heard_count; i++) {
        truc_buffer_close(&w->heard[i].head);
        truc_buffer_close(&w->heard[i].body);
    }
    memset(w->heard, 0, sizeof w->heard);
    w->heard_count = 0;
}

static inline void world_free(struct world *w)
{
    forget_heard(w);
    client_session_free(&w->session);
    memory_close(&w->store);
    truc_note_verifier_close(&w->verifier);
    truc_key_free(&w->note_key);
    truc_key_free(&w->own_key);
    truc_key_free(&w->peer_key);
    free(w);
}

/* The process dies and comes back: the store stays. */
static inline void world_restart(struct world *w)
{
    client_session_free(&w->session);
    forget_heard(w);
    w->more = false;
    world_start(w);
}

/* From here on the store becomes durable only by world_sync. */
static inline void world_with_marks(struct world *w)
{
    w->store.mark = 1;
    w->config.store.mark = memory_mark;
    world_restart(w);
    client_session_synced(w->session, 0, false);
}

static inline void world_sync(struct world *w)
{
    client_session_synced(w->session, w->store.mark++, false);
}

/* ---- hearing ---- */
static inline void take(struct world *w, const struct client_outgoing *out)
{
    struct truc_frame_head head;
    assert_int_equal(truc_frame_parse(truc_buffer_view(&out->head), &head), TRUC_OK);
    assert_true(out->head.size <= TRUC_HEADER_MAX);
    assert_true(out->size <= TRUC_PIECE_MAX);
    assert_int_equal(out->has_body, truc_frame_has_body(head.kind));
    assert_int_equal(w->more, head.kind == TRUC_FRAME_DATA); /* nothing comes between pieces */
    if (!w->more) {
        assert_true(w->heard_count < HUB_FRAMES);
        struct heard *heard = &w->heard[w->heard_count++];
        heard->kind = head.kind;
        assert_int_equal(truc_buffer_append(&heard->head, out->head.data, out->head.size), TRUC_OK);
    }
    if (out->size > 0) {
        struct heard *heard = &w->heard[w->heard_count - 1];
        assert_int_equal(truc_buffer_append(&heard->body, out->body->bytes.data + out->offset, out->size), TRUC_OK);
    }
    w->more = (head.flags & TRUC_FRAME_MORE) != 0;
}

/* Lets the session work and hears what it says. */
static inline void hear(struct world *w)
{
    struct client_outgoing *out;
    client_session_clock(w->session, w->now, w->now);
    assert_int_equal(client_session_work(w->session), TRUC_OK);
    while ((out = client_outbox_peek(client_session_outbox(w->session))) != NULL) {
        take(w, out);
        client_outbox_pop(client_session_outbox(w->session));
    }
    assert_false(w->more);
}

static inline size_t count_heard(const struct world *w, unsigned kind)
{
    size_t count = 0;
    for (size_t i = 0; i < w->heard_count; i++) {
        count += w->heard[i].kind == kind;
    }
    return count;
}

/* The n-th frame of a kind that was heard; its message, to be freed with protobuf_c_message_free_unpacked. */
static inline const struct heard *nth_heard(const struct world *w, unsigned kind, size_t n)
{
    for (size_t i = 0; i < w->heard_count; i++) {
        if (w->heard[i].kind == kind && n-- == 0) {
            return &w->heard[i];
        }
    }
    fail_msg("no %s was heard", truc_frame_name(kind));
    return NULL;
}

static inline void *unpack(const struct heard *heard)
{
    ProtobufCMessage *message =
        protobuf_c_message_unpack(truc_frame_descriptor(heard->kind), NULL, heard->head.size - TRUC_FRAME_PREFIX,
                                  heard->head.data + TRUC_FRAME_PREFIX);
    assert_non_null(message);
    return message;
}
#define FREE(message) protobuf_c_message_free_unpacked(&(message)->base, NULL)

/* ---- saying ---- */
static inline void say(struct world *w, enum truc_frame_kind kind, const void *message, struct truc_bytes body)
{
    struct truc_buffer head = {0};
    struct truc_bytes parts[2];
    size_t at = 0;
    client_session_clock(w->session, w->now, w->now);
    do {
        size_t size = body.size - at < TRUC_PIECE_MAX ? body.size - at : TRUC_PIECE_MAX;
        unsigned flags = at + size < body.size ? TRUC_FRAME_MORE : 0;
        truc_buffer_clear(&head);
        assert_int_equal(truc_frame_encode(at == 0 ? kind : TRUC_FRAME_DATA, flags, at == 0 ? message : NULL, &head),
                         TRUC_OK);
        parts[0] = truc_buffer_view(&head);
        parts[1] = size > 0 ? truc_bytes(body.data + at, size) : truc_bytes(NULL, 0);
        assert_int_equal(client_session_message(w->session, parts, truc_frame_has_body(kind) ? 2 : 1), TRUC_OK);
        at += size;
    } while (at < body.size);
    truc_buffer_close(&head);
}

static const struct truc_bytes nothing = {NULL, 0};

static inline truc_error hub_node(void *context, unsigned level, uint64_t index, struct truc_hash *out)
{
    const struct world *w = context;
    const uint64_t width = UINT64_C(1) << level;
    struct truc_hash *copy = malloc(width * sizeof *copy);
    assert_non_null(copy);
    assert_true((index + 1) * width <= w->size);
    memcpy(copy, &w->leaves[index * width], width * sizeof *copy);
    truc_merkle_root(copy, width, out);
    free(copy);
    return TRUC_OK;
}

static inline struct truc_checkpoint hub_checkpoint(struct world *w)
{
    struct truc_checkpoint checkpoint = {.origin = HUB_ORIGIN, .size = w->size};
    assert_int_equal(truc_range_root(hub_node, w, 0, w->size, &checkpoint.root), TRUC_OK);
    return checkpoint;
}

/* The note of a checkpoint; to be closed. */
static inline struct truc_buffer hub_note(struct world *w)
{
    struct truc_buffer note = {0};
    struct truc_checkpoint checkpoint = hub_checkpoint(w);
    assert_int_equal(truc_checkpoint_sign(&checkpoint, w->note_key, &note), TRUC_OK);
    return note;
}

static inline void hashes_of(struct truc_hash *path, size_t count, ProtobufCBinaryData *out)
{
    for (size_t i = 0; i < count; i++) {
        out[i] = (ProtobufCBinaryData){TRUC_HASH_SIZE, path[i].bytes};
    }
}

/* From old_size to the present; where there is none (it is smaller): empty. */
static inline size_t hub_consistency(struct world *w, uint64_t old_size, struct truc_hash *path,
                                     ProtobufCBinaryData *list)
{
    size_t count = 0;
    if (old_size > 0 && old_size <= w->size) {
        assert_int_equal(truc_consistency_path(hub_node, w, old_size, w->size, path, &count), TRUC_OK);
    }
    hashes_of(path, count, list);
    w->told = w->size;
    return count;
}

static inline void say_welcome_from(struct world *w, uint64_t old_size, Truc__V1__Limits *limits)
{
    Truc__V1__Welcome welcome = TRUC__V1__WELCOME__INIT;
    struct truc_hash path[TRUC_PROOF_MAX];
    ProtobufCBinaryData list[TRUC_PROOF_MAX];
    struct truc_buffer note = hub_note(w);
    char origin[] = HUB_ORIGIN, session[] = "s1";
    size_t count = hub_consistency(w, old_size, path, list);
    welcome.protocol = 1;
    welcome.origin = origin;
    welcome.session = session;
    welcome.limits = limits;
    welcome.checkpoint = (ProtobufCBinaryData){note.size, note.data};
    welcome.consistency = list;
    welcome.n_consistency = count;
    welcome.now_us = w->now;
    say(w, TRUC_FRAME_WELCOME, &welcome, nothing);
    truc_buffer_close(&note);
}

/* Hears HELLO and answers it with what it deserves. */
static inline void greet(struct world *w)
{
    forget_heard(w);
    hear(w);
    Truc__V1__Hello *hello = unpack(nth_heard(w, TRUC_FRAME_HELLO, 0));
    struct truc_checkpoint known = {.size = 0};
    assert_string_equal(hello->agency, HUB_AGENCY);
    assert_int_equal(hello->instance.len, 16);
    if (hello->checkpoint.len > 0) {
        assert_int_equal(
            truc_checkpoint_open(truc_bytes(hello->checkpoint.data, hello->checkpoint.len), &w->verifier, &known),
            TRUC_OK);
    }
    FREE(hello);
    say_welcome_from(w, known.size, NULL);
    assert_int_equal(w->state, TRUC_CLIENT_OPEN);
    forget_heard(w);
    hear(w);
}

static inline void lose_link(struct world *w)
{
    assert_int_equal(client_session_link_lost(w->session, false, "test"), TRUC_OK);
    assert_int_equal(w->state, TRUC_CLIENT_WAITING);
    w->now += 15 * INT64_C(1000000);
}

/* What a SUBMIT holds, checked as a hub would. */
struct submitted {
    struct truc_envelope envelope;
    uint32_t count;
    const struct heard *heard;
};

static inline struct submitted open_submit(struct world *w, size_t n)
{
    struct submitted out = {.heard = nth_heard(w, TRUC_FRAME_SUBMIT, n)};
    static struct truc_hash leaves[TRUC_SEAL_EVENTS_MAX];
    struct truc_hash root;
    struct truc_bytes event;
    size_t at = 0;
    Truc__V1__Submit *submit = unpack(out.heard);
    assert_int_equal(truc_envelope_parse(truc_bytes(submit->envelope.data, submit->envelope.len), &out.envelope),
                     TRUC_OK);
    assert_int_equal(truc_envelope_verify(&out.envelope, w->own_key), TRUC_OK);
    while (truc_body_next(truc_buffer_view(&out.heard->body), &at, &event) == TRUC_OK) {
        assert_true(out.count < TRUC_SEAL_EVENTS_MAX);
        truc_leaf_hash(&leaves[out.count++], event);
    }
    assert_int_equal(at, out.heard->body.size);
    assert_int_equal(out.count, out.envelope.seal.count);
    truc_merkle_root(leaves, out.count, &root);
    assert_memory_equal(&root, &out.envelope.seal.root, sizeof root);
    FREE(submit);
    return out; /* the views inside the envelope are gone, its seal and digest stay */
}

/* The leaf of a seal: event i gets outcomes[i]; NULL: all accepted. Appended to the log. */
static inline struct truc_buffer hub_log(struct world *w, const struct submitted *seal,
                                         const struct truc_outcome *outcomes)
{
    struct truc_leaf *leaf = calloc(1, sizeof *leaf);
    struct truc_buffer bytes = {0};
    assert_non_null(leaf);
    leaf->accepted_at_us = w->now;
    leaf->first_sequence = w->next_sequence;
    leaf->seal_digest = seal->envelope.digest;
    leaf->count = seal->count;
    for (uint32_t i = 0; outcomes != NULL && i < seal->count; i++) {
        leaf->outcomes[i] = outcomes[i];
    }
    assert_int_equal(truc_leaf_encode(leaf, &bytes), TRUC_OK);
    assert_true(w->size < HUB_LEAVES);
    truc_leaf_hash(&w->leaves[w->size++], truc_buffer_view(&bytes));
    w->next_sequence += seal->count;
    free(leaf);
    return bytes;
}

enum damage { DAMAGE_NONE, DAMAGE_PATH, DAMAGE_LEAF, DAMAGE_NOTE, DAMAGE_INDEX };

/* One receipt under the newest checkpoint. */
static inline void say_receipt(struct world *w, const struct submitted *seal, struct truc_bytes leaf, uint64_t index,
                               enum damage damage)
{
    Truc__V1__Receipts receipts = TRUC__V1__RECEIPTS__INIT;
    Truc__V1__Receipt receipt = TRUC__V1__RECEIPT__INIT, *list[] = {&receipt};
    struct truc_hash path[TRUC_PROOF_MAX], growth[TRUC_PROOF_MAX], digest = seal->envelope.digest;
    ProtobufCBinaryData hashes[TRUC_PROOF_MAX], growth_hashes[TRUC_PROOF_MAX];
    struct truc_buffer note = hub_note(w), bytes = {0};
    size_t count;
    assert_int_equal(truc_inclusion_path(hub_node, w, index, w->size, path, &count), TRUC_OK);
    assert_int_equal(truc_buffer_append(&bytes, leaf.data, leaf.size), TRUC_OK);
    path[0].bytes[7] ^= damage == DAMAGE_PATH;
    bytes.data[3] ^= damage == DAMAGE_LEAF;
    note.data[note.size - 8] ^= damage == DAMAGE_NOTE;
    hashes_of(path, count, hashes);
    receipt.seal_digest = (ProtobufCBinaryData){TRUC_HASH_SIZE, digest.bytes};
    receipt.leaf = (ProtobufCBinaryData){bytes.size, bytes.data};
    receipt.leaf_index = index - (damage == DAMAGE_INDEX);
    receipt.path = hashes;
    receipt.n_path = count;
    receipts.checkpoint = (ProtobufCBinaryData){note.size, note.data};
    receipts.receipts = list;
    receipts.n_receipts = 1;
    receipts.n_consistency = hub_consistency(w, w->told, growth, growth_hashes);
    receipts.consistency = growth_hashes;
    say(w, TRUC_FRAME_RECEIPTS, &receipts, nothing);
    truc_buffer_close(&note);
    truc_buffer_close(&bytes);
}

/* Logs and receipts the n-th SUBMIT that was heard. */
static inline void accept_submit(struct world *w, size_t n, const struct truc_outcome *outcomes)
{
    struct submitted seal = open_submit(w, n);
    struct truc_buffer leaf = hub_log(w, &seal, outcomes);
    say_receipt(w, &seal, truc_buffer_view(&leaf), w->size - 1, DAMAGE_NONE);
    truc_buffer_close(&leaf);
}

static inline void say_refused(struct world *w, const struct submitted *seal, unsigned reason, uint32_t retry_ms)
{
    Truc__V1__Refused refused = TRUC__V1__REFUSED__INIT;
    struct truc_hash digest = seal->envelope.digest;
    refused.seal_digest = (ProtobufCBinaryData){TRUC_HASH_SIZE, digest.bytes};
    refused.number = seal->envelope.seal.number;
    refused.reason = reason;
    refused.retry_after_ms = retry_ms;
    say(w, TRUC_FRAME_REFUSED, &refused, nothing);
}

/* ---- events ---- */
static inline struct truc_buffer make_event(const char *agency, const char *id, const char *subject, size_t data_size)
{
    struct truc_buffer out = {0};
    struct truc_event *event = calloc(1, sizeof *event);
    char source[64], *data = calloc(1, data_size + 1);
    const uint8_t salt[TRUC_SALT_SIZE] = {1, 2, 3};
    assert_non_null(event);
    assert_non_null(data);
    memset(data, 'x', data_size);
    (void)snprintf(source, sizeof source, "urn:truc:%s", agency);
    event->id = truc_bytes_of(id);
    event->source = truc_bytes_of(source);
    event->spec_version = truc_bytes_of("1.0");
    event->type = truc_bytes_of("dossier.step.v1");
    event->data_kind = TRUC_DATA_TEXT;
    event->data = truc_bytes(data, data_size);
    if (subject != NULL) {
        assert_int_equal(truc_event_set_text(event, "subject", truc_bytes_of(subject)), TRUC_OK);
    }
    assert_int_equal(truc_event_set_bytes(event, "salt", truc_bytes(salt, sizeof salt)), TRUC_OK);
    assert_int_equal(truc_event_encode(event, &out), TRUC_OK);
    free(event);
    free(data);
    return out;
}

static inline uint64_t submit_sized(struct world *w, const char *id, size_t data_size)
{
    struct truc_buffer event = make_event(HUB_AGENCY, id, "d1", data_size);
    uint64_t ticket = 0;
    client_session_clock(w->session, w->now, w->now);
    assert_int_equal(client_session_submit(w->session, truc_buffer_view(&event), STORE_EVENT_OURS, &ticket), TRUC_OK);
    truc_buffer_close(&event);
    return ticket;
}

static inline uint64_t submit(struct world *w, const char *id)
{
    return submit_sized(w, id, 10);
}

static inline void submit_many(struct world *w, size_t count, size_t data_size)
{
    for (size_t i = 0; i < count; i++) {
        char id[32];
        (void)snprintf(id, sizeof id, "many-%zu", i);
        (void)submit_sized(w, id, data_size);
    }
}

#endif
