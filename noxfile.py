# SPDX-License-Identifier: MIT
"""Every check of this project: ``nox --list`` names them. Only nox itself is installed by hand."""

from __future__ import annotations

import contextlib
import http.client
import json
import logging
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
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
# nox looks for uv before each session, whatever the backend, and reports that it is not there.
logging.getLogger("nox").addFilter(lambda record: record.msg != "uv binary not found.")

HERE = Path(__file__).parent
PYPROJECT = load_toml(HERE / "pyproject.toml")
PYTHONS = python_versions(PYPROJECT)
MODULE = "langgraph_checkpoint_dynamodb"
TYPED = [f"{MODULE}.py", "__main__.py", "test_saver.py", "bench.py", "noxfile.py", "examples"]
TYPED += sorted(file.relative_to(HERE).as_posix() for file in HERE.glob(".ci/*.py"))
IN_CI = os.environ.get("CI") == "true"
UNAVAILABLE = 69  # what .ci/fetch_dynamodb_local.py ends with if java or npm is missing

# The version of each package in the environments of all sessions but `lowest` and `newest`, so that
# a release of one of them turns no other session red.
CONSTRAINTS = HERE / ".ci" / "constraints.txt"

# A client of an emulator needs these besides its URL.
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
    """Follow the README's quick start in an empty environment, on DynamoDB Local and on moto."""
    _install(session, *dependency_groups(PYPROJECT, "readme"))
    tmp = Path(session.create_tmp()).resolve()
    session.run("python", "-m", "venv", "--clear", str(tmp / "empty"))
    python = str(tmp / "empty" / ("Scripts" if os.name == "nt" else "bin") / "python")
    pip = (python, "-m", "pip", "install", "--quiet", "--constraint", str(CONSTRAINTS))
    session.run(*pip, "langgraph", ".", external=True)
    text = (HERE / "README.md").read_text()
    blocks = text.split("```")
    examples = [block for block in blocks if block.startswith("python\n")]
    expected = next(block for block in blocks if block.startswith("text\n"))
    chat = "\n\n".join(example.removeprefix("python\n") for example in examples[:2])
    (tmp / "chat.py").write_text(f"{chat}\n\nimport asyncio\n\nasyncio.run(main())\n")
    # The servers that the README names: the first is Docker's there, and here as npm has it.
    (moto,) = re.findall(r'`pip install "(moto.*?)"` and, in .*, `moto_server -p 8000`', text)
    _install(session, moto)
    with contextlib.ExitStack() as stack:
        urls = [_any_dynamodb(session, stack), stack.enter_context(_moto(session))]
        session.chdir(tmp)
        session.run("mypy", "--strict", "--python-executable", python, "chat.py")
        for url in urls:
            env = {**ENVIRONMENT, "AWS_ENDPOINT_URL_DYNAMODB": url}
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
    session.run("cfn-lint", *map(str, sorted(Path("examples").glob("*/*.yaml"))))


@nox.session
def types(session: nox.Session) -> None:
    """Check the types of all files, and of a project with a copy of the module, by two checkers."""
    wanted = [*PYPROJECT["project"]["dependencies"], *dependency_groups(PYPROJECT, "types")]
    _install(session, *wanted)
    session.run("mypy", *TYPED)
    # Not the tests: StateGraph.add_node is overloaded for more kinds of state than pyright infers;
    # nor the benchmark of the peers, which puts a hook in every botocore client.
    checked = [name for name in TYPED if name not in {"test_saver.py", ".ci/peers.py"}]
    session.run("pyright", *checked, env={"PYRIGHT_PYTHON_IGNORE_WARNINGS": "1"})  # it is pinned
    _check_copy(session)
    _check_copy(session, *dependency_groups(PYPROJECT, "stubs"))


