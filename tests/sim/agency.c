/* An agency's adapter over the real client library: it hands events over, dies and comes back. */
#include "tests/sim/agency.h"

#include "hub/core/core.h"
#include "truc.pb-c.h"
#include "truc/leaf.h"

bool client_is_alive(const struct client *client)
{
    return client->process.alive;
}

bool client_is_administrator(const struct client *client)
{
    return client->administrator;
}

struct world_agency *client_agency(const struct client *client)
{
    return client->agency;
}

struct sim_disk *client_disk(struct client *client)
{
    return &client->disk;
}

/* A disk that fails ends a client; one that is full only keeps it from starting. */
static bool is_excused(const struct client *client)
{
    return client->disk.errors > 0 || (!client->library && (client->disk.full || client->disk.map_full));
}

void agency_await(struct client *client, enum awaited what, uint64_t at)
{
    if (client->awaiting_count == client->awaiting_capacity) {
        client->awaiting_capacity = client->awaiting_capacity ? client->awaiting_capacity * 2 : 256;
        client->awaiting = realloc(client->awaiting, client->awaiting_capacity * sizeof *client->awaiting);
        if (!client->awaiting)
            abort();
    }
    client->awaiting[client->awaiting_count++] = (struct awaiting){what, at, MARK_NEXT};
}

/* ---- handing over ---- */

void client_hand_over(struct client *client, const char *type, const char *subject, const char *recipients,
                      const struct truc_buffer *data, int64_t expires_us)
{
    char id[100], source[64];
    uint8_t salt[TRUC_SALT_SIZE];
    struct truc_event *event = calloc(1, sizeof *event);
    truc_error error = TRUC_OK;

    if (client->event_count == client->event_capacity) {
        client->event_capacity = client->event_capacity ? client->event_capacity * 2 : 256;
        client->events = realloc(client->events, client->event_capacity * sizeof *client->events);
    }
    if (!event || !client->events)
        abort();
    struct handed_over *over = &client->events[client->event_count++];
    *over = (struct handed_over){0};
    snprintf(id, sizeof id, "%s-%llu", client->process.name, (unsigned long long)++client->ids);
    snprintf(source, sizeof source, "urn:truc:%s", client->agency->code);
    memcpy(over->id, id, sizeof over->id);
    snprintf(over->recipients, sizeof over->recipients, "%s", recipients ? recipients : "");
    sim_random_bytes(salt, sizeof salt);
    event->id = truc_bytes_of(id);
    event->source = truc_bytes_of(source);
    event->type = truc_bytes_of(type);
    event->data_kind = TRUC_DATA_BINARY;
    uint8_t filler[700];
    memset(filler, 'x', sizeof filler);
    event->data = data ? truc_buffer_view(data) : truc_bytes(filler, sim_pick(sizeof filler));
    error = truc_event_set_bytes(event, "salt", truc_bytes(salt, sizeof salt));
    if (!error && subject)
        error = truc_event_set_text(event, "subject", truc_bytes_of(subject));
    if (!error && recipients)
        error = truc_event_set_text(event, "recipients", truc_bytes_of(recipients));
    if (!error && expires_us)
        error = truc_event_set_time(event, "expires", expires_us);
    if (!error)
        error = truc_event_encode(event, &over->bytes);
    if (error)
        sim_fail("an event cannot be made: %s", truc_error_string(error));
    truc_leaf_hash(&over->hash, truc_buffer_view(&over->bytes));
    free(event);
    world.counts[DID_SUBMIT]++;
    sim_wake(client->fiber);
}

size_t client_unanswered(const struct client *client)
{
    size_t count = 0;

    for (size_t i = 0; i < client->event_count; i++)
        count += client->events[i].said != SAID_RECEIPT;
    return count;
}

/* Gives the library what is not in its spool. After a crash that is also what may be there without our knowing: the
 * same bytes again, which the hub must find out. */
static truc_error spool_all(struct client *client)
{
    for (size_t i = 0; i < client->event_count; i++) {
        struct handed_over *over = &client->events[i];
        if (over->said != SAID_NOTHING || over->ticket)
            continue;
        truc_error error = truc_client_submit(client->library, truc_buffer_view(&over->bytes), &over->ticket);
        if (error == TRUC_E_FULL)
            return TRUC_OK; /* later */
        if (error)
            return error;
        agency_await(client, AWAIT_EVENT, i);
    }
    return TRUC_OK;
}

