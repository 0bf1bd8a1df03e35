#include "hub/core/pace.h"

void hub_pace_begin(struct hub_pace *pace, uint64_t now_ms)
{
    pace->elapsed_ms = now_ms - pace->looked_ms;
    pace->looked_ms = now_ms;
    pace->most_behind = pace->slowest = 0;
}

void hub_pace_receiver(struct hub_pace *pace, uint64_t waiting, uint64_t sent)
{
    if (waiting <= HUB_PACE_BEHIND)
        return;
    if (pace->most_behind == 0 || sent < pace->slowest)
        pace->slowest = sent;
    if (waiting > pace->most_behind)
        pace->most_behind = waiting;
}

void hub_pace_end(struct hub_pace *pace)
{
    uint64_t sent = pace->most_behind > 2 * HUB_PACE_BEHIND ? pace->slowest / 4 * 3 : pace->slowest;
    uint64_t elapsed = pace->elapsed_ms < 1000 ? pace->elapsed_ms : 1000; /* a loop that stood still */
    uint64_t least = HUB_PACE_LEAST_PER_S * elapsed / 1000, more = sent > least ? sent : least;
    bool was_on = pace->on;

    pace->on = pace->most_behind > 0;
    if (!was_on || more > (uint64_t)HUB_PACE_ALLOWANCE_MOST) /* the first look: nothing was saved up before */
        pace->allowance = HUB_PACE_ALLOWANCE_MOST;
    else
        pace->allowance += (int64_t)more;
    if (pace->allowance > HUB_PACE_ALLOWANCE_MOST)
        pace->allowance = HUB_PACE_ALLOWANCE_MOST;
}

bool hub_pace_allows(const struct hub_pace *pace)
{
    return !pace->on || pace->allowance > 0;
}

void hub_pace_taken(struct hub_pace *pace, size_t bytes)
{
    if (pace->on)
        pace->allowance -= (int64_t)bytes;
}
