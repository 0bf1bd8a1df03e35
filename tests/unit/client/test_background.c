/* The thread beside the client: one job at a time, its end told by a descriptor, and told once. */
#include "adapters/client/background.h"

#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static void count_one(void *context)
{
    ++*(unsigned *)context;
}

static bool is_readable(struct background *b)
{
    struct pollfd fd = {.fd = background_fd(b), .events = POLLIN};
    return poll(&fd, 1, 0) > 0;
}

/* Or whoever waits for the descriptor turns round and round with nothing to do. */
static void an_end_that_was_seen_is_not_told_again(void **state)
{
    struct background *b;
    unsigned done = 0;
    (void)state;
    assert_int_equal(background_new("test", &b), TRUC_OK);
    for (unsigned i = 0; i < 20000; i++) {
        background_run(b, count_one, &done);
        while (!background_done(b)) {
        }
        assert_int_equal(done, i + 1);
        assert_false(is_readable(b));
    }
    background_free(&b);
}

static void an_end_that_was_not_seen_wakes_whoever_waits(void **state)
{
    struct background *b;
    unsigned done = 0;
    (void)state;
    assert_int_equal(background_new("test", &b), TRUC_OK);
    for (unsigned i = 0; i < 2000; i++) {
        background_run(b, count_one, &done);
        struct pollfd fd = {.fd = background_fd(b), .events = POLLIN};
        assert_int_equal(poll(&fd, 1, 30000), 1);
        assert_true(background_done(b));
        assert_false(is_readable(b));
    }
    assert_int_equal(done, 2000);
    background_free(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_end_that_was_seen_is_not_told_again),
        cmocka_unit_test(an_end_that_was_not_seen_wakes_whoever_waits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
