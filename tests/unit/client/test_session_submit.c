/* Submitting: how events become seals, what a receipt has to prove, what happens when the hub refuses, goes away, or
 * turns out to be another one. */
#include "tests/unit/client/fake_hub.h"

static int setup(void **state)
{
    *state = world_new(2);
    return 0;
}

static int teardown(void **state)
{
    world_free(*state);
    return 0;
}

static void test_an_idle_client_seals_at_once_and_a_busy_one_batches(void **state)
{
    struct world *w = *state;
    greet(w);
    assert_int_equal(count_heard(w, TRUC_FRAME_SUBMIT), 0);
    (void)submit(w, "a");
    hear(w);
    (void)submit(w, "b");
    hear(w);
    assert_int_equal(count_heard(w, TRUC_FRAME_SUBMIT), 2); /* no waiting for company */
    assert_int_equal(open_submit(w, 1).count, 1);
    submit_many(w, 10, 5);
    hear(w);
    assert_int_equal(count_heard(w, TRUC_FRAME_SUBMIT), 2); /* two are under way: the next one fills */
    accept_submit(w, 0, NULL);
    hear(w);
    assert_int_equal(count_heard(w, TRUC_FRAME_SUBMIT), 3);
    assert_int_equal(open_submit(w, 2).count, 10);
    assert_int_equal(client_session_pending(w->session), 11);
}

static void test_seals_form_a_chain(void **state)
{
    struct world *w = *state;
    greet(w);
    (void)submit(w, "a");
    hear(w);
    (void)submit(w, "b");
    hear(w);
    struct submitted first = open_submit(w, 0), second = open_submit(w, 1);
    assert_false(first.envelope.seal.has_previous); /* this store never held a receipt */
    assert_int_equal(first.envelope.seal.number, 1);
    assert_int_equal(second.envelope.seal.number, 2);
    assert_memory_equal(&second.envelope.seal.previous, &first.envelope.digest, TRUC_HASH_SIZE);
    assert_memory_equal(second.envelope.seal.chain, first.envelope.seal.chain, TRUC_CHAIN_SIZE);
}

static void test_receipts_map_outcomes_to_tickets(void **state)
{
    struct world *w = *state;
    greet(w);
    uint64_t tickets[4];
    for (int i = 0; i < 4; i++) {
        const char *ids[] = {"a", "b", "c", "d"};
        tickets[i] = submit(w, ids[i]);
    }
    hear(w);
    assert_int_equal(open_submit(w, 0).count, 4);
    const struct truc_outcome outcomes[] = {{0, 0}, {TRUC_OUTCOME_DUPLICATE, 77}, {TRUC_NOT_GRANTED, 0}, {0, 0}};
    w->next_sequence = 500;
    accept_submit(w, 0, outcomes);
    assert_int_equal(w->receipt_count, 4);
    for (int i = 0; i < 4; i++) {
        assert_int_equal(w->receipts[i].ticket, tickets[i]);
        assert_true(w->receipts[i].logged);
    }
    assert_int_equal(w->receipts[0].sequence, 500);
    assert_int_equal(w->receipts[0].reason, TRUC_ACCEPTED);
    assert_true(w->receipts[1].duplicate);
    assert_int_equal(w->receipts[1].sequence, 77);
    assert_int_equal(w->receipts[1].reason, TRUC_ACCEPTED);
    assert_int_equal(w->receipts[2].reason, TRUC_NOT_GRANTED);
    assert_int_equal(w->receipts[3].sequence, 503);
    assert_int_equal(client_session_pending(w->session), 0);
    assert_int_equal(w->store.counts[STORE_EVENTS], 0); /* what is receipted leaves the spool */
}

static void test_a_receipt_that_proves_nothing_is_not_one(void **state)
{
    struct world *w = *state;
    const enum damage damages[] = {DAMAGE_PATH, DAMAGE_LEAF, DAMAGE_NOTE, DAMAGE_INDEX};
    for (size_t i = 0; i < 4; i++) {
        greet(w);
        if (i == 0) {
            (void)submit(w, "a");
            hear(w);
        }
        struct submitted seal = open_submit(w, 0);
        struct truc_buffer leaf = hub_log(w, &seal, NULL);
        say_receipt(w, &seal, truc_buffer_view(&leaf), w->size - 1, damages[i]);
        truc_buffer_close(&leaf);
        assert_int_equal(w->receipt_count, 0);
        assert_int_equal(client_session_pending(w->session), 1);
        assert_int_equal(w->state, TRUC_CLIENT_WAITING); /* that peer loses its link */
        w->now += 15 * INT64_C(1000000);
    }
}

