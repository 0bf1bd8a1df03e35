/* Administrators' acts: what each changes, and that an impossible one changes nothing. */
#include "test_core_world.h"

static const struct hub_agency *agency_of(const struct world *world, const char *code)
{
    return hub_core_agency(world->core, truc_bytes_of(code));
}

static void an_agency_is_enrolled_once_with_keys_and_groups(void **state)
{
    struct world *world = *state;
    assert_int_equal(enrol(world, "H30", "courts"), TRUC_OUTCOME_ACCEPTED);
    assert_int_equal(effects_of(world, HUB_EFFECT_AGENCY), 1);
    assert_int_equal(effects_of(world, HUB_EFFECT_KEYS), 1);
    assert_int_equal(enrol(world, "H30", "courts"), TRUC_ILLEGAL_TRANSITION);
    reopen(world);
    const struct hub_agency *agency = agency_of(world, "H30");
    assert_non_null(agency);
    assert_int_equal(agency->number, 6);
    assert_string_equal(agency->name, "An office");
    assert_int_equal(agency->group_count, 1);
    assert_string_equal(agency->groups[0], "courts");
    assert_ptr_equal(hub_core_agency_by_number(world->core, 6), agency);
    assert_null(hub_core_agency_by_number(world->core, 0));
    assert_null(hub_core_agency_by_number(world->core, 7));
    struct hub_enrolment same = enrolment_of("H30", HUB_ROLE_AGENCY, NULL);
    const struct hub_signing_key *key = hub_core_key(world->core, same.key.keyid);
    assert_non_null(key);
    assert_int_equal(key->agency, 6);
    assert_int_equal(key->algorithm, TRUC_ALGORITHM_P256);
    assert_int_equal(key->added_at_us, world->now);
    assert_int_equal(key->spki.size, 4);
    assert_non_null(hub_core_transport(world->core, same.transport));
    assert_int_equal(hub_core_key_count(world->core), 6);
    assert_int_equal(hub_core_transport_count(world->core), 6);
    assert_null(hub_core_key_at(world->core, 6));
    assert_null(hub_core_transport_at(world->core, 6));
}

static void a_key_belongs_to_one_agency_for_ever(void **state)
{
    struct world *world = *state;
    struct hub_governance order = {.act = HUB_ACT_ENROL_AGENCY, .enrolment_count = 1};
    order.enrolments[0] = enrolment_of("H31", HUB_ROLE_AGENCY, NULL);
    keyid_of("H14", order.enrolments[0].key.keyid);
    assert_int_equal(govern(world, &order), TRUC_ILLEGAL_TRANSITION);
    order.enrolments[0] = enrolment_of("H14", HUB_ROLE_AGENCY, NULL); /* the transport key of H14 */
    memcpy(order.enrolments[0].agency, "H31", 4);
    keyid_of("H31", order.enrolments[0].key.keyid);
    assert_int_equal(govern(world, &order), TRUC_ILLEGAL_TRANSITION);
    assert_null(agency_of(world, "H31"));
}

static void keys_are_added_and_revoked_once(void **state)
{
    struct world *world = *state;
    struct hub_governance add = {.act = HUB_ACT_ADD_KEY, .agency = "H14"};
    add.key.present = true;
    add.key.algorithm = TRUC_ALGORITHM_ED25519;
    add.key.spki = truc_bytes_of("another");
    keyid_of("second key", add.key.keyid);
    assert_int_equal(govern(world, &add), TRUC_OUTCOME_ACCEPTED);
    assert_int_equal(effects_of(world, HUB_EFFECT_KEYS), 1);
    assert_int_equal(govern(world, &add), TRUC_ILLEGAL_TRANSITION);
    struct hub_governance revoke = {.act = HUB_ACT_REVOKE_KEY, .agency = "H15", .key = add.key};
    assert_int_equal(govern(world, &revoke), TRUC_ILLEGAL_TRANSITION); /* not that agency's */
    memcpy(revoke.agency, "H14", 4);
    world->now += SECOND;
    assert_int_equal(govern(world, &revoke), TRUC_OUTCOME_ACCEPTED);
    reopen(world);
    assert_int_equal(hub_core_key(world->core, add.key.keyid)->revoked_at_us, world->now);
    assert_int_equal(govern(world, &revoke), TRUC_ILLEGAL_TRANSITION);
    assert_int_equal(govern(world, &add), TRUC_ILLEGAL_TRANSITION); /* a revoked key does not come back */
    keyid_of("never seen", revoke.key.keyid);
    assert_int_equal(govern(world, &revoke), TRUC_ILLEGAL_TRANSITION);
    /* The chain goes on across the keys: H14's own one is untouched. */
    assert_int_equal(send_event(world, "H14", "a", "dossier.x.v1", "H15"), TRUC_OUTCOME_ACCEPTED);
}

