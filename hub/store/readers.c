/* The pool of reading threads: anything that may have to wait for the disk. */
#include "hub/store/writer.h"

struct hub_readers {
    struct hub_crew *crew;
    unsigned count;
    struct hub_reader_tools tools[]; /* each thread's own */
};

static void run(void *context, unsigned thread, struct hub_work *work)
{
    struct hub_readers *pool = context;
    struct hub_read_job *job = (struct hub_read_job *)work; /* its first member */
    struct hub_reader_tools *tools = &pool->tools[thread];
    job->run(job, tools);
    /* The snapshot goes back after each job: an idle reader must not keep old pages. */
    hub_journal_reader_reset(tools->journal);
}

static truc_error equip(struct hub_reader_tools *tools, struct hub_journal *journal, const struct hub_slots *slots)
{
    tools->slots = slots;
    truc_error error = hub_journal_reader_new(journal, &tools->journal);
    if (error == TRUC_OK) {
        error = hub_row_reader_new(&tools->rows);
    }
    if (error == TRUC_OK) {
        error = truc_aead_new(&tools->aead);
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
    struct hub_readers *pool = calloc(1, sizeof *pool + threads * sizeof pool->tools[0]);
    if (pool == NULL) {
        return TRUC_E_NOMEM;
    }
    pool->count = threads;
    const struct hub_crew_options options = {
        .name = "reader", .threads = threads, .run = run, .context = pool, .wake = wake, .wake_context = context};
    for (unsigned i = 0; i < threads && error == TRUC_OK; i++) {
        error = equip(&pool->tools[i], journal, slots);
    }
    if (error == TRUC_OK) {
        error = hub_crew_new(&options, &pool->crew);
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
    if (pool->crew != NULL) {
        hub_crew_end(pool->crew);
        hub_readers_finish(pool);
    }
    hub_crew_free(&pool->crew);
    for (unsigned i = 0; i < pool->count; i++) {
        hub_journal_reader_free(&pool->tools[i].journal);
        hub_row_reader_free(&pool->tools[i].rows);
        truc_aead_free(&pool->tools[i].aead);
    }
    free(pool);
    *readers = NULL;
}

void hub_readers_submit(struct hub_readers *readers, struct hub_read_job *job)
{
    hub_crew_submit(readers->crew, &job->work);
}

void hub_readers_finish(struct hub_readers *readers)
{
    struct hub_work *work;
    while ((work = hub_crew_finished(readers->crew)) != NULL) {
        struct hub_read_job *job = (struct hub_read_job *)work;
        job->done(job);
    }
}
