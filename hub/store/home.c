/* The hub's home: hub.yaml, keys, and opening them. */
#include "hub/store/home.h"

#include "truc/log.h"

#include <errno.h>
#include <sys/stat.h>
#include <unistd.h>

#define SECRET_MAX 4096

#define MIB (INT64_C(1) << 20)
#define GIB (INT64_C(1) << 30)
#define FIELD(name, key, kind, ...)                                                                                    \
    {                                                                                                                  \
        key, kind, offsetof(struct hub_settings, name), __VA_ARGS__                                                    \
    }

/* hub/STORAGE.md, "The home directory", and deploy/sample/hub.yaml describe these. */
static const struct truc_config_field fields[] = {
    FIELD(listen, "listen", TRUC_CONFIG_STRING, true, 0, 0, NULL),
    FIELD(log_level, "log_level", TRUC_CONFIG_STRING, false, 0, 0, "info"),
    FIELD(journal_bytes, "storage.journal", TRUC_CONFIG_SIZE, false, MIB, INT64_C(64) << 40, "16 GiB"),
    FIELD(state_bytes, "storage.state", TRUC_CONFIG_SIZE, false, MIB, INT64_C(64) << 40, "8 GiB"),
    FIELD(reserve_bytes, "storage.reserve", TRUC_CONFIG_SIZE, false, 0, INT64_C(1) << 40, "256 MiB"),
    FIELD(workers, "workers", TRUC_CONFIG_INTEGER, false, 0, 256, "0"),
    FIELD(session_bytes, "limits.session_bytes", TRUC_CONFIG_SIZE, false, 5 * MIB, 4 * GIB, "16 MiB"),
    FIELD(total_bytes, "limits.total_bytes", TRUC_CONFIG_SIZE, false, 5 * MIB, 256 * GIB, "256 MiB"),
    FIELD(cache_bytes, "limits.cache_bytes", TRUC_CONFIG_SIZE, false, 0, 256 * GIB, "64 MiB"),
    FIELD(sessions, "limits.sessions", TRUC_CONFIG_INTEGER, false, 1, 65536, "1024"),
    FIELD(lease_ms, "delivery.lease", TRUC_CONFIG_DURATION, false, 100, 86400000, "60 s"),
    FIELD(silence_ms, "session.silence", TRUC_CONFIG_DURATION, false, 1000, 3600000, "60 s"),
};
#define FIELDS (sizeof fields / sizeof fields[0])

/* libzmq takes the digits that it likes: 99999 would listen on another port, 22x on port 22. */
static bool is_listen_address(const char *listen)
{
    if (strncmp(listen, "tcp://", 6) != 0) {
        return false;
    }
    const char *colon = strrchr(listen + 6, ':');
    if (colon == NULL || colon == listen + 6) {
        return false;
    }
    const char *port = colon + 1;
    size_t digits = strspn(port, "0123456789");
    return digits > 0 && digits <= 5 && port[digits] == '\0' && strtoul(port, NULL, 10) <= 65535;
}

truc_error hub_settings_read(const char *name, struct truc_bytes text, struct hub_settings *out,
                             struct truc_buffer *why)
{
    struct hub_settings settings = {0};
    truc_error error = truc_config_read(name, text, fields, FIELDS, &settings, why);
    if (error != TRUC_OK) {
        return error;
    }
    if (settings.total_bytes < settings.session_bytes) {
        error = truc_buffer_printf(why, "%s: limits.total_bytes: is less than limits.session_bytes\n", name);
        error = error == TRUC_OK ? TRUC_E_CONFIG : error;
    }
    enum truc_log_level level;
    if (truc_log_level_parse(settings.log_level, &level) != TRUC_OK) {
        error = truc_buffer_printf(why, "%s: log_level: should be error, warn, info or debug\n", name);
        error = error == TRUC_OK ? TRUC_E_CONFIG : error;
    }
    if (!is_listen_address(settings.listen)) {
        error =
            truc_buffer_printf(why, "%s: listen: should be tcp://ADDRESS:PORT, with a port from 0 to 65535\n", name);
        error = error == TRUC_OK ? TRUC_E_CONFIG : error;
    }
    if (error != TRUC_OK) {
        hub_settings_close(&settings);
        return error;
    }
    *out = settings;
    return TRUC_OK;
}

void hub_settings_close(struct hub_settings *settings)
{
    truc_config_close(fields, FIELDS, settings);
}

char *hub_home_file(const char *home, const char *name)
{
    char *path;
    return asprintf(&path, "%s/%s", home, name) < 0 ? NULL : path;
}

/* Says what is wrong with one file; the first error that was met stays the answer. */
static void complain(struct truc_buffer *why, truc_error *worst, truc_error error, const char *path,
                     const char *sentence)
{
    truc_error said = truc_buffer_printf(why, "%s: %s\n", path, sentence);
    if (*worst == TRUC_OK) {
        *worst = said == TRUC_OK ? error : said;
    }
}

