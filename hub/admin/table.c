#define _XOPEN_SOURCE_EXTENDED 1
#include "hub/admin/table.h"

#include "truc/event.h"

#include <wchar.h>

void admin_must(bool ok)
{
    if (!ok) {
        fputs("truc: out of memory\n", stderr);
        abort();
    }
}

const char *admin_row_text(const json_t *row, const char *key)
{
    const char *text = json_string_value(json_object_get(row, key));
    return text == NULL ? "" : text;
}

json_t *admin_json_time(int64_t time_us)
{
    if (time_us == 0) {
        return json_null();
    }
    char text[40];
    truc_time_format(time_us, text);
    return json_string(text);
}

json_t *admin_json_text(struct truc_bytes text)
{
    json_t *value = json_stringn(text.size == 0 ? "" : (const char *)text.data, text.size);
    if (value == NULL) {
        char *hex = malloc(2 * text.size + 1);
        admin_must(hex != NULL);
        truc_hex(text, hex);
        value = json_string(hex);
        free(hex);
    }
    admin_must(value != NULL);
    return value;
}

bool admin_json_line(FILE *out, const json_t *row)
{
    bool ok = json_dumpf(row, out, JSON_COMPACT) == 0;
    return fputc('\n', out) != EOF && fflush(out) == 0 && ok;
}

/* What a terminal may show: no control characters (an escape sequence in a foreign name could rewrite the screen). */
static void append_clean(const char *text, struct truc_buffer *out)
{
    for (const unsigned char *at = (const unsigned char *)text; *at != '\0'; at++) {
        bool c1 = at[0] == 0xc2 && at[1] >= 0x80 && at[1] <= 0x9f;
        if (*at < 0x20 || *at == 0x7f || c1) {
            admin_must(truc_buffer_append(out, "?", 1) == TRUC_OK);
            at += c1;
        } else {
            admin_must(truc_buffer_append(out, at, 1) == TRUC_OK);
        }
    }
}

void admin_value_text(const json_t *value, enum admin_column_kind kind, struct truc_buffer *out)
{
    truc_error error = TRUC_OK;
    switch (json_typeof(value)) {
    case JSON_STRING:
        append_clean(json_string_value(value), out);
        break;
    case JSON_INTEGER:
        if (kind == ADMIN_COLUMN_TIME) {
            char text[40] = "";
            if (json_integer_value(value) != 0) {
                truc_time_format(json_integer_value(value), text);
            }
            error = truc_buffer_append(out, text, strlen(text));
        } else {
            error = truc_buffer_printf(out, "%lld", (long long)json_integer_value(value));
        }
        break;
    case JSON_REAL:
        error = truc_buffer_printf(out, "%.3f", json_real_value(value));
        break;
    case JSON_TRUE:
        error = truc_buffer_append(out, "yes", 3);
        break;
    case JSON_FALSE:
        error = truc_buffer_append(out, "no", 2);
        break;
    case JSON_NULL:
        break;
    case JSON_ARRAY:
        for (size_t i = 0; i < json_array_size(value); i++) {
            error = error == TRUC_OK && i > 0 ? truc_buffer_append(out, ",", 1) : error;
            admin_value_text(json_array_get(value, i), kind, out);
        }
        break;
    case JSON_OBJECT: {
        const char *key;
        json_t *item;
        bool first = true;
        json_object_foreach((json_t *)(uintptr_t)value, key, item)
        {
            error = error == TRUC_OK && !first ? truc_buffer_append(out, " ", 1) : error;
            first = false;
            append_clean(key, out);
            error = error == TRUC_OK ? truc_buffer_append(out, "=", 1) : error;
            admin_value_text(item, kind, out);
        }
        break;
    }
    }
    admin_must(error == TRUC_OK && truc_buffer_reserve(out, 1) == TRUC_OK);
    out->data[out->size] = '\0';
}

/* Columns on the terminal that UTF-8 text takes. */
static size_t width_of(const char *text)
{
    size_t width = 0;
    mbstate_t state;
    memset(&state, 0, sizeof(state));
    for (size_t left = strlen(text); left > 0;) {
        wchar_t wide;
        size_t used = mbrtowc(&wide, text, left, &state);
        if (used == (size_t)-1 || used == (size_t)-2 || used == 0) {
            /* no UTF-8 locale: every byte that begins a character counts one */
            for (; *text != '\0'; text++) {
                width += ((unsigned char)*text & 0xc0) != 0x80;
            }
            return width;
        }
        int columns = wcwidth(wide);
        width += columns > 0 ? (size_t)columns : 0;
        text += used;
        left -= used;
    }
    return width;
}

static void put_cell(const char *text, size_t width, bool right, bool last)
{
    size_t own = width_of(text);
    size_t pad = width > own ? width - own : 0;
    if (right) {
        printf("%*s%s%s", (int)pad, "", text, last ? "" : "  ");
    } else {
        printf("%s%*s%s", text, last ? 0 : (int)pad, "", last ? "" : "  ");
    }
}

