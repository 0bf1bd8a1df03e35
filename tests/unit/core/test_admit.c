/* Stories of admission on a real core. */
#include "hub/core/admit.h"
#include "tests/unit/core/dispatch_world.h"

static const struct world_settings plain = {.max_attempts = 3};

struct desk {
    struct world world;
    struct hub_admit *admit;
    struct truc_seal seals[16]; /* SRC's chain 9, by number */
    struct truc_hash digests[16];
};

struct answer {
    enum hub_admission admission;
    truc_reason reason;
    uint32_t retry_ms;
    uint64_t leaf_index;
};

static void open_desk(struct desk *desk)
{
    *desk = (struct desk){.admit = NULL};
    world_open(&desk->world, &plain);
    assert_int_equal(hub_admit_new(desk->world.core, &desk->admit), TRUC_OK);
    for (uint64_t number = 1; number < 16; number++) {
        world_seal_init(&desk->world, SRC, 10, &desk->seals[number]);
        desk->seals[number].chain[0] = 9;
        desk->seals[number].number = number;
        desk->seals[number].has_previous = number > 1;
        desk->seals[number].previous = desk->digests[number - 1];
        desk->digests[number] = world_hash(9, number);
    }
}

static void close_desk(struct desk *desk)
{
    hub_admit_free(&desk->admit);
    world_close(&desk->world);
}

static struct answer ask_as(struct desk *desk, uint32_t agency, const struct truc_seal *seal,
                            const struct truc_hash *digest, uint64_t bytes)
{
    struct answer answer;
    assert_int_equal(hub_admit_seal(desk->admit, agency, seal, digest, bytes, desk->world.now_us, &answer.admission,
                                    &answer.reason, &answer.retry_ms, &answer.leaf_index),
                     TRUC_OK);
    return answer;
}

static void expect(struct desk *desk, uint64_t number, enum hub_admission admission)
{
    struct answer answer = ask_as(desk, SRC, &desk->seals[number], &desk->digests[number], 1000);
    assert_int_equal(answer.admission, admission);
}

static void refused(struct desk *desk, const struct truc_seal *seal, uint64_t bytes, truc_reason reason)
{
    struct truc_hash digest = world_hash(77, 1);
    size_t under_way = hub_admit_under_way(desk->admit);
    struct answer answer = ask_as(desk, SRC, seal, &digest, bytes);
    assert_int_equal(answer.admission, HUB_ADMIT_REFUSE);
    assert_int_equal(answer.reason, reason);
    assert_int_equal(hub_admit_under_way(desk->admit), under_way);
}

/* The journal has it and the core applied it. */
static void apply(struct desk *desk, uint64_t number)
{
    struct hub_event_facts events[10];
    struct hub_input input = {.kind = HUB_INPUT_SEAL,
                              .u.seal = {.envelope = truc_bytes_of("envelope"),
                                         .seal = desk->seals[number],
                                         .digest = desk->digests[number],
                                         .events = events}};
    for (size_t i = 0; i < 10; i++) {
        desk->world.made++;
        events[i] = (struct hub_event_facts){.leaf_hash = world_hash(1, desk->world.made),
                                             .size = 100,
                                             .time_us = HUB_TIME_NONE,
                                             .expires_us = HUB_TIME_NONE,
                                             .type = truc_bytes_of("news.v1"),
                                             .recipients = truc_bytes_of("D1")};
        memcpy(events[i].key, &desk->world.made, sizeof desk->world.made);
    }
    world_apply(&desk->world, &input);
    hub_admit_applied(desk->admit, SRC, &desk->seals[number]);
}

static void apply_fork(struct desk *desk, uint64_t number)
{
    struct hub_input input = {
        .kind = HUB_INPUT_FORK, .agency = "SRC", .u.fork = {.envelope = truc_bytes_of("envelope"), .number = number}};
    memcpy(input.u.fork.chain, desk->seals[number].chain, sizeof input.u.fork.chain);
    world_apply(&desk->world, &input);
}

