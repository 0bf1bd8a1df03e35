/* Evidence files: written and read as strict JSON, verified without the hub. */
#include "truc/evidence.h"

#include <jansson.h>
#include <stdarg.h>

__attribute__((format(printf, 3, 4))) static truc_error tell(char why[256], truc_error error, const char *format, ...)
{
    va_list arguments;
    if (why != NULL) {
        va_start(arguments, format);
        int size = vsnprintf(why, 256, format, arguments);
        va_end(arguments);
        if (size < 0) {
            why[0] = '\0';
        }
    }
    return error;
}

void truc_evidence_close(struct truc_evidence *evidence)
{
    truc_buffer_close(&evidence->event);
    truc_buffer_close(&evidence->envelope);
    truc_buffer_close(&evidence->leaf);
    truc_buffer_close(&evidence->proof);
}

/* ---- writing ---------------------------------------------------------------------------------------------------- */

static truc_error set(json_t *object, const char *key, json_t *value)
{
    return value != NULL && json_object_set_new(object, key, value) == 0 ? TRUC_OK : TRUC_E_NOMEM;
}

static truc_error set_base64(json_t *object, const char *key, struct truc_bytes bytes)
{
    struct truc_buffer text = {0};
    truc_error error = truc_base64_encode(bytes, &text);
    if (error == TRUC_OK) {
        error = set(object, key, json_stringn(text.size == 0 ? "" : (const char *)text.data, text.size));
    }
    truc_buffer_close(&text);
    return error;
}

static truc_error set_path(json_t *object, const struct truc_evidence *evidence)
{
    struct truc_buffer text = {0};
    json_t *path = json_array();
    truc_error error = set(object, "path", path);
    for (size_t i = 0; i < evidence->path_count && error == TRUC_OK; i++) {
        truc_buffer_clear(&text);
        error = truc_base64_encode(truc_bytes(evidence->path[i].bytes, TRUC_HASH_SIZE), &text);
        if (error == TRUC_OK && json_array_append_new(path, json_stringn((const char *)text.data, text.size)) != 0) {
            error = TRUC_E_NOMEM;
        }
    }
    truc_buffer_close(&text);
    return error;
}

static truc_error set_all(json_t *object, const struct truc_evidence *evidence)
{
    char hash[2 * TRUC_HASH_SIZE + 1];
    truc_error error = set(object, "format", json_string(TRUC_EVIDENCE_FORMAT));
    if (error == TRUC_OK && evidence->event.size > 0) {
        error = set_base64(object, "event", truc_buffer_view(&evidence->event));
    }
    truc_hex(truc_bytes(evidence->event_hash.bytes, TRUC_HASH_SIZE), hash);
    if (error == TRUC_OK) {
        error = set(object, "event_hash", json_string(hash));
    }
    if (error == TRUC_OK) {
        error = set_base64(object, "envelope", truc_buffer_view(&evidence->envelope));
    }
    if (error == TRUC_OK) {
        error = set(object, "index", json_integer(evidence->index));
    }
    if (error == TRUC_OK) {
        error = set_path(object, evidence);
    }
    if (error == TRUC_OK) {
        error = set_base64(object, "leaf", truc_buffer_view(&evidence->leaf));
    }
    if (error == TRUC_OK && evidence->proof.size > 0) {
        json_t *proof = json_stringn((const char *)evidence->proof.data, evidence->proof.size);
        error = proof == NULL ? TRUC_E_INVALID /* not UTF-8 */ : set(object, "proof", proof);
    }
    return error;
}

truc_error truc_evidence_encode(const struct truc_evidence *evidence, struct truc_buffer *out)
{
    json_t *object = NULL;
    char *text = NULL;
    truc_error error = TRUC_E_NOMEM;
    if (evidence->envelope.size == 0 || evidence->leaf.size == 0 || evidence->proof.size == 0 ||
        evidence->path_count > TRUC_PROOF_MAX) {
        return TRUC_E_INVALID;
    }
    object = json_object();
    if (object == NULL) {
        return TRUC_E_NOMEM;
    }
    error = set_all(object, evidence);
    if (error != TRUC_OK) {
        goto out;
    }
    text = json_dumps(object, JSON_COMPACT);
    if (text == NULL) {
        error = TRUC_E_NOMEM;
        goto out;
    }
    error = truc_buffer_append(out, text, strlen(text));
    if (error == TRUC_OK) {
        error = truc_buffer_append(out, "\n", 1);
    }
out:
    free(text);
    json_decref(object);
    return error;
}

