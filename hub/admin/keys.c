#include "hub/admin/keys.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

static const char *const profile_files[] = {"sign.pem",   "sign.pub.pem", "transport.secret", "transport.public",
                                            "hub.public", "note.key",     "profile.yaml"};

static char *file_in(const char *folder, const char *name)
{
    char *path = NULL;
    if (asprintf(&path, "%s/%s", folder, name) < 0) {
        abort();
    }
    return path;
}

enum admin_exit admin_algorithm(const struct admin_call *call, enum truc_algorithm *out)
{
    const char *name = admin_text(call, "algorithm");
    *out = TRUC_ALGORITHM_P256;
    if (name != NULL && truc_algorithm_parse(name, out) != TRUC_OK) {
        return admin_fail(call, ADMIN_USAGE, "--algorithm: '%s' is not one of p256, ed25519, rsa", name);
    }
    return ADMIN_OK;
}

static enum admin_exit write_text(const struct admin_call *call, const char *folder, const char *name, const char *text,
                                  unsigned mode)
{
    char *path = file_in(folder, name);
    struct truc_buffer line = {0};
    truc_error error = truc_buffer_printf(&line, "%s\n", text);
    if (error == TRUC_OK) {
        error = truc_file_write(path, truc_buffer_view(&line), mode, false);
    }
    enum admin_exit exit_code = ADMIN_OK;
    if (error != TRUC_OK) {
        exit_code = admin_fail(call, ADMIN_NO, "%s cannot be written: %s%s%s", path, truc_error_string(error),
                               error == TRUC_E_IO ? ": " : "", error == TRUC_E_IO ? strerror(errno) : "");
    }
    truc_wipe(line.data, line.size);
    truc_buffer_close(&line);
    free(path);
    return exit_code;
}

static enum admin_exit save_signing(const struct admin_call *call, const char *folder, const struct truc_key *key)
{
    char *private_path = file_in(folder, "sign.pem"), *public_path = file_in(folder, "sign.pub.pem");
    truc_error error = truc_key_save_private(key, private_path);
    if (error == TRUC_OK) {
        error = truc_key_save_public(key, public_path);
    }
    free(private_path);
    free(public_path);
    return error == TRUC_OK ? ADMIN_OK
                            : admin_fail(call, ADMIN_NO, "the signing key cannot be saved in %s: %s", folder,
                                         truc_error_string(error));
}

static enum admin_exit make_folder(const struct admin_call *call, const char *folder, mode_t mode, const char *exists)
{
    if (mkdir(folder, mode) == 0) {
        return ADMIN_OK;
    }
    return admin_fail(call, ADMIN_NO, "the folder %s cannot be made: %s%s", folder, strerror(errno),
                      errno == EEXIST ? exists : "");
}

enum admin_exit admin_keys_make(const struct admin_call *call, const char *folder, struct admin_new_keys *out)
{
    enum truc_algorithm algorithm;
    char secret[ADMIN_Z85_SIZE] = "";
    memset(out, 0, sizeof(*out));
    enum admin_exit exit_code = admin_algorithm(call, &algorithm);
    if (exit_code != ADMIN_OK) {
        return exit_code;
    }
    exit_code = make_folder(call, folder, 0700, ". Keys are never written into an existing folder; choose another");
    if (exit_code != ADMIN_OK) {
        return exit_code;
    }
    truc_error error = truc_key_generate(algorithm, &out->signing);
    if (error == TRUC_OK) {
        error = truc_transport_keypair(out->transport_text, secret);
    }
    if (error == TRUC_OK) {
        error = truc_z85_decode(truc_bytes_of(out->transport_text), out->transport, sizeof(out->transport));
    }
    if (error != TRUC_OK) {
        exit_code = admin_fail(call, ADMIN_NO, "keys cannot be made: %s", truc_error_string(error));
    }
    if (exit_code == ADMIN_OK) {
        exit_code = save_signing(call, folder, out->signing);
    }
    if (exit_code == ADMIN_OK) {
        exit_code = write_text(call, folder, "transport.secret", secret, 0600);
    }
    if (exit_code == ADMIN_OK) {
        exit_code = write_text(call, folder, "transport.public", out->transport_text, 0644);
    }
    truc_wipe(secret, sizeof(secret));
    if (exit_code != ADMIN_OK) {
        truc_key_free(&out->signing);
        admin_profile_remove(folder);
    }
    return exit_code;
}

enum admin_exit admin_endpoints_check(const struct admin_call *call)
{
    const struct admin_value *given = admin_value(call, "endpoint");
    for (size_t i = 0; i < given->count; i++) {
        const char *text = given->items[i], *port = strrchr(text, ':');
        uint64_t number = 0;
        if (strncmp(text, "tcp://", 6) != 0 || port <= text + 6 || !admin_decimal(port + 1, &number) || number == 0 ||
            number > 65535 || strpbrk(text, "\"\\ \t\n") != NULL) {
            return admin_fail(call, ADMIN_USAGE, "--endpoint: '%s' is not like tcp://hub.example.gov.vn:5590", text);
        }
    }
    return ADMIN_OK;
}

