/* The hub as a process of the simulator: the real hub_open, hub_run, hub_close, on a fiber; killed, restarted. */
#include "hub/hub.h"
#include "hub/store/environment.h"
#include "tests/sim/world.h"

#include <stdarg.h>

int __wrap_printf(const char *format, ...);
void __wrap_truc_log(enum truc_log_level level, const char *event, const char *fields, ...)
    __attribute__((format(printf, 3, 4)));
void *__wrap_zmq_ctx_new(void);
int __wrap_zmq_ctx_term(void *context);

struct sim_process hub_process = {.name = "hub"};
static void on_disk_crash(struct sim_disk *disk);
struct sim_disk hub_disk = {.process = &hub_process, .sync_least = 200, .sync_most = 3000, .on_crash = on_disk_crash};
int64_t hub_excused_until;
static struct hub *running;
static bool up;

/* ---- what the hub would say ---- */

int __wrap_printf(const char *format, ...)
{
    (void)format; /* "ready": the simulator knows */
    return 0;
}

void __wrap_truc_log(enum truc_log_level level, const char *event, const char *fields, ...)
{
    char text[600];
    va_list arguments;

    (void)level;
    if (!sim_tracing)
        return;
    va_start(arguments, fields);
    vsnprintf(text, sizeof text, fields, arguments);
    va_end(arguments);
    sim_trace("log %s %s", event, text);
}

void *__wrap_zmq_ctx_new(void)
{
    static int context;
    return &context;
}

int __wrap_zmq_ctx_term(void *context)
{
    (void)context;
    return 0;
}

/* The file that the real check reads page by page is not there; what it makes sure of in a child process is asked here:
 * the store's own probe. */
truc_error hub_environment_check(const char *path, const struct hub_environment_options *options,
                                 char why[HUB_WHY_SIZE])
{
    MDB_env *env = NULL;
    const struct sim_file *file = sim_file_find(path);
    if (!file)
        return TRUC_OK;
    truc_error error = hub_environment_start(path, options, MDB_RDONLY, &env, why);

    if (error == TRUC_OK) {
        error = options->probe(env, why);
        mdb_env_close(env);
    }
    return error;
}

/* ---- its life ---- */

struct hub *hub_now(void)
{
    return running;
}

bool hub_is_up(void)
{
    return up;
}

static truc_error append(void *context, struct truc_bytes key, struct truc_bytes value)
{
    struct truc_buffer *out = context;
    uint32_t sizes[2] = {(uint32_t)key.size, (uint32_t)value.size};
    truc_error error = truc_buffer_append(out, sizes, sizeof sizes);

    if (!error)
        error = truc_buffer_append(out, key.data, key.size);
    return error ? error : truc_buffer_append(out, value.data, value.size);
}

/* What the hub made of the journal, and of its state where it had one, against what the oracle made of the journal
 * alone. Only where both have applied the same rows. */
static void check_state(const char *when)
{
    struct truc_buffer of_hub = {0}, of_oracle = {0};

    if (!running || !running->core || hub_core_applied(running->core) != hub_core_applied(oracle_core()))
        return;
    if (hub_core_dump(running->core, append, &of_hub) != TRUC_OK ||
        hub_core_dump(oracle_core(), append, &of_oracle) != TRUC_OK)
        sim_fail("the state cannot be dumped");
    SIM_CHECK(of_hub.size == of_oracle.size && memcmp(of_hub.data, of_oracle.data, of_hub.size) == 0,
              "%s: the state is not what the journal makes of it (%llu rows)", when,
              (unsigned long long)hub_core_applied(running->core));
    truc_buffer_close(&of_hub);
    truc_buffer_close(&of_oracle);
}

static void start_again(void *context)
{
    (void)context;
    hub_start();
}

static void gone(int64_t away_us)
{
    if (up)
        world.counts[DID_READ_COLD] += running->counters[COUNT_COLD_READS];
    running = NULL;
    up = false;
    sim_lmdb_crash(&hub_process);
    sim_after(away_us, NULL, start_again, NULL);
}

/* A full disk is no reason to die, but to start there must be room for one row. */
static bool is_excused(void)
{
    return sim_now() < hub_excused_until;
}

static void run(void *context)
{
    struct truc_buffer why = {0};
    struct hub *hub = malloc(sizeof *hub);
    int exit_code = 3;

    (void)context;
    if (!hub)
        abort();
    running = hub;
    truc_error error = hub_open(hub, world.home, &why);
    if (error) {
        hub->fatal = true;
        SIM_TRACE("the hub cannot start: %s %.*s", truc_error_string(error), (int)why.size, (const char *)why.data);
        SIM_CHECK(is_excused() || hub_disk.full || hub_disk.map_full, "the hub does not start: %s: %.*s",
                  truc_error_string(error), (int)why.size, (const char *)why.data);
    } else {
        check_state("after a start");
        up = true;
        exit_code = hub_run(hub);
        up = false;
        SIM_TRACE("the hub ends, exit code %d", exit_code);
        SIM_CHECK(exit_code == 0 || is_excused(), "the hub died, and nothing was done to it");
        if (exit_code == 0)
            check_state("at an orderly end");
    }
    world.counts[DID_READ_COLD] += hub->counters[COUNT_COLD_READS];
    hub_close(hub);
    free(hub);
    truc_buffer_close(&why);
    gone(sim_between(5 * SIM_MS, 300 * SIM_MS));
    sim_process_kill(&hub_process); /* does not come back: the fiber is its own */
}

