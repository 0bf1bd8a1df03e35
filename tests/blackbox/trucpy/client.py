"""A client that believes nothing: every receipt, checkpoint and delivery is verified before it is handed on."""

import base64
import json
import os
import time
from dataclasses import dataclass, field

from zmq.utils import z85
import zmq

from . import events as ev
from . import frames, keys, leaf, merkle, note, reasons, seals
from .schema import truc
from .session import Session, SessionLost, Timeout

__all__ = ["Agency", "Client", "Delivery", "LogFork", "Refused", "Receipt", "SessionLost", "Timeout", "Violation"]


class Violation(Exception):
    """The hub broke the protocol, or sent something that does not verify."""


class LogFork(Violation):
    """The hub does not serve the continuation of the log that this client knows."""


class Refused(Exception):
    """A whole seal was refused."""

    def __init__(self, message):
        super().__init__(f"{reasons.name(message.reason)}: {message.text}")
        self.reason, self.text, self.retry_after_ms = message.reason, message.text, message.retry_after_ms
        self.message = message


@dataclass
class Agency:
    """Who a client is: code, signing key, transport key (Z85) and what its adapter store remembers."""

    code: str
    private: object = field(default_factory=keys.new_private)
    transport: tuple = field(default_factory=zmq.curve_keypair)
    instance: bytes = field(default_factory=lambda: os.urandom(16))
    checkpoint: object = None  # note.Checkpoint, the newest verified one
    last_head: bytes = b""  # digest of the last seal that it holds a receipt of

    @property
    def spki(self):
        return keys.spki_of(self.private)

    @property
    def keyid(self):
        return keys.keyid_of(self.spki)

    @property
    def source(self):
        return f"urn:truc:{self.code}"

    @property
    def transport_key(self):
        """CURVE public key, 32 bytes."""
        return z85.decode(self.transport[0])


@dataclass(frozen=True)
class Receipt:
    leaf: object
    leaf_bytes: bytes
    leaf_index: int
    path: tuple
    checkpoint: object

    @property
    def outcomes(self):
        return self.leaf.outcomes

    @property
    def codes(self):
        return [o.code for o in self.leaf.outcomes]


@dataclass(frozen=True)
class Delivery:
    lease: int
    number: int
    sequence: int
    previous_sequence: int
    attempt: int
    replay: bool
    receipt_wanted: bool
    data: bytes
    event: object
    seal: object
    index: int
    accepted_at_us: int
    leaf_index: int
    floor: int

    @property
    def id(self):
        return self.event.id

    @property
    def subject(self):
        return self.event.attributes["subject"].ce_string if "subject" in self.event.attributes else None


