/* The whole client over real sockets and a real spool, with a small ROUTER of ours as the hub's end: frames arrive with
 * their parts, receipts come back, the spool is there again after a restart. And the profile folder. */
#include "tests/unit/client/disk_faults.h"
#include "tests/unit/client/fake_hub.h"
#include "truc/config.h"

#include <errno.h>
#include <poll.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zmq.h>

static char folder[64];
static void *zmq;
static char hub_public[TRUC_TRANSPORT_KEY_TEXT], hub_secret[TRUC_TRANSPORT_KEY_TEXT];
static char own_public[TRUC_TRANSPORT_KEY_TEXT], own_secret[TRUC_TRANSPORT_KEY_TEXT];

/* The hub's end: one peer. */
struct peer {
    void *router;
    char endpoint[128];
    uint8_t id[16];
    size_t id_size;
};

static void peer_open(struct peer *peer)
{
    int one = 1, zero = 0;
    size_t size = sizeof peer->endpoint;
    peer->router = zmq_socket(zmq, ZMQ_ROUTER);
    assert_non_null(peer->router);
    assert_int_equal(zmq_setsockopt(peer->router, ZMQ_CURVE_SERVER, &one, sizeof one), 0);
    assert_int_equal(zmq_setsockopt(peer->router, ZMQ_CURVE_SECRETKEY, hub_secret, sizeof hub_secret), 0);
    assert_int_equal(zmq_setsockopt(peer->router, ZMQ_LINGER, &zero, sizeof zero), 0);
    assert_int_equal(zmq_bind(peer->router, peer->endpoint[0] != '\0' ? peer->endpoint : "tcp://127.0.0.1:*"), 0);
    assert_int_equal(zmq_getsockopt(peer->router, ZMQ_LAST_ENDPOINT, peer->endpoint, &size), 0);
}

static void step(struct truc_client *client)
{
    assert_int_equal(truc_client_step(client), TRUC_OK);
}

/* Waits for one of both ends to have something to do, then steps the client. */
static void wait_a_bit(struct truc_client *client, struct peer *peer)
{
    zmq_pollitem_t items[] = {{peer->router, 0, ZMQ_POLLIN, 0}, {NULL, truc_client_fd(client), ZMQ_POLLIN, 0}};
    int timeout = truc_client_timeout_ms(client);
    assert_true(zmq_poll(items, items[1].fd >= 0 ? 2 : 1, timeout < 1000 ? timeout : 1000) >= 0);
    step(client);
}

/* Receives one frame of a kind; others are passed over. Body pieces are joined. */
static struct heard peer_hear(struct truc_client *client, struct peer *peer, unsigned kind)
{
    struct heard out = {.kind = kind};
    bool ours = false, more = true;
    for (int rounds = 0; rounds < 10000; rounds++) {
        zmq_msg_t part;
        struct truc_frame_head head;
        zmq_msg_init(&part);
        if (zmq_msg_recv(&part, peer->router, ZMQ_DONTWAIT) < 0) {
            assert_int_equal(errno, EAGAIN);
            zmq_msg_close(&part);
            wait_a_bit(client, peer);
            continue;
        }
        peer->id_size = zmq_msg_size(&part);
        assert_true(peer->id_size <= sizeof peer->id);
        memcpy(peer->id, zmq_msg_data(&part), peer->id_size);
        assert_true(zmq_msg_more(&part));
        assert_true(zmq_msg_recv(&part, peer->router, 0) >= 0);
        assert_int_equal(truc_frame_parse(truc_bytes(zmq_msg_data(&part), zmq_msg_size(&part)), &head), TRUC_OK);
        ours = ours || head.kind == kind;
        if (ours && out.head.size == 0) {
            assert_int_equal(truc_buffer_append(&out.head, zmq_msg_data(&part), zmq_msg_size(&part)), TRUC_OK);
        }
        more = (head.flags & TRUC_FRAME_MORE) != 0;
        assert_int_equal(zmq_msg_more(&part), truc_frame_has_body(head.kind));
        if (zmq_msg_more(&part)) {
            assert_true(zmq_msg_recv(&part, peer->router, 0) >= 0);
            if (ours) {
                assert_int_equal(truc_buffer_append(&out.body, zmq_msg_data(&part), zmq_msg_size(&part)), TRUC_OK);
            }
        }
        zmq_msg_close(&part);
        if (ours && !more) {
            return out;
        }
    }
    fail_msg("%s never came", truc_frame_name(kind));
    return out;
}

