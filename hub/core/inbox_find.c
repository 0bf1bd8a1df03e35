/* Postings: their record, and looking them up.
 *
 * An inbox is a series of blocks, exceptions and a floor. Every number has a record in a block until all of its block
 * is at or below the floor; what still matters then (dead letters, and those requeued) lies in a record of its own, an
 * exception, from the moment of its death on. */
#include "hub/core/core_internal.h"

#define STATE_AT 82u
#define CAUSE_AT 8u

enum posting_flags {
    FLAG_REPLAY = 1,
    FLAG_RECEIPT = 2,
    FLAG_SKIP = 4,
    FLAG_NOTE = 8,
    FLAG_REQUEUED = 16,
};

struct block_series core_postings(uint32_t agency)
{
    struct block_series series = {map_key((char)CORE_POSTINGS), CORE_POSTING_SIZE};
    map_key32(&series.key, agency);
    return series;
}

struct map_key core_posting_key(enum core_letter letter, uint32_t agency, uint64_t number)
{
    struct map_key key = map_key((char)letter);
    map_key32(&key, agency);
    map_key64(&key, number);
    return key;
}

void core_posting_store(uint8_t *to, const struct core_posting *posting)
{
    const struct hub_posting *pub = &posting->pub;
    store64(to, pub->sequence);
    store64(to + CAUSE_AT, posting->cause);
    store64(to + 16, pub->previous_sequence);
    store64(to + 24, pub->leaf_index);
    store64(to + 32, pub->subject);
    store64(to + 40, (uint64_t)pub->expires_us);
    store64(to + 48, (uint64_t)pub->not_before_us);
    store64(to + 56, (uint64_t)pub->since_us);
    store32(to + 64, pub->size);
    store32(to + 68, pub->hold_s);
    store32(to + 72, pub->max_attempts);
    store32(to + 76, pub->attempts);
    store16(to + 80, (uint16_t)pub->index);
    to[STATE_AT] = (uint8_t)pub->state;
    to[83] = pub->reason;
    to[84] = (uint8_t)((pub->replay ? FLAG_REPLAY : 0) | (pub->receipt_wanted ? FLAG_RECEIPT : 0) |
                       (pub->skip ? FLAG_SKIP : 0) | (posting->has_note ? FLAG_NOTE : 0) |
                       (pub->requeued ? FLAG_REQUEUED : 0));
    memset(to + 85, 0, CORE_POSTING_SIZE - 85);
}

truc_error core_posting_load(const uint8_t *from, struct core_posting *out)
{
    uint8_t state = from[STATE_AT], flags = from[84];
    if (state > CORE_POSTING_MOVED) {
        return TRUC_E_CORRUPT;
    }
    out->cause = load64(from + CAUSE_AT);
    out->exception = state == CORE_POSTING_MOVED;
    out->has_note = (flags & FLAG_NOTE) != 0;
    out->pub = (struct hub_posting){
        .sequence = load64(from),
        .previous_sequence = load64(from + 16),
        .leaf_index = load64(from + 24),
        .subject = load64(from + 32),
        .expires_us = (int64_t)load64(from + 40),
        .not_before_us = (int64_t)load64(from + 48),
        .since_us = (int64_t)load64(from + 56),
        .size = load32(from + 64),
        .hold_s = load32(from + 68),
        .max_attempts = load32(from + 72),
        .attempts = load32(from + 76),
        .index = load16(from + 80),
        .state = out->exception ? HUB_POSTING_DEAD : (enum hub_posting_state)state,
        .reason = from[83],
        .replay = (flags & FLAG_REPLAY) != 0,
        .receipt_wanted = (flags & FLAG_RECEIPT) != 0,
        .skip = (flags & FLAG_SKIP) != 0,
        .requeued = (flags & FLAG_REQUEUED) != 0,
    };
    return TRUC_OK;
}

