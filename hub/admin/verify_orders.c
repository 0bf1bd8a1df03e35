/* Orders to replay, against the events that they name. The hub takes sender, type, size and subject from the signed
 * order (the core holds none of them any more, and must decide alike whatever it has forgotten); whether they are true
 * is found out here, from the facts of the events, which outlive their contents. */
#include "hub/admin/verify_replay.h"

/* The seal that an item names, read once for all of its items that follow each other. */
static truc_error read_seal(struct replay *replay, uint64_t leaf_index, uint64_t *at, struct hub_input *seal)
{
    struct hub_leaf_place place;
    struct truc_bytes row;
    if (*at == leaf_index) {
        return TRUC_OK;
    }
    *at = VERIFY_NONE;
    truc_error error = replay->ordered_rows == NULL ? hub_row_reader_new(&replay->ordered_rows) : TRUC_OK;
    if (error == TRUC_OK && replay->ordered == NULL) {
        error = hub_journal_reader_new(replay->journal, &replay->ordered);
    }
    error = error != TRUC_OK ? error : hub_core_leaf_place(replay->core, leaf_index, &place);
    error = error != TRUC_OK ? error : hub_journal_get(replay->ordered, place.row, &row);
    error = error != TRUC_OK ? error : hub_row_reader_at(replay->ordered_rows, row, place.offset, seal);
    if (error == TRUC_OK && seal->kind != HUB_INPUT_SEAL) {
        error = TRUC_E_CORRUPT;
    }
    if (error == TRUC_OK) {
        *at = leaf_index;
    }
    return error;
}

static const char *what_differs(const struct replay *replay, const struct hub_replay_item *item,
                                const struct hub_seal_input *seal)
{
    const struct hub_event_facts *facts = &seal->events[item->index];
    if (hub_core_agency(replay->core, truc_bytes_of(item->sender)) !=
        hub_core_agency(replay->core, truc_bytes_of(seal->seal.sender))) {
        return "of another sender";
    }
    if (!truc_bytes_equal(item->type, facts->type)) {
        return "of another type";
    }
    if (item->size != facts->size) {
        return "of another size";
    }
    return item->subject != facts->subject ? "of another subject" : NULL;
}

static void check_order(struct replay *replay, const struct hub_governance *order, const struct verify_place *place)
{
    struct hub_input seal;
    uint64_t at = VERIFY_NONE;
    for (size_t i = 0; i < order->replay_count; i++) {
        const struct hub_replay_item *item = &order->replay[i];
        truc_error error = read_seal(replay, item->leaf_index, &at, &seal);
        if (error != TRUC_OK || item->index >= seal.u.seal.seal.count) {
            verify_find(&replay->report, place, "event %llu, which was ordered to be replayed, cannot be read: %s",
                        (unsigned long long)item->sequence,
                        truc_error_string(error != TRUC_OK ? error : TRUC_E_CORRUPT));
            continue;
        }
        const char *what = what_differs(replay, item, &seal.u.seal);
        if (what != NULL) {
            verify_find(&replay->report, place, "event %llu was ordered to be replayed as one %s than it is",
                        (unsigned long long)item->sequence, what);
        }
    }
}

void verify_orders(struct replay *replay, const struct hub_seal_input *seal, const struct verify_place *place,
                   uint64_t first_sequence)
{
    struct truc_buffer bytes = {0};
    struct truc_leaf *leaf = NULL;
    for (uint32_t i = 0; i < seal->seal.count; i++) {
        const struct hub_governance *act = seal->events[i].governance;
        if (act == NULL || act->act != HUB_ACT_ORDER_REPLAY) {
            continue;
        }
        if (leaf == NULL) {
            leaf = malloc(sizeof(*leaf));
            admin_must(leaf != NULL);
            if (hub_core_leaf(replay->core, place->leaf, &bytes) != TRUC_OK ||
                truc_leaf_parse(truc_buffer_view(&bytes), leaf) != TRUC_OK) {
                verify_find(&replay->report, place, "what was decided on an order to replay cannot be read");
                break;
            }
        }
        if (leaf->outcomes[i].code == TRUC_OUTCOME_ACCEPTED) {
            struct verify_place where = *place;
            where.sequence = first_sequence + i;
            check_order(replay, act, &where);
        }
    }
    truc_buffer_close(&bytes);
    free(leaf);
}
