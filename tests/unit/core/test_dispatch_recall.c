/* Stories of what is held: an event that a recall means is not handed out until the recall is decided. */
#include "tests/unit/core/dispatch_steps.h"

#define S 10 /* the session of D1 */

static const struct hub_meant only_d1 = {.agency = D1}, everybody = {0};

static uint64_t sequence_of(struct world *world, uint64_t number)
{
    struct hub_posting posting;
    assert_int_equal(hub_core_posting(world->core, D1, number, &posting), TRUC_OK);
    return posting.sequence;
}

static void hold(struct world *world, uint64_t number, struct hub_meant meant)
{
    assert_int_equal(hub_dispatch_hold(world->dispatch, sequence_of(world, number), meant), TRUC_OK);
}

static void unhold(struct world *world, uint64_t number, struct hub_meant meant)
{
    assert_int_equal(hub_dispatch_unhold(world->dispatch, sequence_of(world, number), meant), TRUC_OK);
}

static void test_held_is_not_handed_out_until_released(void **state)
{
    (void)state;
    struct world world;
    world_open(&world, &plain);
    world_send(&world, "D1", 0); /* 1 */
    world_send(&world, "D1", 0); /* 2 */
    hold(&world, 1, only_d1);
    world_session(&world, S, D1, 100);
    EXPECT(S, 2);
    assert_int_equal(hub_dispatch_ready(world.dispatch, world.now_us), 0);
    unhold(&world, 1, only_d1);
    assert_int_equal(hub_dispatch_ready(world.dispatch, world.now_us), S);
    EXPECT(S, 1);
    unhold(&world, 1, only_d1); /* one too many does nothing */
    EXPECT_NOTHING(S);
    world_close(&world);
}

static void test_later_ones_of_its_subject_wait_behind_it(void **state)
{
    (void)state;
    struct world world;
    world_open(&world, &plain);
    for (unsigned i = 0; i < 3; i++) {
        world_send(&world, "D1", 7); /* 1 to 3 */
    }
    world_send(&world, "D1", 8); /* 4 */
    hold(&world, 2, only_d1);
    world_session(&world, S, D1, 100);
    EXPECT(S, 1, 4);
    EXPECT_NOTHING(S);
    unhold(&world, 2, only_d1);
    EXPECT(S, 2, 3);
    world_close(&world);
}

static void test_two_recalls_hold_until_both_are_decided(void **state)
{
    (void)state;
    struct world world;
    world_open(&world, &plain);
    world_send(&world, "D1,D2", 7);
    hold(&world, 1, only_d1);
    hold(&world, 1, only_d1);
    world_session(&world, S, D1, 100);
    EXPECT_NOTHING(S);
    unhold(&world, 1, only_d1);
    EXPECT_NOTHING(S);
    unhold(&world, 1, only_d1);
    EXPECT(S, 1);
    world_close(&world);
}

static void test_held_before_it_is_in_memory(void **state)
{
    (void)state;
    struct world world;
    struct world_settings settings = {.limits = {.window = 2}};
    world_open(&world, &settings);
    for (unsigned i = 0; i < 5; i++) {
        world_send(&world, "D1", 0); /* 1 to 5; two of them fit */
    }
    hold(&world, 5, only_d1);
    assert_int_equal(hub_dispatch_ready(world.dispatch, world.now_us), 0);
    assert_true(hub_dispatch_entries(world.dispatch) < 5);
    world_session(&world, S, D1, 100);
    for (uint64_t first = 1; first < 5; first += 2) {
        (void)expect(&world, S, (const uint64_t[]){first, first + 1, 0});
        struct hub_range range = {first, 2};
        world_ranges(&world, HUB_INPUT_ACK, D1, &(struct hub_ranges){&range, 1, 1});
    }
    EXPECT_NOTHING(S);
    assert_int_equal(hub_dispatch_entries(world.dispatch), 1);
    unhold(&world, 5, only_d1);
    EXPECT(S, 5);
    world_close(&world);
}

