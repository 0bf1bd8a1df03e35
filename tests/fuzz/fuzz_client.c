/* The client's session against a hub that says what the tape wants: good frames at the wrong time, good frames with
 * parts altered (checkpoints of it signed again, so that the note does not hide what is behind it), raw bytes of any
 * kind. The session's promise: whatever a peer says ends the link, never the client, unless the log is shown to be
 * forked. */
#include "tests/fuzz/fuzz.h"
#include "tests/unit/client/parcels.h"
#include "truc/log.h"

#define STEPS 60

static truc_error not_random(void *out, size_t size)
{
    memset(out, 7, size);
    return TRUC_OK;
}

static struct world *fuzz_world(void)
{
    struct world *w = world_new(4);
    w->config.random = not_random; /* the same tape, the same run */
    w->config.receive_bytes = 1 << 20;
    w->callbacks.on_stale = NULL;
    world_restart(w);
    return w;
}

/* What it says of itself must be sound, whatever it was told. What was heard stays, so that a later step can answer it.
 */
static void listen_to(struct world *w)
{
    if (w->heard_count > HUB_FRAMES / 2) {
        forget_heard(w);
    }
    client_session_clock(w->session, w->now, w->now);
    FUZZ_OK(client_session_work(w->session));
    w->more = false; /* a lost link drops what was half said */
    struct client_outgoing *out;
    size_t count = 0;
    while ((out = client_outbox_peek(client_session_outbox(w->session))) != NULL) {
        if (w->heard_count < HUB_FRAMES) {
            take(w, out);
        }
        client_outbox_pop(client_session_outbox(w->session));
        FUZZ_CHECK(++count < 10000);
    }
    FUZZ_CHECK(w->receipt_count < HUB_SEEN && w->delivery_count < HUB_SEEN - 1024);
}

/* One of the seals that were heard, the newest as a rule. false: none was. */
static bool heard_seal(struct world *w, struct fuzz *fuzz, struct submitted *out)
{
    size_t count = count_heard(w, TRUC_FRAME_SUBMIT);
    uint8_t which = fuzz_u8(fuzz);
    if (count > 0) {
        *out = open_submit(w, which < 128 ? count - 1 : which % count);
    }
    return count > 0;
}

static void tell(struct world *w, const struct truc_bytes *parts, size_t count)
{
    uint8_t *copies[3];
    struct truc_bytes exact[3];
    for (size_t i = 0; i < count; i++) {
        copies[i] = fuzz_copy(parts[i]);
        exact[i] = truc_bytes(copies[i], parts[i].size);
    }
    client_session_clock(w->session, w->now, w->now);
    FUZZ_OK(client_session_message(w->session, exact, count));
    for (size_t i = 0; i < count; i++) {
        free(copies[i]);
    }
}

/* A message of the kind with its fields altered: `alterations` bytes of the packed form. */
static void tell_message(struct world *w, struct fuzz *fuzz, enum truc_frame_kind kind, const ProtobufCMessage *message,
                         struct truc_bytes body)
{
    struct truc_buffer head = {0}, altered = {0};
    FUZZ_OK(truc_frame_encode(kind, 0, message, &head));
    FUZZ_OK(truc_buffer_append(&altered, body.data, body.size));
    for (unsigned i = fuzz_u8(fuzz) % 4; i > 0; i--) {
        struct truc_buffer *part = fuzz_u8(fuzz) % 4 == 0 && altered.size > 0 ? &altered : &head;
        size_t at = fuzz_u16(fuzz) % part->size;
        part->data[at] = fuzz_u8(fuzz);
    }
    const struct truc_bytes parts[] = {truc_buffer_view(&head), truc_buffer_view(&altered)};
    tell(w, parts, truc_frame_has_body(kind) ? 2 : 1);
    truc_buffer_close(&head);
    truc_buffer_close(&altered);
}

static void tell_raw(struct world *w, struct fuzz *fuzz)
{
    static const uint8_t kinds[] = {2, 10, 11, 33, 34, 35, 36, 37, 38, 39, 40, 9};
    struct truc_buffer head = {0};
    fuzz_put_u8(&head, TRUC_PROTOCOL_VERSION);
    fuzz_put_u8(&head, kinds[fuzz_u8(fuzz) % sizeof kinds]);
    fuzz_put_u8(&head, fuzz_u8(fuzz) % 2);
    fuzz_put_u8(&head, 0);
    struct truc_bytes message = fuzz_part(fuzz), body = fuzz_part(fuzz);
    FUZZ_OK(truc_buffer_append(&head, message.data, message.size));
    const struct truc_bytes parts[] = {truc_buffer_view(&head), body, body};
    tell(w, parts, fuzz_u8(fuzz) % 8 == 0 ? 3 : body.size > 0 ? 2 : 1);
    truc_buffer_close(&head);
}

