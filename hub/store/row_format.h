/* The row's bytes, shared by its writer and its reader. hub/STORAGE.md, "Rows", is the specification.
 *
 * To change the format: raise HUB_ROW_FORMAT, write the new one, and keep reading every older number: a journal is
 * never rewritten. Fixed-size numbers are big-endian, varints are protobuf's, "zigzag" is protobuf's sint64. */
#ifndef HUB_STORE_ROW_FORMAT_H
#define HUB_STORE_ROW_FORMAT_H

#include "hub/store/row.h"

/* Where what is in the header. */
enum {
    ROW_AT_MAGIC = 0,   /* "TROW" */
    ROW_AT_FORMAT = 4,  /* 4 bytes */
    ROW_AT_DIGEST = 8,  /* 32 bytes */
    ROW_AT_NUMBER = 40, /* 8 bytes */
    ROW_AT_ACCEPTED = 48,
    ROW_AT_PREVIOUS = 56, /* 32 bytes */
    ROW_AT_INPUTS = 88,   /* 4 bytes */
    ROW_AT_SIZE = 92,     /* 4 bytes: of the whole row */
    ROW_AT_NONCE = 96,    /* 8 random bytes */
    ROW_HEADER = 104,
};
#define ROW_MAGIC "TROW"
#define ROW_MAX (1u << 30)
#define ROW_FORMAT_WHOLE_DIGEST 1 /* the digest is over the contents themselves */

/* What belongs at ROW_AT_DIGEST of a row with a whole header: SHA-256 over everything from ROW_AT_NUMBER to the end,
 * but for the contents of each seal, for which their XXH3 (128 bits, canonical) stands: who they are is said by the
 * hashes among the facts. Errors: TRUC_E_CORRUPT (lengths that lead outside). */
TRUC_MUST_USE truc_error row_digest(struct truc_bytes row, struct truc_hash *out);

/* Before each input: its kind, and the size of what follows. */
enum { INPUT_AT_KIND = 0, INPUT_AT_SIZE = 1, INPUT_HEADER = 5 };

/* A seal: this header, the envelope, the facts of each event, the contents. */
enum {
    SEAL_AT_FIRST = 0,    /* 4 bytes: number in the row of its first event, for the nonces */
    SEAL_AT_COUNT = 4,    /* 2 bytes */
    SEAL_AT_ENVELOPE = 6, /* 2 bytes: size */
    SEAL_AT_FACTS = 8,    /* 4 bytes: size */
    SEAL_HEADER = 12,
};

/* The facts of one event begin with two bytes: flags and kind, then what follows and what is as in the event before. */
#define FACT_FLAGS_MASK 0x1fu
#define FACT_KIND_SHIFT 5
enum {
    FACT_SAME_TYPE = 1,
    FACT_SAME_RECIPIENTS = 2,
    FACT_HAS_TIME = 4,
    FACT_HAS_EXPIRES = 8,
    FACT_HAS_SUBJECT = 16,
    FACT_KNOWN = 31,
};
/* What "the event before" means: each value as last written in this seal. */
struct fact_before {
    struct truc_bytes type, recipients;
    int64_t time_us, expires_us;
    uint64_t slot;
};

static inline void row_nonce(const uint8_t row[8], uint32_t event, uint8_t out[TRUC_AEAD_NONCE_SIZE])
{
    memcpy(out, row, 8);
    for (unsigned i = 0; i < 4; i++) {
        out[8 + i] = (uint8_t)(event >> (24 - 8 * i));
    }
}

static inline uint64_t row_number_at(const uint8_t *at, unsigned bytes)
{
    uint64_t value = 0;
    for (unsigned i = 0; i < bytes; i++) {
        value = value << 8 | at[i];
    }
    return value;
}

static inline void row_put_number(uint8_t *at, uint64_t value, unsigned bytes)
{
    for (unsigned i = bytes; i-- > 0; value >>= 8) {
        at[i] = (uint8_t)value;
    }
}

/* Differences wrap round, so that any two times have one. */
static inline uint64_t row_zigzag(int64_t value, int64_t before)
{
    uint64_t difference = (uint64_t)value - (uint64_t)before;
    return difference << 1 ^ (0 - (difference >> 63));
}

static inline int64_t row_unzigzag(uint64_t coded, int64_t before)
{
    return (int64_t)((uint64_t)before + (coded >> 1 ^ (0 - (coded & 1))));
}

#endif
