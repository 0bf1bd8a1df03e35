/* Events that are being recalled are not handed out: the recall's row says that nobody has them, and that must still be
 * true when it is applied. */
#include "hub/core/dispatch_internal.h"

static struct dispatch_hold *find(const struct hub_dispatch *dispatch, uint32_t agency, uint64_t sequence)
{
    struct dispatch_hold_key key = {.sequence = sequence, .agency = agency};
    struct dispatch_hold *found;
    HASH_FIND(hh, dispatch->holds, &key, sizeof key, found);
    return found;
}

bool dispatch_hold_stops(const struct hub_dispatch *dispatch, const struct dispatch_inbox *inbox,
                         const struct dispatch_entry *entry)
{
    if (dispatch->holds == NULL || entry->posting.replay) {
        return false; /* nearly always; replays are not recalled */
    }
    struct dispatch_hold *hold = find(dispatch, inbox->agency, entry->posting.sequence);
    if (hold == NULL) {
        return false;
    }
    hold->number = entry->posting.number; /* whoever asked forgets it now */
    return true;
}

void dispatch_holds_close(struct hub_dispatch *dispatch)
{
    struct dispatch_hold *hold, *next;
    HASH_ITER(hh, dispatch->holds, hold, next)
    {
        HASH_DELETE(hh, dispatch->holds, hold);
        free(hold);
    }
}

truc_error hub_dispatch_hold(struct hub_dispatch *dispatch, uint32_t agency, uint64_t sequence)
{
    struct dispatch_hold *hold = find(dispatch, agency, sequence);
    if (hold != NULL) {
        hold->count++;
        return TRUC_OK;
    }
    hold = calloc(1, sizeof *hold);
    if (hold == NULL) {
        return TRUC_E_NOMEM;
    }
    hold->key = (struct dispatch_hold_key){.sequence = sequence, .agency = agency};
    hold->count = 1;
    HASH_ADD(hh, dispatch->holds, key, sizeof hold->key, hold);
    if (hold->unhashed) {
        free(hold);
        return TRUC_E_NOMEM;
    }
    return TRUC_OK;
}

truc_error hub_dispatch_unhold(struct hub_dispatch *dispatch, uint32_t agency, uint64_t sequence)
{
    struct dispatch_hold *hold = find(dispatch, agency, sequence);
    if (hold == NULL || --hold->count > 0) {
        return TRUC_OK;
    }
    uint64_t number = hold->number;
    HASH_DELETE(hh, dispatch->holds, hold);
    free(hold);
    struct dispatch_inbox *inbox = dispatch_inbox_find(dispatch, agency);
    if (inbox == NULL || number == 0) {
        return TRUC_OK; /* it never came up, so nobody forgot it */
    }
    const struct dispatch_entry *entry = dispatch_entry_find(inbox, number);
    return entry != NULL && dispatch_entry_ready(dispatch, inbox, entry) ? dispatch_push_ready(dispatch, inbox, number)
                                                                         : TRUC_OK;
}
