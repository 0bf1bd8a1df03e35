/* A historical log: a CSV file, record by record through a map into events. */
#include "adapters/import/convert.h"
#include "adapters/import/table.h"
#include "tests/fuzz/folder.h"

static const char map_text[] =
    "source: 'desk:permits'\noffset: '+01:00'\nid: '{case}/{type}'\n"
    "subject: '{agency}-{opened|day}-{case|digits:7}'\ntime: '{opened}'\n"
    "recipients:\n  - 'vn.truc.dossier.submitted.v1 = H14.11,@land'\n"
    "rules:\n  - 'vn.truc.dossier.submitted.v1'\n"
    "  - 'vn.truc.dossier.stopped.v1 at {closed} when {closed} is not empty and {why} is T20*'\n"
    "fields:\n  - '*: dossier.code = {subject}'\n"
    "  - 'vn.truc.dossier.submitted.v1: submitted_at_us = {opened|time}'\n"
    "  - 'vn.truc.dossier.submitted.v1: channel = {channel|lookup:channel}'\n"
    "  - 'vn.truc.dossier.stopped.v1: stopped_at_us = {closed|time}'\n"
    "  - 'vn.truc.dossier.stopped.v1: reason = {why|cut:20|default:none}'\n"
    "tables:\n  - 'channel: Internet = ONLINE'\n  - 'channel: 1 = 2'\n";

static truc_error on_made(void *context, const struct import_made *made)
{
    struct truc_event event;
    uint64_t *count = context;
    FUZZ_OK(truc_event_parse(made->bytes, &event));
    FUZZ_CHECK(truc_bytes_equal(event.id, made->id) && truc_bytes_equal(event.type, truc_bytes_of(made->type)));
    FUZZ_CHECK(truc_bytes_equal(truc_source_agency(event.source), truc_bytes_of("H14.09")));
    ++*count;
    return TRUC_OK;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const struct draft_key key = {{1}};
    struct import_map *map = NULL;
    struct import_converter *converter = NULL;
    struct import_table *table = NULL;
    struct truc_buffer why = {0};
    uint64_t made = 0, done, all;
    truc_error error;
    FUZZ_OK(import_map_read("map", truc_bytes_of(map_text), &map, &why));
    FUZZ_OK(import_converter_new(map, "H14.09", &key, on_made, &made, &converter));
    fuzz_file("table.csv", truc_bytes(data, size));
    FUZZ_OK(import_table_open(fuzz_path("table.csv"), ',', import_converter_record, converter, &table));
    do {
        error = import_table_read(table);
    } while (error == TRUC_OK);
    FUZZ_CHECK(error == TRUC_E_NOT_FOUND || error == TRUC_E_MALFORMED || error == TRUC_E_TOO_LARGE ||
               error == TRUC_E_CONFIG);
    import_table_progress(table, &done, &all);
    FUZZ_CHECK(done <= all && all == size && (error != TRUC_E_NOT_FOUND || done == all));
    FUZZ_CHECK(import_converter_counts(converter)->events == made);
    import_table_close(&table);
    import_converter_free(&converter);
    import_map_free(&map);
    truc_buffer_close(&why);
    return 0;
}

#define HEAD "case,opened,closed,channel,why\n"
void fuzz_seeds(void)
{
    fuzz_seed("rows.csv",
              truc_bytes_of(HEAD "case-10011,2016-01-01 03:28:00,2016-02-01T00:00:00.5Z,Internet,T20 \"x\"\n"
                                 "\"case-2\",20160101032800,,1,\"two\nlines, \"\"quoted\"\"\"\r\n"));
    fuzz_seed("broken.csv", truc_bytes_of("\xef\xbb\xbf" HEAD "a,b\n,,,,\nx,2016-13-01,2016-01-01,?,\"open\n"));
    fuzz_seed("columns-missing.csv", truc_bytes_of("case,opened\n1,2\n"));
    fuzz_seed("times.csv", truc_bytes_of(HEAD "1,2016-02-30,,1,\n2,0001-01-01,,1,\n3,2016-01-01 24:00:00,,1,\n"
                                              "4,2016-01-01T00:00:00-12:00,9999-12-31 23:59:60,1,T20\n"));
}
