/* The flusher thread: frozen sets of the core's changes to the state environment, one at a time. */
#include "hub/store/writer.h"

#include <errno.h>

struct hub_flusher {
    struct hub_state *target;
    struct hub_crew *crew;
    struct hub_work work;
    bool busy; /* the loop's */
    /* Lent to the thread while busy. */
    const struct hub_dirty *dirty;
    truc_error result;
    int os_error;
};

static void flush(void *context, unsigned thread, struct hub_work *work)
{
    struct hub_flusher *flusher = context;
    (void)thread;
    (void)work; /* there is only one */
    errno = 0;
    flusher->result = hub_state_commit(flusher->target, flusher->dirty);
    flusher->os_error = errno;
}

truc_error hub_flusher_new(struct hub_state *state, void (*wake)(void *context), void *context,
                           struct hub_flusher **out)
{
    struct hub_flusher *flusher = calloc(1, sizeof *flusher);
    if (flusher == NULL) {
        return TRUC_E_NOMEM;
    }
    flusher->target = state;
    const struct hub_crew_options options = {
        .name = "flusher", .threads = 1, .run = flush, .context = flusher, .wake = wake, .wake_context = context};
    truc_error error = hub_crew_new(&options, &flusher->crew);
    if (error != TRUC_OK) {
        free(flusher);
        return error;
    }
    *out = flusher;
    return TRUC_OK;
}

void hub_flusher_free(struct hub_flusher **flusher)
{
    if (*flusher != NULL) {
        hub_crew_free(&(*flusher)->crew);
        free(*flusher);
        *flusher = NULL;
    }
}

bool hub_flusher_submit(struct hub_flusher *flusher, const struct hub_dirty *dirty)
{
    if (flusher->busy) {
        return false;
    }
    flusher->busy = true;
    flusher->dirty = dirty;
    hub_crew_submit(flusher->crew, &flusher->work);
    return true;
}

bool hub_flusher_finished(struct hub_flusher *flusher, truc_error *result)
{
    if (hub_crew_finished(flusher->crew) == NULL) {
        return false;
    }
    flusher->busy = false;
    *result = flusher->result;
    errno = flusher->os_error;
    return true;
}
