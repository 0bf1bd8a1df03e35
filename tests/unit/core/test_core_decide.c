/* What becomes of events: the order of reasons, idempotency, grants, and the log that records it all. */
#include "test_core_world.h"

static void nothing_comes_before_genesis(void **state)
{
    (void)state;
    struct world world;
    struct hub_input boot = {.kind = HUB_INPUT_BOOT};
    world_open(&world);
    assert_string_equal(hub_core_origin(world.core), "");
    begin_row(&world);
    assert_int_equal(apply(&world, &boot), TRUC_E_INVALID);
    /* It was said that the core is to be thrown away: it insists. */
    assert_int_equal(hub_core_end_row(world.core, &world.effects), TRUC_E_INVALID);
    world_close(&world);

    world_open(&world);
    (void)add_event(&world, "H01", "e", "dossier.accepted.v1", "H02");
    begin_row(&world);
    assert_int_equal(apply_sealed(&world, "H01"), TRUC_E_INVALID);
    world_close(&world);
}

static void genesis_is_signed_by_the_administrator_that_it_enrols_first(void **state)
{
    (void)state;
    const char *sealer[] = {"H01", "H02"};
    for (int i = 0; i < 2; i++) {
        struct world world;
        const struct hub_governance order = genesis_order();
        world_open(&world);
        (void)add_order(&world, sealer[i], "genesis", &order);
        begin_row(&world);
        assert_int_equal(apply_sealed(&world, sealer[i]), i == 0 ? TRUC_OK : TRUC_E_INVALID);
        if (i == 0) {
            end_row(&world);
            assert_string_equal(hub_core_origin(world.core), WORLD_ORIGIN);
            assert_string_equal(hub_core_note_key(world.core), "test.truc+00000000+AQ==");
            assert_int_equal(hub_core_agency_count(world.core), 2);
            assert_int_equal(hub_core_parameters(world.core)->past_horizon_s, 2592000);
            assert_int_equal(hub_core_tree_size(world.core), 1);
            assert_int_equal(hub_core_next_sequence(world.core), 2);
        }
        world_close(&world);
    }
}

static void a_second_genesis_is_refused(void **state)
{
    struct world *world = *state;
    const struct hub_governance order = genesis_order();
    assert_int_equal(govern(world, &order), TRUC_ILLEGAL_TRANSITION);
}

/* Each event has everything wrong that comes after the reason under test, so that only the order can explain it. */
static void the_first_reason_that_applies_is_given(void **state)
{
    struct world *world = *state;
    static const uint8_t expected[] = {TRUC_MALFORMED,    TRUC_TOO_LARGE,       TRUC_NOT_GRANTED,
                                       TRUC_CLOCK_SKEW,   TRUC_ID_CONFLICT,     TRUC_EXPIRED,
                                       TRUC_MISSING_BLOB, TRUC_INVALID_PAYLOAD, TRUC_NO_RECIPIENT};
    const size_t count = sizeof expected;
    assert_int_equal(send_event(world, "H14", "used", "dossier.accepted.v1", "H15"), TRUC_OUTCOME_ACCEPTED);
    for (size_t i = 0; i < count; i++) {
        struct hub_event_facts *facts = add_event(world, "H14", i < 5 ? "used" : "fresh", "land.x.v1", "H99,H01");
        facts->leaf_hash.bytes[0] ^= 1;
        facts->flags = (uint8_t)((i <= 0 ? HUB_FACT_MALFORMED : 0) | (i <= 1 ? HUB_FACT_TOO_LARGE : 0) |
                                 (i <= 2 ? HUB_FACT_FOREIGN_SOURCE : 0) | (i <= 6 ? HUB_FACT_BLOB : 0) |
                                 (i <= 7 ? HUB_FACT_INVALID_PAYLOAD : 0));
        facts->time_us = i <= 3 ? world->now + 301 * SECOND : HUB_TIME_NONE;
        facts->expires_us = i <= 5 ? world->now : HUB_TIME_NONE;
    }
    (void)add_event(world, "H14", "fresh", "land.x.v1", "H15");
    seal_row(world, "H14");
    for (size_t i = 0; i < count; i++) {
        assert_int_equal(world->leaf.outcomes[i].code, expected[i]);
        assert_true(hub_core_refusals(world->core, expected[i]) >= 1);
    }
    assert_int_equal(world->leaf.outcomes[count].code, TRUC_NOT_GRANTED);
    assert_int_equal(hub_core_refusals(world->core, TRUC_NOT_GRANTED), 2);
    assert_int_equal(effects_of(world, HUB_EFFECT_POSTED), 0);
}

