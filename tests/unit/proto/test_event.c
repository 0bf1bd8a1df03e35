/* Events: what the parser reads, and everything that it must not let through. */
#include "proto/wire.h"
#include "truc/event.h"

#include "tests/unit/proto/support.h"

/* Made by protoc --encode from the schema: id e-1 and eight attributes, one of each kind that matters. */
static const char KNOWN[] =
    "0a03652d31121475726e3a747275633a4836322e31323a6465736b1a03312e302214646f73736965722e7375626d69747465642e76312a130a"
    "07"
    "6578706972657312083a0608c08df6d7062a0a0a04666c6167120208002a100a016e120b10feffffffffffffffff012a190a0a726563697069"
    "65"
    "6e7473120b1a094731322c406c616e642a1a0a0473616c7412122210000102030405060708090a0b0c0d0e0f2a170a077375626a656374120c"
    "1a"
    "0a48e1bb932073c6a120312a150a0474696d65120d3a0b0880e2cfaa0610e7ec9a772a0e0a0375726912072a0575726e3a783a027b7d";

/* The parts of a small valid event, to be put together with a wrong one among them. */
#define ID "0a0131"
#define SOURCE "120c75726e3a747275633a483632"
#define SPEC "1a03312e30"
#define TYPE "2204612e7631"
#define SALT "2a1a0a0473616c7412122210000102030405060708090a0b0c0d0e0f"
#define FRONT ID SOURCE SPEC TYPE
#define MINIMAL FRONT SALT

static struct truc_event event;

static truc_error parse_hex(const char *hex)
{
    struct truc_buffer bytes = support_unhex(hex);
    struct truc_bytes copy = support_exact_copy(truc_buffer_view(&bytes));
    truc_error error = truc_event_parse(copy, &event);
    support_free_copy(copy);
    truc_buffer_close(&bytes);
    return error;
}

static void test_reads_what_another_encoder_wrote(void **state)
{
    (void)state;
    struct truc_buffer bytes = support_unhex(KNOWN);
    assert_int_equal(truc_event_parse(truc_buffer_view(&bytes), &event), TRUC_OK);
    support_assert_text(event.id, "e-1");
    support_assert_text(event.source, "urn:truc:H62.12:desk");
    support_assert_text(event.spec_version, "1.0");
    support_assert_text(event.type, "dossier.submitted.v1");
    support_assert_text(event.subject, "H\xe1\xbb\x93 s\xc6\xa1 1");
    support_assert_text(event.recipients, "G12,@land");
    assert_int_equal(event.salt.size, 16);
    assert_int_equal(event.salt.data[15], 15);
    assert_true(event.has_time && event.has_expires && !event.has_blob);
    assert_int_equal(event.time_us, 1700000000250000); /* nanoseconds are cut off */
    assert_int_equal(event.expires_us, 1795000000000000);
    assert_int_equal(event.data_kind, TRUC_DATA_TEXT);
    support_assert_text(event.data, "{}");
    assert_int_equal(event.attribute_count, 8);
    assert_int_equal(event.attributes[1].kind, TRUC_VALUE_BOOLEAN);
    assert_int_equal(event.attributes[1].number, 0);
    assert_int_equal(event.attributes[2].kind, TRUC_VALUE_INTEGER);
    assert_int_equal(event.attributes[2].number, -2);
    assert_int_equal(event.attributes[7].kind, TRUC_VALUE_URI);
    support_assert_text(event.attributes[7].text, "urn:x");
    truc_buffer_close(&bytes);
}

