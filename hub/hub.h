/* The hub's shell: everything between the transport, the store and the pure core. Everything here runs on the loop's
 * thread unless it says otherwise. hub/ARCHITECTURE.md draws the path of a seal through these files:
 *
 *   session.c -> verify.c (pool) -> intake.c -> [writer thread] -> commit.c -> outflow.c, receipts.c
 */
#ifndef HUB_HUB_H
#define HUB_HUB_H

#include "hub/core/admit.h"
#include "hub/core/pace.h"
#include "hub/core/recall.h"
#include "hub/net/socket.h"
#include "hub/store/home.h"
#include "hub/store/writer.h"
#include "truc/frame.h"
#include "truc/log.h"

#include <stdatomic.h>
#include <uthash.h>

/* ---- keys for the verifying threads --------------------------------------------------------------------------------
 */

/* An immutable picture of the enrolled signing keys, revoked ones too (admission judges them). Counted; any thread. */
struct hub_keyring {
    atomic_uint owners;
    size_t count;
    struct hub_keyring_key {
        const char *keyid; /* of the key */
        struct truc_key *key;
        uint32_t agency;
    } * keys; /* sorted by keyid */
};
/* `before` (may be NULL) lends its parsed keys. Errors: TRUC_E_NOMEM, TRUC_E_CORRUPT (a registered key that does not
 * parse). */
TRUC_MUST_USE truc_error hub_keyring_new(struct hub_core *core, struct hub_keyring *before, struct hub_keyring **out);
struct hub_keyring *hub_keyring_ref(struct hub_keyring *ring);
void hub_keyring_free(struct hub_keyring **ring);
const struct hub_keyring_key *hub_keyring_find(const struct hub_keyring *ring, const char *keyid);

/* ---- a seal on its way through the hub ------------------------------------------------------------------------------
 */

enum hub_submission_state {
    SUBMISSION_RECEIVING, /* pieces of its body still come */
    SUBMISSION_VERIFYING, /* waits for its turn on the pool, or is there */
    SUBMISSION_VERIFIED,  /* waits for those before it on its connection */
    SUBMISSION_UNDER_WAY, /* in the journal's queue, or waits for the same seal that is */
    SUBMISSION_DONE,
};

struct hub_text {
    struct hub_text *next;
    uint8_t bytes[];
};

struct hub_submission {
    struct hub_submission *next;      /* in its session's queue */
    struct hub_submission *turn_next; /* among those of its session that wait for their turn to be verified */
    uv_work_t work;
    struct hub *hub;
    atomic_uint owners; /* session queue or commit, cache; messages that lend its body, on ZeroMQ's threads too */
    enum hub_submission_state state;
    uint64_t session;
    uint32_t agency;
    char agency_code[TRUC_AGENCY_MAX + 1];
    struct truc_buffer envelope, joined;
    zmq_msg_t piece; /* the body where it came in one piece */
    struct truc_bytes body;
    size_t charged;  /* bytes in flight that the session and the hub were charged */
    size_t lent;     /* counted in hub->lent: it left the cache while messages had its body */
    size_t received; /* bytes of the body so far, kept or not */
    bool given_up;   /* refused before it was verified; nothing of it is kept */
    struct hub_keyring *keys;
    /* results of verification; written by the pool, read by the loop afterwards */
    bool parses; /* the envelope: parsed.seal names it */
    truc_reason reason;
    const char *why;
    struct truc_envelope parsed;
    struct hub_event_facts *facts;
    struct truc_bytes *events;
    bool administrator;         /* the agency's role, for which nothing changes once it is enrolled */
    struct truc_arena *arena;   /* governance */
    struct truc_arena *scratch; /* of the verifying thread */
    struct hub_text *texts;     /* what facts borrow beyond the body */
    uint64_t *slots;
    struct truc_hash
        *tree; /* of the seal, as truc_tree_make leaves it: every delivery of its events needs some of it */
    struct hub_submission *same; /* later submissions of the same seal that wait for this one's receipt */
};
/* The last owner's frees it. Any thread. */
void hub_submission_release(struct hub_submission *submission);
/* Frees all that is large of it, and leaves what a refusal names it by. */
void hub_submission_drop(struct hub_submission *submission);
/* turns.c: verification on the pool when its turn comes; hub_submission_verified() is called on the loop afterwards. It
 * takes one owner of the submission, which that call gives back. */
