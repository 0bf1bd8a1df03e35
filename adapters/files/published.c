#include "adapters/files/published.h"

#include <inttypes.h>

#define LIST_NAME "published"
#define LIST_HEAD "truc-files published 1"
#define LIST_MAX ((size_t)16 << 20)

void published_close(struct published *published)
{
    free(published->entries);
    *published = (struct published){0};
}

/* The first entry whose number is not below. */
static size_t place_of(const struct published *published, uint64_t number)
{
    size_t low = 0, high = published->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (published->entries[middle].number < number) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

struct published_entry *published_find(const struct published *published, uint64_t number, uint64_t sequence)
{
    size_t at = place_of(published, number);
    bool found =
        at < published->count && published->entries[at].number == number && published->entries[at].sequence == sequence;
    return found ? &published->entries[at] : NULL;
}

static void cut_out(struct published *published, size_t at, size_t count)
{
    memmove(published->entries + at, published->entries + at + count,
            (published->count - at - count) * sizeof *published->entries);
    published->count -= count;
}

truc_error published_add(struct published *published, uint64_t number, uint64_t sequence)
{
    if (published->count == PUBLISHED_MAX) {
        cut_out(published, 0, 1);
    }
    if (published->count == published->capacity) {
        size_t capacity = published->capacity == 0 ? 256 : published->capacity * 2;
        struct published_entry *entries = realloc(published->entries, capacity * sizeof *entries);
        if (entries == NULL) {
            return TRUC_E_NOMEM;
        }
        published->entries = entries;
        published->capacity = capacity;
    }
    size_t at = place_of(published, number);
    const struct published_entry entry = {.number = number, .sequence = sequence};
    if (at < published->count && published->entries[at].number == number) {
        published->entries[at] = entry; /* an inbox that was begun anew */
        return TRUC_OK;
    }
    memmove(published->entries + at + 1, published->entries + at, (published->count - at) * sizeof *published->entries);
    published->entries[at] = entry;
    published->count++;
    return TRUC_OK;
}

void published_remove(struct published *published, uint64_t number)
{
    published_forget(published, number, number);
}

void published_forget(struct published *published, uint64_t first, uint64_t last)
{
    size_t from = place_of(published, first);
    size_t to = last == UINT64_MAX ? published->count : place_of(published, last + 1);
    if (from < to) {
        cut_out(published, from, to - from);
    }
}

void published_forget_answered(struct published *published, uint64_t round)
{
    size_t kept = 0;
    for (size_t i = 0; i < published->count; i++) {
        if (published->entries[i].answered == 0 || published->entries[i].answered >= round) {
            published->entries[kept++] = published->entries[i];
        }
    }
    published->count = kept;
}

static truc_error parse(char *text, struct published *out)
{
    char *rest = text, *line = strsep(&rest, "\n");
    unsigned long long number, sequence, lines;
    int end;
    if (strcmp(line, LIST_HEAD) != 0) {
        return TRUC_E_CORRUPT;
    }
    while ((line = strsep(&rest, "\n")) != NULL) {
        end = 0;
        if (sscanf(line, "end %llu%n", &lines, &end) == 1 && line[end] == '\0') {
            return lines == out->count && rest != NULL && *rest == '\0' ? TRUC_OK : TRUC_E_CORRUPT;
        }
        if (sscanf(line, "%llu %llu%n", &number, &sequence, &end) != 2 || line[end] != '\0') {
            return TRUC_E_CORRUPT;
        }
        truc_error error = published_add(out, number, sequence);
        if (error != TRUC_OK) {
            return error;
        }
    }
    return TRUC_E_CORRUPT; /* without its end */
}

truc_error published_load(const struct folder *folder, struct published *out)
{
    struct truc_buffer text = {0};
    *out = (struct published){0};
    truc_error error = folder_read(folder, LIST_NAME, LIST_MAX, &text);
    if (error == TRUC_E_NOT_FOUND) {
        error = TRUC_OK;
    } else if (error == TRUC_OK) {
        error = truc_buffer_append(&text, "", 1);
        if (error == TRUC_OK) {
            error = parse((char *)text.data, out);
        }
    } else if (error == TRUC_E_INVALID || error == TRUC_E_TOO_LARGE || error == TRUC_E_AGAIN) {
        error = TRUC_E_CORRUPT;
    }
    truc_buffer_close(&text);
    if (error != TRUC_OK) {
        published_close(out);
    }
    return error;
}

truc_error published_save(const struct published *published, const struct folder *folder)
{
    struct truc_buffer text = {0};
    truc_error error = truc_buffer_printf(&text, LIST_HEAD "\n");
    for (size_t i = 0; i < published->count && error == TRUC_OK; i++) {
        error = truc_buffer_printf(&text, "%" PRIu64 " %" PRIu64 "\n", published->entries[i].number,
                                   published->entries[i].sequence);
    }
    if (error == TRUC_OK) {
        error = truc_buffer_printf(&text, "end %zu\n", published->count);
    }
    if (error == TRUC_OK) {
        error = folder_put(folder, LIST_NAME, truc_buffer_view(&text));
    }
    if (error == TRUC_OK) {
        error = folder_sync(folder);
    }
    truc_buffer_close(&text);
    return error;
}
