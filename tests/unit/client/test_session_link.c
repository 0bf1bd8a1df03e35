/* The link: pings, silence, backoff, the ways in which a hub says goodbye, frames that no honest hub sends, questions.
 */
#include "tests/unit/client/fake_hub.h"

#define S INT64_C(1000000)

static int setup(void **state)
{
    *state = world_new(2);
    return 0;
}

static int teardown(void **state)
{
    world_free(*state);
    return 0;
}

static void say_bye(struct world *w, unsigned reason)
{
    Truc__V1__Bye bye = TRUC__V1__BYE__INIT;
    bye.reason = reason;
    say(w, TRUC_FRAME_BYE, &bye, nothing);
}

static void test_silence_is_pinged_and_ends_the_link(void **state)
{
    struct world *w = *state;
    greet(w);
    forget_heard(w);
    for (int i = 1; i <= 3; i++) {
        w->now += 9 * S;
        hear(w);
        assert_int_equal(count_heard(w, TRUC_FRAME_PING), i - 1);
        w->now += 1 * S;
        hear(w);
        assert_int_equal(count_heard(w, TRUC_FRAME_PING), i);
    }
    assert_int_equal(w->state, TRUC_CLIENT_OPEN);
    w->now += 10 * S;
    hear(w);
    assert_int_equal(w->state, TRUC_CLIENT_WAITING);
    assert_int_equal(client_session_link(w->session), 0);
}

static void test_a_pong_is_enough(void **state)
{
    struct world *w = *state;
    greet(w);
    for (int i = 0; i < 20; i++) {
        forget_heard(w);
        w->now += 10 * S;
        hear(w);
        Truc__V1__Ping *ping = unpack(nth_heard(w, TRUC_FRAME_PING, 0));
        Truc__V1__Pong pong = TRUC__V1__PONG__INIT;
        pong.token = ping->token;
        FREE(ping);
        say(w, TRUC_FRAME_PONG, &pong, nothing);
    }
    assert_int_equal(w->state, TRUC_CLIENT_OPEN);
}

static void test_no_welcome_is_a_lost_link(void **state)
{
    struct world *w = *state;
    hear(w);
    assert_int_equal(w->state, TRUC_CLIENT_CONNECTING);
    assert_int_equal(client_session_deadline(w->session), w->now + 10 * S);
    w->now += 10 * S;
    hear(w);
    assert_int_equal(w->state, TRUC_CLIENT_WAITING);
}

static void test_backoff_grows_and_walks_through_the_endpoints(void **state)
{
    struct world *w = *state;
    int64_t last = 0;
    for (size_t i = 0; i < 12; i++) {
        hear(w);
        assert_int_equal(w->state, TRUC_CLIENT_CONNECTING);
        assert_int_equal(client_session_endpoint(w->session), i % 3);
        assert_int_equal(client_session_link(w->session), i + 1);
        assert_int_equal(client_session_link_lost(w->session, false, "refused"), TRUC_OK);
        last = client_session_deadline(w->session) - w->now;
        int64_t most = (S / 10) << i;
        most = most > 10 * S ? 10 * S : most;
        assert_true(last >= most / 2 && last <= most); /* half of it is chance */
        forget_heard(w);
        w->now += last;
    }
    greet(w);
    assert_int_equal(client_session_link_lost(w->session, false, "lost"), TRUC_OK);
    assert_true(client_session_deadline(w->session) - w->now <= S / 10); /* a WELCOME makes it quick again */
}

static void test_goodbyes(void **state)
{
    struct world *w = *state;
    static const struct {
        unsigned reason;
        enum truc_client_state state;
        int64_t least_us;
    } cases[] = {
        {0, TRUC_CLIENT_WAITING, 0},
        {TRUC_OVERLOADED, TRUC_CLIENT_WAITING, 0},
        {TRUC_SUSPENDED, TRUC_CLIENT_WAITING, 15 * S},
        {4711, TRUC_CLIENT_WAITING, 0}, /* a reason of a later version */
        {TRUC_UNKNOWN_KEY, TRUC_CLIENT_STOPPED, 0},
        {TRUC_WRONG_ORIGIN, TRUC_CLIENT_STOPPED, 0},
        {TRUC_KEY_REVOKED, TRUC_CLIENT_STOPPED, 0},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        hear(w);
        say_bye(w, cases[i].reason);
        assert_int_equal(w->state, cases[i].state);
        if (cases[i].reason != 0 && cases[i].reason < 100) {
            assert_non_null(strstr(w->text, truc_reason_name(cases[i].reason))); /* says why */
        }
        if (w->state == TRUC_CLIENT_STOPPED) {
            assert_int_equal(client_session_error(w->session), TRUC_E_REFUSED);
            world_restart(w);
        } else {
            assert_true(client_session_deadline(w->session) - w->now >= cases[i].least_us);
            w->now += 31 * S;
        }
    }
}

