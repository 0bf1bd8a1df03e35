/* The life of a posting: posted, acked, given back, dead, requeued, dropped, recalled, replayed. */
#include "test_core_world.h"

#define PENDING (1u << HUB_POSTING_PENDING)
#define SETTLED (1u << HUB_POSTING_SETTLED)
#define DEAD (1u << HUB_POSTING_DEAD)

/* `count` events for H15, with ids first, first + 1 ... and a subject each. */
static void post(struct world *world, unsigned first, unsigned count)
{
    char id[16];
    while (count > 0) {
        unsigned now = count < TRUC_SEAL_EVENTS_MAX ? count : TRUC_SEAL_EVENTS_MAX;
        for (unsigned i = 0; i < now; i++) {
            (void)snprintf(id, sizeof id, "e%u", first + i);
            add_event(world, "H14", id, "dossier.x.v1", "H15")->subject = 1000 + first + i;
        }
        seal_row(world, "H14");
        first += now;
        count -= now;
    }
}

static const struct hub_agency *inbox(const struct world *world)
{
    return hub_core_agency(world->core, truc_bytes_of("H15"));
}

static uint64_t next_of(struct world *world, uint64_t from, unsigned states)
{
    struct hub_posting posting;
    truc_error error = hub_core_posting_next(world->core, number_of(world, "H15"), from, states, &posting);
    assert_true(error == TRUC_OK || error == TRUC_E_NOT_FOUND);
    return error == TRUC_OK ? posting.number : 0;
}

static uint8_t dead_letter(struct world *world, uint64_t number, bool drop)
{
    const struct hub_governance order = {.act = HUB_ACT_DEAD_LETTER, .agency = "H15", .number = number, .drop = drop};
    return govern(world, &order);
}

static void numbers_have_no_gap_and_name_the_one_before(void **state)
{
    struct world *world = *state;
    post(world, 0, 600);
    uint64_t first = world->leaf.first_sequence;
    const struct hub_effect *effect = &world->effects.items[600];
    assert_int_equal(effect->kind, HUB_EFFECT_POSTED);
    assert_int_equal(effect->number, 600);
    assert_int_equal(effect->sequence, first + 599);
    assert_int_equal(effect->index, 599);
    assert_int_equal(effect->size, 1000);
    assert_int_equal(effect->subject, 1599);
    for (uint64_t number = 1; number <= 600; number++) {
        struct hub_posting posting = posting_of(world, "H15", number);
        assert_int_equal(posting.number, number);
        assert_int_equal(posting.sequence, first + number - 1);
        assert_int_equal(posting.previous_sequence, number == 1 ? 0 : first + number - 2);
        assert_int_equal(posting.index, number - 1);
        assert_int_equal(posting.leaf_index, world->effects.items[0].leaf_index);
        assert_int_equal(posting.state, HUB_POSTING_PENDING);
        assert_int_equal(posting.since_us, world->now);
    }
    struct hub_posting none;
    assert_int_equal(hub_core_posting(world->core, number_of(world, "H15"), 601, &none), TRUC_E_NOT_FOUND);
    assert_int_equal(hub_core_posting(world->core, number_of(world, "H15"), 0, &none), TRUC_E_NOT_FOUND);
    assert_int_equal(hub_core_posting(world->core, 99, 1, &none), TRUC_E_NOT_FOUND);
}

