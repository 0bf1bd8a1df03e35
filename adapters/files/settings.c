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

static const char *check_pattern(const char *text)
{
    return truc_type_pattern_is_valid(truc_bytes_of(text)) ? NULL
                                                           : "is not an event type: a-z 0-9 . - _, and * at its end";
}

static const char *check_type(const char *text)
{
    return truc_type_is_valid(truc_bytes_of(text)) ? NULL : "is not an event type: 1 to 255 of a-z 0-9 . - _";
}

static const char *check_source(const char *text)
{
    return strlen(text) > TRUC_SOURCE_MAX / 2 ? "is too long" : NULL;
}

static const char *check_level(const char *text)
{
    enum truc_log_level level;
    return truc_log_level_parse(text, &level) == TRUC_OK ? NULL : "should be error, warn, info or debug";
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
    {.key = "subscriptions", .kind = TRUC_CONFIG_STRINGS, .offset = AT(subscriptions), .check = check_pattern},
    {.key = "defaults.type", .kind = TRUC_CONFIG_STRING, .offset = AT(default_type), .check = check_type},
    {.key = "defaults.source", .kind = TRUC_CONFIG_STRING, .offset = AT(default_source), .check = check_source},
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
    {.key = "log_level", .kind = TRUC_CONFIG_STRING, .offset = AT(log_level), .fallback = "info", .check = check_level},
};
#define FIELDS (sizeof fields / sizeof fields[0])

/* Settings that were read, as far as they could be, so that checks across keys are told in the same run. */
struct check {
    const char *name;
    size_t lines[FIELDS];
    struct truc_buffer *why;
    truc_error failure;
};

__attribute__((format(printf, 3, 4))) static void complain(struct check *check, const char *key, const char *format,
                                                           ...)
{
    char sentence[512];
    va_list arguments;
    va_start(arguments, format);
    int size = vsnprintf(sentence, sizeof sentence, format, arguments);
    va_end(arguments);
    truc_error error =
        truc_buffer_printf(check->why, "%s:%zu: %s: %s\n", check->name,
                           truc_config_line(fields, FIELDS, check->lines, key), key, size < 0 ? "is wrong" : sentence);
    check->failure = error != TRUC_OK ? error : check->failure == TRUC_E_NOMEM ? TRUC_E_NOMEM : TRUC_E_CONFIG;
}

/* Makes *path absolute to the settings' folder, or BASE/NAME where it is not set; nothing where there is no base. */
static void place(struct check *check, const char *folder, const char *base, const char *name, char **path)
{
    char *made = NULL;
    int size;
    if (*path == NULL && base == NULL) {
        return;
    }
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
    place(check, folder, NULL, NULL, &s->receipts);
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

truc_error files_settings_load(const char *path, struct files_settings *out, struct truc_buffer *why)
{
    struct truc_buffer text = {0};
    struct check check = {.name = path, .why = why};
    memset(out, 0, sizeof *out);
    truc_error error = truc_file_read(path, SETTINGS_MAX, &text);
    if (error == TRUC_OK) {
        error = truc_config_read_partly(path, truc_buffer_view(&text), fields, FIELDS, out, check.lines, why);
    }
    if (error == TRUC_OK || error == TRUC_E_CONFIG) {
        check.failure = error;
        place_all(&check, out);
        if (check.failure != TRUC_E_NOMEM) {
            check_folders(&check, out);
            join_recipients(&check, out);
        }
        error = check.failure;
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
