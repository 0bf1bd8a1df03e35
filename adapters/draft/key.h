/* The secret of an adapter that makes events out of other people's data.
 *
 * Ids and salts that the data does not bring are derived from it under this key, so that they are the same at every run
 * (what is sent again is the same event to the hub), and yet tell nobody anything about the content. */
#ifndef TRUC_DRAFT_KEY_H
#define TRUC_DRAFT_KEY_H

#include "truc/error.h"

#include <stdint.h>

struct draft_key {
    uint8_t bytes[32];
};

/* Reads the key, or makes it where there is none (random, 0600, synced). A file of another size is left as it is.
 * Errors: TRUC_E_IO (errno), TRUC_E_CORRUPT (wrong size), TRUC_E_CRYPTO, TRUC_E_NOMEM. */
TRUC_MUST_USE truc_error draft_key_open(const char *path, struct draft_key *out);

#endif
