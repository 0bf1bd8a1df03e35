#include "proto/wire.h"

#define ONES 0x0101010101010101u
#define HIGHS 0x8080808080808080u

bool truc_wire_varint_long(struct truc_wire *wire, uint64_t *out)
{
    uint64_t value = 0;
    const uint8_t *at = wire->at;
    for (unsigned shift = 0; at < wire->end && shift < 70; shift += 7) {
        uint8_t byte = *at++;
        if (shift == 63 && byte > 1) {
            return false;
        }
        value |= (uint64_t)(byte & 0x7f) << shift;
        if (byte < 0x80) {
            if (byte == 0 && shift > 0) {
                return false; /* overlong */
            }
            *out = value;
            wire->at = at;
            return true;
        }
    }
    return false;
}

bool truc_wire_skip(struct truc_wire *wire, unsigned type)
{
    uint64_t number;
    struct truc_bytes bytes;
    size_t size;
    switch (type) {
    case TRUC_WIRE_VARINT:
        return truc_wire_varint(wire, &number);
    case TRUC_WIRE_BYTES:
        return truc_wire_bytes(wire, &bytes);
    case TRUC_WIRE_FIXED64:
        size = 8;
        break;
    case TRUC_WIRE_FIXED32:
        size = 4;
        break;
    default:
        return false;
    }
    if ((size_t)(wire->end - wire->at) < size) {
        return false;
    }
    wire->at += size;
    return true;
}

static bool continues(uint8_t byte)
{
    return (byte & 0xc0) == 0x80;
}

/* Length of the sequence of several bytes at `p`, 0 where it is not well formed (Unicode 15, table 3-7). Two and three
 * bytes come first: Vietnamese has them in every word. */
static inline size_t sequence_size(const uint8_t *p, size_t left)
{
    uint8_t lead = p[0];
    if (lead >= 0xe0 && lead < 0xf0) {
        bool fits = left >= 3 && continues(p[1]) && continues(p[2]);
        return fits && !(lead == 0xe0 && p[1] < 0xa0) && !(lead == 0xed && p[1] > 0x9f) ? 3 : 0;
    }
    if (lead < 0xe0) {
        return lead >= 0xc2 && left >= 2 && continues(p[1]) ? 2 : 0;
    }
    if (lead > 0xf4 || left < 4 || !continues(p[1]) || !continues(p[2]) || !continues(p[3]) ||
        (lead == 0xf0 && p[1] < 0x90) || (lead == 0xf4 && p[1] > 0x8f)) {
        return 0;
    }
    return 4;
}

/* High bits where eight bytes are not all ASCII. Where they must be clean: none over 0x7e, none under 0x20. */
static inline uint64_t word_faults(uint64_t word, bool clean)
{
    uint64_t over = word + ONES;          /* 0x7f becomes 0x80; no carry while no byte is 0xff */
    uint64_t under = word - ONES * 0x20u; /* borrows where a byte is under 0x20 */
    return clean ? word | over | under : word;
}

static inline bool word_is_plain(uint64_t word, bool clean)
{
    return (word_faults(word, clean) & HIGHS) == 0;
}

/* How many bytes at the front, in steps of 32, are ASCII. */
static inline size_t ascii_prefix(const uint8_t *p, size_t left)
{
    size_t done = 0;
    while (left - done >= 32) {
        uint64_t words[4];
        memcpy(words, p + done, 32);
        if (((words[0] | words[1] | words[2] | words[3]) & HIGHS) != 0) {
            break;
        }
        done += 32;
    }
    return done;
}

/* Clean ASCII all of it, as most texts are: no branch for each word. The last word may overlap the one before it. */
static inline bool is_plain(struct truc_bytes text)
{
    if (text.size < 8) {
        return word_is_plain(truc_word_of_few(text.data, text.size), true);
    }
    uint64_t faults = word_faults(truc_word_at(text.data + text.size - 8), true);
    for (size_t at = 0; at + 8 < text.size; at += 8) {
        faults |= word_faults(truc_word_at(text.data + at), true);
    }
    return (faults & HIGHS) == 0;
}

/* `clean` is a constant at both places of use, so that the compiler makes two functions of this. */
static inline bool scan(struct truc_bytes text, bool clean)
{
    const uint8_t *p = text.data;
    size_t left = text.size;
    while (left > 0) {
        if (!clean) { /* data may be long, and most of it ASCII */
            size_t plain = ascii_prefix(p, left);
            p += plain;
            left -= plain;
            if (left == 0) {
                break;
            }
        }
        size_t size = left < 8 ? left : 8, letter;
        if (word_is_plain(left >= 8 ? truc_word_at(p) : truc_word_of_few(p, left), clean)) {
            p += size;
            left -= size;
            continue;
        }
        /* letter by letter past this word, so that foreign letters in a row do not each try a word again */
        for (const uint8_t *stop = p + size; p < stop; p += letter, left -= letter) {
            letter = 1;
            if (*p >= 0x80) {
                letter = sequence_size(p, left);
                if (letter == 0 || (clean && p[0] == 0xc2 && p[1] < 0xa0)) {
                    return false;
                }
            } else if (clean && (*p < 0x20 || *p == 0x7f)) {
                return false;
            }
        }
    }
    return true;
}

bool truc_utf8_is_valid(struct truc_bytes text)
{
    return scan(text, false);
}

bool truc_text_is_clean(struct truc_bytes text)
{
    return is_plain(text) || scan(text, true);
}
