/* Sessions: what a peer may say when. A frame that breaks a rule costs the session and nothing else. */
#include "hub/hub.h"

#define BYE_LINGER_MS 200
#define AGENCY_SHARE 4                 /* one agency's share of all bytes in flight */
#define ADMINISTRATORS_ROOM (8u << 20) /* bytes in flight beyond the total */
#define BODY_MS 60000                  /* from a body's first piece to its last */
#define UNSENT_ANSWERS (8u << 20)
#define EVENT_BYTES 256 /* what an event counts at least */
#define GIVEN_UP_MAX 64 /* seals of a session that are refused already and wait for their turn to be told */

struct hub_session *hub_session_find(struct hub *hub, uint64_t id)
{
    struct hub_session *session;

    HASH_FIND(by_id, hub->sessions_by_id, &id, sizeof id, session);
    return session;
}

static struct hub_session *find_by_peer(struct hub *hub, uint32_t peer)
{
    struct hub_session *session;

    HASH_FIND(by_peer, hub->sessions_by_peer, &peer, sizeof peer, session);
    return session;
}

bool hub_may_connect(void *context, const uint8_t key[32])
{
    struct hub *hub = context;
    const struct hub_transport_key *transport = hub_core_transport(hub->core, key);

    return transport && transport->revoked_at_us == 0 && !hub->stopping;
}

static struct hub_session *session_new(struct hub *hub, uint32_t peer, const uint8_t key[32])
{
    struct hub_session *session = calloc(1, sizeof *session);

    if (!session)
        return NULL;
    session->id = ++hub->next_session;
    session->peer = peer;
    memcpy(session->key, key, sizeof session->key);
    session->last_heard_ms = uv_now(&hub->loop);
    session->since_us = hub_wall_us();
    session->last = &session->first;
    session->out_last = &session->out_first;
    HASH_ADD(by_id, hub->sessions_by_id, id, sizeof session->id, session);
    HASH_ADD(by_peer, hub->sessions_by_peer, peer, sizeof session->peer, session);
    return session;
}

void hub_session_send(struct hub *hub, struct hub_session *session, enum truc_frame_kind kind, unsigned flags,
                      const ProtobufCMessage *message, zmq_msg_t *body)
{
    struct truc_buffer part = {0};
    truc_error error =
        session->state == SESSION_CLOSING ? TRUC_E_CLOSED : truc_frame_encode(kind, flags, message, &part);

    if (error) {
        if (body)
            zmq_msg_close(body);
    } else {
        error = hub_socket_send(hub->socket, session->peer, truc_buffer_view(&part), body);
    }
    truc_buffer_close(&part);
    if (error && session->state != SESSION_CLOSING) {
        truc_log(TRUC_LOG_WARN, "session_cannot_take", "session=%llu agency=%s frame=%s error=\"%s\"",
                 (unsigned long long)session->id, session->agency_code, truc_frame_name(kind),
                 truc_error_string(error));
        session->state = SESSION_CLOSING;
        hub->counters[COUNT_DROPPED_SESSIONS]++;
        hub_socket_drop(hub->socket, session->peer, 0);
    }
}

void hub_session_end(struct hub *hub, struct hub_session *session, truc_reason reason, const char *text)
{
    Truc__V1__Bye bye = TRUC__V1__BYE__INIT;

    if (session->state == SESSION_CLOSING)
        return;
    bye.reason = (uint32_t)reason;
    bye.text = (char *)text;
    hub_session_send(hub, session, TRUC_FRAME_BYE, 0, &bye.base, NULL);
    truc_log(reason ? TRUC_LOG_WARN : TRUC_LOG_INFO, "session_end", "session=%llu agency=%s reason=%s text=\"%s\"",
             (unsigned long long)session->id, session->agency_code, reason ? truc_reason_name(reason) : "none", text);
    session->state = SESSION_CLOSING;
    if (reason)
        hub->counters[COUNT_DROPPED_SESSIONS]++;
    hub_socket_drop(hub->socket, session->peer, BYE_LINGER_MS);
}

static void bad_frame(struct hub *hub, struct hub_session *session, truc_reason reason, const char *text)
{
    hub->counters[COUNT_BAD_FRAMES]++;
    hub_session_end(hub, session, reason, text);
}

/* ---- submit ---------------------------------------------------------------------------------------------------------
 */

