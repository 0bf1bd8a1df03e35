/* The national catalogue of administrative procedures: one JSON file a procedure, its time limits run together as text
 * ("Trực tuyến20 NgàyMiễn phí..."). */
#include "deploy/demo/agency.h"

#include "dossier.pb-c.h"

#include <errno.h>
#include <jansson.h>

#define LIMITS_MAX 3
#define RESULTS_MAX 8
#define RESULT_SIZE 24

typedef Truc__Dossier__V1__TimeLimit limit_t;

static const struct {
    const char *text;
    Truc__Dossier__V1__Channel channel;
} channels[LIMITS_MAX] = {{"Trực tuyến", TRUC__DOSSIER__V1__CHANNEL__CHANNEL_ONLINE},
                          {"Dịch vụ bưu chính", TRUC__DOSSIER__V1__CHANNEL__CHANNEL_POST},
                          {"Trực tiếp", TRUC__DOSSIER__V1__CHANNEL__CHANNEL_IN_PERSON}};

/* The unit that stands behind the number; the longer names first. */
static Truc__Dossier__V1__TimeLimit__Day unit_of(const char *text)
{
    static const struct {
        const char *text;
        Truc__Dossier__V1__TimeLimit__Day unit;
    } units[] = {{" Ngày làm việc", TRUC__DOSSIER__V1__TIME_LIMIT__DAY__DAY_WORKING_DAY},
                 {" Ngày", TRUC__DOSSIER__V1__TIME_LIMIT__DAY__DAY_CALENDAR_DAY},
                 {" Giờ", TRUC__DOSSIER__V1__TIME_LIMIT__DAY__DAY_HOUR},
                 {" Tháng", TRUC__DOSSIER__V1__TIME_LIMIT__DAY__DAY_MONTH}};
    for (size_t i = 0; i < sizeof units / sizeof units[0]; i++) {
        if (strncmp(text, units[i].text, strlen(units[i].text)) == 0) {
            return units[i].unit;
        }
    }
    return TRUC__DOSSIER__V1__TIME_LIMIT__DAY__DAY_UNSPECIFIED;
}

/* The first limit of each channel that is a number and a unit. */
static size_t read_limits(const char *text, limit_t limits[LIMITS_MAX], uint64_t *odd)
{
    size_t count = 0;
    for (size_t i = 0; i < LIMITS_MAX; i++) {
        const char *at = strstr(text, channels[i].text);
        char *end;
        if (at == NULL) {
            continue;
        }
        at += strlen(channels[i].text);
        if (*at < '0' || *at > '9') {
            continue;
        }
        unsigned long number = strtoul(at, &end, 10);
        Truc__Dossier__V1__TimeLimit__Day unit = unit_of(end);
        if (unit == TRUC__DOSSIER__V1__TIME_LIMIT__DAY__DAY_UNSPECIFIED || number == 0 || number > 10000) {
            (*odd)++;
            continue;
        }
        truc__dossier__v1__time_limit__init(&limits[count]);
        limits[count].channel = channels[i].channel;
        limits[count].count = (uint32_t)number;
        limits[count].unit = unit;
        count++;
    }
    return count;
}

/* "KQ.G10.000935" */
static size_t read_results(const char *text, char results[RESULTS_MAX][RESULT_SIZE])
{
    size_t count = 0;
    for (const char *at = strstr(text, "KQ."); at != NULL && count < RESULTS_MAX; at = strstr(at + 3, "KQ.")) {
        size_t agency = strspn(at + 3, "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789");
        size_t number = at[3 + agency] == '.' ? strspn(at + 4 + agency, "0123456789") : 0;
        size_t length = 4 + agency + number;
        if (agency > 0 && number > 0 && length < RESULT_SIZE) {
            (void)snprintf(results[count++], RESULT_SIZE, "%.*s", (int)length, at);
        }
    }
    return count;
}

static char *text_of(const json_t *procedure, const char *key)
{
    const char *text = json_string_value(json_object_get(procedure, key));
    return (char *)(uintptr_t)(text == NULL ? "" : text); /* packing does not write */
}

truc_error demo_procedure_send(struct demo_agency *agency, const char *path, uint64_t *events, uint64_t *skipped,
                               uint64_t *odd_limits)
{
    limit_t limits[LIMITS_MAX], *limit_list[LIMITS_MAX];
    char results[RESULTS_MAX][RESULT_SIZE], *result_list[RESULTS_MAX], id[128];
    Truc__Dossier__V1__ProcedurePublished published = TRUC__DOSSIER__V1__PROCEDURE_PUBLISHED__INIT;
    json_t *procedure = json_load_file(path, 0, NULL);
    truc_error error = TRUC_OK;
    published.procedure = text_of(procedure, "ma_thu_tuc");
    published.name = text_of(procedure, "ten_thu_tuc");
    published.field_name = text_of(procedure, "linh_vuc");
    published.decision = text_of(procedure, "so_quyet_dinh");
    published.level = text_of(procedure, "cap_thuc_hien");
    if (published.procedure[0] == '\0' || published.name[0] == '\0' || strlen(published.procedure) > 64) {
        (*skipped)++;
        goto out;
    }
    published.n_time_limits = read_limits(text_of(procedure, "cach_thuc_thuc_hien"), limits, odd_limits);
    published.time_limits = limit_list;
    for (size_t i = 0; i < published.n_time_limits; i++) {
        limit_list[i] = &limits[i];
    }
    published.n_result_types = read_results(text_of(procedure, "ket_qua_xu_ly"), results);
    published.result_types = result_list;
    for (size_t i = 0; i < published.n_result_types; i++) {
        result_list[i] = results[i];
    }
    (void)snprintf(id, sizeof id, "procedure/%s", published.procedure);
    const struct import_draft draft = {.id = truc_bytes_of(id),
                                       .type = truc_bytes_of("vn.truc.dossier.procedure-published.v1"),
                                       .subject = truc_bytes_of(published.procedure),
                                       .recipients = truc_bytes_of(DEMO_CONSTRUCTION "," DEMO_LAND)};
    error = demo_queue(agency, "catalogue", &draft, &published.base, NULL);
    *events += error == TRUC_OK;
out:
    json_decref(procedure);
    return error;
}
