/* A client's settings as a folder. */
#include "truc/client.h"
#include "truc/config.h"

#include <ctype.h>
#include <errno.h>
#include <sys/stat.h>
#include <unistd.h>

#define SMALL_FILE 4096
#define Z85_KEY 40

struct settings {
    char *agency, *origin, *spool;
    struct truc_strings endpoints;
    int64_t spool_bytes;
};

static const char *check_agency(const char *text)
{
    return truc_agency_is_valid(truc_bytes_of(text)) ? NULL : "should be groups of A-Z 0-9 joined by dots";
}

static const char *check_endpoint(const char *text)
{
    return strncmp(text, "tcp://", 6) == 0 ? NULL : "should be tcp://host:port";
}

static const struct truc_config_field fields[] = {
    {.key = "agency",
     .kind = TRUC_CONFIG_STRING,
     .offset = offsetof(struct settings, agency),
     .required = true,
     .check = check_agency},
    {.key = "origin", .kind = TRUC_CONFIG_STRING, .offset = offsetof(struct settings, origin), .required = true},
    {.key = "endpoints",
     .kind = TRUC_CONFIG_STRINGS,
     .offset = offsetof(struct settings, endpoints),
     .required = true,
     .check = check_endpoint},
    {.key = "spool", .kind = TRUC_CONFIG_STRING, .offset = offsetof(struct settings, spool), .fallback = "spool"},
    {.key = "spool_bytes",
     .kind = TRUC_CONFIG_SIZE,
     .offset = offsetof(struct settings, spool_bytes),
     .minimum = 16 << 20,
     .maximum = INT64_C(1) << 40,
     .fallback = "1 GiB"},
};
#define FIELDS (sizeof fields / sizeof fields[0])

struct truc_profile {
    struct settings settings;
    struct truc_client_config config;
    struct truc_key *key;
    char *spool;
    char *hub_public, *transport_public, *transport_secret, *note_key;
};

/* A private key is nobody's but its owner's: as the hub holds it with its own. Where it cannot be looked at, reading it
 * says why. Errors: TRUC_E_NOMEM. */
static truc_error check_private(const char *folder, const char *name, struct truc_buffer *why)
{
    char *path = NULL;
    struct stat status;
    truc_error error = TRUC_OK;
    if (asprintf(&path, "%s/%s", folder, name) < 0) {
        return TRUC_E_NOMEM;
    }
    if (stat(path, &status) == 0 && (status.st_mode & (S_IRWXG | S_IRWXO)) != 0) {
        error = truc_buffer_printf(
            why, "%s:0: others can read or write this private key: take their rights away (chmod 600 %s)\n", path,
            path);
    }
    free(path);
    return error;
}

/* A file of one line; what is wrong with it goes to `why`. NULL then. Errors: TRUC_E_NOMEM. */
static truc_error read_line(const char *folder, const char *name, char **out, struct truc_buffer *why)
{
    char *path = NULL;
    struct truc_buffer text = {0};
    *out = NULL;
    if (asprintf(&path, "%s/%s", folder, name) < 0) {
        return TRUC_E_NOMEM;
    }
    truc_error error = truc_file_read(path, SMALL_FILE, &text);
    if (error == TRUC_E_IO || error == TRUC_E_TOO_LARGE) {
        error = truc_buffer_printf(why, "%s:0: cannot be read: %s\n", path,
                                   error == TRUC_E_IO ? strerror(errno) : "too long");
        goto out;
    }
    if (error != TRUC_OK) {
        goto out;
    }
    while (text.size > 0 && isspace(text.data[text.size - 1])) {
        text.size--;
    }
    if (text.size == 0 || memchr(text.data, '\n', text.size) != NULL || memchr(text.data, '\0', text.size) != NULL) {
        error = truc_buffer_printf(why, "%s:1: should hold one line\n", path);
        goto out;
    }
    *out = strndup((const char *)text.data, text.size);
    error = *out == NULL ? TRUC_E_NOMEM : TRUC_OK;
out:
    if (text.data != NULL) {
        truc_wipe(text.data, text.capacity);
    }
    truc_buffer_close(&text);
    free(path);
    return error;
}

static truc_error read_transport_key(const char *folder, const char *name, char **out, struct truc_buffer *why)
{
    uint8_t key[32];
    truc_error error = read_line(folder, name, out, why);
    if (error == TRUC_OK && *out != NULL) {
        truc_error bad =
            strlen(*out) == Z85_KEY ? truc_z85_decode(truc_bytes_of(*out), key, sizeof key) : TRUC_E_MALFORMED;
        truc_wipe(key, sizeof key);
        if (bad != TRUC_OK) {
            error = truc_buffer_printf(why, "%s/%s:1: should be a CURVE key: %d characters of Z85\n", folder, name,
                                       Z85_KEY);
        }
    }
    return error;
}

static truc_error read_note_key(struct truc_profile *profile, const char *folder, struct truc_buffer *why)
{
    struct truc_note_verifier verifier;
    truc_error error = read_line(folder, "note.key", &profile->note_key, why);
    if (error != TRUC_OK || profile->note_key == NULL) {
        return error;
    }
    if (truc_note_verifier_parse(truc_bytes_of(profile->note_key), &verifier) != TRUC_OK) {
        return truc_buffer_printf(why, "%s/note.key:1: should be the hub's verifier key: NAME+HASH+KEY\n", folder);
    }
    if (profile->settings.origin != NULL && strcmp(verifier.name, profile->settings.origin) != 0) {
        error =
            truc_buffer_printf(why, "%s/note.key:1: is the key of another log than origin in profile.yaml\n", folder);
    }
    truc_note_verifier_close(&verifier);
    return error;
}

