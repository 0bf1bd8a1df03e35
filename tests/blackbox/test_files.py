"""truc-files: an agency without programmers sends and receives through folders, and no crash loses or doubles a file."""

import json
import os
import pathlib
import shutil
import signal
import subprocess
import time
import unittest

from files_support import FilesCase, ROOT, event


class Exchange(FilesCase):
    def test_a_file_becomes_an_event_and_a_file_again(self):
        a, b = self.offices()
        a.put("permit.json", event(b.agency.code, "p-1", subject="D-1", data={"price": 1.10, "who": "Trần"}))
        a.once()
        receipt = a.json("out/done", "permit.receipt.json")
        self.assertEqual((receipt["outcome"], receipt["id"], receipt["file"]), ("accepted", "p-1", "permit.json"))
        self.assertEqual(a.sent(), ["permit.json"])
        self.assertEqual(a.names("out") + a.names("out/pending"), [])
        b.once()
        (got,) = b.received()
        self.assertEqual(got["data"], {"price": 1.10, "who": "Trần"})
        self.assertEqual((got["subject"], got["trucsender"]), ("D-1", a.agency.code))
        self.assertEqual(got["trucsequence"], str(receipt["sequence"]))
        self.assertEqual((got["trucattempt"], got["trucreplay"]), (1, False))
        self.assertEqual(b.names("in"), [f"{receipt['sequence']:020}.json"])
        b.once()
        self.assertEqual(len(b.names("in")), 1, "an acknowledged delivery came again")

    def test_defaults_fill_what_the_file_leaves_out(self):
        a, b = self.offices()
        a.config.write_text(
            a.config.read_text() + f"defaults:\n  type: y.v1\n  source: desk\n  recipients: [ {b.agency.code} ]\n"
        )
        a.put("bare.json", '{"specversion":"1.0","data":"x"}')
        a.once()
        b.once()
        (got,) = b.received()
        self.assertEqual((got["type"], got["source"]), ("y.v1", f"urn:truc:{a.agency.code}:desk"))
        self.assertEqual(got["id"], a.json("out/done", "bare.receipt.json")["id"])

    def test_a_refusal_says_why_and_what_to_do(self):
        a, b = self.offices()
        stranger = self.agency("N")
        a.put("no.json", event(stranger.code, "1"))
        a.put("yes.json", event(b.agency.code, "2"))
        a.once(status=1)
        refusal = a.json("out/refused", "no.refused.json")
        self.assertEqual((refusal["outcome"], refusal["reason"], refusal["logged"]), ("refused", "NOT_GRANTED", True))
        self.assertGreater(len(refusal["advice"]), 20)
        self.assertEqual(a.names("out/refused"), ["no.json", "no.refused.json"])
        self.assertEqual(a.sent(), ["yes.json"])

    def test_receipts_can_have_a_folder_of_their_own(self):
        a, b = self.offices(more_a="receipts: notes\n")
        a.put("1.json", event(b.agency.code, "1"))
        a.put("2.json", event("NOBODY.1", "2"))
        a.once(status=1)
        self.assertEqual(a.names("notes"), ["1.receipt.json", "2.refused.json"])
        self.assertEqual((a.names("out/done"), a.names("out/refused")), (["1.json"], ["2.json"]))

    def test_the_same_file_again_is_the_same_event(self):
        a, b = self.offices()
        content = event(b.agency.code)
        for _ in range(2):
            a.put("same.json", content)
            a.once()
        first, again = (a.json("out/done", n) for n in ("same.receipt.json", "same~2.receipt.json"))
        self.assertEqual((first["outcome"], again["outcome"]), ("accepted", "duplicate"))
        self.assertEqual((again["sequence"], again["id"]), (first["sequence"], first["id"]))
        a.put("other.json", content)
        a.once()
        self.assertEqual(a.json("out/done", "other.receipt.json")["outcome"], "accepted", "another name: another event")

    def test_subscriptions_and_names_nobody_can_pretend(self):
        a = self.adapter(self.agency("S"))
        b = self.adapter(self.agency("R"), more="subscriptions: [ news.* ]\n")
        self.hub.grant(a.agency.code, b.agency.code)
        b.once()
        a.put("1.json", {"specversion": "1.0", "type": "news.v1", "trucsender": "H1.EVIL", "data": "x"})
        a.put("2.json", {"specversion": "1.0", "type": "other.v1", "data": "x"})
        a.once(status=None)
        b.once()
        (got,) = b.received()
        self.assertEqual((got["type"], got["trucsender"]), ("news.v1", a.agency.code))

    def test_a_running_adapter_sends_what_arrives_and_stops_when_asked(self):
        a, b = self.offices()
        a.start()
        b.start()
        for i in range(20):
            a.put(f"{i}.json", event(b.agency.code, str(i)))
        self.until(lambda: len(b.names("in")) == 20, "20 in-files")
        self.until(lambda: len(a.receipts()) == 20, "20 receipts")
        self.assertEqual((a.stop(), b.stop()), (0, 0))
        self.assertEqual(a.names("out") + a.names("out/pending"), [])
        self.assertNotIn('"n"', a.log.read_text() + b.log.read_text(), "a payload is in the log")


