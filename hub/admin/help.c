/* The table of all commands, and what `truc help` says about them. */
#include "hub/admin/admin.h"

struct group {
    const char *title;
    const struct admin_command *commands;
};

static const struct group groups[] = {
    {"A new log", admin_init_commands},
    {"Agencies, their keys and their rights (for administrators)", admin_enrol_commands},
    {NULL, admin_agency_commands},
    {NULL, admin_key_commands},
    {NULL, admin_grant_commands},
    {NULL, admin_subscription_commands},
    {NULL, admin_parameters_commands},
    {"Sending and receiving (for agencies)", admin_send_commands},
    {NULL, admin_receive_commands},
    {"Watching, and what could not be delivered", admin_status_commands},
    {NULL, admin_tail_commands},
    {NULL, admin_deadletter_commands},
    {"The log: reading, proving, sending again", admin_show_commands},
    {NULL, admin_verify_commands},
    {NULL, admin_export_commands},
    {NULL, admin_evidence_commands},
    {NULL, admin_replay_commands},
};

#define GROUP_COUNT (sizeof(groups) / sizeof(groups[0]))

/* One line of an own command tells more than its options. */
static const struct {
    const char *command, *text;
} examples[] = {
    {"init",
     "truc init --home /srv/truc --origin truc.example.gov.vn/log-2026\n"
     "The origin names this log for ever: every signature says it, so that a test installation and the real one "
     "never mix."},
    {"agency add", "truc agency add H14.09 --name 'One-stop desk' --profile-out one-stop\n"
                   "truc agency add H14.10 --name 'Land office' --key sign.pub.pem --transport-key transport.public "
                   "--profile-out for-land\n"
                   "The first makes the agency's keys here: one-stop is its whole profile, a secret. The second takes "
                   "the public keys that the agency made with `truc key new`: for-land holds nothing secret."},
    {"agency profile", "truc agency profile H14.10 --out for-land --endpoint tcp://hub.example.gov.vn:5590\n"
                       "Nothing in it is secret; the agency copies the files into the folder of its own keys."},
    {"agency suspend", "truc agency suspend H14.09 --reason 'key may be stolen'"},
    {"agency quota", "truc agency quota H14.09 --events-per-s 200 --bytes-per-s 1000000 --reason 'runaway adapter'\n"
                     "truc agency quota H14.09 --no-quota\n"
                     "What is over the quota is not lost: the agency is told when to send it again."},
    {"key new", "truc key new --out land-office\n"
                "Run it at the agency: the two private keys never leave its machine."},
    {"key add", "truc key add H14.10 --key sign.pub.pem --reason 'yearly change'"},
    {"key revoke", "truc key revoke H14.10 9f2c... --reason 'lost with a laptop'"},
    {"grant add", "truc grant add land-1 --from H14.09 --to H14.10 --type 'vn.truc.land.*' --basis 'Decree 61/2018'\n"
                  "Without a grant nothing goes from anybody to anybody."},
    {"subscription add", "truc subscription add H14.01 'vn.truc.dossier.*'\n"
                         "A grant from the sender to the subscriber is needed all the same."},
    {"parameters set", "truc parameters set --inbox-age 604800 --reason 'nobody is away longer than a week'"},
    {"send", "truc send --type vn.truc.dossier.submitted.v1 --subject D-1 --recipients H14.10 --data '{\"area\":80}'"},
    {"recv", "truc recv --count 1 --profile land-office"},
    {"tail", "truc tail --home /srv/truc --last 20"},
    {"log show", "truc log show --home /srv/truc --type truc.governance.v1\n"
                 "shows who enrolled, granted, suspended or replayed what, and why."},
    {"log verify", "truc log verify --home /srv/truc"},
    {"log export", "truc log export --sequence 4711 --output permit.evidence"},
    {"verify", "truc verify permit.evidence --note-key note.key --agency-key sign.pub.pem"},
    {"deadletter requeue",
     "truc deadletter list H14.10\ntruc deadletter requeue H14.10 12 --reason 'schema installed'"},
    {"replay", "truc replay --home /srv/truc --from 4000 --to-inbox H14.10 --dry-run"},
};

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

const struct admin_command *admin_find(int argc, char **argv, int *words)
{
    for (size_t i = 0; i < GROUP_COUNT; i++) {
        for (const struct admin_command *command = groups[i].commands; command->name != NULL; command++) {
            *words = words_matching(command, argc, argv);
            if (*words > 0) {
                return command;
            }
        }
    }
    *words = 0;
    return NULL;
}

