"""What the programs of the bench share: children, readings of /proc, a hub with its agencies."""

import contextlib
import json
import os
import pathlib
import selectors
import socket
import subprocess
import threading
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
TICKS = os.sysconf("SC_CLK_TCK")


def fail(why):
    raise SystemExit(f"bench: {why}")


def run(command, timeout=300, **kw):
    done = subprocess.run([str(c) for c in command], capture_output=True, text=True, timeout=timeout, **kw)
    if done.returncode:
        fail(f"{' '.join(map(str, command))}: exit {done.returncode}\n{done.stdout}{done.stderr}")
    return done.stdout


# ---- processes ------------------------------------------------------------------------------------------------------


class Processes:
    """Children that never outlive the run; only they are ever signalled."""

    def __init__(self):
        self.all = []

    def start(self, command, **kw):
        process = subprocess.Popen([str(c) for c in command], **kw)
        self.all.append(process)
        return process

    def stop(self, process, timeout=20):
        if process.poll() is None:
            process.terminate()
            try:
                process.wait(timeout)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        self.all.remove(process)

    def close(self):
        for process in list(self.all):
            self.stop(process, 5)


def read_line(process, timeout):
    """One line of a child's stdout, or a failure: never blocks for longer."""
    with selectors.DefaultSelector() as selector:
        selector.register(process.stdout, selectors.EVENT_READ)
        line = b""
        deadline = time.monotonic() + timeout
        while not line.endswith(b"\n"):
            if not selector.select(max(0.0, deadline - time.monotonic())):
                fail(f"{process.args[0]}: no answer within {timeout} s")
            part = os.read(process.stdout.fileno(), 1 << 20)
            if not part:
                fail(f"{process.args[0]}: ended with {process.wait()}")
            line += part
        return line.decode()


def threads_cpu(pid):
    """-> {thread id: (name, CPU seconds)}"""
    out = {}
    for task in pathlib.Path(f"/proc/{pid}/task").iterdir():
        with contextlib.suppress(OSError):
            name = (task / "comm").read_text().strip()
            out[task.name] = (name, int((task / "schedstat").read_text().split()[0]) / 1e9)
    return out


def machine_cpu():
    """-> (busy, stolen) seconds of the whole machine"""
    v = [int(x) / TICKS for x in pathlib.Path("/proc/stat").read_text().split("\n")[0].split()[1:9]]
    return v[0] + v[1] + v[2] + v[5] + v[6], v[7]


def memory(pid):
    """-> MiB: resident, proportional, anonymous (what no file stands behind)"""
    fields = {}
    for line in pathlib.Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:]:
        name, value = line.split(":")
        fields[name] = int(value.split()[0]) / 1024
    return {"rss_mib": fields["Rss"], "pss_mib": fields["Pss"], "anonymous_mib": fields["Anonymous"]}


def private_mib(pid):
    """Anonymous memory, read where that costs nothing. None: the process is gone."""
    with contextlib.suppress(OSError):
        for line in pathlib.Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith("RssAnon:"):
                return int(line.split()[1]) / 1024
    return None


class PeakMemory:
    """The most private memory that a process had, looked at twenty times a second."""

    def __init__(self, pid):
        self.pid, self.peak = pid, 0.0
        self.ended = threading.Event()
        self.thread = threading.Thread(target=self.watch, daemon=True)
        self.thread.start()

    def watch(self):
        while not self.ended.wait(0.05):
            self.peak = max(self.peak, private_mib(self.pid) or 0.0)

    def stop(self):
        self.ended.set()
        self.thread.join()
        return self.peak


# ---- a hub with its agencies ----------------------------------------------------------------------------------------

MORE_SETTINGS = """limits:
  sessions: 8192
"""


class Hub:
    def __init__(self, build, folder, processes):
        self.build, self.folder, self.processes = build, folder, processes
        self.home = folder / "home"
        with socket.socket() as s:
            s.bind(("127.0.0.1", 0))
            self.endpoint = f"tcp://127.0.0.1:{s.getsockname()[1]}"
        run([build / "truc", "init", "--home", self.home, "--origin", "bench.truc/1", "--listen", self.endpoint])
        config = self.home / "hub.yaml"
        config.write_text(config.read_text().replace("journal: 16 GiB", "journal: 64 GiB")
                          .replace("log_level: info", "log_level: warn") + MORE_SETTINGS)
        self.start()

    def start(self):
        """-> seconds until it is ready"""
        begin = time.monotonic()
        self.process = self.processes.start([self.build / "truc-hub", "--home", self.home], stdout=subprocess.PIPE)
        read_line(self.process, 600)
        return time.monotonic() - begin

    def stop(self):
        self.processes.stop(self.process, 60)
        if self.process.returncode:
            fail(f"the hub ended with {self.process.returncode}")

    def kill(self):
        self.process.kill()
        self.process.wait()
        self.processes.all.remove(self.process)

    def truc(self, *arguments):
        return run([self.build / "truc", *arguments], env=dict(os.environ, TRUC_PROFILE=str(self.home / "admin-1")))

    def agency(self, code, group):
        profile = self.folder / code
        self.truc("agency", "add", code, "--name", code, "--group", group, "--profile-out", profile, "--no-quota")
        return profile

    def grant(self):
        self.truc("grant", "add", "bench", "--from", "@senders", "--to", "@receivers", "--type", "bench.*", "--basis", "benchmark")

    def status(self):
        return json.loads(self.truc("status", "--json"))

    def data_bytes(self):
        return sum((self.home / "data" / name).stat().st_size for name in ("journal.mdb", "state.mdb"))
