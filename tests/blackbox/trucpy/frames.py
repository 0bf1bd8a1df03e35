"""Frames (section 2): how one message of the protocol becomes ZeroMQ parts and back."""

from dataclasses import dataclass

from .schema import truc

VERSION = 1
MORE = 1
PIECE = 262144
PART1_TO_HUB = 65536
PART1_TO_CLIENT = 1048576

HELLO, SUBMIT, CREDIT, ACK, NACK, SUBSCRIBE, GET_PROOF, QUERY, PING, BYE, DATA = range(1, 12)
WELCOME, RECEIPTS, REFUSED, DELIVER, SETTLED, PROOF, ANSWER, PONG = range(33, 41)

MESSAGES = {
    BYE: truc.Bye,
    WELCOME: truc.Welcome,
    RECEIPTS: truc.Receipts,
    REFUSED: truc.Refused,
    DELIVER: truc.Deliver,
    SETTLED: truc.Settled,
    PROOF: truc.Proof,
    ANSWER: truc.Answer,
    PONG: truc.Pong,
}
WITH_BODY = {SUBMIT, DELIVER, ANSWER}


class FrameError(ValueError):
    """The hub broke a rule of section 2."""


@dataclass
class Frame:
    kind: int
    message: object
    body: bytes = None


def header(kind, flags=0, version=VERSION, zero=0):
    return bytes([version, kind, flags, zero])


def encode(kind, message=None, body=None):
    """-> list of ZeroMQ messages, each a list of parts."""
    first = message.SerializeToString(deterministic=True) if message is not None else b""
    if body is None:
        return [[header(kind) + first]]
    pieces = [body[i : i + PIECE] for i in range(0, len(body), PIECE)] or [b""]
    more = lambda i: MORE if i < len(pieces) - 1 else 0  # noqa: E731
    out = [[header(kind, more(0)) + first, pieces[0]]]
    out += [[header(DATA, more(i)), pieces[i]] for i in range(1, len(pieces))]
    return out


class Reader:
    """Puts the frames of one direction together again."""

    def __init__(self):
        self.open = None

    def feed(self, parts):
        """-> Frame, or None while pieces are missing."""
        if not 1 <= len(parts) <= 2 or len(parts[0]) < 4 or len(parts[0]) > PART1_TO_CLIENT:
            raise FrameError("wrong parts")
        version, kind, flags, zero = parts[0][:4]
        if version != VERSION or flags & ~MORE or zero:
            raise FrameError("wrong header")
        if len(parts) == 2 and len(parts[1]) > PIECE:
            raise FrameError("piece too long")
        if kind == DATA:
            if self.open is None or len(parts) != 2 or len(parts[0]) != 4:
                raise FrameError("DATA out of place")
            self.open.body += parts[1]
        else:
            if self.open is not None or kind not in MESSAGES:
                raise FrameError(f"kind {kind} out of place")
            if (len(parts) == 2) != (kind in WITH_BODY) or (flags and kind not in WITH_BODY):
                raise FrameError("body missing or not allowed")
            body = bytes(parts[1]) if len(parts) == 2 else None
            self.open = Frame(kind, MESSAGES[kind].FromString(parts[0][4:]), body)
        if flags & MORE:
            return None
        whole, self.open = self.open, None
        return whole
