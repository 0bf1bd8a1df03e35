/* From the CloudEvents JSON format, one object, to an event. Numbers and strings inside "data" are carried as they were
 * written, never through a double: what an agency seals is what it wrote. */
#include "proto/json_text.h"
#include "proto/wire.h"

#include <jansson.h>
#include <stdarg.h>

#define JSON_MAX ((size_t)8 * TRUC_EVENT_MAX) /* an event's bytes as escaped JSON text */
#define JSON_TYPE "application/json"
/* CloudEvents attributes are never arrays, and yet an array is what one writes first. */
#define RECIPIENTS_FORM                                                                                                \
    "\"recipients\" should be one string, not an array: agency codes and @groups separated by commas, without "        \
    "spaces, "                                                                                                         \
    "at most %d, as in \"recipients\": \"H14.09,@land-offices\"",                                                      \
        TRUC_RECIPIENTS_COUNT

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
        return refuse(reading->why, RECIPIENTS_FORM);
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
    if (strcmp(name, "recipients") == 0 && !json_is_string(value)) {
        return refuse(reading->why, RECIPIENTS_FORM);
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

static truc_error copy_json_data(struct reading *reading)
{
    struct truc_bytes raw;
    char *dumped;
    truc_error error;
    if (truc_json_member(reading->json, "\"data\"", &raw)) {
        return truc_json_append_minified(raw, &reading->data);
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
    struct truc_bytes type = truc_event_declared_type(event);
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
    if (json_is_string(reading->text_data) && !truc_type_is_json(type)) {
        event->data = text_of(reading->text_data);
        return TRUC_OK;
    }
    if (type.size != 0 && !truc_type_is_json(type)) {
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
    object = json_loadb((const char *)json.data, json.size, JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL, &json_error);
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