static void test_several_seals_are_in_flight(void **state)
{
    (void)state;
    struct desk desk;
    open_desk(&desk);
    refused(&desk, &desk.seals[2], 10, TRUC_SEAL_GAP); /* nothing is there to follow */
    expect(&desk, 1, HUB_ADMIT_JOURNAL);
    expect(&desk, 2, HUB_ADMIT_JOURNAL);
    refused(&desk, &desk.seals[4], 10, TRUC_SEAL_GAP);
    expect(&desk, 3, HUB_ADMIT_JOURNAL);
    assert_int_equal(hub_admit_under_way(desk.admit), 3);
    expect(&desk, 2, HUB_ADMIT_WAIT); /* its receipt answers both */
    apply(&desk, 1);
    apply(&desk, 2);
    assert_int_equal(hub_admit_under_way(desk.admit), 1);
    struct answer known = ask_as(&desk, SRC, &desk.seals[2], &desk.digests[2], 10);
    assert_int_equal(known.admission, HUB_ADMIT_KNOWN);
    assert_int_equal(known.leaf_index, hub_core_tree_size(desk.world.core) - 1);
    expect(&desk, 4, HUB_ADMIT_JOURNAL);
    apply(&desk, 3);
    apply(&desk, 4);
    assert_int_equal(hub_admit_under_way(desk.admit), 0);
    expect(&desk, 5, HUB_ADMIT_JOURNAL); /* on the applied state alone */
    close_desk(&desk);
}

static void test_a_wrong_previous_is_a_gap(void **state)
{
    (void)state;
    struct desk desk;
    open_desk(&desk);
    expect(&desk, 1, HUB_ADMIT_JOURNAL);
    struct truc_seal seal = desk.seals[2];
    seal.previous = world_hash(55, 5);
    refused(&desk, &seal, 10, TRUC_SEAL_GAP);
    seal.has_previous = false;
    refused(&desk, &seal, 10, TRUC_SEAL_GAP);
    apply(&desk, 1);
    refused(&desk, &seal, 10, TRUC_SEAL_GAP); /* and so it is when nothing is under way */
    seal.number = UINT64_MAX;
    refused(&desk, &seal, 10, TRUC_SEAL_GAP);
    seal.number = 0;
    refused(&desk, &seal, 10, TRUC_SEAL_GAP);
    expect(&desk, 2, HUB_ADMIT_JOURNAL);
    close_desk(&desk);
}

static void test_an_abort_takes_those_behind_along(void **state)
{
    (void)state;
    struct desk desk;
    open_desk(&desk);
    for (uint64_t number = 1; number <= 4; number++) {
        expect(&desk, number, HUB_ADMIT_JOURNAL);
    }
    hub_admit_aborted(desk.admit, SRC, &desk.seals[2]);
    assert_int_equal(hub_admit_under_way(desk.admit), 1);
    hub_admit_aborted(desk.admit, SRC, &desk.seals[3]); /* gone already */
    hub_admit_aborted(desk.admit, D1, &desk.seals[1]);  /* not D1's */
    assert_int_equal(hub_admit_under_way(desk.admit), 1);
    refused(&desk, &desk.seals[3], 10, TRUC_SEAL_GAP);
    expect(&desk, 2, HUB_ADMIT_JOURNAL);
    hub_admit_aborted(desk.admit, SRC, &desk.seals[1]);
    assert_int_equal(hub_admit_under_way(desk.admit), 0);
    expect(&desk, 1, HUB_ADMIT_JOURNAL);
    close_desk(&desk);
}

static void test_a_fork_closes_the_chain_once(void **state)
{
    (void)state;
    struct desk desk;
    open_desk(&desk);
    expect(&desk, 1, HUB_ADMIT_JOURNAL);
    apply(&desk, 1);
    expect(&desk, 2, HUB_ADMIT_JOURNAL);
    struct truc_hash other = world_hash(66, 6);
    assert_int_equal(ask_as(&desk, SRC, &desk.seals[1], &other, 10).admission, HUB_ADMIT_FORK);
    refused(&desk, &desk.seals[1], 10, TRUC_SEAL_FORK); /* the evidence is on its way */
    refused(&desk, &desk.seals[2], 10, TRUC_SEAL_FORK);
    refused(&desk, &desk.seals[3], 10, TRUC_SEAL_FORK);
    expect(&desk, 1, HUB_ADMIT_KNOWN);
    expect(&desk, 2, HUB_ADMIT_WAIT);
    apply(&desk, 2);
    refused(&desk, &desk.seals[3], 10, TRUC_SEAL_FORK);
    apply_fork(&desk, 1);
    refused(&desk, &desk.seals[3], 10, TRUC_SEAL_FORK);
    refused(&desk, &desk.seals[1], 10, TRUC_SEAL_FORK);
    expect(&desk, 1, HUB_ADMIT_KNOWN);
    assert_int_equal(hub_admit_under_way(desk.admit), 0);
    close_desk(&desk);
}

