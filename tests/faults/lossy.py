"""Two network namespaces and a bad link between them: packets are lost, delayed, overtaken and doubled.

The link is two TUN devices with this module between them. It does what `tc netem` does, on kernels without that too.
"""

import contextlib
import ctypes
import fcntl
import heapq
import os
import random
import selectors
import struct
import subprocess
import threading
import time

TUN = "/dev/net/tun"
TUNSETIFF, IFF_TUN, IFF_NO_PI = 0x400454CA, 0x0001, 0x1000
CLONE_NEWNET = 0x40000000
MTU = 1500
QUEUE = 2000  # packets under way; more are lost, as in a router


class NotHere(Exception):
    """This machine has no namespaces or no TUN devices for us."""


def ip(*arguments):
    done = subprocess.run(["ip", *arguments], capture_output=True, text=True)
    if done.returncode:
        raise NotHere(f"ip {' '.join(arguments)}: {done.stderr.strip()}")


class Side:
    def __init__(self, name, address):
        self.name, self.address = name, address
        self.device = name.replace("truc", "t")[:15]
        ip("netns", "add", name)
        try:
            self.fd = os.open(TUN, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
            fcntl.ioctl(self.fd, TUNSETIFF, struct.pack("16sH", self.device.encode(), IFF_TUN | IFF_NO_PI))
        except OSError as error:
            self.close()
            raise NotHere(f"{TUN}: {error}") from error
        ip("link", "set", "dev", self.device, "netns", name)
        ip("-n", name, "address", "add", f"{address}/30", "dev", self.device)
        ip("-n", name, "link", "set", "dev", self.device, "mtu", str(MTU), "up")
        ip("-n", name, "link", "set", "dev", "lo", "up")

    def close(self):
        if getattr(self, "fd", None) is not None:
            os.close(self.fd)
        subprocess.run(["ip", "netns", "delete", self.name], capture_output=True)


class Link:
    """`hub`, `clients`: the two sides. `loss`, `twice`: shares of packets; `delay`: seconds, from and to."""

    def __init__(self, seed):
        if os.geteuid() != 0:
            raise NotHere("namespaces need root")
        self.rng = random.Random(seed)
        self.loss, self.twice, self.delay = 0.0, 0.0, (0.0, 0.0)
        self.passed = self.lost = 0
        self.sides, self.ending = [], False
        self.home = os.open("/proc/self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        try:
            for name, address in (("a", "198.18.77.1"), ("b", "198.18.77.2")):
                self.sides.append(Side(f"truc{os.getpid()}{name}", address))
        except BaseException:
            self.close()
            raise
        self.hub, self.clients = self.sides
        self.thread = threading.Thread(target=self.relay, daemon=True)
        self.thread.start()

    def close(self):
        self.ending = True
        if hasattr(self, "thread"):
            self.thread.join(10)
        for side in self.sides:
            side.close()
        os.close(self.home)

    @contextlib.contextmanager
    def on_clients_side(self):
        """This thread, and what it starts, is in the clients' namespace."""
        libc = ctypes.CDLL(None, use_errno=True)
        with open(f"/run/netns/{self.clients.name}", "rb") as namespace:
            if libc.setns(namespace.fileno(), CLONE_NEWNET) != 0:
                raise NotHere(os.strerror(ctypes.get_errno()))
        try:
            yield
        finally:
            assert libc.setns(self.home, CLONE_NEWNET) == 0

    def relay(self):
        waiting, count = [], 0
        with selectors.DefaultSelector() as selector:
            for side, other in (self.sides, reversed(self.sides)):
                selector.register(side.fd, selectors.EVENT_READ, other.fd)
            while not self.ending:
                pause = min(0.1, max(0.0, waiting[0][0] - time.monotonic())) if waiting else 0.1
                for key, _ in selector.select(pause):
                    with contextlib.suppress(BlockingIOError):
                        while True:
                            packet = os.read(key.fd, 65536)
                            for _ in range(2 if self.rng.random() < self.twice else 1):
                                if self.rng.random() < self.loss or len(waiting) >= QUEUE:
                                    self.lost += 1
                                    continue
                                count += 1
                                due = time.monotonic() + self.rng.uniform(*self.delay)
                                heapq.heappush(waiting, (due, count, key.data, packet))
                while waiting and waiting[0][0] <= time.monotonic():
                    _, _, fd, packet = heapq.heappop(waiting)
                    # A device that is full or going down loses packets like any other.
                    with contextlib.suppress(OSError):
                        os.write(fd, packet)
                        self.passed += 1