class Trouble(FilesCase):
    def test_broken_files_go_to_quarantine_with_their_reason(self):
        a, b = self.offices()
        out = a.folder / "out"
        secret = a.folder / "secret.json"
        secret.write_text(json.dumps(event(b.agency.code, "secret")))
        (out / "link.json").symlink_to(secret)
        os.mkfifo(out / "pipe.json")
        (out / "folder.json").mkdir()
        a.put("text.json", b"\xff\xfe not json")
        a.put("empty.json", b"")
        a.put("list.json", "[]")
        a.put("half.json", json.dumps(event(b.agency.code, "1"))[:-5])
        a.put("alien.json", event(b.agency.code, "1", source="urn:truc:H99"))
        a.put("untyped.json", {"specversion": "1.0", "data": 1})
        with open(out / "huge.json", "wb") as file:
            file.truncate(9 << 20)
        a.put("big.json", event(b.agency.code, "2", data="x" * (1 << 20)))
        a.once(status=1)
        reasons = {
            "link.json": "symbolic link",
            "pipe.json": "named pipe",
            "folder.json": "a folder",
            "text.json": "not well-formed JSON",
            "empty.json": "empty",
            "list.json": "not a JSON object",
            "half.json": "not well-formed JSON",
            "alien.json": '"source" is not of this agency',
            "untyped.json": '"type" is missing',
            "huge.json": "it is over",
            "big.json": "the event is over",
        }
        for name, reason in reasons.items():
            with self.subTest(name):
                self.assertIn(reason, a.why(name))
                self.assertTrue(os.path.lexists(a.folder / "quarantine" / name))
        self.assertTrue(secret.exists(), "the link's target was moved")
        self.assertEqual(a.names("out") + a.names("out/pending") + a.sent(), [])
        b.once()
        self.assertEqual(b.received(), [])

    def test_odd_names_are_only_names(self):
        a, b = self.offices()
        names = ["a b'\"$(x).json", "dòng\n2.json", b"\xff\xfe.json", "é" * 120 + ".json", "~1~2.json", "-rf.json"]
        for i, name in enumerate(names):
            a.put(name, event(b.agency.code, str(i)))
        a.once()
        self.assertEqual(len(a.receipts()), len(names))
        self.assertEqual(sorted(a.json("out/done", n)["id"] for n in a.receipts()), [str(i) for i in range(len(names))])
        self.assertIn("dòng\n2.json", a.sent())
        self.assertEqual(len([line for line in a.log.read_text().splitlines() if "event=" not in line]), 0)

    def test_only_whole_json_files_are_touched(self):
        a, b = self.offices(settle="1s")
        out = a.folder / "out"
        others = ["x.json.tmp", "x.json.part", ".hidden.json", "notes.txt", "x.JSON.bak"]
        for name in others:
            (out / name).write_text(json.dumps(event(b.agency.code, name)))
        text = json.dumps(event(b.agency.code, "slow", data="y" * 2000))
        a.start()
        with open(out / "slow.json", "w") as file:
            for at in range(0, len(text), 200):  # a writer who knows nothing of renaming, for longer than it settles
                file.write(text[at : at + 200])
                file.flush()
                self.until(lambda: time.time() - os.stat(out / "slow.json").st_ctime > 0.15, "the next piece", 5)
                self.assertEqual(a.names("quarantine") + a.names("out/pending"), [])
        self.until(a.receipts, "the receipt")
        self.assertEqual(a.stop(), 0)
        self.assertEqual(a.names("quarantine"), [])
        self.assertEqual(sorted(p.name for p in out.iterdir() if p.is_file()), sorted(others))

    def test_without_a_hub_files_wait_and_nothing_is_lost(self):
        a, b = self.offices()
        a.config.write_text(a.config.read_text().replace("wait: 30s", "wait: 500ms"))
        with self.hub.frozen():
            a.put("1.json", event(b.agency.code, "1"))
            a.once(status=3)
            self.assertEqual(a.names("out/pending"), ["1.json"])
        a.config.write_text(a.config.read_text().replace("wait: 500ms", "wait: 30s"))
        a.once()
        self.assertEqual(a.json("out/done", "1.receipt.json")["outcome"], "accepted")

    def test_a_taken_in_file_is_not_written_again_and_a_foreign_one_is_not_covered(self):
        a, b = self.offices()
        a.put("1.json", event(b.agency.code, "1"))
        a.once()
        sequence = a.json("out/done", "1.receipt.json")["sequence"]
        (b.folder / "in" / f"{sequence:020}.json").write_text("mine")
        b.once()
        self.assertEqual((b.folder / "in" / f"{sequence:020}.json").read_text(), "mine")
        self.assertEqual(b.json("in", f"{sequence:020}~2.json")["id"], "1")

    def test_a_full_in_folder_puts_deliveries_back(self):
        a, b = self.offices()
        if subprocess.run(["unshare", "-rm", "true"], capture_output=True).returncode:
            self.skipTest("this machine gives no mount namespace for a small file system")
        for i in range(8):
            a.put(f"{i}.json", event(b.agency.code, str(i), subject="s", data="z" * 60000))
        a.once()
        mount = 'mount -t tmpfs -o size=256k none "$0" && exec "$@"'
        inside = b.folder / "in"
        with open(b.log, "ab") as log:
            b.process = subprocess.Popen(
                ["unshare", "-rm", "sh", "-c", mount, inside, *b.command()], stdout=log, stderr=log
            )
        seen = pathlib.Path(f"/proc/{b.process.pid}/root{inside}")
        self.until(lambda: "event=in_folder_unusable" in b.log.read_text(), "the full disk")
        self.until(lambda: list(seen.glob("*.json")), "the first file")
        subprocess.run(
            ["nsenter", "-t", str(b.process.pid), "-U", "-m", "mount", "-o", "remount,size=8m", inside], check=True
        )
        self.until(lambda: len(list(seen.glob("*.json"))) == 8, "the rest when there is room")
        got = [json.loads(p.read_text())["id"] for p in sorted(seen.glob("*.json"))]
        self.assertEqual(got, [str(i) for i in range(8)])
        self.assertEqual(b.stop(), 0)


