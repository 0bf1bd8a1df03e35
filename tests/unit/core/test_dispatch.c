/* Stories of the dispatcher on a real core: credit, order, leases, sessions. */
#include "tests/unit/core/dispatch_steps.h"

static void test_credit_and_order(void **state)
{
    (void)state;
    struct world world;
    world_open(&world, &plain);
    for (unsigned i = 0; i < 5; i++) {
        world_send(&world, "D1", i % 2 + 1);
    }
    world_session(&world, 10, D1, 0);
    EXPECT_NOTHING(10); /* 0 credit means silence */
    assert_int_equal(hub_dispatch_ready(world.dispatch, world.now_us), 0);
    hub_dispatch_credit(world.dispatch, 10, 3, 0);
    assert_int_equal(hub_dispatch_ready(world.dispatch, world.now_us), 10);
    uint64_t lease = EXPECT(10, 1, 2, 3);
    assert_int_equal(hub_dispatch_credit_left(world.dispatch, 10), 0);
    assert_int_equal(hub_dispatch_ready(world.dispatch, world.now_us), 0);
    hub_dispatch_credit(world.dispatch, 10, 10, 0);
    uint64_t second = EXPECT(10, 4, 5);
    assert_true(second > lease);
    ack(&world, 10, lease, 1, 3, 3, 0);
    assert_int_equal(hub_dispatch_entries(world.dispatch), 2);
    ack(&world, 10, second, 4, 2, 2, 0);
    assert_int_equal(hub_dispatch_entries(world.dispatch), 0);
    assert_int_equal(hub_core_agency_by_number(world.core, D1)->floor, 5);
    assert_int_equal(hub_dispatch_next_us(world.dispatch) > world.now_us, 1);
    world_close(&world);
}

static void test_credit_saturates_and_bytes_bound(void **state)
{
    (void)state;
    struct world world;
    struct world_settings settings = {.limits = {.credit_events = 5, .credit_bytes = 1000}};
    world_open(&world, &settings);
    assert_int_equal(hub_dispatch_open(world.dispatch, 10, D1), TRUC_OK);
    assert_int_equal(hub_dispatch_open(world.dispatch, 10, D1), TRUC_E_EXISTS);
    assert_int_equal(hub_dispatch_open(world.dispatch, 0, D1), TRUC_E_INVALID);
    assert_int_equal(hub_dispatch_open(world.dispatch, 11, 99), TRUC_E_INVALID);
    hub_dispatch_credit(world.dispatch, 10, UINT32_MAX, UINT64_MAX);
    hub_dispatch_credit(world.dispatch, 10, UINT32_MAX, UINT64_MAX);
    hub_dispatch_credit(world.dispatch, 99, 1, 1); /* nobody */
    assert_int_equal(hub_dispatch_credit_left(world.dispatch, 10), 5);
    assert_int_equal(hub_dispatch_credit_left(world.dispatch, 99), 0);
    world_send_until(&world, "D1", 0, 600, HUB_TIME_NONE);
    world_send_until(&world, "D1", 0, 300, HUB_TIME_NONE);
    world_send_until(&world, "D1", 0, 300, HUB_TIME_NONE);
    struct taken taken = take_bytes(&world, 10, 10); /* one always, if the credit allows */
    assert_int_equal(taken.count, 1);
    EXPECT(10, 2);
    EXPECT_NOTHING(10); /* 100 bytes of credit are left */
    assert_int_equal(hub_dispatch_ready(world.dispatch, world.now_us), 0);
    hub_dispatch_credit(world.dispatch, 10, 0, 200);
    assert_int_equal(hub_dispatch_ready(world.dispatch, world.now_us), 10);
    EXPECT(10, 3);
    world_close(&world);
}

static void test_a_subject_stays_with_its_session(void **state)
{
    (void)state;
    struct world world;
    world_open(&world, &plain);
    world_send(&world, "D1", 7); /* 1 */
    world_send(&world, "D1", 8); /* 2 */
    world_send(&world, "D1", 7); /* 3 */
    world_send(&world, "D1", 0); /* 4 */
    world_session(&world, 10, D1, 1);
    world_session(&world, 11, D1, 100);
    uint64_t lease = EXPECT(10, 1);
    EXPECT(11, 2, 4); /* 3 waits for session 10, though that has no credit */
    EXPECT_NOTHING(11);
    assert_int_equal(hub_dispatch_ready(world.dispatch, world.now_us), 0);
    ack(&world, 10, lease, 1, 1, 1, 0);
    assert_int_equal(hub_dispatch_ready(world.dispatch, world.now_us), 11);
    EXPECT(11, 3); /* nothing of subject 7 was in flight any more */
    world_close(&world);
}

