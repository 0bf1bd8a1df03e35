"""`truc`, everybody's command, run as people run it: the binary, its words, its exit codes."""

import json
import os
import pty
import re
import shutil
import socket
import subprocess
import unittest

from support import HubCase
from trucpy import profile
from trucpy.client import Refused
from trucpy.hub import build_dir
from trucpy.reasons import Reason

# As `truc help` documents them.
DONE, NO, USAGE, UNREACHABLE, REFUSED, DAMAGED = range(6)


def run(*args, stdin=None, **environment):
    """-> CompletedProcess of `truc ARGS`"""
    env = {k: v for k, v in os.environ.items() if k != "TRUC_PROFILE"}
    env.update(environment)
    command = [build_dir() / "truc", *map(str, args)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, env=env, input=stdin)


def on_terminal(command, typed=b""):
    """-> (exit code, what it showed) of a command whose standard input and outputs are a terminal"""
    master, slave = pty.openpty()
    with subprocess.Popen(command, stdin=slave, stdout=slave, stderr=slave) as process:
        os.close(slave)
        os.write(master, typed)
        shown = b""
        try:
            while piece := os.read(master, 65536):
                shown += piece
        except OSError:  # the other side is closed: Linux tells it so
            pass
        os.close(master)
        return process.wait(30), shown.decode("utf-8", "replace").replace("\r\n", "\n")


class Command(HubCase):
    """A hub, the profile of its administrator, and two enrolled agencies for each test that asks."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.folder = cls.hub.folder / "profiles"
        cls.folder.mkdir()
        cls.admin = cls.folder / "admin"
        shutil.copytree(cls.hub.home / "admin-1", cls.admin)
        # The home's hub.yaml asks for any free port; a profile needs the one that it became.
        cls.point_to(cls.admin, cls.hub.endpoint)

    @staticmethod
    def point_to(folder, endpoint):
        path = folder / "profile.yaml"
        path.write_text(re.sub(r"tcp://[0-9.:]+", endpoint, path.read_text("utf-8")), "utf-8")

    def truc(self, *args, by=None, expect=DONE, **more):
        """Runs it and asserts its exit code, or one of a tuple. `by`: a profile folder; None: the administrator's;
        False: none at all."""
        if by is not False:
            more["TRUC_PROFILE"] = str(by or self.admin)
        done = run(*args, **more)
        expected = expect if isinstance(expect, tuple) else (expect,)
        self.assertIn(done.returncode, expected, f"truc {' '.join(map(str, args))}\n{done.stdout}{done.stderr}")
        if done.returncode != DONE:
            self.assertTrue(done.stderr.strip(), "it failed without a word")
        return done

    def json(self, *args, **more):
        """-> what it prints with --json"""
        return json.loads(self.truc(*args, "--json", **more).stdout)

    def lines(self, *args, **more):
        """-> what it prints with --json, one object a line"""
        return [json.loads(line) for line in self.truc(*args, "--json", **more).stdout.splitlines()]

    def home(self, *args, by=False, **more):
        return self.truc(*args, "--home", self.hub.home, by=by, **more)

    def home_json(self, *args, **more):
        return json.loads(self.home(*args, "--json", **more).stdout)

    def new(self, stem="C"):
        """-> (code, profile folder) of an agency that `truc agency add` made"""
        code = self.code(stem)
        folder = self.folder / code
        self.truc("agency", "add", code, "--name", f"Office {code}", "--profile-out", folder)
        return code, folder

    def two(self, type_="*"):
        """-> ((code, folder) of a sender, of a receiver), with a grant between them"""
        a, b = self.new("S"), self.new("R")
        self.truc("grant", "add", f"of-{a[0]}", "--from", a[0], "--to", b[0], "--type", type_, "--basis", "Test Act")
        return a, b

    def send(self, a, b, *more, type_="x.v1", **kw):
        """-> the receipt's row"""
        (row,) = self.json("send", "--type", type_, "--recipients", b[0], *more, by=a[1], **kw)
        return row

    def recv(self, b, count=1):
        return self.lines("recv", "--count", count, by=b[1])


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
        self.truc("agency", "quota", code, "--none", "--events-per-s", 1, "--bytes-per-s", 0, expect=USAGE)
        self.assertEqual(self.json("agency", "show", code)["quota_events_per_s"], 1024)

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
        self.assertIn("any number of events", self.truc("agency", "quota", code, "--none").stdout)
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


