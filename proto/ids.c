/* Agency codes, event types, sources, recipients, and the two short keys made of them. */
#include "proto/wire.h"
#include "truc/event.h"

static bool is_digit(uint8_t c)
{
    return c >= '0' && c <= '9';
}

static bool is_upper(uint8_t c)
{
    return c >= 'A' && c <= 'Z';
}

static bool is_lower(uint8_t c)
{
    return c >= 'a' && c <= 'z';
}

bool truc_agency_is_valid(struct truc_bytes code)
{
    bool after_dot = true;
    if (code.size == 0 || code.size > TRUC_AGENCY_MAX) {
        return false;
    }
    for (size_t i = 0; i < code.size; i++) {
        uint8_t c = code.data[i];
        if (c == '.') {
            if (after_dot) {
                return false;
            }
            after_dot = true;
        } else if (is_digit(c) || is_upper(c)) {
            after_dot = false;
        } else {
            return false;
        }
    }
    return !after_dot;
}

/* The older form: all-numeric groups, then one that begins with a letter. */
static bool is_leaf_first(struct truc_bytes code, size_t *last_group)
{
    size_t start = 0;
    for (size_t i = 0; i < code.size; i++) {
        if (code.data[i] == '.') {
            start = i + 1;
        }
    }
    if (start == 0 || !is_upper(code.data[start])) {
        return false;
    }
    for (size_t i = 0; i < start; i++) {
        if (is_upper(code.data[i])) {
            return false;
        }
    }
    *last_group = start;
    return true;
}

truc_error truc_agency_normalise(struct truc_bytes code, char *out)
{
    size_t last, begin = 0, size = 0;
    if (!truc_agency_is_valid(code)) {
        return TRUC_E_MALFORMED;
    }
    if (!is_leaf_first(code, &last)) {
        memcpy(out, code.data, code.size);
        out[code.size] = '\0';
        return TRUC_OK;
    }
    /* Only the filling at the leaf's end goes: zeros between two levels say that a level is skipped, and dropping them
     * would make two codes one. */
    for (size_t i = 0; i < last; i++) {
        if (code.data[i] == '.') {
            begin = i + 1;
        } else if (code.data[i] != '0') {
            break;
        }
    }
    for (size_t end = code.size; end > begin;) {
        size_t start = end;
        while (start > begin && code.data[start - 1] != '.') {
            start--;
        }
        if (size > 0) {
            out[size++] = '.';
        }
        memcpy(out + size, code.data + start, end - start);
        size += end - start;
        end = start > begin ? start - 1 : begin;
    }
    out[size] = '\0';
    return TRUC_OK;
}

static bool type_letters(struct truc_bytes type)
{
    for (size_t i = 0; i < type.size; i++) {
        uint8_t c = type.data[i];
        if (!is_lower(c) && !is_digit(c) && c != '.' && c != '-' && c != '_') {
            return false;
        }
    }
    return true;
}

bool truc_type_is_valid(struct truc_bytes type)
{
    return type.size > 0 && type.size <= TRUC_ID_MAX && type_letters(type);
}

bool truc_type_pattern_is_valid(struct truc_bytes pattern)
{
    if (pattern.size == 0 || pattern.size > TRUC_ID_MAX) {
        return false;
    }
    if (pattern.data[pattern.size - 1] == '*') {
        pattern.size--;
    }
    return type_letters(pattern);
}

bool truc_type_matches(struct truc_bytes pattern, struct truc_bytes type)
{
    if (pattern.size > 0 && pattern.data[pattern.size - 1] == '*') {
        pattern.size--;
        return type.size >= pattern.size && (pattern.size == 0 || memcmp(pattern.data, type.data, pattern.size) == 0);
    }
    return truc_bytes_equal(pattern, type);
}

struct truc_bytes truc_source_agency(struct truc_bytes source)
{
    const struct truc_bytes none = {NULL, 0};
    const size_t prefix = sizeof TRUC_SOURCE_PREFIX - 1;
    struct truc_bytes code;
    const uint8_t *colon;
    if (source.size <= prefix || memcmp(source.data, TRUC_SOURCE_PREFIX, prefix) != 0) {
        return none;
    }
    code = truc_bytes(source.data + prefix, source.size - prefix);
    colon = memchr(code.data, ':', code.size);
    if (colon != NULL) {
        code.size = (size_t)(colon - code.data);
    }
    return truc_agency_is_valid(code) ? code : none;
}

bool truc_recipients_next(struct truc_bytes recipients, size_t *at, struct truc_bytes *out)
{
    const uint8_t *start, *comma;
    size_t left;
    if (*at >= recipients.size) {
        return false;
    }
    start = recipients.data + *at;
    left = recipients.size - *at;
    comma = memchr(start, ',', left);
    *out = truc_bytes(start, comma == NULL ? left : (size_t)(comma - start));
    *at += out->size + 1;
    return true;
}

void truc_event_key(struct truc_bytes sender, struct truc_bytes source, struct truc_bytes id, uint8_t out[16])
{
    const struct truc_bytes texts[3] = {sender, source, id};
    uint8_t sizes[3][4];
    struct truc_bytes parts[6];
    struct truc_hash hash;
    for (size_t i = 0; i < 3; i++) {
        for (size_t byte = 0; byte < 4; byte++) {
            sizes[i][byte] = (uint8_t)(texts[i].size >> (24 - 8 * byte));
        }
        parts[2 * i] = truc_bytes(sizes[i], 4);
        parts[2 * i + 1] = texts[i];
    }
    truc_sha256_parts(&hash, parts, 6);
    memcpy(out, hash.bytes, 16);
}

uint64_t truc_subject_hash(struct truc_bytes subject)
{
    struct truc_hash hash;
    uint64_t number = 0;
    if (subject.size == 0) {
        return 0;
    }
    truc_sha256(&hash, subject);
    for (size_t i = 0; i < 8; i++) {
        number = number << 8 | hash.bytes[i];
    }
    return number == 0 ? 1 : number;
}
