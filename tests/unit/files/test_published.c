/* The list of what was shown: what it forgets too early is delivered twice, what it invents is lost. */
#include "adapters/files/published.h"

#include <setjmp.h>
#include <stdarg.h>
#include <unistd.h>

#include <cmocka.h>

static char path[] = "/tmp/truc-published-XXXXXX";
static struct folder folder;
static struct published list;

static int setup(void **state)
{
    (void)state;
    memcpy(path + sizeof path - 7, "XXXXXX", 6);
    list = (struct published){0};
    return mkdtemp(path) != NULL && folder_open(path, &folder) == TRUC_OK ? 0 : -1;
}

static int teardown(void **state)
{
    (void)state;
    (void)unlinkat(folder.fd, "published", 0);
    folder_close(&folder);
    published_close(&list);
    return rmdir(path);
}

static void reload(void)
{
    assert_int_equal(published_save(&list, &folder), TRUC_OK);
    published_close(&list);
    assert_int_equal(published_load(&folder, &list), TRUC_OK);
}

static void test_it_survives_in_any_order(void **state)
{
    (void)state;
    static const uint64_t numbers[] = {5, 1, 9, 3, UINT64_MAX, 7};
    assert_int_equal(published_load(&folder, &list), TRUC_OK); /* the first start: there is none */
    for (size_t i = 0; i < 6; i++) {
        assert_int_equal(published_add(&list, numbers[i], i), TRUC_OK);
    }
    reload();
    assert_int_equal(list.count, 6);
    for (size_t i = 0; i < 6; i++) {
        assert_non_null(published_find(&list, numbers[i], i));
        assert_null(published_find(&list, numbers[i], i + 1)); /* another inbox with the same numbers */
    }
    assert_null(published_find(&list, 4, 0));
}

static void test_an_answer_is_forgotten_one_round_later_and_not_before(void **state)
{
    (void)state;
    for (uint64_t n = 1; n <= 3; n++) {
        assert_int_equal(published_add(&list, n, n), TRUC_OK);
    }
    published_find(&list, 1, 1)->answered = 4;
    published_find(&list, 2, 2)->answered = 5;
    published_forget_answered(&list, 5);
    assert_null(published_find(&list, 1, 1));
    assert_non_null(published_find(&list, 2, 2)); /* its ack may not be committed yet */
    assert_non_null(published_find(&list, 3, 3));
    reload();
    assert_int_equal(published_find(&list, 2, 2)->answered, 0);
}

static void test_what_the_hub_settled_goes(void **state)
{
    (void)state;
    for (uint64_t n = 1; n <= 9; n++) {
        assert_int_equal(published_add(&list, n, n), TRUC_OK);
    }
    published_forget(&list, 3, 5);
    published_forget(&list, 8, UINT64_MAX);
    published_forget(&list, 6, 2); /* nothing lies between */
    assert_int_equal(list.count, 4);
    assert_non_null(published_find(&list, 2, 2));
    assert_null(published_find(&list, 3, 3));
    assert_non_null(published_find(&list, 7, 7));
}

static void test_a_damaged_list_is_never_taken_for_a_shorter_one(void **state)
{
    (void)state;
    static const char *const damaged[] = {
        "",
        "other 1\nend 0\n",
        "truc-files published 1\n",
        "truc-files published 1\n1 2\n",
        "truc-files published 1\n1 2\nend 0\n",
        "truc-files published 1\nend 1\n",
        "truc-files published 1\n1\nend 1\n",
        "truc-files published 1\n1 2 3\nend 1\n",
        "truc-files published 1\n1 2\nend 1",
        "truc-files published 1\n1 2\nend 1\nmore\n",
        "truc-files published 1\n1 2x\nend 1\n",
    };
    for (size_t i = 0; i < sizeof damaged / sizeof damaged[0]; i++) {
        assert_int_equal(folder_put(&folder, "published", truc_bytes_of(damaged[i])), TRUC_OK);
        assert_int_equal(published_load(&folder, &list), TRUC_E_CORRUPT);
        assert_int_equal(list.count, 0);
    }
    assert_int_equal(folder_put(&folder, "published", truc_bytes_of("truc-files published 1\n1 2\nend 1\n")), TRUC_OK);
    assert_int_equal(published_load(&folder, &list), TRUC_OK);
    assert_int_equal(list.count, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_it_survives_in_any_order, setup, teardown),
        cmocka_unit_test_setup_teardown(test_an_answer_is_forgotten_one_round_later_and_not_before, setup, teardown),
        cmocka_unit_test_setup_teardown(test_what_the_hub_settled_goes, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_damaged_list_is_never_taken_for_a_shorter_one, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
