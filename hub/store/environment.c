#include "hub/store/environment.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#define GROWTH (8u << 20) /* the file grows by so much: fewer changes of its size to sync */
#define SLACK_PAGES 64    /* branch pages, free list and meta of one commit, generously */
#define NEARLY_FULL                                                                                                    \
    (16u << 20) /* LMDB reports a short write as EIO; with less free than this it was the disk's end                   \
                 */
#define READERS 126

truc_error hub_environment_error(int code)
{
    switch (code) {
    case MDB_SUCCESS:
        return TRUC_OK;
    case MDB_NOTFOUND:
        return TRUC_E_NOT_FOUND;
    case MDB_MAP_FULL:
    case ENOSPC:
    case EDQUOT:
        return TRUC_E_FULL;
    case MDB_CORRUPTED:
    case MDB_PAGE_NOTFOUND:
    case MDB_INVALID:
    case MDB_VERSION_MISMATCH:
    case MDB_KEYEXIST: /* an append behind which something stands already */
        return TRUC_E_CORRUPT;
    case ENOMEM:
        return TRUC_E_NOMEM;
    case ENOENT:
        return TRUC_E_NOT_FOUND;
    default: /* LMDB hands on any errno, and its codes that only a damaged environment or a bug can cause */
        errno = code > 0 ? code : 0;
        return TRUC_E_IO;
    }
}

truc_error hub_environment_start(const char *path, const struct hub_environment_options *options, unsigned flags,
                                 MDB_env **out, char why[HUB_WHY_SIZE])
{
    long page = sysconf(_SC_PAGESIZE);
    uint64_t size = options->map_bytes + (uint64_t)page - 1;
    MDB_env *env = NULL;
    int code = mdb_env_create(&env);
    if (code == 0) {
        code = mdb_env_set_mapsize(env, (size_t)(size - size % (uint64_t)page));
    }
    if (code == 0) {
        code = mdb_env_set_maxdbs(env, options->tables);
    }
    if (code == 0) {
        code = mdb_env_set_maxreaders(env, READERS);
    }
    if (code == 0) {
        /* MDB_NOTLS: a reader belongs to an object of ours, not to a thread. Read-ahead stays on: a row is megabytes in
         * one piece. None of the flags that can lose a synced commit. */
        code = mdb_env_open(env, path, flags | MDB_NOSUBDIR | MDB_NOTLS, 0600);
    }
    if (code != 0) {
        (void)snprintf(why, HUB_WHY_SIZE, "%s cannot be opened: %s", options->name, mdb_strerror(code));
        mdb_env_close(env);
        return hub_environment_error(code);
    }
    *out = env;
    return TRUC_OK;
}

/* One writer in the world: the lock goes with the process, however it ends. */
static truc_error take_lock(const struct hub_environment_options *options, int *out, char why[HUB_WHY_SIZE])
{
    char *path;
    truc_error error = TRUC_OK;
    if (asprintf(&path, "%s/%s", options->folder, options->lock) < 0) {
        return TRUC_E_NOMEM;
    }
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0) {
        (void)snprintf(why, HUB_WHY_SIZE, "%s/%s cannot be opened: %s", options->folder, options->lock,
                       strerror(errno));
        error = errno == ENOENT ? TRUC_E_NOT_FOUND : hub_environment_error(errno);
    } else if (flock(fd, LOCK_EX | LOCK_NB) != 0) {
        error = errno == EWOULDBLOCK ? TRUC_E_LOCKED : TRUC_E_IO;
        (void)snprintf(why, HUB_WHY_SIZE, "%s: %s", path,
                       errno == EWOULDBLOCK ? "another hub works in this folder; stop it first" : strerror(errno));
        (void)close(fd);
        fd = -1;
    }
    *out = fd;
    free(path);
    return error;
}

/* A new file's name must survive a power loss too. */
static truc_error sync_folder(const char *folder)
{
    int fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) {
        return TRUC_E_IO;
    }
    truc_error error = fsync(fd) == 0 ? TRUC_OK : TRUC_E_IO;
    (void)close(fd);
    return error;
}

