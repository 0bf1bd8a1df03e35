/* The dispatcher's insides, shared by dispatch*.c only.
 *
 * One entry stands for one undelivered (or held) number of an inbox. Its state changes in dispatch_entry.c only:
 *
 *   WAITING --lease--> LEASED --ack--> SETTLING
 *    ^ ^ |               | |nack, lease over, session lost
 *    | | |               | +--> RETURNING --(effect)--> WAITING, HELD or gone
 *    | | |               +--revoked: an earlier one of its subject came back--> WAITING
 *    | | +--(effect DEAD)--> HELD
 *    | +-----(requeued)------ |
 *    +--- any state is left for good by the effects SETTLED, RECALLED, DEAD without hold; HELD also when its time is
 * over
 *
 * A subject is a list of its entries by number. `cursor` is the first that is neither LEASED nor SETTLING: the only one
 * that may be leased, and behind it nothing is LEASED. While leases run (in_flight) it may go only to `holder`.
 *
 * Heaps hold (key, number) and are never searched: what changed is pushed again, what is stale is thrown away when it
 * comes up, and compaction keeps each heap at no more than twice the entries of its inbox.
 *
 * While a subject is held, its later entries that nobody has seen stay out of memory; `spill_first` says from where to
 * look for them again. So one held subject with a million events behind it neither fills the window nor the memory. */
#ifndef HUB_CORE_DISPATCH_INTERNAL_H
#define HUB_CORE_DISPATCH_INTERNAL_H

#include "hub/core/dispatch.h"

/* A lack of memory is an error, not an exit. */
#define HASH_NONFATAL_OOM 1
#define uthash_nonfatal_oom(element) ((element)->unhashed = true)
#include <uthash.h>

#define DISPATCH_WINDOW 65536u
#define DISPATCH_LEASE_US (INT64_C(60) * 1000000)
#define DISPATCH_CREDIT_EVENTS 65536u
#define DISPATCH_CREDIT_BYTES (UINT64_C(64) << 20)
#define DISPATCH_LOAD_STEP 1024   /* postings looked at in one go for one inbox */
#define DISPATCH_LOAD_ROUNDS 16   /* such steps in one call from outside */
#define DISPATCH_EXPIRE_MAX 4096u /* numbers proposed in one EXPIRE */

/* ---- building stones: dispatch_parts.c ------------------------------------------------------------------------- */

/* Things of one size, given back to a free list; the memory is returned when the pool is closed. */
struct dispatch_pool {
    size_t size;
    void *free;
    void *chunks;
};
void dispatch_pool_open(struct dispatch_pool *pool, size_t size);
void dispatch_pool_close(struct dispatch_pool *pool);
void *dispatch_pool_take(struct dispatch_pool *pool); /* zeroed; NULL: no memory */
void dispatch_pool_give(struct dispatch_pool *pool, void *thing);

struct dispatch_item {
    int64_t key; /* a time, or the number itself */
    uint64_t number;
};
struct dispatch_heap {
    struct dispatch_item *items;
    size_t count, capacity;
};
void dispatch_heap_close(struct dispatch_heap *heap);
TRUC_MUST_USE truc_error dispatch_heap_push(struct dispatch_heap *heap, struct dispatch_item item);
void dispatch_heap_pop(struct dispatch_heap *heap); /* not empty */
/* Puts the items in order again after some were taken out of the array. */
void dispatch_heap_order(struct dispatch_heap *heap);

/* Numbers first .. last, first <= last, become part of the set. */
TRUC_MUST_USE truc_error dispatch_ranges_add(struct hub_ranges *ranges, uint64_t first, uint64_t last);

/* ---- what is held ---------------------------------------------------------------------------------------------- */

enum dispatch_state { ENTRY_WAITING = 0, ENTRY_LEASED, ENTRY_SETTLING, ENTRY_RETURNING, ENTRY_HELD };

struct dispatch_frame;
struct dispatch_subject;

struct dispatch_entry {
    struct hub_posting posting;
    struct dispatch_entry *by_number, *by_sequence; /* chains of the inbox's tables */
    struct dispatch_entry *next, *previous;         /* of its subject */
    struct dispatch_entry *frame_next, *frame_previous;
    struct dispatch_subject *subject; /* NULL: unordered */
    struct dispatch_frame *frame;     /* LEASED */
    enum dispatch_state state;
    uint64_t mark; /* of the last compaction that kept it */
    bool seen;     /* was leased in this run: it stands in by_sequence */
};

