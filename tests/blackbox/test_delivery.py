"""Receiving: credit, order, leases, dead letters, competing consumers, recall, replay, delivery receipts."""

import hashlib
import os
import time
import unittest

from support import HubCase, configured
from trucpy import events as ev
from trucpy.reasons import Reason
from trucpy.schema import truc


class Delivery(HubCase):
    def send(self, a, b, *ids, type_="x.v1", **kw):
        return a.submit(*[a.event(i, type_, recipients=b.agency.code, **kw) for i in ids])

    def dead(self, b, count=1):
        """Waits until the recipient has `count` dead letters -> rows"""
        rows = lambda: [r for r in [b.query("deadletters")] if len(r) >= count]  # noqa: E731
        return self.eventually(rows, what=f"{count} dead letters")[0]

    def requeue(self, b, number, verb=truc.DeadLetterAct.REQUEUE, **kw):
        return self.hub.govern(dead_letter=truc.DeadLetterAct(agency=b.agency.code, number=number, verb=verb), **kw)


class Basics(Delivery):
    def test_a_delivery_verifies_and_is_what_was_sent(self):
        a, b = self.pair()
        data = os.urandom(3000)
        event = a.event("1", "x.v1", recipients=b.agency.code, data=data, subject="s", more={"traceparent": "00-ab"})
        r = a.submit(event)
        b.credit(10)
        # receive() verified the sender's signature, the path to the seal's root and the source.
        d = b.receive_one()
        self.assertEqual(d.data, event)
        self.assertEqual((d.event.binary_data, d.subject, d.seal.sender), (data, "s", a.agency.code))
        self.assertEqual((d.number, d.previous_sequence, d.attempt), (1, 0, 1))
        self.assertEqual((d.sequence, d.leaf_index), (r.outcomes[0].sequence, r.leaf_index))
        self.assertEqual(d.accepted_at_us, r.leaf.accepted_at_us)
        self.assertFalse(d.replay or d.receipt_wanted)
        self.assertEqual(b.ack(d), [])

    def test_events_of_one_seal_share_their_envelope_and_each_proves_itself(self):
        a, b = self.pair()
        other = self.agency()
        self.hub.grant(a.agency.code, other.code)
        ids = [f"{i}" for i in range(13)]
        to = [b.agency.code if i % 3 else other.code for i in range(13)]
        a.submit(*[a.event(i, "x.v1", recipients=t) for i, t in zip(ids, to)])
        b.credit(100)
        got = b.receive(8)
        self.assertEqual(sorted(d.index for d in got), [i for i in range(13) if i % 3])

    def test_numbers_and_previous_sequences_leave_nothing_out(self):
        a, b = self.pair()
        for i in range(12):
            self.send(a, b, f"{i}")
            self.hub.admin_client().ping()
        b.credit(100)
        got = sorted(b.receive(12), key=lambda d: d.number)
        self.assertEqual([d.number for d in got], list(range(1, 13)))
        self.assertEqual([d.previous_sequence for d in got[1:]], [d.sequence for d in got[:-1]])

    def test_a_large_event_comes_in_pieces(self):
        a, b = self.pair()
        data = os.urandom(1000000)
        self.send(a, b, "1", data=data)
        b.credit(1)
        self.assertEqual(b.receive_one().event.binary_data, data)

    def test_no_credit_no_delivery(self):
        a, b = self.pair()
        self.send(a, b, "1", "2")
        self.assertEqual(b.quiet(), [])
        b.credit(1)
        self.assertEqual(b.receive_one().id, "1")
        self.assertEqual(b.quiet(), [])
        b.credit(1)
        self.assertEqual(b.receive_one().id, "2")

    def test_credit_counts_bytes_too(self):
        a, b = self.pair()
        self.send(a, b, "1", data=bytes(5000))
        b.credit(10, 4000)
        self.assertEqual(b.quiet(), [])
        b.credit(0, 4000)
        self.assertEqual(b.receive_one().id, "1")

    def test_a_slow_reader_holds_up_nobody_else(self):
        a, slow = self.pair()
        fast = self.agency()
        self.hub.grant(a.agency.code, fast.code)
        fast = self.hub.connect(fast)
        fast.credit(1000)
        for i in range(20):
            a.submit(a.event(f"{i}", "x.v1", recipients=[slow.agency.code, fast.agency.code], data=bytes(20000)))
        self.assertEqual(len(fast.receive(20)), 20)
        self.assertEqual(slow.quiet(), [])

    def test_floor_follows_the_acks(self):
        a, b = self.pair()
        self.send(a, b, "1", "2", "3")
        b.credit(3)
        one, two, three = b.receive(3)
        b.ack(one, two)
        self.send(a, b, "4")
        b.credit(1)
        self.assertEqual(b.receive_one().floor, 2)
        self.assertEqual(b.query("inbox")[0]["floor"], 2)
        b.ack(three)
        self.assertEqual(b.query("inbox")[0]["floor"], 3)

    def test_what_is_acked_never_comes_again(self):
        a, b = self.pair()
        self.send(a, b, *[f"{i}" for i in range(5)])
        b.credit(10)
        b.ack(*b.receive(5))
        again = self.hub.connect(b.agency)
        again.credit(10)
        self.assertEqual(again.quiet(), [])

    def test_what_is_not_acked_comes_again_to_the_next_session(self):
        a, b = self.pair()
        self.send(a, b, "1", "2")
        b.credit(10)
        first = b.receive(2)
        b.ack(first[0])
        b.close()
        again = self.hub.connect(b.agency)
        again.credit(10)
        d = again.receive_one()
        self.assertEqual((d.id, d.number, d.attempt), ("2", first[1].number, 2))
        self.assertNotEqual(d.lease, first[1].lease)