static void test_limits_of_a_seal(void **state)
{
    struct world *w = *state;
    submit_many(w, 3000, 5); /* before the first connection: from fill and from the store */
    greet(w);
    assert_int_equal(count_heard(w, TRUC_FRAME_SUBMIT), 2);
    assert_int_equal(open_submit(w, 0).count, 1024);
    assert_int_equal(open_submit(w, 1).count, 1024);
    accept_submit(w, 0, NULL);
    accept_submit(w, 1, NULL);
    forget_heard(w);
    hear(w);
    assert_int_equal(open_submit(w, 0).count, 952);
    accept_submit(w, 0, NULL);
    assert_int_equal(w->receipt_count, 3000);
    for (size_t i = 0; i < 3000; i++) {
        assert_int_equal(w->receipts[i].ticket, i + 1); /* in order, none twice */
    }
    forget_heard(w);
    submit_many(w, 6, 1000000);
    hear(w);
    struct submitted seal = open_submit(w, 0);
    assert_int_equal(seal.count, 4);
    assert_true(seal.heard->body.size <= TRUC_SEAL_BYTES_MAX);
    assert_int_equal(open_submit(w, 1).count, 2);
}

static void test_a_hub_may_ask_for_smaller_seals(void **state)
{
    struct world *w = *state;
    Truc__V1__Limits limits = TRUC__V1__LIMITS__INIT;
    limits.seal_events = 3;
    limits.session_bytes = 400;
    submit_many(w, 10, 5);
    hear(w);
    forget_heard(w);
    say_welcome_from(w, 0, &limits);
    hear(w);
    /* What had filled before is refused as too large and split, not told to the application. */
    struct submitted whole = open_submit(w, 0);
    assert_int_equal(whole.count, 10);
    say_refused(w, &whole, TRUC_TOO_LARGE, 0);
    forget_heard(w);
    hear(w);
    assert_int_equal(w->receipt_count, 0);
    assert_int_equal(count_heard(w, TRUC_FRAME_SUBMIT), 1); /* a second one would be over the session's bytes */
    assert_int_equal(open_submit(w, 0).count, 3);
    for (int i = 0; i < 4; i++) {
        accept_submit(w, 0, NULL);
        forget_heard(w);
        hear(w);
    }
    assert_int_equal(w->receipt_count, 10);
}

static void test_refuses_what_is_not_an_event_of_ours(void **state)
{
    struct world *w = *state;
    uint64_t ticket;
    struct truc_buffer foreign = make_event(HUB_PEER, "x", NULL, 1);
    assert_int_equal(client_session_submit(w->session, truc_buffer_view(&foreign), 0, &ticket), TRUC_E_MALFORMED);
    assert_int_equal(client_session_submit(w->session, truc_bytes_of("nonsense"), 0, &ticket), TRUC_E_MALFORMED);
    w->store.full = true;
    struct truc_buffer own = make_event(HUB_AGENCY, "x", NULL, 1);
    assert_int_equal(client_session_submit(w->session, truc_buffer_view(&own), 0, &ticket), TRUC_E_FULL);
    assert_int_equal(client_session_pending(w->session), 0);
    w->store.full = false;
    assert_int_equal(client_session_submit(w->session, truc_buffer_view(&own), 0, &ticket), TRUC_OK);
    truc_buffer_close(&foreign);
    truc_buffer_close(&own);
}

/* As fields and as bytes: one event, and the same refusals. */
static void test_takes_an_event_as_fields(void **state)
{
    struct world *w = *state;
    struct truc_buffer own = make_event(HUB_AGENCY, "x", NULL, 1), foreign = make_event(HUB_PEER, "x", NULL, 1);
    struct truc_event event;
    uint64_t ticket, other;
    greet(w);
    assert_int_equal(truc_event_parse(truc_buffer_view(&foreign), &event), TRUC_OK);
    assert_int_equal(client_session_submit_event(w->session, &event, STORE_EVENT_OURS, &ticket), TRUC_E_MALFORMED);
    assert_int_equal(truc_event_parse(truc_buffer_view(&own), &event), TRUC_OK);
    struct truc_bytes id = event.id;
    event.id = truc_bytes(NULL, 0);
    assert_int_equal(client_session_submit_event(w->session, &event, STORE_EVENT_OURS, &ticket), TRUC_E_INVALID);
    event.id = id;
    assert_int_equal(client_session_pending(w->session), 0);
    assert_int_equal(client_session_submit_event(w->session, &event, STORE_EVENT_OURS, &ticket), TRUC_OK);
    assert_int_equal(client_session_submit(w->session, truc_buffer_view(&own), STORE_EVENT_OURS, &other), TRUC_OK);
    assert_int_equal(other, ticket + 1);
    hear(w);
    struct submitted sent = open_submit(w, 0);
    size_t at = 0;
    struct truc_bytes one;
    assert_int_equal(sent.count, 2);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(truc_body_next(truc_buffer_view(&sent.heard->body), &at, &one), TRUC_OK);
        assert_true(truc_bytes_equal(one, truc_buffer_view(&own)));
    }
    truc_buffer_close(&own);
    truc_buffer_close(&foreign);
}

