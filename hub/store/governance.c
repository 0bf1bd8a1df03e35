/* truc.v1.Governance to the core's plain struct: form is checked here, meaning in the core. */
#include "hub/store/governance.h"

#include "hub/store/genesis.h"

#include "proto/wire.h"
#include "truc/note.h"

#define TEXT_MAX 1024 /* bytes of a reason, a legal basis, a replay's filter */

static struct truc_bytes text_of(const char *text)
{
    return truc_bytes_of(text == NULL ? "" : text);
}

static bool text_fits(const char *text, size_t least, size_t most)
{
    struct truc_bytes bytes = text_of(text);
    return bytes.size >= least && bytes.size <= most && truc_text_is_clean(bytes);
}

/* Copies a valid agency code. */
static bool agency_of(const char *text, char out[TRUC_AGENCY_MAX + 1])
{
    struct truc_bytes code = text_of(text);
    if (!truc_agency_is_valid(code)) {
        return false;
    }
    memcpy(out, code.data, code.size);
    out[code.size] = '\0';
    return true;
}

/* As behind the '@' of the recipients attribute. */
static bool group_is_valid(struct truc_bytes name)
{
    for (size_t i = 0; i < name.size; i++) {
        uint8_t c = name.data[i];
        if (!((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' || c == '-' ||
              c == '_')) {
            return false;
        }
    }
    return name.size > 0 && name.size <= TRUC_AGENCY_MAX;
}

/* An agency code or "@group". */
static bool party_is_valid(struct truc_bytes party)
{
    if (party.size > 0 && party.data[0] == '@') {
        return group_is_valid(truc_bytes(party.data + 1, party.size - 1));
    }
    return truc_agency_is_valid(party);
}

static truc_error read_spki(struct truc_bytes spki, struct hub_key_facts *out)
{
    struct truc_key *key = NULL;
    truc_error error = truc_key_from_spki(spki, &key);
    if (error == TRUC_E_UNSUPPORTED) {
        return TRUC_E_MALFORMED; /* for a governance act there is no difference: this key cannot be enrolled */
    }
    if (error != TRUC_OK) {
        return error;
    }
    out->present = true;
    memcpy(out->keyid, truc_key_id(key), TRUC_KEYID_HEX + 1);
    out->algorithm = truc_key_algorithm(key);
    out->spki = spki;
    truc_key_free(&key);
    return TRUC_OK;
}

static truc_error read_transport(ProtobufCBinaryData key, bool *has, uint8_t out[32])
{
    if (key.len != 32) {
        return TRUC_E_MALFORMED;
    }
    memcpy(out, key.data, 32);
    *has = true;
    return TRUC_OK;
}

static truc_error read_groups(const Truc__V1__EnrolAgency *from, struct hub_enrolment *out)
{
    if (from->n_groups > HUB_GROUPS_MAX) {
        return TRUC_E_MALFORMED;
    }
    for (size_t i = 0; i < from->n_groups; i++) {
        out->groups[i] = text_of(from->groups[i]);
        if (!group_is_valid(out->groups[i])) {
            return TRUC_E_MALFORMED;
        }
        for (size_t before = 0; before < i; before++) {
            if (truc_bytes_equal(out->groups[before], out->groups[i])) {
                return TRUC_E_MALFORMED;
            }
        }
    }
    out->group_count = from->n_groups;
    return TRUC_OK;
}

static truc_error read_enrolment(const Truc__V1__EnrolAgency *from, struct hub_enrolment *out)
{
    truc_error error;
    if (!agency_of(from->agency, out->agency) || !text_fits(from->name, 0, HUB_NAME_MAX)) {
        return TRUC_E_MALFORMED;
    }
    out->name = text_of(from->name);
    switch ((int)from->role) {
    case TRUC__V1__ROLE__ROLE_AGENCY:
        out->role = HUB_ROLE_AGENCY;
        break;
    case TRUC__V1__ROLE__ROLE_ADMINISTRATOR:
        out->role = HUB_ROLE_ADMINISTRATOR;
        break;
    case TRUC__V1__ROLE__ROLE_AUDITOR:
        out->role = HUB_ROLE_AUDITOR;
        break;
    default: /* proto3 enums are open: a number that this version does not know is a wrong act */
        return TRUC_E_MALFORMED;
    }
    out->quota_events_per_s = from->quota_events_per_s;
    out->quota_bytes_per_s = from->quota_bytes_per_s;
    error = read_groups(from, out);
    if (error == TRUC_OK && from->transport_key.len != 0) {
        error = read_transport(from->transport_key, &out->has_transport, out->transport);
    }
    if (error == TRUC_OK && from->spki.len != 0) {
        error = read_spki(truc_bytes(from->spki.data, from->spki.len), &out->key);
    }
    return error;
}

static truc_error read_parameters(const Truc__V1__Parameters *from, struct hub_parameters *out)
{
    /* The protocol's own limits stay above whatever an administrator sets. */
    if (from->event_bytes > TRUC_EVENT_MAX || from->seal_events > TRUC_SEAL_EVENTS_MAX ||
        from->seal_bytes > TRUC_SEAL_BYTES_MAX) {
        return TRUC_E_MALFORMED;
    }
    out->event_bytes = from->event_bytes;
    out->seal_events = from->seal_events;
    out->seal_bytes = from->seal_bytes;
    out->future_skew_s = from->future_skew_s;
    out->past_horizon_s = from->past_horizon_s;
    out->inbox_age_s = from->inbox_age_s;
    out->max_attempts = from->max_attempts;
    out->hold_s = from->hold_s;
    return TRUC_OK;
}

static truc_error read_genesis(const Truc__V1__Genesis *from, struct hub_governance *out)
{
    struct truc_note_verifier verifier;
    truc_error error;
    bool same_name;
    out->origin = text_of(from->origin);
    out->note_key = text_of(from->note_key);
    if (!hub_origin_is_valid(out->origin) || from->n_administrators == 0 ||
        from->n_administrators > HUB_ADMINISTRATORS_MAX) {
        return TRUC_E_MALFORMED;
    }
    error = truc_note_verifier_parse(out->note_key, &verifier);
    if (error != TRUC_OK) {
        return error;
    }
    same_name = truc_bytes_equal(truc_bytes_of(verifier.name), out->origin);
    truc_note_verifier_close(&verifier);
    if (!same_name) {
        return TRUC_E_MALFORMED;
    }
    for (size_t i = 0; i < from->n_administrators; i++) {
        error = read_enrolment(from->administrators[i], &out->enrolments[i]);
        if (error != TRUC_OK) {
            return error;
        }
    }
    out->enrolment_count = from->n_administrators;
    return from->parameters == NULL ? TRUC_OK : read_parameters(from->parameters, &out->parameters);
}

static truc_error read_add_key(const Truc__V1__AddKey *from, struct hub_governance *out)
{
    if (!agency_of(from->agency, out->agency)) {
        return TRUC_E_MALFORMED;
    }
    switch (from->key_case) {
    case TRUC__V1__ADD_KEY__KEY_SPKI:
        return read_spki(truc_bytes(from->spki.data, from->spki.len), &out->key);
    case TRUC__V1__ADD_KEY__KEY_TRANSPORT_KEY:
        return read_transport(from->transport_key, &out->has_transport, out->transport);
    case TRUC__V1__ADD_KEY__KEY__NOT_SET:
    case _TRUC__V1__ADD_KEY__KEY__CASE_IS_INT_SIZE:
        break;
    }
    return TRUC_E_MALFORMED;
}

static truc_error read_keyid(const char *keyid, struct hub_key_facts *out)
{
    struct truc_bytes text = text_of(keyid);
    if (text.size != TRUC_KEYID_HEX) {
        return TRUC_E_MALFORMED;
    }
    for (size_t i = 0; i < text.size; i++) {
        if (!((text.data[i] >= '0' && text.data[i] <= '9') || (text.data[i] >= 'a' && text.data[i] <= 'f'))) {
            return TRUC_E_MALFORMED;
        }
    }
    out->present = true;
    memcpy(out->keyid, text.data, text.size);
    return TRUC_OK;
}

static truc_error read_revoke_key(const Truc__V1__RevokeKey *from, struct hub_governance *out)
{
    if (!agency_of(from->agency, out->agency)) {
        return TRUC_E_MALFORMED;
    }
    switch (from->key_case) {
    case TRUC__V1__REVOKE_KEY__KEY_KEYID:
        return read_keyid(from->keyid, &out->key);
    case TRUC__V1__REVOKE_KEY__KEY_TRANSPORT_KEY:
        return read_transport(from->transport_key, &out->has_transport, out->transport);
    case TRUC__V1__REVOKE_KEY__KEY__NOT_SET:
    case _TRUC__V1__REVOKE_KEY__KEY__CASE_IS_INT_SIZE:
        break;
    }
    return TRUC_E_MALFORMED;
}

static truc_error read_grant(const Truc__V1__GiveGrant *from, struct hub_governance *out)
{
    out->grant = text_of(from->grant);
    out->from = text_of(from->from);
    out->to = text_of(from->to);
    out->type = text_of(from->type);
    out->legal_basis = text_of(from->legal_basis);
    if (!text_fits(from->grant, 1, HUB_NAME_MAX) || !party_is_valid(out->from) || !party_is_valid(out->to) ||
        !truc_type_pattern_is_valid(out->type) || !text_fits(from->legal_basis, 0, TEXT_MAX) ||
        from->valid_from_us < 0 || from->valid_until_us < 0 ||
        (from->valid_until_us != 0 && from->valid_until_us <= from->valid_from_us)) {
        return TRUC_E_MALFORMED;
    }
    out->valid_from_us = from->valid_from_us;
    out->valid_until_us = from->valid_until_us;
    out->delivery_receipts = from->delivery_receipts;
    out->skip_dead_letters = from->skip_dead_letters;
    out->hold_s = from->hold_s;
    out->max_attempts = from->max_attempts;
    return TRUC_OK;
}

static truc_error read_subscription(const Truc__V1__Subscription *from, struct hub_governance *out)
{
    out->type = text_of(from->type);
    out->source_agency = text_of(from->source_agency);
    if (!agency_of(from->agency, out->agency) || !truc_type_pattern_is_valid(out->type) ||
        (out->source_agency.size != 0 && !truc_agency_is_valid(out->source_agency))) {
        return TRUC_E_MALFORMED;
    }
    return TRUC_OK;
}

static truc_error read_replay(const Truc__V1__OrderReplay *from, struct truc_arena *arena, struct hub_governance *out)
{
    struct hub_replay_item *items;
    if (!agency_of(from->to, out->agency) || !text_fits(from->filter, 0, TEXT_MAX) || from->n_items == 0) {
        return TRUC_E_MALFORMED;
    }
    items = truc_arena_alloc(arena, from->n_items * sizeof *items);
    if (items == NULL) {
        return TRUC_E_NOMEM;
    }
    for (size_t i = 0; i < from->n_items; i++) {
        const Truc__V1__ReplayItem *item = from->items[i];
        items[i].sequence = item->sequence;
        items[i].leaf_index = item->leaf_index;
        items[i].index = item->index;
        items[i].size = item->size;
        items[i].subject = item->subject;
        items[i].type = text_of(item->type);
        if (item->sequence == 0 || item->index >= TRUC_SEAL_EVENTS_MAX || item->size > TRUC_EVENT_MAX ||
            !agency_of(item->sender, items[i].sender) || !truc_type_is_valid(items[i].type)) {
            return TRUC_E_MALFORMED;
        }
    }
    out->replay = items;
    out->replay_count = from->n_items;
    return TRUC_OK;
}

static truc_error read_dead_letter(const Truc__V1__DeadLetterAct *from, struct hub_governance *out)
{
    int verb = (int)from->verb; /* an open enum: any number may stand here */
    if (!agency_of(from->agency, out->agency) || from->number == 0 ||
        (verb != TRUC__V1__DEAD_LETTER_ACT__VERB__REQUEUE && verb != TRUC__V1__DEAD_LETTER_ACT__VERB__DROP)) {
        return TRUC_E_MALFORMED;
    }
    out->number = from->number;
    out->drop = verb == TRUC__V1__DEAD_LETTER_ACT__VERB__DROP;
    return TRUC_OK;
}

static truc_error read_act(const Truc__V1__Governance *from, struct truc_arena *arena, struct hub_governance *out)
{
    out->act = (enum hub_act)from->act_case;
    switch (from->act_case) {
    case TRUC__V1__GOVERNANCE__ACT_GENESIS:
        return read_genesis(from->genesis, out);
    case TRUC__V1__GOVERNANCE__ACT_ENROL_AGENCY:
        out->enrolment_count = 1;
        return read_enrolment(from->enrol_agency, &out->enrolments[0]);
    case TRUC__V1__GOVERNANCE__ACT_SUSPEND_AGENCY:
        return agency_of(from->suspend_agency->agency, out->agency) ? TRUC_OK : TRUC_E_MALFORMED;
    case TRUC__V1__GOVERNANCE__ACT_RESUME_AGENCY:
        return agency_of(from->resume_agency->agency, out->agency) ? TRUC_OK : TRUC_E_MALFORMED;
    case TRUC__V1__GOVERNANCE__ACT_ADD_KEY:
        return read_add_key(from->add_key, out);
    case TRUC__V1__GOVERNANCE__ACT_REVOKE_KEY:
        return read_revoke_key(from->revoke_key, out);
    case TRUC__V1__GOVERNANCE__ACT_GIVE_GRANT:
        return read_grant(from->give_grant, out);
    case TRUC__V1__GOVERNANCE__ACT_WITHDRAW_GRANT:
        out->grant = text_of(from->withdraw_grant->grant);
        return text_fits(from->withdraw_grant->grant, 1, HUB_NAME_MAX) ? TRUC_OK : TRUC_E_MALFORMED;
    case TRUC__V1__GOVERNANCE__ACT_ADD_SUBSCRIPTION:
        return read_subscription(from->add_subscription, out);
    case TRUC__V1__GOVERNANCE__ACT_REMOVE_SUBSCRIPTION:
        return read_subscription(from->remove_subscription, out);
    case TRUC__V1__GOVERNANCE__ACT_ORDER_REPLAY:
        return read_replay(from->order_replay, arena, out);
    case TRUC__V1__GOVERNANCE__ACT_DEAD_LETTER:
        return read_dead_letter(from->dead_letter, out);
    case TRUC__V1__GOVERNANCE__ACT_PARAMETERS:
        return read_parameters(from->parameters, &out->parameters);
    case TRUC__V1__GOVERNANCE__ACT_SET_QUOTA:
        out->quota_events_per_s = from->set_quota->events_per_s;
        out->quota_bytes_per_s = from->set_quota->bytes_per_s;
        return agency_of(from->set_quota->agency, out->agency) ? TRUC_OK : TRUC_E_MALFORMED;
    case TRUC__V1__GOVERNANCE__ACT__NOT_SET:
    case _TRUC__V1__GOVERNANCE__ACT__CASE_IS_INT_SIZE:
        break;
    }
    return TRUC_E_MALFORMED;
}

/* An act with a part that this version does not know must not take effect in half: unlike a frame's, unknown fields are
 * refused, at any depth. */
static bool is_known(const ProtobufCMessage *message)
{
    const ProtobufCMessageDescriptor *descriptor = message->descriptor;
    if (message->n_unknown_fields != 0) {
        return false;
    }
    for (unsigned i = 0; i < descriptor->n_fields; i++) {
        const ProtobufCFieldDescriptor *field = &descriptor->fields[i];
        const uint8_t *base = (const uint8_t *)message;
        if (field->type != PROTOBUF_C_TYPE_MESSAGE) {
            continue;
        }
        if (field->label == PROTOBUF_C_LABEL_REPEATED) {
            size_t count;
            ProtobufCMessage *const *items;
            memcpy(&count, base + field->quantifier_offset, sizeof count);
            memcpy(&items, base + field->offset, sizeof items);
            for (size_t item = 0; item < count; item++) {
                if (!is_known(items[item])) {
                    return false;
                }
            }
            continue;
        }
        if ((field->flags & PROTOBUF_C_FIELD_FLAG_ONEOF) != 0) {
            uint32_t chosen;
            memcpy(&chosen, base + field->quantifier_offset, sizeof chosen);
            if (chosen != field->id) {
                continue;
            }
        }
        const ProtobufCMessage *one;
        memcpy(&one, base + field->offset, sizeof one);
        if (one != NULL && !is_known(one)) {
            return false;
        }
    }
    return true;
}

truc_error hub_governance_decode(struct truc_bytes bytes, struct truc_arena *arena, const struct hub_governance **out)
{
    ProtobufCMessage *message = NULL;
    const Truc__V1__Governance *from;
    struct hub_governance *governance;
    truc_error error;
    if (bytes.size > HUB_GOVERNANCE_MAX) {
        return TRUC_E_MALFORMED;
    }
    error = truc_unpack(arena, &truc__v1__governance__descriptor, bytes, &message);
    if (error != TRUC_OK) {
        return error;
    }
    /* Packed again it must come to the same size: so two acts in one, where the last would silently win, are refused.
     */
    if (!is_known(message) || protobuf_c_message_get_packed_size(message) != bytes.size) {
        return TRUC_E_MALFORMED;
    }
    from = (const Truc__V1__Governance *)(const void *)message;
    governance = truc_arena_alloc(arena, sizeof *governance);
    if (governance == NULL) {
        return TRUC_E_NOMEM;
    }
    if (!text_fits(from->reason, 0, TEXT_MAX)) {
        return TRUC_E_MALFORMED;
    }
    governance->reason = text_of(from->reason);
    error = read_act(from, arena, governance);
    if (error == TRUC_OK) {
        *out = governance;
    }
    return error;
}
