"""The disk fails under the hub, in each of the ways in which it can: nothing that was receipted is lost, nothing is
receipted that could be, the hub says in one line what is wrong and what to do, and goes on by itself where it may.

The failures are made by a preloaded library (fail_io.c), or by damaging the files of a home.
"""

import base64
import errno
import fcntl
import hashlib
import json
import mmap
import os
import pathlib
import resource
import shutil
import socket
import struct
import subprocess
import tempfile
import time
import unittest

from support import HubCase, configured
from trucpy.client import Refused, SessionLost
from trucpy.hub import Hub, build_dir
from trucpy.reasons import Reason

# As fail_io.c has them.
WRITE, META, SYNC, ALLOCATE = 1, 2, 4, 8
ALWAYS = 0x7FFFFFFF
DAMAGED = 5  # exit code of `truc`


class Fault:
    """What fails in a hub: switched on and off while it runs."""

    FORM = struct.Struct("=IiIIII40s")

    def __init__(self, path):
        path.write_bytes(bytes(self.FORM.size))
        with open(path, "r+b") as f:
            self.map = mmap.mmap(f.fileno(), self.FORM.size)

    def on(self, file, calls, error, times=ALWAYS, skip=0, done=False):
        """From the call `skip` on, `times` of them fail with `error`; with `done` they have been made all the same."""
        self.off()
        self.map[:] = self.FORM.pack(0, error, skip, times, done, 0, file.encode())
        self.map[:4] = struct.pack("=I", calls)

    def off(self):
        self.map[:4] = bytes(4)

    @property
    def hits(self):
        return struct.unpack_from("=I", self.map, 20)[0]


def truc(*args):
    command = [build_dir() / "truc", *map(str, args)]
    return subprocess.run(command, capture_output=True, text=True, timeout=120)


class FaultCase(HubCase):
    """Each test has a hub of its own: most of them end it."""

    hub_options = {}

    @classmethod
    def setUpClass(cls):
        cls.library = pathlib.Path(tempfile.mkdtemp(prefix="truc-fault-")) / "fail_io.so"
        cls.addClassCleanup(shutil.rmtree, cls.library.parent)
        source = pathlib.Path(__file__).with_name("fail_io.c")
        subprocess.run(["cc", "-shared", "-fPIC", "-O1", "-o", cls.library, source], check=True)

    def setUp(self):
        self.new_hub()

    def tearDown(self):
        pass  # whether it lives is for each story to say

    def new_hub(self):
        control = pathlib.Path(tempfile.mkstemp(dir=self.library.parent)[1])
        self.fault = Fault(control)
        asan = os.environ.get("ASAN_OPTIONS", "") + ":verify_asan_link_order=0"
        environment = {"LD_PRELOAD": self.library, "TRUC_TEST_FAULT": control, "ASAN_OPTIONS": asan}
        self.hub = Hub(environment=environment, **self.hub_options)
        self.addCleanup(self.hub.close)

    def filled(self, events=10):
        """-> sender, receiver, receipts of what waits for the receiver"""
        a, b = self.pair()
        return a, b, [a.submit(a.event(f"{i}", "x.v1", recipients=b.agency.code)) for i in range(events)]

    def seal(self, a, b, event_id, **kw):
        return a.chain.seal([a.event(event_id, "x.v1", recipients=b.agency.code, **kw)])

    def said(self, event, client):
        """Waits until the hub's log has such a line."""
        self.eventually(lambda: (client.ping(), f"event={event} " in self.hub.output())[1], 30, f"{event} in the log")

    def taken(self, a, sealed, waiting_for=Reason.STORAGE_FULL):
        """-> its receipt, once the hub takes it; until then it says `waiting_for`"""

        def again():
            a.send_seal(sealed)
            try:
                return a.result(sealed)
            except Refused as e:
                self.assertEqual(e.reason, waiting_for)
                return None

        return self.eventually(again, 30, "room")

    def refused_full(self, a, sealed):
        a.send_seal(sealed)
        with self.assertRaises(Refused) as caught:
            a.result(sealed)
        self.assertEqual(caught.exception.reason, Reason.STORAGE_FULL)
        self.assertGreater(caught.exception.retry_after_ms, 0)

    def assertDies(self, says, *clients):
        """The hub ends with exit code 1 and one line that says what is wrong and what to do. No client hears more."""
        for client in clients:
            with self.assertRaises(SessionLost):
                while True:
                    client.pump()
        self.assertEqual(self.hub.process.wait(30), 1, self.hub.output()[-2000:])
        self.fault.off()
        self.assertGreater(self.fault.hits, 0, "nothing failed: the story proves nothing")
        self.hub._ended()
        lines = [line for line in self.hub.output().splitlines() if "event=fatal" in line]
        self.assertEqual(len(lines), 1, self.hub.output()[-2000:])
        self.assertIn(says, lines[0])
        self.assertIn("reason=", lines[0])
        self.assertRegex(lines[0], r'do="[^"]*start the hub again')
        return lines[0]

    def assertWhole(self):
        """The log is verified from its first entry on, on a stopped hub."""
        if self.hub.alive:
            self.assertEqual(self.hub.stop(), 0)
        done = truc("log", "verify", "--home", self.hub.home)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)

    def assertNothingLost(self, a, b, receipts, sealed=()):
        """A hub that was started again: what was receipted is there as it was, and what was not can be sent again."""
        chain = a.chain
        self.hub.start()
        a, b = self.hub.connect(a.agency), self.hub.connect(b.agency)  # proves that the log continues
        a.chain = chain
        for one in sealed:
            a.send_seal(one)
        more = [a.result(one) for one in sealed]
        for receipt in more:
            self.assertCodes(receipt, *[0] * len(receipt.codes))
        b.credit(1000, 1 << 27)
        got = b.receive(len(receipts) + len(more))
        expected = [r.leaf.first for r in [*receipts, *more]]
        self.assertEqual(sorted(d.sequence for d in got), sorted(expected))
        self.assertEqual(b.quiet(), [], "delivered twice")
        self.assertEqual(b.ack(*got), [])
        self.assertWhole()


