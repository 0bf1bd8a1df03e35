/* The journal keeps what it acknowledged, says what is damaged, and never lets two hubs write. */
#include "tests/contract/fixture.h"

#include "hub/store/environment.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/mount.h>

#define QUOTA (64u << 20)
#define KILL_ROUNDS 20
#define ACKS_BEFORE_KILL 12

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

static struct hub_journal *open_journal(const char *folder, uint64_t quota)
{
    struct hub_journal *journal = NULL;
    char why[256];
    truc_error error = hub_journal_open(folder, quota, true, false, &journal, why);
    if (error != TRUC_OK) {
        print_message("%s\n", why);
    }
    assert_ok(error);
    return journal;
}

/* A row with one checkpoint input whose note has `size` bytes: rows of any length without keys or seals. */
static truc_error append(struct hub_journal *journal, size_t size, struct truc_hash *previous)
{
    struct hub_row_item item = {.input = {.kind = HUB_INPUT_CHECKPOINT}};
    struct hub_row_header header = {.row = hub_journal_rows(journal), .accepted_at_us = SOME_TIME};
    uint8_t *note = calloc(1, size + 1), *bytes;
    uint64_t row;
    size_t row_size;
    if (note == NULL) {
        return TRUC_E_NOMEM;
    }
    memset(note, (int)(header.row % 251), size);
    item.input.u.checkpoint.note = truc_bytes(note, size);
    item.input.u.checkpoint.tree_size = header.row;
    header.previous = *previous;
    truc_error error = hub_row_size(&item, 1, &row_size);
    if (error == TRUC_OK) {
        error = hub_journal_allocate(journal, row_size, &bytes);
    }
    if (error == TRUC_OK) {
        error = hub_row_encode(&header, &item, 1, NULL, NULL, bytes);
        if (error == TRUC_OK) {
            error = hub_journal_append(journal, &row);
        } else {
            hub_journal_abandon(journal);
        }
    }
    if (error == TRUC_OK) {
        *previous = header.digest;
    }
    free(note);
    return error;
}

/* Every row is whole and names the one before. Returns the last one's digest. */
static struct truc_hash check_chain(struct hub_journal *journal)
{
    struct hub_journal_reader *reader;
    struct truc_hash previous = {{0}};
    struct hub_row_header header;
    struct truc_bytes row;
    assert_ok(hub_journal_reader_new(journal, &reader));
    for (uint64_t i = 0; i < hub_journal_rows(journal); i++) {
        assert_ok(hub_journal_get(reader, i, &row));
        assert_ok(hub_row_open(row, &header));
        assert_true(header.row == i);
        assert_memory_equal(header.previous.bytes, previous.bytes, TRUC_HASH_SIZE);
        previous = header.digest;
    }
    assert_int_equal(hub_journal_get(reader, hub_journal_rows(journal), &row), TRUC_E_NOT_FOUND);
    hub_journal_reader_free(&reader);
    return previous;
}

static void rows_are_there_after_a_restart(void **state)
{
    struct truc_hash previous = {{0}}, last;
    for (int start = 0; start < 3; start++) {
        struct hub_journal *journal = open_journal(*state, QUOTA);
        assert_true(hub_journal_rows(journal) == (uint64_t)start * 40);
        for (size_t i = 0; i < 40; i++) {
            assert_ok(append(journal, i * i * 100, &previous));
        }
        last = check_chain(journal);
        assert_memory_equal(last.bytes, previous.bytes, TRUC_HASH_SIZE);
        hub_journal_close(&journal);
    }
}

static void a_missing_journal_is_not_made_by_looking(void **state)
{
    struct hub_journal *journal = NULL;
    char why[256];
    assert_int_equal(hub_journal_open(*state, QUOTA, false, false, &journal, why), TRUC_E_NOT_FOUND);
    assert_int_equal(hub_journal_open(*state, QUOTA, true, true, &journal, why), TRUC_E_NOT_FOUND);
    assert_null(journal);
    assert_non_null(strstr(why, "journal.mdb"));
}

