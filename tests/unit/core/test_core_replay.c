/* One journal, one state: the same rows give the same map, byte for byte, whenever it is frozen, committed, reopened or
 * left behind by a crash. The journal is made up at random (fixed seeds) so that all acts meet each other. */
#include "test_core_world.h"

#define ROWS 1500

struct dice {
    uint64_t state;
};

static uint64_t roll(struct dice *dice, uint64_t sides)
{
    dice->state += 0x9e3779b97f4a7c15u; /* splitmix64 */
    uint64_t z = dice->state;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return (z ^ (z >> 31)) % sides;
}

static const char *const codes[] = {"H14", "H15", "H16", "H01"};

/* ---- random inputs
 * ---------------------------------------------------------------------------------------------------- */

static void random_plain(struct world *world, struct dice *dice, const char *sender)
{
    static const char *const recipients[] = {"H15", "H16", "H15,H16", "@offices", NULL, "H99", "H14,H15", "@none"};
    static const char *const types[] = {"dossier.a.v1", "dossier.b.v1", "land.a.v1"};
    char id[32];
    (void)snprintf(id, sizeof id, "%s-%llu", sender, (unsigned long long)roll(dice, 4000));
    struct hub_event_facts *facts =
        add_event(world, sender, id, types[roll(dice, 3)], recipients[roll(dice, roll(dice, 4) == 0 ? 8 : 4)]);
    facts->subject = roll(dice, 20);
    facts->size = (uint32_t)roll(dice, 5000);
    if (roll(dice, 10) == 0) {
        facts->expires_us = world->now + ((int64_t)roll(dice, 2000) - 200) * SECOND;
    }
    if (roll(dice, 20) == 0) {
        facts->flags = (uint8_t)(1u << roll(dice, 5));
    }
    if (roll(dice, 20) == 0) {
        facts->leaf_hash.bytes[0] ^= 1; /* an id used for something else */
    }
    if (roll(dice, 15) == 0) {
        static const uint8_t kinds[] = {HUB_EVENT_DELIVERY_RECEIPT, HUB_EVENT_RECALL, HUB_EVENT_RESERVED};
        static const uint8_t in_hand[] = {0x08, 0x18, 0x30, 0x01};
        struct hub_event_facts *before = &world->events[roll(dice, world->count)];
        facts->kind = kinds[roll(dice, 3)];
        memcpy(facts->recalled, before->key, sizeof facts->recalled);
        facts->in_hand = truc_bytes(&in_hand[roll(dice, 4)], 1);
    }
}

static struct hub_governance random_order(struct world *world, struct dice *dice, struct hub_replay_item *item,
                                          char name[16])
{
    struct hub_governance order = {.act = (enum hub_act)(HUB_ACT_GENESIS + roll(dice, 14))};
    /* Never H01: suspended, it could not govern on. */
    const char *agency = codes[roll(dice, 3)];
    struct hub_leaf_place place;
    struct hub_posting dead;
    (void)snprintf(order.agency, sizeof order.agency, "%s", agency);
    (void)snprintf(name, 16, "H7%llu", (unsigned long long)roll(dice, 30));
    order.grant = truc_bytes_of(name);
    order.from = truc_bytes_of(roll(dice, 2) == 0 ? "@offices" : codes[roll(dice, 4)]);
    order.to = truc_bytes_of(codes[roll(dice, 4)]);
    order.type = truc_bytes_of(roll(dice, 2) == 0 ? "land.*" : "dossier.a.v1");
    order.valid_until_us = roll(dice, 3) == 0 ? world->now + (int64_t)roll(dice, 5000) * SECOND : 0;
    order.delivery_receipts = roll(dice, 2) == 0;
    order.max_attempts = (uint32_t)roll(dice, 3);
    order.number = 1 + roll(dice, hub_core_agency(world->core, truc_bytes_of(agency))->next_number);
    if (hub_core_posting_next(world->core, number_of(world, agency), order.number / 2, 1u << HUB_POSTING_DEAD, &dead) ==
        TRUC_OK) {
        order.number = dead.number;
    }
    order.drop = roll(dice, 2) == 0;
    order.quota_events_per_s = (uint32_t)roll(dice, 100);
    order.parameters.hold_s = (uint32_t)roll(dice, 100);
    order.enrolment_count = 1;
    order.enrolments[0] = enrolment_of(name, HUB_ROLE_AGENCY, roll(dice, 2) == 0 ? "offices" : "others");
    order.has_transport = true;
    order.transport[0] = (uint8_t)roll(dice, 8);
    assert_ok(hub_core_leaf_place(world->core, roll(dice, hub_core_tree_size(world->core)), &place));
    *item = (struct hub_replay_item){place.first_sequence, place.leaf_index, 0, 10, 3, "H14", {NULL, 0}};
    item->type = truc_bytes_of("dossier.a.v1");
    order.replay = item;
    order.replay_count = 1;
    return order;
}

