/* The journal's row: the inputs of one group commit, as bytes. hub/STORAGE.md, "Rows", is the specification.
 *
 * A row is one contiguous buffer: header with its own SHA-256 and the row's before, then inputs. Events' contents are
 * encrypted, each under the key of its subject; the facts that decisions depend on are not. Pure but for the cipher. */
#ifndef HUB_STORE_ROW_H
#define HUB_STORE_ROW_H

#include "hub/core/input.h"
#include "hub/store/slots.h"

#define HUB_ROW_FORMAT 2

/* One input on its way to the journal. For seals also where the plain contents are. */
struct hub_row_item {
    struct hub_input input;
    struct truc_bytes body; /* SEAL: events with their length prefixes, as they came; plain */
    const uint64_t *slots;  /* SEAL: key slot of each event */
};

struct hub_row_header {
    uint64_t row;
    int64_t accepted_at_us;
    uint32_t inputs;
    struct truc_hash previous; /* SHA-256 in the header of the row before; zeros for row 0 */
    struct truc_hash digest;   /* over everything behind it in the row's bytes: hub/STORAGE.md */
};

/* Exact size of the row's bytes. Errors: TRUC_E_TOO_LARGE (over 1 GiB), TRUC_E_INVALID (a bug of the caller: body,
 * sizes and facts do not fit together). */
TRUC_MUST_USE truc_error hub_row_size(const struct hub_row_item *items, size_t count, size_t *out);
/* Encodes into `out` (of exactly that size), encrypts, hashes; sets each items[i].input.offset and header->digest.
 * Nonces: 8 random bytes for the row, then the event's number in the row. Errors: TRUC_E_CRYPTO, TRUC_E_NOT_FOUND (a
 * slot is not there or erased). */
TRUC_MUST_USE truc_error hub_row_encode(struct hub_row_header *header, struct hub_row_item *items, size_t count,
                                        struct truc_aead *aead, struct hub_slots *slots, uint8_t *out);

/* Checks format and digest. Errors: TRUC_E_CORRUPT, TRUC_E_UNSUPPORTED. */
TRUC_MUST_USE truc_error hub_row_open(struct truc_bytes row, struct hub_row_header *out);

/* Reads a row's inputs one after the other. Decoded facts and governance live in the reader until the next call. */
struct hub_row_reader;
TRUC_MUST_USE truc_error hub_row_reader_new(struct hub_row_reader **out);
void hub_row_reader_free(struct hub_row_reader **reader);
/* `row` stays borrowed. check_digest false: it was checked before. */
TRUC_MUST_USE truc_error hub_row_reader_start(struct hub_row_reader *reader, struct truc_bytes row, bool check_digest,
                                              struct hub_row_header *out);
/* Errors: TRUC_E_NOT_FOUND at the end, TRUC_E_CORRUPT. */
TRUC_MUST_USE truc_error hub_row_reader_next(struct hub_row_reader *reader, struct hub_input *out);
/* Reads only the input at an offset (as in hub_leaf_place). */
TRUC_MUST_USE truc_error hub_row_reader_at(struct hub_row_reader *reader, struct truc_bytes row, uint32_t offset,
                                           struct hub_input *out);
/* The slot of event `index` of the seal last read, and its content, decrypted and appended to `out`.
 * Errors: TRUC_E_NOT_FOUND (erased), TRUC_E_CORRUPT (does not decrypt, or its hash is not the fact's), TRUC_E_INVALID
 * (no such event, or the last input was no seal). */
TRUC_MUST_USE truc_error hub_row_reader_slot(struct hub_row_reader *reader, uint32_t index, uint64_t *slot);
TRUC_MUST_USE truc_error hub_row_reader_content(struct hub_row_reader *reader, uint32_t index, struct truc_aead *aead,
                                                const struct hub_slots *slots, struct truc_buffer *out);

#endif