class Journal(FaultCase):
    def test_no_room_to_grow_refuses_seals_and_goes_on_by_itself(self):
        a, b, receipts = self.filled()
        b.credit(5)
        got = b.receive(5)
        self.fault.on("/journal.mdb", ALLOCATE, errno.ENOSPC)
        for i in range(40):
            waiting = self.seal(a, b, f"big{i}", data=os.urandom(900000))
            a.send_seal(waiting)
            try:
                receipts.append(a.result(waiting))
            except Refused as e:
                self.assertEqual(e.reason, Reason.STORAGE_FULL)
                break
        else:
            self.fail("36 MB went into a file that cannot grow")
        self.assertGreater(self.fault.hits, 0)
        # Reads go on; an ack is answered when it is durable, not before.
        self.assertEqual(b.get_proof(got[0].sequence).event, got[0].data)
        b.ack(*got, wait=False)
        b.query("inbox")
        self.fault.off()
        self.assertCodes(self.taken(a, waiting), 0)
        b.wait_until(lambda: len(b.settled) == len(got), what="the acks' answers")
        self.assertIn("event=storage_full", self.hub.output())
        self.assertWhole()

    def test_no_room_for_pages_refuses_seals_and_goes_on_by_itself(self):
        a, b, _ = self.filled()
        b.credit(5)
        got = b.receive(5)
        self.fault.on("/journal.mdb", WRITE, errno.ENOSPC)
        waiting = self.seal(a, b, "full")
        self.refused_full(a, waiting)
        b.ack(*got, wait=False)
        self.assertEqual(b.get_proof(got[0].sequence).event, got[0].data)
        b.ping()
        self.assertFalse(b.settled, "an ack was answered that is not on the disk")
        self.fault.off()
        self.assertCodes(self.taken(a, waiting), 0)
        b.wait_until(lambda: len(b.settled) == len(got), what="the acks' answers")
        self.assertGreater(self.fault.hits, 0)
        self.assertWhole()

    def test_a_commit_of_unknown_outcome_is_never_acknowledged(self):
        # A meta page that was written although failure was told: the row is in the log, and its receipt comes when the
        # sender asks again.
        for calls, error, options in (
            (WRITE, errno.EIO, {}),
            (SYNC, errno.EIO, {}),
            (META, errno.EIO, {"times": 1}),
            (META, errno.EIO, {}),
            (META, errno.ENOSPC, {"times": 1}),
            (META, errno.EIO, {"times": 1, "done": True}),
        ):
            with self.subTest(calls=calls, error=errno.errorcode[error], **options):
                if not self.hub.alive:
                    self.new_hub()
                a, b, receipts = self.filled()
                b.credit(2)
                b.ack(*b.receive(2))
                rest = receipts[2:]
                self.fault.on("/journal.mdb", calls, error, **options)
                sealed = [self.seal(a, b, f"lost{i}") for i in range(5)]
                for one in sealed:
                    a.send_seal(one)
                self.assertDies("writing the journal", a)
                self.assertFalse({one.digest for one in sealed} & set(a.receipts), "receipted without a commit")
                self.assertNothingLost(a, b, rest, sealed)

    def test_an_ack_of_unknown_outcome_is_not_answered(self):
        a, b, receipts = self.filled()
        b.credit(10)
        got = b.receive(10)
        self.fault.on("/journal.mdb", SYNC, errno.EIO)
        b.ack(*got, wait=False)
        self.assertDies("writing the journal", b)
        self.assertFalse(b.settled)
        self.assertNothingLost(a, b, receipts)

    def test_a_start_that_cannot_sync_does_not_begin(self):
        a, b, receipts = self.filled()
        for file in ("journal.mdb", "keys.slots", "state.mdb"):
            with self.subTest(file):
                if self.hub.alive:
                    self.hub.kill()
                self.fault.on(f"/{file}", SYNC, errno.EIO)
                done = subprocess.run(
                    [build_dir() / "truc-hub", "--home", self.hub.home],
                    capture_output=True,
                    text=True,
                    timeout=60,
                    env=self.hub.environment,
                )
                self.fault.off()
                self.assertEqual(done.returncode, 3, done.stderr)
                self.assertGreater(self.fault.hits, 0)
                self.assertIn(file, done.stderr)
                self.assertIn("synced", done.stderr)
                self.assertIn("start again", done.stderr)
                self.assertNotIn("ready", done.stdout)
        self.assertNothingLost(a, b, receipts)