/* Where a commit's sync failed, what the kernel remembers of the two meta pages and what the disk holds may differ, and
 * the kernel does not try again by itself. A start reads what the kernel remembers: before anything is written over
 * pages that the disk's meta pages may still lead to, both are written as they were read, and synced. */
static truc_error settle(MDB_env *env, const char *name, char why[HUB_WHY_SIZE])
{
    mdb_filehandle_t fd;
    MDB_stat stat;
    truc_error error = hub_environment_error(mdb_env_get_fd(env, &fd));
    if (error == TRUC_OK) {
        error = hub_environment_error(mdb_env_stat(env, &stat));
    }
    if (error != TRUC_OK) {
        return error;
    }
    size_t size = 2 * (size_t)stat.ms_psize;
    uint8_t *metas = malloc(size);
    if (metas == NULL) {
        return TRUC_E_NOMEM;
    }
    errno = 0;
    if (pread(fd, metas, size, 0) != (ssize_t)size || pwrite(fd, metas, size, 0) != (ssize_t)size ||
        fdatasync(fd) != 0) {
        (void)snprintf(why, HUB_WHY_SIZE, "%s cannot be synced (%s): look after the disk, then start again", name,
                       errno != 0 ? strerror(errno) : "short write");
        error = TRUC_E_IO;
    }
    free(metas);
    return error;
}

/* LMDB writes a new file's two meta pages without a sync, and a power loss may keep one of them, or the length alone:
 * what looks damaged then was never in use. So only a file that is synced gets the name. */
static truc_error make_file(const char *path, const struct hub_environment_options *options, char why[HUB_WHY_SIZE])
{
    char *part;
    MDB_env *env = NULL;
    if (asprintf(&part, "%s.part", path) < 0) {
        return TRUC_E_NOMEM;
    }
    truc_error error = unlink(part) == 0 || errno == ENOENT ? TRUC_OK : TRUC_E_IO; /* of a start that was cut short */
    if (error == TRUC_OK) {
        error = hub_environment_start(part, options, MDB_NOLOCK, &env, why); /* we hold the folder's own lock */
    }
    if (error == TRUC_OK) {
        error = hub_environment_error(mdb_env_sync(env, 1));
        mdb_env_close(env);
    }
    if (error == TRUC_OK && rename(part, path) != 0) {
        error = hub_environment_error(errno);
    }
    free(part);
    return error == TRUC_OK ? sync_folder(options->folder) : error;
}

static truc_error open_at(const char *path, const struct hub_environment_options *options, struct hub_environment *out,
                          char why[HUB_WHY_SIZE])
{
    bool writable = !options->read_only;
    bool exists = access(path, F_OK) == 0;
    int dead;
    truc_error error = TRUC_OK;
    if (!exists && (!options->create || !writable)) {
        (void)snprintf(why, HUB_WHY_SIZE, "%s is not there", path);
        return TRUC_E_NOT_FOUND;
    }
    if (writable) {
        error = take_lock(options, &out->lock_fd, why);
    }
    if (error == TRUC_OK) {
        error = exists ? hub_environment_check(path, options, why) : make_file(path, options, why);
    }
    if (error == TRUC_OK) {
        error = hub_environment_start(path, options, writable ? 0u : MDB_RDONLY, &out->env, why);
    }
    if (error == TRUC_OK && writable) {
        error = settle(out->env, options->name, why);
    }
    if (error == TRUC_OK) {
        /* Readers that died with their process would keep old pages for ever. */
        error = hub_environment_error(mdb_reader_check(out->env, &dead));
    }
    return error;
}