static void limits_are_exact(void **state)
{
    struct world *world = *state;
    struct hub_event_facts *facts = add_event(world, "H14", "a", "dossier.x.v1", "H15");
    facts->time_us = world->now + 300 * SECOND;
    facts->expires_us = world->now + 1;
    facts->size = TRUC_EVENT_MAX;
    facts = add_event(world, "H14", "b", "dossier.x.v1", "H15");
    facts->size = TRUC_EVENT_MAX + 1;
    facts = add_event(world, "H14", "c", "dossier.x.v1", "H15");
    facts->time_us = INT64_MAX;
    facts = add_event(world, "H14", "d", "dossier.x.v1", "H15");
    facts->expires_us = INT64_MIN + 1;
    seal_row(world, "H14");
    assert_int_equal(world->leaf.outcomes[0].code, TRUC_OUTCOME_ACCEPTED);
    assert_int_equal(world->leaf.outcomes[1].code, TRUC_TOO_LARGE);
    assert_int_equal(world->leaf.outcomes[2].code, TRUC_CLOCK_SKEW);
    assert_int_equal(world->leaf.outcomes[3].code, TRUC_EXPIRED);
}

/* Whoever lost the receipt of what was taken in time must not hear that it came too late. */
static void a_duplicate_is_one_after_its_time_as_well(void **state)
{
    struct world *world = *state;
    add_event(world, "H14", "a", "dossier.x.v1", "H15")->expires_us = world->now + SECOND;
    int64_t expires_us = world->now + SECOND;
    seal_row(world, "H14");
    uint64_t first = world->leaf.first_sequence;
    assert_int_equal(world->leaf.outcomes[0].code, TRUC_OUTCOME_ACCEPTED);
    world->now += 2 * SECOND;
    add_event(world, "H14", "a", "dossier.x.v1", "H15")->expires_us = expires_us;
    seal_row(world, "H14");
    assert_int_equal(world->leaf.outcomes[0].code, TRUC_OUTCOME_DUPLICATE);
    assert_int_equal(world->leaf.outcomes[0].duplicate_of, first);
}

static void a_duplicate_names_the_first_and_goes_to_nobody(void **state)
{
    struct world *world = *state;
    (void)add_event(world, "H14", "a", "dossier.x.v1", "H15");
    (void)add_event(world, "H14", "a", "dossier.x.v1", "H15"); /* within the seal */
    seal_row(world, "H14");
    uint64_t first = world->leaf.first_sequence;
    assert_int_equal(world->leaf.outcomes[0].code, TRUC_OUTCOME_ACCEPTED);
    assert_int_equal(world->leaf.outcomes[1].code, TRUC_OUTCOME_DUPLICATE);
    assert_int_equal(world->leaf.outcomes[1].duplicate_of, first);
    assert_int_equal(effects_of(world, HUB_EFFECT_POSTED), 1);
    reopen(world); /* after a restart too */
    assert_int_equal(send_event(world, "H14", "a", "dossier.x.v1", "H15"), TRUC_OUTCOME_DUPLICATE);
    assert_int_equal(world->leaf.outcomes[0].duplicate_of, first);
    assert_int_equal(effects_of(world, HUB_EFFECT_POSTED), 0);
}