static void test_a_hold_on_a_group_or_on_everybody_stops_each_of_them_and_no_other_event(void **state)
{
    (void)state;
    struct world world;
    world_open(&world, &plain);
    struct hub_meant all, nobody;
    assert_int_equal(hub_core_meant(world.core, truc_bytes_of("@all"), &all), TRUC_OK);
    assert_int_equal(hub_core_meant(world.core, truc_bytes_of("@none"), &nobody), TRUC_E_NOT_FOUND);
    assert_int_equal(hub_core_meant(world.core, truc_bytes_of("D9"), &nobody), TRUC_E_NOT_FOUND);
    assert_int_equal(hub_core_meant_at(world.core, &all, 0), D1);
    assert_int_equal(hub_core_meant_at(world.core, &all, 1), D2);
    assert_int_equal(hub_core_meant_at(world.core, &all, 2), 0);
    assert_int_equal(hub_core_meant_at(world.core, &everybody, D2 - 1), D2);
    assert_int_equal(hub_core_meant_at(world.core, &everybody, D2), 0);
    world_send(&world, "D1,D2", 0); /* 1 */
    world_send(&world, "D1,D2", 0); /* 2 */
    hold(&world, 1, all);
    hold(&world, 2, everybody);
    world_session(&world, S, D1, 100);
    world_session(&world, 11, D2, 100);
    EXPECT_NOTHING(S);
    EXPECT_NOTHING(11);
    unhold(&world, 2, everybody);
    EXPECT(S, 2);
    EXPECT(11, 2);
    unhold(&world, 1, all);
    EXPECT(S, 1);
    EXPECT(11, 1);
    world_close(&world);
}

static void test_a_hold_on_one_leaves_the_others_alone(void **state)
{
    (void)state;
    struct world world;
    world_open(&world, &plain);
    world_send(&world, "D1,D2", 0);
    hold(&world, 1, only_d1);
    world_session(&world, S, D1, 100);
    world_session(&world, 11, D2, 100);
    EXPECT_NOTHING(S);
    EXPECT(11, 1);
    unhold(&world, 1, only_d1);
    EXPECT(S, 1);
    world_close(&world);
}

static void test_what_comes_back_is_not_kept_by_recalls_that_are_too_late(void **state)
{
    (void)state;
    struct world world;
    world_open(&world, &plain);
    world_send(&world, "D1", 7);
    world_session(&world, S, D1, 100);
    uint64_t lease = EXPECT(S, 1);
    hold(&world, 1, only_d1);
    hold(&world, 1, everybody);
    assert_true(hub_dispatch_nack(world.dispatch, S, lease, 1));
    world_nacked(&world, D1, 1, 1, false);
    world.now_us += SECOND;
    EXPECT(S, 1);
    world_close(&world);
}

static void test_recalls_ask_what_is_in_flight(void **state)
{
    (void)state;
    struct world world;
    world_open(&world, &plain);
    world_send(&world, "D1", 7);
    world_send(&world, "D1", 7);
    struct hub_posting posting;
    assert_int_equal(hub_core_posting(world.core, D1, 1, &posting), TRUC_OK);
    uint64_t sequence = posting.sequence;
    world_session(&world, 10, D1, 1);
    assert_false(hub_dispatch_in_flight(world.dispatch, D1, sequence));
    uint64_t lease = EXPECT(10, 1);
    assert_true(hub_dispatch_in_flight(world.dispatch, D1, sequence));
    assert_false(hub_dispatch_in_flight(world.dispatch, D1, sequence + 1));
    assert_false(hub_dispatch_in_flight(world.dispatch, D2, sequence));
    assert_false(hub_dispatch_in_flight(world.dispatch, 99, sequence));
    assert_true(hub_dispatch_nack(world.dispatch, 10, lease, 1));
    world_nacked(&world, D1, 1, 1, false);
    assert_true(hub_dispatch_in_flight(world.dispatch, D1, sequence)); /* it was out there */
    world_close(&world);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_held_is_not_handed_out_until_released),
        cmocka_unit_test(test_later_ones_of_its_subject_wait_behind_it),
        cmocka_unit_test(test_two_recalls_hold_until_both_are_decided),
        cmocka_unit_test(test_held_before_it_is_in_memory),
        cmocka_unit_test(test_a_hold_on_a_group_or_on_everybody_stops_each_of_them_and_no_other_event),
        cmocka_unit_test(test_a_hold_on_one_leaves_the_others_alone),
        cmocka_unit_test(test_what_comes_back_is_not_kept_by_recalls_that_are_too_late),
        cmocka_unit_test(test_recalls_ask_what_is_in_flight),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
