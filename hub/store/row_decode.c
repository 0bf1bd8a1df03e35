/* Rows: reading. A row's digest was checked, or will be; every length is checked all the same, since a bug of another
 * version may have written it. */
#include "hub/store/governance.h"
#include "hub/store/row_format.h"

#include "proto/wire.h"

struct place {
    uint64_t slot;
    size_t at; /* of the event's ciphertext, from the row's beginning */
};

struct hub_row_reader {
    struct truc_bytes row;
    size_t at;                /* of the next input */
    uint32_t left;            /* inputs */
    uint32_t events;          /* of the seal last read; 0: the last input was none */
    uint32_t first;           /* number in the row of its first event */
    struct truc_arena *arena; /* decoded governance */
    struct hub_event_facts facts[TRUC_SEAL_EVENTS_MAX];
    struct place places[TRUC_SEAL_EVENTS_MAX];
    struct hub_range *ranges;
    size_t range_capacity;
};

/* ---- the header -----------------------------------------------------------------------------------------------------
 */

static truc_error read_header(struct truc_bytes row, struct hub_row_header *out)
{
    if (row.size < ROW_HEADER || memcmp(row.data + ROW_AT_MAGIC, ROW_MAGIC, 4) != 0) {
        return TRUC_E_CORRUPT;
    }
    uint64_t format = row_number_at(row.data + ROW_AT_FORMAT, 4);
    if (format != HUB_ROW_FORMAT && format != ROW_FORMAT_WHOLE_DIGEST) {
        return TRUC_E_UNSUPPORTED;
    }
    if (row_number_at(row.data + ROW_AT_SIZE, 4) != row.size) {
        return TRUC_E_CORRUPT;
    }
    out->row = row_number_at(row.data + ROW_AT_NUMBER, 8);
    out->accepted_at_us = (int64_t)row_number_at(row.data + ROW_AT_ACCEPTED, 8);
    out->inputs = (uint32_t)row_number_at(row.data + ROW_AT_INPUTS, 4);
    memcpy(out->previous.bytes, row.data + ROW_AT_PREVIOUS, TRUC_HASH_SIZE);
    memcpy(out->digest.bytes, row.data + ROW_AT_DIGEST, TRUC_HASH_SIZE);
    return TRUC_OK;
}

truc_error hub_row_open(struct truc_bytes row, struct hub_row_header *out)
{
    struct truc_hash digest;
    truc_error error = read_header(row, out);
    if (error != TRUC_OK) {
        return error;
    }
    if ((error = row_digest(row, &digest)) != TRUC_OK) {
        return error;
    }
    return memcmp(digest.bytes, out->digest.bytes, TRUC_HASH_SIZE) == 0 ? TRUC_OK : TRUC_E_CORRUPT;
}

/* ---- small pieces; false: it leads outside
 * ------------------------------------------------------------------------------ */

static bool take(struct truc_wire *in, size_t size, struct truc_bytes *out)
{
    if ((size_t)(in->end - in->at) < size) {
        return false;
    }
    *out = truc_bytes(in->at, size);
    in->at += size;
    return true;
}

static bool take_array(struct truc_wire *in, uint8_t *out, size_t size)
{
    struct truc_bytes bytes;
    if (!take(in, size, &bytes)) {
        return false;
    }
    memcpy(out, bytes.data, size);
    return true;
}

static bool take_number(struct truc_wire *in, unsigned bytes, uint64_t *out)
{
    struct truc_bytes place;
    if (!take(in, bytes, &place)) {
        return false;
    }
    *out = row_number_at(place.data, bytes);
    return true;
}

static bool take_u32(struct truc_wire *in, uint32_t *out)
{
    uint64_t value;
    if (!truc_wire_varint(in, &value) || value > UINT32_MAX) {
        return false;
    }
    *out = (uint32_t)value;
    return true;
}

static bool take_bool(struct truc_wire *in, bool *out)
{
    uint64_t value;
    if (!take_number(in, 1, &value) || value > 1) {
        return false;
    }
    *out = value == 1;
    return true;
}

static bool take_difference(struct truc_wire *in, int64_t *value)
{
    uint64_t coded;
    if (!truc_wire_varint(in, &coded)) {
        return false;
    }
    *value = row_unzigzag(coded, *value);
    return true;
}

/* ---- seals
 * ---------------------------------------------------------------------------------------------------------------- */

static bool take_special(struct truc_wire *in, struct hub_event_facts *out)
{
    if (out->kind == HUB_EVENT_RECALL) {
        return take_array(in, out->recalled, sizeof out->recalled) && truc_wire_bytes(in, &out->in_hand) &&
               (out->in_hand.size == 0 || out->in_hand.data[out->in_hand.size - 1] != 0);
    }
    return out->kind != HUB_EVENT_GOVERNANCE || truc_wire_bytes(in, &out->governance_bytes);
}

