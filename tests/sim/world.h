/* What a run consists of: one hub, its administrator, agencies with their applications, troublemakers, and an oracle
 * that reads the journal behind everybody's back. */
#ifndef SIM_WORLD_H
#define SIM_WORLD_H

#include "tests/sim/disk.h"
#include "tests/sim/network.h"
#include "truc/client.h"

#include <uv.h>

/* ---- loop.c ---- */
struct sim_loop;
struct sim_loop *sim_loop_of(uv_loop_t *loop);
void sim_loop_wake(struct sim_loop *loop);
/* Called once a turn, before the wait. */
void sim_loop_turn(struct sim_loop *loop, void (*turn)(void *context), void *context);
/* SIGTERM. */
void sim_loop_signal(uv_loop_t *loop);

/* ---- crypto.c ---- */
extern bool sim_real_signatures;
#define SIM_KEYS 16
#define SIM_SPARE_KEY 7
#define SIM_EVIL_KEY 14
#define SIM_NOTE_KEY 15
void sim_keys_make(void);
extern char sim_transport_public[41], sim_transport_secret[41]; /* the hub's: checked at its start, and not used */
/* Borrowed. */
struct truc_key *sim_key(unsigned number);
const uint8_t *sim_key_transport(unsigned number);

/* ---- the plan of a run, drawn from its seed ---- */
#define AGENCIES_MAX 6
#define CLIENTS_MAX 12
#define SUBJECTS 4
#define TYPES 3

struct world_plan {
    uint64_t seed;
    int64_t seconds; /* of trouble; what comes after must come to rest */
    unsigned agencies;
    bool kill_hub, kill_hub_at_commit, stop_hub, power_loss, lose_state;
    bool kill_clients, cuts, stalls, disk_full, io_errors, client_disk;
    bool clock_jumps, governance, revocations, attackers, nacks, slow_network;
    int64_t lease_ms;
    int64_t cache_bytes;
    int64_t trouble_every_us;
};

/* What a run did, for whoever asks whether anything happened at all. */
enum did {
    DID_SUBMIT,
    DID_RECEIPT,
    DID_ACCEPT,
    DID_REFUSE,
    DID_DELIVER,
    DID_ACK,
    DID_NACK,
    DID_LOSE_LEASE,
    DID_PROOF,
    DID_RECALL,
    DID_DIE, /* dead letters */
    DID_READ_COLD,
    DID_ROW,
    DID_GOVERN,
    DID_ROLL_KEY,
    DID_START_HUB,
    DID_FALL_BEFORE_COMMIT,
    DID_FALL_INSIDE_COMMIT,
    DID_FALL_AFTER_COMMIT,
    DID_END_CLIENT,
    DID_CUT,
    DID_STALL,
    DID_HURT_DISK,
    DID_JUMP_CLOCK,
    DID_LOSE_STATE,
    DID_ATTACK,
    DID_STEP,
    DID_COUNT
};
extern const char *const did_names[DID_COUNT];

struct world_agency {
    char code[TRUC_AGENCY_MAX + 1];
    struct truc_key *key; /* borrowed */
    unsigned rolls;       /* of its key */
    char transport_public[41];
    uint8_t transport[32];
    bool suspended;
    uint8_t *sent; /* by inbox number: the hub has sent it */
    size_t sent_capacity;
};

struct world {
    struct world_plan plan;
    char folder[128], home[160];
    const char *origin;
    char *note_key; /* verifier key text */
    struct truc_key *note_private;
    size_t agency_count; /* [0] is the administrator */
    struct world_agency agencies[AGENCIES_MAX + 2];
    size_t client_count;
    struct client *clients[CLIENTS_MAX];
    bool calm; /* trouble is over: everything must come to rest */
    uint64_t counts[DID_COUNT];
};
extern struct world world;

void world_open(const struct world_plan *plan, const char *folder);
/* Runs to the end; false: see sim_failure(). */
bool world_run(void);
void world_plan_draw(struct world_plan *plan, uint64_t seed, int64_t seconds);
struct world_agency *world_agency_of(const char *code);

/* ---- hub.c ---- */
struct hub;
extern struct sim_process hub_process;
extern struct sim_disk hub_disk;
void hub_start(void);
/* Kills it; it starts again after `away`. power: what was not synced may be lost, peers are not told. */
void hub_crash(bool power, int64_t away_us);
void hub_terminate(void);
struct hub *hub_now(void); /* NULL: not running (yet) */
bool hub_is_up(void);
void hub_check_memory(void);
size_t hub_in_flight(void); /* bytes submitted and not yet answered */
void hub_check_rest(void);
/* Something may fail now through no fault of the hub's: it may die of it. */
extern int64_t hub_excused_until;
void world_on_hub_sends(const uint8_t key[32], struct truc_bytes part1, struct truc_bytes part2);

/* ---- oracle.c: the journal, read as it becomes durable ---- */
struct hub_core;
void oracle_open(const char *journal);
struct hub_core *oracle_core(void);
uint64_t oracle_tree_size(void);
/* Root of the tree of that size; false: no row ended there. */
bool oracle_root(uint64_t size, struct truc_hash *out);
struct oracle_event {
    struct truc_hash hash; /* of the event */
    uint8_t outcome;
    uint64_t duplicate_of;
    uint32_t agency; /* who sealed it */
    char topic[64];  /* its type, where it names no recipients; else empty */
};
const struct oracle_event *oracle_event(uint64_t sequence);
struct oracle_post {
    uint64_t sequence, subject;
};
/* What was posted to an agency under a number; NULL: nothing. */
const struct oracle_post *oracle_post(uint32_t agency, uint64_t number);
uint64_t oracle_posts(uint32_t agency); /* the highest number */
uint32_t oracle_number_of(const char *code);

/* ---- agency.c ---- */
void client_add(struct world_agency *agency, bool administrator);
void client_start(struct client *client);
void client_crash(struct client *client, bool power, int64_t away_us);
struct sim_disk *client_disk(struct client *client);
bool client_is_alive(const struct client *client);
/* The agency's keys changed: its adapters are started again with the new one. */
void client_restart_all(const struct world_agency *agency);
void client_hurry(struct client *client); /* trouble is over: answer everything */
bool client_is_at_rest(const struct client *client, char why[200]);
void client_check_rest(struct client *client);
bool client_is_administrator(const struct client *client);
struct world_agency *client_agency(const struct client *client);
/* Hands an event over to the application: it goes to the hub, sooner or later. `data`: of governance; else NULL. */
void client_hand_over(struct client *client, const char *type, const char *subject, const char *recipients,
                      const struct truc_buffer *data, int64_t expires_us);
void client_on_nack_logged(const char *agency, uint64_t number);
void client_on_release_logged(const char *agency, uint64_t number);
size_t client_unanswered(const struct client *client);

/* ---- governance.c ---- */
void governance_begin(struct client *administrator);
bool governance_is_ready(void); /* everybody is enrolled */
void governance_stir(void);     /* one act */
void governance_mend(void);     /* everybody is resumed */

/* ---- attack.c ---- */
void attack_stir(void);
void attack_end(void);
/* What an honest client sends. */
void attack_saw(struct truc_bytes part1, struct truc_bytes part2, size_t count);

/* ---- trouble.c ---- */
void trouble_begin(void);
void trouble_end(void);

#endif
