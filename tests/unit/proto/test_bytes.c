/* Buffers grow and never lie about their size; base64 and hex have one spelling. */
#include "tests/unit/proto/vectors.h"

static void a_buffer_grows_and_keeps_what_it_had(void **state)
{
    (void)state;
    struct truc_buffer buffer = {0};
    for (unsigned i = 0; i < 10000; i++) {
        uint8_t byte = (uint8_t)(i % 251);
        assert_int_equal(truc_buffer_append(&buffer, &byte, 1), TRUC_OK);
    }
    assert_int_equal(buffer.size, 10000);
    for (unsigned i = 0; i < 10000; i++) {
        assert_int_equal(buffer.data[i], i % 251);
    }
    size_t capacity = buffer.capacity;
    truc_buffer_clear(&buffer);
    assert_int_equal(buffer.size, 0);
    assert_int_equal(buffer.capacity, capacity);
    truc_buffer_close(&buffer);
    assert_null(buffer.data);
    assert_int_equal(buffer.capacity, 0);
}

static void appending_nothing_needs_no_memory(void **state)
{
    (void)state;
    struct truc_buffer buffer = {0};
    assert_int_equal(truc_buffer_append(&buffer, NULL, 0), TRUC_OK);
    assert_int_equal(buffer.size, 0);
    truc_buffer_close(&buffer);
}

static void a_size_that_overflows_is_refused(void **state)
{
    (void)state;
    struct truc_buffer buffer = {0};
    assert_int_equal(truc_buffer_append(&buffer, "truc", 4), TRUC_OK);
    assert_int_equal(truc_buffer_reserve(&buffer, SIZE_MAX), TRUC_E_NOMEM);
    assert_int_equal(truc_buffer_reserve(&buffer, SIZE_MAX - 3), TRUC_E_NOMEM);
    assert_int_equal(buffer.size, 4);
    assert_memory_equal(buffer.data, "truc", 4);
    truc_buffer_close(&buffer);
}

static void formatted_text_is_appended_with_a_nul_behind(void **state)
{
    (void)state;
    struct truc_buffer buffer = {0};
    char longer[301];
    memset(longer, 'x', 300);
    longer[300] = '\0';
    assert_int_equal(truc_buffer_printf(&buffer, "%s-%d", "seal", 7), TRUC_OK);
    assert_string_equal((char *)buffer.data, "seal-7");
    assert_int_equal(truc_buffer_printf(&buffer, "/%s", longer), TRUC_OK);
    assert_int_equal(buffer.size, 6 + 1 + 300);
    assert_int_equal(strlen((char *)buffer.data), buffer.size);
    assert_int_equal(truc_buffer_printf(&buffer, "%s", ""), TRUC_OK);
    assert_int_equal(buffer.size, 307);
    truc_buffer_close(&buffer);
}

static void views_compare_by_content(void **state)
{
    (void)state;
    assert_true(truc_bytes_equal(truc_bytes_of("abc"), truc_bytes("abcd", 3)));
    assert_false(truc_bytes_equal(truc_bytes_of("abc"), truc_bytes_of("abd")));
    assert_false(truc_bytes_equal(truc_bytes_of("abc"), truc_bytes_of("ab")));
    assert_true(truc_bytes_equal(truc_bytes(NULL, 0), truc_bytes_of("")));
}

/* RFC 4648 section 10 */
static void base64_gives_the_published_texts_and_back(void **state)
{
    (void)state;
    static const char *const known[][2] = {{"", ""},
                                           {"f", "Zg=="},
                                           {"fo", "Zm8="},
                                           {"foo", "Zm9v"},
                                           {"foob", "Zm9vYg=="},
                                           {"fooba", "Zm9vYmE="},
                                           {"foobar", "Zm9vYmFy"}};
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++) {
        struct truc_buffer text = {0}, back = {0};
        assert_int_equal(truc_base64_encode(truc_bytes_of(known[i][0]), &text), TRUC_OK);
        assert_true(truc_bytes_equal(truc_buffer_view(&text), truc_bytes_of(known[i][1])));
        assert_int_equal(truc_base64_decode(truc_bytes_of(known[i][1]), &back), TRUC_OK);
        assert_true(truc_bytes_equal(truc_buffer_view(&back), truc_bytes_of(known[i][0])));
        truc_buffer_close(&text);
        truc_buffer_close(&back);
    }
}

