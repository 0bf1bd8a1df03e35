/* The dispatcher beside a naive model that looks at every posting for every question: sends, credits, takes, acks (also
 * of nonsense), nacks, lost sessions, ended leases, expiries, dead letters requeued and dropped, restarts, and a
 * journal that applies what was proposed later. Which of them comes next is drawn: at random (the same every time) or
 * from a tape, for fuzzing. */
#ifndef TRUC_TESTS_CORE_DISPATCH_MODEL_H
#define TRUC_TESTS_CORE_DISPATCH_MODEL_H

#include "tests/unit/core/dispatch_world.h"

#define POSTINGS 4096
#define SESSIONS 6
#define PROPOSALS 4096
#define TAKE 32

enum fate { WAITING, LEASED, SETTLING, RETURNING, DONE, DEAD };

struct record {
    enum fate fate;
    uint64_t subject, session, lease;
    int64_t until_us;
};

struct proposal {
    enum hub_input_kind kind;
    uint32_t agency;
    struct hub_ranges ranges;
    uint64_t number;
    uint32_t delay_ms;
    bool reject;
};

struct seat {
    uint64_t session; /* 0: nobody */
    uint32_t agency, credit_events;
    uint64_t credit_bytes;
};

struct model {
    struct world world;
    const struct world_settings *settings;
    uint64_t random, next_session, last_lease;
    const uint8_t *tape, *tape_end;     /* where it is set, choices come from here, and zeros at its end */
    struct record inboxes[2][POSTINGS]; /* of D1 and D2, by number */
    uint64_t count[2];
    struct seat seats[SESSIONS];
    struct proposal proposals[PROPOSALS];
    size_t first, last;
    uint64_t delivered, stale, released, expired, requeued;
};

static uint64_t draw(struct model *model, uint64_t below)
{
    if (model->tape != NULL) {
        uint64_t value = 0;
        for (uint64_t room = below - 1; room > 0 && model->tape < model->tape_end; room >>= 8) {
            value = value << 8 | *model->tape++;
        }
        return value % below;
    }
    model->random ^= model->random << 13;
    model->random ^= model->random >> 7;
    model->random ^= model->random << 17;
    return model->random % below;
}

static struct record *record_of(struct model *model, uint32_t agency, uint64_t number)
{
    assert_true(number >= 1 && number <= model->count[agency - D1]);
    return &model->inboxes[agency - D1][number];
}

static bool in_flight(const struct record *record)
{
    return record->fate == LEASED || record->fate == SETTLING;
}

static void revoke_later(struct model *model, uint32_t agency, uint64_t number)
{
    uint64_t subject = record_of(model, agency, number)->subject;
    for (uint64_t later = number + 1; subject != 0 && later <= model->count[agency - D1]; later++) {
        struct record *record = record_of(model, agency, later);
        if (record->subject == subject && record->fate == LEASED) {
            record->fate = WAITING;
        }
    }
}

static struct hub_posting posting_of(struct model *model, uint32_t agency, uint64_t number)
{
    struct hub_posting posting;
    assert_int_equal(hub_core_posting(model->world.core, agency, number, &posting), TRUC_OK);
    return posting;
}

/* May the session get it now? The whole contract, read off every posting of the subject. */
static bool may_have(struct model *model, const struct seat *seat, uint64_t number)
{
    const struct record *record = record_of(model, seat->agency, number);
    if (record->fate != WAITING) {
        return false;
    }
    struct hub_posting posting = posting_of(model, seat->agency, number);
    assert_int_equal(posting.state, HUB_POSTING_PENDING);
    if (posting.not_before_us > model->world.now_us || posting.expires_us <= model->world.now_us) {
        return false;
    }
    for (uint64_t other = 1; record->subject != 0 && other <= model->count[seat->agency - D1]; other++) {
        const struct record *there = record_of(model, seat->agency, other);
        if (there->subject != record->subject) {
            continue;
        }
        if (in_flight(there) && there->session != seat->session) {
            return false;
        }
        if (other >= number) {
            continue;
        }
        if (there->fate == WAITING || there->fate == RETURNING) {
            return false;
        }
        if (there->fate == DEAD && !model->settings->skip &&
            posting_of(model, seat->agency, other).not_before_us > model->world.now_us) {
            return false;
        }
    }
    return true;
}

