"""What the tests of failing disks and damaged files share: calls that fail, and stories that end with a whole log.

The failures are made by a preloaded library (fail_io.c).
"""

import mmap
import os
import pathlib
import shutil
import struct
import subprocess
import tempfile

from support import HubCase
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
