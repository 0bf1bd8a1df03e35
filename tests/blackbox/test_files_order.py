"""truc-files: the order of files, an adapter that is run once, and adapters that are killed."""

import json
import os
import random
import signal
import unittest

from files_support import FilesCase, event


class Order(FilesCase):
    """The steps of a dossier go out in the order of their files: by modification time, then name."""

    def step(self, a, b, number, name=None, at=None):
        path = f"{number}.json" if name is None else name
        a.put(path, event(b.agency.code, subject="dossier", data=number))
        if at is not None:
            os.utime(a.folder / "out" / path, ns=(at, at))

    def steps_at(self, b):
        b.once()
        return [e["data"] for e in b.received()]

    def test_what_lay_there_at_the_start_is_not_overtaken(self):
        a, b = self.offices(settle="1s")
        self.step(a, b, 1)
        a.start()
        self.until(lambda: "event=ready" in a.log.read_text(), "the start")
        for i in range(2, 6):
            self.step(a, b, i)
        self.until(lambda: len(a.receipts()) == 5, "the receipts")
        self.assertEqual(a.stop(), 0)
        self.assertEqual(self.steps_at(b), [1, 2, 3, 4, 5])

    def test_what_found_no_room_is_not_overtaken(self):
        a, b = self.offices(settle="2s")
        a.configure("scan: 200ms", "scan: 2s\nin_flight: 2")
        a.start()
        self.until(lambda: "state=open" in a.log.read_text(), "the session")
        with self.hub.frozen():
            for i in range(6):
                self.step(a, b, i)
            self.until(lambda: len(a.names("out/pending")) == 2, "the claims")
        self.until(lambda: len(a.receipts()) >= 2, "the first receipts: there is room again")
        self.step(a, b, 6)
        self.until(lambda: len(a.receipts()) == 7, "the receipts")
        self.assertEqual(a.stop(), 0)
        self.assertEqual(self.steps_at(b), list(range(7)))

    def test_time_before_name_and_names_within_one_time(self):
        a, b = self.offices()
        for number, name, at in ((2, "b.json", 5), (3, "a.json", 6), (1, "a2.json", 5), (0, "z.json", 4)):
            self.step(a, b, number, name, at * 10**18 // 10)
        a.once()
        self.assertEqual(self.steps_at(b), [0, 1, 2, 3])

    def test_what_was_claimed_before_a_crash_goes_before_anything_newer(self):
        a, b = self.offices()
        for i in range(6):
            self.step(a, b, i, at=(1000 + i) * 10**9)
        for i in (4, 2, 0):  # what a run claimed and did not submit; renamed in another order
            os.rename(a.folder / "out" / f"{i}.json", a.folder / "out" / f"{i}.moved")
        (a.folder / "out" / "pending").mkdir()
        for i in (4, 2, 0):
            os.rename(a.folder / "out" / f"{i}.moved", a.folder / "out" / "pending" / f"{i}.json")
        a.once()
        self.assertEqual(self.steps_at(b), [0, 2, 4, 1, 3, 5])

    def test_a_writer_that_never_ends_holds_up_nobody_for_ever(self):
        a, b = self.offices(settle="500ms")
        a.start()
        self.until(lambda: "state=open" in a.log.read_text(), "the session")
        with open(a.folder / "out" / "slow.json", "w") as file:
            self.step(a, b, 1)

            def went_on():
                file.write(" ")
                file.flush()
                return a.receipts()

            self.until(went_on, "the receipt of the file that came after it", 20)
            self.assertEqual(a.names("out"), ["slow.json"])
        self.assertEqual(a.stop(), 0)


class Once(FilesCase):
    def test_quiet_is_not_empty_what_the_hub_gives_again_later_is_waited_for(self):
        a, b = self.offices()
        b.configure("idle: 1s", "idle: 100ms")
        a.put("1.json", event(b.agency.code, "1"))
        a.once()
        self.give_back(b, 3000)
        b.once()
        (got,) = b.received()
        self.assertEqual((got["id"], got["trucattempt"]), ("1", 2))
        self.assertNotIn("inbox_not_empty", b.log.read_text())

    def test_what_does_not_come_is_left_with_a_word(self):
        a, b = self.offices()
        b.configure("idle: 1s", "idle: 100ms")
        b.configure("wait: 30s", "wait: 1s")
        a.put("1.json", event(b.agency.code, "1"))
        a.once()
        self.give_back(b, 600_000)
        b.once()
        self.assertEqual(b.received(), [])
        self.assertIn("event=inbox_not_empty events=1", b.log.read_text())

    def give_back(self, adapter, delay_ms):
        with self.hub.connect(adapter.agency) as office:
            office.credit(1)
            office.nack(office.receive_one(), delay_ms=delay_ms)
            office.query_page("inbox")  # the hub has read what came before it


class Killed(FilesCase):
    """SIGKILL at any moment: at the end every file has one receipt, and every delivery one in-file."""

    FILES = 60

    def fill(self, a, b, round_, start=0):
        for i in range(start, self.FILES):
            name = f"{round_}.{i}"
            # With and without an id: the adapter must make the same one again.
            a.put(f"{name}.json", event(b.agency.code, None if i % 2 else name, subject=f"s{i % 7}", data=name))

    def check(self, a, b, rounds):
        names = sorted(f"{r}.{i}" for r in range(rounds) for i in range(self.FILES))
        self.assertEqual(a.names("out") + a.names("out/pending") + a.names("quarantine") + a.names("out/refused"), [])
        self.assertEqual(sorted(n[:-5] for n in a.sent()), names)
        self.assertEqual(sorted(n[: -len(".receipt.json")] for n in a.receipts()), names)
        got = b.received()
        self.assertEqual(sorted(e["data"] for e in got), names, "a delivery is missing or doubled")
        receipts = {a.json("out/done", n)["sequence"]: n for n in a.receipts()}
        self.assertEqual(len(receipts), len(names), "two files share a sequence")
        self.assertEqual(sorted(receipts), sorted(int(e["trucsequence"]) for e in got))

    def kill_at(self, rng, adapter, progress, target):
        """Ends it when `progress` files have come that far, which is a random place in its work."""
        self.until(lambda: progress() >= target or adapter.process.poll() is not None, "progress before the kill")
        for _ in range(rng.randrange(2000)):
            pass
        self.assertEqual(adapter.stop(signal.SIGKILL), -signal.SIGKILL)

    def test_the_sender_dies_again_and_again(self):
        a, b = self.offices()
        rng = random.Random(1)
        for round_ in range(10):
            a.start()
            done = len(a.receipts())
            self.fill(a, b, round_)
            self.kill_at(rng, a, lambda: len(a.receipts()) - done, rng.randrange(self.FILES))
        a.once()
        b.once()
        self.check(a, b, 10)

    def test_the_receiver_dies_again_and_again(self):
        a, b = self.offices()
        rng = random.Random(2)
        for round_ in range(10):
            self.fill(a, b, round_)
            a.once()
            b.start()
            done = len(b.names("in"))
            self.kill_at(rng, b, lambda: len(b.names("in")) - done, rng.randrange(self.FILES))
        b.once()
        self.check(a, b, 10)

    def test_a_reader_who_takes_files_away_at_once_gets_none_twice(self):
        a, b = self.offices()
        rng = random.Random(3)
        taken = []

        def take():
            for path in (b.folder / "in").glob("*.json"):
                taken.append(json.loads(path.read_text())["data"])
                path.unlink()
            return len(taken)

        for round_ in range(10):
            self.fill(a, b, round_)
            a.once()
            b.start()
            done = take()
            self.kill_at(rng, b, lambda: take() - done, rng.randrange(self.FILES))
        b.once()
        take()
        self.assertEqual(sorted(taken), sorted(f"{r}.{i}" for r in range(10) for i in range(self.FILES)))

    def test_the_hub_dies_too(self):
        a, b = self.offices()
        a.start()
        b.start()
        self.fill(a, b, 0)
        self.until(lambda: len(a.receipts()) > 5, "the first receipts")
        self.hub.kill()
        self.fill(a, b, 1)
        a.stop(signal.SIGKILL)
        b.stop(signal.SIGKILL)
        self.hub.start()
        a.follow_hub()
        b.follow_hub()
        a.once()
        b.once()
        self.check(a, b, 2)


if __name__ == "__main__":
    unittest.main()
