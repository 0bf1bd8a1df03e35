#include "hub/admin/send_input.h"

#include "truc/config.h"
#include "truc/crypto.h"
#include "truc/event.h"

#include <errno.h>
#include <sys/stat.h>
#include <time.h>

#define INPUT_MAX (1u << 30)
#define SECRET_FILE "send.key"

/* ---- files --------------------------------------------------------------------------------------------------------
 */

static enum admin_exit read_stream(const struct admin_call *call, FILE *in, const char *name, struct truc_buffer *out)
{
    for (;;) {
        if (truc_buffer_reserve(out, 65536) != TRUC_OK || out->size > INPUT_MAX) {
            return admin_fail(call, ADMIN_NO, "%s is over 1 GiB; send it in parts", name);
        }
        size_t got = fread(out->data + out->size, 1, 65536, in);
        out->size += got;
        if (got == 0) {
            return ferror(in) ? admin_fail(call, ADMIN_NO, "%s cannot be read: %s", name, strerror(errno)) : ADMIN_OK;
        }
    }
}

enum admin_exit send_read_file(const struct admin_call *call, const char *path, struct truc_buffer *out)
{
    if (strcmp(path, "-") == 0) {
        return read_stream(call, stdin, "the standard input", out);
    }
    FILE *in = fopen(path, "rbe");
    if (in == NULL) {
        return admin_fail(call, ADMIN_USAGE, "%s cannot be opened: %s", path, strerror(errno));
    }
    enum admin_exit exit_code = read_stream(call, in, path, out);
    fclose(in);
    return exit_code;
}

enum admin_exit send_sender_open(const struct admin_call *call, const char *agency, const char *spool,
                                 struct send_sender *out)
{
    char *path = NULL;
    struct truc_buffer bytes = {0};
    out->agency = agency;
    admin_must(asprintf(&path, "%s/" SECRET_FILE, spool) >= 0);
    truc_error error =
        mkdir(spool, 0700) == 0 || errno == EEXIST ? truc_file_read(path, sizeof(out->secret), &bytes) : TRUC_E_IO;
    if (error == TRUC_E_IO && errno == ENOENT) {
        error = truc_random(out->secret, sizeof(out->secret));
        if (error == TRUC_OK) {
            error = truc_file_write(path, truc_bytes(out->secret, sizeof(out->secret)), 0600, false);
        }
        if (error == TRUC_OK || error == TRUC_E_EXISTS) { /* another command may have been first: its secret counts */
            error = truc_file_read(path, sizeof(out->secret), &bytes);
        }
    }
    enum admin_exit exit_code = ADMIN_OK;
    if (error != TRUC_OK || bytes.size != sizeof(out->secret)) {
        exit_code = admin_fail(call, ADMIN_USAGE,
                               "%s cannot be used: %s. It should be 32 bytes; it is made anew where "
                               "it is missing",
                               path,
                               error == TRUC_E_IO ? strerror(errno)
                               : error != TRUC_OK ? truc_error_string(error)
                                                  : "it has another size");
    } else {
        memcpy(out->secret, bytes.data, sizeof(out->secret));
    }
    truc_buffer_close(&bytes);
    free(path);
    return exit_code;
}

/* ---- events -------------------------------------------------------------------------------------------------------
 */

void send_events_close(struct send_events *events)
{
    for (size_t i = 0; i < events->count; i++) {
        truc_buffer_close(&events->items[i]);
    }
    free(events->items);
    *events = (struct send_events){0};
}

/* An empty one at the end. */
static struct truc_buffer *append(struct send_events *events)
{
    if (events->count == events->capacity) {
        events->capacity = events->capacity == 0 ? 64 : events->capacity * 2;
        events->items = reallocarray(events->items, events->capacity, sizeof(*events->items));
        admin_must(events->items != NULL);
    }
    events->items[events->count] = (struct truc_buffer){0};
    return &events->items[events->count++];
}

/* Where a piece of input stands, for messages. */
struct place {
    const char *name; /* NULL: the command line */
    size_t line, number;
};

static void say_place(const struct place *place, char out[256])
{
    if (place->name == NULL) {
        (void)snprintf(out, 256, "this");
    } else {
        (void)snprintf(out, 256, "%.150s: line %zu: event %zu", place->name, place->line, place->number);
    }
}

/* The event's text, with what a person need not write put in front: the version, the own source. Text is spliced, never
 * read and written again: numbers keep their spelling. */
static void complete(const json_t *event, struct truc_bytes raw, const char *agency, struct truc_buffer *out)
{
    bool empty = json_object_size(event) == 0;
    truc_error error = truc_buffer_append(out, "{", 1);
    if (error == TRUC_OK && json_object_get(event, "specversion") == NULL) {
        error = truc_buffer_printf(out, "\"specversion\":\"1.0\"%s", empty ? "" : ",");
    }
    if (error == TRUC_OK && json_object_get(event, "source") == NULL) {
        error = truc_buffer_printf(out, "%s\"source\":\"" TRUC_SOURCE_PREFIX "%s\"%s", empty ? "," : "", agency,
                                   empty ? "" : ",");
    }
    admin_must(error == TRUC_OK && truc_buffer_append(out, raw.data + 1, raw.size - 1) == TRUC_OK);
}

