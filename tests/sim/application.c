/* The application behind an adapter: what the library tells it is held against what the library promised and against
 * the journal; what it is given it answers, late or never or with a no. */
#include "tests/sim/agency.h"

#include "hub/core/core.h"
#include "truc/leaf.h"

/* ---- receipts ---- */

static struct handed_over *by_ticket(struct client *client, uint64_t ticket)
{
    for (size_t i = 0; i < client->event_count; i++)
        if (client->events[i].ticket == ticket)
            return &client->events[i];
    return NULL;
}

/* After a crash tickets may belong to events that the application gave again since: the bytes tell. */
static struct handed_over *by_bytes(struct client *client, struct truc_bytes bytes)
{
    for (size_t i = 0; i < client->event_count; i++)
        if (truc_bytes_equal(truc_buffer_view(&client->events[i].bytes), bytes))
            return &client->events[i];
    return NULL;
}

static bool *receipted_ticket(struct client *client, uint64_t ticket)
{
    if (ticket >= client->receipted_capacity) {
        size_t capacity = (size_t)(ticket + 1024) * 2;
        client->receipted = realloc(client->receipted, capacity * sizeof *client->receipted);
        if (!client->receipted)
            abort();
        memset(client->receipted + client->receipted_capacity, 0,
               (capacity - client->receipted_capacity) * sizeof *client->receipted);
        client->receipted_capacity = capacity;
    }
    return &client->receipted[ticket];
}

static void on_receipt(void *context, const struct truc_receipt *receipt)
{
    struct client *client = context;
    struct handed_over *over = by_ticket(client, receipt->ticket);

    if (!over || !truc_bytes_equal(truc_buffer_view(&over->bytes), receipt->event))
        over = by_bytes(client, receipt->event);
    if (!over) {
        sim_fail("%s got a receipt for what it never handed over", client->process.name);
        return;
    }
    SIM_TRACE("receipt event=%zu ticket=%llu reason=%s sequence=%llu%s", (size_t)(over - client->events),
              (unsigned long long)receipt->ticket, truc_reason_name(receipt->reason),
              (unsigned long long)receipt->sequence, receipt->duplicate ? " duplicate" : "");
    bool *receipted = receipted_ticket(client, receipt->ticket);
    SIM_CHECK(!*receipted, "%s got a second receipt for ticket %llu", client->process.name,
              (unsigned long long)receipt->ticket);
    *receipted = true;
    agency_await(client, AWAIT_RECEIPT, receipt->ticket);
    bool accepted = receipt->reason == TRUC_ACCEPTED;
    if (over->said == SAID_RECEIPT && over->accepted && receipt->logged)
        SIM_CHECK(accepted && over->sequence == receipt->sequence, "%s: two receipts say different things",
                  client->process.name);
    if (receipt->logged) {
        const struct oracle_event *event = oracle_event(receipt->sequence);
        SIM_CHECK(event && memcmp(&event->hash, &over->hash, sizeof over->hash) == 0,
                  "%s: the journal does not have what sequence %llu was receipted for", client->process.name,
                  (unsigned long long)receipt->sequence);
        if (event && accepted)
            SIM_CHECK(event->outcome == TRUC_OUTCOME_ACCEPTED, "%s: sequence %llu was receipted, and is not accepted",
                      client->process.name, (unsigned long long)receipt->sequence);
    } else {
        SIM_CHECK(!accepted, "%s: accepted without the log", client->process.name);
    }
    world.counts[DID_RECEIPT]++;
    if (accepted)
        world.counts[DID_ACCEPT]++;
    else
        world.counts[DID_REFUSE]++;
    over->said = SAID_RECEIPT;
    if (accepted || !over->accepted)
        over->sequence = receipt->sequence;
    over->accepted = over->accepted || accepted;
}

/* ---- deliveries ---- */

static struct delivered_event *delivered(struct client *client, uint64_t number)
{
    if (number >= client->inbox_capacity) {
        size_t capacity = client->inbox_capacity ? client->inbox_capacity * 2 : 256;
        while (capacity <= number)
            capacity *= 2;
        client->inbox = realloc(client->inbox, capacity * sizeof *client->inbox);
        if (!client->inbox)
            abort();
        memset(client->inbox + client->inbox_capacity, 0, (capacity - client->inbox_capacity) * sizeof *client->inbox);
        client->inbox_capacity = capacity;
    }
    return &client->inbox[number];
}

