/* truc grant add|list|revoke, truc subscription add|list|remove */
#include "hub/admin/session.h"

/* "@group", an agency code normalised into `code`, or said to be wrong. */
static enum admin_exit party(const struct admin_call *call, const char *text, char *code, char **out)
{
    if (text[0] == '@' && text[1] != '\0') {
        *out = admin_proto_text(text);
        return ADMIN_OK;
    }
    *out = code;
    return admin_agency(call, text, code);
}

static bool fits_u32(uint64_t number, uint32_t *out)
{
    *out = (uint32_t)number;
    return number <= UINT32_MAX;
}

static enum admin_exit run_add(struct admin_call *call)
{
    char from[TRUC_AGENCY_MAX + 1], to[TRUC_AGENCY_MAX + 1], did[300];
    Truc__V1__GiveGrant grant = TRUC__V1__GIVE_GRANT__INIT;
    Truc__V1__Governance act = admin_act(call, TRUC__V1__GOVERNANCE__ACT_GIVE_GRANT);
    enum admin_exit exit_code = party(call, admin_text(call, "from"), from, &grant.from);
    if (exit_code == ADMIN_OK) {
        exit_code = party(call, admin_text(call, "to"), to, &grant.to);
    }
    if (exit_code == ADMIN_OK) {
        exit_code = admin_pattern(call, admin_text(call, "type"));
    }
    if (exit_code == ADMIN_OK && (!fits_u32(admin_number(call, "hold", 0), &grant.hold_s) ||
                                  !fits_u32(admin_number(call, "max-attempts", 0), &grant.max_attempts))) {
        exit_code = admin_fail(call, ADMIN_USAGE, "--hold and --max-attempts are below 4294967296");
    }
    if (exit_code != ADMIN_OK) {
        return exit_code;
    }
    grant.grant = call->operands[0];
    grant.type = admin_proto_text(admin_text(call, "type"));
    grant.legal_basis = admin_proto_text(admin_text(call, "basis"));
    grant.valid_from_us = admin_value(call, "valid-from")->time_us;
    grant.valid_until_us = admin_value(call, "valid-until")->time_us;
    grant.delivery_receipts = admin_flag(call, "receipts");
    grant.skip_dead_letters = admin_flag(call, "skip-dead-letters");
    if (grant.valid_until_us != 0 && grant.valid_until_us <= grant.valid_from_us) {
        return admin_fail(call, ADMIN_USAGE, "--valid-until is not after --valid-from");
    }
    act.give_grant = &grant;
    snprintf(did, sizeof(did), "%s may send %s to %s (grant %s)", grant.from, grant.type, grant.to, grant.grant);
    return admin_govern_once(call, &act, did);
}

static enum admin_exit run_list(struct admin_call *call)
{
    static const struct admin_column columns[] = {{"grant", "GRANT", ADMIN_COLUMN_TEXT},
                                                  {"from", "FROM", ADMIN_COLUMN_TEXT},
                                                  {"to", "TO", ADMIN_COLUMN_TEXT},
                                                  {"type", "TYPE", ADMIN_COLUMN_TEXT},
                                                  {"state", "STATE", ADMIN_COLUMN_TEXT},
                                                  {"delivery_receipts", "RECEIPTS", ADMIN_COLUMN_TEXT},
                                                  {"valid_from", "VALID FROM", ADMIN_COLUMN_TIME},
                                                  {"valid_until", "VALID UNTIL", ADMIN_COLUMN_TIME},
                                                  {"legal_basis", "LEGAL BASIS", ADMIN_COLUMN_TEXT},
                                                  {NULL, NULL, ADMIN_COLUMN_TEXT}};
    const char *arguments[5] = {NULL};
    size_t count = 0;
    static const char *const names[] = {"from", "to"};
    for (size_t i = 0; i < 2; i++) {
        if (admin_text(call, names[i]) != NULL) {
            arguments[count++] = names[i];
            arguments[count++] = admin_text(call, names[i]);
        }
    }
    return admin_query_once(call, "grants", arguments, columns, "no grants: nobody may send anything to anybody");
}

static enum admin_exit run_revoke(struct admin_call *call)
{
    char did[300];
    Truc__V1__WithdrawGrant withdraw = TRUC__V1__WITHDRAW_GRANT__INIT;
    Truc__V1__Governance act = admin_act(call, TRUC__V1__GOVERNANCE__ACT_WITHDRAW_GRANT);
    withdraw.grant = call->operands[0];
    act.withdraw_grant = &withdraw;
    snprintf(did, sizeof(did), "Grant %s is withdrawn; what it let through stays delivered", withdraw.grant);
    return admin_govern_once(call, &act, did);
}

/* ---- subscriptions --------------------------------------------------------------------------------------------------
 */

