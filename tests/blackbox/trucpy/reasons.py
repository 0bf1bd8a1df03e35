"""Reason codes (section 10)."""

import enum


class Reason(enum.IntEnum):
    NONE = 0
    MALFORMED = 1
    TOO_LARGE = 2
    BAD_SEAL = 3
    WRONG_ORIGIN = 4
    SEAL_GAP = 5
    SEAL_FORK = 6
    UNKNOWN_KEY = 7
    KEY_REVOKED = 8
    SUSPENDED = 9
    NOT_GRANTED = 10
    NO_RECIPIENT = 11
    EXPIRED = 12
    CLOCK_SKEW = 13
    ID_CONFLICT = 14
    MISSING_BLOB = 15
    INVALID_PAYLOAD = 16
    ILLEGAL_TRANSITION = 17
    STALE_LEASE = 18
    OVERLOADED = 32
    QUOTA = 33
    STORAGE_FULL = 34
    CLOCK_UNSURE = 35


TRANSIENT = {Reason.OVERLOADED, Reason.QUOTA, Reason.STORAGE_FULL, Reason.CLOCK_UNSURE}


def name(code):
    try:
        return Reason(code).name
    except ValueError:
        return str(code)