static void test_after_a_loss_the_same_bytes_go_again_in_order(void **state)
{
    struct world *w = *state;
    greet(w);
    (void)submit(w, "a");
    hear(w);
    (void)submit(w, "b");
    hear(w);
    struct truc_buffer heads[2] = {{0}};
    for (size_t i = 0; i < 2; i++) {
        const struct heard *heard = nth_heard(w, TRUC_FRAME_SUBMIT, i);
        assert_int_equal(truc_buffer_append(&heads[i], heard->head.data, heard->head.size), TRUC_OK);
    }
    lose_link(w);
    greet(w);
    assert_int_equal(count_heard(w, TRUC_FRAME_SUBMIT), 2);
    for (size_t i = 0; i < 2; i++) {
        const struct heard *heard = nth_heard(w, TRUC_FRAME_SUBMIT, i);
        assert_true(truc_bytes_equal(truc_buffer_view(&heads[i]), truc_buffer_view(&heard->head)));
        truc_buffer_close(&heads[i]);
        accept_submit(w, i, NULL);
    }
    assert_int_equal(w->receipt_count, 2);
}

static void test_a_restart_opens_a_new_chain_on_the_last_receipted_seal(void **state)
{
    struct world *w = *state;
    greet(w);
    (void)submit(w, "a");
    hear(w);
    struct submitted first = open_submit(w, 0);
    accept_submit(w, 0, NULL);
    uint64_t lost = submit(w, "b");
    hear(w);
    struct submitted second = open_submit(w, 1);
    world_restart(w); /* b was sent; its receipt never came */
    assert_int_equal(client_session_pending(w->session), 1);
    uint64_t later = submit(w, "c");
    assert_true(later > lost); /* a ticket is never given twice */
    greet(w);
    struct submitted again = open_submit(w, 0);
    assert_int_equal(again.envelope.seal.number, 1);
    assert_true(memcmp(again.envelope.seal.chain, second.envelope.seal.chain, TRUC_CHAIN_SIZE) != 0);
    assert_true(again.envelope.seal.has_previous);
    assert_memory_equal(&again.envelope.seal.previous, &first.envelope.digest, TRUC_HASH_SIZE);
    assert_int_equal(again.count, 2);
    const struct truc_outcome outcomes[] = {{TRUC_OUTCOME_DUPLICATE, 2}, {0, 0}};
    w->next_sequence = 3; /* the hub has b already */
    accept_submit(w, 0, outcomes);
    assert_int_equal(w->receipt_count, 3);
    assert_int_equal(w->receipts[1].ticket, lost);
    assert_true(w->receipts[1].duplicate);
    assert_int_equal(w->receipts[2].ticket, later);
}

static void test_a_store_belongs_to_one_agency_of_one_log(void **state)
{
    struct world *w = *state;
    struct client_session *other = NULL;
    w->config.agency = HUB_PEER;
    assert_int_equal(client_session_new(&w->config, &w->callbacks, &other), TRUC_E_UNKNOWN_KEY);
    assert_null(other);
}

static void test_transient_refusals_are_sent_again_in_order_later(void **state)
{
    struct world *w = *state;
    greet(w);
    (void)submit(w, "a");
    hear(w);
    (void)submit(w, "b");
    hear(w);
    struct submitted first = open_submit(w, 0), second = open_submit(w, 1);
    say_refused(w, &first, TRUC_QUOTA, 3000);
    say_refused(w, &second, TRUC_SEAL_GAP, 0); /* what stands behind a refused one */
    forget_heard(w);
    hear(w);
    w->now += 2900000;
    hear(w);
    assert_int_equal(count_heard(w, TRUC_FRAME_SUBMIT), 0);
    assert_true(client_session_deadline(w->session) > w->now);
    assert_true(client_session_deadline(w->session) <= w->now + 100000);
    w->now += 100000;
    hear(w);
    assert_int_equal(count_heard(w, TRUC_FRAME_SUBMIT), 2);
    struct submitted again[] = {open_submit(w, 0), open_submit(w, 1)};
    assert_memory_equal(&again[0].envelope.digest, &first.envelope.digest, TRUC_HASH_SIZE);
    assert_memory_equal(&again[1].envelope.digest, &second.envelope.digest, TRUC_HASH_SIZE);
    assert_int_equal(w->receipt_count, 0);
}

