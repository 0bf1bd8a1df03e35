/* Key slots: the file is mapped for reading and written with pwrite, so that what is synced is what was written. */
#include "hub/store/slots.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

/* hub/STORAGE.md, "Key slots". The header is a page of the largest page size, so that the slots can be mapped anywhere.
 */
#define HEADER_SIZE 65536
#define MAGIC "TRUCKEYS"
#define FORMAT 1
enum { AT_MAGIC = 0, AT_FORMAT = 8, AT_COUNT = 12, AT_DIGEST = 20, HEADER_USED = 52 };

#define STEP 4096 /* slots filled and synced at a time */
#define CHUNK_SLOTS ((uint64_t)1 << 20)
#define CHUNK_BYTES (CHUNK_SLOTS * TRUC_AEAD_KEY_SIZE)
#define CHUNKS 4096
#define SLOTS_MAX (CHUNKS * CHUNK_SLOTS)

struct hub_slots {
    int fd;
    bool read_only;
    _Atomic uint64_t count;
    /* A chunk is mapped once and stays where it is: readers need no lock against growth. */
    _Atomic(const uint8_t *) chunks[CHUNKS];
    /* Against an erasure in the midst of a copy: a key that is half zeros must never encrypt anything. */
    pthread_mutex_t *lock;
};

static void put_number(uint8_t *at, uint64_t value, unsigned bytes)
{
    for (unsigned i = bytes; i-- > 0; value >>= 8) {
        at[i] = (uint8_t)value;
    }
}

static uint64_t number_at(const uint8_t *at, unsigned bytes)
{
    uint64_t value = 0;
    for (unsigned i = 0; i < bytes; i++) {
        value = value << 8 | at[i];
    }
    return value;
}

static truc_error io_error(void)
{
    return errno == ENOSPC || errno == EDQUOT ? TRUC_E_FULL : TRUC_E_IO;
}

static truc_error write_at(int fd, const uint8_t *data, size_t size, uint64_t offset)
{
    while (size > 0) {
        ssize_t wrote = pwrite(fd, data, size, (off_t)offset);
        if (wrote < 0 && errno == EINTR) {
            continue;
        }
        if (wrote <= 0) {
            errno = wrote < 0 ? errno : EIO;
            return io_error();
        }
        data += wrote;
        size -= (size_t)wrote;
        offset += (uint64_t)wrote;
    }
    return TRUC_OK;
}

/* The count is believed only with its digest. It is written after the keys that it covers are synced. */
static truc_error write_header(int fd, uint64_t count)
{
    uint8_t header[HEADER_USED];
    struct truc_hash digest;
    memcpy(header + AT_MAGIC, MAGIC, 8);
    put_number(header + AT_FORMAT, FORMAT, 4);
    put_number(header + AT_COUNT, count, 8);
    truc_sha256(&digest, truc_bytes(header, AT_DIGEST));
    memcpy(header + AT_DIGEST, digest.bytes, TRUC_HASH_SIZE);
    truc_error error = write_at(fd, header, sizeof header, 0);
    if (error == TRUC_OK && fsync(fd) != 0) {
        error = TRUC_E_IO;
    }
    return error;
}

static truc_error read_header(int fd, uint64_t *count)
{
    uint8_t header[HEADER_USED];
    struct truc_hash digest;
    struct stat status;
    ssize_t got = pread(fd, header, sizeof header, 0);
    if (got < 0 || fstat(fd, &status) != 0) {
        return TRUC_E_IO;
    }
    if (got != HEADER_USED || memcmp(header + AT_MAGIC, MAGIC, 8) != 0 || number_at(header + AT_FORMAT, 4) != FORMAT) {
        return TRUC_E_CORRUPT;
    }
    truc_sha256(&digest, truc_bytes(header, AT_DIGEST));
    *count = number_at(header + AT_COUNT, 8);
    if (memcmp(digest.bytes, header + AT_DIGEST, TRUC_HASH_SIZE) != 0 || *count > SLOTS_MAX ||
        (uint64_t)status.st_size < HEADER_SIZE + *count * TRUC_AEAD_KEY_SIZE) {
        return TRUC_E_CORRUPT;
    }
    return TRUC_OK;
}

