/* Rows: writing. One pass counts, one writes; both run the same code. */
#include "hub/store/row_format.h"

#include "proto/wire.h"

/* at == NULL: only counts. */
struct out {
    uint8_t *at;
    size_t size;
};

static void put(struct out *out, const void *data, size_t size)
{
    if (out->at != NULL && size > 0) {
        memcpy(out->at + out->size, data, size);
    }
    out->size += size;
}

static void put_byte(struct out *out, unsigned value)
{
    uint8_t byte = (uint8_t)value;
    put(out, &byte, 1);
}

static void put_number(struct out *out, uint64_t value, unsigned bytes)
{
    if (out->at != NULL) {
        row_put_number(out->at + out->size, value, bytes);
    }
    out->size += bytes;
}

static void put_varint(struct out *out, uint64_t value)
{
    if (out->at != NULL) {
        (void)truc_wire_put_varint(out->at + out->size, value);
    }
    out->size += truc_wire_varint_size(value);
}

static void put_bytes(struct out *out, struct truc_bytes bytes)
{
    put_varint(out, bytes.size);
    put(out, bytes.data, bytes.size);
}

/* ---- seals --------------------------------------------------------------------------------------------------------
 */

static void put_facts(struct out *out, const struct hub_event_facts *event, uint64_t slot, struct fact_before *before)
{
    unsigned follows = 0;
    follows |= truc_bytes_equal(event->type, before->type) ? FACT_SAME_TYPE : 0u;
    follows |= truc_bytes_equal(event->recipients, before->recipients) ? FACT_SAME_RECIPIENTS : 0u;
    follows |= event->time_us != HUB_TIME_NONE ? FACT_HAS_TIME : 0u;
    follows |= event->expires_us != HUB_TIME_NONE ? FACT_HAS_EXPIRES : 0u;
    follows |= event->subject != 0 ? FACT_HAS_SUBJECT : 0u;

    put_byte(out, event->flags | (unsigned)event->kind << FACT_KIND_SHIFT);
    put_byte(out, follows);
    put(out, event->leaf_hash.bytes, TRUC_HASH_SIZE);
    put(out, event->key, sizeof event->key);
    put_varint(out, event->size);
    put_varint(out, row_zigzag((int64_t)slot, (int64_t)before->slot));
    if (follows & FACT_HAS_SUBJECT) {
        put_number(out, event->subject, 8);
    }
    if (follows & FACT_HAS_TIME) {
        put_varint(out, row_zigzag(event->time_us, before->time_us));
        before->time_us = event->time_us;
    }
    if (follows & FACT_HAS_EXPIRES) {
        put_varint(out, row_zigzag(event->expires_us, before->expires_us));
        before->expires_us = event->expires_us;
    }
    if (!(follows & FACT_SAME_TYPE)) {
        put_bytes(out, event->type);
    }
    if (!(follows & FACT_SAME_RECIPIENTS)) {
        put_bytes(out, event->recipients);
    }
    if (event->kind == HUB_EVENT_RECALL) {
        put(out, event->recalled, sizeof event->recalled);
        put_bytes(out, event->in_hand);
    }
    if (event->kind == HUB_EVENT_GOVERNANCE) {
        put_bytes(out, event->governance_bytes);
    }
    before->type = event->type;
    before->recipients = event->recipients;
    before->slot = slot;
}

static void put_all_facts(struct out *out, const struct hub_row_item *item)
{
    const struct hub_seal_input *seal = &item->input.u.seal;
    struct fact_before before = {.time_us = seal->seal.sealed_at_us, .expires_us = seal->seal.sealed_at_us};
    for (uint32_t i = 0; i < seal->seal.count; i++) {
        put_facts(out, &seal->events[i], item->slots[i], &before);
    }
}

/* What the reader would refuse must not be written: it would be a journal that nobody can replay. */
static bool facts_are_writable(const struct hub_event_facts *event)
{
    if ((event->flags & ~FACT_FLAGS_MASK) != 0 || event->kind > HUB_EVENT_RESERVED) {
        return false;
    }
    if (event->kind == HUB_EVENT_RECALL && event->in_hand.size > 0 &&
        event->in_hand.data[event->in_hand.size - 1] == 0) {
        return false;
    }
    bool acts = event->kind == HUB_EVENT_GOVERNANCE && !(event->flags & HUB_FACT_INVALID_PAYLOAD);
    return acts == (event->governance != NULL);
}

