/* The administrator's work: everybody is enrolled, then rights, groups and quotas change under load. */
#include "tests/sim/world.h"
#include "truc.pb-c.h"
#include "truc/event.h"

static struct client *administrator;
static unsigned grants;
static bool given[512]; /* and not withdrawn */

static void act(const Truc__V1__Governance *governance)
{
    struct truc_buffer data = {0};

    if (truc_buffer_reserve(&data, truc__v1__governance__get_packed_size(governance)) != TRUC_OK)
        abort();
    data.size = truc__v1__governance__pack(governance, data.data);
    client_hand_over(administrator, TRUC_TYPE_GOVERNANCE, NULL, NULL, &data, 0);
    truc_buffer_close(&data);
}

static void enrol(const struct world_agency *agency, unsigned groups)
{
    Truc__V1__Governance governance = TRUC__V1__GOVERNANCE__INIT;
    Truc__V1__EnrolAgency enrolment = TRUC__V1__ENROL_AGENCY__INIT;
    char *names[2];
    struct truc_bytes spki = truc_key_spki(agency->key);

    if (groups & 1)
        names[enrolment.n_groups++] = (char *)"g0";
    if (groups & 2)
        names[enrolment.n_groups++] = (char *)"g1";
    enrolment.groups = names;
    enrolment.agency = (char *)agency->code;
    enrolment.name = (char *)agency->code;
    enrolment.transport_key = (ProtobufCBinaryData){32, (uint8_t *)agency->transport};
    enrolment.spki = (ProtobufCBinaryData){spki.size, (uint8_t *)(uintptr_t)spki.data};
    governance.act_case = TRUC__V1__GOVERNANCE__ACT_ENROL_AGENCY;
    governance.enrol_agency = &enrolment;
    act(&governance);
}

static const char *party(char room[40])
{
    unsigned at = (unsigned)sim_pick(world.plan.agencies + 2);

    if (at < 2)
        snprintf(room, 40, "@g%u", at);
    else
        snprintf(room, 40, "%s", world.agencies[at - 1].code);
    return room;
}

static void give_grant(void)
{
    static const char *const types[] = {"a.one", "a.two", "b.one", "a.*", "*"};
    Truc__V1__Governance governance = TRUC__V1__GOVERNANCE__INIT;
    Truc__V1__GiveGrant grant = TRUC__V1__GIVE_GRANT__INIT;
    char name[24], from[40], to[40];

    if (grants == sizeof given / sizeof given[0] || grants >= 200)
        return;
    given[grants] = true;
    snprintf(name, sizeof name, "grant-%u", grants++);
    grant.grant = name;
    grant.from = (char *)party(from);
    grant.to = (char *)party(to);
    grant.type = (char *)types[sim_pick(5)];
    grant.legal_basis = (char *)"1/2026/ND-CP";
    grant.delivery_receipts = sim_often(200);
    grant.skip_dead_letters = sim_often(300);
    grant.hold_s = (uint32_t)sim_pick(4);
    grant.max_attempts = (uint32_t)sim_pick(6);
    if (sim_often(100))
        grant.valid_until_us = sim_now() + SIM_EPOCH + sim_between(SIM_SECOND, 15 * SIM_SECOND);
    governance.act_case = TRUC__V1__GOVERNANCE__ACT_GIVE_GRANT;
    governance.give_grant = &grant;
    act(&governance);
}

static void withdraw_grant(void)
{
    Truc__V1__Governance governance = TRUC__V1__GOVERNANCE__INIT;
    Truc__V1__WithdrawGrant withdrawal = TRUC__V1__WITHDRAW_GRANT__INIT;
    unsigned at = (unsigned)sim_pick(grants);
    char name[24];

    if (grants == 0 || !given[at])
        return;
    given[at] = false;
    snprintf(name, sizeof name, "grant-%u", at);
    withdrawal.grant = name;
    governance.act_case = TRUC__V1__GOVERNANCE__ACT_WITHDRAW_GRANT;
    governance.withdraw_grant = &withdrawal;
    act(&governance);
}

static void suspend(struct world_agency *agency, bool suspended)
{
    Truc__V1__Governance governance = TRUC__V1__GOVERNANCE__INIT;
    Truc__V1__AgencyRef reference = TRUC__V1__AGENCY_REF__INIT;

    agency->suspended = suspended;
    reference.agency = agency->code;
    governance.act_case =
        suspended ? TRUC__V1__GOVERNANCE__ACT_SUSPEND_AGENCY : TRUC__V1__GOVERNANCE__ACT_RESUME_AGENCY;
    if (suspended)
        governance.suspend_agency = &reference;
    else
        governance.resume_agency = &reference;
    act(&governance);
}

