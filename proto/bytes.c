/* Growing buffers, base64 and hex. */
#include "truc/bytes.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#define FIRST_CAPACITY 64

void truc_buffer_close(struct truc_buffer *buffer)
{
    free(buffer->data);
    *buffer = (struct truc_buffer){0};
}

void truc_buffer_clear(struct truc_buffer *buffer)
{
    buffer->size = 0;
}

truc_error truc_buffer_reserve(struct truc_buffer *buffer, size_t more)
{
    if (more <= buffer->capacity - buffer->size) {
        return TRUC_OK;
    }
    if (more > SIZE_MAX - buffer->size) {
        return TRUC_E_NOMEM;
    }
    size_t needed = buffer->size + more;
    size_t capacity = buffer->capacity < FIRST_CAPACITY ? FIRST_CAPACITY : buffer->capacity;
    while (capacity < needed) {
        /* Doubling keeps appends linear; near the top of the address space the exact need has to do. */
        capacity = capacity > SIZE_MAX / 2 ? needed : capacity * 2;
    }
    uint8_t *data = realloc(buffer->data, capacity);
    if (data == NULL) {
        return TRUC_E_NOMEM;
    }
    buffer->data = data;
    buffer->capacity = capacity;
    return TRUC_OK;
}

truc_error truc_buffer_append(struct truc_buffer *buffer, const void *data, size_t size)
{
    truc_error error = truc_buffer_reserve(buffer, size);
    if (error == TRUC_OK && size > 0) {
        memcpy(buffer->data + buffer->size, data, size);
        buffer->size += size;
    }
    return error;
}

truc_error truc_buffer_printf(struct truc_buffer *buffer, const char *format, ...)
{
    va_list measured, written;
    va_start(measured, format);
    va_copy(written, measured);
    int length = vsnprintf(NULL, 0, format, measured);
    va_end(measured);

    truc_error error = length < 0 ? TRUC_E_INVALID : truc_buffer_reserve(buffer, (size_t)length + 1);
    if (error == TRUC_OK) {
        (void)vsnprintf((char *)buffer->data + buffer->size, (size_t)length + 1, format, written);
        buffer->size += (size_t)length;
    }
    va_end(written);
    return error;
}

static const char base64_digits[65] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

truc_error truc_base64_encode(struct truc_bytes in, struct truc_buffer *out)
{
    if (in.size > SIZE_MAX / 4 * 3 - 3) {
        return TRUC_E_NOMEM;
    }
    size_t length = (in.size + 2) / 3 * 4;
    truc_error error = truc_buffer_reserve(out, length);
    if (error != TRUC_OK || length == 0) {
        return error;
    }
    uint8_t *to = out->data + out->size;
    for (size_t i = 0; i < in.size; i += 3, to += 4) {
        size_t left = in.size - i;
        uint32_t group = (uint32_t)in.data[i] << 16;
        group |= left > 1 ? (uint32_t)in.data[i + 1] << 8 : 0;
        group |= left > 2 ? in.data[i + 2] : 0;
        to[0] = (uint8_t)base64_digits[group >> 18];
        to[1] = (uint8_t)base64_digits[group >> 12 & 63];
        to[2] = left > 1 ? (uint8_t)base64_digits[group >> 6 & 63] : '=';
        to[3] = left > 2 ? (uint8_t)base64_digits[group & 63] : '=';
    }
    out->size += length;
    return TRUC_OK;
}

/* The value of a base64 digit, or -1. */
static int base64_value(uint8_t digit)
{
    if (digit >= 'A' && digit <= 'Z') {
        return digit - 'A';
    }
    if (digit >= 'a' && digit <= 'z') {
        return digit - 'a' + 26;
    }
    if (digit >= '0' && digit <= '9') {
        return digit - '0' + 52;
    }
    return digit == '+' ? 62 : digit == '/' ? 63 : -1;
}

/* Decodes four digits, of which the last `padding` are '='. Spare bits must be zero, or one text would have two
 * spellings and a signed text could be altered without breaking its signature. */
static bool base64_group(const uint8_t *digits, unsigned padding, uint8_t out[3])
{
    uint32_t group = 0;
    for (unsigned i = 0; i < 4; i++) {
        int value = i < 4 - padding ? base64_value(digits[i]) : 0;
        if (value < 0) {
            return false;
        }
        group = group << 6 | (uint32_t)value;
    }
    out[0] = (uint8_t)(group >> 16);
    out[1] = (uint8_t)(group >> 8);
    out[2] = (uint8_t)group;
    uint32_t spare = padding == 0 ? 0 : padding == 1 ? group & 0xff : group & 0xffff;
    return spare == 0;
}

truc_error truc_base64_decode(struct truc_bytes in, struct truc_buffer *out)
{
    if (in.size % 4 != 0) {
        return TRUC_E_MALFORMED;
    }
    if (in.size == 0) {
        return TRUC_OK;
    }
    unsigned padding = in.data[in.size - 1] != '=' ? 0 : in.data[in.size - 2] != '=' ? 1 : 2;
    truc_error error = truc_buffer_reserve(out, in.size / 4 * 3);
    if (error != TRUC_OK) {
        return error;
    }
    /* size moves only once everything is decoded, so a caller's buffer is as it was after an error. */
    uint8_t *to = out->data + out->size;
    for (size_t i = 0; i < in.size; i += 4, to += 3) {
        if (!base64_group(in.data + i, i + 4 == in.size ? padding : 0, to)) {
            return TRUC_E_MALFORMED;
        }
    }
    out->size += in.size / 4 * 3 - padding;
    return TRUC_OK;
}

void truc_hex(struct truc_bytes in, char *out)
{
    static const char digits[17] = "0123456789abcdef";
    for (size_t i = 0; i < in.size; i++) {
        out[2 * i] = digits[in.data[i] >> 4];
        out[2 * i + 1] = digits[in.data[i] & 15];
    }
    out[2 * in.size] = '\0';
}

/* The value of a hex digit, or -1. */
static int hex_value(uint8_t digit)
{
    if (digit >= '0' && digit <= '9') {
        return digit - '0';
    }
    if (digit >= 'a' && digit <= 'f') {
        return digit - 'a' + 10;
    }
    return digit >= 'A' && digit <= 'F' ? digit - 'A' + 10 : -1;
}

truc_error truc_unhex(struct truc_bytes in, uint8_t *out, size_t size)
{
    if (in.size % 2 != 0 || in.size / 2 != size) {
        return TRUC_E_MALFORMED;
    }
    for (size_t i = 0; i < size; i++) {
        int high = hex_value(in.data[2 * i]);
        int low = hex_value(in.data[2 * i + 1]);
        if (high < 0 || low < 0) {
            return TRUC_E_MALFORMED;
        }
        out[i] = (uint8_t)(high << 4 | low);
    }
    return TRUC_OK;
}
