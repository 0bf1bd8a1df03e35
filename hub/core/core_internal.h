/* The core's insides: one struct, its parts by file. Nothing here leaves hub/core.
 *
 *   core.c         life, rows, freezing, dump           registry.c       agencies, keys, grants, subscriptions
 *   map.c          overlay over the port                registry_load.c  their records, read again at open
 *   blocks.c       packed records                       route.c          who gets an event, by grant
 *   log.c          tree, leaf places                    decide.c         the outcome of one event
 *   chain.c        chains of seals                      govern.c         administrative acts
 *   idempotency.c  what was accepted in the horizon     inbox.c          life of a posting
 *   idempotency_runs.c  the older of it, sorted         inbox_find.c     look-ups in inboxes */
#ifndef HUB_CORE_CORE_INTERNAL_H
#define HUB_CORE_CORE_INTERNAL_H

#include "hub/core/blocks.h"
#include "hub/core/record.h"

#define CORE_STATE_VERSION 2
#define CORE_TIME_MAX_US INT64_C(253402300799999999) /* the year 9999: sums of times cannot overflow below it */
#define CORE_SECOND_US INT64_C(1000000)
#define CORE_REASONS 128
#define CORE_NOTE_MAX 200
#define CORE_NODE_LEVELS 8 /* tree levels with a cursor of their own; those above change rarely */
#define CORE_NO_GRANT UINT32_MAX

/* First bytes of the keys in the state map. */
enum core_letter {
    CORE_META = 'M',
    CORE_ORIGIN = 'O',
    CORE_PARAMETERS = 'P',
    CORE_AGENCY = 'a',
    CORE_POSTINGS = 'b',
    CORE_CHAIN = 'c',
    CORE_FORK = 'f',
    CORE_GRANT = 'g',
    CORE_HEAD = 'h',
    CORE_IDEMPOTENCY = 'i',
    CORE_RUN = 'j',
    CORE_KEY = 'k',
    CORE_LEAF = 'L',
    CORE_LEAF_PLACE = 'l',
    CORE_NODE = 'n',
    CORE_NOTE = 'o',
    CORE_RECALLED = 'r',
    CORE_SEALS = 's',
    CORE_TRANSPORT = 't',
    CORE_SUBSCRIPTION = 'u',
    CORE_EXCEPTION = 'x',
};

/* A hash table of ordinals; whoever looks up compares. */
struct core_index {
    struct core_index_slot {
        uint64_t hash;
        uint64_t ordinal; /* + 1; 0: free */
    } * slots;
    size_t capacity, count;
};
TRUC_MUST_USE truc_error core_index_put(struct core_index *index, uint64_t hash, uint32_t ordinal);
/* Candidates one after the other; *at starts at 0. */
bool core_index_next(const struct core_index *index, uint64_t hash, size_t *at, uint32_t *ordinal);
void core_index_close(struct core_index *index);

/* An agency with what is kept decoded of its inbox and its chains. */
struct core_agency {
    struct hub_agency pub;
    uint32_t group_numbers[HUB_GROUPS_MAX];
    uint64_t last_sequence; /* of its inbox's newest number */
    struct hub_chain_head last_seal;
    uint32_t subscriptions;
    bool head_dirty;
    struct block_series postings;
    struct block_cursor tail, hand; /* postings: where new ones go, where old ones change */
    /* Numbers whose posting lies in a record of its own, ascending: number << 1 | (1 where it is dead). */
    uint64_t *exceptions;
    size_t exception_count, exception_capacity;
    /* Grants that allow it to send, in the order given; good while route_version is the core's. */
    uint64_t route_version;
    uint32_t *routes;
    size_t route_count, route_capacity;
    uint64_t mark; /* for making lists without doubles */
};

struct core_group {
    char *name;
    uint32_t *members;
    size_t count, capacity;
};

