/* Stories of what is not handed out now: dead letters, what expires, what does not fit into memory, a restart. */
#include "tests/unit/core/dispatch_steps.h"

/* Session 10 gets the numbers first ... last in their order, acking all the way; so many entries are in memory at most.
 */
static void drain(struct world *world, uint64_t first, uint64_t last, size_t entries_most)
{
    while (first <= last) {
        struct taken taken = take(world, 10);
        assert_true(taken.count > 0);
        assert_true(hub_dispatch_entries(world->dispatch) <= entries_most);
        for (size_t i = 0; i < taken.count; i++) {
            assert_int_equal(taken.items[i].posting.number, first++);
        }
        ack(world, 10, taken.items[0].lease, taken.items[0].posting.number, (uint32_t)taken.count,
            (uint32_t)taken.count, 0);
    }
}

static void test_a_dead_letter_holds_its_subject_only(void **state)
{
    (void)state;
    struct world world;
    world_open(&world, &plain);
    world_send(&world, "D1", 7); /* 1 */
    world_send(&world, "D1", 7); /* 2 */
    world_send(&world, "D1", 8); /* 3 */
    world_session(&world, 10, D1, 1);
    uint64_t lease = EXPECT(10, 1);
    assert_true(hub_dispatch_nack(world.dispatch, 10, lease, 1));
    world_nacked(&world, D1, 1, 0, true);
    world_send(&world, "D1", 7); /* 4 */
    hub_dispatch_credit(world.dispatch, 10, 100, 0);
    EXPECT(10, 3);
    EXPECT_NOTHING(10);
    assert_int_equal(hub_dispatch_entries(world.dispatch), 2); /* the held one and 3: 2 and 4 are left in the core */
    assert_int_equal(hub_dispatch_next_us(world.dispatch), world.now_us + 60 * SECOND); /* 3's lease */
    world.now_us += 3600 * SECOND;
    EXPECT(10, 2, 4);
    world_close(&world);
}

static void test_a_grant_may_say_skip(void **state)
{
    (void)state;
    struct world world;
    struct world_settings settings = plain;
    settings.skip = true;
    world_open(&world, &settings);
    world_send(&world, "D1", 7);
    world_send(&world, "D1", 7);
    world_session(&world, 10, D1, 1);
    uint64_t lease = EXPECT(10, 1);
    assert_true(hub_dispatch_nack(world.dispatch, 10, lease, 1));
    world_nacked(&world, D1, 1, 0, true);
    hub_dispatch_credit(world.dispatch, 10, 100, 0);
    EXPECT(10, 2);
    world_close(&world);
}

static void test_requeued_it_stands_at_the_head(void **state)
{
    (void)state;
    struct world world;
    world_open(&world, &plain);
    for (unsigned i = 0; i < 3; i++) {
        world_send(&world, "D1", 7);
    }
    world_session(&world, 10, D1, 1);
    uint64_t lease = EXPECT(10, 1);
    assert_true(hub_dispatch_nack(world.dispatch, 10, lease, 1));
    world_nacked(&world, D1, 1, 0, true);
    world_dead_letter(&world, D1, 1, false);
    hub_dispatch_credit(world.dispatch, 10, 2, 0);
    struct taken taken = take(&world, 10);
    assert_int_equal(taken.count, 2);
    assert_int_equal(taken.items[0].posting.number, 1);
    assert_int_equal(taken.items[0].attempt, 2);
    assert_int_equal(taken.items[1].posting.number, 2);
    /* Dead again; after the hold the later ones go, and a requeue then takes their lease away. */
    assert_true(hub_dispatch_nack(world.dispatch, 10, taken.items[0].lease, 1));
    world_nacked(&world, D1, 1, 0, true);
    world.now_us += 3600 * SECOND;
    hub_dispatch_credit(world.dispatch, 10, 100, 0);
    lease = EXPECT(10, 2, 3);
    world_dead_letter(&world, D1, 1, false);
    ack(&world, 10, lease, 2, 2, 0, 2);
    EXPECT(10, 1, 2, 3);
    world_close(&world);
}

static void test_a_dropped_dead_letter_frees_its_subject(void **state)
{
    (void)state;
    struct world world;
    world_open(&world, &plain);
    world_send(&world, "D1", 7);
    world_send(&world, "D1", 7);
    world_session(&world, 10, D1, 1);
    uint64_t lease = EXPECT(10, 1);
    assert_true(hub_dispatch_nack(world.dispatch, 10, lease, 1));
    world_nacked(&world, D1, 1, 0, true);
    hub_dispatch_credit(world.dispatch, 10, 100, 0);
    EXPECT_NOTHING(10);
    world_dead_letter(&world, D1, 1, true);
    EXPECT(10, 2);
    world_close(&world);
}

static void test_what_expires_is_proposed_and_never_delivered(void **state)
{
    (void)state;
    struct world world;
    struct world_settings settings = plain;
    settings.skip = true;
    world_open(&world, &settings);
    world_send_until(&world, "D1", 7, 100, START + 10 * SECOND);
    world_send_until(&world, "D1", 0, 100, START + 10 * SECOND);
    world_send(&world, "D1", 7);
    world_session(&world, 10, D1, 100);
    assert_int_equal(due(&world, HUB_INPUT_EXPIRE), 0);
    assert_int_equal(hub_dispatch_next_us(world.dispatch), START + 10 * SECOND);
    world.now_us += 10 * SECOND;
    EXPECT_NOTHING(10); /* not even before anybody asked what is due */
    assert_int_equal(due(&world, HUB_INPUT_EXPIRE), 2);
    assert_int_equal(hub_core_agency_by_number(world.core, D1)->dead, 2);
    EXPECT(10, 3);
    world_close(&world);
}

