"""Nothing is delivered that no grant allows: default deny, groups, wildcards, validity, topics."""

import os
import unittest

from support import HubCase
from trucpy import events as ev
from trucpy.reasons import Reason
from trucpy.schema import truc


class Grants(HubCase):
    def to(self, a, recipients, type_="x.v1", event_id=None, **kw):
        event_id = event_id or os.urandom(8).hex()
        return a.submit(a.event(event_id, type_, recipients=recipients, **kw))

    def test_default_deny(self):
        a, b = self.hub.connect(self.agency()), self.hub.connect(self.agency())
        b.credit(10)
        self.assertCodes(self.to(a, b.agency.code), Reason.NOT_GRANTED)
        self.assertEqual(b.quiet(), [])

    def test_a_grant_has_one_direction(self):
        a, b = self.pair()
        self.assertCodes(self.to(a, b.agency.code), 0)
        self.assertCodes(self.to(b, a.agency.code), Reason.NOT_GRANTED)

    def test_type_patterns(self):
        for pattern, yes, no in (
            ("land.parcel.v1", ["land.parcel.v1"], ["land.parcel.v2", "land.parcel.v1.x", "land.parcel.v"]),
            ("land.*", ["land.a.v1", "land.b.c.v2"], ["lan.a.v1", "landing.v1", "x.land.a.v1"]),
            ("land*", ["land.a.v1", "landing.v1"], ["lan.v1"]),
            ("*", ["a.v1", "z.y.v9"], []),
        ):
            with self.subTest(pattern):
                a, b = self.pair(pattern)
                for t in yes:
                    self.assertCodes(self.to(a, b.agency.code, t), 0)
                for t in no:
                    self.assertCodes(self.to(a, b.agency.code, t), Reason.NOT_GRANTED)

    def test_grants_from_and_to_groups(self):
        senders, receivers = f"s{self.code('')}", f"r{self.code('')}"
        a = self.hub.connect(self.agency(groups=[senders]))
        b, c = self.agency(groups=[receivers]), self.agency(groups=[receivers, "other"])
        outsider = self.hub.connect(self.agency())
        self.hub.grant(f"@{senders}", f"@{receivers}", "x.*")
        self.assertCodes(self.to(a, b.code), 0)
        self.assertCodes(self.to(a, c.code), 0)
        self.assertCodes(self.to(outsider, b.code), Reason.NOT_GRANTED)
        self.assertCodes(self.to(a, outsider.agency.code), Reason.NOT_GRANTED)

    def test_a_group_of_recipients_gets_one_each(self):
        group = f"g{self.code('')}"
        a = self.hub.connect(self.agency())
        members = [self.hub.connect(self.agency(groups=[group])) for _ in range(3)]
        self.hub.grant(a.agency.code, f"@{group}")
        # One member is named twice over: by group and by code.
        self.assertCodes(self.to(a, f"@{group},{members[0].agency.code}", event_id="to-all"), 0)
        for m in members:
            m.credit(10)
            self.assertEqual(m.receive_one().id, "to-all")
            self.assertEqual(m.quiet(1), [])

    def test_several_recipients_need_a_grant_each(self):
        a, b = self.pair()
        c = self.agency()
        self.assertCodes(self.to(a, [b.agency.code, c.code]), Reason.NOT_GRANTED)
        b.credit(10)
        self.assertEqual(b.quiet(), [])
        self.hub.grant(a.agency.code, c.code)
        self.assertCodes(self.to(a, [b.agency.code, c.code], event_id="both"), 0)
        self.assertEqual(b.receive_one().id, "both")

    def test_unknown_recipients_and_empty_groups(self):
        a, b = self.pair()
        for recipients in ("NOSUCH", "@nosuch", f"{b.agency.code},NOSUCH"):
            with self.subTest(recipients):
                self.assertCodes(self.to(a, recipients), Reason.NO_RECIPIENT)

    def test_validity(self):
        a, b = self.hub.connect(self.agency()), self.agency()
        hour = 3600000000
        now = ev.now_us()
        self.hub.grant(a.agency.code, b.code, "late.*", valid_from_us=now + hour)
        self.hub.grant(a.agency.code, b.code, "over.*", valid_from_us=now - 2 * hour, valid_until_us=now - hour)
        self.hub.grant(a.agency.code, b.code, "now.*", valid_from_us=now - hour, valid_until_us=now + hour)
        self.assertCodes(self.to(a, b.code, "late.v1"), Reason.NOT_GRANTED)
        self.assertCodes(self.to(a, b.code, "over.v1"), Reason.NOT_GRANTED)
        self.assertCodes(self.to(a, b.code, "now.v1"), 0)

    def test_a_withdrawn_grant_grants_no_more(self):
        a, b = self.hub.connect(self.agency()), self.agency()
        name = self.hub.grant(a.agency.code, b.code)
        self.assertCodes(self.to(a, b.code), 0)
        self.hub.govern(withdraw_grant=truc.WithdrawGrant(grant=name))
        self.assertCodes(self.to(a, b.code), Reason.NOT_GRANTED)
        self.hub.govern(withdraw_grant=truc.WithdrawGrant(grant=name), expect=Reason.ILLEGAL_TRANSITION)

    def test_a_grants_name_is_unique_for_ever(self):
        a, b = self.agency(), self.agency()
        name = self.hub.grant(a.code, b.code)
        self.hub.grant(b.code, a.code, grant=name, expect=Reason.ILLEGAL_TRANSITION)
        self.hub.govern(withdraw_grant=truc.WithdrawGrant(grant=name))
        self.hub.grant(b.code, a.code, grant=name, expect=Reason.ILLEGAL_TRANSITION)


