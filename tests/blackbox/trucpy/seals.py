"""Seals and their DSSE envelopes (section 5)."""

import hashlib
import os
from dataclasses import dataclass

from . import events as ev
from . import keys, merkle, wire
from .schema import dsse, truc

PAYLOAD_TYPE = "application/vnd.truc.seal.v1+protobuf"
SEAL_FIELDS = set(range(1, 10))


class SealError(ValueError):
    """A seal that does not verify."""


def signed_bytes(payload, payload_type=PAYLOAD_TYPE):
    kind = payload_type.encode()
    return b"DSSEv1 %d %s %d %s" % (len(kind), kind, len(payload), payload)


def digest_of(payload):
    return hashlib.sha256(signed_bytes(payload)).digest()


@dataclass(frozen=True)
class Sealed:
    """One seal on its way: what SUBMIT carries and what its receipt must name."""

    seal: object
    envelope: bytes
    digest: bytes
    events: tuple


def wrap(payload, private, keyid="", payload_type=PAYLOAD_TYPE):
    envelope = dsse.Envelope(payload=payload, payloadType=payload_type)
    envelope.signatures.add(sig=keys.sign(private, signed_bytes(payload, payload_type)), keyid=keyid)
    return envelope.SerializeToString(deterministic=True)


class Chain:
    """A chain of seals, as one client process makes it: 16 random bytes, numbers without a gap."""

    def __init__(self, origin, sender, private, previous=b""):
        self.origin, self.sender, self.private = origin, sender, private
        self.keyid = keys.keyid_of(keys.spki_of(private))
        self.id, self.number, self.head = os.urandom(16), 0, previous

    def seal(self, events, *, commit=True, **changes):
        """Seals `events` as the next of the chain. `changes` override fields of the seal, for tests that lie; with
        `commit` False the chain does not move."""
        fields = dict(
            origin=self.origin,
            sender=self.sender,
            keyid=self.keyid,
            chain=self.id,
            number=self.number + 1,
            previous=self.head,
            count=len(events),
            root=merkle.root([ev.event_hash(e) for e in events]),
            sealed_at_us=ev.now_us(),
        )
        fields.update(changes)
        seal = truc.Seal(**fields)
        payload = seal.SerializeToString(deterministic=True)
        sealed = Sealed(seal, wrap(payload, self.private, seal.keyid), digest_of(payload), tuple(events))
        if commit:
            self.number, self.head = seal.number, sealed.digest
        return sealed


@dataclass(frozen=True)
class Opened:
    seal: object
    digest: bytes
    signature: bytes
    signed: bytes


def open_envelope(envelope, origin=None):
    """Parses an envelope strictly; the signature is not looked at yet. -> Opened"""
    try:
        env = dsse.Envelope.FromString(envelope)
        if any(n not in (1, 2, 3) for n, _, _ in wire.fields(envelope)):
            raise SealError("unknown field in the envelope")
        if env.payloadType != PAYLOAD_TYPE or len(env.signatures) != 1:
            raise SealError("not an envelope of one seal")
        seal = truc.Seal.FromString(env.payload)
        numbers = [n for n, _, _ in wire.fields(env.payload)]
    except (wire.WireError, UnicodeDecodeError) as e:
        raise SealError("envelope does not parse") from e
    except Exception as e:
        if type(e).__name__ != "DecodeError":
            raise
        raise SealError("envelope does not parse") from e
    if len(numbers) != len(set(numbers)) or not set(numbers) <= SEAL_FIELDS:
        raise SealError("unknown or repeated field in the seal")
    if env.signatures[0].keyid not in ("", seal.keyid):
        raise SealError("key ids of signature and seal differ")
    if len(seal.chain) != 16 or len(seal.root) != 32 or len(seal.previous) not in (0, 32):
        raise SealError("a field of the seal has the wrong length")
    if not 1 <= seal.count <= 1024 or seal.number < 1:
        raise SealError("count or number out of range")
    if origin is not None and seal.origin != origin:
        raise SealError("seal of another log")
    signed = signed_bytes(env.payload)
    return Opened(seal, hashlib.sha256(signed).digest(), env.signatures[0].sig, signed)


def verify_envelope(envelope, spkis, origin):
    """-> Opened, once the signature verifies under the key that the seal names, which must be one of `spkis`."""
    opened = open_envelope(envelope, origin)
    for spki in spkis:
        if keys.keyid_of(spki) == opened.seal.keyid:
            if keys.verify(spki, opened.signature, opened.signed):
                return opened
            raise SealError("signature is wrong")
    raise SealError("the key is not one of the sender's")


def verify_event(opened, index, event_hash, path):
    if not index < opened.seal.count:
        raise SealError("index beyond the seal's count")
    if not merkle.verify_inclusion(index, opened.seal.count, event_hash, path, opened.seal.root):
        raise SealError("the path does not lead to the seal's root")


def verify_group(opened, event_hashes, nodes):
    """Several events of one seal, {index: hash}, by one multiproof."""
    if any(i >= opened.seal.count for i in event_hashes):
        raise SealError("index beyond the seal's count")
    if merkle.multiproof_root(opened.seal.count, event_hashes, nodes) != opened.seal.root:
        raise SealError("the multiproof does not lead to the seal's root")
