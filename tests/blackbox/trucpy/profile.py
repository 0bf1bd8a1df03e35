"""The only place that knows how `truc init` lays out a client profile on disk."""

import pathlib
from dataclasses import dataclass

from . import keys, note
from .client import Agency


@dataclass(frozen=True)
class Profile:
    agency: Agency
    server_key: bytes  # Z85
    verifier: note.Verifier


def _line(path):
    return path.read_text("ascii").strip()


def load(folder, code):
    """Reads a profile: sign.pem (PKCS#8), transport.secret, transport.public and hub.public (Z85), note.key."""
    folder = pathlib.Path(folder)
    agency = Agency(
        code,
        private=keys.load_private((folder / "sign.pem").read_bytes()),
        transport=(_line(folder / "transport.public").encode(), _line(folder / "transport.secret").encode()),
    )
    return Profile(agency, _line(folder / "hub.public").encode(), note.Verifier.parse(_line(folder / "note.key")))


def admin_code(folder):
    """The agency code that profile.yaml names."""
    for line in (pathlib.Path(folder) / "profile.yaml").read_text("utf-8").splitlines():
        key, _, value = line.partition(":")
        if key.strip() == "agency":
            return value.strip().strip("\"'")
    raise ValueError(f"{folder}/profile.yaml names no agency")
