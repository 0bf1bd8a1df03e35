/* A real core with a dispatcher beside it, driven by inputs with facts made by hand: an administrator ADM, a sender
 * SRC, and recipients D1, D2 (the group `all`) that SRC may send to. Time stands still unless a test moves it. */
#ifndef TRUC_TESTS_CORE_DISPATCH_WORLD_H
#define TRUC_TESTS_CORE_DISPATCH_WORLD_H

#include "hub/core/dispatch.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#define ADM 1u
#define SRC 2u
#define D1 3u
#define D2 4u
#define SECOND INT64_C(1000000)
#define START (INT64_C(1800000000) * SECOND)
#define ORIGIN "test.example/log"

struct world {
    struct hub_core *core;
    struct hub_dispatch *dispatch;
    struct hub_effects effects;
    int64_t now_us;
    uint64_t made; /* counts events, for keys and hashes that differ */
    struct {
        uint64_t number;
        struct truc_hash digest;
    } chains[2]; /* of ADM and SRC */
    char keyids[8][TRUC_KEYID_HEX + 1];
};

static inline truc_error world_get(void *context, struct truc_bytes key, struct truc_bytes *value)
{
    (void)context;
    (void)key;
    (void)value;
    return TRUC_E_NOT_FOUND;
}

static inline truc_error world_scan(void *context, struct truc_bytes prefix,
                                    truc_error (*each)(void *, struct truc_bytes, struct truc_bytes),
                                    void *each_context)
{
    (void)context;
    (void)prefix;
    (void)each;
    (void)each_context;
    return TRUC_OK;
}

static inline const char *world_code(uint32_t agency)
{
    static const char *const codes[] = {"", "ADM", "SRC", "D1", "D2"};
    assert_true(agency < sizeof codes / sizeof codes[0]);
    return codes[agency];
}

/* Applies it as a row of its own and lets the dispatcher see the effects. */
static inline void world_apply(struct world *world, const struct hub_input *input)
{
    hub_effects_clear(&world->effects);
    assert_int_equal(hub_core_begin_row(world->core, hub_core_applied(world->core), world->now_us), TRUC_OK);
    assert_int_equal(hub_core_apply(world->core, input, &world->effects), TRUC_OK);
    assert_int_equal(hub_core_end_row(world->core, &world->effects), TRUC_OK);
    for (size_t i = 0; world->dispatch != NULL && i < world->effects.count; i++) {
        assert_int_equal(hub_dispatch_effect(world->dispatch, &world->effects.items[i]), TRUC_OK);
    }
}

static inline void world_seal_init(struct world *world, uint32_t agency, uint32_t count, struct truc_seal *seal)
{
    *seal = (struct truc_seal){.number = world->chains[agency - 1].number + 1,
                               .has_previous = world->chains[agency - 1].number > 0,
                               .previous = world->chains[agency - 1].digest,
                               .count = count,
                               .sealed_at_us = world->now_us};
    memcpy(seal->origin, ORIGIN, sizeof ORIGIN);
    memcpy(seal->sender, world_code(agency), strlen(world_code(agency)) + 1);
    memcpy(seal->keyid, world->keyids[agency], sizeof seal->keyid);
    seal->chain[0] = (uint8_t)agency;
}

static inline struct truc_hash world_hash(uint8_t tag, uint64_t number)
{
    struct truc_hash hash = {{tag}};
    memcpy(hash.bytes + 1, &number, sizeof number);
    return hash;
}

static inline void world_seal_as_is(struct world *world, uint32_t agency, const struct hub_event_facts *events,
                                    uint32_t count)
{
    struct hub_input input = {.kind = HUB_INPUT_SEAL};
    struct hub_seal_input *seal = &input.u.seal;
    world_seal_init(world, agency, count, &seal->seal);
    seal->digest = world_hash((uint8_t)(16 + agency), seal->seal.number);
    seal->envelope = truc_bytes_of("envelope");
    seal->events = events;
    world_apply(world, &input);
    world->chains[agency - 1].number = seal->seal.number;
    world->chains[agency - 1].digest = seal->digest;
}

/* The events get keys and hashes of their own, and a size if they have none. */
static inline void world_seal(struct world *world, uint32_t agency, struct hub_event_facts *events, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        world->made++;
        events[i].leaf_hash = world_hash(1, world->made);
        memcpy(events[i].key, &world->made, sizeof world->made);
        if (events[i].size == 0) {
            events[i].size = 100;
        }
        events[i].time_us = HUB_TIME_NONE;
    }
    world_seal_as_is(world, agency, events, count);
}

static inline void world_act(struct world *world, struct hub_governance *act)
{
    struct hub_event_facts event = {.kind = HUB_EVENT_GOVERNANCE,
                                    .expires_us = HUB_TIME_NONE,
                                    .type = truc_bytes_of("truc.governance.v1"),
                                    .governance = act,
                                    .governance_bytes = truc_bytes_of("act")};
    act->reason = truc_bytes_of("test");
    world_seal(world, ADM, &event, 1);
    for (size_t i = 0; i < world->effects.count; i++) {
        if (world->effects.items[i].kind == HUB_EFFECT_LEAF) {
            struct truc_leaf leaf;
            assert_int_equal(truc_leaf_parse(world->effects.items[i].leaf, &leaf), TRUC_OK);
            assert_int_equal(leaf.outcomes[0].code, TRUC_OUTCOME_ACCEPTED);
        }
    }
}

