/* The oracle follows the journal as it becomes durable, applies it to a core of its own, and checks every decision
 * against a model that shares nothing with the core: who is granted what, which chain stands where, what was accepted
 * before. What leaves the hub must be known here already. */
#include "hub/core/core.h"
#include "hub/store/row.h"
#include "tests/sim/world.h"
#include "truc/merkle.h"

#define MODEL_MAX 256
#define KEYS (1u << 14)

struct model_agency {
    char code[TRUC_AGENCY_MAX + 1];
    size_t group_count;
    char groups[HUB_GROUPS_MAX][64];
    bool suspended;
};
struct model_grant {
    char name[64], from[64], to[64], type[64];
    int64_t from_us, until_us;
    bool withdrawn, receipts;
};
struct model_subscription {
    uint32_t agency;
    char type[64], source[64];
};
struct model_chain {
    uint32_t agency;
    uint8_t chain[TRUC_CHAIN_SIZE];
    uint64_t number;
    struct truc_hash digest;
};
struct model_key {
    char keyid[TRUC_KEYID_HEX + 1];
    uint32_t agency;
    struct truc_key *key;
    bool revoked;
};

static struct {
    const char *path;
    struct sim_file *file;
    struct hub_row_reader *rows;
    struct hub_core *core;
    struct hub_effects effects;
    uint64_t next;
    struct truc_hash previous;
    int64_t accepted_at;
    struct truc_hash *roots; /* by tree size; zeros: no row ended there */
    size_t root_capacity;
    struct oracle_event *events; /* by sequence */
    size_t event_count, event_capacity;
    struct {
        struct oracle_post *posts; /* by number */
        size_t count, capacity;
    } inboxes[MODEL_MAX];
    struct model_agency agencies[MODEL_MAX]; /* by number */
    uint32_t agency_count;
    struct model_grant grants[MODEL_MAX];
    size_t grant_count;
    struct model_subscription subscriptions[MODEL_MAX];
    size_t subscription_count;
    struct model_chain *chains;
    size_t chain_count, chain_capacity;
    struct model_key keys[MODEL_MAX];
    size_t key_count;
    struct {
        uint8_t key[16];
        uint64_t sequence;
    } accepted[KEYS];
} oracle;

static void grow(void **array, size_t *capacity, size_t wanted, size_t size)
{
    if (wanted < *capacity)
        return;
    size_t larger = *capacity ? *capacity * 2 : 256;
    while (larger <= wanted)
        larger *= 2;
    *array = realloc(*array, larger * size);
    if (!*array)
        abort();
    memset((uint8_t *)*array + *capacity * size, 0, (larger - *capacity) * size);
    *capacity = larger;
}

static void copy_text(char *to, size_t room, struct truc_bytes from)
{
    size_t size = from.size < room - 1 ? from.size : room - 1;

    if (size)
        memcpy(to, from.data, size);
    to[size] = '\0';
}

/* ---- who may send what to whom ---- */

uint32_t oracle_number_of(const char *code)
{
    for (uint32_t i = 1; i <= oracle.agency_count; i++)
        if (strcmp(oracle.agencies[i].code, code) == 0)
            return i;
    return 0;
}

static bool in_group(const struct model_agency *agency, const char *group)
{
    for (size_t i = 0; i < agency->group_count; i++)
        if (strcmp(agency->groups[i], group) == 0)
            return true;
    return false;
}

static bool is_party(const char *party, const struct model_agency *agency)
{
    return party[0] == '@' ? in_group(agency, party + 1) : strcmp(party, agency->code) == 0;
}

static bool matches(const char *pattern, struct truc_bytes type)
{
    size_t size = strlen(pattern);

    if (size && pattern[size - 1] == '*')
        return type.size >= size - 1 && memcmp(pattern, type.data, size - 1) == 0;
    return type.size == size && memcmp(pattern, type.data, size) == 0;
}

