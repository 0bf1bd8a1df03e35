/* Templates: text with values of a row in braces, "{column|filter|filter:argument}". Pure but for memory.
 *
 *   {agency} {row} {id} {subject} {type}   the importing agency, the record's number, what the row's event has so far
 *   {any other name}                       the column of that name
 *   time            a time in one of the forms below as microseconds since 1970, decimal
 *   day             the day of such a time as it was written, yyyymmdd
 *   digits:N        the last N of its digits, filled up with zeros from the left
 *   lookup:TABLE    the table's value for it; unknown values skip the event unless the table has "*"
 *   default:TEXT    TEXT where it is empty
 *   cut:N           at most N bytes, whole characters
 *   whole           a decimal number without its fraction
 * Times: 2016-01-01 03:28:00 with or without T, fraction and offset; 2016-01-01; 20160101032800. Where the offset is
 * missing the map's is taken, and the row is counted. An empty value stays empty through every filter but default. */
#ifndef TRUC_IMPORT_TEMPLATE_H
#define TRUC_IMPORT_TEMPLATE_H

#include "truc/event.h"

#define IMPORT_FILTERS_MAX 4

/* Why a row or an event of it was not made. Each is counted; none stops the import. */
enum import_skip {
    IMPORT_MADE = 0,
    IMPORT_SKIP_COLUMNS,   /* the record has another number of columns than the header */
    IMPORT_SKIP_NO_RULE,   /* no rule of the map is met */
    IMPORT_SKIP_NO_TIME,   /* the event's time is missing */
    IMPORT_SKIP_BAD_TIME,  /* a time in none of the forms */
    IMPORT_SKIP_UNKNOWN,   /* a code that a table does not know */
    IMPORT_SKIP_BAD_VALUE, /* a value that its field cannot hold */
    IMPORT_SKIP_PAYLOAD,   /* the data does not fit its type's schema */
    IMPORT_SKIP_EVENT,     /* id, subject or another part breaks the rules of events, or it is too large */
    IMPORT_SKIP_COUNT_
};

/* "columns", "no-rule", ...; static storage. */
const char *import_skip_name(enum import_skip skip);

enum import_filter_kind {
    IMPORT_FILTER_TIME,
    IMPORT_FILTER_DAY,
    IMPORT_FILTER_DIGITS,
    IMPORT_FILTER_LOOKUP,
    IMPORT_FILTER_DEFAULT,
    IMPORT_FILTER_CUT,
    IMPORT_FILTER_WHOLE,
};

struct import_filter {
    enum import_filter_kind kind;
    size_t number;
    char *text;
};

enum import_variable {
    IMPORT_COLUMN,
    IMPORT_AGENCY,
    IMPORT_ROW,
    IMPORT_ID,
    IMPORT_SUBJECT,
    IMPORT_TYPE,
    IMPORT_LITERAL,
};

struct import_piece {
    enum import_variable variable;
    char *text;    /* the literal, or the column's name */
    size_t column; /* set when the map meets its header */
    size_t filter_count;
    struct import_filter filters[IMPORT_FILTERS_MAX];
};

struct import_template {
    struct import_piece *pieces;
    size_t count;
};

/* One line of a lookup table. */
struct import_entry {
    char *table, *key, *value;
};

/* What a template reads from. Everything is borrowed but `scratch`. */
struct import_row {
    const struct truc_bytes *fields;
    size_t count;
    uint64_t number; /* of the record, the header not counted */
    const char *agency;
    struct truc_bytes id, subject, type;
    const struct import_entry *entries;
    size_t entry_count;
    int32_t offset_minutes; /* for times without one */
    bool offset_missing;    /* out: a time had none */
    struct truc_buffer scratch;
};

/* `why` gets a sentence. Errors: TRUC_E_CONFIG, TRUC_E_NOMEM. */
TRUC_MUST_USE truc_error import_template_parse(const char *text, struct import_template *out, char why[256]);
void import_template_close(struct import_template *t);
/* Finds each column's place in the header. false: `missing` is the first column that is not there. */
bool import_template_bind(struct import_template *t, const struct truc_bytes *names, size_t count,
                          const char **missing);
/* Appends the text to `out`. Errors: TRUC_E_NOMEM; otherwise *skip says whether it worked. */
TRUC_MUST_USE truc_error import_template_write(const struct import_template *t, struct import_row *row,
                                               struct truc_buffer *out, enum import_skip *skip);

/* One of the forms above. *has_offset: it was written. Errors: TRUC_E_MALFORMED. */
TRUC_MUST_USE truc_error import_time_parse(struct truc_bytes text, int32_t offset_minutes, int64_t *out_us,
                                           bool *has_offset);

#endif
