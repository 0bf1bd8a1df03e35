/* CloudEvents JSON format, one object. Numbers and strings inside "data" are carried as they were written, never
 * through a double: what an agency seals is what it wrote. */
#include "proto/wire.h"
#include "truc/event.h"

#include <jansson.h>
#include <stdarg.h>

#define JSON_MAX ((size_t)8 * TRUC_EVENT_MAX) /* an event's bytes as escaped JSON text */
#define JSON_TYPE "application/json"

/* ---- JSON text as it stands -------------------------------------------------------------------------------------- */

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

/* The text of a member of an object that jansson has found well formed. false: not there under this spelling. */
static bool raw_member(struct truc_bytes json, const char *quoted_key, struct truc_bytes *out)
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

/* Appends well-formed JSON without the white space between its tokens: one line, and nothing else is changed. */
static truc_error append_minified(struct truc_bytes json, struct truc_buffer *out)
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

/* application/json, text/json, anything+json, with or without parameters. */
static bool type_is_json(struct truc_bytes type)
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

/* ---- reading ---------------------------------------------------------------------------------------------------- */

/* What the event being built borrows from. */
struct reading {
    struct truc_event event;
    struct truc_bytes json;
    struct truc_buffer data, salt;
    char id[33];
    const json_t *text_data, *base64_data;
    bool has_salt, has_recipients;
    char *why;
};

__attribute__((format(printf, 2, 3))) static truc_error refuse(char *why, const char *format, ...)
{
    va_list arguments;
    if (why != NULL) {
        va_start(arguments, format);
        int size = vsnprintf(why, 256, format, arguments);
        va_end(arguments);
        if (size < 0) {
            why[0] = '\0';
        }
    }
    return TRUC_E_MALFORMED;
}

static struct truc_bytes text_of(const json_t *value)
{
    return truc_bytes(json_string_value(value), json_string_length(value));
}

/* One of id, source, specversion, type. `*mine` is false for any other name. */
static truc_error read_required(struct reading *reading, const char *name, const json_t *value, bool *mine)
{
    struct truc_event *event = &reading->event;
    struct truc_bytes *place = strcmp(name, "id") == 0            ? &event->id
                               : strcmp(name, "source") == 0      ? &event->source
                               : strcmp(name, "specversion") == 0 ? &event->spec_version
                               : strcmp(name, "type") == 0        ? &event->type
                                                                  : NULL;
    *mine = place != NULL;
    if (place == NULL) {
        return TRUC_OK;
    }
    if (!json_is_string(value) || json_string_length(value) == 0) {
        return refuse(reading->why, "\"%s\" is not a string, or empty", name);
    }
    *place = text_of(value);
    return TRUC_OK;
}

static bool name_is_printable(const char *name)
{
    size_t size = strlen(name);
    return size <= 20 && strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789") == size;
}

static truc_error add_text(struct reading *reading, const char *name, const json_t *value)
{
    truc_error error = truc_event_set_text(&reading->event, name, text_of(value));
    if (error == TRUC_OK) {
        reading->has_recipients = reading->has_recipients || strcmp(name, "recipients") == 0;
        if (strcmp(name, "dataschema") == 0) {
            reading->event.attributes[reading->event.attribute_count - 1].kind = TRUC_VALUE_URI;
        }
        return TRUC_OK;
    }
    if (error == TRUC_E_TOO_LARGE) {
        return refuse(reading->why, "more than %d attributes", TRUC_EVENT_ATTRIBUTES_MAX);
    }
    if (strcmp(name, "subject") == 0) {
        return refuse(reading->why, "\"subject\" is empty, over %d bytes, or has control characters", TRUC_ID_MAX);
    }
    if (strcmp(name, "recipients") == 0) {
        return refuse(reading->why, "\"recipients\" is not a list of agency codes and @groups separated by commas");
    }
    return refuse(reading->why, "attribute \"%s\" has control characters or may not be set", name);
}

