/* Administrators' acts. Each is checked as a whole before anything changes: a refused act leaves no trace but its leaf.
 */
#include "hub/core/core_internal.h"

/* Below this an administrator's own acts would no longer fit, and nothing could ever be changed back. */
#define BYTES_MIN 1024u

static const struct hub_parameters default_parameters = {
    .event_bytes = TRUC_EVENT_MAX,
    .seal_events = TRUC_SEAL_EVENTS_MAX,
    .seal_bytes = TRUC_SEAL_BYTES_MAX,
    .future_skew_s = 300,
    .past_horizon_s = 2592000,
    .inbox_age_s = 2592000,
    .max_attempts = 10,
    .hold_s = 86400,
};

/* One act being carried out. */
struct act {
    struct hub_core *core;
    const struct core_sealing *sealing;
    uint32_t index;
    const struct hub_governance *order;
    struct hub_effects *effects;
    uint8_t *reason;
};

static truc_error refuse(const struct act *act, truc_reason reason)
{
    *act->reason = (uint8_t)reason;
    return TRUC_OK;
}

static truc_error tell(const struct act *act, enum hub_effect_kind kind, uint32_t agency)
{
    return core_effect(act->effects, kind, agency, NULL);
}

/* The agency that the order names; NULL: unknown. */
static struct core_agency *concerned(const struct act *act)
{
    return core_agency_of(act->core, truc_bytes_of(act->order->agency));
}

static bool key_is_new(const struct hub_core *core, const struct hub_key_facts *key)
{
    size_t at;
    return core_key(core, key->keyid, &at) == NULL;
}

static bool may_enrol(const struct hub_core *core, const struct hub_enrolment *enrolment)
{
    size_t at;
    return truc_agency_is_valid(truc_bytes_of(enrolment->agency)) &&
           core_agency_of(core, truc_bytes_of(enrolment->agency)) == NULL &&
           (!enrolment->has_transport || core_transport(core, enrolment->transport, &at) == NULL) &&
           (!enrolment->key.present || key_is_new(core, &enrolment->key));
}

static truc_error add_key(struct hub_core *core, const struct hub_key_facts *key, uint32_t agency)
{
    truc_error error = core_add_key(core, key, agency, core->accepted_at_us);
    return error == TRUC_OK ? core_save_key(core, core->registry.key_count - 1) : error;
}

static truc_error add_transport(struct hub_core *core, const uint8_t key[32], uint32_t agency)
{
    truc_error error = core_add_transport(core, key, agency, core->accepted_at_us);
    return error == TRUC_OK ? core_save_transport(core, core->registry.transport_count - 1) : error;
}

static truc_error enrol(struct hub_core *core, const struct hub_enrolment *enrolment, struct hub_effects *effects)
{
    struct core_agency *agency;
    truc_error error = core_add_agency(core, enrolment, &agency);
    if (error == TRUC_OK) {
        error = core_save_agency(core, agency);
    }
    if (error == TRUC_OK && enrolment->key.present) {
        error = add_key(core, &enrolment->key, agency->pub.number);
    }
    if (error == TRUC_OK && enrolment->has_transport) {
        error = add_transport(core, enrolment->transport, agency->pub.number);
    }
    core_routes_changed(core);
    if (error == TRUC_OK) {
        error = core_effect(effects, HUB_EFFECT_AGENCY, agency->pub.number, NULL);
    }
    return error == TRUC_OK ? core_effect(effects, HUB_EFFECT_KEYS, agency->pub.number, NULL) : error;
}

static truc_error govern_enrol(const struct act *act)
{
    const struct hub_enrolment *enrolment = &act->order->enrolments[0];
    if (act->order->enrolment_count != 1 || !may_enrol(act->core, enrolment)) {
        return refuse(act, TRUC_ILLEGAL_TRANSITION);
    }
    return enrol(act->core, enrolment, act->effects);
}

static bool can_connect(const struct hub_core *core, uint32_t agency, const struct hub_transport_key *without)
{
    for (size_t i = 0; i < core->registry.transport_count; i++) {
        const struct hub_transport_key *key = &core->registry.transports[i];
        if (key != without && key->agency == agency && key->revoked_at_us == 0) {
            return true;
        }
    }
    return false;
}

