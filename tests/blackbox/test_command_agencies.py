"""`truc` of the administrator: agencies, their keys, quotas and rights."""

import shutil
import unittest

from command_support import DONE, NO, REFUSED, UNREACHABLE, USAGE, Command, on_terminal
from trucpy import profile
from trucpy.client import Refused
from trucpy.hub import build_dir
from trucpy.reasons import Reason


class Agencies(Command):
    def test_add_list_show(self):
        code, folder = self.new()
        (row,) = [r for r in self.json("agency", "list") if r["agency"] == code]
        self.assertEqual((row["name"], row["role"], row["state"]), (f"Office {code}", "agency", "active"))
        self.assertEqual(row["keys"], 1)
        shown = self.json("agency", "show", code)
        self.assertEqual((shown["agency"], shown["inbox_pending"], shown["grants to it"]), (code, 0, []))
        self.assertEqual(len(shown["keys of the agency"]), 2)
        # The profile works as it is, and nobody else on the machine can read it.
        self.assertEqual(folder.stat().st_mode & 0o77, 0)
        self.truc("recv", "--idle", 1, by=folder, expect=NO)
        table = self.truc("agency", "list").stdout
        self.assertRegex(table, r"(?m)^AGENCY +NAME +ROLE")
        self.assertIn(f"Office {code}", table)
        self.assertIn("TRANSPORT KEY", self.truc("agency", "show", code).stdout)

    def test_an_agency_twice_is_refused_and_leaves_no_profile(self):
        code, _ = self.new()
        again = self.folder / "again"
        done = self.truc("agency", "add", code, "--name", "n", "--profile-out", again, expect=REFUSED)
        self.assertIn("ILLEGAL_TRANSITION", done.stderr)
        self.assertFalse(again.exists())
        self.truc("agency", "show", "NOSUCH", expect=NO)

    def test_own_keys_never_leave_the_agency(self):
        code, folder = self.code("K"), self.folder / "own"
        made = self.json("key", "new", "--out", folder, "--algorithm", "ed25519", by=False)
        self.truc(
            *("agency", "add", code, "--name", "n", "--key", folder / "sign.pub.pem"),
            *("--transport-key", made["transport_key"]),
        )
        rows = self.json("key", "list", code)
        self.assertEqual({r["keyid"] for r in rows if r.get("keyid")}, {made["keyid"]})
        self.truc("agency", "add", self.code(), "--name", "n", "--key", folder / "sign.pem", expect=USAGE)

    def test_an_agency_that_makes_its_own_keys(self):
        """From `key new` to the first delivery; the administrator never sees a secret."""
        code, own = self.code("K"), self.folder / "own-story"
        told = self.truc("key", "new", "--out", own, by=False).stdout
        self.assertIn("truc agency add", told)
        self.assertIn("truc key add", told)
        # What goes to the administrator is public, and a slip of the hand is stopped.
        desk, sent = self.folder / "desk", self.folder / "for-agency"
        desk.mkdir()
        for name in ("sign.pub.pem", "transport.public"):
            shutil.copy(own / name, desk / name)
        keys = ("--key", desk / "sign.pub.pem", "--transport-key")
        add = ("agency", "add", code, "--name", "n", "--profile-out", sent, "--endpoint", self.hub.endpoint)
        self.truc(*add, *keys, own / "transport.secret", expect=USAGE)
        self.truc(*add, *keys, desk / "nosuchfile", expect=USAGE)
        self.assertFalse(sent.exists())
        self.truc(*add, *keys, desk / "transport.public")
        # What comes back holds no secret; alone neither half connects.
        self.assertEqual(sorted(p.name for p in sent.iterdir()), ["hub.public", "note.key", "profile.yaml"])
        self.assertIn("copy them into", self.truc("recv", by=own, expect=USAGE).stderr)
        self.truc("recv", by=sent, expect=USAGE)
        for path in sent.iterdir():
            shutil.copy(path, own / path.name)
        rows = self.json("key", "list", code, by=own)
        public = (own / "transport.public").read_text("ascii").strip()
        self.assertEqual([r["transport_key"] for r in rows if "transport_key" in r], [public])
        b = self.new("R")
        self.truc("grant", "add", f"of-{code}", "--from", code, "--to", b[0], "--type", "*", "--basis", "Test Act")
        self.send((code, own), b, "--id", "own")
        self.assertEqual(self.recv(b)[0]["event"]["id"], "own")

    def test_the_public_part_of_a_profile_again(self):
        code, _ = self.new()
        out = self.folder / f"moved-{code}"
        told = self.json("agency", "profile", code, "--out", out, "--endpoint", "tcp://hub.example:5590")
        self.assertEqual(told, {"agency": code, "folder": str(out)})
        self.assertIn('"tcp://hub.example:5590"', (out / "profile.yaml").read_text("utf-8"))
        self.truc("agency", "profile", code, "--out", out, expect=NO)  # nothing is overwritten
        for bad in ("hub.example:5590", "tcp://hub.example", "tcp://:1", 'tcp://a"b:1', "tcp://a:0"):
            with self.subTest(bad):
                self.truc("agency", "profile", code, "--out", self.folder / "bad", "--endpoint", bad, expect=USAGE)
        self.assertFalse((self.folder / "bad").exists())

    def test_a_suspended_agency_is_cut_off_until_it_is_resumed(self):
        a, b = self.two()
        self.truc("agency", "suspend", a[0], "--reason", "audit")
        self.assertEqual(self.json("agency", "show", a[0])["state"], "suspended")
        # Its transport key no longer opens the door, so that the hub is silent to it.
        outside = (UNREACHABLE, REFUSED)
        self.truc("send", "--type", "x.v1", "--recipients", b[0], "--timeout", 2, by=a[1], expect=outside)
        self.truc("agency", "suspend", a[0], expect=REFUSED)
        self.truc("agency", "resume", a[0])
        self.assertEqual(self.json("agency", "show", a[0])["state"], "active")
        self.send(a, b)

    def test_quota(self):
        a, b = self.two()
        done = self.truc("agency", "quota", a[0], "--events-per-s", 2, "--bytes-per-s", 0, "--reason", "a loop")
        self.assertIn(f"{a[0]} may send 2 events and any number of bytes a second", done.stdout)
        shown = self.json("agency", "show", a[0])
        self.assertEqual((shown["quota_events_per_s"], shown["quota_bytes_per_s"]), (2, 0))
        client = self.hub.connect(profile.load(a[1], a[0]).agency)

        def burst(name):
            return client.submit(*[client.event(f"{name}.{i}", "x.v1", recipients=b[0]) for i in range(50)])

        self.assertCodes(burst("first"), *[0] * 50)
        with self.assertRaises(Refused) as caught:
            burst("second")
        self.assertEqual(caught.exception.reason, Reason.QUOTA)
        # 0 takes the limit away, for the very next seal.
        self.truc("agency", "quota", a[0], "--events-per-s", 0, "--bytes-per-s", 0)
        other = self.hub.connect(profile.load(a[1], a[0]).agency)
        for i in range(3):
            ids = [other.event(f"free.{i}.{n}", "x.v1", recipients=b[0]) for n in range(50)]
            self.assertCodes(other.submit(*ids), *[0] * 50)

    def test_quota_names_both_limits_and_an_agency(self):
        code, _ = self.new()
        self.truc("agency", "quota", code, "--events-per-s", 1, expect=USAGE)
        self.truc("agency", "quota", code, "--events-per-s", 1 << 32, "--bytes-per-s", 0, expect=USAGE)
        self.truc("agency", "quota", code, "--events-per-s", -1, "--bytes-per-s", 0, expect=USAGE)
        self.truc("agency", "quota", "NOSUCH", "--events-per-s", 1, "--bytes-per-s", 0, expect=REFUSED)
        for none in ("--no-quota", "--none"):  # the second is an older name of the first
            self.truc("agency", "quota", code, none, "--events-per-s", 1, "--bytes-per-s", 0, expect=USAGE)
        self.assertEqual(self.json("agency", "show", code)["quota_events_per_s"], 1024)
        self.truc("agency", "quota", code, "--none")
        self.assertEqual(self.json("agency", "show", code)["quota_events_per_s"], 0)

    def test_a_new_agency_has_a_quota_unless_it_is_told_otherwise(self):
        def quota(*more):
            code = self.code("Q")
            self.truc("agency", "add", code, "--name", "n", "--profile-out", self.folder / code, *more)
            shown = self.json("agency", "show", code)
            return shown["quota_events_per_s"], shown["quota_bytes_per_s"]

        self.assertEqual(quota(), (1024, 4194304))
        self.assertEqual(quota("--events-per-s", 5), (5, 4194304))
        self.assertEqual(quota("--bytes-per-s", 0), (1024, 0))
        self.assertEqual(quota("--no-quota"), (0, 0))
        self.assertEqual(quota("--role", "auditor"), (1024, 4194304))
        self.assertEqual(quota("--role", "administrator"), (0, 0))
        again = self.folder / "contradiction"
        add = ("agency", "add", self.code(), "--name", "n", "--profile-out", again)
        self.truc(*add, "--no-quota", "--events-per-s", 1, expect=USAGE)
        self.assertFalse(again.exists())

    def test_the_quota_of_the_enrolment_holds_from_the_first_seal_until_it_is_lifted(self):
        code, b = self.code("Q"), self.new("R")
        folder = self.folder / code
        self.truc("agency", "add", code, "--name", "n", "--profile-out", folder, "--events-per-s", 3)
        self.truc("grant", "add", f"of-{code}", "--from", code, "--to", b[0], "--type", "*", "--basis", "Test Act")
        client = self.hub.connect(profile.load(folder, code).agency)

        def burst(name):
            return client.submit(*[client.event(f"{name}.{i}", "x.v1", recipients=b[0]) for i in range(300)])

        self.assertCodes(burst("first"), *[0] * 300)  # one second's tokens, and what is borrowed
        with self.assertRaises(Refused) as caught:
            burst("second")
        self.assertEqual(caught.exception.reason, Reason.QUOTA)
        self.assertIn("any number of events", self.truc("agency", "quota", code, "--no-quota").stdout)
        client = self.hub.connect(profile.load(folder, code).agency)
        self.assertCodes(burst("third"), *[0] * 300)

    def test_the_last_administrator_is_not_suspended_by_a_slip(self):
        rows = self.json("agency", "list")
        admins = [r["agency"] for r in rows if (r["role"], r["state"]) == ("administrator", "active")]
        me = profile.admin_code(self.admin)
        others = [a for a in admins if a != me]
        for other in others:
            self.truc("agency", "suspend", other)
        try:
            sequence = self.json("status")["next_sequence"]
            done = self.truc("agency", "suspend", me, expect=USAGE, stdin="")
            self.assertIn("last administrator", done.stderr)
            self.assertIn("--yes", done.stderr)
            self.assertEqual(self.json("status")["next_sequence"], sequence, "it was not even asked for")
            # With --yes the hub is asked, and it refuses: so does it for the keys of that administrator.
            self.truc("agency", "suspend", me, "--yes", expect=REFUSED)
            for row in self.json("key", "list", me):
                key = [row["keyid"]] if row.get("keyid") else ["--transport-key", row["transport_key"]]
                self.assertIn("last valid", self.truc("key", "revoke", me, *key, expect=USAGE, stdin="").stderr)
                self.truc("key", "revoke", me, *key, "--yes", expect=REFUSED)
        finally:
            for other in others:
                self.truc("agency", "resume", other)