static truc_error add_salt(struct reading *reading, const json_t *value)
{
    truc_error error = truc_base64_decode(text_of(value), &reading->salt);
    if (error == TRUC_E_NOMEM) {
        return error;
    }
    if (error == TRUC_OK) {
        error = truc_event_set_bytes(&reading->event, "salt", truc_buffer_view(&reading->salt));
    }
    if (error != TRUC_OK) {
        return refuse(reading->why, "\"salt\" is not base64 of %d bytes", TRUC_SALT_SIZE);
    }
    reading->has_salt = true;
    return TRUC_OK;
}

static truc_error add_time(struct reading *reading, const char *name, const json_t *value)
{
    int64_t time_us;
    if (truc_time_parse(text_of(value), &time_us) != TRUC_OK ||
        truc_event_set_time(&reading->event, name, time_us) != TRUC_OK) {
        return refuse(reading->why, "\"%s\" is not an RFC 3339 time with an offset", name);
    }
    return TRUC_OK;
}

static truc_error add_number(struct reading *reading, const char *name, const json_t *value)
{
    struct truc_event *event = &reading->event;
    bool is_boolean = json_is_boolean(value);
    json_int_t number = is_boolean ? json_is_true(value) : json_integer_value(value);
    truc_error error;
    if (number < INT32_MIN || number > INT32_MAX) {
        return refuse(reading->why, "attribute \"%s\" is beyond 32 bits: write it as a string", name);
    }
    /* set_text checks the name and the place; the names that Truc reads are all texts, bytes or times */
    error = truc_event_set_text(event, name, truc_bytes(NULL, 0));
    if (error != TRUC_OK || strcmp(name, "datacontenttype") == 0 || strcmp(name, "blob") == 0) {
        return refuse(reading->why, "attribute \"%s\" may not be a number or a boolean", name);
    }
    event->attributes[event->attribute_count - 1].kind = is_boolean ? TRUC_VALUE_BOOLEAN : TRUC_VALUE_INTEGER;
    event->attributes[event->attribute_count - 1].number = number;
    return TRUC_OK;
}

static truc_error read_member(struct reading *reading, const char *name, const json_t *value)
{
    bool mine;
    truc_error error;
    if (strcmp(name, "data") == 0) {
        reading->text_data = value;
        return TRUC_OK;
    }
    if (strcmp(name, "data_base64") == 0) {
        reading->base64_data = value;
        return json_is_string(value) ? TRUC_OK : refuse(reading->why, "\"data_base64\" is not a string");
    }
    error = read_required(reading, name, value, &mine);
    if (mine) {
        return error;
    }
    if (!name_is_printable(name)) {
        return refuse(reading->why, "an attribute's name is not 1 to 20 of a-z and 0-9");
    }
    if (json_is_integer(value) || json_is_boolean(value)) {
        return add_number(reading, name, value);
    }
    if (!json_is_string(value)) {
        return refuse(reading->why, "attribute \"%s\" is neither a string, a whole number, nor true or false", name);
    }
    if (strcmp(name, "salt") == 0) {
        return add_salt(reading, value);
    }
    if (strcmp(name, "time") == 0 || strcmp(name, "expires") == 0) {
        return add_time(reading, name, value);
    }
    return add_text(reading, name, value);
}

/* The event's data_type from its attributes, empty where absent. */
static struct truc_bytes declared_type(const struct truc_event *event)
{
    for (size_t i = 0; i < event->attribute_count; i++) {
        if (truc_bytes_equal(event->attributes[i].name, truc_bytes_of("datacontenttype"))) {
            return event->attributes[i].text;
        }
    }
    return truc_bytes(NULL, 0);
}

static truc_error copy_json_data(struct reading *reading)
{
    struct truc_bytes raw;
    char *dumped;
    truc_error error;
    if (raw_member(reading->json, "\"data\"", &raw)) {
        return append_minified(raw, &reading->data);
    }
    /* The key was written with escapes. */
    dumped = json_dumps(reading->text_data, JSON_COMPACT | JSON_ENCODE_ANY);
    if (dumped == NULL) {
        return TRUC_E_NOMEM;
    }
    error = truc_buffer_append(&reading->data, dumped, strlen(dumped));
    free(dumped);
    return error;
}

