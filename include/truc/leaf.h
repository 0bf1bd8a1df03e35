/* The log's leaf: what the hub decided on one seal. PROTOCOL.md, "Leaves". Pure.
 *
 *   byte      version, 1
 *   8 bytes   accepted_at, microseconds, big-endian
 *   8 bytes   sequence of the seal's first event, big-endian
 *   32 bytes  seal digest
 *   2 bytes   count of events, big-endian
 *   runs until count is reached: varint length (1 ...), byte outcome, and for a duplicate varint sequence of the event
 *   that the run's first one repeats (the run's following ones repeat the following sequences)
 * Varints are protobuf's, shortest form. A run is as long as it can be: the encoding of given outcomes is unique.
 * Outcome: 0 accepted, 1 ... 127 the refusal's reason, 128 duplicate. */
#ifndef TRUC_LEAF_H
#define TRUC_LEAF_H

#include "truc/seal.h"

#define TRUC_OUTCOME_ACCEPTED 0
#define TRUC_OUTCOME_DUPLICATE 128
#define TRUC_LEAF_VERSION 1
#define TRUC_LEAF_MAX (64u << 10)

struct truc_outcome {
    uint8_t code;
    uint64_t duplicate_of; /* sequence, for TRUC_OUTCOME_DUPLICATE */
};

struct truc_leaf {
    int64_t accepted_at_us;
    uint64_t
        first_sequence; /* event i of the seal has first_sequence + i, whatever its outcome; the log's first is 1 */
    struct truc_hash seal_digest;
    uint32_t count;
    struct truc_outcome outcomes[TRUC_SEAL_EVENTS_MAX];
};

TRUC_MUST_USE truc_error truc_leaf_encode(const struct truc_leaf *leaf, struct truc_buffer *out);
/* Strict: unique encoding, no trailing bytes. Errors: TRUC_E_MALFORMED, TRUC_E_UNSUPPORTED (version). */
TRUC_MUST_USE truc_error truc_leaf_parse(struct truc_bytes bytes, struct truc_leaf *out);

#endif
