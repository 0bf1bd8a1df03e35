"""`truc` in daily use: events sent and received, dead letters, the hub watched, help and exit codes."""

import json
import re
import shutil
import socket
import subprocess
import unittest

from command_support import DONE, NO, REFUSED, UNREACHABLE, USAGE, Command, run
from trucpy import profile
from trucpy.client import Refused
from trucpy.hub import build_dir


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

    def test_status_counts_refusals_of_events_and_of_seals_by_reason(self):
        a, b = self.two("x.*")
        before = self.json("status")
        for i in range(3):
            self.truc("send", "--type", "other.v1", "--id", f"no{i}", "--recipients", b[0], by=a[1], expect=REFUSED)
        after = self.json("status")
        refused = [s["events_refused"].get("NOT_GRANTED", 0) for s in (before, after)]
        self.assertEqual(refused[1], refused[0] + 3)
        self.assertEqual(after["seals_refused"], before["seals_refused"])
        # A whole seal, for its quota: it is not in the log, and counted beside them.
        self.truc("agency", "quota", a[0], "--events-per-s", 1, "--bytes-per-s", 0)
        client = self.hub.connect(profile.load(a[1], a[0]).agency)
        with self.assertRaises(Refused):
            for n in range(4):
                client.submit(*[client.event(f"{n}.{i}", "x.v1", recipients=b[0]) for i in range(300)])
        last = self.json("status")
        self.assertEqual(last["seals_refused"]["QUOTA"], before["seals_refused"].get("QUOTA", 0) + 1)
        self.assertEqual(last["events_refused"], after["events_refused"])
        text = self.truc("status").stdout
        self.assertRegex(text, r"(?m)^  refused     seals and sessions, not in the log: .*\b[1-9][0-9,]* QUOTA\b")
        self.assertRegex(text, rf"(?m)^  refused     events, with proof in the log: .*\b{refused[1]} NOT_GRANTED\b")

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
