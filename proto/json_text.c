#include "proto/json_text.h"

static bool is_space(uint8_t c)
{
    return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

static size_t skip_spaces(struct truc_bytes json, size_t at)
{
    while (at < json.size && is_space(json.data[at])) {
        at++;
    }
    return at;
}

/* `at` stands on the opening quote; returns the place behind the closing one. */
static size_t skip_string(struct truc_bytes json, size_t at)
{
    for (at++; at < json.size && json.data[at] != '"'; at++) {
        if (json.data[at] == '\\') {
            at++;
        }
    }
    return at < json.size ? at + 1 : json.size;
}

/* Returns the place of the ',' or '}' that ends the value at `at`. */
static size_t skip_value(struct truc_bytes json, size_t at)
{
    size_t depth = 0;
    while (at < json.size) {
        uint8_t c = json.data[at];
        if (c == '"') {
            at = skip_string(json, at);
            continue;
        }
        if (depth == 0 && (c == ',' || c == '}')) {
            return at;
        }
        if (c == '{' || c == '[') {
            depth++;
        } else if (c == '}' || c == ']') {
            depth--;
        }
        at++;
    }
    return at;
}

bool truc_json_member(struct truc_bytes json, const char *quoted_key, struct truc_bytes *out)
{
    const struct truc_bytes wanted = truc_bytes_of(quoted_key);
    size_t at = skip_spaces(json, 0) + 1;
    while (at < json.size) {
        size_t key = skip_spaces(json, at), end, value;
        if (key >= json.size || json.data[key] != '"') {
            return false;
        }
        end = skip_string(json, key);
        value = skip_spaces(json, end) + 1; /* behind the colon */
        if (value > json.size) {
            return false;
        }
        at = skip_value(json, value);
        if (truc_bytes_equal(wanted, truc_bytes(json.data + key, end - key))) {
            *out = truc_bytes(json.data + value, at - value);
            return true;
        }
        at++;
    }
    return false;
}

truc_error truc_json_append_minified(struct truc_bytes json, struct truc_buffer *out)
{
    truc_error error = truc_buffer_reserve(out, json.size);
    if (error != TRUC_OK) {
        return error;
    }
    for (size_t at = 0; at < json.size;) {
        size_t size = 1;
        if (json.data[at] == '"') {
            size = skip_string(json, at) - at;
        } else if (is_space(json.data[at])) {
            at++;
            continue;
        }
        memcpy(out->data + out->size, json.data + at, size);
        out->size += size;
        at += size;
    }
    return TRUC_OK;
}

static bool ends_with(struct truc_bytes text, const char *end)
{
    size_t size = strlen(end);
    return text.size >= size && strncasecmp((const char *)text.data + text.size - size, end, size) == 0;
}

bool truc_type_is_json(struct truc_bytes type)
{
    const uint8_t *semicolon = type.size == 0 ? NULL : memchr(type.data, ';', type.size);
    if (semicolon != NULL) {
        type.size = (size_t)(semicolon - type.data);
    }
    while (type.size > 0 && type.data[type.size - 1] == ' ') {
        type.size--;
    }
    return ends_with(type, "/json") || ends_with(type, "+json");
}

struct truc_bytes truc_event_declared_type(const struct truc_event *event)
{
    for (size_t i = 0; i < event->attribute_count; i++) {
        if (truc_bytes_equal(event->attributes[i].name, truc_bytes_of("datacontenttype"))) {
            return event->attributes[i].text;
        }
    }
    return truc_bytes(NULL, 0);
}