static void acks_move_the_floor_and_free_the_blocks(void **state)
{
    struct world *world = *state;
    struct hub_posting none;
    post(world, 0, 600);
    range_row(world, HUB_INPUT_ACK, "H15", 2, 299);
    assert_int_equal(effects_of(world, HUB_EFFECT_SETTLED), 299);
    assert_int_equal(inbox(world)->floor, 0);
    assert_int_equal(inbox(world)->pending, 301);
    assert_int_equal(next_of(world, 2, PENDING), 301);
    assert_int_equal(next_of(world, 1, SETTLED), 2);
    range_row(world, HUB_INPUT_ACK, "H15", 1, 1);
    assert_int_equal(inbox(world)->floor, 300);
    assert_int_equal(hub_core_posting(world->core, number_of(world, "H15"), 256, &none), TRUC_E_NOT_FOUND);
    assert_int_equal(posting_of(world, "H15", 300).state, HUB_POSTING_SETTLED);
    assert_int_equal(posting_of(world, "H15", 301).previous_sequence, posting_of(world, "H15", 300).sequence);
    /* What was settled already, or never was, changes nothing. */
    range_row(world, HUB_INPUT_ACK, "H15", 0, 301);
    assert_int_equal(world->effects.count, 0);
    range_row(world, HUB_INPUT_ACK, "H15", 601, UINT32_MAX);
    range_row(world, HUB_INPUT_ACK, "H15", UINT64_MAX, UINT32_MAX);
    assert_int_equal(world->effects.count, 0);
    range_row(world, HUB_INPUT_ACK, "H15", 0, UINT32_MAX);
    assert_int_equal(effects_of(world, HUB_EFFECT_SETTLED), 300);
    assert_int_equal(inbox(world)->floor, 600);
    assert_int_equal(inbox(world)->pending, 0);
    reopen(world);
    assert_int_equal(inbox(world)->floor, 600);
    /* Three blocks were written; only the one that the next number falls into may be left. */
    size_t blocks = 0;
    for (size_t i = 0; i < world->memory.count; i++) {
        blocks += world->memory.items[i].key.data[0] == 'b';
    }
    assert_int_equal(blocks, 1);
    post(world, 600, 1);
    assert_int_equal(posting_of(world, "H15", 601).previous_sequence, world->leaf.first_sequence - 1);
}

static void the_block_of_a_full_inbox_is_freed_and_begun_anew(void **state)
{
    struct world *world = *state;
    post(world, 0, 256);
    range_row(world, HUB_INPUT_ACK, "H15", 1, 256);
    assert_int_equal(inbox(world)->floor, 256);
    post(world, 256, 2);
    assert_int_equal(next_of(world, 1, PENDING), 257);
    assert_int_equal(posting_of(world, "H15", 257).previous_sequence, world->leaf.first_sequence - 1);
}

static void a_nack_waits_longer_each_time_and_then_dies(void **state)
{
    struct world *world = *state;
    static const int64_t wait_s[] = {2, 4, 8, 16, 32, 64, 128, 256, 300};
    post(world, 7, 1);
    for (unsigned i = 0; i < 9; i++) {
        nack_row(world, "H15", 1, 0, false, "try later");
        assert_int_equal(effects_of(world, HUB_EFFECT_RETURNED), 1);
        assert_int_equal(world->effects.items[0].not_before_us, world->now + wait_s[i] * SECOND);
        assert_int_equal(posting_of(world, "H15", 1).attempts, i + 1);
    }
    nack_row(world, "H15", 1, 0, false, "still broken");
    assert_int_equal(effects_of(world, HUB_EFFECT_DEAD), 1);
    assert_int_equal(world->effects.items[0].not_before_us, world->now + 86400 * SECOND);
    assert_int_equal(world->effects.items[0].subject, 1007);
    struct hub_posting posting = posting_of(world, "H15", 1);
    assert_int_equal(posting.state, HUB_POSTING_DEAD);
    assert_int_equal(posting.reason, 0);
    assert_int_equal(posting.attempts, 10);
    assert_int_equal(inbox(world)->dead, 1);
    assert_int_equal(inbox(world)->pending, 0);
    const char *note;
    assert_ok(hub_core_dead_note(world->core, number_of(world, "H15"), 1, &note));
    assert_string_equal(note, "still broken");
    nack_row(world, "H15", 1, 0, false, "too late"); /* nothing is left to give back */
    assert_int_equal(world->effects.count, 0);
}

static void a_nack_with_delay_is_taken_at_its_word(void **state)
{
    struct world *world = *state;
    post(world, 0, 1);
    nack_row(world, "H15", 1, 1500, false, "");
    assert_int_equal(posting_of(world, "H15", 1).not_before_us, world->now + 1500000);
    nack_row(world, "H15", 99, 0, false, "");
    assert_int_equal(world->effects.count, 0);
}

static void a_rejected_event_is_dead_at_once_and_its_note_is_cut(void **state)
{
    struct world *world = *state;
    char note[301];
    const char *kept;
    memset(note, 'x', 300);
    note[300] = '\0';
    post(world, 0, 2);
    nack_row(world, "H15", 2, 0, true, note);
    assert_int_equal(posting_of(world, "H15", 2).state, HUB_POSTING_DEAD);
    reopen(world);
    assert_ok(hub_core_dead_note(world->core, number_of(world, "H15"), 2, &kept));
    assert_int_equal(strlen(kept), 200);
    assert_ok(hub_core_dead_note(world->core, number_of(world, "H15"), 1, &kept));
    assert_string_equal(kept, "");
}

