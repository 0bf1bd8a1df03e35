/* The state environment under the real core: whatever is committed when, the same rows give the same map. */
#include "tests/contract/state_fixture.h"

#include "hub/store/writer.h"

#include <pthread.h>

static void commits_and_restarts_leave_no_mark(void **state)
{
    struct world *world = *state;
    struct truc_buffer expected = {0}, on_disk = {0};
    plain_dump(world, &expected);
    for (uint64_t until = 7; until < ROWS + 7; until += 7) {
        struct hub_state *store = open_state(world, QUOTA);
        struct hub_core *core = open_core(store);
        uint64_t from = hub_core_applied(core);
        assert_true(from == (until == 7 ? 0 : until - 7 - 3)); /* what was not committed is applied again */
        uint64_t to = until < ROWS ? until : ROWS;
        apply(world, core, to < ROWS ? to - 3 : to);
        flush(store, core);
        apply(world, core, to); /* three rows more that die with the process */
        hub_core_free(&core);
        hub_state_close(&store);
    }
    struct hub_state *store = open_state(world, QUOTA);
    struct hub_core *core = open_core(store);
    assert_true(hub_core_applied(core) == ROWS);
    expect_dump(core, &expected);
    struct hub_port port = hub_state_port(store);
    assert_ok(port.scan(port.context, truc_bytes(NULL, 0), add_to_dump, &on_disk));
    assert_true(truc_bytes_equal(truc_buffer_view(&on_disk), truc_buffer_view(&expected)));
    hub_core_free(&core);
    hub_state_close(&store);
    truc_buffer_close(&expected);
    truc_buffer_close(&on_disk);
}

static void the_core_goes_on_while_a_batch_is_committed(void **state)
{
    struct world *world = *state;
    struct truc_buffer expected = {0};
    struct hub_dirty *dirty;
    plain_dump(world, &expected);
    struct hub_state *store = open_state(world, QUOTA);
    struct hub_core *core = open_core(store);
    apply(world, core, 20);
    assert_ok(hub_core_freeze(core, &dirty));
    assert_true(hub_dirty_applied(dirty) == 20);
    apply(world, core, 40);
    assert_ok(hub_state_commit(store, dirty));
    apply(world, core, 45); /* the port still shows what was before */
    assert_ok(hub_state_refresh(store));
    hub_core_thaw(core, &dirty);
    apply(world, core, ROWS);
    expect_dump(core, &expected);
    flush(store, core);
    expect_dump(core, &expected);
    hub_core_free(&core);
    hub_state_close(&store);
    truc_buffer_close(&expected);
}

struct bell {
    pthread_mutex_t lock;
    pthread_cond_t rung;
    bool ringing;
};

static void ring(void *context)
{
    struct bell *bell = context;
    (void)pthread_mutex_lock(&bell->lock);
    bell->ringing = true;
    (void)pthread_cond_signal(&bell->rung);
    (void)pthread_mutex_unlock(&bell->lock);
}

static void the_flusher_commits_one_set_at_a_time(void **state)
{
    struct world *world = *state;
    struct truc_buffer expected = {0};
    struct bell bell = {.lock = PTHREAD_MUTEX_INITIALIZER, .rung = PTHREAD_COND_INITIALIZER};
    struct hub_flusher *flusher;
    plain_dump(world, &expected);
    struct hub_state *store = open_state(world, QUOTA);
    struct hub_core *core = open_core(store);
    assert_ok(hub_flusher_new(store, ring, &bell, &flusher));
    for (uint64_t until = 10; until <= ROWS; until += 10) {
        struct hub_dirty *dirty;
        truc_error result;
        apply(world, core, until - 5);
        assert_ok(hub_core_freeze(core, &dirty));
        assert_true(hub_flusher_submit(flusher, dirty));
        assert_false(hub_flusher_submit(flusher, dirty));
        apply(world, core, until); /* beside the thread */
        (void)pthread_mutex_lock(&bell.lock);
        while (!bell.ringing) {
            (void)pthread_cond_wait(&bell.rung, &bell.lock);
        }
        bell.ringing = false;
        (void)pthread_mutex_unlock(&bell.lock);
        assert_true(hub_flusher_finished(flusher, &result));
        assert_ok(result);
        assert_false(hub_flusher_finished(flusher, &result));
        assert_ok(hub_state_refresh(store));
        hub_core_thaw(core, &dirty);
    }
    expect_dump(core, &expected);
    hub_flusher_free(&flusher);
    hub_core_free(&core);
    hub_state_close(&store);
    truc_buffer_close(&expected);
}

