# SPDX-License-Identifier: MIT
"""Builds a layer for AWS Lambda, and runs the example's handler on it, cold and warm.

``nox -s layer -- --kind module|full --python 3.13 --arch arm64`` starts this. ``module`` has the
module alone: the runtime brings botocore, the function LangGraph. ``full`` has all that a LangGraph
agent needs, and a botocore that knows DynamoDB only. Both hold compiled files. The trial needs a
DynamoDB at $AWS_ENDPOINT_URL_DYNAMODB, and for a full layer a machine of its architecture.
"""

from __future__ import annotations

import argparse
import io
import os
import platform
import secrets
import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
ARCHIVE = ROOT / "dist" / "layer.zip"
MAX_MODULE_LAYER_BYTES = 160_000

# Lambda's name of a machine: Python's name of it, and the number in its ELF files.
MACHINES = {"arm64": ("aarch64", 183), "x86_64": ("x86_64", 62)}
# The services of a cut botocore: DynamoDB, and those that credentials may come from.
SERVICES = {"dynamodb", "signin", "sso", "sso-oidc", "sts"}


def main() -> None:
    """Build dist/layer.zip as the arguments say."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--kind", choices=("module", "full"), default="full")
    parser.add_argument("--python", default="3.13")
    parser.add_argument("--arch", choices=MACHINES, default="arm64")
    parser.add_argument("requirements", nargs="+", help="what an agent needs beside the module")
    options = parser.parse_args()
    python = shutil.which(f"python{options.python}")
    if python is None:
        sys.exit(f"no python{options.python} here, which has to compile the layer's files")
    print(f"{options.kind} layer for Python {options.python} on {options.arch}", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        _build(Path(folder), python, options)


def _build(tmp: Path, python: str, options: argparse.Namespace) -> None:
    """Build the archive twice, compare, and try it out."""
    machine, elf_machine = MACHINES[options.arch]
    is_bare = options.kind == "module"
    pip = [sys.executable, "-m", "pip", "--python", python, "install", "--quiet"]
    pip += ["--only-binary", ":all:"]
    content, packages = tmp / "content" / "python", tmp / "packages"
    content.mkdir(parents=True)
    if not is_bare:
        lambdas = ["--no-compile", "--platform", f"manylinux2014_{machine}"]
        subprocess.run(
            [*pip, *lambdas, "--target", str(content), *options.requirements], check=True
        )
        _cut(content)
    shutil.copy(ROOT / "langgraph_checkpoint_dynamodb.py", content)
    for file in content.rglob("*.so"):
        if int.from_bytes(file.read_bytes()[18:20], "little") != elf_machine:
            sys.exit(f"{file.name} is not for {options.arch}")

    ARCHIVE.parent.mkdir(exist_ok=True)
    again = shutil.copytree(content, tmp / "again" / "python")
    ARCHIVE.write_bytes(_pack(python, content, is_bare=is_bare))
    if _pack(python, again, is_bare=is_bare) != ARCHIVE.read_bytes():
        sys.exit("the same files made another archive")

    unpacked = tmp / "unpacked"
    shutil.unpack_archive(ARCHIVE, unpacked)
    size = sum(file.stat().st_size for file in unpacked.rglob("*") if file.is_file())
    print(f"{ARCHIVE}: {ARCHIVE.stat().st_size:,} bytes, unpacked {size:,}", flush=True)
    if is_bare and ARCHIVE.stat().st_size > MAX_MODULE_LAYER_BYTES:
        sys.exit(f"the module's layer is to have at most {MAX_MODULE_LAYER_BYTES:,} bytes")

    path = [ROOT / "examples" / "lambda", unpacked / "python"]
    if is_bare:
        subprocess.run([*pip, "--target", str(packages), *options.requirements], check=True)
        path.append(packages)
    elif machine != platform.machine():
        print(f"not tried out: this machine is {platform.machine()}")
        return
    _try_out(python, path)


def _cut(content: Path) -> None:
    """Remove what an agent on DynamoDB doesn't read: most of botocore's data, and pip's notes."""
    for folder in (content / "botocore" / "data").iterdir():
        if folder.is_dir() and folder.name not in SERVICES:
            shutil.rmtree(folder)
    shutil.rmtree(content / "bin", ignore_errors=True)
    for pattern in ("RECORD", "INSTALLER", "REQUESTED", "direct_url.json"):
        for note in content.glob(f"*.dist-info/{pattern}"):
            note.unlink()


