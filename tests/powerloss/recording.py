"""A hub under load with the recorder in every process: its life on disk, and what its clients were told meanwhile."""

import ctypes
import json
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "crash"))

from disk import new_trace, read_trace  # noqa: E402
from world import Hub, World, build_dir, eventually  # noqa: E402

ROOM = 2 << 30  # of a trace; a sparse file
MEMORY = pathlib.Path("/dev/shm")


def scratch():
    """A folder in memory where there is one: thousands of states are written and read."""
    return tempfile.mkdtemp(prefix="truc-powerloss-", dir=MEMORY if os.access(MEMORY, os.W_OK) else None)


class Recorder:
    """The library in this process: facts of the test go into the same trace."""

    def __init__(self, folder, root, flags):
        self.trace = folder / "trace"
        new_trace(self.trace, ROOM)
        # A copy: the library holds one trace, and a process may make several recordings.
        self.library_path = folder / "record.so"
        shutil.copyfile(build_dir() / "tests/powerloss/record.so", self.library_path)
        self.environment = {"TRUC_RECORD": str(self.trace), "TRUC_RECORD_ROOT": str(root), "TRUC_RECORD_SYNC": "700"}
        # dlopen runs the library's constructor, which reads the environment; nothing here calls through it.
        os.environ.update(self.environment)
        self.library = ctypes.CDLL(str(self.library_path))
        if flags:
            self.environment["TRUC_RECORD_FLAGS"] = flags
        self.environment["LD_PRELOAD"] = str(self.library_path)

    def fact(self, kind, text=""):
        data = f"{kind} {text}".encode()
        self.library.truc_record_fact(data, ctypes.c_size_t(len(data)))

    def unlink(self, path):
        assert self.library.unlink(str(path).encode()) == 0, path


def rows_of(home):
    """-> [(digest, events in the log with this row)]"""
    done = subprocess.run([build_dir() / "tests/powerloss/rows", home / "data"], capture_output=True, text=True)
    if done.returncode:
        raise ValueError(done.stderr)
    return [(digest, int(events)) for _, digest, events in (line.split() for line in done.stdout.splitlines())]


class RecordedHub(Hub):
    recorder = None  # set by the recording: Hub makes itself in one go

    def init(self):
        before = dict(os.environ)
        os.environ.update(self.recorder.environment)
        try:
            super().init()
        finally:
            os.environ.clear()
            os.environ.update(before)
        self.environment.update(self.recorder.environment)
        self.recorder.fact("INIT")


class Recording:
    """Use as a context manager. `flags`: a planted fault (record.c)."""

    def __init__(self, seed, receipts, flags=None):
        self.folder = pathlib.Path(scratch()).resolve()
        self.seed, self.receipts, self.flags = seed, receipts, flags
        self.locks = {}
        self.end = None  # the home at the end

    def __enter__(self):
        return self

    def __exit__(self, *_):
        shutil.rmtree(self.folder, ignore_errors=True)

    # -- while it runs
    def run(self):
        root = self.folder / "run"
        root.mkdir()
        self.root = root.stat().st_ino
        recorder = Recorder(self.folder, root, self.flags)

        class ThisHub(RecordedHub):
            def __init__(self, **options):
                self.recorder = recorder
                super().__init__(root=root, **options)

        world = World(self.seed, hub=ThisHub)
        try:
            world.environment = world.hub.environment
            self.live(world, recorder)
            self.keep(world)
        finally:
            world.close()

    def live(self, world, recorder):
        """Load; two crashes, the second one without the state afterwards; an orderly stop."""
        world.start_loads()
        self.work(world, recorder)
        world.hub.kill()
        for path in world.hub.home.glob("data/*.mdb-lock"):
            self.locks[path.name] = path.read_bytes()
        world.hub.start()
        self.work(world, recorder)
        world.hub.kill()
        recorder.unlink(world.hub.home / "data/state.mdb")
        for path in world.hub.home.glob("data/state.mdb-lock"):
            path.unlink()
        world.hub.start()
        self.work(world, recorder)
        for load in world.loads:
            load.kill()
        assert world.hub.stop() == 0

    def work(self, world, recorder):
        """A third of the receipts; now and then a look, whose checkpoint is kept."""
        before = world.counts()

        def there():
            world.check_alive()
            world.look()
            recorder.fact("CHECKPOINT", world.hub.admin_agency.checkpoint.note.decode())
            now = world.counts()
            return now[0] - before[0] >= self.receipts // 3 and now[1] - before[1] >= self.receipts // 6

        eventually(there, "work to be recorded")

    def keep(self, world):
        self.end = self.folder / "end"
        shutil.copytree(world.hub.home, self.end)
        self.agencies = {s.facts.path.stat().st_ino: s.name for s in world.senders}
        self.agencies.update({r.facts.path.stat().st_ino: r.name for r in world.receivers})
        self.settings = (self.end / "hub.yaml").read_text("utf-8").replace(world.endpoint, "tcp://127.0.0.1:0")
        summary = json.loads(world.truc("log", "verify", "--home", self.end, "--json"))
        assert summary["ok"], summary["findings"][:5]
        self.rows = rows_of(self.end)
        text = world.truc("log", "export", "--home", self.end, "--type", "crash.*", "--content")
        self.logged = {}
        for row in map(json.loads, text.splitlines()):
            if row["outcome"] == "accepted":
                self.logged[row["sequence"]] = row["event"]["id"]
        self.events = read_trace(self.folder / "trace")