/* ---- reading ---------------------------------------------------------------------------------------------------- */

static struct truc_bytes text_of(const json_t *value)
{
    return truc_bytes(json_string_value(value), json_string_length(value));
}

static truc_error get_base64(const json_t *object, const char *key, struct truc_buffer *out, char why[256])
{
    const json_t *value = json_object_get(object, key);
    if (!json_is_string(value)) {
        return tell(why, TRUC_E_MALFORMED, "\"%s\" is missing or not a string", key);
    }
    truc_error error = truc_base64_decode(text_of(value), out);
    if (error == TRUC_E_NOMEM) {
        return tell(why, error, "out of memory");
    }
    if (error != TRUC_OK || out->size == 0) {
        return tell(why, TRUC_E_MALFORMED, "\"%s\" is empty or not base64", key);
    }
    return TRUC_OK;
}

static truc_error get_hash(const json_t *object, struct truc_hash *out, char why[256])
{
    struct truc_bytes text = text_of(json_object_get(object, "event_hash"));
    for (size_t i = 0; i < text.size; i++) {
        if (text.data[i] >= 'A' && text.data[i] <= 'F') {
            return tell(why, TRUC_E_MALFORMED, "\"event_hash\" is not lowercase hex");
        }
    }
    if (text.data == NULL || truc_unhex(text, out->bytes, TRUC_HASH_SIZE) != TRUC_OK) {
        return tell(why, TRUC_E_MALFORMED, "\"event_hash\" is not 64 hex digits");
    }
    return TRUC_OK;
}

static truc_error get_path(const json_t *object, struct truc_evidence *out, char why[256])
{
    const json_t *path = json_object_get(object, "path");
    struct truc_buffer hash = {0};
    truc_error error = TRUC_OK;
    if (!json_is_array(path) || json_array_size(path) > TRUC_PROOF_MAX) {
        return tell(why, TRUC_E_MALFORMED, "\"path\" is missing or not a list of at most %d hashes", TRUC_PROOF_MAX);
    }
    out->path_count = json_array_size(path);
    for (size_t i = 0; i < out->path_count; i++) {
        const json_t *value = json_array_get(path, i);
        truc_buffer_clear(&hash);
        error = json_is_string(value) ? truc_base64_decode(text_of(value), &hash) : TRUC_E_MALFORMED;
        if (error == TRUC_OK && hash.size != TRUC_HASH_SIZE) {
            error = TRUC_E_MALFORMED;
        }
        if (error != TRUC_OK) {
            error = tell(why, error, "\"path\" entry %zu is not a hash in base64", i);
            goto out;
        }
        memcpy(out->path[i].bytes, hash.data, TRUC_HASH_SIZE);
    }
out:
    truc_buffer_close(&hash);
    return error;
}

/* A key that this version does not know is refused: a misspelt "event" must not pass for an erased one. */
static truc_error check_keys(json_t *object, char why[256])
{
    static const char *const known[] = {"format", "event", "event_hash", "envelope", "index", "path", "leaf", "proof"};
    const char *key;
    json_t *value;
    json_object_foreach(object, key, value)
    {
        bool found = false;
        for (size_t i = 0; i < sizeof known / sizeof known[0]; i++) {
            found = found || strcmp(key, known[i]) == 0;
        }
        if (!found) {
            return tell(why, TRUC_E_MALFORMED, "a key that %s does not have", TRUC_EVIDENCE_FORMAT);
        }
    }
    value = json_object_get(object, "format");
    if (!json_is_string(value) || strcmp(json_string_value(value), TRUC_EVIDENCE_FORMAT) != 0) {
        return tell(why, TRUC_E_MALFORMED, "\"format\" is not %s", TRUC_EVIDENCE_FORMAT);
    }
    return TRUC_OK;
}