class Order(Delivery):
    def test_events_of_one_subject_come_in_order(self):
        a, b = self.pair()
        b.credit(1000)
        for i in range(10):
            self.send(a, b, *[f"{i}.{j}" for j in range(5)], subject="dossier")
        seen = []
        while len(seen) < 50:
            d = b.receive_one()
            seen.append(d.id)
            b.ack(d, wait=False)
        self.assertEqual(seen, [f"{i}.{j}" for i in range(10) for j in range(5)])

    def test_a_nacked_event_comes_again_before_the_later_ones_of_its_subject(self):
        a, b = self.pair()
        self.send(a, b, "1", "2", "3", subject="s")
        b.credit(100)
        first = b.receive_one()
        b.nack(first, delay_ms=1)
        seen, attempts = [], {}
        while len(seen) < 3:
            d = b.receive_one()
            attempts.setdefault(d.id, []).append(d.attempt)
            # Deliveries of before the nack may still be under way; their leases are over.
            if not b.ack(d):
                seen.append(d.id)
        self.assertEqual(seen, ["1", "2", "3"])
        self.assertEqual(attempts["1"][-1], 2)

    def test_another_subject_and_unordered_events_do_not_wait(self):
        a, b = self.pair()
        self.send(a, b, "s1", subject="s")
        b.credit(100)
        b.nack(b.receive_one(), delay_ms=600000)
        self.send(a, b, "s2", subject="s")
        self.send(a, b, "t1", subject="t")
        self.send(a, b, "u1")
        self.assertEqual({d.id for d in b.receive(2)}, {"t1", "u1"})
        self.assertEqual(b.quiet(), [])

    def test_nack_with_delay_waits_that_long(self):
        a, b = self.pair()
        self.send(a, b, "1")
        b.credit(10)
        d = b.receive_one()
        start = time.monotonic()
        b.nack(d, delay_ms=700, note_text="busy")
        again = b.receive_one()
        self.assertGreaterEqual(time.monotonic() - start, 0.69)
        self.assertEqual((again.id, again.attempt), ("1", 2))

    def test_nack_without_delay_backs_off_and_comes_again(self):
        a, b = self.pair()
        self.send(a, b, "1")
        b.credit(10)
        b.nack(b.receive_one())
        self.assertEqual(b.receive_one(60).attempt, 2)


