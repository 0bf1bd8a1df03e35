/* Beside the disk: what may leave before the store is durable leaves, what may not waits for its mark, and nobody waits
 * for anything else. */
#include "tests/unit/client/parcels.h"

#define S INT64_C(1000000)

static int setup(void **state)
{
    struct world *w = world_new(2);
    world_with_marks(w);
    world_sync(w);
    *state = w;
    return 0;
}

static int teardown(void **state)
{
    world_free(*state);
    return 0;
}

static void test_a_seal_leaves_before_the_disk_has_it(void **state)
{
    struct world *w = *state;
    greet(w);
    uint64_t before = client_session_mark(w->session);
    submit(w, "a");
    assert_int_equal(client_session_mark(w->session), before);
    hear(w);
    assert_int_equal(count_heard(w, TRUC_FRAME_SUBMIT), 1);
    accept_submit(w, 0, NULL);
    assert_int_equal(w->receipt_count, 1); /* and its receipt is told, too: the application knows now */
    assert_int_equal(client_session_pending(w->session), 0);
}

static void test_acks_wait_until_they_are_durable_and_go_together(void **state)
{
    struct world *w = *state;
    static const char *const ids[] = {"a", "b", "c", NULL};
    open_with_key(w);
    world_sync(w);
    hear(w);
    forget_heard(w);
    deliver(w, ids, NULL, (struct how){.lease = 9, .first = 2});
    assert_int_equal(client_session_ack(w->session, 2), TRUC_OK);
    hear(w);
    w->store.mark++; /* the disk took the first one and is not done; the others are written behind it */
    assert_int_equal(client_session_ack(w->session, 3), TRUC_OK);
    assert_int_equal(client_session_ack(w->session, 4), TRUC_OK);
    hear(w);
    assert_int_equal(count_heard(w, TRUC_FRAME_ACK), 0);
    assert_true(client_session_deadline(w->session) > w->now);
    client_session_synced(w->session, w->store.mark - 1, false);
    /* There is work at once, or the ack would wait until something else wakes the client. */
    assert_true(client_session_deadline(w->session) <= w->now);
    hear(w);
    Truc__V1__Ack *ack = unpack(nth_heard(w, TRUC_FRAME_ACK, 0));
    assert_int_equal(ack->n_ranges, 1);
    assert_int_equal(ack->ranges[0]->first, 2);
    assert_int_equal(ack->ranges[0]->count, 1);
    FREE(ack);
    forget_heard(w);
    world_sync(w);
    hear(w);
    ack = unpack(nth_heard(w, TRUC_FRAME_ACK, 0));
    assert_int_equal(ack->n_ranges, 1);
    assert_int_equal(ack->ranges[0]->first, 3);
    assert_int_equal(ack->ranges[0]->count, 2);
    FREE(ack);
}

/* Two marks that became durable at once are one range again. */
static void test_ranges_that_only_marks_parted_are_joined(void **state)
{
    struct world *w = *state;
    static const char *const ids[] = {"a", "b", NULL};
    open_with_key(w);
    world_sync(w);
    hear(w);
    forget_heard(w);
    deliver(w, ids, NULL, (struct how){.lease = 9, .first = 2});
    assert_int_equal(client_session_ack(w->session, 2), TRUC_OK);
    w->store.mark++;
    assert_int_equal(client_session_ack(w->session, 3), TRUC_OK);
    world_sync(w);
    hear(w);
    Truc__V1__Ack *ack = unpack(nth_heard(w, TRUC_FRAME_ACK, 0));
    assert_int_equal(ack->n_ranges, 1);
    assert_int_equal(ack->ranges[0]->count, 2);
    FREE(ack);
}

/* The redelivery of what was acked a moment ago is answered when that ack is durable, not before. */
static void test_an_answer_to_a_redelivery_waits_for_the_first_ack(void **state)
{
    struct world *w = *state;
    static const char *const ids[] = {"a", NULL};
    open_with_key(w);
    world_sync(w);
    deliver(w, ids, NULL, (struct how){.lease = 9, .first = 2});
    size_t handed_out = w->delivery_count;
    assert_int_equal(client_session_ack(w->session, 2), TRUC_OK);
    lose_link(w);
    greet(w);
    forget_heard(w);
    deliver(w, ids, NULL, (struct how){.lease = 10, .first = 2, .attempt = 2});
    hear(w);
    assert_int_equal(w->delivery_count, handed_out);
    assert_int_equal(count_heard(w, TRUC_FRAME_ACK), 0);
    world_sync(w);
    hear(w);
    assert_int_equal(count_heard(w, TRUC_FRAME_ACK), 1);
}

