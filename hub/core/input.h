/* What enters the core: the journal's inputs, decoded. The core is a function of these and nothing else.
 *
 * Everything here is borrowed from the caller for the time of one apply; the core copies what it keeps. The bytes on
 * disk are hub/store/row.c's affair (hub/STORAGE.md). */
#ifndef HUB_CORE_INPUT_H
#define HUB_CORE_INPUT_H

#include "truc/leaf.h"

/* ---- facts: all that a decision on one event depends on; no personal data among them --------------------------- */

enum hub_event_kind {
    HUB_EVENT_PLAIN = 0,
    HUB_EVENT_GOVERNANCE = 1,
    HUB_EVENT_DELIVERY_RECEIPT = 2,
    HUB_EVENT_RECALL = 3,
    HUB_EVENT_RESERVED = 4, /* another type that begins with "truc." */
};

enum hub_event_flags {
    HUB_FACT_MALFORMED = 1, /* the event does not parse: only leaf_hash and size are known */
    HUB_FACT_TOO_LARGE = 2,
    HUB_FACT_FOREIGN_SOURCE = 4,  /* source is not of the sealing agency */
    HUB_FACT_BLOB = 8,            /* names an attachment */
    HUB_FACT_INVALID_PAYLOAD = 16 /* data does not fit the schema of its type */
};

#define HUB_TIME_NONE INT64_MIN

struct hub_governance;

struct hub_event_facts {
    struct truc_hash leaf_hash;  /* SHA-256(0x00 || event) */
    uint8_t key[16];             /* idempotency key */
    uint64_t subject;            /* truc_subject_hash; 0: unordered */
    uint32_t size;               /* of the event's bytes */
    uint8_t kind;                /* enum hub_event_kind */
    uint8_t flags;               /* enum hub_event_flags */
    int64_t time_us, expires_us; /* HUB_TIME_NONE where absent */
    struct truc_bytes type;
    struct truc_bytes recipients; /* the attribute as it came; for a recall, from whom: empty: from everybody */
    uint8_t recalled[16];         /* RECALL: idempotency key of the recalled event */
    /* RECALL: who of those that it means had the event in hand when it was admitted (from the dispatcher): agency n is
     * bit n % 8 of byte n / 8. The last byte is not 0. */
    struct truc_bytes in_hand;
    const struct hub_governance *governance; /* GOVERNANCE and not INVALID_PAYLOAD; else NULL */
    struct truc_bytes governance_bytes;      /* what that was decoded from: the journal keeps these */
};

/* A seal whose signature and chain position were verified. */
struct hub_seal_input {
    struct truc_bytes envelope;
    struct truc_seal seal;
    struct truc_hash digest;
    const struct hub_event_facts *events; /* seal.count of them */
};

/* ---- governance, decoded from truc.v1.Governance by hub/store/governance.c ----------------------------------------
 */

enum hub_role { HUB_ROLE_AGENCY = 0, HUB_ROLE_ADMINISTRATOR = 1, HUB_ROLE_AUDITOR = 2 };
enum hub_act {
    HUB_ACT_GENESIS = 2, /* numbers as the oneof's in truc.proto */
    HUB_ACT_ENROL_AGENCY = 3,
    HUB_ACT_SUSPEND_AGENCY = 4,
    HUB_ACT_RESUME_AGENCY = 5,
    HUB_ACT_ADD_KEY = 6,
    HUB_ACT_REVOKE_KEY = 7,
    HUB_ACT_GIVE_GRANT = 8,
    HUB_ACT_WITHDRAW_GRANT = 9,
    HUB_ACT_ADD_SUBSCRIPTION = 10,
    HUB_ACT_REMOVE_SUBSCRIPTION = 11,
    HUB_ACT_ORDER_REPLAY = 12,
    HUB_ACT_DEAD_LETTER = 13,
    HUB_ACT_PARAMETERS = 14,
    HUB_ACT_SET_QUOTA = 15,
};

#define HUB_GROUPS_MAX 16
#define HUB_NAME_MAX 255
#define HUB_ADMINISTRATORS_MAX 8

struct hub_parameters {
    uint32_t event_bytes, seal_events, seal_bytes;
    uint32_t future_skew_s, past_horizon_s, inbox_age_s, max_attempts, hold_s;
};

