/* Sorted runs of idempotency records: what finds a record that the table in memory has no more.
 *
 * Run r is about the records [r R, (r + 1) R). It is in buckets by the first bits of the tags, one value of the map
 * each: 8 bytes a record, tag << 24 | number within the run, little-endian, ascending. How far it is built follows from
 * `next` alone: from the end of its records on, every BUCKET_STEP records that are added build one more of its buckets,
 * so that no event waits for a run and every replay makes the same ones.
 *
 * In memory a run is a filter, made again at open: split blocks of 256 bits, one bit of each of their eight words. With
 * 16 bits a record about one key in a thousand passes for nothing. */
#include "hub/core/core_internal.h"

#include <stdlib.h>

#ifndef CORE_RUN_BITS
#define CORE_RUN_BITS 20
#endif
#define RUN_RECORDS (UINT64_C(1) << CORE_RUN_BITS)
#define BUCKET_BITS (CORE_RUN_BITS - 9)
#define BUCKETS (UINT64_C(1) << BUCKET_BITS)
#define BUCKET_STEP (RUN_RECORDS / BUCKETS)
#define FILTER_BLOCKS (RUN_RECORDS / 16)
#define BLOCK_WORDS 8
#define NUMBER_BITS 24
#define PREFETCHED 16

static uint64_t bucket_of(uint64_t tag)
{
    return tag >> (CORE_TAG_BITS - BUCKET_BITS);
}

/* How many buckets of run r are built. */
static uint64_t built(const struct core_idempotency *table, uint64_t run)
{
    uint64_t end = (run + 1) * RUN_RECORDS;
    if (table->next <= end) {
        return 0;
    }
    uint64_t steps = (table->next - end) / BUCKET_STEP;
    return steps < BUCKETS ? steps : BUCKETS;
}

static struct map_key bucket_key(uint64_t run, uint64_t bucket)
{
    struct map_key key = map_key((char)CORE_RUN);
    map_key64(&key, run);
    map_key32(&key, (uint32_t)bucket);
    return key;
}

/* ---- filters ----------------------------------------------------------------------------------------------------- */

static uint64_t spread(uint64_t tag)
{
    tag *= UINT64_C(0x9e3779b97f4a7c15);
    tag ^= tag >> 32;
    return tag * UINT64_C(0xd6e8feb86659fd93);
}

static uint32_t *filter_block(uint32_t *filter, uint64_t hash)
{
    return filter + (size_t)(hash >> (64 - (CORE_RUN_BITS - 4))) * BLOCK_WORDS;
}

static uint32_t filter_bit(uint64_t hash, unsigned word)
{
    static const uint32_t salts[BLOCK_WORDS] = {0x47b6137bu, 0x44974d91u, 0x8824ad5bu, 0xa2b7289du,
                                                0x705495c7u, 0x2df1424bu, 0x9efc4947u, 0x5c6bfb31u};
    return UINT32_C(1) << ((uint32_t)hash * salts[word] >> 27);
}

static void filter_add(uint32_t *filter, uint64_t tag)
{
    uint64_t hash = spread(tag);
    uint32_t *block = filter_block(filter, hash);
    for (unsigned i = 0; i < BLOCK_WORDS; i++) {
        block[i] |= filter_bit(hash, i);
    }
}

static bool filter_has(uint32_t *filter, uint64_t hash)
{
    const uint32_t *block = filter_block(filter, hash);
    uint32_t missing = 0;
    for (unsigned i = 0; i < BLOCK_WORDS; i++) {
        missing |= filter_bit(hash, i) & ~block[i];
    }
    return missing == 0;
}

void core_runs_prefetch(const struct core_idempotency *table, uint64_t tag)
{
    uint64_t hash = spread(tag);
    for (size_t i = 0; i < table->run_count && i < PREFETCHED; i++) {
        __builtin_prefetch(filter_block(table->runs[i].filter, hash));
    }
}