def _pack(python: str, content: Path, *, is_bare: bool) -> bytes:
    """Compile a layer's files, and return an archive in which nothing but they decides a byte.

    Python never compares the compiled ones with their sources, whose times Lambda changes. If
    *is_bare*, docstrings and columns of lines are in the sources only: tracebacks have no marks.
    """
    command = [python, "-m", "compileall", "-q", "--invalidation-mode", "unchecked-hash"]
    command += ["-o", "2" if is_bare else "0", "-s", str(content), "-p", "/opt/python"]
    # The seed gives sets an order.
    marks = {"PYTHONHASHSEED": "0", "PYTHONNODEBUGRANGES": "1" if is_bare else ""}
    subprocess.run([*command, str(content)], env={**os.environ, **marks}, check=True)
    for file in content.rglob("*.opt-?.pyc"):
        file.rename(file.with_suffix("").with_suffix(".pyc"))  # where it is looked for
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as layer_zip:
        for file in sorted(content.rglob("*")):
            if file.is_file():
                entry = zipfile.ZipInfo(file.relative_to(content.parent).as_posix())  # of 1980
                entry.create_system = 3  # Unix, whose modes these are
                entry.external_attr = 0o100644 << 16
                layer_zip.writestr(entry, file.read_bytes(), zipfile.ZIP_DEFLATED)
    return archive.getvalue()


def _try_out(python: str, path: list[Path]) -> None:
    """Run the example's handler with *path* and the standard library, in two processes."""
    env = {
        **os.environ,
        "CHECKPOINTS_TABLE": "layer-checkpoints",
        "WRITES_TABLE": "layer-writes",
        "DAYS_TO_LIVE": "1",
        "TALKER": f"user-{secrets.token_hex(4)}",
    }
    for code in (SETUP, *(f"TALK = {talk}\n{TALK}" for talk in TALKS)):
        # -I and -S: no site-packages, no working folder, none of Python's variables.
        isolated = [python, "-I", "-S", "-B", "-c", code]
        subprocess.run([*isolated, *map(str, path)], env=env, check=True)


SETUP = f"""\
import os, sys
sys.path[:0] = sys.argv[1:]
import botocore.session
from langgraph_checkpoint_dynamodb import DynamoDBSaver
for service in {sorted(SERVICES)}:
    botocore.session.get_session().create_client(service)
DynamoDBSaver(os.environ["CHECKPOINTS_TABLE"], os.environ["WRITES_TABLE"], ttl_seconds=1).setup()
"""

# A user's messages and their answers, in one process and in the next.
TALKS = (
    {
        "hello": "Hello. You said 'hello'.",
        "you there?": "That was message 2. The first was 'hello'.",
    },
    {"and now?": "That was message 3. The first was 'hello'."},
)

TALK = """\
import os, sys, time
sys.path[:0] = sys.argv[1:]
started = time.process_time()
import handler
print(f"cold: {time.process_time() - started:.3f} s of CPU until it is ready")
for text, expected in TALK.items():
    started = time.process_time()
    answer = handler.handler({"user": os.environ["TALKER"], "text": text}, None)
    if answer != {"text": expected}:
        sys.exit(f"{text} -> {answer}")
    print(f"called: {time.process_time() - started:.3f} s")
layer = [m for m in sys.modules.values() if str(getattr(m, "__file__", "")).startswith(sys.path[1])]
if not layer or not all(os.path.exists(m.__spec__.cached) for m in layer if m.__spec__.cached):
    sys.exit(f"not loaded, or not compiled: {layer}")
"""


if __name__ == "__main__":
    main()
