"""`truc send` and `truc status` as people meet them: the same command twice, broken input, a hub that says wait."""

import base64
import json
import os
import re
import shutil
import unittest

from command_support import REFUSED, UNREACHABLE, USAGE, Command
from support import configured
from trucpy import profile
from trucpy.reasons import Reason


class TheSameAgain(Command):
    """A person, or a script after a crash, sends the same thing again: it is the same event."""

    def test_the_same_command_with_an_id_is_a_duplicate(self):
        a, b = self.two()
        first = self.send(a, b, "--id", "once", "--data", '{"n":1}')
        again = self.send(a, b, "--id", "once", "--data", '{"n":1}')
        self.assertEqual((first["outcome"], again["outcome"]), ("accepted", "duplicate"))
        self.assertEqual(again["sequence"], first["sequence"])
        (got,) = self.recv(b)
        self.assertNotIn("time", got["event"], "the moment of the command would make it another event")

    def test_a_time_that_is_said_is_part_of_it(self):
        a, b = self.two()
        more = ("--id", "timed", "--time", "2026-02-03T04:05:06Z")
        self.assertEqual([self.send(a, b, *more)["outcome"] for _ in range(2)], ["accepted", "duplicate"])
        self.assertEqual(self.recv(b)[0]["event"]["time"], "2026-02-03T04:05:06Z")
        done = self.truc("send", "--type", "x.v1", "--recipients", b[0], "--id", "timed", by=a[1], expect=REFUSED)
        self.assertIn("ID_CONFLICT", done.stderr)

    def test_other_content_under_the_id_is_a_conflict(self):
        a, b = self.two()
        self.send(a, b, "--id", "one", "--data", "1")
        done = self.truc(
            "send", "--type", "x.v1", "--recipients", b[0], "--id", "one", "--data", "2", by=a[1], expect=REFUSED
        )
        self.assertIn("ID_CONFLICT", done.stderr)

    def test_without_an_id_each_is_an_event_of_its_own(self):
        a, b = self.two()
        rows = [self.send(a, b, "--data", "1") for _ in range(2)]
        self.assertEqual([r["outcome"] for r in rows], ["accepted", "accepted"])
        self.assertNotEqual(rows[0]["id"], rows[1]["id"])

    def test_a_file_again(self):
        a, b = self.two()
        path = self.folder / f"{a[0]}.ndjson"
        rows = [{"id": f"e{i}", "type": "x.v1", "recipients": b[0], "data": i} for i in range(3)]
        path.write_text("\n".join(map(json.dumps, rows)), "utf-8")
        for outcome in "accepted", "duplicate":
            self.assertEqual([r["outcome"] for r in self.json("send", path, by=a[1])], [outcome] * 3)
        self.assertEqual(len(self.recv(b, 3)), 3)

    def test_the_hash_of_an_event_tells_nothing_to_who_knows_its_content(self):
        """The salt is derived, but nobody else can: two agencies' salts of one id differ, and so do those of two ids."""
        a, b = self.two()
        salts = []
        for sender, event in ((a, "x"), (a, "y"), (self.other(b), "x")):
            self.send(sender, b, "--id", event)
            salts.append(self.recv(b)[0]["event"]["salt"])
        self.assertEqual(len(set(salts)), 3)
        secret = a[1] / "spool" / "send.key"
        self.assertEqual((secret.stat().st_size, secret.stat().st_mode & 0o777), (32, 0o600))
        secret.write_bytes(b"short")
        done = self.truc("send", "--type", "x.v1", "--recipients", b[0], "--id", "z", by=a[1], expect=USAGE)
        self.assertIn("send.key", done.stderr)

    def other(self, receiver):
        new = self.new("S")
        self.truc("grant", "add", f"of-{new[0]}", "--from", new[0], "--to", receiver[0], "--type", "*", "--basis", "Act")
        return new