/* Would an administrator who can both connect and sign be left without this agency, or without this key? Otherwise
 * nobody could ever govern the log again. */
static bool is_governed_without(const struct hub_core *core, uint32_t agency, const struct hub_signing_key *key,
                                const struct hub_transport_key *transport)
{
    for (size_t i = 0; i < core->registry.key_count; i++) {
        const struct hub_signing_key *other = &core->registry.keys[i];
        const struct hub_agency *owner = &core_agency(core, other->agency)->pub;
        if (other != key && other->revoked_at_us == 0 && other->agency != agency &&
            owner->role == HUB_ROLE_ADMINISTRATOR && !owner->suspended && can_connect(core, other->agency, transport)) {
            return true;
        }
    }
    return false;
}

static truc_error govern_suspend(const struct act *act, bool suspend)
{
    struct core_agency *agency = concerned(act);
    if (agency == NULL || agency->pub.suspended == suspend ||
        (suspend && !is_governed_without(act->core, agency->pub.number, NULL, NULL))) {
        return refuse(act, TRUC_ILLEGAL_TRANSITION);
    }
    agency->pub.suspended = suspend;
    truc_error error = core_save_agency(act->core, agency);
    if (error == TRUC_OK) {
        error = tell(act, HUB_EFFECT_AGENCY, agency->pub.number);
    }
    return error == TRUC_OK ? tell(act, HUB_EFFECT_KEYS, agency->pub.number) : error;
}

static truc_error govern_add_key(const struct act *act)
{
    const struct hub_governance *order = act->order;
    const struct core_agency *agency = concerned(act);
    size_t at;
    if (agency == NULL || order->key.present == order->has_transport ||
        (order->key.present && !key_is_new(act->core, &order->key)) ||
        (order->has_transport && core_transport(act->core, order->transport, &at) != NULL)) {
        return refuse(act, TRUC_ILLEGAL_TRANSITION);
    }
    truc_error error = order->key.present ? add_key(act->core, &order->key, agency->pub.number)
                                          : add_transport(act->core, order->transport, agency->pub.number);
    return error == TRUC_OK ? tell(act, HUB_EFFECT_KEYS, agency->pub.number) : error;
}

static truc_error revoke_signing(const struct act *act, const struct core_agency *agency)
{
    size_t at;
    struct hub_signing_key *key = core_key(act->core, act->order->key.keyid, &at);
    if (key == NULL || key->agency != agency->pub.number || key->revoked_at_us != 0 ||
        !is_governed_without(act->core, 0, key, NULL)) {
        return refuse(act, TRUC_ILLEGAL_TRANSITION);
    }
    key->revoked_at_us = act->core->accepted_at_us;
    truc_error error = core_save_key(act->core, at);
    return error == TRUC_OK ? tell(act, HUB_EFFECT_KEYS, agency->pub.number) : error;
}

static truc_error govern_revoke_key(const struct act *act)
{
    const struct core_agency *agency = concerned(act);
    size_t at;
    if (agency == NULL || act->order->key.present == act->order->has_transport) {
        return refuse(act, TRUC_ILLEGAL_TRANSITION);
    }
    if (act->order->key.present) {
        return revoke_signing(act, agency);
    }
    struct hub_transport_key *key = core_transport(act->core, act->order->transport, &at);
    if (key == NULL || key->agency != agency->pub.number || key->revoked_at_us != 0 ||
        !is_governed_without(act->core, 0, NULL, key)) {
        return refuse(act, TRUC_ILLEGAL_TRANSITION);
    }
    key->revoked_at_us = act->core->accepted_at_us;
    truc_error error = core_save_transport(act->core, at);
    return error == TRUC_OK ? tell(act, HUB_EFFECT_KEYS, agency->pub.number) : error;
}

/* "@group", or the code of an enrolled agency. Groups may be named before anybody is in them. */
static bool party_is_known(const struct hub_core *core, struct truc_bytes party)
{
    return party.size > 0 && party.data[0] == '@' ? party.size > 1 : core_agency_of(core, party) != NULL;
}