struct hub_session;
void hub_verify_start(struct hub_session *session, struct hub_submission *submission);
/* The session ends: what waits for its turn is not verified any more. */
void hub_verify_forget(struct hub *hub, struct hub_session *session);
/* Those that the pace held up. */
void hub_verify_resume(struct hub *hub);
/* What the pool does: any thread, touches nothing but the submission. */
void hub_verify_seal(struct hub_submission *submission);

/* ---- sessions
 * --------------------------------------------------------------------------------------------------------- */

enum session_state { SESSION_GREETING, SESSION_OPEN, SESSION_CLOSING };

struct hub_outframe; /* outflow.c */

struct hub_session {
    uint64_t id;
    uint32_t peer;
    enum session_state state;
    uint8_t key[32];
    uint32_t agency;
    char agency_code[TRUC_AGENCY_MAX + 1];
    char software[65];
    uint8_t instance[16];
    uint64_t last_heard_ms;
    int64_t since_us;
    size_t in_flight;                     /* bytes of submissions not yet answered */
    unsigned given_up;                    /* of those, that were refused and wait for their turn to be told so */
    size_t proofs;                        /* asked for and not yet answered */
    size_t answer_bytes;                  /* of answers since all of them were last known to be taken */
    uint64_t answer_mark;                 /* bytes sent when the last of them was */
    unsigned subscribing;                 /* SUBSCRIBEs not yet settled */
    uint64_t subscribed_ms;               /* the last one that was journaled */
    uint64_t receiving_since_ms;          /* first piece of the body that is being received */
    struct hub_submission *first, **last; /* not yet admitted, in order of arrival */
    struct hub_submission *receiving;
    struct hub_submission *unverified, *unverified_last; /* wait for their turn */
    struct hub_session *turn_next;                       /* among the sessions that have such */
    struct hub_outframe *out_first, **out_last;          /* deliveries that wait for cold reads, in order */
    /* After a transient refusal the seals behind it in its chain get the same answer, until it has come again. */
    bool blocked;
    uint8_t blocked_chain[TRUC_CHAIN_SIZE];
    uint64_t blocked_number;
    truc_reason blocked_reason;
    bool paused;   /* gets nothing until it has taken what it got */
    size_t queued; /* bytes of deliveries that are leased to it and not sent yet */
    uint64_t submitted, delivered, acked;
    struct {                      /* receivers.c */
        uint64_t acked, acked_ms; /* as last looked at; when it last grew */
        uint64_t sent, mean_sent; /* bytes of deliveries since the last look; from look to look on average */
    } look;
    uint64_t checkpoint_size; /* of the last checkpoint that it was sent: never goes back */
    UT_hash_handle by_id, by_peer;
};

/* ---- one group commit
 * ------------------------------------------------------------------------------------------------- */

struct hub_settle { /* an answer that a client is owed when its ack, nack or subscription is durable */
    uint64_t session, lease;
    struct hub_range range;
    char *subscription; /* heap, or NULL */
};

struct hub_ack_group { /* acks of one agency within one commit become one input */
    uint32_t agency;
    struct hub_ranges ranges;
    size_t item;
};

struct hub_commit {
    struct hub_batch batch;
    struct hub_row_item *items;
    struct hub_submission **submissions; /* beside items; NULL for what is not a seal */
    size_t count, capacity;
    struct hub_ack_group *acks;
    size_t ack_count, ack_capacity;
    struct hub_settle *settles;
    size_t settle_count, settle_capacity;
    void **blocks; /* heap that items borrow */
    size_t block_count, block_capacity;
    struct hub_recalls recalls; /* their facts are of its submissions */
    size_t bytes;               /* of its seals, as they weigh in the row */
    size_t notes;               /* items that are no reason to write a row: remembered checkpoints */
};
struct hub_commit *hub_commit_new(void);
bool hub_commit_is_due(const struct hub_commit *commit);
void hub_commit_free(struct hub_commit **commit);
/* A new item, zeroed, valid until the next one is added. NULL: out of memory (fatal to the hub). */
struct hub_row_item *hub_commit_add(struct hub_commit *commit, struct hub_submission *submission);
/* Heap that lives as long as the commit; NULL: out of memory. */
void *hub_commit_alloc(struct hub_commit *commit, size_t size);

/* ---- recent events, for delivery without a read
 * ----------------------------------------------------------------------- */

