#include "adapters/import/template.h"

#include <errno.h>
#include <inttypes.h>

const char *import_skip_name(enum import_skip skip)
{
    static const char *const names[IMPORT_SKIP_COUNT_] = {
        [IMPORT_MADE] = "made",
        [IMPORT_SKIP_COLUMNS] = "wrong number of columns",
        [IMPORT_SKIP_NO_RULE] = "no rule of the map is met",
        [IMPORT_SKIP_NO_TIME] = "no time",
        [IMPORT_SKIP_BAD_TIME] = "a time that cannot be read",
        [IMPORT_SKIP_UNKNOWN] = "a code that no table knows",
        [IMPORT_SKIP_BAD_VALUE] = "a value that does not fit its field",
        [IMPORT_SKIP_PAYLOAD] = "data that does not fit the schema",
        [IMPORT_SKIP_EVENT] = "breaks the rules of events",
    };
    return skip < IMPORT_SKIP_COUNT_ ? names[skip] : "unknown";
}

/* ---- reading a template ------------------------------------------------------------------------------------------ */

static bool number_of(const char *text, size_t *out)
{
    char *end;
    errno = 0;
    if (text[0] < '0' || text[0] > '9') {
        return false;
    }
    unsigned long value = strtoul(text, &end, 10);
    if (errno != 0 || *end != '\0' || value == 0 || value > 4096) {
        return false;
    }
    *out = value;
    return true;
}

static truc_error parse_filter(const char *text, size_t length, struct import_filter *out, char why[256])
{
    static const struct {
        const char *name;
        enum import_filter_kind kind;
        bool number, text;
    } known[] = {
        {"time", IMPORT_FILTER_TIME, false, false},    {"day", IMPORT_FILTER_DAY, false, false},
        {"digits", IMPORT_FILTER_DIGITS, true, false}, {"lookup", IMPORT_FILTER_LOOKUP, false, true},
        {"cut", IMPORT_FILTER_CUT, true, false},       {"default", IMPORT_FILTER_DEFAULT, false, true},
        {"whole", IMPORT_FILTER_WHOLE, false, false},
    };
    const char *colon = memchr(text, ':', length);
    size_t name = colon == NULL ? length : (size_t)(colon - text);
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++) {
        if (strlen(known[i].name) != name || memcmp(known[i].name, text, name) != 0) {
            continue;
        }
        out->kind = known[i].kind;
        bool argument = known[i].number || known[i].text;
        if (argument != (colon != NULL)) {
            (void)snprintf(why, 256, "filter %s %s an argument", known[i].name, argument ? "needs" : "takes no");
            return TRUC_E_CONFIG;
        }
        if (!argument) {
            return TRUC_OK;
        }
        out->text = strndup(colon + 1, length - name - 1);
        if (out->text == NULL) {
            return TRUC_E_NOMEM;
        }
        if (known[i].number && !number_of(out->text, &out->number)) {
            (void)snprintf(why, 256, "filter %s needs a number from 1 to 4096", known[i].name);
            return TRUC_E_CONFIG;
        }
        return TRUC_OK;
    }
    (void)snprintf(why, 256, "there is no filter \"%.*s\"", (int)(length > 40 ? 40 : length), text);
    return TRUC_E_CONFIG;
}

static enum import_variable variable_of(const char *name)
{
    static const struct {
        const char *name;
        enum import_variable variable;
    } known[] = {{"agency", IMPORT_AGENCY},
                 {"row", IMPORT_ROW},
                 {"id", IMPORT_ID},
                 {"subject", IMPORT_SUBJECT},
                 {"type", IMPORT_TYPE}};
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++) {
        if (strcmp(known[i].name, name) == 0) {
            return known[i].variable;
        }
    }
    return IMPORT_COLUMN;
}

/* `text` is what stands between the braces. */
static truc_error parse_value(const char *text, size_t length, struct import_piece *out, char why[256])
{
    const char *bar = memchr(text, '|', length), *end = text + length;
    size_t name = bar == NULL ? length : (size_t)(bar - text);
    out->text = strndup(text, name);
    if (out->text == NULL) {
        return TRUC_E_NOMEM;
    }
    if (name == 0) {
        (void)snprintf(why, 256, "{} names nothing");
        return TRUC_E_CONFIG;
    }
    out->variable = variable_of(out->text);
    while (bar != NULL) {
        const char *start = bar + 1;
        bar = memchr(start, '|', (size_t)(end - start));
        if (out->filter_count == IMPORT_FILTERS_MAX) {
            (void)snprintf(why, 256, "more than %d filters on one value", IMPORT_FILTERS_MAX);
            return TRUC_E_CONFIG;
        }
        truc_error error =
            parse_filter(start, (size_t)((bar == NULL ? end : bar) - start), &out->filters[out->filter_count++], why);
        if (error != TRUC_OK) {
            return error;
        }
    }
    return TRUC_OK;
}

