/* Seals: DSSE envelopes around one protobuf message, read and written by hand so that nothing is allocated. */
#include "truc/seal.h"
#include "proto/wire.h"

#include <assert.h>

/* Field numbers of truc.v1.Seal, io.intoto.Envelope and io.intoto.Signature. */
enum {
    SEAL_ORIGIN = 1,
    SEAL_SENDER = 2,
    SEAL_KEYID = 3,
    SEAL_CHAIN = 4,
    SEAL_NUMBER = 5,
    SEAL_PREVIOUS = 6,
    SEAL_COUNT = 7,
    SEAL_ROOT = 8,
    SEAL_SEALED_AT = 9,
};
enum { ENVELOPE_PAYLOAD = 1, ENVELOPE_TYPE = 2, ENVELOPE_SIGNATURE = 3 };
enum { SIGNATURE_SIG = 1, SIGNATURE_KEYID = 2 };

#define SEAL_FIELDS_ALL 0x3feu /* bits 1 to 9 */
#define ENVELOPE_FIELDS_ALL 0xeu
#define PAE_HEAD_MAX 96
#define LENGTH_PREFIX 4

/* The log's name is also a note key's name: no spaces, no '+', nothing that a terminal would act on. */
static bool origin_is_valid(struct truc_bytes origin)
{
    if (origin.size == 0 || origin.size > TRUC_ORIGIN_MAX) {
        return false;
    }
    for (size_t i = 0; i < origin.size; i++) {
        if (origin.data[i] <= ' ' || origin.data[i] > '~' || origin.data[i] == '+') {
            return false;
        }
    }
    return true;
}

static bool keyid_is_valid(struct truc_bytes keyid)
{
    if (keyid.size != TRUC_KEYID_HEX) {
        return false;
    }
    for (size_t i = 0; i < keyid.size; i++) {
        uint8_t c = keyid.data[i];
        if (!((c >= '0' && c <= '9') || (c >= 'a' && c <= 'f'))) {
            return false;
        }
    }
    return true;
}

static bool numbers_are_valid(const struct truc_seal *seal)
{
    /* A `previous` that is missing behind number 1 is for the chain's check: SEAL_GAP, not MALFORMED. */
    return seal->number >= 1 && seal->count >= 1 && seal->sealed_at_us >= 1 && seal->sealed_at_us <= TRUC_TIME_MAX_US;
}

static void put_text(char *out, struct truc_bytes text)
{
    memcpy(out, text.data, text.size);
    out[text.size] = '\0';
}

static bool parse_seal_number(uint32_t field, uint64_t value, struct truc_seal *out)
{
    switch (field) {
    case SEAL_NUMBER:
        out->number = value;
        return true;
    case SEAL_COUNT:
        out->count = (uint32_t)value;
        return value <= UINT32_MAX;
    case SEAL_SEALED_AT:
        out->sealed_at_us = (int64_t)value;
        return true;
    default:
        return false;
    }
}

static bool parse_seal_bytes(uint32_t field, struct truc_bytes value, struct truc_seal *out)
{
    switch (field) {
    case SEAL_ORIGIN:
        if (!origin_is_valid(value)) {
            return false;
        }
        put_text(out->origin, value);
        return true;
    case SEAL_SENDER:
        if (!truc_agency_is_valid(value)) {
            return false;
        }
        put_text(out->sender, value);
        return true;
    case SEAL_KEYID:
        if (!keyid_is_valid(value)) {
            return false;
        }
        put_text(out->keyid, value);
        return true;
    case SEAL_CHAIN:
        if (value.size != TRUC_CHAIN_SIZE) {
            return false;
        }
        memcpy(out->chain, value.data, TRUC_CHAIN_SIZE);
        return true;
    case SEAL_PREVIOUS:
        if (value.size != 0 && value.size != TRUC_HASH_SIZE) {
            return false;
        }
        out->has_previous = value.size != 0;
        memcpy(out->previous.bytes, value.size == 0 ? out->previous.bytes : value.data, value.size);
        return true;
    case SEAL_ROOT:
        if (value.size != TRUC_HASH_SIZE) {
            return false;
        }
        memcpy(out->root.bytes, value.data, TRUC_HASH_SIZE);
        return true;
    default:
        return false;
    }
}

