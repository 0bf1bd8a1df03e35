/* A row gives back what was put into it, and nothing else: every kind of input, every fact, every content. */
#include "tests/contract/fixture.h"

#include "truc/frame.h"

struct world {
    char *folder;
    struct truc_key *key;
    struct hub_slots *slots;
    struct truc_aead *aead;
    struct hub_row_reader *reader;
};

static int set_up(void **state)
{
    struct world *world = calloc(1, sizeof *world);
    assert_non_null(world);
    world->folder = folder_new();
    char *path = path_in(world->folder, "keys.slots");
    assert_ok(hub_slots_open(path, true, false, &world->slots));
    free(path);
    assert_ok(hub_slots_ensure(world->slots, 64));
    assert_ok(truc_key_generate(TRUC_ALGORITHM_P256, &world->key));
    assert_ok(truc_aead_new(&world->aead));
    assert_ok(hub_row_reader_new(&world->reader));
    *state = world;
    return 0;
}

static int tear_down(void **state)
{
    struct world *world = *state;
    hub_row_reader_free(&world->reader);
    truc_aead_free(&world->aead);
    truc_key_free(&world->key);
    hub_slots_close(&world->slots);
    folder_free(world->folder);
    free(world);
    return 0;
}

/* Encodes into memory of exactly the row's size, so that a write beyond it is seen by the sanitizer. */
static struct truc_bytes encode(struct world *world, struct hub_row_item *items, size_t count,
                                struct hub_row_header *header)
{
    size_t size;
    assert_ok(hub_row_size(items, count, &size));
    uint8_t *bytes = malloc(size);
    assert_non_null(bytes);
    assert_ok(hub_row_encode(header, items, count, world->aead, world->slots, bytes));
    return truc_bytes(bytes, size);
}

static void release(struct truc_bytes row)
{
    free((void *)(uintptr_t)row.data);
}

static void a_seal_comes_back_with_its_facts_and_contents(void **state)
{
    struct world *world = *state;
    struct sealed sealed;
    struct hub_row_header header = {.row = 41, .accepted_at_us = SOME_TIME}, seen;
    struct hub_input input;
    struct truc_buffer content = {0};
    struct truc_bytes plain;
    size_t at = 0;
    sealed_make(&sealed, world->key, 9, 300, 1);
    sealed.facts[2].type = truc_bytes_of("vn.land.parcel.v1");
    sealed.facts[3].recipients = truc_bytes(NULL, 0);
    sealed.facts[4].subject = 0;
    sealed.facts[5].time_us = HUB_TIME_NONE;
    sealed.facts[5].expires_us = INT64_MAX;
    sealed.facts[6].time_us = INT64_MIN + 1;
    sealed.facts[6].expires_us = 0;
    sealed.facts[7].flags = HUB_FACT_MALFORMED;
    sealed.facts[7].type = truc_bytes(NULL, 0);
    sealed.facts[8].kind = HUB_EVENT_RECALL;
    memset(sealed.facts[8].recalled, 0xab, 16);
    sealed.facts[8].in_hand = truc_bytes_of("\x08\x01");
    memset(header.previous.bytes, 3, TRUC_HASH_SIZE);

    struct truc_bytes row = encode(world, &sealed.item, 1, &header);
    assert_ok(hub_row_reader_start(world->reader, row, true, &seen));
    assert_true(seen.row == 41 && seen.accepted_at_us == SOME_TIME && seen.inputs == 1);
    assert_memory_equal(seen.previous.bytes, header.previous.bytes, TRUC_HASH_SIZE);
    assert_memory_equal(seen.digest.bytes, header.digest.bytes, TRUC_HASH_SIZE);
    assert_ok(hub_row_reader_next(world->reader, &input));
    assert_int_equal(input.kind, HUB_INPUT_SEAL);
    assert_int_equal(input.offset, sealed.item.input.offset);
    assert_true(truc_bytes_equal(input.u.seal.envelope, truc_buffer_view(&sealed.envelope)));
    assert_memory_equal(input.u.seal.digest.bytes, sealed.item.input.u.seal.digest.bytes, TRUC_HASH_SIZE);
    assert_string_equal(input.u.seal.seal.sender, "H14.09");
    for (uint32_t i = 0; i < sealed.count; i++) {
        uint64_t slot;
        facts_equal(&input.u.seal.events[i], &sealed.facts[i]);
        assert_ok(hub_row_reader_slot(world->reader, i, &slot));
        assert_true(slot == sealed.slots[i]);
        assert_ok(truc_body_next(sealed.item.body, &at, &plain));
        truc_buffer_clear(&content);
        assert_ok(hub_row_reader_content(world->reader, i, world->aead, world->slots, &content));
        assert_true(truc_bytes_equal(truc_buffer_view(&content), plain));
    }
    assert_int_equal(hub_row_reader_content(world->reader, 9, world->aead, world->slots, &content), TRUC_E_INVALID);
    assert_int_equal(hub_row_reader_next(world->reader, &input), TRUC_E_NOT_FOUND);
    truc_buffer_close(&content);
    release(row);
    sealed_free(&sealed);
}

