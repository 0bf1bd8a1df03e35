/* Keys on disk, as agencies get them: signing key pairs, transport key pairs, whole client profiles. */
#ifndef HUB_ADMIN_KEYS_H
#define HUB_ADMIN_KEYS_H

#include "hub/admin/table.h"
#include "truc/client.h"
#include "truc/config.h"

#define ADMIN_Z85_SIZE 41 /* with NUL */

struct admin_new_keys {
    struct truc_key *signing; /* free it */
    uint8_t transport[32];
    char transport_text[ADMIN_Z85_SIZE];
};

/* The algorithm that --algorithm names; P-256 without. */
TRUC_MUST_USE enum admin_exit admin_algorithm(const struct admin_call *call, enum truc_algorithm *out);
/* Makes the folder (0700; it must be new or empty) and in it sign.pem sign.pub.pem transport.secret transport.public.
 */
TRUC_MUST_USE enum admin_exit admin_keys_make(const struct admin_call *call, const char *folder,
                                              struct admin_new_keys *out);
/* Adds profile.yaml, hub.public and note.key of `own` for another agency. */
TRUC_MUST_USE enum admin_exit admin_profile_make(const struct admin_call *call, const char *folder, const char *agency,
                                                 const struct truc_client_config *own);
/* Takes back what the two functions above made (the hub refused the enrolment). */
void admin_profile_remove(const char *folder);
/* A public key from a PEM file (a private one is refused: it does not belong here). Free it. */
TRUC_MUST_USE enum admin_exit admin_key_read(const struct admin_call *call, const char *path, struct truc_key **out);
/* 40 characters of Z85, or 64 of hex. */
TRUC_MUST_USE enum admin_exit admin_transport_read(const struct admin_call *call, const char *text, uint8_t out[32]);
/* Transport keys in rows of the query `keys` as Z85, as they stand in transport.public. */
void admin_transport_rows(json_t *rows);

#endif