static bool is_granted(const struct model_agency *from, const struct model_agency *to, struct truc_bytes type,
                       int64_t at)
{
    for (size_t i = 0; i < oracle.grant_count; i++) {
        const struct model_grant *grant = &oracle.grants[i];
        if (!grant->withdrawn && grant->from_us <= at && (!grant->until_us || at < grant->until_us) &&
            is_party(grant->from, from) && is_party(grant->to, to) && matches(grant->type, type))
            return true;
    }
    return false;
}

static bool owes_receipts(const struct model_agency *from, const struct model_agency *to)
{
    for (size_t i = 0; i < oracle.grant_count; i++)
        if (oracle.grants[i].receipts && is_party(oracle.grants[i].from, to) && is_party(oracle.grants[i].to, from))
            return true;
    return false;
}

static bool is_named(struct truc_bytes recipients, const struct model_agency *agency, const struct model_agency *sender)
{
    struct truc_bytes one;
    size_t at = 0;
    char code[64];

    while (truc_recipients_next(recipients, &at, &one)) {
        copy_text(code, sizeof code, one);
        if (code[0] == '@' ? agency != sender && in_group(agency, code + 1) : strcmp(code, agency->code) == 0)
            return true;
    }
    return false;
}

static bool is_subscribed(uint32_t agency, struct truc_bytes type, const char *sender)
{
    for (size_t i = 0; i < oracle.subscription_count; i++) {
        const struct model_subscription *one = &oracle.subscriptions[i];
        if (one->agency == agency && matches(one->type, type) && (!one->source[0] || strcmp(one->source, sender) == 0))
            return true;
    }
    return false;
}

static void subscribe(uint32_t agency, struct truc_bytes type, struct truc_bytes source, bool remove)
{
    struct model_subscription one = {.agency = agency};

    copy_text(one.type, sizeof one.type, type);
    copy_text(one.source, sizeof one.source, source);
    for (size_t i = 0; i < oracle.subscription_count; i++) {
        struct model_subscription *have = &oracle.subscriptions[i];
        if (have->agency != agency || strcmp(have->type, one.type) != 0 || strcmp(have->source, one.source) != 0)
            continue;
        if (remove)
            *have = oracle.subscriptions[--oracle.subscription_count];
        return;
    }
    if (!remove && oracle.subscription_count < MODEL_MAX)
        oracle.subscriptions[oracle.subscription_count++] = one;
}

static void enrol(const struct hub_enrolment *enrolment)
{
    struct model_agency *agency = &oracle.agencies[++oracle.agency_count];

    memcpy(agency->code, enrolment->agency, sizeof agency->code);
    agency->group_count = enrolment->group_count;
    for (size_t i = 0; i < enrolment->group_count; i++)
        copy_text(agency->groups[i], sizeof agency->groups[i], enrolment->groups[i]);
}

static void add_key(const char *agency, const struct hub_key_facts *facts)
{
    struct model_key *key = &oracle.keys[oracle.key_count];

    if (!facts->present || oracle.key_count == MODEL_MAX - 1)
        return;
    memcpy(key->keyid, facts->keyid, sizeof key->keyid);
    key->agency = oracle_number_of(agency);
    if (truc_key_from_spki(facts->spki, &key->key) != TRUC_OK)
        sim_fail("a key in the journal does not parse");
    oracle.key_count++;
}

