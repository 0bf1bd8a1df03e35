/* Stories of a recall's life between its admission and its decision: hub/core/recall.h draws it. What the shell does is
 * done here by hand: admit, apply rows, look again after each, end. */
#include "hub/core/recall.h"
#include "tests/unit/core/dispatch_steps.h"

#include <truc/event.h>

#define S1 10 /* sessions of D1 and D2 */
#define S2 11

static struct hub_event_facts news(const char *recipients)
{
    return (struct hub_event_facts){
        .expires_us = HUB_TIME_NONE, .type = truc_bytes_of("news.v1"), .recipients = truc_bytes_of(recipients)};
}

/* Of the event that was, or will be, the `event`-th to be made. */
static struct hub_event_facts recall_of(uint64_t event, const char *from)
{
    struct hub_event_facts facts = {.kind = HUB_EVENT_RECALL,
                                    .expires_us = HUB_TIME_NONE,
                                    .type = truc_bytes_of(TRUC_TYPE_RECALL),
                                    .recipients = truc_bytes_of(from)};
    memcpy(facts.recalled, &event, sizeof event);
    return facts;
}

static void begin_all(struct world *world, struct hub_recalls *recalls, struct hub_event_facts *events, uint32_t count)
{
    assert_int_equal(hub_recalls_begin(recalls, world->core, world->dispatch, SRC, world->now_us, events, count),
                     TRUC_OK);
}

static void begin(struct world *world, struct hub_recalls *recalls, struct hub_event_facts *facts)
{
    begin_all(world, recalls, facts, 1);
}

static void look_again(struct world *world, struct hub_recalls *recalls)
{
    assert_int_equal(hub_recalls_look_again(recalls, world->core, world->dispatch), TRUC_OK);
}

static void end(struct world *world, struct hub_recalls *recalls)
{
    assert_int_equal(hub_recalls_end(recalls, world->dispatch), TRUC_OK);
    assert_int_equal(recalls->count, 0);
}

/* What the last row's only seal decided on its event `index`. */
static uint8_t outcome(const struct world *world, size_t index)
{
    struct truc_leaf leaf;
    for (size_t i = 0; i < world->effects.count; i++) {
        if (world->effects.items[i].kind == HUB_EFFECT_LEAF) {
            assert_int_equal(truc_leaf_parse(world->effects.items[i].leaf, &leaf), TRUC_OK);
            assert_true(index < leaf.count);
            return leaf.outcomes[index].code;
        }
    }
    fail_msg("no leaf");
    return 0;
}

static enum hub_posting_state state_of(struct world *world, uint32_t agency, uint64_t number)
{
    struct hub_posting posting;
    assert_int_equal(hub_core_posting(world->core, agency, number, &posting), TRUC_OK);
    return posting.state;
}

static void open_with_sessions(struct world *world)
{
    world_open(world, &plain);
    world_session(world, S1, D1, 100);
    world_session(world, S2, D2, 100);
}

static void test_holding_from_admission_to_decision(void **state)
{
    (void)state;
    struct world world;
    struct hub_recalls recalls = {0};
    world_open(&world, &plain);
    world_send(&world, "D1,D2", 7); /* 1 */
    world_send(&world, "D1,D2", 7); /* 2 */
    struct hub_event_facts recall = recall_of(world.made - 1, "D1");
    begin(&world, &recalls, &recall);
    assert_int_equal(recalls.items[0].state, HUB_RECALL_HOLDING);
    assert_int_equal(recall.in_hand.size, 0);
    world_session(&world, S1, D1, 100); /* they come while the recall is on its way */
    world_session(&world, S2, D2, 100);
    EXPECT_NOTHING(S1);
    EXPECT(S2, 1, 2); /* of whom the recall does not speak */
    world_seal(&world, SRC, &recall, 1);
    end(&world, &recalls);
    assert_int_equal(outcome(&world, 0), TRUC_OUTCOME_ACCEPTED);
    EXPECT(S1, 2);
    assert_int_equal(state_of(&world, D1, 1), HUB_POSTING_RECALLED);
    hub_recalls_close(&recalls);
    world_close(&world);
}