static void test_a_reject_that_owes_a_receipt_waits_and_a_nack_does_not(void **state)
{
    struct world *w = *state;
    static const char *const ids[] = {"a", "b", "c", NULL}, *const subjects[] = {NULL, NULL, NULL, NULL};
    open_with_key(w);
    world_sync(w);
    deliver(w, ids, subjects, (struct how){.lease = 9, .first = 2, .receipt_wanted = true});
    hear(w);
    forget_heard(w);
    assert_int_equal(client_session_reject(w->session, 2, "no"), TRUC_OK);
    assert_int_equal(client_session_nack(w->session, 3, 5, "later"), TRUC_OK);
    hear(w);
    assert_int_equal(count_heard(w, TRUC_FRAME_NACK), 1);
    Truc__V1__Nack *nack = unpack(nth_heard(w, TRUC_FRAME_NACK, 0));
    assert_int_equal(nack->number, 3);
    FREE(nack);
    world_sync(w);
    hear(w);
    assert_int_equal(count_heard(w, TRUC_FRAME_NACK), 2);
    nack = unpack(nth_heard(w, TRUC_FRAME_NACK, 1));
    assert_int_equal(nack->number, 2);
    assert_true(nack->reject);
    FREE(nack);
    /* One that waits is nothing to the next link: its lease is over. */
    assert_int_equal(client_session_reject(w->session, 4, "no"), TRUC_OK);
    lose_link(w);
    greet(w);
    forget_heard(w);
    world_sync(w);
    hear(w);
    assert_int_equal(count_heard(w, TRUC_FRAME_NACK), 0);
}

/* Nobody would hand an event of the library's own over again: after a crash it would be made anew, with another id,
 * beside the one that is in the log. */
static void test_events_of_the_librarys_own_wait_and_those_behind_them(void **state)
{
    struct world *w = *state;
    static const char *const ids[] = {"a", NULL};
    open_with_key(w);
    world_sync(w);
    deliver(w, ids, NULL, (struct how){.lease = 9, .first = 2, .receipt_wanted = true});
    assert_int_equal(client_session_ack(w->session, 2), TRUC_OK);
    world_sync(w);
    w->now += 1 * S;
    forget_heard(w);
    hear(w); /* the delivery receipt is made and sealed */
    assert_int_equal(client_session_pending(w->session), 1);
    submit(w, "behind it");
    hear(w);
    assert_int_equal(count_heard(w, TRUC_FRAME_SUBMIT), 0);
    world_sync(w);
    hear(w);
    assert_int_equal(count_heard(w, TRUC_FRAME_SUBMIT), 2);
    assert_int_equal(open_submit(w, 0).envelope.seal.number, 1);
    assert_int_equal(open_submit(w, 1).envelope.seal.number, 2);
}

/* A ticket is given once, whatever the crash took along. */
static void test_tickets_are_not_given_twice(void **state)
{
    struct world *w = *state;
    uint64_t first = submit(w, "a");
    assert_int_equal(memory_drop(&w->store, STORE_EVENTS, first, first), TRUC_OK); /* it was never durable */
    world_restart(w);
    world_sync(w);
    assert_true(submit(w, "b") > first);
    /* Nor is one given before the counter above it is durable. */
    world_restart(w);
    client_session_synced(w->session, 0, false);
    struct truc_buffer event = make_event(HUB_AGENCY, "c", "d1", 10);
    uint64_t ticket;
    assert_int_equal(client_session_submit(w->session, truc_buffer_view(&event), STORE_EVENT_OURS, &ticket),
                     TRUC_E_FULL);
    world_sync(w);
    assert_int_equal(client_session_submit(w->session, truc_buffer_view(&event), STORE_EVENT_OURS, &ticket), TRUC_OK);
    truc_buffer_close(&event);
}

