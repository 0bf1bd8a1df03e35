/* Command lines by table: getopt_long underneath, so that options and operands may come in any order. */
#include "hub/admin/admin.h"

#include "truc/event.h"

#include <getopt.h>
#include <stdarg.h>

#define OPTION_BASE 1000 /* getopt_long's value of the command's first option */
#define OPTION_JSON 900
#define OPTION_HELP 901

bool admin_decimal(const char *text, uint64_t *out)
{
    if (text[0] == '\0') {
        return false;
    }
    uint64_t value = 0;
    for (const char *at = text; *at != '\0'; at++) {
        if (*at < '0' || *at > '9' || __builtin_mul_overflow(value, 10u, &value) ||
            __builtin_add_overflow(value, (uint64_t)(*at - '0'), &value)) {
            return false;
        }
    }
    *out = value;
    return true;
}

enum admin_exit admin_fail(const struct admin_call *call, enum admin_exit code, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    fprintf(stderr, "truc %s: ", call->command->name);
    vfprintf(stderr, format, arguments);
    fputc('\n', stderr);
    va_end(arguments);
    return code;
}

enum admin_exit admin_exit_of(truc_error error)
{
    switch (error) {
    case TRUC_OK:
        return ADMIN_OK;
    case TRUC_E_CONFIG:
    case TRUC_E_INVALID:
        return ADMIN_USAGE;
    case TRUC_E_TIMEOUT:
    case TRUC_E_CLOSED:
    case TRUC_E_AGAIN:
        return ADMIN_UNREACHABLE;
    case TRUC_E_REFUSED:
        return ADMIN_REFUSED;
    case TRUC_E_BAD_SIGNATURE:
    case TRUC_E_BAD_PROOF:
    case TRUC_E_CORRUPT:
    case TRUC_E_FORKED:
        return ADMIN_DAMAGED;
    case TRUC_E_NOMEM:
    case TRUC_E_MALFORMED:
    case TRUC_E_TOO_LARGE:
    case TRUC_E_UNKNOWN_KEY:
    case TRUC_E_CRYPTO:
    case TRUC_E_IO:
    case TRUC_E_FULL:
    case TRUC_E_NOT_FOUND:
    case TRUC_E_EXISTS:
    case TRUC_E_UNSUPPORTED:
    case TRUC_E_LOCKED:
    case TRUC_E_COUNT_:
        return ADMIN_NO;
    }
    return ADMIN_NO;
}

enum admin_exit admin_agency(const struct admin_call *call, const char *text, char *out)
{
    if (truc_agency_normalise(truc_bytes_of(text), out) != TRUC_OK) {
        return admin_fail(call, ADMIN_USAGE,
                          "'%s' is not an agency code: 1 to 35 of A-Z 0-9 in groups joined by single dots, as H14.09",
                          text);
    }
    return ADMIN_OK;
}

enum admin_exit admin_pattern(const struct admin_call *call, const char *text)
{
    if (!truc_type_pattern_is_valid(truc_bytes_of(text))) {
        return admin_fail(call, ADMIN_USAGE,
                          "'%s' is not an event type: 1 to 255 of a-z 0-9 . - _, or a prefix of one ending in '*'",
                          text);
    }
    return ADMIN_OK;
}

static size_t option_count(const struct admin_command *command)
{
    size_t count = 0;
    while (command->options[count].name != NULL) {
        count++;
    }
    if (count > ADMIN_OPTIONS_MAX) {
        abort();
    }
    return count;
}

static enum admin_exit take_value(struct admin_call *call, size_t at, const char *text)
{
    const struct admin_option *option = &call->command->options[at];
    struct admin_value *value = &call->values[at];
    if (value->given && option->kind != ADMIN_LIST && option->kind != ADMIN_FLAG) {
        return admin_fail(call, ADMIN_USAGE, "--%s is given twice", option->name);
    }
    value->given = true;
    switch (option->kind) {
    case ADMIN_FLAG:
        return ADMIN_OK;
    case ADMIN_NUMBER:
        if (!admin_decimal(text, &value->number)) {
            return admin_fail(call, ADMIN_USAGE, "--%s: '%s' is not a whole number", option->name, text);
        }
        break;
    case ADMIN_TIME:
        if (truc_time_parse(truc_bytes_of(text), &value->time_us) != TRUC_OK) {
            return admin_fail(call, ADMIN_USAGE, "--%s: '%s' is not a time like 2026-11-22T09:30:00+07:00",
                              option->name, text);
        }
        break;
    case ADMIN_TEXT:
    case ADMIN_LIST:
        break;
    }
    if (value->count == ADMIN_LIST_MAX) {
        return admin_fail(call, ADMIN_USAGE, "--%s: at most %d times", option->name, ADMIN_LIST_MAX);
    }
    value->items[value->count++] = text;
    return ADMIN_OK;
}

static enum admin_exit check_complete(struct admin_call *call)
{
    const struct admin_command *command = call->command;
    for (size_t i = 0; command->options[i].name != NULL; i++) {
        if (command->options[i].required && !call->values[i].given) {
            return admin_fail(call, ADMIN_USAGE, "--%s %s is missing: %s (truc %s --help)", command->options[i].name,
                              command->options[i].value, command->options[i].help, command->name);
        }
    }
    if (call->operand_count < command->operands_min || call->operand_count > command->operands_max) {
        return admin_fail(call, ADMIN_USAGE, "expected %s%s, got %zu arguments (truc %s --help)",
                          command->operands_max == 0 ? "no arguments" : "", command->operands, call->operand_count,
                          command->name);
    }
    return ADMIN_OK;
}

