/* A land register's parcels: GeoJSON, one feature a line (a cadastre's export), as LADM spatial units with their
 * geometry as WKB. */
#include "deploy/demo/agency.h"

#include "land.pb-c.h"

#include <errno.h>
#include <jansson.h>

#define LINE_MAX_BYTES (1u << 20)
#define WKB_POLYGON 3u

static truc_error put_u32(struct truc_buffer *out, uint32_t value)
{
    const uint8_t bytes[4] = {(uint8_t)value, (uint8_t)(value >> 8), (uint8_t)(value >> 16), (uint8_t)(value >> 24)};
    return truc_buffer_append(out, bytes, sizeof bytes);
}

static truc_error put_double(struct truc_buffer *out, double value)
{
    uint64_t bits;
    memcpy(&bits, &value, sizeof bits);
    truc_error error = put_u32(out, (uint32_t)bits);
    return error != TRUC_OK ? error : put_u32(out, (uint32_t)(bits >> 32));
}

/* Little-endian WKB of a polygon. Errors: TRUC_E_MALFORMED. */
static truc_error polygon_wkb(const json_t *geometry, struct truc_buffer *out)
{
    const char *type = json_string_value(json_object_get(geometry, "type"));
    json_t *rings = json_object_get(geometry, "coordinates"), *ring, *point;
    size_t i, j;
    truc_error error = TRUC_OK;
    if (type == NULL || strcmp(type, "Polygon") != 0 || json_array_size(rings) == 0) {
        return TRUC_E_MALFORMED;
    }
    error = truc_buffer_append(out, "\x01", 1);
    error = error != TRUC_OK ? error : put_u32(out, WKB_POLYGON);
    error = error != TRUC_OK ? error : put_u32(out, (uint32_t)json_array_size(rings));
    json_array_foreach(rings, i, ring)
    {
        error = error != TRUC_OK ? error : put_u32(out, (uint32_t)json_array_size(ring));
        json_array_foreach(ring, j, point)
        {
            json_t *x = json_array_get(point, 0), *y = json_array_get(point, 1);
            if (!json_is_number(x) || !json_is_number(y)) {
                return TRUC_E_MALFORMED;
            }
            error = error != TRUC_OK ? error : put_double(out, json_number_value(x));
            error = error != TRUC_OK ? error : put_double(out, json_number_value(y));
        }
    }
    return error;
}

static bool copy_text(const json_t *properties, const char *key, char *out, size_t size)
{
    const char *text = json_string_value(json_object_get(properties, key));
    return text != NULL && text[0] != '\0' && (size_t)snprintf(out, size, "%s", text) < size;
}

/* "2007-10-10"; the register's day, taken at midnight UTC. 0: none. */
static int64_t day_us(const json_t *properties, const char *key)
{
    char text[48];
    int64_t time_us;
    const char *day = json_string_value(json_object_get(properties, key));
    (void)snprintf(text, sizeof text, "%.10sT00:00:00Z", day == NULL ? "" : day);
    return truc_time_parse(truc_bytes_of(text), &time_us) == TRUC_OK ? time_us : 0;
}

static truc_error read_parcel(const char *line, size_t size, struct demo_parcel *out, uint64_t *missing_area)
{
    json_t *feature = json_loadb(line, size, JSON_DISABLE_EOF_CHECK, NULL); /* a comma or a bracket may follow */
    const json_t *properties = json_object_get(feature, "properties"), *area;
    truc_error error = TRUC_E_MALFORMED;
    memset(out, 0, sizeof *out);
    if (!copy_text(properties, "id", out->identifier, sizeof out->identifier) ||
        !copy_text(properties, "section", out->section, sizeof out->section) ||
        !copy_text(properties, "numero", out->number, sizeof out->number)) {
        goto out;
    }
    area = json_object_get(properties, "contenance");
    out->area_m2 = json_number_value(area);
    *missing_area += !json_is_number(area);
    out->surveyed = json_is_true(json_object_get(properties, "arpente"));
    out->created_us = day_us(properties, "created");
    out->updated_us = day_us(properties, "updated");
    if (out->created_us != 0) {
        error = polygon_wkb(json_object_get(feature, "geometry"), &out->wkb);
    }
out:
    if (error != TRUC_OK) {
        truc_buffer_close(&out->wkb);
    }
    json_decref(feature);
    return error;
}