static void contents_do_not_rest_in_the_clear(void **state)
{
    struct world *world = *state;
    struct sealed sealed;
    struct hub_row_header header = {.row = 0};
    sealed_make(&sealed, world->key, 3, 200, 1);
    struct truc_bytes row = encode(world, &sealed.item, 1, &header), plain;
    size_t at = 0;
    while (truc_body_next(sealed.item.body, &at, &plain) == TRUC_OK) {
        assert_null(memmem(row.data, row.size, plain.data, 16));
    }
    assert_true(at > 0);
    release(row);
    sealed_free(&sealed);
}

static void an_erased_subject_is_gone_and_the_others_are_fine(void **state)
{
    struct world *world = *state;
    struct sealed sealed;
    struct hub_row_header header = {.row = 0}, seen;
    struct hub_input input;
    struct truc_buffer content = {0};
    sealed_make(&sealed, world->key, 3, 200, 1);
    sealed.slots[0] = 10;
    sealed.slots[1] = 11;
    sealed.slots[2] = 10;
    struct truc_bytes row = encode(world, &sealed.item, 1, &header);
    assert_ok(hub_slots_erase(world->slots, 10));
    assert_ok(hub_row_reader_start(world->reader, row, true, &seen));
    assert_ok(hub_row_reader_next(world->reader, &input));
    facts_equal(&input.u.seal.events[0], &sealed.facts[0]); /* an audit still works */
    assert_int_equal(hub_row_reader_content(world->reader, 0, world->aead, world->slots, &content), TRUC_E_NOT_FOUND);
    assert_ok(hub_row_reader_content(world->reader, 1, world->aead, world->slots, &content));
    assert_int_equal(content.size, 200);
    assert_int_equal(hub_row_reader_content(world->reader, 2, world->aead, world->slots, &content), TRUC_E_NOT_FOUND);
    /* And nothing new is ever encrypted under it. */
    size_t size;
    assert_ok(hub_row_size(&sealed.item, 1, &size));
    uint8_t *bytes = malloc(size);
    assert_non_null(bytes);
    assert_int_equal(hub_row_encode(&header, &sealed.item, 1, world->aead, world->slots, bytes), TRUC_E_NOT_FOUND);
    free(bytes);
    truc_buffer_close(&content);
    release(row);
    sealed_free(&sealed);
}

static void fill_others(struct hub_row_item items[8], const struct hub_range *ranges)
{
    memset(items, 0, 8 * sizeof *items);
    items[0].input.kind = HUB_INPUT_BOOT;
    for (int i = 1; i <= 3; i++) {
        items[i].input.kind = i == 1 ? HUB_INPUT_ACK : i == 2 ? HUB_INPUT_RELEASE : HUB_INPUT_EXPIRE;
        memcpy(items[i].input.agency, "G12.18", 7);
        items[i].input.u.ranges.ranges = ranges;
        items[i].input.u.ranges.count = i == 3 ? 0 : 3;
    }
    items[4].input.kind = HUB_INPUT_NACK;
    memcpy(items[4].input.agency, "H1", 3);
    items[4].input.u.nack.number = 77;
    items[4].input.u.nack.delay_ms = UINT32_MAX;
    items[4].input.u.nack.reject = true;
    items[4].input.u.nack.note = truc_bytes_of("no such parcel");
    items[5].input.kind = HUB_INPUT_SUBSCRIBE;
    memcpy(items[5].input.agency, "H2", 3);
    items[5].input.u.subscribe.type = truc_bytes_of("vn.land.*");
    items[5].input.u.subscribe.remove = true;
    items[6].input.kind = HUB_INPUT_FORK;
    memcpy(items[6].input.agency, "H3", 3);
    memset(items[6].input.u.fork.chain, 9, TRUC_CHAIN_SIZE);
    items[6].input.u.fork.number = UINT64_MAX;
    items[6].input.u.fork.envelope = truc_bytes_of("evidence");
    items[7].input.kind = HUB_INPUT_CHECKPOINT;
    items[7].input.u.checkpoint.tree_size = 12345;
    items[7].input.u.checkpoint.note = truc_bytes_of("a note\n");
}

