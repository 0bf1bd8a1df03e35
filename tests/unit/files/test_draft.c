/* From a file's text to an event and back to a file's text: the same bytes each time, and no names that pretend. */
#include "adapters/files/draft.h"
#include "adapters/files/incoming.h"

#include <setjmp.h>
#include <stdarg.h>
#include <unistd.h>

#include <cmocka.h>

static const struct draft_key key = {.bytes = "a key of this test"};
static const struct draft_key other_key = {.bytes = "another key of this test"};
static char why[256];

static struct files_draft_rules rules(void)
{
    return (struct files_draft_rules){
        .agency = "H14.09", .type = "t.v1", .source = "desk", .recipients = "H1,@all", .key = &key};
}

static struct truc_buffer make(const struct files_draft_rules *with, const char *name, const char *json)
{
    struct truc_buffer out = {0};
    assert_int_equal(files_draft_make(with, name, truc_bytes_of(json), &out, why), TRUC_OK);
    return out;
}

static void assert_text(struct truc_bytes bytes, const char *text)
{
    assert_int_equal(bytes.size, strlen(text));
    assert_memory_equal(bytes.data, text, bytes.size);
}

static void test_the_same_file_makes_the_same_bytes(void **state)
{
    (void)state;
    struct files_draft_rules with = rules();
    struct truc_buffer a = make(&with, "a.json", "{\"specversion\":\"1.0\",\"data\":1}");
    struct truc_buffer b = make(&with, "a.json", "{\"specversion\":\"1.0\",\"data\":1}");
    assert_true(truc_bytes_equal(truc_buffer_view(&a), truc_buffer_view(&b)));
    truc_buffer_close(&a);
    truc_buffer_close(&b);
}

static void test_name_text_and_key_each_make_another_id(void **state)
{
    (void)state;
    struct files_draft_rules with = rules(), elsewhere = rules();
    elsewhere.key = &other_key;
    struct truc_buffer made[] = {make(&with, "a.json", "{\"specversion\":\"1.0\",\"data\":1}"),
                                 make(&with, "b.json", "{\"specversion\":\"1.0\",\"data\":1}"),
                                 make(&with, "a.json", "{\"specversion\":\"1.0\",\"data\":2}"),
                                 make(&elsewhere, "a.json", "{\"specversion\":\"1.0\",\"data\":1}")};
    struct truc_event events[4];
    for (size_t i = 0; i < 4; i++) {
        assert_int_equal(truc_event_parse(truc_buffer_view(&made[i]), &events[i]), TRUC_OK);
        for (size_t j = 0; j < i; j++) {
            assert_false(truc_bytes_equal(events[i].id, events[j].id));
        }
    }
    assert_true(truc_bytes_equal(events[0].salt, events[1].salt)); /* of the text alone */
    assert_false(truc_bytes_equal(events[0].salt, events[2].salt));
    assert_false(truc_bytes_equal(events[0].salt, events[3].salt)); /* and of nothing that others know */
    for (size_t i = 0; i < 4; i++) {
        truc_buffer_close(&made[i]);
    }
}

static void test_what_the_file_says_goes_before_the_defaults(void **state)
{
    (void)state;
    struct files_draft_rules with = rules();
    struct truc_event event;
    struct truc_buffer bare = make(&with, "a.json", "{\"specversion\":\"1.0\",\"type\":null,\"recipients\":null}");
    assert_int_equal(truc_event_parse(truc_buffer_view(&bare), &event), TRUC_OK);
    assert_text(event.type, "t.v1");
    assert_text(event.source, "urn:truc:H14.09:desk");
    assert_text(event.recipients, "H1,@all");
    struct truc_buffer full =
        make(&with, "a.json",
             "{\"specversion\":\"1.0\",\"id\":\"1\",\"type\":\"u.v1\",\"source\":\"urn:truc:H14.09\","
             "\"recipients\":\"H2\",\"salt\":\"AAAAAAAAAAAAAAAAAAAAAA==\"}");
    assert_int_equal(truc_event_parse(truc_buffer_view(&full), &event), TRUC_OK);
    assert_text(event.id, "1");
    assert_text(event.type, "u.v1");
    assert_text(event.source, "urn:truc:H14.09");
    assert_text(event.recipients, "H2");
    assert_int_equal(event.salt.data[0], 0);
    truc_buffer_close(&bare);
    truc_buffer_close(&full);
}

