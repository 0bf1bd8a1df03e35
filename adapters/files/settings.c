#include "adapters/files/settings.h"

#include "truc/event.h"
#include "truc/log.h"

#include <errno.h>
#include <stdarg.h>
#include <sys/stat.h>
#include <unistd.h>

#define SETTINGS_MAX (1u << 20)
#define AT(member) offsetof(struct files_settings, member)
#define DURATION(name, member, least, most, text)                                                                      \
    {                                                                                                                  \
        .key = (name), .kind = TRUC_CONFIG_DURATION, .offset = AT(member), .minimum = (least), .maximum = (most),      \
        .fallback = (text)                                                                                             \
    }

static const struct truc_config_field fields[] = {
    {.key = "profile", .kind = TRUC_CONFIG_STRING, .offset = AT(profile), .required = true},
    {.key = "out", .kind = TRUC_CONFIG_STRING, .offset = AT(out), .required = true},
    {.key = "in", .kind = TRUC_CONFIG_STRING, .offset = AT(in), .required = true},
    {.key = "quarantine", .kind = TRUC_CONFIG_STRING, .offset = AT(quarantine), .required = true},
    {.key = "receipts", .kind = TRUC_CONFIG_STRING, .offset = AT(receipts)},
    {.key = "pending", .kind = TRUC_CONFIG_STRING, .offset = AT(pending)},
    {.key = "done", .kind = TRUC_CONFIG_STRING, .offset = AT(done)},
    {.key = "refused", .kind = TRUC_CONFIG_STRING, .offset = AT(refused)},
    {.key = "subscriptions", .kind = TRUC_CONFIG_STRINGS, .offset = AT(subscriptions)},
    {.key = "defaults.type", .kind = TRUC_CONFIG_STRING, .offset = AT(default_type)},
    {.key = "defaults.source", .kind = TRUC_CONFIG_STRING, .offset = AT(default_source)},
    {.key = "defaults.recipients", .kind = TRUC_CONFIG_STRINGS, .offset = AT(default_recipients)},
    DURATION("scan", scan_ms, 100, 3600000, "5s"),
    DURATION("settle", settle_ms, 0, 3600000, "2s"),
    DURATION("retry", retry_ms, 100, 3600000, "30s"),
    DURATION("once.idle", idle_ms, 0, 3600000, "2s"),
    DURATION("once.wait", wait_ms, 100, 86400000, "60s"),
    {.key = "in_flight",
     .kind = TRUC_CONFIG_INTEGER,
     .offset = AT(in_flight),
     .minimum = 1,
     .maximum = 16384,
     .fallback = "2048"},
    {.key = "log_level", .kind = TRUC_CONFIG_STRING, .offset = AT(log_level), .fallback = "info"},
};
#define FIELDS (sizeof fields / sizeof fields[0])

/* A text whose settings were read, so that checks across keys can name the line too. */
struct check {
    const char *name;
    struct truc_bytes text;
    struct truc_buffer *why;
    truc_error failure;
};

/* The line on which the key's last part stands; 0 where it does not. The reader has seen that the YAML is well formed.
 */
static size_t line_of(const struct check *check, const char *key)
{
    const char *dot = strrchr(key, '.');
    const struct truc_bytes wanted = truc_bytes_of(dot != NULL ? dot + 1 : key);
    size_t line = 1;
    for (size_t at = 0; at < check->text.size; line++) {
        const uint8_t *end = memchr(check->text.data + at, '\n', check->text.size - at);
        size_t stop = end != NULL ? (size_t)(end - check->text.data) : check->text.size;
        size_t begin = at;
        while (begin < stop && check->text.data[begin] == ' ') {
            begin++;
        }
        bool nested = dot != NULL;
        if (stop - begin > wanted.size && (begin > at) == nested &&
            memcmp(check->text.data + begin, wanted.data, wanted.size) == 0 &&
            check->text.data[begin + wanted.size] == ':') {
            return line;
        }
        at = stop + 1;
    }
    return 0;
}

__attribute__((format(printf, 3, 4))) static void complain(struct check *check, const char *key, const char *format,
                                                           ...)
{
    char sentence[512];
    va_list arguments;
    va_start(arguments, format);
    int size = vsnprintf(sentence, sizeof sentence, format, arguments);
    va_end(arguments);
    truc_error error = truc_buffer_printf(check->why, "%s:%zu: %s: %s\n", check->name, line_of(check, key), key,
                                          size < 0 ? "is wrong" : sentence);
    check->failure = error != TRUC_OK ? error : check->failure == TRUC_E_NOMEM ? TRUC_E_NOMEM : TRUC_E_CONFIG;
}

/* Makes *path absolute to the settings' folder, or BASE/NAME where it is not set. */
static void place(struct check *check, const char *folder, const char *base, const char *name, char **path)
{
    char *made = NULL;
    int size;
    if (*path == NULL) {
        size = asprintf(&made, "%s/%s", base, name);
    } else if ((*path)[0] == '/') {
        return;
    } else {
        size = asprintf(&made, "%s/%s", folder, *path);
    }
    if (size < 0) {
        check->failure = TRUC_E_NOMEM;
        return;
    }
    free(*path);
    *path = made;
}

