/* truc key new|add|list|revoke */
#include "hub/admin/keys.h"
#include "hub/admin/session.h"

static enum admin_exit run_new(struct admin_call *call)
{
    struct admin_new_keys keys = {0};
    const char *folder = admin_text(call, "out");
    enum admin_exit exit_code = admin_keys_make(call, folder, &keys);
    if (exit_code != ADMIN_OK) {
        return exit_code;
    }
    json_t *row =
        json_pack("{s:s, s:s, s:s, s:s}", "folder", folder, "keyid", truc_key_id(keys.signing), "algorithm",
                  truc_algorithm_name(truc_key_algorithm(keys.signing)), "transport_key", keys.transport_text);
    admin_must(row != NULL);
    if (call->json) {
        (void)admin_json_line(stdout, row);
    } else {
        printf("Keys were made in %s\n"
               "  sign.pem transport.secret          stay with you\n"
               "  sign.pub.pem transport.public      go to the hub's administrator:\n"
               "      truc agency add CODE --name NAME --key sign.pub.pem --transport-key '%s'\n"
               "  keyid %s (%s): read it to the administrator over the telephone\n",
               folder, keys.transport_text, truc_key_id(keys.signing),
               truc_algorithm_name(truc_key_algorithm(keys.signing)));
    }
    json_decref(row);
    truc_key_free(&keys.signing);
    return ADMIN_OK;
}

static enum admin_exit run_add(struct admin_call *call)
{
    char agency[TRUC_AGENCY_MAX + 1], did[256];
    uint8_t transport[32];
    struct truc_key *key = NULL;
    Truc__V1__AddKey add;
    Truc__V1__Governance act = TRUC__V1__GOVERNANCE__INIT;
    const char *pem = admin_text(call, "key"), *z85 = admin_text(call, "transport-key");
    truc__v1__add_key__init(&add);
    enum admin_exit exit_code = admin_agency(call, call->operands[0], agency);
    if (exit_code == ADMIN_OK && (pem == NULL) == (z85 == NULL)) {
        exit_code = admin_fail(call, ADMIN_USAGE, "give either --key PEM or --transport-key Z85");
    }
    if (exit_code == ADMIN_OK && pem != NULL) {
        exit_code = admin_key_read(call, pem, &key);
    } else if (exit_code == ADMIN_OK) {
        exit_code = admin_transport_read(call, z85, transport);
    }
    if (exit_code != ADMIN_OK) {
        return exit_code;
    }
    add.agency = agency;
    if (key != NULL) {
        struct truc_bytes spki = truc_key_spki(key);
        add.key_case = TRUC__V1__ADD_KEY__KEY_SPKI;
        add.spki = (ProtobufCBinaryData){spki.size, (uint8_t *)(uintptr_t)spki.data};
        snprintf(did, sizeof(did), "Agency %s has the signing key %s", agency, truc_key_id(key));
    } else {
        add.key_case = TRUC__V1__ADD_KEY__KEY_TRANSPORT_KEY;
        add.transport_key = (ProtobufCBinaryData){sizeof(transport), transport};
        snprintf(did, sizeof(did), "Agency %s has one more transport key", agency);
    }
    act.reason = admin_proto_text(admin_text(call, "reason"));
    act.act_case = TRUC__V1__GOVERNANCE__ACT_ADD_KEY;
    act.add_key = &add;
    exit_code = admin_govern_once(call, &act, did);
    truc_key_free(&key);
    return exit_code;
}

static enum admin_exit run_list(struct admin_call *call)
{
    static const struct admin_column columns[] = {{"agency", "AGENCY", ADMIN_COLUMN_TEXT},
                                                  {"keyid", "KEYID", ADMIN_COLUMN_TEXT},
                                                  {"transport_key", "TRANSPORT KEY", ADMIN_COLUMN_TEXT},
                                                  {"algorithm", "ALGORITHM", ADMIN_COLUMN_TEXT},
                                                  {"state", "STATE", ADMIN_COLUMN_TEXT},
                                                  {"added_at", "ADDED AT", ADMIN_COLUMN_TIME},
                                                  {"revoked_at", "REVOKED AT", ADMIN_COLUMN_TIME},
                                                  {NULL, NULL, ADMIN_COLUMN_TEXT}};
    char agency[TRUC_AGENCY_MAX + 1];
    if (call->operand_count == 0) {
        return admin_query_changed(call, "keys", (const char *const[]){NULL}, columns, "no keys", admin_transport_rows);
    }
    enum admin_exit exit_code = admin_agency(call, call->operands[0], agency);
    return exit_code != ADMIN_OK ? exit_code
                                 : admin_query_changed(call, "keys", (const char *const[]){"agency", agency, NULL},
                                                       columns, "no keys", admin_transport_rows);
}

