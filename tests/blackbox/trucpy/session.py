"""One connection to a hub: DEALER with CURVE, raw parts in and out, and the knowledge that it was lost."""

import time

import zmq
from zmq.utils.monitor import parse_monitor_message

from . import frames, reasons

LOST_EVENTS = {
    zmq.EVENT_DISCONNECTED: "disconnected",
    zmq.EVENT_CLOSED: "connection refused",
    zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL: "handshake failed",
    zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL: "handshake failed: protocol",
    zmq.EVENT_HANDSHAKE_FAILED_AUTH: "handshake refused",
}


class SessionLost(Exception):
    """The hub ended the session. `reason`: of its BYE, or None where the connection just went."""

    def __init__(self, reason, why):
        super().__init__(f"session lost: {reasons.name(reason) if reason is not None else 'no BYE'} ({why})")
        self.reason, self.why = reason, why


class Timeout(Exception):
    """What was waited for did not come."""


class Session:
    """Raw frames over one TCP connection. Not for several threads."""

    def __init__(self, endpoint, server_key, transport):
        """`server_key`: the hub's CURVE public key, `transport`: (public, secret); all Z85, 40 bytes."""
        context = zmq.Context.instance()
        self.socket = context.socket(zmq.DEALER)
        self.socket.linger = 0
        self.socket.sndtimeo = 20000
        # A lost connection must be seen, not mended: the next session is a new socket (section 1).
        self.socket.setsockopt(zmq.RECONNECT_IVL, 3600000)
        self.socket.curve_serverkey = server_key
        self.socket.curve_publickey, self.socket.curve_secretkey = transport
        self.monitor = self.socket.get_monitor_socket()
        self.poller = zmq.Poller()
        self.poller.register(self.socket, zmq.POLLIN)
        self.poller.register(self.monitor, zmq.POLLIN)
        self.reader = frames.Reader()
        self.bye = None
        self.lost = None
        self.connected = False
        self.socket.connect(endpoint)

    def close(self):
        if not self.socket.closed:
            self.socket.disable_monitor()
            self.monitor.close(0)
            self.socket.close(0)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    # -- out
    def send_parts(self, *parts):
        """One ZeroMQ message exactly as given."""
        self.socket.send_multipart(parts)

    def send(self, kind, message=None, body=None):
        for parts in frames.encode(kind, message, body):
            self.socket.send_multipart(parts)

    # -- in
    def _note_events(self):
        while self.monitor.poll(0):
            event = parse_monitor_message(self.monitor.recv_multipart())["event"]
            if event == zmq.EVENT_HANDSHAKE_SUCCEEDED:
                self.connected = True
            elif event in LOST_EVENTS and self.lost is None:
                self.lost = LOST_EVENTS[event]

    def recv(self, timeout=20.0):
        """The next whole frame; SessionLost after BYE or a loss, once what came before it is read; Timeout."""
        deadline = time.monotonic() + timeout
        while True:
            self._note_events()
            while self.bye is None and self.socket.poll(0):
                frame = self.reader.feed(self.socket.recv_multipart())
                if frame is None:
                    continue
                if frame.kind == frames.BYE:
                    self.bye = frame.message
                    break
                return frame
            if self.bye is not None:
                raise SessionLost(self.bye.reason, self.bye.text)
            if self.lost is not None:
                raise SessionLost(None, self.lost)
            left = deadline - time.monotonic()
            if left <= 0:
                raise Timeout(f"no frame within {timeout} s")
            self.poller.poll(left * 1000)

    def wait_closed(self, timeout=20.0):
        """Waits until the hub has closed the TCP connection; frames that still come are thrown away."""
        deadline = time.monotonic() + timeout
        while self.lost is None:
            self._note_events()
            while self.socket.poll(0):
                try:
                    frame = self.reader.feed(self.socket.recv_multipart())
                except frames.FrameError:
                    continue
                if frame is not None and frame.kind == frames.BYE:
                    self.bye = frame.message
            left = deadline - time.monotonic()
            if left <= 0 and self.lost is None:
                raise Timeout("the hub did not close the connection")
            if self.lost is None:
                self.poller.poll(min(left, 0.2) * 1000)
        return self.bye.reason if self.bye is not None else None
