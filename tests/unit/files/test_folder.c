/* Folders of the adapter: names as bytes, files that are only read whole, and nothing that is covered or followed. */
#include "adapters/files/folder.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <unistd.h>

#include <cmocka.h>

static char path[] = "/tmp/truc-folder-XXXXXX";
static struct folder folder;
static struct truc_buffer text;

static int setup(void **state)
{
    (void)state;
    memcpy(path + sizeof path - 7, "XXXXXX", 6);
    return mkdtemp(path) != NULL && folder_open(path, &folder) == TRUC_OK ? 0 : -1;
}

static int teardown(void **state)
{
    (void)state;
    struct folder_list list;
    assert_int_equal(folder_events(&folder, SIZE_MAX, &list), TRUC_OK);
    for (size_t i = 0; i < list.count; i++) {
        (void)unlinkat(folder.fd, list.items[i].name, 0);
    }
    folder_list_close(&list);
    folder_close(&folder);
    truc_buffer_close(&text);
    return rmdir(path);
}

static void put(const char *name, const char *content)
{
    assert_int_equal(folder_put(&folder, name, truc_bytes_of(content)), TRUC_OK);
}

static void test_numbers_go_before_the_ending_and_come_off_again(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        uint64_t n;
        const char *numbered;
    } cases[] = {{"a.json", 1, "a.json"},
                 {"a.json", 2, "a~2.json"},
                 {"a.b.json", 12, "a.b~12.json"},
                 {"a.json.why", 2, "a.json.why~2"},
                 {"\xff\n.json", 3, "\xff\n~3.json"}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char out[FILES_NAME_SIZE], plain[FILES_NAME_SIZE];
        assert_true(files_name_numbered(cases[i].name, cases[i].n, out));
        assert_string_equal(out, cases[i].numbered);
        files_name_plain(out, plain);
        if (i != 3) {
            assert_string_equal(plain, cases[i].name);
        }
    }
    static const char *const unchanged[] = {"~2.json", "a~.json", "a2.json", "a~2.txt", ".json", "~2"};
    for (size_t i = 0; i < sizeof unchanged / sizeof unchanged[0]; i++) {
        char plain[FILES_NAME_SIZE];
        files_name_plain(unchanged[i], plain);
        assert_string_equal(plain, unchanged[i]);
    }
}

static void test_a_name_that_leaves_no_room_is_said(void **state)
{
    (void)state;
    char name[FILES_NAME_SIZE], out[FILES_NAME_SIZE];
    memset(name, 'x', 255);
    memcpy(name + 250, ".json", 6);
    assert_true(files_name_numbered(name, 1, out));
    assert_false(files_name_numbered(name, 2, out));
    assert_false(files_name_ending(name, ".receipt.json", out));
    name[243] = '\0';
    assert_int_equal(strlen(name), 243);
    assert_false(files_name_ending(name, ".receipt.json", out));
    name[242] = '\0';
    assert_true(files_name_ending(name, ".receipt.json", out));
}

static void test_only_json_names_that_are_not_hidden_are_events(void **state)
{
    (void)state;
    assert_true(files_name_is_event("a.json"));
    static const char *const others[] = {".json", ".a.json", "a.json.tmp", "a.json.part", "a", "json", "a.JSON", ""};
    for (size_t i = 0; i < sizeof others / sizeof others[0]; i++) {
        assert_false(files_name_is_event(others[i]));
    }
}

static void test_only_regular_files_within_the_limit_are_read(void **state)
{
    (void)state;
    put("a.json", "twelve bytes");
    assert_int_equal(folder_read(&folder, "a.json", 12, &text), TRUC_OK);
    assert_int_equal(text.size, 12);
    assert_int_equal(folder_read(&folder, "a.json", 11, &text), TRUC_E_TOO_LARGE);
    assert_int_equal(text.size, 12); /* what was there stays */
    assert_int_equal(folder_read(&folder, "b.json", 12, &text), TRUC_E_NOT_FOUND);
    assert_int_equal(symlinkat("a.json", folder.fd, "link.json"), 0);
    assert_int_equal(folder_read(&folder, "link.json", 12, &text), TRUC_E_INVALID);
    assert_int_equal(mkfifoat(folder.fd, "pipe.json", 0600), 0);
    assert_int_equal(folder_read(&folder, "pipe.json", 12, &text), TRUC_E_INVALID);
    assert_int_equal(folder_read(&folder, ".", 12, &text), TRUC_E_INVALID);
    assert_int_equal(folder_read(&folder, "/dev/zero", 12, &text), TRUC_E_INVALID);
}

