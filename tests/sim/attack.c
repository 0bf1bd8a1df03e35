/* A peer that means harm: an enrolled agency, or one that merely says so, which plays others' frames again, changes
 * them, seals what does not fit, asks without end, and does not read. Whatever it does, the oracle must find nothing
 * wrong, the others must come to rest, and it must see nothing of what is not its own. */
#include "tests/sim/world.h"
#include "truc/frame.h"
#include "truc/seal.h"

#define SEEN_MAX 64

static struct sim_process process = {.name = "EVIL"};
static struct sim_link *link_;
static bool greeted;
static struct {
    struct truc_buffer parts[2];
    size_t count;
} seen[SEEN_MAX];
static size_t seen_count;
static uint8_t chain[TRUC_CHAIN_SIZE];
static uint64_t number;
static struct truc_hash previous;

void attack_saw(struct truc_bytes part1, struct truc_bytes part2, size_t count)
{
    if (!world.plan.attackers || world.calm)
        return;
    typeof(&seen[0]) one = &seen[seen_count++ % SEEN_MAX];
    const struct truc_bytes parts[2] = {part1, part2};
    for (size_t i = 0; i < 2; i++) {
        truc_buffer_clear(&one->parts[i]);
        if (parts[i].size && truc_buffer_append(&one->parts[i], parts[i].data, parts[i].size) != TRUC_OK)
            abort();
    }
    one->count = count;
}

static void on_arrived(void *context, struct sim_link *link, struct sim_message *message)
{
    (void)context, (void)link;
    sim_message_free(message);
}

static void on_closed(void *context, struct sim_link *link, bool refused)
{
    (void)context, (void)refused;
    if (link == link_)
        link_ = NULL;
}

static void send_parts(const struct truc_bytes *parts, size_t count)
{
    if (link_)
        sim_link_send(link_, true, sim_message_new(parts, count));
    world.counts[DID_ATTACK]++;
}

static void send_frame(enum truc_frame_kind kind, unsigned flags, const ProtobufCMessage *message,
                       struct truc_bytes body)
{
    struct truc_buffer part = {0};

    if (truc_frame_encode(kind, flags, message, &part) != TRUC_OK)
        abort();
    const struct truc_bytes parts[2] = {truc_buffer_view(&part), body};
    send_parts(parts, truc_frame_has_body(kind) ? 2 : 1);
    truc_buffer_close(&part);
}

static void hello(void)
{
    Truc__V1__Hello message = TRUC__V1__HELLO__INIT;
    uint8_t instance[16] = {6, 6, 6};

    message.protocol_min = message.protocol_max = TRUC_PROTOCOL_VERSION;
    message.agency = sim_often(900) ? (char *)"EVIL" : world.agencies[1].code;
    message.origin = (char *)world.origin;
    message.software = (char *)"evil/1";
    message.instance = (ProtobufCBinaryData){sizeof instance, instance};
    send_frame(TRUC_FRAME_HELLO, 0, &message.base, truc_bytes(NULL, 0));
    greeted = true;
}

static void join(void)
{
    const struct sim_end end = {.arrived = on_arrived, .closed = on_closed};
    uint8_t unknown[32] = {9, 9};

    process.alive = true;
    link_ = sim_network_connect(&process, &end, sim_often(900) ? sim_key_transport(SIM_EVIL_KEY) : unknown, true);
    greeted = false;
    if (sim_often(900))
        hello();
}

/* ---- others' frames ---- */

static void replay(bool changed)
{
    size_t have = seen_count < SEEN_MAX ? seen_count : SEEN_MAX;
    struct truc_buffer copies[2] = {0};

    if (have == 0)
        return;
    typeof(&seen[0]) one = &seen[sim_pick(have)];
    for (size_t i = 0; i < 2; i++) {
        struct truc_buffer *copy = &copies[i];
        if (one->parts[i].size && truc_buffer_append(copy, one->parts[i].data, one->parts[i].size) != TRUC_OK)
            abort();
        for (uint64_t n = changed ? 1 + sim_pick(4) : 0; n > 0 && copy->size > 0; n--)
            copy->data[sim_pick(copy->size)] ^= (uint8_t)(1u << sim_pick(8));
        if (changed && copy->size && sim_often(200))
            copy->size = sim_pick(copy->size);
    }
    const struct truc_bytes parts[2] = {truc_buffer_view(&copies[0]), truc_buffer_view(&copies[1])};
    send_parts(parts, changed && sim_often(100) ? 1 + sim_pick(2) : one->count);
    truc_buffer_close(&copies[0]);
    truc_buffer_close(&copies[1]);
}

