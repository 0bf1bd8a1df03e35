/* What truc-files reads: its settings, the profile's folder, and the files to send. First byte: 0 settings; 1 a
 * profile, a part for each of its files (an empty part: the good one); 2 a file to send. */
#include "adapters/files/draft.h"
#include "adapters/files/settings.h"
#include "tests/fuzz/folder.h"
#include "truc/client.h"
#include "truc/crypto.h"
#include "truc/note.h"

static const char *const names[] = {"profile.yaml",     "sign.pem",   "transport.secret",
                                    "transport.public", "hub.public", "note.key"};
#define NAMES (sizeof names / sizeof names[0])
static struct truc_buffer good[NAMES];

#define PROFILE "agency: H14.09\norigin: log.example/test\nendpoints: [ 'tcp://127.0.0.1:1' ]\nspool: spool\n"

static void make_good(void)
{
    char public_key[TRUC_TRANSPORT_KEY_TEXT], secret_key[TRUC_TRANSPORT_KEY_TEXT];
    struct truc_key *key, *note;
    struct truc_note_verifier verifier;
    FUZZ_OK(truc_key_generate(TRUC_ALGORITHM_P256, &key));
    FUZZ_OK(truc_key_generate(TRUC_ALGORITHM_ED25519, &note));
    FUZZ_OK(truc_note_verifier_make("log.example/test", note, &verifier));
    FUZZ_OK(truc_transport_keypair(public_key, secret_key));
    FUZZ_OK(truc_key_save_private(key, fuzz_path("made.pem")));
    FUZZ_OK(truc_file_read(fuzz_path("made.pem"), 4096, &good[1]));
    FUZZ_OK(truc_buffer_printf(&good[0], PROFILE));
    FUZZ_OK(truc_buffer_printf(&good[2], "%s\n", secret_key));
    FUZZ_OK(truc_buffer_printf(&good[3], "%s\n", public_key));
    FUZZ_OK(truc_buffer_printf(&good[4], "%s", public_key));
    FUZZ_OK(truc_note_verifier_text(&verifier, &good[5]));
    truc_note_verifier_close(&verifier);
    truc_key_free(&key);
    truc_key_free(&note);
}

static void check_profile(struct fuzz *fuzz)
{
    struct truc_profile *profile = NULL;
    struct truc_buffer why = {0};
    bool altered = false;
    if (good[0].size == 0) {
        make_good();
    }
    for (size_t i = 0; i < NAMES; i++) {
        struct truc_bytes part = fuzz_part(fuzz);
        altered = altered || part.size > 0;
        fuzz_file(names[i], part.size > 0 ? part : truc_buffer_view(&good[i]));
    }
    truc_error error = truc_profile_load(fuzz_folder(), &profile, &why);
    FUZZ_CHECK(error == TRUC_OK || error == TRUC_E_CONFIG);
    FUZZ_CHECK((error == TRUC_OK) == (why.size == 0) && (error == TRUC_OK) == (profile != NULL));
    FUZZ_CHECK(altered || error == TRUC_OK);
    truc_profile_free(&profile);
    truc_buffer_close(&why);
}

static void check_settings(struct truc_bytes text)
{
    struct files_settings settings;
    struct truc_buffer why = {0};
    fuzz_file("files.yaml", text);
    truc_error error = files_settings_load(fuzz_path("files.yaml"), &settings, &why);
    FUZZ_CHECK(error == TRUC_OK || error == TRUC_E_CONFIG);
    FUZZ_CHECK((error == TRUC_OK) == (why.size == 0));
    FUZZ_CHECK(error != TRUC_OK || (settings.pending != NULL && settings.out[0] == '/' && settings.log_level != NULL));
    files_settings_close(&settings);
    truc_buffer_close(&why);
}

static void check_draft(struct truc_bytes json)
{
    static const struct draft_key key = {.bytes = "a key"};
    const struct files_draft_rules rules = {
        .agency = "H14.09", .type = "t.v1", .source = "desk", .recipients = "H1,@all", .key = &key};
    struct truc_buffer first = {0}, again = {0};
    struct truc_event event;
    char why[256] = "";
    truc_error error = files_draft_make(&rules, "a.json", json, &first, why);
    FUZZ_CHECK(error == TRUC_OK || (error == TRUC_E_MALFORMED && why[0] != '\0' && first.size == 0));
    if (error == TRUC_OK) { /* the same file is the same event, and ours */
        FUZZ_OK(files_draft_make(&rules, "a.json", json, &again, why));
        FUZZ_CHECK(truc_bytes_equal(truc_buffer_view(&first), truc_buffer_view(&again)));
        FUZZ_OK(truc_event_parse(truc_buffer_view(&first), &event));
        FUZZ_CHECK(truc_bytes_equal(truc_source_agency(event.source), truc_bytes_of("H14.09")));
    }
    truc_buffer_close(&first);
    truc_buffer_close(&again);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct fuzz fuzz = fuzz_of(data, size);
    switch (fuzz_u8(&fuzz) % 3) {
    case 0:
        check_settings(fuzz_rest(&fuzz));
        break;
    case 1:
        check_profile(&fuzz);
        break;
    default:
        check_draft(fuzz_rest(&fuzz));
        break;
    }
    return 0;
}

static void seed(const char *name, unsigned mode, const char *text)
{
    struct truc_buffer out = {0};
    fuzz_put_u8(&out, mode);
    FUZZ_OK(truc_buffer_append(&out, text, strlen(text)));
    fuzz_seed(name, truc_buffer_view(&out));
    truc_buffer_close(&out);
}

void fuzz_seeds(void)
{
    struct truc_buffer out = {0};
    seed("settings.yaml", 0,
         "profile: profile\nout: out\nin: in\nquarantine: q\nreceipts: r\nsubscriptions:\n  - a.*\ndefaults:\n"
         "  type: t.v1\n  source: desk\n  recipients: [H1, '@all']\nscan: 5s\nonce: {idle: 2s}\nin_flight: 7\n");
    seed("settings-same-folders.yaml", 0, "profile: p\nout: o\nin: o\nquarantine: o/pending\nlog_level: loud\n");
    seed("draft.json", 2, "{\"specversion\":\"1.0\",\"data\":{\"n\":1}}");
    seed("draft-foreign.json", 2, "{\"specversion\":\"1.0\",\"source\":\"urn:truc:H14\"}");
    for (size_t altered = 0; altered <= NAMES; altered++) {
        static const char *const texts[] = {PROFILE "agency: x\n",
                                            "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n",
                                            "short",
                                            "0000000000000000000000000000000000000000\n",
                                            "\n",
                                            "log.example/test+00000000+AQ==\n",
                                            ""};
        char name[32];
        truc_buffer_clear(&out);
        fuzz_put_u8(&out, 1);
        for (size_t i = 0; i < NAMES; i++) {
            fuzz_put_part(&out, truc_bytes_of(i == altered ? texts[i] : ""));
        }
        (void)snprintf(name, sizeof name, "profile-%zu", altered);
        fuzz_seed(name, truc_buffer_view(&out));
    }
    truc_buffer_close(&out);
}
