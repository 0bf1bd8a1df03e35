"""Signed notes, checkpoints and tlog-proofs of the C2SP (section 8)."""

import base64
import hashlib
from dataclasses import dataclass

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ed25519

from . import merkle

ED25519 = 1
DASH = "\u2014"


class NoteError(ValueError):
    """A note, checkpoint or proof that does not parse or does not verify."""


def key_hash(name, public):
    return hashlib.sha256(name.encode() + b"\n" + bytes([ED25519]) + public).digest()[:4]


def verifier_key(name, public):
    return f"{name}+{key_hash(name, public).hex()}+{base64.b64encode(bytes([ED25519]) + public).decode()}"


@dataclass(frozen=True)
class Verifier:
    name: str
    public: bytes

    @classmethod
    def parse(cls, text):
        name, hashed, coded = text.strip().split("+", 2)
        raw = base64.b64decode(coded, validate=True)
        if len(raw) != 33 or raw[0] != ED25519 or hashed != key_hash(name, raw[1:]).hex():
            raise NoteError("verifier key does not fit itself")
        return cls(name, raw[1:])


def sign(text, name, private):
    """A note over `text` (ends in a newline) under one Ed25519 key."""
    raw = raw_public(private)
    signature = base64.b64encode(key_hash(name, raw) + private.sign(text.encode())).decode()
    return f"{text}\n{DASH} {name} {signature}\n".encode()


def raw_public(private):
    return private.public_key().public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)


def open_note(note, verifier):
    """-> text of the note, once a signature by `verifier` holds; signatures of unknown keys are passed over."""
    try:
        whole = note.decode("utf-8")
    except UnicodeDecodeError as e:
        raise NoteError("note is not UTF-8") from e
    at = whole.rfind("\n\n")
    if at < 0 or not whole.endswith("\n"):
        raise NoteError("note has no signatures")
    text, lines = whole[: at + 1], whole[at + 2 :].split("\n")[:-1]
    good = False
    for line in lines:
        parts = line.split(" ")
        if len(parts) != 3 or parts[0] != DASH:
            raise NoteError("malformed signature line")
        raw = base64.b64decode(parts[2], validate=True)
        if parts[1] != verifier.name or raw[:4] != key_hash(verifier.name, verifier.public):
            continue
        try:
            ed25519.Ed25519PublicKey.from_public_bytes(verifier.public).verify(raw[4:], text.encode())
        except InvalidSignature as e:
            raise NoteError("signature of the log's key is wrong") from e
        good = True
    if not good:
        raise NoteError("no signature by the log's key")
    return text


@dataclass(frozen=True)
class Checkpoint:
    origin: str
    size: int
    root: bytes
    note: bytes

    @classmethod
    def open(cls, note, verifier, origin):
        lines = open_note(note, verifier).split("\n")
        if len(lines) < 4 or lines[0] != origin:
            raise NoteError("checkpoint of another log")
        if not lines[1].isascii() or not lines[1].isdigit() or (len(lines[1]) > 1 and lines[1][0] == "0"):
            raise NoteError("tree size is no decimal number")
        head = base64.b64decode(lines[2], validate=True)
        if len(head) != 32:
            raise NoteError("root is no hash")
        return cls(origin, int(lines[1]), head, bytes(note))


def checkpoint_text(origin, size, head):
    return f"{origin}\n{size}\n{base64.b64encode(head).decode()}\n"


TLOG_PROOF = "c2sp.org/tlog-proof@v1"


def format_proof(index, path, checkpoint_note):
    lines = [TLOG_PROOF, f"index {index}", *[base64.b64encode(h).decode() for h in path], "", ""]
    return "\n".join(lines).encode() + checkpoint_note


def verify_proof(proof, leaf_hash, verifier, origin):
    """-> (index, Checkpoint) once the tlog-proof includes the leaf."""
    head, sep, note = proof.partition(b"\n\n")
    lines = head.decode("ascii").split("\n")
    if not sep or len(lines) < 2 or lines[0] != TLOG_PROOF or not lines[1].startswith("index "):
        raise NoteError("not a tlog-proof")
    index = int(lines[1][6:])
    path = [base64.b64decode(line, validate=True) for line in lines[2:]]
    checkpoint = Checkpoint.open(note, verifier, origin)
    if not merkle.verify_inclusion(index, checkpoint.size, leaf_hash, path, checkpoint.root):
        raise NoteError("proof does not include the leaf")
    return index, checkpoint