static void transport_keys_are_added_and_revoked_once(void **state)
{
    struct world *world = *state;
    struct hub_governance add = {.act = HUB_ACT_ADD_KEY, .agency = "H14", .has_transport = true, .transport = {1, 2}};
    struct hub_governance revoke = {
        .act = HUB_ACT_REVOKE_KEY, .agency = "H14", .has_transport = true, .transport = {1, 2}};
    assert_int_equal(govern(world, &revoke), TRUC_ILLEGAL_TRANSITION);
    assert_int_equal(govern(world, &add), TRUC_OUTCOME_ACCEPTED);
    assert_int_equal(govern(world, &add), TRUC_ILLEGAL_TRANSITION);
    assert_int_equal(govern(world, &revoke), TRUC_OUTCOME_ACCEPTED);
    assert_int_equal(govern(world, &revoke), TRUC_ILLEGAL_TRANSITION);
    reopen(world);
    assert_int_equal(hub_core_transport(world->core, add.transport)->revoked_at_us, world->now);
    add.key.present = true; /* an order of two things at once is none */
    assert_int_equal(govern(world, &add), TRUC_ILLEGAL_TRANSITION);
}

static void a_suspended_agency_sends_nothing_but_its_mail_waits(void **state)
{
    struct world *world = *state;
    assert_int_equal(simple_order(world, HUB_ACT_SUSPEND_AGENCY, "H14"), TRUC_OUTCOME_ACCEPTED);
    assert_int_equal(effects_of(world, HUB_EFFECT_AGENCY), 1);
    assert_int_equal(simple_order(world, HUB_ACT_SUSPEND_AGENCY, "H14"), TRUC_ILLEGAL_TRANSITION);
    assert_int_equal(send_event(world, "H14", "a", "dossier.x.v1", "H15"), TRUC_SUSPENDED);
    assert_int_equal(simple_order(world, HUB_ACT_RESUME_AGENCY, "H14"), TRUC_OUTCOME_ACCEPTED);
    assert_int_equal(simple_order(world, HUB_ACT_RESUME_AGENCY, "H14"), TRUC_ILLEGAL_TRANSITION);
    assert_int_equal(simple_order(world, HUB_ACT_SUSPEND_AGENCY, "H15"), TRUC_OUTCOME_ACCEPTED);
    reopen(world);
    assert_true(agency_of(world, "H15")->suspended);
    assert_int_equal(send_event(world, "H14", "a", "dossier.x.v1", "H15"), TRUC_OUTCOME_ACCEPTED);
    assert_int_equal(agency_of(world, "H15")->pending, 1);
    assert_int_equal(simple_order(world, HUB_ACT_SUSPEND_AGENCY, "H99"), TRUC_ILLEGAL_TRANSITION);
}

static void the_last_administrator_cannot_be_locked_out(void **state)
{
    struct world *world = *state;
    struct hub_governance revoke = {.act = HUB_ACT_REVOKE_KEY, .agency = "H01"};
    revoke.key.present = true;
    keyid_of("H01", revoke.key.keyid);
    assert_int_equal(simple_order(world, HUB_ACT_SUSPEND_AGENCY, "H02"), TRUC_OUTCOME_ACCEPTED);
    assert_int_equal(govern(world, &revoke), TRUC_ILLEGAL_TRANSITION);
    assert_int_equal(simple_order(world, HUB_ACT_SUSPEND_AGENCY, "H01"), TRUC_ILLEGAL_TRANSITION);
    assert_int_equal(simple_order(world, HUB_ACT_RESUME_AGENCY, "H02"), TRUC_OUTCOME_ACCEPTED);
    assert_int_equal(govern(world, &revoke), TRUC_OUTCOME_ACCEPTED);
}

