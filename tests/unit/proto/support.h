/* What the parsers' tests share: bytes from hex, and copies whose end is the end of an allocation, so that a sanitizer
 * sees every read beyond it. */
#ifndef TRUC_TESTS_PROTO_SUPPORT_H
#define TRUC_TESTS_PROTO_SUPPORT_H

#include "truc/bytes.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

static inline struct truc_buffer support_unhex(const char *hex)
{
    struct truc_buffer out = {0};
    size_t size = strlen(hex) / 2;
    assert_int_equal(truc_buffer_reserve(&out, size + 1), TRUC_OK);
    assert_int_equal(truc_unhex(truc_bytes_of(hex), out.data, size), TRUC_OK);
    out.size = size;
    return out;
}

/* Free the copy's data with free(). */
static inline struct truc_bytes support_exact_copy(struct truc_bytes bytes)
{
    uint8_t *copy = malloc(bytes.size == 0 ? 1 : bytes.size);
    assert_non_null(copy);
    if (bytes.size > 0) {
        memcpy(copy, bytes.data, bytes.size);
    }
    return truc_bytes(bytes.size == 0 ? copy + 1 : copy, bytes.size);
}

static inline void support_free_copy(struct truc_bytes copy)
{
    free((uint8_t *)(uintptr_t)(copy.size == 0 ? copy.data - 1 : copy.data));
}

static inline void support_assert_text(struct truc_bytes bytes, const char *text)
{
    assert_int_equal(bytes.size, strlen(text));
    assert_memory_equal(bytes.data, text, bytes.size);
}

#endif
