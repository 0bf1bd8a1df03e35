/* A map makes events of rows: the same ones at every run, and what is wrong with a row is counted. Last, the maps of
 * the demo against the real files, where those are at hand. */
#include "adapters/import/convert.h"
#include "adapters/import/table.h"
#include "truc/payload.h"

#include <setjmp.h>
#include <stdarg.h>
#include <unistd.h>

#include <cmocka.h>

#include "dossier.pb-c.h"

static const char map_text[] =
    "source: desk\n"
    "offset: '-05:00'\n"
    "id: '{case}/{type}'\n"
    "subject: '{agency}-{opened|day}-{case|digits:7}'\n"
    "time: '{opened}'\n"
    "recipients:\n"
    "  - 'vn.truc.dossier.submitted.v1 = H14.11,@land'\n"
    "rules:\n"
    "  - 'vn.truc.dossier.submitted.v1'\n"
    "  - 'vn.truc.dossier.stopped.v1 at {closed} when {closed} is not empty and {why} is T20*'\n"
    "fields:\n"
    "  - '*: dossier.code = {subject}'\n"
    "  - 'vn.truc.dossier.submitted.v1: submitted_at_us = {opened|time}'\n"
    "  - 'vn.truc.dossier.submitted.v1: channel = {channel|lookup:channel}'\n"
    "  - 'vn.truc.dossier.stopped.v1: stopped_at_us = {closed|time}'\n"
    "  - 'vn.truc.dossier.stopped.v1: reason = {why}'\n"
    "tables:\n"
    "  - 'channel: Internet = ONLINE'\n";

#define MADE_MAX 16

static struct {
    char type[64], id[64], recipients[64];
    struct truc_buffer bytes;
} made[MADE_MAX];
static size_t made_count;
static struct import_map *map;
static struct import_converter *converter;
static struct truc_buffer why;
static struct draft_key key = {{1, 2, 3}};

static truc_error on_made(void *context, const struct import_made *m)
{
    (void)context;
    if (made_count < MADE_MAX) {
        (void)snprintf(made[made_count].type, sizeof made[0].type, "%s", m->type);
        (void)snprintf(made[made_count].id, sizeof made[0].id, "%.*s", (int)m->id.size, (const char *)m->id.data);
        (void)snprintf(made[made_count].recipients, sizeof made[0].recipients, "%.*s", (int)m->recipients.size,
                       m->recipients.size == 0 ? "" : (const char *)m->recipients.data);
        truc_buffer_clear(&made[made_count].bytes);
        assert_int_equal(truc_buffer_append(&made[made_count].bytes, m->bytes.data, m->bytes.size), TRUC_OK);
    }
    made_count++;
    return TRUC_OK;
}

static int setup(void **state)
{
    (void)state;
    made_count = 0;
    assert_int_equal(import_map_read("test.yaml", truc_bytes_of(map_text), &map, &why), TRUC_OK);
    assert_int_equal(import_converter_new(map, "H14.09", &key, on_made, NULL, &converter), TRUC_OK);
    const struct truc_bytes header[] = {truc_bytes_of("case"), truc_bytes_of("opened"), truc_bytes_of("closed"),
                                        truc_bytes_of("channel"), truc_bytes_of("why")};
    return import_converter_record(converter, 0, header, 5) == TRUC_OK ? 0 : -1;
}

static int teardown(void **state)
{
    (void)state;
    import_converter_free(&converter);
    import_map_free(&map);
    truc_buffer_close(&why);
    for (size_t i = 0; i < MADE_MAX; i++) {
        truc_buffer_close(&made[i].bytes);
    }
    return 0;
}

static void give(const char *id, const char *opened, const char *closed, const char *channel, const char *reason)
{
    const struct truc_bytes fields[] = {truc_bytes_of(id), truc_bytes_of(opened), truc_bytes_of(closed),
                                        truc_bytes_of(channel), truc_bytes_of(reason)};
    assert_int_equal(import_converter_record(converter, import_converter_counts(converter)->records + 1, fields, 5),
                     TRUC_OK);
}

