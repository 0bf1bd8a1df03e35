"""SIGKILL under load, again and again: nothing receipted is lost, nothing is delivered twice to the application, the
log is whole, and the state is what a replay of the journal makes.

TRUC_CRASH_ROUNDS: how many crashes under load (20). TRUC_CRASH_SEED: the moments and victims of another run.
"""

import json
import signal
import subprocess
import time
import unittest

from world import PATIENCE, World, build_dir, eventually, rounds, seed


def difference(key, one, other):
    """A row that is not the same in two states: where its values part."""
    if one is None or other is None:
        return f"{key!r}: only {'made by the replay' if one is None else 'kept'}"
    at = next((i for i, (a, b) in enumerate(zip(one, other)) if a != b), min(len(one), len(other)))
    return f"{key!r}: at byte {at} kept {one[at:at + 16].hex()} made {other[at:at + 16].hex()}"


class Story(unittest.TestCase):
    def world(self, **kw):
        world = World(seed(), **kw)
        self.addCleanup(world.close)
        return world

    def assertNothingWrong(self, world):
        for load in world.loads:
            facts = load.facts
            self.assertEqual(facts.wrong[:10], [], f"{load.name}: {len(facts.wrong)} wrong")
            self.assertEqual(facts.end, "no error", f"{load.name} ended: {facts.end}")
            stopped = [s for s in facts.states if s.startswith("STOPPED")]
            self.assertEqual(stopped, [], f"{load.name}'s client stopped")
            self.assertEqual(facts.boots, load.kills + 1)

    def assertReceipted(self, world):
        """Everything that was handed over is receipted, each at a place of its own."""
        places = {}
        for load in world.senders:
            facts = load.facts
            missing = facts.handed_numbers() - facts.receipts.keys()
            self.assertEqual(sorted(missing)[:10], [], f"{load.name}: {len(missing)} never receipted")
            unknown = facts.receipts.keys() - facts.intended_numbers()
            self.assertEqual(sorted(unknown)[:10], [], f"{load.name}: receipts of what was never handed over")
            for number, (sequence, *_) in facts.receipts.items():
                self.assertNotIn(sequence, places, f"{load.name}-{number} shares its sequence")
                places[sequence] = f"{load.name}-{number}"
        self.assertGreater(len(places), 0)
        return places

    def assertDelivered(self, world):
        """Everything receipted came, once, with the sequence of its receipt, and nothing else."""
        for load in world.receivers:
            expected, facts = world.expected(load.name), load.facts
            got = {event: sequence for event, (_, sequence) in facts.deliveries.items()}
            self.assertEqual(got, expected)
            numbers = sorted(number for number, _ in facts.deliveries.values())
            self.assertEqual(numbers, list(range(1, len(numbers) + 1)), "inbox numbers with gaps or twice")

    def assertLogWhole(self, world, places, checkpoints):
        """`truc log verify` is clean, also against checkpoints kept from before; the log holds what was receipted."""
        summary = json.loads(world.truc("log", "verify", "--home", world.hub.home, "--json"))
        self.assertEqual((summary["ok"], summary["findings"]), (True, []))
        for i, kept in enumerate(checkpoints):
            path = world.folder / f"checkpoint-{i}"
            path.write_bytes(kept)
            world.truc("log", "verify", "--home", world.hub.home, "--checkpoint", path, "--json")
        text = world.truc("log", "export", "--home", world.hub.home, "--type", "crash.*", "--content")
        logged = {}
        for row in map(json.loads, text.splitlines()):
            if row["outcome"] == "accepted":
                logged[row["sequence"]] = row["event"]["id"]
        self.assertEqual(logged, places, "the log's accepted events are not the receipted ones")

    def assertStateIsReplay(self, world, name, least_rows):
        """The stopped hub's state, and one made anew from row 0, are the same rows, byte for byte."""
        kept, made = world.copy_home(f"{name}-kept", True), world.copy_home(f"{name}-made", False)
        world.start_and_stop(kept, f"{name}-kept.log")
        said = world.start_and_stop(made, f"{name}-made.log")
        self.assertGreaterEqual(world.replayed_rows(said), least_rows, "this start should have replayed the journal")
        one, other = world.dumps(kept, made)
        self.assertGreater(len(one), 10)
        differ = sorted(k for k in one.keys() | other.keys() if one.get(k) != other.get(k))
        shown = [difference(k, one.get(k), other.get(k)) for k in differ[:5]]
        self.assertEqual(shown, [], f"{len(differ)} rows of {len(one)} differ from a replay's")

    def assertAll(self, world, checkpoints=()):
        self.assertNothingWrong(world)
        places = self.assertReceipted(world)
        self.assertDelivered(world)
        self.assertLogWhole(world, places, checkpoints)
        return places


