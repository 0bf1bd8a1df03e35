/* The file of key slots: header and length, as found on a disk. The input stands at the file's begin; its first two
 * bytes say how long the file is. */
#include "hub/store/slots.h"
#include "tests/fuzz/folder.h"

#define USED 64 /* the header's bytes that mean something, and some */

static void check(bool read_only)
{
    struct hub_slots *slots = NULL;
    uint8_t key[TRUC_AEAD_KEY_SIZE];
    truc_error error = hub_slots_open(fuzz_path("slots"), false, read_only, &slots);
    FUZZ_CHECK(error == TRUC_OK || error == TRUC_E_CORRUPT || error == TRUC_E_UNSUPPORTED);
    if (error == TRUC_OK) {
        uint64_t count = hub_slots_count(slots);
        FUZZ_ANY(hub_slots_get(slots, 0, key));
        if (count > 0) {
            error = hub_slots_get(slots, count - 1, key);
            FUZZ_CHECK(error == TRUC_OK || error == TRUC_E_NOT_FOUND);
        }
        FUZZ_CHECK(hub_slots_get(slots, count, key) == TRUC_E_NOT_FOUND);
        FUZZ_CHECK(hub_slots_get(slots, UINT64_MAX, key) == TRUC_E_NOT_FOUND);
    }
    hub_slots_close(&slots);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct fuzz fuzz = fuzz_of(data, size);
    off_t length = (off_t)fuzz_u16(&fuzz) * 32;
    struct truc_bytes header = fuzz_take(&fuzz, USED);
    fuzz_file("slots", header);
    FUZZ_CHECK(truncate(fuzz_path("slots"), length) == 0);
    check(true);
    fuzz_file("slots", header);
    FUZZ_CHECK(truncate(fuzz_path("slots"), length) == 0);
    check(false);
    return 0;
}

void fuzz_seeds(void)
{
    struct hub_slots *slots;
    uint8_t bytes[2 + USED] = {0};
    FUZZ_OK(hub_slots_open(fuzz_path("made"), true, false, &slots));
    FUZZ_OK(hub_slots_ensure(slots, 1));
    hub_slots_close(&slots);
    int fd = open(fuzz_path("made"), O_RDONLY | O_CLOEXEC);
    off_t length = fd < 0 ? -1 : lseek(fd, 0, SEEK_END);
    FUZZ_CHECK(length > 0 && pread(fd, bytes + 2, USED, 0) == USED && close(fd) == 0);
    bytes[0] = (uint8_t)(length / 32);
    bytes[1] = (uint8_t)(length / 32 >> 8);
    fuzz_seed("whole", truc_bytes(bytes, sizeof bytes));
    bytes[1] /= 2;
    fuzz_seed("cut-short", truc_bytes(bytes, sizeof bytes));
    bytes[20]++;
    fuzz_seed("wrong-digest", truc_bytes(bytes, sizeof bytes));
}
