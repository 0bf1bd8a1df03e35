/* The writer thread: batches to rows, one commit each. */
#include "hub/store/writer.h"

#include <errno.h>

struct hub_writer {
    struct hub_journal *journal;
    struct hub_slots *slots;
    struct truc_aead *aead;
    struct hub_crew *crew;
    /* The thread's own. */
    struct truc_hash previous;
    truc_error failed; /* after an unknown outcome nothing may be written any more */
    int failed_os_error;
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

static void run(void *context, unsigned thread, struct hub_work *work)
{
    struct hub_writer *writer = context;
    struct hub_batch *batch = (struct hub_batch *)work; /* its first member */
    (void)thread;
    int64_t begun = now_us();
    batch->bytes = 0;
    errno = writer->failed_os_error;
    batch->result = writer->failed != TRUC_OK ? writer->failed : commit(writer, batch);
    batch->os_error = errno;
    batch->commit_us = now_us() - begun;
    if (batch->result != TRUC_OK && batch->result != TRUC_E_FULL) {
        writer->failed = batch->result;
        writer->failed_os_error = batch->os_error;
    }
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
    writer->previous = *last;
    const struct hub_crew_options options = {
        .name = "writer", .threads = 1, .run = run, .context = writer, .wake = wake, .wake_context = context};
    truc_error error = truc_aead_new(&writer->aead);
    if (error == TRUC_OK) {
        error = hub_crew_new(&options, &writer->crew);
    }
    if (error != TRUC_OK) {
        hub_writer_free(&writer);
        return error;
    }
    *out = writer;
    return TRUC_OK;
}

void hub_writer_free(struct hub_writer **writer)
{
    if (*writer != NULL) {
        hub_crew_free(&(*writer)->crew);
        truc_aead_free(&(*writer)->aead);
        free(*writer);
        *writer = NULL;
    }
}

void hub_writer_submit(struct hub_writer *writer, struct hub_batch *batch)
{
    hub_crew_submit(writer->crew, &batch->work);
}

struct hub_batch *hub_writer_finished(struct hub_writer *writer)
{
    return (struct hub_batch *)hub_crew_finished(writer->crew);
}
