#include "adapters/files/draft.h"

/* SHA-256(key, what for, SHA-256(name), SHA-256(text)): all parts of fixed length, so that no two inputs run together.
 */
static void derive(const struct draft_key *key, const char what[4], struct truc_bytes name, struct truc_bytes text,
                   uint8_t out[16])
{
    struct truc_hash name_hash, text_hash, hash;
    truc_sha256(&name_hash, name);
    truc_sha256(&text_hash, text);
    const struct truc_bytes parts[] = {truc_bytes(key->bytes, sizeof key->bytes), truc_bytes(what, 4),
                                       truc_bytes(name_hash.bytes, TRUC_HASH_SIZE),
                                       truc_bytes(text_hash.bytes, TRUC_HASH_SIZE)};
    truc_sha256_parts(&hash, parts, sizeof parts / sizeof parts[0]);
    memcpy(out, hash.bytes, 16);
}

static struct truc_bytes view(const char *text)
{
    return text == NULL ? truc_bytes(NULL, 0) : truc_bytes_of(text);
}

truc_error files_draft_make(const struct files_draft_rules *rules, const char *name, struct truc_bytes json,
                            struct truc_buffer *out, char why[256])
{
    uint8_t id[16], salt[TRUC_SALT_SIZE];
    char id_text[33], source[TRUC_SOURCE_MAX];
    struct truc_event event;
    const size_t begin = out->size;
    /* The salt is not of the name: the same text with an id of its own is the same event under any name. */
    derive(rules->key, "salt", truc_bytes(NULL, 0), json, salt);
    derive(rules->key, "id\0\0", truc_bytes_of(name), json, id);
    truc_hex(truc_bytes(id, sizeof id), id_text);
    (void)snprintf(source, sizeof source, "%s%s%s%s", TRUC_SOURCE_PREFIX, rules->agency,
                   rules->source != NULL ? ":" : "", rules->source != NULL ? rules->source : "");
    const struct truc_event_defaults defaults = {.id = truc_bytes_of(id_text),
                                                 .source = truc_bytes_of(source),
                                                 .type = view(rules->type),
                                                 .recipients = view(rules->recipients),
                                                 .salt = truc_bytes(salt, sizeof salt)};
    truc_error error = truc_event_from_json_with(json, &defaults, out, why);
    if (error != TRUC_OK) {
        return error;
    }
    error = truc_event_parse(truc_bytes(out->data + begin, out->size - begin), &event);
    if (error == TRUC_OK && !truc_bytes_equal(truc_source_agency(event.source), truc_bytes_of(rules->agency))) {
        (void)snprintf(why, 256,
                       "\"source\" is not of this agency: it should be " TRUC_SOURCE_PREFIX
                       "%s, alone or followed by ':' and more",
                       rules->agency);
        error = TRUC_E_MALFORMED;
    }
    if (error != TRUC_OK) {
        out->size = begin;
    }
    return error;
}
