/* Sized bytes. Bytes from the wire are never C strings: they travel as a view with its length. */
#ifndef TRUC_BYTES_H
#define TRUC_BYTES_H

#include "truc/error.h"

#include <stddef.h>
#include <stdint.h>
#include <string.h>

/* A borrowed view. It does not own what it points at; whoever hands it out says how long it lives. */
struct truc_bytes {
    const uint8_t *data;
    size_t size;
};

static inline struct truc_bytes truc_bytes(const void *data, size_t size)
{
    return (struct truc_bytes){(const uint8_t *)data, size};
}

static inline struct truc_bytes truc_bytes_of(const char *text)
{
    return (struct truc_bytes){(const uint8_t *)text, strlen(text)};
}

static inline bool truc_bytes_equal(struct truc_bytes a, struct truc_bytes b)
{
    return a.size == b.size && (a.size == 0 || memcmp(a.data, b.data, a.size) == 0);
}

/* A growing buffer that owns its bytes. Zero-initialise it; close it when done. */
struct truc_buffer {
    uint8_t *data;
    size_t size;
    size_t capacity;
};

void truc_buffer_close(struct truc_buffer *buffer);
/* Empties without giving memory back. */
void truc_buffer_clear(struct truc_buffer *buffer);
/* Makes room for `more` bytes behind size. Errors: TRUC_E_NOMEM. */
TRUC_MUST_USE truc_error truc_buffer_reserve(struct truc_buffer *buffer, size_t more);
TRUC_MUST_USE truc_error truc_buffer_append(struct truc_buffer *buffer, const void *data, size_t size);
/* Appends formatted text, without a closing NUL in size (one is kept behind it, so data can be printed). */
TRUC_MUST_USE truc_error truc_buffer_printf(struct truc_buffer *buffer, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

static inline struct truc_bytes truc_buffer_view(const struct truc_buffer *buffer)
{
    return (struct truc_bytes){buffer->data, buffer->size};
}

/* Standard base64 with padding (RFC 4648 section 4), one line. decode is strict: no white space, canonical padding. */
TRUC_MUST_USE truc_error truc_base64_encode(struct truc_bytes in, struct truc_buffer *out);
TRUC_MUST_USE truc_error truc_base64_decode(struct truc_bytes in, struct truc_buffer *out);
/* ZeroMQ's Z85 (RFC 32 of the ZeroMQ project), for CURVE keys. encode: in.size a multiple of 4; `out` has room for
 * in.size / 4 * 5 + 1. decode: exactly size / 4 * 5 characters. Errors: TRUC_E_INVALID (size), TRUC_E_MALFORMED. */
TRUC_MUST_USE truc_error truc_z85_encode(struct truc_bytes in, char *out);
TRUC_MUST_USE truc_error truc_z85_decode(struct truc_bytes in, uint8_t *out, size_t size);
/* Lowercase hex; `out` has room for 2 * in.size + 1. */
void truc_hex(struct truc_bytes in, char *out);
/* Reads exactly 2 * size lowercase or uppercase digits. Errors: TRUC_E_MALFORMED. */
TRUC_MUST_USE truc_error truc_unhex(struct truc_bytes in, uint8_t *out, size_t size);

#endif