static truc_error govern_give_grant(const struct act *act)
{
    const struct hub_governance *order = act->order;
    size_t at;
    if (order->grant.size == 0 || core_grant_named(act->core, order->grant, &at) != NULL ||
        !party_is_known(act->core, order->from) || !party_is_known(act->core, order->to) ||
        !truc_type_pattern_is_valid(order->type) ||
        (order->valid_until_us != 0 && order->valid_until_us <= order->valid_from_us)) {
        return refuse(act, TRUC_ILLEGAL_TRANSITION);
    }
    const struct core_grant_texts texts = {order->grant, order->from, order->to, order->type, order->legal_basis};
    const struct hub_grant terms = {.valid_from_us = order->valid_from_us,
                                    .valid_until_us = order->valid_until_us,
                                    .delivery_receipts = order->delivery_receipts,
                                    .skip_dead_letters = order->skip_dead_letters,
                                    .hold_s = order->hold_s,
                                    .max_attempts = order->max_attempts};
    truc_error error = core_add_grant(act->core, &texts, &terms);
    return error == TRUC_OK ? core_save_grant(act->core, act->core->registry.grant_count - 1) : error;
}

static truc_error govern_withdraw_grant(const struct act *act)
{
    size_t at;
    struct core_grant *grant = core_grant_named(act->core, act->order->grant, &at);
    if (grant == NULL || grant->pub.withdrawn_at_us != 0) {
        return refuse(act, TRUC_ILLEGAL_TRANSITION);
    }
    grant->pub.withdrawn_at_us = act->core->accepted_at_us;
    core_routes_changed(act->core);
    return core_save_grant(act->core, at);
}

static truc_error govern_subscription(const struct act *act, bool add)
{
    const struct hub_governance *order = act->order;
    struct core_agency *agency = concerned(act);
    if (agency == NULL || !truc_type_pattern_is_valid(order->type) || order->source_agency.size > TRUC_AGENCY_MAX) {
        return refuse(act, TRUC_ILLEGAL_TRANSITION);
    }
    truc_error error = add ? core_subscribe(act->core, agency, order->type, order->source_agency)
                           : core_unsubscribe(act->core, agency, order->type, order->source_agency);
    return error == TRUC_E_EXISTS || error == TRUC_E_NOT_FOUND ? refuse(act, TRUC_ILLEGAL_TRANSITION) : error;
}

/* What was refused once does not reach anybody as a replay. */
static truc_error was_accepted(struct hub_core *core, const struct hub_replay_item *item, bool *accepted)
{
    struct truc_leaf *leaf = malloc(sizeof *leaf);
    struct truc_buffer bytes = {0};
    truc_error error = leaf != NULL ? hub_core_leaf(core, item->leaf_index, &bytes) : TRUC_E_NOMEM;
    if (error == TRUC_OK && truc_leaf_parse(truc_buffer_view(&bytes), leaf) != TRUC_OK) {
        error = TRUC_E_CORRUPT;
    }
    *accepted = error == TRUC_OK && leaf->outcomes[item->index].code == TRUC_OUTCOME_ACCEPTED;
    truc_buffer_close(&bytes);
    free(leaf);
    return error;
}

/* The item lies where it says, before this seal, was accepted, and its sender is granted this recipient now. */
static truc_error check_replay_item(const struct act *act, const struct core_agency *to,
                                    const struct hub_replay_item *item, uint32_t *grant)
{
    struct hub_leaf_place place;
    struct core_agency *sender = core_agency_of(act->core, truc_bytes_of(item->sender));
    *grant = CORE_NO_GRANT;
    if (sender == NULL || item->sequence == 0 || item->sequence >= act->sealing->first_sequence) {
        return TRUC_OK;
    }
    truc_error error = hub_core_leaf_place(act->core, item->leaf_index, &place);
    if (error != TRUC_OK) {
        return error == TRUC_E_NOT_FOUND ? TRUC_OK : error;
    }
    if (item->index >= place.count || place.first_sequence + item->index != item->sequence) {
        return TRUC_OK;
    }
    bool accepted;
    error = was_accepted(act->core, item, &accepted);
    return error == TRUC_OK && accepted ? core_grant_for(act->core, sender, to, item->type, grant) : error;
}

