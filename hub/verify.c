/* What a verifying thread does with one seal: everything that needs its bytes and nothing that needs the state. One
 * parse, one hash an event. */
#include "hub/hub.h"
#include "hub/store/governance.h"
#include "truc/payload.h"

static void refuse(struct hub_submission *submission, truc_reason reason, const char *why)
{
    submission->reason = reason;
    submission->why = why;
}

static uint8_t kind_of(struct truc_bytes type)
{
    static const struct {
        const char *type;
        enum hub_event_kind kind;
    } known[] = {
        {TRUC_TYPE_GOVERNANCE, HUB_EVENT_GOVERNANCE},
        {TRUC_TYPE_DELIVERY_RECEIPT, HUB_EVENT_DELIVERY_RECEIPT},
        {TRUC_TYPE_RECALL, HUB_EVENT_RECALL},
    };

    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++)
        if (truc_bytes_equal(type, truc_bytes_of(known[i].type)))
            return (uint8_t)known[i].kind;
    if (type.size >= 5 && memcmp(type.data, "truc.", 5) == 0)
        return HUB_EVENT_RESERVED;
    return HUB_EVENT_PLAIN;
}

/* Tiny fields unpack to many times their size. What a thread unpacks only to look at it is thrown away event by event.
 */
#define SCRATCH_ARENA (8u << 20)
/* Acts are kept until they are applied; only an administrator's are decoded at all. */
#define GOVERNANCE_ARENA (64u << 20)

static truc_error unpack(struct hub_submission *submission, const ProtobufCMessageDescriptor *descriptor,
                         struct truc_bytes bytes, ProtobufCMessage **out)
{
    truc_error error = submission->scratch ? TRUC_OK : truc_arena_new(SCRATCH_ARENA, &submission->scratch);

    if (error)
        return error;
    truc_arena_reset(submission->scratch);
    return truc_unpack(submission->scratch, descriptor, bytes, out);
}

/* A decoder that runs out of room is our failure and no verdict on the event: the seal is sent again later. */
static void read_governance(struct hub_submission *submission, const struct truc_event *event,
                            struct hub_event_facts *facts)
{
    truc_error error = event->data_kind == TRUC_DATA_BINARY ? TRUC_OK : TRUC_E_MALFORMED;

    facts->governance_bytes = event->data;
    if (!error && !submission->arena)
        error = truc_arena_new(GOVERNANCE_ARENA, &submission->arena);
    if (!error)
        error = hub_governance_decode(event->data, submission->arena, &facts->governance);
    if (error == TRUC_E_MALFORMED) {
        facts->governance = NULL;
        facts->flags |= HUB_FACT_INVALID_PAYLOAD;
    } else if (error) {
        refuse(submission, TRUC_OVERLOADED, "too many administrative acts in one seal: send fewer at a time");
    }
}

static bool is_one_recipient(struct truc_bytes name)
{
    return name.size > 0 && memchr(name.data, ',', name.size) == NULL && truc_recipients_are_valid(name);
}

/* Each name costs the loop a walk over those whom it means. */
static bool stands_before(const Truc__V1__Recall *recall, size_t at)
{
    for (size_t i = 0; i < at; i++)
        if (strcmp(recall->recipients[i], recall->recipients[at]) == 0)
            return true;
    return false;
}

/* The facts want the recipients as one text; it lives as long as the submission. None at all: everybody. */
static truc_error join_recipients(struct hub_submission *submission, const Truc__V1__Recall *recall,
                                  struct truc_bytes *out)
{
    size_t size = 0;

    if (recall->n_recipients > TRUC_RECIPIENTS_COUNT)
        return TRUC_E_MALFORMED;
    if (recall->n_recipients == 0)
        return TRUC_OK;
    for (size_t i = 0; i < recall->n_recipients; i++) {
        if (!is_one_recipient(truc_bytes_of(recall->recipients[i])) || stands_before(recall, i))
            return TRUC_E_MALFORMED;
        size += strlen(recall->recipients[i]) + 1;
    }
    struct hub_text *text = malloc(sizeof *text + size);
    if (!text)
        return TRUC_E_NOMEM;
    text->next = submission->texts;
    submission->texts = text;
    size_t at = 0;
    for (size_t i = 0; i < recall->n_recipients; i++) {
        size_t part = strlen(recall->recipients[i]);
        if (i > 0)
            text->bytes[at++] = ',';
        memcpy(text->bytes + at, recall->recipients[i], part);
        at += part;
    }
    *out = truc_bytes(text->bytes, at);
    return TRUC_OK;
}

