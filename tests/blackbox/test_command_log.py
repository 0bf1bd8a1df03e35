"""`truc` on the log: acts in words, verification, exports, evidence, replays."""

import json
import unittest

from command_support import DAMAGED, DONE, NO, REFUSED, USAGE, Command, on_terminal, run
from trucpy import profile
from trucpy.hub import build_dir


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


if __name__ == "__main__":
    unittest.main()