/* The chain of a process that died is never gone on with: what the spool forgot of it cannot be contradicted. */
static void test_after_a_crash_the_same_bytes_go_in_another_chain(void **state)
{
    struct world *w = *state;
    greet(w);
    uint64_t ticket = submit(w, "a");
    hear(w);
    struct submitted before = open_submit(w, 0);
    struct truc_buffer leaf = hub_log(w, &before, NULL);
    truc_buffer_close(&leaf);
    assert_int_equal(memory_drop(&w->store, STORE_EVENTS, ticket, ticket), TRUC_OK); /* lost by the crash */
    world_restart(w);
    world_sync(w);
    assert_int_equal(client_session_pending(w->session), 0);
    greet(w);
    submit(w, "a");
    hear(w);
    struct submitted after = open_submit(w, 0);
    assert_int_equal(after.envelope.seal.number, 1);
    assert_memory_not_equal(after.envelope.seal.chain, before.envelope.seal.chain, TRUC_CHAIN_SIZE);
    assert_memory_equal(&after.envelope.seal.root, &before.envelope.seal.root, TRUC_HASH_SIZE);
    const struct truc_outcome again = {.code = TRUC_OUTCOME_DUPLICATE, .duplicate_of = 1};
    accept_submit(w, 0, &again);
    assert_int_equal(w->receipt_count, 1);
    assert_true(w->receipts[0].duplicate);
    assert_int_equal(w->receipts[0].sequence, 1);
}

static void test_a_full_disk_is_told_and_deliveries_pause(void **state)
{
    struct world *w = *state;
    static const char *const ids[] = {"a", "b", "c", NULL};
    open_with_key(w);
    world_sync(w);
    hear(w);
    struct truc_obstacle obstacle;
    assert_false(client_session_obstacle(w->session, &obstacle));
    client_session_synced(w->session, 1, true);
    for (uint64_t number = 2; number < 80; number += 3) { /* more than half of the window */
        deliver(w, ids, NULL, (struct how){.lease = 9, .first = number});
        for (uint64_t i = 0; i < 3; i++) {
            assert_int_equal(client_session_ack(w->session, number + i), TRUC_OK);
        }
    }
    forget_heard(w);
    hear(w);
    w->now += 1 * S;
    hear(w);
    assert_int_equal(count_heard(w, TRUC_FRAME_ACK), 0);
    assert_int_equal(count_heard(w, TRUC_FRAME_CREDIT), 0);
    assert_string_equal(w->obstacle, "SPOOL_FULL");
    assert_int_equal(w->obstacle_count, 1);
    assert_true(client_session_obstacle(w->session, &obstacle));
    assert_true(obstacle.spool_full);
    assert_int_equal(obstacle.since_us, w->now - 1 * S);
    world_sync(w);
    hear(w);
    assert_int_equal(count_heard(w, TRUC_FRAME_ACK), 1);
    assert_int_equal(count_heard(w, TRUC_FRAME_CREDIT), 1);
    assert_string_equal(w->obstacle, "");
    assert_int_equal(w->obstacle_count, 2);
}

static void test_what_the_hub_waits_for_is_told(void **state)
{
    struct world *w = *state;
    struct truc_obstacle obstacle;
    greet(w);
    submit(w, "a");
    hear(w);
    struct submitted seal = open_submit(w, 0);
    int64_t since = w->now;
    say_refused(w, &seal, TRUC_STORAGE_FULL, 100);
    hear(w);
    assert_string_equal(w->obstacle, "STORAGE_FULL");
    for (int i = 0; i < 3; i++) { /* the same again is not told again */
        w->now += 1 * S;
        hear(w);
        say_refused(w, &seal, TRUC_STORAGE_FULL, 100);
    }
    hear(w);
    assert_int_equal(w->obstacle_count, 1);
    assert_true(client_session_obstacle(w->session, &obstacle));
    assert_int_equal(obstacle.reason, TRUC_STORAGE_FULL);
    assert_int_equal(obstacle.since_us, since);
    assert_true(strlen(obstacle.text) > 10);
    say_refused(w, &seal, TRUC_QUOTA, 100);
    hear(w);
    assert_string_equal(w->obstacle, "QUOTA");
    forget_heard(w);
    w->now += 1 * S;
    hear(w);
    accept_submit(w, 0, NULL);
    hear(w);
    assert_string_equal(w->obstacle, "");
    assert_int_equal(w->obstacle_count, 3);
    assert_false(client_session_obstacle(w->session, &obstacle));
    assert_string_equal(obstacle.name, "");
}

