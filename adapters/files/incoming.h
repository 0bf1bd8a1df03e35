/* The in-folder: from a delivery to a file that its reader can take away at once.
 *
 *   delivery -> in/.truc/NUMBER.json (staged) -> listed in in/.truc/published -> in/SEQUENCE.json (rename) -> ack
 *
 * The reader may take a file in the moment in which it appears, so whether it is there says nothing. The list does: it
 * is durable before a file appears. When a delivery comes again after a crash, not listed                its file was
 * never shown: it is made anew listed, still staged      it was not shown: it is shown now listed, no longer staged  it
 * was shown: it is only acked The rename is the one act that shows the file and ends its staging, so there is no moment
 * in between. */
#ifndef TRUC_FILES_INCOMING_H
#define TRUC_FILES_INCOMING_H

#include "adapters/files/settings.h"
#include "truc/client.h"

struct incoming;

struct incoming_counts {
    uint64_t written, repeated, put_back;
};

/* Opens and makes the folders, and reads the list. Everything given is borrowed until _free.
 * Errors: TRUC_E_CONFIG (said in `why`), TRUC_E_CORRUPT (the list is damaged; said too), TRUC_E_NOMEM. */
TRUC_MUST_USE truc_error incoming_new(const struct files_settings *settings, struct incoming **out,
                                      struct truc_buffer *why);
void incoming_free(struct incoming **incoming);
void incoming_start(struct incoming *incoming, struct truc_client *client);

/* For the client's callbacks. on_delivery writes, unsynced, and may flush. */
void incoming_on_delivery(struct incoming *incoming, const struct truc_delivery *delivery);
void incoming_on_settled(struct incoming *incoming, uint64_t first, uint32_t count);
/* Shows and acks what was staged. After each step of the client that went well, and only then. Blocks for the disk.
 * Errors are of the client or of memory; where the folder takes nothing, deliveries are put back for a while, and no
 * more are drawn until it does. */
TRUC_MUST_USE truc_error incoming_work(struct incoming *incoming);
int incoming_timeout_ms(const struct incoming *incoming);
const struct incoming_counts *incoming_counts(const struct incoming *incoming);

/* The text of an in-file: the event, and what the hub and its proof say of it. What the sender wrote under names that
 * begin with "truc" is left out, so that nobody can pretend. trucattempt comes last: all before it is the same at each
 * delivery. Errors: TRUC_E_MALFORMED, TRUC_E_NOMEM. */
TRUC_MUST_USE truc_error incoming_text(const struct truc_delivery *delivery, struct truc_buffer *out);

#endif
