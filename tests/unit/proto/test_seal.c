/* Seals and their envelopes, and the bodies that travel with them. */
#include "truc/seal.h"

#include "tests/unit/proto/support.h"

/* Made by protoc --encode from the schemas; the digest by another SHA-256 over the DSSE signed bytes. */
#define PAYLOAD                                                                                                        \
    "0a11747275632e6578616d706c652f7465737412064836322e31321a40303031313232333334343535363637373838393961616262636364" \
    "64"                                                                                                               \
    "6565666630303131323233333434353536363737383839396161626263636464656566662210303132333435363738396162636465662802" \
    "32"                                                                                                               \
    "2070707070707070707070707070707070707070707070707070707070707070703803422072727272727272727272727272727272727272" \
    "72"                                                                                                               \
    "727272727272727272727272488080f9c0c1c48203"
#define PAYLOAD_FIELD "0ac001" PAYLOAD
#define TYPE_FIELD "12256170706c69636174696f6e2f766e642e747275632e7365616c2e76312b70726f746f627566"
#define SIGNATURE_FIELD "1a0c0a0a30313233343536373839"
#define KNOWN PAYLOAD_FIELD TYPE_FIELD SIGNATURE_FIELD
#define KNOWN_DIGEST "8ef090cf8ed00894590c8d5d99507cc3498ec8a1bf1d6642d71cc48775ec7cec"
#define KNOWN_KEYID "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff"

static struct truc_envelope envelope;

static truc_error parse_exact(struct truc_bytes bytes)
{
    struct truc_bytes copy = support_exact_copy(bytes);
    truc_error error = truc_envelope_parse(copy, &envelope);
    support_free_copy(copy);
    return error;
}

static truc_error parse_hex(const char *hex)
{
    struct truc_buffer bytes = support_unhex(hex);
    truc_error error = parse_exact(truc_buffer_view(&bytes));
    truc_buffer_close(&bytes);
    return error;
}

static struct truc_seal make_seal(const struct truc_key *key)
{
    struct truc_seal seal = {.number = 2, .has_previous = true, .count = 3, .sealed_at_us = 1700000000000000};
    memcpy(seal.origin, "truc.example/test", sizeof "truc.example/test");
    memcpy(seal.sender, "H62.12", sizeof "H62.12");
    memcpy(seal.keyid, truc_key_id(key), TRUC_KEYID_HEX + 1);
    memset(seal.chain, 'c', sizeof seal.chain);
    memset(seal.previous.bytes, 'p', TRUC_HASH_SIZE);
    memset(seal.root.bytes, 'r', TRUC_HASH_SIZE);
    return seal;
}

static void test_pre_authentication_encoding(void **state)
{
    (void)state;
    struct truc_buffer out = {0};
    assert_int_equal(truc_dsse_pae(truc_bytes_of("http://example.com/HelloWorld"), truc_bytes_of("hello world"), &out),
                     TRUC_OK);
    support_assert_text(truc_buffer_view(&out), "DSSEv1 29 http://example.com/HelloWorld 11 hello world");
    truc_buffer_clear(&out);
    assert_int_equal(truc_dsse_pae(truc_bytes_of(""), truc_bytes_of(""), &out), TRUC_OK);
    support_assert_text(truc_buffer_view(&out), "DSSEv1 0  0 ");
    truc_buffer_close(&out);
}

static void test_reads_what_another_encoder_wrote(void **state)
{
    (void)state;
    char hex[65];
    struct truc_buffer bytes = support_unhex(KNOWN);
    assert_int_equal(truc_envelope_parse(truc_buffer_view(&bytes), &envelope), TRUC_OK);
    assert_string_equal(envelope.seal.origin, "truc.example/test");
    assert_string_equal(envelope.seal.sender, "H62.12");
    assert_string_equal(envelope.seal.keyid, KNOWN_KEYID);
    assert_memory_equal(envelope.seal.chain, "0123456789abcdef", 16);
    assert_int_equal(envelope.seal.number, 2);
    assert_true(envelope.seal.has_previous);
    assert_int_equal(envelope.seal.previous.bytes[31], 'p');
    assert_int_equal(envelope.seal.count, 3);
    assert_int_equal(envelope.seal.root.bytes[31], 'r');
    assert_int_equal(envelope.seal.sealed_at_us, 1700000000000000);
    support_assert_text(envelope.signature, "0123456789");
    assert_int_equal(envelope.payload.size, 192);
    truc_hex(truc_bytes(envelope.digest.bytes, 32), hex);
    assert_string_equal(hex, KNOWN_DIGEST);
    truc_buffer_close(&bytes);
}

