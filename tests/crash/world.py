"""A hub on a port that stays its own, and load programs that are started, killed and started again."""

import os
import pathlib
import random
import re
import shutil
import signal
import socket
import subprocess
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "blackbox"))

from trucpy.hub import Hub, build_dir  # noqa: E402
from records import Received, Sent  # noqa: E402

SUBJECTS = 40
PATIENCE = 120.0  # seconds that anything may take; sanitizers and a busy machine included
LISTEN = "tcp://127.0.0.1:0"


def free_port(rng):
    """Below the ephemeral ports, so that no connection of anybody takes it while the hub is down."""
    for _ in range(100):
        port = rng.randrange(18000, 32000)
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise RuntimeError("no free port")


def cut(value, first, end):
    return value[:first] + bytes(end - first) + value[end:]


def eventually(probe, what, timeout=PATIENCE):
    """Looks again and again until `probe` gives something true; the pause only spares the processor."""
    deadline = time.monotonic() + timeout
    while True:
        got = probe()
        if got:
            return got
        if time.monotonic() > deadline:
            raise AssertionError(f"{what} did not come within {timeout:.0f} s")
        time.sleep(0.005)


class Load:
    """One application: its facts, and the process that runs at the moment."""

    def __init__(self, world, facts, arguments):
        self.world, self.facts, self.arguments = world, facts, arguments
        self.process = None
        self.kills = 0

    @property
    def name(self):
        return self.facts.agency

    def start(self):
        role, *rest = self.arguments
        command = [build_dir() / "tests/crash/load", role, self.world.profile(self.name), self.facts.path, *rest]
        with open(self.world.folder / f"{self.name}.stderr", "ab") as errors:
            self.process = subprocess.Popen(
                command, stdout=subprocess.DEVNULL, stderr=errors, env=self.world.environment
            )

    def kill(self):
        self.process.kill()
        self.process.wait()
        self.process = None
        self.kills += 1

    def finish(self):
        """SIGTERM: a sender waits for its last receipts, a receiver ends at once."""
        self.process.terminate()
        status = self.process.wait(PATIENCE)
        self.process = None
        assert status == 0, f"{self.name}: exit status {status}\n{self.errors()}"

    def check_alive(self):
        if self.process is None:
            return
        status = self.process.poll()
        assert status is None, f"{self.name} ended by itself, exit status {status}\n{self.errors()}"

    def errors(self):
        said = (self.world.folder / f"{self.name}.stderr").read_text("utf-8", "replace")[-2000:]
        return f"{said}\nlast states: {self.facts.refresh().states[-5:]}, end: {self.facts.end}"


