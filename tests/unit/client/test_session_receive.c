/* Receiving: nothing unverified reaches the application, nothing that it acked reaches it twice, order and credit hold.
 */
#include "tests/unit/client/parcels.h"

#define S INT64_C(1000000)

static int setup(void **state)
{
    peer_chain = 0;
    *state = world_new(2);
    return 0;
}

static int teardown(void **state)
{
    world_free(*state);
    return 0;
}

static void expect_ack(struct world *w, size_t n, uint64_t lease, uint64_t first, uint32_t count)
{
    Truc__V1__Ack *ack = unpack(nth_heard(w, TRUC_FRAME_ACK, n));
    assert_int_equal(ack->n_ranges, 1);
    assert_int_equal(ack->ranges[0]->lease, lease);
    assert_int_equal(ack->ranges[0]->first, first);
    assert_int_equal(ack->ranges[0]->count, count);
    FREE(ack);
}

static void test_a_delivery_waits_for_the_senders_key(void **state)
{
    struct world *w = *state;
    static const char *const one[] = {"a", "b", NULL}, *const two[] = {"c", NULL};
    client_session_receive(w->session, true);
    greet(w);
    deliver(w, one, NULL, (struct how){.lease = 5, .first = 1});
    deliver(w, two, NULL, (struct how){.lease = 6, .first = 3});
    hear(w);
    assert_int_equal(w->delivery_count, 0);
    assert_int_equal(count_heard(w, TRUC_FRAME_QUERY), 1); /* asked once */
    answer_keys(w, 0, HUB_PEER, w->peer_key);
    assert_int_equal(w->delivery_count, 3);
    assert_string_equal(w->deliveries[0].id, "a");
    assert_string_equal(w->deliveries[2].id, "c");
    assert_string_equal(w->deliveries[0].sender, HUB_PEER);
    assert_int_equal(w->deliveries[2].lease, 6);
    assert_non_null(client_session_peer_key(w->session, HUB_PEER, truc_key_id(w->peer_key)));
    assert_null(client_session_peer_key(w->session, HUB_AGENCY, truc_key_id(w->peer_key)));
    world_restart(w); /* the key is remembered */
    client_session_receive(w->session, true);
    greet(w);
    deliver(w, two, NULL, (struct how){.lease = 7, .first = 3, .attempt = 2});
    assert_int_equal(w->delivery_count, 4);
}

static void test_a_key_that_the_hub_does_not_know_either_is_no_key(void **state)
{
    struct world *w = *state;
    static const char *const ids[] = {"a", "b", NULL};
    client_session_receive(w->session, true);
    greet(w);
    deliver(w, ids, NULL, (struct how){.lease = 5, .first = 1});
    hear(w);
    answer_keys(w, 0, HUB_PEER, w->own_key); /* a key, but not the one */
    hear(w);
    assert_int_equal(w->delivery_count, 0);
    assert_int_equal(count_heard(w, TRUC_FRAME_NACK), 2);
    assert_int_equal(w->state, TRUC_CLIENT_OPEN);
}

static void test_what_does_not_verify_is_never_handed_out(void **state)
{
    struct world *w = *state;
    static const char *const ids[] = {"a", "b", NULL};
    open_with_key(w);
    struct parcel good = make_parcel(w, HUB_PEER, w->peer_key, HUB_PEER, ids, NULL);
    good.events[1].data[good.events[1].size - 1] ^= 1; /* an event was altered */
    say_parcel(w, &good, (struct how){.lease = 2, .first = 2});
    good.events[1].data[good.events[1].size - 1] ^= 1;
    say_parcel(w, &good, (struct how){.lease = 2, .first = 2, .wrong_index = true});
    size_t at = good.envelope.size - 70; /* inside the signature or the key id: whatever breaks, it must not pass */
    good.envelope.data[at] ^= 1;
    say_parcel(w, &good, (struct how){.lease = 2, .first = 2});
    close_parcel(&good);
    struct parcel foreign = make_parcel(w, HUB_PEER, w->peer_key, "H8", ids, NULL); /* sealed by H9, source H8 */
    say_parcel(w, &foreign, (struct how){.lease = 2, .first = 2});
    close_parcel(&foreign);
    hear(w);
    assert_int_equal(w->delivery_count, 0);
    assert_true(count_heard(w, TRUC_FRAME_NACK) >= 6);
    Truc__V1__Nack *nack = unpack(nth_heard(w, TRUC_FRAME_NACK, 0));
    assert_int_equal(nack->number, 2);
    assert_int_equal(nack->lease, 2);
    assert_false(nack->reject);
    assert_true(strlen(nack->note) > 0); /* the dead-letter desk shall see why */
    FREE(nack);
}

