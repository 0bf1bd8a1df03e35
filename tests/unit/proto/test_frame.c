/* Frames, and the arena that bounds what a peer's header may unpack to. */
#include "truc/frame.h"

#include "tests/unit/proto/support.h"

#define LIMIT ((size_t)1 << 20)

static struct truc_frame_head head;

static truc_error parse_hex(const char *hex)
{
    struct truc_buffer bytes = support_unhex(hex);
    struct truc_bytes copy = support_exact_copy(truc_buffer_view(&bytes));
    truc_error error = truc_frame_parse(copy, &head);
    support_free_copy(copy);
    truc_buffer_close(&bytes);
    return error;
}

/* Unpacks hex as a message of `kind`, from an exact allocation. */
static truc_error unpack_hex(struct truc_arena *arena, unsigned kind, const char *hex)
{
    struct truc_buffer bytes = support_unhex(hex);
    struct truc_bytes copy = support_exact_copy(truc_buffer_view(&bytes));
    ProtobufCMessage *message = NULL;
    truc_error error = truc_unpack(arena, truc_frame_descriptor(kind), copy, &message);
    assert_true((error == TRUC_OK) == (message != NULL));
    support_free_copy(copy);
    truc_buffer_close(&bytes);
    return error;
}

static int open_arena(void **state)
{
    return truc_arena_new(LIMIT, (struct truc_arena **)state) == TRUC_OK ? 0 : -1;
}

static int close_arena(void **state)
{
    truc_arena_free((struct truc_arena **)state);
    return *state == NULL ? 0 : -1;
}

static void test_a_frame_goes_there_and_back(void **state)
{
    struct truc_arena *arena = *state;
    struct truc_buffer out = {0}, expected = support_unhex("01090000"
                                                           "08ac02");
    Truc__V1__Ping ping = TRUC__V1__PING__INIT;
    ProtobufCMessage *message = NULL;
    ping.token = 300;
    assert_int_equal(truc_frame_encode(TRUC_FRAME_PING, 0, &ping.base, &out), TRUC_OK);
    assert_int_equal(out.size, expected.size);
    assert_memory_equal(out.data, expected.data, out.size);
    assert_int_equal(truc_frame_parse(truc_buffer_view(&out), &head), TRUC_OK);
    assert_int_equal(head.kind, TRUC_FRAME_PING);
    assert_int_equal(head.flags, 0);
    assert_int_equal(truc_unpack(arena, truc_frame_descriptor(head.kind), head.message, &message), TRUC_OK);
    assert_int_equal(((Truc__V1__Ping *)message)->token, 300);
    truc_buffer_close(&out);
    truc_buffer_close(&expected);
}

static void test_names_and_kinds(void **state)
{
    (void)state;
    assert_string_equal(truc_frame_name(TRUC_FRAME_SUBMIT), "SUBMIT");
    assert_string_equal(truc_frame_name(TRUC_FRAME_PONG), "PONG");
    for (unsigned kind = 0; kind < 300; kind++) {
        bool known = (kind >= 1 && kind <= 11) || (kind >= 33 && kind <= 40);
        bool body = kind == TRUC_FRAME_SUBMIT || kind == TRUC_FRAME_DATA || kind == TRUC_FRAME_DELIVER ||
                    kind == TRUC_FRAME_ANSWER;
        assert_true((strcmp(truc_frame_name(kind), "UNKNOWN") != 0) == known);
        assert_true((truc_frame_descriptor(kind) != NULL) == (known && kind != TRUC_FRAME_DATA));
        assert_true(truc_frame_has_body(kind) == body);
    }
}

static void test_encode_wants_the_kinds_own_message(void **state)
{
    (void)state;
    struct truc_buffer out = {0};
    Truc__V1__Ping ping = TRUC__V1__PING__INIT;
    Truc__V1__Submit submit = TRUC__V1__SUBMIT__INIT;
    assert_int_equal(truc_frame_encode(TRUC_FRAME_PONG, 0, &ping.base, &out), TRUC_E_INVALID);
    assert_int_equal(truc_frame_encode(TRUC_FRAME_PING, 0, NULL, &out), TRUC_E_INVALID);
    assert_int_equal(truc_frame_encode(TRUC_FRAME_DATA, 0, &ping.base, &out), TRUC_E_INVALID);
    assert_int_equal(truc_frame_encode((enum truc_frame_kind)12, 0, NULL, &out), TRUC_E_INVALID);
    assert_int_equal(truc_frame_encode(TRUC_FRAME_PING, TRUC_FRAME_MORE, &ping.base, &out), TRUC_E_INVALID);
    assert_int_equal(truc_frame_encode(TRUC_FRAME_SUBMIT, 2, &submit.base, &out), TRUC_E_INVALID);
    assert_int_equal(out.size, 0);
    assert_int_equal(truc_frame_encode(TRUC_FRAME_SUBMIT, TRUC_FRAME_MORE, &submit.base, &out), TRUC_OK);
    assert_int_equal(truc_frame_encode(TRUC_FRAME_DATA, TRUC_FRAME_MORE, NULL, &out), TRUC_OK);
    assert_int_equal(out.size, 2 * TRUC_FRAME_PREFIX);
    truc_buffer_close(&out);
}