class Events(Command):
    def test_what_is_sent_is_received(self):
        a, b = self.two()
        receipt = self.send(a, b, "--subject", "D-1", "--data", '{"n":1.50}', "--id", "e1")
        self.assertEqual((receipt["id"], receipt["outcome"]), ("e1", "accepted"))
        (got,) = self.recv(b)
        self.assertEqual((got["sender"], got["sequence"]), (a[0], receipt["sequence"]))
        self.assertEqual((got["attempt"], got["replay"]), (1, False))
        event = got["event"]
        self.assertEqual((event["id"], event["subject"], event["data"]), ("e1", "D-1", {"n": 1.5}))
        self.assertEqual((event["source"], event["recipients"]), (f"urn:truc:{a[0]}", b[0]))
        # It was acked: it does not come again.
        self.truc("recv", "--idle", 1, by=b[1], expect=NO)

    def test_the_same_id_again_is_a_duplicate_and_delivered_once(self):
        a, b = self.two()
        # Resubmission is the same bytes: the time and salt are given.
        event = {"specversion": "1.0", "id": "once", "source": f"urn:truc:{a[0]}", "type": "x.v1", "recipients": b[0]}
        event.update(time="2026-01-01T00:00:00Z", salt="AAECAwQFBgcICQoLDA0ODw==", data={"a": 1})
        outcomes = [self.json("send", by=a[1], stdin=json.dumps(event))[0]["outcome"] for _ in range(2)]
        self.assertEqual(outcomes, ["accepted", "duplicate"])
        self.assertEqual(self.recv(b)[0]["event"]["id"], "once")
        self.truc("recv", "--idle", 1, by=b[1], expect=NO)

    def test_a_file_of_many_and_one_refused(self):
        a, b = self.two("x.*")
        path = self.folder / "many.ndjson"
        types = ["x.1", "x.2", "other", "x.3"]
        head = {"specversion": "1.0", "source": f"urn:truc:{a[0]}", "recipients": b[0]}
        path.write_text("".join(json.dumps(dict(head, id=t, type=t)) + "\n" for t in types), "utf-8")
        rows = self.json("send", path, by=a[1], expect=REFUSED)
        self.assertEqual([r["outcome"] for r in rows], ["accepted", "accepted", "NOT_GRANTED", "accepted"])
        self.assertEqual([d["event"]["id"] for d in self.recv(b, 3)], ["x.1", "x.2", "x.3"])

    def test_without_an_ack_it_comes_again(self):
        a, b = self.two()
        self.send(a, b, "--id", "twice")
        (first,) = self.lines("recv", "--count", 1, "--no-ack", by=b[1])
        (second,) = self.recv(b)
        self.assertEqual((first["number"], second["event"]["id"]), (second["number"], "twice"))
        self.assertGreater(second["attempt"], first["attempt"])

    def test_usage(self):
        a, b = self.two()
        self.truc("send", "--type", "x.v1", "somefile", by=a[1], expect=USAGE)
        self.truc("send", "--subject", "s", by=a[1], stdin="{}", expect=USAGE)
        self.truc("send", self.folder / "nosuchfile", by=a[1], expect=USAGE)
        self.truc("send", by=a[1], stdin="not json", expect=USAGE)


