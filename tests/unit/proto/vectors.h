/* Published test vectors: where they lie, and reading them. */
#ifndef TESTS_UNIT_PROTO_VECTORS_H
#define TESTS_UNIT_PROTO_VECTORS_H

#include "truc/bytes.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <jansson.h>
#include <unistd.h>

/* Writes the path of `name` in the folder of vectors; skips the test where there is no such file or folder. */
static inline void vectors_path(const char *name, char *path, size_t size)
{
    const char *folder = getenv("VECTORS");
    int length = snprintf(path, size, "%s/%s", folder != NULL ? folder : "../shared/vectors", name);
    assert_in_range(length, 1, size - 1);
    if (access(path, R_OK) != 0) {
        print_message("no vectors at %s: set VECTORS to their folder\n", path);
        skip();
    }
}

/* Integers become reals: some vectors hold 2^64 - 1, which no signed integer does. The others are small and exact. */
static inline json_t *vectors_load(const char *path)
{
    json_error_t error;
    json_t *json = json_load_file(path, JSON_DECODE_INT_AS_REAL, &error);
    if (json == NULL) {
        fail_msg("%s: %s", path, error.text);
    }
    return json;
}

static inline const char *vectors_text(const json_t *object, const char *name)
{
    const char *text = json_string_value(json_object_get(object, name));
    if (text == NULL) {
        fail_msg("a vector lacks %s", name);
    }
    return text;
}

/* Appends the bytes of a hex text. */
static inline void from_hex(const char *hex, struct truc_buffer *out)
{
    size_t size = strlen(hex) / 2;
    assert_int_equal(truc_buffer_reserve(out, size), TRUC_OK);
    assert_int_equal(truc_unhex(truc_bytes_of(hex), out->data + out->size, size), TRUC_OK);
    out->size += size;
}

static inline void assert_hex(struct truc_bytes bytes, const char *hex)
{
    struct truc_buffer wanted = {0};
    from_hex(hex, &wanted);
    assert_int_equal(bytes.size, wanted.size);
    if (wanted.size > 0) {
        assert_memory_equal(bytes.data, wanted.data, wanted.size);
    }
    truc_buffer_close(&wanted);
}

#endif
