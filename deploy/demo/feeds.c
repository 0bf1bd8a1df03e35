/* The files of DATA as each agency reads them: tables through the importer's maps, the land register, the catalogue.
 * What is not there is said and passed over: the demo runs on whatever part of the data is at hand. */
#include "deploy/demo/agency.h"

#include "adapters/import/convert.h"
#include "adapters/import/table.h"

#include <errno.h>
#include <glob.h>
#include <inttypes.h>
#include <unistd.h>

#define PARCELS_A_TURN 64
#define PROCEDURES_A_TURN 4
#define FEEDS_MAX 4

enum feed_kind { FEED_TABLE, FEED_PARCELS, FEED_PROCEDURES };

struct feed_source {
    const char *agency, *name;
    enum feed_kind kind;
    const char *file;                     /* a glob pattern under DATA */
    const char *map;                      /* of a table */
    const char *case_column, *end_column; /* which cases have no end? NULL: nobody asks */
};

static const struct feed_source sources[] = {
    {DEMO_ONESTOP, "procedures", FEED_PROCEDURES, "vn-tthc/{dat-dai,hoat-dong-xay-dung}/*.json", NULL, NULL, NULL},
    {DEMO_ONESTOP, "dossiers", FEED_TABLE, "event-logs-nc/wabo_receipt.csv", "wabo.yaml", "case:concept:name",
     "case:enddate"},
    {DEMO_ONESTOP, "requests", FEED_TABLE, "one-stop-311/*.csv", "requests.yaml", "case_enquiry_id", "closed_dt"},
    {DEMO_CONSTRUCTION, "permits", FEED_TABLE, "permits/*.csv", "permits.yaml", "PermitNum", "IssuedDate"},
    {DEMO_LAND, "parcels", FEED_PARCELS, "parcels/*.geojson", NULL, NULL, NULL},
};

struct feed {
    const struct feed_source *source;
    struct demo_agency *agency;
    bool done;
    glob_t found;
    size_t next; /* parcel or file */
    uint64_t records, events, skipped, notes, without_end;
    /* tables */
    struct import_map *map;
    struct import_converter *converter;
    struct import_table *table;
    size_t case_column, end_column;
    char last_case[64];
};

struct demo_feeds {
    struct feed feeds[FEEDS_MAX];
    size_t count;
};

/* ---- tables ------------------------------------------------------------------------------------------------------ */

static truc_error on_made(void *context, const struct import_made *made)
{
    return demo_submit(((struct feed *)context)->agency, made->bytes);
}

static size_t column_of(const char *name, const struct truc_bytes *fields, size_t count)
{
    size_t column = 0;
    while (column < count && !truc_bytes_equal(fields[column], truc_bytes_of(name))) {
        column++;
    }
    return column;
}

/* A case's rows stand together: it is counted at its first one. */
static void count_end(struct feed *feed, const struct truc_bytes *fields, size_t count)
{
    char name[sizeof feed->last_case];
    if (feed->case_column >= count || feed->end_column >= count || fields[feed->end_column].size > 0) {
        return;
    }
    struct truc_bytes text = fields[feed->case_column];
    (void)snprintf(name, sizeof name, "%.*s", (int)(text.size > 63 ? 63 : text.size), (const char *)text.data);
    if (strcmp(name, feed->last_case) != 0) {
        feed->without_end++;
        memcpy(feed->last_case, name, sizeof name);
    }
}

static truc_error on_record(void *context, uint64_t number, const struct truc_bytes *fields, size_t count)
{
    struct feed *feed = context;
    if (number == 0) {
        feed->case_column = column_of(feed->source->case_column, fields, count);
        feed->end_column = column_of(feed->source->end_column, fields, count);
    } else {
        count_end(feed, fields, count);
    }
    return import_converter_record(feed->converter, number, fields, count);
}

static truc_error open_table(struct feed *feed, const char *maps)
{
    char path[4096];
    struct truc_buffer why = {0};
    (void)snprintf(path, sizeof path, "%s/%s", maps, feed->source->map);
    truc_error error = import_map_load(path, &feed->map, &why);
    if (error == TRUC_OK) {
        error = import_converter_new(feed->map, feed->agency->role->code, &feed->agency->key, on_made, feed,
                                     &feed->converter);
    }
    if (error == TRUC_OK) {
        error = import_table_open(feed->found.gl_pathv[0], feed->map->delimiter, on_record, feed, &feed->table);
    }
    if (error != TRUC_OK) {
        fprintf(stderr, "demo-agency: %s: %s\n%.*s", path, truc_error_string(error), (int)why.size,
                why.size == 0 ? "" : (const char *)why.data);
    }
    truc_buffer_close(&why);
    return error;
}

static truc_error table_turn(struct feed *feed)
{
    truc_error error = import_table_read(feed->table);
    const struct import_counts *counts = import_converter_counts(feed->converter);
    feed->records = counts->records;
    feed->events = counts->events;
    feed->skipped = 0;
    for (int i = IMPORT_MADE + 1; i < IMPORT_SKIP_COUNT_; i++) {
        feed->skipped += counts->skipped[i];
    }
    if (error == TRUC_E_NOT_FOUND) {
        feed->done = true;
        return TRUC_OK;
    }
    if (error != TRUC_OK) {
        fprintf(stderr, "demo-agency: %s: %s\n%s", feed->source->name, truc_error_string(error),
                import_converter_why(feed->converter));
    }
    return error;
}

/* ---- the register and the catalogue -------------------------------------------------------------------------------
 */