static truc_error sync_folder_of(const char *path)
{
    truc_error error = TRUC_E_NOMEM;
    int fd = -1;
    char *copy = strdup(path);
    if (copy == NULL) {
        goto out;
    }
    error = TRUC_E_IO;
    fd = open(dirname(copy), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd >= 0 && fsync(fd) == 0) {
        error = TRUC_OK;
    }
out:
    if (fd >= 0) {
        (void)close(fd);
    }
    free(copy);
    return error;
}

/* The name appears only with a whole header behind it, so a crash in between leaves no file that is called damaged. */
static truc_error make_file(const char *path, int *out)
{
    char *part = NULL;
    truc_error error = TRUC_E_NOMEM;
    int fd = -1;
    if (asprintf(&part, "%s.part", path) < 0) {
        part = NULL;
        goto out;
    }
    fd = open(part, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0 || fchmod(fd, 0600) != 0 || ftruncate(fd, HEADER_SIZE) != 0) {
        error = io_error();
        goto out;
    }
    error = write_header(fd, 0);
    if (error != TRUC_OK) {
        goto out;
    }
    if (rename(part, path) != 0) {
        error = TRUC_E_IO;
        goto out;
    }
    error = sync_folder_of(path);
    if (error == TRUC_OK) {
        *out = fd;
        fd = -1;
    }
out:
    if (fd >= 0) {
        (void)close(fd);
        (void)unlink(part);
    }
    free(part);
    return error;
}

/* Maps the chunks that hold slots 0 .. count - 1. The map may reach beyond the end of the file: slots there are not
 * read before the count says that they exist. */
static truc_error map_chunks(struct hub_slots *slots, uint64_t count)
{
    for (uint64_t i = 0; i * CHUNK_SLOTS < count; i++) {
        if (atomic_load_explicit(&slots->chunks[i], memory_order_relaxed) != NULL) {
            continue;
        }
        void *map = mmap(NULL, CHUNK_BYTES, PROT_READ, MAP_SHARED, slots->fd, (off_t)(HEADER_SIZE + i * CHUNK_BYTES));
        if (map == MAP_FAILED) {
            return errno == ENOMEM ? TRUC_E_NOMEM : TRUC_E_IO;
        }
        atomic_store_explicit(&slots->chunks[i], (const uint8_t *)map, memory_order_release);
    }
    return TRUC_OK;
}

truc_error hub_slots_open(const char *path, bool create, bool read_only, struct hub_slots **out)
{
    uint64_t count = 0;
    truc_error error;
    struct hub_slots *slots = calloc(1, sizeof *slots);
    if (slots == NULL) {
        return TRUC_E_NOMEM;
    }
    slots->fd = open(path, (read_only ? O_RDONLY : O_RDWR) | O_CLOEXEC | O_NOFOLLOW);
    slots->read_only = read_only;
    slots->lock = malloc(sizeof *slots->lock);
    if (slots->lock == NULL || pthread_mutex_init(slots->lock, NULL) != 0) {
        free(slots->lock);
        slots->lock = NULL;
        error = TRUC_E_NOMEM;
        goto out;
    }
    if (slots->fd < 0) {
        error = errno != ENOENT ? TRUC_E_IO : create && !read_only ? make_file(path, &slots->fd) : TRUC_E_NOT_FOUND;
        if (error != TRUC_OK) {
            goto out;
        }
    }
    error = read_header(slots->fd, &count);
    if (error == TRUC_OK && !read_only) {
        /* Where the header's sync failed last time, the disk may hold an older count than the kernel remembers. */
        error = write_header(slots->fd, count);
    }
    if (error == TRUC_OK) {
        error = map_chunks(slots, count);
    }
    atomic_init(&slots->count, count);
out:
    if (error != TRUC_OK) {
        hub_slots_close(&slots);
        return error;
    }
    *out = slots;
    return TRUC_OK;
}

