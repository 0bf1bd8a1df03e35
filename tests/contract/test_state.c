/* The state environment under the real core: whatever is committed when, the same rows give the same map. */
#include "tests/contract/fixture.h"

#include <lmdb.h>

#include "hub/store/governance.h"
#include "hub/store/home.h"
#include "hub/store/state.h"
#include "hub/store/writer.h"
#include "truc/event.h"

#include <pthread.h>

#define ORIGIN "gov.example/truc"
#define ROWS 60
#define QUOTA (64u << 20)

/* Rows as they would lie in a journal: genesis, then an administrator enrols one agency after the other. */
struct world {
    char *folder;
    struct truc_bytes rows[ROWS];
    struct hub_row_reader *reader;
};

static void seal_governance(struct sealed *out, struct truc_key *key, uint64_t number, const struct truc_hash *previous,
                            const Truc__V1__Governance *act, struct truc_arena *arena)
{
    uint8_t packed[1024], salt[TRUC_SALT_SIZE] = {1};
    char id[32];
    struct truc_buffer bytes = {0};
    size_t size = truc__v1__governance__get_packed_size(act);
    assert_true(size <= sizeof packed);
    (void)truc__v1__governance__pack(act, packed);
    (void)snprintf(id, sizeof id, "act-%u", (unsigned)number);
    struct truc_event event = {
        .id = truc_bytes_of(id),
        .source = truc_bytes_of("urn:truc:TRUC.ADMIN.1"),
        .spec_version = truc_bytes_of("1.0"),
        .type = truc_bytes_of(TRUC_TYPE_GOVERNANCE),
        .data_kind = TRUC_DATA_BINARY,
        .data = truc_bytes(packed, size),
    };
    assert_ok(truc_event_set_bytes(&event, "salt", truc_bytes(salt, sizeof salt)));
    assert_ok(truc_event_encode(&event, &bytes));

    sealed_make(out, key, 1, bytes.size, number); /* then its only event is put in the place of the random one */
    out->body.size = 0;
    assert_ok(truc_body_append(&out->body, truc_buffer_view(&bytes)));
    out->item.body = truc_buffer_view(&out->body);
    struct hub_event_facts *facts = &out->facts[0];
    *facts = (struct hub_event_facts){
        .size = (uint32_t)bytes.size,
        .kind = HUB_EVENT_GOVERNANCE,
        .time_us = HUB_TIME_NONE,
        .expires_us = HUB_TIME_NONE,
        .type = truc_bytes_of(TRUC_TYPE_GOVERNANCE),

    };
    const uint8_t *data = memmem(out->body.data, out->body.size, packed, size);
    assert_non_null(data);
    facts->governance_bytes = truc_bytes(data, size);
    truc_leaf_hash(&facts->leaf_hash, truc_buffer_view(&bytes));
    truc_event_key(truc_bytes_of("TRUC.ADMIN.1"), event.source, event.id, facts->key);
    assert_ok(hub_governance_decode(facts->governance_bytes, arena, &facts->governance));

    struct hub_seal_input *input = &out->item.input.u.seal;
    (void)snprintf(input->seal.origin, sizeof input->seal.origin, ORIGIN);
    (void)snprintf(input->seal.sender, sizeof input->seal.sender, "TRUC.ADMIN.1");
    input->seal.has_previous = true;
    input->seal.previous = *previous;
    struct truc_hash leaf = facts->leaf_hash;
    truc_merkle_root(&leaf, 1, &input->seal.root);
    truc_buffer_clear(&out->envelope);
    assert_ok(truc_seal_sign(&input->seal, key, &out->envelope, &input->digest));
    input->envelope = truc_buffer_view(&out->envelope);
    truc_buffer_close(&bytes);
}

static struct truc_bytes copy_of(struct truc_bytes bytes)
{
    uint8_t *copy = malloc(bytes.size);
    assert_non_null(copy);
    memcpy(copy, bytes.data, bytes.size);
    return truc_bytes(copy, bytes.size);
}

