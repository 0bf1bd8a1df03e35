/* Data of typed events against their schemas: a walk over the bytes beside protobuf-c's descriptors. Nothing is
 * unpacked, so a hostile payload costs its own length and no memory. */
#include "truc/payload.h"

#include "construction.pb-c.h"
#include "dossier.pb-c.h"
#include "land.pb-c.h"
#include "proto/wire.h"

#include <math.h>
#include <stdarg.h>

/* Deeper than any schema here nests; a descriptor that nests deeper is refused, not followed. */
#define DEPTH_MAX 8
#define FIELDS_MAX 64

/* What a field must be, beyond its type. */
enum form {
    FORM_ANY = 0,
    FORM_REQUIRED = 1, /* there, and neither empty nor 0 */
    FORM_DOSSIER = 2,  /* a dossier's code */
    FORM_AGENCY = 4,   /* an agency's code, either form */
    FORM_DAY = 8,      /* yyyymmdd */
};

struct rule {
    const char *field; /* NULL ends the list */
    unsigned form;
};

#define RULES_MAX 6

struct schema {
    const char *type; /* of an event whose data it is; NULL: only a part of others */
    const ProtobufCMessageDescriptor *descriptor;
    struct rule rules[RULES_MAX + 1];
};

#define DOSSIER(name) &truc__dossier__v1__##name##__descriptor
#define LAND(name) &truc__land__v1__##name##__descriptor
#define CONSTRUCTION(name) &truc__construction__v1__##name##__descriptor
#define NEEDS(name)                                                                                                    \
    {                                                                                                                  \
#name, FORM_REQUIRED                                                                                           \
    }