class KilledUnderLoad(Story):
    def test_nothing_receipted_is_lost_and_nothing_comes_twice(self):
        world, count, kept, sizes = self.world(), rounds(), [], []
        rng = world.rng
        world.start_loads()
        began = time.monotonic()
        for turn in range(count):
            world.progress(rng.randint(1, 800), rng.randint(0, 800), f"progress in round {turn}")
            time.sleep(rng.uniform(0, 0.05))  # the moment of the crash is to be any
            victims = rng.sample(world.loads, rng.choice((0, 0, 1, 1, 2)))
            acts = [world.hub.kill] + [v.kill for v in victims]
            rng.shuffle(acts)
            for act in acts:
                act()
            if turn == count // 2:
                self.assertStateIsReplay(world, "under-way", 1)
            # Who is back first is to be either.
            if rng.random() < 0.5:
                world.start_loads()
            world.hub.start()
            world.start_loads()
            sizes.append(world.look()["tree_size"])
            kept.append(world.hub.admin_agency.checkpoint.note)
        world.progress(200, 200, "work after the last crash")
        world.drain()
        seconds = time.monotonic() - began
        before = self.answers(world)
        self.assertEqual(world.hub.stop(), 0)
        self.assertEqual(sizes, sorted(sizes), "the tree shrank")
        places = self.assertAll(world, [kept[0], kept[-1]])
        self.assertStateIsReplay(world, "drained", count)
        self.assertAnswersOfReplay(world, before)
        for load in world.loads:
            self.assertGreater(load.facts.opened, 1, "a client that never saw a crash proves nothing")
        again = [f"{x.name}: {x.facts.again} again, {x.kills} kills" for x in world.loads]
        for x in world.senders:
            duplicates = sum(duplicate for *_, duplicate in x.facts.receipts.values())
            again.append(f"{x.name}: {x.facts.handed_again} handed over again, {duplicates} duplicates")
        print(f"{count} crashes, {len(places)} events in {seconds:.0f} s; {'; '.join(again)}")

    def answers(self, world):
        """What an administrator is told, but for what belongs to the running process."""
        client = world.hub.connect(world.hub.admin_agency)
        status = client.query("status")[0]
        return {
            "status": {k: status[k] for k in ("origin", "tree_size", "next_sequence", "agencies")},
            "inboxes": world.inboxes(client),
            "deadletters": [client.query("deadletters", agency=r.name) for r in world.receivers],
            "keys": client.query("keys"),
            "grants": client.query("grants"),
        }

    def assertAnswersOfReplay(self, world, before):
        """The hub itself, without its state, answers as it did with it."""
        for path in world.hub.home.glob("data/state.mdb*"):
            path.unlink()
        world.hub.start()
        self.assertEqual(self.answers(world), before)
        self.assertEqual(world.hub.stop(), 0)


class KilledWhileStarting(Story):
    def test_a_start_may_be_killed_at_any_moment(self):
        world = self.world(senders=1, receivers=1)
        rng = world.rng
        world.start_loads()
        world.progress(2000, 500, "a journal worth replaying")
        world.hub.kill()
        for path in world.hub.home.glob("data/state.mdb*"):
            path.unlink()
        began = time.monotonic()
        self.begin(world, lambda: None)
        whole = time.monotonic() - began
        for turn in range(max(6, rounds() // 2)):
            if turn % 2:
                for path in world.hub.home.glob("data/state.mdb*"):
                    path.unlink()
            self.begin(world, lambda: rng.uniform(0, whole * 1.2))
        world.hub.start()
        world.look()
        world.progress(200, 200, "work after the starts")
        world.drain()
        self.assertEqual(world.hub.stop(), 0)
        self.assertAll(world)
        self.assertStateIsReplay(world, "starts", 1)

    def begin(self, world, delay):
        """Starts a hub and kills it after delay() seconds; None: when it is ready. The clients run on."""
        with open(world.folder / "starting.log", "w+b") as out:
            hub = subprocess.Popen([build_dir() / "truc-hub", "--home", world.hub.home], stdout=out, stderr=out)
            said = lambda: (world.folder / "starting.log").read_text("utf-8", "replace")  # noqa: E731
            try:
                seconds = delay()
                if seconds is None:
                    eventually(lambda: "ready endpoint=" in said() or hub.poll() is not None, "ready")
                else:
                    time.sleep(seconds)
                self.assertIsNone(hub.poll(), f"the hub ended by itself:\n{said()}")
            finally:
                hub.kill()
                hub.wait(PATIENCE)
        world.check_alive()


class Frozen(Story):
    def test_a_hub_that_stood_still_goes_on(self):
        world = self.world()
        world.start_loads()
        world.progress(300, 300, "work before")
        for seconds in (1, 3):
            with world.hub.frozen():
                time.sleep(seconds / 2)  # the time itself is the matter here
                before = world.counts()
                time.sleep(seconds / 2)
                self.assertEqual(world.counts(), before, "a hub that stands still answers nobody")
                world.check_alive()
            world.progress(300, 300, f"work after {seconds} s")
        world.receivers[0].process.send_signal(signal.SIGSTOP)
        world.progress(600, 0, "work beside a receiver that stands still")
        world.hub.restart()
        world.receivers[0].process.send_signal(signal.SIGCONT)
        world.progress(200, 200, "work after the crash")
        world.drain()
        world.look()
        self.assertEqual(world.hub.stop(), 0)
        self.assertAll(world)


if __name__ == "__main__":
    unittest.main()