static void invent(struct client *client)
{
    static const char *const types[TYPES] = {"a.one", "a.two", "b.one"};
    char subject[24], recipients[80] = "";
    size_t count = sim_often(100) ? sim_pick(40) : 1 + sim_pick(4);

    for (size_t i = 0; i < count; i++) {
        snprintf(subject, sizeof subject, "s%llu", (unsigned long long)sim_pick(SUBJECTS));
        const struct world_agency *to = &world.agencies[1 + sim_pick(world.plan.agencies)];
        const struct world_agency *also = &world.agencies[1 + sim_pick(world.plan.agencies)];
        unsigned form = (unsigned)sim_pick(10);
        if (form < 6)
            snprintf(recipients, sizeof recipients, "%s", to->code);
        else if (form < 8)
            snprintf(recipients, sizeof recipients, "%s,%s", to->code, also->code);
        else if (form < 9)
            snprintf(recipients, sizeof recipients, "@g%llu", (unsigned long long)sim_pick(2));
        int64_t expires = sim_often(30) ? sim_now() + SIM_EPOCH + sim_between(-SIM_SECOND, 4 * SIM_SECOND) : 0;
        client_hand_over(client, types[sim_pick(TYPES)], sim_often(800) ? subject : NULL, form < 9 ? recipients : NULL,
                         NULL, expires);
    }
}

/* Takes one of the last ones back. */
static void recall(struct client *client)
{
    size_t back = sim_pick(client->event_count < 8 ? client->event_count : 8);
    Truc__V1__Recall message = TRUC__V1__RECALL__INIT;
    struct truc_buffer data = {0};
    char source[64], id[100], recipients[80], *names[2] = {recipients};

    if (client->event_count == 0)
        return;
    const struct handed_over *over = &client->events[client->event_count - 1 - back];
    memcpy(id, over->id, sizeof id);
    memcpy(recipients, over->recipients, sizeof recipients);
    snprintf(source, sizeof source, "urn:truc:%s", client->agency->code);
    message.source = source;
    message.id = id;
    message.recipients = names;
    message.n_recipients = 1;
    char *comma = strchr(recipients, ',');
    if (comma) {
        *comma = '\0';
        names[message.n_recipients++] = comma + 1;
    }
    if (recipients[0] == '@' || !recipients[0])
        snprintf(recipients, sizeof recipients, "H1");
    if (truc_buffer_reserve(&data, truc__v1__recall__get_packed_size(&message)) != TRUC_OK)
        abort();
    data.size = truc__v1__recall__pack(&message, data.data);
    client_hand_over(client, TRUC_TYPE_RECALL, NULL, NULL, &data, 0);
    truc_buffer_close(&data);
}

static void on_evidence(void *context, truc_reason reason, const struct truc_evidence *evidence)
{
    struct client *client = context;

    SIM_TRACE("evidence %s", reason ? truc_reason_name(reason) : "found");
    SIM_CHECK(reason != TRUC_BAD_SEAL, "%s was sent evidence that does not verify", client->process.name);
    SIM_CHECK(reason || evidence, "%s was told of evidence, and not given it", client->process.name);
    if (evidence && !reason)
        world.counts[DID_PROOF]++;
}

/* Asks for the proof of what it was receipted for. */
static truc_error ask_evidence(struct client *client)
{
    const struct handed_over *over = &client->events[sim_pick(client->event_count)];

    if (client->event_count == 0 || !over->accepted)
        return TRUC_OK;
    return truc_client_evidence(client->library, over->sequence, on_evidence, client);
}

/* ---- life ---- */

/* What is durable by now. The application asks for a mark now and then, not at every step. */
static void settle(struct client *client)
{
    uint64_t taken = client->awaiting_count && sim_often(300) ? truc_client_mark(client->library) : 0;
    uint64_t synced = truc_client_synced(client->library);
    size_t kept = 0;

    for (size_t i = 0; i < client->awaiting_count; i++) {
        struct awaiting *one = &client->awaiting[i];
        if (one->mark == MARK_NEXT && taken)
            one->mark = taken;
        if (one->mark > synced)
            client->awaiting[kept++] = *one;
        else if (one->what == AWAIT_EVENT && client->events[one->at].said == SAID_NOTHING)
            client->events[one->at].said = SAID_SPOOLED;
        else if (one->what == AWAIT_ACK && client->inbox[one->at].state == DELIVERED_ACKING)
            client->inbox[one->at].state = DELIVERED_ACKED;
    }
    client->awaiting_count = kept;
}

