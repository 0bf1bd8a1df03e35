/* YAML that people write. First byte: 0 hub.yaml, 1 a table with every kind of field, 2 the map of an import with the
 * header of its table. */
#include "adapters/import/map.h"
#include "hub/store/home.h"
#include "tests/fuzz/fuzz.h"

struct settings {
    char *name;
    struct truc_strings list;
    int64_t number, size, duration;
    bool flag;
};

static const char *check_short(const char *text)
{
    return strlen(text) > 8 ? "is long" : NULL;
}

static const struct truc_config_field fields[] = {
    {.key = "name", .kind = TRUC_CONFIG_STRING, .offset = offsetof(struct settings, name), .required = true},
    {.key = "list", .kind = TRUC_CONFIG_STRINGS, .offset = offsetof(struct settings, list), .check = check_short},
    {.key = "a.number", .kind = TRUC_CONFIG_INTEGER, .offset = offsetof(struct settings, number), .maximum = 9},
    {.key = "a.b.size", .kind = TRUC_CONFIG_SIZE, .offset = offsetof(struct settings, size), .fallback = "1 MiB"},
    {.key = "a.b.time", .kind = TRUC_CONFIG_DURATION, .offset = offsetof(struct settings, duration)},
    {.key = "flag", .kind = TRUC_CONFIG_BOOLEAN, .offset = offsetof(struct settings, flag), .fallback = "true"},
};
#define FIELDS (sizeof fields / sizeof fields[0])

/* An error says something, one line each, under the file's name. */
static void check_said(truc_error error, const struct truc_buffer *why)
{
    FUZZ_CHECK(error == TRUC_OK || error == TRUC_E_CONFIG);
    FUZZ_CHECK((error == TRUC_OK) == (why->size == 0));
    FUZZ_CHECK(why->size == 0 || (memcmp(why->data, "f.yaml:", 7) == 0 && why->data[why->size - 1] == '\n'));
}

static void check_table(struct truc_bytes text, struct truc_buffer *why)
{
    struct settings target = {0}, partly = {0};
    size_t lines[FIELDS];
    truc_error error = truc_config_read("f.yaml", text, fields, FIELDS, &target, why);
    check_said(error, why);
    FUZZ_CHECK(error == TRUC_OK || (target.name == NULL && target.list.items == NULL));
    FUZZ_CHECK(error != TRUC_OK || (target.name != NULL && target.number <= 9 && target.size >= 0));
    truc_buffer_clear(why);
    FUZZ_CHECK(truc_config_read_partly("f.yaml", text, fields, FIELDS, &partly, lines, why) == error);
    for (size_t i = 0; i < FIELDS; i++) {
        FUZZ_CHECK(lines[i] >= 1 && lines[i] <= text.size + 1);
    }
    truc_config_close(fields, FIELDS, &target);
    truc_config_close(fields, FIELDS, &partly);
}

static void check_map(struct truc_bytes text, struct truc_buffer *why)
{
    static const char *const columns[] = {"case", "opened", "a", "b:c"};
    struct import_map *map = NULL;
    struct truc_bytes names[4];
    for (size_t i = 0; i < 4; i++) {
        names[i] = truc_bytes_of(columns[i]);
    }
    truc_error error = import_map_read("f.yaml", text, &map, why);
    check_said(error, why);
    if (error == TRUC_OK) {
        error = import_map_bind(map, names, 4, why);
        FUZZ_CHECK(error == TRUC_OK || error == TRUC_E_CONFIG);
    }
    import_map_free(&map);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct fuzz fuzz = fuzz_of(data, size);
    struct truc_buffer why = {0};
    struct hub_settings hub = {0};
    uint8_t mode = fuzz_u8(&fuzz);
    struct truc_bytes text = fuzz_rest(&fuzz);
    if (mode == 0) {
        check_said(hub_settings_read("f.yaml", text, &hub, &why), &why);
        hub_settings_close(&hub);
    } else if (mode == 1) {
        check_table(text, &why);
    } else {
        check_map(text, &why);
    }
    truc_buffer_close(&why);
    return 0;
}

static void seed(const char *name, const char *mode, const char *text)
{
    struct truc_buffer out = {0};
    FUZZ_OK(truc_buffer_append(&out, mode, 1));
    FUZZ_OK(truc_buffer_append(&out, text, strlen(text)));
    fuzz_seed(name, truc_buffer_view(&out));
    truc_buffer_close(&out);
}

void fuzz_seeds(void)
{
    seed("hub.yaml", "\0",
         "listen: \"tcp://127.0.0.1:5590\"\nlog_level: info\nstorage:\n  journal: 16 GiB\n  reserve: 256 MiB\n"
         "workers: 0\nlimits: {session_bytes: 16 MiB, total_bytes: 5 MiB}\ndelivery:\n  lease: 60 s\n");
    seed("table.yaml", "\1",
         "# all\nname: 'a b'\nlist: [one, \"two\"]\na:\n  number: 7\n  b:\n    size: 64 KiB\n    time: 2min\nflag: "
         "no\n");
    seed("aliases.yaml", "\1", "name: &n x\nlist:\n  - *n\n  - {a: b}\na: &l\n  b: *l\n---\nflag: 1\n");
    seed("map.yaml", "\2",
         "source: 'desk'\noffset: '+01:00'\nid: '{case}/{type}'\nsubject: '{agency}-{opened|day}-{case|digits:7}'\n"
         "time: '{opened}'\nrecipients:\n  - '* = H14.11,@land'\nrules:\n  - 'vn.truc.dossier.submitted.v1'\n"
         "  - 'vn.truc.dossier.stopped.v1 at {a} when {a} is not empty and {b:c} is T20*'\nfields:\n"
         "  - '*: dossier.code = {subject}'\n  - 'vn.truc.dossier.submitted.v1: channel = "
         "{a|lookup:c|default:X|cut:3}'\n"
         "tables:\n  - 'c: Internet = ONLINE'\n");
}