static void govern(const struct hub_governance *act)
{
    uint32_t number = oracle_number_of(act->agency);

    world.counts[DID_GOVERN]++;
    switch (act->act) {
    case HUB_ACT_GENESIS:
    case HUB_ACT_ENROL_AGENCY:
        for (size_t i = 0; i < act->enrolment_count; i++) {
            enrol(&act->enrolments[i]);
            add_key(act->enrolments[i].agency, &act->enrolments[i].key);
        }
        return;
    case HUB_ACT_SUSPEND_AGENCY:
    case HUB_ACT_RESUME_AGENCY:
        oracle.agencies[number].suspended = act->act == HUB_ACT_SUSPEND_AGENCY;
        return;
    case HUB_ACT_ADD_KEY:
        add_key(act->agency, &act->key);
        return;
    case HUB_ACT_REVOKE_KEY:
        for (size_t i = 0; i < oracle.key_count; i++)
            if (act->key.present && strcmp(oracle.keys[i].keyid, act->key.keyid) == 0)
                oracle.keys[i].revoked = true;
        return;
    case HUB_ACT_GIVE_GRANT: {
        struct model_grant *grant = &oracle.grants[oracle.grant_count];
        if (oracle.grant_count < MODEL_MAX - 1)
            oracle.grant_count++;
        copy_text(grant->name, sizeof grant->name, act->grant);
        copy_text(grant->from, sizeof grant->from, act->from);
        copy_text(grant->to, sizeof grant->to, act->to);
        copy_text(grant->type, sizeof grant->type, act->type);
        grant->from_us = act->valid_from_us;
        grant->until_us = act->valid_until_us;
        grant->receipts = act->delivery_receipts;
        return;
    }
    case HUB_ACT_WITHDRAW_GRANT:
        for (size_t i = 0; i < oracle.grant_count; i++)
            if (truc_bytes_equal(act->grant, truc_bytes_of(oracle.grants[i].name)))
                oracle.grants[i].withdrawn = true;
        return;
    case HUB_ACT_ADD_SUBSCRIPTION:
    case HUB_ACT_REMOVE_SUBSCRIPTION:
        subscribe(number, act->type, act->source_agency, act->act == HUB_ACT_REMOVE_SUBSCRIPTION);
        return;
    case HUB_ACT_ORDER_REPLAY:
    case HUB_ACT_DEAD_LETTER:
    case HUB_ACT_PARAMETERS:
    case HUB_ACT_SET_QUOTA:
        return;
    }
}

/* ---- seals ---- */

static void check_chain(const struct hub_seal_input *input, uint32_t agency)
{
    const struct truc_seal *seal = &input->seal;
    struct model_chain *chain = NULL;

    for (size_t i = 0; i < oracle.chain_count; i++)
        if (oracle.chains[i].agency == agency && memcmp(oracle.chains[i].chain, seal->chain, sizeof seal->chain) == 0)
            chain = &oracle.chains[i];
    if (!chain) {
        SIM_CHECK(seal->number == 1, "a chain in the journal begins with number %llu",
                  (unsigned long long)seal->number);
        grow((void **)&oracle.chains, &oracle.chain_capacity, oracle.chain_count, sizeof *oracle.chains);
        chain = &oracle.chains[oracle.chain_count++];
        chain->agency = agency;
        memcpy(chain->chain, seal->chain, sizeof chain->chain);
    } else {
        SIM_CHECK(seal->number == chain->number + 1, "a chain in the journal goes from %llu to %llu",
                  (unsigned long long)chain->number, (unsigned long long)seal->number);
        SIM_CHECK(seal->has_previous && memcmp(&seal->previous, &chain->digest, sizeof chain->digest) == 0,
                  "a seal in the journal does not name the one before it");
    }
    chain->number = seal->number;
    chain->digest = input->digest;
}

static void check_signature(const struct hub_seal_input *input, uint32_t agency)
{
    struct truc_envelope envelope;

    if (truc_envelope_parse(input->envelope, &envelope) != TRUC_OK) {
        sim_fail("an envelope in the journal does not parse");
        return;
    }
    for (size_t i = 0; i < oracle.key_count; i++)
        if (strcmp(oracle.keys[i].keyid, envelope.seal.keyid) == 0 && oracle.keys[i].agency == agency) {
            SIM_CHECK(truc_envelope_verify(&envelope, oracle.keys[i].key) == TRUC_OK,
                      "a seal in the journal does not verify");
            return;
        }
    sim_fail("a seal in the journal is signed by a key that is not %s's", input->seal.sender);
}

