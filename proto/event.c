/* Events: one pass over the wire, nothing allocated, nothing copied. The hub's hottest parser. */
#include "truc/event.h"
#include "proto/wire.h"

/* Field numbers of io.cloudevents.v1.CloudEvent. */
enum { FIELD_ID = 1, FIELD_SOURCE = 2, FIELD_SPEC_VERSION = 3, FIELD_TYPE = 4, FIELD_ATTRIBUTES = 5 };

#define NAME_MAX_BYTES 20
#define REQUIRED_FIELDS (1u << FIELD_ID | 1u << FIELD_SOURCE | 1u << FIELD_SPEC_VERSION | 1u << FIELD_TYPE)
#define DATA_FIELDS (1u << TRUC_DATA_BINARY | 1u << TRUC_DATA_TEXT | 1u << TRUC_DATA_PROTO)

static bool is(struct truc_bytes name, const char *literal, size_t size)
{
    return name.size == size && memcmp(name.data, literal, size) == 0;
}
#define IS(name, literal) is(name, literal, sizeof(literal) - 1)

/* Names that JSON and HTTP give to the event's own fields: in the map they would make two ids of one event. */
static bool name_is_reserved(struct truc_bytes name)
{
    switch (name.size) {
    case 2:
        return IS(name, "id");
    case 4:
        return IS(name, "type") || IS(name, "data");
    case 6:
        return IS(name, "source");
    case 11:
        return IS(name, "specversion");
    }
    return false;
}

#define EACH(byte) (UINT64_C(0x0101010101010101) * (byte))

/* High bits where eight bytes are not all of a-z 0-9. Without their high bits no sum carries over. */
static inline uint64_t name_faults(uint64_t word)
{
    uint64_t low = word & EACH(0x7f);
    uint64_t letter = (low + EACH(0x80 - 'a')) & ~(low + EACH(0x80 - 'z' - 1));
    uint64_t digit = (low + EACH(0x80 - '0')) & ~(low + EACH(0x80 - '9' - 1));
    return word | ~(letter | digit);
}

/* Checks the form of an attribute's name and hashes it, eight bytes at once; words may overlap. */
static bool read_name(struct truc_bytes name, unsigned *hash)
{
    uint64_t words[3];
    if (name.size == 0 || name.size > NAME_MAX_BYTES) {
        return false;
    }
    if (name.size < 8) {
        words[0] = words[1] = words[2] = truc_word_of_few(name.data, name.size);
    } else {
        words[0] = truc_word_at(name.data);
        words[2] = truc_word_at(name.data + name.size - 8);
        words[1] = name.size > 16 ? truc_word_at(name.data + 8) : words[2];
    }
    if (((name_faults(words[0]) | name_faults(words[1]) | name_faults(words[2])) & EACH(0x80)) != 0) {
        return false;
    }
    uint64_t mixed = (words[0] ^ words[1] << 1 ^ words[2] << 3 ^ name.size) * UINT64_C(0x9e3779b97f4a7c15);
    *hash = (unsigned)(mixed >> 58);
    return !name_is_reserved(name);
}