static void test_handed_over_comes_back_when_the_holder_goes(void **state)
{
    (void)state;
    struct world world;
    world_open(&world, &plain);
    world_send(&world, "D1", 7);
    world_send(&world, "D1", 7);
    world_session(&world, 10, D1, 1);
    world_session(&world, 11, D1, 100);
    uint64_t lease = EXPECT(10, 1);
    EXPECT_NOTHING(11); /* 2 went to session 10's list */
    struct hub_ranges valid = {0}, stale = {0}, released = {0};
    assert_int_equal(hub_dispatch_ack(world.dispatch, 10, lease, (struct hub_range){1, 1}, &valid, &stale), TRUC_OK);
    assert_int_equal(hub_dispatch_close(world.dispatch, 10, &released), TRUC_OK);
    assert_int_equal(released.count, 0); /* what was acked is not given back */
    EXPECT_NOTHING(11);                  /* and is not durable yet */
    world_ranges(&world, HUB_INPUT_ACK, D1, &valid);
    EXPECT(11, 2);
    hub_ranges_close(&valid);
    world_close(&world);
}

static void test_nack_takes_the_later_ones_along(void **state)
{
    (void)state;
    struct world world;
    world_open(&world, &plain);
    for (unsigned i = 0; i < 4; i++) {
        world_send(&world, "D1", 7); /* 1 to 4 */
    }
    world_send(&world, "D1", 8); /* 5 */
    world_session(&world, 10, D1, 100);
    uint64_t lease = EXPECT(10, 1, 2, 3, 4, 5);
    assert_false(hub_dispatch_nack(world.dispatch, 11, lease, 2));
    assert_false(hub_dispatch_nack(world.dispatch, 10, lease + 1, 2));
    assert_false(hub_dispatch_nack(world.dispatch, 10, lease, 99));
    assert_true(hub_dispatch_nack(world.dispatch, 10, lease, 2));
    assert_false(hub_dispatch_nack(world.dispatch, 10, lease, 2));
    ack(&world, 10, lease, 1, 5, 2, 3); /* 1 and 5; 2 is given back, 3 and 4 lost their lease */
    EXPECT_NOTHING(10);                 /* 2 is not journaled yet */
    world_nacked(&world, D1, 2, 5000, false);
    EXPECT_NOTHING(10);
    assert_int_equal(hub_dispatch_next_us(world.dispatch), world.now_us + 5 * SECOND);
    world.now_us += 5 * SECOND;
    struct taken taken = take(&world, 10);
    assert_int_equal(taken.count, 3);
    for (size_t i = 0; i < 3; i++) {
        assert_int_equal(taken.items[i].posting.number, 2 + i);
        assert_int_equal(taken.items[i].attempt, 2); /* all three may have been seen */
    }
    assert_int_equal(taken.items[0].posting.attempts, 1);
    assert_int_equal(taken.items[1].posting.attempts, 0); /* it was not nacked */
    world_close(&world);
}

static void test_a_lost_session_gives_everything_back(void **state)
{
    (void)state;
    struct world world;
    world_open(&world, &plain);
    for (unsigned i = 0; i < 6; i++) {
        world_send(&world, "D1", i % 2);
    }
    world_session(&world, 10, D1, 4);
    uint64_t lease = EXPECT(10, 1, 2, 3, 4);
    ack(&world, 10, lease, 3, 1, 1, 0);
    close_session(&world, 10, 2); /* 1-2 and 4 */
    close_session(&world, 10, 0); /* twice does no harm */
    assert_int_equal(hub_dispatch_credit_left(world.dispatch, 10), 0);
    world_session(&world, 11, D1, 100);
    EXPECT(11, 5); /* unordered; 6 waits behind 2 and 4, which wait a little */
    world.now_us += 10 * SECOND;
    struct taken taken = take(&world, 11);
    assert_int_equal(taken.count, 4);
    assert_int_equal(taken.items[0].attempt, 2);
    assert_int_equal(taken.items[3].posting.number, 6);
    assert_int_equal(taken.items[3].attempt, 1);
    world_close(&world);
}

static void test_a_lease_ends(void **state)
{
    (void)state;
    struct world world;
    world_open(&world, &plain);
    for (unsigned i = 0; i < 3; i++) {
        world_send(&world, "D1", 7);
    }
    world_session(&world, 10, D1, 2);
    uint64_t lease = EXPECT(10, 1, 2);
    world.now_us += 30 * SECOND;
    hub_dispatch_credit(world.dispatch, 10, 100, 0);
    uint64_t later = EXPECT(10, 3);
    assert_int_equal(due(&world, HUB_INPUT_RELEASE), 0);
    assert_int_equal(hub_dispatch_next_us(world.dispatch), START + 60 * SECOND);
    world.now_us += 30 * SECOND;
    assert_int_equal(due(&world, HUB_INPUT_RELEASE), 2);
    ack(&world, 10, lease, 1, 2, 0, 2);
    ack(&world, 10, later, 3, 1, 0, 1); /* an earlier one of its subject came back: it lost its lease, too */
    world.now_us += 10 * SECOND;
    EXPECT(10, 1, 2, 3);
    world_close(&world);
}