static const struct schema schemas[] = {
    {"vn.truc.dossier.submitted.v1", DOSSIER(submitted), {NEEDS(dossier), NEEDS(submitted_at_us), NEEDS(channel)}},
    {"vn.truc.dossier.accepted.v1", DOSSIER(accepted), {NEEDS(dossier), NEEDS(accepted_at_us)}},
    {"vn.truc.dossier.not-accepted.v1", DOSSIER(not_accepted), {NEEDS(dossier), NEEDS(decided_at_us), NEEDS(reason)}},
    {"vn.truc.dossier.transferred.v1",
     DOSSIER(transferred),
     {NEEDS(dossier), NEEDS(transferred_at_us), {"to_agency", FORM_REQUIRED | FORM_AGENCY}}},
    {"vn.truc.dossier.progressed.v1", DOSSIER(progressed), {NEEDS(dossier), NEEDS(at_us), NEEDS(step)}},
    {"vn.truc.dossier.supplement-requested.v1",
     DOSSIER(supplement_requested),
     {NEEDS(dossier), NEEDS(requested_at_us), NEEDS(reason)}},
    {"vn.truc.dossier.supplement-provided.v1", DOSSIER(supplement_provided), {NEEDS(dossier), NEEDS(provided_at_us)}},
    {"vn.truc.dossier.fee-due.v1", DOSSIER(fee_due), {NEEDS(dossier), NEEDS(at_us), NEEDS(fees)}},
    {"vn.truc.dossier.fee-paid.v1", DOSSIER(fee_paid), {NEEDS(dossier), NEEDS(paid_at_us)}},
    {"vn.truc.dossier.processing-finished.v1",
     DOSSIER(processing_finished),
     {NEEDS(dossier), NEEDS(finished_at_us), {"by_agency", FORM_AGENCY}}},
    {"vn.truc.dossier.result-returned.v1", DOSSIER(result_returned), {NEEDS(dossier), NEEDS(returned_at_us)}},
    {"vn.truc.dossier.withdrawn.v1", DOSSIER(withdrawn), {NEEDS(dossier), NEEDS(withdrawn_at_us)}},
    {"vn.truc.dossier.stopped.v1", DOSSIER(stopped), {NEEDS(dossier), NEEDS(stopped_at_us), NEEDS(reason)}},
    {"vn.truc.dossier.overdue.v1",
     DOSSIER(overdue),
     {NEEDS(dossier), NEEDS(due_at_us), NEEDS(at_us), {"holder", FORM_AGENCY}}},
    {"vn.truc.dossier.apology.v1",
     DOSSIER(apology),
     {NEEDS(dossier), NEEDS(reason), NEEDS(new_due_at_us), {"responsible_agency", FORM_REQUIRED | FORM_AGENCY}}},
    {"vn.truc.dossier.procedure-published.v1", DOSSIER(procedure_published), {NEEDS(procedure), NEEDS(name)}},
    {"vn.truc.land.parcel-registered.v1", LAND(parcel_registered), {NEEDS(parcel), NEEDS(registered_at_us)}},
    {"vn.truc.land.parcel-changed.v1", LAND(parcel_changed), {NEEDS(parcel), NEEDS(changed_at_us)}},
    {"vn.truc.land.parcel-query.v1", LAND(parcel_query), {NEEDS(asked_at_us), NEEDS(purpose)}},
    {"vn.truc.land.parcel-answer.v1", LAND(parcel_answer), {NEEDS(in_reply_to), NEEDS(found), NEEDS(answered_at_us)}},
    {"vn.truc.land.right-transferred.v1",
     LAND(right_transferred),
     {NEEDS(parcel), NEEDS(new_right), NEEDS(transferred_at_us)}},
    {"vn.truc.land.certificate-issued.v1",
     LAND(certificate_issued),
     {NEEDS(parcel), NEEDS(certificate_number), NEEDS(issued_at_us), {"issued_by", FORM_AGENCY}}},
    {"vn.truc.construction.permit-applied.v1", CONSTRUCTION(permit_applied), {NEEDS(dossier), NEEDS(applied_at_us)}},
    {"vn.truc.construction.technical-opinion-requested.v1",
     CONSTRUCTION(technical_opinion_requested),
     {NEEDS(dossier), NEEDS(requested_at_us), NEEDS(aspect)}},
    {"vn.truc.construction.technical-opinion-given.v1",
     CONSTRUCTION(technical_opinion_given),
     {NEEDS(dossier), NEEDS(in_reply_to), NEEDS(opinion), NEEDS(given_at_us)}},
    {"vn.truc.construction.permit-issued.v1",
     CONSTRUCTION(permit_issued),
     {NEEDS(dossier), NEEDS(permit_number), NEEDS(issued_at_us), {"issued_by", FORM_AGENCY}}},
    {"vn.truc.construction.permit-refused.v1",
     CONSTRUCTION(permit_refused),
     {NEEDS(dossier), NEEDS(refused_at_us), NEEDS(reason)}},
    {"vn.truc.construction.inspected.v1",
     CONSTRUCTION(inspected),
     {NEEDS(dossier), NEEDS(inspected_at_us), NEEDS(result)}},
    {"vn.truc.construction.completed.v1", CONSTRUCTION(completed), {NEEDS(dossier), NEEDS(completed_at_us)}},
    /* parts */
    {NULL, DOSSIER(dossier), {{"code", FORM_REQUIRED | FORM_DOSSIER}}},
    {NULL, DOSSIER(unit), {NEEDS(code), {"read_on", FORM_REQUIRED | FORM_DAY}}},
    {NULL, DOSSIER(document), {NEEDS(name)}},
    {NULL, DOSSIER(fee), {NEEDS(name)}},
    {NULL, DOSSIER(time_limit), {NEEDS(channel), NEEDS(count)}},
    {NULL, LAND(right), {NEEDS(type)}},
    {NULL, LAND(restriction), {NEEDS(type)}},
    {NULL, LAND(responsibility), {NEEDS(type)}},
    {NULL, LAND(spatial_unit), {NEEDS(identifier)}},
};
#define SCHEMAS (sizeof schemas / sizeof schemas[0])

static const struct schema *schema_of_type(struct truc_bytes type)
{
    static const char prefix[] = "vn.truc.";
    if (type.size < sizeof prefix - 1 || memcmp(type.data, prefix, sizeof prefix - 1) != 0) {
        return NULL;
    }
    for (size_t i = 0; i < SCHEMAS && schemas[i].type != NULL; i++) {
        if (truc_bytes_equal(type, truc_bytes_of(schemas[i].type))) {
            return &schemas[i];
        }
    }
    return NULL;
}

static const struct schema *schema_of_part(const ProtobufCMessageDescriptor *descriptor)
{
    for (size_t i = 0; i < SCHEMAS; i++) {
        if (schemas[i].descriptor == descriptor) {
            return &schemas[i];
        }
    }
    return NULL;
}

