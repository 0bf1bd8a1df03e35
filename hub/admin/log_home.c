#include "hub/admin/log_home.h"

#include "hub/admin/act_words.h"

static truc_error memory_get(void *context, struct truc_bytes key, struct truc_bytes *value)
{
    (void)context;
    (void)key;
    (void)value;
    return TRUC_E_NOT_FOUND;
}

static truc_error memory_scan(void *context, struct truc_bytes prefix,
                              truc_error (*each)(void *each_context, struct truc_bytes key, struct truc_bytes value),
                              void *each_context)
{
    (void)context;
    (void)prefix;
    (void)each;
    (void)each_context;
    return TRUC_OK;
}

struct hub_port admin_memory_port(void)
{
    return (struct hub_port){.get = memory_get, .scan = memory_scan};
}

enum admin_exit admin_log_explain(struct admin_log *log, truc_error error, const char *doing)
{
    if (error == TRUC_E_CORRUPT || error == TRUC_E_INVALID || error == TRUC_E_UNSUPPORTED) {
        return admin_fail(log->call, ADMIN_DAMAGED, "%s: %s. Run `truc log verify --home %s`: it says what is damaged",
                          doing, truc_error_string(error), log->home.path);
    }
    return admin_fail(log->call, admin_exit_of(error), "%s: %s", doing, truc_error_string(error));
}

truc_error admin_log_follow(struct admin_log *log)
{
    struct hub_row_header header;
    struct hub_input input;
    struct truc_bytes row;
    hub_journal_reader_reset(log->reader); /* a new snapshot: rows of a running hub show */
    for (;;) {
        uint64_t at = hub_core_applied(log->core);
        truc_error error = hub_journal_get(log->reader, at, &row);
        if (error == TRUC_E_NOT_FOUND) {
            return TRUC_OK;
        }
        error = error != TRUC_OK ? error : hub_row_reader_start(log->rows, row, true, &header);
        error = error != TRUC_OK ? error : hub_core_begin_row(log->core, at, header.accepted_at_us);
        while (error == TRUC_OK && (error = hub_row_reader_next(log->rows, &input)) == TRUC_OK) {
            error = hub_core_apply(log->core, &input, &log->effects);
        }
        if (error != TRUC_E_NOT_FOUND) {
            return error;
        }
        error = hub_core_end_row(log->core, &log->effects);
        hub_effects_clear(&log->effects);
        if (error != TRUC_OK) {
            return error;
        }
    }
}

/* The state is only a help: without it, or with a damaged one, everything is made again from the journal. */
static truc_error open_core(struct admin_log *log, const char *data)
{
    char why[256] = "";
    struct hub_port port = admin_memory_port();
    truc_error error = hub_state_open(data, (uint64_t)log->home.settings.state_bytes, false, true, &log->state, why);
    if (error == TRUC_OK) {
        port = hub_state_port(log->state);
        error = hub_core_new(&port, &log->core);
    }
    if (error == TRUC_OK && hub_core_applied(log->core) <= hub_journal_rows(log->journal)) {
        return TRUC_OK;
    }
    /* A hub that never ran has no state: nothing to remark. */
    bool remark = error != TRUC_E_NOT_FOUND;
    if (remark) {
        fprintf(stderr, "truc: the state in %s is not used (%s%s%s); the whole log is read instead\n", data,
                error == TRUC_OK ? "it is ahead of the journal" : truc_error_string(error), why[0] == '\0' ? "" : ": ",
                why);
    }
    hub_core_free(&log->core);
    hub_state_close(&log->state);
    port = admin_memory_port();
    return hub_core_new(&port, &log->core);
}

