"""A hub that lies: each thing that the client verifies is forged once, and the client says so. No daemon is needed."""

import unittest

from cryptography.hazmat.primitives.asymmetric import ed25519

from trucpy import events as ev
from trucpy import leaf, merkle, note, seals
from trucpy.client import Agency, Client, LogFork, Violation
from trucpy.schema import truc

ORIGIN = "lying.truc/log"
SERVER = b"rq:rM>}U?@Lns47E1%kR.o@n%FcmmsL/@{H8]yf7"  # the example key of CurveZMQ; nobody listens


class Log:
    """Leaves and checkpoints as an honest hub would make them."""

    def __init__(self):
        self.key = ed25519.Ed25519PrivateKey.generate()
        self.verifier = note.Verifier(ORIGIN, note.raw_public(self.key))
        self.leaves, self.sequence = [], 1
        self.append(b"\x42" * 32, 1)

    def append(self, digest, count):
        self.leaves.append(leaf.encode(1700000000000000, self.sequence, digest, [(0, 0)] * count))
        self.sequence += count
        return len(self.leaves) - 1

    def hashes(self, size=None):
        return [merkle.leaf_hash(x) for x in self.leaves[:size]]

    def checkpoint(self, size=None, key=None, origin=ORIGIN):
        size = len(self.leaves) if size is None else size
        return note.sign(note.checkpoint_text(origin, size, merkle.root(self.hashes(size))), origin, key or self.key)

    def receipt(self, index, old_size=0):
        out = truc.Receipts(checkpoint=self.checkpoint(), consistency=merkle.consistency(old_size, self.hashes()))
        out.receipts.add(
            seal_digest=leaf.parse(self.leaves[index]).digest,
            leaf=self.leaves[index],
            leaf_index=index,
            path=merkle.inclusion(index, self.hashes()),
        )
        return out