static void read_recall(struct hub_submission *submission, const struct truc_event *event,
                        struct hub_event_facts *facts)
{
    ProtobufCMessage *message;

    facts->recipients = truc_bytes(NULL, 0);
    if (event->data_kind != TRUC_DATA_BINARY ||
        unpack(submission, &truc__v1__recall__descriptor, event->data, &message) != TRUC_OK) {
        facts->flags |= HUB_FACT_INVALID_PAYLOAD;
        return;
    }
    const Truc__V1__Recall *recall = (const Truc__V1__Recall *)message;
    truc_event_key(truc_bytes_of(submission->parsed.seal.sender), truc_bytes_of(recall->source),
                   truc_bytes_of(recall->id), facts->recalled);
    if (join_recipients(submission, recall, &facts->recipients) != TRUC_OK)
        facts->flags |= HUB_FACT_INVALID_PAYLOAD;
}

static void check_delivery_receipts(struct hub_submission *submission, const struct truc_event *event,
                                    struct hub_event_facts *facts)
{
    ProtobufCMessage *message;

    if (event->data_kind != TRUC_DATA_BINARY ||
        unpack(submission, &truc__v1__delivery_receipts__descriptor, event->data, &message) != TRUC_OK)
        facts->flags |= HUB_FACT_INVALID_PAYLOAD;
}

static void extract(struct hub_submission *submission, struct truc_bytes bytes, struct hub_event_facts *facts)
{
    struct truc_event event;
    struct truc_bytes sender = truc_bytes_of(submission->parsed.seal.sender);

    memset(facts, 0, sizeof *facts);
    truc_leaf_hash(&facts->leaf_hash, bytes);
    facts->size = (uint32_t)bytes.size;
    facts->time_us = facts->expires_us = HUB_TIME_NONE;
    truc_error error = truc_event_parse(bytes, &event);
    if (error) {
        facts->flags = error == TRUC_E_TOO_LARGE ? HUB_FACT_TOO_LARGE : HUB_FACT_MALFORMED;
        return;
    }
    if (!truc_bytes_equal(truc_source_agency(event.source), sender))
        facts->flags |= HUB_FACT_FOREIGN_SOURCE;
    if (event.has_blob)
        facts->flags |= HUB_FACT_BLOB;
    truc_event_key(sender, event.source, event.id, facts->key);
    facts->subject = truc_subject_hash(event.subject);
    if (event.has_time)
        facts->time_us = event.time_us;
    if (event.has_expires)
        facts->expires_us = event.expires_us;
    facts->type = event.type;
    facts->recipients = event.recipients;
    facts->kind = kind_of(event.type);
    if (facts->kind == HUB_EVENT_GOVERNANCE && !submission->administrator)
        facts->kind = HUB_EVENT_RESERVED; /* not theirs to send: nothing of it is decoded */
    if (facts->kind == HUB_EVENT_GOVERNANCE)
        read_governance(submission, &event, facts);
    else if (facts->kind == HUB_EVENT_RECALL)
        read_recall(submission, &event, facts);
    else if (facts->kind == HUB_EVENT_DELIVERY_RECEIPT)
        check_delivery_receipts(submission, &event, facts);
    else if (truc_payload_check(event.type, event.data_kind, event.data, event.data_type, NULL) != TRUC_OK)
        facts->flags |= HUB_FACT_INVALID_PAYLOAD;
}

