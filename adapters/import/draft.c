#include "adapters/import/draft.h"

#include "truc/frame.h"
#include "truc/payload.h"

#include <errno.h>
#include <math.h>

static void derive_salt(const struct import_draft *draft, const struct draft_key *key, uint8_t salt[TRUC_SALT_SIZE])
{
    uint8_t lengths[2][4];
    struct truc_hash hash;
    const struct truc_bytes texts[2] = {draft->source, draft->id};
    for (size_t i = 0; i < 2; i++) {
        for (size_t j = 0; j < 4; j++) {
            lengths[i][j] = (uint8_t)(texts[i].size >> (24 - 8 * j));
        }
    }
    const struct truc_bytes parts[] = {truc_bytes(key->bytes, sizeof key->bytes), truc_bytes(lengths[0], 4), texts[0],
                                       truc_bytes(lengths[1], 4), texts[1]};
    truc_sha256_parts(&hash, parts, sizeof parts / sizeof parts[0]);
    memcpy(salt, hash.bytes, TRUC_SALT_SIZE);
}

truc_error import_event_make(const struct import_draft *draft, const struct draft_key *key, struct truc_buffer *out)
{
    struct truc_event event;
    uint8_t salt[TRUC_SALT_SIZE];
    memset(&event, 0, offsetof(struct truc_event, attributes));
    event.id = draft->id;
    event.source = draft->source;
    event.type = draft->type;
    event.data = draft->data;
    event.data_kind = draft->data_is_json ? TRUC_DATA_TEXT : TRUC_DATA_BINARY;
    derive_salt(draft, key, salt);
    truc_error error = truc_event_set_bytes(&event, "salt", truc_bytes(salt, sizeof salt));
    if (error == TRUC_OK) {
        error =
            truc_event_set_text(&event, "datacontenttype",
                                truc_bytes_of(draft->data_is_json ? "application/json" : TRUC_PAYLOAD_CONTENT_TYPE));
    }
    if (error == TRUC_OK && draft->subject.size > 0) {
        error = truc_event_set_text(&event, "subject", draft->subject);
    }
    if (error == TRUC_OK && draft->recipients.size > 0) {
        error = truc_event_set_text(&event, "recipients", draft->recipients);
    }
    if (error == TRUC_OK && draft->has_time) {
        error = truc_event_set_time(&event, "time", draft->time_us);
    }
    if (error == TRUC_OK && draft->has_expires) {
        error = truc_event_set_time(&event, "expires", draft->expires_us);
    }
    return error == TRUC_OK ? truc_event_encode(&event, out) : error;
}

/* ---- fields by path ---------------------------------------------------------------------------------------------- */

static const ProtobufCFieldDescriptor *field_named(const ProtobufCMessageDescriptor *descriptor, const char *name,
                                                   size_t length)
{
    for (unsigned i = 0; i < descriptor->n_fields; i++) {
        const char *known = descriptor->fields[i].name;
        if (strlen(known) == length && memcmp(known, name, length) == 0) {
            return descriptor->fields[i].label == PROTOBUF_C_LABEL_REPEATED ? NULL : &descriptor->fields[i];
        }
    }
    return NULL;
}

bool import_field_exists(const ProtobufCMessageDescriptor *descriptor, const char *path)
{
    for (;;) {
        size_t length = strcspn(path, ".");
        const ProtobufCFieldDescriptor *field = field_named(descriptor, path, length);
        if (field == NULL || (path[length] == '.') != (field->type == PROTOBUF_C_TYPE_MESSAGE)) {
            return false;
        }
        if (path[length] == '\0') {
            return true;
        }
        descriptor = field->descriptor;
        path += length + 1;
    }
}

ProtobufCMessage *import_message_new(const ProtobufCMessageDescriptor *descriptor, struct truc_arena *arena)
{
    ProtobufCMessage *message = truc_arena_alloc(arena, descriptor->sizeof_message);
    if (message != NULL) {
        protobuf_c_message_init(descriptor, message);
    }
    return message;
}

static bool whole_number(const char *text, int64_t minimum, int64_t maximum, int64_t *out)
{
    char *end;
    errno = 0;
    if (text[0] != '-' && (text[0] < '0' || text[0] > '9')) {
        return false;
    }
    long long value = strtoll(text, &end, 10);
    *out = value;
    return errno == 0 && *end == '\0' && value >= minimum && value <= maximum;
}

/* "ONLINE" for CHANNEL_ONLINE: what stands before is the same for every value of the enum, as in its first one's
 * ..._UNSPECIFIED. */
static bool enum_value(const ProtobufCEnumDescriptor *descriptor, const char *text, int *out)
{
    int64_t number;
    if (whole_number(text, 0, INT32_MAX, &number)) {
        *out = (int)number;
        return protobuf_c_enum_descriptor_get_value(descriptor, *out) != NULL;
    }
    for (unsigned i = 0; i < descriptor->n_values; i++) {
        const char *name = descriptor->values[i].name;
        size_t length = strlen(name), wanted = strlen(text);
        if (wanted > 0 && wanted <= length && strcmp(name + length - wanted, text) == 0 &&
            (wanted == length || name[length - wanted - 1] == '_')) {
            *out = descriptor->values[i].value;
            return true;
        }
    }
    return false;
}

