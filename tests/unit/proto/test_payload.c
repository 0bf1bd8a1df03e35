/* Data of typed events: what fits its schema passes, and every way not to fit is refused with a sentence that does not
 * quote what was sent. */
#include "tests/unit/proto/support.h"
#include "truc/payload.h"

#include "construction.pb-c.h"
#include "dossier.pb-c.h"
#include "land.pb-c.h"

#include <math.h>

#define SUBMITTED "vn.truc.dossier.submitted.v1"
#define CODE "H14.09-20260609-0000123"
#define TIME_US 1780970400000000

static char why[256];

static truc_error check(const char *type, struct truc_bytes data)
{
    struct truc_bytes exact = support_exact_copy(data); /* so that a sanitizer sees a read beyond the end */
    why[0] = '\0';
    truc_error error =
        truc_payload_check(truc_bytes_of(type), TRUC_DATA_BINARY, exact, truc_bytes_of(TRUC_PAYLOAD_CONTENT_TYPE), why);
    support_free_copy(exact);
    assert_int_equal(error == TRUC_OK, why[0] == '\0');
    return error;
}

static truc_error check_message(const char *type, const ProtobufCMessage *message)
{
    uint8_t packed[4096];
    assert_true(protobuf_c_message_get_packed_size(message) <= sizeof packed);
    return check(type, truc_bytes(packed, protobuf_c_message_pack(message, packed)));
}

static truc_error check_hex(const char *type, const char *hex)
{
    struct truc_buffer bytes = support_unhex(hex);
    truc_error error = check(type, truc_buffer_view(&bytes));
    truc_buffer_close(&bytes);
    return error;
}

static Truc__Dossier__V1__Dossier dossier;
static Truc__Dossier__V1__Submitted submitted;

static int setup(void **state)
{
    (void)state;
    truc__dossier__v1__dossier__init(&dossier);
    truc__dossier__v1__submitted__init(&submitted);
    dossier.code = (char *)(uintptr_t)CODE;
    submitted.dossier = &dossier;
    submitted.submitted_at_us = TIME_US;
    submitted.channel = TRUC__DOSSIER__V1__CHANNEL__CHANNEL_ONLINE;
    return 0;
}

static void test_a_full_dossier_passes(void **state)
{
    (void)state;
    Truc__Dossier__V1__Applicant applicant = TRUC__DOSSIER__V1__APPLICANT__INIT;
    Truc__Dossier__V1__Unit unit = TRUC__DOSSIER__V1__UNIT__INIT;
    Truc__Dossier__V1__Document document = TRUC__DOSSIER__V1__DOCUMENT__INIT, *documents[] = {&document, &document};
    applicant.kind = TRUC__DOSSIER__V1__APPLICANT_KIND__APPLICANT_KIND_CITIZEN;
    unit.code = (char *)(uintptr_t) "01273";
    unit.read_on = (char *)(uintptr_t) "20250630";
    document.name = (char *)(uintptr_t) "Đơn đề nghị";
    submitted.applicant = &applicant;
    submitted.unit = &unit;
    submitted.documents = documents;
    submitted.n_documents = 2;
    assert_int_equal(check_message(SUBMITTED, &submitted.base), TRUC_OK);
}

/* The hub carries what agencies agree on: only what it knows is checked. */
static void test_unknown_types_pass_whatever_they_hold(void **state)
{
    (void)state;
    const struct truc_bytes junk = truc_bytes("\xff\xff", 2);
    assert_int_equal(check("vn.truc.results.published.v1", junk), TRUC_OK);
    assert_int_equal(check("vn.truc.dossier.submitted.v2", junk), TRUC_OK);
    assert_int_equal(check("vn.truc.dossier.submitted", junk), TRUC_OK);
    assert_int_equal(check("", junk), TRUC_OK);
    assert_int_equal(check(SUBMITTED, junk), TRUC_E_MALFORMED);
}

static void test_the_data_of_a_known_type_is_protobuf(void **state)
{
    (void)state;
    const struct truc_bytes type = truc_bytes_of(SUBMITTED), json = truc_bytes_of("{}");
    assert_int_equal(truc_payload_check(type, TRUC_DATA_TEXT, json, truc_bytes_of("application/json"), why),
                     TRUC_E_MALFORMED);
    assert_int_equal(truc_payload_check(type, TRUC_DATA_NONE, truc_bytes(NULL, 0), truc_bytes(NULL, 0), NULL),
                     TRUC_E_MALFORMED);
    assert_int_equal(truc_payload_check(type, TRUC_DATA_BINARY, json, truc_bytes_of("application/json"), NULL),
                     TRUC_E_MALFORMED);
}

