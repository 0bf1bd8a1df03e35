/* Recalls on their way through the journal. Volatile and pure.
 *
 * What a recall decides must still be true when it is decided, a sync later: whoever had the event in hand when the
 * recall was admitted is named in its facts, and whoever had not must not get it meanwhile. So from its admission to
 * its decision the event is held for those whom the recall means.
 *
 *              its event is in the log
 *   admitted -------------------------> HOLDING --its row is applied--> decided, the holds end
 *      |  |                              ^   |
 *      |  | is not, or not yet           |   '--its seal is refused (storage full)--> the holds end
 *      |  '--> LOOKING --event's row applied'
 *      |          |
 *      |          '--its row is applied (its event was in the same row: posted and taken out before anybody could get
 * it; |             or there is none: ILLEGAL_TRANSITION), or its seal is refused--> nothing was held
 *      '--> HOPELESS --> nothing was held
 *         the recall will be refused for a reason of its own, or is beyond what a seal may recall
 *
 * LOOKING is for an event whose row is still being written when its recall is admitted: it is looked for again after
 * the effects of each row, before anything is leased. Who has it need not be asked again: nobody can. A seal that was
 * refused and comes again begins anew. */
#ifndef HUB_CORE_RECALL_H
#define HUB_CORE_RECALL_H

#include "hub/core/dispatch.h"

enum hub_recall_state { HUB_RECALL_LOOKING, HUB_RECALL_HOLDING, HUB_RECALL_HOPELESS };

struct hub_recall {
    enum hub_recall_state state;
    struct hub_event_facts *facts; /* lent until the recalls end */
    uint64_t sequence;             /* of the event, once it was found */
    struct hub_meant *held;        /* HOLDING: a hold on the event for each */
    size_t held_count;
    uint8_t *in_hand; /* what facts->in_hand shows */
};

/* Those of one commit. Zero-initialise. */
struct hub_recalls {
    struct hub_recall *items;
    size_t count, capacity;
};

/* A seal of agency `sender` with these events was admitted: for each of its recalls takes hold of the recalled event,
 * or looks for it, and sets facts->in_hand. Malformed ones and other events are passed over: they are refused, or no
 * recalls, whoever has what. Errors: TRUC_E_NOMEM and the core's port's; the set is then to be ended as ever. */
TRUC_MUST_USE truc_error hub_recalls_begin(struct hub_recalls *recalls, struct hub_core *core,
                                           struct hub_dispatch *dispatch, uint32_t sender, int64_t now_us,
                                           struct hub_event_facts *events, uint32_t count);
/* A row was applied and its effects went to the dispatcher; to be called before anything is leased. Errors as above. */
TRUC_MUST_USE truc_error hub_recalls_look_again(struct hub_recalls *recalls, struct hub_core *core,
                                                struct hub_dispatch *dispatch);
/* All are decided (after the effects of their row), or their seals are to be refused. facts->in_hand ends with it.
 * Errors: TRUC_E_NOMEM. */
TRUC_MUST_USE truc_error hub_recalls_end(struct hub_recalls *recalls, struct hub_dispatch *dispatch);
/* Gives the memory back; what is held stays so (the dispatcher's life ends too). */
void hub_recalls_close(struct hub_recalls *recalls);

#endif
