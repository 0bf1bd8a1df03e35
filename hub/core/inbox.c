/* The life of a posting. Its state changes here only.
 *
 *   post --> PENDING --ack--------------------------------> SETTLED
 *            |  ^  '--recall--> RECALLED                      ^
 *            |  '--requeue------------------.                 |
 *            '--reject, attempts used up,   |                 |
 *               expired --------------------+-> DEAD --drop---'
 *
 *   from      by                   to
 *   PENDING   ack                  SETTLED
 *   PENDING   recall               RECALLED    only where it was never given out
 *   PENDING   nack, release        PENDING     attempts + 1, backoff; at the last attempt DEAD
 *   PENDING   reject, expire       DEAD        moves to a record of its own
 *   DEAD      requeue              PENDING     stays in that record
 *   DEAD      drop                 SETTLED */
#include "hub/core/core_internal.h"

#define BACKOFF_MAX_US (300 * CORE_SECOND_US)
#define RELEASE_BACKOFF_US (CORE_SECOND_US / 10) /* a lost session is no fault of the event: another one waits */
#define RELEASE_BACKOFF_MAX_US (10 * CORE_SECOND_US)

static truc_error posting_effect(struct hub_effects *effects, enum hub_effect_kind kind,
                                 const struct core_agency *agency, const struct hub_posting *posting)
{
    struct hub_effect *effect;
    truc_error error = core_effect(effects, kind, agency->pub.number, &effect);
    if (error == TRUC_OK) {
        effect->number = posting->number;
        effect->sequence = posting->sequence;
        effect->leaf_index = posting->leaf_index;
        effect->index = posting->index;
        effect->size = posting->size;
        effect->subject = posting->subject;
        effect->not_before_us = posting->not_before_us;
    }
    return error;
}

truc_error core_inbox_post(struct hub_core *core, struct core_agency *agency, const struct core_post *post,
                           struct hub_effects *effects)
{
    const struct hub_parameters *parameters = &core->parameters;
    const struct hub_grant *grant = post->grant == CORE_NO_GRANT ? NULL : &core->registry.grants[post->grant].pub;
    int64_t deadline_us = core->accepted_at_us + (int64_t)parameters->inbox_age_s * CORE_SECOND_US;
    const struct block_series *series = &agency->postings;
    struct core_posting posting = {
        .cause = post->cause,
        .pub = {
            .number = agency->pub.next_number,
            .sequence = post->sequence,
            .previous_sequence = agency->last_sequence,
            .leaf_index = post->leaf_index,
            .subject = post->subject,
            .index = post->index,
            .size = post->size,
            .state = HUB_POSTING_PENDING,
            .replay = post->replay,
            .receipt_wanted = grant != NULL && grant->delivery_receipts,
            .skip = grant != NULL && grant->skip_dead_letters,
            .hold_s = grant != NULL && grant->hold_s != 0 ? grant->hold_s : parameters->hold_s,
            .max_attempts = grant != NULL && grant->max_attempts != 0 ? grant->max_attempts : parameters->max_attempts,
            .expires_us =
                post->expires_us != HUB_TIME_NONE && post->expires_us < deadline_us ? post->expires_us : deadline_us,
            .since_us = core->accepted_at_us,
        }};
    uint8_t *to;
    truc_error error = block_edit(&core->map, series, &agency->tail, posting.pub.number - 1, &to);
    if (error != TRUC_OK) {
        return error;
    }
    core_posting_store(to, &posting);
    agency->pub.next_number++;
    agency->pub.pending++;
    agency->last_sequence = post->sequence;
    agency->head_dirty = true;
    return posting_effect(effects, HUB_EFFECT_POSTED, agency, &posting.pub);
}

/* Writes the number's record in its block; with state MOVED where it lies in its own. */
static truc_error save_in_block(struct hub_core *core, struct core_agency *agency, const struct core_posting *posting,
                                uint8_t state)
{
    const struct block_series *series = &agency->postings;
    uint8_t *to;
    truc_error error = block_edit(&core->map, series, &agency->hand, posting->pub.number - 1, &to);
    if (error == TRUC_OK) {
        struct core_posting copy = *posting;
        copy.pub.state = (enum hub_posting_state)state;
        core_posting_store(to, &copy);
    }
    return error;
}

static truc_error save(struct hub_core *core, struct core_agency *agency, const struct core_posting *posting)
{
    if (!posting->exception) {
        return save_in_block(core, agency, posting, (uint8_t)posting->pub.state);
    }
    struct map_key key = core_posting_key(CORE_EXCEPTION, agency->pub.number, posting->pub.number);
    uint8_t value[CORE_POSTING_SIZE];
    core_posting_store(value, posting);
    size_t at = core_exception_at(agency, posting->pub.number);
    agency->exceptions[at] = posting->pub.number << 1 | (posting->pub.state == HUB_POSTING_DEAD);
    return map_put(&core->map, &key, truc_bytes(value, sizeof value));
}