static truc_error govern_replay(const struct act *act)
{
    struct core_agency *to = concerned(act);
    truc_error error = TRUC_OK;
    uint32_t grant;
    if (to == NULL) {
        return refuse(act, TRUC_ILLEGAL_TRANSITION);
    }
    for (size_t i = 0; i < act->order->replay_count; i++) {
        error = check_replay_item(act, to, &act->order->replay[i], &grant);
        if (error != TRUC_OK) {
            return error;
        }
        if (grant == CORE_NO_GRANT) {
            return refuse(act, TRUC_NOT_GRANTED);
        }
    }
    for (size_t i = 0; error == TRUC_OK && i < act->order->replay_count; i++) {
        const struct hub_replay_item *item = &act->order->replay[i];
        error = check_replay_item(act, to, item, &grant);
        if (error == TRUC_OK) {
            const struct core_post post = {.sequence = item->sequence,
                                           .cause = act->sealing->first_sequence + act->index,
                                           .leaf_index = item->leaf_index,
                                           .subject = item->subject,
                                           .index = item->index,
                                           .size = item->size,
                                           .grant = grant,
                                           .expires_us = HUB_TIME_NONE,
                                           .replay = true};
            error = core_inbox_post(act->core, to, &post, act->effects);
        }
    }
    return error;
}

static truc_error govern_dead_letter(const struct act *act)
{
    struct core_agency *agency = concerned(act);
    if (agency == NULL) {
        return refuse(act, TRUC_ILLEGAL_TRANSITION);
    }
    truc_error error = act->order->drop ? core_inbox_drop(act->core, agency, act->order->number, act->effects)
                                        : core_inbox_requeue(act->core, agency, act->order->number, act->effects);
    return error == TRUC_E_NOT_FOUND ? refuse(act, TRUC_ILLEGAL_TRANSITION) : error;
}

/* Takes over what is not 0. false: beyond the protocol's own limits, or too small to govern with. */
static bool merge_parameters(struct hub_parameters *into, const struct hub_parameters *from)
{
    const uint32_t values[] = {from->event_bytes,    from->seal_events, from->seal_bytes,   from->future_skew_s,
                               from->past_horizon_s, from->inbox_age_s, from->max_attempts, from->hold_s};
    uint32_t *const targets[] = {&into->event_bytes,    &into->seal_events, &into->seal_bytes,   &into->future_skew_s,
                                 &into->past_horizon_s, &into->inbox_age_s, &into->max_attempts, &into->hold_s};
    if (from->event_bytes > TRUC_EVENT_MAX || from->seal_events > TRUC_SEAL_EVENTS_MAX ||
        from->seal_bytes > TRUC_SEAL_BYTES_MAX) {
        return false;
    }
    if ((from->event_bytes != 0 && from->event_bytes < BYTES_MIN) ||
        (from->seal_bytes != 0 && from->seal_bytes < BYTES_MIN)) {
        return false;
    }
    for (size_t i = 0; i < sizeof values / sizeof *values; i++) {
        if (values[i] != 0) {
            *targets[i] = values[i];
        }
    }
    return true;
}

static truc_error govern_parameters(const struct act *act)
{
    if (!merge_parameters(&act->core->parameters, &act->order->parameters)) {
        return refuse(act, TRUC_ILLEGAL_TRANSITION);
    }
    truc_error error = core_save_parameters(act->core);
    return error == TRUC_OK ? tell(act, HUB_EFFECT_PARAMETERS, 0) : error;
}

static truc_error govern_quota(const struct act *act)
{
    struct core_agency *agency = concerned(act);
    if (agency == NULL) {
        return refuse(act, TRUC_ILLEGAL_TRANSITION);
    }
    agency->pub.quota_events_per_s = act->order->quota_events_per_s;
    agency->pub.quota_bytes_per_s = act->order->quota_bytes_per_s;
    truc_error error = core_save_agency(act->core, agency);
    return error == TRUC_OK ? tell(act, HUB_EFFECT_PARAMETERS, agency->pub.number) : error;
}