static void test_a_suspended_agency_gets_nothing(void **state)
{
    (void)state;
    struct world world;
    world_open(&world, &plain);
    world_send(&world, "D1", 7);
    world_session(&world, 10, D1, 100);
    world_suspend(&world, D1, true);
    assert_int_equal(hub_dispatch_ready(world.dispatch, world.now_us), 0);
    EXPECT_NOTHING(10);
    world_suspend(&world, D1, false);
    assert_int_equal(hub_dispatch_ready(world.dispatch, world.now_us), 10);
    EXPECT(10, 1);
    world_close(&world);
}

static void test_hostile_acks(void **state)
{
    (void)state;
    struct world world;
    world_open(&world, &plain);
    for (unsigned i = 0; i < 10; i++) {
        world_send(&world, "D1", 0);
    }
    world_session(&world, 10, D1, 8);
    world_session(&world, 11, D1, 100);
    world_session(&world, 12, D2, 100);
    uint64_t lease = EXPECT(10, 1, 2, 3, 4, 5, 6, 7, 8);
    EXPECT(11, 9, 10);
    ack(&world, 10, lease, 1, 0, 0, 0);
    ack(&world, 11, lease, 1, 8, 0, 8);     /* another's lease */
    ack(&world, 12, lease, 1, 8, 0, 8);     /* another agency's */
    ack(&world, 10, lease + 5, 1, 8, 0, 8); /* no such lease */
    ack(&world, 99, lease, 1, 8, 0, 8);     /* no such session */
    ack(&world, 10, lease, 0, 1, 0, 1);
    ack(&world, 10, lease, UINT64_MAX, UINT32_MAX, 0, 1); /* beyond the last number there is nothing */
    ack(&world, 10, lease, UINT64_MAX - 1, 2, 0, 2);
    ack(&world, 10, lease, 4, 2, 2, 0);
    ack(&world, 10, lease, 4, 2, 0, 2); /* twice */
    ack(&world, 10, lease, 0, UINT32_MAX, 6, UINT32_MAX - 6u);
    ack(&world, 10, lease, 0, UINT32_MAX, 0, UINT32_MAX); /* the lease has ended */
    assert_int_equal(hub_dispatch_entries(world.dispatch), 2);
    world_close(&world);
}

/* In whatever order and however overlapping they are added, ranges stay sorted, joined and complete. */
static void test_ranges_are_a_set(void **state)
{
    (void)state;
    struct world world;
    world_open(&world, &plain);
    uint64_t random = 12345;
    for (unsigned round = 0; round < 50; round++) {
        bool expected[1024] = {false};
        struct hub_ranges valid = {0}, stale = {0};
        for (unsigned i = 0; i < 60; i++) {
            random = random * UINT64_C(6364136223846793005) + 1442695040888963407u;
            struct hub_range range = {random >> 33 & 1007, (uint32_t)(random >> 50 & 15) + 1};
            assert_int_equal(hub_dispatch_ack(world.dispatch, 1, 1, range, &valid, &stale), TRUC_OK);
            memset(expected + range.first, true, range.count);
        }
        bool found[1024] = {false};
        for (size_t i = 0; i < stale.count; i++) {
            assert_true(i == 0 || stale.items[i].first > stale.items[i - 1].first + stale.items[i - 1].count);
            memset(found + stale.items[i].first, true, stale.items[i].count);
        }
        assert_memory_equal(found, expected, sizeof found);
        assert_int_equal(valid.count, 0);
        hub_ranges_close(&stale);
    }
    world_close(&world);
}

static void test_sessions_take_turns(void **state)
{
    (void)state;
    struct world world;
    world_open(&world, &plain);
    for (unsigned i = 0; i < 12; i++) {
        world_send(&world, "D1,D2", 0);
    }
    world_session(&world, 10, D1, 1000);
    world_session(&world, 11, D1, 1000);
    world_session(&world, 12, D2, 1000);
    unsigned turns[3] = {0};
    for (unsigned i = 0; i < 12; i++) {
        uint64_t session = hub_dispatch_ready(world.dispatch, world.now_us);
        assert_in_range(session, 10, 12);
        turns[session - 10]++;
        struct hub_delivery delivery;
        size_t count;
        assert_int_equal(hub_dispatch_take(world.dispatch, session, world.now_us, UINT64_MAX, &delivery, 1, &count),
                         TRUC_OK);
        assert_int_equal(count, 1);
    }
    assert_int_equal(turns[0], 3);
    assert_int_equal(turns[1], 3);
    assert_int_equal(turns[2], 6);
    world_close(&world);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_credit_and_order),
        cmocka_unit_test(test_credit_saturates_and_bytes_bound),
        cmocka_unit_test(test_a_subject_stays_with_its_session),
        cmocka_unit_test(test_handed_over_comes_back_when_the_holder_goes),
        cmocka_unit_test(test_nack_takes_the_later_ones_along),
        cmocka_unit_test(test_a_lost_session_gives_everything_back),
        cmocka_unit_test(test_a_lease_ends),
        cmocka_unit_test(test_a_suspended_agency_gets_nothing),
        cmocka_unit_test(test_hostile_acks),
        cmocka_unit_test(test_ranges_are_a_set),
        cmocka_unit_test(test_sessions_take_turns),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
