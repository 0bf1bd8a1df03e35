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
