"""The worked example of PROTOCOL.md, section 16: everything in it is computed here from the inputs that the text states.

`python3 -m trucpy.example --write` writes the section anew (needed only where the format changes). ECDSA signatures are
randomised, so the printed one is kept as long as it still verifies; all the rest is a function of the inputs.
"""

import hashlib
import sys

from cryptography.hazmat.primitives.asymmetric import ec, ed25519

from . import events, frames, keys, leaf, merkle, note, seals
from .schema import PROTO, dsse, truc

ORIGIN = "example.truc/log"
SENDER = "BUILDING.7"
TIME_US = 1767225600000000  # 2026-01-01T00:00:00Z
ACCEPTED_AT_US = TIME_US + 2500000
DOCUMENT = PROTO / "PROTOCOL.md"
HEADING = "## 16. A worked example\n"
WIDTH = 96


def sha(data):
    return hashlib.sha256(data).digest()


SIGN_SCALAR = int.from_bytes(sha(b"truc example sender"), "big")
SIGN_KEY = ec.derive_private_key(SIGN_SCALAR, ec.SECP256R1())
LOG_KEY = ed25519.Ed25519PrivateKey.from_private_bytes(sha(b"truc example log"))


def make_events():
    first = events.build(
        "permit-2026-0001/3",
        f"urn:truc:{SENDER}:desk",
        "construction.permit.granted.v1",
        subject="permit-2026-0001",
        time_us=TIME_US,
        recipients="LAND.7",
        salt=sha(b"truc example salt 1")[:16],
        data=b'{"step":3}',
    )
    second = events.build(
        "permit-2026-0002/1",
        f"urn:truc:{SENDER}:desk",
        "construction.permit.received.v1",
        recipients="TAX.7,@audit",
        salt=sha(b"truc example salt 2")[:16],
    )
    return [first, second]


def compute(signature=None):
    """-> (ordered dict of the values that the document prints, the signature). A missing signature is made."""
    spki = keys.spki_of(SIGN_KEY)
    keyid = keys.keyid_of(spki)
    both = make_events()
    hashes = [events.event_hash(e) for e in both]
    payload = truc.Seal(
        origin=ORIGIN,
        sender=SENDER,
        keyid=keyid,
        chain=sha(b"truc example chain")[:16],
        number=1,
        count=2,
        root=merkle.root(hashes),
        sealed_at_us=TIME_US + 1000000,
    ).SerializeToString(deterministic=True)
    signed = seals.signed_bytes(payload)
    if signature is None:
        signature = keys.sign(SIGN_KEY, signed)
    envelope = dsse.Envelope(payload=payload, payloadType=seals.PAYLOAD_TYPE)
    envelope.signatures.add(sig=signature, keyid=keyid)
    envelope = envelope.SerializeToString(deterministic=True)
    leaf0 = leaf.encode(TIME_US, 1, sha(b"truc example genesis"), [(0, 0)])
    leaf1 = leaf.encode(ACCEPTED_AT_US, 2, sha(signed), [(0, 0), (10, 0)])
    leaf_hashes = [merkle.leaf_hash(leaf0), merkle.leaf_hash(leaf1)]
    head = merkle.root(leaf_hashes)
    checkpoint = note.sign(note.checkpoint_text(ORIGIN, 2, head), ORIGIN, LOG_KEY)
    proof = note.format_proof(1, merkle.inclusion(1, leaf_hashes), checkpoint)
    (submit,) = frames.encode(frames.SUBMIT, truc.Submit(envelope=envelope), events.pack_body(both))
    receipts = truc.Receipts(checkpoint=checkpoint, consistency=leaf_hashes[1:])
    receipts.receipts.add(seal_digest=sha(signed), leaf=leaf1, leaf_index=1, path=[leaf_hashes[0]])
    (answer,) = frames.encode(frames.RECEIPTS, receipts)
    out = {
        "spki": spki,
        "keyid": keyid,
        "verifier key": note.verifier_key(ORIGIN, note.raw_public(LOG_KEY)),
        "event 0": both[0],
        "event 1": both[1],
        "event hash 0": hashes[0],
        "event hash 1": hashes[1],
        "idempotency key 0": events.idempotency_key(SENDER, f"urn:truc:{SENDER}:desk", "permit-2026-0001/3"),
        "seal root": merkle.root(hashes),
        "seal payload": payload,
        "signed bytes": signed,
        "seal digest": sha(signed),
        "signature": signature,
        "envelope": envelope,
        "SUBMIT part 1": submit[0],
        "SUBMIT part 2": submit[1],
        "leaf 0": leaf0,
        "leaf 1": leaf1,
        "leaf hash 0": leaf_hashes[0],
        "leaf hash 1": leaf_hashes[1],
        "log root": head,
        "checkpoint": checkpoint.decode(),
        "RECEIPTS part 1": answer[0],
        "tlog-proof": proof.decode(),
    }
    return out


