"""What the stories of `truc`, everybody's command, share: it is run as people run it, the binary with its words and exit codes."""

import json
import os
import pty
import re
import shutil
import subprocess

from support import HubCase
from trucpy.hub import build_dir

# As `truc help` documents them.
DONE, NO, USAGE, UNREACHABLE, REFUSED, DAMAGED = range(6)


def run(*args, stdin=None, **environment):
    """-> CompletedProcess of `truc ARGS`"""
    env = {k: v for k, v in os.environ.items() if k != "TRUC_PROFILE"}
    env.update(environment)
    command = [build_dir() / "truc", *map(str, args)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, env=env, input=stdin)


def on_terminal(command, typed=b""):
    """-> (exit code, what it showed) of a command whose standard input and outputs are a terminal"""
    master, slave = pty.openpty()
    with subprocess.Popen(command, stdin=slave, stdout=slave, stderr=slave) as process:
        os.close(slave)
        os.write(master, typed)
        shown = b""
        try:
            while piece := os.read(master, 65536):
                shown += piece
        except OSError:  # the other side is closed: Linux tells it so
            pass
        os.close(master)
        return process.wait(30), shown.decode("utf-8", "replace").replace("\r\n", "\n")


class Command(HubCase):
    """A hub, the profile of its administrator, and two enrolled agencies for each test that asks."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.folder = cls.hub.folder / "profiles"
        cls.folder.mkdir()
        cls.admin = cls.folder / "admin"
        shutil.copytree(cls.hub.home / "admin-1", cls.admin)
        # The home's hub.yaml asks for any free port; a profile needs the one that it became.
        cls.point_to(cls.admin, cls.hub.endpoint)

    @staticmethod
    def point_to(folder, endpoint):
        path = folder / "profile.yaml"
        path.write_text(re.sub(r"tcp://[0-9.:]+", endpoint, path.read_text("utf-8")), "utf-8")

    def truc(self, *args, by=None, expect=DONE, **more):
        """Runs it and asserts its exit code, or one of a tuple. `by`: a profile folder; None: the administrator's;
        False: none at all."""
        if by is not False:
            more["TRUC_PROFILE"] = str(by or self.admin)
        done = run(*args, **more)
        expected = expect if isinstance(expect, tuple) else (expect,)
        self.assertIn(done.returncode, expected, f"truc {' '.join(map(str, args))}\n{done.stdout}{done.stderr}")
        if done.returncode != DONE:
            self.assertTrue(done.stderr.strip(), "it failed without a word")
        return done

    def json(self, *args, **more):
        """-> what it prints with --json"""
        return json.loads(self.truc(*args, "--json", **more).stdout)

    def lines(self, *args, **more):
        """-> what it prints with --json, one object a line"""
        return [json.loads(line) for line in self.truc(*args, "--json", **more).stdout.splitlines()]

    def home(self, *args, by=False, **more):
        return self.truc(*args, "--home", self.hub.home, by=by, **more)

    def home_json(self, *args, **more):
        return json.loads(self.home(*args, "--json", **more).stdout)

    def new(self, stem="C"):
        """-> (code, profile folder) of an agency that `truc agency add` made"""
        code = self.code(stem)
        folder = self.folder / code
        self.truc("agency", "add", code, "--name", f"Office {code}", "--profile-out", folder)
        return code, folder

    def two(self, type_="*"):
        """-> ((code, folder) of a sender, of a receiver), with a grant between them"""
        a, b = self.new("S"), self.new("R")
        self.truc("grant", "add", f"of-{a[0]}", "--from", a[0], "--to", b[0], "--type", type_, "--basis", "Test Act")
        return a, b

    def send(self, a, b, *more, type_="x.v1", **kw):
        """-> the receipt's row"""
        (row,) = self.json("send", "--type", type_, "--recipients", b[0], *more, by=a[1], **kw)
        return row

    def recv(self, b, count=1):
        return self.lines("recv", "--count", count, by=b[1])
