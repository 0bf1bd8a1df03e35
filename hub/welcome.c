/* HELLO and WELCOME: who is it, which log does it mean, and the proof that ours continues the one it saw. */
#include "hub/hub.h"

static void copy_software(struct hub_session *session, const char *software)
{
    char safe[sizeof session->software];

    truc_log_quote(truc_bytes_of(software), safe, sizeof safe);
    memcpy(session->software, safe, sizeof safe);
}

#define AGENCY_SHARE 8             /* one agency's share of all sessions */
#define ADMINISTRATORS_SESSIONS 16 /* beyond all */

static bool has_room(const struct hub *hub, const struct hub_agency *agency)
{
    size_t most = (size_t)hub->home.settings.sessions, all = 0, own = 0;
    struct hub_session *session, *next;

    /* Whoever is being let go takes nobody's place: refused ones may come by the thousand. */
    HASH_ITER(by_id, hub->sessions_by_id, session, next)
    if (session->state == SESSION_OPEN) {
        all++;
        own += session->agency == agency->number;
    }
    if (agency->role == HUB_ROLE_ADMINISTRATOR)
        return all < most + ADMINISTRATORS_SESSIONS;
    return all < most && own < (most / AGENCY_SHARE > 4 ? most / AGENCY_SHARE : 4);
}

static truc_reason check(struct hub *hub, struct hub_session *session, const Truc__V1__Hello *hello, const char **text)
{
    const struct hub_transport_key *transport = hub_core_transport(hub->core, session->key);
    const struct hub_agency *agency = transport ? hub_core_agency_by_number(hub->core, transport->agency) : NULL;

    *text = "this transport key is not enrolled for that agency";
    if (!agency || transport->revoked_at_us != 0 || strcmp(agency->code, hello->agency) != 0)
        return TRUC_UNKNOWN_KEY;
    *text = "this hub keeps another log: check origin in the configuration";
    if (strcmp(hello->origin, hub_core_origin(hub->core)) != 0)
        return TRUC_WRONG_ORIGIN;
    *text = "the agency is suspended: ask the administrator";
    if (agency->suspended)
        return TRUC_SUSPENDED;
    *text = "no common protocol version: this hub speaks version 1";
    if (hello->protocol_min > TRUC_PROTOCOL_VERSION || hello->protocol_max < TRUC_PROTOCOL_VERSION ||
        hello->instance.len != sizeof session->instance)
        return TRUC_MALFORMED;
    *text = "too many sessions, in all or of this agency: end some, or try again later";
    if (!has_room(hub, agency))
        return TRUC_OVERLOADED;
    session->agency = agency->number;
    memcpy(session->agency_code, agency->code, sizeof session->agency_code);
    return TRUC_ACCEPTED;
}

/* The client's checkpoint must be one that this key signed; a tree size that we do not reach gets no proof, and the
 * client sees why. */
static truc_error prove_consistency(struct hub *hub, const Truc__V1__Hello *hello,
                                    struct truc_hash path[TRUC_PROOF_MAX], size_t *count)
{
    struct truc_note_verifier verifier = {0};
    struct truc_checkpoint seen;
    truc_error error;

    *count = 0;
    if (hello->checkpoint.len == 0)
        return TRUC_OK;
    if ((error = truc_note_verifier_make(hub_core_origin(hub->core), hub->home.note_key, &verifier)))
        return error;
    error = truc_checkpoint_open(truc_bytes(hello->checkpoint.data, hello->checkpoint.len), &verifier, &seen);
    truc_note_verifier_close(&verifier);
    if (error)
        return error == TRUC_E_NOMEM ? error : TRUC_E_BAD_PROOF;
    if (seen.size > hub->checkpoint_size)
        return TRUC_OK;
    return truc_consistency_path(hub_core_node, hub->core, seen.size, hub->checkpoint_size, path, count);
}