void hub_uncharge(struct hub *hub, struct hub_submission *submission)
{
    struct hub_session *session = hub_session_find(hub, submission->session);

    hub->in_flight -= submission->charged;
    if (submission->agency < hub->agency_capacity)
        hub->agency_in_flight[submission->agency] -= submission->charged;
    if (session)
        session->in_flight -= submission->charged;
    submission->charged = 0;
}

static bool make_agency_room(struct hub *hub, uint32_t agency)
{
    if (agency < hub->agency_capacity)
        return true;
    uint32_t capacity = (agency + 1) * 2;
    size_t *more = realloc(hub->agency_in_flight, capacity * sizeof *more);
    if (!more)
        return false;
    memset(more + hub->agency_capacity, 0, (capacity - hub->agency_capacity) * sizeof *more);
    hub->agency_in_flight = more;
    hub->agency_capacity = capacity;
    return true;
}

/* Bytes are charged as they come, so that a body that never ends stops at its limit. false: nothing was charged. */
static bool charge(struct hub *hub, struct hub_session *session, struct hub_submission *submission, size_t bytes)
{
    size_t total = (size_t)hub->home.settings.total_bytes, session_most = (size_t)hub->home.settings.session_bytes;
    size_t agency_most = total / AGENCY_SHARE > session_most ? total / AGENCY_SHARE : session_most;

    if (!make_agency_room(hub, submission->agency))
        return false;
    /* Administrators find room when everybody else has taken theirs. */
    if (session->in_flight + bytes > session_most || hub->agency_in_flight[submission->agency] + bytes > agency_most ||
        hub->in_flight + bytes > total + (submission->administrator ? ADMINISTRATORS_ROOM : 0))
        return false;
    session->in_flight += bytes;
    hub->in_flight += bytes;
    hub->agency_in_flight[submission->agency] += bytes;
    submission->charged += bytes;
    return true;
}

/* What is refused already is not kept and takes nobody's room: only the answer, which waits for its turn. */
static void give_up(struct hub *hub, struct hub_session *session, struct hub_submission *submission, truc_reason reason,
                    const char *why)
{
    submission->reason = reason;
    submission->why = why;
    submission->given_up = true;
    session->given_up++;
    hub_submission_drop(submission);
    hub_uncharge(hub, submission);
}

/* A verified event takes memory of its own: many tiny ones more than their bytes. */
void hub_charge_events(struct hub *hub, struct hub_session *session, struct hub_submission *submission)
{
    size_t least = (size_t)submission->parsed.seal.count * EVENT_BYTES;

    if (least > submission->charged && !charge(hub, session, submission, least - submission->charged))
        give_up(hub, session, submission, TRUC_OVERLOADED, "too many events submitted and not yet answered");
}

static void queue(struct hub_session *session, struct hub_submission *submission)
{
    *session->last = submission;
    session->last = &submission->next;
}

static void submission_complete(struct hub *hub, struct hub_session *session, struct hub_submission *submission)
{
    session->receiving = NULL;
    if (submission->joined.size > 0)
        submission->body = truc_buffer_view(&submission->joined);
    else
        submission->body = truc_bytes(zmq_msg_data(&submission->piece), zmq_msg_size(&submission->piece));
    queue(session, submission);
    session->submitted++;
    submission->owners++;     /* verification's */
    if (submission->reason) { /* over a limit already: answered in its turn, named but not verified */
        submission->parses =
            truc_envelope_parse(truc_buffer_view(&submission->envelope), &submission->parsed) == TRUC_OK;
        truc_buffer_close(&submission->envelope);
        hub_submission_verified(submission);
        return;
    }
    submission->keys = hub_keyring_ref(hub->keys);
    hub_verify_start(session, submission);
}

/* Room for a body in pieces: 1,024 events of a kilobyte fit without a move. Untouched, it is addresses and no memory.
 */
#define JOINED_ROOM (3u << 19)

static void keep_piece(struct hub *hub, struct hub_session *session, struct hub_submission *submission, zmq_msg_t *part,
                       bool more)
{
    size_t size = zmq_msg_size(part);

    if (submission->received > TRUC_BODY_MAX)
        give_up(hub, session, submission, TRUC_TOO_LARGE, "a seal's events are at most 4 MiB together: split it");
    else if (!charge(hub, session, submission, size))
        give_up(hub, session, submission, TRUC_OVERLOADED, "too many bytes submitted and not yet answered");
    else if (!more && submission->joined.size == 0)
        zmq_msg_move(&submission->piece, part);
    else if ((submission->joined.size == 0 && truc_buffer_reserve(&submission->joined, JOINED_ROOM) != TRUC_OK) ||
             truc_buffer_append(&submission->joined, zmq_msg_data(part), size) != TRUC_OK)
        give_up(hub, session, submission, TRUC_OVERLOADED, "the hub is out of memory");
}