class Keys(Command):
    def test_a_new_signing_key_takes_over_from_a_revoked_one(self):
        a, b = self.two()
        (old,) = [r["keyid"] for r in self.json("key", "list", a[0]) if r.get("keyid")]
        fresh = self.folder / f"new-{a[0]}"
        made = self.json("key", "new", "--out", fresh, by=False)
        self.truc("key", "add", a[0], "--key", fresh / "sign.pub.pem")
        self.truc("key", "revoke", a[0], old, "--reason", "rotation")
        states = {r["keyid"]: r["state"] for r in self.json("key", "list", a[0]) if r.get("keyid")}
        self.assertEqual(states, {old: "revoked", made["keyid"]: "valid"})
        self.truc("key", "revoke", a[0], old, expect=REFUSED)
        shutil.copy(fresh / "sign.pem", a[1] / "sign.pem")
        self.send(a, b)

    def test_transport_keys(self):
        a, _ = self.two()
        made = self.json("key", "new", "--out", self.folder / f"transport-{a[0]}", by=False)
        self.truc("key", "add", a[0], "--transport-key", made["transport_key"])
        rows = self.json("key", "list", a[0])
        self.assertIn(made["transport_key"], [r.get("transport_key") for r in rows])
        self.truc("key", "revoke", a[0], "--transport-key", self.folder / f"transport-{a[0]}" / "transport.public")
        states = {r["transport_key"]: r["state"] for r in self.json("key", "list", a[0]) if r.get("transport_key")}
        self.assertEqual(states[made["transport_key"]], "revoked")
        self.assertGreater(len(self.json("key", "list")), len(rows))

    def test_the_last_key_is_not_revoked_by_a_slip(self):
        a, b = self.two()
        (keyid,) = [r["keyid"] for r in self.json("key", "list", a[0]) if r.get("keyid")]
        done = self.truc("key", "revoke", a[0], keyid, expect=USAGE, stdin="")
        self.assertIn("last valid signing key", done.stderr)
        self.assertIn("--yes", done.stderr)
        self.send(a, b)
        self.truc("key", "revoke", a[0], keyid, "--yes")
        send = ("send", "--type", "x.v1", "--recipients", b[0], "--timeout", 3)
        self.truc(*send, by=a[1], expect=(UNREACHABLE, REFUSED))

    def test_on_a_terminal_it_asks(self):
        a, b = self.two()
        (keyid,) = [r["keyid"] for r in self.json("key", "list", a[0]) if r.get("keyid")]
        command = [build_dir() / "truc", "key", "revoke", a[0], keyid, "--profile", self.admin]
        for answer, expected in ((b"no\n", NO), (b"yes\n", DONE)):
            code, text = on_terminal(command, answer)
            self.assertEqual(code, expected, text)
            self.assertIn("Type yes", text)
            states = {r["state"] for r in self.json("key", "list", a[0]) if r.get("keyid")}
            self.assertEqual(states, {"valid" if expected == NO else "revoked"})

    def test_usage(self):
        self.truc("key", "add", "X", expect=USAGE)
        self.truc("key", "revoke", "X", "nothex", expect=USAGE)
        self.truc("key", "new", "--out", self.folder / "rot13", "--algorithm", "rot13", expect=USAGE)