/* An option that may stand before the command: how many words it takes of argv; 0: it is none. */
static int words_of_common(int argc, char **argv, int at)
{
    static const char *const with_value[] = {"--profile", "--timeout", "--home"};
    if (strcmp(argv[at], "--json") == 0) {
        return 1;
    }
    for (size_t i = 0; i < sizeof(with_value) / sizeof(with_value[0]); i++) {
        size_t length = strlen(with_value[i]);
        if (strncmp(argv[at], with_value[i], length) == 0 && argv[at][length] == '=') {
            return 1;
        }
        if (strcmp(argv[at], with_value[i]) == 0) {
            return at + 1 < argc ? 2 : -1;
        }
    }
    return 0;
}

enum admin_exit admin_args_order(int argc, char **argv, char **out)
{
    int words = 0, at = 1, count = 1;
    char *name[4] = {argv[0]};
    const struct admin_command *command = NULL;
    /* First pass: the command's words, and where they end. */
    while (at < argc && command == NULL && words < 2) {
        int taken = words_of_common(argc, argv, at);
        if (taken < 0) {
            fprintf(stderr, "truc: %s needs a value (truc help)\n", argv[at]);
            return ADMIN_USAGE;
        }
        if (taken == 0 && argv[at][0] == '-') {
            break; /* --help, --version, or an option that only its command knows */
        }
        if (taken == 0) {
            int found = 0;
            name[++words] = argv[at];
            command = admin_find(words + 1, name, &found);
        }
        at += taken == 0 ? 1 : taken;
    }
    for (int i = 1; i <= words; i++) {
        out[count++] = name[i];
    }
    out[0] = argv[0];
    /* Second pass: the options that stood among them, then all the rest as it is. */
    for (int i = 1; i < at;) {
        int taken = words_of_common(argc, argv, i);
        for (int k = 0; k < taken; k++) {
            out[count++] = argv[i + k];
        }
        i += taken == 0 ? 1 : taken;
    }
    while (at < argc) {
        out[count++] = argv[at++];
    }
    out[count] = NULL;
    return ADMIN_OK;
}

enum admin_exit admin_args_read(struct admin_call *call, int argc, char **argv, bool *helped)
{
    struct option table[ADMIN_OPTIONS_MAX + 3];
    const struct admin_command *command = call->command;
    size_t count = option_count(command);
    memset(table, 0, sizeof(table));
    for (size_t i = 0; i < count; i++) {
        table[i].name = command->options[i].name;
        table[i].has_arg = command->options[i].kind == ADMIN_FLAG ? no_argument : required_argument;
        table[i].val = OPTION_BASE + (int)i;
    }
    table[count] = (struct option){"json", no_argument, NULL, OPTION_JSON};
    table[count + 1] = (struct option){"help", no_argument, NULL, OPTION_HELP};

    *helped = false;
    opterr = 0;
    optind = 0; /* glibc: begin anew, so that tests may read several command lines */
    /* "o:" and "h" are the two short forms that people expect. */
    for (;;) {
        int found = getopt_long(argc, argv, ":o:h", table, NULL);
        if (found == -1) {
            break;
        }
        if (found == 'h' || found == OPTION_HELP) {
            *helped = true;
            return ADMIN_OK;
        }
        if (found == OPTION_JSON) {
            call->json = true;
            continue;
        }
        size_t at = found == 'o' ? count : (size_t)(found - OPTION_BASE);
        for (size_t i = 0; found == 'o' && i < count; i++) {
            at = strcmp(command->options[i].name, "output") == 0 ? i : at;
        }
        if (found == ':') {
            return admin_fail(call, ADMIN_USAGE, "%s needs a value (truc %s --help)", argv[optind - 1], command->name);
        }
        if (found == '?' || at >= count) {
            return admin_fail(call, ADMIN_USAGE, "%s is not an option of this command (truc %s --help)",
                              argv[optind - 1], command->name);
        }
        enum admin_exit exit_code = take_value(call, at, optarg);
        if (exit_code != ADMIN_OK) {
            return exit_code;
        }
    }
    call->operands = argv + optind;
    call->operand_count = (size_t)(argc - optind);
    return check_complete(call);
}

const struct admin_value *admin_value(const struct admin_call *call, const char *name)
{
    for (size_t i = 0; call->command->options[i].name != NULL; i++) {
        if (strcmp(call->command->options[i].name, name) == 0) {
            return &call->values[i];
        }
    }
    fprintf(stderr, "truc: bug: %s has no option %s\n", call->command->name, name);
    abort();
}

bool admin_flag(const struct admin_call *call, const char *name)
{
    return admin_value(call, name)->given;
}

const char *admin_text(const struct admin_call *call, const char *name)
{
    const struct admin_value *value = admin_value(call, name);
    return value->given ? value->items[0] : NULL;
}

uint64_t admin_number(const struct admin_call *call, const char *name, uint64_t fallback)
{
    const struct admin_value *value = admin_value(call, name);
    return value->given ? value->number : fallback;
}
