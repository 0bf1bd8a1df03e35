"""The protobuf classes, generated from proto/*.proto into a temporary folder when this module is first imported."""

import atexit
import importlib
import pathlib
import shutil
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parents[3]
PROTO = ROOT / "proto"


def _generate():
    out = tempfile.mkdtemp(prefix="trucpy-")
    atexit.register(shutil.rmtree, out, ignore_errors=True)
    names = ("truc", "dsse", "cloudevents")
    subprocess.run(
        ["protoc", f"-I{PROTO}", f"--python_out={out}", *[str(PROTO / f"{n}.proto") for n in names]], check=True
    )
    sys.path.insert(0, out)
    try:
        sys.dont_write_bytecode, keep = True, sys.dont_write_bytecode
        return [importlib.import_module(f"{n}_pb2") for n in names]
    finally:
        sys.dont_write_bytecode = keep
        sys.path.remove(out)


truc, dsse, cloudevents = _generate()
