"""Recall: what an accepted one guarantees, whoever was meant and whenever it came; and what is said when it is too late."""

import os
import time

from support import HubCase
from trucpy.reasons import Reason
from trucpy.schema import truc

TOO_LATE = Reason.ILLEGAL_TRANSITION


class Recall(HubCase):
    def recall_event(self, a, target, *recipients, **attributes):
        """A recall of a's event `target`; without recipients from everybody."""
        data = truc.Recall(source=a.agency.source, id=target, recipients=recipients).SerializeToString()
        return a.event(f"recall-{os.urandom(4).hex()}", "truc.recall.v1", data=data, **attributes)

    def recall(self, a, target, *recipients):
        return a.submit(self.recall_event(a, target, *recipients))

    def nothing_but(self, b, a, id_, **to):
        """b is handed `id_`, submitted now, and nothing before it."""
        self.assertCodes(a.submit(a.event(id_, "x.v1", **to)), 0)
        d = b.receive_one()
        self.assertEqual(d.id, id_)
        b.ack(d)

    def group(self, members=2):
        """-> (sender, "@group", members), all connected, with a grant from the sender to the group"""
        name = self.code("g-")
        agencies = [self.agency("M", groups=[name]) for _ in range(members)]
        sender = self.agency("S")
        self.hub.grant(sender.code, f"@{name}")
        return self.hub.connect(sender), f"@{name}", [self.hub.connect(m) for m in agencies]

    def topic(self, subscribers=2):
        type_ = f"topic{os.urandom(4).hex()}.v1"
        sender, agencies = self.agency("S"), [self.agency("T") for _ in range(subscribers)]
        clients = [self.hub.connect(agency) for agency in agencies]
        for client in clients:
            self.hub.grant(sender.code, client.agency.code)
            client.subscribe(type_)
        return self.hub.connect(sender), type_, clients


class WhileItsEventIsOnItsWay(Recall):
    """Credit is there, so that an event goes out as soon as it is applied: only the recall stands in its way."""

    def race(self, a, receivers, event_of, recipients, rounds=40):
        """Event and recall behind each other, in seals of their own, with nothing between. Whatever the answer is, it
        is true for each receiver."""
        recalled = 0
        for b in receivers:
            b.credit(4 * rounds)
        for i in range(rounds):
            event = a.chain.seal([event_of(f"e{i}")])
            recall = a.chain.seal([self.recall_event(a, f"e{i}", *recipients)])
            a.send_seal(event)
            if i % 2:
                a.ping()  # now the event's row is on its way, and the recall comes after it
            a.send_seal(recall)
            self.assertCodes(a.result(event), 0)
            code = a.result(recall).codes[0]
            self.assertIn(code, (0, TOO_LATE))
            recalled += code == 0
            self.assertCodes(a.submit(event_of(f"after-{i}")), 0)
            got = []
            for b in receivers:
                mine = [b.receive_one()]
                if mine[0].id == f"e{i}":
                    mine.append(b.receive_one())
                self.assertEqual(mine[-1].id, f"after-{i}")
                b.ack(*mine)
                got.append(len(mine) == 2)
            if code == 0:
                self.assertFalse(all(got), "accepted, and yet everybody got it")
                if len(receivers) == 1:
                    self.assertFalse(got[0])
            else:
                self.assertTrue(all(got), "refused as too late, and yet somebody did not get it")
        return recalled

    def test_a_named_recipient(self):
        a, b = self.pair()
        self.race(a, [b], lambda id_: a.event(id_, "x.v1", recipients=b.agency.code), [b.agency.code])

    def test_the_members_of_a_group(self):
        a, group, members = self.group()
        self.race(a, members, lambda id_: a.event(id_, "x.v1", recipients=group), [group])

    def test_the_subscribers_of_a_topic(self):
        a, type_, subscribers = self.topic()
        self.race(a, subscribers, lambda id_: a.event(id_, type_), [])

    def test_event_and_recall_in_one_seal(self):
        a, b = self.pair()
        b.credit(10)
        event = a.event("1", "x.v1", recipients=b.agency.code)
        self.assertCodes(a.submit(event, self.recall_event(a, "1", b.agency.code)), 0, 0)
        self.nothing_but(b, a, "2", recipients=b.agency.code)

    def test_a_recall_in_front_of_its_event_is_early(self):
        a, b = self.pair()
        b.credit(10)
        event = a.event("1", "x.v1", recipients=b.agency.code)
        self.assertCodes(a.submit(self.recall_event(a, "1", b.agency.code), event), TOO_LATE, 0)
        self.assertEqual(b.receive_one().id, "1")

    def test_what_it_would_recall_was_refused(self):
        a, b = self.pair()
        b.credit(10)
        event = a.event("1", "x.v1", recipients=[b.agency.code, "NOBODY"])
        self.assertCodes(a.submit(event, self.recall_event(a, "1", b.agency.code)), Reason.NO_RECIPIENT, TOO_LATE)
        self.nothing_but(b, a, "1", recipients=b.agency.code)  # under the same id, mended

    def test_hundreds_of_events_and_their_recalls_without_waiting(self):
        a, b = self.pair()
        b.credit(2000)
        events, recalls = [], []
        for i in range(300):
            events.append(a.chain.seal([a.event(f"{i}", "x.v1", recipients=b.agency.code)]))
            recalls.append(a.chain.seal([self.recall_event(a, f"{i}", b.agency.code)]))
            a.send_seal(events[-1])
            a.send_seal(recalls[-1])
        for event in events:
            self.assertCodes(a.result(event), 0)
        codes = [a.result(r).codes[0] for r in recalls]
        late = [f"{i}" for i, code in enumerate(codes) if code]
        self.assertCodes(a.submit(a.event("last", "x.v1", recipients=b.agency.code)), 0)
        got = []
        while not got or got[-1] != "last":
            got.append(b.receive_one().id)
        self.assertEqual(sorted(got[:-1]), sorted(late))


    def test_a_stream_of_hopeless_recalls_keeps_nothing_from_anybody(self):
        a, b = self.pair()
        self.assertCodes(a.submit(a.event("1", "x.v1", recipients=b.agency.code)), 0)
        streams = [(b.agency.code, "NOBODY"), ("@nobody",)]
        sealed = [a.chain.seal([self.recall_event(a, "1", *streams[i % 2])]) for i in range(200)]
        for i, seal in enumerate(sealed):
            a.send_seal(seal)
            if i == 50:
                b.credit(1)
        self.assertEqual(b.receive_one().id, "1")
        for seal in sealed:
            self.assertCodes(a.result(seal), Reason.NO_RECIPIENT)


