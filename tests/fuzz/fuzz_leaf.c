/* The log's leaf: one encoding for one meaning. */
#include "tests/fuzz/fuzz.h"
#include "truc/leaf.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct truc_leaf leaf;
    struct truc_buffer again = {0};
    if (truc_leaf_parse(truc_bytes(data, size), &leaf) == TRUC_OK) {
        FUZZ_CHECK(leaf.count >= 1 && leaf.count <= TRUC_SEAL_EVENTS_MAX);
        FUZZ_OK(truc_leaf_encode(&leaf, &again));
        FUZZ_CHECK(truc_bytes_equal(truc_buffer_view(&again), truc_bytes(data, size)));
    }
    truc_buffer_close(&again);
    return 0;
}

void fuzz_seeds(void)
{
    static const uint8_t codes[][4] = {{0, 0, 0, 0}, {0, 10, 10, 0}, {128, 128, 128, 4}, {127, 0, 128, 128}};
    for (size_t i = 0; i < sizeof codes / sizeof codes[0]; i++) {
        static struct truc_leaf leaf;
        struct truc_buffer out = {0};
        char name[16];
        leaf = (struct truc_leaf){.accepted_at_us = INT64_C(1790000000000000), .first_sequence = 100 + i, .count = 4};
        for (uint32_t j = 0; j < 4; j++) {
            leaf.outcomes[j].code = codes[i][j];
            leaf.outcomes[j].duplicate_of = codes[i][j] == TRUC_OUTCOME_DUPLICATE ? 7 + j + (i == 3) * j : 0;
        }
        FUZZ_OK(truc_leaf_encode(&leaf, &out));
        (void)snprintf(name, sizeof name, "leaf-%zu", i);
        fuzz_seed(name, truc_buffer_view(&out));
        truc_buffer_close(&out);
    }
}
