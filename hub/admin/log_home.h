/* The log in a hub's home, read on the same machine while the hub may be running: journal, key slots, and the core as
 * the state environment has it, brought up to the journal's end in memory. Nothing is written. */
#ifndef HUB_ADMIN_LOG_HOME_H
#define HUB_ADMIN_LOG_HOME_H

#include "hub/admin/table.h"
#include "hub/core/core.h"
#include "hub/store/home.h"
#include "hub/store/journal.h"
#include "hub/store/row.h"
#include "hub/store/state.h"
#include "truc/evidence.h"

struct admin_log {
    const struct admin_call *call;
    struct hub_home home;
    struct hub_journal *journal;
    struct hub_journal_reader *reader;
    struct hub_slots *slots;
    struct hub_row_reader *rows;
    struct truc_aead *aead;
    struct hub_state *state; /* NULL: there is none, the core was made from row 0 */
    struct hub_core *core;
    struct hub_effects effects;
    struct truc_buffer leaf_bytes;
};

/* A port to nothing: a core over it begins before genesis and keeps all its state in memory. */
struct hub_port admin_memory_port(void);

/* Opens all of it and says what is wrong. */
TRUC_MUST_USE enum admin_exit admin_log_open(const struct admin_call *call, struct admin_log *out);
void admin_log_close(struct admin_log *log);
/* Applies the rows that were journaled since. */
TRUC_MUST_USE truc_error admin_log_follow(struct admin_log *log);
/* Gives the snapshots back and takes new ones: for programs that stay. */
TRUC_MUST_USE truc_error admin_log_refresh(struct admin_log *log);
enum admin_exit admin_log_explain(struct admin_log *log, truc_error error, const char *doing);

/* One event on a walk. All borrowed until the next one. */
struct admin_log_event {
    uint64_t sequence, leaf_index, row;
    uint32_t index; /* in its seal */
    int64_t accepted_at_us;
    const struct truc_seal *seal;
    const struct hub_event_facts *facts;
    struct truc_outcome outcome;
};
typedef truc_error (*admin_log_fn)(void *context, struct admin_log *log, const struct admin_log_event *event);

struct admin_log_filter {
    uint64_t from, to; /* sequences, both included; to 0: the end */
    bool has_since, has_until;
    int64_t since_us, until_us; /* accepted_at, since included, until not */
    const char *agency;         /* sender; NULL: any */
    const char *type;           /* or prefix ending in '*'; NULL: any */
    uint64_t subject;           /* truc_subject_hash; 0: any */
};
/* --from --to --since --until --agency --type --subject of the command line. `agency` is room for the code. */
TRUC_MUST_USE enum admin_exit admin_log_filter_read(const struct admin_call *call, struct admin_log_filter *out,
                                                    char agency[TRUC_AGENCY_MAX + 1]);
#define ADMIN_FILTER_OPTIONS                                                                                           \
    {"from", ADMIN_NUMBER, "N", "first sequence", false}, {"to", ADMIN_NUMBER, "N", "last sequence", false},           \
        {"since", ADMIN_TIME, "TIME", "accepted at this time or later", false},                                        \
        {"until", ADMIN_TIME, "TIME", "accepted before this time", false},                                             \
        {"agency", ADMIN_TEXT, "CODE", "only events of this sender", false},                                           \
        {"type", ADMIN_TEXT, "TYPE", "only this type, or a prefix ending in '*'", false},                              \
    {                                                                                                                  \
        "subject", ADMIN_TEXT, "TEXT", "only events about this subject", false                                         \
    }

/* Calls `each` for the filter's events in order, until it returns an error, which is handed on. */
TRUC_MUST_USE truc_error admin_log_walk(struct admin_log *log, const struct admin_log_filter *filter, admin_log_fn each,
                                        void *context);
/* Content of the event that a walk stands on, appended. TRUC_E_NOT_FOUND: erased. */
TRUC_MUST_USE truc_error admin_log_content(struct admin_log *log, const struct admin_log_event *event,
                                           struct truc_buffer *out);
/* The facts of an event as a JSON object (no content, no personal data); an act of governance also in words: act,
 * concerns, reason, words. New reference. */
json_t *admin_log_row(const struct admin_log_event *event);
/* "accepted", "duplicate of 12", "NOT_GRANTED". */
void admin_outcome_text(const struct truc_outcome *outcome, char out[64]);

/* An event's evidence under the newest checkpoint that the hub signed. Errors: TRUC_E_NOT_FOUND (no such sequence),
 * TRUC_E_AGAIN (no checkpoint on disk covers it yet), TRUC_E_CORRUPT ... Close it in any case. */
TRUC_MUST_USE truc_error admin_log_evidence(struct admin_log *log, uint64_t sequence, struct truc_evidence *out);

#endif
