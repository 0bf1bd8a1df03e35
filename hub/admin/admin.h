/* The `truc` command: what its subcommands share. One table of subcommands (main.c), each a struct admin_command that
 * its own file defines. Private to hub/admin. */
#ifndef HUB_ADMIN_ADMIN_H
#define HUB_ADMIN_ADMIN_H

#include "truc/bytes.h"

#include <stdio.h>

#define ADMIN_VERSION "0.1"

/* Exit codes; `truc help` documents them. */
enum admin_exit {
    ADMIN_OK = 0,
    ADMIN_NO = 1,          /* the answer is no, or it failed */
    ADMIN_USAGE = 2,       /* wrong usage or configuration */
    ADMIN_UNREACHABLE = 3, /* no answer from the hub in time */
    ADMIN_REFUSED = 4,     /* the hub refused, with a reason */
    ADMIN_DAMAGED = 5,     /* verification failed, damage found */
};

enum admin_option_kind {
    ADMIN_FLAG,
    ADMIN_TEXT,
    ADMIN_LIST,   /* may be given several times */
    ADMIN_NUMBER, /* unsigned, decimal */
    ADMIN_TIME,   /* RFC 3339 */
};

struct admin_option {
    const char *name; /* without "--" */
    enum admin_option_kind kind;
    const char *value; /* its name in the help; NULL for flags */
    const char *help;
    bool required;
};

#define ADMIN_OPTIONS_MAX 20
#define ADMIN_LIST_MAX 32
#define ADMIN_OPERANDS_MAX 4096

struct admin_call;

struct admin_command {
    const char *name;     /* "agency add"; NULL ends a table */
    const char *operands; /* for the usage line: "CODE" */
    size_t operands_min, operands_max;
    const char *summary;
    const struct admin_option *options; /* name NULL ends it; --json and --help are everywhere */
    enum admin_exit (*run)(struct admin_call *call);
};

struct admin_value {
    bool given;
    uint64_t number;
    int64_t time_us;
    size_t count;
    const char *items[ADMIN_LIST_MAX];
};

struct admin_call {
    const struct admin_command *command;
    struct admin_value values[ADMIN_OPTIONS_MAX];
    char **operands;
    size_t operand_count;
    bool json;
};

/* Commands of online administration need these. */
#define ADMIN_ONLINE_OPTIONS                                                                                           \
    {"profile", ADMIN_TEXT, "DIR", "own profile folder (default: environment TRUC_PROFILE)", false},                   \
    {                                                                                                                  \
        "timeout", ADMIN_NUMBER, "S", "give up when the hub has not answered for S seconds (default 20)", false        \
    }
#define ADMIN_HOME_OPTION                                                                                              \
    {                                                                                                                  \
        "home", ADMIN_TEXT, "DIR", "the hub's home on this machine; it is only read", true                             \
    }
#define ADMIN_REASON_OPTION                                                                                            \
    {                                                                                                                  \
        "reason", ADMIN_TEXT, "TEXT", "why, for the record", false                                                     \
    }
#define ADMIN_YES_OPTION                                                                                               \
    {                                                                                                                  \
        "yes", ADMIN_FLAG, NULL, "do it though it cannot easily be taken back", false                                  \
    }
#define ADMIN_END                                                                                                      \
    {                                                                                                                  \
        NULL, ADMIN_FLAG, NULL, NULL, false                                                                            \
    }

/* Options that every command knows and those of all online commands and of those with a home may also stand before the
 * command's words, or between them: puts them behind. `out` (argc + 1 pointers) borrows argv's words; on return it is a
 * command line that begins with the program's name and the command's words. Says what is wrong: ADMIN_USAGE. */
TRUC_MUST_USE enum admin_exit admin_args_order(int argc, char **argv, char **out);
/* Reads options and operands by the command's table. On a mistake it says what is wrong and how it goes: ADMIN_USAGE.
 * *helped: --help was asked for. argv[0] is skipped; the call borrows argv. */
TRUC_MUST_USE enum admin_exit admin_args_read(struct admin_call *call, int argc, char **argv, bool *helped);

/* Says `warning`, and asks on a terminal whether to go on; --yes answers at once. ADMIN_OK: go on. Without a terminal
 * and without --yes ADMIN_USAGE; ADMIN_NO: the answer was no. The command's table has ADMIN_YES_OPTION. Blocks. */
TRUC_MUST_USE enum admin_exit admin_confirm(const struct admin_call *call, const char *warning);

/* help.c: `command` of the table below; words: how many of argv[1]... are its name, 0 and NULL: none. */
const struct admin_command *admin_find(int argc, char **argv, int *words);
void admin_help_all(FILE *out);
void admin_help_command(const struct admin_command *command, FILE *out);
/* The commands that begin with this word, `title` before them; how many there are. */
size_t admin_help_family(const char *word, const char *title, FILE *out);

/* Values by option name; naming an option that the command's table lacks is a bug and aborts. */
const struct admin_value *admin_value(const struct admin_call *call, const char *name);
bool admin_flag(const struct admin_call *call, const char *name);
const char *admin_text(const struct admin_call *call, const char *name); /* NULL: not given */
uint64_t admin_number(const struct admin_call *call, const char *name, uint64_t fallback);

/* Says on stderr "truc agency add: ..." and returns `code`. */
enum admin_exit admin_fail(const struct admin_call *call, enum admin_exit code, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
/* The exit code that an error of the library stands for. */
enum admin_exit admin_exit_of(truc_error error);
/* Reads an unsigned decimal number with nothing behind it. */
bool admin_decimal(const char *text, uint64_t *out);
/* An agency code from a command line: normalised into `out` (TRUC_AGENCY_MAX + 1), or said to be wrong. */
TRUC_MUST_USE enum admin_exit admin_agency(const struct admin_call *call, const char *text, char *out);
/* A type or a prefix ending in '*', or said to be wrong. */
TRUC_MUST_USE enum admin_exit admin_pattern(const struct admin_call *call, const char *text);

extern const struct admin_command admin_init_commands[];
extern const struct admin_command admin_enrol_commands[];
extern const struct admin_command admin_agency_commands[];
extern const struct admin_command admin_key_commands[];
extern const struct admin_command admin_grant_commands[];
extern const struct admin_command admin_subscription_commands[];
extern const struct admin_command admin_parameters_commands[];
extern const struct admin_command admin_send_commands[];
extern const struct admin_command admin_receive_commands[];
extern const struct admin_command admin_tail_commands[];
extern const struct admin_command admin_status_commands[];
extern const struct admin_command admin_deadletter_commands[];
extern const struct admin_command admin_show_commands[];
extern const struct admin_command admin_export_commands[];
extern const struct admin_command admin_verify_commands[];
extern const struct admin_command admin_evidence_commands[];
extern const struct admin_command admin_replay_commands[];

#endif
