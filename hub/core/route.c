/* Who gets an event: recipients, groups and subscriptions, and the grant that allows each. Default deny.
 *
 * A sender's events look alike, so answers are kept by (sender, type, recipients) until anything changes that they
 * depend on. The cache is only memory: it never changes an answer. */
#include "hub/core/core_internal.h"

#include <stdlib.h>

#define CACHE_ENTRIES 4096u
#define CACHE_KEY_MAX 512u     /* bytes of type and recipients */
#define CACHE_TARGETS_MAX 128u /* so the cache stays under 8 MiB whatever peers send */

struct core_route_cached {
    uint64_t version, hash;
    uint32_t sender, type_size, recipients_size, count;
    uint8_t reason;
    uint8_t *key; /* type, recipients */
    size_t key_capacity, target_capacity;
    struct core_route_target *targets;
};

void core_routes_close(struct core_route_cache *cache)
{
    for (size_t i = 0; cache->entries != NULL && i < CACHE_ENTRIES; i++) {
        free(cache->entries[i].key);
        free(cache->entries[i].targets);
    }
    free(cache->entries);
    free(cache->targets);
    *cache = (struct core_route_cache){0};
}

static bool grant_is_on(const struct hub_grant *grant, int64_t now_us)
{
    return grant->withdrawn_at_us == 0 && grant->valid_from_us <= now_us &&
           (grant->valid_until_us == 0 || now_us < grant->valid_until_us);
}

static bool is_from(const struct core_grant *grant, const struct core_agency *agency)
{
    return grant->from_group != 0 ? core_in_group(agency, grant->from_group) : grant->from_agency == agency->pub.number;
}

static bool is_to(const struct core_grant *grant, const struct core_agency *agency)
{
    return grant->to_group != 0 ? core_in_group(agency, grant->to_group) : grant->to_agency == agency->pub.number;
}

/* Lists the grants that are on and allow `sender` anything, so that a search does not pass all grants of all others. */
static truc_error list_grants(struct hub_core *core, struct core_agency *sender)
{
    if (sender->route_version == core->registry.version) {
        return TRUC_OK;
    }
    sender->route_count = 0;
    for (size_t i = 0; i < core->registry.grant_count; i++) {
        const struct core_grant *grant = &core->registry.grants[i];
        if (!grant_is_on(&grant->pub, core->accepted_at_us) || !is_from(grant, sender)) {
            continue;
        }
        truc_error error =
            core_grow((void **)&sender->routes, sender->route_count, &sender->route_capacity, sizeof *sender->routes);
        if (error != TRUC_OK) {
            return error;
        }
        sender->routes[sender->route_count++] = (uint32_t)i;
    }
    sender->route_version = core->registry.version;
    return TRUC_OK;
}

truc_error core_grant_for(struct hub_core *core, struct core_agency *sender, const struct core_agency *to,
                          struct truc_bytes type, uint32_t *out)
{
    truc_error error = list_grants(core, sender);
    *out = CORE_NO_GRANT;
    for (size_t i = 0; error == TRUC_OK && i < sender->route_count; i++) {
        const struct core_grant *grant = &core->registry.grants[sender->routes[i]];
        if (is_to(grant, to) && truc_type_matches(truc_bytes_of(grant->pub.type), type)) {
            *out = sender->routes[i];
            break;
        }
    }
    return error;
}

static truc_error add_target(struct hub_core *core, struct core_agency *agency)
{
    struct core_route_cache *cache = &core->routes;
    if (agency->mark == core->registry.mark) {
        return TRUC_OK; /* named twice: it gets it once */
    }
    truc_error error =
        core_grow((void **)&cache->targets, cache->count, &cache->capacity, sizeof(struct core_route_target));
    if (error == TRUC_OK) {
        agency->mark = core->registry.mark;
        cache->targets[cache->count++] = (struct core_route_target){agency->pub.number, CORE_NO_GRANT};
    }
    return error;
}