static void random_seal(struct world *world, struct dice *dice)
{
    const char *sender = codes[roll(dice, 4)];
    struct hub_replay_item item;
    struct hub_governance order;
    char name[16], id[32];
    uint64_t count = 1 + roll(dice, roll(dice, 8) == 0 ? 300 : 12);
    for (uint64_t i = 0; i < count; i++) {
        random_plain(world, dice, sender);
    }
    if (roll(dice, 3) == 0) {
        order = random_order(world, dice, &item, name);
        (void)snprintf(id, sizeof id, "order-%llu", (unsigned long long)roll(dice, 1000000));
        (void)add_order(world, sender, id, &order);
    }
    assert_ok(apply_sealed(world, sender));
}

static void random_delivery(struct world *world, struct dice *dice)
{
    static const enum hub_input_kind kinds[] = {HUB_INPUT_ACK, HUB_INPUT_ACK, HUB_INPUT_RELEASE, HUB_INPUT_EXPIRE};
    const char *code = codes[roll(dice, 4)];
    const struct hub_agency *agency = hub_core_agency(world->core, truc_bytes_of(code));
    struct hub_range range = {agency->floor + roll(dice, 20), (uint32_t)roll(dice, 100)};
    if (roll(dice, 5) == 0) {
        range.first = roll(dice, agency->next_number + 1);
    }
    struct hub_input input = range_input(kinds[roll(dice, 4)], code, &range);
    if (roll(dice, 3) == 0) {
        input.kind = HUB_INPUT_NACK;
        input.u.nack.number = range.first;
        input.u.nack.delay_ms = (uint32_t)roll(dice, 2) * 500;
        input.u.nack.reject = roll(dice, 3) == 0;
        input.u.nack.note = truc_bytes("a note", roll(dice, 7));
    }
    assert_ok(apply(world, &input));
}

static void random_rarity(struct world *world, struct dice *dice)
{
    static const char *const types[] = {"land.*", "dossier.*", "dossier.a.v1"};
    const char *code = codes[roll(dice, 3)];
    struct hub_input input = {.kind = HUB_INPUT_BOOT};
    struct sealer *sealer;
    (void)snprintf(input.agency, sizeof input.agency, "%s", code);
    switch (roll(dice, 4)) {
    case 0:
        break;
    case 1:
        input.kind = HUB_INPUT_CHECKPOINT;
        input.u.checkpoint.note = truc_bytes_of("note");
        break;
    case 2:
        input.kind = HUB_INPUT_SUBSCRIBE;
        input.u.subscribe.type = truc_bytes_of(types[roll(dice, 3)]);
        input.u.subscribe.source_agency = truc_bytes_of(roll(dice, 2) == 0 ? "" : "H14");
        input.u.subscribe.remove = roll(dice, 3) == 0;
        break;
    default:
        input.kind = HUB_INPUT_FORK;
        input.u.fork.envelope = truc_bytes_of("other");
        sealer = sealer_of(world, code);
        memcpy(input.u.fork.chain, sealer->chain, TRUC_CHAIN_SIZE);
        input.u.fork.number = sealer->number;
        /* The client begins a new chain, which names the old one's head. */
        sealer->chain[0]++;
        sealer->number = 0;
        break;
    }
    assert_ok(apply(world, &input));
}

