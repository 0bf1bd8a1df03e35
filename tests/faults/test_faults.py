"""Faults of every kind on a real hub and its clients, in rounds: after each one work goes on, nothing receipted is lost,
nothing came twice to an application that did not crash while it handled it, and the log is whole.

TRUC_FAULT_ROUNDS: how many rounds (30). TRUC_CRASH_SEED: the faults of another run.
"""

import json
import os
import time
import unittest

from faults import FAULTS, FaultyWorld
from test_crash import KilledUnderLoad, KilledWhileStarting, Frozen, Story
from world import seed

del KilledUnderLoad, KilledWhileStarting, Frozen  # they have run in their own place

ROUNDS = int(os.environ.get("TRUC_FAULT_ROUNDS", 6 if "TRUC_SANITIZER" in os.environ else 30))
EACH = 30  # rounds of one world: its log is verified in every one


class Faults(Story):
    def test_whatever_fails_nothing_receipted_is_lost(self):
        number, left, done, idle = seed(), ROUNDS, {}, {}
        began = time.monotonic()
        while left > 0:
            world = FaultyWorld(number)
            self.addCleanup(world.close)
            try:
                self.faults(world, min(left, EACH))
            except AssertionError as error:
                raise AssertionError(f"{error}{world.report()}") from error
            for total, counts in ((done, world.done), (idle, world.idle)):
                for name, count in counts.items():
                    total[name] = total.get(name, 0) + count
            left, number = left - EACH, number + 1
            world.close()
        print(f"{ROUNDS} rounds in {time.monotonic() - began:.0f} s: {done}, met nothing: {idle}", flush=True)
        self.assertGreaterEqual(sum(done.values()), ROUNDS)
        self.assertLess(sum(idle.values()), sum(done.values()) / 4, "faults that met nothing prove nothing")

    def faults(self, world, rounds):
        if not world.hub.small_disk:
            print("no small disk can be mounted here: a full one is left out", flush=True)
        names = [name for name in FAULTS if name != "disk_full" or world.hub.small_disk]
        bag = []
        world.start_loads()
        self.logged = {}
        for turn in range(rounds):
            # Each kind has its turn before one comes again: thirty rounds leave none out.
            bag = bag or world.rng.sample(names, len(names))
            chosen = [bag.pop()] + ([world.rng.choice(names)] if world.rng.random() < 0.3 else [])
            world.progress(world.rng.randint(1, 300), 1, f"work before round {turn}")
            print(f"# {turn}: {', '.join(chosen)}", flush=True)
            for name in chosen:
                world.fail(name)
            world.heal()
            world.progress(1, 1, f"work after round {turn}, {chosen}")
            self.assertRound(world, f"round {turn}, {chosen}")
        world.drain()
        world.look()
        self.assertEqual(world.hub.stop(), 0)
        self.assertAll(world)

    def assertRound(self, world, what):
        receipts = {}
        for load in world.loads:
            self.assertEqual(load.facts.wrong[:5], [], f"{what}: {load.name}")
        for load in world.senders:
            facts = load.facts
            receipts.update({sequence: f"{load.name}-{n}" for n, (sequence, *_) in facts.receipts.items()})
        self.read_log(world)
        lost = {s: e for s, e in receipts.items() if self.logged.get(s) != e}
        self.assertEqual(dict(list(lost.items())[:5]), {}, f"{what}: {len(lost)} receipted events are not in the log")
        summary = json.loads(world.truc("log", "verify", "--home", world.hub.home, "--json"))
        self.assertEqual((summary["ok"], summary["findings"]), (True, []), what)

    def read_log(self, world):
        """What the log has more than at the last look."""
        start = max(self.logged, default=0) + 1
        text = world.truc("log", "export", "--home", world.hub.home, "--from", str(start), "--content")
        for row in map(json.loads, text.splitlines()):
            if row["outcome"] == "accepted" and row["type"].startswith("crash."):
                self.logged[row["sequence"]] = row["event"]["id"]


if __name__ == "__main__":
    unittest.main()
