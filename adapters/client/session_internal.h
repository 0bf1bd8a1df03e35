/* What the files session*.c share. */
#ifndef TRUC_CLIENT_SESSION_INTERNAL_H
#define TRUC_CLIENT_SESSION_INTERNAL_H

#include "adapters/client/session.h"
#include "truc/log.h"

#define SECOND INT64_C(1000000)
#define WELCOME_WAIT (10 * SECOND) /* from HELLO to WELCOME */
#define SILENCE (10 * SECOND)      /* then PING */
#define SPEECHLESS (20 * SECOND)   /* a hub ends a session that says nothing for 60 s */
#define PINGS_MAX 3
#define BACKOFF_FIRST (SECOND / 10)
#define BACKOFF_MAX (10 * SECOND)
#define BACKOFF_SLOW (30 * SECOND) /* suspended, or a transport key that is not enrolled (yet) */
#define FAULTS_MAX 3               /* times that the hub may call us malformed before we give up */
#define CREDIT_FLUSH (SECOND / 10)
#define OWED_FLUSH (SECOND / 5)
#define OWED_BATCH 500
#define ASSEMBLED_MAX (64u << 20) /* bytes of a body in pieces: the most credit there can be */
#define UNPACK_MAX (32u << 20)
#define VERIFIED_SLOTS 256
#define ANSWERED_MAX 16

/* One seal that was signed and is not yet answered. */
struct flight {
    struct client_body *body;
    uint32_t count;
    bool sent;      /* on the present link, and not refused since */
    uint64_t mark;  /* not sent before the store is durable up to here: events of the library's own are not handed over
                       again by anybody after a crash, and would be made anew beside their copies in the log */
    uint64_t order; /* of sealing: later is higher, over all chains of this process */
    struct truc_hash digest;
    uint8_t chain[TRUC_CHAIN_SIZE];
    uint64_t number;
    struct truc_buffer envelope;
    uint64_t tickets[TRUC_SEAL_EVENTS_MAX];
    uint8_t whose[TRUC_SEAL_EVENTS_MAX]; /* STORE_EVENT_* */
};

enum lease_state {
    LEASE_OPEN,  /* with the application */
    LEASE_VOID,  /* the hub took it back, or the session ended: it will come again */
    LEASE_ACKED, /* durable here, not yet at the hub */
};

/* A delivery from when it is handed out until the hub has settled it. */
struct lease {
    uint64_t number; /* 0: an empty place of the table */
    uint64_t id, sequence, subject;
    uint32_t size;
    uint8_t state;
    bool receipt_wanted;
    char sender[TRUC_AGENCY_MAX + 1];
    struct truc_hash hash;
};

/* Open addressing by inbox number; capacity is a power of two, at most half full. */
struct lease_table {
    struct lease *slots;
    size_t capacity, count;
};

/* A DELIVER frame that waits for a key, or for the answer to a nack. */
struct held {
    struct held *next;
    uint64_t frame;
    uint64_t events;
    struct truc_buffer head, body;
};

/* A nack takes the later deliveries of its subject back, those too that lie here unread or are on their way: all that
 * comes before the hub's answer. That may also be "too late": then they were given out anew meanwhile, and count. So
 * until it is known they wait. */
struct taken_back {
    uint64_t subject, number, lease;
    uint64_t until_frame; /* UINT64_MAX: not answered yet */
};

struct peer_key {
    char keyid[TRUC_KEYID_HEX + 1];
    char agency[TRUC_AGENCY_MAX + 1];
    struct truc_key *key;
};

enum ask_kind { ASK_QUERY, ASK_KEYS, ASK_PROOF };

/* A question to the hub that is not answered yet; asked again on each new link. */
struct ask {
    struct ask *next;
    enum ask_kind kind;
    uint64_t request;
    bool asked;
    char *what, *cursor;
    char **arguments; /* name, value, ... */
    size_t argument_count;
    truc_answer_fn on_answer;
    uint64_t sequence;
    truc_evidence_fn on_evidence;
    void *context;
    char agency[TRUC_AGENCY_MAX + 1]; /* ASK_KEYS: whose */
    struct truc_evidence *evidence;   /* ASK_PROOF: waits for a key */
};

/* A subscription that the hub has not settled yet; in the store under its key until then. */
struct wish {
    struct wish *next;
    uint64_t key;
    bool asked, remove;
    char *type, *source_agency;
};