static enum admin_exit run_revoke(struct admin_call *call)
{
    char agency[TRUC_AGENCY_MAX + 1], did[256];
    uint8_t transport[32], digest[TRUC_HASH_SIZE];
    Truc__V1__RevokeKey revoke = TRUC__V1__REVOKE_KEY__INIT;
    Truc__V1__Governance act = TRUC__V1__GOVERNANCE__INIT;
    const char *z85 = admin_text(call, "transport-key");
    enum admin_exit exit_code = admin_agency(call, call->operands[0], agency);
    if (exit_code == ADMIN_OK && (call->operand_count == 2) == (z85 != NULL)) {
        exit_code =
            admin_fail(call, ADMIN_USAGE, "give either a KEYID or --transport-key Z85 (`truc key list %s`)", agency);
    }
    if (exit_code == ADMIN_OK && z85 != NULL) {
        exit_code = admin_transport_read(call, z85, transport);
        revoke.key_case = TRUC__V1__REVOKE_KEY__KEY_TRANSPORT_KEY;
        revoke.transport_key = (ProtobufCBinaryData){sizeof(transport), transport};
    } else if (exit_code == ADMIN_OK) {
        if (truc_unhex(truc_bytes_of(call->operands[1]), digest, sizeof(digest)) != TRUC_OK) {
            exit_code = admin_fail(call, ADMIN_USAGE, "a KEYID is 64 hexadecimal digits (`truc key list %s`)", agency);
        }
        revoke.key_case = TRUC__V1__REVOKE_KEY__KEY_KEYID;
        revoke.keyid = call->operands[1];
    }
    if (exit_code != ADMIN_OK) {
        return exit_code;
    }
    revoke.agency = agency;
    act.reason = admin_proto_text(admin_text(call, "reason"));
    act.act_case = TRUC__V1__GOVERNANCE__ACT_REVOKE_KEY;
    act.revoke_key = &revoke;
    snprintf(did, sizeof(did), "The %s key of %s is revoked", z85 != NULL ? "transport" : "signing", agency);
    return admin_govern_once(call, &act, did);
}

static const struct admin_option new_options[] = {
    {"out", ADMIN_TEXT, "DIR", "a new folder for the keys", true},
    {"algorithm", ADMIN_TEXT, "NAME", "p256 (default), ed25519, rsa", false},
    ADMIN_END};
static const struct admin_option add_options[] = {ADMIN_ONLINE_OPTIONS,
                                                  {"key", ADMIN_TEXT, "PEM", "a public signing key", false},
                                                  {"transport-key", ADMIN_TEXT, "Z85", "a public transport key", false},
                                                  ADMIN_REASON_OPTION,
                                                  ADMIN_END};
static const struct admin_option list_options[] = {ADMIN_ONLINE_OPTIONS, ADMIN_END};
static const struct admin_option revoke_options[] = {
    ADMIN_ONLINE_OPTIONS,
    {"transport-key", ADMIN_TEXT, "Z85", "revoke this transport key instead of a signing key", false},
    ADMIN_REASON_OPTION,
    ADMIN_END};

const struct admin_command admin_key_commands[] = {
    {"key new", "", 0, 0, "make a signing and a transport key pair in a new folder", new_options, run_new},
    {"key add", "CODE", 1, 1, "enrol one more key of an agency", add_options, run_add},
    {"key list", "[CODE]", 0, 1, "keys of one or all agencies", list_options, run_list},
    {"key revoke", "CODE [KEYID]", 1, 2, "revoke a key; what it sealed before stays valid", revoke_options, run_revoke},
    {NULL, NULL, 0, 0, NULL, NULL, NULL}};
