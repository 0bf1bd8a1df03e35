"""What the black-box stories share: a hub for each class, and agencies that no other test uses."""

import itertools
import time
import unittest

from trucpy import reasons
from trucpy.client import SessionLost
from trucpy.hub import SANITIZER, Hub

_codes = itertools.count(1)


def configured(**sections):
    """A `config` for Hub: hub.yaml with these sections, each {key: value}."""
    text = 'listen: "tcp://127.0.0.1:0"\nlog_level: info\n'
    for section, keys in sections.items():
        text += f"{section}:\n" + "".join(f"  {k}: {v}\n" for k, v in keys.items())
    return lambda old: text


class HubCase(unittest.TestCase):
    """One hub for all tests of the class; `hub_options` are Hub's arguments."""

    hub_options = {}

    @classmethod
    def setUpClass(cls):
        cls.hub = Hub(**cls.hub_options)
        cls.addClassCleanup(cls.hub.close)

    def setUp(self):
        # A hub that a test has killed is that test's failure alone.
        if not self.hub.alive:
            type(self).setUpClass()

    def tearDown(self):
        self.assertTrue(self.hub.alive, "the hub died:\n" + self.hub.output()[-4000:])
        self.hub.drop_clients()

    def code(self, stem="A"):
        return f"{stem}{next(_codes)}"

    def agency(self, stem="A", **kw):
        """A newly enrolled agency."""
        return self.hub.enrol(self.code(stem), **kw)

    def pair(self, type_="*", **grant):
        """-> (sender, receiver), both connected, with a grant from the first to the second"""
        a, b = self.agency("S"), self.agency("R")
        self.hub.grant(a.code, b.code, type_, **grant)
        return self.hub.connect(a), self.hub.connect(b)

    def assertCodes(self, receipt, *expected):
        self.assertEqual([reasons.name(c) for c in receipt.codes], [reasons.name(c) for c in expected])

    def assertLost(self, client, reason=None, closed=True):
        """The hub ends the session: with a BYE of `reason` if one is named, and closes the connection."""
        with self.assertRaises(SessionLost) as caught:
            while True:
                client.recv()
        if reason is not None:
            self.assertEqual(caught.exception.reason, reason, str(caught.exception))
        if closed:
            client.wait_closed()
        return caught.exception

    def resident(self):
        """Memory that the hub holds, in bytes."""
        for line in open(f"/proc/{self.hub.process.pid}/status", encoding="ascii"):
            if line.startswith("VmRSS:"):
                return int(line.split()[1]) * 1024
        raise AssertionError("no VmRSS")

    def assertGrewLess(self, grown, limit, msg):
        """A sanitizer's own memory says nothing about the hub's."""
        if not SANITIZER:
            self.assertLess(grown, limit, msg)

    def eventually(self, probe, timeout=20.0, what="the condition"):
        """Asks the hub again until `probe` gives something true. Each round is a question over the wire, no sleep."""
        deadline = time.monotonic() + timeout
        while True:
            got = probe()
            if got:
                return got
            self.assertLess(time.monotonic(), deadline, f"{what} did not come within {timeout} s")