static uint64_t first_for(struct model *model, const struct seat *seat)
{
    for (uint64_t number = 1; number <= model->count[seat->agency - D1]; number++) {
        if (may_have(model, seat, number)) {
            return number;
        }
    }
    return 0;
}

/* ---- what the core decided ------------------------------------------------------------------------------------- */

static void follow(struct model *model)
{
    for (size_t i = 0; i < model->world.effects.count; i++) {
        const struct hub_effect *effect = &model->world.effects.items[i];
        if (effect->kind == HUB_EFFECT_POSTED) {
            uint64_t number = ++model->count[effect->agency - D1];
            assert_int_equal(number, effect->number);
            assert_true(number < POSTINGS);
            *record_of(model, effect->agency, number) = (struct record){.subject = effect->subject};
        } else if (effect->kind == HUB_EFFECT_SETTLED) {
            record_of(model, effect->agency, effect->number)->fate = DONE;
        } else if (effect->kind == HUB_EFFECT_DEAD) {
            record_of(model, effect->agency, effect->number)->fate = DEAD;
        } else if (effect->kind == HUB_EFFECT_RETURNED || effect->kind == HUB_EFFECT_REQUEUED) {
            record_of(model, effect->agency, effect->number)->fate = WAITING;
            revoke_later(model, effect->agency, effect->number);
        }
    }
}

static void propose(struct model *model, struct proposal proposal)
{
    if (proposal.kind != HUB_INPUT_NACK && proposal.ranges.count == 0) {
        hub_ranges_close(&proposal.ranges);
        return;
    }
    assert_true(model->last - model->first < PROPOSALS);
    model->proposals[model->last++ % PROPOSALS] = proposal;
}

static void journal_one(struct model *model)
{
    struct proposal *proposal = &model->proposals[model->first++ % PROPOSALS];
    if (proposal->kind == HUB_INPUT_NACK) {
        world_nacked(&model->world, proposal->agency, proposal->number, proposal->delay_ms, proposal->reject);
    } else {
        world_ranges(&model->world, proposal->kind, proposal->agency, &proposal->ranges);
    }
    hub_ranges_close(&proposal->ranges);
    follow(model);
}

/* ---- steps ----------------------------------------------------------------------------------------------------- */

static void send_one(struct model *model)
{
    static const char *const to[] = {"D1", "D2", "D1,D2"};
    int64_t expires_us =
        draw(model, 10) == 0 ? model->world.now_us + (int64_t)draw(model, 100) * SECOND + 1 : HUB_TIME_NONE;
    world_send_until(&model->world, to[draw(model, 3)], draw(model, 8), (uint32_t)draw(model, 500) + 1, expires_us);
    follow(model);
}

static struct seat *any_seat(struct model *model)
{
    return &model->seats[draw(model, SESSIONS)];
}

static struct seat *seat_of(struct model *model, uint64_t session)
{
    for (size_t i = 0; i < SESSIONS; i++) {
        if (model->seats[i].session == session) {
            return &model->seats[i];
        }
    }
    fail_msg("no such session");
    return NULL;
}

static void give_credit(struct model *model, struct seat *seat, uint32_t events, uint64_t bytes)
{
    const struct hub_dispatch_limits *limits = &model->settings->limits;
    hub_dispatch_credit(model->world.dispatch, seat->session, events, bytes);
    seat->credit_events += events;
    seat->credit_bytes += bytes;
    seat->credit_events = seat->credit_events < limits->credit_events ? seat->credit_events : limits->credit_events;
    seat->credit_bytes = seat->credit_bytes < limits->credit_bytes ? seat->credit_bytes : limits->credit_bytes;
    assert_int_equal(hub_dispatch_credit_left(model->world.dispatch, seat->session), seat->credit_events);
}