class Data(Command):
    def refused(self, a, b, *data):
        done = self.truc("send", "--type", "x.v1", "--recipients", b[0], *data, by=a[1], expect=USAGE)
        self.truc("recv", "--idle", 1, by=b[1], expect=1)
        return done.stderr

    def test_broken_json_is_not_quietly_text(self):
        a, b = self.two()
        said = self.refused(a, b, "--data", '{"n": 1,\n "m" 2}')
        self.assertRegex(said, r"--data is not JSON: line 2, column \d+")
        self.assertIn("--content-type text/plain", said)
        self.refused(a, b, "--data", "plain words")
        self.refused(a, b, "--data", '{"n":1', "--content-type", "application/ld+json; charset=utf-8")

    def test_a_content_type_says_what_it_is(self):
        a, b = self.two()
        raw = self.folder / f"{a[0]}.bin"
        raw.write_bytes(b"\xff\x00\x80")
        self.send(a, b, "--data", "{not json", "--content-type", "text/plain")
        self.send(a, b, "--data", f"@{raw}", "--content-type", "image/png")
        self.send(a, b, "--data", '[1.50]', "--content-type", "application/ld+json")
        text, binary, linked = (got["event"] for got in self.recv(b, 3))
        self.assertEqual((text["data"], text["datacontenttype"]), ("{not json", "text/plain"))
        self.assertEqual(base64.b64decode(binary["data_base64"]), b"\xff\x00\x80")
        self.assertEqual((linked["data"], linked["datacontenttype"]), ([1.5], "application/ld+json"))

    def test_usage(self):
        a, _ = self.two()
        self.truc("send", "--type", "x.v1", "--content-type", "text/plain", by=a[1], expect=USAGE)
        self.truc("send", "--time", "2026-01-01T00:00:00Z", by=a[1], stdin="{}", expect=USAGE)
        self.truc("send", "--type", "x.v1", "--time", "yesterday", by=a[1], expect=USAGE)


class BrokenFiles(Command):
    """File and line are named, and nothing of the file is sent."""

    def broken(self, text, pattern):
        a, b = self.two()
        path = self.folder / f"{a[0]}.ndjson"
        path.write_text(text, "utf-8")
        done = self.truc("send", path, by=a[1], expect=USAGE)
        self.assertRegex(done.stderr, re.escape(str(path)) + ": " + pattern)
        self.assertEqual(done.stdout, "")
        self.truc("recv", "--idle", 1, by=b[1], expect=1)

    def test_not_json(self):
        good = '{"type":"x.v1","recipients":"R1","data":1}\n'
        self.broken(good + good + '{"type": "x.v1" "data":1}\n', r"line 3, column \d+ \(behind event 2\): not JSON")
        self.broken("\n\n  nonsense", r"line 3, column \d+ \(behind event 0\): not JSON")
        self.broken(good + '{"type":\n"x.v1",\n', r"line 4, column \d+")

    def test_not_an_event(self):
        good = '{"type":"x.v1","recipients":"R1","data":1}\n'
        self.broken(good + '{"type":"Not A Type"}\n', r"line 2: event 2 is not a CloudEvents JSON object")
        self.broken(good + "\n[1]\n", r"line 3: event 2 is not a JSON object")
        self.broken(" \n\n", r"there is no event in it")

    def test_the_standard_input_has_a_name_too(self):
        a, _ = self.two()
        done = self.truc("send", by=a[1], stdin="{", expect=USAGE)
        self.assertIn("standard input: line 1, column", done.stderr)


class Waiting(Command):
    def test_a_quota_is_said_once_and_its_end_too(self):
        a, b = self.two()
        self.truc("agency", "quota", a[0], "--events-per-s", 20, "--bytes-per-s", 0)
        rows = [{"type": "x.v1", "recipients": b[0], "data": i} for i in range(60)]
        text = "\n".join(map(json.dumps, rows))
        self.truc("send", by=a[1], stdin=text)  # a second's worth, and what is borrowed
        done = self.truc("send", by=a[1], stdin=text)
        said = done.stderr.splitlines()
        waiting = [line for line in said if "waiting since" in line]
        self.assertEqual(len(waiting), 1, done.stderr)
        self.assertRegex(waiting[0], r"truc send: waiting since \S+Z: QUOTA\. .*quota.*It is sent again by itself")
        self.assertEqual(sum("what was in the way is over" in line for line in said), 1)
        self.assertEqual(len(self.recv(b, 120)), 120)