/* The event's row is being written while its recall is admitted: between the two rows nobody may get it. */
static void test_looking_until_the_events_row_is_applied(void **state)
{
    (void)state;
    static const char *const from[] = {"D1", "@all", ""};
    for (size_t i = 0; i < sizeof from / sizeof from[0]; i++) {
        struct world world;
        struct hub_recalls recalls = {0};
        open_with_sessions(&world);
        struct hub_event_facts recall = recall_of(world.made + 1, from[i]);
        begin(&world, &recalls, &recall);
        assert_int_equal(recalls.items[0].state, HUB_RECALL_LOOKING);
        look_again(&world, &recalls); /* after a row that has nothing to do with it */
        assert_int_equal(recalls.items[0].state, HUB_RECALL_LOOKING);
        world_send(&world, "D1", 7);
        look_again(&world, &recalls);
        assert_int_equal(recalls.items[0].state, HUB_RECALL_HOLDING);
        look_again(&world, &recalls); /* holds once */
        EXPECT_NOTHING(S1);
        world_seal(&world, SRC, &recall, 1);
        end(&world, &recalls);
        assert_int_equal(outcome(&world, 0), TRUC_OUTCOME_ACCEPTED);
        EXPECT_NOTHING(S1);
        assert_int_equal(state_of(&world, D1, 1), HUB_POSTING_RECALLED);
        hub_recalls_close(&recalls);
        world_close(&world);
    }
}

/* The disk is full: the seal with the recall is refused, and what it held goes out. */
static void test_a_refused_seal_gives_free_what_it_held(void **state)
{
    (void)state;
    struct world world;
    struct hub_recalls recalls = {0};
    open_with_sessions(&world);
    world_send(&world, "D1,D2", 7); /* 1 */
    struct hub_event_facts held = recall_of(world.made, "");
    struct hub_event_facts looked_for = recall_of(world.made + 1, "D1");
    begin(&world, &recalls, &held);
    begin(&world, &recalls, &looked_for);
    world_send(&world, "D1", 8); /* 2 */
    look_again(&world, &recalls);
    EXPECT_NOTHING(S1);
    EXPECT_NOTHING(S2);
    end(&world, &recalls);
    EXPECT(S1, 1, 2);
    EXPECT(S2, 1);
    /* The seal comes again, now too late; the set serves again. */
    begin(&world, &recalls, &held);
    assert_int_equal(held.in_hand.size, 1);
    assert_int_equal(held.in_hand.data[0], 1u << D1 | 1u << D2);
    world_seal(&world, SRC, &held, 1);
    assert_int_equal(outcome(&world, 0), TRUC_ILLEGAL_TRANSITION);
    end(&world, &recalls);
    assert_int_equal(held.in_hand.size, 0); /* its memory went with the recall */
    hub_recalls_close(&recalls);
    world_close(&world);
}

static void test_event_and_recall_in_one_seal(void **state)
{
    (void)state;
    struct world world;
    struct hub_recalls recalls = {0};
    open_with_sessions(&world);
    struct hub_event_facts both[2] = {news("@all"), recall_of(world.made + 1, "")};
    begin(&world, &recalls, &both[1]);
    world_seal(&world, SRC, both, 2);
    end(&world, &recalls);
    assert_int_equal(outcome(&world, 0), TRUC_OUTCOME_ACCEPTED);
    assert_int_equal(outcome(&world, 1), TRUC_OUTCOME_ACCEPTED);
    EXPECT_NOTHING(S1);
    EXPECT_NOTHING(S2);
    /* The other way round the recall is early: there is nothing yet to be recalled. */
    struct hub_event_facts early[2] = {recall_of(world.made + 2, "D1"), news("D1")};
    begin(&world, &recalls, &early[0]);
    world_seal(&world, SRC, early, 2);
    end(&world, &recalls);
    assert_int_equal(outcome(&world, 0), TRUC_ILLEGAL_TRANSITION);
    EXPECT(S1, 2);
    hub_recalls_close(&recalls);
    world_close(&world);
}

static void test_what_was_refused_cannot_be_recalled(void **state)
{
    (void)state;
    struct world world;
    struct hub_recalls recalls = {0};
    open_with_sessions(&world);
    struct hub_event_facts refused = recall_of(world.made + 1, "D1");
    begin(&world, &recalls, &refused);
    world_send(&world, "D1,D9", 7); /* D9 is nobody: NO_RECIPIENT */
    assert_int_equal(outcome(&world, 0), TRUC_NO_RECIPIENT);
    look_again(&world, &recalls);
    assert_int_equal(recalls.items[0].state, HUB_RECALL_LOOKING);
    world_seal(&world, SRC, &refused, 1);
    end(&world, &recalls);
    assert_int_equal(outcome(&world, 0), TRUC_ILLEGAL_TRANSITION);
    hub_recalls_close(&recalls);
    world_close(&world);
}