static void test_a_permanent_refusal_is_told_and_the_rest_goes_in_a_new_chain(void **state)
{
    struct world *w = *state;
    greet(w);
    uint64_t a = submit(w, "a");
    hear(w);
    uint64_t b = submit(w, "b");
    hear(w);
    uint64_t c = submit(w, "c"); /* still filling */
    struct submitted first = open_submit(w, 0), second = open_submit(w, 1);
    say_refused(w, &first, TRUC_CLOCK_SKEW, 0);
    assert_int_equal(w->receipt_count, 1);
    assert_int_equal(w->receipts[0].ticket, a);
    assert_int_equal(w->receipts[0].reason, TRUC_CLOCK_SKEW);
    assert_false(w->receipts[0].logged);
    say_refused(w, &second, TRUC_SEAL_GAP, 0); /* of the old chain: nobody's any more */
    forget_heard(w);
    hear(w);
    struct submitted next = open_submit(w, 0);
    assert_int_equal(next.envelope.seal.number, 1);
    assert_true(memcmp(next.envelope.seal.chain, first.envelope.seal.chain, TRUC_CHAIN_SIZE) != 0);
    assert_int_equal(next.count, 2);
    accept_submit(w, 0, NULL);
    assert_int_equal(w->receipt_count, 3);
    assert_int_equal(w->receipts[1].ticket, b);
    assert_int_equal(w->receipts[2].ticket, c);
}

static void test_a_chain_that_the_hub_lost_is_begun_anew(void **state)
{
    struct world *w = *state;
    greet(w);
    (void)submit(w, "a");
    hear(w);
    accept_submit(w, 0, NULL);
    (void)submit(w, "b");
    hear(w);
    struct submitted second = open_submit(w, 1);
    say_refused(w, &second, TRUC_SEAL_GAP, 0); /* nothing before it is open: the hub does not know the chain */
    forget_heard(w);
    hear(w);
    assert_int_equal(open_submit(w, 0).envelope.seal.number, 1);
    struct submitted again = open_submit(w, 0);
    say_refused(w, &again, TRUC_SEAL_GAP, 0); /* nonsense, and no endless loop */
    assert_int_equal(w->receipt_count, 2);
    assert_int_equal(w->receipts[1].reason, TRUC_SEAL_GAP);
}

static void test_welcome_must_continue_the_known_log(void **state)
{
    struct world *w = *state;
    greet(w);
    for (int i = 0; i < 20; i++) {
        w->leaves[w->size] = (struct truc_hash){{(uint8_t)w->size, 9}};
        w->size++;
    }
    lose_link(w);
    greet(w); /* grown, with proof */
    struct truc_checkpoint known;
    client_session_checkpoint(w->session, &known);
    assert_int_equal(known.size, 21);
    world_restart(w);
    client_session_checkpoint(w->session, &known);
    assert_int_equal(known.size, 21); /* remembered */
    w->size = 20;
    hear(w);
    say_welcome_from(w, 0, NULL);
    assert_int_equal(w->state, TRUC_CLIENT_STOPPED);
    assert_int_equal(client_session_error(w->session), TRUC_E_FORKED);
    assert_int_equal(client_session_link(w->session), 0);
}

static void test_a_forked_log_stops_the_client(void **state)
{
    struct world *w = *state;
    greet(w);
    lose_link(w);
    w->leaves[0].bytes[3] ^= 1; /* the same size, another root */
    hear(w);
    say_welcome_from(w, 1, NULL);
    assert_int_equal(w->state, TRUC_CLIENT_STOPPED);
    assert_int_equal(client_session_error(w->session), TRUC_E_FORKED);
}

static void test_growth_without_proof_stops_the_client(void **state)
{
    struct world *w = *state;
    greet(w);
    lose_link(w);
    w->leaves[w->size++] = (struct truc_hash){{5}};
    hear(w);
    say_welcome_from(w, 0, NULL);
    assert_int_equal(client_session_error(w->session), TRUC_E_FORKED);
}