static void test_a_fork_of_what_is_under_way(void **state)
{
    (void)state;
    struct desk desk;
    open_desk(&desk);
    expect(&desk, 1, HUB_ADMIT_JOURNAL);
    struct truc_hash other = world_hash(66, 6);
    struct answer answer = ask_as(&desk, SRC, &desk.seals[1], &other, 10);
    assert_int_equal(answer.admission, HUB_ADMIT_FORK);
    assert_int_equal(answer.reason, TRUC_SEAL_FORK);
    hub_admit_fork_aborted(desk.admit, SRC, &desk.seals[1]); /* storage full: nothing happened */
    expect(&desk, 2, HUB_ADMIT_JOURNAL);
    assert_int_equal(ask_as(&desk, SRC, &desk.seals[2], &other, 10).admission, HUB_ADMIT_FORK);
    close_desk(&desk);
}

static void test_who_may_seal_what(void **state)
{
    (void)state;
    struct desk desk;
    open_desk(&desk);
    struct truc_seal seal = desk.seals[1];
    seal.origin[0] = 'x';
    refused(&desk, &seal, 10, TRUC_WRONG_ORIGIN);
    seal = desk.seals[1];
    seal.keyid[0] = 'f';
    refused(&desk, &seal, 10, TRUC_UNKNOWN_KEY);
    memcpy(seal.keyid, desk.world.keyids[D1], sizeof seal.keyid); /* another agency's */
    refused(&desk, &seal, 10, TRUC_UNKNOWN_KEY);
    seal = desk.seals[1];
    memcpy(seal.sender, "D1", 3);
    refused(&desk, &seal, 10, TRUC_UNKNOWN_KEY);
    assert_int_equal(ask_as(&desk, 99, &desk.seals[1], &desk.digests[1], 10).reason, TRUC_UNKNOWN_KEY);
    seal = desk.seals[1];
    seal.count = hub_core_parameters(desk.world.core)->seal_events + 1;
    refused(&desk, &seal, 10, TRUC_TOO_LARGE);
    refused(&desk, &desk.seals[1], (uint64_t)hub_core_parameters(desk.world.core)->seal_bytes + 1, TRUC_TOO_LARGE);
    seal = desk.seals[1];
    const int64_t times[] = {START + 301 * SECOND, INT64_MAX, START - INT64_C(2592001) * SECOND, INT64_MIN};
    for (size_t i = 0; i < sizeof times / sizeof times[0]; i++) {
        seal.sealed_at_us = times[i];
        refused(&desk, &seal, 10, TRUC_CLOCK_SKEW);
    }
    seal.sealed_at_us = START + 300 * SECOND;
    assert_int_equal(ask_as(&desk, SRC, &seal, &desk.digests[1], 10).admission, HUB_ADMIT_JOURNAL);
    close_desk(&desk);
}

static void test_revoked_and_suspended(void **state)
{
    (void)state;
    struct desk desk;
    open_desk(&desk);
    expect(&desk, 1, HUB_ADMIT_JOURNAL);
    apply(&desk, 1);
    world_suspend(&desk.world, SRC, true);
    refused(&desk, &desk.seals[2], 10, TRUC_SUSPENDED);
    world_suspend(&desk.world, SRC, false);
    struct hub_governance act = {.act = HUB_ACT_REVOKE_KEY, .agency = "SRC", .key = {.present = true}};
    memcpy(act.key.keyid, desk.world.keyids[SRC], sizeof act.key.keyid);
    world_act(&desk.world, &act);
    refused(&desk, &desk.seals[2], 10, TRUC_KEY_REVOKED);
    expect(&desk, 1, HUB_ADMIT_KNOWN); /* what the log holds is answered all the same */
    close_desk(&desk);
}