static void add_piece(struct hub *hub, struct hub_session *session, struct hub_submission *submission, zmq_msg_t *part,
                      bool more)
{
    if (more && zmq_msg_size(part) == 0) {
        bad_frame(hub, session, TRUC_MALFORMED, "an empty piece that is not the last");
        return;
    }
    submission->received += zmq_msg_size(part);
    if (submission->received > 2 * TRUC_BODY_MAX) { /* swallowed so far; no end in sight */
        bad_frame(hub, session, TRUC_TOO_LARGE, "a body is longer than 8 MiB: split the seal");
        return;
    }
    if (!submission->reason)
        keep_piece(hub, session, submission, part, more);
    if (!more)
        submission_complete(hub, session, submission);
}

static void on_submit(struct hub *hub, struct hub_session *session, const Truc__V1__Submit *submit, zmq_msg_t *body,
                      bool more)
{
    if (submit->envelope.len == 0 || submit->envelope.len > TRUC_ENVELOPE_MAX) {
        bad_frame(hub, session, TRUC_MALFORMED, "a SUBMIT without an envelope, or with one over 4096 bytes");
        return;
    }
    if (session->given_up >= GIVEN_UP_MAX) {
        hub_session_end(hub, session, TRUC_OVERLOADED,
                        "more than 64 seals beyond the bytes in flight: wait for answers");
        return;
    }
    struct hub_submission *submission = calloc(1, sizeof *submission);
    if (!submission) {
        hub_session_end(hub, session, TRUC_OVERLOADED, "the hub is out of memory");
        return;
    }
    submission->owners = 1;
    submission->hub = hub;
    submission->session = session->id;
    submission->agency = session->agency;
    const struct hub_agency *agency = hub_core_agency_by_number(hub->core, session->agency);
    submission->administrator = agency && agency->role == HUB_ROLE_ADMINISTRATOR;
    memcpy(submission->agency_code, session->agency_code, sizeof submission->agency_code);
    zmq_msg_init(&submission->piece);
    session->receiving = submission;
    session->receiving_since_ms = uv_now(&hub->loop);
    if (truc_buffer_append(&submission->envelope, submit->envelope.data, submit->envelope.len) != TRUC_OK)
        give_up(hub, session, submission, TRUC_OVERLOADED, "the hub is out of memory");
    else if (!charge(hub, session, submission, sizeof *submission + submit->envelope.len))
        give_up(hub, session, submission, TRUC_OVERLOADED, "too many bytes submitted and not yet answered");
    add_piece(hub, session, submission, body, more);
}

/* ---- frames
 * ---------------------------------------------------------------------------------------------------------- */

static void on_ping(struct hub *hub, struct hub_session *session, const Truc__V1__Ping *ping)
{
    Truc__V1__Pong pong = TRUC__V1__PONG__INIT;

    pong.token = ping->token;
    pong.now_us = hub_wall_us();
    hub_session_send(hub, session, TRUC_FRAME_PONG, 0, &pong.base, NULL);
}

/* Whoever asks without taking the answers is told to wait. Deliveries do not count: they have their credit. */
bool hub_session_is_slow(struct hub *hub, struct hub_session *session)
{
    uint64_t sent = hub_socket_sent(hub->socket, session->peer);

    if (session->answer_bytes > UNSENT_ANSWERS &&
        sent - hub_socket_unsent(hub->socket, session->peer) >= session->answer_mark)
        session->answer_bytes = 0;
    return session->answer_bytes > UNSENT_ANSWERS;
}

void hub_session_answered(struct hub *hub, struct hub_session *session, size_t bytes)
{
    session->answer_bytes += bytes;
    session->answer_mark = hub_socket_sent(hub->socket, session->peer);
}

