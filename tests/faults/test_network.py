"""Hub and clients in two network namespaces with a bad link between them: what TCP, CURVE and the session make of loss,
delay, packets that overtake each other, and of a link that is gone for a while. Part of `make check-long`.
"""

import os
import pathlib
import sys
import time
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "crash"))

from lossy import Link, NotHere  # noqa: E402
from test_crash import Frozen, KilledUnderLoad, KilledWhileStarting, Story  # noqa: E402
from world import Hub, World, seed  # noqa: E402

del KilledUnderLoad, KilledWhileStarting, Frozen  # they have run in their own place


@unittest.skipUnless(os.environ.get("TRUC_LONG"), "part of make check-long")
class BadLink(Story):
    def setUp(self):
        try:
            self.link = Link(seed())
        except NotHere as why:
            self.skipTest(f"no namespaces here: {why}")
        self.addCleanup(self.link.close)

    def distant_world(self):
        link = self.link

        class DistantWorld(World):
            address = link.hub.address

        def make_hub(**options):
            return Hub(prefix=("ip", "netns", "exec", link.hub.name), **options)

        return DistantWorld(seed(), hub=make_hub)

    def test_nothing_is_lost_over_a_link_that_loses(self):
        link = self.link
        with link.on_clients_side():
            world = self.distant_world()
            self.addCleanup(world.close)
            world.start_loads()
            world.progress(300, 300, "work over a good link")
            for loss, delay, twice in ((0.01, (0.002, 0.010), 0.0), (0.05, (0.0, 0.040), 0.02), (0.15, (0.0, 0.1), 0.1)):
                link.loss, link.delay, link.twice = loss, delay, twice
                before = link.lost
                world.progress(300, 300, f"work with {loss:.0%} lost")
                self.assertGreater(link.lost, before, "a link that lost nothing proves nothing")
            link.loss, link.delay, link.twice = 0.02, (0.0, 0.02), 0.01
            for seconds in (0.5, 3):
                link.loss = 1.0
                time.sleep(seconds)  # the time itself is the matter here
                link.loss = 0.02
                world.progress(300, 300, f"work after {seconds} s without a link")
            world.hub.restart()
            world.progress(300, 300, "work after the crash")
            world.drain()
            world.look()
            self.assertEqual(world.hub.stop(), 0)
            self.assertAll(world)
            print(f"{link.passed} packets, {link.lost} lost", flush=True)


if __name__ == "__main__":
    unittest.main()
