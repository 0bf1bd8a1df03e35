/* libtruc: an agency's side of the protocol. Connect, submit, receive.
 *
 * Nothing that was handed over *and is durable* is lost: an event goes to the spool (LMDB) and to the hub at the same
 * time, neither waits for the other, and it leaves the spool when its receipt has been verified. Durable is what was
 * handed over before a truc_client_mark that truc_client_synced has reached, and everything at a truc_client_sync that
 * returned TRUC_OK. After a crash the application hands over again what was neither durable nor receipted, **the same
 * bytes, salt and time included**: the hub may have taken them before the crash, and then answers with a receipt that
 * says `duplicate`. (Other bytes under the same id would be an ID_CONFLICT. An application that cannot make the same
 * bytes again calls truc_client_sync between submit and the next step: nothing leaves before that step.)
 *
 * Nothing unverified is handed out: seal, path, leaf, checkpoint and consistency are checked before a callback sees a
 * receipt or a delivery. After a crash of the adapter or an outage of the hub the client goes on where it was; the
 * hub's idempotency makes what was sent twice once.
 *
 * Threads: a client belongs to one thread; all its callbacks run inside truc_client_step() or truc_client_run() of that
 * thread. Beside it the client has a thread of its own that syncs the spool, and ZeroMQ has its own; they take no
 * signals. Two clients may live in two threads. A spool belongs to one client of one process at a time.
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
    bool spool_unsynced; /* true: events lie in memory for up to a second before they go to the disk (where their
                            receipt comes sooner, never). Acks and all else are as durable as ever, and the spool is
                            never damaged. For sources that can be read again from an earlier point. */
    uint32_t max_in_flight_seals; /* 0: 4 */
    uint32_t max_seal_events;     /* in one seal; 0: as many as the hub takes */
    /* Deliveries kept open: with the application or on their way to it. 0: 4096, 8 MiB, whichever is met first. An
     * application that takes long over each event sets fewer: what it holds longer than its lease comes again. */
    uint32_t receive_events;
    uint64_t receive_bytes;
    int64_t (*clock_us)(void *context); /* NULL: the system's; for tests */
    void *clock_context;
};

/* A client's settings as files in one folder ("profile"), as `truc agency add --profile` makes them:
 *   profile.yaml      agency, origin, endpoints, spool (relative to the folder)
 *   sign.pem          private signing key, PKCS#8
 *   transport.secret transport.public hub.public   Z85 text
 *   note.key          the hub's verifier key
 * Private files (sign.pem, transport.secret) that group or others have a right to are refused. */
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

/* Why what was handed over does not move on, or nothing more is taken. It passes: nothing is lost, and the client goes
 * on by itself when it does. */
struct truc_obstacle {
    bool spool_full; /* the disk under the own spool is full: submit returns TRUC_E_FULL, what was handed over goes on
                        to the hub but is not durable, deliveries pause. Tried again every second */
    truc_reason reason; /* what the hub said to the last seal: TRUC_OVERLOADED, TRUC_QUOTA, TRUC_STORAGE_FULL,
                           TRUC_CLOCK_UNSURE, or a transient one of a later version. Sent again until it is taken.
                           TRUC_ACCEPTED: nothing */
    const char *name;   /* "SPOOL_FULL" or the reason's name; "": no obstacle (any more). Static storage, as text */
    const char *text;   /* what to do about it */
    int64_t since_us;   /* wall clock */
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
    bool requeued; /* it was a dead letter of this inbox, and an administrator gave it back */
    uint64_t lease;
};

struct truc_client_callbacks {
    void *context;
    void (*on_state)(void *context, enum truc_client_state state, truc_error error, const char *text);
    /* Every submitted event gets exactly one, in the life of its spool (an adapter that restarts gets those still
     * owed); only a crash before the callback's consequences are durable makes it come again, under the same ticket. */
    void (*on_receipt)(void *context, const struct truc_receipt *receipt);
    /* Answer with truc_client_ack, _nack or _reject, now or later. Never called again for an event whose ack is durable
     * in this spool: redeliveries of those are answered by the client. */
    void (*on_delivery)(void *context, const struct truc_delivery *delivery);
    /* The hub made acks durable (for counting); may be NULL. */
    void (*on_settled)(void *context, uint64_t first_number, uint32_t count);
    /* A lease was lost: the delivery comes again, a nack or reject of the old one is void (TRUC_E_NOT_FOUND). An ack
     * still counts: it is remembered, and the client answers the redelivery itself. May be NULL. */
    void (*on_stale)(void *context, uint64_t number);
    /* An obstacle is there, is another one, or is over (name ""). May be NULL. */
    void (*on_obstacle)(void *context, const struct truc_obstacle *obstacle);
};

