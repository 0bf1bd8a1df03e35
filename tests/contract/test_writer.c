/* The store's threads: batches come back in order with the truth about them, and cold reads give what was written. */
#include "tests/contract/fixture.h"

#include "hub/store/writer.h"

#include <pthread.h>

#define BATCHES 60
#define EVENTS 8

/* What the loop is in the hub: it waits until a thread of the store signals. */
struct bell {
    pthread_mutex_t lock;
    pthread_cond_t rung;
    unsigned rings;
};

static void ring(void *context)
{
    struct bell *bell = context;
    (void)pthread_mutex_lock(&bell->lock);
    bell->rings++;
    (void)pthread_cond_signal(&bell->rung);
    (void)pthread_mutex_unlock(&bell->lock);
}

static void await_ring(struct bell *bell)
{
    (void)pthread_mutex_lock(&bell->lock);
    while (bell->rings == 0) {
        (void)pthread_cond_wait(&bell->rung, &bell->lock);
    }
    bell->rings--;
    (void)pthread_mutex_unlock(&bell->lock);
}

struct world {
    char *folder;
    struct truc_key *key;
    struct hub_slots *slots;
    struct hub_journal *journal;
    struct bell bell;
    struct truc_hash last;
};

static void open_journal(struct world *world, uint64_t quota)
{
    char why[256];
    assert_ok(hub_journal_open(world->folder, quota, true, false, &world->journal, why));
}

static int set_up(void **state)
{
    struct world *world = calloc(1, sizeof *world);
    assert_non_null(world);
    world->folder = folder_new();
    char *path = path_in(world->folder, "keys.slots");
    assert_ok(hub_slots_open(path, true, false, &world->slots));
    free(path);
    assert_ok(hub_slots_ensure(world->slots, 64));
    assert_ok(truc_key_generate(TRUC_ALGORITHM_P256, &world->key));
    (void)pthread_mutex_init(&world->bell.lock, NULL);
    (void)pthread_cond_init(&world->bell.rung, NULL);
    *state = world;
    return 0;
}

static int tear_down(void **state)
{
    struct world *world = *state;
    hub_journal_close(&world->journal);
    hub_slots_close(&world->slots);
    truc_key_free(&world->key);
    (void)pthread_mutex_destroy(&world->bell.lock);
    (void)pthread_cond_destroy(&world->bell.rung);
    folder_free(world->folder);
    free(world);
    return 0;
}

struct load {
    struct sealed sealed[BATCHES];
    struct hub_batch batches[BATCHES];
};

static struct load *load_new(struct world *world, size_t event_size)
{
    struct load *load = calloc(1, sizeof *load);
    assert_non_null(load);
    for (uint64_t i = 0; i < BATCHES; i++) {
        sealed_make(&load->sealed[i], world->key, EVENTS, event_size, i + 1);
        load->batches[i].items = &load->sealed[i].item;
        load->batches[i].count = 1;
        load->batches[i].accepted_at_us = SOME_TIME + (int64_t)i;
    }
    return load;
}

static void load_free(struct load *load)
{
    for (size_t i = 0; i < BATCHES; i++) {
        sealed_free(&load->sealed[i]);
    }
    free(load);
}

static struct hub_batch *next_finished(struct world *world, struct hub_writer *writer)
{
    struct hub_batch *batch;
    while ((batch = hub_writer_finished(writer)) == NULL) {
        await_ring(&world->bell);
    }
    return batch;
}

/* ---- readers ---------------------------------------------------------------------------------------------------- */

struct job {
    struct hub_read_job job;
    struct load *load;
    uint64_t row;
    bool good, done;
};

static void read_row(struct hub_read_job *job, struct hub_reader_tools *tools)
{
    struct job *own = job->context;
    const struct sealed *sealed = &own->load->sealed[own->row];
    struct truc_buffer content = {0};
    struct hub_input input;
    struct truc_bytes row, plain;
    size_t at = 0;
    own->good = hub_journal_get(tools->journal, own->row, &row) == TRUC_OK &&
                hub_row_reader_at(tools->rows, row, sealed->item.input.offset, &input) == TRUC_OK &&
                input.u.seal.seal.number == own->row + 1;
    for (uint32_t i = 0; i < EVENTS && own->good; i++) {
        content.size = 0;
        own->good = hub_row_reader_content(tools->rows, i, tools->aead, tools->slots, &content) == TRUC_OK &&
                    truc_body_next(sealed->item.body, &at, &plain) == TRUC_OK &&
                    truc_bytes_equal(truc_buffer_view(&content), plain);
    }
    truc_buffer_close(&content);
}

static void job_done(struct hub_read_job *job)
{
    struct job *own = job->context;
    own->done = true;
}