/* A checkpoint note of the log, or of another size or root, signed all the same. */
static struct truc_buffer tape_note(struct world *w, struct fuzz *fuzz)
{
    struct truc_checkpoint checkpoint = hub_checkpoint(w);
    struct truc_buffer note = {0};
    uint8_t what = fuzz_u8(fuzz);
    checkpoint.size = what == 1 ? fuzz_number(fuzz) >> 2 : checkpoint.size;
    checkpoint.root.bytes[0] ^= what == 2;
    FUZZ_OK(truc_checkpoint_sign(&checkpoint, w->note_key, &note));
    return note;
}

static void tell_welcome(struct world *w, struct fuzz *fuzz)
{
    Truc__V1__Welcome welcome = TRUC__V1__WELCOME__INIT;
    Truc__V1__Limits limits = TRUC__V1__LIMITS__INIT;
    struct truc_hash path[TRUC_PROOF_MAX];
    ProtobufCBinaryData list[TRUC_PROOF_MAX];
    char origin[] = HUB_ORIGIN, session[] = "s1";
    struct truc_buffer note = tape_note(w, fuzz);
    welcome.protocol = 1;
    welcome.origin = origin;
    welcome.session = session;
    welcome.checkpoint = (ProtobufCBinaryData){note.size, note.data};
    welcome.n_consistency = hub_consistency(w, fuzz_u8(fuzz) % 8, path, list);
    welcome.consistency = list;
    welcome.now_us = w->now;
    if (fuzz_u8(fuzz) % 4 == 0) {
        uint32_t *fields[] = {&limits.event_bytes, &limits.seal_events, &limits.seal_bytes};
        for (size_t i = 0; i < 3; i++) {
            *fields[i] = (uint32_t)fuzz_number(fuzz);
        }
        welcome.limits = &limits;
    }
    tell_message(w, fuzz, TRUC_FRAME_WELCOME, &welcome.base, nothing);
    truc_buffer_close(&note);
}

/* The hub that does as it should: HELLO is answered for the size that it names. */
static void greet_well(struct world *w)
{
    if (count_heard(w, TRUC_FRAME_HELLO) > 0) {
        Truc__V1__Hello *hello = unpack(nth_heard(w, TRUC_FRAME_HELLO, 0));
        struct truc_checkpoint known = {.size = 0};
        if (hello->checkpoint.len > 0) {
            FUZZ_OK(
                truc_checkpoint_open(truc_bytes(hello->checkpoint.data, hello->checkpoint.len), &w->verifier, &known));
        }
        FREE(hello);
        forget_heard(w);
        if (known.size <= w->size) {
            say_welcome_from(w, known.size, NULL);
        }
    }
}

static void tell_receipts(struct world *w, struct fuzz *fuzz)
{
    Truc__V1__Receipts receipts = TRUC__V1__RECEIPTS__INIT;
    Truc__V1__Receipt receipt = TRUC__V1__RECEIPT__INIT, *list[] = {&receipt, &receipt};
    struct truc_hash path[TRUC_PROOF_MAX], growth[TRUC_PROOF_MAX], digest = {{0}};
    ProtobufCBinaryData hashes[TRUC_PROOF_MAX], growth_hashes[TRUC_PROOF_MAX];
    struct truc_outcome outcomes[TRUC_SEAL_EVENTS_MAX];
    struct truc_buffer leaf = {0}, note;
    struct submitted seal;
    size_t count = 0;
    memset(outcomes, 0, sizeof outcomes);
    for (size_t i = 0; i < 4; i++) {
        outcomes[i].code = fuzz_u8(fuzz);
        outcomes[i].code = outcomes[i].code < 128 ? 0 : outcomes[i].code == 255 ? 128 : outcomes[i].code & 15;
        if (outcomes[i].code == TRUC_OUTCOME_DUPLICATE) {
            outcomes[i].code = w->next_sequence > 1 ? TRUC_OUTCOME_DUPLICATE : TRUC_OUTCOME_ACCEPTED;
            outcomes[i].duplicate_of = w->next_sequence > 1;
        }
    }
    if (heard_seal(w, fuzz, &seal) && w->size + 1 < HUB_LEAVES) {
        leaf = hub_log(w, &seal, outcomes);
        digest = seal.envelope.digest;
        FUZZ_OK(truc_inclusion_path(hub_node, w, w->size - 1, w->size, path, &count));
    }
    note = tape_note(w, fuzz);
    hashes_of(path, count, hashes);
    receipt.seal_digest = (ProtobufCBinaryData){TRUC_HASH_SIZE, digest.bytes};
    receipt.leaf = (ProtobufCBinaryData){leaf.size, leaf.data};
    receipt.leaf_index = w->size - 1;
    receipt.path = hashes;
    receipt.n_path = count;
    receipts.checkpoint = (ProtobufCBinaryData){note.size, note.data};
    receipts.receipts = list;
    receipts.n_receipts = 1 + fuzz_u8(fuzz) % 8 / 7;
    receipts.n_consistency = hub_consistency(w, w->told, growth, growth_hashes);
    receipts.consistency = growth_hashes;
    tell_message(w, fuzz, TRUC_FRAME_RECEIPTS, &receipts.base, nothing);
    truc_buffer_close(&leaf);
    truc_buffer_close(&note);
}

