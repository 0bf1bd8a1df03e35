#include "truc/config.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <stdatomic.h>
#include <sys/stat.h>
#include <unistd.h>

truc_error truc_file_read(const char *path, size_t limit, struct truc_buffer *out)
{
    truc_error error = TRUC_OK;
    const size_t begin = out->size;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
    if (fd < 0) {
        return TRUC_E_IO;
    }
    struct stat status;
    if (fstat(fd, &status) != 0) {
        error = TRUC_E_IO;
        goto out;
    }
    if (S_ISDIR(status.st_mode)) {
        errno = EISDIR;
        error = TRUC_E_IO;
        goto out;
    }
    for (;;) {
        /* One byte beyond the limit is asked for, to see that the file is longer. */
        size_t have = out->size - begin;
        size_t want = limit - have < 65536 ? limit - have + 1 : 65536;
        error = truc_buffer_reserve(out, want);
        if (error != TRUC_OK) {
            goto out;
        }
        ssize_t got = read(fd, out->data + out->size, want);
        if (got < 0 && errno == EINTR) {
            continue;
        }
        if (got < 0) {
            error = TRUC_E_IO;
            goto out;
        }
        if (got == 0) {
            goto out;
        }
        if ((size_t)got > limit - have) {
            error = TRUC_E_TOO_LARGE;
            goto out;
        }
        out->size += (size_t)got;
    }
out:
    if (error != TRUC_OK) {
        out->size = begin;
    }
    int saved = errno;
    (void)close(fd); /* read only: nothing can be lost here */
    errno = saved;
    return error;
}

static truc_error write_all(int fd, struct truc_bytes data)
{
    while (data.size > 0) {
        ssize_t wrote = write(fd, data.data, data.size);
        if (wrote < 0 && errno == EINTR) {
            continue;
        }
        if (wrote < 0) {
            return TRUC_E_IO;
        }
        data.data += wrote;
        data.size -= (size_t)wrote;
    }
    return TRUC_OK;
}

/* A rename is durable only when the folder is synced too. */
static truc_error sync_folder_of(const char *path)
{
    char *copy = strdup(path);
    if (copy == NULL) {
        return TRUC_E_NOMEM;
    }
    truc_error error = TRUC_OK;
    int fd = open(dirname(copy), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0 || fsync(fd) != 0) {
        error = TRUC_E_IO;
    }
    int saved = errno;
    if (fd >= 0) {
        (void)close(fd);
    }
    free(copy);
    errno = saved;
    return error;
}

/* Moves the finished file to its name. Without `replace` an existing one stays: renameat2 says so atomically, and a
 * file system that does not know that flag has hard links, which do too. */
static truc_error move_into_place(const char *temporary, const char *path, bool replace)
{
    if (replace) {
        return rename(temporary, path) == 0 ? TRUC_OK : TRUC_E_IO;
    }
    if (renameat2(AT_FDCWD, temporary, AT_FDCWD, path, RENAME_NOREPLACE) == 0) {
        return TRUC_OK;
    }
    if (errno == EINVAL || errno == ENOSYS) {
        if (link(temporary, path) == 0) {
            return unlink(temporary) == 0 ? TRUC_OK : TRUC_E_IO;
        }
    }
    return errno == EEXIST ? TRUC_E_EXISTS : TRUC_E_IO;
}

truc_error truc_file_write(const char *path, struct truc_bytes data, unsigned mode, bool replace)
{
    static _Atomic unsigned counter;
    truc_error error = TRUC_OK;
    char *temporary = NULL;
    int fd = -1;
    bool made = false;

    if (!replace && access(path, F_OK) == 0) {
        return TRUC_E_EXISTS;
    }
    if (asprintf(&temporary, "%s.%ld-%u.part", path, (long)getpid(), atomic_fetch_add(&counter, 1)) < 0) {
        return TRUC_E_NOMEM;
    }
    fd = open(temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, (mode_t)mode);
    if (fd < 0) {
        error = TRUC_E_IO;
        goto out;
    }
    made = true;
    error = write_all(fd, data);
    if (error != TRUC_OK) {
        goto out;
    }
    if (fsync(fd) != 0) {
        error = TRUC_E_IO;
        goto out;
    }
    error = move_into_place(temporary, path, replace);
    if (error != TRUC_OK) {
        goto out;
    }
    made = false;
    error = sync_folder_of(path);
out:;
    int saved = errno;
    if (fd >= 0) {
        (void)close(fd); /* synced already: what close could still say is known */
    }
    if (made) {
        (void)unlink(temporary);
    }
    free(temporary);
    errno = saved;
    return error;
}
