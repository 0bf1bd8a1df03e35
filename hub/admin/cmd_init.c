/* truc init: a new log, its genesis and a home directory. */
#include "hub/admin/table.h"
#include "hub/store/home.h"

#include <limits.h>
#include <time.h>

static void print_next_steps(const char *home, const char *listen, const char *note_key)
{
    printf(
        "A new log was made in %s\n"
        "  hub.yaml           configuration of the hub, listens on %s\n"
        "  hub/               the hub's keys: never copy them, never put them into a backup that others read\n"
        "  data/              journal (the log itself), state, content keys\n"
        "  admin-1/ admin-2/  profiles of two administrators, so that one lost key locks nobody out\n\n"
        "The hub's note key. Whoever wants to check receipts and evidence needs it; hand it out in public:\n  %s\n\n",
        home, listen, note_key);
    printf("Next steps\n"
           "  1. Start the hub:             truc-hub --home %s\n"
           "  2. Move admin-2 to another person, on another machine; keep no copy here.\n"
           "  3. Be the administrator:      export TRUC_PROFILE=%s/admin-1\n"
           "  4. Look whether it answers:   truc status\n"
           "  5. Enrol the first agency:    truc agency add H14.09 --name 'Land office' --profile-out land-office\n"
           "  6. Allow it something:        truc grant add land-1 --from H14.09 --to H14.10 --type 'land.*' "
           "--basis 'Decree 107/2021'\n",
           home, home);
}

static enum admin_exit run_init(struct admin_call *call)
{
    const char *home = admin_text(call, "home"), *origin = admin_text(call, "origin");
    const char *listen = admin_text(call, "listen");
    listen = listen == NULL ? "tcp://127.0.0.1:5590" : listen;
    struct truc_buffer why = {0}, note_key = {0};
    struct hub_home made = {0};
    char *real = NULL, *file = NULL;
    struct timespec now;
    enum admin_exit exit_code = ADMIN_OK;

    (void)clock_gettime(CLOCK_REALTIME, &now);
    truc_error error =
        hub_home_make(home, origin, listen, (int64_t)now.tv_sec * 1000000 + (int64_t)now.tv_nsec / 1000, &why);
    if (error != TRUC_OK) {
        exit_code =
            admin_fail(call, error == TRUC_E_EXISTS ? ADMIN_NO : admin_exit_of(error), "no log was made in %s: %s%s",
                       home, truc_error_string(error),
                       error == TRUC_E_EXISTS ? ". An existing home is never overwritten; choose another folder" : "");
        fwrite(why.data, 1, why.size, stderr);
        goto out;
    }
    /* Opened again as the hub will open it: what was made must pass its checks. */
    error = hub_home_open(home, &made, &why);
    real = realpath(home, NULL);
    file = hub_home_file(home, "hub/note.key");
    if (error == TRUC_OK && (real == NULL || file == NULL)) {
        error = TRUC_E_NOMEM;
    }
    if (error == TRUC_OK) {
        error = truc_file_read(file, TRUC_NOTE_MAX, &note_key);
    }
    if (error != TRUC_OK) {
        exit_code = admin_fail(call, ADMIN_NO, "%s was made but cannot be opened: %s", home, truc_error_string(error));
        fwrite(why.data, 1, why.size, stderr);
        goto out;
    }
    while (note_key.size > 0 && note_key.data[note_key.size - 1] == '\n') {
        note_key.size--;
    }
    admin_must(truc_buffer_append(&note_key, "", 1) == TRUC_OK);
    if (call->json) {
        json_t *row = json_pack("{s:s, s:s, s:s, s:s, s:[s,s]}", "home", real, "origin", origin, "listen", listen,
                                "note_key", (char *)note_key.data, "profiles", "admin-1", "admin-2");
        admin_must(row != NULL);
        (void)admin_json_line(stdout, row);
        json_decref(row);
    } else {
        print_next_steps(real, listen, (char *)note_key.data);
    }
out:
    hub_home_close(&made);
    truc_buffer_close(&why);
    truc_buffer_close(&note_key);
    free(real);
    free(file);
    return exit_code;
}

static const struct admin_option init_options[] = {
    {"home", ADMIN_TEXT, "DIR", "the folder to make", true},
    {"origin", ADMIN_TEXT, "NAME", "the log's name for ever, as truc.example.gov.vn/2026", true},
    {"listen", ADMIN_TEXT, "ENDPOINT", "where the hub listens (default tcp://127.0.0.1:5590)", false},
    ADMIN_END};

const struct admin_command admin_init_commands[] = {
    {"init", "", 0, 0, "begin a log: a home folder with its keys and two administrators' profiles", init_options,
     run_init},
    {NULL, NULL, 0, 0, NULL, NULL, NULL}};