struct core_grant {
    struct hub_grant pub;
    uint32_t from_agency, from_group, to_agency, to_group; /* group: number + 1; 0: none */
};

struct core_subscription {
    struct hub_subscription pub;
    uint32_t ordinal; /* of its record */
};

struct core_registry {
    struct core_agency **agencies; /* number - 1 */
    uint32_t agency_count, agency_capacity;
    struct core_index by_code;
    struct core_group *groups;
    uint32_t group_count, group_capacity;
    struct hub_signing_key *keys;
    size_t key_count, key_capacity;
    struct core_index by_keyid;
    struct hub_transport_key *transports;
    size_t transport_count, transport_capacity;
    struct core_index by_transport;
    struct core_grant *grants;
    size_t grant_count, grant_capacity;
    struct core_index by_grant;
    struct core_subscription *subscriptions;
    size_t subscription_count, subscription_capacity;
    uint32_t next_subscription;
    uint64_t version;       /* of everything that a route depends on */
    int64_t next_change_us; /* the next time at which a grant begins or ends */
    uint64_t mark;
};

struct core_route_target {
    uint32_t agency;
    uint32_t grant; /* index, or CORE_NO_GRANT */
};
struct core_route {
    uint8_t reason; /* 0, or NO_RECIPIENT, NOT_GRANTED */
    size_t count;
    const struct core_route_target *targets; /* good until the next route or registry change */
};
struct core_route_cache {
    struct core_route_cached *entries;
    struct core_route_target *targets; /* of the route being made */
    size_t count, capacity;
};

#define CORE_TAG_BITS 40 /* of an idempotency key: what table and runs find a record by */

struct core_run {
    uint32_t *filter;
};

struct core_idempotency {
    uint64_t *slots; /* the newest records; 1 << bits of them, or NULL */
    unsigned bits;
    size_t count;
    uint64_t first, next; /* records that are remembered: [first, next) */
    struct block_cursor tail;
    int64_t oldest_us;     /* accepted_at of `first`, where first < next */
    struct core_run *runs; /* runs from first_run on, built or being built */
    uint64_t first_run;
    size_t run_count, run_capacity;
};
struct core_accepted {
    uint8_t key[16];
    uint8_t hash[16]; /* first half of the event's leaf hash */
    uint64_t sequence;
    int64_t accepted_at_us;
};

struct hub_core {
    struct map map;
    struct core_registry registry;
    struct core_route_cache routes;
    struct core_idempotency idempotency;
    struct hub_parameters parameters;
    char origin[TRUC_ORIGIN_MAX + 1];
    char *note_key;
    uint64_t applied, next_sequence, next_chain;
    int64_t accepted_at_us;
    struct truc_frontier frontier;
    uint64_t refusals[CORE_REASONS];
    bool in_row, meta_dirty;
    truc_error failure; /* the first one: from then on the state in memory is worth nothing */
    struct block_cursor places, nodes[CORE_NODE_LEVELS], high_nodes;
    struct truc_leaf leaf; /* being made */
    struct truc_buffer scratch;
    char note[CORE_NOTE_MAX + 1];
};

/* ---- growing arrays, effects ----------------------------------------------------------------------------------------
 */

/* Room for one more item; *items may move. */
TRUC_MUST_USE truc_error core_grow(void **items, size_t count, size_t *capacity, size_t item_size);
TRUC_MUST_USE truc_error core_effect(struct hub_effects *effects, enum hub_effect_kind kind, uint32_t agency,
                                     struct hub_effect **out);
/* A NUL-terminated copy. */
TRUC_MUST_USE truc_error core_text(struct truc_bytes text, char **out);

/* ---- registry
 * --------------------------------------------------------------------------------------------------------- */