/* An event with an id is this one event: the same input gives the same bytes whenever it is sent. */
static struct truc_bytes derive_salt(const struct send_sender *sender, const json_t *event, struct truc_hash *hash)
{
    const char *id = json_string_value(json_object_get(event, "id"));
    const char *source = json_string_value(json_object_get(event, "source"));
    if (id == NULL || id[0] == '\0') {
        return truc_bytes(NULL, 0); /* made at random, as the id is */
    }
    const struct truc_bytes parts[] = {truc_bytes_of("truc send salt 1"), truc_bytes(sender->secret, 32),
                                       truc_bytes_of(source != NULL ? source : ""), truc_bytes("", 1),
                                       truc_bytes_of(id)};
    truc_sha256_parts(hash, parts, sizeof(parts) / sizeof(parts[0]));
    return truc_bytes(hash->bytes, TRUC_SALT_SIZE);
}

/* `raw` is the object's text, from brace to brace; empty: `event` is written as text again. */
static enum admin_exit take_one(const struct admin_call *call, const struct send_sender *sender,
                                const struct place *place, const json_t *event, struct truc_bytes raw,
                                struct send_events *out)
{
    char why[256] = "", where[256];
    struct truc_buffer completed = {0};
    struct truc_hash hash;
    char *text = NULL;
    say_place(place, where);
    if (!json_is_object(event)) {
        return admin_fail(call, ADMIN_USAGE, "%s is not a JSON object", where);
    }
    if (raw.size == 0) {
        text = json_dumps(event, JSON_COMPACT);
        admin_must(text != NULL);
        raw = truc_bytes_of(text);
    }
    complete(event, raw, sender->agency, &completed);
    const struct truc_event_defaults defaults = {.salt = derive_salt(sender, event, &hash)};
    truc_error error = truc_event_from_json_with(truc_buffer_view(&completed), &defaults, append(out), why);
    truc_buffer_close(&completed);
    free(text);
    return error == TRUC_OK ? ADMIN_OK
                            : admin_fail(call, ADMIN_USAGE, "%s is not a CloudEvents JSON object that can be sent: %s",
                                         where, why[0] == '\0' ? truc_error_string(error) : why);
}

static enum admin_exit take_value(const struct admin_call *call, const struct send_sender *sender, struct place *place,
                                  json_t *value, struct truc_bytes raw, struct send_events *out)
{
    enum admin_exit exit_code = ADMIN_OK;
    size_t at;
    json_t *event;
    if (!json_is_array(value)) {
        place->number++;
        return take_one(call, sender, place, value, raw, out);
    }
    json_array_foreach(value, at, event)
    {
        place->number++;
        exit_code = take_one(call, sender, place, event, truc_bytes(NULL, 0), out);
        if (exit_code != ADMIN_OK) {
            break;
        }
    }
    return exit_code;
}

/* Line and column, from 1, of an offset behind `from`, which stands on *line. */
static size_t find_place(struct truc_bytes text, size_t from, size_t to, size_t *line)
{
    size_t start = from;
    for (size_t i = from; i < to && i < text.size; i++) {
        if (text.data[i] == '\n') {
            ++*line;
            start = i + 1;
        }
    }
    while (start > 0 && text.data[start - 1] != '\n') { /* `from` may stand within its line */
        start--;
    }
    return to - start + 1;
}

enum admin_exit send_events_read(const struct admin_call *call, const struct send_sender *sender, const char *path,
                                 struct truc_bytes text, struct send_events *out)
{
    struct place place = {strcmp(path, "-") == 0 ? "standard input" : path, 1, 0};
    size_t at = 0;
    for (;;) {
        size_t begin = at;
        while (begin < text.size && memchr(" \t\r\n", text.data[begin], 4) != NULL) {
            begin++;
        }
        (void)find_place(text, at, begin, &place.line);
        if (begin == text.size) {
            break;
        }
        json_error_t where;
        json_t *value = json_loadb((const char *)text.data + begin, text.size - begin,
                                   JSON_REJECT_DUPLICATES | JSON_DISABLE_EOF_CHECK, &where);
        if (value == NULL) {
            size_t column = find_place(text, begin, begin + (size_t)where.position, &place.line);
            return admin_fail(call, ADMIN_USAGE,
                              "%s: line %zu, column %zu (behind event %zu): not JSON: %s. Nothing was "
                              "sent",
                              place.name, place.line, column, place.number, where.text);
        }
        at = begin + (size_t)where.position;
        enum admin_exit exit_code =
            take_value(call, sender, &place, value, truc_bytes(text.data + begin, at - begin), out);
        json_decref(value);
        if (exit_code != ADMIN_OK) {
            return exit_code;
        }
        (void)find_place(text, begin, at, &place.line);
    }
    return place.number > 0 ? ADMIN_OK : admin_fail(call, ADMIN_USAGE, "%s: there is no event in it", place.name);
}

