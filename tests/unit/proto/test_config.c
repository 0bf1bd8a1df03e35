/* The configuration reader: what an administrator types wrong is said with its line and key, all of it at once. */
#include "truc/config.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

struct settings {
    char *name, *comment;
    struct truc_strings endpoints;
    int64_t workers, event_bytes, lease_ms, depth;
    bool enabled;
};

static const struct truc_config_field fields[] = {
    {.key = "name", .kind = TRUC_CONFIG_STRING, .offset = offsetof(struct settings, name), .required = true},
    {.key = "comment", .kind = TRUC_CONFIG_STRING, .offset = offsetof(struct settings, comment)},
    {.key = "endpoints", .kind = TRUC_CONFIG_STRINGS, .offset = offsetof(struct settings, endpoints), .required = true},
    {.key = "workers",
     .kind = TRUC_CONFIG_INTEGER,
     .offset = offsetof(struct settings, workers),
     .minimum = 1,
     .maximum = 64,
     .fallback = "2"},
    {.key = "limits.event_bytes",
     .kind = TRUC_CONFIG_SIZE,
     .offset = offsetof(struct settings, event_bytes),
     .minimum = 1,
     .maximum = 1 << 20,
     .fallback = "1 MiB"},
    {.key = "limits.lease",
     .kind = TRUC_CONFIG_DURATION,
     .offset = offsetof(struct settings, lease_ms),
     .fallback = "30s"},
    {.key = "limits.deep.depth", .kind = TRUC_CONFIG_INTEGER, .offset = offsetof(struct settings, depth)},
    {.key = "enabled", .kind = TRUC_CONFIG_BOOLEAN, .offset = offsetof(struct settings, enabled), .fallback = "true"},
};
#define FIELDS (sizeof fields / sizeof fields[0])

static struct settings target;
static struct truc_buffer why;

static int setup(void **state)
{
    (void)state;
    target = (struct settings){0};
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    truc_config_close(fields, FIELDS, &target);
    truc_buffer_close(&why);
    return 0;
}

static truc_error read_text(const char *text)
{
    return truc_config_read("hub.yaml", truc_bytes_of(text), fields, FIELDS, &target, &why);
}

static void expect_wrong(const char *text, const char *complaint)
{
    truc_buffer_clear(&why);
    assert_int_equal(read_text(text), TRUC_E_CONFIG);
    assert_non_null(why.data);
    if (strstr((const char *)why.data, complaint) == NULL) {
        fail_msg("wanted \"%s\", got:\n%s", complaint, (const char *)why.data);
    }
    assert_null(target.name); /* nothing is owed after an error */
    assert_null(target.endpoints.items);
    assert_int_equal(target.workers, 0);
}

static void test_reads_every_kind(void **state)
{
    (void)state;
    assert_int_equal(read_text("# sample\n"
                               "name: \"hub one\"\n"
                               "endpoints: [tcp://127.0.0.1:1, tcp://127.0.0.1:2]\n"
                               "workers: 7\n"
                               "limits:\n"
                               "  event_bytes: 64 KiB\n"
                               "  lease: 2min\n"
                               "  deep: {depth: -3}\n"
                               "enabled: false\n"),
                     TRUC_OK);
    assert_int_equal(why.size, 0);
    assert_string_equal(target.name, "hub one");
    assert_null(target.comment);
    assert_int_equal(target.endpoints.count, 2);
    assert_string_equal(target.endpoints.items[1], "tcp://127.0.0.1:2");
    assert_int_equal(target.workers, 7);
    assert_int_equal(target.event_bytes, 65536);
    assert_int_equal(target.lease_ms, 120000);
    assert_int_equal(target.depth, -3);
    assert_false(target.enabled);
}

static void test_defaults_stand_where_nothing_is_said(void **state)
{
    (void)state;
    assert_int_equal(read_text("name: a\nendpoints: tcp://one\n"), TRUC_OK);
    assert_int_equal(target.endpoints.count, 1); /* one string is a list of one */
    assert_int_equal(target.workers, 2);
    assert_int_equal(target.event_bytes, 1 << 20);
    assert_int_equal(target.lease_ms, 30000);
    assert_true(target.enabled);
}