static enum admin_exit open_parts(struct admin_log *log, const char *data, const char *slots)
{
    char why[256] = "";
    truc_error error =
        hub_journal_open(data, (uint64_t)log->home.settings.journal_bytes, false, true, &log->journal, why);
    if (error != TRUC_OK) {
        return admin_fail(log->call, admin_exit_of(error), "the journal in %s cannot be opened: %s%s%s", data,
                          truc_error_string(error), why[0] == '\0' ? "" : ": ", why);
    }
    error = hub_slots_open(slots, false, true, &log->slots);
    if (error != TRUC_OK) {
        return admin_fail(log->call, admin_exit_of(error), "the content keys %s cannot be opened: %s", slots,
                          truc_error_string(error));
    }
    error = hub_journal_reader_new(log->journal, &log->reader);
    error = error != TRUC_OK ? error : hub_row_reader_new(&log->rows);
    error = error != TRUC_OK ? error : truc_aead_new(&log->aead);
    error = error != TRUC_OK ? error : open_core(log, data);
    error = error != TRUC_OK ? error : admin_log_follow(log);
    return error == TRUC_OK ? ADMIN_OK : admin_log_explain(log, error, "reading the journal");
}

enum admin_exit admin_log_open(const struct admin_call *call, struct admin_log *out)
{
    const char *home = admin_text(call, "home");
    struct truc_buffer why = {0};
    memset(out, 0, sizeof(*out));
    out->call = call;
    truc_error error = hub_home_open(home, &out->home, &why);
    if (error != TRUC_OK) {
        admin_fail(call, ADMIN_USAGE, "%s is not a hub's home (truc init makes one) that this user can read: %s", home,
                   truc_error_string(error));
        fwrite(why.data, 1, why.size, stderr);
        truc_buffer_close(&why);
        return ADMIN_USAGE;
    }
    truc_buffer_close(&why);
    char *data = hub_home_file(home, "data"), *slots = hub_home_file(home, "data/keys.slots");
    admin_must(data != NULL && slots != NULL);
    enum admin_exit exit_code = open_parts(out, data, slots);
    free(data);
    free(slots);
    if (exit_code != ADMIN_OK) {
        admin_log_close(out);
    }
    return exit_code;
}

void admin_log_close(struct admin_log *log)
{
    hub_core_free(&log->core);
    hub_state_close(&log->state);
    hub_effects_close(&log->effects);
    truc_buffer_close(&log->leaf_bytes);
    truc_aead_free(&log->aead);
    hub_row_reader_free(&log->rows);
    hub_journal_reader_free(&log->reader);
    hub_slots_close(&log->slots);
    hub_journal_close(&log->journal);
    hub_home_close(&log->home);
    memset(log, 0, sizeof(*log));
}

truc_error admin_log_refresh(struct admin_log *log)
{
    if (log->state == NULL) {
        return TRUC_OK;
    }
    hub_core_free(&log->core);
    truc_error error = hub_state_refresh(log->state);
    struct hub_port port = hub_state_port(log->state);
    return error == TRUC_OK ? hub_core_new(&port, &log->core) : error;
}

/* ---- walking --------------------------------------------------------------------------------------------------------
 */

enum admin_exit admin_log_filter_read(const struct admin_call *call, struct admin_log_filter *out,
                                      char agency[TRUC_AGENCY_MAX + 1])
{
    enum admin_exit exit_code = ADMIN_OK;
    const struct admin_value *since = admin_value(call, "since"), *until = admin_value(call, "until");
    const char *subject = admin_text(call, "subject");
    *out = (struct admin_log_filter){.from = admin_number(call, "from", 1),
                                     .to = admin_number(call, "to", 0),
                                     .has_since = since->given,
                                     .has_until = until->given,
                                     .since_us = since->time_us,
                                     .until_us = until->time_us,
                                     .type = admin_text(call, "type"),
                                     .subject = subject == NULL ? 0 : truc_subject_hash(truc_bytes_of(subject))};
    if (admin_text(call, "agency") != NULL) {
        out->agency = agency;
        exit_code = admin_agency(call, admin_text(call, "agency"), agency);
    }
    if (exit_code == ADMIN_OK && out->type != NULL) {
        exit_code = admin_pattern(call, out->type);
    }
    if (exit_code == ADMIN_OK && out->to != 0 && out->to < out->from) {
        exit_code = admin_fail(call, ADMIN_USAGE, "--to is before --from");
    }
    if (exit_code == ADMIN_OK && out->has_since && out->has_until && out->until_us <= out->since_us) {
        exit_code = admin_fail(call, ADMIN_USAGE, "--until is not after --since");
    }
    return exit_code;
}