/* A new key, and the old one is no good any more. What was sealed with it and is not in the log is refused. */
static void roll_key(struct world_agency *agency, unsigned spare)
{
    Truc__V1__Governance governance = TRUC__V1__GOVERNANCE__INIT;
    Truc__V1__AddKey addition; /* (their __INIT lacks braces) */
    Truc__V1__RevokeKey revocation;
    struct truc_key *key = sim_key(spare);
    struct truc_bytes spki = truc_key_spki(key);

    if (agency->rolls++ > 0)
        return;
    truc__v1__add_key__init(&addition);
    truc__v1__revoke_key__init(&revocation);
    addition.agency = revocation.agency = agency->code;
    addition.key_case = TRUC__V1__ADD_KEY__KEY_SPKI;
    addition.spki = (ProtobufCBinaryData){spki.size, (uint8_t *)(uintptr_t)spki.data};
    governance.act_case = TRUC__V1__GOVERNANCE__ACT_ADD_KEY;
    governance.add_key = &addition;
    act(&governance);
    revocation.key_case = TRUC__V1__REVOKE_KEY__KEY_KEYID;
    revocation.keyid = (char *)(uintptr_t)truc_key_id(agency->key);
    governance.act_case = TRUC__V1__GOVERNANCE__ACT_REVOKE_KEY;
    governance.revoke_key = &revocation;
    act(&governance);
    agency->key = key;
    world.counts[DID_ROLL_KEY]++;
    client_restart_all(agency);
}

static void set_quota(const struct world_agency *agency, uint32_t events_per_s)
{
    Truc__V1__Governance governance = TRUC__V1__GOVERNANCE__INIT;
    Truc__V1__SetQuota quota = TRUC__V1__SET_QUOTA__INIT;

    quota.agency = (char *)agency->code;
    quota.events_per_s = events_per_s;
    governance.act_case = TRUC__V1__GOVERNANCE__ACT_SET_QUOTA;
    governance.set_quota = &quota;
    act(&governance);
}

static void dead_letter(const struct world_agency *agency)
{
    Truc__V1__Governance governance = TRUC__V1__GOVERNANCE__INIT;
    Truc__V1__DeadLetterAct letter = TRUC__V1__DEAD_LETTER_ACT__INIT;

    letter.agency = (char *)agency->code;
    letter.number = 1 + sim_pick(oracle_posts(oracle_number_of(agency->code)));
    letter.verb = sim_often(700) ? TRUC__V1__DEAD_LETTER_ACT__VERB__REQUEUE : TRUC__V1__DEAD_LETTER_ACT__VERB__DROP;
    governance.act_case = TRUC__V1__GOVERNANCE__ACT_DEAD_LETTER;
    governance.dead_letter = &letter;
    act(&governance);
}

/* A dead letter holds its subject for a day unless told otherwise: longer than anybody here lives. */
static void set_parameters(void)
{
    Truc__V1__Governance governance = TRUC__V1__GOVERNANCE__INIT;
    Truc__V1__Parameters parameters = TRUC__V1__PARAMETERS__INIT;

    parameters.hold_s = (uint32_t)(1 + sim_pick(5));
    parameters.max_attempts = (uint32_t)(2 + sim_pick(8));
    parameters.inbox_age_s = sim_often(200) ? (uint32_t)(3 + sim_pick(10)) : 0;
    governance.act_case = TRUC__V1__GOVERNANCE__ACT_PARAMETERS;
    governance.parameters = &parameters;
    act(&governance);
}

void governance_begin(struct client *client)
{
    administrator = client;
    set_parameters();
    for (size_t i = 1; i < world.agency_count; i++)
        enrol(&world.agencies[i], (unsigned)sim_pick(4));
    for (unsigned i = 0; i < 2 + world.plan.agencies; i++)
        give_grant();
}

bool governance_is_ready(void)
{
    return client_unanswered(administrator) == 0;
}

void governance_stir(void)
{
    struct world_agency *agency = &world.agencies[1 + sim_pick(world.plan.agencies)];

    if (world.plan.revocations && sim_often(60)) {
        unsigned at = 1 + (unsigned)sim_pick(world.plan.agencies);
        roll_key(&world.agencies[at], SIM_SPARE_KEY + at);
        return;
    }
    switch (sim_pick(8)) {
    case 0:
    case 1:
    case 2:
        give_grant();
        return;
    case 3:
    case 4:
        withdraw_grant();
        return;
    case 5:
        suspend(agency, !agency->suspended);
        return;
    case 6:
        set_quota(agency, sim_often(500) ? (uint32_t)sim_pick(50) : 0);
        return;
    default:
        dead_letter(agency);
        return;
    }
}

void governance_mend(void)
{
    for (size_t i = 1; i < world.agency_count; i++) {
        if (world.agencies[i].suspended)
            suspend(&world.agencies[i], false);
        set_quota(&world.agencies[i], 0);
    }
}