static inline void world_enrolment(struct world *world, uint32_t agency, struct hub_enrolment *out)
{
    *out = (struct hub_enrolment){.name = truc_bytes_of("An agency"),
                                  .role = agency == ADM ? HUB_ROLE_ADMINISTRATOR : HUB_ROLE_AGENCY};
    memcpy(out->agency, world_code(agency), strlen(world_code(agency)) + 1);
    memset(world->keyids[agency], (char)('0' + agency), TRUC_KEYID_HEX);
    out->key = (struct hub_key_facts){
        .present = true, .algorithm = TRUC_ALGORITHM_P256, .spki = truc_bytes_of(world_code(agency))};
    memcpy(out->key.keyid, world->keyids[agency], sizeof out->key.keyid);
    if (agency >= D1) {
        out->groups[out->group_count++] = truc_bytes_of("all");
    }
    out->has_transport = true;
    out->transport[0] = (uint8_t)agency;
}

struct world_settings {
    uint32_t max_attempts, hold_s;
    bool skip;
    struct hub_dispatch_limits limits;
};

static inline void world_dispatch(struct world *world, const struct world_settings *settings, uint64_t lease_base)
{
    hub_dispatch_free(&world->dispatch);
    assert_int_equal(hub_dispatch_new(world->core, &settings->limits, lease_base, &world->dispatch), TRUC_OK);
}

static inline void world_open(struct world *world, const struct world_settings *settings)
{
    static const struct hub_port port = {.get = world_get, .scan = world_scan};
    *world = (struct world){.now_us = START};
    assert_int_equal(hub_core_new(&port, &world->core), TRUC_OK);
    struct hub_governance act = {.act = HUB_ACT_GENESIS,
                                 .origin = truc_bytes_of(ORIGIN),
                                 .note_key = truc_bytes_of("key"),
                                 .enrolment_count = 1,
                                 .parameters = {.max_attempts = settings->max_attempts, .hold_s = settings->hold_s}};
    world_enrolment(world, ADM, &act.enrolments[0]);
    world_act(world, &act);
    for (uint32_t agency = SRC; agency <= D2; agency++) {
        act = (struct hub_governance){.act = HUB_ACT_ENROL_AGENCY, .enrolment_count = 1};
        world_enrolment(world, agency, &act.enrolments[0]);
        world_act(world, &act);
    }
    for (uint32_t agency = D1; agency <= D2; agency++) {
        act = (struct hub_governance){.act = HUB_ACT_GIVE_GRANT,
                                      .grant = truc_bytes_of(agency == D1 ? "g1" : "g2"),
                                      .from = truc_bytes_of("SRC"),
                                      .to = truc_bytes_of(world_code(agency)),
                                      .type = truc_bytes_of("news.v1"),
                                      .legal_basis = truc_bytes_of("law"),
                                      .skip_dead_letters = settings->skip};
        world_act(world, &act);
    }
    world_dispatch(world, settings, 0);
}

static inline void world_close(struct world *world)
{
    hub_dispatch_free(&world->dispatch);
    hub_core_free(&world->core);
    hub_effects_close(&world->effects);
}

/* SRC sends to `recipients`; subject 0: unordered. */
static inline void world_send_until(struct world *world, const char *recipients, uint64_t subject, uint32_t size,
                                    int64_t expires_us)
{
    struct hub_event_facts event = {.subject = subject,
                                    .size = size,
                                    .expires_us = expires_us,
                                    .type = truc_bytes_of("news.v1"),
                                    .recipients = truc_bytes_of(recipients)};
    world_seal(world, SRC, &event, 1);
}

static inline void world_send(struct world *world, const char *recipients, uint64_t subject)
{
    world_send_until(world, recipients, subject, 100, HUB_TIME_NONE);
}

static inline void world_ranges(struct world *world, enum hub_input_kind kind, uint32_t agency,
                                const struct hub_ranges *ranges)
{
    struct hub_input input = {.kind = kind, .u.ranges = {ranges->items, ranges->count}};
    memcpy(input.agency, world_code(agency), strlen(world_code(agency)) + 1);
    if (ranges->count > 0) {
        world_apply(world, &input);
    }
}

static inline void world_nacked(struct world *world, uint32_t agency, uint64_t number, uint32_t delay_ms, bool reject)
{
    struct hub_input input = {.kind = HUB_INPUT_NACK, .u.nack = {number, delay_ms, reject, {NULL, 0}}};
    memcpy(input.agency, world_code(agency), strlen(world_code(agency)) + 1);
    world_apply(world, &input);
}

static inline void world_dead_letter(struct world *world, uint32_t agency, uint64_t number, bool drop)
{
    struct hub_governance act = {.act = HUB_ACT_DEAD_LETTER, .number = number, .drop = drop};
    memcpy(act.agency, world_code(agency), strlen(world_code(agency)) + 1);
    world_act(world, &act);
}

static inline void world_suspend(struct world *world, uint32_t agency, bool suspend)
{
    struct hub_governance act = {.act = suspend ? HUB_ACT_SUSPEND_AGENCY : HUB_ACT_RESUME_AGENCY};
    memcpy(act.agency, world_code(agency), strlen(world_code(agency)) + 1);
    world_act(world, &act);
}

static inline void world_boot(struct world *world)
{
    world_apply(world, &(struct hub_input){.kind = HUB_INPUT_BOOT});
}

static inline void world_session(struct world *world, uint64_t session, uint32_t agency, uint32_t events)
{
    assert_int_equal(hub_dispatch_open(world->dispatch, session, agency), TRUC_OK);
    hub_dispatch_credit(world->dispatch, session, events, UINT64_C(1) << 20);
}

#endif
