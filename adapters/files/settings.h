/* What the administrator writes in the adapter's one YAML file. */
#ifndef TRUC_FILES_SETTINGS_H
#define TRUC_FILES_SETTINGS_H

#include "truc/config.h"

struct files_settings {
    char *profile;               /* folder of the profile */
    char *out, *in, *quarantine; /* folders */
    char *receipts;              /* NULL: a receipt lies beside its file, in done or refused */
    char *pending, *done, *refused;
    struct truc_strings subscriptions;
    char *default_type, *default_source; /* NULL: none */
    struct truc_strings default_recipients;
    int64_t scan_ms, settle_ms, retry_ms, idle_ms, wait_ms;
    int64_t in_flight; /* files that are under way at a time */
    char *log_level;
    /* made from the above */
    char *recipients; /* joined by commas; NULL: none */
};

/* Reads and checks the file. `why` gets every error, one a line: "FILE:LINE: KEY: sentence". Relative folders are
 * relative to the file. Errors: TRUC_E_CONFIG (what could be read stays in *out, so that the profile can be checked in
 * the same run), TRUC_E_IO (cannot be read; errno), TRUC_E_NOMEM. Close it in any case. */
TRUC_MUST_USE truc_error files_settings_load(const char *path, struct files_settings *out, struct truc_buffer *why);
void files_settings_close(struct files_settings *settings);

#endif