truc_error hub_environment_open(const struct hub_environment_options *options, struct hub_environment *out,
                                char why[HUB_WHY_SIZE])
{
    char *path;
    *out = (struct hub_environment){.lock_fd = -1, .remakeable = options->remakeable};
    why[0] = '\0';
    if (asprintf(&path, "%s/%s", options->folder, options->name) < 0) {
        return TRUC_E_NOMEM;
    }
    truc_error error = open_at(path, options, out, why);
    if (error != TRUC_OK) {
        if (why[0] == '\0') {
            (void)snprintf(why, HUB_WHY_SIZE, "%s: %s", path, truc_error_string(error));
        }
        hub_environment_close(out);
    }
    free(path);
    return error;
}

void hub_environment_close(struct hub_environment *environment)
{
    if (environment->env != NULL) {
        mdb_env_close(environment->env);
    }
    if (environment->lock_fd >= 0) {
        (void)close(environment->lock_fd);
    }
    *environment = (struct hub_environment){.lock_fd = -1};
}

static uint64_t page_size(const struct hub_environment *environment)
{
    MDB_stat stat;
    return mdb_env_stat(environment->env, &stat) == 0 ? stat.ms_psize : 4096;
}

uint64_t hub_environment_used(const struct hub_environment *environment)
{
    MDB_envinfo info;
    if (mdb_env_info(environment->env, &info) != 0) {
        return 0; /* only for a NULL argument */
    }
    return (info.me_last_pgno + 1) * page_size(environment);
}

static int allocate_file(int fd, uint64_t from, uint64_t to)
{
    int code;
    do {
        code = fallocate(fd, 0, (off_t)from, (off_t)(to - from)) == 0 ? 0 : errno;
    } while (code == EINTR);
    return code;
}

truc_error hub_environment_room(struct hub_environment *environment, uint64_t bytes)
{
    MDB_envinfo info;
    mdb_filehandle_t fd;
    int code = mdb_env_info(environment->env, &info);
    if (code == 0) {
        code = mdb_env_get_fd(environment->env, &fd);
    }
    if (code != 0) {
        return hub_environment_error(code);
    }
    uint64_t page = page_size(environment), used = (info.me_last_pgno + 1) * page;
    uint64_t need = used + bytes + SLACK_PAGES * page;
    if (used + bytes > info.me_mapsize) {
        return TRUC_E_FULL;
    }
    need = need > info.me_mapsize ? info.me_mapsize : need;
    if (need <= environment->allocated || environment->no_allocate) {
        return TRUC_OK;
    }
    uint64_t to = need + GROWTH > info.me_mapsize ? info.me_mapsize : need + GROWTH;
    code = allocate_file(fd, used, to);
    if (code == ENOSPC || code == EDQUOT || code == EFBIG) {
        to = need;
        code = allocate_file(fd, used, to);
    }
    if (code == EOPNOTSUPP || code == ENOSYS) {
        environment->no_allocate = true;
        return TRUC_OK;
    }
    if (code == EFBIG) {
        return TRUC_E_FULL;
    }
    if (code == 0) {
        environment->allocated = to;
    }
    return hub_environment_error(code);
}

static bool disk_is_full(const struct hub_environment *environment)
{
    struct statvfs space;
    mdb_filehandle_t fd;
    return mdb_env_get_fd(environment->env, &fd) == 0 && fstatvfs(fd, &space) == 0 &&
           (uint64_t)space.f_bavail * space.f_frsize < NEARLY_FULL;
}

truc_error hub_environment_commit(struct hub_environment *environment, MDB_txn *txn)
{
    int code = mdb_txn_commit(txn);
    truc_error error = hub_environment_error(code);
    if (code == EIO && environment->remakeable && disk_is_full(environment)) {
        error = TRUC_E_FULL;
    }
    if (error != TRUC_E_FULL) {
        return error;
    }
    /* Data pages are written before the meta page, and a failure there leaves the environment as it was. Were it the
     * meta page that failed, LMDB would let no further write transaction begin. */
    MDB_txn *probe;
    if (mdb_txn_begin(environment->env, NULL, 0, &probe) != 0) {
        errno = code;
        return TRUC_E_IO;
    }
    mdb_txn_abort(probe);
    return TRUC_E_FULL;
}
