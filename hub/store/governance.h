/* truc.v1.Governance bytes to the core's plain struct. Used for admission and for replay alike, so that both see the
 * same. */
#ifndef HUB_STORE_GOVERNANCE_H
#define HUB_STORE_GOVERNANCE_H

#include "hub/core/input.h"
#include "truc/frame.h"

#define HUB_GOVERNANCE_MAX (256u << 10) /* bytes of one act; more is malformed */
#define HUB_GOVERNANCE_ARENA (1u << 30) /* grows only as far as needed */

/* Everything in *out borrows from the arena or from `bytes`. Checks form (codes, key lengths, SPKI, patterns, counts),
 * not meaning. The answer depends on the bytes alone as long as the arena has room: HUB_GOVERNANCE_ARENA is enough for
 * any one act, and for all acts of a seal. Errors: TRUC_E_MALFORMED (the act is INVALID_PAYLOAD); TRUC_E_NOMEM and
 * TRUC_E_TOO_LARGE (arena) are failures, not answers. */
TRUC_MUST_USE truc_error hub_governance_decode(struct truc_bytes bytes, struct truc_arena *arena,
                                               const struct hub_governance **out);

#endif