static truc_error read_data(struct reading *reading)
{
    struct truc_event *event = &reading->event;
    struct truc_bytes type = declared_type(event);
    truc_error error;
    if (reading->text_data != NULL && reading->base64_data != NULL) {
        return refuse(reading->why, "\"data\" and \"data_base64\" exclude each other");
    }
    if (reading->base64_data != NULL) {
        error = truc_base64_decode(text_of(reading->base64_data), &reading->data);
        if (error != TRUC_OK) {
            return error == TRUC_E_NOMEM ? error : refuse(reading->why, "\"data_base64\" is not base64");
        }
        event->data_kind = TRUC_DATA_BINARY;
        event->data = truc_buffer_view(&reading->data);
        return TRUC_OK;
    }
    if (reading->text_data == NULL) {
        return TRUC_OK;
    }
    event->data_kind = TRUC_DATA_TEXT;
    if (json_is_string(reading->text_data) && !type_is_json(type)) {
        event->data = text_of(reading->text_data);
        return TRUC_OK;
    }
    if (type.size != 0 && !type_is_json(type)) {
        return refuse(reading->why, "\"datacontenttype\" is not JSON, so \"data\" must be a string");
    }
    error = copy_json_data(reading);
    event->data = truc_buffer_view(&reading->data);
    if (error == TRUC_OK && type.size == 0 &&
        truc_event_set_text(event, "datacontenttype", truc_bytes_of(JSON_TYPE)) != TRUC_OK) {
        return refuse(reading->why, "more than %d attributes", TRUC_EVENT_ATTRIBUTES_MAX);
    }
    return error;
}

static truc_error take_defaults(struct reading *reading, const struct truc_event_defaults *defaults)
{
    struct truc_event *event = &reading->event;
    struct truc_bytes *const places[] = {&event->id, &event->source, &event->type};
    const struct truc_bytes values[] = {defaults->id, defaults->source, defaults->type};
    for (size_t i = 0; i < sizeof places / sizeof places[0]; i++) {
        *places[i] = places[i]->size == 0 ? values[i] : *places[i];
    }
    if (!reading->has_recipients && defaults->recipients.size > 0) {
        truc_error error = truc_event_set_text(event, "recipients", defaults->recipients);
        if (error != TRUC_OK) {
            return refuse(reading->why, "the default recipients do not fit: too many attributes, or not agency codes");
        }
    }
    if (!reading->has_salt && defaults->salt.size > 0) {
        if (truc_event_set_bytes(event, "salt", defaults->salt) != TRUC_OK) {
            return refuse(reading->why, "more than %d attributes", TRUC_EVENT_ATTRIBUTES_MAX);
        }
        reading->has_salt = true;
    }
    return TRUC_OK;
}

/* Makes what may be absent, and says what must not be. */
static truc_error complete(struct reading *reading)
{
    struct truc_event *event = &reading->event;
    uint8_t random[16];
    truc_error error;
    if (event->spec_version.size == 0 || !truc_bytes_equal(event->spec_version, truc_bytes_of("1.0"))) {
        return refuse(reading->why, "\"specversion\" is missing or not \"1.0\"");
    }
    if (event->source.size == 0 || event->source.size > TRUC_SOURCE_MAX || !truc_text_is_clean(event->source)) {
        return refuse(reading->why, "\"source\" is missing, over %d bytes, or has control characters", TRUC_SOURCE_MAX);
    }
    if (!truc_type_is_valid(event->type)) {
        return refuse(reading->why, "\"type\" is missing or not 1 to %d of a-z 0-9 . - _", TRUC_ID_MAX);
    }
    if (event->id.size > TRUC_ID_MAX || !truc_text_is_clean(event->id)) {
        return refuse(reading->why, "\"id\" is over %d bytes or has control characters", TRUC_ID_MAX);
    }
    if (event->id.size == 0) {
        error = truc_random(random, sizeof random);
        if (error != TRUC_OK) {
            return error;
        }
        truc_hex(truc_bytes(random, sizeof random), reading->id);
        event->id = truc_bytes_of(reading->id);
    }
    if (reading->has_salt) {
        return TRUC_OK;
    }
    error = truc_random(random, sizeof random);
    if (error == TRUC_OK) {
        error = truc_buffer_append(&reading->salt, random, sizeof random);
    }
    if (error != TRUC_OK) {
        return error;
    }
    error = truc_event_set_bytes(event, "salt", truc_buffer_view(&reading->salt));
    return error == TRUC_OK ? TRUC_OK : refuse(reading->why, "more than %d attributes", TRUC_EVENT_ATTRIBUTES_MAX);
}

