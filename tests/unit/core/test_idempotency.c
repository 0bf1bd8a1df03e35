/* What was accepted is found again: from the table, from runs that are built and being built, after a restart, and not
 * after the horizon. Runs are of 1,024 records here, so that a story has many. */
#define CORE_RUN_BITS 10
#include "hub/core/idempotency.c"
#include "hub/core/idempotency_runs.c"

#include "tests/unit/core/test_core_world.h"

#define HORIZON_S 1000

struct place {
    struct memory memory;
    struct hub_core *core;
};

static void open_core(struct place *place)
{
    const struct hub_port port = {&place->memory, memory_get, memory_scan};
    assert_ok(hub_core_new(&port, &place->core));
    place->core->parameters.past_horizon_s = HORIZON_S;
}

static void write_out(struct place *place)
{
    struct hub_dirty *dirty;
    assert_ok(hub_core_freeze(place->core, &dirty));
    memory_commit(&place->memory, dirty);
    hub_core_thaw(place->core, &dirty);
}

static truc_error restart(struct place *place)
{
    uint64_t first = place->core->idempotency.first, next = place->core->idempotency.next;
    write_out(place);
    hub_core_free(&place->core);
    open_core(place);
    place->core->idempotency.first = first;
    place->core->idempotency.next = next;
    return core_idempotency_load(place->core);
}

static int set_up(void **state)
{
    struct place *place = calloc(1, sizeof *place);
    assert_non_null(place);
    open_core(place);
    *state = place;
    return 0;
}

static int tear_down(void **state)
{
    struct place *place = *state;
    hub_core_free(&place->core);
    memory_close(&place->memory);
    free(place);
    return 0;
}

/* Keys as SHA-256 makes them, but that every third shares its tag with another one. */
static void key_of(uint64_t number, uint8_t out[16])
{
    uint64_t shared = number % 3 == 0 ? number / 2 : number;
    struct truc_hash hash;
    truc_sha256(&hash, truc_bytes(&shared, sizeof shared));
    memcpy(out, hash.bytes, 8);
    store64(out + 8, number);
}

static void add(struct place *place, uint64_t number)
{
    struct hub_event_facts facts = {0};
    key_of(number, facts.key);
    store64(facts.leaf_hash.bytes, number);
    place->core->accepted_at_us = (int64_t)number * SECOND;
    assert_ok(core_idempotency_add(place->core, &facts, number + 7));
}

static bool has(struct place *place, uint64_t number)
{
    struct core_accepted found;
    uint8_t key[16];
    key_of(number, key);
    truc_error error = core_idempotency_find(place->core, key, &found);
    if (error == TRUC_E_NOT_FOUND) {
        return false;
    }
    assert_ok(error);
    assert_int_equal(found.sequence, number + 7);
    assert_int_equal(load64(found.hash), number);
    assert_int_equal(found.accepted_at_us, (int64_t)number * SECOND);
    return true;
}

static void all_are_found(struct place *place, uint64_t first, uint64_t next)
{
    for (uint64_t i = first; i < next; i++) {
        assert_true(has(place, i));
    }
    for (uint64_t i = next; i < next + 2000; i++) {
        assert_false(has(place, i));
    }
}

static void every_record_is_found_however_far_the_runs_are(void **state)
{
    struct place *place = *state;
    const uint64_t stops[] = {1, 511, 1024, 1535, 1536, 1537, 2047, 2048, 2049, 3072, 9000};
    uint64_t next = 0;
    for (size_t i = 0; i < sizeof stops / sizeof stops[0]; i++) {
        while (next < stops[i]) {
            add(place, next++);
        }
        all_are_found(place, 0, next);
        assert_ok(restart(place));
        all_are_found(place, 0, next);
    }
    assert_true(place->core->idempotency.run_count >= 7);
    assert_true(place->core->idempotency.count <= 2 * RUN_RECORDS); /* memory holds the newest only */
}

static void what_is_past_the_horizon_is_forgotten_and_its_runs_with_it(void **state)
{
    struct place *place = *state;
    uint64_t next = 0;
    while (next < 9000) {
        add(place, next++);
    }
    for (uint64_t first = 0; first < 9000; first += 613) {
        assert_ok(core_idempotency_forget(place->core, (int64_t)(first + HORIZON_S) * SECOND));
        assert_int_equal(place->core->idempotency.first, first);
        assert_true(first == 0 || !has(place, first - 1));
        all_are_found(place, first, next);
        assert_true(place->core->idempotency.run_count <= 9 - first / RUN_RECORDS);
        assert_ok(restart(place));
    }
    assert_ok(core_idempotency_forget(place->core, INT64_C(20000) * SECOND));
    write_out(place);
    for (size_t i = 0; i < place->memory.count; i++) {
        assert_int_not_equal(place->memory.items[i].key.data[0], CORE_RUN);
    }
    add(place, next);
    assert_true(has(place, next));
}

/* The state is a function of the inputs: when it was written or read again leaves no trace. */
static void runs_do_not_depend_on_restarts(void **state)
{
    struct place *place = *state, other = {0};
    open_core(&other);
    for (uint64_t next = 0; next < 6000; next++) {
        add(place, next);
        add(&other, next);
        if (next % 700 == 0) {
            assert_ok(restart(&other));
        }
        if (next > 4000) {
            assert_ok(core_idempotency_forget(place->core, (int64_t)(next - 2000 + HORIZON_S) * SECOND));
            assert_ok(core_idempotency_forget(other.core, (int64_t)(next - 2000 + HORIZON_S) * SECOND));
        }
    }
    write_out(place);
    write_out(&other);
    assert_int_equal(place->memory.count, other.memory.count);
    for (size_t i = 0; i < other.memory.count; i++) {
        struct truc_bytes a = truc_buffer_view(&place->memory.items[i].value);
        struct truc_bytes b = truc_buffer_view(&other.memory.items[i].value);
        assert_true(truc_bytes_equal(a, b));
    }
    hub_core_free(&other.core);
    memory_close(&other.memory);
}

static void a_state_whose_runs_lack_something_is_not_opened(void **state)
{
    struct place *place = *state;
    for (uint64_t next = 0; next < 5000; next++) {
        add(place, next);
    }
    write_out(place);
    for (size_t i = 0; i < place->memory.count; i++) {
        if (place->memory.items[i].key.data[0] == CORE_RUN) {
            place->memory.items[i].value.size = 8;
            break;
        }
    }
    assert_int_equal(restart(place), TRUC_E_CORRUPT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(every_record_is_found_however_far_the_runs_are, set_up, tear_down),
        cmocka_unit_test_setup_teardown(what_is_past_the_horizon_is_forgotten_and_its_runs_with_it, set_up, tear_down),
        cmocka_unit_test_setup_teardown(runs_do_not_depend_on_restarts, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_state_whose_runs_lack_something_is_not_opened, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
