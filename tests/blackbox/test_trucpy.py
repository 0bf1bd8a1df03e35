"""The independent client's own ground: known answers for every primitive that the stories then trust."""

import base64
import hashlib
import json
import os
import pathlib
import unittest

from cryptography.hazmat.primitives.asymmetric import ed25519

from trucpy import events, frames, keys, leaf, merkle, note, reasons, seals, wire
from trucpy.schema import PROTO, ROOT, truc

VECTORS = pathlib.Path(os.environ.get("VECTORS") or ROOT.parent / "shared" / "vectors")
# RFC 9162's eight standard leaves and the tree heads that certificate-transparency implementations publish for them.
LEAVES = [bytes.fromhex(h) for h in "|00|10|2021|3031|40414243|5051525354555657|606162636465666768696a6b6c6d6e6f".split("|")]
HEADS = {
    0: "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    1: "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    2: "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    3: "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    4: "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    8: "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
}


class Trees(unittest.TestCase):
    def test_standard_heads(self):
        for size, head in HEADS.items():
            self.assertEqual(merkle.root([merkle.leaf_hash(x) for x in LEAVES[:size]]).hex(), head)

    def test_every_proof_of_small_trees_verifies_and_no_other(self):
        hashes = [merkle.leaf_hash(bytes([i])) for i in range(20)]
        for size in range(1, 21):
            head = merkle.root(hashes[:size])
            for i in range(size):
                path = merkle.inclusion(i, hashes[:size])
                self.assertTrue(merkle.verify_inclusion(i, size, hashes[i], path, head))
                self.assertFalse(merkle.verify_inclusion(i, size, hashes[i - 1], path, head) and size > 1)
                self.assertFalse(merkle.verify_inclusion(i, size, hashes[i], path + [head], head))
            for old in range(1, size + 1):
                proof = merkle.consistency(old, hashes[:size])
                old_head = merkle.root(hashes[:old])
                self.assertTrue(merkle.verify_consistency(old, size, old_head, head, proof))
                if 0 < old < size:
                    self.assertFalse(merkle.verify_consistency(old, size, head, head, proof))

    def test_multiproofs_of_every_choice_of_small_trees(self):
        for size in range(1, 9):
            hashes = [merkle.leaf_hash(bytes([i])) for i in range(size)]
            head = merkle.root(hashes)
            for choice in range(1, 1 << size):
                indexes = [i for i in range(size) if choice >> i & 1]
                leaves, nodes = {i: hashes[i] for i in indexes}, merkle.multiproof(indexes, hashes)
                self.assertEqual(merkle.multiproof_root(size, leaves, nodes), head)
                self.assertIsNone(merkle.multiproof_root(size, leaves, nodes + [head]))
                self.assertIsNone(merkle.multiproof_root(size, leaves, nodes[:-1]) if nodes else None)
                if len(indexes) == 1:
                    self.assertEqual(sorted(nodes), sorted(merkle.inclusion(indexes[0], hashes)))

    def test_published_vectors(self):
        if not (VECTORS / "merkle").is_dir():
            self.skipTest("no published vectors here")
        counts = {"inclusion": 0, "consistency": 0}
        raw = lambda s: base64.b64decode(s or "")  # noqa: E731
        for kind in counts:
            for path in sorted((VECTORS / "merkle" / kind).rglob("*.json")):
                v = json.loads(path.read_text())
                proof = [raw(h) for h in v["proof"] or []]
                if kind == "inclusion":
                    good = merkle.verify_inclusion(
                        v["leafIdx"], v["treeSize"], raw(v["leafHash"]), proof, raw(v["root"])
                    )
                else:
                    good = merkle.verify_consistency(v["size1"], v["size2"], raw(v["root1"]), raw(v["root2"]), proof)
                self.assertEqual(good, not v["wantErr"], f"{path}: {v['desc']}")
                counts[kind] += 1
        self.assertGreater(min(counts.values()), 90)


class Notes(unittest.TestCase):
    def setUp(self):
        self.private = ed25519.Ed25519PrivateKey.from_private_bytes(b"\x07" * 32)
        self.verifier = note.Verifier.parse(note.verifier_key("a.example/log", note.raw_public(self.private)))

    def test_go_sumdb_key(self):
        # The published key of sum.golang.org: its hash is computed over name, newline, algorithm and key.
        key = note.Verifier.parse("sum.golang.org+033de0ae+Ac4zctda0e5eza+HJyk9SxEdh+s3Ux18htTTAD8OuAn8")
        self.assertEqual(key.name, "sum.golang.org")

    def test_checkpoint(self):
        text = note.checkpoint_text("a.example/log", 5, b"\x05" * 32)
        signed = note.sign(text, "a.example/log", self.private)
        opened = note.Checkpoint.open(signed, self.verifier, "a.example/log")
        self.assertEqual((opened.size, opened.root), (5, b"\x05" * 32))
        for bad in (signed.replace(b"\n5\n", b"\n6\n"), signed[:-10], b"", signed.replace(b"a.ex", b"b.ex")):
            with self.assertRaises(ValueError):
                note.Checkpoint.open(bad, self.verifier, "a.example/log")


