/* One event's evidence: everything that proves it offline, in a JSON file. PROTOCOL.md, "Evidence files". */
#ifndef TRUC_EVIDENCE_H
#define TRUC_EVIDENCE_H

#include "truc/leaf.h"
#include "truc/note.h"

#define TRUC_EVIDENCE_FORMAT "truc-evidence@v1"
#define TRUC_EVIDENCE_MAX (8u << 20) /* bytes of the longest file read */

struct truc_evidence {
    struct truc_buffer event;    /* may be empty: content erased; event_hash stands for it */
    struct truc_hash event_hash; /* SHA-256(0x00 || event) */
    struct truc_buffer envelope;
    uint32_t index;
    size_t path_count;
    struct truc_hash path[TRUC_PROOF_MAX]; /* under the seal's root */
    struct truc_buffer leaf;
    struct truc_buffer proof; /* tlog-proof text of the leaf, with its checkpoint */
};

void truc_evidence_close(struct truc_evidence *evidence);
TRUC_MUST_USE truc_error truc_evidence_encode(const struct truc_evidence *evidence, struct truc_buffer *out);
/* Strict JSON (no key twice, no unknown key or format). On an error `out` holds nothing. Close it afterwards.
 * Errors: TRUC_E_MALFORMED with a sentence in `why` (may be NULL); TRUC_E_NOMEM. */
TRUC_MUST_USE truc_error truc_evidence_parse(struct truc_bytes text, struct truc_evidence *out, char why[256]);

/* What verification found, for telling. */
struct truc_evidence_facts {
    struct truc_envelope envelope; /* borrows from the evidence */
    struct truc_leaf leaf;
    struct truc_checkpoint checkpoint;
    struct truc_event event; /* borrows; id.size == 0 where the content is erased or unreadable */
    uint64_t sequence;
    struct truc_outcome outcome;
};

/* The whole chain: event under the seal's root, seal signature by `agency_key`, seal digest in the leaf, leaf under the
 * checkpoint, checkpoint by `note_key`, origin equal everywhere, source of the sender. `why` (may be NULL) gets a
 * sentence.
 * An event that the leaf says was refused may be unreadable (then facts.event is as for an erased one) or of a foreign
 * source: that it is so, and was refused, is what the file proves.
 * Errors: TRUC_E_BAD_PROOF, TRUC_E_BAD_SIGNATURE, TRUC_E_UNKNOWN_KEY, TRUC_E_MALFORMED. */
TRUC_MUST_USE truc_error truc_evidence_verify(const struct truc_evidence *evidence,
                                              const struct truc_note_verifier *note_key,
                                              const struct truc_key *agency_key, struct truc_evidence_facts *out,
                                              char why[256]);

#endif
