/* Making a home: everything is built in a folder beside it that takes the home's name at the very end, so that a crash
 * in between leaves no half of one. */
#include "hub/store/genesis.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <sys/stat.h>
#include <unistd.h>

#define ADMINISTRATORS 2 /* so that one lost key locks nobody out */

struct maker {
    const char *final_path;
    char *path; /* under construction */
    const char *origin, *listen;
    struct truc_buffer *why;
    struct truc_key *note_key;
    struct truc_buffer note_text; /* verifier key and a newline */
    char hub_public[TRUC_TRANSPORT_KEY_TEXT];
    struct hub_founder founders[ADMINISTRATORS];
};

static truc_error say(struct maker *maker, truc_error error, const char *path)
{
    const char *reason = error == TRUC_E_IO ? strerror(errno) : truc_error_string(error);
    truc_error said = truc_buffer_printf(maker->why, "%s: %s\n", path, reason);
    return said == TRUC_OK ? error : said;
}

/* chmod, since the umask may have taken more away than it should, or a default ACL given more. */
static truc_error make_folder(struct maker *maker, const char *name)
{
    char *path = name == NULL ? strdup(maker->path) : hub_home_file(maker->path, name);
    if (path == NULL) {
        return TRUC_E_NOMEM;
    }
    truc_error error = mkdir(path, 0700) == 0 && chmod(path, 0700) == 0 ? TRUC_OK : say(maker, TRUC_E_IO, path);
    free(path);
    return error;
}

static truc_error make_file(struct maker *maker, const char *folder, const char *name, struct truc_bytes data)
{
    char *path;
    if (asprintf(&path, "%s%s%s/%s", maker->path, folder[0] == '\0' ? "" : "/", folder, name) < 0) {
        return TRUC_E_NOMEM;
    }
    truc_error error = truc_file_write(path, data, 0600, false);
    if (error == TRUC_OK && chmod(path, 0600) != 0) {
        error = TRUC_E_IO;
    }
    if (error != TRUC_OK) {
        error = say(maker, error, path);
    }
    free(path);
    return error;
}

static truc_error make_text(struct maker *maker, const char *folder, const char *name, const char *text)
{
    return make_file(maker, folder, name, truc_bytes_of(text));
}

static truc_error make_key_line(struct maker *maker, const char *folder, const char *name, const char *key)
{
    char line[TRUC_TRANSPORT_KEY_TEXT + 1];
    (void)snprintf(line, sizeof line, "%s\n", key);
    truc_error error = make_text(maker, folder, name, line);
    truc_wipe(line, sizeof line);
    return error;
}

static truc_error make_pem(struct maker *maker, const char *folder, const char *name, const struct truc_key *key)
{
    char *path;
    if (asprintf(&path, "%s/%s/%s", maker->path, folder, name) < 0) {
        return TRUC_E_NOMEM;
    }
    truc_error error = truc_key_save_private(key, path);
    if (error == TRUC_OK && chmod(path, 0600) != 0) {
        error = TRUC_E_IO;
    }
    if (error != TRUC_OK) {
        error = say(maker, error, path);
    }
    free(path);
    return error;
}

/* ---- the hub's side
 * ----------------------------------------------------------------------------------------------------------- */

static truc_error make_transport(struct maker *maker, const char *folder, char public_key[TRUC_TRANSPORT_KEY_TEXT])
{
    char secret[TRUC_TRANSPORT_KEY_TEXT];
    truc_error error = truc_transport_keypair(public_key, secret);
    if (error == TRUC_OK) {
        error = make_key_line(maker, folder, "transport.secret", secret);
    }
    if (error == TRUC_OK) {
        error = make_key_line(maker, folder, "transport.public", public_key);
    }
    truc_wipe(secret, sizeof secret);
    return error;
}