static void dispatch_open(struct hub *hub, struct hub_session *session, const struct truc_frame_head *head,
                          const ProtobufCMessage *message, zmq_msg_t *body)
{
    bool more = head->flags & TRUC_FRAME_MORE;

    switch ((enum truc_frame_kind)head->kind) {
    case TRUC_FRAME_SUBMIT:
        on_submit(hub, session, (const Truc__V1__Submit *)message, body, more);
        return;
    case TRUC_FRAME_CREDIT: {
        const Truc__V1__Credit *credit = (const Truc__V1__Credit *)message;
        hub_dispatch_credit(hub->dispatch, session->id, credit->events, credit->bytes);
        return;
    }
    case TRUC_FRAME_ACK:
        hub_on_ack(hub, session, (const Truc__V1__Ack *)message);
        return;
    case TRUC_FRAME_NACK:
        hub_on_nack(hub, session, (const Truc__V1__Nack *)message);
        return;
    case TRUC_FRAME_SUBSCRIBE:
        hub_on_subscribe(hub, session, (const Truc__V1__Subscribe *)message);
        return;
    case TRUC_FRAME_GET_PROOF:
        hub_on_get_proof(hub, session, (const Truc__V1__GetProof *)message);
        return;
    case TRUC_FRAME_QUERY:
        hub_on_query(hub, session, (const Truc__V1__Query *)message);
        return;
    case TRUC_FRAME_PING:
        on_ping(hub, session, (const Truc__V1__Ping *)message);
        return;
    case TRUC_FRAME_BYE:
        hub_session_end(hub, session, TRUC_ACCEPTED, "as the client asked");
        return;
    case TRUC_FRAME_HELLO:
    case TRUC_FRAME_DATA:
    case TRUC_FRAME_WELCOME:
    case TRUC_FRAME_RECEIPTS:
    case TRUC_FRAME_REFUSED:
    case TRUC_FRAME_DELIVER:
    case TRUC_FRAME_SETTLED:
    case TRUC_FRAME_PROOF:
    case TRUC_FRAME_ANSWER:
    case TRUC_FRAME_PONG:
        bad_frame(hub, session, TRUC_MALFORMED, "a frame that is not allowed here");
        return;
    }
    bad_frame(hub, session, TRUC_MALFORMED, "an unknown kind of frame");
}

static void on_first(struct hub *hub, struct hub_session *session, const struct truc_frame_head *head,
                     const ProtobufCMessage *message)
{
    if (head->kind == TRUC_FRAME_HELLO)
        hub_on_hello(hub, session, (const Truc__V1__Hello *)message);
    else
        bad_frame(hub, session, TRUC_MALFORMED, "the first frame must be HELLO");
}

static void on_frame(struct hub *hub, struct hub_session *session, zmq_msg_t *parts, size_t count)
{
    struct truc_frame_head head;
    ProtobufCMessage *message = NULL;
    struct truc_bytes part = truc_bytes(zmq_msg_data(&parts[0]), zmq_msg_size(&parts[0]));

    if (part.size > TRUC_HEADER_MAX || truc_frame_parse(part, &head) != TRUC_OK) {
        bad_frame(hub, session, TRUC_MALFORMED, "part 1 is no frame of this protocol");
        return;
    }
    if (count != (truc_frame_has_body(head.kind) ? 2u : 1u) ||
        (count == 2 && zmq_msg_size(&parts[1]) > TRUC_PIECE_MAX)) {
        bad_frame(hub, session, TRUC_MALFORMED, "wrong number or size of parts");
        return;
    }
    if ((head.flags & TRUC_FRAME_MORE) && head.kind != TRUC_FRAME_SUBMIT && head.kind != TRUC_FRAME_DATA) {
        bad_frame(hub, session, TRUC_MALFORMED, "MORE on a frame without a body");
        return;
    }
    if ((head.kind == TRUC_FRAME_DATA) != (session->receiving != NULL)) {
        bad_frame(hub, session, TRUC_MALFORMED, "a body was not finished, or DATA without a body before it");
        return;
    }
    if (head.kind == TRUC_FRAME_DATA) {
        add_piece(hub, session, session->receiving, &parts[1], head.flags & TRUC_FRAME_MORE);
        return;
    }
    truc_arena_reset(hub->arena);
    if (truc_unpack(hub->arena, truc_frame_descriptor(head.kind), head.message, &message) != TRUC_OK)
        bad_frame(hub, session, TRUC_MALFORMED, "the frame's message does not parse");
    else if (session->state == SESSION_GREETING)
        on_first(hub, session, &head, message);
    else
        dispatch_open(hub, session, &head, message, count == 2 ? &parts[1] : NULL);
}