const struct ProtobufCMessageDescriptor *truc_payload_descriptor(struct truc_bytes type)
{
    const struct schema *schema = schema_of_type(type);
    return schema == NULL ? NULL : schema->descriptor;
}

const char *truc_payload_type(size_t index)
{
    return index < SCHEMAS ? schemas[index].type : NULL;
}

/* ---- codes and days ---------------------------------------------------------------------------------------------- */

static bool all_digits(struct truc_bytes text)
{
    for (size_t i = 0; i < text.size; i++) {
        if (text.data[i] < '0' || text.data[i] > '9') {
            return false;
        }
    }
    return text.size > 0;
}

bool truc_day_is_valid(struct truc_bytes day)
{
    char text[32];
    int64_t ignored;
    if (day.size != 8 || !all_digits(day)) {
        return false;
    }
    const char *d = (const char *)day.data;
    (void)snprintf(text, sizeof text, "%.4s-%.2s-%.2sT00:00:00Z", d, d + 4, d + 6);
    return truc_time_parse(truc_bytes_of(text), &ignored) == TRUC_OK;
}

bool truc_dossier_code_is_valid(struct truc_bytes code)
{
    size_t dash[2], dashes = 0;
    char day[9];
    for (size_t i = 0; i < code.size; i++) {
        if (code.data[i] == '-') {
            if (dashes == 2) {
                return false;
            }
            dash[dashes++] = i;
        }
    }
    if (dashes != 2 || !truc_agency_is_valid(truc_bytes(code.data, dash[0]))) {
        return false;
    }
    struct truc_bytes date = truc_bytes(code.data + dash[0] + 1, dash[1] - dash[0] - 1);
    struct truc_bytes number = truc_bytes(code.data + dash[1] + 1, code.size - dash[1] - 1);
    if (number.size < 4 || number.size > 7 || !all_digits(number) || (date.size != 6 && date.size != 8)) {
        return false;
    }
    (void)snprintf(day, sizeof day, "%s%.*s", date.size == 6 ? "20" : "", (int)date.size, (const char *)date.data);
    return truc_day_is_valid(truc_bytes_of(day));
}

/* ---- the walk ---------------------------------------------------------------------------------------------------- */

struct walk {
    char *why; /* 256 bytes or NULL */
};

/* One sentence; names of fields are ours, values are not quoted: they may be personal data. */
__attribute__((format(printf, 2, 3))) static bool wrong(const struct walk *walk, const char *format, ...)
{
    va_list arguments;
    if (walk->why != NULL) {
        va_start(arguments, format);
        (void)vsnprintf(walk->why, 256, format, arguments);
        va_end(arguments);
    }
    return false;
}

static bool ends_in_us(const char *name)
{
    size_t length = strlen(name);
    return length > 3 && memcmp(name + length - 3, "_us", 3) == 0;
}

/* A varint or fixed value; *filled where it is not 0. */
static bool number_fits(const struct walk *walk, const ProtobufCFieldDescriptor *field, unsigned wire_type,
                        uint64_t value, bool *filled)
{
    bool fits = false;
    double number;
    switch (field->type) {
    case PROTOBUF_C_TYPE_INT64:
        fits = wire_type == TRUC_WIRE_VARINT;
        if (fits && ends_in_us(field->name)) {
            fits = (int64_t)value <= TRUC_TIME_MAX_US && (int64_t)value >= TRUC_TIME_MIN_S * 1000000;
        }
        break;
    case PROTOBUF_C_TYPE_UINT64:
        fits = wire_type == TRUC_WIRE_VARINT;
        break;
    case PROTOBUF_C_TYPE_UINT32:
        fits = wire_type == TRUC_WIRE_VARINT && value <= UINT32_MAX;
        break;
    case PROTOBUF_C_TYPE_INT32:
        fits = wire_type == TRUC_WIRE_VARINT && (int64_t)value >= INT32_MIN && (int64_t)value <= INT32_MAX;
        break;
    case PROTOBUF_C_TYPE_BOOL:
        fits = wire_type == TRUC_WIRE_VARINT && value <= 1;
        break;
    case PROTOBUF_C_TYPE_ENUM:
        fits = wire_type == TRUC_WIRE_VARINT && value <= INT32_MAX &&
               protobuf_c_enum_descriptor_get_value(field->descriptor, (int)value) != NULL;
        break;
    case PROTOBUF_C_TYPE_DOUBLE:
        memcpy(&number, &value, sizeof number);
        fits = wire_type == TRUC_WIRE_FIXED64 && isfinite(number);
        break;
    /* no schema of ours has fields of these */
    case PROTOBUF_C_TYPE_SINT32:
    case PROTOBUF_C_TYPE_SFIXED32:
    case PROTOBUF_C_TYPE_SINT64:
    case PROTOBUF_C_TYPE_SFIXED64:
    case PROTOBUF_C_TYPE_FIXED32:
    case PROTOBUF_C_TYPE_FIXED64:
    case PROTOBUF_C_TYPE_FLOAT:
    /* not numbers */
    case PROTOBUF_C_TYPE_STRING:
    case PROTOBUF_C_TYPE_BYTES:
    case PROTOBUF_C_TYPE_MESSAGE:
        break;
    }
    *filled = value != 0;
    return fits || wrong(walk, "%s is not a value of its type", field->name);
}