/* Only this machine itself reaches such an address. */
static bool is_loopback(const char *endpoint)
{
    return strncmp(endpoint, "tcp://127.", 10) == 0 || strncmp(endpoint, "tcp://localhost:", 16) == 0 ||
           strncmp(endpoint, "tcp://[::1]:", 12) == 0;
}

static truc_error profile_yaml(const struct admin_call *call, const char *remark, const char *agency,
                               const struct truc_client_config *own, struct truc_buffer *yaml)
{
    const struct admin_value *given = admin_value(call, "endpoint");
    const char *const *endpoints = given->count > 0 ? given->items : own->endpoints;
    size_t count = given->count > 0 ? given->count : own->endpoint_count, loopback = 0;
    truc_error error =
        truc_buffer_printf(yaml, "# How %s reaches its hub. %s\nagency: \"%s\"\norigin: \"%s\"\nendpoints:\n", agency,
                           remark, agency, own->origin);
    for (size_t i = 0; error == TRUC_OK && i < count; i++) {
        loopback += is_loopback(endpoints[i]);
        error = truc_buffer_printf(yaml, "  - \"%s\"\n", endpoints[i]);
    }
    if (loopback == count && !call->json) {
        fprintf(stderr,
                "truc: note: the profile's endpoint %s is this machine's own; for an agency elsewhere give "
                "--endpoint tcp://HOST:PORT\n",
                count > 0 ? endpoints[0] : "");
    }
    return error != TRUC_OK ? error : truc_buffer_printf(yaml, "spool: spool");
}

static enum admin_exit make_profile(const struct admin_call *call, const char *folder, const char *agency,
                                    const struct truc_client_config *own, const char *remark, unsigned mode)
{
    struct truc_buffer yaml = {0};
    enum admin_exit exit_code = ADMIN_OK;
    truc_error error = profile_yaml(call, remark, agency, own, &yaml);
    if (error != TRUC_OK) {
        exit_code = admin_fail(call, ADMIN_NO, "the profile cannot be written: %s", truc_error_string(error));
    }
    if (exit_code == ADMIN_OK) {
        exit_code = write_text(call, folder, "hub.public", own->hub_public, 0644);
    }
    if (exit_code == ADMIN_OK) {
        exit_code = write_text(call, folder, "note.key", own->note_key, 0644);
    }
    if (exit_code == ADMIN_OK) { /* last: a folder without it is no profile */
        exit_code = write_text(call, folder, "profile.yaml", (char *)yaml.data, mode);
    }
    truc_buffer_close(&yaml);
    return exit_code;
}

enum admin_exit admin_profile_make(const struct admin_call *call, const char *folder, const char *agency,
                                   const struct truc_client_config *own)
{
    return make_profile(call, folder, agency, own, "Keep this folder secret: it holds the agency's signing key.", 0600);
}

enum admin_exit admin_profile_make_public(const struct admin_call *call, const char *folder, const char *agency,
                                          const struct truc_client_config *own)
{
    enum admin_exit exit_code = make_folder(call, folder, 0755, ". Nothing is overwritten; choose another");
    if (exit_code != ADMIN_OK) {
        return exit_code;
    }
    exit_code =
        make_profile(call, folder, agency, own, "It belongs beside the agency's own keys (truc key new).", 0644);
    if (exit_code != ADMIN_OK) {
        admin_profile_remove(folder);
    }
    return exit_code;
}

void admin_profile_explain(const char *folder, const char *agency)
{
    printf(
        "What it needs beside its own keys is in %s (profile.yaml, hub.public, note.key); nothing in it is secret.\n"
        "The agency compares note.key with the hub's published key, copies the files into the folder of its own keys "
        "and looks whether it reaches the hub:\n"
        "    truc key list %s --profile FOLDER\n",
        folder, agency);
}

void admin_profile_remove(const char *folder)
{
    for (size_t i = 0; i < sizeof(profile_files) / sizeof(profile_files[0]); i++) {
        char *path = file_in(folder, profile_files[i]);
        (void)unlink(path); /* what is not there need not be removed */
        free(path);
    }
    if (rmdir(folder) != 0) {
        fprintf(stderr, "truc: the folder %s could not be removed: %s\n", folder, strerror(errno));
    }
}

