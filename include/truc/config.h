/* YAML configuration against a table: every error is reported with its line and key, not only the first one. */
#ifndef TRUC_CONFIG_H
#define TRUC_CONFIG_H

#include "truc/bytes.h"

enum truc_config_kind {
    TRUC_CONFIG_STRING,   /* char * , heap */
    TRUC_CONFIG_STRINGS,  /* struct truc_strings: a sequence of strings, or one string */
    TRUC_CONFIG_INTEGER,  /* int64_t within minimum..maximum */
    TRUC_CONFIG_SIZE,     /* int64_t bytes: a number with an optional KiB, MiB or GiB */
    TRUC_CONFIG_DURATION, /* int64_t milliseconds: a number with ms, s, min, h or d */
    TRUC_CONFIG_BOOLEAN,  /* bool: true or false */
};

struct truc_strings {
    char **items;
    size_t count;
};

struct truc_config_field {
    const char *key; /* dotted for nested mappings: "limits.event_bytes" */
    enum truc_config_kind kind;
    size_t offset; /* into the caller's struct */
    bool required;
    int64_t minimum, maximum; /* numbers; both 0: unchecked */
    const char *fallback;     /* text of the default; NULL: zero / NULL */
    /* For STRING and for each entry of STRINGS, may be NULL: what is wrong with the text, or NULL. */
    const char *(*check)(const char *text);
};

/* Reads YAML text into `target` (zeroed by the caller) by `fields`. Unknown and repeated keys are errors. Appends one
 * line an error to `why`: "NAME:LINE: KEY: sentence\n". Errors: TRUC_E_CONFIG, TRUC_E_NOMEM; then nothing is owed. */
TRUC_MUST_USE truc_error truc_config_read(const char *name, struct truc_bytes text,
                                          const struct truc_config_field *fields, size_t count, void *target,
                                          struct truc_buffer *why);
/* The same for callers with checks of their own across keys, so that all errors can be told in one run: on
 * TRUC_E_CONFIG `target` keeps what could be read, the rest is zero, and truc_config_close is owed. `lines` has room
 * for `count`: where each key stands; the line of its mapping where it does not. */
TRUC_MUST_USE truc_error truc_config_read_partly(const char *name, struct truc_bytes text,
                                                 const struct truc_config_field *fields, size_t count, void *target,
                                                 size_t *lines, struct truc_buffer *why);
/* The key's line in such `lines`; the key is one of the table's. */
size_t truc_config_line(const struct truc_config_field *fields, size_t count, const size_t *lines, const char *key);
TRUC_MUST_USE truc_error truc_config_load(const char *path, const struct truc_config_field *fields, size_t count,
                                          void *target, struct truc_buffer *why);
/* Frees what read allocated and zeroes the fields. */
void truc_config_close(const struct truc_config_field *fields, size_t count, void *target);
/* A whole file, at most `limit` bytes. Errors: TRUC_E_IO (errno), TRUC_E_TOO_LARGE. */
TRUC_MUST_USE truc_error truc_file_read(const char *path, size_t limit, struct truc_buffer *out);
/* Writes a new file (O_EXCL if !replace, else by rename), synced with its folder. Errors: TRUC_E_IO, TRUC_E_EXISTS. */
TRUC_MUST_USE truc_error truc_file_write(const char *path, struct truc_bytes data, unsigned mode, bool replace);

#endif
