/* The spool: what a commit made durable is there after a kill, what it did not is not, and damage is said, not crashed
 * on. */
#include "adapters/client/spool.h"
#include "tests/unit/client/disk_faults.h"

#include <errno.h>
#include <fcntl.h>
#include <lmdb.h>
#include <poll.h>
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
    static const char *const names[] = {"data.mdb", "lock.mdb", "owner.lock"};
    char path[128];
    client_spool_close(&spool);
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        (void)snprintf(path, sizeof path, "%s/%s", folder, names[i]);
        (void)unlink(path);
    }
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
    assert_int_equal(client_spool_commit(spool),
                     TRUC_OK); /* what was dropped takes room until it is gone from the disk */
    assert_int_equal(put_event(taken + 1, 100000), TRUC_OK);
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

/* As an earlier version of this program wrote: rows are put, then others are dropped, all in one transaction. */
static void put_then_drop(uint64_t round)
{
    MDB_env *env;
    MDB_txn *txn;
    MDB_dbi table;
    assert_int_equal(mdb_env_create(&env), 0);
    assert_int_equal(mdb_env_set_maxdbs(env, 8), 0);
    assert_int_equal(mdb_env_open(env, folder, MDB_NOLOCK, 0600), 0);
    assert_int_equal(mdb_txn_begin(env, NULL, 0, &txn), 0);
    assert_int_equal(mdb_dbi_open(txn, "owed", 0, &table), 0);
    for (uint64_t i = 0; i < 400; i++) {
        uint8_t name[8];
        char value[] = "sequence";
        store_put_u64(name, i < 200 ? round * 200 + i : (round - 1) * 200 + i - 200);
        MDB_val k = {sizeof name, name}, v = {8, value};
        int code = i < 200 ? mdb_put(txn, table, &k, &v, 0) : round > 0 ? mdb_del(txn, table, &k, NULL) : 0;
        assert_int_equal(code, 0);
    }
    assert_int_equal(mdb_txn_commit(txn), 0);
    mdb_env_close(env);
}