static void a_refused_event_may_be_mended_and_sent_again(void **state)
{
    struct world *world = *state;
    assert_int_equal(send_event(world, "H14", "a", "dossier.x.v1", "H99"), TRUC_NO_RECIPIENT);
    struct hub_event_facts *facts = add_event(world, "H14", "a", "dossier.x.v1", "H15");
    facts->leaf_hash.bytes[0] ^= 1;
    seal_row(world, "H14");
    assert_int_equal(world->leaf.outcomes[0].code, TRUC_OUTCOME_ACCEPTED);
}

static void ids_are_forgotten_after_the_horizon(void **state)
{
    struct world *world = *state;
    char id[32];
    /* Over several blocks of records, so that whole blocks go. */
    for (int i = 0; i < 600; i++) {
        (void)snprintf(id, sizeof id, "old-%d", i);
        (void)add_event(world, "H14", id, "dossier.x.v1", "H15");
        if (i == 299) {
            seal_row(world, "H14");
            world->now += SECOND;
        }
    }
    seal_row(world, "H14");
    world->now += 2592000 * SECOND - SECOND; /* the first half is exactly at the horizon */
    assert_int_equal(send_event(world, "H14", "old-0", "dossier.x.v1", "H15"), TRUC_OUTCOME_DUPLICATE);
    world->now += 1;
    assert_int_equal(send_event(world, "H14", "old-299", "dossier.x.v1", "H15"), TRUC_OUTCOME_ACCEPTED);
    assert_int_equal(send_event(world, "H14", "old-300", "dossier.x.v1", "H15"), TRUC_OUTCOME_DUPLICATE);
    reopen(world);
    assert_int_equal(send_event(world, "H14", "old-1", "dossier.x.v1", "H15"), TRUC_OUTCOME_ACCEPTED);
    assert_int_equal(send_event(world, "H14", "old-599", "dossier.x.v1", "H15"), TRUC_OUTCOME_DUPLICATE);
    world->now += SECOND;
    assert_int_equal(send_event(world, "H14", "old-599", "dossier.x.v1", "H15"), TRUC_OUTCOME_ACCEPTED);
}

static void what_is_not_granted_goes_to_nobody(void **state)
{
    struct world *world = *state;
    assert_int_equal(send_event(world, "H14", "a", "land.x.v1", "H15"), TRUC_NOT_GRANTED);    /* another type */
    assert_int_equal(send_event(world, "H15", "b", "dossier.x.v1", "H14"), TRUC_NOT_GRANTED); /* the other way */
    /* One of two is not granted: neither gets it. */
    assert_int_equal(send_event(world, "H14", "c", "dossier.x.v1", "H15,H01"), TRUC_NOT_GRANTED);
    assert_int_equal(effects_of(world, HUB_EFFECT_POSTED), 0);
}

static void groups_go_to_their_members_but_not_back_to_the_sender(void **state)
{
    struct world *world = *state;
    assert_int_equal(send_event(world, "H14", "a", "dossier.x.v1", "@offices,H15"), TRUC_OUTCOME_ACCEPTED);
    assert_int_equal(effects_of(world, HUB_EFFECT_POSTED), 2); /* H15 once, though named twice */
    assert_int_equal(send_event(world, "H14", "b", "dossier.x.v1", "@nobody"), TRUC_NO_RECIPIENT);
    assert_int_equal(give_grant(world, "g2", "@offices", "@offices", "land.*"), TRUC_OUTCOME_ACCEPTED);
    assert_int_equal(send_event(world, "H15", "c", "land.x.v1", "@offices"), TRUC_OUTCOME_ACCEPTED);
    assert_int_equal(effects_of(world, HUB_EFFECT_POSTED), 1);
    assert_int_equal(world->effects.items[1].agency, number_of(world, "H16"));
    /* A group whose only member is the sender is empty for it. */
    assert_int_equal(enrol(world, "H20", "alone"), TRUC_OUTCOME_ACCEPTED);
    assert_int_equal(send_event(world, "H20", "d", "land.x.v1", "@alone"), TRUC_NO_RECIPIENT);
}

