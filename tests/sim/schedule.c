/* Virtual time: a heap of events, and fibers that are resumed by them. */
#include "tests/sim/sim.h"

#include <setjmp.h>
#include <stdarg.h>
#include <sys/mman.h>
#include <ucontext.h>
#include <unistd.h>

#define STACK_SIZE (512u << 10)

/* ---- chance: xoshiro256** ---- */

struct stream {
    uint64_t s[4];
};
static struct stream schedule_stream, bytes_stream;

static uint64_t mix(uint64_t *x)
{
    uint64_t z = *x += UINT64_C(0x9e3779b97f4a7c15);
    z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
    return z ^ z >> 31;
}

static uint64_t next(struct stream *stream)
{
    uint64_t *s = stream->s, t = s[1] << 17, r = s[1] * 5;
    r = (r << 7 | r >> 57) * 9;
    s[2] ^= s[0];
    s[3] ^= s[1];
    s[1] ^= s[2];
    s[0] ^= s[3];
    s[2] ^= t;
    s[3] = s[3] << 45 | s[3] >> 19;
    return r;
}

void sim_seed(uint64_t seed)
{
    for (int i = 0; i < 4; i++)
        schedule_stream.s[i] = mix(&seed);
    for (int i = 0; i < 4; i++)
        bytes_stream.s[i] = mix(&seed);
}

uint64_t sim_chance(void)
{
    return next(&schedule_stream);
}

uint64_t sim_pick(uint64_t below)
{
    return below ? sim_chance() % below : 0;
}

int64_t sim_between(int64_t least, int64_t most)
{
    return least + (int64_t)sim_pick((uint64_t)(most - least) + 1);
}

bool sim_often(unsigned per_mille)
{
    return sim_pick(1000) < per_mille;
}

void sim_random_bytes(void *out, size_t size)
{
    uint8_t *at = out;
    for (; size >= 8; size -= 8, at += 8) {
        uint64_t word = next(&bytes_stream);
        memcpy(at, &word, 8);
    }
    uint64_t word = next(&bytes_stream);
    memcpy(at, &word, size);
}

/* ---- telling ---- */

bool sim_tracing;
static char failure[1024];

void sim_trace(const char *format, ...)
{
    va_list arguments;
    const struct sim_process *process = sim_process_now();

    fprintf(stderr, "%12.6f %-12s ", (double)(sim_now() - 3600 * SIM_SECOND) / 1e6, process ? process->name : "-");
    va_start(arguments, format);
    vfprintf(stderr, format, arguments);
    va_end(arguments);
    fputc('\n', stderr);
}

void sim_fail(const char *format, ...)
{
    va_list arguments;

    if (failure[0])
        return;
    va_start(arguments, format);
    vsnprintf(failure, sizeof failure, format, arguments);
    va_end(arguments);
    SIM_TRACE("FAILED %s", failure);
}

const char *sim_failure(void)
{
    return failure[0] ? failure : NULL;
}

/* ---- events ---- */

struct event {
    int64_t at;
    uint64_t order; /* those of one moment run in the order in which they were asked for */
    struct sim_process *process;
    unsigned life;
    void (*run)(void *context);
    void *context;
};

static struct event *heap;
static size_t heap_count, heap_capacity;
static uint64_t order, steps;
static int64_t now = 3600 * SIM_SECOND;
static struct sim_process *process_now;

static bool before(const struct event *a, const struct event *b)
{
    return a->at < b->at || (a->at == b->at && a->order < b->order);
}

static void push(struct event event)
{
    if (heap_count == heap_capacity) {
        heap_capacity = heap_capacity ? heap_capacity * 2 : 1024;
        heap = realloc(heap, heap_capacity * sizeof *heap);
        if (!heap)
            abort();
    }
    size_t at = heap_count++;
    while (at > 0 && before(&event, &heap[(at - 1) / 2])) {
        heap[at] = heap[(at - 1) / 2];
        at = (at - 1) / 2;
    }
    heap[at] = event;
}

