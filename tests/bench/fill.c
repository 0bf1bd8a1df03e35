/* fill HOME SENDER RECEIVER EVENTS: a log with EVENTS more events in it, by the real hub inside this process: signed
 * seals of 1,024 small events through verification, journal, core and state, delivered to RECEIVER and acked, as they
 * would come over the network. At the end the hub is stopped in order. Prints one JSON object. */
#include "tests/bench/inside.h"

#include <stdio.h>
#include <stdlib.h>

#define SEAL_EVENTS TRUC_SEAL_EVENTS_MAX
#define IN_FLIGHT 24 /* seals: below a session's bytes, and enough for rows of some megabytes */
#define DATA_SIZE 32
#define CREDIT 65536u

enum { SENDER = 1, RECEIVER = 2 };

struct acks {
    uint64_t lease;
    struct hub_ranges ranges;
    struct acks *next;
};

static struct fill {
    struct hub *hub;
    struct inside_agency sender, receiver;
    struct inside_events events;
    struct truc_seal seal;
    uint64_t submitted, receipted, delivered, settled, event_bytes;
    struct acks *first, **last; /* to be said */
    struct truc_arena *arena;
    struct truc_buffer head, body, envelope;
} fill;

/* ---- what the hub says ----------------------------------------------------------------------------------------------
 */

static void on_deliver(const Truc__V1__Deliver *deliver)
{
    struct acks *acks = calloc(1, sizeof *acks);
    if (acks == NULL) {
        inside_must(TRUC_E_NOMEM, "acks");
    }
    acks->lease = deliver->lease;
    for (size_t g = 0; g < deliver->n_groups; g++) {
        for (size_t i = 0; i < deliver->groups[g]->n_items; i++) {
            inside_must(hub_ranges_add(&acks->ranges, (struct hub_range){deliver->groups[g]->items[i]->number, 1}),
                        "acks");
            fill.delivered++;
        }
    }
    *fill.last = acks;
    fill.last = &acks->next;
}

static void on_frame(void *context, uint32_t peer, struct truc_bytes part, zmq_msg_t *body)
{
    struct truc_frame_head head;
    ProtobufCMessage *message = NULL;
    (void)context, (void)peer, (void)body;
    inside_must(truc_frame_parse(part, &head), "a frame");
    if (head.kind == TRUC_FRAME_DATA) {
        return;
    }
    truc_arena_reset(fill.arena);
    inside_must(truc_unpack(fill.arena, truc_frame_descriptor(head.kind), head.message, &message), "a frame's message");
    if (head.kind == TRUC_FRAME_RECEIPTS) {
        fill.receipted += ((const Truc__V1__Receipts *)message)->n_receipts;
    } else if (head.kind == TRUC_FRAME_DELIVER) {
        on_deliver((const Truc__V1__Deliver *)message);
    } else if (head.kind == TRUC_FRAME_SETTLED) {
        const Truc__V1__Settled *settled = (const Truc__V1__Settled *)message;
        for (size_t i = 0; i < settled->n_ranges; i++) {
            fill.settled += settled->ranges[i]->count;
        }
    } else if (head.kind != TRUC_FRAME_WELCOME) {
        fprintf(stderr, "fill: the hub answered with %s\n", truc_frame_name(head.kind));
        exit(1);
    }
}

/* ---- what is said to it ---------------------------------------------------------------------------------------------
 */

static void say(uint32_t peer, enum truc_frame_kind kind, const ProtobufCMessage *message)
{
    const struct inside_agency *agency = peer == SENDER ? &fill.sender : &fill.receiver;
    truc_buffer_clear(&fill.head);
    inside_must(truc_frame_encode(kind, 0, message, &fill.head), "a frame");
    inside_message(fill.hub, peer, agency->transport, truc_buffer_view(&fill.head), NULL);
}

static void say_hello(uint32_t peer, const struct inside_agency *agency)
{
    uint8_t instance[16] = {(uint8_t)peer};
    Truc__V1__Hello hello = TRUC__V1__HELLO__INIT;
    hello.protocol_min = hello.protocol_max = TRUC_PROTOCOL_VERSION;
    hello.agency = (char *)agency->config->agency;
    hello.origin = (char *)agency->config->origin;
    hello.software = "truc-bench/1";
    hello.instance = (ProtobufCBinaryData){sizeof instance, instance};
    say(peer, TRUC_FRAME_HELLO, &hello.base);
}

static void say_credit(uint32_t events)
{
    Truc__V1__Credit credit = TRUC__V1__CREDIT__INIT;
    credit.events = events;
    credit.bytes = UINT64_C(64) << 20;
    say(RECEIVER, TRUC_FRAME_CREDIT, &credit.base);
}

/* Pieces as a client cuts them. */
static void submit_body(void)
{
    Truc__V1__Submit message = TRUC__V1__SUBMIT__INIT;
    message.envelope = (ProtobufCBinaryData){fill.envelope.size, fill.envelope.data};
    for (size_t at = 0; at < fill.body.size;) {
        size_t size = fill.body.size - at < TRUC_PIECE_MAX ? fill.body.size - at : TRUC_PIECE_MAX;
        unsigned flags = at + size < fill.body.size ? TRUC_FRAME_MORE : 0;
        const struct truc_bytes piece = truc_bytes(fill.body.data + at, size);
        truc_buffer_clear(&fill.head);
        inside_must(truc_frame_encode(at == 0 ? TRUC_FRAME_SUBMIT : TRUC_FRAME_DATA, flags,
                                      at == 0 ? &message.base : NULL, &fill.head),
                    "a frame");
        inside_message(fill.hub, SENDER, fill.sender.transport, truc_buffer_view(&fill.head), &piece);
        at += size;
    }
}

