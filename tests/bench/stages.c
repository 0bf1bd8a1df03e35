/* stages HOME SENDER SUBSCRIBER EVENTS SEALS ROUNDS: the way of an event through sender, hub and subscriber in one
 * process, stage by stage, so that callgrind can count the instructions of each (tests/bench/instructions).
 *
 * Everything is the real code: libtruc's sessions and spools, the hub's shell, core and store. What goes on elsewhere
 * in threads (verification, the writer) is called in its turn; sockets are function calls (inside.h). SEALS seals of
 * EVENTS events go through all stages together, ROUNDS times, after one round to warm up. */
#include "adapters/client/session.h"
#include "adapters/client/spool.h"
#include "tests/bench/inside.h"

#include <stdio.h>
#include <sys/stat.h>
#include <valgrind/callgrind.h>

#define SEALS_MAX 64
#define EVENT_SIZE 1024
#define STEP_US 30000 /* of the virtual clock between two rounds */

/* ---- stages ---------------------------------------------------------------------------------------------------------
 */

static const char *stage = "none";
static bool measuring;

/* What ran since the last call is the stage's that ends here. */
static void enter(const char *next)
{
    if (measuring && strcmp(stage, next) != 0) {
        CALLGRIND_DUMP_STATS_AT(stage);
    }
    stage = next;
}

static void measure(bool on)
{
    enter("none");
    if (on) {
        CALLGRIND_START_INSTRUMENTATION;
        CALLGRIND_ZERO_STATS;
    } else {
        CALLGRIND_STOP_INSTRUMENTATION;
    }
    measuring = on;
}

/* ---- the hub's threads, in their turn -------------------------------------------------------------------------------
 */

static struct bench {
    struct hub *hub;
    bool inline_threads;
    struct hub_submission *verify[SEALS_MAX];
    size_t verify_count;
    struct hub_batch *finished;
    struct truc_aead *aead;
    struct truc_hash previous;
} bench;

/* typeof: whoever changes one of them in the hub hears of it here. */
typeof(hub_verify_start) __wrap_hub_verify_start;
typeof(hub_writer_submit) __wrap_hub_writer_submit, __real_hub_writer_submit;
typeof(hub_writer_finished) __wrap_hub_writer_finished, __real_hub_writer_finished;
typeof(hub_core_begin_row) __wrap_hub_core_begin_row, __real_hub_core_begin_row;
typeof(hub_core_end_row) __wrap_hub_core_end_row, __real_hub_core_end_row;
typeof(truc_checkpoint_sign) __wrap_truc_checkpoint_sign, __real_truc_checkpoint_sign;
typeof(hub_send_receipts) __wrap_hub_send_receipts, __real_hub_send_receipts;
typeof(hub_send_settled) __wrap_hub_send_settled, __real_hub_send_settled;

void __wrap_hub_verify_start(struct hub_session *session, struct hub_submission *submission)
{
    (void)session;
    if (bench.verify_count == SEALS_MAX) {
        inside_must(TRUC_E_FULL, "seals to verify");
    }
    submission->state = SUBMISSION_VERIFYING;
    bench.verify[bench.verify_count++] = submission;
}

/* As hub/store/writer.c's commit. */
void __wrap_hub_writer_submit(struct hub_writer *writer, struct hub_batch *batch)
{
    if (!bench.inline_threads) {
        __real_hub_writer_submit(writer, batch);
        return;
    }
    struct hub_row_header header = {.row = hub_journal_rows(bench.hub->journal),
                                    .accepted_at_us = batch->accepted_at_us,
                                    .previous = bench.previous};
    size_t size;
    uint8_t *bytes;
    enter("commit");
    inside_must(hub_row_size(batch->items, batch->count, &size), "the row's size");
    inside_must(hub_journal_allocate(bench.hub->journal, size, &bytes), "room in the journal");
    enter("row");
    inside_must(hub_row_encode(&header, batch->items, batch->count, bench.aead, bench.hub->slots, bytes), "the row");
    enter("commit");
    inside_must(hub_journal_append(bench.hub->journal, &batch->row), "the commit");
    bench.previous = header.digest;
    batch->result = TRUC_OK;
    batch->bytes = size;
    bench.finished = batch;
    enter("none");
}

struct hub_batch *__wrap_hub_writer_finished(struct hub_writer *writer)
{
    if (!bench.inline_threads) {
        return __real_hub_writer_finished(writer);
    }
    struct hub_batch *batch = bench.finished;
    bench.finished = NULL;
    return batch;
}

