/* Data of typed events against their schemas. Input: the type's number, the data's kind, the content type, the data. */
#include "tests/fuzz/filled.h"
#include "truc/frame.h"
#include "truc/payload.h"

static struct truc_arena *arena;

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct fuzz fuzz = fuzz_of(data, size);
    const char *known = truc_payload_type(fuzz_u8(&fuzz));
    uint8_t kind = fuzz_u8(&fuzz) % 4;
    struct truc_bytes type = known != NULL ? truc_bytes_of(known) : fuzz_part(&fuzz);
    struct truc_bytes content = kind == 0 ? truc_bytes_of(TRUC_PAYLOAD_CONTENT_TYPE) : fuzz_part(&fuzz);
    struct truc_bytes rest = fuzz_rest(&fuzz);
    ProtobufCMessage *message;
    char why[256] = "";
    if (arena == NULL) {
        FUZZ_OK(truc_arena_new(64u << 20, &arena));
    }
    truc_arena_reset(arena);
    truc_error error = truc_payload_check(
        type, kind == 0 ? TRUC_DATA_BINARY : (enum truc_data_kind[]){0, 6, 7, 8}[kind], rest, content, why);
    FUZZ_CHECK((error == TRUC_OK) == (why[0] == '\0') && memchr(why, '\0', sizeof why) != NULL);
    const ProtobufCMessageDescriptor *descriptor = truc_payload_descriptor(type);
    if (error == TRUC_OK && descriptor != NULL) {
        /* What the checker passes, every reader reads. */
        FUZZ_OK(truc_unpack(arena, descriptor, rest, &message));
    }
    FUZZ_CHECK(truc_payload_check(type, TRUC_DATA_BINARY, rest, content, NULL) == TRUC_OK || descriptor != NULL);
    (void)truc_dossier_code_is_valid(rest);
    (void)truc_day_is_valid(rest);
    return 0;
}

void fuzz_seeds(void)
{
    const struct fuzz_fill fill = {.text = "H14.09-20260609-0000123", .type = "a.v1"};
    const char *type;
    for (size_t i = 0; (type = truc_payload_type(i)) != NULL; i++) {
        const ProtobufCMessageDescriptor *descriptor = truc_payload_descriptor(truc_bytes_of(type));
        const ProtobufCMessage *message = fuzz_filled(descriptor, &fill, 0);
        struct truc_buffer out = {0};
        fuzz_put_u8(&out, (unsigned)i);
        fuzz_put_u8(&out, 0);
        FUZZ_OK(truc_buffer_reserve(&out, protobuf_c_message_get_packed_size(message)));
        out.size += protobuf_c_message_pack(message, out.data + out.size);
        fuzz_seed(type, truc_buffer_view(&out));
        truc_buffer_close(&out);
    }
}
