/* Connections as TCP under ZeroMQ makes them: whole messages, in order, none lost but by a cut, which may take a part
 * of what was on its way; the two ends learn of it at different times, or not at all. */
#include "tests/sim/network.h"

#define HUB_HEARTBEAT (30 * SIM_SECOND) /* the hub's ZMQ_HEARTBEAT_TIMEOUT */
#define CONNECT_FAILS (50 * SIM_MS)

static struct sim_listener listener;
static struct sim_link *links;
static uint32_t next_number;
static int64_t latency_least = 100, latency_most = 2000;

void sim_network_latency(int64_t least_us, int64_t most_us)
{
    latency_least = least_us;
    latency_most = most_us;
}

static int64_t latency(void)
{
    return sim_often(10) ? latency_most * sim_between(5, 50) : sim_between(latency_least, latency_most);
}

void sim_network_listen(const struct sim_listener *new_listener)
{
    listener = new_listener ? *new_listener : (struct sim_listener){0};
}

/* ---- messages ---- */

struct sim_message *sim_message_new(const struct truc_bytes *parts, size_t count)
{
    struct sim_message *message = calloc(1, sizeof *message);

    if (!message || count > 3)
        abort();
    message->count = count;
    for (size_t i = 0; i < count; i++)
        if (parts[i].size && truc_buffer_append(&message->parts[i], parts[i].data, parts[i].size) != TRUC_OK)
            abort();
    return message;
}

void sim_message_free(struct sim_message *message)
{
    for (size_t i = 0; message && i < message->count; i++)
        truc_buffer_close(&message->parts[i]);
    free(message);
}

static size_t size_of(const struct sim_message *message)
{
    return message->parts[0].size + message->parts[1].size + message->parts[2].size;
}

static void queue_init(struct sim_queue *queue)
{
    *queue = (struct sim_queue){0};
    queue->last = &queue->first;
}

static struct sim_message *queue_pop(struct sim_queue *queue)
{
    struct sim_message *message = queue->first;

    queue->first = message->next;
    if (!queue->first)
        queue->last = &queue->first;
    queue->count--;
    queue->bytes -= size_of(message);
    message->next = NULL;
    return message;
}

/* Keeps the first `keep` messages. */
static void queue_cut(struct sim_queue *queue, size_t keep)
{
    struct sim_queue kept;

    queue_init(&kept);
    kept.pumping = queue->pumping;
    kept.latest = queue->latest;
    while (queue->first) {
        struct sim_message *message = queue_pop(queue);
        if (kept.count < keep) {
            *kept.last = message;
            kept.last = &message->next;
            kept.count++;
            kept.bytes += size_of(message);
        } else {
            sim_message_free(message);
        }
    }
    *queue = kept;
    if (!queue->first)
        queue->last = &queue->first;
}

/* ---- links ---- */

static void pump(struct sim_link *link, bool up);

static void pump_up(void *context)
{
    struct sim_link *link = context;
    link->up.pumping = false;
    pump(link, true);
}

static void pump_down(void *context)
{
    struct sim_link *link = context;
    link->down.pumping = false;
    pump(link, false);
}

static void pump(struct sim_link *link, bool up)
{
    struct sim_queue *queue = up ? &link->up : &link->down;
    struct sim_end *end = up ? &link->hub : &link->client;

    if (queue->pumping || (up ? link->stalled_up : link->stalled_down) || link->state == LINK_CONNECTING)
        return;
    while (queue->first && queue->first->at <= sim_now()) {
        struct sim_message *message = queue_pop(queue);
        if (end->arrived)
            end->arrived(end->context, link, message);
        else
            sim_message_free(message);
    }
    if (queue->first) {
        queue->pumping = true;
        sim_after(queue->first->at - sim_now(), NULL, up ? pump_up : pump_down, link);
    }
}

void sim_link_send(struct sim_link *link, bool up, struct sim_message *message)
{
    struct sim_queue *queue = up ? &link->up : &link->down;

    if (link->state == LINK_CLOSED) {
        sim_message_free(message);
        return;
    }
    message->at = sim_now() + latency();
    if (message->at < queue->latest)
        message->at = queue->latest;
    queue->latest = message->at;
    *queue->last = message;
    queue->last = &message->next;
    queue->count++;
    queue->bytes += size_of(message);
    pump(link, up);
}

static void tell_client(void *context)
{
    struct sim_link *link = context;
    struct sim_end end = link->client;

    link->client = (struct sim_end){0};
    if (end.closed)
        end.closed(end.context, link, false);
}

static void tell_hub(void *context)
{
    struct sim_link *link = context;
    struct sim_end end = link->hub;

    link->hub = (struct sim_end){0};
    if (end.closed)
        end.closed(end.context, link, false);
}

