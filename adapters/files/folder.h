/* Folders as descriptors: whatever stands at a path later, the adapter works in the folder that it opened. Names are
 * bytes without '/' and NUL; nothing here follows a symbolic link. Errors of the system are TRUC_E_IO with errno, but
 * TRUC_E_FULL where the disk or a quota is full. */
#ifndef TRUC_FILES_FOLDER_H
#define TRUC_FILES_FOLDER_H

#include "truc/bytes.h"

#include <sys/stat.h>

#define FILES_NAME_MAX 200 /* of a claimed file: room for the endings that are put behind it */
#define FILES_NAME_SIZE 256

struct folder {
    int fd; /* -1: closed */
    char *path;
};

/* Makes it (0750) where it is missing. */
TRUC_MUST_USE truc_error folder_open(const char *path, struct folder *out);
void folder_close(struct folder *folder);
bool folder_has(const struct folder *folder, const char *name);
/* Whether files can be renamed between the two. */
TRUC_MUST_USE truc_error folder_same_device(const struct folder *a, const struct folder *b, bool *out);
TRUC_MUST_USE truc_error folder_sync(const struct folder *folder);

/* The file's bytes, only of a regular file that did not change meanwhile. Errors: TRUC_E_INVALID (not a regular file),
 * TRUC_E_TOO_LARGE, TRUC_E_AGAIN (it changed), TRUC_E_NOT_FOUND. */
TRUC_MUST_USE truc_error folder_read(const struct folder *folder, const char *name, size_t limit,
                                     struct truc_buffer *out);
/* Writes a new hidden file, or over what a crash left of it, unsynced; `fd` is the caller's to sync and close. */
TRUC_MUST_USE truc_error folder_stage(const struct folder *folder, const char *name, struct truc_bytes data,
                                      unsigned mode, int *fd);
/* Puts a whole synced file at a name by rename, over what may be there. The folder is not synced. */
TRUC_MUST_USE truc_error folder_put(const struct folder *folder, const char *name, struct truc_bytes data);
/* Moves without covering anything. Errors: TRUC_E_EXISTS, TRUC_E_NOT_FOUND. */
TRUC_MUST_USE truc_error folder_move(const struct folder *from, const char *name, const struct folder *to,
                                     const char *as);
struct folder_item {
    char *name;
    int64_t modified_ns; /* its modification time, which renames leave alone */
    uint64_t rank;       /* among those of the same time, lower ones first; 0 unless the caller knows better */
};
struct folder_list {
    struct folder_item *items;
    size_t count, capacity;
    bool cut; /* there are more than `limit` */
};
/* The event files in it, the oldest `limit` of them, by modification time, then name: the one order that a crash, a
 * rename and a restart leave as it is. Whatever kind of file they are.
 * Errors: TRUC_E_IO, TRUC_E_NOMEM; then nothing is owed. */
TRUC_MUST_USE truc_error folder_events(const struct folder *folder, size_t limit, struct folder_list *out);
void folder_list_sort(struct folder_list *list); /* again, after ranks were given: time, rank, name */
void folder_list_close(struct folder_list *list);
/* "a.json", 2 -> "a~2.json"; n under 2: the name itself. false: too long. */
bool files_name_numbered(const char *name, uint64_t n, char out[FILES_NAME_SIZE]);
/* The name without "~2" before ".json". */
void files_name_plain(const char *name, char out[FILES_NAME_SIZE]);
/* Puts `tail` in the place of ".json". */
bool files_name_ending(const char *name, const char *tail, char out[FILES_NAME_SIZE]);
/* What the adapter takes from out: ends in ".json", does not begin with '.'. */
bool files_name_is_event(const char *name);

#endif
