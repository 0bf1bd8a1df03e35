/* The journal: an append-only LMDB environment, one row for each group commit, the only thing that is synced before a
 * receipt. The port of the design's section 12; the implementation here is LMDB on this machine. */
#ifndef HUB_STORE_JOURNAL_H
#define HUB_STORE_JOURNAL_H

#include "truc/bytes.h"

struct hub_journal;

/* `folder`/journal.mdb. map_bytes: the quota, rounded up to pages. Checks file length, meta pages and the last rows;
 * what is damaged is said in `why`. Errors: TRUC_E_IO, TRUC_E_CORRUPT, TRUC_E_LOCKED (another hub), TRUC_E_NOT_FOUND
 * (!create). One open per process. */
TRUC_MUST_USE truc_error hub_journal_open(const char *folder, uint64_t map_bytes, bool create, bool read_only,
                                          struct hub_journal **out, char why[256]);
void hub_journal_close(struct hub_journal **journal);
/* Rows in it: 0 .. rows - 1. */
uint64_t hub_journal_rows(const struct hub_journal *journal);

/* Writing, by one thread. allocate gives `size` bytes inside the map's write transaction for the next row, to be filled
 * in place; append commits and syncs. The three answers of append matter: TRUC_OK      persisted TRUC_E_FULL  rejected:
 * nothing was written, the journal stands as before (MAP_FULL, ENOSPC before the meta page) other        unknown: the
 * process must stop; a start finds out what is on the disk allocate: TRUC_E_FULL likewise. abandon gives an allocation
 * back. */
TRUC_MUST_USE truc_error hub_journal_allocate(struct hub_journal *journal, size_t size, uint8_t **out);
TRUC_MUST_USE truc_error hub_journal_append(struct hub_journal *journal, uint64_t *row);
void hub_journal_abandon(struct hub_journal *journal);

/* Reading, any thread, each with its own reader. The row is borrowed until the next get or reset of this reader. */
struct hub_journal_reader;
TRUC_MUST_USE truc_error hub_journal_reader_new(struct hub_journal *journal, struct hub_journal_reader **out);
void hub_journal_reader_free(struct hub_journal_reader **reader);
/* Errors: TRUC_E_NOT_FOUND, TRUC_E_CORRUPT, TRUC_E_IO. */
TRUC_MUST_USE truc_error hub_journal_get(struct hub_journal_reader *reader, uint64_t row, struct truc_bytes *out);
/* Gives the read snapshot back: call when idle, so that old pages are not kept. */
void hub_journal_reader_reset(struct hub_journal_reader *reader);

/* Bytes used of the map, of the quota, and free on the disk. Any thread. */
struct hub_journal_space {
    uint64_t used, quota, disk_free;
};
TRUC_MUST_USE truc_error hub_journal_space(const struct hub_journal *journal, struct hub_journal_space *out);

#endif
