/* The log's leaf. Its encoding is unique, so that the same decisions give the same tree on every machine. */
#include "truc/leaf.h"
#include "proto/wire.h"

#define HEAD_SIZE (1 + 8 + 8 + TRUC_HASH_SIZE + 2)
#define RUN_MAX (TRUC_WIRE_VARINT_MAX + 1 + TRUC_WIRE_VARINT_MAX)

static void put_number(uint8_t *at, uint64_t value, size_t size)
{
    for (size_t i = 0; i < size; i++) {
        at[i] = (uint8_t)(value >> (8 * (size - 1 - i)));
    }
}

static uint64_t get_number(const uint8_t *at, size_t size)
{
    uint64_t value = 0;
    for (size_t i = 0; i < size; i++) {
        value = value << 8 | at[i];
    }
    return value;
}

static bool head_is_valid(const struct truc_leaf *leaf)
{
    return leaf->accepted_at_us >= 0 && leaf->accepted_at_us <= TRUC_TIME_MAX_US && leaf->count >= 1 &&
           leaf->count <= TRUC_SEAL_EVENTS_MAX && leaf->first_sequence >= 1 &&
           leaf->first_sequence <= UINT64_MAX - TRUC_SEAL_EVENTS_MAX;
}

/* A duplicate repeats an event before itself, perhaps of the same seal. */
static bool outcome_is_valid(const struct truc_leaf *leaf, uint32_t index, const struct truc_outcome *outcome)
{
    if (outcome->code == TRUC_OUTCOME_DUPLICATE) {
        return outcome->duplicate_of >= 1 && outcome->duplicate_of < leaf->first_sequence + index;
    }
    return outcome->code < TRUC_OUTCOME_DUPLICATE;
}

/* Whether `next` goes on the run that `last` belongs to. */
static bool continues_run(const struct truc_outcome *last, const struct truc_outcome *next)
{
    return last->code == next->code &&
           (last->code != TRUC_OUTCOME_DUPLICATE || next->duplicate_of == last->duplicate_of + 1);
}

truc_error truc_leaf_encode(const struct truc_leaf *leaf, struct truc_buffer *out)
{
    const size_t before = out->size;
    truc_error error;
    uint8_t *at;
    if (!head_is_valid(leaf)) {
        return TRUC_E_INVALID;
    }
    error = truc_buffer_reserve(out, HEAD_SIZE + (size_t)leaf->count * RUN_MAX);
    if (error != TRUC_OK) {
        return error;
    }
    at = out->data + before;
    at[0] = TRUC_LEAF_VERSION;
    put_number(at + 1, (uint64_t)leaf->accepted_at_us, 8);
    put_number(at + 9, leaf->first_sequence, 8);
    memcpy(at + 17, leaf->seal_digest.bytes, TRUC_HASH_SIZE);
    put_number(at + 49, leaf->count, 2);
    at += HEAD_SIZE;
    for (uint32_t i = 0, end; i < leaf->count; i = end) {
        const struct truc_outcome *first = &leaf->outcomes[i];
        end = i;
        do {
            if (!outcome_is_valid(leaf, end, &leaf->outcomes[end])) {
                return TRUC_E_INVALID;
            }
            end++;
        } while (end < leaf->count && continues_run(&leaf->outcomes[end - 1], &leaf->outcomes[end]));
        at = truc_wire_put_varint(at, end - i);
        *at++ = first->code;
        if (first->code == TRUC_OUTCOME_DUPLICATE) {
            at = truc_wire_put_varint(at, first->duplicate_of);
        }
    }
    out->size = (size_t)(at - out->data);
    return TRUC_OK;
}

/* Reads one run to outcomes[*filled ...]. */
static bool parse_run(struct truc_wire *wire, struct truc_leaf *out, uint32_t *filled)
{
    uint64_t length;
    struct truc_outcome first = {0, 0};
    if (!truc_wire_varint(wire, &length) || length == 0 || length > out->count - *filled || !truc_wire_more(wire)) {
        return false;
    }
    first.code = *wire->at++;
    if (first.code == TRUC_OUTCOME_DUPLICATE && !truc_wire_varint(wire, &first.duplicate_of)) {
        return false;
    }
    if (!outcome_is_valid(out, *filled, &first)) {
        return false;
    }
    if (*filled > 0 && continues_run(&out->outcomes[*filled - 1], &first)) {
        return false; /* the run before it could have been longer: another spelling of the same */
    }
    for (uint32_t i = 0; i < length; i++) {
        out->outcomes[*filled] = first;
        *filled += 1;
        first.duplicate_of += first.code == TRUC_OUTCOME_DUPLICATE;
    }
    return true;
}

truc_error truc_leaf_parse(struct truc_bytes bytes, struct truc_leaf *out)
{
    struct truc_wire wire;
    uint64_t accepted_at;
    uint32_t filled = 0;
    if (bytes.size == 0 || bytes.size > TRUC_LEAF_MAX) {
        return TRUC_E_MALFORMED;
    }
    if (bytes.data[0] != TRUC_LEAF_VERSION) {
        return TRUC_E_UNSUPPORTED;
    }
    if (bytes.size < HEAD_SIZE) {
        return TRUC_E_MALFORMED;
    }
    accepted_at = get_number(bytes.data + 1, 8);
    if (accepted_at > (uint64_t)TRUC_TIME_MAX_US) {
        return TRUC_E_MALFORMED;
    }
    out->accepted_at_us = (int64_t)accepted_at;
    out->first_sequence = get_number(bytes.data + 9, 8);
    memcpy(out->seal_digest.bytes, bytes.data + 17, TRUC_HASH_SIZE);
    out->count = (uint32_t)get_number(bytes.data + 49, 2);
    if (!head_is_valid(out)) {
        return TRUC_E_MALFORMED;
    }
    wire = truc_wire_of(truc_bytes(bytes.data + HEAD_SIZE, bytes.size - HEAD_SIZE));
    while (filled < out->count) {
        if (!parse_run(&wire, out, &filled)) {
            return TRUC_E_MALFORMED;
        }
    }
    return truc_wire_more(&wire) ? TRUC_E_MALFORMED : TRUC_OK;
}
