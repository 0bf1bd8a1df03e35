/* A damaged state: whatever of it was changed is noticed where it is read, and the whole can be made again. */
#include "tests/contract/state_fixture.h"

#include <lmdb.h>

static void a_damaged_state_says_that_it_can_be_made_again(void **state)
{
    struct world *world = *state;
    struct hub_state *store = open_state(world, QUOTA);
    struct hub_core *core = open_core(store);
    char *path = path_in(world->folder, "state.mdb"), why[256];
    apply(world, core, ROWS);
    flush(store, core);
    hub_core_free(&core);
    hub_state_close(&store);
    assert_int_equal(truncate(path, 20000), 0);
    assert_int_equal(hub_state_open(world->folder, QUOTA, true, false, &store, why), TRUC_E_CORRUPT);
    assert_non_null(strstr(why, "truncated"));
    assert_non_null(strstr(why, "the journal can make it again"));
    assert_int_equal(unlink(path), 0);
    store = open_state(world, QUOTA);
    core = open_core(store);
    assert_true(hub_core_applied(core) == 0);
    hub_core_free(&core);
    hub_state_close(&store);
    free(path);
}

static void a_state_that_was_given_up_is_made_again_once(void **state)
{
    struct world *world = *state;
    struct truc_buffer why = {0};
    char *path = path_in(world->folder, "state.mdb"), *word = path_in(world->folder, "state.damaged");
    assert_int_equal(hub_state_renew(world->folder, &why), TRUC_E_NOT_FOUND);
    struct hub_state *store = open_state(world, QUOTA);
    struct hub_core *core = open_core(store);
    apply(world, core, ROWS);
    flush(store, core);
    hub_core_free(&core);
    hub_state_close(&store);
    assert_ok(hub_state_condemn(world->folder, "a value"));
    assert_ok(hub_state_condemn(world->folder, "another value")); /* who says it last is heard */
    assert_int_equal(access(path, F_OK), 0);
    assert_ok(hub_state_renew(world->folder, &why));
    assert_true(truc_bytes_equal(truc_buffer_view(&why), truc_bytes_of("another value")));
    assert_true(access(path, F_OK) != 0 && access(word, F_OK) != 0);
    assert_int_equal(hub_state_renew(world->folder, &why), TRUC_E_NOT_FOUND);
    store = open_state(world, QUOTA);
    core = open_core(store);
    assert_true(hub_core_applied(core) == 0);
    hub_core_free(&core);
    hub_state_close(&store);
    /* A crash between the two removals: the word is still there, and the state is not. */
    assert_ok(hub_state_condemn(world->folder, "a value"));
    assert_int_equal(unlink(path), 0);
    assert_ok(hub_state_renew(world->folder, &why));
    /* Nowhere to leave the word. */
    assert_int_equal(hub_state_condemn(path, "a value"), TRUC_E_IO);
    truc_buffer_close(&why);
    free(path);
    free(word);
}

static truc_error count_each(void *context, struct truc_bytes key, struct truc_bytes value)
{
    (void)key, (void)value;
    ++*(size_t *)context;
    return TRUC_OK;
}

/* One byte of the value that stands `at`-th in a table is changed behind the store's back. -> false: there is none */
static bool flip_value(const char *path, const char *table, size_t at)
{
    MDB_env *env;
    MDB_txn *txn;
    MDB_dbi map;
    MDB_cursor *cursor;
    MDB_val key, value;
    assert_int_equal(mdb_env_create(&env), 0);
    assert_int_equal(mdb_env_set_maxdbs(env, 4), 0);
    assert_int_equal(mdb_env_set_mapsize(env, QUOTA), 0);
    assert_int_equal(mdb_env_open(env, path, MDB_NOSUBDIR | MDB_NOLOCK, 0600), 0);
    assert_int_equal(mdb_txn_begin(env, NULL, 0, &txn), 0);
    assert_int_equal(mdb_dbi_open(txn, table, 0, &map), 0);
    assert_int_equal(mdb_cursor_open(txn, map, &cursor), 0);
    int code = mdb_cursor_get(cursor, &key, &value, MDB_FIRST);
    for (size_t i = 0; code == 0 && i < at; i++) {
        code = mdb_cursor_get(cursor, &key, &value, MDB_NEXT);
    }
    if (code == 0) {
        uint8_t *changed = malloc(value.mv_size);
        assert_non_null(changed);
        memcpy(changed, value.mv_data, value.mv_size);
        changed[at * 31 % value.mv_size] ^= 0x20;
        MDB_val to = {value.mv_size, changed};
        assert_int_equal(mdb_cursor_put(cursor, &key, &to, MDB_CURRENT), 0);
        free(changed);
    }
    mdb_cursor_close(cursor);
    assert_int_equal(mdb_txn_commit(txn), 0);
    mdb_env_close(env);
    return code == 0;
}

