#include "truc/config.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <yaml.h>

#define CONFIG_BYTES_MAX (1u << 20)
#define KEY_MAX 255

struct reader {
    const char *name;
    const struct truc_config_field *fields;
    size_t count;
    void *target;
    struct truc_buffer *why;
    yaml_document_t *document;
    bool *seen;
    size_t *lines;      /* where each key stands; a missing one: the line of its mapping */
    bool wrong;         /* something was said in `why` */
    truc_error failure; /* no memory: ends the reading */
};

static void complain(struct reader *r, size_t line, const char *key, const char *format, ...)
    __attribute__((format(printf, 4, 5)));

static void complain(struct reader *r, size_t line, const char *key, const char *format, ...)
{
    char sentence[512];
    va_list arguments;
    va_start(arguments, format);
    (void)vsnprintf(sentence, sizeof sentence, format, arguments);
    va_end(arguments);
    r->wrong = true;
    truc_error error = key != NULL ? truc_buffer_printf(r->why, "%s:%zu: %s: %s\n", r->name, line, key, sentence)
                                   : truc_buffer_printf(r->why, "%s:%zu: %s\n", r->name, line, sentence);
    if (error != TRUC_OK) {
        r->failure = error;
    }
}

static void *member(void *target, const struct truc_config_field *field)
{
    return (char *)target + field->offset;
}

/* A decimal number and what stands behind it. false where there is no number or it does not fit. */
static bool number_of(const char *text, int64_t *out, const char **rest)
{
    if (text[0] != '-' && (text[0] < '0' || text[0] > '9')) {
        return false;
    }
    char *end;
    errno = 0;
    long long value = strtoll(text, &end, 10);
    if (errno != 0 || end == text) {
        return false;
    }
    while (*end == ' ') {
        end++;
    }
    *out = value;
    *rest = end;
    return true;
}

struct unit {
    const char *name;
    int64_t factor;
};

static const struct unit size_units[] = {{"", 1}, {"B", 1}, {"KiB", 1 << 10}, {"MiB", 1 << 20}, {"GiB", 1 << 30}};
static const struct unit duration_units[] = {
    {"ms", 1}, {"s", 1000}, {"min", 60000}, {"h", 3600000}, {"d", INT64_C(86400000)}};
static const struct unit no_units[] = {{"", 1}};

static bool quantity_of(const char *text, const struct unit *units, size_t count, int64_t *out)
{
    const char *rest;
    int64_t value;
    if (!number_of(text, &value, &rest)) {
        return false;
    }
    if (value == 0 && rest[0] == '\0') { /* nothing needs no unit */
        *out = 0;
        return true;
    }
    for (size_t i = 0; i < count; i++) {
        if (strcmp(rest, units[i].name) == 0) {
            return !__builtin_mul_overflow(value, units[i].factor, out);
        }
    }
    return false;
}

static const char *number_form(enum truc_config_kind kind)
{
    switch (kind) {
    case TRUC_CONFIG_INTEGER:
        return "a whole number";
    case TRUC_CONFIG_SIZE:
        return "a size: a number, alone or with KiB, MiB or GiB";
    case TRUC_CONFIG_DURATION:
        return "a duration: a number with ms, s, min, h or d";
    case TRUC_CONFIG_STRING:
    case TRUC_CONFIG_STRINGS:
    case TRUC_CONFIG_BOOLEAN:
        break;
    }
    return "a number";
}

static void set_number(struct reader *r, const struct truc_config_field *field, const char *text, size_t line)
{
    int64_t value = 0;
    bool good = field->kind == TRUC_CONFIG_SIZE
                    ? quantity_of(text, size_units, sizeof size_units / sizeof size_units[0], &value)
                : field->kind == TRUC_CONFIG_DURATION
                    ? quantity_of(text, duration_units, sizeof duration_units / sizeof duration_units[0], &value)
                    : quantity_of(text, no_units, 1, &value);
    if (!good) {
        complain(r, line, field->key, "\"%.60s\" is not %s", text, number_form(field->kind));
        return;
    }
    bool checked = field->minimum != 0 || field->maximum != 0;
    if (checked && (value < field->minimum || value > field->maximum)) {
        const char *unit = field->kind == TRUC_CONFIG_DURATION ? " ms"
                           : field->kind == TRUC_CONFIG_SIZE   ? " bytes"
                                                               : "";
        complain(r, line, field->key, "%s is outside %" PRId64 " to %" PRId64 "%s", text, field->minimum,
                 field->maximum, unit);
        return;
    }
    if (!checked && value < 0 && field->kind != TRUC_CONFIG_INTEGER) {
        complain(r, line, field->key, "%s is negative", text);
        return;
    }
    memcpy(member(r->target, field), &value, sizeof value);
}

