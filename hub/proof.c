/* GET_PROOF: the evidence of one event, read back from the journal by a reader thread. */
#include "hub/hub.h"

struct proof_job {
    struct hub_read_job job;
    struct hub *hub;
    uint64_t session, request, sequence;
    struct hub_leaf_place place;
    uint32_t index;
    /* read back */
    truc_error error;
    bool erased;
    char sender[TRUC_AGENCY_MAX + 1];
    struct truc_buffer envelope, event, recipients, type;
    struct truc_hash event_hash, seal_path[TRUC_PROOF_MAX];
    size_t seal_path_count;
};

/* Each may hold an event of a megabyte while it waits for the loop. */
#define PROOFS_OF_SESSION 16
#define PROOFS_MAX 64

static void answer_no(struct hub *hub, struct hub_session *session, uint64_t request, truc_reason reason)
{
    Truc__V1__Proof proof = TRUC__V1__PROOF__INIT;

    proof.request = request;
    proof.reason = (uint32_t)reason;
    hub_session_send(hub, session, TRUC_FRAME_PROOF, 0, &proof.base, NULL);
}

static truc_error copy(struct truc_bytes from, struct truc_buffer *to)
{
    return from.size ? truc_buffer_append(to, from.data, from.size) : TRUC_OK;
}

/* Up to 1,023 hashes: here, and not on the loop. */
static truc_error find_path(struct proof_job *job, const struct hub_seal_input *seal)
{
    struct truc_hash leaves[TRUC_SEAL_EVENTS_MAX];

    for (uint32_t i = 0; i < seal->seal.count; i++)
        leaves[i] = seal->events[i].leaf_hash;
    job->event_hash = leaves[job->index];
    return truc_inclusion_path_of(leaves, seal->seal.count, job->index, job->seal_path, &job->seal_path_count);
}

static truc_error read_back(struct proof_job *job, struct hub_reader_tools *tools)
{
    struct truc_bytes row;
    struct hub_input input;
    truc_error error;

    if ((error = hub_journal_get(tools->journal, job->place.row, &row)) ||
        (error = hub_row_reader_at(tools->rows, row, job->place.offset, &input)))
        return error;
    if (input.kind != HUB_INPUT_SEAL || job->index >= input.u.seal.seal.count)
        return TRUC_E_CORRUPT;
    const struct hub_event_facts *facts = &input.u.seal.events[job->index];
    memcpy(job->sender, input.u.seal.seal.sender, sizeof job->sender);
    if ((error = find_path(job, &input.u.seal)) || (error = copy(input.u.seal.envelope, &job->envelope)) ||
        (error = copy(facts->recipients, &job->recipients)) || (error = copy(facts->type, &job->type)))
        return error;
    error = hub_row_reader_content(tools->rows, job->index, tools->aead, tools->slots, &job->event);
    job->erased = error == TRUC_E_NOT_FOUND;
    return job->erased ? TRUC_OK : error;
}

static void run(struct hub_read_job *read, struct hub_reader_tools *tools)
{
    struct proof_job *job = read->context;

    job->error = read_back(job, tools);
    hub_journal_reader_reset(tools->journal);
}

static bool is_member(const struct hub_agency *agency, struct truc_bytes group)
{
    for (size_t i = 0; i < agency->group_count; i++)
        if (truc_bytes_equal(truc_bytes_of(agency->groups[i]), group))
            return true;
    return false;
}

/* Named, member of a named group, or subscribed where nobody is named. */
static bool was_addressed(struct hub *hub, const struct hub_agency *agency, const struct proof_job *job)
{
    struct truc_bytes recipients = truc_buffer_view(&job->recipients), one;
    size_t at = 0;

    while (truc_recipients_next(recipients, &at, &one)) {
        if (truc_bytes_equal(one, truc_bytes_of(agency->code)))
            return true;
        if (one.size > 1 && one.data[0] == '@' && is_member(agency, truc_bytes(one.data + 1, one.size - 1)))
            return true;
    }
    for (size_t i = 0; recipients.size == 0 && i < hub_core_subscription_count(hub->core); i++) {
        const struct hub_subscription *subscription = hub_core_subscription_at(hub->core, i);
        if (subscription->agency == agency->number &&
            (subscription->source_agency[0] == '\0' || strcmp(subscription->source_agency, job->sender) == 0) &&
            truc_type_matches(truc_bytes_of(subscription->type), truc_buffer_view(&job->type)))
            return hub_core_was_granted(hub->core, truc_bytes_of(job->sender), agency->number,
                                        truc_buffer_view(&job->type)); /* anybody may subscribe to anything */
    }
    return false;
}

/* What still waits for its first delivery may yet be recalled, and what was recalled is not given by another door. What
 * was in hand when the hub stopped may be recalled too: a recall counts it as not handed out, and so does this. */
static truc_error is_withheld(struct hub *hub, const struct hub_agency *agency, uint64_t sequence, bool *withheld)
{
    struct hub_posting posting;
    truc_error error = hub_core_was_recalled(hub->core, agency->number, sequence, withheld);

    if (error || *withheld)
        return error;
    error = hub_core_posting_of(hub->core, agency->number, sequence, &posting);
    if (error)
        return error == TRUC_E_NOT_FOUND ? TRUC_OK : error;
    *withheld = posting.state == HUB_POSTING_PENDING && posting.attempts == 0 && !posting.requeued &&
                !hub_dispatch_in_flight(hub->dispatch, agency->number, sequence);
    return TRUC_OK;
}

