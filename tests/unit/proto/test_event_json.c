/* CloudEvents JSON: what people and their programs write, and what they get back. */
#include "truc/event.h"

#include "tests/unit/proto/support.h"

#define REQUIRED "\"specversion\":\"1.0\",\"id\":\"7\",\"source\":\"urn:truc:H62\",\"type\":\"a.v1\""
#define SALT "\"salt\":\"AAECAwQFBgcICQoLDA0ODw==\""

static struct truc_event event;
static struct truc_buffer encoded, json;
static char why[256];

static int clear(void **state)
{
    (void)state;
    truc_buffer_clear(&encoded);
    truc_buffer_clear(&json);
    why[0] = '\0';
    return 0;
}

/* JSON to event bytes to the parsed `event`, borrowed from `encoded`. */
static void read_json(const char *text)
{
    struct truc_bytes copy = support_exact_copy(truc_bytes_of(text));
    truc_buffer_clear(&encoded);
    if (truc_event_from_json(copy, &encoded, why) != TRUC_OK) {
        fail_msg("refused: %s: %s", why, text);
    }
    support_free_copy(copy);
    assert_int_equal(truc_event_parse(truc_buffer_view(&encoded), &event), TRUC_OK);
}

static void assert_json(const char *expected)
{
    truc_buffer_clear(&json);
    assert_int_equal(truc_event_to_json(&event, &json), TRUC_OK);
    support_assert_text(truc_buffer_view(&json), expected);
}

/* What comes out goes in again and gives the same bytes, and the same text. */
static void assert_round_trip(const char *expected)
{
    struct truc_buffer first = {0}, again = {0};
    assert_json(expected);
    assert_int_equal(truc_buffer_append(&first, encoded.data, encoded.size), TRUC_OK);
    assert_int_equal(truc_event_from_json(truc_buffer_view(&json), &again, why), TRUC_OK);
    assert_int_equal(again.size, first.size);
    assert_memory_equal(again.data, first.data, first.size);
    truc_buffer_close(&first);
    truc_buffer_close(&again);
}

static void test_all_attributes_there_and_back(void **state)
{
    (void)state;
    read_json(" {\n" REQUIRED ",\n" SALT ", \"subject\":\"H\xe1\xbb\x93 s\\u01a1 \\\"1\\\"\\\\\","
              "\"time\":\"2026-11-22T09:30:00.25+07:00\", \"expires\":\"2027-01-01T00:00:00Z\","
              "\"recipients\":\"G12,@land\",\"urgent\":true,\"level\":-3,\"dataschema\":\"urn:s\",\"nothing\":null,"
              "\"datacontenttype\":\"application/json\",\"data\":{\"fee\": 0.10 , \"n\":[1, 2,{}] ,\"t\":\" a \"}}\n");
    support_assert_text(event.id, "7");
    support_assert_text(event.subject, "H\xe1\xbb\x93 s\xc6\xa1 \"1\"\\");
    assert_int_equal(event.time_us, 1795314600250000);
    assert_true(event.has_expires);
    support_assert_text(event.recipients, "G12,@land");
    assert_int_equal(event.salt.data[15], 15);
    assert_int_equal(event.data_kind, TRUC_DATA_TEXT);
    support_assert_text(event.data, "{\"fee\":0.10,\"n\":[1,2,{}],\"t\":\" a \"}"); /* 0.10 stays 0.10 */
    assert_round_trip("{" REQUIRED "," SALT ",\"subject\":\"H\xe1\xbb\x93 s\xc6\xa1 \\\"1\\\"\\\\\","
                      "\"time\":\"2026-11-22T02:30:00.250Z\",\"expires\":\"2027-01-01T00:00:00Z\","
                      "\"recipients\":\"G12,@land\",\"urgent\":true,\"level\":-3,\"dataschema\":\"urn:s\","
                      "\"datacontenttype\":\"application/json\","
                      "\"data\":{\"fee\":0.10,\"n\":[1,2,{}],\"t\":\" a \"}}");
}

/* Text may hold U+0000, and is not another text when it comes back. */
static void test_text_with_a_zero_character(void **state)
{
    (void)state;
    read_json("{" REQUIRED "," SALT ",\"datacontenttype\":\"text/plain\",\"data\":\"a\\u0000b\"}");
    assert_int_equal(event.data.size, 3);
    assert_memory_equal(event.data.data, "a\0b", 3);
    assert_round_trip("{" REQUIRED "," SALT ",\"datacontenttype\":\"text/plain\",\"data\":\"a\\u0000b\"}");
    read_json("{" REQUIRED "," SALT ",\"data\":[\"\\u0000\"]}");
    assert_round_trip("{" REQUIRED "," SALT ",\"datacontenttype\":\"application/json\",\"data\":[\"\\u0000\"]}");
    assert_int_equal(truc_event_from_json(truc_bytes_of("{" REQUIRED ",\"subject\":\"a\\u0000\"}"), &encoded, why),
                     TRUC_E_MALFORMED);
}

