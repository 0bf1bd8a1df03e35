/* What a journal holds, for comparison with what it held at another time: one line a row, its number, its digest, and
 * how many events the log has with it.
 *
 *   rows DATA        the folder of journal.mdb
 *
 * A row's digest covers the digest of the row before: journals that agree in a row agree in all rows before it. */
#include "hub/store/journal.h"
#include "hub/store/row.h"

#include <inttypes.h>

#define MAP_BYTES (UINT64_C(16) << 30)

static truc_error print_row(struct hub_row_reader *rows, struct truc_bytes bytes, uint64_t number, uint64_t *events)
{
    struct hub_row_header header;
    struct hub_input input;
    char digest[2 * TRUC_HASH_SIZE + 1];
    truc_error error = hub_row_reader_start(rows, bytes, true, &header);
    if (error == TRUC_OK && header.row != number) {
        error = TRUC_E_CORRUPT;
    }
    while (error == TRUC_OK && (error = hub_row_reader_next(rows, &input)) == TRUC_OK) {
        *events += input.kind == HUB_INPUT_SEAL ? input.u.seal.seal.count : 0;
    }
    if (error != TRUC_E_NOT_FOUND) {
        return error;
    }
    truc_hex(truc_bytes(header.digest.bytes, sizeof header.digest.bytes), digest);
    printf("%" PRIu64 " %s %" PRIu64 "\n", number, digest, *events);
    return TRUC_OK;
}

int main(int argc, char **argv)
{
    struct hub_journal *journal = NULL;
    struct hub_journal_reader *reader = NULL;
    struct hub_row_reader *rows = NULL;
    struct truc_bytes bytes;
    char why[256] = "";
    uint64_t events = 0;
    if (argc != 2) {
        fprintf(stderr, "usage: rows DATA\n");
        return 2;
    }
    truc_error error = hub_journal_open(argv[1], MAP_BYTES, false, true, &journal, why);
    if (error == TRUC_OK) {
        error = hub_journal_reader_new(journal, &reader);
    }
    if (error == TRUC_OK) {
        error = hub_row_reader_new(&rows);
    }
    uint64_t count = error == TRUC_OK ? hub_journal_rows(journal) : 0;
    for (uint64_t row = 0; error == TRUC_OK && row < count; row++) {
        error = hub_journal_get(reader, row, &bytes);
        if (error == TRUC_OK) {
            error = print_row(rows, bytes, row, &events);
        }
    }
    if (error != TRUC_OK) {
        fprintf(stderr, "rows: %s %s\n", truc_error_string(error), why);
    }
    hub_row_reader_free(&rows);
    hub_journal_reader_free(&reader);
    hub_journal_close(&journal);
    return error == TRUC_OK && fflush(stdout) == 0 ? 0 : 1;
}
