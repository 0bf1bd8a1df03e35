/* An event as a person or another program writes it. */
#include "tests/fuzz/fuzz.h"
#include "truc/event.h"

static void check(struct truc_bytes json, const struct truc_event_defaults *defaults)
{
    struct truc_buffer out = {0}, told = {0};
    struct truc_event event;
    char why[256];
    memset(why, 1, sizeof why);
    why[0] = '\0';
    truc_error error = truc_event_from_json_with(json, defaults, &out, why);
    FUZZ_CHECK(error == TRUC_OK || error == TRUC_E_MALFORMED);
    if (error == TRUC_OK) {
        FUZZ_OK(truc_event_parse(truc_buffer_view(&out), &event));
        FUZZ_OK(truc_event_to_json(&event, &told));
    } else {
        FUZZ_CHECK(out.size == 0 && why[0] != '\0' && memchr(why, '\0', sizeof why) != NULL);
    }
    truc_buffer_close(&out);
    truc_buffer_close(&told);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const struct truc_event_defaults none;
    const struct truc_event_defaults some = {.id = truc_bytes_of("i"),
                                             .source = truc_bytes_of("urn:truc:H1"),
                                             .type = truc_bytes_of("t"),
                                             .recipients = truc_bytes_of("H1,@a"),
                                             .salt = truc_bytes_of("0123456789abcdef")};
    check(truc_bytes(data, size), &none);
    check(truc_bytes(data, size), &some);
    return 0;
}

static void seed(const char *name, const char *json)
{
    fuzz_seed(name, truc_bytes_of(json));
}

#define HEAD "{\"specversion\":\"1.0\",\"id\":\"7\",\"source\":\"urn:truc:H62\",\"type\":\"a.v1\""
void fuzz_seeds(void)
{
    seed("bare.json", "{\"specversion\":\"1.0\"}");
    seed("json-data.json", HEAD ",\"data\":{\"fee\": 0.10 , \"n\":[1, 2,{}] ,\"t\":\" \\\" }\"}}");
    seed("all.json", HEAD ",\"salt\":\"AAECAwQFBgcICQoLDA0ODw==\",\"subject\":\"H\\u01a1\",\"time\":"
                          "\"2026-11-22T09:30:00.25+07:00\",\"expires\":\"2027-01-01T00:00:00Z\","
                          "\"recipients\":\"G12,@land\",\"urgent\":true,\"level\":-3,\"dataschema\":\"urn:s\","
                          "\"nothing\":null}");
    seed("text-data.json", HEAD ",\"datacontenttype\":\"text/plain; charset=utf-8\",\"data\":\"a\\nb\"}");
    seed("base64.json", HEAD ",\"data_base64\":\"AAEC\"}");
    seed("escaped-key.json", HEAD ",\"d\\u0061ta\":[1.50, \"\\\\\"]}");
    seed("recipients-array.json", HEAD ",\"recipients\":[\"G12\",\"G13\"]}");
    seed("twice.json", HEAD ",\"id\":\"8\"}");
    seed("large-number.json", HEAD ",\"data\":1e999999}");
}
