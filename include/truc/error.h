/* Errors and refusals.
 *
 * A *failure* is an error of ours or of the machine: a truc_error, 0 = OK, never to be ignored. A *refusal* is an
 * answer to a peer: a truc_reason with its number on the wire (proto/PROTOCOL.md, "Reason codes"). A *bug* aborts. */
#ifndef TRUC_ERROR_H
#define TRUC_ERROR_H

#include <stdbool.h>

#define TRUC_MUST_USE __attribute__((warn_unused_result))

typedef enum truc_error {
    TRUC_OK = 0,
    TRUC_E_NOMEM,         /* out of memory */
    TRUC_E_MALFORMED,     /* foreign bytes that do not parse */
    TRUC_E_TOO_LARGE,     /* over a stated limit */
    TRUC_E_BAD_SIGNATURE, /* a signature does not verify */
    TRUC_E_BAD_PROOF,     /* a Merkle proof does not lead to its root */
    TRUC_E_UNKNOWN_KEY,   /* no such key, or not of that owner */
    TRUC_E_CRYPTO,        /* OpenSSL failed */
    TRUC_E_IO,            /* the operating system refused a read, write or sync; errno says why */
    TRUC_E_FULL,          /* disk, map or quota full */
    TRUC_E_CORRUPT,       /* our own stored bytes are damaged */
    TRUC_E_NOT_FOUND,     /* no such thing */
    TRUC_E_EXISTS,        /* there already */
    TRUC_E_INVALID,       /* the caller's argument is wrong */
    TRUC_E_CLOSED,        /* the other side or the handle is closed */
    TRUC_E_AGAIN,         /* would block */
    TRUC_E_TIMEOUT,       /* the time given is over */
    TRUC_E_REFUSED,       /* the hub refused; see the truc_reason beside it */
    TRUC_E_FORKED,        /* the hub's log is not the continuation of the one seen before */
    TRUC_E_CONFIG,        /* the configuration is wrong */
    TRUC_E_UNSUPPORTED,   /* a version or algorithm that this build does not know */
    TRUC_E_LOCKED,        /* another process holds it */
    TRUC_E_COUNT_
} truc_error;

/* A sentence in English for an error, static storage. */
const char *truc_error_string(truc_error error);

/* Refusals. The numbers are on the wire and in log leaves: never renumber. */
typedef enum truc_reason {
    TRUC_ACCEPTED = 0,
    TRUC_MALFORMED = 1,
    TRUC_TOO_LARGE = 2,
    TRUC_BAD_SEAL = 3,
    TRUC_WRONG_ORIGIN = 4,
    TRUC_SEAL_GAP = 5,
    TRUC_SEAL_FORK = 6,
    TRUC_UNKNOWN_KEY = 7,
    TRUC_KEY_REVOKED = 8,
    TRUC_SUSPENDED = 9,
    TRUC_NOT_GRANTED = 10,
    TRUC_NO_RECIPIENT = 11,
    TRUC_EXPIRED = 12,
    TRUC_CLOCK_SKEW = 13,
    TRUC_ID_CONFLICT = 14,
    TRUC_MISSING_BLOB = 15,
    TRUC_INVALID_PAYLOAD = 16,
    TRUC_ILLEGAL_TRANSITION = 17,
    TRUC_STALE_LEASE = 18,
    /* transient: for a whole seal and those behind it in its chain; no number is consumed, nothing is journaled */
    TRUC_OVERLOADED = 32,
    TRUC_QUOTA = 33,
    TRUC_STORAGE_FULL = 34,
    TRUC_CLOCK_UNSURE = 35,
} truc_reason;

/* "NOT_GRANTED" for TRUC_NOT_GRANTED; "UNKNOWN_REASON" for a number that this version does not know. Static storage. */
const char *truc_reason_name(unsigned reason);
/* What the sender should do about it, one sentence in English. Static storage. */
const char *truc_reason_advice(unsigned reason);
/* true for the four transient reasons: send the same seal again later. */
bool truc_reason_is_transient(unsigned reason);

#endif