static struct event pop(void)
{
    struct event first = heap[0], last = heap[--heap_count];
    size_t at = 0;

    for (;;) {
        size_t child = 2 * at + 1;
        if (child >= heap_count)
            break;
        if (child + 1 < heap_count && before(&heap[child + 1], &heap[child]))
            child++;
        if (!before(&heap[child], &last))
            break;
        heap[at] = heap[child];
        at = child;
    }
    heap[at] = last;
    return first;
}

int64_t sim_now(void)
{
    return now;
}

uint64_t sim_steps(void)
{
    return steps;
}

struct sim_process *sim_process_now(void)
{
    return process_now;
}

void sim_after(int64_t delay_us, struct sim_process *process, void (*run)(void *context), void *context)
{
    push((struct event){.at = now + (delay_us > 0 ? delay_us : 0),
                        .order = ++order,
                        .process = process,
                        .life = process ? process->life : 0,
                        .run = run,
                        .context = context});
}

bool sim_run(bool (*done)(void *context), void *context, int64_t until)
{
    while (!failure[0]) {
        if (done && done(context))
            return true;
        if (heap_count == 0 || heap[0].at > until) {
            now = until > now ? until : now;
            return false;
        }
        struct event event = pop();
        now = event.at;
        if (event.process && event.process->life != event.life)
            continue;
        steps++;
        process_now = event.process;
        event.run(event.context);
        process_now = NULL;
    }
    return false;
}

/* ---- processes ---- */

void sim_process_start(struct sim_process *process)
{
    process->life++;
    process->alive = true;
}

/* ---- fibers ---- */

struct sim_fiber {
    struct sim_fiber *next_free;
    struct sim_process *process;
    unsigned life;
    void (*run)(void *context);
    void *context;
    ucontext_t start;
#ifdef __SANITIZE_ADDRESS__
    ucontext_t here;
#else
    jmp_buf here;
#endif
    bool begun, parked, woken, ended;
    uint64_t parking; /* counts, so that a timeout of an earlier parking wakes nobody */
    uint8_t *stack;
};

static struct sim_fiber *fiber_now, *free_fibers, *all_fibers[4096];
static size_t all_count;
#ifdef __SANITIZE_ADDRESS__
static ucontext_t scheduler;
#else
static jmp_buf scheduler;
#endif

struct sim_fiber *sim_fiber_now(void)
{
    return fiber_now;
}

/* Back to the scheduler; returns when the fiber is resumed. */
static void leave(struct sim_fiber *fiber)
{
#ifdef __SANITIZE_ADDRESS__
    swapcontext(&fiber->here, &scheduler);
#else
    if (_setjmp(fiber->here) == 0)
        _longjmp(scheduler, 1);
#endif
}

static void main_of_fiber(void)
{
    struct sim_fiber *fiber = fiber_now;

    fiber->run(fiber->context);
    fiber->ended = true;
    leave(fiber);
    abort(); /* nobody resumes what has ended */
}

static void enter(struct sim_fiber *fiber)
{
    fiber_now = fiber;
#ifdef __SANITIZE_ADDRESS__
    if (!fiber->begun) {
        fiber->begun = true;
        swapcontext(&scheduler, &fiber->start);
    } else {
        swapcontext(&scheduler, &fiber->here);
    }
#else
    if (_setjmp(scheduler) == 0) {
        if (!fiber->begun) { /* setcontext costs a system call, once a fiber */
            fiber->begun = true;
            setcontext(&fiber->start);
        }
        _longjmp(fiber->here, 1);
    }
#endif
    fiber_now = NULL;
}

static void give_back(struct sim_fiber *fiber)
{
    fiber->next_free = free_fibers;
    free_fibers = fiber;
    fiber->process = NULL;
}

struct wake {
    struct sim_fiber *fiber;
    uint64_t parking;
};