static void peer_say(struct peer *peer, enum truc_frame_kind kind, const ProtobufCMessage *message)
{
    struct truc_buffer head = {0};
    assert_int_equal(truc_frame_encode(kind, 0, message, &head), TRUC_OK);
    assert_true(zmq_send(peer->router, peer->id, peer->id_size, ZMQ_SNDMORE) >= 0);
    assert_true(zmq_send(peer->router, head.data, head.size, 0) >= 0);
    truc_buffer_close(&head);
}

static void close_heard(struct heard *heard)
{
    truc_buffer_close(&heard->head);
    truc_buffer_close(&heard->body);
}

static struct truc_client *client_open(struct world *w, const char *const *endpoints, size_t count)
{
    struct truc_client *client = NULL;
    char spool[96];
    (void)snprintf(spool, sizeof spool, "%s/spool", folder);
    const struct truc_client_config config = {.agency = HUB_AGENCY,
                                              .origin = HUB_ORIGIN,
                                              .endpoints = endpoints,
                                              .endpoint_count = count,
                                              .hub_public = hub_public,
                                              .transport_public = own_public,
                                              .transport_secret = own_secret,
                                              .signing_key = w->own_key,
                                              .note_key = w->verifier_text,
                                              .spool = spool,
                                              .spool_bytes = 1 << 26,
                                              .software = "test/1"};
    assert_int_equal(truc_client_new(&config, &w->callbacks, &client), TRUC_OK);
    return client;
}

static void welcome(struct world *w, struct truc_client *client, struct peer *peer)
{
    struct heard heard = peer_hear(client, peer, TRUC_FRAME_HELLO);
    Truc__V1__Hello *hello = unpack(&heard);
    Truc__V1__Welcome message = TRUC__V1__WELCOME__INIT;
    struct truc_buffer note = hub_note(w);
    char origin[] = HUB_ORIGIN;
    assert_true(hello->checkpoint.len == 0 || hello->checkpoint.len == note.size);
    message.protocol = 1;
    message.origin = origin;
    message.checkpoint = (ProtobufCBinaryData){note.size, note.data};
    w->told = w->size;
    peer_say(peer, TRUC_FRAME_WELCOME, &message.base);
    while (truc_client_state(client) != TRUC_CLIENT_OPEN) {
        assert_int_not_equal(truc_client_state(client), TRUC_CLIENT_STOPPED);
        wait_a_bit(client, peer);
    }
    truc_buffer_close(&note);
    FREE(hello);
    close_heard(&heard);
}

static void receipt(struct world *w, struct peer *peer, const struct heard *heard)
{
    Truc__V1__Submit *sent = unpack(heard);
    Truc__V1__Receipts receipts = TRUC__V1__RECEIPTS__INIT;
    Truc__V1__Receipt one = TRUC__V1__RECEIPT__INIT, *list[] = {&one};
    struct submitted seal = {.heard = heard};
    struct truc_hash path[TRUC_PROOF_MAX], growth[TRUC_PROOF_MAX];
    ProtobufCBinaryData hashes[TRUC_PROOF_MAX], growth_hashes[TRUC_PROOF_MAX];
    assert_int_equal(truc_envelope_parse(truc_bytes(sent->envelope.data, sent->envelope.len), &seal.envelope), TRUC_OK);
    seal.count = seal.envelope.seal.count;
    struct truc_buffer leaf = hub_log(w, &seal, NULL), note = hub_note(w);
    assert_int_equal(truc_inclusion_path(hub_node, w, w->size - 1, w->size, path, &one.n_path), TRUC_OK);
    hashes_of(path, one.n_path, hashes);
    one.path = hashes;
    one.seal_digest = (ProtobufCBinaryData){TRUC_HASH_SIZE, seal.envelope.digest.bytes};
    one.leaf = (ProtobufCBinaryData){leaf.size, leaf.data};
    one.leaf_index = w->size - 1;
    receipts.checkpoint = (ProtobufCBinaryData){note.size, note.data};
    receipts.receipts = list;
    receipts.n_receipts = 1;
    receipts.n_consistency = hub_consistency(w, w->told, growth, growth_hashes);
    receipts.consistency = growth_hashes;
    peer_say(peer, TRUC_FRAME_RECEIPTS, &receipts.base);
    truc_buffer_close(&leaf);
    truc_buffer_close(&note);
    FREE(sent);
}