static truc_error read_object(struct reading *reading, json_t *object, const struct truc_event_defaults *defaults)
{
    const char *name;
    json_t *value;
    truc_error error;
    json_object_foreach(object, name, value)
    {
        if (json_is_null(value)) {
            continue; /* CloudEvents: the same as absent */
        }
        error = read_member(reading, name, value);
        if (error != TRUC_OK) {
            return error;
        }
    }
    error = read_data(reading);
    if (error == TRUC_OK) {
        error = take_defaults(reading, defaults);
    }
    return error == TRUC_OK ? complete(reading) : error;
}

truc_error truc_event_from_json(struct truc_bytes json, struct truc_buffer *out, char why[256])
{
    return truc_event_from_json_with(json, &(struct truc_event_defaults){.id = {NULL, 0}}, out, why);
}

truc_error truc_event_from_json_with(struct truc_bytes json, const struct truc_event_defaults *defaults,
                                     struct truc_buffer *out, char why[256])
{
    struct reading reading = {.json = json, .why = why};
    json_error_t json_error;
    json_t *object;
    truc_error error;
    if (json.size == 0 || json.size > JSON_MAX) {
        return refuse(why, "empty, or over %zu bytes", JSON_MAX);
    }
    object = json_loadb((const char *)json.data, json.size, JSON_REJECT_DUPLICATES, &json_error);
    if (object == NULL) {
        /* jansson's own sentence quotes the text, which may hold personal data */
        const char *what = "not well-formed JSON";
        if (json_error_code(&json_error) == json_error_duplicate_key) {
            what = "a key comes twice";
        } else if (json_error_code(&json_error) == json_error_numeric_overflow) {
            what = "a number is too large: write it as a string";
        }
        return refuse(why, "%s: line %d, column %d", what, json_error.line, json_error.column);
    }
    error = json_is_object(object) ? read_object(&reading, object, defaults) : refuse(why, "not a JSON object");
    if (error != TRUC_OK) {
        goto out;
    }
    error = truc_event_encode(&reading.event, out);
    if (error == TRUC_E_INVALID) {
        error = refuse(why, "the event breaks a rule of PROTOCOL.md, section Events");
    } else if (error == TRUC_E_TOO_LARGE) {
        error = refuse(why, "the event is over %u bytes", TRUC_EVENT_MAX);
    }
out:
    json_decref(object);
    truc_buffer_close(&reading.data);
    truc_buffer_close(&reading.salt);
    return error;
}

/* ---- writing ---------------------------------------------------------------------------------------------------- */

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
    json_t *value =
        text.size == 0 ? NULL
                       : json_loadb((const char *)text.data, text.size, JSON_REJECT_DUPLICATES | JSON_DECODE_ANY, NULL);
    bool result = value != NULL && !json_is_null(value);
    json_decref(value);
    return result;
}

static truc_error put_data(struct truc_buffer *out, const struct truc_event *event)
{
    struct truc_bytes type = declared_type(event);
    truc_error error;
    if (event->data_kind == TRUC_DATA_NONE) {
        return TRUC_OK;
    }
    if (event->data_kind == TRUC_DATA_TEXT && !type_is_json(type)) {
        return put_text_member(out, ",", "data", event->data);
    }
    if (event->data_kind == TRUC_DATA_TEXT && embeds(event->data)) {
        error = put_name(out, ",", truc_bytes_of("data"));
        return error == TRUC_OK ? append_minified(event->data, out) : error;
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
