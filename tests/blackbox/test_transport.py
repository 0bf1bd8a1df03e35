"""Below the frames: what a peer can do to ZeroMQ itself costs its connection, never the hub its memory."""

import socket
import unittest

from support import HubCase
from trucpy import frames
from trucpy.client import Agency
from trucpy.schema import truc
from trucpy.zmtp import MORE, RawPeer


class Raw(HubCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.bystander_agency = cls.hub.enrol("BYSTANDER")

    def setUp(self):
        super().setUp()
        self.bystander = self.hub.connect(self.bystander_agency)

    def peer(self, agency=None):
        peer = RawPeer(self.hub.endpoint, self.hub.server_key, (agency or self.agency()).transport)
        self.addCleanup(peer.close)
        return peer

    def hello(self, peer, agency):
        client = self.hub.session(agency)
        peer.send_part(frames.header(frames.HELLO) + client.hello_message().SerializeToString())
        client.close()
        flags, part = peer.recv_part()
        self.assertEqual((flags, part[:4]), (0, frames.header(frames.WELCOME)))

    def flood(self, peer, part, flags, limit):
        """Sends parts until the hub ends it. -> parts sent; fails at `limit`."""
        peak = before = self.resident()
        for i in range(limit):
            try:
                peer.send_part(part, flags)
            except (ConnectionError, socket.timeout):
                return i, peak - before
            if i % 16 == 0:
                peak = max(peak, self.resident())
        self.fail(f"the hub took {limit} parts of {len(part)} bytes and kept the connection")

    def test_the_hand_made_peer_speaks_the_protocol(self):
        agency = self.agency()
        peer = self.peer(agency)
        peer.handshake()
        self.hello(peer, agency)
        peer.send_part(frames.header(frames.PING) + truc.Ping(token=9).SerializeToString())
        flags, part = peer.recv_part()
        self.assertEqual((flags, part[1], truc.Pong.FromString(part[4:]).token), (0, frames.PONG, 9))

    def test_a_multipart_of_large_parts_without_an_end(self):
        agency = self.agency()
        peer = self.peer(agency)
        peer.handshake()
        self.hello(peer, agency)
        _, grown = self.flood(peer, bytes(200000), MORE, 2000)
        self.assertGrewLess(grown, 128 << 20, "the hub kept what it should have refused")
        self.bystander.ping()

    def test_a_multipart_of_empty_parts_without_an_end(self):
        agency = self.agency()
        peer = self.peer(agency)
        peer.handshake()
        self.hello(peer, agency)
        self.flood(peer, b"", MORE, 1000000)
        self.bystander.ping()

    def test_a_multipart_without_an_end_before_hello(self):
        peer = self.peer()
        peer.handshake()
        _, grown = self.flood(peer, bytes(200000), MORE, 2000)
        self.assertGrewLess(grown, 128 << 20, "memory before HELLO")
        self.bystander.ping()

    def test_what_a_closed_connection_left_behind_costs_no_later_one(self):
        # Frames of a peer that has gone may be read after its end was noticed, when its descriptor is another's.
        victims, careless = [], self.agency()
        for _ in range(30):
            client = self.hub.connect(careless)
            for i in range(50):
                client.send(frames.PING, truc.Ping(token=i))
            client.recv()
            client.close()
            victims.append(self.hub.connect(self.bystander_agency))
            victims[-1].ping()
        for _ in range(3):
            for client in victims:
                client.ping()

    def test_a_part_announced_larger_than_any_limit(self):
        peer = self.peer()
        peer.handshake()
        peer.sock.sendall(b"\x02" + (1 << 40).to_bytes(8, "big") + bytes(100000))
        peer.until_closed()
        self.bystander.ping()

    def test_a_handshake_of_an_unknown_key_gets_no_ready(self):
        peer = self.peer(Agency("NOBODY"))
        peer.greet()
        peer.hello()
        peer.welcome()
        peer.initiate()
        with self.assertRaises(ConnectionError):
            peer.ready()
        self.bystander.ping()

    def test_handshakes_that_stop_half_way_disturb_nobody(self):
        for steps in (0, 1, 2, 3):
            for _ in range(10):
                peer = self.peer(Agency("X"))
                for step in (peer.greet, peer.hello, peer.welcome, peer.initiate)[:steps]:
                    step()
        self.bystander.ping()
        self.hub.connect(self.agency()).ping()

    def test_a_forged_message_box_ends_the_connection(self):
        agency = self.agency()
        peer = self.peer(agency)
        peer.handshake()
        peer.send_frame(b"\x07MESSAGE" + peer._next_nonce() + bytes(100))
        peer.until_closed()
        self.bystander.ping()


if __name__ == "__main__":
    unittest.main()
