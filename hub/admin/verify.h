/* `log verify` inside: workers check what needs only a row's bytes (digest, contents, roots, signatures), one thread
 * replays the decisions in order. All of it runs in a child process: a damaged LMDB page can crash a reader, and then
 * the crash is the finding.
 *
 *   parent (cmd_log_verify.c): progress, report   <-- pipe, one JSON object a line; shared memory: how far --
 *   child  (verify_replay.c): core, chain of rows, checkpoints, state   <-- ring of rows <-- workers (verify_row.c) */
#ifndef HUB_ADMIN_VERIFY_H
#define HUB_ADMIN_VERIFY_H

#include "hub/admin/log_home.h"
#include "truc/frame.h"

#include <pthread.h>
#include <stdatomic.h>

#define VERIFY_WORKERS_MAX 64
#define VERIFY_NONE UINT64_MAX

/* In memory that parent and child share, so that a crash leaves it. */
struct verify_progress {
    _Atomic uint64_t rows, rows_done, leaves, events, bytes;
    _Atomic uint64_t reading[VERIFY_WORKERS_MAX]; /* row that a worker has in hand + 1; 0: none */
    _Atomic uint64_t replaying;                   /* row + 1 */
};

/* Findings go out as JSON lines; any thread. */
struct verify_report {
    FILE *out;
    pthread_mutex_t lock;
    uint64_t findings;
};

/* Where something is wrong; VERIFY_NONE where it has no such place. */
struct verify_place {
    uint64_t row, leaf, sequence;
    const char *agency; /* NULL: none */
};
#define VERIFY_ROW(number) ((struct verify_place){(number), VERIFY_NONE, VERIFY_NONE, NULL})
void verify_find(struct verify_report *report, const struct verify_place *place, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* Signing keys by keyid, as they come up in governance acts. A keyid is the key's own hash, so that any key found under
 * it is the right one; whether it was enrolled for the sender at that moment is for the replay to say. */
struct verify_keys {
    pthread_rwlock_t lock;
    struct verify_key {
        char keyid[TRUC_KEYID_HEX + 1];
        struct truc_key *key;
    } * items;
    size_t count, capacity;
};

/* Something wrong in a row, found before it is known which leaf it is. */
struct verify_note {
    uint32_t seal;  /* ordinal of the seal in the row */
    uint32_t event; /* index in the seal; UINT32_MAX: the seal itself */
    char text[160];
};

/* What a worker made of one row. */
struct verify_row {
    bool done;
    bool unreadable; /* not even parts of it can be replayed */
    char why[160];   /* of the row as a whole; "" : nothing */
    struct verify_note *notes;
    size_t note_count, note_capacity;
    bool *unsigned_seals; /* seals whose key had not come up yet: the replay checks them */
    size_t seal_count, seal_capacity;
    uint64_t signatures, events, erased, bytes;
};

/* One worker's tools. */
struct verify_tools {
    struct hub_journal_reader *journal;
    struct hub_row_reader *rows;
    struct truc_aead *aead;
    const struct hub_slots *slots; /* NULL: contents cannot be checked */
    struct verify_keys *keys;
    struct truc_buffer content;
    struct truc_arena *arena;
};

/* Checks everything about a row that its bytes alone can tell. Errors: TRUC_E_NOMEM and the like only; damage is noted.
 */
TRUC_MUST_USE truc_error verify_row_check(struct verify_tools *tools, uint64_t number, struct verify_row *out);
void verify_row_clear(struct verify_row *row); /* keeps its memory */
void verify_row_close(struct verify_row *row);
/* Signature of an envelope by the key that it names. TRUC_E_UNKNOWN_KEY: that key did not come up yet. */
TRUC_MUST_USE truc_error verify_envelope(struct verify_keys *keys, struct truc_bytes envelope);
TRUC_MUST_USE truc_error verify_keys_add(struct verify_keys *keys, const char *keyid, struct truc_bytes spki);
void verify_keys_close(struct verify_keys *keys);

/* What an event's bytes say, against the facts that the hub journaled and decided by. NULL: they agree; else a
 * sentence. */
const char *verify_facts(const char *sender, struct truc_bytes event, const struct hub_event_facts *facts,
                         struct truc_arena *arena);

struct verify_options {
    const char *home; /* its path */
    struct hub_settings *settings;
    struct truc_bytes note; /* a checkpoint that somebody holds; empty: none */
    const char *note_key;   /* the verifier key that it must fit and that genesis must name; NULL: genesis says */
    unsigned workers;
};
/* The child's whole life. The exit code for _exit. */
enum admin_exit verify_child(const struct verify_options *options, struct verify_progress *progress, FILE *out);

#endif
