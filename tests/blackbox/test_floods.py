"""Floods of what is allowed one at a time: the hub keeps its memory and its disk, and its other peers their service."""

import contextlib
import os
import time
import unittest
from unittest import mock

import zmq

from support import HubCase, configured
from trucpy import frames
from trucpy.client import SessionLost
from trucpy.events import pack_body
from trucpy.reasons import Reason
from trucpy.schema import truc

MIB = 1 << 20


class Flood(HubCase):
    def setUp(self):
        super().setUp()
        self.sender, self.receiver = self.pair()

    def journal_rows(self):
        return self.hub.admin_client().query("status")[0]["journal_rows"]

    def served(self):
        """Somebody else is served as ever: receipted, delivered, settled."""
        to = self.receiver.agency.code
        self.assertCodes(self.sender.submit(self.sender.event(os.urandom(8).hex(), "x.v1", recipients=to)), 0)
        self.receiver.credit(1)
        self.receiver.ack(self.receiver.receive_one())

    def flood(self, client, messages):
        """Sends it all at once, as far as the hub lets it."""
        with self.hub.frozen():
            for parts in messages[:800]:
                client.send_parts(*parts)
        for parts in messages[800:]:
            client.send_parts(*parts)

    def frame(self, kind, message):
        (parts,) = frames.encode(kind, message)
        return parts


class Subscriptions(Flood):
    def subscribe(self, type_, remove=False):
        return self.frame(frames.SUBSCRIBE, truc.Subscribe(type=type_, remove=remove))

    def test_subscriptions_that_are_not_awaited_cost_the_session(self):
        client = self.hub.connect(self.agency())
        self.flood(client, [self.subscribe(f"flood.{i}") for i in range(800)])
        self.assertLost(client, Reason.OVERLOADED)
        rows = self.hub.admin_client().query("subscriptions", agency=client.agency.code)
        self.assertLess(len(rows), 400)
        self.served()
        # 16 at a time are well.
        client = self.hub.connect(client.agency)
        self.flood(client, [self.subscribe(f"calm.{i}") for i in range(16)])
        client.wait_until(lambda: len(client.subscribed) == 16)

    def test_what_changes_nothing_is_settled_without_the_journal(self):
        client = self.hub.connect(self.agency())
        client.subscribe("same.*")
        before = self.journal_rows()
        self.flood(client, [self.subscribe("same.*")] * 2000 + [self.subscribe("never.*", remove=True)] * 500)
        client.wait_until(lambda: len(client.subscribed) == 1 + 2500)
        self.assertEqual(self.journal_rows(), before)
        self.served()


class SubscriptionsWhileFull(Flood):
    """No room on the disk: what is reserved is not for streams of subscriptions."""

    STORAGE = {"journal": "40 MiB", "reserve": "20 MiB", "state": "64 MiB"}
    LIMITS = {"total_bytes": "5 MiB", "session_bytes": "5 MiB"}
    hub_options = {"config": configured(storage=STORAGE, limits=LIMITS)}

    def test_one_a_second_and_no_more(self):
        a, b = self.sender, self.receiver
        for size in (900000, 90000, 1):
            for i in range(60):
                event = a.event(f"{size}.{i}", "x.v1", recipients=b.agency.code, data=os.urandom(size))
                sealed = a.chain.seal([event], commit=False)
                a.send_seal(sealed)
                a.wait_until(lambda: sealed.digest in a.receipts or sealed.digest in a.refusals)  # noqa: B023
                if sealed.digest in a.refusals:
                    break
                a.chain.number, a.chain.head = sealed.seal.number, sealed.digest
            self.assertEqual(a.refusals[sealed.digest].reason, Reason.STORAGE_FULL)
        self.eventually(lambda: self.hub.admin_client().query("status")[0]["storage_full"], what="a full disk")
        b.subscribe("first.*")
        with self.assertRaises(SessionLost) as caught:
            for i in range(3):
                b.subscribe(f"more.{i}")
        self.assertEqual(caught.exception.reason, Reason.STORAGE_FULL)
        b = self.hub.connect(b.agency)
        b.subscribe("first.*")  # there already: needs no room
        b.credit(1)
        self.assertEqual(b.ack(b.receive_one()), [])