static truc_error check_seal(const struct hub_row_item *item, size_t *contents)
{
    const struct hub_seal_input *seal = &item->input.u.seal;
    size_t at = 0;
    struct truc_bytes event;
    if (seal->envelope.size == 0 || seal->envelope.size > TRUC_ENVELOPE_MAX || seal->seal.count == 0 ||
        seal->seal.count > TRUC_SEAL_EVENTS_MAX) {
        return TRUC_E_INVALID;
    }
    *contents = 0;
    for (uint32_t i = 0; i < seal->seal.count; i++) {
        if (truc_body_next(item->body, &at, &event) != TRUC_OK || event.size != seal->events[i].size ||
            !facts_are_writable(&seal->events[i])) {
            return TRUC_E_INVALID;
        }
        *contents += event.size + TRUC_AEAD_TAG_SIZE;
    }
    return at == item->body.size ? TRUC_OK : TRUC_E_INVALID;
}

/* Encrypts straight out of the frame's bytes into the row: the payload's only copy on its way to the disk. */
static truc_error put_contents(struct out *out, const struct hub_row_item *item, const uint8_t nonce_of_row[8],
                               uint32_t first, struct truc_aead *aead, struct hub_slots *slots)
{
    const struct hub_seal_input *seal = &item->input.u.seal;
    uint8_t key[TRUC_AEAD_KEY_SIZE], nonce[TRUC_AEAD_NONCE_SIZE];
    truc_error error = TRUC_OK;
    size_t at = 0;
    for (uint32_t i = 0; i < seal->seal.count && error == TRUC_OK; i++) {
        struct truc_bytes event, hash = truc_bytes(seal->events[i].leaf_hash.bytes, TRUC_HASH_SIZE);
        error = truc_body_next(item->body, &at, &event);
        if (error == TRUC_OK) {
            error = hub_slots_get(slots, item->slots[i], key);
        }
        if (error == TRUC_OK) {
            row_nonce(nonce_of_row, first + i, nonce);
            error = truc_aead_encrypt(aead, key, nonce, hash, event, out->at + out->size);
            out->size += event.size + TRUC_AEAD_TAG_SIZE;
        }
    }
    truc_wipe(key, sizeof key);
    return error;
}

/* ---- the other inputs -----------------------------------------------------------------------------------------------
 */

static void put_ranges(struct out *out, const struct hub_input *input)
{
    uint64_t expected = 0; /* ranges are sorted: the next one begins near the end of the last */
    put_varint(out, input->u.ranges.count);
    for (size_t i = 0; i < input->u.ranges.count; i++) {
        const struct hub_range *range = &input->u.ranges.ranges[i];
        put_varint(out, row_zigzag((int64_t)range->first, (int64_t)expected));
        put_varint(out, range->count);
        expected = range->first + range->count;
    }
}

/* Everything but seals. */
static void put_plain(struct out *out, const struct hub_input *input)
{
    if (input->kind != HUB_INPUT_BOOT && input->kind != HUB_INPUT_CHECKPOINT) {
        put_bytes(out, truc_bytes_of(input->agency));
    }
    switch (input->kind) {
    case HUB_INPUT_BOOT:
    case HUB_INPUT_SEAL:
        break;
    case HUB_INPUT_ACK:
    case HUB_INPUT_RELEASE:
    case HUB_INPUT_EXPIRE:
        put_ranges(out, input);
        break;
    case HUB_INPUT_NACK:
        put_varint(out, input->u.nack.number);
        put_varint(out, input->u.nack.delay_ms);
        put_byte(out, input->u.nack.reject);
        put_bytes(out, input->u.nack.note);
        break;
    case HUB_INPUT_SUBSCRIBE:
        put_bytes(out, input->u.subscribe.type);
        put_bytes(out, input->u.subscribe.source_agency);
        put_byte(out, input->u.subscribe.remove);
        break;
    case HUB_INPUT_FORK:
        put(out, input->u.fork.chain, TRUC_CHAIN_SIZE);
        put_varint(out, input->u.fork.number);
        put_bytes(out, input->u.fork.envelope);
        break;
    case HUB_INPUT_CHECKPOINT:
        put_varint(out, input->u.checkpoint.tree_size);
        put_bytes(out, input->u.checkpoint.note);
        break;
    }
}

