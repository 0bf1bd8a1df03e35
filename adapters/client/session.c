/* The life of the link: which connection is wanted, what goes in and out of it, pings, the end. */
#include "adapters/client/session_internal.h"

truc_error session_push(struct client_session *s, enum truc_frame_kind kind, const ProtobufCMessage *message,
                        struct client_body *body)
{
    s->said_us = s->now_us;
    return client_outbox_push(&s->outbox, kind, message, body);
}

truc_error session_hashes(const ProtobufCBinaryData *items, size_t count, size_t limit, struct truc_hash *out)
{
    if (count > limit) {
        return TRUC_E_MALFORMED;
    }
    for (size_t i = 0; i < count; i++) {
        if (items[i].len != TRUC_HASH_SIZE) {
            return TRUC_E_MALFORMED;
        }
        memcpy(out[i].bytes, items[i].data, TRUC_HASH_SIZE);
    }
    return TRUC_OK;
}

truc_error session_meta_put(struct client_session *s, enum store_meta key, struct truc_bytes value)
{
    return s->store.put(s->store.context, STORE_META, (uint64_t)key, value, truc_bytes(NULL, 0));
}

truc_error session_meta_put_u64(struct client_session *s, enum store_meta key, uint64_t value)
{
    uint8_t bytes[8];
    store_put_u64(bytes, value);
    return session_meta_put(s, key, truc_bytes(bytes, sizeof bytes));
}

/* The one place where the state changes. */
static void enter(struct client_session *s, enum truc_client_state state, truc_error error, const char *text)
{
    s->state = state;
    if (s->callbacks.on_state != NULL) {
        s->callbacks.on_state(s->callbacks.context, state, error, text);
    }
}

/* What belongs to one connection goes with it. */
static void forget_link(struct client_session *s)
{
    s->assembling = false;
    truc_buffer_clear(&s->assembled_head);
    truc_buffer_clear(&s->assembled_body);
    session_drop_held(s);
    session_void_leases(s);
    session_unsend(s);
    session_unask(s);
    s->holding = false;
    s->credit_events = 0;
    s->credit_bytes = 0;
    s->ack_count = 0;
    s->pings = 0;
    client_outbox_clear(&s->later);
    client_outbox_clear(&s->outbox); /* last: callbacks above may have answered what is no longer theirs */
}

/* Half of it is chance, so that a thousand adapters do not come back in the same millisecond. */
static truc_error next_backoff(struct client_session *s, bool slow, int64_t *out)
{
    uint32_t dice;
    truc_error error = s->random(&dice, sizeof dice);
    if (error != TRUC_OK) {
        return error;
    }
    int64_t base = slow ? BACKOFF_SLOW : s->backoff_us;
    *out = base / 2 + (int64_t)(dice % 1024) * (base / 2) / 1024;
    if (!slow) {
        s->backoff_us = s->backoff_us * 2 < BACKOFF_MAX ? s->backoff_us * 2 : BACKOFF_MAX;
    }
    return TRUC_OK;
}

truc_error session_drop_link(struct client_session *s, truc_error why, const char *text, bool slow)
{
    int64_t wait;
    if (s->state != TRUC_CLIENT_CONNECTING && s->state != TRUC_CLIENT_OPEN) {
        return TRUC_OK;
    }
    truc_error error = next_backoff(s, slow, &wait);
    if (error != TRUC_OK) {
        return error;
    }
    char quoted[200];
    truc_log(TRUC_LOG_WARN, "link_lost", "agency=%s endpoint=%zu why=%s retry_ms=%lld", s->agency, s->endpoint,
             truc_log_quote(truc_bytes_of(text), quoted, sizeof quoted), (long long)(wait / 1000));
    s->retry_at_us = s->now_us + wait;
    s->endpoint = (s->endpoint + 1) % s->endpoint_count;
    forget_link(s);
    enter(s, TRUC_CLIENT_WAITING, why, text);
    return TRUC_OK;
}

truc_error session_stop(struct client_session *s, truc_error why, const char *text)
{
    char quoted[200];
    truc_log(TRUC_LOG_ERROR, "client_stopped", "agency=%s why=%s", s->agency,
             truc_log_quote(truc_bytes_of(text), quoted, sizeof quoted));
    s->error = why;
    forget_link(s);
    enter(s, TRUC_CLIENT_STOPPED, why, text);
    return TRUC_OK;
}

