/* A row of the journal with every input in it. Its header is mended first (magic, format, size, digest), so that none
 * of them hides the inputs; the row as it came is opened too. */
#include "hub/store/row_format.h"
#include "tests/fuzz/folder.h"

static struct hub_row_reader *reader;
static struct hub_slots *slots;
static struct truc_aead *aead;

static void set_up(void)
{
    if (reader == NULL) {
        FUZZ_OK(hub_row_reader_new(&reader));
        FUZZ_OK(truc_aead_new(&aead));
        FUZZ_OK(hub_slots_open(fuzz_path("keys.slots"), true, false, &slots));
        FUZZ_OK(hub_slots_ensure(slots, 16));
    }
}

static void check_seal(const struct hub_seal_input *seal)
{
    struct truc_buffer content = {0};
    uint64_t slot;
    FUZZ_CHECK(seal->seal.count >= 1 && seal->seal.count <= TRUC_SEAL_EVENTS_MAX);
    for (uint32_t i = 0; i < seal->seal.count; i++) {
        const struct hub_event_facts *facts = &seal->events[i];
        FUZZ_CHECK(facts->kind <= HUB_EVENT_RESERVED);
        FUZZ_CHECK(facts->governance == NULL || facts->kind == HUB_EVENT_GOVERNANCE);
        FUZZ_OK(hub_row_reader_slot(reader, i, &slot));
        truc_error error = hub_row_reader_content(reader, i, aead, slots, &content);
        FUZZ_CHECK(error == TRUC_OK || error == TRUC_E_CORRUPT || error == TRUC_E_NOT_FOUND);
    }
    FUZZ_CHECK(hub_row_reader_slot(reader, seal->seal.count, &slot) == TRUC_E_INVALID);
    truc_buffer_close(&content);
}

