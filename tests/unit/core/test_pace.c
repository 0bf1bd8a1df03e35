/* Senders are slowed for those who follow, not for those who do not, and never without bound. */
#include "hub/core/pace.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#define LOOK_MS 20
#define MIB (UINT64_C(1) << 20)

/* Takes seals of `seal` bytes as long as they are allowed. -> bytes */
static uint64_t take(struct hub_pace *pace, size_t seal, uint64_t most)
{
    uint64_t taken = 0;
    while (hub_pace_allows(pace) && taken < most) {
        hub_pace_taken(pace, seal);
        taken += seal;
    }
    return taken;
}

static void look(struct hub_pace *pace, uint64_t now, uint64_t waiting, uint64_t sent)
{
    hub_pace_begin(pace, now);
    hub_pace_receiver(pace, waiting, sent);
    hub_pace_end(pace);
}

/* `sent` bytes leave in each look, for a second. -> bytes taken in */
static uint64_t second(struct hub_pace *pace, uint64_t waiting, uint64_t sent)
{
    uint64_t taken = 0;
    for (uint64_t now = 10000; now < 11000; now += LOOK_MS) {
        look(pace, now, waiting, sent);
        taken += take(pace, MIB, 1000 * MIB);
    }
    return taken;
}

static void test_nobody_waits_for_who_follows(void **state)
{
    struct hub_pace pace = {0};
    (void)state;
    assert_true(hub_pace_allows(&pace));
    look(&pace, 20, HUB_PACE_BEHIND, 0);
    assert_false(pace.on);
    assert_int_equal(take(&pace, MIB, 1000 * MIB), 1000 * MIB);
}

static void test_no_more_is_taken_in_than_is_sent(void **state)
{
    struct hub_pace pace = {0};
    const uint64_t sent = 2 * MIB, all = sent * 1000 / LOOK_MS;
    (void)state;
    uint64_t taken = second(&pace, HUB_PACE_BEHIND + 1, sent);
    assert_true(pace.on);
    assert_in_range(taken, all - MIB, all + HUB_PACE_ALLOWANCE_MOST + MIB);
    taken = second(&pace, 2 * HUB_PACE_BEHIND + 1, sent); /* so that it catches up */
    assert_in_range(taken, all / 4 * 3 - MIB, all / 4 * 3 + HUB_PACE_ALLOWANCE_MOST + MIB);
    look(&pace, 11020, 0, sent); /* it did */
    assert_false(pace.on);
    assert_int_equal(take(&pace, MIB, 1000 * MIB), 1000 * MIB);
}

static void test_the_slowest_counts(void **state)
{
    struct hub_pace pace = {0};
    uint64_t taken = 0;
    (void)state;
    for (uint64_t now = 10000; now < 11000; now += LOOK_MS) {
        hub_pace_begin(&pace, now);
        hub_pace_receiver(&pace, HUB_PACE_BEHIND + 1, 4 * MIB);
        hub_pace_receiver(&pace, HUB_PACE_BEHIND + 2, MIB);
        hub_pace_receiver(&pace, HUB_PACE_BEHIND, 0); /* not behind: its rate says nothing */
        hub_pace_end(&pace);
        taken += take(&pace, MIB, 1000 * MIB);
    }
    assert_in_range(taken, 49 * MIB, 50 * MIB + HUB_PACE_ALLOWANCE_MOST + MIB);
}

static void test_nobody_stops_the_others(void **state)
{
    struct hub_pace pace = {0};
    (void)state;
    uint64_t taken = second(&pace, 1000 * HUB_PACE_BEHIND, 10);
    assert_in_range(taken, HUB_PACE_LEAST_PER_S - MIB, HUB_PACE_LEAST_PER_S + HUB_PACE_ALLOWANCE_MOST + MIB);
}

/* A seal that is larger than the allowance goes, and is paid for afterwards. */
static void test_a_large_seal_is_paid_for(void **state)
{
    struct hub_pace pace = {0};
    (void)state;
    look(&pace, 10000, HUB_PACE_BEHIND + 1, MIB);
    assert_int_equal(take(&pace, 6 * MIB, 1000 * MIB), 6 * MIB);
    look(&pace, 10020, HUB_PACE_BEHIND + 1, MIB);
    assert_false(hub_pace_allows(&pace));
    look(&pace, 10040, HUB_PACE_BEHIND + 1, MIB);
    look(&pace, 10060, HUB_PACE_BEHIND + 1, MIB);
    assert_true(hub_pace_allows(&pace));
}

/* Nothing is saved up while the loop stands still or senders are quiet. */
static void test_nothing_is_saved_up(void **state)
{
    struct hub_pace pace = {0};
    (void)state;
    for (uint64_t now = 0; now < 1000000; now += 100000) {
        look(&pace, now, HUB_PACE_BEHIND + 1, 1000 * MIB);
        assert_true(pace.allowance <= HUB_PACE_ALLOWANCE_MOST);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_nobody_waits_for_who_follows), cmocka_unit_test(test_no_more_is_taken_in_than_is_sent),
        cmocka_unit_test(test_the_slowest_counts),           cmocka_unit_test(test_nobody_stops_the_others),
        cmocka_unit_test(test_a_large_seal_is_paid_for),     cmocka_unit_test(test_nothing_is_saved_up),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
