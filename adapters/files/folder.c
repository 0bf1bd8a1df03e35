#include "adapters/files/folder.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <unistd.h>

#define ENDING ".json"
#define ENDING_SIZE 5
#define CHUNK 65536

static truc_error from_errno(void)
{
    switch (errno) {
    case ENOSPC:
    case EDQUOT:
        return TRUC_E_FULL;
    case ENOENT:
        return TRUC_E_NOT_FOUND;
    case EEXIST:
        return TRUC_E_EXISTS;
    default: /* errno has far more values than we have words */
        return TRUC_E_IO;
    }
}

truc_error folder_open(const char *path, struct folder *out)
{
    out->fd = -1;
    out->path = strdup(path);
    if (out->path == NULL) {
        return TRUC_E_NOMEM;
    }
    if (mkdir(path, 0750) != 0 && errno != EEXIST) {
        return from_errno();
    }
    out->fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    return out->fd >= 0 ? TRUC_OK : from_errno();
}

void folder_close(struct folder *folder)
{
    if (folder->path != NULL && folder->fd >= 0) {
        (void)close(folder->fd);
    }
    free(folder->path);
    *folder = (struct folder){.fd = -1};
}

bool folder_has(const struct folder *folder, const char *name)
{
    struct stat status;
    /* What cannot be looked at is taken as being there: names are only ever chosen to be free. */
    return fstatat(folder->fd, name, &status, AT_SYMLINK_NOFOLLOW) == 0 || errno != ENOENT;
}

truc_error folder_same_device(const struct folder *a, const struct folder *b, bool *out)
{
    struct stat first, second;
    if (fstat(a->fd, &first) != 0 || fstat(b->fd, &second) != 0) {
        return from_errno();
    }
    *out = first.st_dev == second.st_dev;
    return TRUC_OK;
}

truc_error folder_sync(const struct folder *folder)
{
    return fsync(folder->fd) == 0 ? TRUC_OK : from_errno();
}

static bool same_file(const struct stat *a, const struct stat *b)
{
    return a->st_size == b->st_size && a->st_mtim.tv_sec == b->st_mtim.tv_sec &&
           a->st_mtim.tv_nsec == b->st_mtim.tv_nsec;
}

static truc_error read_to_end(int fd, size_t limit, struct truc_buffer *out)
{
    const size_t begin = out->size;
    for (;;) {
        truc_error error = truc_buffer_reserve(out, CHUNK);
        if (error != TRUC_OK) {
            return error;
        }
        ssize_t got = read(fd, out->data + out->size, CHUNK);
        if (got < 0 && errno == EINTR) {
            continue;
        }
        if (got < 0) {
            return from_errno();
        }
        if (got == 0) {
            return TRUC_OK;
        }
        out->size += (size_t)got;
        if (out->size - begin > limit) {
            return TRUC_E_TOO_LARGE;
        }
    }
}

truc_error folder_read(const struct folder *folder, const char *name, size_t limit, struct truc_buffer *out)
{
    struct stat before, after;
    const size_t begin = out->size;
    /* NONBLOCK: a FIFO would wait for its writer. NOFOLLOW: a link could point at anybody's files. */
    int fd = openat(folder->fd, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC | O_NOCTTY);
    if (fd < 0) {
        return errno == ELOOP || errno == ENXIO ? TRUC_E_INVALID : from_errno();
    }
    truc_error error = fstat(fd, &before) == 0 ? TRUC_OK : from_errno();
    if (error == TRUC_OK && !S_ISREG(before.st_mode)) {
        error = TRUC_E_INVALID;
    }
    if (error == TRUC_OK && before.st_size > 0 && (uint64_t)before.st_size > limit) {
        error = TRUC_E_TOO_LARGE;
    }
    if (error == TRUC_OK) {
        error = read_to_end(fd, limit, out);
    }
    if (error == TRUC_OK && fstat(fd, &after) != 0) {
        error = from_errno();
    }
    if (error == TRUC_OK && (!same_file(&before, &after) || (uint64_t)after.st_size != out->size - begin)) {
        error = TRUC_E_AGAIN;
    }
    int saved = errno;
    (void)close(fd); /* only read from */
    errno = saved;
    if (error != TRUC_OK) {
        out->size = begin;
    }
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
            return from_errno();
        }
        data.data += wrote;
        data.size -= (size_t)wrote;
    }
    return TRUC_OK;
}

