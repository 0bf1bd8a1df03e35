#include "adapters/client/background.h"

#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

struct background {
    pthread_t thread;
    pthread_mutex_t lock; /* over the next three */
    void (*job)(void *context);
    void *context;
    bool ending;
    pthread_cond_t given, finished;
    int fd;
};

static void *run(void *context)
{
    struct background *b = context;
    (void)pthread_mutex_lock(&b->lock);
    for (;;) {
        while (b->job == NULL && !b->ending) {
            (void)pthread_cond_wait(&b->given, &b->lock);
        }
        if (b->job == NULL) {
            break;
        }
        void (*job)(void *context) = b->job;
        void *with = b->context;
        (void)pthread_mutex_unlock(&b->lock);
        job(with);
        (void)pthread_mutex_lock(&b->lock);
        b->job = NULL;
        (void)pthread_cond_signal(&b->finished);
        /* Under the lock: whoever sees that it is done finds the descriptor readable and takes that away. Told later,
         * it would stay readable with nobody to look. Fails only at 2^64 - 2 jobs unread. */
        (void)eventfd_write(b->fd, 1);
    }
    (void)pthread_mutex_unlock(&b->lock);
    return NULL;
}

truc_error background_new(const char *name, struct background **out)
{
    sigset_t all, before;
    struct background *b = calloc(1, sizeof *b);
    if (b == NULL) {
        return TRUC_E_NOMEM;
    }
    b->fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (b->fd < 0) {
        free(b);
        return TRUC_E_IO;
    }
    (void)pthread_mutex_init(&b->lock, NULL); /* with default attributes these cannot fail on Linux */
    (void)pthread_cond_init(&b->given, NULL);
    (void)pthread_cond_init(&b->finished, NULL);
    (void)sigfillset(&all);
    (void)pthread_sigmask(SIG_SETMASK, &all, &before);
    int code = pthread_create(&b->thread, NULL, run, b);
    (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (code != 0) {
        (void)close(b->fd);
        free(b);
        return TRUC_E_NOMEM;
    }
    (void)pthread_setname_np(b->thread, name); /* for top and perf */
    *out = b;
    return TRUC_OK;
}

void background_free(struct background **background)
{
    struct background *b = *background;
    if (b == NULL) {
        return;
    }
    (void)pthread_mutex_lock(&b->lock);
    b->ending = true;
    (void)pthread_cond_signal(&b->given);
    (void)pthread_mutex_unlock(&b->lock);
    (void)pthread_join(b->thread, NULL);
    (void)pthread_cond_destroy(&b->given);
    (void)pthread_cond_destroy(&b->finished);
    (void)pthread_mutex_destroy(&b->lock);
    (void)close(b->fd);
    free(b);
    *background = NULL;
}

void background_run(struct background *b, void (*job)(void *context), void *context)
{
    (void)pthread_mutex_lock(&b->lock);
    if (b->job != NULL) {
        abort(); /* one at a time */
    }
    b->job = job;
    b->context = context;
    (void)pthread_cond_signal(&b->given);
    (void)pthread_mutex_unlock(&b->lock);
}

bool background_done(struct background *b)
{
    eventfd_t count;
    (void)pthread_mutex_lock(&b->lock);
    bool done = b->job == NULL;
    if (done) {
        (void)eventfd_read(b->fd, &count); /* nothing to read: that end was seen before */
    }
    (void)pthread_mutex_unlock(&b->lock);
    return done;
}

void background_wait(struct background *b)
{
    (void)pthread_mutex_lock(&b->lock);
    while (b->job != NULL) {
        (void)pthread_cond_wait(&b->finished, &b->lock);
    }
    (void)pthread_mutex_unlock(&b->lock);
}

int background_fd(const struct background *b)
{
    return b->fd;
}
