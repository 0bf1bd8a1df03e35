/* From a file's text to the event that is sealed: the same bytes each time, so that a file that is sent again after a
 * crash is the same event to the hub. */
#ifndef TRUC_FILES_DRAFT_H
#define TRUC_FILES_DRAFT_H

#include "adapters/draft/key.h"
#include "truc/event.h"

struct files_draft_rules {
    const char *agency;
    const char *type, *source, *recipients; /* defaults; NULL: none. `source` stands behind "urn:truc:AGENCY:" */
    const struct draft_key *key;
};

/* `name` is the file's name as the agency gave it: with the text it makes the id where there is none, so that two files
 * of one text are two events, and one that is sent again is the first. Errors as truc_event_from_json. */
TRUC_MUST_USE truc_error files_draft_make(const struct files_draft_rules *rules, const char *name,
                                          struct truc_bytes json, struct truc_buffer *out, char why[256]);

#endif