/* The named agencies and the members of named groups, the sender not among those, into cache->targets. */
static truc_error expand(struct hub_core *core, const struct core_agency *sender, struct truc_bytes recipients,
                         uint8_t *reason)
{
    struct truc_bytes one;
    size_t at = 0;
    core->registry.mark++;
    core->routes.count = 0;
    *reason = TRUC_ACCEPTED;
    while (truc_recipients_next(recipients, &at, &one)) {
        size_t found = 0;
        truc_error error = TRUC_OK;
        if (one.size > 0 && one.data[0] == '@') {
            uint32_t number = core_group_find(core, truc_bytes(one.data + 1, one.size - 1));
            const struct core_group *group = number == 0 ? NULL : &core->registry.groups[number - 1];
            for (size_t i = 0; group != NULL && i < group->count && error == TRUC_OK; i++) {
                if (group->members[i] != sender->pub.number) {
                    error = add_target(core, core_agency(core, group->members[i]));
                    found++;
                }
            }
        } else {
            struct core_agency *agency = core_agency_of(core, one);
            if (agency != NULL) {
                error = add_target(core, agency);
                found++;
            }
        }
        if (error != TRUC_OK) {
            return error;
        }
        if (found == 0) {
            *reason = TRUC_NO_RECIPIENT;
            return TRUC_OK;
        }
    }
    return TRUC_OK;
}

/* Explicit recipients: all of them must be granted, or nobody gets it; a sender must not believe that it went to more.
 */
static truc_error route_named(struct hub_core *core, struct core_agency *sender, struct truc_bytes recipients,
                              struct truc_bytes type, uint8_t *reason)
{
    truc_error error = expand(core, sender, recipients, reason);
    for (size_t i = 0; error == TRUC_OK && *reason == 0 && i < core->routes.count; i++) {
        struct core_route_target *target = &core->routes.targets[i];
        error = core_grant_for(core, sender, core_agency(core, target->agency), type, &target->grant);
        if (target->grant == CORE_NO_GRANT) {
            *reason = TRUC_NOT_GRANTED;
        }
    }
    return error;
}

/* A topic: the subscribers that a grant allows. */
static truc_error route_topic(struct hub_core *core, struct core_agency *sender, struct truc_bytes type,
                              uint8_t *reason)
{
    core->registry.mark++;
    core->routes.count = 0;
    for (size_t i = 0; i < core->registry.subscription_count; i++) {
        const struct hub_subscription *subscription = &core->registry.subscriptions[i].pub;
        if (subscription->agency == sender->pub.number ||
            (subscription->source_agency[0] != '\0' && strcmp(subscription->source_agency, sender->pub.code) != 0) ||
            !truc_type_matches(truc_bytes_of(subscription->type), type)) {
            continue;
        }
        uint32_t grant;
        struct core_agency *to = core_agency(core, subscription->agency);
        size_t before = core->routes.count;
        truc_error error = core_grant_for(core, sender, to, type, &grant);
        if (error == TRUC_OK && grant != CORE_NO_GRANT) {
            error = add_target(core, to);
        }
        if (error != TRUC_OK) {
            return error;
        }
        if (core->routes.count > before) {
            core->routes.targets[before].grant = grant;
        }
    }
    *reason = core->routes.count == 0 ? TRUC_NO_RECIPIENT : TRUC_ACCEPTED;
    return TRUC_OK;
}

static bool is_cached(const struct core_route_cached *cached, uint64_t version, uint64_t hash, uint32_t sender,
                      struct truc_bytes type, struct truc_bytes recipients)
{
    return cached->version == version && cached->hash == hash && cached->sender == sender &&
           cached->type_size == type.size && cached->recipients_size == recipients.size &&
           (type.size == 0 || memcmp(cached->key, type.data, type.size) == 0) &&
           (recipients.size == 0 || memcmp(cached->key + type.size, recipients.data, recipients.size) == 0);
}