static void test_a_row_becomes_events(void **state)
{
    (void)state;
    struct truc_event event;
    give("case-10011", "2016-01-01 03:28:00", "2016-02-01 00:00:00", "Internet", "T20 Print report");
    assert_int_equal(made_count, 2);
    assert_string_equal(made[0].type, "vn.truc.dossier.submitted.v1");
    assert_string_equal(made[0].id, "case-10011/vn.truc.dossier.submitted.v1");
    assert_string_equal(made[0].recipients, "H14.11,@land");
    assert_string_equal(made[1].recipients, ""); /* a topic */
    assert_int_equal(truc_event_parse(truc_buffer_view(&made[0].bytes), &event), TRUC_OK);
    assert_true(truc_bytes_equal(event.source, truc_bytes_of("urn:truc:H14.09:desk")));
    assert_true(truc_bytes_equal(event.subject, truc_bytes_of("H14.09-20160101-0010011")));
    assert_int_equal(event.time_us, INT64_C(1451636880000000)); /* 08:28 UTC */
    assert_int_equal(truc_payload_check(event.type, event.data_kind, event.data, event.data_type, NULL), TRUC_OK);
    Truc__Dossier__V1__Submitted *data = truc__dossier__v1__submitted__unpack(NULL, event.data.size, event.data.data);
    assert_non_null(data);
    assert_string_equal(data->dossier->code, "H14.09-20160101-0010011");
    assert_int_equal(data->channel, TRUC__DOSSIER__V1__CHANNEL__CHANNEL_ONLINE);
    assert_int_equal(data->submitted_at_us, event.time_us);
    truc__dossier__v1__submitted__free_unpacked(data, NULL);
    assert_int_equal(import_converter_counts(converter)->offset_missing, 1);
}

/* What is imported twice is once in the log: the salt comes from the adapter's key and the id. */
static void test_a_second_run_makes_the_same_bytes(void **state)
{
    (void)state;
    give("case-10011", "2016-01-01 03:28:00", "", "Internet", "");
    give("case-10011", "2016-01-01 03:28:00", "", "Internet", "");
    assert_int_equal(made_count, 2);
    assert_true(truc_bytes_equal(truc_buffer_view(&made[0].bytes), truc_buffer_view(&made[1].bytes)));
    /* and another adapter's are others: nobody can guess the salt */
    struct draft_key other = {{9}};
    import_converter_free(&converter);
    assert_int_equal(import_converter_new(map, "H14.09", &other, on_made, NULL, &converter), TRUC_OK);
    const struct truc_bytes header[] = {truc_bytes_of("case"), truc_bytes_of("opened"), truc_bytes_of("closed"),
                                        truc_bytes_of("channel"), truc_bytes_of("why")};
    assert_int_equal(import_converter_record(converter, 0, header, 5), TRUC_OK);
    give("case-10011", "2016-01-01 03:28:00", "", "Internet", "");
    assert_false(truc_bytes_equal(truc_buffer_view(&made[0].bytes), truc_buffer_view(&made[2].bytes)));
}

static void test_what_is_wrong_with_a_row_is_counted(void **state)
{
    (void)state;
    const struct import_counts *counts = import_converter_counts(converter);
    const struct truc_bytes three[3] = {{0}};
    give("1", "", "", "Internet", ""); /* no time: no code either, but that comes later */
    give("2", "soon", "", "Internet", "");
    give("3", "2016-01-01 00:00:00", "", "Pigeon", "");
    give("4", "2016-01-01 00:00:00", "", "", "");             /* a dossier without its channel */
    give("5", "2016-01-01 00:00:00", "", "Internet", "\xff"); /* not met by a rule: nobody looks at it */
    give("6", "2016-01-01 00:00:00", "2016-01-02", "Internet", "T20 \xff");
    assert_int_equal(import_converter_record(converter, 7, three, 3), TRUC_OK);
    assert_int_equal(counts->records, 7);
    assert_int_equal(counts->skipped[IMPORT_SKIP_NO_TIME], 1);
    assert_int_equal(counts->skipped[IMPORT_SKIP_BAD_TIME], 1);
    assert_int_equal(counts->skipped[IMPORT_SKIP_UNKNOWN], 1);
    assert_int_equal(counts->skipped[IMPORT_SKIP_PAYLOAD], 2);
    assert_int_equal(counts->skipped[IMPORT_SKIP_COLUMNS], 1);
    assert_int_equal(counts->events, 2);
    assert_int_equal(made_count, 2);
}

static void test_a_table_of_another_shape(void **state)
{
    (void)state;
    struct import_converter *other = NULL;
    const struct truc_bytes header[] = {truc_bytes_of("case")};
    assert_int_equal(import_converter_new(map, "H14.09", &key, on_made, NULL, &other), TRUC_OK);
    assert_int_equal(import_converter_record(other, 0, header, 1), TRUC_E_CONFIG);
    assert_non_null(strstr(import_converter_why(other), "\"opened\""));
    import_converter_free(&other);
}

