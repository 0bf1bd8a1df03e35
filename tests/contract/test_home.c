/* A new home: complete, private, and its log begins with a genesis that the core accepts. */
#include "tests/contract/fixture.h"

#include "hub/core/core.h"
#include "hub/store/home.h"
#include "truc/event.h"

#define ORIGIN "gov.example/truc"

struct world {
    char *folder, *home;
    struct truc_buffer why;
};

static int set_up(void **state)
{
    struct world *world = calloc(1, sizeof *world);
    assert_non_null(world);
    world->folder = folder_new();
    world->home = path_in(world->folder, "home");
    *state = world;
    return 0;
}

static int tear_down(void **state)
{
    struct world *world = *state;
    folder_free(world->folder);
    free(world->home);
    truc_buffer_close(&world->why);
    free(world);
    return 0;
}

static void make(struct world *world)
{
    truc_error error = hub_home_make(world->home, ORIGIN, "tcp://127.0.0.1:0", SOME_TIME, &world->why);
    if (error != TRUC_OK && world->why.size > 0) {
        print_message("%.*s\n", (int)world->why.size, (const char *)world->why.data);
    }
    assert_ok(error);
}

static int entries, open_entries;

static int look(const char *path, const struct stat *status, int kind, struct FTW *walk)
{
    (void)path;
    (void)kind;
    (void)walk;
    entries++;
    open_entries += (status->st_mode & 077) != 0 || (S_ISDIR(status->st_mode) && (status->st_mode & 0777) != 0700);
    return 0;
}

static void a_home_is_private_whatever_the_umask(void **state)
{
    static const mode_t masks[] = {0, 0277};
    struct world *world = *state;
    for (size_t i = 0; i < 2; i++) {
        mode_t before = umask(masks[i]);
        make(world);
        (void)umask(before);
        entries = open_entries = 0;
        assert_int_equal(nftw(world->home, look, 16, FTW_PHYS), 0);
        assert_true(entries >= 24);
        assert_int_equal(open_entries, 0);
        assert_int_equal(nftw(world->home, fixture_remove_one, 16, FTW_DEPTH | FTW_PHYS), 0);
    }
}

static void what_was_made_can_be_opened(void **state)
{
    struct world *world = *state;
    struct hub_home home;
    uint8_t raw[32];
    make(world);
    assert_ok(hub_home_open(world->home, &home, &world->why));
    assert_string_equal(home.settings.listen, "tcp://127.0.0.1:0");
    assert_true(home.settings.journal_bytes == INT64_C(16) << 30 && home.settings.lease_ms == 60000);
    assert_int_equal(truc_key_algorithm(home.note_key), TRUC_ALGORITHM_ED25519);
    assert_ok(truc_z85_decode(truc_bytes_of(home.transport_public), raw, sizeof raw));
    assert_ok(truc_z85_decode(truc_bytes_of(home.transport_secret), raw, sizeof raw));
    hub_home_close(&home);
    assert_int_equal(world->why.size, 0);
}

static void nothing_that_is_there_is_overwritten(void **state)
{
    struct world *world = *state;
    struct truc_buffer before = {0}, after = {0};
    char *note = path_in(world->home, "hub/note.pem");
    make(world);
    assert_ok(truc_file_read(note, 4096, &before));
    assert_int_equal(hub_home_make(world->home, ORIGIN, "tcp://127.0.0.1:0", SOME_TIME, &world->why), TRUC_E_EXISTS);
    assert_ok(truc_file_read(note, 4096, &after));
    assert_true(truc_bytes_equal(truc_buffer_view(&before), truc_buffer_view(&after)));
    truc_buffer_close(&before);
    truc_buffer_close(&after);
    free(note);
}

static void a_home_that_cannot_be_made_leaves_nothing_behind(void **state)
{
    struct world *world = *state;
    char *inside = path_in(world->home, "no/such/folder");
    static const char *const origins[] = {"", "with space", "a+b", "a\nb", "\xc3\xa9"};
    for (size_t i = 0; i < 5; i++) {
        assert_int_equal(hub_home_make(world->home, origins[i], "tcp://127.0.0.1:0", SOME_TIME, &world->why),
                         TRUC_E_INVALID);
    }
    assert_int_equal(hub_home_make(world->home, ORIGIN, "127.0.0.1", SOME_TIME, &world->why), TRUC_E_INVALID);
    assert_int_equal(hub_home_make(inside, ORIGIN, "tcp://127.0.0.1:0", SOME_TIME, &world->why), TRUC_E_IO);
    assert_true(world->why.size > 0);
    assert_int_equal(rmdir(world->folder), 0); /* only an empty folder can be removed */
    assert_int_equal(mkdir(world->folder, 0700), 0);
    free(inside);
}

