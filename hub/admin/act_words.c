#include "hub/admin/act_words.h"

#include "hub/admin/table.h"

static const struct act_verb {
    const char *name, *done, *tried;
} verbs[] = {
    [HUB_ACT_GENESIS] = {"genesis", "began", "begin"},
    [HUB_ACT_ENROL_AGENCY] = {"enrol_agency", "enrolled", "enrol"},
    [HUB_ACT_SUSPEND_AGENCY] = {"suspend_agency", "suspended", "suspend"},
    [HUB_ACT_RESUME_AGENCY] = {"resume_agency", "resumed", "resume"},
    [HUB_ACT_ADD_KEY] = {"add_key", "gave", "give"},
    [HUB_ACT_REVOKE_KEY] = {"revoke_key", "revoked", "revoke"},
    [HUB_ACT_GIVE_GRANT] = {"give_grant", "allowed", "allow"},
    [HUB_ACT_WITHDRAW_GRANT] = {"withdraw_grant", "withdrew", "withdraw"},
    [HUB_ACT_ADD_SUBSCRIPTION] = {"add_subscription", "subscribed", "subscribe"},
    [HUB_ACT_REMOVE_SUBSCRIPTION] = {"remove_subscription", "unsubscribed", "unsubscribe"},
    [HUB_ACT_ORDER_REPLAY] = {"order_replay", "ordered", "order"},
    [HUB_ACT_DEAD_LETTER] = {"dead_letter", "requeued", "requeue"},
    [HUB_ACT_PARAMETERS] = {"parameters", "changed", "change"},
    [HUB_ACT_SET_QUOTA] = {"set_quota", "limited", "limit"},
};

static void say(struct truc_buffer *out, const char *format, ...) __attribute__((format(printf, 2, 3)));
static void say(struct truc_buffer *out, const char *format, ...)
{
    char text[256]; /* the formats below stay under it: foreign texts come through say_text */
    va_list arguments;
    va_start(arguments, format);
    int size = vsnprintf(text, sizeof(text), format, arguments);
    va_end(arguments);
    admin_must(size >= 0 && (size_t)size < sizeof(text) && truc_buffer_append(out, text, (size_t)size) == TRUC_OK);
}

static void say_text(struct truc_buffer *out, const char *before, struct truc_bytes text, const char *after)
{
    say(out, "%s", before);
    admin_must(text.size == 0 || truc_buffer_append(out, text.data, text.size) == TRUC_OK);
    say(out, "%s", after);
}

/* At least one of the two is a limit. */
static void say_quota(struct truc_buffer *out, uint32_t events_per_s, uint64_t bytes_per_s)
{
    if (events_per_s != 0) {
        say(out, "%u events", events_per_s);
    }
    if (bytes_per_s != 0) {
        say(out, "%s%llu bytes", events_per_s != 0 ? " and " : "", (unsigned long long)bytes_per_s);
    }
    say(out, " a second");
}

static void say_enrolment(struct truc_buffer *out, const struct hub_enrolment *enrolment)
{
    static const char *const roles[] = {"", " as administrator", " as auditor"};
    say(out, " %s", enrolment->agency);
    if (enrolment->name.size > 0) {
        say_text(out, " \"", enrolment->name, "\"");
    }
    say(out, "%s", roles[enrolment->role]);
    for (size_t i = 0; i < enrolment->group_count; i++) {
        say_text(out, i == 0 ? " in @" : ", @", enrolment->groups[i], "");
    }
    if (enrolment->quota_events_per_s != 0 || enrolment->quota_bytes_per_s != 0) {
        say(out, ", with at most ");
        say_quota(out, enrolment->quota_events_per_s, enrolment->quota_bytes_per_s);
    }
}

/* A key id's first digits are enough to tell an agency's few keys apart; --json and `truc key list` have all. */
static void say_key(struct truc_buffer *out, const struct hub_governance *act)
{
    char hex[17];
    if (act->has_transport) {
        truc_hex(truc_bytes(act->transport, 8), hex);
        say(out, "transport key %s...", hex);
    } else {
        say(out, "signing key %.16s...", act->key.keyid);
    }
}

static void say_parameters(struct truc_buffer *out, const struct hub_parameters *parameters)
{
    const struct {
        const char *name;
        uint32_t value;
    } all[] = {{"event_bytes", parameters->event_bytes},       {"seal_events", parameters->seal_events},
               {"seal_bytes", parameters->seal_bytes},         {"future_skew_s", parameters->future_skew_s},
               {"past_horizon_s", parameters->past_horizon_s}, {"inbox_age_s", parameters->inbox_age_s},
               {"max_attempts", parameters->max_attempts},     {"hold_s", parameters->hold_s}};
    say(out, " the log's parameters:");
    for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++) {
        if (all[i].value != 0) {
            say(out, " %s=%u", all[i].name, all[i].value);
        }
    }
}

