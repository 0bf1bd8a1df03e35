/* Evidence: one event of a real small log, proven offline; and every way of bending it, noticed. */
#include "truc/evidence.h"

#include "tests/unit/proto/support.h"

#define ORIGIN "truc.example/test"
#define EVENTS 5 /* in the seal */
#define INDEX 3  /* of the event that is proven */
#define LEAVES 7 /* in the log */
#define PLACE 4  /* of the seal's leaf */

static struct {
    struct truc_key *agency, *note_secret;
    struct truc_note_verifier verifier;
    struct truc_evidence evidence;
    struct truc_buffer text;
} world;

static struct truc_evidence_facts facts;
static char why[256];

static void make_event(const char *source, unsigned number, struct truc_buffer *out)
{
    struct truc_event event = {0};
    uint8_t salt[TRUC_SALT_SIZE] = {(uint8_t)number};
    char id[16];
    snprintf(id, sizeof id, "e-%u", number);
    event.id = truc_bytes_of(id);
    event.source = truc_bytes_of(source);
    event.type = truc_bytes_of("dossier.submitted.v1");
    assert_int_equal(truc_event_set_bytes(&event, "salt", truc_bytes(salt, sizeof salt)), TRUC_OK);
    assert_int_equal(truc_event_encode(&event, out), TRUC_OK);
}

static void make_seal(const char *origin, struct truc_hash *hashes, struct truc_hash *digest,
                      struct truc_buffer *envelope)
{
    struct truc_seal seal = {.number = 1, .count = EVENTS, .sealed_at_us = 1700000000000000};
    memcpy(seal.origin, origin, strlen(origin) + 1);
    memcpy(seal.sender, "H62.12", sizeof "H62.12");
    memcpy(seal.keyid, truc_key_id(world.agency), TRUC_KEYID_HEX + 1);
    truc_merkle_root(hashes, EVENTS, &seal.root);
    assert_int_equal(truc_seal_sign(&seal, world.agency, envelope, digest), TRUC_OK);
}

/* The log of LEAVES leaves with `leaf` at PLACE, and the proof of that one. */
static void make_proof(struct truc_bytes leaf, struct truc_buffer *out)
{
    struct truc_hash hashes[LEAVES];
    struct truc_checkpoint checkpoint = {.origin = ORIGIN, .size = LEAVES};
    struct truc_tlog_proof proof = {.index = PLACE};
    struct truc_buffer note = {0};
    for (uint8_t i = 0; i < LEAVES; i++) {
        truc_leaf_hash(&hashes[i], i == PLACE ? leaf : truc_bytes(&i, 1));
    }
    assert_int_equal(truc_inclusion_path_of(hashes, LEAVES, PLACE, proof.path, &proof.count), TRUC_OK);
    truc_merkle_root(hashes, LEAVES, &checkpoint.root);
    assert_int_equal(truc_checkpoint_sign(&checkpoint, world.note_secret, &note), TRUC_OK);
    proof.checkpoint = truc_buffer_view(&note);
    assert_int_equal(truc_tlog_proof_text(&proof, out), TRUC_OK);
    truc_buffer_close(&note);
}

/* An evidence of event INDEX, for which the hub decided `code`. `event` is taken over. */
static void make_evidence(struct truc_buffer event, const char *origin, uint8_t code)
{
    struct truc_evidence *evidence = &world.evidence;
    struct truc_hash hashes[EVENTS];
    struct truc_leaf leaf = {.accepted_at_us = 1700000000500000, .first_sequence = 42, .count = EVENTS};
    truc_evidence_close(evidence);
    memset(evidence, 0, sizeof *evidence);
    for (unsigned i = 0; i < EVENTS; i++) {
        struct truc_buffer other = {0};
        make_event("urn:truc:H62.12:desk", i, &other);
        truc_leaf_hash(&hashes[i], truc_buffer_view(i == INDEX ? &event : &other));
        truc_buffer_close(&other);
    }
    evidence->event = event;
    evidence->event_hash = hashes[INDEX];
    evidence->index = INDEX;
    assert_int_equal(truc_inclusion_path_of(hashes, EVENTS, INDEX, evidence->path, &evidence->path_count), TRUC_OK);
    make_seal(origin, hashes, &leaf.seal_digest, &evidence->envelope);
    leaf.outcomes[INDEX].code = code;
    assert_int_equal(truc_leaf_encode(&leaf, &evidence->leaf), TRUC_OK);
    make_proof(truc_buffer_view(&evidence->leaf), &evidence->proof);
}

