#include "deploy/demo/units.h"

#include <glob.h>
#include <jansson.h>

#define PROVINCE "04"

struct demo_units {
    json_t *before, *after; /* objects: code to name */
};

/* Takes the communes of the province out of a list of provinces into `into`. Before the change they stand under their
 * districts. */
static void collect(json_t *unit, json_t *into)
{
    static const char *const below[] = {"District", "Ward", "Wards"};
    size_t index;
    json_t *child;
    for (size_t i = 0; i < sizeof below / sizeof below[0]; i++) {
        json_array_foreach(json_object_get(unit, below[i]), index, child)
        {
            const char *code = json_string_value(json_object_get(child, "Code"));
            json_t *name = json_object_get(child, "FullName");
            if (code != NULL && strlen(code) == 5 && json_is_string(name)) {
                (void)json_object_set(into, code, name); /* without memory it is missing, and counted as unknown */
            }
            collect(child, into);
        }
    }
}

static truc_error load(const char *data, const char *pattern, json_t **out)
{
    char path[4096];
    glob_t found;
    truc_error error = TRUC_OK;
    json_t *provinces = NULL, *province;
    size_t index;
    (void)snprintf(path, sizeof path, "%s/vn-admin-units/%s", data, pattern);
    if (glob(path, 0, NULL, &found) != 0) {
        return TRUC_E_NOT_FOUND;
    }
    *out = json_object();
    provinces = json_load_file(found.gl_pathv[0], 0, NULL);
    if (*out == NULL || !json_is_array(provinces)) {
        error = TRUC_E_MALFORMED;
        goto out;
    }
    json_array_foreach(provinces, index, province)
    {
        const char *code = json_string_value(json_object_get(province, "Code"));
        if (code != NULL && strcmp(code, PROVINCE) == 0) {
            collect(province, *out);
        }
    }
    error = json_object_size(*out) > 0 ? TRUC_OK : TRUC_E_MALFORMED;
out:
    json_decref(provinces);
    globfree(&found);
    return error;
}

truc_error demo_units_load(const char *data, struct demo_units **out)
{
    struct demo_units *units = calloc(1, sizeof *units);
    if (units == NULL) {
        return TRUC_E_NOMEM;
    }
    truc_error error = load(data, "pre-2025-07-01_*.json", &units->before);
    error = error != TRUC_OK ? error : load(data, "post-2025-07-01_*.json", &units->after);
    if (error != TRUC_OK) {
        demo_units_free(&units);
        return error;
    }
    *out = units;
    return TRUC_OK;
}

void demo_units_free(struct demo_units **units)
{
    if (*units != NULL) {
        json_decref((*units)->before);
        json_decref((*units)->after);
        free(*units);
        *units = NULL;
    }
}

const char *demo_units_name(const struct demo_units *units, const char *code, const char *day)
{
    const json_t *list = strcmp(day, DEMO_UNITS_CHANGED) < 0 ? units->before : units->after;
    return json_string_value(json_object_get(list, code));
}