enum admin_exit admin_key_read(const struct admin_call *call, const char *path, struct truc_key **out)
{
    truc_error error = truc_key_load(path, out);
    if (error != TRUC_OK) {
        return admin_fail(
            call, ADMIN_USAGE, "%s is not a key that can be used (P-256, Ed25519, RSA of 2048 bits or more): %s%s%s",
            path, truc_error_string(error), error == TRUC_E_IO ? ": " : "", error == TRUC_E_IO ? strerror(errno) : "");
    }
    if (truc_key_is_private(*out)) {
        truc_key_free(out);
        return admin_fail(call, ADMIN_USAGE,
                          "%s is a private key and must not leave its agency; ask for the public one (sign.pub.pem)",
                          path);
    }
    return ADMIN_OK;
}

static bool transport_decode(struct truc_bytes text, uint8_t out[32])
{
    return (text.size == 64 && truc_unhex(text, out, 32) == TRUC_OK) /* as the hub writes it */
           || truc_z85_decode(text, out, 32) == TRUC_OK;
}

enum admin_exit admin_transport_read(const struct admin_call *call, const char *text, uint8_t out[32])
{
    struct truc_buffer file = {0};
    struct truc_bytes line = truc_bytes_of(text);
    enum admin_exit exit_code = ADMIN_OK;
    const char *name = strrchr(text, '/');
    if (strcmp(name == NULL ? text : name + 1, "transport.secret") == 0) {
        return admin_fail(call, ADMIN_USAGE,
                          "%s is the secret key and must not leave its agency; ask for transport.public", text);
    }
    /* A file's name first: one of 40 characters could be read as a key. */
    if (access(text, F_OK) == 0) {
        truc_error error = truc_file_read(text, 4096, &file);
        if (error != TRUC_OK) {
            exit_code = admin_fail(call, ADMIN_USAGE, "--transport-key: %s cannot be read: %s%s%s", text,
                                   truc_error_string(error), error == TRUC_E_IO ? ": " : "",
                                   error == TRUC_E_IO ? strerror(errno) : "");
        }
        line = truc_buffer_view(&file);
        while (line.size > 0 && (line.data[line.size - 1] == '\n' || line.data[line.size - 1] == '\r')) {
            line.size--;
        }
    }
    if (exit_code == ADMIN_OK && !transport_decode(line, out)) {
        exit_code = admin_fail(call, ADMIN_USAGE,
                               "--transport-key: '%s' is neither a key of 40 characters nor a file with one (the "
                               "agency's transport.public)",
                               text);
    }
    truc_buffer_close(&file);
    return exit_code;
}

enum admin_exit admin_keys_read(const struct admin_call *call, struct admin_new_keys *out, bool *has_transport)
{
    const char *pem = admin_text(call, "key"), *transport = admin_text(call, "transport-key");
    enum admin_exit exit_code = ADMIN_OK;
    memset(out, 0, sizeof(*out));
    *has_transport = transport != NULL;
    if (transport != NULL) {
        exit_code = admin_transport_read(call, transport, out->transport);
    }
    if (exit_code == ADMIN_OK && pem != NULL) {
        exit_code = admin_key_read(call, pem, &out->signing);
    }
    return exit_code;
}

ProtobufCBinaryData admin_spki(const struct truc_key *key)
{
    struct truc_bytes spki = truc_key_spki(key);
    return (ProtobufCBinaryData){spki.size, (uint8_t *)(uintptr_t)spki.data};
}

const struct admin_column admin_key_columns[] = {{"agency", "AGENCY", ADMIN_COLUMN_TEXT},
                                                 {"keyid", "KEYID", ADMIN_COLUMN_TEXT},
                                                 {"transport_key", "TRANSPORT KEY", ADMIN_COLUMN_TEXT},
                                                 {"algorithm", "ALGORITHM", ADMIN_COLUMN_TEXT},
                                                 {"state", "STATE", ADMIN_COLUMN_TEXT},
                                                 {"added_at", "ADDED AT", ADMIN_COLUMN_TIME},
                                                 {"revoked_at", "REVOKED AT", ADMIN_COLUMN_TIME},
                                                 {NULL, NULL, ADMIN_COLUMN_TEXT}};

size_t admin_keys_valid(json_t *rows, const char *column)
{
    size_t at, count = 0;
    json_t *row;
    json_array_foreach(rows, at, row)
    {
        count += json_object_get(row, column) != NULL && strcmp(admin_row_text(row, "state"), "valid") == 0;
    }
    return count;
}

void admin_transport_rows(json_t *rows)
{
    size_t at;
    json_t *row;
    json_array_foreach(rows, at, row)
    {
        const char *hex = json_string_value(json_object_get(row, "transport_key"));
        uint8_t key[32];
        char z85[ADMIN_Z85_SIZE];
        if (hex != NULL && strlen(hex) == 64 && truc_unhex(truc_bytes_of(hex), key, 32) == TRUC_OK &&
            truc_z85_encode(truc_bytes(key, sizeof(key)), z85) == TRUC_OK) {
            admin_must(json_object_set_new(row, "transport_key", json_string(z85)) == 0);
        }
    }
}