static void sit_down(struct model *model, struct seat *seat)
{
    *seat = (struct seat){.session = ++model->next_session, .agency = D1 + (uint32_t)draw(model, 2)};
    assert_int_equal(hub_dispatch_open(model->world.dispatch, seat->session, seat->agency), TRUC_OK);
}

static void give_back(struct model *model, uint32_t agency, const struct hub_ranges *ranges, uint64_t session)
{
    for (size_t i = 0; i < ranges->count; i++) {
        for (uint32_t j = 0; j < ranges->items[i].count; j++) {
            struct record *record = record_of(model, agency, ranges->items[i].first + j);
            assert_int_equal(record->fate, LEASED);
            assert_true(session == record->session || (session == 0 && record->until_us <= model->world.now_us));
            record->fate = RETURNING;
            model->released++;
        }
    }
    for (size_t i = 0; i < ranges->count; i++) {
        for (uint32_t j = 0; j < ranges->items[i].count; j++) {
            revoke_later(model, agency, ranges->items[i].first + j);
        }
    }
}

static void stand_up(struct model *model, struct seat *seat)
{
    struct proposal proposal = {.kind = HUB_INPUT_RELEASE, .agency = seat->agency};
    assert_int_equal(hub_dispatch_close(model->world.dispatch, seat->session, &proposal.ranges), TRUC_OK);
    give_back(model, seat->agency, &proposal.ranges, seat->session);
    for (uint64_t number = 1; number <= model->count[seat->agency - D1]; number++) {
        const struct record *record = record_of(model, seat->agency, number);
        assert_false(record->fate == LEASED && record->session == seat->session);
    }
    propose(model, proposal);
    seat->session = 0;
}

static void check_delivery(struct model *model, struct seat *seat, const struct hub_delivery *delivery)
{
    uint64_t number = delivery->posting.number;
    assert_int_equal(delivery->session, seat->session);
    assert_true(may_have(model, seat, number));
    struct hub_posting posting = posting_of(model, seat->agency, number);
    assert_int_equal(delivery->posting.sequence, posting.sequence);
    assert_int_equal(delivery->posting.previous_sequence, posting.previous_sequence);
    assert_int_equal(delivery->posting.attempts, posting.attempts);
    assert_int_equal(delivery->posting.not_before_us, posting.not_before_us);
    assert_int_equal(delivery->posting.size, posting.size);
    assert_true(delivery->attempt > posting.attempts);
    assert_true(seat->credit_events > 0 && seat->credit_bytes >= posting.size);
    seat->credit_events--;
    seat->credit_bytes -= posting.size;
    assert_true(hub_dispatch_in_flight(model->world.dispatch, seat->agency, posting.sequence));
    struct record *record = record_of(model, seat->agency, number);
    record->fate = LEASED;
    record->session = seat->session;
    record->lease = delivery->lease;
    record->until_us = model->world.now_us + model->settings->limits.lease_us;
    model->delivered++;
}

static size_t take(struct model *model, struct seat *seat, size_t max, uint64_t max_bytes)
{
    struct hub_delivery items[TAKE];
    size_t count;
    uint64_t bytes = 0;
    assert_int_equal(
        hub_dispatch_take(model->world.dispatch, seat->session, model->world.now_us, max_bytes, items, max, &count),
        TRUC_OK);
    assert_true(count <= max);
    for (size_t i = 0; i < count; i++) {
        bytes += items[i].posting.size;
        assert_true(i == 0 || bytes <= max_bytes);
        assert_true(items[i].lease > model->last_lease);
        assert_int_equal(items[i].lease, items[0].lease);
        check_delivery(model, seat, &items[i]);
    }
    if (count > 0) {
        model->last_lease = items[0].lease;
    }
    assert_int_equal(hub_dispatch_credit_left(model->world.dispatch, seat->session), seat->credit_events);
    /* Nothing that it could have had was kept back. (A small window may hold less than there is.) */
    if (model->settings->limits.window == 0 && count < max && seat->credit_events > 0 && max_bytes == UINT64_MAX) {
        uint64_t next = first_for(model, seat);
        assert_true(next == 0 || posting_of(model, seat->agency, next).size > seat->credit_bytes);
    }
    return count;
}

