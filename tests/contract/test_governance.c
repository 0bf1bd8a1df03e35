/* Governance acts are read strictly: what an administrator signed is what takes effect, or nothing does. */
#include "tests/contract/fixture.h"

#include "hub/store/governance.h"
#include "truc/note.h"

struct world {
    struct truc_arena *arena;
    struct truc_key *key;
    struct truc_buffer bytes;
};

static int set_up(void **state)
{
    struct world *world = calloc(1, sizeof *world);
    assert_non_null(world);
    assert_ok(truc_arena_new(HUB_GOVERNANCE_ARENA, &world->arena));
    assert_ok(truc_key_generate(TRUC_ALGORITHM_P256, &world->key));
    *state = world;
    return 0;
}

static int tear_down(void **state)
{
    struct world *world = *state;
    truc_buffer_close(&world->bytes);
    truc_key_free(&world->key);
    truc_arena_free(&world->arena);
    free(world);
    return 0;
}

static struct truc_bytes pack(struct world *world, const Truc__V1__Governance *act)
{
    truc_buffer_clear(&world->bytes);
    assert_ok(truc_buffer_reserve(&world->bytes, truc__v1__governance__get_packed_size(act) + 1));
    world->bytes.size = truc__v1__governance__pack(act, world->bytes.data);
    return truc_buffer_view(&world->bytes);
}

static truc_error decode(struct world *world, const Truc__V1__Governance *act, const struct hub_governance **out)
{
    truc_arena_reset(world->arena);
    return hub_governance_decode(pack(world, act), world->arena, out);
}

static ProtobufCBinaryData binary(struct truc_bytes bytes)
{
    return (ProtobufCBinaryData){bytes.size, (uint8_t *)(uintptr_t)bytes.data};
}

/* An act that enrols one agency, and what it points to. */
struct enrolment_act {
    Truc__V1__Governance act;
    Truc__V1__EnrolAgency enrol;
    char *groups[17];
    uint8_t transport[32];
};

static void fill_enrolment(struct enrolment_act *it, struct world *world)
{
    *it = (struct enrolment_act){.act = TRUC__V1__GOVERNANCE__INIT,
                                 .enrol = TRUC__V1__ENROL_AGENCY__INIT,
                                 .groups = {"land", "H14"},
                                 .transport = {1, 2, 3}};
    it->act.reason = "new desk";
    it->act.act_case = TRUC__V1__GOVERNANCE__ACT_ENROL_AGENCY;
    it->act.enrol_agency = &it->enrol;
    it->enrol.agency = "H14.09";
    it->enrol.name = "Phòng Tài nguyên";
    it->enrol.role = TRUC__V1__ROLE__ROLE_AUDITOR;
    it->enrol.n_groups = 2;
    it->enrol.groups = it->groups;
    it->enrol.transport_key = binary(truc_bytes(it->transport, 32));
    it->enrol.spki = binary(truc_key_spki(world->key));
    it->enrol.quota_events_per_s = 5;
    it->enrol.quota_bytes_per_s = UINT64_C(1) << 40;
}

static void an_agency_is_enrolled_with_its_keys_and_groups(void **state)
{
    struct world *world = *state;
    const struct hub_governance *seen;
    struct enrolment_act it;
    fill_enrolment(&it, world);
    assert_ok(decode(world, &it.act, &seen));
    assert_int_equal(seen->act, HUB_ACT_ENROL_AGENCY);
    assert_true(truc_bytes_equal(seen->reason, truc_bytes_of("new desk")));
    assert_int_equal(seen->enrolment_count, 1);
    const struct hub_enrolment *enrolment = &seen->enrolments[0];
    assert_string_equal(enrolment->agency, "H14.09");
    assert_int_equal(enrolment->role, HUB_ROLE_AUDITOR);
    assert_int_equal(enrolment->group_count, 2);
    assert_true(truc_bytes_equal(enrolment->groups[1], truc_bytes_of("H14")));
    assert_int_equal(enrolment->quota_events_per_s, 5);
    assert_true(enrolment->quota_bytes_per_s == UINT64_C(1) << 40);
    assert_true(enrolment->has_transport);
    assert_memory_equal(enrolment->transport, it.transport, 32);
    assert_true(enrolment->key.present);
    assert_string_equal(enrolment->key.keyid, truc_key_id(world->key));
    assert_int_equal(enrolment->key.algorithm, TRUC_ALGORITHM_P256);
    assert_true(truc_bytes_equal(enrolment->key.spki, truc_key_spki(world->key)));
}

