/* What the hub says to a seal: RECEIPTS and REFUSED. */
#include "adapters/client/session_internal.h"

#define HOLD_LEAST_MS 20u
#define HOLD_DEFAULT_MS 200u
#define HOLD_MOST_MS 60000u
#define GAPS_MAX 3

static bool find_flight(const struct client_session *s, ProtobufCBinaryData digest, uint32_t *index)
{
    for (uint32_t i = 0; digest.len == TRUC_HASH_SIZE && i < s->flight_count; i++) {
        if (memcmp(s->flights[i]->digest.bytes, digest.data, TRUC_HASH_SIZE) == 0) {
            *index = i;
            return true;
        }
    }
    return false;
}

/* The flight leaves the list; it stays allocated, behind those in use. */
static struct flight *take_out(struct client_session *s, uint32_t index)
{
    struct flight *flight = s->flights[index];
    s->flight_count--;
    memmove(&s->flights[index], &s->flights[index + 1], (s->flight_count - index) * sizeof(struct flight *));
    s->flights[s->flight_count] = flight;
    return flight;
}

static truc_error drop_rows(struct client_session *s, const struct flight *flight)
{
    for (uint32_t i = 0; i < flight->count;) {
        uint32_t last = i;
        while (last + 1 < flight->count && flight->tickets[last + 1] == flight->tickets[last] + 1) {
            last++;
        }
        truc_error error = s->store.drop(s->store.context, STORE_EVENTS, flight->tickets[i], flight->tickets[last]);
        if (error != TRUC_OK) {
            return error;
        }
        i = last + 1;
    }
    s->pending -= flight->count;
    return TRUC_OK;
}

static void tell(struct client_session *s, const struct flight *flight, uint32_t i, struct truc_receipt *receipt,
                 struct truc_bytes event)
{
    receipt->ticket = flight->tickets[i];
    receipt->event = event;
    receipt->text = receipt->reason == TRUC_ACCEPTED ? "" : truc_reason_advice(receipt->reason);
    if (flight->whose[i] != STORE_EVENT_OURS) {
        if (receipt->reason != TRUC_ACCEPTED) {
            truc_log(TRUC_LOG_WARN, "own_event_refused", "agency=%s reason=%s", s->agency,
                     truc_reason_name(receipt->reason));
        }
        return;
    }
    if (s->callbacks.on_receipt != NULL) {
        s->callbacks.on_receipt(s->callbacks.context, receipt);
    }
}

/* The callbacks come before the rows go: a crash in between tells the application twice, never not at all. */
static truc_error settle_flight(struct client_session *s, uint32_t index, const struct truc_leaf *leaf,
                                uint64_t leaf_index, unsigned reason)
{
    struct flight *flight = take_out(s, index);
    size_t at = 0;
    truc_error error = TRUC_OK;
    session_unobstructed(s);
    for (uint32_t i = 0; i < flight->count; i++) {
        struct truc_bytes event;
        error = truc_body_next(truc_buffer_view(&flight->body->bytes), &at, &event);
        if (error != TRUC_OK) {
            return error;
        }
        struct truc_receipt receipt = {.reason = (truc_reason)reason};
        if (leaf != NULL) {
            const struct truc_outcome *outcome = &leaf->outcomes[i];
            receipt.logged = true;
            receipt.duplicate = outcome->code == TRUC_OUTCOME_DUPLICATE;
            receipt.reason = receipt.duplicate ? TRUC_ACCEPTED : (truc_reason)outcome->code;
            receipt.sequence = receipt.duplicate ? outcome->duplicate_of : leaf->first_sequence + i;
            receipt.accepted_at_us = leaf->accepted_at_us;
            receipt.leaf_index = leaf_index;
        }
        tell(s, flight, i, &receipt, event);
    }
    return drop_rows(s, flight);
}

/* Only a receipt that holds in every part counts. */
static truc_error verify_receipt(struct client_session *s, const Truc__V1__Receipt *receipt,
                                 const struct truc_checkpoint *checkpoint, const struct flight *flight)
{
    struct truc_hash path[TRUC_PROOF_MAX], leaf;
    truc_error error = session_hashes(receipt->path, receipt->n_path, TRUC_PROOF_MAX, path);
    if (error != TRUC_OK) {
        return error;
    }
    truc_leaf_hash(&leaf, session_view(receipt->leaf));
    error =
        truc_inclusion_verify(receipt->leaf_index, checkpoint->size, &leaf, path, receipt->n_path, &checkpoint->root);
    if (error == TRUC_OK) {
        error = truc_leaf_parse(session_view(receipt->leaf), &s->leaf);
    }
    if (error == TRUC_OK &&
        (s->leaf.count != flight->count || memcmp(&s->leaf.seal_digest, &flight->digest, sizeof flight->digest) != 0)) {
        error = TRUC_E_BAD_PROOF;
    }
    return error;
}

