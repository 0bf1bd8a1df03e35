/* Agencies, keys, grants and subscriptions in memory. Small, read all the time, changed by governance only. */
#include "hub/core/core_internal.h"

#include <stdlib.h>

static uint64_t hash_text(struct truc_bytes text)
{
    return core_hash(1, text);
}

struct core_agency *core_agency(const struct hub_core *core, uint32_t number)
{
    return number == 0 || number > core->registry.agency_count ? NULL : core->registry.agencies[number - 1];
}

static struct core_agency *agency_exactly(const struct hub_core *core, struct truc_bytes code)
{
    size_t at = 0;
    uint32_t ordinal;
    while (core_index_next(&core->registry.by_code, hash_text(code), &at, &ordinal)) {
        struct core_agency *agency = core->registry.agencies[ordinal];
        if (truc_bytes_equal(truc_bytes_of(agency->pub.code), code)) {
            return agency;
        }
    }
    return NULL;
}

struct core_agency *core_agency_of(const struct hub_core *core, struct truc_bytes code)
{
    char normal[TRUC_AGENCY_MAX + 1];
    struct core_agency *agency = agency_exactly(core, code);
    if (agency == NULL && truc_agency_normalise(code, normal) == TRUC_OK) {
        agency = agency_exactly(core, truc_bytes_of(normal));
    }
    return agency;
}

uint32_t core_group_find(const struct hub_core *core, struct truc_bytes name)
{
    for (uint32_t i = 0; i < core->registry.group_count; i++) {
        if (truc_bytes_equal(truc_bytes_of(core->registry.groups[i].name), name)) {
            return i + 1;
        }
    }
    return 0;
}

truc_error core_group_make(struct hub_core *core, struct truc_bytes name, uint32_t *out)
{
    struct core_registry *registry = &core->registry;
    size_t capacity = registry->group_capacity;
    *out = core_group_find(core, name);
    if (*out != 0) {
        return TRUC_OK;
    }
    truc_error error =
        core_grow((void **)&registry->groups, registry->group_count, &capacity, sizeof(struct core_group));
    registry->group_capacity = (uint32_t)capacity;
    if (error != TRUC_OK) {
        return error;
    }
    struct core_group group = {0};
    error = core_text(name, &group.name);
    if (error == TRUC_OK) {
        registry->groups[registry->group_count++] = group;
        *out = registry->group_count;
    }
    return error;
}

bool core_in_group(const struct core_agency *agency, uint32_t group)
{
    for (size_t i = 0; i < agency->pub.group_count; i++) {
        if (agency->group_numbers[i] == group) {
            return true;
        }
    }
    return false;
}

/* Takes in when the grant begins and ends, if that is still to come. */
static void note_changes(struct hub_core *core, const struct hub_grant *grant)
{
    int64_t *next = &core->registry.next_change_us;
    if (grant->withdrawn_at_us != 0) {
        return;
    }
    if (grant->valid_from_us > core->accepted_at_us && grant->valid_from_us < *next) {
        *next = grant->valid_from_us;
    }
    if (grant->valid_until_us > core->accepted_at_us && grant->valid_until_us < *next) {
        *next = grant->valid_until_us;
    }
}

void core_routes_changed(struct hub_core *core)
{
    core->registry.version++;
    core->registry.next_change_us = INT64_MAX;
    for (size_t i = 0; i < core->registry.grant_count; i++) {
        note_changes(core, &core->registry.grants[i].pub);
    }
}

static truc_error join_group(struct hub_core *core, struct core_agency *agency, struct truc_bytes name)
{
    uint32_t number;
    truc_error error = core_group_make(core, name, &number);
    if (error != TRUC_OK) {
        return error;
    }
    struct core_group *group = &core->registry.groups[number - 1];
    error = core_grow((void **)&group->members, group->count, &group->capacity, sizeof(uint32_t));
    if (error != TRUC_OK) {
        return error;
    }
    size_t at = agency->pub.group_count;
    error = core_text(name, &agency->pub.groups[at]);
    if (error == TRUC_OK) {
        agency->group_numbers[at] = number;
        agency->pub.group_count++;
        group->members[group->count++] = agency->pub.number;
    }
    return error;
}

