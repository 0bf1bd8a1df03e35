"""What one peer may hold of the hub, and how long: bytes, sessions, unfinished bodies, silence, inboxes, key slots."""

import os
import shutil
import subprocess
import unittest

from support import HubCase, configured
from trucpy import evidence, frames, leaf, rows
from trucpy import events as ev
from trucpy.client import Refused, SessionLost, Timeout
from trucpy.events import pack_body
from trucpy.hub import build_dir
from trucpy.reasons import Reason
from trucpy.schema import truc
from trucpy.shift import Clocks

MIB = 1 << 20


class Unfinished:
    """A seal whose body is on its way: so many bytes are sent, the last piece is not."""

    def __init__(self, client, events, size):
        self.client, self.sealed = client, client.chain.seal(events)
        client.sealed[self.sealed.digest] = self.sealed
        self.messages = frames.encode(frames.SUBMIT, truc.Submit(envelope=self.sealed.envelope), pack_body(events))
        self.go_on(size // frames.PIECE)

    def go_on(self, pieces):
        for _ in range(pieces):
            self.client.send_parts(*self.messages.pop(0))

    def finish(self):
        """-> Receipt; raises Refused"""
        self.go_on(len(self.messages))
        return self.client.result(self.sealed)


class Bounds(HubCase):
    def big(self, client, to, size=3 * MIB):
        """Events of a little less than so many bytes together, half a MiB each."""
        data = bytes(MIB // 2 - 512)
        return [client.event(os.urandom(8).hex(), "x.v1", recipients=to, data=data) for _ in range(size * 2 // MIB)]

    def refused(self, act):
        with self.assertRaises(Refused) as caught:
            act()
        return caught.exception.reason


class Subscriptions(Bounds):
    def test_the_1025th_of_an_agency_is_refused_by_name_and_costs_nothing_else(self):
        a = self.hub.connect(self.agency("MANY"))
        for first in range(0, 1024, 16):
            for i in range(first, first + 16):
                a.send(frames.SUBSCRIBE, truc.Subscribe(type=f"t.{i}"))
            a.wait_until(lambda: len(a.subscribed) >= first + 16, 20, "subscriptions")
        a.send(frames.SUBSCRIBE, truc.Subscribe(type="t.one.more"))
        a.wait_until(lambda: a.not_subscribed, 20, "the refusal")
        self.assertEqual(a.not_subscribed, ["t.one.more"])
        a.subscribe("t.7")  # has it: nothing to do
        a.subscribe("t.7", remove=True)
        a.subscribe("t.one.more")
        self.assertEqual(len(a.not_subscribed), 1)


class Share(Bounds):
    """One agency gets a quarter of the bytes in flight, and not one more by sending what is refused."""

    hub_options = {"config": configured(limits={"session_bytes": "5 MiB", "total_bytes": "32 MiB"})}

    def setUp(self):
        super().setUp()
        self.greedy, self.other = self.agency("GREEDY"), self.agency("OTHER")
        self.to = self.agency("TO").code
        for who in (self.greedy, self.other):
            self.hub.grant(who.code, self.to)

    def hold(self, agency, size):
        """A new session of the agency with an unfinished body; the hub has seen all of it."""
        client = self.hub.connect(agency)
        return Unfinished(client, self.big(client, self.to, 4 * MIB), size)

    def when_there_is_room(self, held, client, sealed):
        """Ends the sessions that hold it. -> the receipt of the seal, which is sent until it is taken"""
        for one in held:
            one.client.close()

        def again():
            client.send_seal(sealed)
            try:
                return client.result(sealed)
            except Refused as e:
                self.assertEqual(e.reason, Reason.OVERLOADED)
                return None

        return self.eventually(again, what="room")

    def test_a_quarter_of_the_bytes_is_all_that_one_agency_gets(self):
        held = [self.hold(self.greedy, 3 * MIB) for _ in range(2)]
        late = self.hold(self.greedy, 3 * MIB)
        self.assertEqual(self.refused(late.finish), Reason.OVERLOADED)
        other = self.hub.connect(self.other)
        self.assertCodes(other.submit(*self.big(other, self.to)), *[0] * 6)
        # What is answered is no longer in flight, and what was refused has consumed nothing.
        self.assertCodes(held[0].finish(), *[0] * 8)
        late.client.send_seal(late.sealed)
        self.assertCodes(late.client.result(late.sealed), *[0] * 8)
        self.assertCodes(held[1].finish(), *[0] * 8)

    def test_a_session_that_ends_gives_back_what_it_held(self):
        held = [self.hold(self.greedy, 3 * MIB) for _ in range(2)]
        late = self.hold(self.greedy, 3 * MIB)
        self.assertEqual(self.refused(late.finish), Reason.OVERLOADED)
        self.assertCodes(self.when_there_is_room(held, late.client, late.sealed), *[0] * 8)

    def test_what_is_refused_takes_nobody_elses_room(self):
        # 4 MiB times 12: more than all that the hub has, though not more than a quarter was ever taken of it.
        held = [self.hold(self.greedy, 3 * MIB) for _ in range(12)]
        for one in held:
            one.client.send_parts(*one.messages.pop(0))
        other = self.hub.connect(self.other)
        self.assertCodes(other.submit(*self.big(other, self.to)), *[0] * 6)
        self.assertEqual(self.refused(held[-1].finish), Reason.OVERLOADED)

    def test_when_everybody_has_taken_their_share_administrators_still_find_room(self):
        crowd = [self.agency("CROWD") for _ in range(4)]
        for one in crowd:
            self.hub.grant(one.code, self.to)
        held = [self.hold(one, 3 * MIB + MIB // 2) for one in crowd for _ in range(2)]
        late = self.hold(self.other, 3 * MIB + MIB // 2)
        late = [late, self.hold(self.other, 3 * MIB + MIB // 2)]
        said = []
        for one in late:
            try:
                said.append(one.finish().codes)
            except Refused as e:
                said.append(e.reason)
        self.assertIn(Reason.OVERLOADED, said, "ten bodies of 3.5 MiB at a time fitted into 32 MiB")
        self.hub.enrol(self.code())
        self.assertCodes(held[0].finish(), *[0] * 8)

    def test_many_tiny_events_count_for_what_they_take(self):
        # Five bytes an event are little to send and much to keep: not quite 256 KiB of room take no 1024 of them.
        held = [self.hold(self.greedy, size) for size in (4 * MIB - frames.PIECE, 4 * MIB - frames.PIECE, frames.PIECE)]
        client = self.hub.connect(self.greedy)
        many = client.chain.seal([b"x"] * 1024)
        client.send_seal(many)
        self.assertEqual(self.refused(lambda: client.result(many)), Reason.OVERLOADED)
        client.new_chain()
        self.assertCodes(client.submit(*[b"x"] * 100), *[Reason.MALFORMED] * 100)
        self.assertCodes(self.when_there_is_room(held, client, many), *[Reason.MALFORMED] * 1024)

    def test_who_goes_on_sending_beyond_the_limit_loses_the_session(self):
        client, bystander = self.hub.connect(self.greedy), self.hub.connect(self.other)
        rest = [b"x" * 1066000]
        attributes = {f"a{i}": "x" * 50 for i in range(60)}
        event = client.event("1", "x.v1", recipients=self.to, more=attributes)
        slow = [event] * min(1024, 4170000 // (len(event) + 4))
        slow[-1] += b"x" * (4170000 - (len(event) + 4) * len(slow))
        with self.assertRaises(SessionLost) as caught:
            for _ in range(30):
                client.new_chain()
                # The first takes its time to be verified. What comes meanwhile is refused, and waits for its turn.
                full = [client.chain.seal(events) for events in (slow, rest)]
                more = client.chain.seal([b"x"])
                with self.hub.frozen():
                    for s in full + [more] * 500:
                        client.send_seal(s)
                ours = {s.digest for s in full + [more]}
                client.wait_until(lambda: ours <= client.refusals.keys() | client.receipts.keys())  # noqa: B023
        self.assertEqual(caught.exception.reason, Reason.OVERLOADED)
        client.wait_closed()
        bystander.ping()


class Places(HubCase):
    hub_options = {"config": configured(limits={"sessions": 40})}

    def greet(self, agency):
        """-> client, or the reason of its BYE"""
        client = self.hub.session(agency)
        try:
            client.hello()
            return client
        except SessionLost as e:
            return e.reason

    def test_an_agency_gets_an_eighth_of_the_sessions(self):
        greedy, other = self.agency(), self.agency()
        taken = [self.greet(greedy) for _ in range(5)]
        for client in taken:
            client.ping()
        for _ in range(30):
            self.assertEqual(self.greet(greedy), Reason.OVERLOADED)
        # Those that were turned away took no place: others come as before.
        for _ in range(5):
            self.greet(other).ping()
        taken[0].say_bye()
        taken[0].wait_closed()

        def place():
            got = self.greet(greedy)
            return got if got is not Reason.OVERLOADED and not isinstance(got, int) else None

        self.eventually(place, what="a free place").ping()

    def test_when_all_places_are_taken_administrators_find_one(self):
        for _ in range(8):
            agency = self.agency()
            for _ in range(5):
                last = self.greet(agency)
        self.assertEqual(self.greet(self.agency()), Reason.OVERLOADED)
        self.assertEqual(last, Reason.OVERLOADED, "the administrator's session took no place")
        self.greet(self.hub.admin_agency).ping()


class Deadlines(Bounds):
    """The hub's clocks are moved on: nobody waits half a minute here."""

    LIMITS = {"session_bytes": "5 MiB", "total_bytes": "16 MiB"}

    @classmethod
    def setUpClass(cls):
        cls.clocks = Clocks()
        cls.addClassCleanup(cls.clocks.close)
        cls.hub_options = {
            "environment": cls.clocks.environment,
            "config": configured(limits=cls.LIMITS, session={"silence": "1 h"}),
        }
        super().setUpClass()

    def setUp(self):
        self.clocks.set()
        super().setUp()
        self.start = 0

    def tearDown(self):
        super().tearDown()
        self.hub.stop()  # the clocks never go back under a running hub
        self.clocks.set()
        self.hub.start()

    def still_open(self, client):
        """Nothing has come, not even an end."""
        with self.assertRaises(Timeout):
            client.recv(0.3)

    def test_a_connection_that_never_speaks_is_closed_after_half_a_minute(self):
        agency = self.agency()
        speechless = self.hub.session(agency)
        while not speechless.connected:
            self.still_open(speechless)
        other = self.hub.connect(self.agency())
        self.clocks.pass_by(25)
        other.ping()
        self.still_open(speechless)
        self.clocks.pass_by(32)
        with self.assertRaises(SessionLost) as caught:
            speechless.recv(5)
        self.assertIsNone(caught.exception.reason)
        # Who has greeted may be silent for longer, and the agency may come again.
        other.ping()
        self.hub.connect(agency).ping()

    def test_a_body_that_is_not_finished_within_a_minute_is_given_up(self):
        a, b = self.pair()
        half = lambda: Unfinished(self.hub.connect(a.agency), self.big(a, b.agency.code), 5 * MIB // 2)  # noqa: E731
        held = [half(), half()]
        self.assertEqual(self.refused(lambda: a.submit(*self.big(a, b.agency.code))), Reason.OVERLOADED)
        a.new_chain()
        self.clocks.pass_by(55)
        a.ping()
        held[0].go_on(1)  # a piece now and then does not prolong it
        self.still_open(held[0].client)
        self.clocks.pass_by(63)
        for one in held:
            self.assertLost(one.client, Reason.MALFORMED)

        def again():
            try:
                return a.submit(*self.big(a, b.agency.code))
            except Refused as e:
                self.assertEqual(e.reason, Reason.OVERLOADED)
                a.new_chain()
                return None

        self.assertCodes(self.eventually(again, what="the bytes of what was given up"), *[0] * 6)


class Absent(HubCase):
    """Nobody comes for it: after the log's inbox_age_s it is a dead letter, for everybody to see and to prove."""

    def dead(self, agency):
        return self.hub.admin_client().query("deadletters", agency=agency.code)

    def test_what_waits_too_long_for_an_absent_agency_is_a_dead_letter(self):
        a, b = self.pair()
        b.close()
        a.submit(a.event("kept", "x.v1", recipients=b.agency.code))
        self.hub.govern(parameters=truc.Parameters(inbox_age_s=1))
        receipt = a.submit(a.event("late", "x.v1", recipients=b.agency.code, subject="s"))
        self.assertCodes(receipt, 0)
        (row,) = self.eventually(lambda: self.dead(b.agency), what="a dead letter")
        self.assertEqual((row["number"], row["sequence"]), (2, receipt.leaf.first))
        self.assertEqual(row["reason"], "EXPIRED")
        (inbox,) = self.hub.admin_client().query("inbox", agency=b.agency.code)
        self.assertEqual((inbox["pending"], inbox["dead"]), (1, 1))

        # The command says the same. The home's profiles name port 0, as its hub.yaml does.
        admin = self.hub.folder / "admin"
        shutil.copytree(self.hub.home / "admin-1", admin)
        profile = (admin / "profile.yaml").read_text("utf-8").replace("tcp://127.0.0.1:0", self.hub.endpoint)
        (admin / "profile.yaml").write_text(profile, "utf-8")
        command = [build_dir() / "truc", "deadletter", "list", "--json", "--profile", admin]
        shown = subprocess.run(command, capture_output=True, text=True, timeout=60)
        self.assertEqual(shown.returncode, 0, shown.stderr)
        self.assertIn("EXPIRED", shown.stdout)
        self.assertIn(b.agency.code, shown.stdout)

        # It stands in the journal, later than the deadline, and an audit that decides everything again agrees.
        journal = rows.read(self.hub.home)
        expired = [(r.accepted_at_us, i.ranges()) for r in journal for i in r.inputs if i.kind == rows.EXPIRE]
        self.assertEqual([numbers for _, (agency, numbers) in expired if agency == b.agency.code], [[2]])
        self.assertGreaterEqual(expired[0][0], receipt.leaf.accepted_at_us + 1000000)
        audit = [build_dir() / "truc", "log", "verify", "--home", self.hub.home]
        done = subprocess.run(audit, capture_output=True, text=True, timeout=120)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        proof = self.hub.admin_client().get_proof(receipt.leaf.first)
        spkis = self.hub.admin_client().spkis_of(a.agency.code)
        got = evidence.verify(evidence.build(proof), verifier=self.hub.verifier, origin=self.hub.origin, spkis=spkis)
        self.assertEqual(got["outcome"].code, leaf.ACCEPTED)

        # A state made again from the journal has the very same dead letter.
        self.hub.stop()
        for file in (self.hub.home / "data").glob("state.mdb*"):
            file.unlink()
        self.hub.start()
        self.assertEqual(self.dead(b.agency), [row])

        # Back again, the agency gets what was in time, and the dead one only once an administrator gives it free.
        self.hub.govern(parameters=truc.Parameters(inbox_age_s=3600))
        back = self.hub.connect(b.agency)
        back.credit(10)
        first = back.receive_one()
        self.assertEqual(first.id, "kept")
        self.assertEqual(back.quiet(), [])
        back.ack(first)
        act = truc.DeadLetterAct(agency=b.agency.code, number=2, verb=truc.DeadLetterAct.REQUEUE)
        self.hub.govern(dead_letter=act)
        again = back.receive_one()
        self.assertEqual((again.id, again.number), ("late", 2))
        self.assertGreater(again.attempt, 1)


class KeySlots(HubCase):
    def seals(self, client, to, count):
        """Seals of 1024 events, each of a subject of its own."""
        subject = lambda: os.urandom(8).hex()  # noqa: E731
        return [
            [client.event(f"{i}.{j}.{subject()}", "x.v1", recipients=to, subject=subject()) for j in range(1024)]
            for i in range(count)
        ]

    def test_refused_seals_spend_no_key_slots(self):
        a, b = self.pair()
        a.submit(a.event("first", "x.v1", recipients=b.agency.code, subject="first"))
        before = rows.highest_slot(rows.read(self.hub.home))
        past, ahead = ev.now_us() - 90 * 86400 * 1000000, ev.now_us() + 3600 * 1000000
        expected = [
            (Reason.SEAL_GAP, {"number": a.chain.number + 7}),
            (Reason.SEAL_GAP, {"previous": bytes(32)}),
            (Reason.CLOCK_SKEW, {"sealed_at_us": ahead}),
            (Reason.CLOCK_SKEW, {"sealed_at_us": past}),
        ]
        for (reason, changes), events in zip(expected, self.seals(a, b.agency.code, 4)):
            sealed = a.chain.seal(events, commit=False, **changes)
            a.send_seal(sealed)
            with self.assertRaises(Refused) as caught:
                a.result(sealed)
            self.assertEqual(caught.exception.reason, reason)
        a.submit(a.event("second", "x.v1", recipients=b.agency.code, subject="second"))
        self.assertEqual(rows.highest_slot(rows.read(self.hub.home)), before + 1)
        # What is journaled takes them, one for each subject: the reader above sees it.
        self.assertCodes(a.submit(*self.seals(a, b.agency.code, 1)[0]), *[0] * 1024)
        self.assertEqual(rows.highest_slot(rows.read(self.hub.home)), before + 1 + 1024)

    def test_after_a_long_replay_nothing_is_done_twice_and_no_slot_serves_two_subjects(self):
        # 64 postings an event: the state of these rows is more than a start keeps in memory before it commits. Only the
        # first seal takes new slots, so that the later rows do not tell how far they are used.
        a = self.agency("WIDE")
        group = [self.agency("MEMBER", groups=["wide"]) for _ in range(64)]
        self.hub.grant(a.code, "@wide")
        client = self.hub.connect(a)
        (first,) = self.seals(client, "@wide", 1)
        same = lambda name: client.event(name, "x.v1", recipients="@wide", subject="kept")  # noqa: E731
        kept = same("kept")
        more = [[same(f"{i}.{j}") for j in range(1024)] for i in range(12)]
        sent = []
        for events in [[kept], first, *more]:
            sent.append(client.chain.seal(events))
            client.send_seal(sent[-1])
            client.result(sent[-1])
        receipts = dict(client.receipts)
        self.hub.kill()
        for file in (self.hub.home / "data").glob("state.mdb*"):
            file.unlink()
        self.hub.start()
        # Dies again before the new state is noted in the ordinary way: applied rows are not read a second time.
        self.hub.kill()
        self.hub.start()

        client = self.hub.connect(a)
        for s in sent[:3] + sent[-3:]:
            client.send_seal(s)
            self.assertEqual(client.result(s).leaf_bytes, receipts[s.digest].leaf_bytes)
        client.new_chain()
        again = client.submit(*first)
        self.assertCodes(again, *[leaf.DUPLICATE] * 1024)
        self.assertEqual([o.repeats for o in again.outcomes], [o.sequence for o in receipts[sent[1].digest].outcomes])
        self.assertCodes(client.submit(*self.seals(client, "@wide", 1)[0]), *[0] * 1024)
        member = self.hub.connect(group[-1])
        (inbox,) = member.query("inbox")
        self.assertEqual((inbox["pending"], inbox["next_number"]), (1 + 14 * 1024, 2 + 14 * 1024))
        member.credit(10)
        self.assertEqual([d.data for d in member.receive(10)], [kept, *first[:9]])
        served = rows.slots_of_subjects(rows.read(self.hub.home))
        self.assertGreater(len(served), 2 * 1024)
        self.assertEqual([slot for slot, subjects in served.items() if len(subjects) > 1], [])


if __name__ == "__main__":
    unittest.main()