truc_error folder_stage(const struct folder *folder, const char *name, struct truc_bytes data, unsigned mode, int *out)
{
    if (unlinkat(folder->fd, name, 0) != 0 && errno != ENOENT) {
        return from_errno();
    }
    int fd = openat(folder->fd, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, (mode_t)mode);
    if (fd < 0) {
        return from_errno();
    }
    truc_error error = write_all(fd, data);
    if (error != TRUC_OK) {
        int saved = errno;
        (void)close(fd); /* what was written is given up */
        (void)unlinkat(folder->fd, name, 0);
        errno = saved;
        return error;
    }
    *out = fd;
    return TRUC_OK;
}

truc_error folder_put(const struct folder *folder, const char *name, struct truc_bytes data)
{
    char hidden[FILES_NAME_SIZE];
    int fd;
    int size = snprintf(hidden, sizeof hidden, ".%s.part", name);
    if (size < 0 || (size_t)size >= sizeof hidden) {
        errno = ENAMETOOLONG;
        return TRUC_E_IO;
    }
    truc_error error = folder_stage(folder, hidden, data, 0640, &fd);
    if (error != TRUC_OK) {
        return error;
    }
    if (fsync(fd) != 0) {
        error = from_errno();
    }
    int saved = errno;
    (void)close(fd); /* synced: what close could still say is known */
    errno = saved;
    if (error == TRUC_OK && renameat(folder->fd, hidden, folder->fd, name) != 0) {
        error = from_errno();
    }
    if (error != TRUC_OK) {
        saved = errno;
        (void)unlinkat(folder->fd, hidden, 0);
        errno = saved;
    }
    return error;
}

truc_error folder_move(const struct folder *from, const char *name, const struct folder *to, const char *as)
{
    if (renameat2(from->fd, name, to->fd, as, RENAME_NOREPLACE) == 0) {
        return TRUC_OK;
    }
    if (errno != EINVAL && errno != ENOSYS) {
        return from_errno();
    }
    /* A file system without that flag. Only this process makes names in our folders, so that looking first is enough.
     */
    if (folder_has(to, as)) {
        return TRUC_E_EXISTS;
    }
    return renameat(from->fd, name, to->fd, as) == 0 ? TRUC_OK : from_errno();
}

static int came_first(const void *a, const void *b)
{
    const struct folder_item *first = a, *second = b;
    if (first->modified_ns != second->modified_ns) {
        return first->modified_ns < second->modified_ns ? -1 : 1;
    }
    if (first->rank != second->rank) {
        return first->rank < second->rank ? -1 : 1;
    }
    return strcmp(first->name, second->name);
}

/* Hostile times may lie outside of 64 bits of nanoseconds: they are first or last. */
static int64_t nanoseconds(const struct timespec *time)
{
    int64_t scaled, sum;
    return __builtin_mul_overflow((int64_t)time->tv_sec, INT64_C(1000000000), &scaled) ||
                   __builtin_add_overflow(scaled, (int64_t)time->tv_nsec, &sum)
               ? (time->tv_sec < 0 ? INT64_MIN : INT64_MAX)
               : sum;
}

/* Keeps the oldest `limit`. */
static void cut(struct folder_list *list, size_t limit)
{
    folder_list_sort(list);
    while (list->count > limit) {
        free(list->items[--list->count].name);
        list->cut = true;
    }
}