/* Keeps the route just made, if it is of a usual size. Without memory it is simply not kept. */
static void keep(struct hub_core *core, struct core_route_cached *cached, uint64_t hash, uint32_t sender,
                 struct truc_bytes type, struct truc_bytes recipients, uint8_t reason)
{
    size_t size = type.size + recipients.size, count = reason == 0 ? core->routes.count : 0;
    if (size > CACHE_KEY_MAX || count > CACHE_TARGETS_MAX) {
        return;
    }
    cached->version = 0;
    if (size > cached->key_capacity) {
        uint8_t *key = realloc(cached->key, size);
        if (key == NULL) {
            return;
        }
        cached->key = key;
        cached->key_capacity = size;
    }
    if (count > cached->target_capacity) {
        struct core_route_target *targets = reallocarray(cached->targets, count, sizeof *targets);
        if (targets == NULL) {
            return;
        }
        cached->targets = targets;
        cached->target_capacity = count;
    }
    if (type.size > 0) {
        memcpy(cached->key, type.data, type.size);
    }
    if (recipients.size > 0) {
        memcpy(cached->key + type.size, recipients.data, recipients.size);
    }
    if (count > 0) {
        memcpy(cached->targets, core->routes.targets, count * sizeof *cached->targets);
    }
    cached->hash = hash;
    cached->sender = sender;
    cached->type_size = (uint32_t)type.size;
    cached->recipients_size = (uint32_t)recipients.size;
    cached->count = (uint32_t)count;
    cached->reason = reason;
    cached->version = core->registry.version;
}

truc_error core_route_plain(struct hub_core *core, struct core_agency *sender, struct truc_bytes recipients,
                            struct truc_bytes type, struct core_route *out)
{
    if (core->routes.entries == NULL) {
        core->routes.entries = calloc(CACHE_ENTRIES, sizeof *core->routes.entries);
        if (core->routes.entries == NULL) {
            return TRUC_E_NOMEM;
        }
    }
    uint64_t hash = core_hash(core_hash(sender->pub.number, type), recipients);
    struct core_route_cached *cached = &core->routes.entries[hash % CACHE_ENTRIES];
    if (is_cached(cached, core->registry.version, hash, sender->pub.number, type, recipients)) {
        *out = (struct core_route){cached->reason, cached->count, cached->targets};
        return TRUC_OK;
    }
    uint8_t reason = TRUC_ACCEPTED;
    truc_error error = recipients.size == 0 ? route_topic(core, sender, type, &reason)
                                            : route_named(core, sender, recipients, type, &reason);
    if (error == TRUC_OK) {
        keep(core, cached, hash, sender->pub.number, type, recipients, reason);
        *out = (struct core_route){reason, reason == 0 ? core->routes.count : 0, core->routes.targets};
    }
    return error;
}

bool hub_core_was_granted(const struct hub_core *core, struct truc_bytes from, uint32_t to, struct truc_bytes type)
{
    const struct core_agency *sender = core_agency_of(core, from), *recipient = core_agency(core, to);
    for (size_t i = 0; sender != NULL && recipient != NULL && i < core->registry.grant_count; i++) {
        const struct core_grant *grant = &core->registry.grants[i];
        if (is_from(grant, sender) && is_to(grant, recipient) &&
            truc_type_matches(truc_bytes_of(grant->pub.type), type)) {
            return true;
        }
    }
    return false;
}

/* A receipt goes back along a grant that asked for receipts, whether that is still given or not: the delivery that it
 * answers may be older than the withdrawal. */
static bool owes_receipt(const struct hub_core *core, const struct core_agency *from, const struct core_agency *to)
{
    for (size_t i = 0; i < core->registry.grant_count; i++) {
        const struct core_grant *grant = &core->registry.grants[i];
        if (grant->pub.delivery_receipts && is_from(grant, to) && is_to(grant, from)) {
            return true;
        }
    }
    return false;
}

truc_error core_route_receipt(struct hub_core *core, struct core_agency *sender, struct truc_bytes recipients,
                              struct core_route *out)
{
    uint8_t reason = TRUC_NO_RECIPIENT;
    truc_error error = recipients.size == 0 ? TRUC_OK : expand(core, sender, recipients, &reason);
    for (size_t i = 0; error == TRUC_OK && reason == 0 && i < core->routes.count; i++) {
        if (!owes_receipt(core, sender, core_agency(core, core->routes.targets[i].agency))) {
            reason = TRUC_NOT_GRANTED;
        }
    }
    if (error == TRUC_OK) {
        *out = (struct core_route){reason, reason == 0 ? core->routes.count : 0, core->routes.targets};
    }
    return error;
}