struct client_session {
    /* who we are */
    char agency[TRUC_AGENCY_MAX + 1], origin[TRUC_ORIGIN_MAX + 1];
    char *software;
    struct truc_key *key;
    struct truc_note_verifier note_key;
    uint8_t instance[16];
    struct truc_client_callbacks callbacks;
    struct client_store store;
    truc_error (*random)(void *out, size_t size);
    int64_t now_us, wall_us;
    struct truc_arena *arena;
    bool urgent, due; /* due: the application did something that work has not looked at yet */

    /* the link */
    enum truc_client_state state;
    truc_error error;
    uint64_t link; /* counts connections */
    size_t endpoint, endpoint_count;
    int64_t backoff_us, retry_at_us, heard_us, said_us, greeted_us, pinged_us;
    unsigned pings, faults;
    uint64_t ping_token;
    struct client_outbox outbox;
    bool assembling; /* pieces of a body are coming */
    struct truc_buffer assembled_head, assembled_body;

    /* the log */
    struct truc_checkpoint checkpoint; /* newest, proven to continue all before it; size 0: none */
    struct truc_buffer note;           /* its note */

    /* submitting */
    uint32_t seal_events, seal_bytes; /* of the present link */
    uint32_t seal_events_most;        /* by configuration */
    uint64_t session_bytes;
    uint8_t chain[TRUC_CHAIN_SIZE];
    uint64_t chain_number; /* of the chain's last seal; 0: none yet */
    struct truc_hash chain_last, head;
    bool has_head;
    uint64_t next_order, head_order;
    unsigned gaps;           /* SEAL_GAPs since the last receipt */
    struct flight **flights; /* oldest first; all are allocated, flight_count are in use */
    uint32_t flight_count, flight_max;
    struct flight *fill; /* the next seal */
    struct truc_hash leaves[TRUC_SEAL_EVENTS_MAX];
    struct truc_buffer encoded;           /* scratch: an event that comes as fields */
    uint64_t next_ticket, ticket_ceiling; /* ceiling: as stored, above every ticket given */
    uint64_t ticket_safe, ceiling_mark;   /* safe: as durable; ceiling is durable with its mark */
    uint64_t fill_from; /* events from this ticket on are only in the store; UINT64_MAX: all are in fill or in flight */
    uint64_t pending;
    bool holding; /* a transient refusal: nothing is sent until resend_at_us */
    int64_t resend_at_us;
    truc_reason obstacle; /* the last transient refusal, until a receipt comes; TRUC_ACCEPTED: none */
    int64_t obstacle_since_us, full_since_us;
    bool told_full; /* the obstacle that the application was told last */
    truc_reason told_reason;
    uint64_t synced;       /* mark of the store up to which it is durable */
    bool full;             /* the disk behind the store is full */
    struct truc_leaf leaf; /* scratch: large */

    /* receiving */
    bool receiving;
    uint32_t window_events;
    uint64_t window_bytes;
    uint64_t credit_events, credit_bytes; /* what the hub still has */
    uint64_t open_events, open_bytes;     /* LEASE_OPEN */
    int64_t credit_at_us;                 /* when to give what is less than half a window; INT64_MAX: nothing to give */
    struct lease_table leases;
    uint64_t top_number, top_sequence; /* highest inbox number ever seen */
    uint64_t floor; /* of this process: numbers up to it come no more, dead letters that are requeued apart */
    uint64_t frame; /* counts DELIVER frames */
    struct held *held, **held_end;
    uint64_t held_events, held_bytes;
    char answered[ANSWERED_MAX][TRUC_AGENCY_MAX + 1]; /* whose keys were told while frames wait: what is still unknown
                                                         stays so; a ring */
    size_t answered_count;
    struct taken_back *taken_back;
    size_t taken_back_count, taken_back_capacity;
    struct truc_hash verified[VERIFIED_SLOTS]; /* SHA-256 of envelopes whose signature was checked */
    Truc__V1__AckRange *acks; /* to be sent, each when the store is durable up to its mark; marks never fall */
    uint64_t *ack_marks;
    size_t ack_count, ack_capacity;
    struct client_outbox later; /* rejects that owe a delivery receipt: likewise */
    uint64_t owed_next, owed_count;
    int64_t owed_at_us;
    struct peer_key *peers; /* by keyid, then agency */
    size_t peer_count, peer_capacity;