/* The last byte of an envelope belongs to the signature: the seal still parses and no key fits it. */
static void spoil_signature(struct parcel *parcel)
{
    struct truc_envelope envelope;
    assert_int_equal(truc_envelope_parse(truc_buffer_view(&parcel->envelope), &envelope), TRUC_OK);
    parcel->envelope.data[envelope.signature.data - parcel->envelope.data + (ptrdiff_t)envelope.signature.size - 1] ^=
        1;
    assert_int_equal(truc_envelope_parse(truc_buffer_view(&parcel->envelope), &envelope), TRUC_OK);
}

/* Three seals of a chain in one frame. -> what was handed out; the rest was nacked. */
static size_t hand_over_three(struct world *w, struct parcel *parcels, uint64_t first)
{
    w->delivery_count = 0;
    forget_heard(w);
    say_parcels(w, parcels, 3, (struct how){.lease = 2, .first = first});
    hear(w);
    assert_int_equal(count_heard(w, TRUC_FRAME_QUERY) > 0 ? 3 : count_heard(w, TRUC_FRAME_NACK), 3 - w->delivery_count);
    for (size_t i = 0; i < 3; i++) {
        close_parcel(&parcels[i]);
    }
    return w->delivery_count;
}

static void make_three(struct world *w, struct parcel *parcels, const struct truc_key *key_of_last)
{
    static const char *const ids[3][2] = {{"a", NULL}, {"b", NULL}, {"c", NULL}};
    for (size_t i = 0; i < 3; i++) {
        parcels[i] = make_parcel_behind(w, HUB_PEER, i == 2 ? key_of_last : w->peer_key, HUB_PEER, ids[i], NULL,
                                        i > 0 ? &parcels[i - 1] : NULL);
    }
}

/* The newest seal of a chain names the digest of the one before it, and that the one before: its signature is enough
 * for all that came with it in order, and for nothing else. */
static void test_a_seal_vouches_for_those_before_it(void **state)
{
    struct world *w = *state;
    struct parcel three[3];
    open_with_key(w);
    make_three(w, three, w->peer_key);
    spoil_signature(&three[0]);
    spoil_signature(&three[1]);
    assert_int_equal(hand_over_three(w, three, 2), 3);

    make_three(w, three, w->peer_key); /* the newest does not verify: then it is for the next one to vouch */
    spoil_signature(&three[0]);
    spoil_signature(&three[2]);
    assert_int_equal(hand_over_three(w, three, 5), 2);
    assert_string_equal(w->deliveries[1].id, "b");

    make_three(w, three, w->peer_key); /* nobody behind it verifies */
    spoil_signature(&three[1]);
    spoil_signature(&three[2]);
    assert_int_equal(hand_over_three(w, three, 17), 1);
    assert_string_equal(w->deliveries[0].id, "a");

    make_three(w, three, w->peer_key); /* not of the seal that the next one names */
    struct parcel other = make_parcel(w, HUB_PEER, w->peer_key, HUB_PEER, (const char *const[]){"x", NULL}, NULL);
    spoil_signature(&other);
    close_parcel(&three[1]);
    three[1] = other;
    assert_int_equal(hand_over_three(w, three, 8), 2);

    make_three(w, three, w->peer_key); /* out of order in the frame */
    struct parcel first = three[0];
    three[0] = three[1];
    three[1] = first;
    spoil_signature(&three[1]);
    assert_int_equal(hand_over_three(w, three, 11), 2);

    make_three(w, three, w->own_key); /* by another key of the agency than those before it */
    spoil_signature(&three[1]);
    assert_int_equal(hand_over_three(w, three, 14), 0);
    answer_keys(w, 0, HUB_PEER, w->own_key);
    hear(w);
    assert_int_equal(w->delivery_count, 2);
    assert_string_equal(w->deliveries[0].id, "a");
    assert_string_equal(w->deliveries[1].id, "c");
    assert_int_equal(count_heard(w, TRUC_FRAME_NACK), 1);
}