truc_error core_add_agency(struct hub_core *core, const struct hub_enrolment *enrolment, struct core_agency **out)
{
    struct core_registry *registry = &core->registry;
    size_t capacity = registry->agency_capacity;
    truc_error error =
        core_grow((void **)&registry->agencies, registry->agency_count, &capacity, sizeof(struct core_agency *));
    registry->agency_capacity = (uint32_t)capacity;
    if (error != TRUC_OK) {
        return error;
    }
    struct core_agency *agency = calloc(1, sizeof *agency);
    if (agency == NULL) {
        return TRUC_E_NOMEM;
    }
    registry->agencies[registry->agency_count++] = agency; /* owned from here on */
    agency->pub.number = registry->agency_count;
    agency->postings = core_postings(agency->pub.number);
    memcpy(agency->pub.code, enrolment->agency, sizeof agency->pub.code);
    agency->pub.role = enrolment->role;
    agency->pub.quota_events_per_s = enrolment->quota_events_per_s;
    agency->pub.quota_bytes_per_s = enrolment->quota_bytes_per_s;
    agency->pub.next_number = 1;
    agency->head_dirty = true;
    error = core_text(enrolment->name, &agency->pub.name);
    for (size_t i = 0; i < enrolment->group_count && error == TRUC_OK; i++) {
        error = join_group(core, agency, enrolment->groups[i]);
    }
    if (error == TRUC_OK) {
        error = core_index_put(&registry->by_code, hash_text(truc_bytes_of(agency->pub.code)), agency->pub.number - 1);
    }
    *out = agency;
    return error;
}

truc_error core_add_key(struct hub_core *core, const struct hub_key_facts *key, uint32_t agency, int64_t added_at_us)
{
    struct core_registry *registry = &core->registry;
    truc_error error = core_grow((void **)&registry->keys, registry->key_count, &registry->key_capacity,
                                 sizeof(struct hub_signing_key));
    if (error != TRUC_OK) {
        return error;
    }
    char *spki;
    error = core_text(key->spki, &spki);
    if (error != TRUC_OK) {
        return error;
    }
    struct hub_signing_key *item = &registry->keys[registry->key_count++];
    *item = (struct hub_signing_key){.agency = agency,
                                     .algorithm = key->algorithm,
                                     .spki = truc_bytes(spki, key->spki.size),
                                     .added_at_us = added_at_us};
    memcpy(item->keyid, key->keyid, sizeof item->keyid);
    return core_index_put(&registry->by_keyid, hash_text(truc_bytes_of(item->keyid)),
                          (uint32_t)(registry->key_count - 1));
}

truc_error core_add_transport(struct hub_core *core, const uint8_t key[32], uint32_t agency, int64_t added_at_us)
{
    struct core_registry *registry = &core->registry;
    truc_error error = core_grow((void **)&registry->transports, registry->transport_count,
                                 &registry->transport_capacity, sizeof(struct hub_transport_key));
    if (error != TRUC_OK) {
        return error;
    }
    struct hub_transport_key *item = &registry->transports[registry->transport_count++];
    *item = (struct hub_transport_key){.agency = agency, .added_at_us = added_at_us};
    memcpy(item->key, key, sizeof item->key);
    return core_index_put(&registry->by_transport, hash_text(truc_bytes(key, 32)),
                          (uint32_t)(registry->transport_count - 1));
}

/* "@group" or an agency code. */
static truc_error resolve_party(struct hub_core *core, struct truc_bytes party, uint32_t *agency, uint32_t *group)
{
    *agency = *group = 0;
    if (party.size > 0 && party.data[0] == '@') {
        return core_group_make(core, truc_bytes(party.data + 1, party.size - 1), group);
    }
    const struct core_agency *found = core_agency_of(core, party);
    if (found == NULL) {
        return TRUC_E_INVALID;
    }
    *agency = found->pub.number;
    return TRUC_OK;
}

