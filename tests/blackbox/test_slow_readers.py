"""Receivers that do not read what they asked for: the hub keeps its memory, the others their deliveries."""

import contextlib
import os
import signal
import unittest

from support import HubCase, configured
from trucpy.client import SessionLost, Timeout

MIB = 1 << 20


class Stopped:
    """A receiver in a process of its own that gives all the credit there is and is stopped before it reads anything."""

    def __init__(self, hub, agency):
        ready, tell = os.pipe()
        self.counts, count = os.pipe()
        self.pid = os.fork()
        if self.pid == 0:
            with contextlib.suppress(BaseException):
                self.receive(hub, agency, tell, count)
            os._exit(0)
        os.close(tell)
        os.close(count)
        os.read(ready, 1)
        os.close(ready)
        os.waitpid(self.pid, os.WUNTRACED)

    @staticmethod
    def receive(hub, agency, tell, count):
        client = hub.session(agency)
        client.hello()
        client.credit(65536, 64 * MIB)
        client.ping()
        os.write(tell, b"x")
        os.kill(os.getpid(), signal.SIGSTOP)
        while True:
            client.receive_one(60)
            os.write(count, b".")

    def go_on(self, expected):
        """-> how many it has got once it reads"""
        os.kill(self.pid, signal.SIGCONT)
        got = 0
        while got < expected:
            part = os.read(self.counts, expected - got)
            if not part:
                break
            got += len(part)
        return got

    def close(self):
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)
        os.close(self.counts)


class SlowReaders(HubCase):
    hub_options = {"config": configured(limits={"cache_bytes": "8 MiB"})}

    def stopped(self, agency):
        one = Stopped(self.hub, agency)
        self.addCleanup(one.close)
        return one

    def test_small_deliveries_do_not_keep_large_seals(self):
        """Each delivery is a few bytes of a body of 3 MB."""
        sender, receiver, deaf = self.agency(), self.agency(), self.agency()
        self.hub.grant(sender.code, deaf.code)
        self.hub.grant(sender.code, receiver.code)
        self.stopped(deaf)
        client = self.hub.connect(sender)
        data = os.urandom(MIB - 4096)
        for i in range(40):  # the kernel's buffers are full: from now on it waits in the hub
            client.submit(client.event(f"f{i}", "x.v1", recipients=deaf.code, data=data[: 200 << 10]))
        before = self.resident()
        for i in range(60):
            small = client.event(f"s{i}", "x.v1", recipients=deaf.code, data=b"small")
            client.submit(small, *[client.event(f"r{i}.{k}", "x.v1", recipients="NOBODY", data=data) for k in range(3)])
        self.assertGrewLess(self.resident() - before, 70 * MIB, "60 seals of 3 MB, 5 bytes each to deliver")

    def test_many_of_them_together_have_a_bound_and_get_everything_when_they_read(self):
        sender, receiver = self.agency(), self.agency()
        deaf = [self.agency() for _ in range(10)]
        for agency in [receiver, *deaf]:
            self.hub.grant(sender.code, agency.code)
        readers = [self.stopped(agency) for agency in deaf]
        client, well = self.hub.connect(sender), self.hub.connect(receiver)
        before = self.resident()
        for i in range(100):  # 20 MiB for each of ten, where the credit would let them have it all
            data = os.urandom(200 << 10)
            client.submit(*[client.event(f"{i}.{a.code}", "x.v1", recipients=a.code, data=data) for a in deaf])
        self.assertGrewLess(self.resident() - before, 110 * MIB, "200 MiB for those who do not read")
        client.submit(client.event("w", "x.v1", recipients=receiver.code, data=os.urandom(200 << 10)))
        well.credit(1)
        well.ack(well.receive_one())
        for reader in readers:
            self.assertEqual(reader.go_on(100), 100)


    def private(self):
        """Memory of the hub that no file stands behind, in bytes: what it reads of the journal is the kernel's."""
        for line in open(f"/proc/{self.hub.process.pid}/status", encoding="ascii"):
            if line.startswith("RssAnon:"):
                return int(line.split()[1]) * 1024
        raise AssertionError("no RssAnon")

    def test_what_is_read_back_for_them_has_the_same_bound(self):
        """Their inboxes are full before they come: all of it is read from the disk."""
        sender = self.agency()
        deaf = [self.agency() for _ in range(8)]
        for agency in deaf:
            self.hub.grant(sender.code, agency.code)
        client = self.hub.connect(sender)
        for i in range(100):
            data = os.urandom(200 << 10)
            client.submit(*[client.event(f"{i}.{a.code}", "x.v1", recipients=a.code, data=data) for a in deaf])
        before, most = self.private(), 0
        readers = [self.stopped(agency) for agency in deaf]
        for reader in readers:  # while one reads, what is kept for the others is there
            for _ in range(100):
                self.assertEqual(reader.go_on(1), 1)
                most = max(most, self.private())
        self.assertGrewLess(most - before, 90 * MIB, "160 MiB read back for those who do not read")


if __name__ == "__main__":
    unittest.main()
