/* The digest of a row. It has to notice what a disk may do to a row, on every row written and on every first read. */
#include "hub/store/row_format.h"

#include <xxhash.h>

/* Where a seal's contents begin within its input's bytes; false: lengths that lead outside. */
static bool contents_at(struct truc_bytes input, size_t *out)
{
    if (input.size < SEAL_HEADER) {
        return false;
    }
    size_t at = SEAL_HEADER + (size_t)row_number_at(input.data + SEAL_AT_ENVELOPE, 2) +
                (size_t)row_number_at(input.data + SEAL_AT_FACTS, 4);
    *out = at;
    return at <= input.size;
}

static void add_seal(struct truc_bytes input, size_t contents)
{
    XXH128_canonical_t sum;
    XXH128_canonicalFromHash(&sum, XXH3_128bits(input.data + contents, input.size - contents));
    truc_sha256_add(truc_bytes(input.data, contents));
    truc_sha256_add(truc_bytes(sum.digest, sizeof sum.digest));
}

truc_error row_digest(struct truc_bytes row, struct truc_hash *out)
{
    size_t at = ROW_HEADER, hashed = ROW_AT_NUMBER;
    if (row_number_at(row.data + ROW_AT_FORMAT, 4) == ROW_FORMAT_WHOLE_DIGEST) {
        truc_sha256(out, truc_bytes(row.data + ROW_AT_NUMBER, row.size - ROW_AT_NUMBER));
        return TRUC_OK;
    }
    truc_sha256_begin();
    while (at < row.size) {
        size_t contents, left = row.size - at;
        size_t size = left < INPUT_HEADER ? SIZE_MAX : (size_t)row_number_at(row.data + at + INPUT_AT_SIZE, 4);
        if (left < INPUT_HEADER || size > left - INPUT_HEADER) {
            return TRUC_E_CORRUPT;
        }
        at += INPUT_HEADER;
        if (row.data[at - INPUT_HEADER + INPUT_AT_KIND] == HUB_INPUT_SEAL) {
            struct truc_bytes input = truc_bytes(row.data + at, size);
            if (!contents_at(input, &contents)) {
                return TRUC_E_CORRUPT;
            }
            truc_sha256_add(truc_bytes(row.data + hashed, at - hashed));
            add_seal(input, contents);
            hashed = at + size;
        }
        at += size;
    }
    truc_sha256_add(truc_bytes(row.data + hashed, at - hashed));
    truc_sha256_end(out);
    return TRUC_OK;
}
