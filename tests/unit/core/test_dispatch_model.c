/* The dispatcher against the model of dispatch_model.h, along random but repeatable ways. */
#include "tests/unit/core/dispatch_model.h"

/* Everybody comes back, takes all and acks all: in the end nothing is left but dead letters. */
static void drain(struct model *model)
{
    for (size_t i = 0; i < SESSIONS; i++) {
        if (model->seats[i].session != 0) {
            stand_up(model, &model->seats[i]);
        }
    }
    for (uint32_t agency = D1; agency <= D2; agency++) {
        model->seats[agency - D1] = (struct seat){.session = ++model->next_session, .agency = agency};
        assert_int_equal(hub_dispatch_open(model->world.dispatch, model->next_session, agency), TRUC_OK);
    }
    for (unsigned round = 0; round < 600; round++) {
        uint64_t session;
        for (uint32_t agency = D1; agency <= D2; agency++) {
            give_credit(model, &model->seats[agency - D1], 1000, 100000);
        }
        while ((session = hub_dispatch_ready(model->world.dispatch, model->world.now_us)) != 0) {
            struct seat *seat = seat_of(model, session);
            assert_true(take(model, seat, TAKE, UINT64_MAX) > 0);
            struct proposal proposal = {.kind = HUB_INPUT_ACK};
            ack_range(model, seat, model->last_lease, (struct hub_range){1, POSTINGS}, &proposal);
            propose(model, proposal);
        }
        while (model->first < model->last) {
            journal_one(model);
        }
        model->world.now_us += 2 * SECOND;
        due(model);
    }
    for (uint32_t agency = D1; agency <= D2; agency++) {
        assert_int_equal(hub_core_agency_by_number(model->world.core, agency)->pending, 0);
    }
    assert_int_equal(hub_dispatch_entries(model->world.dispatch), 0);
}

static void play(const struct world_settings *settings, uint64_t seed, unsigned steps)
{
    struct model *model = calloc(1, sizeof *model);
    assert_non_null(model);
    model->settings = settings;
    model->random = seed;
    world_open(&model->world, settings);
    for (unsigned i = 0; i < steps; i++) {
        step(model);
    }
    drain(model);
    assert_true(model->delivered > 100 && model->stale > 100 && model->released > 50);
    assert_true(model->expired > 0 && model->requeued > 0);
    world_close(&model->world);
    free(model);
}

static void test_with_a_wide_window(void **state)
{
    (void)state;
    const struct world_settings settings = {
        .max_attempts = 4,
        .hold_s = 100,
        .limits = {.lease_us = 30 * SECOND, .credit_events = 60, .credit_bytes = 20000, .seed = 99}};
    for (uint64_t seed = 1; seed <= 6; seed++) {
        play(&settings, seed * 7919, 4000);
    }
}

static void test_with_a_window_of_eight(void **state)
{
    (void)state;
    const struct world_settings settings = {
        .max_attempts = 4,
        .hold_s = 100,
        .limits = {.window = 8, .lease_us = 30 * SECOND, .credit_events = 60, .credit_bytes = 20000}};
    for (uint64_t seed = 1; seed <= 6; seed++) {
        play(&settings, seed * 104729, 4000);
    }
}

static void test_with_dead_letters_that_are_skipped(void **state)
{
    (void)state;
    const struct world_settings settings = {
        .max_attempts = 2,
        .hold_s = 100,
        .skip = true,
        .limits = {.lease_us = 30 * SECOND, .credit_events = 60, .credit_bytes = 20000, .seed = 5}};
    for (uint64_t seed = 1; seed <= 3; seed++) {
        play(&settings, seed * 15485863, 4000);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_with_a_wide_window),
        cmocka_unit_test(test_with_a_window_of_eight),
        cmocka_unit_test(test_with_dead_letters_that_are_skipped),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
