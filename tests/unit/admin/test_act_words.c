/* Governance as a person reads it in `truc log show`: who did what to whom. */
#include "hub/admin/act_words.h"
#include "truc/bytes.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

static void expect(const struct hub_governance *act, bool done, const char *words)
{
    struct truc_buffer out = {0};
    admin_act_words("ADM", act, done, &out);
    assert_int_equal(truc_buffer_append(&out, "", 1), TRUC_OK);
    assert_string_equal((char *)out.data, words);
    truc_buffer_close(&out);
}

static void agencies(void **state)
{
    struct hub_governance act = {.act = HUB_ACT_ENROL_AGENCY,
                                 .enrolment_count = 1,
                                 .enrolments = {{.agency = "H14",
                                                 .name = truc_bytes_of("One-stop desk"),
                                                 .role = HUB_ROLE_AGENCY,
                                                 .group_count = 2,
                                                 .groups = {truc_bytes_of("land"), truc_bytes_of("tax")},
                                                 .quota_bytes_per_s = 9}}};
    (void)state;
    expect(&act, true, "ADM enrolled H14 \"One-stop desk\" in @land, @tax, with at most 9 bytes a second");
    act.enrolments[0] = (struct hub_enrolment){.agency = "H15", .role = HUB_ROLE_AUDITOR, .quota_events_per_s = 5};
    expect(&act, true, "ADM enrolled H15 as auditor, with at most 5 events a second");
    const struct hub_governance suspend = {
        .act = HUB_ACT_SUSPEND_AGENCY, .agency = "H14", .reason = truc_bytes_of("audit")};
    expect(&suspend, true, "ADM suspended H14; reason: audit");
    expect(&suspend, false, "ADM tried to suspend H14; reason: audit");
    const struct hub_governance resume = {.act = HUB_ACT_RESUME_AGENCY, .agency = "H14"};
    expect(&resume, true, "ADM resumed H14");
}

static void keys(void **state)
{
    struct hub_governance act = {.act = HUB_ACT_ADD_KEY, .agency = "H14", .key = {.present = true}};
    (void)state;
    memset(act.key.keyid, 'a', TRUC_KEYID_HEX);
    expect(&act, true, "ADM gave H14 the signing key aaaaaaaaaaaaaaaa...");
    act.act = HUB_ACT_REVOKE_KEY;
    expect(&act, true, "ADM revoked the signing key aaaaaaaaaaaaaaaa... of H14");
    act.has_transport = true;
    act.transport[0] = 0xfe;
    expect(&act, false, "ADM tried to revoke the transport key fe00000000000000... of H14");
}

static void rights(void **state)
{
    struct hub_governance act = {.act = HUB_ACT_GIVE_GRANT,
                                 .grant = truc_bytes_of("land-1"),
                                 .from = truc_bytes_of("H14"),
                                 .to = truc_bytes_of("@land"),
                                 .type = truc_bytes_of("x.*"),
                                 .legal_basis = truc_bytes_of("Decree 61")};
    (void)state;
    expect(&act, true, "ADM allowed H14 to send x.* to @land (grant land-1: Decree 61)");
    act.act = HUB_ACT_WITHDRAW_GRANT;
    expect(&act, true, "ADM withdrew grant land-1");
    act = (struct hub_governance){.act = HUB_ACT_ADD_SUBSCRIPTION,
                                  .agency = "H14",
                                  .type = truc_bytes_of("x.*"),
                                  .source_agency = truc_bytes_of("H15")};
    expect(&act, true, "ADM subscribed H14 to x.* of H15 only");
    act.act = HUB_ACT_REMOVE_SUBSCRIPTION;
    act.source_agency = (struct truc_bytes){0};
    expect(&act, true, "ADM unsubscribed H14 from x.*");
}

static void the_rest(void **state)
{
    struct hub_governance act = {.act = HUB_ACT_DEAD_LETTER, .agency = "H14", .number = 12};
    (void)state;
    expect(&act, true, "ADM requeued dead letter 12 of H14");
    act.drop = true;
    expect(&act, true, "ADM dropped dead letter 12 of H14");
    act = (struct hub_governance){.act = HUB_ACT_ORDER_REPLAY, .agency = "H14", .replay_count = 1};
    expect(&act, true, "ADM ordered a replay of 1 event to H14");
    act = (struct hub_governance){.act = HUB_ACT_PARAMETERS, .parameters = {.seal_events = 9, .hold_s = 7}};
    expect(&act, true, "ADM changed the log's parameters: seal_events=9 hold_s=7");
    act = (struct hub_governance){
        .act = HUB_ACT_SET_QUOTA, .agency = "H14", .quota_events_per_s = 3, .quota_bytes_per_s = 4};
    expect(&act, true, "ADM limited H14 to 3 events and 4 bytes a second");
    act.quota_events_per_s = 0;
    act.quota_bytes_per_s = 0;
    expect(&act, true, "ADM lifted the quota of H14");
    act = (struct hub_governance){.act = HUB_ACT_GENESIS,
                                  .origin = truc_bytes_of("t/log"),
                                  .enrolment_count = 2,
                                  .enrolments = {{.agency = "A1"}, {.agency = "A2"}}};
    expect(&act, true, "ADM began the log t/log with the administrators A1, A2");
}

/* The longest texts that an act may have stand in its words as a whole. */
static void long_texts_are_not_cut(void **state)
{
    static char reason[1025];
    struct truc_buffer out = {0};
    (void)state;
    memset(reason, 'r', sizeof(reason) - 1);
    const struct hub_governance act = {.act = HUB_ACT_SUSPEND_AGENCY, .agency = "H14", .reason = truc_bytes_of(reason)};
    admin_act_words("ADM", &act, true, &out);
    assert_int_equal(out.size, strlen("ADM suspended H14; reason: ") + 1024);
    truc_buffer_close(&out);
}

static void every_act_has_a_name_and_says_what_it_concerns(void **state)
{
    (void)state;
    for (int act = HUB_ACT_GENESIS; act <= HUB_ACT_SET_QUOTA; act++) {
        const struct hub_governance order = {.act = (enum hub_act)act,
                                             .agency = "H14",
                                             .grant = truc_bytes_of("g"),
                                             .enrolment_count = 1,
                                             .enrolments = {{.agency = "H14"}}};
        assert_true(strlen(admin_act_name((enum hub_act)act)) > 0);
        bool whole_log = act == HUB_ACT_GENESIS || act == HUB_ACT_PARAMETERS;
        bool grant = act == HUB_ACT_GIVE_GRANT || act == HUB_ACT_WITHDRAW_GRANT;
        assert_true(truc_bytes_equal(admin_act_concerns(&order), truc_bytes_of(whole_log ? "" : grant ? "g" : "H14")));
    }
    assert_string_equal(admin_act_name(HUB_ACT_SET_QUOTA), "set_quota");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(agencies),
        cmocka_unit_test(keys),
        cmocka_unit_test(rights),
        cmocka_unit_test(the_rest),
        cmocka_unit_test(long_texts_are_not_cut),
        cmocka_unit_test(every_act_has_a_name_and_says_what_it_concerns),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
