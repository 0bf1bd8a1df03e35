/* libuv's part that the hub uses, on virtual time: one loop a process, timers, wake-ups, the pool's work. */
#include "tests/sim/world.h"

#include <uv.h>

#define TIMERS_MAX 8
#define ASYNCS_MAX 8

struct timer {
    uv_timer_t *handle;
    uv_timer_cb run;
    uint64_t due_ms, repeat_ms;
    bool active;
};

struct async {
    uv_async_t *handle;
    uv_async_cb run;
    bool sent;
};

struct done_work {
    struct done_work *next;
    uv_work_t *work;
};

struct sim_loop {
    struct sim_fiber *fiber; /* that waits in it */
    struct sim_process *process;
    struct timer timers[TIMERS_MAX];
    struct async asyncs[ASYNCS_MAX];
    uv_signal_t *signal;
    uv_signal_cb on_signal;
    bool stop, signalled, poked; /* poked: something came since the last turn began */
    unsigned handles, working;
    struct done_work *done, **done_end;
    uint64_t now_ms;
    void (*turn)(void *context); /* the socket's */
    void *turn_context;
};

static struct sim_loop *loop_of(const uv_loop_t *loop)
{
    return loop->data;
}

struct sim_loop *sim_loop_of(uv_loop_t *loop)
{
    return loop_of(loop);
}

void sim_loop_wake(struct sim_loop *loop)
{
    loop->poked = true;
    sim_wake(loop->fiber);
}

void sim_loop_turn(struct sim_loop *loop, void (*turn)(void *context), void *context)
{
    loop->turn = turn;
    loop->turn_context = context;
}

void sim_loop_signal(uv_loop_t *loop)
{
    loop_of(loop)->signalled = true;
    sim_loop_wake(loop_of(loop));
}

int uv_loop_init(uv_loop_t *loop)
{
    struct sim_loop *own = calloc(1, sizeof *own);

    if (!own)
        return UV_ENOMEM;
    memset(loop, 0, sizeof *loop);
    loop->data = own;
    own->process = sim_process_now();
    own->done_end = &own->done;
    own->now_ms = (uint64_t)(sim_now() / SIM_MS);
    return 0;
}

int uv_loop_close(uv_loop_t *loop)
{
    free(loop->data);
    loop->data = NULL;
    return 0;
}

uint64_t uv_now(const uv_loop_t *loop)
{
    return loop_of(loop)->now_ms;
}

void uv_stop(uv_loop_t *loop)
{
    loop_of(loop)->stop = true;
}

const char *uv_strerror(int code)
{
    return code == UV_ENOMEM ? "out of memory" : "error";
}

static void add_handle(uv_loop_t *loop, uv_handle_t *handle, uv_handle_type type)
{
    handle->loop = loop;
    handle->type = type;
    handle->flags = 0;
    loop_of(loop)->handles++;
}

int uv_async_init(uv_loop_t *loop, uv_async_t *async, uv_async_cb run)
{
    struct sim_loop *own = loop_of(loop);

    for (size_t i = 0; i < ASYNCS_MAX; i++)
        if (!own->asyncs[i].handle) {
            own->asyncs[i] = (struct async){.handle = async, .run = run};
            add_handle(loop, (uv_handle_t *)async, UV_ASYNC);
            return 0;
        }
    return UV_ENOMEM;
}

int uv_async_send(uv_async_t *async)
{
    struct sim_loop *own = loop_of(async->loop);

    for (size_t i = 0; i < ASYNCS_MAX; i++)
        if (own->asyncs[i].handle == async)
            own->asyncs[i].sent = true;
    sim_loop_wake(own);
    return 0;
}

int uv_timer_init(uv_loop_t *loop, uv_timer_t *timer)
{
    struct sim_loop *own = loop_of(loop);

    for (size_t i = 0; i < TIMERS_MAX; i++)
        if (!own->timers[i].handle) {
            own->timers[i] = (struct timer){.handle = timer};
            add_handle(loop, (uv_handle_t *)timer, UV_TIMER);
            return 0;
        }
    return UV_ENOMEM;
}

int uv_timer_start(uv_timer_t *handle, uv_timer_cb run, uint64_t timeout_ms, uint64_t repeat_ms)
{
    struct sim_loop *own = loop_of(handle->loop);

    for (size_t i = 0; i < TIMERS_MAX; i++)
        if (own->timers[i].handle == handle) {
            struct timer *timer = &own->timers[i];
            timer->run = run;
            timer->due_ms = own->now_ms + timeout_ms;
            timer->repeat_ms = repeat_ms;
            timer->active = true;
        }
    return 0;
}

int uv_timer_stop(uv_timer_t *handle)
{
    struct sim_loop *own = loop_of(handle->loop);

    for (size_t i = 0; i < TIMERS_MAX; i++)
        if (own->timers[i].handle == handle)
            own->timers[i].active = false;
    return 0;
}

