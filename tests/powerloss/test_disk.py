"""The model of the disk in the small: what may be there after a power loss, and what must be."""

import random
import struct
import tempfile
import unittest

from choices import All, Nothing, OnlyTheLast
from disk import CREATE, DONE, FACT, FOLDER, GROW, HEAD, MARK, RECORD, RENAME, SYNC, WRITE, Disk, Event, read_trace

ROOT, FILE, OTHER = 1, 2, 3


class Story(unittest.TestCase):
    def setUp(self):
        self.disk, self.place = Disk(ROOT), 0

    def play(self, kind, file=0, offset=0, number=0, data=b""):
        self.place += 1
        self.disk.play(Event(self.place, kind, 0, file, offset, number, data))
        return self.place

    def write(self, offset, data, durable=0, file=FILE):
        number = self.play(WRITE, file, offset, durable, data)
        self.play(DONE, 0, len(data), number)

    def sync(self, file=FILE):
        self.play(DONE, 0, 0, self.play(SYNC, file))

    def make(self, name=b"a", inode=FILE):
        self.play(CREATE, inode, 0, ROOT, name)
        self.sync(ROOT)

    def state(self, kind):
        choice = kind(random.Random(1))
        choice.sizing = "natural"
        return {path: bytes(content) for path, content in self.disk.state(lambda _: choice).items()}

    def test_what_is_not_synced_may_be_there_or_not(self):
        self.make()
        self.write(0, b"x" * 1024)
        self.assertEqual(self.state(All), {"a": b"x" * 1024})
        self.assertEqual(self.state(Nothing), {"a": b""})

    def test_a_sync_covers_what_was_done_before_it_began(self):
        self.make()
        self.write(0, b"x" * 512)
        sync = self.play(SYNC, FILE)
        self.assertEqual(self.state(Nothing), {"a": b""})  # it has not returned
        self.write(512, b"y" * 512)
        self.play(DONE, 0, 0, sync)
        self.assertEqual(self.state(Nothing), {"a": b"x" * 512})

    def test_a_sync_that_fails_covers_nothing(self):
        self.make()
        self.write(0, b"x" * 512)
        self.play(DONE, 0, (1 << 64) - 1, self.play(SYNC, FILE))
        self.assertEqual(self.state(Nothing), {"a": b""})

    def test_a_durable_write_is_there_alone(self):
        self.make()
        self.write(512, b"x" * 512)
        self.write(0, b"m" * 100, durable=1)
        self.assertEqual(self.state(Nothing), {"a": b"m" * 100})

    def test_a_sector_never_has_the_later_write_without_the_earlier_one(self):
        self.make()
        self.write(0, b"one")
        self.write(3, b"two")
        self.assertEqual(self.state(OnlyTheLast), {"a": b"onetwo"})

    def test_a_sector_that_is_missing_before_one_that_is_there_is_zeros(self):
        self.make()
        self.write(0, b"x" * 512)
        self.write(512, b"y" * 512)
        self.assertEqual(self.state(OnlyTheLast), {"a": bytes(512) + b"y" * 512})

    def test_room_that_was_taken_ahead_is_zeros(self):
        self.make()
        self.play(GROW, FILE, 1024)
        self.assertEqual(self.state(All), {"a": bytes(1024)})
        self.assertEqual(self.state(Nothing), {"a": b""})

    def test_a_name_needs_its_folders_sync(self):
        self.play(CREATE, FILE, 0, ROOT, b"a")
        self.write(0, b"x")
        self.sync()
        self.assertEqual(self.state(Nothing), {})
        self.sync(ROOT)
        self.assertEqual(self.state(Nothing), {"a": b"x"})

    def test_a_rename_takes_the_place_of_the_old_file_or_does_not(self):
        self.make(b"a")
        self.write(0, b"old")
        self.sync()
        self.make(b"new", OTHER)
        self.write(0, b"new", file=OTHER)
        self.play(RENAME, ROOT, 0, ROOT, b"new\0a")
        self.assertEqual(self.state(Nothing), {"a": b"old", "new": b""})
        self.sync(OTHER)
        self.sync(ROOT)
        self.assertEqual(self.state(Nothing), {"a": b"new"})

    def test_a_folder_in_a_folder(self):
        self.play(FOLDER, OTHER, 0, ROOT, b"f")
        self.play(CREATE, FILE, 0, OTHER, b"a")
        self.sync(OTHER)
        self.assertEqual(self.disk.state(lambda _: Nothing(random.Random(1))), {})
        self.assertEqual(self.disk.pending(), ["/"])


class Traces(unittest.TestCase):
    def test_a_hole_of_a_process_that_was_killed_is_passed_over(self):
        whole = RECORD.pack(MARK, FACT, 5, 0, 0, 0, 0) + b"hello" + bytes(3)
        hole = bytes(len(whole))
        with tempfile.NamedTemporaryFile() as file:
            file.write(struct.pack("=8sQ", b"TRUCDISK", HEAD + 3 * len(whole)) + whole + hole + whole)
            file.flush()
            self.assertEqual([e.data for e in read_trace(file.name)], [b"hello", b"hello"])


if __name__ == "__main__":
    unittest.main()
