"""Administrators act by signed events; queries show what the log decided, each to whom it may concern."""

import unittest

from support import HubCase
from trucpy import keys, profile
from trucpy.client import Agency, Refused, SessionLost, Violation
from trucpy.hub import ADMIN, AUDITOR
from trucpy.reasons import Reason
from trucpy.schema import truc


class Acts(HubCase):
    def test_only_administrators_govern(self):
        act = truc.Governance(reason="coup", suspend_agency=truc.AgencyRef(agency="SYS"))
        data = act.SerializeToString()
        for role in (0, AUDITOR):
            c = self.hub.connect(self.agency(role=role))
            self.assertCodes(c.submit(c.event("1", "truc.governance.v1", data=data)), Reason.NOT_GRANTED)

    def test_a_new_administrator_governs(self):
        c = self.hub.connect(self.agency(role=ADMIN))
        other = Agency(self.code())
        act = truc.EnrolAgency(agency=other.code, name="n", transport_key=other.transport_key, spki=other.spki)
        self.hub.govern(by=c, enrol_agency=act)
        self.hub.connect(other).ping()

    def test_the_second_administrator_of_genesis_governs_too(self):
        folder = self.hub.home / "admin-2"
        second = profile.load(folder, profile.admin_code(folder)).agency
        self.assertNotEqual((second.code, second.keyid), (self.hub.admin_agency.code, self.hub.admin_agency.keyid))
        a = self.agency()
        self.hub.govern(by=self.hub.connect(second), suspend_agency=truc.AgencyRef(agency=a.code))

    def test_data_that_does_not_parse_or_says_nothing(self):
        admin = self.hub.connect(self.hub.admin_agency)
        for i, bad in enumerate((b"\xff\xff\xff", b"", truc.Governance(reason="x").SerializeToString())):
            with self.subTest(i):
                event = admin.event(f"bad{i}", "truc.governance.v1", data=bad)
                self.assertCodes(admin.submit(event), Reason.INVALID_PAYLOAD)

    def test_enrolling_twice(self):
        a = self.agency()
        act = truc.EnrolAgency(agency=a.code, name="n", transport_key=Agency("X").transport_key, spki=Agency("X").spki)
        self.hub.govern(enrol_agency=act, expect=Reason.ILLEGAL_TRANSITION)

    def test_a_transport_key_belongs_to_one_agency(self):
        a = self.agency()
        act = truc.EnrolAgency(agency=self.code(), name="n", transport_key=a.transport_key, spki=Agency("X").spki)
        self.hub.govern(enrol_agency=act, expect=Reason.ILLEGAL_TRANSITION)

    def test_bad_codes_and_keys_cannot_be_enrolled(self):
        good = Agency("X")
        for name, fields in {
            "lower case": dict(agency="abc"),
            "two dots": dict(agency="A..B"),
            "too long": dict(agency="A" * 36),
            "no code": dict(agency=""),
            "short transport key": dict(transport_key=b"short"),
            "no key": dict(spki=b"\x30\x00"),
        }.items():
            with self.subTest(name):
                args = dict(agency=self.code(), name="n", transport_key=good.transport_key, spki=good.spki)
                args.update(fields)
                with self.assertRaises(AssertionError) as caught:
                    self.hub.govern(enrol_agency=truc.EnrolAgency(**args), expect=0)
                self.assertRegex(str(caught.exception), "INVALID_PAYLOAD|ILLEGAL_TRANSITION")

    def test_acts_on_unknown_agencies(self):
        for act in (
            dict(suspend_agency=truc.AgencyRef(agency="NOSUCH")),
            dict(resume_agency=truc.AgencyRef(agency="NOSUCH")),
            dict(add_key=truc.AddKey(agency="NOSUCH", spki=Agency("X").spki)),
            dict(revoke_key=truc.RevokeKey(agency="NOSUCH", keyid="ab" * 32)),
            dict(set_quota=truc.SetQuota(agency="NOSUCH", events_per_s=1)),
        ):
            with self.subTest(list(act)[0]):
                self.hub.govern(expect=Reason.ILLEGAL_TRANSITION, **act)

    def test_a_second_genesis_is_refused(self):
        genesis = truc.Genesis(origin=self.hub.origin)
        with self.assertRaises(AssertionError) as caught:
            self.hub.govern(genesis=genesis)
        self.assertRegex(str(caught.exception), "INVALID_PAYLOAD|ILLEGAL_TRANSITION")

    def test_acts_take_effect_for_the_next_event_of_the_same_seal(self):
        admin = self.hub.connect(self.hub.admin_agency)
        a = Agency(self.code())
        enrol = truc.EnrolAgency(agency=a.code, name="n", transport_key=a.transport_key, spki=a.spki)
        acts = [
            truc.Governance(reason="x", suspend_agency=truc.AgencyRef(agency=a.code)),
            truc.Governance(reason="x", enrol_agency=enrol),
            truc.Governance(reason="x", suspend_agency=truc.AgencyRef(agency=a.code)),
        ]
        events = [admin.event(f"{a.code}{i}", "truc.governance.v1", data=g.SerializeToString()) for i, g in enumerate(acts)]
        self.assertCodes(admin.submit(*events), Reason.ILLEGAL_TRANSITION, 0, 0)

    def test_reserved_types_are_reserved(self):
        a, b = self.pair()
        r = a.submit(a.event("1", "truc.something.v1", recipients=b.agency.code))
        self.assertCodes(r, Reason.NOT_GRANTED)


