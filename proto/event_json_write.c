/* From an event to the CloudEvents JSON format: one object on one line. */
#include "proto/json_text.h"
#include "proto/wire.h"

#include <jansson.h>

static truc_error put(struct truc_buffer *out, const char *text)
{
    return truc_buffer_append(out, text, strlen(text));
}

static size_t escape(uint8_t c, char text[8])
{
    int size = 0;
    if (c == '"' || c == '\\') {
        size = snprintf(text, 8, "\\%c", c);
    } else if (c < 0x20) {
        size = c == '\n' ? snprintf(text, 8, "\\n") : snprintf(text, 8, "\\u%04x", c);
    }
    return size < 0 ? 0 : (size_t)size;
}

/* A JSON string. Text that is not UTF-8 would not be JSON: TRUC_E_MALFORMED. */
static truc_error put_string(struct truc_buffer *out, struct truc_bytes text)
{
    size_t begin = 0;
    truc_error error = truc_utf8_is_valid(text) ? put(out, "\"") : TRUC_E_MALFORMED;
    for (size_t i = 0; i < text.size && error == TRUC_OK; i++) {
        char escaped[8];
        size_t size = escape(text.data[i], escaped);
        if (size == 0) {
            continue;
        }
        error = truc_buffer_append(out, text.data + begin, i - begin);
        if (error == TRUC_OK) {
            error = truc_buffer_append(out, escaped, size);
        }
        begin = i + 1;
    }
    if (error == TRUC_OK && begin < text.size) {
        error = truc_buffer_append(out, text.data + begin, text.size - begin);
    }
    return error == TRUC_OK ? put(out, "\"") : error;
}

static truc_error put_base64(struct truc_buffer *out, struct truc_bytes bytes)
{
    truc_error error = put(out, "\"");
    if (error == TRUC_OK) {
        error = truc_base64_encode(bytes, out);
    }
    return error == TRUC_OK ? put(out, "\"") : error;
}

/* `,"name":` or, for the first member, `{"name":`. */
static truc_error put_name(struct truc_buffer *out, const char *before, struct truc_bytes name)
{
    truc_error error = put(out, before);
    if (error == TRUC_OK) {
        error = put_string(out, name);
    }
    return error == TRUC_OK ? put(out, ":") : error;
}

static truc_error put_text_member(struct truc_buffer *out, const char *before, const char *name, struct truc_bytes text)
{
    truc_error error = put_name(out, before, truc_bytes_of(name));
    return error == TRUC_OK ? put_string(out, text) : error;
}

static truc_error put_attribute(struct truc_buffer *out, const struct truc_attribute *attribute)
{
    char time[40];
    truc_error error = put_name(out, ",", attribute->name);
    if (error != TRUC_OK) {
        return error;
    }
    switch (attribute->kind) {
    case TRUC_VALUE_BOOLEAN:
        return put(out, attribute->number != 0 ? "true" : "false");
    case TRUC_VALUE_INTEGER:
        return truc_buffer_printf(out, "%lld", (long long)attribute->number);
    case TRUC_VALUE_STRING:
    case TRUC_VALUE_URI:
    case TRUC_VALUE_URI_REF:
        return put_string(out, attribute->text);
    case TRUC_VALUE_BYTES:
        return put_base64(out, attribute->text);
    case TRUC_VALUE_TIMESTAMP:
        truc_time_format(attribute->number, time);
        return put_string(out, truc_bytes_of(time));
    }
    return TRUC_E_INVALID;
}

/* Whether text that is declared JSON can be embedded: null could not be told from no data. */
static bool embeds(struct truc_bytes text)
{
    const size_t flags = JSON_REJECT_DUPLICATES | JSON_DECODE_ANY | JSON_ALLOW_NUL; /* as the reader takes them */
    json_t *value = text.size == 0 ? NULL : json_loadb((const char *)text.data, text.size, flags, NULL);
    bool result = value != NULL && !json_is_null(value);
    json_decref(value);
    return result;
}

static truc_error put_data(struct truc_buffer *out, const struct truc_event *event)
{
    struct truc_bytes type = truc_event_declared_type(event);
    truc_error error;
    if (event->data_kind == TRUC_DATA_NONE) {
        return TRUC_OK;
    }
    if (event->data_kind == TRUC_DATA_TEXT && !truc_type_is_json(type)) {
        return put_text_member(out, ",", "data", event->data);
    }
    if (event->data_kind == TRUC_DATA_TEXT && embeds(event->data)) {
        error = put_name(out, ",", truc_bytes_of("data"));
        return error == TRUC_OK ? truc_json_append_minified(event->data, out) : error;
    }
    error = put_name(out, ",", truc_bytes_of("data_base64"));
    return error == TRUC_OK ? put_base64(out, event->data) : error;
}

truc_error truc_event_to_json(const struct truc_event *event, struct truc_buffer *out)
{
    const size_t before = out->size;
    truc_error error = put_text_member(out, "{", "specversion", event->spec_version);
    if (error == TRUC_OK) {
        error = put_text_member(out, ",", "id", event->id);
    }
    if (error == TRUC_OK) {
        error = put_text_member(out, ",", "source", event->source);
    }
    if (error == TRUC_OK) {
        error = put_text_member(out, ",", "type", event->type);
    }
    for (size_t i = 0; i < event->attribute_count && error == TRUC_OK; i++) {
        error = put_attribute(out, &event->attributes[i]);
    }
    if (error == TRUC_OK) {
        error = put_data(out, event);
    }
    if (error == TRUC_OK) {
        error = put(out, "}");
    }
    if (error != TRUC_OK) {
        out->size = before;
    }
    return error;
}
