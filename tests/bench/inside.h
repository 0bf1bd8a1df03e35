/* The real hub in this process, with function calls in place of its sockets: hub/net is not linked, everything else is.
 * A peer is a number and an enrolled transport key, as a handshake would have left it. Any failure ends the process:
 * these are tools of a benchmark. */
#ifndef TESTS_BENCH_INSIDE_H
#define TESTS_BENCH_INSIDE_H

#include "hub/hub.h"
#include "truc/client.h"
#include "truc/event.h"

/* What the hub sends: `body` (NULL: none) is closed afterwards. Called from inside the hub: it must not call back. */
typedef void (*inside_frame_fn)(void *context, uint32_t peer, struct truc_bytes head, zmq_msg_t *body);

/* Opens a home that no hub holds. The hub lives in static storage: one for a process. */
struct hub *inside_open(const char *home, inside_frame_fn on_frame, void *context);
/* Stops it in order: what is under way is finished, the state is on the disk afterwards. */
void inside_close(struct hub *hub);
/* One message of a peer; `body` NULL: one part. Copied. */
void inside_message(struct hub *hub, uint32_t peer, const uint8_t key[32], struct truc_bytes head,
                    const struct truc_bytes *body);

void inside_must(truc_error error, const char *what);

/* An agency's profile folder as `truc agency add` makes it, and its transport key in bytes. */
struct inside_agency {
    struct truc_profile *profile;
    struct truc_client_config *config; /* the profile's */
    uint8_t transport[32];
    char source[TRUC_AGENCY_MAX + sizeof TRUC_SOURCE_PREFIX];
};
void inside_agency_load(struct inside_agency *agency, const char *folder);
void inside_agency_close(struct inside_agency *agency);

/* Events for load: six attributes as load.c's, or as few as an event may have. */
struct inside_events {
    const char *source, *to;
    size_t size; /* of the data */
    bool small;
    uint64_t made;
    int64_t time_us;
    struct truc_event event;
    uint8_t salt[TRUC_SALT_SIZE];
    uint8_t *data;
    char id[64], subject[64];
};
void inside_events_open(struct inside_events *events);
void inside_events_close(struct inside_events *events);
/* Appends the next one to `out`. */
void inside_events_next(struct inside_events *events, struct truc_buffer *out);

#endif