size_t core_exception_at(const struct core_agency *agency, uint64_t number)
{
    size_t low = 0, high = agency->exception_count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (agency->exceptions[middle] >> 1 < number) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

static truc_error load_exception(struct hub_core *core, const struct core_agency *agency, uint64_t number,
                                 struct core_posting *out)
{
    struct map_key key = core_posting_key(CORE_EXCEPTION, agency->pub.number, number);
    struct truc_bytes value;
    size_t at = core_exception_at(agency, number);
    if (at == agency->exception_count || agency->exceptions[at] >> 1 != number) {
        return TRUC_E_NOT_FOUND;
    }
    truc_error error = map_get(&core->map, &key, &value);
    if (error != TRUC_OK || value.size != CORE_POSTING_SIZE) {
        return error == TRUC_OK || error == TRUC_E_NOT_FOUND ? TRUC_E_CORRUPT : error;
    }
    error = core_posting_load(value.data, out);
    out->pub.number = number;
    out->exception = true;
    return error;
}

truc_error core_inbox_load(struct hub_core *core, const struct core_agency *agency, uint64_t number,
                           struct core_posting *out)
{
    const struct block_series *series = &agency->postings;
    const uint8_t *from;
    if (number == 0 || number >= agency->pub.next_number) {
        return TRUC_E_NOT_FOUND;
    }
    /* Blocks that are wholly at or below the floor are gone; no need to ask the disk for them. */
    if ((number - 1) / BLOCK_RECORDS < agency->pub.floor / BLOCK_RECORDS) {
        return load_exception(core, agency, number, out);
    }
    bool newest = agency->tail.block == (number - 1) / BLOCK_RECORDS;
    truc_error error = block_read(&core->map, series, newest ? &agency->tail : &agency->hand, number - 1, &from);
    if (error != TRUC_OK) {
        return error == TRUC_E_NOT_FOUND ? TRUC_E_CORRUPT : error;
    }
    error = core_posting_load(from, out);
    out->pub.number = number;
    return error == TRUC_OK && out->exception ? load_exception(core, agency, number, out) : error;
}

truc_error hub_core_posting(struct hub_core *core, uint32_t agency, uint64_t number, struct hub_posting *out)
{
    const struct core_agency *found = core_agency(core, agency);
    struct core_posting posting;
    truc_error error = found == NULL ? TRUC_E_NOT_FOUND : core_inbox_load(core, found, number, &posting);
    if (error == TRUC_OK) {
        *out = posting.pub;
    }
    return error;
}

/* The first number in blocks, from `from` to the newest, whose state is wanted; next_number: none. */
static truc_error next_in_blocks(struct hub_core *core, const struct core_agency *agency, uint64_t from,
                                 unsigned states, uint64_t *out)
{
    const struct block_series *series = &agency->postings;
    uint64_t number = from <= agency->pub.floor ? agency->pub.floor + 1 : from;
    *out = agency->pub.next_number;
    while (number < agency->pub.next_number) {
        uint64_t end = ((number - 1) / BLOCK_RECORDS + 1) * BLOCK_RECORDS + 1; /* number behind this block */
        if (end > agency->pub.next_number) {
            end = agency->pub.next_number;
        }
        const uint8_t *last;
        truc_error error = block_read(&core->map, series, NULL, end - 2, &last);
        if (error != TRUC_OK) {
            return error == TRUC_E_NOT_FOUND ? TRUC_E_CORRUPT : error;
        }
        for (; number < end; number++) {
            uint8_t state = *(last - (size_t)(end - 1 - number) * CORE_POSTING_SIZE + STATE_AT);
            if (state < CORE_POSTING_MOVED && (states & 1u << state) != 0) {
                *out = number;
                return TRUC_OK;
            }
        }
    }
    return TRUC_OK;
}

truc_error hub_core_posting_next(struct hub_core *core, uint32_t agency, uint64_t from, unsigned states,
                                 struct hub_posting *out)
{
    const struct core_agency *found = core_agency(core, agency);
    const unsigned dead = 1u << HUB_POSTING_DEAD, pending = 1u << HUB_POSTING_PENDING;
    if (found == NULL) {
        return TRUC_E_NOT_FOUND;
    }
    uint64_t number = found->pub.next_number;
    truc_error error = (states & ~dead) == 0 ? TRUC_OK : next_in_blocks(core, found, from, states, &number);
    if (error != TRUC_OK) {
        return error;
    }
    for (size_t at = core_exception_at(found, from); at < found->exception_count; at++) {
        uint64_t exception = found->exceptions[at] >> 1;
        if (exception >= number) {
            break;
        }
        if ((states & ((found->exceptions[at] & 1) != 0 ? dead : pending)) != 0) {
            number = exception;
            break;
        }
    }
    return number < found->pub.next_number ? hub_core_posting(core, agency, number, out) : TRUC_E_NOT_FOUND;
}

truc_error hub_core_dead_note(struct hub_core *core, uint32_t agency, uint64_t number, const char **out)
{
    struct map_key key = core_posting_key(CORE_NOTE, agency, number);
    struct truc_bytes value = {NULL, 0};
    core->note[0] = '\0';
    *out = core->note;
    truc_error error = map_get(&core->map, &key, &value);
    if (error != TRUC_OK || value.size > CORE_NOTE_MAX) {
        return error == TRUC_E_NOT_FOUND ? TRUC_OK : error == TRUC_OK ? TRUC_E_CORRUPT : error;
    }
    memcpy(core->note, value.data, value.size);
    core->note[value.size] = '\0';
    return TRUC_OK;
}

static truc_error cause_of(struct hub_core *core, const struct core_agency *agency, uint64_t number, uint64_t *cause)
{
    const struct block_series *series = &agency->postings;
    const uint8_t *from;
    truc_error error = block_read(&core->map, series, NULL, number - 1, &from);
    if (error == TRUC_OK) {
        *cause = load64(from + CAUSE_AT);
    }
    return error == TRUC_E_NOT_FOUND ? TRUC_E_CORRUPT : error;
}

/* Above the floor: causes never fall, so halving finds the first that is not before the event. */
static truc_error find_in_blocks(struct hub_core *core, const struct core_agency *agency, uint64_t sequence,
                                 struct core_posting *out)
{
    uint64_t low = agency->pub.floor + 1, high = agency->pub.next_number;
    if (low < high) { /* most inboxes that a recall from everybody asks have nothing as young as the event */
        uint64_t newest = 0;
        truc_error error = cause_of(core, agency, high - 1, &newest);
        if (error != TRUC_OK || newest < sequence) {
            return error != TRUC_OK ? error : TRUC_E_NOT_FOUND;
        }
    }
    while (low < high) {
        uint64_t middle = low + (high - low) / 2, cause = 0;
        truc_error error = cause_of(core, agency, middle, &cause);
        if (error != TRUC_OK) {
            return error;
        }
        if (cause < sequence) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low < agency->pub.next_number ? core_inbox_load(core, agency, low, out) : TRUC_E_NOT_FOUND;
}

static truc_error find_in_exceptions(struct hub_core *core, const struct core_agency *agency, uint64_t sequence,
                                     struct core_posting *out)
{
    size_t low = 0, high = agency->exception_count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        truc_error error = load_exception(core, agency, agency->exceptions[middle] >> 1, out);
        if (error != TRUC_OK) {
            return error;
        }
        if (out->cause < sequence) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low < agency->exception_count ? load_exception(core, agency, agency->exceptions[low] >> 1, out)
                                         : TRUC_E_NOT_FOUND;
}

truc_error core_inbox_find(struct hub_core *core, const struct core_agency *agency, uint64_t sequence,
                           struct core_posting *out)
{
    truc_error error = find_in_blocks(core, agency, sequence, out);
    if (error == TRUC_E_NOT_FOUND || (error == TRUC_OK && out->cause != sequence)) {
        error = find_in_exceptions(core, agency, sequence, out);
    }
    return error == TRUC_OK && (out->cause != sequence || out->pub.sequence != sequence) ? TRUC_E_NOT_FOUND : error;
}

truc_error hub_core_posting_of(struct hub_core *core, uint32_t agency, uint64_t sequence, struct hub_posting *out)
{
    const struct core_agency *found = core_agency(core, agency);
    struct core_posting posting;
    truc_error error = found == NULL ? TRUC_E_NOT_FOUND : core_inbox_find(core, found, sequence, &posting);
    if (error == TRUC_OK) {
        *out = posting.pub;
    }
    return error;
}

truc_error hub_core_was_recalled(struct hub_core *core, uint32_t agency, uint64_t sequence, bool *out)
{
    struct map_key key = core_posting_key(CORE_RECALLED, agency, sequence);
    struct truc_bytes value;
    truc_error error = map_get(&core->map, &key, &value);
    *out = error == TRUC_OK;
    return error == TRUC_E_NOT_FOUND ? TRUC_OK : error;
}

static truc_error load_exception_key(void *context, struct truc_bytes key, struct truc_bytes value)
{
    struct hub_core *core = context;
    struct core_posting posting;
    uint32_t agency_number = 0;
    uint64_t number = 0;
    if (key.size != 13 || value.size != CORE_POSTING_SIZE || core_posting_load(value.data, &posting) != TRUC_OK) {
        return TRUC_E_CORRUPT;
    }
    for (size_t i = 1; i < 5; i++) {
        agency_number = agency_number << 8 | key.data[i];
    }
    for (size_t i = 5; i < 13; i++) {
        number = number << 8 | key.data[i];
    }
    struct core_agency *agency = core_agency(core, agency_number);
    if (agency == NULL || number == 0 || number >= agency->pub.next_number) {
        return TRUC_E_CORRUPT;
    }
    truc_error error = core_grow((void **)&agency->exceptions, agency->exception_count, &agency->exception_capacity,
                                 sizeof *agency->exceptions);
    if (error == TRUC_OK) {
        agency->exceptions[agency->exception_count++] = number << 1 | (posting.pub.state == HUB_POSTING_DEAD);
    }
    return error;
}

truc_error core_exceptions_load(struct hub_core *core)
{
    const uint8_t letter = CORE_EXCEPTION;
    return core->map.port.scan(core->map.port.context, truc_bytes(&letter, 1), load_exception_key, core);
}