/* One or two events of the peer in one seal, well made; what is altered is altered in the frame. */
static void tell_deliver(struct world *w, struct fuzz *fuzz)
{
    static const char *const two[] = {"a", "b", NULL}, *const subjects[] = {"s", NULL};
    Truc__V1__Deliver message = TRUC__V1__DELIVER__INIT;
    Truc__V1__DeliverGroup group = TRUC__V1__DELIVER_GROUP__INIT, *groups[] = {&group, &group};
    Truc__V1__DeliverItem items[2] = {TRUC__V1__DELIVER_ITEM__INIT, TRUC__V1__DELIVER_ITEM__INIT};
    Truc__V1__DeliverItem *list[] = {&items[0], &items[1]};
    struct parcel parcel = make_parcel(w, HUB_PEER, w->peer_key, fuzz_u8(fuzz) == 1 ? "H8" : HUB_PEER, two, subjects);
    struct truc_buffer body = {0};
    struct truc_hash other;
    uint8_t flags = fuzz_u8(fuzz);
    size_t count = flags & 1 ? 1 : 2;
    uint64_t number = fuzz_u8(fuzz) % 32, sequence = fuzz_u8(fuzz) % 64;
    for (size_t i = 0; i < count; i++) {
        FUZZ_OK(truc_body_append(&body, truc_buffer_view(&parcel.events[i])));
        items[i].index = (uint32_t)i;
        items[i].number = number + i;
        items[i].sequence = sequence + i;
        items[i].previous_sequence = sequence + i - (flags >> 4) % 4;
        items[i].attempt = (flags >> 2) % 4;
        items[i].receipt_wanted = (flags & 64) != 0;
        items[i].replay = (flags & 128) != 0;
    }
    truc_leaf_hash(&other, truc_buffer_view(&parcel.events[1]));
    ProtobufCBinaryData node = {TRUC_HASH_SIZE, other.bytes};
    group.envelope = (ProtobufCBinaryData){parcel.envelope.size, parcel.envelope.data};
    group.accepted_at_us = w->now;
    group.items = list;
    group.n_items = count;
    group.nodes = &node;
    group.n_nodes = 2 - count;
    message.lease = fuzz_u8(fuzz) % 8;
    message.floor = fuzz_number(fuzz);
    message.groups = groups;
    message.n_groups = 1 + fuzz_u8(fuzz) % 8 / 7;
    tell_message(w, fuzz, TRUC_FRAME_DELIVER, &message.base, truc_buffer_view(&body));
    close_parcel(&parcel);
    truc_buffer_close(&body);
}

/* The peer's key, where it was asked for. */
static void tell_keys(struct world *w, struct fuzz *fuzz)
{
    for (size_t i = 0; i < count_heard(w, TRUC_FRAME_QUERY); i++) {
        Truc__V1__Query *query = unpack(nth_heard(w, TRUC_FRAME_QUERY, i));
        bool keys = strcmp(query->what, "keys") == 0 && strcmp(query->arguments[0]->value, HUB_PEER) == 0;
        FREE(query);
        if (keys) {
            answer_keys(w, i, HUB_PEER, fuzz_u8(fuzz) == 1 ? w->own_key : w->peer_key);
            return;
        }
    }
}