void hub_start(void)
{
    if (hub_process.alive)
        return;
    SIM_TRACE("the hub starts");
    hub_process.disk = &hub_disk;
    hub_process.wall_offset_us = 0; /* a start takes the clock as it finds it: somebody has seen to it */
    sim_process_start(&hub_process);
    world.counts[DID_START_HUB]++;
    sim_fiber_start(&hub_process, run, NULL);
}

void hub_crash(bool power, int64_t away_us)
{
    if (!hub_process.alive)
        return;
    SIM_TRACE("the hub is %s", power ? "without power" : "killed");
    sim_network_hub_died(power && sim_pick(2) == 0);
    sim_files_crash(&hub_process, power);
    gone(away_us);
    sim_process_kill(&hub_process);
}

static void on_disk_crash(struct sim_disk *disk)
{
    (void)disk;
    hub_crash(sim_pick(2) == 0, sim_between(5 * SIM_MS, 800 * SIM_MS));
}

void hub_terminate(void)
{
    if (up)
        sim_loop_signal(&running->loop);
}

/* ---- invariants ---- */

#define SLACK (1u << 20) /* of what is charged before it is refused */

void hub_check_memory(void)
{
    struct hub *hub = running;
    size_t sum = 0;

    if (!up)
        return;
    size_t sessions = HASH_CNT(by_id, hub->sessions_by_id);
    SIM_CHECK(hub->in_flight <= (size_t)hub->home.settings.total_bytes + (8u << 20) + sessions * SLACK,
              "%zu bytes are in flight", hub->in_flight);
    for (uint32_t i = 0; i < hub->agency_capacity; i++)
        sum += hub->agency_in_flight[i];
    SIM_CHECK(sum == hub->in_flight, "agencies have %zu bytes in flight, all together %zu", sum, hub->in_flight);
    SIM_CHECK(hub_cache_bytes(hub->cache) <= (size_t)hub->home.settings.cache_bytes + (5u << 20),
              "%zu bytes are in the cache", hub_cache_bytes(hub->cache));
    SIM_CHECK(hub->proofs <= 64, "%zu proofs are under way", hub->proofs);
}

size_t hub_in_flight(void)
{
    return up ? running->in_flight : 0;
}

void hub_check_rest(void)
{
    struct hub *hub = running;

    if (!up) {
        sim_fail("at rest the hub is not running");
        return;
    }
    SIM_CHECK(hub->in_flight == 0, "at rest %zu bytes are in flight", hub->in_flight);
    SIM_CHECK(hub->proofs == 0, "at rest %zu proofs are under way", hub->proofs);
    struct hub_session *session, *next;
    HASH_ITER(by_id, hub->sessions_by_id, session, next)
    {
        SIM_CHECK(session->in_flight == 0, "at rest a session has %zu bytes in flight", session->in_flight);
        SIM_CHECK(!session->first, "at rest a submission waits");
    }
    check_state("at rest");
    world.counts[DID_READ_COLD] += hub->counters[COUNT_COLD_READS];
}

/* A checkpoint that leaves must cover what is durable, and nothing else. */
static void check_checkpoint(ProtobufCBinaryData note)
{
    static uint64_t newest;
    static struct truc_note_verifier verifier;
    struct truc_checkpoint checkpoint;
    struct truc_hash root;

    if (!verifier.key && truc_note_verifier_parse(truc_bytes_of(world.note_key), &verifier) != TRUC_OK)
        abort();
    if (truc_checkpoint_open(truc_bytes(note.data, note.len), &verifier, &checkpoint) != TRUC_OK) {
        sim_fail("a checkpoint that left the hub does not verify");
        return;
    }
    SIM_CHECK(checkpoint.size <= oracle_tree_size(), "a checkpoint of size %llu left, %llu is durable",
              (unsigned long long)checkpoint.size, (unsigned long long)oracle_tree_size());
    SIM_CHECK(oracle_root(checkpoint.size, &root) && memcmp(&root, &checkpoint.root, sizeof root) == 0,
              "a checkpoint of size %llu left, whose root is not the journal's", (unsigned long long)checkpoint.size);
    SIM_CHECK(checkpoint.size >= newest, "checkpoints go from %llu back to %llu", (unsigned long long)newest,
              (unsigned long long)checkpoint.size);
    newest = checkpoint.size;
}

static void check_receipts(const Truc__V1__Receipts *receipts)
{
    check_checkpoint(receipts->checkpoint);
    for (size_t i = 0; i < receipts->n_receipts; i++)
        SIM_CHECK(receipts->receipts[i]->leaf_index < oracle_tree_size(), "a receipt left for leaf %llu, %llu durable",
                  (unsigned long long)receipts->receipts[i]->leaf_index, (unsigned long long)oracle_tree_size());
}

