/* Events that are being recalled are not handed out: the recall's row says who has them, and that must still be true
 * when it is applied.
 *
 * A hold stands on an event and on whom its recall means: an agency, a group, everybody. So a recall costs as many
 * holds as it has names, however many they mean, and an event waits only where its recall will decide about it. The
 * entries themselves know nothing of it, as most of them are not in memory: one that comes up to be leased is turned
 * away, put aside, and comes up again when a hold has ended. */
#include "hub/core/dispatch_internal.h"

static struct dispatch_hold *find(const struct hub_dispatch *dispatch, uint64_t sequence, struct hub_meant meant)
{
    struct dispatch_hold_key key = {.sequence = sequence, .agency = meant.agency, .group = meant.group};
    struct dispatch_hold *found;
    HASH_FIND(hh, dispatch->holds, &key, sizeof key, found);
    return found;
}

static bool is_held(const struct hub_dispatch *dispatch, uint32_t agency, uint64_t sequence)
{
    uint32_t group;
    if (find(dispatch, sequence, (struct hub_meant){.agency = agency}) != NULL ||
        find(dispatch, sequence, (struct hub_meant){0}) != NULL) {
        return true;
    }
    for (size_t at = 0; (group = hub_core_group_at(dispatch->core, agency, at)) != 0; at++) {
        if (find(dispatch, sequence, (struct hub_meant){.group = group}) != NULL) {
            return true;
        }
    }
    return false;
}

bool dispatch_hold_stops(const struct hub_dispatch *dispatch, const struct dispatch_inbox *inbox,
                         const struct dispatch_entry *entry)
{
    /* Nearly always there is none. Replays are not recalled, nor what somebody was handed before: it is not kept from
     * him by recalls that come too late. (What is held cannot become such a one.) */
    const struct hub_posting *posting = &entry->posting;
    return dispatch->holds != NULL && !posting->replay && !posting->requeued && posting->attempts == 0 &&
           !entry->seen && is_held(dispatch, inbox->agency, posting->sequence);
}

truc_error dispatch_put_aside(struct hub_dispatch *dispatch, const struct dispatch_inbox *inbox, uint64_t number)
{
    struct dispatch_aside *aside = &dispatch->aside;
    if (aside->count == aside->capacity) {
        size_t capacity = aside->capacity == 0 ? 64 : aside->capacity * 2;
        struct dispatch_place *items = realloc(aside->items, capacity * sizeof *items);
        if (items == NULL) {
            return TRUC_E_NOMEM;
        }
        aside->items = items;
        aside->capacity = capacity;
    }
    aside->items[aside->count++] = (struct dispatch_place){inbox->agency, number};
    return TRUC_OK;
}

/* All of them: what is still held is turned away once more when it comes up. */
static truc_error bring_back(struct hub_dispatch *dispatch)
{
    struct dispatch_aside *aside = &dispatch->aside;
    truc_error err = TRUC_OK;
    while (err == TRUC_OK && aside->count > 0) {
        const struct dispatch_place *place = &aside->items[--aside->count];
        struct dispatch_inbox *inbox = dispatch_inbox_find(dispatch, place->agency);
        const struct dispatch_entry *entry = inbox != NULL ? dispatch_entry_find(inbox, place->number) : NULL;
        if (entry != NULL && dispatch_entry_ready(dispatch, entry)) {
            err = dispatch_push_ready(dispatch, inbox, place->number);
        }
    }
    return err;
}

void dispatch_holds_close(struct hub_dispatch *dispatch)
{
    struct dispatch_hold *hold, *next;
    HASH_ITER(hh, dispatch->holds, hold, next)
    {
        HASH_DELETE(hh, dispatch->holds, hold);
        free(hold);
    }
    free(dispatch->aside.items);
    dispatch->aside = (struct dispatch_aside){0};
}

truc_error hub_dispatch_hold(struct hub_dispatch *dispatch, uint64_t sequence, struct hub_meant meant)
{
    struct dispatch_hold *hold = find(dispatch, sequence, meant);
    if (hold != NULL) {
        hold->count++;
        return TRUC_OK;
    }
    hold = calloc(1, sizeof *hold);
    if (hold == NULL) {
        return TRUC_E_NOMEM;
    }
    hold->key = (struct dispatch_hold_key){.sequence = sequence, .agency = meant.agency, .group = meant.group};
    hold->count = 1;
    HASH_ADD(hh, dispatch->holds, key, sizeof hold->key, hold);
    if (hold->unhashed) {
        free(hold);
        return TRUC_E_NOMEM;
    }
    return TRUC_OK;
}

truc_error hub_dispatch_unhold(struct hub_dispatch *dispatch, uint64_t sequence, struct hub_meant meant)
{
    struct dispatch_hold *hold = find(dispatch, sequence, meant);
    if (hold == NULL || --hold->count > 0) {
        return TRUC_OK;
    }
    HASH_DELETE(hh, dispatch->holds, hold);
    free(hold);
    return bring_back(dispatch);
}