static void say_grant(struct truc_buffer *out, const struct hub_governance *act)
{
    say_text(out, " ", act->from, "");
    say_text(out, " to send ", act->type, "");
    say_text(out, " to ", act->to, "");
    say_text(out, " (grant ", act->grant, ": ");
    say_text(out, "", act->legal_basis, ")");
}

/* What stands behind the verb. */
static void say_object(struct truc_buffer *out, const struct hub_governance *act)
{
    switch (act->act) {
    case HUB_ACT_GENESIS:
        say_text(out, " the log ", act->origin, " with the administrators");
        for (size_t i = 0; i < act->enrolment_count; i++) {
            say(out, "%s %s", i == 0 ? "" : ",", act->enrolments[i].agency);
        }
        break;
    case HUB_ACT_ENROL_AGENCY:
        say_enrolment(out, &act->enrolments[0]);
        break;
    case HUB_ACT_SUSPEND_AGENCY:
    case HUB_ACT_RESUME_AGENCY:
        say(out, " %s", act->agency);
        break;
    case HUB_ACT_ADD_KEY:
        say(out, " %s the ", act->agency);
        say_key(out, act);
        break;
    case HUB_ACT_REVOKE_KEY:
        say(out, " the ");
        say_key(out, act);
        say(out, " of %s", act->agency);
        break;
    case HUB_ACT_GIVE_GRANT:
        say_grant(out, act);
        break;
    case HUB_ACT_WITHDRAW_GRANT:
        say_text(out, " grant ", act->grant, "");
        break;
    case HUB_ACT_ADD_SUBSCRIPTION:
    case HUB_ACT_REMOVE_SUBSCRIPTION:
        say(out, " %s %s ", act->agency, act->act == HUB_ACT_ADD_SUBSCRIPTION ? "to" : "from");
        say_text(out, "", act->type, "");
        if (act->source_agency.size > 0) {
            say_text(out, " of ", act->source_agency, " only");
        }
        break;
    case HUB_ACT_ORDER_REPLAY:
        say(out, " a replay of %zu event%s to %s", act->replay_count, act->replay_count == 1 ? "" : "s", act->agency);
        break;
    case HUB_ACT_DEAD_LETTER:
        say(out, " dead letter %llu of %s", (unsigned long long)act->number, act->agency);
        break;
    case HUB_ACT_PARAMETERS:
        say_parameters(out, &act->parameters);
        break;
    case HUB_ACT_SET_QUOTA:
        if (act->quota_events_per_s == 0 && act->quota_bytes_per_s == 0) {
            say(out, " the quota of %s", act->agency);
        } else {
            say(out, " %s to ", act->agency);
            say_quota(out, act->quota_events_per_s, act->quota_bytes_per_s);
        }
        break;
    }
}

static const struct act_verb *verb_of(const struct hub_governance *act)
{
    static const struct act_verb drop = {"dead_letter", "dropped", "drop"}, lift = {"set_quota", "lifted", "lift"};
    if (act->act == HUB_ACT_DEAD_LETTER && act->drop) {
        return &drop;
    }
    if (act->act == HUB_ACT_SET_QUOTA && act->quota_events_per_s == 0 && act->quota_bytes_per_s == 0) {
        return &lift;
    }
    return &verbs[act->act];
}

const char *admin_act_name(enum hub_act act)
{
    return verbs[act].name;
}

struct truc_bytes admin_act_concerns(const struct hub_governance *act)
{
    switch (act->act) {
    case HUB_ACT_GENESIS:
    case HUB_ACT_PARAMETERS:
        return (struct truc_bytes){0};
    case HUB_ACT_ENROL_AGENCY:
        return truc_bytes_of(act->enrolments[0].agency);
    case HUB_ACT_GIVE_GRANT:
    case HUB_ACT_WITHDRAW_GRANT:
        return act->grant;
    case HUB_ACT_SUSPEND_AGENCY:
    case HUB_ACT_RESUME_AGENCY:
    case HUB_ACT_ADD_KEY:
    case HUB_ACT_REVOKE_KEY:
    case HUB_ACT_ADD_SUBSCRIPTION:
    case HUB_ACT_REMOVE_SUBSCRIPTION:
    case HUB_ACT_ORDER_REPLAY:
    case HUB_ACT_DEAD_LETTER:
    case HUB_ACT_SET_QUOTA:
        break;
    }
    return truc_bytes_of(act->agency);
}

void admin_act_words(const char *who, const struct hub_governance *act, bool done, struct truc_buffer *out)
{
    const struct act_verb *verb = verb_of(act);
    say(out, "%s %s%s", who, done ? "" : "tried to ", done ? verb->done : verb->tried);
    say_object(out, act);
    if (act->reason.size > 0) {
        say_text(out, "; reason: ", act->reason, "");
    }
}
