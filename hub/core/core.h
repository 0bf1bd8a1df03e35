/* The core: journal inputs in, effects out. Pure and deterministic: no clock, no random, no I/O but the state port, no
 * logging. One thread at a time.
 *
 * All durable state is one ordered map of bytes (hub/STORAGE.md, "State"), read through a port and changed in an
 * overlay; registry, grants and inbox heads are held decoded beside it. The shell takes the overlay's changes in large
 * batches to the state environment together with `applied`, so that after a crash the rows from `applied` on are
 * applied again. The same rows from row 0 give the same map, byte for byte (hub_core_dump). */
#ifndef HUB_CORE_CORE_H
#define HUB_CORE_CORE_H

#include "hub/core/input.h"

struct hub_core;

/* The state as last committed. `value` is borrowed until the next call of the port. */
struct hub_port {
    void *context;
    /* TRUC_E_NOT_FOUND where the key is absent. Any other error is fatal to the core's caller. */
    truc_error (*get)(void *context, struct truc_bytes key, struct truc_bytes *value);
    /* Calls `each` for every key with the prefix, in order, until it returns an error, which is handed on. */
    truc_error (*scan)(void *context, struct truc_bytes prefix,
                       truc_error (*each)(void *each_context, struct truc_bytes key, struct truc_bytes value),
                       void *each_context);
};

/* Reads the port's state, or starts empty (before genesis). Errors: TRUC_E_CORRUPT, TRUC_E_NOMEM, the port's. */
TRUC_MUST_USE truc_error hub_core_new(const struct hub_port *port, struct hub_core **out);
void hub_core_free(struct hub_core **core);

/* ---- apply ----------------------------------------------------------------------------------------------------------
 */

enum hub_effect_kind {
    HUB_EFFECT_LEAF = 1,   /* a leaf was appended: receipts can be made once it is under a checkpoint */
    HUB_EFFECT_POSTED,     /* an inbox got a number */
    HUB_EFFECT_SETTLED,    /* acked or dropped for good */
    HUB_EFFECT_RETURNED,   /* nack or lost lease: to be delivered again, not before not_before_us */
    HUB_EFFECT_DEAD,       /* to the dead letters; its subject is held until not_before_us (0: not held) */
    HUB_EFFECT_REQUEUED,   /* from the dead letters back to its place */
    HUB_EFFECT_RECALLED,   /* by its sender, or expired and dropped */
    HUB_EFFECT_KEYS,       /* an agency's keys or state changed: look again */
    HUB_EFFECT_AGENCY,     /* an agency was enrolled, suspended or resumed */
    HUB_EFFECT_SUBSCRIBED, /* a Subscribe took effect (or was without one) */
    HUB_EFFECT_FORK,       /* a chain was closed */
    HUB_EFFECT_PARAMETERS, /* parameters or a quota changed */
};

struct hub_effect {
    enum hub_effect_kind kind;
    uint32_t agency;     /* whose inbox, whose keys, who sealed */
    uint32_t size;       /* POSTED: event bytes */
    uint32_t index;      /* POSTED: in its seal */
    uint32_t count;      /* LEAF: events */
    uint64_t number;     /* inbox number */
    uint64_t sequence;   /* POSTED, DEAD; LEAF: first sequence */
    uint64_t leaf_index; /* LEAF, POSTED */
    uint64_t subject;    /* POSTED, RETURNED, DEAD, REQUEUED */
    int64_t not_before_us;
    struct truc_hash digest; /* LEAF: of the seal */
    struct truc_bytes leaf;  /* LEAF: its bytes; borrowed until the effects are cleared */
};

/* Zero-initialise; hub_effects_clear empties without giving memory back, _close gives it back. */
struct hub_effects {
    struct hub_effect *items;
    size_t count, capacity;
    struct truc_buffer bytes; /* owns what effects borrow; items' views are fixed up by hub_core_end_row */
};
void hub_effects_clear(struct hub_effects *effects);
void hub_effects_close(struct hub_effects *effects);

