/* The out-folder: from an agency's file to its receipt.
 *
 *   out/a.json --claim--> pending/a.json --submit--> spool --receipt--> a.receipt.json, done/a.json
 *        |                      |                              `------> a.refused.json, refused/a.json
 *        `----------------------`--> quarantine/a.json, a.json.why
 *
 *   CLAIMED --submit--> SUBMITTED --receipt--> ANSWERED --receipt file is durable--> RECEIPTED --moved--> gone
 *
 * A file is in exactly one folder at any moment, and pending is the list of what is under way. After a crash:
 *   pending, with its receipt file:    it is moved on
 *   pending, without:                  what the spool still owes is waited for, the rest is submitted again, as the
 * same bytes (draft.h): the hub answers with the first one's position so that no order of crash loses a file, or makes
 * two events or two receipts of one. */
#ifndef TRUC_FILES_OUTGOING_H
#define TRUC_FILES_OUTGOING_H

#include "adapters/files/draft.h"
#include "adapters/files/settings.h"
#include "truc/client.h"

struct outgoing;

struct outgoing_counts {
    uint64_t claimed, accepted, duplicates, refused, quarantined;
};

/* Opens and makes the folders. Everything given is borrowed until _free.
 * Errors: TRUC_E_CONFIG (said in `why`), TRUC_E_NOMEM. */
TRUC_MUST_USE truc_error outgoing_new(const struct files_settings *settings, const struct files_draft_rules *rules,
                                      struct outgoing **out, struct truc_buffer *why);
void outgoing_free(struct outgoing **outgoing);
/* Takes up what an earlier run left. Once, with the client that the files go to (borrowed until _free).
 * Errors: TRUC_E_IO, TRUC_E_NOMEM. */
TRUC_MUST_USE truc_error outgoing_recover(struct outgoing *outgoing, struct truc_client *client);

/* A file came into the folder by rename, so it is whole. It is remembered for the next scan. */
TRUC_MUST_USE truc_error outgoing_arrived(struct outgoing *outgoing, const char *name);
/* Looks through the folder, in the order of modification time, then rename, then name, and claims what is whole: what
 * came by rename, and what has settled. The first one that has to wait makes those behind it wait, so that no step of a
 * dossier overtakes another. `waiting`: how many were left. `pause_ms`: when the one that holds them up has settled;
 * -1: none does. */
TRUC_MUST_USE truc_error outgoing_scan(struct outgoing *outgoing, size_t *waiting, int *pause_ms);
/* A scan would claim something now: files have come, or there is room again for those that were left. */
bool outgoing_wants_scan(const struct outgoing *outgoing);
/* Submits what was claimed, and moves on what has its receipt. Before and after each step of the client. Errors are of
 * the client or of memory; a disk that is full is waited out. */
TRUC_MUST_USE truc_error outgoing_work(struct outgoing *outgoing);
/* For the client's callbacks: the session is open, or not any more; a receipt came. The latter blocks for the disk: the
 * receipt file is durable when it returns, or written again later. */
void outgoing_on_open(struct outgoing *outgoing, bool open);
void outgoing_on_receipt(struct outgoing *outgoing, const struct truc_receipt *receipt);

/* Files under way. */
size_t outgoing_count(const struct outgoing *outgoing);
/* Milliseconds until work should be called again; -1: not before something happens. */
int outgoing_timeout_ms(const struct outgoing *outgoing);
const struct outgoing_counts *outgoing_counts(const struct outgoing *outgoing);

#endif