struct core_agency *core_agency(const struct hub_core *core, uint32_t number);
/* By code as enrolled, or by the older leaf-first form of it. NULL: unknown. */
struct core_agency *core_agency_of(const struct hub_core *core, struct truc_bytes code);
/* The group's number + 1; 0: nobody is in it and no grant names it. */
uint32_t core_group_find(const struct hub_core *core, struct truc_bytes name);
TRUC_MUST_USE truc_error core_group_make(struct hub_core *core, struct truc_bytes name, uint32_t *out);
bool core_in_group(const struct core_agency *agency, uint32_t group);
/* What routes depend on has changed. */
void core_routes_changed(struct hub_core *core);

/* Adding what is decoded to the tables in memory; texts are copied. */
TRUC_MUST_USE truc_error core_add_agency(struct hub_core *core, const struct hub_enrolment *enrolment,
                                         struct core_agency **out);
TRUC_MUST_USE truc_error core_add_key(struct hub_core *core, const struct hub_key_facts *key, uint32_t agency,
                                      int64_t added_at_us);
TRUC_MUST_USE truc_error core_add_transport(struct hub_core *core, const uint8_t key[32], uint32_t agency,
                                            int64_t added_at_us);
struct core_grant_texts {
    struct truc_bytes grant, from, to, type, legal_basis;
};
TRUC_MUST_USE truc_error core_add_grant(struct hub_core *core, const struct core_grant_texts *texts,
                                        const struct hub_grant *terms);
TRUC_MUST_USE truc_error core_add_subscription(struct hub_core *core, uint32_t agency, struct truc_bytes type,
                                               struct truc_bytes source_agency, uint32_t ordinal);
/* Writing a record of theirs to the map. `at` is the index in its table. */
TRUC_MUST_USE truc_error core_save_agency(struct hub_core *core, const struct core_agency *agency);
TRUC_MUST_USE truc_error core_save_key(struct hub_core *core, size_t at);
TRUC_MUST_USE truc_error core_save_transport(struct hub_core *core, size_t at);
TRUC_MUST_USE truc_error core_save_grant(struct hub_core *core, size_t at);
TRUC_MUST_USE truc_error core_save_subscription(struct hub_core *core, size_t at);
TRUC_MUST_USE truc_error core_save_parameters(struct hub_core *core);
TRUC_MUST_USE truc_error core_save_origin(struct hub_core *core);
TRUC_MUST_USE truc_error core_save_head(struct hub_core *core, const struct core_agency *agency);
/* Reads all of it at open. */
TRUC_MUST_USE truc_error core_registry_load(struct hub_core *core);
void core_registry_close(struct core_registry *registry);

/* Subscribing and leaving, by governance or by the agency itself. TRUC_E_EXISTS, TRUC_E_NOT_FOUND: nothing to do. */
TRUC_MUST_USE truc_error core_subscribe(struct hub_core *core, struct core_agency *agency, struct truc_bytes type,
                                        struct truc_bytes source_agency);
TRUC_MUST_USE truc_error core_unsubscribe(struct hub_core *core, struct core_agency *agency, struct truc_bytes type,
                                          struct truc_bytes source_agency);
struct hub_signing_key *core_key(const struct hub_core *core, const char *keyid, size_t *at);
struct hub_transport_key *core_transport(const struct hub_core *core, const uint8_t key[32], size_t *at);
struct core_grant *core_grant_named(const struct hub_core *core, struct truc_bytes name, size_t *at);

/* ---- routes
 * ------------------------------------------------------------------------------------------------------------- */

/* The first grant given that allows it at this moment; CORE_NO_GRANT: none. */
TRUC_MUST_USE truc_error core_grant_for(struct hub_core *core, struct core_agency *sender, const struct core_agency *to,
                                        struct truc_bytes type, uint32_t *out);
TRUC_MUST_USE truc_error core_route_plain(struct hub_core *core, struct core_agency *sender,
                                          struct truc_bytes recipients, struct truc_bytes type, struct core_route *out);
TRUC_MUST_USE truc_error core_route_receipt(struct hub_core *core, struct core_agency *sender,
                                            struct truc_bytes recipients, struct core_route *out);