class Leases(Delivery):
    def test_an_ack_under_a_wrong_lease_is_stale(self):
        a, b = self.pair()
        self.send(a, b, "1")
        b.credit(1)
        d = b.receive_one()
        self.assertEqual(b.ack_pairs([(d.lease + 1000, d.number)]), [(d.lease + 1000, d.number)])
        self.assertEqual(b.ack(d), [])

    def test_an_ack_of_a_nacked_delivery_is_stale_and_the_event_comes(self):
        a, b = self.pair()
        self.send(a, b, "1")
        b.credit(2)
        d = b.receive_one()
        b.nack(d, delay_ms=1)
        self.assertEqual(b.ack(d), [(d.lease, d.number)])
        self.assertEqual(b.ack(b.receive_one()), [])

    def test_an_ack_of_another_session_is_stale(self):
        a, b = self.pair()
        self.send(a, b, "1")
        b.credit(1)
        d = b.receive_one()
        twin = self.hub.connect(b.agency)
        self.assertEqual(twin.ack(d), [(d.lease, d.number)])
        self.assertEqual(b.ack(d), [])

    def test_an_ack_of_a_lost_session_is_stale(self):
        a, b = self.pair()
        self.send(a, b, "1")
        b.credit(1)
        d = b.receive_one()
        b.close()
        b2 = self.hub.connect(b.agency)
        b2.credit(1)
        again = b2.receive_one()
        self.assertEqual(b2.ack(d), [(d.lease, d.number)])
        self.assertEqual(b2.ack(again), [])

    def test_a_foreign_agency_cannot_ack(self):
        a, b = self.pair()
        self.send(a, b, "1")
        b.credit(1)
        d = b.receive_one()
        stranger = self.hub.connect(self.agency())
        self.assertEqual(stranger.ack(d), [(d.lease, d.number)])
        self.assertEqual(b.ack(d), [])

    def test_the_same_ack_twice_settles_once(self):
        a, b = self.pair()
        self.send(a, b, "1")
        b.credit(1)
        d = b.receive_one()
        b.ack(d)
        b.ack(d)
        self.assertEqual(b.query("inbox")[0]["floor"], 1)


class Consumers(Delivery):
    def test_two_connections_share_the_inbox_and_a_subject_stays_on_one(self):
        a, b = self.pair()
        b2 = self.hub.connect(b.agency)
        for c in (b, b2):
            c.credit(15)
        for i in range(30):
            self.send(a, b, f"{i}", subject=f"s{i % 10}")
        got = {b: [], b2: []}
        for c in got:
            got[c] = c.quiet(5)
        ids = [d.id for c in got for d in got[c]]
        self.assertEqual(len(ids), len(set(ids)), "an event went to two consumers")
        self.assertFalse({d.subject for d in got[b]} & {d.subject for d in got[b2]}, "a subject on two connections")
        self.assertTrue(got[b] and got[b2], "one consumer got everything")

    def test_when_one_leaves_the_other_gets_its_share(self):
        a, b = self.pair()
        b.credit(10)
        self.send(a, b, "1", "2", "3", subject="s")
        self.assertEqual([d.id for d in b.receive(3)], ["1", "2", "3"])
        b2 = self.hub.connect(b.agency)
        b2.credit(10)
        self.assertEqual(b2.quiet(), [])
        b.close()
        got = b2.receive(3)
        self.assertEqual([(d.id, d.attempt) for d in got], [("1", 2), ("2", 2), ("3", 2)])