struct hub_key_facts {
    bool present;
    char keyid[TRUC_KEYID_HEX + 1];
    enum truc_algorithm algorithm;
    struct truc_bytes spki;
};

struct hub_enrolment {
    char agency[TRUC_AGENCY_MAX + 1];
    struct truc_bytes name;
    enum hub_role role;
    size_t group_count;
    struct truc_bytes groups[HUB_GROUPS_MAX];
    bool has_transport;
    uint8_t transport[32];
    struct hub_key_facts key;
    uint32_t quota_events_per_s; /* 0: no limit */
    uint64_t quota_bytes_per_s;
};

struct hub_replay_item {
    uint64_t sequence, leaf_index;
    uint32_t index, size;
    uint64_t subject;
    char sender[TRUC_AGENCY_MAX + 1];
    struct truc_bytes type;
};

struct hub_governance {
    enum hub_act act;
    struct truc_bytes reason;
    char agency[TRUC_AGENCY_MAX + 1];   /* the agency concerned, where the act has one (ENROL: see enrolments[0]) */
    struct truc_bytes origin, note_key; /* GENESIS */
    size_t enrolment_count;             /* GENESIS: administrators; ENROL: 1 */
    struct hub_enrolment enrolments[HUB_ADMINISTRATORS_MAX];
    struct hub_parameters parameters; /* GENESIS, PARAMETERS: 0 = unchanged or default */
    struct hub_key_facts key;         /* ADD_KEY, REVOKE_KEY (keyid only) */
    bool has_transport;               /* ADD_KEY, REVOKE_KEY of a transport key */
    uint8_t transport[32];
    struct truc_bytes grant, from, to, type, legal_basis; /* grants; type also of subscriptions */
    int64_t valid_from_us, valid_until_us;                /* 0: open */
    bool delivery_receipts, skip_dead_letters;
    uint32_t hold_s, max_attempts;   /* 0: the log's parameter */
    struct truc_bytes source_agency; /* subscriptions; empty: any */
    uint64_t number;                 /* DEAD_LETTER: inbox number */
    bool drop;                       /* DEAD_LETTER: drop, else requeue */
    uint32_t quota_events_per_s;     /* SET_QUOTA */
    uint64_t quota_bytes_per_s;
    size_t replay_count;
    const struct hub_replay_item *replay; /* ORDER_REPLAY */
};

/* ---- the other inputs -----------------------------------------------------------------------------------------------
 */

struct hub_range {
    uint64_t first;
    uint32_t count;
};

enum hub_input_kind {
    HUB_INPUT_BOOT = 1, /* the hub started: what was in flight may have been seen */
    HUB_INPUT_SEAL = 2,
    HUB_INPUT_ACK = 3,     /* ranges of inbox numbers that were acked under a valid lease */
    HUB_INPUT_NACK = 4,    /* one number, with delay or rejection */
    HUB_INPUT_RELEASE = 5, /* ranges whose lease was lost: session gone or lease over */
    HUB_INPUT_SUBSCRIBE = 6,
    HUB_INPUT_EXPIRE = 7,    /* ranges that a timer proposes as expired; the core checks */
    HUB_INPUT_FORK = 8,      /* evidence: a second valid seal for a chain position */
    HUB_INPUT_CHECKPOINT = 9 /* the note signed after an earlier row: kept for the audit, changes nothing */
};

struct hub_input {
    enum hub_input_kind kind;
    uint32_t offset;                  /* of this input inside its row's bytes; set when the row is encoded or decoded */
    char agency[TRUC_AGENCY_MAX + 1]; /* ACK, NACK, RELEASE, EXPIRE, SUBSCRIBE: whose inbox; FORK: the sealer */
    union {
        struct hub_seal_input seal;
        struct {
            const struct hub_range *ranges;
            size_t count;
        } ranges; /* ACK, RELEASE, EXPIRE */
        struct {
            uint64_t number;
            uint32_t delay_ms;
            bool reject;
            struct truc_bytes note; /* at most 200 bytes */
        } nack;
        struct {
            struct truc_bytes type, source_agency;
            bool remove;
        } subscribe;
        struct {
            struct truc_bytes envelope;
            uint8_t chain[TRUC_CHAIN_SIZE];
            uint64_t number;
        } fork;
        struct {
            struct truc_bytes note;
            uint64_t tree_size;
        } checkpoint;
    } u;
};

#endif
