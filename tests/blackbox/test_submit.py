"""Submitting: receipts that verify, chains, duplicates, and sending again what may or may not have arrived."""

import os
import unittest

from support import HubCase
from trucpy import frames, leaf, seals
from trucpy.client import Refused
from trucpy.events import now_us
from trucpy.reasons import Reason
from trucpy.schema import truc


class Receipts(HubCase):
    def test_a_receipt_verifies_and_names_each_events_sequence(self):
        a, b = self.pair()
        # submit() verified checkpoint, inclusion and digest before it returned.
        r = a.submit(*[a.event(f"r{i}", "x.v1", recipients=b.agency.code) for i in range(5)])
        self.assertCodes(r, *[Reason.NONE] * 5)
        self.assertEqual([o.sequence for o in r.outcomes], list(range(r.leaf.first, r.leaf.first + 5)))
        self.assertLess(abs(r.leaf.accepted_at_us - now_us()), 60000000)

    def test_the_next_seal_follows_without_a_gap(self):
        a, b = self.pair()
        one = a.submit(*[a.event(f"n{i}", "x.v1", recipients=b.agency.code) for i in range(3)])
        two = a.submit(a.event("n3", "x.v1", recipients=b.agency.code))
        self.assertEqual(two.leaf.first, one.leaf.first + 3)
        self.assertEqual(two.leaf_index, one.leaf_index + 1)
        self.assertGreaterEqual(two.leaf.accepted_at_us, one.leaf.accepted_at_us)

    def test_refused_and_accepted_events_stand_side_by_side_in_one_leaf(self):
        a, b = self.pair("ok.*")
        kinds = ("ok.a.v1", "no.a.v1", "ok.b.v1", "ok.c.v1", "no.b.v1")
        r = a.submit(*[a.event(k, k, recipients=b.agency.code) for k in kinds])
        self.assertCodes(r, 0, Reason.NOT_GRANTED, 0, 0, Reason.NOT_GRANTED)

    def test_every_key_algorithm_seals(self):
        for algorithm in ("p256", "ed25519", "rsa"):
            with self.subTest(algorithm):
                agency, b = self.agency(algorithm=algorithm), self.agency()
                self.hub.grant(agency.code, b.code)
                a = self.hub.connect(agency)
                self.assertCodes(a.submit(a.event("1", "x.v1", recipients=b.code)), 0)

    def test_seals_in_flight_are_all_receipted_in_their_order(self):
        a, b = self.pair()
        sent = []
        for i in range(40):
            sent.append(a.chain.seal([a.event(f"f{i}.{j}", "x.v1", recipients=b.agency.code) for j in range(5)]))
            a.send_seal(sent[-1])
        receipts = [a.result(s) for s in sent]
        firsts = [r.leaf.first for r in receipts]
        self.assertEqual(firsts, [firsts[0] + 5 * i for i in range(40)])

    def test_the_same_seal_on_three_connections_at_once_is_one_leaf(self):
        # What a client does that lost its connection and does not know whether the seal arrived.
        a, b = self.pair()
        clients = [a, self.hub.connect(a.agency), self.hub.connect(a.agency)]
        for i in range(5):
            sealed = a.chain.seal([a.event(f"{i}", "x.v1", recipients=b.agency.code)])
            with self.hub.frozen():
                for client in clients:
                    client.send_seal(sealed)
            receipts = [client.result(sealed) for client in clients]
            self.assertEqual({r.leaf_index for r in receipts}, {receipts[0].leaf_index})
            self.assertCodes(receipts[0], Reason.NONE)

    def test_the_largest_seal_travels_in_pieces(self):
        a, b = self.pair()
        r = a.submit(*[a.event(f"big{i}", "x.v1", recipients=b.agency.code, data=os.urandom(1000000)) for i in range(4)])
        self.assertCodes(r, 0, 0, 0, 0)
        many = [a.event(f"m{i}", "x.v1", recipients=b.agency.code) for i in range(1024)]
        self.assertCodes(a.submit(*many), *[0] * 1024)

    def test_keyid_of_the_signature_may_be_empty(self):
        a, b = self.pair()
        s = a.chain.seal([a.event("k", "x.v1", recipients=b.agency.code)])
        payload = s.seal.SerializeToString(deterministic=True)
        a.send_seal(seals.Sealed(s.seal, seals.wrap(payload, a.agency.private), s.digest, s.events))
        self.assertCodes(a.result(s), 0)