class Requeued(Command):
    def test_recv_marks_what_was_a_dead_letter(self):
        a, b = self.two()
        sent = self.send(a, b, "--id", "bad")
        client = self.hub.connect(profile.load(b[1], b[0]).agency)
        client.credit(10)
        delivery = client.receive_one()
        client.nack(delivery, reject=True, note_text="no such schema here")
        self.eventually(lambda: client.query("deadletters"), what="the dead letter")
        self.hub.drop_clients()
        self.truc("deadletter", "requeue", b[0], delivery.number)
        self.send(a, b, "--id", "news")
        first, second = sorted(self.recv(b, 2), key=lambda got: got["number"])
        self.assertEqual((first["sequence"], first["requeued"], first["replay"]), (sent["sequence"], True, False))
        self.assertGreater(first["attempt"], 1)
        self.assertEqual((second["requeued"], second["attempt"]), (False, 1))


class Status(Command):
    STORAGE = {"journal": "40 MiB", "reserve": "20 MiB", "state": "64 MiB"}
    LIMITS = {"total_bytes": "5 MiB", "session_bytes": "5 MiB"}
    hub_options = {"config": configured(storage=STORAGE, limits=LIMITS)}

    def test_a_full_disk_is_said_with_what_to_do(self):
        well = self.truc("status").stdout
        self.assertIn(f"The hub of {self.hub.origin} (version ", well)
        self.assertIn(") is well, for ", well)
        self.assertNotIn("_", well.replace(self.hub.origin, ""), "names of fields are for programs")
        a, b = self.two()
        self.truc("agency", "quota", a[0], "--none")
        path = self.folder / "large.json"
        event = {"type": "x.v1", "recipients": b[0], "data_base64": base64.b64encode(os.urandom(700000)).decode()}
        path.write_text("\n".join([json.dumps(event)] * 60), "utf-8")
        done = self.truc("send", path, "--timeout", 2, by=a[1], expect=UNREACHABLE)
        self.assertIn(Reason.STORAGE_FULL.name, done.stderr)
        self.assertIn("stays in the spool", done.stderr)
        self.fill(b)
        self.eventually(lambda: self.json("status")["storage_full"], what="a full disk")
        full = self.truc("status").stdout
        self.assertTrue(full.startswith("STORAGE FULL: no new events are taken"), full)
        self.assertIn("storage.journal", full)
        self.assertNotIn("is well", full)
        self.assertRegex(full, r"refused .*STORAGE_FULL")

    def fill(self, receiver):
        """The large ones did not fit any more; these take what is left."""
        client = self.hub.connect(self.agency("F"))
        self.hub.grant(client.agency.code, receiver[0])
        for size in (90000, 1):
            for i in range(60):
                event = client.event(f"{size}.{i}", "x.v1", recipients=receiver[0], data=os.urandom(size))
                sealed = client.chain.seal([event], commit=False)
                client.send_seal(sealed)
                client.wait_until(lambda: sealed.digest in client.receipts or sealed.digest in client.refusals)  # noqa
                if sealed.digest in client.refusals:
                    break
                client.chain.number, client.chain.head = sealed.seal.number, sealed.digest
            self.assertEqual(client.refusals[sealed.digest].reason, Reason.STORAGE_FULL)

    def test_a_hub_that_is_not_there(self):
        nowhere = self.folder / "nowhere"
        nowhere.mkdir()
        for file in self.admin.iterdir():
            if file.is_file():
                shutil.copy(file, nowhere)  # the mode as well: private keys are nobody else's
        self.point_to(nowhere, "tcp://127.0.0.1:1")
        done = self.truc("status", "--timeout", 1, by=nowhere, expect=UNREACHABLE)
        self.assertIn("truc log verify --home", done.stderr)


if __name__ == "__main__":
    unittest.main()