static void close_grant(struct hub_grant *grant)
{
    free(grant->grant);
    free(grant->from);
    free(grant->to);
    free(grant->type);
    free(grant->legal_basis);
}

truc_error core_add_grant(struct hub_core *core, const struct core_grant_texts *texts, const struct hub_grant *terms)
{
    struct core_registry *registry = &core->registry;
    struct core_grant item = {.pub = *terms};
    item.pub.grant = item.pub.from = item.pub.to = item.pub.type = item.pub.legal_basis = NULL;
    truc_error error = core_grow((void **)&registry->grants, registry->grant_count, &registry->grant_capacity,
                                 sizeof(struct core_grant));
    if (error == TRUC_OK) {
        error = resolve_party(core, texts->from, &item.from_agency, &item.from_group);
    }
    if (error == TRUC_OK) {
        error = resolve_party(core, texts->to, &item.to_agency, &item.to_group);
    }
    const struct truc_bytes from[] = {texts->grant, texts->from, texts->to, texts->type, texts->legal_basis};
    char **const to[] = {&item.pub.grant, &item.pub.from, &item.pub.to, &item.pub.type, &item.pub.legal_basis};
    for (size_t i = 0; i < sizeof from / sizeof *from && error == TRUC_OK; i++) {
        error = core_text(from[i], to[i]);
    }
    if (error == TRUC_OK) {
        error = core_index_put(&registry->by_grant, hash_text(texts->grant), (uint32_t)registry->grant_count);
    }
    if (error != TRUC_OK) {
        close_grant(&item.pub);
        return error;
    }
    registry->grants[registry->grant_count++] = item;
    registry->version++;
    note_changes(core, &item.pub);
    return TRUC_OK;
}

truc_error core_add_subscription(struct hub_core *core, uint32_t agency, struct truc_bytes type,
                                 struct truc_bytes source_agency, uint32_t ordinal)
{
    struct core_registry *registry = &core->registry;
    struct core_subscription item = {.pub.agency = agency, .ordinal = ordinal};
    truc_error error = core_grow((void **)&registry->subscriptions, registry->subscription_count,
                                 &registry->subscription_capacity, sizeof(struct core_subscription));
    if (error == TRUC_OK) {
        error = core_text(type, &item.pub.type);
    }
    if (error == TRUC_OK) {
        error = core_text(source_agency, &item.pub.source_agency);
    }
    if (error != TRUC_OK) {
        free(item.pub.type);
        free(item.pub.source_agency);
        return error;
    }
    registry->subscriptions[registry->subscription_count++] = item;
    core_agency(core, agency)->subscriptions++;
    registry->version++;
    return TRUC_OK;
}

/* The subscription's index, or subscription_count. */
static size_t subscription_at(const struct hub_core *core, uint32_t agency, struct truc_bytes type,
                              struct truc_bytes source_agency)
{
    size_t at = 0;
    for (; at < core->registry.subscription_count; at++) {
        const struct hub_subscription *item = &core->registry.subscriptions[at].pub;
        if (item->agency == agency && truc_bytes_equal(truc_bytes_of(item->type), type) &&
            truc_bytes_equal(truc_bytes_of(item->source_agency), source_agency)) {
            break;
        }
    }
    return at;
}

truc_error core_subscribe(struct hub_core *core, struct core_agency *agency, struct truc_bytes type,
                          struct truc_bytes source_agency)
{
    if (subscription_at(core, agency->pub.number, type, source_agency) < core->registry.subscription_count) {
        return TRUC_E_EXISTS;
    }
    truc_error error =
        core_add_subscription(core, agency->pub.number, type, source_agency, core->registry.next_subscription);
    if (error != TRUC_OK) {
        return error;
    }
    core->registry.next_subscription++;
    return core_save_subscription(core, core->registry.subscription_count - 1);
}

