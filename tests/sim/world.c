/* A run: its plan, its beginning, the trouble, and the rest that everything must come to afterwards. */
#include "tests/sim/world.h"

#include "hub/core/core.h"
#include "hub/store/genesis.h"
#include "truc/config.h"

#include <sys/stat.h>

#define PATIENCE (600 * SIM_SECOND) /* so long may it take to come to rest */
#define LOOK_EVERY (100 * SIM_MS)

struct world world;
const char *const did_names[DID_COUNT] = {
    "submitted",   "receipted",   "accepted",     "refused",      "delivered",   "acked",       "nacked",
    "leases lost", "proofs",      "recalled",     "dead letters", "cold reads",  "rows",        "acts",
    "key rolls",   "hub starts",  "falls before", "falls inside", "falls after", "client ends", "cuts",
    "stalls",      "disk faults", "clock jumps",  "states lost",  "attacks",     "steps"};

/* Each kind of trouble is there in about half of the seeds: what one hides another shows. */
void world_plan_draw(struct world_plan *plan, uint64_t seed, int64_t seconds)
{
    sim_seed(seed);
    *plan = (struct world_plan){.seed = seed, .seconds = seconds};
    plan->agencies = (unsigned)(2 + sim_pick(3));
    bool *kinds[] = {&plan->kill_hub,    &plan->kill_hub_at_commit, &plan->stop_hub,    &plan->power_loss,
                     &plan->lose_state,  &plan->kill_clients,       &plan->cuts,        &plan->stalls,
                     &plan->disk_full,   &plan->io_errors,          &plan->client_disk, &plan->clock_jumps,
                     &plan->governance,  &plan->revocations,        &plan->attackers,   &plan->nacks,
                     &plan->slow_network};
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++)
        *kinds[i] = sim_often(450);
    static const int64_t leases[] = {300, 1000, 3000, 20000};
    plan->lease_ms = leases[sim_pick(4)];
    plan->cache_bytes = sim_often(300) ? 0 : sim_often(500) ? 4096 : 64 << 20;
    plan->trouble_every_us = sim_between(100 * SIM_MS, 1500 * SIM_MS);
}

struct world_agency *world_agency_of(const char *code)
{
    for (size_t i = 0; i < world.agency_count; i++)
        if (strcmp(world.agencies[i].code, code) == 0)
            return &world.agencies[i];
    return NULL;
}

/* ---- the hub's home ---- */

static void make_folder(const char *path)
{
    if (mkdir(path, 0700) != 0)
        abort();
}

static void write_text(const char *name, const char *text)
{
    char path[256];

    snprintf(path, sizeof path, "%s/%s", world.home, name);
    if (truc_file_write(path, truc_bytes_of(text), 0600, false) != TRUC_OK)
        abort();
}

static void make_keys(void)
{
    struct truc_note_verifier verifier;
    struct truc_buffer text = {0};

    world.note_private = sim_key(SIM_NOTE_KEY);
    if (truc_note_verifier_make(world.origin, world.note_private, &verifier) != TRUC_OK ||
        truc_note_verifier_text(&verifier, &text) != TRUC_OK)
        abort();
    world.note_key = strndup((const char *)text.data, text.size);
    truc_note_verifier_close(&verifier);
    truc_buffer_close(&text);
}

static void make_home(void)
{
    char path[256], settings[600], why[256];

    snprintf(world.home, sizeof world.home, "%s/home", world.folder);
    make_folder(world.home);
    snprintf(path, sizeof path, "%s/hub", world.home);
    make_folder(path);
    snprintf(path, sizeof path, "%s/data", world.home);
    make_folder(path);
    snprintf(settings, sizeof settings,
             "listen: \"tcp://127.0.0.1:5590\"\nstorage:\n  journal: 1 GiB\n  state: 1 GiB\n  reserve: 64 MiB\n"
             "limits:\n  session_bytes: 5 MiB\n  total_bytes: 6 MiB\n  cache_bytes: %lld\n  sessions: 12\n"
             "delivery:\n  lease: %lld ms\n",
             (long long)world.plan.cache_bytes, (long long)world.plan.lease_ms);
    write_text("hub.yaml", settings);
    write_text("hub/transport.secret", sim_transport_secret);
    write_text("hub/transport.public", sim_transport_public);
    write_text("hub/note.pem", "the simulator has it\n");
    struct hub_founder founder = {.key = world.agencies[0].key};
    memcpy(founder.agency, world.agencies[0].code, sizeof founder.agency);
    memcpy(founder.transport, world.agencies[0].transport, sizeof founder.transport);
    snprintf(path, sizeof path, "%s/data", world.home);
    if (hub_genesis_write(path, world.origin, truc_bytes_of(world.note_key), &founder, 1, sim_now() + SIM_EPOCH, why) !=
        TRUC_OK)
        abort();
}

static void add_agency(const char *code, unsigned key)
{
    struct world_agency *agency = &world.agencies[world.agency_count++];

    snprintf(agency->code, sizeof agency->code, "%s", code);
    agency->key = sim_key(key);
    memcpy(agency->transport, sim_key_transport(key), sizeof agency->transport);
    if (truc_z85_encode(truc_bytes(agency->transport, 32), agency->transport_public) != TRUC_OK)
        abort();
}