/* The first event accepted under a key; a later one must be its duplicate, or a conflict. */
static void check_once(const struct hub_event_facts *facts, uint64_t sequence, const struct truc_outcome *outcome)
{
    uint32_t at = (uint32_t)(facts->key[0] | facts->key[1] << 8) % KEYS;

    while (oracle.accepted[at].sequence && memcmp(oracle.accepted[at].key, facts->key, 16) != 0)
        at = (at + 1) % KEYS;
    uint64_t first = oracle.accepted[at].sequence;
    if (outcome->code == TRUC_OUTCOME_DUPLICATE)
        SIM_CHECK(first == outcome->duplicate_of, "event %llu is called a duplicate of %llu, the first one is %llu",
                  (unsigned long long)sequence, (unsigned long long)outcome->duplicate_of, (unsigned long long)first);
    if (outcome->code != TRUC_OUTCOME_ACCEPTED)
        return;
    SIM_CHECK(!first, "event %llu was accepted, although %llu is the same", (unsigned long long)sequence,
              (unsigned long long)first);
    memcpy(oracle.accepted[at].key, facts->key, 16);
    oracle.accepted[at].sequence = sequence;
}

static void check_post(const struct hub_event_facts *facts, const struct model_agency *sender, uint32_t to,
                       uint64_t sequence)
{
    const struct model_agency *agency = &oracle.agencies[to];

    if (facts->kind == HUB_EVENT_DELIVERY_RECEIPT) {
        SIM_CHECK(owes_receipts(sender, agency), "a delivery receipt went from %s to %s without a grant", sender->code,
                  agency->code);
        return;
    }
    SIM_CHECK(is_granted(sender, agency, facts->type, oracle.accepted_at),
              "event %llu of %s was posted to %s without a grant", (unsigned long long)sequence, sender->code,
              agency->code);
    SIM_CHECK(facts->recipients.size ? is_named(facts->recipients, agency, sender)
                                     : is_subscribed(to, facts->type, sender->code),
              "event %llu of %s was posted to %s, which nobody named", (unsigned long long)sequence, sender->code,
              agency->code);
}

static size_t expected_posts(const struct hub_event_facts *facts, const struct model_agency *sender)
{
    size_t count = 0;

    for (uint32_t i = 1; i <= oracle.agency_count; i++) {
        const struct model_agency *agency = &oracle.agencies[i];
        if (facts->recipients.size)
            count += is_named(facts->recipients, agency, sender);
        else
            count += agency != sender && is_subscribed(i, facts->type, sender->code) &&
                     is_granted(sender, agency, facts->type, oracle.accepted_at);
    }
    return count;
}

static void check_event(const struct hub_seal_input *input, uint32_t index, uint64_t sequence,
                        const struct truc_outcome *outcome, size_t from, size_t to)
{
    const struct hub_event_facts *facts = &input->events[index];
    uint32_t number = oracle_number_of(input->seal.sender);
    const struct model_agency *sender = &oracle.agencies[number];
    size_t posted = 0;

    grow((void **)&oracle.events, &oracle.event_capacity, sequence, sizeof *oracle.events);
    oracle.events[sequence] = (struct oracle_event){facts->leaf_hash, outcome->code, outcome->duplicate_of, number, ""};
    if (facts->recipients.size == 0 && facts->type.size < sizeof oracle.events[sequence].topic)
        memcpy(oracle.events[sequence].topic, facts->type.data, facts->type.size);
    oracle.event_count = sequence + 1;
    check_once(facts, sequence, outcome);
    for (size_t i = from; i < to; i++) {
        const struct hub_effect *effect = &oracle.effects.items[i];
        if (effect->kind != HUB_EFFECT_POSTED || effect->sequence != sequence)
            continue;
        posted++;
        if (facts->kind == HUB_EVENT_PLAIN || facts->kind == HUB_EVENT_DELIVERY_RECEIPT)
            check_post(facts, sender, effect->agency, sequence);
    }
    SIM_CHECK(outcome->code == TRUC_OUTCOME_ACCEPTED || posted == 0, "event %llu was not accepted, and yet posted",
              (unsigned long long)sequence);
    if (outcome->code == TRUC_OUTCOME_ACCEPTED && facts->kind == HUB_EVENT_PLAIN)
        SIM_CHECK(posted == expected_posts(facts, sender), "event %llu of %s was posted %zu times instead of %zu",
                  (unsigned long long)sequence, sender->code, posted, expected_posts(facts, sender));
    if (outcome->code == TRUC_OUTCOME_ACCEPTED && sender->code[0])
        SIM_CHECK(!sender->suspended, "event %llu was accepted from %s, which is suspended",
                  (unsigned long long)sequence, sender->code);
    for (size_t i = 0; outcome->code == TRUC_OUTCOME_ACCEPTED && i < oracle.key_count; i++)
        SIM_CHECK(!oracle.keys[i].revoked || strcmp(oracle.keys[i].keyid, input->seal.keyid) != 0,
                  "event %llu was accepted under a key that was revoked", (unsigned long long)sequence);
    if (outcome->code == TRUC_OUTCOME_ACCEPTED && facts->governance)
        govern(facts->governance);
}

