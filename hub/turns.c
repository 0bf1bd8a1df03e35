/* Whose seal is verified next. The pool takes its work in the order in which it comes: only a little is given to it at
 * a time, and of every session in turn, so that nobody waits for all that somebody else has sent. */
#include "hub/hub.h"

#define MOST_SEALS 64           /* a few milliseconds of small ones: enough while the loop is at something else */
#define MOST_BYTES (1u << 20)   /* beyond two for each worker */
#define SEALS_FOR_EACH_WORKER 2 /* large ones */

static void on_work(uv_work_t *work)
{
    static _Thread_local bool named;

    if (!named) { /* the pool's threads are libuv's */
        named = true;
        (void)pthread_setname_np(pthread_self(), "verify");
    }
    struct hub_submission *submission = work->data;

    hub_verify_seal(submission);
    truc_arena_free(&submission->scratch);
}

static void take_turns(struct hub *hub);

static void on_worked(uv_work_t *work, int status)
{
    struct hub_submission *submission = work->data;
    struct hub *hub = submission->hub;

    (void)status; /* nobody cancels */
    hub->turns.seals--;
    hub->turns.bytes -= submission->received;
    take_turns(hub);
    hub_submission_verified(submission);
}

static void append(struct hub_turns *turns, struct hub_session *session)
{
    session->turn_next = NULL;
    if (turns->last)
        turns->last->turn_next = session;
    else
        turns->first = session;
    turns->last = session;
}

static void take_out(struct hub_turns *turns, struct hub_session *session)
{
    struct hub_session *before = NULL;

    for (struct hub_session *one = turns->first; one != session; one = one->turn_next)
        before = one;
    *(before ? &before->turn_next : &turns->first) = session->turn_next;
    if (turns->last == session)
        turns->last = before;
}

static bool pool_takes_more(const struct hub *hub, const struct hub_submission *submission)
{
    const struct hub_turns *turns = &hub->turns;

    return turns->seals < SEALS_FOR_EACH_WORKER * hub->workers ||
           (turns->seals < MOST_SEALS && turns->bytes + submission->received <= MOST_BYTES);
}

static void take_turns(struct hub *hub)
{
    struct hub_session *session;

    while ((session = hub->turns.first) && pool_takes_more(hub, session->unverified) && hub_pace_allows(&hub->pace)) {
        struct hub_submission *submission = session->unverified;
        session->unverified = submission->turn_next;
        take_out(&hub->turns, session);
        if (session->unverified)
            append(&hub->turns, session);
        hub->turns.seals++;
        hub->turns.bytes += submission->received;
        hub_pace_taken(&hub->pace, submission->received);
        submission->work.data = submission;
        uv_queue_work(&hub->loop, &submission->work, on_work, on_worked);
    }
}

void hub_verify_start(struct hub_session *session, struct hub_submission *submission)
{
    struct hub *hub = submission->hub;

    submission->state = SUBMISSION_VERIFYING;
    submission->turn_next = NULL;
    if (session->unverified) {
        session->unverified_last->turn_next = submission;
    } else {
        session->unverified = submission;
        append(&hub->turns, session);
    }
    session->unverified_last = submission;
    take_turns(hub);
}

void hub_verify_forget(struct hub *hub, struct hub_session *session)
{
    struct hub_submission *next;

    if (!session->unverified)
        return;
    take_out(&hub->turns, session);
    for (struct hub_submission *submission = session->unverified; submission; submission = next) {
        next = submission->turn_next;
        hub_submission_release(submission);
    }
    session->unverified = NULL;
}

void hub_verify_resume(struct hub *hub)
{
    take_turns(hub);
}