static void an_enrolment_that_is_wrong_anywhere_enrols_nobody(void **state)
{
    struct world *world = *state;
    const struct hub_governance *seen;
    struct enrolment_act it;
    fill_enrolment(&it, world);
    it.groups[1] = "land"; /* twice the same */
    assert_int_equal(decode(world, &it.act, &seen), TRUC_E_MALFORMED);
    it.groups[1] = "@land"; /* the sign belongs to recipients */
    assert_int_equal(decode(world, &it.act, &seen), TRUC_E_MALFORMED);
    it.groups[1] = "H14";
    it.enrol.role = (Truc__V1__Role)3;
    assert_int_equal(decode(world, &it.act, &seen), TRUC_E_MALFORMED);
    it.enrol.role = TRUC__V1__ROLE__ROLE_AGENCY;
    it.enrol.transport_key.len = 31;
    assert_int_equal(decode(world, &it.act, &seen), TRUC_E_MALFORMED);
    it.enrol.transport_key.len = 32;
    it.enrol.spki.len--;
    assert_int_equal(decode(world, &it.act, &seen), TRUC_E_MALFORMED);
    it.enrol.spki.len++;
    it.enrol.agency = "h14.09";
    assert_int_equal(decode(world, &it.act, &seen), TRUC_E_MALFORMED);
    it.enrol.agency = "H14.09";
    it.enrol.name = "two\nlines";
    assert_int_equal(decode(world, &it.act, &seen), TRUC_E_MALFORMED);
    it.enrol.name = "";
    it.enrol.n_groups = 17;
    for (int i = 0; i < 17; i++) {
        static char names[17][3];
        (void)snprintf(names[i], 3, "g%c", 'a' + i);
        it.groups[i] = names[i];
    }
    assert_int_equal(decode(world, &it.act, &seen), TRUC_E_MALFORMED);
    it.enrol.n_groups = 16;
    assert_ok(decode(world, &it.act, &seen));
}

static void genesis_binds_origin_note_key_and_administrators(void **state)
{
    struct world *world = *state;
    const struct hub_governance *seen;
    Truc__V1__Governance act = TRUC__V1__GOVERNANCE__INIT;
    Truc__V1__Genesis genesis = TRUC__V1__GENESIS__INIT;
    Truc__V1__Parameters parameters = TRUC__V1__PARAMETERS__INIT;
    Truc__V1__EnrolAgency enrol = TRUC__V1__ENROL_AGENCY__INIT, *list[9];
    struct truc_key *note = NULL;
    struct truc_note_verifier verifier;
    struct truc_buffer text = {0};
    assert_ok(truc_key_generate(TRUC_ALGORITHM_ED25519, &note));
    assert_ok(truc_note_verifier_make("example.gov/truc", note, &verifier));
    assert_ok(truc_note_verifier_text(&verifier, &text));
    assert_ok(truc_buffer_append(&text, "", 1));
    for (int i = 0; i < 9; i++) {
        list[i] = &enrol;
    }
    act.act_case = TRUC__V1__GOVERNANCE__ACT_GENESIS;
    act.genesis = &genesis;
    genesis.origin = "example.gov/truc";
    genesis.note_key = (char *)text.data;
    genesis.n_administrators = 2;
    genesis.administrators = list;
    genesis.parameters = &parameters;
    parameters.max_attempts = 3;
    enrol.agency = "TRUC.ADMIN.1";
    enrol.role = TRUC__V1__ROLE__ROLE_ADMINISTRATOR;
    assert_ok(decode(world, &act, &seen));
    assert_true(truc_bytes_equal(seen->origin, truc_bytes_of("example.gov/truc")));
    assert_int_equal(seen->enrolment_count, 2);
    assert_int_equal(seen->parameters.max_attempts, 3);
    assert_false(seen->enrolments[1].key.present);
    genesis.origin = "example.gov/other"; /* the key is another log's */
    assert_int_equal(decode(world, &act, &seen), TRUC_E_MALFORMED);
    genesis.origin = "example.gov/truc";
    genesis.n_administrators = 9;
    assert_int_equal(decode(world, &act, &seen), TRUC_E_MALFORMED);
    genesis.n_administrators = 0;
    assert_int_equal(decode(world, &act, &seen), TRUC_E_MALFORMED);
    genesis.n_administrators = 1;
    parameters.event_bytes = TRUC_EVENT_MAX + 1; /* over the protocol's own limit */
    assert_int_equal(decode(world, &act, &seen), TRUC_E_MALFORMED);
    truc_note_verifier_close(&verifier);
    truc_key_free(&note);
    truc_buffer_close(&text);
}

