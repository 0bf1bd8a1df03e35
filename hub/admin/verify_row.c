/* One row, checked by a worker: everything that its bytes alone can tell. */
#include "hub/admin/verify.h"

#define NOTES_PER_ROW_MAX 4096 /* a row of noise must not fill the memory */

void verify_row_clear(struct verify_row *row)
{
    row->unreadable = false; /* done is the pipeline's, under its lock */
    row->why[0] = '\0';
    row->note_count = row->seal_count = 0;
    row->signatures = row->events = row->erased = row->bytes = 0;
}

void verify_row_close(struct verify_row *row)
{
    free(row->notes);
    free(row->unsigned_seals);
    memset(row, 0, sizeof(*row));
}

/* ---- keys -----------------------------------------------------------------------------------------------------------
 */

/* Where the keyid is or belongs. */
static size_t place_of(const struct verify_keys *keys, const char *keyid, bool *there)
{
    size_t low = 0, high = keys->count;
    *there = false;
    while (low < high && !*there) {
        size_t middle = low + (high - low) / 2;
        int order = strcmp(keyid, keys->items[middle].keyid);
        if (order == 0) {
            low = middle;
            *there = true;
        } else if (order < 0) {
            high = middle;
        } else {
            low = middle + 1;
        }
    }
    return low;
}

truc_error verify_keys_add(struct verify_keys *keys, const char *keyid, struct truc_bytes spki)
{
    struct truc_key *key = NULL;
    bool there;
    truc_error error = truc_key_from_spki(spki, &key);
    if (error != TRUC_OK) {
        return error == TRUC_E_NOMEM ? error : TRUC_OK; /* no key: seals that name it stay unproven */
    }
    pthread_rwlock_wrlock(&keys->lock);
    size_t at = place_of(keys, keyid, &there);
    /* The name is not believed either: keyid is what the key hashes to. */
    if (!there && strcmp(truc_key_id(key), keyid) == 0) {
        if (keys->count == keys->capacity) {
            size_t capacity = keys->capacity == 0 ? 64 : 2 * keys->capacity;
            struct verify_key *grown = reallocarray(keys->items, capacity, sizeof(*grown));
            if (grown == NULL) {
                error = TRUC_E_NOMEM;
            } else {
                keys->items = grown;
                keys->capacity = capacity;
            }
        }
        if (error == TRUC_OK) {
            memmove(keys->items + at + 1, keys->items + at, (keys->count - at) * sizeof(*keys->items));
            memcpy(keys->items[at].keyid, truc_key_id(key), sizeof(keys->items[at].keyid));
            keys->items[at].key = truc_key_ref(key);
            keys->count++;
        }
    }
    pthread_rwlock_unlock(&keys->lock);
    truc_key_free(&key);
    return error;
}

void verify_keys_close(struct verify_keys *keys)
{
    for (size_t i = 0; i < keys->count; i++) {
        truc_key_free(&keys->items[i].key);
    }
    free(keys->items);
    keys->items = NULL;
    keys->count = keys->capacity = 0;
}

truc_error verify_envelope(struct verify_keys *keys, struct truc_bytes bytes)
{
    struct truc_envelope envelope;
    struct truc_key *key = NULL;
    bool there;
    truc_error error = truc_envelope_parse(bytes, &envelope);
    if (error != TRUC_OK) {
        return error;
    }
    pthread_rwlock_rdlock(&keys->lock);
    size_t at = place_of(keys, envelope.seal.keyid, &there);
    if (there) {
        key = truc_key_ref(keys->items[at].key);
    }
    pthread_rwlock_unlock(&keys->lock);
    error = there ? truc_envelope_verify(&envelope, key) : TRUC_E_UNKNOWN_KEY;
    truc_key_free(&key);
    return error;
}

/* Keys that a governance act of the row brings, for the seals that come after. */
static truc_error learn_keys(struct verify_keys *keys, const struct hub_governance *act)
{
    truc_error error = TRUC_OK;
    for (size_t i = 0; error == TRUC_OK && i < act->enrolment_count; i++) {
        if (act->enrolments[i].key.present) {
            error = verify_keys_add(keys, act->enrolments[i].key.keyid, act->enrolments[i].key.spki);
        }
    }
    if (error == TRUC_OK && act->act == HUB_ACT_ADD_KEY && act->key.present) {
        error = verify_keys_add(keys, act->key.keyid, act->key.spki);
    }
    return error;
}

/* ---- checks ---------------------------------------------------------------------------------------------------------
 */

static truc_error note(struct verify_row *row, size_t seal, uint32_t event, const char *text)
{
    if (row->note_count == NOTES_PER_ROW_MAX) {
        return TRUC_OK;
    }
    if (row->note_count == row->note_capacity) {
        size_t capacity = row->note_capacity == 0 ? 16 : 2 * row->note_capacity;
        struct verify_note *grown = reallocarray(row->notes, capacity, sizeof(*grown));
        if (grown == NULL) {
            return TRUC_E_NOMEM;
        }
        row->notes = grown;
        row->note_capacity = capacity;
    }
    struct verify_note *added = &row->notes[row->note_count++];
    added->seal = (uint32_t)seal;
    added->event = event;
    snprintf(added->text, sizeof(added->text), "%s", text);
    return TRUC_OK;
}

