"""ZMTP 3.1 with CURVE by hand over a plain socket, for what libzmq would never send: multiparts without an end,
handshakes that stop half way, commands in the middle of a message. Nobody needs this for a client."""

import ctypes
import ctypes.util
import os
import socket
import struct

from zmq.utils import z85

MORE, COMMAND = 1, 2
GREETING = b"\xff" + bytes(8) + b"\x7f" + b"\x03\x01" + b"CURVE".ljust(20, b"\0") + b"\0" + bytes(31)


def _sodium():
    name = ctypes.util.find_library("sodium")
    if name is None:
        raise RuntimeError("libsodium, which libzmq's CURVE rests on, is not here")
    lib = ctypes.CDLL(name)
    if lib.sodium_init() < 0:
        raise RuntimeError("libsodium does not start")
    return lib


class Box:
    """NaCl boxes between a secret and a public key."""

    def __init__(self, public, secret):
        self.lib, self.key = _sodium(), ctypes.create_string_buffer(32)
        if self.lib.crypto_box_beforenm(self.key, public, secret):
            raise ValueError("bad key")

    def seal(self, nonce, message):
        out = ctypes.create_string_buffer(len(message) + 16)
        self.lib.crypto_box_easy_afternm(out, message, ctypes.c_ulonglong(len(message)), nonce, self.key)
        return out.raw

    def open(self, nonce, box):
        out = ctypes.create_string_buffer(max(len(box) - 16, 1))
        if self.lib.crypto_box_open_easy_afternm(out, box, ctypes.c_ulonglong(len(box)), nonce, self.key):
            raise ValueError("box does not open")
        return out.raw[: len(box) - 16]


class RawPeer:
    """A CURVE client down to its bytes."""

    def __init__(self, endpoint, server_key, transport, timeout=20.0):
        host, port = endpoint.removeprefix("tcp://").split(":")
        self.sock = socket.create_connection((host, int(port)), timeout)
        self.server = z85.decode(server_key)
        self.public, self.secret = (z85.decode(k) for k in transport)
        self.nonce = 0

    def close(self):
        self.sock.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    # -- ZMTP frames
    def send_frame(self, body, command=False):
        flags = 4 if command else 0
        if len(body) > 255:
            self.sock.sendall(bytes([flags | 2]) + struct.pack(">Q", len(body)) + body)
        else:
            self.sock.sendall(bytes([flags, len(body)]) + body)

    def recv_exactly(self, n):
        out = b""
        while len(out) < n:
            data = self.sock.recv(n - len(out))
            if not data:
                raise ConnectionError("closed by the hub")
            out += data
        return out

    def recv_frame(self):
        """-> (is a command, body)"""
        flags = self.recv_exactly(1)[0]
        size = struct.unpack(">Q", self.recv_exactly(8))[0] if flags & 2 else self.recv_exactly(1)[0]
        return bool(flags & 4), self.recv_exactly(size)

    def _next_nonce(self):
        self.nonce += 1
        return struct.pack(">Q", self.nonce)

    # -- the handshake, in steps that a test may stop at
    def greet(self):
        self.sock.sendall(GREETING)
        self.recv_exactly(64)

    def hello(self):
        lib = _sodium()
        public, secret = ctypes.create_string_buffer(32), ctypes.create_string_buffer(32)
        lib.crypto_box_keypair(public, secret)
        self.short_public, self.short_secret = public.raw, secret.raw
        nonce = self._next_nonce()
        box = Box(self.server, self.short_secret).seal(b"CurveZMQHELLO---" + nonce, bytes(64))
        self.send_frame(b"\x05HELLO\x01\x00" + bytes(72) + self.short_public + nonce + box, True)

    def welcome(self):
        command, body = self.recv_frame()
        if not command or not body.startswith(b"\x07WELCOME"):
            raise ConnectionError(f"no WELCOME: {body[:20]!r}")
        plain = Box(self.server, self.short_secret).open(b"WELCOME-" + body[8:24], body[24:])
        self.short_server, self.cookie = plain[:32], plain[32:]

    def initiate(self):
        vouch_nonce = os.urandom(16)
        vouch = Box(self.short_server, self.secret).seal(b"VOUCH---" + vouch_nonce, self.short_public + self.server)
        meta = b"\x0bSocket-Type" + struct.pack(">I", 6) + b"DEALER" + b"\x08Identity" + struct.pack(">I", 0)
        nonce = self._next_nonce()
        self.box = Box(self.short_server, self.short_secret)
        sealed = self.box.seal(b"CurveZMQINITIATE" + nonce, self.public + vouch_nonce + vouch + meta)
        self.send_frame(b"\x08INITIATE" + self.cookie + nonce + sealed, True)

    def ready(self):
        command, body = self.recv_frame()
        if not command or not body.startswith(b"\x05READY"):
            raise ConnectionError(f"no READY: {body[:20]!r}")

    def handshake(self):
        self.greet()
        self.hello()
        self.welcome()
        self.initiate()
        self.ready()

    # -- messages
    def send_part(self, part, flags=0):
        nonce = self._next_nonce()
        self.send_frame(b"\x07MESSAGE" + nonce + self.box.seal(b"CurveZMQMESSAGEC" + nonce, bytes([flags]) + part))

    def recv_part(self):
        """-> (flags, part)"""
        _, body = self.recv_frame()
        plain = self.box.open(b"CurveZMQMESSAGES" + body[8:16], body[16:])
        return plain[0], plain[1:]

    def until_closed(self):
        """Reads until the hub has closed the connection."""
        try:
            while self.sock.recv(65536):
                pass
        except ConnectionError:
            pass
