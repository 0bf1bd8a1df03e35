"""What the tests of truc-files share: the adapter with its folders."""

import json
import os
import pathlib
import shutil
import signal
import subprocess
import tempfile
import time

from cryptography.hazmat.primitives import serialization
from support import HubCase
from trucpy.hub import build_dir

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
