/* The one table of error sentences, and the one table of refusals with what a sender should do about each. */
#include "truc/error.h"

#include <stddef.h>

static const char *const error_strings[TRUC_E_COUNT_] = {
    [TRUC_OK] = "no error",
    [TRUC_E_NOMEM] = "out of memory",
    [TRUC_E_MALFORMED] = "the bytes do not parse",
    [TRUC_E_TOO_LARGE] = "over the stated limit",
    [TRUC_E_BAD_SIGNATURE] = "the signature does not verify",
    [TRUC_E_BAD_PROOF] = "the Merkle proof does not lead to its root",
    [TRUC_E_UNKNOWN_KEY] = "no such key, or not a key of that owner",
    [TRUC_E_CRYPTO] = "the cryptographic library failed",
    [TRUC_E_IO] = "the operating system refused a read, write or sync",
    [TRUC_E_FULL] = "the disk, map or quota is full",
    [TRUC_E_CORRUPT] = "stored bytes are damaged",
    [TRUC_E_NOT_FOUND] = "no such thing",
    [TRUC_E_EXISTS] = "it is there already",
    [TRUC_E_INVALID] = "the argument is wrong",
    [TRUC_E_CLOSED] = "the other side is closed",
    [TRUC_E_AGAIN] = "it would block; try again",
    [TRUC_E_TIMEOUT] = "the time given is over",
    [TRUC_E_REFUSED] = "the hub refused",
    [TRUC_E_FORKED] = "the hub's log does not continue the one seen before",
    [TRUC_E_CONFIG] = "the configuration is wrong",
    [TRUC_E_UNSUPPORTED] = "this build does not know that version or algorithm",
    [TRUC_E_LOCKED] = "another process holds it",
};

struct reason {
    const char *name;
    const char *advice;
};

#define REASON_TABLE_SIZE (TRUC_CLOCK_UNSURE + 1)

/* Indexed by the number on the wire; numbers that nobody has been given yet stay NULL. */
static const struct reason reasons[REASON_TABLE_SIZE] = {
    [TRUC_ACCEPTED] = {"ACCEPTED", "Nothing to do: the event is in the log."},
    [TRUC_MALFORMED] = {"MALFORMED", "Correct the event or frame to the form in PROTOCOL.md and submit it anew."},
    [TRUC_TOO_LARGE] = {"TOO_LARGE", "Submit something smaller: WELCOME states the hub's limits."},
    [TRUC_BAD_SEAL] = {"BAD_SEAL", "Check the signing key and that the seal's root covers exactly the events sent."},
    [TRUC_WRONG_ORIGIN] = {"WRONG_ORIGIN", "Connect to the hub whose log the seal names, or seal for this one."},
    [TRUC_SEAL_GAP] = {"SEAL_GAP", "Send the missing seals of the chain first, in order."},
    [TRUC_SEAL_FORK] = {"SEAL_FORK", "Stop: two seals carry one number; find the second signer before going on."},
    [TRUC_UNKNOWN_KEY] = {"UNKNOWN_KEY", "Have the hub's administrators enrol the signing key."},
    [TRUC_KEY_REVOKED] = {"KEY_REVOKED", "Sign with another enrolled key."},
    [TRUC_SUSPENDED] = {"SUSPENDED", "Ask the hub's administrators why the agency is suspended."},
    [TRUC_NOT_GRANTED] = {"NOT_GRANTED",
                          "Ask the hub's administrators for a grant that covers this type and recipient."},
    [TRUC_NO_RECIPIENT] = {"NO_RECIPIENT", "Name a recipient that is enrolled, or have someone subscribe."},
    [TRUC_EXPIRED] = {"EXPIRED", "Submit the event anew with a later expiry if it still matters."},
    [TRUC_CLOCK_SKEW] = {"CLOCK_SKEW", "Set the sender's clock; its time is too far from the hub's."},
    [TRUC_ID_CONFLICT] = {"ID_CONFLICT", "Give the event a new id: another event already has this one."},
    [TRUC_MISSING_BLOB] = {"MISSING_BLOB", "Upload the attachment that the event names, then submit the event anew."},
    [TRUC_INVALID_PAYLOAD] = {"INVALID_PAYLOAD", "Correct the event's data to the schema of its type."},
    [TRUC_ILLEGAL_TRANSITION] = {"ILLEGAL_TRANSITION", "Check the dossier's present step; this one cannot follow it."},
    [TRUC_STALE_LEASE] = {"STALE_LEASE", "Drop the acknowledgement: the event has been delivered again since."},
    [TRUC_OVERLOADED] = {"OVERLOADED", "Send the same seal again after a pause."},
    [TRUC_QUOTA] = {"QUOTA", "Send the same seal again when the quota has room, or ask for a larger one."},
    [TRUC_STORAGE_FULL] = {"STORAGE_FULL", "Send the same seal again later; the hub's administrators must make room."},
    [TRUC_CLOCK_UNSURE] = {"CLOCK_UNSURE", "Send the same seal again when the hub is sure of its clock."},
};

const char *truc_error_string(truc_error error)
{
    /* Through unsigned, since a caller's cast can put any number into an enum. */
    unsigned number = (unsigned)error;
    return number < TRUC_E_COUNT_ ? error_strings[number] : "unknown error";
}

static const struct reason *find_reason(unsigned reason)
{
    return reason < REASON_TABLE_SIZE && reasons[reason].name != NULL ? &reasons[reason] : NULL;
}

const char *truc_reason_name(unsigned reason)
{
    const struct reason *found = find_reason(reason);
    return found != NULL ? found->name : "UNKNOWN_REASON";
}

const char *truc_reason_advice(unsigned reason)
{
    const struct reason *found = find_reason(reason);
    return found != NULL ? found->advice : "Update this program: it does not know the hub's reason.";
}

bool truc_reason_is_transient(unsigned reason)
{
    return reason >= TRUC_OVERLOADED && reason <= TRUC_CLOCK_UNSURE;
}
