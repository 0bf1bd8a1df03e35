/* Records of the state that are not as they were written: a small state is made, some of its values are altered as the
 * tape says, and the core is opened on it and used. Anything but TRUC_OK and TRUC_E_CORRUPT would be a surprise; a
 * crash or an endless loop is a finding. */
#include "tests/fuzz/core_tape.h"

static struct memory made; /* the state as it should be */

static const uint8_t tape[] = {9, 8, 1,  77, 6, 3, 200, 4,  1, 0, 62, 9, 1, 1,
                               1, 3, 40, 2,  7, 1, 3,   90, 5, 6, 4,  8, 1, 3};

static void make(void)
{
    struct world *world = malloc(sizeof *world);
    struct hub_admit *admit;
    struct fuzz fuzz = fuzz_of(tape, sizeof tape);
    FUZZ_CHECK(world != NULL);
    world_begin(world);
    FUZZ_OK(hub_admit_new(world->core, &admit));
    for (unsigned i = 0; i < 40; i++) {
        char id[16];
        (void)snprintf(id, sizeof id, "e%u", i);
        (void)send_event(world, "H14", id, "dossier.a.v1", i % 3 == 0 ? "H15,H16" : "H15");
    }
    range_row(world, HUB_INPUT_ACK, "H15", 3, 4);
    range_row(world, HUB_INPUT_RELEASE, "H15", 9, 2);
    nack_row(world, "H15", 1, 0, true, "no");
    tape_row(&fuzz, world, admit);
    hub_admit_free(&admit);
    FUZZ_OK(hub_core_dump(world->core, memory_copy, &made));
    world_close(world);
    free(world);
}

static void alter(struct fuzz *fuzz, struct memory *memory)
{
    struct truc_buffer key = {0}, value = {0};
    const struct memory_item *item = &memory->items[fuzz_u16(fuzz) % memory->count];
    struct truc_buffer *part = fuzz_u8(fuzz) % 8 == 0 ? &key : &value;
    uint8_t what = fuzz_u8(fuzz) % 4;
    FUZZ_OK(truc_buffer_append(&key, item->key.data, item->key.size));
    FUZZ_OK(truc_buffer_append(&value, item->value.data, item->value.size));
    if (part == &key) {
        memory_delete(memory, truc_buffer_view(&item->key));
    }
    if (what == 0 && part->size > 0) {
        size_t at = fuzz_u16(fuzz) % part->size;
        part->data[at] = fuzz_u8(fuzz);
    } else if (what == 1 && part->size > 1) {
        part->size = 1 + fuzz_u16(fuzz) % (part->size - 1);
    } else if (what == 2) {
        struct truc_bytes more = fuzz_part(fuzz);
        FUZZ_OK(truc_buffer_append(part, more.data, more.size));
    } else if (what == 3) {
        struct truc_bytes instead = fuzz_part(fuzz);
        size_t size = instead.size < part->size ? instead.size : part->size;
        if (size > 0) {
            memcpy(part->data, instead.data, size);
        }
    }
    memory_put(memory, truc_buffer_view(&key), truc_buffer_view(&value));
    truc_buffer_close(&key);
    truc_buffer_close(&value);
}

static truc_error each(void *context, struct truc_bytes key, struct truc_bytes value)
{
    (void)context;
    FUZZ_CHECK(key.size > 0 && (value.size == 0 || value.data != NULL));
    return TRUC_OK;
}

static void ask(struct hub_core *core)
{
    struct hub_posting posting;
    struct hub_leaf_place place;
    struct hub_chain_head head;
    struct truc_buffer leaf = {0};
    struct truc_hash root;
    const char *note;
    uint64_t sequence;
    hub_core_root(core, &root);
    for (uint32_t number = 1; number <= hub_core_agency_count(core) && number < 20; number++) {
        uint64_t from = 1;
        for (unsigned i = 0; i < 200; i++) {
            if (hub_core_posting_next(core, number, from, 1u << (i % 4), &posting) != TRUC_OK) {
                continue;
            }
            FUZZ_CHECK(posting.number >= from);
            from = posting.number;
            from += i % 4 == 3;
            FUZZ_ANY(hub_core_dead_note(core, number, posting.number, &note));
        }
        FUZZ_ANY(hub_core_last_seal(core, number, &head));
    }
    for (uint64_t i = 0; i < 64; i++) {
        FUZZ_ANY(hub_core_leaf_place(core, i, &place));
        FUZZ_ANY(hub_core_sequence_place(core, i, &place));
        FUZZ_ANY(hub_core_leaf(core, i, &leaf));
        FUZZ_ANY(hub_core_node(core, (unsigned)i % 7, i / 7, &root));
    }
    FUZZ_ANY(hub_core_find(core, (const uint8_t *)"0123456789abcdef", &sequence));
    truc_buffer_close(&leaf);
}

/* A row as the next one: an event, an ack, a release. */
static void work(struct world *world)
{
    const struct hub_range range = {1, 50};
    struct hub_input input;
    hub_effects_clear(&world->effects);
    world->now = hub_core_accepted_at(world->core);
    if (world->now > INT64_MAX - SECOND ||
        hub_core_begin_row(world->core, hub_core_applied(world->core), world->now) != TRUC_OK) {
        return;
    }
    (void)add_event(world, "H14", "new", "dossier.a.v1", "H15,@offices");
    input = seal_of(world, "H14");
    input.u.seal.seal.chain[0] ^= 1; /* a new chain */
    input.u.seal.seal.number = 1;
    truc_error error = apply(world, &input);
    input = range_input(HUB_INPUT_RELEASE, "H15", &range);
    error = error != TRUC_OK ? error : apply(world, &input);
    input = range_input(HUB_INPUT_ACK, "H15", &range);
    error = error != TRUC_OK ? error : apply(world, &input);
    error = error != TRUC_OK ? error : hub_core_end_row(world->core, &world->effects);
    FUZZ_CHECK(error == TRUC_OK || error == TRUC_E_CORRUPT || error == TRUC_E_INVALID || error == TRUC_E_NOT_FOUND);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct fuzz fuzz = fuzz_of(data, size);
    struct world *world = calloc(1, sizeof *world);
    FUZZ_CHECK(world != NULL);
    if (made.count == 0) {
        make();
    }
    for (size_t i = 0; i < made.count; i++) {
        memory_put(&world->memory, truc_buffer_view(&made.items[i].key), truc_buffer_view(&made.items[i].value));
    }
    for (unsigned i = 0; i < 16 && fuzz_left(&fuzz) > 0; i++) {
        alter(&fuzz, &world->memory);
    }
    struct hub_port port = world_port(world);
    truc_error error = hub_core_new(&port, &world->core);
    if (error != TRUC_OK && error != TRUC_E_CORRUPT && error != TRUC_E_UNSUPPORTED) {
        fprintf(stderr, "opened: %s\n", truc_error_string(error));
        abort();
    }
    if (error == TRUC_OK) {
        ask(world->core);
        work(world);
        FUZZ_ANY(hub_core_dump(world->core, each, NULL));
    }
    world_close(world);
    free(world);
    return 0;
}

void fuzz_seeds(void)
{
    if (made.count == 0) {
        make();
    }
    tape_seeds();
    for (size_t i = 0; i < made.count && i < 4096; i += 7) { /* one byte of every seventh record */
        const uint8_t input[] = {(uint8_t)i, (uint8_t)(i >> 8), 1, 0, (uint8_t)(i % 40), 0, 255};
        char name[16];
        (void)snprintf(name, sizeof name, "record-%zu", i);
        fuzz_seed(name, truc_bytes(input, sizeof input));
    }
}