static void submit_to(struct truc_client *client, const char *id, size_t size)
{
    struct truc_buffer event = make_event(HUB_AGENCY, id, NULL, size);
    uint64_t ticket;
    assert_int_equal(truc_client_submit(client, truc_buffer_view(&event), &ticket), TRUC_OK);
    truc_buffer_close(&event);
}

static int setup(void **state)
{
    (void)snprintf(folder, sizeof folder, "/tmp/truc-client-XXXXXX");
    zmq = zmq_ctx_new();
    if (mkdtemp(folder) == NULL || zmq == NULL || truc_transport_keypair(hub_public, hub_secret) != TRUC_OK ||
        truc_transport_keypair(own_public, own_secret) != TRUC_OK) {
        return -1;
    }
    *state = world_new(2);
    return 0;
}

static void remove_file(const char *name)
{
    char path[160];
    (void)snprintf(path, sizeof path, "%s/%s", folder, name);
    (void)remove(path);
}

static int teardown(void **state)
{
    static const char *const names[] = {"spool/data.mdb", "spool/lock.mdb", "spool/owner.lock", "spool",
                                        "profile.yaml",   "sign.pem",       "transport.secret", "transport.public",
                                        "hub.public",     "note.key"};
    world_free(*state);
    zmq_ctx_term(zmq);
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        remove_file(names[i]);
    }
    return rmdir(folder);
}

static void test_submits_over_curve_and_takes_receipts(void **state)
{
    struct world *w = *state;
    struct peer peer = {0};
    peer_open(&peer);
    const char *const endpoints[] = {peer.endpoint};
    struct truc_client *client = client_open(w, endpoints, 1);
    welcome(w, client, &peer);
    submit_to(client, "small", 10);
    submit_to(client, "large", 900000);                  /* in pieces, shared with the flight without a copy */
    assert_int_equal(truc_client_timeout_ms(client), 0); /* there is something to do */
    struct heard heard = peer_hear(client, &peer, TRUC_FRAME_SUBMIT);
    assert_true(heard.body.size > 900000);
    receipt(w, &peer, &heard);
    while (w->receipt_count < 2) {
        wait_a_bit(client, &peer);
    }
    close_heard(&heard);
    assert_int_equal(truc_client_pending(client), 0);
    struct truc_checkpoint checkpoint;
    truc_client_checkpoint(client, &checkpoint);
    assert_int_equal(checkpoint.size, 2);
    truc_client_free(&client);
    zmq_close(peer.router);
}

static void test_an_outage_and_a_restart_lose_nothing(void **state)
{
    struct world *w = *state;
    struct peer peer = {0};
    peer_open(&peer);
    const char *const endpoints[] = {"tcp://127.0.0.1:1", peer.endpoint}; /* nobody listens at the first one */
    struct truc_client *client = client_open(w, endpoints, 2);
    submit_to(client, "a", 10);
    welcome(w, client, &peer); /* came here by itself */
    struct heard heard = peer_hear(client, &peer, TRUC_FRAME_SUBMIT);
    close_heard(&heard);
    zmq_close(peer.router); /* the hub dies before its receipt */
    while (truc_client_state(client) == TRUC_CLIENT_OPEN) {
        struct pollfd fd = {.fd = truc_client_fd(client), .events = POLLIN};
        assert_true(poll(&fd, 1, 1000) >= 0);
        step(client);
    }
    submit_to(client, "b", 10);
    assert_int_equal(truc_client_sync(client), TRUC_OK);
    truc_client_free(&client);

    peer_open(&peer);
    client = client_open(w, endpoints, 2);
    assert_int_equal(truc_client_pending(client), 2);
    welcome(w, client, &peer);
    heard = peer_hear(client, &peer, TRUC_FRAME_SUBMIT);
    receipt(w, &peer, &heard);
    close_heard(&heard);
    while (w->receipt_count < 2) {
        wait_a_bit(client, &peer);
    }
    truc_client_free(&client);
    zmq_close(peer.router);
}

