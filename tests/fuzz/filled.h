/* Messages for seeds, filled by their descriptors without knowing the schema: the mutations find the rest. */
#ifndef TRUC_TESTS_FUZZ_FILLED_H
#define TRUC_TESTS_FUZZ_FILLED_H

#include "tests/fuzz/fuzz.h"

#include <protobuf-c/protobuf-c.h>

#define FUZZ_FILL_DEPTH 4

struct fuzz_fill {
    const char *text;      /* of every string but types */
    const char *type;      /* of strings whose name says that they are a type */
    struct truc_bytes key; /* of bytes whose name says that they are a public key */
};

static inline ProtobufCMessage *fuzz_filled(const ProtobufCMessageDescriptor *descriptor, const struct fuzz_fill *fill,
                                            unsigned depth);

static inline void fuzz_fill_field(const ProtobufCFieldDescriptor *field, const struct fuzz_fill *fill, unsigned depth,
                                   char *place)
{
    static uint8_t bytes[32] = {1, 2, 3};
    if (field->type == PROTOBUF_C_TYPE_MESSAGE) {
        ProtobufCMessage *child = fuzz_filled(field->descriptor, fill, depth + 1);
        memcpy(place, &child, sizeof child);
    } else if (field->type == PROTOBUF_C_TYPE_STRING) {
        const char *text = strstr(field->name, "type") != NULL ? fill->type : fill->text;
        memcpy(place, &text, sizeof text);
    } else if (field->type == PROTOBUF_C_TYPE_BYTES) {
        bool is_key = strstr(field->name, "spki") != NULL || strstr(field->name, "public") != NULL;
        const ProtobufCBinaryData value = {is_key ? fill->key.size : sizeof bytes,
                                           is_key ? (uint8_t *)(uintptr_t)fill->key.data : bytes};
        memcpy(place, &value, sizeof value);
    } else if (field->type != PROTOBUF_C_TYPE_DOUBLE && field->type != PROTOBUF_C_TYPE_FLOAT) {
        *(uint8_t *)place = 1; /* a small number in every width */
    }
}

/* Every field set, repeated ones with one element; of a oneof none. Left to the process's end: seeds are made once. */
static inline ProtobufCMessage *fuzz_filled(const ProtobufCMessageDescriptor *descriptor, const struct fuzz_fill *fill,
                                            unsigned depth)
{
    ProtobufCMessage *message = calloc(1, descriptor->sizeof_message);
    FUZZ_CHECK(message != NULL);
    protobuf_c_message_init(descriptor, message);
    for (unsigned i = 0; i < descriptor->n_fields && depth < FUZZ_FILL_DEPTH; i++) {
        const ProtobufCFieldDescriptor *field = &descriptor->fields[i];
        char *place = (char *)message + field->offset;
        if ((field->flags & PROTOBUF_C_FIELD_FLAG_ONEOF) != 0) {
            continue;
        }
        if (field->label == PROTOBUF_C_LABEL_REPEATED) {
            char *list = calloc(1, sizeof(ProtobufCBinaryData)); /* the widest element */
            FUZZ_CHECK(list != NULL);
            fuzz_fill_field(field, fill, depth, list);
            memcpy(place, &list, sizeof list);
            *(size_t *)((char *)message + field->quantifier_offset) = 1;
        } else {
            fuzz_fill_field(field, fill, depth, place);
        }
    }
    return message;
}

#endif
