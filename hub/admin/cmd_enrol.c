/* truc agency add|profile: a new agency, with keys made here or with its own. */
#include "hub/admin/keys.h"
#include "hub/admin/session.h"

#include <inttypes.h>

/* One full seal a second: no office reaches that with its people's work, a program that runs wild does at once. */
#define DEFAULT_EVENTS_PER_S 1024
#define DEFAULT_BYTES_PER_S 4194304

static enum admin_exit read_role(const struct admin_call *call, Truc__V1__Role *out)
{
    const char *role = admin_text(call, "role");
    *out = TRUC__V1__ROLE__ROLE_AGENCY;
    if (role == NULL || strcmp(role, "agency") == 0) {
        return ADMIN_OK;
    }
    if (strcmp(role, "administrator") == 0) {
        *out = TRUC__V1__ROLE__ROLE_ADMINISTRATOR;
        return ADMIN_OK;
    }
    if (strcmp(role, "auditor") == 0) {
        *out = TRUC__V1__ROLE__ROLE_AUDITOR;
        return ADMIN_OK;
    }
    return admin_fail(call, ADMIN_USAGE, "--role: '%s' is not one of agency, administrator, auditor", role);
}

/* Administrators have no limit unless one is asked for: their acts must not queue up behind a large replay. */
static enum admin_exit read_quota(const struct admin_call *call, Truc__V1__EnrolAgency *enrolment)
{
    bool none = admin_flag(call, "no-quota"), given = admin_value(call, "events-per-s")->given;
    bool unlimited = none || enrolment->role == TRUC__V1__ROLE__ROLE_ADMINISTRATOR;
    uint64_t events = admin_number(call, "events-per-s", unlimited ? 0 : DEFAULT_EVENTS_PER_S);
    if (none && (given || admin_value(call, "bytes-per-s")->given)) {
        return admin_fail(call, ADMIN_USAGE, "--no-quota and a quota contradict each other");
    }
    if (events > UINT32_MAX) {
        return admin_fail(call, ADMIN_USAGE, "--events-per-s: at most %u; 0 is no limit", UINT32_MAX);
    }
    enrolment->quota_events_per_s = (uint32_t)events;
    enrolment->quota_bytes_per_s = admin_number(call, "bytes-per-s", unlimited ? 0 : DEFAULT_BYTES_PER_S);
    return ADMIN_OK;
}

/* The keys to enrol, given ones or new ones, and the profile folder where one is wanted. */
static enum admin_exit get_keys(struct admin_call *call, const struct truc_client_config *own, const char *agency,
                                struct admin_new_keys *keys)
{
    const char *folder = admin_text(call, "profile-out");
    bool has_transport = false;
    enum admin_exit exit_code;
    if (admin_text(call, "key") != NULL) {
        exit_code = admin_keys_read(call, keys, &has_transport);
        return exit_code == ADMIN_OK && folder != NULL ? admin_profile_make_public(call, folder, agency, own)
                                                       : exit_code;
    }
    exit_code = admin_keys_make(call, folder, keys);
    if (exit_code == ADMIN_OK) {
        exit_code = admin_profile_make(call, folder, agency, own);
        if (exit_code != ADMIN_OK) {
            admin_profile_remove(folder);
        }
    }
    return exit_code;
}

static void explain(const struct admin_call *call, const Truc__V1__EnrolAgency *enrolment)
{
    const char *folder = admin_text(call, "profile-out");
    bool own_keys = admin_text(call, "key") != NULL;
    if (own_keys && folder != NULL) {
        admin_profile_explain(folder, enrolment->agency);
    } else if (own_keys) {
        printf("It needs the rest of its profile beside its own keys: truc agency profile %s --out DIR\n",
               enrolment->agency);
    } else {
        printf("Its profile is in %s: hand this folder to the agency over a safe way and keep no copy.\n", folder);
    }
    if (enrolment->quota_events_per_s != 0 || enrolment->quota_bytes_per_s != 0) {
        printf("It may send %" PRIu32 " events and %" PRIu64 " bytes a second (0: any number); `truc agency quota` "
               "changes that.\n",
               enrolment->quota_events_per_s, enrolment->quota_bytes_per_s);
    }
    if (enrolment->role == TRUC__V1__ROLE__ROLE_AGENCY) {
        puts("Nothing reaches it or leaves it before a grant says so: truc grant add ...");
    }
}

static enum admin_exit submit(struct admin_call *call, struct admin_session *session, Truc__V1__EnrolAgency *enrolment,
                              struct admin_new_keys *keys)
{
    char did[128];
    const char *folder = admin_text(call, "profile-out");
    Truc__V1__Governance act = admin_act(call, TRUC__V1__GOVERNANCE__ACT_ENROL_AGENCY);
    enrolment->transport_key = (ProtobufCBinaryData){sizeof(keys->transport), keys->transport};
    enrolment->spki = admin_spki(keys->signing);
    act.enrol_agency = enrolment;
    snprintf(did, sizeof(did), "Agency %s is enrolled", enrolment->agency);
    enum admin_exit exit_code = admin_govern_in(session, &act, did);
    if (exit_code == ADMIN_OK && !call->json) {
        explain(call, enrolment);
    } else if (exit_code == ADMIN_REFUSED && folder != NULL) {
        admin_profile_remove(folder); /* keys and profiles that nobody enrolled are of no use */
    } else if (exit_code != ADMIN_OK && folder != NULL) {
        fprintf(stderr, "truc: whether %s is enrolled is not known yet; its profile stays in %s\n", enrolment->agency,
                folder);
    }
    return exit_code;
}