static truc_error fill_last(struct hub *hub, struct hub_session *session, Truc__V1__LastSeal *last,
                            struct hub_chain_head *head, struct truc_buffer *leaf, struct truc_hash *path,
                            ProtobufCBinaryData *views)
{
    size_t count;
    truc_error error = hub_core_last_seal(hub->core, session->agency, head);

    if (error || head->number == 0)
        return error;
    if ((error = hub_core_leaf(hub->core, head->leaf_index, leaf)) ||
        (error = truc_inclusion_path(hub_core_node, hub->core, head->leaf_index, hub->checkpoint_size, path, &count)))
        return error;
    last->chain = (ProtobufCBinaryData){sizeof head->chain, head->chain};
    last->number = head->number;
    last->digest = (ProtobufCBinaryData){sizeof head->digest.bytes, head->digest.bytes};
    last->leaf = (ProtobufCBinaryData){leaf->size, leaf->data};
    last->leaf_index = head->leaf_index;
    for (size_t i = 0; i < count; i++)
        views[i] = (ProtobufCBinaryData){sizeof path[i].bytes, path[i].bytes};
    last->path = views;
    last->n_path = count;
    return TRUC_OK;
}

static void fill_limits(struct hub *hub, Truc__V1__Limits *limits)
{
    const struct hub_parameters *parameters = hub_core_parameters(hub->core);

    limits->event_bytes = parameters->event_bytes;
    limits->seal_events = parameters->seal_events;
    limits->seal_bytes = parameters->seal_bytes;
    limits->session_bytes = (uint64_t)hub->home.settings.session_bytes;
    limits->lease_ms = (uint32_t)hub->home.settings.lease_ms;
    limits->piece_bytes = TRUC_PIECE_MAX;
}

static truc_error welcome(struct hub *hub, struct hub_session *session, const Truc__V1__Hello *hello)
{
    Truc__V1__Welcome message = TRUC__V1__WELCOME__INIT;
    Truc__V1__Limits limits = TRUC__V1__LIMITS__INIT;
    Truc__V1__LastSeal last = TRUC__V1__LAST_SEAL__INIT;
    struct hub_chain_head head = {0};
    struct truc_buffer leaf = {0};
    struct truc_hash consistency[TRUC_PROOF_MAX], path[TRUC_PROOF_MAX];
    ProtobufCBinaryData consistency_views[TRUC_PROOF_MAX], path_views[TRUC_PROOF_MAX];
    size_t count;
    char name[32];
    truc_error error = prove_consistency(hub, hello, consistency, &count);

    if (!error)
        error = fill_last(hub, session, &last, &head, &leaf, path, path_views);
    if (error)
        goto out;
    fill_limits(hub, &limits);
    for (size_t i = 0; i < count; i++)
        consistency_views[i] = (ProtobufCBinaryData){sizeof consistency[i].bytes, consistency[i].bytes};
    snprintf(name, sizeof name, "%llu", (unsigned long long)session->id);
    message.protocol = TRUC_PROTOCOL_VERSION;
    message.origin = (char *)hub_core_origin(hub->core);
    message.limits = &limits;
    message.checkpoint = (ProtobufCBinaryData){hub->checkpoint.size, hub->checkpoint.data};
    message.consistency = consistency_views;
    message.n_consistency = count;
    message.last = head.number ? &last : NULL;
    message.now_us = hub_wall_us();
    message.session = name;
    hub_session_send(hub, session, TRUC_FRAME_WELCOME, 0, &message.base, NULL);
    hub_checkpoint_sent(hub, session);
out:
    truc_buffer_close(&leaf);
    return error;
}

void hub_on_hello(struct hub *hub, struct hub_session *session, const Truc__V1__Hello *hello)
{
    const char *text;
    truc_reason reason = check(hub, session, hello, &text);

    if (reason) {
        hub->refused[reason]++;
        hub_session_end(hub, session, reason, text);
        return;
    }
    memcpy(session->instance, hello->instance.data, sizeof session->instance);
    copy_software(session, hello->software);
    truc_error error = welcome(hub, session, hello);
    if (error == TRUC_E_BAD_PROOF) {
        hub_session_end(hub, session, TRUC_MALFORMED, "the checkpoint in HELLO is not one of this log");
        return;
    }
    if (!error)
        error = hub_dispatch_open(hub->dispatch, session->id, session->agency);
    if (error) {
        hub_fatal(hub, "welcoming a client", error);
        return;
    }
    if (session->state == SESSION_GREETING)
        session->state = SESSION_OPEN;
    hub->counters[COUNT_SESSIONS]++;
    truc_log(TRUC_LOG_INFO, "session_open", "session=%llu agency=%s software=%s", (unsigned long long)session->id,
             session->agency_code, session->software);
}
