/* Is this file an LMDB environment that can be read? LMDB maps its file and follows page numbers without checking them:
 * a damaged one may crash who reads it. So length and meta pages are checked by plain reads, and everything behind them
 * is first touched in a child process. */
#include "hub/store/environment.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

/* LMDB 0.9, data version 1, on a machine with 64-bit words: a page header of 16 bytes, then the meta structure. */
_Static_assert(sizeof(size_t) == 8, "the meta page is read as 64-bit LMDB writes it");
enum {
    PAGE_AT_FLAGS = 10,
    PAGE_HEADER = 16,
    META_AT_MAGIC = 0,
    META_AT_VERSION = 4,
    META_AT_PAGE_SIZE = 24,
    META_AT_LAST_PAGE = 120,
    META_AT_TRANSACTION = 128,
    META_SIZE = 136,
};
#define META_MAGIC 0xBEEFC0DEu
#define META_VERSION 1
#define PAGE_IS_META 8
#define CPU_SECONDS 60 /* page numbers that lead in a circle must come to an end */
#define SNAPSHOTS 10

struct meta {
    uint32_t page_size;
    uint64_t last_page, transaction;
};

/* LMDB writes numbers as this machine has them. */
static uint32_t u32_at(const uint8_t *at)
{
    uint32_t value;
    memcpy(&value, at, sizeof value);
    return value;
}

static uint64_t u64_at(const uint8_t *at)
{
    uint64_t value;
    memcpy(&value, at, sizeof value);
    return value;
}

static bool read_meta(int fd, uint64_t at, struct meta *out)
{
    uint8_t page[PAGE_HEADER + META_SIZE];
    if (pread(fd, page, sizeof page, (off_t)at) != (ssize_t)sizeof page) {
        return false;
    }
    uint16_t flags;
    memcpy(&flags, page + PAGE_AT_FLAGS, sizeof flags);
    const uint8_t *meta = page + PAGE_HEADER;
    out->page_size = u32_at(meta + META_AT_PAGE_SIZE);
    out->last_page = u64_at(meta + META_AT_LAST_PAGE);
    out->transaction = u64_at(meta + META_AT_TRANSACTION);
    return (flags & PAGE_IS_META) != 0 && u32_at(meta + META_AT_MAGIC) == META_MAGIC &&
           u32_at(meta + META_AT_VERSION) == META_VERSION && out->page_size >= 512 && out->page_size <= 65536 &&
           (out->page_size & (out->page_size - 1)) == 0 && out->last_page >= 1 && out->last_page < UINT64_MAX / 65536;
}

/* Commits write the two meta pages in turn: even numbers to page 0, odd ones to page 1. */
static bool metas_agree(const struct meta *even, const struct meta *odd)
{
    uint64_t a = even->transaction, b = odd->transaction;
    if (even->page_size != odd->page_size || a % 2 != 0) {
        return false;
    }
    return (a == 0 && b == 0) || (b % 2 == 1 && (a + 1 == b || b + 1 == a));
}

static truc_error say_truncated(const char *name, uint64_t size, uint64_t need, char why[HUB_WHY_SIZE])
{
    (void)snprintf(why, HUB_WHY_SIZE, "%s is truncated: it has %llu bytes, its pages need %llu", name,
                   (unsigned long long)size, (unsigned long long)need);
    return TRUC_E_CORRUPT;
}

/* What is damaged and what still holds. Which of the two was the newer one nobody can say now: so nothing is started
 * from the other, whose commit may be older than what was receipted. */
static truc_error say_metas(const char *name, const struct meta *first, const struct meta *second,
                            char why[HUB_WHY_SIZE])
{
    const struct meta *whole = first != NULL ? first : second;
    if (whole == NULL) {
        (void)snprintf(why, HUB_WHY_SIZE, "%s is damaged: both of its meta pages are not what LMDB writes", name);
    } else {
        (void)snprintf(why, HUB_WHY_SIZE,
                       "%s is damaged: its %s meta page is not what LMDB writes. The %s one holds: commit %llu, %llu "
                       "pages; the last commit may be lost",
                       name, first == NULL ? "first" : "second", first == NULL ? "second" : "first",
                       (unsigned long long)whole->transaction, (unsigned long long)whole->last_page + 1);
    }
    return TRUC_E_CORRUPT;
}

