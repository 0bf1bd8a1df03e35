/* Recent seals by leaf index: a ring over consecutive leaves, evicted from the old end by bytes. */
#include "hub/hub.h"

struct cached {
    struct hub_submission *submission;
    uint64_t first_sequence;
    int64_t accepted_at_us;
    size_t bytes;
};

struct hub_cache {
    size_t limit, bytes;
    uint64_t first_leaf; /* of ring[head] */
    size_t head, count, capacity;
    struct cached *ring;
};

truc_error hub_cache_new(size_t bytes, struct hub_cache **out)
{
    struct hub_cache *cache = calloc(1, sizeof *cache);

    if (!cache)
        return TRUC_E_NOMEM;
    cache->limit = bytes;
    *out = cache;
    return TRUC_OK;
}

static void evict(struct hub_cache *cache)
{
    struct cached *oldest = &cache->ring[cache->head];

    cache->bytes -= oldest->bytes;
    if (atomic_load(&oldest->submission->owners) > 1) { /* whoever frees it sees this: he gives up an owner after us */
        oldest->submission->lent = oldest->bytes;
        atomic_fetch_add(&oldest->submission->hub->lent, oldest->bytes);
    }
    hub_submission_release(oldest->submission);
    memset(oldest, 0, sizeof *oldest);
    cache->head = (cache->head + 1) % cache->capacity;
    cache->first_leaf++;
    cache->count--;
}

void hub_cache_free(struct hub_cache **cache_in)
{
    struct hub_cache *cache = *cache_in;

    *cache_in = NULL;
    if (!cache)
        return;
    while (cache->count > 0)
        evict(cache);
    free(cache->ring);
    free(cache);
}

static bool grow(struct hub_cache *cache)
{
    size_t capacity = cache->capacity ? cache->capacity * 2 : 1024;
    struct cached *ring = calloc(capacity, sizeof *ring);

    if (!ring)
        return false;
    for (size_t i = 0; i < cache->count; i++)
        ring[i] = cache->ring[(cache->head + i) % cache->capacity];
    free(cache->ring);
    cache->ring = ring;
    cache->head = 0;
    cache->capacity = capacity;
    return true;
}

void hub_cache_add(struct hub_cache *cache, uint64_t leaf_index, uint64_t first_sequence, int64_t accepted_at_us,
                   struct hub_submission *submission)
{
    /* A gap cannot be held: what is before it is given up (it is in the journal). So is everything on a failed growth.
     */
    while (cache->count > 0 && cache->first_leaf + cache->count != leaf_index)
        evict(cache);
    if (cache->count == cache->capacity && !grow(cache)) {
        while (cache->count > 0)
            evict(cache);
        return;
    }
    if (cache->count == 0)
        cache->first_leaf = leaf_index;
    struct cached *slot = &cache->ring[(cache->head + cache->count) % cache->capacity];
    slot->submission = submission;
    submission->owners++;
    slot->first_sequence = first_sequence;
    slot->accepted_at_us = accepted_at_us;
    slot->bytes = (submission->joined.capacity > 0 ? submission->joined.capacity : submission->body.size) +
                  submission->envelope.size +
                  submission->parsed.seal.count *
                      (sizeof *submission->facts + sizeof *submission->events + 2 * sizeof *submission->tree) +
                  sizeof *submission;
    cache->bytes += slot->bytes;
    cache->count++;
    while (cache->count > 1 && cache->bytes > cache->limit)
        evict(cache);
}

bool hub_cache_get(struct hub_cache *cache, uint64_t leaf_index, struct hub_content *out)
{
    if (cache->count == 0 || leaf_index < cache->first_leaf || leaf_index - cache->first_leaf >= cache->count)
        return false;
    const struct cached *slot =
        &cache->ring[(cache->head + (size_t)(leaf_index - cache->first_leaf)) % cache->capacity];
    *out = (struct hub_content){
        .accepted_at_us = slot->accepted_at_us,
        .leaf_index = leaf_index,
        .first_sequence = slot->first_sequence,
        .count = slot->submission->parsed.seal.count,
        .envelope = truc_buffer_view(&slot->submission->envelope),
        .leaf_hashes = &slot->submission->facts[0].leaf_hash,
        .hash_stride = sizeof slot->submission->facts[0],
        .tree = slot->submission->tree,
        .events = slot->submission->events,
        .lender = slot->submission,
    };
    return true;
}

size_t hub_cache_bytes(const struct hub_cache *cache)
{
    return cache->bytes;
}

/* A lender that is still cached costs nothing more; all that is cached may leave it while it is lent. So the messages
 * hold at most this much and another cache. */
bool hub_cache_lends(const struct hub_cache *cache, const struct hub *hub)
{
    return atomic_load(&hub->lent) <= cache->limit / 4;
}
