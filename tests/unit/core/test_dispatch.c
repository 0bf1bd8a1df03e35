/* Stories of the dispatcher on a real core. */
#include "tests/unit/core/dispatch_world.h"

#define MANY 64

struct taken {
    struct hub_delivery items[MANY];
    size_t count;
};

static struct taken take_bytes(struct world *world, uint64_t session, uint64_t max_bytes)
{
    struct taken taken = {.count = 0};
    assert_int_equal(
        hub_dispatch_take(world->dispatch, session, world->now_us, max_bytes, taken.items, MANY, &taken.count),
        TRUC_OK);
    for (size_t i = 0; i < taken.count; i++) {
        assert_int_equal(taken.items[i].session, session);
        assert_int_equal(taken.items[i].lease, taken.items[0].lease);
    }
    return taken;
}

static struct taken take(struct world *world, uint64_t session)
{
    return take_bytes(world, session, UINT64_MAX);
}

/* The session gets exactly these numbers, in this order; 0 ends the list. */
static uint64_t expect(struct world *world, uint64_t session, const uint64_t *numbers)
{
    struct taken taken = take(world, session);
    for (size_t i = 0; numbers[i] != 0; i++) {
        assert_true(i < taken.count);
        assert_int_equal(taken.items[i].posting.number, numbers[i]);
    }
    assert_int_equal(numbers[taken.count], 0);
    return taken.count > 0 ? taken.items[0].lease : 0;
}
#define EXPECT(session, ...) expect(&world, session, (const uint64_t[]){__VA_ARGS__, 0})
#define EXPECT_NOTHING(session) (void)expect(&world, session, (const uint64_t[]){0})

/* Acks one range; the answer's counts. */
static void ack(struct world *world, uint64_t session, uint64_t lease, uint64_t first, uint32_t count,
                uint32_t expect_valid, uint64_t expect_stale)
{
    struct hub_ranges valid = {0}, stale = {0};
    uint64_t valid_count = 0, stale_count = 0;
    assert_int_equal(
        hub_dispatch_ack(world->dispatch, session, lease, (struct hub_range){first, count}, &valid, &stale), TRUC_OK);
    for (size_t i = 0; i < valid.count; i++) {
        valid_count += valid.items[i].count;
    }
    for (size_t i = 0; i < stale.count; i++) {
        stale_count += stale.items[i].count;
    }
    assert_int_equal(valid_count, expect_valid);
    assert_int_equal(stale_count, expect_stale);
    world_ranges(world, HUB_INPUT_ACK, D1, &valid);
    hub_ranges_close(&valid);
    hub_ranges_close(&stale);
}

static void close_session(struct world *world, uint64_t session, size_t expect_ranges)
{
    struct hub_ranges released = {0};
    assert_int_equal(hub_dispatch_close(world->dispatch, session, &released), TRUC_OK);
    assert_int_equal(released.count, expect_ranges);
    world_ranges(world, HUB_INPUT_RELEASE, D1, &released);
    hub_ranges_close(&released);
}

/* Asks what is due until nothing is, and journals it; how many numbers of that kind there were. */
static uint64_t due(struct world *world, enum hub_input_kind expect_kind)
{
    uint64_t count = 0;
    for (;;) {
        struct hub_ranges ranges = {0};
        uint32_t agency;
        enum hub_input_kind kind = HUB_INPUT_BOOT;
        assert_int_equal(hub_dispatch_due(world->dispatch, world->now_us, &agency, &kind, &ranges), TRUC_OK);
        if (agency == 0) {
            assert_int_equal(ranges.count, 0);
            return count;
        }
        assert_int_equal(kind, expect_kind);
        for (size_t i = 0; i < ranges.count; i++) {
            count += ranges.items[i].count;
        }
        world_ranges(world, kind, agency, &ranges);
        hub_ranges_close(&ranges);
    }
}

static const struct world_settings plain = {.max_attempts = 3, .hold_s = 3600};

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
    uint64_t next = 1;
    while (next <= 100) {
        struct taken taken = take(&world, 10);
        assert_true(taken.count > 0);
        assert_true(hub_dispatch_entries(world.dispatch) <= 8);
        for (size_t i = 0; i < taken.count; i++) {
            assert_int_equal(taken.items[i].posting.number, next++);
        }
        ack(&world, 10, taken.items[0].lease, taken.items[0].posting.number, (uint32_t)taken.count,
            (uint32_t)taken.count, 0);
    }
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
    uint64_t next = 2;
    while (next <= 51) {
        struct taken taken = take(&world, 10);
        assert_true(taken.count > 0);
        for (size_t i = 0; i < taken.count; i++) {
            assert_int_equal(taken.items[i].posting.number, next++);
        }
        ack(&world, 10, taken.items[0].lease, taken.items[0].posting.number, (uint32_t)taken.count,
            (uint32_t)taken.count, 0);
    }
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
        cmocka_unit_test(test_a_dead_letter_holds_its_subject_only),
        cmocka_unit_test(test_a_grant_may_say_skip),
        cmocka_unit_test(test_requeued_it_stands_at_the_head),
        cmocka_unit_test(test_a_dropped_dead_letter_frees_its_subject),
        cmocka_unit_test(test_what_expires_is_proposed_and_never_delivered),
        cmocka_unit_test(test_an_expiry_whose_input_got_lost_is_proposed_again),
        cmocka_unit_test(test_a_suspended_agency_gets_nothing),
        cmocka_unit_test(test_hostile_acks),
        cmocka_unit_test(test_ranges_are_a_set),
        cmocka_unit_test(test_the_window_is_bounded_and_goes_on),
        cmocka_unit_test(test_a_held_subject_does_not_fill_the_window),
        cmocka_unit_test(test_a_restart_begins_from_the_inboxes),
        cmocka_unit_test(test_recalls_ask_what_is_in_flight),
        cmocka_unit_test(test_sessions_take_turns),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
