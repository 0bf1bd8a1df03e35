#ifndef HUB_NET_SOCKET_INTERNAL_H
#define HUB_NET_SOCKET_INTERNAL_H

#include "hub/net/socket.h"

#include <sys/socket.h>
#include <uthash.h>

#define GONE_MEMORY 1024

/* A TCP connection as the monitor tells of it. */
struct connection {
    int fd;                         /* key */
    struct sockaddr_storage remote; /* guards shutdown() against a descriptor that was reused meanwhile */
    socklen_t remote_size;
    uint64_t whole_at; /* bytes the kernel had received at the watch after the last whole message */
    bool met;          /* a message of it came out */
    uint64_t since_ms; /* accepted at */
    bool whole_since;  /* a whole message came out since the last watch */
    bool shed;         /* taken since there were too many: its end is still to be told */
    UT_hash_handle hh;
};

enum peer_state { PEER_LIVE, PEER_DROPPING, PEER_GONE };

struct peer {
    uint32_t number; /* key: the routing id that ROUTER gave */
    int fd;
    enum peer_state state;
    uint8_t key[32];
    uint64_t drop_at_ms;
    uint64_t sent; /* bytes given to libzmq for it */
    UT_hash_handle hh;
};

struct hub_socket {
    struct hub_socket_events events;
    struct hub_socket_limits limits;
    void *context, *router, *zap, *monitor;
    char endpoint[256];
    uv_loop_t *loop;
    uv_poll_t router_poll, zap_poll, monitor_poll;
    uv_prepare_t prepare;
    uv_idle_t idle;
    uv_timer_t watch;
    bool idling, paused;
    struct connection *connections;
    unsigned shed; /* of them */
    struct peer *peers;
    uint32_t gone[GONE_MEMORY]; /* the peers that went last, a ring */
    size_t gone_next;
    uint64_t backlog, backlog_ms; /* of all peers: as counted then, and what was sent since */
};

void hub_zap_process(struct hub_socket *socket);
TRUC_MUST_USE truc_error hub_zap_bind(struct hub_socket *socket);
void hub_monitor_process(struct hub_socket *socket);
TRUC_MUST_USE truc_error hub_monitor_open(struct hub_socket *socket);
void hub_monitor_watch(struct hub_socket *socket);
uint64_t hub_peer_unsent(const struct peer *peer);
void hub_peer_gone(struct hub_socket *socket, struct peer *peer);
/* Takes the connection now, if it is still that peer's. */
void hub_connection_shutdown(struct hub_socket *socket, int fd);

#endif