class LastAdministrator(HubCase):
    def test_nobody_is_left_to_govern_without_a_way_in(self):
        """The last administrator keeps a signing key and a transport key: one without the other does not count."""
        folder = self.hub.home / "admin-2"
        me, second = self.hub.admin_agency, profile.load(folder, profile.admin_code(folder)).agency
        self.hub.govern(revoke_key=truc.RevokeKey(agency=second.code, transport_key=second.transport_key))
        for act in (
            dict(revoke_key=truc.RevokeKey(agency=me.code, transport_key=me.transport_key)),
            dict(revoke_key=truc.RevokeKey(agency=me.code, keyid=me.keyid)),
            dict(suspend_agency=truc.AgencyRef(agency=me.code)),
        ):
            with self.subTest(list(act)[0]):
                self.hub.govern(expect=Reason.ILLEGAL_TRANSITION, **act)
        twin = Agency(second.code, private=second.private)
        self.hub.govern(add_key=truc.AddKey(agency=second.code, transport_key=twin.transport_key))
        again = Agency(me.code, private=me.private)
        self.hub.govern(add_key=truc.AddKey(agency=me.code, transport_key=again.transport_key))
        self.hub.govern(revoke_key=truc.RevokeKey(agency=me.code, transport_key=again.transport_key))
        # With two who can act, one may go, and comes back.
        self.hub.govern(by=self.hub.connect(twin), suspend_agency=truc.AgencyRef(agency=me.code))
        self.hub.govern(by=self.hub.connect(twin), resume_agency=truc.AgencyRef(agency=me.code))


class Keys(HubCase):
    def test_a_second_signing_key_seals_and_the_first_may_go(self):
        a, b = self.pair()
        first = a.submit(a.event("1", "x.v1", recipients=b.agency.code))
        old_keyid, new = a.agency.keyid, keys.new_private("ed25519")
        self.hub.govern(add_key=truc.AddKey(agency=a.agency.code, spki=keys.spki_of(new)))
        self.hub.govern(revoke_key=truc.RevokeKey(agency=a.agency.code, keyid=old_keyid))
        self.hub.govern(
            revoke_key=truc.RevokeKey(agency=a.agency.code, keyid=old_keyid), expect=Reason.ILLEGAL_TRANSITION
        )
        a.agency.private = new
        # The new chain names the head that was sealed under the old key.
        a2 = self.hub.connect(a.agency)
        self.assertEqual(a2.chain.head, first.leaf.digest)
        self.assertCodes(a2.submit(a2.event("2", "x.v1", recipients=b.agency.code)), 0)
        b.credit(10)
        self.assertEqual([d.id for d in b.receive(2)], ["1", "2"])

    def test_a_second_transport_key_connects_and_a_revoked_one_does_not(self):
        a = self.agency()
        twin = Agency(a.code, private=a.private)
        self.hub.govern(add_key=truc.AddKey(agency=a.code, transport_key=twin.transport_key))
        self.hub.connect(twin).ping()
        old = self.hub.connect(a)
        self.hub.govern(revoke_key=truc.RevokeKey(agency=a.code, transport_key=a.transport_key))
        with self.assertRaises(SessionLost):
            old.ping()
        again = self.hub.session(a)
        with self.assertRaises(SessionLost) as caught:
            again.hello()
        self.assertIn(caught.exception.reason, (None, Reason.KEY_REVOKED, Reason.UNKNOWN_KEY))
        self.hub.connect(twin).ping()

    def test_the_query_shows_them_with_their_state(self):
        a, asker = self.agency(algorithm="ed25519"), self.hub.connect(self.agency())
        new = keys.new_private("p256")
        self.hub.govern(add_key=truc.AddKey(agency=a.code, spki=keys.spki_of(new)))
        self.hub.govern(revoke_key=truc.RevokeKey(agency=a.code, keyid=a.keyid))
        rows = {r["keyid"]: r for r in asker.query("keys", agency=a.code) if r.get("keyid")}
        self.assertEqual(rows.keys(), {a.keyid, keys.keyid_of(keys.spki_of(new))})
        self.assertNotEqual(rows[a.keyid]["state"], rows[keys.keyid_of(keys.spki_of(new))]["state"])
        self.assertEqual(sorted(asker.spkis_of(a.code)), sorted([a.spki, keys.spki_of(new)]))


