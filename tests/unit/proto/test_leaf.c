/* Leaves: one spelling for each set of decisions. */
#include "truc/leaf.h"

#include "tests/unit/proto/support.h"

#define DIGEST "6464646464646464646464646464646464646464646464646464646464646464"
#define HEAD(count)                                                                                                    \
    "01"                                                                                                               \
    "00060a24181e4000"                                                                                                 \
    "0000000000000065" DIGEST count

static struct truc_leaf leaf, again;

static truc_error parse_hex(const char *hex)
{
    struct truc_buffer bytes = support_unhex(hex);
    struct truc_bytes copy = support_exact_copy(truc_buffer_view(&bytes));
    truc_error error = truc_leaf_parse(copy, &again);
    support_free_copy(copy);
    truc_buffer_close(&bytes);
    return error;
}

static void start_leaf(uint32_t count)
{
    memset(&leaf, 0, sizeof leaf);
    leaf.accepted_at_us = 1700000000000000; /* 0x00060a24181e4000 */
    leaf.first_sequence = 101;
    memset(leaf.seal_digest.bytes, 'd', TRUC_HASH_SIZE);
    leaf.count = count;
}

static void assert_encodes_to(const char *hex)
{
    struct truc_buffer expected = support_unhex(hex), out = {0};
    assert_int_equal(truc_leaf_encode(&leaf, &out), TRUC_OK);
    assert_int_equal(out.size, expected.size);
    assert_memory_equal(out.data, expected.data, out.size);
    assert_int_equal(truc_leaf_parse(truc_buffer_view(&out), &again), TRUC_OK);
    assert_int_equal(again.accepted_at_us, leaf.accepted_at_us);
    assert_int_equal(again.first_sequence, leaf.first_sequence);
    assert_memory_equal(again.seal_digest.bytes, leaf.seal_digest.bytes, TRUC_HASH_SIZE);
    assert_int_equal(again.count, leaf.count);
    for (uint32_t i = 0; i < leaf.count; i++) {
        assert_int_equal(again.outcomes[i].code, leaf.outcomes[i].code);
        assert_int_equal(again.outcomes[i].duplicate_of, leaf.outcomes[i].duplicate_of);
    }
    truc_buffer_close(&expected);
    truc_buffer_close(&out);
}

static void test_all_accepted_is_one_run(void **state)
{
    (void)state;
    start_leaf(1);
    assert_encodes_to(HEAD("0001") "0100");
    start_leaf(1024);
    assert_encodes_to(HEAD("0400") "800800");
}

static void test_runs_of_each_outcome(void **state)
{
    (void)state;
    start_leaf(8);
    leaf.outcomes[2].code = TRUC_NOT_GRANTED;
    leaf.outcomes[3].code = TRUC_NOT_GRANTED;
    leaf.outcomes[4] = (struct truc_outcome){TRUC_OUTCOME_DUPLICATE, 7};
    leaf.outcomes[5] = (struct truc_outcome){TRUC_OUTCOME_DUPLICATE, 8};
    leaf.outcomes[6] = (struct truc_outcome){TRUC_OUTCOME_DUPLICATE, 101}; /* of this seal's first */
    assert_encodes_to(HEAD("0008") "0200"
                                   "020a"
                                   "028007"
                                   "018065"
                                   "0100");
}

static void test_the_longest_leaf_is_within_its_limit(void **state)
{
    (void)state;
    struct truc_buffer out = {0};
    start_leaf(TRUC_SEAL_EVENTS_MAX);
    leaf.first_sequence = UINT64_MAX - TRUC_SEAL_EVENTS_MAX;
    for (uint32_t i = 0; i < leaf.count; i++) {
        leaf.outcomes[i] = (struct truc_outcome){TRUC_OUTCOME_DUPLICATE, UINT64_MAX / 2 + 2 * (uint64_t)i};
    }
    assert_int_equal(truc_leaf_encode(&leaf, &out), TRUC_OK);
    assert_true(out.size <= TRUC_LEAF_MAX);
    assert_int_equal(truc_leaf_parse(truc_buffer_view(&out), &again), TRUC_OK);
    assert_true(again.outcomes[1023].duplicate_of == UINT64_MAX / 2 + 2046);
    truc_buffer_close(&out);
}

static void assert_not_encoded(void)
{
    struct truc_buffer out = {0};
    assert_int_equal(truc_leaf_encode(&leaf, &out), TRUC_E_INVALID);
    assert_int_equal(out.size, 0);
    truc_buffer_close(&out);
}

static void test_what_is_no_decision_is_not_written(void **state)
{
    (void)state;
    start_leaf(0);
    assert_not_encoded();
    start_leaf(TRUC_SEAL_EVENTS_MAX + 1);
    assert_not_encoded();
    start_leaf(1);
    leaf.first_sequence = 0;
    assert_not_encoded();
    start_leaf(1);
    leaf.accepted_at_us = -1;
    assert_not_encoded();
    start_leaf(2);
    leaf.outcomes[1].code = 129;
    assert_not_encoded();
    start_leaf(2);
    leaf.outcomes[1] = (struct truc_outcome){TRUC_OUTCOME_DUPLICATE, 102}; /* of itself */
    assert_not_encoded();
    start_leaf(2);
    leaf.outcomes[1] = (struct truc_outcome){TRUC_OUTCOME_DUPLICATE, 0};
    assert_not_encoded();
}