    /* asking */
    struct ask *asks, **asks_end;
    uint64_t next_request;
    struct wish *wishes;
    uint64_t next_wish;
};

/* ---- session.c: the link ---- */
TRUC_MUST_USE truc_error session_push(struct client_session *s, enum truc_frame_kind kind,
                                      const ProtobufCMessage *message, struct client_body *body);
/* The present link ends; the next one comes after the backoff. */
TRUC_MUST_USE truc_error session_drop_link(struct client_session *s, truc_error error, const char *text, bool slow);
TRUC_MUST_USE truc_error session_stop(struct client_session *s, truc_error error, const char *text);
#define SESSION_FORKED "the hub's log is not the continuation of the one seen before"
/* A checkpoint note from the hub, with the proof that it continues the newest one known; a larger one becomes that.
 * TRUC_E_FORKED where the proof does not hold, or the tree is smaller; TRUC_E_BAD_SIGNATURE, TRUC_E_MALFORMED for a
 * note that is not the log's. */
TRUC_MUST_USE truc_error session_take_checkpoint(struct client_session *s, ProtobufCBinaryData note,
                                                 const ProtobufCBinaryData *consistency, size_t count,
                                                 struct truc_checkpoint *out);
TRUC_MUST_USE truc_error session_hashes(const ProtobufCBinaryData *items, size_t count, size_t limit,
                                        struct truc_hash *out);
TRUC_MUST_USE truc_error session_meta_put(struct client_session *s, enum store_meta key, struct truc_bytes value);
TRUC_MUST_USE truc_error session_meta_put_u64(struct client_session *s, enum store_meta key, uint64_t value);
/* Stands for everything that was written to the store so far; 0 where it has no marks. */
static inline uint64_t session_mark(const struct client_session *s)
{
    return s->store.mark != NULL ? s->store.mark(s->store.context) : 0;
}
/* A failure of the store, of memory or of OpenSSL: it ends the client. Others are a peer's doing and end the link. */
static inline bool session_error_is_ours(truc_error error)
{
    return error == TRUC_E_IO || error == TRUC_E_FULL || error == TRUC_E_NOMEM || error == TRUC_E_CORRUPT ||
           error == TRUC_E_CRYPTO;
}
static inline struct truc_bytes session_view(ProtobufCBinaryData data)
{
    return truc_bytes(data.data, data.len);
}

/* ---- session_load.c ---- */
TRUC_MUST_USE truc_error session_load(struct client_session *s);

/* ---- session_greet.c ---- */
TRUC_MUST_USE truc_error session_say_hello(struct client_session *s);
TRUC_MUST_USE truc_error session_on_welcome(struct client_session *s, const Truc__V1__Welcome *welcome);
TRUC_MUST_USE truc_error session_on_bye(struct client_session *s, const Truc__V1__Bye *bye);

/* ---- session_submit.c ---- */
TRUC_MUST_USE truc_error session_new_chain(struct client_session *s);
/* Room for many more tickets; they are given when that is durable. */
TRUC_MUST_USE truc_error session_raise_tickets(struct client_session *s);
/* Fills, signs and queues seals as far as the limits allow. */
TRUC_MUST_USE truc_error session_seal(struct client_session *s);
/* The events of flights[from ...] go back to the store's queue and will be sealed again in a new chain. */
TRUC_MUST_USE truc_error session_rewind(struct client_session *s, uint32_t from);
void session_unsend(struct client_session *s);
void session_submit_close(struct client_session *s);

/* ---- session_receipt.c ---- */
TRUC_MUST_USE truc_error session_on_receipts(struct client_session *s, const Truc__V1__Receipts *receipts);
TRUC_MUST_USE truc_error session_on_refused(struct client_session *s, const Truc__V1__Refused *refused);

/* ---- session_deliver.c ---- */
TRUC_MUST_USE truc_error session_on_deliver(struct client_session *s, struct truc_bytes head, struct truc_bytes body);
/* After keys or answers to nacks came: the frames that waited. */
TRUC_MUST_USE truc_error session_resume_held(struct client_session *s);
void session_drop_held(struct client_session *s);
/* A group's seal: taken apart with the frame, and perhaps believed. */
struct delivered_seal {
    truc_error error; /* of taking it apart; the rest holds only without one */
    bool believed;
    struct truc_envelope envelope;
};
/* session_verify.c: believes the seals that a later seal of the same frame and chain vouches for, if that one is
 * believed (hub/decisions/0022-seals-vouch-for-those-before.md). What is left is no verdict: the group's own
 * verification finds it. */
