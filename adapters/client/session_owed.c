/* Signed delivery receipts: what the application answered is written down with the answer and told to the sender later,
 * many in one event, through the same spool as everything else. */
#include "adapters/client/session_internal.h"

#define ROW_SIZE (8 + 8 + 1 + TRUC_HASH_SIZE) /* then the sender's code */
#define FULL_WAIT SECOND

truc_error session_owe(struct client_session *s, const struct lease *lease, unsigned outcome)
{
    uint8_t row[ROW_SIZE];
    store_put_u64(row, lease->sequence);
    store_put_u64(row + 8, (uint64_t)s->wall_us);
    row[16] = (uint8_t)outcome;
    memcpy(row + 17, lease->hash.bytes, TRUC_HASH_SIZE);
    truc_error error = s->store.put(s->store.context, STORE_OWED, s->owed_next, truc_bytes(row, sizeof row),
                                    truc_bytes_of(lease->sender));
    if (error == TRUC_OK) {
        error = session_meta_put_u64(s, META_NEXT_OWED, s->owed_next + 1);
    }
    if (error != TRUC_OK) {
        return error;
    }
    s->owed_next++;
    if (s->owed_count++ == 0) {
        s->owed_at_us = s->now_us + OWED_FLUSH;
    }
    return TRUC_OK;
}

struct batch {
    char sender[TRUC_AGENCY_MAX + 1];
    size_t count;
    uint64_t keys[OWED_BATCH];
    Truc__V1__DeliveryReceipts__Item items[OWED_BATCH];
    uint8_t hashes[OWED_BATCH][TRUC_HASH_SIZE];
};

static void batch_add(struct batch *batch, uint64_t key, struct truc_bytes row)
{
    size_t i = batch->count++;
    truc__v1__delivery_receipts__item__init(&batch->items[i]);
    memcpy(batch->hashes[i], row.data + 17, TRUC_HASH_SIZE);
    batch->keys[i] = key;
    batch->items[i].sequence = store_get_u64(row.data);
    batch->items[i].at_us = (int64_t)store_get_u64(row.data + 8);
    batch->items[i].outcome = (Truc__V1__DeliveryReceipts__Outcome)row.data[16];
    batch->items[i].leaf_hash = (ProtobufCBinaryData){TRUC_HASH_SIZE, batch->hashes[i]};
}

/* The oldest one owed, and what else is owed to the same sender. */
static truc_error gather(struct client_session *s, struct batch *batch)
{
    uint64_t key = 0;
    struct truc_bytes row;
    truc_error error;
    while (batch->count < OWED_BATCH &&
           (error = s->store.next(s->store.context, STORE_OWED, &key, &row)) != TRUC_E_NOT_FOUND) {
        if (error != TRUC_OK) {
            return error;
        }
        struct truc_bytes sender = truc_bytes(row.data + ROW_SIZE, row.size - ROW_SIZE);
        if (row.size <= ROW_SIZE || row.size > ROW_SIZE + TRUC_AGENCY_MAX) {
            return TRUC_E_CORRUPT;
        }
        if (batch->count == 0) {
            memcpy(batch->sender, sender.data, sender.size);
            batch->sender[sender.size] = '\0';
        }
        if (truc_bytes_equal(sender, truc_bytes_of(batch->sender))) {
            batch_add(batch, key, row);
        }
        key++;
    }
    return TRUC_OK;
}

static truc_error encode_event(struct client_session *s, struct truc_bytes data, const char *recipient,
                               struct truc_buffer *out)
{
    uint8_t random[16], salt[TRUC_SALT_SIZE];
    char id[2 * sizeof random + 1], source[sizeof TRUC_SOURCE_PREFIX + TRUC_AGENCY_MAX];
    struct truc_event *event = calloc(1, sizeof *event);
    if (event == NULL) {
        return TRUC_E_NOMEM;
    }
    truc_error error = s->random(random, sizeof random);
    if (error == TRUC_OK) {
        error = s->random(salt, sizeof salt);
    }
    truc_hex(truc_bytes(random, sizeof random), id);
    (void)snprintf(source, sizeof source, "%s%s", TRUC_SOURCE_PREFIX, s->agency);
    event->id = truc_bytes_of(id);
    event->source = truc_bytes_of(source);
    event->spec_version = truc_bytes_of("1.0");
    event->type = truc_bytes_of(TRUC_TYPE_DELIVERY_RECEIPT);
    event->data_kind = TRUC_DATA_BINARY;
    event->data = data;
    if (error == TRUC_OK) {
        error = truc_event_set_text(event, "recipients", truc_bytes_of(recipient));
    }
    if (error == TRUC_OK) {
        error = truc_event_set_bytes(event, "salt", truc_bytes(salt, sizeof salt));
    }
    if (error == TRUC_OK) {
        error = truc_event_set_time(event, "time", s->wall_us);
    }
    if (error == TRUC_OK) {
        error = truc_event_encode(event, out);
    }
    free(event);
    return error;
}

/* Event in, rows out, in one transaction of the store. */
static truc_error pay_one(struct client_session *s, struct batch *batch)
{
    Truc__V1__DeliveryReceipts__Item *items[OWED_BATCH];
    Truc__V1__DeliveryReceipts message = TRUC__V1__DELIVERY_RECEIPTS__INIT;
    struct truc_buffer data = {0}, event = {0};
    uint64_t ticket;
    for (size_t i = 0; i < batch->count; i++) {
        items[i] = &batch->items[i];
    }
    message.items = items;
    message.n_items = batch->count;
    truc_error error = truc_buffer_reserve(&data, truc__v1__delivery_receipts__get_packed_size(&message));
    if (error == TRUC_OK) {
        data.size = truc__v1__delivery_receipts__pack(&message, data.data);
        error = encode_event(s, truc_buffer_view(&data), batch->sender, &event);
    }
    if (error == TRUC_OK) {
        error = client_session_submit(s, truc_buffer_view(&event), STORE_EVENT_LIBRARY, &ticket);
    }
    for (size_t i = 0; i < batch->count && error == TRUC_OK; i++) {
        error = s->store.drop(s->store.context, STORE_OWED, batch->keys[i], batch->keys[i]);
    }
    truc_buffer_close(&data);
    truc_buffer_close(&event);
    return error;
}

truc_error session_pay(struct client_session *s)
{
    if (s->owed_count == 0 || (s->now_us < s->owed_at_us && s->owed_count < OWED_BATCH)) {
        return TRUC_OK;
    }
    struct batch *batch = malloc(sizeof *batch);
    if (batch == NULL) {
        return TRUC_E_NOMEM;
    }
    truc_error error = TRUC_OK;
    while (s->owed_count > 0 && error == TRUC_OK) {
        batch->count = 0;
        error = gather(s, batch);
        if (error == TRUC_OK && batch->count == 0) {
            error = TRUC_E_CORRUPT; /* counted, but not there */
        }
        if (error == TRUC_OK) {
            error = pay_one(s, batch);
        }
        if (error == TRUC_OK) {
            s->owed_count -= batch->count;
        }
    }
    free(batch);
    if (error == TRUC_E_FULL) { /* the spool has no room for events now; what is owed stays written down */
        s->owed_at_us = s->now_us + FULL_WAIT;
        return TRUC_OK;
    }
    return error;
}
