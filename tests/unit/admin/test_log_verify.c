/* `log verify` on a real home: a whole log passes; whatever is changed in its rows is found and named, also by a forger
 * who mends the row's own SHA-256 afterwards. */
#include "hub/admin/verify.h"
#include "hub/store/row_format.h"
#include "truc/config.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#define ROW_DIGEST_AT 8 /* hub/STORAGE.md, "Rows" */
#define ROW_SIZE_AT 92

struct fixture {
    char folder[64], home[96], journal[128];
    struct hub_home opened;
    uint8_t *original; /* the journal file as it was made */
    size_t size;
    size_t row_at, row_size;
};

static int remove_one(const char *path, const struct stat *info, int kind, struct FTW *where)
{
    (void)info;
    (void)kind;
    (void)where;
    return remove(path);
}

static int set_up(void **state)
{
    struct fixture *fixture = calloc(1, sizeof(*fixture));
    struct truc_buffer why = {0}, file = {0};
    struct timespec now;
    assert_non_null(fixture);
    snprintf(fixture->folder, sizeof(fixture->folder), "/tmp/truc-test-XXXXXX");
    assert_non_null(mkdtemp(fixture->folder));
    snprintf(fixture->home, sizeof(fixture->home), "%s/home", fixture->folder);
    snprintf(fixture->journal, sizeof(fixture->journal), "%s/data/journal.mdb", fixture->home);
    clock_gettime(CLOCK_REALTIME, &now);
    assert_int_equal(
        hub_home_make(fixture->home, "truc.test/1", "tcp://127.0.0.1:1", (int64_t)now.tv_sec * 1000000, &why), TRUC_OK);
    assert_int_equal(hub_home_open(fixture->home, &fixture->opened, &why), TRUC_OK);
    assert_int_equal(truc_file_read(fixture->journal, 64u << 20, &file), TRUC_OK);
    fixture->original = malloc(file.size);
    assert_non_null(fixture->original);
    memcpy(fixture->original, file.data, file.size);
    fixture->size = file.size;
    const uint8_t *row = memmem(file.data, file.size, "TROW", 4);
    assert_non_null(row);
    fixture->row_at = (size_t)(row - file.data);
    for (unsigned i = 0; i < 4; i++) {
        fixture->row_size = fixture->row_size << 8 | row[ROW_SIZE_AT + i];
    }
    assert_true(fixture->row_size > 200 && fixture->row_at + fixture->row_size <= file.size);
    truc_buffer_close(&file);
    truc_buffer_close(&why);
    *state = fixture;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *fixture = *state;
    hub_home_close(&fixture->opened);
    assert_int_equal(nftw(fixture->folder, remove_one, 8, FTW_DEPTH | FTW_PHYS), 0);
    free(fixture->original);
    free(fixture);
    return 0;
}

/* Puts the journal back with one byte of its row changed (at == SIZE_MAX: none), and, for a forger, the row's own
 * digest made to fit. */
static void write_journal(const struct fixture *fixture, size_t at, bool mend_digest)
{
    struct truc_buffer file = {0};
    assert_int_equal(truc_buffer_append(&file, fixture->original, fixture->size), TRUC_OK);
    uint8_t *row = file.data + fixture->row_at;
    if (at != SIZE_MAX) {
        row[at] ^= 1;
    }
    if (mend_digest) {
        struct truc_hash digest;
        if (row_digest(truc_bytes(row, fixture->row_size), &digest) == TRUC_OK) { /* else it shows as damage */
            memcpy(row + ROW_DIGEST_AT, digest.bytes, sizeof(digest.bytes));
        }
    }
    int fd = open(fixture->journal, O_WRONLY | O_CLOEXEC);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, file.data, file.size), (ssize_t)file.size);
    close(fd);
    truc_buffer_close(&file);
}

/* Runs the child's part in this process. `report` becomes its lines. */
static enum admin_exit verify(const struct fixture *fixture, const char *note_key, struct truc_bytes note,
                              struct truc_buffer *report)
{
    static struct verify_progress progress;
    char *text = NULL;
    size_t size = 0;
    memset(&progress, 0, sizeof(progress));
    FILE *out = open_memstream(&text, &size);
    assert_non_null(out);
    const struct verify_options options = {.home = fixture->home,
                                           .settings = (struct hub_settings *)(uintptr_t)&fixture->opened.settings,
                                           .note_key = note_key,
                                           .note = note,
                                           .workers = 2};
    enum admin_exit exit_code = verify_child(&options, &progress, out);
    fclose(out);
    truc_buffer_clear(report);
    assert_int_equal(truc_buffer_append(report, text, size + 1), TRUC_OK);
    free(text);
    return exit_code;
}

static enum admin_exit verify_plain(const struct fixture *fixture, struct truc_buffer *report)
{
    return verify(fixture, NULL, truc_bytes(NULL, 0), report);
}

static void says(const struct truc_buffer *report, const char *words)
{
    if (strstr((const char *)report->data, words) == NULL) {
        fail_msg("expected '%s' in: %s", words, (const char *)report->data);
    }
}

static void a_new_log_is_whole(void **state)
{
    struct truc_buffer report = {0};
    write_journal(*state, SIZE_MAX, false);
    assert_int_equal(verify_plain(*state, &report), ADMIN_OK);
    says(&report, "\"findings\":0");
    says(&report, "\"leaves\":1");
    says(&report, "\"signatures\":1");
    says(&report, "\"decisions_replayed\":true");
    says(&report, "\"origin\":\"truc.test/1\"");
    truc_buffer_close(&report);
}