static void tell_answer(struct world *w, struct fuzz *fuzz)
{
    Truc__V1__Answer message = TRUC__V1__ANSWER__INIT;
    message.request = fuzz_u8(fuzz) % 8;
    message.reason = fuzz_u8(fuzz) % 64 < 56 ? 0 : fuzz_u8(fuzz);
    tell_message(w, fuzz, TRUC_FRAME_ANSWER, &message.base, fuzz_part(fuzz));
}

/* Every message of a hub that is only numbers. */
static void tell_small(struct world *w, struct fuzz *fuzz)
{
    Truc__V1__Settled settled = TRUC__V1__SETTLED__INIT;
    Truc__V1__AckRange range = TRUC__V1__ACK_RANGE__INIT, *ranges[] = {&range};
    Truc__V1__Refused refused = TRUC__V1__REFUSED__INIT;
    struct truc_hash digest = {{0}};
    struct submitted seal;
    if (fuzz_u8(fuzz) & 1) {
        range.lease = fuzz_u8(fuzz) % 8;
        range.first = fuzz_number(fuzz);
        range.count = (uint32_t)fuzz_number(fuzz);
        settled.ranges = ranges;
        settled.stale = ranges;
        settled.n_ranges = fuzz_u8(fuzz) & 1;
        settled.n_stale = 1 - settled.n_ranges;
        tell_message(w, fuzz, TRUC_FRAME_SETTLED, &settled.base, nothing);
        return;
    }
    if (heard_seal(w, fuzz, &seal)) {
        digest = seal.envelope.digest;
    }
    refused.seal_digest = (ProtobufCBinaryData){TRUC_HASH_SIZE, digest.bytes};
    refused.number = fuzz_number(fuzz);
    refused.reason = fuzz_u8(fuzz) % 40;
    refused.retry_after_ms = (uint32_t)fuzz_number(fuzz);
    tell_message(w, fuzz, TRUC_FRAME_REFUSED, &refused.base, nothing);
}

/* The evidence of an event of the peer, logged as the newest leaf, under its sequence or another. */
static void tell_proof(struct world *w, struct fuzz *fuzz)
{
    static const char *const one[] = {"p", NULL};
    Truc__V1__Proof proof = TRUC__V1__PROOF__INIT;
    struct parcel parcel = make_parcel(w, HUB_PEER, w->peer_key, HUB_PEER, one, NULL);
    struct submitted seal = {.count = 1};
    struct truc_hash path[TRUC_PROOF_MAX], growth[TRUC_PROOF_MAX], hash;
    ProtobufCBinaryData hashes[TRUC_PROOF_MAX], growth_hashes[TRUC_PROOF_MAX];
    size_t count = 0;
    if (w->size + 1 < HUB_LEAVES) {
        FUZZ_OK(truc_envelope_parse(truc_buffer_view(&parcel.envelope), &seal.envelope));
        struct truc_buffer leaf = hub_log(w, &seal, NULL), note = tape_note(w, fuzz);
        FUZZ_OK(truc_inclusion_path(hub_node, w, w->size - 1, w->size, path, &count));
        hashes_of(path, count, hashes);
        truc_leaf_hash(&hash, truc_buffer_view(&parcel.events[0]));
        proof.request = fuzz_u8(fuzz) % 8;
        proof.reason = fuzz_u8(fuzz) < 240 ? 0 : fuzz_u8(fuzz);
        if (fuzz_u8(fuzz) % 4 == 0) {
            proof.event_hash = (ProtobufCBinaryData){TRUC_HASH_SIZE, hash.bytes};
        } else {
            proof.event = (ProtobufCBinaryData){parcel.events[0].size, parcel.events[0].data};
        }
        proof.envelope = (ProtobufCBinaryData){parcel.envelope.size, parcel.envelope.data};
        proof.leaf = (ProtobufCBinaryData){leaf.size, leaf.data};
        proof.leaf_index = w->size - 1;
        proof.path = hashes;
        proof.n_path = count;
        proof.checkpoint = (ProtobufCBinaryData){note.size, note.data};
        proof.n_consistency = hub_consistency(w, w->told, growth, growth_hashes);
        proof.consistency = growth_hashes;
        tell_message(w, fuzz, TRUC_FRAME_PROOF, &proof.base, nothing);
        truc_buffer_close(&leaf);
        truc_buffer_close(&note);
    }
    close_parcel(&parcel);
}