static enum admin_exit check_keys(const struct admin_call *call)
{
    bool key = admin_text(call, "key") != NULL, transport = admin_text(call, "transport-key") != NULL;
    if (key != transport || (!key && admin_text(call, "profile-out") == NULL)) {
        return admin_fail(call, ADMIN_USAGE,
                          "give the agency's own public keys (--key sign.pub.pem --transport-key transport.public), "
                          "or --profile-out DIR alone to have keys made for it");
    }
    if (key && admin_text(call, "algorithm") != NULL) {
        return admin_fail(call, ADMIN_USAGE, "--algorithm is for keys that are made; with --key the agency chose");
    }
    return admin_endpoints_check(call);
}

static enum admin_exit run_add(struct admin_call *call)
{
    char agency[TRUC_AGENCY_MAX + 1];
    char *groups[ADMIN_LIST_MAX];
    struct admin_new_keys keys = {0};
    struct admin_session *session = NULL;
    Truc__V1__EnrolAgency enrolment = TRUC__V1__ENROL_AGENCY__INIT;
    const struct admin_value *given = admin_value(call, "group");

    enum admin_exit exit_code = admin_agency(call, call->operands[0], agency);
    if (exit_code == ADMIN_OK) {
        exit_code = check_keys(call);
    }
    if (exit_code == ADMIN_OK) {
        exit_code = read_role(call, &enrolment.role);
    }
    if (exit_code == ADMIN_OK) {
        exit_code = read_quota(call, &enrolment);
    }
    if (exit_code != ADMIN_OK) {
        return exit_code;
    }
    enrolment.agency = agency;
    enrolment.name = admin_proto_text(admin_text(call, "name"));
    for (size_t i = 0; i < given->count; i++) {
        /* "@land" is how grants write a group; its name is "land" */
        groups[i] = admin_proto_text(given->items[i] + (given->items[i][0] == '@'));
    }
    enrolment.groups = groups;
    enrolment.n_groups = given->count;
    exit_code = admin_session_open(call, NULL, &session);
    if (exit_code == ADMIN_OK) {
        exit_code = get_keys(call, admin_session_config(session), agency, &keys);
    }
    if (exit_code == ADMIN_OK) {
        exit_code = submit(call, session, &enrolment, &keys);
    }
    truc_key_free(&keys.signing);
    admin_session_close(&session);
    return exit_code;
}

static enum admin_exit run_profile(struct admin_call *call)
{
    char agency[TRUC_AGENCY_MAX + 1];
    const char *folder = admin_text(call, "out");
    struct truc_profile *profile = NULL;
    enum admin_exit exit_code = admin_agency(call, call->operands[0], agency);
    if (exit_code == ADMIN_OK) {
        exit_code = admin_endpoints_check(call);
    }
    if (exit_code == ADMIN_OK) {
        exit_code = admin_profile(call, &profile);
    }
    if (exit_code == ADMIN_OK) {
        exit_code = admin_profile_make_public(call, folder, agency, truc_profile_config(profile));
    }
    if (exit_code == ADMIN_OK && call->json) {
        json_t *row = json_pack("{s:s, s:s}", "agency", agency, "folder", folder);
        admin_must(row != NULL);
        (void)admin_json_line(stdout, row);
        json_decref(row);
    } else if (exit_code == ADMIN_OK) {
        printf("The public part of the profile of %s was made.\n", agency);
        admin_profile_explain(folder, agency);
    }
    truc_profile_free(&profile);
    return exit_code;
}

static const struct admin_option add_options[] = {
    ADMIN_ONLINE_OPTIONS,
    {"name", ADMIN_TEXT, "NAME", "the agency's name for people", true},
    {"group", ADMIN_LIST, "GROUP", "a group that it belongs to; grants may name groups as @GROUP", false},
    {"role", ADMIN_TEXT, "ROLE", "agency (default), administrator, auditor", false},
    {"key", ADMIN_TEXT, "PEM", "its own public signing key, a file (sign.pub.pem)", false},
    {"transport-key", ADMIN_TEXT, "KEY", "its own public transport key: 40 characters, or the file transport.public",
     false},
    {"profile-out", ADMIN_TEXT, "DIR",
     "a new folder for its profile: with its own keys the public part only, without them keys are made in it", false},
    {"algorithm", ADMIN_TEXT, "NAME", "of a signing key that is made: p256 (default), ed25519, rsa", false},
    ADMIN_ENDPOINT_OPTION,
    {"events-per-s", ADMIN_NUMBER, "N", "it may send N events a second (default 1024; 0: no limit)", false},
    {"bytes-per-s", ADMIN_NUMBER, "N", "it may send N bytes a second (default 4194304; 0: no limit)", false},
    {"no-quota", ADMIN_FLAG, NULL, "it may send as much as it likes; so may administrators without being told", false},
    ADMIN_REASON_OPTION,
    ADMIN_END};
static const struct admin_option profile_options[] = {
    {"profile", ADMIN_TEXT, "DIR", "own profile folder (default: environment TRUC_PROFILE)", false},
    {"out", ADMIN_TEXT, "DIR", "a new folder for profile.yaml, hub.public and note.key", true},
    ADMIN_ENDPOINT_OPTION,
    ADMIN_END};

const struct admin_command admin_enrol_commands[] = {
    {"agency add", "CODE", 1, 1, "enrol an agency, with keys of its own or made here", add_options, run_add},
    {"agency profile", "CODE", 1, 1, "make the public part of a profile: the hub's address and keys", profile_options,
     run_profile},
    {NULL, NULL, 0, 0, NULL, NULL, NULL}};