static void every_other_kind_of_input_comes_back(void **state)
{
    struct world *world = *state;
    const struct hub_range ranges[3] = {{5, 2}, {900, 1}, {UINT64_MAX - 1, UINT32_MAX}};
    struct hub_row_item items[8];
    struct hub_row_header header = {.row = 1}, seen;
    struct hub_input input;
    fill_others(items, ranges);
    struct truc_bytes row = encode(world, items, 8, &header);
    assert_ok(hub_row_reader_start(world->reader, row, true, &seen));
    assert_int_equal(seen.inputs, 8);
    for (int i = 0; i < 8; i++) {
        assert_ok(hub_row_reader_next(world->reader, &input));
        assert_int_equal(input.kind, items[i].input.kind);
        assert_int_equal(input.offset, items[i].input.offset);
        assert_string_equal(input.agency, items[i].input.agency);
        if (i >= 1 && i <= 3) {
            assert_int_equal(input.u.ranges.count, items[i].input.u.ranges.count);
            for (size_t r = 0; r < input.u.ranges.count; r++) {
                assert_true(input.u.ranges.ranges[r].first == ranges[r].first);
                assert_true(input.u.ranges.ranges[r].count == ranges[r].count);
            }
        } else if (i == 4) {
            assert_true(input.u.nack.number == 77 && input.u.nack.delay_ms == UINT32_MAX && input.u.nack.reject);
            assert_true(truc_bytes_equal(input.u.nack.note, items[4].input.u.nack.note));
        } else if (i == 5) {
            assert_true(truc_bytes_equal(input.u.subscribe.type, items[5].input.u.subscribe.type));
            assert_int_equal(input.u.subscribe.source_agency.size, 0);
            assert_true(input.u.subscribe.remove);
        } else if (i == 6) {
            assert_memory_equal(input.u.fork.chain, items[6].input.u.fork.chain, TRUC_CHAIN_SIZE);
            assert_true(input.u.fork.number == UINT64_MAX);
            assert_true(truc_bytes_equal(input.u.fork.envelope, items[6].input.u.fork.envelope));
        } else if (i == 7) {
            assert_true(input.u.checkpoint.tree_size == 12345);
            assert_true(truc_bytes_equal(input.u.checkpoint.note, items[7].input.u.checkpoint.note));
        }
    }
    assert_int_equal(hub_row_reader_next(world->reader, &input), TRUC_E_NOT_FOUND);
    release(row);
}

static void governance_is_decoded_again_from_its_own_bytes(void **state)
{
    struct world *world = *state;
    static const uint8_t suspend[] = {0x22, 0x04, 0x0a, 0x02, 'H', '7'}; /* Governance{suspend_agency{agency "H7"}} */
    static const struct hub_governance act = {.act = HUB_ACT_SUSPEND_AGENCY};
    struct sealed sealed;
    struct hub_row_header header = {.row = 0}, seen;
    struct hub_input input;
    sealed_make(&sealed, world->key, 2, 50, 1);
    for (int i = 0; i < 2; i++) {
        sealed.facts[i].kind = HUB_EVENT_GOVERNANCE;
        sealed.facts[i].governance_bytes = truc_bytes(suspend, i == 0 ? sizeof suspend : 3);
    }
    sealed.facts[0].governance = &act;
    sealed.facts[1].flags = HUB_FACT_INVALID_PAYLOAD;
    struct truc_bytes row = encode(world, &sealed.item, 1, &header);
    assert_ok(hub_row_reader_start(world->reader, row, true, &seen));
    assert_ok(hub_row_reader_next(world->reader, &input));
    facts_equal(&input.u.seal.events[0], &sealed.facts[0]);
    facts_equal(&input.u.seal.events[1], &sealed.facts[1]);
    assert_int_equal(input.u.seal.events[0].governance->act, HUB_ACT_SUSPEND_AGENCY);
    assert_string_equal(input.u.seal.events[0].governance->agency, "H7");
    release(row);
    sealed_free(&sealed);
}

