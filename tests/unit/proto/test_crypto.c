/* Hashes, keys and signatures against published answers, and against what an attacker would send. */
#include "tests/unit/proto/vectors.h"
#include "truc/crypto.h"

#include <pthread.h>

/* --- hashes and random bytes --- */

static void assert_sha256(struct truc_bytes data, const char *hex)
{
    struct truc_hash hash;
    truc_sha256(&hash, data);
    assert_hex(truc_bytes(hash.bytes, sizeof hash.bytes), hex);
}

/* FIPS 180-4 examples */
static void sha256_gives_the_published_answers(void **state)
{
    (void)state;
    assert_sha256(truc_bytes_of("abc"), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    assert_sha256(truc_bytes(NULL, 0), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
    assert_sha256(truc_bytes_of("abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq"),
                  "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1");
    uint8_t *million = malloc(1000000);
    assert_non_null(million);
    memset(million, 'a', 1000000);
    assert_sha256(truc_bytes(million, 1000000), "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
    free(million);
}

static void parts_hash_as_the_whole(void **state)
{
    (void)state;
    struct truc_hash whole, split;
    const struct truc_bytes parts[4] = {truc_bytes_of("ver"), truc_bytes(NULL, 0), truc_bytes_of("i"),
                                        truc_bytes_of("fied")};
    truc_sha256(&whole, truc_bytes_of("verified"));
    truc_sha256_parts(&split, parts, 4);
    assert_memory_equal(whole.bytes, split.bytes, sizeof whole.bytes);
    truc_sha256(&whole, truc_bytes(NULL, 0));
    truc_sha256_parts(&split, NULL, 0);
    assert_memory_equal(whole.bytes, split.bytes, sizeof whole.bytes);
}

static void random_bytes_fill_all_that_was_asked(void **state)
{
    (void)state;
    uint8_t bytes[1000], zero[16] = {0};
    memset(bytes, 0, sizeof bytes);
    assert_int_equal(truc_random(bytes, sizeof bytes), TRUC_OK);
    for (size_t i = 0; i + sizeof zero <= sizeof bytes; i += sizeof zero) {
        assert_memory_not_equal(bytes + i, zero, sizeof zero); /* by chance once in 2^122 runs */
    }
    assert_int_equal(truc_random(NULL, 0), TRUC_OK);
}

static void a_wiped_secret_is_gone(void **state)
{
    (void)state;
    uint8_t secret[32], zero[32] = {0};
    memset(secret, 0x5a, sizeof secret);
    truc_wipe(secret, sizeof secret);
    assert_memory_equal(secret, zero, sizeof secret);
}

/* --- what is a key --- */

static const enum truc_algorithm algorithms[] = {TRUC_ALGORITHM_P256, TRUC_ALGORITHM_ED25519, TRUC_ALGORITHM_RSA};
static struct truc_key *made[3]; /* one of each, since RSA takes a second */

static int make_keys(void **state)
{
    (void)state;
    for (size_t i = 0; i < 3; i++) {
        if (truc_key_generate(algorithms[i], &made[i]) != TRUC_OK) {
            return -1;
        }
    }
    return 0;
}

static int free_keys(void **state)
{
    (void)state;
    for (size_t i = 0; i < 3; i++) {
        truc_key_free(&made[i]);
    }
    return 0;
}

static void algorithms_have_names(void **state)
{
    (void)state;
    static const char *const names[] = {"p256", "ed25519", "rsa"};
    enum truc_algorithm algorithm;
    for (size_t i = 0; i < 3; i++) {
        assert_string_equal(truc_algorithm_name(algorithms[i]), names[i]);
        assert_int_equal(truc_algorithm_parse(names[i], &algorithm), TRUC_OK);
        assert_int_equal(algorithm, algorithms[i]);
    }
    assert_int_equal(truc_algorithm_parse("P256", &algorithm), TRUC_E_UNSUPPORTED);
    assert_int_equal(truc_algorithm_parse("", &algorithm), TRUC_E_UNSUPPORTED);
    assert_string_equal(truc_algorithm_name((enum truc_algorithm)0), "unknown");
    assert_string_equal(truc_algorithm_name((enum truc_algorithm)4), "unknown");
    struct truc_key *key = NULL;
    assert_int_equal(truc_key_generate((enum truc_algorithm)9, &key), TRUC_E_CRYPTO);
    assert_null(key);
}

static void a_public_half_is_the_same_key_without_the_secret(void **state)
{
    (void)state;
    for (size_t i = 0; i < 3; i++) {
        struct truc_key *public = NULL;
        assert_int_equal(truc_key_from_spki(truc_key_spki(made[i]), &public), TRUC_OK);
        assert_string_equal(truc_key_id(public), truc_key_id(made[i]));
        assert_int_equal(truc_key_algorithm(public), algorithms[i]);
        assert_true(truc_bytes_equal(truc_key_spki(public), truc_key_spki(made[i])));
        assert_true(truc_key_is_private(made[i]));
        assert_false(truc_key_is_private(public));
        assert_sha256(truc_key_spki(public), truc_key_id(public));
        struct truc_buffer signature = {0};
        assert_int_equal(truc_key_sign(public, truc_bytes_of("x"), &signature), TRUC_E_INVALID);
        assert_int_equal(signature.size, 0);
        truc_key_free(&public);
        assert_null(public);
        truc_key_free(&public); /* twice does no harm */
    }
}

static void a_key_lives_until_its_last_owner_lets_go(void **state)
{
    (void)state;
    struct truc_key *first = NULL;
    assert_int_equal(truc_key_from_spki(truc_key_spki(made[0]), &first), TRUC_OK);
    struct truc_key *second = truc_key_ref(first);
    truc_key_free(&first);
    assert_string_equal(truc_key_id(second), truc_key_id(made[0]));
    truc_key_free(&second);
}

static truc_error try_spki(const char *hex)
{
    struct truc_buffer der = {0};
    struct truc_key *key = NULL;
    from_hex(hex, &der);
    truc_error error = truc_key_from_spki(truc_buffer_view(&der), &key);
    assert_int_equal(error == TRUC_OK, key != NULL);
    truc_key_free(&key);
    truc_buffer_close(&der);
    return error;
}

#define P256_POINT                                                                                                     \
    "a0ced8e4958996bc32edbf18331586f4947e7658fa069f95d5aaa90682b7afe6"                                                 \
    "7d1b9a211f1df405fbd714789fe757d1591fb12aed62ff1fa93abb44e5d981b9"
#define P256_HEADER "3059301306072a8648ce3d020106082a8648ce3d03010703420004"

static void only_one_spelling_of_a_p256_key_is_taken(void **state)
{
    (void)state;
    assert_int_equal(try_spki(P256_HEADER P256_POINT), TRUC_OK);
    /* the same key, compressed */
    assert_int_equal(try_spki("3039301306072a8648ce3d020106082a8648ce3d03010703220003"
                              "a0ced8e4958996bc32edbf18331586f4947e7658fa069f95d5aaa90682b7afe6"),
                     TRUC_E_MALFORMED);
    /* the same key, with the curve spelled out */
    assert_int_not_equal(
        try_spki(
            "3082014b3082010306072a8648ce3d02013081f7020101302c06072a8648ce3d0101022100ffffffff00000001000000000000"
            "000000000000ffffffffffffffffffffffff305b0420ffffffff00000001000000000000000000000000ffffffffffffffffffff"
            "fffc04205ac635d8aa3a93e7b3ebbd55769886bc651d06b0cc53b0f63bce3c3e27d2604b031500c49d360886e704936a6678e113"
            "9d26b7819f7e900441046b17d1f2e12c4247f8bce6e563a440f277037d812deb33a0f4a13945d898c2964fe342e2fe1a7f9b8ee7"
            "eb4a7c0f9e162bce33576b315ececbb6406837bf51f5022100ffffffff00000000ffffffffffffffffbce6faada7179e84f3b9ca"
            "c2fc632551020101034200"
            "04" P256_POINT),
        TRUC_OK);
    assert_int_equal(try_spki(P256_HEADER P256_POINT "00"), TRUC_E_MALFORMED);
    /* a point that is not on the curve */
    assert_int_equal(try_spki(P256_HEADER "a0ced8e4958996bc32edbf18331586f4947e7658fa069f95d5aaa90682b7afe6"
                                          "7d1b9a211f1df405fbd714789fe757d1591fb12aed62ff1fa93abb44e5d981b8"),
                     TRUC_E_MALFORMED);
}

static void other_curves_and_schemes_are_refused(void **state)
{
    (void)state;
    /* P-384, secp256k1, Ed448 */
    assert_int_equal(try_spki("3076301006072a8648ce3d020106052b8104002203620004b765707285896ae0b1638df2fc836c2722fc03e9"
                              "67cbb86774407d1b9552cb589a8d8b87ac8342b28605127b688fbd505ee0982f83724d7ee6caad820bba84"
                              "2627e499d0e08a3e61e5a3a46df4b19e1b826d8ab78b73f9d0aa9518548beb9bbd"),
                     TRUC_E_UNSUPPORTED);
    assert_int_equal(try_spki("3056301006072a8648ce3d020106052b8104000a034200040b599bf735d1c61da6a172dbc1e6a48d61bb5db3"
                              "f3c4e2bc095722ef2e41d55a8fd0687d7e6cceaeaa232da8ee71706efefe84c6049b71e962897d220a00963"
                              "d"),
                     TRUC_E_UNSUPPORTED);
    assert_int_equal(try_spki("3043300506032b6571033a00795389e58a544bee044d0393a4ca373161e4f54d697ea96b53c6e6bfb5384ccd"
                              "e655cb295204048867ef7c1cf615aece7df403610891146b80"),
                     TRUC_E_UNSUPPORTED);
}

/* SubjectPublicKeyInfo of an RSA key with a modulus of `bits` ones; nothing checks that it has factors. */
static void make_rsa_spki(unsigned bits, const char *exponent_hex, struct truc_buffer *out)
{
    unsigned size = (bits + 7) / 8;
    struct truc_buffer exponent = {0};
    from_hex(exponent_hex, &exponent);
    unsigned pad = bits % 8 == 0;
    unsigned modulus = pad + size, sequence = 4 + modulus + 2 + (unsigned)exponent.size, string = 4 + sequence + 1;
    assert_int_equal(truc_buffer_printf(out, "3082%04x300d06092a864886f70d01010105000382%04x003082%04x0282%04x%s",
                                        15 + 4 + string, string, sequence, modulus, pad ? "00" : ""),
                     TRUC_OK);
    assert_int_equal(truc_buffer_printf(out, "%02x", (1u << (bits - (size - 1) * 8)) - 1), TRUC_OK);
    for (unsigned i = 1; i < size; i++) {
        assert_int_equal(truc_buffer_append(out, "ff", 2), TRUC_OK);
    }
    assert_int_equal(truc_buffer_printf(out, "02%02x%s", (unsigned)exponent.size, exponent_hex), TRUC_OK);
    truc_buffer_close(&exponent);
}

static void rsa_keys_have_bounds(void **state)
{
    (void)state;
    static const struct {
        unsigned bits;
        const char *exponent;
        truc_error wanted;
    } keys[] = {
        {2048, "010001", TRUC_OK},
        {3072, "010001", TRUC_OK},
        {4096, "010001", TRUC_OK},
        {2048, "03", TRUC_OK},
        {1024, "010001", TRUC_E_UNSUPPORTED},
        {2047, "010001", TRUC_E_UNSUPPORTED},
        {4097, "010001", TRUC_E_UNSUPPORTED},
        {2048, "01", TRUC_E_UNSUPPORTED},
        {2048, "010000", TRUC_E_UNSUPPORTED},
        {2048, "7fffffffffffffff", TRUC_E_UNSUPPORTED},
        {16384, "010001", TRUC_E_MALFORMED},
    };
    for (size_t i = 0; i < sizeof keys / sizeof keys[0]; i++) {
        struct truc_buffer hex = {0};
        make_rsa_spki(keys[i].bits, keys[i].exponent, &hex);
        assert_int_equal(try_spki((const char *)hex.data), keys[i].wanted);
        truc_buffer_close(&hex);
    }
}

static void no_damage_to_a_key_is_a_crash_or_another_spelling(void **state)
{
    (void)state;
    for (size_t i = 0; i < 3; i++) {
        struct truc_bytes der = truc_key_spki(made[i]);
        uint8_t copy[1024];
        struct truc_key *key = NULL;
        for (size_t size = 0; size < der.size; size++) {
            assert_int_equal(truc_key_from_spki(truc_bytes(der.data, size), &key), TRUC_E_MALFORMED);
            assert_null(key);
        }
        memcpy(copy, der.data, der.size);
        copy[der.size] = 0;
        assert_int_equal(truc_key_from_spki(truc_bytes(copy, der.size + 1), &key), TRUC_E_MALFORMED);
        for (size_t bit = 0; bit < der.size * 8; bit += 3) {
            copy[bit / 8] ^= (uint8_t)(1u << bit % 8);
            if (truc_key_from_spki(truc_bytes(copy, der.size), &key) == TRUC_OK) {
                assert_true(truc_bytes_equal(truc_key_spki(key), truc_bytes(copy, der.size)));
                assert_string_not_equal(truc_key_id(key), truc_key_id(made[i]));
            }
            truc_key_free(&key);
            copy[bit / 8] ^= (uint8_t)(1u << bit % 8);
        }
    }
    struct truc_key *key = NULL;
    uint8_t zeros[2000] = {0};
    assert_int_equal(truc_key_from_spki(truc_bytes(zeros, sizeof zeros), &key), TRUC_E_MALFORMED);
    assert_int_equal(truc_key_from_spki(truc_bytes(NULL, 0), &key), TRUC_E_MALFORMED);
}

static void raw_ed25519_keys_go_both_ways(void **state)
{
    (void)state;
    uint8_t raw[32], back[32];
    struct truc_key *key = NULL;
    assert_int_equal(truc_key_ed25519_raw(made[1], raw), TRUC_OK);
    assert_int_equal(truc_key_from_ed25519(raw, &key), TRUC_OK);
    assert_string_equal(truc_key_id(key), truc_key_id(made[1]));
    assert_int_equal(truc_key_ed25519_raw(key, back), TRUC_OK);
    assert_memory_equal(raw, back, sizeof raw);
    assert_int_equal(truc_key_ed25519_raw(made[0], raw), TRUC_E_INVALID);
    assert_int_equal(truc_key_ed25519_raw(made[2], raw), TRUC_E_INVALID);
    truc_key_free(&key);
}

static void ed25519_keys_under_which_anybody_can_sign_are_refused(void **state)
{
    (void)state;
    uint8_t neutral[32] = {1};
    struct truc_key *key = NULL;
    assert_int_equal(truc_key_from_ed25519(neutral, &key), TRUC_E_UNSUPPORTED);
    neutral[31] = 0x80; /* the sign bit gives it no other point */
    assert_int_equal(truc_key_from_ed25519(neutral, &key), TRUC_E_UNSUPPORTED);
    assert_int_equal(
        try_spki("302a300506032b6570032100c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac03fa"),
        TRUC_E_UNSUPPORTED);
    assert_null(key);
}

/* --- signatures --- */

static void what_a_key_signs_it_verifies_and_nothing_else(void **state)
{
    (void)state;
    for (size_t i = 0; i < 3; i++) {
        struct truc_buffer signature = {0};
        struct truc_key *public = NULL;
        struct truc_bytes message = truc_bytes_of("ho so 0001");
        assert_int_equal(truc_key_from_spki(truc_key_spki(made[i]), &public), TRUC_OK);
        assert_int_equal(truc_buffer_append(&signature, "before", 6), TRUC_OK);
        assert_int_equal(truc_key_sign(made[i], message, &signature), TRUC_OK);
        assert_memory_equal(signature.data, "before", 6);
        struct truc_bytes made_signature = truc_bytes(signature.data + 6, signature.size - 6);
        assert_in_range(made_signature.size, 60, TRUC_SIGNATURE_MAX);
        assert_int_equal(truc_key_verify(public, message, made_signature), TRUC_OK);
        assert_int_equal(truc_key_verify(made[i], message, made_signature), TRUC_OK);

        assert_int_equal(truc_key_verify(public, truc_bytes_of("ho so 0002"), made_signature), TRUC_E_BAD_SIGNATURE);
        for (size_t other = 0; other < 3; other++) {
            assert_int_equal(truc_key_verify(made[other], message, made_signature),
                             other == i ? TRUC_OK : TRUC_E_BAD_SIGNATURE);
        }
        for (size_t size = 0; size < made_signature.size; size++) {
            assert_int_equal(truc_key_verify(public, message, truc_bytes(made_signature.data, size)),
                             TRUC_E_BAD_SIGNATURE);
        }
        signature.data[6 + made_signature.size / 2] ^= 1;
        assert_int_equal(truc_key_verify(public, message, made_signature), TRUC_E_BAD_SIGNATURE);
        signature.data[6 + made_signature.size / 2] ^= 1;
        assert_int_equal(truc_key_verify(public, message, made_signature), TRUC_OK);
        uint8_t zeros[TRUC_SIGNATURE_MAX + 1] = {0};
        assert_int_equal(truc_key_verify(public, message, truc_bytes(zeros, sizeof zeros)), TRUC_E_BAD_SIGNATURE);
        assert_int_equal(truc_key_verify(public, message, truc_bytes(zeros, 64)), TRUC_E_BAD_SIGNATURE);
        truc_key_free(&public);
        truc_buffer_close(&signature);
    }
}

static void nothing_at_all_can_be_signed_too(void **state)
{
    (void)state;
    for (size_t i = 0; i < 3; i++) {
        struct truc_buffer signature = {0};
        assert_int_equal(truc_key_sign(made[i], truc_bytes(NULL, 0), &signature), TRUC_OK);
        assert_int_equal(truc_key_verify(made[i], truc_bytes_of(""), truc_buffer_view(&signature)), TRUC_OK);
        truc_buffer_close(&signature);
    }
}

/* More keys than a thread keeps contexts for, so that they take each other's places, while some are freed. */
static void many_keys_do_not_get_mixed_up(void **state)
{
    (void)state;
    enum { KEYS = 200 };
    struct truc_key *private[KEYS], *public[KEYS];
    struct truc_buffer signatures[KEYS] = {{0}};
    struct truc_bytes message = truc_bytes_of("one message for all");
    for (size_t i = 0; i < KEYS; i++) {
        assert_int_equal(truc_key_generate(TRUC_ALGORITHM_P256, &private[i]), TRUC_OK);
        assert_int_equal(truc_key_from_spki(truc_key_spki(private[i]), &public[i]), TRUC_OK);
        assert_int_equal(truc_key_sign(private[i], message, &signatures[i]), TRUC_OK);
        truc_key_free(&private[i]);
    }
    for (size_t round = 0; round < 2; round++) {
        for (size_t i = 0; i < KEYS; i++) {
            size_t other = (i + 1) % KEYS;
            assert_int_equal(truc_key_verify(public[i], message, truc_buffer_view(&signatures[i])), TRUC_OK);
            assert_int_equal(truc_key_verify(public[i], message, truc_buffer_view(&signatures[other])),
                             TRUC_E_BAD_SIGNATURE);
        }
    }
    for (size_t i = 0; i < KEYS; i++) {
        truc_key_free(&public[i]);
        truc_buffer_close(&signatures[i]);
    }
}

struct job {
    const struct truc_key *keys[3];
    struct truc_buffer signatures[3];
    unsigned wrong;
};

/* cmocka's assertions belong to the main thread: a worker counts. */
static void *verify_often(void *context)
{
    struct job *job = context;
    for (unsigned i = 0; i < 100; i++) {
        for (size_t k = 0; k < 3; k++) {
            struct truc_bytes signature = truc_buffer_view(&job->signatures[k]);
            job->wrong += truc_key_verify(job->keys[k], truc_bytes_of("shared"), signature) != TRUC_OK;
            job->wrong += truc_key_verify(job->keys[k], truc_bytes_of("other"), signature) != TRUC_E_BAD_SIGNATURE;
        }
    }
    struct truc_buffer own = {0};
    for (size_t k = 0; k < 3; k++) {
        truc_buffer_clear(&own);
        job->wrong += truc_key_sign(made[k], truc_bytes_of("mine"), &own) != TRUC_OK;
        job->wrong += truc_key_verify(job->keys[k], truc_bytes_of("mine"), truc_buffer_view(&own)) != TRUC_OK;
    }
    truc_buffer_close(&own);
    return NULL;
}

static void one_key_serves_many_threads_at_a_time(void **state)
{
    (void)state;
    enum { THREADS = 4 };
    pthread_t threads[THREADS];
    struct job jobs[THREADS] = {{.wrong = 0}};
    struct truc_key *public[3];
    for (size_t k = 0; k < 3; k++) {
        assert_int_equal(truc_key_from_spki(truc_key_spki(made[k]), &public[k]), TRUC_OK);
    }
    for (size_t i = 0; i < THREADS; i++) {
        for (size_t k = 0; k < 3; k++) {
            jobs[i].keys[k] = public[k];
            assert_int_equal(truc_key_sign(made[k], truc_bytes_of("shared"), &jobs[i].signatures[k]), TRUC_OK);
        }
        assert_int_equal(pthread_create(&threads[i], NULL, verify_often, &jobs[i]), 0);
    }
    for (size_t i = 0; i < THREADS; i++) {
        assert_int_equal(pthread_join(threads[i], NULL), 0);
        assert_int_equal(jobs[i].wrong, 0);
        for (size_t k = 0; k < 3; k++) {
            truc_buffer_close(&jobs[i].signatures[k]);
        }
    }
    for (size_t k = 0; k < 3; k++) {
        truc_key_free(&public[k]);
    }
}

struct tally {
    size_t valid;
    size_t invalid;
};

static void run_group(const json_t *group, struct tally *tally)
{
    struct truc_buffer der = {0}, message = {0}, signature = {0};
    struct truc_key *key = NULL;
    from_hex(vectors_text(group, "publicKeyDer"), &der);
    assert_int_equal(truc_key_from_spki(truc_buffer_view(&der), &key), TRUC_OK);
    const json_t *test;
    size_t i;
    json_array_foreach(json_object_get(group, "tests"), i, test)
    {
        const char *result = vectors_text(test, "result");
        truc_buffer_clear(&message);
        truc_buffer_clear(&signature);
        from_hex(vectors_text(test, "msg"), &message);
        from_hex(vectors_text(test, "sig"), &signature);
        truc_error error = truc_key_verify(key, truc_buffer_view(&message), truc_buffer_view(&signature));
        bool valid = strcmp(result, "valid") == 0, invalid = strcmp(result, "invalid") == 0;
        if ((valid && error != TRUC_OK) || (invalid && error != TRUC_E_BAD_SIGNATURE)) {
            fail_msg("tcId %.0f (%s): %s", json_real_value(json_object_get(test, "tcId")),
                     vectors_text(test, "comment"), truc_error_string(error));
        }
        tally->valid += valid;
        tally->invalid += invalid;
    }
    truc_key_free(&key);
    truc_buffer_close(&der);
    truc_buffer_close(&message);
    truc_buffer_close(&signature);
}

static void run_wycheproof(const char *name, size_t valid, size_t invalid)
{
    char path[4096];
    struct tally tally = {0};
    vectors_path(name, path, sizeof path);
    json_t *file = vectors_load(path);
    const json_t *group;
    size_t i;
    json_array_foreach(json_object_get(file, "testGroups"), i, group)
    {
        run_group(group, &tally);
    }
    json_decref(file);
    assert_int_equal(tally.valid, valid);
    assert_int_equal(tally.invalid, invalid);
}

static void wycheproof_p256_comes_out_as_it_must(void **state)
{
    (void)state;
    run_wycheproof("wycheproof/ecdsa_secp256r1_sha256_test.json", 174, 310);
}

static void wycheproof_ed25519_comes_out_as_it_must(void **state)
{
    (void)state;
    run_wycheproof("wycheproof/ed25519_test.json", 88, 63);
}

static void wycheproof_rsa_comes_out_as_it_must(void **state)
{
    (void)state;
    run_wycheproof("wycheproof/rsa_signature_2048_sha256_test.json", 9, 249);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sha256_gives_the_published_answers),
        cmocka_unit_test(parts_hash_as_the_whole),
        cmocka_unit_test(random_bytes_fill_all_that_was_asked),
        cmocka_unit_test(a_wiped_secret_is_gone),
        cmocka_unit_test(algorithms_have_names),
        cmocka_unit_test(a_public_half_is_the_same_key_without_the_secret),
        cmocka_unit_test(a_key_lives_until_its_last_owner_lets_go),
        cmocka_unit_test(only_one_spelling_of_a_p256_key_is_taken),
        cmocka_unit_test(other_curves_and_schemes_are_refused),
        cmocka_unit_test(rsa_keys_have_bounds),
        cmocka_unit_test(no_damage_to_a_key_is_a_crash_or_another_spelling),
        cmocka_unit_test(raw_ed25519_keys_go_both_ways),
        cmocka_unit_test(ed25519_keys_under_which_anybody_can_sign_are_refused),
        cmocka_unit_test(what_a_key_signs_it_verifies_and_nothing_else),
        cmocka_unit_test(nothing_at_all_can_be_signed_too),
        cmocka_unit_test(many_keys_do_not_get_mixed_up),
        cmocka_unit_test(one_key_serves_many_threads_at_a_time),
        cmocka_unit_test(wycheproof_p256_comes_out_as_it_must),
        cmocka_unit_test(wycheproof_ed25519_comes_out_as_it_must),
        cmocka_unit_test(wycheproof_rsa_comes_out_as_it_must),
    };
    return cmocka_run_group_tests(tests, make_keys, free_keys);
}