static void rubbish(void)
{
    uint8_t bytes[300];
    struct truc_bytes parts[3];
    size_t count = 1 + sim_pick(3);

    sim_random_bytes(bytes, sizeof bytes);
    if (sim_pick(2)) { /* a frame's beginning */
        bytes[0] = TRUC_PROTOCOL_VERSION;
        bytes[1] = (uint8_t)(1 + sim_pick(12));
        bytes[2] = (uint8_t)sim_pick(2);
        bytes[3] = 0;
    }
    for (size_t i = 0; i < count; i++)
        parts[i] = truc_bytes(bytes, sim_pick(sizeof bytes));
    send_parts(parts, count);
}

/* ---- seals of its own, of which something is wrong ---- */

static void make_event(struct truc_buffer *body, struct truc_hash *leaf)
{
    char id[40];
    uint8_t salt[TRUC_SALT_SIZE];
    struct truc_event *event = calloc(1, sizeof *event);
    struct truc_buffer bytes = {0};

    if (!event)
        abort();
    snprintf(id, sizeof id, "evil-%llu", (unsigned long long)sim_pick(1000));
    sim_random_bytes(salt, sizeof salt);
    event->id = truc_bytes_of(id);
    event->source = truc_bytes_of(sim_often(700) ? "urn:truc:EVIL" : "urn:truc:H1");
    event->type = truc_bytes_of(sim_often(700) ? "a.one" : TRUC_TYPE_GOVERNANCE);
    if (truc_event_set_bytes(event, "salt", truc_bytes(salt, sizeof salt)) != TRUC_OK ||
        truc_event_set_text(event, "recipients", truc_bytes_of("H1")) != TRUC_OK ||
        truc_event_encode(event, &bytes) != TRUC_OK || truc_body_append(body, truc_buffer_view(&bytes)) != TRUC_OK)
        abort();
    truc_leaf_hash(leaf, truc_buffer_view(&bytes));
    truc_buffer_close(&bytes);
    free(event);
}

static void submit(void)
{
    struct truc_buffer body = {0}, envelope = {0};
    struct truc_seal seal = {.count = 1, .sealed_at_us = sim_now() + SIM_EPOCH};
    struct truc_hash digest;
    Truc__V1__Submit message = TRUC__V1__SUBMIT__INIT;

    if (number == 0 || sim_often(150)) {
        sim_random_bytes(chain, sizeof chain);
        number = 0;
    }
    make_event(&body, &seal.root);
    snprintf(seal.origin, sizeof seal.origin, "%s", sim_often(50) ? "another.example/log" : world.origin);
    snprintf(seal.sender, sizeof seal.sender, "%s", sim_often(50) ? "H1" : "EVIL");
    memcpy(seal.keyid, truc_key_id(sim_key(SIM_EVIL_KEY)), sizeof seal.keyid);
    memcpy(seal.chain, chain, sizeof chain);
    seal.number = number + 1;
    seal.has_previous = number > 0;
    seal.previous = previous;
    unsigned wrong = (unsigned)sim_pick(8);
    if (wrong == 0)
        seal.number += 1 + sim_pick(3);
    else if (wrong == 1 && number > 0)
        seal.number = 1 + sim_pick(number); /* a fork */
    else if (wrong == 2)
        seal.previous.bytes[0] ^= 1;
    else if (wrong == 3)
        seal.root.bytes[0] ^= 1;
    else if (wrong == 4)
        seal.sealed_at_us += sim_between(-1000, 1000) * 86400 * SIM_SECOND;
    if (truc_seal_sign(&seal, sim_key(SIM_EVIL_KEY), &envelope, &digest) == TRUC_OK) {
        if (wrong == 5)
            envelope.data[sim_pick(envelope.size)] ^= 4;
        message.envelope = (ProtobufCBinaryData){envelope.size, envelope.data};
        send_frame(TRUC_FRAME_SUBMIT, 0, &message.base, truc_buffer_view(&body));
        if (wrong > 5) {
            number = seal.number;
            previous = digest;
        }
    }
    truc_buffer_close(&body);
    truc_buffer_close(&envelope);
}