static void test_acks_are_durable_before_they_are_sent_and_batched(void **state)
{
    struct world *w = *state;
    static const char *const ids[] = {"a", "b", "c", NULL};
    open_with_key(w);
    (void)client_session_take_urgent(w->session);
    deliver(w, ids, NULL, (struct how){.lease = 9, .first = 2});
    assert_int_equal(client_session_ack(w->session, 77), TRUC_E_NOT_FOUND);
    for (uint64_t number = 2; number <= 4; number++) {
        assert_int_equal(client_session_ack(w->session, number), TRUC_OK);
        assert_int_equal(client_session_ack(w->session, number), TRUC_E_NOT_FOUND);
    }
    assert_true(client_session_take_urgent(w->session)); /* the driver has to sync before it sends */
    assert_int_equal(w->store.counts[STORE_HANDLED], 4);
    hear(w);
    expect_ack(w, 0, 9, 2, 3);
    Truc__V1__Settled settled = TRUC__V1__SETTLED__INIT;
    Truc__V1__AckRange range = TRUC__V1__ACK_RANGE__INIT, *ranges[] = {&range};
    range.lease = 9;
    range.first = 2;
    range.count = 3;
    settled.ranges = ranges;
    settled.n_ranges = 1;
    say(w, TRUC_FRAME_SETTLED, &settled, nothing);
    say(w, TRUC_FRAME_SETTLED, &settled, nothing); /* told once */
    assert_int_equal(w->settled, 3);
    assert_int_equal(w->store.counts[STORE_HANDLED], 1); /* 2 to 4 can be forgotten; 1 was never settled */
    deliver(w, ids, NULL, (struct how){.lease = 10, .first = 5, .floor = 4});
    assert_int_equal(w->store.counts[STORE_HANDLED], 1);
    deliver(w, ids, NULL, (struct how){.lease = 10, .first = 1000000, .floor = 999999});
    assert_int_equal(w->store.counts[STORE_HANDLED], 0); /* not for ever */
    range.count = UINT32_MAX;
    say(w, TRUC_FRAME_SETTLED, &settled, nothing);
    assert_int_equal(w->state, TRUC_CLIENT_WAITING);
}

static void test_what_was_acked_is_not_handed_out_again(void **state)
{
    struct world *w = *state;
    static const char *const ids[] = {"a", "b", NULL};
    open_with_key(w);
    deliver(w, ids, NULL, (struct how){.lease = 9, .first = 2});
    assert_int_equal(client_session_ack(w->session, 2), TRUC_OK);
    assert_int_equal(w->delivery_count, 2);
    world_restart(w); /* before the ack was sent */
    client_session_receive(w->session, true);
    greet(w);
    deliver(w, ids, NULL, (struct how){.lease = 30, .first = 2, .attempt = 2});
    hear(w);
    expect_ack(w, 0, 30, 2, 1); /* the client answers by itself, with the new lease */
    assert_int_equal(w->delivery_count, 3);
    assert_int_equal(w->deliveries[2].number, 3);
    assert_int_equal(w->deliveries[2].attempt, 2);
}

/* The floor passes dead letters: what comes from below it was requeued, and is news unless it was acked here. */
static void test_a_requeued_dead_letter_is_handed_out(void **state)
{
    struct world *w = *state;
    static const char *const ids[] = {"a", NULL}, *const later[] = {"b", NULL};
    open_with_key(w);
    deliver(w, ids, NULL, (struct how){.lease = 9, .first = 2});
    assert_int_equal(client_session_reject(w->session, 2, "no"), TRUC_OK);
    say_settled(w, 9, 2);
    deliver(w, later, NULL, (struct how){.lease = 10, .first = 3, .floor = 2});
    assert_int_equal(client_session_ack(w->session, 3), TRUC_OK);
    deliver(w, later, NULL, (struct how){.lease = 11, .first = 4, .floor = 3});
    hear(w);
    forget_heard(w);
    deliver(w, ids, NULL, (struct how){.lease = 12, .first = 2, .floor = 3, .attempt = 2});
    assert_int_equal(w->delivery_count, 4);
    assert_int_equal(w->deliveries[3].number, 2);
    assert_int_equal(w->deliveries[3].attempt, 2);
    assert_int_equal(client_session_ack(w->session, 2), TRUC_OK);
    hear(w);
    expect_ack(w, 0, 12, 2, 1);
}