static void a_lost_session_gives_back_with_a_short_wait(void **state)
{
    struct world *world = *state;
    post(world, 0, 3);
    range_row(world, HUB_INPUT_RELEASE, "H15", 1, 2);
    assert_int_equal(effects_of(world, HUB_EFFECT_RETURNED), 2);
    assert_int_equal(posting_of(world, "H15", 1).attempts, 1);
    assert_int_equal(posting_of(world, "H15", 1).not_before_us, world->now + SECOND / 10);
    assert_int_equal(posting_of(world, "H15", 3).attempts, 0);
    for (int i = 0; i < 9; i++) {
        range_row(world, HUB_INPUT_RELEASE, "H15", 1, 1);
    }
    assert_int_equal(posting_of(world, "H15", 1).state, HUB_POSTING_DEAD);
}

static void a_dead_letter_holds_only_its_subject(void **state)
{
    struct world *world = *state;
    struct hub_governance order = grant_of("skip", "H14", "H15", "land.*");
    order.skip_dead_letters = true;
    assert_int_equal(govern(world, &order), TRUC_OUTCOME_ACCEPTED);
    (void)add_event(world, "H14", "unordered", "dossier.x.v1", "H15");
    add_event(world, "H14", "skipping", "land.x.v1", "H15")->subject = 5;
    add_event(world, "H14", "holding", "dossier.x.v1", "H15")->subject = 5;
    seal_row(world, "H14");
    for (uint64_t number = 1; number <= 3; number++) {
        nack_row(world, "H15", number, 0, true, "");
        assert_int_equal(world->effects.items[0].kind, HUB_EFFECT_DEAD);
        assert_int_equal(world->effects.items[0].not_before_us, number < 3 ? 0 : world->now + 86400 * SECOND);
    }
}

static void expiry_is_proposed_by_timers_and_decided_by_the_rows_time(void **state)
{
    struct world *world = *state;
    add_event(world, "H14", "soon", "dossier.x.v1", "H15")->expires_us = world->now + SECOND;
    (void)add_event(world, "H14", "later", "dossier.x.v1", "H15");
    seal_row(world, "H14");
    world->now += SECOND - 1;
    range_row(world, HUB_INPUT_EXPIRE, "H15", 1, 2);
    assert_int_equal(effects_of(world, HUB_EFFECT_DEAD), 0);
    assert_int_equal(effects_of(world, HUB_EFFECT_RETURNED), 2); /* whoever proposed it lets go of it */
    assert_int_equal(posting_of(world, "H15", 1).attempts, 0);
    world->now += 1;
    range_row(world, HUB_INPUT_EXPIRE, "H15", 1, 2);
    assert_int_equal(effects_of(world, HUB_EFFECT_DEAD), 1);
    assert_int_equal(posting_of(world, "H15", 1).reason, TRUC_EXPIRED);
    assert_int_equal(posting_of(world, "H15", 2).state, HUB_POSTING_PENDING);
}