static truc_error get_all(json_t *object, struct truc_evidence *out, char why[256])
{
    const json_t *value;
    truc_error error = check_keys(object, why);
    if (error == TRUC_OK && json_object_get(object, "event") != NULL) {
        error = get_base64(object, "event", &out->event, why);
    }
    if (error == TRUC_OK) {
        error = get_hash(object, &out->event_hash, why);
    }
    if (error == TRUC_OK) {
        error = get_base64(object, "envelope", &out->envelope, why);
    }
    if (error == TRUC_OK) {
        error = get_path(object, out, why);
    }
    if (error == TRUC_OK) {
        error = get_base64(object, "leaf", &out->leaf, why);
    }
    if (error != TRUC_OK) {
        return error;
    }
    value = json_object_get(object, "index");
    if (!json_is_integer(value) || json_integer_value(value) < 0 || json_integer_value(value) >= TRUC_SEAL_EVENTS_MAX) {
        return tell(why, TRUC_E_MALFORMED, "\"index\" is missing or not a number from 0 to %d",
                    TRUC_SEAL_EVENTS_MAX - 1);
    }
    out->index = (uint32_t)json_integer_value(value);
    value = json_object_get(object, "proof");
    if (!json_is_string(value) || json_string_length(value) == 0) {
        return tell(why, TRUC_E_MALFORMED, "\"proof\" is missing or not a string");
    }
    return truc_buffer_append(&out->proof, json_string_value(value), json_string_length(value));
}

truc_error truc_evidence_parse(struct truc_bytes text, struct truc_evidence *out, char why[256])
{
    json_error_t json_error;
    json_t *object;
    truc_error error;
    memset(out, 0, sizeof *out);
    if (text.size == 0 || text.size > TRUC_EVIDENCE_MAX) {
        return tell(why, TRUC_E_MALFORMED, "the file is empty or over %u bytes", TRUC_EVIDENCE_MAX);
    }
    object = json_loadb((const char *)text.data, text.size, JSON_REJECT_DUPLICATES, &json_error);
    if (object == NULL) {
        return tell(why, TRUC_E_MALFORMED, "not JSON, or a key comes twice: line %d, column %d", json_error.line,
                    json_error.column);
    }
    error = json_is_object(object) ? get_all(object, out, why) : tell(why, TRUC_E_MALFORMED, "not a JSON object");
    json_decref(object);
    if (error != TRUC_OK) {
        truc_evidence_close(out);
    }
    return error;
}

/* ---- verifying -------------------------------------------------------------------------------------------------- */

/* Event and seal: hash, place, signature. */
static truc_error verify_seal(const struct truc_evidence *evidence, const struct truc_key *agency_key,
                              struct truc_evidence_facts *out, char why[256])
{
    struct truc_hash hash;
    truc_error error = truc_envelope_parse(truc_buffer_view(&evidence->envelope), &out->envelope);
    if (error != TRUC_OK) {
        return tell(why, TRUC_E_MALFORMED, "the seal's envelope does not parse");
    }
    error = truc_envelope_verify(&out->envelope, agency_key);
    if (error == TRUC_E_UNKNOWN_KEY) {
        return tell(why, error, "the seal was made with key %.16s..., not with the given agency key",
                    out->envelope.seal.keyid);
    }
    if (error != TRUC_OK) {
        return tell(why, error, "the seal's signature is not valid");
    }
    if (evidence->event.size > 0) {
        truc_leaf_hash(&hash, truc_buffer_view(&evidence->event));
        if (memcmp(hash.bytes, evidence->event_hash.bytes, TRUC_HASH_SIZE) != 0) {
            return tell(why, TRUC_E_BAD_PROOF, "the event does not have the stated hash");
        }
    }
    if (evidence->index >= out->envelope.seal.count) {
        return tell(why, TRUC_E_BAD_PROOF, "index %u is beyond the seal's %u events", evidence->index,
                    out->envelope.seal.count);
    }
    error = truc_inclusion_verify(evidence->index, out->envelope.seal.count, &evidence->event_hash, evidence->path,
                                  evidence->path_count, &out->envelope.seal.root);
    if (error != TRUC_OK) {
        return tell(why, TRUC_E_BAD_PROOF, "the event is not under the seal's root");
    }
    return TRUC_OK;
}