static truc_error read_leaf(struct admin_log *log, uint64_t leaf_index, struct truc_leaf *out)
{
    truc_buffer_clear(&log->leaf_bytes);
    truc_error error = hub_core_leaf(log->core, leaf_index, &log->leaf_bytes);
    if (error == TRUC_OK) {
        error = truc_leaf_parse(truc_buffer_view(&log->leaf_bytes), out);
    }
    /* Below the tree's size every leaf must be there and be well formed. */
    return error == TRUC_E_NOT_FOUND || error == TRUC_E_MALFORMED ? TRUC_E_CORRUPT : error;
}

/* The first leaf that may hold events of the filter: accepted_at never goes back, so halves can be thrown away. */
static truc_error first_leaf(struct admin_log *log, const struct admin_log_filter *filter, struct truc_leaf *scratch,
                             uint64_t *out)
{
    struct hub_leaf_place place = {0};
    uint64_t low = 0, high = hub_core_tree_size(log->core);
    if (filter->from > 1) {
        truc_error error = hub_core_sequence_place(log->core, filter->from, &place);
        if (error == TRUC_E_NOT_FOUND) {
            *out = high;
            return TRUC_OK;
        }
        if (error != TRUC_OK) {
            return error;
        }
        low = place.leaf_index;
    }
    while (filter->has_since && low < high) {
        uint64_t middle = low + (high - low) / 2;
        truc_error error = read_leaf(log, middle, scratch);
        if (error != TRUC_OK) {
            return error;
        }
        if (scratch->accepted_at_us < filter->since_us) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    *out = low;
    return TRUC_OK;
}

static bool matches(const struct admin_log_filter *filter, uint64_t sequence, const struct hub_event_facts *facts)
{
    return sequence >= filter->from && (filter->to == 0 || sequence <= filter->to) &&
           (filter->type == NULL || truc_type_matches(truc_bytes_of(filter->type), facts->type)) &&
           (filter->subject == 0 || filter->subject == facts->subject);
}

/* The seal of a leaf, as the row reader has it. */
static truc_error read_seal(struct admin_log *log, uint64_t leaf_index, struct hub_leaf_place *place,
                            struct hub_input *input)
{
    struct truc_bytes row;
    truc_error error = hub_core_leaf_place(log->core, leaf_index, place);
    error = error != TRUC_OK ? error : hub_journal_get(log->reader, place->row, &row);
    error = error != TRUC_OK ? error : hub_row_reader_at(log->rows, row, place->offset, input);
    if (error == TRUC_OK && (input->kind != HUB_INPUT_SEAL || input->u.seal.seal.count != place->count)) {
        error = TRUC_E_CORRUPT;
    }
    return error == TRUC_E_NOT_FOUND ? TRUC_E_CORRUPT : error;
}

static truc_error walk_leaf(struct admin_log *log, const struct admin_log_filter *filter, uint64_t leaf_index,
                            const struct truc_leaf *leaf, admin_log_fn each, void *context)
{
    struct hub_leaf_place place;
    struct hub_input input;
    truc_error error = read_seal(log, leaf_index, &place, &input);
    if (error == TRUC_OK && input.u.seal.seal.count != leaf->count) {
        error = TRUC_E_CORRUPT;
    }
    if (error != TRUC_OK || (filter->agency != NULL && strcmp(filter->agency, input.u.seal.seal.sender) != 0)) {
        return error;
    }
    for (uint32_t i = 0; error == TRUC_OK && i < leaf->count; i++) {
        const struct admin_log_event event = {.sequence = leaf->first_sequence + i,
                                              .leaf_index = leaf_index,
                                              .row = place.row,
                                              .index = i,
                                              .accepted_at_us = leaf->accepted_at_us,
                                              .seal = &input.u.seal.seal,
                                              .facts = &input.u.seal.events[i],
                                              .outcome = leaf->outcomes[i]};
        if (matches(filter, event.sequence, event.facts)) {
            error = each(context, log, &event);
        }
    }
    return error;
}

truc_error admin_log_walk(struct admin_log *log, const struct admin_log_filter *filter, admin_log_fn each,
                          void *context)
{
    uint64_t at = 0;
    struct truc_leaf *leaf = malloc(sizeof(*leaf));
    truc_error error = leaf == NULL ? TRUC_E_NOMEM : first_leaf(log, filter, leaf, &at);
    for (; error == TRUC_OK && at < hub_core_tree_size(log->core); at++) {
        error = read_leaf(log, at, leaf);
        if (error == TRUC_OK && ((filter->to != 0 && leaf->first_sequence > filter->to) ||
                                 (filter->has_until && leaf->accepted_at_us >= filter->until_us))) {
            break;
        }
        error = error == TRUC_OK ? walk_leaf(log, filter, at, leaf, each, context) : error;
    }
    free(leaf);
    return error;
}

truc_error admin_log_content(struct admin_log *log, const struct admin_log_event *event, struct truc_buffer *out)
{
    return hub_row_reader_content(log->rows, event->index, log->aead, log->slots, out);
}

void admin_outcome_text(const struct truc_outcome *outcome, char out[64])
{
    if (outcome->code == TRUC_OUTCOME_DUPLICATE) {
        snprintf(out, 64, "duplicate of %llu", (unsigned long long)outcome->duplicate_of);
    } else {
        snprintf(out, 64, "%s", outcome->code == TRUC_OUTCOME_ACCEPTED ? "accepted" : truc_reason_name(outcome->code));
    }
}

/* Governance in words; a duplicate changed nothing, a refused act neither. */
static void add_act(json_t *row, const struct admin_log_event *event)
{
    const struct hub_governance *act = event->facts->governance;
    struct truc_buffer words = {0};
    if (act == NULL) {
        return;
    }
    admin_act_words(event->seal->sender, act, event->outcome.code == TRUC_OUTCOME_ACCEPTED, &words);
    admin_must(json_object_set_new(row, "act", json_string(admin_act_name(act->act))) == 0 &&
               json_object_set_new(row, "concerns", admin_json_text(admin_act_concerns(act))) == 0 &&
               json_object_set_new(row, "reason", admin_json_text(act->reason)) == 0 &&
               json_object_set_new(row, "words", admin_json_text(truc_buffer_view(&words))) == 0);
    truc_buffer_close(&words);
}

json_t *admin_log_row(const struct admin_log_event *event)
{
    char outcome[64], subject[17] = "", hash[2 * TRUC_HASH_SIZE + 1];
    admin_outcome_text(&event->outcome, outcome);
    if (event->facts->subject != 0) {
        snprintf(subject, sizeof(subject), "%016llx", (unsigned long long)event->facts->subject);
    }
    truc_hex(truc_bytes(event->facts->leaf_hash.bytes, TRUC_HASH_SIZE), hash);
    json_t *row = json_pack("{s:I, s:I, s:I, s:o, s:s, s:o, s:o, s:s, s:I, s:s, s:s}", "sequence",
                            (json_int_t)event->sequence, "leaf", (json_int_t)event->leaf_index, "index",
                            (json_int_t)event->index, "accepted_at", admin_json_time(event->accepted_at_us), "sender",
                            event->seal->sender, "type", admin_json_text(event->facts->type), "recipients",
                            admin_json_text(event->facts->recipients), "subject_hash", subject, "bytes",
                            (json_int_t)event->facts->size, "event_hash", hash, "outcome", outcome);
    admin_must(row != NULL);
    add_act(row, event);
    return row;
}

/* ---- evidence -------------------------------------------------------------------------------------------------------
 */

/* A note that covers the leaf and is of this log. */
static bool covers(struct admin_log *log, struct truc_bytes note, uint64_t leaf_index, struct truc_checkpoint *out)
{
    struct truc_note_verifier verifier;
    if (truc_note_verifier_parse(truc_bytes_of(hub_core_note_key(log->core)), &verifier) != TRUC_OK) {
        return false;
    }
    truc_error error = truc_checkpoint_open(note, &verifier, out);
    truc_note_verifier_close(&verifier);
    return error == TRUC_OK && out->size > leaf_index && out->size <= hub_core_tree_size(log->core);
}

/* Checkpoints are only taken as the hub signed them. Signing here would be wrong: what this process sees of a running
 * hub's journal may not be synced yet, and a checkpoint over it could make two trees. */
static truc_error find_checkpoint(struct admin_log *log, uint64_t leaf_index, struct truc_buffer *note,
                                  struct truc_checkpoint *out)
{
    struct hub_row_header header;
    struct hub_input input;
    struct truc_bytes row;
    struct hub_leaf_place place;
    truc_error error;
    if (log->state != NULL && hub_state_noted(log->state, "checkpoint", note) == TRUC_OK &&
        covers(log, truc_buffer_view(note), leaf_index, out)) {
        return TRUC_OK;
    }
    error = hub_core_leaf_place(log->core, leaf_index, &place);
    for (uint64_t at = hub_core_applied(log->core); error == TRUC_OK && at > place.row; at--) {
        error = hub_journal_get(log->reader, at - 1, &row);
        error = error != TRUC_OK ? error : hub_row_reader_start(log->rows, row, true, &header);
        while (error == TRUC_OK && (error = hub_row_reader_next(log->rows, &input)) == TRUC_OK) {
            if (input.kind == HUB_INPUT_CHECKPOINT && covers(log, input.u.checkpoint.note, leaf_index, out)) {
                truc_buffer_clear(note);
                return truc_buffer_append(note, input.u.checkpoint.note.data, input.u.checkpoint.note.size);
            }
        }
        error = error == TRUC_E_NOT_FOUND ? TRUC_OK : error;
    }
    return error == TRUC_OK ? TRUC_E_AGAIN : error;
}

static truc_error prove_event(struct admin_log *log, uint64_t leaf_index, uint64_t sequence, struct truc_evidence *out)
{
    struct hub_leaf_place place;
    struct hub_input input;
    struct truc_hash hashes[TRUC_SEAL_EVENTS_MAX];
    truc_error error = read_seal(log, leaf_index, &place, &input);
    if (error != TRUC_OK) {
        return error;
    }
    const struct hub_seal_input *seal = &input.u.seal;
    if (sequence < place.first_sequence || sequence - place.first_sequence >= seal->seal.count) {
        return TRUC_E_CORRUPT;
    }
    out->index = (uint32_t)(sequence - place.first_sequence);
    out->event_hash = seal->events[out->index].leaf_hash;
    for (uint32_t i = 0; i < seal->seal.count; i++) {
        hashes[i] = seal->events[i].leaf_hash;
    }
    error = truc_buffer_append(&out->envelope, seal->envelope.data, seal->envelope.size);
    if (error == TRUC_OK) {
        error = truc_inclusion_path_of(hashes, seal->seal.count, out->index, out->path, &out->path_count);
    }
    if (error == TRUC_OK) {
        error = hub_row_reader_content(log->rows, out->index, log->aead, log->slots, &out->event);
        error = error == TRUC_E_NOT_FOUND ? TRUC_OK : error; /* erased: its hash stands for it */
    }
    return error == TRUC_OK ? hub_core_leaf(log->core, leaf_index, &out->leaf) : error;
}

truc_error admin_log_evidence(struct admin_log *log, uint64_t sequence, struct truc_evidence *out)
{
    struct hub_leaf_place place;
    struct truc_checkpoint checkpoint;
    struct truc_buffer note = {0};
    struct truc_tlog_proof proof = {0};
    memset(out, 0, sizeof(*out));
    truc_error error = hub_core_sequence_place(log->core, sequence, &place);
    error = error != TRUC_OK ? error : prove_event(log, place.leaf_index, sequence, out);
    if (error == TRUC_OK) {
        error = find_checkpoint(log, place.leaf_index, &note, &checkpoint);
    }
    if (error == TRUC_OK) {
        proof.index = place.leaf_index;
        proof.checkpoint = truc_buffer_view(&note);
        error =
            truc_inclusion_path(hub_core_node, log->core, place.leaf_index, checkpoint.size, proof.path, &proof.count);
    }
    error = error != TRUC_OK ? error : truc_tlog_proof_text(&proof, &out->proof);
    truc_buffer_close(&note);
    return error;
}
