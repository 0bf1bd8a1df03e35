/* Templates and times of the importer: what a log's columns hold, traps included. */
#include "adapters/import/template.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

static struct truc_bytes fields[4];
static const char *const names[] = {"case:startdate", "number", "channel", "text"};
static struct import_row row;
static struct truc_buffer out;

static const struct import_entry entries[] = {
    {(char *)(uintptr_t) "channel", (char *)(uintptr_t) "Internet", (char *)(uintptr_t) "ONLINE"},
    {(char *)(uintptr_t) "other", (char *)(uintptr_t) "*", (char *)(uintptr_t) "REST"}};

static int setup(void **state)
{
    (void)state;
    row = (struct import_row){.fields = fields,
                              .count = 4,
                              .number = 7,
                              .agency = "H14.09",
                              .entries = entries,
                              .entry_count = 2,
                              .offset_minutes = 7 * 60};
    fields[0] = truc_bytes_of("2011-10-11 13:42:22.688000+02:00");
    fields[1] = truc_bytes_of("case-10011");
    fields[2] = truc_bytes_of("Internet");
    fields[3] = truc_bytes(NULL, 0);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    truc_buffer_close(&row.scratch);
    truc_buffer_close(&out);
    return 0;
}

static enum import_skip write_text(const char *text)
{
    struct truc_bytes columns[4];
    struct import_template t;
    const char *missing;
    char why[256];
    enum import_skip skip;
    for (size_t i = 0; i < 4; i++) {
        columns[i] = truc_bytes_of(names[i]);
    }
    assert_int_equal(import_template_parse(text, &t, why), TRUC_OK);
    assert_true(import_template_bind(&t, columns, 4, &missing));
    truc_buffer_clear(&out);
    assert_int_equal(import_template_write(&t, &row, &out, &skip), TRUC_OK);
    import_template_close(&t);
    assert_int_equal(truc_buffer_append(&out, "", 1), TRUC_OK); /* to compare as text */
    return skip;
}

static void assert_writes(const char *text, const char *expected)
{
    assert_int_equal(write_text(text), IMPORT_MADE);
    assert_string_equal((const char *)out.data, expected);
}

static void test_values_and_filters(void **state)
{
    (void)state;
    assert_writes("plain", "plain");
    assert_writes("", "");
    assert_writes("{agency}-{case:startdate|day}-{number|digits:7}", "H14.09-20111011-0010011");
    assert_writes("{row}", "7");
    assert_writes("{case:startdate|time}", "1318333342688000");
    assert_writes("{channel|lookup:channel}", "ONLINE");
    assert_writes("{number|lookup:other}", "REST");
    assert_writes("{text}", "");
    assert_writes("{text|time}{text|lookup:channel}{text|digits:4}", ""); /* empty stays empty */
    assert_writes("{text|default:none}", "none");
    assert_writes("{text|default:2016-01-02|day}", "20160102");
    assert_writes("{number|digits:3}", "011"); /* the last ones */
    fields[3] = truc_bytes_of("58626.0");
    assert_writes("{text|whole}", "58626");
    fields[3] = truc_bytes_of("Giấy phép"); /* 'ấ' is three bytes, from the third on */
    assert_writes("{text|cut:2}", "Gi");
    assert_writes("{text|cut:4}", "Gi");
    assert_writes("{text|cut:5}", "Giấ");
}

static void test_what_cannot_be_written_is_said(void **state)
{
    (void)state;
    fields[2] = truc_bytes_of("Pigeon");
    assert_int_equal(write_text("{channel|lookup:channel}"), IMPORT_SKIP_UNKNOWN);
    fields[0] = truc_bytes_of("yesterday");
    assert_int_equal(write_text("{case:startdate|time}"), IMPORT_SKIP_BAD_TIME);
    assert_int_equal(write_text("{case:startdate|day}"), IMPORT_SKIP_BAD_TIME);
}

static void test_a_missing_offset_is_noted(void **state)
{
    (void)state;
    assert_writes("{case:startdate|time}", "1318333342688000");
    assert_false(row.offset_missing);
    fields[0] = truc_bytes_of("2011-10-11 13:42:22");
    assert_writes("{case:startdate|time}", "1318315342000000"); /* read at +07:00 */
    assert_true(row.offset_missing);
}

static void test_templates_that_are_none(void **state)
{
    (void)state;
    static const char *const bad[] = {"{open",      "{}",           "{a|unknown}",
                                      "{a|digits}", "{a|digits:0}", "{a|digits:x}",
                                      "{a|time:1}", "{a|lookup}",   "{a|time|time|time|time|time}"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct import_template t;
        char why[256] = "";
        assert_int_equal(import_template_parse(bad[i], &t, why), TRUC_E_CONFIG);
        assert_true(why[0] != '\0');
    }
}

static void test_a_column_that_is_not_there(void **state)
{
    (void)state;
    struct import_template t;
    struct truc_bytes columns[1] = {truc_bytes_of("a")};
    const char *missing = NULL;
    char why[256];
    assert_int_equal(import_template_parse("{a}{b}", &t, why), TRUC_OK);
    assert_false(import_template_bind(&t, columns, 1, &missing));
    assert_string_equal(missing, "b");
    import_template_close(&t);
}

static void test_forms_of_time(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        int64_t us;
        bool has_offset;
    } good[] = {{"1970-01-01 00:00:00Z", 0, true},
                {"1970-01-01T01:00:00+01:00", 0, true},
                {"1970-01-01 00:00:00.5-01:00", 3600500000, true},
                {"1970-01-01 07:00:00", 0, false},
                {"1970-01-01 07:00:00.25", 250000, false},
                {"1970-01-02", (24 - 7) * INT64_C(3600000000), false},
                {"19700101070001", 1000000, false}};
    static const char *const bad[] = {"",           "1970-13-01",       "1970-01-01 25:00:00",     "19700101",
                                      "01/02/1970", "1970-01-01 07:00", "1970-01-01 07:00:00 CET", "197001010700ab"};
    int64_t us;
    bool has_offset;
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
        assert_int_equal(import_time_parse(truc_bytes_of(good[i].text), 420, &us, &has_offset), TRUC_OK);
        assert_int_equal(us, good[i].us);
        assert_int_equal(has_offset, good[i].has_offset);
    }
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        assert_int_equal(import_time_parse(truc_bytes_of(bad[i]), 420, &us, &has_offset), TRUC_E_MALFORMED);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_values_and_filters, setup, teardown),
        cmocka_unit_test_setup_teardown(test_what_cannot_be_written_is_said, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_missing_offset_is_noted, setup, teardown),
        cmocka_unit_test(test_templates_that_are_none),
        cmocka_unit_test(test_a_column_that_is_not_there),
        cmocka_unit_test(test_forms_of_time),
    };
    return cmocka_run_group_tests_name("import template", tests, NULL, NULL);
}
