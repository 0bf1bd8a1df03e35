#include "adapters/import/map.h"

#include "adapters/import/draft.h"
#include "truc/config.h"
#include "truc/payload.h"

#define MAP_BYTES_MAX (1u << 20)

struct settings {
    char *source, *delimiter, *offset, *id, *subject, *time;
    struct truc_strings recipients, rules, fields, tables;
};

#define SETTING(name, setting_kind, must)                                                                              \
    {                                                                                                                  \
        .key = #name, .kind = setting_kind, .offset = offsetof(struct settings, name), .required = must                \
    }
static const struct truc_config_field settings_fields[] = {
    SETTING(source, TRUC_CONFIG_STRING, true),
    {.key = "delimiter", .kind = TRUC_CONFIG_STRING, .offset = offsetof(struct settings, delimiter), .fallback = ","},
    {.key = "offset", .kind = TRUC_CONFIG_STRING, .offset = offsetof(struct settings, offset), .fallback = "+07:00"},
    SETTING(id, TRUC_CONFIG_STRING, true),
    SETTING(subject, TRUC_CONFIG_STRING, false),
    SETTING(time, TRUC_CONFIG_STRING, true),
    SETTING(recipients, TRUC_CONFIG_STRINGS, false),
    SETTING(rules, TRUC_CONFIG_STRINGS, true),
    SETTING(fields, TRUC_CONFIG_STRINGS, false),
    SETTING(tables, TRUC_CONFIG_STRINGS, false),
};
#define SETTINGS (sizeof settings_fields / sizeof settings_fields[0])

struct reader {
    const char *name;
    struct import_map *map;
    struct truc_buffer *why;
    bool wrong;
    truc_error failure;
};

static void complain(struct reader *r, const char *key, size_t item, const char *text, const char *sentence)
{
    r->wrong = true;
    truc_error error =
        truc_buffer_printf(r->why, "%s: %s, item %zu \"%.80s\": %s\n", r->name, key, item + 1, text, sentence);
    if (error != TRUC_OK) {
        r->failure = error;
    }
}

static char *copy(struct reader *r, const char *text, size_t length)
{
    char *made = strndup(text, length);
    if (made == NULL) {
        r->failure = TRUC_E_NOMEM;
    }
    return made;
}

static void *array(struct reader *r, size_t count, size_t size)
{
    void *made = calloc(count == 0 ? 1 : count, size);
    if (made == NULL) {
        r->failure = TRUC_E_NOMEM;
    }
    return made;
}

/* A separator that does not stand in braces: names of columns hold anything. */
static const char *find_outside(const char *text, const char *separator)
{
    size_t length = strlen(separator);
    for (bool inside = false; *text != '\0'; text++) {
        if (!inside && strncmp(text, separator, length) == 0) {
            return text;
        }
        inside = *text == '{' || (inside && *text != '}');
    }
    return NULL;
}

static void read_template(struct reader *r, const char *key, size_t item, const char *text, size_t length,
                          struct import_template *out)
{
    char why[256] = "";
    char *part = copy(r, text, length);
    if (part == NULL) {
        return;
    }
    truc_error error = import_template_parse(part, out, why);
    if (error == TRUC_E_CONFIG) {
        complain(r, key, item, part, why);
    } else if (error != TRUC_OK) {
        r->failure = error;
    }
    free(part);
}

/* ---- rules ------------------------------------------------------------------------------------------------------- */

static void read_condition(struct reader *r, size_t item, const char *text, size_t length, struct import_rule *rule)
{
    char *part = copy(r, text, length);
    if (part == NULL) {
        return;
    }
    const char *is = find_outside(part, " is ");
    if (is == NULL || rule->condition_count == IMPORT_CONDITIONS_MAX) {
        complain(r, "rules", item, part,
                 is == NULL ? "a condition is \"TEMPLATE is [not] PATTERN\"" : "too many conditions");
    } else {
        struct import_condition *condition = &rule->conditions[rule->condition_count++];
        const char *pattern = is + 4;
        condition->negated = strncmp(pattern, "not ", 4) == 0;
        pattern += condition->negated ? 4 : 0;
        pattern = strcmp(pattern, "empty") == 0 ? "" : pattern;
        condition->pattern = copy(r, pattern, strlen(pattern));
        read_template(r, "rules", item, part, (size_t)(is - part), &condition->value);
    }
    free(part);
}