static int open_world(void **state)
{
    struct truc_buffer event = {0};
    (void)state;
    assert_int_equal(truc_key_generate(TRUC_ALGORITHM_P256, &world.agency), TRUC_OK);
    assert_int_equal(truc_key_generate(TRUC_ALGORITHM_ED25519, &world.note_secret), TRUC_OK);
    assert_int_equal(truc_note_verifier_make(ORIGIN, world.note_secret, &world.verifier), TRUC_OK);
    make_event("urn:truc:H62.12:desk", INDEX, &event);
    make_evidence(event, ORIGIN, TRUC_OUTCOME_ACCEPTED);
    assert_int_equal(truc_evidence_encode(&world.evidence, &world.text), TRUC_OK);
    return 0;
}

static int close_world(void **state)
{
    (void)state;
    truc_evidence_close(&world.evidence);
    truc_buffer_close(&world.text);
    truc_note_verifier_close(&world.verifier);
    truc_key_free(&world.agency);
    truc_key_free(&world.note_secret);
    memset(&world, 0, sizeof world);
    return 0;
}

static truc_error verify(void)
{
    why[0] = '\0';
    return truc_evidence_verify(&world.evidence, &world.verifier, world.agency, &facts, why);
}

/* Reads and verifies a text, as a stranger would. */
static truc_error judge(struct truc_bytes text)
{
    struct truc_evidence evidence;
    struct truc_bytes copy = support_exact_copy(text);
    truc_error error = truc_evidence_parse(copy, &evidence, why);
    if (error == TRUC_OK) {
        error = truc_evidence_verify(&evidence, &world.verifier, world.agency, &facts, why);
        truc_evidence_close(&evidence);
    }
    support_free_copy(copy);
    return error;
}

static void test_good_evidence_verifies(void **state)
{
    (void)state;
    struct truc_evidence evidence;
    assert_int_equal(truc_evidence_parse(truc_buffer_view(&world.text), &evidence, why), TRUC_OK);
    assert_int_equal(truc_evidence_verify(&evidence, &world.verifier, world.agency, &facts, why), TRUC_OK);
    support_assert_text(facts.event.id, "e-3");
    assert_string_equal(facts.envelope.seal.sender, "H62.12");
    assert_string_equal(facts.checkpoint.origin, ORIGIN);
    assert_int_equal(facts.checkpoint.size, LEAVES);
    assert_int_equal(facts.leaf.accepted_at_us, 1700000000500000);
    assert_int_equal(facts.sequence, 42 + INDEX);
    assert_int_equal(facts.outcome.code, TRUC_OUTCOME_ACCEPTED);
    truc_evidence_close(&evidence);
    assert_int_equal(truc_evidence_verify(&world.evidence, &world.verifier, world.agency, &facts, NULL), TRUC_OK);
}