class Client(Session):
    """A session of one agency with one log."""

    def __init__(self, endpoint, server_key, agency, origin, verifier):
        super().__init__(endpoint, server_key, agency.transport)
        self.agency, self.origin, self.verifier = agency, origin, verifier
        self.checkpoint = None  # the last one of this session
        self.keyring = {}
        self.chain = seals.Chain(origin, agency.code, agency.private, agency.last_head)
        self.welcome = None
        self.sealed, self.receipts, self.refusals = {}, {}, {}
        self.raw_deliveries, self.inbox = [], []
        self.settled, self.stale, self.subscribed, self.not_subscribed = [], [], [], []
        self.proofs, self.answers, self.pongs = {}, {}, {}
        self.numbers = {}
        self.credit_events = self.credit_bytes = 0
        self.requests = 0

    # -- greeting
    def hello_message(self, **changes):
        fields = dict(
            protocol_min=1,
            protocol_max=1,
            agency=self.agency.code,
            origin=self.origin,
            software="trucpy/1",
            instance=self.agency.instance,
            checkpoint=self.agency.checkpoint.note if self.agency.checkpoint else b"",
        )
        fields.update(changes)
        return truc.Hello(**fields)

    def hello(self, timeout=20.0, **changes):
        """HELLO, and WELCOME verified: note, origin, and that the log continues the one that the agency knows."""
        self.send(frames.HELLO, self.hello_message(**changes))
        frame = self.recv(timeout)
        if frame.kind != frames.WELCOME:
            raise Violation(f"kind {frame.kind} instead of WELCOME")
        welcome = frame.message
        if welcome.protocol != 1 or welcome.origin != self.origin:
            raise Violation("WELCOME names another protocol or log")
        self.check_welcome(welcome)
        self.welcome = welcome
        return welcome

    def check_welcome(self, welcome):
        new = self.open_checkpoint(welcome.checkpoint)
        self.check_growth(self.agency.checkpoint, new, welcome.consistency)
        if welcome.HasField("last"):
            last = welcome.last
            hashed = merkle.leaf_hash(last.leaf)
            if not merkle.verify_inclusion(last.leaf_index, new.size, hashed, list(last.path), new.root):
                raise Violation("the proof of the last seal does not verify")
            if leaf.parse(last.leaf).digest != last.digest:
                raise Violation("the last seal's leaf is of another seal")
        self.advance(new)

    def open_checkpoint(self, text):
        try:
            return note.Checkpoint.open(text, self.verifier, self.origin)
        except ValueError as e:
            raise Violation(f"checkpoint: {e}") from e

    def check_growth(self, old, new, consistency):
        """Every checkpoint comes with the proof that it continues the last one: never back, never aside."""
        proof = list(consistency)
        if old is None or old.size == 0:
            if proof:
                raise LogFork("a proof from nothing")
            return
        if new.size < old.size:
            raise LogFork(f"the log shrank from {old.size} to {new.size}")
        if not merkle.verify_consistency(old.size, new.size, old.root, new.root, proof):
            raise LogFork(f"the log of {new.size} does not continue the one of {old.size}")

    def advance(self, new):
        """`new` is proven to continue the last one of this session; other sessions of the agency may be further."""
        known, self.checkpoint = self.agency.checkpoint, new
        if known and known.size == new.size and known.root != new.root:
            raise LogFork(f"two roots for size {known.size}")
        if known is None or new.size > known.size:
            self.agency.checkpoint = new

    # -- incoming
    def pump(self, timeout=20.0):
        """Takes one frame and files what it brings."""
        frame = self.recv(timeout)
        m = frame.message
        if frame.kind == frames.RECEIPTS:
            self.on_receipts(m)
        elif frame.kind == frames.REFUSED:
            self.refusals[bytes(m.seal_digest)] = m
        elif frame.kind == frames.DELIVER:
            self.raw_deliveries.append((m, frame.body))
        elif frame.kind == frames.SETTLED:
            self.settled += expand(m.ranges)
            self.stale += expand(m.stale)
            self.subscribed += m.subscriptions
            self.not_subscribed += m.refused_subscriptions
        elif frame.kind == frames.PROOF:
            if m.reason == 0:
                checkpoint = self.open_checkpoint(m.checkpoint)
                self.check_growth(self.checkpoint, checkpoint, m.consistency)
                self.advance(checkpoint)
            self.proofs[m.request] = m
        elif frame.kind == frames.ANSWER:
            self.answers[m.request] = (m, frame.body)
        elif frame.kind == frames.PONG:
            self.pongs[m.token] = m
        else:
            raise Violation(f"kind {frame.kind} in an open session")

    def wait_until(self, ready, timeout=20.0, what="an answer"):
        deadline = time.monotonic() + timeout
        while not ready():
            left = deadline - time.monotonic()
            if left <= 0:
                raise Timeout(f"waited {timeout} s for {what}")
            try:
                self.pump(left)
            except Timeout as e:
                raise Timeout(f"waited {timeout} s for {what}") from e

    # -- submitting
    def on_receipts(self, message):
        checkpoint = self.open_checkpoint(message.checkpoint)
        self.check_growth(self.checkpoint, checkpoint, message.consistency)
        for r in message.receipts:
            digest = bytes(r.seal_digest)
            sealed = self.sealed.get(digest)
            if sealed is None:
                raise Violation("receipt of a seal that was not sent")
            hashed = merkle.leaf_hash(r.leaf)
            if not merkle.verify_inclusion(r.leaf_index, checkpoint.size, hashed, list(r.path), checkpoint.root):
                raise Violation("the receipt's path does not lead to the checkpoint")
            parsed = leaf.parse(r.leaf)
            if parsed.digest != digest or len(parsed.outcomes) != sealed.seal.count:
                raise Violation("the leaf is of another seal")
            self.receipts[digest] = Receipt(parsed, r.leaf, r.leaf_index, tuple(r.path), checkpoint)
            self.agency.last_head = digest
        self.advance(checkpoint)

    def send_seal(self, sealed, body=None):
        """SUBMIT; does not wait. `body` overrides the events' body."""
        self.sealed[sealed.digest] = sealed
        self.receipts.pop(sealed.digest, None)
        self.refusals.pop(sealed.digest, None)
        body = ev.pack_body(sealed.events) if body is None else body
        self.send(frames.SUBMIT, truc.Submit(envelope=sealed.envelope), body)

    def result(self, sealed, timeout=20.0):
        """-> Receipt, verified; raises Refused."""
        done = lambda: sealed.digest in self.receipts or sealed.digest in self.refusals  # noqa: E731
        self.wait_until(done, timeout, "a receipt")
        if sealed.digest in self.refusals:
            raise Refused(self.refusals[sealed.digest])
        return self.receipts[sealed.digest]

    def submit(self, *events, timeout=20.0):
        """Seals, sends and waits. -> Receipt."""
        sealed = self.chain.seal(events)
        self.send_seal(sealed)
        return self.result(sealed, timeout)

    def new_chain(self):
        """What a client does at its start and after a permanent refusal."""
        self.chain = seals.Chain(self.origin, self.agency.code, self.agency.private, self.agency.last_head)
        return self.chain

    def event(self, event_id, type_, **kw):
        """An event of this agency."""
        return ev.build(event_id, kw.pop("source", self.agency.source), type_, **kw)

    # -- receiving
    def credit(self, events, size=1 << 24):
        self.credit_events += events
        self.credit_bytes += size
        self.send(frames.CREDIT, truc.Credit(events=events, bytes=size))

    def spkis_of(self, code):
        if code not in self.keyring:
            rows = self.query("keys", agency=code)
            self.keyring[code] = [base64.b64decode(r["spki"]) for r in rows if r.get("spki")]
        return self.keyring[code]

    def unpack(self, message, body):
        """Verifies everything that one DELIVER holds. -> list of Delivery"""
        out, bodies = [], ev.unpack_body(body)
        if len(bodies) != sum(len(g.items) for g in message.groups) or not bodies:
            raise Violation("DELIVER's body does not fit its items")
        self.credit_events -= len(bodies)
        self.credit_bytes -= sum(map(len, bodies))
        if self.credit_events < 0 or self.credit_bytes < 0:
            raise Violation("delivered beyond credit")
        for group in message.groups:
            sender = seals.open_envelope(group.envelope, self.origin).seal.sender
            try:
                opened = seals.verify_envelope(group.envelope, self.spkis_of(sender), self.origin)
            except seals.SealError:
                # The sender may have got a new key since: ask once again.
                self.keyring.pop(sender, None)
                opened = seals.verify_envelope(group.envelope, self.spkis_of(sender), self.origin)
            mine = bodies[len(out) : len(out) + len(group.items)]
            indexes = [item.index for item in group.items]
            if indexes != sorted(set(indexes)) or not indexes:
                raise Violation("the items of a group do not stand in the order of their indexes")
            hashes = {i: ev.event_hash(data) for i, data in zip(indexes, mine)}
            seals.verify_group(opened, hashes, list(group.nodes))
            out += [self.unpack_item(message, group, opened, i, data) for i, data in zip(group.items, mine)]
        return out

    def unpack_item(self, message, group, opened, item, data):
        event = ev.parse(data)
        if ev.source_agency(event.source) != opened.seal.sender:
            raise Violation("source is not of the sealing agency")
        # The floor passes dead letters: what is requeued comes again from below it, and never as a first attempt.
        if item.number < 1 or item.attempt < 1 or (item.number <= message.floor and item.attempt == 1):
            raise Violation("inbox number or attempt out of range")
        if self.numbers.setdefault(item.number, item.sequence) != item.sequence:
            raise Violation("an inbox number names two events")
        if (item.number == 1) != (item.previous_sequence == 0):
            raise Violation("previous_sequence of the first inbox number")
        if item.number > 1 and self.numbers.setdefault(item.number - 1, item.previous_sequence) != item.previous_sequence:
            raise Violation("an inbox number was left out or changed")
        return Delivery(
            message.lease,
            item.number,
            item.sequence,
            item.previous_sequence,
            item.attempt,
            item.replay,
            item.receipt_wanted,
            data,
            event,
            opened.seal,
            item.index,
            group.accepted_at_us,
            group.leaf_index,
            message.floor,
        )

    def collect(self):
        while self.raw_deliveries:
            self.inbox += self.unpack(*self.raw_deliveries.pop(0))

    def receive(self, count=1, timeout=20.0):
        """The next `count` deliveries, verified."""
        deadline = time.monotonic() + timeout
        while True:
            self.collect()
            if len(self.inbox) >= count:
                taken, self.inbox = self.inbox[:count], self.inbox[count:]
                return taken
            left = deadline - time.monotonic()
            try:
                self.pump(max(left, 0))
            except Timeout as e:
                raise Timeout(f"{len(self.inbox)} of {count} deliveries within {timeout} s") from e

    def receive_one(self, timeout=20.0):
        return self.receive(1, timeout)[0]

    def quiet(self, rounds=3):
        """Whatever the hub had for this client has come after some pings. -> deliveries that came (not taken)."""
        for _ in range(rounds):
            self.ping()
        self.collect()
        return list(self.inbox)

    def ack(self, *deliveries, wait=True, timeout=20.0):
        """ACK; with `wait` until each one is settled or stale. -> list of the stale (lease, number)."""
        pairs = [(d.lease, d.number) for d in deliveries]
        return self.ack_pairs(pairs, wait, timeout)

    def ack_pairs(self, pairs, wait=True, timeout=20.0):
        message = truc.Ack()
        for lease, number in pairs:
            message.ranges.add(lease=lease, first=number, count=1)
        self.send(frames.ACK, message)
        if wait:
            done = lambda: all(p in self.settled or p in self.stale for p in pairs)  # noqa: E731
            self.wait_until(done, timeout, "SETTLED")
        return [p for p in pairs if p in self.stale]

    def nack(self, delivery, delay_ms=0, note_text="", reject=False):
        message = truc.Nack(
            lease=delivery.lease, number=delivery.number, delay_ms=delay_ms, note=note_text, reject=reject
        )
        self.send(frames.NACK, message)

    def subscribe(self, type_, source_agency="", remove=False, timeout=20.0):
        before = self.subscribed.count(type_)
        self.send(frames.SUBSCRIBE, truc.Subscribe(type=type_, source_agency=source_agency, remove=remove))
        self.wait_until(lambda: self.subscribed.count(type_) > before, timeout, "the subscription")

    # -- asking
    def query_page(self, what, arguments=None, cursor="", limit=0, timeout=20.0):
        """-> (reason, rows, cursor)"""
        self.requests += 1
        request = self.requests
        message = truc.Query(request=request, what=what, cursor=cursor, limit=limit)
        for k, v in (arguments or {}).items():
            message.arguments[k] = v
        self.send(frames.QUERY, message)
        self.wait_until(lambda: request in self.answers, timeout, f"the answer to {what}")
        answer, body = self.answers.pop(request)
        rows = json.loads(body.decode("utf-8")) if body else []
        return answer.reason, rows, answer.cursor

    def query(self, what, **arguments):
        """All rows of all pages; raises Violation where the hub refuses."""
        rows, cursor = [], ""
        while True:
            reason, page, cursor = self.query_page(what, arguments, cursor)
            if reason:
                raise Violation(f"query {what}: {reasons.name(reason)}")
            rows += page
            if not cursor:
                return rows

    def get_proof(self, sequence, timeout=20.0):
        """-> Proof message, as it came; evidence.py verifies it."""
        self.requests += 1
        request = self.requests
        self.send(frames.GET_PROOF, truc.GetProof(request=request, sequence=sequence))
        self.wait_until(lambda: request in self.proofs, timeout, "PROOF")
        return self.proofs.pop(request)

    def ping(self, timeout=20.0):
        self.requests += 1
        token = self.requests
        self.send(frames.PING, truc.Ping(token=token))
        self.wait_until(lambda: token in self.pongs, timeout, "PONG")
        return self.pongs.pop(token)

    def say_bye(self, reason=0):
        self.send(frames.BYE, truc.Bye(reason=reason))


def expand(ranges):
    """AckRanges -> list of (lease, number)."""
    return [(r.lease, r.first + i) for r in ranges for i in range(r.count)]