static enum admin_exit subscribe(struct admin_call *call, Truc__V1__Governance__ActCase which, const char *done)
{
    char agency[TRUC_AGENCY_MAX + 1], source[TRUC_AGENCY_MAX + 1] = "", did[400];
    Truc__V1__Subscription subscription = TRUC__V1__SUBSCRIPTION__INIT;
    Truc__V1__Governance act = admin_act(call, which);
    enum admin_exit exit_code = admin_agency(call, call->operands[0], agency);
    if (exit_code == ADMIN_OK) {
        exit_code = admin_pattern(call, call->operands[1]);
    }
    if (exit_code == ADMIN_OK && admin_text(call, "from") != NULL) {
        exit_code = admin_agency(call, admin_text(call, "from"), source);
    }
    if (exit_code != ADMIN_OK) {
        return exit_code;
    }
    subscription.agency = agency;
    subscription.type = call->operands[1];
    subscription.source_agency = source;
    act.add_subscription = &subscription; /* one place of the union for both acts */
    snprintf(did, sizeof(did), "%s %s %s", agency, done, subscription.type);
    return admin_govern_once(call, &act, did);
}

static enum admin_exit run_subscription_add(struct admin_call *call)
{
    return subscribe(call, TRUC__V1__GOVERNANCE__ACT_ADD_SUBSCRIPTION, "is subscribed to");
}

static enum admin_exit run_subscription_remove(struct admin_call *call)
{
    return subscribe(call, TRUC__V1__GOVERNANCE__ACT_REMOVE_SUBSCRIPTION, "is no longer subscribed to");
}

static enum admin_exit run_subscription_list(struct admin_call *call)
{
    static const struct admin_column columns[] = {{"agency", "AGENCY", ADMIN_COLUMN_TEXT},
                                                  {"type", "TYPE", ADMIN_COLUMN_TEXT},
                                                  {"source_agency", "ONLY FROM", ADMIN_COLUMN_TEXT},
                                                  {NULL, NULL, ADMIN_COLUMN_TEXT}};
    char agency[TRUC_AGENCY_MAX + 1];
    if (call->operand_count == 0) {
        return admin_query_once(call, "subscriptions", (const char *const[]){NULL}, columns, "no subscriptions");
    }
    enum admin_exit exit_code = admin_agency(call, call->operands[0], agency);
    return exit_code != ADMIN_OK
               ? exit_code
               : admin_query_once(call, "subscriptions", (const char *const[]){"agency", agency, NULL}, columns,
                                  "no subscriptions");
}

static const struct admin_option add_options[] = {
    ADMIN_ONLINE_OPTIONS,
    {"from", ADMIN_TEXT, "PARTY", "agency code or @group that may send", true},
    {"to", ADMIN_TEXT, "PARTY", "agency code or @group that receives", true},
    {"type", ADMIN_TEXT, "TYPE", "event type, or a prefix ending in '*'", true},
    {"basis", ADMIN_TEXT, "TEXT", "the legal basis", true},
    {"valid-from", ADMIN_TIME, "TIME", "not before (default: at once)", false},
    {"valid-until", ADMIN_TIME, "TIME", "not after (default: until withdrawn)", false},
    {"receipts", ADMIN_FLAG, NULL, "recipients owe signed delivery receipts", false},
    {"skip-dead-letters", ADMIN_FLAG, NULL, "a dead letter does not hold back its subject", false},
    {"hold", ADMIN_NUMBER, "S", "a dead letter holds its subject so many seconds", false},
    {"max-attempts", ADMIN_NUMBER, "N", "attempts before it becomes a dead letter", false},
    ADMIN_REASON_OPTION,
    ADMIN_END};
static const struct admin_option list_options[] = {ADMIN_ONLINE_OPTIONS,
                                                   {"from", ADMIN_TEXT, "PARTY", "only grants from it", false},
                                                   {"to", ADMIN_TEXT, "PARTY", "only grants to it", false},
                                                   ADMIN_END};
static const struct admin_option act_options[] = {ADMIN_ONLINE_OPTIONS, ADMIN_REASON_OPTION, ADMIN_END};
static const struct admin_option subscribe_options[] = {
    ADMIN_ONLINE_OPTIONS,
    {"from", ADMIN_TEXT, "CODE", "only events of this agency", false},
    ADMIN_REASON_OPTION,
    ADMIN_END};
static const struct admin_option plain_options[] = {ADMIN_ONLINE_OPTIONS, ADMIN_END};

const struct admin_command admin_grant_commands[] = {
    {"grant add", "NAME", 1, 1, "allow one party to send a type of events to another", add_options, run_add},
    {"grant list", "", 0, 0, "who may send what to whom", list_options, run_list},
    {"grant revoke", "NAME", 1, 1, "withdraw a grant; what was delivered stays delivered", act_options, run_revoke},
    {NULL, NULL, 0, 0, NULL, NULL, NULL}};

const struct admin_command admin_subscription_commands[] = {
    {"subscription add", "CODE TYPE", 2, 2, "give an agency the events of a type that name no recipient",
     subscribe_options, run_subscription_add},
    {"subscription list", "[CODE]", 0, 1, "who gets what without being named", plain_options, run_subscription_list},
    {"subscription remove", "CODE TYPE", 2, 2, "end a subscription", subscribe_options, run_subscription_remove},
    {NULL, NULL, 0, 0, NULL, NULL, NULL}};