/* LMDB does not write pages that a transaction took and gave back: the file may end before its last page. */
static void test_an_end_that_was_never_written_is_no_damage(void **state)
{
    (void)state;
    uint64_t rounds = 0, count = 0;
    do {
        assert_true(rounds < 50);
        open_spool(1 << 24); /* each time the end is short, this is what must not fail */
        client_spool_close(&spool);
        put_then_drop(rounds++);
    } while (file_size() >= pages_size());
    open_spool(1 << 24);
    assert_int_equal(client_spool_count(spool, STORE_OWED, &count), TRUC_OK);
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

/* As the version before wrote it: a row for each delivery. */
static void test_a_spool_of_format_1_goes_on(void **state)
{
    (void)state;
    MDB_env *env;
    MDB_txn *txn;
    MDB_dbi meta, handled;
    struct truc_bytes row;
    open_spool(1 << 24);
    client_spool_close(&spool);
    assert_int_equal(mdb_env_create(&env), 0);
    assert_int_equal(mdb_env_set_maxdbs(env, 8), 0);
    assert_int_equal(mdb_env_open(env, folder, MDB_NOLOCK, 0600), 0);
    assert_int_equal(mdb_txn_begin(env, NULL, 0, &txn), 0);
    assert_int_equal(mdb_dbi_open(txn, "meta", 0, &meta), 0);
    assert_int_equal(mdb_dbi_open(txn, "handled", MDB_CREATE, &handled), 0);
    uint8_t name[8], sequence[8];
    char format[] = STORE_FORMAT_1;
    store_put_u64(name, META_FORMAT);
    MDB_val k = {8, name}, v = {sizeof format - 1, format};
    assert_int_equal(mdb_put(txn, meta, &k, &v, 0), 0);
    v = (MDB_val){8, sequence};
    for (uint64_t number = 1; number < 1000; number += 3) {
        store_put_u64(name, number);
        store_put_u64(sequence, number * 7);
        assert_int_equal(mdb_put(txn, handled, &k, &v, 0), 0);
    }
    assert_int_equal(mdb_txn_commit(txn), 0);
    mdb_env_close(env);
    for (int round = 0; round < 2; round++) {
        open_spool(1 << 24);
        for (uint64_t number = 1; number < 1000; number++) {
            truc_error error = store.get(store.context, STORE_HANDLED, number, &row);
            assert_int_equal(error, number % 3 == 1 ? TRUC_OK : TRUC_E_NOT_FOUND);
            assert_true(error != TRUC_OK || store_get_u64(row.data) == number * 7);
        }
        client_spool_close(&spool);
    }
}

/* A packed row that was damaged is an error, never another delivery's. */
static void test_damaged_packed_rows_are_told(void **state)
{
    static const struct {
        const char *bytes;
        size_t size;
    } damaged[] = {{"\x40\x01x", 3},
                   {"\x01\x02x", 3},
                   {"\x01", 1},
                   {"\x01\x21"
                    "01234567890123456789012345678901x",
                    35}};
    (void)state;
    for (size_t i = 0; i < sizeof damaged / sizeof damaged[0]; i++) {
        MDB_env *env;
        MDB_txn *txn;
        MDB_dbi handled;
        struct truc_bytes row;
        uint8_t name[8] = {0};
        open_spool(1 << 24);
        client_spool_close(&spool);
        assert_int_equal(mdb_env_create(&env), 0);
        assert_int_equal(mdb_env_set_maxdbs(env, 8), 0);
        assert_int_equal(mdb_env_open(env, folder, MDB_NOLOCK, 0600), 0);
        assert_int_equal(mdb_txn_begin(env, NULL, 0, &txn), 0);
        assert_int_equal(mdb_dbi_open(txn, "handled-64", 0, &handled), 0);
        MDB_val k = {8, name}, v = {damaged[i].size, (void *)(uintptr_t)damaged[i].bytes};
        assert_int_equal(mdb_put(txn, handled, &k, &v, 0), 0);
        assert_int_equal(mdb_txn_commit(txn), 0);
        mdb_env_close(env);
        open_spool(1 << 24);
        assert_int_equal(store.get(store.context, STORE_HANDLED, 5, &row), TRUC_E_CORRUPT);
        assert_int_equal(store.put(store.context, STORE_HANDLED, 5, truc_bytes("x", 1), truc_bytes(NULL, 0)), TRUC_OK);
        assert_int_equal(client_spool_commit(spool), TRUC_E_CORRUPT);
        client_spool_close(&spool);
    }
}

static void test_a_folder_that_cannot_be(void **state)
{
    (void)state;
    assert_int_equal(client_spool_open("/proc/no/such/place", 1 << 24, &spool), TRUC_E_IO);
}

/* ---- beside the disk ---- */
#define GATHER INT64_C(2000)
static const struct spool_patience patience = {.gather_us = GATHER, .event_us = INT64_MAX};

static void test_writing_goes_on_while_the_disk_syncs(void **state)
{
    (void)state;
    struct truc_bytes row;
    open_spool(1 << 24);
    gate_set(true);
    uint64_t first = store.mark(store.context) + 1;
    assert_int_equal(put_event(1, 1000), TRUC_OK);
    assert_int_equal(store.mark(store.context), first);
    assert_int_equal(client_spool_flush(spool, 0, patience), TRUC_OK);
    gate_wait();
    assert_int_equal(put_event(2, 1000), TRUC_OK);
    assert_int_equal(store.drop(store.context, STORE_EVENTS, 1, 1), TRUC_OK);
    assert_int_equal(store.mark(store.context), first + 1);
    assert_int_equal(client_spool_flush(spool, 0, patience), TRUC_OK); /* the thread is busy: nothing to do */
    assert_true(client_spool_synced(spool) < first);
    assert_int_equal(client_spool_deadline(spool, patience), INT64_MAX); /* the descriptor will tell */
    assert_int_equal(store.get(store.context, STORE_EVENTS, 1, &row), TRUC_E_NOT_FOUND);
    assert_int_equal(store.get(store.context, STORE_EVENTS, 2, &row), TRUC_OK);
    gate_set(false);
    struct pollfd fd = {.fd = client_spool_fd(spool), .events = POLLIN};
    assert_int_equal(poll(&fd, 1, 10000), 1);
    assert_int_equal(client_spool_flush(spool, 0, patience), TRUC_OK); /* gathers a little before the next one */
    assert_int_equal(client_spool_synced(spool), first);
    assert_int_equal(client_spool_deadline(spool, patience), GATHER);
    assert_int_equal(client_spool_deadline(spool, (struct spool_patience){1000000, INT64_MAX}), 1000000);
    assert_int_equal(poll(&fd, 1, 0), 0);
    assert_int_equal(client_spool_flush(spool, GATHER, patience), TRUC_OK);
    assert_int_equal(poll(&fd, 1, 10000), 1);
    assert_int_equal(client_spool_flush(spool, GATHER, patience), TRUC_OK);
    assert_int_equal(client_spool_synced(spool), first + 1);
    assert_int_equal(client_spool_dirty(spool), 0);
    client_spool_close(&spool);
    open_spool(1 << 24);
    assert_int_equal(count_events(), 1);
}

/* An event that stays goes to the disk when it is old; one that was receipted meanwhile keeps nothing and nobody. */
static void test_only_what_stays_is_written_early(void **state)
{
    (void)state;
    const struct spool_patience lazy = {.gather_us = 1000000, .event_us = 100000};
    int64_t now = 0;
    open_spool(1 << 24);
    assert_int_equal(client_spool_flush(spool, now, lazy), TRUC_OK);
    assert_int_equal(put_event(1, 100), TRUC_OK);
    assert_int_equal(client_spool_flush(spool, now, lazy), TRUC_OK); /* the first one at once: there was a pause */
    assert_int_equal(client_spool_commit(spool), TRUC_OK);
    uint64_t synced = client_spool_synced(spool);
    for (uint64_t ticket = 2; now < 900000; ticket++) { /* each is receipted 60 ms after it was put */
        assert_int_equal(put_event(ticket, 100), TRUC_OK);
        assert_int_equal(store.drop(store.context, STORE_EVENTS, 0, ticket > 4 ? ticket - 4 : 0), TRUC_OK);
        now += 15000;
        assert_int_equal(client_spool_flush(spool, now, lazy), TRUC_OK);
        assert_int_equal(client_spool_synced(spool), synced);
        assert_true(client_spool_deadline(spool, lazy) > now);
    }
    int64_t deadline = client_spool_deadline(spool, lazy); /* nothing is receipted any more */
    assert_true(deadline > now && deadline < now + 100000);
    assert_int_equal(client_spool_deadline(spool, (struct spool_patience){1000000, INT64_MAX}), 1000000);
    assert_int_equal(client_spool_flush(spool, deadline - 1, lazy), TRUC_OK);
    assert_true(client_spool_deadline(spool, lazy) < INT64_MAX);
    gate_set(true);
    assert_int_equal(client_spool_flush(spool, deadline, lazy), TRUC_OK);
    assert_int_equal(client_spool_deadline(spool, lazy), INT64_MAX); /* with the thread */
    gate_wait();
    gate_set(false);
    struct pollfd fd = {.fd = client_spool_fd(spool), .events = POLLIN};
    assert_int_equal(poll(&fd, 1, 10000), 1);
    assert_int_equal(client_spool_flush(spool, deadline + 7000, lazy), TRUC_OK);
    assert_int_equal(client_spool_took_us(spool), 7000);
    assert_int_equal(client_spool_commit(spool), TRUC_OK);
    assert_true(client_spool_synced(spool) > synced);
}

/* What came and went between two commits costs the disk nothing. */
static void test_what_is_dropped_in_time_is_never_written(void **state)
{
    (void)state;
    open_spool(1 << 26);
    assert_int_equal(client_spool_commit(spool), TRUC_OK);
    const off_t before = file_size();
    for (uint64_t i = 1; i <= 200; i++) {
        assert_int_equal(put_event(i, 50000), TRUC_OK);
    }
    assert_int_equal(store.drop(store.context, STORE_EVENTS, 1, 200), TRUC_OK);
    assert_int_equal(client_spool_commit(spool), TRUC_OK);
    assert_true(file_size() < before + 200000);
}

static void test_a_full_disk_loses_nothing_and_passes(void **state)
{
    (void)state;
    open_spool(1 << 26);
    assert_int_equal(put_event(1, 5000), TRUC_OK);
    assert_int_equal(client_spool_commit(spool), TRUC_OK);
    static const struct {
        atomic_int *fault;
        int error;
    } faults[] = {{&allocate_error, ENOSPC}, {&allocate_error, EDQUOT}, {&sync_error, ENOSPC}};
    uint64_t ticket = 1;
    for (size_t i = 0; i < sizeof faults / sizeof faults[0]; i++) {
        atomic_store(faults[i].fault, faults[i].error);
        while (!client_spool_is_full(spool)) { /* beyond what was allocated ahead */
            assert_int_equal(put_event(++ticket, 300000), TRUC_OK);
            truc_error error = client_spool_commit(spool);
            assert_true(error == TRUC_OK || error == TRUC_E_FULL);
            assert_true(ticket < 150);
        }
        uint64_t synced = client_spool_synced(spool);
        assert_int_equal(put_event(ticket + 1, 10), TRUC_E_FULL);
        assert_int_equal(client_spool_commit(spool), TRUC_E_FULL);
        assert_int_equal(count_events(), ticket); /* in memory, all of them */
        /* Answers and drops are taken, and go when there is room. */
        assert_int_equal(store.put(store.context, STORE_HANDLED, ticket, truc_bytes("12345678", 8), truc_bytes("", 0)),
                         TRUC_OK);
        assert_true(client_spool_synced(spool) == synced && store.mark(store.context) > synced);
        assert_true(client_spool_deadline(spool, patience) < INT64_MAX);
        atomic_store(faults[i].fault, 0);
        assert_int_equal(client_spool_flush(spool, INT64_MAX / 2, patience),
                         TRUC_OK); /* the time to try again has come */
        assert_int_equal(client_spool_commit(spool), TRUC_OK);
        assert_false(client_spool_is_full(spool));
        assert_int_equal(client_spool_synced(spool), store.mark(store.context));
        client_spool_close(&spool);
        open_spool(1 << 26);
        assert_int_equal(count_events(), ticket);
    }
    uint64_t handled = 0;
    assert_int_equal(client_spool_count(spool, STORE_HANDLED, &handled), TRUC_OK);
    assert_int_equal(handled, 3);
}

/* What is on the disk after a failed write is not known: no second try. */
static void test_a_failing_disk_ends_it(void **state)
{
    (void)state;
    open_spool(1 << 24);
    atomic_store(&sync_error, EIO);
    assert_int_equal(put_event(1, 1000), TRUC_OK);
    assert_int_equal(client_spool_commit(spool), TRUC_E_IO);
    atomic_store(&sync_error, 0);
    assert_int_equal(client_spool_commit(spool), TRUC_E_IO);
    assert_int_equal(client_spool_flush(spool, INT64_MAX / 2, patience), TRUC_E_IO);
    assert_int_equal(put_event(2, 1000), TRUC_E_IO);
    client_spool_close(&spool);
    open_spool(1 << 24);
    assert_int_equal(count_events(), 0);
}

/* ---- against a plain array ---- */
#define KEYS 200u /* some in each other's rows, some not */

struct model {
    bool there[KEYS];
    uint8_t value[KEYS];
};

static uint32_t dice_state;

static uint32_t dice(uint32_t below)
{
    dice_state = dice_state * 1664525u + 1013904223u; /* the same run each time */
    return (dice_state >> 8) % below;
}

static void assert_same(const struct model *model)
{
    struct truc_bytes row;
    uint64_t key = 0;
    for (uint64_t i = 0; i < KEYS; i++) {
        truc_error error = store.get(store.context, STORE_HANDLED, i, &row);
        assert_int_equal(error, model->there[i] ? TRUC_OK : TRUC_E_NOT_FOUND);
        assert_true(error != TRUC_OK || (row.size == 1 && row.data[0] == model->value[i]));
    }
    for (uint64_t i = 0; i < KEYS; i++) {
        if (model->there[i]) {
            assert_int_equal(store.next(store.context, STORE_HANDLED, &key, &row), TRUC_OK);
            assert_int_equal(key, i);
            assert_int_equal(row.data[0], model->value[i]);
            key++;
        }
    }
    assert_int_equal(store.next(store.context, STORE_HANDLED, &key, &row), TRUC_E_NOT_FOUND);
}

static void act(struct model *model, unsigned step)
{
    uint64_t first = dice(KEYS), last = first + dice(dice(4) == 0 ? 150 : 6);
    if (dice(3) > 0) {
        const uint8_t value = (uint8_t)step;
        assert_int_equal(store.put(store.context, STORE_HANDLED, first, truc_bytes(&value, 1), truc_bytes(NULL, 0)),
                         TRUC_OK);
        model->there[first] = true;
        model->value[first] = value;
        return;
    }
    last = dice(20) == 0 ? UINT64_MAX : last;
    assert_int_equal(store.drop(store.context, STORE_HANDLED, first, last), TRUC_OK);
    for (uint64_t i = first; i <= last && i < KEYS; i++) {
        model->there[i] = false;
    }
}

/* Rows in two layers and on the disk, hidden and shown by each other, with the thread at any point of its work and now
 * and then without room: what is read is always what was written. */
static void test_layers_and_disk_read_as_one(void **state)
{
    (void)state;
    struct model model = {0};
    dice_state = 7;
    open_spool(1 << 24);
    for (unsigned step = 0; step < 6000; step++) {
        act(&model, step);
        if (dice(8) == 0) {
            bool held = dice(2) == 0;
            gate_set(held);
            atomic_store(&sync_error, dice(6) == 0 ? ENOSPC : 0);
            assert_int_equal(client_spool_flush(spool, (int64_t)step * SPOOL_RETRY_US, patience), TRUC_OK);
            if (!held && dice(2) == 0) {
                atomic_store(&sync_error, 0);
                assert_int_equal(client_spool_commit(spool), TRUC_OK);
            }
        }
        assert_same(&model);
        if (dice(500) == 0) {
            gate_set(false);
            atomic_store(&sync_error, 0);
            truc_error error = client_spool_commit(spool);
            assert_int_equal(error == TRUC_E_FULL ? client_spool_commit(spool) : error, TRUC_OK);
            client_spool_close(&spool);
            open_spool(1 << 24);
            assert_same(&model);
        }
    }
    gate_set(false);
    atomic_store(&sync_error, 0);
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
        TEST(test_a_spool_of_format_1_goes_on),
        TEST(test_damaged_packed_rows_are_told),
        TEST(test_a_folder_that_cannot_be),
        TEST(test_writing_goes_on_while_the_disk_syncs),
        TEST(test_only_what_stays_is_written_early),
        TEST(test_what_is_dropped_in_time_is_never_written),
        TEST(test_a_full_disk_loses_nothing_and_passes),
        TEST(test_a_failing_disk_ends_it),
        TEST(test_layers_and_disk_read_as_one),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
