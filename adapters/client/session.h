/* The client's side of a session as a pure state machine: messages, time and the application's calls go in; messages,
 * rows for the store and callbacks come out. No sockets, no clock, no LMDB: a simulator drives exactly this code.
 *
 *              start                  WELCOME verified
 *      IDLE ---------> CONNECTING -----------------------> OPEN
 *                       ^   |  link lost, BYE, silence      |
 *        backoff over   |   v                               |
 *                      WAITING <----------------------------+
 *      CONNECTING, OPEN --- refused for good, log forked ---> STOPPED
 *
 * Functions return failures of ours (store, memory, crypto): they end the client. What a peer does wrong ends the link.
 * The one rule for whoever drives it: tell it by client_session_synced how far the store is durable; what must not
 * leave before that does not reach the outbox (acks, rejects that owe a receipt, seals with events of this library's
 * own). A store without marks is committed before the outbox is sent. */
#ifndef TRUC_CLIENT_SESSION_H
#define TRUC_CLIENT_SESSION_H

#include "adapters/client/outbox.h"
#include "adapters/client/store.h"
#include "truc/client.h"

struct client_session;

struct client_session_config {
    const char *agency, *origin, *software, *note_key;
    struct truc_key *signing_key; /* its owner count is raised */
    size_t endpoint_count;
    uint32_t max_in_flight_seals, receive_events;
    uint32_t max_seal_events; /* own limit below the hub's; 0: none */
    uint64_t receive_bytes;
    struct client_store store;
    truc_error (*random)(void *out, size_t size); /* truc_random, or a simulator's */
};

/* Reads what the store holds and continues it. Errors: as truc_client_new. */
TRUC_MUST_USE truc_error client_session_new(const struct client_session_config *config,
                                            const struct truc_client_callbacks *callbacks, struct client_session **out);
void client_session_free(struct client_session **session);

/* Before anything else in a step: monotonic time for timers, wall clock for what is signed; microseconds. */
void client_session_clock(struct client_session *session, int64_t now_us, int64_t wall_us);

/* ---- transport ---- */
/* 0: no connection is wanted. Otherwise the number of the connection that is wanted; a new number: close the old one.
 */
uint64_t client_session_link(const struct client_session *session);
/* The endpoint's place in the list, for the present link. */
size_t client_session_endpoint(const struct client_session *session);
/* The transport lost the present link. `refused`: the hub does not know our transport key. */
TRUC_MUST_USE truc_error client_session_link_lost(struct client_session *session, bool refused, const char *why);
/* One message of `count` parts. The parts may be overwritten when it returns. */
TRUC_MUST_USE truc_error client_session_message(struct client_session *session, const struct truc_bytes *parts,
                                                size_t count);
/* Timers, seals, credit, acks: fills the outbox. After the application's calls and after messages. */
TRUC_MUST_USE truc_error client_session_work(struct client_session *session);
struct client_outbox *client_session_outbox(struct client_session *session);
/* When work has to be called again at the latest (same clock as now_us); INT64_MAX: not before something happens. */
int64_t client_session_deadline(const struct client_session *session);
/* An orderly end: the answers that are durable and BYE go to the outbox, the link stays wanted until the transport is
 * closed. */
TRUC_MUST_USE truc_error client_session_bye(struct client_session *session);
/* true once since the last call: something was written that should be durable soon even where the application gave up
 * syncing its own events (acks, heads). */
bool client_session_take_urgent(struct client_session *session);
/* What was written up to this mark of the store is durable. `full`: the disk behind the store is full: nothing more is
 * asked for until it is not. Before client_session_work. */
void client_session_synced(struct client_session *session, uint64_t mark, bool full);
/* The mark that makes durable what was handed over and answered so far; how far it is. */
uint64_t client_session_mark(const struct client_session *session);
bool client_session_obstacle(const struct client_session *session, struct truc_obstacle *out);

/* ---- the application's side: see truc/client.h ---- */
TRUC_MUST_USE truc_error client_session_submit(struct client_session *session, struct truc_bytes event, uint8_t whose,
                                               uint64_t *ticket);
TRUC_MUST_USE truc_error client_session_submit_event(struct client_session *session, const struct truc_event *event,
                                                     uint8_t whose, uint64_t *ticket);
uint64_t client_session_pending(const struct client_session *session);
enum truc_client_state client_session_state(const struct client_session *session);
/* TRUC_OK unless STOPPED. */
truc_error client_session_error(const struct client_session *session);
void client_session_receive(struct client_session *session, bool on);
TRUC_MUST_USE truc_error client_session_ack(struct client_session *session, uint64_t number);
TRUC_MUST_USE truc_error client_session_nack(struct client_session *session, uint64_t number, uint32_t delay_ms,
                                             const char *note);
TRUC_MUST_USE truc_error client_session_reject(struct client_session *session, uint64_t number, const char *note);
TRUC_MUST_USE truc_error client_session_subscribe(struct client_session *session, const char *type,
                                                  const char *source_agency, bool remove);
uint32_t client_session_pending_subscriptions(const struct client_session *session);
TRUC_MUST_USE truc_error client_session_evidence(struct client_session *session, uint64_t sequence,
                                                 truc_evidence_fn on_evidence, void *context);
TRUC_MUST_USE truc_error client_session_query(struct client_session *session, const char *what,
                                              const char *const *arguments, truc_answer_fn on_answer, void *context);
void client_session_checkpoint(const struct client_session *session, struct truc_checkpoint *out);
const struct truc_key *client_session_peer_key(const struct client_session *session, const char *agency,
                                               const char *keyid);

#endif
