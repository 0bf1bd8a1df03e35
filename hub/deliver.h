/* One DELIVER frame in the making. Filled on the loop or on a reader thread, sent on the loop. */
#ifndef HUB_DELIVER_H
#define HUB_DELIVER_H

#include "hub/hub.h"

#define HUB_DELIVER_ITEMS 512

struct hub_deliver;

/* Room for these deliveries. Errors: TRUC_E_NOMEM. */
TRUC_MUST_USE truc_error hub_deliver_new(const struct hub_delivery *deliveries, size_t count, struct hub_deliver **out);
void hub_deliver_free(struct hub_deliver **frame);
/* Adds a group: deliveries of one seal, ascending by index. Events that lie behind each other in one submission's body
 * are lent, the submission with them; everything else is copied. Events that are not at hand are left
 * out. Errors: TRUC_E_CORRUPT (an event of another size than posted), TRUC_E_NOMEM. */
TRUC_MUST_USE truc_error hub_deliver_add(struct hub_deliver *frame, const struct hub_content *content,
                                         const struct hub_delivery *deliveries, size_t count);
bool hub_deliver_has(const struct hub_deliver *frame, uint64_t number);
size_t hub_deliver_count(const struct hub_deliver *frame);
/* Sends it in pieces where needed; returns how many events it held. */
size_t hub_deliver_send(struct hub *hub, struct hub_session *session, struct hub_deliver *frame, uint64_t lease,
                        uint64_t floor);

#endif
