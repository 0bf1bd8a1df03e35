"""An order to replay says whose event it means, of which type, size and subject: the log's auditor finds out whether
that is true."""

import hashlib
import json
import os
import subprocess

from support import HubCase
from trucpy.hub import build_dir
from trucpy.reasons import Reason
from trucpy.schema import truc

DONE, DAMAGED = 0, 5


class Orders(HubCase):
    def verify(self, *expect):
        """-> the findings of `truc log verify`, which exits with one of these codes"""
        env = {k: v for k, v in os.environ.items() if k != "TRUC_PROFILE"}
        command = [build_dir() / "truc", "log", "verify", "--json", "--home", self.hub.home]
        done = subprocess.run(command, capture_output=True, text=True, timeout=120, env=env)
        self.assertIn(done.returncode, expect, done.stdout + done.stderr)
        return json.loads(done.stdout)["findings"]

    def item(self, delivery, **lies):
        subject = int.from_bytes(hashlib.sha256(delivery.subject.encode()).digest()[:8], "big")
        item = dict(
            sequence=delivery.sequence,
            leaf_index=delivery.leaf_index,
            index=delivery.index,
            size=len(delivery.data),
            subject=subject,
            sender=delivery.seal.sender,
            type=delivery.event.type,
        )
        item.update(lies)
        return truc.ReplayItem(**item)

    def order(self, to, *items):
        return self.hub.govern(order_replay=truc.OrderReplay(to=to, filter="test", items=items))

    def test_what_an_order_says_is_compared_with_the_event(self):
        a, b = self.pair()
        other = self.agency("O")
        self.hub.grant(other.code, b.agency.code)
        a.submit(*[a.event(f"{i}", "x.v1", recipients=b.agency.code, subject=f"s{i}") for i in range(3)])
        b.credit(100)
        got = b.receive(3)
        b.ack(*got)
        # True ones, from two places of a seal, one of them twice.
        self.order(b.agency.code, self.item(got[0]), self.item(got[2]), self.item(got[0]))
        again = b.receive(3)
        self.assertEqual([d.data for d in again], [got[0].data, got[2].data, got[0].data])
        b.ack(*again)
        self.assertEqual(self.verify(DONE), [])
        lies = [("sender", other.code), ("type", "y.v1"), ("size", 1), ("subject", 77)]
        receipts = {what: self.order(b.agency.code, self.item(got[1], **{what: lie})) for what, lie in lies}
        # Whatever the order said: what is delivered is the event itself, with its own seal.
        for d in b.receive(len(lies)):
            self.assertEqual((d.data, d.seal.sender, d.replay), (got[1].data, a.agency.code, True))
        findings = self.verify(DAMAGED)
        self.assertEqual(len(findings), len(lies), findings)
        for finding, (what, _) in zip(findings, lies):
            self.assertEqual(finding["sequence"], receipts[what].leaf.first)
            self.assertIn(f"event {got[1].sequence} was ordered to be replayed as one of another {what}", finding["what"])

    def test_a_refused_order_is_nobodys_lie(self):
        a, b = self.pair("x.*")
        a.submit(a.event("1", "x.v1", recipients=b.agency.code, subject="s"))
        b.credit(1)
        d = b.receive_one()
        before = len(self.verify(DONE, DAMAGED))  # another test's lies are in this log, too
        act = truc.OrderReplay(to=b.agency.code, filter="test", items=[self.item(d, type="y.v1")])
        self.hub.govern(order_replay=act, expect=Reason.NOT_GRANTED)
        self.assertEqual(len(self.verify(DONE, DAMAGED)), before)
