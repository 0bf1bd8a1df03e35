/* The seal: one DSSE signature over up to 1024 events. PROTOCOL.md, "Seals". Pure but for the signature. */
#ifndef TRUC_SEAL_H
#define TRUC_SEAL_H

#include "truc/event.h"
#include "truc/merkle.h"

#define TRUC_SEAL_TYPE "application/vnd.truc.seal.v1+protobuf"
#define TRUC_SEAL_EVENTS_MAX 1024
#define TRUC_SEAL_BYTES_MAX (4u << 20) /* events and their length prefixes together */
#define TRUC_ENVELOPE_MAX 4096
#define TRUC_ORIGIN_MAX 255
#define TRUC_CHAIN_SIZE 16

struct truc_seal {
    char origin[TRUC_ORIGIN_MAX + 1];
    char sender[TRUC_AGENCY_MAX + 1];
    char keyid[TRUC_KEYID_HEX + 1];
    uint8_t chain[TRUC_CHAIN_SIZE];
    uint64_t number;
    bool has_previous;
    struct truc_hash previous;
    uint32_t count;
    struct truc_hash root;
    int64_t sealed_at_us;
};

/* Encodes, signs, and appends the envelope to `out`; `digest` (may be NULL) becomes SHA-256 of the DSSE signed bytes.
 * seal->keyid must be that of the key. Errors: TRUC_E_INVALID, TRUC_E_CRYPTO, TRUC_E_NOMEM. */
TRUC_MUST_USE truc_error truc_seal_sign(const struct truc_seal *seal, const struct truc_key *key,
                                        struct truc_buffer *out, struct truc_hash *digest);

/* An envelope that was taken apart but is not yet believed. */
struct truc_envelope {
    struct truc_seal seal;
    struct truc_hash digest;
    struct truc_bytes payload, signature; /* borrowed from the envelope's bytes */
};

/* Strict: one signature, our payloadType, every field of the seal present and in range, keyid of the signature equal to
 * that of the seal or absent. Errors: TRUC_E_MALFORMED; TRUC_E_TOO_LARGE (envelope, or count over 1024: then *out is
 * filled all the same, so that a refusal can name the seal). */
TRUC_MUST_USE truc_error truc_envelope_parse(struct truc_bytes envelope, struct truc_envelope *out);
/* TRUC_E_UNKNOWN_KEY where the key's id is not the seal's; TRUC_E_BAD_SIGNATURE. */
TRUC_MUST_USE truc_error truc_envelope_verify(const struct truc_envelope *envelope, const struct truc_key *key);
/* The DSSE pre-authentication encoding, appended to `out`. */
TRUC_MUST_USE truc_error truc_dsse_pae(struct truc_bytes type, struct truc_bytes body, struct truc_buffer *out);

/* A body is events in order, each behind its 4-byte little-endian length. next returns TRUC_E_NOT_FOUND at the end,
 * TRUC_E_MALFORMED where a length leads outside. `*at` starts at 0. */
TRUC_MUST_USE truc_error truc_body_next(struct truc_bytes body, size_t *at, struct truc_bytes *event);
TRUC_MUST_USE truc_error truc_body_append(struct truc_buffer *body, struct truc_bytes event);

#endif