static void test_what_a_type_needs_must_be_there(void **state)
{
    (void)state;
    submitted.dossier = NULL;
    assert_int_equal(check_message(SUBMITTED, &submitted.base), TRUC_E_MALFORMED);
    assert_string_equal(why, "Submitted needs dossier");
    setup(NULL);
    submitted.submitted_at_us = 0;
    assert_int_equal(check_message(SUBMITTED, &submitted.base), TRUC_E_MALFORMED);
    assert_string_equal(why, "Submitted needs submitted_at_us");
    setup(NULL);
    submitted.channel = TRUC__DOSSIER__V1__CHANNEL__CHANNEL_UNSPECIFIED;
    assert_int_equal(check_message(SUBMITTED, &submitted.base), TRUC_E_MALFORMED);
    assert_string_equal(why, "Submitted needs channel");
    /* in a part as well: a dossier without a code */
    setup(NULL);
    dossier.code = (char *)(uintptr_t) "";
    assert_int_equal(check_message(SUBMITTED, &submitted.base), TRUC_E_MALFORMED);
    assert_string_equal(why, "Dossier needs code");
    assert_int_equal(check(SUBMITTED, truc_bytes("", 0)), TRUC_E_MALFORMED);
}

static void test_values_out_of_their_range(void **state)
{
    (void)state;
    submitted.channel = 77;
    assert_int_equal(check_message(SUBMITTED, &submitted.base), TRUC_E_MALFORMED);
    assert_string_equal(why, "channel is not a value of its type");
    setup(NULL);
    submitted.submitted_at_us = INT64_MAX; /* a time that no calendar holds */
    assert_int_equal(check_message(SUBMITTED, &submitted.base), TRUC_E_MALFORMED);
    setup(NULL);
    submitted.summary = (char *)(uintptr_t) "\xc3("; /* not UTF-8 */
    assert_int_equal(check_message(SUBMITTED, &submitted.base), TRUC_E_MALFORMED);
    assert_string_equal(why, "summary is not UTF-8 text without NUL");
}

static void test_numbers_must_be_numbers(void **state)
{
    (void)state;
    Truc__Land__V1__SpatialUnit parcel = TRUC__LAND__V1__SPATIAL_UNIT__INIT;
    Truc__Land__V1__ParcelRegistered registered = TRUC__LAND__V1__PARCEL_REGISTERED__INIT;
    parcel.identifier = (char *)(uintptr_t) "91216000AB0037";
    parcel.area_m2 = 254881;
    registered.parcel = &parcel;
    registered.registered_at_us = TIME_US;
    assert_int_equal(check_message("vn.truc.land.parcel-registered.v1", &registered.base), TRUC_OK);
    parcel.area_m2 = (double)NAN;
    assert_int_equal(check_message("vn.truc.land.parcel-registered.v1", &registered.base), TRUC_E_MALFORMED);
    parcel.area_m2 = (double)INFINITY;
    assert_int_equal(check_message("vn.truc.land.parcel-registered.v1", &registered.base), TRUC_E_MALFORMED);
}

/* Two readers must not be able to take the same bytes for different things. Inspected has field 1
 * dossier {code}, 2 inspected_at_us, 3 result. */
#define INSPECTED "vn.truc.construction.inspected.v1"
#define DOSSIER_FIELD "0a190a174831342e30392d32303236303630392d30303030313233"
static void test_there_is_one_spelling(void **state)
{
    (void)state;
    assert_int_equal(check_hex(INSPECTED, DOSSIER_FIELD "10011801"), TRUC_OK);
    assert_int_equal(check_hex(INSPECTED, DOSSIER_FIELD "100110021801"), TRUC_E_MALFORMED);
    assert_string_equal(why, "inspected_at_us comes twice, or beside another form of it");
    assert_int_equal(check_hex(INSPECTED, DOSSIER_FIELD DOSSIER_FIELD "10011801"), TRUC_E_MALFORMED);
    assert_int_equal(check_hex(INSPECTED, DOSSIER_FIELD "1081001801"), TRUC_E_MALFORMED); /* a longer varint */
    assert_int_equal(check_hex(INSPECTED, DOSSIER_FIELD "10011801fa3e0178"), TRUC_E_MALFORMED);
    assert_string_equal(why, "Inspected has no field number 1007");
    assert_int_equal(check_hex(INSPECTED, DOSSIER_FIELD "0d01000000"
                                                        "1801"),
                     TRUC_E_MALFORMED);                                                   /* fixed32 */
    assert_int_equal(check_hex(INSPECTED, DOSSIER_FIELD "1201611801"), TRUC_E_MALFORMED); /* text for a time */
    assert_int_equal(check_hex(INSPECTED, "0801"
                                          "10011801"),
                     TRUC_E_MALFORMED); /* a number for a part */
    assert_int_equal(check_hex(INSPECTED, DOSSIER_FIELD "1001180122026100"), TRUC_E_MALFORMED); /* NUL in text */
}

static void test_a_geometry_has_one_form(void **state)
{
    (void)state;
    const char *type = "vn.truc.land.parcel-registered.v1";
    /* parcel {identifier "A", geometry {wkb 01, geojson "{}"}}, registered_at_us 1 */
    assert_int_equal(check_hex(type, "0a0c"
                                     "0a0141"
                                     "3a07"
                                     "120101"
                                     "1a027b7d"
                                     "1001"),
                     TRUC_E_MALFORMED);
    assert_string_equal(why, "geojson comes twice, or beside another form of it");
    assert_int_equal(check_hex(type, "0a08"
                                     "0a0141"
                                     "3a03"
                                     "120101"
                                     "1001"),
                     TRUC_OK);
}