/* The next row to be applied; rows before it are part of the state. */
uint64_t hub_core_applied(const struct hub_core *core);
/* A row's inputs in order, between begin and end. `row` must be hub_core_applied(), accepted_at_us not before the last
 * row's. Refusals are outcomes; errors are TRUC_E_CORRUPT, TRUC_E_NOMEM, TRUC_E_INVALID (an input that could never have
 * been journaled: a bug or damage) and the port's: after one the core must be thrown away. Effects are appended. */
TRUC_MUST_USE truc_error hub_core_begin_row(struct hub_core *core, uint64_t row, int64_t accepted_at_us);
TRUC_MUST_USE truc_error hub_core_apply(struct hub_core *core, const struct hub_input *input,
                                        struct hub_effects *effects);
TRUC_MUST_USE truc_error hub_core_end_row(struct hub_core *core, struct hub_effects *effects);
int64_t hub_core_accepted_at(const struct hub_core *core); /* of the last row; 0 at first */

/* ---- the log
 * ---------------------------------------------------------------------------------------------------------- */

const char *hub_core_origin(const struct hub_core *core);   /* "" before genesis */
const char *hub_core_note_key(const struct hub_core *core); /* verifier key text; "" before genesis */
uint64_t hub_core_tree_size(const struct hub_core *core);
uint64_t hub_core_next_sequence(const struct hub_core *core);
void hub_core_root(const struct hub_core *core, struct truc_hash *out);
/* A truc_node_fn: context is the core. For proofs of the present and of every earlier size. */
truc_error hub_core_node(void *core, unsigned level, uint64_t index, struct truc_hash *out);

/* Where a leaf's seal lies. */
struct hub_leaf_place {
    uint64_t leaf_index, row, first_sequence;
    uint32_t offset; /* of its input in the row */
    uint32_t count;
};
TRUC_MUST_USE truc_error hub_core_leaf_place(struct hub_core *core, uint64_t leaf_index, struct hub_leaf_place *out);
/* The leaf that holds a sequence. Errors: TRUC_E_NOT_FOUND. */
TRUC_MUST_USE truc_error hub_core_sequence_place(struct hub_core *core, uint64_t sequence, struct hub_leaf_place *out);

/* The leaf's bytes, appended to `out`: for receipts and proofs of any age (the state keeps them; keys ascend with the
 * leaf). Errors: TRUC_E_NOT_FOUND. */
TRUC_MUST_USE truc_error hub_core_leaf(struct hub_core *core, uint64_t leaf_index, struct truc_buffer *out);
/* The sequence of the accepted event with that idempotency key, within the horizon. Errors: TRUC_E_NOT_FOUND. */
TRUC_MUST_USE truc_error hub_core_find(struct hub_core *core, const uint8_t key[16], uint64_t *sequence);

/* ---- chains
 * ----------------------------------------------------------------------------------------------------------- */

enum hub_chain_answer {
    HUB_CHAIN_NEXT,   /* number is the next, previous fits */
    HUB_CHAIN_KNOWN,  /* the same seal was taken: leaf_index is set */
    HUB_CHAIN_GAP,    /* beyond the next, or previous does not fit */
    HUB_CHAIN_FORK,   /* another digest for a number already taken */
    HUB_CHAIN_CLOSED, /* closed by a fork */
};
/* Against the applied state only; admission (admit.h) knows what is still under way. */
TRUC_MUST_USE truc_error hub_core_chain(struct hub_core *core, uint32_t agency, const struct truc_seal *seal,
                                        const struct truc_hash *digest, enum hub_chain_answer *out,
                                        uint64_t *leaf_index);
struct hub_chain_head {
    uint8_t chain[TRUC_CHAIN_SIZE];
    uint64_t number; /* 0: none */
    struct truc_hash digest;
    uint64_t leaf_index;
};
/* The agency's last seal in the log. number 0 where it never sealed. */
TRUC_MUST_USE truc_error hub_core_last_seal(struct hub_core *core, uint32_t agency, struct hub_chain_head *out);

/* ---- registry
 * --------------------------------------------------------------------------------------------------------- */