/* Nothing of the subject that stands before it may still be on its way to somebody else, or lie unanswered. What was
 * nacked just now is judged when the journal says what became of the nack: it may have come too late, and be void. */
static void check_order(struct client *client, uint32_t agency, uint64_t number, uint64_t subject)
{
    struct hub_posting posting;

    for (uint64_t earlier = number - 1; earlier > 0 && number - earlier < 400; earlier--) {
        const struct oracle_post *post = oracle_post(agency, earlier);
        if (!post || post->subject != subject)
            continue;
        struct delivered_event *here = delivered(client, earlier);
        bool now = here->link == client->link;
        if (here->state == DELIVERED_ACKED || here->state == DELIVERED_ACKING || here->state == DELIVERED_PERHAPS ||
            (here->state == DELIVERED_OPEN && now))
            continue;
        if (hub_core_posting(oracle_core(), agency, earlier, &posting) != TRUC_OK ||
            posting.state != HUB_POSTING_PENDING || posting.requeued)
            continue; /* given up; or back in front of what was under way already */
        if (here->state == DELIVERED_VOID && now && !here->returned) {
            here->overtaken = here->nacked ? number : 0;
            continue;
        }
        sim_fail("%s was given number %llu before %llu of the same subject", client->process.name,
                 (unsigned long long)number, (unsigned long long)earlier);
        return;
    }
}

/* Where several adapters share the inbox, the journal does not tell whose nack it took. */
static bool is_alone(const struct client *client)
{
    for (size_t i = 0; i < world.client_count; i++)
        if (world.clients[i] != client && world.clients[i]->agency == client->agency)
            return false;
    return true;
}

/* The journal took a nack: whatever of the subject was given out between it and this was given out of order. */
void client_on_nack_logged(const char *agency, uint64_t number)
{
    for (size_t i = 0; i < world.client_count; i++) {
        struct client *client = world.clients[i];
        if (strcmp(client->agency->code, agency) != 0 || number >= client->inbox_capacity || !is_alone(client))
            continue;
        struct delivered_event *event = &client->inbox[number];
        event->returned = event->nacked;
        SIM_CHECK(!event->overtaken || !event->nacked,
                  "%s was given number %llu before %llu of the same subject, which "
                  "it had nacked",
                  client->process.name, (unsigned long long)event->overtaken, (unsigned long long)number);
    }
}

/* The lease was over: a nack of it is void. */
void client_on_release_logged(const char *agency, uint64_t number)
{
    for (size_t i = 0; i < world.client_count; i++)
        if (strcmp(world.clients[i]->agency->code, agency) == 0 && number < world.clients[i]->inbox_capacity)
            world.clients[i]->inbox[number].nacked = false;
}

static void make_up_mind(struct client *client, struct delivered_event *event)
{
    event->answer_at = sim_now();
    if (!client->hurry && world.plan.nacks) {
        unsigned mood = (unsigned)sim_pick(100);
        if (mood < 50)
            event->answer_at = sim_now() + sim_between(0, world.plan.lease_ms * SIM_MS / 4);
        else if (mood < 54)
            event->answer_at = sim_now() + sim_between(0, world.plan.lease_ms * SIM_MS * 2);
        else if (mood < 55)
            event->answer_at = INT64_MAX;
    }
    if (event->answer_at < client->next_answer_at)
        client->next_answer_at = event->answer_at;
}

