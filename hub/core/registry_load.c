/* The registry's records in the state map, written at each change and read again at open. hub/STORAGE.md, "State". */
#include "hub/core/core_internal.h"

static struct map_key ordinal_key(enum core_letter letter, uint32_t ordinal)
{
    struct map_key key = map_key((char)letter);
    map_key32(&key, ordinal);
    return key;
}

/* The core's scratch buffer, emptied, behind a writer. */
static struct writer begin(struct hub_core *core)
{
    truc_buffer_clear(&core->scratch);
    return (struct writer){&core->scratch, TRUC_OK};
}

static truc_error finish(struct hub_core *core, const struct writer *writer, struct map_key key)
{
    return writer->error != TRUC_OK ? writer->error : map_put(&core->map, &key, truc_buffer_view(&core->scratch));
}

truc_error core_save_agency(struct hub_core *core, const struct core_agency *agency)
{
    const struct hub_agency *pub = &agency->pub;
    struct writer writer = begin(core);
    write_text(&writer, truc_bytes_of(pub->code));
    write_text(&writer, truc_bytes_of(pub->name));
    write8(&writer, (uint8_t)pub->role);
    write8(&writer, pub->suspended);
    write32(&writer, pub->quota_events_per_s);
    write64(&writer, pub->quota_bytes_per_s);
    write32(&writer, (uint32_t)pub->group_count);
    for (size_t i = 0; i < pub->group_count; i++) {
        write_text(&writer, truc_bytes_of(pub->groups[i]));
    }
    return finish(core, &writer, ordinal_key(CORE_AGENCY, pub->number));
}

truc_error core_save_head(struct hub_core *core, const struct core_agency *agency)
{
    const struct hub_agency *pub = &agency->pub;
    struct writer writer = begin(core);
    write64(&writer, pub->next_number);
    write64(&writer, pub->floor);
    write64(&writer, pub->pending);
    write64(&writer, pub->dead);
    write64(&writer, pub->boot_number);
    write64(&writer, agency->last_sequence);
    write_raw(&writer, agency->last_seal.chain, TRUC_CHAIN_SIZE);
    write64(&writer, agency->last_seal.number);
    write_raw(&writer, agency->last_seal.digest.bytes, TRUC_HASH_SIZE);
    write64(&writer, agency->last_seal.leaf_index);
    return finish(core, &writer, ordinal_key(CORE_HEAD, pub->number));
}

truc_error core_save_key(struct hub_core *core, size_t at)
{
    const struct hub_signing_key *key = &core->registry.keys[at];
    struct writer writer = begin(core);
    write32(&writer, key->agency);
    write8(&writer, (uint8_t)key->algorithm);
    write_raw(&writer, key->keyid, TRUC_KEYID_HEX);
    write_time(&writer, key->added_at_us);
    write_time(&writer, key->revoked_at_us);
    write_text(&writer, key->spki);
    return finish(core, &writer, ordinal_key(CORE_KEY, (uint32_t)at));
}

truc_error core_save_transport(struct hub_core *core, size_t at)
{
    const struct hub_transport_key *key = &core->registry.transports[at];
    struct writer writer = begin(core);
    write32(&writer, key->agency);
    write_raw(&writer, key->key, sizeof key->key);
    write_time(&writer, key->added_at_us);
    write_time(&writer, key->revoked_at_us);
    return finish(core, &writer, ordinal_key(CORE_TRANSPORT, (uint32_t)at));
}

truc_error core_save_grant(struct hub_core *core, size_t at)
{
    const struct hub_grant *grant = &core->registry.grants[at].pub;
    struct writer writer = begin(core);
    write_text(&writer, truc_bytes_of(grant->grant));
    write_text(&writer, truc_bytes_of(grant->from));
    write_text(&writer, truc_bytes_of(grant->to));
    write_text(&writer, truc_bytes_of(grant->type));
    write_text(&writer, truc_bytes_of(grant->legal_basis));
    write_time(&writer, grant->valid_from_us);
    write_time(&writer, grant->valid_until_us);
    write_time(&writer, grant->withdrawn_at_us);
    write8(&writer, grant->delivery_receipts);
    write8(&writer, grant->skip_dead_letters);
    write32(&writer, grant->hold_s);
    write32(&writer, grant->max_attempts);
    return finish(core, &writer, ordinal_key(CORE_GRANT, (uint32_t)at));
}

truc_error core_save_subscription(struct hub_core *core, size_t at)
{
    const struct core_subscription *subscription = &core->registry.subscriptions[at];
    struct writer writer = begin(core);
    write32(&writer, subscription->pub.agency);
    write_text(&writer, truc_bytes_of(subscription->pub.type));
    write_text(&writer, truc_bytes_of(subscription->pub.source_agency));
    return finish(core, &writer, ordinal_key(CORE_SUBSCRIPTION, subscription->ordinal));
}

