/* Stories of a recall that is under way: what it means is not handed out until it is decided. */
#include "tests/unit/core/dispatch_world.h"

#include <truc/event.h>

static const struct world_settings plain = {.max_attempts = 3, .hold_s = 3600};

static struct hub_posting posting(struct world *world, uint64_t number)
{
    struct hub_posting posting;
    assert_int_equal(hub_core_posting(world->core, D1, number, &posting), TRUC_OK);
    return posting;
}

static void hold(struct world *world, uint64_t number)
{
    assert_int_equal(hub_dispatch_hold(world->dispatch, D1, posting(world, number).sequence), TRUC_OK);
}

static void unhold(struct world *world, uint64_t number)
{
    assert_int_equal(hub_dispatch_unhold(world->dispatch, D1, posting(world, number).sequence), TRUC_OK);
}

/* The session gets exactly these numbers, in this order; 0 ends the list. */
static void expect(struct world *world, const uint64_t *numbers)
{
    struct hub_delivery items[16];
    size_t count, i = 0;
    assert_int_equal(hub_dispatch_take(world->dispatch, 10, world->now_us, UINT64_MAX, items, 16, &count), TRUC_OK);
    for (; numbers[i] != 0; i++) {
        assert_true(i < count);
        assert_int_equal(items[i].posting.number, numbers[i]);
    }
    assert_int_equal(i, count);
}
#define EXPECT(...) expect(&world, (const uint64_t[]){__VA_ARGS__, 0})
#define EXPECT_NOTHING() expect(&world, (const uint64_t[]){0})

static void test_held_is_not_handed_out_until_released(void **state)
{
    (void)state;
    struct world world;
    world_open(&world, &plain);
    world_send(&world, "D1", 0); /* 1 */
    world_send(&world, "D1", 0); /* 2 */
    hold(&world, 1);
    world_session(&world, 10, D1, 100);
    EXPECT(2);
    assert_int_equal(hub_dispatch_ready(world.dispatch, world.now_us), 0);
    unhold(&world, 1);
    assert_int_equal(hub_dispatch_ready(world.dispatch, world.now_us), 10);
    EXPECT(1);
    unhold(&world, 1); /* one too many does nothing */
    EXPECT_NOTHING();
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
    hold(&world, 2);
    world_session(&world, 10, D1, 100);
    EXPECT(1, 4);
    EXPECT_NOTHING();
    unhold(&world, 2);
    EXPECT(2, 3);
    world_close(&world);
}

static void test_two_recalls_hold_until_both_are_decided(void **state)
{
    (void)state;
    struct world world;
    world_open(&world, &plain);
    world_send(&world, "D1,D2", 7);
    hold(&world, 1);
    hold(&world, 1);
    world_session(&world, 10, D1, 100);
    EXPECT_NOTHING();
    unhold(&world, 1);
    EXPECT_NOTHING();
    unhold(&world, 1);
    EXPECT(1);
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
    hold(&world, 5);
    assert_int_equal(hub_dispatch_ready(world.dispatch, world.now_us), 0);
    assert_true(hub_dispatch_entries(world.dispatch) < 5);
    world_session(&world, 10, D1, 100);
    for (uint64_t first = 1; first < 5; first += 2) {
        expect(&world, (const uint64_t[]){first, first + 1, 0});
        struct hub_range range = {first, 2};
        world_ranges(&world, HUB_INPUT_ACK, D1, &(struct hub_ranges){&range, 1, 1});
    }
    EXPECT_NOTHING();
    assert_int_equal(hub_dispatch_entries(world.dispatch), 1);
    unhold(&world, 5);
    EXPECT(5);
    world_close(&world);
}

static void test_recalled_is_gone_and_the_next_comes(void **state)
{
    (void)state;
    struct world world;
    world_open(&world, &plain);
    world_send(&world, "D1", 7); /* 1 */
    struct hub_event_facts recall = {.kind = HUB_EVENT_RECALL,
                                     .expires_us = HUB_TIME_NONE,
                                     .type = truc_bytes_of(TRUC_TYPE_RECALL),
                                     .recipients = truc_bytes_of("D1")};
    memcpy(recall.recalled, &world.made, sizeof world.made); /* the key of the last event made */
    world_send(&world, "D1", 7);                             /* 2 */
    hold(&world, 1);
    world_session(&world, 10, D1, 100);
    EXPECT_NOTHING();
    world_seal(&world, SRC, &recall, 1);
    assert_int_equal(posting(&world, 1).state, HUB_POSTING_RECALLED);
    assert_int_equal(hub_dispatch_entries(world.dispatch), 1);
    EXPECT(2);
    unhold(&world, 1);
    EXPECT_NOTHING();
    world_close(&world);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_held_is_not_handed_out_until_released),
        cmocka_unit_test(test_later_ones_of_its_subject_wait_behind_it),
        cmocka_unit_test(test_two_recalls_hold_until_both_are_decided),
        cmocka_unit_test(test_held_before_it_is_in_memory),
        cmocka_unit_test(test_recalled_is_gone_and_the_next_comes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