static truc_error parcels_turn(struct feed *feed)
{
    truc_error error = TRUC_OK;
    size_t end = feed->next + PARCELS_A_TURN;
    for (; feed->next < end && feed->next < feed->agency->parcel_count && error == TRUC_OK; feed->next++) {
        error = demo_parcel_send(feed->agency, &feed->agency->parcels[feed->next], &feed->events);
    }
    feed->done = feed->next >= feed->agency->parcel_count;
    return error;
}

static truc_error procedures_turn(struct feed *feed)
{
    truc_error error = TRUC_OK;
    size_t end = feed->next + PROCEDURES_A_TURN;
    for (; feed->next < end && feed->next < feed->found.gl_pathc && error == TRUC_OK; feed->next++) {
        feed->records++;
        error = demo_procedure_send(feed->agency, feed->found.gl_pathv[feed->next], &feed->events, &feed->skipped,
                                    &feed->notes);
    }
    feed->done = feed->next >= feed->found.gl_pathc;
    return error;
}

/* ---- all --------------------------------------------------------------------------------------------------------- */

static truc_error open_feed(struct feed *feed, const char *data, const char *maps)
{
    char pattern[4096];
    (void)snprintf(pattern, sizeof pattern, "%s/%s", data, feed->source->file);
    if (glob(pattern, GLOB_BRACE, NULL, &feed->found) != 0) {
        fprintf(stderr, "demo-agency: %s: not there, passed over\n", pattern);
        feed->done = true;
        return TRUC_OK;
    }
    switch (feed->source->kind) {
    case FEED_TABLE:
        return open_table(feed, maps);
    case FEED_PARCELS: {
        truc_error error = demo_parcels_load(feed->agency, feed->found.gl_pathv[0], &feed->skipped, &feed->notes);
        feed->records = feed->agency->parcel_count + feed->skipped;
        return error;
    }
    case FEED_PROCEDURES:
        return TRUC_OK;
    }
    return TRUC_E_INVALID;
}

truc_error demo_feeds_open(struct demo_agency *agency, const char *data, const char *maps, struct demo_feeds **out)
{
    truc_error error = TRUC_OK;
    struct demo_feeds *feeds = calloc(1, sizeof *feeds);
    if (feeds == NULL) {
        return TRUC_E_NOMEM;
    }
    for (size_t i = 0; i < sizeof sources / sizeof sources[0] && error == TRUC_OK; i++) {
        if (strcmp(sources[i].agency, agency->role->code) == 0 && feeds->count < FEEDS_MAX) {
            struct feed *feed = &feeds->feeds[feeds->count++];
            feed->source = &sources[i];
            feed->agency = agency;
            error = open_feed(feed, data, maps);
        }
    }
    if (error != TRUC_OK) {
        demo_feeds_close(&feeds);
        return error;
    }
    *out = feeds;
    return TRUC_OK;
}

void demo_feeds_close(struct demo_feeds **feeds)
{
    if (*feeds == NULL) {
        return;
    }
    for (size_t i = 0; i < (*feeds)->count; i++) {
        struct feed *feed = &(*feeds)->feeds[i];
        import_table_close(&feed->table);
        import_converter_free(&feed->converter);
        import_map_free(&feed->map);
        if (feed->found.gl_pathv != NULL) {
            globfree(&feed->found);
        }
    }
    free(*feeds);
    *feeds = NULL;
}

truc_error demo_feeds_turn(struct demo_feeds *feeds, bool *done)
{
    truc_error error = TRUC_OK;
    *done = true;
    for (size_t i = 0; i < feeds->count && error == TRUC_OK; i++) {
        struct feed *feed = &feeds->feeds[i];
        if (feed->done) {
            continue;
        }
        switch (feed->source->kind) {
        case FEED_TABLE:
            error = table_turn(feed);
            break;
        case FEED_PARCELS:
            error = parcels_turn(feed);
            break;
        case FEED_PROCEDURES:
            error = procedures_turn(feed);
            break;
        }
        *done = *done && feed->done;
    }
    return error;
}

double demo_feeds_progress(const struct demo_feeds *feeds)
{
    uint64_t done = 0, all = 0;
    for (size_t i = 0; i < feeds->count; i++) {
        const struct feed *feed = &feeds->feeds[i];
        uint64_t read = 0, size = 0;
        if (feed->table != NULL) {
            import_table_progress(feed->table, &read, &size);
        } else if (feed->source->kind == FEED_PARCELS) {
            read = feed->next * 512; /* as if in bytes */
            size = feed->agency->parcel_count * 512;
        }
        done += read;
        all += size;
    }
    return all == 0 ? 1.0 : (double)done / (double)all;
}

void demo_feeds_report(const struct demo_feeds *feeds, FILE *out)
{
    for (size_t i = 0; i < feeds->count; i++) {
        const struct feed *feed = &feeds->feeds[i];
        const struct import_counts none = {0},
                                   *counts = feed->converter == NULL ? &none : import_converter_counts(feed->converter);
        fprintf(out,
                "feed name=%s records=%" PRIu64 " events=%" PRIu64 " skipped=%" PRIu64 " offset_missing=%" PRIu64
                " broken_lines=%" PRIu64 " without_end=%" PRIu64 " notes=%" PRIu64 "\n",
                feed->source->name, feed->records, feed->events, feed->skipped, counts->offset_missing,
                feed->table == NULL ? 0 : import_table_broken_lines(feed->table), feed->without_end, feed->notes);
    }
    (void)fflush(out);
}
