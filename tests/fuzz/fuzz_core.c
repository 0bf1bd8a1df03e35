/* The core along a tape of rows (core_tape.h). After each row and at the end: the tree only grows, leaves parse, the
 * counts of every inbox are those of its postings, and a core that is opened on what was committed is the same one. */
#include "tests/fuzz/core_tape.h"

static void check_inbox(struct world *world, uint32_t number)
{
    const struct hub_agency *agency = hub_core_agency_by_number(world->core, number);
    struct hub_posting posting;
    uint64_t counts[4] = {0}, from = 1, pending = agency->pending, dead = agency->dead, floor = agency->floor;
    truc_error error;
    while ((error = hub_core_posting_next(world->core, number, from, 15, &posting)) == TRUC_OK) {
        FUZZ_CHECK(posting.number >= from && posting.number < agency->next_number);
        FUZZ_CHECK(posting.state != HUB_POSTING_PENDING || posting.number > floor);
        FUZZ_CHECK(posting.sequence > 0 && posting.sequence < hub_core_next_sequence(world->core));
        FUZZ_CHECK(posting.leaf_index < hub_core_tree_size(world->core));
        counts[posting.state]++;
        from = posting.number + 1;
    }
    FUZZ_CHECK(error == TRUC_E_NOT_FOUND);
    FUZZ_CHECK(counts[HUB_POSTING_PENDING] == pending && counts[HUB_POSTING_DEAD] == dead);
}

static void check_effects(const struct world *world)
{
    static struct truc_leaf leaf;
    for (size_t i = 0; i < world->effects.count; i++) {
        const struct hub_effect *effect = &world->effects.items[i];
        if (effect->kind == HUB_EFFECT_LEAF) {
            FUZZ_OK(truc_leaf_parse(effect->leaf, &leaf));
            FUZZ_CHECK(leaf.count == effect->count && leaf.first_sequence == effect->sequence);
        }
    }
}

static void check_reopened(struct world *world)
{
    struct memory before = {0}, after = {0};
    struct truc_hash root, same;
    hub_core_root(world->core, &root);
    FUZZ_OK(hub_core_dump(world->core, memory_copy, &before));
    reopen(world);
    FUZZ_OK(hub_core_dump(world->core, memory_copy, &after));
    assert_same_memory(&before, &after);
    hub_core_root(world->core, &same);
    FUZZ_CHECK(memcmp(&root, &same, sizeof root) == 0);
    memory_close(&before);
    memory_close(&after);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct fuzz fuzz = fuzz_of(data, size);
    struct world *world = malloc(sizeof *world);
    struct hub_admit *admit;
    FUZZ_CHECK(world != NULL);
    world_begin(world);
    FUZZ_OK(hub_admit_new(world->core, &admit));
    for (unsigned rows = 0; rows < 200 && fuzz_left(&fuzz) > 0; rows++) {
        uint64_t tree_size = hub_core_tree_size(world->core);
        if (fuzz_u8(&fuzz) < 8) {
            hub_admit_free(&admit);
            check_reopened(world);
            FUZZ_OK(hub_admit_new(world->core, &admit));
        }
        tape_row(&fuzz, world, admit);
        FUZZ_CHECK(hub_core_tree_size(world->core) >= tree_size && hub_admit_under_way(admit) == 0);
        check_effects(world);
    }
    for (uint32_t number = 1; number <= hub_core_agency_count(world->core); number++) {
        check_inbox(world, number);
    }
    hub_admit_free(&admit);
    check_reopened(world);
    world_close(world);
    free(world);
    return 0;
}

void fuzz_seeds(void)
{
    tape_seeds();
}
