/* Log lines: one event, one line, whatever a hostile peer put into a value. */
#include "truc/log.h"

#include <setjmp.h>
#include <stdarg.h>
#include <unistd.h>

#include <cmocka.h>

static char captured[8192];

/* Runs `say` with stderr turned into a pipe and keeps what came out. */
static void capture(void (*say)(void))
{
    int ends[2];
    assert_int_equal(pipe(ends), 0);
    int saved = dup(STDERR_FILENO);
    assert_true(saved >= 0);
    assert_true(dup2(ends[1], STDERR_FILENO) >= 0);
    say();
    assert_true(dup2(saved, STDERR_FILENO) >= 0);
    close(saved);
    close(ends[1]);
    size_t used = 0;
    ssize_t got;
    while ((got = read(ends[0], captured + used, sizeof captured - 1 - used)) > 0) {
        used += (size_t)got;
    }
    captured[used] = '\0';
    close(ends[0]);
}

static void say_session(void)
{
    truc_log(TRUC_LOG_WARN, "session_open", "agency=%s number=%d", "H14.09", 7);
}

static void test_a_line_has_time_level_event_and_fields(void **state)
{
    (void)state;
    capture(say_session);
    int year, ms, used = 0;
    assert_int_equal(sscanf(captured, "%4d-%*2d-%*2dT%*2d:%*2d:%*2d.%3dZ %n", &year, &ms, &used), 2);
    assert_true(year >= 2024);
    assert_string_equal(captured + used, "level=warn event=session_open agency=H14.09 number=7\n");
}

static void say_debug(void)
{
    truc_log(TRUC_LOG_DEBUG, "quiet", "a=%d", 1);
}

static void test_levels(void **state)
{
    (void)state;
    enum truc_log_level level = TRUC_LOG_INFO;
    capture(say_debug);
    assert_string_equal(captured, "");
    assert_int_equal(truc_log_level_parse("debug", &level), TRUC_OK);
    truc_log_set_level(level);
    capture(say_debug);
    assert_non_null(strstr(captured, "level=debug event=quiet a=1\n"));
    truc_log_set_level(TRUC_LOG_INFO);
    assert_int_equal(truc_log_level_parse("loud", &level), TRUC_E_INVALID);
}

static void say_forged(void)
{
    truc_log(TRUC_LOG_INFO, "x", "a=%s", "1\n2026-01-01T00:00:00.000Z level=info event=forged");
}

static void say_long(void)
{
    char value[4000];
    memset(value, 'v', sizeof value - 1);
    value[sizeof value - 1] = '\0';
    truc_log(TRUC_LOG_INFO, "x", "a=%s", value);
}

static void say_nothing_more(void)
{
    truc_log(TRUC_LOG_INFO, "stopped", "%s", "");
}

static void test_no_value_makes_a_second_line(void **state)
{
    (void)state;
    capture(say_forged);
    assert_ptr_equal(strchr(captured, '\n'), captured + strlen(captured) - 1);
    capture(say_long);
    assert_ptr_equal(strchr(captured, '\n'), captured + strlen(captured) - 1);
    assert_true(strlen(captured) <= 2048);
    assert_string_equal(captured + strlen(captured) - 5, " ...\n");
    capture(say_nothing_more);
    assert_non_null(strstr(captured, "level=info event=stopped\n"));
}

static void expect_quoted(const char *value, size_t size, const char *wanted)
{
    char out[64];
    assert_string_equal(truc_log_quote(truc_bytes(value, size), out, sizeof out), wanted);
}

static void test_quoting(void **state)
{
    (void)state;
    expect_quoted("H14.09", 6, "H14.09");
    expect_quoted("", 0, "\"\"");
    expect_quoted("two words", 9, "\"two words\"");
    expect_quoted("a=b", 3, "\"a=b\"");
    expect_quoted("q\"\\", 3, "\"q\\\"\\\\\"");
    expect_quoted("\n\x1b[0m", 5, "\"\\n\\x1b[0m\"");
    expect_quoted("a\0b", 3, "\"a\\x00b\"");
    expect_quoted("Hu\xe1\xba\xbf", 5, "\"Hu\xe1\xba\xbf\""); /* Vietnamese stays readable */
    expect_quoted("\xe1\xba", 2, "\"\\xe1\\xba\"");           /* cut UTF-8 does not */
    expect_quoted("\xc2\x9b", 2, "\"\\xc2\\x9b\"");           /* nor a C1 control that terminals obey */
}

static void test_quoting_cuts_to_fit(void **state)
{
    (void)state;
    const char *text = "a long value with spaces and more";
    for (size_t size = 1; size < 40; size++) {
        char out[64];
        memset(out, 'z', sizeof out);
        assert_ptr_equal(truc_log_quote(truc_bytes_of(text), out, size), out);
        assert_true(strlen(out) < size);
        if (size >= 6) {
            assert_int_equal(out[0], '"');
            assert_int_equal(out[strlen(out) - 1], '"');
        }
        for (size_t i = size; i < sizeof out; i++) {
            assert_int_equal(out[i], 'z');
        }
    }
    char out[10];
    assert_string_equal(truc_log_quote(truc_bytes_of("0123456789"), out, sizeof out), "\"0123...\"");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_line_has_time_level_event_and_fields),
        cmocka_unit_test(test_levels),
        cmocka_unit_test(test_no_value_makes_a_second_line),
        cmocka_unit_test(test_quoting),
        cmocka_unit_test(test_quoting_cuts_to_fit),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
