/* What `truc send` is given, as encoded events: all of them, or none and a sentence that says where it is wrong. */
#ifndef HUB_ADMIN_SEND_INPUT_H
#define HUB_ADMIN_SEND_INPUT_H

#include "hub/admin/table.h"

/* Whose events they are. */
struct send_sender {
    const char *agency;
    uint8_t secret[32]; /* salts of events with an id of their own are derived under it: the same event again is the
                           same bytes, and its hash tells a stranger nothing */
};

/* The secret is a file in the spool's folder, made where there is none. Says what is wrong. */
TRUC_MUST_USE enum admin_exit send_sender_open(const struct admin_call *call, const char *agency, const char *spool,
                                               struct send_sender *out);

/* Zero-initialise; close it when done. */
struct send_events {
    struct truc_buffer *items;
    size_t count, capacity;
};
void send_events_close(struct send_events *events);

/* `path` "-": the standard input. At most 1 GiB. Says what is wrong. */
TRUC_MUST_USE enum admin_exit send_read_file(const struct admin_call *call, const char *path, struct truc_buffer *out);
/* One JSON value after the other: NDJSON, one pretty-printed object, or CloudEvents' batch array. `name` is what
 * messages call it. Says what is wrong, with its line: ADMIN_USAGE, and `out` is not to be sent. */
TRUC_MUST_USE enum admin_exit send_events_read(const struct admin_call *call, const struct send_sender *sender,
                                               const char *name, struct truc_bytes text, struct send_events *out);
/* The one event that --type and its companions say. Says what is wrong: ADMIN_USAGE. */
TRUC_MUST_USE enum admin_exit send_events_make(const struct admin_call *call, const struct send_sender *sender,
                                               struct send_events *out);

#endif