static void test_subscriptions_survive_a_restart(void **state)
{
    struct world *w = *state;
    char one[] = "dossier.*", two[] = "land.*", *types[] = {one};
    assert_int_equal(client_session_subscribe(w->session, one, HUB_PEER, false), TRUC_OK);
    assert_int_equal(client_session_subscribe(w->session, two, NULL, false), TRUC_OK);
    assert_int_equal(client_session_subscribe(w->session, two, NULL, true), TRUC_OK);
    world_restart(w);
    assert_int_equal(client_session_pending_subscriptions(w->session), 3);
    assert_int_equal(client_session_subscribe(w->session, one, HUB_PEER, false),
                     TRUC_OK); /* the application asks again */
    assert_int_equal(client_session_pending_subscriptions(w->session), 3);
    hear(w);
    say_welcome_from(w, 0, NULL);
    hear(w);
    Truc__V1__Subscribe *first = unpack(nth_heard(w, TRUC_FRAME_SUBSCRIBE, 0));
    Truc__V1__Subscribe *last = unpack(nth_heard(w, TRUC_FRAME_SUBSCRIBE, 2));
    assert_string_equal(first->type, one);
    assert_string_equal(first->source_agency, HUB_PEER);
    assert_false(first->remove);
    assert_string_equal(last->type, two);
    assert_true(last->remove);
    FREE(first);
    FREE(last);
    Truc__V1__Settled settled = TRUC__V1__SETTLED__INIT;
    settled.subscriptions = types;
    settled.n_subscriptions = 1;
    say(w, TRUC_FRAME_SETTLED, &settled, nothing);
    world_restart(w);
    assert_int_equal(client_session_pending_subscriptions(w->session), 2);
    /* One that is refused ends, too. */
    greet(w);
    char *refused[] = {two};
    settled = (Truc__V1__Settled)TRUC__V1__SETTLED__INIT;
    settled.refused_subscriptions = refused;
    settled.n_refused_subscriptions = 1;
    say(w, TRUC_FRAME_SETTLED, &settled, nothing);
    world_restart(w);
    assert_int_equal(client_session_pending_subscriptions(w->session), 1);
}

static void test_a_damaged_subscription_is_said(void **state)
{
    struct world *w = *state;
    static const char *const rows[] = {"\0", "\0type", "\2type\0", "\0\0H9"};
    static const size_t sizes[] = {1, 5, 6, 4};
    client_session_free(&w->session);
    for (size_t i = 0; i < 4; i++) {
        assert_int_equal(memory_put(&w->store, STORE_WISHES, 1, truc_bytes(rows[i], sizes[i]), nothing), TRUC_OK);
        assert_int_equal(client_session_new(&w->config, &w->callbacks, &w->session), TRUC_E_CORRUPT);
        assert_null(w->session);
    }
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_a_seal_leaves_before_the_disk_has_it),
        TEST(test_acks_wait_until_they_are_durable_and_go_together),
        TEST(test_ranges_that_only_marks_parted_are_joined),
        TEST(test_an_answer_to_a_redelivery_waits_for_the_first_ack),
        TEST(test_a_reject_that_owes_a_receipt_waits_and_a_nack_does_not),
        TEST(test_events_of_the_librarys_own_wait_and_those_behind_them),
        TEST(test_tickets_are_not_given_twice),
        TEST(test_after_a_crash_the_same_bytes_go_in_another_chain),
        TEST(test_a_full_disk_is_told_and_deliveries_pause),
        TEST(test_what_the_hub_waits_for_is_told),
        TEST(test_subscriptions_survive_a_restart),
        TEST(test_a_damaged_subscription_is_said),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