static void test_quota_refuses_and_refills(void **state)
{
    (void)state;
    struct desk desk;
    open_desk(&desk);
    struct hub_governance act = {.act = HUB_ACT_SET_QUOTA, .agency = "SRC", .quota_events_per_s = 25};
    world_act(&desk.world, &act);
    expect(&desk, 1, HUB_ADMIT_JOURNAL);
    expect(&desk, 2, HUB_ADMIT_JOURNAL);
    struct answer answer = ask_as(&desk, SRC, &desk.seals[3], &desk.digests[3], 10); /* 5 of 10 are left */
    assert_int_equal(answer.admission, HUB_ADMIT_REFUSE);
    assert_int_equal(answer.reason, TRUC_QUOTA);
    assert_int_equal(answer.retry_ms, 200);
    refused(&desk, &desk.seals[4], 10, TRUC_SEAL_GAP); /* behind a refused one */
    expect(&desk, 1, HUB_ADMIT_WAIT);                  /* costs nothing */
    desk.world.now_us += 199 * 1000;
    answer = ask_as(&desk, SRC, &desk.seals[3], &desk.digests[3], 10);
    assert_int_equal(answer.reason, TRUC_QUOTA);
    assert_int_equal(answer.retry_ms, 1);
    desk.world.now_us += 1000;
    expect(&desk, 3, HUB_ADMIT_JOURNAL);
    desk.world.now_us -= 100 * SECOND; /* a clock that goes back gives nothing */
    assert_int_equal(ask_as(&desk, SRC, &desk.seals[4], &desk.digests[4], 10).reason, TRUC_QUOTA);
    close_desk(&desk);
}

static void test_a_seal_over_the_rate_waits_for_a_full_bucket(void **state)
{
    (void)state;
    struct desk desk;
    open_desk(&desk);
    struct hub_governance act = {.act = HUB_ACT_SET_QUOTA, .agency = "SRC", .quota_bytes_per_s = 100};
    world_act(&desk.world, &act);
    expect(&desk, 1, HUB_ADMIT_JOURNAL); /* 1000 bytes: ten seconds' worth */
    struct answer answer = ask_as(&desk, SRC, &desk.seals[2], &desk.digests[2], 1000);
    assert_int_equal(answer.reason, TRUC_QUOTA);
    assert_int_equal(answer.retry_ms, 10000);
    desk.world.now_us += 10 * SECOND;
    expect(&desk, 2, HUB_ADMIT_JOURNAL);
    act = (struct hub_governance){.act = HUB_ACT_SET_QUOTA, .agency = "SRC", .quota_bytes_per_s = UINT64_MAX};
    world_act(&desk.world, &act); /* no overflow at any rate */
    desk.world.now_us += 100000000 * SECOND;
    desk.seals[3].sealed_at_us = desk.world.now_us;
    desk.seals[4].sealed_at_us = desk.world.now_us;
    expect(&desk, 3, HUB_ADMIT_JOURNAL);
    act.quota_bytes_per_s = 0;
    world_act(&desk.world, &act);
    expect(&desk, 4, HUB_ADMIT_JOURNAL);
    close_desk(&desk);
}

static void test_long_chains_under_way(void **state)
{
    (void)state;
    struct desk desk;
    open_desk(&desk);
    struct truc_hash previous = world_hash(3, 0);
    struct truc_seal seal = desk.seals[1];
    seal.chain[0] = 8;
    for (uint64_t number = 1; number <= 300; number++) { /* 30 ahead, then one out for each one in */
        struct truc_hash digest = world_hash(3, number);
        seal.number = number;
        seal.has_previous = true; /* that of the first names another chain's head: whatever it names fits */
        seal.previous = previous;
        assert_int_equal(ask_as(&desk, SRC, &seal, &digest, 10).admission, HUB_ADMIT_JOURNAL);
        assert_int_equal(ask_as(&desk, SRC, &seal, &digest, 10).admission, HUB_ADMIT_WAIT);
        previous = digest;
        if (number > 30) {
            struct truc_seal done = seal;
            done.number = number - 30;
            hub_admit_applied(desk.admit, SRC, &done);
            assert_int_equal(hub_admit_under_way(desk.admit), 30);
        }
    }
    close_desk(&desk);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_several_seals_are_in_flight),
        cmocka_unit_test(test_a_wrong_previous_is_a_gap),
        cmocka_unit_test(test_an_abort_takes_those_behind_along),
        cmocka_unit_test(test_a_fork_closes_the_chain_once),
        cmocka_unit_test(test_a_fork_of_what_is_under_way),
        cmocka_unit_test(test_who_may_seal_what),
        cmocka_unit_test(test_revoked_and_suspended),
        cmocka_unit_test(test_quota_refuses_and_refills),
        cmocka_unit_test(test_a_seal_over_the_rate_waits_for_a_full_bucket),
        cmocka_unit_test(test_long_chains_under_way),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