class DeadLetters(Command):
    def dead(self, count=1):
        """A sender, a receiver and `count` events that its own program rejected -> (receiver, numbers, sequences)"""
        a, b = self.two()
        receipts = [self.send(a, b, "--id", f"bad{i}", type_="x.bad.v1") for i in range(count)]
        client = self.hub.connect(profile.load(b[1], b[0]).agency)
        client.credit(10)
        numbers = []
        for _ in range(count):
            delivery = client.receive_one()
            client.nack(delivery, reject=True, note_text="no such schema here")
            numbers.append(delivery.number)
        self.eventually(lambda: len(client.query("deadletters")) == count, what="the dead letters")
        self.hub.drop_clients()
        return b, numbers, [r["sequence"] for r in receipts]

    def test_list_show_requeue(self):
        b, (number,), (sequence,) = self.dead()
        (row,) = self.json("deadletter", "list", b[0])
        self.assertEqual((row["agency"], row["number"], row["sequence"]), (b[0], number, sequence))
        self.assertEqual(row["note"], "no such schema here")
        self.assertIn(row["number"], [r["number"] for r in self.json("deadletter", "list") if r["agency"] == b[0]])
        shown = self.json("deadletter", "show", b[0], number)
        self.assertEqual((shown["id"], shown["type"]), ("bad0", "x.bad.v1"))
        self.truc("deadletter", "requeue", b[0], number, "--reason", "schema installed")
        (again,) = self.recv(b)
        self.assertEqual((again["event"]["id"], again["number"]), ("bad0", number))
        self.assertEqual(self.json("deadletter", "list", b[0]), [])
        self.assertIn("no dead letters", self.truc("deadletter", "list", b[0]).stdout)

    def test_drop_is_for_good(self):
        b, numbers, _ = self.dead(2)
        self.truc("deadletter", "drop", b[0], *numbers)
        self.assertEqual(self.json("deadletter", "list", b[0]), [])
        self.truc("recv", "--idle", 1, by=b[1], expect=NO)
        self.truc("deadletter", "drop", b[0], numbers[0], expect=REFUSED)
        self.truc("deadletter", "show", b[0], numbers[0], expect=NO)
        self.truc("deadletter", "requeue", b[0], "first", expect=USAGE)


class Watching(Command):
    def test_status(self):
        before = self.json("status")
        self.assertEqual(before["origin"], self.hub.origin)
        self.new()
        after = self.json("status")
        self.assertEqual(after["agencies"], before["agencies"] + 1)
        self.assertEqual(after["next_sequence"], before["next_sequence"] + 1)
        self.assertIn("counters", after)
        self.assertIn(self.hub.origin, self.truc("status").stdout)

    def test_tail_and_log_show_never_tell_contents(self):
        a, b = self.two()
        receipt = self.send(a, b, "--data", '"a secret"', "--subject", "D-secret")
        tail = self.home("tail", "--no-follow", "--last", 1, "--json").stdout
        (row,) = [json.loads(line) for line in tail.splitlines()]
        self.assertEqual((row["sequence"], row["sender"], row["outcome"]), (receipt["sequence"], a[0], "accepted"))
        (shown,) = self.home_json("log", "show", "--from", receipt["sequence"])
        self.assertEqual(shown, row)
        (by_subject,) = self.home_json("log", "show", "--subject", "D-secret")
        self.assertEqual(by_subject, row)
        self.assertEqual(self.home_json("log", "show", "--agency", b[0]), [])
        text = tail + self.home("log", "show", "--agency", a[0]).stdout
        self.assertIn(a[0], text)
        self.assertNotIn("secret", text)

    def test_tail_follows(self):
        a, b = self.two()
        last = self.json("status")["next_sequence"]
        command = [build_dir() / "truc", "tail", "--home", self.hub.home, "--from", str(last), "--count", "2", "--json"]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as tail:
            for i in range(2):
                self.send(a, b, "--id", f"t{i}", type_=f"tail.{i}")
                self.assertEqual(json.loads(tail.stdout.readline())["type"], f"tail.{i}")
            self.assertEqual(tail.wait(30), DONE)