static void the_older_form_of_a_code_reaches_the_same_agency(void **state)
{
    struct world *world = *state;
    assert_int_equal(enrol(world, "H62.12", NULL), TRUC_OUTCOME_ACCEPTED);
    assert_int_equal(give_grant(world, "old", "H14", "H62.12", "dossier.*"), TRUC_OUTCOME_ACCEPTED);
    assert_int_equal(send_event(world, "H14", "a", "dossier.x.v1", "000.00.12.H62"), TRUC_OUTCOME_ACCEPTED);
    assert_int_equal(hub_core_agency(world->core, truc_bytes_of("H62.12"))->pending, 1);
}

static void the_first_grant_given_sets_the_terms(void **state)
{
    struct world *world = *state;
    struct hub_governance order = grant_of("terms", "H14", "H16", "land.*");
    order.hold_s = 60;
    order.max_attempts = 2;
    order.delivery_receipts = true;
    order.skip_dead_letters = true;
    assert_int_equal(govern(world, &order), TRUC_OUTCOME_ACCEPTED);
    assert_int_equal(give_grant(world, "later", "H14", "H16", "*"), TRUC_OUTCOME_ACCEPTED);
    assert_int_equal(send_event(world, "H14", "a", "land.x.v1", "H16"), TRUC_OUTCOME_ACCEPTED);
    struct hub_posting posting = posting_of(world, "H16", 1);
    assert_int_equal(posting.hold_s, 60);
    assert_int_equal(posting.max_attempts, 2);
    assert_true(posting.receipt_wanted && posting.skip);
    assert_int_equal(send_event(world, "H14", "b", "other.x.v1", "H16"), TRUC_OUTCOME_ACCEPTED);
    posting = posting_of(world, "H16", 2);
    assert_int_equal(posting.hold_s, 86400);
    assert_int_equal(posting.max_attempts, 10);
    assert_false(posting.receipt_wanted || posting.skip);
}

static void grants_begin_end_and_are_withdrawn(void **state)
{
    struct world *world = *state;
    struct hub_governance order = grant_of("timed", "H14", "H16", "land.*");
    order.valid_from_us = world->now + 10 * SECOND;
    order.valid_until_us = world->now + 20 * SECOND;
    assert_int_equal(govern(world, &order), TRUC_OUTCOME_ACCEPTED);
    assert_int_equal(send_event(world, "H14", "a", "land.x.v1", "H16"), TRUC_NOT_GRANTED);
    world->now += 10 * SECOND;
    assert_int_equal(send_event(world, "H14", "a", "land.x.v1", "H16"), TRUC_OUTCOME_ACCEPTED);
    world->now += 10 * SECOND - 1;
    assert_int_equal(send_event(world, "H14", "b", "land.x.v1", "H16"), TRUC_OUTCOME_ACCEPTED);
    world->now += 1;
    assert_int_equal(send_event(world, "H14", "c", "land.x.v1", "H16"), TRUC_NOT_GRANTED);
    struct hub_governance withdraw = {.act = HUB_ACT_WITHDRAW_GRANT, .grant = truc_bytes_of("g1")};
    assert_int_equal(send_event(world, "H14", "d", "dossier.x.v1", "H16"), TRUC_OUTCOME_ACCEPTED);
    assert_int_equal(govern(world, &withdraw), TRUC_OUTCOME_ACCEPTED);
    assert_int_equal(send_event(world, "H14", "e", "dossier.x.v1", "H16"), TRUC_NOT_GRANTED);
    assert_int_equal(govern(world, &withdraw), TRUC_ILLEGAL_TRANSITION);
}

static void subscribe(struct world *world, const char *agency, const char *type, const char *source, bool remove)
{
    struct hub_input input = {.kind = HUB_INPUT_SUBSCRIBE};
    (void)snprintf(input.agency, sizeof input.agency, "%s", agency);
    input.u.subscribe.type = truc_bytes_of(type);
    input.u.subscribe.source_agency = truc_bytes_of(source);
    input.u.subscribe.remove = remove;
    row(world, &input);
    assert_int_equal(effects_of(world, HUB_EFFECT_SUBSCRIBED), 1);
}