truc_error __wrap_hub_core_begin_row(struct hub_core *core, uint64_t row, int64_t accepted_at_us)
{
    enter("apply");
    return __real_hub_core_begin_row(core, row, accepted_at_us);
}

truc_error __wrap_hub_core_end_row(struct hub_core *core, struct hub_effects *effects)
{
    truc_error error = __real_hub_core_end_row(core, effects);
    enter("effects");
    return error;
}

truc_error __wrap_truc_checkpoint_sign(const struct truc_checkpoint *checkpoint, const struct truc_key *key,
                                       struct truc_buffer *out)
{
    enter("checkpoint");
    truc_error error = __real_truc_checkpoint_sign(checkpoint, key, out);
    enter("effects");
    return error;
}

void __wrap_hub_send_receipts(struct hub *hub, struct hub_commit *commit)
{
    enter("receipts");
    __real_hub_send_receipts(hub, commit);
}

void __wrap_hub_send_settled(struct hub *hub, struct hub_commit *commit)
{
    enter("settled");
    __real_hub_send_settled(hub, commit);
    enter("effects");
}

/* ---- the two clients ------------------------------------------------------------------------------------------------
 */

struct frame {
    struct frame *next;
    struct truc_buffer head;
    zmq_msg_t body;
    bool has_body;
};

static struct side {
    struct inside_agency agency;
    struct client_session *session;
    struct spool *spool;
    uint32_t peer;
    struct frame *first, **last; /* on their way to it */
    uint64_t receipted, delivered, settled;
} sender = {.peer = 1}, subscriber = {.peer = 2};

static int64_t now_us;

static void on_frame(void *context, uint32_t peer, struct truc_bytes head, zmq_msg_t *body)
{
    struct side *side = peer == sender.peer ? &sender : &subscriber;
    struct frame *frame = calloc(1, sizeof *frame);
    (void)context;
    if (frame == NULL) {
        inside_must(TRUC_E_NOMEM, "a frame");
    }
    inside_must(truc_buffer_append(&frame->head, head.data, head.size), "a frame");
    zmq_msg_init(&frame->body);
    if (body != NULL) {
        frame->has_body = true;
        zmq_msg_move(&frame->body, body);
    }
    *side->last = frame;
    side->last = &frame->next;
}

static void on_receipt(void *context, const struct truc_receipt *receipt)
{
    struct side *side = context;
    if (receipt->reason != TRUC_ACCEPTED) {
        fprintf(stderr, "stages: refused: %s\n", truc_reason_name(receipt->reason));
        exit(1);
    }
    side->receipted++;
}

static void on_delivery(void *context, const struct truc_delivery *delivery)
{
    struct side *side = context;
    side->delivered++;
    inside_must(client_session_ack(side->session, delivery->number), "an ack");
}

static void on_settled(void *context, uint64_t first_number, uint32_t count)
{
    (void)first_number;
    ((struct side *)context)->settled += count;
}

static void side_work(struct side *side)
{
    inside_must(client_session_work(side->session), "a session's work");
}

/* What a session has said goes to the hub: message by message, as from a socket. Copying is libzmq's there. */
static void side_speak(struct side *side, const char *hub_stage)
{
    struct client_outbox *outbox = client_session_outbox(side->session);
    struct client_outgoing *message;
    enter(hub_stage);
    while ((message = client_outbox_peek(outbox)) != NULL) {
        struct truc_bytes body = {NULL, 0};
        if (message->body != NULL) {
            body = truc_bytes(message->body->bytes.data + message->offset, message->size);
        }
        inside_message(bench.hub, side->peer, side->agency.transport, truc_buffer_view(&message->head),
                       message->has_body ? &body : NULL);
        client_outbox_pop(outbox);
    }
    enter("none");
}

static void side_hear(struct side *side, const char *client_stage)
{
    enter(client_stage);
    while (side->first != NULL) {
        struct frame *frame = side->first;
        side->first = frame->next;
        if (side->first == NULL) {
            side->last = &side->first;
        }
        const struct truc_bytes parts[2] = {truc_buffer_view(&frame->head),
                                            truc_bytes(zmq_msg_data(&frame->body), zmq_msg_size(&frame->body))};
        inside_must(client_session_message(side->session, parts, frame->has_body ? 2 : 1), "a message");
        zmq_msg_close(&frame->body);
        truc_buffer_close(&frame->head);
        free(frame);
    }
    enter("none");
}

