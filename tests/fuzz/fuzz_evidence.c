/* Evidence files. First byte 0: the rest is a file. Otherwise a good file is made, the rest says which of its parts is
 * altered and how, and nothing altered may be proven. */
#include "tests/fuzz/fuzz.h"
#include "truc/evidence.h"

#define ORIGIN "log.example/test"

static struct truc_key *note_key, *agency_key;
static struct truc_note_verifier verifier;
static struct truc_buffer good; /* the file */

static void make_event(struct truc_buffer *out)
{
    char why[256];
    FUZZ_OK(truc_event_from_json(truc_bytes_of("{\"specversion\":\"1.0\",\"id\":\"7\",\"source\":\"urn:truc:H14\","
                                               "\"type\":\"a.v1\",\"salt\":\"AAECAwQFBgcICQoLDA0ODw==\",\"data\":1}"),
                                 out, why));
}

/* Two events in a seal of two, the leaf the second of three. */
static void make_good(void)
{
    struct truc_evidence evidence = {.index = 1, .path_count = 1};
    static struct truc_leaf leaf;
    struct truc_seal seal = {.origin = ORIGIN, .sender = "H14", .number = 1, .count = 2, .sealed_at_us = 5};
    struct truc_hash hashes[2], leaves[3] = {{{1}}, {{0}}, {{3}}}, scratch[3];
    struct truc_tlog_proof proof = {.index = 1};
    struct truc_checkpoint checkpoint = {.origin = ORIGIN, .size = 3};
    struct truc_buffer note = {0};
    make_event(&evidence.event);
    truc_leaf_hash(&evidence.event_hash, truc_buffer_view(&evidence.event));
    hashes[0] = evidence.path[0] = (struct truc_hash){{9}};
    hashes[1] = evidence.event_hash;
    truc_merkle_root(hashes, 2, &seal.root);
    (void)snprintf(seal.keyid, sizeof seal.keyid, "%s", truc_key_id(agency_key));
    FUZZ_OK(truc_seal_sign(&seal, agency_key, &evidence.envelope, &leaf.seal_digest));
    leaf.accepted_at_us = 9;
    leaf.first_sequence = 5;
    leaf.count = 2;
    FUZZ_OK(truc_leaf_encode(&leaf, &evidence.leaf));
    truc_leaf_hash(&leaves[1], truc_buffer_view(&evidence.leaf));
    FUZZ_OK(truc_inclusion_path_of(leaves, 3, 1, proof.path, &proof.count));
    memcpy(scratch, leaves, sizeof leaves);
    truc_merkle_root(scratch, 3, &checkpoint.root);
    FUZZ_OK(truc_checkpoint_sign(&checkpoint, note_key, &note));
    proof.checkpoint = truc_buffer_view(&note);
    FUZZ_OK(truc_tlog_proof_text(&proof, &evidence.proof));
    FUZZ_OK(truc_evidence_encode(&evidence, &good));
    truc_buffer_close(&note);
    truc_evidence_close(&evidence);
}

static void set_up(void)
{
    if (note_key == NULL) {
        FUZZ_OK(truc_key_generate(TRUC_ALGORITHM_ED25519, &note_key));
        FUZZ_OK(truc_key_generate(TRUC_ALGORITHM_ED25519, &agency_key));
        FUZZ_OK(truc_note_verifier_make(ORIGIN, note_key, &verifier));
        make_good();
    }
}

static truc_error verify(const struct truc_evidence *evidence)
{
    struct truc_evidence_facts facts;
    char why[256] = "";
    truc_error error = truc_evidence_verify(evidence, &verifier, agency_key, &facts, why);
    FUZZ_CHECK(memchr(why, '\0', sizeof why) != NULL && (error == TRUC_OK || why[0] != '\0'));
    return error;
}

static void check_file(struct truc_bytes text)
{
    struct truc_evidence evidence, again;
    struct truc_buffer written = {0}, rewritten = {0};
    char why[256] = "";
    truc_error error = truc_evidence_parse(text, &evidence, why);
    FUZZ_CHECK(error == TRUC_OK || (error == TRUC_E_MALFORMED && why[0] != '\0'));
    if (error == TRUC_OK) {
        FUZZ_CHECK(verify(&evidence) != TRUC_OK);
        FUZZ_OK(truc_evidence_encode(&evidence, &written));
        FUZZ_OK(truc_evidence_parse(truc_buffer_view(&written), &again, why));
        FUZZ_OK(truc_evidence_encode(&again, &rewritten));
        FUZZ_CHECK(truc_bytes_equal(truc_buffer_view(&written), truc_buffer_view(&rewritten)));
        truc_evidence_close(&again);
    }
    truc_evidence_close(&evidence);
    truc_buffer_close(&written);
    truc_buffer_close(&rewritten);
}

static void alter(struct truc_buffer *part, struct fuzz *fuzz, uint8_t with)
{
    if (part->size > 0) {
        part->data[fuzz_u16(fuzz) % part->size] ^= with;
    }
}

static void check_altered(struct fuzz *fuzz)
{
    struct truc_evidence evidence;
    char why[256];
    FUZZ_OK(truc_evidence_parse(truc_buffer_view(&good), &evidence, why));
    uint8_t which = fuzz_u8(fuzz) % 8, with = fuzz_u8(fuzz);
    if (which == 0) {
        alter(&evidence.event, fuzz, with);
    } else if (which == 1) {
        evidence.event_hash.bytes[fuzz_u8(fuzz) % TRUC_HASH_SIZE] ^= with;
    } else if (which == 2) {
        alter(&evidence.envelope, fuzz, with);
    } else if (which == 3) {
        evidence.index ^= with;
    } else if (which == 4) {
        evidence.path[0].bytes[fuzz_u8(fuzz) % TRUC_HASH_SIZE] ^= with;
    } else if (which == 5) {
        alter(&evidence.leaf, fuzz, with);
    } else if (which == 6) {
        alter(&evidence.proof, fuzz, with);
    } else {
        evidence.path_count = with % (TRUC_PROOF_MAX + 1);
        with = evidence.path_count != 1;
    }
    truc_error error = verify(&evidence);
    if ((error == TRUC_OK) != (with == 0)) {
        fprintf(stderr, "part %u altered with %u: %s\n", which, with, truc_error_string(error));
    }
    FUZZ_CHECK((error == TRUC_OK) == (with == 0));
    truc_evidence_close(&evidence);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct fuzz fuzz = fuzz_of(data, size);
    set_up();
    if (fuzz_u8(&fuzz) == 0) {
        check_file(fuzz_rest(&fuzz));
    } else {
        check_altered(&fuzz);
    }
    return 0;
}

void fuzz_seeds(void)
{
    struct truc_buffer out = {0};
    set_up();
    fuzz_put_u8(&out, 0);
    FUZZ_OK(truc_buffer_append(&out, good.data, good.size));
    fuzz_seed("whole.json", truc_buffer_view(&out));
    truc_buffer_close(&out);
    for (unsigned which = 0; which < 8; which++) {
        const uint8_t input[] = {1, (uint8_t)which, (uint8_t)(1 + which), 20, 0};
        char name[32];
        (void)snprintf(name, sizeof name, "altered-%u", which);
        fuzz_seed(name, truc_bytes(input, sizeof input));
    }
}
