/* The replaying child's state, shared by its files. */
#ifndef HUB_ADMIN_VERIFY_REPLAY_H
#define HUB_ADMIN_VERIFY_REPLAY_H

#include "hub/admin/verify.h"

#define RING 256 /* rows under way between workers and replay */

struct pipeline {
    pthread_mutex_t lock;
    pthread_cond_t room, ready;
    uint64_t next, consumed, total;
    bool stop;
    truc_error error; /* of a worker: memory, threads */
    struct verify_row ring[RING];
};

struct worker {
    struct pipeline *pipeline;
    struct verify_progress *progress;
    struct verify_tools tools;
    unsigned number;
    pthread_t thread;
    bool started;
};

struct replay {
    const struct verify_options *options;
    struct verify_progress *progress;
    struct verify_report report;
    struct pipeline pipeline;
    struct verify_keys keys;
    struct worker workers[VERIFY_WORKERS_MAX];
    struct hub_journal *journal;
    struct hub_journal_reader *reader;
    struct hub_slots *slots;
    struct hub_row_reader *rows;
    struct hub_journal_reader *ordered; /* what orders to replay name; NULL until there is one */
    struct hub_row_reader *ordered_rows;
    uint64_t *slot_owners; /* whom each key slot serves, 0: nobody yet; NULL: there are no keys to look after */
    uint64_t slot_count;
    struct hub_state *state;
    struct hub_core *core, *state_core;
    struct hub_effects effects;
    struct hub_row_header before; /* of the last row */
    struct truc_hash state_digest;
    struct truc_note_verifier note_key;
    struct truc_buffer state_note;
    bool replaying, state_compared, state_equal, has_note_key;
    uint64_t signatures, erased, checkpoints, seals, other_inputs, bytes;
};

#define VERIFY_NOWHERE ((struct verify_place){VERIFY_NONE, VERIFY_NONE, VERIFY_NONE, NULL})

/* A signed checkpoint against the tree as replayed so far; `whose` begins the sentence of a finding. */
void verify_checkpoint(struct replay *replay, struct truc_bytes note, const struct verify_place *place,
                       const char *whose);
/* The note key, as soon as genesis has named it. */
void verify_take_note_key(struct replay *replay);
/* A seal that was applied as leaf place->leaf: do its accepted orders to replay tell the truth about their events? */
void verify_orders(struct replay *replay, const struct hub_seal_input *seal, const struct verify_place *place,
                   uint64_t first_sequence);
/* Room for whom each key slot serves: 8 bytes per slot, a quarter of keys.slots. Errors: TRUC_E_NOMEM. */
TRUC_MUST_USE truc_error verify_slots_new(struct replay *replay);
/* The seal that replay->rows has just read: do its key slots serve nobody else? first_sequence may be VERIFY_NONE. */
void verify_slots(struct replay *replay, const struct hub_seal_input *seal, const struct verify_place *place,
                  uint64_t first_sequence);
/* The state environment: opened before the journal, compared when the replay is as far as it is. */
void verify_open_state(struct replay *replay, const char *data);
void verify_compare_state(struct replay *replay);

#endif
