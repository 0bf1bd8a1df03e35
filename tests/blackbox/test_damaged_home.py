"""Files of a home that are damaged, too old, or another's: each told for what it is; the journal and the keys are never
written to, and the state, which can always be made again, is made again by the hub itself.
"""

import base64
import ctypes
import hashlib
import json
import shutil
import struct
import subprocess
import unittest

from faulty import DAMAGED, FaultCase, truc
from support import HubCase
from trucpy.client import SessionLost
from trucpy.hub import Hub, build_dir
from trucpy.rows import XXHASH

XXHASH.XXH3_64bits.argtypes = [ctypes.c_char_p, ctypes.c_size_t]
XXHASH.XXH3_64bits.restype = ctypes.c_uint64
XXHASH.XXH3_64bits_withSeed.argtypes = [ctypes.c_char_p, ctypes.c_size_t, ctypes.c_uint64]
XXHASH.XXH3_64bits_withSeed.restype = ctypes.c_uint64


def checksum(key, value):
    """What stands behind a value of state.mdb"""
    seed = XXHASH.XXH3_64bits(key, len(key))
    return struct.pack("<Q", XXHASH.XXH3_64bits_withSeed(value, len(value), seed))


class DamagedState(FaultCase):
    def setUp(self):
        super().setUp()
        self.state = self.hub.home / "data" / "state.mdb"
        self.marker = self.hub.home / "data" / "state.damaged"

    def rewrite(self, old, new):
        """Of a stopped hub, on every page: older ones may hold it too."""
        data = self.state.read_bytes()
        self.assertIn(old, data)
        self.assertEqual(len(old), len(new))
        self.state.write_bytes(data.replace(old, new))

    def next_slot(self):
        """-> of a stopped hub, its note of the first free key slot, as it stands behind the note's name"""
        data = self.state.read_bytes()
        found = set()
        at = data.find(b"slots")
        while at >= 0:
            value = data[at + 5 : at + 13]
            if data[at + 13 : at + 21] == checksum(b"slots", value):
                found.add(value)
            at = data.find(b"slots", at + 1)
        self.assertTrue(found, "no note of the slots")
        return max(found)

    def assertMendedAtOnce(self, a, b, receipts):
        """The next start makes the state again by itself and loses nothing; new subjects get keys of their own."""
        self.assertNothingLost(a, b, receipts, [self.seal(a, b, f"new{i}", subject=f"new{i}") for i in range(5)])
        self.assertIn("event=state_renewed", self.hub.output())
        self.assertFalse(self.marker.exists())

    def subjects(self, events=10):
        a, b = self.pair()
        made = [a.event(f"{i}", "x.v1", recipients=b.agency.code, subject=f"s{i}") for i in range(events)]
        return a, b, [a.submit(one) for one in made]

    def test_damage_that_is_met_at_work_is_mended_by_the_next_start(self):
        a, b, receipts = self.filled(3)
        b.credit(1)
        b.nack(b.receive_one(), reject=True, note_text="REMARKABLE NOTE")
        self.eventually(lambda: b.query("deadletters"))
        path = self.hub.home / "data" / "state.mdb"
        marker = self.hub.home / "data" / "state.damaged"

        def on_disk():
            b.ping()
            return path.read_bytes().find(b"REMARKABLE")

        at = self.eventually(lambda: max(on_disk(), 0), 30, "the note in the state's file")
        with open(path, "r+b") as f:
            data = f.read()
            while at >= 0:  # an older page may hold it too
                f.seek(at)
                f.write(b"UN")
                at = data.find(b"REMARKABLE", at + 1)
        # Whoever asks meets it.
        with self.assertRaises(SessionLost):
            self.eventually(lambda: b.query("deadletters") and False, 20, "the end")
        self.assertEqual(self.hub.process.wait(30), 1)
        self.hub._ended()
        line = [line for line in self.hub.output().splitlines() if "event=fatal" in line][-1]
        self.assertIn("makes data/state.mdb again", line)
        self.assertTrue(marker.exists())
        self.hub.start()
        self.assertIn("event=state_renewed", self.hub.output())
        self.assertFalse(marker.exists())
        b = self.hub.connect(b.agency)
        self.assertEqual([r["note"] for r in b.query("deadletters")], ["REMARKABLE NOTE"])
        b.credit(10)
        self.assertEqual([d.sequence for d in b.receive(2)], [r.leaf.first for r in receipts[1:]])
        self.assertWhole()

    def test_damage_that_a_start_meets_is_mended_by_the_next_one(self):
        a, b, receipts = self.filled()
        self.hub.stop()
        path = self.hub.home / "data" / "state.mdb"
        with open(path, "r+b") as f:
            f.write(b"\xa5" * 8192)
        with self.assertRaises(RuntimeError) as caught:
            self.hub.start()
        self.assertIn("state.mdb is damaged", str(caught.exception))
        self.assertIn("makes data/state.mdb again", str(caught.exception))
        self.assertNothingLost(a, b, receipts)
        self.assertIn("event=state_renewed", self.hub.output())

    def test_a_damaged_value_is_mended_by_the_start_that_meets_it(self):
        a, b, receipts = self.subjects()
        self.hub.stop()
        name = f"Office {b.agency.code}".encode()
        self.rewrite(name, b"\x4e" + name[1:])
        self.assertMendedAtOnce(a, b, receipts)

    def test_a_damaged_inbox_ends_the_hub_and_the_next_start_mends_it(self):
        a, b, receipts = self.subjects()
        self.hub.stop()
        key = b"b" + struct.pack(">IQ", 4, 0)  # the receiver's first postings
        data = self.state.read_bytes()
        at = data.find(key)
        self.assertGreater(at, 0)
        changed = bytearray(data)
        while at >= 0:
            changed[at + len(key)] ^= 1
            at = data.find(key, at + 1)
        self.state.write_bytes(changed)
        self.hub.start()
        with self.assertRaises(SessionLost):
            receiver = self.hub.connect(b.agency)
            receiver.credit(10)
            receiver.receive(10)
        self.assertEqual(self.hub.process.wait(30), 1)
        self.hub._ended()
        self.assertTrue(self.marker.exists())
        self.assertMendedAtOnce(a, b, receipts)

    def test_a_damaged_count_of_the_slots_gives_no_key_to_two_subjects(self):
        a, b, receipts = self.subjects()
        self.hub.stop()
        slot = self.next_slot()
        self.assertGreater(slot[7], 8)
        self.rewrite(b"slots" + slot, b"slots" + slot[:7] + b"\x03")
        self.assertMendedAtOnce(a, b, receipts)

    def test_a_count_of_the_slots_that_is_missing_is_damage(self):
        a, b, receipts = self.subjects()
        self.hub.stop()
        slot = self.next_slot()
        self.rewrite(b"slots" + slot, b"slotz" + slot)
        self.assertMendedAtOnce(a, b, receipts)

    def test_a_count_of_the_slots_of_another_size_is_damage(self):
        a, b, receipts = self.subjects()
        self.hub.stop()
        slot = self.next_slot()
        # 7 bytes, whole by their checksum: the size of the value stands in the node's first two bytes.
        data = bytearray(self.state.read_bytes())
        at = data.find(b"slots" + slot)
        while at >= 0:
            self.assertEqual(struct.unpack_from("<H", data, at - 8)[0], 16)
            struct.pack_into("<H", data, at - 8, 15)
            data[at + 12 : at + 20] = checksum(b"slots", slot[:7])
            at = data.find(b"slots" + slot, at + 1)
        self.state.write_bytes(data)
        self.assertMendedAtOnce(a, b, receipts)

    def test_log_verify_finds_a_key_that_serves_two_subjects(self):
        # As a hub would leave it that forgot which slots it has given away: its note is false, and whole.
        a, b, receipts = self.subjects()
        chain = a.chain
        self.hub.stop()
        slot = self.next_slot()
        lower = struct.pack(">Q", 3)
        self.rewrite(b"slots" + slot + checksum(b"slots", slot), b"slots" + lower + checksum(b"slots", lower))
        self.hub.start()
        a = self.hub.connect(a.agency)
        a.chain = chain
        receipt = a.submit(a.event("new", "x.v1", recipients=b.agency.code, subject="another"))
        self.hub.stop()
        done = truc("log", "verify", "--home", self.hub.home, "--json")
        self.assertEqual(done.returncode, DAMAGED, done.stdout + done.stderr)
        found = json.loads(done.stdout)["findings"]
        self.assertEqual([f["sequence"] for f in found], [receipt.leaf.first], found)
        self.assertIn("serves another subject", found[0]["what"])


