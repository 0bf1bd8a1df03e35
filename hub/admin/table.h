/* Rows for people and machines: the same JSON rows become a table on a terminal and JSON with --json. */
#ifndef HUB_ADMIN_TABLE_H
#define HUB_ADMIN_TABLE_H

#include "hub/admin/admin.h"

#include <jansson.h>

enum admin_column_kind {
    ADMIN_COLUMN_TEXT,
    ADMIN_COLUMN_TIME, /* a number: microseconds, shown as RFC 3339, 0 as nothing; a string: as it is */
};

struct admin_column {
    const char *key, *title; /* key NULL ends the list */
    enum admin_column_kind kind;
};

/* Prints an array of objects. Control characters of foreign text never reach the terminal. `empty` is said instead of a
 * table without rows. With call->json: the array, times as RFC 3339 too. */
void admin_table_print(const struct admin_call *call, const struct admin_column *columns, json_t *rows,
                       const char *empty);
/* One row as one line, for output that comes row by row; row NULL: the titles. Columns are padded to `widths`; with
 * NULL they are not, and "-" stands for nothing. The last column is left out where it is empty. False when stdout is
 * closed. */
bool admin_line_print(const struct admin_column *columns, const size_t *widths, const json_t *row);
/* One object as "title  value" lines; unlisted keys behind the listed ones. With call->json: the object. */
void admin_record_print(const struct admin_call *call, const struct admin_column *columns, json_t *row);
/* One object as JSON on one line, flushed. False when stdout is closed. */
bool admin_json_line(FILE *out, const json_t *row);
/* A value as one line of text, cleaned for a terminal; appended to `out`. */
void admin_value_text(const json_t *value, enum admin_column_kind kind, struct truc_buffer *out);
/* A JSON string with the time, or null for 0. New reference. */
json_t *admin_json_time(int64_t time_us);
/* Text from the wire as a JSON string (its bytes as hex where they are not UTF-8). New reference. */
json_t *admin_json_text(struct truc_bytes text);
/* Text of a row from a query; "" where it has none under this key. Borrowed. */
const char *admin_row_text(const json_t *row, const char *key);
/* Aborts when memory is out: a command line tool has nothing better to do then. */
void admin_must(bool ok);

#endif