static void test_a_requeued_dead_letter_that_was_acked_here_is_answered(void **state)
{
    struct world *w = *state;
    static const char *const ids[] = {"a", NULL}, *const later[] = {"b", NULL};
    open_with_key(w);
    deliver(w, ids, NULL, (struct how){.lease = 9, .first = 2});
    lose_link(w);
    assert_int_equal(client_session_ack(w->session, 2),
                     TRUC_OK); /* the hub does not hear of it, and it expires there */
    world_restart(w);
    client_session_receive(w->session, true);
    greet(w);
    deliver(w, later, NULL, (struct how){.lease = 10, .first = 3, .floor = 2});
    assert_int_equal(w->delivery_count, 2);
    forget_heard(w);
    deliver(w, ids, NULL, (struct how){.lease = 11, .first = 2, .floor = 2, .attempt = 2});
    hear(w);
    assert_int_equal(w->delivery_count, 2);
    expect_ack(w, 0, 11, 2, 1);
}

static void test_an_ack_after_the_session_was_lost_still_counts(void **state)
{
    struct world *w = *state;
    static const char *const ids[] = {"a", NULL};
    open_with_key(w);
    deliver(w, ids, NULL, (struct how){.lease = 9, .first = 2});
    lose_link(w);
    assert_int_equal(w->stale_count, 1);
    assert_int_equal(w->stale[0], 2);
    assert_int_equal(client_session_nack(w->session, 2, 0, NULL), TRUC_E_NOT_FOUND);
    assert_int_equal(client_session_ack(w->session, 2), TRUC_OK); /* it was processed: that must not be lost */
    greet(w);
    deliver(w, ids, NULL, (struct how){.lease = 10, .first = 2, .attempt = 2});
    hear(w);
    assert_int_equal(w->delivery_count, 1);
    expect_ack(w, 0, 10, 2, 1);
}

static void test_a_lease_that_was_lost_comes_again(void **state)
{
    struct world *w = *state;
    static const char *const ids[] = {"a", NULL};
    open_with_key(w);
    deliver(w, ids, NULL, (struct how){.lease = 9, .first = 2});
    deliver(w, ids, NULL, (struct how){.lease = 11, .first = 2, .attempt = 2});
    assert_int_equal(w->stale_count, 1);
    assert_int_equal(w->delivery_count, 2);
    assert_int_equal(client_session_ack(w->session, 2), TRUC_OK);
    hear(w);
    expect_ack(w, 0, 11, 2, 1);
    assert_int_equal(w->stale_count, 1);
    Truc__V1__Settled settled = TRUC__V1__SETTLED__INIT; /* the ack came too late */
    Truc__V1__AckRange range = TRUC__V1__ACK_RANGE__INIT, *ranges[] = {&range};
    range.lease = 11;
    range.first = 2;
    range.count = 1;
    settled.stale = ranges;
    settled.n_stale = 1;
    say(w, TRUC_FRAME_SETTLED, &settled, nothing);
    forget_heard(w);
    deliver(w, ids, NULL, (struct how){.lease = 12, .first = 2, .attempt = 3});
    hear(w);
    expect_ack(w, 0, 12, 2, 1);
    assert_int_equal(w->delivery_count, 2);
}

static void nack_first(struct world *w, const struct truc_delivery *delivery)
{
    if (delivery->number == 2) {
        assert_int_equal(client_session_nack(w->session, 2, 1500, "not now"), TRUC_OK);
    }
}

static void test_a_nack_takes_the_later_ones_of_its_subject_along(void **state)
{
    struct world *w = *state;
    static const char *const ids[] = {"a", "b", "c", NULL}, *const subjects[] = {"d1", "d2", "d1", NULL};
    open_with_key(w);
    w->on_delivery = nack_first; /* while the frame is still being handed out */
    deliver(w, ids, subjects, (struct how){.lease = 9, .first = 2});
    assert_int_equal(w->delivery_count, 2); /* a and b; c comes again behind a */
    assert_int_equal(w->deliveries[1].number, 3);
    w->on_delivery = NULL;
    hear(w);
    Truc__V1__Nack *nack = unpack(nth_heard(w, TRUC_FRAME_NACK, 0));
    assert_int_equal(nack->delay_ms, 1500);
    assert_string_equal(nack->note, "not now");
    FREE(nack);
    say_settled(w, 9, 2);
    deliver(w, ids, subjects, (struct how){.lease = 20, .first = 12});
    assert_int_equal(client_session_nack(w->session, 12, 0, NULL), TRUC_OK); /* afterwards: those outstanding */
    assert_int_equal(w->stale_count, 1);
    assert_int_equal(w->stale[0], 14);
    assert_int_equal(client_session_nack(w->session, 14, 0, NULL), TRUC_E_NOT_FOUND);
    assert_int_equal(client_session_ack(w->session, 13), TRUC_OK);
    say_settled(w, 20, 12);
    deliver(w, ids, subjects, (struct how){.lease = 21, .first = 12, .attempt = 2});
    assert_int_equal(w->deliveries[w->delivery_count - 1].number, 14);
}