static bool take_facts(struct truc_wire *in, struct hub_event_facts *out, uint64_t *slot, struct fact_before *before)
{
    uint64_t first, follows;
    *out = (struct hub_event_facts){.time_us = HUB_TIME_NONE, .expires_us = HUB_TIME_NONE};
    int64_t slot_now = (int64_t)before->slot;
    if (!take_number(in, 1, &first) || !take_number(in, 1, &follows) || (follows & ~(uint64_t)FACT_KNOWN) != 0 ||
        !take_array(in, out->leaf_hash.bytes, TRUC_HASH_SIZE) || !take_array(in, out->key, sizeof out->key) ||
        !take_u32(in, &out->size) || !take_difference(in, &slot_now)) {
        return false;
    }
    *slot = before->slot = (uint64_t)slot_now;
    out->flags = (uint8_t)(first & FACT_FLAGS_MASK);
    out->kind = (uint8_t)(first >> FACT_KIND_SHIFT);
    if (out->kind > HUB_EVENT_RESERVED || ((follows & FACT_HAS_SUBJECT) && !take_number(in, 8, &out->subject))) {
        return false;
    }
    if (follows & FACT_HAS_TIME) {
        if (!take_difference(in, &before->time_us)) {
            return false;
        }
        out->time_us = before->time_us;
    }
    if (follows & FACT_HAS_EXPIRES) {
        if (!take_difference(in, &before->expires_us)) {
            return false;
        }
        out->expires_us = before->expires_us;
    }
    if ((!(follows & FACT_SAME_TYPE) && !truc_wire_bytes(in, &before->type)) ||
        (!(follows & FACT_SAME_RECIPIENTS) && !truc_wire_bytes(in, &before->recipients))) {
        return false;
    }
    out->type = before->type;
    out->recipients = before->recipients;
    return take_special(in, out);
}

static truc_error decode_act(struct hub_row_reader *reader, struct hub_event_facts *facts)
{
    if (facts->kind != HUB_EVENT_GOVERNANCE || (facts->flags & HUB_FACT_INVALID_PAYLOAD)) {
        return TRUC_OK;
    }
    truc_error error = hub_governance_decode(facts->governance_bytes, reader->arena, &facts->governance);
    return error == TRUC_E_MALFORMED ? TRUC_E_CORRUPT : error; /* it was well formed when it was journaled */
}

static truc_error read_facts(struct hub_row_reader *reader, struct truc_wire *in, uint32_t count, int64_t sealed_at_us,
                             size_t contents_at)
{
    struct fact_before before = {.time_us = sealed_at_us, .expires_us = sealed_at_us};
    size_t at = contents_at;
    for (uint32_t i = 0; i < count; i++) {
        if (!take_facts(in, &reader->facts[i], &reader->places[i].slot, &before)) {
            return TRUC_E_CORRUPT;
        }
        truc_error error = decode_act(reader, &reader->facts[i]);
        if (error != TRUC_OK) {
            return error;
        }
        reader->places[i].at = at;
        at += (size_t)reader->facts[i].size + TRUC_AEAD_TAG_SIZE;
    }
    return truc_wire_more(in) ? TRUC_E_CORRUPT : TRUC_OK;
}

/* The signature is not checked again here: the row's digest says that these are the bytes that were checked on
 * admission, and `log verify` checks every signature from the envelopes. */
static truc_error read_seal(struct hub_row_reader *reader, struct truc_bytes body, struct hub_seal_input *out)
{
    struct truc_wire in = truc_wire_of(body), facts_in;
    struct truc_envelope envelope;
    struct truc_bytes facts;
    uint64_t first, count, envelope_size, facts_size;
    if (!take_number(&in, 4, &first) || !take_number(&in, 2, &count) || !take_number(&in, 2, &envelope_size) ||
        !take_number(&in, 4, &facts_size) || !take(&in, (size_t)envelope_size, &out->envelope) ||
        !take(&in, (size_t)facts_size, &facts) || truc_envelope_parse(out->envelope, &envelope) != TRUC_OK ||
        envelope.seal.count != count || count == 0 || count > TRUC_SEAL_EVENTS_MAX) {
        return TRUC_E_CORRUPT;
    }
    size_t contents_at = (size_t)(in.at - reader->row.data);
    truc_arena_reset(reader->arena);
    facts_in = truc_wire_of(facts);
    truc_error error = read_facts(reader, &facts_in, (uint32_t)count, envelope.seal.sealed_at_us, contents_at);
    if (error != TRUC_OK) {
        return error;
    }
    const struct place *last = &reader->places[count - 1];
    if (last->at + reader->facts[count - 1].size + TRUC_AEAD_TAG_SIZE != (size_t)(in.end - reader->row.data)) {
        return TRUC_E_CORRUPT;
    }
    out->seal = envelope.seal;
    out->digest = envelope.digest;
    out->events = reader->facts;
    reader->events = (uint32_t)count;
    reader->first = (uint32_t)first;
    return TRUC_OK;
}

