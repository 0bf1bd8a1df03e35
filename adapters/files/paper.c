#include "adapters/files/paper.h"

#include <jansson.h>

/* A text that is not UTF-8 cannot stand in JSON: then its odd bytes become '?'. */
static json_t *text_of(struct truc_bytes text)
{
    json_t *value = json_stringn((const char *)text.data, text.size);
    if (value != NULL) {
        return value;
    }
    char *copy = strndup((const char *)text.data, text.size);
    for (char *c = copy; c != NULL && *c != '\0'; c++) {
        *c = (signed char)*c < 0x20 ? '?' : *c;
    }
    value = copy != NULL ? json_string(copy) : NULL;
    free(copy);
    return value;
}

static bool set(json_t *object, const char *key, json_t *value)
{
    return json_object_set_new(object, key, value) == 0; /* NULL, where memory is out, is refused there too */
}

static bool set_event(json_t *object, struct truc_bytes bytes)
{
    struct truc_event event;
    struct truc_hash digest;
    char hex[2 * TRUC_HASH_SIZE + 1];
    if (truc_event_parse(bytes, &event) != TRUC_OK) {
        return true; /* the client hands out what it took from us; nothing to tell then */
    }
    truc_leaf_hash(&digest, bytes);
    truc_hex(truc_bytes(digest.bytes, sizeof digest.bytes), hex);
    return set(object, "id", text_of(event.id)) && set(object, "source", text_of(event.source)) &&
           set(object, "type", text_of(event.type)) &&
           (event.subject.size == 0 || set(object, "subject", text_of(event.subject))) &&
           set(object, "event_hash", json_string(hex));
}

static bool set_outcome(json_t *object, const struct truc_receipt *receipt)
{
    char time[40];
    truc_time_format(receipt->accepted_at_us, time);
    if (receipt->reason == TRUC_ACCEPTED) {
        return set(object, "outcome", json_string(receipt->duplicate ? "duplicate" : "accepted")) &&
               set(object, "sequence", json_integer((json_int_t)receipt->sequence)) &&
               set(object, "accepted_at", json_string(time)) &&
               set(object, "leaf_index", json_integer((json_int_t)receipt->leaf_index));
    }
    bool good = set(object, "outcome", json_string("refused")) &&
                set(object, "reason", json_string(truc_reason_name(receipt->reason))) &&
                set(object, "advice", json_string(truc_reason_advice(receipt->reason))) &&
                set(object, "logged", json_boolean(receipt->logged));
    if (good && receipt->logged) {
        good = set(object, "refused_at", json_string(time)) &&
               set(object, "leaf_index", json_integer((json_int_t)receipt->leaf_index));
    }
    return good;
}

truc_error paper_write(const char *name, const struct truc_receipt *receipt, struct truc_buffer *out)
{
    json_t *object = json_object();
    char *text = NULL;
    truc_error error = TRUC_E_NOMEM;
    if (object != NULL && set(object, "file", text_of(truc_bytes_of(name))) && set_outcome(object, receipt) &&
        set_event(object, receipt->event)) {
        text = json_dumps(object, JSON_INDENT(2));
    }
    if (text != NULL) {
        error = truc_buffer_printf(out, "%s\n", text);
    }
    free(text);
    json_decref(object);
    return error;
}