class Again(HubCase):
    def test_the_same_seal_again_is_the_same_leaf(self):
        a, b = self.pair()
        s = a.chain.seal([a.event("1", "x.v1", recipients=b.agency.code)])
        a.send_seal(s)
        one = a.result(s)
        a.submit(a.event("2", "x.v1", recipients=b.agency.code))
        a.send_seal(s)
        two = a.result(s)
        self.assertEqual((one.leaf_bytes, one.leaf_index), (two.leaf_bytes, two.leaf_index))
        self.assertGreaterEqual(two.checkpoint.size, one.checkpoint.size)

    def test_the_same_seal_under_another_signature_is_still_the_same(self):
        a, b = self.pair()
        s = a.chain.seal([a.event("1", "x.v1", recipients=b.agency.code)])
        a.send_seal(s)
        one = a.result(s)
        payload = s.seal.SerializeToString(deterministic=True)
        again = seals.Sealed(s.seal, seals.wrap(payload, a.agency.private), s.digest, s.events)
        self.assertNotEqual(again.envelope, s.envelope)
        a.send_seal(again)
        self.assertEqual(a.result(again).leaf_index, one.leaf_index)

    def test_the_same_event_in_another_seal_is_a_duplicate_of_the_first(self):
        a, b = self.pair()
        events = [a.event(f"{i}", "x.v1", recipients=b.agency.code) for i in range(4)]
        one = a.submit(*events)
        two = a.submit(a.event("new", "x.v1", recipients=b.agency.code), *events)
        self.assertCodes(two, 0, *[leaf.DUPLICATE] * 4)
        self.assertEqual([o.repeats for o in two.outcomes[1:]], [o.sequence for o in one.outcomes])

    def test_twice_within_one_seal(self):
        a, b = self.pair()
        event = a.event("same", "x.v1", recipients=b.agency.code)
        r = a.submit(event, event)
        self.assertCodes(r, 0, leaf.DUPLICATE)
        self.assertEqual(r.outcomes[1].repeats, r.leaf.first)

    def test_a_duplicate_is_delivered_once(self):
        a, b = self.pair()
        b.credit(10)
        event = a.event("once", "x.v1", recipients=b.agency.code)
        for _ in range(3):
            a.submit(event)
        self.assertEqual(b.receive_one().id, "once")
        self.assertEqual(b.quiet(), [])

    def test_ids_of_other_senders_and_sources_do_not_collide(self):
        a, b = self.pair()
        c = self.agency()
        self.hub.grant(c.code, b.agency.code)
        c = self.hub.connect(c)
        self.assertCodes(a.submit(a.event("1", "x.v1", recipients=b.agency.code)), 0)
        self.assertCodes(c.submit(c.event("1", "x.v1", recipients=b.agency.code)), 0)
        other = a.event("1", "x.v1", recipients=b.agency.code, source=a.agency.source + ":desk2")
        self.assertCodes(a.submit(other), 0)

    def test_a_refused_event_may_be_sent_again_once_it_is_allowed(self):
        a, b = self.hub.connect(self.agency()), self.agency()
        event = a.event("later", "x.v1", recipients=b.code)
        self.assertCodes(a.submit(event), Reason.NOT_GRANTED)
        self.hub.grant(a.agency.code, b.code)
        self.assertCodes(a.submit(event), 0)


