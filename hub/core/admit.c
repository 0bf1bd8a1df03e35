#include "hub/core/admit.h"

/* A lack of memory is an error, not an exit. */
#define HASH_NONFATAL_OOM 1
#define uthash_nonfatal_oom(element) ((element)->unhashed = true)
#include <uthash.h>

#define SECOND_US INT64_C(1000000)
#define RATE_MAX INT64_C(1000000000000) /* tokens a second, in micro-tokens, stay far below 64 bits */

struct chain_key {
    uint32_t agency;
    uint8_t chain[TRUC_CHAIN_SIZE];
};

/* A chain of which something is under way: `count` seals from `first` on, or a FORK input. */
struct admit_chain {
    struct chain_key key;
    uint64_t first;
    struct truc_hash *digests; /* [start] is that of `first` */
    size_t start, count, capacity;
    bool closing;
    struct admit_chain *closing_next, *closing_previous;
    bool unhashed;
    UT_hash_handle hh;
};

/* Micro-tokens. One seal may take more than there is, once the bucket is full: the debt is waited for. */
struct bucket {
    bool open;
    int64_t rate, tokens;
};

struct agency_quota {
    int64_t at_us;
    struct bucket events, bytes;
};

struct hub_admit {
    struct hub_core *core;
    struct admit_chain *chains;
    struct admit_chain *closing; /* the oldest */
    struct admit_chain *closing_last;
    struct agency_quota *quotas; /* by agency number */
    size_t quota_count;
    size_t under_way;
};

truc_error hub_admit_new(struct hub_core *core, struct hub_admit **out)
{
    struct hub_admit *admit = calloc(1, sizeof *admit);
    if (admit == NULL) {
        return TRUC_E_NOMEM;
    }
    admit->core = core;
    *out = admit;
    return TRUC_OK;
}

static void chain_free(struct hub_admit *admit, struct admit_chain *chain)
{
    HASH_DELETE(hh, admit->chains, chain);
    free(chain->digests);
    free(chain);
}

void hub_admit_free(struct hub_admit **admit)
{
    struct hub_admit *gone = *admit;
    *admit = NULL;
    if (gone == NULL) {
        return;
    }
    struct admit_chain *chain, *next;
    HASH_ITER(hh, gone->chains, chain, next)
    {
        chain_free(gone, chain);
    }
    free(gone->quotas);
    free(gone);
}

/* ---- chains under way ------------------------------------------------------------------------------------------ */

static struct admit_chain *chain_find(const struct hub_admit *admit, uint32_t agency, const uint8_t *chain)
{
    struct chain_key key = {.agency = agency};
    memcpy(key.chain, chain, sizeof key.chain);
    struct admit_chain *found;
    HASH_FIND(hh, admit->chains, &key, sizeof key, found);
    return found;
}

static truc_error chain_open(struct hub_admit *admit, uint32_t agency, const uint8_t *chain, struct admit_chain **out)
{
    *out = chain_find(admit, agency, chain);
    if (*out != NULL) {
        return TRUC_OK;
    }
    struct admit_chain *made = calloc(1, sizeof *made);
    if (made == NULL) {
        return TRUC_E_NOMEM;
    }
    made->key.agency = agency;
    memcpy(made->key.chain, chain, sizeof made->key.chain);
    HASH_ADD(hh, admit->chains, key, sizeof made->key, made);
    if (made->unhashed) {
        free(made);
        return TRUC_E_NOMEM;
    }
    *out = made;
    return TRUC_OK;
}

static void chain_rest(struct hub_admit *admit, struct admit_chain *chain)
{
    if (chain->count == 0 && !chain->closing) {
        chain_free(admit, chain);
    }
}

static truc_error chain_push(struct hub_admit *admit, struct admit_chain *chain, uint64_t number,
                             const struct truc_hash *digest)
{
    if (chain->start > 0 && chain->start >= chain->count) {
        memmove(chain->digests, chain->digests + chain->start, chain->count * sizeof *chain->digests);
        chain->start = 0;
    }
    if (chain->start + chain->count == chain->capacity) {
        size_t capacity = chain->capacity == 0 ? 4 : chain->capacity * 2;
        struct truc_hash *digests = realloc(chain->digests, capacity * sizeof *digests);
        if (digests == NULL) {
            return TRUC_E_NOMEM;
        }
        chain->digests = digests;
        chain->capacity = capacity;
    }
    if (chain->count == 0) {
        chain->first = number;
    }
    chain->digests[chain->start + chain->count++] = *digest;
    admit->under_way++;
    return TRUC_OK;
}