/* From the empty tree there is nothing to check: every tree continues it, and its proof has no hashes. */
static truc_error check_growth(const struct client_session *s, const struct truc_checkpoint *now,
                               const ProtobufCBinaryData *consistency, size_t count)
{
    struct truc_hash path[TRUC_PROOF_MAX];
    truc_error error = session_hashes(consistency, count, TRUC_PROOF_MAX, path);
    if (error == TRUC_OK && s->checkpoint.size == 0) {
        error = count == 0 ? TRUC_OK : TRUC_E_BAD_PROOF;
    } else if (error == TRUC_OK) {
        error = truc_consistency_verify(s->checkpoint.size, now->size, path, count, &s->checkpoint.root, &now->root);
    }
    if (error != TRUC_OK) {
        truc_log(TRUC_LOG_ERROR, "log_forked", "agency=%s known_size=%llu hub_size=%llu", s->agency,
                 (unsigned long long)s->checkpoint.size, (unsigned long long)now->size);
        return TRUC_E_FORKED;
    }
    return TRUC_OK;
}

truc_error session_take_checkpoint(struct client_session *s, ProtobufCBinaryData note,
                                   const ProtobufCBinaryData *consistency, size_t count, struct truc_checkpoint *out)
{
    truc_error error = TRUC_OK;
    if (s->note.size > 0 && truc_bytes_equal(session_view(note), truc_buffer_view(&s->note))) {
        *out = s->checkpoint; /* the same note again: its signature was verified */
    } else {
        error = truc_checkpoint_open(session_view(note), &s->note_key, out);
    }
    if (error == TRUC_OK) {
        error = check_growth(s, out, consistency, count);
    }
    if (error != TRUC_OK || out->size == s->checkpoint.size) {
        return error;
    }
    s->checkpoint = *out;
    truc_buffer_clear(&s->note);
    error = truc_buffer_append(&s->note, note.data, note.len);
    return error == TRUC_OK ? session_meta_put(s, META_CHECKPOINT, session_view(note)) : error;
}

void client_session_clock(struct client_session *s, int64_t now_us, int64_t wall_us)
{
    s->now_us = now_us;
    s->wall_us = wall_us;
}

uint64_t client_session_link(const struct client_session *s)
{
    return s->state == TRUC_CLIENT_CONNECTING || s->state == TRUC_CLIENT_OPEN ? s->link : 0;
}

size_t client_session_endpoint(const struct client_session *s)
{
    return s->endpoint;
}

truc_error client_session_link_lost(struct client_session *s, bool refused, const char *why)
{
    return session_drop_link(s, refused ? TRUC_E_REFUSED : TRUC_E_CLOSED, why, refused);
}

static truc_error connect_now(struct client_session *s)
{
    s->link++;
    s->heard_us = s->now_us;
    s->said_us = s->now_us;
    s->greeted_us = s->now_us;
    enter(s, TRUC_CLIENT_CONNECTING, TRUC_OK, "connecting");
    return session_say_hello(s);
}

static truc_error ping(struct client_session *s)
{
    Truc__V1__Ping message = TRUC__V1__PING__INIT;
    message.token = ++s->ping_token;
    s->pinged_us = s->now_us;
    return session_push(s, TRUC_FRAME_PING, &message.base, NULL);
}

static truc_error watch_silence(struct client_session *s)
{
    if (s->state == TRUC_CLIENT_CONNECTING) {
        bool over = s->now_us - s->greeted_us >= WELCOME_WAIT;
        return over ? session_drop_link(s, TRUC_E_TIMEOUT, "no WELCOME from the hub", false) : TRUC_OK;
    }
    int64_t since = s->pings > 0 ? s->pinged_us : s->heard_us;
    if (s->now_us - since >= SILENCE) {
        if (s->pings == PINGS_MAX) {
            return session_drop_link(s, TRUC_E_TIMEOUT, "the hub does not answer pings", false);
        }
        s->pings++;
        return ping(s);
    }
    return s->now_us - s->said_us >= SPEECHLESS ? ping(s) : TRUC_OK;
}