static void grants_name_parties_and_patterns(void **state)
{
    struct world *world = *state;
    const struct hub_governance *seen;
    Truc__V1__Governance act = TRUC__V1__GOVERNANCE__INIT;
    Truc__V1__GiveGrant grant = TRUC__V1__GIVE_GRANT__INIT;
    act.act_case = TRUC__V1__GOVERNANCE__ACT_GIVE_GRANT;
    act.give_grant = &grant;
    grant.grant = "desk-to-land";
    grant.from = "H14.09";
    grant.to = "@land";
    grant.type = "vn.land.*";
    grant.legal_basis = "Nghị định 61/2018/NĐ-CP";
    grant.valid_from_us = 5;
    grant.valid_until_us = 6;
    grant.delivery_receipts = 1;
    grant.hold_s = 60;
    assert_ok(decode(world, &act, &seen));
    assert_true(seen->delivery_receipts && !seen->skip_dead_letters && seen->hold_s == 60);
    assert_true(truc_bytes_equal(seen->to, truc_bytes_of("@land")));
    assert_true(seen->valid_until_us == 6);
    grant.valid_until_us = 5;
    assert_int_equal(decode(world, &act, &seen), TRUC_E_MALFORMED);
    grant.valid_until_us = 0;
    grant.type = "vn.*.land";
    assert_int_equal(decode(world, &act, &seen), TRUC_E_MALFORMED);
    grant.type = "*";
    assert_ok(decode(world, &act, &seen));
    grant.to = "@";
    assert_int_equal(decode(world, &act, &seen), TRUC_E_MALFORMED);
    grant.to = "";
    assert_int_equal(decode(world, &act, &seen), TRUC_E_MALFORMED);
    grant.to = "H1";
    grant.grant = "";
    assert_int_equal(decode(world, &act, &seen), TRUC_E_MALFORMED);
}