static struct world_agency *agency_of_key(const uint8_t key[32])
{
    for (size_t i = 0; i < world.agency_count; i++)
        if (memcmp(world.agencies[i].transport, key, 32) == 0)
            return &world.agencies[i];
    abort();
}

static uint8_t *sent_before(struct world_agency *agency, uint64_t number)
{
    if (number >= agency->sent_capacity) {
        size_t capacity = (size_t)(number + 1) * 2;
        agency->sent = realloc(agency->sent, capacity);
        if (!agency->sent)
            abort();
        memset(agency->sent + agency->sent_capacity, 0, capacity - agency->sent_capacity);
        agency->sent_capacity = capacity;
    }
    return &agency->sent[number];
}

/* What may have been seen before must say so; and only what is pending goes out. */
static void check_deliveries(const uint8_t key[32], const Truc__V1__Deliver *deliver)
{
    struct world_agency *to = agency_of_key(key);
    uint32_t agency = oracle_number_of(to->code);

    for (size_t g = 0; g < deliver->n_groups; g++)
        for (size_t i = 0; i < deliver->groups[g]->n_items; i++) {
            const Truc__V1__DeliverItem *item = deliver->groups[g]->items[i];
            uint8_t *before = sent_before(to, item->number);
            SIM_TRACE("  number %llu attempt %u lease %llu", (unsigned long long)item->number, item->attempt,
                      (unsigned long long)deliver->lease);
            SIM_CHECK(item->attempt > 1 || !*before, "number %llu was sent before, and is called a first attempt",
                      (unsigned long long)item->number);
            *before = 1;
            struct hub_posting posting;
            SIM_CHECK(hub_core_posting(oracle_core(), agency, item->number, &posting) == TRUC_OK &&
                          posting.state == HUB_POSTING_PENDING,
                      "number %llu of agency %u was sent, which is not pending any more",
                      (unsigned long long)item->number, agency);
        }
}

/* PROTOCOL.md, 10: a topic that it is subscribed to and was ever granted is open, what came before too. */
static bool is_open_topic(const struct oracle_event *event, uint32_t agency)
{
    const struct hub_agency *sender = hub_core_agency_by_number(oracle_core(), event->agency);

    for (size_t i = 0; event->topic[0] && sender && i < hub_core_subscription_count(oracle_core()); i++) {
        const struct hub_subscription *one = hub_core_subscription_at(oracle_core(), i);
        if (one->agency == agency && truc_type_matches(truc_bytes_of(one->type), truc_bytes_of(event->topic)) &&
            (!one->source_agency[0] || strcmp(one->source_agency, sender->code) == 0))
            return hub_core_was_granted(oracle_core(), truc_bytes_of(sender->code), agency,
                                        truc_bytes_of(event->topic));
    }
    return false;
}

/* Who asks without right gets no content. */
static void check_proof(const uint8_t key[32], const Truc__V1__Proof *proof)
{
    uint32_t evil = oracle_number_of("EVIL");
    const struct oracle_event *event = oracle_event(proof->request);
    bool may =
        event && (event->agency == evil || (event->outcome == TRUC_OUTCOME_ACCEPTED && is_open_topic(event, evil)));

    if (!evil || memcmp(key, sim_key_transport(SIM_EVIL_KEY), 32) != 0 || proof->event.len == 0)
        return;
    for (uint64_t number = 1; !may && number <= oracle_posts(evil); number++)
        may = oracle_post(evil, number)->sequence == proof->request;
    SIM_CHECK(may, "EVIL was shown event %llu, which is none of its business", (unsigned long long)proof->request);
}

void world_on_hub_sends(const uint8_t key[32], struct truc_bytes part1, struct truc_bytes part2)
{
    static struct truc_arena *arena;
    struct truc_frame_head head;
    ProtobufCMessage *message;

    if (!arena && truc_arena_new(8u << 20, &arena) != TRUC_OK)
        abort();
    if (truc_frame_parse(part1, &head) != TRUC_OK) {
        sim_fail("the hub sent a frame that is none");
        return;
    }
    SIM_TRACE("sends %s %zu+%zu", truc_frame_name(head.kind), part1.size, part2.size);
    hub_check_memory();
    if (head.kind != TRUC_FRAME_RECEIPTS && head.kind != TRUC_FRAME_WELCOME && head.kind != TRUC_FRAME_DELIVER &&
        head.kind != TRUC_FRAME_PROOF)
        return;
    truc_arena_reset(arena);
    if (truc_unpack(arena, truc_frame_descriptor(head.kind), head.message, &message) != TRUC_OK)
        sim_fail("the hub sent a %s that does not parse", truc_frame_name(head.kind));
    else if (head.kind == TRUC_FRAME_RECEIPTS)
        check_receipts((const Truc__V1__Receipts *)message);
    else if (head.kind == TRUC_FRAME_WELCOME)
        check_checkpoint(((const Truc__V1__Welcome *)message)->checkpoint);
    else if (head.kind == TRUC_FRAME_PROOF)
        check_proof(key, (const Truc__V1__Proof *)message);
    else
        check_deliveries(key, (const Truc__V1__Deliver *)message);
}
