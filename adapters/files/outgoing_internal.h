/* What the parts of the out-folder share. */
#ifndef TRUC_FILES_OUTGOING_INTERNAL_H
#define TRUC_FILES_OUTGOING_INTERNAL_H

#include "adapters/files/folder.h"
#include "adapters/files/outgoing.h"

#define FILE_MAX ((size_t)8 << 20) /* bytes of a file: an event of 1 MiB as JSON text at its longest */
#define RETRY_US INT64_C(1000000)  /* after a disk or a spool that was full */

/* Drawn in outgoing.h; outgoing_enter is the one place where it changes. */
enum outgoing_state { JOB_CLAIMED, JOB_SUBMITTED, JOB_ANSWERED, JOB_RECEIPTED, JOB_STATES };

struct outgoing_job {
    char name[FILES_NAME_SIZE]; /* in pending */
    enum outgoing_state state;
    bool recovered; /* of an earlier run: the spool may owe its receipt */
    bool hashed, refused;
    int64_t due_us; /* not before */
    unsigned tries; /* that were put off */
    uint64_t ticket;
    struct truc_hash hash;    /* of the event's bytes */
    struct truc_buffer paper; /* the receipt's text, until it is written */
};

/* A file that came by rename and is still in out. */
struct outgoing_arrival {
    char *name;
    int64_t changed_us; /* its change time then: with another one it is whole no more */
    uint64_t rank;      /* the order of the renames */
    bool waits;
};

struct outgoing {
    const struct files_settings *settings;
    const struct files_draft_rules *rules;
    struct truc_client *client;
    struct folder out, pending, done, refused, quarantine, receipts; /* receipts.path NULL: beside the file */
    struct outgoing_job **jobs;
    size_t count, capacity;
    struct outgoing_arrival *arrivals;
    size_t arrival_count, arrival_capacity;
    uint64_t arrived;  /* ever */
    bool arrivals_new; /* since the last scan */
    bool no_room;      /* the last scan left files because in_flight were under way */
    bool held;         /* the last scan left files behind one that has not settled */
    bool claims_unsynced;
    int64_t full_until_us; /* the spool takes nothing before */
    int64_t open_us;       /* since when the client's session is open; 0: it is not */
    struct outgoing_counts counts;
};

int64_t outgoing_now_us(void); /* monotonic */
void outgoing_enter(struct outgoing_job *job, enum outgoing_state state);
TRUC_MUST_USE truc_error outgoing_add(struct outgoing *o, const char *name, struct outgoing_job **out);
void outgoing_remove(struct outgoing *o, size_t index);
/* Where the paper of a job belongs, and its name. */
const struct folder *outgoing_paper_folder(const struct outgoing *o, bool refused);
/* Moves a broken file away and says why beside it. */
TRUC_MUST_USE truc_error outgoing_quarantine(struct outgoing *o, const struct folder *from, const char *name,
                                             const char *why);

#endif