/* ---- the command line ---------------------------------------------------------------------------------------------
 */

static void set_text(json_t *event, const char *name, const char *value)
{
    if (value != NULL) {
        json_t *text = json_string(value);
        admin_must(text != NULL && json_object_set_new(event, name, text) == 0);
    }
}

/* The event's text without its closing brace. */
static void add_head(const json_t *event, struct truc_buffer *out)
{
    char *head = json_dumps(event, JSON_COMPACT);
    admin_must(head != NULL && truc_buffer_append(out, head, strlen(head) - 1) == TRUC_OK);
    free(head);
}

static bool is_json_type(const char *type)
{
    size_t length = strcspn(type, "; ");
    return (length >= 5 && strncasecmp(type + length - 5, "/json", 5) == 0) ||
           (length >= 5 && strncasecmp(type + length - 5, "+json", 5) == 0);
}

/* JSON goes in as it was written, other text as a string, bytes that are no text as base64. */
static enum admin_exit add_data(const struct admin_call *call, json_t *event, struct truc_bytes data,
                                struct truc_buffer *out)
{
    const char *type = admin_text(call, "content-type");
    json_error_t where;
    truc_error error = TRUC_OK;
    set_text(event, "datacontenttype", type != NULL ? type : "application/json");
    if (type == NULL || is_json_type(type)) {
        json_t *value =
            json_loadb((const char *)data.data, data.size, JSON_REJECT_DUPLICATES | JSON_DECODE_ANY, &where);
        if (value == NULL) {
            return admin_fail(call, ADMIN_USAGE,
                              "--data is not JSON: line %d, column %d: %s. Text goes with --content-type text/plain; a "
                              "JSON string needs its quotes: --data '\"text\"'",
                              where.line, where.column, where.text);
        }
        json_decref(value);
        add_head(event, out);
        error = truc_buffer_printf(out, ",\"data\":");
        admin_must(error == TRUC_OK && truc_buffer_append(out, data.data, data.size) == TRUC_OK &&
                   truc_buffer_append(out, "}", 1) == TRUC_OK);
        return ADMIN_OK;
    }
    json_t *text = json_stringn((const char *)data.data, data.size); /* NULL: not UTF-8 */
    struct truc_buffer base64 = {0};
    if (text == NULL) {
        admin_must(truc_base64_encode(data, &base64) == TRUC_OK);
        text = json_stringn((const char *)base64.data, base64.size);
    }
    admin_must(text != NULL && json_object_set_new(event, base64.size > 0 ? "data_base64" : "data", text) == 0);
    truc_buffer_close(&base64);
    add_head(event, out);
    admin_must(truc_buffer_append(out, "}", 1) == TRUC_OK);
    return ADMIN_OK;
}

/* --id says which event it is, so that the same command again is the same event: the time of the command is no part of
 * it then. */
static void add_time(const struct admin_call *call, json_t *event)
{
    char text[40];
    struct timespec now;
    if (admin_text(call, "time") != NULL || admin_text(call, "id") != NULL) {
        set_text(event, "time", admin_text(call, "time"));
        return;
    }
    (void)clock_gettime(CLOCK_REALTIME, &now); /* cannot fail with this clock */
    truc_time_format((int64_t)now.tv_sec * 1000000 + (int64_t)now.tv_nsec / 1000, text);
    set_text(event, "time", text);
}

enum admin_exit send_events_make(const struct admin_call *call, const struct send_sender *sender,
                                 struct send_events *out)
{
    static const char *const names[] = {"type", "subject", "recipients", "id", "source", "expires"};
    struct truc_buffer file = {0}, text = {0};
    const char *data = admin_text(call, "data");
    enum admin_exit exit_code = ADMIN_OK;
    json_t *event = json_object();
    admin_must(event != NULL);
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        set_text(event, names[i], admin_text(call, names[i]));
    }
    add_time(call, event);
    if (data != NULL && data[0] == '@') {
        exit_code = send_read_file(call, data + 1, &file);
    } else if (data != NULL) {
        admin_must(truc_buffer_append(&file, data, strlen(data)) == TRUC_OK);
    }
    if (exit_code == ADMIN_OK && data != NULL) {
        exit_code = add_data(call, event, truc_buffer_view(&file), &text);
    } else if (exit_code == ADMIN_OK) {
        add_head(event, &text);
        admin_must(truc_buffer_append(&text, "}", 1) == TRUC_OK);
    }
    if (exit_code == ADMIN_OK) {
        exit_code = take_one(call, sender, &(struct place){0}, event, truc_buffer_view(&text), out);
    }
    truc_buffer_close(&file);
    truc_buffer_close(&text);
    json_decref(event);
    return exit_code;
}
