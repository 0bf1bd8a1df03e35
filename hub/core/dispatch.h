/* The dispatcher: who gets which event next. Volatile (a restart begins it anew from the inboxes), pure, deterministic.
 *
 *   WAITING --take--> LEASED --ack--> SETTLING --(journaled)--> gone
 *      ^                 |--nack, lease over, session lost--> RETURNING --(journaled)--> WAITING or gone (dead)
 *
 * Order per (inbox, subject): entries of a subject are leased in order, all to the session that holds its first
 * unsettled one; several may be in flight on that session. When one is returned, the later ones of its subject lose
 * their lease (they were not nacked: their attempts do not count) and wait behind it. A subject whose head waits
 * (backoff) or is dead and held blocks only itself. Entries without subject are free.
 *
 * Only a bounded window of each inbox is held in memory; the rest waits in the core's posting blocks. */
#ifndef HUB_CORE_DISPATCH_H
#define HUB_CORE_DISPATCH_H

#include "hub/core/core.h"

struct hub_dispatch;

struct hub_dispatch_limits {
    uint32_t window;        /* entries held per inbox; 0: 65536 */
    int64_t lease_us;       /* 0: 60 s */
    uint32_t credit_events; /* outstanding credit of a session is cut to these; 0: the protocol's limits */
    uint64_t credit_bytes;
    uint64_t seed; /* random: subjects are chosen by senders, so their table must not be predictable */
};

/* The core is borrowed for the dispatcher's life; it is only read. `lease_base` must be greater than every lease of an
 * earlier run (the shell uses the count of boots << 40). */
TRUC_MUST_USE truc_error hub_dispatch_new(struct hub_core *core, const struct hub_dispatch_limits *limits,
                                          uint64_t lease_base, struct hub_dispatch **out);
void hub_dispatch_free(struct hub_dispatch **dispatch);

/* Every effect of every applied row goes here, in order, at once after hub_core_end_row. */
TRUC_MUST_USE truc_error hub_dispatch_effect(struct hub_dispatch *dispatch, const struct hub_effect *effect);

/* Sessions of an agency share its inbox. `session` is the shell's number, never used twice. */
TRUC_MUST_USE truc_error hub_dispatch_open(struct hub_dispatch *dispatch, uint64_t session, uint32_t agency);
/* Adds credit; outstanding credit is cut to the limits. */
void hub_dispatch_credit(struct hub_dispatch *dispatch, uint64_t session, uint32_t events, uint64_t bytes);
/* A paused session is never ready; what it has stays its. The shell pauses whoever does not take what was sent. */
void hub_dispatch_pause(struct hub_dispatch *dispatch, uint64_t session, bool paused);
uint32_t hub_dispatch_credit_left(const struct hub_dispatch *dispatch, uint64_t session);

/* One event to be delivered now. */
struct hub_delivery {
    uint64_t session, lease;
    struct hub_posting posting;
    uint32_t attempt; /* 1 the first time; posting.attempts + 1, and one more where the last start may have seen it; at
                       * least 2 where it was leased before in this run, or requeued */
};
/* Leases what `session` may get within its credit, at most `max` events and max_bytes (at least one event, if any fits
 * the credit), all under one new lease. *count 0: nothing now. */
TRUC_MUST_USE truc_error hub_dispatch_take(struct hub_dispatch *dispatch, uint64_t session, int64_t now_us,
                                           uint64_t max_bytes, struct hub_delivery *out, size_t max, size_t *count);
/* The next session that has credit and something to get, round robin; 0: none. */
uint64_t hub_dispatch_ready(struct hub_dispatch *dispatch, int64_t now_us);

/* Inputs that the dispatcher proposes; the shell journals them. Ranges are sorted and joined; zero-initialise. */
struct hub_ranges {
    struct hub_range *items;
    size_t count, capacity;
};
void hub_ranges_close(struct hub_ranges *ranges);
/* Adds, keeping the set sorted and joined; range.count >= 1. Errors: TRUC_E_NOMEM. */
TRUC_MUST_USE truc_error hub_ranges_add(struct hub_ranges *ranges, struct hub_range range);

/* Numbers first .. first + count - 1 under `lease`: those that are validly leased to the session become SETTLING and
 * are added to `valid` (for an ACK input), the others to `stale`. */
TRUC_MUST_USE truc_error hub_dispatch_ack(struct hub_dispatch *dispatch, uint64_t session, uint64_t lease,
                                          struct hub_range range, struct hub_ranges *valid, struct hub_ranges *stale);
/* true: valid, the entry is RETURNING and a NACK input must be journaled; false: stale. */
bool hub_dispatch_nack(struct hub_dispatch *dispatch, uint64_t session, uint64_t lease, uint64_t number);
/* Whether the number is (still) leased to the session under that lease. */
bool hub_dispatch_is_leased(const struct hub_dispatch *dispatch, uint64_t session, uint64_t lease, uint64_t number);
/* The session is gone: its leased entries are RETURNING; a RELEASE input for `released` must be journaled. */
TRUC_MUST_USE truc_error hub_dispatch_close(struct hub_dispatch *dispatch, uint64_t session,
                                            struct hub_ranges *released);

/* A journal that rejected inputs (storage full): the shell proposes them again later; nothing changes here. */

/* Something is due at or before now: leases over (RELEASE) or entries expired (EXPIRE) of one agency; *agency 0:
 * nothing (more). Entries given out here are RETURNING until their input is applied. */
TRUC_MUST_USE truc_error hub_dispatch_due(struct hub_dispatch *dispatch, int64_t now_us, uint32_t *agency,
                                          enum hub_input_kind *kind, struct hub_ranges *out);
/* When to ask again; INT64_MAX: not before something happens. */
int64_t hub_dispatch_next_us(struct hub_dispatch *dispatch);

/* For recalls: is the event of that sequence leased (or was it, in this run) in the agency's inbox? */
bool hub_dispatch_in_flight(const struct hub_dispatch *dispatch, uint32_t agency, uint64_t sequence);
/* A recall of that event was admitted and is not applied yet: from now on it is not leased to those whom the recall
 * means (one hold for each of its names), whether it is in their inboxes already or still to come, and the later ones
 * of its subject wait behind it. What is leased already stays so: ask hub_dispatch_in_flight first. Holds are counted;
 * each must be ended by one unhold, after the effects of the recall's row, whatever it decided, or when its seal is
 * refused. Errors: TRUC_E_NOMEM. */
TRUC_MUST_USE truc_error hub_dispatch_hold(struct hub_dispatch *dispatch, uint64_t sequence, struct hub_meant meant);
/* Nothing happens where nothing is held. Errors: TRUC_E_NOMEM. */
TRUC_MUST_USE truc_error hub_dispatch_unhold(struct hub_dispatch *dispatch, uint64_t sequence, struct hub_meant meant);
/* Entries held in memory, for bounds and status. */
size_t hub_dispatch_entries(const struct hub_dispatch *dispatch);

#endif