static struct import_piece *piece_add(struct import_template *t)
{
    struct import_piece *grown = realloc(t->pieces, (t->count + 1) * sizeof *grown);
    if (grown == NULL) {
        return NULL;
    }
    t->pieces = grown;
    memset(&grown[t->count], 0, sizeof *grown);
    return &grown[t->count++];
}

truc_error import_template_parse(const char *text, struct import_template *out, char why[256])
{
    truc_error error = TRUC_OK;
    memset(out, 0, sizeof *out);
    while (*text != '\0' && error == TRUC_OK) {
        struct import_piece *piece = piece_add(out);
        if (piece == NULL) {
            error = TRUC_E_NOMEM;
        } else if (*text == '{') {
            const char *close = strchr(text, '}');
            if (close == NULL) {
                (void)snprintf(why, 256, "a { is not closed");
                error = TRUC_E_CONFIG;
            } else {
                error = parse_value(text + 1, (size_t)(close - text - 1), piece, why);
                text = close + 1;
            }
        } else {
            size_t length = strcspn(text, "{");
            piece->variable = IMPORT_LITERAL;
            piece->text = strndup(text, length);
            error = piece->text == NULL ? TRUC_E_NOMEM : TRUC_OK;
            text += length;
        }
    }
    if (error != TRUC_OK) {
        import_template_close(out);
    }
    return error;
}

void import_template_close(struct import_template *t)
{
    for (size_t i = 0; i < t->count; i++) {
        free(t->pieces[i].text);
        for (size_t j = 0; j < t->pieces[i].filter_count; j++) {
            free(t->pieces[i].filters[j].text);
        }
    }
    free(t->pieces);
    memset(t, 0, sizeof *t);
}

bool import_template_bind(struct import_template *t, const struct truc_bytes *names, size_t count, const char **missing)
{
    for (size_t i = 0; i < t->count; i++) {
        struct import_piece *piece = &t->pieces[i];
        size_t column = 0;
        if (piece->variable != IMPORT_COLUMN) {
            continue;
        }
        while (column < count && !truc_bytes_equal(names[column], truc_bytes_of(piece->text))) {
            column++;
        }
        if (column == count) {
            *missing = piece->text;
            return false;
        }
        piece->column = column;
    }
    return true;
}

/* ---- times ------------------------------------------------------------------------------------------------------- */

static bool digits_at(struct truc_bytes text, size_t at, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (at + i >= text.size || text.data[at + i] < '0' || text.data[at + i] > '9') {
            return false;
        }
    }
    return true;
}

truc_error import_time_parse(struct truc_bytes text, int32_t offset_minutes, int64_t *out_us, bool *has_offset)
{
    char rfc[80];
    const char *t = (const char *)text.data;
    int32_t size = (int32_t)text.size, minutes = offset_minutes < 0 ? -offset_minutes : offset_minutes;
    char own[16];
    (void)snprintf(own, sizeof own, "%c%02d:%02d", offset_minutes < 0 ? '-' : '+', (int)(minutes / 60) % 100,
                   (int)(minutes % 60));
    *has_offset = false;
    if (text.size > 40) {
        return TRUC_E_MALFORMED;
    }
    if (size == 14 && digits_at(text, 0, 14)) {
        (void)snprintf(rfc, sizeof rfc, "%.4s-%.2s-%.2sT%.2s:%.2s:%.2s%s", t, t + 4, t + 6, t + 8, t + 10, t + 12, own);
    } else if (size == 10) {
        (void)snprintf(rfc, sizeof rfc, "%.10sT00:00:00%s", t, own);
    } else if (size >= 19 && (t[10] == ' ' || t[10] == 'T')) {
        *has_offset = t[size - 1] == 'Z' || memchr(t + 19, '+', (size_t)size - 19) != NULL ||
                      memchr(t + 19, '-', (size_t)size - 19) != NULL;
        (void)snprintf(rfc, sizeof rfc, "%.10sT%.*s%s", t, (int)size - 11, t + 11, *has_offset ? "" : own);
    } else {
        return TRUC_E_MALFORMED;
    }
    return truc_time_parse(truc_bytes_of(rfc), out_us);
}

/* ---- filters: each turns `value` into another ------------------------------------------------------------------- */

static truc_error replace(struct truc_buffer *value, const char *text, size_t size)
{
    truc_buffer_clear(value);
    return truc_buffer_append(value, text, size);
}

static truc_error filter_time(struct import_row *row, bool day, struct truc_buffer *value, enum import_skip *skip)
{
    int64_t time_us;
    bool has_offset;
    char text[32];
    if (import_time_parse(truc_buffer_view(value), row->offset_minutes, &time_us, &has_offset) != TRUC_OK) {
        *skip = IMPORT_SKIP_BAD_TIME;
        return TRUC_OK;
    }
    if (!day) {
        row->offset_missing |= !has_offset;
        int length = snprintf(text, sizeof text, "%" PRId64, time_us);
        return replace(value, text, (size_t)length);
    }
    size_t length = 0;
    for (size_t i = 0; i < value->size && length < 8; i++) {
        if (value->data[i] != '-') {
            text[length++] = (char)value->data[i];
        }
    }
    return replace(value, text, length);
}