/* A disk that takes its time holds up nobody: the seal goes, its receipt comes, and only then the sync ends. */
static void test_nobody_waits_for_the_disk(void **state)
{
    struct world *w = *state;
    struct peer peer = {0};
    peer_open(&peer);
    const char *const endpoints[] = {peer.endpoint};
    struct truc_client *client = client_open(w, endpoints, 1);
    welcome(w, client, &peer);
    assert_int_equal(truc_client_sync(client), TRUC_OK);
    assert_int_equal(truc_client_synced(client), truc_client_mark(client));
    gate_set(true);
    submit_to(client, "a", 10);
    uint64_t first = truc_client_mark(client);
    while (!gate_holds()) {
        wait_a_bit(client, &peer);
    }
    submit_to(client, "b", 10); /* fills while the first is with the disk and the hub */
    struct heard heard = peer_hear(client, &peer, TRUC_FRAME_SUBMIT);
    receipt(w, &peer, &heard);
    close_heard(&heard);
    while (w->receipt_count < 1) {
        wait_a_bit(client, &peer);
    }
    assert_true(truc_client_synced(client) < first);
    gate_set(false);
    heard = peer_hear(client, &peer, TRUC_FRAME_SUBMIT);
    receipt(w, &peer, &heard);
    close_heard(&heard);
    while (w->receipt_count < 2 || truc_client_synced(client) < truc_client_mark(client)) {
        wait_a_bit(client, &peer); /* the descriptor wakes it for the disk, too */
    }
    assert_int_equal(truc_client_pending(client), 0);
    truc_client_free(&client);
    client = client_open(w, endpoints, 1);
    assert_int_equal(truc_client_pending(client), 0);
    truc_client_free(&client);
    zmq_close(peer.router);
}

static void try_submit(struct truc_client *client, const char *id, truc_error expected)
{
    struct truc_buffer event = make_event(HUB_AGENCY, id, NULL, 400000);
    uint64_t ticket;
    assert_int_equal(truc_client_submit(client, truc_buffer_view(&event), &ticket), expected);
    truc_buffer_close(&event);
}

static void test_a_full_disk_is_an_obstacle_and_no_end(void **state)
{
    struct world *w = *state;
    struct peer peer = {0};
    peer_open(&peer);
    const char *const endpoints[] = {peer.endpoint};
    struct truc_client *client = client_open(w, endpoints, 1);
    struct truc_obstacle obstacle;
    welcome(w, client, &peer);
    assert_int_equal(truc_client_sync(client), TRUC_OK);
    atomic_store(&allocate_error, ENOSPC);
    size_t taken = 0;
    while (!truc_client_obstacle(client, &obstacle)) { /* some room was allocated ahead */
        char id[16];
        assert_true(taken < 10);
        (void)snprintf(id, sizeof id, "event-%zu", taken++);
        try_submit(client, id, TRUC_OK);
        truc_error error = truc_client_sync(client);
        assert_true(error == TRUC_OK || error == TRUC_E_FULL);
    }
    assert_true(obstacle.spool_full);
    assert_int_equal(truc_client_sync(client), TRUC_E_FULL);
    try_submit(client, "too much", TRUC_E_FULL);
    step(client);
    assert_string_equal(w->obstacle, "SPOOL_FULL");
    /* What was taken goes on to the hub. */
    while (w->receipt_count < taken) {
        struct heard heard = peer_hear(client, &peer, TRUC_FRAME_SUBMIT);
        receipt(w, &peer, &heard);
        close_heard(&heard);
        size_t before = w->receipt_count;
        while (w->receipt_count == before) {
            wait_a_bit(client, &peer);
        }
    }
    atomic_store(&allocate_error, 0);
    while (truc_client_obstacle(client, &obstacle)) { /* tried again by itself */
        wait_a_bit(client, &peer);
    }
    step(client);
    assert_string_equal(w->obstacle, "");
    try_submit(client, "there is room", TRUC_OK);
    assert_int_equal(truc_client_sync(client), TRUC_OK);
    truc_client_free(&client);
    client = client_open(w, endpoints, 1);
    assert_int_equal(truc_client_pending(client), 1);
    truc_client_free(&client);
    zmq_close(peer.router);
}

static bool never(void *context)
{
    (void)context;
    return false;
}

static void test_running_ends_with_its_time(void **state)
{
    struct world *w = *state;
    const char *const endpoints[] = {"tcp://127.0.0.1:1"};
    struct truc_client *client = client_open(w, endpoints, 1), *second = NULL;
    assert_int_equal(truc_client_run(client, never, NULL, 30), TRUC_E_TIMEOUT);
    char spool[96];
    (void)snprintf(spool, sizeof spool, "%s/spool", folder);
    struct truc_client_config config = {.agency = HUB_AGENCY,
                                        .origin = HUB_ORIGIN,
                                        .endpoints = endpoints,
                                        .endpoint_count = 1,
                                        .hub_public = hub_public,
                                        .transport_public = own_public,
                                        .transport_secret = own_secret,
                                        .signing_key = w->own_key,
                                        .note_key = w->verifier_text,
                                        .spool = spool};
    assert_int_equal(truc_client_new(&config, &w->callbacks, &second), TRUC_E_LOCKED);
    truc_client_free(&client);
    config.hub_public = "too short";
    assert_int_equal(truc_client_new(&config, &w->callbacks, &second), TRUC_E_INVALID);
    config.hub_public = hub_public;
    config.origin = "another.log";
    assert_int_equal(truc_client_new(&config, &w->callbacks, &second), TRUC_E_INVALID);
    config.origin = HUB_ORIGIN;
    config.agency = HUB_PEER;
    assert_int_equal(truc_client_new(&config, &w->callbacks, &second), TRUC_E_UNKNOWN_KEY);
    assert_null(second);
}