/* One member of a group has it in hand: he keeps it, the others never see it; a recall from him alone says so. */
static void test_members_of_a_group_count_each_for_himself(void **state)
{
    (void)state;
    struct world world;
    struct hub_recalls recalls = {0};
    open_with_sessions(&world);
    world_send(&world, "@all", 7);
    uint64_t event = world.made;
    EXPECT(S2, 1);
    struct hub_event_facts group = recall_of(event, "@all"), one = recall_of(event, "D2");
    begin(&world, &recalls, &group);
    assert_int_equal(group.in_hand.size, 1);
    assert_int_equal(group.in_hand.data[0], 1u << D2);
    begin(&world, &recalls, &one);
    EXPECT_NOTHING(S1);
    struct hub_event_facts both[2] = {group, one};
    world_seal(&world, SRC, both, 2);
    end(&world, &recalls);
    assert_int_equal(outcome(&world, 0), TRUC_OUTCOME_ACCEPTED);
    assert_int_equal(outcome(&world, 1), TRUC_ILLEGAL_TRANSITION);
    assert_int_equal(state_of(&world, D1, 1), HUB_POSTING_RECALLED);
    assert_int_equal(state_of(&world, D2, 1), HUB_POSTING_PENDING);
    EXPECT_NOTHING(S1);
    hub_recalls_close(&recalls);
    world_close(&world);
}

/* Subscribers are not named in the event, and the sender does not know them: it recalls from everybody. */
static void test_subscribers_are_reached_by_a_recall_from_everybody(void **state)
{
    (void)state;
    struct world world;
    struct hub_recalls recalls = {0};
    open_with_sessions(&world);
    for (uint32_t agency = D1; agency <= D2; agency++) {
        struct hub_governance act = {.act = HUB_ACT_ADD_SUBSCRIPTION, .type = truc_bytes_of("news.*")};
        memcpy(act.agency, world_code(agency), strlen(world_code(agency)) + 1);
        world_act(&world, &act);
    }
    world_send(&world, "", 7);
    uint64_t event = world.made;
    EXPECT(S1, 1);
    struct hub_event_facts recall = recall_of(event, "");
    begin(&world, &recalls, &recall);
    assert_int_equal(recall.in_hand.data[0], 1u << D1);
    EXPECT_NOTHING(S2);
    world_seal(&world, SRC, &recall, 1);
    end(&world, &recalls);
    assert_int_equal(outcome(&world, 0), TRUC_OUTCOME_ACCEPTED);
    EXPECT_NOTHING(S2);
    assert_int_equal(state_of(&world, D1, 1), HUB_POSTING_PENDING);
    hub_recalls_close(&recalls);
    world_close(&world);
}

/* Who sends recalls that must be refused keeps nothing from anybody by them. */
static void test_a_hopeless_recall_holds_nothing(void **state)
{
    (void)state;
    enum { UNKNOWN_NAME, UNKNOWN_GROUP, OVER, FROM_THE_FUTURE, TOO_LARGE, USED_ID, KINDS };
    static const uint8_t reasons[KINDS] = {TRUC_NO_RECIPIENT, TRUC_NO_RECIPIENT, TRUC_EXPIRED,
                                           TRUC_CLOCK_SKEW,   TRUC_TOO_LARGE,    TRUC_ID_CONFLICT};
    for (int kind = 0; kind < KINDS; kind++) {
        struct world world;
        struct hub_recalls recalls = {0};
        open_with_sessions(&world);
        world_send(&world, "D1", 7);
        struct hub_event_facts recall = recall_of(world.made, kind == UNKNOWN_NAME    ? "D1,D9"
                                                              : kind == UNKNOWN_GROUP ? "D1,@nobody"
                                                                                      : "D1");
        recall.time_us = kind == FROM_THE_FUTURE ? world.now_us + 301 * SECOND : HUB_TIME_NONE;
        recall.expires_us = kind == OVER ? world.now_us : HUB_TIME_NONE;
        recall.size = kind == TOO_LARGE ? (1u << 20) + 1 : 100;
        uint64_t used = kind == USED_ID ? world.made : world.made + 1;
        memcpy(recall.key, &used, sizeof used);
        begin(&world, &recalls, &recall);
        assert_int_equal(recalls.items[0].state, HUB_RECALL_HOPELESS);
        assert_int_equal(recall.in_hand.data[0], 1u << D1);
        EXPECT(S1, 1);
        world_seal_as_is(&world, SRC, &recall, 1);
        assert_int_equal(outcome(&world, 0), reasons[kind]);
        assert_int_equal(state_of(&world, D1, 1), HUB_POSTING_PENDING);
        end(&world, &recalls);
        hub_recalls_close(&recalls);
        world_close(&world);
    }
}