static void chain_closing(struct hub_admit *admit, struct admit_chain *chain)
{
    chain->closing = true;
    chain->closing_next = NULL;
    chain->closing_previous = admit->closing_last;
    *(admit->closing_last != NULL ? &admit->closing_last->closing_next : &admit->closing) = chain;
    admit->closing_last = chain;
}

static void chain_reopen(struct hub_admit *admit, struct admit_chain *chain)
{
    *(chain->closing_next != NULL ? &chain->closing_next->closing_previous : &admit->closing_last) =
        chain->closing_previous;
    *(chain->closing_previous != NULL ? &chain->closing_previous->closing_next : &admit->closing) = chain->closing_next;
    chain->closing = false;
}

/* Forks are journaled in the order in which they were found: once the core knows of the oldest, it is forgotten here.
 */
static truc_error forget_closed(struct hub_admit *admit)
{
    while (admit->closing != NULL) {
        struct admit_chain *chain = admit->closing;
        struct truc_seal seal = {.number = 1};
        struct truc_hash digest = {0};
        memcpy(seal.chain, chain->key.chain, sizeof seal.chain);
        enum hub_chain_answer answer;
        uint64_t leaf_index;
        truc_error err = hub_core_chain(admit->core, chain->key.agency, &seal, &digest, &answer, &leaf_index);
        if (err != TRUC_OK || answer != HUB_CHAIN_CLOSED) {
            return err;
        }
        chain_reopen(admit, chain);
        chain_rest(admit, chain);
    }
    return TRUC_OK;
}

/* ---- quota ----------------------------------------------------------------------------------------------------- */

static truc_error quota_of(struct hub_admit *admit, uint32_t agency, struct agency_quota **out)
{
    if (agency >= admit->quota_count) {
        size_t count = 2 * (size_t)agency + 16;
        struct agency_quota *quotas = realloc(admit->quotas, count * sizeof *quotas);
        if (quotas == NULL) {
            return TRUC_E_NOMEM;
        }
        memset(quotas + admit->quota_count, 0, (count - admit->quota_count) * sizeof *quotas);
        admit->quotas = quotas;
        admit->quota_count = count;
    }
    *out = &admit->quotas[agency];
    return TRUC_OK;
}

static void bucket_fill(struct bucket *bucket, uint64_t rate, int64_t elapsed_us)
{
    if (rate == 0) {
        bucket->open = true;
        bucket->rate = 0;
        return;
    }
    int64_t limited = rate > (uint64_t)RATE_MAX ? RATE_MAX : (int64_t)rate;
    int64_t full = limited * SECOND_US;
    bool fresh = bucket->rate == 0;
    bucket->open = false;
    bucket->rate = limited;
    if (fresh || bucket->tokens >= full || elapsed_us > (full - bucket->tokens) / limited) {
        bucket->tokens = full;
    } else {
        bucket->tokens += limited * elapsed_us;
    }
}

/* Milliseconds until the bucket can serve it; 0: now. */
static uint32_t bucket_wait(const struct bucket *bucket, uint64_t need)
{
    if (bucket->open) {
        return 0;
    }
    int64_t full = bucket->rate * SECOND_US;
    int64_t wanted = need > (uint64_t)bucket->rate ? full : (int64_t)need * SECOND_US;
    if (bucket->tokens >= wanted) {
        return 0;
    }
    int64_t wait_us = (wanted - bucket->tokens + bucket->rate - 1) / bucket->rate;
    int64_t wait_ms = (wait_us + 999) / 1000;
    return wait_ms > UINT32_MAX ? UINT32_MAX : (uint32_t)wait_ms;
}

static void bucket_draw(struct bucket *bucket, uint64_t need)
{
    if (!bucket->open) {
        bucket->tokens -= (int64_t)need * SECOND_US; /* need: below the limits of a seal */
    }
}

/* *retry_ms 0: drawn. */
static truc_error charge(struct hub_admit *admit, const struct hub_agency *agency, uint32_t events, uint64_t bytes,
                         int64_t now_us, uint32_t *retry_ms)
{
    struct agency_quota *quota;
    truc_error err = quota_of(admit, agency->number, &quota);
    if (err != TRUC_OK) {
        return err;
    }
    int64_t elapsed_us = now_us > quota->at_us ? now_us - quota->at_us : 0; /* at_us is 0 or a time that has been */
    quota->at_us = now_us > quota->at_us ? now_us : quota->at_us;
    bucket_fill(&quota->events, agency->quota_events_per_s, elapsed_us);
    bucket_fill(&quota->bytes, agency->quota_bytes_per_s, elapsed_us);
    uint32_t for_events = bucket_wait(&quota->events, events), for_bytes = bucket_wait(&quota->bytes, bytes);
    *retry_ms = for_events > for_bytes ? for_events : for_bytes;
    if (*retry_ms == 0) {
        bucket_draw(&quota->events, events);
        bucket_draw(&quota->bytes, bytes);
    }
    return TRUC_OK;
}