static void test_writes_what_another_encoder_writes(void **state)
{
    (void)state;
    const uint8_t salt[16] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
    struct truc_buffer expected = support_unhex(KNOWN), out = {0};
    memset(&event, 0, sizeof event);
    event.id = truc_bytes_of("e-1");
    event.source = truc_bytes_of("urn:truc:H62.12:desk");
    event.type = truc_bytes_of("dossier.submitted.v1");
    assert_int_equal(truc_event_set_time(&event, "expires", 1795000000000000), TRUC_OK);
    event.attributes[event.attribute_count++] =
        (struct truc_attribute){truc_bytes_of("flag"), TRUC_VALUE_BOOLEAN, {NULL, 0}, 0};
    event.attributes[event.attribute_count++] =
        (struct truc_attribute){truc_bytes_of("n"), TRUC_VALUE_INTEGER, {NULL, 0}, -2};
    assert_int_equal(truc_event_set_text(&event, "recipients", truc_bytes_of("G12,@land")), TRUC_OK);
    assert_int_equal(truc_event_set_bytes(&event, "salt", truc_bytes(salt, 16)), TRUC_OK);
    assert_int_equal(truc_event_set_text(&event, "subject", truc_bytes_of("H\xe1\xbb\x93 s\xc6\xa1 1")), TRUC_OK);
    assert_int_equal(truc_event_set_time(&event, "time", 1700000000250000), TRUC_OK);
    event.attributes[event.attribute_count++] =
        (struct truc_attribute){truc_bytes_of("uri"), TRUC_VALUE_URI, truc_bytes_of("urn:x"), 0};
    event.data_kind = TRUC_DATA_TEXT;
    event.data = truc_bytes_of("{}");
    assert_int_equal(truc_event_encode(&event, &out), TRUC_OK);
    /* Only the nanoseconds differ, 250000999 there and 250000000 here: four bytes at the same place. */
    size_t differing = 0;
    assert_int_equal(out.size, expected.size);
    for (size_t i = 0; i < out.size; i++) {
        differing += out.data[i] != expected.data[i];
    }
    assert_in_range(differing, 1, 4);
    assert_int_equal(truc_event_parse(truc_buffer_view(&out), &event), TRUC_OK);
    assert_int_equal(event.time_us, 1700000000250000);
    truc_buffer_close(&expected);
    truc_buffer_close(&out);
}

static void test_a_minimal_event_is_enough(void **state)
{
    (void)state;
    assert_int_equal(parse_hex(MINIMAL), TRUC_OK);
    assert_int_equal(event.attribute_count, 1);
    assert_int_equal(event.data_kind, TRUC_DATA_NONE);
    assert_false(event.has_time);
    assert_int_equal(parse_hex(SALT TYPE SPEC SOURCE ID), TRUC_OK); /* the order of fields is free */
}

static void test_every_required_part_is_required(void **state)
{
    (void)state;
    assert_int_equal(parse_hex(""), TRUC_E_MALFORMED);
    assert_int_equal(parse_hex(SOURCE SPEC TYPE SALT), TRUC_E_MALFORMED);
    assert_int_equal(parse_hex(ID SPEC TYPE SALT), TRUC_E_MALFORMED);
    assert_int_equal(parse_hex(ID SOURCE TYPE SALT), TRUC_E_MALFORMED);
    assert_int_equal(parse_hex(ID SOURCE SPEC SALT), TRUC_E_MALFORMED);
    assert_int_equal(parse_hex(FRONT), TRUC_E_MALFORMED);
    assert_int_equal(parse_hex("0a00" SOURCE SPEC TYPE SALT), TRUC_E_MALFORMED);
    assert_int_equal(parse_hex(ID SOURCE "1a03312e31" TYPE SALT), TRUC_E_MALFORMED); /* 1.1 */
    assert_int_equal(parse_hex(ID SOURCE SPEC "220141" SALT), TRUC_E_MALFORMED);     /* type "A" */
}

struct hostile {
    const char *what, *hex;
};