truc_error client_session_work(struct client_session *s)
{
    truc_error error = TRUC_OK;
    s->due = false;
    session_tell_obstacle(s);
    switch (s->state) {
    case TRUC_CLIENT_IDLE:
        error = connect_now(s);
        break;
    case TRUC_CLIENT_WAITING:
        error = s->now_us >= s->retry_at_us ? connect_now(s) : TRUC_OK;
        break;
    case TRUC_CLIENT_CONNECTING:
    case TRUC_CLIENT_OPEN:
        error = watch_silence(s);
        break;
    case TRUC_CLIENT_STOPPED:
        return TRUC_OK;
    }
    if (error == TRUC_OK) {
        error = session_pay(s);
    }
    if (error != TRUC_OK || s->state != TRUC_CLIENT_OPEN) {
        return error;
    }
    if (s->holding && s->now_us >= s->resend_at_us) {
        s->holding = false;
    }
    error = session_seal(s);
    if (error == TRUC_OK) {
        error = session_answer(s);
    }
    return error == TRUC_OK ? session_ask_all(s) : error;
}

static void sooner(int64_t *deadline, int64_t at)
{
    *deadline = at < *deadline ? at : *deadline;
}

int64_t client_session_deadline(const struct client_session *s)
{
    int64_t deadline = INT64_MAX;
    if (s->state == TRUC_CLIENT_IDLE || (s->due && s->state != TRUC_CLIENT_STOPPED)) {
        return s->now_us;
    }
    if (s->state == TRUC_CLIENT_STOPPED) {
        return INT64_MAX;
    }
    if (s->owed_count > 0) {
        sooner(&deadline, s->owed_at_us);
    }
    if (s->state == TRUC_CLIENT_WAITING) {
        sooner(&deadline, s->retry_at_us);
    } else if (s->state == TRUC_CLIENT_CONNECTING) {
        sooner(&deadline, s->greeted_us + WELCOME_WAIT);
    } else {
        sooner(&deadline, (s->pings > 0 ? s->pinged_us : s->heard_us) + SILENCE);
        sooner(&deadline, s->said_us + SPEECHLESS);
        if (s->holding) {
            sooner(&deadline, s->resend_at_us);
        }
        sooner(&deadline, s->credit_at_us);
    }
    return deadline;
}

struct client_outbox *client_session_outbox(struct client_session *s)
{
    return &s->outbox;
}

bool client_session_take_urgent(struct client_session *s)
{
    bool urgent = s->urgent;
    s->urgent = false;
    return urgent;
}

truc_error client_session_bye(struct client_session *s)
{
    if (s->state != TRUC_CLIENT_OPEN) {
        return TRUC_OK;
    }
    Truc__V1__Bye message = TRUC__V1__BYE__INIT;
    truc_error error = session_answer_durable(s);
    if (error != TRUC_OK) {
        return error;
    }
    return session_push(s, TRUC_FRAME_BYE, &message.base, NULL);
}

enum truc_client_state client_session_state(const struct client_session *s)
{
    return s->state;
}

truc_error client_session_error(const struct client_session *s)
{
    return s->error;
}

void client_session_checkpoint(const struct client_session *s, struct truc_checkpoint *out)
{
    *out = s->checkpoint;
}

/* ---- messages ---- */

static truc_error handle_unpacked(struct client_session *s, unsigned kind, const ProtobufCMessage *message,
                                  struct truc_bytes body)
{
    switch (kind) {
    case TRUC_FRAME_RECEIPTS:
        return session_on_receipts(s, (const Truc__V1__Receipts *)message);
    case TRUC_FRAME_REFUSED:
        return session_on_refused(s, (const Truc__V1__Refused *)message);
    case TRUC_FRAME_SETTLED:
        return session_on_settled(s, (const Truc__V1__Settled *)message);
    case TRUC_FRAME_PROOF:
        return session_on_proof(s, (const Truc__V1__Proof *)message);
    case TRUC_FRAME_ANSWER:
        return session_on_answer(s, (const Truc__V1__Answer *)message, body);
    case TRUC_FRAME_PONG:
        return TRUC_OK; /* hearing it was all that was wanted */
    default:            /* a number from the wire: kinds that only a client sends */
        return session_drop_link(s, TRUC_E_MALFORMED, "the hub sent a frame that is not a hub's", false);
    }
}

