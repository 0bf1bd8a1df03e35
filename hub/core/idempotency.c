/* What was accepted within the horizon: records in the order of acceptance, and a table in memory that finds them.
 *
 * The table holds 16 bytes an event: the first half of the idempotency key and the record's number. A hit is compared
 * with the whole record, so that the table never decides. */
#include "hub/core/core_internal.h"

#include <stdlib.h>

#define RECORD_SIZE 48u
#define FIRST_SLOTS 1024u

static struct block_series records(void)
{
    return (struct block_series){map_key((char)CORE_IDEMPOTENCY), RECORD_SIZE};
}

static uint64_t prefix_of(const uint8_t key[16])
{
    return load64(key);
}

void core_idempotency_close(struct core_idempotency *idempotency)
{
    free(idempotency->slots);
    *idempotency = (struct core_idempotency){0};
}

static void place(struct core_idempotency_slot *slots, size_t capacity, struct core_idempotency_slot slot)
{
    size_t at = slot.prefix & (capacity - 1);
    while (slots[at].ordinal != 0) {
        at = (at + 1) & (capacity - 1);
    }
    slots[at] = slot;
}

static truc_error insert(struct core_idempotency *table, uint64_t count, uint64_t prefix, uint64_t ordinal)
{
    if (table->capacity == 0 || (count + 1) * 3 > (uint64_t)table->capacity * 2) {
        size_t capacity = table->capacity == 0 ? FIRST_SLOTS : table->capacity * 2;
        struct core_idempotency_slot *slots = calloc(capacity, sizeof *slots);
        if (slots == NULL) {
            return TRUC_E_NOMEM;
        }
        for (size_t i = 0; i < table->capacity; i++) {
            if (table->slots[i].ordinal != 0) {
                place(slots, capacity, table->slots[i]);
            }
        }
        free(table->slots);
        table->slots = slots;
        table->capacity = capacity;
    }
    place(table->slots, table->capacity, (struct core_idempotency_slot){prefix, ordinal + 1});
    return TRUC_OK;
}

/* Takes a slot out and moves later ones of its run up, so that searches need no marks of what was there. */
static void take_out(struct core_idempotency *table, uint64_t prefix, uint64_t ordinal)
{
    size_t mask = table->capacity - 1, hole = prefix & mask;
    while (table->slots[hole].ordinal != ordinal + 1) {
        if (table->slots[hole].ordinal == 0) {
            return;
        }
        hole = (hole + 1) & mask;
    }
    for (size_t at = (hole + 1) & mask; table->slots[at].ordinal != 0; at = (at + 1) & mask) {
        size_t home = table->slots[at].prefix & mask;
        if (((at - home) & mask) >= ((at - hole) & mask)) {
            table->slots[hole] = table->slots[at];
            hole = at;
        }
    }
    table->slots[hole] = (struct core_idempotency_slot){0, 0};
}

static truc_error read_record(struct hub_core *core, uint64_t ordinal, struct core_accepted *out)
{
    struct block_series series = records();
    const uint8_t *from;
    truc_error error = block_read(&core->map, &series, &core->idempotency.tail, ordinal, &from);
    if (error != TRUC_OK) {
        return error == TRUC_E_NOT_FOUND ? TRUC_E_CORRUPT : error;
    }
    memcpy(out->key, from, sizeof out->key);
    memcpy(out->hash, from + 16, sizeof out->hash);
    out->sequence = load64(from + 32);
    out->accepted_at_us = (int64_t)load64(from + 40);
    return TRUC_OK;
}

truc_error core_idempotency_find(struct hub_core *core, const uint8_t key[16], struct core_accepted *out)
{
    const struct core_idempotency *table = &core->idempotency;
    uint64_t prefix = prefix_of(key);
    if (table->capacity == 0) {
        return TRUC_E_NOT_FOUND;
    }
    for (size_t at = prefix & (table->capacity - 1); table->slots[at].ordinal != 0;
         at = (at + 1) & (table->capacity - 1)) {
        if (table->slots[at].prefix != prefix) {
            continue;
        }
        truc_error error = read_record(core, table->slots[at].ordinal - 1, out);
        if (error != TRUC_OK) {
            return error;
        }
        if (memcmp(out->key, key, sizeof out->key) == 0) {
            return TRUC_OK;
        }
    }
    return TRUC_E_NOT_FOUND;
}