class Governance(Command):
    """`log show` and `tail` say in words who did what to whom."""

    def acts(self, since):
        rows = self.home_json("log", "show", "--from", since)
        return [(r["act"], r["concerns"], r["words"]) for r in rows if "act" in r]

    def test_acts_in_words(self):
        me, since = profile.admin_code(self.admin), self.json("status")["next_sequence"]
        a, b = self.two("land.*")
        self.truc("agency", "suspend", a[0], "--reason", "audit")
        self.truc("agency", "suspend", a[0], expect=REFUSED)
        self.truc("subscription", "add", b[0], "topic.*")
        quota = ", with at most 1024 events and 4194304 bytes a second"
        self.assertEqual(
            self.acts(since),
            [
                ("enrol_agency", a[0], f'{me} enrolled {a[0]} "Office {a[0]}"{quota}'),
                ("enrol_agency", b[0], f'{me} enrolled {b[0]} "Office {b[0]}"{quota}'),
                (
                    *("give_grant", f"of-{a[0]}"),
                    f"{me} allowed {a[0]} to send land.* to {b[0]} (grant of-{a[0]}: Test Act)",
                ),
                ("suspend_agency", a[0], f"{me} suspended {a[0]}; reason: audit"),
                ("suspend_agency", a[0], f"{me} tried to suspend {a[0]}"),
                ("add_subscription", b[0], f"{me} subscribed {b[0]} to topic.*"),
            ],
        )
        self.assertIn(f"{me} suspended {a[0]}; reason: audit", self.home("log", "show", "--from", since).stdout)
        self.assertIn(f"{me} tried to suspend {a[0]}", self.home("tail", "--no-follow", "--last", 2).stdout)
        self.assertIn(f"{me} began the log {self.hub.origin}", self.home("log", "show", "--to", 1).stdout)

    def test_other_events_have_no_act(self):
        a, b = self.two()
        receipt = self.send(a, b)
        (row,) = self.home_json("log", "show", "--from", receipt["sequence"])
        self.assertNotIn("act", row)
        self.assertTrue(self.home("tail", "--no-follow", "--last", 1).stdout.endswith("  accepted\n"))

    def test_tail_has_titles_on_a_terminal_only(self):
        self.new()
        command = [build_dir() / "truc", "tail", "--home", self.hub.home, "--no-follow", "--last", "1"]
        code, text = on_terminal(command)
        self.assertEqual(code, DONE)
        titles, row = text.splitlines()
        self.assertRegex(titles, r"^SEQUENCE +ACCEPTED AT +SENDER +TYPE .* OUTCOME +ACT OF GOVERNANCE$")
        for title, word in (("TYPE", "truc.governance.v1"), ("OUTCOME", "accepted")):
            self.assertEqual(titles.index(title), row.index(word))
        self.assertEqual(len(on_terminal(command + ["--json"])[1].splitlines()), 1)
        self.assertEqual(len(self.home("tail", "--no-follow", "--last", 1).stdout.splitlines()), 1)


class Parameters(Command):
    def test_show_and_set(self):
        before = self.json("parameters", "show")
        self.assertEqual((before["event_bytes"], before["max_attempts"]), (1048576, 10))
        self.truc("parameters", "set", "--event-bytes", 2048, "--max-attempts", 3, "--reason", "small offices")
        after = self.json("parameters", "show")
        self.assertEqual(after, dict(before, event_bytes=2048, max_attempts=3))
        self.assertRegex(self.truc("parameters", "show").stdout, r"(?m)^EVENT BYTES +2048$")
        # They hold: for the sender's own program, and in the log, which says who changed them.
        a, b = self.two()
        self.send(a, b, "--data", '"small"')
        big = ("send", "--type", "x.v1", "--recipients", b[0], "--data", f'"{"x" * 3000}"')
        self.truc(*big, by=a[1], expect=(NO, REFUSED))
        words = self.home("log", "show", "--type", "truc.governance.v1").stdout
        self.assertIn("changed the log's parameters: event_bytes=2048 max_attempts=3; reason: small offices", words)
        self.truc("parameters", "set", "--event-bytes", 1048576, "--max-attempts", 10)
        self.assertEqual(self.json("parameters", "show"), before)
        self.truc("parameters", "show", by=a[1])  # they bind everybody: everybody may look

    def test_wrong_ones(self):
        code, folder = self.new()
        self.truc("parameters", "set", expect=USAGE)
        for option, value in (("event-bytes", 1023), ("event-bytes", 1048577), ("seal-events", 1025), ("hold", 0)):
            with self.subTest(option=option, value=value):
                self.assertIn(" to ", self.truc("parameters", "set", f"--{option}", value, expect=USAGE).stderr)
        self.truc("parameters", "set", "--hold", 5, by=folder, expect=REFUSED)
        before = self.json("parameters", "show")
        self.assertIn("--yes", self.truc("parameters", "set", "--future-skew", 1, expect=USAGE, stdin="").stderr)
        self.assertEqual(self.json("parameters", "show"), before)