/* The run in memory, made where it is the next one. */
static truc_error run_at(struct core_idempotency *table, uint64_t run, struct core_run **out)
{
    if (table->run_count == 0) {
        table->first_run = run;
    }
    while (run - table->first_run >= table->run_count) {
        truc_error error =
            core_grow((void **)&table->runs, table->run_count, &table->run_capacity, sizeof *table->runs);
        uint32_t *filter = error == TRUC_OK ? calloc(FILTER_BLOCKS, BLOCK_WORDS * sizeof *filter) : NULL;
        if (filter == NULL) {
            return TRUC_E_NOMEM;
        }
        table->runs[table->run_count++].filter = filter;
    }
    *out = &table->runs[run - table->first_run];
    return TRUC_OK;
}

void core_runs_close(struct core_idempotency *idempotency)
{
    for (size_t i = 0; i < idempotency->run_count; i++) {
        free(idempotency->runs[i].filter);
    }
    free(idempotency->runs);
}

/* ---- building ---------------------------------------------------------------------------------------------------- */

static int compare_entries(const void *a, const void *b)
{
    uint64_t left = *(const uint64_t *)a, right = *(const uint64_t *)b;
    return (left > right) - (left < right);
}

/* What the table has of this bucket of this run, sorted. *out is the caller's to free. */
static truc_error collect(const struct core_idempotency *table, uint64_t run, uint64_t bucket, uint64_t **out,
                          size_t *count)
{
    size_t capacity = 0, step = 0, home = core_table_home(table, bucket << (CORE_TAG_BITS - BUCKET_BITS));
    size_t end = core_table_home(table, ((bucket + 1) << (CORE_TAG_BITS - BUCKET_BITS)) - 1) + 1;
    uint64_t tag, ordinal;
    *out = NULL;
    *count = 0;
    while (core_table_next(table, home, end, &step, &tag, &ordinal)) {
        if (bucket_of(tag) != bucket || ordinal / RUN_RECORDS != run) {
            continue;
        }
        truc_error error = core_grow((void **)out, *count, &capacity, sizeof **out);
        if (error != TRUC_OK) {
            return error;
        }
        (*out)[(*count)++] = tag << NUMBER_BITS | ordinal % RUN_RECORDS;
    }
    if (*count > 0) {
        qsort(*out, *count, sizeof **out, compare_entries);
    }
    return TRUC_OK;
}

static truc_error build(struct hub_core *core, uint64_t run, uint64_t bucket)
{
    struct core_idempotency *table = &core->idempotency;
    struct map_key key = bucket_key(run, bucket);
    struct core_run *place;
    struct map_entry *entry;
    uint64_t *entries = NULL;
    size_t count = 0;
    truc_error error = collect(table, run, bucket, &entries, &count);
    if (error != TRUC_OK || count == 0) {
        goto out;
    }
    if ((error = run_at(table, run, &place)) != TRUC_OK || (error = map_edit(&core->map, &key, &entry)) != TRUC_OK ||
        (error = map_resize(&core->map, entry, count * 8)) != TRUC_OK) {
        goto out;
    }
    for (size_t i = 0; i < count; i++) {
        uint64_t tag = entries[i] >> NUMBER_BITS;
        store64(entry->value + i * 8, entries[i]);
        filter_add(place->filter, tag);
        core_table_take_out(table, tag, run * RUN_RECORDS + (entries[i] & ((UINT64_C(1) << NUMBER_BITS) - 1)));
    }
out:
    free(entries);
    return error;
}

truc_error core_runs_step(struct hub_core *core)
{
    uint64_t next = core->idempotency.next;
    if (next < RUN_RECORDS + BUCKET_STEP || next % BUCKET_STEP != 0) {
        return TRUC_OK;
    }
    /* the step that this record completes is the last one of a run where it falls on the end of the next */
    uint64_t run = (next - 1) / RUN_RECORDS - 1;
    return build(core, run, (next - (run + 1) * RUN_RECORDS) / BUCKET_STEP - 1);
}