/* The events of one seal at hand, from memory or read back from the journal. */
struct hub_content {
    int64_t accepted_at_us;
    uint64_t leaf_index, first_sequence;
    uint32_t count;
    struct truc_bytes envelope;
    const struct truc_hash *leaf_hashes; /* stride: see hash_stride */
    size_t hash_stride;
    const struct truc_hash *tree;    /* all of the seal's tree; NULL: not at hand */
    const struct truc_bytes *events; /* data == NULL: not at hand (erased, or not asked for) */
    struct hub_submission *lender;   /* whose body the events lie in, each behind its length; NULL: read back */
};
struct hub_cache;
TRUC_MUST_USE truc_error hub_cache_new(size_t bytes, struct hub_cache **out);
void hub_cache_free(struct hub_cache **cache);
/* Takes an owner of the submission. Leaves come in ascending order. */
void hub_cache_add(struct hub_cache *cache, uint64_t leaf_index, uint64_t first_sequence, int64_t accepted_at_us,
                   struct hub_submission *submission);
/* false: not in memory any more. Borrowed until the next add. */
bool hub_cache_get(struct hub_cache *cache, uint64_t leaf_index, struct hub_content *out);
size_t hub_cache_bytes(const struct hub_cache *cache);
/* false: messages hold so much that has left the cache that no more is lent. */
bool hub_cache_lends(const struct hub_cache *cache, const struct hub *hub);

/* ---- the clock
 * -------------------------------------------------------------------------------------------------------- */

struct hub_clock {
    int64_t wall_us, mono_us; /* the last pair that was trusted */
    bool unsure;
    int64_t drift_us; /* for the log, when unsure */
};
int64_t hub_wall_us(void);
/* Compares the clocks; unsure while they disagree by more than a second since they were last trusted. */
void hub_clock_check(struct hub_clock *clock);
/* What accepted_at and leases go by: the wall clock while it is sure, and from a jump on its last trusted time carried
 * on by the monotonic clock. */
int64_t hub_clock_now(struct hub_clock *clock);

/* ---- the hub
 * ---------------------------------------------------------------------------------------------------------- */

enum hub_counter {
    COUNT_SEALS,
    COUNT_EVENTS,
    COUNT_EVENT_BYTES,
    COUNT_DELIVERED,
    COUNT_ACKED,
    COUNT_NACKED,
    COUNT_RELEASED,
    COUNT_STALE,
    COUNT_COMMITS,
    COUNT_COMMIT_US,
    COUNT_ROW_BYTES,
    COUNT_COLD_READS,
    COUNT_SESSIONS,
    COUNT_DROPPED_SESSIONS,
    COUNT_FLOODS,
    COUNT_BAD_FRAMES,
    COUNT_CHECKPOINTS,
    COUNT_STATE_COMMITS,
    COUNT_N
};
extern const char *const hub_counter_names[COUNT_N];

/* What the log was told of refusals lately, an agency and kind each: a flood of them does not fill it. */
enum hub_refusal_kind {
    HUB_REFUSED_EVENTS,  /* in the log, with proof */
    HUB_REFUSED_SEAL,    /* for good */
    HUB_REFUSED_FOR_NOW, /* the sender sends it again by itself */
    HUB_REFUSALS_N
};
#define HUB_REASONS 64
struct hub_refusals {
    uint64_t seen[HUB_REASONS]; /* events refused, as last looked at */
    uint64_t due_ms;            /* when the next count of untold ones is told; 0: there was none yet */
    struct hub_refusals_of {
        struct hub_refusal_lines {
            uint64_t since_ms, more; /* more: untold ones of this window */
            unsigned lines;
        } kinds[HUB_REFUSALS_N];
    } * of; /* by agency number */
    uint32_t capacity;
};

struct hub_receivers {
    struct hub_receiver *of; /* by agency number; zeros between two looks */
    uint32_t capacity;
};

struct hub_turns {
    struct hub_session *first, *last; /* sessions with seals to verify */
    size_t seals, bytes;              /* on the pool */
};