STORY = [
    (
        """The values below are all hex unless they are text; long ones run over several lines. `tests/blackbox/trucpy/example.py`
makes them from the inputs stated here and `tests/blackbox/test_example.py` compares. Messages are encoded with their
fields in order of their numbers and map entries in order of their keys (a sender may do otherwise).

The sender `BUILDING.7` signs with the P-256 key whose private scalar is SHA-256("truc example sender"), big-endian. The log
`example.truc/log` signs with the Ed25519 key whose seed is SHA-256("truc example log").""",
        ("spki", "keyid", "verifier key"),
    ),
    (
        """Two events. The first: id `permit-2026-0001/3`, source `urn:truc:BUILDING.7:desk`, type `construction.permit.granted.v1`,
subject `permit-2026-0001`, time 2026-01-01T00:00:00Z, recipients `LAND.7`, binary_data `{"step":3}`. The second: id
`permit-2026-0002/1`, the same source, type `construction.permit.received.v1`, recipients `TAX.7,@audit`, empty binary_data.
Their salts are the first 16 bytes of SHA-256("truc example salt 1") and SHA-256("truc example salt 2").""",
        ("event 0", "event 1", "event hash 0", "event hash 1", "idempotency key 0"),
    ),
    (
        """The seal: chain = first 16 bytes of SHA-256("truc example chain"), number 1, `previous` empty, sealed at
2026-01-01T00:00:01Z. Its root is SHA-256(01 ‖ event hash 0 ‖ event hash 1). The signature is one of many possible ones
(ECDSA): verify it, do not compare.""",
        ("seal root", "seal payload", "signed bytes", "seal digest", "signature", "envelope"),
    ),
    (
        """The frame that submits it, in two parts.""",
        ("SUBMIT part 1", "SUBMIT part 2"),
    ),
    (
        """The log holds one leaf before: leaf 0, accepted 2026-01-01T00:00:00Z, first sequence 1, seal digest
SHA-256("truc example genesis"), one event, accepted. The hub takes the seal 2.5 s later: the first event is accepted, the
second refused with NOT_GRANTED (10); they have the sequences 2 and 3.""",
        ("leaf 0", "leaf 1", "leaf hash 0", "leaf hash 1", "log root"),
    ),
    (
        """The checkpoint, a signed note (its last line ends in a newline), and the frame that answers. The session's checkpoint before
was of size 1; the consistency proof from size 1 to size 2 is the one hash `leaf hash 1`.""",
        ("checkpoint", "RECEIPTS part 1"),
    ),
    (
        """The receipt in its file form.""",
        ("tlog-proof",),
    ),
]
TEXTS = {"checkpoint", "tlog-proof"}


def render(values):
    """Section 16, without its heading."""
    out = []
    for story, names in STORY:
        out += ["", story, "", "```"]
        for name in names:
            value = values[name]
            if name in TEXTS:
                if len(names) > 1:
                    out.append(f"{name}:")
                out += value.rstrip("\n").split("\n")
                continue
            value = value if isinstance(value, str) else value.hex()
            lines = [value[i : i + WIDTH] for i in range(0, len(value), WIDTH)]
            if len(name) + 3 + len(value) <= WIDTH + 24:
                out.append(f"{name} = {value}")
            else:
                out += [f"{name} ="] + [f"  {line}" for line in lines]
        out.append("```")
    return "\n".join(out) + "\n"


def section(text):
    """Section 16 of the document's text, without its heading."""
    return text.split(HEADING)[1].split("\n## ")[0]


def printed_signature(text):
    """The signature that the document prints, or None."""
    lines = iter(section(text).splitlines())
    for line in lines:
        if line.startswith("signature ="):
            hexes = line.split("=", 1)[1].strip()
            while not hexes or len(hexes) % WIDTH == 0:
                hexes += next(lines).strip()
            return bytes.fromhex(hexes)
    return None


def main():
    text = DOCUMENT.read_text("utf-8")
    signature = printed_signature(text)
    signed = compute(b"")["signed bytes"]
    if signature and not keys.verify(keys.spki_of(SIGN_KEY), signature, signed):
        signature = None
    body = render(compute(signature))
    if "--write" in sys.argv[1:]:
        head, tail = text.split(HEADING)
        _, sep, after = tail.partition("\n## ")
        DOCUMENT.write_text(head + HEADING + body + (sep + after if sep else ""), "utf-8")
    else:
        print(body, end="")


if __name__ == "__main__":
    main()