/* ---- the other inputs
 * ------------------------------------------------------------------------------------------------------- */

static truc_error read_ranges(struct hub_row_reader *reader, struct truc_wire *in, struct hub_input *out)
{
    uint64_t count;
    int64_t expected = 0;
    if (!truc_wire_varint(in, &count) || count > (uint64_t)(in->end - in->at) / 2) { /* two bytes each at least */
        return TRUC_E_CORRUPT;
    }
    if (count > reader->range_capacity) {
        struct hub_range *grown = realloc(reader->ranges, (size_t)count * sizeof *grown);
        if (grown == NULL) {
            return TRUC_E_NOMEM;
        }
        reader->ranges = grown;
        reader->range_capacity = (size_t)count;
    }
    for (size_t i = 0; i < count; i++) {
        int64_t first = expected;
        if (!take_difference(in, &first) || !take_u32(in, &reader->ranges[i].count)) {
            return TRUC_E_CORRUPT;
        }
        reader->ranges[i].first = (uint64_t)first;
        expected = (int64_t)((uint64_t)first + reader->ranges[i].count);
    }
    out->u.ranges.ranges = reader->ranges;
    out->u.ranges.count = (size_t)count;
    return TRUC_OK;
}

static bool take_agency(struct truc_wire *in, char out[TRUC_AGENCY_MAX + 1])
{
    struct truc_bytes code;
    if (!truc_wire_bytes(in, &code) || code.size > TRUC_AGENCY_MAX) {
        return false;
    }
    memcpy(out, code.data, code.size);
    out[code.size] = '\0';
    return true;
}

static truc_error fits(bool good)
{
    return good ? TRUC_OK : TRUC_E_CORRUPT;
}

static truc_error read_plain(struct hub_row_reader *reader, struct truc_wire *in, struct hub_input *out)
{
    if (out->kind != HUB_INPUT_BOOT && out->kind != HUB_INPUT_CHECKPOINT && !take_agency(in, out->agency)) {
        return TRUC_E_CORRUPT;
    }
    switch (out->kind) {
    case HUB_INPUT_BOOT:
    case HUB_INPUT_SEAL:
        return TRUC_OK;
    case HUB_INPUT_ACK:
    case HUB_INPUT_RELEASE:
    case HUB_INPUT_EXPIRE:
        return read_ranges(reader, in, out);
    case HUB_INPUT_NACK:
        return fits(truc_wire_varint(in, &out->u.nack.number) && take_u32(in, &out->u.nack.delay_ms) &&
                    take_bool(in, &out->u.nack.reject) && truc_wire_bytes(in, &out->u.nack.note));
    case HUB_INPUT_SUBSCRIBE:
        return fits(truc_wire_bytes(in, &out->u.subscribe.type) &&
                    truc_wire_bytes(in, &out->u.subscribe.source_agency) && take_bool(in, &out->u.subscribe.remove));
    case HUB_INPUT_FORK:
        return fits(take_array(in, out->u.fork.chain, TRUC_CHAIN_SIZE) && truc_wire_varint(in, &out->u.fork.number) &&
                    truc_wire_bytes(in, &out->u.fork.envelope));
    case HUB_INPUT_CHECKPOINT:
        return fits(truc_wire_varint(in, &out->u.checkpoint.tree_size) && truc_wire_bytes(in, &out->u.checkpoint.note));
    }
    return TRUC_E_CORRUPT;
}

/* ---- the reader
 * --------------------------------------------------------------------------------------------------------------- */

truc_error hub_row_reader_new(struct hub_row_reader **out)
{
    struct hub_row_reader *reader = calloc(1, sizeof *reader);
    if (reader == NULL) {
        return TRUC_E_NOMEM;
    }
    truc_error error = truc_arena_new(HUB_GOVERNANCE_ARENA, &reader->arena);
    if (error != TRUC_OK) {
        hub_row_reader_free(&reader);
        return error;
    }
    *out = reader;
    return TRUC_OK;
}

void hub_row_reader_free(struct hub_row_reader **reader)
{
    if (*reader != NULL) {
        truc_arena_free(&(*reader)->arena);
        free((*reader)->ranges);
        free(*reader);
        *reader = NULL;
    }
}

