"""What runs out: the journal's quota, with the reserve behind it, and the descriptors of the process."""

import os
import pathlib
import resource
import socket
import time
import unittest

from support import HubCase, configured
from trucpy.client import Refused
from trucpy.reasons import Reason


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
