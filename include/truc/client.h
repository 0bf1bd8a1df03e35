/* libtruc: an agency's side of the protocol. Connect, submit, receive.
 *
 * Nothing that was handed over is lost: an event is in the spool (LMDB, synced) before it is sent, and leaves the spool
 * when its receipt has been verified. Nothing unverified is handed out: seal, path, leaf, checkpoint and consistency
 * are checked before a callback sees a receipt or a delivery. After a crash of the adapter or an outage of the hub the
 * client goes on where it was; the hub's idempotency makes what was sent twice once.
 *
 * Threads: a client belongs to one thread; all its callbacks run inside truc_client_step() or truc_client_run() of that
 * thread. Two clients may live in two threads. A spool belongs to one client of one process at a time.
 * Inside a callback everything may be called but truc_client_step, _run, _sync and _free. */
#ifndef TRUC_CLIENT_H
#define TRUC_CLIENT_H

#include "truc/evidence.h"

struct truc_client;

/* How the client reaches its hub and who it is. Everything is borrowed during truc_client_new only. */
struct truc_client_config {
    const char *agency;           /* own code */
    const char *origin;           /* the log's name */
    const char *const *endpoints; /* "tcp://host:port", tried in order, from the one after the last that failed */
    size_t endpoint_count;
    const char *hub_public;       /* the hub's CURVE public key, Z85, 40 characters */
    const char *transport_public; /* own CURVE key pair, Z85 */
    const char *transport_secret;
    struct truc_key *signing_key; /* private; its owner count is raised */
    const char *note_key;         /* the hub's verifier key text */
    const char *spool;            /* folder of the spool, made if missing (0700) */
    uint64_t spool_bytes;         /* its size at most; 0: 1 GiB */
    const char *software;         /* "name/version" */
    bool spool_unsynced; /* true: the spool is committed once a second (and before every ack), not at each step;
                            a crash or a power loss may then lose what was not yet receipted, and events may be
                            sent before they are durable. It is never damaged. For replayable sources only. */
    uint32_t max_in_flight_seals;       /* 0: 4 */
    uint32_t max_seal_events;           /* in one seal; 0: as many as the hub takes */
    uint32_t receive_events;            /* credit kept open while receiving; 0: 1024 */
    uint64_t receive_bytes;             /* 0: 8 MiB */
    int64_t (*clock_us)(void *context); /* NULL: the system's; for tests */
    void *clock_context;
};

/* A client's settings as files in one folder ("profile"), as `truc agency add --profile` makes them:
 *   profile.yaml      agency, origin, endpoints, spool (relative to the folder)
 *   sign.pem          private signing key, PKCS#8
 *   transport.secret transport.public hub.public   Z85 text
 *   note.key          the hub's verifier key */
struct truc_profile;
/* Reads and checks it all. `why` gets every error, one a line, with file, line and key. Errors: TRUC_E_CONFIG,
 * TRUC_E_IO. */
TRUC_MUST_USE truc_error truc_profile_load(const char *folder, struct truc_profile **out, struct truc_buffer *why);
void truc_profile_free(struct truc_profile **profile);
/* Borrowed from the profile; fields may be changed before truc_client_new. */
struct truc_client_config *truc_profile_config(struct truc_profile *profile);

enum truc_client_state {
    TRUC_CLIENT_IDLE,       /* not started */
    TRUC_CLIENT_CONNECTING, /* TCP, CURVE, HELLO under way */
    TRUC_CLIENT_OPEN,       /* WELCOME verified */
    TRUC_CLIENT_WAITING,    /* backing off before the next endpoint */
    TRUC_CLIENT_STOPPED,    /* refused for good, or the hub's log is forked: see the error; a human must look */
};

/* What became of one submitted event. Verified. */
struct truc_receipt {
    uint64_t ticket;    /* as truc_client_submit gave it */
    truc_reason reason; /* TRUC_ACCEPTED, or why not */
    bool logged;        /* the log's leaf says so: accepted, duplicate, or refused with proof; false: a permanent
                           refusal of the whole seal, not in the log */
    bool duplicate;     /* accepted before: `sequence` is the first one's */
    uint64_t sequence;
    int64_t accepted_at_us;
    uint64_t leaf_index;
    struct truc_bytes event; /* the event's bytes; borrowed until the callback returns */
    const char *text;        /* for refusals: what to do; borrowed */
};

/* One delivered event. Verified. Borrowed until the callback returns. */
struct truc_delivery {
    struct truc_bytes bytes;        /* the event as its sender made it */
    const struct truc_event *event; /* parsed */
    const char *sender;             /* agency that sealed it */
    uint64_t number;                /* in this agency's inbox */
    uint64_t sequence;              /* in the log */
    int64_t accepted_at_us;
    uint32_t attempt;
    bool replay, receipt_wanted;
    uint64_t lease;
};

