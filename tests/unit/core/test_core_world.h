/* A small world around the core for its tests: a port in memory, agencies that seal, rows. Signatures and contents are
 * not the core's affair, so digests and hashes here are made up from names. */
#ifndef TEST_CORE_WORLD_H
#define TEST_CORE_WORLD_H

#include "hub/core/core.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#define SECOND INT64_C(1000000)
#define WORLD_START (INT64_C(1790000000) * SECOND)
#define assert_ok(call) assert_int_equal((call), TRUC_OK)

/* ---- a port in memory
 * ------------------------------------------------------------------------------------------------- */

struct memory_item {
    struct truc_buffer key, value;
};
struct memory {
    struct memory_item *items; /* by key */
    size_t count;
    truc_error failure; /* what the next get answers, once */
};

static int memory_compare(struct truc_bytes a, struct truc_bytes b)
{
    int order = memcmp(a.data, b.data, a.size < b.size ? a.size : b.size);
    return order != 0 ? order : (a.size > b.size) - (a.size < b.size);
}

/* Where the key is, or would be. */
static size_t memory_at(const struct memory *memory, struct truc_bytes key, bool *found)
{
    size_t low = 0, high = memory->count;
    *found = false;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        int order = memory_compare(truc_buffer_view(&memory->items[middle].key), key);
        *found = *found || order == 0;
        if (order < 0) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

static truc_error memory_get(void *context, struct truc_bytes key, struct truc_bytes *value)
{
    struct memory *memory = context;
    bool found;
    size_t at = memory_at(memory, key, &found);
    if (memory->failure != TRUC_OK) {
        truc_error failure = memory->failure;
        memory->failure = TRUC_OK;
        return failure;
    }
    if (!found) {
        return TRUC_E_NOT_FOUND;
    }
    *value = truc_buffer_view(&memory->items[at].value);
    return TRUC_OK;
}

static truc_error memory_scan(void *context, struct truc_bytes prefix,
                              truc_error (*each)(void *each_context, struct truc_bytes key, struct truc_bytes value),
                              void *each_context)
{
    struct memory *memory = context;
    truc_error error = TRUC_OK;
    for (size_t i = 0; error == TRUC_OK && i < memory->count; i++) {
        struct truc_bytes key = truc_buffer_view(&memory->items[i].key);
        if (key.size >= prefix.size && memcmp(key.data, prefix.data, prefix.size) == 0) {
            error = each(each_context, key, truc_buffer_view(&memory->items[i].value));
        }
    }
    return error;
}

static void memory_put(struct memory *memory, struct truc_bytes key, struct truc_bytes value)
{
    bool found;
    size_t at = memory_at(memory, key, &found);
    if (!found) {
        memory->items = realloc(memory->items, (memory->count + 1) * sizeof *memory->items);
        assert_non_null(memory->items);
        memmove(&memory->items[at + 1], &memory->items[at], (memory->count - at) * sizeof *memory->items);
        memory->items[at] = (struct memory_item){0};
        memory->count++;
        assert_ok(truc_buffer_append(&memory->items[at].key, key.data, key.size));
    }
    truc_buffer_clear(&memory->items[at].value);
    assert_ok(truc_buffer_append(&memory->items[at].value, value.data, value.size));
}

static void memory_delete(struct memory *memory, struct truc_bytes key)
{
    bool found;
    size_t at = memory_at(memory, key, &found);
    if (found) {
        truc_buffer_close(&memory->items[at].key);
        truc_buffer_close(&memory->items[at].value);
        memory->count--;
        memmove(&memory->items[at], &memory->items[at + 1], (memory->count - at) * sizeof *memory->items);
    }
}

static inline void memory_commit(struct memory *memory, const struct hub_dirty *dirty)
{
    struct truc_bytes key, value, before = {NULL, 0};
    for (size_t i = 0; i < hub_dirty_count(dirty); i++) {
        hub_dirty_at(dirty, i, &key, &value);
        if (i > 0) {
            assert_true(memory_compare(before, key) < 0); /* sorted, as the store relies on */
        }
        before = key;
        if (value.data == NULL) {
            memory_delete(memory, key);
        } else {
            memory_put(memory, key, value);
        }
    }
}

static void memory_close(struct memory *memory)
{
    while (memory->count > 0) {
        memory_delete(memory, truc_buffer_view(&memory->items[memory->count - 1].key));
    }
    free(memory->items);
    *memory = (struct memory){0};
}

static inline truc_error memory_copy(void *context, struct truc_bytes key, struct truc_bytes value)
{
    memory_put(context, key, value);
    return TRUC_OK;
}

static inline void assert_same_memory(const struct memory *a, const struct memory *b)
{
    assert_int_equal(a->count, b->count);
    for (size_t i = 0; i < a->count; i++) {
        assert_int_equal(a->items[i].key.size, b->items[i].key.size);
        assert_memory_equal(a->items[i].key.data, b->items[i].key.data, a->items[i].key.size);
        assert_int_equal(a->items[i].value.size, b->items[i].value.size);
        assert_memory_equal(a->items[i].value.data, b->items[i].value.data, a->items[i].value.size);
    }
}

/* ---- the world
 * ----------------------------------------------------------------------------------------------------------- */

#define WORLD_ORIGIN "test.truc"
#define WORLD_SEALERS 16

struct sealer {
    char code[TRUC_AGENCY_MAX + 1];
    char keyid[TRUC_KEYID_HEX + 1];
    uint8_t chain[TRUC_CHAIN_SIZE];
    uint64_t number;
    struct truc_hash last;
};

struct world {
    struct memory memory;
    struct hub_core *core;
    struct hub_effects effects;
    int64_t now;
    uint32_t offset;
    struct sealer sealers[WORLD_SEALERS];
    size_t sealer_count;
    struct hub_event_facts events[TRUC_SEAL_EVENTS_MAX]; /* of the seal being made */
    uint32_t count;
    struct truc_leaf leaf; /* of the last seal */
};

static inline struct hub_port world_port(struct world *world)
{
    return (struct hub_port){&world->memory, memory_get, memory_scan};
}

static inline void keyid_of(const char *name, char out[TRUC_KEYID_HEX + 1])
{
    struct truc_hash hash;
    truc_sha256(&hash, truc_bytes_of(name));
    truc_hex(truc_bytes(hash.bytes, sizeof hash.bytes), out);
}

/* The code's sealing state; made where it is new. */
static inline struct sealer *sealer_of(struct world *world, const char *code)
{
    for (size_t i = 0; i < world->sealer_count; i++) {
        if (strcmp(world->sealers[i].code, code) == 0) {
            return &world->sealers[i];
        }
    }
    assert_true(world->sealer_count < WORLD_SEALERS);
    struct sealer *sealer = &world->sealers[world->sealer_count++];
    *sealer = (struct sealer){0};
    (void)snprintf(sealer->code, sizeof sealer->code, "%s", code);
    keyid_of(code, sealer->keyid);
    struct truc_hash hash;
    truc_sha256(&hash, truc_bytes_of(code));
    memcpy(sealer->chain, hash.bytes, TRUC_CHAIN_SIZE);
    return sealer;
}

static inline void begin_row(struct world *world)
{
    hub_effects_clear(&world->effects);
    world->offset = 100;
    assert_ok(hub_core_begin_row(world->core, hub_core_applied(world->core), world->now));
}

static inline void end_row(struct world *world)
{
    assert_ok(hub_core_end_row(world->core, &world->effects));
}

static inline truc_error apply(struct world *world, struct hub_input *input)
{
    input->offset = world->offset;
    world->offset += 50;
    return hub_core_apply(world->core, input, &world->effects);
}

/* One input in a row of its own. */
static inline void row(struct world *world, struct hub_input *input)
{
    begin_row(world);
    assert_ok(apply(world, input));
    end_row(world);
}

static inline struct hub_event_facts *add_event(struct world *world, const char *sender, const char *id,
                                                const char *type, const char *recipients)
{
    struct hub_event_facts *facts = &world->events[world->count++];
    char source[64];
    *facts = (struct hub_event_facts){.time_us = HUB_TIME_NONE, .expires_us = HUB_TIME_NONE, .size = 1000};
    (void)snprintf(source, sizeof source, TRUC_SOURCE_PREFIX "%s", sender);
    truc_sha256(&facts->leaf_hash, truc_bytes_of(id));
    truc_event_key(truc_bytes_of(sender), truc_bytes_of(source), truc_bytes_of(id), facts->key);
    facts->type = truc_bytes_of(type);
    facts->recipients = truc_bytes_of(recipients == NULL ? "" : recipients);
    if (recipients == NULL) {
        facts->recipients.size = 0;
    }
    return facts;
}

static inline struct hub_event_facts *add_order(struct world *world, const char *sender, const char *id,
                                                const struct hub_governance *order)
{
    struct hub_event_facts *facts = add_event(world, sender, id, TRUC_TYPE_GOVERNANCE, NULL);
    facts->kind = HUB_EVENT_GOVERNANCE;
    facts->governance = order;
    return facts;
}

static inline struct hub_input seal_of(struct world *world, const char *code)
{
    struct sealer *sealer = sealer_of(world, code);
    struct hub_input input = {.kind = HUB_INPUT_SEAL};
    struct truc_seal *seal = &input.u.seal.seal;
    (void)snprintf(seal->origin, sizeof seal->origin, "%s", WORLD_ORIGIN);
    memcpy(seal->sender, sealer->code, sizeof seal->sender);
    memcpy(seal->keyid, sealer->keyid, sizeof seal->keyid);
    memcpy(seal->chain, sealer->chain, TRUC_CHAIN_SIZE);
    seal->number = sealer->number + 1;
    seal->has_previous = sealer->number > 0;
    seal->previous = sealer->last;
    seal->count = world->count;
    seal->sealed_at_us = world->now;
    const struct truc_bytes parts[] = {truc_bytes(seal->chain, TRUC_CHAIN_SIZE),
                                       truc_bytes(&seal->number, sizeof seal->number)};
    truc_sha256_parts(&input.u.seal.digest, parts, 2);
    input.u.seal.envelope = truc_bytes_of("envelope");
    input.u.seal.events = world->events;
    return input;
}

/* Seals what was added, inside a row that has begun. */
static inline truc_error apply_sealed(struct world *world, const char *code)
{
    struct hub_input input = seal_of(world, code);
    struct sealer *sealer = sealer_of(world, code);
    truc_error error = apply(world, &input);
    if (error == TRUC_OK) {
        sealer->number++;
        sealer->last = input.u.seal.digest;
    }
    world->count = 0;
    return error;
}

/* Seals what was added in a row of its own and reads the leaf. */
static inline void seal_row(struct world *world, const char *code)
{
    begin_row(world);
    assert_ok(apply_sealed(world, code));
    end_row(world);
    assert_true(world->effects.count > 0);
    assert_int_equal(world->effects.items[0].kind, HUB_EFFECT_LEAF);
    assert_ok(truc_leaf_parse(world->effects.items[0].leaf, &world->leaf));
}

/* One plain event in a seal of its own; returns its outcome. */
static inline uint8_t send_event(struct world *world, const char *sender, const char *id, const char *type,
                                 const char *recipients)
{
    (void)add_event(world, sender, id, type, recipients);
    seal_row(world, sender);
    return world->leaf.outcomes[0].code;
}

/* One act of the first administrator; returns its outcome. */
static inline uint8_t govern(struct world *world, const struct hub_governance *order)
{
    char id[32];
    (void)snprintf(id, sizeof id, "order-%llu", (unsigned long long)hub_core_next_sequence(world->core));
    (void)add_order(world, "H01", id, order);
    seal_row(world, "H01");
    return world->leaf.outcomes[0].code;
}

static inline struct hub_enrolment enrolment_of(const char *code, enum hub_role role, const char *group)
{
    struct hub_enrolment enrolment = {.name = truc_bytes_of("An office"), .role = role, .has_transport = true};
    struct truc_hash hash;
    (void)snprintf(enrolment.agency, sizeof enrolment.agency, "%s", code);
    truc_sha256(&hash, truc_bytes_of(code));
    memcpy(enrolment.transport, hash.bytes, 32);
    keyid_of(code, enrolment.key.keyid);
    enrolment.key.present = true;
    enrolment.key.algorithm = TRUC_ALGORITHM_P256;
    enrolment.key.spki = truc_bytes_of("spki");
    if (group != NULL) {
        enrolment.groups[0] = truc_bytes_of(group);
        enrolment.group_count = 1;
    }
    return enrolment;
}

static inline uint8_t enrol(struct world *world, const char *code, const char *group)
{
    struct hub_governance order = {.act = HUB_ACT_ENROL_AGENCY, .enrolment_count = 1};
    order.enrolments[0] = enrolment_of(code, HUB_ROLE_AGENCY, group);
    return govern(world, &order);
}

static inline struct hub_governance grant_of(const char *name, const char *from, const char *to, const char *type)
{
    return (struct hub_governance){.act = HUB_ACT_GIVE_GRANT,
                                   .grant = truc_bytes_of(name),
                                   .from = truc_bytes_of(from),
                                   .to = truc_bytes_of(to),
                                   .type = truc_bytes_of(type),
                                   .legal_basis = truc_bytes_of("Decree 61/2018")};
}

static inline uint8_t give_grant(struct world *world, const char *name, const char *from, const char *to,
                                 const char *type)
{
    const struct hub_governance order = grant_of(name, from, to, type);
    return govern(world, &order);
}

static inline uint8_t simple_order(struct world *world, enum hub_act act, const char *agency)
{
    struct hub_governance order = {.act = act};
    (void)snprintf(order.agency, sizeof order.agency, "%s", agency);
    return govern(world, &order);
}

static inline struct hub_governance genesis_order(void)
{
    struct hub_governance order = {.act = HUB_ACT_GENESIS,
                                   .origin = truc_bytes_of(WORLD_ORIGIN),
                                   .note_key = truc_bytes_of("test.truc+00000000+AQ=="),
                                   .enrolment_count = 2};
    order.enrolments[0] = enrolment_of("H01", HUB_ROLE_ADMINISTRATOR, NULL);
    order.enrolments[1] = enrolment_of("H02", HUB_ROLE_ADMINISTRATOR, NULL);
    return order;
}

/* An empty log. */
static inline void world_open(struct world *world)
{
    *world = (struct world){.now = WORLD_START};
    struct hub_port port = world_port(world);
    assert_ok(hub_core_new(&port, &world->core));
}

/* Genesis by H01 and H02; agencies H14 (desk), H15 and H16 (group "offices"); H14 may send dossier.* to the offices. */
static inline void world_begin(struct world *world)
{
    const struct hub_governance order = genesis_order();
    world_open(world);
    assert_int_equal(govern(world, &order), TRUC_OUTCOME_ACCEPTED);
    assert_int_equal(enrol(world, "H14", NULL), TRUC_OUTCOME_ACCEPTED);
    assert_int_equal(enrol(world, "H15", "offices"), TRUC_OUTCOME_ACCEPTED);
    assert_int_equal(enrol(world, "H16", "offices"), TRUC_OUTCOME_ACCEPTED);
    assert_int_equal(give_grant(world, "g1", "H14", "@offices", "dossier.*"), TRUC_OUTCOME_ACCEPTED);
}

static inline void world_close(struct world *world)
{
    hub_core_free(&world->core);
    hub_effects_close(&world->effects);
    memory_close(&world->memory);
}

static inline void freeze_and_thaw(struct world *world)
{
    struct hub_dirty *dirty;
    assert_ok(hub_core_freeze(world->core, &dirty));
    memory_commit(&world->memory, dirty);
    hub_core_thaw(world->core, &dirty);
    assert_null(dirty);
}

static inline void reopen(struct world *world)
{
    struct hub_port port = world_port(world);
    freeze_and_thaw(world);
    hub_core_free(&world->core);
    assert_ok(hub_core_new(&port, &world->core));
}

static inline uint32_t number_of(const struct world *world, const char *code)
{
    const struct hub_agency *agency = hub_core_agency(world->core, truc_bytes_of(code));
    assert_non_null(agency);
    return agency->number;
}

static inline struct hub_posting posting_of(struct world *world, const char *code, uint64_t number)
{
    struct hub_posting posting;
    assert_ok(hub_core_posting(world->core, number_of(world, code), number, &posting));
    return posting;
}

static inline size_t effects_of(const struct world *world, enum hub_effect_kind kind)
{
    size_t count = 0;
    for (size_t i = 0; i < world->effects.count; i++) {
        count += world->effects.items[i].kind == kind;
    }
    return count;
}

static inline struct hub_input range_input(enum hub_input_kind kind, const char *agency, const struct hub_range *range)
{
    struct hub_input input = {.kind = kind};
    (void)snprintf(input.agency, sizeof input.agency, "%s", agency);
    input.u.ranges.ranges = range;
    input.u.ranges.count = 1;
    return input;
}

static inline void range_row(struct world *world, enum hub_input_kind kind, const char *agency, uint64_t first,
                             uint32_t count)
{
    const struct hub_range range = {first, count};
    struct hub_input input = range_input(kind, agency, &range);
    row(world, &input);
}

static inline void nack_row(struct world *world, const char *agency, uint64_t number, uint32_t delay_ms, bool reject,
                            const char *note)
{
    struct hub_input input = {.kind = HUB_INPUT_NACK};
    (void)snprintf(input.agency, sizeof input.agency, "%s", agency);
    input.u.nack.number = number;
    input.u.nack.delay_ms = delay_ms;
    input.u.nack.reject = reject;
    input.u.nack.note = truc_bytes_of(note);
    row(world, &input);
}

/* The story's world, made and taken down: for cmocka_unit_test_setup_teardown. */
static inline int world_setup(void **state)
{
    struct world *world = calloc(1, sizeof *world);
    world_begin(world);
    *state = world;
    return 0;
}

static inline int world_teardown(void **state)
{
    world_close(*state);
    free(*state);
    return 0;
}

#endif
