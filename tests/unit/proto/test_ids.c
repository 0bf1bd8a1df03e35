/* Agency codes, types, sources, recipients, times and the short keys. */
#include "truc/event.h"

#include "tests/unit/proto/support.h"

static void assert_agency(const char *code, bool valid)
{
    if (truc_agency_is_valid(truc_bytes_of(code)) != valid) {
        fail_msg("'%s' should be %s", code, valid ? "valid" : "refused");
    }
}

static void test_agency_codes(void **state)
{
    (void)state;
    assert_agency("H62", true);
    assert_agency("G12.18", true);
    assert_agency("H37.02.02", true);
    assert_agency("000.00.12.H62", true);
    assert_agency("ABCDEFGHIJKLMNOPQRSTUVWXYZ012345678", true);   /* 35 */
    assert_agency("ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789", false); /* 36 */
    assert_agency("", false);
    assert_agency(".", false);
    assert_agency("H62.", false);
    assert_agency(".H62", false);
    assert_agency("H62..12", false);
    assert_agency("h62", false);
    assert_agency("H62 ", false);
    assert_agency("H62\xc4\x90", false);
    assert_false(truc_agency_is_valid(truc_bytes("H62\0", 4)));
}

static void assert_normal(const char *code, const char *normal)
{
    char out[TRUC_AGENCY_MAX + 1];
    assert_int_equal(truc_agency_normalise(truc_bytes_of(code), out), TRUC_OK);
    assert_string_equal(out, normal);
}

static void test_older_codes_are_turned_round(void **state)
{
    (void)state;
    char out[TRUC_AGENCY_MAX + 1];
    assert_normal("000.00.12.H62", "H62.12");
    assert_normal("000.00.00.H62", "H62");
    assert_normal("001.04.12.H62", "H62.12.04.001");
    assert_normal("00.G09", "G09");
    /* a level that is skipped in the middle stays, or two offices would share a code */
    assert_normal("001.00.12.H62", "H62.12.00.001");
    assert_normal("H62.12", "H62.12");
    assert_normal("H62", "H62");
    assert_normal("12.34", "12.34");
    assert_normal("12.H1.34", "12.H1.34");
    assert_normal("1A.H62", "1A.H62"); /* a letter before the last group: not the older form */
    assert_normal("00000000000000000000000000000001.H6", "H6.00000000000000000000000000000001");
    assert_int_equal(truc_agency_normalise(truc_bytes_of("h62"), out), TRUC_E_MALFORMED);
    assert_int_equal(truc_agency_normalise(truc_bytes(NULL, 0), out), TRUC_E_MALFORMED);
}

static bool matches(const char *pattern, const char *type)
{
    return truc_type_matches(truc_bytes_of(pattern), truc_bytes_of(type));
}

static void test_types_and_patterns(void **state)
{
    (void)state;
    char longest[257];
    memset(longest, 'a', 256);
    longest[256] = '\0';
    assert_true(truc_type_is_valid(truc_bytes_of("dossier.not-accepted_2.v1")));
    assert_true(truc_type_is_valid(truc_bytes(longest, 255)));
    assert_false(truc_type_is_valid(truc_bytes(longest, 256)));
    assert_false(truc_type_is_valid(truc_bytes_of("")));
    assert_false(truc_type_is_valid(truc_bytes_of("Dossier.v1")));
    assert_false(truc_type_is_valid(truc_bytes_of("dossier.*")));
    assert_true(truc_type_pattern_is_valid(truc_bytes_of("dossier.*")));
    assert_true(truc_type_pattern_is_valid(truc_bytes_of("*")));
    assert_true(truc_type_pattern_is_valid(truc_bytes_of("dossier.v1")));
    assert_false(truc_type_pattern_is_valid(truc_bytes_of("*.v1")));
    assert_false(truc_type_pattern_is_valid(truc_bytes_of("a**")));
    assert_false(truc_type_pattern_is_valid(truc_bytes_of("")));
    assert_true(matches("*", "a.v1"));
    assert_true(matches("a.*", "a.v1"));
    assert_true(matches("a.v1", "a.v1"));
    assert_false(matches("a.v1", "a.v10"));
    assert_false(matches("a.*", "ab.v1"));
    assert_false(matches("a.v1*", "a.v"));
    assert_false(matches("", "a.v1"));
}

