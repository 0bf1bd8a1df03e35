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

enum admin_exit admin_keys_make(const struct admin_call *call, const char *folder, struct admin_new_keys *out)
{
    enum truc_algorithm algorithm;
    char secret[ADMIN_Z85_SIZE] = "";
    memset(out, 0, sizeof(*out));
    enum admin_exit exit_code = admin_algorithm(call, &algorithm);
    if (exit_code != ADMIN_OK) {
        return exit_code;
    }
    if (mkdir(folder, 0700) != 0) {
        return admin_fail(call, ADMIN_NO, "the folder %s cannot be made: %s%s", folder, strerror(errno),
                          errno == EEXIST ? ". Keys are never written into an existing folder; choose another" : "");
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

enum admin_exit admin_profile_make(const struct admin_call *call, const char *folder, const char *agency,
                                   const struct truc_client_config *own)
{
    struct truc_buffer yaml = {0};
    enum admin_exit exit_code = ADMIN_OK;
    truc_error error =
        truc_buffer_printf(&yaml,
                           "# How %s reaches its hub. Keep this folder secret: it holds the agency's signing key.\n"
                           "agency: \"%s\"\norigin: \"%s\"\nendpoints:\n",
                           agency, agency, own->origin);
    for (size_t i = 0; error == TRUC_OK && i < own->endpoint_count; i++) {
        error = truc_buffer_printf(&yaml, "  - \"%s\"\n", own->endpoints[i]);
    }
    error = error != TRUC_OK ? error : truc_buffer_printf(&yaml, "spool: spool");
    if (error != TRUC_OK) {
        exit_code = admin_fail(call, ADMIN_NO, "%s", truc_error_string(error));
    }
    if (exit_code == ADMIN_OK) {
        exit_code = write_text(call, folder, "hub.public", own->hub_public, 0644);
    }
    if (exit_code == ADMIN_OK) {
        exit_code = write_text(call, folder, "note.key", own->note_key, 0644);
    }
    if (exit_code == ADMIN_OK) { /* last: a folder without it is no profile */
        exit_code = write_text(call, folder, "profile.yaml", (char *)yaml.data, 0600);
    }
    truc_buffer_close(&yaml);
    return exit_code;
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

enum admin_exit admin_transport_read(const struct admin_call *call, const char *text, uint8_t out[32])
{
    if (strlen(text) == 64 && truc_unhex(truc_bytes_of(text), out, 32) == TRUC_OK) {
        return ADMIN_OK; /* as the hub writes it */
    }
    if (truc_z85_decode(truc_bytes_of(text), out, 32) != TRUC_OK) {
        return admin_fail(call, ADMIN_USAGE,
                          "the transport key is 40 characters of Z85 (the agency's file transport.public)");
    }
    return ADMIN_OK;
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