/* Each is the minimal event with one thing wrong, so that nothing but this thing can be the reason. */
static const struct hostile hostile[] = {
    {"a field twice", MINIMAL ID},
    {"an attribute twice", MINIMAL SALT},
    {"an unknown field", MINIMAL "4a0131"},
    {"an unknown field of a high number", MINIMAL "fa070131"},
    {"field number 0", MINIMAL "020131"},
    {"a varint where bytes belong", MINIMAL "3001"},
    {"a group", MINIMAL "333400"},
    {"an overlong tag", "8a000131" SOURCE SPEC TYPE SALT},
    {"an overlong length", "0a810031" SOURCE SPEC TYPE SALT},
    {"a length beyond 64 bits", MINIMAL "32ffffffffffffffffff7f"},
    {"a length beyond the event", MINIMAL "3202ff"},
    {"a huge length", MINIMAL "32ffffffffffffffffff01"},
    {"two kinds of data", MINIMAL "3201003a0131"},
    {"the same data twice", MINIMAL "3a01313a0131"},
    {"text that is not UTF-8", MINIMAL "3a01ff"},
    {"text with a surrogate", MINIMAL "3a03eda080"},
    {"text with an overlong slash", MINIMAL "3a02c0af"},
    {"text cut within a letter", MINIMAL "3a02e1bb"},
    {"text beyond U+10FFFF", MINIMAL "3a04f4908080"},
    {"an id with a control character", "0a020a31" SOURCE SPEC TYPE SALT},
    {"an id with a C1 control character", "0a02c285" SOURCE SPEC TYPE SALT},
    {"a name with a capital letter", MINIMAL "2a080a014112031a0178"},
    {"an empty name", MINIMAL "2a070a0012031a0178"},
    {"a name of 21 letters", MINIMAL "2a1c0a1561616161616161616161616161616161616161616112031a0178"},
    {"a second id in the map", MINIMAL "2a090a02696412031a0178"},
    {"an entry without a value", MINIMAL "2a030a0178"},
    {"an entry without a key", MINIMAL "2a0512031a0178"},
    {"an entry with two keys", MINIMAL "2a0b0a01610a016212031a0178"},
    {"an entry with two values", MINIMAL "2a0d0a016112031a017812031a0179"},
    {"an entry with a third field", MINIMAL "2a0b0a016112031a01781a0178"},
    {"a value of no kind", MINIMAL "2a050a01611200"},
    {"a value of two kinds", MINIMAL "2a0b0a016112061a01781a0179"},
    {"a value of an unknown kind", MINIMAL "2a080a0161120342017a"},
    {"a boolean of 2", MINIMAL "2a070a016112020802"},
    {"an integer beyond 32 bits", MINIMAL "2a0b0a016112061080808080"
                                          "10"},
    {"a string attribute that is not UTF-8", MINIMAL "2a080a016112031a01ff"},
    {"a string attribute with a line break", MINIMAL "2a080a016112031a010a"},
    {"a salt of 15 bytes", FRONT "2a190a0473616c741211220f000102030405060708090a0b0c0d0e"},
    {"a salt that is a string", FRONT "2a1a0a0473616c7412121a1030303030303030303030303030303030"},
    {"an empty subject", MINIMAL "2a0d0a077375626a65637412021a00"},
    {"a subject that is bytes", MINIMAL "2a0e0a077375626a6563741203220178"},
    {"a time that is a number", MINIMAL "2a0a0a0474696d6512021001"},
    {"a time that is no RFC 3339", MINIMAL "2a0b0a0474696d6512031a0178"},
    {"a time with a billion nanoseconds", MINIMAL "2a100a0474696d6512083a06108094ebdc03"},
    {"a time with seconds twice", MINIMAL "2a0e0a0474696d6512063a0408010801"},
    {"a time in the year 10000", MINIMAL "2a110a0474696d6512093a070880dcaed4b007"},
    {"a time with a third field", MINIMAL "2a0c0a0474696d6512043a021801"},
    {"recipients with an empty one", MINIMAL "2a130a0a726563697069656e747312051a03412c2c"},
    {"a recipient in small letters", MINIMAL "2a110a0a726563697069656e747312031a0161"},
    {"a group without a name", MINIMAL "2a110a0a726563697069656e747312031a0140"},
    {"a blob that is a number", MINIMAL "2a0a0a04626c6f6212021001"},
    {"an Any with an unknown field", MINIMAL "42031a0131"},
    {"an Any whose type is not UTF-8", MINIMAL "42030a01ff"},
    {"an Any cut short", MINIMAL "42020a05"},
};

static void test_hostile_events_are_malformed(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof hostile / sizeof hostile[0]; i++) {
        if (parse_hex(hostile[i].hex) != TRUC_E_MALFORMED) {
            fail_msg("let through: %s", hostile[i].what);
        }
    }
}

/* The neighbours of the hostile ones, so that these are refused for their fault and not for a slip of the test. */
static void test_their_harmless_neighbours_pass(void **state)
{
    (void)state;
    assert_int_equal(parse_hex(MINIMAL "3a0131"), TRUC_OK);
    assert_int_equal(parse_hex(MINIMAL "3a0109"), TRUC_OK); /* data may hold a tab */
    assert_int_equal(parse_hex(MINIMAL "3a00"), TRUC_OK);
    assert_int_equal(event.data_kind, TRUC_DATA_TEXT);
    assert_int_equal(parse_hex(MINIMAL "2a080a016112031a0178"), TRUC_OK);
    assert_int_equal(parse_hex(MINIMAL "2a0812031a01780a0161"), TRUC_OK); /* value before key */
    assert_int_equal(parse_hex(MINIMAL "2a1b0a14616161616161616161616161616161616161616112031a0178"), TRUC_OK);
    assert_int_equal(parse_hex(MINIMAL "2a070a016112020801"), TRUC_OK);
    assert_int_equal(parse_hex(MINIMAL "2a0b0a016112061080808080"
                                       "08"),
                     TRUC_E_MALFORMED); /* 2^31 */
    assert_int_equal(parse_hex(MINIMAL "2a0b0a0161120610ffffffff"
                                       "07"),
                     TRUC_OK);                                                         /* 2^31 - 1 */
    assert_int_equal(parse_hex(MINIMAL "2a090a0474696d6512023a00"), TRUC_E_MALFORMED); /* entry length is wrong */
    assert_int_equal(parse_hex(MINIMAL "2a0a0a0474696d6512023a00"), TRUC_OK);          /* 1970 */
    assert_true(event.has_time && event.time_us == 0);
    assert_int_equal(parse_hex(MINIMAL "42030a0178"), TRUC_OK);
    assert_int_equal(event.data_kind, TRUC_DATA_PROTO);
    assert_int_equal(parse_hex(MINIMAL "2a0b0a04626c6f6212032201aa"), TRUC_OK);
    assert_true(event.has_blob);
    assert_int_equal(parse_hex(MINIMAL "2a110a0a726563697069656e747312031a0141"), TRUC_OK);
}

