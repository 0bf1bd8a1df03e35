"""Evidence files (section 11): one event, provable offline."""

import base64
import binascii
import json

from . import events as ev
from . import leaf as lf
from . import merkle, note, seals

FORMAT = "truc-evidence@v1"


class EvidenceError(ValueError):
    """The file does not prove what it says."""


def build(proof):
    """An evidence file (text) from a Proof message."""
    b64 = lambda b: base64.b64encode(b).decode()  # noqa: E731
    out = {
        "format": FORMAT,
        "event_hash": ev.event_hash(proof.event).hex(),
        "envelope": b64(proof.envelope),
        "index": proof.index,
        "path": [b64(h) for h in proof.seal_path],
        "leaf": b64(proof.leaf),
        "proof": note.format_proof(proof.leaf_index, list(proof.path), proof.checkpoint).decode(),
    }
    if proof.event:
        out["event"] = b64(proof.event)
    return json.dumps(out)


def verify(text, verifier, origin, spkis):
    """-> dict(event, seal, leaf, outcome, leaf_index, checkpoint), or EvidenceError. `spkis`: the sender's keys, DER."""
    try:
        return _verify(json.loads(text), verifier, origin, spkis)
    except (KeyError, TypeError, binascii.Error, ValueError) as e:
        raise EvidenceError(str(e)) from e


def _verify(doc, verifier, origin, spkis):
    if doc["format"] != FORMAT:
        raise EvidenceError("unknown format")
    raw = lambda s: base64.b64decode(s, validate=True)  # noqa: E731
    hashed = bytes.fromhex(doc["event_hash"])
    event = None
    if "event" in doc:
        data = raw(doc["event"])
        if ev.event_hash(data) != hashed:
            raise EvidenceError("event_hash does not fit the event")
        event = ev.parse(data)
    opened = seals.verify_envelope(raw(doc["envelope"]), spkis, origin)
    seals.verify_event(opened, doc["index"], hashed, [raw(h) for h in doc["path"]])
    if event is not None and ev.source_agency(event.source) != opened.seal.sender:
        raise EvidenceError("source is not of the seal's sender")
    leaf = lf.parse(raw(doc["leaf"]))
    if leaf.digest != opened.digest or len(leaf.outcomes) != opened.seal.count:
        raise EvidenceError("the leaf is of another seal")
    index, checkpoint = note.verify_proof(doc["proof"].encode(), merkle.leaf_hash(raw(doc["leaf"])), verifier, origin)
    return {
        "event": event,
        "seal": opened.seal,
        "leaf": leaf,
        "outcome": leaf.outcomes[doc["index"]],
        "leaf_index": index,
        "checkpoint": checkpoint,
    }
