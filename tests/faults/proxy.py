"""A TCP proxy between the clients and the hub, in a thread of its own: connections that are cut, half-open, dead, stalled
or torn into small pieces, as a network and the machines in it do."""

import asyncio
import contextlib
import socket
import struct
import threading

RESET = struct.pack("ii", 1, 0)  # SO_LINGER: a close is an RST
PATIENCE = 30
ROOM = 32 << 10  # of a socket's buffer on the clients' side, so that the rate below is felt at once


class Pair:
    """One connection through the proxy. `dead`: nothing passes any more, in either direction."""

    def __init__(self, client, hub):
        self.client, self.hub, self.dead = client, hub, False


def reset(writer):
    with contextlib.suppress(OSError):
        writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
    writer.transport.abort()


class Proxy:
    """Use `port` instead of the hub's. `rate`: bytes/s that pass from each client at most, so that a log that is
    verified again and again stays small."""

    def __init__(self, target, rate):
        self.target, self.rate, self.pairs, self.tasks = target, rate, [], set()
        self.piece, self.accepted = 0, 0
        self.loop, started = asyncio.new_event_loop(), threading.Event()
        self.thread = threading.Thread(target=self.run, args=(started,), daemon=True)
        self.thread.start()
        assert started.wait(PATIENCE)

    def run(self, started):
        asyncio.set_event_loop(self.loop)
        self.open = asyncio.Event()
        self.open.set()
        self.server = self.loop.run_until_complete(asyncio.start_server(self.serve, "127.0.0.1", 0, limit=ROOM))
        self.port = self.server.sockets[0].getsockname()[1]
        self.server.sockets[0].setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, ROOM)
        started.set()
        self.loop.run_forever()

    def close(self):
        def end():
            self.server.close()
            for pair in self.pairs:
                reset(pair.client)
                reset(pair.hub)
            for task in self.tasks:
                task.cancel()
            self.loop.call_soon(self.loop.stop)

        self.loop.call_soon_threadsafe(end)
        self.thread.join(PATIENCE)

    def call(self, function):
        """Runs it in the proxy's thread. -> its result"""

        async def wrapped():
            return function()

        return asyncio.run_coroutine_threadsafe(wrapped(), self.loop).result(PATIENCE)

    # -- in the thread
    async def serve(self, reader, writer):
        try:
            hub_reader, hub_writer = await asyncio.open_connection("127.0.0.1", self.target)
        except OSError:
            reset(writer)
            return
        pair = Pair(writer, hub_writer)
        self.pairs.append(pair)
        self.accepted += 1
        for source, sink, rate in ((reader, hub_writer, self.rate), (hub_reader, writer, None)):
            task = self.loop.create_task(self.pump(pair, source, sink, rate))
            self.tasks.add(task)
            task.add_done_callback(self.tasks.discard)

    async def pump(self, pair, source, sink, rate):
        try:
            while not pair.dead:
                data = await source.read(ROOM)
                await self.open.wait()
                if pair.dead:
                    return
                if not data:
                    break
                size = self.piece or len(data)
                for at in range(0, len(data), size):
                    sink.write(data[at : at + size])
                    await sink.drain()
                    if self.piece:
                        await asyncio.sleep(0)
                if rate:
                    await asyncio.sleep(len(data) / rate)
        except (ConnectionError, OSError):
            pass
        if not pair.dead:
            self.drop(pair)

    def drop(self, pair):
        reset(pair.client)
        reset(pair.hub)
        if pair in self.pairs:
            self.pairs.remove(pair)

    # -- the faults
    def cut(self):
        """Both ends of every connection, the dead ones too."""
        self.call(lambda: [self.drop(pair) for pair in list(self.pairs)])

    def half_open(self, side):
        """The end of `side`, "client" or "hub", is gone and knows it; the other end hears nothing of that."""

        def act():
            for pair in self.pairs:
                pair.dead = True
                reset(getattr(pair, side))

        self.call(act)

    def swallow(self):
        """Connections stay, and nothing comes through them; new ones work."""

        def act():
            for pair in self.pairs:
                pair.dead = True

        self.call(act)

    @contextlib.contextmanager
    def stalled(self):
        """What is sent arrives after the block."""
        self.call(self.open.clear)
        try:
            yield
        finally:
            self.call(self.open.set)

    @contextlib.contextmanager
    def in_pieces(self, size):
        self.piece = size
        try:
            yield
        finally:
            self.piece = 0