static void make_rows(struct world *world, const char *home)
{
    char *data = path_in(home, "data"), *slots_path = path_in(data, "keys.slots"), why[256];
    char *pem = path_in(home, "admin-1/sign.pem");
    struct hub_journal *journal;
    struct hub_journal_reader *reader;
    struct hub_slots *slots;
    struct truc_aead *aead;
    struct truc_arena *arena;
    struct truc_key *key;
    struct hub_row_header header;
    struct hub_input input;
    struct truc_bytes row;
    assert_ok(hub_journal_open(data, QUOTA, false, false, &journal, why));
    assert_ok(hub_journal_reader_new(journal, &reader));
    assert_ok(hub_slots_open(slots_path, false, false, &slots));
    assert_ok(truc_aead_new(&aead));
    assert_ok(truc_arena_new(HUB_GOVERNANCE_ARENA, &arena));
    assert_ok(truc_key_load(pem, &key));
    assert_ok(hub_journal_get(reader, 0, &row));
    world->rows[0] = copy_of(row);
    assert_ok(hub_row_reader_start(world->reader, world->rows[0], true, &header));
    assert_ok(hub_row_reader_next(world->reader, &input));
    struct truc_hash previous = input.u.seal.digest;
    for (uint64_t i = 1; i < ROWS; i++) {
        struct sealed sealed;
        char agency[16], *groups[] = {"land", "all"};
        Truc__V1__Governance act = TRUC__V1__GOVERNANCE__INIT;
        Truc__V1__EnrolAgency enrol = TRUC__V1__ENROL_AGENCY__INIT;
        (void)snprintf(agency, sizeof agency, "H%u", (unsigned)i);
        act.act_case = TRUC__V1__GOVERNANCE__ACT_ENROL_AGENCY;
        act.enrol_agency = &enrol;
        enrol.agency = agency;
        enrol.name = "an agency";
        enrol.n_groups = i % 3;
        enrol.groups = groups;
        truc_arena_reset(arena);
        seal_governance(&sealed, key, i, &previous, &act, arena);
        previous = sealed.item.input.u.seal.digest;
        struct hub_row_item items[2] = {sealed.item, {.input = {.kind = HUB_INPUT_BOOT}}};
        size_t size;
        assert_ok(hub_row_size(items, 1 + i % 2, &size));
        uint8_t *bytes = malloc(size);
        assert_non_null(bytes);
        struct hub_row_header next = {.row = i, .accepted_at_us = SOME_TIME + (int64_t)i, .previous = header.digest};
        assert_ok(hub_row_encode(&next, items, 1 + i % 2, aead, slots, bytes));
        header = next;
        world->rows[i] = truc_bytes(bytes, size);
        sealed_free(&sealed);
    }
    truc_key_free(&key);
    truc_arena_free(&arena);
    truc_aead_free(&aead);
    hub_slots_close(&slots);
    hub_journal_reader_free(&reader);
    hub_journal_close(&journal);
    free(pem);
    free(slots_path);
    free(data);
}

static int set_up(void **state)
{
    struct world *world = calloc(1, sizeof *world);
    assert_non_null(world);
    struct truc_buffer why = {0};
    world->folder = folder_new();
    char *home = path_in(world->folder, "home");
    assert_ok(hub_row_reader_new(&world->reader));
    assert_ok(hub_home_make(home, ORIGIN, "tcp://127.0.0.1:0", SOME_TIME, &why));
    make_rows(world, home);
    truc_buffer_close(&why);
    free(home);
    *state = world;
    return 0;
}

static int tear_down(void **state)
{
    struct world *world = *state;
    for (size_t i = 0; i < ROWS; i++) {
        free((void *)(uintptr_t)world->rows[i].data);
    }
    hub_row_reader_free(&world->reader);
    folder_free(world->folder);
    free(world);
    return 0;
}

