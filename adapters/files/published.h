/* The list of deliveries whose files were shown, or were about to be, and whose acks may not be durable yet. */
#ifndef TRUC_FILES_PUBLISHED_H
#define TRUC_FILES_PUBLISHED_H

#include "adapters/files/folder.h"

/* Entries that a crash left and that the hub never asks about again (their acks were durable after all) would gather:
 * the oldest go. It is far more than a hub has open with one client, so none goes that is still needed. */
#define PUBLISHED_MAX 131072u

struct published_entry {
    uint64_t number, sequence;
    uint64_t answered; /* the client's mark of its ack; 0: not yet */
};

struct published {
    struct published_entry *entries; /* by number */
    size_t count, capacity;
};

/* A missing list is an empty one. Errors: TRUC_E_CORRUPT, TRUC_E_IO, TRUC_E_NOMEM. */
TRUC_MUST_USE truc_error published_load(const struct folder *folder, struct published *out);
void published_close(struct published *published);
struct published_entry *published_find(const struct published *published, uint64_t number, uint64_t sequence);
/* Errors: TRUC_E_NOMEM. */
TRUC_MUST_USE truc_error published_add(struct published *published, uint64_t number, uint64_t sequence);
void published_remove(struct published *published, uint64_t number);
void published_forget(struct published *published, uint64_t first, uint64_t last);
/* Drops what was answered with a lower mark: those acks are durable. */
void published_forget_answered(struct published *published, uint64_t round);
/* Makes it durable, with its folder. Errors as folder_put. */
TRUC_MUST_USE truc_error published_save(const struct published *published, const struct folder *folder);

#endif
