"""The real daemon as a fixture: a home in a temporary folder, an ephemeral port, readiness by its own word."""

import contextlib
import os
import pathlib
import re
import shutil
import signal
import subprocess
import tempfile
import threading

from . import keys, profile, reasons
from .client import Agency, Client
from .schema import ROOT, truc

READY = re.compile(rb"ready endpoint=(tcp://[\d.]+:\d+)")
SANITIZER = os.environ.get("TRUC_SANITIZER")
ADMIN, AUDITOR = truc.ROLE_ADMINISTRATOR, truc.ROLE_AUDITOR


def build_dir():
    return pathlib.Path(os.environ.get("TRUC_BUILD", ROOT / "build" / "release"))


class Hub:
    """A home and the process that serves it. Use as a context manager."""

    def __init__(self, origin="test.truc/log", config=None, environment=None, root=None, prefix=()):
        """`config`: function(text of hub.yaml) -> text, `environment`: further variables of the daemon, `root`: an empty
        folder instead of a temporary one; it is removed all the same, `prefix`: a command that runs the daemon."""
        self.origin = origin
        self.folder = root or pathlib.Path(tempfile.mkdtemp(prefix="truc-hub-"))
        self.home = self.folder / "home"
        self.environment = dict(os.environ, **(environment or {}))
        self.prefix = list(prefix)
        self.process = None
        self.endpoint = None
        self.clients = []
        self.admin = None
        self.grants = 0
        try:
            self.init()
            if config:
                path = self.home / "hub.yaml"
                path.write_text(config(path.read_text("utf-8")), "utf-8")
            self.start()
        except BaseException:
            self.close()
            raise

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    # -- the process
    def init(self):
        done = subprocess.run(
            [build_dir() / "truc", "init", "--home", self.home, "--origin", self.origin]
            + ["--listen", "tcp://127.0.0.1:0"],
            capture_output=True,
            text=True,
            timeout=60,
        )
        if done.returncode:
            raise RuntimeError(f"truc init: {done.returncode}\n{done.stdout}{done.stderr}")
        code = profile.admin_code(self.home / "admin-1")
        loaded = profile.load(self.home / "admin-1", code)
        self.admin_agency, self.server_key, self.verifier = loaded.agency, loaded.server_key, loaded.verifier

    @property
    def log_path(self):
        return self.folder / "hub.log"

    def start(self, timeout=60.0):
        """Starts the daemon and waits for its `ready` line."""
        if self.process is not None:
            raise RuntimeError("the hub runs already")
        self.process = subprocess.Popen(
            [*self.prefix, build_dir() / "truc-hub", "--home", self.home],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=self.environment,
        )
        self.ready, self.endpoint = threading.Event(), None
        self.reader = threading.Thread(target=self._read_output, args=(self.process.stdout,), daemon=True)
        self.reader.start()
        self.ready.wait(timeout)
        if self.endpoint is None:
            self.kill()
            raise RuntimeError(f"hub did not become ready:\n{self.output()[-4000:]}")

    def _read_output(self, pipe):
        """Takes what the daemon says, so that it never blocks on a full pipe, and finds its `ready` line."""
        with open(self.log_path, "ab", buffering=0) as log, pipe:
            for line in pipe:
                log.write(line)
                match = READY.search(line)
                if match and not self.ready.is_set():
                    self.endpoint = match.group(1).decode()
                    self.ready.set()
        self.ready.set()

    def output(self):
        """Everything that the daemon said so far."""
        return self.log_path.read_text("utf-8", "replace") if self.log_path.exists() else ""

    def _ended(self):
        self.reader.join(10)
        self.process, self.endpoint = None, None
        self.drop_clients()

    def kill(self):
        """SIGKILL: what a power loss or the kernel does."""
        self.process.kill()
        self.process.wait()
        self._ended()

    def stop(self, timeout=30.0):
        """SIGTERM, the graceful end. -> exit status"""
        self.process.terminate()
        try:
            status = self.process.wait(timeout)
        except subprocess.TimeoutExpired:
            self.kill()
            raise
        self._ended()
        return status

    def restart(self, hard=True):
        if hard:
            self.kill()
        else:
            self.stop()
        self.start()

    @contextlib.contextmanager
    def frozen(self):
        """The daemon stands still (SIGSTOP) while the block runs."""
        self.process.send_signal(signal.SIGSTOP)
        try:
            yield
        finally:
            self.process.send_signal(signal.SIGCONT)

    @property
    def alive(self):
        return self.process is not None and self.process.poll() is None

    def close(self):
        self.drop_clients()
        status = 0
        if self.alive and SANITIZER:
            # Only an orderly end makes a sanitizer say what leaked.
            status = self.stop(120)
        elif self.process is not None:
            self.kill()
        output = self.output()
        if os.environ.get("TRUC_TEST_KEEP") is None:
            shutil.rmtree(self.folder, ignore_errors=True)
        if status:
            raise AssertionError(f"the hub's exit status is {status}:\n{output[-8000:]}")

    # -- its clients
    def drop_clients(self):
        for client in self.clients:
            client.close()
        self.clients, self.admin = [], None

    def session(self, agency, **changes):
        """A client that has not said HELLO yet."""
        args = dict(endpoint=self.endpoint, server_key=self.server_key, agency=agency)
        args.update(origin=self.origin, verifier=self.verifier)
        args.update(changes)
        client = Client(**args)
        self.clients.append(client)
        return client

    def connect(self, agency, **hello):
        client = self.session(agency)
        client.hello(**hello)
        return client

    # -- governance, as signed events of an administrator
    def admin_client(self):
        if self.admin is None or self.admin.lost or self.admin.bye:
            self.admin = self.connect(self.admin_agency)
        return self.admin

    def govern(self, expect=0, reason="test", by=None, **act):
        """One governance act; asserts the outcome `expect`. -> Receipt"""
        client = by or self.admin_client()
        data = truc.Governance(reason=reason, **act).SerializeToString(deterministic=True)
        event = client.event(os.urandom(8).hex(), "truc.governance.v1", data=data)
        receipt = client.submit(event)
        if receipt.codes != [expect]:
            names = [reasons.name(c) for c in receipt.codes]
            raise AssertionError(f"governance act {list(act)}: {names} instead of {reasons.name(expect)}")
        return receipt

    def enrol(self, code, groups=(), role=0, algorithm="p256", expect=0):
        """-> Agency, enrolled"""
        agency = Agency(code, private=keys.new_private(algorithm))
        act = truc.EnrolAgency(
            agency=code,
            name=f"Office {code}",
            role=role,
            groups=groups,
            transport_key=agency.transport_key,
            spki=agency.spki,
        )
        self.govern(enrol_agency=act, expect=expect)
        return agency

    def grant(self, from_, to, type_="*", expect=0, **more):
        """-> the grant's name"""
        self.grants += 1
        name = more.pop("grant", f"g{self.grants}")
        act = truc.GiveGrant(grant=name, to=to, type=type_, legal_basis="Test Act, section 1", **more)
        setattr(act, "from", from_)
        self.govern(give_grant=act, expect=expect)
        return name
