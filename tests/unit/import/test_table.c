/* CSV as it is found: line breaks inside quotes, byte order marks, missing last line breaks, quotes that never close.
 */
#include "adapters/import/table.h"

#include <setjmp.h>
#include <stdarg.h>
#include <unistd.h>

#include <cmocka.h>

#define SEEN_MAX 4096

static char path[64];
static char seen[SEEN_MAX];
static uint64_t records;
static truc_error answer; /* what the callback says */

static truc_error on_record(void *context, uint64_t number, const struct truc_bytes *fields, size_t count)
{
    (void)context;
    assert_int_equal(number, records);
    records++;
    for (size_t i = 0; i < count; i++) {
        size_t used = strlen(seen);
        (void)snprintf(seen + used, sizeof seen - used, "[%.*s]", (int)fields[i].size, (const char *)fields[i].data);
    }
    size_t used = strlen(seen);
    (void)snprintf(seen + used, sizeof seen - used, ";");
    return answer;
}

static int setup(void **state)
{
    (void)state;
    (void)snprintf(path, sizeof path, "/tmp/truc-test-table-XXXXXX");
    int fd = mkstemp(path);
    seen[0] = '\0';
    records = 0;
    answer = TRUC_OK;
    return fd < 0 ? -1 : close(fd);
}

static int teardown(void **state)
{
    (void)state;
    return unlink(path);
}

static void store(const void *data, size_t size, size_t times)
{
    FILE *file = fopen(path, "we");
    assert_non_null(file);
    for (size_t i = 0; i < times; i++) {
        assert_int_equal(fwrite(data, 1, size, file), size);
    }
    assert_int_equal(fclose(file), 0);
}

/* Reads to the end or to the first error; a second read says the same. */
static truc_error read_all(char delimiter, uint64_t *broken_lines)
{
    struct import_table *table = NULL;
    uint64_t done, all;
    assert_int_equal(import_table_open(path, delimiter, on_record, NULL, &table), TRUC_OK);
    truc_error error;
    do {
        error = import_table_read(table);
    } while (error == TRUC_OK);
    assert_true(import_table_read(table) != TRUC_OK);
    if (error == TRUC_E_NOT_FOUND) {
        import_table_progress(table, &done, &all);
        assert_int_equal(done, all);
    }
    if (broken_lines != NULL) {
        *broken_lines = import_table_broken_lines(table);
    }
    import_table_close(&table);
    return error;
}

static truc_error read_text(const char *text, uint64_t *broken_lines)
{
    store(text, strlen(text), 1);
    return read_all(',', broken_lines);
}

static void test_records_and_line_breaks_inside_quotes(void **state)
{
    (void)state;
    uint64_t broken;
    assert_int_equal(read_text("a,b\r\n1,\"two\nlines\"\n3,\"a \"\"word\"\"\"\n,\n", &broken), TRUC_E_NOT_FOUND);
    assert_string_equal(seen, "[a][b];[1][two\nlines];[3][a \"word\"];[][];");
    assert_int_equal(broken, 1);
}

static void test_a_mark_and_a_last_line_without_its_break(void **state)
{
    (void)state;
    assert_int_equal(read_text("\xEF\xBB\xBF"
                               "a,b\n1,2",
                               NULL),
                     TRUC_E_NOT_FOUND);
    assert_string_equal(seen, "[a][b];[1][2];");
}

static void test_another_delimiter(void **state)
{
    (void)state;
    store("a;b\n1,5;2\n", 10, 1);
    assert_int_equal(read_all(';', NULL), TRUC_E_NOT_FOUND);
    assert_string_equal(seen, "[a][b];[1,5][2];");
}

static void test_an_empty_file_has_no_records(void **state)
{
    (void)state;
    assert_int_equal(read_text("", NULL), TRUC_E_NOT_FOUND);
    assert_int_equal(records, 0);
}

static void test_a_quote_that_never_closes(void **state)
{
    (void)state;
    assert_int_equal(read_text("a,b\n1,\"and so on\n2,3\n", NULL), TRUC_E_MALFORMED);
    assert_string_equal(seen, "[a][b];");
    /* and it does not take the memory of the whole file */
    static char chunk[64 << 10];
    memset(chunk, 'x', sizeof chunk);
    chunk[0] = '"';
    chunk[1] = 'x';
    seen[0] = '\0';
    records = 0;
    FILE *file = fopen(path, "we");
    assert_non_null(file);
    assert_int_equal(fwrite(chunk, 1, sizeof chunk, file), sizeof chunk);
    chunk[0] = 'x';
    for (size_t i = 0; i < 2 * IMPORT_RECORD_MAX / sizeof chunk; i++) {
        assert_int_equal(fwrite(chunk, 1, sizeof chunk, file), sizeof chunk);
    }
    assert_int_equal(fclose(file), 0);
    assert_int_equal(read_all(',', NULL), TRUC_E_TOO_LARGE);
}

static void test_a_quote_in_the_wrong_place(void **state)
{
    (void)state;
    assert_int_equal(read_text("a,b\n1,tw\"o\n", NULL), TRUC_E_MALFORMED);
}

static void test_more_columns_than_anybody_needs(void **state)
{
    (void)state;
    store(",", 1, IMPORT_COLUMNS_MAX + 1);
    assert_int_equal(read_all(',', NULL), TRUC_E_MALFORMED);
    assert_int_equal(records, 0);
}

static void test_the_callback_can_end_it(void **state)
{
    (void)state;
    answer = TRUC_E_CLOSED;
    assert_int_equal(read_text("a\nb\nc\n", NULL), TRUC_E_CLOSED);
    assert_string_equal(seen, "[a];");
}

static void test_a_file_that_is_not_there(void **state)
{
    (void)state;
    struct import_table *table = NULL;
    assert_int_equal(import_table_open("/tmp/truc-test-table-none/x", ',', on_record, NULL, &table), TRUC_E_IO);
    assert_null(table);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_records_and_line_breaks_inside_quotes, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_mark_and_a_last_line_without_its_break, setup, teardown),
        cmocka_unit_test_setup_teardown(test_another_delimiter, setup, teardown),
        cmocka_unit_test_setup_teardown(test_an_empty_file_has_no_records, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_quote_that_never_closes, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_quote_in_the_wrong_place, setup, teardown),
        cmocka_unit_test_setup_teardown(test_more_columns_than_anybody_needs, setup, teardown),
        cmocka_unit_test_setup_teardown(test_the_callback_can_end_it, setup, teardown),
        cmocka_unit_test(test_a_file_that_is_not_there),
    };
    return cmocka_run_group_tests_name("import table", tests, NULL, NULL);
}