/* A signing key governs nothing where its owner has no way in. */
static void an_administrator_who_cannot_connect_does_not_count(void **state)
{
    struct world *world = *state;
    struct hub_enrolment second = enrolment_of("H02", HUB_ROLE_ADMINISTRATOR, NULL);
    struct hub_enrolment first = enrolment_of("H01", HUB_ROLE_ADMINISTRATOR, NULL);
    struct hub_governance revoke = {.act = HUB_ACT_REVOKE_KEY, .agency = "H02", .has_transport = true};
    memcpy(revoke.transport, second.transport, sizeof revoke.transport);
    assert_int_equal(govern(world, &revoke), TRUC_OUTCOME_ACCEPTED);
    memcpy(revoke.agency, "H01", sizeof "H01");
    memcpy(revoke.transport, first.transport, sizeof revoke.transport);
    assert_int_equal(govern(world, &revoke), TRUC_ILLEGAL_TRANSITION);
    assert_int_equal(simple_order(world, HUB_ACT_SUSPEND_AGENCY, "H01"), TRUC_ILLEGAL_TRANSITION);
    struct hub_governance add = {.act = HUB_ACT_ADD_KEY, .agency = "H02", .has_transport = true, .transport = {9}};
    assert_int_equal(govern(world, &add), TRUC_OUTCOME_ACCEPTED);
    assert_int_equal(govern(world, &revoke), TRUC_OUTCOME_ACCEPTED);
}

static void an_agency_is_enrolled_with_its_quota(void **state)
{
    struct world *world = *state;
    struct hub_governance order = {.act = HUB_ACT_ENROL_AGENCY, .enrolment_count = 1};
    order.enrolments[0] = enrolment_of("H40", HUB_ROLE_AGENCY, NULL);
    order.enrolments[0].quota_events_per_s = 7;
    order.enrolments[0].quota_bytes_per_s = 9000;
    assert_int_equal(govern(world, &order), TRUC_OUTCOME_ACCEPTED);
    reopen(world);
    assert_int_equal(agency_of(world, "H40")->quota_events_per_s, 7);
    assert_int_equal(agency_of(world, "H40")->quota_bytes_per_s, 9000);
}

static void grants_name_known_parties_and_are_unique_for_ever(void **state)
{
    struct world *world = *state;
    assert_int_equal(give_grant(world, "g1", "H14", "H15", "land.*"), TRUC_ILLEGAL_TRANSITION);
    assert_int_equal(give_grant(world, "g2", "H99", "H15", "land.*"), TRUC_ILLEGAL_TRANSITION);
    assert_int_equal(give_grant(world, "g2", "H14", "H99", "land.*"), TRUC_ILLEGAL_TRANSITION);
    assert_int_equal(give_grant(world, "g2", "H14", "@", "land.*"), TRUC_ILLEGAL_TRANSITION);
    assert_int_equal(give_grant(world, "g2", "H14", "H15", "Land"), TRUC_ILLEGAL_TRANSITION);
    assert_int_equal(give_grant(world, "", "H14", "H15", "land.*"), TRUC_ILLEGAL_TRANSITION);
    struct hub_governance never = grant_of("g2", "H14", "H15", "land.*");
    never.valid_from_us = never.valid_until_us = world->now;
    assert_int_equal(govern(world, &never), TRUC_ILLEGAL_TRANSITION);
    assert_int_equal(give_grant(world, "g2", "@offices", "@not-yet", "land.*"), TRUC_OUTCOME_ACCEPTED);
    struct hub_governance withdraw = {.act = HUB_ACT_WITHDRAW_GRANT, .grant = truc_bytes_of("g2")};
    assert_int_equal(govern(world, &withdraw), TRUC_OUTCOME_ACCEPTED);
    assert_int_equal(give_grant(world, "g2", "H14", "H15", "land.*"), TRUC_ILLEGAL_TRANSITION);
    withdraw.grant = truc_bytes_of("g3");
    assert_int_equal(govern(world, &withdraw), TRUC_ILLEGAL_TRANSITION);
    reopen(world);
    assert_int_equal(hub_core_grant_count(world->core), 2);
    const struct hub_grant *grant = hub_core_grant_at(world->core, 1);
    assert_string_equal(grant->grant, "g2");
    assert_string_equal(grant->from, "@offices");
    assert_string_equal(grant->to, "@not-yet");
    assert_string_equal(grant->type, "land.*");
    assert_string_equal(grant->legal_basis, "Decree 61/2018");
    assert_int_equal(grant->withdrawn_at_us, world->now);
    assert_null(hub_core_grant_at(world->core, 2));
}