struct dispatch_subject {
    uint64_t subject;
    struct dispatch_subject *chain;
    struct dispatch_entry *head, *tail, *cursor;
    uint64_t holder; /* session, while in_flight > 0 */
    uint32_t in_flight, held;
    uint64_t spill_first; /* 0: nothing spilled; only while held > 0 */
};

/* What one take leased. Its entries stand by number. */
struct dispatch_frame {
    uint64_t lease;
    int64_t until_us;
    struct dispatch_session *session;
    struct dispatch_entry *first, *last;
    uint32_t count;
    struct dispatch_frame *next, *previous;                 /* all frames, oldest first */
    struct dispatch_frame *session_next, *session_previous; /* of the session */
    bool unhashed;
    UT_hash_handle hh;
};

struct dispatch_inbox;

struct dispatch_session {
    uint64_t session;
    struct dispatch_inbox *inbox;
    uint32_t credit_events;
    uint64_t credit_bytes;
    bool paused;
    struct dispatch_heap ready; /* numbers that came up for others but belong to it */
    struct dispatch_frame *frames;
    struct dispatch_session *next, *previous; /* ring of its inbox */
    bool unhashed;
    UT_hash_handle hh;
};

struct dispatch_inbox {
    uint32_t agency;
    uint64_t scan; /* everything below is in memory, spilled, or needs no delivery */
    size_t entries, held, seen, subjects;
    struct dispatch_entry **by_number;
    struct dispatch_entry **by_sequence;
    struct dispatch_subject **by_subject;
    size_t number_slots, sequence_slots, subject_slots; /* powers of two */
    struct dispatch_heap ready, wake, expiry;
    struct dispatch_session *sessions; /* the one whose turn it is */
    struct dispatch_inbox *active_next, *load_next;
    bool active, load, behind;
};

/* A recall of that event is under way: dispatch_hold.c. */
struct dispatch_hold {
    struct dispatch_hold_key {
        uint64_t sequence;
        uint32_t agency, group; /* as struct hub_meant */
    } key;
    size_t count; /* recalls under way */
    bool unhashed;
    UT_hash_handle hh;
};

/* What came up and was turned away because of a hold. */
struct dispatch_aside {
    struct dispatch_place {
        uint32_t agency;
        uint64_t number;
    } * items;
    size_t count, capacity;
};

struct dispatch_queue {
    struct dispatch_inbox *first, *last;
};

struct hub_dispatch {
    struct hub_core *core;
    struct hub_dispatch_limits limits;
    uint64_t last_lease;
    int64_t now_us;    /* the latest that was heard; never goes back */
    int64_t wake_us;   /* nothing is to be woken before */
    int64_t expire_us; /* nothing expires before */
    size_t entries;
    uint64_t mark;      /* the present compaction's */
    truc_error failure; /* of a call that could not return it: every later one does */
    struct dispatch_inbox **inboxes;
    size_t inbox_count; /* by agency number; [0] is unused */
    struct dispatch_queue active, load;
    struct dispatch_session *sessions;
    struct dispatch_frame *frames; /* by lease */
    struct dispatch_hold *holds;
    struct dispatch_aside aside;
    struct dispatch_frame *oldest, *newest;
    struct dispatch_pool entry_pool, subject_pool, frame_pool;
};

/* Later by `more`, or never. */
static inline int64_t dispatch_after(int64_t at_us, int64_t more)
{
    return at_us > INT64_MAX - more ? INT64_MAX : at_us + more;
}

/* ---- inboxes and entries: dispatch_entry.c --------------------------------------------------------------------- */

TRUC_MUST_USE truc_error dispatch_inbox_open(struct hub_dispatch *dispatch, uint32_t agency,
                                             struct dispatch_inbox **out);
struct dispatch_inbox *dispatch_inbox_find(const struct hub_dispatch *dispatch, uint32_t agency);
struct dispatch_entry *dispatch_entry_find(const struct dispatch_inbox *inbox, uint64_t number);
bool dispatch_entry_expired(const struct hub_dispatch *dispatch, const struct dispatch_entry *entry);
/* May it be leased now (to the holder of its subject, if that has one), unless a hold stops it? */
bool dispatch_entry_ready(const struct hub_dispatch *dispatch, const struct dispatch_entry *entry);
void dispatch_mark_active(struct hub_dispatch *dispatch, struct dispatch_inbox *inbox);

/* Takes a posting into memory that is not there: PENDING, or DEAD and holding its subject; others are passed over. */
TRUC_MUST_USE truc_error dispatch_entry_add(struct hub_dispatch *dispatch, struct dispatch_inbox *inbox,
                                            const struct hub_posting *posting);