static char *text_of(struct reader *r, const char *text)
{
    char *copy = strdup(text);
    if (copy == NULL) {
        r->failure = TRUC_E_NOMEM;
    }
    return copy;
}

static void add_string(struct reader *r, const struct truc_config_field *field, const char *text)
{
    struct truc_strings *list = member(r->target, field);
    char **items = realloc(list->items, (list->count + 1) * sizeof *items);
    if (items == NULL) {
        r->failure = TRUC_E_NOMEM;
        return;
    }
    list->items = items;
    items[list->count] = text_of(r, text);
    if (items[list->count] != NULL) {
        list->count++;
    }
}

static void set_scalar(struct reader *r, const struct truc_config_field *field, const char *text, size_t line)
{
    const char *wrong = field->check != NULL ? field->check(text) : NULL;
    if (wrong != NULL) {
        complain(r, line, field->key, "\"%.60s\" %s", text, wrong);
        return;
    }
    switch (field->kind) {
    case TRUC_CONFIG_STRING: {
        char *copy = text_of(r, text);
        memcpy(member(r->target, field), &copy, sizeof copy);
        return;
    }
    case TRUC_CONFIG_STRINGS:
        add_string(r, field, text);
        return;
    case TRUC_CONFIG_INTEGER:
    case TRUC_CONFIG_SIZE:
    case TRUC_CONFIG_DURATION:
        set_number(r, field, text, line);
        return;
    case TRUC_CONFIG_BOOLEAN: {
        bool value = strcmp(text, "true") == 0;
        if (!value && strcmp(text, "false") != 0) {
            complain(r, line, field->key, "\"%.60s\" is neither true nor false", text);
            return;
        }
        memcpy(member(r->target, field), &value, sizeof value);
        return;
    }
    }
    abort(); /* a kind that is not in the enum is a bug of the caller */
}

/* The text of a scalar; NULL after a complaint. */
static const char *scalar_text(struct reader *r, const yaml_node_t *node, const char *key)
{
    size_t line = node->start_mark.line + 1;
    if (node->type != YAML_SCALAR_NODE) {
        complain(r, line, key, "should be a single value, not a %s",
                 node->type == YAML_SEQUENCE_NODE ? "list" : "mapping");
        return NULL;
    }
    const char *text = (const char *)node->data.scalar.value;
    if (strlen(text) != node->data.scalar.length) {
        complain(r, line, key, "holds a zero byte");
        return NULL;
    }
    bool bare = node->data.scalar.style == YAML_PLAIN_SCALAR_STYLE;
    if (bare && (text[0] == '\0' || strcmp(text, "~") == 0 || strcmp(text, "null") == 0)) {
        complain(r, line, key, "has no value");
        return NULL;
    }
    return text;
}

static void read_value(struct reader *r, const struct truc_config_field *field, const yaml_node_t *node)
{
    if (field->kind != TRUC_CONFIG_STRINGS || node->type != YAML_SEQUENCE_NODE) {
        const char *text = scalar_text(r, node, field->key);
        if (text != NULL) {
            set_scalar(r, field, text, node->start_mark.line + 1);
        }
        return;
    }
    for (yaml_node_item_t *item = node->data.sequence.items.start; item < node->data.sequence.items.top; item++) {
        const yaml_node_t *entry = yaml_document_get_node(r->document, *item);
        const char *text = scalar_text(r, entry, field->key);
        if (text != NULL) {
            set_scalar(r, field, text, entry->start_mark.line + 1);
        }
    }
    if (field->required && node->data.sequence.items.start == node->data.sequence.items.top) {
        complain(r, node->start_mark.line + 1, field->key, "needs at least one entry");
    }
}

