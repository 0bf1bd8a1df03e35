"""The log proves itself: evidence of single events, consistency over restarts, and hubs that went back or forked."""

import base64
import json
import shutil
import unittest

from support import HubCase
from trucpy import evidence, leaf, merkle, seals
from trucpy.client import LogFork
from trucpy.hub import Hub
from trucpy.reasons import Reason


class Proofs(HubCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.a, cls.b = cls.hub.enrol("SENDER"), cls.hub.enrol("RECEIVER")
        cls.hub.grant("SENDER", "RECEIVER", "ok.*")
        client = cls.hub.connect(cls.a)
        kinds = ["ok.v1", "no.v1", "ok.v1", "ok.v1", "no.v1"]
        cls.events = [client.event(f"{i}", k, recipients="RECEIVER", data=b"x" * i) for i, k in enumerate(kinds)]
        cls.receipt = client.submit(*cls.events)
        # Evidence holds the event: a recipient may see what was handed to it.
        receiver = cls.hub.connect(cls.b)
        receiver.credit(10)
        receiver.ack(*receiver.receive(3))

    def sequence(self, i):
        return self.receipt.outcomes[i].sequence

    def evidence(self, i=2, agency=None):
        proof = self.hub.connect(agency or self.a).get_proof(sequence=self.sequence(i))
        self.assertEqual(proof.reason, 0)
        return evidence.build(proof)

    def verify(self, text, **changes):
        args = dict(verifier=self.hub.verifier, origin=self.hub.origin, spkis=[self.a.spki])
        args.update(changes)
        return evidence.verify(text, **args)

    def test_the_evidence_of_an_event_verifies_offline(self):
        got = self.verify(self.evidence(2))
        self.assertEqual((got["event"].id, got["outcome"].code), ("2", leaf.ACCEPTED))
        self.assertEqual(got["outcome"].sequence, self.sequence(2))
        self.assertEqual(got["seal"].sender, "SENDER")

    def test_a_refusal_is_proven_too(self):
        got = self.verify(self.evidence(1))
        self.assertEqual((got["event"].id, got["outcome"].code), ("1", Reason.NOT_GRANTED))

    def test_sender_recipient_administrator_and_auditor_may_ask_a_stranger_may_not(self):
        from trucpy.hub import AUDITOR

        for who in (self.a, self.b, self.hub.admin_agency, self.agency(role=AUDITOR)):
            self.verify(self.evidence(2, who))
        stranger = self.hub.connect(self.agency())
        proof = stranger.get_proof(sequence=self.sequence(2))
        self.assertEqual(proof.reason, Reason.NOT_GRANTED)
        self.assertFalse(proof.event or proof.envelope or proof.leaf)

    def test_who_was_refused_as_recipient_may_not_see_the_event(self):
        proof = self.hub.connect(self.b).get_proof(sequence=self.sequence(1))
        self.assertEqual(proof.reason, Reason.NOT_GRANTED)

    def test_what_is_not_there_is_not_proven(self):
        client = self.hub.connect(self.hub.admin_agency)
        for sequence in (0, 1 << 50, (1 << 64) - 1):
            proof = client.get_proof(sequence=sequence)
            self.assertNotEqual(proof.reason, 0, f"a proof of sequence {sequence}")

    def test_every_tampering_shows(self):
        good = json.loads(self.evidence(2))
        other = json.loads(self.evidence(3))
        raw = lambda key: bytearray(base64.b64decode(good[key]))  # noqa: E731
        b64 = lambda b: base64.b64encode(bytes(b)).decode()  # noqa: E731
        self.verify(json.dumps(good))
        cases = {"format": "truc-evidence@v2", "index": good["index"] + 1, "event_hash": other["event_hash"]}
        cases["path"] = other["path"]
        cases["proof"] = good["proof"].replace("index ", "index 1")
        for key in ("event", "envelope", "leaf"):
            for at in (len(raw(key)) // 3, len(raw(key)) // 2, -1):
                changed = raw(key)
                changed[at] ^= 1
                cases[f"{key}@{at}"] = b64(changed)
        for name, value in cases.items():
            with self.subTest(name), self.assertRaises(evidence.EvidenceError):
                self.verify(json.dumps({**good, name.split("@")[0]: value}))
        with self.assertRaises(evidence.EvidenceError):
            self.verify(json.dumps(good), spkis=[self.b.spki])
        with self.assertRaises(evidence.EvidenceError):
            self.verify(json.dumps(good), origin="other.truc/log")
        for key in good.keys() - {"event"}:
            with self.subTest(f"without {key}"), self.assertRaises(evidence.EvidenceError):
                self.verify(json.dumps({k: v for k, v in good.items() if k != key}))

    def test_the_evidence_without_the_contents_still_proves_the_hash(self):
        doc = json.loads(self.evidence(2))
        del doc["event"]
        self.assertIsNone(self.verify(json.dumps(doc))["event"])

    def test_genesis_is_leaf_0_signed_by_the_first_administrator(self):
        admin = self.hub.connect(self.hub.admin_agency)
        proof = admin.get_proof(sequence=1)
        self.assertEqual((proof.reason, proof.leaf_index), (0, 0))
        from trucpy import events, note
        from trucpy.schema import truc

        genesis = truc.Governance.FromString(events.parse(proof.event).binary_data).genesis
        self.assertEqual(genesis.origin, self.hub.origin)
        self.assertEqual(note.Verifier.parse(genesis.note_key), self.hub.verifier)
        self.assertEqual(len(genesis.administrators), 2)
        first = genesis.administrators[0]
        opened = seals.verify_envelope(proof.envelope, [bytes(first.spki)], self.hub.origin)
        self.assertEqual(opened.seal.sender, first.agency)


class WholeLog(HubCase):
    def test_every_checkpoint_of_a_session_is_proven_to_continue_the_last_one(self):
        a, b = self.pair()
        first = a.submit(a.event("first", "x.v1", recipients=b.agency.code)).leaf.first
        for i in range(4):
            for j in range(i + 1):  # of these the session of `a` is not told
                b.submit(b.event(f"{i}.{j}", "x.v1", recipients=a.agency.code))
            size = a.checkpoint.size
            if i % 2:
                a.submit(a.event(f"{i}", "x.v1", recipients=b.agency.code))  # the client verifies the growth itself
            else:
                self.assertNotEqual(list(a.get_proof(sequence=first).consistency), [])
            self.assertGreater(a.checkpoint.size, size + i)
            self.assertEqual(list(a.get_proof(sequence=first).consistency), [], "nothing grew in between")

    def test_an_auditor_rebuilds_the_tree_from_proofs_and_gets_the_checkpoints_root(self):
        a, b = self.pair()
        for i in range(9):
            a.submit(*[a.event(f"{i}.{j}", "x.v1", recipients=b.agency.code) for j in range(i % 3 + 1)])
        admin = self.hub.connect(self.hub.admin_agency)
        checkpoint = admin.agency.checkpoint
        leaves, sequence = {}, 1
        while len(leaves) < checkpoint.size:
            proof = admin.get_proof(sequence=sequence)
            self.assertEqual(proof.reason, 0)
            parsed = leaf.parse(proof.leaf)
            self.assertEqual(parsed.first, sequence)
            leaves[proof.leaf_index] = proof.leaf
            sequence += len(parsed.outcomes)
        self.assertEqual(sorted(leaves), list(range(checkpoint.size)))
        hashes = [merkle.leaf_hash(leaves[i]) for i in range(checkpoint.size)]
        self.assertEqual(merkle.root(hashes), checkpoint.root)
        times = [leaf.parse(leaves[i]).accepted_at_us for i in range(checkpoint.size)]
        self.assertEqual(times, sorted(times), "accepted_at went back")


class Betrayal(unittest.TestCase):
    """A hub that was set back to an old copy: each client that has seen more refuses it."""

    def setUp(self):
        self.hub = Hub()
        self.addCleanup(self.hub.close)
        self.a, self.b = self.hub.enrol("A"), self.hub.enrol("B")
        self.hub.grant("A", "B")
        self.hub.stop()
        self.copy = self.hub.folder / "copy"
        shutil.copytree(self.hub.home, self.copy)
        self.hub.start()

    def submit(self, *ids):
        client = self.hub.connect(self.a)
        for i in ids:
            client.submit(client.event(i, "x.v1", recipients="B"))

    def set_back(self):
        self.hub.stop()
        shutil.rmtree(self.hub.home)
        shutil.copytree(self.copy, self.hub.home)
        self.hub.start()

    def test_a_log_that_shrank_is_refused(self):
        self.submit("1", "2", "3")
        self.set_back()
        known = self.a.checkpoint
        with self.assertRaises(LogFork):
            self.hub.connect(self.a)
        self.assertEqual(self.a.checkpoint, known, "the client moved back")

    def test_a_log_that_forked_is_refused_even_when_it_has_grown(self):
        self.submit("1", "2", "3")
        known = self.a.checkpoint
        self.set_back()
        self.a.checkpoint = None  # another store of the same agency, which has not seen it
        self.submit("4", "5", "6", "7", "8")
        self.assertGreater(self.a.checkpoint.size, known.size)
        self.a.checkpoint = known
        with self.assertRaises(LogFork):
            self.hub.connect(self.a)

    def test_who_has_not_seen_more_goes_on(self):
        self.hub.connect(self.b)
        self.hub.restart(hard=False)
        self.hub.connect(self.b).ping()


if __name__ == "__main__":
    unittest.main()