static void who_joins_a_group_later_has_its_grants(void **state)
{
    struct world *world = *state;
    assert_int_equal(give_grant(world, "g2", "H14", "@courts", "land.*"), TRUC_OUTCOME_ACCEPTED);
    assert_int_equal(send_event(world, "H14", "a", "land.x.v1", "@courts"), TRUC_NO_RECIPIENT);
    reopen(world);
    assert_int_equal(enrol(world, "H40", "courts"), TRUC_OUTCOME_ACCEPTED);
    assert_int_equal(send_event(world, "H14", "a", "land.x.v1", "@courts"), TRUC_OUTCOME_ACCEPTED);
    assert_int_equal(agency_of(world, "H40")->pending, 1);
}

static void what_was_ever_granted_is_known(void **state)
{
    struct world *world = *state;
    uint32_t h15 = number_of(world, "H15");
    const struct truc_bytes h14 = truc_bytes_of("H14"), land = truc_bytes_of("land.x.v1");
    assert_false(hub_core_was_granted(world->core, h14, h15, land));
    assert_int_equal(give_grant(world, "g2", "H14", "@offices", "land.*"), TRUC_OUTCOME_ACCEPTED);
    struct hub_governance withdraw = {.act = HUB_ACT_WITHDRAW_GRANT, .grant = truc_bytes_of("g2")};
    assert_int_equal(govern(world, &withdraw), TRUC_OUTCOME_ACCEPTED);
    assert_true(hub_core_was_granted(world->core, h14, h15, land));
    assert_false(hub_core_was_granted(world->core, h14, h15, truc_bytes_of("tax.x.v1")));
    assert_false(hub_core_was_granted(world->core, h14, number_of(world, "H14"), land)); /* not in the group */
    assert_false(hub_core_was_granted(world->core, truc_bytes_of("H15"), h15, land));
    assert_false(hub_core_was_granted(world->core, truc_bytes_of("H99"), h15, land));
    assert_false(hub_core_was_granted(world->core, h14, 99, land));
}

static void subscriptions_are_added_and_removed_once(void **state)
{
    struct world *world = *state;
    struct hub_governance order = {
        .act = HUB_ACT_ADD_SUBSCRIPTION, .agency = "H15", .type = truc_bytes_of("dossier.*")};
    assert_int_equal(govern(world, &order), TRUC_OUTCOME_ACCEPTED);
    assert_int_equal(govern(world, &order), TRUC_ILLEGAL_TRANSITION);
    order.source_agency = truc_bytes_of("H14");
    assert_int_equal(govern(world, &order), TRUC_OUTCOME_ACCEPTED); /* a narrower one is another one */
    assert_string_equal(hub_core_subscription_at(world->core, 1)->source_agency, "H14");
    order.act = HUB_ACT_REMOVE_SUBSCRIPTION;
    assert_int_equal(govern(world, &order), TRUC_OUTCOME_ACCEPTED);
    assert_int_equal(govern(world, &order), TRUC_ILLEGAL_TRANSITION);
    assert_int_equal(hub_core_subscription_count(world->core), 1);
    assert_null(hub_core_subscription_at(world->core, 1));
    order.act = HUB_ACT_ADD_SUBSCRIPTION;
    order.type = truc_bytes_of("*x");
    assert_int_equal(govern(world, &order), TRUC_ILLEGAL_TRANSITION);
    memcpy(order.agency, "H99", 4);
    assert_int_equal(govern(world, &order), TRUC_ILLEGAL_TRANSITION);
}

static void parameters_change_what_comes_after(void **state)
{
    struct world *world = *state;
    struct hub_governance order = {.act = HUB_ACT_PARAMETERS};
    order.parameters.event_bytes = 1024;
    order.parameters.max_attempts = 1;
    assert_int_equal(govern(world, &order), TRUC_OUTCOME_ACCEPTED);
    assert_int_equal(effects_of(world, HUB_EFFECT_PARAMETERS), 1);
    reopen(world);
    assert_int_equal(hub_core_parameters(world->core)->event_bytes, 1024);
    assert_int_equal(hub_core_parameters(world->core)->max_attempts, 1);
    assert_int_equal(hub_core_parameters(world->core)->hold_s, 86400); /* 0: unchanged */
    add_event(world, "H14", "a", "dossier.x.v1", "H15")->size = 1025;
    add_event(world, "H14", "b", "dossier.x.v1", "H15")->size = 1024;
    seal_row(world, "H14");
    assert_int_equal(world->leaf.outcomes[0].code, TRUC_TOO_LARGE);
    assert_int_equal(world->leaf.outcomes[1].code, TRUC_OUTCOME_ACCEPTED);
    nack_row(world, "H15", 1, 0, false, "");
    assert_int_equal(effects_of(world, HUB_EFFECT_DEAD), 1);
}