struct hub_agency {
    uint32_t number; /* 1, 2, 3 ... in the order of enrolment */
    char code[TRUC_AGENCY_MAX + 1];
    char *name;
    enum hub_role role;
    bool suspended;
    size_t group_count;
    char *groups[HUB_GROUPS_MAX];
    uint32_t quota_events_per_s;
    uint64_t quota_bytes_per_s;
    uint64_t next_number; /* of its inbox: the next to be given, first is 1 */
    uint64_t floor;       /* all numbers up to it are settled or dead */
    uint64_t pending, dead;
    uint64_t boot_number; /* numbers below were there when the hub last started: they may have been seen */
};
struct hub_signing_key {
    char keyid[TRUC_KEYID_HEX + 1];
    uint32_t agency;
    enum truc_algorithm algorithm;
    struct truc_bytes spki;             /* borrowed until the next apply */
    int64_t added_at_us, revoked_at_us; /* revoked_at_us 0: valid */
};
struct hub_transport_key {
    uint8_t key[32];
    uint32_t agency;
    int64_t added_at_us, revoked_at_us;
};
struct hub_grant {
    char *grant, *from, *to, *type, *legal_basis;
    int64_t valid_from_us, valid_until_us, withdrawn_at_us; /* 0: open, not withdrawn */
    bool delivery_receipts, skip_dead_letters;
    uint32_t hold_s, max_attempts;
};
struct hub_subscription {
    uint32_t agency;
    char *type, *source_agency; /* source_agency "" : any */
};

/* All borrowed until the next apply; NULL where there is none. Indexes run from 0 to count - 1 in order of making. */
const struct hub_agency *hub_core_agency(const struct hub_core *core, struct truc_bytes code);
const struct hub_agency *hub_core_agency_by_number(const struct hub_core *core, uint32_t number);
uint32_t hub_core_agency_count(const struct hub_core *core);
const struct hub_signing_key *hub_core_key(const struct hub_core *core, const char *keyid);
size_t hub_core_key_count(const struct hub_core *core);
const struct hub_signing_key *hub_core_key_at(const struct hub_core *core, size_t at);
const struct hub_transport_key *hub_core_transport(const struct hub_core *core, const uint8_t key[32]);
size_t hub_core_transport_count(const struct hub_core *core);
const struct hub_transport_key *hub_core_transport_at(const struct hub_core *core, size_t at);
size_t hub_core_grant_count(const struct hub_core *core);
const struct hub_grant *hub_core_grant_at(const struct hub_core *core, size_t at);
/* Did a grant, still given or withdrawn, ever allow `from` to send events of that type to agency `to`? */
bool hub_core_was_granted(const struct hub_core *core, struct truc_bytes from, uint32_t to, struct truc_bytes type);
#define HUB_SUBSCRIPTIONS_MAX 1024 /* of one agency by its own SUBSCRIBE: no peer grows the registry without end */
uint32_t hub_core_subscriptions_of(const struct hub_core *core, uint32_t agency);
size_t hub_core_subscription_count(const struct hub_core *core);
const struct hub_subscription *hub_core_subscription_at(const struct hub_core *core, size_t at);
const struct hub_parameters *hub_core_parameters(const struct hub_core *core);
uint64_t hub_core_refusals(const struct hub_core *core, unsigned reason); /* events refused with it, since genesis */

/* Whom a recall means by one of its names: an agency, a group, or everybody (neither is set). Groups only grow: who got
 * an event as a member still is one. */
struct hub_meant {
    uint32_t agency, group;
};
/* What a name stands for, "@" before a group's. Errors: TRUC_E_NOT_FOUND (nobody is enrolled under it). */
TRUC_MUST_USE truc_error hub_core_meant(const struct hub_core *core, struct truc_bytes name, struct hub_meant *out);
/* Does every name stand for somebody other than the sender? Of no name at all, yes. */
bool hub_core_knows_recipients(const struct hub_core *core, uint32_t sender, struct truc_bytes recipients);
/* How many are meant. */
size_t hub_core_meant_count(const struct hub_core *core, const struct hub_meant *meant);
/* The agencies that are meant, at 0, 1, 2 ...; 0: no more. */
uint32_t hub_core_meant_at(const struct hub_core *core, const struct hub_meant *meant, size_t at);
/* The recalls of a seal that may be gone through, in their order: those before the index that is given. Each costs the
 * agencies that its names mean (PROTOCOL.md, section 9); the one that uses HUB_RECALLS_OF_SEAL up is the last. Since
 * groups only grow, one that is beyond when its seal is admitted is beyond when it is decided. */