static void test_another_spelling_is_refused(void **state)
{
    (void)state;
    assert_int_equal(parse_hex(HEAD("0002") "0200"), TRUC_OK);
    assert_int_equal(parse_hex(HEAD("0002") "01000100"), TRUC_E_MALFORMED);     /* a run cut in two */
    assert_int_equal(parse_hex(HEAD("0002") "820000"), TRUC_E_MALFORMED);       /* overlong length */
    assert_int_equal(parse_hex(HEAD("0002") "00000200"), TRUC_E_MALFORMED);     /* an empty run */
    assert_int_equal(parse_hex(HEAD("0002") "0300"), TRUC_E_MALFORMED);         /* more than count */
    assert_int_equal(parse_hex(HEAD("0002") "0100"), TRUC_E_MALFORMED);         /* fewer */
    assert_int_equal(parse_hex(HEAD("0002") "020000"), TRUC_E_MALFORMED);       /* a byte behind */
    assert_int_equal(parse_hex(HEAD("0002") "028007"), TRUC_OK);                /* duplicates of 7, 8 */
    assert_int_equal(parse_hex(HEAD("0002") "018007018008"), TRUC_E_MALFORMED); /* the same in two runs */
    assert_int_equal(parse_hex(HEAD("0002") "018007018009"), TRUC_OK);
    assert_int_equal(parse_hex(HEAD("0002") "01800701808900"), TRUC_E_MALFORMED);
    assert_int_equal(parse_hex(HEAD("0002") "028065"), TRUC_E_MALFORMED); /* of itself */
    assert_int_equal(parse_hex(HEAD("0002") "028000"), TRUC_E_MALFORMED);
    assert_int_equal(parse_hex(HEAD("0002") "0281"), TRUC_E_MALFORMED); /* no such outcome */
    assert_int_equal(parse_hex(HEAD("0002") "02ff"), TRUC_E_MALFORMED);
    assert_int_equal(parse_hex(HEAD("0000")), TRUC_E_MALFORMED);
    assert_int_equal(parse_hex(HEAD("0401") "810800"), TRUC_E_MALFORMED);
    assert_int_equal(parse_hex(HEAD("ffff") "ffff0300"), TRUC_E_MALFORMED);
    assert_int_equal(parse_hex("01"
                               "8000000000000000"
                               "0000000000000001" DIGEST "0001"
                               "0100"),
                     TRUC_E_MALFORMED);
    assert_int_equal(parse_hex("01"
                               "0000000000000000"
                               "0000000000000000" DIGEST "0001"
                               "0100"),
                     TRUC_E_MALFORMED);
    assert_int_equal(parse_hex("01"
                               "0000000000000000"
                               "ffffffffffffffff" DIGEST "0001"
                               "0100"),
                     TRUC_E_MALFORMED);
    assert_int_equal(parse_hex("02"
                               "0000000000000000"
                               "0000000000000001" DIGEST "0001"
                               "0100"),
                     TRUC_E_UNSUPPORTED);
    assert_int_equal(parse_hex("02"), TRUC_E_UNSUPPORTED);
    assert_int_equal(parse_hex(""), TRUC_E_MALFORMED);
}

static void test_no_cut_leaf_is_taken(void **state)
{
    (void)state;
    struct truc_buffer bytes = support_unhex(HEAD("0008") "0200020a0280070180650100");
    assert_int_equal(truc_leaf_parse(truc_buffer_view(&bytes), &again), TRUC_OK);
    for (size_t size = 0; size < bytes.size; size++) {
        struct truc_bytes cut = support_exact_copy(truc_bytes(bytes.data, size));
        assert_int_equal(truc_leaf_parse(cut, &again), TRUC_E_MALFORMED);
        support_free_copy(cut);
    }
    truc_buffer_close(&bytes);
}

/* What parses is written back as it was: there is no second encoding for anything. */
static void test_what_is_read_is_written_the_same(void **state)
{
    (void)state;
    struct truc_buffer bytes = support_unhex(HEAD("0008") "0200020a0280070180650100"), out = {0};
    size_t taken = 0;
    for (size_t bit = 0; bit < bytes.size * 8; bit++) {
        bytes.data[bit / 8] ^= (uint8_t)(1u << bit % 8);
        if (truc_leaf_parse(truc_buffer_view(&bytes), &again) == TRUC_OK) {
            taken++;
            truc_buffer_clear(&out);
            assert_int_equal(truc_leaf_encode(&again, &out), TRUC_OK);
            assert_int_equal(out.size, bytes.size);
            assert_memory_equal(out.data, bytes.data, out.size);
        }
        bytes.data[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
    assert_true(taken > TRUC_HASH_SIZE * 8); /* any digest is possible */
    truc_buffer_close(&bytes);
    truc_buffer_close(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_all_accepted_is_one_run),
        cmocka_unit_test(test_runs_of_each_outcome),
        cmocka_unit_test(test_the_longest_leaf_is_within_its_limit),
        cmocka_unit_test(test_what_is_no_decision_is_not_written),
        cmocka_unit_test(test_another_spelling_is_refused),
        cmocka_unit_test(test_no_cut_leaf_is_taken),
        cmocka_unit_test(test_what_is_read_is_written_the_same),
    };
    return cmocka_run_group_tests_name("leaf", tests, NULL, NULL);
}