static void a_changed_byte_in_any_value_is_never_used(void **state)
{
    struct world *world = *state;
    char *path = path_in(world->folder, "state.mdb"), why[256];
    size_t values = 0, flipped = 0;
    do {
        struct hub_state *store = open_state(world, QUOTA);
        struct hub_core *core = open_core(store);
        apply(world, core, ROWS);
        flush(store, core);
        hub_core_free(&core);
        values = 0;
        struct hub_port port = hub_state_port(store);
        assert_int_equal(port.scan(port.context, truc_bytes(NULL, 0), count_each, &values), TRUC_OK);
        hub_state_close(&store);
        if (!flip_value(path, "map", flipped)) {
            break;
        }
        assert_int_equal(hub_state_open(world->folder, QUOTA, false, false, &store, why), TRUC_OK);
        port = hub_state_port(store);
        size_t seen = 0;
        assert_int_equal(port.scan(port.context, truc_bytes(NULL, 0), count_each, &seen), TRUC_E_CORRUPT);
        assert_int_equal(seen, flipped);
        hub_state_close(&store);
        assert_int_equal(unlink(path), 0);
    } while (++flipped < 200);
    assert_true(flipped > 10 && flipped <= values);
    free(path);
}

static void a_changed_byte_in_a_note_is_never_used(void **state)
{
    static const char *const names[] = {"checkpoint", "slots"};
    struct world *world = *state;
    struct truc_buffer seen = {0};
    char *path = path_in(world->folder, "state.mdb");
    struct hub_state *store = open_state(world, QUOTA);
    struct hub_core *core = open_core(store);
    apply(world, core, 3);
    assert_ok(hub_state_note(store, names[0], truc_bytes_of("what was signed last")));
    assert_ok(hub_state_note(store, names[1], truc_bytes("\0\0\0\0\0\0\0\7", 8)));
    flush(store, core);
    hub_core_free(&core);
    hub_state_close(&store);
    for (size_t damaged = 0; damaged < 2; damaged++) {
        assert_true(flip_value(path, "notes", damaged));
        store = open_state(world, QUOTA);
        assert_false(hub_state_is_damaged(store));
        for (size_t i = 0; i < 2; i++) {
            truc_buffer_clear(&seen);
            assert_int_equal(hub_state_noted(store, names[i], &seen), i == damaged ? TRUC_E_CORRUPT : TRUC_OK);
            assert_int_equal(seen.size, i == damaged ? 0 : i == 0 ? 20 : 8);
        }
        assert_true(hub_state_is_damaged(store));
        hub_state_close(&store);
        assert_true(flip_value(path, "notes", damaged)); /* back */
    }
    assert_false(flip_value(path, "notes", 2));
    truc_buffer_close(&seen);
    free(path);
}

/* LMDB does not write pages that a transaction took and gave back: the file may end before its last page. -> whether */
static bool fill_and_empty(const char *path, uint32_t round)
{
    MDB_env *env;
    MDB_txn *txn;
    MDB_dbi notes;
    MDB_envinfo info;
    struct stat status;
    assert_int_equal(mdb_env_create(&env), 0);
    assert_int_equal(mdb_env_set_maxdbs(env, 4), 0);
    assert_int_equal(mdb_env_set_mapsize(env, QUOTA), 0);
    assert_int_equal(mdb_env_open(env, path, MDB_NOSUBDIR | MDB_NOLOCK, 0600), 0);
    assert_int_equal(mdb_txn_begin(env, NULL, 0, &txn), 0);
    assert_int_equal(mdb_dbi_open(txn, "notes", 0, &notes), 0);
    for (uint32_t i = 0; i < 400; i++) {
        char name[16];
        uint32_t number = i < 200 ? (round + 1) * 1000 + i : round * 1000 + i - 200; /* these, for those of before */
        int size = snprintf(name, sizeof name, "%08x", number);
        MDB_val key = {(size_t)size, name}, value = {(size_t)size, name};
        int code = i < 200 ? mdb_put(txn, notes, &key, &value, 0) : mdb_del(txn, notes, &key, NULL);
        assert_true(code == 0 || (round == 0 && code == MDB_NOTFOUND));
    }
    assert_int_equal(mdb_txn_commit(txn), 0);
    assert_int_equal(mdb_env_info(env, &info), 0);
    mdb_env_close(env);
    assert_int_equal(stat(path, &status), 0);
    return (uint64_t)status.st_size < (info.me_last_pgno + 1) * 4096;
}

static void an_end_that_was_never_written_is_no_damage(void **state)
{
    struct world *world = *state;
    struct hub_state *store = open_state(world, QUOTA);
    struct hub_core *core = open_core(store);
    char *path = path_in(world->folder, "state.mdb"), why[256];
    struct stat status;
    uint32_t round = 0;
    apply(world, core, ROWS);
    flush(store, core);
    hub_core_free(&core);
    hub_state_close(&store);
    while (!fill_and_empty(path, round++)) {
        assert_true(round < 50);
    }
    store = open_state(world, QUOTA);
    core = open_core(store);
    assert_true(hub_core_applied(core) == ROWS);
    hub_core_free(&core);
    hub_state_close(&store);
    assert_int_equal(stat(path, &status), 0);
    assert_int_equal(truncate(path, status.st_size - 8192), 0); /* these were written */
    assert_int_equal(hub_state_open(world->folder, QUOTA, true, false, &store, why), TRUC_E_CORRUPT);
    assert_non_null(strstr(why, "truncated"));
    free(path);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_damaged_state_says_that_it_can_be_made_again, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_state_that_was_given_up_is_made_again_once, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_changed_byte_in_any_value_is_never_used, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_changed_byte_in_a_note_is_never_used, set_up, tear_down),
        cmocka_unit_test_setup_teardown(an_end_that_was_never_written_is_no_damage, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
