"""PROTOCOL.md's worked example is what its inputs give, byte for byte, and verifies as a stranger would verify it."""

import unittest

from trucpy import events, example, keys, leaf, merkle, note, seals


class WorkedExample(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.text = example.DOCUMENT.read_text("utf-8")
        cls.signature = example.printed_signature(cls.text)
        assert cls.signature, "section 16 prints no signature"
        cls.values = example.compute(cls.signature)

    def test_the_document_prints_what_the_inputs_give(self):
        self.assertEqual(example.section(self.text), example.render(self.values))

    def test_the_printed_signature_verifies_and_only_over_these_bytes(self):
        v = self.values
        self.assertTrue(keys.verify(v["spki"], self.signature, v["signed bytes"]))
        self.assertFalse(keys.verify(v["spki"], self.signature, v["signed bytes"] + b"\0"))

    def test_a_stranger_verifies_envelope_events_leaf_and_proof(self):
        v = self.values
        opened = seals.verify_envelope(v["envelope"], [v["spki"]], example.ORIGIN)
        self.assertEqual(opened.digest, v["seal digest"])
        seals.verify_event(opened, 0, v["event hash 0"], [v["event hash 1"]])
        seals.verify_event(opened, 1, v["event hash 1"], [v["event hash 0"]])
        self.assertEqual(events.unpack_body(v["SUBMIT part 2"]), [v["event 0"], v["event 1"]])
        parsed = leaf.parse(v["leaf 1"])
        self.assertEqual([(o.sequence, o.code) for o in parsed.outcomes], [(2, 0), (3, 10)])
        self.assertEqual(parsed.digest, v["seal digest"])
        verifier = note.Verifier.parse(v["verifier key"])
        proof = v["tlog-proof"].encode()
        index, checkpoint = note.verify_proof(proof, v["leaf hash 1"], verifier, example.ORIGIN)
        self.assertEqual((index, checkpoint.size, checkpoint.root), (1, 2, v["log root"]))
        heads = (v["leaf hash 0"], v["log root"])
        self.assertTrue(merkle.verify_consistency(1, 2, *heads, [v["leaf hash 1"]]))


if __name__ == "__main__":
    unittest.main()