/* `*need`: the bytes that the pages up to the last one take. */
static truc_error check_file(int fd, const char *name, bool live, uint64_t *need, char why[HUB_WHY_SIZE])
{
    struct meta even, odd;
    bool good = false, even_read = false, odd_read = false;
    /* Beside a running hub the two reads may fall on two sides of a commit: look again. */
    for (int tries = live ? SNAPSHOTS : 1; tries > 0 && !good; tries--) {
        even_read = read_meta(fd, 0, &even);
        /* The first page says where the second one is; without it, it is where this machine's LMDB puts it. */
        odd_read = read_meta(fd, even_read ? even.page_size : (uint64_t)sysconf(_SC_PAGESIZE), &odd);
        good = even_read && odd_read && metas_agree(&even, &odd);
    }
    if (!even_read || !odd_read) {
        return say_metas(name, even_read ? &even : NULL, odd_read ? &odd : NULL, why);
    }
    if (!good) {
        (void)snprintf(why, HUB_WHY_SIZE,
                       "%s is damaged: its two meta pages do not follow each other: the first is of commit %llu, the "
                       "second of %llu",
                       name, (unsigned long long)even.transaction, (unsigned long long)odd.transaction);
        return TRUC_E_CORRUPT;
    }
    const struct meta *newest = even.transaction > odd.transaction ? &even : &odd;
    *need = (newest->last_page + 1) * newest->page_size;
    return TRUC_OK;
}

/* ---- the child
 * ---------------------------------------------------------------------------------------------------------- */

/* How many pages from `first` on stand in LMDB's own list of free ones (table 0: transaction -> count, page numbers).
 */
static truc_error count_free(MDB_txn *txn, uint64_t first, uint64_t *count)
{
    MDB_cursor *cursor;
    MDB_val key, value;
    int code = mdb_cursor_open(txn, 0, &cursor);
    if (code != 0) {
        return hub_environment_error(code);
    }
    while ((code = mdb_cursor_get(cursor, &key, &value, MDB_NEXT)) == 0) {
        for (size_t at = sizeof(uint64_t); at + sizeof(uint64_t) <= value.mv_size; at += sizeof(uint64_t)) {
            uint64_t listed = u64_at(value.mv_data), page = u64_at((const uint8_t *)value.mv_data + at);
            *count += at / sizeof(uint64_t) <= listed && page >= first;
        }
    }
    mdb_cursor_close(cursor);
    return code == MDB_NOTFOUND ? TRUC_OK : hub_environment_error(code);
}

/* Pages at the file's end that a transaction took and gave back before its commit were never written: they are free,
 * and the file is shorter than its last page says. Any other missing page is damage. */
static truc_error check_end(MDB_env *env, const char *name, char why[HUB_WHY_SIZE])
{
    mdb_filehandle_t fd;
    MDB_txn *txn;
    MDB_envinfo info;
    MDB_stat pages;
    struct stat status;
    bool same = false;
    truc_error error = hub_environment_error(mdb_env_get_fd(env, &fd));
    if (error == TRUC_OK) {
        error = hub_environment_error(mdb_env_stat(env, &pages));
    }
    /* Beside a running hub a commit may come between; one that always does is none of a file that is damaged. */
    for (int tries = SNAPSHOTS; error == TRUC_OK && !same && tries > 0; tries--) {
        error = hub_environment_error(mdb_txn_begin(env, NULL, MDB_RDONLY, &txn));
        if (error != TRUC_OK) {
            break;
        }
        error = hub_environment_error(mdb_env_info(env, &info));
        if (error == TRUC_OK && fstat(fd, &status) != 0) {
            error = TRUC_E_IO;
        }
        same = error == TRUC_OK && info.me_last_txnid == mdb_txn_id(txn);
        uint64_t there = same ? (uint64_t)status.st_size / pages.ms_psize : 0, need = same ? info.me_last_pgno + 1 : 0;
        uint64_t unwritten = 0;
        if (there < need) {
            error = count_free(txn, there, &unwritten);
            if (error == TRUC_OK && unwritten != need - there) {
                error = say_truncated(name, (uint64_t)status.st_size, need * pages.ms_psize, why);
            }
        }
        mdb_txn_abort(txn);
    }
    return error;
}