static void serve(struct model *model)
{
    uint64_t session = hub_dispatch_ready(model->world.dispatch, model->world.now_us);
    if (session != 0) {
        struct seat *seat = seat_of(model, session);
        uint64_t max_bytes = draw(model, 2) == 0 ? UINT64_MAX : draw(model, 2000);
        assert_true(take(model, seat, draw(model, TAKE) + 1, max_bytes) > 0);
        return;
    }
    for (size_t i = 0; model->settings->limits.window == 0 && i < SESSIONS; i++) {
        const struct seat *seat = &model->seats[i];
        uint64_t next = seat->session != 0 && seat->credit_events > 0 ? first_for(model, seat) : 0;
        assert_true(next == 0 || posting_of(model, seat->agency, next).size > seat->credit_bytes);
    }
}

static bool contains(const struct hub_ranges *ranges, uint64_t number)
{
    for (size_t i = 0; i < ranges->count; i++) {
        assert_true(ranges->items[i].count > 0);
        assert_true(i == 0 || ranges->items[i].first > ranges->items[i - 1].first + ranges->items[i - 1].count);
        if (number >= ranges->items[i].first && number - ranges->items[i].first < ranges->items[i].count) {
            return true;
        }
    }
    return false;
}

static void ack_range(struct model *model, struct seat *seat, uint64_t lease, struct hub_range range,
                      struct proposal *proposal)
{
    struct hub_ranges valid = {0}, stale = {0};
    assert_int_equal(hub_dispatch_ack(model->world.dispatch, seat->session, lease, range, &valid, &stale), TRUC_OK);
    for (uint64_t number = range.first; number < range.first + range.count; number++) {
        struct record *record =
            number >= 1 && number <= model->count[seat->agency - D1] ? record_of(model, seat->agency, number) : NULL;
        bool ours =
            record != NULL && record->fate == LEASED && record->session == seat->session && record->lease == lease;
        assert_int_equal(contains(&valid, number), ours);
        assert_int_equal(contains(&stale, number), !ours);
        model->stale += !ours;
        if (ours) {
            record->fate = SETTLING;
        }
    }
    proposal->kind = HUB_INPUT_ACK;
    proposal->agency = seat->agency;
    proposal->ranges = valid;
    hub_ranges_close(&stale);
}

static void ack_some(struct model *model, struct seat *seat)
{
    struct proposal proposal = {.kind = HUB_INPUT_ACK};
    uint64_t known = model->count[seat->agency - D1];
    uint64_t number = draw(model, known + 2);
    struct hub_range range = {number, (uint32_t)draw(model, draw(model, 4) == 0 ? 200 : 8) + 1};
    uint64_t lease = model->last_lease - draw(model, 5);
    if (number >= 1 && number <= known && draw(model, 4) != 0) {
        lease = record_of(model, seat->agency, number)->lease;
    }
    ack_range(model, seat, lease, range, &proposal);
    propose(model, proposal);
}

static void nack_one(struct model *model, struct seat *seat)
{
    uint64_t known = model->count[seat->agency - D1];
    uint64_t number = draw(model, known + 1) + 1;
    struct record *record = number <= known ? record_of(model, seat->agency, number) : NULL;
    uint64_t lease = record != NULL && draw(model, 8) != 0 ? record->lease : model->last_lease;
    bool ours = record != NULL && record->fate == LEASED && record->session == seat->session && record->lease == lease;
    assert_int_equal(hub_dispatch_nack(model->world.dispatch, seat->session, lease, number), ours);
    if (ours) {
        record->fate = RETURNING;
        revoke_later(model, seat->agency, number);
        propose(model, (struct proposal){.kind = HUB_INPUT_NACK,
                                         .agency = seat->agency,
                                         .number = number,
                                         .delay_ms = (uint32_t)draw(model, 3) * 1000,
                                         .reject = draw(model, 4) == 0});
    }
}