static void check_inputs(struct truc_bytes row, bool check_digest)
{
    struct hub_row_header header;
    struct hub_input input;
    uint32_t offsets[64], count = 0;
    truc_error error = hub_row_reader_start(reader, row, check_digest, &header);
    while (error == TRUC_OK && (error = hub_row_reader_next(reader, &input)) == TRUC_OK) {
        FUZZ_CHECK(input.offset >= ROW_HEADER && input.offset < row.size);
        if (input.kind == HUB_INPUT_SEAL) {
            check_seal(&input.u.seal);
        }
        if (count < 64) {
            offsets[count++] = input.offset;
        }
    }
    FUZZ_CHECK(error == TRUC_E_NOT_FOUND || error == TRUC_E_CORRUPT || error == TRUC_E_TOO_LARGE);
    for (uint32_t i = 0; i < count; i++) {
        FUZZ_OK(hub_row_reader_at(reader, row, offsets[i], &input));
        error = hub_row_reader_at(reader, row, offsets[i] + 1, &input);
        FUZZ_CHECK(error == TRUC_OK || error == TRUC_E_CORRUPT || error == TRUC_E_TOO_LARGE);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct hub_row_header header;
    struct truc_hash digest;
    set_up();
    FUZZ_ANY(hub_row_open(truc_bytes(data, size), &header));
    if (size < ROW_HEADER) {
        return 0;
    }
    uint8_t *row = fuzz_copy(truc_bytes(data, size));
    memcpy(row + ROW_AT_MAGIC, ROW_MAGIC, 4);
    row_put_number(row + ROW_AT_FORMAT, row[ROW_AT_FORMAT + 3] % HUB_ROW_FORMAT + 1, 4); /* any that is read */
    row_put_number(row + ROW_AT_SIZE, size, 4);
    check_inputs(truc_bytes(row, size), false);
    if (row_digest(truc_bytes(row, size), &digest) == TRUC_OK) {
        memcpy(row + ROW_AT_DIGEST, digest.bytes, TRUC_HASH_SIZE);
        FUZZ_OK(hub_row_open(truc_bytes(row, size), &header));
        check_inputs(truc_bytes(row, size), true);
    }
    free(row);
    return 0;
}

/* ---- seeds ------------------------------------------------------------------------------------------------------- */

static void seed_row(const char *name, struct hub_row_item *items, size_t count)
{
    struct hub_row_header header = {.row = 9, .accepted_at_us = INT64_C(1790000000000000)};
    size_t size;
    set_up();
    FUZZ_OK(hub_row_size(items, count, &size));
    uint8_t *row = malloc(size);
    FUZZ_CHECK(row != NULL);
    FUZZ_OK(hub_row_encode(&header, items, count, aead, slots, row));
    row[ROW_AT_FORMAT + 3]--; /* as the number is read above */
    fuzz_seed(name, truc_bytes(row, size));
    free(row);
}

static struct hub_row_item plain(enum hub_input_kind kind)
{
    struct hub_row_item item = {.input = {.kind = kind, .agency = "H14.09"}};
    return item;
}

static void seed_plain(void)
{
    static const struct hub_range ranges[] = {{1, 3}, {10, 1}, {500, 70000}};
    struct hub_row_item items[8] = {plain(HUB_INPUT_BOOT),    plain(HUB_INPUT_ACK),       plain(HUB_INPUT_NACK),
                                    plain(HUB_INPUT_RELEASE), plain(HUB_INPUT_SUBSCRIBE), plain(HUB_INPUT_EXPIRE),
                                    plain(HUB_INPUT_FORK),    plain(HUB_INPUT_CHECKPOINT)};
    for (size_t i = 1; i < 6; i += 2) {
        items[i].input.u.ranges.ranges = ranges;
        items[i].input.u.ranges.count = 3;
    }
    items[2].input.u.nack.number = 77;
    items[2].input.u.nack.note = truc_bytes_of("not now");
    items[4].input.u.subscribe.type = truc_bytes_of("dossier.*");
    items[6].input.u.fork.number = 4;
    items[6].input.u.fork.envelope = truc_bytes_of("envelope");
    items[7].input.u.checkpoint.tree_size = 12;
    items[7].input.u.checkpoint.note = truc_bytes_of("note\n");
    seed_row("plain", items, 8);
}

/* Events of every kind but governance, whose bytes fuzz_governance looks at; one act is here, empty and so damaged. */
static void seed_seal(void)
{
    struct hub_row_item item = {.input = {.kind = HUB_INPUT_SEAL}};
    struct hub_event_facts facts[4];
    struct truc_buffer envelope = {0}, body = {0};
    const uint64_t seed_slots[4] = {1, 2, 3, 3};
    static const uint8_t in_hand[] = {0, 4};
    struct truc_key *key;
    struct hub_seal_input *seal = &item.input.u.seal;
    memset(facts, 0, sizeof facts);
    for (uint32_t i = 0; i < 4; i++) {
        facts[i].type = truc_bytes_of(i < 2 ? "dossier.a.v1" : TRUC_TYPE_RECALL);
        facts[i].recipients = truc_bytes_of(i < 3 ? "H1,@all" : "");
        facts[i].kind = i < 2 ? HUB_EVENT_PLAIN : HUB_EVENT_RECALL;
        facts[i].size = 5;
        facts[i].time_us = i == 1 ? INT64_C(1790000000000000) : HUB_TIME_NONE;
        facts[i].expires_us = i == 1 ? INT64_C(1790000009000000) : HUB_TIME_NONE;
        facts[i].subject = i;
        facts[i].in_hand = i == 2 ? truc_bytes(in_hand, sizeof in_hand) : truc_bytes(NULL, 0);
        truc_leaf_hash(&facts[i].leaf_hash, truc_bytes_of("event"));
        FUZZ_OK(truc_body_append(&body, truc_bytes_of("event")));
    }
    seal->seal = (struct truc_seal){.origin = "log", .sender = "H14.09", .number = 1, .count = 4, .sealed_at_us = 5};
    seal->events = facts;
    FUZZ_OK(truc_key_generate(TRUC_ALGORITHM_ED25519, &key));
    (void)snprintf(seal->seal.keyid, sizeof seal->seal.keyid, "%s", truc_key_id(key));
    FUZZ_OK(truc_seal_sign(&seal->seal, key, &envelope, &seal->digest));
    seal->envelope = truc_buffer_view(&envelope);
    item.body = truc_buffer_view(&body);
    item.slots = seed_slots;
    seed_row("seal", &item, 1);
    truc_key_free(&key);
    truc_buffer_close(&envelope);
    truc_buffer_close(&body);
}

void fuzz_seeds(void)
{
    seed_plain();
    seed_seal();
}