class LyingHub(unittest.TestCase):
    def setUp(self):
        self.log = Log()
        self.client = Client("tcp://127.0.0.1:9", SERVER, Agency("ME"), ORIGIN, self.log.verifier)
        self.addCleanup(self.client.close)

    # -- checkpoints
    def welcome(self, old_size, **changes):
        fields = dict(protocol=1, origin=ORIGIN, checkpoint=self.log.checkpoint())
        fields["consistency"] = merkle.consistency(old_size, self.log.hashes())
        fields.update(changes)
        return truc.Welcome(**fields)

    def grow(self, count):
        for i in range(count):
            self.log.append(bytes([i]) * 32, 2)

    def test_an_honest_continuation_is_taken(self):
        self.grow(4)
        self.client.check_welcome(self.welcome(0, consistency=[]))
        self.grow(9)
        self.client.check_welcome(self.welcome(5))
        self.assertEqual(self.client.agency.checkpoint.size, 14)

    def test_forged_continuations(self):
        self.grow(4)
        self.client.check_welcome(self.welcome(0, consistency=[]))
        known = self.client.agency.checkpoint
        small = self.log.checkpoint(3)
        self.grow(9)
        good = self.welcome(5)
        fork = Log()
        fork.key = self.log.key
        for i in range(13):
            fork.append(bytes([i + 100]) * 32, 2)
        lies = {
            "no proof": self.welcome(5, consistency=[]),
            "a proof from another size": self.welcome(4),
            "a smaller tree": self.welcome(0, checkpoint=small, consistency=[]),
            "a fork with its own proof": self.welcome(
                0, checkpoint=fork.checkpoint(), consistency=merkle.consistency(5, fork.hashes())
            ),
            "one hash too many": self.welcome(5, consistency=list(good.consistency) + [bytes(32)]),
            "a key that is not the log's": self.welcome(
                5, checkpoint=self.log.checkpoint(key=ed25519.Ed25519PrivateKey.generate())
            ),
            "another log": self.welcome(5, checkpoint=self.log.checkpoint(origin="other.truc/log")),
            "no note": self.welcome(5, checkpoint=b""),
        }
        for name, lie in lies.items():
            with self.subTest(name), self.assertRaises(Violation):
                self.client.check_welcome(lie)
            self.assertEqual(self.client.agency.checkpoint, known, name)
        self.client.check_welcome(good)

    def test_two_roots_for_one_size(self):
        fork = Log()
        fork.key = self.log.key
        self.grow(1)
        fork.append(b"\x99" * 32, 1)
        self.client.check_welcome(self.welcome(0, consistency=[]))
        with self.assertRaises(LogFork):
            self.client.on_receipts(truc.Receipts(checkpoint=fork.checkpoint()))

    def test_a_log_that_forks_within_a_session(self):
        self.client.check_welcome(self.welcome(0, consistency=[]))
        fork = Log()
        fork.key = self.log.key
        fork.append(b"\x99" * 32, 1)
        self.grow(1)
        sealed = self.client.chain.seal([ev.build("1", "urn:truc:ME", "x.v1")])
        self.client.sealed = {sealed.digest: sealed}
        self.client.on_receipts(truc.Receipts(checkpoint=self.log.checkpoint(), consistency=self.log.hashes()[1:]))
        known = self.client.agency.checkpoint
        self.assertEqual(known.size, 2)
        index = self.log.append(sealed.digest, 1)
        fork.append(sealed.digest, 1)
        good = self.log.receipt(index, 2)
        lies = {
            "a fork with the proof that it has": fork.receipt(index, 2),
            "a fork with the true log's proof": fork.receipt(index),
            "no proof": self.log.receipt(index),
            "a proof from another size": self.log.receipt(index, 1),
            "a step back": truc.Receipts(checkpoint=self.log.checkpoint(1)),
        }
        lies["a fork with the true log's proof"].consistency[:] = good.consistency
        for name, lie in lies.items():
            with self.subTest(name), self.assertRaises(LogFork):
                self.client.on_receipts(lie)
            self.assertEqual(self.client.receipts, {}, name)
            self.assertEqual(self.client.agency.checkpoint, known, name)
        self.client.on_receipts(good)
        self.assertEqual(list(self.client.receipts), [sealed.digest])

    def test_a_last_seal_that_is_not_in_the_log(self):
        self.grow(3)
        last = truc.LastSeal(chain=bytes(16), number=1, digest=b"\x01" * 32, leaf=self.log.leaves[2], leaf_index=2)
        last.path.extend(merkle.inclusion(2, self.log.hashes()))
        self.client.check_welcome(self.welcome(0, consistency=[], last=last))
        last.leaf_index = 1
        with self.assertRaises(Violation):
            self.client.check_welcome(self.welcome(4, last=last))

    # -- receipts
    def test_forged_receipts(self):
        sealed = self.client.chain.seal([ev.build("1", "urn:truc:ME", "x.v1")])
        other = self.client.chain.seal([ev.build("2", "urn:truc:ME", "x.v1")])
        self.client.sealed = {s.digest: s for s in (sealed, other)}
        index = self.log.append(sealed.digest, 1)
        second = self.log.append(other.digest, 2)
        good = self.log.receipt(index)

        def changed(**fields):
            out = truc.Receipts.FromString(good.SerializeToString())
            for k, v in fields.items():
                if k == "path":
                    del out.receipts[0].path[:]
                    out.receipts[0].path.extend(v)
                else:
                    setattr(out.receipts[0], k, v)
            return out

        wrong_root = truc.Receipts.FromString(good.SerializeToString())
        wrong_root.checkpoint = self.log.checkpoint(index)
        lies = {
            "the digest of another seal": changed(seal_digest=other.digest),
            "a seal that was never sent": changed(seal_digest=b"\x01" * 32),
            "another index": changed(leaf_index=0),
            "a leaf that accepts what was refused": changed(leaf=good.receipts[0].leaf[:-1] + b"\x0a"),
            "no path": changed(path=[]),
            "a leaf with another count": self.log.receipt(second),
            "a checkpoint that does not cover it": wrong_root,
        }
        for name, lie in lies.items():
            with self.subTest(name), self.assertRaises((Violation, ValueError)):
                self.client.on_receipts(lie)
            self.assertEqual(self.client.receipts, {}, name)
        self.client.on_receipts(good)
        self.assertEqual(list(self.client.receipts), [sealed.digest])

    # -- deliveries
    def deliver(self, sealed, at=0, nodes=None, **item):
        out = truc.Deliver(lease=1)
        group = out.groups.add(envelope=sealed.envelope, leaf_index=1)
        hashes = [ev.event_hash(e) for e in sealed.events]
        group.nodes.extend(merkle.multiproof([at], hashes) if nodes is None else nodes)
        fields = dict(number=1, sequence=7, previous_sequence=0, index=at, attempt=1)
        fields.update(item)
        group.items.add(**fields)
        return out

    def test_forged_deliveries(self):
        desk, thief = Agency("DESK"), Agency("THIEF")
        events = [ev.build(f"{i}", "urn:truc:DESK", "x.v1", data=b"pay 10") for i in range(3)]
        sealed = seals.Chain(ORIGIN, "DESK", desk.private).seal(events)
        body = ev.pack_body([events[1]])
        foreign = seals.Chain(ORIGIN, "DESK", desk.private).seal([ev.build("1", "urn:truc:THIEF", "x.v1")])
        stolen = seals.Chain(ORIGIN, "DESK", thief.private).seal(events)
        renamed = seals.Chain(ORIGIN, "THIEF", desk.private).seal(events)
        other_log = seals.Chain("other.truc/log", "DESK", desk.private).seal(events)
        proof = merkle.multiproof([1], [ev.event_hash(e) for e in events])
        twice = self.deliver(sealed, 1)
        twice.groups[0].items.add(number=2, sequence=8, previous_sequence=7, index=1, attempt=1)
        lies = {
            "altered contents": (self.deliver(sealed, 1), body.replace(b"pay 10", b"pay 99")),
            "another event of the seal": (self.deliver(sealed, 1), ev.pack_body([events[2]])),
            "another index": (self.deliver(sealed, 1, index=0), body),
            "an index beyond the count": (self.deliver(sealed, 1, index=9), body),
            "a node too many": (self.deliver(sealed, 1, nodes=proof + [bytes(32)]), body),
            "a node too few": (self.deliver(sealed, 1, nodes=proof[:1]), body),
            "nodes in another order": (self.deliver(sealed, 1, nodes=proof[::-1]), body),
            "a node of another length": (self.deliver(sealed, 1, nodes=[b"", *proof]), body),
            "the same item twice": (twice, body + body),
            "a source of another agency": (self.deliver(foreign), ev.pack_body(foreign.events)),
            "a seal by another's key": (self.deliver(stolen, 1), body),
            "a seal in another's name": (self.deliver(renamed, 1), body),
            "a seal for another log": (self.deliver(other_log, 1), body),
            "an event too many": (self.deliver(sealed, 1), body + body),
            "no event": (self.deliver(sealed, 1), b""),
            "an inbox number left out": (self.deliver(sealed, 1, number=2), body),
            "attempt 0": (self.deliver(sealed, 1, attempt=0), body),
        }
        for name, (message, payload) in lies.items():
            self.client.keyring = {"DESK": [desk.spki], "THIEF": [thief.spki]}
            self.client.query = lambda what, agency: []  # the hub names no further key
            self.client.numbers.clear()
            self.client.credit_events = self.client.credit_bytes = 1 << 20
            with self.subTest(name), self.assertRaises((Violation, seals.SealError)):
                self.client.unpack(message, payload)
        self.client.keyring = {"DESK": [desk.spki]}
        (d,) = self.client.unpack(self.deliver(sealed, 1), body)
        self.assertEqual(d.data, events[1])

    def test_an_omission_shows(self):
        desk = Agency("DESK")
        events = [ev.build(f"{i}", "urn:truc:DESK", "x.v1") for i in range(3)]
        sealed = seals.Chain(ORIGIN, "DESK", desk.private).seal(events)
        self.client.keyring = {"DESK": [desk.spki]}
        self.client.credit_events = self.client.credit_bytes = 1 << 20
        first = self.deliver(sealed, 0, number=1, sequence=7)
        self.client.unpack(first, ev.pack_body(events[:1]))
        # Number 2 claims to follow sequence 8: the hub withheld what was number 1, or numbers it anew.
        with self.assertRaises(Violation):
            self.client.unpack(
                self.deliver(sealed, 1, number=2, sequence=9, previous_sequence=8), ev.pack_body(events[1:2])
            )

    def test_more_than_credit(self):
        desk = Agency("DESK")
        events = [ev.build("1", "urn:truc:DESK", "x.v1")]
        sealed = seals.Chain(ORIGIN, "DESK", desk.private).seal(events)
        self.client.keyring = {"DESK": [desk.spki]}
        with self.assertRaises(Violation):
            self.client.unpack(self.deliver(sealed), ev.pack_body(events))


if __name__ == "__main__":
    unittest.main()