void core_routes_close(struct core_route_cache *cache);

/* ---- log, chains, idempotency
 * --------------------------------------------------------------------------------------------- */

TRUC_MUST_USE truc_error core_log_append(struct hub_core *core, struct truc_bytes leaf,
                                         const struct hub_leaf_place *place);
TRUC_MUST_USE truc_error core_leaf_keep(struct hub_core *core, uint64_t leaf_index, struct truc_bytes leaf);
TRUC_MUST_USE truc_error core_log_load(struct hub_core *core);
TRUC_MUST_USE truc_error core_chain_append(struct hub_core *core, struct core_agency *agency,
                                           const struct truc_seal *seal, const struct truc_hash *digest,
                                           uint64_t leaf_index);
TRUC_MUST_USE truc_error core_fork(struct hub_core *core, const struct hub_input *input, struct hub_effects *effects);

TRUC_MUST_USE truc_error core_idempotency_load(struct hub_core *core);
void core_idempotency_close(struct core_idempotency *idempotency);
uint64_t core_idempotency_tag(const uint8_t key[16]);
/* Drops what is older than the horizon at `now_us`. */
TRUC_MUST_USE truc_error core_idempotency_forget(struct hub_core *core, int64_t now_us);
/* Errors: TRUC_E_NOT_FOUND. */
TRUC_MUST_USE truc_error core_idempotency_find(struct hub_core *core, const uint8_t key[16], struct core_accepted *out);
TRUC_MUST_USE truc_error core_idempotency_add(struct hub_core *core, const struct hub_event_facts *facts,
                                              uint64_t sequence);
/* Brings the memory of the keys' slots closer before they are looked up. */
void core_idempotency_prefetch(const struct hub_core *core, const struct hub_event_facts *facts, size_t count);

/* The table of the newest records. Where a tag's search begins; taking a record out; and walking over all slots that
 * may hold tags whose homes are in [home, end), and over some others: *step starts at 0, false at the end. */
size_t core_table_home(const struct core_idempotency *table, uint64_t tag);
void core_table_take_out(struct core_idempotency *table, uint64_t tag, uint64_t ordinal);
bool core_table_next(const struct core_idempotency *table, size_t home, size_t end, size_t *step, uint64_t *tag,
                     uint64_t *ordinal);

/* Runs: idempotency_runs.c. After a record was added: moves a part of what is due from the table into a run. */
TRUC_MUST_USE truc_error core_runs_step(struct hub_core *core);
/* After `first` moved: gives up runs that are wholly before it. */
TRUC_MUST_USE truc_error core_runs_forget(struct hub_core *core);
/* Reads the runs at open; *records: how many of those remembered they hold. */
TRUC_MUST_USE truc_error core_runs_load(struct hub_core *core, uint64_t *records);
void core_runs_close(struct core_idempotency *idempotency);
/* Below this ordinal every record is in a run. */
uint64_t core_runs_end(const struct core_idempotency *table);
/* Whether a record is in a run, going by how far they are built. */
bool core_runs_have(const struct core_idempotency *table, uint64_t tag, uint64_t ordinal);
void core_runs_prefetch(const struct core_idempotency *table, uint64_t tag);
struct core_run_search {
    uint64_t tag;
    size_t run; /* of those in memory */
    size_t at;  /* place in its bucket + 1; 0: not looked for yet */
};
/* Candidates one after the other. Errors: TRUC_E_NOT_FOUND at the end, the port's. */
TRUC_MUST_USE truc_error core_runs_next(struct hub_core *core, struct core_run_search *search, uint64_t *ordinal);

/* ---- inboxes
 * ---------------------------------------------------------------------------------------------------------------- */

/* In a block: the posting lies in a record of its own under CORE_EXCEPTION. Never leaves inbox*.c. */
#define CORE_POSTING_MOVED 4