static truc_error add_item(const struct folder *folder, const char *name, struct folder_list *list)
{
    struct stat status;
    if (fstatat(folder->fd, name, &status, AT_SYMLINK_NOFOLLOW) != 0) {
        return TRUC_OK; /* gone again */
    }
    if (list->count == list->capacity) {
        size_t capacity = list->capacity == 0 ? 64 : list->capacity * 2;
        struct folder_item *items = realloc(list->items, capacity * sizeof *items);
        if (items == NULL) {
            return TRUC_E_NOMEM;
        }
        list->items = items;
        list->capacity = capacity;
    }
    char *copy = strdup(name);
    if (copy == NULL) {
        return TRUC_E_NOMEM;
    }
    list->items[list->count++] = (struct folder_item){.name = copy, .modified_ns = nanoseconds(&status.st_mtim)};
    return TRUC_OK;
}

truc_error folder_events(const struct folder *folder, size_t limit, struct folder_list *out)
{
    *out = (struct folder_list){0};
    int fd = openat(folder->fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *handle = fd >= 0 ? fdopendir(fd) : NULL;
    if (handle == NULL) {
        truc_error error = from_errno();
        if (fd >= 0) {
            (void)close(fd);
        }
        return error;
    }
    const struct dirent *entry;
    truc_error error = TRUC_OK;
    while (error == TRUC_OK && (entry = readdir(handle)) != NULL) {
        if (!files_name_is_event(entry->d_name)) {
            continue;
        }
        error = add_item(folder, entry->d_name, out);
        if (out->count / 2 > limit) { /* a folder names its files in any order: all are looked at, few are held */
            cut(out, limit);
        }
    }
    (void)closedir(handle);
    if (error != TRUC_OK) {
        folder_list_close(out);
    } else {
        cut(out, limit);
    }
    return error;
}

void folder_list_sort(struct folder_list *list)
{
    if (list->count > 1) {
        qsort(list->items, list->count, sizeof *list->items, came_first);
    }
}

void folder_list_close(struct folder_list *list)
{
    for (size_t i = 0; i < list->count; i++) {
        free(list->items[i].name);
    }
    free(list->items);
    *list = (struct folder_list){0};
}

bool files_name_numbered(const char *name, uint64_t n, char out[FILES_NAME_SIZE])
{
    size_t size = strlen(name);
    bool ends = size > ENDING_SIZE && strcmp(name + size - ENDING_SIZE, ENDING) == 0;
    int stem = (int)(ends ? size - ENDING_SIZE : size);
    int made = n < 2 ? snprintf(out, FILES_NAME_SIZE, "%s", name)
                     : snprintf(out, FILES_NAME_SIZE, "%.*s~%" PRIu64 "%s", stem, name, n, ends ? ENDING : "");
    return made >= 0 && made < FILES_NAME_SIZE;
}

void files_name_plain(const char *name, char out[FILES_NAME_SIZE])
{
    size_t size = strnlen(name, FILES_NAME_SIZE - 1), at = size;
    memcpy(out, name, size);
    out[size] = '\0';
    if (size <= ENDING_SIZE || strcmp(out + size - ENDING_SIZE, ENDING) != 0) {
        return;
    }
    at = size - ENDING_SIZE;
    size_t stem = at;
    while (stem > 0 && isdigit((unsigned char)out[stem - 1])) {
        stem--;
    }
    if (stem < at && stem > 1 && out[stem - 1] == '~') {
        memcpy(out + stem - 1, ENDING, ENDING_SIZE + 1);
    }
}

bool files_name_ending(const char *name, const char *tail, char out[FILES_NAME_SIZE])
{
    size_t size = strlen(name);
    bool ends = size > ENDING_SIZE && strcmp(name + size - ENDING_SIZE, ENDING) == 0;
    int made = snprintf(out, FILES_NAME_SIZE, "%.*s%s", (int)(ends ? size - ENDING_SIZE : size), name, tail);
    return made >= 0 && made < FILES_NAME_SIZE;
}

bool files_name_is_event(const char *name)
{
    size_t size = strlen(name);
    return name[0] != '.' && size > ENDING_SIZE && strcmp(name + size - ENDING_SIZE, ENDING) == 0;
}
