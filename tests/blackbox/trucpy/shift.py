"""A hub whose clocks a test moves: shift_clock.c, preloaded into it."""

import os
import pathlib
import shutil
import struct
import subprocess
import tempfile

SOURCE = pathlib.Path(__file__).parents[1] / "shift_clock.c"


class Clocks:
    """`environment` is for Hub."""

    def __init__(self):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="truc-clock-"))
        library, self.file = self.folder / "shift.so", self.folder / "shift"
        subprocess.run(["cc", "-shared", "-fPIC", "-O1", "-o", library, SOURCE], check=True)
        self.file.write_bytes(bytes(16))
        asan = os.environ.get("ASAN_OPTIONS", "") + ":verify_asan_link_order=0"
        self.environment = {"LD_PRELOAD": str(library), "TRUC_TEST_CLOCK": str(self.file), "ASAN_OPTIONS": asan}

    def close(self):
        shutil.rmtree(self.folder)

    def set(self, wall=0, monotonic=0):
        """Seconds ahead of the true clocks, from now on."""
        with open(self.file, "r+b") as f:
            f.write(struct.pack("=qq", wall, monotonic))

    def pass_by(self, seconds):
        """As if the hub had waited so long: both clocks go on together."""
        self.set(seconds, seconds)
