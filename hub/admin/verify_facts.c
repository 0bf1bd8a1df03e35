/* The facts that the hub decides by, made a second time from the event's bytes and compared. Written apart from the
 * hub's own extraction: a mistake there must not be repeated here. */
#include "hub/admin/verify.h"
#include "hub/store/governance.h"
#include "truc/frame.h"

static enum hub_event_kind expected_kind(struct truc_bytes type)
{
    if (truc_bytes_equal(type, truc_bytes_of(TRUC_TYPE_GOVERNANCE))) {
        return HUB_EVENT_GOVERNANCE;
    }
    if (truc_bytes_equal(type, truc_bytes_of(TRUC_TYPE_DELIVERY_RECEIPT))) {
        return HUB_EVENT_DELIVERY_RECEIPT;
    }
    if (truc_bytes_equal(type, truc_bytes_of(TRUC_TYPE_RECALL))) {
        return HUB_EVENT_RECALL;
    }
    return type.size >= 5 && memcmp(type.data, "truc.", 5) == 0 ? HUB_EVENT_RESERVED : HUB_EVENT_PLAIN;
}

/* Of an agency that is no administrator an act is not even decoded: a reserved type like others. Who is one is for the
 * replay to say (verify_replay.c). */
static bool kind_fits(struct truc_bytes type, unsigned kind)
{
    enum hub_event_kind expected = expected_kind(type);
    return kind == expected || (expected == HUB_EVENT_GOVERNANCE && kind == HUB_EVENT_RESERVED);
}

static const char *check_governance(const struct truc_event *event, const struct hub_event_facts *facts,
                                    struct truc_arena *arena)
{
    const struct hub_governance *act;
    bool invalid = (facts->flags & HUB_FACT_INVALID_PAYLOAD) != 0;
    if (!invalid) {
        return event->data_kind == TRUC_DATA_BINARY && truc_bytes_equal(event->data, facts->governance_bytes)
                   ? NULL
                   : "the governance act that took effect is not the one in the signed event";
    }
    truc_arena_reset(arena);
    return event->data_kind == TRUC_DATA_BINARY && hub_governance_decode(event->data, arena, &act) == TRUC_OK
               ? "a well-formed governance act was treated as an invalid one"
               : NULL;
}

static const char *check_recall(const char *sender, const struct truc_event *event, const struct hub_event_facts *facts,
                                struct truc_arena *arena)
{
    ProtobufCMessage *message = NULL;
    uint8_t key[16];
    if ((facts->flags & HUB_FACT_INVALID_PAYLOAD) != 0) {
        return NULL;
    }
    truc_arena_reset(arena);
    if (event->data_kind != TRUC_DATA_BINARY ||
        truc_unpack(arena, &truc__v1__recall__descriptor, event->data, &message) != TRUC_OK) {
        return "a recall that does not parse was treated as one";
    }
    const Truc__V1__Recall *recall = (const Truc__V1__Recall *)message;
    truc_event_key(truc_bytes_of(sender), truc_bytes_of(recall->source), truc_bytes_of(recall->id), key);
    struct truc_bytes left = facts->recipients;
    for (size_t i = 0; i < recall->n_recipients; i++) {
        struct truc_bytes name = truc_bytes_of(recall->recipients[i]);
        if (left.size < name.size || memcmp(left.data, name.data, name.size) != 0) {
            return "the recall was made for other recipients than the signed event says";
        }
        left = truc_bytes(left.data + name.size, left.size - name.size);
        if (left.size > 0 && left.data[0] == ',') {
            left = truc_bytes(left.data + 1, left.size - 1);
        }
    }
    return left.size == 0 && memcmp(key, facts->recalled, sizeof(key)) == 0
               ? NULL
               : "the recall was made for another event than the signed event says";
}

static const char *check_attributes(const char *sender, const struct truc_event *event,
                                    const struct hub_event_facts *facts)
{
    uint8_t key[16];
    truc_event_key(truc_bytes_of(sender), event->source, event->id, key);
    if (memcmp(key, facts->key, sizeof(key)) != 0) {
        return "the idempotency key is not that of the signed event";
    }
    if (!truc_bytes_equal(event->type, facts->type) || !kind_fits(event->type, facts->kind)) {
        return "the type that was decided on is not that of the signed event";
    }
    if (truc_subject_hash(event->subject) != facts->subject) {
        return "the subject that was decided on is not that of the signed event";
    }
    if (facts->kind != HUB_EVENT_RECALL && !truc_bytes_equal(event->recipients, facts->recipients)) {
        return "the recipients that were decided on are not those of the signed event";
    }
    if (facts->time_us != (event->has_time ? event->time_us : HUB_TIME_NONE) ||
        facts->expires_us != (event->has_expires ? event->expires_us : HUB_TIME_NONE)) {
        return "the times that were decided on are not those of the signed event";
    }
    bool foreign = !truc_bytes_equal(truc_source_agency(event->source), truc_bytes_of(sender));
    if (foreign != ((facts->flags & HUB_FACT_FOREIGN_SOURCE) != 0)) {
        return "whether the source is the sender's was decided against the signed event";
    }
    return event->has_blob != ((facts->flags & HUB_FACT_BLOB) != 0)
               ? "whether it names an attachment was decided against the signed event"
               : NULL;
}

const char *verify_facts(const char *sender, struct truc_bytes bytes, const struct hub_event_facts *facts,
                         struct truc_arena *arena)
{
    struct truc_event event;
    if (bytes.size != facts->size) {
        return "the size that was decided on is not that of the signed event";
    }
    truc_error error = truc_event_parse(bytes, &event);
    bool unread = (facts->flags & (HUB_FACT_MALFORMED | HUB_FACT_TOO_LARGE)) != 0;
    if ((error != TRUC_OK) != unread) {
        return unread ? "a well-formed event was treated as a malformed one"
                      : "a malformed event was treated as a well-formed one";
    }
    if (unread) {
        return NULL;
    }
    const char *why = check_attributes(sender, &event, facts);
    if (why == NULL && facts->kind == HUB_EVENT_GOVERNANCE) {
        why = check_governance(&event, facts, arena);
    } else if (why == NULL && facts->kind == HUB_EVENT_RECALL) {
        why = check_recall(sender, &event, facts, arena);
    }
    return why;
}