static void parameters_stay_within_the_protocol(void **state)
{
    struct world *world = *state;
    struct hub_governance order = {.act = HUB_ACT_PARAMETERS};
    order.parameters.hold_s = 1;
    order.parameters.seal_events = TRUC_SEAL_EVENTS_MAX + 1;
    assert_int_equal(govern(world, &order), TRUC_ILLEGAL_TRANSITION);
    order.parameters.seal_events = 0;
    order.parameters.event_bytes = 1023; /* no act that mends this would fit */
    assert_int_equal(govern(world, &order), TRUC_ILLEGAL_TRANSITION);
    order.parameters.event_bytes = TRUC_EVENT_MAX + 1;
    assert_int_equal(govern(world, &order), TRUC_ILLEGAL_TRANSITION);
    assert_int_equal(hub_core_parameters(world->core)->hold_s, 86400); /* not in half */
}

static void a_quota_is_an_agencys(void **state)
{
    struct world *world = *state;
    struct hub_governance order = {
        .act = HUB_ACT_SET_QUOTA, .agency = "H14", .quota_events_per_s = 7, .quota_bytes_per_s = 1u << 20};
    assert_int_equal(govern(world, &order), TRUC_OUTCOME_ACCEPTED);
    assert_int_equal(world->effects.items[1].kind, HUB_EFFECT_PARAMETERS);
    assert_int_equal(world->effects.items[1].agency, number_of(world, "H14"));
    reopen(world);
    assert_int_equal(agency_of(world, "H14")->quota_events_per_s, 7);
    assert_int_equal(agency_of(world, "H14")->quota_bytes_per_s, 1u << 20);
    memcpy(order.agency, "H99", 4);
    assert_int_equal(govern(world, &order), TRUC_ILLEGAL_TRANSITION);
}

static void orders_that_say_nothing_known_are_invalid(void **state)
{
    struct world *world = *state;
    struct hub_governance order = {.act = (enum hub_act)99};
    assert_int_equal(govern(world, &order), TRUC_INVALID_PAYLOAD);
    assert_int_equal(govern(world, NULL), TRUC_INVALID_PAYLOAD);
    order = (struct hub_governance){.act = HUB_ACT_ENROL_AGENCY};
    assert_int_equal(govern(world, &order), TRUC_ILLEGAL_TRANSITION);
}

static void an_auditor_does_not_govern(void **state)
{
    struct world *world = *state;
    struct hub_governance order = {.act = HUB_ACT_ENROL_AGENCY, .enrolment_count = 1};
    order.enrolments[0] = enrolment_of("H50", HUB_ROLE_AUDITOR, NULL);
    assert_int_equal(govern(world, &order), TRUC_OUTCOME_ACCEPTED);
    order.enrolments[0] = enrolment_of("H51", HUB_ROLE_AGENCY, NULL);
    (void)add_order(world, "H50", "x", &order);
    seal_row(world, "H50");
    assert_int_equal(world->leaf.outcomes[0].code, TRUC_NOT_GRANTED);
    assert_null(agency_of(world, "H51"));
    assert_int_equal(agency_of(world, "H50")->role, HUB_ROLE_AUDITOR);
}

int main(void)
{
#define STORY(name) cmocka_unit_test_setup_teardown(name, world_setup, world_teardown)
    const struct CMUnitTest tests[] = {
        STORY(an_agency_is_enrolled_once_with_keys_and_groups),
        STORY(a_key_belongs_to_one_agency_for_ever),
        STORY(keys_are_added_and_revoked_once),
        STORY(transport_keys_are_added_and_revoked_once),
        STORY(a_suspended_agency_sends_nothing_but_its_mail_waits),
        STORY(the_last_administrator_cannot_be_locked_out),
        STORY(an_administrator_who_cannot_connect_does_not_count),
        STORY(an_agency_is_enrolled_with_its_quota),
        STORY(grants_name_known_parties_and_are_unique_for_ever),
        STORY(who_joins_a_group_later_has_its_grants),
        STORY(what_was_ever_granted_is_known),
        STORY(subscriptions_are_added_and_removed_once),
        STORY(parameters_change_what_comes_after),
        STORY(parameters_stay_within_the_protocol),
        STORY(a_quota_is_an_agencys),
        STORY(orders_that_say_nothing_known_are_invalid),
        STORY(an_auditor_does_not_govern),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