/* Leaf and log: digest, inclusion, checkpoint, origin. */
static truc_error verify_log(const struct truc_evidence *evidence, const struct truc_note_verifier *note_key,
                             struct truc_evidence_facts *out, char why[256])
{
    struct truc_tlog_proof proof;
    truc_error error = truc_leaf_parse(truc_buffer_view(&evidence->leaf), &out->leaf);
    if (error != TRUC_OK) {
        return tell(why, TRUC_E_MALFORMED, "the log's leaf does not parse");
    }
    if (memcmp(out->leaf.seal_digest.bytes, out->envelope.digest.bytes, TRUC_HASH_SIZE) != 0 ||
        out->leaf.count != out->envelope.seal.count) {
        return tell(why, TRUC_E_BAD_PROOF, "the log's leaf is of another seal");
    }
    error = truc_tlog_proof_parse(truc_buffer_view(&evidence->proof), &proof);
    if (error != TRUC_OK) {
        return tell(why, TRUC_E_MALFORMED, "the log proof does not parse");
    }
    error = truc_tlog_proof_verify(&proof, truc_buffer_view(&evidence->leaf), note_key, &out->checkpoint);
    if (error != TRUC_OK) {
        return tell(why, error, "the log proof is not valid: %s", truc_error_string(error));
    }
    if (strcmp(out->checkpoint.origin, note_key->name) != 0 ||
        strcmp(out->checkpoint.origin, out->envelope.seal.origin) != 0) {
        return tell(why, TRUC_E_BAD_PROOF, "the seal was made for another log than the checkpoint's");
    }
    return TRUC_OK;
}

static bool source_is_of(struct truc_bytes source, const char *sender)
{
    char owner[TRUC_AGENCY_MAX + 1], expected[TRUC_AGENCY_MAX + 1];
    return truc_agency_normalise(truc_source_agency(source), owner) == TRUC_OK &&
           truc_agency_normalise(truc_bytes_of(sender), expected) == TRUC_OK && strcmp(owner, expected) == 0;
}

/* What the event says of itself. A refused event may be just that: malformed, or of a foreign source. */
static truc_error verify_event(const struct truc_evidence *evidence, struct truc_evidence_facts *out, char why[256])
{
    bool refused;
    out->sequence = out->leaf.first_sequence + evidence->index;
    out->outcome = out->leaf.outcomes[evidence->index];
    refused = out->outcome.code != TRUC_OUTCOME_ACCEPTED && out->outcome.code != TRUC_OUTCOME_DUPLICATE;
    memset(&out->event, 0, offsetof(struct truc_event, attributes));
    if (evidence->event.size == 0) {
        return TRUC_OK;
    }
    if (truc_event_parse(truc_buffer_view(&evidence->event), &out->event) != TRUC_OK) {
        memset(&out->event, 0, offsetof(struct truc_event, attributes));
        return refused ? TRUC_OK : tell(why, TRUC_E_MALFORMED, "the event does not parse");
    }
    if (!refused && !source_is_of(out->event.source, out->envelope.seal.sender)) {
        return tell(why, TRUC_E_BAD_PROOF, "the event's source is not of the agency that sealed it");
    }
    return TRUC_OK;
}

truc_error truc_evidence_verify(const struct truc_evidence *evidence, const struct truc_note_verifier *note_key,
                                const struct truc_key *agency_key, struct truc_evidence_facts *out, char why[256])
{
    truc_error error;
    if (evidence->path_count > TRUC_PROOF_MAX) {
        return tell(why, TRUC_E_MALFORMED, "the path is too long");
    }
    error = verify_seal(evidence, agency_key, out, why);
    if (error == TRUC_OK) {
        error = verify_log(evidence, note_key, out, why);
    }
    if (error == TRUC_OK) {
        error = verify_event(evidence, out, why);
    }
    if (error == TRUC_OK) {
        return tell(why, TRUC_OK, "verified: event %llu of %s", (unsigned long long)out->sequence,
                    out->checkpoint.origin);
    }
    return error;
}
