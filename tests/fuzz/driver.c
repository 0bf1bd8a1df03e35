/* Runs a fuzz target where libFuzzer is not: over files and folders of inputs, then over plain mutations of them
 * (always the same ones). And it writes the target's first inputs: --seeds FOLDER. */
#include "tests/fuzz/fuzz.h"

#include "truc/config.h"

#include <dirent.h>
#include <sys/stat.h>

#define INPUT_MAX (1u << 20)

static struct truc_buffer *inputs;
static size_t count;

static void keep(struct truc_bytes input)
{
    inputs = realloc(inputs, (count + 1) * sizeof *inputs);
    FUZZ_CHECK(inputs != NULL);
    inputs[count] = (struct truc_buffer){0};
    FUZZ_OK(truc_buffer_append(&inputs[count], input.data, input.size));
    count++;
}

static void run(struct truc_bytes input)
{
    uint8_t *copy = fuzz_copy(input);
    (void)LLVMFuzzerTestOneInput(copy, input.size);
    free(copy);
}

static void run_file(const char *path)
{
    struct truc_buffer text = {0};
    if (truc_file_read(path, INPUT_MAX, &text) != TRUC_OK) {
        perror(path);
        exit(2);
    }
    fprintf(stderr, "%s\n", path); /* the last line before a crash names its input */
    run(truc_buffer_view(&text));
    keep(truc_buffer_view(&text));
    truc_buffer_close(&text);
}

static int is_visible(const struct dirent *entry)
{
    return entry->d_name[0] != '.';
}

static void run_path(const char *path)
{
    struct stat status;
    struct dirent **entries;
    if (stat(path, &status) == 0 && !S_ISDIR(status.st_mode)) {
        run_file(path);
        return;
    }
    int found = scandir(path, &entries, is_visible, alphasort);
    if (found < 0) {
        perror(path);
        exit(2);
    }
    for (int i = 0; i < found; i++) {
        char *inside;
        FUZZ_CHECK(asprintf(&inside, "%s/%s", path, entries[i]->d_name) > 0);
        run_file(inside);
        free(inside);
        free(entries[i]);
    }
    free(entries);
}

static uint64_t draw(uint64_t *random, uint64_t below)
{
    *random ^= *random << 13;
    *random ^= *random >> 7;
    *random ^= *random << 17;
    return *random % below;
}

/* A few bytes changed, a piece doubled, dropped, or taken from another input. */
static void mutate(struct truc_buffer *input, uint64_t *random)
{
    for (uint64_t times = draw(random, 4) + 1; times > 0 && input->size > 0; times--) {
        size_t at = draw(random, input->size), size = draw(random, input->size - at) + 1;
        const struct truc_buffer *other = &inputs[draw(random, count)];
        switch (draw(random, 5)) {
        case 0:
            input->data[at] ^= (uint8_t)(1u << draw(random, 8));
            break;
        case 1:
            input->data[at] = (uint8_t)draw(random, 256);
            break;
        case 2:
            memmove(input->data + at, input->data + at + size, input->size - at - size);
            input->size -= size;
            break;
        case 3:
            if (input->size + size < INPUT_MAX) {
                FUZZ_OK(truc_buffer_reserve(input, size));
                memmove(input->data + at + size, input->data + at, input->size - at);
                input->size += size;
            }
            break;
        default:
            size = size < other->size ? size : other->size;
            if (size > 0) {
                memcpy(input->data + at, other->data, size);
            }
            break;
        }
    }
}

int main(int argc, char **argv)
{
    unsigned long runs = 0;
    uint64_t random = 88172645463325252u;
    if (argc == 3 && strcmp(argv[1], "--seeds") == 0) {
        fuzz_seed_folder = argv[2];
        fuzz_seeds();
        printf("%zu seeds in %s\n", fuzz_seed_count, fuzz_seed_folder);
        return fuzz_seed_count == 0;
    }
    for (int i = 1; i < argc; i++) {
        if (strncmp(argv[i], "-runs=", 6) == 0) {
            runs = strtoul(argv[i] + 6, NULL, 10);
        } else {
            run_path(argv[i]);
        }
    }
    size_t read = count;
    for (unsigned long i = 0; i < runs && read > 0; i++) {
        struct truc_buffer input = {0};
        const struct truc_buffer *from = &inputs[draw(&random, read)];
        FUZZ_OK(truc_buffer_append(&input, from->data, from->size));
        mutate(&input, &random);
        run(truc_buffer_view(&input));
        truc_buffer_close(&input);
    }
    printf("%zu inputs, %lu mutations\n", read, read > 0 ? runs : 0);
    for (size_t i = 0; i < count; i++) {
        truc_buffer_close(&inputs[i]);
    }
    free(inputs);
    return read == 0;
}