class Seals(unittest.TestCase):
    def test_dsse_published_example(self):
        got = seals.signed_bytes(b"hello world", "http://example.com/HelloWorld")
        self.assertEqual(got, b"DSSEv1 29 http://example.com/HelloWorld 11 hello world")

    def test_each_algorithm_signs_and_tampering_shows(self):
        for algorithm in ("p256", "ed25519", "rsa"):
            private = keys.new_private(algorithm)
            chain = seals.Chain("a.example/log", "DESK", private)
            data = [events.build(str(i), "urn:truc:DESK", "x.y.v1") for i in range(5)]
            sealed = chain.seal(data)
            opened = seals.verify_envelope(sealed.envelope, [keys.spki_of(private)], "a.example/log")
            self.assertEqual((opened.digest, opened.seal.number), (sealed.digest, 1))
            hashes = [events.event_hash(e) for e in data]
            seals.verify_event(opened, 3, hashes[3], merkle.inclusion(3, hashes))
            with self.assertRaises(seals.SealError):
                seals.verify_event(opened, 2, hashes[3], merkle.inclusion(3, hashes))
            at = sealed.envelope.index(b"DESK")
            forged = sealed.envelope[:at] + b"MESK" + sealed.envelope[at + 4 :]
            for wrong, spkis in ((forged, [keys.spki_of(private)]), (sealed.envelope, [keys.spki_of(keys.new_private())])):
                with self.assertRaises(seals.SealError):
                    seals.verify_envelope(wrong, spkis, "a.example/log")

    def test_unknown_fields_are_refused(self):
        private = keys.new_private()
        sealed = seals.Chain("a.example/log", "DESK", private).seal([b"x"])
        payload = sealed.seal.SerializeToString()
        for more in (wire.field_varint(15, 1), wire.field_varint(5, 1)):
            with self.assertRaises(seals.SealError):
                seals.verify_envelope(seals.wrap(payload + more, private), [keys.spki_of(private)], "a.example/log")


class Leaves(unittest.TestCase):
    def test_round_trip_in_longest_runs(self):
        outcomes = [(0, 0), (0, 0), (10, 0), (128, 7), (128, 8), (128, 20), (0, 0)]
        data = leaf.encode(1700000000000000, 41, b"\x01" * 32, outcomes)
        self.assertEqual(data[51:].hex(), "0200" + "010a" + "028007" + "018014" + "0100")
        parsed = leaf.parse(data)
        self.assertEqual([(o.sequence, o.code, o.repeats) for o in parsed.outcomes][3:6], [(44, 128, 7), (45, 128, 8), (46, 128, 20)])

    def test_other_forms_are_refused(self):
        good = leaf.encode(1, 1, b"\x01" * 32, [(0, 0), (0, 0)])
        head = good[:51]
        for runs in ("01000100", "0300", "0200ff", "820000", "", "0000", "0281"):
            with self.assertRaises(leaf.LeafError, msg=runs):
                leaf.parse(head + bytes.fromhex(runs))


class Frames(unittest.TestCase):
    def test_pieces(self):
        body = os.urandom(frames.PIECE * 2 + 5)
        parts = frames.encode(frames.SUBMIT, truc.Submit(envelope=b"e"), body)
        self.assertEqual([p[0][:4].hex() for p in parts], ["01020100", "010b0100", "010b0000"])
        self.assertEqual(b"".join(p[1] for p in parts), body)

    def test_reader_joins_pieces_and_refuses_disorder(self):
        reader = frames.Reader()
        answer = truc.Answer(request=3).SerializeToString()
        self.assertIsNone(reader.feed([frames.header(frames.ANSWER, 1) + answer, b"[1,"]))
        self.assertEqual(reader.feed([frames.header(frames.DATA), b"2]"]).body, b"[1,2]")
        for bad in ([frames.header(frames.DATA), b"x"], [frames.header(frames.PONG), b""], [b"\x01"], []):
            with self.assertRaises(frames.FrameError):
                frames.Reader().feed(bad)


class Document(unittest.TestCase):
    def test_reason_codes_are_the_documents(self):
        text = (PROTO / "PROTOCOL.md").read_text("utf-8")
        table = text.split("## 10. Reason codes")[1].split("## 11.")[0]
        rows = [[c.strip() for c in line.split("|")[1:3]] for line in table.splitlines() if line.startswith("| ")]
        documented = {name: int(number) for number, name in rows if number.isdigit()}
        self.assertEqual(documented, {r.name: int(r) for r in reasons.Reason if r})

    def test_idempotency_key(self):
        want = hashlib.sha256(b"\0\0\0\4DESK\0\0\0\5urn:x\0\0\0\1i").digest()[:16]
        self.assertEqual(events.idempotency_key("DESK", "urn:x", "i"), want)


if __name__ == "__main__":
    unittest.main()
