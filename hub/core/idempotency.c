/* What was accepted within the horizon: records in the order of acceptance, and what finds them by their key: a table
 * in memory for the newest, sorted runs with filters for those before (idempotency_runs.c).
 *
 * The table holds 8 bytes an event: 40 bits of the idempotency key and the low bits of the record's number. A hit is
 * compared with the whole record, so that neither table nor run ever decides. */
#include "hub/core/core_internal.h"

#include <stdlib.h>

#define RECORD_SIZE 48u
#define FIRST_SLOTS 1024u

static struct block_series records(void)
{
    return (struct block_series){map_key((char)CORE_IDEMPOTENCY), RECORD_SIZE};
}

uint64_t core_idempotency_tag(const uint8_t key[16])
{
    return load64(key) >> (64 - CORE_TAG_BITS);
}

void core_idempotency_close(struct core_idempotency *idempotency)
{
    core_runs_close(idempotency);
    free(idempotency->slots);
    *idempotency = (struct core_idempotency){0};
}

/* ---- the table: slots in the order of their tags, but for what had to move on ------------------------------------ */

/* A slot: tag << 24 | ordinal modulo 2^23, plus 1; 0 is free. The table's ordinals lie closer together than 2^23. */
#define SLOT_ORDINALS (UINT64_C(1) << 23)

static uint64_t slot_make(uint64_t tag, uint64_t ordinal)
{
    return tag << 24 | (ordinal % SLOT_ORDINALS + 1);
}

static uint64_t slot_tag(uint64_t slot)
{
    return slot >> 24;
}

static uint64_t slot_ordinal(const struct core_idempotency *table, uint64_t slot)
{
    uint64_t low = (slot & 0xffffff) - 1;
    return table->next - (table->next - low) % SLOT_ORDINALS;
}

size_t core_table_home(const struct core_idempotency *table, uint64_t tag)
{
    return (size_t)(tag >> (CORE_TAG_BITS - table->bits));
}

static void place(struct core_idempotency *table, uint64_t slot)
{
    size_t mask = ((size_t)1 << table->bits) - 1, at = core_table_home(table, slot_tag(slot));
    while (table->slots[at] != 0) {
        at = (at + 1) & mask;
    }
    table->slots[at] = slot;
}

static truc_error resize(struct core_idempotency *table, unsigned bits)
{
    uint64_t *before = table->slots, *slots = calloc((size_t)1 << bits, sizeof *slots);
    size_t capacity = before == NULL ? 0 : (size_t)1 << table->bits;
    if (slots == NULL) {
        return TRUC_E_NOMEM;
    }
    table->slots = slots;
    table->bits = bits;
    for (size_t i = 0; i < capacity; i++) {
        if (before[i] != 0) {
            place(table, before[i]);
        }
    }
    free(before);
    return TRUC_OK;
}

static truc_error insert(struct core_idempotency *table, uint64_t tag, uint64_t ordinal)
{
    size_t capacity = table->slots == NULL ? 0 : (size_t)1 << table->bits;
    if ((table->count + 1) * 3 > capacity * 2) {
        truc_error error = resize(table, capacity == 0 ? (unsigned)__builtin_ctz(FIRST_SLOTS) : table->bits + 1);
        if (error != TRUC_OK) {
            return error;
        }
    }
    place(table, slot_make(tag, ordinal));
    table->count++;
    return TRUC_OK;
}

/* Room for that many at once. At open it is not only quicker: what a run that is being built has not taken yet are the
 * high tags alone, which would all lie on one heap in a table that grew with them. */
static truc_error reserve(struct core_idempotency *table, uint64_t records)
{
    unsigned bits = (unsigned)__builtin_ctz(FIRST_SLOTS);
    while (records * 3 > (UINT64_C(1) << bits) * 2) {
        bits++;
    }
    return resize(table, bits);
}

/* Takes a slot out and moves later ones of its run up, so that searches need no marks of what was there. */
void core_table_take_out(struct core_idempotency *table, uint64_t tag, uint64_t ordinal)
{
    uint64_t slot = slot_make(tag, ordinal);
    if (table->slots == NULL) {
        return;
    }
    size_t mask = ((size_t)1 << table->bits) - 1, hole = core_table_home(table, tag);
    while (table->slots[hole] != slot) {
        if (table->slots[hole] == 0) {
            return; /* it is in a run */
        }
        hole = (hole + 1) & mask;
    }
    table->count--;
    for (size_t at = (hole + 1) & mask; table->slots[at] != 0; at = (at + 1) & mask) {
        size_t home = core_table_home(table, slot_tag(table->slots[at]));
        if (((at - home) & mask) >= ((at - hole) & mask)) {
            table->slots[hole] = table->slots[at];
            hole = at;
        }
    }
    table->slots[hole] = 0;
}

bool core_table_next(const struct core_idempotency *table, size_t home, size_t end, size_t *step, uint64_t *tag,
                     uint64_t *ordinal)
{
    size_t mask = ((size_t)1 << table->bits) - 1;
    for (; table->slots != NULL && *step <= mask; (*step)++) {
        uint64_t slot = table->slots[(home + *step) & mask];
        if (slot != 0) {
            (*step)++;
            *tag = slot_tag(slot);
            *ordinal = slot_ordinal(table, slot);
            return true;
        }
        if (home + *step >= end) {
            return false; /* what belongs before `end` lies no further on than the first free slot from there */
        }
    }
    return false;
}

