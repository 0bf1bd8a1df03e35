/* Threads as fibers: the store's writer, flusher and readers, and whatever the client starts, run unchanged. The linker
 * leads the calls here (--wrap). A fiber gives way only where it waits, and now and then where it lets a lock go. */
#include "tests/sim/sim.h"

#include <errno.h>
#include <pthread.h>
#include <time.h>
#include <unistd.h>

int __wrap_pthread_create(pthread_t *thread, const pthread_attr_t *attributes, void *(*run)(void *), void *context);
int __wrap_pthread_join(pthread_t thread, void **result);
int __wrap_pthread_mutex_init(pthread_mutex_t *mutex, const pthread_mutexattr_t *attributes);
int __wrap_pthread_mutex_destroy(pthread_mutex_t *mutex);
int __wrap_pthread_mutex_lock(pthread_mutex_t *mutex);
int __wrap_pthread_mutex_unlock(pthread_mutex_t *mutex);
int __wrap_pthread_cond_init(pthread_cond_t *condition, const pthread_condattr_t *attributes);
int __wrap_pthread_cond_destroy(pthread_cond_t *condition);
int __wrap_pthread_cond_wait(pthread_cond_t *condition, pthread_mutex_t *mutex);
int __wrap_pthread_cond_timedwait(pthread_cond_t *condition, pthread_mutex_t *mutex, const struct timespec *until);
int __wrap_pthread_cond_signal(pthread_cond_t *condition);
int __wrap_pthread_cond_broadcast(pthread_cond_t *condition);
int __wrap_pthread_setname_np(pthread_t thread, const char *name);
int __wrap_clock_gettime(clockid_t which, struct timespec *out);
int __wrap_usleep(useconds_t us);

/* ---- threads ---- */

struct thread {
    void *(*run)(void *);
    void *context;
    bool ended;
    struct sim_fiber *joining;
};

static void run_thread(void *context)
{
    struct thread *thread = context;

    thread->run(thread->context);
    thread->ended = true;
    sim_wake(thread->joining);
}

int __wrap_pthread_create(pthread_t *out, const pthread_attr_t *attributes, void *(*run)(void *), void *context)
{
    struct thread *thread = calloc(1, sizeof *thread);

    (void)attributes;
    if (!thread)
        return ENOMEM;
    thread->run = run;
    thread->context = context;
    *out = (pthread_t)thread;
    sim_fiber_start(sim_process_now(), run_thread, thread);
    return 0;
}

int __wrap_pthread_join(pthread_t joined, void **result)
{
    struct thread *thread = (struct thread *)joined;

    thread->joining = sim_fiber_now();
    while (!thread->ended)
        sim_park(INT64_MAX);
    if (result)
        *result = NULL;
    free(thread);
    return 0;
}

int __wrap_pthread_setname_np(pthread_t thread, const char *name)
{
    (void)thread, (void)name;
    return 0;
}

/* ---- locks: the mutex's own memory holds ours ---- */

struct waiter {
    struct waiter *next;
    struct sim_fiber *fiber;
    bool called;
};

struct lock {
    bool held;
    struct waiter *waiting;
};
struct condition {
    struct waiter *waiting;
};
_Static_assert(sizeof(struct lock) <= sizeof(pthread_mutex_t) && sizeof(struct condition) <= sizeof(pthread_cond_t),
               "room");

static void queue_up(struct waiter **list, struct waiter *waiter)
{
    waiter->next = NULL;
    while (*list)
        list = &(*list)->next;
    *list = waiter;
}

static bool call_first(struct waiter **list)
{
    struct waiter *first = *list;

    if (!first)
        return false;
    *list = first->next;
    first->called = true;
    sim_wake(first->fiber);
    return true;
}

static void await(struct waiter *waiter)
{
    while (!waiter->called)
        sim_park(INT64_MAX);
}

int __wrap_pthread_mutex_init(pthread_mutex_t *mutex, const pthread_mutexattr_t *attributes)
{
    (void)attributes;
    memset(mutex, 0, sizeof *mutex);
    return 0;
}

