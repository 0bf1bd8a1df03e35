/* Preloaded into every process of a recording (tests/powerloss): writes down what it asks of the disk, in one order
 * over all threads and processes, so that a power loss can be played afterwards (disk.py).
 *
 *   TRUC_RECORD        the trace, a file of its full size already; mapped and shared by all processes
 *   TRUC_RECORD_ROOT   the folder of the recording, absolute. What lies below its `home*` is recorded, and its *.record
 *                      files (tests/crash/load.c: what a client was told) become facts
 *   TRUC_RECORD_SYNC   microseconds that a sync takes at least: in memory it takes none, and every commit would be
 * large TRUC_RECORD_FLAGS  a planted fault, "FILE:FLAGS": LMDB opens FILE with these flags more
 *
 * Trace, this machine's byte order: head "TRUCDISK", 8 bytes the end. Then records: struct record, data, to 8 bytes.
 * A write and a sync are two records: one before the call, with its place in the trace as its number, and DONE with
 * that number and the result. So a write counts as possible on the disk from before the call, and a sync covers only
 * what was done before it began. The rest is recorded after it worked.
 *
 * Not seen: writes through a mapping (MAPPED says so, and the test fails), stdio, dup'ed descriptors. The test compares
 * at the end what was recorded with what the files hold. */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <limits.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

enum kind {
    DONE = 1,  /* number: of what; offset: result */
    WRITE = 2, /* file, offset, data; number 1: durable when done (O_DSYNC) */
    SYNC = 3,  /* file */
    SIZE = 4,  /* file, offset: its size from now on */
    GROW = 5,  /* file, offset: its size at least */
    CREATE = 6,
    FOLDER = 7, /* file: the new one's number, number: the folder's, data: the name */
    RENAME = 8, /* file: folder, number: folder, data: name NUL name */
    UNLINK = 9, /* number: folder, data: name */
    MAPPED = 10,
    FACT = 11, /* file: the *.record file, 0: of truc_record_fact; data: text */
};

#define MARK 0x43525454u /* begins each record: a process killed between its reservation and its copy leaves a hole */
#define DESCRIPTORS 65536
#define HEAD 16

struct record {
    uint32_t mark, kind;
    uint64_t size; /* of the data */
    int64_t at_ns;
    uint64_t file, offset, number;
};

struct descriptor {
    uint64_t file; /* inode; 0: not recorded */
    bool durable, fact;
};

static uint8_t *trace;
static uint64_t room;
static _Atomic uint64_t *end;
static char root[PATH_MAX];
static long sync_ns;
static struct descriptor descriptors[DESCRIPTORS];

#define NEXT(name) __extension__((__typeof__(&(name)))dlsym(RTLD_NEXT, #name))

static _Noreturn void give_up(const char *why)
{
    (void)!write(STDERR_FILENO, why, strlen(why));
    abort();
}