static void test_a_seal_signed_by_each_kind_of_key_verifies(void **state)
{
    (void)state;
    const enum truc_algorithm algorithms[] = {TRUC_ALGORITHM_P256, TRUC_ALGORITHM_ED25519};
    for (size_t i = 0; i < 2; i++) {
        struct truc_key *key = NULL, *other = NULL;
        struct truc_buffer out = {0};
        struct truc_hash digest;
        assert_int_equal(truc_key_generate(algorithms[i], &key), TRUC_OK);
        assert_int_equal(truc_key_generate(algorithms[i], &other), TRUC_OK);
        struct truc_seal seal = make_seal(key);
        assert_int_equal(truc_seal_sign(&seal, key, &out, &digest), TRUC_OK);
        assert_true(out.size < TRUC_ENVELOPE_MAX);
        assert_int_equal(truc_envelope_parse(truc_buffer_view(&out), &envelope), TRUC_OK);
        assert_memory_equal(envelope.digest.bytes, digest.bytes, TRUC_HASH_SIZE);
        assert_memory_equal(&envelope.seal.root, &seal.root, TRUC_HASH_SIZE);
        assert_int_equal(truc_envelope_verify(&envelope, key), TRUC_OK);
        assert_int_equal(truc_envelope_verify(&envelope, other), TRUC_E_UNKNOWN_KEY);
        /* a key whose id is named but which did not sign */
        memcpy(envelope.seal.keyid, truc_key_id(other), TRUC_KEYID_HEX + 1);
        assert_int_equal(truc_envelope_verify(&envelope, other), TRUC_E_BAD_SIGNATURE);
        truc_buffer_close(&out);
        truc_key_free(&key);
        truc_key_free(&other);
    }
}