static bool parse_seal(struct truc_bytes payload, struct truc_seal *out)
{
    struct truc_wire wire = truc_wire_of(payload);
    struct truc_bytes bytes;
    uint64_t number;
    unsigned seen = 0, type;
    uint32_t field;
    memset(out, 0, sizeof *out);
    while (truc_wire_more(&wire)) {
        if (!truc_wire_tag(&wire, &field, &type) || field > SEAL_SEALED_AT || (seen & 1u << field)) {
            return false;
        }
        seen |= 1u << field;
        if (type == TRUC_WIRE_VARINT) {
            if (!truc_wire_varint(&wire, &number) || !parse_seal_number(field, number, out)) {
                return false;
            }
        } else if (type != TRUC_WIRE_BYTES || !truc_wire_bytes(&wire, &bytes) || !parse_seal_bytes(field, bytes, out)) {
            return false;
        }
    }
    return (seen | 1u << SEAL_PREVIOUS) == SEAL_FIELDS_ALL && numbers_are_valid(out);
}

static bool parse_signature(struct truc_bytes bytes, struct truc_bytes parts[3])
{
    struct truc_wire wire = truc_wire_of(bytes);
    unsigned seen = 0, type;
    uint32_t field;
    while (truc_wire_more(&wire)) {
        if (!truc_wire_tag(&wire, &field, &type) || type != TRUC_WIRE_BYTES || field > SIGNATURE_KEYID ||
            (seen & 1u << field) || !truc_wire_bytes(&wire, &parts[field])) {
            return false;
        }
        seen |= 1u << field;
    }
    return parts[SIGNATURE_SIG].size > 0 && parts[SIGNATURE_SIG].size <= TRUC_SIGNATURE_MAX;
}

/* "DSSEv1 37 application/... 190 " into `out`; the body follows it. Returns its size. */
static size_t pae_head(struct truc_bytes type, size_t body_size, char *out, size_t capacity)
{
    int size =
        snprintf(out, capacity, "DSSEv1 %zu %.*s %zu ", type.size, (int)type.size, (const char *)type.data, body_size);
    return size < 0 ? 0 : (size_t)size;
}

static void seal_digest(struct truc_bytes payload, struct truc_hash *out)
{
    char head[PAE_HEAD_MAX];
    struct truc_bytes parts[2] = {{NULL, 0}, payload};
    parts[0] = truc_bytes(head, pae_head(truc_bytes_of(TRUC_SEAL_TYPE), payload.size, head, sizeof head));
    assert(parts[0].size > 0 && parts[0].size < sizeof head);
    truc_sha256_parts(out, parts, 2);
}

truc_error truc_envelope_parse(struct truc_bytes envelope, struct truc_envelope *out)
{
    struct truc_wire wire = truc_wire_of(envelope);
    struct truc_bytes parts[4] = {{NULL, 0}}, signature[3] = {{NULL, 0}}, keyid;
    unsigned seen = 0, type;
    uint32_t field;
    if (envelope.size > TRUC_ENVELOPE_MAX) {
        return TRUC_E_TOO_LARGE;
    }
    while (truc_wire_more(&wire)) {
        if (!truc_wire_tag(&wire, &field, &type) || type != TRUC_WIRE_BYTES || field > ENVELOPE_SIGNATURE ||
            (seen & 1u << field) || !truc_wire_bytes(&wire, &parts[field])) {
            return TRUC_E_MALFORMED;
        }
        seen |= 1u << field;
    }
    if (seen != ENVELOPE_FIELDS_ALL || !truc_bytes_equal(parts[ENVELOPE_TYPE], truc_bytes_of(TRUC_SEAL_TYPE)) ||
        !parse_signature(parts[ENVELOPE_SIGNATURE], signature) || !parse_seal(parts[ENVELOPE_PAYLOAD], &out->seal)) {
        return TRUC_E_MALFORMED;
    }
    keyid = signature[SIGNATURE_KEYID];
    if (keyid.size != 0 && !truc_bytes_equal(keyid, truc_bytes_of(out->seal.keyid))) {
        return TRUC_E_MALFORMED;
    }
    out->payload = parts[ENVELOPE_PAYLOAD];
    out->signature = signature[SIGNATURE_SIG];
    seal_digest(out->payload, &out->digest);
    return out->seal.count > TRUC_SEAL_EVENTS_MAX ? TRUC_E_TOO_LARGE : TRUC_OK;
}

