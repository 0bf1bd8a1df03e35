/* truc: the administrator's, auditor's and agency's command. A table of subcommands; each lives in its own file. */
#include "hub/admin/admin.h"

#include "truc/log.h"

#include <errno.h>
#include <locale.h>
#include <signal.h>

#define VERSION "0.1"

struct group {
    const char *title;
    const struct admin_command *commands;
};

static const struct group groups[] = {
    {"A new log", admin_init_commands},  {"Agencies, keys and rights (administrators)", admin_agency_commands},
    {NULL, admin_key_commands},          {NULL, admin_grant_commands},
    {NULL, admin_subscription_commands}, {"Events", admin_send_commands},
    {NULL, admin_receive_commands},      {"Watching", admin_status_commands},
    {NULL, admin_tail_commands},         {NULL, admin_deadletter_commands},
    {"The log", admin_show_commands},    {NULL, admin_verify_commands},
    {NULL, admin_export_commands},       {NULL, admin_evidence_commands},
    {NULL, admin_replay_commands},
};

#define GROUP_COUNT (sizeof(groups) / sizeof(groups[0]))

static void print_help(FILE *out)
{
    fputs("truc " VERSION ": one hub for signed events between agencies. Usage: truc COMMAND [options]\n", out);
    for (size_t i = 0; i < GROUP_COUNT; i++) {
        if (groups[i].title != NULL) {
            fprintf(out, "\n%s\n", groups[i].title);
        }
        for (const struct admin_command *command = groups[i].commands; command->name != NULL; command++) {
            char head[64];
            snprintf(head, sizeof(head), "%s%s%s", command->name, command->operands[0] == '\0' ? "" : " ",
                     command->operands);
            fprintf(out, "  %-30s %s\n", head, command->summary);
        }
    }
    fputs(
        "\nEvery command knows --help and --json. Commands that talk to the hub take --profile DIR or the environment\n"
        "variable TRUC_PROFILE; those that read a hub's home on the same machine take --home DIR.\n"
        "\n"
        "Exit codes\n"
        "  0  done, or the answer is yes\n"
        "  1  the answer is no, or it failed for another reason than those below\n"
        "  2  wrong usage or configuration\n"
        "  3  the hub could not be reached or did not answer in time\n"
        "  4  the hub refused; the reason is on stderr\n"
        "  5  verification failed or damage was found\n",
        out);
}

/* How many words of argv (behind argv[0]) are the command's name; 0: not this one. */
static int words_matching(const struct admin_command *command, int argc, char **argv)
{
    const char *rest = command->name;
    int words = 0;
    while (*rest != '\0') {
        size_t length = strcspn(rest, " ");
        if (words + 1 >= argc || strlen(argv[words + 1]) != length || memcmp(argv[words + 1], rest, length) != 0) {
            return 0;
        }
        words++;
        rest += length;
        rest += *rest == ' ';
    }
    return words;
}

static const struct admin_command *find(int argc, char **argv, int *words)
{
    for (size_t i = 0; i < GROUP_COUNT; i++) {
        for (const struct admin_command *command = groups[i].commands; command->name != NULL; command++) {
            *words = words_matching(command, argc, argv);
            if (*words > 0) {
                return command;
            }
        }
    }
    return NULL;
}

/* The commands that begin with this word; how many there are. */
static size_t print_family(const char *word, const char *title, FILE *out)
{
    size_t shown = 0;
    for (size_t i = 0; i < GROUP_COUNT; i++) {
        for (const struct admin_command *command = groups[i].commands; command->name != NULL; command++) {
            size_t length = strcspn(command->name, " ");
            if (strlen(word) == length && memcmp(command->name, word, length) == 0) {
                if (shown++ == 0) {
                    fputs(title, out);
                }
                char head[64];
                snprintf(head, sizeof(head), "%s%s%s", command->name, command->operands[0] == '\0' ? "" : " ",
                         command->operands);
                fprintf(out, "  truc %-30s %s\n", head, command->summary);
            }
        }
    }
    return shown;
}

/* For a user who forgot the second word, or mistook one. */
static int explain_unknown(int argc, char **argv)
{
    fprintf(stderr, "truc: '%s%s%s' is not a command; ", argv[1], argc > 2 ? " " : "", argc > 2 ? argv[2] : "");
    if (print_family(argv[1], "there are:\n", stderr) == 0) {
        fputs("`truc help` lists them\n", stderr);
    }
    return ADMIN_USAGE;
}

static int help(int argc, char **argv)
{
    int words = 0;
    const struct admin_command *about = argc > 2 ? find(argc - 1, argv + 1, &words) : NULL;
    if (about != NULL) {
        admin_args_help(about, stdout);
    } else if (argc > 2 && print_family(argv[2], "", stdout) > 0) {
        puts("More about one of them: add --help");
    } else if (argc > 2) {
        return explain_unknown(argc - 1, argv + 1);
    } else {
        print_help(stdout);
    }
    return ADMIN_OK;
}

int main(int argc, char **argv)
{
    (void)setlocale(LC_CTYPE, "");  /* widths of names in tables; without a locale they are counted as code points */
    (void)signal(SIGPIPE, SIG_IGN); /* a closed pipe is an error of write, which is checked before anything is acked */
    truc_log_set_level(TRUC_LOG_ERROR); /* the commands say themselves what happened, in their own words */
    if (argc < 2) {
        print_help(stderr);
        return ADMIN_USAGE;
    }
    if (strcmp(argv[1], "help") == 0 || strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0) {
        return help(argc, argv);
    }
    if (strcmp(argv[1], "--version") == 0) {
        puts("truc " VERSION);
        return ADMIN_OK;
    }
    int words = 0;
    const struct admin_command *command = find(argc, argv, &words);
    if (command == NULL) {
        return explain_unknown(argc, argv);
    }
    struct admin_call call = {.command = command};
    bool helped = false;
    enum admin_exit exit_code = admin_args_read(&call, argc - words, argv + words, &helped);
    if (exit_code == ADMIN_OK && !helped) {
        exit_code = command->run(&call);
    }
    if (fflush(stdout) != 0 || ferror(stdout)) {
        fprintf(stderr, "truc: the output could not be written: %s\n", strerror(errno));
        exit_code = exit_code == ADMIN_OK ? ADMIN_NO : exit_code;
    }
    return (int)exit_code;
}
