"""The log's leaves (section 7)."""

import struct
from dataclasses import dataclass

from . import wire

ACCEPTED, DUPLICATE = 0, 128


class LeafError(ValueError):
    """Bytes that are no leaf of version 1."""


@dataclass(frozen=True)
class Outcome:
    sequence: int
    code: int  # 0 accepted, 1..127 the reason of the refusal, 128 duplicate
    repeats: int = 0  # for a duplicate: the sequence of the first one


@dataclass(frozen=True)
class Leaf:
    accepted_at_us: int
    first: int
    digest: bytes
    outcomes: tuple


def _shortest(data, at):
    value, after = wire.decode_varint(data, at)
    if wire.encode_varint(value) != data[at:after]:
        raise LeafError("varint is not in its shortest form")
    return value, after


def parse(data):
    if len(data) < 51 or data[0] != 1:
        raise LeafError("not a leaf of version 1")
    accepted_at, first = struct.unpack(">qQ", data[1:17])
    digest, (count,) = data[17:49], struct.unpack(">H", data[49:51])
    at, outcomes, last = 51, [], None
    try:
        while len(outcomes) < count:
            length, at = _shortest(data, at)
            code, at = data[at], at + 1
            repeats = 0
            if code == DUPLICATE:
                repeats, at = _shortest(data, at)
            elif code > DUPLICATE:
                raise LeafError(f"outcome {code}")
            if length < 1 or len(outcomes) + length > count:
                raise LeafError("run does not fit the count")
            joins = last and last[0] == code and (code != DUPLICATE or last[1] == repeats)
            if joins:
                raise LeafError("a run is not as long as it can be")
            for i in range(length):
                outcomes.append(Outcome(first + len(outcomes), code, repeats + i if code == DUPLICATE else 0))
            last = (code, repeats + length)
    except (IndexError, wire.WireError) as e:
        raise LeafError("leaf ends early") from e
    if at != len(data):
        raise LeafError("bytes after the last run")
    return Leaf(accepted_at, first, bytes(digest), tuple(outcomes))


def encode(accepted_at_us, first, digest, outcomes):
    """`outcomes`: for each event (code, repeated sequence or 0)."""
    runs = []
    for code, repeats in outcomes:
        last = runs[-1] if runs else None
        if last and last[1] == code and (code != DUPLICATE or last[2] + last[0] == repeats):
            last[0] += 1
        else:
            runs.append([1, code, repeats])
    out = struct.pack(">BqQ32sH", 1, accepted_at_us, first, digest, len(outcomes))
    for length, code, repeats in runs:
        out += wire.encode_varint(length) + bytes([code])
        if code == DUPLICATE:
            out += wire.encode_varint(repeats)
    return out
