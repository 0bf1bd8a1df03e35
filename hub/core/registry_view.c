/* The registry as others see it: the accessors of core.h. */
#include "hub/core/core_internal.h"

const struct hub_agency *hub_core_agency(const struct hub_core *core, struct truc_bytes code)
{
    const struct core_agency *agency = core_agency_of(core, code);
    return agency == NULL ? NULL : &agency->pub;
}

const struct hub_agency *hub_core_agency_by_number(const struct hub_core *core, uint32_t number)
{
    const struct core_agency *agency = core_agency(core, number);
    return agency == NULL ? NULL : &agency->pub;
}

uint32_t hub_core_agency_count(const struct hub_core *core)
{
    return core->registry.agency_count;
}

const struct hub_signing_key *hub_core_key(const struct hub_core *core, const char *keyid)
{
    size_t at;
    return core_key(core, keyid, &at);
}

size_t hub_core_key_count(const struct hub_core *core)
{
    return core->registry.key_count;
}

const struct hub_signing_key *hub_core_key_at(const struct hub_core *core, size_t at)
{
    return at < core->registry.key_count ? &core->registry.keys[at] : NULL;
}

const struct hub_transport_key *hub_core_transport(const struct hub_core *core, const uint8_t key[32])
{
    size_t at;
    return core_transport(core, key, &at);
}

size_t hub_core_transport_count(const struct hub_core *core)
{
    return core->registry.transport_count;
}

const struct hub_transport_key *hub_core_transport_at(const struct hub_core *core, size_t at)
{
    return at < core->registry.transport_count ? &core->registry.transports[at] : NULL;
}

size_t hub_core_grant_count(const struct hub_core *core)
{
    return core->registry.grant_count;
}

const struct hub_grant *hub_core_grant_at(const struct hub_core *core, size_t at)
{
    return at < core->registry.grant_count ? &core->registry.grants[at].pub : NULL;
}

uint32_t hub_core_subscriptions_of(const struct hub_core *core, uint32_t agency)
{
    const struct core_agency *owner = core_agency(core, agency);
    return owner == NULL ? 0 : owner->subscriptions;
}

size_t hub_core_subscription_count(const struct hub_core *core)
{
    return core->registry.subscription_count;
}

const struct hub_subscription *hub_core_subscription_at(const struct hub_core *core, size_t at)
{
    return at < core->registry.subscription_count ? &core->registry.subscriptions[at].pub : NULL;
}

const struct hub_parameters *hub_core_parameters(const struct hub_core *core)
{
    return &core->parameters;
}

uint64_t hub_core_refusals(const struct hub_core *core, unsigned reason)
{
    return reason < CORE_REASONS ? core->refusals[reason] : 0;
}

truc_error hub_core_meant(const struct hub_core *core, struct truc_bytes name, struct hub_meant *out)
{
    *out = (struct hub_meant){0};
    if (name.size > 0 && name.data[0] == '@') {
        out->group = core_group_find(core, truc_bytes(name.data + 1, name.size - 1));
        return out->group != 0 ? TRUC_OK : TRUC_E_NOT_FOUND;
    }
    const struct core_agency *agency = core_agency_of(core, name);
    if (agency == NULL) {
        return TRUC_E_NOT_FOUND;
    }
    out->agency = agency->pub.number;
    return TRUC_OK;
}

size_t hub_core_meant_count(const struct hub_core *core, const struct hub_meant *meant)
{
    if (meant->agency != 0) {
        return 1;
    }
    return meant->group != 0 ? core->registry.groups[meant->group - 1].count : core->registry.agency_count;
}

uint32_t hub_core_meant_at(const struct hub_core *core, const struct hub_meant *meant, size_t at)
{
    if (meant->agency != 0) {
        return at == 0 ? meant->agency : 0;
    }
    if (meant->group != 0) {
        const struct core_group *group = &core->registry.groups[meant->group - 1];
        return at < group->count ? group->members[at] : 0;
    }
    return at < core->registry.agency_count ? (uint32_t)at + 1 : 0;
}

bool hub_core_knows_recipients(const struct hub_core *core, uint32_t sender, struct truc_bytes recipients)
{
    struct hub_meant meant;
    struct truc_bytes name;
    for (size_t at = 0; truc_recipients_next(recipients, &at, &name);) {
        if (hub_core_meant(core, name, &meant) != TRUC_OK) {
            return false;
        }
        uint32_t first = hub_core_meant_at(core, &meant, 0);
        if (meant.group != 0 && (first == 0 || (first == sender && hub_core_meant_at(core, &meant, 1) == 0))) {
            return false;
        }
    }
    return true;
}

uint32_t hub_core_group_at(const struct hub_core *core, uint32_t agency, size_t at)
{
    const struct core_agency *found = core_agency(core, agency);
    return found != NULL && at < found->pub.group_count ? found->group_numbers[at] : 0;
}