truc_error core_save_parameters(struct hub_core *core)
{
    const struct hub_parameters *p = &core->parameters;
    const uint32_t values[] = {p->event_bytes,    p->seal_events, p->seal_bytes,   p->future_skew_s,
                               p->past_horizon_s, p->inbox_age_s, p->max_attempts, p->hold_s};
    struct writer writer = begin(core);
    for (size_t i = 0; i < sizeof values / sizeof *values; i++) {
        write32(&writer, values[i]);
    }
    return finish(core, &writer, map_key(CORE_PARAMETERS));
}

truc_error core_save_origin(struct hub_core *core)
{
    struct writer writer = begin(core);
    write_text(&writer, truc_bytes_of(core->origin));
    write_text(&writer, truc_bytes_of(core->note_key));
    return finish(core, &writer, map_key(CORE_ORIGIN));
}

/* ---- reading --------------------------------------------------------------------------------------------------------
 */

/* Each reader gets a record's value and the ordinal in its key. */
typedef truc_error (*read_fn)(struct hub_core *core, uint32_t ordinal, struct reader *reader);

static truc_error read_agency(struct hub_core *core, uint32_t ordinal, struct reader *reader)
{
    struct hub_enrolment enrolment = {0};
    struct core_agency *agency;
    struct truc_bytes code = read_text(reader);
    enrolment.name = read_text(reader);
    uint8_t role = read8(reader), suspended = read8(reader);
    uint32_t quota_events = read32(reader);
    uint64_t quota_bytes = read64(reader);
    enrolment.group_count = read32(reader);
    if (reader->bad || code.size > TRUC_AGENCY_MAX || role > HUB_ROLE_AUDITOR || suspended > 1 ||
        enrolment.group_count > HUB_GROUPS_MAX || ordinal != core->registry.agency_count + 1) {
        return TRUC_E_CORRUPT;
    }
    for (size_t i = 0; i < enrolment.group_count; i++) {
        enrolment.groups[i] = read_text(reader);
    }
    if (!read_done(reader)) {
        return TRUC_E_CORRUPT;
    }
    memcpy(enrolment.agency, code.data, code.size);
    enrolment.role = (enum hub_role)role;
    truc_error error = core_add_agency(core, &enrolment, &agency);
    if (error == TRUC_OK) {
        agency->pub.suspended = suspended != 0;
        agency->pub.quota_events_per_s = quota_events;
        agency->pub.quota_bytes_per_s = quota_bytes;
    }
    return error;
}

static truc_error read_head(struct hub_core *core, uint32_t ordinal, struct reader *reader)
{
    struct core_agency *agency = core_agency(core, ordinal);
    if (agency == NULL) {
        return TRUC_E_CORRUPT;
    }
    agency->pub.next_number = read64(reader);
    agency->pub.floor = read64(reader);
    agency->pub.pending = read64(reader);
    agency->pub.dead = read64(reader);
    agency->pub.boot_number = read64(reader);
    agency->last_sequence = read64(reader);
    const uint8_t *chain = read_raw(reader, TRUC_CHAIN_SIZE);
    agency->last_seal.number = read64(reader);
    const uint8_t *digest = read_raw(reader, TRUC_HASH_SIZE);
    agency->last_seal.leaf_index = read64(reader);
    agency->head_dirty = false;
    if (!read_done(reader) || agency->pub.next_number == 0 || agency->pub.floor >= agency->pub.next_number) {
        return TRUC_E_CORRUPT;
    }
    memcpy(agency->last_seal.chain, chain, TRUC_CHAIN_SIZE);
    memcpy(agency->last_seal.digest.bytes, digest, TRUC_HASH_SIZE);
    return TRUC_OK;
}

static truc_error read_key(struct hub_core *core, uint32_t ordinal, struct reader *reader)
{
    struct hub_key_facts key = {.present = true};
    uint32_t agency = read32(reader);
    uint8_t algorithm = read8(reader);
    const uint8_t *keyid = read_raw(reader, TRUC_KEYID_HEX);
    int64_t added = read_time(reader), revoked = read_time(reader);
    key.spki = read_text(reader);
    if (!read_done(reader) || core_agency(core, agency) == NULL || ordinal != core->registry.key_count ||
        algorithm < TRUC_ALGORITHM_P256 || algorithm > TRUC_ALGORITHM_RSA) {
        return TRUC_E_CORRUPT;
    }
    key.algorithm = (enum truc_algorithm)algorithm;
    memcpy(key.keyid, keyid, TRUC_KEYID_HEX);
    truc_error error = core_add_key(core, &key, agency, added);
    if (error == TRUC_OK) {
        core->registry.keys[ordinal].revoked_at_us = revoked;
    }
    return error;
}