static void test_times_may_come_as_text(void **state)
{
    (void)state;
    /* time = "2026-11-22T09:30:00+07:00" as ce_string */
    assert_int_equal(parse_hex(MINIMAL "2a230a0474696d65121b1a19323032362d31312d32325430393a33303a30302b30373a3030"),
                     TRUC_OK);
    assert_true(event.has_time);
    assert_int_equal(event.time_us, 1795314600000000);
    assert_int_equal(event.attributes[1].kind, TRUC_VALUE_STRING);
}

static void test_no_cut_event_is_taken_and_none_is_read_over(void **state)
{
    (void)state;
    struct truc_buffer bytes = support_unhex(KNOWN);
    assert_int_equal(truc_event_parse(truc_buffer_view(&bytes), &event), TRUC_OK);
    for (size_t size = 0; size < bytes.size; size++) {
        struct truc_bytes cut = support_exact_copy(truc_bytes(bytes.data, size));
        truc_error error = truc_event_parse(cut, &event);
        /* Cut between two fields, behind the salt, it is a shorter event: the seal's root is what notices. */
        if (error == TRUC_OK) {
            assert_int_equal(event.salt.size, 16);
            assert_true(event.attribute_count < 8 || event.data_kind == TRUC_DATA_NONE);
        } else {
            assert_int_equal(error, TRUC_E_MALFORMED);
        }
        support_free_copy(cut);
    }
    truc_buffer_close(&bytes);
}

static void test_flipped_bits_never_read_outside(void **state)
{
    (void)state;
    struct truc_buffer bytes = support_unhex(KNOWN);
    struct truc_bytes copy = support_exact_copy(truc_buffer_view(&bytes));
    size_t refused = 0;
    for (size_t bit = 0; bit < copy.size * 8; bit++) {
        uint8_t *byte = (uint8_t *)(uintptr_t)copy.data + bit / 8;
        *byte ^= (uint8_t)(1u << bit % 8);
        truc_error error = truc_event_parse(copy, &event);
        refused += error != TRUC_OK;
        for (size_t i = 0; error == TRUC_OK && i < event.attribute_count; i++) {
            struct truc_bytes name = event.attributes[i].name;
            assert_true(name.data >= copy.data && name.data + name.size <= copy.data + copy.size);
        }
        *byte ^= (uint8_t)(1u << bit % 8);
    }
    assert_true(refused > copy.size); /* most of them break the form */
    support_free_copy(copy);
    truc_buffer_close(&bytes);
}

/* Texts are read in words of eight and blocks of 32 bytes: neither must hide a byte at any place, of any length. */
static void test_a_bad_byte_is_found_wherever_it_stands(void **state)
{
    (void)state;
    for (size_t size = 1; size <= 80; size++) {
        for (size_t at = 0; at < size; at++) {
            uint8_t text[80];
            memset(text, 'a', sizeof text);
            struct truc_bytes copy = support_exact_copy(truc_bytes(text, size));
            uint8_t *byte = (uint8_t *)(uintptr_t)copy.data + at;
            assert_true(truc_utf8_is_valid(copy) && truc_text_is_clean(copy));
            *byte = 0xff;
            assert_false(truc_utf8_is_valid(copy) || truc_text_is_clean(copy));
            *byte = 0x80;
            assert_false(truc_utf8_is_valid(copy) || truc_text_is_clean(copy));
            *byte = 0x1f;
            assert_true(truc_utf8_is_valid(copy) && !truc_text_is_clean(copy));
            *byte = 0x7f;
            assert_true(truc_utf8_is_valid(copy) && !truc_text_is_clean(copy));
            *byte = ' ';
            assert_true(truc_text_is_clean(copy));
            *byte = '~';
            assert_true(truc_text_is_clean(copy));
            *byte = 0xe1; /* the front of a letter of three bytes: good where its rest follows */
            bool whole = at + 2 < size;
            if (whole) {
                byte[1] = 0xbb;
                byte[2] = 0x93;
            }
            assert_true(truc_utf8_is_valid(copy) == whole && truc_text_is_clean(copy) == whole);
            support_free_copy(copy);
        }
    }
}