struct hub {
    struct hub_home home;
    bool loop_open; /* false: hub_open did not get far enough for anything to be closed */
    uv_loop_t loop;
    uv_async_t wake;
    uv_timer_t tick;
    uv_signal_t interrupt, terminate;
    struct hub_journal *journal;
    struct hub_slots *slots;
    struct hub_state *state;
    struct hub_writer *writer;
    struct hub_flusher *flusher;
    struct hub_readers *readers;
    struct hub_core *core;
    struct hub_admit *admit;
    struct hub_dispatch *dispatch;
    struct hub_socket *socket;
    struct hub_cache *cache;
    struct hub_keyring *keys;
    struct truc_arena *arena; /* unpacking of frames */
    struct hub_session *sessions_by_id, *sessions_by_peer;
    struct hub_turns turns;
    struct hub_pace pace; /* of what goes to be verified */
    struct hub_receivers receivers;
    size_t workers; /* threads of the pool */
    uint64_t next_session;
    size_t in_flight;
    size_t proofs;            /* being read back */
    size_t *agency_in_flight; /* by agency number: no one agency takes all of the room */
    uint32_t agency_capacity;
    /* commit */
    struct hub_commit *building, *writing;
    struct hub_commit *retry; /* what a full disk rejected and must not be lost */
    uint64_t retry_at_ms;
    uint64_t started_commit_ms; /* the last one */
    struct hub_effects effects;
    struct truc_buffer checkpoint; /* newest signed note */
    uint64_t checkpoint_size;
    int64_t accepted_at_us; /* of the last commit given to the writer: never goes back */
    struct hub_dirty *frozen;
    uint64_t state_rows, frozen_rows; /* rows that the state on disk holds, or will with the frozen set */
    uint64_t last_freeze_ms;
    /* key slots */
    uint64_t next_slot;
    struct hub_slot_memory *slot_memory;
    bool filling_slots;
    bool intake_waits; /* a verified seal found the commit being built full */
    /* conditions */
    struct hub_clock clock;
    bool flushing; /* the flusher has the frozen set */
    bool state_full;
    uint64_t flush_retry_ms;
    uint64_t rejected_until_ms;
    bool storage_full, stopping, fatal;
    int exit_code;
    struct hub_journal_space space;
    uint64_t started_ms, stop_deadline_ms;
    size_t queued;      /* of all sessions, as theirs */
    atomic_size_t lent; /* bytes of submissions that only messages under way hold; taken off on ZeroMQ's threads */
    uint64_t counters[COUNT_N];
    uint64_t refused[HUB_REASONS]; /* seals refused without a leaf, by reason */
    struct hub_refusals refusals;
};

/* receivers.c: in every tick. */
void hub_receivers_look(struct hub *hub);

/* hub.c */
TRUC_MUST_USE truc_error hub_open(struct hub *hub, const char *home, struct truc_buffer *why);
int hub_run(struct hub *hub);
void hub_close(struct hub *hub);
/* An error that must not be gone on from: says so in one line, with errno where `error` is TRUC_E_IO, and what to do;
 * stops the loop, exit code 1. */
void hub_fatal(struct hub *hub, const char *what, truc_error error);

/* Room for a seal of so many bytes behind what is under way, and the reserve still whole behind it. */
bool hub_has_room(const struct hub *hub, size_t bytes);

/* start.c: what is on disk, then what stands on it. `why`: what is wrong, a line each. */
TRUC_MUST_USE truc_error hub_start_store(struct hub *hub, const char *data, struct truc_buffer *why);
TRUC_MUST_USE truc_error hub_start_core(struct hub *hub, struct truc_buffer *why);
/* "WHAT: DETAIL" (or the error's own words) into `why`; -> `error`. */
TRUC_MUST_USE truc_error hub_explain(struct truc_buffer *why, const char *what, truc_error error, const char *detail);

/* session.c */
bool hub_may_connect(void *hub, const uint8_t key[32]);
void hub_on_message(void *hub, uint32_t peer, const uint8_t key[32], zmq_msg_t *parts, size_t part_count);
void hub_on_gone(void *hub, uint32_t peer);
void hub_on_flood(void *hub, uint32_t peer, uint64_t bytes);
bool hub_session_is_slow(struct hub *hub, struct hub_session *session);
/* An answer of so many bytes was sent. */
void hub_session_answered(struct hub *hub, struct hub_session *session, size_t bytes);
struct hub_session *hub_session_find(struct hub *hub, uint64_t id);
/* Sends a frame; a session that cannot take it is ended. `body`, if not NULL, is consumed. */
void hub_session_send(struct hub *hub, struct hub_session *session, enum truc_frame_kind kind, unsigned flags,
                      const ProtobufCMessage *message, zmq_msg_t *body);