static void test_a_hub_that_keeps_calling_us_malformed_is_left_alone(void **state)
{
    struct world *w = *state;
    for (int i = 0; i < 3; i++) {
        assert_true(w->state != TRUC_CLIENT_STOPPED);
        greet(w);
        say_bye(w, TRUC_MALFORMED);
        w->now += 31 * S;
    }
    assert_int_equal(w->state, TRUC_CLIENT_STOPPED);
}

static void raw(struct world *w, const struct truc_bytes *parts, size_t count)
{
    assert_int_equal(client_session_message(w->session, parts, count), TRUC_OK);
}

static void test_frames_that_no_hub_sends_end_the_link(void **state)
{
    struct world *w = *state;
    static const uint8_t big[TRUC_PIECE_MAX + 1];
    const struct truc_bytes empty = truc_bytes("", 0), pong = truc_bytes("\1\50\0\0", 4),
                            version = truc_bytes("\2\50\0\0", 4), kind = truc_bytes("\1\77\0\0", 4),
                            hello = truc_bytes("\1\1\0\0", 4), junk = truc_bytes("\1\42\0\0\377\377", 6),
                            deliver = truc_bytes("\1\44\0\0", 4), data = truc_bytes("\1\13\0\0", 4),
                            answer_more = truc_bytes("\1\47\1\0", 4), tail = truc_bytes(big, sizeof big),
                            body = truc_bytes("\5\0\0\0x", 5);
    const struct truc_bytes cases[][3] = {
        {empty, empty, empty}, {version, empty, empty}, {kind, empty, empty},   {hello, empty, empty},
        {junk, empty, empty},  {pong, empty, empty},    {deliver, tail, empty}, {deliver, body, empty},
        {data, empty, empty},  {deliver, empty, empty},
    };
    const size_t counts[] = {1, 1, 1, 1, 1, 2, 2, 2, 2, 1};
    for (size_t i = 0; i < sizeof counts / sizeof counts[0]; i++) {
        greet(w);
        raw(w, cases[i], counts[i]);
        assert_int_equal(w->state, TRUC_CLIENT_WAITING);
        raw(w, cases[i], counts[i]); /* what is left of a dead link is not even read */
        w->now += 31 * S;
    }
    greet(w);
    const struct truc_bytes pieces[] = {answer_more, body};
    raw(w, pieces, 2);
    raw(w, &pong, 1); /* between the pieces of a body */
    assert_int_equal(w->state, TRUC_CLIENT_WAITING);
    raw(w, NULL, 0);
}

static void test_nothing_is_believed_before_welcome(void **state)
{
    struct world *w = *state;
    Truc__V1__Pong pong = TRUC__V1__PONG__INIT;
    hear(w);
    say(w, TRUC_FRAME_PONG, &pong, nothing);
    assert_int_equal(w->state, TRUC_CLIENT_WAITING);
    w->now += 31 * S;
    greet(w);
    say_welcome_from(w, 0, NULL); /* nor a second one */
    assert_int_equal(w->state, TRUC_CLIENT_WAITING);
}

/* ---- questions ---- */

static char pages[256];
static unsigned page_count, last_count;
static truc_reason answered;

static void on_answer(void *context, truc_reason reason, const char *text, struct truc_bytes json, bool last)
{
    (void)context;
    (void)text;
    size_t used = strlen(pages);
    (void)snprintf(pages + used, sizeof pages - used, "%.*s", (int)json.size, (const char *)json.data);
    page_count++;
    last_count += last;
    answered = reason;
}

static void say_answer(struct world *w, uint64_t request, unsigned reason, const char *cursor, const char *json)
{
    Truc__V1__Answer answer = TRUC__V1__ANSWER__INIT;
    char copy[32];
    (void)snprintf(copy, sizeof copy, "%s", cursor);
    answer.request = request;
    answer.reason = reason;
    answer.cursor = copy;
    say(w, TRUC_FRAME_ANSWER, &answer, truc_bytes_of(json));
}