static void topics_go_to_granted_subscribers_once(void **state)
{
    struct world *world = *state;
    assert_int_equal(send_event(world, "H14", "a", "dossier.x.v1", NULL), TRUC_NO_RECIPIENT);
    subscribe(world, "H15", "dossier.*", "", false);
    subscribe(world, "H15", "dossier.x.v1", "H14", false);
    subscribe(world, "H16", "dossier.*", "H02", false); /* only what H02 sends */
    subscribe(world, "H01", "dossier.*", "", false);    /* not granted */
    subscribe(world, "H14", "dossier.*", "", false);    /* the sender itself */
    assert_int_equal(send_event(world, "H14", "b", "dossier.x.v1", NULL), TRUC_OUTCOME_ACCEPTED);
    assert_int_equal(effects_of(world, HUB_EFFECT_POSTED), 1);
    assert_int_equal(world->effects.items[1].agency, number_of(world, "H15"));
    subscribe(world, "H15", "dossier.*", "", true);
    reopen(world);
    assert_int_equal(send_event(world, "H14", "c", "dossier.y.v1", NULL), TRUC_NO_RECIPIENT);
    assert_int_equal(send_event(world, "H14", "d", "dossier.x.v1", NULL), TRUC_OUTCOME_ACCEPTED);
    assert_int_equal(hub_core_subscription_count(world->core), 4);
}

static void subscriptions_of_one_agency_are_bounded(void **state)
{
    struct world *world = *state;
    char type[32];
    for (int i = 0; i < 1030; i++) {
        (void)snprintf(type, sizeof type, "t%d.v1", i);
        subscribe(world, "H15", type, "", false);
    }
    assert_int_equal(hub_core_subscription_count(world->core), 1024);
    subscribe(world, "H16", "NOT A TYPE", "", false);
    assert_int_equal(hub_core_subscription_count(world->core), 1024);
}

static void reserved_types_and_strangers_acts_are_not_granted(void **state)
{
    struct world *world = *state;
    struct hub_governance order = {.act = HUB_ACT_SUSPEND_AGENCY, .agency = "H15"};
    struct hub_event_facts *facts = add_event(world, "H14", "a", "truc.new.v1", "H15");
    facts->kind = HUB_EVENT_RESERVED;
    (void)add_order(world, "H14", "b", &order);
    seal_row(world, "H14");
    assert_int_equal(world->leaf.outcomes[0].code, TRUC_NOT_GRANTED);
    assert_int_equal(world->leaf.outcomes[1].code, TRUC_NOT_GRANTED);
    assert_false(hub_core_agency(world->core, truc_bytes_of("H15"))->suspended);
}

static void delivery_receipts_go_back_where_a_grant_asked_for_them(void **state)
{
    struct world *world = *state;
    struct hub_governance order = grant_of("r", "H14", "H16", "land.*");
    order.delivery_receipts = true;
    assert_int_equal(govern(world, &order), TRUC_OUTCOME_ACCEPTED);
    static const struct {
        const char *from, *to;
        uint8_t outcome;
    } cases[] = {{"H16", "H14", TRUC_OUTCOME_ACCEPTED},
                 {"H15", "H14", TRUC_NOT_GRANTED},
                 {"H16", "H15", TRUC_NOT_GRANTED},
                 {"H16", NULL, TRUC_NO_RECIPIENT},
                 {"H16", "H99", TRUC_NO_RECIPIENT}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char id[16];
        (void)snprintf(id, sizeof id, "r%zu", i);
        struct hub_event_facts *facts = add_event(world, cases[i].from, id, TRUC_TYPE_DELIVERY_RECEIPT, cases[i].to);
        facts->kind = HUB_EVENT_DELIVERY_RECEIPT;
        seal_row(world, cases[i].from);
        assert_int_equal(world->leaf.outcomes[0].code, cases[i].outcome);
    }
    /* Receipts for what was delivered before the grant was withdrawn still arrive. */
    struct hub_governance withdraw = {.act = HUB_ACT_WITHDRAW_GRANT, .grant = truc_bytes_of("r")};
    assert_int_equal(govern(world, &withdraw), TRUC_OUTCOME_ACCEPTED);
    add_event(world, "H16", "late", TRUC_TYPE_DELIVERY_RECEIPT, "H14")->kind = HUB_EVENT_DELIVERY_RECEIPT;
    seal_row(world, "H16");
    assert_int_equal(world->leaf.outcomes[0].code, TRUC_OUTCOME_ACCEPTED);
}