void core_idempotency_prefetch(const struct hub_core *core, const struct hub_event_facts *facts, size_t count)
{
    const struct core_idempotency *table = &core->idempotency;
    for (size_t i = 0; table->capacity != 0 && i < count; i++) {
        __builtin_prefetch(&table->slots[prefix_of(facts[i].key) & (table->capacity - 1)]);
    }
}

truc_error core_idempotency_add(struct hub_core *core, const struct hub_event_facts *facts, uint64_t sequence)
{
    struct core_idempotency *table = &core->idempotency;
    struct block_series series = records();
    uint8_t *to;
    truc_error error = block_edit(&core->map, &series, &table->tail, table->next, &to);
    if (error == TRUC_OK) {
        error = insert(table, table->next - table->first, prefix_of(facts->key), table->next);
    }
    if (error != TRUC_OK) {
        return error;
    }
    memcpy(to, facts->key, 16);
    memcpy(to + 16, facts->leaf_hash.bytes, 16);
    store64(to + 32, sequence);
    store64(to + 40, (uint64_t)core->accepted_at_us);
    if (table->first == table->next) {
        table->oldest_us = core->accepted_at_us;
    }
    table->next++;
    return TRUC_OK;
}

truc_error core_idempotency_forget(struct hub_core *core, int64_t now_us)
{
    struct core_idempotency *table = &core->idempotency;
    int64_t horizon_us = (int64_t)core->parameters.past_horizon_s * CORE_SECOND_US;
    while (table->first < table->next && table->oldest_us + horizon_us < now_us) {
        struct core_accepted accepted;
        truc_error error = read_record(core, table->first, &accepted);
        if (error != TRUC_OK) {
            return error;
        }
        take_out(table, prefix_of(accepted.key), table->first);
        table->first++;
        if (table->first % BLOCK_RECORDS == 0) {
            struct block_series series = records();
            error = block_delete(&core->map, &series, table->first / BLOCK_RECORDS - 1);
        }
        if (error == TRUC_OK && table->first < table->next) {
            error = read_record(core, table->first, &accepted);
            table->oldest_us = accepted.accepted_at_us;
        }
        if (error != TRUC_OK) {
            return error;
        }
    }
    return TRUC_OK;
}

static truc_error load_block(void *context, struct truc_bytes key, struct truc_bytes value)
{
    struct hub_core *core = context;
    struct core_idempotency *table = &core->idempotency;
    uint64_t block = 0;
    if (key.size != 9 || value.size % RECORD_SIZE != 0) {
        return TRUC_E_CORRUPT;
    }
    for (size_t i = 1; i < key.size; i++) {
        block = block << 8 | key.data[i];
    }
    for (size_t i = 0; i < value.size / RECORD_SIZE; i++) {
        uint64_t ordinal = block * BLOCK_RECORDS + i;
        const uint8_t *record = value.data + i * RECORD_SIZE;
        if (ordinal < table->first || ordinal >= table->next) {
            continue;
        }
        if (ordinal == table->first) {
            table->oldest_us = (int64_t)load64(record + 40);
        }
        truc_error error = insert(table, ordinal - table->first, prefix_of(record), ordinal);
        if (error != TRUC_OK) {
            return error;
        }
    }
    return TRUC_OK;
}

/* first and next are set. */
truc_error core_idempotency_load(struct hub_core *core)
{
    struct core_idempotency *table = &core->idempotency;
    const uint8_t letter = CORE_IDEMPOTENCY;
    uint64_t found = 0;
    truc_error error = core->map.port.scan(core->map.port.context, truc_bytes(&letter, 1), load_block, core);
    for (size_t i = 0; i < table->capacity; i++) {
        found += table->slots[i].ordinal != 0;
    }
    return error == TRUC_OK && found != table->next - table->first ? TRUC_E_CORRUPT : error;
}

truc_error hub_core_find(struct hub_core *core, const uint8_t key[16], uint64_t *sequence)
{
    struct core_accepted accepted;
    truc_error error = core_idempotency_find(core, key, &accepted);
    if (error == TRUC_OK) {
        *sequence = accepted.sequence;
    }
    return error;
}
