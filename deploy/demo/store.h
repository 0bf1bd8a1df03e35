/* What an agency of the demo has sent and received, in its own LMDB: the count of what was lost or doubled is taken
 * from here and not from what the hub says. One write transaction a turn of the loop, synced at its commit. */
#ifndef DEMO_STORE_H
#define DEMO_STORE_H

#include "truc/event.h"

#include <stdio.h>

struct demo_store;

/* Makes the folder if it is missing. Errors: TRUC_E_IO, TRUC_E_CORRUPT, TRUC_E_NOMEM. */
TRUC_MUST_USE truc_error demo_store_open(const char *path, struct demo_store **out);
void demo_store_close(struct demo_store **store);
/* Makes everything since the last commit durable. Blocks on the disk. Errors: TRUC_E_IO, TRUC_E_FULL. */
TRUC_MUST_USE truc_error demo_store_commit(struct demo_store *store);

/* An event is about to be handed to the client. */
TRUC_MUST_USE truc_error demo_store_sent(struct demo_store *store, const char *agency, const struct truc_event *event);

struct demo_receipt {
    unsigned reason; /* truc_reason */
    bool duplicate;
    uint64_t sequence;
    int64_t accepted_at_us;
};
/* Errors: TRUC_E_NOT_FOUND: a receipt for something that was never sent. */
TRUC_MUST_USE truc_error demo_store_receipted(struct demo_store *store, const char *agency,
                                              const struct truc_event *event, const struct demo_receipt *receipt);

struct demo_delivery {
    const char *sender;
    uint64_t number, sequence;
    int64_t accepted_at_us;
    uint32_t attempt;
};
/* *count: how often this event has now been handed to the application, 1 the first time. */
TRUC_MUST_USE truc_error demo_store_got(struct demo_store *store, const struct truc_event *event,
                                        const struct demo_delivery *delivery, uint32_t *count);

/* All records, one a line, tabs between:
 *   sent KEY SUBMITTED ACCEPTED DUPLICATES REFUSED REASON SEQUENCE ACCEPTED_AT ID TYPE SUBJECT RECIPIENTS TIME
 *   got  KEY COUNT NUMBER SEQUENCE ACCEPTED_AT ATTEMPT SENDER ID TYPE SUBJECT TIME */
TRUC_MUST_USE truc_error demo_store_dump(struct demo_store *store, FILE *out);

#endif