void session_vouch(struct client_session *s, const Truc__V1__Deliver *message, struct delivered_seal *seals);
/* Whether the group's seal is believed, and its events are in it. `hashes` receives the event hashes.
 * TRUC_E_UNKNOWN_KEY where the key is not known here (yet). */
TRUC_MUST_USE truc_error session_verify_group(struct client_session *s, const Truc__V1__DeliverGroup *group,
                                              struct delivered_seal *seal, const struct truc_bytes *events,
                                              struct truc_hash *hashes);

/* ---- session_lease.c ---- */
struct lease *session_lease_find(struct lease_table *table, uint64_t number);
/* A place for a number that is not there. NULL without memory. */
struct lease *session_lease_add(struct lease_table *table, uint64_t number);
void session_lease_remove(struct lease_table *table, uint64_t number);
TRUC_MUST_USE truc_error session_queue_ack(struct client_session *s, uint64_t lease, uint64_t number);
TRUC_MUST_USE truc_error session_send_nack(struct client_session *s, uint64_t lease, uint64_t number, uint32_t delay_ms,
                                           const char *note);
TRUC_MUST_USE truc_error session_on_settled(struct client_session *s, const Truc__V1__Settled *settled);
TRUC_MUST_USE truc_error session_on_floor(struct client_session *s, uint64_t floor);
/* The session ended: what the application holds will come again. */
void session_void_leases(struct client_session *s);
/* Acks, credit, owed delivery receipts into the outbox. */
TRUC_MUST_USE truc_error session_answer(struct client_session *s);
/* Without the credit. */
TRUC_MUST_USE truc_error session_answer_durable(struct client_session *s);
/* An open lease ends, whatever the reason: its credit may be given anew. */
void session_close_lease(struct client_session *s, struct lease *lease, enum lease_state state);

/* ---- session_owed.c ---- */
TRUC_MUST_USE truc_error session_owe(struct client_session *s, const struct lease *lease, unsigned outcome);
TRUC_MUST_USE truc_error session_pay(struct client_session *s);

/* ---- session_obstacle.c ---- */
/* The hub refused for the moment; a receipt ends it. */
void session_obstructed(struct client_session *s, unsigned reason);
void session_unobstructed(struct client_session *s);
/* Tells the application what has changed since it was told last. */
void session_tell_obstacle(struct client_session *s);

/* ---- session_wish.c ---- */
TRUC_MUST_USE truc_error session_load_wishes(struct client_session *s);
TRUC_MUST_USE truc_error session_send_wishes(struct client_session *s);
TRUC_MUST_USE truc_error session_on_subscribed(struct client_session *s, const char *type, bool refused);
void session_unsend_wishes(struct client_session *s);
void session_wishes_close(struct client_session *s);

/* ---- session_ask.c, session_proof.c, session_keys.c ---- */
TRUC_MUST_USE truc_error session_ask_all(struct client_session *s);
void session_unask(struct client_session *s);
void session_ask_close(struct client_session *s);
TRUC_MUST_USE truc_error session_on_answer(struct client_session *s, const Truc__V1__Answer *answer,
                                           struct truc_bytes body);
TRUC_MUST_USE truc_error session_on_proof(struct client_session *s, const Truc__V1__Proof *proof);
struct ask *session_ask_new(struct client_session *s, enum ask_kind kind);
void session_ask_free(struct ask **ask);
void session_ask_unlink(struct client_session *s, const struct ask *ask);
/* By the request's number; `proof`: of that kind. NULL where nothing like it was asked. */
struct ask *session_ask_find(struct client_session *s, uint64_t request, bool proof);
/* NULL where unknown. */
struct truc_key *session_key_of(const struct client_session *s, const char *agency, const char *keyid);
/* Asks for an agency's keys, unless that is under way. */
TRUC_MUST_USE truc_error session_want_keys(struct client_session *s, const char *agency);
bool session_keys_under_way(const struct client_session *s, const char *agency);
TRUC_MUST_USE truc_error session_on_keys(struct client_session *s, struct truc_bytes json);
TRUC_MUST_USE truc_error session_load_keys(struct client_session *s);
void session_keys_close(struct client_session *s);
TRUC_MUST_USE truc_error session_retry_proofs(struct client_session *s);

#endif
