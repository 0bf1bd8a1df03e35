/* truc verify FILE: one evidence file, offline. It tells what the file proves: who, when, what, and the hub's decision.
 */
#include "hub/admin/table.h"
#include "truc/config.h"
#include "truc/evidence.h"

#include <errno.h>
#include <unistd.h>

/* The note key as text, or the file that holds it. */
static enum admin_exit read_note_key(const struct admin_call *call, struct truc_note_verifier *out)
{
    struct truc_buffer text = {0};
    const char *given = admin_text(call, "note-key");
    if (access(given, F_OK) == 0) {
        if (truc_file_read(given, TRUC_NOTE_MAX, &text) != TRUC_OK) {
            truc_buffer_close(&text);
            return admin_fail(call, ADMIN_USAGE, "the note key %s cannot be read: %s", given, strerror(errno));
        }
    } else {
        admin_must(truc_buffer_append(&text, given, strlen(given)) == TRUC_OK);
    }
    while (text.size > 0 && (text.data[text.size - 1] == '\n' || text.data[text.size - 1] == '\r')) {
        text.size--;
    }
    truc_error error = truc_note_verifier_parse(truc_buffer_view(&text), out);
    truc_buffer_close(&text);
    return error == TRUC_OK ? ADMIN_OK
                            : admin_fail(call, ADMIN_USAGE,
                                         "--note-key is neither a file nor a key of the form NAME+8 hex digits+base64 "
                                         "(the hub's administrator publishes it; it is in note.key)");
}

/* Of the given keys, the one that the seal names. Which key is the agency's is the caller's knowledge, not the file's.
 */
static enum admin_exit choose_key(const struct admin_call *call, const char *keyid, struct truc_key **out)
{
    const struct admin_value *paths = admin_value(call, "agency-key");
    *out = NULL;
    for (size_t i = 0; i < paths->count; i++) {
        struct truc_key *key = NULL;
        truc_error error = truc_key_load(paths->items[i], &key);
        if (error != TRUC_OK) {
            truc_key_free(out);
            return admin_fail(call, ADMIN_USAGE, "the key %s cannot be read: %s%s%s", paths->items[i],
                              truc_error_string(error), error == TRUC_E_IO ? ": " : "",
                              error == TRUC_E_IO ? strerror(errno) : "");
        }
        if (*out == NULL && strcmp(truc_key_id(key), keyid) == 0) {
            *out = key;
        } else {
            truc_key_free(&key);
        }
    }
    return ADMIN_OK;
}

static json_t *facts_row(const struct truc_evidence *evidence, const struct truc_evidence_facts *facts)
{
    char hash[2 * TRUC_HASH_SIZE + 1], outcome[64], root[2 * TRUC_HASH_SIZE + 1];
    truc_hex(truc_bytes(evidence->event_hash.bytes, TRUC_HASH_SIZE), hash);
    truc_hex(truc_bytes(facts->checkpoint.root.bytes, TRUC_HASH_SIZE), root);
    if (facts->outcome.code == TRUC_OUTCOME_DUPLICATE) {
        snprintf(outcome, sizeof(outcome), "duplicate of %llu", (unsigned long long)facts->outcome.duplicate_of);
    } else {
        snprintf(outcome, sizeof(outcome), "%s",
                 facts->outcome.code == TRUC_OUTCOME_ACCEPTED ? "accepted" : truc_reason_name(facts->outcome.code));
    }
    json_t *row = json_pack("{s:b, s:s, s:s, s:s, s:I, s:s, s:o, s:o, s:I, s:s, s:I, s:s, s:b}", "verified", 1, "log",
                            facts->checkpoint.origin, "sender", facts->envelope.seal.sender, "keyid",
                            facts->envelope.seal.keyid, "sequence", (json_int_t)facts->sequence, "outcome", outcome,
                            "sealed_at", admin_json_time(facts->envelope.seal.sealed_at_us), "accepted_at",
                            admin_json_time(facts->leaf.accepted_at_us), "events_in_seal",
                            (json_int_t)facts->envelope.seal.count, "event_hash", hash, "tree_size",
                            (json_int_t)facts->checkpoint.size, "tree_root", root, "erased", facts->event.id.size == 0);
    admin_must(row != NULL);
    if (facts->event.id.size > 0) {
        const struct truc_event *event = &facts->event;
        admin_must(json_object_set_new(row, "id", admin_json_text(event->id)) == 0 &&
                   json_object_set_new(row, "source", admin_json_text(event->source)) == 0 &&
                   json_object_set_new(row, "type", admin_json_text(event->type)) == 0 &&
                   json_object_set_new(row, "subject", admin_json_text(event->subject)) == 0 &&
                   json_object_set_new(row, "recipients", admin_json_text(event->recipients)) == 0 &&
                   json_object_set_new(row, "time", admin_json_time(event->has_time ? event->time_us : 0)) == 0);
    }
    return row;
}

/* A cleaned piece of foreign text for the story; lives until the next call with the same slot. */
static const char *shown(const json_t *row, const char *key, unsigned slot)
{
    static struct truc_buffer texts[8];
    truc_buffer_clear(&texts[slot]);
    admin_must(truc_buffer_reserve(&texts[slot], 1) == TRUC_OK);
    texts[slot].data[0] = '\0';
    admin_value_text(json_object_get(row, key), ADMIN_COLUMN_TEXT, &texts[slot]);
    return (const char *)texts[slot].data;
}

