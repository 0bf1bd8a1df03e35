/* Keys on disk, as agencies get them: signing key pairs, transport key pairs, whole client profiles. */
#ifndef HUB_ADMIN_KEYS_H
#define HUB_ADMIN_KEYS_H

#include "hub/admin/table.h"
#include "truc/client.h"
#include "truc/config.h"

#include <protobuf-c/protobuf-c.h>

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
/* Adds profile.yaml, hub.public and note.key for another agency: origin, hub's keys and endpoints of `own`, or the
 * --endpoint of the call. */
TRUC_MUST_USE enum admin_exit admin_profile_make(const struct admin_call *call, const char *folder, const char *agency,
                                                 const struct truc_client_config *own);
/* The same three files in a new folder, for an agency that has its own keys: nothing in it is secret. */
TRUC_MUST_USE enum admin_exit admin_profile_make_public(const struct admin_call *call, const char *folder,
                                                        const char *agency, const struct truc_client_config *own);
/* What an agency with own keys does with that folder, for people. */
void admin_profile_explain(const char *folder, const char *agency);
/* Takes back what the functions above made (the hub refused the enrolment). */
void admin_profile_remove(const char *folder);
/* Every --endpoint of the call is tcp://HOST:PORT, or is said to be wrong. */
TRUC_MUST_USE enum admin_exit admin_endpoints_check(const struct admin_call *call);
/* Reads what the call gives of --key and --transport-key: `signing` stays NULL and *has_transport false without. */
TRUC_MUST_USE enum admin_exit admin_keys_read(const struct admin_call *call, struct admin_new_keys *out,
                                              bool *has_transport);
/* A key as acts carry it; borrows from the key. */
ProtobufCBinaryData admin_spki(const struct truc_key *key);
/* A public key from a PEM file (a private one is refused: it does not belong here). Free it. */
TRUC_MUST_USE enum admin_exit admin_key_read(const struct admin_call *call, const char *path, struct truc_key **out);
/* 40 characters of Z85, 64 of hex, or a file with one of them (transport.public). */
TRUC_MUST_USE enum admin_exit admin_transport_read(const struct admin_call *call, const char *text, uint8_t out[32]);
/* Of the query `keys`; without its first column: of one agency. */
extern const struct admin_column admin_key_columns[];
/* Rows of the query `keys` that are valid and have `column` (keyid, transport_key). */
size_t admin_keys_valid(json_t *rows, const char *column);
/* Transport keys in rows of the query `keys` as Z85, as they stand in transport.public. */
void admin_transport_rows(json_t *rows);

#define ADMIN_ENDPOINT_OPTION                                                                                          \
    {                                                                                                                  \
        "endpoint", ADMIN_LIST, "ADDRESS", "the hub as the agency reaches it, tcp://HOST:PORT (default: as you do)",   \
            false                                                                                                      \
    }

#endif
