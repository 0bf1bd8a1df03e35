/* How each agency answers. What the logs do not hold is made plainly: an opinion agrees, and an answer carries the time
 * of its question. */
#include "deploy/demo/agency.h"

#include "construction.pb-c.h"
#include "dossier.pb-c.h"
#include "land.pb-c.h"
#include "truc/payload.h"

#define OPINION_GIVEN "vn.truc.construction.technical-opinion-given.v1"
#define PERMIT_ISSUED "vn.truc.construction.permit-issued.v1"
#define PARCEL_ANSWER "vn.truc.land.parcel-answer.v1"
#define RESULT_RETURNED "vn.truc.dossier.result-returned.v1"
#define RESULT_PUBLISHED "vn.truc.results.published.v1"

#define ID_MAX 200

static char *text(const char *literal)
{
    return (char *)(uintptr_t)literal; /* protobuf-c's members are not const; packing does not write */
}

/* The dossier that an event is about: every schema here has it first. NULL: this one has none. */
static Truc__Dossier__V1__Dossier *dossier_of(const ProtobufCMessage *message)
{
    const ProtobufCFieldDescriptor *field =
        protobuf_c_message_descriptor_get_field_by_name(message->descriptor, "dossier");
    Truc__Dossier__V1__Dossier *dossier = NULL;
    if (field != NULL && field->descriptor == &truc__dossier__v1__dossier__descriptor) {
        memcpy(&dossier, (const char *)message + field->offset, sizeof dossier);
    }
    return dossier;
}

/* An answer's id is made of the question's: the same answer again is the same event. */
static struct import_draft answer_to(const struct truc_event *event, const char *type, const char *recipients,
                                     char id[ID_MAX])
{
    int size = (int)(event->id.size > 150 ? 150 : event->id.size);
    (void)snprintf(id, ID_MAX, "re:%.*s/%s", size, (const char *)event->id.data, type + sizeof "vn.truc." - 1);
    return (struct import_draft){.id = truc_bytes_of(id),
                                 .type = truc_bytes_of(type),
                                 .subject = event->subject,
                                 .recipients = truc_bytes_of(recipients),
                                 .has_time = event->has_time,
                                 .time_us = event->time_us};
}

/* NULL: not a type with a schema. The hub has checked the data; here it is checked again, as every reader should. */
static ProtobufCMessage *read_message(struct demo_agency *agency, const struct truc_event *event)
{
    ProtobufCMessage *message;
    const ProtobufCMessageDescriptor *descriptor = truc_payload_descriptor(event->type);
    truc_arena_reset(agency->arena);
    if (descriptor == NULL || event->data_kind != TRUC_DATA_BINARY ||
        truc_unpack(agency->arena, descriptor, event->data, &message) != TRUC_OK) {
        return NULL;
    }
    return message;
}

/* ---- construction department ---------------------------------------------------------------------------------------
 */

static truc_error give_opinion(struct demo_agency *agency, const struct truc_event *event,
                               Truc__Dossier__V1__Dossier *dossier)
{
    char id[ID_MAX], question[TRUC_ID_MAX + 1];
    Truc__Construction__V1__TechnicalOpinionGiven opinion = TRUC__CONSTRUCTION__V1__TECHNICAL_OPINION_GIVEN__INIT;
    (void)snprintf(question, sizeof question, "%.*s", (int)event->id.size, (const char *)event->id.data);
    opinion.dossier = dossier;
    opinion.in_reply_to = question;
    opinion.opinion = TRUC__CONSTRUCTION__V1__TECHNICAL_OPINION_GIVEN__OPINION__OPINION_AGREES;
    opinion.given_at_us = event->time_us;
    const struct import_draft draft = answer_to(event, OPINION_GIVEN, DEMO_ONESTOP, id);
    return demo_queue(agency, "opinions", &draft, &opinion.base, NULL);
}

static truc_error issue_permit(struct demo_agency *agency, const struct truc_event *event,
                               Truc__Dossier__V1__Dossier *dossier)
{
    char id[ID_MAX], number[TRUC_ID_MAX + 8];
    Truc__Construction__V1__PermitIssued permit = TRUC__CONSTRUCTION__V1__PERMIT_ISSUED__INIT;
    (void)snprintf(number, sizeof number, "GPXD-%s", dossier->code);
    permit.dossier = dossier;
    permit.permit_number = number;
    permit.issued_at_us = event->time_us;
    permit.issued_by = text(DEMO_CONSTRUCTION);
    const struct import_draft draft = answer_to(event, PERMIT_ISSUED, DEMO_ONESTOP, id);
    return demo_queue(agency, "decisions", &draft, &permit.base, NULL);
}

static truc_error construction_reacts(struct demo_agency *agency, const struct truc_delivery *delivery)
{
    const struct truc_event *event = delivery->event;
    ProtobufCMessage *message = read_message(agency, event);
    Truc__Dossier__V1__Dossier *dossier = message == NULL ? NULL : dossier_of(message);
    if (dossier == NULL) {
        return TRUC_OK;
    }
    if (message->descriptor == &truc__dossier__v1__transferred__descriptor ||
        message->descriptor == &truc__construction__v1__technical_opinion_requested__descriptor) {
        return give_opinion(agency, event, dossier);
    }
    if (message->descriptor == &truc__dossier__v1__processing_finished__descriptor) {
        return issue_permit(agency, event, dossier);
    }
    return TRUC_OK;
}

/* ---- land office --------------------------------------------------------------------------------------------------
 */

