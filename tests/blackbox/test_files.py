"""truc-files: an agency without programmers sends and receives through folders, and no crash loses or doubles a file."""

import json
import os
import pathlib
import random
import shutil
import signal
import subprocess
import tempfile
import time
import unittest

from cryptography.hazmat.primitives import serialization
from support import HubCase
from trucpy.hub import build_dir
from trucpy.reasons import Reason

ROOT = pathlib.Path(__file__).resolve().parents[2]
PROFILE = """agency: {code}
origin: {origin}
endpoints: [ "{endpoint}" ]
spool: spool
"""
CONFIG = """profile: profile
out: out
in: in
quarantine: quarantine
scan: 200ms
settle: {settle}
retry: 300ms
once:
  idle: 1s
  wait: 30s
log_level: debug
{more}"""


class Adapter:
    """The folders of one agency, and the process beside them."""

    def __init__(self, hub, agency, more="", settle="0s"):
        self.hub, self.agency, self.process = hub, agency, None
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="truc-files-"))
        self.log = self.folder / "log"
        (self.folder / "profile").mkdir()
        self.write_profile()
        self.config = self.folder / "files.yaml"
        self.config.write_text(CONFIG.format(settle=settle, more=more))
        for name in ("out", "in", "quarantine"):
            (self.folder / name).mkdir()

    def configure(self, old, new):
        text = self.config.read_text()
        assert old in text
        self.config.write_text(text.replace(old, new))

    def write_profile(self):
        profile, agency = self.folder / "profile", self.agency
        pem = agency.private.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        (profile / "sign.pem").write_bytes(pem)
        (profile / "transport.public").write_bytes(agency.transport[0] + b"\n")
        (profile / "transport.secret").write_bytes(agency.transport[1] + b"\n")
        for secret in ("sign.pem", "transport.secret"):
            (profile / secret).chmod(0o600)
        (profile / "hub.public").write_bytes(self.hub.server_key + b"\n")
        shutil.copy(self.hub.home / "admin-1" / "note.key", profile / "note.key")
        self.follow_hub()

    def follow_hub(self):
        """The hub listens on another port after a restart."""
        text = PROFILE.format(code=self.agency.code, origin=self.hub.origin, endpoint=self.hub.endpoint)
        (self.folder / "profile" / "profile.yaml").write_text(text)

    # -- the process
    def command(self, *arguments):
        return [build_dir() / "truc-files", "--config", self.config, *arguments]

    def run(self, *arguments, status=0, timeout=90):
        done = subprocess.run(self.command(*arguments), capture_output=True, text=True, timeout=timeout)
        with open(self.log, "a") as log:
            log.write(done.stderr)
        if status is not None and done.returncode != status:
            raise AssertionError(f"truc-files: {done.returncode} instead of {status}\n{done.stdout}{done.stderr}")
        return done

    def once(self, status=0):
        return self.run("--once", status=status)

    def start(self):
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen(self.command(), stdout=log, stderr=log)

    def stop(self, how=signal.SIGTERM, timeout=30):
        self.process.send_signal(how)
        status = self.process.wait(timeout)
        self.process = None
        return status

    def close(self):
        if self.process is not None:
            self.stop(signal.SIGKILL)
        if os.environ.get("TRUC_TEST_KEEP") is None:
            shutil.rmtree(self.folder, ignore_errors=True)

    # -- the folders
    def put(self, name, content):
        """As the manual says: written under a hidden name, then renamed."""
        if not isinstance(content, bytes):
            content = (content if isinstance(content, str) else json.dumps(content)).encode()
        out = os.fsencode(self.folder / "out")
        name = os.fsencode(name)
        hidden = os.path.join(out, b"." + name[:100] + b".tmp")
        with open(hidden, "wb") as file:
            file.write(content)
        os.rename(hidden, os.path.join(out, name))

    def names(self, folder):
        return sorted(p.name for p in (self.folder / folder).glob("*.json"))

    def json(self, folder, name):
        return json.loads((self.folder / folder / name).read_text())

    def receipts(self):
        return [n for n in self.names("out/done") if n.endswith(".receipt.json")]

    def sent(self):
        return [n for n in self.names("out/done") if not n.endswith(".receipt.json")]

    def received(self):
        return [self.json("in", n) for n in self.names("in")]

    def why(self, name):
        return (self.folder / "quarantine" / f"{name}.why").read_text()


def event(to, event_id=None, type_="x.v1", **more):
    made = {"specversion": "1.0", "type": type_, "recipients": to, "data": {"n": 1}, **more}
    return made if event_id is None else dict(made, id=event_id)