static void due(struct model *model)
{
    for (;;) {
        struct proposal proposal = {.kind = HUB_INPUT_RELEASE};
        assert_int_equal(hub_dispatch_due(model->world.dispatch, model->world.now_us, &proposal.agency, &proposal.kind,
                                          &proposal.ranges),
                         TRUC_OK);
        if (proposal.agency == 0) {
            break;
        }
        if (proposal.kind == HUB_INPUT_RELEASE) {
            give_back(model, proposal.agency, &proposal.ranges, 0);
        } else {
            assert_int_equal(proposal.kind, HUB_INPUT_EXPIRE);
            for (size_t i = 0; i < proposal.ranges.count; i++) {
                for (uint32_t j = 0; j < proposal.ranges.items[i].count; j++) {
                    uint64_t number = proposal.ranges.items[i].first + j;
                    assert_int_equal(record_of(model, proposal.agency, number)->fate, WAITING);
                    assert_true(posting_of(model, proposal.agency, number).expires_us <= model->world.now_us);
                    model->expired++;
                }
            }
        }
        propose(model, proposal);
    }
    for (uint32_t agency = D1; agency <= D2; agency++) {
        for (uint64_t number = 1; number <= model->count[agency - D1]; number++) {
            const struct record *record = record_of(model, agency, number);
            assert_false(record->fate == LEASED && record->until_us <= model->world.now_us);
        }
    }
    int64_t next_us = hub_dispatch_next_us(model->world.dispatch);
    assert_true(next_us > model->world.now_us || model->settings->limits.window != 0);
}

static void treat_dead(struct model *model)
{
    uint32_t agency = D1 + (uint32_t)draw(model, 2);
    uint64_t known = model->count[agency - D1];
    for (uint64_t i = 0, number = draw(model, known + 1); i < known; i++) {
        number = number % known + 1;
        if (record_of(model, agency, number)->fate == DEAD) {
            world_dead_letter(&model->world, agency, number, draw(model, 4) == 0);
            model->requeued++;
            follow(model);
            return;
        }
    }
}

static void restart(struct model *model)
{
    while (model->first < model->last) { /* what was not journaled is lost */
        hub_ranges_close(&model->proposals[model->first++ % PROPOSALS].ranges);
    }
    world_boot(&model->world);
    model->last_lease += 1000;
    world_dispatch(&model->world, model->settings, model->last_lease);
    for (size_t i = 0; i < SESSIONS; i++) {
        model->seats[i].session = 0;
    }
    for (uint32_t agency = D1; agency <= D2; agency++) {
        for (uint64_t number = 1; number <= model->count[agency - D1]; number++) {
            struct record *record = record_of(model, agency, number);
            record->fate = in_flight(record) || record->fate == RETURNING ? WAITING : record->fate;
        }
    }
}

static void step(struct model *model)
{
    uint64_t what = draw(model, 1000);
    struct seat *seat = any_seat(model);
    if (seat->session == 0) {
        sit_down(model, seat);
    }
    if (what < 200) {
        send_one(model);
    } else if (what < 330) {
        give_credit(model, seat, (uint32_t)draw(model, 20), draw(model, 6000));
    } else if (what < 520) {
        serve(model);
    } else if (what < 560) {
        take(model, seat, draw(model, TAKE), UINT64_MAX);
    } else if (what < 720) {
        ack_some(model, seat);
    } else if (what < 760) {
        nack_one(model, seat);
    } else if (what < 780) {
        stand_up(model, seat);
    } else if (what < 840) {
        model->world.now_us += (int64_t)draw(model, 20) * SECOND;
        due(model);
    } else if (what < 860) {
        treat_dead(model);
    } else if (what < 862) {
        restart(model);
    } else if (model->first < model->last) {
        journal_one(model);
    }
    size_t window = model->settings->limits.window;
    assert_true(window == 0 || hub_dispatch_entries(model->world.dispatch) <= 2 * 2 * window + model->requeued);
}

#endif