static void random_row(struct world *world, struct dice *dice)
{
    world->now += (int64_t)roll(dice, roll(dice, 50) == 0 ? 1000 : 3) * SECOND;
    begin_row(world);
    for (uint64_t i = roll(dice, 5); i > 0; i--) {
        uint64_t what = roll(dice, 10);
        if (what < 4) {
            random_seal(world, dice);
        } else if (what < 9) {
            random_delivery(world, dice);
        } else {
            random_rarity(world, dice);
        }
    }
    end_row(world);
}

/* ---- the three ways to get there
 * ---------------------------------------------------------------------------------------- */

static uint64_t fold(uint64_t hash, const void *data, size_t size)
{
    const uint8_t *bytes = data;
    for (size_t i = 0; i < size; i++) {
        hash = (hash ^ bytes[i]) * 0x100000001b3u; /* FNV-1a */
    }
    return hash;
}

static uint64_t hash_effects(const struct hub_effects *effects)
{
    uint64_t hash = 0xcbf29ce484222325u;
    for (size_t i = 0; i < effects->count; i++) {
        const struct hub_effect *e = &effects->items[i];
        const uint64_t numbers[] = {
            (uint64_t)e->kind, e->agency,   e->size,       e->index,   e->count,
            e->number,         e->sequence, e->leaf_index, e->subject, (uint64_t)e->not_before_us};
        hash = fold(hash, numbers, sizeof numbers);
        hash = fold(hash, e->digest.bytes, TRUC_HASH_SIZE);
        if (e->kind == HUB_EFFECT_LEAF) {
            hash = fold(hash, e->leaf.data, e->leaf.size);
        }
    }
    return hash;
}

enum way { STRAIGHT, FREEZING, CRASHING };

struct snapshot {
    struct dice dice;
    struct sealer sealers[WORLD_SEALERS];
    size_t sealer_count;
    int64_t now;
    uint64_t row;
};

static struct snapshot snapshot_of(const struct world *world, const struct dice *dice)
{
    struct snapshot snapshot = {*dice, {{{0}, {0}, {0}, 0, {{0}}}}, world->sealer_count, world->now, 0};
    memcpy(snapshot.sealers, world->sealers, sizeof snapshot.sealers);
    snapshot.row = hub_core_applied(world->core);
    return snapshot;
}

/* The hub died: what was not committed is gone, and the rows since then are applied again. */
static void crash(struct world *world, struct dice *dice, const struct snapshot *snapshot)
{
    struct hub_port port = world_port(world);
    hub_core_free(&world->core);
    assert_ok(hub_core_new(&port, &world->core));
    assert_int_equal(hub_core_applied(world->core), snapshot->row);
    *dice = snapshot->dice;
    memcpy(world->sealers, snapshot->sealers, sizeof world->sealers);
    world->sealer_count = snapshot->sealer_count;
    world->now = snapshot->now;
}

static void count_effects(const struct hub_effects *effects, uint64_t *kinds)
{
    for (size_t i = 0; i < effects->count; i++) {
        kinds[effects->items[i].kind]++;
    }
}