static void test_an_expiry_whose_input_got_lost_is_proposed_again(void **state)
{
    (void)state;
    struct world world;
    world_open(&world, &plain);
    world_send_until(&world, "D1", 0, 100, START + 10 * SECOND);
    world.now_us += 10 * SECOND;
    struct hub_ranges lost = {0};
    uint32_t agency = 0;
    enum hub_input_kind kind;
    assert_int_equal(hub_dispatch_due(world.dispatch, world.now_us, &agency, &kind, &lost), TRUC_OK);
    assert_int_equal(agency, D1);
    assert_int_equal(lost.count, 1);
    hub_ranges_close(&lost);
    assert_int_equal(due(&world, HUB_INPUT_EXPIRE), 0);
    world.now_us += 60 * SECOND;
    assert_int_equal(due(&world, HUB_INPUT_EXPIRE), 1);
    assert_int_equal(hub_dispatch_entries(world.dispatch), 0);
    world_close(&world);
}

static void test_the_window_is_bounded_and_goes_on(void **state)
{
    (void)state;
    struct world world;
    struct world_settings settings = plain;
    settings.limits.window = 8;
    world_open(&world, &settings);
    for (unsigned i = 0; i < 100; i++) {
        world_send(&world, "D1", i % 3);
    }
    world_session(&world, 10, D1, 1000);
    drain(&world, 1, 100, 8);
    assert_int_equal(hub_dispatch_entries(world.dispatch), 0);
    world_close(&world);
}

static void test_a_held_subject_does_not_fill_the_window(void **state)
{
    (void)state;
    struct world world;
    struct world_settings settings = plain;
    settings.limits.window = 8;
    world_open(&world, &settings);
    world_send(&world, "D1", 7); /* 1 */
    world_session(&world, 10, D1, 1);
    uint64_t lease = EXPECT(10, 1);
    for (unsigned i = 0; i < 50; i++) {
        world_send(&world, "D1", 7); /* 2 to 51 */
    }
    world_send(&world, "D1", 8);                         /* 52 */
    assert_int_equal(due(&world, HUB_INPUT_RELEASE), 0); /* fills the window with subject 7 */
    assert_true(hub_dispatch_nack(world.dispatch, 10, lease, 1));
    world_nacked(&world, D1, 1, 0, true);
    hub_dispatch_credit(world.dispatch, 10, 1000, 0);
    lease = EXPECT(10, 52);
    ack(&world, 10, lease, 52, 1, 1, 0);
    assert_int_equal(hub_dispatch_entries(world.dispatch), 1);
    world.now_us += 3600 * SECOND;
    drain(&world, 2, 51, SIZE_MAX);
    assert_int_equal(hub_dispatch_entries(world.dispatch), 0);
    world_close(&world);
}

static void test_a_restart_begins_from_the_inboxes(void **state)
{
    (void)state;
    struct world world;
    world_open(&world, &plain);
    world_send(&world, "D1", 7); /* 1: dies */
    world_send(&world, "D1", 7); /* 2: held */
    world_send(&world, "D1", 8); /* 3: was seen */
    world_session(&world, 10, D1, 2);
    uint64_t lease = EXPECT(10, 1, 2);
    assert_true(hub_dispatch_nack(world.dispatch, 10, lease, 1));
    world_nacked(&world, D1, 1, 0, true);
    world_boot(&world);
    world_dispatch(&world, &plain, UINT64_C(1) << 40);
    world_send(&world, "D1", 8); /* 4: is new */
    world_session(&world, 11, D1, 100);
    struct taken taken = take(&world, 11);
    assert_int_equal(taken.count, 2);
    assert_true(taken.items[0].lease > UINT64_C(1) << 40);
    assert_int_equal(taken.items[0].posting.number, 3);
    assert_int_equal(taken.items[0].attempt, 2);
    assert_int_equal(taken.items[1].posting.number, 4);
    assert_int_equal(taken.items[1].attempt, 1);
    world.now_us += 3600 * SECOND;
    (void)due(&world, HUB_INPUT_RELEASE);
    world.now_us += 10 * SECOND;
    EXPECT(11, 2, 3, 4);
    world_close(&world);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_dead_letter_holds_its_subject_only),
        cmocka_unit_test(test_a_grant_may_say_skip),
        cmocka_unit_test(test_requeued_it_stands_at_the_head),
        cmocka_unit_test(test_a_dropped_dead_letter_frees_its_subject),
        cmocka_unit_test(test_what_expires_is_proposed_and_never_delivered),
        cmocka_unit_test(test_an_expiry_whose_input_got_lost_is_proposed_again),
        cmocka_unit_test(test_the_window_is_bounded_and_goes_on),
        cmocka_unit_test(test_a_held_subject_does_not_fill_the_window),
        cmocka_unit_test(test_a_restart_begins_from_the_inboxes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
