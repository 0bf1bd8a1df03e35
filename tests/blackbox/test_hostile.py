"""Frames that break the rules cost the session that sent them, and nobody else anything."""

import os
import socket
import unittest

import zmq

from support import HubCase
from trucpy import frames, seals, wire
from trucpy.client import SessionLost
from trucpy.events import pack_body
from trucpy.frames import header
from trucpy.reasons import Reason
from trucpy.schema import truc

PING = truc.Ping(token=1).SerializeToString()


class Malformed(HubCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.bystander_agency = cls.hub.enrol("BYSTANDER")

    def setUp(self):
        super().setUp()
        self.bystander = self.hub.connect(self.bystander_agency)

    def attack(self, *messages, reason=None):
        """Sends whole messages (lists of parts) in an open session: it is lost, its neighbour is not."""
        client = self.hub.connect(self.agency())
        for parts in messages:
            client.send_parts(*parts)
        self.assertLost(client, reason)
        self.bystander.ping()

    def test_headers(self):
        for name, first in {
            "version 0": header(frames.PING, version=0) + PING,
            "version 2": header(frames.PING, version=2) + PING,
            "unknown flag": header(frames.PING, 2) + PING,
            "byte 4": header(frames.PING, zero=1) + PING,
            "kind 0": header(0),
            "kind 12": header(12),
            "kind 255": header(255),
            "a kind of the hub": header(frames.PONG) + PING,
            "empty part": b"",
            "three bytes": b"\x01\x09\x00",
            "MORE without a body": header(frames.PING, frames.MORE) + PING,
        }.items():
            with self.subTest(name):
                self.attack([first], reason=Reason.MALFORMED)

    def test_parts(self):
        submit = header(frames.SUBMIT) + truc.Submit(envelope=b"x").SerializeToString()
        for name, parts in {
            "a body where none belongs": [header(frames.PING) + PING, b""],
            "a body missing": [submit],
            "three parts": [submit, b"", b""],
            "a hundred parts": [submit] + [b"x"] * 99,
            "DATA out of nowhere": [header(frames.DATA), b"x"],
            "DATA without its piece": [header(frames.DATA)],
        }.items():
            with self.subTest(name):
                self.attack(parts, reason=Reason.MALFORMED)

    def test_protobuf_garbage(self):
        for kind in (frames.CREDIT, frames.ACK, frames.NACK, frames.SUBSCRIBE, frames.GET_PROOF, frames.QUERY, frames.PING):
            for name, bad in {"runs over": b"\x0a\xff\xff\xff\x7f", "field 0": b"\x00\x01", "ends early": b"\x08"}.items():
                with self.subTest(kind=kind, name=name):
                    self.attack([header(kind) + bad], reason=Reason.MALFORMED)

    def test_a_frame_between_the_pieces(self):
        submit = header(frames.SUBMIT, frames.MORE) + truc.Submit(envelope=b"x").SerializeToString()
        self.attack([submit, b"abc"], [header(frames.PING) + PING], reason=Reason.MALFORMED)

    def test_data_with_a_message(self):
        submit = header(frames.SUBMIT, frames.MORE) + truc.Submit(envelope=b"x").SerializeToString()
        self.attack([submit, b"abc"], [header(frames.DATA) + b"\x08\x01", b"x"], reason=Reason.MALFORMED)

    def test_part_1_too_long(self):
        long = wire.field_bytes(100, bytes(frames.PART1_TO_HUB))
        self.attack([header(frames.PING) + PING + long])

    def test_part_1_at_its_limit_is_well(self):
        client = self.hub.connect(self.agency())
        client.send_parts(header(frames.PING) + PING + wire.field_bytes(100, bytes(frames.PART1_TO_HUB - 12)))
        self.assertEqual(client.recv().kind, frames.PONG)

    def test_a_piece_too_long(self):
        submit = header(frames.SUBMIT) + truc.Submit(envelope=b"x").SerializeToString()
        self.attack([submit, bytes(frames.PIECE + 1)])

    def test_a_message_of_64_mebibytes_is_not_taken_in(self):
        client = self.hub.connect(self.agency())
        before = self.resident()
        try:
            client.send_parts(bytes(64 << 20))
        except Exception as e:  # the send itself may see the loss
            self.assertEqual(type(e).__name__, "Again")
        self.assertLost(client)
        self.bystander.ping()
        self.assertGrewLess(self.resident() - before, 32 << 20, "the hub took the oversized part into memory")

    def test_who_asks_without_reading_is_told_to_wait_and_costs_no_memory(self):
        a, b = self.pair()
        receipt = a.submit(a.event("1", "x.v1", recipients=b.agency.code, data=os.urandom(900000)))
        sequence = receipt.leaf.first
        asking = self.hub.connect(a.agency)
        before = self.resident()
        for request in range(400):  # 360 MB of answers
            asking.send(frames.GET_PROOF, truc.GetProof(request=request + 1, sequence=sequence))
        for _ in range(20):
            self.bystander.ping()
        self.assertGrewLess(self.resident() - before, 192 << 20, "answers that nobody takes pile up in the hub")
        reasons_seen = set()
        for request in range(400):
            asking.wait_until(lambda: asking.proofs or asking.lost, 20.0, "PROOF")
            reasons_seen.add(asking.proofs.popitem()[1].reason)
        self.assertLessEqual(reasons_seen, {Reason.NONE, Reason.OVERLOADED})

    def test_a_body_without_an_end(self):
        client = self.hub.connect(self.agency())
        s = client.chain.seal([b"x"])
        first = header(frames.SUBMIT, frames.MORE) + truc.Submit(envelope=s.envelope).SerializeToString()
        client.send_parts(first, bytes(frames.PIECE))
        with self.assertRaises(SessionLost) as caught:
            for _ in range(200):
                client.send_parts(header(frames.DATA, frames.MORE), bytes(frames.PIECE))
                try:
                    client.recv(0)
                except SessionLost:
                    raise
                except Exception as e:
                    self.assertEqual(type(e).__name__, "Timeout")
            client.recv()
        self.assertIn(caught.exception.reason, (Reason.MALFORMED, Reason.TOO_LARGE))
        self.bystander.ping()

    def test_empty_pieces_without_an_end(self):
        client = self.hub.connect(self.agency())
        s = client.chain.seal([b"x"])
        first = header(frames.SUBMIT, frames.MORE) + truc.Submit(envelope=s.envelope).SerializeToString()
        client.send_parts(first, b"")
        for _ in range(20000):
            try:
                client.send_parts(header(frames.DATA, frames.MORE), b"")
            except zmq.Again:
                break  # the connection is gone already
        self.assertLost(client)
        self.bystander.ping()

    def test_events_bodies_that_do_not_fit(self):
        client = self.hub.connect(self.agency())
        events = [client.event("1", "x.v1"), client.event("2", "x.v1")]
        envelope = client.chain.seal(events).envelope
        body = pack_body(events)
        for name, bad in {
            "one short": pack_body(events[:1]),
            "one more": body + pack_body(events[:1]),
            "ends within an event": body[:-1],
            "ends within a length": body + b"\x01\x00",
            "a length beyond everything": b"\xff\xff\xff\xff" + body,
            "a byte more": body + b"\x00",
        }.items():
            with self.subTest(name):
                client.send(frames.SUBMIT, truc.Submit(envelope=envelope), bad)
                self.assertLost(client)
                client = self.hub.connect(client.agency)
                self.bystander.ping()

    def test_envelopes_that_do_not_parse(self):
        for name, bad in {
            "empty": b"",
            "noise": os.urandom(300),
            "too long": bytes(5000),
        }.items():
            with self.subTest(name):
                c = self.hub.connect(self.agency())
                c.send(frames.SUBMIT, truc.Submit(envelope=bad), pack_body([c.event("1", "x.v1")]))
                self.assertLost(c, Reason.MALFORMED)
                self.bystander.ping()

    def test_envelopes_with_wrong_insides(self):
        from trucpy.schema import dsse

        def two_signatures(c, s):
            e = dsse.Envelope.FromString(s.envelope)
            e.signatures.append(e.signatures[0])
            return e.SerializeToString()

        def no_signature(c, s):
            e = dsse.Envelope.FromString(s.envelope)
            del e.signatures[:]
            return e.SerializeToString()

        def other_keyid(c, s):
            return seals.wrap(s.seal.SerializeToString(), c.agency.private, "ab" * 32)

        def other_type(c, s):
            return seals.wrap(s.seal.SerializeToString(), c.agency.private, payload_type="application/json")

        def unknown_field(c, s):
            return seals.wrap(s.seal.SerializeToString() + wire.field_varint(15, 1), c.agency.private)

        def field_twice(c, s):
            return seals.wrap(s.seal.SerializeToString() + wire.field_varint(7, 1), c.agency.private)

        def short_chain(c, s):
            return c.chain.seal(s.events, chain=b"short").envelope

        def short_root(c, s):
            return c.chain.seal(s.events, root=b"short").envelope

        def number_0(c, s):
            return c.chain.seal(s.events, number=0).envelope

        for make in (two_signatures, no_signature, other_keyid, other_type, unknown_field, field_twice, short_chain,
                     short_root, number_0):  # fmt: skip
            with self.subTest(make.__name__):
                c = self.hub.connect(self.agency())
                s = c.chain.seal([c.event("1", "x.v1")], commit=False)
                c.send(frames.SUBMIT, truc.Submit(envelope=make(c, s)), pack_body(s.events))
                self.assertLost(c, Reason.MALFORMED)
                self.bystander.ping()

    def test_an_ack_of_too_many_ranges(self):
        ack = truc.Ack()
        for i in range(4097):
            ack.ranges.add(lease=1, first=1, count=1)
        self.attack([header(frames.ACK) + ack.SerializeToString()], reason=Reason.MALFORMED)

    def test_an_ack_of_everything_settles_nothing(self):
        a, b = self.pair()
        a.submit(a.event("1", "x.v1", recipients=b.agency.code))
        b.credit(1)
        d = b.receive_one()
        ack = truc.Ack()
        ack.ranges.add(lease=d.lease + 77, first=0, count=0xFFFFFFFF)
        b.send(frames.ACK, ack)
        try:
            b.ping()
        except SessionLost:
            b = self.hub.connect(b.agency)
        self.bystander.ping()
        rows = b.query("inbox")
        self.assertEqual(rows[0]["floor"], 0)

    def test_noise_on_the_port_disturbs_nobody(self):
        host, port = self.hub.endpoint.removeprefix("tcp://").split(":")
        for noise in (b"GET / HTTP/1.1\r\n\r\n", os.urandom(5000), b"\xff\x00\x00\x00\x00\x00\x00\x00\x01\x7f", b""):
            with socket.create_connection((host, int(port)), 10) as s:
                s.sendall(noise)
            self.bystander.ping()

    def test_many_silent_connections_disturb_nobody(self):
        host, port = self.hub.endpoint.removeprefix("tcp://").split(":")
        open_ones = [socket.create_connection((host, int(port)), 10) for _ in range(100)]
        try:
            self.bystander.ping()
            self.hub.connect(self.agency()).ping()
        finally:
            for s in open_ones:
                s.close()

    def test_a_flood_of_pings_is_answered_or_ended_and_disturbs_nobody(self):
        client = self.hub.connect(self.agency())
        try:
            for i in range(20000):
                client.send(frames.PING, truc.Ping(token=i))
        except Exception as e:
            self.assertEqual(type(e).__name__, "Again")
        self.bystander.ping()


if __name__ == "__main__":
    unittest.main()