static void resume(struct sim_fiber *fiber)
{
    fiber->parked = false;
    enter(fiber);
    /* A fiber that killed its own process left for good. */
    if (fiber->ended || fiber->life != fiber->process->life)
        give_back(fiber);
}

static void on_start(void *context)
{
    resume(context);
}

/* Events of a process that died never run, so these fibers are taken back by sim_process_kill. */
static void on_woken(void *context)
{
    struct sim_fiber *fiber = context;

    if (fiber->parked && fiber->woken)
        resume(fiber);
}

static void on_timeout(void *context)
{
    struct wake wake = *(struct wake *)context;

    free(context);
    if (wake.fiber->parked && !wake.fiber->woken && wake.fiber->parking == wake.parking)
        resume(wake.fiber);
}

static void prepare(struct sim_fiber *fiber)
{
    getcontext(&fiber->start);
    fiber->start.uc_stack.ss_sp = fiber->stack;
    fiber->start.uc_stack.ss_size = STACK_SIZE;
    fiber->start.uc_link = NULL;
    makecontext(&fiber->start, main_of_fiber, 0);
}

struct sim_fiber *sim_fiber_start(struct sim_process *process, void (*run)(void *context), void *context)
{
    struct sim_fiber *fiber = free_fibers;

    if (fiber) {
        free_fibers = fiber->next_free;
        uint64_t parking = fiber->parking;
        uint8_t *stack = fiber->stack;
        memset(fiber, 0, sizeof *fiber);
        fiber->parking = parking;
        fiber->stack = stack;
    } else {
        fiber = calloc(1, sizeof *fiber);
        if (!fiber || all_count == sizeof all_fibers / sizeof all_fibers[0])
            abort();
        all_fibers[all_count++] = fiber;
        fiber->stack = mmap(NULL, STACK_SIZE, PROT_READ | PROT_WRITE,
                            MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_STACK, -1, 0);
        if (fiber->stack == MAP_FAILED || mprotect(fiber->stack, 4096, PROT_NONE) != 0)
            abort();
    }
    fiber->process = process;
    fiber->life = process->life;
    fiber->run = run;
    fiber->context = context;
    prepare(fiber);
    sim_after(0, process, on_start, fiber);
    return fiber;
}

bool sim_park(int64_t until)
{
    struct sim_fiber *fiber = fiber_now;
    struct sim_process *process = process_now;

    if (fiber->woken) { /* between looking and parking */
        fiber->woken = false;
        return true;
    }
    fiber->parked = true;
    fiber->parking++;
    if (until != INT64_MAX) {
        struct wake *wake = malloc(sizeof *wake);
        if (!wake)
            abort();
        *wake = (struct wake){fiber, fiber->parking};
        sim_after(until - now, process, on_timeout, wake);
    }
    leave(fiber);
    bool woken = fiber->woken;
    fiber->woken = false;
    return woken;
}

void sim_wake(struct sim_fiber *fiber)
{
    if (!fiber || fiber->ended || fiber->woken || !fiber->process || fiber->life != fiber->process->life)
        return;
    fiber->woken = true;
    if (fiber->parked)
        sim_after(0, fiber->process, on_woken, fiber);
}

void sim_sleep(int64_t us)
{
    int64_t until = now + us;

    while (now < until)
        sim_park(until); /* a wake meant for later work is no reason to get up */
}

void sim_process_kill(struct sim_process *process)
{
    bool suicide = fiber_now && fiber_now->process == process;

    process->alive = false;
    for (size_t i = 0; i < all_count; i++)
        if (all_fibers[i]->process == process && all_fibers[i] != fiber_now && all_fibers[i]->life == process->life)
            give_back(all_fibers[i]);
    process->life++;
    for (size_t i = 0; i < process->fd_count; i++)
        close(process->fds[i]);
    process->fd_count = 0;
    if (suicide)
        leave(fiber_now);
}
