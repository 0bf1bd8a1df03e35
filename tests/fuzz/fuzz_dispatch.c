/* The dispatcher beside its model: the input is the tape from which the steps are drawn. First byte: window and rules.
 */
#include "tests/fuzz/fuzz.h"
#include "tests/unit/core/dispatch_model.h"

#define STEPS 2000

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct fuzz fuzz = fuzz_of(data, size);
    uint8_t flags = fuzz_u8(&fuzz);
    const struct world_settings settings = {.max_attempts = 1 + (flags >> 2) % 4,
                                            .hold_s = 100,
                                            .skip = (flags & 2) != 0,
                                            .limits = {.window = flags & 1 ? 8 : 0,
                                                       .lease_us = 30 * SECOND,
                                                       .credit_events = 60,
                                                       .credit_bytes = 20000,
                                                       .seed = flags}};
    struct model *model = calloc(1, sizeof *model);
    static const uint8_t nothing;
    FUZZ_CHECK(model != NULL);
    model->settings = &settings;
    model->tape = fuzz.at == NULL ? &nothing : fuzz.at;
    model->tape_end = fuzz.at == NULL ? &nothing : fuzz.end;
    world_open(&model->world, &settings);
    for (unsigned i = 0; i < STEPS && model->tape < model->tape_end; i++) {
        step(model);
    }
    while (model->first < model->last) {
        journal_one(model);
    }
    world_close(&model->world);
    free(model);
    return 0;
}

void fuzz_seeds(void)
{
    uint64_t random = 88172645463325252u;
    for (unsigned i = 0; i < 8; i++) {
        uint8_t tape[1500];
        char name[16];
        for (size_t j = 0; j < sizeof tape; j++) {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            tape[j] = (uint8_t)(random >> 24);
        }
        tape[0] = (uint8_t)i;
        (void)snprintf(name, sizeof name, "tape-%u", i);
        fuzz_seed(name, truc_bytes(tape, sizeof tape));
    }
}