class State(FaultCase):
    def test_no_room_refuses_seals_and_goes_on_by_itself(self):
        a, b, receipts = self.filled()
        self.fault.on("/state.mdb", WRITE, errno.ENOSPC)
        receipts.append(a.submit(a.event("seen", "x.v1", recipients=b.agency.code)))  # the journal has it
        self.said("state_full", b)
        waiting = self.seal(a, b, "full")
        self.refused_full(a, waiting)
        # What needs no more of the state than memory goes on.
        b.credit(100)
        got = b.receive(len(receipts))
        self.assertEqual(b.ack(*got), [])
        self.fault.off()
        self.assertCodes(self.taken(a, waiting), 0)
        self.assertGreater(self.fault.hits, 0)
        self.assertWhole()

    def test_a_failing_disk_ends_the_hub_and_the_journal_makes_up_for_it(self):
        for calls, options in ((WRITE, {}), (SYNC, {}), (META, {"times": 1}), (META, {"times": 1, "done": True})):
            with self.subTest(calls=calls, **options):
                if not self.hub.alive:
                    self.new_hub()
                a, b, receipts = self.filled()
                self.fault.on("/state.mdb", calls, errno.EIO, **options)
                receipts.append(a.submit(a.event("seen", "x.v1", recipients=b.agency.code)))
                self.assertDies("committing the state", a, b)
                self.assertNothingLost(a, b, receipts)

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


class KeySlots(FaultCase):
    """The first seals of a hub ask for more slots, so a failure is met at once."""

    def test_no_room_refuses_seals_and_goes_on_by_itself(self):
        self.fault.on("/keys.slots", WRITE, errno.ENOSPC)
        a, b = self.agency("S"), self.agency("R")  # the administrator uses what is left
        self.hub.grant(a.code, b.code)
        a, b = self.hub.connect(a), self.hub.connect(b)
        self.assertGreater(self.fault.hits, 0)
        sealed = self.seal(a, b, "1")
        self.refused_full(a, sealed)
        self.fault.off()
        self.assertCodes(self.taken(a, sealed), 0)
        self.assertWhole()

    def test_a_failing_disk_ends_the_hub_before_a_key_is_used(self):
        for calls, options in ((WRITE, {}), (SYNC, {}), (META, {}), (SYNC, {"skip": 1})):
            with self.subTest(calls=calls, **options):
                if not self.hub.alive:
                    self.new_hub()
                self.fault.on("/keys.slots", calls, errno.EIO, **options)
                with self.assertRaises(SessionLost):
                    while True:
                        self.hub.enrol(self.code())
                self.assertDies("keys.slots")
                self.hub.start()
                a, b, receipts = self.filled()
                self.hub.kill()
                self.assertNothingLost(a, b, receipts)