class Log(Command):
    def test_verify(self):
        a, b = self.two()
        self.send(a, b)
        found = self.home_json("log", "verify")
        self.assertEqual((found["ok"], found["findings"]), (True, []))
        summary = found["summary"]
        self.assertEqual(summary["events"], self.json("status")["next_sequence"] - 1)
        self.assertTrue(summary["decisions_replayed"] and summary["state_compared"] and summary["state_equal"])
        text = self.home("log", "verify").stdout
        self.assertIn("The log is whole", text)
        self.assertIn("state on disk: equal byte for byte", text)

    def test_verify_refuses_a_note_key_that_is_not_the_logs(self):
        other = self.folder / "other"
        done = run("init", "--home", other, "--origin", self.hub.origin, "--listen", "tcp://127.0.0.1:0")
        self.assertEqual(done.returncode, DONE, done.stderr)
        self.assertRegex(self.truc("log", "verify", "--home", other, by=False).stdout, r"\b1 row, 1 leaf, 1 event,")
        self.home("log", "verify", "--note-key", other / "hub" / "note.key", expect=DAMAGED)

    def test_a_range_as_ndjson(self):
        a, b = self.two()
        receipts = [self.send(a, b, "--id", f"r{i}", "--data", f'{{"n":{i}}}') for i in range(3)]
        out = self.folder / "range.ndjson"
        first, last = receipts[0]["sequence"], receipts[2]["sequence"]
        self.home("log", "export", "--from", first, "--to", last, "--agency", a[0], "-o", out)
        rows = [json.loads(line) for line in out.read_text("utf-8").splitlines()]
        self.assertEqual([r["sequence"] for r in rows], [r["sequence"] for r in receipts])
        self.assertNotIn("event", rows[0])
        done = self.home("log", "export", "--from", first, "--agency", a[0], "--content")
        rows = [json.loads(line) for line in done.stdout.splitlines()]
        self.assertEqual([r["event"]["data"] for r in rows], [{"n": 0}, {"n": 1}, {"n": 2}])
        # Nothing is overwritten.
        self.home("log", "export", "--from", first, "-o", out, expect=NO)
        self.home("log", "export", "--from", last, "--to", first, expect=USAGE)
        self.truc("log", "export", "--from", first, expect=USAGE)


