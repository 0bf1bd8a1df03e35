/* Records of a CSV file, a chunk at a time: quoted newlines, doubled quotes, a byte order mark, bounded records. */
#ifndef TRUC_IMPORT_TABLE_H
#define TRUC_IMPORT_TABLE_H

#include "truc/bytes.h"

#define IMPORT_COLUMNS_MAX 512
#define IMPORT_RECORD_MAX (4u << 20) /* bytes of one record; more is an unclosed quote */

struct import_table;

/* `fields` are borrowed until it returns. `number` 0 is the header. An error ends the reading. */
typedef truc_error (*import_record_fn)(void *context, uint64_t number, const struct truc_bytes *fields, size_t count);

/* Errors: TRUC_E_IO (errno), TRUC_E_NOMEM. */
TRUC_MUST_USE truc_error import_table_open(const char *path, char delimiter, import_record_fn on_record, void *context,
                                           struct import_table **out);
void import_table_close(struct import_table **table);
/* Reads one chunk (16 KiB) and calls for every record that it completes. TRUC_E_NOT_FOUND at the end, then nothing more
 * comes. Errors: TRUC_E_IO, TRUC_E_MALFORMED (a quote that is not closed or in the wrong place, too many columns),
 * TRUC_E_TOO_LARGE (a record over the limit), TRUC_E_NOMEM, or that of the callback. */
TRUC_MUST_USE truc_error import_table_read(struct import_table *table);
/* Bytes read so far and of the whole file. */
void import_table_progress(const struct import_table *table, uint64_t *done, uint64_t *all);
/* Records with a line break inside a value. */
uint64_t import_table_broken_lines(const struct import_table *table);
/* The record being read, for messages; the header is 0. */
uint64_t import_table_number(const struct import_table *table);

#endif
