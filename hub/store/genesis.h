/* The log's first row. */
#ifndef HUB_STORE_GENESIS_H
#define HUB_STORE_GENESIS_H

#include "hub/store/home.h"
#include "truc/event.h"

struct hub_founder {
    char agency[TRUC_AGENCY_MAX + 1];
    uint8_t transport[32];
    struct truc_key *key; /* private */
};

/* 1 to 255 of a-z A-Z 0-9 . - _ / */
bool hub_origin_is_valid(struct truc_bytes origin);

/* Makes journal and key slots in `folder`, with the genesis seal, signed by the first founder, as row 0.
 * Errors: as of what it writes; `why` gets a sentence where there is one. */
TRUC_MUST_USE truc_error hub_genesis_write(const char *folder, const char *origin, struct truc_bytes note_key,
                                           const struct hub_founder *founders, size_t count, int64_t now_us,
                                           char why[256]);

#endif
