/* Which files come into a folder, as the kernel tells it. Where it cannot (a network drive, too many watches) the scan
 * by time finds them. */
#ifndef TRUC_FILES_WATCH_H
#define TRUC_FILES_WATCH_H

#include "truc/error.h"

struct watch {
    int fd; /* for poll; -1: there is no watch */
};

void watch_open(const char *path, struct watch *out);
void watch_close(struct watch *watch);
/* Reads what has come without waiting: `on_arrived` for each name that came by rename; *changed where anything else
 * did. Errors: those of on_arrived. */
TRUC_MUST_USE truc_error watch_read(struct watch *watch, truc_error (*on_arrived)(void *context, const char *name),
                                    void *context, bool *changed);

#endif