static bool form_fits(const struct walk *walk, const ProtobufCFieldDescriptor *field, const struct schema *schema,
                      struct truc_bytes text)
{
    unsigned form = FORM_ANY;
    for (size_t i = 0; schema != NULL && schema->rules[i].field != NULL; i++) {
        if (strcmp(schema->rules[i].field, field->name) == 0) {
            form = schema->rules[i].form;
        }
    }
    if (text.size == 0) {
        return true; /* as if it were not there */
    }
    if ((form & FORM_DOSSIER) && !truc_dossier_code_is_valid(text)) {
        return wrong(walk, "%s is not a dossier code <agency>-<date>-<4 to 7 digits>", field->name);
    }
    if ((form & FORM_AGENCY) && !truc_agency_is_valid(text)) {
        return wrong(walk, "%s is not an agency code", field->name);
    }
    if ((form & FORM_DAY) && !truc_day_is_valid(text)) {
        return wrong(walk, "%s is not a day as yyyymmdd", field->name);
    }
    return true;
}

static bool message_fits(const struct walk *walk, const ProtobufCMessageDescriptor *descriptor,
                         const struct schema *schema, struct truc_bytes bytes, unsigned depth);

static bool bytes_fit(const struct walk *walk, const ProtobufCFieldDescriptor *field, const struct schema *schema,
                      struct truc_bytes value, unsigned depth, bool *filled)
{
    *filled = value.size > 0;
    if (field->type == PROTOBUF_C_TYPE_MESSAGE) {
        *filled = true;
        return depth < DEPTH_MAX
                   ? message_fits(walk, field->descriptor, schema_of_part(field->descriptor), value, depth + 1)
                   : wrong(walk, "%s is nested too deep", field->name);
    }
    if (field->type == PROTOBUF_C_TYPE_STRING) {
        if (!truc_utf8_is_valid(value) || (value.size > 0 && memchr(value.data, 0, value.size) != NULL)) {
            return wrong(walk, "%s is not UTF-8 text without NUL", field->name);
        }
        return form_fits(walk, field, schema, value);
    }
    return field->type == PROTOBUF_C_TYPE_BYTES || wrong(walk, "%s is not a value of its type", field->name);
}

/* Which fields were met, by their place in the descriptor. */
struct seen {
    uint64_t met, filled;
};

/* A singular field comes once, of a oneof's members one: otherwise two readers could take the same bytes differently.
 */
static bool is_first(const struct walk *walk, const ProtobufCMessageDescriptor *descriptor, unsigned place,
                     struct seen *seen)
{
    const ProtobufCFieldDescriptor *field = &descriptor->fields[place];
    if (field->label == PROTOBUF_C_LABEL_REPEATED) {
        return true;
    }
    for (unsigned i = 0; i < descriptor->n_fields; i++) {
        bool same = i == place || ((field->flags & PROTOBUF_C_FIELD_FLAG_ONEOF) != 0 &&
                                   (descriptor->fields[i].flags & PROTOBUF_C_FIELD_FLAG_ONEOF) != 0 &&
                                   descriptor->fields[i].quantifier_offset == field->quantifier_offset);
        if (same && (seen->met & (1ull << i)) != 0) {
            return wrong(walk, "%s comes twice, or beside another form of it", field->name);
        }
    }
    seen->met |= 1ull << place;
    return true;
}

