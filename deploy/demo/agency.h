/* One agency of the demo: a system of its own with libtruc beside it. The demo starts four: a one-stop desk, a
 * construction department, a land office and a results warehouse. */
#ifndef DEMO_AGENCY_H
#define DEMO_AGENCY_H

#include "adapters/import/draft.h"
#include "deploy/demo/store.h"
#include "deploy/demo/units.h"
#include "truc/client.h"
#include "truc/frame.h"

#define DEMO_ONESTOP "H14.09"
#define DEMO_CONSTRUCTION "H14.11"
#define DEMO_LAND "H14.13"
#define DEMO_WAREHOUSE "H14.01"

/* Events handed over and not yet receipted before the feeds wait. */
#define DEMO_PENDING_MAX 4096

struct demo_agency;

/* What an agency does; a table in roles.c. */
struct demo_role {
    const char *name, *code;
    /* Answers one delivery, by queueing events. */
    truc_error (*react)(struct demo_agency *agency, const struct truc_delivery *delivery);
};
const struct demo_role *demo_role_named(const char *name);

struct demo_parcel {
    char identifier[32], section[8], number[16];
    double area_m2; /* 0: the register names none */
    bool surveyed;
    int64_t created_us, updated_us;
    struct truc_buffer wkb;
};

struct demo_counts {
    uint64_t submitted, receipted, accepted, duplicates, refused, owed; /* owed: recipients of what was accepted */
    uint64_t got, again;                                                /* deliveries; of them seen before */
    uint64_t units_read, units_moved, units_unknown;
    int64_t first_submit_us, last_receipt_us, last_delivery_us; /* wall clock */
};

struct demo_agency {
    const struct demo_role *role;
    struct truc_client *client;
    struct demo_store *store;
    struct draft_key key;
    struct truc_arena *arena;
    struct demo_units *units; /* NULL: no lists */
    struct demo_parcel *parcels;
    size_t parcel_count;
    struct truc_buffer queue; /* answers that wait for the end of the turn: a body of events */
    uint64_t *acks;           /* numbers of deliveries that are acked when the store is synced */
    size_t ack_count, ack_capacity;
    struct truc_buffer data, event; /* scratch */
    struct demo_counts counts;
    const char *state;
    truc_error failure; /* of a callback: ends the loop */
};

/* Hands an encoded event to the store and to the client. */
TRUC_MUST_USE truc_error demo_submit(struct demo_agency *agency, struct truc_bytes event);
/* Encodes an event of this agency and queues it. `channel` names the part of the agency in its source. Exactly one of
 * message and json is given. */
TRUC_MUST_USE truc_error demo_queue(struct demo_agency *agency, const char *channel, const struct import_draft *draft,
                                    const ProtobufCMessage *message, const char *json);

/* ---- feeds: the files of DATA ---- */
struct demo_feeds;
TRUC_MUST_USE truc_error demo_feeds_open(struct demo_agency *agency, const char *data, const char *maps,
                                         struct demo_feeds **out);
void demo_feeds_close(struct demo_feeds **feeds);
/* A little from each file. *done: all were read. */
TRUC_MUST_USE truc_error demo_feeds_turn(struct demo_feeds *feeds, bool *done);
/* 0 to 1 */
double demo_feeds_progress(const struct demo_feeds *feeds);
/* One line a file: what was read, made, skipped and noted. */
void demo_feeds_report(const struct demo_feeds *feeds, FILE *out);

/* The land register's parcels (GeoJSON, one feature a line). *missing_area: parcels without one. */
TRUC_MUST_USE truc_error demo_parcels_load(struct demo_agency *agency, const char *path, uint64_t *skipped,
                                           uint64_t *missing_area);
/* The parcel's events. */
TRUC_MUST_USE truc_error demo_parcel_send(struct demo_agency *agency, const struct demo_parcel *parcel,
                                          uint64_t *events);
/* One procedure of the national catalogue (JSON). *odd_limits: time limits whose unit is missing. */
TRUC_MUST_USE truc_error demo_procedure_send(struct demo_agency *agency, const char *path, uint64_t *events,
                                             uint64_t *skipped, uint64_t *odd_limits);

/* Sends what must be refused, each for another reason, and one event twice. */
TRUC_MUST_USE truc_error demo_faults_send(struct demo_agency *agency);

#endif