/* ---- the decision ---------------------------------------------------------------------------------------------- */

/* What concerns the sender, whatever the seal says about its place. */
static truc_reason judge_sender(const struct hub_core *core, const struct hub_agency *agency,
                                const struct truc_seal *seal, const struct hub_signing_key **key)
{
    if (strcmp(seal->origin, hub_core_origin(core)) != 0) {
        return TRUC_WRONG_ORIGIN;
    }
    *key = hub_core_key(core, seal->keyid);
    if (agency == NULL || strcmp(seal->sender, agency->code) != 0 || *key == NULL || (*key)->agency != agency->number) {
        return TRUC_UNKNOWN_KEY;
    }
    return agency->suspended ? TRUC_SUSPENDED : TRUC_ACCEPTED;
}

static truc_reason judge_seal(const struct hub_parameters *limits, const struct hub_signing_key *key,
                              const struct truc_seal *seal, uint64_t bytes, int64_t now_us)
{
    if (key->revoked_at_us != 0) {
        return TRUC_KEY_REVOKED;
    }
    if (seal->count > limits->seal_events || bytes > limits->seal_bytes) {
        return TRUC_TOO_LARGE;
    }
    int64_t ahead_us = (int64_t)limits->future_skew_s * SECOND_US, past_us = limits->past_horizon_s * SECOND_US;
    if (seal->sealed_at_us > (now_us > INT64_MAX - ahead_us ? INT64_MAX : now_us + ahead_us) ||
        seal->sealed_at_us < (now_us < INT64_MIN + past_us ? INT64_MIN : now_us - past_us)) {
        return TRUC_CLOCK_SKEW;
    }
    return TRUC_ACCEPTED;
}

/* As hub_core_chain, with what is under way taken for applied. *waiting: KNOWN, but not in the log yet. */
static truc_error place_of(struct hub_admit *admit, const struct admit_chain *chain, uint32_t agency,
                           const struct truc_seal *seal, const struct truc_hash *digest, enum hub_chain_answer *answer,
                           uint64_t *leaf_index, bool *waiting)
{
    *waiting = false;
    if (chain == NULL || chain->count == 0 || seal->number < chain->first) {
        truc_error err = hub_core_chain(admit->core, agency, seal, digest, answer, leaf_index);
        if (err == TRUC_OK && chain != NULL && chain->closing && *answer != HUB_CHAIN_KNOWN) {
            *answer = HUB_CHAIN_CLOSED;
        }
        return err;
    }
    uint64_t at = seal->number - chain->first;
    const struct truc_hash *digests = chain->digests + chain->start;
    if (at < chain->count) {
        *waiting = memcmp(&digests[at], digest, sizeof *digest) == 0;
        *answer = *waiting ? HUB_CHAIN_KNOWN : chain->closing ? HUB_CHAIN_CLOSED : HUB_CHAIN_FORK;
    } else if (chain->closing) {
        *answer = HUB_CHAIN_CLOSED;
    } else if (at == chain->count && seal->has_previous &&
               memcmp(&digests[at - 1], &seal->previous, sizeof seal->previous) == 0) {
        *answer = HUB_CHAIN_NEXT;
    } else {
        *answer = HUB_CHAIN_GAP;
    }
    return TRUC_OK;
}

static truc_error begin(struct hub_admit *admit, const struct hub_agency *agency, const struct truc_seal *seal,
                        const struct truc_hash *digest, uint64_t bytes, int64_t now_us, enum hub_admission *out,
                        truc_reason *reason, uint32_t *retry_ms)
{
    truc_error err = charge(admit, agency, seal->count, bytes, now_us, retry_ms);
    if (err != TRUC_OK) {
        return err;
    }
    if (*retry_ms > 0) {
        *out = HUB_ADMIT_REFUSE;
        *reason = TRUC_QUOTA;
        return TRUC_OK;
    }
    struct admit_chain *chain;
    err = chain_open(admit, agency->number, seal->chain, &chain);
    if (err != TRUC_OK) {
        return err;
    }
    err = chain_push(admit, chain, seal->number, digest);
    if (err != TRUC_OK) {
        chain_rest(admit, chain);
        return err;
    }
    *out = HUB_ADMIT_JOURNAL;
    return TRUC_OK;
}

