#include "adapters/import/convert.h"

#include "truc/frame.h"
#include "truc/payload.h"

#include <errno.h>

#define ARENA (4u << 20)

struct import_converter {
    struct import_map *map;
    const char *agency;
    struct draft_key key;
    import_made_fn on_made;
    void *context;
    size_t columns;
    struct import_counts counts;
    struct truc_arena *arena;
    struct import_row row;
    struct truc_buffer source, id, subject, value, data, event, why;
};

truc_error import_converter_new(struct import_map *map, const char *agency, const struct draft_key *key,
                                import_made_fn on_made, void *context, struct import_converter **out)
{
    struct import_converter *c = calloc(1, sizeof *c);
    if (c == NULL) {
        return TRUC_E_NOMEM;
    }
    *c = (struct import_converter){.map = map, .agency = agency, .key = *key, .on_made = on_made, .context = context};
    c->row = (struct import_row){.agency = agency,
                                 .entries = map->entries,
                                 .entry_count = map->entry_count,
                                 .offset_minutes = map->offset_minutes};
    truc_error error = truc_arena_new(ARENA, &c->arena);
    if (error == TRUC_OK) {
        error = truc_buffer_printf(&c->source, TRUC_SOURCE_PREFIX "%s:%s", agency, map->source);
    }
    if (error != TRUC_OK) {
        import_converter_free(&c);
        return error;
    }
    *out = c;
    return TRUC_OK;
}

void import_converter_free(struct import_converter **converter)
{
    struct import_converter *c = *converter;
    if (c == NULL) {
        return;
    }
    truc_arena_free(&c->arena);
    truc_buffer_close(&c->row.scratch);
    truc_buffer_close(&c->source);
    truc_buffer_close(&c->id);
    truc_buffer_close(&c->subject);
    truc_buffer_close(&c->value);
    truc_buffer_close(&c->data);
    truc_buffer_close(&c->event);
    truc_buffer_close(&c->why);
    free(c);
    *converter = NULL;
}

const struct import_counts *import_converter_counts(const struct import_converter *converter)
{
    return &converter->counts;
}

const char *import_converter_why(const struct import_converter *converter)
{
    return converter->why.size == 0 ? "" : (const char *)converter->why.data;
}

static bool pattern_fits(const char *pattern, struct truc_bytes text)
{
    size_t length = strlen(pattern);
    if (length > 0 && pattern[length - 1] == '*') {
        return text.size >= length - 1 && (length == 1 || memcmp(text.data, pattern, length - 1) == 0);
    }
    return truc_bytes_equal(truc_bytes(pattern, length), text);
}

static truc_error rule_is_met(struct import_converter *c, const struct import_rule *rule, bool *met,
                              enum import_skip *skip)
{
    *met = true;
    *skip = IMPORT_MADE;
    for (size_t i = 0; i < rule->condition_count && *met && *skip == IMPORT_MADE; i++) {
        truc_buffer_clear(&c->value);
        truc_error error = import_template_write(&rule->conditions[i].value, &c->row, &c->value, skip);
        if (error != TRUC_OK) {
            return error;
        }
        *met = pattern_fits(rule->conditions[i].pattern, truc_buffer_view(&c->value)) != rule->conditions[i].negated;
    }
    return TRUC_OK;
}

static truc_error read_time(struct import_converter *c, const struct import_rule *rule, int64_t *out,
                            enum import_skip *skip)
{
    bool has_offset;
    truc_buffer_clear(&c->value);
    truc_error error = import_template_write(rule->at.count > 0 ? &rule->at : &c->map->time, &c->row, &c->value, skip);
    if (error != TRUC_OK || *skip != IMPORT_MADE) {
        return error;
    }
    if (c->value.size == 0) {
        *skip = IMPORT_SKIP_NO_TIME;
    } else if (import_time_parse(truc_buffer_view(&c->value), c->map->offset_minutes, out, &has_offset) != TRUC_OK) {
        *skip = IMPORT_SKIP_BAD_TIME;
    } else {
        c->row.offset_missing |= !has_offset;
    }
    return TRUC_OK;
}

