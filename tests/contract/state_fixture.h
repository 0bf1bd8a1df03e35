/* What the tests of the state share: rows as a hub would have journaled them, and a core that applies them. */
#ifndef TESTS_CONTRACT_STATE_FIXTURE_H
#define TESTS_CONTRACT_STATE_FIXTURE_H

#include "tests/contract/fixture.h"

#include "hub/store/governance.h"
#include "hub/store/home.h"
#include "hub/store/state.h"
#include "truc/event.h"

#define ORIGIN "gov.example/truc"
#define ROWS 60
#define QUOTA (64u << 20)

/* Rows as they would lie in a journal: genesis, then an administrator enrols one agency after the other. */
struct world {
    char *folder;
    struct truc_bytes rows[ROWS];
    struct hub_row_reader *reader;
};

static inline void seal_governance(struct sealed *out, struct truc_key *key, uint64_t number,
                                   const struct truc_hash *previous, const Truc__V1__Governance *act,
                                   struct truc_arena *arena)
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

static inline struct truc_bytes copy_of(struct truc_bytes bytes)
{
    uint8_t *copy = malloc(bytes.size);
    assert_non_null(copy);
    memcpy(copy, bytes.data, bytes.size);
    return truc_bytes(copy, bytes.size);
}

static inline void make_rows(struct world *world, const char *home)
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

static inline int set_up(void **state)
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

static inline int tear_down(void **state)
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

static inline void apply(struct world *world, struct hub_core *core, uint64_t until)
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

static inline truc_error add_to_dump(void *context, struct truc_bytes key, struct truc_bytes value)
{
    struct truc_buffer *out = context;
    uint32_t sizes[2] = {(uint32_t)key.size, (uint32_t)value.size};
    truc_error error = truc_buffer_append(out, sizes, sizeof sizes);
    if (error == TRUC_OK) {
        error = truc_buffer_append(out, key.data, key.size);
    }
    return error == TRUC_OK ? truc_buffer_append(out, value.data, value.size) : error;
}

static inline struct hub_state *open_state(struct world *world, uint64_t quota)
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

static inline struct hub_core *open_core(struct hub_state *store)
{
    struct hub_port port = hub_state_port(store);
    struct hub_core *core;
    assert_ok(hub_core_new(&port, &core));
    return core;
}

static inline void flush(struct hub_state *store, struct hub_core *core)
{
    struct hub_dirty *dirty;
    assert_ok(hub_core_freeze(core, &dirty));
    assert_ok(hub_state_commit(store, dirty));
    assert_ok(hub_state_refresh(store));
    hub_core_thaw(core, &dirty);
}

static inline void expect_dump(struct hub_core *core, const struct truc_buffer *expected)
{
    struct truc_buffer dump = {0};
    assert_ok(hub_core_dump(core, add_to_dump, &dump));
    assert_true(dump.size > 1000);
    assert_true(truc_bytes_equal(truc_buffer_view(&dump), truc_buffer_view(expected)));
    truc_buffer_close(&dump);
}

/* All rows applied in one go, nothing committed. */
static inline void plain_dump(struct world *world, struct truc_buffer *out)
{
    struct hub_state *store = open_state(world, QUOTA);
    struct hub_core *core = open_core(store);
    apply(world, core, ROWS);
    assert_int_equal(hub_core_agency_count(core), 2 + ROWS - 1);
    assert_ok(hub_core_dump(core, add_to_dump, out));
    hub_core_free(&core);
    hub_state_close(&store);
}

static inline void expect_note(struct hub_state *store, const char *name, const char *value)
{
    struct truc_buffer seen = {0};
    assert_ok(hub_state_noted(store, name, &seen));
    assert_true(truc_bytes_equal(truc_buffer_view(&seen), truc_bytes_of(value)));
    truc_buffer_close(&seen);
}

#endif
