/* The core's world of the unit tests, driven by a tape: seals of events with facts of every kind, acts,
 * acknowledgements, subscriptions, boots, forks, admission. What could have been journaled must be taken without an
 * error. */
#ifndef TRUC_TESTS_FUZZ_CORE_TAPE_H
#define TRUC_TESTS_FUZZ_CORE_TAPE_H

#include "hub/core/admit.h"
#include "tests/fuzz/fuzz.h"
#include "tests/unit/core/test_core_world.h"

static const char *const tape_codes[] = {"H14", "H15", "H16", "H01", "H02", "H70", "H71"};
static const char *const tape_recipients[] = {
    NULL, "H15", "H16", "H15,H16", "@offices", "H99", "H14,H15,H01,@offices", "@none"};
static const char *const tape_types[] = {"dossier.a.v1", "dossier.b.v1", "land.a.v1", "dossier.*", "land.*", "*"};

#define TAPE_PICK(fuzz, list) ((list)[fuzz_u8(fuzz) % (sizeof(list) / sizeof *(list))])

static inline int64_t tape_time(struct fuzz *fuzz, const struct world *world)
{
    uint8_t what = fuzz_u8(fuzz);
    return what < 128 ? HUB_TIME_NONE : what < 250 ? world->now + (what - 180) * SECOND : (int64_t)fuzz_u64(fuzz);
}

static inline void tape_event(struct fuzz *fuzz, struct world *world, const char *sender)
{
    static const uint8_t in_hand[] = {0, 0, 8, 255, 0, 1};
    char id[16];
    (void)snprintf(id, sizeof id, "%u", fuzz_u8(fuzz) % 64);
    struct hub_event_facts *facts =
        add_event(world, sender, id, tape_types[fuzz_u8(fuzz) % 3], TAPE_PICK(fuzz, tape_recipients));
    uint8_t what = fuzz_u8(fuzz);
    facts->subject = what & 1 ? fuzz_u8(fuzz) % 8 : 0;
    facts->size = what & 2 ? (uint32_t)fuzz_number(fuzz) % TRUC_EVENT_MAX : 100;
    facts->expires_us = what & 4 ? tape_time(fuzz, world) : HUB_TIME_NONE;
    facts->time_us = what & 8 ? tape_time(fuzz, world) : HUB_TIME_NONE;
    facts->flags = what & 16 ? fuzz_u8(fuzz) & 31 : 0;
    facts->leaf_hash.bytes[0] ^= (what & 32) != 0; /* an id that was used for something else */
    if (what & 64) {
        static const uint8_t kinds[] = {HUB_EVENT_DELIVERY_RECEIPT, HUB_EVENT_RECALL, HUB_EVENT_RECALL,
                                        HUB_EVENT_RESERVED};
        const struct hub_event_facts *meant = &world->events[fuzz_u8(fuzz) % world->count];
        facts->kind = TAPE_PICK(fuzz, kinds);
        if (facts->kind == HUB_EVENT_RECALL) {
            memcpy(facts->recalled, meant->key, sizeof facts->recalled);
            size_t from = fuzz_u8(fuzz) % 4;
            facts->in_hand = truc_bytes(in_hand + from, sizeof in_hand - from);
        }
    }
}