int uv_signal_init(uv_loop_t *loop, uv_signal_t *signal)
{
    add_handle(loop, (uv_handle_t *)signal, UV_SIGNAL);
    return 0;
}

int uv_signal_start(uv_signal_t *signal, uv_signal_cb run, int number)
{
    loop_of(signal->loop)->signal = signal;
    loop_of(signal->loop)->on_signal = run;
    signal->signum = number;
    return 0;
}

#define CLOSING 1u

int uv_is_closing(const uv_handle_t *handle)
{
    return (handle->flags & CLOSING) != 0;
}

void uv_close(uv_handle_t *handle, uv_close_cb on_close)
{
    struct sim_loop *own = loop_of(handle->loop);

    (void)on_close; /* the hub gives none */
    handle->flags |= CLOSING;
    own->handles--;
    for (size_t i = 0; i < TIMERS_MAX; i++)
        if ((uv_handle_t *)own->timers[i].handle == handle)
            own->timers[i] = (struct timer){0};
    for (size_t i = 0; i < ASYNCS_MAX; i++)
        if ((uv_handle_t *)own->asyncs[i].handle == handle)
            own->asyncs[i] = (struct async){0};
}

/* ---- the pool ---- */

static void run_work(void *context)
{
    struct done_work *done = context;
    struct sim_loop *own = loop_of(done->work->loop);

    done->work->work_cb(done->work);
    done->next = NULL;
    *own->done_end = done;
    own->done_end = &done->next;
    sim_loop_wake(own);
}

int uv_queue_work(uv_loop_t *loop, uv_work_t *work, uv_work_cb run, uv_after_work_cb after)
{
    struct done_work *done = malloc(sizeof *done);

    if (!done)
        return UV_ENOMEM;
    work->loop = loop;
    work->work_cb = run;
    work->after_work_cb = after;
    done->work = work;
    loop_of(loop)->working++;
    /* Signatures are checked side by side: they end in any order. */
    sim_after(sim_often(50) ? sim_between(1000, 30000) : sim_between(50, 600), loop_of(loop)->process, run_work, done);
    return 0;
}

/* ---- the loop: timers, prepare, wait, wake-ups; libuv's order ---- */

static void update(struct sim_loop *own)
{
    own->now_ms = (uint64_t)(sim_now() / SIM_MS);
}

static void run_timers(struct sim_loop *own)
{
    for (size_t i = 0; i < TIMERS_MAX; i++) {
        struct timer *timer = &own->timers[i];
        if (!timer->active || timer->due_ms > own->now_ms)
            continue;
        timer->active = timer->repeat_ms > 0;
        timer->due_ms = own->now_ms + timer->repeat_ms; /* a late one does not catch up */
        timer->run(timer->handle);
    }
}

static int64_t next_timer(const struct sim_loop *own)
{
    int64_t next = INT64_MAX;

    for (size_t i = 0; i < TIMERS_MAX; i++)
        if (own->timers[i].active && (int64_t)own->timers[i].due_ms * SIM_MS < next)
            next = (int64_t)own->timers[i].due_ms * SIM_MS;
    return next;
}

static bool has_news(const struct sim_loop *own)
{
    for (size_t i = 0; i < ASYNCS_MAX; i++)
        if (own->asyncs[i].sent)
            return true;
    return own->done || own->signalled || own->poked;
}

static void run_news(struct sim_loop *own)
{
    for (struct done_work *done; (done = own->done);) {
        own->done = done->next;
        if (!own->done)
            own->done_end = &own->done;
        uv_work_t *work = done->work;
        free(done);
        own->working--;
        work->after_work_cb(work, 0);
    }
    for (size_t i = 0; i < ASYNCS_MAX; i++)
        if (own->asyncs[i].sent) {
            own->asyncs[i].sent = false;
            own->asyncs[i].run(own->asyncs[i].handle);
        }
    if (own->signalled && own->on_signal) {
        own->signalled = false;
        own->on_signal(own->signal, 15);
    }
}

static void turn_once(struct sim_loop *own, bool wait)
{
    update(own);
    own->poked = false;
    run_timers(own);
    if (own->turn)
        own->turn(own->turn_context);
    if (wait && !own->stop && !has_news(own) && (own->handles > 0 || own->working > 0))
        sim_park(next_timer(own));
    if (wait && sim_often(2))
        sim_sleep(sim_between(10 * SIM_MS, 600 * SIM_MS)); /* the machine had something else to do */
    update(own);
    run_news(own);
}

int uv_run(uv_loop_t *loop, uv_run_mode mode)
{
    struct sim_loop *own = loop_of(loop);

    own->fiber = sim_fiber_now();
    if (mode == UV_RUN_NOWAIT && !own->stop) {
        turn_once(own, false);
    } else {
        while (!own->stop && (own->handles > 0 || own->working > 0 || own->done))
            turn_once(own, true);
    }
    own->stop = false;
    return own->handles > 0 || own->working > 0;
}
