"""CloudEvents in their protobuf form (section 4)."""

import hashlib
import os
import re
import struct
import time as clock

from . import wire
from .schema import cloudevents

MAX_EVENT = 1048576
SOURCE = re.compile(r"urn:truc:([A-Z0-9]+(?:\.[A-Z0-9]+)*)(?::.*)?\Z", re.S)


def now_us():
    return clock.time_ns() // 1000


def build(
    event_id,
    source,
    type_,
    subject=None,
    time_us=None,
    expires_us=None,
    recipients=None,
    salt=None,
    data=b"",
    blob=None,
    more=None,
):
    """-> the event's bytes. `salt` None: 16 random bytes; b"": no salt at all. `more`: further string attributes."""
    event = cloudevents.CloudEvent(id=event_id, source=source, spec_version="1.0", type=type_)
    salt = os.urandom(16) if salt is None else salt
    if salt:
        event.attributes["salt"].ce_bytes = salt
    if subject is not None:
        event.attributes["subject"].ce_string = subject
    for name, us in (("time", time_us), ("expires", expires_us)):
        if us is not None:
            stamp = event.attributes[name].ce_timestamp
            stamp.seconds, stamp.nanos = us // 1000000, us % 1000000 * 1000
    if recipients is not None:
        names = recipients if isinstance(recipients, str) else ",".join(recipients)
        event.attributes["recipients"].ce_string = names
    if blob is not None:
        event.attributes["blob"].ce_string = blob
    for name, value in (more or {}).items():
        event.attributes[name].ce_string = value
    event.binary_data = data
    return event.SerializeToString(deterministic=True)


def parse(data):
    return cloudevents.CloudEvent.FromString(data)


def source_agency(source):
    """Agency code of a source, or None where it is no Truc source."""
    match = SOURCE.match(source)
    return match.group(1) if match else None


def idempotency_key(sender, source, event_id):
    parts = b"".join(struct.pack(">I", len(p)) + p for p in (s.encode() for s in (sender, source, event_id)))
    return hashlib.sha256(parts).digest()[:16]


def event_hash(data):
    return hashlib.sha256(b"\x00" + data).digest()


def pack_body(events):
    """An events body: 4 bytes little-endian length and bytes of each."""
    return b"".join(struct.pack("<I", len(e)) + e for e in events)


def unpack_body(body):
    events, at = [], 0
    while at < len(body):
        if at + 4 > len(body):
            raise wire.WireError("events body ends within a length")
        (length,) = struct.unpack_from("<I", body, at)
        at += 4
        if at + length > len(body):
            raise wire.WireError("events body ends within an event")
        events.append(bytes(body[at : at + length]))
        at += length
    return events