static void an_input_is_found_by_its_offset_alone(void **state)
{
    struct world *world = *state;
    struct sealed first, second;
    struct hub_row_header header = {.row = 5};
    struct hub_input input;
    struct truc_buffer content = {0};
    sealed_make(&first, world->key, 3, 40, 1);
    sealed_make(&second, world->key, 2, 60, 2);
    struct hub_row_item items[2] = {first.item, second.item};
    struct truc_bytes row = encode(world, items, 2, &header), plain;
    size_t at = 0;
    assert_ok(hub_row_reader_at(world->reader, row, items[1].input.offset, &input));
    assert_true(input.u.seal.seal.number == 2);
    assert_ok(hub_row_reader_content(world->reader, 0, world->aead, world->slots, &content));
    assert_ok(truc_body_next(second.item.body, &at, &plain));
    assert_true(truc_bytes_equal(truc_buffer_view(&content), plain));
    for (uint32_t offset = 0; offset < row.size + 10; offset++) {
        if (offset != items[0].input.offset && offset != items[1].input.offset) {
            assert_true(hub_row_reader_at(world->reader, row, offset, &input) != TRUC_OK ||
                        input.kind != HUB_INPUT_SEAL);
        }
    }
    truc_buffer_close(&content);
    release(row);
    sealed_free(&first);
    sealed_free(&second);
}

