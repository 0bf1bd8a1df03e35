/* Evidence of one event: asked for, put together as an evidence file holds it, and verified before it is told. */
#include "adapters/client/session_internal.h"

truc_error client_session_evidence(struct client_session *s, uint64_t sequence, truc_evidence_fn on_evidence,
                                   void *context)
{
    struct ask *ask = session_ask_new(s, ASK_PROOF);
    if (ask == NULL) {
        return TRUC_E_NOMEM;
    }
    ask->on_evidence = on_evidence;
    ask->context = context;
    ask->sequence = sequence;
    return TRUC_OK;
}

static void tell_evidence(struct client_session *s, struct ask *ask, unsigned reason,
                          const struct truc_evidence *evidence)
{
    session_ask_unlink(s, ask);
    ask->on_evidence(ask->context, (truc_reason)reason, evidence);
    session_ask_free(&ask);
}

static truc_error collect(const Truc__V1__Proof *proof, struct truc_evidence *out)
{
    struct truc_tlog_proof tlog = {
        .index = proof->leaf_index, .count = proof->n_path, .checkpoint = session_view(proof->checkpoint)};
    out->index = proof->index;
    out->path_count = proof->n_seal_path;
    if (proof->event.len > 0) {
        truc_leaf_hash(&out->event_hash, session_view(proof->event));
    } else if (proof->event_hash.len == TRUC_HASH_SIZE) { /* its content was erased */
        memcpy(out->event_hash.bytes, proof->event_hash.data, TRUC_HASH_SIZE);
    } else {
        return TRUC_E_MALFORMED;
    }
    truc_error error = session_hashes(proof->path, proof->n_path, TRUC_PROOF_MAX, tlog.path);
    if (error == TRUC_OK) {
        error = session_hashes(proof->seal_path, proof->n_seal_path, TRUC_PROOF_MAX, out->path);
    }
    if (error == TRUC_OK) {
        error = truc_buffer_append(&out->event, proof->event.data, proof->event.len);
    }
    if (error == TRUC_OK) {
        error = truc_buffer_append(&out->envelope, proof->envelope.data, proof->envelope.len);
    }
    if (error == TRUC_OK) {
        error = truc_buffer_append(&out->leaf, proof->leaf.data, proof->leaf.len);
    }
    return error == TRUC_OK ? truc_tlog_proof_text(&tlog, &out->proof) : error;
}

/* TRUC_E_UNKNOWN_KEY where the sealing agency's key has to be asked for first; `envelope` is read in any case but for
 * one that does not parse. */
static truc_error verify(struct client_session *s, const struct ask *ask, struct truc_envelope *envelope)
{
    truc_error error = truc_envelope_parse(truc_buffer_view(&ask->evidence->envelope), envelope);
    if (error != TRUC_OK) {
        return error;
    }
    const struct truc_key *key = session_key_of(s, envelope->seal.sender, envelope->seal.keyid);
    if (key == NULL) {
        return TRUC_E_UNKNOWN_KEY;
    }
    struct truc_evidence_facts *facts = malloc(sizeof *facts);
    char why[256] = "";
    if (facts == NULL) {
        return TRUC_E_NOMEM;
    }
    error = truc_evidence_verify(ask->evidence, &s->note_key, key, facts, why);
    if (error == TRUC_OK && facts->sequence != ask->sequence) {
        error = TRUC_E_BAD_PROOF; /* a proof, but of another event */
    }
    if (error != TRUC_OK) {
        char quoted[200];
        truc_log(TRUC_LOG_ERROR, "evidence_unverified", "agency=%s sequence=%llu why=%s", s->agency,
                 (unsigned long long)ask->sequence, truc_log_quote(truc_bytes_of(why), quoted, sizeof quoted));
        error = error == TRUC_E_UNKNOWN_KEY ? TRUC_E_BAD_SIGNATURE : error;
    }
    free(facts);
    return error;
}

static truc_error finish_proof(struct client_session *s, struct ask *ask, bool may_ask)
{
    struct truc_envelope envelope;
    truc_error error = verify(s, ask, &envelope);
    if (error == TRUC_E_NOMEM) {
        return error;
    }
    if (error == TRUC_E_UNKNOWN_KEY && (may_ask || session_keys_under_way(s, envelope.seal.sender))) {
        return session_want_keys(s, envelope.seal.sender);
    }
    tell_evidence(s, ask, error == TRUC_OK ? TRUC_ACCEPTED : TRUC_BAD_SEAL, error == TRUC_OK ? ask->evidence : NULL);
    return TRUC_OK;
}

/* The next frame's proof begins at this checkpoint, so it is taken whatever becomes of the evidence. */
static truc_error see_growth(struct client_session *s, const Truc__V1__Proof *proof)
{
    struct truc_checkpoint checkpoint;
    truc_error error =
        session_take_checkpoint(s, proof->checkpoint, proof->consistency, proof->n_consistency, &checkpoint);
    if (error == TRUC_E_FORKED) {
        return session_stop(s, error, SESSION_FORKED);
    }
    if (error == TRUC_OK || session_error_is_ours(error)) {
        return error;
    }
    return session_drop_link(s, error, "a proof's checkpoint is not signed by the log's note key", false);
}

truc_error session_on_proof(struct client_session *s, const Truc__V1__Proof *proof)
{
    const uint64_t link = s->link;
    truc_error error = proof->reason == 0 ? see_growth(s, proof) : TRUC_OK;
    if (error != TRUC_OK || s->state != TRUC_CLIENT_OPEN || s->link != link) {
        return error; /* a question that is not answered is asked again on the next link */
    }
    struct ask *ask = session_ask_find(s, proof->request, true);
    if (ask == NULL || ask->evidence != NULL) {
        return TRUC_OK;
    }
    if (proof->reason != 0) {
        tell_evidence(s, ask, proof->reason, NULL);
        return TRUC_OK;
    }
    ask->evidence = calloc(1, sizeof *ask->evidence);
    if (ask->evidence == NULL) {
        return TRUC_E_NOMEM;
    }
    error = collect(proof, ask->evidence);
    if (error != TRUC_OK) {
        tell_evidence(s, ask, TRUC_BAD_SEAL, NULL);
        return error == TRUC_E_NOMEM ? error : TRUC_OK;
    }
    return finish_proof(s, ask, true);
}

truc_error session_retry_proofs(struct client_session *s)
{
    for (struct ask *ask = s->asks, *next; ask != NULL; ask = next) {
        next = ask->next;
        if (ask->kind == ASK_PROOF && ask->evidence != NULL) {
            truc_error error = finish_proof(s, ask, false);
            if (error != TRUC_OK) {
                return error;
            }
        }
    }
    return TRUC_OK;
}