static void test_queries_go_page_by_page(void **state)
{
    struct world *w = *state;
    const char *const arguments[] = {"agency", "H7", NULL}, *const odd[] = {"agency", NULL};
    pages[0] = '\0';
    page_count = last_count = 0;
    assert_int_equal(client_session_query(w->session, "inbox", odd, on_answer, NULL), TRUC_E_INVALID);
    assert_int_equal(client_session_query(w->session, "inbox", arguments, on_answer, NULL), TRUC_OK);
    greet(w); /* asked before there was a link */
    Truc__V1__Query *query = unpack(nth_heard(w, TRUC_FRAME_QUERY, 0));
    assert_string_equal(query->what, "inbox");
    assert_int_equal(query->n_arguments, 1);
    assert_string_equal(query->arguments[0]->key, "agency");
    assert_string_equal(query->arguments[0]->value, "H7");
    say_answer(w, query->request + 5, 0, "", "[9]"); /* of a question that nobody asked */
    say_answer(w, query->request, 0, "c1", "[1]");
    FREE(query);
    lose_link(w);
    greet(w); /* goes on with the page that is missing */
    query = unpack(nth_heard(w, TRUC_FRAME_QUERY, 0));
    assert_string_equal(query->cursor, "c1");
    say_answer(w, query->request, 0, "", "[2]");
    say_answer(w, query->request, 0, "", "[2]");
    FREE(query);
    assert_string_equal(pages, "[1][2]");
    assert_int_equal(page_count, 2);
    assert_int_equal(last_count, 1);
    forget_heard(w);
    assert_int_equal(client_session_query(w->session, "grants", NULL, on_answer, NULL), TRUC_OK);
    hear(w);
    query = unpack(nth_heard(w, TRUC_FRAME_QUERY, 0));
    say_answer(w, query->request, TRUC_NOT_GRANTED, "ignored", "");
    FREE(query);
    assert_int_equal(answered, TRUC_NOT_GRANTED);
    assert_int_equal(last_count, 2);
}

static void test_subscriptions_are_asked_until_settled(void **state)
{
    struct world *w = *state;
    char type[] = "dossier.*", *types[] = {type};
    assert_int_equal(client_session_subscribe(w->session, "Bad Type", NULL, false), TRUC_E_INVALID);
    assert_int_equal(client_session_subscribe(w->session, type, "H9", false), TRUC_OK);
    greet(w);
    assert_int_equal(count_heard(w, TRUC_FRAME_SUBSCRIBE), 1);
    lose_link(w);
    greet(w);
    assert_int_equal(count_heard(w, TRUC_FRAME_SUBSCRIBE), 1);
    assert_int_equal(client_session_pending_subscriptions(w->session), 1);
    Truc__V1__Settled settled = TRUC__V1__SETTLED__INIT;
    settled.subscriptions = types;
    settled.n_subscriptions = 1;
    say(w, TRUC_FRAME_SETTLED, &settled, nothing);
    assert_int_equal(client_session_pending_subscriptions(w->session), 0);
    say(w, TRUC_FRAME_SETTLED, &settled, nothing);
}

static unsigned evidence_count;
static truc_reason evidence_reason;
static bool evidence_there;

static void on_evidence(void *context, truc_reason reason, const struct truc_evidence *evidence)
{
    (void)context;
    evidence_count++;
    evidence_reason = reason;
    evidence_there = evidence != NULL;
}

/* PROOF of event `index` of a submitted seal whose leaf is the log's last. */
static void say_proof(struct world *w, uint64_t request, const struct submitted *seal, struct truc_bytes leaf,
                      uint32_t index)
{
    Truc__V1__Proof proof = TRUC__V1__PROOF__INIT;
    Truc__V1__Submit *sent = unpack(seal->heard);
    struct truc_hash hashes[8], path[TRUC_PROOF_MAX], seal_path[TRUC_PROOF_MAX], growth[TRUC_PROOF_MAX];
    ProtobufCBinaryData list[TRUC_PROOF_MAX], seal_list[TRUC_PROOF_MAX], growth_list[TRUC_PROOF_MAX];
    struct truc_bytes event, wanted = nothing;
    struct truc_buffer note = hub_note(w);
    size_t at = 0, n = 0;
    while (truc_body_next(truc_buffer_view(&seal->heard->body), &at, &event) == TRUC_OK) {
        wanted = n == index ? event : wanted;
        truc_leaf_hash(&hashes[n++], event);
    }
    proof.request = request;
    proof.event = (ProtobufCBinaryData){wanted.size, (uint8_t *)(uintptr_t)wanted.data};
    proof.envelope = sent->envelope;
    proof.index = index;
    assert_int_equal(truc_inclusion_path_of(hashes, n, index, seal_path, &proof.n_seal_path), TRUC_OK);
    hashes_of(seal_path, proof.n_seal_path, seal_list);
    proof.seal_path = seal_list;
    proof.leaf = (ProtobufCBinaryData){leaf.size, (uint8_t *)(uintptr_t)leaf.data};
    proof.leaf_index = w->size - 1;
    assert_int_equal(truc_inclusion_path(hub_node, w, w->size - 1, w->size, path, &proof.n_path), TRUC_OK);
    hashes_of(path, proof.n_path, list);
    proof.path = list;
    proof.checkpoint = (ProtobufCBinaryData){note.size, note.data};
    proof.n_consistency = hub_consistency(w, w->told, growth, growth_list);
    proof.consistency = growth_list;
    say(w, TRUC_FRAME_PROOF, &proof, nothing);
    truc_buffer_close(&note);
    FREE(sent);
}