truc_error truc_envelope_verify(const struct truc_envelope *envelope, const struct truc_key *key)
{
    uint8_t signed_bytes[PAE_HEAD_MAX + TRUC_ENVELOPE_MAX];
    size_t head;
    if (strcmp(truc_key_id(key), envelope->seal.keyid) != 0) {
        return TRUC_E_UNKNOWN_KEY;
    }
    if (envelope->payload.size == 0 || envelope->payload.size > TRUC_ENVELOPE_MAX) {
        return TRUC_E_BAD_SIGNATURE; /* not from truc_envelope_parse */
    }
    head = pae_head(truc_bytes_of(TRUC_SEAL_TYPE), envelope->payload.size, (char *)signed_bytes, PAE_HEAD_MAX);
    assert(head > 0 && head < PAE_HEAD_MAX);
    memcpy(signed_bytes + head, envelope->payload.data, envelope->payload.size);
    return truc_key_verify(key, truc_bytes(signed_bytes, head + envelope->payload.size), envelope->signature);
}

truc_error truc_dsse_pae(struct truc_bytes type, struct truc_bytes body, struct truc_buffer *out)
{
    const size_t before = out->size;
    truc_error error = truc_buffer_printf(out, "DSSEv1 %zu ", type.size);
    if (error == TRUC_OK) {
        error = truc_buffer_append(out, type.data, type.size);
    }
    if (error == TRUC_OK) {
        error = truc_buffer_printf(out, " %zu ", body.size);
    }
    if (error == TRUC_OK) {
        error = truc_buffer_append(out, body.data, body.size);
    }
    if (error != TRUC_OK) {
        out->size = before;
    }
    return error;
}

/* ---- writing ---------------------------------------------------------------------------------------------------- */

static bool seal_is_valid(const struct truc_seal *seal, const struct truc_key *key)
{
    if (memchr(seal->origin, 0, sizeof seal->origin) == NULL || memchr(seal->sender, 0, sizeof seal->sender) == NULL ||
        memchr(seal->keyid, 0, sizeof seal->keyid) == NULL) {
        return false;
    }
    return origin_is_valid(truc_bytes_of(seal->origin)) && truc_agency_is_valid(truc_bytes_of(seal->sender)) &&
           strcmp(seal->keyid, truc_key_id(key)) == 0 && numbers_are_valid(seal) &&
           seal->count <= TRUC_SEAL_EVENTS_MAX && (seal->number == 1 || seal->has_previous);
}

/* `out` has TRUC_ENVELOPE_MAX bytes; the longest seal takes some 600. Returns the size. */
static size_t encode_seal(const struct truc_seal *seal, uint8_t *out)
{
    uint8_t *at = out;
    at = truc_wire_put_bytes(at, SEAL_ORIGIN, truc_bytes_of(seal->origin));
    at = truc_wire_put_bytes(at, SEAL_SENDER, truc_bytes_of(seal->sender));
    at = truc_wire_put_bytes(at, SEAL_KEYID, truc_bytes_of(seal->keyid));
    at = truc_wire_put_bytes(at, SEAL_CHAIN, truc_bytes(seal->chain, TRUC_CHAIN_SIZE));
    at = truc_wire_put_uint(at, SEAL_NUMBER, seal->number);
    if (seal->has_previous) {
        at = truc_wire_put_bytes(at, SEAL_PREVIOUS, truc_bytes(seal->previous.bytes, TRUC_HASH_SIZE));
    }
    at = truc_wire_put_uint(at, SEAL_COUNT, seal->count);
    at = truc_wire_put_bytes(at, SEAL_ROOT, truc_bytes(seal->root.bytes, TRUC_HASH_SIZE));
    at = truc_wire_put_uint(at, SEAL_SEALED_AT, (uint64_t)seal->sealed_at_us);
    return (size_t)(at - out);
}