static void a_home_that_others_can_read_is_refused(void **state)
{
    struct world *world = *state;
    struct hub_home home;
    char *note = path_in(world->home, "hub/note.pem");
    make(world);
    assert_int_equal(chmod(world->home, 0750), 0);
    assert_int_equal(chmod(note, 0644), 0);
    assert_int_equal(hub_home_open(world->home, &home, &world->why), TRUC_E_CONFIG);
    assert_ok(truc_buffer_printf(&world->why, "%s", ""));
    assert_non_null(strstr((const char *)world->why.data, "home: others can read"));
    assert_non_null(strstr((const char *)world->why.data, "note.pem: others can read"));
    free(note);
}

static void every_wrong_setting_is_said(void **state)
{
    struct world *world = *state;
    struct hub_settings settings;
    static const char text[] = "listen: udp://x\nlog_level: loud\nstorage:\n  jurnal: 3\n  reserve: 9 MiB\n";
    static const char *const said[] = {"hub.yaml:1: listen: ", "hub.yaml:2: log_level: ",
                                       "hub.yaml:4: storage.jurnal: ", "hub.yaml:5: storage.reserve: "};
    assert_int_equal(hub_settings_read("hub.yaml", truc_bytes_of(text), &settings, &world->why), TRUC_E_CONFIG);
    assert_ok(truc_buffer_append(&world->why, "", 1));
    for (size_t i = 0; i < 4; i++) {
        assert_non_null(strstr((const char *)world->why.data, said[i]));
    }
}

/* Seals are refused while a whole commit, and what must go on behind it, still fits into the reserve. */
static void a_reserve_is_some_of_the_largest_commits(void **state)
{
    static const struct {
        const char *text, *says;
    } cases[] = {
        {"", NULL},
        {"storage: {reserve: 128 MiB}\n", NULL},
        {"storage: {reserve: 127 MiB}\n", "give 128 MiB or more"},
        {"storage: {reserve: 1 MiB}\nlimits: {total_bytes: 1 GiB}\n",
         "give 128 MiB or more"}, /* a commit has its limit */
        {"storage: {reserve: 1 MiB}\nlimits: {total_bytes: 17 MiB}\n", "give 68 MiB or more"},
        {"storage: {reserve: 68 MiB}\nlimits: {total_bytes: 17 MiB}\n", NULL},
        {"storage: {journal: 287 MiB}\n", "give 288 MiB or more"},
        {"storage: {journal: 288 MiB}\n", NULL},
        {"limits: {total_bytes: 15 MiB}\n", "is less than limits.session_bytes"},
        /* What is wrong whatever the other key becomes is said along with it. */
        {"storage: {reserve: 1 MiB}\nlimits: {total_bytes: 1 MiB}\n", "storage.reserve: "},
        {"storage: {reserve: 1 MiB}\nlimits: {total_bytes: many}\n", "storage.reserve: "},
        {"storage: {reserve: loads, journal: 24 MiB}\nlimits: {total_bytes: 1 MiB}\n", "storage.journal: "},
    };
    struct world *world = *state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct hub_settings settings;
        char text[200];
        (void)snprintf(text, sizeof text, "listen: 'tcp://*:0'\n%s", cases[i].text);
        truc_buffer_clear(&world->why);
        truc_error error = hub_settings_read("hub.yaml", truc_bytes_of(text), &settings, &world->why);
        assert_int_equal(error, cases[i].says == NULL ? TRUC_OK : TRUC_E_CONFIG);
        if (error == TRUC_OK) {
            hub_settings_close(&settings);
            continue;
        }
        assert_ok(truc_buffer_append(&world->why, "", 1));
        assert_non_null(strstr((const char *)world->why.data, cases[i].says));
    }
}

static void listen_is_refused(struct world *world, const char *listen)
{
    struct hub_settings settings;
    char text[128];
    (void)snprintf(text, sizeof text, "workers: 1\nlisten: '%s'\n", listen);
    truc_buffer_clear(&world->why);
    assert_int_equal(hub_settings_read("hub.yaml", truc_bytes_of(text), &settings, &world->why), TRUC_E_CONFIG);
    assert_ok(truc_buffer_append(&world->why, "", 1));
    assert_non_null(strstr((const char *)world->why.data, "hub.yaml:2: listen: "));
}