static void test_another_agencys_source_is_not_an_event_of_ours(void **state)
{
    (void)state;
    struct files_draft_rules with = rules();
    struct truc_buffer out = {0};
    static const char *const sources[] = {"urn:truc:H14", "urn:truc:H14.091", "https://example.org", "urn:truc:h14.09"};
    for (size_t i = 0; i < sizeof sources / sizeof sources[0]; i++) {
        char json[200];
        (void)snprintf(json, sizeof json, "{\"specversion\":\"1.0\",\"source\":\"%s\"}", sources[i]);
        assert_int_equal(files_draft_make(&with, "a.json", truc_bytes_of(json), &out, why), TRUC_E_MALFORMED);
        assert_non_null(strstr(why, "urn:truc:H14.09"));
        assert_int_equal(out.size, 0);
    }
    truc_buffer_close(&out);
}

static void test_the_key_is_made_once(void **state)
{
    (void)state;
    char folder[] = "/tmp/truc-key-XXXXXX", path[64];
    struct draft_key first, again;
    assert_non_null(mkdtemp(folder));
    (void)snprintf(path, sizeof path, "%s/files.key", folder);
    assert_int_equal(draft_key_open(path, &first), TRUC_OK);
    assert_int_equal(draft_key_open(path, &again), TRUC_OK);
    assert_memory_equal(first.bytes, again.bytes, sizeof first.bytes);
    assert_int_equal(truncate(path, 31), 0);
    assert_int_equal(draft_key_open(path, &again), TRUC_E_CORRUPT);
    assert_int_equal(unlink(path), 0);
    assert_int_equal(rmdir(folder), 0);
}

static void test_an_in_file_says_only_what_was_proven(void **state)
{
    (void)state;
    struct files_draft_rules with = rules();
    struct truc_event event;
    struct truc_buffer out = {0};
    struct truc_buffer bytes = make(&with, "a.json",
                                    "{\"specversion\":\"1.0\",\"id\":\"1\",\"trucsender\":\"H1\",\"trucattempt\":7,"
                                    "\"tru\":\"stays\",\"data\":1.10}");
    assert_int_equal(truc_event_parse(truc_buffer_view(&bytes), &event), TRUC_OK);
    const struct truc_delivery delivery = {.bytes = truc_buffer_view(&bytes),
                                           .event = &event,
                                           .sender = "H14.09",
                                           .sequence = UINT64_MAX,
                                           .accepted_at_us = 0,
                                           .attempt = 3,
                                           .replay = true};
    assert_int_equal(incoming_text(&delivery, &out), TRUC_OK);
    assert_int_equal(truc_buffer_append(&out, "", 1), TRUC_OK);
    const char *text = (const char *)out.data;
    assert_non_null(strstr(text, "\"data\":1.10,\"trucsender\":\"H14.09\",\"trucsequence\":\"18446744073709551615\","
                                 "\"trucaccepted\":\"1970-01-01T00:00:00Z\",\"trucreplay\":true,\"trucattempt\":3}\n"));
    assert_non_null(strstr(text, "\"tru\":\"stays\""));
    assert_null(strstr(text, "\"H1\""));
    assert_ptr_equal(strstr(text, "trucattempt"), strrchr(text, ',') + 2);
    truc_buffer_close(&out);
    truc_buffer_close(&bytes);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_same_file_makes_the_same_bytes),
        cmocka_unit_test(test_name_text_and_key_each_make_another_id),
        cmocka_unit_test(test_what_the_file_says_goes_before_the_defaults),
        cmocka_unit_test(test_another_agencys_source_is_not_an_event_of_ours),
        cmocka_unit_test(test_the_key_is_made_once),
        cmocka_unit_test(test_an_in_file_says_only_what_was_proven),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