static void an_act_judges_the_events_behind_it_in_its_seal(void **state)
{
    struct world *world = *state;
    const struct hub_governance grant = grant_of("now", "H01", "H15", "land.*");
    struct hub_governance revoke = {.act = HUB_ACT_REVOKE_KEY, .agency = "H01"};
    keyid_of("H01", revoke.key.keyid);
    revoke.key.present = true;
    (void)add_event(world, "H01", "a", "land.x.v1", "H15");
    (void)add_order(world, "H01", "b", &grant);
    (void)add_event(world, "H01", "c", "land.x.v1", "H15");
    (void)add_order(world, "H01", "d", &revoke);
    (void)add_event(world, "H01", "e", "land.x.v1", "H15");
    seal_row(world, "H01");
    static const uint8_t expected[] = {TRUC_NOT_GRANTED, 0, 0, 0, TRUC_KEY_REVOKED};
    for (size_t i = 0; i < sizeof expected; i++) {
        assert_int_equal(world->leaf.outcomes[i].code, expected[i]);
    }
    /* A seal of that key that was on its way already is in the log, and nothing in it takes effect. */
    assert_int_equal(send_event(world, "H01", "f", "land.x.v1", "H15"), TRUC_KEY_REVOKED);
}

static void an_event_expires_with_its_inbox_at_the_latest(void **state)
{
    struct world *world = *state;
    add_event(world, "H14", "a", "dossier.x.v1", "H15")->expires_us = world->now + SECOND;
    add_event(world, "H14", "b", "dossier.x.v1", "H15")->expires_us = INT64_MAX;
    (void)add_event(world, "H14", "c", "dossier.x.v1", "H15");
    seal_row(world, "H14");
    assert_int_equal(posting_of(world, "H15", 1).expires_us, world->now + SECOND);
    assert_int_equal(posting_of(world, "H15", 2).expires_us, world->now + 2592000 * SECOND);
    assert_int_equal(posting_of(world, "H15", 3).expires_us, world->now + 2592000 * SECOND);
}

static void seals_that_could_not_be_journaled_are_errors(void **state)
{
    (void)state;
    for (int i = 0; i < 6; i++) {
        struct world world;
        world_begin(&world);
        (void)add_event(&world, "H14", "a", "dossier.x.v1", "H15");
        struct hub_input input = seal_of(&world, "H14");
        struct truc_seal *seal = &input.u.seal.seal;
        switch (i) {
        case 0:
            seal->count = 0;
            break;
        case 1:
            seal->count = 1025;
            break;
        case 2:
            keyid_of("H15", seal->keyid);
            break; /* another agency's key */
        case 3:
            memcpy(seal->sender, "H99", 4);
            break;
        case 4:
            memcpy(seal->origin, "other", 6);
            break;
        case 5:
            seal->number = 2;
            break;
        }
        begin_row(&world);
        assert_int_equal(apply(&world, &input), TRUC_E_INVALID);
        assert_int_equal(hub_core_begin_row(world.core, hub_core_applied(world.core), world.now), TRUC_E_INVALID);
        world_close(&world);
    }
}

