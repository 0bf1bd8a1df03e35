#include "adapters/import/table.h"

#include <csv.h>
#include <errno.h>
#include <sys/stat.h>

#define CHUNK (16u << 10)
#define GROWTH (64u << 10)

struct import_table {
    FILE *file;
    struct csv_parser parser;
    import_record_fn on_record;
    void *context;
    uint64_t number, broken_lines, done, all;
    struct truc_buffer text;         /* the record's values, one behind the other */
    size_t ends[IMPORT_COLUMNS_MAX]; /* where each ends in text */
    struct truc_bytes fields[IMPORT_COLUMNS_MAX];
    size_t count;
    bool line_break, ended;
    truc_error error; /* libcsv's callbacks return nothing */
};

static void on_value(void *value, size_t size, void *context)
{
    struct import_table *table = context;
    if (table->error != TRUC_OK) {
        return;
    }
    if (table->count == IMPORT_COLUMNS_MAX) {
        table->error = TRUC_E_MALFORMED;
        return;
    }
    if (size > IMPORT_RECORD_MAX - table->text.size) {
        table->error = TRUC_E_TOO_LARGE;
        return;
    }
    if (size > 0) {
        table->line_break |= memchr(value, '\n', size) != NULL || memchr(value, '\r', size) != NULL;
        table->error = truc_buffer_append(&table->text, value, size);
    }
    table->ends[table->count++] = table->text.size;
}

static void on_end_of_record(int character, void *context)
{
    struct import_table *table = context;
    size_t start = 0;
    (void)character;
    if (table->error == TRUC_OK) {
        for (size_t i = 0; i < table->count; i++) {
            const uint8_t *data = table->text.data == NULL ? (const uint8_t *)"" : table->text.data + start;
            table->fields[i] = truc_bytes(data, table->ends[i] - start);
            start = table->ends[i];
        }
        table->broken_lines += table->line_break;
        table->error = table->on_record(table->context, table->number, table->fields, table->count);
        table->number++;
    }
    truc_buffer_clear(&table->text);
    table->count = 0;
    table->line_break = false;
}

truc_error import_table_open(const char *path, char delimiter, import_record_fn on_record, void *context,
                             struct import_table **out)
{
    struct stat about;
    struct import_table *table = calloc(1, sizeof *table);
    if (table == NULL) {
        return TRUC_E_NOMEM;
    }
    /* Strict: a stray quote would silently swallow or tear the records behind it. */
    if (csv_init(&table->parser, CSV_STRICT | CSV_STRICT_FINI) != 0) {
        free(table);
        return TRUC_E_NOMEM;
    }
    csv_set_delim(&table->parser, (unsigned char)delimiter);
    csv_set_blk_size(&table->parser, GROWTH); /* its own step of 128 bytes copies a long record over and over */
    table->on_record = on_record;
    table->context = context;
    table->file = fopen(path, "rbe");
    if (table->file == NULL || fstat(fileno(table->file), &about) != 0) {
        import_table_close(&table);
        return TRUC_E_IO;
    }
    table->all = about.st_size > 0 ? (uint64_t)about.st_size : 0;
    *out = table;
    return TRUC_OK;
}

void import_table_close(struct import_table **table)
{
    if (*table == NULL) {
        return;
    }
    int keep = errno;
    if ((*table)->file != NULL) {
        (void)fclose((*table)->file); /* read only: nothing can be lost */
    }
    csv_free(&(*table)->parser);
    truc_buffer_close(&(*table)->text);
    free(*table);
    *table = NULL;
    errno = keep;
}

/* The end of the file: a last record without a line break, or a quote that was never closed. */
static truc_error finish(struct import_table *table)
{
    table->ended = true;
    if (csv_fini(&table->parser, on_value, on_end_of_record, table) != 0) {
        return csv_error(&table->parser) == CSV_ENOMEM ? TRUC_E_NOMEM : TRUC_E_MALFORMED;
    }
    return table->error != TRUC_OK ? table->error : TRUC_E_NOT_FOUND;
}

truc_error import_table_read(struct import_table *table)
{
    static const uint8_t mark[] = {0xEF, 0xBB, 0xBF};
    uint8_t chunk[CHUNK], *from = chunk;
    if (table->ended || table->error != TRUC_OK) {
        return table->error != TRUC_OK ? table->error : TRUC_E_NOT_FOUND;
    }
    size_t size = fread(chunk, 1, sizeof chunk, table->file);
    if (size == 0) {
        return ferror(table->file) ? TRUC_E_IO : finish(table);
    }
    if (table->done == 0 && size >= sizeof mark && memcmp(chunk, mark, sizeof mark) == 0) {
        from += sizeof mark;
        size -= sizeof mark;
        table->done = sizeof mark;
    }
    table->done += size;
    if (csv_parse(&table->parser, from, size, on_value, on_end_of_record, table) != size) {
        return csv_error(&table->parser) == CSV_ENOMEM ? TRUC_E_NOMEM : TRUC_E_MALFORMED;
    }
    if (table->error == TRUC_OK && csv_get_buffer_size(&table->parser) > IMPORT_RECORD_MAX) {
        table->error = TRUC_E_TOO_LARGE; /* an unclosed quote would swallow the rest of the file */
    }
    return table->error;
}

void import_table_progress(const struct import_table *table, uint64_t *done, uint64_t *all)
{
    *done = table->done;
    *all = table->all;
}

uint64_t import_table_broken_lines(const struct import_table *table)
{
    return table->broken_lines;
}

uint64_t import_table_number(const struct import_table *table)
{
    return table->number;
}
