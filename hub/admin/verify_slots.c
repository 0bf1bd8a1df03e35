/* Key slots: one serves one subject, or an erasure would destroy what nobody wanted erased. Events without a subject
 * share one within their seal, and with nobody else. */
#include "hub/admin/verify_replay.h"

truc_error verify_slots_new(struct replay *replay)
{
    /* Opened behind the journal: whatever its rows name is counted by now. */
    replay->slot_count = hub_slots_count(replay->slots);
    replay->slot_owners = calloc(replay->slot_count + 1, sizeof(*replay->slot_owners));
    return replay->slot_owners == NULL ? TRUC_E_NOMEM : TRUC_OK;
}

/* A subject by its hash, a seal by its number from the top down: that no subject's hash is one of these is as sure as
 * that no two subjects have one hash. */
static uint64_t owner_of(const struct replay *replay, const struct hub_event_facts *facts)
{
    return facts->subject != 0 ? facts->subject : ~replay->seals;
}

void verify_slots(struct replay *replay, const struct hub_seal_input *seal, const struct verify_place *place,
                  uint64_t first_sequence)
{
    if (replay->slot_owners == NULL) {
        return;
    }
    for (uint32_t i = 0; i < seal->seal.count; i++) {
        struct verify_place where = *place;
        uint64_t slot, owner = owner_of(replay, &seal->events[i]);
        if (hub_row_reader_slot(replay->rows, i, &slot) != TRUC_OK) {
            return; /* that the row cannot be read is said where it is read */
        }
        where.sequence = first_sequence == VERIFY_NONE ? VERIFY_NONE : first_sequence + i;
        if (slot >= replay->slot_count) {
            verify_find(&replay->report, &where,
                        "its content is under key slot %llu, but keys.slots has only %llu: it is an older copy",
                        (unsigned long long)slot, (unsigned long long)replay->slot_count);
            return; /* the others of the seal would say the same */
        }
        if (replay->slot_owners[slot] == 0) {
            replay->slot_owners[slot] = owner;
        } else if (replay->slot_owners[slot] != owner) {
            verify_find(&replay->report, &where,
                        "its content is under key slot %llu, which serves another subject: erasing one erases both",
                        (unsigned long long)slot);
            return;
        }
    }
}
