/* Small shared parts: growing arrays, tables of ordinals, effects. */
#include "hub/core/core_internal.h"

#include <stdlib.h>

#define FIRST_ITEMS 16

truc_error core_grow(void **items, size_t count, size_t *capacity, size_t item_size)
{
    if (count < *capacity) {
        return TRUC_OK;
    }
    size_t wanted = *capacity == 0 ? FIRST_ITEMS : *capacity * 2;
    void *grown = reallocarray(*items, wanted, item_size);
    if (grown == NULL) {
        return TRUC_E_NOMEM;
    }
    *items = grown;
    *capacity = wanted;
    return TRUC_OK;
}

truc_error core_text(struct truc_bytes text, char **out)
{
    char *copy = malloc(text.size + 1);
    if (copy == NULL) {
        return TRUC_E_NOMEM;
    }
    if (text.size > 0) {
        memcpy(copy, text.data, text.size);
    }
    copy[text.size] = '\0';
    *out = copy;
    return TRUC_OK;
}

static void index_place(struct core_index_slot *slots, size_t capacity, struct core_index_slot slot)
{
    size_t at = slot.hash & (capacity - 1);
    while (slots[at].ordinal != 0) {
        at = (at + 1) & (capacity - 1);
    }
    slots[at] = slot;
}

truc_error core_index_put(struct core_index *index, uint64_t hash, uint32_t ordinal)
{
    if ((index->count + 1) * 2 > index->capacity) {
        size_t capacity = index->capacity == 0 ? FIRST_ITEMS : index->capacity * 2;
        struct core_index_slot *slots = calloc(capacity, sizeof *slots);
        if (slots == NULL) {
            return TRUC_E_NOMEM;
        }
        for (size_t i = 0; i < index->capacity; i++) {
            if (index->slots[i].ordinal != 0) {
                index_place(slots, capacity, index->slots[i]);
            }
        }
        free(index->slots);
        index->slots = slots;
        index->capacity = capacity;
    }
    index_place(index->slots, index->capacity, (struct core_index_slot){hash, (uint64_t)ordinal + 1});
    index->count++;
    return TRUC_OK;
}

bool core_index_next(const struct core_index *index, uint64_t hash, size_t *at, uint32_t *ordinal)
{
    if (index->capacity == 0) {
        return false;
    }
    for (;; (*at)++) {
        const struct core_index_slot *slot = &index->slots[(hash + *at) & (index->capacity - 1)];
        if (slot->ordinal == 0) {
            return false;
        }
        if (slot->hash == hash) {
            *ordinal = (uint32_t)(slot->ordinal - 1);
            (*at)++;
            return true;
        }
    }
}

void core_index_close(struct core_index *index)
{
    free(index->slots);
    *index = (struct core_index){0};
}

truc_error core_effect(struct hub_effects *effects, enum hub_effect_kind kind, uint32_t agency, struct hub_effect **out)
{
    truc_error error =
        core_grow((void **)&effects->items, effects->count, &effects->capacity, sizeof(struct hub_effect));
    if (error != TRUC_OK) {
        return error;
    }
    struct hub_effect *effect = &effects->items[effects->count++];
    *effect = (struct hub_effect){.kind = kind, .agency = agency};
    if (out != NULL) {
        *out = effect;
    }
    return TRUC_OK;
}

void hub_effects_clear(struct hub_effects *effects)
{
    effects->count = 0;
    truc_buffer_clear(&effects->bytes);
}

void hub_effects_close(struct hub_effects *effects)
{
    free(effects->items);
    truc_buffer_close(&effects->bytes);
    *effects = (struct hub_effects){0};
}