static truc_error write_data(struct import_converter *c, const struct import_rule *rule, enum import_skip *skip)
{
    struct truc_bytes type = truc_bytes_of(rule->type);
    truc_arena_reset(c->arena);
    ProtobufCMessage *message = import_message_new(rule->descriptor, c->arena);
    if (message == NULL) {
        return TRUC_E_NOMEM;
    }
    for (size_t i = 0; i < c->map->field_count; i++) {
        const struct import_field *field = &c->map->fields[i];
        if (!truc_type_matches(truc_bytes_of(field->types), type)) {
            continue;
        }
        truc_buffer_clear(&c->value);
        truc_error error = import_template_write(&field->value, &c->row, &c->value, skip);
        if (error != TRUC_OK || *skip != IMPORT_MADE) {
            return error;
        }
        if (c->value.size == 0) {
            continue;
        }
        error = import_field_set(message, field->path, truc_buffer_view(&c->value), c->arena);
        if (error == TRUC_E_MALFORMED || error == TRUC_E_TOO_LARGE) {
            *skip = IMPORT_SKIP_BAD_VALUE;
            return TRUC_OK;
        }
        if (error != TRUC_OK) {
            return error;
        }
    }
    truc_buffer_clear(&c->data);
    truc_error error = import_message_pack(message, &c->data);
    if (error == TRUC_OK && truc_payload_check(type, TRUC_DATA_BINARY, truc_buffer_view(&c->data),
                                               truc_bytes_of(TRUC_PAYLOAD_CONTENT_TYPE), NULL) != TRUC_OK) {
        *skip = IMPORT_SKIP_PAYLOAD; /* the hub would refuse it: found out here, with the row at hand */
    }
    return error;
}

static struct truc_bytes recipients_of(const struct import_map *map, const char *type)
{
    for (size_t i = 0; i < map->recipient_count; i++) {
        if (truc_type_matches(truc_bytes_of(map->recipients[i].types), truc_bytes_of(type))) {
            return truc_bytes_of(map->recipients[i].recipients);
        }
    }
    return truc_bytes(NULL, 0);
}

/* Subject first, then id, which may name it, then the data, which may name both. */
static truc_error write_parts(struct import_converter *c, const struct import_rule *rule, struct import_draft *draft,
                              enum import_skip *skip)
{
    c->row.type = draft->type = truc_bytes_of(rule->type);
    c->row.subject = c->row.id = truc_bytes(NULL, 0);
    truc_buffer_clear(&c->subject);
    truc_buffer_clear(&c->id);
    truc_error error = import_template_write(&c->map->subject, &c->row, &c->subject, skip);
    c->row.subject = draft->subject = truc_buffer_view(&c->subject);
    if (error == TRUC_OK && *skip == IMPORT_MADE) {
        error = import_template_write(&c->map->id, &c->row, &c->id, skip);
        c->row.id = draft->id = truc_buffer_view(&c->id);
    }
    if (error == TRUC_OK && *skip == IMPORT_MADE) {
        error = read_time(c, rule, &draft->time_us, skip);
    }
    if (error == TRUC_OK && *skip == IMPORT_MADE) {
        error = write_data(c, rule, skip);
    }
    return error;
}

static truc_error make(struct import_converter *c, const struct import_rule *rule)
{
    enum import_skip skip = IMPORT_MADE;
    struct import_draft draft = {
        .source = truc_buffer_view(&c->source), .recipients = recipients_of(c->map, rule->type), .has_time = true};
    truc_error error = write_parts(c, rule, &draft, &skip);
    if (error != TRUC_OK) {
        return error;
    }
    if (skip == IMPORT_MADE) {
        draft.data = truc_buffer_view(&c->data);
        truc_buffer_clear(&c->event);
        error = import_event_make(&draft, &c->key, &c->event);
        if (error == TRUC_E_NOMEM) {
            return error;
        }
        skip = error == TRUC_OK ? IMPORT_MADE : IMPORT_SKIP_EVENT;
    }
    if (skip != IMPORT_MADE) {
        c->counts.skipped[skip]++;
        return TRUC_OK;
    }
    c->counts.events++;
    const struct import_made made = {.type = rule->type,
                                     .id = draft.id,
                                     .subject = draft.subject,
                                     .recipients = draft.recipients,
                                     .bytes = truc_buffer_view(&c->event)};
    return c->on_made(c->context, &made);
}

truc_error import_converter_record(void *converter, uint64_t number, const struct truc_bytes *fields, size_t count)
{
    struct import_converter *c = converter;
    bool any = false;
    if (number == 0) {
        c->columns = count;
        return import_map_bind(c->map, fields, count, &c->why);
    }
    c->counts.records++;
    if (count != c->columns) {
        c->counts.skipped[IMPORT_SKIP_COLUMNS]++;
        return TRUC_OK;
    }
    c->row.fields = fields;
    c->row.count = count;
    c->row.number = number;
    c->row.offset_missing = false;
    for (size_t i = 0; i < c->map->rule_count; i++) {
        bool met;
        enum import_skip skip;
        truc_error error = rule_is_met(c, &c->map->rules[i], &met, &skip);
        if (error == TRUC_OK && skip != IMPORT_MADE) {
            c->counts.skipped[skip]++;
            any = true;
            continue;
        }
        if (error == TRUC_OK && met) {
            any = true;
            error = make(c, &c->map->rules[i]);
        }
        if (error != TRUC_OK) {
            return error;
        }
    }
    c->counts.skipped[IMPORT_SKIP_NO_RULE] += !any;
    c->counts.offset_missing += c->row.offset_missing;
    return TRUC_OK;
}
