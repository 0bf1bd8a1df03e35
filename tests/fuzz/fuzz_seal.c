/* A seal's envelope and body. First byte: 0 the envelope as it is; 1 the rest is the seal inside a good envelope, so
 * that the envelope does not hide the reader of the seal; 2 a body. */
#include "tests/fuzz/fuzz.h"
#include "truc/seal.h"

static struct truc_key *key;

static void check_envelope(struct truc_bytes bytes)
{
    struct truc_envelope envelope;
    uint8_t *copy = fuzz_copy(bytes);
    truc_error error = truc_envelope_parse(truc_bytes(copy, bytes.size), &envelope);
    if (error == TRUC_OK) {
        FUZZ_CHECK(envelope.seal.count >= 1 && envelope.seal.count <= TRUC_SEAL_EVENTS_MAX &&
                   envelope.seal.number >= 1);
        FUZZ_CHECK(truc_agency_is_valid(truc_bytes_of(envelope.seal.sender)));
        FUZZ_CHECK(strlen(envelope.seal.keyid) == TRUC_KEYID_HEX && envelope.seal.origin[0] != '\0');
        FUZZ_CHECK(envelope.signature.size <= TRUC_SIGNATURE_MAX);
        (void)snprintf(envelope.seal.keyid, sizeof envelope.seal.keyid, "%s", truc_key_id(key));
        FUZZ_CHECK(truc_envelope_verify(&envelope, key) == TRUC_E_BAD_SIGNATURE);
    }
    free(copy);
}

static void put_field(struct truc_buffer *out, unsigned field, struct truc_bytes value)
{
    uint64_t size = value.size;
    fuzz_put_u8(out, field << 3 | 2);
    for (; size >= 0x80; size >>= 7) {
        fuzz_put_u8(out, (unsigned)(size & 0x7f) | 0x80);
    }
    fuzz_put_u8(out, (unsigned)size);
    FUZZ_OK(truc_buffer_append(out, value.data, value.size));
}

static void check_seal(struct truc_bytes seal)
{
    struct truc_buffer envelope = {0}, signature = {0};
    put_field(&signature, 1, truc_bytes_of("0123456789012345678901234567890123456789012345678901234567890123"));
    put_field(&envelope, 1, seal);
    put_field(&envelope, 2, truc_bytes_of(TRUC_SEAL_TYPE));
    put_field(&envelope, 3, truc_buffer_view(&signature));
    check_envelope(truc_buffer_view(&envelope));
    truc_buffer_close(&signature);
    truc_buffer_close(&envelope);
}

static void check_body(struct truc_bytes body)
{
    struct truc_bytes event;
    struct truc_buffer again = {0};
    size_t at = 0;
    truc_error error;
    while ((error = truc_body_next(body, &at, &event)) == TRUC_OK) {
        FUZZ_OK(truc_body_append(&again, event));
    }
    FUZZ_CHECK(error == TRUC_E_NOT_FOUND || error == TRUC_E_MALFORMED);
    if (error == TRUC_E_NOT_FOUND) {
        FUZZ_CHECK(truc_bytes_equal(truc_buffer_view(&again), body));
    }
    truc_buffer_close(&again);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct fuzz fuzz = fuzz_of(data, size);
    if (key == NULL) {
        FUZZ_OK(truc_key_generate(TRUC_ALGORITHM_ED25519, &key));
    }
    uint8_t mode = fuzz_u8(&fuzz);
    if (mode == 0) {
        check_envelope(fuzz_rest(&fuzz));
    } else if (mode == 1) {
        check_seal(fuzz_rest(&fuzz));
    } else {
        check_body(fuzz_rest(&fuzz));
    }
    return 0;
}

void fuzz_seeds(void)
{
    static const struct {
        enum truc_algorithm algorithm;
        bool previous;
        const char *name;
    } seals[] = {{TRUC_ALGORITHM_P256, false, "p256"}, {TRUC_ALGORITHM_ED25519, true, "ed25519"}};
    for (size_t i = 0; i < sizeof seals / sizeof seals[0]; i++) {
        struct truc_seal seal = {.origin = "log.example/test",
                                 .sender = "H14.09",
                                 .number = seals[i].previous ? 300 : 1,
                                 .count = 3,
                                 .has_previous = seals[i].previous,
                                 .sealed_at_us = INT64_C(1790000000000000)};
        struct truc_buffer envelope = {0}, out = {0};
        struct truc_envelope parsed;
        struct truc_key *signer;
        char name[32];
        FUZZ_OK(truc_key_generate(seals[i].algorithm, &signer));
        (void)snprintf(seal.keyid, sizeof seal.keyid, "%s", truc_key_id(signer));
        FUZZ_OK(truc_seal_sign(&seal, signer, &envelope, NULL));
        fuzz_put_u8(&out, 0);
        FUZZ_OK(truc_buffer_append(&out, envelope.data, envelope.size));
        (void)snprintf(name, sizeof name, "envelope-%s", seals[i].name);
        fuzz_seed(name, truc_buffer_view(&out));
        FUZZ_OK(truc_envelope_parse(truc_buffer_view(&envelope), &parsed));
        truc_buffer_clear(&out);
        fuzz_put_u8(&out, 1);
        FUZZ_OK(truc_buffer_append(&out, parsed.payload.data, parsed.payload.size));
        (void)snprintf(name, sizeof name, "seal-%s", seals[i].name);
        fuzz_seed(name, truc_buffer_view(&out));
        truc_buffer_close(&out);
        truc_buffer_close(&envelope);
        truc_key_free(&signer);
    }
    fuzz_seed("body", truc_bytes("\2\3\0\0\0abc\0\0\0\0\1\0\0\0z", 17));
}
