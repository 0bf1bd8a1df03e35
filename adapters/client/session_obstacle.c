/* Why what was handed over does not move on, or nothing more is taken: what the hub said last, or the own disk. Told to
 * the application when it begins, changes and ends. */
#include "adapters/client/session_internal.h"

static const char full_text[] =
    "The disk under the spool is full: make room there. What was handed over goes on to the "
    "hub, but survives no crash until then; nothing more is taken.";

/* For who waits; what the hub says to the program that sends is the reason's own advice. */
static const char *text_of(truc_reason reason)
{
    switch ((unsigned)reason) {
    case TRUC_OVERLOADED:
        return "The hub has too much to do at the moment. If that lasts, its administrators should know.";
    case TRUC_QUOTA:
        return "This agency sends more than its quota at the hub; it goes on as fast as that allows. The hub's "
               "administrators can raise it (truc agency quota).";
    case TRUC_STORAGE_FULL:
        return "The hub's disk is full; its administrators must make room (truc status says more).";
    case TRUC_CLOCK_UNSURE:
        return "The hub is not sure of its clock; its administrators must set it right.";
    default: /* a number from the wire: of a later version */
        return truc_reason_advice((unsigned)reason);
    }
}

void session_obstructed(struct client_session *s, unsigned reason)
{
    if (s->obstacle != (truc_reason)reason) {
        s->obstacle = (truc_reason)reason;
        s->obstacle_since_us = s->wall_us;
    }
}

void session_unobstructed(struct client_session *s)
{
    s->obstacle = TRUC_ACCEPTED;
}

void client_session_synced(struct client_session *s, uint64_t mark, bool full)
{
    if (mark > s->synced || full != s->full) {
        s->due = true; /* what was kept back for it may go: the work of this step may be done already */
    }
    s->synced = mark;
    if (mark >= s->ceiling_mark) {
        s->ticket_safe = s->ticket_ceiling;
    }
    if (full && !s->full) {
        s->full_since_us = s->wall_us;
    }
    s->full = full;
}

uint64_t client_session_mark(const struct client_session *s)
{
    return session_mark(s);
}

/* The own disk first: it is what somebody here can do something about. */
bool client_session_obstacle(const struct client_session *s, struct truc_obstacle *out)
{
    *out = (struct truc_obstacle){0};
    if (s->full) {
        *out = (struct truc_obstacle){
            .spool_full = true, .name = "SPOOL_FULL", .text = full_text, .since_us = s->full_since_us};
    } else if (s->obstacle != TRUC_ACCEPTED) {
        *out = (struct truc_obstacle){.reason = s->obstacle,
                                      .name = truc_reason_name(s->obstacle),
                                      .text = text_of(s->obstacle),
                                      .since_us = s->obstacle_since_us};
    } else {
        out->name = out->text = "";
        return false;
    }
    return true;
}

void session_tell_obstacle(struct client_session *s)
{
    struct truc_obstacle now;
    (void)client_session_obstacle(s, &now);
    if (now.spool_full == s->told_full && now.reason == s->told_reason) {
        return;
    }
    s->told_full = now.spool_full;
    s->told_reason = now.reason;
    if (now.name[0] != '\0') {
        truc_log(TRUC_LOG_WARN, "obstacle", "agency=%s reason=%s", s->agency, now.name);
    } else {
        truc_log(TRUC_LOG_INFO, "obstacle_over", "agency=%s", s->agency);
    }
    if (s->callbacks.on_obstacle != NULL) {
        s->callbacks.on_obstacle(s->callbacks.context, &now);
    }
}