static void run(struct world *world, uint64_t seed, enum way way, uint64_t *rows, uint64_t *kinds)
{
    struct dice dice = {seed}, trouble = {seed + 1}; /* trouble does not touch the journal */
    struct hub_dirty *dirty = NULL;
    struct snapshot saved, frozen;
    unsigned troubles = 0;
    struct hub_governance order = {.act = HUB_ACT_PARAMETERS,
                                   .parameters = {.past_horizon_s = 3000, .inbox_age_s = 4000, .max_attempts = 3}};
    world_begin(world);
    assert_int_equal(govern(world, &order), TRUC_OUTCOME_ACCEPTED);
    assert_int_equal(give_grant(world, "back", "@offices", "H14", "dossier.*"), TRUC_OUTCOME_ACCEPTED);
    assert_int_equal(give_grant(world, "among", "@offices", "@offices", "*"), TRUC_OUTCOME_ACCEPTED);
    assert_int_equal(give_grant(world, "from above", "H01", "@offices", "*"), TRUC_OUTCOME_ACCEPTED);
    freeze_and_thaw(world);
    saved = frozen = snapshot_of(world, &dice);
    while (hub_core_applied(world->core) < ROWS) {
        uint64_t at = hub_core_applied(world->core);
        random_row(world, &dice);
        uint64_t hash = hash_effects(&world->effects);
        if (way == STRAIGHT) {
            count_effects(&world->effects, kinds);
            rows[at] = hash;
        } else {
            assert_int_equal(rows[at], hash);
        }
        if (way == STRAIGHT || roll(&trouble, 8) != 0) {
            continue;
        }
        troubles++;
        if (dirty == NULL) {
            frozen = snapshot_of(world, &dice);
            assert_ok(hub_core_freeze(world->core, &dirty));
            assert_int_equal(hub_dirty_applied(dirty), frozen.row);
        } else if (roll(&trouble, 2) == 0) {
            memory_commit(&world->memory, dirty);
            saved = frozen;
            hub_core_thaw(world->core, &dirty);
        } else if (way == CRASHING) {
            dirty = NULL; /* went with the core */
            crash(world, &dice, &saved);
        }
    }
    assert_true(way == STRAIGHT || troubles > 50);
    if (dirty != NULL) {
        memory_commit(&world->memory, dirty);
        hub_core_thaw(world->core, &dirty);
    }
}

/* The inboxes' counters agree with what is in them. */
static void check_inboxes(struct world *world)
{
    for (uint32_t number = 1; number <= hub_core_agency_count(world->core); number++) {
        const struct hub_agency *agency = hub_core_agency_by_number(world->core, number);
        struct hub_posting posting;
        uint64_t counts[2] = {0, 0}, at = 1;
        while (hub_core_posting_next(world->core, number, at, 1u << HUB_POSTING_PENDING | 1u << HUB_POSTING_DEAD,
                                     &posting) == TRUC_OK) {
            assert_true(posting.number >= at);
            counts[posting.state == HUB_POSTING_DEAD]++;
            at = posting.number + 1;
        }
        assert_int_equal(counts[0], agency->pending);
        assert_int_equal(counts[1], agency->dead);
        for (uint64_t i = agency->floor + 1; i < agency->next_number; i++) {
            assert_ok(hub_core_posting(world->core, number, i, &posting));
            assert_true(i > 1 || posting.previous_sequence == 0);
        }
    }
}

static void the_same_rows_give_the_same_state_however_they_are_stored(void **state)
{
    (void)state;
    static uint64_t rows[ROWS];
    uint64_t kinds[HUB_EFFECT_PARAMETERS + 1] = {0};
    for (uint64_t seed = 1; seed <= 3; seed++) {
        struct memory dumps[3] = {{0}};
        for (enum way way = STRAIGHT; way <= CRASHING; way++) {
            struct world *world = calloc(1, sizeof *world);
            run(world, seed, way, rows, kinds);
            check_inboxes(world);
            assert_ok(hub_core_dump(world->core, memory_copy, &dumps[way]));
            assert_true(dumps[way].count > 100);
            if (way != STRAIGHT) {
                assert_same_memory(&dumps[STRAIGHT], &dumps[way]);
            } else {
                /* Every kind of refusal happened in it, or it would prove little. */
                static const uint8_t reasons[] = {TRUC_MALFORMED,         TRUC_NOT_GRANTED, TRUC_NO_RECIPIENT,
                                                  TRUC_ID_CONFLICT,       TRUC_EXPIRED,     TRUC_SUSPENDED,
                                                  TRUC_ILLEGAL_TRANSITION};
                for (size_t i = 0; i < sizeof reasons; i++) {
                    assert_true(hub_core_refusals(world->core, reasons[i]) > 0);
                }
            }
            reopen(world);
            check_inboxes(world);
            struct memory again = {0};
            assert_ok(hub_core_dump(world->core, memory_copy, &again));
            assert_same_memory(&again, &dumps[way]);
            assert_same_memory(&again, &world->memory); /* the port holds just what was dumped */
            memory_close(&again);
            world_close(world);
            free(world);
        }
        for (int i = 0; i < 3; i++) {
            memory_close(&dumps[i]);
        }
    }
    for (int kind = HUB_EFFECT_LEAF; kind <= HUB_EFFECT_PARAMETERS; kind++) {
        assert_true(kinds[kind] > 0);
    }
}