void hub_slots_close(struct hub_slots **slots)
{
    struct hub_slots *closing = *slots;
    if (closing == NULL) {
        return;
    }
    for (size_t i = 0; i < CHUNKS; i++) {
        const uint8_t *chunk = atomic_load_explicit(&closing->chunks[i], memory_order_relaxed);
        if (chunk != NULL) {
            (void)munmap((void *)(uintptr_t)chunk, CHUNK_BYTES);
        }
    }
    if (closing->fd >= 0) {
        (void)close(closing->fd); /* whatever was written is synced */
    }
    if (closing->lock != NULL) {
        (void)pthread_mutex_destroy(closing->lock);
        free(closing->lock);
    }
    free(closing);
    *slots = NULL;
}

uint64_t hub_slots_count(const struct hub_slots *slots)
{
    return atomic_load_explicit(&slots->count, memory_order_acquire);
}

/* Random keys for slots from `first`, not yet synced. */
static truc_error fill_step(int fd, uint64_t first)
{
    uint8_t *keys = malloc(STEP * TRUC_AEAD_KEY_SIZE);
    if (keys == NULL) {
        return TRUC_E_NOMEM;
    }
    truc_error error = truc_random(keys, STEP * TRUC_AEAD_KEY_SIZE);
    if (error == TRUC_OK) {
        error = write_at(fd, keys, STEP * TRUC_AEAD_KEY_SIZE, HEADER_SIZE + first * TRUC_AEAD_KEY_SIZE);
    }
    truc_wipe(keys, STEP * TRUC_AEAD_KEY_SIZE);
    free(keys);
    return error;
}

truc_error hub_slots_ensure(struct hub_slots *slots, uint64_t count)
{
    uint64_t have = hub_slots_count(slots), filled = have;
    truc_error error = TRUC_OK;
    if (count <= have) {
        return TRUC_OK;
    }
    if (slots->read_only || count > SLOTS_MAX) {
        return TRUC_E_INVALID;
    }
    while (filled < count) {
        error = fill_step(slots->fd, filled);
        if (error != TRUC_OK) {
            return error; /* the count still says what was there before */
        }
        filled += STEP;
    }
    if (fsync(slots->fd) != 0) {
        return TRUC_E_IO;
    }
    error = write_header(slots->fd, filled);
    if (error == TRUC_OK) {
        error = map_chunks(slots, filled);
    }
    if (error == TRUC_OK) {
        atomic_store_explicit(&slots->count, filled, memory_order_release);
    }
    return error;
}

truc_error hub_slots_get(const struct hub_slots *slots, uint64_t slot, uint8_t key[TRUC_AEAD_KEY_SIZE])
{
    static const uint8_t erased[TRUC_AEAD_KEY_SIZE];
    if (slot >= hub_slots_count(slots)) {
        return TRUC_E_NOT_FOUND;
    }
    const uint8_t *chunk = atomic_load_explicit(&slots->chunks[slot / CHUNK_SLOTS], memory_order_acquire);
    (void)pthread_mutex_lock(slots->lock);
    memcpy(key, chunk + slot % CHUNK_SLOTS * TRUC_AEAD_KEY_SIZE, TRUC_AEAD_KEY_SIZE);
    (void)pthread_mutex_unlock(slots->lock);
    return memcmp(key, erased, TRUC_AEAD_KEY_SIZE) == 0 ? TRUC_E_NOT_FOUND : TRUC_OK;
}

truc_error hub_slots_erase(struct hub_slots *slots, uint64_t slot)
{
    static const uint8_t zeros[TRUC_AEAD_KEY_SIZE];
    if (slots->read_only) {
        return TRUC_E_INVALID;
    }
    if (slot >= hub_slots_count(slots)) {
        return TRUC_E_NOT_FOUND;
    }
    (void)pthread_mutex_lock(slots->lock);
    truc_error error = write_at(slots->fd, zeros, sizeof zeros, HEADER_SIZE + slot * TRUC_AEAD_KEY_SIZE);
    (void)pthread_mutex_unlock(slots->lock);
    if (error == TRUC_OK && fsync(slots->fd) != 0) {
        error = TRUC_E_IO;
    }
    return error;
}