static void submit(uint32_t count)
{
    static struct truc_hash leaves[SEAL_EVENTS];
    static struct truc_buffer event;
    struct truc_seal *seal = &fill.seal;
    struct truc_hash digest;
    truc_buffer_clear(&fill.body);
    truc_buffer_clear(&fill.envelope);
    seal->sealed_at_us = fill.events.time_us = hub_wall_us();
    for (uint32_t i = 0; i < count; i++) {
        truc_buffer_clear(&event);
        inside_events_next(&fill.events, &event);
        truc_leaf_hash(&leaves[i], truc_buffer_view(&event));
        fill.event_bytes += event.size;
        inside_must(truc_body_append(&fill.body, truc_buffer_view(&event)), "a body");
    }
    truc_merkle_root(leaves, count, &seal->root);
    seal->count = count;
    seal->number++;
    inside_must(truc_seal_sign(seal, fill.sender.config->signing_key, &fill.envelope, &digest), "a seal");
    submit_body();
    seal->previous = digest;
    seal->has_previous = true;
    fill.submitted++;
}

static void say_acks(void)
{
    while (fill.first != NULL) {
        struct acks *acks = fill.first;
        Truc__V1__Ack message = TRUC__V1__ACK__INIT;
        Truc__V1__AckRange *ranges = calloc(acks->ranges.count, sizeof *ranges), **views;
        views = calloc(acks->ranges.count, sizeof(Truc__V1__AckRange *));
        uint32_t count = 0;
        if (ranges == NULL || views == NULL) {
            inside_must(TRUC_E_NOMEM, "acks");
        }
        for (size_t i = 0; i < acks->ranges.count; i++) {
            truc__v1__ack_range__init(&ranges[i]);
            ranges[i].lease = acks->lease;
            ranges[i].first = acks->ranges.items[i].first;
            ranges[i].count = acks->ranges.items[i].count;
            count += ranges[i].count;
            views[i] = &ranges[i];
        }
        message.ranges = views;
        message.n_ranges = acks->ranges.count;
        say(RECEIVER, TRUC_FRAME_ACK, &message.base);
        say_credit(count);
        fill.first = acks->next;
        hub_ranges_close(&acks->ranges);
        free(ranges);
        free(views);
        free(acks);
    }
    fill.last = &fill.first;
}

/* ---- all of it ------------------------------------------------------------------------------------------------------
 */

static void open_all(char **argv)
{
    inside_must(truc_arena_new(16u << 20, &fill.arena), "an arena");
    inside_agency_load(&fill.sender, argv[2]);
    inside_agency_load(&fill.receiver, argv[3]);
    fill.last = &fill.first;
    fill.hub = inside_open(argv[1], on_frame, NULL);
    fill.events = (struct inside_events){
        .source = fill.sender.source, .to = fill.receiver.config->agency, .size = DATA_SIZE, .small = true};
    inside_events_open(&fill.events);
    (void)snprintf(fill.seal.origin, sizeof fill.seal.origin, "%s", fill.sender.config->origin);
    (void)snprintf(fill.seal.sender, sizeof fill.seal.sender, "%s", fill.sender.config->agency);
    (void)snprintf(fill.seal.keyid, sizeof fill.seal.keyid, "%s", truc_key_id(fill.sender.config->signing_key));
    inside_must(truc_random(fill.seal.chain, sizeof fill.seal.chain), "a chain");
    say_hello(SENDER, &fill.sender);
    say_hello(RECEIVER, &fill.receiver);
    say_credit(CREDIT);
}

int main(int argc, char **argv)
{
    if (argc != 5) {
        fputs("usage: fill HOME SENDER RECEIVER EVENTS\n", stderr);
        return 2;
    }
    uint64_t events = strtoull(argv[4], NULL, 10);
    int64_t begin = hub_wall_us();
    open_all(argv);
    uint64_t first = hub_core_next_sequence(fill.hub->core);
    while (fill.events.made < events || fill.receipted < fill.submitted || fill.settled < events) {
        while (fill.events.made < events && fill.submitted - fill.receipted < IN_FLIGHT) {
            uint64_t left = events - fill.events.made;
            submit(left < SEAL_EVENTS ? (uint32_t)left : SEAL_EVENTS);
        }
        say_acks();
        hub_outflow(fill.hub);
        uv_run(&fill.hub->loop, fill.first != NULL ? UV_RUN_NOWAIT : UV_RUN_ONCE);
        if (fill.hub->fatal) {
            inside_must(TRUC_E_IO, "the hub failed");
        }
    }
    double seconds = (double)(hub_wall_us() - begin) / 1e6;
    inside_close(fill.hub);
    printf("{\"events\": %llu, \"seals\": %llu, \"first_sequence\": %llu, \"event_bytes\": %.1f, \"seconds\": %.2f}\n",
           (unsigned long long)events, (unsigned long long)fill.submitted, (unsigned long long)first,
           (double)fill.event_bytes / (double)events, seconds);
    inside_events_close(&fill.events);
    inside_agency_close(&fill.sender);
    inside_agency_close(&fill.receiver);
    truc_arena_free(&fill.arena);
    truc_buffer_close(&fill.head);
    truc_buffer_close(&fill.body);
    truc_buffer_close(&fill.envelope);
    return 0;
}
