/* Strict, bounded protobuf wire format: a reader that borrows and never allocates, a writer into room made beforehand.
 *
 * The reader is stricter than protobuf must be: varints in their shortest form, no groups. So a message has fewer
 * spellings, and what two readers make of the same signed bytes cannot differ. */
#ifndef TRUC_PROTO_WIRE_H
#define TRUC_PROTO_WIRE_H

#include "truc/bytes.h"

enum truc_wire_type {
    TRUC_WIRE_VARINT = 0,
    TRUC_WIRE_FIXED64 = 1,
    TRUC_WIRE_BYTES = 2,
    TRUC_WIRE_FIXED32 = 5,
};

#define TRUC_WIRE_VARINT_MAX 10          /* bytes of the longest varint */
#define TRUC_TIME_MIN_S (-62135596800LL) /* 0001-01-01T00:00:00Z */
#define TRUC_TIME_MAX_S 253402300799LL   /* 9999-12-31T23:59:59Z */
#define TRUC_TIME_MAX_US (TRUC_TIME_MAX_S * 1000000 + 999999)

struct truc_wire {
    const uint8_t *at, *end;
};

static inline struct truc_wire truc_wire_of(struct truc_bytes bytes)
{
    return (struct truc_wire){bytes.data, bytes.size == 0 ? bytes.data : bytes.data + bytes.size};
}

static inline bool truc_wire_more(const struct truc_wire *wire)
{
    return wire->at < wire->end;
}

/* Several bytes; false for truncated, overlong, or more than 64 bits. */
bool truc_wire_varint_long(struct truc_wire *wire, uint64_t *out);

/* One and two bytes here: nearly all tags and lengths. */
TRUC_MUST_USE static inline bool truc_wire_varint(struct truc_wire *wire, uint64_t *out)
{
    const uint8_t *at = wire->at;
    if (at < wire->end && at[0] < 0x80) {
        *out = at[0];
        wire->at = at + 1;
        return true;
    }
    if (wire->end - at >= 2 && (uint8_t)(at[1] - 1) < 0x7f) { /* a second byte of 0 would be overlong */
        *out = (uint64_t)(at[0] & 0x7f) | (uint64_t)at[1] << 7;
        wire->at = at + 2;
        return true;
    }
    return truc_wire_varint_long(wire, out);
}

/* Reads a tag. false also for field number 0, numbers over 2^29 - 1, groups and unknown wire types. */
TRUC_MUST_USE static inline bool truc_wire_tag(struct truc_wire *wire, uint32_t *field, unsigned *type)
{
    uint64_t tag;
    if (!truc_wire_varint(wire, &tag) || tag < 8 || tag > UINT32_MAX) {
        return false;
    }
    *field = (uint32_t)(tag >> 3);
    *type = (unsigned)(tag & 7);
    return *type <= TRUC_WIRE_BYTES || *type == TRUC_WIRE_FIXED32;
}

/* Reads a length and that many bytes. */
TRUC_MUST_USE static inline bool truc_wire_bytes(struct truc_wire *wire, struct truc_bytes *out)
{
    uint64_t size;
    if (!truc_wire_varint(wire, &size) || size > (uint64_t)(wire->end - wire->at)) {
        return false;
    }
    *out = truc_bytes(wire->at, (size_t)size);
    wire->at += size;
    return true;
}

/* Passes over a value of the given wire type. */
TRUC_MUST_USE bool truc_wire_skip(struct truc_wire *wire, unsigned type);

/* Well-formed UTF-8 (no overlong forms, no surrogates, at most U+10FFFF). */
bool truc_utf8_is_valid(struct truc_bytes text);
/* The same, and no control characters (U+0000 to U+001F, U+007F to U+009F): what CloudEvents calls a string. */
bool truc_text_is_clean(struct truc_bytes text);

/* ---- eight bytes at once ---------------------------------------------------------------------------------------- */

static inline uint64_t truc_word_at(const uint8_t *at)
{
    uint64_t word;
    memcpy(&word, at, sizeof word);
    return word;
}

/* Up to seven bytes as one word, filled up with a harmless letter. */
static inline uint64_t truc_word_of_few(const uint8_t *at, size_t size)
{
    uint64_t word = UINT64_C(0x7878787878787878);
    uint8_t *to = (uint8_t *)&word;
    if (size & 4) {
        memcpy(to, at, 4);
        to += 4;
        at += 4;
    }
    if (size & 2) {
        memcpy(to, at, 2);
        to += 2;
        at += 2;
    }
    if (size & 1) {
        *to = *at;
    }
    return word;
}

/* ---- sizes and writers ------------------------------------------------------------------------------------------
 * A writer needs the room that the size function says and returns the place behind what it wrote. Inline: events are
 * made of dozens of such calls. */

static inline size_t truc_wire_varint_size(uint64_t value)
{
    return value < 0x80 ? 1 : ((size_t)(63 - __builtin_clzll(value)) * 9 + 73) / 64; /* bits in sevens, upwards */
}

static inline size_t truc_wire_bytes_size(uint32_t field, size_t size)
{
    return truc_wire_varint_size((uint64_t)field << 3) + truc_wire_varint_size(size) + size;
}

static inline size_t truc_wire_uint_size(uint32_t field, uint64_t value)
{
    return truc_wire_varint_size((uint64_t)field << 3) + truc_wire_varint_size(value);
}

static inline uint8_t *truc_wire_put_varint(uint8_t *at, uint64_t value)
{
    while (value >= 0x80) {
        *at++ = (uint8_t)(value | 0x80);
        value >>= 7;
    }
    *at++ = (uint8_t)value;
    return at;
}

/* Tag and length of what follows. */
static inline uint8_t *truc_wire_put_head(uint8_t *at, uint32_t field, size_t size)
{
    at = truc_wire_put_varint(at, (uint64_t)field << 3 | TRUC_WIRE_BYTES);
    return truc_wire_put_varint(at, size);
}

static inline uint8_t *truc_wire_put_bytes(uint8_t *at, uint32_t field, struct truc_bytes value)
{
    at = truc_wire_put_head(at, field, value.size);
    if (value.size > 0) {
        memcpy(at, value.data, value.size);
    }
    return at + value.size;
}

static inline uint8_t *truc_wire_put_uint(uint8_t *at, uint32_t field, uint64_t value)
{
    at = truc_wire_put_varint(at, (uint64_t)field << 3 | TRUC_WIRE_VARINT);
    return truc_wire_put_varint(at, value);
}

#endif