static void side_sync(struct side *side, const char *spool_stage)
{
    enter(spool_stage);
    inside_must(client_spool_commit(side->spool), "the spool");
    client_session_synced(side->session, client_spool_synced(side->spool), false);
    enter("none");
}

static void side_open(struct side *side, const char *profile, const char *home, uint32_t events)
{
    const struct truc_client_callbacks callbacks = {
        .context = side, .on_receipt = on_receipt, .on_delivery = on_delivery, .on_settled = on_settled};
    char folder[4096];
    inside_agency_load(&side->agency, profile);
    side->last = &side->first;
    (void)snprintf(folder, sizeof folder, "%s.spool-%u-%u", home, side->peer, events);
    inside_must(client_spool_open(folder, UINT64_C(1) << 30, &side->spool), folder);
    const struct client_session_config config = {.agency = side->agency.config->agency,
                                                 .origin = side->agency.config->origin,
                                                 .software = "truc-bench/1",
                                                 .note_key = side->agency.config->note_key,
                                                 .signing_key = side->agency.config->signing_key,
                                                 .endpoint_count = 1,
                                                 .max_in_flight_seals = SEALS_MAX,
                                                 .max_seal_events = events,
                                                 .receive_events = 65536,
                                                 .receive_bytes = 64u << 20,
                                                 .store = client_spool_store(side->spool),
                                                 .random = truc_random};
    inside_must(client_session_new(&config, &callbacks, &side->session), "a session");
    client_session_clock(side->session, now_us, hub_wall_us());
    side_sync(side, "none");
    client_session_receive(side->session, side == &subscriber);
    for (int i = 0; i < 4; i++) { /* HELLO, WELCOME, CREDIT */
        side_work(side);
        side_speak(side, "none");
        side_hear(side, "none");
        side_sync(side, "none");
    }
    if (client_session_state(side->session) != TRUC_CLIENT_OPEN) {
        inside_must(TRUC_E_REFUSED, "opening a session");
    }
}

static void side_close(struct side *side)
{
    client_session_free(&side->session);
    client_spool_close(&side->spool);
    inside_agency_close(&side->agency);
}

/* ---- a round --------------------------------------------------------------------------------------------------------
 */

static void encode(struct inside_events *events, struct truc_buffer *encoded, size_t *sizes, size_t count)
{
    enter("encode");
    truc_buffer_clear(encoded);
    for (size_t i = 0; i < count; i++) {
        size_t before = encoded->size;
        inside_events_next(events, encoded);
        sizes[i] = encoded->size - before;
    }
    enter("none");
}

static void submit(const struct truc_buffer *encoded, const size_t *sizes, size_t events, size_t seals)
{
    size_t at = 0;
    enter("submit and seal");
    for (size_t s = 0; s < seals; s++) {
        for (size_t i = 0; i < events; i++) {
            uint64_t ticket;
            inside_must(client_session_submit(sender.session, truc_bytes(encoded->data + at, sizes[s * events + i]),
                                              STORE_EVENT_OURS, &ticket),
                        "submit");
            at += sizes[s * events + i];
        }
        side_work(&sender);
    }
    enter("none");
}

/* From the verified seals to what leaves after the commit. */
static void hub_takes(size_t seals)
{
    struct hub *hub = bench.hub;
    if (bench.verify_count != seals) {
        inside_must(TRUC_E_INVALID, "the sender made another number of seals");
    }
    enter("verify");
    for (size_t i = 0; i < bench.verify_count; i++) {
        hub_verify_seal(bench.verify[i]);
    }
    hub->retry_at_ms = UINT64_MAX; /* all of them into one commit */
    enter("intake");
    for (size_t i = 0; i < bench.verify_count; i++) {
        hub_submission_verified(bench.verify[i]);
    }
    bench.verify_count = 0;
    hub->retry_at_ms = 0;
    hub_commit_start(hub);
    enter("effects");
    hub_commit_finish(hub);
    enter("deliver");
    hub_outflow(hub);
    enter("none");
}

static void hub_flushes(void)
{
    bench.hub->retry_at_ms =
        UINT64_MAX; /* the loop's timers would commit the acks here: they ride with the next seals */
    enter("state");
    hub_state_flush(bench.hub, true);
    while (bench.hub->frozen != NULL && !bench.hub->fatal) {
        uv_run(&bench.hub->loop, UV_RUN_ONCE);
    }
    enter("none");
    bench.hub->retry_at_ms = 0;
}

