/* Z85 as ZeroMQ's RFC 32 writes it, and CURVE keys that libzmq itself takes for a pair. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "truc/crypto.h"

#include <zmq.h>

static void the_published_example(void **state)
{
    static const uint8_t bytes[8] = {0x86, 0x4f, 0xd2, 0x6f, 0xb5, 0x59, 0xf7, 0x5b};
    uint8_t back[8];
    char text[11];
    (void)state;
    assert_int_equal(truc_z85_encode(truc_bytes(bytes, 8), text), TRUC_OK);
    assert_string_equal(text, "HelloWorld");
    assert_int_equal(truc_z85_decode(truc_bytes_of("HelloWorld"), back, 8), TRUC_OK);
    assert_memory_equal(back, bytes, 8);
}

static void what_is_not_z85_is_refused(void **state)
{
    uint8_t out[8];
    char text[11];
    (void)state;
    assert_int_equal(truc_z85_encode(truc_bytes("abc", 3), text), TRUC_E_INVALID);
    assert_int_equal(truc_z85_decode(truc_bytes_of("HelloWorl"), out, 8), TRUC_E_MALFORMED);
    assert_int_equal(truc_z85_decode(truc_bytes_of("HelloWorldHello"), out, 8), TRUC_E_MALFORMED);
    assert_int_equal(truc_z85_decode(truc_bytes_of("Hello World"), out, 8), TRUC_E_MALFORMED);
    assert_int_equal(truc_z85_decode(truc_bytes_of("Hello\"orld"), out, 8), TRUC_E_MALFORMED);
    assert_int_equal(truc_z85_decode(truc_bytes("Hello\0orld", 10), out, 8), TRUC_E_MALFORMED);
    assert_int_equal(truc_z85_decode(truc_bytes_of("%nSc0"), out, 4), TRUC_OK); /* ff ff ff ff */
    assert_int_equal(out[0] & out[1] & out[2] & out[3], 0xff);
    assert_int_equal(truc_z85_decode(truc_bytes_of("%nSc1"), out, 4), TRUC_E_MALFORMED); /* one more */
}

static void a_key_pair_is_one_for_libzmq_too(void **state)
{
    char public_key[TRUC_TRANSPORT_KEY_TEXT], secret[TRUC_TRANSPORT_KEY_TEXT], derived[41], other[41];
    (void)state;
    assert_int_equal(truc_transport_keypair(public_key, secret), TRUC_OK);
    assert_int_equal(strlen(public_key), 40);
    assert_int_equal(zmq_curve_public(derived, secret), 0);
    assert_string_equal(derived, public_key);
    assert_int_equal(truc_transport_keypair(other, secret), TRUC_OK);
    assert_string_not_equal(other, public_key);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_published_example),
        cmocka_unit_test(what_is_not_z85_is_refused),
        cmocka_unit_test(a_key_pair_is_one_for_libzmq_too),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