static void on_delivery(void *context, const struct truc_delivery *delivery)
{
    struct client *client = context;
    uint32_t agency = oracle_number_of(client->agency->code);
    const struct oracle_post *post = oracle_post(agency, delivery->number);
    const struct oracle_event *logged = oracle_event(delivery->sequence);
    struct delivered_event *event = delivered(client, delivery->number);
    struct truc_hash hash;

    SIM_TRACE("delivery number=%llu sequence=%llu attempt=%u", (unsigned long long)delivery->number,
              (unsigned long long)delivery->sequence, delivery->attempt);
    SIM_CHECK(post && post->sequence == delivery->sequence, "%s was given number %llu, which the journal does not have",
              client->process.name, (unsigned long long)delivery->number);
    truc_leaf_hash(&hash, delivery->bytes);
    SIM_CHECK(logged && memcmp(&logged->hash, &hash, sizeof hash) == 0,
              "%s was given other bytes than sequence %llu has", client->process.name,
              (unsigned long long)delivery->sequence);
    SIM_CHECK(event->state != DELIVERED_ACKED, "%s was given number %llu again, which it had handled",
              client->process.name, (unsigned long long)delivery->number);
    SIM_CHECK(event->state != DELIVERED_OPEN || event->link != client->link || delivery->attempt > 1,
              "%s was given number %llu twice at a time", client->process.name, (unsigned long long)delivery->number);
    if (post && post->subject)
        check_order(client, agency, delivery->number, post->subject);
    *event = (struct delivered_event){.state = DELIVERED_OPEN, .link = client->link};
    world.counts[DID_DELIVER]++;
    make_up_mind(client, event);
}

static void on_stale(void *context, uint64_t number)
{
    struct client *client = context;
    struct delivered_event *event = delivered(client, number);

    world.counts[DID_LOSE_LEASE]++;
    SIM_TRACE("stale number=%llu", (unsigned long long)number);
    if (event->state == DELIVERED_OPEN)
        event->state = DELIVERED_VOID;
}

static void on_settled(void *context, uint64_t first, uint32_t count)
{
    struct client *client = context;
    uint32_t agency = oracle_number_of(client->agency->code);

    for (uint32_t i = 0; i < count; i++) {
        struct hub_posting posting;
        truc_error error = hub_core_posting(oracle_core(), agency, first + i, &posting);
        SIM_CHECK(error == TRUC_E_NOT_FOUND || posting.state != HUB_POSTING_PENDING,
                  "%s was told that number %llu is settled, and the journal does not know", client->process.name,
                  (unsigned long long)(first + i));
    }
}

static void on_state(void *context, enum truc_client_state state, truc_error error, const char *text)
{
    struct client *client = context;

    SIM_TRACE("state %d %s: %s", (int)state, truc_error_string(error), text);
    if (state == TRUC_CLIENT_OPEN)
        client->link++;
    SIM_CHECK(error != TRUC_E_FORKED, "%s found the log forked", client->process.name);
    if (state == TRUC_CLIENT_STOPPED) {
        client->stopped = true;
        snprintf(client->stopped_why, sizeof client->stopped_why, "%s", text);
    }
}

truc_error agency_answer(struct client *client)
{
    truc_error error = TRUC_OK;

    if (sim_now() < client->next_answer_at)
        return TRUC_OK;
    client->next_answer_at = INT64_MAX;
    for (uint64_t number = 1; number < client->inbox_capacity && !error; number++) {
        struct delivered_event *event = &client->inbox[number];
        if (event->state != DELIVERED_OPEN)
            continue;
        if (event->answer_at > sim_now() && !client->hurry) {
            if (event->answer_at < client->next_answer_at)
                client->next_answer_at = event->answer_at;
            continue;
        }
        unsigned mood = client->hurry || !world.plan.nacks ? 0 : (unsigned)sim_pick(100);
        if (mood < 90) {
            error = truc_client_ack(client->library, number);
            event->state = DELIVERED_ACKING;
            agency_await(client, AWAIT_ACK, number);
            world.counts[DID_ACK]++;
        } else {
            error = mood < 98 ? truc_client_nack(client->library, number, (uint32_t)sim_pick(400), "later")
                              : truc_client_reject(client->library, number, "never");
            if (event->state == DELIVERED_OPEN)
                event->state = DELIVERED_VOID;
            event->nacked = true;
            world.counts[DID_NACK]++;
        }
    }
    return error;
}

void agency_callbacks(struct client *client, struct truc_client_callbacks *out)
{
    *out = (struct truc_client_callbacks){.context = client,
                                          .on_state = on_state,
                                          .on_receipt = on_receipt,
                                          .on_delivery = on_delivery,
                                          .on_settled = on_settled,
                                          .on_stale = on_stale};
}