static void batches_are_committed_in_order_and_read_back(void **state)
{
    struct world *world = *state;
    struct hub_writer *writer;
    struct hub_readers *readers;
    struct job jobs[BATCHES];
    struct load *load = load_new(world, 500);
    open_journal(world, 64u << 20);
    assert_ok(hub_writer_new(world->journal, world->slots, &world->last, ring, &world->bell, &writer));
    assert_ok(hub_readers_new(world->journal, world->slots, 2, ring, &world->bell, &readers));
    for (size_t i = 0; i < BATCHES; i++) {
        hub_writer_submit(writer, &load->batches[i]);
    }
    for (uint64_t i = 0; i < BATCHES; i++) {
        struct hub_batch *batch = next_finished(world, writer);
        assert_ptr_equal(batch, &load->batches[i]);
        assert_ok(batch->result);
        assert_true(batch->row == i && batch->bytes > EVENTS * 500 && batch->commit_us > 0);
        jobs[i] = (struct job){.job = {.run = read_row, .done = job_done}, .load = load, .row = i};
        jobs[i].job.context = &jobs[i];
        hub_readers_submit(readers, &jobs[i].job);
    }
    assert_null(hub_writer_finished(writer));
    hub_readers_free(&readers);
    hub_writer_free(&writer);
    for (size_t i = 0; i < BATCHES; i++) {
        assert_true(jobs[i].done && jobs[i].good);
    }
    load_free(load);
}

static void a_rejected_batch_takes_no_number_and_breaks_no_chain(void **state)
{
    struct world *world = *state;
    struct hub_writer *writer;
    struct load *load = load_new(world, 4000);
    struct hub_row_item small = {.input = {.kind = HUB_INPUT_BOOT}};
    struct hub_batch boot = {.items = &small, .count = 1};
    size_t rejected = 0, rows = 0;
    open_journal(world, 1u << 20);
    assert_ok(hub_writer_new(world->journal, world->slots, &world->last, ring, &world->bell, &writer));
    for (size_t i = 0; i < BATCHES; i++) {
        hub_writer_submit(writer, &load->batches[i]);
    }
    hub_writer_submit(writer, &boot); /* an ack or a boot still finds room */
    for (size_t i = 0; i < BATCHES; i++) {
        struct hub_batch *batch = next_finished(world, writer);
        assert_ptr_equal(batch, &load->batches[i]);
        assert_true(batch->result == TRUC_OK || batch->result == TRUC_E_FULL);
        if (batch->result == TRUC_OK) {
            assert_true(batch->row == rows);
            rows++;
        } else {
            rejected++;
        }
    }
    assert_true(rows > 5 && rejected > 5);
    assert_ptr_equal(next_finished(world, writer), &boot);
    assert_ok(boot.result);
    assert_true(boot.row == rows);
    hub_writer_free(&writer);
    hub_journal_close(&world->journal);
    open_journal(world, 8u << 20); /* the start checks the chain at the end */
    assert_true(hub_journal_rows(world->journal) == rows + 1);
    load_free(load);
}

static void what_was_given_is_committed_before_the_thread_ends(void **state)
{
    struct world *world = *state;
    struct hub_writer *writer;
    struct load *load = load_new(world, 100);
    open_journal(world, 64u << 20);
    assert_ok(hub_writer_new(world->journal, world->slots, &world->last, ring, &world->bell, &writer));
    for (size_t i = 0; i < BATCHES; i++) {
        hub_writer_submit(writer, &load->batches[i]);
    }
    hub_writer_free(&writer);
    assert_true(hub_journal_rows(world->journal) == BATCHES);
    load_free(load);
}

static void after_an_unknown_outcome_nothing_more_is_written(void **state)
{
    struct world *world = *state;
    struct hub_writer *writer;
    struct load *load = load_new(world, 100);
    open_journal(world, 64u << 20);
    assert_ok(hub_writer_new(world->journal, world->slots, &world->last, ring, &world->bell, &writer));
    load->sealed[1].slots[3] = UINT64_C(1) << 40; /* no such slot: the row cannot be encrypted */
    for (size_t i = 0; i < 3; i++) {
        hub_writer_submit(writer, &load->batches[i]);
    }
    assert_ok(next_finished(world, writer)->result);
    assert_int_equal(next_finished(world, writer)->result, TRUC_E_NOT_FOUND);
    assert_int_equal(next_finished(world, writer)->result, TRUC_E_NOT_FOUND);
    hub_writer_free(&writer);
    assert_true(hub_journal_rows(world->journal) == 1);
    load_free(load);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(batches_are_committed_in_order_and_read_back, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_rejected_batch_takes_no_number_and_breaks_no_chain, set_up, tear_down),
        cmocka_unit_test_setup_teardown(what_was_given_is_committed_before_the_thread_ends, set_up, tear_down),
        cmocka_unit_test_setup_teardown(after_an_unknown_outcome_nothing_more_is_written, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