void hub_on_message(void *context, uint32_t peer, const uint8_t key[32], zmq_msg_t *parts, size_t count)
{
    struct hub *hub = context;
    struct hub_session *session = find_by_peer(hub, peer);

    if (!session) {
        session = session_new(hub, peer, key);
        if (!session) {
            hub_socket_drop(hub->socket, peer, 0);
            return;
        }
    }
    if (session->state == SESSION_CLOSING)
        return;
    session->last_heard_ms = uv_now(&hub->loop);
    if (count > HUB_SOCKET_PARTS_MAX)
        bad_frame(hub, session, TRUC_MALFORMED, "more than two parts");
    else
        on_frame(hub, session, parts, count);
}

/* ---- the end
 * ----------------------------------------------------------------------------------------------------------- */

static void forget(struct hub *hub, struct hub_session *session)
{
    struct hub_submission *submission, *next;

    hub_verify_forget(hub, session);
    for (submission = session->first; submission; submission = next) {
        next = submission->next;
        hub_uncharge(hub, submission);
        submission->session = 0;
        submission->next = NULL;
        hub_submission_release(submission);
    }
    if (session->receiving) {
        hub_uncharge(hub, session->receiving);
        hub_submission_release(session->receiving);
    }
    hub_outflow_forget(session);
    HASH_DELETE(by_id, hub->sessions_by_id, session);
    HASH_DELETE(by_peer, hub->sessions_by_peer, session);
    free(session);
}

void hub_on_gone(void *context, uint32_t peer)
{
    struct hub *hub = context;
    struct hub_session *session = find_by_peer(hub, peer);
    struct hub_ranges released = {0};

    if (!session)
        return;
    truc_log(TRUC_LOG_INFO, "session_gone", "session=%llu agency=%s submitted=%llu delivered=%llu acked=%llu",
             (unsigned long long)session->id, session->agency_code, (unsigned long long)session->submitted,
             (unsigned long long)session->delivered, (unsigned long long)session->acked);
    if (session->agency) {
        truc_error error = hub_dispatch_close(hub->dispatch, session->id, &released);
        if (error)
            hub_fatal(hub, "closing a session", error);
        else if (released.count > 0)
            hub_propose(hub, session->agency, HUB_INPUT_RELEASE, &released);
        hub_ranges_close(&released);
    }
    forget(hub, session);
}

void hub_on_flood(void *context, uint32_t peer, uint64_t bytes)
{
    struct hub *hub = context;
    struct hub_session *session = find_by_peer(hub, peer);

    hub->counters[COUNT_FLOODS]++;
    truc_log(TRUC_LOG_WARN, "flood",
             "session=%llu agency=%s bytes=%llu what=\"sends without end, or does not take what it is sent: connection "
             "taken\"",
             session ? (unsigned long long)session->id : 0ull, session ? session->agency_code : "",
             (unsigned long long)bytes);
}

/* Keys are checked at the handshake only by libzmq: every change of the registry looks at all sessions again. */
void hub_sessions_check(struct hub *hub)
{
    struct hub_session *session, *next;
    uint64_t now = uv_now(&hub->loop);

    HASH_ITER(by_id, hub->sessions_by_id, session, next)
    {
        const struct hub_transport_key *key = hub_core_transport(hub->core, session->key);
        const struct hub_agency *agency =
            session->agency ? hub_core_agency_by_number(hub->core, session->agency) : NULL;
        if (session->state == SESSION_CLOSING)
            continue;
        if (!key || key->revoked_at_us != 0)
            hub_session_end(hub, session, TRUC_KEY_REVOKED, "this connection's transport key was revoked");
        else if (agency && agency->suspended)
            hub_session_end(hub, session, TRUC_SUSPENDED, "the agency was suspended: ask the administrator");
        else if (session->receiving && now - session->receiving_since_ms > BODY_MS)
            hub_session_end(hub, session, TRUC_MALFORMED, "a body was not finished within a minute");
        else if (now - session->last_heard_ms > (uint64_t)hub->home.settings.silence_ms)
            hub_session_end(hub, session, TRUC_OVERLOADED, "nothing was heard for too long");
    }
}

void hub_sessions_bye(struct hub *hub)
{
    struct hub_session *session, *next;

    HASH_ITER(by_id, hub->sessions_by_id, session, next)
    hub_session_end(hub, session, TRUC_ACCEPTED, "the hub stops: connect again later");
}

void hub_sessions_free(struct hub *hub)
{
    struct hub_session *session, *next;

    HASH_ITER(by_id, hub->sessions_by_id, session, next)
    forget(hub, session);
}
