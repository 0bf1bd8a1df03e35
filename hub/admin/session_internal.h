/* What session.c (connecting, asking) and session_submit.c (handing over, governing) share. */
#ifndef HUB_ADMIN_SESSION_INTERNAL_H
#define HUB_ADMIN_SESSION_INTERNAL_H

#include "hub/admin/session.h"

/* An event that was handed over in this command. */
struct waiting {
    uint64_t ticket;
    bool answered;
    struct truc_receipt receipt; /* its borrowed members are not kept */
    char *text;
    char *id, *type;
};

struct admin_session {
    const struct admin_call *call;
    struct admin_session_hooks hooks;
    struct truc_profile *profile;
    struct truc_client *client;
    int64_t timeout_ms;
    enum truc_client_state state;
    truc_error state_error;
    char state_text[512];
    struct waiting *waiting;
    size_t waiting_count, waiting_capacity, answered_count, first_unanswered;
    size_t older; /* receipts of earlier commands that came now */
};

#endif