class DeadLetters(Delivery):
    def test_a_rejected_event_is_dead_with_its_note_and_lives_again_after_requeue(self):
        a, b = self.pair()
        self.send(a, b, "1")
        b.credit(10)
        d = b.receive_one()
        b.nack(d, reject=True, note_text="schema unknown to us")
        (row,) = self.dead(b)
        self.assertEqual((row["agency"], row["number"], row["sequence"]), (b.agency.code, d.number, d.sequence))
        self.assertEqual((row["attempts"], row["note"]), (1, "schema unknown to us"))
        self.assertEqual(b.quiet(), [])
        self.requeue(b, d.number)
        again = b.receive_one()
        self.assertEqual((again.id, again.number), ("1", d.number))
        self.assertGreater(again.attempt, 1)
        b.ack(again)
        self.assertEqual(b.query("deadletters"), [])

    def test_a_dropped_dead_letter_is_settled(self):
        a, b = self.pair()
        self.send(a, b, "1")
        b.credit(10)
        d = b.receive_one()
        b.nack(d, reject=True)
        self.dead(b)
        self.requeue(b, d.number, truc.DeadLetterAct.DROP)
        self.assertEqual(b.query("deadletters"), [])
        self.assertEqual(b.query("inbox")[0]["floor"], 1)
        self.requeue(b, d.number, expect=Reason.ILLEGAL_TRANSITION)

    def test_it_holds_back_its_own_subject_only(self):
        a, b = self.pair()
        self.send(a, b, "s1", subject="s")
        b.credit(100)
        d = b.receive_one()
        b.nack(d, reject=True)
        self.dead(b)
        self.send(a, b, "s2", subject="s")
        self.send(a, b, "t1", subject="t")
        self.assertEqual(b.receive_one().id, "t1")
        self.assertEqual(b.quiet(), [])
        self.requeue(b, d.number)
        self.assertEqual([x.id for x in b.receive(2)], ["s1", "s2"])

    def test_by_grant_it_holds_back_nothing(self):
        a, b = self.pair(skip_dead_letters=True)
        self.send(a, b, "s1", subject="s")
        b.credit(100)
        b.nack(b.receive_one(), reject=True)
        self.dead(b)
        self.send(a, b, "s2", subject="s")
        self.assertEqual(b.receive_one().id, "s2")

    def test_it_holds_back_no_longer_than_the_grant_says(self):
        a, b = self.pair(hold_s=1)
        self.send(a, b, "s1", "s2", subject="s")
        b.credit(1)
        b.nack(b.receive_one(), reject=True)
        self.dead(b)
        b.credit(5)
        self.assertEqual(b.receive_one().id, "s2")

    def test_attempts_used_up(self):
        a, b = self.pair(max_attempts=3)
        self.send(a, b, "1")
        b.credit(10)
        for attempt in (1, 2, 3):
            d = b.receive_one()
            self.assertEqual(d.attempt, attempt)
            b.nack(d, delay_ms=1)
        (row,) = self.dead(b)
        self.assertEqual(row["attempts"], 3)
        self.assertEqual(b.quiet(), [])

    def test_what_expires_in_the_inbox_is_a_dead_letter(self):
        a, b = self.pair()
        r = self.send(a, b, "1", expires_us=ev.now_us() + 1500000)
        self.assertCodes(r, 0)
        (row,) = self.dead(b)
        self.assertIn(str(row["reason"]), ("EXPIRED", str(int(Reason.EXPIRED))))
        b.credit(10)
        self.assertEqual(b.quiet(), [])


