/* The ROUTER over real TCP and CURVE: what was sent and not taken is counted as it lies on the wire. */
#include "hub/net/socket_internal.h"
#include "hub/net/tcp.h"
#include "truc/crypto.h"

#include <linux/sockios.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <time.h>

#include <cmocka.h>

#define PATIENCE_S 30
#define HEARTBEATS 300 /* bytes of them and of the handshake that a slow machine may see meanwhile */

struct net {
    uv_loop_t loop;
    struct hub_socket *socket;
    void *context, *dealer;
    uint32_t peer; /* 0: nothing came yet */
    size_t heard;  /* parts that the client got */
};

static bool may_connect(void *context, const uint8_t key[32])
{
    (void)context, (void)key;
    return true;
}

static void on_message(void *context, uint32_t peer, const uint8_t key[32], zmq_msg_t *parts, size_t count)
{
    (void)key, (void)parts;
    assert_int_equal(count, 1);
    ((struct net *)context)->peer = peer;
}

static void on_gone(void *context, uint32_t peer)
{
    (void)context, (void)peer;
}

static void on_drained(void *context)
{
    (void)context;
}

static void on_flood(void *context, uint32_t peer, uint64_t bytes)
{
    (void)context, (void)peer, (void)bytes;
    fail();
}

static int setup(void **state)
{
    struct net *net = calloc(1, sizeof *net);
    char hub_public[41], hub_secret[41], own_public[41], own_secret[41];
    const struct hub_socket_events events = {net, may_connect, on_message, on_gone, on_drained, on_flood};
    const struct hub_socket_limits limits = {1 << 20, 1 << 30, 1 << 30, 5000, 100, 1};
    assert_int_equal(uv_loop_init(&net->loop), 0);
    assert_int_equal(zmq_curve_keypair(hub_public, hub_secret), 0);
    assert_int_equal(zmq_curve_keypair(own_public, own_secret), 0);
    assert_int_equal(
        hub_socket_open(&net->loop, "tcp://127.0.0.1:*", hub_public, hub_secret, &limits, &events, &net->socket),
        TRUC_OK);
    net->context = zmq_ctx_new();
    net->dealer = zmq_socket(net->context, ZMQ_DEALER);
    assert_int_equal(zmq_setsockopt(net->dealer, ZMQ_CURVE_SERVERKEY, hub_public, 40), 0);
    assert_int_equal(zmq_setsockopt(net->dealer, ZMQ_CURVE_PUBLICKEY, own_public, 40), 0);
    assert_int_equal(zmq_setsockopt(net->dealer, ZMQ_CURVE_SECRETKEY, own_secret, 40), 0);
    assert_int_equal(zmq_connect(net->dealer, hub_socket_endpoint(net->socket)), 0);
    assert_int_equal(zmq_send(net->dealer, "hello", 5, 0), 5);
    *state = net;
    return 0;
}

static int teardown(void **state)
{
    struct net *net = *state;
    int linger = 0;
    assert_int_equal(zmq_setsockopt(net->dealer, ZMQ_LINGER, &linger, sizeof linger), 0);
    zmq_close(net->dealer);
    zmq_ctx_term(net->context);
    hub_socket_close(&net->socket, 0);
    assert_int_equal(uv_loop_close(&net->loop), 0);
    free(net);
    return 0;
}

/* One turn of both ends, which waits at most a millisecond; fails when patience is at an end. */
static void turn(struct net *net, time_t until)
{
    zmq_pollitem_t item = {net->dealer, 0, ZMQ_POLLIN, 0};
    zmq_msg_t part;
    assert_true(time(NULL) < until);
    (void)uv_run(&net->loop, UV_RUN_NOWAIT);
    (void)zmq_poll(&item, 1, 1);
    zmq_msg_init(&part);
    while (zmq_msg_recv(&part, net->dealer, ZMQ_DONTWAIT) >= 0) {
        net->heard++;
    }
    zmq_msg_close(&part);
}

static void send_two(struct net *net, size_t first, size_t second)
{
    static const uint8_t bytes[8192];
    zmq_msg_t part;
    assert_int_equal(zmq_msg_init_size(&part, second), 0);
    memcpy(zmq_msg_data(&part), bytes, second);
    assert_int_equal(hub_socket_send(net->socket, net->peer, truc_bytes(bytes, first), &part), TRUC_OK);
}

/* Until the client has so many parts and the kernel has an acknowledgement for every byte. */
static void settle(struct net *net, int fd, size_t parts)
{
    time_t until = time(NULL) + PATIENCE_S;
    int unacknowledged = 1;
    while (net->heard < parts || unacknowledged > 0) {
        turn(net, until);
        assert_int_equal(ioctl(fd, SIOCOUTQ, &unacknowledged), 0);
    }
}

static void what_is_sent_is_counted_as_it_lies_on_the_wire(void **state)
{
    struct net *net = *state;
    static const size_t sizes[] = {0,   1,   100, 221, 222,
                                   223, 255, 256, 300, 5000}; /* 222 + 33 is ZMTP's last short one */
    const size_t count = sizeof sizes / sizeof sizes[0], rounds = 40;
    struct peer *peer;
    time_t until = time(NULL) + PATIENCE_S;
    while (net->peer == 0) {
        turn(net, until);
    }
    HASH_FIND(hh, net->socket->peers, &net->peer, sizeof net->peer, peer);
    assert_non_null(peer);
    send_two(net, 10, 10);
    settle(net, peer->fd, 2);

    uint64_t sent = peer->sent, acknowledged = hub_tcp_acknowledged(peer->fd);
    for (size_t i = 0; i < rounds * count; i++) {
        send_two(net, sizes[i % count], sizes[(i + 1) % count]);
    }
    sent = peer->sent - sent; /* before a watch may bring it in line with TCP */
    assert_true(hub_socket_backlog(net->socket, UINT64_MAX) >= sent);
    settle(net, peer->fd, 2 + 2 * rounds * count);
    acknowledged = hub_tcp_acknowledged(peer->fd) - acknowledged;
    assert_true(sent <= acknowledged);
    assert_true(acknowledged - sent < HEARTBEATS); /* a byte a part would be 800 */
    assert_int_equal(hub_socket_unsent(net->socket, net->peer), 0);
    assert_int_equal(hub_socket_backlog(net->socket, 0), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(what_is_sent_is_counted_as_it_lies_on_the_wire, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