static void test_the_agency_in_a_source(void **state)
{
    (void)state;
    support_assert_text(truc_source_agency(truc_bytes_of("urn:truc:H62.12")), "H62.12");
    support_assert_text(truc_source_agency(truc_bytes_of("urn:truc:H62.12:one-stop:desk 3")), "H62.12");
    support_assert_text(truc_source_agency(truc_bytes_of("urn:truc:")), "");
    support_assert_text(truc_source_agency(truc_bytes_of("urn:truc::x")), "");
    support_assert_text(truc_source_agency(truc_bytes_of("urn:truc:h62")), "");
    support_assert_text(truc_source_agency(truc_bytes_of("URN:truc:H62")), "");
    support_assert_text(truc_source_agency(truc_bytes_of("https://example.com/H62")), "");
    support_assert_text(truc_source_agency(truc_bytes(NULL, 0)), "");
}

static void test_recipients_come_in_order(void **state)
{
    (void)state;
    struct truc_bytes list = truc_bytes_of("H62.12,@land,G09"), one;
    size_t at = 0;
    assert_true(truc_recipients_next(list, &at, &one));
    support_assert_text(one, "H62.12");
    assert_true(truc_recipients_next(list, &at, &one));
    support_assert_text(one, "@land");
    assert_true(truc_recipients_next(list, &at, &one));
    support_assert_text(one, "G09");
    assert_false(truc_recipients_next(list, &at, &one));
    assert_false(truc_recipients_next(list, &at, &one));
    at = 0;
    assert_false(truc_recipients_next(truc_bytes(NULL, 0), &at, &one));
}

static void assert_recipients(const char *list, truc_error expected)
{
    struct truc_event event = {0};
    if (truc_event_set_text(&event, "recipients", truc_bytes_of(list)) != expected) {
        fail_msg("'%.60s' was judged wrongly", list);
    }
}

static void test_the_form_of_recipients(void **state)
{
    (void)state;
    char many[65 * 3 + 1];
    assert_recipients("H62", TRUC_OK);
    assert_recipients("@land-offices,H62.12", TRUC_OK);
    assert_recipients("H62, H63", TRUC_E_INVALID);
    assert_recipients("H62,", TRUC_E_INVALID);
    assert_recipients(",H62", TRUC_E_INVALID);
    assert_recipients("", TRUC_E_INVALID);
    assert_recipients("@", TRUC_E_INVALID);
    assert_recipients("@a@b", TRUC_E_INVALID);
    for (size_t i = 0; i < 65; i++) {
        memcpy(many + 3 * i, "H1,", 3);
    }
    many[65 * 3 - 1] = '\0';
    assert_recipients(many, TRUC_E_INVALID);
    many[64 * 3 - 1] = '\0';
    assert_recipients(many, TRUC_OK);
}

/* Both known answers were computed by another SHA-256. */
static void test_short_keys(void **state)
{
    (void)state;
    uint8_t key[16], other[16];
    char hex[33];
    truc_event_key(truc_bytes_of("H62.12"), truc_bytes_of("urn:truc:H62.12:desk"), truc_bytes_of("e-1"), key);
    truc_hex(truc_bytes(key, 16), hex);
    assert_string_equal(hex, "eee39e81c47a333727165d7d81f0efce");
    /* the parts' borders count */
    truc_event_key(truc_bytes_of("H62.1"), truc_bytes_of("2urn:truc:H62.12:desk"), truc_bytes_of("e-1"), other);
    assert_memory_not_equal(key, other, 16);
    assert_true(truc_subject_hash(truc_bytes_of("H\xe1\xbb\x93 s\xc6\xa1 1")) == 0xe13c656f0e927b6aull);
    assert_true(truc_subject_hash(truc_bytes(NULL, 0)) == 0);
}

static void assert_time(const char *text, int64_t expected)
{
    int64_t time_us = -1;
    assert_int_equal(truc_time_parse(truc_bytes_of(text), &time_us), TRUC_OK);
    if (time_us != expected) {
        fail_msg("%s: %lld instead of %lld", text, (long long)time_us, (long long)expected);
    }
}