static void write_file(const char *name, const char *text)
{
    char path[160];
    (void)snprintf(path, sizeof path, "%s/%s", folder, name);
    assert_int_equal(truc_file_write(path, truc_bytes_of(text), 0600, true), TRUC_OK);
}

static void test_a_profile_is_read(void **state)
{
    struct world *w = *state;
    struct truc_profile *profile = NULL;
    struct truc_buffer why = {0};
    char path[160];
    (void)snprintf(path, sizeof path, "%s/sign.pem", folder);
    assert_int_equal(truc_key_save_private(w->own_key, path), TRUC_OK);
    write_file("profile.yaml", "agency: " HUB_AGENCY "\norigin: " HUB_ORIGIN "\nendpoints: [tcp://127.0.0.1:1]\n");
    write_file("transport.secret", own_secret);
    write_file("transport.public", own_public);
    write_file("hub.public", hub_public);
    write_file("note.key", w->verifier_text);
    assert_int_equal(truc_profile_load(folder, &profile, &why), TRUC_OK);
    assert_int_equal(why.size, 0);
    const struct truc_client_config *config = truc_profile_config(profile);
    (void)snprintf(path, sizeof path, "%s/spool", folder);
    assert_string_equal(config->spool, path); /* relative to the folder */
    assert_string_equal(truc_key_id(config->signing_key), truc_key_id(w->own_key));
    struct truc_client *client = NULL;
    assert_int_equal(truc_client_new(config, &w->callbacks, &client), TRUC_OK);
    truc_profile_free(&profile);
    truc_client_free(&client);

    static const char *const secrets[] = {"sign.pem", "transport.secret"};
    for (size_t i = 0; i < 2; i++) { /* private keys of which others can know are refused, with what to do */
        (void)snprintf(path, sizeof path, "%s/%s", folder, secrets[i]);
        assert_int_equal(chmod(path, 0640), 0);
        assert_int_equal(truc_profile_load(folder, &profile, &why), TRUC_E_CONFIG);
        assert_null(profile);
        assert_non_null(strstr((const char *)why.data, "chmod 600"));
        assert_non_null(strstr((const char *)why.data, path));
        truc_buffer_close(&why);
        assert_int_equal(chmod(path, 0600), 0);
    }

    write_file("profile.yaml", "agency: h1\norigin: other.log\nendpoints: [ipc:///x]\nsppol: x\n");
    write_file("transport.secret", "short");
    remove_file("hub.public");
    remove_file("sign.pem");
    assert_int_equal(truc_profile_load(folder, &profile, &why), TRUC_E_CONFIG);
    assert_null(profile);
    const char *said = (const char *)why.data;
    assert_non_null(strstr(said, "profile.yaml:4: sppol: unknown key"));
    assert_non_null(strstr(said, "transport.secret:1: should be a CURVE key"));
    assert_non_null(strstr(said, "hub.public:0: cannot be read"));
    assert_non_null(strstr(said, "sign.pem:0: cannot be read"));
    truc_buffer_close(&why);

    /* A wrong folder is one mistake, said once. */
    remove_file("profile.yaml");
    assert_int_equal(truc_profile_load(folder, &profile, &why), TRUC_E_CONFIG);
    assert_null(profile);
    assert_non_null(strstr((const char *)why.data, "is not a profile folder"));
    assert_null(strstr((const char *)why.data, "cannot be read"));
    truc_buffer_close(&why);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_submits_over_curve_and_takes_receipts),
        TEST(test_an_outage_and_a_restart_lose_nothing),
        TEST(test_nobody_waits_for_the_disk),
        TEST(test_a_full_disk_is_an_obstacle_and_no_end),
        TEST(test_running_ends_with_its_time),
        TEST(test_a_profile_is_read),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