static void a_dead_letter_outlives_its_block(void **state)
{
    struct world *world = *state;
    struct hub_posting none;
    post(world, 0, 300);
    nack_row(world, "H15", 5, 0, true, "bad stamp");
    nack_row(world, "H15", 3, 0, true, "");
    range_row(world, HUB_INPUT_ACK, "H15", 1, 300);
    assert_int_equal(inbox(world)->floor, 300);
    assert_int_equal(inbox(world)->dead, 2);
    reopen(world);
    uint64_t before = posting_of(world, "H15", 3).previous_sequence;
    assert_int_equal(posting_of(world, "H15", 3).sequence, before + 1); /* number 2 is forgotten, this is not */
    assert_int_equal(next_of(world, 1, DEAD), 3);
    assert_int_equal(next_of(world, 4, DEAD), 5);
    assert_int_equal(next_of(world, 6, DEAD), 0);
    assert_int_equal(next_of(world, 1, PENDING), 0);
    assert_int_equal(dead_letter(world, 4, false), TRUC_ILLEGAL_TRANSITION); /* acked */

    assert_int_equal(dead_letter(world, 5, false), TRUC_OUTCOME_ACCEPTED);
    assert_int_equal(effects_of(world, HUB_EFFECT_REQUEUED), 1);
    struct hub_posting posting = posting_of(world, "H15", 5);
    assert_int_equal(posting.state, HUB_POSTING_PENDING);
    assert_int_equal(posting.attempts, 0);
    assert_true(posting.requeued);
    assert_int_equal(next_of(world, 1, PENDING), 5);
    assert_int_equal(next_of(world, 1, DEAD | PENDING), 3);
    reopen(world);
    assert_int_equal(next_of(world, 1, PENDING), 5);
    assert_int_equal(inbox(world)->pending, 1);
    assert_int_equal(dead_letter(world, 5, false), TRUC_ILLEGAL_TRANSITION); /* no longer dead */

    range_row(world, HUB_INPUT_ACK, "H15", 1, 300);
    assert_int_equal(effects_of(world, HUB_EFFECT_SETTLED), 1);
    assert_int_equal(hub_core_posting(world->core, number_of(world, "H15"), 5, &none), TRUC_E_NOT_FOUND);
    const char *note;
    assert_ok(hub_core_dead_note(world->core, number_of(world, "H15"), 5, &note));
    assert_string_equal(note, ""); /* went with it */

    assert_int_equal(dead_letter(world, 3, true), TRUC_OUTCOME_ACCEPTED);
    assert_int_equal(effects_of(world, HUB_EFFECT_SETTLED), 1);
    assert_int_equal(dead_letter(world, 3, true), TRUC_ILLEGAL_TRANSITION);
    assert_int_equal(inbox(world)->dead, 0);
    assert_int_equal(inbox(world)->pending, 0);
}

static void a_requeued_event_can_die_again(void **state)
{
    struct world *world = *state;
    post(world, 0, 3);
    nack_row(world, "H15", 2, 0, true, "first");
    assert_int_equal(dead_letter(world, 2, false), TRUC_OUTCOME_ACCEPTED);
    assert_int_equal(next_of(world, 2, PENDING), 2);
    nack_row(world, "H15", 2, 0, false, "");
    assert_int_equal(posting_of(world, "H15", 2).attempts, 1);
    nack_row(world, "H15", 2, 0, true, "second");
    assert_int_equal(next_of(world, 1, DEAD), 2);
    assert_int_equal(dead_letter(world, 2, true), TRUC_OUTCOME_ACCEPTED);
    assert_int_equal(posting_of(world, "H15", 2).state, HUB_POSTING_SETTLED); /* its block is still there */
    assert_int_equal(next_of(world, 1, SETTLED), 2);
}

static void a_requeued_event_whose_time_was_over_gets_new_time(void **state)
{
    struct world *world = *state;
    add_event(world, "H14", "soon", "dossier.x.v1", "H15")->expires_us = world->now + SECOND;
    seal_row(world, "H14");
    world->now += SECOND;
    range_row(world, HUB_INPUT_EXPIRE, "H15", 1, 1);
    assert_int_equal(dead_letter(world, 1, false), TRUC_OUTCOME_ACCEPTED);
    assert_int_equal(posting_of(world, "H15", 1).expires_us, world->now + 2592000 * SECOND);
    assert_int_equal(posting_of(world, "H15", 1).reason, 0);
}

/* A recall by H14 of its event `id` from `recipients`, while `holder` has it in hand; returns the outcome. */
static uint8_t recall(struct world *world, const char *id, const char *recipients, const char *holder)
{
    uint8_t in_hand[8] = {0};
    uint32_t number = holder != NULL ? number_of(world, holder) : 0;
    char own[32];
    uint8_t key[16];
    (void)add_event(world, "H14", id, "x", NULL);
    memcpy(key, world->events[0].key, sizeof key);
    world->count = 0;
    (void)snprintf(own, sizeof own, "recall-%llu", (unsigned long long)hub_core_next_sequence(world->core));
    struct hub_event_facts *facts = add_event(world, "H14", own, TRUC_TYPE_RECALL, recipients);
    facts->kind = HUB_EVENT_RECALL;
    in_hand[number / 8] = (uint8_t)(1u << number % 8);
    facts->in_hand = truc_bytes(in_hand, holder != NULL ? number / 8 + 1 : 0);
    memcpy(facts->recalled, key, sizeof key);
    seal_row(world, "H14");
    return world->leaf.outcomes[0].code;
}