static truc_error set_bytes(ProtobufCBinaryData *member, struct truc_bytes text, struct truc_arena *arena)
{
    uint8_t *data = truc_arena_alloc(arena, text.size / 2 + 1);
    if (data == NULL) {
        return TRUC_E_TOO_LARGE;
    }
    *member = (ProtobufCBinaryData){text.size / 2, data};
    return text.size % 2 == 0 ? truc_unhex(text, data, text.size / 2) : TRUC_E_MALFORMED;
}

/* `text` ends in NUL; a view of it without. */
static truc_error set_value(void *member, const ProtobufCFieldDescriptor *field, char *text, struct truc_bytes view,
                            struct truc_arena *arena)
{
    int64_t number = 0;
    int value;
    bool good = false;
    char *end;
    switch (field->type) {
    case PROTOBUF_C_TYPE_STRING:
        memcpy(member, &text, sizeof text);
        return TRUC_OK;
    case PROTOBUF_C_TYPE_BYTES:
        return set_bytes(member, view, arena);
    case PROTOBUF_C_TYPE_INT64:
    case PROTOBUF_C_TYPE_UINT64:
        good = whole_number(text, field->type == PROTOBUF_C_TYPE_INT64 ? INT64_MIN : 0, INT64_MAX, &number);
        memcpy(member, &number, sizeof number);
        break;
    case PROTOBUF_C_TYPE_UINT32:
    case PROTOBUF_C_TYPE_INT32:
        good = whole_number(text, field->type == PROTOBUF_C_TYPE_INT32 ? INT32_MIN : 0,
                            field->type == PROTOBUF_C_TYPE_INT32 ? INT32_MAX : UINT32_MAX, &number);
        memcpy(member, &(uint32_t){(uint32_t)number}, sizeof(uint32_t));
        break;
    case PROTOBUF_C_TYPE_ENUM:
        good = enum_value(field->descriptor, text, &value);
        if (good) {
            memcpy(member, &value, sizeof value);
        }
        break;
    case PROTOBUF_C_TYPE_BOOL:
        good = strcmp(text, "true") == 0 || strcmp(text, "false") == 0;
        memcpy(member, &(protobuf_c_boolean){text[0] == 't'}, sizeof(protobuf_c_boolean));
        break;
    case PROTOBUF_C_TYPE_DOUBLE: {
        double real = strtod(text, &end);
        good = *end == '\0' && isfinite(real);
        memcpy(member, &real, sizeof real);
        break;
    }
    case PROTOBUF_C_TYPE_SINT32:
    case PROTOBUF_C_TYPE_SFIXED32:
    case PROTOBUF_C_TYPE_SINT64:
    case PROTOBUF_C_TYPE_SFIXED64:
    case PROTOBUF_C_TYPE_FIXED32:
    case PROTOBUF_C_TYPE_FIXED64:
    case PROTOBUF_C_TYPE_FLOAT:
    case PROTOBUF_C_TYPE_MESSAGE:
        break; /* no schema has them, or no text is a value of it */
    }
    return good ? TRUC_OK : TRUC_E_MALFORMED;
}

truc_error import_field_set(ProtobufCMessage *message, const char *path, struct truc_bytes text,
                            struct truc_arena *arena)
{
    const ProtobufCFieldDescriptor *field;
    char *place;
    if (!import_field_exists(message->descriptor, path)) {
        return TRUC_E_NOT_FOUND;
    }
    for (;;) {
        size_t length = strcspn(path, ".");
        field = field_named(message->descriptor, path, length);
        place = (char *)message + field->offset;
        if (path[length] == '\0') {
            break;
        }
        ProtobufCMessage *child;
        memcpy(&child, place, sizeof child);
        if (child == NULL) {
            child = import_message_new(field->descriptor, arena);
            if (child == NULL) {
                return TRUC_E_TOO_LARGE;
            }
            memcpy(place, &child, sizeof child);
        }
        message = child;
        path += length + 1;
    }
    char *copy = truc_arena_alloc(arena, text.size + 1);
    if (copy == NULL) {
        return TRUC_E_TOO_LARGE;
    }
    if (text.size > 0) {
        memcpy(copy, text.data, text.size);
    }
    if (strlen(copy) != text.size) {
        return TRUC_E_MALFORMED;
    }
    if ((field->flags & PROTOBUF_C_FIELD_FLAG_ONEOF) != 0) {
        memcpy((char *)message + field->quantifier_offset, &field->id, sizeof field->id);
    }
    return set_value(place, field, copy, text, arena);
}

truc_error import_message_pack(const ProtobufCMessage *message, struct truc_buffer *out)
{
    size_t size = protobuf_c_message_get_packed_size(message);
    truc_error error = truc_buffer_reserve(out, size);
    if (error == TRUC_OK) {
        out->size += protobuf_c_message_pack(message, out->data + out->size);
    }
    return error;
}
