#include "adapters/files/watch.h"

#include "truc/log.h"

#include <errno.h>
#include <sys/inotify.h>
#include <unistd.h>

#define BUFFER_SIZE 65536

void watch_open(const char *path, struct watch *out)
{
    out->fd = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
    if (out->fd >= 0 && inotify_add_watch(out->fd, path, IN_MOVED_TO | IN_CLOSE_WRITE | IN_ONLYDIR) >= 0) {
        return;
    }
    truc_log(TRUC_LOG_WARN, "no_watch", "errno=%d", errno);
    watch_close(out);
}

void watch_close(struct watch *watch)
{
    if (watch->fd >= 0) {
        (void)close(watch->fd);
    }
    watch->fd = -1;
}

truc_error watch_read(struct watch *watch, truc_error (*on_arrived)(void *context, const char *name), void *context,
                      bool *changed)
{
    _Alignas(struct inotify_event) char buffer[BUFFER_SIZE];
    truc_error error = TRUC_OK;
    ssize_t got;
    while (watch->fd >= 0 && error == TRUC_OK && (got = read(watch->fd, buffer, sizeof buffer)) > 0) {
        for (ssize_t at = 0; at < got && error == TRUC_OK;) {
            const struct inotify_event *event = (const struct inotify_event *)(const void *)(buffer + at);
            at += (ssize_t)(sizeof *event + event->len);
            if ((event->mask & IN_IGNORED) != 0) {
                truc_log(TRUC_LOG_WARN, "watch_lost", "why=\"the folder is gone\"");
                watch_close(watch);
                return error;
            }
            if ((event->mask & IN_MOVED_TO) != 0 && event->len > 0) {
                error = on_arrived(context, event->name);
            } else {
                *changed = true; /* something was written, or the kernel's queue was too short */
            }
        }
    }
    return error;
}