class WhoIsMeant(Recall):
    def test_a_group(self):
        a, group, members = self.group()
        self.assertCodes(a.submit(a.event("oops", "x.v1", recipients=group)), 0)
        self.assertCodes(self.recall(a, "oops", group), 0)
        for m in members:
            m.credit(10)
            self.nothing_but(m, a, f"right-{m.agency.code}", recipients=m.agency.code)

    def test_a_member_that_has_it_keeps_it_and_the_others_never_get_it(self):
        a, group, (early, late) = self.group()
        self.assertCodes(a.submit(a.event("oops", "x.v1", recipients=group)), 0)
        early.credit(1)
        d = early.receive_one()
        # One recall for each name tells of each: the group as a whole, then the one who has it.
        r = a.submit(self.recall_event(a, "oops", group), self.recall_event(a, "oops", early.agency.code))
        self.assertCodes(r, 0, TOO_LATE)
        self.assertEqual(early.ack(d), [])
        late.credit(10)
        self.nothing_but(late, a, "right", recipients=late.agency.code)

    def test_everybody_has_it_already(self):
        a, group, members = self.group()
        self.assertCodes(a.submit(a.event("oops", "x.v1", recipients=group)), 0)
        for m in members:
            m.credit(1)
            m.receive_one()
        self.assertCodes(self.recall(a, "oops", group), TOO_LATE)
        self.assertCodes(self.recall(a, "oops"), TOO_LATE)

    def test_subscribers_are_not_known_to_the_sender_and_reached_without_names(self):
        a, type_, (early, late) = self.topic()
        self.assertCodes(a.submit(a.event("oops", type_)), 0)
        early.credit(1)
        d = early.receive_one()
        self.assertCodes(self.recall(a, "oops"), 0)
        self.assertEqual(early.ack(d), [])
        late.credit(10)
        self.nothing_but(late, a, "right", recipients=late.agency.code)

    def test_others_than_those_it_means_get_it(self):
        a, b = self.pair()
        c = self.hub.connect(self.agency())
        self.hub.grant(a.agency.code, c.agency.code)
        self.assertCodes(a.submit(a.event("1", "x.v1", recipients=[b.agency.code, c.agency.code])), 0)
        self.assertCodes(self.recall(a, "1", b.agency.code), 0)
        c.credit(1)
        self.assertEqual(c.receive_one().id, "1")
        b.credit(10)
        self.nothing_but(b, a, "2", recipients=b.agency.code)

    def test_an_unknown_name_refuses_it_as_a_whole(self):
        a, group, members = self.group()
        self.assertCodes(a.submit(a.event("1", "x.v1", recipients=group)), 0)
        for wrong in ("NOBODY", "@nobody"):
            self.assertCodes(self.recall(a, "1", group, wrong), Reason.NO_RECIPIENT)
        for m in members:
            m.credit(1)
            self.assertEqual(m.receive_one().id, "1")

    def test_names_that_are_none(self):
        a, _ = self.pair()
        for wrong in ("", "@", "lower", "A,B", "@a b", "A" * 36):
            self.assertCodes(self.recall(a, "1", wrong), Reason.INVALID_PAYLOAD)

    def test_a_name_counts_once_and_stands_once(self):
        a, group, (b, _) = self.group()
        self.assertCodes(a.submit(a.event("1", "x.v1", recipients=group)), 0)
        for twice in ((group, group), (b.agency.code, group, b.agency.code), (group,) * 64):
            self.assertCodes(self.recall(a, "1", *twice), Reason.INVALID_PAYLOAD)
        self.assertCodes(self.recall(a, "1", group, b.agency.code), 0)  # b is meant twice, and named once

    def test_it_outlives_a_restart(self):
        a, group, members = self.group()
        self.assertCodes(a.submit(a.event("oops", "x.v1", recipients=group)), 0)
        self.assertCodes(self.recall(a, "oops", group), 0)
        self.hub.restart()
        a = self.hub.connect(a.agency)
        for m in members:
            m = self.hub.connect(m.agency)
            m.credit(10)
            self.nothing_but(m, a, f"right-{m.agency.code}", recipients=m.agency.code)