/* Damage to the state is found or harmless, never a crash: it can be thrown away and made again from the journal. */
static void a_damaged_state_is_refused_or_survived(void **state)
{
    (void)state;
    struct world world;
    struct dice dice = {42};
    unsigned refused = 0;
    world_begin(&world);
    while (hub_core_applied(world.core) < 60) {
        random_row(&world, &dice);
    }
    freeze_and_thaw(&world);
    struct memory whole = world.memory;
    for (size_t i = 0; i < whole.count; i++) {
        for (int kind = 0; kind < 3; kind++) {
            struct memory damaged = {0};
            struct hub_core *core = NULL;
            struct hub_port port = {&damaged, memory_get, memory_scan};
            for (size_t k = 0; k < whole.count; k++) {
                memory_put(&damaged, truc_buffer_view(&whole.items[k].key), truc_buffer_view(&whole.items[k].value));
            }
            struct truc_buffer *value = &damaged.items[i].value;
            if (kind == 0) {
                memory_delete(&damaged, truc_buffer_view(&whole.items[i].key));
            } else if (kind == 1) {
                value->size = roll(&dice, value->size);
            } else {
                value->data[roll(&dice, value->size < 16 ? value->size : 16)] ^= 0xff;
            }
            truc_error error = hub_core_new(&port, &core);
            assert_true(error == TRUC_OK || error == TRUC_E_CORRUPT || error == TRUC_E_UNSUPPORTED);
            assert_true((error == TRUC_OK) == (core != NULL));
            refused += error != TRUC_OK;
            hub_core_free(&core);
            memory_close(&damaged);
        }
    }
    assert_true(refused > 20);
    world_close(&world);
}

static void an_error_of_the_port_stops_the_core_for_good(void **state)
{
    (void)state;
    struct world world;
    world_begin(&world);
    reopen(&world);
    (void)add_event(&world, "H14", "a", "dossier.x.v1", "H15");
    begin_row(&world);
    world.memory.failure = TRUC_E_IO;
    assert_int_equal(apply_sealed(&world, "H14"), TRUC_E_IO);
    struct hub_dirty *dirty;
    assert_int_equal(hub_core_end_row(world.core, &world.effects), TRUC_E_IO);
    assert_int_equal(hub_core_freeze(world.core, &dirty), TRUC_E_IO);
    assert_null(dirty);
    assert_int_equal(hub_core_dump(world.core, memory_copy, NULL), TRUC_E_IO);
    struct hub_port port = world_port(&world);
    struct hub_core *core = NULL;
    world.memory.failure = TRUC_E_IO;
    assert_int_equal(hub_core_new(&port, &core), TRUC_E_IO);
    assert_null(core);
    world_close(&world);
}

static void one_set_is_frozen_at_a_time_and_never_within_a_row(void **state)
{
    (void)state;
    struct world world;
    struct hub_dirty *dirty, *second, *none;
    world_begin(&world);
    begin_row(&world);
    assert_int_equal(hub_core_freeze(world.core, &dirty), TRUC_E_INVALID);
    end_row(&world);
    assert_true(hub_core_dirty_bytes(world.core) > 0);
    assert_ok(hub_core_freeze(world.core, &dirty));
    assert_true(hub_dirty_count(dirty) > 0);
    assert_int_equal(hub_core_dirty_bytes(world.core), 0);
    assert_int_equal(hub_core_freeze(world.core, &second), TRUC_E_INVALID);
    memory_commit(&world.memory, dirty);
    hub_core_thaw(world.core, &dirty);
    assert_ok(hub_core_freeze(world.core, &none)); /* nothing new */
    assert_int_equal(hub_dirty_count(none), 0);
    hub_core_thaw(world.core, &none);
    world_close(&world);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_same_rows_give_the_same_state_however_they_are_stored),
        cmocka_unit_test(a_damaged_state_is_refused_or_survived),
        cmocka_unit_test(an_error_of_the_port_stops_the_core_for_good),
        cmocka_unit_test(one_set_is_frozen_at_a_time_and_never_within_a_row),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