/* Gives the posting a record of its own. */
static truc_error move_out(struct hub_core *core, struct core_agency *agency, struct core_posting *posting)
{
    truc_error error = save_in_block(core, agency, posting, CORE_POSTING_MOVED);
    if (error == TRUC_OK) {
        error = core_grow((void **)&agency->exceptions, agency->exception_count, &agency->exception_capacity,
                          sizeof *agency->exceptions);
    }
    if (error != TRUC_OK) {
        return error;
    }
    size_t at = core_exception_at(agency, posting->pub.number);
    memmove(&agency->exceptions[at + 1], &agency->exceptions[at],
            (agency->exception_count - at) * sizeof *agency->exceptions);
    agency->exceptions[at] = posting->pub.number << 1;
    agency->exception_count++;
    posting->exception = true;
    return TRUC_OK;
}

/* Takes the posting's own record away; its place in the block, where that still is, gets the final state. */
static truc_error move_back(struct hub_core *core, struct core_agency *agency, const struct core_posting *posting)
{
    struct map_key key = core_posting_key(CORE_EXCEPTION, agency->pub.number, posting->pub.number);
    size_t at = core_exception_at(agency, posting->pub.number);
    agency->exception_count--;
    memmove(&agency->exceptions[at], &agency->exceptions[at + 1],
            (agency->exception_count - at) * sizeof *agency->exceptions);
    truc_error error = map_delete(&core->map, &key);
    if (error == TRUC_OK && (posting->pub.number - 1) / BLOCK_RECORDS >= agency->pub.floor / BLOCK_RECORDS) {
        error = save_in_block(core, agency, posting, (uint8_t)posting->pub.state);
    }
    return error;
}

/* Moves the floor over everything that is not pending in its block, and deletes blocks that fall below it. */
static truc_error advance_floor(struct hub_core *core, struct core_agency *agency, uint64_t changed)
{
    const struct block_series *series = &agency->postings;
    agency->head_dirty = true;
    if (changed != agency->pub.floor + 1) {
        return TRUC_OK;
    }
    while (agency->pub.floor + 1 < agency->pub.next_number) {
        const uint8_t *from;
        struct core_posting posting;
        truc_error error = block_read(&core->map, series, &agency->hand, agency->pub.floor, &from);
        if (error == TRUC_OK) {
            error = core_posting_load(from, &posting);
        }
        if (error != TRUC_OK) {
            return error == TRUC_E_NOT_FOUND ? TRUC_E_CORRUPT : error;
        }
        if (posting.pub.state == HUB_POSTING_PENDING) {
            break;
        }
        agency->pub.floor++;
        if (agency->pub.floor % BLOCK_RECORDS == 0) {
            error = block_delete(&core->map, series, agency->pub.floor / BLOCK_RECORDS - 1);
            if (error != TRUC_OK) {
                return error;
            }
        }
    }
    return TRUC_OK;
}

static truc_error drop_note(struct hub_core *core, const struct core_agency *agency, struct core_posting *posting)
{
    struct map_key key = core_posting_key(CORE_NOTE, agency->pub.number, posting->pub.number);
    if (!posting->has_note) {
        return TRUC_OK;
    }
    posting->has_note = false;
    return map_delete(&core->map, &key);
}

/* The end: acked, dropped, recalled. */
static truc_error finish(struct hub_core *core, struct core_agency *agency, struct core_posting *posting,
                         enum hub_posting_state state, struct hub_effects *effects)
{
    uint64_t *count = posting->pub.state == HUB_POSTING_DEAD ? &agency->pub.dead : &agency->pub.pending;
    (*count)--;
    posting->pub.state = state;
    posting->pub.not_before_us = 0;
    truc_error error = drop_note(core, agency, posting);
    if (error == TRUC_OK) {
        error = posting->exception ? move_back(core, agency, posting) : save(core, agency, posting);
    }
    if (error == TRUC_OK) {
        error = posting_effect(effects, state == HUB_POSTING_RECALLED ? HUB_EFFECT_RECALLED : HUB_EFFECT_SETTLED,
                               agency, &posting->pub);
    }
    return error == TRUC_OK ? advance_floor(core, agency, posting->pub.number) : error;
}

