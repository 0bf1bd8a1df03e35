/* One lock over both lists; the threads hold it but for the work itself. */
#include "hub/store/crew.h"

#include <pthread.h>

struct list {
    struct hub_work *first, **last;
};

struct member {
    struct hub_crew *crew;
    pthread_t thread;
};

struct hub_crew {
    struct hub_crew_options options;
    pthread_mutex_t lock; /* over the lists and `ending` */
    pthread_cond_t given;
    struct list waiting, done;
    bool ending;
    unsigned running; /* threads that were started */
    struct member members[];
};

static void push(struct list *list, struct hub_work *work)
{
    work->next = NULL;
    *list->last = work;
    list->last = &work->next;
}

static struct hub_work *pop(struct list *list)
{
    struct hub_work *work = list->first;
    if (work != NULL) {
        list->first = work->next;
        work->next = NULL;
        if (list->first == NULL) {
            list->last = &list->first;
        }
    }
    return work;
}

static void *run(void *context)
{
    struct member *member = context;
    struct hub_crew *crew = member->crew;
    (void)pthread_setname_np(pthread_self(), crew->options.name);
    (void)pthread_mutex_lock(&crew->lock);
    for (;;) {
        struct hub_work *work = pop(&crew->waiting);
        if (work == NULL && crew->ending) {
            break;
        }
        if (work == NULL) {
            (void)pthread_cond_wait(&crew->given, &crew->lock);
            continue;
        }
        (void)pthread_mutex_unlock(&crew->lock);
        crew->options.run(crew->options.context, (unsigned)(member - crew->members), work);
        (void)pthread_mutex_lock(&crew->lock);
        push(&crew->done, work);
        /* Outside of the lock: what it signals may run at once. */
        (void)pthread_mutex_unlock(&crew->lock);
        crew->options.wake(crew->options.wake_context);
        (void)pthread_mutex_lock(&crew->lock);
    }
    (void)pthread_mutex_unlock(&crew->lock);
    return NULL;
}

truc_error hub_crew_new(const struct hub_crew_options *options, struct hub_crew **out)
{
    if (options->threads == 0) {
        return TRUC_E_INVALID;
    }
    struct hub_crew *crew = calloc(1, sizeof *crew + options->threads * sizeof crew->members[0]);
    if (crew == NULL) {
        return TRUC_E_NOMEM;
    }
    crew->options = *options;
    crew->waiting.last = &crew->waiting.first;
    crew->done.last = &crew->done.first;
    (void)pthread_mutex_init(&crew->lock, NULL); /* with default attributes these two cannot fail on Linux */
    (void)pthread_cond_init(&crew->given, NULL);
    for (unsigned i = 0; i < options->threads; i++) {
        crew->members[i].crew = crew;
        if (pthread_create(&crew->members[i].thread, NULL, run, &crew->members[i]) != 0) {
            hub_crew_free(&crew);
            return TRUC_E_NOMEM;
        }
        crew->running++;
    }
    *out = crew;
    return TRUC_OK;
}

void hub_crew_end(struct hub_crew *crew)
{
    (void)pthread_mutex_lock(&crew->lock);
    crew->ending = true;
    (void)pthread_cond_broadcast(&crew->given);
    (void)pthread_mutex_unlock(&crew->lock);
    while (crew->running > 0) {
        (void)pthread_join(crew->members[--crew->running].thread, NULL);
    }
}

void hub_crew_free(struct hub_crew **crew)
{
    if (*crew == NULL) {
        return;
    }
    hub_crew_end(*crew);
    (void)pthread_cond_destroy(&(*crew)->given);
    (void)pthread_mutex_destroy(&(*crew)->lock);
    free(*crew);
    *crew = NULL;
}

void hub_crew_submit(struct hub_crew *crew, struct hub_work *work)
{
    (void)pthread_mutex_lock(&crew->lock);
    push(&crew->waiting, work);
    (void)pthread_cond_signal(&crew->given);
    (void)pthread_mutex_unlock(&crew->lock);
}

struct hub_work *hub_crew_finished(struct hub_crew *crew)
{
    (void)pthread_mutex_lock(&crew->lock);
    struct hub_work *work = pop(&crew->done);
    (void)pthread_mutex_unlock(&crew->lock);
    return work;
}