static void test_data_of_each_kind(void **state)
{
    (void)state;
    read_json("{" REQUIRED "," SALT "}");
    assert_int_equal(event.data_kind, TRUC_DATA_NONE);
    assert_round_trip("{" REQUIRED "," SALT "}");

    read_json("{" REQUIRED "," SALT ",\"data\":\"plain \\\"words\\\"\\n\"}");
    support_assert_text(event.data, "plain \"words\"\n");
    assert_int_equal(event.data_type.size, 0);
    assert_round_trip("{" REQUIRED "," SALT ",\"data\":\"plain \\\"words\\\"\\n\"}");

    read_json("{" REQUIRED "," SALT ",\"data\":[1.50,12345678901234567]}"); /* no type: it becomes JSON */
    support_assert_text(event.data_type, "application/json");
    support_assert_text(event.data, "[1.50,12345678901234567]");
    assert_round_trip("{" REQUIRED "," SALT
                      ",\"datacontenttype\":\"application/json\",\"data\":[1.50,12345678901234567]}");

    read_json("{" REQUIRED "," SALT ",\"datacontenttype\":\"application/geo+json; v=1\",\"data\":\"s\\u0041\"}");
    support_assert_text(event.data, "\"s\\u0041\""); /* a JSON string, as it was written */
    assert_round_trip("{" REQUIRED "," SALT
                      ",\"datacontenttype\":\"application/geo+json; v=1\",\"data\":\"s\\u0041\"}");

    read_json("{" REQUIRED "," SALT ",\"datacontenttype\":\"text/xml\",\"data\":\"<a/>\"}");
    support_assert_text(event.data, "<a/>");
    assert_round_trip("{" REQUIRED "," SALT ",\"datacontenttype\":\"text/xml\",\"data\":\"<a/>\"}");

    read_json("{" REQUIRED "," SALT ",\"data_base64\":\"AP8=\"}");
    assert_int_equal(event.data_kind, TRUC_DATA_BINARY);
    assert_int_equal(event.data.size, 2);
    assert_round_trip("{" REQUIRED "," SALT ",\"data_base64\":\"AP8=\"}");

    read_json("{" REQUIRED "," SALT ",\"data_base64\":\"\"}");
    assert_int_equal(event.data_kind, TRUC_DATA_BINARY);
    assert_round_trip("{" REQUIRED "," SALT ",\"data_base64\":\"\"}");

    read_json("{" REQUIRED "," SALT ",\"data\":null}");
    assert_int_equal(event.data_kind, TRUC_DATA_NONE);
}

static void test_data_is_found_among_look_alikes(void **state)
{
    (void)state;
    read_json("{" REQUIRED "," SALT ",\"note\":\"\\\"data\\\":1,}\",\"d\":\"data\",\"data\" :\t{\"data\":\"}\"} }");
    support_assert_text(event.data, "{\"data\":\"}\"}");
    read_json("{" REQUIRED "," SALT ",\"d\\u0061ta\":{\"x\":1}}"); /* the key in another spelling */
    support_assert_text(event.data, "{\"x\":1}");
    read_json("{\"data\":-0," REQUIRED "," SALT "}");
    support_assert_text(event.data, "-0");
}

static void test_id_and_salt_are_made_where_absent(void **state)
{
    (void)state;
    uint8_t salt[16], id[32];
    static const char text[] = "{\"specversion\":\"1.0\",\"source\":\"urn:truc:H62\",\"type\":\"a.v1\"}";
    read_json(text);
    assert_int_equal(event.id.size, 32);
    assert_int_equal(event.salt.size, 16);
    memcpy(id, event.id.data, 32);
    memcpy(salt, event.salt.data, 16);
    read_json(text);
    assert_memory_not_equal(id, event.id.data, 32);
    assert_memory_not_equal(salt, event.salt.data, 16);
}