void world_open(const struct world_plan *plan, const char *folder)
{
    char path[256], code[16];

    world.plan = *plan;
    world.origin = "sim.example/log";
    snprintf(world.folder, sizeof world.folder, "%s", folder);
    sim_real_signatures = plan->seed % 50 == 0;
    add_agency("TRUC.ADMIN.1", 1);
    for (unsigned i = 1; i <= plan->agencies; i++) {
        snprintf(code, sizeof code, "H%u", i);
        add_agency(code, 1 + i);
    }
    if (plan->attackers)
        add_agency("EVIL", SIM_EVIL_KEY);
    make_keys();
    make_home();
    snprintf(path, sizeof path, "%s/data/journal.mdb", world.home);
    oracle_open(path);
    client_add(&world.agencies[0], true);
    for (unsigned i = 1; i <= plan->agencies; i++) {
        client_add(&world.agencies[i], false);
        if (sim_often(250))
            client_add(&world.agencies[i], false); /* a second adapter of the same agency */
    }
    if (plan->slow_network)
        sim_network_latency(5 * SIM_MS, 120 * SIM_MS);
}

/* ---- the run ---- */

static bool is_enrolled(void *context)
{
    (void)context;
    return governance_is_ready();
}

static void tell_inbox(uint32_t agency)
{
    struct hub_posting posting;

    for (uint64_t number = 1; hub_core_posting_next(oracle_core(), agency, number, 15, &posting) == TRUC_OK;
         number = posting.number + 1)
        SIM_TRACE("  inbox number=%llu state=%d subject=%llx attempts=%u not_before=%lld reason=%u",
                  (unsigned long long)posting.number, (int)posting.state, (unsigned long long)posting.subject,
                  posting.attempts, (long long)(posting.not_before_us - SIM_EPOCH - 3600 * SIM_SECOND), posting.reason);
}

/* Every inbox is empty: nothing pending, in the journal's eyes. */
static bool inboxes_are_empty(char why[200])
{
    for (size_t i = 0; i < world.agency_count; i++) {
        const struct hub_agency *agency = hub_core_agency(oracle_core(), truc_bytes_of(world.agencies[i].code));
        if (agency && agency->pending > 0 && strcmp(agency->code, "EVIL") != 0) {
            struct hub_posting posting = {0};
            if (hub_core_posting_next(oracle_core(), agency->number, 1, 1u << HUB_POSTING_PENDING, &posting) != TRUC_OK)
                posting.number = 0;
            snprintf(why, 200, "%s has %llu in its inbox: number %llu, not before %lld ms from now, %u attempts",
                     agency->code, (unsigned long long)agency->pending, (unsigned long long)posting.number,
                     (long long)(posting.not_before_us - sim_now() - SIM_EPOCH) / 1000, posting.attempts);
            return false;
        }
    }
    return true;
}

static char restless[200];

static bool is_at_rest(void *context)
{
    static int64_t looked_at;

    (void)context;
    if (sim_now() < looked_at + LOOK_EVERY)
        return false;
    looked_at = sim_now();
    for (size_t i = 0; i < world.client_count; i++)
        if (!client_is_at_rest(world.clients[i], restless))
            return false;
    if (!hub_is_up()) {
        snprintf(restless, sizeof restless, "the hub is not up");
        return false;
    }
    if (hub_in_flight() > 0) {
        snprintf(restless, sizeof restless, "%zu bytes are in flight in the hub", hub_in_flight());
        return false;
    }
    return inboxes_are_empty(restless);
}

static bool never(void *context)
{
    (void)context;
    return false;
}

bool world_run(void)
{
    hub_start();
    client_start(world.clients[0]);
    governance_begin(world.clients[0]);
    if (!sim_run(is_enrolled, NULL, sim_now() + 60 * SIM_SECOND)) {
        sim_fail("the agencies could not be enrolled");
        return false;
    }
    for (size_t i = 1; i < world.client_count; i++)
        client_start(world.clients[i]);
    trouble_begin();
    sim_run(never, NULL, sim_now() + world.plan.seconds * SIM_SECOND);
    trouble_end();
    if (sim_failure())
        return false;
    SIM_TRACE("---- no more trouble");
    world.calm = true;
    if (!sim_run(is_at_rest, NULL, sim_now() + PATIENCE)) {
        sim_fail("it does not come to rest: %s", restless);
        for (uint32_t i = 1; i <= world.agency_count; i++)
            tell_inbox(i);
        return false;
    }
    /* What is under way inside the hub comes to its end. */
    sim_run(never, NULL, sim_now() + 3 * SIM_SECOND);
    if (!sim_failure() && !sim_run(is_at_rest, NULL, sim_now() + PATIENCE))
        sim_fail("it does not stay at rest: %s", restless);
    if (!sim_failure())
        hub_check_rest();
    for (size_t i = 0; i < world.client_count && !sim_failure(); i++)
        client_check_rest(world.clients[i]);
    return sim_failure() == NULL;
}
