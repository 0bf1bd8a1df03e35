/* The spool: what a commit made durable is there after a kill, what it did not is not, and damage is said, not crashed
 * on. */
#include "adapters/client/spool.h"

#include <errno.h>
#include <fcntl.h>
#include <lmdb.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

static char folder[64];
static struct spool *spool;
static struct client_store store;

static void open_spool(uint64_t quota)
{
    assert_int_equal(client_spool_open(folder, quota, &spool), TRUC_OK);
    store = client_spool_store(spool);
}

static int setup(void **state)
{
    (void)state;
    (void)snprintf(folder, sizeof folder, "/tmp/truc-spool-XXXXXX");
    return mkdtemp(folder) == NULL ? -1 : 0;
}

static int teardown(void **state)
{
    (void)state;
    char path[128];
    client_spool_close(&spool);
    (void)snprintf(path, sizeof path, "%s/data.mdb", folder);
    (void)unlink(path);
    (void)snprintf(path, sizeof path, "%s/owner.lock", folder);
    (void)unlink(path);
    return rmdir(folder);
}

static truc_error put_event(uint64_t ticket, size_t size)
{
    static uint8_t bytes[1 << 20];
    memset(bytes, (int)ticket, sizeof bytes);
    return store.put(store.context, STORE_EVENTS, ticket, truc_bytes("\0", 1), truc_bytes(bytes, size));
}

static uint64_t count_events(void)
{
    uint64_t count = 0;
    assert_int_equal(client_spool_count(spool, STORE_EVENTS, &count), TRUC_OK);
    return count;
}

static void test_rows_come_back_in_order(void **state)
{
    (void)state;
    struct truc_bytes row;
    uint64_t key = 0;
    open_spool(1 << 24);
    for (uint64_t i = 1; i <= 300; i++) {
        assert_int_equal(put_event(i, 100 + i), TRUC_OK);
    }
    assert_int_equal(store.drop(store.context, STORE_EVENTS, 1, 250), TRUC_OK);
    assert_int_equal(store.drop(store.context, STORE_EVENTS, 1, 250), TRUC_OK); /* nothing there: fine */
    assert_int_equal(store.next(store.context, STORE_EVENTS, &key, &row), TRUC_OK);
    assert_int_equal(key, 251);
    assert_int_equal(row.size, 1 + 100 + 251);
    assert_int_equal(row.data[1], 251);
    assert_int_equal(store.get(store.context, STORE_EVENTS, 250, &row), TRUC_E_NOT_FOUND);
    assert_int_equal(store.get(store.context, STORE_EVENTS, 300, &row), TRUC_OK);
    key = 301;
    assert_int_equal(store.next(store.context, STORE_EVENTS, &key, &row), TRUC_E_NOT_FOUND);
    assert_int_equal(client_spool_commit(spool), TRUC_OK);
    assert_int_equal(client_spool_dirty(spool), 0);
    client_spool_close(&spool);
    open_spool(1 << 24);
    assert_int_equal(count_events(), 50);
}

/* A child commits, writes on, and is killed: the commit counts, the rest never was. Ten times on one spool. */
static void test_a_kill_loses_nothing_that_was_committed(void **state)
{
    (void)state;
    for (uint64_t round = 0; round < 10; round++) {
        int ready[2];
        assert_int_equal(pipe(ready), 0);
        pid_t child = fork();
        assert_true(child >= 0);
        if (child == 0) {
            bool good = client_spool_open(folder, 1 << 26, &spool) == TRUC_OK;
            store = client_spool_store(spool);
            for (uint64_t i = 1; i <= 100; i++) {
                good = good && put_event(round * 1000 + i, 2000) == TRUC_OK;
            }
            good = good && client_spool_commit(spool) == TRUC_OK;
            for (uint64_t i = 101; i <= 200; i++) {
                good = good && put_event(round * 1000 + i, 5000) == TRUC_OK;
            }
            if (!good || write(ready[1], "r", 1) != 1) {
                _exit(1);
            }
            pause();
        }
        char byte;
        close(ready[1]);
        assert_int_equal(read(ready[0], &byte, 1), 1);
        close(ready[0]);
        assert_int_equal(kill(child, SIGKILL), 0);
        assert_int_equal(waitpid(child, NULL, 0), child);
        open_spool(1 << 26); /* the lock went with the process */
        assert_int_equal(count_events(), (round + 1) * 100);
        client_spool_close(&spool);
    }
}

static void test_one_owner_at_a_time(void **state)
{
    (void)state;
    struct spool *second = NULL;
    open_spool(1 << 24);
    assert_int_equal(client_spool_open(folder, 1 << 24, &second), TRUC_E_LOCKED);
    assert_null(second);
    client_spool_close(&spool);
    open_spool(1 << 24);
}

static void test_a_full_spool_says_so_and_lives_on(void **state)
{
    (void)state;
    uint64_t taken = 0;
    open_spool(1 << 24);
    while (put_event(taken + 1, 100000) == TRUC_OK) {
        taken++;
    }
    assert_true(taken > 140 && taken < 168);
    assert_int_equal(put_event(taken + 1, 100000), TRUC_E_FULL);
    /* Answers and heads still fit. */
    assert_int_equal(store.put(store.context, STORE_HANDLED, 1, truc_bytes("x", 1), truc_bytes(NULL, 0)), TRUC_OK);
    assert_int_equal(client_spool_commit(spool), TRUC_OK);
    assert_int_equal(count_events(), taken);
    client_spool_close(&spool);
    open_spool(1 << 24);
    assert_int_equal(put_event(taken + 1, 100000), TRUC_E_FULL); /* remembered over a restart */
    assert_int_equal(store.drop(store.context, STORE_EVENTS, 1, 2), TRUC_OK);
    assert_int_equal(put_event(taken + 1, 100000), TRUC_OK); /* room again */
}