truc_error truc_seal_sign(const struct truc_seal *seal, const struct truc_key *key, struct truc_buffer *out,
                          struct truc_hash *digest)
{
    struct truc_buffer signed_bytes = {0}, signature = {0};
    const struct truc_bytes type = truc_bytes_of(TRUC_SEAL_TYPE);
    uint8_t encoded[TRUC_ENVELOPE_MAX];
    struct truc_bytes payload, keyid;
    size_t signature_size;
    truc_error error;
    uint8_t *at;
    if (!seal_is_valid(seal, key)) {
        return TRUC_E_INVALID;
    }
    payload = truc_bytes(encoded, encode_seal(seal, encoded));
    keyid = truc_bytes_of(seal->keyid);
    error = truc_dsse_pae(type, payload, &signed_bytes);
    if (error != TRUC_OK) {
        goto out;
    }
    error = truc_key_sign(key, truc_buffer_view(&signed_bytes), &signature);
    if (error != TRUC_OK) {
        goto out;
    }
    signature_size =
        truc_wire_bytes_size(SIGNATURE_SIG, signature.size) + truc_wire_bytes_size(SIGNATURE_KEYID, keyid.size);
    error = truc_buffer_reserve(out, truc_wire_bytes_size(ENVELOPE_PAYLOAD, payload.size) +
                                         truc_wire_bytes_size(ENVELOPE_TYPE, type.size) +
                                         truc_wire_bytes_size(ENVELOPE_SIGNATURE, signature_size));
    if (error != TRUC_OK) {
        goto out;
    }
    at = out->data + out->size;
    at = truc_wire_put_bytes(at, ENVELOPE_PAYLOAD, payload);
    at = truc_wire_put_bytes(at, ENVELOPE_TYPE, type);
    at = truc_wire_put_head(at, ENVELOPE_SIGNATURE, signature_size);
    at = truc_wire_put_bytes(at, SIGNATURE_SIG, truc_buffer_view(&signature));
    at = truc_wire_put_bytes(at, SIGNATURE_KEYID, keyid);
    out->size = (size_t)(at - out->data);
    if (digest != NULL) {
        truc_sha256(digest, truc_buffer_view(&signed_bytes));
    }
out:
    truc_buffer_close(&signed_bytes);
    truc_buffer_close(&signature);
    return error;
}

/* ---- bodies ----------------------------------------------------------------------------------------------------- */

truc_error truc_body_next(struct truc_bytes body, size_t *at, struct truc_bytes *event)
{
    const uint8_t *p;
    size_t left, size;
    if (*at == body.size) {
        return TRUC_E_NOT_FOUND;
    }
    if (*at > body.size || body.size - *at < LENGTH_PREFIX) {
        return TRUC_E_MALFORMED;
    }
    p = body.data + *at;
    left = body.size - *at - LENGTH_PREFIX;
    size = (size_t)p[0] | (size_t)p[1] << 8 | (size_t)p[2] << 16 | (size_t)p[3] << 24;
    if (size > left) {
        return TRUC_E_MALFORMED;
    }
    *event = truc_bytes(p + LENGTH_PREFIX, size);
    *at += LENGTH_PREFIX + size;
    return TRUC_OK;
}

truc_error truc_body_append(struct truc_buffer *body, struct truc_bytes event)
{
    truc_error error;
    uint8_t *at;
    if (event.size > TRUC_EVENT_MAX) {
        return TRUC_E_TOO_LARGE;
    }
    error = truc_buffer_reserve(body, LENGTH_PREFIX + event.size);
    if (error != TRUC_OK) {
        return error;
    }
    at = body->data + body->size;
    for (size_t i = 0; i < LENGTH_PREFIX; i++) {
        at[i] = (uint8_t)(event.size >> (8 * i));
    }
    if (event.size > 0) {
        memcpy(at + LENGTH_PREFIX, event.data, event.size);
    }
    body->size += LENGTH_PREFIX + event.size;
    return TRUC_OK;
}