static void test_a_long_note_is_cut_between_characters(void **state)
{
    struct world *w = *state;
    static const char *const ids[] = {"a", NULL};
    char note[300];
    memset(note, 'n', sizeof note);
    note[199] = (char)0xc3; /* a character of two bytes over the limit */
    note[200] = (char)0xa9;
    note[299] = '\0';
    open_with_key(w);
    deliver(w, ids, NULL, (struct how){.lease = 9, .first = 2});
    assert_int_equal(client_session_reject(w->session, 2, note), TRUC_OK);
    hear(w);
    Truc__V1__Nack *nack = unpack(nth_heard(w, TRUC_FRAME_NACK, 0));
    assert_true(nack->reject);
    assert_int_equal(strlen(nack->note), 199);
    FREE(nack);
}

static uint64_t heard_credit(struct world *w)
{
    uint64_t events = 0;
    for (size_t i = 0; i < count_heard(w, TRUC_FRAME_CREDIT); i++) {
        Truc__V1__Credit *credit = unpack(nth_heard(w, TRUC_FRAME_CREDIT, i));
        events += credit->events;
        FREE(credit);
    }
    return events;
}

static void test_credit_follows_the_answers(void **state)
{
    struct world *w = *state;
    static const char *const ids[] = {"a", "b", "c", "d", NULL};
    greet(w);
    assert_int_equal(heard_credit(w), 0); /* silence until the application wants to receive */
    client_session_receive(w->session, true);
    hear(w);
    assert_int_equal(heard_credit(w), 100);
    forget_heard(w);
    deliver(w, ids, NULL, (struct how){.lease = 1, .first = 1});
    hear(w);
    answer_keys(w, 0, HUB_PEER, w->peer_key);
    hear(w);
    w->now += 1 * S;
    hear(w);
    assert_int_equal(heard_credit(w), 0); /* four are with the application */
    assert_int_equal(client_session_ack(w->session, 1), TRUC_OK);
    assert_int_equal(client_session_nack(w->session, 2, 0, NULL), TRUC_OK); /* takes 3 and 4 along */
    hear(w);
    assert_int_equal(heard_credit(w), 0); /* little: not worth a frame of its own yet */
    assert_true(client_session_deadline(w->session) <= w->now + S / 10);
    w->now += S / 10;
    hear(w);
    assert_int_equal(heard_credit(w), 4);
    forget_heard(w);
    lose_link(w);
    greet(w);
    assert_int_equal(heard_credit(w), 100); /* a new session begins anew */
}

static void test_delivery_receipts_are_sealed_events_to_the_sender(void **state)
{
    struct world *w = *state;
    static const char *const ids[] = {"a", "b", "c", NULL}, *const subjects[] = {NULL, NULL, NULL, NULL};
    open_with_key(w);
    deliver(w, ids, subjects, (struct how){.lease = 9, .first = 2, .receipt_wanted = true});
    assert_int_equal(client_session_ack(w->session, 2), TRUC_OK);
    assert_int_equal(client_session_reject(w->session, 3, "no"), TRUC_OK);
    assert_int_equal(client_session_ack(w->session, 4), TRUC_OK);
    world_restart(w); /* what is owed is as durable as the answers */
    greet(w);
    w->now += 1 * S;
    hear(w);
    const struct heard *heard = nth_heard(w, TRUC_FRAME_SUBMIT, 0);
    struct truc_bytes bytes;
    struct truc_event event;
    size_t at = 0;
    assert_int_equal(truc_body_next(truc_buffer_view(&heard->body), &at, &bytes), TRUC_OK);
    assert_int_equal(truc_event_parse(bytes, &event), TRUC_OK);
    assert_true(truc_bytes_equal(event.type, truc_bytes_of(TRUC_TYPE_DELIVERY_RECEIPT)));
    assert_true(truc_bytes_equal(event.recipients, truc_bytes_of(HUB_PEER)));
    Truc__V1__DeliveryReceipts *told = truc__v1__delivery_receipts__unpack(NULL, event.data.size, event.data.data);
    assert_non_null(told);
    assert_int_equal(told->n_items, 3);
    assert_int_equal(told->items[0]->sequence, 102);
    assert_int_equal(told->items[0]->outcome, TRUC__V1__DELIVERY_RECEIPTS__OUTCOME__PROCESSED);
    assert_int_equal(told->items[1]->outcome, TRUC__V1__DELIVERY_RECEIPTS__OUTCOME__REFUSED);
    assert_int_equal(told->items[0]->leaf_hash.len, TRUC_HASH_SIZE);
    struct truc_buffer first = make_event(HUB_PEER, "a", NULL, 10);
    struct truc_hash hash;
    truc_leaf_hash(&hash, truc_buffer_view(&first));
    assert_memory_equal(told->items[0]->leaf_hash.data, &hash, sizeof hash);
    truc_buffer_close(&first);
    FREE(told);
    accept_submit(w, 0, NULL);
    assert_int_equal(w->receipt_count, 0); /* not the application's */
    assert_int_equal(client_session_pending(w->session), 0);
    assert_int_equal(w->store.counts[STORE_OWED], 0);
}