/* Text that says that it is JSON and is not, or that JSON could not give back, keeps its bytes. */
static void test_what_cannot_be_embedded_goes_as_base64(void **state)
{
    (void)state;
    static const char *const texts[] = {"not json", "", "null", "{\"a\":1,\"a\":2}", "1 2", "[1e999]"};
    static const char *const base64[] = {
        "bm90IGpzb24=", "", "bnVsbA==", "eyJhIjoxLCJhIjoyfQ==", "MSAy", "WzFlOTk5XQ=="};
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        char expected[256];
        read_json("{" REQUIRED "," SALT ",\"datacontenttype\":\"application/json\"}");
        event.data_kind = TRUC_DATA_TEXT;
        event.data = truc_bytes_of(texts[i]);
        snprintf(expected, sizeof expected,
                 "{" REQUIRED "," SALT ",\"datacontenttype\":\"application/json\",\"data_base64\":\"%s\"}", base64[i]);
        assert_json(expected);
    }
}

static void test_output_is_one_line(void **state)
{
    (void)state;
    read_json("{" REQUIRED "," SALT ",\"datacontenttype\":\"application/json\"}");
    event.data_kind = TRUC_DATA_TEXT;
    event.data = truc_bytes_of("{\r\n\t\"a\" : \"x y\"\n}");
    assert_json("{" REQUIRED "," SALT ",\"datacontenttype\":\"application/json\",\"data\":{\"a\":\"x y\"}}");
    read_json("{" REQUIRED "," SALT "}");
    event.data_kind = TRUC_DATA_TEXT;
    event.data = truc_bytes_of("a\nb\x01\tc");
    assert_json("{" REQUIRED "," SALT ",\"data\":\"a\\nb\\u0001\\u0009c\"}");
}

static void test_to_json_refuses_what_would_not_be_json(void **state)
{
    (void)state;
    read_json("{" REQUIRED "," SALT "}");
    event.data_kind = TRUC_DATA_TEXT;
    event.data = truc_bytes("\xff", 1);
    assert_int_equal(truc_event_to_json(&event, &json), TRUC_E_MALFORMED);
    assert_int_equal(json.size, 0);
}

static const struct {
    const char *json, *why; /* `why` must hold this */
} wrong[] = {
    {"", "empty"},
    {"[]", "object"},
    {"7", "not"},
    {"{" REQUIRED, "JSON"},
    {"{" REQUIRED "} x", "JSON"},
    {"{" REQUIRED ",\"id\":\"8\"}", "twice"},
    {"{" REQUIRED ",\"data\":{\"a\":1,\"a\":1}}", "twice"},
    {"{" REQUIRED ",\"data\":1e999}", "large"},
    {"{\"id\":\"1\",\"source\":\"urn:truc:H62\",\"type\":\"a.v1\"}", "specversion"},
    {"{\"specversion\":\"0.3\",\"source\":\"urn:truc:H62\",\"type\":\"a.v1\"}", "specversion"},
    {"{\"specversion\":\"1.0\",\"type\":\"a.v1\"}", "source"},
    {"{\"specversion\":\"1.0\",\"source\":\"urn:truc:H62\"}", "type"},
    {"{\"specversion\":\"1.0\",\"source\":\"urn:truc:H62\",\"type\":\"A\"}", "type"},
    {"{\"specversion\":\"1.0\",\"source\":7,\"type\":\"a.v1\"}", "source"},
    {"{\"specversion\":\"1.0\",\"id\":\"\",\"source\":\"urn:truc:H62\",\"type\":\"a.v1\"}", "id"},
    {"{\"specversion\":\"1.0\",\"id\":\"a\\nb\",\"source\":\"urn:truc:H62\",\"type\":\"a.v1\"}", "id"},
    {"{" REQUIRED ",\"Subject\":\"x\"}", "name"},
    {"{" REQUIRED ",\"\":\"x\"}", "attribute"},
    {"{" REQUIRED ",\"\\u001b[31m\":\"x\"}", "name"},
    {"{" REQUIRED ",\"aaaaaaaaaaaaaaaaaaaaa\":\"x\"}", "name"},
    {"{" REQUIRED ",\"x\":1.5}", "x"},
    {"{" REQUIRED ",\"x\":[]}", "x"},
    {"{" REQUIRED ",\"x\":2147483648}", "32 bits"},
    {"{" REQUIRED ",\"x\":\"a\\u0007\"}", "control"},
    {"{" REQUIRED ",\"subject\":\"\"}", "subject"},
    {"{" REQUIRED ",\"subject\":7}", "subject"},
    {"{" REQUIRED ",\"blob\":7}", "blob"},
    {"{" REQUIRED ",\"datacontenttype\":true}", "datacontenttype"},
    {"{" REQUIRED ",\"recipients\":\"G12, G13\"}", "\"recipients\" should be one string"},
    {"{" REQUIRED ",\"recipients\":[\"G12\",\"G13\"]}", "should be one string, not an array: agency codes and @groups"},
    {"{" REQUIRED ",\"recipients\":12}", "\"recipients\" should be one string"},
    {"{" REQUIRED ",\"time\":\"22/11/2026\"}", "RFC 3339"},
    {"{" REQUIRED ",\"expires\":\"2026-11-22T09:30:00\"}", "RFC 3339"},
    {"{" REQUIRED ",\"salt\":\"AAEC\"}", "salt"},
    {"{" REQUIRED ",\"salt\":\"!\"}", "salt"},
    {"{" REQUIRED ",\"data\":1,\"data_base64\":\"AA==\"}", "exclude"},
    {"{" REQUIRED ",\"data_base64\":7}", "data_base64"},
    {"{" REQUIRED ",\"data_base64\":\"A\"}", "base64"},
    {"{" REQUIRED ",\"datacontenttype\":\"text/plain\",\"data\":{}}", "string"},
    {"{" REQUIRED ",\"data\":\"\xff\"}", "JSON"},
};

