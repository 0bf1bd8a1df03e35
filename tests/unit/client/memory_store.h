/* The store port in memory, for tests that look into what a session writes down. */
#ifndef TRUC_TESTS_CLIENT_MEMORY_STORE_H
#define TRUC_TESTS_CLIENT_MEMORY_STORE_H

#include "adapters/client/store.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

struct memory_row {
    uint64_t key;
    uint8_t *data;
    size_t size;
};

struct memory_store {
    struct memory_row *rows[STORE_TABLES];
    size_t counts[STORE_TABLES];
    bool full;     /* takes no more events */
    uint64_t mark; /* of what is written now */
};

static inline size_t memory_place(const struct memory_store *m, enum store_table table, uint64_t key)
{
    size_t i = 0;
    while (i < m->counts[table] && m->rows[table][i].key < key) {
        i++;
    }
    return i;
}

static inline truc_error memory_put(void *context, enum store_table table, uint64_t key, struct truc_bytes head,
                                    struct truc_bytes tail)
{
    struct memory_store *m = context;
    if (table == STORE_EVENTS && m->full) {
        return TRUC_E_FULL;
    }
    size_t at = m->counts[table];
    if (at > 0 && m->rows[table][at - 1].key >= key) { /* appended as a rule */
        at = memory_place(m, table, key);
    }
    if (at == m->counts[table] || m->rows[table][at].key != key) {
        m->rows[table] = realloc(m->rows[table], (m->counts[table] + 1) * sizeof(struct memory_row));
        assert_non_null(m->rows[table]);
        memmove(&m->rows[table][at + 1], &m->rows[table][at], (m->counts[table] - at) * sizeof(struct memory_row));
        m->rows[table][at] = (struct memory_row){.key = key};
        m->counts[table]++;
    }
    struct memory_row *row = &m->rows[table][at];
    free(row->data);
    row->size = head.size + tail.size;
    row->data = malloc(row->size + 1);
    assert_non_null(row->data);
    if (head.size > 0) {
        memcpy(row->data, head.data, head.size);
    }
    if (tail.size > 0) {
        memcpy(row->data + head.size, tail.data, tail.size);
    }
    return TRUC_OK;
}

static inline truc_error memory_next(void *context, enum store_table table, uint64_t *key, struct truc_bytes *out)
{
    struct memory_store *m = context;
    size_t at = memory_place(m, table, *key);
    if (at == m->counts[table]) {
        return TRUC_E_NOT_FOUND;
    }
    *key = m->rows[table][at].key;
    *out = truc_bytes(m->rows[table][at].data, m->rows[table][at].size);
    return TRUC_OK;
}

static inline truc_error memory_get(void *context, enum store_table table, uint64_t key, struct truc_bytes *out)
{
    uint64_t found = key;
    truc_error error = memory_next(context, table, &found, out);
    return error == TRUC_OK && found != key ? TRUC_E_NOT_FOUND : error;
}

static inline truc_error memory_drop(void *context, enum store_table table, uint64_t first, uint64_t last)
{
    struct memory_store *m = context;
    size_t from = memory_place(m, table, first), to = from;
    while (to < m->counts[table] && m->rows[table][to].key <= last) {
        free(m->rows[table][to++].data);
    }
    if (to > from) {
        memmove(&m->rows[table][from], &m->rows[table][to], (m->counts[table] - to) * sizeof(struct memory_row));
        m->counts[table] -= to - from;
    }
    return TRUC_OK;
}

static inline uint64_t memory_mark(void *context)
{
    return ((struct memory_store *)context)->mark;
}

static inline void memory_close(struct memory_store *m)
{
    for (int t = 0; t < STORE_TABLES; t++) {
        assert_int_equal(memory_drop(m, (enum store_table)t, 0, UINT64_MAX), TRUC_OK);
        free(m->rows[t]);
    }
}

#endif