static void no_flipped_bit_goes_unseen(void **state)
{
    struct world *world = *state;
    struct sealed sealed;
    struct hub_row_header header = {.row = 0}, seen;
    sealed_make(&sealed, world->key, 2, 30, 1);
    struct truc_bytes row = encode(world, &sealed.item, 1, &header);
    uint8_t *bytes = (uint8_t *)(uintptr_t)row.data;
    assert_ok(hub_row_open(row, &seen));
    for (size_t bit = 0; bit < row.size * 8; bit++) {
        bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
        assert_int_not_equal(hub_row_open(row, &seen), TRUC_OK);
        bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
    for (size_t size = 0; size < row.size; size++) {
        assert_int_not_equal(hub_row_open(truc_bytes(bytes, size), &seen), TRUC_OK);
    }
    assert_ok(hub_row_open(row, &seen));
    release(row);
    sealed_free(&sealed);
}

/* Contents are checked on their own: a reader at an offset does not hash the whole row. */
static void an_altered_content_does_not_decrypt(void **state)
{
    struct world *world = *state;
    struct sealed sealed;
    struct hub_row_header header = {.row = 0};
    struct hub_input input;
    struct truc_buffer content = {0};
    sealed_make(&sealed, world->key, 1, 30, 1);
    struct truc_bytes row = encode(world, &sealed.item, 1, &header);
    ((uint8_t *)(uintptr_t)row.data)[row.size - 20] ^= 1;
    assert_ok(hub_row_reader_at(world->reader, row, sealed.item.input.offset, &input));
    assert_int_equal(hub_row_reader_content(world->reader, 0, world->aead, world->slots, &content), TRUC_E_CORRUPT);
    assert_int_equal(content.size, 0);
    truc_buffer_close(&content);
    release(row);
    sealed_free(&sealed);
}

/* As a bug of another version might have left it: the digest fits, the inside does not. Read from memory of exactly its
 * size, so that the sanitizer sees every step outside. */
static void hostile_rows_are_refused_without_a_crash(void **state)
{
    struct world *world = *state;
    const struct hub_range ranges[3] = {{5, 2}, {900, 1}, {1000, 3}};
    struct sealed sealed;
    struct hub_row_item items[9];
    struct hub_row_header header = {.row = 0}, seen;
    struct hub_input input;
    uint64_t seed = 2026;
    size_t refused = 0;
    fill_others(items, ranges);
    sealed_make(&sealed, world->key, 4, 20, 1);
    items[8] = sealed.item;
    struct truc_bytes row = encode(world, items, 9, &header);
    for (int round = 0; round < 20000; round++) {
        uint8_t *copy = malloc(row.size);
        assert_non_null(copy);
        memcpy(copy, row.data, row.size);
        for (uint32_t change = 0; change <= fixture_random(&seed) % 3; change++) {
            copy[8 + fixture_random(&seed) % (row.size - 8)] = (uint8_t)fixture_random(&seed);
        }
        truc_error error = hub_row_reader_start(world->reader, truc_bytes(copy, row.size), false, &seen);
        while (error == TRUC_OK) {
            error = hub_row_reader_next(world->reader, &input);
        }
        assert_true(error == TRUC_E_CORRUPT || error == TRUC_E_NOT_FOUND);
        refused += error == TRUC_E_CORRUPT;
        free(copy);
    }
    assert_true(refused > 1000);
    release(row);
    sealed_free(&sealed);
}

static void every_byte_of_a_row_is_under_its_digest(void **state)
{
    struct world *world = *state;
    struct sealed sealed;
    struct hub_row_header header = {.row = 0}, seen;
    sealed_make(&sealed, world->key, 3, 40, 1);
    struct truc_bytes row = encode(world, &sealed.item, 1, &header);
    assert_ok(hub_row_open(row, &seen));
    for (size_t at = 8; at < row.size; at++) {
        ((uint8_t *)row.data)[at] ^= 0x10;
        assert_int_equal(hub_row_open(row, &seen), TRUC_E_CORRUPT);
        ((uint8_t *)row.data)[at] ^= 0x10;
    }
    release(row);
    sealed_free(&sealed);
}

/* Journals are never rewritten: what an older hub wrote is read for ever. */
static void rows_of_format_1_are_still_read(void **state)
{
    struct world *world = *state;
    struct sealed sealed;
    struct hub_row_header header = {.row = 0}, seen;
    struct truc_hash digest;
    sealed_make(&sealed, world->key, 3, 40, 1);
    struct truc_bytes row = encode(world, &sealed.item, 1, &header);
    uint8_t *bytes = (uint8_t *)row.data;
    bytes[7] = 1;
    truc_sha256(&digest, truc_bytes(bytes + 40, row.size - 40));
    memcpy(bytes + 8, digest.bytes, sizeof digest.bytes);
    assert_ok(hub_row_open(row, &seen));
    bytes[row.size - 1] ^= 1;
    assert_int_equal(hub_row_open(row, &seen), TRUC_E_CORRUPT);
    bytes[7] = 3;
    assert_int_equal(hub_row_open(row, &seen), TRUC_E_UNSUPPORTED);
    release(row);
    sealed_free(&sealed);
}

/* The budget on disk is 1.7 times the payload for 1 KiB and its attributes, state included. */
static void facts_stay_small(void **state)
{
    struct world *world = *state;
    struct sealed sealed;
    size_t size;
    sealed_make(&sealed, world->key, 1024, 1024, 1);
    assert_ok(hub_row_size(&sealed.item, 1, &size));
    double overhead = (double)(size - 1024 * 1024) / 1024;
    print_message("row bytes beside an event's own, seals of 1024: %.1f\n", overhead);
    assert_true(overhead < 90);
    sealed_free(&sealed);
}

static void what_does_not_fit_together_is_not_written(void **state)
{
    struct world *world = *state;
    struct sealed sealed;
    size_t size;
    sealed_make(&sealed, world->key, 2, 30, 1);
    sealed.facts[1].size = 31;
    assert_int_equal(hub_row_size(&sealed.item, 1, &size), TRUC_E_INVALID);
    sealed.facts[1].size = 30;
    sealed.facts[1].kind = HUB_EVENT_GOVERNANCE; /* neither decoded nor marked as invalid */
    assert_int_equal(hub_row_size(&sealed.item, 1, &size), TRUC_E_INVALID);
    sealed.facts[1].kind = HUB_EVENT_PLAIN;
    sealed.item.body.size -= 5;
    assert_int_equal(hub_row_size(&sealed.item, 1, &size), TRUC_E_INVALID);
    sealed.item.body.size += 5;
    assert_ok(hub_row_size(&sealed.item, 1, &size));
    sealed_free(&sealed);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_seal_comes_back_with_its_facts_and_contents, set_up, tear_down),
        cmocka_unit_test_setup_teardown(contents_do_not_rest_in_the_clear, set_up, tear_down),
        cmocka_unit_test_setup_teardown(an_erased_subject_is_gone_and_the_others_are_fine, set_up, tear_down),
        cmocka_unit_test_setup_teardown(every_other_kind_of_input_comes_back, set_up, tear_down),
        cmocka_unit_test_setup_teardown(governance_is_decoded_again_from_its_own_bytes, set_up, tear_down),
        cmocka_unit_test_setup_teardown(an_input_is_found_by_its_offset_alone, set_up, tear_down),
        cmocka_unit_test_setup_teardown(no_flipped_bit_goes_unseen, set_up, tear_down),
        cmocka_unit_test_setup_teardown(an_altered_content_does_not_decrypt, set_up, tear_down),
        cmocka_unit_test_setup_teardown(hostile_rows_are_refused_without_a_crash, set_up, tear_down),
        cmocka_unit_test_setup_teardown(every_byte_of_a_row_is_under_its_digest, set_up, tear_down),
        cmocka_unit_test_setup_teardown(rows_of_format_1_are_still_read, set_up, tear_down),
        cmocka_unit_test_setup_teardown(facts_stay_small, set_up, tear_down),
        cmocka_unit_test_setup_teardown(what_does_not_fit_together_is_not_written, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
