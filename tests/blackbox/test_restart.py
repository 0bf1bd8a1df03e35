"""A hub that dies at any moment loses nothing that it has receipted and settles nothing twice."""

import unittest

from support import HubCase
from trucpy import leaf
from trucpy.client import SessionLost
from trucpy.reasons import Reason


class Killed(HubCase):
    def test_receipted_events_survive_and_are_delivered(self):
        a, b = self.pair()
        receipts = [a.submit(a.event(f"{i}", "x.v1", recipients=b.agency.code, subject="s")) for i in range(30)]
        self.hub.restart()
        b = self.hub.connect(b.agency)
        b.credit(100)
        got = b.receive(30)
        self.assertEqual([d.id for d in got], [f"{i}" for i in range(30)])
        self.assertEqual([d.sequence for d in got], [r.leaf.first for r in receipts])
        # connect() proves that the log continues the checkpoint of before the crash.
        a = self.hub.connect(a.agency)
        self.assertEqual(a.welcome.last.digest, receipts[-1].leaf.digest)

    def test_settled_stays_settled_and_the_rest_comes_again(self):
        a, b = self.pair()
        a.submit(*[a.event(f"{i}", "x.v1", recipients=b.agency.code) for i in range(10)])
        b.credit(10)
        got = b.receive(10)
        b.ack(*got[:6])
        self.hub.restart()
        b = self.hub.connect(b.agency)
        b.credit(100)
        again = b.receive(4)
        self.assertEqual([d.number for d in again], [d.number for d in got[6:]])
        self.assertEqual({d.attempt > 1 for d in again}, {True}, "what may have been seen comes as attempt 1")
        self.assertEqual(b.quiet(), [])

    def test_what_was_in_flight_is_sent_again_and_counts_once(self):
        a, b = self.pair()
        sent = []
        for i in range(60):
            events = [a.event(f"{i}.{j}", "x.v1", recipients=b.agency.code) for j in range(10)]
            sent.append(a.chain.seal(events))
            a.send_seal(sent[-1])
        a.result(sent[5])
        had = {d: r.leaf_bytes for d, r in a.receipts.items()}
        chain = a.chain
        self.hub.restart()
        a = self.hub.connect(a.agency)
        a.chain = chain
        for s in sent:
            a.send_seal(s)
        receipts = [a.result(s) for s in sent]
        for s, r in zip(sent, receipts):
            self.assertCodes(r, *[0] * 10)
            if s.digest in had:
                self.assertEqual(r.leaf_bytes, had[s.digest], "a receipted leaf changed")
        b = self.hub.connect(b.agency)
        b.credit(10000, 1 << 26)
        got = b.receive(600)
        self.assertEqual(sorted(d.id for d in got), sorted(f"{i}.{j}" for i in range(60) for j in range(10)))
        self.assertEqual(b.quiet(), [])

    def test_idempotency_is_remembered(self):
        a, b = self.pair()
        event = a.event("1", "x.v1", recipients=b.agency.code)
        first = a.submit(event)
        self.hub.restart()
        a = self.hub.connect(a.agency)
        again = a.submit(event)
        self.assertCodes(again, leaf.DUPLICATE)
        self.assertEqual(again.outcomes[0].repeats, first.leaf.first)
        other = a.submit(a.event("1", "x.v1", recipients=b.agency.code, data=b"other"))
        self.assertCodes(other, Reason.ID_CONFLICT)

    def test_the_chain_goes_on_and_a_fork_is_still_seen(self):
        a, b = self.pair()
        a.submit(a.event("1", "x.v1", recipients=b.agency.code))
        twin = a.chain.seal([a.event("2", "x.v1", recipients=b.agency.code)], commit=False)
        a.submit(a.event("3", "x.v1", recipients=b.agency.code))
        chain = a.chain
        self.hub.restart()
        a = self.hub.connect(a.agency)
        a.chain = chain
        self.assertCodes(a.submit(a.event("4", "x.v1", recipients=b.agency.code)), 0)
        a.send_seal(twin)
        with self.assertRaises(Exception) as caught:
            a.result(twin)
        self.assertEqual(caught.exception.reason, Reason.SEAL_FORK)

    def test_registry_grants_subscriptions_and_dead_letters_survive(self):
        a, b = self.pair()
        b.subscribe("topic.*")
        a.submit(a.event("1", "x.v1", recipients=b.agency.code))
        b.credit(1)
        b.nack(b.receive_one(), reject=True, note_text="no")
        self.eventually(lambda: b.query("deadletters"))
        self.hub.restart()
        a, b = self.hub.connect(a.agency), self.hub.connect(b.agency)
        self.assertEqual([r["note"] for r in b.query("deadletters")], ["no"])
        self.assertCodes(a.submit(a.event("2", "topic.v1")), 0)
        b.credit(1)
        self.assertEqual(b.receive_one().id, "2")

    def test_ten_crashes_in_a_row_with_work_between(self):
        a, b = self.pair()
        sent = 0
        for round_ in range(10):
            a = self.hub.connect(a.agency)
            for i in range(3):
                a.submit(a.event(f"{round_}.{i}", "x.v1", recipients=b.agency.code, subject="s"))
                sent += 1
            last = a.chain.seal([a.event(f"{round_}.last", "x.v1", recipients=b.agency.code, subject="s")])
            a.send_seal(last)
            self.hub.restart()
        b = self.hub.connect(b.agency)
        b.credit(1000)
        got = b.receive(sent)
        self.assertEqual([d.number for d in got], sorted(d.number for d in got))
        mine = [d.id for d in got + b.quiet() if not d.id.endswith("last")]
        self.assertEqual(mine, [f"{r}.{i}" for r in range(10) for i in range(3)])


class Stopped(HubCase):
    def test_a_graceful_stop_ends_sessions_with_bye_and_exit_0(self):
        a, _ = self.pair()
        self.hub.process.terminate()
        with self.assertRaises(SessionLost) as caught:
            a.recv()
        self.assertEqual(caught.exception.reason, Reason.NONE)
        self.assertEqual(self.hub.process.wait(30), 0)
        self.hub._ended()
        self.hub.start()
        self.hub.connect(a.agency).ping()


if __name__ == "__main__":
    unittest.main()