static void apply(struct world *world, struct hub_core *core, uint64_t until)
{
    struct hub_effects effects = {0};
    for (uint64_t i = hub_core_applied(core); i < until; i++) {
        struct hub_row_header header;
        struct hub_input input;
        truc_error error;
        assert_ok(hub_row_reader_start(world->reader, world->rows[i], true, &header));
        assert_ok(hub_core_begin_row(core, header.row, header.accepted_at_us));
        while ((error = hub_row_reader_next(world->reader, &input)) == TRUC_OK) {
            assert_ok(hub_core_apply(core, &input, &effects));
        }
        assert_int_equal(error, TRUC_E_NOT_FOUND);
        assert_ok(hub_core_end_row(core, &effects));
        hub_effects_clear(&effects);
    }
    hub_effects_close(&effects);
}

static truc_error add_to_dump(void *context, struct truc_bytes key, struct truc_bytes value)
{
    struct truc_buffer *out = context;
    uint32_t sizes[2] = {(uint32_t)key.size, (uint32_t)value.size};
    truc_error error = truc_buffer_append(out, sizes, sizeof sizes);
    if (error == TRUC_OK) {
        error = truc_buffer_append(out, key.data, key.size);
    }
    return error == TRUC_OK ? truc_buffer_append(out, value.data, value.size) : error;
}

static struct hub_state *open_state(struct world *world, uint64_t quota)
{
    struct hub_state *store = NULL;
    char why[256];
    truc_error error = hub_state_open(world->folder, quota, true, false, &store, why);
    if (error != TRUC_OK) {
        print_message("%s\n", why);
    }
    assert_ok(error);
    return store;
}

static struct hub_core *open_core(struct hub_state *store)
{
    struct hub_port port = hub_state_port(store);
    struct hub_core *core;
    assert_ok(hub_core_new(&port, &core));
    return core;
}

static void flush(struct hub_state *store, struct hub_core *core)
{
    struct hub_dirty *dirty;
    assert_ok(hub_core_freeze(core, &dirty));
    assert_ok(hub_state_commit(store, dirty));
    assert_ok(hub_state_refresh(store));
    hub_core_thaw(core, &dirty);
}

static void expect_dump(struct hub_core *core, const struct truc_buffer *expected)
{
    struct truc_buffer dump = {0};
    assert_ok(hub_core_dump(core, add_to_dump, &dump));
    assert_true(dump.size > 1000);
    assert_true(truc_bytes_equal(truc_buffer_view(&dump), truc_buffer_view(expected)));
    truc_buffer_close(&dump);
}

/* All rows applied in one go, nothing committed. */
static void plain_dump(struct world *world, struct truc_buffer *out)
{
    struct hub_state *store = open_state(world, QUOTA);
    struct hub_core *core = open_core(store);
    apply(world, core, ROWS);
    assert_int_equal(hub_core_agency_count(core), 2 + ROWS - 1);
    assert_ok(hub_core_dump(core, add_to_dump, out));
    hub_core_free(&core);
    hub_state_close(&store);
}

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

static void expect_note(struct hub_state *store, const char *name, const char *value)
{
    struct truc_buffer seen = {0};
    assert_ok(hub_state_noted(store, name, &seen));
    assert_true(truc_bytes_equal(truc_buffer_view(&seen), truc_bytes_of(value)));
    truc_buffer_close(&seen);
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

/* One byte of the value that stands `at`-th in the map is changed behind the store's back. -> false: there is none */
static bool flip_value(const char *path, size_t at)
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
    assert_int_equal(mdb_dbi_open(txn, "map", 0, &map), 0);
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
        if (!flip_value(path, flipped)) {
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
        cmocka_unit_test_setup_teardown(commits_and_restarts_leave_no_mark, set_up, tear_down),
        cmocka_unit_test_setup_teardown(the_core_goes_on_while_a_batch_is_committed, set_up, tear_down),
        cmocka_unit_test_setup_teardown(the_flusher_commits_one_set_at_a_time, set_up, tear_down),
        cmocka_unit_test_setup_teardown(notes_travel_with_the_next_commit, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_full_state_changes_nothing_and_goes_on_with_more_room, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_damaged_state_says_that_it_can_be_made_again, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_state_that_was_given_up_is_made_again_once, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_changed_byte_in_any_value_is_never_used, set_up, tear_down),
        cmocka_unit_test_setup_teardown(an_end_that_was_never_written_is_no_damage, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
