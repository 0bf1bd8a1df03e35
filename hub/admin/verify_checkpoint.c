/* What is compared beside the rows: signed checkpoints, and the state on disk. */
#include "hub/admin/verify_replay.h"

void verify_checkpoint(struct replay *replay, struct truc_bytes note, const struct verify_place *place,
                       const char *whose)
{
    struct truc_checkpoint checkpoint;
    struct truc_hash root;
    if (!replay->has_note_key) {
        verify_find(&replay->report, place, "%s cannot be checked: no note key is known", whose);
        return;
    }
    truc_error error = truc_checkpoint_open(note, &replay->note_key, &checkpoint);
    if (error != TRUC_OK) {
        verify_find(&replay->report, place, "%s is not signed by the log's note key: %s", whose,
                    truc_error_string(error));
        return;
    }
    replay->checkpoints++;
    if (checkpoint.size > hub_core_tree_size(replay->core)) {
        verify_find(&replay->report, place, "%s covers %llu leaves, but the journal has only %llu: entries are missing",
                    whose, (unsigned long long)checkpoint.size, (unsigned long long)hub_core_tree_size(replay->core));
        return;
    }
    error = truc_range_root(hub_core_node, replay->core, 0, checkpoint.size, &root);
    if (error != TRUC_OK) {
        verify_find(&replay->report, place, "%s: the tree of %llu leaves cannot be computed: %s", whose,
                    (unsigned long long)checkpoint.size, truc_error_string(error));
    } else if (memcmp(&root, &checkpoint.root, sizeof(root)) != 0) {
        verify_find(&replay->report, place, "%s over %llu leaves has another root than the entries give: altered",
                    whose, (unsigned long long)checkpoint.size);
    }
}

void verify_take_note_key(struct replay *replay)
{
    const char *text = hub_core_note_key(replay->core);
    const char *expected = replay->options->note_key;
    if (replay->has_note_key || text[0] == '\0') {
        return;
    }
    if (expected != NULL && strcmp(text, expected) != 0) {
        verify_find(&replay->report, &VERIFY_ROW(0),
                    "genesis names another note key than the one that you gave or that "
                    "lies in the home");
    }
    replay->has_note_key =
        truc_note_verifier_parse(truc_bytes_of(expected == NULL ? text : expected), &replay->note_key) == TRUC_OK;
}

/* A digest over every key and value, each behind its length: equal states, equal digests. */
static truc_error digest_pair(void *context, struct truc_bytes key, struct truc_bytes value)
{
    struct truc_hash *digest = context;
    const uint64_t sizes[2] = {key.size, value.size};
    const struct truc_bytes parts[4] = {truc_bytes(digest->bytes, sizeof(digest->bytes)),
                                        truc_bytes(sizes, sizeof(sizes)), key, value};
    truc_sha256_parts(digest, parts, 4);
    return TRUC_OK;
}

/* The state is a help that can be made again, so that nothing about it stops the verification of the log itself. */
void verify_open_state(struct replay *replay, const char *data)
{
    char why[256] = "";
    truc_error error =
        hub_state_open(data, (uint64_t)replay->options->settings->state_bytes, false, true, &replay->state, why);
    if (error == TRUC_E_NOT_FOUND) {
        return;
    }
    if (error == TRUC_OK) {
        struct hub_port port = hub_state_port(replay->state);
        error = hub_core_new(&port, &replay->state_core);
    }
    if (error == TRUC_OK) {
        error = hub_core_dump(replay->state_core, digest_pair, &replay->state_digest);
    }
    if (error == TRUC_OK) {
        error = hub_state_noted(replay->state, "checkpoint", &replay->state_note);
        error = error == TRUC_E_NOT_FOUND ? TRUC_OK : error;
    }
    if (error == TRUC_OK && hub_core_applied(replay->state_core) == 0) {
        hub_core_free(&replay->state_core); /* made by a start that ended before its first batch: nothing to compare */
    }
    if (error != TRUC_OK) {
        verify_find(
            &replay->report, &VERIFY_NOWHERE,
            "the state cannot be read (%s%s%s); the log is not concerned: stop the hub, remove state.mdb, start it",
            truc_error_string(error), why[0] == '\0' ? "" : ": ", why);
        hub_core_free(&replay->state_core);
    }
}

void verify_compare_state(struct replay *replay)
{
    struct truc_hash digest = {{0}};
    if (replay->state_core == NULL || replay->state_compared ||
        hub_core_applied(replay->core) != hub_core_applied(replay->state_core)) {
        return;
    }
    replay->state_compared = true;
    truc_error error = hub_core_dump(replay->core, digest_pair, &digest);
    replay->state_equal = error == TRUC_OK && memcmp(&digest, &replay->state_digest, sizeof(digest)) == 0;
    if (!replay->state_equal) {
        verify_find(
            &replay->report, &VERIFY_ROW(hub_core_applied(replay->core) - 1),
            "the state on disk after this row is not what the journal gives (%s); stop the hub, remove state.mdb, "
            "start it, and ask who wrote there",
            error == TRUC_OK ? "another content" : truc_error_string(error));
    }
}