static void tell(const struct truc_evidence_facts *facts, const json_t *row)
{
    puts("The evidence is good.\n");
    printf("Who       %s sealed it with its key %.16s... at %s by its own clock\n", shown(row, "sender", 0),
           shown(row, "keyid", 1), shown(row, "sealed_at", 2));
    printf("What      ");
    if (facts->event.id.size > 0) {
        printf("event %s of type %s from %s\n", shown(row, "id", 0), shown(row, "type", 1), shown(row, "source", 2));
        if (facts->event.subject.size > 0) {
            printf("          about %s\n", shown(row, "subject", 0));
        }
        if (facts->event.has_time) {
            printf("          which happened at %s, as the sender says\n", shown(row, "time", 0));
        }
        printf("          for %s\n",
               facts->event.recipients.size > 0 ? shown(row, "recipients", 0) : "the subscribers of its type");
    } else {
        puts("its content is not in this file (erased, or never readable); its hash is");
        printf("          %s\n", shown(row, "event_hash", 0));
    }
    printf("When      the hub of %s took it at %s, as sequence %llu, one of %u in its seal\n", shown(row, "log", 0),
           shown(row, "accepted_at", 1), (unsigned long long)facts->sequence, facts->envelope.seal.count);
    if (facts->outcome.code == TRUC_OUTCOME_ACCEPTED) {
        puts("Decision  accepted");
    } else if (facts->outcome.code == TRUC_OUTCOME_DUPLICATE) {
        printf("Decision  nothing new: it repeats sequence %llu\n", (unsigned long long)facts->outcome.duplicate_of);
    } else {
        printf("Decision  refused: %s (%s)\n", truc_reason_name(facts->outcome.code),
               truc_reason_advice(facts->outcome.code));
    }
    printf("Proof     leaf of the log under the signed checkpoint of %llu %s, root %.16s...\n",
           (unsigned long long)facts->checkpoint.size, facts->checkpoint.size == 1 ? "leaf" : "leaves",
           shown(row, "tree_root", 0));
}

static enum admin_exit verify(const struct admin_call *call, const char *path, const struct truc_evidence *evidence)
{
    struct truc_evidence_facts *facts = calloc(1, sizeof(*facts)); /* a leaf of 1024 outcomes is large for a stack */
    struct truc_note_verifier note_key = {0};
    struct truc_envelope envelope;
    struct truc_key *key = NULL;
    char why[256] = "";
    admin_must(facts != NULL);
    enum admin_exit exit_code = read_note_key(call, &note_key);
    if (exit_code == ADMIN_OK && truc_envelope_parse(truc_buffer_view(&evidence->envelope), &envelope) != TRUC_OK) {
        exit_code = admin_fail(call, ADMIN_DAMAGED, "%s PROVES NOTHING: its seal does not parse", path);
    }
    if (exit_code == ADMIN_OK) {
        exit_code = choose_key(call, envelope.seal.keyid, &key);
    }
    if (exit_code == ADMIN_OK && key == NULL) {
        exit_code = admin_fail(call, ADMIN_DAMAGED,
                               "%s IS NOT PROVEN: the seal says that %s made it with the key %s, which is none of the "
                               "given --agency-key files",
                               path, envelope.seal.sender, envelope.seal.keyid);
    }
    if (exit_code == ADMIN_OK) {
        truc_error error = truc_evidence_verify(evidence, &note_key, key, facts, why);
        if (error != TRUC_OK) {
            exit_code = admin_fail(call, ADMIN_DAMAGED, "%s PROVES NOTHING: %s", path,
                                   why[0] == '\0' ? truc_error_string(error) : why);
        }
    }
    if (exit_code == ADMIN_OK) {
        json_t *row = facts_row(evidence, facts);
        if (call->json) {
            (void)admin_json_line(stdout, row);
        } else {
            tell(facts, row);
        }
        json_decref(row);
    } else if (call->json && exit_code == ADMIN_DAMAGED) {
        json_t *row = json_pack("{s:b, s:s}", "verified", 0, "why", why);
        admin_must(row != NULL);
        (void)admin_json_line(stdout, row);
        json_decref(row);
    }
    truc_key_free(&key);
    truc_note_verifier_close(&note_key);
    free(facts);
    return exit_code;
}

static enum admin_exit run_verify(struct admin_call *call)
{
    const char *path = call->operands[0];
    struct truc_buffer text = {0};
    struct truc_evidence *evidence = calloc(1, sizeof(*evidence));
    char why[256] = "";
    enum admin_exit exit_code = ADMIN_OK;
    admin_must(evidence != NULL);
    truc_error error = truc_file_read(path, TRUC_EVIDENCE_MAX, &text);
    if (error != TRUC_OK) {
        exit_code = admin_fail(call, ADMIN_USAGE, "%s cannot be read: %s", path,
                               error == TRUC_E_IO ? strerror(errno) : truc_error_string(error));
    } else if (truc_evidence_parse(truc_buffer_view(&text), evidence, why) != TRUC_OK) {
        exit_code = admin_fail(call, ADMIN_DAMAGED, "%s PROVES NOTHING: it is not an evidence file: %s", path, why);
    } else {
        exit_code = verify(call, path, evidence);
    }
    truc_evidence_close(evidence);
    free(evidence);
    truc_buffer_close(&text);
    return exit_code;
}

static const struct admin_option verify_options[] = {
    {"note-key", ADMIN_TEXT, "FILE|TEXT", "the hub's note key, from a source that you trust", true},
    {"agency-key", ADMIN_LIST, "PEM", "the sending agency's public key, from a source that you trust", true},
    ADMIN_END};

const struct admin_command admin_evidence_commands[] = {
    {"verify", "FILE", 1, 1, "check one evidence file offline and tell what it proves", verify_options, run_verify},
    {NULL, NULL, 0, 0, NULL, NULL, NULL}};
