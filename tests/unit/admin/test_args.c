/* Command lines: what is taken, what is refused, and that every command's table is sound. */
#include "hub/admin/admin.h"
#include "hub/admin/table.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

static enum admin_exit never_run(struct admin_call *call)
{
    (void)call;
    fail();
    return ADMIN_NO;
}

static const struct admin_option options[] = {{"name", ADMIN_TEXT, "N", "a name", true},
                                              {"group", ADMIN_LIST, "G", "a group", false},
                                              {"hold", ADMIN_NUMBER, "S", "seconds", false},
                                              {"since", ADMIN_TIME, "T", "a time", false},
                                              {"output", ADMIN_TEXT, "FILE", "a file", false},
                                              {"dry", ADMIN_FLAG, NULL, "a flag", false},
                                              ADMIN_END};
static const struct admin_command command = {"thing add", "CODE", 1, 2, "adds", options, never_run};

#define READ(call, ...) read_line(call, (const char *const[]){"add", __VA_ARGS__, NULL})

static enum admin_exit read_line(struct admin_call *call, const char *const *words)
{
    static char *argv[32];
    bool helped = false;
    int argc = 0;
    *call = (struct admin_call){.command = &command};
    while (words[argc] != NULL) {
        argv[argc] = (char *)(uintptr_t)words[argc];
        argc++;
    }
    argv[argc] = NULL;
    enum admin_exit exit_code = admin_args_read(call, argc, argv, &helped);
    assert_false(helped);
    return exit_code;
}

static void options_and_operands_come_in_any_order(void **state)
{
    struct admin_call call;
    (void)state;
    assert_int_equal(
        READ(&call, "--group", "a", "H14.09", "--name=N", "--group", "b", "--hold", "7", "--dry", "-o", "x", "--json"),
        ADMIN_OK);
    assert_int_equal(call.operand_count, 1);
    assert_string_equal(call.operands[0], "H14.09");
    assert_string_equal(admin_text(&call, "name"), "N");
    assert_int_equal(admin_value(&call, "group")->count, 2);
    assert_string_equal(admin_value(&call, "group")->items[1], "b");
    assert_int_equal(admin_number(&call, "hold", 1), 7);
    assert_string_equal(admin_text(&call, "output"), "x");
    assert_true(admin_flag(&call, "dry"));
    assert_true(call.json);
    assert_null(admin_text(&call, "since"));
}

static void times_are_read_with_their_offset(void **state)
{
    struct admin_call call;
    (void)state;
    assert_int_equal(READ(&call, "H14", "--name", "N", "--since", "1970-01-01T07:00:01+07:00"), ADMIN_OK);
    assert_int_equal(admin_value(&call, "since")->time_us, 1000000);
    assert_int_equal(READ(&call, "H14", "--name", "N", "--since", "1970-01-01T00:00:00"), ADMIN_USAGE);
}

static void mistakes_are_usage_errors(void **state)
{
    struct admin_call call;
    (void)state;
    assert_int_equal(READ(&call, "H14"), ADMIN_USAGE);                              /* --name is required */
    assert_int_equal(READ(&call, "--name", "N"), ADMIN_USAGE);                      /* no operand */
    assert_int_equal(READ(&call, "a", "b", "c", "--name", "N"), ADMIN_USAGE);       /* too many */
    assert_int_equal(READ(&call, "a", "--name", "N", "--name", "M"), ADMIN_USAGE);  /* which one? */
    assert_int_equal(READ(&call, "a", "--name", "N", "--hold", "-1"), ADMIN_USAGE); /* unsigned */
    assert_int_equal(READ(&call, "a", "--name", "N", "--hold", "7s"), ADMIN_USAGE); /* something behind it */
    assert_int_equal(READ(&call, "a", "--name", "N", "--hold", "18446744073709551616"), ADMIN_USAGE);
    assert_int_equal(READ(&call, "a", "--name", "N", "--nothing"), ADMIN_USAGE);
    assert_int_equal(READ(&call, "a", "--name"), ADMIN_USAGE);
}

/* argv in, the reordered line out, words joined by one space. */
static void order_line(const char *const *words, enum admin_exit expected, const char *line)
{
    char *argv[16], *out[18], joined[256] = "";
    int argc = 0;
    for (; words[argc] != NULL; argc++) {
        argv[argc] = (char *)(uintptr_t)words[argc];
    }
    argv[argc] = NULL;
    assert_int_equal(admin_args_order(argc, argv, out), expected);
    for (int i = 0; expected == ADMIN_OK && i < argc; i++) {
        size_t at = strlen(joined);
        snprintf(joined + at, sizeof(joined) - at, "%s%s", i == 0 ? "" : " ", out[i]);
    }
    if (expected == ADMIN_OK) {
        assert_null(out[argc]);
        assert_string_equal(joined, line);
    }
}