static _Noreturn void run_probe(const char *path, const struct hub_environment_options *options, int out)
{
    static const int deadly[] = {SIGSEGV, SIGBUS, SIGABRT, SIGFPE, SIGILL, SIGXCPU};
    const struct rlimit none = {0, 0}, cpu = {CPU_SECONDS, CPU_SECONDS};
    char why[HUB_WHY_SIZE] = "";
    MDB_env *env = NULL;
    for (size_t i = 0; i < sizeof deadly / sizeof deadly[0]; i++) {
        (void)signal(deadly[i], SIG_DFL); /* a crash is an answer: nobody shall catch it */
    }
    (void)setrlimit(RLIMIT_CORE, &none);
    (void)setrlimit(RLIMIT_CPU, &cpu);
    /* A writer has the folder's lock: nobody changes anything, and LMDB's own lock is not needed. */
    unsigned flags = MDB_RDONLY | (options->read_only ? 0u : MDB_NOLOCK);
    truc_error error = hub_environment_start(path, options, flags, &env, why);
    if (error == TRUC_OK) {
        error = check_end(env, options->name, why);
    }
    if (error == TRUC_OK) {
        error = options->probe(env, why);
    }
    size_t size = strlen(why);
    if (write(out, why, size) != (ssize_t)size) {
        error = error == TRUC_OK ? TRUC_E_IO : error;
    }
    _exit((int)error);
}

static truc_error await_child(pid_t child, int in, const char *name, char why[HUB_WHY_SIZE])
{
    size_t size = 0;
    int status;
    while (size < HUB_WHY_SIZE - 1) {
        ssize_t got = read(in, why + size, HUB_WHY_SIZE - 1 - size);
        if (got < 0 && errno == EINTR) {
            continue;
        }
        if (got <= 0) {
            break;
        }
        size += (size_t)got;
    }
    why[size] = '\0';
    pid_t ended;
    do {
        ended = waitpid(child, &status, 0);
    } while (ended < 0 && errno == EINTR);
    if (ended != child) {
        return TRUC_E_IO;
    }
    if (WIFEXITED(status)) {
        int code = WEXITSTATUS(status);
        return code < TRUC_E_COUNT_ ? (truc_error)code : TRUC_E_IO;
    }
    if (WTERMSIG(status) == SIGKILL || WTERMSIG(status) == SIGTERM) {
        (void)snprintf(why, HUB_WHY_SIZE, "%s: the check was ended from outside (signal %d)", name, WTERMSIG(status));
        return TRUC_E_IO;
    }
    (void)snprintf(why, HUB_WHY_SIZE, "%s is damaged: a process that reads its pages dies of signal %d", name,
                   WTERMSIG(status));
    return TRUC_E_CORRUPT;
}

static truc_error probe_in_child(const char *path, const struct hub_environment_options *options,
                                 char why[HUB_WHY_SIZE])
{
    int ends[2];
    if (pipe2(ends, O_CLOEXEC) != 0) {
        return TRUC_E_IO;
    }
    pid_t child = fork();
    if (child == 0) {
        (void)close(ends[0]);
        run_probe(path, options, ends[1]);
    }
    (void)close(ends[1]);
    truc_error error = child < 0 ? TRUC_E_IO : await_child(child, ends[0], options->name, why);
    (void)close(ends[0]);
    return error;
}

truc_error hub_environment_check(const char *path, const struct hub_environment_options *options,
                                 char why[HUB_WHY_SIZE])
{
    struct stat status;
    uint64_t need = 0;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        (void)snprintf(why, HUB_WHY_SIZE, "%s cannot be opened: %s", path, strerror(errno));
        return TRUC_E_IO;
    }
    truc_error error = fstat(fd, &status) == 0 ? TRUC_OK : TRUC_E_IO;
    bool fresh = error == TRUC_OK && status.st_size == 0 && options->create; /* a start that was cut short */
    if (error == TRUC_OK && !fresh) {
        error = check_file(fd, options->name, options->read_only, &need, why);
    }
    (void)close(fd);
    if (error != TRUC_OK || fresh) {
        return error;
    }
    error = probe_in_child(path, options, why);
    /* Whatever the child came to grief over, this is the more telling. */
    return error == TRUC_E_CORRUPT && (uint64_t)status.st_size < need
               ? say_truncated(options->name, (uint64_t)status.st_size, need, why)
               : error;
}