static void count_effects(void)
{
    for (size_t i = 0; i < oracle.effects.count; i++) {
        world.counts[DID_RECALL] += oracle.effects.items[i].kind == HUB_EFFECT_RECALLED;
        world.counts[DID_DIE] += oracle.effects.items[i].kind == HUB_EFFECT_DEAD;
    }
}

static void note_posts(size_t from, size_t to)
{
    for (size_t i = from; i < to; i++) {
        const struct hub_effect *effect = &oracle.effects.items[i];
        if (effect->kind != HUB_EFFECT_POSTED)
            continue;
        typeof(&oracle.inboxes[0]) inbox = &oracle.inboxes[effect->agency];
        grow((void **)&inbox->posts, &inbox->capacity, effect->number, sizeof *inbox->posts);
        SIM_CHECK(effect->number == inbox->count + 1, "inbox numbers of agency %u go from %zu to %llu", effect->agency,
                  inbox->count, (unsigned long long)effect->number);
        inbox->posts[effect->number] = (struct oracle_post){effect->sequence, effect->subject};
        inbox->count = effect->number;
    }
}

static void check_seal(const struct hub_seal_input *input, size_t from, size_t to)
{
    static struct truc_leaf leaf;
    const struct hub_effect *effect = NULL;
    uint32_t agency = oracle_number_of(input->seal.sender);
    bool genesis = oracle.next == 0;

    for (size_t i = from; i < to; i++)
        if (oracle.effects.items[i].kind == HUB_EFFECT_LEAF)
            effect = &oracle.effects.items[i];
    if (!effect || truc_leaf_parse(effect->leaf, &leaf) != TRUC_OK || leaf.count != input->seal.count) {
        sim_fail("a seal has no leaf");
        return;
    }
    if (!genesis) {
        check_signature(input, agency);
        check_chain(input, agency);
    }
    note_posts(from, to);
    for (uint32_t i = 0; i < leaf.count; i++)
        check_event(input, i, leaf.first_sequence + i, &leaf.outcomes[i], from, to);
}

/* ---- rows ---- */

static bool apply_row(struct truc_bytes row, size_t ranges[], size_t most, size_t *count)
{
    struct hub_row_header header;
    struct hub_input input;
    truc_error error;

    *count = 0;
    if (hub_row_reader_start(oracle.rows, row, true, &header) != TRUC_OK || header.row != oracle.next ||
        memcmp(&header.previous, &oracle.previous, sizeof header.previous) != 0 ||
        header.accepted_at_us < oracle.accepted_at)
        return false;
    oracle.previous = header.digest;
    oracle.accepted_at = header.accepted_at_us;
    if (hub_core_begin_row(oracle.core, header.row, header.accepted_at_us) != TRUC_OK)
        return false;
    while (!(error = hub_row_reader_next(oracle.rows, &input)) && *count + 1 < most) {
        ranges[(*count)++] = oracle.effects.count;
        if (hub_core_apply(oracle.core, &input, &oracle.effects) != TRUC_OK)
            return false;
    }
    ranges[*count] = oracle.effects.count;
    return error == TRUC_E_NOT_FOUND && hub_core_end_row(oracle.core, &oracle.effects) == TRUC_OK;
}

static void note_released(const struct hub_input *input)
{
    for (size_t i = 0; i < input->u.ranges.count; i++)
        for (uint32_t n = 0; n < input->u.ranges.ranges[i].count; n++)
            client_on_release_logged(input->agency, input->u.ranges.ranges[i].first + n);
}

