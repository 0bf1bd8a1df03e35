/* The flusher thread: frozen sets of the core's changes to the state environment, one at a time. */
#include "hub/store/writer.h"

#include <pthread.h>

/*   IDLE --submit--> GIVEN --thread--> DONE --finished--> IDLE   */
enum flusher_state { FLUSHER_IDLE, FLUSHER_GIVEN, FLUSHER_DONE };

struct hub_flusher {
    struct hub_state *target;
    void (*wake)(void *context);
    void *context;
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t given;
    enum flusher_state state;
    bool ending;
    const struct hub_dirty *dirty;
    truc_error result;
};

static void *run(void *context)
{
    (void)pthread_setname_np(pthread_self(), "flusher"); /* for top and perf */
    struct hub_flusher *flusher = context;
    (void)pthread_mutex_lock(&flusher->lock);
    for (;;) {
        if (flusher->state != FLUSHER_GIVEN) {
            if (flusher->ending) {
                break;
            }
            (void)pthread_cond_wait(&flusher->given, &flusher->lock);
            continue;
        }
        const struct hub_dirty *dirty = flusher->dirty;
        (void)pthread_mutex_unlock(&flusher->lock);
        truc_error result = hub_state_commit(flusher->target, dirty);
        (void)pthread_mutex_lock(&flusher->lock);
        flusher->result = result;
        flusher->state = FLUSHER_DONE;
        (void)pthread_mutex_unlock(&flusher->lock);
        flusher->wake(flusher->context);
        (void)pthread_mutex_lock(&flusher->lock);
    }
    (void)pthread_mutex_unlock(&flusher->lock);
    return NULL;
}

truc_error hub_flusher_new(struct hub_state *state, void (*wake)(void *context), void *context,
                           struct hub_flusher **out)
{
    struct hub_flusher *flusher = calloc(1, sizeof *flusher);
    if (flusher == NULL) {
        return TRUC_E_NOMEM;
    }
    flusher->target = state;
    flusher->wake = wake;
    flusher->context = context;
    (void)pthread_mutex_init(&flusher->lock, NULL); /* with default attributes these two cannot fail on Linux */
    (void)pthread_cond_init(&flusher->given, NULL);
    if (pthread_create(&flusher->thread, NULL, run, flusher) != 0) {
        (void)pthread_cond_destroy(&flusher->given);
        (void)pthread_mutex_destroy(&flusher->lock);
        free(flusher);
        return TRUC_E_NOMEM;
    }
    *out = flusher;
    return TRUC_OK;
}

void hub_flusher_free(struct hub_flusher **flusher)
{
    struct hub_flusher *ending = *flusher;
    if (ending == NULL) {
        return;
    }
    (void)pthread_mutex_lock(&ending->lock);
    ending->ending = true;
    (void)pthread_cond_signal(&ending->given);
    (void)pthread_mutex_unlock(&ending->lock);
    (void)pthread_join(ending->thread, NULL);
    (void)pthread_cond_destroy(&ending->given);
    (void)pthread_mutex_destroy(&ending->lock);
    free(ending);
    *flusher = NULL;
}

bool hub_flusher_submit(struct hub_flusher *flusher, const struct hub_dirty *dirty)
{
    (void)pthread_mutex_lock(&flusher->lock);
    bool idle = flusher->state == FLUSHER_IDLE;
    if (idle) {
        flusher->dirty = dirty;
        flusher->state = FLUSHER_GIVEN;
        (void)pthread_cond_signal(&flusher->given);
    }
    (void)pthread_mutex_unlock(&flusher->lock);
    return idle;
}

bool hub_flusher_finished(struct hub_flusher *flusher, truc_error *result)
{
    (void)pthread_mutex_lock(&flusher->lock);
    bool done = flusher->state == FLUSHER_DONE;
    if (done) {
        *result = flusher->result;
        flusher->state = FLUSHER_IDLE;
    }
    (void)pthread_mutex_unlock(&flusher->lock);
    return done;
}