/* Every code point in its own encoding is valid, but for the surrogates. */
static void test_every_letter_of_unicode(void **state)
{
    (void)state;
    for (uint32_t c = 0x80; c < 0x120000; c++) {
        uint8_t text[4];
        size_t size = c < 0x800 ? 2 : c < 0x10000 ? 3 : 4;
        text[0] = (uint8_t)((size == 2 ? 0xc0 : size == 3 ? 0xe0 : 0xf0) | c >> (6 * (size - 1)));
        for (size_t i = 1; i < size; i++) {
            text[i] = (uint8_t)(0x80 | (c >> (6 * (size - 1 - i)) & 0x3f));
        }
        bool valid = c <= 0x10ffff && !(c >= 0xd800 && c <= 0xdfff);
        if (truc_utf8_is_valid(truc_bytes(text, size)) != valid ||
            truc_text_is_clean(truc_bytes(text, size)) != (valid && c >= 0xa0)) {
            fail_msg("U+%04X is judged wrongly", (unsigned)c);
        }
    }
}

static void fill_minimal(void)
{
    static const uint8_t salt[16] = {7};
    memset(&event, 0, sizeof event);
    event.id = truc_bytes_of("1");
    event.source = truc_bytes_of("urn:truc:H62");
    event.type = truc_bytes_of("a.v1");
    assert_int_equal(truc_event_set_bytes(&event, "salt", truc_bytes(salt, 16)), TRUC_OK);
}

static void test_limits_of_size_and_number(void **state)
{
    (void)state;
    static uint8_t payload[TRUC_EVENT_MAX];
    char names[TRUC_EVENT_ATTRIBUTES_MAX][4];
    struct truc_buffer out = {0};
    struct truc_bytes copy;

    fill_minimal();
    for (size_t i = 0; i + 1 < TRUC_EVENT_ATTRIBUTES_MAX; i++) {
        snprintf(names[i], sizeof names[i], "a%02u", (unsigned)i % 100u);
        assert_int_equal(truc_event_set_text(&event, names[i], truc_bytes_of("")), TRUC_OK);
    }
    assert_int_equal(truc_event_set_text(&event, "z", truc_bytes_of("")), TRUC_E_TOO_LARGE);
    assert_int_equal(truc_event_encode(&event, &out), TRUC_OK);
    copy = support_exact_copy(truc_buffer_view(&out));
    assert_int_equal(truc_event_parse(copy, &event), TRUC_OK);
    assert_int_equal(event.attribute_count, TRUC_EVENT_ATTRIBUTES_MAX);
    support_free_copy(copy);
    struct truc_buffer one_more = support_unhex("2a080a017a12031a0178");
    assert_int_equal(truc_buffer_append(&out, one_more.data, one_more.size), TRUC_OK);
    assert_int_equal(truc_event_parse(truc_buffer_view(&out), &event), TRUC_E_MALFORMED);
    truc_buffer_close(&one_more);

    truc_buffer_clear(&out);
    fill_minimal();
    event.data_kind = TRUC_DATA_BINARY;
    event.data = truc_bytes(payload, sizeof payload - 100);
    assert_int_equal(truc_event_encode(&event, &out), TRUC_OK);
    assert_true(out.size <= TRUC_EVENT_MAX);
    size_t before = out.size;
    event.data = truc_bytes(payload, sizeof payload);
    assert_int_equal(truc_event_encode(&event, &out), TRUC_E_TOO_LARGE);
    assert_int_equal(out.size, before);
    event.data.size = SIZE_MAX; /* must be refused by its length alone */
    assert_int_equal(truc_event_encode(&event, &out), TRUC_E_TOO_LARGE);
    assert_int_equal(truc_buffer_reserve(&out, TRUC_EVENT_MAX), TRUC_OK);
    assert_int_equal(truc_event_parse(truc_bytes(out.data, TRUC_EVENT_MAX + 1), &event), TRUC_E_TOO_LARGE);
    truc_buffer_close(&out);
}