static void keys_are_added_and_revoked_one_at_a_time(void **state)
{
    struct world *world = *state;
    const struct hub_governance *seen;
    Truc__V1__Governance act = TRUC__V1__GOVERNANCE__INIT;
    Truc__V1__AddKey add;
    Truc__V1__RevokeKey revoke = TRUC__V1__REVOKE_KEY__INIT;
    uint8_t transport[32] = {9};
    char keyid[TRUC_KEYID_HEX + 1];
    truc__v1__add_key__init(&add);
    act.act_case = TRUC__V1__GOVERNANCE__ACT_ADD_KEY;
    act.add_key = &add;
    add.agency = "H1";
    assert_int_equal(decode(world, &act, &seen), TRUC_E_MALFORMED); /* no key at all */
    add.key_case = TRUC__V1__ADD_KEY__KEY_SPKI;
    add.spki = binary(truc_key_spki(world->key));
    assert_ok(decode(world, &act, &seen));
    assert_true(seen->key.present && !seen->has_transport);
    add.key_case = TRUC__V1__ADD_KEY__KEY_TRANSPORT_KEY;
    add.transport_key = binary(truc_bytes(transport, 32));
    assert_ok(decode(world, &act, &seen));
    assert_true(!seen->key.present && seen->has_transport);
    act.act_case = TRUC__V1__GOVERNANCE__ACT_REVOKE_KEY;
    act.revoke_key = &revoke;
    revoke.agency = "H1";
    revoke.key_case = TRUC__V1__REVOKE_KEY__KEY_KEYID;
    memcpy(keyid, truc_key_id(world->key), sizeof keyid);
    revoke.keyid = keyid;
    assert_ok(decode(world, &act, &seen));
    assert_string_equal(seen->key.keyid, keyid);
    keyid[3] = 'G';
    assert_int_equal(decode(world, &act, &seen), TRUC_E_MALFORMED);
    keyid[63] = '\0';
    assert_int_equal(decode(world, &act, &seen), TRUC_E_MALFORMED);
}

static void a_replay_lists_what_it_replays(void **state)
{
    struct world *world = *state;
    const struct hub_governance *seen;
    Truc__V1__Governance act = TRUC__V1__GOVERNANCE__INIT;
    Truc__V1__OrderReplay replay = TRUC__V1__ORDER_REPLAY__INIT;
    Truc__V1__ReplayItem items[200], *list[200];
    for (size_t i = 0; i < 200; i++) {
        truc__v1__replay_item__init(&items[i]);
        items[i].sequence = i + 1;
        items[i].leaf_index = i;
        items[i].index = (uint32_t)i;
        items[i].size = 1000;
        items[i].subject = UINT64_MAX - i;
        items[i].sender = "H1";
        items[i].type = "vn.land.parcel.v1";
        list[i] = &items[i];
    }
    act.act_case = TRUC__V1__GOVERNANCE__ACT_ORDER_REPLAY;
    act.order_replay = &replay;
    replay.to = "H2";
    replay.items = list;
    replay.n_items = 200;
    assert_ok(decode(world, &act, &seen));
    assert_string_equal(seen->agency, "H2");
    assert_int_equal(seen->replay_count, 200);
    assert_true(seen->replay[199].sequence == 200 && seen->replay[199].subject == UINT64_MAX - 199);
    assert_string_equal(seen->replay[7].sender, "H1");
    items[100].sequence = 0;
    assert_int_equal(decode(world, &act, &seen), TRUC_E_MALFORMED);
    replay.n_items = 0;
    assert_int_equal(decode(world, &act, &seen), TRUC_E_MALFORMED);
}

