"""The faults of a round: each is done to a running world, and ends with everything running again."""

import contextlib
import errno
import os
import pathlib
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time

HERE = pathlib.Path(__file__).resolve().parent
for folder in ("blackbox", "crash"):
    sys.path.insert(0, str(HERE.parent / folder))

from proxy import Proxy  # noqa: E402
from test_storage_faults import ALLOCATE, META, SYNC, WRITE, Fault  # noqa: E402
from trucpy.shift import Clocks  # noqa: E402
from world import PATIENCE, Hub, World, eventually  # noqa: E402

DISK = 512 << 20  # of the small disk
# The least that a hub's limits allow: the small disk is to hold a journal beside it.
SETTINGS = "limits:\n  session_bytes: 6 MiB\n  total_bytes: 8 MiB\n"
RESERVE = ("reserve: 256 MiB", "reserve: 64 MiB")
RATE = 400 << 10  # bytes/s from each client
SILENCE = 11  # seconds after which a client asks whether the hub is there; after the third time it gives the link up


def build_library(folder):
    path = folder / "fail_io.so"
    source = HERE.parent / "blackbox" / "fail_io.c"
    subprocess.run(["cc", "-shared", "-fPIC", "-O1", "-o", path, source], check=True)
    return path


class FaultyHub(Hub):
    """Its calls may fail, its clock may jump; its data lies on a small disk of its own, where that can be mounted."""

    small_disk = False

    def __init__(self, tools, **options):
        self.tools = tools
        super().__init__(environment=tools.hub_environment, **options)

    def init(self):
        super().init()
        data, aside = self.home / "data", self.folder / "aside"
        data.rename(aside)
        data.mkdir(0o700)
        options = f"size={DISK},mode=0700"
        done = subprocess.run(["mount", "-t", "tmpfs", "-o", options, "truc-faults", data], capture_output=True)
        self.small_disk = done.returncode == 0
        for file in aside.iterdir():
            shutil.copy2(file, data / file.name)
        shutil.rmtree(aside)

    def close(self):
        if self.process is not None:
            self.kill()
        if self.small_disk:
            subprocess.run(["umount", "-l", self.home / "data"], check=True)
            self.small_disk = False
        super().close()


class Tools:
    """The preloaded libraries and what steers them."""

    def __init__(self):
        self.hub_clock, self.client_clock = Clocks(), Clocks()
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="truc-faults-"))
        self.fault = Fault(self.folder / "fault")
        library = build_library(self.folder)
        self.hub_environment = dict(self.hub_clock.environment, TRUC_TEST_FAULT=str(self.folder / "fault"))
        self.hub_environment["LD_PRELOAD"] = f"{self.hub_clock.environment['LD_PRELOAD']}:{library}"
        self.client_environment = dict(os.environ, **self.client_clock.environment)
        self.passed = 0

    def close(self):
        for tool in (self.hub_clock, self.client_clock):
            tool.close()
        shutil.rmtree(self.folder)

    def pass_by(self, seconds):
        """For the clients' waiting; what they seal keeps its true time, or it would be refused before long."""
        self.passed += seconds
        self.client_clock.set(0, self.passed)