static void test_encode_never_makes_what_parse_refuses(void **state)
{
    (void)state;
    struct truc_buffer out = {0};
    fill_minimal();
    event.attribute_count = 0; /* no salt */
    assert_int_equal(truc_event_encode(&event, &out), TRUC_E_INVALID);
    fill_minimal();
    event.type = truc_bytes_of("Not A Type");
    assert_int_equal(truc_event_encode(&event, &out), TRUC_E_INVALID);
    fill_minimal();
    event.attributes[0].kind = (enum truc_value_kind)9;
    assert_int_equal(truc_event_encode(&event, &out), TRUC_E_INVALID);
    assert_int_equal(out.size, 0);
    truc_buffer_close(&out);
}

static void test_set_refuses_wrong_names_and_kinds(void **state)
{
    (void)state;
    fill_minimal();
    assert_int_equal(truc_event_set_text(&event, "Subject", truc_bytes_of("x")), TRUC_E_INVALID);
    assert_int_equal(truc_event_set_text(&event, "", truc_bytes_of("x")), TRUC_E_INVALID);
    assert_int_equal(truc_event_set_text(&event, "id", truc_bytes_of("x")), TRUC_E_INVALID);
    assert_int_equal(truc_event_set_text(&event, "note", truc_bytes_of("a\nb")), TRUC_E_INVALID);
    assert_int_equal(truc_event_set_text(&event, "recipients", truc_bytes_of("a b")), TRUC_E_INVALID);
    assert_int_equal(truc_event_set_text(&event, "salt", truc_bytes_of("0123456789abcdef")), TRUC_E_INVALID);
    assert_int_equal(truc_event_set_bytes(&event, "subject", truc_bytes_of("x")), TRUC_E_INVALID);
    assert_int_equal(truc_event_set_time(&event, "subject", 0), TRUC_E_INVALID);
    assert_int_equal(truc_event_set_time(&event, "time", INT64_MAX), TRUC_E_INVALID);
    assert_int_equal(truc_event_set_text(&event, "subject", truc_bytes_of("x")), TRUC_OK);
    assert_int_equal(truc_event_set_text(&event, "subject", truc_bytes_of("y")), TRUC_E_INVALID);
    assert_int_equal(event.attribute_count, 2);
}

/* All names share one bit of the parser's filter in some pair of these; none may be taken for another. */
static void test_many_names_are_told_apart(void **state)
{
    (void)state;
    struct truc_buffer out = {0};
    for (unsigned first = 0; first < 40; first++) {
        char names[40][8];
        fill_minimal();
        for (unsigned i = 0; i < 40; i++) {
            snprintf(names[i], sizeof names[i], "n%u", first * 1000 + i);
            assert_int_equal(truc_event_set_text(&event, names[i], truc_bytes_of("v")), TRUC_OK);
        }
        truc_buffer_clear(&out);
        assert_int_equal(truc_event_encode(&event, &out), TRUC_OK);
        event.attributes[1].name = event.attributes[40].name; /* now one twice */
        assert_int_equal(truc_event_encode(&event, &out), TRUC_E_INVALID);
    }
    truc_buffer_close(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_reads_what_another_encoder_wrote),
        cmocka_unit_test(test_writes_what_another_encoder_writes),
        cmocka_unit_test(test_a_minimal_event_is_enough),
        cmocka_unit_test(test_every_required_part_is_required),
        cmocka_unit_test(test_hostile_events_are_malformed),
        cmocka_unit_test(test_their_harmless_neighbours_pass),
        cmocka_unit_test(test_times_may_come_as_text),
        cmocka_unit_test(test_no_cut_event_is_taken_and_none_is_read_over),
        cmocka_unit_test(test_flipped_bits_never_read_outside),
        cmocka_unit_test(test_a_bad_byte_is_found_wherever_it_stands),
        cmocka_unit_test(test_every_letter_of_unicode),
        cmocka_unit_test(test_limits_of_size_and_number),
        cmocka_unit_test(test_encode_never_makes_what_parse_refuses),
        cmocka_unit_test(test_set_refuses_wrong_names_and_kinds),
        cmocka_unit_test(test_many_names_are_told_apart),
    };
    return cmocka_run_group_tests_name("event", tests, NULL, NULL);
}