truc_error core_unsubscribe(struct hub_core *core, struct core_agency *agency, struct truc_bytes type,
                            struct truc_bytes source_agency)
{
    struct core_registry *registry = &core->registry;
    size_t at = subscription_at(core, agency->pub.number, type, source_agency);
    if (at == registry->subscription_count) {
        return TRUC_E_NOT_FOUND;
    }
    struct map_key key = map_key(CORE_SUBSCRIPTION);
    map_key32(&key, registry->subscriptions[at].ordinal);
    free(registry->subscriptions[at].pub.type);
    free(registry->subscriptions[at].pub.source_agency);
    registry->subscription_count--;
    memmove(&registry->subscriptions[at], &registry->subscriptions[at + 1],
            (registry->subscription_count - at) * sizeof *registry->subscriptions);
    agency->subscriptions--;
    registry->version++;
    return map_delete(&core->map, &key);
}

struct hub_signing_key *core_key(const struct hub_core *core, const char *keyid, size_t *at)
{
    size_t step = 0;
    uint32_t ordinal;
    while (core_index_next(&core->registry.by_keyid, hash_text(truc_bytes_of(keyid)), &step, &ordinal)) {
        if (strcmp(core->registry.keys[ordinal].keyid, keyid) == 0) {
            *at = ordinal;
            return &core->registry.keys[ordinal];
        }
    }
    return NULL;
}

struct hub_transport_key *core_transport(const struct hub_core *core, const uint8_t key[32], size_t *at)
{
    size_t step = 0;
    uint32_t ordinal;
    while (core_index_next(&core->registry.by_transport, hash_text(truc_bytes(key, 32)), &step, &ordinal)) {
        if (memcmp(core->registry.transports[ordinal].key, key, 32) == 0) {
            *at = ordinal;
            return &core->registry.transports[ordinal];
        }
    }
    return NULL;
}

struct core_grant *core_grant_named(const struct hub_core *core, struct truc_bytes name, size_t *at)
{
    size_t step = 0;
    uint32_t ordinal;
    while (core_index_next(&core->registry.by_grant, hash_text(name), &step, &ordinal)) {
        if (truc_bytes_equal(truc_bytes_of(core->registry.grants[ordinal].pub.grant), name)) {
            *at = ordinal;
            return &core->registry.grants[ordinal];
        }
    }
    return NULL;
}

static void close_agency(struct core_agency *agency)
{
    for (size_t i = 0; i < agency->pub.group_count; i++) {
        free(agency->pub.groups[i]);
    }
    free(agency->pub.name);
    free(agency->exceptions);
    free(agency->routes);
    free(agency);
}

static void free_bytes(struct truc_bytes bytes)
{
    free((void *)(uintptr_t)bytes.data);
}

void core_registry_close(struct core_registry *registry)
{
    for (uint32_t i = 0; i < registry->agency_count; i++) {
        close_agency(registry->agencies[i]);
    }
    for (uint32_t i = 0; i < registry->group_count; i++) {
        free(registry->groups[i].name);
        free(registry->groups[i].members);
    }
    for (size_t i = 0; i < registry->key_count; i++) {
        free_bytes(registry->keys[i].spki);
    }
    for (size_t i = 0; i < registry->grant_count; i++) {
        close_grant(&registry->grants[i].pub);
    }
    for (size_t i = 0; i < registry->subscription_count; i++) {
        free(registry->subscriptions[i].pub.type);
        free(registry->subscriptions[i].pub.source_agency);
    }
    free(registry->agencies);
    free(registry->groups);
    free(registry->keys);
    free(registry->transports);
    free(registry->grants);
    free(registry->subscriptions);
    core_index_close(&registry->by_code);
    core_index_close(&registry->by_keyid);
    core_index_close(&registry->by_transport);
    core_index_close(&registry->by_grant);
    *registry = (struct core_registry){0};
}