struct truc_client_callbacks {
    void *context;
    void (*on_state)(void *context, enum truc_client_state state, truc_error error, const char *text);
    /* Every submitted event gets exactly one, in the life of its spool (an adapter that restarts gets those still
     * owed); only a crash between the callback and the end of its step makes it come again, under the same ticket. */
    void (*on_receipt)(void *context, const struct truc_receipt *receipt);
    /* Answer with truc_client_ack, _nack or _reject, now or later. Never called again for an event that was acked
     * through this spool: redeliveries of those are answered by the client. */
    void (*on_delivery)(void *context, const struct truc_delivery *delivery);
    /* The hub made acks durable (for counting); may be NULL. */
    void (*on_settled)(void *context, uint64_t first_number, uint32_t count);
    /* A lease was lost: the delivery comes again, a nack or reject of the old one is void (TRUC_E_NOT_FOUND). An ack
     * still counts: it is remembered, and the client answers the redelivery itself. May be NULL. */
    void (*on_stale)(void *context, uint64_t number);
};

/* Opens the spool and prepares; connects at the first step. Errors: TRUC_E_INVALID, TRUC_E_IO, TRUC_E_CORRUPT,
 * TRUC_E_LOCKED (another process has this spool), TRUC_E_UNKNOWN_KEY (the spool is of another log or agency). */
TRUC_MUST_USE truc_error truc_client_new(const struct truc_client_config *config,
                                         const struct truc_client_callbacks *callbacks, struct truc_client **out);
/* Says BYE, closes. What is in the spool stays there. Blocks at most 100 ms. */
void truc_client_free(struct truc_client **client);

/* Foreign loops: wait until this descriptor is readable or truc_client_timeout_ms() is over, then step. The descriptor
 * changes when the client reconnects: ask each time. -1 while there is no connection. */
int truc_client_fd(const struct truc_client *client);
int truc_client_timeout_ms(const struct truc_client *client);
/* Does what can be done without waiting: reads, verifies, calls back, seals, sends. Never blocks on the network; it
 * syncs the spool. Errors: TRUC_E_FULL (spool), TRUC_E_IO, TRUC_E_CORRUPT, TRUC_E_FORKED: the client is stopped. */
TRUC_MUST_USE truc_error truc_client_step(struct truc_client *client);
/* The blocking way: steps until `done(context)` is true (NULL: never), `timeout_ms` is over (-1: no limit:
 * TRUC_E_TIMEOUT), or an error. */
TRUC_MUST_USE truc_error truc_client_run(struct truc_client *client, bool (*done)(void *context), void *context,
                                         int timeout_ms);

/* Takes an encoded event into the spool; it is synced when the next step returns (or at truc_client_sync), and sealed
 * with others. `ticket` identifies it in its receipt and is stable over restarts. Errors: TRUC_E_MALFORMED (not an
 * event, or not of this agency), TRUC_E_TOO_LARGE, TRUC_E_FULL (spool: try later). */
TRUC_MUST_USE truc_error truc_client_submit(struct truc_client *client, struct truc_bytes event, uint64_t *ticket);
/* Syncs the spool now. After TRUC_OK what was submitted survives a crash and a power loss. */
TRUC_MUST_USE truc_error truc_client_sync(struct truc_client *client);
/* Events handed over and not yet receipted. */
uint64_t truc_client_pending(const struct truc_client *client);
enum truc_client_state truc_client_state(const struct truc_client *client);

/* Starts or stops taking deliveries (credit). */
TRUC_MUST_USE truc_error truc_client_receive(struct truc_client *client, bool on);
/* Durable answers to a delivery: the ack is in the spool before it is sent. Errors: TRUC_E_NOT_FOUND (not outstanding).
 */
TRUC_MUST_USE truc_error truc_client_ack(struct truc_client *client, uint64_t number);
TRUC_MUST_USE truc_error truc_client_nack(struct truc_client *client, uint64_t number, uint32_t delay_ms,
                                          const char *note);
TRUC_MUST_USE truc_error truc_client_reject(struct truc_client *client, uint64_t number, const char *note);
/* Subscribes this agency to a type or a prefix ending in '*'; durable at the hub when truc_client_pending_subscriptions
 * is 0. */
TRUC_MUST_USE truc_error truc_client_subscribe(struct truc_client *client, const char *type, const char *source_agency,
                                               bool remove);
uint32_t truc_client_pending_subscriptions(const struct truc_client *client);

/* Asks the hub for an event's evidence. The callback gets it verified, or NULL with a reason (TRUC_BAD_SEAL: what the
 * hub sent does not verify); once. Asked again on every new connection until it is answered. */
typedef void (*truc_evidence_fn)(void *context, truc_reason reason, const struct truc_evidence *evidence);
TRUC_MUST_USE truc_error truc_client_evidence(struct truc_client *client, uint64_t sequence,
                                              truc_evidence_fn on_evidence, void *context);
/* Asks for rows (PROTOCOL.md, "Queries"); the callback gets one JSON array a page, and last == true with the last page
 * or with a refusal. `arguments` are name, value, ..., NULL. */
typedef void (*truc_answer_fn)(void *context, truc_reason reason, const char *text, struct truc_bytes json, bool last);
TRUC_MUST_USE truc_error truc_client_query(struct truc_client *client, const char *what, const char *const *arguments,
                                           truc_answer_fn on_answer, void *context);

/* The newest checkpoint that this client has verified; size 0 before the first. */
void truc_client_checkpoint(const struct truc_client *client, struct truc_checkpoint *out);
/* A public key of another agency as the hub's registry or the profile gave it; NULL if unknown. Borrowed. */
const struct truc_key *truc_client_peer_key(const struct truc_client *client, const char *agency, const char *keyid);

#endif