static truc_error read_transport(struct hub_core *core, uint32_t ordinal, struct reader *reader)
{
    uint32_t agency = read32(reader);
    const uint8_t *key = read_raw(reader, 32);
    int64_t added = read_time(reader), revoked = read_time(reader);
    if (!read_done(reader) || core_agency(core, agency) == NULL || ordinal != core->registry.transport_count) {
        return TRUC_E_CORRUPT;
    }
    truc_error error = core_add_transport(core, key, agency, added);
    if (error == TRUC_OK) {
        core->registry.transports[ordinal].revoked_at_us = revoked;
    }
    return error;
}

static truc_error read_grant(struct hub_core *core, uint32_t ordinal, struct reader *reader)
{
    struct core_grant_texts texts = {0};
    struct hub_grant terms = {0};
    texts.grant = read_text(reader);
    texts.from = read_text(reader);
    texts.to = read_text(reader);
    texts.type = read_text(reader);
    texts.legal_basis = read_text(reader);
    terms.valid_from_us = read_time(reader);
    terms.valid_until_us = read_time(reader);
    terms.withdrawn_at_us = read_time(reader);
    terms.delivery_receipts = read8(reader) != 0;
    terms.skip_dead_letters = read8(reader) != 0;
    terms.hold_s = read32(reader);
    terms.max_attempts = read32(reader);
    if (!read_done(reader) || ordinal != core->registry.grant_count) {
        return TRUC_E_CORRUPT;
    }
    truc_error error = core_add_grant(core, &texts, &terms);
    return error == TRUC_E_INVALID ? TRUC_E_CORRUPT : error;
}

static truc_error read_subscription(struct hub_core *core, uint32_t ordinal, struct reader *reader)
{
    uint32_t agency = read32(reader);
    struct truc_bytes type = read_text(reader), source_agency = read_text(reader);
    if (!read_done(reader) || core_agency(core, agency) == NULL || ordinal >= core->registry.next_subscription) {
        return TRUC_E_CORRUPT;
    }
    return core_add_subscription(core, agency, type, source_agency, ordinal);
}

static truc_error read_parameters(struct hub_core *core)
{
    struct hub_parameters *p = &core->parameters;
    uint32_t *const values[] = {&p->event_bytes,    &p->seal_events, &p->seal_bytes,   &p->future_skew_s,
                                &p->past_horizon_s, &p->inbox_age_s, &p->max_attempts, &p->hold_s};
    struct map_key key = map_key(CORE_PARAMETERS);
    struct truc_bytes bytes;
    truc_error error = map_get(&core->map, &key, &bytes);
    if (error != TRUC_OK) {
        return error == TRUC_E_NOT_FOUND ? TRUC_E_CORRUPT : error;
    }
    struct reader reader = reader_of(bytes);
    for (size_t i = 0; i < sizeof values / sizeof *values; i++) {
        *values[i] = read32(&reader);
    }
    return read_done(&reader) ? TRUC_OK : TRUC_E_CORRUPT;
}

static truc_error read_origin(struct hub_core *core)
{
    struct map_key key = map_key(CORE_ORIGIN);
    struct truc_bytes bytes;
    truc_error error = map_get(&core->map, &key, &bytes);
    if (error != TRUC_OK) {
        return error == TRUC_E_NOT_FOUND ? TRUC_E_CORRUPT : error;
    }
    struct reader reader = reader_of(bytes);
    struct truc_bytes origin = read_text(&reader), note_key = read_text(&reader);
    if (!read_done(&reader) || origin.size > TRUC_ORIGIN_MAX) {
        return TRUC_E_CORRUPT;
    }
    memcpy(core->origin, origin.data, origin.size);
    core->origin[origin.size] = '\0';
    return core_text(note_key, &core->note_key);
}

struct load {
    struct hub_core *core;
    read_fn read;
};

static truc_error load_record(void *context, struct truc_bytes key, struct truc_bytes value)
{
    const struct load *load = context;
    struct reader reader = reader_of(value);
    if (key.size != 5) {
        return TRUC_E_CORRUPT;
    }
    uint32_t ordinal =
        (uint32_t)key.data[1] << 24 | (uint32_t)key.data[2] << 16 | (uint32_t)key.data[3] << 8 | key.data[4];
    return load->read(load->core, ordinal, &reader);
}

truc_error core_registry_load(struct hub_core *core)
{
    /* Agencies first: all others name them. */
    static const struct {
        uint8_t letter;
        read_fn read;
    } kinds[] = {
        {CORE_AGENCY, read_agency},       {CORE_HEAD, read_head},   {CORE_KEY, read_key},
        {CORE_TRANSPORT, read_transport}, {CORE_GRANT, read_grant}, {CORE_SUBSCRIPTION, read_subscription},
    };
    truc_error error = read_origin(core);
    if (error == TRUC_OK) {
        error = read_parameters(core);
    }
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds && error == TRUC_OK; i++) {
        struct load load = {core, kinds[i].read};
        error = core->map.port.scan(core->map.port.context, truc_bytes(&kinds[i].letter, 1), load_record, &load);
    }
    core_routes_changed(core);
    return error;
}