truc_error demo_parcels_load(struct demo_agency *agency, const char *path, uint64_t *skipped, uint64_t *missing_area)
{
    static const char start[] = "{\"type\":\"Feature\",";
    char *line = NULL;
    size_t room = 0, capacity = 0;
    ssize_t size;
    truc_error error = TRUC_OK;
    FILE *file = fopen(path, "re");
    if (file == NULL) {
        return TRUC_E_IO;
    }
    while (error == TRUC_OK && (size = getline(&line, &room, file)) >= 0) {
        if ((size_t)size < sizeof start || memcmp(line, start, sizeof start - 1) != 0) {
            continue; /* the collection's own head */
        }
        if (agency->parcel_count == capacity) {
            capacity = capacity == 0 ? 1024 : capacity * 2;
            struct demo_parcel *grown = realloc(agency->parcels, capacity * sizeof *grown);
            if (grown == NULL) {
                error = TRUC_E_NOMEM;
                break;
            }
            agency->parcels = grown;
        }
        error = (size_t)size > LINE_MAX_BYTES
                    ? TRUC_E_MALFORMED
                    : read_parcel(line, (size_t)size, &agency->parcels[agency->parcel_count], missing_area);
        if (error == TRUC_E_MALFORMED) {
            (*skipped)++;
            error = TRUC_OK;
        } else if (error == TRUC_OK) {
            agency->parcel_count++;
        }
    }
    if (error == TRUC_OK && ferror(file)) {
        error = TRUC_E_IO;
    }
    free(line);
    (void)fclose(file); /* read only */
    return error;
}

static void fill(const struct demo_parcel *parcel, Truc__Land__V1__SpatialUnit *spatial,
                 Truc__Land__V1__Geometry *geometry)
{
    truc__land__v1__geometry__init(geometry); /* the macro's braces are gcc's warning, for a oneof */
    geometry->srid = 4326;
    geometry->form_case = TRUC__LAND__V1__GEOMETRY__FORM_WKB;
    geometry->wkb = (ProtobufCBinaryData){parcel->wkb.size, parcel->wkb.data};
    spatial->identifier = (char *)(uintptr_t)parcel->identifier;
    spatial->sheet = (char *)(uintptr_t)parcel->section;
    spatial->number = (char *)(uintptr_t)parcel->number;
    spatial->area_m2 = parcel->area_m2;
    spatial->surveyed = parcel->surveyed;
    spatial->geometry = geometry;
}

truc_error demo_parcel_send(struct demo_agency *agency, const struct demo_parcel *parcel, uint64_t *events)
{
    char id[64];
    Truc__Land__V1__SpatialUnit spatial = TRUC__LAND__V1__SPATIAL_UNIT__INIT;
    Truc__Land__V1__Geometry geometry;
    Truc__Land__V1__ParcelRegistered registered = TRUC__LAND__V1__PARCEL_REGISTERED__INIT;
    Truc__Land__V1__ParcelChanged changed = TRUC__LAND__V1__PARCEL_CHANGED__INIT;
    (void)snprintf(id, sizeof id, "%s/registered", parcel->identifier);
    struct import_draft draft = {.id = truc_bytes_of(id),
                                 .type = truc_bytes_of("vn.truc.land.parcel-registered.v1"),
                                 .subject = truc_bytes_of(parcel->identifier),
                                 .recipients = truc_bytes_of(DEMO_CONSTRUCTION),
                                 .has_time = true,
                                 .time_us = parcel->created_us};
    fill(parcel, &spatial, &geometry);
    registered.parcel = &spatial;
    registered.registered_at_us = parcel->created_us;
    truc_error error = demo_queue(agency, "register", &draft, &registered.base, NULL);
    *events += error == TRUC_OK;
    if (error != TRUC_OK || parcel->updated_us <= parcel->created_us) {
        return error;
    }
    (void)snprintf(id, sizeof id, "%s/changed", parcel->identifier);
    draft.id = truc_bytes_of(id);
    draft.type = truc_bytes_of("vn.truc.land.parcel-changed.v1");
    draft.time_us = parcel->updated_us;
    spatial.geometry = NULL; /* the change that the export tells is a date */
    changed.parcel = &spatial;
    changed.changed_at_us = parcel->updated_us;
    error = demo_queue(agency, "register", &draft, &changed.base, NULL);
    *events += error == TRUC_OK;
    return error;
}
