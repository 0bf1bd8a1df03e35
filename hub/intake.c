/* Intake: verified seals become inputs of the commit that is being built, in the order in which they will stand in the
 * journal. */
#include "hub/hub.h"

#include <errno.h>

#define RETRY_MS 200
#define RETRY_FULL_MS 2000

/* ---- refusals
 * ----------------------------------------------------------------------------------------------------------- */

/* What a seal takes of a row, roughly and rather more: facts of an event are some 80 bytes, its tag 16. */
#define FACTS_BYTES 160

static size_t weight(const struct hub_submission *submission)
{
    return submission->body.size + submission->envelope.size + submission->parsed.seal.count * (size_t)FACTS_BYTES;
}

static bool costs_the_session(truc_reason reason)
{
    return reason == TRUC_MALFORMED || reason == TRUC_BAD_SEAL || reason == TRUC_WRONG_ORIGIN ||
           reason == TRUC_SEAL_FORK;
}

static void block_chain(struct hub_session *session, const struct truc_seal *seal, truc_reason reason)
{
    bool same = session->blocked && memcmp(session->blocked_chain, seal->chain, sizeof seal->chain) == 0;

    if (same && session->blocked_number <= seal->number)
        return;
    session->blocked = true;
    memcpy(session->blocked_chain, seal->chain, sizeof seal->chain);
    session->blocked_number = seal->number;
    session->blocked_reason = reason;
}

void hub_refuse(struct hub *hub, struct hub_submission *submission, truc_reason reason, const char *text,
                uint32_t retry_ms)
{
    Truc__V1__Refused refused = TRUC__V1__REFUSED__INIT;
    struct hub_session *session = hub_session_find(hub, submission->session);
    struct truc_seal *seal = &submission->parsed.seal;

    hub->refused[reason]++;
    hub_uncharge(hub, submission);
    submission->state = SUBMISSION_DONE;
    if (!session)
        return;
    session->given_up -= submission->given_up;
    if (submission->parses) {
        refused.seal_digest =
            (ProtobufCBinaryData){sizeof submission->parsed.digest.bytes, submission->parsed.digest.bytes};
        refused.chain = (ProtobufCBinaryData){sizeof seal->chain, seal->chain};
        refused.number = seal->number;
        if (truc_reason_is_transient(reason))
            block_chain(session, seal, reason);
    }
    refused.reason = (uint32_t)reason;
    refused.text = (char *)(text ? text : truc_reason_advice(reason));
    refused.retry_after_ms = truc_reason_is_transient(reason) ? (retry_ms ? retry_ms : RETRY_MS) : 0;
    hub_refusals_tell_seal(hub, session, reason, refused.text);
    hub_session_send(hub, session, TRUC_FRAME_REFUSED, 0, &refused.base, NULL);
    if (costs_the_session(reason))
        hub_session_end(hub, session, reason, refused.text);
}

/* ---- key slots
 * ---------------------------------------------------------------------------------------------------------- */

/* Subjects seen lately and their slots. What is forgotten gets a new slot at its next event: a subject may have
 * several, a slot never serves two subjects. */
#define SLOT_MEMORY 65536
#define SLOTS_LOW 32768
#define SLOTS_STEP 65536

struct hub_slot_memory {
    struct {
        uint64_t subject, slot;
    } entries[SLOT_MEMORY];
};

void hub_slots_learn(struct hub *hub, uint64_t slot)
{
    if (slot >= hub->next_slot)
        hub->next_slot = slot + 1;
}

struct fill_job {
    struct hub_read_job job;
    struct hub *hub;
    uint64_t wanted;
    truc_error error;
    int os_error;
};

static void fill_run(struct hub_read_job *job, struct hub_reader_tools *tools)
{
    struct fill_job *fill = job->context;

    (void)tools;
    fill->error = hub_slots_ensure(fill->hub->slots, fill->wanted);
    fill->os_error = errno;
}

static void fill_done(struct hub_read_job *job)
{
    struct fill_job *fill = job->context;

    fill->hub->filling_slots = false;
    if (fill->error == TRUC_E_FULL)
        hub_storage_rejected(fill->hub);
    else if (fill->error) {
        errno = fill->os_error;
        hub_fatal(fill->hub, "filling data/keys.slots", fill->error);
    }
    free(fill);
}

static void fill_ahead(struct hub *hub)
{
    uint64_t have = hub_slots_count(hub->slots);

    if (hub->filling_slots || have - hub->next_slot > SLOTS_LOW)
        return;
    struct fill_job *fill = calloc(1, sizeof *fill);
    if (!fill)
        return; /* tried again with the next seal */
    fill->job = (struct hub_read_job){.run = fill_run, .done = fill_done, .context = fill};
    fill->hub = hub;
    fill->wanted = have + SLOTS_STEP;
    hub->filling_slots = true;
    hub_readers_submit(hub->readers, &fill->job);
}