/* ---- rows -----------------------------------------------------------------------------------------------------------
 */

static truc_error measure(const struct hub_row_item *item, size_t *out)
{
    struct out counter = {NULL, INPUT_HEADER};
    if (item->input.kind != HUB_INPUT_SEAL) {
        put_plain(&counter, &item->input);
        *out = counter.size;
        return TRUC_OK;
    }
    size_t contents;
    truc_error error = check_seal(item, &contents);
    if (error != TRUC_OK) {
        return error;
    }
    put_all_facts(&counter, item);
    *out = counter.size + SEAL_HEADER + item->input.u.seal.envelope.size + contents;
    return TRUC_OK;
}

truc_error hub_row_size(const struct hub_row_item *items, size_t count, size_t *out)
{
    size_t total = ROW_HEADER;
    for (size_t i = 0; i < count; i++) {
        size_t size;
        truc_error error = measure(&items[i], &size);
        if (error != TRUC_OK) {
            return error;
        }
        if (size > ROW_MAX - total) {
            return TRUC_E_TOO_LARGE;
        }
        total += size;
    }
    *out = total;
    return TRUC_OK;
}

static truc_error put_seal(struct out *out, const struct hub_row_item *item, uint32_t first, const uint8_t nonce[8],
                           struct truc_aead *aead, struct hub_slots *slots)
{
    const struct hub_seal_input *seal = &item->input.u.seal;
    uint8_t *header = out->at + out->size;
    row_put_number(header + SEAL_AT_FIRST, first, 4);
    row_put_number(header + SEAL_AT_COUNT, seal->seal.count, 2);
    row_put_number(header + SEAL_AT_ENVELOPE, seal->envelope.size, 2);
    out->size += SEAL_HEADER;
    put(out, seal->envelope.data, seal->envelope.size);
    size_t facts = out->size;
    put_all_facts(out, item);
    row_put_number(header + SEAL_AT_FACTS, out->size - facts, 4);
    return put_contents(out, item, nonce, first, aead, slots);
}

truc_error hub_row_encode(struct hub_row_header *header, struct hub_row_item *items, size_t count,
                          struct truc_aead *aead, struct hub_slots *slots, uint8_t *out)
{
    struct out row = {out, ROW_HEADER};
    uint32_t events = 0;
    truc_error error = truc_random(out + ROW_AT_NONCE, 8);
    for (size_t i = 0; i < count && error == TRUC_OK; i++) {
        struct hub_input *input = &items[i].input;
        uint8_t *start = out + row.size;
        input->offset = (uint32_t)row.size;
        row.size += INPUT_HEADER;
        if (input->kind == HUB_INPUT_SEAL) {
            error = put_seal(&row, &items[i], events, out + ROW_AT_NONCE, aead, slots);
            events += input->u.seal.seal.count;
        } else {
            put_plain(&row, input);
        }
        start[INPUT_AT_KIND] = (uint8_t)input->kind;
        row_put_number(start + INPUT_AT_SIZE, (size_t)(out + row.size - start) - INPUT_HEADER, 4);
    }
    if (error != TRUC_OK) {
        return error;
    }
    header->inputs = (uint32_t)count;
    memcpy(out + ROW_AT_MAGIC, ROW_MAGIC, 4);
    row_put_number(out + ROW_AT_FORMAT, HUB_ROW_FORMAT, 4);
    row_put_number(out + ROW_AT_NUMBER, header->row, 8);
    row_put_number(out + ROW_AT_ACCEPTED, (uint64_t)header->accepted_at_us, 8);
    memcpy(out + ROW_AT_PREVIOUS, header->previous.bytes, TRUC_HASH_SIZE);
    row_put_number(out + ROW_AT_INPUTS, count, 4);
    row_put_number(out + ROW_AT_SIZE, row.size, 4);
    error = row_digest(truc_bytes(out, row.size), &header->digest);
    memcpy(out + ROW_AT_DIGEST, header->digest.bytes, TRUC_HASH_SIZE);
    return error;
}
