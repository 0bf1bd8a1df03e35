/* truc key new|add|list|revoke */
#include "hub/admin/keys.h"
#include "hub/admin/session.h"

static void explain_new(const char *folder, const struct admin_new_keys *keys)
{
    printf("Keys were made in %s\n"
           "  sign.pem      transport.secret     stay with you: nobody else ever needs them\n"
           "  sign.pub.pem  transport.public     go to the hub's administrator, who enrols a new agency with\n"
           "      truc agency add CODE --name NAME --key sign.pub.pem --transport-key transport.public "
           "--profile-out DIR\n"
           "    and sends DIR back: copy its files into %s, which is then your profile.\n"
           "    An agency that is enrolled already gets the new key beside its old one with\n"
           "      truc key add CODE --key sign.pub.pem\n"
           "    then sign.pem replaces the old one in your profile, and `truc key revoke` ends that.\n"
           "  keyid %s (%s)\n"
           "  transport key %s\n"
           "    read both to the administrator over the telephone\n",
           folder, folder, truc_key_id(keys->signing), truc_algorithm_name(truc_key_algorithm(keys->signing)),
           keys->transport_text);
}

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
        explain_new(folder, &keys);
    }
    json_decref(row);
    truc_key_free(&keys.signing);
    return ADMIN_OK;
}

static enum admin_exit run_add(struct admin_call *call)
{
    char agency[TRUC_AGENCY_MAX + 1], did[256];
    struct admin_new_keys keys = {0};
    bool has_transport = false;
    Truc__V1__AddKey add;
    Truc__V1__Governance act = admin_act(call, TRUC__V1__GOVERNANCE__ACT_ADD_KEY);
    truc__v1__add_key__init(&add);
    enum admin_exit exit_code = admin_agency(call, call->operands[0], agency);
    if (exit_code == ADMIN_OK && (admin_text(call, "key") == NULL) == (admin_text(call, "transport-key") == NULL)) {
        exit_code = admin_fail(call, ADMIN_USAGE, "give either --key PEM or --transport-key KEY");
    }
    if (exit_code == ADMIN_OK) {
        exit_code = admin_keys_read(call, &keys, &has_transport);
    }
    if (exit_code != ADMIN_OK) {
        return exit_code;
    }
    add.agency = agency;
    if (has_transport) {
        add.key_case = TRUC__V1__ADD_KEY__KEY_TRANSPORT_KEY;
        add.transport_key = (ProtobufCBinaryData){sizeof(keys.transport), keys.transport};
        snprintf(did, sizeof(did), "Agency %s has one more transport key", agency);
    } else {
        add.key_case = TRUC__V1__ADD_KEY__KEY_SPKI;
        add.spki = admin_spki(keys.signing);
        snprintf(did, sizeof(did), "Agency %s has the signing key %s", agency, truc_key_id(keys.signing));
    }
    act.add_key = &add;
    exit_code = admin_govern_once(call, &act, did);
    truc_key_free(&keys.signing);
    return exit_code;
}

static enum admin_exit run_list(struct admin_call *call)
{
    char agency[TRUC_AGENCY_MAX + 1];
    const char *arguments[3] = {NULL};
    if (call->operand_count > 0) {
        enum admin_exit exit_code = admin_agency(call, call->operands[0], agency);
        if (exit_code != ADMIN_OK) {
            return exit_code;
        }
        arguments[0] = "agency";
        arguments[1] = agency;
    }
    return admin_query_changed(call, "keys", arguments, admin_key_columns, "no keys", admin_transport_rows);
}

static enum admin_exit read_revocation(const struct admin_call *call, const char *agency, uint8_t transport[32],
                                       Truc__V1__RevokeKey *revoke)
{
    uint8_t digest[TRUC_HASH_SIZE];
    const char *text = admin_text(call, "transport-key");
    if ((call->operand_count == 2) == (text != NULL)) {
        return admin_fail(call, ADMIN_USAGE, "give either a KEYID or --transport-key KEY (`truc key list %s`)", agency);
    }
    if (text != NULL) {
        revoke->key_case = TRUC__V1__REVOKE_KEY__KEY_TRANSPORT_KEY;
        revoke->transport_key = (ProtobufCBinaryData){32, transport};
        return admin_transport_read(call, text, transport);
    }
    revoke->key_case = TRUC__V1__REVOKE_KEY__KEY_KEYID;
    revoke->keyid = call->operands[1];
    return truc_unhex(truc_bytes_of(revoke->keyid), digest, sizeof(digest)) == TRUC_OK
               ? ADMIN_OK
               : admin_fail(call, ADMIN_USAGE, "a KEYID is 64 hexadecimal digits (`truc key list %s`)", agency);
}