bool truc_recipients_are_valid(struct truc_bytes recipients)
{
    size_t at = 0, count = 0;
    struct truc_bytes one;
    if (recipients.size == 0 || recipients.size > TRUC_RECIPIENTS_MAX || recipients.data[recipients.size - 1] == ',') {
        return false;
    }
    while (truc_recipients_next(recipients, &at, &one)) {
        if (++count > TRUC_RECIPIENTS_COUNT || one.size == 0) {
            return false;
        }
        if (one.data[0] != '@') {
            if (!truc_agency_is_valid(one)) {
                return false;
            }
            continue;
        }
        if (one.size < 2 || one.size > TRUC_AGENCY_MAX + 1) {
            return false;
        }
        for (size_t i = 1; i < one.size; i++) {
            uint8_t c = one.data[i];
            if (!((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' || c == '-' ||
                  c == '_')) {
                return false;
            }
        }
    }
    return true;
}

/* google.protobuf.Timestamp, cut to microseconds. */
static bool parse_timestamp(struct truc_bytes bytes, int64_t *out_us)
{
    struct truc_wire wire = truc_wire_of(bytes);
    uint64_t values[3] = {0};
    unsigned seen = 0, type;
    uint32_t field;
    while (truc_wire_more(&wire)) {
        if (!truc_wire_tag(&wire, &field, &type) || type != TRUC_WIRE_VARINT || field > 2 || (seen & 1u << field) ||
            !truc_wire_varint(&wire, &values[field])) {
            return false;
        }
        seen |= 1u << field;
    }
    int64_t seconds = (int64_t)values[1];
    if (seconds < TRUC_TIME_MIN_S || seconds > TRUC_TIME_MAX_S || values[2] > 999999999) {
        return false;
    }
    *out_us = seconds * 1000000 + (int64_t)(values[2] / 1000);
    return true;
}

/* CloudEventAttributeValue: exactly one of its fields, once. */
static bool parse_value(struct truc_bytes bytes, struct truc_attribute *out)
{
    struct truc_wire wire = truc_wire_of(bytes);
    uint64_t number;
    uint32_t field;
    unsigned type;
    out->text = truc_bytes(NULL, 0);
    out->number = 0;
    if (!truc_wire_tag(&wire, &field, &type) || field > TRUC_VALUE_TIMESTAMP) {
        return false;
    }
    out->kind = (enum truc_value_kind)field;
    if (type != (field <= TRUC_VALUE_INTEGER ? TRUC_WIRE_VARINT : TRUC_WIRE_BYTES)) {
        return false;
    }
    if (type == TRUC_WIRE_BYTES) {
        if (!truc_wire_bytes(&wire, &out->text) || truc_wire_more(&wire)) {
            return false;
        }
        if (field == TRUC_VALUE_TIMESTAMP) {
            struct truc_bytes timestamp = out->text;
            out->text = truc_bytes(NULL, 0);
            return parse_timestamp(timestamp, &out->number);
        }
        return field == TRUC_VALUE_BYTES || truc_text_is_clean(out->text);
    }
    if (!truc_wire_varint(&wire, &number) || truc_wire_more(&wire)) {
        return false;
    }
    out->number = (int64_t)number;
    return field == TRUC_VALUE_BOOLEAN ? number <= 1 : out->number >= INT32_MIN && out->number <= INT32_MAX;
}

static bool attribute_time(const struct truc_attribute *attribute, int64_t *out_us)
{
    if (attribute->kind == TRUC_VALUE_TIMESTAMP) {
        *out_us = attribute->number;
        return true;
    }
    return attribute->kind == TRUC_VALUE_STRING && truc_time_parse(attribute->text, out_us) == TRUC_OK;
}

/* Fills the convenience member of an attribute that Truc reads. */
static bool note_attribute(const struct truc_attribute *attribute, struct truc_event *out)
{
    struct truc_bytes name = attribute->name, text = attribute->text;
    bool is_string = attribute->kind == TRUC_VALUE_STRING;
    switch (name.size) {
    case 4:
        if (IS(name, "salt")) {
            out->salt = text;
            return attribute->kind == TRUC_VALUE_BYTES && text.size == TRUC_SALT_SIZE;
        }
        if (IS(name, "time")) {
            out->has_time = true;
            return attribute_time(attribute, &out->time_us);
        }
        if (IS(name, "blob")) {
            out->blob = text;
            out->has_blob = true;
            return attribute->kind >= TRUC_VALUE_STRING && attribute->kind <= TRUC_VALUE_URI_REF;
        }
        return true;
    case 7:
        if (IS(name, "subject")) {
            out->subject = text;
            return is_string && text.size > 0 && text.size <= TRUC_ID_MAX;
        }
        if (IS(name, "expires")) {
            out->has_expires = true;
            return attribute_time(attribute, &out->expires_us);
        }
        return true;
    case 10:
        if (IS(name, "recipients")) {
            out->recipients = text;
            return is_string && truc_recipients_are_valid(text);
        }
        return true;
    case 15:
        if (IS(name, "datacontenttype")) {
            out->data_type = text;
            return is_string;
        }
        return true;
    }
    return true;
}

/* `names` has one bit for each name's hash (0 to 63): the list is searched only where a bit is already set. */
static bool name_is_new(struct truc_bytes name, unsigned hash, const struct truc_event *event, uint64_t *names)
{
    uint64_t bit = 1ull << hash;
    if (*names & bit) {
        for (size_t i = 0; i < event->attribute_count; i++) {
            if (truc_bytes_equal(event->attributes[i].name, name)) {
                return false;
            }
        }
    }
    *names |= bit;
    return true;
}

/* One map entry: key=1 and value=2, each once, in either order. */
static bool read_entry(struct truc_bytes entry, struct truc_bytes *name, struct truc_bytes *value)
{
    struct truc_wire wire = truc_wire_of(entry);
    struct truc_bytes parts[3] = {{NULL, 0}, {NULL, 0}, {NULL, 0}};
    unsigned seen = 0, type;
    uint32_t field;
    while (truc_wire_more(&wire)) {
        if (!truc_wire_tag(&wire, &field, &type) || type != TRUC_WIRE_BYTES || field > 2 || (seen & 1u << field) ||
            !truc_wire_bytes(&wire, &parts[field])) {
            return false;
        }
        seen |= 1u << field;
    }
    *name = parts[1];
    *value = parts[2];
    return seen == 6u;
}

/* As every writer writes it: the name, then a value that fits into a length of one byte. */
static inline bool read_usual_entry(struct truc_bytes entry, struct truc_bytes *name, struct truc_bytes *value)
{
    static const uint8_t name_tag = 1 << 3 | TRUC_WIRE_BYTES, value_tag = 2 << 3 | TRUC_WIRE_BYTES;
    const uint8_t *at = entry.data;
    if (entry.size < 4 || at[0] != name_tag || (size_t)at[1] + 4 > entry.size || at[1] >= 0x80) {
        return false;
    }
    *name = truc_bytes(at + 2, at[1]);
    at += 2 + at[1];
    *value = truc_bytes(at + 2, at[1]);
    return at[0] == value_tag && at[1] < 0x80 && at + 2 + at[1] == entry.data + entry.size;
}

static bool parse_attribute(struct truc_bytes entry, struct truc_event *out, uint64_t *names)
{
    struct truc_bytes name, value;
    struct truc_attribute *attribute;
    unsigned hash;
    if ((!read_usual_entry(entry, &name, &value) && !read_entry(entry, &name, &value)) ||
        out->attribute_count == TRUC_EVENT_ATTRIBUTES_MAX || !read_name(name, &hash) ||
        !name_is_new(name, hash, out, names)) {
        return false;
    }
    attribute = &out->attributes[out->attribute_count];
    attribute->name = name;
    if (!parse_value(value, attribute) || !note_attribute(attribute, out)) {
        return false;
    }
    out->attribute_count++;
    return true;
}

/* google.protobuf.Any: a type URL and bytes. */
static bool any_is_valid(struct truc_bytes any)
{
    struct truc_wire wire = truc_wire_of(any);
    struct truc_bytes value;
    unsigned seen = 0, type;
    uint32_t field;
    while (truc_wire_more(&wire)) {
        if (!truc_wire_tag(&wire, &field, &type) || type != TRUC_WIRE_BYTES || field > 2 || (seen & 1u << field) ||
            !truc_wire_bytes(&wire, &value) || (field == 1 && !truc_text_is_clean(value))) {
            return false;
        }
        seen |= 1u << field;
    }
    return true;
}

static bool parse_field(uint32_t field, struct truc_bytes value, struct truc_event *out)
{
    switch (field) {
    case FIELD_ID:
        out->id = value;
        return value.size > 0 && value.size <= TRUC_ID_MAX && truc_text_is_clean(value);
    case FIELD_SOURCE:
        out->source = value;
        return value.size > 0 && value.size <= TRUC_SOURCE_MAX && truc_text_is_clean(value);
    case FIELD_SPEC_VERSION:
        out->spec_version = value;
        return IS(value, "1.0");
    case FIELD_TYPE:
        out->type = value;
        return truc_type_is_valid(value);
    case TRUC_DATA_BINARY:
    case TRUC_DATA_TEXT:
    case TRUC_DATA_PROTO:
        out->data_kind = (enum truc_data_kind)field;
        out->data = value;
        return field == TRUC_DATA_BINARY || (field == TRUC_DATA_TEXT ? truc_utf8_is_valid(value) : any_is_valid(value));
    default:
        return false; /* an unknown field: nothing travels that was not read */
    }
}

truc_error truc_event_parse(struct truc_bytes bytes, struct truc_event *out)
{
    struct truc_wire wire = truc_wire_of(bytes);
    struct truc_bytes value;
    uint64_t names = 0;
    unsigned seen = 0, type;
    uint32_t field;
    /* attributes[] is large and attribute_count says how much of it holds */
    memset(out, 0, offsetof(struct truc_event, attributes));
    if (bytes.size > TRUC_EVENT_MAX) {
        return TRUC_E_TOO_LARGE;
    }
    while (truc_wire_more(&wire)) {
        if (!truc_wire_tag(&wire, &field, &type) || type != TRUC_WIRE_BYTES || field > TRUC_DATA_PROTO ||
            !truc_wire_bytes(&wire, &value)) {
            return TRUC_E_MALFORMED;
        }
        if (field == FIELD_ATTRIBUTES) {
            if (!parse_attribute(value, out, &names)) {
                return TRUC_E_MALFORMED;
            }
            continue;
        }
        unsigned alike = field >= TRUC_DATA_BINARY ? DATA_FIELDS : 1u << field;
        if ((seen & alike) || !parse_field(field, value, out)) {
            return TRUC_E_MALFORMED;
        }
        seen |= 1u << field;
    }
    return (seen & REQUIRED_FIELDS) == REQUIRED_FIELDS && out->salt.size == TRUC_SALT_SIZE ? TRUC_OK : TRUC_E_MALFORMED;
}

/* ---- writing ---------------------------------------------------------------------------------------------------- */

static size_t timestamp_size(int64_t seconds, uint32_t nanos)
{
    return (seconds == 0 ? 0 : truc_wire_uint_size(1, (uint64_t)seconds)) +
           (nanos == 0 ? 0 : truc_wire_uint_size(2, nanos));
}

static void split_time(int64_t time_us, int64_t *seconds, uint32_t *nanos)
{
    int64_t micros = time_us % 1000000;
    *seconds = time_us / 1000000;
    if (micros < 0) {
        micros += 1000000;
        *seconds -= 1;
    }
    *nanos = (uint32_t)micros * 1000;
}

static size_t value_size(const struct truc_attribute *attribute)
{
    int64_t seconds;
    uint32_t nanos, field = (uint32_t)attribute->kind;
    switch (attribute->kind) {
    case TRUC_VALUE_BOOLEAN:
    case TRUC_VALUE_INTEGER:
        return truc_wire_uint_size(field, (uint64_t)attribute->number);
    case TRUC_VALUE_STRING:
    case TRUC_VALUE_BYTES:
    case TRUC_VALUE_URI:
    case TRUC_VALUE_URI_REF:
        return truc_wire_bytes_size(field, attribute->text.size);
    case TRUC_VALUE_TIMESTAMP:
        split_time(attribute->number, &seconds, &nanos);
        return truc_wire_bytes_size(field, timestamp_size(seconds, nanos));
    }
    return 0; /* a kind that does not exist: parsing what was written finds it */
}

static uint8_t *put_value(uint8_t *at, const struct truc_attribute *attribute)
{
    int64_t seconds;
    uint32_t nanos, field = (uint32_t)attribute->kind;
    switch (attribute->kind) {
    case TRUC_VALUE_BOOLEAN:
    case TRUC_VALUE_INTEGER:
        return truc_wire_put_uint(at, field, (uint64_t)attribute->number);
    case TRUC_VALUE_STRING:
    case TRUC_VALUE_BYTES:
    case TRUC_VALUE_URI:
    case TRUC_VALUE_URI_REF:
        return truc_wire_put_bytes(at, field, attribute->text);
    case TRUC_VALUE_TIMESTAMP:
        split_time(attribute->number, &seconds, &nanos);
        at = truc_wire_put_head(at, field, timestamp_size(seconds, nanos));
        if (seconds != 0) {
            at = truc_wire_put_uint(at, 1, (uint64_t)seconds);
        }
        return nanos == 0 ? at : truc_wire_put_uint(at, 2, nanos);
    }
    return at;
}

static size_t entry_size(const struct truc_attribute *attribute)
{
    return truc_wire_bytes_size(1, attribute->name.size) + truc_wire_bytes_size(2, value_size(attribute));
}

/* SIZE_MAX where a length alone is already over the limit, so that sums cannot overflow. */
static size_t event_size(const struct truc_event *event)
{
    const struct truc_bytes texts[5] = {event->id, event->source, event->spec_version, event->type, event->data};
    size_t size = 0;
    for (size_t i = 0; i < 5; i++) {
        if (texts[i].size > TRUC_EVENT_MAX) {
            return SIZE_MAX;
        }
        size += truc_wire_bytes_size(FIELD_ATTRIBUTES, texts[i].size);
    }
    for (size_t i = 0; i < event->attribute_count; i++) {
        const struct truc_attribute *attribute = &event->attributes[i];
        if (attribute->name.size > NAME_MAX_BYTES || attribute->text.size > TRUC_EVENT_MAX) {
            return SIZE_MAX;
        }
        size += truc_wire_bytes_size(FIELD_ATTRIBUTES, entry_size(attribute));
    }
    return size;
}

truc_error truc_event_encode(const struct truc_event *event, struct truc_buffer *out)
{
    struct truc_event read;
    return truc_event_encode_read(event, out, &read);
}

truc_error truc_event_encode_read(const struct truc_event *event, struct truc_buffer *out, struct truc_event *read)
{
    const size_t before = out->size;
    uint8_t *at;
    truc_error error;
    size_t size;
    if (event->attribute_count > TRUC_EVENT_ATTRIBUTES_MAX) {
        return TRUC_E_INVALID;
    }
    size = event_size(event);
    if (size > 2u * TRUC_EVENT_MAX) {
        return TRUC_E_TOO_LARGE;
    }
    error = truc_buffer_reserve(out, size + sizeof "1.0");
    if (error != TRUC_OK) {
        return error;
    }
    at = out->data + before;
    at = truc_wire_put_bytes(at, FIELD_ID, event->id);
    at = truc_wire_put_bytes(at, FIELD_SOURCE, event->source);
    at = truc_wire_put_bytes(at, FIELD_SPEC_VERSION,
                             event->spec_version.size == 0 ? truc_bytes_of("1.0") : event->spec_version);
    at = truc_wire_put_bytes(at, FIELD_TYPE, event->type);
    for (size_t i = 0; i < event->attribute_count; i++) {
        const struct truc_attribute *attribute = &event->attributes[i];
        at = truc_wire_put_head(at, FIELD_ATTRIBUTES, entry_size(attribute));
        at = truc_wire_put_bytes(at, 1, attribute->name);
        at = truc_wire_put_head(at, 2, value_size(attribute));
        at = put_value(at, attribute);
    }
    if (event->data_kind != TRUC_DATA_NONE) {
        at = truc_wire_put_bytes(at, (uint32_t)event->data_kind, event->data);
    }
    /* What is written is read again: an event that the hub would refuse as malformed never gets a seal. */
    error = truc_event_parse(truc_bytes(out->data + before, (size_t)(at - (out->data + before))), read);
    if (error != TRUC_OK) {
        return error == TRUC_E_MALFORMED ? TRUC_E_INVALID : error;
    }
    out->size = (size_t)(at - out->data);
    return TRUC_OK;
}

static truc_error add_attribute(struct truc_event *event, const char *name, enum truc_value_kind kind,
                                struct truc_bytes text, int64_t number)
{
    struct truc_attribute attribute = {truc_bytes_of(name), kind, text, number};
    struct truc_event scratch;
    unsigned hash;
    if (!read_name(attribute.name, &hash)) {
        return TRUC_E_INVALID;
    }
    memset(&scratch, 0, offsetof(struct truc_event, attributes));
    if (!note_attribute(&attribute, &scratch)) {
        return TRUC_E_INVALID;
    }
    for (size_t i = 0; i < event->attribute_count; i++) {
        if (truc_bytes_equal(event->attributes[i].name, attribute.name)) {
            return TRUC_E_INVALID;
        }
    }
    if (event->attribute_count >= TRUC_EVENT_ATTRIBUTES_MAX) {
        return TRUC_E_TOO_LARGE;
    }
    event->attributes[event->attribute_count++] = attribute;
    return TRUC_OK;
}

truc_error truc_event_set_text(struct truc_event *event, const char *name, struct truc_bytes value)
{
    return truc_text_is_clean(value) ? add_attribute(event, name, TRUC_VALUE_STRING, value, 0) : TRUC_E_INVALID;
}

truc_error truc_event_set_bytes(struct truc_event *event, const char *name, struct truc_bytes value)
{
    return add_attribute(event, name, TRUC_VALUE_BYTES, value, 0);
}

truc_error truc_event_set_time(struct truc_event *event, const char *name, int64_t time_us)
{
    if (time_us < TRUC_TIME_MIN_S * 1000000 || time_us > TRUC_TIME_MAX_US) {
        return TRUC_E_INVALID;
    }
    return add_attribute(event, name, TRUC_VALUE_TIMESTAMP, truc_bytes(NULL, 0), time_us);
}
