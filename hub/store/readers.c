/* The pool of reading threads: anything that may have to wait for the disk. */
#include "hub/store/writer.h"

#include "hub/store/queue.h"

#include <pthread.h>

struct reader {
    struct hub_readers *pool;
    struct hub_reader_tools tools;
    pthread_t thread;
};

struct hub_readers {
    void (*wake)(void *context);
    void *context;
    pthread_mutex_t lock; /* over the queues and `ending` */
    pthread_cond_t given;
    QUEUE_OF(struct hub_read_job) waiting, done;
    bool ending;
    unsigned running; /* threads that were started */
    unsigned count;
    struct reader readers[];
};

static void *run(void *context)
{
    (void)pthread_setname_np(pthread_self(), "reader"); /* for top and perf */
    struct reader *reader = context;
    struct hub_readers *pool = reader->pool;
    struct hub_read_job *job;
    (void)pthread_mutex_lock(&pool->lock);
    for (;;) {
        QUEUE_POP(pool->waiting, job);
        if (job == NULL && pool->ending) {
            break;
        }
        if (job == NULL) {
            (void)pthread_cond_wait(&pool->given, &pool->lock);
            continue;
        }
        (void)pthread_mutex_unlock(&pool->lock);
        job->run(job, &reader->tools);
        /* The snapshot goes back after each job: an idle reader must not keep old pages. */
        hub_journal_reader_reset(reader->tools.journal);
        (void)pthread_mutex_lock(&pool->lock);
        QUEUE_PUSH(pool->done, job);
        (void)pthread_mutex_unlock(&pool->lock);
        pool->wake(pool->context);
        (void)pthread_mutex_lock(&pool->lock);
    }
    (void)pthread_mutex_unlock(&pool->lock);
    return NULL;
}

static truc_error equip(struct reader *reader, struct hub_journal *journal, const struct hub_slots *slots)
{
    reader->tools.slots = slots;
    truc_error error = hub_journal_reader_new(journal, &reader->tools.journal);
    if (error == TRUC_OK) {
        error = hub_row_reader_new(&reader->tools.rows);
    }
    if (error == TRUC_OK) {
        error = truc_aead_new(&reader->tools.aead);
    }
    return error;
}

truc_error hub_readers_new(struct hub_journal *journal, const struct hub_slots *slots, unsigned threads,
                           void (*wake)(void *context), void *context, struct hub_readers **out)
{
    truc_error error = TRUC_OK;
    if (threads == 0) {
        return TRUC_E_INVALID;
    }
    struct hub_readers *pool = calloc(1, sizeof *pool + threads * sizeof pool->readers[0]);
    if (pool == NULL) {
        return TRUC_E_NOMEM;
    }
    pool->wake = wake;
    pool->context = context;
    pool->count = threads;
    (void)pthread_mutex_init(&pool->lock, NULL); /* with default attributes these two cannot fail on Linux */
    (void)pthread_cond_init(&pool->given, NULL);
    for (unsigned i = 0; i < threads && error == TRUC_OK; i++) {
        pool->readers[i].pool = pool;
        error = equip(&pool->readers[i], journal, slots);
        if (error == TRUC_OK) {
            error =
                pthread_create(&pool->readers[i].thread, NULL, run, &pool->readers[i]) == 0 ? TRUC_OK : TRUC_E_NOMEM;
            pool->running += error == TRUC_OK;
        }
    }
    if (error != TRUC_OK) {
        hub_readers_free(&pool);
        return error;
    }
    *out = pool;
    return TRUC_OK;
}

void hub_readers_free(struct hub_readers **readers)
{
    struct hub_readers *pool = *readers;
    if (pool == NULL) {
        return;
    }
    (void)pthread_mutex_lock(&pool->lock);
    pool->ending = true;
    (void)pthread_cond_broadcast(&pool->given);
    (void)pthread_mutex_unlock(&pool->lock);
    for (unsigned i = 0; i < pool->running; i++) {
        (void)pthread_join(pool->readers[i].thread, NULL);
    }
    hub_readers_finish(pool);
    for (unsigned i = 0; i < pool->count; i++) {
        hub_journal_reader_free(&pool->readers[i].tools.journal);
        hub_row_reader_free(&pool->readers[i].tools.rows);
        truc_aead_free(&pool->readers[i].tools.aead);
    }
    (void)pthread_cond_destroy(&pool->given);
    (void)pthread_mutex_destroy(&pool->lock);
    free(pool);
    *readers = NULL;
}

void hub_readers_submit(struct hub_readers *readers, struct hub_read_job *job)
{
    (void)pthread_mutex_lock(&readers->lock);
    QUEUE_PUSH(readers->waiting, job);
    (void)pthread_cond_signal(&readers->given);
    (void)pthread_mutex_unlock(&readers->lock);
}

void hub_readers_finish(struct hub_readers *readers)
{
    for (;;) {
        struct hub_read_job *job;
        (void)pthread_mutex_lock(&readers->lock);
        QUEUE_POP(readers->done, job);
        (void)pthread_mutex_unlock(&readers->lock);
        if (job == NULL) {
            return;
        }
        job->done(job);
    }
}
