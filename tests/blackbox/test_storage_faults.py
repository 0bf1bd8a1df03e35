"""The disk fails under the hub, in each of the ways in which it can: nothing that was receipted is lost, nothing is
receipted that could be, the hub says in one line what is wrong and what to do, and goes on by itself where it may.
"""

import errno
import fcntl
import os
import pathlib
import shutil
import subprocess
import tempfile
import unittest

from faulty import ALLOCATE, META, SYNC, WRITE, Fault, FaultCase
from support import HubCase
from trucpy.client import Refused, SessionLost
from trucpy.hub import build_dir
from trucpy.reasons import Reason

__all__ = ["ALLOCATE", "META", "SYNC", "WRITE", "Fault"]  # tests/faults takes them from here


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


if __name__ == "__main__":
    unittest.main()