static truc_error may_see(struct hub *hub, const struct hub_session *session, const struct proof_job *job,
                          const struct truc_leaf *leaf, bool *may)
{
    const struct hub_agency *agency = hub_core_agency_by_number(hub->core, session->agency);
    bool withheld = false;

    *may = false;
    if (!agency)
        return TRUC_OK;
    if (agency->role != HUB_ROLE_AGENCY || strcmp(agency->code, job->sender) == 0) {
        *may = true;
        return TRUC_OK;
    }
    if (leaf->outcomes[job->index].code != TRUC_OUTCOME_ACCEPTED || !was_addressed(hub, agency, job))
        return TRUC_OK;
    truc_error error = is_withheld(hub, agency, job->sequence, &withheld);
    *may = !error && !withheld;
    return error;
}

static void set_hash(ProtobufCBinaryData *view, struct truc_hash *hash)
{
    *view = (ProtobufCBinaryData){sizeof hash->bytes, hash->bytes};
}

static truc_error answer_yes(struct hub *hub, struct hub_session *session, struct proof_job *job,
                             const struct truc_buffer *leaf)
{
    Truc__V1__Proof proof = TRUC__V1__PROOF__INIT;
    struct truc_hash path[TRUC_PROOF_MAX];
    ProtobufCBinaryData views[TRUC_PROOF_MAX], seal_views[TRUC_PROOF_MAX];
    struct truc_hash growth[TRUC_PROOF_MAX];
    ProtobufCBinaryData growth_views[TRUC_PROOF_MAX];
    truc_error error;

    if ((error = truc_inclusion_path(hub_core_node, hub->core, job->place.leaf_index, hub->checkpoint_size, path,
                                     &proof.n_path)) ||
        (error = hub_prove_growth(hub, session, growth, growth_views, &proof.n_consistency)))
        return error;
    for (size_t i = 0; i < job->seal_path_count; i++)
        set_hash(&seal_views[i], &job->seal_path[i]);
    for (size_t i = 0; i < proof.n_path; i++)
        set_hash(&views[i], &path[i]);
    proof.request = job->request;
    proof.event = (ProtobufCBinaryData){job->event.size, job->event.data};
    proof.envelope = (ProtobufCBinaryData){job->envelope.size, job->envelope.data};
    proof.index = job->index;
    proof.seal_path = seal_views;
    proof.n_seal_path = job->seal_path_count;
    proof.leaf = (ProtobufCBinaryData){leaf->size, leaf->data};
    proof.leaf_index = job->place.leaf_index;
    proof.path = views;
    proof.checkpoint = (ProtobufCBinaryData){hub->checkpoint.size, hub->checkpoint.data};
    proof.consistency = growth_views;
    if (job->erased)
        set_hash(&proof.event_hash, &job->event_hash);
    hub_session_send(hub, session, TRUC_FRAME_PROOF, 0, &proof.base, NULL);
    hub_session_answered(hub, session, job->event.size + job->envelope.size + leaf->size);
    hub_checkpoint_sent(hub, session);
    return TRUC_OK;
}

static truc_error answer(struct hub *hub, struct hub_session *session, struct proof_job *job)
{
    struct truc_leaf *leaf = malloc(sizeof *leaf);
    struct truc_buffer bytes = {0};
    truc_error error = leaf ? job->error : TRUC_E_NOMEM;
    bool may = false;

    if (!error)
        error = hub_core_leaf(hub->core, job->place.leaf_index, &bytes);
    if (!error)
        error = truc_leaf_parse(truc_buffer_view(&bytes), leaf);
    if (!error)
        error = may_see(hub, session, job, leaf, &may);
    if (!error && may)
        error = answer_yes(hub, session, job, &bytes);
    else if (!error)
        answer_no(hub, session, job->request, TRUC_NOT_GRANTED);
    truc_buffer_close(&bytes);
    free(leaf);
    return error;
}

static void done(struct hub_read_job *read)
{
    struct proof_job *job = read->context;
    struct hub_session *session = hub_session_find(job->hub, job->session);

    job->hub->proofs--;
    if (session) {
        session->proofs--;
        bool slow = hub_session_is_slow(job->hub, session);
        truc_error error = slow ? TRUC_OK : answer(job->hub, session, job);
        if (slow) {
            answer_no(job->hub, session, job->request, TRUC_OVERLOADED);
        } else if (error) {
            truc_log(TRUC_LOG_ERROR, "proof_failed", "sequence=%llu error=\"%s\"", (unsigned long long)job->sequence,
                     truc_error_string(error));
            answer_no(job->hub, session, job->request, TRUC_OVERLOADED);
        }
    }
    truc_buffer_close(&job->envelope);
    truc_buffer_close(&job->event);
    truc_buffer_close(&job->recipients);
    truc_buffer_close(&job->type);
    free(job);
}

void hub_on_get_proof(struct hub *hub, struct hub_session *session, const Truc__V1__GetProof *get)
{
    bool room = session->proofs < PROOFS_OF_SESSION && hub->proofs < PROOFS_MAX && !hub_session_is_slow(hub, session);
    struct proof_job *job = room ? calloc(1, sizeof *job) : NULL;

    if (!job) {
        answer_no(hub, session, get->request, TRUC_OVERLOADED);
        return;
    }
    if (hub_core_sequence_place(hub->core, get->sequence, &job->place) != TRUC_OK) {
        answer_no(hub, session, get->request, TRUC_NOT_GRANTED); /* as for what is not the asker's: no oracle */
        free(job);
        return;
    }
    job->job = (struct hub_read_job){.run = run, .done = done, .context = job};
    job->hub = hub;
    job->session = session->id;
    job->request = get->request;
    job->sequence = get->sequence;
    job->index = (uint32_t)(get->sequence - job->place.first_sequence);
    session->proofs++;
    hub->proofs++;
    hub_readers_submit(hub->readers, &job->job);
}
