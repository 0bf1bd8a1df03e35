/* The state environment: the core's map on disk, committed in large batches behind the journal, with `applied`. Can be
 * deleted at any time: it is made again from the journal. */
#ifndef HUB_STORE_STATE_H
#define HUB_STORE_STATE_H

#include "hub/core/core.h"

struct hub_state;

/* `folder`/state.mdb. Errors: as hub_journal_open. */
TRUC_MUST_USE truc_error hub_state_open(const char *folder, uint64_t map_bytes, bool create, bool read_only,
                                        struct hub_state **out, char why[256]);
void hub_state_close(struct hub_state **state);
/* true once a value did not fit its checksum or LMDB met damage: nothing more may be decided by it. Any thread. */
bool hub_state_is_damaged(const struct hub_state *state);
/* Its reader met damage that no checksum shows: something is missing that every commit has. Any thread. */
void hub_state_distrust(struct hub_state *state);
/* Leaves word in `folder`, durably, that the state is not to be used again. Errors: TRUC_E_IO, TRUC_E_NOMEM. */
TRUC_MUST_USE truc_error hub_state_condemn(const char *folder, const char *why);
/* If such word was left: removes the state and the word, and appends the latter to `why`. By whoever holds the journal,
 * before the state is opened; a crash in between does no harm. Errors: TRUC_E_NOT_FOUND (there was none), TRUC_E_IO. */
TRUC_MUST_USE truc_error hub_state_renew(const char *folder, struct truc_buffer *why);
/* The port for hub_core_new; one thread (the loop) uses it. It reads one snapshot until refreshed. */
struct hub_port hub_state_port(struct hub_state *state);
/* Moves the port to the newest commit. Borrowed values die. */
TRUC_MUST_USE truc_error hub_state_refresh(struct hub_state *state);
/* Commits and syncs; another thread than the port's may call it, one at a time. Errors: TRUC_E_FULL (nothing changed;
 * try again), others are fatal. */
TRUC_MUST_USE truc_error hub_state_commit(struct hub_state *state, const struct hub_dirty *dirty);
/* Small facts of the shell that are not the core's: name to value, in an own table ("newest checkpoint"). Written with
 * the next commit. */
TRUC_MUST_USE truc_error hub_state_note(struct hub_state *state, const char *name, struct truc_bytes value);
/* The newest value of that name, appended to `out`. Errors: TRUC_E_NOT_FOUND, TRUC_E_CORRUPT (it does not fit its
 * checksum). */
TRUC_MUST_USE truc_error hub_state_noted(struct hub_state *state, const char *name, struct truc_buffer *out);
uint64_t hub_state_used_bytes(const struct hub_state *state);

#endif
