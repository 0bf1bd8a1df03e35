/* Every error and every refusal has words for a person; what is unknown has them too. */
#include "truc/error.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static void every_error_has_its_own_sentence(void **state)
{
    (void)state;
    for (int i = 0; i < TRUC_E_COUNT_; i++) {
        const char *sentence = truc_error_string((truc_error)i);
        assert_non_null(sentence);
        assert_true(strlen(sentence) > 5);
        for (int other = 0; other < i; other++) {
            assert_string_not_equal(sentence, truc_error_string((truc_error)other));
        }
    }
}

static void a_number_that_is_no_error_is_survived(void **state)
{
    (void)state;
    assert_string_equal(truc_error_string(TRUC_E_COUNT_), "unknown error");
    assert_string_equal(truc_error_string((truc_error)-1), "unknown error");
    assert_string_equal(truc_error_string((truc_error)100000), "unknown error");
}

/* The numbers are on the wire and in the log: this table is typed in a second time so that no edit moves one. */
static const struct {
    unsigned number;
    const char *name;
} wire[] = {
    {0, "ACCEPTED"},      {1, "MALFORMED"},        {2, "TOO_LARGE"},
    {3, "BAD_SEAL"},      {4, "WRONG_ORIGIN"},     {5, "SEAL_GAP"},
    {6, "SEAL_FORK"},     {7, "UNKNOWN_KEY"},      {8, "KEY_REVOKED"},
    {9, "SUSPENDED"},     {10, "NOT_GRANTED"},     {11, "NO_RECIPIENT"},
    {12, "EXPIRED"},      {13, "CLOCK_SKEW"},      {14, "ID_CONFLICT"},
    {15, "MISSING_BLOB"}, {16, "INVALID_PAYLOAD"}, {17, "ILLEGAL_TRANSITION"},
    {18, "STALE_LEASE"},  {32, "OVERLOADED"},      {33, "QUOTA"},
    {34, "STORAGE_FULL"}, {35, "CLOCK_UNSURE"},
};
#define WIRE_COUNT (sizeof wire / sizeof wire[0])

static void every_reason_keeps_its_number_and_advises(void **state)
{
    (void)state;
    for (size_t i = 0; i < WIRE_COUNT; i++) {
        assert_string_equal(truc_reason_name(wire[i].number), wire[i].name);
        assert_true(strlen(truc_reason_advice(wire[i].number)) > 10);
        assert_int_equal(truc_reason_is_transient(wire[i].number), wire[i].number >= 32);
    }
}

static void a_reason_of_a_later_version_is_survived(void **state)
{
    (void)state;
    unsigned known = 0;
    for (unsigned number = 0; number < 1000; number++) {
        bool listed = false;
        for (size_t i = 0; i < WIRE_COUNT; i++) {
            listed = listed || wire[i].number == number;
        }
        known += listed;
        if (!listed) {
            assert_string_equal(truc_reason_name(number), "UNKNOWN_REASON");
            assert_non_null(truc_reason_advice(number));
            assert_false(truc_reason_is_transient(number));
        }
    }
    assert_int_equal(known, WIRE_COUNT);
    assert_string_equal(truc_reason_name(UINT32_MAX), "UNKNOWN_REASON");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_error_has_its_own_sentence),
        cmocka_unit_test(a_number_that_is_no_error_is_survived),
        cmocka_unit_test(every_reason_keeps_its_number_and_advises),
        cmocka_unit_test(a_reason_of_a_later_version_is_survived),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
