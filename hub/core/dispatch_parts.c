#include "hub/core/dispatch_internal.h"

/* ---- pool ------------------------------------------------------------------------------------------------------ */

#define POOL_CHUNK 256

struct pool_link {
    struct pool_link *next;
};

void dispatch_pool_open(struct dispatch_pool *pool, size_t size)
{
    size_t align = sizeof(max_align_t);
    *pool = (struct dispatch_pool){.size = (size + align - 1) / align * align};
}

void dispatch_pool_close(struct dispatch_pool *pool)
{
    struct pool_link *chunk = pool->chunks;
    while (chunk != NULL) {
        struct pool_link *next = chunk->next;
        free(chunk);
        chunk = next;
    }
    pool->chunks = NULL;
    pool->free = NULL;
}

static bool pool_grow(struct dispatch_pool *pool)
{
    size_t head = sizeof(max_align_t);
    uint8_t *chunk = malloc(head + POOL_CHUNK * pool->size);
    if (chunk == NULL) {
        return false;
    }
    ((struct pool_link *)(void *)chunk)->next = pool->chunks;
    pool->chunks = chunk;
    for (size_t i = POOL_CHUNK; i > 0; i--) { /* the lowest address is given first */
        struct pool_link *link = (struct pool_link *)(void *)(chunk + head + (i - 1) * pool->size);
        link->next = pool->free;
        pool->free = link;
    }
    return true;
}

void *dispatch_pool_take(struct dispatch_pool *pool)
{
    if (pool->free == NULL && !pool_grow(pool)) {
        return NULL;
    }
    struct pool_link *link = pool->free;
    pool->free = link->next;
    memset(link, 0, pool->size);
    return link;
}

void dispatch_pool_give(struct dispatch_pool *pool, void *thing)
{
    struct pool_link *link = thing;
    link->next = pool->free;
    pool->free = link;
}

/* ---- heap: 4-ary, the smallest key first, equal keys by number ------------------------------------------------- */

#define ARITY 4

static bool before(const struct dispatch_item *a, const struct dispatch_item *b)
{
    return a->key < b->key || (a->key == b->key && a->number < b->number);
}

void dispatch_heap_close(struct dispatch_heap *heap)
{
    free(heap->items);
    *heap = (struct dispatch_heap){0};
}

truc_error dispatch_heap_push(struct dispatch_heap *heap, struct dispatch_item item)
{
    if (heap->count == heap->capacity) {
        size_t capacity = heap->capacity == 0 ? 64 : heap->capacity * 2;
        struct dispatch_item *items = realloc(heap->items, capacity * sizeof *items);
        if (items == NULL) {
            return TRUC_E_NOMEM;
        }
        heap->items = items;
        heap->capacity = capacity;
    }
    size_t at = heap->count++;
    while (at > 0) {
        size_t parent = (at - 1) / ARITY;
        if (!before(&item, &heap->items[parent])) {
            break;
        }
        heap->items[at] = heap->items[parent];
        at = parent;
    }
    heap->items[at] = item;
    return TRUC_OK;
}

static void sink(struct dispatch_heap *heap, size_t at, struct dispatch_item item)
{
    for (;;) {
        size_t child = at * ARITY + 1;
        if (child >= heap->count) {
            break;
        }
        size_t end = child + ARITY < heap->count ? child + ARITY : heap->count;
        size_t least = child;
        for (size_t i = child + 1; i < end; i++) {
            if (before(&heap->items[i], &heap->items[least])) {
                least = i;
            }
        }
        if (!before(&heap->items[least], &item)) {
            break;
        }
        heap->items[at] = heap->items[least];
        at = least;
    }
    heap->items[at] = item;
}

void dispatch_heap_pop(struct dispatch_heap *heap)
{
    struct dispatch_item last = heap->items[--heap->count];
    if (heap->count > 0) {
        sink(heap, 0, last);
    }
}

void dispatch_heap_order(struct dispatch_heap *heap)
{
    for (size_t at = heap->count / ARITY + 1; at > 0; at--) {
        if (at - 1 < heap->count) {
            sink(heap, at - 1, heap->items[at - 1]);
        }
    }
}

/* ---- ranges ---------------------------------------------------------------------------------------------------- */

void hub_ranges_close(struct hub_ranges *ranges)
{
    free(ranges->items);
    *ranges = (struct hub_ranges){0};
}

static uint64_t last_of(const struct hub_range *range)
{
    return range->first + (range->count - 1);
}

static truc_error ranges_reserve(struct hub_ranges *ranges, size_t count)
{
    if (count <= ranges->capacity) {
        return TRUC_OK;
    }
    size_t capacity = ranges->capacity == 0 ? 16 : ranges->capacity * 2;
    if (capacity < count) {
        capacity = count;
    }
    struct hub_range *items = realloc(ranges->items, capacity * sizeof *items);
    if (items == NULL) {
        return TRUC_E_NOMEM;
    }
    ranges->items = items;
    ranges->capacity = capacity;
    return TRUC_OK;
}

/* The first range whose end reaches `number` or the place just before it. */
static size_t first_touching(const struct hub_ranges *ranges, uint64_t number)
{
    size_t low = 0, high = ranges->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (last_of(&ranges->items[middle]) < (number == 0 ? 0 : number - 1)) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

truc_error dispatch_ranges_add(struct hub_ranges *ranges, uint64_t first, uint64_t last)
{
    size_t count = ranges->count;
    if (count > 0 && last == first) { /* the usual case: one more behind the last */
        struct hub_range *end = &ranges->items[count - 1];
        if (last_of(end) != UINT64_MAX && first == last_of(end) + 1 && end->count < UINT32_MAX) {
            end->count++;
            return TRUC_OK;
        }
    }
    size_t from = first_touching(ranges, first);
    size_t to = from;
    while (to < count && (last == UINT64_MAX || ranges->items[to].first <= last + 1)) {
        if (ranges->items[to].first < first) {
            first = ranges->items[to].first;
        }
        if (last_of(&ranges->items[to]) > last) {
            last = last_of(&ranges->items[to]);
        }
        to++;
    }
    /* A range counts in 32 bits: what is longer becomes several. */
    size_t pieces = (size_t)((last - first) / UINT32_MAX) + 1;
    truc_error err = ranges_reserve(ranges, count - (to - from) + pieces);
    if (err != TRUC_OK) {
        return err;
    }
    memmove(&ranges->items[from + pieces], &ranges->items[to], (count - to) * sizeof *ranges->items);
    ranges->count = count - (to - from) + pieces;
    for (size_t i = 0; i < pieces; i++) {
        uint64_t left = last - first;
        uint32_t length = left >= UINT32_MAX ? UINT32_MAX : (uint32_t)left + 1;
        ranges->items[from + i] = (struct hub_range){first, length};
        first += length;
    }
    return TRUC_OK;
}

truc_error hub_ranges_add(struct hub_ranges *ranges, struct hub_range range)
{
    return dispatch_ranges_add(ranges, range.first, range.first + (range.count - 1));
}
