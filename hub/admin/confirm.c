/* What cannot easily be taken back is asked about first. */
#include "hub/admin/admin.h"

#include <unistd.h>

enum admin_exit admin_confirm(const struct admin_call *call, const char *warning)
{
    char answer[16] = "";
    fprintf(stderr, "truc %s: %s\n", call->command->name, warning);
    if (admin_flag(call, "yes")) {
        return ADMIN_OK;
    }
    if (!isatty(STDIN_FILENO) || !isatty(STDERR_FILENO)) {
        return admin_fail(call, ADMIN_USAGE, "nothing was done; add --yes to do it all the same");
    }
    fputs("Type yes to do it all the same: ", stderr);
    if (fgets(answer, sizeof(answer), stdin) != NULL && strcmp(answer, "yes\n") == 0) {
        return ADMIN_OK;
    }
    return admin_fail(call, ADMIN_NO, "nothing was done");
}