static void test_every_flipped_bit_of_the_file_is_noticed(void **state)
{
    (void)state;
    assert_int_equal(judge(truc_buffer_view(&world.text)), TRUC_OK);
    for (size_t bit = 0; bit + 8 < world.text.size * 8; bit++) { /* the closing newline proves nothing */
        world.text.data[bit / 8] ^= (uint8_t)(1u << bit % 8);
        if (judge(truc_buffer_view(&world.text)) == TRUC_OK) {
            fail_msg("bit %zu, near '%.20s', may be flipped", bit, (char *)world.text.data + bit / 8);
        }
        world.text.data[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
}

static void test_no_cut_file_is_taken(void **state)
{
    (void)state;
    for (size_t size = 0; size + 1 < world.text.size; size++) {
        assert_int_equal(judge(truc_bytes(world.text.data, size)), TRUC_E_MALFORMED);
        assert_true(why[0] != '\0');
    }
}

static void test_erased_content_still_has_its_proof(void **state)
{
    (void)state;
    struct truc_buffer text = {0};
    truc_buffer_clear(&world.evidence.event);
    assert_int_equal(truc_evidence_encode(&world.evidence, &text), TRUC_OK);
    assert_null(memmem(text.data, text.size, "\"event\"", 7));
    assert_int_equal(judge(truc_buffer_view(&text)), TRUC_OK);
    assert_int_equal(facts.event.id.size, 0);
    assert_int_equal(facts.sequence, 42 + INDEX);
    truc_buffer_close(&text);
}

static void test_each_link_of_the_chain_is_checked(void **state)
{
    (void)state;
    struct truc_evidence *evidence = &world.evidence;
    assert_int_equal(verify(), TRUC_OK);

    evidence->event.data[5] ^= 1;
    assert_int_equal(verify(), TRUC_E_BAD_PROOF);
    evidence->event.data[5] ^= 1;

    evidence->event_hash.bytes[0] ^= 1;
    assert_int_equal(verify(), TRUC_E_BAD_PROOF);
    evidence->event_hash.bytes[0] ^= 1;

    evidence->index = INDEX - 1;
    assert_int_equal(verify(), TRUC_E_BAD_PROOF);
    evidence->index = EVENTS;
    assert_int_equal(verify(), TRUC_E_BAD_PROOF);
    assert_non_null(strstr(why, "beyond"));
    evidence->index = INDEX;

    evidence->path[0].bytes[0] ^= 1;
    assert_int_equal(verify(), TRUC_E_BAD_PROOF);
    evidence->path[0].bytes[0] ^= 1;
    evidence->path_count--;
    assert_int_equal(verify(), TRUC_E_BAD_PROOF);
    evidence->path_count = TRUC_PROOF_MAX + 1;
    assert_int_equal(verify(), TRUC_E_MALFORMED);
    evidence->path_count = 3;

    evidence->leaf.data[8] ^= 1; /* accepted_at */
    assert_int_equal(verify(), TRUC_E_BAD_PROOF);
    evidence->leaf.data[8] ^= 1;
    evidence->leaf.data[20] ^= 1; /* the seal's digest */
    assert_int_equal(verify(), TRUC_E_BAD_PROOF);
    assert_non_null(strstr(why, "another seal"));
    evidence->leaf.data[20] ^= 1;

    assert_int_equal(verify(), TRUC_OK);
}

static void test_other_keys_do_not_do(void **state)
{
    (void)state;
    struct truc_key *other = NULL, *other_note = NULL;
    struct truc_note_verifier stranger = {0};
    assert_int_equal(truc_key_generate(TRUC_ALGORITHM_P256, &other), TRUC_OK);
    assert_int_equal(truc_key_generate(TRUC_ALGORITHM_ED25519, &other_note), TRUC_OK);
    assert_int_equal(truc_evidence_verify(&world.evidence, &world.verifier, other, &facts, why), TRUC_E_UNKNOWN_KEY);
    assert_int_equal(truc_note_verifier_make(ORIGIN, other_note, &stranger), TRUC_OK);
    assert_int_equal(truc_evidence_verify(&world.evidence, &stranger, world.agency, &facts, why), TRUC_E_UNKNOWN_KEY);
    truc_note_verifier_close(&stranger);
    assert_int_equal(truc_note_verifier_make("truc.example/other", world.note_secret, &stranger), TRUC_OK);
    assert_int_not_equal(truc_evidence_verify(&world.evidence, &stranger, world.agency, &facts, why), TRUC_OK);
    truc_note_verifier_close(&stranger);
    truc_key_free(&other);
    truc_key_free(&other_note);
}

static void test_a_seal_for_another_log_is_no_evidence_of_this_one(void **state)
{
    (void)state;
    struct truc_buffer event = {0};
    make_event("urn:truc:H62.12:desk", INDEX, &event);
    make_evidence(event, "truc.example/other", TRUC_OUTCOME_ACCEPTED);
    assert_int_equal(verify(), TRUC_E_BAD_PROOF);
    assert_non_null(strstr(why, "another log"));
}

static void test_the_source_is_the_senders(void **state)
{
    (void)state;
    struct truc_buffer event = {0};
    make_event("urn:truc:G09:desk", INDEX, &event);
    make_evidence(event, ORIGIN, TRUC_OUTCOME_ACCEPTED);
    assert_int_equal(verify(), TRUC_E_BAD_PROOF);
    assert_non_null(strstr(why, "source"));

    /* The hub refused it for that: this is what the file proves. */
    event = (struct truc_buffer){0};
    make_event("urn:truc:G09:desk", INDEX, &event);
    make_evidence(event, ORIGIN, TRUC_NOT_GRANTED);
    assert_int_equal(verify(), TRUC_OK);
    assert_int_equal(facts.outcome.code, TRUC_NOT_GRANTED);

    event = (struct truc_buffer){0};
    make_event("urn:truc:000.12.H62:desk", INDEX, &event); /* the older spelling of H62.12 */
    make_evidence(event, ORIGIN, TRUC_OUTCOME_ACCEPTED);
    assert_int_equal(verify(), TRUC_OK);
}

static void test_an_unreadable_event_can_only_have_been_refused(void **state)
{
    (void)state;
    struct truc_buffer event = {0};
    assert_int_equal(truc_buffer_append(&event, "garbage", 7), TRUC_OK);
    make_evidence(event, ORIGIN, TRUC_OUTCOME_ACCEPTED);
    assert_int_equal(verify(), TRUC_E_MALFORMED);
    event = (struct truc_buffer){0};
    assert_int_equal(truc_buffer_append(&event, "garbage", 7), TRUC_OK);
    make_evidence(event, ORIGIN, TRUC_MALFORMED);
    assert_int_equal(verify(), TRUC_OK);
    assert_int_equal(facts.event.id.size, 0);
    assert_int_equal(facts.outcome.code, TRUC_MALFORMED);
}

static void test_strict_json(void **state)
{
    (void)state;
    struct truc_evidence evidence;
    struct truc_buffer text = {0};
    const char *end = (const char *)memchr(world.text.data, '}', world.text.size);
    size_t body = (size_t)(end - (const char *)world.text.data);
    static const char *const additions[] = {",\"index\":3}", ",\"evnt\":\"AA==\"}", ",\"format\":\"x\"}", "} {}"};
    for (size_t i = 0; i < sizeof additions / sizeof additions[0]; i++) {
        truc_buffer_clear(&text);
        assert_int_equal(truc_buffer_append(&text, world.text.data, body), TRUC_OK);
        assert_int_equal(truc_buffer_append(&text, additions[i], strlen(additions[i])), TRUC_OK);
        assert_int_equal(judge(truc_buffer_view(&text)), TRUC_E_MALFORMED);
    }
    static const char *const wrong[] = {"", "[]", "null", "{}", "{\"format\":\"truc-evidence@v2\"}", "\xff"};
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        assert_int_equal(truc_evidence_parse(truc_bytes_of(wrong[i]), &evidence, why), TRUC_E_MALFORMED);
        assert_int_equal(truc_evidence_parse(truc_bytes_of(wrong[i]), &evidence, NULL), TRUC_E_MALFORMED);
        assert_null(evidence.event.data);
    }
    truc_buffer_close(&text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_good_evidence_verifies, open_world, close_world),
        cmocka_unit_test_setup_teardown(test_every_flipped_bit_of_the_file_is_noticed, open_world, close_world),
        cmocka_unit_test_setup_teardown(test_no_cut_file_is_taken, open_world, close_world),
        cmocka_unit_test_setup_teardown(test_erased_content_still_has_its_proof, open_world, close_world),
        cmocka_unit_test_setup_teardown(test_each_link_of_the_chain_is_checked, open_world, close_world),
        cmocka_unit_test_setup_teardown(test_other_keys_do_not_do, open_world, close_world),
        cmocka_unit_test_setup_teardown(test_a_seal_for_another_log_is_no_evidence_of_this_one, open_world,
                                        close_world),
        cmocka_unit_test_setup_teardown(test_the_source_is_the_senders, open_world, close_world),
        cmocka_unit_test_setup_teardown(test_an_unreadable_event_can_only_have_been_refused, open_world, close_world),
        cmocka_unit_test_setup_teardown(test_strict_json, open_world, close_world),
    };
    return cmocka_run_group_tests_name("evidence", tests, NULL, NULL);
}
