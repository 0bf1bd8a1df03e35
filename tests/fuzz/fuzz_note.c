/* Signed notes, verifier keys and checkpoints. First byte: 0 a note as it is; 1 a verifier key; 2 the rest is signed
 * first, so that the signature does not hide the reader of the checkpoint. */
#include "tests/fuzz/fuzz.h"
#include "truc/note.h"

#define NAME "log.example/test"

static struct truc_key *key;
static struct truc_note_verifier verifier;

static void check_note(struct truc_bytes note)
{
    struct truc_bytes text;
    struct truc_checkpoint checkpoint;
    truc_error error = truc_note_open(note, &verifier, &text);
    if (error == TRUC_OK) {
        FUZZ_CHECK(text.size > 0 && text.data[text.size - 1] == '\n' && text.data == note.data);
    } else {
        FUZZ_CHECK(error == TRUC_E_MALFORMED || error == TRUC_E_UNKNOWN_KEY || error == TRUC_E_BAD_SIGNATURE);
    }
    error = truc_checkpoint_open(note, &verifier, &checkpoint);
    FUZZ_CHECK(error != TRUC_OK || strcmp(checkpoint.origin, NAME) == 0);
}

static void check_verifier(struct truc_bytes text)
{
    struct truc_note_verifier parsed;
    struct truc_buffer again = {0};
    if (truc_note_verifier_parse(text, &parsed) == TRUC_OK) {
        FUZZ_OK(truc_note_verifier_text(&parsed, &again));
        FUZZ_CHECK(truc_bytes_equal(truc_buffer_view(&again), text));
        truc_note_verifier_close(&parsed);
    }
    truc_buffer_close(&again);
}

static void check_checkpoint(struct truc_bytes text)
{
    struct truc_buffer note = {0}, again = {0};
    struct truc_checkpoint checkpoint, same;
    if (truc_note_sign(text, NAME, key, &note) == TRUC_OK) {
        check_note(truc_buffer_view(&note));
        if (truc_checkpoint_open(truc_buffer_view(&note), &verifier, &checkpoint) == TRUC_OK) {
            FUZZ_OK(truc_checkpoint_sign(&checkpoint, key, &again));
            FUZZ_OK(truc_checkpoint_open(truc_buffer_view(&again), &verifier, &same));
            FUZZ_CHECK(same.size == checkpoint.size && memcmp(&same.root, &checkpoint.root, sizeof same.root) == 0);
        }
    }
    truc_buffer_close(&note);
    truc_buffer_close(&again);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct fuzz fuzz = fuzz_of(data, size);
    if (key == NULL) {
        FUZZ_OK(truc_key_generate(TRUC_ALGORITHM_ED25519, &key));
        FUZZ_OK(truc_note_verifier_make(NAME, key, &verifier));
    }
    uint8_t mode = fuzz_u8(&fuzz);
    struct truc_bytes rest = fuzz_rest(&fuzz);
    uint8_t *copy = fuzz_copy(rest);
    if (mode == 0) {
        check_note(truc_bytes(copy, rest.size));
    } else if (mode == 1) {
        check_verifier(truc_bytes(copy, rest.size));
    } else {
        check_checkpoint(truc_bytes(copy, rest.size));
    }
    free(copy);
    return 0;
}

static void seed(const char *name, unsigned mode, struct truc_bytes rest)
{
    struct truc_buffer out = {0};
    fuzz_put_u8(&out, mode);
    FUZZ_OK(truc_buffer_append(&out, rest.data, rest.size));
    fuzz_seed(name, truc_buffer_view(&out));
    truc_buffer_close(&out);
}

void fuzz_seeds(void)
{
    struct truc_buffer note = {0}, text = {0};
    struct truc_checkpoint checkpoint = {.origin = NAME, .size = 20852163};
    (void)LLVMFuzzerTestOneInput(NULL, 0);
    FUZZ_OK(truc_checkpoint_sign(&checkpoint, key, &note));
    seed("note", 0, truc_buffer_view(&note));
    FUZZ_OK(truc_note_verifier_text(&verifier, &text));
    seed("verifier", 1, truc_buffer_view(&text));
    const uint8_t *end = memmem(note.data, note.size, "\n\n", 2);
    seed("checkpoint", 2, truc_bytes(note.data, (size_t)(end - note.data) + 1));
    seed("checkpoint-more-lines", 2,
         truc_bytes_of(NAME "\n0\n47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=\nanother line\nand one\n"));
    truc_buffer_close(&note);
    truc_buffer_close(&text);
}