__attribute__((constructor)) static void begin(void)
{
    const char *path = getenv("TRUC_RECORD"), *below = getenv("TRUC_RECORD_ROOT");
    struct stat status;
    if (path == NULL || below == NULL || trace != NULL) {
        return;
    }
    int fd = (int)syscall(SYS_openat, AT_FDCWD, path, O_RDWR | O_CLOEXEC);
    if (fd < 0 || fstat(fd, &status) != 0 || strlen(below) >= sizeof root) {
        give_up("record: no trace\n");
    }
    void *at = mmap(NULL, (size_t)status.st_size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    (void)syscall(SYS_close, fd);
    if (at == MAP_FAILED) {
        give_up("record: the trace cannot be mapped\n");
    }
    const char *slow = getenv("TRUC_RECORD_SYNC");
    sync_ns = slow == NULL ? 0 : strtol(slow, NULL, 10) * 1000;
    memcpy(root, below, strlen(below) + 1);
    room = (uint64_t)status.st_size;
    end = (_Atomic uint64_t *)(void *)((uint8_t *)at + 8);
    trace = at;
}

static uint8_t *reserve(enum kind kind, uint64_t file, uint64_t offset, uint64_t number, size_t size)
{
    struct timespec now;
    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    uint64_t whole = (sizeof(struct record) + size + 7) / 8 * 8, at = atomic_fetch_add(end, whole);
    if (at + whole > room) {
        give_up("record: the trace is full\n");
    }
    struct record record = {.kind = kind,
                            .size = size,
                            .at_ns = (int64_t)now.tv_sec * 1000000000 + now.tv_nsec,
                            .file = file,
                            .offset = offset,
                            .number = number};
    memcpy(trace + at, &record, sizeof record);
    return trace + at;
}

/* With its mark a record is whole. -> its place */
static uint64_t finish(uint8_t *at)
{
    uint32_t mark = MARK;
    atomic_thread_fence(memory_order_release);
    memcpy(at, &mark, sizeof mark);
    return (uint64_t)(at - trace);
}

static uint64_t put(enum kind kind, uint64_t file, uint64_t offset, uint64_t number, const void *data, size_t size)
{
    uint8_t *at = reserve(kind, file, offset, number, size);
    if (size > 0) {
        memcpy(at + sizeof(struct record), data, size);
    }
    return finish(at);
}

/* The time that a disk takes is the time in which the power fails. */
static void take_time(void)
{
    const struct timespec pause = {0, sync_ns};
    if (sync_ns > 0) {
        (void)nanosleep(&pause, NULL);
    }
}

static void done(uint64_t number, int64_t result)
{
    int saved = errno;
    (void)put(DONE, 0, (uint64_t)result, number, NULL, 0);
    errno = saved;
}

/* A fact of the test's own program. */
__attribute__((visibility("default"))) void truc_record_fact(const char *text, size_t size);
void truc_record_fact(const char *text, size_t size)
{
    (void)put(FACT, 0, 0, 0, text, size);
}

/* ---- which files ---- */

/* `path` below the root: what follows it; NULL: none of ours. */
static const char *within(const char *path)
{
    size_t length = strlen(root);
    if (trace == NULL || strncmp(path, root, length) != 0 || (path[length] != '/' && path[length] != '\0')) {
        return NULL;
    }
    return path[length] == '/' ? path + length + 1 : path + length;
}

static bool ends_with(const char *text, const char *with)
{
    size_t size = strlen(text), tail = strlen(with);
    return size >= tail && strcmp(text + size - tail, with) == 0;
}

/* LMDB's reader tables are mapped and belong to the running processes only. */
static bool is_recorded(const char *relative)
{
    return relative != NULL && (*relative == '\0' || strncmp(relative, "home", 4) == 0) &&
           !ends_with(relative, ".mdb-lock");
}

static bool path_of(int fd, char out[PATH_MAX])
{
    char link[64];
    (void)snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t size = readlink(link, out, PATH_MAX - 1);
    out[size < 0 ? 0 : size] = '\0';
    return size > 0;
}

/* Where `name` (relative to `folder`) really lies: its folder's path resolved. -> the folder's number; 0: not ours */
static uint64_t place_of(int folder, const char *name, char base[NAME_MAX + 1])
{
    char path[PATH_MAX], copy[PATH_MAX], real[PATH_MAX], under[PATH_MAX];
    struct stat status;
    if (trace == NULL) {
        return 0;
    }
    if (name[0] == '/' || folder == AT_FDCWD) {
        (void)snprintf(path, sizeof path, "%s", name);
    } else if (!path_of(folder, under) || snprintf(path, sizeof path, "%s/%s", under, name) >= (int)sizeof path) {
        return 0;
    }
    memcpy(copy, path, sizeof copy);
    if (realpath(dirname(copy), real) == NULL || stat(real, &status) != 0) {
        return 0;
    }
    memcpy(copy, path, sizeof copy);
    (void)snprintf(base, NAME_MAX + 1, "%s", basename(copy));
    const char *relative = within(real);
    char whole[PATH_MAX + NAME_MAX + 2];
    (void)snprintf(whole, sizeof whole, "%s%s%s", relative == NULL ? "" : relative,
                   relative == NULL || *relative == '\0' ? "" : "/", base);
    return relative != NULL && is_recorded(whole) ? status.st_ino : 0;
}

static struct descriptor *known(int fd)
{
    struct descriptor *one = fd >= 0 && fd < DESCRIPTORS && trace != NULL ? &descriptors[fd] : NULL;
    return one != NULL && one->file != 0 ? one : NULL;
}

static void learn(int fd, int folder, const char *name, int flags, bool was_there)
{
    char path[PATH_MAX], base[NAME_MAX + 1];
    struct stat status;
    if (trace == NULL || fd < 0) {
        return;
    }
    if (fd >= DESCRIPTORS) {
        give_up("record: too many descriptors\n");
    }
    descriptors[fd] = (struct descriptor){0};
    if (!path_of(fd, path) || within(path) == NULL || fstat(fd, &status) != 0) {
        return;
    }
    if (!is_recorded(within(path))) {
        bool fact = ends_with(path, ".record");
        descriptors[fd] = (struct descriptor){.file = fact ? status.st_ino : 0, .fact = fact};
        return;
    }
    descriptors[fd] = (struct descriptor){.file = status.st_ino, .durable = (flags & O_DSYNC) != 0};
    if ((flags & O_CREAT) != 0 && !was_there) {
        uint64_t where = place_of(folder, name, base);
        (void)put(CREATE, status.st_ino, 0, where, base, strlen(base));
    } else if ((flags & O_TRUNC) != 0) {
        (void)put(SIZE, status.st_ino, 0, 0, NULL, 0);
    }
}

static int open_any(int folder, const char *path, int flags, mode_t mode)
{
    struct stat status;
    int saved = errno;
    bool was_there = (flags & O_CREAT) != 0 && fstatat(folder, path, &status, AT_SYMLINK_NOFOLLOW) == 0;
    errno = saved;
    int fd = (int)syscall(SYS_openat, folder, path, flags, mode);
    saved = errno;
    learn(fd, folder, path, flags, was_there);
    errno = saved;
    return fd;
}

static mode_t mode_of(int flags, va_list arguments)
{
    return (flags & (O_CREAT | __O_TMPFILE)) != 0 ? va_arg(arguments, mode_t) : 0;
}

/* ---- what is replaced ---- */

#define OPEN_BODY(folder)                                                                                              \
    va_list arguments;                                                                                                 \
    va_start(arguments, flags);                                                                                        \
    mode_t mode = mode_of(flags, arguments);                                                                           \
    va_end(arguments);                                                                                                 \
    return open_any(folder, path, flags, mode)

int open(const char *path, int flags, ...)
{
    OPEN_BODY(AT_FDCWD);
}

int open64(const char *path, int flags, ...)
{
    OPEN_BODY(AT_FDCWD);
}

int openat(int folder, const char *path, int flags, ...)
{
    OPEN_BODY(folder);
}

int openat64(int folder, const char *path, int flags, ...)
{
    OPEN_BODY(folder);
}

int creat(const char *path, mode_t mode)
{
    return open_any(AT_FDCWD, path, O_CREAT | O_WRONLY | O_TRUNC, mode);
}

int close(int fd)
{
    if (known(fd) != NULL) {
        descriptors[fd] = (struct descriptor){0};
    }
    return (int)syscall(SYS_close, fd);
}

static size_t gathered(const struct iovec *parts, int count)
{
    size_t size = 0;
    for (int i = 0; i < count; i++) {
        size += parts[i].iov_len;
    }
    return size;
}

static void gather(uint8_t *at, const struct iovec *parts, int count)
{
    for (int i = 0; i < count; i++) {
        if (parts[i].iov_len > 0) {
            memcpy(at, parts[i].iov_base, parts[i].iov_len);
        }
        at += parts[i].iov_len;
    }
}

/* `offset` -1: where the descriptor stands. */
static uint64_t begin_write(const struct descriptor *one, int fd, const struct iovec *parts, int count, off_t offset)
{
    struct stat status;
    int flags = fcntl(fd, F_GETFL);
    if (offset < 0) {
        offset = (flags & O_APPEND) != 0 && fstat(fd, &status) == 0 ? status.st_size : lseek(fd, 0, SEEK_CUR);
    }
    bool durable = one->durable || (flags & O_DSYNC) != 0; /* a later fcntl may have set it */
    uint8_t *at = reserve(WRITE, one->file, (uint64_t)offset, durable, gathered(parts, count));
    gather(at + sizeof(struct record), parts, count);
    return finish(at);
}

static ssize_t write_any(int fd, const struct iovec *parts, int count, off_t offset)
{
    const struct descriptor *one = known(fd);
    bool fact = one != NULL && one->fact;
    uint64_t number = one != NULL && !fact ? begin_write(one, fd, parts, count, offset) : 0;
    ssize_t wrote =
        offset < 0 ? syscall(SYS_writev, fd, parts, count) : syscall(SYS_pwritev, fd, parts, count, (long)offset, 0L);
    if (number != 0) {
        if (one->durable) {
            take_time();
        }
        done(number, wrote);
    } else if (fact && wrote > 0) {
        int saved = errno;
        uint8_t *at = reserve(FACT, one->file, 0, 0, gathered(parts, count));
        gather(at + sizeof(struct record), parts, count);
        (void)finish(at);
        errno = saved;
    }
    return wrote;
}

ssize_t write(int fd, const void *data, size_t size)
{
    if (known(fd) == NULL) {
        return syscall(SYS_write, fd, data, size);
    }
    const struct iovec part = {(void *)(uintptr_t)data, size};
    return write_any(fd, &part, 1, -1);
}

ssize_t pwrite(int fd, const void *data, size_t size, off_t offset)
{
    const struct iovec part = {(void *)(uintptr_t)data, size};
    return write_any(fd, &part, 1, offset);
}

ssize_t pwrite64(int fd, const void *data, size_t size, off64_t offset)
{
    return pwrite(fd, data, size, offset);
}

ssize_t writev(int fd, const struct iovec *parts, int count)
{
    return write_any(fd, parts, count, -1);
}

ssize_t pwritev(int fd, const struct iovec *parts, int count, off_t offset)
{
    return write_any(fd, parts, count, offset);
}

ssize_t pwritev64(int fd, const struct iovec *parts, int count, off64_t offset)
{
    return write_any(fd, parts, count, offset);
}

static int sync_any(int fd, long call)
{
    const struct descriptor *one = known(fd);
    uint64_t number = one != NULL && !one->fact ? put(SYNC, one->file, 0, 0, NULL, 0) : 0;
    int result = (int)syscall(call, fd);
    if (number != 0) {
        take_time();
        done(number, result);
    }
    return result;
}

int fsync(int fd)
{
    return sync_any(fd, SYS_fsync);
}

int fdatasync(int fd)
{
    return sync_any(fd, SYS_fdatasync);
}

static void put_size(int fd, enum kind kind, off_t size)
{
    const struct descriptor *one = known(fd);
    if (one != NULL && !one->fact) {
        (void)put(kind, one->file, (uint64_t)size, 0, NULL, 0);
    }
}

int ftruncate(int fd, off_t size)
{
    int result = (int)syscall(SYS_ftruncate, fd, size);
    if (result == 0) {
        put_size(fd, SIZE, size);
    }
    return result;
}

int ftruncate64(int fd, off64_t size)
{
    return ftruncate(fd, size);
}

int fallocate(int fd, int mode, off_t offset, off_t size)
{
    int result = (int)syscall(SYS_fallocate, fd, mode, offset, size);
    if (result == 0 && mode == 0) {
        put_size(fd, GROW, offset + size);
    } else if (result == 0 && known(fd) != NULL) {
        give_up("record: a kind of fallocate that the model does not know\n");
    }
    return result;
}

int fallocate64(int fd, int mode, off64_t offset, off64_t size)
{
    return fallocate(fd, mode, offset, size);
}

static int rename_any(int from, const char *old, int to, const char *new, unsigned flags)
{
    char names[2 * (NAME_MAX + 1)], base[NAME_MAX + 1];
    uint64_t source = place_of(from, old, names), target = place_of(to, new, base);
    int result = (int)syscall(SYS_renameat2, from, old, to, new, flags);
    if (result == 0 && source != 0 && target != 0) {
        size_t size = strlen(names) + 1;
        memcpy(names + size, base, strlen(base));
        (void)put(RENAME, source, 0, target, names, size + strlen(base));
    }
    return result;
}

int rename(const char *old, const char *new)
{
    return rename_any(AT_FDCWD, old, AT_FDCWD, new, 0);
}

int renameat(int from, const char *old, int to, const char *new)
{
    return rename_any(from, old, to, new, 0);
}

int renameat2(int from, const char *old, int to, const char *new, unsigned flags)
{
    return rename_any(from, old, to, new, flags);
}

static int unlink_any(int folder, const char *path, int flags)
{
    char base[NAME_MAX + 1];
    uint64_t where = place_of(folder, path, base);
    int result = (int)syscall(SYS_unlinkat, folder, path, flags);
    if (result == 0 && where != 0) {
        (void)put(UNLINK, 0, 0, where, base, strlen(base));
    }
    return result;
}

int unlink(const char *path)
{
    return unlink_any(AT_FDCWD, path, 0);
}

int unlinkat(int folder, const char *path, int flags)
{
    return unlink_any(folder, path, flags);
}

int rmdir(const char *path)
{
    return unlink_any(AT_FDCWD, path, AT_REMOVEDIR);
}

int remove(const char *path)
{
    struct stat status;
    return unlink_any(AT_FDCWD, path, lstat(path, &status) == 0 && S_ISDIR(status.st_mode) ? AT_REMOVEDIR : 0);
}

static int mkdir_any(int folder, const char *path, mode_t mode)
{
    char base[NAME_MAX + 1];
    struct stat status;
    uint64_t where = place_of(folder, path, base);
    int result = (int)syscall(SYS_mkdirat, folder, path, mode);
    if (result == 0 && where != 0 && fstatat(folder, path, &status, AT_SYMLINK_NOFOLLOW) == 0) {
        (void)put(FOLDER, status.st_ino, 0, where, base, strlen(base));
    }
    return result;
}

int mkdir(const char *path, mode_t mode)
{
    return mkdir_any(AT_FDCWD, path, mode);
}

int mkdirat(int folder, const char *path, mode_t mode)
{
    return mkdir_any(folder, path, mode);
}

void *mmap(void *at, size_t size, int protection, int flags, int fd, off_t offset)
{
    const struct descriptor *one = (protection & PROT_WRITE) != 0 && (flags & MAP_SHARED) != 0 ? known(fd) : NULL;
    if (one != NULL && !one->fact) {
        (void)put(MAPPED, one->file, 0, 0, NULL, 0);
    }
    /* NOLINTNEXTLINE: the kernel's answer is an address */
    return (void *)syscall(SYS_mmap, at, size, protection, flags, fd, offset);
}

void *mmap64(void *at, size_t size, int protection, int flags, int fd, off64_t offset)
{
    return mmap(at, size, protection, flags, fd, offset);
}

/* ---- the planted fault: what a wrong flag of LMDB would do ---- */

struct MDB_env;
int mdb_env_open(struct MDB_env *env, const char *path, unsigned flags, mode_t mode);

int mdb_env_open(struct MDB_env *env, const char *path, unsigned flags, mode_t mode)
{
    const char *planted = getenv("TRUC_RECORD_FLAGS"), *colon = planted == NULL ? NULL : strrchr(planted, ':');
    char name[NAME_MAX + 1];
    if (colon != NULL && snprintf(name, sizeof name, "/%.*s", (int)(colon - planted), planted) > 0 &&
        ends_with(path, name)) {
        flags |= (unsigned)strtoul(colon + 1, NULL, 0);
    }
    return NEXT(mdb_env_open)(env, path, flags, mode);
}