static truc_error read_signing_key(struct truc_profile *profile, const char *folder, struct truc_buffer *why)
{
    char *path = NULL;
    if (asprintf(&path, "%s/sign.pem", folder) < 0) {
        return TRUC_E_NOMEM;
    }
    truc_error error = truc_key_load(path, &profile->key);
    if (error != TRUC_OK && error != TRUC_E_NOMEM) {
        profile->key = NULL;
        error = truc_buffer_printf(why, "%s:0: cannot be read: %s\n", path,
                                   error == TRUC_E_IO ? strerror(errno) : truc_error_string(error));
    } else if (error == TRUC_OK && !truc_key_is_private(profile->key)) {
        error = truc_buffer_printf(why, "%s:1: should hold a private key\n", path);
    }
    free(path);
    return error;
}

static truc_error read_settings(struct truc_profile *profile, const char *folder, struct truc_buffer *why)
{
    char *path = NULL;
    struct settings *settings = &profile->settings;
    if (asprintf(&path, "%s/profile.yaml", folder) < 0) {
        return TRUC_E_NOMEM;
    }
    truc_error error = truc_config_load(path, fields, FIELDS, settings, why);
    if (error == TRUC_OK && settings->spool != NULL) {
        bool absolute = settings->spool[0] == '/';
        if (asprintf(&profile->spool, "%s%s%s", absolute ? "" : folder, absolute ? "" : "/", settings->spool) < 0) {
            profile->spool = NULL;
            error = TRUC_E_NOMEM;
        }
    }
    free(path);
    return error == TRUC_E_CONFIG ? TRUC_OK : error; /* said in `why`; the other files are looked at all the same */
}

static void fill_config(struct truc_profile *profile)
{
    struct truc_client_config *config = &profile->config;
    config->agency = profile->settings.agency;
    config->origin = profile->settings.origin;
    config->endpoints = (const char *const *)profile->settings.endpoints.items;
    config->endpoint_count = profile->settings.endpoints.count;
    config->hub_public = profile->hub_public;
    config->transport_public = profile->transport_public;
    config->transport_secret = profile->transport_secret;
    config->note_key = profile->note_key;
    config->signing_key = profile->key;
    config->spool = profile->spool;
    config->spool_bytes = (uint64_t)profile->settings.spool_bytes;
    config->software = "libtruc/1";
}

/* A wrong folder is one mistake, not one for each file that a profile has. */
static truc_error check_folder(const char *folder, struct truc_buffer *why)
{
    char *path = NULL;
    if (asprintf(&path, "%s/profile.yaml", folder) < 0) {
        return TRUC_E_NOMEM;
    }
    truc_error error = TRUC_OK;
    if (access(path, F_OK) != 0 && (errno == ENOENT || errno == ENOTDIR)) {
        error = truc_buffer_printf(why,
                                   "%s: is not a profile folder: there is no profile.yaml in it (`truc agency add` "
                                   "makes one with --profile-out)\n",
                                   folder);
        error = error == TRUC_OK ? TRUC_E_CONFIG : error;
    }
    free(path);
    return error;
}

truc_error truc_profile_load(const char *folder, struct truc_profile **out, struct truc_buffer *why)
{
    const size_t said = why->size;
    *out = NULL;
    truc_error error = check_folder(folder, why);
    if (error != TRUC_OK) {
        return error;
    }
    struct truc_profile *profile = calloc(1, sizeof *profile);
    if (profile == NULL) {
        return TRUC_E_NOMEM;
    }
    error = read_settings(profile, folder, why);
    if (error == TRUC_OK) {
        error = read_signing_key(profile, folder, why);
    }
    if (error == TRUC_OK) {
        error = check_private(folder, "sign.pem", why);
    }
    if (error == TRUC_OK) {
        error = check_private(folder, "transport.secret", why);
    }
    if (error == TRUC_OK) {
        error = read_transport_key(folder, "transport.secret", &profile->transport_secret, why);
    }
    if (error == TRUC_OK) {
        error = read_transport_key(folder, "transport.public", &profile->transport_public, why);
    }
    if (error == TRUC_OK) {
        error = read_transport_key(folder, "hub.public", &profile->hub_public, why);
    }
    if (error == TRUC_OK) {
        error = read_note_key(profile, folder, why);
    }
    if (error == TRUC_OK && why->size > said) {
        error = TRUC_E_CONFIG;
    }
    if (error != TRUC_OK) {
        truc_profile_free(&profile);
        return error;
    }
    fill_config(profile);
    *out = profile;
    return TRUC_OK;
}

void truc_profile_free(struct truc_profile **profile_)
{
    struct truc_profile *profile = *profile_;
    if (profile == NULL) {
        return;
    }
    truc_config_close(fields, FIELDS, &profile->settings);
    truc_key_free(&profile->key);
    if (profile->transport_secret != NULL) {
        truc_wipe(profile->transport_secret, strlen(profile->transport_secret));
    }
    free(profile->spool);
    free(profile->hub_public);
    free(profile->transport_public);
    free(profile->transport_secret);
    free(profile->note_key);
    free(profile);
    *profile_ = NULL;
}

struct truc_client_config *truc_profile_config(struct truc_profile *profile)
{
    return &profile->config;
}