static void an_abandoned_row_leaves_no_trace(void **state)
{
    struct hub_journal *journal = open_journal(*state, QUOTA);
    struct truc_hash previous = {{0}};
    uint8_t *bytes;
    uint64_t row;
    assert_ok(append(journal, 10, &previous));
    assert_ok(hub_journal_allocate(journal, 1000, &bytes));
    memset(bytes, 0xee, 1000);
    hub_journal_abandon(journal);
    assert_int_equal(hub_journal_append(journal, &row), TRUC_E_INVALID);
    assert_ok(append(journal, 10, &previous));
    assert_true(hub_journal_rows(journal) == 2);
    (void)check_chain(journal);
    hub_journal_close(&journal);
}

static void a_reader_sees_rows_that_come_later(void **state)
{
    struct hub_journal *journal = open_journal(*state, QUOTA);
    struct hub_journal_reader *reader;
    struct truc_hash previous = {{0}};
    struct truc_bytes row;
    assert_ok(append(journal, 10, &previous));
    assert_ok(hub_journal_reader_new(journal, &reader));
    assert_ok(hub_journal_get(reader, 0, &row));
    assert_int_equal(hub_journal_get(reader, 1, &row), TRUC_E_NOT_FOUND);
    assert_ok(append(journal, 10, &previous));
    assert_ok(hub_journal_get(reader, 1, &row));
    hub_journal_reader_reset(reader);
    assert_ok(hub_journal_get(reader, 0, &row));
    hub_journal_reader_free(&reader);
    hub_journal_close(&journal);
}