static void place_all(struct check *check, struct files_settings *s)
{
    const char *slash = strrchr(check->name, '/');
    char *folder =
        slash == NULL ? strdup(".") : strndup(check->name, (size_t)(slash - check->name) + (slash == check->name));
    if (folder == NULL) {
        check->failure = TRUC_E_NOMEM;
        return;
    }
    place(check, folder, NULL, NULL, &s->profile);
    place(check, folder, NULL, NULL, &s->out);
    place(check, folder, NULL, NULL, &s->in);
    place(check, folder, NULL, NULL, &s->quarantine);
    if (s->receipts != NULL) {
        place(check, folder, NULL, NULL, &s->receipts);
    }
    place(check, folder, s->out, "pending", &s->pending);
    place(check, folder, s->out, "done", &s->done);
    place(check, folder, s->out, "refused", &s->refused);
    free(folder);
}

/* A folder that is missing is made at the start, so its parent must be there; two of them must not be one. */
static void check_folders(struct check *check, const struct files_settings *s)
{
    const struct {
        const char *key, *path;
    } folders[] = {{"out", s->out},   {"in", s->in},           {"quarantine", s->quarantine}, {"pending", s->pending},
                   {"done", s->done}, {"refused", s->refused}, {"receipts", s->receipts}};
    struct stat seen[sizeof folders / sizeof folders[0]];
    for (size_t i = 0; i < sizeof folders / sizeof folders[0]; i++) {
        memset(&seen[i], 0, sizeof seen[i]);
        if (folders[i].path == NULL) {
            continue;
        }
        size_t size = strlen(folders[i].path);
        if (size > 5 && strcmp(folders[i].path + size - 5, ".json") == 0) {
            complain(check, folders[i].key, "a folder should not end in .json: it would be taken for an event");
        }
        if (stat(folders[i].path, &seen[i]) != 0) {
            if (errno != ENOENT) {
                complain(check, folders[i].key, "%s: %s", folders[i].path, strerror(errno));
            }
            memset(&seen[i], 0, sizeof seen[i]);
        } else if (!S_ISDIR(seen[i].st_mode)) {
            complain(check, folders[i].key, "%s: is not a folder", folders[i].path);
        } else if (access(folders[i].path, R_OK | W_OK | X_OK) != 0) {
            complain(check, folders[i].key, "%s: this user may not read and write in it", folders[i].path);
        }
        for (size_t j = 0; j < i; j++) {
            bool same = folders[j].path != NULL &&
                        (strcmp(folders[i].path, folders[j].path) == 0 ||
                         (seen[i].st_ino != 0 && seen[i].st_ino == seen[j].st_ino && seen[i].st_dev == seen[j].st_dev));
            if (same) {
                complain(check, folders[i].key, "should be another folder than %s", folders[j].key);
            }
        }
    }
}

static void join_recipients(struct check *check, struct files_settings *s)
{
    struct truc_buffer joined = {0};
    struct truc_event event;
    truc_error error = TRUC_OK;
    memset(&event, 0, offsetof(struct truc_event, attributes));
    for (size_t i = 0; i < s->default_recipients.count && error == TRUC_OK; i++) {
        error = truc_buffer_printf(&joined, "%s%s", i > 0 ? "," : "", s->default_recipients.items[i]);
    }
    if (error != TRUC_OK) {
        check->failure = error;
    } else if (s->default_recipients.count > 0 &&
               truc_event_set_text(&event, "recipients", truc_buffer_view(&joined)) != TRUC_OK) {
        complain(check, "defaults.recipients", "should be agency codes and @groups, at most %d", TRUC_RECIPIENTS_COUNT);
    }
    s->recipients = (char *)joined.data; /* printf keeps a NUL behind it */
}

static void check_values(struct check *check, struct files_settings *s)
{
    enum truc_log_level level;
    for (size_t i = 0; i < s->subscriptions.count; i++) {
        if (!truc_type_pattern_is_valid(truc_bytes_of(s->subscriptions.items[i]))) {
            complain(check, "subscriptions", "\"%.60s\" is not an event type: a-z 0-9 . - _, and * at its end",
                     s->subscriptions.items[i]);
        }
    }
    if (s->default_type != NULL && !truc_type_is_valid(truc_bytes_of(s->default_type))) {
        complain(check, "defaults.type", "should be 1 to %d of a-z 0-9 . - _", TRUC_ID_MAX);
    }
    if (s->default_source != NULL && strlen(s->default_source) > TRUC_SOURCE_MAX / 2) {
        complain(check, "defaults.source", "is over %d bytes", TRUC_SOURCE_MAX / 2);
    }
    if (truc_log_level_parse(s->log_level, &level) != TRUC_OK) {
        complain(check, "log_level", "should be error, warn, info or debug");
    }
}

truc_error files_settings_load(const char *path, struct files_settings *out, struct truc_buffer *why)
{
    struct truc_buffer text = {0};
    memset(out, 0, sizeof *out);
    truc_error error = truc_file_read(path, SETTINGS_MAX, &text);
    if (error == TRUC_OK) {
        error = truc_config_read(path, truc_buffer_view(&text), fields, FIELDS, out, why);
    }
    if (error == TRUC_OK) {
        struct check check = {.name = path, .text = truc_buffer_view(&text), .why = why};
        place_all(&check, out);
        if (check.failure == TRUC_OK) {
            check_folders(&check, out);
            check_values(&check, out);
            join_recipients(&check, out);
        }
        error = check.failure;
        if (error != TRUC_OK) {
            files_settings_close(out);
        }
    }
    int saved = errno;
    truc_buffer_close(&text);
    errno = saved;
    return error;
}

void files_settings_close(struct files_settings *settings)
{
    free(settings->recipients);
    settings->recipients = NULL;
    truc_config_close(fields, FIELDS, settings);
}
