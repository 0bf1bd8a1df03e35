/* C2SP signed-note with Ed25519 keys (signature type 0x01). */
#include "proto/note_internal.h"

#define KEY_TYPE_ED25519 0x01
#define KEY_SIZE 33 /* type, public key */
#define KEY_ID_SIZE 4
#define SIGNATURE_SIZE (KEY_ID_SIZE + 64)

static const uint8_t dash[4] = {0xe2, 0x80, 0x94, ' '}; /* U+2014 and a space open every signature line */

bool note_take_line(struct truc_bytes *rest, struct truc_bytes *line)
{
    const uint8_t *newline = rest->size == 0 ? NULL : memchr(rest->data, '\n', rest->size);
    if (newline == NULL) {
        return false;
    }
    *line = truc_bytes(rest->data, (size_t)(newline - rest->data));
    *rest = truc_bytes(newline + 1, rest->size - line->size - 1);
    return true;
}

/* Takes one character off `rest`, which is not empty. false where it is not UTF-8 in its shortest form (RFC 3629). */
static bool take_character(struct truc_bytes *rest, uint32_t *out)
{
    static const uint32_t least[5] = {0, 0, 0x80, 0x800, 0x10000};
    uint8_t first = rest->data[0];
    size_t length = first < 0x80 ? 1 : first < 0xc0 ? 0 : first < 0xe0 ? 2 : first < 0xf0 ? 3 : first < 0xf8 ? 4 : 0;
    if (length == 0 || length > rest->size) {
        return false;
    }
    uint32_t character = length == 1 ? first : (uint32_t)(first & (0x7f >> length));
    for (size_t i = 1; i < length; i++) {
        if ((rest->data[i] & 0xc0) != 0x80) {
            return false;
        }
        character = character << 6 | (rest->data[i] & 0x3f);
    }
    if (character < least[length] || character > 0x10ffff || (character >= 0xd800 && character <= 0xdfff)) {
        return false;
    }
    *rest = truc_bytes(rest->data + length, rest->size - length);
    *out = character;
    return true;
}

/* The property White_Space of Unicode, above the control characters. */
static bool is_space(uint32_t character)
{
    return character == 0x20 || character == 0x85 || character == 0xa0 || character == 0x1680 ||
           (character >= 0x2000 && character <= 0x200a) || character == 0x2028 || character == 0x2029 ||
           character == 0x202f || character == 0x205f || character == 0x3000;
}

bool note_name_is_valid(struct truc_bytes name)
{
    if (name.size == 0 || name.size > TRUC_NOTE_NAME_MAX) {
        return false;
    }
    while (name.size > 0) {
        uint32_t character;
        if (!take_character(&name, &character) || character < 0x20 || character == '+' || is_space(character)) {
            return false;
        }
    }
    return true;
}

/* UTF-8 without control characters other than newline, ending in a newline. */
static bool text_is_valid(struct truc_bytes text)
{
    if (text.size == 0 || text.data[text.size - 1] != '\n') {
        return false;
    }
    while (text.size > 0) {
        uint32_t character;
        if (!take_character(&text, &character) || (character < 0x20 && character != '\n')) {
            return false;
        }
    }
    return true;
}

truc_error note_read_number(struct truc_bytes text, uint64_t *out)
{
    if (text.size == 0 || text.size > 19 || (text.size > 1 && text.data[0] == '0')) {
        return TRUC_E_MALFORMED;
    }
    uint64_t number = 0; /* 19 digits fit 64 bits */
    for (size_t i = 0; i < text.size; i++) {
        if (text.data[i] < '0' || text.data[i] > '9') {
            return TRUC_E_MALFORMED;
        }
        number = number * 10 + (uint64_t)(text.data[i] - '0');
    }
    if (number > (uint64_t)1 << 63) {
        return TRUC_E_MALFORMED;
    }
    *out = number;
    return TRUC_OK;
}

truc_error note_read_hash(struct truc_bytes text, struct truc_hash *out)
{
    struct truc_buffer bytes = {0};
    truc_error error = truc_base64_decode(text, &bytes);
    if (error == TRUC_OK && bytes.size != sizeof out->bytes) {
        error = TRUC_E_MALFORMED;
    }
    if (error == TRUC_OK) {
        memcpy(out->bytes, bytes.data, sizeof out->bytes);
    }
    truc_buffer_close(&bytes);
    return error;
}

static uint32_t read_u32(const uint8_t *from)
{
    return (uint32_t)from[0] << 24 | (uint32_t)from[1] << 16 | (uint32_t)from[2] << 8 | from[3];
}