static void rows_come_in_order_and_time_never_goes_back(void **state)
{
    struct world *world = *state;
    uint64_t next = hub_core_applied(world->core);
    struct hub_input boot = {.kind = HUB_INPUT_BOOT};
    assert_int_equal(hub_core_begin_row(world->core, next + 1, world->now), TRUC_E_INVALID);
    assert_int_equal(hub_core_begin_row(world->core, next - 1, world->now), TRUC_E_INVALID);
    assert_int_equal(hub_core_begin_row(world->core, next, world->now - 1), TRUC_E_INVALID);
    assert_int_equal(hub_core_begin_row(world->core, next, INT64_MAX), TRUC_E_INVALID);
    assert_int_equal(hub_core_apply(world->core, &boot, &world->effects), TRUC_E_INVALID);
    assert_int_equal(hub_core_end_row(world->core, &world->effects), TRUC_E_INVALID);
    row(world, &boot); /* none of that did harm */
    assert_int_equal(hub_core_applied(world->core), next + 1);
    assert_int_equal(hub_core_accepted_at(world->core), world->now);
}

static void leaves_of_a_row_stay_readable_while_their_buffer_grows(void **state)
{
    struct world *world = *state;
    char id[32];
    begin_row(world);
    for (int i = 0; i < 50; i++) {
        for (int k = 0; k < 100; k++) { /* alternating outcomes make long leaves */
            (void)snprintf(id, sizeof id, "%d-%d", i, k);
            (void)add_event(world, "H14", id, "dossier.x.v1", k % 2 == 0 ? "H15" : "H99");
        }
        assert_ok(apply_sealed(world, "H14"));
    }
    end_row(world);
    size_t leaves = 0;
    for (size_t i = 0; i < world->effects.count; i++) {
        const struct hub_effect *effect = &world->effects.items[i];
        if (effect->kind == HUB_EFFECT_LEAF) {
            assert_ok(truc_leaf_parse(effect->leaf, &world->leaf));
            assert_int_equal(world->leaf.first_sequence, effect->sequence);
            assert_memory_equal(world->leaf.seal_digest.bytes, effect->digest.bytes, TRUC_HASH_SIZE);
            leaves++;
        }
    }
    assert_int_equal(leaves, 50);
    assert_int_equal(effects_of(world, HUB_EFFECT_POSTED), 2500);
}

int main(void)
{
#define STORY(name) cmocka_unit_test_setup_teardown(name, world_setup, world_teardown)
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nothing_comes_before_genesis),
        cmocka_unit_test(genesis_is_signed_by_the_administrator_that_it_enrols_first),
        STORY(a_second_genesis_is_refused),
        STORY(the_first_reason_that_applies_is_given),
        STORY(limits_are_exact),
        STORY(a_duplicate_is_one_after_its_time_as_well),
        STORY(a_duplicate_names_the_first_and_goes_to_nobody),
        STORY(a_refused_event_may_be_mended_and_sent_again),
        STORY(ids_are_forgotten_after_the_horizon),
        STORY(what_is_not_granted_goes_to_nobody),
        STORY(groups_go_to_their_members_but_not_back_to_the_sender),
        STORY(the_older_form_of_a_code_reaches_the_same_agency),
        STORY(the_first_grant_given_sets_the_terms),
        STORY(grants_begin_end_and_are_withdrawn),
        STORY(topics_go_to_granted_subscribers_once),
        STORY(subscriptions_of_one_agency_are_bounded),
        STORY(reserved_types_and_strangers_acts_are_not_granted),
        STORY(delivery_receipts_go_back_where_a_grant_asked_for_them),
        STORY(an_act_judges_the_events_behind_it_in_its_seal),
        STORY(an_event_expires_with_its_inbox_at_the_latest),
        cmocka_unit_test(seals_that_could_not_be_journaled_are_errors),
        STORY(rows_come_in_order_and_time_never_goes_back),
        STORY(leaves_of_a_row_stay_readable_while_their_buffer_grows),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
