// Preloaded into the hub by the tests of faulty.py: calls on one file fail as the control file $TRUC_TEST_FAULT says,
// which the test writes and reads while the hub runs (struct control below, host order). Built by the test itself.
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

enum { ON_WRITE = 1, ON_META = 2, ON_SYNC = 4, ON_ALLOCATE = 8 };

struct control {
    volatile uint32_t calls; // which ones; 0: none fails
    volatile int32_t error;  // errno
    volatile uint32_t skip;  // so many of them still succeed
    volatile uint32_t left;  // so many of them fail
    volatile uint32_t done;  // 1: the call is made all the same, and failure is told
    volatile uint32_t hits;  // failures told so far
    char file[40];           // the end of the file's path
};

static struct control *control;

__attribute__((constructor)) static void open_control(void)
{
    const char *path = getenv("TRUC_TEST_FAULT");
    int fd = path != NULL ? open(path, O_RDWR | O_CLOEXEC) : -1;
    void *at = fd >= 0 ? mmap(NULL, sizeof *control, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0) : MAP_FAILED;
    if (at != MAP_FAILED) {
        control = at;
    }
    if (fd >= 0) {
        close(fd);
    }
}

static int is_the_file(int fd)
{
    char link[32], path[4096];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t size = readlink(link, path, sizeof path);
    size_t end = strnlen(control->file, sizeof control->file);
    return size >= (ssize_t)end && memcmp(path + size - end, control->file, end) == 0;
}

// Counts the call; true: it fails. errno is set.
static int fails(int fd, uint32_t call)
{
    if (control == NULL || (control->calls & call) == 0 || !is_the_file(fd)) {
        return 0;
    }
    if (control->skip > 0) {
        __atomic_sub_fetch(&control->skip, 1, __ATOMIC_SEQ_CST);
        return 0;
    }
    if (control->left == 0) {
        return 0;
    }
    __atomic_sub_fetch(&control->left, 1, __ATOMIC_SEQ_CST);
    __atomic_add_fetch(&control->hits, 1, __ATOMIC_SEQ_CST);
    return 1;
}

// LMDB's two meta pages come first in its files.
static uint32_t kind_at(off_t at)
{
    return at < 2 * 4096 ? ON_META : ON_WRITE;
}

#define INJECT(fd, call, real)                                                                                         \
    do {                                                                                                               \
        if (fails(fd, call)) {                                                                                         \
            if (control->done) {                                                                                       \
                (void)(real);                                                                                          \
            }                                                                                                          \
            errno = control->error;                                                                                    \
            return -1;                                                                                                 \
        }                                                                                                              \
        return (real);                                                                                                 \
    } while (0)

ssize_t write(int fd, const void *data, size_t size)
{
    INJECT(fd, ON_WRITE, syscall(SYS_write, fd, data, size));
}

ssize_t writev(int fd, const struct iovec *parts, int count)
{
    INJECT(fd, ON_WRITE, syscall(SYS_writev, fd, parts, (long)count));
}

ssize_t pwrite(int fd, const void *data, size_t size, off_t at)
{
    INJECT(fd, kind_at(at), syscall(SYS_pwrite64, fd, data, size, at));
}

ssize_t pwrite64(int fd, const void *data, size_t size, off_t at)
{
    return pwrite(fd, data, size, at);
}

ssize_t pwritev(int fd, const struct iovec *parts, int count, off_t at)
{
    INJECT(fd, kind_at(at), syscall(SYS_pwritev, fd, parts, (long)count, (long)at, 0L));
}

ssize_t pwritev64(int fd, const struct iovec *parts, int count, off_t at)
{
    return pwritev(fd, parts, count, at);
}

int fdatasync(int fd)
{
    INJECT(fd, ON_SYNC, (int)syscall(SYS_fdatasync, fd));
}

int fsync(int fd)
{
    INJECT(fd, ON_SYNC, (int)syscall(SYS_fsync, fd));
}

int ftruncate(int fd, off_t size)
{
    INJECT(fd, ON_ALLOCATE, (int)syscall(SYS_ftruncate, fd, size));
}

int ftruncate64(int fd, off_t size)
{
    return ftruncate(fd, size);
}

int fallocate(int fd, int mode, off_t at, off_t size)
{
    INJECT(fd, ON_ALLOCATE, (int)syscall(SYS_fallocate, fd, mode, at, size));
}

int fallocate64(int fd, int mode, off_t at, off_t size)
{
    return fallocate(fd, mode, at, size);
}
