/* The writer thread: batches to rows, one commit each. */
#include "hub/store/writer.h"

#include "hub/store/queue.h"

#include <pthread.h>

struct hub_writer {
    struct hub_journal *journal;
    struct hub_slots *slots;
    struct truc_aead *aead;
    void (*wake)(void *context);
    void *context;
    pthread_t thread;
    pthread_mutex_t lock; /* over the queues and `ending` */
    pthread_cond_t given;
    QUEUE_OF(struct hub_batch) waiting, done;
    bool ending;
    /* The thread's own. */
    struct truc_hash previous;
    truc_error failed; /* after an unknown outcome nothing may be written any more */
};

static int64_t now_us(void)
{
    struct timespec now;
    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

/* `previous` moves on only with a row that is on the disk. */
static truc_error commit(struct hub_writer *writer, struct hub_batch *batch)
{
    struct hub_row_header header = {
        .row = hub_journal_rows(writer->journal),
        .accepted_at_us = batch->accepted_at_us,
        .previous = writer->previous,
    };
    uint8_t *bytes;
    size_t size;
    truc_error error = hub_row_size(batch->items, batch->count, &size);
    if (error != TRUC_OK) {
        return error;
    }
    error = hub_journal_allocate(writer->journal, size, &bytes);
    if (error != TRUC_OK) {
        return error;
    }
    error = hub_row_encode(&header, batch->items, batch->count, writer->aead, writer->slots, bytes);
    if (error != TRUC_OK) {
        hub_journal_abandon(writer->journal);
        return error;
    }
    error = hub_journal_append(writer->journal, &batch->row);
    if (error == TRUC_OK) {
        writer->previous = header.digest;
        batch->bytes = size;
    }
    return error;
}

static void *run(void *context)
{
    (void)pthread_setname_np(pthread_self(), "writer"); /* for top and perf */
    struct hub_writer *writer = context;
    struct hub_batch *batch;
    (void)pthread_mutex_lock(&writer->lock);
    for (;;) {
        QUEUE_POP(writer->waiting, batch);
        if (batch == NULL && writer->ending) {
            break;
        }
        if (batch == NULL) {
            (void)pthread_cond_wait(&writer->given, &writer->lock);
            continue;
        }
        (void)pthread_mutex_unlock(&writer->lock);
        int64_t begun = now_us();
        batch->bytes = 0;
        batch->result = writer->failed != TRUC_OK ? writer->failed : commit(writer, batch);
        batch->commit_us = now_us() - begun;
        if (batch->result != TRUC_OK && batch->result != TRUC_E_FULL) {
            writer->failed = batch->result;
        }
        (void)pthread_mutex_lock(&writer->lock);
        QUEUE_PUSH(writer->done, batch);
        /* Outside of the lock: what it signals may run at once. */
        (void)pthread_mutex_unlock(&writer->lock);
        writer->wake(writer->context);
        (void)pthread_mutex_lock(&writer->lock);
    }
    (void)pthread_mutex_unlock(&writer->lock);
    return NULL;
}

truc_error hub_writer_new(struct hub_journal *journal, struct hub_slots *slots, const struct truc_hash *last,
                          void (*wake)(void *context), void *context, struct hub_writer **out)
{
    struct hub_writer *writer = calloc(1, sizeof *writer);
    if (writer == NULL) {
        return TRUC_E_NOMEM;
    }
    writer->journal = journal;
    writer->slots = slots;
    writer->wake = wake;
    writer->context = context;
    writer->previous = *last;
    truc_error error = truc_aead_new(&writer->aead);
    if (error != TRUC_OK) {
        free(writer);
        return error;
    }
    (void)pthread_mutex_init(&writer->lock, NULL); /* with default attributes these two cannot fail on Linux */
    (void)pthread_cond_init(&writer->given, NULL);
    if (pthread_create(&writer->thread, NULL, run, writer) != 0) {
        truc_aead_free(&writer->aead);
        (void)pthread_cond_destroy(&writer->given);
        (void)pthread_mutex_destroy(&writer->lock);
        free(writer);
        return TRUC_E_NOMEM;
    }
    *out = writer;
    return TRUC_OK;
}

void hub_writer_free(struct hub_writer **writer)
{
    struct hub_writer *ending = *writer;
    if (ending == NULL) {
        return;
    }
    (void)pthread_mutex_lock(&ending->lock);
    ending->ending = true;
    (void)pthread_cond_signal(&ending->given);
    (void)pthread_mutex_unlock(&ending->lock);
    (void)pthread_join(ending->thread, NULL);
    truc_aead_free(&ending->aead);
    (void)pthread_cond_destroy(&ending->given);
    (void)pthread_mutex_destroy(&ending->lock);
    free(ending);
    *writer = NULL;
}

void hub_writer_submit(struct hub_writer *writer, struct hub_batch *batch)
{
    (void)pthread_mutex_lock(&writer->lock);
    QUEUE_PUSH(writer->waiting, batch);
    (void)pthread_cond_signal(&writer->given);
    (void)pthread_mutex_unlock(&writer->lock);
}

struct hub_batch *hub_writer_finished(struct hub_writer *writer)
{
    struct hub_batch *batch;
    (void)pthread_mutex_lock(&writer->lock);
    QUEUE_POP(writer->done, batch);
    (void)pthread_mutex_unlock(&writer->lock);
    return batch;
}
