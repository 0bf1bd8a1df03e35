/* How fast seals are taken in while those who take their deliveries are behind (hub/decisions/0023-pace.md). Pure: it
 * is told the time and what was seen.
 *
 *   looks, some dozens a second: begin, then `receiver` for each agency that acks, then end
 *   in between: a seal may go to be verified while there is an allowance of bytes, and takes its own off
 *
 * A receiver is behind while more than HUB_PACE_BEHIND bytes wait for it. While one is, the allowance is what the
 * slowest of them is sent, three quarters of that while twice as much waits, and never less than HUB_PACE_LEAST_PER_S:
 * nobody stops anybody. */
#ifndef HUB_CORE_PACE_H
#define HUB_CORE_PACE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define HUB_PACE_BEHIND (UINT64_C(8) << 20) /* a sixth of what stays in memory: what is read back costs twice */
#define HUB_PACE_LEAST_PER_S (UINT64_C(4) << 20)
#define HUB_PACE_ALLOWANCE_MOST (INT64_C(4) << 20) /* what is not used now is not used later */

struct hub_pace { /* zeros at first */
    bool on;
    int64_t allowance; /* bytes; below 0 where the last seal was larger */
    uint64_t looked_ms, elapsed_ms;
    /* this look */
    uint64_t most_behind, slowest;
};

void hub_pace_begin(struct hub_pace *pace, uint64_t now_ms);
/* An agency that acks: bytes that wait for it, what it has in hand not counted, and the bytes that it is sent from one
 * look to the next. */
void hub_pace_receiver(struct hub_pace *pace, uint64_t waiting, uint64_t sent);
void hub_pace_end(struct hub_pace *pace);
bool hub_pace_allows(const struct hub_pace *pace);
void hub_pace_taken(struct hub_pace *pace, size_t bytes);

#endif