static void answer(struct world *w, struct fuzz *fuzz)
{
    if (w->delivery_count > 0) {
        uint64_t number = w->deliveries[fuzz_u8(fuzz) % w->delivery_count].number;
        uint8_t what = fuzz_u8(fuzz) % 4;
        truc_error error = what == 0   ? client_session_nack(w->session, number, 5, "later")
                           : what == 1 ? client_session_reject(w->session, number, "never")
                                       : client_session_ack(w->session, number);
        FUZZ_CHECK(error == TRUC_OK || error == TRUC_E_NOT_FOUND || error == TRUC_E_CLOSED || error == TRUC_E_FORKED ||
                   error == TRUC_E_REFUSED);
    }
}

static void on_evidence(void *context, truc_reason reason, const struct truc_evidence *evidence)
{
    (void)context;
    FUZZ_CHECK((reason == TRUC_ACCEPTED) == (evidence != NULL));
}

static void step(struct world *w, struct fuzz *fuzz)
{
    switch (fuzz_u8(fuzz) % 21) {
    case 0:
        tell_raw(w, fuzz);
        break;
    case 1:
        tell_welcome(w, fuzz);
        break;
    case 2:
    case 3:
        greet_well(w);
        break;
    case 4:
    case 5:
        tell_receipts(w, fuzz);
        break;
    case 6:
    case 7:
        tell_deliver(w, fuzz);
        break;
    case 8:
        answer(w, fuzz);
        break;
    case 9:
        if (client_session_state(w->session) != TRUC_CLIENT_STOPPED) {
            (void)submit_sized(w, "x", fuzz_u8(fuzz));
        }
        break;
    case 10:
        w->now += (int64_t)fuzz_u8(fuzz) * 1000000;
        break;
    case 11:
        FUZZ_OK(client_session_link_lost(w->session, fuzz_u8(fuzz) == 1, "test"));
        break;
    case 12:
        client_session_receive(w->session, fuzz_u8(fuzz) % 4 != 0);
        break;
    case 13:
        FUZZ_ANY(client_session_subscribe(w->session, "a.*", "H9", fuzz_u8(fuzz) & 1));
        break;
    case 14:
        /* the next sequence, as a rule: what tell_proof logs */
        FUZZ_ANY(client_session_evidence(w->session, w->next_sequence + fuzz_u8(fuzz) / 128, on_evidence, w));
        break;
    case 15:
        tell_keys(w, fuzz);
        break;
    case 16:
        tell_answer(w, fuzz);
        break;
    case 17:
    case 18:
        tell_small(w, fuzz);
        break;
    case 19:
        tell_proof(w, fuzz);
        break;
    default:
        world_restart(w);
        break;
    }
    listen_to(w);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct fuzz fuzz = fuzz_of(data, size);
    truc_log_set_level(TRUC_LOG_ERROR); /* every lost link is a warning */
    struct world *w = fuzz_world();
    client_session_receive(w->session, true);
    listen_to(w);
    if (fuzz_u8(&fuzz) % 4 != 0) {
        greet_well(w);
        listen_to(w);
    }
    for (unsigned i = 0; i < STEPS && fuzz_left(&fuzz) > 0; i++) {
        step(w, &fuzz);
    }
    world_free(w);
    return 0;
}

void fuzz_seeds(void)
{
    uint64_t random = 88172645463325252u;
    /* deliver: source, flags, number, sequence, lease, floor, groups, alterations; then the key, and an ack */
    fuzz_seed("deliver", truc_bytes("\1\6\0\0\1\2\2\0\0\0\17\0\10\0\3\6\0\1\3\4\3\0\0\0", 24));
    /* submit, receipts: outcomes, which seal, note, how often, alterations; another seal is refused */
    fuzz_seed("submit", truc_bytes("\1\11\4\4\0\0\0\0\0\0\0\0\11\7\21\0\0\1\41\5\0\11\1\5\0\200\377\0\0\0\0\0", 32));
    /* evidence is asked for, told, and the key after it */
    fuzz_seed("proof", truc_bytes("\1\16\0\23\0\1\0\1\0\17\0\16\0\23\0\2\0\1\0", 19));
    fuzz_seed("welcome", truc_bytes("\0\1\0\0\1\0\1\2\7\1\1", 11));
    fuzz_seed("raw", truc_bytes("\1\0\5\0\4\10\1\22\0\2ab\0\0\4\0\2\10\1\0\0\0", 22));
    for (unsigned i = 0; i < 6; i++) {
        uint8_t tape[400];
        char name[16];
        for (size_t j = 0; j < sizeof tape; j++) {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            tape[j] = (uint8_t)(random >> 24) & (random % 3 == 0 ? 255 : 15);
        }
        (void)snprintf(name, sizeof name, "tape-%u", i);
        fuzz_seed(name, truc_bytes(tape, sizeof tape));
    }
}