truc_error core_runs_forget(struct hub_core *core)
{
    struct core_idempotency *table = &core->idempotency;
    while (table->run_count > 0 && (table->first_run + 1) * RUN_RECORDS <= table->first) {
        for (uint64_t bucket = 0; bucket < built(table, table->first_run); bucket++) {
            struct map_key key = bucket_key(table->first_run, bucket);
            truc_error error = map_delete(&core->map, &key);
            if (error != TRUC_OK) {
                return error;
            }
        }
        free(table->runs[0].filter);
        table->run_count--;
        table->first_run++;
        memmove(table->runs, table->runs + 1, table->run_count * sizeof *table->runs);
    }
    return TRUC_OK;
}

/* ---- finding ----------------------------------------------------------------------------------------------------- */

uint64_t core_runs_end(const struct core_idempotency *table)
{
    return table->next < 2 * RUN_RECORDS ? 0 : (table->next / RUN_RECORDS - 1) * RUN_RECORDS;
}

bool core_runs_have(const struct core_idempotency *table, uint64_t tag, uint64_t ordinal)
{
    return bucket_of(tag) < built(table, ordinal / RUN_RECORDS);
}

/* The first place in a bucket whose tag is not below. */
static size_t lower_bound(struct truc_bytes value, uint64_t tag)
{
    size_t low = 0, high = value.size / 8;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (load64(value.data + middle * 8) >> NUMBER_BITS < tag) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

truc_error core_runs_next(struct hub_core *core, struct core_run_search *search, uint64_t *ordinal)
{
    const struct core_idempotency *table = &core->idempotency;
    const uint64_t hash = spread(search->tag);
    for (; search->run < table->run_count; search->run++, search->at = 0) {
        struct truc_bytes value;
        uint64_t run = table->first_run + search->run;
        if (search->at == 0 && !filter_has(table->runs[search->run].filter, hash)) {
            continue;
        }
        struct map_key key = bucket_key(run, bucket_of(search->tag));
        truc_error error = map_get(&core->map, &key, &value);
        if (error == TRUC_E_NOT_FOUND) {
            continue;
        }
        if (error != TRUC_OK) {
            return error;
        }
        size_t at = search->at == 0 ? lower_bound(value, search->tag) : search->at;
        if (at < value.size / 8 && load64(value.data + at * 8) >> NUMBER_BITS == search->tag) {
            *ordinal = run * RUN_RECORDS + (load64(value.data + at * 8) & ((UINT64_C(1) << NUMBER_BITS) - 1));
            search->at = at + 1;
            return TRUC_OK;
        }
    }
    return TRUC_E_NOT_FOUND;
}

/* ---- at open ----------------------------------------------------------------------------------------------------- */

struct run_load {
    struct core_idempotency *table;
    uint64_t records;
};

static truc_error load_bucket(void *context, struct truc_bytes key, struct truc_bytes value)
{
    struct run_load *load = context;
    struct core_idempotency *table = load->table;
    struct core_run *place;
    if (key.size != 13 || value.size % 8 != 0) {
        return TRUC_E_CORRUPT;
    }
    uint64_t run = 0, bucket = 0;
    for (size_t i = 1; i < 9; i++) {
        run = run << 8 | key.data[i];
    }
    for (size_t i = 9; i < 13; i++) {
        bucket = bucket << 8 | key.data[i];
    }
    if (run > table->next / RUN_RECORDS || bucket >= built(table, run) || (run + 1) * RUN_RECORDS <= table->first) {
        return TRUC_E_CORRUPT;
    }
    truc_error error = run_at(table, run, &place);
    for (size_t i = 0; error == TRUC_OK && i < value.size / 8; i++) {
        uint64_t entry = load64(value.data + i * 8);
        filter_add(place->filter, entry >> NUMBER_BITS);
        load->records += run * RUN_RECORDS + (entry & ((UINT64_C(1) << NUMBER_BITS) - 1)) >= table->first;
    }
    return error;
}

truc_error core_runs_load(struct hub_core *core, uint64_t *records)
{
    const uint8_t letter = CORE_RUN;
    struct run_load load = {.table = &core->idempotency};
    truc_error error = core->map.port.scan(core->map.port.context, truc_bytes(&letter, 1), load_bucket, &load);
    *records = load.records;
    return error;
}