class Evidence(Command):
    def setUp(self):
        super().setUp()
        self.sender, self.receiver = self.two()
        event = ("--id", "proven", "--subject", "D-7", "--data", '{"m2":80}')
        self.receipt = self.send(self.sender, self.receiver, *event)
        self.file = self.folder / f"{self.sender[0]}.evidence"
        self.truc("log", "export", "--sequence", self.receipt["sequence"], "-o", self.file, by=self.sender[1])
        self.note_key = self.hub.home / "hub" / "note.key"

    def verify(self, path, expect=DONE, key=None, note_key=None):
        keys = ("--note-key", note_key or self.note_key, "--agency-key", key or self.sender[1] / "sign.pub.pem")
        return self.truc("verify", path, *keys, "--json", by=False, expect=expect)

    def test_it_proves_what_was_said_and_when(self):
        facts = json.loads(self.verify(self.file).stdout)
        self.assertTrue(facts["verified"])
        self.assertEqual((facts["sender"], facts["log"]), (self.sender[0], self.hub.origin))
        self.assertEqual(facts["outcome"], "accepted")
        self.assertEqual((facts["id"], facts["subject"]), ("proven", "D-7"))
        self.assertEqual(facts["sequence"], self.receipt["sequence"])
        self.assertEqual(facts["accepted_at"], self.receipt["accepted_at"])

    def test_every_altered_part_is_found(self):
        evidence = json.loads(self.file.read_text("utf-8"))
        altered = 0
        for key, value in evidence.items():
            if not isinstance(value, str) or len(value) < 8:
                continue
            with self.subTest(key):
                at = len(value) // 2
                swap = next(c for c in "AB" if c != value[at])
                path = self.folder / f"{self.sender[0]}.{altered}.altered"
                path.write_text(json.dumps(dict(evidence, **{key: value[:at] + swap + value[at + 1 :]})), "utf-8")
                self.verify(path, expect=DAMAGED)
                altered += 1
        self.assertGreaterEqual(altered, 4, list(evidence))

    def test_keys_of_others_prove_nothing(self):
        self.verify(self.file, expect=DAMAGED, key=self.receiver[1] / "sign.pub.pem")
        other = self.folder / f"hub-of-{self.sender[0]}"
        self.assertEqual(run("init", "--home", other, "--origin", self.hub.origin).returncode, DONE)
        self.verify(self.file, expect=DAMAGED, note_key=other / "hub" / "note.key")

    def test_a_strangers_request_is_refused(self):
        _, stranger = self.new()
        out = self.folder / f"stranger-{self.sender[0]}"
        self.truc("log", "export", "--sequence", self.receipt["sequence"], "-o", out, by=stranger, expect=REFUSED)
        self.assertFalse(out.exists())

    def test_usage(self):
        self.truc("verify", self.file, by=False, expect=USAGE)
        self.verify(self.folder / "nosuchfile", expect=USAGE)
        path = self.folder / f"{self.sender[0]}.empty"
        path.write_text("", "utf-8")
        self.verify(path, expect=DAMAGED)


class Replay(Command):
    def setUp(self):
        super().setUp()
        self.sender, self.receiver = self.two("x.*")
        self.receipts = [self.send(self.sender, self.receiver, "--id", f"e{i}", type_=f"x.{i % 2}") for i in range(4)]
        self.truc("send", "--type", "y.v1", "--recipients", self.receiver[0], by=self.sender[1], expect=REFUSED)
        self.assertEqual(len(self.recv(self.receiver, 4)), 4)
        self.range = ("--from", self.receipts[0]["sequence"], "--agency", self.sender[0])

    def test_a_dry_run_only_counts(self):
        sequence = self.json("status")["next_sequence"]
        told = self.home_json("replay", *self.range, "--to-inbox", self.receiver[0], "--dry-run")
        self.assertEqual((told["events"], told["dry_run"], told["not_accepted"]), (4, True, 1))
        self.assertEqual(told["types"], {"x.0": 2, "x.1": 2})
        self.assertEqual(self.json("status")["next_sequence"], sequence)
        self.truc("recv", "--idle", 1, by=self.receiver[1], expect=NO)

    def test_to_an_inbox(self):
        told = self.home_json(
            *("replay", *self.range, "--type", "x.1", "--to-inbox", self.receiver[0], "--reason", "disk lost"),
            by=self.admin,
        )
        self.assertEqual((told["events"], told["dry_run"]), (2, False))
        again = self.recv(self.receiver, 2)
        self.assertEqual([(d["event"]["id"], d["replay"]) for d in again], [("e1", True), ("e3", True)])
        # It is an act of governance: who and why stand in the log.
        behind = self.receipts[3]["sequence"] + 1
        (act,) = self.home_json("log", "show", "--from", behind, "--type", "truc.governance.v1")
        self.assertEqual(act["sequence"], told["receipts"][0]["sequence"])
        self.assertTrue(self.home_json("log", "verify")["ok"])

    def test_to_a_file(self):
        out = self.folder / f"replay-{self.sender[0]}.ndjson"
        self.home("replay", *self.range, "-o", out)
        events = [json.loads(line) for line in out.read_text("utf-8").splitlines()]
        self.assertEqual([e["id"] for e in events], ["e0", "e1", "e2", "e3"])
        self.assertTrue(all(e["specversion"] == "1.0" for e in events))
        # By time, and to the standard output.
        since = self.receipts[2]["accepted_at"]
        done = self.home("replay", "--since", since, "--agency", self.sender[0], "-o", "-")
        self.assertEqual([json.loads(line)["id"] for line in done.stdout.splitlines()], ["e2", "e3"])

    def test_usage(self):
        self.home("replay", "--to-inbox", self.receiver[0], "--reason", "r", expect=USAGE)
        self.home("replay", *self.range, expect=USAGE)
        self.home("replay", *self.range, "--to-inbox", self.receiver[0], expect=USAGE)
        self.home("replay", *self.range, "--to-inbox", "NOSUCH", "--reason", "r", expect=NO)
        self.assertRegex(self.truc("replay", "--help", by=False).stdout, "--from or --since is required")


