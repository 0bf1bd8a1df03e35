"""Greeting a hub: who is let in, under which name, for which log, and what WELCOME proves."""

import unittest

import zmq

from support import HubCase, configured
from trucpy import frames
from trucpy.client import Agency, SessionLost, Timeout
from trucpy.events import now_us
from trucpy.reasons import Reason
from trucpy.schema import truc


class Greeting(HubCase):
    def test_welcome_names_the_log_the_limits_and_the_time(self):
        client = self.hub.session(self.agency())
        before = now_us()
        welcome = client.hello()
        self.assertEqual((welcome.protocol, welcome.origin), (1, self.hub.origin))
        self.assertTrue(before - 5000000 <= welcome.now_us <= now_us() + 5000000)
        self.assertTrue(welcome.session)
        limits = welcome.limits
        self.assertLessEqual(limits.event_bytes, 1048576)
        self.assertLessEqual(limits.seal_events, 1024)
        self.assertLessEqual(limits.seal_bytes, 4194304)
        self.assertEqual(limits.piece_bytes, frames.PIECE)
        self.assertGreater(min(limits.event_bytes, limits.seal_events, limits.session_bytes, limits.lease_ms), 0)

    def test_the_checkpoint_covers_genesis_and_enrolment(self):
        client = self.hub.connect(self.agency())
        self.assertGreaterEqual(client.agency.checkpoint.size, 2)

    def test_last_is_absent_until_the_agency_has_sealed_and_then_proven(self):
        agency = self.agency()
        client = self.hub.connect(agency)
        self.assertFalse(client.welcome.HasField("last"))
        receipt = client.submit(client.event("1", "x.v1", recipients="NOBODY"))
        # hello() verifies the leaf's inclusion under the checkpoint of WELCOME.
        last = self.hub.connect(agency).welcome.last
        self.assertEqual((last.digest, last.number), (receipt.leaf.digest, 1))
        self.assertEqual((last.chain, last.leaf_index), (client.chain.id, receipt.leaf_index))

    def test_ping_brings_its_token_and_the_hubs_time(self):
        client = self.hub.connect(self.agency())
        pong = client.ping()
        self.assertTrue(abs(pong.now_us - now_us()) < 5000000)

    def test_unenrolled_transport_key_gets_no_further_than_the_handshake(self):
        client = self.hub.session(Agency("NEW1"))
        client.send(frames.HELLO, client.hello_message())
        with self.assertRaises(SessionLost) as caught:
            client.recv()
        self.assertIsNone(caught.exception.reason)
        self.assertFalse(client.connected, "the CURVE handshake of an unknown key succeeded")

    def test_a_client_that_expects_another_hub_key_does_not_talk_to_it(self):
        other, _ = zmq.curve_keypair()
        client = self.hub.session(self.agency(), server_key=other)
        client.send(frames.HELLO, client.hello_message())
        with self.assertRaises((SessionLost, Timeout)):
            client.recv(1.0)
        self.assertFalse(client.connected)

    def test_the_transport_key_decides_who_speaks_not_the_claim(self):
        victim, thief = self.agency(), self.agency()
        client = self.hub.session(thief)
        client.send(frames.HELLO, client.hello_message(agency=victim.code))
        self.assertLost(client, Reason.UNKNOWN_KEY)

    def test_another_log_is_wrong_origin(self):
        client = self.hub.session(self.agency())
        client.send(frames.HELLO, client.hello_message(origin="other.truc/log"))
        self.assertLost(client, Reason.WRONG_ORIGIN)

    def test_no_common_version_ends_the_session(self):
        for low, high in ((2, 3), (0, 0), (3, 1)):
            with self.subTest(low=low, high=high):
                client = self.hub.session(self.agency())
                client.send(frames.HELLO, client.hello_message(protocol_min=low, protocol_max=high))
                self.assertLost(client, Reason.MALFORMED)

    def test_a_range_that_includes_version_1_chooses_it(self):
        client = self.hub.session(self.agency())
        self.assertEqual(client.hello(protocol_min=1, protocol_max=9).protocol, 1)

    def test_the_instance_has_16_bytes(self):
        client = self.hub.session(self.agency())
        client.send(frames.HELLO, client.hello_message(instance=b"short"))
        self.assertLost(client, Reason.MALFORMED)

    def test_a_checkpoint_that_this_log_never_signed_ends_or_yields_no_proof(self):
        agency = self.agency()
        client = self.hub.session(agency)
        client.send(frames.HELLO, client.hello_message(checkpoint=b"not a note\n"))
        self.assertLost(client, Reason.MALFORMED)

    def test_unknown_fields_of_a_frame_are_passed_over(self):
        client = self.hub.session(self.agency())
        hello = client.hello_message().SerializeToString() + bytes.fromhex("a0067b")  # field 100, varint 123
        client.send_parts(frames.header(frames.HELLO) + hello)
        self.assertEqual(client.recv().kind, frames.WELCOME)

    def test_anything_before_hello_ends_the_session(self):
        for kind, message in (
            (frames.PING, truc.Ping(token=1)),
            (frames.CREDIT, truc.Credit(events=1)),
            (frames.QUERY, truc.Query(request=1, what="keys")),
        ):
            with self.subTest(kind=kind):
                client = self.hub.session(self.agency())
                client.send(kind, message)
                self.assertLost(client, Reason.MALFORMED)

    def test_hello_comes_once(self):
        client = self.hub.connect(self.agency())
        client.send(frames.HELLO, client.hello_message())
        self.assertLost(client, Reason.MALFORMED)

    def test_after_bye_the_same_agency_may_come_again(self):
        agency = self.agency()
        client = self.hub.connect(agency)
        client.say_bye()
        client.close()
        self.hub.connect(agency).ping()

    def test_consistency_is_proven_at_every_reconnect(self):
        a, b = self.pair()
        for i in range(7):
            a.submit(a.event(f"c{i}", "x.v1", recipients=b.agency.code))
            # connect() verifies from b's older checkpoint to the newest one.
            size = b.agency.checkpoint.size
            self.assertGreater(self.hub.connect(b.agency).agency.checkpoint.size, size)


class Silence(HubCase):
    hub_options = {"config": configured(session={"silence": "1 s"})}

    def test_who_says_nothing_is_let_go_and_who_pings_stays(self):
        silent, alive = self.hub.connect(self.agency()), self.hub.connect(self.agency())
        while silent.lost is None and silent.bye is None:
            alive.ping()
            try:
                silent.recv(0.1)
            except (SessionLost, Timeout):
                pass
        silent.wait_closed()
        alive.ping()


if __name__ == "__main__":
    unittest.main()