class Chains(HubCase):
    def refused(self, client, sealed):
        client.send_seal(sealed)
        with self.assertRaises(Refused) as caught:
            client.result(sealed)
        return caught.exception

    def test_a_gap_is_refused_and_the_missing_seal_mends_it(self):
        a, b = self.pair()
        seals_ = [a.chain.seal([a.event(f"{i}", "x.v1", recipients=b.agency.code)]) for i in range(3)]
        a.send_seal(seals_[0])
        a.result(seals_[0])
        refused = self.refused(a, seals_[2])
        self.assertEqual(refused.reason, Reason.SEAL_GAP)
        self.assertEqual((refused.message.chain, refused.message.number), (a.chain.id, 3))
        for s in seals_[1:]:
            a.send_seal(s)
            self.assertCodes(a.result(s), 0)

    def test_a_wrong_previous_is_a_gap(self):
        a, b = self.pair()
        a.submit(a.event("1", "x.v1", recipients=b.agency.code))
        s = a.chain.seal([a.event("2", "x.v1", recipients=b.agency.code)], commit=False, previous=os.urandom(32))
        self.assertEqual(self.refused(a, s).reason, Reason.SEAL_GAP)

    def test_a_chain_begins_with_1(self):
        a, _ = self.pair()
        s = a.chain.seal([a.event("1", "x.v1")], commit=False, number=2, previous=os.urandom(32))
        self.assertEqual(self.refused(a, s).reason, Reason.SEAL_GAP)

    def test_a_new_chain_goes_on_from_the_head_that_the_client_holds(self):
        a, b = self.pair()
        a.submit(a.event("1", "x.v1", recipients=b.agency.code))
        a2 = self.hub.connect(a.agency)
        self.assertEqual(a2.chain.head, a.agency.last_head)
        self.assertCodes(a2.submit(a2.event("2", "x.v1", recipients=b.agency.code)), 0)

    def test_two_chains_of_one_agency_run_beside_each_other(self):
        a, b = self.pair()
        a2 = self.hub.connect(a.agency)
        for i in range(3):
            for c in (a, a2):
                e = c.event(f"{c.chain.id.hex()}{i}", "x.v1", recipients=b.agency.code)
                self.assertCodes(c.submit(e), 0)

    def test_after_a_fork_the_chain_is_closed_and_a_new_one_goes_on(self):
        a, b = self.pair()
        a.submit(a.event("1", "x.v1", recipients=b.agency.code))
        twin = a.chain.seal([a.event("2", "x.v1", recipients=b.agency.code)], commit=False)
        good = a.chain.seal([a.event("3", "x.v1", recipients=b.agency.code)])
        a.send_seal(good)
        a.result(good)
        a.send_seal(twin)
        self.assertLost(a)
        b2 = self.hub.connect(a.agency)
        b2.chain = a.chain
        later = b2.chain.seal([b2.event("4", "x.v1", recipients=b.agency.code)])
        b2.send_seal(later)
        with self.assertRaises(Exception) as caught:
            b2.result(later)
        self.assertEqual(caught.exception.reason, Reason.SEAL_FORK)
        b3 = self.hub.connect(a.agency)
        self.assertCodes(b3.submit(b3.event("5", "x.v1", recipients=b.agency.code)), 0)

    def test_a_refused_seal_consumes_no_number(self):
        a, b = self.pair()
        event = a.event("1", "x.v1", recipients=b.agency.code)
        early = a.chain.seal([event], commit=False, sealed_at_us=now_us() + 3600000000)
        self.assertEqual(self.refused(a, early).reason, Reason.CLOCK_SKEW)
        self.assertCodes(a.submit(event), 0)

    def test_a_refusal_is_answered_beside_receipts_of_the_same_session(self):
        a, b = self.pair()
        ok = a.chain.seal([a.event("1", "x.v1", recipients=b.agency.code)])
        gap = a.chain.seal([a.event("3", "x.v1")], commit=False, number=9)
        a.send_seal(ok)
        a.send_seal(gap)
        self.assertCodes(a.result(ok), 0)
        with self.assertRaises(Refused):
            a.result(gap)

    def test_a_submit_without_events_is_malformed(self):
        a, _ = self.pair()
        s = a.chain.seal([a.event("1", "x.v1")])
        a.send(frames.SUBMIT, truc.Submit(envelope=s.envelope), b"")
        self.assertLost(a)


if __name__ == "__main__":
    unittest.main()