static truc_error die(struct hub_core *core, struct core_agency *agency, struct core_posting *posting, uint8_t reason,
                      struct hub_effects *effects)
{
    struct hub_posting *pub = &posting->pub;
    /* An event without subject holds nothing back. */
    bool holds = !pub->skip && pub->subject != 0;
    truc_error error = posting->exception ? TRUC_OK : move_out(core, agency, posting);
    if (error != TRUC_OK) {
        return error;
    }
    agency->pub.pending--;
    agency->pub.dead++;
    pub->state = HUB_POSTING_DEAD;
    pub->reason = reason;
    pub->since_us = core->accepted_at_us;
    pub->not_before_us = holds ? core->accepted_at_us + (int64_t)pub->hold_s * CORE_SECOND_US : 0;
    error = save(core, agency, posting);
    if (error == TRUC_OK) {
        error = posting_effect(effects, HUB_EFFECT_DEAD, agency, pub);
    }
    return error == TRUC_OK ? advance_floor(core, agency, pub->number) : error;
}

/* Back to wait, or to the dead letters when that was the last attempt. */
static truc_error give_back(struct hub_core *core, struct core_agency *agency, struct core_posting *posting,
                            int64_t delay_us, struct hub_effects *effects)
{
    struct hub_posting *pub = &posting->pub;
    if (pub->attempts >= pub->max_attempts) {
        return die(core, agency, posting, 0, effects);
    }
    pub->not_before_us = core->accepted_at_us + delay_us;
    truc_error error = save(core, agency, posting);
    return error == TRUC_OK ? posting_effect(effects, HUB_EFFECT_RETURNED, agency, pub) : error;
}

/* base, 2 base, 4 base ... up to `most`. */
static int64_t backoff(int64_t base, uint32_t doublings, int64_t most)
{
    int64_t delay = base;
    while (doublings-- > 0 && delay < most) {
        delay *= 2;
    }
    return delay < most ? delay : most;
}

static truc_error keep_note(struct hub_core *core, const struct core_agency *agency, struct core_posting *posting,
                            struct truc_bytes note)
{
    struct map_key key = core_posting_key(CORE_NOTE, agency->pub.number, posting->pub.number);
    if (note.size == 0) {
        return drop_note(core, agency, posting);
    }
    note.size = note.size < CORE_NOTE_MAX ? note.size : CORE_NOTE_MAX;
    posting->has_note = true;
    return map_put(&core->map, &key, note);
}

truc_error core_inbox_nack(struct hub_core *core, const struct hub_input *input, struct hub_effects *effects)
{
    struct core_agency *agency = core_agency_of(core, truc_bytes_of(input->agency));
    struct core_posting posting;
    if (agency == NULL) {
        return TRUC_E_INVALID;
    }
    truc_error error = core_inbox_load(core, agency, input->u.nack.number, &posting);
    if (error == TRUC_E_NOT_FOUND || (error == TRUC_OK && posting.pub.state != HUB_POSTING_PENDING)) {
        return TRUC_OK; /* settled, dead or recalled in the meantime: nothing is left to give back */
    }
    if (error == TRUC_OK) {
        error = keep_note(core, agency, &posting, input->u.nack.note);
    }
    if (error != TRUC_OK) {
        return error;
    }
    posting.pub.attempts++;
    if (input->u.nack.reject) {
        return die(core, agency, &posting, 0, effects);
    }
    int64_t delay_us = input->u.nack.delay_ms != 0 ? (int64_t)input->u.nack.delay_ms * 1000
                                                   : backoff(CORE_SECOND_US, posting.pub.attempts, BACKOFF_MAX_US);
    return give_back(core, agency, &posting, delay_us, effects);
}

/* What one number of an ACK, RELEASE or EXPIRE range undergoes. */
static truc_error change_one(struct hub_core *core, struct core_agency *agency, enum hub_input_kind kind,
                             uint64_t number, struct hub_effects *effects)
{
    struct core_posting posting;
    truc_error error = core_inbox_load(core, agency, number, &posting);
    if (error == TRUC_E_NOT_FOUND || (error == TRUC_OK && posting.pub.state != HUB_POSTING_PENDING)) {
        return TRUC_OK;
    }
    if (error != TRUC_OK) {
        return error;
    }
    if (kind == HUB_INPUT_ACK) {
        return finish(core, agency, &posting, HUB_POSTING_SETTLED, effects);
    }
    if (kind == HUB_INPUT_RELEASE) {
        posting.pub.attempts++;
        return give_back(core, agency, &posting,
                         backoff(RELEASE_BACKOFF_US, posting.pub.attempts - 1, RELEASE_BACKOFF_MAX_US), effects);
    }
    /* EXPIRE was only a proposal; whoever made it holds the entry until told. */
    return posting.pub.expires_us <= core->accepted_at_us
               ? die(core, agency, &posting, TRUC_EXPIRED, effects)
               : posting_effect(effects, HUB_EFFECT_RETURNED, agency, &posting.pub);
}