class Log(FaultCase):
    def test_a_log_that_cannot_be_written_stops_nothing(self):
        log = os.readlink(f"/proc/{self.hub.process.pid}/fd/2")
        self.fault.on(log, WRITE, errno.EIO)
        a, b, receipts = self.filled()
        self.assertGreater(self.fault.hits, 0)
        self.fault.off()
        self.hub.connect(self.agency()).ping()
        self.said("log_lost", a)
        self.hub.kill()
        self.assertNothingLost(a, b, receipts)


class StuckLog(HubCase):
    def test_a_log_that_nobody_reads_stops_nothing(self):
        folder = pathlib.Path(tempfile.mkdtemp(prefix="truc-log-"))
        self.addCleanup(shutil.rmtree, folder)
        os.mkfifo(folder / "log")
        log = os.open(folder / "log", os.O_RDWR | os.O_NONBLOCK)
        self.addCleanup(os.close, log)
        fcntl.fcntl(log, fcntl.F_SETPIPE_SZ, 4096)
        self.hub.stop()
        self.hub.prefix = ["bash", "-c", 'exec "$@" 2>"$0"', folder / "log"]
        self.hub.start()
        a, b = self.pair()
        for _ in range(100):  # each leaves a line
            self.hub.connect(a.agency).close()
        self.assertCodes(a.submit(a.event("1", "x.v1", recipients=b.agency.code)), 0)
        text = b""

        def told():
            nonlocal text
            self.hub.connect(a.agency).close()
            try:
                text += os.read(log, 65536)
            except BlockingIOError:
                pass
            return b"event=log_lost lines=" in text

        self.eventually(told, 20, "how many lines were lost")


class Damaged(HubCase):
    """Files of a stopped hub that are damaged, too old, or another's: each told for what it is, and none written to."""

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


class Configuration(HubCase):
    def check(self, text):
        path = self.hub.home / "hub.yaml"
        kept = path.read_text("utf-8")
        path.write_text(text)
        try:
            command = [build_dir() / "truc-hub", "--home", self.hub.home, "--check-config"]
            return subprocess.run(command, capture_output=True, text=True, timeout=60)
        finally:
            path.write_text(kept)

    def test_every_error_in_one_run_with_line_and_key(self):
        done = self.check(
            "listen: udp://x\n"
            "log_level: loud\n"
            "storage:\n"
            "  reserve: 100 MiB\n"
            "  jurnal: 3\n"
            "workers: many\n"
            "limits:\n"
            "  session_bytes: 64 MiB\n"
            "  total_bytes: 32 MiB\n"
        )
        self.assertEqual(done.returncode, 2)
        expected = ["1: listen:", "2: log_level:", "4: storage.reserve:", "5: storage.jurnal:", "6: workers:"]
        for one in [*expected, "9: limits.total_bytes:"]:
            self.assertIn(f"hub.yaml:{one}", done.stderr)
        self.assertEqual(len(done.stderr.splitlines()), 6, done.stderr)

    def test_a_reserve_that_one_commit_could_use_up(self):
        listen = 'listen: "tcp://127.0.0.1:0"\n'
        done = self.check(listen + "storage:\n  reserve: 127 MiB\n")
        self.assertEqual(done.returncode, 2)
        self.assertIn("hub.yaml:3: storage.reserve:", done.stderr)
        self.assertIn("give 128 MiB or more", done.stderr)
        self.assertEqual(self.check(listen + "storage:\n  reserve: 128 MiB\n").returncode, 0)
        # With less in flight a commit is smaller, and the reserve may be.
        less = listen + "limits:\n  total_bytes: 5 MiB\n  session_bytes: 5 MiB\nstorage:\n  reserve: 20 MiB\n"
        self.assertEqual(self.check(less).returncode, 0)
        self.assertEqual(self.check(less + "  journal: 24 MiB\n").returncode, 2)
        self.assertEqual(self.check(less + "  journal: 25 MiB\n").returncode, 0)