bool hub_slots_for(struct hub *hub, struct hub_submission *submission)
{
    uint64_t have = hub_slots_count(hub->slots), shared = UINT64_MAX;

    if (!hub->slot_memory && !(hub->slot_memory = calloc(1, sizeof *hub->slot_memory)))
        return false;
    if (have < hub->next_slot + submission->parsed.seal.count + 1) {
        fill_ahead(hub);
        return false;
    }
    for (uint32_t i = 0; i < submission->parsed.seal.count; i++) {
        uint64_t subject = submission->facts[i].subject;
        if (subject == 0) {
            if (shared == UINT64_MAX)
                shared = hub->next_slot++;
            submission->slots[i] = shared;
            continue;
        }
        typeof(&hub->slot_memory->entries[0]) entry = &hub->slot_memory->entries[subject % SLOT_MEMORY];
        if (entry->subject != subject) {
            entry->subject = subject;
            entry->slot = hub->next_slot++;
        }
        submission->slots[i] = entry->slot;
    }
    fill_ahead(hub);
    return true;
}

/* ---- seals
 * -------------------------------------------------------------------------------------------------------------- */

static bool blocked_by_earlier(const struct hub_session *session, const struct truc_seal *seal)
{
    return session->blocked && memcmp(session->blocked_chain, seal->chain, sizeof seal->chain) == 0 &&
           seal->number > session->blocked_number;
}

static truc_reason transient_condition(struct hub *hub, const struct hub_session *session,
                                       const struct hub_submission *submission)
{
    const struct truc_seal *seal = &submission->parsed.seal;

    hub_clock_check(&hub->clock); /* here too: nothing is taken between a jump and the next tick */
    if (hub->stopping)
        return TRUC_OVERLOADED;
    if (hub->clock.unsure)
        return TRUC_CLOCK_UNSURE;
    /* The reserve is there for governance too. Where even that is used up, the commit is rejected. */
    if (!submission->administrator && !hub_has_room(hub, weight(submission)))
        return TRUC_STORAGE_FULL;
    if (blocked_by_earlier(session, seal))
        return session->blocked_reason;
    return TRUC_ACCEPTED;
}

static void journal(struct hub *hub, struct hub_submission *submission)
{
    struct hub_row_item *item = hub_commit_add(hub->building, submission);

    if (!item) {
        hub_fatal(hub, "building a commit", TRUC_E_NOMEM);
        return;
    }
    truc_error error = hub_recalls_begin(&hub->building->recalls, hub->core, hub->dispatch, submission->agency,
                                         hub_clock_now(&hub->clock), submission->facts, submission->parsed.seal.count);
    if (error) {
        hub_fatal(hub, "holding what is recalled", error);
        return;
    }
    item->input.kind = HUB_INPUT_SEAL;
    memcpy(item->input.agency, submission->agency_code, sizeof item->input.agency);
    item->input.u.seal.envelope = truc_buffer_view(&submission->envelope);
    item->input.u.seal.seal = submission->parsed.seal;
    item->input.u.seal.digest = submission->parsed.digest;
    item->input.u.seal.events = submission->facts;
    item->body = submission->body;
    item->slots = submission->slots;
    hub->building->bytes += weight(submission);
    submission->owners++;
    submission->state = SUBMISSION_UNDER_WAY;
}

static struct hub_submission *find_in(struct hub_commit *commit, const struct truc_hash *digest)
{
    for (size_t i = 0; commit && i < commit->count; i++)
        if (commit->submissions[i] && memcmp(&commit->submissions[i]->parsed.digest, digest, sizeof *digest) == 0)
            return commit->submissions[i];
    return NULL;
}

/* The same seal is under way already (a client that reconnected): one receipt answers both. */
static void wait_for_same(struct hub *hub, struct hub_submission *submission)
{
    struct hub_submission *first = find_in(hub->building, &submission->parsed.digest);

    if (!first)
        first = find_in(hub->writing, &submission->parsed.digest);
    if (!first) {
        hub_refuse(hub, submission, TRUC_OVERLOADED, NULL, RETRY_MS);
        return;
    }
    submission->owners++;
    submission->state = SUBMISSION_UNDER_WAY;
    submission->same = first->same;
    first->same = submission;
}