/* Decided in time it counts, decided too late it is refused, and its event goes out: never "too late" where nobody has
 * the event. */
static void test_a_recall_that_ends_soon_holds_until_it_is_decided(void **state)
{
    (void)state;
    for (int64_t late = -1; late <= 1; late++) {
        struct world world;
        struct hub_recalls recalls = {0};
        open_with_sessions(&world);
        world_send(&world, "D1", 7);
        struct hub_event_facts recall = recall_of(world.made, "D1");
        recall.expires_us = world.now_us + 1000;
        begin(&world, &recalls, &recall);
        assert_int_equal(recalls.items[0].state, HUB_RECALL_HOLDING);
        EXPECT_NOTHING(S1);
        world.now_us += 1000 + late; /* the sync */
        world_seal(&world, SRC, &recall, 1);
        end(&world, &recalls);
        assert_int_equal(outcome(&world, 0), late < 0 ? TRUC_OUTCOME_ACCEPTED : TRUC_EXPIRED);
        assert_int_equal(state_of(&world, D1, 1), late < 0 ? HUB_POSTING_RECALLED : HUB_POSTING_PENDING);
        if (late < 0) {
            EXPECT_NOTHING(S1);
        } else {
            EXPECT(S1, 1);
        }
        hub_recalls_close(&recalls);
        world_close(&world);
    }
}

enum { NAMES = 256, MEMBERS = 2, USED_UP = HUB_RECALLS_OF_SEAL / (NAMES * MEMBERS), RECALLS = USED_UP + 3 };
_Static_assert(RECALLS <= TRUC_SEAL_EVENTS_MAX, "one seal");

/* More names than verify.c lets pass, since this world has few agencies. */
static char *many_names(size_t count)
{
    char *names = malloc(5 * count);
    assert_non_null(names);
    for (size_t i = 0; i < count; i++) {
        memcpy(names + 5 * i, "@all,", 5);
    }
    names[5 * count - 1] = '\0';
    return names;
}

/* The last is of the event that no other means. */
static struct hub_event_facts *costly(uint64_t event, const char *names)
{
    struct hub_event_facts *facts = calloc(RECALLS, sizeof *facts);
    assert_non_null(facts);
    for (size_t i = 0; i < RECALLS; i++) {
        facts[i] = recall_of(event, names);
    }
    facts[RECALLS - 1] = recall_of(event + 1, "D1");
    return facts;
}

static void test_the_recalls_of_one_seal_cost_no_more_than_the_bound(void **state)
{
    (void)state;
    struct world world;
    struct hub_recalls recalls = {0};
    char *names = many_names(NAMES);
    open_with_sessions(&world);
    world_send(&world, "D1,D2", 7); /* 1 */
    struct hub_event_facts *facts = costly(world.made, names);
    world_send(&world, "D1", 8);               /* 2 */
    facts[1].flags = HUB_FACT_INVALID_PAYLOAD; /* costs nothing, is not begun */
    assert_int_equal(hub_core_recalls_end(world.core, facts, RECALLS), USED_UP + 1);
    begin_all(&world, &recalls, facts, RECALLS);
    assert_int_equal(recalls.count, RECALLS - 1);
    assert_int_equal(recalls.items[USED_UP - 1].state, HUB_RECALL_HOLDING);
    for (size_t i = USED_UP; i < recalls.count; i++) {
        assert_int_equal(recalls.items[i].state, HUB_RECALL_HOPELESS);
        assert_int_equal(recalls.items[i].held_count, 0);
    }
    EXPECT(S1, 2); /* the only recall of it is beyond */
    EXPECT_NOTHING(S2);
    world_seal(&world, SRC, facts, RECALLS);
    end(&world, &recalls);
    assert_int_equal(outcome(&world, 0), TRUC_OUTCOME_ACCEPTED);
    assert_int_equal(outcome(&world, 1), TRUC_INVALID_PAYLOAD);
    assert_int_equal(outcome(&world, USED_UP), TRUC_ILLEGAL_TRANSITION);
    for (size_t i = USED_UP + 1; i < RECALLS; i++) {
        assert_int_equal(outcome(&world, i), TRUC_TOO_LARGE);
    }
    EXPECT_NOTHING(S1);
    EXPECT_NOTHING(S2);
    hub_recalls_close(&recalls);
    world_close(&world);
    free(facts);
    free(names);
}