def _check_copy(session: nox.Session, *stubs: str) -> None:
    """Check a project that holds a copy of the module, and has *stubs* of botocore or none.

    A `type: ignore` that is needed without the stubs must not count as unused with them.
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
def bedrock(session: nox.Session) -> None:
    """Run the examples for Amazon Bedrock and AgentCore, with a script in place of the model."""
    _install(session, ".", *dependency_groups(PYPROJECT, "bedrock"))
    with contextlib.ExitStack() as stack:
        env = {**ENVIRONMENT, "AWS_ENDPOINT_URL_DYNAMODB": _any_dynamodb(session, stack)}
        session.run("python", "examples/check_bedrock.py", env=env)


@nox.session
def infrastructure(session: nox.Session) -> None:
    """Compare templates, CDK app and Terraform with setup(); run a graph on the stacks. Needs node.

    Each is checked with the defaults of its parameters, and with all parameters set.
    The CDK app is synthesized as the CDK's own command line does it.
    """
    if shutil.which("node") is None:
        session.error("node, which the CDK runs on, is not installed")
    _install(session, ".", *dependency_groups(PYPROJECT, "infrastructure"))
    synthesized = Path(session.create_tmp()).resolve() / "cdk"
    shutil.rmtree(synthesized, ignore_errors=True)
    key = "arn:aws:kms:eu-central-1:123456789012:key/5a1e0000-0000-4000-8000-000000000000"
    all_set = {  # as `--context NAME=TEXT` gives them
        "checkpoints_table": "agent-checkpoints",
        "writes_table": "agent-writes",
        "tags": '{"team": "agents", "stage": "test"}',
        "kms_key_arn": key,
        "run_index": "true",
    }
    for name, context in (("defaults", {}), ("all-set", all_set)):
        env = {"CDK_OUTDIR": str(synthesized / name), "CDK_CONTEXT_JSON": json.dumps(context)}
        session.run("python", "examples/cdk/app.py", env=env, silent=True)
    session.run("cfn-lint", *map(str, sorted(synthesized.glob("*/*.template.json"))))
    session.run("cfn-lint", *map(str, sorted(Path("examples").glob("*/*.yaml"))))
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
    _check_description(session, wheel)
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


def _check_description(session: nox.Session, wheel: Path) -> None:
    """Fail where PyPI would show a link to a file, or a picture, that it does not have."""
    with zipfile.ZipFile(wheel) as archive:
        (name,) = (each for each in archive.namelist() if each.endswith(".dist-info/METADATA"))
        description = archive.read(name).decode().partition("\n\n")[2]
    if not description.startswith("# "):
        session.error(f"the description begins with {description[:40]!r}")
    if broken := re.findall(r"\]\((?!https://)[^)]*\)|(?:src|href)=", description):
        session.error(f"PyPI can't show {broken}; see fancy-pypi-readme in pyproject.toml")


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
    """Measure this saver beside langgraph-checkpoint-aws; ``nox -s bench -- --quick`` is shorter.

    ``-- coldstart`` measures cold starts instead, ``-- peers`` other savers.
    """
    _install(session, ".", *dependency_groups(PYPROJECT, "bench"))
    subject, *rest = [*session.posargs, ""]
    with _dynamodb_local(session) as url:
        if url is None:
            session.error("only DynamoDB Local reports the units that are compared")
        env: dict[str, str] = {"DYNAMODB_LOCAL_URL": url}
        if subject == "coldstart":
            session.run("python", ".ci/coldstart.py", *filter(None, rest), env=env)
        elif subject == "peers":
            _bench_peers(session, [*filter(None, rest)], env)
        else:
            session.run("python", "bench.py", *session.posargs, env=env)


def _bench_peers(session: nox.Session, arguments: list[str], env: dict[str, str]) -> None:
    """Measure each peer in an environment of its own; the last table has them all."""
    tmp = Path(session.create_tmp()).resolve()
    (tmp / "results.json").unlink(missing_ok=True)
    for group in PYPROJECT["dependency-groups"]:
        prefix, _, name = group.partition("peer-")
        if prefix or not name:
            continue
        session.run("python", "-m", "venv", str(tmp / name), silent=True)
        python = str(tmp / name / ("Scripts" if os.name == "nt" else "bin") / "python")
        requirements = dependency_groups(PYPROJECT, group)
        session.run(python, "-m", "pip", "install", "--quiet", *requirements, external=True)
        options = ["--savers", name, "--json", str(tmp / "results.json"), *arguments]
        session.run(python, ".ci/peers.py", *options, env=env, external=True)


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


@nox.session
def layer(session: nox.Session) -> None:
    """Build dist/layer.zip for AWS Lambda: ``-- --kind module|full --python 3.13 --arch arm64``."""
    session.install("pip>=22.3")  # the first with --python
    wanted = ["langgraph", *PYPROJECT["project"]["dependencies"]]
    with contextlib.ExitStack() as stack:
        env = {**ENVIRONMENT, "AWS_ENDPOINT_URL_DYNAMODB": _any_dynamodb(session, stack)}
        session.run("python", ".ci/build_layer.py", *session.posargs, "--", *wanted, env=env)


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


def _any_dynamodb(session: nox.Session, stack: contextlib.ExitStack) -> str:
    """Give the URL of DynamoDB Local or, where there can be none, of moto's server."""
    url = stack.enter_context(_dynamodb_local(session))
    if url is None:
        _install(session, *dependency_groups(PYPROJECT, "moto"))
        url = stack.enter_context(_moto(session))
    return url


@contextlib.contextmanager
def _dynamodb_local(session: nox.Session) -> Generator[str | None]:
    """Give the URL of a DynamoDB Local that is empty, or None where there can be none."""
    cache = session.cache_dir.resolve() / "dynamodb-local"
    fetch = [sys.executable, str(HERE / ".ci" / "fetch_dynamodb_local.py"), str(cache)]
    done = subprocess.run(fetch, check=False, stdout=subprocess.PIPE, text=True)
    if done.returncode:  # it has said why
        reason = "no DynamoDB Local"
        if IN_CI or done.returncode != UNAVAILABLE:
            session.error(reason)
        session.warn(f"{reason}: going on with moto's server only")
        yield None
        return
    port = _free_port()
    emulator = Path(done.stdout.strip())
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