static void test_a_delivery_in_pieces(void **state)
{
    struct world *w = *state;
    open_with_key(w);
    struct parcel parcel = {.count = 1};
    struct truc_seal seal = {.number = 1, .sealed_at_us = w->now, .chain = {99}, .count = 1};
    parcel.events[0] = make_event(HUB_PEER, "large", NULL, 700000);
    truc_leaf_hash(&seal.root, truc_buffer_view(&parcel.events[0]));
    (void)snprintf(seal.origin, sizeof seal.origin, "%s", HUB_ORIGIN);
    (void)snprintf(seal.sender, sizeof seal.sender, "%s", HUB_PEER);
    (void)snprintf(seal.keyid, sizeof seal.keyid, "%s", truc_key_id(w->peer_key));
    assert_int_equal(truc_seal_sign(&seal, w->peer_key, &parcel.envelope, NULL), TRUC_OK);
    say_parcel(w, &parcel, (struct how){.lease = 9, .first = 2});
    close_parcel(&parcel);
    assert_int_equal(w->delivery_count, 1);
    assert_string_equal(w->deliveries[0].id, "large");
}

static void test_many_deliveries_answered_in_any_order(void **state)
{
    struct world *w = *state;
    static const char *const ids[] = {"a", "b", "c", "d", NULL};
    open_with_key(w);
    const uint64_t last = 2 + 4 * 500;
    for (uint64_t first = 2; first < last; first += 4) {
        deliver(w, ids, NULL, (struct how){.lease = first, .first = first});
    }
    assert_int_equal(w->delivery_count, last - 2);
    for (uint64_t number = last - 1; number >= 2; number -= 3) { /* every third, from the end */
        assert_int_equal(client_session_ack(w->session, number), TRUC_OK);
    }
    for (uint64_t number = 2; number < last; number++) {
        truc_error wanted = (last - 1 - number) % 3 == 0 ? TRUC_E_NOT_FOUND : TRUC_OK;
        assert_int_equal(client_session_ack(w->session, number), wanted);
    }
    hear(w);
    size_t acked = 0;
    for (size_t i = 0; i < count_heard(w, TRUC_FRAME_ACK); i++) {
        Truc__V1__Ack *ack = unpack(nth_heard(w, TRUC_FRAME_ACK, i));
        assert_true(ack->n_ranges <= 4096);
        for (size_t r = 0; r < ack->n_ranges; r++) {
            acked += ack->ranges[r]->count;
        }
        FREE(ack);
    }
    assert_int_equal(acked, last - 2);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_a_delivery_waits_for_the_senders_key),
        TEST(test_a_key_that_the_hub_does_not_know_either_is_no_key),
        TEST(test_what_does_not_verify_is_never_handed_out),
        TEST(test_a_seal_vouches_for_those_before_it),
        TEST(test_acks_are_durable_before_they_are_sent_and_batched),
        TEST(test_what_was_acked_is_not_handed_out_again),
        TEST(test_a_requeued_dead_letter_is_handed_out),
        TEST(test_a_requeued_dead_letter_that_was_acked_here_is_answered),
        TEST(test_an_ack_after_the_session_was_lost_still_counts),
        TEST(test_a_lease_that_was_lost_comes_again),
        TEST(test_a_nack_takes_the_later_ones_of_its_subject_along),
        TEST(test_a_long_note_is_cut_between_characters),
        TEST(test_credit_follows_the_answers),
        TEST(test_delivery_receipts_are_sealed_events_to_the_sender),
        TEST(test_a_delivery_in_pieces),
        TEST(test_many_deliveries_answered_in_any_order),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
