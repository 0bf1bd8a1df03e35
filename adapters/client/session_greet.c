/* HELLO, WELCOME, BYE. */
#include "adapters/client/session_internal.h"

#define SKEW_WORTH_A_LINE (60 * SECOND)

truc_error session_say_hello(struct client_session *s)
{
    Truc__V1__Hello hello = TRUC__V1__HELLO__INIT;
    hello.protocol_min = TRUC_PROTOCOL_VERSION;
    hello.protocol_max = TRUC_PROTOCOL_VERSION;
    hello.agency = s->agency;
    hello.origin = s->origin;
    hello.software = s->software;
    hello.instance = (ProtobufCBinaryData){sizeof s->instance, s->instance};
    hello.checkpoint = (ProtobufCBinaryData){s->note.size, s->note.data};
    return session_push(s, TRUC_FRAME_HELLO, &hello.base, NULL);
}

static uint32_t limit(uint32_t offered, uint32_t most)
{
    return offered == 0 || offered > most ? most : offered;
}

static void take_limits(struct client_session *s, const Truc__V1__Limits *limits)
{
    s->seal_events = s->seal_events_most;
    s->seal_bytes = TRUC_SEAL_BYTES_MAX;
    s->session_bytes = UINT64_MAX;
    if (limits != NULL) {
        s->seal_events = limit(limits->seal_events, s->seal_events_most);
        s->seal_bytes = limit(limits->seal_bytes, TRUC_SEAL_BYTES_MAX);
        s->session_bytes = limits->session_bytes == 0 ? UINT64_MAX : limits->session_bytes;
    }
}

/* For comparison only: a head that we do not know is another instance of this agency, or receipts that were lost. */
static void compare_last(const struct client_session *s, const Truc__V1__LastSeal *last)
{
    if (last == NULL || last->digest.len != TRUC_HASH_SIZE) {
        return;
    }
    bool known = s->has_head && memcmp(last->digest.data, s->head.bytes, TRUC_HASH_SIZE) == 0;
    for (uint32_t i = 0; i < s->flight_count && !known; i++) {
        known = memcmp(last->digest.data, s->flights[i]->digest.bytes, TRUC_HASH_SIZE) == 0;
    }
    if (!known) {
        truc_log(TRUC_LOG_INFO, "last_seal_differs", "agency=%s number=%llu leaf=%llu", s->agency,
                 (unsigned long long)last->number, (unsigned long long)last->leaf_index);
    }
}

truc_error session_on_welcome(struct client_session *s, const Truc__V1__Welcome *welcome)
{
    if (welcome->protocol != TRUC_PROTOCOL_VERSION) {
        return session_stop(s, TRUC_E_UNSUPPORTED,
                            "the hub speaks a version of the protocol that this client does not");
    }
    if (strcmp(welcome->origin, s->origin) != 0) {
        return session_stop(s, TRUC_E_REFUSED, "the hub serves another log: check origin and endpoints");
    }
    struct truc_checkpoint now;
    truc_error error =
        session_take_checkpoint(s, welcome->checkpoint, welcome->consistency, welcome->n_consistency, &now);
    if (session_error_is_ours(error)) {
        return error;
    }
    if (error != TRUC_OK) {
        return session_stop(s, error,
                            error == TRUC_E_FORKED ? SESSION_FORKED
                                                   : "the hub's checkpoint is not signed by the log's note key: check "
                                                     "note.key and the endpoint");
    }
    s->urgent = true;
    take_limits(s, welcome->limits);
    compare_last(s, welcome->last);
    int64_t skew = s->wall_us > welcome->now_us ? s->wall_us - welcome->now_us : welcome->now_us - s->wall_us;
    if (skew > SKEW_WORTH_A_LINE) {
        truc_log(TRUC_LOG_WARN, "clock_skew", "agency=%s seconds=%lld", s->agency, (long long)(skew / SECOND));
    }
    char session[80];
    truc_log(TRUC_LOG_INFO, "session_open", "agency=%s session=%s tree_size=%llu", s->agency,
             truc_log_quote(truc_bytes_of(welcome->session), session, sizeof session),
             (unsigned long long)s->checkpoint.size);
    s->backoff_us = BACKOFF_FIRST;
    return TRUC_OK;
}

truc_error session_on_bye(struct client_session *s, const Truc__V1__Bye *bye)
{
    char text[256];
    (void)snprintf(text, sizeof text, "the hub ended the session: %s: %s",
                   bye->reason == 0 ? "orderly" : truc_reason_name(bye->reason),
                   bye->reason == 0 ? "it will be back" : truc_reason_advice(bye->reason));
    switch (bye->reason) {
    case TRUC_UNKNOWN_KEY:
    case TRUC_KEY_REVOKED:
    case TRUC_WRONG_ORIGIN:
        return session_stop(s, TRUC_E_REFUSED, text);
    case TRUC_SUSPENDED:
        return session_drop_link(s, TRUC_E_REFUSED, text, true);
    case TRUC_MALFORMED:
    case TRUC_TOO_LARGE:
    case TRUC_BAD_SEAL:
    case TRUC_SEAL_FORK:
        /* Sending the same again would end the same way; a receipt in between clears the count. */
        if (++s->faults >= FAULTS_MAX) {
            return session_stop(s, TRUC_E_REFUSED, text);
        }
        return session_drop_link(s, TRUC_E_REFUSED, text, false);
    default: /* a number from the wire; whatever else it means, coming back later is right */
        return session_drop_link(s, bye->reason == 0 ? TRUC_E_CLOSED : TRUC_E_REFUSED, text, false);
    }
}