static truc_error make_settings(struct maker *maker)
{
    struct truc_buffer text = {0};
    struct hub_settings settings;
    truc_error error = truc_buffer_printf(&text,
                                          "# The hub's settings. hub/STORAGE.md names all of them and their defaults.\n"
                                          "listen: \"%s\"\n"
                                          "log_level: info\n"
                                          "storage:\n"
                                          "  journal: 16 GiB\n"
                                          "  state: 8 GiB\n"
                                          "  reserve: 256 MiB\n",
                                          maker->listen);
    if (error ==
        TRUC_OK) { /* what is written here must be readable: a wrong `listen` is said before anything is made */
        error = hub_settings_read("hub.yaml", truc_buffer_view(&text), &settings, maker->why);
        if (error == TRUC_E_CONFIG) {
            error = TRUC_E_INVALID;
        } else if (error == TRUC_OK) {
            hub_settings_close(&settings);
        }
    }
    if (error == TRUC_OK) {
        error = make_file(maker, "", "hub.yaml", truc_buffer_view(&text));
    }
    truc_buffer_close(&text);
    return error;
}

static truc_error make_hub(struct maker *maker)
{
    struct truc_note_verifier verifier = {0};
    truc_error error = make_folder(maker, "hub");
    if (error == TRUC_OK) {
        error = truc_key_generate(TRUC_ALGORITHM_ED25519, &maker->note_key);
    }
    if (error == TRUC_OK) {
        error = make_pem(maker, "hub", "note.pem", maker->note_key);
    }
    if (error == TRUC_OK) {
        error = truc_note_verifier_make(maker->origin, maker->note_key, &verifier);
    }
    if (error == TRUC_OK) {
        error = truc_note_verifier_text(&verifier, &maker->note_text);
        truc_note_verifier_close(&verifier);
    }
    if (error == TRUC_OK) {
        error = truc_buffer_append(&maker->note_text, "\n", 1);
    }
    if (error == TRUC_OK) {
        error = make_file(maker, "hub", "note.key", truc_buffer_view(&maker->note_text));
    }
    if (error == TRUC_OK) {
        error = make_transport(maker, "hub", maker->hub_public);
    }
    return error;
}

/* ---- the administrators' profiles
 * ---------------------------------------------------------------------------------------------- */

static truc_error make_profile(struct maker *maker, unsigned number)
{
    struct hub_founder *founder = &maker->founders[number - 1];
    struct truc_buffer text = {0};
    char folder[16], transport[TRUC_TRANSPORT_KEY_TEXT];
    (void)snprintf(folder, sizeof folder, "admin-%u", number);
    (void)snprintf(founder->agency, sizeof founder->agency, "TRUC.ADMIN.%u", number);
    truc_error error = make_folder(maker, folder);
    if (error == TRUC_OK) {
        error = truc_key_generate(TRUC_ALGORITHM_P256, &founder->key);
    }
    if (error == TRUC_OK) {
        error = make_pem(maker, folder, "sign.pem", founder->key);
    }
    if (error == TRUC_OK) {
        error = make_transport(maker, folder, transport);
    }
    if (error == TRUC_OK) {
        error = truc_z85_decode(truc_bytes_of(transport), founder->transport, sizeof founder->transport);
    }
    if (error == TRUC_OK) {
        error = make_key_line(maker, folder, "hub.public", maker->hub_public);
    }
    if (error == TRUC_OK) {
        error = make_file(maker, folder, "note.key", truc_buffer_view(&maker->note_text));
    }
    if (error == TRUC_OK) {
        error = truc_buffer_printf(&text, "agency: %s\norigin: \"%s\"\nendpoints: [\"%s\"]\nspool: \"spool\"\n",
                                   founder->agency, maker->origin, maker->listen);
    }
    if (error == TRUC_OK) {
        error = make_file(maker, folder, "profile.yaml", truc_buffer_view(&text));
    }
    truc_buffer_close(&text);
    return error;
}

/* ---- all of it
 * ------------------------------------------------------------------------------------------------------------------ */

static truc_error make_data(struct maker *maker, int64_t now_us)
{
    char why[256] = "";
    char *folder = hub_home_file(maker->path, "data");
    if (folder == NULL) {
        return TRUC_E_NOMEM;
    }
    truc_error error = make_folder(maker, "data");
    if (error == TRUC_OK) {
        maker->note_text.size--; /* without its newline */
        error = hub_genesis_write(folder, maker->origin, truc_buffer_view(&maker->note_text), maker->founders,
                                  ADMINISTRATORS, now_us, why);
    }
    if (error != TRUC_OK && why[0] != '\0') {
        truc_error said = truc_buffer_printf(maker->why, "%s\n", why);
        error = said == TRUC_OK ? error : said;
    }
    free(folder);
    return error;
}