static void test_hostile_prefixes(void **state)
{
    (void)state;
    assert_int_equal(parse_hex("01090000"), TRUC_OK);
    assert_int_equal(parse_hex("010b0100"), TRUC_OK); /* DATA, more follows */
    assert_int_equal(parse_hex(""), TRUC_E_MALFORMED);
    assert_int_equal(parse_hex("010900"), TRUC_E_MALFORMED);
    assert_int_equal(parse_hex("00090000"), TRUC_E_UNSUPPORTED);
    assert_int_equal(parse_hex("02090000"), TRUC_E_UNSUPPORTED);
    assert_int_equal(parse_hex("01000000"), TRUC_E_UNSUPPORTED);
    assert_int_equal(parse_hex("010c0000"), TRUC_E_UNSUPPORTED);
    assert_int_equal(parse_hex("01290000"), TRUC_E_UNSUPPORTED);
    assert_int_equal(parse_hex("01ff0000"), TRUC_E_UNSUPPORTED);
    assert_int_equal(parse_hex("01090200"), TRUC_E_MALFORMED);
    assert_int_equal(parse_hex("01090100"), TRUC_E_MALFORMED); /* MORE of a kind without a body */
    assert_int_equal(parse_hex("01090001"), TRUC_E_MALFORMED);
    assert_int_equal(parse_hex("010b000000"), TRUC_E_MALFORMED); /* DATA with a message */
}

static void test_strings_and_fields_are_checked_before_unpacking(void **state)
{
    struct truc_arena *arena = *state;
    assert_int_equal(unpack_hex(arena, TRUC_FRAME_NACK, ""), TRUC_OK);
    assert_int_equal(unpack_hex(arena, TRUC_FRAME_NACK, "22026f6b"), TRUC_OK);
    assert_int_equal(unpack_hex(arena, TRUC_FRAME_NACK, "22026fff"), TRUC_E_MALFORMED);   /* not UTF-8 */
    assert_int_equal(unpack_hex(arena, TRUC_FRAME_NACK, "22036f006b"), TRUC_E_MALFORMED); /* a NUL inside */
    assert_int_equal(unpack_hex(arena, TRUC_FRAME_NACK, "22016f22016f"), TRUC_E_MALFORMED);
    assert_int_equal(unpack_hex(arena, TRUC_FRAME_NACK, "0881808000"), TRUC_E_MALFORMED); /* overlong */
    assert_int_equal(unpack_hex(arena, TRUC_FRAME_NACK, "08ffffffffffffffffff7f"), TRUC_E_MALFORMED);
    assert_int_equal(unpack_hex(arena, TRUC_FRAME_NACK, "22056f"), TRUC_E_MALFORMED);
    assert_int_equal(unpack_hex(arena, TRUC_FRAME_NACK, "0a0131"), TRUC_E_MALFORMED); /* bytes for a number */
    assert_int_equal(unpack_hex(arena, TRUC_FRAME_NACK, "0b0c"), TRUC_E_MALFORMED);   /* a group */
    assert_int_equal(unpack_hex(arena, TRUC_FRAME_NACK, "7a0131"), TRUC_OK);          /* an unknown field */
    assert_int_equal(unpack_hex(arena, TRUC_FRAME_NACK, "7d00000000"), TRUC_OK);
    assert_int_equal(unpack_hex(arena, TRUC_FRAME_NACK, "7d000000"), TRUC_E_MALFORMED);
    assert_int_equal(unpack_hex(arena, TRUC_FRAME_QUERY, "1a070a0161120162"), TRUC_E_MALFORMED);
    assert_int_equal(unpack_hex(arena, TRUC_FRAME_QUERY, "1a060a01611201ff"), TRUC_E_MALFORMED);
    assert_int_equal(unpack_hex(arena, TRUC_FRAME_QUERY, "1a060a01611201621a060a0161120163"), TRUC_OK);
}

static void test_no_cut_message_is_read_over(void **state)
{
    struct truc_arena *arena = *state;
    struct truc_buffer out = {0};
    uint8_t envelope_bytes[40] = {1}, node[32] = {2};
    Truc__V1__DeliverItem item = TRUC__V1__DELIVER_ITEM__INIT, *items[] = {&item};
    Truc__V1__DeliverGroup group = TRUC__V1__DELIVER_GROUP__INIT, *groups[] = {&group};
    Truc__V1__Deliver deliver = TRUC__V1__DELIVER__INIT;
    ProtobufCBinaryData nodes[] = {{sizeof node, node}};
    item.number = 1000;
    item.attempt = 300;
    group.envelope = (ProtobufCBinaryData){sizeof envelope_bytes, envelope_bytes};
    group.items = items;
    group.n_items = 1;
    group.nodes = nodes;
    group.n_nodes = 1;
    deliver.lease = 7;
    deliver.groups = groups;
    deliver.n_groups = 1;
    assert_int_equal(truc_frame_encode(TRUC_FRAME_DELIVER, 0, &deliver.base, &out), TRUC_OK);
    size_t refused = 0;
    for (size_t size = 0; size <= out.size; size++) {
        struct truc_bytes cut = support_exact_copy(truc_bytes(out.data, size));
        ProtobufCMessage *message = NULL;
        truc_error error = truc_frame_parse(cut, &head);
        if (error == TRUC_OK) {
            error = truc_unpack(arena, truc_frame_descriptor(head.kind), head.message, &message);
        }
        refused += error == TRUC_E_MALFORMED;
        if (size == out.size) {
            Truc__V1__Deliver *whole = (Truc__V1__Deliver *)message;
            assert_int_equal(error, TRUC_OK);
            assert_int_equal(whole->groups[0]->items[0]->attempt, 300);
        }
        support_free_copy(cut);
        truc_arena_reset(arena);
    }
    /* all but: an empty message, the lease alone, the whole */
    assert_int_equal(refused, out.size + 1 - 3);
    truc_buffer_close(&out);
}