static void the_small_acts_are_read(void **state)
{
    struct world *world = *state;
    const struct hub_governance *seen;
    Truc__V1__Governance act = TRUC__V1__GOVERNANCE__INIT;
    Truc__V1__AgencyRef agency = TRUC__V1__AGENCY_REF__INIT;
    Truc__V1__WithdrawGrant withdraw = TRUC__V1__WITHDRAW_GRANT__INIT;
    Truc__V1__Subscription subscription = TRUC__V1__SUBSCRIPTION__INIT;
    Truc__V1__DeadLetterAct dead = TRUC__V1__DEAD_LETTER_ACT__INIT;
    Truc__V1__SetQuota quota = TRUC__V1__SET_QUOTA__INIT;
    agency.agency = "H1";
    act.act_case = TRUC__V1__GOVERNANCE__ACT_RESUME_AGENCY;
    act.resume_agency = &agency;
    assert_ok(decode(world, &act, &seen));
    assert_int_equal(seen->act, HUB_ACT_RESUME_AGENCY);
    withdraw.grant = "g";
    act.act_case = TRUC__V1__GOVERNANCE__ACT_WITHDRAW_GRANT;
    act.withdraw_grant = &withdraw;
    assert_ok(decode(world, &act, &seen));
    assert_true(truc_bytes_equal(seen->grant, truc_bytes_of("g")));
    subscription.agency = "H1";
    subscription.type = "vn.*";
    act.act_case = TRUC__V1__GOVERNANCE__ACT_ADD_SUBSCRIPTION;
    act.add_subscription = &subscription;
    assert_ok(decode(world, &act, &seen));
    assert_int_equal(seen->source_agency.size, 0);
    subscription.source_agency = "not a code";
    assert_int_equal(decode(world, &act, &seen), TRUC_E_MALFORMED);
    dead.agency = "H1";
    dead.number = 3;
    dead.verb = TRUC__V1__DEAD_LETTER_ACT__VERB__DROP;
    act.act_case = TRUC__V1__GOVERNANCE__ACT_DEAD_LETTER;
    act.dead_letter = &dead;
    assert_ok(decode(world, &act, &seen));
    assert_true(seen->drop && seen->number == 3);
    dead.verb = (Truc__V1__DeadLetterAct__Verb)2;
    assert_int_equal(decode(world, &act, &seen), TRUC_E_MALFORMED);
    quota.agency = "H1";
    quota.bytes_per_s = UINT64_MAX;
    act.act_case = TRUC__V1__GOVERNANCE__ACT_SET_QUOTA;
    act.set_quota = &quota;
    assert_ok(decode(world, &act, &seen));
    assert_true(seen->quota_bytes_per_s == UINT64_MAX && seen->quota_events_per_s == 0);
}

static truc_error decode_bytes(struct world *world, const void *bytes, size_t size)
{
    const struct hub_governance *seen;
    truc_arena_reset(world->arena);
    return hub_governance_decode(truc_bytes(bytes, size), world->arena, &seen);
}

static void nothing_takes_effect_in_half(void **state)
{
    struct world *world = *state;
    static const uint8_t good[] = {0x22, 4, 0x0a, 2, 'H', '7'};
    static const uint8_t two_acts[] = {0x22, 4, 0x0a, 2, 'H', '7', 0x2a, 4, 0x0a, 2, 'H', '8'};
    static const uint8_t twice[] = {0x22, 4, 0x0a, 2, 'H', '7', 0x22, 4, 0x0a, 2, 'H', '8'};
    static const uint8_t unknown_field[] = {0x22, 4, 0x0a, 2, 'H', '7', 0xa0, 0x01, 1};
    static const uint8_t unknown_inside[] = {0x22, 6, 0x0a, 2, 'H', '7', 0x10, 1};
    static const uint8_t with_nul[] = {0x22, 6, 0x0a, 4, 'H', '7', 0, '8'};
    static const uint8_t not_utf8[] = {0x0a, 2, 0xff, 0xfe, 0x22, 4, 0x0a, 2, 'H', '7'};
    assert_ok(decode_bytes(world, good, sizeof good));
    assert_int_equal(decode_bytes(world, two_acts, sizeof two_acts), TRUC_E_MALFORMED);
    assert_int_equal(decode_bytes(world, twice, sizeof twice), TRUC_E_MALFORMED);
    assert_int_equal(decode_bytes(world, unknown_field, sizeof unknown_field), TRUC_E_MALFORMED);
    assert_int_equal(decode_bytes(world, unknown_inside, sizeof unknown_inside), TRUC_E_MALFORMED);
    assert_int_equal(decode_bytes(world, with_nul, sizeof with_nul), TRUC_E_MALFORMED);
    assert_int_equal(decode_bytes(world, not_utf8, sizeof not_utf8), TRUC_E_MALFORMED);
    assert_int_equal(decode_bytes(world, good, sizeof good - 1), TRUC_E_MALFORMED);
    assert_int_equal(decode_bytes(world, good, 0), TRUC_E_MALFORMED);
}