static void a_second_hub_is_refused_and_a_verifier_is_not(void **state)
{
    struct hub_journal *journal = open_journal(*state, QUOTA);
    struct truc_hash previous = {{0}};
    char why[256];
    int status;
    assert_ok(append(journal, 10, &previous));
    pid_t child = fork();
    if (child == 0) {
        struct hub_journal *second = NULL;
        if (hub_journal_open(*state, QUOTA, true, false, &second, why) != TRUC_E_LOCKED ||
            strstr(why, "another hub") == NULL) {
            _exit(1);
        }
        if (hub_journal_open(*state, QUOTA, false, true, &second, why) != TRUC_OK || hub_journal_rows(second) != 1) {
            _exit(2);
        }
        uint8_t *bytes;
        _exit(hub_journal_allocate(second, 10, &bytes) == TRUC_E_INVALID ? 0 : 3);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
    hub_journal_close(&journal);
    journal = open_journal(*state, QUOTA); /* the lock went with its holder */
    hub_journal_close(&journal);
}

static void a_full_journal_rejects_and_goes_on_with_more_room(void **state)
{
    struct hub_journal *journal = open_journal(*state, 1u << 20);
    struct truc_hash previous = {{0}}, last;
    struct hub_journal_space space;
    truc_error error = TRUC_OK;
    uint64_t rows = 0;
    while (error == TRUC_OK && rows < 1000) {
        error = append(journal, 50000, &previous);
        rows += error == TRUC_OK;
    }
    assert_int_equal(error, TRUC_E_FULL);
    assert_true(rows > 5);
    assert_true(hub_journal_rows(journal) == rows);
    assert_int_equal(append(journal, 50000, &previous), TRUC_E_FULL); /* and again, without harm */
    assert_ok(append(journal, 10, &previous));                        /* a small one still fits */
    assert_ok(hub_journal_space(journal, &space));
    assert_true(space.quota == 1u << 20 && space.used <= space.quota && space.disk_free > 0);
    last = check_chain(journal);
    assert_memory_equal(last.bytes, previous.bytes, TRUC_HASH_SIZE);
    hub_journal_close(&journal);

    journal = open_journal(*state, 8u << 20);
    assert_true(hub_journal_rows(journal) == rows + 1);
    assert_ok(append(journal, 50000, &previous));
    (void)check_chain(journal);
    hub_journal_close(&journal);
}

static _Noreturn void write_and_tell(const char *folder, int out)
{
    struct hub_journal *journal = NULL;
    struct truc_hash previous = {{0}};
    char why[256];
    if (hub_journal_open(folder, QUOTA, true, false, &journal, why) != TRUC_OK) {
        _exit(1);
    }
    if (hub_journal_rows(journal) > 0) {
        struct hub_journal_reader *reader;
        struct hub_row_header header;
        struct truc_bytes row;
        if (hub_journal_reader_new(journal, &reader) != TRUC_OK ||
            hub_journal_get(reader, hub_journal_rows(journal) - 1, &row) != TRUC_OK ||
            hub_row_open(row, &header) != TRUC_OK) {
            _exit(2);
        }
        previous = header.digest;
        hub_journal_reader_free(&reader);
    }
    for (size_t i = 0;; i++) {
        if (append(journal, i * 7919 % 60000, &previous) != TRUC_OK ||
            write(out, previous.bytes, TRUC_HASH_SIZE) != TRUC_HASH_SIZE) {
            _exit(3);
        }
    }
}

static void what_was_acknowledged_survives_a_kill(void **state)
{
    struct truc_hash *acked = NULL;
    size_t count = 0;
    for (int round = 0; round < KILL_ROUNDS; round++) {
        int ends[2], status;
        struct truc_hash digest;
        ssize_t got = 0;
        assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
        pid_t child = fork();
        if (child == 0) {
            write_and_tell(*state, ends[1]);
        }
        assert_true(child > 0);
        (void)close(ends[1]);
        /* A pipe write of 32 bytes is whole or not at all. The kill falls wherever the writer then is. */
        for (size_t told = 0; (got = read(ends[0], digest.bytes, TRUC_HASH_SIZE)) == TRUC_HASH_SIZE; told++) {
            acked = realloc(acked, (count + 1) * sizeof *acked);
            assert_non_null(acked);
            acked[count++] = digest;
            if (told == ACKS_BEFORE_KILL) {
                for (volatile int spin = 0; spin < round * 30000; spin++) {
                    /* the kill falls into another part of a commit each round */
                }
                assert_int_equal(kill(child, SIGKILL), 0);
            }
        }
        assert_int_equal(got, 0);
        (void)close(ends[0]);
        assert_int_equal(waitpid(child, &status, 0), child);
        assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);

        struct hub_journal *journal = open_journal(*state, QUOTA);
        struct hub_journal_reader *reader;
        struct hub_row_header header;
        struct truc_bytes row;
        (void)check_chain(journal);
        assert_true(hub_journal_rows(journal) >= count);
        assert_true(hub_journal_rows(journal) <= count + 1); /* one may be persisted and not yet told */
        assert_ok(hub_journal_reader_new(journal, &reader));
        if (hub_journal_rows(journal) == count + 1) {
            acked = realloc(acked, (count + 1) * sizeof *acked);
            assert_non_null(acked);
            assert_ok(hub_journal_get(reader, count, &row));
            assert_ok(hub_row_open(row, &header));
            acked[count++] = header.digest;
        }
        for (size_t i = 0; i < count; i++) {
            assert_ok(hub_journal_get(reader, i, &row));
            assert_ok(hub_row_open(row, &header));
            assert_memory_equal(header.digest.bytes, acked[i].bytes, TRUC_HASH_SIZE);
        }
        hub_journal_reader_free(&reader);
        hub_journal_close(&journal);
    }
    assert_true(count > KILL_ROUNDS * ACKS_BEFORE_KILL);
    print_message("%d kills, %zu rows, none lost\n", KILL_ROUNDS, count);
    free(acked);
}

/* ---- damage --------------------------------------------------------------------------------------------------------
 */

static void fill(const char *folder)
{
    struct hub_journal *journal = open_journal(folder, QUOTA);
    struct truc_hash previous = {{0}};
    for (size_t i = 0; i < 12; i++) {
        assert_ok(append(journal, 9000, &previous));
    }
    hub_journal_close(&journal);
}

static void must_be_corrupt(const char *folder, const char *sentence)
{
    struct hub_journal *journal = NULL;
    char why[256];
    assert_int_equal(hub_journal_open(folder, QUOTA, false, false, &journal, why), TRUC_E_CORRUPT);
    assert_null(journal);
    if (strstr(why, sentence) == NULL) {
        fail_msg("\"%s\" does not say \"%s\"", why, sentence);
    }
}