static truc_error handle_frame(struct client_session *s, const struct truc_frame_head *head, struct truc_bytes body)
{
    bool greeting = head->kind == TRUC_FRAME_WELCOME || head->kind == TRUC_FRAME_BYE;
    if (s->state == TRUC_CLIENT_CONNECTING && !greeting) {
        return session_drop_link(s, TRUC_E_MALFORMED, "the hub spoke before WELCOME", false);
    }
    if (head->kind == TRUC_FRAME_DELIVER) {
        return session_on_deliver(s, head->message, body);
    }
    ProtobufCMessage *message;
    truc_arena_reset(s->arena);
    truc_error error = truc_unpack(s->arena, truc_frame_descriptor(head->kind), head->message, &message);
    if (error == TRUC_E_NOMEM) {
        return error;
    }
    if (error != TRUC_OK) {
        return session_drop_link(s, error, "a frame of the hub does not parse", false);
    }
    if (head->kind == TRUC_FRAME_BYE) {
        return session_on_bye(s, (const Truc__V1__Bye *)message);
    }
    if (head->kind == TRUC_FRAME_WELCOME) {
        if (s->state != TRUC_CLIENT_CONNECTING) {
            return session_drop_link(s, TRUC_E_MALFORMED, "a second WELCOME", false);
        }
        error = session_on_welcome(s, (const Truc__V1__Welcome *)message);
        if (error == TRUC_OK && s->state == TRUC_CLIENT_CONNECTING) {
            enter(s, TRUC_CLIENT_OPEN, TRUC_OK, "open");
        }
        return error;
    }
    return handle_unpacked(s, head->kind, message, body);
}

/* Pieces gather until one comes without MORE. */
static truc_error assemble(struct client_session *s, struct truc_bytes part, const struct truc_frame_head *head,
                           struct truc_bytes piece)
{
    truc_error error = TRUC_OK;
    if (!s->assembling) {
        truc_buffer_clear(&s->assembled_head);
        truc_buffer_clear(&s->assembled_body);
        error = truc_buffer_append(&s->assembled_head, part.data, part.size);
        s->assembling = true;
    }
    if (error == TRUC_OK && s->assembled_body.size + piece.size > ASSEMBLED_MAX) {
        return session_drop_link(s, TRUC_E_TOO_LARGE, "a body of the hub is too large", false);
    }
    if (error == TRUC_OK) {
        error = truc_buffer_append(&s->assembled_body, piece.data, piece.size);
    }
    if (error != TRUC_OK || (head->flags & TRUC_FRAME_MORE) != 0) {
        return error;
    }
    s->assembling = false;
    struct truc_frame_head whole;
    error = truc_frame_parse(truc_buffer_view(&s->assembled_head), &whole);
    return error == TRUC_OK ? handle_frame(s, &whole, truc_buffer_view(&s->assembled_body)) : error;
}

truc_error client_session_message(struct client_session *s, const struct truc_bytes *parts, size_t count)
{
    struct truc_frame_head head;
    if (s->state != TRUC_CLIENT_CONNECTING && s->state != TRUC_CLIENT_OPEN) {
        return TRUC_OK; /* left over from a link that is gone */
    }
    s->heard_us = s->now_us;
    s->pings = 0;
    if (count == 0 || truc_frame_parse(parts[0], &head) != TRUC_OK) {
        return session_drop_link(s, TRUC_E_MALFORMED, "a frame of the hub does not parse", false);
    }
    bool has_body = truc_frame_has_body(head.kind);
    if (count != (has_body ? 2u : 1u) || (has_body && parts[1].size > TRUC_PIECE_MAX)) {
        return session_drop_link(s, TRUC_E_MALFORMED, "a frame of the hub has wrong parts", false);
    }
    struct truc_bytes body = has_body ? parts[1] : truc_bytes(NULL, 0);
    if (s->assembling != (head.kind == TRUC_FRAME_DATA)) {
        return session_drop_link(s, TRUC_E_MALFORMED, "pieces of the hub are out of order", false);
    }
    if (s->assembling || (head.flags & TRUC_FRAME_MORE) != 0) {
        return assemble(s, parts[0], &head, body);
    }
    return handle_frame(s, &head, body);
}
