/* Where a target's first inputs go. Beside the driver, so that targets link with libFuzzer's main too. */
#include "tests/fuzz/fuzz.h"

#include "truc/config.h"

const char *fuzz_seed_folder;
size_t fuzz_seed_count;

void fuzz_seed(const char *name, struct truc_bytes input)
{
    char path[4096];
    (void)snprintf(path, sizeof path, "%s/%s", fuzz_seed_folder, name);
    FUZZ_OK(truc_file_write(path, input, 0644, true));
    fuzz_seed_count++;
}
