/* truc: the administrator's, auditor's and agency's command. A table of subcommands (help.c); each lives in its own
 * file. */
#include "hub/admin/admin.h"

#include "truc/log.h"

#include <errno.h>
#include <locale.h>
#include <signal.h>

/* For a user who forgot the second word, or mistook one. */
static int explain_unknown(int argc, char **argv)
{
    bool asked = argc > 2 && (strcmp(argv[2], "--help") == 0 || strcmp(argv[2], "-h") == 0);
    if (asked && admin_help_family(argv[1], "", stdout) > 0) {
        puts("More about one of them: truc help COMMAND");
        return ADMIN_OK;
    }
    fprintf(stderr, "truc: '%s%s%s' is not a command; ", argv[1], argc > 2 ? " " : "", argc > 2 ? argv[2] : "");
    if (admin_help_family(argv[1], "there are:\n", stderr) == 0) {
        fputs("`truc help` lists them\n", stderr);
    }
    return ADMIN_USAGE;
}

static int help(int argc, char **argv)
{
    int words = 0;
    const struct admin_command *about = argc > 2 ? admin_find(argc - 1, argv + 1, &words) : NULL;
    if (about != NULL) {
        admin_help_command(about, stdout);
    } else if (argc > 2 && admin_help_family(argv[2], "", stdout) > 0) {
        puts("More about one of them: truc help COMMAND");
    } else if (argc > 2) {
        return explain_unknown(argc - 1, argv + 1);
    } else {
        admin_help_all(stdout);
    }
    return ADMIN_OK;
}

static enum admin_exit run_command(int argc, char **argv)
{
    int words = 0;
    bool helped = false;
    const struct admin_command *command = admin_find(argc, argv, &words);
    if (command == NULL) {
        return (enum admin_exit)explain_unknown(argc, argv);
    }
    struct admin_call call = {.command = command};
    enum admin_exit exit_code = admin_args_read(&call, argc - words, argv + words, &helped);
    if (exit_code == ADMIN_OK && helped) {
        admin_help_command(command, stdout);
    } else if (exit_code == ADMIN_OK) {
        exit_code = command->run(&call);
    }
    if (fflush(stdout) != 0 || ferror(stdout)) {
        fprintf(stderr, "truc: the output could not be written: %s\n", strerror(errno));
        exit_code = exit_code == ADMIN_OK ? ADMIN_NO : exit_code;
    }
    return exit_code;
}

int main(int argc, char **argv)
{
    (void)setlocale(LC_CTYPE, "");  /* widths of names in tables; without a locale they are counted as code points */
    (void)signal(SIGPIPE, SIG_IGN); /* a closed pipe is an error of write, which is checked before anything is acked */
    truc_log_set_level(TRUC_LOG_ERROR); /* the commands say themselves what happened, in their own words */
    char **ordered = calloc((size_t)argc + 2, sizeof(*ordered));
    if (ordered == NULL) {
        fputs("truc: out of memory\n", stderr);
        return ADMIN_NO;
    }
    enum admin_exit exit_code = admin_args_order(argc, argv, ordered);
    if (exit_code != ADMIN_OK) {
        /* said there */
    } else if (argc < 2) {
        admin_help_all(stderr);
        exit_code = ADMIN_USAGE;
    } else if (strcmp(ordered[1], "help") == 0 || strcmp(ordered[1], "--help") == 0 || strcmp(ordered[1], "-h") == 0) {
        exit_code = (enum admin_exit)help(argc, ordered);
    } else if (strcmp(ordered[1], "--version") == 0) {
        puts("truc " ADMIN_VERSION);
    } else {
        exit_code = run_command(argc, ordered);
    }
    free(ordered);
    return (int)exit_code;
}