/* Every byte of the row counts: header, envelope, facts, content. (The journal itself may refuse a broken tail, which
 * is a finding, too.) */
static void any_changed_byte_of_a_row_is_found(void **state)
{
    const struct fixture *fixture = *state;
    struct truc_buffer report = {0};
    size_t tried = 0;
    for (size_t at = 0; at < fixture->row_size; at += 37, tried++) {
        write_journal(fixture, at, false);
        if (verify_plain(fixture, &report) != ADMIN_DAMAGED) {
            fail_msg("byte %zu of the row was changed and nobody noticed", at);
        }
    }
    assert_true(tried > 10);
    truc_buffer_close(&report);
}

/* The last bytes of the genesis row are its only event's content. */
static void a_forger_who_changes_content_is_found_by_its_hash(void **state)
{
    const struct fixture *fixture = *state;
    struct truc_buffer report = {0};
    write_journal(fixture, fixture->row_size - 1, true);
    assert_int_equal(verify_plain(fixture, &report), ADMIN_DAMAGED);
    says(&report, "the content does not decrypt, or is not what was sealed");
    says(&report, "\"sequence\":1");
    says(&report, "\"agency\":\"TRUC.ADMIN.1\"");
    truc_buffer_close(&report);
}

/* The root of the seal stands in its signed envelope; the leaf hash among the facts is found by it. Whatever a forger
 * changes between header and content, seal or facts no longer fit. */
static void a_forger_who_changes_what_was_sealed_is_found(void **state)
{
    const struct fixture *fixture = *state;
    struct truc_buffer report = {0};
    size_t tried = 0, by_signature = 0;
    for (size_t at = 104 + 5 + 12; at < fixture->row_size; at += 23, tried++) {
        write_journal(fixture, at, true);
        if (verify_plain(fixture, &report) != ADMIN_DAMAGED) {
            fail_msg("byte %zu of the row was forged and nobody noticed", at);
        }
        by_signature += strstr((char *)report.data, "signature does not verify") != NULL;
    }
    assert_true(tried > 10);
    assert_true(by_signature > 0);
    truc_buffer_close(&report);
}

static void a_note_key_that_genesis_does_not_name_is_found(void **state)
{
    struct truc_buffer report = {0}, text = {0};
    struct truc_note_verifier other;
    struct truc_key *key = NULL;
    write_journal(*state, SIZE_MAX, false);
    assert_int_equal(truc_key_generate(TRUC_ALGORITHM_ED25519, &key), TRUC_OK);
    assert_int_equal(truc_note_verifier_make("truc.test/1", key, &other), TRUC_OK);
    assert_int_equal(truc_note_verifier_text(&other, &text), TRUC_OK);
    assert_int_equal(truc_buffer_append(&text, "", 1), TRUC_OK);
    assert_int_equal(verify(*state, (char *)text.data, truc_bytes(NULL, 0), &report), ADMIN_DAMAGED);
    says(&report, "genesis names another note key");
    truc_note_verifier_close(&other);
    truc_key_free(&key);
    truc_buffer_close(&text);
    truc_buffer_close(&report);
}

/* Somebody keeps a checkpoint of two leaves; the log has one. Entries were cut off its end. */
static void a_log_that_was_cut_does_not_fit_a_kept_checkpoint(void **state)
{
    const struct fixture *fixture = *state;
    struct truc_buffer report = {0}, note = {0};
    struct truc_checkpoint kept = {.origin = "truc.test/1", .size = 2};
    write_journal(fixture, SIZE_MAX, false);
    assert_int_equal(truc_checkpoint_sign(&kept, fixture->opened.note_key, &note), TRUC_OK);
    assert_int_equal(verify(fixture, NULL, truc_buffer_view(&note), &report), ADMIN_DAMAGED);
    says(&report, "entries are missing");

    truc_buffer_clear(&note); /* and one of the right size over other entries */
    kept.size = 1;
    assert_int_equal(truc_checkpoint_sign(&kept, fixture->opened.note_key, &note), TRUC_OK);
    assert_int_equal(verify(fixture, NULL, truc_buffer_view(&note), &report), ADMIN_DAMAGED);
    says(&report, "has another root than the entries give");
    truc_buffer_close(&note);
    truc_buffer_close(&report);
}

static void a_missing_journal_is_damage_not_a_crash(void **state)
{
    const struct fixture *fixture = *state;
    struct truc_buffer report = {0};
    assert_int_equal(truncate(fixture->journal, 100), 0);
    assert_int_equal(verify_plain(fixture, &report), ADMIN_DAMAGED);
    says(&report, "the journal cannot be opened");
    write_journal(fixture, SIZE_MAX, false);
    truc_buffer_close(&report);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_new_log_is_whole),
        cmocka_unit_test(any_changed_byte_of_a_row_is_found),
        cmocka_unit_test(a_forger_who_changes_content_is_found_by_its_hash),
        cmocka_unit_test(a_forger_who_changes_what_was_sealed_is_found),
        cmocka_unit_test(a_note_key_that_genesis_does_not_name_is_found),
        cmocka_unit_test(a_log_that_was_cut_does_not_fit_a_kept_checkpoint),
        cmocka_unit_test(a_missing_journal_is_damage_not_a_crash),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