class Suspension(HubCase):
    def test_a_suspended_agency_is_out_at_once_and_comes_back(self):
        a, b = self.pair()
        ref = truc.AgencyRef(agency=a.agency.code)
        self.hub.govern(suspend_agency=ref)
        with self.assertRaises((SessionLost, Refused)) as caught:
            a.submit(a.event("1", "x.v1", recipients=b.agency.code))
        self.assertEqual(caught.exception.reason, Reason.SUSPENDED)
        again = self.hub.session(a.agency)
        with self.assertRaises(SessionLost) as caught:
            again.hello()
        self.assertEqual(caught.exception.reason, Reason.SUSPENDED)
        self.hub.govern(suspend_agency=ref, expect=Reason.ILLEGAL_TRANSITION)
        self.hub.govern(resume_agency=ref)
        a = self.hub.connect(a.agency)
        self.assertCodes(a.submit(a.event("1", "x.v1", recipients=b.agency.code)), 0)

    def test_a_suspended_receiver_gets_nothing_more(self):
        a, b = self.pair()
        b.credit(10)
        self.hub.govern(suspend_agency=truc.AgencyRef(agency=b.agency.code))
        a.submit(a.event("1", "x.v1", recipients=b.agency.code))
        with self.assertRaises(SessionLost):
            b.ping()
        self.assertEqual(b.raw_deliveries, [])