static const struct truc_config_field *find_field(const struct reader *r, const char *key)
{
    for (size_t i = 0; i < r->count; i++) {
        if (strcmp(r->fields[i].key, key) == 0) {
            return &r->fields[i];
        }
    }
    return NULL;
}

/* Notes the line of the mapping for each field inside it; false where no field lies inside. */
static bool enter_section(struct reader *r, const char *key, size_t line)
{
    size_t length = strlen(key);
    bool any = false;
    for (size_t i = 0; i < r->count; i++) {
        if (strncmp(r->fields[i].key, key, length) == 0 && r->fields[i].key[length] == '.') {
            r->lines[i] = line;
            any = true;
        }
    }
    return any;
}

static bool repeats_earlier(const struct reader *r, const yaml_node_t *mapping, const yaml_node_pair_t *pair,
                            const char *name)
{
    for (yaml_node_pair_t *p = mapping->data.mapping.pairs.start; p < pair; p++) {
        const yaml_node_t *key = yaml_document_get_node(r->document, p->key);
        if (key->type == YAML_SCALAR_NODE && strcmp((const char *)key->data.scalar.value, name) == 0) {
            return true;
        }
    }
    return false;
}

/* Recursion ends with the table: a mapping is entered only where a longer key of the table begins with its path. */
static void read_mapping(struct reader *r, const yaml_node_t *mapping, const char *prefix)
{
    for (yaml_node_pair_t *p = mapping->data.mapping.pairs.start; p < mapping->data.mapping.pairs.top; p++) {
        const yaml_node_t *key = yaml_document_get_node(r->document, p->key);
        const yaml_node_t *value = yaml_document_get_node(r->document, p->value);
        size_t line = key->start_mark.line + 1;
        char path[KEY_MAX + 1];
        if (key->type != YAML_SCALAR_NODE || key->data.scalar.length > KEY_MAX) {
            complain(r, line, NULL, "a key should be a short text");
            continue;
        }
        const char *name = (const char *)key->data.scalar.value;
        int length = snprintf(path, sizeof path, "%s%s%s", prefix, prefix[0] != '\0' ? "." : "", name);
        const struct truc_config_field *field = length < (int)sizeof path ? find_field(r, path) : NULL;
        if (field != NULL && r->seen[field - r->fields]) {
            complain(r, line, path, "stands here twice");
        } else if (field != NULL) {
            r->seen[field - r->fields] = true;
            r->lines[field - r->fields] = line;
            read_value(r, field, value);
        } else if (length >= (int)sizeof path || !enter_section(r, path, line)) {
            complain(r, line, path, "unknown key");
        } else if (repeats_earlier(r, mapping, p, name)) {
            complain(r, line, path, "stands here twice");
        } else if (value->type != YAML_MAPPING_NODE) {
            complain(r, value->start_mark.line + 1, path, "should be a mapping");
        } else {
            read_mapping(r, value, path);
        }
        if (r->failure != TRUC_OK) {
            return;
        }
    }
}

static void finish_fields(struct reader *r)
{
    for (size_t i = 0; i < r->count && r->failure == TRUC_OK; i++) {
        const struct truc_config_field *field = &r->fields[i];
        if (r->seen[i]) {
            continue;
        }
        if (field->required) {
            complain(r, r->lines[i], field->key, "is missing and required");
        } else if (field->fallback != NULL) {
            set_scalar(r, field, field->fallback, r->lines[i]);
        }
    }
}

static void read_document(struct reader *r, yaml_parser_t *parser)
{
    yaml_document_t document;
    if (!yaml_parser_load(parser, &document)) {
        complain(r, parser->problem_mark.line + 1, NULL, "%s", parser->problem != NULL ? parser->problem : "not YAML");
        return;
    }
    r->document = &document;
    const yaml_node_t *root = yaml_document_get_root_node(&document);
    if (root != NULL && root->type == YAML_MAPPING_NODE) {
        for (size_t i = 0; i < r->count; i++) {
            r->lines[i] = root->start_mark.line + 1;
        }
        read_mapping(r, root, "");
    } else if (root != NULL && !(root->type == YAML_SCALAR_NODE && root->data.scalar.length == 0)) {
        complain(r, root->start_mark.line + 1, NULL, "should be a mapping of keys to values");
    }
    if (root != NULL && r->failure == TRUC_OK) {
        yaml_document_t next;
        if (!yaml_parser_load(parser, &next)) {
            complain(r, parser->problem_mark.line + 1, NULL, "%s",
                     parser->problem != NULL ? parser->problem : "not YAML");
        } else {
            const yaml_node_t *second = yaml_document_get_root_node(&next);
            if (second != NULL) {
                complain(r, second->start_mark.line + 1, NULL, "a second document: only one is read");
            }
            yaml_document_delete(&next);
        }
    }
    if (r->failure == TRUC_OK) {
        finish_fields(r);
    }
    yaml_document_delete(&document);
}