static void hostile_bytes_are_malformed_and_no_more(void **state)
{
    struct world *world = *state;
    Truc__V1__Governance act = TRUC__V1__GOVERNANCE__INIT;
    Truc__V1__EnrolAgency enrol = TRUC__V1__ENROL_AGENCY__INIT;
    char *groups[] = {"land", "tax"};
    uint8_t transport[32] = {1};
    uint64_t seed = 99;
    size_t refused = 0;
    act.act_case = TRUC__V1__GOVERNANCE__ACT_ENROL_AGENCY;
    act.enrol_agency = &enrol;
    enrol.agency = "H14.09";
    enrol.n_groups = 2;
    enrol.groups = groups;
    enrol.transport_key = binary(truc_bytes(transport, 32));
    enrol.spki = binary(truc_key_spki(world->key));
    struct truc_bytes good = pack(world, &act);
    for (int round = 0; round < 20000; round++) {
        size_t size = fixture_random(&seed) % 4 == 0 ? fixture_random(&seed) % good.size : good.size;
        uint8_t *copy = malloc(size + 1);
        assert_non_null(copy);
        memcpy(copy, good.data, size);
        copy[fixture_random(&seed) % (size + 1)] = (uint8_t)fixture_random(&seed);
        copy[fixture_random(&seed) % 30 % (size + 1)] = (uint8_t)fixture_random(&seed);
        truc_error error = decode_bytes(world, copy, size);
        assert_true(error == TRUC_OK || error == TRUC_E_MALFORMED);
        refused += error == TRUC_E_MALFORMED;
        free(copy);
    }
    assert_true(refused > 10000);
}

/* Two bytes an item are some fifty in memory: bounded by the size of an act. */
static void an_act_of_very_many_empty_items_is_refused(void **state)
{
    struct world *world = *state;
    struct truc_buffer inner = {0}, outer = {0};
    assert_ok(truc_buffer_append(&inner, "\x0a\x02H7", 4));
    while (inner.size + 16 < HUB_GOVERNANCE_MAX) {
        assert_ok(truc_buffer_append(&inner, "\x1a\x00", 2)); /* items {} */
    }
    size_t size = inner.size;
    const uint8_t head[] = {0x62, (uint8_t)(size | 0x80), (uint8_t)(size >> 7 | 0x80), (uint8_t)(size >> 14)};
    assert_ok(truc_buffer_append(&outer, head, sizeof head));
    assert_ok(truc_buffer_append(&outer, inner.data, inner.size));
    assert_int_equal(decode_bytes(world, outer.data, outer.size), TRUC_E_MALFORMED);
    while (outer.size <= HUB_GOVERNANCE_MAX) {
        assert_ok(truc_buffer_append(&outer, "\x1a\x00", 2));
    }
    assert_int_equal(decode_bytes(world, outer.data, outer.size), TRUC_E_MALFORMED);
    truc_buffer_close(&inner);
    truc_buffer_close(&outer);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(an_agency_is_enrolled_with_its_keys_and_groups, set_up, tear_down),
        cmocka_unit_test_setup_teardown(an_enrolment_that_is_wrong_anywhere_enrols_nobody, set_up, tear_down),
        cmocka_unit_test_setup_teardown(genesis_binds_origin_note_key_and_administrators, set_up, tear_down),
        cmocka_unit_test_setup_teardown(grants_name_parties_and_patterns, set_up, tear_down),
        cmocka_unit_test_setup_teardown(keys_are_added_and_revoked_one_at_a_time, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_replay_lists_what_it_replays, set_up, tear_down),
        cmocka_unit_test_setup_teardown(the_small_acts_are_read, set_up, tear_down),
        cmocka_unit_test_setup_teardown(nothing_takes_effect_in_half, set_up, tear_down),
        cmocka_unit_test_setup_teardown(hostile_bytes_are_malformed_and_no_more, set_up, tear_down),
        cmocka_unit_test_setup_teardown(an_act_of_very_many_empty_items_is_refused, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