static inline void tape_order(struct fuzz *fuzz, struct world *world, struct hub_governance *order,
                              struct hub_replay_item *item, char name[16])
{
    *order = (struct hub_governance){.act = (enum hub_act)(HUB_ACT_GENESIS + fuzz_u8(fuzz) % 14)};
    (void)snprintf(name, 16, "H7%u", fuzz_u8(fuzz) % 4);
    (void)snprintf(order->agency, sizeof order->agency, "%s", TAPE_PICK(fuzz, tape_codes));
    order->reason = truc_bytes_of("law");
    order->origin = truc_bytes_of(WORLD_ORIGIN);
    order->note_key = truc_bytes_of("test.truc+00000000+AQ==");
    order->grant = truc_bytes_of(name);
    order->from = truc_bytes_of(fuzz_u8(fuzz) & 1 ? "@offices" : TAPE_PICK(fuzz, tape_codes));
    order->to = truc_bytes_of(fuzz_u8(fuzz) & 1 ? "@offices" : TAPE_PICK(fuzz, tape_codes));
    order->type = truc_bytes_of(TAPE_PICK(fuzz, tape_types));
    order->legal_basis = order->reason;
    order->valid_from_us = fuzz_u8(fuzz) & 1 ? 0 : tape_time(fuzz, world);
    order->valid_until_us = fuzz_u8(fuzz) & 1 ? 0 : tape_time(fuzz, world);
    order->delivery_receipts = fuzz_u8(fuzz) & 1;
    order->skip_dead_letters = fuzz_u8(fuzz) & 1;
    order->max_attempts = (uint32_t)fuzz_number(fuzz);
    order->hold_s = (uint32_t)fuzz_number(fuzz);
    order->number = fuzz_number(fuzz);
    order->drop = fuzz_u8(fuzz) & 1;
    order->quota_events_per_s = (uint32_t)fuzz_number(fuzz);
    order->quota_bytes_per_s = fuzz_number(fuzz);
    order->parameters.hold_s = (uint32_t)fuzz_number(fuzz);
    order->parameters.max_attempts = (uint32_t)fuzz_number(fuzz);
    order->parameters.inbox_age_s = (uint32_t)fuzz_number(fuzz);
    order->enrolment_count = 1;
    order->enrolments[0] = enrolment_of(name, fuzz_u8(fuzz) % 3, fuzz_u8(fuzz) & 1 ? "offices" : NULL);
    order->key = order->enrolments[0].key;
    order->has_transport = fuzz_u8(fuzz) & 1;
    order->transport[0] = fuzz_u8(fuzz) % 8;
    *item = (struct hub_replay_item){.sequence = fuzz_number(fuzz),
                                     .leaf_index = fuzz_number(fuzz),
                                     .index = fuzz_u8(fuzz) % 3,
                                     .size = 10,
                                     .subject = fuzz_u8(fuzz) % 4,
                                     .sender = "H14",
                                     .type = truc_bytes_of("dossier.a.v1")};
    order->replay = item;
    order->replay_count = 1;
}

/* Admission decides before the journal; what it lets through must apply, and what it refuses is not applied. */
static inline truc_error tape_admit(struct fuzz *fuzz, struct world *world, struct hub_admit *admit,
                                    struct hub_input *input)
{
    const struct hub_agency *agency = hub_core_agency(world->core, truc_bytes_of(input->u.seal.seal.sender));
    struct sealer *sealer = sealer_of(world, input->u.seal.seal.sender);
    enum hub_admission admission;
    truc_reason reason = TRUC_ACCEPTED;
    uint32_t retry_ms;
    uint64_t leaf;
    uint8_t what = fuzz_u8(fuzz);
    struct truc_seal *seal = &input->u.seal.seal;
    seal->number += what == 1 ? fuzz_number(fuzz) : 0;
    seal->number -= what == 2 && seal->number > 1;
    seal->previous.bytes[0] ^= what == 3;
    seal->chain[0] ^= what == 4 ? fuzz_u8(fuzz) : 0;
    seal->sealed_at_us += what == 5 ? (int64_t)fuzz_u64(fuzz) >> 8 : 0;
    input->u.seal.digest.bytes[1] ^= what == 6;
    if (agency == NULL) {
        return TRUC_E_REFUSED;
    }
    FUZZ_OK(hub_admit_seal(admit, agency->number, seal, &input->u.seal.digest, fuzz_number(fuzz), world->now,
                           &admission, &reason, &retry_ms, &leaf));
    if (admission == HUB_ADMIT_FORK) {
        struct hub_input fork = {.kind = HUB_INPUT_FORK};
        (void)snprintf(fork.agency, sizeof fork.agency, "%s", seal->sender);
        memcpy(fork.u.fork.chain, seal->chain, TRUC_CHAIN_SIZE);
        fork.u.fork.number = seal->number;
        fork.u.fork.envelope = truc_bytes_of("envelope");
        FUZZ_OK(apply(world, &fork));
        return TRUC_E_REFUSED;
    }
    if (admission == HUB_ADMIT_KNOWN) {
        FUZZ_CHECK(leaf < hub_core_tree_size(world->core));
    }
    if (admission != HUB_ADMIT_JOURNAL) {
        FUZZ_CHECK(admission != HUB_ADMIT_REFUSE || reason != TRUC_ACCEPTED);
        return TRUC_E_REFUSED;
    }
    if (what == 7) { /* the journal was full */
        hub_admit_aborted(admit, agency->number, seal);
        return TRUC_E_REFUSED;
    }
    FUZZ_OK(apply(world, input));
    hub_admit_applied(admit, agency->number, seal);
    if (memcmp(seal->chain, sealer->chain, TRUC_CHAIN_SIZE) == 0) {
        sealer->number = seal->number;
        sealer->last = input->u.seal.digest;
    }
    return TRUC_OK;
}