static void read_rule(struct reader *r, size_t item, const char *text, struct import_rule *rule)
{
    const char *when = find_outside(text, " when "), *at = find_outside(text, " at ");
    const char *end = text + strlen(text);
    if (at != NULL && when != NULL && at > when) {
        at = NULL;
    }
    const char *type_end = at != NULL ? at : when != NULL ? when : end;
    rule->type = copy(r, text, (size_t)(type_end - text));
    if (rule->type == NULL) {
        return;
    }
    rule->descriptor = truc_payload_descriptor(truc_bytes_of(rule->type));
    if (rule->descriptor == NULL) {
        complain(r, "rules", item, text, "there is no schema for this type");
    }
    if (at != NULL) {
        read_template(r, "rules", item, at + 4, (size_t)((when != NULL ? when : end) - at - 4), &rule->at);
    }
    while (when != NULL) {
        const char *start = when + (strncmp(when, " and ", 5) == 0 ? 5 : 6);
        when = find_outside(start, " and ");
        read_condition(r, item, start, (size_t)((when != NULL ? when : end) - start), rule);
    }
}

/* ---- fields, recipients, tables ---------------------------------------------------------------------------------- */

static void read_field(struct reader *r, size_t item, const char *text, struct import_field *field)
{
    const char *colon = strstr(text, ": "), *equals = colon == NULL ? NULL : strstr(colon, " = ");
    bool used = false;
    if (equals == NULL) {
        complain(r, "fields", item, text, "a field is \"TYPE-PATTERN: PATH = TEMPLATE\"");
        return;
    }
    field->types = copy(r, text, (size_t)(colon - text));
    field->path = copy(r, colon + 2, (size_t)(equals - colon - 2));
    read_template(r, "fields", item, equals + 3, strlen(equals + 3), &field->value);
    if (field->types == NULL || field->path == NULL) {
        return;
    }
    for (size_t i = 0; i < r->map->rule_count; i++) {
        const struct import_rule *rule = &r->map->rules[i];
        if (rule->type == NULL || !truc_type_matches(truc_bytes_of(field->types), truc_bytes_of(rule->type))) {
            continue;
        }
        used = true;
        if (rule->descriptor != NULL && !import_field_exists(rule->descriptor, field->path)) {
            complain(r, "fields", item, text, "a type that it matches has no such field");
            return;
        }
    }
    if (!used) {
        complain(r, "fields", item, text, "no rule makes an event of such a type");
    }
}

static void read_recipients(struct reader *r, size_t item, const char *text, struct import_recipients *out)
{
    const char *equals = strstr(text, " = ");
    if (equals == NULL || equals[3] == '\0') {
        complain(r, "recipients", item, text, "an item is \"TYPE-PATTERN = CODE,@GROUP,...\"");
        return;
    }
    out->types = copy(r, text, (size_t)(equals - text));
    out->recipients = copy(r, equals + 3, strlen(equals + 3));
}

static void read_entry(struct reader *r, size_t item, const char *text, struct import_entry *entry)
{
    const char *colon = strstr(text, ": "), *equals = NULL;
    for (const char *at = colon == NULL ? NULL : strstr(colon, " = "); at != NULL; at = strstr(at + 1, " = ")) {
        equals = at; /* the last one: keys are foreign text */
    }
    if (equals == NULL) {
        complain(r, "tables", item, text, "an item is \"TABLE: KEY = VALUE\"");
        return;
    }
    entry->table = copy(r, text, (size_t)(colon - text));
    entry->key = equals < colon + 2 ? copy(r, "", 0) : copy(r, colon + 2, (size_t)(equals - colon - 2));
    entry->value = copy(r, equals + 3, strlen(equals + 3));
}

/* "+07:00" */
static void read_offset(struct reader *r, const char *text)
{
    int64_t at = 0;
    bool has_offset = false;
    char probe[64];
    (void)snprintf(probe, sizeof probe, "1970-01-01T00:00:00%.20s", text);
    if (import_time_parse(truc_bytes_of(probe), 0, &at, &has_offset) != TRUC_OK || !has_offset) {
        complain(r, "offset", 0, text, "an offset is +hh:mm, -hh:mm or Z");
        return;
    }
    r->map->offset_minutes = (int32_t)(-at / 60000000);
}

