"""The journal as hub/STORAGE.md describes it, read from the file itself: an auditor's view beside the running hub."""

import ctypes
import hashlib
import struct
from dataclasses import dataclass

from . import wire

MAGIC = b"TROW"
HEADER = 104
BOOT, SEAL, ACK, NACK, RELEASE, SUBSCRIBE, EXPIRE, FORK, CHECKPOINT = range(1, 10)
KIND_GOVERNANCE, KIND_RECALL = 1, 3


class Hash128(ctypes.Structure):
    _fields_ = [("low", ctypes.c_uint64), ("high", ctypes.c_uint64)]


XXHASH = ctypes.CDLL("libxxhash.so.0")
XXHASH.XXH3_128bits.argtypes = [ctypes.c_char_p, ctypes.c_size_t]
XXHASH.XXH3_128bits.restype = Hash128


def xxh3(data):
    """128 bits, canonical."""
    value = XXHASH.XXH3_128bits(data, len(data))
    return struct.pack(">QQ", value.high, value.low)


class RowError(ValueError):
    """Bytes that are no row."""


@dataclass(frozen=True)
class Fact:
    """What a row keeps of one event in the clear."""

    event_hash: bytes
    key: bytes
    size: int
    slot: int
    subject: bytes  # 8 bytes of its hash; empty: no subject
    type: str
    recipients: str


@dataclass(frozen=True)
class Input:
    kind: int
    body: bytes

    def ranges(self):
        """-> (agency, inbox numbers) of an ACK, RELEASE or EXPIRE"""
        cursor = Cursor(self.body)
        agency, numbers, expected = cursor.text(), [], 0
        for _ in range(cursor.varint()):
            first = expected + cursor.zigzag()
            count = cursor.varint()
            numbers += range(first, first + count)
            expected = first + count
        return agency, numbers

    def facts(self):
        """-> list of Fact, of a SEAL"""
        count, envelope = struct.unpack_from(">HH", self.body, 4)
        cursor = Cursor(self.body, 12 + envelope)
        facts, type_, recipients, slot = [], "", "", 0
        for _ in range(count):
            kind, follows = cursor.byte() >> 5, cursor.byte()
            event_hash, key = cursor.take(32), cursor.take(16)
            size = cursor.varint()
            slot += cursor.zigzag()
            subject = cursor.take(8) if follows & 16 else b""
            for bit in (4, 8):
                if follows & bit:
                    cursor.zigzag()
            type_ = type_ if follows & 1 else cursor.text()
            recipients = recipients if follows & 2 else cursor.text()
            if kind == KIND_RECALL:
                raise RowError("recalls are not read by this reader")
            if kind == KIND_GOVERNANCE:
                cursor.text(raw=True)
            facts.append(Fact(event_hash, key, size, slot, subject, type_, recipients))
        if cursor.at != 12 + envelope + struct.unpack_from(">I", self.body, 8)[0]:
            raise RowError("the facts do not end where they should")
        return facts


@dataclass(frozen=True)
class Row:
    number: int
    accepted_at_us: int
    digest: bytes
    previous: bytes
    inputs: tuple


class Cursor:
    def __init__(self, data, at=0):
        self.data, self.at = data, at

    def take(self, size):
        self.at += size
        if self.at > len(self.data):
            raise RowError("a row ends early")
        return bytes(self.data[self.at - size : self.at])

    def byte(self):
        return self.take(1)[0]

    def varint(self):
        value, self.at = wire.decode_varint(self.data, self.at)
        return value

    def zigzag(self):
        value = self.varint()
        return (value >> 1) ^ -(value & 1)

    def text(self, raw=False):
        data = self.take(self.varint())
        return data if raw else data.decode()


def digest_of(data, format_, spans):
    """`spans`: (kind, first, end) of each input's body."""
    if format_ == 1:
        return hashlib.sha256(data[40:]).digest()
    hashed, at = hashlib.sha256(), 40
    for first, end in [(first, end) for kind, first, end in spans if kind == SEAL]:
        envelope, facts = struct.unpack_from(">HI", data, first + 6)
        contents = first + 12 + envelope + facts
        hashed.update(data[at:contents])
        hashed.update(xxh3(data[contents:end]))
        at = end
    hashed.update(data[at:])
    return hashed.digest()


def parse(data):
    """-> Row; RowError where its digest does not fit."""
    if len(data) < HEADER or data[:4] != MAGIC:
        raise RowError("no row")
    (format_,) = struct.unpack_from(">I", data, 4)
    number, accepted = struct.unpack_from(">Qq", data, 40)
    count, size = struct.unpack_from(">II", data, 88)
    if format_ not in (1, 2) or not HEADER <= size <= len(data):
        raise RowError("an unknown format, or too long")
    data = bytes(data[:size])
    at, spans = HEADER, []
    for _ in range(count):
        if at + 5 > size:
            raise RowError("a row ends early")
        kind, length = struct.unpack_from(">BI", data, at)
        spans.append((kind, at + 5, at + 5 + length))
        at += 5 + length
    if at != size or digest_of(data, format_, spans) != data[8:40]:
        raise RowError("something is left over, or the digest does not fit")
    inputs = tuple(Input(kind, data[first:end]) for kind, first, end in spans)
    return Row(number, accepted, data[8:40], data[56:88], inputs)


def read(home):
    """All rows of the journal in `home`, in order, none missing, each naming the digest of the one before.

    A value lies in one piece in LMDB's file, so that a row is found by its magic and known by its digest; what LMDB has
    left behind of earlier pages are the same rows."""
    data = memoryview((home / "data" / "journal.mdb").read_bytes())
    whole, rows, at = data.obj, {}, 0
    while (at := whole.find(MAGIC, at)) >= 0:
        try:
            row = parse(data[at:])
        except (RowError, struct.error):
            pass
        else:
            rows[row.number] = row
        at += 1
    ordered = [rows[n] for n in sorted(rows)]
    for i, row in enumerate(ordered):
        if row.number != i or row.previous != (ordered[i - 1].digest if i else bytes(32)):
            raise RowError(f"row {i} is missing or does not follow")
    return ordered


def facts(rows):
    """Of every event in the journal, in order."""
    return [f for row in rows for i in row.inputs if i.kind == SEAL for f in i.facts()]


def slots_of_subjects(rows):
    """-> {slot: set of the subjects that it serves}; events without a subject are left out"""
    out = {}
    for fact in facts(rows):
        if fact.subject:
            out.setdefault(fact.slot, set()).add(fact.subject)
    return out


def highest_slot(rows):
    return max((f.slot for f in facts(rows)), default=-1)