static void an_event_is_recalled_where_it_was_not_handed_out(void **state)
{
    struct world *world = *state;
    post(world, 0, 700);
    assert_int_equal(send_event(world, "H14", "both", "dossier.x.v1", "@offices"), TRUC_OUTCOME_ACCEPTED);
    post(world, 700, 700);
    range_row(world, HUB_INPUT_ACK, "H15", 1, 20);
    assert_int_equal(recall(world, "both", "H15,H16", "H16"), TRUC_OUTCOME_ACCEPTED); /* H16 has it in hand */
    assert_int_equal(effects_of(world, HUB_EFFECT_RECALLED), 1);
    assert_int_equal(world->effects.items[1].number, 701);
    assert_int_equal(posting_of(world, "H15", 701).state, HUB_POSTING_RECALLED);
    assert_int_equal(posting_of(world, "H16", 1).state, HUB_POSTING_PENDING);
    assert_int_equal(recall(world, "both", "H15,H16", "H16"), TRUC_ILLEGAL_TRANSITION); /* nowhere left */
    assert_int_equal(recall(world, "both", "@offices", NULL), TRUC_OUTCOME_ACCEPTED);   /* but at H16 */
    assert_int_equal(recall(world, "e3", "H15", NULL), TRUC_ILLEGAL_TRANSITION);        /* acked */
    range_row(world, HUB_INPUT_RELEASE, "H15", 30, 1);
    assert_int_equal(recall(world, "e29", "H15", NULL), TRUC_ILLEGAL_TRANSITION); /* was handed out and came back */
    assert_int_equal(recall(world, "e30", "H15", NULL), TRUC_OUTCOME_ACCEPTED);
    assert_int_equal(recall(world, "e1399", "H15", NULL), TRUC_OUTCOME_ACCEPTED);
    assert_int_equal(recall(world, "never", "H15", NULL), TRUC_ILLEGAL_TRANSITION);
    assert_int_equal(recall(world, "e31", "H15,H99", NULL), TRUC_NO_RECIPIENT);
    assert_int_equal(posting_of(world, "H15", 32).state, HUB_POSTING_PENDING); /* refused as a whole */
    assert_int_equal(recall(world, "e31", "H15,@nobody", NULL), TRUC_NO_RECIPIENT);
    assert_int_equal(posting_of(world, "H15", 32).state, HUB_POSTING_PENDING);
}

/* Of a group each one counts for himself, and so does everybody where the recall names none. */
static void a_recall_from_a_group_or_from_everybody_takes_it_from_whoever_has_it_not(void **state)
{
    struct world *world = *state;
    static const char *const from[] = {"@offices", NULL, "H15,@offices"};
    for (uint64_t i = 0; i < 3; i++) {
        char id[16];
        (void)snprintf(id, sizeof id, "g%u", (unsigned)i);
        assert_int_equal(send_event(world, "H14", id, "dossier.x.v1", "@offices"), TRUC_OUTCOME_ACCEPTED);
        assert_int_equal(recall(world, id, from[i], "H16"), TRUC_OUTCOME_ACCEPTED);
        assert_int_equal(effects_of(world, HUB_EFFECT_RECALLED), 1);
        assert_int_equal(posting_of(world, "H15", i + 1).state, HUB_POSTING_RECALLED);
        assert_int_equal(posting_of(world, "H16", i + 1).state, HUB_POSTING_PENDING);
        assert_int_equal(recall(world, id, from[i], "H16"), TRUC_ILLEGAL_TRANSITION); /* it comes too late for H16 */
        assert_int_equal(posting_of(world, "H16", i + 1).state, HUB_POSTING_PENDING);
    }
    assert_int_equal(recall(world, "never", NULL, NULL), TRUC_ILLEGAL_TRANSITION);
}

static void assert_recalled(struct world *world, const char *agency, uint64_t sequence, bool expected)
{
    bool recalled = !expected;
    assert_ok(hub_core_was_recalled(world->core, number_of(world, agency), sequence, &recalled));
    assert_int_equal(recalled, expected);
}

