/* What the session keeps over restarts, as a port: tables of rows under 64-bit keys. The spool (LMDB) stands behind it
 * in an adapter, memory in a test or a simulator.
 *
 * Reads see writes at once. Writes become durable later, in the order in which they were made, and those between two
 * marks all or none of them. A view from get or next is borrowed until the next call of any function of the port. */
#ifndef TRUC_CLIENT_STORE_H
#define TRUC_CLIENT_STORE_H

#include "truc/bytes.h"

enum store_table {
    STORE_META,    /* enum store_meta -> as said there */
    STORE_EVENTS,  /* ticket -> byte STORE_EVENT_*, event bytes. Here until receipted */
    STORE_HANDLED, /* inbox number -> sequence (8, big-endian). Acked by the application, and not yet settled */
    STORE_OWED,    /* counter -> delivery receipt that is owed: sequence (8, BE), at_us (8, BE), outcome (1), leaf hash
                      (32), sender's code */
    STORE_KEYS,    /* first 8 bytes of SHA-256(agency 00 keyid) -> agency 00 DER SubjectPublicKeyInfo */
    STORE_WISHES,  /* counter -> subscription that the hub has not settled: byte remove (0, 1), type 00 source agency */
    STORE_TABLES
};

enum store_meta {
    META_FORMAT = 1,      /* STORE_FORMAT */
    META_IDENTITY = 2,    /* origin 00 agency */
    META_INSTANCE = 3,    /* 16 random bytes */
    META_NEXT_TICKET = 4, /* 8, big-endian: above every ticket that was given; durable before the first of them is */
    META_HEAD = 5,        /* digest of the last receipted seal */
    META_CHECKPOINT = 6,  /* newest checkpoint note; each was proven to continue the one before it */
    META_TOP = 8,         /* highest inbox number seen, its sequence: 16, big-endian */
    META_NEXT_OWED = 9,   /* 8, big-endian */
};

#define STORE_FORMAT "truc-spool 2"
#define STORE_FORMAT_1 "truc-spool 1" /* a row for each handled delivery; converted when it is opened */
#define STORE_EVENT_OURS 0            /* the application's: it gets a receipt */
#define STORE_EVENT_LIBRARY 1         /* made by this library: delivery receipts */

struct client_store {
    void *context;
    /* The row becomes head followed by tail. A new ticket is higher than all before it.
     * Errors: TRUC_E_FULL (over the quota, or the disk is full; events only), TRUC_E_NOMEM, TRUC_E_IO. */
    truc_error (*put)(void *context, enum store_table table, uint64_t key, struct truc_bytes head,
                      struct truc_bytes tail);
    /* Errors: TRUC_E_NOT_FOUND, TRUC_E_IO, TRUC_E_CORRUPT. */
    truc_error (*get)(void *context, enum store_table table, uint64_t key, struct truc_bytes *out);
    /* The first row whose key is *key or higher. Errors: TRUC_E_NOT_FOUND at the end. */
    truc_error (*next)(void *context, enum store_table table, uint64_t *key, struct truc_bytes *out);
    /* Drops the rows first ... last; fine where there are none. */
    truc_error (*drop)(void *context, enum store_table table, uint64_t first, uint64_t last);
    /* Stands for everything written so far; never lower than before. Whoever drives the session tells it by
     * client_session_synced how far marks are durable. NULL: the store is durable before anything is sent. */
    uint64_t (*mark)(void *context);
};

/* What a row of an event costs in the spool's file, roughly upwards: small ones share pages, large ones have their own.
 */
static inline uint64_t store_event_cost(size_t size)
{
    return size <= 1024 ? size + 32 : size <= 2048 ? 2048 : (size + 16 + 4095) / 4096 * 4096;
}

static inline void store_put_u64(uint8_t out[8], uint64_t value)
{
    for (int i = 7; i >= 0; i--) {
        out[i] = (uint8_t)value;
        value >>= 8;
    }
}

static inline uint64_t store_get_u64(const uint8_t in[8])
{
    uint64_t value = 0;
    for (int i = 0; i < 8; i++) {
        value = value << 8 | in[i];
    }
    return value;
}

#endif