static inline void tape_seal(struct fuzz *fuzz, struct world *world, struct hub_admit *admit)
{
    struct hub_governance order;
    struct hub_replay_item item;
    char name[16], id[16];
    uint8_t what = fuzz_u8(fuzz);
    const char *sender = tape_codes[what % 5];
    for (unsigned i = (what >> 3) % 8; i > 0; i--) {
        tape_event(fuzz, world, sender);
    }
    if ((what & 64) != 0 || world->count == 0) {
        tape_order(fuzz, world, &order, &item, name);
        (void)snprintf(id, sizeof id, "o%u", fuzz_u8(fuzz));
        (void)add_order(world, sender, id, &order);
    }
    struct hub_input input = seal_of(world, sender);
    (void)tape_admit(fuzz, world, admit, &input);
    world->count = 0;
}

static inline void tape_ranges(struct fuzz *fuzz, struct world *world)
{
    static const enum hub_input_kind kinds[] = {HUB_INPUT_ACK, HUB_INPUT_ACK, HUB_INPUT_RELEASE, HUB_INPUT_EXPIRE,
                                                HUB_INPUT_NACK};
    const struct hub_range range = {fuzz_number(fuzz), (uint32_t)fuzz_number(fuzz) % 5000};
    struct hub_input input = range_input(TAPE_PICK(fuzz, kinds), tape_codes[fuzz_u8(fuzz) % 5], &range);
    if (input.kind == HUB_INPUT_NACK) {
        memset(&input.u, 0, sizeof input.u);
        input.u.nack.number = range.first;
        input.u.nack.delay_ms = (uint32_t)fuzz_number(fuzz);
        input.u.nack.reject = fuzz_u8(fuzz) & 1;
        input.u.nack.note = truc_bytes("a note", fuzz_u8(fuzz) % 7);
    }
    FUZZ_OK(apply(world, &input));
}

static inline void tape_rarity(struct fuzz *fuzz, struct world *world)
{
    struct hub_input input = {.kind = HUB_INPUT_BOOT};
    uint8_t what = fuzz_u8(fuzz);
    if (what % 3 == 1) {
        input.kind = HUB_INPUT_CHECKPOINT;
        input.u.checkpoint.note = truc_bytes_of("note");
        input.u.checkpoint.tree_size = fuzz_number(fuzz);
    } else if (what % 3 == 2) {
        input.kind = HUB_INPUT_SUBSCRIBE;
        (void)snprintf(input.agency, sizeof input.agency, "%s", tape_codes[fuzz_u8(fuzz) % 5]);
        input.u.subscribe.type = truc_bytes_of(TAPE_PICK(fuzz, tape_types));
        input.u.subscribe.source_agency = truc_bytes_of(what & 64 ? "H14" : "");
        input.u.subscribe.remove = what & 128;
    }
    FUZZ_OK(apply(world, &input));
}

/* One row with a few inputs. */
static inline void tape_row(struct fuzz *fuzz, struct world *world, struct hub_admit *admit)
{
    world->now += (int64_t)fuzz_u8(fuzz) * SECOND / 4;
    begin_row(world);
    for (unsigned i = fuzz_u8(fuzz) % 4 + 1; i > 0 && fuzz_left(fuzz) > 0; i--) {
        uint8_t what = fuzz_u8(fuzz) % 8;
        if (what < 5) {
            tape_seal(fuzz, world, admit);
        } else if (what < 7) {
            tape_ranges(fuzz, world);
        } else {
            tape_rarity(fuzz, world);
        }
    }
    end_row(world);
}

static inline void tape_seeds(void)
{
    uint64_t random = 88172645463325252u;
    for (unsigned i = 0; i < 6; i++) {
        uint8_t tape[1200];
        char name[16];
        for (size_t j = 0; j < sizeof tape; j++) {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            tape[j] = (uint8_t)(random >> 24);
        }
        (void)snprintf(name, sizeof name, "tape-%u", i);
        fuzz_seed(name, truc_bytes(tape, 200 * (i + 1)));
    }
}

#endif