static truc_error check_contents(struct verify_tools *tools, const struct hub_seal_input *seal, size_t ordinal,
                                 struct verify_row *row)
{
    truc_error error = TRUC_OK;
    for (uint32_t i = 0; error == TRUC_OK && i < seal->seal.count; i++) {
        const char *why = NULL;
        row->bytes += seal->events[i].size;
        if (tools->slots == NULL) {
            continue;
        }
        truc_buffer_clear(&tools->content);
        error = hub_row_reader_content(tools->rows, i, tools->aead, tools->slots, &tools->content);
        if (error == TRUC_E_NOT_FOUND) {
            row->erased++;
            error = TRUC_OK;
        } else if (error == TRUC_E_CORRUPT) {
            why = "the content does not decrypt, or is not what was sealed";
            error = TRUC_OK;
        } else if (error == TRUC_OK) {
            why = verify_facts(seal->seal.sender, truc_buffer_view(&tools->content), &seal->events[i], tools->arena);
        }
        if (why != NULL) {
            error = note(row, ordinal, i, why);
        }
    }
    return error;
}

static truc_error check_seal(struct verify_tools *tools, const struct hub_seal_input *seal, struct verify_row *row)
{
    struct truc_hash hashes[TRUC_SEAL_EVENTS_MAX], root;
    if (row->seal_count == row->seal_capacity) {
        size_t capacity = row->seal_capacity == 0 ? 16 : 2 * row->seal_capacity;
        bool *grown = reallocarray(row->unsigned_seals, capacity, sizeof(*grown));
        if (grown == NULL) {
            return TRUC_E_NOMEM;
        }
        row->unsigned_seals = grown;
        row->seal_capacity = capacity;
    }
    size_t ordinal = row->seal_count++;
    row->unsigned_seals[ordinal] = false;
    row->events += seal->seal.count;
    truc_error error = TRUC_OK;
    for (uint32_t i = 0; i < seal->seal.count; i++) {
        hashes[i] = seal->events[i].leaf_hash;
        if (error == TRUC_OK && seal->events[i].governance != NULL) {
            error = learn_keys(tools->keys, seal->events[i].governance);
        }
    }
    truc_merkle_root(hashes, seal->seal.count, &root);
    if (error == TRUC_OK && memcmp(&root, &seal->seal.root, sizeof(root)) != 0) {
        error = note(row, ordinal, UINT32_MAX, "its events are not those that its signed root covers");
    }
    if (error == TRUC_OK) {
        error = verify_envelope(tools->keys, seal->envelope);
        row->signatures++;
        if (error == TRUC_E_UNKNOWN_KEY) {
            row->unsigned_seals[ordinal] = true;
            error = TRUC_OK;
        } else if (error != TRUC_OK && error != TRUC_E_NOMEM) {
            error = note(row, ordinal, UINT32_MAX, "its signature does not verify");
        }
    }
    return error == TRUC_OK ? check_contents(tools, seal, ordinal, row) : error;
}

static truc_error check_inputs(struct verify_tools *tools, struct verify_row *row)
{
    struct hub_input input;
    truc_error error;
    while ((error = hub_row_reader_next(tools->rows, &input)) == TRUC_OK) {
        if (input.kind == HUB_INPUT_SEAL) {
            error = check_seal(tools, &input.u.seal, row);
        }
        if (error != TRUC_OK) {
            return error;
        }
    }
    if (error == TRUC_E_NOMEM) {
        return error;
    }
    if (error != TRUC_E_NOT_FOUND) {
        row->unreadable = true;
        if (row->why[0] == '\0') {
            snprintf(row->why, sizeof(row->why), "its inputs cannot be read behind seal %zu: %s", row->seal_count,
                     truc_error_string(error));
        }
    }
    return TRUC_OK;
}

truc_error verify_row_check(struct verify_tools *tools, uint64_t number, struct verify_row *out)
{
    struct hub_row_header header;
    struct truc_bytes bytes;
    truc_error error = hub_journal_get(tools->journal, number, &bytes);
    if (error != TRUC_OK) {
        out->unreadable = true;
        snprintf(out->why, sizeof(out->why), "the journal does not give it: %s", truc_error_string(error));
        return error == TRUC_E_NOMEM ? error : TRUC_OK;
    }
    error = hub_row_reader_start(tools->rows, bytes, true, &header);
    if (error == TRUC_E_CORRUPT) {
        /* Read on without its digest: the entries that are damaged show by themselves. */
        snprintf(out->why, sizeof(out->why), "its bytes were altered: they do not fit the row's own SHA-256");
        error = hub_row_reader_start(tools->rows, bytes, false, &header);
    }
    if (error != TRUC_OK) {
        out->unreadable = true;
        if (out->why[0] == '\0') {
            snprintf(out->why, sizeof(out->why), "it is not a row: %s", truc_error_string(error));
        }
        return error == TRUC_E_NOMEM ? error : TRUC_OK;
    }
    return check_inputs(tools, out);
}
