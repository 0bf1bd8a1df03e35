"""The power fails: a hub's writes, recorded under load, and for sampled moments any legal rest of what was not synced.
Each such disk holds a whole log with everything that anybody was told of, and a hub starts on it.

TRUC_POWERLOSS_POINTS: how many states (150). TRUC_POWERLOSS_SEED: another run's choices (its recording is not to be had
again). TRUC_TEST_KEEP: a folder for states that failed.
"""

import os
import random
import unittest

from losses import Losses
from recording import Recording

POINTS = int(os.environ.get("TRUC_POWERLOSS_POINTS", 150))
EACH = 400  # states of one recording, at most
RECEIPTS = 900
PLANTED_POINTS = 80  # far more than it takes until the first one is caught

# LMDB's, as the hub must never open its journal (lmdb.h)
MDB_NOSYNC, MDB_NOMETASYNC = 0x10000, 0x40000


def seed():
    value = int(os.environ.get("TRUC_POWERLOSS_SEED", random.SystemRandom().randrange(1 << 32)))
    print(f"TRUC_POWERLOSS_SEED={value}", flush=True)
    return value


@unittest.skipIf("TRUC_SANITIZER" in os.environ, "the recorder is preloaded: a sanitizer's library must be the first")
class PowerLoss(unittest.TestCase):
    def recorded(self, number, flags=None):
        recording = Recording(number, RECEIPTS, flags)
        self.addCleanup(recording.__exit__)
        recording.run()
        losses = Losses(recording, number)
        self.addCleanup(losses.__exit__)
        losses.survey()
        return losses

    def test_whatever_reached_the_disk_nothing_receipted_is_lost(self):
        number, left, total = seed(), POINTS, {}
        while left > 0:
            losses = self.recorded(number)
            losses.run(min(left, EACH), 0.15)
            self.assertEqual(losses.wrong[:3], [], f"{len(losses.wrong)} states are wrong")
            for name, count in losses.counts.items():
                total[name] = total.get(name, 0) + count
            left, number = left - EACH, number + 1
            self.doCleanups()
        print(f"{total['states']} states: {total}", flush=True)
        self.assertEqual(total["states"], POINTS)
        # What was sampled was not only what makes no difference.
        self.assertGreater(total["rows behind"], POINTS // 10)
        self.assertGreater(total["started"], POINTS // 20)

    def assertCaught(self, losses, **planted):
        losses.run(PLANTED_POINTS, 0, enough=1, **planted)
        self.assertGreater(len(losses.wrong), 0, "this test would not notice a journal that is not synced")

    def test_a_journal_that_never_syncs_is_caught(self):
        self.assertCaught(self.recorded(seed(), f"journal.mdb:{MDB_NOSYNC}"))

    def test_a_journal_that_syncs_its_meta_page_late_is_caught(self):
        self.assertCaught(self.recorded(seed(), f"journal.mdb:{MDB_NOMETASYNC}"))

    def test_keys_that_are_not_synced_before_their_row_are_caught(self):
        self.assertCaught(self.recorded(seed()), unsynced="keys.slots")


if __name__ == "__main__":
    unittest.main()