static void listen_is_taken(struct world *world, const char *listen)
{
    struct hub_settings settings;
    char text[128];
    (void)snprintf(text, sizeof text, "listen: '%s'\n", listen);
    assert_ok(hub_settings_read("hub.yaml", truc_bytes_of(text), &settings, &world->why));
    hub_settings_close(&settings);
}

/* libzmq would listen on another port than the one that was written, and say nothing. */
static void a_port_that_is_none_is_refused(void **state)
{
    static const char *const wrong[] = {"tcp://127.0.0.1:99999", "tcp://127.0.0.1:22x",
                                        "tcp://127.0.0.1:", "tcp://127.0.0.1:-1", "tcp://:5590"};
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        listen_is_refused(*state, wrong[i]);
    }
    listen_is_taken(*state, "tcp://127.0.0.1:65535");
    listen_is_taken(*state, "tcp://127.0.0.1:0");
}

/* Else --check-config says that all is well, and the start says "No such device". */
static void an_address_that_is_none_is_refused(void **state)
{
    static const char *const wrong[] = {"tcp://300.1.2.3:5590", "tcp://127.0.0:5590",        "tcp://[::g]:5590",
                                        "tcp://[]:5590",        "tcp://no.such.host.:5590",  "tcp://truc-none0:5590",
                                        "tcp://[fe80::1%]:0",   "tcp://[127.0.0.1%lo]:5590", "tcp://127.0.0.1 :5590"};
    static const char *const right[] = {"tcp://*:0", "tcp://10.1.2.3:5590", "tcp://[::1]:5590", "tcp://lo:5590",
                                        "tcp://[fe80::1%lo]:5590"};
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        listen_is_refused(*state, wrong[i]);
    }
    for (size_t i = 0; i < sizeof right / sizeof right[0]; i++) {
        listen_is_taken(*state, right[i]);
    }
}

/* The hub would be up, and no client that holds its public key could reach it. */
static void transport_keys_of_two_pairs_are_refused(void **state)
{
    struct world *world = *state;
    struct hub_home home;
    char other[TRUC_TRANSPORT_KEY_TEXT], secret[TRUC_TRANSPORT_KEY_TEXT], belongs[TRUC_TRANSPORT_KEY_TEXT];
    char *path = path_in(world->home, "hub/transport.public");
    make(world);
    assert_ok(truc_transport_keypair(other, secret));
    assert_ok(truc_transport_public(secret, belongs));
    assert_string_equal(belongs, other);
    assert_int_equal(truc_transport_public("too short", belongs), TRUC_E_MALFORMED);
    assert_ok(truc_file_write(path, truc_bytes_of(other), 0600, true));
    assert_int_equal(hub_home_open(world->home, &home, &world->why), TRUC_E_CONFIG);
    assert_ok(truc_buffer_append(&world->why, "", 1));
    assert_non_null(strstr((const char *)world->why.data, "hub/transport.public: is not the public key of"));
    free(path);
}

/* `--home /tmp` by mistake: whoever follows advice about the rights of that folder does harm. */
static void a_folder_that_is_no_home_is_called_so(void **state)
{
    struct world *world = *state;
    struct hub_home home;
    assert_int_equal(mkdir(world->home, 0755), 0);
    assert_int_equal(hub_home_open(world->home, &home, &world->why), TRUC_E_IO);
    assert_ok(truc_buffer_append(&world->why, "", 1));
    assert_non_null(strstr((const char *)world->why.data, "is not a hub's home"));
    assert_null(strstr((const char *)world->why.data, "chmod"));
}

/* ---- genesis
 * ---------------------------------------------------------------------------------------------------------- */

static truc_error empty_get(void *context, struct truc_bytes key, struct truc_bytes *value)
{
    (void)context;
    (void)key;
    (void)value;
    return TRUC_E_NOT_FOUND;
}

static truc_error empty_scan(void *context, struct truc_bytes prefix,
                             truc_error (*each)(void *each_context, struct truc_bytes key, struct truc_bytes value),
                             void *each_context)
{
    (void)context;
    (void)prefix;
    (void)each;
    (void)each_context;
    return TRUC_OK;
}

static void check_registry(struct world *world, struct hub_core *core)
{
    struct truc_note_verifier verifier;
    struct truc_key *key;
    const struct hub_agency *admin = hub_core_agency(core, truc_bytes_of("TRUC.ADMIN.2"));
    assert_non_null(admin);
    assert_int_equal(admin->role, HUB_ROLE_ADMINISTRATOR);
    assert_int_equal(hub_core_agency_count(core), 2);
    assert_int_equal(hub_core_transport_count(core), 2);
    assert_string_equal(hub_core_origin(core), ORIGIN);
    assert_true(hub_core_tree_size(core) == 1);
    assert_ok(truc_note_verifier_parse(truc_bytes_of(hub_core_note_key(core)), &verifier));
    truc_note_verifier_close(&verifier);
    for (int i = 1; i <= 2; i++) {
        char name[32];
        (void)snprintf(name, sizeof name, "admin-%d/sign.pem", i);
        char *path = path_in(world->home, name);
        assert_ok(truc_key_load(path, &key));
        assert_non_null(hub_core_key(core, truc_key_id(key)));
        truc_key_free(&key);
        free(path);
    }
}

