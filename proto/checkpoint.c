/* C2SP tlog-checkpoint. */
#include "proto/note_internal.h"

#include <inttypes.h>

truc_error truc_checkpoint_sign(const struct truc_checkpoint *checkpoint, const struct truc_key *key,
                                struct truc_buffer *out)
{
    if (memchr(checkpoint->origin, '\0', sizeof checkpoint->origin) == NULL || checkpoint->size > (uint64_t)1 << 63) {
        return TRUC_E_INVALID;
    }
    struct truc_buffer text = {0};
    truc_error error = truc_buffer_printf(&text, "%s\n%" PRIu64 "\n", checkpoint->origin, checkpoint->size);
    if (error == TRUC_OK) {
        error = truc_base64_encode(truc_bytes(checkpoint->root.bytes, sizeof checkpoint->root.bytes), &text);
    }
    if (error == TRUC_OK) {
        error = truc_buffer_append(&text, "\n", 1);
    }
    if (error == TRUC_OK) {
        error = truc_note_sign(truc_buffer_view(&text), checkpoint->origin, key, out);
    }
    truc_buffer_close(&text);
    return error;
}

static truc_error read_checkpoint(struct truc_bytes text, struct truc_checkpoint *out)
{
    struct truc_bytes origin, size, root, extension;
    if (!note_take_line(&text, &origin) || !note_take_line(&text, &size) || !note_take_line(&text, &root) ||
        !note_name_is_valid(origin)) {
        return TRUC_E_MALFORMED;
    }
    while (note_take_line(&text, &extension)) {
        if (extension.size == 0) {
            return TRUC_E_MALFORMED;
        }
    }
    memcpy(out->origin, origin.data, origin.size);
    out->origin[origin.size] = '\0';
    truc_error error = note_read_number(size, &out->size);
    return error == TRUC_OK ? note_read_hash(root, &out->root) : error;
}

truc_error truc_checkpoint_open(struct truc_bytes note, const struct truc_note_verifier *verifier,
                                struct truc_checkpoint *out)
{
    struct truc_bytes text;
    struct truc_checkpoint checkpoint;
    truc_error error = truc_note_open(note, verifier, &text);
    if (error == TRUC_OK) {
        error = read_checkpoint(text, &checkpoint);
    }
    /* One key may sign for several logs under several names: the origin says which log this is about. */
    if (error == TRUC_OK && strcmp(checkpoint.origin, verifier->name) != 0) {
        error = TRUC_E_MALFORMED;
    }
    if (error == TRUC_OK) {
        *out = checkpoint;
    }
    return error;
}
