#include "adapters/draft/key.h"

#include "truc/config.h"
#include "truc/crypto.h"

#include <errno.h>

truc_error draft_key_open(const char *path, struct draft_key *out)
{
    struct truc_buffer read = {0};
    truc_error error = truc_file_read(path, sizeof out->bytes, &read);
    if (error == TRUC_E_TOO_LARGE || (error == TRUC_OK && read.size != sizeof out->bytes)) {
        error = TRUC_E_CORRUPT;
    } else if (error == TRUC_OK) {
        memcpy(out->bytes, read.data, sizeof out->bytes);
    } else if (error == TRUC_E_IO && errno == ENOENT) {
        error = truc_random(out->bytes, sizeof out->bytes);
        if (error == TRUC_OK) {
            error = truc_file_write(path, truc_bytes(out->bytes, sizeof out->bytes), 0600, false);
        }
    }
    if (read.data != NULL) {
        truc_wipe(read.data, read.capacity);
    }
    truc_buffer_close(&read);
    return error;
}
