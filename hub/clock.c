#include "hub/hub.h"

#define JUMP_US 1000000
#define SLEW_PER_MILLION 1000 /* adjtime corrects at most 500 ppm: what drifts more is a jump */

int64_t hub_wall_us(void)
{
    struct timespec now;

    clock_gettime(CLOCK_REALTIME, &now);
    return (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

static int64_t monotonic_us(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

/* While unsure the trusted pair stays as it was, so that the hub is sure again as soon as the wall clock has come back,
 * and only then; an administrator who knows that the new time is right restarts the hub. */
void hub_clock_check(struct hub_clock *clock)
{
    int64_t wall = hub_wall_us(), mono = monotonic_us();

    if (clock->mono_us == 0) {
        clock->wall_us = wall;
        clock->mono_us = mono;
        return;
    }
    int64_t passed = mono - clock->mono_us, drift = wall - clock->wall_us - passed;
    int64_t allowed = JUMP_US + passed / 1000000 * SLEW_PER_MILLION;
    clock->unsure = drift > allowed || drift < -allowed;
    clock->drift_us = drift;
    if (!clock->unsure) {
        clock->wall_us = wall;
        clock->mono_us = mono;
    }
}

int64_t hub_clock_now(struct hub_clock *clock)
{
    hub_clock_check(clock);
    return clock->unsure ? clock->wall_us + (monotonic_us() - clock->mono_us) : clock->wall_us;
}