static void journal_fork(struct hub *hub, struct hub_submission *submission)
{
    struct hub_row_item *item = hub_commit_add(hub->building, NULL);
    void *envelope = hub_commit_alloc(hub->building, submission->envelope.size);

    if (!item || !envelope) {
        hub_fatal(hub, "building a commit", TRUC_E_NOMEM);
        return;
    }
    memcpy(envelope, submission->envelope.data, submission->envelope.size);
    item->input.kind = HUB_INPUT_FORK;
    memcpy(item->input.agency, submission->agency_code, sizeof item->input.agency);
    item->input.u.fork.envelope = truc_bytes(envelope, submission->envelope.size);
    memcpy(item->input.u.fork.chain, submission->parsed.seal.chain, TRUC_CHAIN_SIZE);
    item->input.u.fork.number = submission->parsed.seal.number;
    truc_log(TRUC_LOG_ERROR, "seal_fork", "agency=%s number=%llu", submission->agency_code,
             (unsigned long long)submission->parsed.seal.number);
}

static void admit(struct hub *hub, struct hub_session *session, struct hub_submission *submission)
{
    const struct truc_seal *seal = &submission->parsed.seal;
    enum hub_admission admission;
    truc_reason reason = submission->reason;
    uint64_t leaf_index;
    uint32_t retry_ms = 0;

    if (reason) {
        hub_refuse(hub, submission, reason, submission->why, 0);
        return;
    }
    if ((reason = transient_condition(hub, session, submission))) {
        hub_refuse(hub, submission, reason, NULL, reason == TRUC_STORAGE_FULL ? RETRY_FULL_MS : RETRY_MS);
        return;
    }
    truc_error error =
        hub_admit_seal(hub->admit, submission->agency, seal, &submission->parsed.digest, submission->body.size,
                       hub_clock_now(&hub->clock), &admission, &reason, &retry_ms, &leaf_index);
    if (error) {
        hub_fatal(hub, "admission", error);
        return;
    }
    if (admission != HUB_ADMIT_REFUSE && session->blocked)
        session->blocked = memcmp(session->blocked_chain, seal->chain, sizeof seal->chain) != 0 ||
                           seal->number < session->blocked_number;
    switch (admission) {
    case HUB_ADMIT_JOURNAL:
        /* Only now: a refused seal must not cost the disk key slots. */
        if (hub_slots_for(hub, submission)) {
            journal(hub, submission);
        } else {
            hub_admit_aborted(hub->admit, submission->agency, seal);
            hub_refuse(hub, submission, TRUC_OVERLOADED, NULL, RETRY_MS);
        }
        return;
    case HUB_ADMIT_KNOWN:
        hub_uncharge(hub, submission);
        hub_send_known(hub, session, &submission->parsed.digest, leaf_index);
        return;
    case HUB_ADMIT_WAIT:
        wait_for_same(hub, submission);
        return;
    case HUB_ADMIT_FORK:
        journal_fork(hub, submission);
        hub_refuse(hub, submission, TRUC_SEAL_FORK, NULL, 0);
        return;
    case HUB_ADMIT_REFUSE:
        hub_refuse(hub, submission, reason, NULL, retry_ms);
        return;
    }
}

/* A commit has its size, so that a row has, and so that the reserve is never used up by one. */
static bool fits_into_commit(struct hub *hub, const struct hub_submission *submission)
{
    size_t bytes = hub->building->bytes;

    return bytes == 0 || bytes + weight(submission) <= HUB_COMMIT_BYTES;
}

/* Seals of one connection are admitted in the order in which they came. */
static void admit_verified(struct hub *hub, struct hub_session *session)
{
    while (session->first && session->first->state == SUBMISSION_VERIFIED && !hub->fatal) {
        struct hub_submission *first = session->first;
        if (!fits_into_commit(hub, first)) {
            hub->intake_waits = true;
            return;
        }
        session->first = first->next;
        if (!session->first)
            session->last = &session->first;
        first->next = NULL;
        if (session->state != SESSION_CLOSING)
            admit(hub, session, first);
        else
            hub_uncharge(hub, first);
        hub_submission_release(first);
    }
}

/* On the loop after verification. */
void hub_submission_verified(struct hub_submission *submission)
{
    struct hub *hub = submission->hub;
    struct hub_session *session = hub_session_find(hub, submission->session);

    submission->state = SUBMISSION_VERIFIED;
    if (session && !submission->reason)
        hub_charge_events(hub, session, submission);
    if (session)
        admit_verified(hub, session);
    hub_submission_release(submission);
    hub_commit_start(hub);
}

void hub_intake_resume(struct hub *hub)
{
    struct hub_session *session, *next;

    if (!hub->intake_waits || hub->fatal)
        return;
    hub->intake_waits = false;
    HASH_ITER(by_id, hub->sessions_by_id, session, next)
    admit_verified(hub, session);
}