/* ---- asking without end ---- */

static void endless_body(void)
{
    static uint8_t piece[64 << 10];
    Truc__V1__Submit message = TRUC__V1__SUBMIT__INIT;
    uint8_t envelope[100] = {0};

    message.envelope = (ProtobufCBinaryData){sizeof envelope, envelope};
    send_frame(TRUC_FRAME_SUBMIT, TRUC_FRAME_MORE, &message.base, truc_bytes(piece, sizeof piece));
    for (uint64_t n = sim_pick(100); n > 0; n--)
        send_frame(TRUC_FRAME_DATA, TRUC_FRAME_MORE, NULL, truc_bytes(piece, sizeof piece));
}

static void ask(void)
{
    Truc__V1__GetProof proof = TRUC__V1__GET_PROOF__INIT;
    Truc__V1__Query query = TRUC__V1__QUERY__INIT;
    Truc__V1__Credit credit = TRUC__V1__CREDIT__INIT;

    switch (sim_pick(3)) {
    case 0:
        for (uint64_t n = sim_pick(100); n > 0; n--) {
            proof.sequence = proof.request = 1 + sim_pick(400); /* the answer tells what was asked */
            send_frame(TRUC_FRAME_GET_PROOF, 0, &proof.base, truc_bytes(NULL, 0));
        }
        return;
    case 1:
        query.what = (char *)(sim_pick(2) ? "keys" : "agencies");
        for (uint64_t n = sim_pick(50); n > 0; n--)
            send_frame(TRUC_FRAME_QUERY, 0, &query.base, truc_bytes(NULL, 0));
        return;
    default:
        credit.events = UINT32_MAX;
        credit.bytes = UINT64_MAX;
        send_frame(TRUC_FRAME_CREDIT, 0, &credit.base, truc_bytes(NULL, 0));
        return;
    }
}

static void answer_what_is_not_ours(void)
{
    Truc__V1__Ack ack = TRUC__V1__ACK__INIT;
    Truc__V1__AckRange range = TRUC__V1__ACK_RANGE__INIT, *ranges[1] = {&range};
    Truc__V1__Nack nack = TRUC__V1__NACK__INIT;

    range.lease = nack.lease = (uint64_t)(sim_now() + SIM_EPOCH) - sim_pick(5000000);
    range.first = nack.number = 1 + sim_pick(50);
    range.count = (uint32_t)(1 + sim_pick(70000));
    ack.ranges = ranges;
    ack.n_ranges = 1;
    nack.reject = true;
    if (sim_pick(2))
        send_frame(TRUC_FRAME_ACK, 0, &ack.base, truc_bytes(NULL, 0));
    else
        send_frame(TRUC_FRAME_NACK, 0, &nack.base, truc_bytes(NULL, 0));
}

void attack_stir(void)
{
    if (!link_) {
        join();
        return;
    }
    if (!greeted && sim_pick(2))
        hello();
    switch (sim_pick(9)) {
    case 0:
        replay(false);
        return;
    case 1:
        replay(true);
        return;
    case 2:
        rubbish();
        return;
    case 3:
        endless_body();
        return;
    case 4:
        ask();
        return;
    case 5:
        answer_what_is_not_ours();
        return;
    case 6:
        sim_link_stall(link_, false, true); /* does not read */
        return;
    default:
        for (uint64_t n = 1 + sim_pick(4); n > 0; n--)
            submit();
        return;
    }
}

void attack_end(void)
{
    if (link_)
        sim_link_leave_client(link_, false);
    link_ = NULL;
}