static void notes_travel_with_the_next_commit(void **state)
{
    struct world *world = *state;
    struct truc_buffer seen = {0};
    struct hub_state *store = open_state(world, QUOTA);
    struct hub_core *core = open_core(store);
    apply(world, core, 3);
    assert_ok(hub_state_note(store, "checkpoint", truc_bytes_of("old")));
    assert_ok(hub_state_note(store, "boots", truc_bytes_of("1")));
    assert_ok(hub_state_note(store, "checkpoint", truc_bytes_of("new")));
    expect_note(store, "checkpoint", "new");
    flush(store, core);
    expect_note(store, "checkpoint", "new");
    assert_ok(hub_state_note(store, "checkpoint", truc_bytes_of("lost")));
    expect_note(store, "checkpoint", "lost");
    hub_core_free(&core);
    hub_state_close(&store);
    store = open_state(world, QUOTA);
    expect_note(store, "checkpoint", "new");
    expect_note(store, "boots", "1");
    assert_int_equal(hub_state_noted(store, "nothing", &seen), TRUC_E_NOT_FOUND);
    assert_int_equal(hub_state_note(store, "", truc_bytes_of("x")), TRUC_E_INVALID);
    hub_state_close(&store);
    truc_buffer_close(&seen);
}

static void a_full_state_changes_nothing_and_goes_on_with_more_room(void **state)
{
    struct world *world = *state;
    struct truc_buffer expected = {0};
    struct hub_dirty *dirty;
    uint8_t *ballast = calloc(1, 200000);
    assert_non_null(ballast);
    plain_dump(world, &expected);
    struct hub_state *store = open_state(world, 150000);
    struct hub_core *core = open_core(store);
    apply(world, core, ROWS);
    assert_ok(hub_state_note(store, "ballast", truc_bytes(ballast, 200000)));
    assert_ok(hub_core_freeze(core, &dirty));
    assert_int_equal(hub_state_commit(store, dirty), TRUC_E_FULL);
    assert_int_equal(hub_state_commit(store, dirty), TRUC_E_FULL); /* the note was kept: it still does not fit */
    assert_ok(hub_state_note(store, "ballast", truc_bytes_of("little")));
    assert_ok(hub_state_commit(store, dirty));
    assert_ok(hub_state_refresh(store));
    hub_core_thaw(core, &dirty);
    expect_dump(core, &expected);
    assert_true(hub_state_used_bytes(store) <= 150000 + 4096);
    hub_core_free(&core);
    hub_state_close(&store);
    store = open_state(world, QUOTA);
    core = open_core(store);
    assert_true(hub_core_applied(core) == ROWS);
    expect_dump(core, &expected);
    hub_core_free(&core);
    hub_state_close(&store);
    truc_buffer_close(&expected);
    free(ballast);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(commits_and_restarts_leave_no_mark, set_up, tear_down),
        cmocka_unit_test_setup_teardown(the_core_goes_on_while_a_batch_is_committed, set_up, tear_down),
        cmocka_unit_test_setup_teardown(the_flusher_commits_one_set_at_a_time, set_up, tear_down),
        cmocka_unit_test_setup_teardown(notes_travel_with_the_next_commit, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_full_state_changes_nothing_and_goes_on_with_more_room, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