static truc_error take_receipt(struct client_session *s, const Truc__V1__Receipt *receipt,
                               const struct truc_checkpoint *checkpoint)
{
    uint32_t index;
    if (!find_flight(s, receipt->seal_digest, &index)) {
        return TRUC_OK; /* of a seal that was sealed anew meanwhile */
    }
    const struct flight *flight = s->flights[index];
    truc_error error = verify_receipt(s, receipt, checkpoint, flight);
    if (error != TRUC_OK) {
        return session_drop_link(s, TRUC_E_BAD_PROOF, "a receipt does not verify", false);
    }
    s->faults = 0;
    s->gaps = 0;
    if (flight->order > s->head_order) {
        s->head_order = flight->order;
        s->head = flight->digest;
        s->has_head = true;
        error = session_meta_put(s, META_HEAD, truc_bytes(s->head.bytes, sizeof s->head.bytes));
        if (error != TRUC_OK) {
            return error;
        }
    }
    return settle_flight(s, index, &s->leaf, receipt->leaf_index, TRUC_ACCEPTED);
}

truc_error session_on_receipts(struct client_session *s, const Truc__V1__Receipts *receipts)
{
    struct truc_checkpoint checkpoint;
    truc_error error =
        session_take_checkpoint(s, receipts->checkpoint, receipts->consistency, receipts->n_consistency, &checkpoint);
    if (error == TRUC_E_FORKED) {
        return session_stop(s, error, SESSION_FORKED);
    }
    if (session_error_is_ours(error)) {
        return error;
    }
    if (error != TRUC_OK) {
        return session_drop_link(s, error, "a receipt's checkpoint is not signed by the log's note key", false);
    }
    const uint64_t link = s->link;
    for (size_t i = 0; i < receipts->n_receipts && error == TRUC_OK; i++) {
        error = take_receipt(s, receipts->receipts[i], &checkpoint);
        if (s->state != TRUC_CLIENT_OPEN || s->link != link) {
            return error;
        }
    }
    return error;
}

static void hold(struct client_session *s, uint32_t from, uint32_t retry_ms)
{
    uint32_t ms = retry_ms == 0 ? HOLD_DEFAULT_MS : retry_ms < HOLD_LEAST_MS ? HOLD_LEAST_MS : retry_ms;
    ms = ms > HOLD_MOST_MS ? HOLD_MOST_MS : ms;
    for (uint32_t i = from; i < s->flight_count; i++) {
        s->flights[i]->sent = false;
    }
    s->resend_at_us = s->now_us + (int64_t)ms * 1000;
    s->holding = true;
}

static truc_error refuse_for_good(struct client_session *s, uint32_t index, unsigned reason)
{
    truc_error error = settle_flight(s, index, NULL, 0, reason);
    return error == TRUC_OK ? session_rewind(s, index) : error;
}

/* A gap is the way in which the hub speaks of what stands behind a refused seal. Where nothing was refused, the chain
 * is sent again from its first open seal; where that is the refused one itself, the hub lost the chain: a new one. */
static truc_error on_gap(struct client_session *s, uint32_t index, uint32_t retry_ms)
{
    uint32_t first = 0;
    if (s->holding) {
        s->flights[index]->sent = false;
        return TRUC_OK;
    }
    while (memcmp(s->flights[first]->chain, s->flights[index]->chain, TRUC_CHAIN_SIZE) != 0) {
        first++;
    }
    if (s->flights[index]->number == 1) {
        return refuse_for_good(s, index, TRUC_SEAL_GAP); /* a first seal has no gap before it: not ours to mend */
    }
    if (first < index && ++s->gaps < GAPS_MAX) {
        hold(s, first, retry_ms);
        return TRUC_OK;
    }
    return session_rewind(s, first);
}

truc_error session_on_refused(struct client_session *s, const Truc__V1__Refused *refused)
{
    uint32_t index;
    if (!find_flight(s, refused->seal_digest, &index)) {
        truc_log(TRUC_LOG_WARN, "frame_refused", "agency=%s reason=%s", s->agency, truc_reason_name(refused->reason));
        return TRUC_OK; /* a seal that was sealed anew meanwhile, or a frame that the hub could not read */
    }
    const struct flight *flight = s->flights[index];
    truc_log(TRUC_LOG_WARN, "seal_refused", "agency=%s reason=%s number=%llu events=%u retry_ms=%u", s->agency,
             truc_reason_name(refused->reason), (unsigned long long)flight->number, flight->count,
             refused->retry_after_ms);
    if (refused->reason == TRUC_SEAL_GAP) {
        return on_gap(s, index, refused->retry_after_ms);
    }
    if (refused->reason >= TRUC_OVERLOADED) { /* transient, those of later versions too */
        session_obstructed(s, refused->reason);
        hold(s, index, refused->retry_after_ms);
        return TRUC_OK;
    }
    bool split = flight->count > s->seal_events || (flight->count > 1 && flight->body->bytes.size > s->seal_bytes);
    if (refused->reason == TRUC_TOO_LARGE && split) {
        return session_rewind(s, index); /* made under limits of an earlier session */
    }
    return refuse_for_good(s, index, refused->reason == TRUC_ACCEPTED ? TRUC_MALFORMED : refused->reason);
}
