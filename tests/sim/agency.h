/* What the two halves of an agency share: agency.c, its life and what it hands over; application.c, what it is told. */
#ifndef SIM_AGENCY_H
#define SIM_AGENCY_H

#include "tests/sim/world.h"

enum said { SAID_NOTHING, SAID_SPOOLED, SAID_RECEIPT };

#define MARK_NEXT UINT64_MAX /* the next one that is taken */

struct handed_over {
    struct truc_buffer bytes;
    struct truc_hash hash;
    uint64_t ticket; /* 0: not in the spool, as far as the application knows */
    enum said said;
    bool accepted;
    uint64_t sequence;
    char id[100], recipients[80];
};

/* PERHAPS: acked shortly before a crash, which may have kept the ack or lost it. */
enum delivered { DELIVERED_NOT, DELIVERED_OPEN, DELIVERED_VOID, DELIVERED_ACKING, DELIVERED_ACKED, DELIVERED_PERHAPS };

enum awaited { AWAIT_EVENT, AWAIT_ACK, AWAIT_RECEIPT };

/* Something that is to become durable: which event, inbox number or ticket, and the mark. */
struct awaiting {
    enum awaited what;
    uint64_t at, mark;
};

struct delivered_event {
    enum delivered state;
    uint64_t link;      /* on which it was given out */
    int64_t answer_at;  /* OPEN: when the application makes up its mind; INT64_MAX: never */
    bool nacked;        /* on that link */
    bool returned;      /* the journal has the nack */
    uint64_t overtaken; /* by this number of its subject, after it was nacked; 0: by none */
};

struct client {
    struct sim_process process;
    struct sim_disk disk;
    struct world_agency *agency;
    bool administrator, hurry;
    struct truc_client *library;
    struct sim_fiber *fiber;
    char spool[200];
    struct handed_over *events;
    size_t event_count, event_capacity;
    bool *receipted; /* by ticket */
    size_t receipted_capacity;
    struct delivered_event *inbox; /* by number */
    struct awaiting *awaiting;
    size_t awaiting_count, awaiting_capacity;
    size_t inbox_capacity;
    uint64_t link; /* counts OPENs */
    uint64_t ids;
    int64_t next_event_at, next_answer_at, subscribe_at;
    bool stopped; /* the library said that a human must look */
    char stopped_why[120];
};

/* Something is done in the library's memory: when it is durable it is settled. */
void agency_await(struct client *client, enum awaited what, uint64_t at);
/* The library's callbacks. */
void agency_callbacks(struct client *client, struct truc_client_callbacks *out);
/* The application says what it thinks of what it holds. */
TRUC_MUST_USE truc_error agency_answer(struct client *client);

#endif