static void that_it_was_recalled_is_known_when_its_posting_is_forgotten(void **state)
{
    struct world *world = *state;
    struct hub_posting posting;
    uint32_t h15 = number_of(world, "H15");
    post(world, 0, 300);
    uint64_t first = world->leaf.first_sequence;
    assert_ok(hub_core_posting_of(world->core, h15, first + 1, &posting));
    assert_int_equal(posting.number, 2);
    assert_int_equal(hub_core_posting_of(world->core, number_of(world, "H16"), first + 1, &posting), TRUC_E_NOT_FOUND);
    assert_int_equal(hub_core_posting_of(world->core, 99, first + 1, &posting), TRUC_E_NOT_FOUND);
    assert_recalled(world, "H15", first + 1, false);
    assert_int_equal(recall(world, "e1", NULL, NULL), TRUC_OUTCOME_ACCEPTED);
    range_row(world, HUB_INPUT_ACK, "H15", 1, 300);
    assert_int_equal(hub_core_posting_of(world->core, h15, first + 1, &posting), TRUC_E_NOT_FOUND);
    assert_recalled(world, "H15", first, false);
    assert_recalled(world, "H15", first + 1, true);
    assert_recalled(world, "H16", first + 1, false);
    reopen(world);
    assert_recalled(world, "H15", first + 1, true);
}

static void a_dead_letter_cannot_be_recalled(void **state)
{
    struct world *world = *state;
    post(world, 0, 257);
    nack_row(world, "H15", 1, 0, true, "");
    assert_int_equal(recall(world, "e0", "H15", NULL), TRUC_ILLEGAL_TRANSITION);
    range_row(world, HUB_INPUT_ACK, "H15", 1, 257);
    assert_int_equal(recall(world, "e0", "H15", NULL), TRUC_ILLEGAL_TRANSITION); /* its block is gone */
    assert_int_equal(dead_letter(world, 1, false), TRUC_OUTCOME_ACCEPTED);
    assert_int_equal(recall(world, "e0", "H15", NULL), TRUC_ILLEGAL_TRANSITION);
    assert_int_equal(inbox(world)->pending, 1);
}

static void a_replay_delivers_again_and_says_so(void **state)
{
    struct world *world = *state;
    post(world, 0, 3);
    uint64_t first = world->leaf.first_sequence, leaf_index = world->effects.items[0].leaf_index;
    struct hub_replay_item items[2];
    for (uint32_t i = 0; i < 2; i++) {
        items[i] =
            (struct hub_replay_item){first + i, leaf_index, i, 1000, 1000 + i, "H14", truc_bytes_of("dossier.x.v1")};
    }
    struct hub_governance order = {.act = HUB_ACT_ORDER_REPLAY, .agency = "H16", .replay = items, .replay_count = 2};
    assert_int_equal(govern(world, &order), TRUC_OUTCOME_ACCEPTED);
    assert_int_equal(effects_of(world, HUB_EFFECT_POSTED), 2);
    struct hub_posting posting = posting_of(world, "H16", 2);
    assert_true(posting.replay);
    assert_int_equal(posting.sequence, first + 1);
    assert_int_equal(posting.leaf_index, leaf_index);
    assert_int_equal(posting.subject, 1001);
    assert_int_equal(posting.previous_sequence, first);
    assert_false(posting_of(world, "H15", 1).replay);

    /* News after a replay is still found by recalls, the replay itself is not. */
    assert_int_equal(send_event(world, "H14", "news", "dossier.x.v1", "H16"), TRUC_OUTCOME_ACCEPTED);
    assert_int_equal(recall(world, "e1", "H16", NULL), TRUC_ILLEGAL_TRANSITION);
    assert_int_equal(recall(world, "news", "H16", NULL), TRUC_OUTCOME_ACCEPTED);

    struct hub_replay_item good = items[1];
    for (int i = 0; i < 7; i++) {
        items[1] = good;
        switch (i) {
        case 0:
            items[1].sequence++;
            break; /* not the event at that index */
        case 1:
            items[1].index = 3;
            items[1].sequence = first + 3;
            break; /* beyond the seal */
        case 2:
            items[1].leaf_index = 9999;
            break;
        case 3:
            items[1].sequence = UINT64_MAX;
            break;
        case 4:
            items[1].type = truc_bytes_of("land.x.v1");
            break; /* not granted */
        case 5:
            memcpy(items[1].sender, "H99", 4);
            break;
        case 6:
            items[1].sequence = 0;
            break;
        }
        assert_int_equal(govern(world, &order), TRUC_NOT_GRANTED);
        assert_int_equal(effects_of(world, HUB_EFFECT_POSTED), 0); /* not even the good first one */
    }
    memcpy(order.agency, "H99", 4);
    assert_int_equal(govern(world, &order), TRUC_ILLEGAL_TRANSITION);
}

