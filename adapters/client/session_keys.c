/* Public keys of other agencies: told by the hub, kept in the store. A key stays for ever: a revoked one still verifies
 * what was sealed before, and the hub refuses what was sealed after. */
#include "adapters/client/session_internal.h"

#include <jansson.h>

#define PEERS_MAX 65536u

static int compare(const struct peer_key *peer, const char *agency, const char *keyid)
{
    int order = strcmp(peer->keyid, keyid);
    return order != 0 ? order : strcmp(peer->agency, agency);
}

/* Where the key is, or where it belongs. */
static size_t peer_place(const struct client_session *s, const char *agency, const char *keyid)
{
    size_t low = 0, high = s->peer_count;
    while (low < high) {
        size_t middle = (low + high) / 2;
        if (compare(&s->peers[middle], agency, keyid) < 0) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

struct truc_key *session_key_of(const struct client_session *s, const char *agency, const char *keyid)
{
    if (strcmp(agency, s->agency) == 0 && strcmp(keyid, truc_key_id(s->key)) == 0) {
        return s->key;
    }
    size_t at = peer_place(s, agency, keyid);
    return at < s->peer_count && compare(&s->peers[at], agency, keyid) == 0 ? s->peers[at].key : NULL;
}

const struct truc_key *client_session_peer_key(const struct client_session *s, const char *agency, const char *keyid)
{
    return session_key_of(s, agency, keyid);
}

/* Takes the key in any case. */
static truc_error remember(struct client_session *s, struct truc_bytes agency, struct truc_key *key)
{
    struct peer_key peer = {.key = key};
    memcpy(peer.agency, agency.data, agency.size);
    memcpy(peer.keyid, truc_key_id(key), TRUC_KEYID_HEX + 1);
    if (session_key_of(s, peer.agency, peer.keyid) != NULL || s->peer_count >= PEERS_MAX) {
        truc_key_free(&key);
        return TRUC_OK;
    }
    if (s->peer_count == s->peer_capacity) {
        size_t capacity = s->peer_capacity == 0 ? 16 : s->peer_capacity * 2;
        struct peer_key *peers = realloc(s->peers, capacity * sizeof *peers);
        if (peers == NULL) {
            truc_key_free(&key);
            return TRUC_E_NOMEM;
        }
        s->peers = peers;
        s->peer_capacity = capacity;
    }
    size_t at = peer_place(s, peer.agency, peer.keyid);
    memmove(&s->peers[at + 1], &s->peers[at], (s->peer_count - at) * sizeof *s->peers);
    s->peers[at] = peer;
    s->peer_count++;
    return TRUC_OK;
}

static truc_error store_key(struct client_session *s, struct truc_bytes agency, const struct truc_key *key)
{
    const struct truc_bytes zero = truc_bytes("", 1);
    const struct truc_bytes parts[] = {agency, zero, truc_bytes(truc_key_id(key), TRUC_KEYID_HEX)};
    struct truc_hash hash;
    truc_sha256_parts(&hash, parts, 3);
    char head[TRUC_AGENCY_MAX + 1] = {0};
    memcpy(head, agency.data, agency.size);
    return s->store.put(s->store.context, STORE_KEYS, store_get_u64(hash.bytes), truc_bytes(head, agency.size + 1),
                        truc_key_spki(key));
}

truc_error session_load_keys(struct client_session *s)
{
    struct truc_bytes row;
    uint64_t at = 0;
    truc_error error;
    while ((error = s->store.next(s->store.context, STORE_KEYS, &at, &row)) == TRUC_OK) {
        size_t length = row.size > 0 ? strnlen((const char *)row.data, row.size) : 0;
        struct truc_key *key;
        if (length == 0 || length > TRUC_AGENCY_MAX || length == row.size ||
            truc_key_from_spki(truc_bytes(row.data + length + 1, row.size - length - 1), &key) != TRUC_OK) {
            return TRUC_E_CORRUPT;
        }
        error = remember(s, truc_bytes(row.data, length), key);
        if (error != TRUC_OK || at == UINT64_MAX) {
            return error;
        }
        at++;
    }
    return error == TRUC_E_NOT_FOUND ? TRUC_OK : error;
}

/* One row of the query "keys": transport keys and what does not parse are passed over. */
static truc_error take_row(struct client_session *s, const json_t *row)
{
    const char *agency = json_string_value(json_object_get(row, "agency"));
    const char *keyid = json_string_value(json_object_get(row, "keyid"));
    const char *spki = json_string_value(json_object_get(row, "spki"));
    struct truc_buffer der = {0};
    struct truc_key *key = NULL;
    if (agency == NULL || keyid == NULL || spki == NULL || !truc_agency_is_valid(truc_bytes_of(agency))) {
        return TRUC_OK;
    }
    truc_error error = truc_base64_decode(truc_bytes_of(spki), &der);
    if (error == TRUC_OK) {
        error = truc_key_from_spki(truc_buffer_view(&der), &key);
    }
    truc_buffer_close(&der);
    if (error != TRUC_OK || strcmp(truc_key_id(key), keyid) != 0) {
        truc_key_free(&key);
        return error == TRUC_E_NOMEM ? error : TRUC_OK;
    }
    if (session_key_of(s, agency, keyid) == NULL) {
        error = store_key(s, truc_bytes_of(agency), key);
    }
    if (error != TRUC_OK) {
        truc_key_free(&key);
        return error;
    }
    return remember(s, truc_bytes_of(agency), key);
}

truc_error session_on_keys(struct client_session *s, struct truc_bytes text)
{
    json_t *rows = json_loadb((const char *)text.data, text.size, JSON_REJECT_DUPLICATES, NULL);
    truc_error error = TRUC_OK;
    for (size_t i = 0; i < json_array_size(rows) && error == TRUC_OK; i++) {
        error = take_row(s, json_array_get(rows, i));
    }
    json_decref(rows);
    return error;
}

bool session_keys_under_way(const struct client_session *s, const char *agency)
{
    for (const struct ask *ask = s->asks; ask != NULL; ask = ask->next) {
        if (ask->kind == ASK_KEYS && strcmp(ask->agency, agency) == 0) {
            return true;
        }
    }
    return false;
}

truc_error session_want_keys(struct client_session *s, const char *agency)
{
    if (session_keys_under_way(s, agency)) {
        return TRUC_OK;
    }
    struct ask *ask = session_ask_new(s, ASK_KEYS);
    if (ask == NULL) {
        return TRUC_E_NOMEM;
    }
    (void)snprintf(ask->agency, sizeof ask->agency, "%s", agency);
    return TRUC_OK;
}

void session_keys_close(struct client_session *s)
{
    for (size_t i = 0; i < s->peer_count; i++) {
        truc_key_free(&s->peers[i].key);
    }
    free(s->peers);
}