class RecallAndReplay(Delivery):
    def recall(self, a, target, *recipients):
        data = truc.Recall(source=a.agency.source, id=target, recipients=recipients).SerializeToString()
        return a.submit(a.event(f"recall-{os.urandom(4).hex()}", "truc.recall.v1", data=data))

    def test_an_undelivered_event_is_recalled(self):
        a, b = self.pair()
        self.send(a, b, "oops", "right")
        self.assertCodes(self.recall(a, "oops", b.agency.code), 0)
        b.credit(10)
        self.assertEqual(b.receive_one().id, "right")
        self.assertEqual(b.quiet(), [])

    def test_a_delivered_event_is_not(self):
        a, b = self.pair()
        self.send(a, b, "1")
        b.credit(1)
        d = b.receive_one()
        self.assertCodes(self.recall(a, "1", b.agency.code), Reason.ILLEGAL_TRANSITION)
        b.ack(d)
        self.assertCodes(self.recall(a, "1", b.agency.code), Reason.ILLEGAL_TRANSITION)

    def test_credit_right_behind_a_recall_gets_nothing_that_was_recalled(self):
        a, b = self.pair()
        recalled = 0
        for i in range(50):
            self.send(a, b, f"{i}")
            data = truc.Recall(source=a.agency.source, id=f"{i}", recipients=[b.agency.code]).SerializeToString()
            sealed = a.chain.seal([a.event(f"recall-{i}", "truc.recall.v1", data=data)])
            a.send_seal(sealed)
            for _ in range(i % 10):  # the credit comes at any moment: before, while and after the recall is journaled
                b.ping()
            b.credit(1)
            code = a.result(sealed).codes[0]
            self.assertIn(code, (0, Reason.ILLEGAL_TRANSITION))
            recalled += code == 0
            if code:
                d = b.receive_one()
                self.assertEqual(d.id, f"{i}")
                b.ack(d)
            else:
                self.assertEqual(b.quiet(1), [])
                self.send(a, b, f"after-{i}")  # uses up the credit: each try begins with none
                d = b.receive_one()
                self.assertEqual(d.id, f"after-{i}")
                b.ack(d)
        self.assertGreater(recalled, 0)

    def test_one_of_two_recipients_is_enough(self):
        a, b = self.pair()
        c = self.agency()
        self.hub.grant(a.agency.code, c.code)
        a.submit(a.event("1", "x.v1", recipients=[b.agency.code, c.code]))
        b.credit(1)
        b.receive_one()
        self.assertCodes(self.recall(a, "1", b.agency.code, c.code), 0)
        c = self.hub.connect(c)
        c.credit(1)
        self.assertEqual(c.quiet(), [])

    def test_nobody_recalls_what_is_not_his_or_not_there(self):
        a, b = self.pair()
        self.send(a, b, "1")
        other = self.hub.connect(self.agency())
        data = truc.Recall(source=a.agency.source, id="1", recipients=[b.agency.code]).SerializeToString()
        r = other.submit(other.event("r", "truc.recall.v1", data=data))
        self.assertTrue(set(r.codes) <= {Reason.NOT_GRANTED, Reason.ILLEGAL_TRANSITION}, r.codes)
        self.assertCodes(self.recall(a, "never-sent", b.agency.code), Reason.ILLEGAL_TRANSITION)
        b.credit(1)
        self.assertEqual(b.receive_one().id, "1")

    def test_recall_data_that_does_not_parse(self):
        a, _ = self.pair()
        self.assertCodes(a.submit(a.event("r", "truc.recall.v1", data=b"\xff\xff")), Reason.INVALID_PAYLOAD)

    def order(self, to, *items, **kw):
        act = truc.OrderReplay(to=to, filter="sequence in the test")
        for d, size in items:
            subject = int.from_bytes(hashlib.sha256(d.subject.encode()).digest()[:8], "big") if d.subject else 0
            act.items.add(
                sequence=d.sequence,
                leaf_index=d.leaf_index,
                index=d.index,
                size=size,
                subject=subject,
                sender=d.seal.sender,
                type=d.event.type,
            )
        return self.hub.govern(order_replay=act, **kw)

    def test_a_replay_is_marked_and_carries_the_old_proof(self):
        a, b = self.pair()
        self.send(a, b, "1", "2", subject="s")
        b.credit(10)
        old = b.receive(2)
        b.ack(*old)
        self.order(b.agency.code, *[(d, len(d.data)) for d in old])
        again = b.receive(2)
        self.assertEqual([(d.data, d.sequence, d.replay) for d in again], [(d.data, d.sequence, True) for d in old])
        self.assertEqual([d.number for d in again], [3, 4])
        self.assertEqual(b.ack(*again), [])

    def replay_item(self, a, d, **lies):
        item = dict(sequence=d.sequence, leaf_index=d.leaf_index, index=d.index, size=len(d.data))
        item.update(sender=a.agency.code, type=d.event.type)
        item.update(lies)
        return truc.ReplayItem(**item)

    def test_a_replay_of_what_is_not_there_is_refused(self):
        a, b = self.pair()
        self.send(a, b, "1")
        b.credit(1)
        d = b.receive_one()
        stranger = self.agency()
        lies = {
            "unknown agency": ("NOBODY", {}),
            "beyond the log": (b.agency.code, dict(sequence=1 << 40, leaf_index=1 << 40)),
            "another leaf": (b.agency.code, dict(leaf_index=d.leaf_index - 1)),
            "an index beyond its seal": (b.agency.code, dict(index=5)),
            "another sequence": (b.agency.code, dict(sequence=d.sequence - 1)),
            "not its sender": (b.agency.code, dict(sender=b.agency.code)),
            "to one whom no grant allows it": (stranger.code, {}),
        }
        admin = self.hub.connect(self.hub.admin_agency)
        for name, (to, lie) in lies.items():
            with self.subTest(name):
                act = truc.OrderReplay(to=to, filter="x", items=[self.replay_item(a, d, **lie)])
                data = truc.Governance(reason="x", order_replay=act).SerializeToString()
                r = admin.submit(admin.event(os.urandom(8).hex(), "truc.governance.v1", data=data))
                self.assertIn(r.codes[0], (Reason.ILLEGAL_TRANSITION, Reason.NOT_GRANTED, Reason.INVALID_PAYLOAD))
        empty = truc.OrderReplay(to=b.agency.code, filter="x")
        self.hub.govern(order_replay=empty, expect=Reason.INVALID_PAYLOAD)
        b.credit(10)
        self.assertEqual(b.quiet(), [])

    def test_a_replay_order_with_false_facts_never_delivers_falsehood_or_stops_the_inbox(self):
        for lie in (dict(type="other.v1"), dict(size=5), dict(size=1 << 20), dict(size=0), dict(subject=77)):
            with self.subTest(lie):
                a, b = self.pair()
                self.send(a, b, "1")
                b.credit(1)
                d = b.receive_one()
                b.ack(d)
                act = truc.OrderReplay(to=b.agency.code, filter="x", items=[self.replay_item(a, d, **lie)])
                data = truc.Governance(reason="x", order_replay=act).SerializeToString()
                admin = self.hub.connect(self.hub.admin_agency)
                r = admin.submit(admin.event(os.urandom(8).hex(), "truc.governance.v1", data=data))
                self.send(a, b, "2")
                b.credit(2)
                # The truth, or to the dead letters with its reason; what comes after it is not held up either way.
                got = {x.id: x.data for x in b.receive(1)}
                if "2" not in got:
                    got["2"] = b.receive_one().data
                if r.codes == [0] and "1" not in got:
                    got.update({x.id: x.data for x in b.quiet()})
                    dead = [row["number"] for row in b.query("deadletters")]
                    self.assertTrue(got.get("1") == d.data or dead == [2], f"neither delivered nor dead: {dead}")
                self.assertTrue(self.hub.alive)


