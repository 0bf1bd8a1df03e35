/* What stories of the dispatcher do again and again: take, ack, close a session, journal what is due. */
#ifndef TRUC_TESTS_CORE_DISPATCH_STEPS_H
#define TRUC_TESTS_CORE_DISPATCH_STEPS_H

#include "tests/unit/core/dispatch_world.h"

static const struct world_settings plain = {.max_attempts = 3, .hold_s = 3600};

#define MANY 64

struct taken {
    struct hub_delivery items[MANY];
    size_t count;
};

static inline struct taken take_bytes(struct world *world, uint64_t session, uint64_t max_bytes)
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

static inline struct taken take(struct world *world, uint64_t session)
{
    return take_bytes(world, session, UINT64_MAX);
}

/* The session gets exactly these numbers, in this order; 0 ends the list. */
static inline uint64_t expect(struct world *world, uint64_t session, const uint64_t *numbers)
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
static inline void ack(struct world *world, uint64_t session, uint64_t lease, uint64_t first, uint32_t count,
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

static inline void close_session(struct world *world, uint64_t session, size_t expect_ranges)
{
    struct hub_ranges released = {0};
    assert_int_equal(hub_dispatch_close(world->dispatch, session, &released), TRUC_OK);
    assert_int_equal(released.count, expect_ranges);
    world_ranges(world, HUB_INPUT_RELEASE, D1, &released);
    hub_ranges_close(&released);
}

/* Asks what is due until nothing is, and journals it; how many numbers of that kind there were. */
static inline uint64_t due(struct world *world, enum hub_input_kind expect_kind)
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

#endif