/* It is a real one: signature, root, event. */
static void check_first_seal(struct world *world, struct truc_bytes bytes, struct truc_bytes content)
{
    char *pem = path_in(world->home, "admin-1/sign.pem");
    struct truc_envelope envelope;
    struct truc_event event;
    struct truc_key *key;
    struct truc_hash leaf, root;
    assert_ok(truc_key_load(pem, &key));
    assert_ok(truc_envelope_parse(bytes, &envelope));
    assert_ok(truc_envelope_verify(&envelope, key));
    truc_leaf_hash(&leaf, content);
    truc_merkle_root(&leaf, 1, &root);
    assert_memory_equal(root.bytes, envelope.seal.root.bytes, TRUC_HASH_SIZE);
    assert_ok(truc_event_parse(content, &event));
    assert_true(truc_bytes_equal(event.source, truc_bytes_of("urn:truc:TRUC.ADMIN.1")));
    truc_key_free(&key);
    free(pem);
}

static void the_first_row_is_a_genesis_that_the_core_accepts(void **state)
{
    static const struct hub_port empty = {NULL, empty_get, empty_scan};
    struct world *world = *state;
    char *data = path_in(world->home, "data"), *slots_path = path_in(data, "keys.slots"), why[256];
    struct hub_journal *journal;
    struct hub_slots *slots;
    struct hub_journal_reader *rows;
    struct hub_row_reader *reader;
    struct hub_row_header header;
    struct hub_input input;
    struct hub_core *core;
    struct hub_effects effects = {0};
    struct truc_aead *aead;
    struct truc_buffer content = {0};
    struct truc_bytes row;
    make(world);
    assert_ok(hub_journal_open(data, 64u << 20, false, false, &journal, why));
    assert_ok(hub_slots_open(slots_path, false, false, &slots));
    assert_ok(hub_journal_reader_new(journal, &rows));
    assert_ok(hub_row_reader_new(&reader));
    assert_ok(truc_aead_new(&aead));
    assert_true(hub_journal_rows(journal) == 1);
    assert_ok(hub_journal_get(rows, 0, &row));
    assert_ok(hub_row_reader_start(reader, row, true, &header));
    assert_true(header.accepted_at_us == SOME_TIME && header.inputs == 1);
    assert_ok(hub_row_reader_next(reader, &input));

    assert_ok(hub_core_new(&empty, &core));
    assert_ok(hub_core_begin_row(core, 0, header.accepted_at_us));
    assert_ok(hub_core_apply(core, &input, &effects));
    assert_ok(hub_core_end_row(core, &effects));
    check_registry(world, core);

    assert_ok(hub_row_reader_content(reader, 0, aead, slots, &content));
    check_first_seal(world, input.u.seal.envelope, truc_buffer_view(&content));

    truc_buffer_close(&content);
    hub_effects_close(&effects);
    hub_core_free(&core);
    truc_aead_free(&aead);
    hub_row_reader_free(&reader);
    hub_journal_reader_free(&rows);
    hub_slots_close(&slots);
    hub_journal_close(&journal);
    free(slots_path);
    free(data);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_home_is_private_whatever_the_umask, set_up, tear_down),
        cmocka_unit_test_setup_teardown(what_was_made_can_be_opened, set_up, tear_down),
        cmocka_unit_test_setup_teardown(nothing_that_is_there_is_overwritten, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_home_that_cannot_be_made_leaves_nothing_behind, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_home_that_others_can_read_is_refused, set_up, tear_down),
        cmocka_unit_test_setup_teardown(every_wrong_setting_is_said, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_reserve_is_some_of_the_largest_commits, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_port_that_is_none_is_refused, set_up, tear_down),
        cmocka_unit_test_setup_teardown(an_address_that_is_none_is_refused, set_up, tear_down),
        cmocka_unit_test_setup_teardown(transport_keys_of_two_pairs_are_refused, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_folder_that_is_no_home_is_called_so, set_up, tear_down),
        cmocka_unit_test_setup_teardown(the_first_row_is_a_genesis_that_the_core_accepts, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
