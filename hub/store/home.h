/* A hub's home directory: where everything is, and making one. hub/STORAGE.md, "The home directory".
 *
 *   hub.yaml  hub/{note.pem transport.secret transport.public note.key}  data/{journal.mdb state.mdb keys.slots}
 *   admin-1/ admin-2/ : the first administrators' profiles */
#ifndef HUB_STORE_HOME_H
#define HUB_STORE_HOME_H

#include "truc/config.h"
#include "truc/note.h"

/* A commit takes no more of seals than so much: what comes beyond it waits for the next one. */
#define HUB_COMMIT_BYTES (INT64_C(32) << 20)
/* The reserve is at least so many of the largest commit: one that is under way, one behind it, what rows cost beyond
 * their events, and still room for acks, governance and checkpoints. */
#define HUB_RESERVE_COMMITS 4

struct hub_settings {
    char *listen; /* "tcp://127.0.0.1:5590" */
    char *log_level;
    int64_t journal_bytes; /* map sizes: the quotas on disk */
    int64_t state_bytes;
    int64_t reserve_bytes; /* free disk below which seals are refused STORAGE_FULL */
    int64_t workers;       /* verifying threads; 0: the machine's cores */
    int64_t session_bytes; /* in flight per session and in all */
    int64_t total_bytes;
    int64_t cache_bytes; /* recent events kept in memory for delivery */
    int64_t lease_ms;
    int64_t sessions;   /* at most */
    int64_t silence_ms; /* a session silent for so long is ended */
};

struct hub_home {
    char *path;
    struct hub_settings settings;
    struct truc_key *note_key;                       /* private */
    char transport_public[41], transport_secret[41]; /* Z85 */
};

/* Reads hub.yaml and keys; refuses a home that others can read. `why`: every error, a line each.
 * Errors: TRUC_E_CONFIG, TRUC_E_IO. */
TRUC_MUST_USE truc_error hub_home_open(const char *path, struct hub_home *out, struct truc_buffer *why);
void hub_home_close(struct hub_home *home);
/* Checks hub.yaml text alone. */
TRUC_MUST_USE truc_error hub_settings_read(const char *name, struct truc_bytes text, struct hub_settings *out,
                                           struct truc_buffer *why);
void hub_settings_close(struct hub_settings *settings);
/* Makes folder, keys, hub.yaml (mode 0700/0600), two administrators' profiles and the journal with the genesis seal as
 * row 0, accepted at now_us. Origin: 1 to 255 of a-z A-Z 0-9 . - _ / . Errors: TRUC_E_EXISTS, TRUC_E_INVALID,
 * TRUC_E_IO. */
TRUC_MUST_USE truc_error hub_home_make(const char *path, const char *origin, const char *listen, int64_t now_us,
                                       struct truc_buffer *why);
/* path + "/" + name, heap; NULL when out of memory. */
char *hub_home_file(const char *home, const char *name);

#endif