static void a_truncated_file_is_said_to_be_truncated(void **state)
{
    char *path = path_in(*state, "journal.mdb");
    fill(*state);
    assert_int_equal(truncate(path, 40000), 0);
    must_be_corrupt(*state, "truncated: it has 40000 bytes");
    assert_int_equal(truncate(path, 3000), 0);
    must_be_corrupt(*state, "meta page");
    assert_int_equal(truncate(path, 0), 0);
    must_be_corrupt(*state, "meta page");
    free(path);
}

/* What is damaged, and what still holds: and nothing is written that could take it away. */
static void one_damaged_meta_page_is_told_from_the_other(void **state)
{
    static const char *const says[] = {"its first meta page", "its second meta page"};
    char *path = path_in(*state, "journal.mdb");
    uint8_t good[4096], bad[4096] = {0}, after[4096];
    fill(*state);
    int fd = open(path, O_RDWR | O_CLOEXEC);
    assert_true(fd >= 0);
    for (off_t page = 0; page < 2; page++) {
        assert_int_equal(pread(fd, good, sizeof good, page * 4096), sizeof good);
        assert_int_equal(pwrite(fd, bad, sizeof bad, page * 4096), sizeof bad);
        must_be_corrupt(*state, says[page]);
        must_be_corrupt(*state, page == 0 ? "The second one holds: commit " : "The first one holds: commit ");
        assert_int_equal(pread(fd, after, sizeof after, page * 4096), sizeof after);
        assert_memory_equal(after, bad, sizeof bad);
        assert_int_equal(pwrite(fd, good, sizeof good, page * 4096), sizeof good);
    }
    /* One of another time than its neighbour. */
    assert_int_equal(pread(fd, good, sizeof good, 0), sizeof good);
    memcpy(bad, good, sizeof bad);
    bad[16 + 128] ^= 0x40; /* its commit's number */
    assert_int_equal(pwrite(fd, bad, sizeof bad, 0), sizeof bad);
    must_be_corrupt(*state, "do not follow each other");
    assert_int_equal(pwrite(fd, good, sizeof good, 0), sizeof good);
    (void)close(fd);
    struct hub_journal *journal = open_journal(*state, QUOTA);
    (void)check_chain(journal);
    hub_journal_close(&journal);
    free(path);
}

/* Overwrites every page in turn: the start finds it, or every row that it gives is whole. It never crashes. */
static void no_damaged_page_crashes_the_start(void **state)
{
    char *path = path_in(*state, "journal.mdb");
    struct stat status;
    uint8_t good[4096], bad[4096];
    size_t found = 0, pages = 0;
    fill(*state);
    assert_int_equal(stat(path, &status), 0);
    int fd = open(path, O_RDWR | O_CLOEXEC);
    assert_true(fd >= 0);
    uint64_t seed = 7;
    for (off_t at = 0; at < 70 * 4096 && at < status.st_size; at += 4096, pages++) {
        struct hub_journal *journal = NULL;
        char why[256];
        assert_int_equal(pread(fd, good, sizeof good, at), sizeof good);
        for (size_t i = 0; i < sizeof bad; i++) {
            bad[i] = pages % 2 == 0 ? 0xff : (uint8_t)fixture_random(&seed);
        }
        assert_int_equal(pwrite(fd, bad, sizeof bad, at), sizeof bad);
        truc_error error = hub_journal_open(*state, QUOTA, false, false, &journal, why);
        if (error != TRUC_OK) {
            assert_int_equal(error, TRUC_E_CORRUPT);
            assert_non_null(strstr(why, "journal.mdb"));
            found++;
        }
        hub_journal_close(&journal);
        assert_int_equal(pwrite(fd, good, sizeof good, at), sizeof good);
    }
    assert_true(pages > 30);
    assert_true(found >= 8 * 3 + 2); /* the two meta pages and the last eight rows of three pages each, at least */
    print_message("%zu pages overwritten, %zu found at the start\n", pages, found);
    (void)close(fd);
    struct hub_journal *journal = open_journal(*state, QUOTA);
    (void)check_chain(journal);
    hub_journal_close(&journal);
    free(path);
}