/* The number of the field in descriptor->fields; n_fields where there is none. */
static unsigned place_of(const ProtobufCMessageDescriptor *descriptor, uint32_t id)
{
    unsigned place = 0;
    while (place < descriptor->n_fields && descriptor->fields[place].id != id) {
        place++;
    }
    return place;
}

static bool field_fits(const struct walk *walk, const ProtobufCMessageDescriptor *descriptor,
                       const struct schema *schema, struct truc_wire *wire, unsigned depth, struct seen *seen)
{
    struct truc_bytes value;
    uint32_t id;
    unsigned type;
    uint64_t number = 0;
    bool filled = false;
    if (!truc_wire_tag(wire, &id, &type)) {
        return wrong(walk, "%s: the data is not well-formed protobuf", descriptor->short_name);
    }
    unsigned place = place_of(descriptor, id);
    if (place == descriptor->n_fields || place >= FIELDS_MAX) {
        return wrong(walk, "%s has no field number %u", descriptor->short_name, id);
    }
    const ProtobufCFieldDescriptor *field = &descriptor->fields[place];
    if (!is_first(walk, descriptor, place, seen)) {
        return false;
    }
    if (type == TRUC_WIRE_BYTES) {
        if (!truc_wire_bytes(wire, &value)) {
            return wrong(walk, "%s leads outside the data", field->name);
        }
        if (!bytes_fit(walk, field, schema, value, depth, &filled)) {
            return false;
        }
    } else {
        if (type == TRUC_WIRE_VARINT) {
            if (!truc_wire_varint(wire, &number)) {
                return wrong(walk, "%s is not a shortest varint", field->name);
            }
        } else if (type == TRUC_WIRE_FIXED64 && wire->end - wire->at >= 8) {
            for (unsigned i = 0; i < 8; i++) {
                number |= (uint64_t)wire->at[i] << (8 * i);
            }
            wire->at += 8;
        } else {
            return wrong(walk, "%s is not a value of its type", field->name);
        }
        if (!number_fits(walk, field, type, number, &filled)) {
            return false;
        }
    }
    if (filled) {
        seen->filled |= 1ull << place;
    }
    return true;
}

static bool message_fits(const struct walk *walk, const ProtobufCMessageDescriptor *descriptor,
                         const struct schema *schema, struct truc_bytes bytes, unsigned depth)
{
    struct truc_wire wire = truc_wire_of(bytes);
    struct seen seen = {0};
    while (truc_wire_more(&wire)) {
        if (!field_fits(walk, descriptor, schema, &wire, depth, &seen)) {
            return false;
        }
    }
    for (size_t i = 0; schema != NULL && schema->rules[i].field != NULL; i++) {
        const struct rule *rule = &schema->rules[i];
        for (unsigned place = 0; place < descriptor->n_fields && place < FIELDS_MAX; place++) {
            if ((rule->form & FORM_REQUIRED) && strcmp(descriptor->fields[place].name, rule->field) == 0 &&
                (seen.filled & (1ull << place)) == 0) {
                return wrong(walk, "%s needs %s", descriptor->short_name, rule->field);
            }
        }
    }
    return true;
}

truc_error truc_payload_check(struct truc_bytes type, enum truc_data_kind kind, struct truc_bytes data,
                              struct truc_bytes content_type, char why[256])
{
    const struct walk walk = {.why = why};
    const struct schema *schema = schema_of_type(type);
    if (schema == NULL) {
        return TRUC_OK;
    }
    if (kind != TRUC_DATA_BINARY || !truc_bytes_equal(content_type, truc_bytes_of(TRUC_PAYLOAD_CONTENT_TYPE))) {
        (void)wrong(&walk, "data of this type is binary_data with datacontenttype " TRUC_PAYLOAD_CONTENT_TYPE);
        return TRUC_E_MALFORMED;
    }
    return message_fits(&walk, schema->descriptor, schema, data, 0) ? TRUC_OK : TRUC_E_MALFORMED;
}