static uint64_t asked_proof(struct world *w, size_t n)
{
    Truc__V1__GetProof *get = unpack(nth_heard(w, TRUC_FRAME_GET_PROOF, n));
    uint64_t request = get->request;
    FREE(get);
    return request;
}

static void test_evidence_is_verified_before_it_is_told(void **state)
{
    struct world *w = *state;
    evidence_count = 0;
    greet(w);
    (void)submit(w, "a");
    (void)submit(w, "b");
    (void)submit(w, "c");
    hear(w);
    struct submitted seal = open_submit(w, 0);
    struct truc_buffer leaf = hub_log(w, &seal, NULL);
    assert_int_equal(client_session_evidence(w->session, 2, on_evidence, NULL), TRUC_OK);
    assert_int_equal(client_session_evidence(w->session, 3, on_evidence, NULL), TRUC_OK);
    assert_int_equal(client_session_evidence(w->session, 99, on_evidence, NULL), TRUC_OK);
    hear(w);
    say_proof(w, asked_proof(w, 0), &seal, truc_buffer_view(&leaf), 1);
    assert_int_equal(evidence_count, 1);
    assert_int_equal(evidence_reason, TRUC_ACCEPTED);
    assert_true(evidence_there);
    say_proof(w, asked_proof(w, 1), &seal, truc_buffer_view(&leaf), 1); /* a true proof, of another event */
    assert_int_equal(evidence_count, 2);
    assert_int_equal(evidence_reason, TRUC_BAD_SEAL);
    assert_false(evidence_there);
    Truc__V1__Proof refused = TRUC__V1__PROOF__INIT;
    refused.request = asked_proof(w, 2);
    refused.reason = TRUC_NOT_GRANTED;
    say(w, TRUC_FRAME_PROOF, &refused, nothing);
    assert_int_equal(evidence_count, 3);
    assert_int_equal(evidence_reason, TRUC_NOT_GRANTED);
    truc_buffer_close(&leaf);
}

static void test_evidence_under_a_forked_checkpoint_stops_the_client(void **state)
{
    struct world *w = *state;
    evidence_count = 0;
    greet(w);
    (void)submit(w, "a");
    hear(w);
    struct submitted seal = open_submit(w, 0);
    assert_int_equal(client_session_evidence(w->session, 2, on_evidence, NULL), TRUC_OK);
    hear(w);
    w->leaves[0].bytes[3] ^= 1; /* not the tree that WELCOME showed */
    struct truc_buffer leaf = hub_log(w, &seal, NULL);
    say_proof(w, asked_proof(w, 0), &seal, truc_buffer_view(&leaf), 0);
    truc_buffer_close(&leaf);
    assert_int_equal(w->state, TRUC_CLIENT_STOPPED);
    assert_int_equal(client_session_error(w->session), TRUC_E_FORKED);
    assert_int_equal(evidence_count, 0);
}

/* The next proof of growth begins where this PROOF ended, though nobody waits for it. */
static void test_a_proof_that_nobody_asked_for_still_grows_the_log(void **state)
{
    struct world *w = *state;
    struct truc_checkpoint known;
    evidence_count = 0;
    greet(w);
    (void)submit(w, "a");
    hear(w);
    struct submitted seal = open_submit(w, 0);
    struct truc_buffer leaf = hub_log(w, &seal, NULL);
    say_proof(w, 77, &seal, truc_buffer_view(&leaf), 0);
    client_session_checkpoint(w->session, &known);
    assert_int_equal(known.size, 2);
    assert_int_equal(evidence_count, 0);
    say_receipt(w, &seal, truc_buffer_view(&leaf), 1, DAMAGE_NONE);
    truc_buffer_close(&leaf);
    assert_int_equal(w->state, TRUC_CLIENT_OPEN);
    assert_int_equal(w->receipt_count, 1);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_silence_is_pinged_and_ends_the_link),
        TEST(test_a_pong_is_enough),
        TEST(test_no_welcome_is_a_lost_link),
        TEST(test_backoff_grows_and_walks_through_the_endpoints),
        TEST(test_goodbyes),
        TEST(test_a_hub_that_keeps_calling_us_malformed_is_left_alone),
        TEST(test_frames_that_no_hub_sends_end_the_link),
        TEST(test_nothing_is_believed_before_welcome),
        TEST(test_queries_go_page_by_page),
        TEST(test_subscriptions_are_asked_until_settled),
        TEST(test_evidence_is_verified_before_it_is_told),
        TEST(test_evidence_under_a_forked_checkpoint_stops_the_client),
        TEST(test_a_proof_that_nobody_asked_for_still_grows_the_log),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
