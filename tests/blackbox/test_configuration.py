"""What `--check-config` finds in hub.yaml and the keys: everything, in one run, each with its place."""

import shutil
import subprocess
import unittest

from support import HubCase
from trucpy.hub import Hub, build_dir


class Configuration(HubCase):
    def check(self, text):
        path = self.hub.home / "hub.yaml"
        kept = path.read_text("utf-8")
        path.write_text(text)
        try:
            command = [build_dir() / "truc-hub", "--home", self.hub.home, "--check-config"]
            return subprocess.run(command, capture_output=True, text=True, timeout=60)
        finally:
            path.write_text(kept)

    def test_every_error_in_one_run_with_line_and_key(self):
        done = self.check(
            "listen: udp://x\n"
            "log_level: loud\n"
            "storage:\n"
            "  reserve: 100 MiB\n"
            "  jurnal: 3\n"
            "workers: many\n"
            "limits:\n"
            "  session_bytes: 64 MiB\n"
            "  total_bytes: 32 MiB\n"
        )
        self.assertEqual(done.returncode, 2)
        expected = ["1: listen:", "2: log_level:", "4: storage.reserve:", "5: storage.jurnal:", "6: workers:"]
        for one in [*expected, "9: limits.total_bytes:"]:
            self.assertIn(f"hub.yaml:{one}", done.stderr)
        self.assertEqual(len(done.stderr.splitlines()), 6, done.stderr)

    def test_a_reserve_that_one_commit_could_use_up(self):
        listen = 'listen: "tcp://127.0.0.1:0"\n'
        done = self.check(listen + "storage:\n  reserve: 127 MiB\n")
        self.assertEqual(done.returncode, 2)
        self.assertIn("hub.yaml:3: storage.reserve:", done.stderr)
        self.assertIn("give 128 MiB or more", done.stderr)
        self.assertEqual(self.check(listen + "storage:\n  reserve: 128 MiB\n").returncode, 0)
        # With less in flight a commit is smaller, and the reserve may be.
        less = listen + "limits:\n  total_bytes: 5 MiB\n  session_bytes: 5 MiB\nstorage:\n  reserve: 20 MiB\n"
        self.assertEqual(self.check(less).returncode, 0)
        self.assertEqual(self.check(less + "  journal: 24 MiB\n").returncode, 2)
        self.assertEqual(self.check(less + "  journal: 25 MiB\n").returncode, 0)

    def test_an_address_that_is_none_and_a_reserve_that_never_is_enough(self):
        done = self.check(
            'listen: "tcp://300.1.2.3:5590"\nlimits:\n  total_bytes: 1 MiB\nstorage:\n  reserve: 1 MiB\n'
        )
        self.assertEqual(done.returncode, 2)
        lines = done.stderr.splitlines()
        for one in ("1: listen:", "3: limits.total_bytes:", "5: storage.reserve:"):
            self.assertEqual(sum(f"hub.yaml:{one}" in line for line in lines), 1, done.stderr)
        self.assertEqual(len(lines), 3, done.stderr)

    def test_transport_keys_of_two_pairs(self):
        public = self.hub.home / "hub" / "transport.public"
        kept = public.read_bytes()
        with Hub() as other:
            shutil.copy(other.home / "hub" / "transport.public", public)
        try:
            done = self.check((self.hub.home / "hub.yaml").read_text("utf-8"))
        finally:
            public.write_bytes(kept)
        self.assertEqual(done.returncode, 2)
        self.assertIn("hub/transport.public: is not the public key of hub/transport.secret", done.stderr)
        self.assertEqual(self.check((self.hub.home / "hub.yaml").read_text("utf-8")).returncode, 0)


if __name__ == "__main__":
    unittest.main()