static void test_all_errors_come_at_once_with_their_lines(void **state)
{
    (void)state;
    expect_wrong("nam: a\n"
                 "workers: many\n"
                 "limits:\n"
                 "  event_bytes: 2 MiB\n"
                 "  leese: 3s\n"
                 "enabled: maybe\n",
                 "hub.yaml:1: nam: unknown key\n");
    const char *said = (const char *)why.data;
    assert_non_null(strstr(said, "hub.yaml:2: workers: \"many\" is not a whole number\n"));
    assert_non_null(strstr(said, "hub.yaml:4: limits.event_bytes: 2 MiB is outside 1 to 1048576 bytes\n"));
    assert_non_null(strstr(said, "hub.yaml:5: limits.leese: unknown key\n"));
    assert_non_null(strstr(said, "hub.yaml:6: enabled: \"maybe\" is neither true nor false\n"));
    assert_non_null(strstr(said, "hub.yaml:1: name: is missing and required\n"));
    assert_non_null(strstr(said, "endpoints: is missing and required\n"));
}

static const char *check_even(const char *text)
{
    return strlen(text) % 2 == 0 ? NULL : "is odd";
}

/* For checks across keys, which belong to the same run: what could be read is there, and where each key stands. */
static void test_what_could_be_read_stays_for_further_checks(void **state)
{
    (void)state;
    struct truc_config_field checked[FIELDS];
    size_t lines[FIELDS];
    memcpy(checked, fields, sizeof fields);
    checked[2].check = check_even;
    truc_error error = truc_config_read_partly("hub.yaml",
                                               truc_bytes_of("# sample\n"
                                                             "name: a\n"
                                                             "endpoints:\n"
                                                             "  - ab\n"
                                                             "  - abc\n"
                                                             "limits: {deep: {depth: 5}}\n"
                                                             "workers: 99\n"),
                                               checked, FIELDS, &target, lines, &why);
    assert_int_equal(error, TRUC_E_CONFIG);
    assert_non_null(strstr((const char *)why.data, "hub.yaml:5: endpoints: \"abc\" is odd\n"));
    assert_non_null(strstr((const char *)why.data, "hub.yaml:7: workers: 99 is outside 1 to 64\n"));
    assert_string_equal(target.name, "a");
    assert_int_equal(target.endpoints.count, 1);
    assert_int_equal(target.depth, 5);
    assert_int_equal(target.workers, 0);
    assert_int_equal(truc_config_line(checked, FIELDS, lines, "endpoints"), 3);
    assert_int_equal(truc_config_line(checked, FIELDS, lines, "workers"), 7);
    assert_int_equal(truc_config_line(checked, FIELDS, lines, "limits.lease"), 6); /* absent: where its mapping is */
    assert_int_equal(truc_config_line(checked, FIELDS, lines, "comment"), 2);
}

static void test_repeated_keys_are_errors(void **state)
{
    (void)state;
    expect_wrong("name: a\nendpoints: x\nname: b\n", "hub.yaml:3: name: stands here twice");
    expect_wrong("name: a\nendpoints: x\nlimits: {lease: 1s}\nlimits: {event_bytes: 1}\n",
                 "hub.yaml:4: limits: stands here twice");
}

static void test_wrong_shapes(void **state)
{
    (void)state;
    expect_wrong("- a\n- b\n", "hub.yaml:1: should be a mapping");
    expect_wrong("name: [a]\nendpoints: x\n", "hub.yaml:1: name: should be a single value, not a list");
    expect_wrong("name: a\nendpoints:\n  - {a: b}\n", "hub.yaml:3: endpoints: should be a single value, not a mapping");
    expect_wrong("name: a\nendpoints: []\n", "hub.yaml:2: endpoints: needs at least one entry");
    expect_wrong("name: a\nendpoints: x\nlimits: 3\n", "hub.yaml:3: limits: should be a mapping");
    expect_wrong("name:\nendpoints: x\n", "hub.yaml:1: name: has no value");
    expect_wrong("name: \"a\\0b\"\nendpoints: x\n", "hub.yaml:1: name: holds a zero byte");
    expect_wrong("name: a\n---\nname: b\n", "a second document");
    expect_wrong("name: a\nendpoints: 'x\n", "hub.yaml:3:");
    expect_wrong("", "hub.yaml:1: name: is missing");
    expect_wrong("? {a: b}\n: c\n", "a key should be a short text");
}