class World:
    """Use as a context manager. `senders`, `receivers`: agencies; every sender may send to every receiver. `hub`: makes
    the hub, a Hub or one of its children."""

    environment = None  # of the load programs; None: ours
    address = "127.0.0.1"  # of the hub

    def __init__(self, seed, senders=2, receivers=2, hub=Hub):
        self.rng = random.Random(seed)
        self.endpoint = f"tcp://{self.address}:{free_port(self.rng)}"
        self.hub = hub(origin="crash.truc/log", config=lambda text: text.replace(LISTEN, self.endpoint))
        self.folder = self.hub.folder
        try:
            self.admin = self.hub.home / "admin-1"
            settings = self.admin / "profile.yaml"
            settings.write_text(settings.read_text("utf-8").replace(LISTEN, self.endpoint), "utf-8")
            to = [f"R{i + 1}" for i in range(receivers)]
            self.senders = [self.make_sender(f"S{i + 1}", to, ("beside", "sync")[i % 2]) for i in range(senders)]
            self.receivers = [self.make_receiver(code, ("now", "late")[i % 2]) for i, code in enumerate(to)]
            for s in self.senders:
                for r in self.receivers:
                    self.hub.grant(s.name, r.name, "crash.*")
        except BaseException:
            self.close()
            raise

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        for load in self.loads:
            if load.process is not None:
                load.kill()
        self.hub.close()

    @property
    def loads(self):
        return getattr(self, "senders", []) + getattr(self, "receivers", [])

    def profile(self, code):
        return self.folder / f"profile-{code}"

    def truc(self, *arguments, status=0):
        """The command; asserts its exit status. -> what it printed"""
        done = subprocess.run([build_dir() / "truc", *arguments], capture_output=True, text=True, timeout=PATIENCE)
        shown = " ".join(map(str, arguments))
        said = done.stdout[-3000:] + done.stderr[-3000:]
        assert done.returncode == status, f"truc {shown}: exit {done.returncode}\n{said}"
        return done.stdout

    def enrol(self, code):
        self.truc(
            *("agency", "add", code, "--name", f"Office {code}"),
            *("--profile-out", self.profile(code), "--profile", self.admin, "--no-quota"),
        )

    def make_sender(self, code, to, how):
        self.enrol(code)
        facts = Sent(self.folder / f"{code}.record", code, SUBJECTS, to)
        return Load(self, facts, ["send", str(SUBJECTS), ",".join(to), how])

    def make_receiver(self, code, when):
        self.enrol(code)
        return Load(self, Received(self.folder / f"{code}.record", code, SUBJECTS), ["receive", when])

    # -- under way
    def start_loads(self):
        for load in self.loads:
            if load.process is None:
                load.start()

    def check_alive(self):
        for load in self.loads:
            load.check_alive()
        assert self.hub.process is None or self.hub.alive, f"the hub died:\n{self.hub.output()[-4000:]}"

    def counts(self):
        """-> receipts, deliveries so far"""
        receipts = sum(len(s.facts.refresh().receipts) for s in self.senders)
        return receipts, sum(len(r.facts.refresh().deliveries) for r in self.receivers)

    def progress(self, receipts, deliveries, what):
        """Waits until so many more were receipted and delivered than now."""
        before = self.counts()

        def there():
            self.check_alive()
            now = self.counts()
            return now[0] - before[0] >= receipts and now[1] - before[1] >= deliveries

        eventually(there, what)

    def look(self):
        """The administrator's client keeps its newest checkpoint over all crashes and verifies that the log goes on."""
        return self.hub.connect(self.hub.admin_agency).query("status")[0]

    # -- the end
    def drain(self):
        """Stops the senders when all is receipted, the receivers when all is delivered and settled."""
        for load in self.senders:
            load.process.terminate()
        for load in self.senders:
            load.finish()
        eventually(self.all_delivered, "the last delivery")
        client = self.hub.connect(self.hub.admin_agency)
        eventually(lambda: all(row["pending"] == 0 for row in self.inboxes(client)), "the last ack")
        for load in self.receivers:
            load.finish()
        self.counts()

    def all_delivered(self):
        self.check_alive()
        self.counts()
        return all(set(self.expected(r.name)) <= set(r.facts.deliveries) for r in self.receivers)

    def expected(self, receiver):
        """-> id -> sequence"""
        return {e: n for s in self.senders for e, n in s.facts.expected(receiver).items()}

    def inboxes(self, client):
        return [client.query("inbox", agency=r.name)[0] for r in self.receivers]

    # -- the state, and what a replay makes of the journal
    def copy_home(self, name, with_state):
        """A copy of the stopped hub's home, listening elsewhere. -> its folder"""
        assert not self.hub.alive
        copy = self.folder / name
        shutil.copytree(self.hub.home, copy)
        if not with_state:
            for path in copy.glob("data/state.mdb*"):
                path.unlink()
        settings = copy / "hub.yaml"
        settings.write_text(settings.read_text("utf-8").replace(self.endpoint, LISTEN), "utf-8")
        return copy

    def start_and_stop(self, home, log):
        """A hub that starts on a home, and stops in order. -> what it said"""
        with open(self.folder / log, "w+b") as out:
            hub = subprocess.Popen([build_dir() / "truc-hub", "--home", home], stdout=out, stderr=subprocess.STDOUT)
            try:
                said = lambda: (self.folder / log).read_text("utf-8", "replace")  # noqa: E731
                eventually(lambda: "ready endpoint=" in said() or hub.poll() is not None, f"ready of {home.name}")
                hub.send_signal(signal.SIGTERM)
                assert hub.wait(PATIENCE) == 0, said()
            finally:
                hub.kill()
                hub.wait()
        return said()

    def dump(self, home):
        """The state's rows (STORAGE.md). -> key -> value, bytes; long values as their hashes"""
        command = [build_dir() / "tests/crash/load", "dump", home / "data/state.mdb"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE)
        assert done.returncode == 0, done.stderr
        rows = (line.split(" ") for line in done.stdout.splitlines())
        return {bytes.fromhex(k): v.encode() if ":" in v else bytes.fromhex(v) for k, v in rows}

    def dumps(self, kept, made):
        """Both states without what a start brings with it: each of the two appended a BOOT row at a moment of its own,
        and a hub that does nothing else before it stops does not store that one row's effect."""
        one, other = self.dump(kept), self.dump(made)
        applied = [int.from_bytes(rows[b"M"][4:12], "little") for rows in (one, other)]
        assert applied[1] - applied[0] in (0, 1), f"rows applied: {applied}"
        for rows in one, other:
            rows[b"M"] = cut(rows[b"M"], 4, 20)  # rows applied, accepted_at of the last one
            if applied[0] != applied[1]:
                for key in [k for k in rows if k[:1] == b"h"]:
                    rows[key] = cut(rows[key], 32, 40)  # boot number
        return one, other

    def replayed_rows(self, said):
        """How many rows a start applied again."""
        found = re.search(r"replayed.*?rows=(\d+)", said)
        return int(found.group(1)) if found else 0


def rounds():
    """How many crashes under load; tests/run asks for fewer where a sanitizer makes each several times as long."""
    return int(os.environ.get("TRUC_CRASH_ROUNDS", 20))


def seed():
    """Printed with the stories, so that a bad day can be had again (as far as scheduling allows)."""
    value = int(os.environ.get("TRUC_CRASH_SEED", random.SystemRandom().randrange(1 << 32)))
    print(f"TRUC_CRASH_SEED={value}", flush=True)
    return value