class Topics(HubCase):
    def test_subscribers_of_the_type_get_it(self):
        a, b = self.pair()
        c = self.agency()
        self.hub.grant(a.agency.code, c.code)
        c = self.hub.connect(c)
        b.subscribe("news.*")
        c.subscribe("news.b.v1")
        b.credit(10), c.credit(10)
        self.assertCodes(a.submit(a.event("a", "news.a.v1"), a.event("b", "news.b.v1")), 0, 0)
        self.assertEqual([d.id for d in b.receive(2)], ["a", "b"])
        self.assertEqual([d.id for d in c.receive(1)], ["b"])
        self.assertEqual(c.quiet(), [])

    def test_a_subscription_alone_opens_nothing(self):
        a, b = self.hub.connect(self.agency()), self.hub.connect(self.agency())
        b.subscribe("secret.*")
        b.credit(10)
        r = a.submit(a.event("1", "secret.v1"))
        self.assertIn(r.codes[0], (Reason.NOT_GRANTED, Reason.NO_RECIPIENT))
        self.assertEqual(b.quiet(), [])

    def test_an_ungranted_subscriber_does_not_stand_in_the_others_way(self):
        a, b = self.pair()
        c = self.hub.connect(self.agency())
        for x in (b, c):
            x.subscribe("mixed.*")
            x.credit(10)
        self.assertCodes(a.submit(a.event("1", "mixed.v1")), 0)
        self.assertEqual(b.receive_one().id, "1")
        self.assertEqual(c.quiet(), [])

    def test_of_one_source_only(self):
        a, b = self.pair()
        other = self.agency()
        self.hub.grant(other.code, b.agency.code)
        other = self.hub.connect(other)
        b.subscribe("only.*", a.agency.code)
        b.credit(10)
        self.assertCodes(a.submit(a.event("a", "only.v1")), 0)
        self.assertCodes(other.submit(other.event("o", "only.v1")), Reason.NO_RECIPIENT)
        self.assertEqual([d.id for d in b.receive(1)], ["a"])
        self.assertEqual(b.quiet(), [])

    def test_no_subscriber_is_no_recipient_and_removing_takes_effect(self):
        a, b = self.pair()
        self.assertCodes(a.submit(a.event("0", "topic.v1")), Reason.NO_RECIPIENT)
        b.subscribe("topic.v1")
        self.assertCodes(a.submit(a.event("1", "topic.v1")), 0)
        b.subscribe("topic.v1", remove=True)
        self.assertCodes(a.submit(a.event("2", "topic.v1")), Reason.NO_RECIPIENT)

    def test_a_subscription_outlives_its_session(self):
        a, b = self.pair()
        b.subscribe("durable.v1")
        b.close()
        self.assertCodes(a.submit(a.event("1", "durable.v1")), 0)
        b2 = self.hub.connect(b.agency)
        b2.credit(1)
        self.assertEqual(b2.receive_one().id, "1")

    def test_an_administrator_subscribes_an_agency(self):
        a, b = self.pair()
        s = truc.Subscription(agency=b.agency.code, type="given.*")
        self.hub.govern(add_subscription=s)
        self.assertCodes(a.submit(a.event("1", "given.v1")), 0)
        rows = self.hub.admin_client().query("subscriptions", agency=b.agency.code)
        self.assertEqual([(r["agency"], r["type"]) for r in rows], [(b.agency.code, "given.*")])
        self.hub.govern(remove_subscription=s)
        self.assertCodes(a.submit(a.event("2", "given.v1")), Reason.NO_RECIPIENT)


if __name__ == "__main__":
    unittest.main()
