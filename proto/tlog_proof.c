/* C2SP tlog-proof:
 *
 *   c2sp.org/tlog-proof@v1
 *   extra <base64>              at most once; not authenticated, so it is checked for form and passed over
 *   index <decimal>
 *   <base64 hash>               none or more, from the leaf's sibling up
 *                               (empty line)
 *   <checkpoint, verbatim> */
#include "proto/note_internal.h"

#include <inttypes.h>

static const char header[] = "c2sp.org/tlog-proof@v1";

truc_error truc_tlog_proof_text(const struct truc_tlog_proof *proof, struct truc_buffer *out)
{
    if (proof->count > TRUC_PROOF_MAX || proof->checkpoint.size == 0 || proof->checkpoint.size > TRUC_NOTE_MAX) {
        return TRUC_E_INVALID;
    }
    size_t before = out->size;
    truc_error error = truc_buffer_printf(out, "%s\nindex %" PRIu64 "\n", header, proof->index);
    for (size_t i = 0; i < proof->count && error == TRUC_OK; i++) {
        error = truc_base64_encode(truc_bytes(proof->path[i].bytes, sizeof proof->path[i].bytes), out);
        if (error == TRUC_OK) {
            error = truc_buffer_append(out, "\n", 1);
        }
    }
    if (error == TRUC_OK) {
        error = truc_buffer_append(out, "\n", 1);
    }
    if (error == TRUC_OK) {
        error = truc_buffer_append(out, proof->checkpoint.data, proof->checkpoint.size);
    }
    if (error != TRUC_OK) {
        out->size = before;
    }
    return error;
}

/* true where `line` begins with `word` and a space; `value` is what follows. */
static bool take_word(struct truc_bytes line, const char *word, struct truc_bytes *value)
{
    size_t length = strlen(word);
    if (line.size <= length || memcmp(line.data, word, length) != 0 || line.data[length] != ' ') {
        return false;
    }
    *value = truc_bytes(line.data + length + 1, line.size - length - 1);
    return true;
}

static truc_error check_base64(struct truc_bytes text)
{
    struct truc_buffer decoded = {0};
    truc_error error = truc_base64_decode(text, &decoded);
    truc_buffer_close(&decoded);
    return error;
}

/* Reads the hashes and the empty line behind them. */
static truc_error read_path(struct truc_bytes *text, struct truc_tlog_proof *out)
{
    struct truc_bytes line;
    out->count = 0;
    while (note_take_line(text, &line)) {
        if (line.size == 0) {
            return TRUC_OK;
        }
        if (out->count == TRUC_PROOF_MAX) {
            return TRUC_E_MALFORMED;
        }
        truc_error error = note_read_hash(line, &out->path[out->count++]);
        if (error != TRUC_OK) {
            return error;
        }
    }
    return TRUC_E_MALFORMED;
}

truc_error truc_tlog_proof_parse(struct truc_bytes text, struct truc_tlog_proof *out)
{
    struct truc_bytes line, value;
    if (text.size > TRUC_TLOG_PROOF_MAX) {
        return TRUC_E_TOO_LARGE;
    }
    if (!note_take_line(&text, &line) || !truc_bytes_equal(line, truc_bytes_of(header)) ||
        !note_take_line(&text, &line)) {
        return TRUC_E_MALFORMED;
    }
    if (take_word(line, "extra", &value)) {
        truc_error error = check_base64(value);
        if (error != TRUC_OK) {
            return error;
        }
        if (!note_take_line(&text, &line)) {
            return TRUC_E_MALFORMED;
        }
    }
    if (!take_word(line, "index", &value)) {
        return TRUC_E_MALFORMED;
    }
    truc_error error = note_read_number(value, &out->index);
    if (error == TRUC_OK) {
        error = read_path(&text, out);
    }
    if (error == TRUC_OK && (text.size == 0 || text.size > TRUC_NOTE_MAX)) {
        error = TRUC_E_MALFORMED;
    }
    out->checkpoint = text;
    return error;
}

truc_error truc_tlog_proof_verify(const struct truc_tlog_proof *proof, struct truc_bytes leaf,
                                  const struct truc_note_verifier *verifier, struct truc_checkpoint *out)
{
    struct truc_checkpoint checkpoint;
    truc_error error = truc_checkpoint_open(proof->checkpoint, verifier, &checkpoint);
    if (error != TRUC_OK) {
        return error;
    }
    struct truc_hash hash;
    truc_leaf_hash(&hash, leaf);
    error = truc_inclusion_verify(proof->index, checkpoint.size, &hash, proof->path, proof->count, &checkpoint.root);
    if (error == TRUC_OK && out != NULL) {
        *out = checkpoint;
    }
    return error;
}