class WhatOneSealMayAskFor(Recall):
    """PROTOCOL, section 9: the agencies that the recalls of a seal go through are counted, so that nobody waits long
    for them."""

    MOST = 262_144

    def test_recalls_beyond_the_bound_are_told_to_be_split(self):
        members, name, sender = 300, self.code("g-"), self.agency("S")
        for _ in range(members):
            self.agency("M", groups=[name])
        self.hub.grant(sender.code, f"@{name}")
        a, group = self.hub.connect(sender), f"@{name}"
        b = self.hub.connect(self.agency())
        self.hub.grant(a.agency.code, b.agency.code)
        within = -(-self.MOST // members)
        both = [a.event("1", "x.v1", recipients=group), a.event("2", "x.v1", recipients=b.agency.code)]
        self.assertCodes(a.submit(*both), 0, 0)
        recalls = [self.recall_event(a, "1", group) for _ in range(within + 1)] + [self.recall_event(a, "2")]
        r = a.submit(*recalls)
        self.assertEqual(list(r.codes), [0] + [TOO_LATE] * (within - 1) + [Reason.TOO_LARGE] * 2)
        b.credit(1)
        self.assertEqual(b.receive_one().id, "2", "held by a recall that was told to come again")
        r = a.submit(*recalls[within:])
        self.assertCodes(r, TOO_LATE, TOO_LATE)  # under the same ids, in a seal of their own


class WithAnEndOfItsOwn(Recall):
    def test_one_that_ends_soon_counts_until_then(self):
        a, b = self.pair()
        b.credit(10)
        for i, seconds in enumerate((1000, 59, 30, 10)):
            with self.subTest(seconds=seconds):
                c = self.hub.connect(self.agency())
                self.hub.grant(a.agency.code, c.agency.code)
                self.assertCodes(a.submit(a.event(f"{i}", "x.v1", recipients=c.agency.code)), 0)
                soon = self.recall_event(a, f"{i}", expires_us=int((time.time() + seconds) * 1e6))
                self.assertCodes(a.submit(soon), 0)
                c.credit(10)
                self.nothing_but(c, a, f"right-{i}", recipients=c.agency.code)

    def test_one_that_is_over_takes_nothing(self):
        a, b = self.pair()
        self.assertCodes(a.submit(a.event("1", "x.v1", recipients=b.agency.code)), 0)
        over = self.recall_event(a, "1", expires_us=int((time.time() - 1) * 1e6))
        self.assertCodes(a.submit(over), Reason.EXPIRED)
        b.credit(1)
        self.assertEqual(b.receive_one().id, "1")


class NoOtherDoor(Recall):
    """The evidence of an event holds the event."""

    def test_what_was_recalled_is_not_shown_as_evidence_either(self):
        a, b = self.pair()
        r = a.submit(a.event("oops", "x.v1", recipients=b.agency.code))
        sequence = r.outcomes[0].sequence
        self.assertEqual(b.get_proof(sequence).reason, Reason.NOT_GRANTED, "it was not handed it yet")
        self.assertCodes(self.recall(a, "oops", b.agency.code), 0)
        self.assertEqual(b.get_proof(sequence).reason, Reason.NOT_GRANTED)
        self.assertEqual(a.get_proof(sequence).reason, 0)
        self.hub.restart()
        b = self.hub.connect(b.agency)
        self.assertEqual(b.get_proof(sequence).reason, Reason.NOT_GRANTED)

    def test_a_restart_opens_none(self):
        """What came before it may have been seen, as far as the hub knows: it still may be recalled."""
        a, b = self.pair()
        sequence = a.submit(a.event("oops", "x.v1", recipients=b.agency.code)).outcomes[0].sequence
        self.hub.restart()
        a, b = self.hub.connect(a.agency), self.hub.connect(b.agency)
        self.assertEqual(b.get_proof(sequence).reason, Reason.NOT_GRANTED, "nobody was handed it")
        self.assertCodes(self.recall(a, "oops", b.agency.code), 0)
        self.assertEqual(b.get_proof(sequence).reason, Reason.NOT_GRANTED)
        b.credit(10)
        self.nothing_but(b, a, "right", recipients=b.agency.code)

    def test_what_was_in_hand_at_a_restart_is_shown_when_it_is_handed_again(self):
        a, b = self.pair()
        sequence = a.submit(a.event("1", "x.v1", recipients=b.agency.code)).outcomes[0].sequence
        b.credit(1)
        b.receive_one()
        self.hub.restart()
        b = self.hub.connect(b.agency)
        self.assertEqual(b.get_proof(sequence).reason, Reason.NOT_GRANTED, "who had it is not known: it may be recalled")
        b.credit(1)
        d = b.receive_one()
        self.assertEqual(b.get_proof(sequence).event, d.data)

    def test_what_was_handed_is(self):
        a, b = self.pair()
        self.assertCodes(a.submit(a.event("1", "x.v1", recipients=b.agency.code)), 0)
        b.credit(1)
        d = b.receive_one()
        self.assertEqual(b.get_proof(d.sequence).event, d.data)
        b.ack(d)
        self.assertEqual(b.get_proof(d.sequence).event, d.data)

    def test_a_subscription_without_a_grant_opens_nothing(self):
        a, type_, (b, _) = self.topic()
        stranger = self.hub.connect(self.agency())
        stranger.subscribe("*")
        self.assertCodes(a.submit(a.event("1", type_)), 0)
        b.credit(1)
        d = b.receive_one()
        self.assertEqual(b.get_proof(d.sequence).event, d.data)
        self.assertEqual(stranger.get_proof(d.sequence).reason, Reason.NOT_GRANTED)

    def test_a_subscription_to_one_source_opens_no_other(self):
        a, type_, (b, _) = self.topic()
        picky = self.hub.connect(self.agency())
        self.hub.grant(a.agency.code, picky.agency.code)
        picky.subscribe(type_, source_agency=b.agency.code)
        self.assertCodes(a.submit(a.event("1", type_)), 0)
        b.credit(1)
        d = b.receive_one()
        self.assertEqual(picky.get_proof(d.sequence).reason, Reason.NOT_GRANTED)
        picky.subscribe(type_, source_agency=a.agency.code)
        self.assertEqual(picky.get_proof(d.sequence).event, d.data)