class Configuration(FilesCase):
    def test_a_private_key_that_others_can_read_is_refused(self):
        a = self.adapter(self.agency("S"))
        for name in ("sign.pem", "transport.secret"):
            path = a.folder / "profile" / name
            for mode in (0o640, 0o604, 0o620):
                path.chmod(mode)
                said = a.run("--check-config", status=2).stderr
                self.assertIn(f"{name}:0: others can read or write this private key", said)
                self.assertIn(f"chmod 600 {path}", said)
            path.chmod(0o400)
            a.run("--check-config")

    def test_every_error_is_named_with_line_and_key(self):
        a = self.adapter(self.agency("S"))
        a.run("--check-config")
        (a.folder / "file").write_text("x")
        a.config.write_text(
            "profile: profile\nout: out\nin: out\nquarantine: file\nscan: soon\nsubscriptions: [ ok.*, 'No!' ]\nodd: 1\n"
        )
        (a.folder / "profile" / "transport.secret").write_text("short")
        done = a.run("--check-config", status=2)
        for line in (
            ":3: in: should be another folder than out",
            ":4: quarantine:",
            ":5: scan:",
            ':6: subscriptions: "No!"',
            ":7: odd:",
            "transport.secret:1:",
        ):
            self.assertIn(line, done.stderr)
        self.assertFalse((a.folder / "out" / "pending").exists(), "a check made folders")

    def test_the_sample_is_in_order_and_its_event_is_one(self):
        a, sample = self.adapter(self.agency("S")), ROOT / "deploy" / "sample"
        a.config.write_text((sample / "files.yaml").read_text())
        a.run("--check-config")
        lines = [line for line in (sample / "files.yaml").read_text().splitlines() if line.startswith("#  ")]
        text = "\n".join(line.lstrip("#") for line in lines)
        text = text[text.index("{") : text.rindex("}") + 1]
        for event in (json.loads(text), json.loads((sample / "event.json").read_text())):
            event["source"] = f"urn:truc:{a.agency.code}:desk"
            a.put("a.json", event)
            a.once(status=1)  # it is sealed and sent: only that nobody granted it is wrong
            self.assertEqual(a.names("quarantine"), [])
            self.assertEqual(a.names("out/refused"), ["a.json", "a.refused.json"])
            shutil.rmtree(a.folder / "out" / "refused")

    def test_the_profile_is_checked_too(self):
        a = self.adapter(self.agency("S"))
        (a.folder / "profile" / "transport.secret").write_text("short")
        self.assertIn("transport.secret:1:", a.run("--check-config", status=2).stderr)
        self.assertIn("usage:", a.run("--nonsense", status=2).stderr)

    def test_a_second_adapter_on_one_spool_is_turned_away(self):
        a = self.adapter(self.agency("S"))
        a.start()
        self.until(lambda: "event=ready" in a.log.read_text(), "the first one")
        self.assertIn("another process", a.once(status=3).stderr)
        self.assertEqual(a.stop(), 0)