static void test_two_trees_of_one_size_in_a_receipt_stop_the_client(void **state)
{
    struct world *w = *state;
    greet(w);
    (void)submit(w, "a");
    hear(w);
    struct submitted seal = open_submit(w, 0);
    w->size = 0; /* another log's leaf 0 is this seal */
    struct truc_buffer leaf = hub_log(w, &seal, NULL);
    say_receipt(w, &seal, truc_buffer_view(&leaf), 0, DAMAGE_NONE);
    truc_buffer_close(&leaf);
    assert_int_equal(w->state, TRUC_CLIENT_STOPPED);
    assert_int_equal(client_session_error(w->session), TRUC_E_FORKED);
    assert_int_equal(w->receipt_count, 0);
}

/* Size 1 was shown; the receipt is of a larger tree whose first leaf is another one. All of it is signed, and the leaf
 * is in that tree: only the proof of growth tells. */
static void test_a_receipt_under_a_forked_checkpoint_stops_the_client(void **state)
{
    struct world *w = *state;
    struct truc_checkpoint known;
    greet(w);
    (void)submit(w, "a");
    hear(w);
    struct submitted seal = open_submit(w, 0);
    w->leaves[0].bytes[3] ^= 1;
    struct truc_buffer leaf = hub_log(w, &seal, NULL);
    say_receipt(w, &seal, truc_buffer_view(&leaf), 1, DAMAGE_NONE);
    assert_int_equal(w->state, TRUC_CLIENT_STOPPED);
    assert_int_equal(client_session_error(w->session), TRUC_E_FORKED);
    assert_non_null(strstr(w->text, "continuation"));
    assert_int_equal(w->receipt_count, 0);
    client_session_checkpoint(w->session, &known);
    assert_int_equal(known.size, 1);
    w->leaves[0].bytes[3] ^= 1; /* the same from the true tree is a receipt */
    world_restart(w);
    greet(w);
    seal = open_submit(w, 0); /* in a new chain */
    truc_buffer_close(&leaf);
    leaf = hub_log(w, &seal, NULL);
    say_receipt(w, &seal, truc_buffer_view(&leaf), 2, DAMAGE_NONE);
    truc_buffer_close(&leaf);
    assert_int_equal(w->receipt_count, 1);
    client_session_checkpoint(w->session, &known);
    assert_int_equal(known.size, 3);
}

static void test_a_receipt_whose_growth_is_not_proven_stops_the_client(void **state)
{
    struct world *w = *state;
    greet(w);
    (void)submit(w, "a");
    hear(w);
    struct submitted seal = open_submit(w, 0);
    struct truc_buffer leaf = hub_log(w, &seal, NULL);
    w->told = 0; /* as if this link had been told nothing yet: no proof */
    say_receipt(w, &seal, truc_buffer_view(&leaf), 1, DAMAGE_NONE);
    truc_buffer_close(&leaf);
    assert_int_equal(client_session_error(w->session), TRUC_E_FORKED);
    assert_int_equal(w->receipt_count, 0);
}

static void test_a_note_by_another_key_stops_the_client(void **state)
{
    struct world *w = *state;
    struct truc_key *real = w->note_key;
    hear(w);
    assert_int_equal(truc_key_generate(TRUC_ALGORITHM_ED25519, &w->note_key), TRUC_OK);
    say_welcome_from(w, 0, NULL);
    assert_int_equal(w->state, TRUC_CLIENT_STOPPED);
    truc_key_free(&w->note_key);
    w->note_key = real;
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_an_idle_client_seals_at_once_and_a_busy_one_batches),
        TEST(test_seals_form_a_chain),
        TEST(test_receipts_map_outcomes_to_tickets),
        TEST(test_a_receipt_that_proves_nothing_is_not_one),
        TEST(test_limits_of_a_seal),
        TEST(test_a_hub_may_ask_for_smaller_seals),
        TEST(test_refuses_what_is_not_an_event_of_ours),
        TEST(test_takes_an_event_as_fields),
        TEST(test_after_a_loss_the_same_bytes_go_again_in_order),
        TEST(test_a_restart_opens_a_new_chain_on_the_last_receipted_seal),
        TEST(test_a_store_belongs_to_one_agency_of_one_log),
        TEST(test_transient_refusals_are_sent_again_in_order_later),
        TEST(test_a_permanent_refusal_is_told_and_the_rest_goes_in_a_new_chain),
        TEST(test_a_chain_that_the_hub_lost_is_begun_anew),
        TEST(test_welcome_must_continue_the_known_log),
        TEST(test_a_forked_log_stops_the_client),
        TEST(test_growth_without_proof_stops_the_client),
        TEST(test_two_trees_of_one_size_in_a_receipt_stop_the_client),
        TEST(test_a_receipt_under_a_forked_checkpoint_stops_the_client),
        TEST(test_a_receipt_whose_growth_is_not_proven_stops_the_client),
        TEST(test_a_note_by_another_key_stops_the_client),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