/* Numbers that are times become text, in place. */
static void format_times(const struct admin_column *columns, json_t *row)
{
    for (; columns->key != NULL; columns++) {
        json_t *value = json_object_get(row, columns->key);
        if (columns->kind == ADMIN_COLUMN_TIME && json_is_integer(value)) {
            admin_must(json_object_set_new(row, columns->key, admin_json_time(json_integer_value(value))) == 0);
        }
    }
}

static void print_json(const struct admin_column *columns, json_t *value)
{
    size_t index;
    json_t *row;
    json_array_foreach(value, index, row)
    {
        format_times(columns, row);
    }
    if (json_is_object(value)) {
        format_times(columns, value);
    }
    (void)json_dumpf(value, stdout, JSON_INDENT(2)); /* main looks at ferror(stdout) */
    putchar('\n');
}

static char *cell_text(const json_t *row, const struct admin_column *column)
{
    struct truc_buffer text = {0};
    const json_t *value = json_object_get(row, column->key);
    admin_must(truc_buffer_reserve(&text, 1) == TRUC_OK);
    text.data[0] = '\0';
    if (value != NULL) {
        admin_value_text(value, column->kind, &text);
    }
    return (char *)text.data;
}

void admin_table_print(const struct admin_call *call, const struct admin_column *columns, json_t *rows,
                       const char *empty)
{
    if (call->json) {
        print_json(columns, rows);
        return;
    }
    size_t row_count = json_array_size(rows), width = 0;
    if (row_count == 0) {
        puts(empty);
        return;
    }
    while (columns[width].key != NULL) {
        width++;
    }
    char **cells = calloc(row_count * width, sizeof(*cells));
    size_t *widths = calloc(width, sizeof(*widths));
    bool *right = calloc(width, sizeof(*right));
    admin_must(cells != NULL && widths != NULL && right != NULL);
    for (size_t c = 0; c < width; c++) {
        widths[c] = width_of(columns[c].title);
        right[c] = columns[c].kind == ADMIN_COLUMN_TEXT;
        for (size_t r = 0; r < row_count; r++) {
            const json_t *row = json_array_get(rows, r);
            char *text = cell_text(row, &columns[c]);
            const json_t *value = json_object_get(row, columns[c].key);
            right[c] = right[c] && (value == NULL || json_is_number(value) || json_is_null(value));
            widths[c] = width_of(text) > widths[c] ? width_of(text) : widths[c];
            cells[r * width + c] = text;
        }
    }
    for (size_t c = 0; c < width; c++) {
        put_cell(columns[c].title, widths[c], right[c], c + 1 == width);
    }
    putchar('\n');
    for (size_t r = 0; r < row_count; r++) {
        for (size_t c = 0; c < width; c++) {
            put_cell(cells[r * width + c], widths[c], right[c], c + 1 == width);
            free(cells[r * width + c]);
        }
        putchar('\n');
    }
    free(cells);
    free(widths);
    free(right);
}

bool admin_line_print(const struct admin_column *columns, const size_t *widths, const json_t *row)
{
    for (size_t c = 0; columns[c].key != NULL; c++) {
        bool last = columns[c + 1].key == NULL;
        char *text = row == NULL ? strdup(columns[c].title) : cell_text(row, &columns[c]);
        admin_must(text != NULL);
        if (last && text[0] == '\0') {
            free(text);
            break;
        }
        if (widths != NULL) {
            put_cell(text, widths[c], row != NULL && json_is_number(json_object_get(row, columns[c].key)), last);
        } else {
            printf("%s%s", c == 0 ? "" : "  ", text[0] == '\0' ? "-" : text);
        }
        free(text);
    }
    return fputc('\n', stdout) != EOF && fflush(stdout) == 0;
}

static const struct admin_column *column_of(const struct admin_column *columns, const char *key)
{
    for (; columns->key != NULL; columns++) {
        if (strcmp(columns->key, key) == 0) {
            return columns;
        }
    }
    return NULL;
}

void admin_record_print(const struct admin_call *call, const struct admin_column *columns, json_t *row)
{
    if (call->json) {
        print_json(columns, row);
        return;
    }
    size_t width = 0;
    const char *key;
    json_t *value;
    json_object_foreach(row, key, value)
    {
        const struct admin_column *column = column_of(columns, key);
        size_t own = width_of(column == NULL ? key : column->title);
        width = own > width ? own : width;
    }
    for (const struct admin_column *column = columns; column->key != NULL; column++) {
        if (json_object_get(row, column->key) != NULL) {
            char *text = cell_text(row, column);
            put_cell(column->title, width, false, false);
            puts(text);
            free(text);
        }
    }
    json_object_foreach(row, key, value)
    {
        if (column_of(columns, key) == NULL) {
            const struct admin_column other = {key, key, ADMIN_COLUMN_TEXT};
            char *text = cell_text(row, &other);
            put_cell(key, width, false, false);
            puts(text);
            free(text);
        }
    }
}
