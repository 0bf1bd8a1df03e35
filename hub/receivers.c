/* What the pace is told of those who take deliveries: looked at in every tick. */
#include "hub/hub.h"

#define ACTIVE_MS 1000 /* without an ack: a reader that is slow by itself costs itself only */
#define SMOOTH 8       /* looks over which what was sent is averaged: credit comes in bursts */

struct hub_receiver {
    bool active;
    uint64_t in_hand; /* events that were delivered and not acked */
    uint64_t sent;    /* bytes from one look to the next */
};

static bool room_for(struct hub_receivers *receivers, uint32_t agency)
{
    if (agency < receivers->capacity)
        return true;
    uint32_t capacity = agency + agency / 2 + 16;
    struct hub_receiver *more = realloc(receivers->of, capacity * sizeof *more);
    if (!more)
        return false; /* it is not waited for then */
    memset(more + receivers->capacity, 0, (capacity - receivers->capacity) * sizeof *more);
    receivers->of = more;
    receivers->capacity = capacity;
    return true;
}

/* Adds what the session did since the last look to its agency's. */
static void add(struct hub *hub, struct hub_session *session, uint64_t now)
{
    if (session->look.acked != session->acked) {
        session->look.acked = session->acked;
        session->look.acked_ms = now;
    }
    session->look.mean_sent = (session->look.mean_sent * (SMOOTH - 1) + session->look.sent) / SMOOTH;
    session->look.sent = 0;
    if (!room_for(&hub->receivers, session->agency))
        return;
    struct hub_receiver *agency = &hub->receivers.of[session->agency];
    agency->active |= session->look.acked_ms > 0 && now - session->look.acked_ms < ACTIVE_MS;
    agency->in_hand += session->delivered > session->acked ? session->delivered - session->acked : 0;
    agency->sent += session->look.mean_sent;
}

static uint64_t bytes_waiting(struct hub *hub, uint32_t number, uint64_t in_hand)
{
    const struct hub_agency *agency = hub_core_agency_by_number(hub->core, number);
    uint64_t events = hub->counters[COUNT_EVENTS];

    if (!agency || agency->pending <= in_hand || events == 0)
        return 0;
    return (agency->pending - in_hand) * (hub->counters[COUNT_EVENT_BYTES] / events);
}

void hub_receivers_look(struct hub *hub)
{
    struct hub_session *session, *next;
    uint64_t now = uv_now(&hub->loop);

    hub_pace_begin(&hub->pace, now);
    HASH_ITER(by_id, hub->sessions_by_id, session, next)
    if (session->delivered > 0)
        add(hub, session, now);
    HASH_ITER(by_id, hub->sessions_by_id, session, next)
    {
        if (session->delivered == 0 || session->agency >= hub->receivers.capacity)
            continue;
        struct hub_receiver *agency = &hub->receivers.of[session->agency];
        if (agency->active)
            hub_pace_receiver(&hub->pace, bytes_waiting(hub, session->agency, agency->in_hand), agency->sent);
        *agency = (struct hub_receiver){0}; /* its other sessions find it done */
    }
    hub_pace_end(&hub->pace);
    hub_verify_resume(hub);
}
