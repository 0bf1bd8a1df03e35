/* The hub's home: hub.yaml, keys, and opening them. */
#include "hub/store/home.h"

#include "truc/log.h"

#include <arpa/inet.h>
#include <errno.h>
#include <inttypes.h>
#include <net/if.h>
#include <sys/stat.h>
#include <unistd.h>

#define SECRET_MAX 4096

#define MIB (INT64_C(1) << 20)
#define GIB (INT64_C(1) << 30)
#define IN_FLIGHT_MIN (5 * MIB)
#define FIELD(name, key, kind, ...)                                                                                    \
    {                                                                                                                  \
        key, kind, offsetof(struct hub_settings, name), __VA_ARGS__                                                    \
    }

/* What libzmq can listen on: everything, an address in numbers, or an interface by its name. It asks no name service.
 */
static bool is_local(const char *text, size_t size)
{
    char name[INET6_ADDRSTRLEN + IF_NAMESIZE];
    struct in6_addr ignored;
    if (size >= 2 && text[0] == '[' && text[size - 1] == ']') {
        text++;
        size -= 2;
    }
    if (size == 0 || size >= sizeof name) {
        return false;
    }
    memcpy(name, text, size);
    name[size] = '\0';
    if (strcmp(name, "*") == 0 || inet_pton(AF_INET, name, &ignored) == 1 || inet_pton(AF_INET6, name, &ignored) == 1) {
        return true;
    }
    char *zone = strchr(name, '%');
    if (zone != NULL) {
        *zone = '\0';
        return inet_pton(AF_INET6, name, &ignored) == 1 && if_nametoindex(zone + 1) != 0;
    }
    return if_nametoindex(name) != 0;
}

/* libzmq takes the digits that it likes: 99999 would listen on another port, 22x on port 22. */
static const char *check_listen(const char *listen)
{
    static const char form[] = "should be tcp://ADDRESS:PORT, with a port from 0 to 65535";
    if (strncmp(listen, "tcp://", 6) != 0) {
        return form;
    }
    const char *colon = strrchr(listen + 6, ':');
    if (colon == NULL || colon == listen + 6) {
        return form;
    }
    const char *port = colon + 1;
    size_t digits = strspn(port, "0123456789");
    bool good = digits > 0 && digits <= 5 && port[digits] == '\0' && strtoul(port, NULL, 10) <= 65535;
    if (!good) {
        return form;
    }
    return is_local(listen + 6, (size_t)(colon - listen - 6))
               ? NULL
               : "its ADDRESS should be *, an IP address, or the name of a network interface of this machine";
}

static const char *check_level(const char *text)
{
    enum truc_log_level level;
    return truc_log_level_parse(text, &level) == TRUC_OK ? NULL : "should be error, warn, info or debug";
}

/* hub/STORAGE.md, "The home directory", and deploy/sample/hub.yaml describe these. */
static const struct truc_config_field fields[] = {
    FIELD(listen, "listen", TRUC_CONFIG_STRING, true, 0, 0, NULL, check_listen),
    FIELD(log_level, "log_level", TRUC_CONFIG_STRING, false, 0, 0, "info", check_level),
    FIELD(journal_bytes, "storage.journal", TRUC_CONFIG_SIZE, false, MIB, INT64_C(64) << 40, "16 GiB", NULL),
    FIELD(state_bytes, "storage.state", TRUC_CONFIG_SIZE, false, MIB, INT64_C(64) << 40, "8 GiB", NULL),
    FIELD(reserve_bytes, "storage.reserve", TRUC_CONFIG_SIZE, false, MIB, INT64_C(1) << 40, "256 MiB", NULL),
    FIELD(workers, "workers", TRUC_CONFIG_INTEGER, false, 0, 256, "0", NULL),
    FIELD(session_bytes, "limits.session_bytes", TRUC_CONFIG_SIZE, false, IN_FLIGHT_MIN, 4 * GIB, "16 MiB", NULL),
    FIELD(total_bytes, "limits.total_bytes", TRUC_CONFIG_SIZE, false, IN_FLIGHT_MIN, 256 * GIB, "96 MiB", NULL),
    FIELD(cache_bytes, "limits.cache_bytes", TRUC_CONFIG_SIZE, false, 0, 256 * GIB, "48 MiB", NULL),
    FIELD(sessions, "limits.sessions", TRUC_CONFIG_INTEGER, false, 1, 65536, "1024", NULL),
    FIELD(lease_ms, "delivery.lease", TRUC_CONFIG_DURATION, false, 100, 86400000, "60 s", NULL),
    FIELD(silence_ms, "session.silence", TRUC_CONFIG_DURATION, false, 1000, 3600000, "60 s", NULL),
};
#define FIELDS (sizeof fields / sizeof fields[0])

static int64_t mebibytes(int64_t bytes)
{
    return (bytes + MIB - 1) / MIB;
}