static void test_numbers_with_units(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        bool good;
    } cases[] = {
        {"1d", true},
        {"0", true},
        {"15 ms", true},
        {"5", false},
        {"5 weeks", false},
        {"-3s", false},
        {"s", false},
        {"99999999999999d", false},
        {"1.5s", false},
        {"0x10s", false},
        {"99999999999999999999s", false},
        {"' 5s'", false},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char text[128];
        (void)snprintf(text, sizeof text, "name: a\nendpoints: x\nlimits: {lease: %s}\n", cases[i].text);
        truc_buffer_clear(&why);
        truc_error error = read_text(text);
        if ((error == TRUC_OK) != cases[i].good) {
            fail_msg("\"%s\" was %s", cases[i].text, error == TRUC_OK ? "taken" : "refused");
        }
        truc_config_close(fields, FIELDS, &target);
    }
}

/* An alias that holds itself must not send the reader round for ever. */
static void test_aliases_cannot_loop(void **state)
{
    (void)state;
    expect_wrong("name: a\nendpoints: x\nlimits: &l\n  deep: *l\n", "limits.deep.deep: unknown key");
}

static char folder[] = "/tmp/truc-config-XXXXXX";

static int make_folder(void **state)
{
    (void)state;
    return mkdtemp(folder) == NULL ? -1 : 0;
}

static int drop_folder(void **state)
{
    (void)state;
    return rmdir(folder);
}

static void test_files(void **state)
{
    (void)state;
    char path[256], missing[256];
    struct truc_buffer text = {0};
    (void)snprintf(path, sizeof path, "%s/a.yaml", folder);
    (void)snprintf(missing, sizeof missing, "%s/none/b.yaml", folder);

    assert_int_equal(truc_file_write(path, truc_bytes_of("name: a\nendpoints: x\n"), 0600, false), TRUC_OK);
    assert_int_equal(truc_file_write(path, truc_bytes_of("other"), 0600, false), TRUC_E_EXISTS);
    struct stat status;
    assert_int_equal(stat(path, &status), 0);
    assert_int_equal(status.st_mode & 0777, 0600);
    assert_int_equal(truc_config_load(path, fields, FIELDS, &target, &why), TRUC_OK);
    assert_string_equal(target.name, "a");
    truc_config_close(fields, FIELDS, &target);

    assert_int_equal(truc_file_write(path, truc_bytes_of("1234"), 0600, true), TRUC_OK);
    assert_int_equal(truc_file_read(path, 4, &text), TRUC_OK);
    assert_memory_equal(text.data, "1234", 4);
    assert_int_equal(text.size, 4);
    assert_int_equal(truc_file_read(path, 3, &text), TRUC_E_TOO_LARGE);
    assert_int_equal(text.size, 4); /* what was there before stays */

    assert_int_equal(truc_file_read(missing, 10, &text), TRUC_E_IO);
    assert_int_equal(errno, ENOENT);
    assert_int_equal(truc_file_read(folder, 10, &text), TRUC_E_IO);
    assert_int_equal(truc_file_write(missing, truc_bytes_of("x"), 0600, true), TRUC_E_IO);
    assert_int_equal(truc_config_load(missing, fields, FIELDS, &target, &why), TRUC_E_CONFIG);
    assert_non_null(strstr((const char *)why.data, "none/b.yaml:0: cannot be read: No such file"));
    truc_buffer_close(&text);
    assert_int_equal(unlink(path), 0); /* and rmdir later shows that no .part file was left */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_reads_every_kind, setup, teardown),
        cmocka_unit_test_setup_teardown(test_defaults_stand_where_nothing_is_said, setup, teardown),
        cmocka_unit_test_setup_teardown(test_all_errors_come_at_once_with_their_lines, setup, teardown),
        cmocka_unit_test_setup_teardown(test_what_could_be_read_stays_for_further_checks, setup, teardown),
        cmocka_unit_test_setup_teardown(test_repeated_keys_are_errors, setup, teardown),
        cmocka_unit_test_setup_teardown(test_wrong_shapes, setup, teardown),
        cmocka_unit_test_setup_teardown(test_numbers_with_units, setup, teardown),
        cmocka_unit_test_setup_teardown(test_aliases_cannot_loop, setup, teardown),
        cmocka_unit_test_setup_teardown(test_files, setup, teardown),
    };
    return cmocka_run_group_tests(tests, make_folder, drop_folder);
}