class Remains(FilesCase):
    """Each state in which a crash can leave the folders, made by hand, so that none depends on luck."""

    def test_a_claimed_file_is_sent_and_one_with_its_receipt_only_moves(self):
        a, b = self.offices()
        a.put("1.json", event(b.agency.code, "1"))
        a.once()
        done = a.folder / "out" / "done"
        before = (done / "1.receipt.json").read_bytes()
        os.rename(done / "1.json", a.folder / "out" / "pending" / "1.json")  # the receipt was written, no more
        (a.folder / "out" / "pending" / "2.json").write_text(json.dumps(event(b.agency.code, "2")))  # claimed, no more
        a.once()
        self.assertEqual(a.sent(), ["1.json", "2.json"])
        self.assertEqual((done / "1.receipt.json").read_bytes(), before)
        self.assertEqual(a.json("out/done", "2.receipt.json")["outcome"], "accepted")
        self.assertIn("accepted=1 duplicates=0", a.log.read_text().splitlines()[-1])

    def test_a_receipted_event_whose_receipt_file_is_lost_is_a_duplicate_of_itself(self):
        a, b = self.offices()
        a.put("1.json", event(b.agency.code))  # without an id: the adapter must make the same one
        a.once()
        first = a.json("out/done", "1.receipt.json")
        (a.folder / "out" / "done" / "1.receipt.json").unlink()
        os.rename(a.folder / "out" / "done" / "1.json", a.folder / "out" / "pending" / "1.json")
        a.once()
        again = a.json("out/done", "1.receipt.json")
        self.assertEqual((again["outcome"], again["sequence"]), ("duplicate", first["sequence"]))
        b.once()
        self.assertEqual(len(b.names("in")), 1)

    def test_what_the_spool_still_owes_is_waited_for_and_not_sent_twice(self):
        a, b = self.offices()
        a.start()
        self.until(lambda: "state=open" in a.log.read_text(), "the session")
        with self.hub.frozen():
            for i in range(5):
                a.put(f"{i}.json", event(b.agency.code, subject="s", data=str(i)))
            self.until(lambda: len(a.names("out/pending")) == 5, "the claims")
            self.until(lambda: a.names("out") == [], "the empty folder")
            a.stop(signal.SIGTERM)  # in order: all are in the spool, none has its receipt
        for i in range(5, 9):
            a.put(f"{i}.json", event(b.agency.code, subject="s", data=str(i)))
        a.once()
        self.assertEqual(len(a.receipts()), 9)
        self.assertIn("accepted=9 duplicates=0", a.log.read_text().splitlines()[-1])
        b.once()
        self.assertEqual([e["data"] for e in b.received()], [str(i) for i in range(9)], "the order of a subject")

    def test_deliveries_listed_as_shown_are_acked_staged_ones_are_shown(self):
        a, b = self.offices()
        for i in range(3):
            a.put(f"{i}.json", event(b.agency.code, str(i), data=str(i)))
        a.once()
        sequences = [a.json("out/done", f"{i}.receipt.json")["sequence"] for i in range(3)]
        staging = b.folder / "in" / ".truc"
        staging.mkdir()
        (staging / f"{2:020}.json").write_text('{"data":"staged"}')
        (staging / f"{3:020}.json").write_text('{"data":"half writ')  # not listed: made anew
        lines = [f"{n} {sequences[n - 1]}\n" for n in (1, 2)]
        (staging / "published").write_text("truc-files published 1\n" + "".join(lines) + "end 2\n")
        b.once()
        self.assertEqual([e["data"] for e in b.received()], ["staged", "2"])
        b.once()
        self.assertEqual(len(b.names("in")), 2, "the first was not acked")
        self.assertEqual([p.name for p in staging.iterdir()], ["published"])

    def test_a_damaged_list_stops_the_start_and_says_so(self):
        a = self.adapter(self.agency("S"))
        (a.folder / "in" / ".truc").mkdir()
        (a.folder / "in" / ".truc" / "published").write_text("truc-files published 1\n7 7\n")
        self.assertIn("published is damaged", a.once(status=2).stderr)


if __name__ == "__main__":
    unittest.main()