/* Nobody but the owner may read or write it. */
static void check_private(const char *path, struct truc_buffer *why, truc_error *worst)
{
    struct stat status;
    if (stat(path, &status) != 0) {
        complain(why, worst, TRUC_E_IO, path, strerror(errno));
    } else if ((status.st_mode & 077) != 0) {
        complain(why, worst, TRUC_E_CONFIG, path, "others can read or write it: take their rights away (chmod go=)");
    } else if (status.st_uid != geteuid() && geteuid() != 0) {
        complain(why, worst, TRUC_E_CONFIG, path, "belongs to another user");
    }
}

static void read_transport_key(const char *path, char out[TRUC_TRANSPORT_KEY_TEXT], struct truc_buffer *why,
                               truc_error *worst)
{
    struct truc_buffer text = {0};
    uint8_t raw[32];
    truc_error error = truc_file_read(path, SECRET_MAX, &text);
    if (error != TRUC_OK) {
        complain(why, worst, error, path, error == TRUC_E_IO ? strerror(errno) : truc_error_string(error));
        goto out;
    }
    while (text.size > 0 && text.data[text.size - 1] == '\n') {
        text.size--;
    }
    if (truc_z85_decode(truc_buffer_view(&text), raw, sizeof raw) != TRUC_OK) {
        complain(why, worst, TRUC_E_CONFIG, path, "is not a transport key: 40 characters of Z85");
        goto out;
    }
    memcpy(out, text.data, text.size);
    out[text.size] = '\0';
out:
    truc_wipe(raw, sizeof raw);
    if (text.data != NULL) {
        truc_wipe(text.data, text.capacity);
    }
    truc_buffer_close(&text);
}

static void read_note_key(const char *path, struct truc_key **out, struct truc_buffer *why, truc_error *worst)
{
    truc_error error = truc_key_load(path, out);
    if (error != TRUC_OK) {
        complain(why, worst, error == TRUC_E_IO || error == TRUC_E_NOMEM ? error : TRUC_E_CONFIG, path,
                 error == TRUC_E_IO ? strerror(errno) : truc_error_string(error));
    } else if (!truc_key_is_private(*out) || truc_key_algorithm(*out) != TRUC_ALGORITHM_ED25519) {
        complain(why, worst, TRUC_E_CONFIG, path, "is not a private Ed25519 key");
    }
}

static void read_settings(const char *path, struct hub_settings *out, struct truc_buffer *why, truc_error *worst)
{
    struct truc_buffer text = {0};
    truc_error error = truc_file_read(path, MIB, &text);
    if (error != TRUC_OK) {
        complain(why, worst, error, path, error == TRUC_E_IO ? strerror(errno) : truc_error_string(error));
    } else {
        error = hub_settings_read(path, truc_buffer_view(&text), out, why);
        *worst = *worst == TRUC_OK ? error : *worst;
    }
    truc_buffer_close(&text);
}

truc_error hub_home_open(const char *path, struct hub_home *out, struct truc_buffer *why)
{
    static const char *const names[] = {"hub.yaml", "hub/note.pem", "hub/transport.secret", "hub/transport.public"};
    char *files[4] = {NULL};
    truc_error worst = TRUC_OK;
    *out = (struct hub_home){0};
    out->path = strdup(path);
    for (size_t i = 0; i < 4; i++) {
        files[i] = hub_home_file(path, names[i]);
        if (files[i] == NULL || out->path == NULL) {
            worst = TRUC_E_NOMEM;
            goto out;
        }
    }
    if (access(files[0], F_OK) != 0) {
        /* A folder that is something else: asking to take others' rights to it away, /tmp say, would do harm. */
        int reason = errno;
        complain(why, &worst, TRUC_E_IO, files[0], strerror(reason));
        complain(why, &worst, TRUC_E_IO, path, "is not a hub's home; `truc init` makes one");
        goto out; /* the rest would say the same */
    }
    check_private(path, why, &worst);
    check_private(files[1], why, &worst);
    check_private(files[2], why, &worst);
    if (worst != TRUC_E_IO) {
        read_settings(files[0], &out->settings, why, &worst);
        read_note_key(files[1], &out->note_key, why, &worst);
        read_transport_key(files[2], out->transport_secret, why, &worst);
        read_transport_key(files[3], out->transport_public, why, &worst);
    }
out:
    for (size_t i = 0; i < 4; i++) {
        free(files[i]);
    }
    if (worst != TRUC_OK) {
        hub_home_close(out);
    }
    return worst;
}

void hub_home_close(struct hub_home *home)
{
    hub_settings_close(&home->settings);
    truc_key_free(&home->note_key);
    truc_wipe(home->transport_secret, sizeof home->transport_secret);
    free(home->path);
    *home = (struct hub_home){0};
}
