/* A seal as the hub's pool takes it: envelope, body, events, what they say, acts, recalls, delivery receipts. The seal
 * is signed here over the body that the input makes, so that neither signature nor root hides what is inside. */
#include "hub/hub.h"
#include "tests/fuzz/filled.h"

static struct truc_key *key;
static struct hub_keyring ring;
static struct hub_keyring_key ring_key;

static void set_up(void)
{
    if (key == NULL) {
        FUZZ_OK(truc_key_generate(TRUC_ALGORITHM_ED25519, &key));
        ring_key = (struct hub_keyring_key){truc_key_id(key), key, 7};
        atomic_init(&ring.owners, 1);
        ring.count = 1;
        ring.keys = &ring_key;
    }
}

/* Flags: 1 an event of the hub's own types, whose data is the part; otherwise the part is an event's bytes. */
static void put_event(struct fuzz *fuzz, struct truc_buffer *body)
{
    static const char *const types[] = {TRUC_TYPE_GOVERNANCE, TRUC_TYPE_RECALL, TRUC_TYPE_DELIVERY_RECEIPT,
                                        "truc.other.v1", "vn.truc.dossier.submitted.v1"};
    static const uint8_t salt[TRUC_SALT_SIZE] = {1};
    uint8_t flags = fuzz_u8(fuzz);
    struct truc_bytes part = fuzz_part(fuzz);
    if ((flags & 1) == 0) {
        FUZZ_OK(truc_body_append(body, part));
        return;
    }
    struct truc_event event;
    struct truc_buffer bytes = {0};
    memset(&event, 0, offsetof(struct truc_event, attributes));
    event.id = truc_bytes_of("1");
    event.source = truc_bytes_of(flags & 128 ? "urn:truc:H15" : "urn:truc:H14");
    event.type = truc_bytes_of(types[(flags >> 1) % 5]);
    event.data = part;
    event.data_kind = TRUC_DATA_BINARY;
    FUZZ_OK(truc_event_set_bytes(&event, "salt", truc_bytes(salt, sizeof salt)));
    FUZZ_OK(truc_event_encode(&event, &bytes));
    FUZZ_OK(truc_body_append(body, truc_buffer_view(&bytes)));
    truc_buffer_close(&bytes);
}

/* The root over what the body holds, as far as it can be cut. */
static void finish_seal(struct truc_seal *seal, struct truc_bytes body)
{
    static struct truc_hash leaves[TRUC_SEAL_EVENTS_MAX];
    struct truc_bytes event;
    size_t at = 0;
    while (seal->count < TRUC_SEAL_EVENTS_MAX && truc_body_next(body, &at, &event) == TRUC_OK) {
        truc_leaf_hash(&leaves[seal->count++], event);
    }
    truc_merkle_root(leaves, seal->count, &seal->root);
    seal->count += seal->count == 0;
}

