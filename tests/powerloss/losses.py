"""Power losses of a recording: sampled moments, a state of the disk for each, and what a hub's owner then finds."""

import concurrent.futures
import json
import os
import pathlib
import random
import shutil
import signal
import subprocess
import time

from choices import All, Choices
from disk import FACT, Disk
from recording import rows_of, scratch
from world import PATIENCE, build_dir

# How often a moment is one in which this has something unsynced; what is left goes to moments right behind a receipt.
WEIGHTS = {"journal": 0.4, "state": 0.2, "slots": 0.1, "other": 0.2}


def group_of(path):
    """What something pending belongs to."""
    for name, group in (("journal.mdb", "journal"), ("state.mdb", "state"), ("keys.slots", "slots")):
        if path.startswith("home/data/") and path.endswith(name):
            return group
    return "other"


class Told:
    """What the outside knew at a moment."""

    def __init__(self):
        self.made = False  # `truc init` had ended well
        self.sequence = 0  # the newest that a client had a receipt for, or was handed
        self.receipts = 0
        self.checkpoint = None


class Losses:
    def __init__(self, recording, seed):
        self.recording, self.rng = recording, random.Random(seed)
        self.wrong = []
        self.told, self.moments = [], {}
        self.counts = {"states": 0, "without a home": 0, "started": 0, "rows behind": 0}
        self.kinds = {}
        self.folder = pathlib.Path(scratch())

    def __enter__(self):
        return self

    def __exit__(self, *_):
        shutil.rmtree(self.folder, ignore_errors=True)

    # -- the recording, once through
    def survey(self):
        """Which moments there are, what was told at each, and whether the recorder saw all that the programs wrote."""
        recording, told = self.recording, Told()
        disk = Disk(recording.root)
        for i, event in enumerate(recording.events):
            if event.kind == FACT:
                if self.hear(told, event):
                    self.moments.setdefault("receipt", []).append(i + 1)
                self.told.append((i + 1, dict(vars(told))))
            else:
                disk.play(event)
                for group in {group_of(path) for path in disk.pending()} or {"nothing"}:
                    self.moments.setdefault(group, []).append(i + 1)
        assert not disk.mapped, "a file is written through a mapping: the recorder does not see that"
        seen = disk.state(lambda path: All(self.rng))
        for path, content in seen.items():
            file = recording.end / pathlib.Path(path).relative_to("home")
            # These two are edited by the test itself, between init and start.
            if content is not None and path not in ("home/hub.yaml", "home/admin-1/profile.yaml"):
                assert file.read_bytes() == content, f"{path} is not what was recorded"
        known = {str(f.relative_to(recording.end)) for f in recording.end.rglob("*") if not f.name.endswith("-lock")}
        known = {f for f in known if "spool" not in f}
        assert known <= {path.removeprefix("home/") for path in seen}, "files that were not recorded"

    def hear(self, told, event):
        """-> True: a receipt"""
        kind, _, rest = event.data.decode().partition(" ")
        agency = self.recording.agencies.get(event.file)
        if kind == "INIT":
            told.made = True
        elif kind == "CHECKPOINT":
            told.checkpoint = rest
        elif agency and kind == "R":
            number, sequence, reason, *_ = map(int, rest.split(" "))
            assert reason == 0 and self.recording.logged[sequence] == f"{agency}-{number}"
            told.sequence, told.receipts = max(told.sequence, sequence), told.receipts + 1
            return True
        elif agency and kind == "D":
            words = rest.rstrip("\n").split(" ")
            assert self.recording.logged[int(words[1])] == words[4]
            told.sequence = max(told.sequence, int(words[1]))
        return False

    def told_at(self, moment):
        low, high = 0, len(self.told)
        while low < high:
            middle = (low + high) // 2
            low, high = (middle + 1, high) if self.told[middle][0] <= moment else (low, middle)
        return self.told[low - 1][1] if low else vars(Told())

    # -- the losses
    def sample(self, count):
        groups = [g for g in WEIGHTS if self.moments.get(g)]
        assert {"journal", "state", "slots"} <= set(groups) and self.moments["receipt"]
        rest = 1 - sum(WEIGHTS[g] for g in groups)
        chosen = self.rng.choices(groups + ["receipt"], [WEIGHTS[g] for g in groups] + [rest], k=count)
        return sorted(self.rng.choice(self.moments[group]) for group in chosen)

    def run(self, count, start_share, workers=2, unsynced=None, enough=None):
        """`start_share`: of how many states a hub is really started; `unsynced`: a planted fault (Disk); `enough`: ends
        with so many wrong states."""
        disk, played, under_way = Disk(self.recording.root, unsynced), 0, set()
        with concurrent.futures.ThreadPoolExecutor(workers) as pool:
            for number, moment in enumerate(self.sample(count)):
                if enough is not None and len(self.wrong) >= enough:
                    break
                for event in self.recording.events[played:moment]:
                    if event.kind != FACT:
                        disk.play(event)
                played = moment
                choices = Choices(self.rng)
                state = disk.state(choices)
                for path in disk.pending():
                    kind = choices.used.get(path)
                    self.kinds[kind] = self.kinds.get(kind, 0) + 1
                home = self.write(number, state)
                unsynced = {path: choices.used.get(path, "no more there") for path in disk.pending()}
                about = f"state {number}, moment {moment}, unsynced: {unsynced}"
                job = (home, moment, about, self.rng.random() < start_share)
                under_way.add(pool.submit(self.judge, *job))
                if len(under_way) > 2 * workers:
                    finished, under_way = concurrent.futures.wait(under_way, None, concurrent.futures.FIRST_COMPLETED)
                    for one in finished:
                        one.result()
            for one in under_way:
                one.result()

    def write(self, number, state):
        """-> the home; None: there is none"""
        folder = self.folder / str(number)
        folder.mkdir()
        for path, content in state.items():
            if content is None:
                (folder / path).mkdir(0o700)
            else:
                with open(os.open(folder / path, os.O_CREAT | os.O_WRONLY, 0o600), "wb") as file:
                    file.write(content)
        home = folder / "home"
        if "home" not in state:
            shutil.rmtree(folder)
            return None
        if "home/hub.yaml" in state:
            (home / "hub.yaml").write_text(self.recording.settings, "utf-8")
        if self.rng.random() < 0.5 and (home / "data").exists():
            for name, content in self.recording.locks.items():
                (home / "data" / name).write_bytes(content)
        return home

    def judge(self, home, moment, about, start):
        told = self.told_at(moment)
        self.counts["states"] += 1
        if home is None:
            self.counts["without a home"] += 1
            if told["made"]:
                self.wrong.append(f"the home is gone\n  {about}")
            return
        try:
            self.look(home, told)
            if start:
                self.start(home)
                self.counts["started"] += 1
            shutil.rmtree(home.parent)
        except (AssertionError, ValueError, OSError, subprocess.TimeoutExpired) as error:
            self.wrong.append(f"{error}\n  {about}\n  {told}")
            if os.environ.get("TRUC_TEST_KEEP") is not None:
                kept = pathlib.Path(os.environ["TRUC_TEST_KEEP"]) / f"{home.parent.name}-{moment}"
                shutil.copytree(home.parent, kept, dirs_exist_ok=True)
            shutil.rmtree(home.parent)

    def look(self, home, told):
        """The journal is a beginning of the one that was, with all that anybody was told of; the log is whole."""
        rows, all_rows = rows_of(home), self.recording.rows
        assert rows == all_rows[: len(rows)] and rows, "the journal is not a beginning of what was written"
        missing = told["sequence"] - rows[-1][1]
        assert missing <= 0, f"{missing} events are lost that were receipted or delivered"
        self.counts["rows behind"] += len(rows) < len(all_rows)
        more = []
        if told["checkpoint"]:
            kept = home.parent / "checkpoint"
            kept.write_text(told["checkpoint"], "utf-8")
            more = ["--checkpoint", kept]
        self.verify(home, *more)
        return rows

    def verify(self, home, *more):
        command = [build_dir() / "truc", "log", "verify", "--home", home, "--json", "--workers", "1", *more]
        done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE)
        found = json.loads(done.stdout)["findings"][:3] if done.stdout else done.stderr[-600:]
        assert done.returncode == 0, f"log verify: exit {done.returncode} {found}"

    def start(self, home):
        """The real start, an orderly stop, and the log still goes on from what it was."""
        before = rows_of(home)
        with open(home.parent / "hub.log", "w+b") as out:
            hub = subprocess.Popen([build_dir() / "truc-hub", "--home", home], stdout=out, stderr=out)
            try:
                said = self.await_ready(hub, home.parent / "hub.log")
                hub.send_signal(signal.SIGTERM)
                assert hub.wait(PATIENCE) == 0, f"the hub does not stop in order:\n{said[-600:]}"
            finally:
                hub.kill()
                hub.wait()
        rows = rows_of(home)
        assert len(rows) > len(before) and rows[: len(before)] == before, "the start changed rows"
        self.verify(home)

    def await_ready(self, hub, log):
        deadline = time.monotonic() + PATIENCE
        while True:
            said, ended = log.read_text("utf-8", "replace"), hub.poll()
            if "ready endpoint=" in said:
                return said
            assert ended is None, f"the hub does not start:\n{said[-600:]}"
            assert time.monotonic() < deadline, f"the hub is not ready:\n{said[-600:]}"
            time.sleep(0.002)