/* Ends it: BYE with the reason, then the connection is taken. */
void hub_session_end(struct hub *hub, struct hub_session *session, truc_reason reason, const char *text);
void hub_sessions_check(struct hub *hub); /* silence, revoked keys, suspended agencies */
void hub_sessions_bye(struct hub *hub);   /* all of them, in order */
void hub_sessions_free(struct hub *hub);
/* A submission was answered: its bytes are no longer in flight. */
void hub_uncharge(struct hub *hub, struct hub_submission *submission);
/* A verified seal: charges what its events take beside their bytes, or gives it up (OVERLOADED). */
void hub_charge_events(struct hub *hub, struct hub_session *session, struct hub_submission *submission);

/* welcome.c */
void hub_on_hello(struct hub *hub, struct hub_session *session, const Truc__V1__Hello *hello);

/* intake.c */
void hub_submission_verified(struct hub_submission *submission);
/* Admits the verified seals that did not fit into the commit being built, once there is another one. */
void hub_intake_resume(struct hub *hub);
void hub_refuse(struct hub *hub, struct hub_submission *submission, truc_reason reason, const char *text,
                uint32_t retry_ms);
bool hub_slots_for(struct hub *hub, struct hub_submission *submission);
void hub_slots_learn(struct hub *hub, uint64_t slot);

/* settle.c */
void hub_on_ack(struct hub *hub, struct hub_session *session, const Truc__V1__Ack *ack);
void hub_on_nack(struct hub *hub, struct hub_session *session, const Truc__V1__Nack *nack);
void hub_on_subscribe(struct hub *hub, struct hub_session *session, const Truc__V1__Subscribe *subscribe);
/* Leases of a session that is gone, leases over, events expired. */
void hub_propose(struct hub *hub, uint32_t agency, enum hub_input_kind kind, const struct hub_ranges *ranges);

/* commit.c */
void hub_commit_start(struct hub *hub);  /* gives the building commit to the writer if that is free */
void hub_commit_finish(struct hub *hub); /* takes finished commits: apply, checkpoint, answers */
TRUC_MUST_USE truc_error hub_apply_effects(struct hub *hub);
/* The next free key slot, to be written with the next state commit. */
TRUC_MUST_USE truc_error hub_note_slots(struct hub *hub);
void hub_state_flush(struct hub *hub, bool force);
/* A write was turned down for lack of room: intake waits a while, whatever the disk says of itself. */
void hub_storage_rejected(struct hub *hub);
TRUC_MUST_USE truc_error hub_sign_checkpoint(struct hub *hub);

/* receipts.c */
void hub_send_receipts(struct hub *hub, struct hub_commit *commit);
void hub_send_known(struct hub *hub, struct hub_session *session, const struct truc_hash *digest, uint64_t leaf_index);
void hub_send_settled(struct hub *hub, struct hub_commit *commit);
/* Every frame with a checkpoint proves that it continues the one before it on that session. `hashes` and `views` have
 * room for TRUC_PROOF_MAX and are borrowed by the message. Once it is sent: hub_checkpoint_sent. */
TRUC_MUST_USE truc_error hub_prove_growth(struct hub *hub, const struct hub_session *session, struct truc_hash *hashes,
                                          ProtobufCBinaryData *views, size_t *count);
void hub_checkpoint_sent(struct hub *hub, struct hub_session *session);

/* refusals.c: lines of the hub's log, few of each agency and minute; those beyond are counted, and the count told. */
/* Were events refused since this was last asked? */
bool hub_refusals_grew(struct hub *hub);
/* A line for each reason for which events of this leaf were refused; `effect` is its LEAF. */
void hub_refusals_tell(struct hub *hub, const struct hub_submission *submission, const struct hub_effect *effect);
void hub_refusals_tell_seal(struct hub *hub, const struct hub_session *session, truc_reason reason, const char *text);
/* false: this one is only counted. */
bool hub_refusals_may_log(struct hub *hub, uint32_t agency, enum hub_refusal_kind kind);
/* Tells the counts that are due; `all`: every one. */
void hub_refusals_tick(struct hub *hub, bool all);

/* outflow.c */
void hub_outflow(struct hub *hub);
/* Sessions that were paused go on where they have taken what they got, or there is room again. */
void hub_outflow_resume(struct hub *hub);
void hub_outflow_forget(struct hub_session *session);

/* proof.c, query.c */
void hub_on_get_proof(struct hub *hub, struct hub_session *session, const Truc__V1__GetProof *get);
void hub_on_query(struct hub *hub, struct hub_session *session, const Truc__V1__Query *query);

#endif
