/* What the administrator is told of refusals as they happen: a line for each, while they are few. The counts of all of
 * them are in QUERY status and refusals. No line holds more than the agency, the reason and places in the log: neither
 * ids nor subjects, which name people. */
#include "hub/hub.h"

#include "truc/leaf.h"

#define WINDOW_MS 60000

/* Lines of an agency in a window. What the sender repeats by itself is worth one; the others stand for a mistake, where
 * the second and third may differ from the first. */
static const struct {
    const char *event;
    unsigned lines;
} kinds[HUB_REFUSALS_N] = {
    [HUB_REFUSED_EVENTS] = {"events_refused", 10},
    [HUB_REFUSED_SEAL] = {"seal_refused", 10},
    [HUB_REFUSED_FOR_NOW] = {"seal_put_off", 1},
};

static void tell_more(struct hub *hub, uint32_t agency, enum hub_refusal_kind kind)
{
    struct hub_refusal_lines *lines = &hub->refusals.of[agency].kinds[kind];
    const struct hub_agency *who = hub_core_agency_by_number(hub->core, agency);

    if (lines->more > 0)
        truc_log(TRUC_LOG_WARN, "refusals_more", "agency=%s of=%s more=%llu what=\"counted in `truc status`\"",
                 who ? who->code : "", kinds[kind].event, (unsigned long long)lines->more);
    lines->more = 0;
}

void hub_refusals_tick(struct hub *hub, bool all)
{
    struct hub_refusals *refusals = &hub->refusals;
    uint64_t now = uv_now(&hub->loop), next = UINT64_MAX;

    if (!all && now < refusals->due_ms)
        return;
    for (uint32_t agency = 0; agency < refusals->capacity; agency++)
        for (unsigned kind = 0; kind < HUB_REFUSALS_N; kind++) {
            const struct hub_refusal_lines *lines = &refusals->of[agency].kinds[kind];
            if (lines->more == 0)
                continue;
            if (all || now >= lines->since_ms + WINDOW_MS)
                tell_more(hub, agency, kind);
            else if (lines->since_ms + WINDOW_MS < next)
                next = lines->since_ms + WINDOW_MS;
        }
    refusals->due_ms = next;
}

static bool make_room(struct hub_refusals *refusals, uint32_t agency)
{
    if (agency < refusals->capacity)
        return true;
    uint32_t capacity = agency + 64;
    struct hub_refusals_of *more = realloc(refusals->of, capacity * sizeof *more);
    if (!more)
        return false;
    memset(more + refusals->capacity, 0, (capacity - refusals->capacity) * sizeof *more);
    refusals->of = more;
    refusals->capacity = capacity;
    return true;
}

bool hub_refusals_may_log(struct hub *hub, uint32_t agency, enum hub_refusal_kind kind)
{
    struct hub_refusals *refusals = &hub->refusals;
    uint64_t now = uv_now(&hub->loop);

    if (!make_room(refusals, agency)) {
        hub_fatal(hub, "counting refusals", TRUC_E_NOMEM);
        return false;
    }
    struct hub_refusal_lines *lines = &refusals->of[agency].kinds[kind];
    if (lines->lines == 0 || now >= lines->since_ms + WINDOW_MS) {
        tell_more(hub, agency, kind);
        lines->since_ms = now;
        lines->lines = 0;
    }
    if (lines->lines < kinds[kind].lines) {
        lines->lines++;
        return true;
    }
    if (lines->more++ == 0 && (refusals->due_ms == 0 || lines->since_ms + WINDOW_MS < refusals->due_ms))
        refusals->due_ms = lines->since_ms + WINDOW_MS;
    return false;
}

bool hub_refusals_grew(struct hub *hub)
{
    bool grew = false;

    for (unsigned reason = 0; reason < HUB_REASONS; reason++) {
        uint64_t now = hub_core_refusals(hub->core, reason);
        grew |= now != hub->refusals.seen[reason];
        hub->refusals.seen[reason] = now;
    }
    return grew;
}

void hub_refusals_tell(struct hub *hub, const struct hub_submission *submission, const struct hub_effect *effect)
{
    struct truc_leaf leaf;
    uint32_t counts[HUB_REASONS] = {0}, firsts[HUB_REASONS] = {0};

    if (truc_leaf_parse(effect->leaf, &leaf) != TRUC_OK) {
        hub_fatal(hub, "reading a leaf that was just made", TRUC_E_CORRUPT);
        return;
    }
    for (uint32_t i = leaf.count; i-- > 0;) {
        uint8_t code = leaf.outcomes[i].code;
        if (code == TRUC_OUTCOME_ACCEPTED || code >= HUB_REASONS) /* a duplicate is no refusal */
            continue;
        counts[code]++;
        firsts[code] = i;
    }
    for (unsigned reason = 0; reason < HUB_REASONS; reason++)
        if (counts[reason] > 0 && hub_refusals_may_log(hub, submission->agency, HUB_REFUSED_EVENTS))
            truc_log(TRUC_LOG_WARN, "events_refused", "agency=%s reason=%s count=%u leaf=%llu first_sequence=%llu",
                     submission->agency_code, truc_reason_name(reason), (unsigned)counts[reason],
                     (unsigned long long)effect->leaf_index,
                     (unsigned long long)(leaf.first_sequence + firsts[reason]));
}

void hub_refusals_tell_seal(struct hub *hub, const struct hub_session *session, truc_reason reason, const char *text)
{
    bool for_now = truc_reason_is_transient(reason);
    enum hub_refusal_kind kind = for_now ? HUB_REFUSED_FOR_NOW : HUB_REFUSED_SEAL;

    if (hub_refusals_may_log(hub, session->agency, kind))
        truc_log(for_now ? TRUC_LOG_INFO : TRUC_LOG_WARN, kinds[kind].event,
                 "session=%llu agency=%s reason=%s text=\"%s\"", (unsigned long long)session->id, session->agency_code,
                 truc_reason_name(reason), text);
}