static void check(const struct hub_submission *submission, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        const struct hub_event_facts *facts = &submission->facts[i];
        FUZZ_CHECK(facts->kind <= HUB_EVENT_RESERVED && facts->size == submission->events[i].size);
        FUZZ_CHECK(facts->governance == NULL || facts->kind == HUB_EVENT_GOVERNANCE);
        FUZZ_CHECK((facts->flags & ~31) == 0);
        size_t at = 0;
        struct truc_bytes one;
        unsigned recipients = 0;
        while (truc_recipients_next(facts->recipients, &at, &one)) {
            recipients++;
        }
        FUZZ_CHECK(recipients <= TRUC_RECIPIENTS_COUNT || (facts->flags & HUB_FACT_INVALID_PAYLOAD) != 0);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct fuzz fuzz = fuzz_of(data, size);
    struct hub_submission *submission = calloc(1, sizeof *submission);
    struct truc_buffer body = {0};
    struct truc_seal seal = {.origin = "log.example/test", .sender = "H14", .number = 1, .sealed_at_us = 5};
    set_up();
    FUZZ_CHECK(submission != NULL);
    uint8_t flags = fuzz_u8(&fuzz);
    while (fuzz_left(&fuzz) > 0) {
        put_event(&fuzz, &body);
    }
    submission->owners = 1;
    submission->agency = 7;
    submission->administrator = (flags & 1) != 0;
    (void)snprintf(submission->agency_code, sizeof submission->agency_code, "H14");
    (void)zmq_msg_init(&submission->piece);
    submission->keys = hub_keyring_ref(&ring);
    submission->joined = body;
    submission->body = truc_buffer_view(&submission->joined);
    finish_seal(&seal, submission->body);
    seal.count += (flags & 2) != 0 && seal.count < TRUC_SEAL_EVENTS_MAX; /* an event is missing */
    (void)snprintf(seal.keyid, sizeof seal.keyid, "%s", truc_key_id(key));
    FUZZ_OK(truc_seal_sign(&seal, key, &submission->envelope, NULL));
    hub_verify_seal(submission);
    bool whole = (flags & 2) == 0 && submission->body.size > 0;
    FUZZ_CHECK(!whole || submission->reason == TRUC_ACCEPTED || submission->reason == TRUC_OVERLOADED);
    FUZZ_CHECK(whole || submission->reason == TRUC_BAD_SEAL || seal.count == TRUC_SEAL_EVENTS_MAX);
    if (submission->reason == TRUC_ACCEPTED) {
        check(submission, seal.count);
    }
    truc_arena_free(&submission->scratch);
    hub_submission_release(submission);
    return 0;
}

static void put_message(struct truc_buffer *out, unsigned type, const ProtobufCMessage *message)
{
    uint8_t packed[512];
    FUZZ_CHECK(protobuf_c_message_get_packed_size(message) <= sizeof packed);
    fuzz_put_u8(out, type << 1 | 1);
    fuzz_put_part(out, truc_bytes(packed, protobuf_c_message_pack(message, packed)));
}

void fuzz_seeds(void)
{
    const struct fuzz_fill fill = {.text = "H14.09", .type = "dossier.*"};
    struct truc_buffer out = {0}, event = {0};
    Truc__V1__Governance act = TRUC__V1__GOVERNANCE__INIT;
    Truc__V1__AgencyRef suspend = TRUC__V1__AGENCY_REF__INIT;
    char why[256], agency[] = "H15", reason[] = "Decree";
    suspend.agency = agency;
    act.reason = reason;
    act.act_case = TRUC__V1__GOVERNANCE__ACT_SUSPEND_AGENCY;
    act.suspend_agency = &suspend;
    fuzz_put_u8(&out, 1);
    put_message(&out, 0, &act.base);
    put_message(&out, 1, fuzz_filled(&truc__v1__recall__descriptor, &fill, 0));
    put_message(&out, 2, fuzz_filled(&truc__v1__delivery_receipts__descriptor, &fill, 0));
    fuzz_seed("own-types", truc_buffer_view(&out));
    truc_buffer_clear(&out);
    FUZZ_OK(
        truc_event_from_json(truc_bytes_of("{\"specversion\":\"1.0\",\"id\":\"1\",\"source\":\"urn:truc:H14\",\"type\":"
                                           "\"vn.truc.dossier.submitted.v1\",\"recipients\":\"H1,@all\",\"salt\":"
                                           "\"AAECAwQFBgcICQoLDA0ODw==\",\"blob\":\"x\",\"subject\":\"s\",\"expires\":"
                                           "\"2027-01-01T00:00:00Z\"}"),
                             &event, why));
    fuzz_put_u8(&out, 0);
    fuzz_put_u8(&out, 0);
    fuzz_put_part(&out, truc_buffer_view(&event));
    fuzz_put_u8(&out, 0);
    fuzz_put_part(&out, truc_bytes_of("not an event"));
    fuzz_seed("plain", truc_buffer_view(&out));
    out.data[0] = 2;
    fuzz_seed("one-missing", truc_buffer_view(&out));
    truc_buffer_close(&out);
    truc_buffer_close(&event);
}