/* Fill and drain many times the quota: freed pages are used again, the map never runs out. */
static void test_space_is_used_again(void **state)
{
    (void)state;
    char path[128];
    struct stat status;
    open_spool(1 << 24);
    for (uint64_t i = 0; i < 300; i++) {
        for (uint64_t j = 0; j < 4; j++) {
            assert_int_equal(put_event(1 + i * 4 + j, 300000 + 17 * (size_t)(i % 50) * (size_t)j), TRUC_OK);
        }
        if (i >= 8) {
            assert_int_equal(store.drop(store.context, STORE_EVENTS, 0, (i - 8) * 4), TRUC_OK);
        }
        assert_int_equal(client_spool_commit(spool), TRUC_OK);
    }
    (void)snprintf(path, sizeof path, "%s/data.mdb", folder);
    assert_int_equal(stat(path, &status), 0);
    assert_true(status.st_size < 64 << 20);
}

static void damage(off_t size, bool cut)
{
    char path[128];
    (void)snprintf(path, sizeof path, "%s/data.mdb", folder);
    if (cut) {
        assert_int_equal(truncate(path, size), 0);
        return;
    }
    int fd = open(path, O_WRONLY);
    assert_true(fd >= 0);
    static const uint8_t junk[8192];
    assert_int_equal(write(fd, junk, sizeof junk), sizeof junk);
    close(fd);
}

static void test_damage_is_said(void **state)
{
    (void)state;
    open_spool(1 << 24);
    assert_int_equal(put_event(1, 200000), TRUC_OK);
    assert_int_equal(client_spool_commit(spool), TRUC_OK);
    client_spool_close(&spool);
    damage(40960, true);
    assert_int_equal(client_spool_open(folder, 1 << 24, &spool), TRUC_E_CORRUPT);
    damage(0, false);
    assert_int_equal(client_spool_open(folder, 1 << 24, &spool), TRUC_E_CORRUPT);
    assert_null(spool);
}

static off_t file_size(void)
{
    char path[128];
    struct stat status;
    (void)snprintf(path, sizeof path, "%s/data.mdb", folder);
    assert_int_equal(stat(path, &status), 0);
    return status.st_size;
}

/* Bytes that the pages up to the last one would take. */
static off_t pages_size(void)
{
    MDB_env *env;
    MDB_envinfo info;
    MDB_stat pages;
    assert_int_equal(mdb_env_create(&env), 0);
    assert_int_equal(mdb_env_open(env, folder, MDB_NOLOCK | MDB_RDONLY, 0600), 0);
    assert_int_equal(mdb_env_info(env, &info), 0);
    assert_int_equal(mdb_env_stat(env, &pages), 0);
    mdb_env_close(env);
    return (off_t)((info.me_last_pgno + 1) * pages.ms_psize);
}

/* LMDB does not write pages that a transaction took and gave back: the file may end before its last page. */
static void test_an_end_that_was_never_written_is_no_damage(void **state)
{
    (void)state;
    uint64_t rounds = 0, count = 0;
    do {
        assert_true(rounds < 50);
        open_spool(1 << 24); /* each time the end is short, this is what must not fail */
        for (uint64_t i = 0; i < 200; i++) {
            assert_int_equal(
                store.put(store.context, STORE_HANDLED, rounds * 200 + i, truc_bytes("sequence", 8), truc_bytes("", 0)),
                TRUC_OK);
        }
        if (rounds > 0) {
            assert_int_equal(store.drop(store.context, STORE_HANDLED, 0, rounds * 200 - 1), TRUC_OK);
        }
        assert_int_equal(client_spool_commit(spool), TRUC_OK);
        client_spool_close(&spool);
        rounds++;
    } while (file_size() >= pages_size());
    open_spool(1 << 24);
    assert_int_equal(client_spool_count(spool, STORE_HANDLED, &count), TRUC_OK);
    assert_int_equal(count, 200);
    assert_int_equal(put_event(1, 500000), TRUC_OK);
    assert_int_equal(client_spool_commit(spool), TRUC_OK);
    client_spool_close(&spool);
    const off_t whole = file_size();
    damage(whole - 8192, true); /* these were written: their loss is damage, and the file stays as it was found */
    assert_int_equal(client_spool_open(folder, 1 << 24, &spool), TRUC_E_CORRUPT);
    assert_int_equal(file_size(), whole - 8192);
}

static void test_another_format_is_left_alone(void **state)
{
    (void)state;
    open_spool(1 << 24);
    assert_int_equal(
        store.put(store.context, STORE_META, META_FORMAT, truc_bytes_of("truc-spool 9"), truc_bytes(NULL, 0)), TRUC_OK);
    assert_int_equal(client_spool_commit(spool), TRUC_OK);
    client_spool_close(&spool);
    assert_int_equal(client_spool_open(folder, 1 << 24, &spool), TRUC_E_UNSUPPORTED);
}

static void test_a_folder_that_cannot_be(void **state)
{
    (void)state;
    assert_int_equal(client_spool_open("/proc/no/such/place", 1 << 24, &spool), TRUC_E_IO);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_rows_come_back_in_order),
        TEST(test_a_kill_loses_nothing_that_was_committed),
        TEST(test_one_owner_at_a_time),
        TEST(test_a_full_spool_says_so_and_lives_on),
        TEST(test_space_is_used_again),
        TEST(test_damage_is_said),
        TEST(test_an_end_that_was_never_written_is_no_damage),
        TEST(test_another_format_is_left_alone),
        TEST(test_a_folder_that_cannot_be),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
