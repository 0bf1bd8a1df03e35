/* The simulator's ground: virtual time, chance from a seed, processes that can be killed, fibers in place of threads.
 *
 * One seed is one run, in one thread: every step is an event of a queue ordered by virtual time, and every choice comes
 * from the seed, so the same seed is the same run. tests/sim/README.md says what is real here and what is replaced. */
#ifndef SIM_SIM_H
#define SIM_SIM_H

#include "truc/bytes.h"

#include <stdio.h>
#include <stdlib.h>

#define SIM_MS INT64_C(1000)
#define SIM_SECOND INT64_C(1000000)

/* ---- chance ---- */
void sim_seed(uint64_t seed);
uint64_t sim_chance(void);
/* 0 ... below - 1; 0 for 0. */
uint64_t sim_pick(uint64_t below);
int64_t sim_between(int64_t least, int64_t most);
bool sim_often(unsigned per_mille);
/* Bytes for keys, salts and nonces: a stream of its own, so that a change there does not change the schedule. */
void sim_random_bytes(void *out, size_t size);

/* ---- processes: what a crash takes along ---- */
struct sim_disk;
struct sim_fiber;
struct sim_process {
    char name[64];
    unsigned life; /* counts lives; whatever belongs to an earlier one is dead */
    bool alive;
    struct sim_disk *disk;
    int64_t wall_offset_us; /* of its wall clock */
    int fds[64];            /* open descriptors that a death closes */
    size_t fd_count;
    struct sim_fiber *waits; /* that a descriptor of the process wakes; may be NULL */
};
void sim_process_start(struct sim_process *process);
/* Nothing of it runs any more. May be called from one of its own fibers, which then never goes on. */
void sim_process_kill(struct sim_process *process);
/* Whose code runs now; NULL: the simulator's own. */
struct sim_process *sim_process_now(void);

/* ---- time and events ---- */
int64_t sim_now(void); /* microseconds, monotonic, from an hour on */
#define SIM_EPOCH INT64_C(1795000000000000)
/* `run` after `delay` in the name of `process` (may be NULL), unless that has died by then. */
void sim_after(int64_t delay_us, struct sim_process *process, void (*run)(void *context), void *context);
/* Runs events until `done(context)`, `until`, or a failure. true: done. */
bool sim_run(bool (*done)(void *context), void *context, int64_t until);
uint64_t sim_steps(void);

/* ---- fibers ---- */
struct sim_fiber;
/* Begins to run with the next events. It belongs to the process that is now (or is given). */
struct sim_fiber *sim_fiber_start(struct sim_process *process, void (*run)(void *context), void *context);
struct sim_fiber *sim_fiber_now(void); /* NULL outside of one */
/* Lets others run. Only inside a fiber. */
void sim_sleep(int64_t us);
/* Until woken or `until` (INT64_MAX: no limit). true: woken. */
bool sim_park(int64_t until);
void sim_wake(struct sim_fiber *fiber);

/* ---- telling ---- */
extern bool sim_tracing;
#define SIM_TRACE(...)                                                                                                 \
    do {                                                                                                               \
        if (sim_tracing)                                                                                               \
            sim_trace(__VA_ARGS__);                                                                                    \
    } while (0)
void sim_trace(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* An invariant does not hold: the run ends. The first one is kept. */
void sim_fail(const char *format, ...) __attribute__((format(printf, 1, 2)));
const char *sim_failure(void); /* NULL: none */
#define SIM_CHECK(condition, ...)                                                                                      \
    do {                                                                                                               \
        if (!(condition))                                                                                              \
            sim_fail(__VA_ARGS__);                                                                                     \
    } while (0)

#endif
