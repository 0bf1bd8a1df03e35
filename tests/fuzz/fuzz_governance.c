/* Acts of administrators: bytes to the core's plain struct. */
#include "hub/store/governance.h"
#include "tests/fuzz/filled.h"

#include "truc.pb-c.h"

static struct truc_arena *arena;

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const struct hub_governance *act = NULL;
    if (arena == NULL) {
        FUZZ_OK(truc_arena_new(HUB_GOVERNANCE_ARENA, &arena));
    }
    truc_arena_reset(arena);
    truc_error error = hub_governance_decode(truc_bytes(data, size), arena, &act);
    FUZZ_CHECK(error == TRUC_OK || error == TRUC_E_MALFORMED);
    if (error == TRUC_OK) {
        FUZZ_CHECK(act->act >= HUB_ACT_GENESIS && act->act <= HUB_ACT_SET_QUOTA);
        FUZZ_CHECK(act->agency[0] == '\0' || truc_agency_is_valid(truc_bytes_of(act->agency)));
        FUZZ_CHECK(act->enrolment_count <= HUB_ADMINISTRATORS_MAX);
        for (size_t i = 0; i < act->enrolment_count; i++) {
            FUZZ_CHECK(truc_agency_is_valid(truc_bytes_of(act->enrolments[i].agency)));
            FUZZ_CHECK(act->enrolments[i].group_count <= HUB_GROUPS_MAX);
        }
    }
    return 0;
}

static void seed(const char *name, const Truc__V1__Governance *act)
{
    size_t size = truc__v1__governance__get_packed_size(act);
    uint8_t *bytes = malloc(size + 1);
    FUZZ_CHECK(bytes != NULL);
    fuzz_seed(name, truc_bytes(bytes, truc__v1__governance__pack(act, bytes)));
    free(bytes);
}

void fuzz_seeds(void)
{
    const ProtobufCMessageDescriptor *descriptor = &truc__v1__governance__descriptor;
    struct truc_key *key;
    static char reason[] = "Decree 61/2018";
    FUZZ_OK(truc_key_generate(TRUC_ALGORITHM_P256, &key));
    const struct fuzz_fill fill = {.text = "H14.09", .type = "dossier.*", .key = truc_key_spki(key)};
    for (unsigned i = 0; i < descriptor->n_fields; i++) { /* one of each act */
        const ProtobufCFieldDescriptor *field = &descriptor->fields[i];
        Truc__V1__Governance act = TRUC__V1__GOVERNANCE__INIT;
        if ((field->flags & PROTOBUF_C_FIELD_FLAG_ONEOF) == 0 || field->type != PROTOBUF_C_TYPE_MESSAGE) {
            continue;
        }
        ProtobufCMessage *member = fuzz_filled(field->descriptor, &fill, 0);
        act.reason = reason;
        memcpy((char *)&act + field->offset, &member, sizeof member);
        memcpy((char *)&act + field->quantifier_offset, &field->id, sizeof field->id);
        seed(field->name, &act);
    }
    truc_key_free(&key);
}