static void refuse(void *context)
{
    struct sim_link *link = context;
    struct sim_end end = link->client;

    link->client = (struct sim_end){0};
    if (end.closed)
        end.closed(end.context, link, true);
}

static void on_connected(void *context)
{
    struct sim_link *link = context;

    if (link->state != LINK_CONNECTING)
        return;
    if (!listener.may_connect) {
        link->state = LINK_CLOSED;
        sim_after(latency(), NULL, tell_client, link);
    } else if (!listener.may_connect(listener.context, link->key)) {
        link->state = LINK_CLOSED;
        sim_after(latency(), NULL, refuse, link);
    } else {
        link->state = LINK_UP;
        link->hub = listener.end;
        link->opened_at = sim_now();
        pump(link, true);
    }
}

static void on_nobody(void *context)
{
    struct sim_link *link = context;

    if (link->state == LINK_CONNECTING) {
        link->state = LINK_CLOSED;
        tell_client(link);
    }
}

struct sim_link *sim_network_connect(struct sim_process *process, const struct sim_end *client, const uint8_t key[32],
                                     bool to_hub)
{
    struct sim_link *link = calloc(1, sizeof *link);

    if (!link)
        abort();
    link->number = ++next_number;
    link->client = *client;
    link->client_process = process;
    queue_init(&link->up);
    queue_init(&link->down);
    memcpy(link->key, key, sizeof link->key);
    link->next = links;
    links = link;
    if (to_hub)
        sim_after(2 * latency(), NULL, on_connected, link);
    else
        sim_after(CONNECT_FAILS, NULL, on_nobody, link);
    return link;
}

void sim_link_cut(struct sim_link *link, bool silently)
{
    if (link->state == LINK_CLOSED)
        return;
    bool was_up = link->state == LINK_UP;
    SIM_TRACE("cut link=%u%s", link->number, silently ? " silently" : "");
    queue_cut(&link->up, sim_pick(link->up.count + 1));
    queue_cut(&link->down, sim_pick(link->down.count + 1));
    link->state = LINK_CLOSED;
    if (silently) {
        sim_after(HUB_HEARTBEAT + latency(), NULL, tell_hub, link);
        return; /* the client pings, in time */
    }
    int64_t up = link->up.first ? link->up.latest - sim_now() : 0;
    int64_t down = link->down.first ? link->down.latest - sim_now() : 0;
    sim_after(down + latency(), NULL, tell_client, link);
    if (was_up)
        sim_after(up + latency(), NULL, tell_hub, link);
}

void sim_link_leave_client(struct sim_link *link, bool linger)
{
    link->client = (struct sim_end){0};
    if (link->state == LINK_CLOSED)
        return;
    if (!linger)
        queue_cut(&link->up, sim_pick(link->up.count + 1));
    link->state = LINK_CLOSED;
    sim_after((link->up.first ? link->up.latest - sim_now() : 0) + latency(), NULL, tell_hub, link);
}

void sim_link_leave_hub(struct sim_link *link, bool linger)
{
    link->hub = (struct sim_end){0};
    if (link->state == LINK_CLOSED)
        return;
    if (!linger)
        queue_cut(&link->down, sim_pick(link->down.count + 1));
    link->state = LINK_CLOSED;
    sim_after((link->down.first ? link->down.latest - sim_now() : 0) + latency(), NULL, tell_client, link);
}

void sim_network_died(struct sim_process *process, bool silently)
{
    for (struct sim_link *link = links; link; link = link->next)
        if (link->client_process == process && link->client.closed) {
            link->client = (struct sim_end){0};
            sim_link_cut(link, silently);
        }
}

void sim_network_hub_died(bool silently)
{
    sim_network_listen(NULL);
    for (struct sim_link *link = links; link; link = link->next) {
        link->hub = (struct sim_end){0};
        if (link->state == LINK_UP)
            sim_link_cut(link, silently);
    }
}

struct sim_link *sim_network_any(void)
{
    size_t count = 0;

    for (struct sim_link *link = links; link; link = link->next)
        count += link->state == LINK_UP;
    size_t at = sim_pick(count);
    for (struct sim_link *link = links; link; link = link->next)
        if (link->state == LINK_UP && at-- == 0)
            return link;
    return NULL;
}

void sim_link_stall(struct sim_link *link, bool up, bool down)
{
    SIM_TRACE("stall link=%u up=%d down=%d", link->number, up, down);
    link->stalled_up = up;
    link->stalled_down = down;
}

void sim_network_heal(void)
{
    for (struct sim_link *link = links; link; link = link->next)
        if (link->stalled_up || link->stalled_down) {
            link->stalled_up = link->stalled_down = false;
            pump(link, true);
            pump(link, false);
        }
}