static void take(struct reader *r, struct settings *s)
{
    struct import_map *map = r->map;
    map->source = s->source;
    s->source = NULL;
    map->delimiter = s->delimiter[0];
    if (strlen(s->delimiter) != 1 || s->delimiter[0] == '"') {
        complain(r, "delimiter", 0, s->delimiter, "it is one character");
    }
    read_offset(r, s->offset);
    read_template(r, "id", 0, s->id, strlen(s->id), &map->id);
    if (s->subject != NULL) {
        read_template(r, "subject", 0, s->subject, strlen(s->subject), &map->subject);
    }
    read_template(r, "time", 0, s->time, strlen(s->time), &map->time);
    map->rules = array(r, s->rules.count, sizeof *map->rules);
    map->fields = array(r, s->fields.count, sizeof *map->fields);
    map->recipients = array(r, s->recipients.count, sizeof *map->recipients);
    map->entries = array(r, s->tables.count, sizeof *map->entries);
    if (r->failure != TRUC_OK) {
        return;
    }
    map->rule_count = s->rules.count;
    for (size_t i = 0; i < s->rules.count; i++) {
        read_rule(r, i, s->rules.items[i], &map->rules[i]);
    }
    map->field_count = s->fields.count;
    for (size_t i = 0; i < s->fields.count; i++) {
        read_field(r, i, s->fields.items[i], &map->fields[i]);
    }
    map->recipient_count = s->recipients.count;
    for (size_t i = 0; i < s->recipients.count; i++) {
        read_recipients(r, i, s->recipients.items[i], &map->recipients[i]);
    }
    map->entry_count = s->tables.count;
    for (size_t i = 0; i < s->tables.count; i++) {
        read_entry(r, i, s->tables.items[i], &map->entries[i]);
    }
}

truc_error import_map_read(const char *name, struct truc_bytes text, struct import_map **out, struct truc_buffer *why)
{
    struct settings settings = {0};
    struct reader r = {.name = name, .why = why};
    truc_error error = truc_config_read(name, text, settings_fields, SETTINGS, &settings, why);
    if (error != TRUC_OK) {
        return error;
    }
    r.map = calloc(1, sizeof *r.map);
    if (r.map == NULL) {
        r.failure = TRUC_E_NOMEM;
    } else {
        take(&r, &settings);
    }
    truc_config_close(settings_fields, SETTINGS, &settings);
    if (r.failure != TRUC_OK || r.wrong) {
        import_map_free(&r.map);
        return r.failure != TRUC_OK ? r.failure : TRUC_E_CONFIG;
    }
    *out = r.map;
    return TRUC_OK;
}

truc_error import_map_load(const char *path, struct import_map **out, struct truc_buffer *why)
{
    struct truc_buffer text = {0};
    truc_error error = truc_file_read(path, MAP_BYTES_MAX, &text);
    if (error == TRUC_OK) {
        error = import_map_read(path, truc_buffer_view(&text), out, why);
    }
    truc_buffer_close(&text);
    return error;
}

void import_map_free(struct import_map **map)
{
    struct import_map *m = *map;
    if (m == NULL) {
        return;
    }
    for (size_t i = 0; i < m->rule_count; i++) {
        free(m->rules[i].type);
        import_template_close(&m->rules[i].at);
        for (size_t j = 0; j < m->rules[i].condition_count; j++) {
            import_template_close(&m->rules[i].conditions[j].value);
            free(m->rules[i].conditions[j].pattern);
        }
    }
    for (size_t i = 0; i < m->field_count; i++) {
        free(m->fields[i].types);
        free(m->fields[i].path);
        import_template_close(&m->fields[i].value);
    }
    for (size_t i = 0; i < m->recipient_count; i++) {
        free(m->recipients[i].types);
        free(m->recipients[i].recipients);
    }
    for (size_t i = 0; i < m->entry_count; i++) {
        free(m->entries[i].table);
        free(m->entries[i].key);
        free(m->entries[i].value);
    }
    import_template_close(&m->id);
    import_template_close(&m->subject);
    import_template_close(&m->time);
    free(m->source);
    free(m->rules);
    free(m->fields);
    free(m->recipients);
    free(m->entries);
    free(m);
    *map = NULL;
}

static truc_error bind(struct import_template *t, const struct truc_bytes *names, size_t count, struct truc_buffer *why)
{
    const char *missing;
    if (import_template_bind(t, names, count, &missing)) {
        return TRUC_OK;
    }
    truc_error error = truc_buffer_printf(why, "the table has no column \"%s\"\n", missing);
    return error != TRUC_OK ? error : TRUC_E_CONFIG;
}

truc_error import_map_bind(struct import_map *map, const struct truc_bytes *names, size_t count,
                           struct truc_buffer *why)
{
    truc_error error = bind(&map->id, names, count, why);
    error = error != TRUC_OK ? error : bind(&map->subject, names, count, why);
    error = error != TRUC_OK ? error : bind(&map->time, names, count, why);
    for (size_t i = 0; i < map->rule_count && error == TRUC_OK; i++) {
        error = bind(&map->rules[i].at, names, count, why);
        for (size_t j = 0; j < map->rules[i].condition_count && error == TRUC_OK; j++) {
            error = bind(&map->rules[i].conditions[j].value, names, count, why);
        }
    }
    for (size_t i = 0; i < map->field_count && error == TRUC_OK; i++) {
        error = bind(&map->fields[i].value, names, count, why);
    }
    return error;
}