struct core_posting {
    struct hub_posting pub;
    uint64_t cause; /* sequence of the event that posted it: never falls along an inbox; differs for replays */
    bool exception, has_note;
};

#define CORE_POSTING_SIZE 88u
void core_posting_store(uint8_t *to, const struct core_posting *posting);
TRUC_MUST_USE truc_error core_posting_load(const uint8_t *from, struct core_posting *out);
struct block_series core_postings(uint32_t agency);
struct map_key core_posting_key(enum core_letter letter, uint32_t agency, uint64_t number);
/* Errors: TRUC_E_NOT_FOUND. */
TRUC_MUST_USE truc_error core_inbox_load(struct hub_core *core, const struct core_agency *agency, uint64_t number,
                                         struct core_posting *out);
/* The posting of that event, and not of its replays. Errors: TRUC_E_NOT_FOUND. */
TRUC_MUST_USE truc_error core_inbox_find(struct hub_core *core, const struct core_agency *agency, uint64_t sequence,
                                         struct core_posting *out);
/* Index of the first exception >= number. */
size_t core_exception_at(const struct core_agency *agency, uint64_t number);
TRUC_MUST_USE truc_error core_exceptions_load(struct hub_core *core);

/* What an event brings to an inbox. */
struct core_post {
    uint64_t sequence, cause, leaf_index, subject;
    uint32_t index, size, grant; /* grant: index, or CORE_NO_GRANT */
    int64_t expires_us;          /* HUB_TIME_NONE: the inbox's deadline alone */
    bool replay;
};
TRUC_MUST_USE truc_error core_inbox_post(struct hub_core *core, struct core_agency *agency,
                                         const struct core_post *post, struct hub_effects *effects);
TRUC_MUST_USE truc_error core_inbox_ranges(struct hub_core *core, const struct hub_input *input,
                                           struct hub_effects *effects);
TRUC_MUST_USE truc_error core_inbox_nack(struct hub_core *core, const struct hub_input *input,
                                         struct hub_effects *effects);
/* Errors of the three: TRUC_E_NOT_FOUND where the act is not possible. */
TRUC_MUST_USE truc_error core_inbox_requeue(struct hub_core *core, struct core_agency *agency, uint64_t number,
                                            struct hub_effects *effects);
TRUC_MUST_USE truc_error core_inbox_drop(struct hub_core *core, struct core_agency *agency, uint64_t number,
                                         struct hub_effects *effects);
TRUC_MUST_USE truc_error core_inbox_recall(struct hub_core *core, struct core_agency *agency, uint64_t sequence,
                                           struct hub_effects *effects);
void core_inbox_boot(struct hub_core *core);

/* ---- decisions
 * ---------------------------------------------------------------------------------------------------------------- */

/* The seal whose events are being judged. */
struct core_sealing {
    struct core_agency *sender;
    const struct hub_seal_input *input;
    uint64_t leaf_index, first_sequence;
    uint32_t recalls_end; /* hub_core_recalls_end, as it was before the seal's first event */
};

TRUC_MUST_USE truc_error core_decide(struct hub_core *core, const struct core_sealing *sealing, uint32_t index,
                                     struct hub_effects *effects, struct truc_outcome *out);
/* The checks that need no registry: genesis is judged by them too. 0: none applies. */
uint8_t core_check_facts(const struct hub_core *core, const struct hub_event_facts *facts);
bool core_is_expired(const struct hub_core *core, const struct hub_event_facts *facts);
/* Carries out an administrator's act; *reason becomes 0 or the refusal (then nothing has changed). */
TRUC_MUST_USE truc_error core_govern(struct hub_core *core, const struct core_sealing *sealing, uint32_t index,
                                     struct hub_effects *effects, uint8_t *reason);
/* The first event of a log. Errors: TRUC_E_INVALID. */
TRUC_MUST_USE truc_error core_genesis(struct hub_core *core, const struct hub_seal_input *input,
                                      struct hub_effects *effects);

#endif