class ExitCodes(Command):
    def test_help_documents_them(self):
        text = self.truc("help", by=False).stdout
        for code in range(6):
            self.assertRegex(text, rf"(?m)^  {code}  \w")
        self.assertIn("agency quota CODE", text)

    def test_every_command_has_help(self):
        names = re.findall(r"(?m)^  ([a-z]+(?: [a-z]+)?) ", self.truc("help", by=False).stdout)
        self.assertGreater(len(names), 25)
        for name in names:
            with self.subTest(name):
                self.assertTrue(self.truc(*name.split(), "--help", by=False).stdout.startswith(f"usage: truc {name}"))

    def test_options_before_the_command(self):
        done = run("--profile", self.admin, "--json", "--timeout", 20, "agency", "list")
        self.assertEqual(done.returncode, DONE, done.stderr)
        self.assertEqual(json.loads(done.stdout)[0]["role"], "administrator")
        self.assertEqual(run(f"--profile={self.admin}", "agency", "list").returncode, DONE)
        self.assertEqual(run("--home", self.hub.home, "log", "show").returncode, DONE)
        for args in (["--profile"], ["--bogus", "status"], ["--profile", self.admin, "tail"], ["--json"]):
            with self.subTest(args):
                done = run(*args)
                self.assertEqual(done.returncode, USAGE)
                self.assertTrue(done.stderr.strip())

    def test_help_of_one_command_and_of_a_family(self):
        for name in ("agency add", "recv", "parameters set"):
            text = self.truc("help", *name.split(), by=False).stdout
            self.assertEqual(text, self.truc(*name.split(), "--help", by=False).stdout)
            self.assertIn(f"\nExample\n  truc {name}", text)
        family = self.truc("help", "key", by=False).stdout
        self.assertEqual(family, self.truc("key", "--help", by=False).stdout)
        self.assertIn("truc key revoke CODE [KEYID]", family)
        self.truc("help", "nonsense", by=False, expect=USAGE)
        self.truc("nonsense", "--help", by=False, expect=USAGE)

    def test_wrong_usage(self):
        for args in (["nonsense"], ["agency"], ["status", "--bogus"], ["agency", "add"], ["agency", "add", "X"], []):
            with self.subTest(args):
                self.truc(*args, expect=USAGE)
        self.truc("status", by=False, expect=USAGE)
        self.truc("status", by=self.folder / "nosuchprofile", expect=USAGE)
        self.home("log", "show", "--since", "yesterday", expect=USAGE)
        self.truc("log", "verify", "--home", self.folder, by=False, expect=USAGE)

    def test_an_unreachable_hub(self):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))  # bound but not listening: nobody answers there, and nobody else can
            lost = self.folder / "lost"
            shutil.copytree(self.admin, lost)
            self.point_to(lost, f"tcp://127.0.0.1:{free.getsockname()[1]}")
            self.truc("status", "--timeout", 1, by=lost, expect=UNREACHABLE)
            self.truc("agency", "list", "--timeout", 1, by=lost, expect=UNREACHABLE)


if __name__ == "__main__":
    unittest.main()