static void test_every_flipped_bit_of_an_envelope_is_noticed(void **state)
{
    (void)state;
    struct truc_key *key = NULL;
    struct truc_buffer out = {0};
    assert_int_equal(truc_key_generate(TRUC_ALGORITHM_ED25519, &key), TRUC_OK);
    struct truc_seal seal = make_seal(key);
    assert_int_equal(truc_seal_sign(&seal, key, &out, NULL), TRUC_OK);
    for (size_t bit = 0; bit < out.size * 8; bit++) {
        out.data[bit / 8] ^= (uint8_t)(1u << bit % 8);
        truc_error error = truc_envelope_parse(truc_buffer_view(&out), &envelope);
        if (error == TRUC_OK) {
            error = truc_envelope_verify(&envelope, key);
        }
        if (error == TRUC_OK) {
            fail_msg("bit %zu may be flipped", bit);
        }
        out.data[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
    truc_buffer_close(&out);
    truc_key_free(&key);
}

static void test_first_seal_of_an_agency_has_no_previous(void **state)
{
    (void)state;
    struct truc_key *key = NULL;
    struct truc_buffer out = {0};
    assert_int_equal(truc_key_generate(TRUC_ALGORITHM_P256, &key), TRUC_OK);
    struct truc_seal seal = make_seal(key);
    seal.has_previous = false;
    assert_int_equal(truc_seal_sign(&seal, key, &out, NULL), TRUC_E_INVALID); /* number 2 has one */
    seal.number = 1;
    assert_int_equal(truc_seal_sign(&seal, key, &out, NULL), TRUC_OK);
    assert_int_equal(truc_envelope_parse(truc_buffer_view(&out), &envelope), TRUC_OK);
    assert_false(envelope.seal.has_previous);
    truc_buffer_close(&out);
    truc_key_free(&key);
}

static void test_sign_refuses_a_seal_that_parse_would_refuse(void **state)
{
    (void)state;
    struct truc_key *key = NULL;
    struct truc_buffer out = {0};
    assert_int_equal(truc_key_generate(TRUC_ALGORITHM_P256, &key), TRUC_OK);
    for (int fault = 0; fault < 11; fault++) {
        struct truc_seal seal = make_seal(key);
        switch (fault) {
        case 0:
            seal.origin[0] = '\0';
            break;
        case 1:
            seal.origin[4] = '\n';
            break;
        case 2:
            seal.sender[0] = 'h';
            break;
        case 3:
            seal.keyid[0] = (char)(seal.keyid[0] == '0' ? '1' : '0');
            break;
        case 4:
            seal.number = 0;
            break;
        case 5:
            seal.count = 0;
            break;
        case 6:
            seal.count = TRUC_SEAL_EVENTS_MAX + 1;
            break;
        case 7:
            seal.sealed_at_us = 0;
            break;
        case 8:
            seal.sealed_at_us = -1;
            break;
        case 9:
            seal.sealed_at_us = INT64_MAX; /* beyond the year 9999 */
            break;
        case 10:
            memset(seal.origin, 'a', sizeof seal.origin); /* no end */
            break;
        }
        assert_int_equal(truc_seal_sign(&seal, key, &out, NULL), TRUC_E_INVALID);
    }
    assert_int_equal(out.size, 0);
    truc_buffer_close(&out);
    truc_key_free(&key);
}

static void test_hostile_envelopes_are_malformed(void **state)
{
    (void)state;
    assert_int_equal(parse_hex(KNOWN), TRUC_OK);
    assert_int_equal(parse_hex(SIGNATURE_FIELD TYPE_FIELD PAYLOAD_FIELD), TRUC_OK);
    /* the envelope */
    assert_int_equal(parse_hex(""), TRUC_E_MALFORMED);
    assert_int_equal(parse_hex(PAYLOAD_FIELD TYPE_FIELD), TRUC_E_MALFORMED);
    assert_int_equal(parse_hex(PAYLOAD_FIELD SIGNATURE_FIELD), TRUC_E_MALFORMED);
    assert_int_equal(parse_hex(TYPE_FIELD SIGNATURE_FIELD), TRUC_E_MALFORMED);
    assert_int_equal(parse_hex(KNOWN SIGNATURE_FIELD), TRUC_E_MALFORMED); /* two signatures */
    assert_int_equal(parse_hex(KNOWN TYPE_FIELD), TRUC_E_MALFORMED);
    assert_int_equal(parse_hex(KNOWN "220131"), TRUC_E_MALFORMED); /* unknown field */
    assert_int_equal(parse_hex(PAYLOAD_FIELD "120161" SIGNATURE_FIELD), TRUC_E_MALFORMED);
    /* the signature */
    assert_int_equal(parse_hex(PAYLOAD_FIELD TYPE_FIELD "1a00"), TRUC_E_MALFORMED);
    assert_int_equal(parse_hex(PAYLOAD_FIELD TYPE_FIELD "1a020a00"), TRUC_E_MALFORMED);
    assert_int_equal(parse_hex(PAYLOAD_FIELD TYPE_FIELD "1a060a01310a0131"), TRUC_E_MALFORMED);
    assert_int_equal(parse_hex(PAYLOAD_FIELD TYPE_FIELD "1a060a0131120161"), TRUC_E_MALFORMED); /* another keyid */
    assert_int_equal(parse_hex(PAYLOAD_FIELD TYPE_FIELD "1a060a01311a0161"), TRUC_E_MALFORMED);
    assert_int_equal(parse_hex(PAYLOAD_FIELD TYPE_FIELD "1a050a01311200"), TRUC_OK); /* empty: not named */
}

/* Changes the known payload at `at` (bytes) to `with` of the same length. */
static truc_error parse_patched(size_t at, const char *with)
{
    char hex[] = KNOWN;
    memcpy(hex + 2 * (3 + at), with, strlen(with));
    return parse_hex(hex);
}

static void test_every_field_of_the_seal_is_checked(void **state)
{
    (void)state;
    /* offsets within the payload: origin 0, sender 19, keyid 27, chain 93, number 111, previous 113, count 147,
     * root 149, sealed_at 183 */
    assert_int_equal(parse_patched(0, "0a11"), TRUC_OK);
    assert_int_equal(parse_patched(2, "20"), TRUC_E_MALFORMED);    /* a space in the origin */
    assert_int_equal(parse_patched(2, "2b"), TRUC_E_MALFORMED);    /* a '+' */
    assert_int_equal(parse_patched(21, "68"), TRUC_E_MALFORMED);   /* agency h62.12 */
    assert_int_equal(parse_patched(29, "41"), TRUC_E_MALFORMED);   /* a capital letter in keyid */
    assert_int_equal(parse_patched(93, "320f"), TRUC_E_MALFORMED); /* chain is gone, previous of 15 bytes */
    assert_int_equal(parse_patched(111, "2801"), TRUC_OK);
    assert_int_equal(parse_patched(111, "2800"), TRUC_E_MALFORMED);             /* number 0 */
    assert_int_equal(parse_patched(111, "5002"), TRUC_E_MALFORMED);             /* an unknown field for number */
    assert_int_equal(parse_patched(147, "3800"), TRUC_E_MALFORMED);             /* count 0 */
    assert_int_equal(parse_patched(147, "2803"), TRUC_E_MALFORMED);             /* number twice, no count */
    assert_int_equal(parse_patched(149, "3a20"), TRUC_E_MALFORMED);             /* root under count's number */
    assert_int_equal(parse_patched(184, "8080f9c0c1c48300"), TRUC_E_MALFORMED); /* overlong */
}

static void test_no_cut_envelope_is_taken(void **state)
{
    (void)state;
    struct truc_buffer bytes = support_unhex(KNOWN);
    for (size_t size = 0; size < bytes.size; size++) {
        assert_int_equal(parse_exact(truc_bytes(bytes.data, size)), TRUC_E_MALFORMED);
    }
    assert_int_equal(truc_buffer_reserve(&bytes, TRUC_ENVELOPE_MAX + 1), TRUC_OK);
    assert_int_equal(truc_envelope_parse(truc_bytes(bytes.data, TRUC_ENVELOPE_MAX + 1), &envelope), TRUC_E_TOO_LARGE);
    truc_buffer_close(&bytes);
}

static void test_bodies(void **state)
{
    (void)state;
    struct truc_buffer body = {0}, expected = support_unhex("03000000616263000000000100000064");
    struct truc_bytes event;
    size_t at = 0;
    assert_int_equal(truc_body_append(&body, truc_bytes_of("abc")), TRUC_OK);
    assert_int_equal(truc_body_append(&body, truc_bytes(NULL, 0)), TRUC_OK);
    assert_int_equal(truc_body_append(&body, truc_bytes_of("d")), TRUC_OK);
    assert_int_equal(truc_body_append(&body, truc_bytes("", TRUC_EVENT_MAX + 1)), TRUC_E_TOO_LARGE);
    assert_int_equal(body.size, expected.size);
    assert_memory_equal(body.data, expected.data, body.size);
    assert_int_equal(truc_body_next(truc_buffer_view(&body), &at, &event), TRUC_OK);
    support_assert_text(event, "abc");
    assert_int_equal(truc_body_next(truc_buffer_view(&body), &at, &event), TRUC_OK);
    assert_int_equal(event.size, 0);
    assert_int_equal(truc_body_next(truc_buffer_view(&body), &at, &event), TRUC_OK);
    support_assert_text(event, "d");
    assert_int_equal(truc_body_next(truc_buffer_view(&body), &at, &event), TRUC_E_NOT_FOUND);
    for (size_t size = 0; size < body.size; size++) {
        struct truc_bytes cut = support_exact_copy(truc_bytes(body.data, size));
        truc_error error;
        at = 0;
        while ((error = truc_body_next(cut, &at, &event)) == TRUC_OK) {
            assert_true(event.data + event.size <= cut.data + cut.size);
        }
        bool between = size == 0 || size == 7 || size == 11;
        assert_int_equal(error, between ? TRUC_E_NOT_FOUND : TRUC_E_MALFORMED);
        support_free_copy(cut);
    }
    at = 0;
    assert_int_equal(truc_body_next(truc_bytes("\xff\xff\xff\xff"
                                               "abc",
                                               7),
                                    &at, &event),
                     TRUC_E_MALFORMED);
    at = 99; /* a place outside is a caller's mistake, and yet no read */
    assert_int_equal(truc_body_next(truc_buffer_view(&body), &at, &event), TRUC_E_MALFORMED);
    truc_buffer_close(&body);
    truc_buffer_close(&expected);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_pre_authentication_encoding),
        cmocka_unit_test(test_reads_what_another_encoder_wrote),
        cmocka_unit_test(test_a_seal_signed_by_each_kind_of_key_verifies),
        cmocka_unit_test(test_every_flipped_bit_of_an_envelope_is_noticed),
        cmocka_unit_test(test_first_seal_of_an_agency_has_no_previous),
        cmocka_unit_test(test_sign_refuses_a_seal_that_parse_would_refuse),
        cmocka_unit_test(test_hostile_envelopes_are_malformed),
        cmocka_unit_test(test_every_field_of_the_seal_is_checked),
        cmocka_unit_test(test_no_cut_envelope_is_taken),
        cmocka_unit_test(test_bodies),
    };
    return cmocka_run_group_tests_name("seal", tests, NULL, NULL);
}
