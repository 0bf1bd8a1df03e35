#include "hub/admin/output.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

enum admin_exit admin_output_open(const struct admin_call *call, const char *path, struct admin_output *output)
{
    *output = (struct admin_output){.out = stdout};
    if (path == NULL || strcmp(path, "-") == 0) {
        return ADMIN_OK;
    }
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd < 0) {
        return admin_fail(call, ADMIN_NO, "%s cannot be made: %s%s", path, strerror(errno),
                          errno == EEXIST ? "; nothing is overwritten, choose another name" : "");
    }
    output->out = fdopen(fd, "wb");
    output->path = path;
    if (output->out == NULL) {
        int why = errno;
        close(fd);
        unlink(path);
        return admin_fail(call, ADMIN_NO, "%s cannot be written: %s", path, strerror(why));
    }
    return ADMIN_OK;
}

enum admin_exit admin_output_close(const struct admin_call *call, struct admin_output *output, enum admin_exit so_far)
{
    bool ok = fflush(output->out) == 0 && !ferror(output->out);
    if (output->path == NULL) {
        return ok || so_far != ADMIN_OK
                   ? so_far
                   : admin_fail(call, ADMIN_NO, "the output cannot be written: %s", strerror(errno));
    }
    ok = fsync(fileno(output->out)) == 0 && ok;
    int why = errno;
    ok = fclose(output->out) == 0 && ok;
    if (!ok || so_far != ADMIN_OK) {
        unlink(output->path);
    }
    return ok || so_far != ADMIN_OK
               ? so_far
               : admin_fail(call, ADMIN_NO, "%s cannot be written: %s", output->path, strerror(why));
}