/* ---- records ----------------------------------------------------------------------------------------------------- */

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

static truc_error compare(struct hub_core *core, uint64_t ordinal, const uint8_t key[16], struct core_accepted *out)
{
    if (ordinal < core->idempotency.first) {
        return TRUC_E_NOT_FOUND; /* forgotten: runs are given up as a whole */
    }
    truc_error error = read_record(core, ordinal, out);
    if (error != TRUC_OK) {
        return error;
    }
    return memcmp(out->key, key, sizeof out->key) == 0 ? TRUC_OK : TRUC_E_NOT_FOUND;
}

static truc_error find_in_runs(struct hub_core *core, uint64_t tag, const uint8_t key[16], struct core_accepted *out)
{
    struct core_run_search search = {.tag = tag};
    uint64_t ordinal;
    truc_error error;
    while ((error = core_runs_next(core, &search, &ordinal)) == TRUC_OK) {
        error = compare(core, ordinal, key, out);
        if (error != TRUC_E_NOT_FOUND) {
            return error;
        }
    }
    return error;
}

truc_error core_idempotency_find(struct hub_core *core, const uint8_t key[16], struct core_accepted *out)
{
    const struct core_idempotency *table = &core->idempotency;
    uint64_t tag = core_idempotency_tag(key);
    size_t mask = ((size_t)1 << table->bits) - 1;
    for (size_t at = table->slots == NULL ? 0 : core_table_home(table, tag);
         table->slots != NULL && table->slots[at] != 0; at = (at + 1) & mask) {
        if (slot_tag(table->slots[at]) != tag) {
            continue;
        }
        truc_error error = compare(core, slot_ordinal(table, table->slots[at]), key, out);
        if (error != TRUC_E_NOT_FOUND) {
            return error;
        }
    }
    return find_in_runs(core, tag, key, out);
}

void core_idempotency_prefetch(const struct hub_core *core, const struct hub_event_facts *facts, size_t count)
{
    const struct core_idempotency *table = &core->idempotency;
    for (size_t i = 0; table->slots != NULL && i < count; i++) {
        uint64_t tag = core_idempotency_tag(facts[i].key);
        __builtin_prefetch(&table->slots[core_table_home(table, tag)]);
        core_runs_prefetch(table, tag);
    }
}

truc_error core_idempotency_add(struct hub_core *core, const struct hub_event_facts *facts, uint64_t sequence)
{
    struct core_idempotency *table = &core->idempotency;
    struct block_series series = records();
    uint8_t *to;
    truc_error error = block_edit(&core->map, &series, &table->tail, table->next, &to);
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
    error = insert(table, core_idempotency_tag(facts->key), table->next);
    if (error != TRUC_OK) {
        return error;
    }
    table->next++;
    return core_runs_step(core);
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
        core_table_take_out(table, core_idempotency_tag(accepted.key), table->first);
        table->first++;
        if (table->first % BLOCK_RECORDS == 0) {
            struct block_series series = records();
            error = block_delete(&core->map, &series, table->first / BLOCK_RECORDS - 1);
        }
        if (error == TRUC_OK) {
            error = core_runs_forget(core);
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

/* The records that no run has yet go into the table. */
static truc_error load_block(struct hub_core *core, uint64_t block)
{
    struct core_idempotency *table = &core->idempotency;
    struct map_key key = records().key;
    struct truc_bytes value;
    map_key64(&key, block);
    truc_error error = map_get(&core->map, &key, &value);
    if (error != TRUC_OK || value.size % RECORD_SIZE != 0) {
        return error == TRUC_E_NOT_FOUND || error == TRUC_OK ? TRUC_E_CORRUPT : error;
    }
    for (size_t i = 0; error == TRUC_OK && i < value.size / RECORD_SIZE; i++) {
        uint64_t ordinal = block * BLOCK_RECORDS + i, tag = core_idempotency_tag(value.data + i * RECORD_SIZE);
        if (ordinal >= table->first && ordinal < table->next && !core_runs_have(table, tag, ordinal)) {
            error = insert(table, tag, ordinal);
        }
    }
    return error;
}

/* first and next are set. */
truc_error core_idempotency_load(struct hub_core *core)
{
    struct core_idempotency *table = &core->idempotency;
    struct core_accepted oldest;
    uint64_t in_runs;
    truc_error error = core_runs_load(core, &in_runs);
    if (error != TRUC_OK || table->first == table->next) {
        return error;
    }
    if (in_runs > table->next - table->first) {
        return TRUC_E_CORRUPT;
    }
    uint64_t from = core_runs_end(table) > table->first ? core_runs_end(table) : table->first;
    error = reserve(table, table->next - table->first - in_runs);
    for (uint64_t block = from / BLOCK_RECORDS; error == TRUC_OK && block * BLOCK_RECORDS < table->next; block++) {
        error = load_block(core, block);
    }
    if (error == TRUC_OK) {
        error = read_record(core, table->first, &oldest);
        table->oldest_us = oldest.accepted_at_us;
    }
    return error == TRUC_OK && table->count + in_runs != table->next - table->first ? TRUC_E_CORRUPT : error;
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