class Reserve(HubCase):
    LIMITS = {"total_bytes": "5 MiB", "session_bytes": "5 MiB"}
    hub_options = {"config": configured(storage={"journal": "40 MiB", "reserve": "20 MiB"}, limits=LIMITS)}

    def test_a_flood_of_seals_leaves_the_reserve_whole(self):
        a, b = self.pair()
        refused = 0
        for i in range(60):
            sealed = [
                a.chain.seal([a.event(f"{i}.{j}", "x.v1", recipients=b.agency.code, data=os.urandom(400000))])
                for j in range(8)
            ]
            for one in sealed:
                a.send_seal(one)
            for one in sealed:
                try:
                    a.result(one)
                except Refused as e:
                    self.assertEqual(e.reason, Reason.STORAGE_FULL)
                    refused += 1
            if refused:
                break
        self.assertGreater(refused, 0)
        mib = 1 << 20
        journal = self.hub.home / "data" / "journal.mdb"
        # Allocated ahead by at most 8 MiB, and rows cost a little more than their events.
        used = [line for line in self.hub.output().splitlines() if "event=storage_full" in line]
        self.assertLess(journal.stat().st_size, (40 - 20 + 8 + 1) * mib, used)
        # There is room for hundreds of acts.
        for i in range(200):
            self.hub.grant(a.agency.code, b.agency.code, f"type{i}.v1")
        b.credit(1000, 1 << 28)
        got = b.receive(10)
        self.assertEqual(b.ack(*got), [])


def cpu_seconds(pid):
    fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(") ", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


class Descriptors(HubCase):
    LIMIT = 200
    hub_options = {"prefix": ["bash", "-c", f'ulimit -n {LIMIT} && exec "$@"', "limited"]}

    def test_too_few_for_the_sessions_is_said_at_the_start(self):
        line = [line for line in self.hub.output().splitlines() if "event=descriptors" in line]
        self.assertEqual(len(line), 1, self.hub.output())
        for said in ("200 open files", "limits.sessions is 1024", "LimitNOFILE=1088", "ulimit -n 1088"):
            self.assertIn(said, line[0])

    def raw(self, count):
        host, port = self.hub.endpoint.removeprefix("tcp://").split(":")
        sockets = []
        for _ in range(count):
            one = socket.create_connection((host, int(port)), timeout=30)
            self.addCleanup(one.close)
            sockets.append(one)
        return sockets

    def test_many_connections_that_say_nothing_take_nobodys_place(self):
        a, b = self.pair()
        pid = self.hub.process.pid
        sockets = self.raw(600)
        began, spent = time.monotonic(), cpu_seconds(pid)
        # Those that came before are served, and so is who comes now.
        self.assertCodes(a.submit(a.event("1", "x.v1", recipients=b.agency.code)), 0)
        c = self.agency()
        self.hub.connect(c).ping()
        open_files = len(os.listdir(f"/proc/{pid}/fd"))
        self.assertLess(open_files, self.LIMIT)
        # The hub takes those that are too many, and the rest when they do not shake hands in time.
        for one in sockets:
            one.settimeout(60)
            try:
                while one.recv(4096):
                    pass
            except ConnectionResetError:
                pass
            one.close()
        passed = time.monotonic() - began
        self.assertLess((cpu_seconds(pid) - spent) / passed, 0.5, "it spins")
        self.assertCodes(a.submit(a.event("2", "x.v1", recipients=b.agency.code)), 0)
        self.hub.connect(c).ping()

    def test_none_left_at_all_ends_nothing(self):
        a, b = self.pair()
        pid = self.hub.process.pid
        limit = resource.prlimit(pid, resource.RLIMIT_NOFILE)
        # Not one more than are open: accept() itself fails.
        resource.prlimit(pid, resource.RLIMIT_NOFILE, (len(os.listdir(f"/proc/{pid}/fd")), limit[1]))
        sockets = self.raw(50)
        self.assertCodes(a.submit(a.event("3", "x.v1", recipients=b.agency.code)), 0)
        for one in sockets:
            one.close()
        resource.prlimit(pid, resource.RLIMIT_NOFILE, limit)
        self.assertCodes(a.submit(a.event("4", "x.v1", recipients=b.agency.code)), 0)
        self.hub.connect(self.agency()).ping()


if __name__ == "__main__":
    unittest.main()
