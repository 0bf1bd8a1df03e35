/* What the fuzz targets share. A target is one file: fuzz_NAME.c with LLVMFuzzerTestOneInput, and fuzz_seeds, which
 * makes its first inputs with the project's own encoders. tests/fuzz/driver.c runs it where libFuzzer does not.
 *
 * A finding is a crash, a sanitizer's report, or a FUZZ_CHECK that fails: a promise of a header that was broken. */
#ifndef TRUC_TESTS_FUZZ_FUZZ_H
#define TRUC_TESTS_FUZZ_FUZZ_H

#include "truc/bytes.h"

#include <stdio.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
/* Calls fuzz_seed for each input that the corpus begins with. */
void fuzz_seeds(void);
/* Writes one into fuzz_seed_folder. */
void fuzz_seed(const char *name, struct truc_bytes input);
extern const char *fuzz_seed_folder;
extern size_t fuzz_seed_count;

#define FUZZ_CHECK(condition)                                                                                          \
    do {                                                                                                               \
        if (!(condition)) {                                                                                            \
            fprintf(stderr, "%s:%d: broken: %s\n", __FILE__, __LINE__, #condition);                                    \
            abort();                                                                                                   \
        }                                                                                                              \
    } while (0)
#define FUZZ_OK(call) FUZZ_CHECK((call) == TRUC_OK)
/* For answers that may be any. */
#define FUZZ_ANY(call) FUZZ_CHECK((unsigned)(call) < TRUC_E_COUNT_)

/* The input as a tape of choices; at its end it yields zeros. */
struct fuzz {
    const uint8_t *at, *end;
};

static inline struct fuzz fuzz_of(const uint8_t *data, size_t size)
{
    return (struct fuzz){data, size == 0 ? data : data + size};
}

static inline size_t fuzz_left(const struct fuzz *fuzz)
{
    return (size_t)(fuzz->end - fuzz->at);
}

static inline uint8_t fuzz_u8(struct fuzz *fuzz)
{
    return fuzz->at < fuzz->end ? *fuzz->at++ : 0;
}

static inline uint16_t fuzz_u16(struct fuzz *fuzz)
{
    uint16_t low = fuzz_u8(fuzz);
    return (uint16_t)(low | fuzz_u8(fuzz) << 8);
}

static inline uint64_t fuzz_u64(struct fuzz *fuzz)
{
    uint64_t value = 0;
    for (unsigned i = 0; i < 8; i++) {
        value |= (uint64_t)fuzz_u8(fuzz) << 8 * i;
    }
    return value;
}

/* Small numbers mostly, now and then one of the edges. */
static inline uint64_t fuzz_number(struct fuzz *fuzz)
{
    uint8_t what = fuzz_u8(fuzz);
    return what < 240 ? what : what < 246 ? fuzz_u16(fuzz) : what < 252 ? fuzz_u64(fuzz) : UINT64_MAX - (what - 252u);
}

/* At most `size` bytes, borrowed. */
static inline struct truc_bytes fuzz_take(struct fuzz *fuzz, size_t size)
{
    size = size < fuzz_left(fuzz) ? size : fuzz_left(fuzz);
    struct truc_bytes bytes = truc_bytes(fuzz->at, size);
    fuzz->at += size;
    return bytes;
}

/* A length of one byte, or two where the first is 255, and so many bytes. */
static inline struct truc_bytes fuzz_part(struct fuzz *fuzz)
{
    size_t size = fuzz_u8(fuzz);
    return fuzz_take(fuzz, size < 255 ? size : fuzz_u16(fuzz));
}

static inline struct truc_bytes fuzz_rest(struct fuzz *fuzz)
{
    return fuzz_take(fuzz, fuzz_left(fuzz));
}

/* A copy of exactly its size, so that a read beyond is seen; to be freed. */
static inline uint8_t *fuzz_copy(struct truc_bytes bytes)
{
    uint8_t *copy = malloc(bytes.size == 0 ? 1 : bytes.size);
    FUZZ_CHECK(copy != NULL);
    if (bytes.size > 0) {
        memcpy(copy, bytes.data, bytes.size);
    }
    return copy;
}

/* The copy as text with a NUL; to be freed. */
static inline char *fuzz_text(struct truc_bytes bytes)
{
    char *copy = malloc(bytes.size + 1);
    FUZZ_CHECK(copy != NULL);
    if (bytes.size > 0) {
        memcpy(copy, bytes.data, bytes.size);
    }
    copy[bytes.size] = '\0';
    return copy;
}

/* For seeds: the part as fuzz_part reads it. */
static inline void fuzz_put_part(struct truc_buffer *out, struct truc_bytes part)
{
    const uint8_t head[3] = {part.size < 255 ? (uint8_t)part.size : 255, (uint8_t)part.size, (uint8_t)(part.size >> 8)};
    FUZZ_CHECK(part.size <= UINT16_MAX);
    FUZZ_OK(truc_buffer_append(out, head, part.size < 255 ? 1 : 3));
    FUZZ_OK(truc_buffer_append(out, part.data, part.size));
}

static inline void fuzz_put_u8(struct truc_buffer *out, unsigned value)
{
    const uint8_t byte = (uint8_t)value;
    FUZZ_OK(truc_buffer_append(out, &byte, 1));
}

#endif