/* 64 KiB of AckRanges of two bytes each would unpack to some 3 MiB: it must stop at the limit, and the arena must serve
 * the next frame. */
static void test_tiny_ranges_do_not_grow_beyond_the_limit(void **state)
{
    struct truc_arena *arena = *state;
    const ProtobufCMessageDescriptor *ack = truc_frame_descriptor(TRUC_FRAME_ACK);
    static uint8_t header[TRUC_HEADER_MAX];
    ProtobufCMessage *message = NULL;
    for (size_t i = 0; i < sizeof header; i += 2) {
        header[i] = 0x0a;
        header[i + 1] = 0;
    }
    for (int turn = 0; turn < 3; turn++) {
        assert_int_equal(truc_unpack(arena, ack, truc_bytes(header, sizeof header), &message), TRUC_E_TOO_LARGE);
        truc_arena_reset(arena);
        assert_int_equal(truc_unpack(arena, ack, truc_bytes(header, 2000), &message), TRUC_OK);
        assert_int_equal(((Truc__V1__Ack *)message)->n_ranges, 1000);
        truc_arena_reset(arena);
    }
}

static void test_the_limit_is_kept_over_several_messages(void **state)
{
    (void)state;
    struct truc_arena *small = NULL;
    size_t taken = 0;
    assert_int_equal(truc_arena_new(10000, &small), TRUC_OK);
    while (unpack_hex(small, TRUC_FRAME_PING, "0801") == TRUC_OK) {
        taken++;
        assert_true(taken * sizeof(Truc__V1__Ping) <= 10000);
    }
    assert_true(taken > 100);
    assert_int_equal(unpack_hex(small, TRUC_FRAME_PING, "0801"), TRUC_E_TOO_LARGE);
    truc_arena_reset(small);
    assert_int_equal(unpack_hex(small, TRUC_FRAME_PING, "0801"), TRUC_OK);
    truc_arena_free(&small);
    assert_null(small);
    truc_arena_free(&small); /* twice is harmless */

    assert_int_equal(truc_arena_new(0, &small), TRUC_OK);
    assert_int_equal(unpack_hex(small, TRUC_FRAME_PING, "0801"), TRUC_E_TOO_LARGE);
    truc_arena_free(&small);
}

static void test_a_long_message_spans_blocks(void **state)
{
    struct truc_arena *arena = *state;
    static uint8_t text[300000];
    struct truc_buffer out = {0};
    Truc__V1__Submit submit = TRUC__V1__SUBMIT__INIT;
    ProtobufCMessage *message = NULL;
    memset(text, 'x', sizeof text);
    submit.envelope = (ProtobufCBinaryData){sizeof text, text};
    assert_int_equal(truc_frame_encode(TRUC_FRAME_SUBMIT, 0, &submit.base, &out), TRUC_OK);
    assert_int_equal(truc_frame_parse(truc_buffer_view(&out), &head), TRUC_OK);
    assert_int_equal(truc_unpack(arena, truc_frame_descriptor(TRUC_FRAME_SUBMIT), head.message, &message), TRUC_OK);
    assert_int_equal(((Truc__V1__Submit *)message)->envelope.len, sizeof text);
    assert_memory_equal(((Truc__V1__Submit *)message)->envelope.data, text, sizeof text);
    truc_buffer_close(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_a_frame_goes_there_and_back, open_arena, close_arena),
        cmocka_unit_test(test_names_and_kinds),
        cmocka_unit_test(test_encode_wants_the_kinds_own_message),
        cmocka_unit_test(test_hostile_prefixes),
        cmocka_unit_test_setup_teardown(test_strings_and_fields_are_checked_before_unpacking, open_arena, close_arena),
        cmocka_unit_test_setup_teardown(test_no_cut_message_is_read_over, open_arena, close_arena),
        cmocka_unit_test_setup_teardown(test_tiny_ranges_do_not_grow_beyond_the_limit, open_arena, close_arena),
        cmocka_unit_test(test_the_limit_is_kept_over_several_messages),
        cmocka_unit_test_setup_teardown(test_a_long_message_spans_blocks, open_arena, close_arena),
    };
    return cmocka_run_group_tests_name("frame", tests, NULL, NULL);
}