uint32_t hub_core_recalls_end(const struct hub_core *core, const struct hub_event_facts *events, uint32_t count);
#define HUB_RECALLS_OF_SEAL 262144
/* The groups that an agency is in, as struct hub_meant has them, at 0, 1, 2 ...; 0: no more. */
uint32_t hub_core_group_at(const struct hub_core *core, uint32_t agency, size_t at);

/* ---- inboxes
 * ---------------------------------------------------------------------------------------------------------- */

enum hub_posting_state {
    HUB_POSTING_PENDING = 0,
    HUB_POSTING_SETTLED = 1,
    HUB_POSTING_DEAD = 2,
    HUB_POSTING_RECALLED = 3,
};
struct hub_posting {
    uint64_t number, sequence, leaf_index, subject;
    uint64_t previous_sequence; /* of number - 1; 0 for number 1 */
    uint32_t index, size;
    uint32_t attempts; /* given back so far */
    enum hub_posting_state state;
    uint8_t reason;                    /* DEAD: a truc_reason, or 0 for attempts used up or rejected */
    bool replay, receipt_wanted, skip; /* skip: a dead letter does not hold its subject */
    bool requeued;                     /* was a dead letter once: attempts began anew, yet it may have been seen */
    uint32_t hold_s, max_attempts;     /* resolved: grant's or the log's */
    int64_t expires_us;                /* its own or the inbox's deadline */
    int64_t not_before_us;             /* PENDING: backoff; DEAD: its subject is held until then */
    int64_t since_us;                  /* posted at; DEAD: died at */
};
/* Errors: TRUC_E_NOT_FOUND (no such number, or settled and forgotten). */
TRUC_MUST_USE truc_error hub_core_posting(struct hub_core *core, uint32_t agency, uint64_t number,
                                          struct hub_posting *out);
/* That of an event by its sequence, not of its replays. Errors: TRUC_E_NOT_FOUND (never posted there, or its end is
 * forgotten; was it recalled: below). */
TRUC_MUST_USE truc_error hub_core_posting_of(struct hub_core *core, uint32_t agency, uint64_t sequence,
                                             struct hub_posting *out);
/* Was the event recalled from that agency? This is never forgotten. */
TRUC_MUST_USE truc_error hub_core_was_recalled(struct hub_core *core, uint32_t agency, uint64_t sequence, bool *out);
/* The first number >= from with one of the wanted states (bits 1 << hub_posting_state); TRUC_E_NOT_FOUND beyond. */
TRUC_MUST_USE truc_error hub_core_posting_next(struct hub_core *core, uint32_t agency, uint64_t from, unsigned states,
                                               struct hub_posting *out);
/* The note of the last nack of a dead letter; "" where none. Borrowed until the next call. */
TRUC_MUST_USE truc_error hub_core_dead_note(struct hub_core *core, uint32_t agency, uint64_t number, const char **out);

/* ---- to disk
 * ---------------------------------------------------------------------------------------------------------- */

/* The changes since the last freeze, sorted by key, immutable: another thread may read them. The core goes on and still
 * sees them. One frozen set at a time. */
struct hub_dirty;
TRUC_MUST_USE truc_error hub_core_freeze(struct hub_core *core, struct hub_dirty **out);
uint64_t hub_dirty_applied(const struct hub_dirty *dirty);
size_t hub_dirty_count(const struct hub_dirty *dirty);
/* value.data == NULL: the key is deleted. at < hub_dirty_count(). */
void hub_dirty_at(const struct hub_dirty *dirty, size_t at, struct truc_bytes *key, struct truc_bytes *value);
/* After the set is committed AND the port sees it. Sets *dirty to NULL. */
void hub_core_thaw(struct hub_core *core, struct hub_dirty **dirty);
/* Bytes of changes that wait (for deciding when to freeze). */
size_t hub_core_dirty_bytes(const struct hub_core *core);

/* Every key and value in order, `applied` included, as the port would hold it had all been frozen and committed: equal
 * for equal journals. Works without freezing. */
TRUC_MUST_USE truc_error hub_core_dump(struct hub_core *core,
                                       truc_error (*each)(void *context, struct truc_bytes key,
                                                          struct truc_bytes value),
                                       void *context);

#endif