class Damaged(HubCase):
    """Journal and keys of a stopped hub: nobody writes to them, nobody starts on them."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.young = cls.hub.folder / "young"
        a, cls.b = cls.hub.enrol("A"), cls.hub.enrol("B")
        cls.hub.grant("A", "B")
        client = cls.hub.connect(a)
        cls.hub.stop()
        shutil.copytree(cls.hub.home, cls.young)  # what a backup of some time ago holds
        cls.hub.start()
        chain = client.chain
        client = cls.hub.connect(a)
        client.chain = chain
        cls.receipts = [
            client.submit(*[client.event(f"{i}.{j}", "x.v1", recipients="B", subject=f"{i}.{j}") for j in range(20)])
            for i in range(30)
        ]
        cls.a = client.agency
        cls.hub.stop()

    def setUp(self):
        self.home = self.hub.folder / self.id().rsplit(".", 1)[-1]
        shutil.copytree(self.hub.home, self.home)
        self.data = self.home / "data"

    def tearDown(self):
        shutil.rmtree(self.home)

    def start(self):
        command = [build_dir() / "truc-hub", "--home", self.home]
        return subprocess.run(command, capture_output=True, text=True, timeout=60)

    def assertRefused(self, *says):
        """The hub does not start, says why, and has written nothing."""
        files = [self.data / name for name in ("journal.mdb", "keys.slots")]
        before = [path.read_bytes() for path in files]
        done = self.start()
        self.assertEqual(done.returncode, 3, done.stderr)
        for one in says:
            self.assertIn(one, done.stderr)
        self.assertEqual([path.read_bytes() for path in files], before, "it wrote")

    def assertServes(self):
        """The hub starts on this home and delivers everything."""
        there, self.hub.home = self.hub.home, self.home
        try:
            self.hub.start()
            b = self.hub.connect(self.b)
            b.credit(1000, 1 << 27)
            self.assertEqual(len(b.receive(600)), 600)
            self.assertEqual(self.hub.stop(), 0)
            done = truc("log", "verify", "--home", self.home)
            self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        finally:
            if self.hub.alive:
                self.hub.kill()
            self.hub.home = there

    def overwrite(self, name, at, data):
        with open(self.data / name, "r+b") as f:
            f.seek(at)
            f.write(data)

    def rows(self):
        """-> {row: (where it stands in the journal's file, its size)}"""
        data = (self.data / "journal.mdb").read_bytes()
        found = {}
        at = data.find(b"TROW")
        while at >= 0:
            row, size = struct.unpack(">Q", data[at + 40 : at + 48])[0], struct.unpack(">I", data[at + 92 : at + 96])[0]
            found.setdefault(row, (at, size))
            at = data.find(b"TROW", at + 1)
        self.assertGreater(len(found), 30)
        return found

    def damage(self, at, size):
        self.overwrite("journal.mdb", at + size - 10, b"DAMAGE")

    def test_as_it_is_it_serves(self):
        # Otherwise the stories below would prove nothing.
        self.assertServes()

    def test_one_meta_page(self):
        for page, says in ((0, "first meta page"), (1, "second meta page")):
            with self.subTest(page):
                kept = (self.data / "journal.mdb").read_bytes()
                self.overwrite("journal.mdb", page * 4096 + 16, bytes(8))
                self.assertRefused("journal.mdb is damaged", says, "holds: commit", "restore")
                (self.data / "journal.mdb").write_bytes(kept)
        self.overwrite("journal.mdb", 0, bytes(8192))
        self.assertRefused("both of its meta pages")

    def test_key_slots_older_than_the_journal(self):
        head = b"TRUCKEYS" + struct.pack(">IQ", 1, 64)
        self.overwrite("keys.slots", 0, head + hashlib.sha256(head).digest())
        self.assertRefused("data/keys.slots: is older than the journal: it has 64 keys, rows name 6", "restore")

    def test_key_slots_of_another_hub(self):
        with Hub() as other:
            other.stop()
            shutil.copy(other.home / "data" / "keys.slots", self.data / "keys.slots")
        self.assertRefused("keys.slots", "another hub's")

    def test_key_slots_that_cover_the_journal_serve_however_old(self):
        # A slot is never filled anew, so an older copy is as good where it has all that the rows name.
        shutil.copy(self.young / "data" / "keys.slots", self.data / "keys.slots")
        self.assertServes()

    def test_a_journal_older_than_the_state(self):
        shutil.copy(self.young / "data" / "journal.mdb", self.data / "journal.mdb")
        self.assertRefused("journal is an older copy", "Restore the newest")

    def test_an_older_journal_alone_serves_what_it_has(self):
        shutil.copy(self.young / "data" / "journal.mdb", self.data / "journal.mdb")
        (self.data / "state.mdb").unlink()
        there, self.hub.home = self.hub.home, self.home
        try:
            self.hub.start()
            self.hub.connect(self.agency()).ping()
            self.assertEqual(self.hub.stop(), 0)
        finally:
            if self.hub.alive:
                self.hub.kill()
            self.hub.home = there
        done = truc("log", "verify", "--home", self.home)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)

    def test_lost_keys_leave_the_proofs(self):
        (self.data / "keys.slots").unlink()
        self.assertEqual(self.start().returncode, 3)
        done = truc("log", "verify", "--home", self.home, "--json")
        self.assertEqual(done.returncode, DAMAGED, done.stderr)
        self.assertEqual(["content keys" in f["what"] for f in json.loads(done.stdout)["findings"]], [True], done.stdout)

    def test_log_verify_names_the_row_that_is_damaged(self):
        row = 20
        self.damage(*self.rows()[row])
        done = truc("log", "verify", "--home", self.home, "--json")
        self.assertEqual(done.returncode, DAMAGED, done.stdout + done.stderr)
        told = json.loads(done.stdout)
        self.assertFalse(told["ok"])
        named = {str(f["row"]) for f in told["findings"] if f["row"] is not None}
        self.assertEqual(named, {str(row)}, told["findings"])
        self.assertIn("altered", told["findings"][0]["what"])
        # People get the same, and the advice to keep what there is.
        done = truc("log", "verify", "--home", self.home)
        self.assertEqual(done.returncode, DAMAGED)
        self.assertIn("FINDING", done.stdout)
        self.assertIn("Keep a copy", done.stderr)

    def test_evidence_of_an_event_from_a_home_at_rest(self):
        sequence = self.receipts[7].outcomes[3].sequence
        done = truc("log", "export", "--sequence", sequence, "--home", self.home)
        self.assertEqual(done.returncode, 0, done.stderr)
        evidence = self.home / "evidence"
        evidence.write_text(done.stdout)
        note = self.home / "hub" / "note.key"
        sender = self.home / "sender.pem"
        sender.write_bytes(pem(self.a.spki))
        done = truc("verify", evidence, "--note-key", note, "--agency-key", sender)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        self.assertIn("7.3", done.stdout)

    def test_evidence_of_a_damaged_event_is_not_made(self):
        sequence = self.receipts[-1].outcomes[0].sequence
        for place in self.rows().values():
            self.damage(*place)
        done = truc("log", "export", "--sequence", sequence, "--home", self.home)
        self.assertNotEqual(done.returncode, 0)
        self.assertTrue(done.stderr.strip())
        self.assertFalse(done.stdout.strip())


def pem(spki):
    text = base64.encodebytes(spki).decode()
    return f"-----BEGIN PUBLIC KEY-----\n{text}-----END PUBLIC KEY-----\n".encode()


if __name__ == "__main__":
    unittest.main()
