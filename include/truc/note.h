/* Signed notes, checkpoints and transparency-log proofs as published by C2SP (signed-note, tlog-checkpoint,
 * tlog-proof). Note keys are Ed25519. All parsers take hostile bytes. */
#ifndef TRUC_NOTE_H
#define TRUC_NOTE_H

#include "truc/merkle.h"

#define TRUC_NOTE_MAX 16384    /* bytes of the longest note read */
#define TRUC_NOTE_NAME_MAX 255 /* bytes of a key name or an origin */
#define TRUC_NOTE_SIGNATURES_MAX 16
#define TRUC_TLOG_PROOF_MAX 32768 /* bytes of the longest tlog-proof read: a note, 64 hashes, the extra line */

/* A verifier key: "<name>+<8 hex digits>+<base64(0x01 || 32 bytes)>". */
struct truc_note_verifier {
    char name[TRUC_NOTE_NAME_MAX + 1];
    uint32_t hash; /* first four bytes, big-endian, of SHA-256(name || "\n" || 0x01 || public key) */
    struct truc_key *key;
};

/* Errors: TRUC_E_MALFORMED (also where the hash does not fit the key). Close it afterwards. */
TRUC_MUST_USE truc_error truc_note_verifier_parse(struct truc_bytes text, struct truc_note_verifier *out);
/* From a name and an Ed25519 key, whose owner count is raised. Errors: TRUC_E_INVALID (bad name, other algorithm). */
TRUC_MUST_USE truc_error truc_note_verifier_make(const char *name, struct truc_key *key,
                                                 struct truc_note_verifier *out);
TRUC_MUST_USE truc_error truc_note_verifier_text(const struct truc_note_verifier *verifier, struct truc_buffer *out);
void truc_note_verifier_close(struct truc_note_verifier *verifier);

/* Signs `text` (must end in a newline) with an Ed25519 private key and appends the whole note to `out`. */
TRUC_MUST_USE truc_error truc_note_sign(struct truc_bytes text, const char *name, const struct truc_key *key,
                                        struct truc_buffer *out);
/* Checks that the note carries a valid signature of `verifier`; `text` (borrowed from note) ends in a newline.
 * Unknown signatures are passed over, a bad one of a known key is an error.
 * Errors: TRUC_E_MALFORMED, TRUC_E_UNKNOWN_KEY (no signature of that key), TRUC_E_BAD_SIGNATURE. */
TRUC_MUST_USE truc_error truc_note_open(struct truc_bytes note, const struct truc_note_verifier *verifier,
                                        struct truc_bytes *text);

struct truc_checkpoint {
    char origin[TRUC_NOTE_NAME_MAX + 1];
    uint64_t size;
    struct truc_hash root;
};

/* "<origin>\n<size>\n<base64 root>\n", signed under the name `origin`. Appends the note to `out`. */
TRUC_MUST_USE truc_error truc_checkpoint_sign(const struct truc_checkpoint *checkpoint, const struct truc_key *key,
                                              struct truc_buffer *out);
/* Verifies the note and reads the checkpoint; its origin must equal the verifier's name. Further lines are passed over.
 * Errors: as truc_note_open; TRUC_E_MALFORMED for another origin, leading zeros, a short root. */
TRUC_MUST_USE truc_error truc_checkpoint_open(struct truc_bytes note, const struct truc_note_verifier *verifier,
                                              struct truc_checkpoint *out);

/* A tlog-proof: header line "c2sp.org/tlog-proof@v1", "index N", hashes in base64, an empty line, the checkpoint note.
 */
struct truc_tlog_proof {
    uint64_t index;
    size_t count;
    struct truc_hash path[TRUC_PROOF_MAX];
    struct truc_bytes checkpoint; /* the note; borrowed from what was parsed */
};

TRUC_MUST_USE truc_error truc_tlog_proof_text(const struct truc_tlog_proof *proof, struct truc_buffer *out);
TRUC_MUST_USE truc_error truc_tlog_proof_parse(struct truc_bytes text, struct truc_tlog_proof *out);
/* Opens the checkpoint, then checks the inclusion of `leaf`. `out` may be NULL. */
TRUC_MUST_USE truc_error truc_tlog_proof_verify(const struct truc_tlog_proof *proof, struct truc_bytes leaf,
                                                const struct truc_note_verifier *verifier, struct truc_checkpoint *out);

#endif