static truc_error change_range(struct hub_core *core, struct core_agency *agency, enum hub_input_kind kind,
                               struct hub_range range, struct hub_effects *effects)
{
    uint64_t number = range.first;
    uint64_t end = range.count > UINT64_MAX - range.first ? UINT64_MAX : range.first + range.count;
    truc_error error = TRUC_OK;
    end = end < agency->pub.next_number ? end : agency->pub.next_number;
    while (error == TRUC_OK && number < end) {
        if (number <= agency->pub.floor) {
            /* Below the floor only exceptions are left: go from one to the next. */
            size_t at = core_exception_at(agency, number);
            uint64_t next = at < agency->exception_count ? agency->exceptions[at] >> 1 : UINT64_MAX;
            number = next <= agency->pub.floor ? next : agency->pub.floor + 1;
        }
        if (number < end) {
            error = change_one(core, agency, kind, number++, effects);
        }
    }
    return error;
}

truc_error core_inbox_ranges(struct hub_core *core, const struct hub_input *input, struct hub_effects *effects)
{
    struct core_agency *agency = core_agency_of(core, truc_bytes_of(input->agency));
    truc_error error = agency == NULL ? TRUC_E_INVALID : TRUC_OK;
    for (size_t i = 0; error == TRUC_OK && i < input->u.ranges.count; i++) {
        error = change_range(core, agency, input->kind, input->u.ranges.ranges[i], effects);
    }
    return error;
}

static truc_error load_dead(struct hub_core *core, const struct core_agency *agency, uint64_t number,
                            struct core_posting *out)
{
    truc_error error = core_inbox_load(core, agency, number, out);
    return error == TRUC_OK && out->pub.state != HUB_POSTING_DEAD ? TRUC_E_NOT_FOUND : error;
}

truc_error core_inbox_requeue(struct hub_core *core, struct core_agency *agency, uint64_t number,
                              struct hub_effects *effects)
{
    struct core_posting posting;
    struct hub_posting *pub = &posting.pub;
    truc_error error = load_dead(core, agency, number, &posting);
    if (error != TRUC_OK) {
        return error;
    }
    agency->pub.dead--;
    agency->pub.pending++;
    agency->head_dirty = true;
    pub->state = HUB_POSTING_PENDING;
    pub->reason = 0;
    pub->attempts = 0;
    pub->not_before_us = 0;
    pub->since_us = core->accepted_at_us;
    pub->requeued = true;
    if (pub->expires_us <= core->accepted_at_us) {
        pub->expires_us = core->accepted_at_us + (int64_t)core->parameters.inbox_age_s * CORE_SECOND_US;
    }
    error = save(core, agency, &posting);
    return error == TRUC_OK ? posting_effect(effects, HUB_EFFECT_REQUEUED, agency, pub) : error;
}

truc_error core_inbox_drop(struct hub_core *core, struct core_agency *agency, uint64_t number,
                           struct hub_effects *effects)
{
    struct core_posting posting;
    truc_error error = load_dead(core, agency, number, &posting);
    return error == TRUC_OK ? finish(core, agency, &posting, HUB_POSTING_SETTLED, effects) : error;
}

truc_error core_inbox_recall(struct hub_core *core, struct core_agency *agency, uint64_t sequence,
                             struct hub_effects *effects)
{
    struct core_posting posting;
    if (agency->pub.pending == 0) {
        return TRUC_E_NOT_FOUND; /* a recall from everybody asks everybody */
    }
    truc_error error = core_inbox_find(core, agency, sequence, &posting);
    if (error == TRUC_OK &&
        (posting.pub.state != HUB_POSTING_PENDING || posting.pub.attempts > 0 || posting.pub.requeued)) {
        error = TRUC_E_NOT_FOUND; /* it has been handed out: nobody can take that back */
    }
    if (error == TRUC_OK) {
        /* The posting is forgotten some day; that the agency must not see the event is not. */
        struct map_key key = core_posting_key(CORE_RECALLED, agency->pub.number, sequence);
        const uint8_t recalled = 1;
        error = map_put(&core->map, &key, truc_bytes(&recalled, 1));
    }
    return error == TRUC_OK ? finish(core, agency, &posting, HUB_POSTING_RECALLED, effects) : error;
}

void core_inbox_boot(struct hub_core *core)
{
    for (uint32_t i = 0; i < core->registry.agency_count; i++) {
        struct core_agency *agency = core->registry.agencies[i];
        agency->pub.boot_number = agency->pub.next_number;
        agency->head_dirty = true;
    }
}