/* A code names a place only at a day: what would a reader take it for who forgot the day? */
static void read_unit(struct demo_agency *agency, const Truc__Dossier__V1__Unit *unit)
{
    if (unit == NULL || agency->units == NULL) {
        return;
    }
    const char *then = demo_units_name(agency->units, unit->code, unit->read_on);
    const char *now = demo_units_name(agency->units, unit->code, DEMO_UNITS_CHANGED);
    agency->counts.units_read++;
    if (then == NULL) {
        agency->counts.units_unknown++;
    } else if (now == NULL || strcmp(then, now) != 0) {
        agency->counts.units_moved++;
    }
}

/* The logs name no parcel: the dossier's number picks one of the register. */
static const struct demo_parcel *parcel_for(const struct demo_agency *agency, struct truc_bytes subject)
{
    return agency->parcel_count == 0 ? NULL : &agency->parcels[truc_subject_hash(subject) % agency->parcel_count];
}

static truc_error answer_parcel(struct demo_agency *agency, const struct truc_event *event,
                                Truc__Dossier__V1__Dossier *dossier)
{
    char id[ID_MAX], question[TRUC_ID_MAX + 1];
    const struct demo_parcel *parcel = parcel_for(agency, event->subject);
    Truc__Land__V1__ParcelAnswer answer = TRUC__LAND__V1__PARCEL_ANSWER__INIT;
    Truc__Land__V1__SpatialUnit spatial = TRUC__LAND__V1__SPATIAL_UNIT__INIT;
    (void)snprintf(question, sizeof question, "%.*s", (int)event->id.size, (const char *)event->id.data);
    answer.dossier = dossier;
    answer.in_reply_to = question;
    answer.answered_at_us = event->time_us;
    answer.found = TRUC__LAND__V1__PARCEL_ANSWER__FOUND__FOUND_NO;
    if (parcel != NULL) {
        spatial.identifier = text(parcel->identifier);
        spatial.sheet = text(parcel->section);
        spatial.number = text(parcel->number);
        spatial.area_m2 = parcel->area_m2;
        spatial.surveyed = parcel->surveyed;
        answer.found = TRUC__LAND__V1__PARCEL_ANSWER__FOUND__FOUND_YES;
        answer.parcel = &spatial;
    }
    const struct import_draft draft = answer_to(event, PARCEL_ANSWER, DEMO_ONESTOP, id);
    return demo_queue(agency, "register", &draft, &answer.base, NULL);
}

static truc_error land_reacts(struct demo_agency *agency, const struct truc_delivery *delivery)
{
    const struct truc_event *event = delivery->event;
    ProtobufCMessage *message = read_message(agency, event);
    if (message == NULL) {
        return TRUC_OK;
    }
    if (message->descriptor == &truc__dossier__v1__transferred__descriptor) {
        read_unit(agency, ((const Truc__Dossier__V1__Transferred *)message)->unit);
        return answer_parcel(agency, event, dossier_of(message));
    }
    if (message->descriptor == &truc__land__v1__parcel_query__descriptor) {
        read_unit(agency, ((const Truc__Land__V1__ParcelQuery *)message)->unit);
        return answer_parcel(agency, event, dossier_of(message));
    }
    return TRUC_OK;
}

/* ---- one-stop desk ------------------------------------------------------------------------------------------------
 */

static truc_error onestop_reacts(struct demo_agency *agency, const struct truc_delivery *delivery)
{
    const struct truc_event *event = delivery->event;
    ProtobufCMessage *message = read_message(agency, event);
    char id[ID_MAX], json[1024];
    if (message == NULL || message->descriptor != &truc__construction__v1__permit_issued__descriptor) {
        return TRUC_OK;
    }
    const Truc__Construction__V1__PermitIssued *permit = (const Truc__Construction__V1__PermitIssued *)message;
    Truc__Dossier__V1__ResultReturned returned = TRUC__DOSSIER__V1__RESULT_RETURNED__INIT;
    Truc__Dossier__V1__Document paper = TRUC__DOSSIER__V1__DOCUMENT__INIT, *papers[] = {&paper};
    paper.name = text("Giấy phép xây dựng");
    paper.number = permit->permit_number;
    paper.issued_at_us = permit->issued_at_us;
    returned.dossier = permit->dossier;
    returned.returned_at_us = event->time_us;
    returned.channel = TRUC__DOSSIER__V1__CHANNEL__CHANNEL_ONLINE;
    returned.n_results = 1;
    returned.results = papers;
    struct import_draft draft = answer_to(event, RESULT_RETURNED, DEMO_WAREHOUSE, id);
    truc_error error = demo_queue(agency, "results", &draft, &returned.base, NULL);
    if (error != TRUC_OK) {
        return error;
    }
    /* The results area has no schema in this version: JSON, which the hub carries as it is. Codes only. */
    (void)snprintf(json, sizeof json, "{\"dossier\":\"%.*s\",\"kind\":\"construction-permit\"}",
                   (int)event->subject.size, (const char *)event->subject.data);
    draft = answer_to(event, RESULT_PUBLISHED, DEMO_WAREHOUSE, id);
    return demo_queue(agency, "results", &draft, NULL, json);
}

static truc_error warehouse_reacts(struct demo_agency *agency, const struct truc_delivery *delivery)
{
    (void)agency;
    (void)delivery; /* it keeps what comes: the store has it already */
    return TRUC_OK;
}

const struct demo_role *demo_role_named(const char *name)
{
    static const struct demo_role roles[] = {{"onestop", DEMO_ONESTOP, onestop_reacts},
                                             {"construction", DEMO_CONSTRUCTION, construction_reacts},
                                             {"land", DEMO_LAND, land_reacts},
                                             {"warehouse", DEMO_WAREHOUSE, warehouse_reacts}};
    for (size_t i = 0; i < sizeof roles / sizeof roles[0]; i++) {
        if (strcmp(roles[i].name, name) == 0) {
            return &roles[i];
        }
    }
    return NULL;
}