static void check_row(struct truc_bytes row, const size_t ranges[])
{
    struct hub_row_header header;
    struct hub_input input;
    size_t at = 0;

    if (hub_row_reader_start(oracle.rows, row, false, &header) != TRUC_OK)
        return;
    while (hub_row_reader_next(oracle.rows, &input) == TRUC_OK) {
        if (input.kind == HUB_INPUT_SEAL)
            check_seal(&input.u.seal, ranges[at], ranges[at + 1]);
        else if (input.kind == HUB_INPUT_SUBSCRIBE)
            subscribe(oracle_number_of(input.agency), input.u.subscribe.type, input.u.subscribe.source_agency,
                      input.u.subscribe.remove);
        else if (input.kind == HUB_INPUT_NACK)
            client_on_nack_logged(input.agency, input.u.nack.number);
        else if (input.kind == HUB_INPUT_RELEASE)
            note_released(&input);
        at++;
    }
}

#define INPUTS_MAX 8192

static void follow(void)
{
    static size_t ranges[INPUTS_MAX];
    uint64_t rows = sim_file_rows(oracle.file);

    SIM_CHECK(rows >= oracle.next, "the journal lost rows: %llu of %llu", (unsigned long long)rows,
              (unsigned long long)oracle.next);
    while (oracle.next < rows && !sim_failure()) {
        uint8_t key[8];
        struct truc_bytes row;
        size_t count;
        for (int i = 0; i < 8; i++)
            key[i] = (uint8_t)(oracle.next >> (56 - 8 * i));
        hub_effects_clear(&oracle.effects);
        if (!sim_file_get(oracle.file, truc_bytes(key, 8), &row) || !apply_row(row, ranges, INPUTS_MAX, &count)) {
            sim_fail("row %llu of the journal cannot be applied", (unsigned long long)oracle.next);
            return;
        }
        check_row(row, ranges);
        count_effects();
        uint64_t size = hub_core_tree_size(oracle.core);
        grow((void **)&oracle.roots, &oracle.root_capacity, size, sizeof *oracle.roots);
        hub_core_root(oracle.core, &oracle.roots[size]);
        SIM_TRACE("row %llu is durable: %zu inputs, tree %llu", (unsigned long long)oracle.next, count,
                  (unsigned long long)size);
        oracle.next++;
        world.counts[DID_ROW]++;
    }
}

static truc_error no_get(void *context, struct truc_bytes key, struct truc_bytes *value)
{
    (void)context, (void)key, (void)value;
    return TRUC_E_NOT_FOUND;
}

static truc_error no_scan(void *context, struct truc_bytes prefix,
                          truc_error (*each)(void *each_context, struct truc_bytes key, struct truc_bytes value),
                          void *each_context)
{
    (void)context, (void)prefix, (void)each, (void)each_context;
    return TRUC_OK;
}

void oracle_open(const char *journal)
{
    const struct hub_port port = {NULL, no_get, no_scan};

    oracle.file = sim_file_find(journal);
    if (!oracle.file || hub_row_reader_new(&oracle.rows) != TRUC_OK || hub_core_new(&port, &oracle.core) != TRUC_OK)
        abort();
    sim_file_watch(journal, follow);
    follow();
}

struct hub_core *oracle_core(void)
{
    return oracle.core;
}

uint64_t oracle_tree_size(void)
{
    return hub_core_tree_size(oracle.core);
}

bool oracle_root(uint64_t size, struct truc_hash *out)
{
    static const struct truc_hash none;

    if (size > oracle_tree_size() || size >= oracle.root_capacity)
        return false;
    *out = oracle.roots[size];
    return memcmp(out, &none, sizeof none) != 0;
}

const struct oracle_event *oracle_event(uint64_t sequence)
{
    return sequence > 0 && sequence < oracle.event_count ? &oracle.events[sequence] : NULL;
}

const struct oracle_post *oracle_post(uint32_t agency, uint64_t number)
{
    return number > 0 && number <= oracle.inboxes[agency].count ? &oracle.inboxes[agency].posts[number] : NULL;
}

uint64_t oracle_posts(uint32_t agency)
{
    return oracle.inboxes[agency].count;
}