static void test_what_is_wrong_is_said(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        struct truc_bytes copy = support_exact_copy(truc_bytes_of(wrong[i].json));
        why[0] = '\0';
        if (truc_event_from_json(copy, &encoded, why) != TRUC_E_MALFORMED) {
            fail_msg("let through: %s", wrong[i].json);
        }
        if (strstr(why, wrong[i].why) == NULL || strchr(why, 27) != NULL) {
            fail_msg("'%s' does not explain %s", why, wrong[i].json);
        }
        assert_int_equal(truc_event_from_json(copy, &encoded, NULL), TRUC_E_MALFORMED);
        assert_int_equal(encoded.size, 0);
        support_free_copy(copy);
    }
}

static void test_no_cut_text_is_taken(void **state)
{
    (void)state;
    struct truc_bytes whole = truc_bytes_of("{\"data\":{\"a\":[1,\"\\\\\"]}," REQUIRED "," SALT ",\"x\":\"\\u0041\"}");
    assert_int_equal(truc_event_from_json(whole, &encoded, NULL), TRUC_OK);
    truc_buffer_clear(&encoded);
    for (size_t size = 0; size < whole.size; size++) {
        struct truc_bytes cut = support_exact_copy(truc_bytes(whole.data, size));
        assert_int_equal(truc_event_from_json(cut, &encoded, why), TRUC_E_MALFORMED);
        support_free_copy(cut);
    }
}

static void test_an_event_over_the_limit_is_named(void **state)
{
    (void)state;
    struct truc_buffer text = {0};
    static uint8_t filler[TRUC_EVENT_MAX];
    memset(filler, 'x', sizeof filler);
    assert_int_equal(truc_buffer_printf(&text, "{" REQUIRED ",\"data\":\""), TRUC_OK);
    assert_int_equal(truc_buffer_append(&text, filler, sizeof filler), TRUC_OK);
    assert_int_equal(truc_buffer_printf(&text, "\"}"), TRUC_OK);
    assert_int_equal(truc_event_from_json(truc_buffer_view(&text), &encoded, why), TRUC_E_MALFORMED);
    assert_non_null(strstr(why, "1048576"));
    truc_buffer_close(&text);
}

static int release(void **state)
{
    (void)state;
    truc_buffer_close(&encoded);
    truc_buffer_close(&json);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_all_attributes_there_and_back, clear),
        cmocka_unit_test_setup(test_text_with_a_zero_character, clear),
        cmocka_unit_test_setup(test_data_of_each_kind, clear),
        cmocka_unit_test_setup(test_data_is_found_among_look_alikes, clear),
        cmocka_unit_test_setup(test_id_and_salt_are_made_where_absent, clear),
        cmocka_unit_test_setup(test_what_cannot_be_embedded_goes_as_base64, clear),
        cmocka_unit_test_setup(test_output_is_one_line, clear),
        cmocka_unit_test_setup(test_to_json_refuses_what_would_not_be_json, clear),
        cmocka_unit_test_setup(test_what_is_wrong_is_said, clear),
        cmocka_unit_test_setup(test_no_cut_text_is_taken, clear),
        cmocka_unit_test_setup(test_an_event_over_the_limit_is_named, clear),
    };
    return cmocka_run_group_tests_name("event_json", tests, NULL, release);
}
