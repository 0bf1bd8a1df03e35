/* Key slots: there before they are named, the same after a restart, gone after an erasure. */
#include "tests/contract/fixture.h"

#include "hub/store/slots.h"

#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>

static int set_up(void **state)
{
    *state = folder_new();
    return 0;
}

static int tear_down(void **state)
{
    folder_free(*state);
    return 0;
}

static void keys_are_random_and_stay(void **state)
{
    char *path = path_in(*state, "keys.slots");
    struct hub_slots *slots;
    uint8_t first[32], last[32], again[32];
    struct stat status;
    assert_int_equal(hub_slots_open(path, false, false, &slots), TRUC_E_NOT_FOUND);
    assert_ok(hub_slots_open(path, true, false, &slots));
    assert_true(hub_slots_count(slots) == 0);
    assert_int_equal(hub_slots_get(slots, 0, first), TRUC_E_NOT_FOUND);
    assert_ok(hub_slots_ensure(slots, 1));
    uint64_t count = hub_slots_count(slots);
    assert_true(count == 4096);
    assert_ok(hub_slots_get(slots, 0, first));
    assert_ok(hub_slots_get(slots, count - 1, last));
    assert_memory_not_equal(first, last, 32);
    assert_int_equal(hub_slots_get(slots, count, again), TRUC_E_NOT_FOUND);
    hub_slots_close(&slots);

    assert_int_equal(stat(path, &status), 0);
    assert_int_equal(status.st_mode & 0777, 0600);
    assert_ok(hub_slots_open(path, false, false, &slots));
    assert_ok(hub_slots_ensure(slots, count + 1));
    assert_true(hub_slots_count(slots) == 2 * count);
    assert_ok(hub_slots_get(slots, 0, again));
    assert_memory_equal(first, again, 32);
    assert_ok(hub_slots_get(slots, count - 1, again));
    assert_memory_equal(last, again, 32);
    hub_slots_close(&slots);
    free(path);
}

static void an_erased_key_is_nowhere_in_the_file(void **state)
{
    char *path = path_in(*state, "keys.slots");
    struct hub_slots *slots;
    uint8_t before[32], after[32], key[32];
    assert_ok(hub_slots_open(path, true, false, &slots));
    assert_ok(hub_slots_ensure(slots, 100));
    assert_ok(hub_slots_get(slots, 41, before));
    assert_ok(hub_slots_get(slots, 42, key));
    assert_ok(hub_slots_get(slots, 43, after));
    assert_ok(hub_slots_erase(slots, 42));
    assert_int_equal(hub_slots_get(slots, 42, key), TRUC_E_NOT_FOUND);
    assert_int_equal(hub_slots_erase(slots, hub_slots_count(slots)), TRUC_E_NOT_FOUND);
    hub_slots_close(&slots);
    assert_ok(hub_slots_open(path, false, true, &slots));
    assert_int_equal(hub_slots_get(slots, 42, key), TRUC_E_NOT_FOUND);
    assert_ok(hub_slots_get(slots, 41, key));
    assert_memory_equal(key, before, 32);
    assert_ok(hub_slots_get(slots, 43, key));
    assert_memory_equal(key, after, 32);
    assert_int_equal(hub_slots_erase(slots, 41), TRUC_E_INVALID);
    assert_int_equal(hub_slots_ensure(slots, 1 << 20), TRUC_E_INVALID);
    hub_slots_close(&slots);
    free(path);
}

static void a_damaged_file_is_refused(void **state)
{
    char *path = path_in(*state, "keys.slots");
    struct hub_slots *slots;
    struct stat status;
    assert_ok(hub_slots_open(path, true, false, &slots));
    assert_ok(hub_slots_ensure(slots, 1));
    hub_slots_close(&slots);
    int fd = open(path, O_RDWR | O_CLOEXEC);
    assert_true(fd >= 0);
    for (off_t at = 0; at < 52; at++) {
        uint8_t good, bad;
        assert_int_equal(pread(fd, &good, 1, at), 1);
        bad = good ^ 1;
        assert_int_equal(pwrite(fd, &bad, 1, at), 1);
        assert_int_equal(hub_slots_open(path, true, false, &slots), TRUC_E_CORRUPT);
        assert_int_equal(pwrite(fd, &good, 1, at), 1);
    }
    assert_int_equal(fstat(fd, &status), 0);
    assert_int_equal(ftruncate(fd, status.st_size - 1), 0);
    assert_int_equal(hub_slots_open(path, true, false, &slots), TRUC_E_CORRUPT);
    assert_int_equal(ftruncate(fd, 10), 0);
    assert_int_equal(hub_slots_open(path, true, false, &slots), TRUC_E_CORRUPT);
    (void)close(fd);
    free(path);
}

struct race {
    struct hub_slots *slots;
    atomic_bool done;
    uint64_t reads;
    uint8_t expected[32];
    bool good;
};

static void *keep_reading(void *context)
{
    struct race *race = context;
    uint8_t key[32];
    do {
        uint64_t last = hub_slots_count(race->slots) - 1;
        race->good = race->good && hub_slots_get(race->slots, last, key) == TRUC_OK &&
                     hub_slots_get(race->slots, 5, key) == TRUC_OK && memcmp(key, race->expected, 32) == 0;
        race->reads++;
    } while (!atomic_load(&race->done));
    return NULL;
}

static void readers_do_not_notice_growth(void **state)
{
    char *path = path_in(*state, "keys.slots");
    struct race race = {.good = true};
    pthread_t thread;
    assert_ok(hub_slots_open(path, true, false, &race.slots));
    assert_ok(hub_slots_ensure(race.slots, 10));
    assert_ok(hub_slots_get(race.slots, 5, race.expected));
    assert_int_equal(pthread_create(&thread, NULL, keep_reading, &race), 0);
    for (uint64_t count = 4096; count <= 20 * 4096; count += 4096) {
        assert_ok(hub_slots_ensure(race.slots, count));
    }
    assert_ok(hub_slots_ensure(race.slots, (1 << 20) + 1)); /* into a second chunk of the map */
    atomic_store(&race.done, true);
    assert_int_equal(pthread_join(thread, NULL), 0);
    assert_true(race.good);
    assert_true(race.reads > 0);
    assert_ok(hub_slots_get(race.slots, 1 << 20, race.expected));
    hub_slots_close(&race.slots);
    free(path);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(keys_are_random_and_stay, set_up, tear_down),
        cmocka_unit_test_setup_teardown(an_erased_key_is_nowhere_in_the_file, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_damaged_file_is_refused, set_up, tear_down),
        cmocka_unit_test_setup_teardown(readers_do_not_notice_growth, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