static void a_flipped_bit_in_the_last_row_stops_the_start(void **state)
{
    char *path = path_in(*state, "journal.mdb");
    struct stat status;
    fill(*state);
    assert_int_equal(stat(path, &status), 0);
    uint8_t *file = malloc((size_t)status.st_size);
    assert_non_null(file);
    int fd = open(path, O_RDWR | O_CLOEXEC);
    assert_true(fd >= 0);
    assert_int_equal(pread(fd, file, (size_t)status.st_size, 0), status.st_size);
    uint8_t pattern[64], flipped = 11 ^ 4;
    memset(pattern, 11, sizeof pattern); /* the note of row 11 */
    const uint8_t *hit = memmem(file, (size_t)status.st_size, pattern, sizeof pattern);
    assert_non_null(hit);
    assert_int_equal(pwrite(fd, &flipped, 1, hit - file + 10), 1);
    must_be_corrupt(*state, "row 11");
    (void)close(fd);
    free(file);
    free(path);
}

static void a_file_that_is_no_journal_is_refused(void **state)
{
    char *path = path_in(*state, "journal.mdb");
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    for (int i = 0; i < 10000; i++) {
        assert_true(fprintf(file, "not a journal\n") > 0);
    }
    assert_int_equal(fclose(file), 0);
    must_be_corrupt(*state, "meta page");
    free(path);
}

/* ---- the disk's end ------------------------------------------------------------------------------------------------
 */

static void a_full_disk_rejects_and_recovers(void **state)
{
    char *mount_point = path_in(*state, "small"), *ballast = path_in(mount_point, "ballast");
    assert_int_equal(mkdir(mount_point, 0700), 0);
    if (mount("tmpfs", mount_point, "tmpfs", 0, "size=12m") != 0) {
        print_message("skipped: a small tmpfs cannot be mounted here (%s)\n", strerror(errno));
        free(ballast);
        free(mount_point);
        skip();
    }
    int fd = open(ballast, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    assert_true(fd >= 0);
    assert_int_equal(fallocate(fd, 0, 0, 8 << 20), 0);
    struct hub_journal *journal = open_journal(mount_point, QUOTA);
    struct truc_hash previous = {{0}}, last;
    truc_error error = TRUC_OK;
    uint64_t rows = 0;
    while (error == TRUC_OK && rows < 1000) {
        error = append(journal, 100000, &previous);
        rows += error == TRUC_OK;
    }
    assert_int_equal(error, TRUC_E_FULL);
    assert_true(rows > 5);
    assert_int_equal(append(journal, 100000, &previous), TRUC_E_FULL);
    (void)check_chain(journal); /* reading goes on */
    assert_int_equal(ftruncate(fd, 0), 0);
    assert_ok(append(journal, 100000, &previous)); /* and writing, when there is room again */
    last = check_chain(journal);
    assert_memory_equal(last.bytes, previous.bytes, TRUC_HASH_SIZE);
    hub_journal_close(&journal);
    journal = open_journal(mount_point, QUOTA);
    assert_true(hub_journal_rows(journal) == rows + 1);
    hub_journal_close(&journal);
    (void)close(fd);
    assert_int_equal(umount(mount_point), 0);
    free(ballast);
    free(mount_point);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(rows_are_there_after_a_restart, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_missing_journal_is_not_made_by_looking, set_up, tear_down),
        cmocka_unit_test_setup_teardown(an_abandoned_row_leaves_no_trace, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_reader_sees_rows_that_come_later, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_second_hub_is_refused_and_a_verifier_is_not, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_full_journal_rejects_and_goes_on_with_more_room, set_up, tear_down),
        cmocka_unit_test_setup_teardown(what_was_acknowledged_survives_a_kill, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_truncated_file_is_said_to_be_truncated, set_up, tear_down),
        cmocka_unit_test_setup_teardown(one_damaged_meta_page_is_told_from_the_other, set_up, tear_down),
        cmocka_unit_test_setup_teardown(no_damaged_page_crashes_the_start, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_flipped_bit_in_the_last_row_stops_the_start, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_file_that_is_no_journal_is_refused, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_full_disk_rejects_and_recovers, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
