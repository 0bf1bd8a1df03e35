"""truc-import: a historical log becomes events, once, however often it is run and wherever it was interrupted."""

import os
import pathlib
import shutil
import signal
import subprocess
import tempfile
import unittest

from cryptography.hazmat.primitives import serialization
from support import HubCase
from trucpy.hub import build_dir

PROFILE = """agency: {code}
origin: {origin}
endpoints: [ "{endpoint}" ]
spool: spool
"""
MAP = """source: archive
offset: "+07:00"
id: "{case}/{step}"
subject: "{agency}-{day|day}-{case|digits:7}"
time: "{day}"
recipients:
  - "* = RECIPIENT"
rules:
  - "vn.truc.dossier.submitted.v1 when {step} is 1"
  - "vn.truc.dossier.progressed.v1 when {step} is not 1"
fields:
  - "*: dossier.code = {subject}"
  - "vn.truc.dossier.submitted.v1: submitted_at_us = {day|time}"
  - "vn.truc.dossier.submitted.v1: channel = {channel|lookup:channel}"
  - "vn.truc.dossier.submitted.v1: summary = {text}"
  - "vn.truc.dossier.progressed.v1: at_us = {day|time}"
  - "vn.truc.dossier.progressed.v1: step = {text}"
tables:
  - "channel: Internet = ONLINE"
"""
HEADER = "case,step,day,channel,text\n"


class ImportCase(HubCase):
    def setUp(self):
        super().setUp()
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="truc-import-"))
        self.addCleanup(shutil.rmtree, self.folder, ignore_errors=True)
        self.sender, self.receiver = self.agency("I"), self.agency("R")
        profile = self.folder / "profile"
        profile.mkdir()
        pem = self.sender.private.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        (profile / "sign.pem").write_bytes(pem)
        (profile / "transport.public").write_bytes(self.sender.transport[0] + b"\n")
        (profile / "transport.secret").write_bytes(self.sender.transport[1] + b"\n")
        (profile / "hub.public").write_bytes(self.hub.server_key + b"\n")
        shutil.copy(self.hub.home / "admin-1" / "note.key", profile / "note.key")
        text = PROFILE.format(code=self.sender.code, origin=self.hub.origin, endpoint=self.hub.endpoint)
        (profile / "profile.yaml").write_text(text)
        for secret in ("sign.pem", "transport.secret"):
            (profile / secret).chmod(0o600)
        self.map = self.folder / "map.yaml"
        self.map.write_text(MAP.replace("RECIPIENT", self.receiver.code))
        self.table = self.folder / "log.csv"

    def command(self, *more):
        return [build_dir() / "truc-import", "--map", self.map, "--input", self.table, "--profile", self.folder / "profile",
                *more]

    def run_import(self, status, *more):
        done = subprocess.run(self.command(*more), capture_output=True, text=True, timeout=90)
        self.assertEqual(done.returncode, status, done.stdout + done.stderr)
        return done

    def rows(self, count):
        self.table.write_text(HEADER + "".join(f"case-{i // 5},{i % 5 + 1},2016-01-02,Internet,step\n" for i in range(count)))


class Import(ImportCase):
    def test_every_row_once_however_often_it_is_run(self):
        self.hub.grant(self.sender.code, self.receiver.code, "vn.truc.dossier.*")
        self.rows(250)
        first = self.run_import(0)
        self.assertIn("250 records, 250 events made", first.stdout)
        self.assertIn("250, accepted 250, of them 0 were there before", first.stdout)
        self.assertIn("250 records have times without offset", first.stdout)
        second = self.run_import(0)
        self.assertIn("250, accepted 250, of them 250 were there before", second.stdout)
        receiver = self.hub.connect(self.receiver)
        receiver.credit(1000)
        got = receiver.receive(250)
        self.assertEqual({d.id for d in got}, {f"case-{i // 5}/{i % 5 + 1}" for i in range(250)})
        self.assertEqual(got[0].subject, f"{self.sender.code}-20160102-0000000")
        receiver.ack(*got)
        self.assertEqual(receiver.quiet(), [])

    def test_an_interrupted_run_is_finished_by_the_next(self):
        self.hub.grant(self.sender.code, self.receiver.code, "vn.truc.dossier.*")
        self.rows(400)
        receiver = self.hub.connect(self.receiver)
        receiver.credit(1000)
        for how in (signal.SIGTERM, signal.SIGKILL):
            process = subprocess.Popen(self.command("--rate", "100"), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
            self.addCleanup(process.kill)
            if how == signal.SIGTERM:
                got = receiver.receive(20)  # it is in the middle
            process.send_signal(how)
            process.communicate(timeout=30)
            self.assertEqual(process.returncode, 3 if how == signal.SIGTERM else -signal.SIGKILL)
        self.run_import(0)
        got += receiver.receive(400 - len(got))
        self.assertEqual(sorted(d.id for d in got), sorted(f"case-{i // 5}/{i % 5 + 1}" for i in range(400)))

    def test_what_is_wrong_with_a_row_is_counted_and_the_rest_goes_on(self):
        self.hub.grant(self.sender.code, self.receiver.code, "vn.truc.dossier.*")
        self.table.write_text(
            HEADER + 'case-1,1,2016-01-02,Internet,"two\nlines"\n'
            "case-2,1,soon,Internet,\n"
            "case-3,1,2016-01-02,Pigeon,\n"
            "case-4,1,2016-01-02\n"
            "case-5,2,2016-01-02,,\n"
        )
        said = self.run_import(1).stdout
        for line in ("1: wrong number of columns", "1: a time that cannot be read", "1: a code that no table knows",
                     "1: data that does not fit the schema", "1 records have a line break inside a value",
                     "1, accepted 1, of them 0"):
            self.assertIn(line, said)

    def test_a_refusal_has_its_reason(self):
        self.rows(3)
        said = self.run_import(1).stdout
        self.assertIn("3: NOT_GRANTED", said)

    def test_a_dry_run_sends_nothing(self):
        self.hub.grant(self.sender.code, self.receiver.code, "vn.truc.dossier.*")
        self.rows(3)
        self.assertIn("nothing: a dry run", self.run_import(0, "--dry-run").stdout)
        self.assertFalse((self.folder / "profile" / "spool").exists())
        self.assertIn("accepted 3, of them 0 were", self.run_import(0).stdout)

    def test_mistakes_are_said_before_anything_is_sent(self):
        self.rows(3)
        self.map.write_text(self.map.read_text().replace("dossier.code", "dossier.colour"))
        self.assertIn("no such field", self.run_import(2).stderr)
        self.map.write_text(MAP.replace("{text}", "{remark}"))
        self.assertIn('no column "remark"', self.run_import(2).stderr)
        self.map.write_text(MAP)
        self.table.write_text(HEADER + 'case-1,1,2016-01-02,Internet,"never closed\n')
        self.assertIn("a quote is not closed", self.run_import(2).stderr)
        self.table.unlink()
        self.assertIn(os.strerror(2), self.run_import(2).stderr)


if __name__ == "__main__":
    unittest.main()
