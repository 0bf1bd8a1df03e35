/* The log and the chains of seals: every leaf is proven, every sequence found, a chain has one next seal. */
#include "test_core_world.h"

static void the_log_proves_every_leaf(void **state)
{
    struct world *world = *state;
    struct truc_hash leaves[300], path[TRUC_PROOF_MAX], root, old;
    size_t length, known = (size_t)hub_core_tree_size(world->core);
    char id[16];
    hub_core_root(world->core, &old);
    for (size_t i = known; i < 300; i++) {
        (void)snprintf(id, sizeof id, "e%zu", i);
        assert_int_equal(send_event(world, "H14", id, "dossier.x.v1", "H15"), TRUC_OUTCOME_ACCEPTED);
        assert_int_equal(world->effects.items[0].leaf_index, i);
        truc_leaf_hash(&leaves[i], world->effects.items[0].leaf);
    }
    reopen(world);
    hub_core_root(world->core, &root);
    for (size_t i = known; i < 300; i++) {
        struct hub_leaf_place place;
        assert_ok(truc_inclusion_path(hub_core_node, world->core, i, 300, path, &length));
        assert_ok(truc_inclusion_verify(i, 300, &leaves[i], path, length, &root));
        assert_ok(hub_core_leaf_place(world->core, i, &place));
        assert_int_equal(place.row, i);
        assert_int_equal(place.offset, 100);
        assert_int_equal(place.first_sequence, i + 1);
    }
    assert_ok(truc_consistency_path(hub_core_node, world->core, known, 300, path, &length));
    assert_ok(truc_consistency_verify(known, 300, path, length, &old, &root));
    assert_int_equal(hub_core_node(world->core, 0, 300, &root), TRUC_E_INVALID);
    assert_int_equal(hub_core_node(world->core, 64, 0, &root), TRUC_E_INVALID);
}

static void a_sequence_leads_to_its_leaf(void **state)
{
    struct world *world = *state;
    struct hub_leaf_place place;
    for (int i = 0; i < 7; i++) {
        (void)add_event(world, "H14", "same", "dossier.x.v1", "H15");
    }
    seal_row(world, "H14");
    uint64_t first = world->leaf.first_sequence;
    assert_int_equal(send_event(world, "H14", "next", "dossier.x.v1", "H15"), TRUC_OUTCOME_ACCEPTED);
    for (uint64_t i = 0; i < 8; i++) {
        assert_ok(hub_core_sequence_place(world->core, first + i, &place));
        assert_int_equal(place.first_sequence, i < 7 ? first : first + 7);
        assert_int_equal(place.count, i < 7 ? 7 : 1);
    }
    assert_int_equal(hub_core_sequence_place(world->core, first + 8, &place), TRUC_E_NOT_FOUND);
    assert_int_equal(hub_core_sequence_place(world->core, 0, &place), TRUC_E_NOT_FOUND);
    assert_int_equal(hub_core_leaf_place(world->core, hub_core_tree_size(world->core), &place), TRUC_E_NOT_FOUND);
}

static enum hub_chain_answer chain_answer(struct world *world, const struct truc_seal *seal,
                                          const struct truc_hash *digest, uint64_t *leaf_index)
{
    enum hub_chain_answer answer;
    assert_ok(hub_core_chain(world->core, number_of(world, "H14"), seal, digest, &answer, leaf_index));
    return answer;
}

static void a_chain_takes_only_its_next_seal(void **state)
{
    struct world *world = *state;
    uint64_t leaf_index = 0;
    (void)add_event(world, "H14", "a", "dossier.x.v1", "H15");
    struct hub_input first = seal_of(world, "H14");
    assert_int_equal(chain_answer(world, &first.u.seal.seal, &first.u.seal.digest, &leaf_index), HUB_CHAIN_NEXT);
    seal_row(world, "H14");
    uint64_t first_leaf = world->effects.items[0].leaf_index;
    world->count = 1;
    struct hub_input second = seal_of(world, "H14");
    world->count = 0;
    struct truc_seal seal = second.u.seal.seal;
    const struct truc_hash *digest = &second.u.seal.digest;
    assert_int_equal(chain_answer(world, &seal, digest, &leaf_index), HUB_CHAIN_NEXT);
    seal.previous.bytes[0] ^= 1;
    assert_int_equal(chain_answer(world, &seal, digest, &leaf_index), HUB_CHAIN_GAP);
    seal = second.u.seal.seal;
    seal.has_previous = false;
    assert_int_equal(chain_answer(world, &seal, digest, &leaf_index), HUB_CHAIN_GAP);
    seal.number = 3;
    assert_int_equal(chain_answer(world, &seal, digest, &leaf_index), HUB_CHAIN_GAP);
    seal.number = 0;
    assert_int_equal(chain_answer(world, &seal, digest, &leaf_index), HUB_CHAIN_GAP);
    assert_int_equal(chain_answer(world, &first.u.seal.seal, &first.u.seal.digest, &leaf_index), HUB_CHAIN_KNOWN);
    assert_int_equal(leaf_index, first_leaf);
    assert_int_equal(chain_answer(world, &first.u.seal.seal, digest, &leaf_index), HUB_CHAIN_FORK);
    struct hub_chain_head head;
    assert_ok(hub_core_last_seal(world->core, number_of(world, "H14"), &head));
    assert_int_equal(head.number, 1);
    assert_memory_equal(head.digest.bytes, first.u.seal.digest.bytes, TRUC_HASH_SIZE);
    assert_ok(hub_core_last_seal(world->core, number_of(world, "H15"), &head));
    assert_int_equal(head.number, 0);
}

static void a_fork_closes_the_chain_and_is_kept(void **state)
{
    struct world *world = *state;
    uint64_t leaf_index = 0;
    (void)add_event(world, "H14", "a", "dossier.x.v1", "H15");
    struct hub_input first = seal_of(world, "H14");
    seal_row(world, "H14");
    struct hub_input fork = {.kind = HUB_INPUT_FORK, .agency = "H14"};
    fork.u.fork.envelope = truc_bytes_of("the other seal");
    fork.u.fork.number = 1;
    memcpy(fork.u.fork.chain, first.u.seal.seal.chain, TRUC_CHAIN_SIZE);
    row(world, &fork);
    assert_int_equal(effects_of(world, HUB_EFFECT_FORK), 1);
    row(world, &fork);
    assert_int_equal(effects_of(world, HUB_EFFECT_FORK), 0);
    reopen(world);
    assert_int_equal(chain_answer(world, &first.u.seal.seal, &first.u.seal.digest, &leaf_index), HUB_CHAIN_KNOWN);
    (void)add_event(world, "H14", "b", "dossier.x.v1", "H15");
    struct hub_input second = seal_of(world, "H14");
    assert_int_equal(chain_answer(world, &second.u.seal.seal, &second.u.seal.digest, &leaf_index), HUB_CHAIN_CLOSED);
    begin_row(world);
    assert_int_equal(apply(world, &second), TRUC_E_INVALID);
}

int main(void)
{
#define STORY(name) cmocka_unit_test_setup_teardown(name, world_setup, world_teardown)
    const struct CMUnitTest tests[] = {
        STORY(the_log_proves_every_leaf),
        STORY(a_sequence_leads_to_its_leaf),
        STORY(a_chain_takes_only_its_next_seal),
        STORY(a_fork_closes_the_chain_and_is_kept),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
