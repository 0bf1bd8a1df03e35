/* What the store's contract tests share: a folder of their own, keys, and seals to put into rows. */
#ifndef TESTS_CONTRACT_FIXTURE_H
#define TESTS_CONTRACT_FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "hub/store/journal.h"
#include "hub/store/row.h"
#include "truc/seal.h"

#include <errno.h>
#include <ftw.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define SOME_TIME INT64_C(1764000000000000)

#define assert_ok(expression) assert_int_equal((expression), TRUC_OK)

static inline char *folder_new(void)
{
    const char *base = getenv("TMPDIR");
    char *path;
    assert_true(asprintf(&path, "%s/truc-store-XXXXXX", base == NULL ? "/tmp" : base) > 0);
    assert_non_null(mkdtemp(path));
    return path;
}

static inline int fixture_remove_one(const char *path, const struct stat *status, int kind, struct FTW *walk)
{
    (void)status;
    (void)kind;
    (void)walk;
    return remove(path);
}

static inline void folder_free(char *path)
{
    assert_int_equal(nftw(path, fixture_remove_one, 16, FTW_DEPTH | FTW_PHYS), 0);
    free(path);
}

static inline char *path_in(const char *folder, const char *name)
{
    char *path;
    assert_true(asprintf(&path, "%s/%s", folder, name) > 0);
    return path;
}

/* A small generator, so that a failing test fails the same way again. */
static inline uint32_t fixture_random(uint64_t *seed)
{
    *seed = *seed * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (uint32_t)(*seed >> 33);
}

/* One seal with its events, ready for a row. */
struct sealed {
    struct hub_row_item item;
    struct hub_event_facts *facts;
    uint64_t *slots;
    struct truc_buffer body, envelope;
    uint32_t count;
};

static inline void sealed_free(struct sealed *sealed)
{
    free(sealed->facts);
    free(sealed->slots);
    truc_buffer_close(&sealed->body);
    truc_buffer_close(&sealed->envelope);
}

/* The facts are typical of a dossier's step, not read from the bytes: the store does not look into events. */
static inline void sealed_make(struct sealed *out, struct truc_key *key, uint32_t count, size_t size, uint64_t number)
{
    struct truc_hash *leaves = calloc(count, sizeof *leaves);
    uint8_t *event = malloc(size + 1);
    uint64_t seed = number + 1;
    *out = (struct sealed){.count = count};
    out->facts = calloc(count, sizeof *out->facts);
    out->slots = calloc(count, sizeof *out->slots);
    assert_true(leaves != NULL && event != NULL && out->facts != NULL && out->slots != NULL);
    for (uint32_t i = 0; i < count; i++) {
        struct hub_event_facts *facts = &out->facts[i];
        for (size_t byte = 0; byte < size; byte++) {
            event[byte] = (uint8_t)fixture_random(&seed);
        }
        assert_ok(truc_body_append(&out->body, truc_bytes(event, size)));
        facts->size = (uint32_t)size;
        facts->subject = fixture_random(&seed) + 1;
        facts->time_us = SOME_TIME - (int64_t)fixture_random(&seed) % 1000000;
        facts->expires_us = HUB_TIME_NONE;
        facts->type = truc_bytes_of("vn.dossier.step.v1");
        facts->recipients = truc_bytes_of("H14.09,@land");
        truc_leaf_hash(&facts->leaf_hash, truc_bytes(event, size));
        memcpy(facts->key, facts->leaf_hash.bytes, sizeof facts->key);
        leaves[i] = facts->leaf_hash;
        out->slots[i] = fixture_random(&seed) % 64;
    }
    struct hub_seal_input *input = &out->item.input.u.seal;
    struct truc_seal *seal = &input->seal;
    (void)snprintf(seal->origin, sizeof seal->origin, "test.example/log");
    (void)snprintf(seal->sender, sizeof seal->sender, "H14.09");
    (void)snprintf(seal->keyid, sizeof seal->keyid, "%s", truc_key_id(key));
    memset(seal->chain, 7, sizeof seal->chain);
    seal->number = number;
    seal->has_previous = number > 1;
    seal->count = count;
    seal->sealed_at_us = SOME_TIME;
    truc_merkle_root(leaves, count, &seal->root);
    assert_ok(truc_seal_sign(seal, key, &out->envelope, &input->digest));
    input->envelope = truc_buffer_view(&out->envelope);
    input->events = out->facts;
    out->item.input.kind = HUB_INPUT_SEAL;
    out->item.body = truc_buffer_view(&out->body);
    out->item.slots = out->slots;
    free(leaves);
    free(event);
}

static inline void facts_equal(const struct hub_event_facts *a, const struct hub_event_facts *b)
{
    assert_memory_equal(a->leaf_hash.bytes, b->leaf_hash.bytes, TRUC_HASH_SIZE);
    assert_memory_equal(a->key, b->key, sizeof a->key);
    assert_true(a->subject == b->subject && a->size == b->size && a->kind == b->kind && a->flags == b->flags);
    assert_true(a->time_us == b->time_us && a->expires_us == b->expires_us);
    assert_true(truc_bytes_equal(a->type, b->type));
    assert_true(truc_bytes_equal(a->recipients, b->recipients));
    assert_memory_equal(a->recalled, b->recalled, sizeof a->recalled);
    assert_true(truc_bytes_equal(a->in_hand, b->in_hand));
    assert_true((a->governance == NULL) == (b->governance == NULL));
    assert_true(truc_bytes_equal(a->governance_bytes, b->governance_bytes));
}

#endif
