/* An event's bytes: read, written again, told as JSON and read back, its data held against its schema. */
#include "tests/fuzz/fuzz.h"
#include "truc/payload.h"

static void check_written_again(const struct truc_event *event)
{
    struct truc_buffer first = {0}, second = {0};
    struct truc_event again;
    FUZZ_OK(truc_event_encode(event, &first));
    FUZZ_OK(truc_event_parse(truc_buffer_view(&first), &again));
    FUZZ_CHECK(again.attribute_count == event->attribute_count && truc_bytes_equal(again.data, event->data));
    FUZZ_CHECK(truc_bytes_equal(again.id, event->id) && truc_bytes_equal(again.type, event->type));
    FUZZ_OK(truc_event_encode(&again, &second));
    FUZZ_CHECK(truc_bytes_equal(truc_buffer_view(&first), truc_buffer_view(&second)));
    truc_buffer_close(&first);
    truc_buffer_close(&second);
}

static void check_json(const struct truc_event *event)
{
    struct truc_buffer json = {0}, bytes = {0};
    struct truc_event again;
    char why[256] = "";
    FUZZ_OK(truc_event_to_json(event, &json));
    FUZZ_CHECK(memchr(json.data, '\n', json.size) == NULL);
    truc_error error = truc_event_from_json(truc_buffer_view(&json), &bytes, why);
    if (error != TRUC_OK) {
        fprintf(stderr, "%s\n%.*s\n", why, (int)json.size, (const char *)json.data);
    }
    FUZZ_OK(error);
    FUZZ_OK(truc_event_parse(truc_buffer_view(&bytes), &again));
    FUZZ_CHECK(truc_bytes_equal(again.id, event->id) && truc_bytes_equal(again.source, event->source));
    FUZZ_CHECK(truc_bytes_equal(again.type, event->type) && truc_bytes_equal(again.salt, event->salt));
    FUZZ_CHECK(truc_bytes_equal(again.subject, event->subject));
    FUZZ_CHECK(truc_bytes_equal(again.recipients, event->recipients));
    FUZZ_CHECK(again.has_expires == event->has_expires && again.expires_us == event->expires_us);
    truc_buffer_close(&json);
    truc_buffer_close(&bytes);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct truc_event event;
    struct truc_bytes one;
    uint8_t key[16];
    size_t at = 0, recipients = 0;
    if (truc_event_parse(truc_bytes(data, size), &event) != TRUC_OK) {
        return 0;
    }
    FUZZ_CHECK(event.salt.size == TRUC_SALT_SIZE && event.id.size > 0 && event.id.size <= TRUC_ID_MAX);
    struct truc_bytes agency = truc_source_agency(event.source);
    FUZZ_CHECK(agency.size == 0 || truc_agency_is_valid(agency));
    while (truc_recipients_next(event.recipients, &at, &one)) {
        FUZZ_CHECK(one.size > 0);
        recipients++;
    }
    FUZZ_CHECK(recipients <= TRUC_RECIPIENTS_COUNT);
    truc_event_key(agency, event.source, event.id, key);
    FUZZ_CHECK((truc_subject_hash(event.subject) == 0) == (event.subject.size == 0));
    char why[256];
    FUZZ_ANY(truc_payload_check(event.type, event.data_kind, event.data, event.data_type, why));
    check_written_again(&event);
    check_json(&event);
    return 0;
}

static void seed_json(const char *name, const char *json)
{
    struct truc_buffer out = {0};
    char why[256];
    FUZZ_OK(truc_event_from_json(truc_bytes_of(json), &out, why));
    fuzz_seed(name, truc_buffer_view(&out));
    truc_buffer_close(&out);
}

#define SALT "\"salt\":\"AAECAwQFBgcICQoLDA0ODw==\""
void fuzz_seeds(void)
{
    seed_json("bare", "{\"specversion\":\"1.0\",\"id\":\"1\",\"source\":\"urn:truc:H62\",\"type\":\"a.v1\"," SALT "}");
    seed_json("full",
              "{\"specversion\":\"1.0\",\"id\":\"7\",\"source\":\"urn:truc:H62:desk\",\"type\":\"a.b-c.v1\"," SALT
              ",\"subject\":\"H\xe1\xbb\x93 s\xc6\xa1\",\"time\":\"2026-11-22T09:30:00.25+07:00\","
              "\"expires\":\"2027-01-01T00:00:00Z\",\"recipients\":\"G12,@land\",\"urgent\":true,\"level\":-3,"
              "\"dataschema\":\"urn:s\",\"blob\":\"abc\",\"data\":{\"fee\":0.10,\"n\":[1,2,{}]}}");
    seed_json("binary", "{\"specversion\":\"1.0\",\"id\":\"8\",\"source\":\"urn:truc:H62\","
                        "\"type\":\"vn.truc.dossier.submitted.v1\"," SALT
                        ",\"datacontenttype\":\"application/protobuf\",\"data_base64\":\"CgYKBEg2Mi4=\"}");
    seed_json("text", "{\"specversion\":\"1.0\",\"id\":\"9\",\"source\":\"urn:truc:H62\",\"type\":\"t\"," SALT
                      ",\"datacontenttype\":\"text/plain\",\"data\":\"line\\nline\"}");
}