static truc_error make_all(struct maker *maker, int64_t now_us)
{
    truc_error error = make_folder(maker, NULL);
    if (error == TRUC_OK) {
        error = make_settings(maker);
    }
    if (error == TRUC_OK) {
        error = make_hub(maker);
    }
    for (unsigned i = 1; i <= ADMINISTRATORS && error == TRUC_OK; i++) {
        error = make_profile(maker, i);
    }
    if (error == TRUC_OK) {
        error = make_data(maker, now_us);
    }
    return error;
}

static int remove_one(const char *path, const struct stat *status, int kind, struct FTW *walk)
{
    (void)status;
    (void)kind;
    (void)walk;
    return remove(path);
}

static truc_error sync_folder(struct maker *maker, const char *path)
{
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    truc_error error = fd >= 0 && fsync(fd) == 0 ? TRUC_OK : say(maker, TRUC_E_IO, path);
    if (fd >= 0) {
        (void)close(fd);
    }
    return error;
}

/* An existing empty folder may become the home; anything else with that name stays untouched. */
static truc_error take_name(struct maker *maker)
{
    char *parent = NULL;
    truc_error error = sync_folder(maker, maker->path); /* the names of the folders in it: nothing else synced those */
    if (error != TRUC_OK) {
        return error;
    }
    if (rename(maker->path, maker->final_path) != 0) {
        error = errno == ENOTEMPTY || errno == EEXIST || errno == ENOTDIR ? TRUC_E_EXISTS : TRUC_E_IO;
        return say(maker, error, maker->final_path);
    }
    if (asprintf(&parent, "%s/..", maker->final_path) < 0) {
        return TRUC_E_NOMEM;
    }
    error = sync_folder(maker, parent);
    free(parent);
    return error;
}

/* Something stands there already that is no empty folder. */
static bool is_taken(const char *path)
{
    DIR *folder = opendir(path);
    if (folder == NULL) {
        return errno != ENOENT;
    }
    size_t entries = 0;
    while (entries <= 2 && readdir(folder) != NULL) {
        entries++;
    }
    bool taken = entries > 2; /* "." and ".." are in every one */
    (void)closedir(folder);
    return taken;
}

static bool text_is_quotable(const char *text)
{
    for (; *text != '\0'; text++) {
        if ((unsigned char)*text <= ' ' || (unsigned char)*text > '~' || *text == '"' || *text == '\\') {
            return false;
        }
    }
    return true;
}

truc_error hub_home_make(const char *path, const char *origin, const char *listen, int64_t now_us,
                         struct truc_buffer *why)
{
    struct maker maker = {.final_path = path, .origin = origin, .listen = listen, .why = why};
    size_t length = strlen(path);
    if (!hub_origin_is_valid(truc_bytes_of(origin)) || !text_is_quotable(listen) || length == 0) {
        truc_error said = truc_buffer_printf(why, "the origin is 1 to 255 of a-z A-Z 0-9 . - _ / , and `listen` an "
                                                  "address like tcp://127.0.0.1:5590\n");
        return said == TRUC_OK ? TRUC_E_INVALID : said;
    }
    while (length > 1 && path[length - 1] == '/') {
        length--;
    }
    if (asprintf(&maker.path, "%.*s.making-%ld", (int)length, path, (long)getpid()) < 0) {
        return TRUC_E_NOMEM;
    }
    truc_error error = TRUC_OK;
    if (is_taken(path)) { /* said before any key is made */
        error = say(&maker, TRUC_E_EXISTS, path);
    } else {
        error = make_all(&maker, now_us);
        if (error == TRUC_OK) {
            error = take_name(&maker);
        }
        if (error != TRUC_OK && nftw(maker.path, remove_one, 16, FTW_DEPTH | FTW_PHYS) != 0 && errno != ENOENT) {
            error = say(&maker, error, maker.path); /* left behind: the administrator should know */
        }
    }
    for (size_t i = 0; i < ADMINISTRATORS; i++) {
        truc_key_free(&maker.founders[i].key);
    }
    truc_key_free(&maker.note_key);
    truc_buffer_close(&maker.note_text);
    free(maker.path);
    return error;
}