/* A posting that is in memory has changed to PENDING, or DEAD and holding its subject: back to its place. */
TRUC_MUST_USE truc_error dispatch_entry_place(struct hub_dispatch *dispatch, struct dispatch_inbox *inbox,
                                              struct dispatch_entry *entry, const struct hub_posting *posting);
TRUC_MUST_USE truc_error dispatch_entry_remove(struct hub_dispatch *dispatch, struct dispatch_inbox *inbox,
                                               struct dispatch_entry *entry);
/* Is an entry of that sequence in memory that was leased in this run? */
bool dispatch_sequence_seen(const struct dispatch_inbox *inbox, uint64_t sequence);
TRUC_MUST_USE truc_error dispatch_entry_seen(struct dispatch_inbox *inbox, struct dispatch_entry *entry);
/* WAITING and ready -> LEASED, at the end of the frame. What stands behind it may become ready. */
TRUC_MUST_USE truc_error dispatch_entry_lease(struct hub_dispatch *dispatch, struct dispatch_inbox *inbox,
                                              struct dispatch_entry *entry, struct dispatch_frame *frame);
void dispatch_entry_settling(struct hub_dispatch *dispatch, struct dispatch_entry *entry);
/* LEASED -> RETURNING, out of its frame. The caller then has the later ones of its subject step back. */
void dispatch_entry_return(struct hub_dispatch *dispatch, struct dispatch_entry *entry);
void dispatch_entry_step_back(struct hub_dispatch *dispatch, struct dispatch_entry *entry);
/* Are entries of the subject in memory that must wait for that number? */
bool dispatch_comes_before(const struct hub_dispatch *dispatch, struct dispatch_inbox *inbox, uint64_t subject,
                           uint64_t number);
/* Does the posting, DEAD, hold its subject back now? */
bool dispatch_holds(const struct hub_dispatch *dispatch, const struct hub_posting *posting);

/* ---- holds: dispatch_hold.c ------------------------------------------------------------------------------------ */

/* Does a hold keep back the entry, which could be leased but for that? Then it is to be put aside. */
bool dispatch_hold_stops(const struct hub_dispatch *dispatch, const struct dispatch_inbox *inbox,
                         const struct dispatch_entry *entry);
/* Comes up again when a hold ends. Errors: TRUC_E_NOMEM. */
TRUC_MUST_USE truc_error dispatch_put_aside(struct hub_dispatch *dispatch, const struct dispatch_inbox *inbox,
                                            uint64_t number);
void dispatch_holds_close(struct hub_dispatch *dispatch);

/* ---- frames: dispatch_lease.c ---------------------------------------------------------------------------------- */

/* What the session would get next, and the heap on whose top it lies; NULL: nothing, or dispatch->failure. */
struct dispatch_entry *dispatch_peek(struct hub_dispatch *dispatch, struct dispatch_session *session,
                                     struct dispatch_heap **from);
struct dispatch_session *dispatch_session_find(const struct hub_dispatch *dispatch, uint64_t session);
void dispatch_frame_drop(struct hub_dispatch *dispatch, struct dispatch_entry *entry); /* entry leaves its frame */

/* ---- window and timers: dispatch_window.c ---------------------------------------------------------------------- */

/* The inbox may have something to load, and room for it. */
void dispatch_want_load(struct hub_dispatch *dispatch, struct dispatch_inbox *inbox);
TRUC_MUST_USE truc_error dispatch_push_ready(struct hub_dispatch *dispatch, struct dispatch_inbox *inbox,
                                             uint64_t number);
TRUC_MUST_USE truc_error dispatch_push_wake(struct hub_dispatch *dispatch, struct dispatch_inbox *inbox, int64_t at_us,
                                            uint64_t number);
TRUC_MUST_USE truc_error dispatch_push_expiry(struct hub_dispatch *dispatch, struct dispatch_inbox *inbox,
                                              int64_t at_us, uint64_t number);
/* Forgets stale items of a heap of ready numbers when they are too many. */
void dispatch_trim_ready(struct hub_dispatch *dispatch, struct dispatch_inbox *inbox, struct dispatch_heap *heap);
/* Moves the clock: wakes what waited for it, loads into windows that have room. */
TRUC_MUST_USE truc_error dispatch_advance(struct hub_dispatch *dispatch, int64_t now_us);
/* Numbers of the inbox that are over, at most DISPATCH_EXPIRE_MAX, go to `out`; asked about again a lease time later.
 */
TRUC_MUST_USE truc_error dispatch_expired(struct hub_dispatch *dispatch, struct dispatch_inbox *inbox,
                                          struct hub_ranges *out, bool *any);

#endif
