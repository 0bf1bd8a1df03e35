/* Files beside LMDB: keys.slots, locks, settings. They are real files of the run's folder; writes since the last sync
 * of a file are noted, and undone in part when the machine loses its power. */
#include "tests/sim/disk.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

int __real_open(const char *path, int flags, ...);
int __wrap_open(const char *path, int flags, ...);
int __real_close(int fd);
int __wrap_close(int fd);
int __real_fsync(int fd);
int __wrap_fsync(int fd);
ssize_t __real_pwrite(int fd, const void *data, size_t size, off_t offset);
ssize_t __wrap_pwrite(int fd, const void *data, size_t size, off_t offset);
int __wrap_fallocate(int fd, int mode, off_t offset, off_t length);
int __wrap_statvfs(const char *path, struct statvfs *out);
int __wrap_fstatvfs(int fd, struct statvfs *out);
int __wrap_flock(int fd, int operation);
int __real_eventfd(unsigned count, int flags);
int __wrap_eventfd(unsigned count, int flags);
int __wrap_eventfd_write(int fd, eventfd_t value);
int __real_epoll_create1(int flags);
int __wrap_epoll_create1(int flags);

struct undo {
    struct undo *next;
    int fd;
    off_t offset;
    size_t size; /* of the whole write; what was not there before reads as zeros */
    size_t had;
    uint8_t bytes[];
};

static struct undo *undos;

static struct sim_disk *disk_now(void)
{
    struct sim_process *process = sim_process_now();

    return process ? process->disk : NULL;
}

static int note_descriptor(int fd)
{
    struct sim_process *process = sim_process_now();

    if (fd >= 0 && process && process->fd_count < sizeof process->fds / sizeof process->fds[0])
        process->fds[process->fd_count++] = fd;
    return fd;
}

int __wrap_open(const char *path, int flags, ...)
{
    mode_t mode = 0;

    if (flags & O_CREAT) {
        va_list arguments;
        va_start(arguments, flags);
        mode = (mode_t)va_arg(arguments, int);
        va_end(arguments);
    }
    return note_descriptor(__real_open(path, flags, mode));
}

int __wrap_eventfd(unsigned count, int flags)
{
    return note_descriptor(__real_eventfd(count, flags));
}

int __wrap_epoll_create1(int flags)
{
    return note_descriptor(__real_epoll_create1(flags));
}

/* Nobody polls here: whoever waits for the descriptor is woken. */
int __wrap_eventfd_write(int fd, eventfd_t value)
{
    (void)value;
    if (sim_process_now())
        sim_wake(sim_process_now()->waits);
    return fd >= 0 ? 0 : -1;
}

static void forget(int fd)
{
    for (struct undo **at = &undos; *at;) {
        struct undo *undo = *at;
        if (undo->fd == fd) {
            *at = undo->next;
            free(undo);
        } else {
            at = &undo->next;
        }
    }
}

int __wrap_close(int fd)
{
    struct sim_process *process = sim_process_now();

    for (size_t i = 0; process && i < process->fd_count; i++)
        if (process->fds[i] == fd)
            process->fds[i] = process->fds[--process->fd_count];
    forget(fd); /* the kernel writes it some day; nobody here closes a file that it counts on before a sync */
    return __real_close(fd);
}

int __wrap_fsync(int fd)
{
    struct sim_disk *disk = disk_now();

    if (disk && disk->eio_per_mille && sim_often(disk->eio_per_mille)) {
        disk->faults++;
        disk->errors++;
        SIM_TRACE("EIO at a sync");
        errno = EIO;
        return -1;
    }
    if (disk && sim_fiber_now())
        sim_sleep(sim_between(disk->sync_least, disk->sync_most));
    forget(fd);
    return 0;
}

ssize_t __wrap_pwrite(int fd, const void *data, size_t size, off_t offset)
{
    struct sim_disk *disk = disk_now();

    if (disk && disk->full) {
        disk->faults++;
        errno = ENOSPC;
        return -1;
    }
    if (disk) {
        struct stat status;
        size_t had = 0;
        if (fstat(fd, &status) == 0 && status.st_size > offset)
            had = (size_t)(status.st_size - offset) < size ? (size_t)(status.st_size - offset) : size;
        struct undo *undo = malloc(sizeof *undo + had);
        if (!undo)
            abort();
        *undo = (struct undo){.next = undos, .fd = fd, .offset = offset, .size = size, .had = had};
        if (had > 0 && pread(fd, undo->bytes, had, offset) != (ssize_t)had)
            abort();
        undos = undo;
    }
    return __real_pwrite(fd, data, size, offset);
}

/* Newest first, each whole or from a page on, or not at all: pages are written back in any order. */
void sim_files_crash(struct sim_process *process, bool power)
{
    for (struct undo *undo = undos, *next; undo; undo = next) {
        next = undo->next;
        bool ours = false;
        for (size_t i = 0; i < process->fd_count; i++)
            ours = ours || process->fds[i] == undo->fd;
        if (!ours || !power || sim_pick(3) == 0)
            continue;
        size_t from = sim_pick(2) ? 0 : sim_pick(undo->size / 4096 + 1) * 4096;
        uint8_t *old = calloc(1, undo->size ? undo->size : 1);
        if (!old)
            abort();
        memcpy(old, undo->bytes, undo->had);
        if (from < undo->size && __real_pwrite(undo->fd, old + from, undo->size - from, undo->offset + (off_t)from) < 0)
            abort();
        free(old);
    }
    for (size_t i = 0; i < process->fd_count; i++)
        forget(process->fds[i]);
}

/* LMDB's file is not there to be made longer: the answer is what counts. */
int __wrap_fallocate(int fd, int mode, off_t offset, off_t length)
{
    struct sim_disk *disk = disk_now();

    (void)fd, (void)mode, (void)offset, (void)length;
    if (disk && disk->full) {
        disk->faults++;
        errno = ENOSPC;
        return -1;
    }
    return 0;
}

static int tell_space(struct statvfs *out)
{
    const struct sim_disk *disk = disk_now();

    memset(out, 0, sizeof *out);
    out->f_frsize = out->f_bsize = 4096;
    out->f_bavail = disk && disk->full ? 16 : 1u << 20;
    return 0;
}

int __wrap_statvfs(const char *path, struct statvfs *out)
{
    (void)path;
    return tell_space(out);
}

int __wrap_fstatvfs(int fd, struct statvfs *out)
{
    (void)fd;
    return tell_space(out);
}

/* Descriptors of the dead are closed at their death; a lock that is still held belongs to somebody who lives. */
int __wrap_flock(int fd, int operation)
{
    (void)fd, (void)operation;
    return 0;
}