class FilesCase(HubCase):
    def adapter(self, agency, **kw):
        made = Adapter(self.hub, agency, **kw)
        self.addCleanup(made.close)
        return made

    def offices(self, more_a="", more_b="", **kw):
        """-> two adapters; the first may send to the second"""
        a, b = self.agency("S"), self.agency("R")
        self.hub.grant(a.code, b.code)
        return self.adapter(a, more=more_a, **kw), self.adapter(b, more=more_b, **kw)

    def until(self, probe, what, timeout=60.0):
        deadline = time.monotonic() + timeout
        while not (got := probe()):
            self.assertLess(time.monotonic(), deadline, f"{what} did not come within {timeout} s")
            time.sleep(0.02)  # files appear in another process; there is nothing to wait on but the folder
        return got


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


class Order(FilesCase):
    """The steps of a dossier go out in the order of their files: by modification time, then name."""

    def step(self, a, b, number, name=None, at=None):
        path = f"{number}.json" if name is None else name
        a.put(path, event(b.agency.code, subject="dossier", data=number))
        if at is not None:
            os.utime(a.folder / "out" / path, ns=(at, at))

    def steps_at(self, b):
        b.once()
        return [e["data"] for e in b.received()]

    def test_what_lay_there_at_the_start_is_not_overtaken(self):
        a, b = self.offices(settle="1s")
        self.step(a, b, 1)
        a.start()
        self.until(lambda: "event=ready" in a.log.read_text(), "the start")
        for i in range(2, 6):
            self.step(a, b, i)
        self.until(lambda: len(a.receipts()) == 5, "the receipts")
        self.assertEqual(a.stop(), 0)
        self.assertEqual(self.steps_at(b), [1, 2, 3, 4, 5])

    def test_what_found_no_room_is_not_overtaken(self):
        a, b = self.offices(settle="2s")
        a.configure("scan: 200ms", "scan: 2s\nin_flight: 2")
        a.start()
        self.until(lambda: "state=open" in a.log.read_text(), "the session")
        with self.hub.frozen():
            for i in range(6):
                self.step(a, b, i)
            self.until(lambda: len(a.names("out/pending")) == 2, "the claims")
        self.until(lambda: len(a.receipts()) >= 2, "the first receipts: there is room again")
        self.step(a, b, 6)
        self.until(lambda: len(a.receipts()) == 7, "the receipts")
        self.assertEqual(a.stop(), 0)
        self.assertEqual(self.steps_at(b), list(range(7)))

    def test_time_before_name_and_names_within_one_time(self):
        a, b = self.offices()
        for number, name, at in ((2, "b.json", 5), (3, "a.json", 6), (1, "a2.json", 5), (0, "z.json", 4)):
            self.step(a, b, number, name, at * 10**18 // 10)
        a.once()
        self.assertEqual(self.steps_at(b), [0, 1, 2, 3])

    def test_what_was_claimed_before_a_crash_goes_before_anything_newer(self):
        a, b = self.offices()
        for i in range(6):
            self.step(a, b, i, at=(1000 + i) * 10**9)
        for i in (4, 2, 0):  # what a run claimed and did not submit; renamed in another order
            os.rename(a.folder / "out" / f"{i}.json", a.folder / "out" / f"{i}.moved")
        (a.folder / "out" / "pending").mkdir()
        for i in (4, 2, 0):
            os.rename(a.folder / "out" / f"{i}.moved", a.folder / "out" / "pending" / f"{i}.json")
        a.once()
        self.assertEqual(self.steps_at(b), [0, 2, 4, 1, 3, 5])

    def test_a_writer_that_never_ends_holds_up_nobody_for_ever(self):
        a, b = self.offices(settle="500ms")
        a.start()
        self.until(lambda: "state=open" in a.log.read_text(), "the session")
        with open(a.folder / "out" / "slow.json", "w") as file:
            self.step(a, b, 1)

            def went_on():
                file.write(" ")
                file.flush()
                return a.receipts()

            self.until(went_on, "the receipt of the file that came after it", 20)
            self.assertEqual(a.names("out"), ["slow.json"])
        self.assertEqual(a.stop(), 0)


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


class Once(FilesCase):
    def test_quiet_is_not_empty_what_the_hub_gives_again_later_is_waited_for(self):
        a, b = self.offices()
        b.configure("idle: 1s", "idle: 100ms")
        a.put("1.json", event(b.agency.code, "1"))
        a.once()
        self.give_back(b, 3000)
        b.once()
        (got,) = b.received()
        self.assertEqual((got["id"], got["trucattempt"]), ("1", 2))
        self.assertNotIn("inbox_not_empty", b.log.read_text())

    def test_what_does_not_come_is_left_with_a_word(self):
        a, b = self.offices()
        b.configure("idle: 1s", "idle: 100ms")
        b.configure("wait: 30s", "wait: 1s")
        a.put("1.json", event(b.agency.code, "1"))
        a.once()
        self.give_back(b, 600_000)
        b.once()
        self.assertEqual(b.received(), [])
        self.assertIn("event=inbox_not_empty events=1", b.log.read_text())

    def give_back(self, adapter, delay_ms):
        with self.hub.connect(adapter.agency) as office:
            office.credit(1)
            office.nack(office.receive_one(), delay_ms=delay_ms)
            office.query_page("inbox")  # the hub has read what came before it


class Killed(FilesCase):
    """SIGKILL at any moment: at the end every file has one receipt, and every delivery one in-file."""

    FILES = 60

    def fill(self, a, b, round_, start=0):
        for i in range(start, self.FILES):
            name = f"{round_}.{i}"
            # With and without an id: the adapter must make the same one again.
            a.put(f"{name}.json", event(b.agency.code, None if i % 2 else name, subject=f"s{i % 7}", data=name))

    def check(self, a, b, rounds):
        names = sorted(f"{r}.{i}" for r in range(rounds) for i in range(self.FILES))
        self.assertEqual(a.names("out") + a.names("out/pending") + a.names("quarantine") + a.names("out/refused"), [])
        self.assertEqual(sorted(n[:-5] for n in a.sent()), names)
        self.assertEqual(sorted(n[: -len(".receipt.json")] for n in a.receipts()), names)
        got = b.received()
        self.assertEqual(sorted(e["data"] for e in got), names, "a delivery is missing or doubled")
        receipts = {a.json("out/done", n)["sequence"]: n for n in a.receipts()}
        self.assertEqual(len(receipts), len(names), "two files share a sequence")
        self.assertEqual(sorted(receipts), sorted(int(e["trucsequence"]) for e in got))

    def kill_at(self, rng, adapter, progress, target):
        """Ends it when `progress` files have come that far, which is a random place in its work."""
        self.until(lambda: progress() >= target or adapter.process.poll() is not None, "progress before the kill")
        for _ in range(rng.randrange(2000)):
            pass
        self.assertEqual(adapter.stop(signal.SIGKILL), -signal.SIGKILL)

    def test_the_sender_dies_again_and_again(self):
        a, b = self.offices()
        rng = random.Random(1)
        for round_ in range(10):
            a.start()
            done = len(a.receipts())
            self.fill(a, b, round_)
            self.kill_at(rng, a, lambda: len(a.receipts()) - done, rng.randrange(self.FILES))
        a.once()
        b.once()
        self.check(a, b, 10)

    def test_the_receiver_dies_again_and_again(self):
        a, b = self.offices()
        rng = random.Random(2)
        for round_ in range(10):
            self.fill(a, b, round_)
            a.once()
            b.start()
            done = len(b.names("in"))
            self.kill_at(rng, b, lambda: len(b.names("in")) - done, rng.randrange(self.FILES))
        b.once()
        self.check(a, b, 10)

    def test_a_reader_who_takes_files_away_at_once_gets_none_twice(self):
        a, b = self.offices()
        rng = random.Random(3)
        taken = []

        def take():
            for path in (b.folder / "in").glob("*.json"):
                taken.append(json.loads(path.read_text())["data"])
                path.unlink()
            return len(taken)

        for round_ in range(10):
            self.fill(a, b, round_)
            a.once()
            b.start()
            done = take()
            self.kill_at(rng, b, lambda: take() - done, rng.randrange(self.FILES))
        b.once()
        take()
        self.assertEqual(sorted(taken), sorted(f"{r}.{i}" for r in range(10) for i in range(self.FILES)))

    def test_the_hub_dies_too(self):
        a, b = self.offices()
        a.start()
        b.start()
        self.fill(a, b, 0)
        self.until(lambda: len(a.receipts()) > 5, "the first receipts")
        self.hub.kill()
        self.fill(a, b, 1)
        a.stop(signal.SIGKILL)
        b.stop(signal.SIGKILL)
        self.hub.start()
        a.follow_hub()
        b.follow_hub()
        a.once()
        b.once()
        self.check(a, b, 2)


if __name__ == "__main__":
    unittest.main()