static truc_error filter_digits(size_t wanted, struct truc_buffer *value)
{
    size_t digits = 0;
    for (size_t i = 0; i < value->size; i++) {
        if (digits_at(truc_buffer_view(value), i, 1)) {
            value->data[digits++] = value->data[i];
        }
    }
    size_t kept = digits < wanted ? digits : wanted;
    truc_error error = truc_buffer_reserve(value, wanted);
    if (error != TRUC_OK) {
        return error;
    }
    memmove(value->data + (wanted - kept), value->data + (digits - kept), kept);
    memset(value->data, '0', wanted - kept);
    value->size = wanted;
    return TRUC_OK;
}

static truc_error filter_lookup(const struct import_row *row, const char *table, struct truc_buffer *value,
                                enum import_skip *skip)
{
    const char *found = NULL;
    for (size_t i = 0; i < row->entry_count; i++) {
        const struct import_entry *entry = &row->entries[i];
        if (strcmp(entry->table, table) != 0) {
            continue;
        }
        if (truc_bytes_equal(truc_bytes_of(entry->key), truc_buffer_view(value))) {
            found = entry->value;
            break;
        }
        if (strcmp(entry->key, "*") == 0) {
            found = entry->value;
        }
    }
    if (found == NULL) {
        *skip = IMPORT_SKIP_UNKNOWN;
        return TRUC_OK;
    }
    return replace(value, found, strlen(found));
}

static void filter_cut(size_t limit, struct truc_buffer *value)
{
    if (value->size <= limit) {
        return;
    }
    size_t at = limit;
    while (at > 0 && (value->data[at] & 0xC0) == 0x80) { /* not into the middle of a character */
        at--;
    }
    value->size = at;
}

static void filter_whole(struct truc_buffer *value)
{
    const uint8_t *point = memchr(value->data, '.', value->size);
    if (point != NULL) {
        value->size = (size_t)(point - value->data);
    }
}

static truc_error filter(const struct import_filter *f, struct import_row *row, struct truc_buffer *value,
                         enum import_skip *skip)
{
    if (value->size == 0) {
        return f->kind == IMPORT_FILTER_DEFAULT ? replace(value, f->text, strlen(f->text)) : TRUC_OK;
    }
    switch (f->kind) {
    case IMPORT_FILTER_TIME:
        return filter_time(row, false, value, skip);
    case IMPORT_FILTER_DAY:
        return filter_time(row, true, value, skip);
    case IMPORT_FILTER_DIGITS:
        return filter_digits(f->number, value);
    case IMPORT_FILTER_LOOKUP:
        return filter_lookup(row, f->text, value, skip);
    case IMPORT_FILTER_CUT:
        filter_cut(f->number, value);
        return TRUC_OK;
    case IMPORT_FILTER_WHOLE:
        filter_whole(value);
        return TRUC_OK;
    case IMPORT_FILTER_DEFAULT:
        return TRUC_OK;
    }
    return TRUC_E_INVALID;
}

static truc_error raw_value(const struct import_piece *piece, const struct import_row *row, struct truc_buffer *out)
{
    struct truc_bytes value = truc_bytes(NULL, 0);
    switch (piece->variable) {
    case IMPORT_LITERAL:
        value = truc_bytes_of(piece->text);
        break;
    case IMPORT_COLUMN:
        value = piece->column < row->count ? row->fields[piece->column] : value;
        break;
    case IMPORT_AGENCY:
        value = truc_bytes_of(row->agency);
        break;
    case IMPORT_ROW:
        return truc_buffer_printf(out, "%" PRIu64, row->number);
    case IMPORT_ID:
        value = row->id;
        break;
    case IMPORT_SUBJECT:
        value = row->subject;
        break;
    case IMPORT_TYPE:
        value = row->type;
        break;
    }
    return value.size == 0 ? TRUC_OK : truc_buffer_append(out, value.data, value.size);
}

truc_error import_template_write(const struct import_template *t, struct import_row *row, struct truc_buffer *out,
                                 enum import_skip *skip)
{
    truc_error error = TRUC_OK;
    *skip = IMPORT_MADE;
    for (size_t i = 0; i < t->count && error == TRUC_OK && *skip == IMPORT_MADE; i++) {
        const struct import_piece *piece = &t->pieces[i];
        truc_buffer_clear(&row->scratch);
        error = raw_value(piece, row, &row->scratch);
        for (size_t j = 0; j < piece->filter_count && error == TRUC_OK && *skip == IMPORT_MADE; j++) {
            error = filter(&piece->filters[j], row, &row->scratch, skip);
        }
        if (error == TRUC_OK && *skip == IMPORT_MADE && row->scratch.size > 0) {
            error = truc_buffer_append(out, row->scratch.data, row->scratch.size);
        }
    }
    return error;
}
