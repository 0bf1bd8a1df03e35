/* The disk as a test wants it: the program's own fallocate and fdatasync stand before the C library's, for LMDB too. A
 * gate holds a sync as long as the test likes; a full disk says ENOSPC. One test program includes this once. */
#ifndef TRUC_TESTS_CLIENT_DISK_FAULTS_H
#define TRUC_TESTS_CLIENT_DISK_FAULTS_H

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <sys/syscall.h>
#include <unistd.h>

static struct {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    bool closed;
    unsigned waiting; /* syncs at the gate */
} gate = {.lock = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER};

static atomic_int allocate_error, sync_error; /* errno that it fails with; 0: it works */
static atomic_uint sync_count;

int fallocate(int fd, int mode, off_t offset, off_t size)
{
    int error = atomic_load(&allocate_error);
    if (error != 0) {
        errno = error;
        return -1;
    }
    return (int)syscall(SYS_fallocate, fd, mode, offset, size);
}

int fdatasync(int fd)
{
    atomic_fetch_add(&sync_count, 1);
    (void)pthread_mutex_lock(&gate.lock);
    gate.waiting++;
    (void)pthread_cond_broadcast(&gate.changed);
    while (gate.closed) {
        (void)pthread_cond_wait(&gate.changed, &gate.lock);
    }
    gate.waiting--;
    (void)pthread_mutex_unlock(&gate.lock);
    int error = atomic_load(&sync_error);
    if (error != 0) {
        errno = error;
        return -1;
    }
    return (int)syscall(SYS_fdatasync, fd);
}

static inline void gate_set(bool closed)
{
    (void)pthread_mutex_lock(&gate.lock);
    gate.closed = closed;
    (void)pthread_cond_broadcast(&gate.changed);
    (void)pthread_mutex_unlock(&gate.lock);
}

/* Whether a sync stands at the closed gate. */
static inline bool gate_holds(void)
{
    (void)pthread_mutex_lock(&gate.lock);
    bool holds = gate.closed && gate.waiting > 0;
    (void)pthread_mutex_unlock(&gate.lock);
    return holds;
}

/* Until it does. Only where it surely comes by itself. */
static inline void gate_wait(void)
{
    (void)pthread_mutex_lock(&gate.lock);
    while (gate.waiting == 0) {
        (void)pthread_cond_wait(&gate.changed, &gate.lock);
    }
    (void)pthread_mutex_unlock(&gate.lock);
}

#endif