static void test_a_move_covers_nothing(void **state)
{
    (void)state;
    put("a.json", "a");
    put("b.json", "b");
    assert_int_equal(folder_move(&folder, "a.json", &folder, "b.json"), TRUC_E_EXISTS);
    assert_int_equal(folder_move(&folder, "c.json", &folder, "d.json"), TRUC_E_NOT_FOUND);
    assert_int_equal(folder_move(&folder, "a.json", &folder, "c.json"), TRUC_OK);
    assert_false(folder_has(&folder, "a.json"));
    assert_int_equal(folder_read(&folder, "b.json", 9, &text), TRUC_OK);
    assert_int_equal(text.data[0], 'b');
}

static void test_staging_replaces_a_planted_link_and_never_writes_through_it(void **state)
{
    (void)state;
    int fd = -1;
    put("victim.json", "safe");
    assert_int_equal(symlinkat("victim.json", folder.fd, "s.json"), 0);
    assert_int_equal(folder_stage(&folder, "s.json", truc_bytes_of("new"), 0600, &fd), TRUC_OK);
    assert_int_equal(close(fd), 0);
    assert_int_equal(folder_read(&folder, "victim.json", 9, &text), TRUC_OK);
    assert_int_equal(folder_read(&folder, "s.json", 9, &text), TRUC_OK);
    assert_memory_equal(text.data, "safenew", 7);
}

static void put_at(const char *name, int64_t seconds, long nanoseconds)
{
    struct timespec times[2] = {{.tv_sec = seconds, .tv_nsec = nanoseconds},
                                {.tv_sec = seconds, .tv_nsec = nanoseconds}};
    put(name, "");
    assert_int_equal(utimensat(folder.fd, name, times, 0), 0);
}

static void assert_list(const struct folder_list *list, const char *const names[], size_t count)
{
    assert_int_equal(list->count, count);
    for (size_t i = 0; i < count; i++) {
        assert_string_equal(list->items[i].name, names[i]);
    }
}

static void test_the_list_is_by_modification_time_then_rank_then_name(void **state)
{
    (void)state;
    static const char *const by_time[] = {"z.json", "c.json", "a.json", "b.json", "0.json"};
    static const char *const ranked[] = {"z.json", "c.json", "b.json", "a.json", "0.json"};
    struct folder_list list;
    put_at("0.json", 1001, 0);
    put_at("b.json", 1000, 7);
    put_at("a.json", 1000, 7);
    put_at("c.json", 1000, 6); /* nanoseconds count */
    put_at("z.json", 999, 0);
    put_at("not-one.txt", 1, 0);
    assert_int_equal(folder_move(&folder, "c.json", &folder, "d.json"), TRUC_OK);
    assert_int_equal(folder_move(&folder, "d.json", &folder, "c.json"), TRUC_OK); /* a rename does not make it newer */
    assert_int_equal(folder_events(&folder, 5, &list), TRUC_OK);
    assert_list(&list, by_time, 5);
    assert_false(list.cut);
    list.items[2].rank = 2;
    list.items[3].rank = 1;
    list.items[4].rank = 0; /* what comes later stays behind */
    folder_list_sort(&list);
    assert_list(&list, ranked, 5);
    folder_list_close(&list);
    assert_int_equal(unlinkat(folder.fd, "not-one.txt", 0), 0);
}

static void test_a_list_that_is_cut_keeps_the_oldest(void **state)
{
    (void)state;
    static const char *const oldest[] = {"99.json", "98.json", "97.json"};
    struct folder_list list;
    char name[32];
    for (int i = 0; i < 100; i++) {
        (void)snprintf(name, sizeof name, "%02d.json", i);
        put_at(name, 2000 - i, 0);
    }
    assert_int_equal(folder_events(&folder, 3, &list), TRUC_OK);
    assert_list(&list, oldest, 3);
    assert_true(list.cut);
    folder_list_close(&list);
    assert_int_equal(folder_events(&folder, 0, &list), TRUC_OK);
    assert_int_equal(list.count, 0);
    assert_true(list.cut);
    folder_list_close(&list);
    assert_int_equal(folder_events(&folder, 100, &list), TRUC_OK);
    assert_int_equal(list.count, 100);
    assert_false(list.cut);
    folder_list_close(&list);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_numbers_go_before_the_ending_and_come_off_again, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_name_that_leaves_no_room_is_said, setup, teardown),
        cmocka_unit_test_setup_teardown(test_only_json_names_that_are_not_hidden_are_events, setup, teardown),
        cmocka_unit_test_setup_teardown(test_only_regular_files_within_the_limit_are_read, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_move_covers_nothing, setup, teardown),
        cmocka_unit_test_setup_teardown(test_staging_replaces_a_planted_link_and_never_writes_through_it, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(test_the_list_is_by_modification_time_then_rank_then_name, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_list_that_is_cut_keeps_the_oldest, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