static truc_error fork_found(struct hub_admit *admit, uint32_t agency, const struct truc_seal *seal,
                             enum hub_admission *out, truc_reason *reason)
{
    struct admit_chain *chain;
    truc_error err = chain_open(admit, agency, seal->chain, &chain);
    if (err == TRUC_OK) {
        chain_closing(admit, chain);
        *out = HUB_ADMIT_FORK;
        *reason = TRUC_SEAL_FORK;
    }
    return err;
}

truc_error hub_admit_seal(struct hub_admit *admit, uint32_t agency_number, const struct truc_seal *seal,
                          const struct truc_hash *digest, uint64_t bytes, int64_t now_us, enum hub_admission *out,
                          truc_reason *reason, uint32_t *retry_ms, uint64_t *leaf_index)
{
    *out = HUB_ADMIT_REFUSE;
    *reason = TRUC_ACCEPTED;
    *retry_ms = 0;
    *leaf_index = 0;
    truc_error err = forget_closed(admit);
    if (err != TRUC_OK) {
        return err;
    }
    const struct hub_agency *agency = hub_core_agency_by_number(admit->core, agency_number);
    const struct hub_signing_key *key = NULL;
    *reason = judge_sender(admit->core, agency, seal, &key);
    if (*reason != TRUC_ACCEPTED) {
        return TRUC_OK;
    }
    enum hub_chain_answer answer;
    bool waiting;
    const struct admit_chain *chain = chain_find(admit, agency_number, seal->chain);
    err = place_of(admit, chain, agency_number, seal, digest, &answer, leaf_index, &waiting);
    if (err != TRUC_OK) {
        return err;
    }
    if (answer == HUB_CHAIN_KNOWN) {
        *out = waiting ? HUB_ADMIT_WAIT : HUB_ADMIT_KNOWN;
        return TRUC_OK;
    }
    *reason = judge_seal(hub_core_parameters(admit->core), key, seal, bytes, now_us);
    if (*reason != TRUC_ACCEPTED) {
        return TRUC_OK;
    }
    switch (answer) {
    case HUB_CHAIN_NEXT:
        return begin(admit, agency, seal, digest, bytes, now_us, out, reason, retry_ms);
    case HUB_CHAIN_FORK:
        return fork_found(admit, agency_number, seal, out, reason);
    case HUB_CHAIN_GAP:
        *reason = TRUC_SEAL_GAP;
        return TRUC_OK;
    case HUB_CHAIN_CLOSED:
        *reason = TRUC_SEAL_FORK;
        return TRUC_OK;
    case HUB_CHAIN_KNOWN:
        break; /* answered above */
    }
    return TRUC_E_CORRUPT;
}

/* ---- the end of the way ---------------------------------------------------------------------------------------- */

void hub_admit_applied(struct hub_admit *admit, uint32_t agency, const struct truc_seal *seal)
{
    struct admit_chain *chain = chain_find(admit, agency, seal->chain);
    if (chain == NULL || seal->number < chain->first || seal->number - chain->first >= chain->count) {
        return;
    }
    size_t done = (size_t)(seal->number - chain->first) + 1;
    chain->first += done;
    chain->start += done;
    chain->count -= done;
    admit->under_way -= done;
    chain_rest(admit, chain);
}

void hub_admit_aborted(struct hub_admit *admit, uint32_t agency, const struct truc_seal *seal)
{
    struct admit_chain *chain = chain_find(admit, agency, seal->chain);
    if (chain == NULL || seal->number < chain->first || seal->number - chain->first >= chain->count) {
        return;
    }
    size_t kept = (size_t)(seal->number - chain->first);
    admit->under_way -= chain->count - kept;
    chain->count = kept;
    chain_rest(admit, chain);
}

void hub_admit_fork_aborted(struct hub_admit *admit, uint32_t agency, const struct truc_seal *seal)
{
    struct admit_chain *chain = chain_find(admit, agency, seal->chain);
    if (chain != NULL && chain->closing) {
        chain_reopen(admit, chain);
        chain_rest(admit, chain);
    }
}

size_t hub_admit_under_way(const struct hub_admit *admit)
{
    return admit->under_way;
}