int __wrap_pthread_mutex_destroy(pthread_mutex_t *mutex)
{
    (void)mutex;
    return 0;
}

int __wrap_pthread_mutex_lock(pthread_mutex_t *mutex)
{
    struct lock *lock = (struct lock *)(void *)mutex;

    while (lock->held) {
        struct waiter waiter = {.fiber = sim_fiber_now()};
        if (!waiter.fiber) {
            sim_fail("a lock is waited for outside of a fiber");
            return EDEADLK;
        }
        queue_up(&lock->waiting, &waiter);
        await(&waiter);
    }
    lock->held = true;
    return 0;
}

int __wrap_pthread_mutex_unlock(pthread_mutex_t *mutex)
{
    struct lock *lock = (struct lock *)(void *)mutex;

    lock->held = false;
    call_first(&lock->waiting);
    if (sim_fiber_now() && sim_often(30))
        sim_sleep(sim_between(1, 200)); /* the others get ahead here */
    return 0;
}

int __wrap_pthread_cond_init(pthread_cond_t *condition, const pthread_condattr_t *attributes)
{
    (void)attributes;
    memset(condition, 0, sizeof *condition);
    return 0;
}

int __wrap_pthread_cond_destroy(pthread_cond_t *condition)
{
    (void)condition;
    return 0;
}

static void release(pthread_mutex_t *mutex)
{
    struct lock *lock = (struct lock *)(void *)mutex;

    lock->held = false;
    call_first(&lock->waiting);
}

int __wrap_pthread_cond_wait(pthread_cond_t *condition, pthread_mutex_t *mutex)
{
    struct condition *own = (struct condition *)(void *)condition;
    struct waiter waiter = {.fiber = sim_fiber_now()};

    queue_up(&own->waiting, &waiter);
    release(mutex);
    await(&waiter);
    return __wrap_pthread_mutex_lock(mutex);
}

int __wrap_pthread_cond_timedwait(pthread_cond_t *condition, pthread_mutex_t *mutex, const struct timespec *until)
{
    struct condition *own = (struct condition *)(void *)condition;
    struct waiter waiter = {.fiber = sim_fiber_now()}, **at;
    struct timespec wall;

    __wrap_clock_gettime(CLOCK_REALTIME, &wall);
    int64_t left =
        (int64_t)(until->tv_sec - wall.tv_sec) * SIM_SECOND + (int64_t)(until->tv_nsec - wall.tv_nsec) / 1000;
    int64_t deadline = sim_now() + (left > 0 ? left : 0);
    queue_up(&own->waiting, &waiter);
    release(mutex);
    while (!waiter.called && sim_now() < deadline)
        sim_park(deadline);
    for (at = &own->waiting; *at && *at != &waiter;)
        at = &(*at)->next;
    if (*at)
        *at = waiter.next;
    int code = __wrap_pthread_mutex_lock(mutex);
    return code ? code : waiter.called ? 0 : ETIMEDOUT;
}

int __wrap_pthread_cond_signal(pthread_cond_t *condition)
{
    call_first(&((struct condition *)(void *)condition)->waiting);
    return 0;
}

int __wrap_pthread_cond_broadcast(pthread_cond_t *condition)
{
    while (call_first(&((struct condition *)(void *)condition)->waiting))
        ;
    return 0;
}

/* ---- time ---- */

int __wrap_clock_gettime(clockid_t which, struct timespec *out)
{
    const struct sim_process *process = sim_process_now();
    int64_t us = sim_now();

    if (which == CLOCK_REALTIME || which == CLOCK_REALTIME_COARSE)
        us += SIM_EPOCH + (process ? process->wall_offset_us : 0);
    out->tv_sec = us / SIM_SECOND;
    out->tv_nsec = us % SIM_SECOND * 1000;
    return 0;
}

int __wrap_usleep(useconds_t us)
{
    if (!sim_fiber_now()) {
        sim_fail("usleep outside of a fiber");
        return -1;
    }
    sim_sleep((int64_t)us);
    return 0;
}