/* One recall is always gone through, whatever it costs: it could not be split by whoever means everybody. */
static void test_a_recall_that_is_alone_in_its_seal_is_never_too_costly(void **state)
{
    (void)state;
    struct world world;
    struct hub_recalls recalls = {0};
    char *names = many_names(HUB_RECALLS_OF_SEAL);
    open_with_sessions(&world);
    world_send(&world, "D1", 7);
    struct hub_event_facts both[2] = {recall_of(world.made, names), recall_of(world.made, "D1")};
    begin_all(&world, &recalls, both, 2);
    EXPECT_NOTHING(S1);
    world_seal(&world, SRC, both, 2);
    end(&world, &recalls);
    assert_int_equal(outcome(&world, 0), TRUC_OUTCOME_ACCEPTED);
    assert_int_equal(outcome(&world, 1), TRUC_TOO_LARGE);
    EXPECT_NOTHING(S1);
    hub_recalls_close(&recalls);
    world_close(&world);
    free(names);
}

/* The event that a name is of was not there when its bearer was enrolled: nothing is hopeless before it is. */
static void test_an_unknown_name_is_looked_at_again_with_the_event(void **state)
{
    (void)state;
    struct world world;
    struct hub_recalls recalls = {0};
    open_with_sessions(&world);
    struct hub_event_facts recall = recall_of(world.made + 2, "D1,NEW");
    begin(&world, &recalls, &recall);
    assert_int_equal(recalls.items[0].state, HUB_RECALL_LOOKING);
    struct hub_governance act = {.act = HUB_ACT_ENROL_AGENCY, .enrolment_count = 1};
    act.enrolments[0] = (struct hub_enrolment){.agency = "NEW", .name = truc_bytes_of("New")};
    world_act(&world, &act);
    look_again(&world, &recalls);
    world_send(&world, "D1", 7);
    look_again(&world, &recalls);
    assert_int_equal(recalls.items[0].held_count, 2);
    EXPECT_NOTHING(S1);
    world_seal(&world, SRC, &recall, 1);
    assert_int_equal(outcome(&world, 0), TRUC_OUTCOME_ACCEPTED);
    end(&world, &recalls);
    EXPECT_NOTHING(S1);
    hub_recalls_close(&recalls);
    world_close(&world);
}

/* The hub stops while recalls are under way: their memory goes without a decision. */
static void test_closed_while_under_way(void **state)
{
    (void)state;
    struct world world;
    struct hub_recalls recalls = {0};
    open_with_sessions(&world);
    world_send(&world, "@all", 7);
    struct hub_event_facts recalls_of[20];
    for (size_t i = 0; i < 20; i++) {
        recalls_of[i] = recall_of(world.made, i % 2 == 0 ? "@all,D1" : "");
        begin(&world, &recalls, &recalls_of[i]);
    }
    EXPECT_NOTHING(S1);
    hub_recalls_close(&recalls);
    assert_int_equal(recalls.count, 0);
    world_close(&world);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_holding_from_admission_to_decision),
        cmocka_unit_test(test_looking_until_the_events_row_is_applied),
        cmocka_unit_test(test_a_refused_seal_gives_free_what_it_held),
        cmocka_unit_test(test_event_and_recall_in_one_seal),
        cmocka_unit_test(test_what_was_refused_cannot_be_recalled),
        cmocka_unit_test(test_members_of_a_group_count_each_for_himself),
        cmocka_unit_test(test_subscribers_are_reached_by_a_recall_from_everybody),
        cmocka_unit_test(test_a_hopeless_recall_holds_nothing),
        cmocka_unit_test(test_a_recall_that_ends_soon_holds_until_it_is_decided),
        cmocka_unit_test(test_the_recalls_of_one_seal_cost_no_more_than_the_bound),
        cmocka_unit_test(test_a_recall_that_is_alone_in_its_seal_is_never_too_costly),
        cmocka_unit_test(test_an_unknown_name_is_looked_at_again_with_the_event),
        cmocka_unit_test(test_closed_while_under_way),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
