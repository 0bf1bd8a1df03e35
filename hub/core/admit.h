/* Admission: what may be journaled. Volatile and pure: it looks at the applied state and at what is still on its way
 * through the journal, so that only seals with a valid chain position reach the disk.
 *
 * The shell asks for every verified seal, in the order in which they are to be journaled. */
#ifndef HUB_CORE_ADMIT_H
#define HUB_CORE_ADMIT_H

#include "hub/core/core.h"

struct hub_admit;

TRUC_MUST_USE truc_error hub_admit_new(struct hub_core *core, struct hub_admit **out);
void hub_admit_free(struct hub_admit **admit);

enum hub_admission {
    HUB_ADMIT_JOURNAL, /* goes to the journal; it is under way until hub_admit_applied or _aborted */
    HUB_ADMIT_KNOWN,   /* the same seal was taken before: answer with the leaf at *leaf_index */
    HUB_ADMIT_WAIT,    /* the same seal is under way now: its receipt answers both */
    HUB_ADMIT_FORK,    /* journal a FORK input (once a chain), refuse SEAL_FORK; *reason says so too */
    HUB_ADMIT_REFUSE,  /* *reason says why */
};

/* What was answered once is answered first (KNOWN and WAIT come before KEY_REVOKED, TOO_LARGE, CLOCK_SKEW and QUOTA),
 * so that a sender always gets the receipt of what the log already holds.
 *
 * Decides on one verified seal of `agency` at time now_us; bytes and seal->count are charged to the agency's quota
 * (token bucket, one second deep, journaled rates). Refusals: WRONG_ORIGIN, UNKNOWN_KEY, KEY_REVOKED, SUSPENDED,
 * TOO_LARGE (parameters), CLOCK_SKEW, SEAL_GAP, SEAL_FORK (chain closed already), QUOTA with *retry_ms. */
TRUC_MUST_USE truc_error hub_admit_seal(struct hub_admit *admit, uint32_t agency, const struct truc_seal *seal,
                                        const struct truc_hash *digest, uint64_t bytes, int64_t now_us,
                                        enum hub_admission *out, truc_reason *reason, uint32_t *retry_ms,
                                        uint64_t *leaf_index);
/* The seal was applied (its leaf is in the core). */
void hub_admit_applied(struct hub_admit *admit, uint32_t agency, const struct truc_seal *seal);
/* The journal rejected it: it and those behind it in its chain are no longer under way. */
void hub_admit_aborted(struct hub_admit *admit, uint32_t agency, const struct truc_seal *seal);
/* The journal rejected a FORK input: the chain is not closed, the next evidence is journaled again. A fork of a seal
 * that is itself still under way must stand behind it in the journal; where that one is aborted, the shell drops the
 * FORK too. */
void hub_admit_fork_aborted(struct hub_admit *admit, uint32_t agency, const struct truc_seal *seal);
size_t hub_admit_under_way(const struct hub_admit *admit);

#endif