/* Cuts the body into events; the count must be the seal's. */
static bool cut(struct hub_submission *submission)
{
    uint32_t count = submission->parsed.seal.count;
    size_t at = 0;

    submission->events = calloc(count, sizeof *submission->events);
    submission->facts = calloc(count, sizeof *submission->facts);
    submission->slots = calloc(count, sizeof *submission->slots);
    submission->tree = malloc(truc_tree_size(count) * sizeof *submission->tree);
    if (!submission->events || !submission->facts || !submission->slots || !submission->tree) {
        refuse(submission, TRUC_OVERLOADED, "the hub is out of memory: send again later");
        return false;
    }
    for (uint32_t i = 0; i < count; i++)
        if (truc_body_next(submission->body, &at, &submission->events[i]) != TRUC_OK) {
            refuse(submission, TRUC_BAD_SEAL, "the body has fewer events than the seal counts, or a wrong length");
            return false;
        }
    if (at != submission->body.size) {
        refuse(submission, TRUC_BAD_SEAL, "the body has more bytes than the seal's events");
        return false;
    }
    return true;
}

static bool root_fits(struct hub_submission *submission)
{
    uint32_t count = submission->parsed.seal.count;
    const struct truc_hash *root = &submission->tree[truc_tree_size(count) - 1];

    for (uint32_t i = 0; i < count; i++)
        submission->tree[i] = submission->facts[i].leaf_hash;
    truc_tree_make(submission->tree, count);
    return memcmp(root, &submission->parsed.seal.root, sizeof *root) == 0;
}

void hub_verify_seal(struct hub_submission *submission)
{
    const struct truc_seal *seal = &submission->parsed.seal;
    truc_error error = truc_envelope_parse(truc_buffer_view(&submission->envelope), &submission->parsed);

    submission->parses =
        error == TRUC_OK || (error == TRUC_E_TOO_LARGE && submission->envelope.size <= TRUC_ENVELOPE_MAX);
    if (error) {
        refuse(submission, error == TRUC_E_TOO_LARGE ? TRUC_TOO_LARGE : TRUC_MALFORMED,
               error == TRUC_E_TOO_LARGE ? "a seal holds at most 1024 events: split it"
                                         : "the seal's envelope does not parse");
        return;
    }
    const struct hub_keyring_key *key = hub_keyring_find(submission->keys, seal->keyid);
    if (!key || key->agency != submission->agency)
        refuse(submission, TRUC_UNKNOWN_KEY, "the signing key is not enrolled for this connection's agency");
    else if (strcmp(seal->sender, submission->agency_code) != 0)
        refuse(submission, TRUC_BAD_SEAL, "the seal's sender is not the agency of this connection");
    else if (truc_envelope_verify(&submission->parsed, key->key) != TRUC_OK)
        refuse(submission, TRUC_BAD_SEAL, "the seal's signature does not verify");
    if (submission->reason || !cut(submission))
        return;
    for (uint32_t i = 0; i < seal->count; i++)
        extract(submission, submission->events[i], &submission->facts[i]);
    if (!submission->reason && !root_fits(submission))
        refuse(submission, TRUC_BAD_SEAL, "the events are not those of the seal's root");
}

void hub_submission_drop(struct hub_submission *submission)
{
    submission->body = truc_bytes(NULL, 0);
    truc_buffer_close(&submission->joined);
    zmq_msg_close(&submission->piece);
    zmq_msg_init(&submission->piece);
    hub_keyring_free(&submission->keys);
    truc_arena_free(&submission->arena);
    while (submission->texts) {
        struct hub_text *next = submission->texts->next;
        free(submission->texts);
        submission->texts = next;
    }
    free(submission->facts);
    free(submission->events);
    free(submission->slots);
    free(submission->tree);
    submission->facts = NULL;
    submission->events = NULL;
    submission->slots = NULL;
    submission->tree = NULL;
}

void hub_submission_release(struct hub_submission *submission)
{
    if (!submission || atomic_fetch_sub(&submission->owners, 1) > 1)
        return;
    if (submission->lent > 0)
        atomic_fetch_sub(&submission->hub->lent, submission->lent);
    hub_submission_drop(submission);
    truc_buffer_close(&submission->envelope);
    zmq_msg_close(&submission->piece);
    free(submission);
}