static uint32_t key_hash(const char *name, const uint8_t encoded[KEY_SIZE])
{
    const struct truc_bytes parts[3] = {truc_bytes_of(name), truc_bytes("\n", 1), truc_bytes(encoded, KEY_SIZE)};
    struct truc_hash digest;
    truc_sha256_parts(&digest, parts, 3);
    return read_u32(digest.bytes);
}

truc_error truc_note_verifier_make(const char *name, struct truc_key *key, struct truc_note_verifier *out)
{
    struct truc_bytes view = truc_bytes_of(name);
    uint8_t encoded[KEY_SIZE] = {KEY_TYPE_ED25519};
    if (!note_name_is_valid(view) || truc_key_ed25519_raw(key, encoded + 1) != TRUC_OK) {
        return TRUC_E_INVALID;
    }
    memcpy(out->name, name, view.size + 1);
    out->hash = key_hash(name, encoded);
    out->key = truc_key_ref(key);
    return TRUC_OK;
}

/* Splits "<name>+<hash>+<key>" at its first two pluses: a name has none, while base64 may. */
static bool split_verifier(struct truc_bytes text, struct truc_bytes *name, struct truc_bytes *hash,
                           struct truc_bytes *key)
{
    const uint8_t *first = text.size == 0 ? NULL : memchr(text.data, '+', text.size);
    if (first == NULL) {
        return false;
    }
    *name = truc_bytes(text.data, (size_t)(first - text.data));
    struct truc_bytes rest = truc_bytes(first + 1, text.size - name->size - 1);
    const uint8_t *second = rest.size == 0 ? NULL : memchr(rest.data, '+', rest.size);
    if (second == NULL) {
        return false;
    }
    *hash = truc_bytes(rest.data, (size_t)(second - rest.data));
    *key = truc_bytes(second + 1, rest.size - hash->size - 1);
    return true;
}

/* The hash has one spelling, so that two texts of one key are equal. */
static bool is_lowercase(struct truc_bytes hash)
{
    for (size_t i = 0; i < hash.size; i++) {
        if (hash.data[i] >= 'A' && hash.data[i] <= 'F') {
            return false;
        }
    }
    return true;
}

truc_error truc_note_verifier_parse(struct truc_bytes text, struct truc_note_verifier *out)
{
    truc_error error = TRUC_E_MALFORMED;
    struct truc_buffer encoded = {0};
    struct truc_note_verifier verifier = {0};
    struct truc_bytes name, hash, key;
    uint8_t stated[KEY_ID_SIZE];
    if (!split_verifier(text, &name, &hash, &key) || !note_name_is_valid(name) ||
        truc_unhex(hash, stated, sizeof stated) != TRUC_OK || !is_lowercase(hash) ||
        key.size > (KEY_SIZE + 2) / 3 * 4) {
        goto out;
    }
    error = truc_base64_decode(key, &encoded);
    if (error != TRUC_OK) {
        goto out;
    }
    memcpy(verifier.name, name.data, name.size);
    verifier.hash = read_u32(stated);
    if (encoded.size != KEY_SIZE || encoded.data[0] != KEY_TYPE_ED25519 ||
        key_hash(verifier.name, encoded.data) != verifier.hash) {
        error = TRUC_E_MALFORMED;
        goto out;
    }
    error = truc_key_from_ed25519(encoded.data + 1, &verifier.key);
    if (error == TRUC_E_UNSUPPORTED) {
        error = TRUC_E_MALFORMED; /* a point of small order is no key */
    }
    if (error == TRUC_OK) {
        *out = verifier;
    }
out:
    truc_buffer_close(&encoded);
    return error;
}

truc_error truc_note_verifier_text(const struct truc_note_verifier *verifier, struct truc_buffer *out)
{
    uint8_t encoded[KEY_SIZE] = {KEY_TYPE_ED25519};
    truc_error error = truc_key_ed25519_raw(verifier->key, encoded + 1);
    if (error == TRUC_OK) {
        error = truc_buffer_printf(out, "%s+%08x+", verifier->name, verifier->hash);
    }
    return error == TRUC_OK ? truc_base64_encode(truc_bytes(encoded, sizeof encoded), out) : error;
}

void truc_note_verifier_close(struct truc_note_verifier *verifier)
{
    truc_key_free(&verifier->key);
}

