/* Short texts that others write: times, codes, types, sources, and the encodings of keys and hashes. */
#include "hub/store/genesis.h"
#include "tests/fuzz/fuzz.h"
#include "truc/event.h"

static void check_time(struct truc_bytes text)
{
    int64_t time_us, again_us;
    char formatted[40];
    if (truc_time_parse(text, &time_us) == TRUC_OK) {
        truc_time_format(time_us, formatted);
        FUZZ_OK(truc_time_parse(truc_bytes_of(formatted), &again_us));
        FUZZ_CHECK(again_us == time_us);
    }
}

static void check_codes(struct truc_bytes text)
{
    char normal[TRUC_AGENCY_MAX + 1], again[TRUC_AGENCY_MAX + 1];
    if (truc_agency_normalise(text, normal) == TRUC_OK) {
        FUZZ_CHECK(truc_agency_is_valid(truc_bytes_of(normal)));
        FUZZ_OK(truc_agency_normalise(truc_bytes_of(normal), again));
        FUZZ_CHECK(strcmp(normal, again) == 0);
    }
    struct truc_bytes agency = truc_source_agency(text);
    FUZZ_CHECK(agency.size == 0 || truc_agency_is_valid(agency));
    if (truc_type_is_valid(text)) {
        FUZZ_CHECK(truc_type_pattern_is_valid(text) && truc_type_matches(text, text));
    }
    size_t half = text.size / 2;
    (void)truc_type_matches(truc_bytes(text.data, half), truc_bytes(text.data + half, text.size - half));
    (void)hub_origin_is_valid(text);
}

static void check_encodings(struct truc_bytes text)
{
    struct truc_buffer bytes = {0}, again = {0};
    uint8_t raw[32], unhexed[32];
    char z85[41], hex[65];
    if (truc_base64_decode(text, &bytes) == TRUC_OK) {
        FUZZ_OK(truc_base64_encode(truc_buffer_view(&bytes), &again));
        FUZZ_CHECK(truc_bytes_equal(truc_buffer_view(&again), text));
    } else {
        FUZZ_CHECK(bytes.size == 0);
    }
    if (truc_z85_decode(text, raw, sizeof raw) == TRUC_OK) {
        FUZZ_OK(truc_z85_encode(truc_bytes(raw, sizeof raw), z85));
        FUZZ_CHECK(truc_bytes_equal(truc_bytes_of(z85), text));
    }
    if (truc_unhex(text, unhexed, sizeof unhexed) == TRUC_OK) {
        truc_hex(truc_bytes(unhexed, sizeof unhexed), hex);
        FUZZ_CHECK(strlen(hex) == text.size);
    }
    truc_buffer_close(&bytes);
    truc_buffer_close(&again);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct truc_bytes text = truc_bytes(data, size);
    check_time(text);
    check_codes(text);
    check_encodings(text);
    return 0;
}

void fuzz_seeds(void)
{
    static const char *const texts[][2] = {
        {"time", "2026-11-22T09:30:00.250000+07:00"},
        {"time-edge", "0000-02-29t23:59:60.9999999z"},
        {"code", "000.00.12.H62"},
        {"code-long", "H62.12.AB.CD.EF.GH.IJ.KL.MN.OP.QR.9"},
        {"source", "urn:truc:H62.12:desk"},
        {"pattern", "vn.truc.dossier.*vn.truc.dossier.v1"},
        {"base64", "AAECAwQFBgcICQoLDA0ODw=="},
        {"z85", "rq:rM>}U?@Lns47E1%kR.o@n%FcmmsL/@{H8]yf7"},
        {"hex", "00112233445566778899aAbBcCdDeEfF00112233445566778899aabbccddeeff"},
        {"origin", "log.example/test"},
    };
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        fuzz_seed(texts[i][0], truc_bytes_of(texts[i][1]));
    }
}