/* Is it the last key of its kind that the agency has, and valid? */
static bool is_last(json_t *rows, const Truc__V1__RevokeKey *revoke)
{
    bool transport = revoke->key_case == TRUC__V1__REVOKE_KEY__KEY_TRANSPORT_KEY, found = false;
    const char *column = transport ? "transport_key" : "keyid";
    char hex[65] = "";
    size_t at;
    json_t *row;
    if (transport) {
        truc_hex(truc_bytes(revoke->transport_key.data, 32), hex);
    }
    json_array_foreach(rows, at, row)
    {
        found = found || (strcmp(admin_row_text(row, "state"), "valid") == 0 &&
                          strcmp(admin_row_text(row, column), transport ? hex : revoke->keyid) == 0);
    }
    return found && admin_keys_valid(rows, column) == 1;
}

static enum admin_exit ask_if_last(const struct admin_call *call, struct admin_session *session,
                                   const Truc__V1__RevokeKey *revoke)
{
    json_t *rows = NULL;
    char warning[256];
    bool transport = revoke->key_case == TRUC__V1__REVOKE_KEY__KEY_TRANSPORT_KEY;
    const char *const arguments[] = {"agency", revoke->agency, NULL};
    enum admin_exit exit_code = admin_session_query(session, "keys", arguments, &rows);
    if (exit_code == ADMIN_OK && is_last(rows, revoke)) {
        snprintf(warning, sizeof(warning),
                 "this is the last valid %s key of %s: without it the agency can %s until another one is enrolled "
                 "(truc key add)",
                 transport ? "transport" : "signing", revoke->agency, transport ? "not connect" : "send nothing");
        exit_code = admin_confirm(call, warning);
    }
    json_decref(rows);
    return exit_code;
}

static enum admin_exit run_revoke(struct admin_call *call)
{
    char agency[TRUC_AGENCY_MAX + 1], did[256];
    uint8_t transport[32];
    struct admin_session *session = NULL;
    Truc__V1__RevokeKey revoke = TRUC__V1__REVOKE_KEY__INIT;
    Truc__V1__Governance act = admin_act(call, TRUC__V1__GOVERNANCE__ACT_REVOKE_KEY);
    enum admin_exit exit_code = admin_agency(call, call->operands[0], agency);
    if (exit_code == ADMIN_OK) {
        exit_code = read_revocation(call, agency, transport, &revoke);
    }
    if (exit_code == ADMIN_OK) {
        exit_code = admin_session_open(call, NULL, &session);
    }
    revoke.agency = agency;
    act.revoke_key = &revoke;
    if (exit_code == ADMIN_OK) {
        exit_code = ask_if_last(call, session, &revoke);
    }
    if (exit_code == ADMIN_OK) {
        snprintf(did, sizeof(did), "The %s key of %s is revoked",
                 revoke.key_case == TRUC__V1__REVOKE_KEY__KEY_TRANSPORT_KEY ? "transport" : "signing", agency);
        exit_code = admin_govern_in(session, &act, did);
    }
    admin_session_close(&session);
    return exit_code;
}

static const struct admin_option new_options[] = {
    {"out", ADMIN_TEXT, "DIR", "a new folder for the keys", true},
    {"algorithm", ADMIN_TEXT, "NAME", "of the signing key: p256 (default), ed25519, rsa", false},
    ADMIN_END};
static const struct admin_option add_options[] = {
    ADMIN_ONLINE_OPTIONS,
    {"key", ADMIN_TEXT, "PEM", "the public signing key, a file (sign.pub.pem)", false},
    {"transport-key", ADMIN_TEXT, "KEY", "or the public transport key: 40 characters, or the file transport.public",
     false},
    ADMIN_REASON_OPTION,
    ADMIN_END};
static const struct admin_option list_options[] = {ADMIN_ONLINE_OPTIONS, ADMIN_END};
static const struct admin_option revoke_options[] = {
    ADMIN_ONLINE_OPTIONS,
    {"transport-key", ADMIN_TEXT, "KEY", "revoke this transport key instead of a signing key", false},
    ADMIN_REASON_OPTION,
    ADMIN_YES_OPTION,
    ADMIN_END};

const struct admin_command admin_key_commands[] = {
    {"key new", "", 0, 0, "make the key pairs of an agency, on its own machine", new_options, run_new},
    {"key add", "CODE", 1, 1, "enrol one more public key of an enrolled agency", add_options, run_add},
    {"key list", "[CODE]", 0, 1, "the keys of one agency, or of all", list_options, run_list},
    {"key revoke", "CODE [KEYID]", 1, 2, "end a key; what it signed before stays valid", revoke_options, run_revoke},
    {NULL, NULL, 0, 0, NULL, NULL, NULL}};