truc_error truc_note_sign(struct truc_bytes text, const char *name, const struct truc_key *key, struct truc_buffer *out)
{
    uint8_t encoded[KEY_SIZE] = {KEY_TYPE_ED25519};
    if (!text_is_valid(text) || !note_name_is_valid(truc_bytes_of(name)) ||
        truc_key_ed25519_raw(key, encoded + 1) != TRUC_OK || !truc_key_is_private(key)) {
        return TRUC_E_INVALID;
    }
    uint32_t hash = key_hash(name, encoded);
    const uint8_t id[KEY_ID_SIZE] = {(uint8_t)(hash >> 24), (uint8_t)(hash >> 16), (uint8_t)(hash >> 8), (uint8_t)hash};
    struct truc_buffer signature = {0};
    size_t before = out->size;
    truc_error error = truc_buffer_append(&signature, id, sizeof id);
    if (error == TRUC_OK) {
        error = truc_key_sign(key, text, &signature);
    }
    if (error == TRUC_OK) {
        error = truc_buffer_append(out, text.data, text.size);
    }
    if (error == TRUC_OK) {
        error = truc_buffer_printf(out, "\n\xe2\x80\x94 %s ", name);
    }
    if (error == TRUC_OK) {
        error = truc_base64_encode(truc_buffer_view(&signature), out);
    }
    if (error == TRUC_OK) {
        error = truc_buffer_append(out, "\n", 1);
    }
    if (error == TRUC_OK && out->size - before > TRUC_NOTE_MAX) {
        error = TRUC_E_TOO_LARGE;
    }
    if (error != TRUC_OK) {
        out->size = before;
    }
    truc_buffer_close(&signature);
    return error;
}

/* Reads one signature line into its name and its decoded bytes. */
static truc_error read_signature(struct truc_bytes line, struct truc_bytes *name, struct truc_buffer *decoded)
{
    if (line.size < sizeof dash || memcmp(line.data, dash, sizeof dash) != 0) {
        return TRUC_E_MALFORMED;
    }
    struct truc_bytes rest = truc_bytes(line.data + sizeof dash, line.size - sizeof dash);
    const uint8_t *space = rest.size == 0 ? NULL : memchr(rest.data, ' ', rest.size);
    if (space == NULL) {
        return TRUC_E_MALFORMED;
    }
    *name = truc_bytes(rest.data, (size_t)(space - rest.data));
    if (!note_name_is_valid(*name)) {
        return TRUC_E_MALFORMED;
    }
    truc_buffer_clear(decoded);
    truc_error error = truc_base64_decode(truc_bytes(space + 1, rest.size - name->size - 1), decoded);
    return error == TRUC_OK && decoded->size <= KEY_ID_SIZE ? TRUC_E_MALFORMED : error;
}

/* Checks every signature line; TRUC_OK when one is of `verifier` and all that are of it are valid. */
static truc_error check_signatures(struct truc_bytes text, struct truc_bytes lines,
                                   const struct truc_note_verifier *verifier)
{
    truc_error error = TRUC_OK;
    bool signed_by_verifier = false, bad = false;
    struct truc_buffer decoded = {0};
    struct truc_bytes line, name;
    size_t count = 0;
    while (error == TRUC_OK && note_take_line(&lines, &line)) {
        error = ++count > TRUC_NOTE_SIGNATURES_MAX ? TRUC_E_MALFORMED : read_signature(line, &name, &decoded);
        /* Both name and hash have to fit: others may share one of them by chance or malice. */
        if (error != TRUC_OK || !truc_bytes_equal(name, truc_bytes_of(verifier->name)) ||
            read_u32(decoded.data) != verifier->hash) {
            continue;
        }
        signed_by_verifier = true;
        struct truc_bytes signature = truc_bytes(decoded.data + KEY_ID_SIZE, decoded.size - KEY_ID_SIZE);
        truc_error verified = truc_key_verify(verifier->key, text, signature);
        bad = bad || verified == TRUC_E_BAD_SIGNATURE;
        error = verified == TRUC_E_BAD_SIGNATURE ? TRUC_OK : verified; /* the form of the later lines matters more */
    }
    truc_buffer_close(&decoded);
    if (error != TRUC_OK) {
        return error;
    }
    return count == 0           ? TRUC_E_MALFORMED
           : bad                ? TRUC_E_BAD_SIGNATURE
           : signed_by_verifier ? TRUC_OK
                                : TRUC_E_UNKNOWN_KEY;
}

truc_error truc_note_open(struct truc_bytes note, const struct truc_note_verifier *verifier, struct truc_bytes *text)
{
    if (note.size > TRUC_NOTE_MAX || !text_is_valid(note)) {
        return TRUC_E_MALFORMED;
    }
    /* The text may have empty lines of its own: the signatures begin behind the last one. */
    size_t split = note.size - 1;
    while (split > 0 && !(note.data[split] == '\n' && note.data[split - 1] == '\n')) {
        split--;
    }
    if (split == 0) {
        return TRUC_E_MALFORMED;
    }
    struct truc_bytes signed_text = truc_bytes(note.data, split);
    struct truc_bytes lines = truc_bytes(note.data + split + 1, note.size - split - 1);
    truc_error error = check_signatures(signed_text, lines, verifier);
    if (error == TRUC_OK) {
        *text = signed_text;
    }
    return error;
}
