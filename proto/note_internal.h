/* What the parsers of notes, checkpoints and tlog-proofs share. */
#ifndef TRUC_NOTE_INTERNAL_H
#define TRUC_NOTE_INTERNAL_H

#include "truc/note.h"

/* Takes the bytes before the next newline off `rest`, newline included. false where there is no newline left. */
bool note_take_line(struct truc_bytes *rest, struct truc_bytes *line);
/* A key name or origin: UTF-8, 1 to TRUC_NOTE_NAME_MAX bytes, no space of any kind, no plus, no control character. */
bool note_name_is_valid(struct truc_bytes name);
/* ASCII decimal without leading zeros, up to 2^63, the most leaves that a tree may have. Errors: TRUC_E_MALFORMED. */
TRUC_MUST_USE truc_error note_read_number(struct truc_bytes text, uint64_t *out);
/* 32 bytes in base64. Errors: TRUC_E_MALFORMED, TRUC_E_NOMEM. */
TRUC_MUST_USE truc_error note_read_hash(struct truc_bytes text, struct truc_hash *out);

#endif
