/* What the adapter writes for people and programs beside a file: its receipt or refusal. */
#ifndef TRUC_FILES_PAPER_H
#define TRUC_FILES_PAPER_H

#include "truc/client.h"

#define PAPER_RECEIPT ".receipt.json"
#define PAPER_REFUSED ".refused.json"

/* One JSON object about the file `name`. Errors: TRUC_E_NOMEM. */
TRUC_MUST_USE truc_error paper_write(const char *name, const struct truc_receipt *receipt, struct truc_buffer *out);

#endif
