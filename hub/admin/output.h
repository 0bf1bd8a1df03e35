/* A file for a command's results: new, readable by its owner only, gone again where the command fails. */
#ifndef HUB_ADMIN_OUTPUT_H
#define HUB_ADMIN_OUTPUT_H

#include "hub/admin/admin.h"

struct admin_output {
    FILE *out;
    const char *path; /* NULL: the standard output */
};

/* `path` NULL or "-": the standard output. An existing file is not overwritten. */
TRUC_MUST_USE enum admin_exit admin_output_open(const struct admin_call *call, const char *path,
                                                struct admin_output *output);
/* Syncs and closes; removes the file where `so_far` is a failure or the writing failed. Returns the exit code. */
TRUC_MUST_USE enum admin_exit admin_output_close(const struct admin_call *call, struct admin_output *output,
                                                 enum admin_exit so_far);

#endif