#define ORDER(line, ...) order_line((const char *const[]){"truc", __VA_ARGS__, NULL}, ADMIN_OK, line)

static void common_options_may_stand_before_the_command(void **state)
{
    (void)state;
    ORDER("truc status --profile P --json", "--profile", "P", "--json", "status");
    ORDER("truc agency list --profile=P --timeout 3 X", "--profile=P", "agency", "--timeout", "3", "list", "X");
    ORDER("truc log show --home H --from 1", "--home", "H", "log", "show", "--from", "1");
    ORDER("truc send file --profile P", "send", "file", "--profile", "P"); /* behind it they stay where they are */
    ORDER("truc help agency add", "help", "agency", "add");
    ORDER("truc --version", "--version");
    ORDER("truc nonsense --json --bogus", "--json", "nonsense", "--bogus");
    /* a command that does not know the option says so itself; a value is never taken for a command */
    ORDER("truc agency --profile status", "--profile", "status", "agency");
    order_line((const char *const[]){"truc", "--profile", NULL}, ADMIN_USAGE, NULL);
    order_line((const char *const[]){"truc", "agency", "--timeout", NULL}, ADMIN_USAGE, NULL);
}

static void numbers_reach_to_the_last_one(void **state)
{
    uint64_t number = 0;
    (void)state;
    assert_true(admin_decimal("18446744073709551615", &number));
    assert_true(number == UINT64_MAX);
    assert_false(admin_decimal("", &number));
    assert_false(admin_decimal(" 1", &number));
}

static void every_command_of_the_tables_is_sound(void **state)
{
    static const struct admin_command *const tables[] = {
        admin_init_commands,    admin_enrol_commands,  admin_parameters_commands,   admin_agency_commands,
        admin_key_commands,     admin_grant_commands,  admin_subscription_commands, admin_send_commands,
        admin_receive_commands, admin_tail_commands,   admin_status_commands,       admin_deadletter_commands,
        admin_show_commands,    admin_export_commands, admin_verify_commands,       admin_evidence_commands,
        admin_replay_commands};
    size_t commands = 0;
    (void)state;
    for (size_t i = 0; i < sizeof(tables) / sizeof(tables[0]); i++) {
        for (const struct admin_command *at = tables[i]; at->name != NULL; at++, commands++) {
            size_t count = 0;
            assert_non_null(at->run);
            assert_true(at->operands_min <= at->operands_max);
            for (const struct admin_option *option = at->options; option->name != NULL; option++, count++) {
                assert_true((option->kind == ADMIN_FLAG) == (option->value == NULL));
                for (const struct admin_option *other = at->options; other != option; other++) {
                    assert_string_not_equal(other->name, option->name);
                }
            }
            assert_true(count <= ADMIN_OPTIONS_MAX);
        }
    }
    assert_int_equal(commands, 33);
}

/* A name that carries an escape sequence must not rewrite the administrator's screen. */
static void foreign_text_cannot_steer_the_terminal(void **state)
{
    struct truc_buffer out = {0};
    (void)state;
    json_t *value = json_string("V\xc4\x83n\x1b[2Jph\xc3\xb2ng\x7f\xc2\x9b!\n");
    admin_value_text(value, ADMIN_COLUMN_TEXT, &out);
    assert_string_equal((char *)out.data, "V\xc4\x83n?[2Jph\xc3\xb2ng?"
                                          "?!?");
    json_decref(value);
    truc_buffer_close(&out);
}

static void errors_have_the_exit_code_that_help_promises(void **state)
{
    (void)state;
    assert_int_equal(admin_exit_of(TRUC_E_TIMEOUT), 3);
    assert_int_equal(admin_exit_of(TRUC_E_REFUSED), 4);
    assert_int_equal(admin_exit_of(TRUC_E_BAD_PROOF), 5);
    assert_int_equal(admin_exit_of(TRUC_E_FORKED), 5);
    assert_int_equal(admin_exit_of(TRUC_E_CONFIG), 2);
    assert_int_equal(admin_exit_of(TRUC_E_IO), 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(options_and_operands_come_in_any_order),
        cmocka_unit_test(times_are_read_with_their_offset),
        cmocka_unit_test(mistakes_are_usage_errors),
        cmocka_unit_test(common_options_may_stand_before_the_command),
        cmocka_unit_test(numbers_reach_to_the_last_one),
        cmocka_unit_test(every_command_of_the_tables_is_sound),
        cmocka_unit_test(foreign_text_cannot_steer_the_terminal),
        cmocka_unit_test(errors_have_the_exit_code_that_help_promises),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