static void what_was_refused_is_not_replayed(void **state)
{
    struct world *world = *state;
    static const struct {
        const char *id, *to;
        uint8_t outcome, replayed;
    } cases[] = {
        {"news", "H16", TRUC_OUTCOME_ACCEPTED, TRUC_OUTCOME_ACCEPTED},
        {"news", "H16", TRUC_OUTCOME_DUPLICATE, TRUC_NOT_GRANTED}, /* the first one may be, under its own sequence */
        {"lost", "H99", TRUC_NO_RECIPIENT, TRUC_NOT_GRANTED},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        assert_int_equal(send_event(world, "H14", cases[i].id, "dossier.x.v1", cases[i].to), cases[i].outcome);
        uint64_t leaf_index = world->effects.items[0].leaf_index;
        struct hub_replay_item item = {world->leaf.first_sequence,   leaf_index, 0, 1000, 0, "H14",
                                       truc_bytes_of("dossier.x.v1")};
        struct hub_governance order = {
            .act = HUB_ACT_ORDER_REPLAY, .agency = "H16", .replay = &item, .replay_count = 1};
        assert_int_equal(govern(world, &order), cases[i].replayed);
    }
}

static void a_boot_marks_what_may_have_been_seen(void **state)
{
    struct world *world = *state;
    struct hub_input boot = {.kind = HUB_INPUT_BOOT};
    post(world, 0, 3);
    assert_int_equal(inbox(world)->boot_number, 0);
    row(world, &boot);
    post(world, 3, 1);
    assert_int_equal(inbox(world)->boot_number, 4);
    reopen(world);
    assert_int_equal(inbox(world)->boot_number, 4);
}

static void inputs_for_an_unknown_agency_are_errors(void **state)
{
    (void)state;
    static const enum hub_input_kind kinds[] = {HUB_INPUT_ACK,       HUB_INPUT_NACK,   HUB_INPUT_RELEASE,
                                                HUB_INPUT_SUBSCRIBE, HUB_INPUT_EXPIRE, HUB_INPUT_FORK};
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        struct world world;
        world_begin(&world);
        struct hub_input input = {.kind = kinds[i], .agency = "H99"};
        begin_row(&world);
        assert_int_equal(apply(&world, &input), TRUC_E_INVALID);
        world_close(&world);
    }
}

int main(void)
{
#define STORY(name) cmocka_unit_test_setup_teardown(name, world_setup, world_teardown)
    const struct CMUnitTest tests[] = {
        STORY(numbers_have_no_gap_and_name_the_one_before),
        STORY(acks_move_the_floor_and_free_the_blocks),
        STORY(the_block_of_a_full_inbox_is_freed_and_begun_anew),
        STORY(a_nack_waits_longer_each_time_and_then_dies),
        STORY(a_nack_with_delay_is_taken_at_its_word),
        STORY(a_rejected_event_is_dead_at_once_and_its_note_is_cut),
        STORY(a_lost_session_gives_back_with_a_short_wait),
        STORY(a_dead_letter_holds_only_its_subject),
        STORY(expiry_is_proposed_by_timers_and_decided_by_the_rows_time),
        STORY(a_dead_letter_outlives_its_block),
        STORY(a_requeued_event_can_die_again),
        STORY(a_requeued_event_whose_time_was_over_gets_new_time),
        STORY(an_event_is_recalled_where_it_was_not_handed_out),
        STORY(a_recall_from_a_group_or_from_everybody_takes_it_from_whoever_has_it_not),
        STORY(that_it_was_recalled_is_known_when_its_posting_is_forgotten),
        STORY(a_dead_letter_cannot_be_recalled),
        STORY(a_replay_delivers_again_and_says_so),
        STORY(what_was_refused_is_not_replayed),
        STORY(a_boot_marks_what_may_have_been_seen),
        cmocka_unit_test(inputs_for_an_unknown_agency_are_errors),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