static void base64_carries_every_byte_at_every_length(void **state)
{
    (void)state;
    uint8_t bytes[256];
    for (unsigned i = 0; i < sizeof bytes; i++) {
        bytes[i] = (uint8_t)(i * 167 + 13);
    }
    for (size_t size = 0; size <= sizeof bytes; size++) {
        struct truc_buffer text = {0}, back = {0};
        assert_int_equal(truc_base64_encode(truc_bytes(bytes, size), &text), TRUC_OK);
        assert_int_equal(truc_base64_decode(truc_buffer_view(&text), &back), TRUC_OK);
        assert_true(truc_bytes_equal(truc_buffer_view(&back), truc_bytes(bytes, size)));
        truc_buffer_close(&text);
        truc_buffer_close(&back);
    }
}

static void base64_with_a_second_spelling_is_refused(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "Z",    "Zg",   "Zg=",  "Zh==",     "Zm9=", "Zg==\n", "Zg= =",    " Zg==",    "Zm9vZg=", "Zg==Zm9v",
        "====", "=Zg=", "Z===", "Zm8=Zm8=", "Zm-v", "Zm_v",   "Zm9v\r\n", "Zm9v====", "Z=g=",    "Zm\x80v",
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct truc_buffer out = {0};
        assert_int_equal(truc_buffer_append(&out, "kept", 4), TRUC_OK);
        assert_int_equal(truc_base64_decode(truc_bytes_of(bad[i]), &out), TRUC_E_MALFORMED);
        assert_true(truc_bytes_equal(truc_buffer_view(&out), truc_bytes_of("kept")));
        truc_buffer_close(&out);
    }
    struct truc_buffer out = {0};
    assert_int_equal(truc_base64_decode(truc_bytes("Zm9\0", 4), &out), TRUC_E_MALFORMED);
    truc_buffer_close(&out);
}

static void hex_goes_both_ways(void **state)
{
    (void)state;
    const uint8_t bytes[] = {0x00, 0x0f, 0xa5, 0xff};
    char text[2 * sizeof bytes + 1];
    uint8_t back[sizeof bytes];
    truc_hex(truc_bytes(bytes, sizeof bytes), text);
    assert_string_equal(text, "000fa5ff");
    assert_int_equal(truc_unhex(truc_bytes_of("000fa5ff"), back, sizeof back), TRUC_OK);
    assert_memory_equal(back, bytes, sizeof bytes);
    assert_int_equal(truc_unhex(truc_bytes_of("000FA5fF"), back, sizeof back), TRUC_OK);
    assert_memory_equal(back, bytes, sizeof bytes);
    truc_hex(truc_bytes(NULL, 0), text);
    assert_string_equal(text, "");
}

static void hex_of_another_length_or_alphabet_is_refused(void **state)
{
    (void)state;
    static const char *const bad[] = {"",         "00",       "0001020",  "000102030", "0001020304", "0001020g",
                                      "000102 3", "0x010203", "000102/3", "000102:3",  "000102@3",   "000102`3"};
    uint8_t out[4];
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        assert_int_equal(truc_unhex(truc_bytes_of(bad[i]), out, sizeof out), TRUC_E_MALFORMED);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_buffer_grows_and_keeps_what_it_had),
        cmocka_unit_test(appending_nothing_needs_no_memory),
        cmocka_unit_test(a_size_that_overflows_is_refused),
        cmocka_unit_test(formatted_text_is_appended_with_a_nul_behind),
        cmocka_unit_test(views_compare_by_content),
        cmocka_unit_test(base64_gives_the_published_texts_and_back),
        cmocka_unit_test(base64_carries_every_byte_at_every_length),
        cmocka_unit_test(base64_with_a_second_spelling_is_refused),
        cmocka_unit_test(hex_goes_both_ways),
        cmocka_unit_test(hex_of_another_length_or_alphabet_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