class DeliveryReceipts(Delivery):
    def answer(self, b, a_code, d, outcome=truc.DeliveryReceipts.PROCESSED):
        data = truc.DeliveryReceipts()
        data.items.add(sequence=d.sequence, leaf_hash=ev.event_hash(d.data), outcome=outcome, at_us=ev.now_us())
        event = b.event(
            os.urandom(4).hex(), "truc.delivery-receipt.v1", recipients=a_code, data=data.SerializeToString()
        )
        return b.submit(event)

    def test_where_the_grant_asks_the_sender_gets_a_signed_receipt(self):
        a, b = self.pair(delivery_receipts=True)
        self.send(a, b, "1")
        b.credit(1)
        d = b.receive_one()
        self.assertTrue(d.receipt_wanted)
        self.assertCodes(self.answer(b, a.agency.code, d), 0)
        a.credit(1)
        got = a.receive_one()
        self.assertEqual((got.seal.sender, got.event.type), (b.agency.code, "truc.delivery-receipt.v1"))
        item = truc.DeliveryReceipts.FromString(got.event.binary_data).items[0]
        self.assertEqual((item.sequence, item.outcome), (d.sequence, truc.DeliveryReceipts.PROCESSED))
        self.assertFalse(got.receipt_wanted)

    def test_data_that_does_not_parse(self):
        a, b = self.pair(delivery_receipts=True)
        event = b.event("1", "truc.delivery-receipt.v1", recipients=a.agency.code, data=b"\xff\xff")
        self.assertCodes(b.submit(event), Reason.INVALID_PAYLOAD)


class ShortLeases(Delivery):
    hub_options = {"config": configured(delivery={"lease": "1 s"})}

    def test_a_lease_that_runs_out_brings_the_event_again(self):
        a, b = self.pair()
        self.assertEqual(b.welcome.limits.lease_ms, 1000)
        self.send(a, b, "1")
        b.credit(10)
        d = b.receive_one()
        again = b.receive_one()
        self.assertEqual((again.id, again.number, again.attempt), ("1", d.number, 2))
        self.assertEqual(b.ack(d), [(d.lease, d.number)])
        self.assertEqual(b.ack(again), [])


if __name__ == "__main__":
    unittest.main()