class Rights(Command):
    def test_without_a_grant_nothing_goes(self):
        a, b = self.new("S"), self.new("R")
        done = self.truc("send", "--type", "x.v1", "--recipients", b[0], by=a[1], expect=REFUSED)
        self.assertIn("NOT_GRANTED", done.stderr)
        name = f"g-{a[0]}"
        self.truc(
            *("grant", "add", name, "--from", a[0], "--to", b[0], "--type", "x.*", "--basis", "Test Act, section 1"),
            *("--receipts", "--valid-until", "2999-01-01T00:00:00Z"),
        )
        (row,) = [r for r in self.json("grant", "list") if r["grant"] == name]
        self.assertEqual((row["from"], row["to"], row["type"]), (a[0], b[0], "x.*"))
        self.assertEqual(row["legal_basis"], "Test Act, section 1")
        self.assertTrue(row["delivery_receipts"])
        self.assertTrue(row["valid_until"].startswith("2999-01-01T00:00:00"))
        self.assertEqual(self.json("grant", "list", "--from", b[0]), [])
        self.send(a, b)
        self.truc("grant", "revoke", name)
        self.truc("send", "--type", "x.v1", "--recipients", b[0], by=a[1], expect=REFUSED)
        self.truc("grant", "revoke", name, expect=REFUSED)

    def test_subscriptions_decide_who_gets_what_names_nobody(self):
        a, b = self.two()
        self.truc("subscription", "add", b[0], "topic.*", "--from", a[0])
        (row,) = self.json("subscription", "list", b[0])
        self.assertEqual((row["agency"], row["type"], row["source_agency"]), (b[0], "topic.*", a[0]))
        self.assertIn(row, self.json("subscription", "list"))
        self.truc("send", "--type", "topic.v1", "--id", "for-subscribers", by=a[1])
        self.assertEqual([d["event"]["id"] for d in self.recv(b)], ["for-subscribers"])
        self.truc("subscription", "remove", b[0], "topic.*", "--from", a[0])
        self.assertEqual(self.json("subscription", "list", b[0]), [])
        self.truc("subscription", "remove", b[0], "topic.*", "--from", a[0], expect=REFUSED)

    def test_an_agency_does_not_govern(self):
        code, folder = self.new()
        self.truc("agency", "suspend", code, by=folder, expect=REFUSED)
        self.assertEqual(self.json("agency", "show", code)["state"], "active")


if __name__ == "__main__":
    unittest.main()