static int64_t next_wake(struct client *client)
{
    int64_t wait = (int64_t)truc_client_timeout_ms(client->library) * SIM_MS, at = sim_now() + wait;

    if (!client->hurry && !client->administrator && client->next_event_at < at)
        at = client->next_event_at;
    if (client->next_answer_at < at)
        at = client->next_answer_at;
    return at > sim_now() ? at : sim_now() + 1;
}

static truc_error open_library(struct client *client)
{
    static const char *const endpoints[] = {"tcp://hub:1", "tcp://nowhere:1"};
    char secret[41];
    struct truc_client_callbacks callbacks;

    agency_callbacks(client, &callbacks);
    memset(secret, '0', 40);
    secret[40] = '\0';
    const struct truc_client_config config = {.agency = client->agency->code,
                                              .origin = world.origin,
                                              .endpoints = endpoints,
                                              .endpoint_count = sim_often(300) ? 2 : 1,
                                              .hub_public = secret,
                                              .transport_public = client->agency->transport_public,
                                              .transport_secret = secret,
                                              .signing_key = client->agency->key,
                                              .note_key = world.note_key,
                                              .spool = client->spool,
                                              .spool_bytes = 16 << 20,
                                              .software = "sim/1",
                                              .spool_unsynced = sim_often(200),
                                              .max_in_flight_seals = (uint32_t)(1 + sim_pick(4)),
                                              .max_seal_events = sim_often(500) ? (uint32_t)(1 + sim_pick(5)) : 0,
                                              .receive_events = (uint32_t)(1 + sim_pick(64))};
    return truc_client_new(&config, &callbacks, &client->library);
}

static truc_error turn(struct client *client)
{
    truc_error error = TRUC_OK;

    if (!client->hurry && !client->administrator && sim_now() >= client->next_event_at) {
        invent(client);
        if (sim_often(100))
            recall(client);
        client->next_event_at = sim_now() + sim_between(20 * SIM_MS, 900 * SIM_MS);
    }
    if (client->subscribe_at && sim_now() >= client->subscribe_at) {
        client->subscribe_at = 0;
        error = truc_client_subscribe(client->library, "a.*", "", false);
    }
    if (!error && !client->hurry && sim_often(20))
        error = ask_evidence(client);
    if (!error)
        error = spool_all(client);
    if (!error)
        error = agency_answer(client);
    if (!error && sim_often(20)) {
        error = truc_client_sync(client->library);
        error = error == TRUC_E_FULL ? TRUC_OK : error;
    }
    if (!error)
        error = truc_client_step(client->library);
    if (!error)
        settle(client);
    return error;
}

static void come_back(void *context)
{
    client_start(context);
}

/* What was not known to be durable is not known to be lost either. */
static void forget(struct client *client)
{
    client->library = NULL;
    client->fiber = NULL;
    client->next_answer_at = INT64_MAX;
    for (size_t i = 0; i < client->event_count; i++) {
        struct handed_over *over = &client->events[i];
        if (over->said == SAID_NOTHING)
            over->ticket = 0;
    }
    for (uint64_t number = 1; number < client->inbox_capacity; number++)
        if (client->inbox[number].state == DELIVERED_ACKING || client->inbox[number].state == DELIVERED_PERHAPS)
            client->inbox[number].state = DELIVERED_PERHAPS;
        else if (client->inbox[number].state != DELIVERED_ACKED)
            client->inbox[number].state = DELIVERED_NOT;
    for (size_t i = 0; i < client->awaiting_count; i++)
        if (client->awaiting[i].what == AWAIT_RECEIPT)
            client->receipted[client->awaiting[i].at] = false;
    client->awaiting_count = 0;
    sim_lmdb_crash(&client->process);
    world.counts[DID_END_CLIENT]++;
}

static void run(void *context)
{
    struct client *client = context;
    truc_error error = open_library(client);

    if (!error)
        error = truc_client_receive(client->library, true);
    while (!error) {
        error = turn(client);
        if (!error)
            sim_park(next_wake(client));
    }
    SIM_TRACE("the client ends: %s", truc_error_string(error));
    SIM_CHECK(is_excused(client) || client->stopped, "%s ended by itself: %s", client->process.name,
              truc_error_string(error));
    truc_client_free(&client->library);
    sim_network_died(&client->process, false);
    forget(client);
    if (!client->stopped)
        sim_after(sim_between(10 * SIM_MS, 500 * SIM_MS), NULL, come_back, client);
    sim_process_kill(&client->process);
}