class Queries(HubCase):
    ROWS = {
        "status": "origin version tree_size next_sequence agencies sessions uptime_s counters state_lag_rows journal_bytes"
        " disk_free_bytes clock",
        "agencies": "agency name role state groups keys sessions inbox_pending inbox_dead",
        "keys": "agency state added_at revoked_at",
        "grants": "grant from to type legal_basis valid_from valid_until state delivery_receipts",
        "subscriptions": "agency type source_agency",
        "inbox": "agency next_number floor pending dead",
        "deadletters": "agency number sequence reason attempts since note",
        "sessions": "session agency instance software since submitted delivered credit_events",
        "refusals": "reason count",
        "parameters": "event_bytes seal_events seal_bytes future_skew_s past_horizon_s inbox_age_s max_attempts hold_s",
    }

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.a, cls.b = cls.hub.enrol("QA"), cls.hub.enrol("QB")
        cls.hub.grant("QA", "QB", "x.*")
        a, b = cls.hub.connect(cls.a), cls.hub.connect(cls.b)
        b.subscribe("x.*")
        a.submit(a.event("1", "x.v1"), a.event("2", "y.v1", recipients="QB"), a.event("3", "x.v1"))
        b.credit(1)
        b.nack(b.receive_one(), reject=True)
        b.ping()

    def test_every_query_of_the_document_has_its_columns(self):
        for who in (self.hub.admin_agency, self.agency(role=AUDITOR)):
            client = self.hub.connect(who)
            for what, columns in self.ROWS.items():
                with self.subTest(what):
                    rows = self.eventually(lambda: client.query(what), what=f"a row of {what}")
                    for column in columns.split():
                        self.assertIn(column, rows[0])

    def test_an_agency_asks_only_for_what_is_its_own(self):
        client = self.hub.connect(self.a)
        for what in self.ROWS:
            with self.subTest(what):
                reason, rows, _ = client.query_page(what)
                if what in ("keys", "inbox", "deadletters", "parameters"):
                    self.assertEqual(reason, 0)
                else:
                    self.assertEqual((reason, rows), (Reason.NOT_GRANTED, []))
        for what in ("inbox", "deadletters"):
            reason, rows, _ = client.query_page(what, {"agency": "QB"})
            self.assertTrue(reason == Reason.NOT_GRANTED or all(r["agency"] == "QA" for r in rows), rows)

    def test_unknown_questions_are_answered_with_a_reason(self):
        client = self.hub.connect(self.hub.admin_agency)
        self.assertNotEqual(client.query_page("everything")[0], 0)
        # A cursor is the hub's own: what it makes of a foreign one is its affair, as long as it answers.
        client.query_page("agencies", cursor="no cursor of yours")
        client.query_page("deadletters", cursor="9" * 200)
        client.ping()

    def test_pages(self):
        client = self.hub.connect(self.hub.admin_agency)
        whole = client.query("agencies")
        rows, cursor, pages = [], "", 0
        while True:
            reason, page, cursor = client.query_page("agencies", cursor=cursor, limit=1)
            self.assertEqual(reason, 0)
            self.assertLessEqual(len(page), 1)
            rows, pages = rows + page, pages + 1
            if not cursor:
                break
        self.assertEqual([r["agency"] for r in rows], [r["agency"] for r in whole])
        self.assertGreaterEqual(pages, len(whole))

    def test_pages_of_refusals(self):
        a, client = self.hub.connect(self.a), self.hub.connect(self.hub.admin_agency)
        a.submit(a.event("refused-1", "y.v1", recipients="QB"), a.event("refused-2", "y.v1", recipients="NOBODY"))
        whole = client.query("refusals")
        self.assertGreaterEqual(len(whole), 2)
        rows, cursor = [], ""
        for _ in whole:  # a page each, and no more
            reason, page, cursor = client.query_page("refusals", cursor=cursor, limit=1)
            self.assertEqual((reason, len(page)), (0, 1))
            rows += page
        self.assertEqual((rows, cursor), (whole, ""))

    def test_filters(self):
        client = self.hub.connect(self.hub.admin_agency)
        self.assertEqual([r["agency"] for r in client.query("agencies", agency="QA")], ["QA"])
        self.assertEqual({r["from"] for r in client.query("grants", **{"from": "QA"})}, {"QA"})
        self.assertEqual(client.query("grants", **{"from": "QB"}), [])
        self.assertEqual([(r["agency"], r["pending"]) for r in client.query("inbox", agency="QB")][0][0], "QB")

    def test_status_counts_the_log(self):
        client = self.hub.connect(self.hub.admin_agency)
        (row,) = client.query("status")
        self.assertEqual(row["origin"], self.hub.origin)
        self.assertEqual(row["tree_size"], client.agency.checkpoint.size)
        self.assertGreater(row["next_sequence"], row["tree_size"])

    def test_refusals_are_counted_by_reason(self):
        client = self.hub.connect(self.hub.admin_agency)
        counts = lambda: {str(r["reason"]): r["count"] for r in client.query("refusals")}  # noqa: E731
        key = next(k for k in counts() if k in ("NOT_GRANTED", str(int(Reason.NOT_GRANTED))))
        before = counts()[key]
        a = self.hub.connect(self.a)
        a.submit(a.event("refused", "y.v1", recipients="QB"))
        self.assertEqual(counts()[key], before + 1)

    def test_a_query_that_is_not_his_raises(self):
        with self.assertRaises(Violation):
            self.hub.connect(self.a).query("sessions")