class Credit(Flood):
    def test_credit_adds_up_to_its_limit_and_no_further(self):
        a, b = self.pair()
        most = truc.Credit(events=(1 << 32) - 1, bytes=(1 << 64) - 1)
        before = self.journal_rows()
        self.flood(b, [self.frame(frames.CREDIT, most)] * 5000)
        b.credit_events, b.credit_bytes = 65536, 64 * MIB  # what the client may now be sent, and checks
        b.ping()
        rows = self.hub.admin_client().query("sessions")
        self.assertEqual([r["credit_events"] for r in rows if r["agency"] == b.agency.code], [65536])
        self.assertEqual(self.journal_rows(), before)
        a.submit(*[a.event(f"{i}", "x.v1", recipients=b.agency.code) for i in range(10)])
        self.assertEqual(len(b.receive(10)), 10)
        self.served()

    def test_credit_of_bytes_has_its_limit_too(self):
        a, b = self.pair()
        event = lambda i: a.event(f"{i}", "x.v1", recipients=b.agency.code, data=bytes(1000000))  # noqa: E731
        for n in range(18):
            a.submit(*[event(f"{n}.{i}") for i in range(4)])
        b.send(frames.CREDIT, truc.Credit(events=1000, bytes=1 << 62))
        b.credit_events, b.credit_bytes = 65536, 64 * MIB
        got = b.receive(67)  # of 72: what fits into 64 MiB
        self.assertEqual(len(b.quiet()), 0)
        b.ack(*got)
        b.credit(100, 32 * MIB)
        self.assertEqual(len(b.receive(5)), 5)

    def test_acks_and_nacks_of_nothing_are_stale_and_leave_no_trace(self):
        client = self.hub.connect(self.agency())
        before, memory = self.journal_rows(), self.resident()
        ack = truc.Ack()
        for i in range(1000):
            ack.ranges.add(lease=i + 1, first=1 + i * 70000, count=65536)
        nack = self.frame(frames.NACK, truc.Nack(lease=7, number=7, note="x" * 200))
        self.flood(client, [self.frame(frames.ACK, ack)] * 20 + [nack] * 1000)
        stale = 0
        while stale < 20 * 1000 + 1000:  # counted by ranges: they name more than a billion numbers
            stale += len(client.recv().message.stale)
        self.assertEqual(self.journal_rows(), before)
        self.assertGrewLess(self.resident() - memory, 32 * MIB, "stale acks pile up")
        self.served()


class Known(Flood):
    """The same seals over and over: a client that cannot believe its receipts."""

    ROUNDS = 300

    def many(self, a, b, count, events):
        sealed = []
        for i in range(count):
            one = [a.event(f"{i}.{j}", "x.v1", recipients=b.agency.code, subject=f"{j}") for j in range(events)]
            sealed.append(a.chain.seal(one))
            a.send_seal(sealed[-1])
        return sealed, [a.result(s) for s in sealed]

    def test_known_seals_get_the_same_answer_and_cost_nothing(self):
        a, b = self.pair()
        sealed, receipts = self.many(a, b, 5, 200)
        status = self.hub.admin_client().query("status")[0]
        for s in sealed:
            a.send_seal(s)
        self.assertEqual([a.result(s).leaf_bytes for s in sealed], [r.leaf_bytes for r in receipts])
        memory = self.resident()
        answers = []
        seen = lambda r: (bytes(r.seal_digest), bytes(r.leaf), r.leaf_index)  # noqa: E731
        a.on_receipts = lambda m: answers.extend(map(seen, m.receipts))
        for n in range(self.ROUNDS):
            for s in sealed:
                a.send_seal(s)
            self.receiver.ping()
            a.wait_until(lambda: len(answers) >= (n - 20) * len(sealed))  # noqa: B023
        a.wait_until(lambda: len(answers) == self.ROUNDS * len(sealed))
        expected = {(s.digest, r.leaf_bytes, r.leaf_index) for s, r in zip(sealed, receipts)}
        self.assertEqual(set(answers), expected)
        after = self.hub.admin_client().query("status")[0]
        for key in ("tree_size", "next_sequence", "journal_rows"):
            self.assertEqual(after[key], status[key], key)
        # 1500 seals of 40 KB were sent, 60 MB. What a session may have in flight and the heap's slack may stay.
        self.assertGrewLess(self.resident() - memory, 24 * MIB, "known seals pile up")
        self.served()

    def test_who_does_not_read_the_answers_is_let_go(self):
        a, b = self.pair()
        (sealed,), _ = self.many(a, b, 1, 1)
        (submit,) = frames.encode(frames.SUBMIT, truc.Submit(envelope=sealed.envelope), pack_body(sealed.events))
        dropped = lambda: self.hub.admin_client().query("status")[0]["counters"]["dropped_sessions"]  # noqa: E731
        before, memory = dropped(), self.resident()
        options = {zmq.RCVBUF: 8192, zmq.RCVHWM: 10}  # otherwise this machine's own buffers take it all
        with mock.patch.dict(zmq.Context.instance().sockopts, options):
            deaf = self.hub.connect(a.agency)
        deadline = time.monotonic() + 60
        while dropped() == before and time.monotonic() < deadline:
            with contextlib.suppress(zmq.Again):
                for _ in range(500):
                    deaf.socket.send_multipart(submit, zmq.DONTWAIT)
            self.receiver.ping()
        self.assertGreater(dropped(), before, "a minute of answers that nobody takes")
        self.assertGrewLess(self.resident() - memory, 48 * MIB, "answers that nobody takes pile up")
        self.served()

    def test_known_events_in_new_seals_are_duplicates_and_are_delivered_once(self):
        a, b = self.pair()
        (sealed,), (receipt,) = self.many(a, b, 1, 300)
        events = sealed.events
        for _ in range(10):
            again = a.submit(*events)
            self.assertEqual([o.repeats for o in again.outcomes], [o.sequence for o in receipt.outcomes])
        b.credit(10000)
        self.assertEqual(len(b.receive(300)), 300)
        self.assertEqual(b.quiet(), [])


if __name__ == "__main__":
    unittest.main()
