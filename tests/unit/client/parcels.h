/* Deliveries of the scripted hub: seals of a peer, and what is said about its keys. */
#ifndef TRUC_TESTS_CLIENT_PARCELS_H
#define TRUC_TESTS_CLIENT_PARCELS_H

#include "tests/unit/client/fake_hub.h"

static uint64_t peer_chain;

/* A seal of the peer over `count` events, of which all are delivered in one frame, from inbox number `first` on. */
struct parcel {
    struct truc_buffer events[8];
    struct truc_buffer envelope;
    struct truc_hash digest;
    uint64_t number;
    size_t count;
};

/* `before`: the seal before it in its chain; NULL: it begins one. */
static inline struct parcel make_parcel_behind(struct world *w, const char *sealer, const struct truc_key *key,
                                               const char *source, const char *const *ids, const char *const *subjects,
                                               const struct parcel *before)
{
    struct parcel parcel = {.number = before != NULL ? before->number + 1 : 1};
    peer_chain += before == NULL;
    struct truc_seal seal = {.number = parcel.number,
                             .sealed_at_us = w->now,
                             .chain = {(uint8_t)peer_chain},
                             .has_previous = before != NULL};
    if (before != NULL) {
        seal.previous = before->digest;
    }
    struct truc_hash leaves[8];
    while (ids[parcel.count] != NULL) {
        const char *subject = subjects != NULL ? subjects[parcel.count] : "d1";
        parcel.events[parcel.count] = make_event(source, ids[parcel.count], subject, 10);
        truc_leaf_hash(&leaves[parcel.count], truc_buffer_view(&parcel.events[parcel.count]));
        parcel.count++;
    }
    seal.count = (uint32_t)parcel.count;
    (void)snprintf(seal.origin, sizeof seal.origin, "%s", HUB_ORIGIN);
    (void)snprintf(seal.sender, sizeof seal.sender, "%s", sealer);
    (void)snprintf(seal.keyid, sizeof seal.keyid, "%s", truc_key_id(key));
    truc_merkle_root(leaves, parcel.count, &seal.root);
    assert_int_equal(truc_seal_sign(&seal, key, &parcel.envelope, &parcel.digest), TRUC_OK);
    return parcel;
}

static inline struct parcel make_parcel(struct world *w, const char *sealer, const struct truc_key *key,
                                        const char *source, const char *const *ids, const char *const *subjects)
{
    return make_parcel_behind(w, sealer, key, source, ids, subjects, NULL);
}

static inline void close_parcel(struct parcel *parcel)
{
    for (size_t i = 0; i < parcel->count; i++) {
        truc_buffer_close(&parcel->events[i]);
    }
    truc_buffer_close(&parcel->envelope);
}

struct how {
    uint64_t lease, first, floor;
    uint32_t attempt;
    bool receipt_wanted, wrong_index;
};

/* Parcels in one frame. */
static inline void say_parcels(struct world *w, const struct parcel *parcels, size_t count, struct how how)
{
    Truc__V1__Deliver deliver = TRUC__V1__DELIVER__INIT;
    Truc__V1__DeliverGroup group[4], *groups[4];
    Truc__V1__DeliverItem items[4][8], *list[4][8];
    struct truc_buffer body = {0};
    uint64_t number = how.first;
    for (size_t g = 0; g < count; g++) {
        const struct parcel *parcel = &parcels[g];
        for (size_t i = 0; i < parcel->count; i++, number++) {
            Truc__V1__DeliverItem *item = list[g][i] = &items[g][i];
            truc__v1__deliver_item__init(item);
            item->number = number;
            item->sequence = 100 + number;
            item->previous_sequence = 100 + number - 1;
            item->index = (uint32_t)(how.wrong_index ? parcel->count - 1 - i : i);
            item->attempt = how.attempt == 0 ? 1 : how.attempt;
            item->receipt_wanted = how.receipt_wanted;
            assert_int_equal(truc_body_append(&body, truc_buffer_view(&parcel->events[i])), TRUC_OK);
        }
        groups[g] = &group[g];
        truc__v1__deliver_group__init(&group[g]);
        group[g].envelope = (ProtobufCBinaryData){parcel->envelope.size, parcel->envelope.data};
        group[g].accepted_at_us = w->now;
        group[g].items = list[g];
        group[g].n_items = parcel->count;
    }
    deliver.lease = how.lease;
    deliver.floor = how.floor;
    deliver.groups = groups;
    deliver.n_groups = count;
    say(w, TRUC_FRAME_DELIVER, &deliver, truc_buffer_view(&body));
    truc_buffer_close(&body);
}

static inline void say_parcel(struct world *w, const struct parcel *parcel, struct how how)
{
    say_parcels(w, parcel, 1, how);
}

static inline void deliver(struct world *w, const char *const *ids, const char *const *subjects, struct how how)
{
    struct parcel parcel = make_parcel(w, HUB_PEER, w->peer_key, HUB_PEER, ids, subjects);
    say_parcel(w, &parcel, how);
    close_parcel(&parcel);
}

static inline void answer_keys(struct world *w, size_t n, const char *agency, const struct truc_key *key)
{
    Truc__V1__Query *query = unpack(nth_heard(w, TRUC_FRAME_QUERY, n));
    Truc__V1__Answer answer = TRUC__V1__ANSWER__INIT;
    struct truc_buffer spki = {0}, json = {0};
    assert_string_equal(query->what, "keys");
    assert_string_equal(query->arguments[0]->value, agency);
    if (key != NULL) {
        assert_int_equal(truc_base64_encode(truc_key_spki(key), &spki), TRUC_OK);
        assert_int_equal(truc_buffer_printf(&json,
                                            "[{\"agency\":\"%s\",\"transport_key\":\"x\"},{\"agency\":\"%s\",\"keyid\":"
                                            "\"%s\",\"spki\":\"%.*s\",\"state\":\"revoked\"}]",
                                            agency, agency, truc_key_id(key), (int)spki.size, (const char *)spki.data),
                         TRUC_OK);
    } else {
        assert_int_equal(truc_buffer_printf(&json, "[]"), TRUC_OK);
    }
    answer.request = query->request;
    say(w, TRUC_FRAME_ANSWER, &answer, truc_buffer_view(&json));
    truc_buffer_close(&spki);
    truc_buffer_close(&json);
    FREE(query);
}

/* The hub has made an ack or a nack durable. */
static inline void say_settled(struct world *w, uint64_t lease, uint64_t first)
{
    Truc__V1__Settled settled = TRUC__V1__SETTLED__INIT;
    Truc__V1__AckRange range = TRUC__V1__ACK_RANGE__INIT, *list[] = {&range};
    range.lease = lease;
    range.first = first;
    range.count = 1;
    settled.ranges = list;
    settled.n_ranges = 1;
    say(w, TRUC_FRAME_SETTLED, &settled, nothing);
}

/* An open session that knows the peer's key and has given credit. */
static inline void open_with_key(struct world *w)
{
    static const char *const ids[] = {"first", NULL};
    client_session_receive(w->session, true);
    greet(w);
    deliver(w, ids, NULL, (struct how){.lease = 1, .first = 1});
    hear(w);
    answer_keys(w, 0, HUB_PEER, w->peer_key);
    assert_int_equal(w->delivery_count, 1);
    assert_int_equal(client_session_ack(w->session, 1), TRUC_OK);
    hear(w);
    forget_heard(w);
    w->delivery_count = 0;
}

#endif
