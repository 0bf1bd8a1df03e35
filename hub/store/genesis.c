/* Genesis: one governance event in one seal in one row, made as any other would be. */
#include "hub/store/genesis.h"

#include "hub/store/governance.h"
#include "hub/store/journal.h"
#include "hub/store/row.h"
#include "truc/seal.h"

#define MAP_BYTES (64u << 20) /* of this first open only: the quota is hub.yaml's */

bool hub_origin_is_valid(struct truc_bytes origin)
{
    for (size_t i = 0; i < origin.size; i++) {
        uint8_t c = origin.data[i];
        if (!((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' || c == '-' ||
              c == '_' || c == '/')) {
            return false;
        }
    }
    return origin.size > 0 && origin.size <= TRUC_ORIGIN_MAX;
}

static ProtobufCBinaryData binary_of(struct truc_bytes bytes)
{
    return (ProtobufCBinaryData){bytes.size, (uint8_t *)(uintptr_t)bytes.data};
}

static truc_error encode_act(const char *origin, struct truc_bytes note_key, const struct hub_founder *founders,
                             size_t count, struct truc_buffer *out)
{
    Truc__V1__EnrolAgency enrolments[HUB_ADMINISTRATORS_MAX], *list[HUB_ADMINISTRATORS_MAX];
    Truc__V1__Governance governance = TRUC__V1__GOVERNANCE__INIT;
    Truc__V1__Genesis genesis = TRUC__V1__GENESIS__INIT;
    char *note_text;
    if (count == 0 || count > HUB_ADMINISTRATORS_MAX) {
        return TRUC_E_INVALID;
    }
    if (asprintf(&note_text, "%.*s", (int)note_key.size, (const char *)note_key.data) < 0) {
        return TRUC_E_NOMEM;
    }
    for (size_t i = 0; i < count; i++) {
        truc__v1__enrol_agency__init(&enrolments[i]);
        enrolments[i].agency = (char *)(uintptr_t)founders[i].agency;
        enrolments[i].role = TRUC__V1__ROLE__ROLE_ADMINISTRATOR;
        enrolments[i].transport_key = binary_of(truc_bytes(founders[i].transport, sizeof founders[i].transport));
        enrolments[i].spki = binary_of(truc_key_spki(founders[i].key));
        list[i] = &enrolments[i];
    }
    genesis.origin = (char *)(uintptr_t)origin;
    genesis.note_key = note_text;
    genesis.n_administrators = count;
    genesis.administrators = list;
    governance.act_case = TRUC__V1__GOVERNANCE__ACT_GENESIS;
    governance.genesis = &genesis;
    truc_error error = truc_buffer_reserve(out, truc__v1__governance__get_packed_size(&governance));
    if (error == TRUC_OK) {
        out->size += truc__v1__governance__pack(&governance, out->data + out->size);
    }
    free(note_text);
    return error;
}

static truc_error encode_event(const char *source, struct truc_bytes act, int64_t now_us, struct truc_buffer *out)
{
    uint8_t salt[TRUC_SALT_SIZE];
    struct truc_event event = {
        .id = truc_bytes_of("genesis"),
        .source = truc_bytes_of(source),
        .spec_version = truc_bytes_of("1.0"),
        .type = truc_bytes_of(TRUC_TYPE_GOVERNANCE),
        .data_kind = TRUC_DATA_BINARY,
        .data = act,
    };
    truc_error error = truc_random(salt, sizeof salt);
    if (error == TRUC_OK) {
        error = truc_event_set_bytes(&event, "salt", truc_bytes(salt, sizeof salt));
    }
    if (error == TRUC_OK) {
        error = truc_event_set_time(&event, "time", now_us);
    }
    if (error == TRUC_OK) {
        error = truc_event_encode(&event, out);
    }
    return error;
}

static truc_error sign_seal(const char *origin, const struct hub_founder *founder, int64_t now_us,
                            struct hub_row_item *item, const struct hub_event_facts *facts,
                            struct truc_buffer *envelope)
{
    struct hub_seal_input *input = &item->input.u.seal;
    struct truc_seal *seal = &input->seal;
    struct truc_hash leaf = facts->leaf_hash;
    (void)snprintf(seal->origin, sizeof seal->origin, "%s", origin);
    (void)snprintf(seal->sender, sizeof seal->sender, "%s", founder->agency);
    (void)snprintf(seal->keyid, sizeof seal->keyid, "%s", truc_key_id(founder->key));
    seal->number = 1;
    seal->count = 1;
    seal->sealed_at_us = now_us;
    truc_merkle_root(&leaf, 1, &seal->root);
    truc_error error = truc_random(seal->chain, sizeof seal->chain);
    if (error == TRUC_OK) {
        error = truc_seal_sign(seal, founder->key, envelope, &input->digest);
    }
    input->envelope = truc_buffer_view(envelope);
    input->events = facts;
    item->input.kind = HUB_INPUT_SEAL;
    return error;
}

/* The event's facts as the verifying workers would take them. */
static truc_error take_facts(const struct hub_founder *founder, struct truc_bytes bytes, struct truc_arena *arena,
                             struct hub_event_facts *out)
{
    struct truc_event event;
    truc_error error = truc_event_parse(bytes, &event);
    if (error != TRUC_OK) {
        return error;
    }
    *out = (struct hub_event_facts){
        .size = (uint32_t)bytes.size,
        .kind = HUB_EVENT_GOVERNANCE,
        .time_us = event.time_us,
        .expires_us = HUB_TIME_NONE,
        .type = event.type,
        .governance_bytes = event.data,
    };
    truc_leaf_hash(&out->leaf_hash, bytes);
    truc_event_key(truc_bytes_of(founder->agency), event.source, event.id, out->key);
    return hub_governance_decode(event.data, arena, &out->governance);
}

static truc_error append_row(struct hub_journal *journal, struct hub_slots *slots, struct hub_row_item *item,
                             int64_t now_us)
{
    struct hub_row_header header = {.accepted_at_us = now_us};
    struct truc_aead *aead = NULL;
    uint8_t *bytes;
    uint64_t row;
    size_t size;
    if (hub_journal_rows(journal) != 0) {
        return TRUC_E_EXISTS;
    }
    truc_error error = truc_aead_new(&aead);
    if (error == TRUC_OK) {
        error = hub_slots_ensure(slots, 1);
    }
    if (error == TRUC_OK) {
        error = hub_row_size(item, 1, &size);
    }
    if (error == TRUC_OK) {
        error = hub_journal_allocate(journal, size, &bytes);
    }
    if (error == TRUC_OK) {
        error = hub_row_encode(&header, item, 1, aead, slots, bytes);
        if (error == TRUC_OK) {
            error = hub_journal_append(journal, &row);
        } else {
            hub_journal_abandon(journal);
        }
    }
    truc_aead_free(&aead);
    return error;
}

static truc_error write_row(const char *folder, struct hub_row_item *item, int64_t now_us, char why[256])
{
    struct hub_journal *journal = NULL;
    struct hub_slots *slots = NULL;
    char *path = hub_home_file(folder, "keys.slots");
    truc_error error = path == NULL ? TRUC_E_NOMEM : TRUC_OK;
    if (error == TRUC_OK) {
        error = hub_slots_open(path, true, false, &slots);
    }
    if (error == TRUC_OK) {
        error = hub_journal_open(folder, MAP_BYTES, true, false, &journal, why);
    }
    if (error == TRUC_OK) {
        error = append_row(journal, slots, item, now_us);
    }
    hub_journal_close(&journal);
    hub_slots_close(&slots);
    free(path);
    return error;
}

truc_error hub_genesis_write(const char *folder, const char *origin, struct truc_bytes note_key,
                             const struct hub_founder *founders, size_t count, int64_t now_us, char why[256])
{
    struct truc_buffer act = {0}, event = {0}, body = {0}, envelope = {0};
    struct truc_arena *arena = NULL;
    struct hub_event_facts facts;
    struct hub_row_item item = {.input = {.kind = HUB_INPUT_SEAL}};
    const uint64_t slot = 0;
    char source[sizeof TRUC_SOURCE_PREFIX + TRUC_AGENCY_MAX];
    truc_error error = encode_act(origin, note_key, founders, count, &act);
    why[0] = '\0';
    if (error == TRUC_OK) {
        (void)snprintf(source, sizeof source, TRUC_SOURCE_PREFIX "%s", founders[0].agency);
        error = encode_event(source, truc_buffer_view(&act), now_us, &event);
    }
    if (error == TRUC_OK) {
        error = truc_body_append(&body, truc_buffer_view(&event));
    }
    if (error == TRUC_OK) {
        error = truc_arena_new(HUB_GOVERNANCE_ARENA, &arena);
    }
    if (error == TRUC_OK) {
        error = take_facts(&founders[0], truc_buffer_view(&event), arena, &facts);
    }
    if (error == TRUC_OK) {
        error = sign_seal(origin, &founders[0], now_us, &item, &facts, &envelope);
    }
    if (error == TRUC_OK) {
        item.body = truc_buffer_view(&body);
        item.slots = &slot;
        error = write_row(folder, &item, now_us, why);
    }
    truc_arena_free(&arena);
    truc_buffer_close(&act);
    truc_buffer_close(&event);
    truc_buffer_close(&body);
    truc_buffer_close(&envelope);
    return error;
}
