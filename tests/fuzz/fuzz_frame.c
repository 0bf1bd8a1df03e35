/* Part 1 of a message, as both sides read it: the prefix, then the kind's protobuf message into a bounded arena. */
#include "tests/fuzz/filled.h"
#include "truc/frame.h"

#define ARENA (256u << 10)

static struct truc_arena *arena;

/* What was unpacked is packed again and gives the same message: nothing of it was read beyond its end or twice. */
static void check_again(const ProtobufCMessageDescriptor *descriptor, const ProtobufCMessage *message)
{
    struct truc_arena *second;
    ProtobufCMessage *again;
    size_t size = protobuf_c_message_get_packed_size(message);
    uint8_t *packed = malloc(size + 1), *repacked = malloc(size + 1);
    FUZZ_CHECK(packed != NULL && repacked != NULL);
    FUZZ_CHECK(protobuf_c_message_pack(message, packed) == size);
    FUZZ_OK(truc_arena_new(ARENA * 4, &second));
    FUZZ_OK(truc_unpack(second, descriptor, truc_bytes(packed, size), &again));
    FUZZ_CHECK(protobuf_c_message_get_packed_size(again) == size);
    FUZZ_CHECK(protobuf_c_message_pack(again, repacked) == size);
    FUZZ_CHECK(memcmp(packed, repacked, size) == 0);
    truc_arena_free(&second);
    free(packed);
    free(repacked);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct truc_frame_head head;
    ProtobufCMessage *message;
    if (arena == NULL) {
        FUZZ_OK(truc_arena_new(ARENA, &arena));
    }
    truc_arena_reset(arena);
    if (truc_frame_parse(truc_bytes(data, size), &head) != TRUC_OK) {
        return 0;
    }
    FUZZ_CHECK(strcmp(truc_frame_name(head.kind), "UNKNOWN") != 0);
    const ProtobufCMessageDescriptor *descriptor = truc_frame_descriptor(head.kind);
    if (descriptor != NULL && truc_unpack(arena, descriptor, head.message, &message) == TRUC_OK) {
        check_again(descriptor, message);
    }
    return 0;
}

void fuzz_seeds(void)
{
    const struct fuzz_fill fill = {.text = "H14.09", .type = "dossier.*"};
    for (unsigned kind = 0; kind < 256; kind++) {
        const ProtobufCMessageDescriptor *descriptor = truc_frame_descriptor(kind);
        struct truc_buffer out = {0};
        ProtobufCMessage *message = NULL;
        if (strcmp(truc_frame_name(kind), "UNKNOWN") == 0) {
            continue;
        }
        if (descriptor != NULL) {
            message = fuzz_filled(descriptor, &fill, 0);
        }
        FUZZ_OK(truc_frame_encode((enum truc_frame_kind)kind, 0, message, &out));
        fuzz_seed(truc_frame_name(kind), truc_buffer_view(&out));
        truc_buffer_close(&out);
    }
}