class Refusals(HubCase):
    """The administrator sees refusals as they happen: a line each while they are few, and counts always."""

    SECRET = "Nguyen-Van-A-dossier"

    def lines(self, event, agency):
        """-> the fields of the hub's log lines of that kind about an agency"""
        rows = [
            dict(f.split("=", 1) for f in line.split() if "=" in f)
            for line in self.hub.output().splitlines()
            if f" event={event} " in line
        ]
        return [r for r in rows if r["agency"] == agency]

    def refused(self, a, b, ids, type_="y.v1"):
        return a.submit(*[a.event(i, type_, recipients=b.agency.code, subject=self.SECRET) for i in ids])

    def test_refused_events_of_a_seal_are_a_line_for_each_reason(self):
        a, b = self.pair("x.*")
        code, (before,) = a.agency.code, self.hub.admin_client().query("status")
        mixed = [
            a.event("good", "x.v1", recipients=b.agency.code),
            a.event(self.SECRET, "y.v1", recipients=b.agency.code, subject=self.SECRET),
            a.event("lost", "x.v1", recipients="NOSUCH", subject=self.SECRET),
            a.event("other", "y.v1", recipients=b.agency.code, subject=self.SECRET),
        ]
        receipt = a.submit(*mixed)
        self.assertCodes(receipt, 0, Reason.NOT_GRANTED, Reason.NO_RECIPIENT, Reason.NOT_GRANTED)
        rows = self.eventually(lambda: (r := self.lines("events_refused", code))[1:] and r, what="two lines")
        first, leaf = receipt.leaf.first, str(receipt.leaf_index)
        told = {r["reason"]: (r["count"], int(r["first_sequence"]), r["leaf"], r["level"]) for r in rows}
        expected = {
            "NOT_GRANTED": ("2", first + 1, leaf, "warn"),
            "NO_RECIPIENT": ("1", first + 2, leaf, "warn"),
        }
        self.assertEqual(told, expected)
        self.assertEqual(len(rows), 2)
        self.assertNotIn(self.SECRET, self.hub.output())
        # Counters: these of the log's events grow, those of whole seals do not.
        (after,) = self.hub.admin_client().query("status")
        self.assertEqual(after["events_refused"]["NOT_GRANTED"], before["events_refused"].get("NOT_GRANTED", 0) + 2)
        self.assertEqual(after["seals_refused"], before["seals_refused"])

    def test_what_is_accepted_or_a_duplicate_is_no_refusal(self):
        a, b = self.pair()
        event = a.event("once", "x.v1", recipients=b.agency.code)
        a.submit(event)
        self.assertEqual([c for c in a.submit(event).codes], [128])
        # Its refusal is told; nothing was before it.
        self.hub.govern(suspend_agency=truc.AgencyRef(agency="NOSUCH"), expect=Reason.ILLEGAL_TRANSITION)
        me = self.hub.admin_agency.code
        self.eventually(lambda: self.lines("events_refused", me), what="the administrator's own refusal")
        self.assertEqual(self.lines("events_refused", a.agency.code), [])

    def test_a_refused_seal_is_a_line_too(self):
        a, b = self.pair()
        code = a.agency.code
        self.hub.govern(set_quota=truc.SetQuota(agency=code, events_per_s=1))
        self.assertCodes(self.refused(a, b, [f"a{i}" for i in range(300)]), *[0] * 300)
        for n in range(3):
            with self.assertRaises(Refused):
                self.refused(a, b, [f"b{n}.{i}" for i in range(300)])
        (row,) = self.eventually(lambda: self.lines("seal_put_off", code), what="its line")
        self.assertEqual((row["reason"], row["level"]), ("QUOTA", "info"))

    def test_a_flood_of_refusals_does_not_fill_the_log_nor_hide_that_of_others(self):
        a, b = self.pair("x.*")
        other = self.hub.connect(self.agency("S"))
        flood = 40
        for i in range(flood):
            self.assertCodes(self.refused(a, b, [str(i)]), Reason.NOT_GRANTED)
        self.assertCodes(self.refused(other, b, ["1"]), Reason.NOT_GRANTED)
        self.eventually(lambda: self.lines("events_refused", other.agency.code), what="the other's line")
        told = len(self.lines("events_refused", a.agency.code))
        self.assertEqual(told, 10)
        (status,) = self.hub.admin_client().query("status")
        self.assertGreaterEqual(status["events_refused"]["NOT_GRANTED"], flood + 1)
        # What was only counted is told when the minute is over, or at the stop.
        self.assertEqual(self.hub.stop(), 0)
        (more,) = self.lines("refusals_more", a.agency.code)
        self.assertEqual((more["of"], int(more["more"])), ("events_refused", flood - told))
        self.assertEqual(self.lines("refusals_more", other.agency.code), [])
        self.hub.start()
        # The counts of events are the log's: they outlive the process.
        (again,) = self.hub.admin_client().query("status")
        self.assertEqual(again["events_refused"], status["events_refused"])


if __name__ == "__main__":
    unittest.main()