static truc_error complain_of_key(const char *name, const size_t *lines, const char *key, struct truc_buffer *why,
                                  const char *sentence)
{
    truc_error error =
        truc_buffer_printf(why, "%s:%zu: %s: %s\n", name, truc_config_line(fields, FIELDS, lines, key), key, sentence);
    return error == TRUC_OK ? TRUC_E_CONFIG : error;
}

/* What lies between keys. A number that was wrong by itself is 0 here: every minimum is more. In its place stands the
 * least that it could be, so that what is wrong whatever it becomes is said in the same run. */
static truc_error check_sizes(const char *name, const size_t *lines, const struct hub_settings *settings,
                              struct truc_buffer *why)
{
    int64_t total = settings->total_bytes != 0 ? settings->total_bytes : IN_FLIGHT_MIN;
    int64_t commit = total < HUB_COMMIT_BYTES ? total : HUB_COMMIT_BYTES;
    int64_t least = HUB_RESERVE_COMMITS * commit;
    int64_t reserve = settings->reserve_bytes != 0 ? settings->reserve_bytes : least;
    truc_error error = TRUC_OK;
    char sentence[256];
    if (settings->total_bytes != 0 && settings->total_bytes < settings->session_bytes) {
        error = complain_of_key(name, lines, "limits.total_bytes", why, "is less than limits.session_bytes");
    }
    if (reserve < least) {
        (void)snprintf(sentence, sizeof sentence,
                       "a commit takes up to %" PRId64 " MiB (limits.total_bytes, at most %" PRId64
                       " MiB), and acks, governance and checkpoints must fit behind it: give %" PRId64 " MiB or more",
                       mebibytes(commit), mebibytes(HUB_COMMIT_BYTES), mebibytes(least));
        error = complain_of_key(name, lines, "storage.reserve", why, sentence);
    }
    if (settings->journal_bytes != 0 && settings->journal_bytes < reserve + commit) {
        (void)snprintf(sentence, sizeof sentence,
                       "leaves no room for seals: with this storage.reserve give %" PRId64 " MiB or more",
                       mebibytes(reserve + commit));
        error = complain_of_key(name, lines, "storage.journal", why, sentence);
    }
    return error;
}

truc_error hub_settings_read(const char *name, struct truc_bytes text, struct hub_settings *out,
                             struct truc_buffer *why)
{
    struct hub_settings settings = {0};
    size_t lines[FIELDS];
    truc_error error = truc_config_read_partly(name, text, fields, FIELDS, &settings, lines, why);
    if (error == TRUC_OK || error == TRUC_E_CONFIG) {
        truc_error between = check_sizes(name, lines, &settings, why);
        error = error == TRUC_OK || between == TRUC_E_NOMEM ? between : error;
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

/* Nobody but the owner may read or write it. false: it is not there. */
static bool check_private(const char *path, struct truc_buffer *why, truc_error *worst)
{
    struct stat status;
    if (stat(path, &status) != 0) {
        complain(why, worst, TRUC_E_IO, path, strerror(errno));
        return false;
    }
    if ((status.st_mode & 077) != 0) {
        complain(why, worst, TRUC_E_CONFIG, path, "others can read or write it: take their rights away (chmod go=)");
    } else if (status.st_uid != geteuid() && geteuid() != 0) {
        complain(why, worst, TRUC_E_CONFIG, path, "belongs to another user");
    }
    return true;
}

/* Returns whether it stands in `out`. */
static bool read_transport_key(const char *path, char out[TRUC_TRANSPORT_KEY_TEXT], struct truc_buffer *why,
                               truc_error *worst)
{
    struct truc_buffer text = {0};
    uint8_t raw[32];
    bool read = false;
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
    read = true;
out:
    truc_wipe(raw, sizeof raw);
    if (text.data != NULL) {
        truc_wipe(text.data, text.capacity);
    }
    truc_buffer_close(&text);
    return read;
}

/* Clients know the hub by its public key: with the secret one of another pair it would serve nobody, and not say why.
 */
static void check_transport_pair(const struct hub_home *home, const char *path, struct truc_buffer *why,
                                 truc_error *worst)
{
    char belongs[TRUC_TRANSPORT_KEY_TEXT];
    truc_error error = truc_transport_public(home->transport_secret, belongs);
    if (error != TRUC_OK) {
        complain(why, worst, error, path, truc_error_string(error));
    } else if (strcmp(belongs, home->transport_public) != 0) {
        complain(why, worst, TRUC_E_CONFIG, path,
                 "is not the public key of hub/transport.secret: the two files are of different pairs");
    }
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
    /* Whatever is wrong, the rest is looked at too: who mends a home wants to know all of it at once. */
    (void)check_private(path, why, &worst);
    read_settings(files[0], &out->settings, why, &worst);
    if (check_private(files[1], why, &worst)) {
        read_note_key(files[1], &out->note_key, why, &worst);
    }
    bool secret =
        check_private(files[2], why, &worst) && read_transport_key(files[2], out->transport_secret, why, &worst);
    if (read_transport_key(files[3], out->transport_public, why, &worst) && secret) {
        check_transport_pair(out, files[3], why, &worst);
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
