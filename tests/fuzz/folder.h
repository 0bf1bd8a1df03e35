/* A folder in memory for the targets whose parsers read files. Removed when the process ends in order. */
#ifndef TRUC_TESTS_FUZZ_FOLDER_H
#define TRUC_TESTS_FUZZ_FOLDER_H

#include "tests/fuzz/fuzz.h"

#include <fcntl.h>
#include <ftw.h>
#include <sys/stat.h>
#include <unistd.h>

static char fuzz_folder_path[64];

static int fuzz_remove_one(const char *path, const struct stat *status, int kind, struct FTW *walk)
{
    (void)status;
    (void)kind;
    (void)walk;
    return remove(path);
}

static void fuzz_folder_remove(void)
{
    (void)nftw(fuzz_folder_path, fuzz_remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

static inline const char *fuzz_folder(void)
{
    if (fuzz_folder_path[0] == '\0') {
        (void)snprintf(fuzz_folder_path, sizeof fuzz_folder_path, "%s/truc-fuzz-XXXXXX",
                       access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp");
        FUZZ_CHECK(mkdtemp(fuzz_folder_path) != NULL);
        FUZZ_CHECK(atexit(fuzz_folder_remove) == 0);
    }
    return fuzz_folder_path;
}

/* FOLDER/name, static storage. */
static inline const char *fuzz_path(const char *name)
{
    static char path[256];
    (void)snprintf(path, sizeof path, "%s/%s", fuzz_folder(), name);
    return path;
}

/* Not synced: nothing here outlives the process. */
static inline void fuzz_file(const char *name, struct truc_bytes text)
{
    int fd = open(fuzz_path(name), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    FUZZ_CHECK(fd >= 0 && write(fd, text.data, text.size) == (ssize_t)text.size && close(fd) == 0);
}

#endif