truc_error hub_row_reader_start(struct hub_row_reader *reader, struct truc_bytes row, bool check_digest,
                                struct hub_row_header *out)
{
    reader->row = truc_bytes(NULL, 0);
    reader->left = 0;
    reader->events = 0;
    truc_error error = check_digest ? hub_row_open(row, out) : read_header(row, out);
    if (error != TRUC_OK) {
        return error;
    }
    reader->row = row;
    reader->at = ROW_HEADER;
    reader->left = out->inputs;
    return TRUC_OK;
}

/* Reads the input at reader->at and moves behind it. */
static truc_error read_input(struct hub_row_reader *reader, struct hub_input *out)
{
    struct truc_bytes row = reader->row, body;
    size_t at = reader->at;
    reader->events = 0;
    if (at < ROW_HEADER || at > row.size || row.size - at < INPUT_HEADER) {
        return TRUC_E_CORRUPT;
    }
    unsigned kind = row.data[at + INPUT_AT_KIND];
    body = truc_bytes(row.data + at + INPUT_HEADER, (size_t)row_number_at(row.data + at + INPUT_AT_SIZE, 4));
    if (body.size > row.size - at - INPUT_HEADER || kind < HUB_INPUT_BOOT || kind > HUB_INPUT_CHECKPOINT) {
        return TRUC_E_CORRUPT;
    }
    memset(out, 0, sizeof *out);
    out->kind = (enum hub_input_kind)kind;
    out->offset = (uint32_t)at;
    reader->at = at + INPUT_HEADER + body.size;
    if (out->kind == HUB_INPUT_SEAL) {
        return read_seal(reader, body, &out->u.seal);
    }
    struct truc_wire in = truc_wire_of(body);
    truc_error error = read_plain(reader, &in, out);
    return error == TRUC_OK && truc_wire_more(&in) ? TRUC_E_CORRUPT : error;
}

truc_error hub_row_reader_next(struct hub_row_reader *reader, struct hub_input *out)
{
    if (reader->left == 0) {
        reader->events = 0;
        return reader->at == reader->row.size || reader->row.size == 0 ? TRUC_E_NOT_FOUND : TRUC_E_CORRUPT;
    }
    truc_error error = read_input(reader, out);
    /* After damage there is nothing more to be had: what stands behind cannot be found. */
    reader->left = error == TRUC_OK ? reader->left - 1 : 0;
    return error;
}

truc_error hub_row_reader_at(struct hub_row_reader *reader, struct truc_bytes row, uint32_t offset,
                             struct hub_input *out)
{
    struct hub_row_header header;
    truc_error error = hub_row_reader_start(reader, row, false, &header);
    if (error != TRUC_OK) {
        return error;
    }
    reader->at = offset;
    reader->left = 0;
    error = read_input(reader, out);
    reader->at = row.size;
    return error;
}

truc_error hub_row_reader_slot(struct hub_row_reader *reader, uint32_t index, uint64_t *slot)
{
    if (index >= reader->events) {
        return TRUC_E_INVALID;
    }
    *slot = reader->places[index].slot;
    return TRUC_OK;
}

truc_error hub_row_reader_content(struct hub_row_reader *reader, uint32_t index, struct truc_aead *aead,
                                  const struct hub_slots *slots, struct truc_buffer *out)
{
    uint8_t key[TRUC_AEAD_KEY_SIZE], nonce[TRUC_AEAD_NONCE_SIZE];
    struct truc_hash hash;
    if (index >= reader->events) {
        return TRUC_E_INVALID;
    }
    const struct hub_event_facts *facts = &reader->facts[index];
    truc_error error = hub_slots_get(slots, reader->places[index].slot, key);
    if (error != TRUC_OK) {
        return error;
    }
    error = truc_buffer_reserve(out, (size_t)facts->size + 1); /* so that even an empty event has a place */
    if (error == TRUC_OK) {
        row_nonce(reader->row.data + ROW_AT_NONCE, reader->first + index, nonce);
        error = truc_aead_decrypt(
            aead, key, nonce, truc_bytes(facts->leaf_hash.bytes, TRUC_HASH_SIZE),
            truc_bytes(reader->row.data + reader->places[index].at, (size_t)facts->size + TRUC_AEAD_TAG_SIZE),
            out->data + out->size);
    }
    truc_wipe(key, sizeof key);
    if (error == TRUC_E_BAD_SIGNATURE) {
        return TRUC_E_CORRUPT;
    }
    if (error != TRUC_OK) {
        return error;
    }
    truc_leaf_hash(&hash, truc_bytes(out->data + out->size, facts->size));
    if (memcmp(hash.bytes, facts->leaf_hash.bytes, TRUC_HASH_SIZE) != 0) {
        return TRUC_E_CORRUPT;
    }
    out->size += facts->size;
    return TRUC_OK;
}