class FaultyWorld(World):
    def __init__(self, seed):
        self.tools = Tools()
        self.proxy = None
        self.done = {}  # fault -> how often
        self.idle = {}  # fault -> how often it met nothing
        try:
            super().__init__(seed, hub=self.make_hub)
        except BaseException:
            self.tools.close()
            raise
        self.environment = self.tools.client_environment
        try:
            self.proxy = Proxy(int(self.endpoint.rpartition(":")[2]), RATE)
            for load in self.loads:
                settings = self.profile(load.name) / "profile.yaml"
                text = settings.read_text("utf-8")
                assert self.endpoint in text
                settings.write_text(text.replace(self.endpoint, f"tcp://127.0.0.1:{self.proxy.port}"), "utf-8")
        except BaseException:
            self.close()
            raise

    def make_hub(self, origin, config):
        return FaultyHub(self.tools, origin=origin, config=lambda text: config(text).replace(*RESERVE) + SETTINGS)

    def close(self):
        if self.tools is None:
            return
        super().close()
        if self.proxy is not None:
            self.proxy.close()
        self.tools.close()
        self.tools = self.proxy = None

    # -- a round
    def fail(self, name):
        getattr(self, "fault_" + name)()
        self.done[name] = self.done.get(name, 0) + 1

    def met_nothing(self, name):
        self.idle[name] = self.idle.get(name, 0) + 1

    def heal(self):
        if self.hub.process is None:
            self.hub.start()
        self.start_loads()
        self.check_alive()

    def report(self):
        """What everybody said last, for a failure."""
        loads = "".join(f"\n-- {x.name}: {x.errors()}" for x in self.loads)
        status = None if self.hub.process is None else self.hub.process.poll()
        return f"\n-- faults {self.done}\n-- hub, exit status {status}:\n{self.hub.output()[-4000:]}{loads}"

    def pause(self, most=0.3):
        """The time itself is the matter: how far everybody comes until then is to be any."""
        time.sleep(self.rng.uniform(0, most))

    # -- processes
    def fault_hub_killed(self):
        self.hub.kill()
        self.pause(0.1)
        self.hub.start()

    def fault_clients_killed(self):
        for load in self.rng.sample(self.loads, self.rng.randint(1, len(self.loads))):
            load.kill()
        self.pause(0.1)
        self.start_loads()

    def fault_hub_frozen(self):
        with self.hub.frozen():
            self.pause(0.5)

    def fault_client_frozen(self):
        load = self.rng.choice(self.loads)
        load.process.send_signal(signal.SIGSTOP)
        try:
            self.pause(0.5)
        finally:
            load.process.send_signal(signal.SIGCONT)

    def fault_hub_killed_while_clients_stand(self):
        stopped = self.rng.sample(self.loads, 2)
        for load in stopped:
            load.process.send_signal(signal.SIGSTOP)
        try:
            self.hub.restart()
            self.pause(0.1)
        finally:
            for load in stopped:
                load.process.send_signal(signal.SIGCONT)

    # -- connections
    def fault_cut(self):
        for _ in range(self.rng.randint(1, 3)):
            self.proxy.cut()
            self.pause(0.2)

    def fault_client_end_gone(self):
        """The hub goes on with sessions whose clients are back in new ones."""
        self.proxy.half_open("client")
        self.pause()

    def fault_hub_end_gone(self):
        self.proxy.half_open("hub")
        self.await_new_links()

    def fault_swallowed(self):
        self.proxy.swallow()
        self.await_new_links()

    def fault_stalled(self):
        with self.proxy.stalled():
            self.pause(0.5)

    def fault_in_pieces(self):
        with self.proxy.in_pieces(self.rng.choice((1, 7, 100, 1400))):
            self.pause(0.4)

    def await_new_links(self):
        """The clients' time goes by until each has noticed that nobody is there, and come back."""
        before = self.proxy.accepted
        steps = eventually(lambda: self.step_clients(before), "the clients' new connections")
        assert steps

    def step_clients(self, before):
        self.tools.pass_by(SILENCE)
        time.sleep(0.12)  # for the clients to look at their clocks
        return self.proxy.accepted - before >= len(self.loads)

    # -- the disk
    def fault_disk_full(self):
        ballast = self.hub.home / "data" / "ballast"
        fd = os.open(ballast, os.O_CREAT | os.O_RDWR, 0o600)
        try:
            # Mostly all of it; sometimes some of the hub's reserve stays.
            self.fill(fd, self.rng.choice((0, 0, 1 << 20, 40 << 20)))
            eventually(self.says_full, "the hub's word on the disk")
            self.pause()
            assert self.hub.alive, f"a full disk is no reason to end:\n{self.hub.output()[-2000:]}"
        finally:
            os.close(fd)
            ballast.unlink()

    def fill(self, fd, left):
        """Takes what is free, but for `left`. The hub takes some at the same time: then again."""
        for _ in range(100):
            room = os.fstatvfs(fd)
            free = room.f_bavail * room.f_frsize - left
            if free < 4096:
                return
            with contextlib.suppress(OSError):
                os.posix_fallocate(fd, os.fstat(fd).st_size, free)
        raise AssertionError("the small disk cannot be filled")

    def says_full(self):
        said = self.hub.output()
        return said.rfind("storage_full") > said.rfind("storage_ok")

    def fault_no_room_in_file(self):
        """The disk is full at this call, whatever was free before."""
        hits = self.break_disk("journal.mdb", ALLOCATE | WRITE, errno.ENOSPC, self.rng.randint(1, 3), False)
        self.pause(0.2)
        self.tools.fault.off()
        assert self.hub.alive, f"a full disk is no reason to end:\n{self.hub.output()[-2000:]}"
        if not hits:
            self.met_nothing("no_room_in_file")

    def fault_io_error(self):
        """A failed commit or sync has an unknown outcome: the hub ends, and the next start finds out."""
        file = self.rng.choice(("journal.mdb", "journal.mdb", "state.mdb"))
        calls, done = self.rng.choice((WRITE, META, SYNC)), self.rng.random() < 0.5
        if self.break_disk(file, calls, errno.EIO, 1, done):
            status = self.hub.process.wait(PATIENCE)
            said = self.hub.output()[-2000:]
            assert status == 1, f"exit status {status} after {file} failed:\n{said}"
            assert "fatal" in said, said
            self.tools.fault.off()
            self.hub._ended()
            self.hub.start()
        else:
            self.tools.fault.off()
            self.met_nothing("io_error")

    def break_disk(self, file, calls, error, times, done):
        """-> whether something failed within a second"""
        fault = self.tools.fault
        fault.on(file, calls, error, times=times, skip=self.rng.randint(0, 3), done=done)
        deadline = time.monotonic() + 1
        while fault.hits == 0 and time.monotonic() < deadline:
            time.sleep(0.005)
        return fault.hits > 0

    # -- what else runs out, or jumps
    def fault_no_descriptors(self):
        """The hub can accept nobody, nor open anything, while its clients' connections are cut."""
        pid = self.hub.process.pid
        before = resource.prlimit(pid, resource.RLIMIT_NOFILE)
        held = len(os.listdir(f"/proc/{pid}/fd"))
        resource.prlimit(pid, resource.RLIMIT_NOFILE, (max(1, held - self.rng.randint(0, 8)), before[1]))
        try:
            self.proxy.cut()
            self.pause(0.5)
            assert self.hub.alive, self.hub.output()[-2000:]
        finally:
            resource.prlimit(pid, resource.RLIMIT_NOFILE, before)

    def fault_hub_clock_steps(self):
        self.tools.hub_clock.set(wall=self.rng.choice((-1, 1)) * self.rng.choice((5, 600, 86400 * 400)))
        try:
            self.pause(0.4)
            if self.rng.random() < 0.3:
                self.proxy.cut()
        finally:
            self.tools.hub_clock.set()

    def fault_client_clock_steps(self):
        wall = self.rng.choice((-3600, -2, 2))  # what is sealed an hour ahead is rightly refused
        self.tools.client_clock.set(wall, self.tools.passed)
        self.pause()
        self.tools.client_clock.set(0, self.tools.passed)


FAULTS = sorted(name.removeprefix("fault_") for name in vars(FaultyWorld) if name.startswith("fault_"))