/* Each line of the map with one mistake, and the mistake is said. */
static void test_maps_that_are_none(void **state)
{
    (void)state;
    static const struct {
        const char *rules, *fields, *said;
    } bad[] = {
        {"vn.truc.dossier.eaten.v1", "*: dossier.code = {a}", "no schema"},
        {"vn.truc.dossier.stopped.v1 when {a} = b", "*: dossier.code = {a}", "is [not] PATTERN"},
        {"vn.truc.dossier.stopped.v1 at {a|when}", "*: dossier.code = {a}", "no filter"},
        {"vn.truc.dossier.stopped.v1", "*: dossier.colour = {a}", "no such field"},
        {"vn.truc.dossier.stopped.v1", "*: dossier = {a}", "no such field"},
        {"vn.truc.dossier.submitted.v1", "*: documents.name = {a}", "no such field"},
        {"vn.truc.dossier.stopped.v1", "vn.truc.land.*: parcel = {a}", "no rule makes"},
        {"vn.truc.dossier.stopped.v1", "dossier.code", "PATH = TEMPLATE"},
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct truc_buffer text = {0}, said = {0};
        struct import_map *none = NULL;
        assert_int_equal(truc_buffer_printf(&text, "source: a\nid: '{a}'\ntime: '{a}'\nrules: ['%s']\nfields: ['%s']\n",
                                            bad[i].rules, bad[i].fields),
                         TRUC_OK);
        assert_int_equal(import_map_read("bad.yaml", truc_buffer_view(&text), &none, &said), TRUC_E_CONFIG);
        assert_null(none);
        assert_true(said.size > 0);
        assert_non_null(strstr((const char *)said.data, bad[i].said));
        truc_buffer_close(&text);
        truc_buffer_close(&said);
    }
}

static void test_the_key_is_kept(void **state)
{
    (void)state;
    char path[] = "/tmp/truc-test-key-XXXXXX";
    struct draft_key first, second;
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    assert_int_equal(close(fd), 0);
    assert_int_equal(draft_key_open(path, &first), TRUC_E_CORRUPT); /* there, but no key: nothing is put over it */
    assert_int_equal(unlink(path), 0);
    assert_int_equal(draft_key_open(path, &first), TRUC_OK);
    assert_int_equal(draft_key_open(path, &second), TRUC_OK);
    assert_memory_equal(&first, &second, sizeof first);
    assert_int_equal(unlink(path), 0);
}

/* ---- the real files ---------------------------------------------------------------------------------------------- */

static void assert_file(const char *map_path, const char *file, const char *agency, uint64_t records, uint64_t events,
                        uint64_t broken_lines, uint64_t offset_missing)
{
    const char *data = getenv("DATA");
    char path[4096];
    struct import_table *table = NULL;
    truc_error error;
    (void)snprintf(path, sizeof path, "%s/%s", data == NULL ? "../shared/data" : data, file);
    if (access(path, R_OK) != 0) {
        print_message("%s is not there: skipped\n", file);
        skip();
    }
    made_count = MADE_MAX; /* count only */
    assert_int_equal(import_map_load(map_path, &map, &why), TRUC_OK);
    assert_int_equal(import_converter_new(map, agency, &key, on_made, NULL, &converter), TRUC_OK);
    assert_int_equal(import_table_open(path, map->delimiter, import_converter_record, converter, &table), TRUC_OK);
    do {
        error = import_table_read(table);
    } while (error == TRUC_OK);
    assert_int_equal(error, TRUC_E_NOT_FOUND);
    const struct import_counts *counts = import_converter_counts(converter);
    assert_int_equal(counts->records, records);
    assert_int_equal(counts->events, events);
    assert_int_equal(counts->offset_missing, offset_missing);
    assert_int_equal(import_table_broken_lines(table), broken_lines);
    for (int i = IMPORT_MADE + 1; i < IMPORT_SKIP_COUNT_; i++) {
        assert_int_equal(counts->skipped[i], 0);
    }
    import_table_close(&table);
}

static void test_the_permit_log(void **state)
{
    (void)state;
    assert_file("deploy/demo/maps/wabo.yaml", "event-logs-nc/wabo_receipt.csv", "H14.09", 8577, 8577, 0, 0);
}

/* 7,494 requests, 5,360 with an end, 659 overdue; local times. */
static void test_the_requests(void **state)
{
    (void)state;
    assert_file("deploy/demo/maps/requests.yaml", "one-stop-311/boston_311_filtered_2016.csv", "H14.09", 7494,
                7494 + 5360 + 659, 0, 7494);
}

/* 6,150 permits, 5,047 issued, 1,273 completed; three descriptions of several lines. */
static void test_the_building_permits(void **state)
{
    (void)state;
    assert_file("deploy/demo/maps/permits.yaml", "permits/seattle_2022-01_2023-10.csv", "H14.11", 6150,
                6150 + 5047 + 1273, 3, 6150);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_a_row_becomes_events, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_second_run_makes_the_same_bytes, setup, teardown),
        cmocka_unit_test_setup_teardown(test_what_is_wrong_with_a_row_is_counted, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_table_of_another_shape, setup, teardown),
        cmocka_unit_test(test_maps_that_are_none),
        cmocka_unit_test(test_the_key_is_kept),
        cmocka_unit_test_teardown(test_the_permit_log, teardown),
        cmocka_unit_test_teardown(test_the_requests, teardown),
        cmocka_unit_test_teardown(test_the_building_permits, teardown),
    };
    return cmocka_run_group_tests_name("import convert", tests, NULL, NULL);
}