static void test_times_are_read(void **state)
{
    (void)state;
    assert_time("1970-01-01T00:00:00Z", 0);
    assert_time("1985-04-12T23:20:50.52Z", 482196050520000);        /* RFC 3339, section 5.8 */
    assert_time("1996-12-19T16:39:57-08:00", 851042397000000);      /* the same section */
    assert_time("1937-01-01T12:00:27.87+00:20", -1041337172130000); /* the same section */
    assert_time("2026-11-22T09:30:00.250000+07:00", 1795314600250000);
    assert_time("2026-11-22t02:30:00.250000999z", 1795314600250000);
    assert_time("2000-02-29T00:00:00Z", 951782400000000);
    assert_time("0001-01-01T00:00:00Z", -62135596800000000);
    assert_time("9999-12-31T23:59:59.999999Z", 253402300799999999);
    assert_time("1969-12-31T23:59:59.9Z", -100000);
}

static void test_what_is_no_time(void **state)
{
    (void)state;
    static const char *const wrong[] = {
        "",
        "2026-11-22",
        "2026-11-22T09:30:00",
        "2026-11-22T09:30Z",
        "2026-11-22 09:30:00Z",
        "2026-11-22T09:30:00+0700",
        "2026-11-22T09:30:00+07:00 ",
        "2026-11-22T09:30:00.Z",
        "2026-11-22T09:30:00.0000000001Z",
        "2026-11-22T24:00:00Z",
        "2026-11-22T09:60:00Z",
        "2026-11-22T09:30:60Z",
        "2026-13-01T00:00:00Z",
        "2026-00-01T00:00:00Z",
        "2026-02-29T00:00:00Z",
        "1900-02-29T00:00:00Z",
        "2026-04-31T00:00:00Z",
        "0000-01-01T00:00:00Z",
        "0001-01-01T00:00:00+00:01",
        "9999-12-31T23:59:59-00:01",
        "2026-11-22T09:30:00+24:00",
        "2026-11-22T09:30:00+07:60",
        "-026-11-22T09:30:00Z",
        "2026-11-22T09:30:00ZZ",
    };
    int64_t time_us;
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        struct truc_bytes copy = support_exact_copy(truc_bytes_of(wrong[i]));
        if (truc_time_parse(copy, &time_us) != TRUC_E_MALFORMED) {
            fail_msg("taken for a time: '%s'", wrong[i]);
        }
        support_free_copy(copy);
    }
}

static void test_times_are_written(void **state)
{
    (void)state;
    char text[40];
    int64_t again;
    truc_time_format(0, text);
    assert_string_equal(text, "1970-01-01T00:00:00Z");
    truc_time_format(1795314600250000, text);
    assert_string_equal(text, "2026-11-22T02:30:00.250Z");
    truc_time_format(-1, text);
    assert_string_equal(text, "1969-12-31T23:59:59.999999Z");
    truc_time_format(-62135596800000000, text);
    assert_string_equal(text, "0001-01-01T00:00:00Z");
    truc_time_format(INT64_MAX, text); /* beyond what can be read, yet within the room */
    assert_string_equal(text, "294247-01-10T04:00:54.775807Z");
    truc_time_format(INT64_MIN, text);
    assert_string_equal(text, "-290308-12-21T19:59:05.224192Z");
    for (int64_t time_us = -62135596800000000; time_us < 253402300800000000; time_us += 86399999999 * 13) {
        truc_time_format(time_us, text);
        assert_int_equal(truc_time_parse(truc_bytes_of(text), &again), TRUC_OK);
        assert_true(again == time_us);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_agency_codes),
        cmocka_unit_test(test_older_codes_are_turned_round),
        cmocka_unit_test(test_types_and_patterns),
        cmocka_unit_test(test_the_agency_in_a_source),
        cmocka_unit_test(test_recipients_come_in_order),
        cmocka_unit_test(test_the_form_of_recipients),
        cmocka_unit_test(test_short_keys),
        cmocka_unit_test(test_times_are_read),
        cmocka_unit_test(test_what_is_no_time),
        cmocka_unit_test(test_times_are_written),
    };
    return cmocka_run_group_tests_name("ids", tests, NULL, NULL);
}