static void print_line(const struct admin_command *command, const char *before, FILE *out)
{
    char head[64];
    snprintf(head, sizeof(head), "%s%s%s", command->name, command->operands[0] == '\0' ? "" : " ", command->operands);
    fprintf(out, "%s%-33s %s\n", before, head, command->summary);
}

#define HELP_WIDTH 100

/* Text from the column where the line stands, broken at words, further lines behind `indent` spaces. */
static void print_wrapped(const char *text, int length, int indent, FILE *out)
{
    int left = HELP_WIDTH - indent;
    for (int at = 0; at < length;) {
        int word = (int)strcspn(text + at, " ");
        word = word > length - at ? length - at : word;
        if (at > 0 && word + 1 > left) {
            fprintf(out, "\n%*s", indent, "");
            left = HELP_WIDTH - indent;
        } else if (at > 0) {
            fputc(' ', out);
            left--;
        }
        fprintf(out, "%.*s", word, text + at);
        left -= word;
        at += word + 1;
    }
    fputc('\n', out);
}

/* Lines of text, each behind two spaces; a command line is never broken. */
static void print_example(const char *text, FILE *out)
{
    while (*text != '\0') {
        int length = (int)strcspn(text, "\n");
        fputs("  ", out);
        if (strncmp(text, "truc ", 5) == 0) {
            fprintf(out, "%.*s\n", length, text);
        } else {
            print_wrapped(text, length, 2, out);
        }
        text += length;
        text += *text == '\n';
    }
}

static void print_option(const char *name, const char *value, const char *text, const char *more, FILE *out)
{
    char head[64], whole[512];
    snprintf(head, sizeof(head), "--%s%s%s", name, value == NULL ? "" : " ", value == NULL ? "" : value);
    snprintf(whole, sizeof(whole), "%s%s", text, more);
    fprintf(out, "  %-22s ", head);
    print_wrapped(whole, (int)strlen(whole), 25, out);
}

size_t admin_help_family(const char *word, const char *title, FILE *out)
{
    size_t shown = 0;
    for (size_t i = 0; i < GROUP_COUNT; i++) {
        for (const struct admin_command *command = groups[i].commands; command->name != NULL; command++) {
            size_t length = strcspn(command->name, " ");
            if (strlen(word) == length && memcmp(command->name, word, length) == 0) {
                if (shown++ == 0) {
                    fputs(title, out);
                }
                print_line(command, "  truc ", out);
            }
        }
    }
    return shown;
}

void admin_help_all(FILE *out)
{
    fputs("truc " ADMIN_VERSION ": signed events between agencies, through one hub and one log that proves them.\n"
          "Usage: truc COMMAND [options]. `truc help COMMAND` explains one, with an example.\n",
          out);
    for (size_t i = 0; i < GROUP_COUNT; i++) {
        if (groups[i].title != NULL) {
            fprintf(out, "\n%s\n", groups[i].title);
        }
        for (const struct admin_command *command = groups[i].commands; command->name != NULL; command++) {
            print_line(command, "  ", out);
        }
    }
    fputs(
        "\nEvery command knows --help and --json. Commands that talk to the hub take --profile DIR, the folder with "
        "one's\n"
        "keys and the hub's address, or the environment variable TRUC_PROFILE; those that read the hub's files on its\n"
        "own machine take --home DIR. These options may stand before the command, too.\n"
        "\n"
        "Exit codes\n"
        "  0  done, or the answer is yes\n"
        "  1  the answer is no, or it failed for another reason than those below\n"
        "  2  wrong usage, configuration or input\n"
        "  3  the hub could not be reached or did not answer in time\n"
        "  4  the hub refused; the reason is on stderr\n"
        "  5  verification failed or damage was found\n",
        out);
}

void admin_help_command(const struct admin_command *command, FILE *out)
{
    fprintf(out, "usage: truc %s%s%s", command->name, command->operands[0] == '\0' ? "" : " ", command->operands);
    for (const struct admin_option *option = command->options; option->name != NULL; option++) {
        if (option->required) {
            fprintf(out, " --%s %s", option->name, option->value);
        }
    }
    fprintf(out, " [options]\n%s\n\n", command->summary);
    for (const struct admin_option *option = command->options; option->name != NULL; option++) {
        print_option(option->name, option->value, option->help, option->kind == ADMIN_LIST ? " (may be repeated)" : "",
                     out);
    }
    print_option("json", NULL, "for programs: JSON on the standard output", "", out);
    print_option("help", NULL, "this text", "", out);
    for (size_t i = 0; i < sizeof(examples) / sizeof(examples[0]); i++) {
        if (strcmp(examples[i].command, command->name) == 0) {
            fputs("\nExample\n", out);
            print_example(examples[i].text, out);
        }
    }
}