static void round_trip(struct inside_events *events, struct truc_buffer *encoded, size_t *sizes, size_t in_seal,
                       size_t seals)
{
    uint64_t expected = sender.receipted + in_seal * seals;
    now_us += STEP_US;
    events->time_us = hub_wall_us();
    client_session_clock(sender.session, now_us, events->time_us);
    client_session_clock(subscriber.session, now_us, events->time_us);
    encode(events, encoded, sizes, in_seal * seals);
    submit(encoded, sizes, in_seal, seals);
    side_sync(&sender, "spool");
    side_speak(&sender, "receive");
    hub_takes(seals);
    side_hear(&sender, "take receipts");
    side_hear(&subscriber, "subscriber");
    for (int i = 0; i < 4 && subscriber.delivered < expected; i++) { /* at first it asks for the sender's key */
        enter("subscriber");
        side_work(&subscriber);
        side_speak(&subscriber, "none");
        side_hear(&subscriber, "subscriber");
    }
    side_sync(&subscriber, "subscriber's spool");
    enter("subscriber");
    side_work(&subscriber);
    side_speak(&subscriber, "take acks");
    hub_flushes();
    if (sender.receipted != expected || subscriber.delivered != expected) {
        fprintf(stderr, "stages: %llu receipts and %llu deliveries, not %llu\n", (unsigned long long)sender.receipted,
                (unsigned long long)subscriber.delivered, (unsigned long long)expected);
        exit(1);
    }
}

static void find_last_row(void)
{
    struct hub_journal_reader *reader = NULL;
    struct hub_row_header header;
    struct truc_bytes row;
    inside_must(hub_journal_reader_new(bench.hub->journal, &reader), "reading the journal");
    inside_must(hub_journal_get(reader, hub_journal_rows(bench.hub->journal) - 1, &row), "the last row");
    inside_must(hub_row_open(row, &header), "the last row");
    bench.previous = header.digest;
    hub_journal_reader_free(&reader);
}

int main(int argc, char **argv)
{
    struct truc_buffer encoded = {0};
    if (argc != 7) {
        fputs("usage: stages HOME SENDER SUBSCRIBER EVENTS SEALS ROUNDS\n", stderr);
        return 2;
    }
    size_t in_seal = strtoul(argv[4], NULL, 10), seals = strtoul(argv[5], NULL, 10);
    unsigned long rounds = strtoul(argv[6], NULL, 10);
    if (in_seal < 1 || in_seal > TRUC_SEAL_EVENTS_MAX || seals < 1 || seals > SEALS_MAX || rounds < 1) {
        fputs("stages: seals of 1 to 1024 events, 1 to 64 of them\n", stderr);
        return 2;
    }
    truc_log_set_level(TRUC_LOG_ERROR);
    now_us = INT64_C(3600) * 1000000;
    bench.hub = inside_open(argv[1], on_frame, NULL);
    inside_must(truc_aead_new(&bench.aead), "a cipher");
    find_last_row();
    side_open(&sender, argv[2], argv[1], (uint32_t)in_seal);
    side_open(&subscriber, argv[3], argv[1], (uint32_t)in_seal);
    bench.inline_threads = true;
    size_t *sizes = calloc(in_seal * seals, sizeof *sizes);
    struct inside_events events = {
        .source = sender.agency.source, .to = subscriber.agency.config->agency, .size = EVENT_SIZE};
    if (sizes == NULL) {
        inside_must(TRUC_E_NOMEM, "sizes");
    }
    inside_events_open(&events);
    round_trip(&events, &encoded, sizes, in_seal, seals);
    measure(true);
    for (unsigned long i = 0; i < rounds; i++) {
        round_trip(&events, &encoded, sizes, in_seal, seals);
    }
    measure(false);
    printf("{\"events\": %llu, \"settled\": %llu}\n", (unsigned long long)(in_seal * seals * rounds),
           (unsigned long long)subscriber.settled);
    side_close(&sender);
    side_close(&subscriber);
    bench.inline_threads = false;
    hub_commit_free(&bench.hub->building); /* acks of the last round: nobody waits for them */
    bench.hub->building = hub_commit_new();
    inside_close(bench.hub);
    inside_events_close(&events);
    truc_buffer_close(&encoded);
    truc_aead_free(&bench.aead);
    free(sizes);
    return 0;
}
