/* One connection to the hub for the time of one command: profile, connect, ask, submit, wait. */
#ifndef HUB_ADMIN_SESSION_H
#define HUB_ADMIN_SESSION_H

#include "hub/admin/table.h"
#include "truc.pb-c.h"
#include "truc/client.h"

struct admin_session;

/* Reads the profile that the call names. Says what is wrong. Free it with truc_profile_free. */
TRUC_MUST_USE enum admin_exit admin_profile(const struct admin_call *call, struct truc_profile **out);
/* Connects and waits for the verified WELCOME. `on_delivery` may be NULL. Says what is wrong. */
typedef void (*admin_delivery_fn)(void *context, const struct truc_delivery *delivery);
struct admin_session_hooks {
    void *context;
    admin_delivery_fn on_delivery;
    void (*on_settled)(void *context, uint64_t first_number, uint32_t count);
    uint32_t receive_events; /* 0: the client's default */
};
TRUC_MUST_USE enum admin_exit admin_session_open(const struct admin_call *call, const struct admin_session_hooks *hooks,
                                                 struct admin_session **out);
void admin_session_close(struct admin_session **session);
struct truc_client *admin_session_client(struct admin_session *session);
const struct truc_client_config *admin_session_config(struct admin_session *session);
/* Runs until `done`, or the time is over (TRUC_E_TIMEOUT), or the client stopped (TRUC_E_REFUSED or its error). */
TRUC_MUST_USE truc_error admin_session_run(struct admin_session *session, bool (*done)(void *context), void *context,
                                           int64_t timeout_ms);
/* Says why a run ended and returns the exit code. */
enum admin_exit admin_session_explain(struct admin_session *session, truc_error error, const char *doing);

/* All rows of a query: a new array. Says what is wrong. */
TRUC_MUST_USE enum admin_exit admin_session_query(struct admin_session *session, const char *what,
                                                  const char *const *arguments, json_t **rows);

/* Hands an encoded event over; its receipt is waited for by admin_session_settle. */
TRUC_MUST_USE enum admin_exit admin_session_submit(struct admin_session *session, struct truc_bytes event);
/* Waits for all receipts. `rows` becomes a new array: id, type, outcome, sequence, accepted_at, leaf_index, advice.
 * ADMIN_REFUSED if one was refused (said on stderr). */
TRUC_MUST_USE enum admin_exit admin_session_settle(struct admin_session *session, json_t **rows);

/* An act with the call's --reason; its own part is still to be filled in. */
Truc__V1__Governance admin_act(const struct admin_call *call, Truc__V1__Governance__ActCase which);
/* Signs and submits one act. */
TRUC_MUST_USE enum admin_exit admin_session_govern(struct admin_session *session, const Truc__V1__Governance *act);
/* One act in an open session, from submission to receipt: prints what was `did` (or the receipts as JSON). */
TRUC_MUST_USE enum admin_exit admin_govern_in(struct admin_session *session, const Truc__V1__Governance *act,
                                              const char *did);
/* The same with its own connection. */
TRUC_MUST_USE enum admin_exit admin_govern_once(const struct admin_call *call, const Truc__V1__Governance *act,
                                                const char *did);
/* Prints the receipts of acts: `did` and where they stand in the log. */
void admin_receipts_print(const struct admin_call *call, json_t *rows, const char *did);
/* One query from profile to table; `change` (may be NULL) sees the rows before they are printed. */
TRUC_MUST_USE enum admin_exit admin_query_changed(const struct admin_call *call, const char *what,
                                                  const char *const *arguments, const struct admin_column *columns,
                                                  const char *empty, void (*change)(json_t *rows));
static inline enum admin_exit admin_query_once(const struct admin_call *call, const char *what,
                                               const char *const *arguments, const struct admin_column *columns,
                                               const char *empty)
{
    return admin_query_changed(call, what, arguments, columns, empty, NULL);
}

/* Empty string for protobuf-c where text is NULL; the cast is protobuf-c's lack of const. */
char *admin_proto_text(const char *text);
#define ADMIN_RUN_FOREVER INT64_C(-1)
#define ADMIN_RUN_TIMEOUT INT64_C(-2) /* as --timeout says */

#endif