void client_start(struct client *client)
{
    if (client->process.alive)
        return;
    client->disk.errors = 0;
    client->stopped = false;
    sim_process_start(&client->process);
    client->next_answer_at = INT64_MAX;
    if (client->next_event_at < sim_now())
        client->next_event_at = sim_now() + sim_between(0, 500 * SIM_MS);
    if (!client->administrator && sim_often(500))
        client->subscribe_at = sim_now() + sim_between(0, SIM_SECOND);
    client->fiber = client->process.waits = sim_fiber_start(&client->process, run, client);
}

void client_crash(struct client *client, bool power, int64_t away_us)
{
    if (!client->process.alive)
        return;
    SIM_TRACE("%s is %s", client->process.name, power ? "without power" : "killed");
    sim_network_died(&client->process, power && sim_pick(2) == 0);
    sim_files_crash(&client->process, power);
    forget(client);
    sim_after(away_us, NULL, come_back, client);
    sim_process_kill(&client->process);
}

void client_restart_all(const struct world_agency *agency)
{
    for (size_t i = 0; i < world.client_count; i++)
        if (world.clients[i]->agency == agency)
            client_crash(world.clients[i], false, sim_between(5 * SIM_MS, 300 * SIM_MS));
}

static void on_disk_crash(struct sim_disk *disk)
{
    client_crash((struct client *)(void *)((uint8_t *)disk - offsetof(struct client, disk)), sim_pick(2) == 0,
                 sim_between(5 * SIM_MS, 800 * SIM_MS));
}

void client_add(struct world_agency *agency, bool administrator)
{
    struct client *client = calloc(1, sizeof *client);

    if (!client || world.client_count == CLIENTS_MAX)
        abort();
    client->agency = agency;
    client->administrator = administrator;
    client->process.disk = &client->disk;
    snprintf(client->process.name, sizeof client->process.name, "%s.%zu", agency->code, world.client_count);
    client->disk =
        (struct sim_disk){.process = &client->process, .sync_least = 100, .sync_most = 2000, .on_crash = on_disk_crash};
    snprintf(client->spool, sizeof client->spool, "%s/spool-%zu", world.folder, world.client_count);
    world.clients[world.client_count++] = client;
}

/* ---- rest ---- */

void client_hurry(struct client *client)
{
    client->hurry = true;
    client->next_answer_at = 0;
    client_start(client);
    sim_wake(client->fiber);
}

bool client_is_at_rest(const struct client *client, char why[200])
{
    if (client->stopped) {
        snprintf(why, 200, "%s has stopped: %s", client->process.name, client->stopped_why);
        return false;
    }
    if (!client->library || truc_client_state(client->library) != TRUC_CLIENT_OPEN) {
        snprintf(why, 200, "%s is not connected", client->process.name);
        return false;
    }
    if (client_unanswered(client) > 0) {
        snprintf(why, 200, "%s has %zu events without a receipt", client->process.name, client_unanswered(client));
        return false;
    }
    if (truc_client_pending(client->library) > 0) {
        snprintf(why, 200, "%s has %llu events in its spool", client->process.name,
                 (unsigned long long)truc_client_pending(client->library));
        return false;
    }
    return true;
}

void client_check_rest(struct client *client)
{
    uint32_t agency = oracle_number_of(client->agency->code);

    for (size_t i = 0; i < client->event_count; i++) {
        const struct handed_over *over = &client->events[i];
        const struct oracle_event *event = over->accepted ? oracle_event(over->sequence) : NULL;
        if (over->accepted)
            SIM_CHECK(event && event->outcome == TRUC_OUTCOME_ACCEPTED &&
                          memcmp(&event->hash, &over->hash, sizeof over->hash) == 0,
                      "%s: sequence %llu was receipted, and the journal does not have it", client->process.name,
                      (unsigned long long)over->sequence);
    }
    for (uint64_t number = 1; number <= oracle_posts(agency); number++) {
        struct hub_posting posting;
        truc_error error = hub_core_posting(oracle_core(), agency, number, &posting);
        SIM_CHECK(error == TRUC_E_NOT_FOUND || posting.state != HUB_POSTING_PENDING,
                  "%s: at rest number %llu was neither delivered nor given up", client->agency->code,
                  (unsigned long long)number);
    }
}
