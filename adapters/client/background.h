/* One job at a time on a thread beside the caller's: how the spool syncs without anybody waiting. The one file of the
 * client that knows threads (a simulator puts another one in its place). */
#ifndef TRUC_CLIENT_BACKGROUND_H
#define TRUC_CLIENT_BACKGROUND_H

#include "truc/error.h"

struct background;

/* The thread takes no signals: they are the application's. Errors: TRUC_E_NOMEM, TRUC_E_IO. */
TRUC_MUST_USE truc_error background_new(const char *name, struct background **out);
/* Waits for a job that runs. */
void background_free(struct background **background);
/* Runs `job(context)` on the thread. Only while nothing runs: after background_done said so. What the job touches is
 * the thread's until background_done or background_wait has returned true. */
void background_run(struct background *background, void (*job)(void *context), void *context);
/* Whether nothing runs (any more). Never blocks; takes the descriptor's signal away. */
bool background_done(struct background *background);
/* The same, and waits for it. */
void background_wait(struct background *background);
/* Readable when a job has ended since background_done was last called. */
int background_fd(const struct background *background);

#endif