truc_error truc_config_read_partly(const char *name, struct truc_bytes text, const struct truc_config_field *fields,
                                   size_t count, void *target, size_t *lines, struct truc_buffer *why)
{
    yaml_parser_t parser;
    struct reader r = {.name = name, .fields = fields, .count = count, .target = target, .why = why, .lines = lines};
    r.seen = calloc(count + 1, sizeof *r.seen);
    bool parsing = yaml_parser_initialize(&parser) == 1;
    if (r.seen == NULL || !parsing) {
        r.failure = TRUC_E_NOMEM;
        goto out;
    }
    for (size_t i = 0; i < count; i++) {
        r.lines[i] = 1;
    }
    yaml_parser_set_input_string(&parser, text.data != NULL ? text.data : (const uint8_t *)"", text.size);
    read_document(&r, &parser);
out:
    if (parsing) {
        yaml_parser_delete(&parser);
    }
    free(r.seen);
    if (r.failure != TRUC_OK) {
        truc_config_close(fields, count, target);
    }
    return r.failure != TRUC_OK ? r.failure : r.wrong ? TRUC_E_CONFIG : TRUC_OK;
}

truc_error truc_config_read(const char *name, struct truc_bytes text, const struct truc_config_field *fields,
                            size_t count, void *target, struct truc_buffer *why)
{
    size_t *lines = calloc(count + 1, sizeof *lines);
    if (lines == NULL) {
        return TRUC_E_NOMEM;
    }
    truc_error error = truc_config_read_partly(name, text, fields, count, target, lines, why);
    if (error != TRUC_OK) {
        truc_config_close(fields, count, target);
    }
    free(lines);
    return error;
}

size_t truc_config_line(const struct truc_config_field *fields, size_t count, const size_t *lines, const char *key)
{
    for (size_t i = 0; i < count; i++) {
        if (strcmp(fields[i].key, key) == 0) {
            return lines[i];
        }
    }
    abort(); /* a key that is not in the table is a bug of the caller */
}

truc_error truc_config_load(const char *path, const struct truc_config_field *fields, size_t count, void *target,
                            struct truc_buffer *why)
{
    struct truc_buffer text = {0};
    truc_error error = truc_file_read(path, CONFIG_BYTES_MAX, &text);
    if (error == TRUC_OK) {
        error = truc_config_read(path, truc_buffer_view(&text), fields, count, target, why);
    } else if (error == TRUC_E_IO || error == TRUC_E_TOO_LARGE) {
        const char *reason = error == TRUC_E_IO ? strerror(errno) : "longer than 1 MiB";
        error = truc_buffer_printf(why, "%s:0: cannot be read: %s\n", path, reason);
        error = error == TRUC_OK ? TRUC_E_CONFIG : error;
    }
    truc_buffer_close(&text);
    return error;
}

static void close_strings(struct truc_strings *list)
{
    for (size_t i = 0; i < list->count; i++) {
        free(list->items[i]);
    }
    free(list->items);
    *list = (struct truc_strings){0};
}

void truc_config_close(const struct truc_config_field *fields, size_t count, void *target)
{
    for (size_t i = 0; i < count; i++) {
        void *at = member(target, &fields[i]);
        switch (fields[i].kind) {
        case TRUC_CONFIG_STRING:
            free(*(char **)at);
            *(char **)at = NULL;
            break;
        case TRUC_CONFIG_STRINGS:
            close_strings(at);
            break;
        case TRUC_CONFIG_INTEGER:
        case TRUC_CONFIG_SIZE:
        case TRUC_CONFIG_DURATION:
            *(int64_t *)at = 0;
            break;
        case TRUC_CONFIG_BOOLEAN:
            *(bool *)at = false;
            break;
        }
    }
}
