"""What the hub is measured against: ../shared/bench's model of it, Redis Streams and NATS JetStream, on the same disk and
cores. Whatever is not installed is left out, and said."""

import os
import shutil
import socket
import subprocess
import time

from harness import ROOT, fail, run

SOURCE = ROOT.parent / "shared" / "bench"
START_WAIT = 30


def figures_of(text):
    """metric -> value of lines "area, config, metric, value\""""
    out = {}
    for line in text.splitlines():
        parts = line.split("\t")
        if len(parts) == 4:
            out[parts[2]] = float(parts[3])
    return out


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def wait_for_port(port):
    deadline = time.monotonic() + START_WAIT
    while time.monotonic() < deadline:
        with socket.socket() as s:
            if s.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.05)
    fail(f"port {port} never opened")


class Peers:
    """Built aside: the folder with the sources is read only."""

    def __init__(self, folder, processes, model, peers):
        self.folder, self.processes = folder, processes
        self.copy = folder / "peers"
        self.model = self.redis = self.nats = None
        if not SOURCE.is_dir():
            print("model and peers: ../shared/bench is not there, left out")
            return
        shutil.copytree(SOURCE, self.copy, ignore=shutil.ignore_patterns("results"))
        for path in [self.copy, *self.copy.rglob("*")]:
            path.chmod(path.stat().st_mode | 0o200)
        self.model = self.build("hubproto", None) if model else None
        self.redis = self.build("redis_bench", "redis-server") if peers else None
        self.nats = self.build("nats_bench", "nats-server") if peers else None

    def build(self, name, server):
        if server and not shutil.which(server, path=os.environ.get("PATH", "") + ":/usr/sbin"):
            print(f"{name}: {server} is not installed, left out")
            return None
        done = subprocess.run(["make", "-s", f"bin/{name}"], cwd=self.copy, capture_output=True, text=True)
        if done.returncode:
            print(f"{name}: does not build here, left out: {(done.stderr.strip().splitlines() or ['?'])[-1]}")
            return None
        return self.copy / "bin" / name

    def names(self):
        return [name for name in ("redis", "nats") if getattr(self, name)]

    def data(self):
        path = self.folder / "peer-data"
        shutil.rmtree(path, ignore_errors=True)
        path.mkdir()
        return path

    def run_model(self, row, seconds):
        """The full model's figures for a row: CURVE, protobuf, tree, P-256, one row a commit. It does not encrypt at rest,
        as the hub does: this is the variant against which the aims are set."""
        senders, size, environment = row.model
        data = self.data()
        text = run([self.model, data, max(2, round(seconds)), senders, row.window, 2, "sdvechmrt", size], env=dict(os.environ, **environment))
        shutil.rmtree(data)
        return figures_of(text)

    def serve(self, command, port, work):
        with open(self.folder / "peer.log", "w", encoding="utf-8") as log:
            server = self.processes.start(command, stdout=log, stderr=log, env=dict(os.environ, PATH=os.environ.get("PATH", "") + ":/usr/sbin"))
        wait_for_port(port)
        time.sleep(0.5)  # as run_hubfull.sh: they load what is there after they listen
        text = run(work)
        self.processes.stop(server)
        return figures_of(text)

    def run_redis(self, seconds):
        data, port = self.data(), free_port()
        out = self.serve(["redis-server", "--port", port, "--bind", "127.0.0.1", "--appendonly", "yes", "--appendfsync", "always", "--save", "",
                          "--dir", data, "--auto-aof-rewrite-percentage", "0"], port,
                         [self.redis, "pub", port, "peer", "redis always", 1024, round(seconds), 4, 1000])
        shutil.rmtree(data)
        return out

    def run_nats(self, seconds):
        data, port = self.data(), free_port()
        config = self.folder / "nats.conf"
        config.write_text(f'listen: "127.0.0.1:{port}"\nmax_payload: 8MB\n'
                          f'jetstream {{ store_dir: "{data}", max_file_store: 20GB, max_memory_store: 1GB }}\n')
        out = self.serve(["nats-server", "-c", config], port,
                         [self.nats, "pub", f"nats://127.0.0.1:{port}", "peer", "nats default", 1024, round(seconds), 4, 1000, 1])
        shutil.rmtree(data)
        return out