/* Opens the spool and prepares; connects at the first step. Errors: TRUC_E_INVALID, TRUC_E_IO, TRUC_E_CORRUPT,
 * TRUC_E_LOCKED (another process has this spool), TRUC_E_UNKNOWN_KEY (the spool is of another log or agency). */
TRUC_MUST_USE truc_error truc_client_new(const struct truc_client_config *config,
                                         const struct truc_client_callbacks *callbacks, struct truc_client **out);
/* Says BYE, closes. What is in the spool stays there. Blocks at most 100 ms. */
void truc_client_free(struct truc_client **client);

/* Foreign loops: wait until this descriptor is readable or truc_client_timeout_ms() is over, then step. It is the same
 * for the client's life, with a connection or without. */
int truc_client_fd(const struct truc_client *client);
int truc_client_timeout_ms(const struct truc_client *client);
/* Does what can be done without waiting: reads, verifies, calls back, seals, sends. Never blocks, on the network or on
 * the disk. Errors: TRUC_E_IO, TRUC_E_CORRUPT, TRUC_E_NOMEM, TRUC_E_FORKED: the client is stopped. */
TRUC_MUST_USE truc_error truc_client_step(struct truc_client *client);
/* The blocking way: steps until `done(context)` is true (NULL: never), `timeout_ms` is over (-1: no limit:
 * TRUC_E_TIMEOUT), or an error. */
TRUC_MUST_USE truc_error truc_client_run(struct truc_client *client, bool (*done)(void *context), void *context,
                                         int timeout_ms);

/* Takes an encoded event, copied; it is sealed with others and sent by the next steps, and becomes durable beside that.
 * `ticket` identifies it in its receipt, is stable over restarts and never given twice. Does not block, unless 32 MiB
 * wait for the disk: then for that. Errors: TRUC_E_MALFORMED (not an event, or not of this agency), TRUC_E_TOO_LARGE,
 * TRUC_E_FULL (the spool's quota, or the disk under it: see truc_obstacle; try again after a receipt, or later). */
TRUC_MUST_USE truc_error truc_client_submit(struct truc_client *client, struct truc_bytes event, uint64_t *ticket);
/* The same for an event that is not encoded yet (as for truc_event_encode): saves a copy and a reading of it.
 * Errors: those, and TRUC_E_INVALID where truc_event_encode would say so. */
TRUC_MUST_USE truc_error truc_client_submit_event(struct truc_client *client, const struct truc_event *event,
                                                  uint64_t *ticket);
/* Makes everything durable now and waits for it. After TRUC_OK what was submitted and answered survives a crash and a
 * power loss. TRUC_E_FULL: the disk is full; nothing is lost, and it is tried again. Other errors: as truc_client_step.
 */
TRUC_MUST_USE truc_error truc_client_sync(struct truc_client *client);
/* The same without waiting. A mark stands for everything submitted and answered so far; it is durable when
 * truc_client_synced has reached it, which a step sees (the descriptor becomes readable for it). Taking one asks for it
 * to be soon: milliseconds, where otherwise writes gather for up to 100. Marks are of one client and never fall. */
uint64_t truc_client_mark(struct truc_client *client);
uint64_t truc_client_synced(const struct truc_client *client);
/* What is in the way now, as on_obstacle tells it. false: nothing, name and text are "". */
bool truc_client_obstacle(const struct truc_client *client, struct truc_obstacle *out);
/* Events handed over and not yet receipted. */
uint64_t truc_client_pending(const struct truc_client *client);
enum truc_client_state truc_client_state(const struct truc_client *client);

/* Starts or stops taking deliveries (credit). */
TRUC_MUST_USE truc_error truc_client_receive(struct truc_client *client, bool on);
/* Answers to a delivery. An ack goes to the hub when it is durable in the spool, many together; so does a reject whose
 * sender wants a signed delivery receipt. Errors: TRUC_E_NOT_FOUND (not outstanding). */
TRUC_MUST_USE truc_error truc_client_ack(struct truc_client *client, uint64_t number);
TRUC_MUST_USE truc_error truc_client_nack(struct truc_client *client, uint64_t number, uint32_t delay_ms,
                                          const char *note);
TRUC_MUST_USE truc_error truc_client_reject(struct truc_client *client, uint64_t number, const char *note);
/* Subscribes this agency to a type or a prefix ending in '*'; durable at the hub when truc_client_pending_subscriptions
 * is 0. What is not settled yet is kept in the spool and asked for again after a restart; the same wish again while it
 * is pending is one wish; one that the hub refuses (too many of this agency) is over as well, with a line in the log.
 * Errors: TRUC_E_INVALID, TRUC_E_NOMEM. */
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
