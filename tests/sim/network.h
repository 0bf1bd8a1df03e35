/* The network between clients and the hub: connections that carry whole messages in order, and break. */
#ifndef SIM_NETWORK_H
#define SIM_NETWORK_H

#include "tests/sim/sim.h"

enum sim_link_state { LINK_CONNECTING, LINK_UP, LINK_CLOSED };

struct sim_message {
    struct sim_message *next;
    int64_t at; /* not before */
    size_t count;
    struct truc_buffer parts[3];
};

struct sim_queue {
    struct sim_message *first, **last;
    size_t count, bytes;
    int64_t latest; /* of those in it: nothing overtakes on one connection */
    bool pumping;
};

struct sim_link;
/* Who stands at an end. Called from the scheduler; must not wait. */
struct sim_end {
    void *context;
    void (*arrived)(void *context, struct sim_link *link, struct sim_message *message); /* takes the message */
    void (*closed)(void *context, struct sim_link *link, bool refused);
};

struct sim_link {
    struct sim_link *next;
    uint32_t number;
    enum sim_link_state state;
    struct sim_end client, hub; /* arrived NULL: nobody there (any more) */
    struct sim_process *client_process;
    struct sim_queue up, down;
    bool stalled_up, stalled_down; /* a partition, or a peer that does not read */
    void *hub_peer;
    uint8_t key[32];
    int64_t opened_at;
};

/* The hub listens: may_connect answers the handshake. NULL: nobody listens. */
struct sim_listener {
    void *context;
    bool (*may_connect)(void *context, const uint8_t key[32]);
    struct sim_end end;
};
void sim_network_listen(const struct sim_listener *listener);
/* Connects in time, or fails in time. `to_hub` false: an endpoint where nobody is. */
struct sim_link *sim_network_connect(struct sim_process *process, const struct sim_end *client, const uint8_t key[32],
                                     bool to_hub);
void sim_link_send(struct sim_link *link, bool up, struct sim_message *message);
struct sim_message *sim_message_new(const struct truc_bytes *parts, size_t count);
void sim_message_free(struct sim_message *message);
/* The connection is lost. What was on its way may arrive in part. `silently`: neither end is told (pulled plug): the
 * hub's heartbeat finds out, the client's pings. */
void sim_link_cut(struct sim_link *link, bool silently);
/* One end lets go: the other is told in time; what it had sent may still arrive, if it lingers. */
void sim_link_leave_client(struct sim_link *link, bool linger);
void sim_link_leave_hub(struct sim_link *link, bool linger);
/* All links of a process that died. */
void sim_network_died(struct sim_process *process, bool silently);
void sim_network_hub_died(bool silently);
/* 0: none. Open connections, for whoever makes trouble. */
struct sim_link *sim_network_any(void);
/* Neither direction moves until healed. */
void sim_link_stall(struct sim_link *link, bool up, bool down);
void sim_network_heal(void);
void sim_network_latency(int64_t least_us, int64_t most_us);

#endif