static void test_every_cut_is_noticed(void **state)
{
    (void)state;
    uint8_t packed[512];
    submitted.summary = (char *)(uintptr_t) "x";
    size_t size = protobuf_c_message_pack(&submitted.base, packed), refused = 0;
    for (size_t cut = 0; cut < size; cut++) {
        refused += check(SUBMITTED, truc_bytes(packed, cut)) == TRUC_E_MALFORMED;
    }
    /* the summary is the last field and not needed: without it the data is whole again */
    assert_int_equal(refused, size - 1);
    assert_int_equal(check(SUBMITTED, truc_bytes(packed, size)), TRUC_OK);
}

static void test_dossier_codes(void **state)
{
    (void)state;
    static const char *const good[] = {CODE, "000.00.12.H62-201105-0004", "G09.20-20260609-0092637", "H14-240229-0001"};
    static const char *const bad[] = {"",
                                      "H14.09",
                                      "H14.09-20260609",
                                      "H14.09-20260609-123",
                                      "H14.09-20260609-12345678",
                                      "H14.09-20260631-0000123",
                                      "H14.09-230229-0001",
                                      "H14.09-2026069-0001",
                                      "h14.09-20260609-0001",
                                      "-20260609-0001",
                                      "H14.09-20260609-000a",
                                      "H14.09-20260609-0001-1",
                                      "H14.09 -20260609-0001"};
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
        assert_true(truc_dossier_code_is_valid(truc_bytes_of(good[i])));
    }
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        assert_false(truc_dossier_code_is_valid(truc_bytes_of(bad[i])));
    }
    dossier.code = (char *)(uintptr_t) "case-10011";
    assert_int_equal(check_message(SUBMITTED, &submitted.base), TRUC_E_MALFORMED);
    assert_null(strstr(why, "10011")); /* what was sent is not said again */
}

static void test_a_unit_needs_its_day(void **state)
{
    (void)state;
    Truc__Dossier__V1__Unit unit = TRUC__DOSSIER__V1__UNIT__INIT;
    unit.code = (char *)(uintptr_t) "01273";
    submitted.unit = &unit;
    assert_int_equal(check_message(SUBMITTED, &submitted.base), TRUC_E_MALFORMED);
    assert_string_equal(why, "Unit needs read_on");
    unit.read_on = (char *)(uintptr_t) "20250230";
    assert_int_equal(check_message(SUBMITTED, &submitted.base), TRUC_E_MALFORMED);
    unit.read_on = (char *)(uintptr_t) "20250701";
    assert_int_equal(check_message(SUBMITTED, &submitted.base), TRUC_OK);
}

/* What the walk relies on, for whoever adds a type. */
static void test_the_schemas_themselves(void **state)
{
    (void)state;
    size_t count = 0;
    for (const char *type; (type = truc_payload_type(count)) != NULL; count++) {
        const ProtobufCMessageDescriptor *descriptor = truc_payload_descriptor(truc_bytes_of(type));
        assert_non_null(descriptor);
        assert_true(truc_type_is_valid(truc_bytes_of(type)));
        assert_true(descriptor->n_fields <= 64);
        for (unsigned i = 0; i < descriptor->n_fields; i++) {
            const ProtobufCFieldDescriptor *field = &descriptor->fields[i];
            /* a packed list of numbers would need another walk */
            assert_true(field->label != PROTOBUF_C_LABEL_REPEATED || field->type == PROTOBUF_C_TYPE_STRING ||
                        field->type == PROTOBUF_C_TYPE_MESSAGE);
        }
        assert_int_equal(check(type, truc_bytes("", 0)), TRUC_E_MALFORMED); /* every type needs something */
    }
    assert_int_equal(count, 29);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_a_full_dossier_passes, setup),
        cmocka_unit_test(test_unknown_types_pass_whatever_they_hold),
        cmocka_unit_test(test_the_data_of_a_known_type_is_protobuf),
        cmocka_unit_test_setup(test_what_a_type_needs_must_be_there, setup),
        cmocka_unit_test_setup(test_values_out_of_their_range, setup),
        cmocka_unit_test(test_numbers_must_be_numbers),
        cmocka_unit_test(test_there_is_one_spelling),
        cmocka_unit_test(test_a_geometry_has_one_form),
        cmocka_unit_test_setup(test_every_cut_is_noticed, setup),
        cmocka_unit_test_setup(test_dossier_codes, setup),
        cmocka_unit_test_setup(test_a_unit_needs_its_day, setup),
        cmocka_unit_test(test_the_schemas_themselves),
    };
    return cmocka_run_group_tests_name("payload", tests, NULL, NULL);
}
