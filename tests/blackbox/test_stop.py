"""How the hub ends: in order and with exit 0 whatever is under way, and with a reason where it cannot start at all.

Under a sanitizer both ends also tell of memory that was forgotten on the way.
"""

import os
import shutil
import signal
import socket
import subprocess
import unittest

from support import HubCase, configured
from trucpy import events as ev
from trucpy import frames
from trucpy.client import SessionLost
from trucpy.hub import Hub, build_dir
from trucpy.reasons import Reason
from trucpy.schema import truc

EVENTS = 400


class Stops(HubCase):
    # Nothing stays in memory: every delivery is read back from the journal.
    hub_options = {"config": configured(limits={"cache_bytes": 0})}

    def stop_now(self, *clients):
        """SIGTERM; each client hears BYE. The hub's exit status is 0."""
        self.hub.process.send_signal(signal.SIGTERM)
        for client in clients:
            with self.assertRaises(SessionLost) as caught:
                while True:
                    client.pump()
            self.assertEqual(caught.exception.reason, Reason.NONE, str(caught.exception))
        status = self.hub.process.wait(60)
        self.hub._ended()
        self.assertEqual(status, 0, self.hub.output()[-4000:])

    def again(self, *agencies):
        """-> the agencies' clients on the hub that was started again"""
        self.hub.start()
        return [self.hub.connect(agency) for agency in agencies]

    def filled(self):
        """-> sender, receiver, the receipts of EVENTS events that wait for it"""
        a, b = self.pair()
        seals = [
            a.chain.seal([a.event(f"{i}.{j}", "x.v1", recipients=b.agency.code, data=b"d" * 900) for j in range(20)])
            for i in range(EVENTS // 20)
        ]
        for sealed in seals:
            a.send_seal(sealed)
        return a, b, [a.result(sealed) for sealed in seals]

    def test_with_deliveries_in_flight(self):
        _, b, _ = self.filled()
        b.credit(EVENTS // 2)
        got = b.receive(EVENTS // 2)
        b.ack(*got[:10], wait=False)
        self.stop_now(b)
        settled = set(b.settled)
        (b,) = self.again(b.agency)
        b.credit(2 * EVENTS, 1 << 26)
        again = b.receive(EVENTS - 10)
        back = {d.number for d in again + b.quiet()}
        self.assertEqual(len(back | {d.number for d in got}), EVENTS)
        self.assertFalse(back & {number for _, number in settled}, "what was settled came again")

    def test_with_cold_reads_under_way(self):
        a, b, receipts = self.filled()
        b.credit(EVENTS, 1 << 26)
        for round_ in range(3):
            for receipt in receipts:
                for offset in range(20):
                    a.requests += 1
                    a.send(frames.GET_PROOF, truc.GetProof(request=a.requests, sequence=receipt.leaf.first + offset))
        a.wait_until(lambda: a.proofs, what="the first proof")
        self.stop_now(a, b)
        (b,) = self.again(b.agency)
        b.credit(EVENTS, 1 << 26)
        self.assertEqual(len({d.number for d in b.receive(EVENTS)}), EVENTS)

    def test_with_seals_under_verification(self):
        a, b = self.pair()
        seals = [
            a.chain.seal([a.event(f"{i}.{j}", "x.v1", recipients=b.agency.code, data=b"d" * 200) for j in range(500)])
            for i in range(12)
        ]
        for sealed in seals:
            a.send_seal(sealed)
        twin = self.hub.connect(a.agency)  # the same seals on a second connection wait for the first one's receipts
        for sealed in seals:
            twin.send_seal(sealed)
        a.result(seals[0])
        self.stop_now(a, twin)
        receipted, chain = dict(a.receipts), a.chain
        a, b = self.again(a.agency, b.agency)
        a.chain = chain
        for sealed in seals:
            a.send_seal(sealed)
        for sealed in seals:
            receipt = a.result(sealed)
            self.assertCodes(receipt, *[0] * 500)
            if sealed.digest in receipted:
                self.assertEqual(receipt.leaf_bytes, receipted[sealed.digest].leaf_bytes)

    def test_with_half_a_seal_received(self):
        a, b = self.pair()
        sealed = a.chain.seal([a.event("1", "x.v1", recipients=b.agency.code, data=b"d" * 300000)])
        body = ev.pack_body(sealed.events)
        first, *rest = frames.encode(frames.SUBMIT, truc.Submit(envelope=sealed.envelope), body)
        self.assertTrue(rest, "the body fits into one piece")
        a.send_parts(*first)
        b.ping()
        self.stop_now(a, b)
        a, _ = self.again(a.agency, b.agency)
        self.assertCodes(a.submit(a.event("2", "x.v1", recipients=b.agency.code)), 0)


def overwrite(path, at, data):
    with open(path, "r+b") as file:
        file.seek(at, os.SEEK_END if at < 0 else os.SEEK_SET)
        file.write(data)


class DoesNotStart(unittest.TestCase):
    """A home that is wrong: exit 2 where its words are wrong, 3 where files are missing or damaged; the file is named."""

    @classmethod
    def setUpClass(cls):
        cls.hub = Hub()
        cls.addClassCleanup(cls.hub.close)
        cls.hub.stop()

    def assertFails(self, status, says, damage):
        """Starts the hub on a copy of the home in which `damage(home)` was done."""
        home = self.hub.folder / self.id().rsplit(".", 1)[-1]
        shutil.copytree(self.hub.home, home)
        damage(home)
        done = subprocess.run(
            [build_dir() / "truc-hub", "--home", home],
            capture_output=True,
            text=True,
            timeout=60,
            env=self.hub.environment,
        )
        self.assertEqual(done.returncode, status, done.stderr)
        self.assertIn(says, done.stderr)
        self.assertNotIn("ready", done.stdout)

    def test_the_home_as_it_is_starts(self):
        # Otherwise the stories below would prove nothing.
        self.hub.start()
        self.assertEqual(self.hub.stop(), 0)

    def test_no_home(self):
        self.assertFails(3, "No such file", shutil.rmtree)

    def test_wrong_configuration(self):
        self.assertFails(2, "hub.yaml:2", lambda h: (h / "hub.yaml").write_text('listen: "tcp://127.0.0.1:0"\nno: 1\n'))

    def test_no_note_key(self):
        self.assertFails(3, "hub/note.pem", lambda h: (h / "hub" / "note.pem").unlink())

    def test_a_damaged_transport_key(self):
        self.assertFails(2, "transport.secret", lambda h: (h / "hub" / "transport.secret").write_text("no key\n"))

    def test_another_logs_note_key(self):
        def exchange(home):
            with Hub() as other:
                shutil.copy(other.home / "hub" / "note.pem", home / "hub" / "note.pem")

        self.assertFails(3, "note.pem", exchange)

    def test_no_journal(self):
        self.assertFails(3, "journal", lambda h: (h / "data" / "journal.mdb").unlink())

    def test_a_journal_cut_short(self):
        self.assertFails(3, "journal", lambda h: os.truncate(h / "data" / "journal.mdb", 10000))

    def test_a_journal_with_damaged_pages(self):
        def damage(home):
            path = home / "data" / "journal.mdb"
            overwrite(path, 8192, b"\xa5" * (path.stat().st_size - 8192))

        self.assertFails(3, "journal", damage)

    def test_no_key_slots(self):
        self.assertFails(3, "keys.slots", lambda h: (h / "data" / "keys.slots").unlink())

    def test_damaged_key_slots(self):
        self.assertFails(3, "keys.slots", lambda h: overwrite(h / "data" / "keys.slots", 0, b"\0" * 64))

    def test_a_damaged_state(self):
        self.assertFails(3, "state", lambda h: overwrite(h / "data" / "state.mdb", 0, b"\xa5" * 8192))

    def test_the_endpoint_is_taken(self):
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            taken.listen()
            text = f'listen: "tcp://127.0.0.1:{taken.getsockname()[1]}"\n'
            self.assertFails(3, "Address already in use", lambda h: (h / "hub.yaml").write_text(text))

    def test_the_home_is_served_already(self):
        self.hub.start()
        try:
            done = subprocess.run(
                [build_dir() / "truc-hub", "--home", self.hub.home], capture_output=True, text=True, timeout=60
            )
            self.assertEqual(done.returncode, 3, done.stderr)
            self.assertIn("another", done.stderr)
        finally:
            self.assertEqual(self.hub.stop(), 0)


if __name__ == "__main__":
    unittest.main()