truc_error core_govern(struct hub_core *core, const struct core_sealing *sealing, uint32_t index,
                       struct hub_effects *effects, uint8_t *reason)
{
    const struct hub_governance *order = sealing->input->events[index].governance;
    const struct act act = {core, sealing, index, order, effects, reason};
    *reason = TRUC_ACCEPTED;
    if (order == NULL) {
        return refuse(&act, TRUC_INVALID_PAYLOAD);
    }
    if (sealing->sender->pub.role != HUB_ROLE_ADMINISTRATOR) {
        return refuse(&act, TRUC_NOT_GRANTED);
    }
    switch (order->act) {
    case HUB_ACT_GENESIS:
        return refuse(&act, TRUC_ILLEGAL_TRANSITION); /* a log begins once */
    case HUB_ACT_ENROL_AGENCY:
        return govern_enrol(&act);
    case HUB_ACT_SUSPEND_AGENCY:
        return govern_suspend(&act, true);
    case HUB_ACT_RESUME_AGENCY:
        return govern_suspend(&act, false);
    case HUB_ACT_ADD_KEY:
        return govern_add_key(&act);
    case HUB_ACT_REVOKE_KEY:
        return govern_revoke_key(&act);
    case HUB_ACT_GIVE_GRANT:
        return govern_give_grant(&act);
    case HUB_ACT_WITHDRAW_GRANT:
        return govern_withdraw_grant(&act);
    case HUB_ACT_ADD_SUBSCRIPTION:
        return govern_subscription(&act, true);
    case HUB_ACT_REMOVE_SUBSCRIPTION:
        return govern_subscription(&act, false);
    case HUB_ACT_ORDER_REPLAY:
        return govern_replay(&act);
    case HUB_ACT_DEAD_LETTER:
        return govern_dead_letter(&act);
    case HUB_ACT_PARAMETERS:
        return govern_parameters(&act);
    case HUB_ACT_SET_QUOTA:
        return govern_quota(&act);
    }
    return refuse(&act, TRUC_INVALID_PAYLOAD); /* an act that this version does not know */
}

truc_error core_genesis(struct hub_core *core, const struct hub_seal_input *input, struct hub_effects *effects)
{
    const struct hub_event_facts *facts = input->events;
    const struct hub_governance *order = facts->governance;
    if (input->seal.count != 1 || facts->kind != HUB_EVENT_GOVERNANCE || facts->flags != 0 || order == NULL ||
        order->act != HUB_ACT_GENESIS || order->enrolment_count == 0 ||
        order->enrolment_count > HUB_ADMINISTRATORS_MAX || order->origin.size == 0 ||
        order->origin.size > TRUC_ORIGIN_MAX) {
        return TRUC_E_INVALID;
    }
    const struct hub_enrolment *first = &order->enrolments[0];
    /* Signed by the first administrator's key, or nobody could say who began this log. */
    if (!truc_bytes_equal(order->origin, truc_bytes_of(input->seal.origin)) || !first->key.present ||
        first->role != HUB_ROLE_ADMINISTRATOR || strcmp(first->agency, input->seal.sender) != 0 ||
        strcmp(first->key.keyid, input->seal.keyid) != 0) {
        return TRUC_E_INVALID;
    }
    core->parameters = default_parameters;
    if (!merge_parameters(&core->parameters, &order->parameters) || core_check_facts(core, facts) != 0 ||
        core_is_expired(core, facts)) {
        return TRUC_E_INVALID;
    }
    memcpy(core->origin, order->origin.data, order->origin.size);
    core->origin[order->origin.size] = '\0';
    truc_error error = core_text(order->note_key, &core->note_key);
    if (error == TRUC_OK) {
        error = core_save_origin(core);
    }
    if (error == TRUC_OK) {
        error = core_save_parameters(core);
    }
    for (size_t i = 0; error == TRUC_OK && i < order->enrolment_count; i++) {
        const struct hub_enrolment *enrolment = &order->enrolments[i];
        error = may_enrol(core, enrolment) ? enrol(core, enrolment, effects) : TRUC_E_INVALID;
    }
    return error == TRUC_OK ? core_effect(effects, HUB_EFFECT_PARAMETERS, 0, NULL) : error;
}
