# SPDX-License-Identifier: MIT
"""What ``python -m langgraph_checkpoint_dynamodb`` runs: commands for an operator's threads."""

from __future__ import annotations

import argparse
import json
import os
import pkgutil
import sys
from contextlib import contextmanager
from itertools import count, islice
from typing import TYPE_CHECKING, Any, Final

from botocore.exceptions import BotoCoreError, ClientError

from langgraph_checkpoint_dynamodb import DynamoDBSaver, DynamoDBSaverError, __version__

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

_HINTS: Final = {
    "NoRegionError": "pass --region or set AWS_DEFAULT_REGION",
    "NoCredentialsError": "set them as for the AWS CLI",
}


def _shown(text: str) -> str:
    """Return a text that neither ends a line nor moves a terminal's cursor."""
    return text if text.isprintable() else ascii(text)[1:-1]


def _line(cells: Iterable[Any], widths: Iterable[str]) -> str:
    padded = (f"{_shown(str(cell)):{width}}" for cell, width in zip(cells, widths, strict=True))
    return "  ".join(padded).rstrip()


def _print(args: argparse.Namespace, answer: Mapping[str, Any], *lines: str) -> None:
    """Print an answer: as one line of JSON, or as *lines* for people."""
    for line in [json.dumps(answer)] if args.json else lines:
        sys.stdout.write(f"{line}\n")


@contextmanager
def _progress(saver: DynamoDBSaver, args: argparse.Namespace) -> Iterator[None]:
    """Count on stderr, where that is a terminal, a command's requests."""
    requests = count(1)

    def show(**_: Any) -> None:
        if (number := next(requests)) % 10 == 0:
            sys.stderr.write(f"\r{args.command}: {number:,} requests")
            sys.stderr.flush()

    if sys.stderr.isatty():
        saver.client.meta.events.register("after-call.dynamodb", show)
    try:
        yield
    finally:
        if sys.stderr.isatty():
            sys.stderr.write(f"\r{args.command}: {next(requests) - 1:,} requests\n")


def _is_agreed(saver: DynamoDBSaver, args: argparse.Namespace, what: str) -> bool:
    if args.yes:
        return True
    tables = f"{saver.checkpoints_table_name!r} and {saver.writes_table_name!r}"
    sys.stderr.write(f"Delete {what} in {tables} at {saver.client.meta.endpoint_url}? [y/N] ")
    sys.stderr.flush()
    return sys.stdin.readline().strip().lower() in ("y", "yes")


def _expect(saver: DynamoDBSaver, thread_id: str) -> None:
    """Raise DynamoDBSaverError unless the tables have something of a thread."""
    if not saver.has_thread(thread_id):
        table = saver.checkpoints_table_name
        raise DynamoDBSaverError(f"Table {table!r} has nothing of thread {thread_id!r}")


def _run_setup(saver: DynamoDBSaver, args: argparse.Namespace) -> int:
    """Create the two tables where they are missing."""
    saver.setup(run_index=args.run_index)
    tables = [saver.checkpoints_table_name, saver.writes_table_name]
    _print(args, {"tables": tables}, "tables {!r} and {!r} are there".format(*tables))
    return 0


def _run_threads(saver: DynamoDBSaver, args: argparse.Namespace) -> int:
    """Print the ids of all threads, in no order."""
    for thread_id in saver.threads():
        _print(args, {"thread_id": thread_id}, _shown(thread_id))
    return 0


def _run_show(saver: DynamoDBSaver, args: argparse.Namespace) -> int:
    """Print a thread's checkpoints, newest first."""
    _expect(saver, args.thread)
    widths = ("<36", ">5", "<6", "<19", ">7", ">8", "<20", "")
    names = ("checkpoint_id", "step", "source", "ts", "bytes", "segments", "next", "checkpoint_ns")
    if not args.json:
        _print(args, {}, _line(names, widths))
    for entry in islice(saver.history(args.thread, checkpoint_ns=args.namespace), args.limit):
        row = entry._asdict()
        shown = {**row, "ts": entry.ts[:19], "next": ",".join(entry.next)}
        _print(args, row, _line((shown[name] for name in names), widths))
    return 0


def _run_stats(saver: DynamoDBSaver, args: argparse.Namespace) -> int:
    """Measure what a thread has stored."""
    _expect(saver, args.thread)
    with _progress(saver, args):
        found = saver.stats(args.thread)._asdict()
    names, widths = ("items", "bytes", "write_units"), ("<10", ">9", ">14", ">11")
    rows = {**found["kinds"], "total": found["total"]}
    _print(
        args,
        found,
        _line(("kind", *names), widths),
        *(_line((kind, *(f"{row[n]:,}" for n in names)), widths) for kind, row in rows.items()),
        "segments are named {segments_named:,} times, and would have {unshared_segment_bytes:,} "
        "bytes unshared".format(**found),
        "a checkpoint with its writes and segments takes {write_units_per_checkpoint:,} write "
        "units and {bytes_per_checkpoint:,} bytes".format(**found),
    )
    return 0


def _run_verify(saver: DynamoDBSaver, args: argparse.Namespace) -> int:
    """Check all that threads have stored, and list what nothing needs."""
    code = 0
    for thread_id in args.threads:
        _expect(saver, thread_id)
        with _progress(saver, args):
            found = saver.verify(thread_id)
        verdict, code = ("DAMAGED", 1) if found.damaged else ("whole", code)
        if found.unfinished and not found.damaged:
            verdict = f"under an unfinished {found.unfinished}"
        counts = ", ".join(f"{number:,} {kind}" for kind, number in found.items.items())
        _print(
            args,
            found._asdict(),
            _shown(f"thread {thread_id!r} is {verdict}: {counts}"),
            *(f"damaged: {_shown(what)}" for what in found.damaged),
            *(_shown(f"orphan: {name}: {what}") for name, what in found.orphans.items()),
        )
    return code


def _run_copy(saver: DynamoDBSaver, args: argparse.Namespace) -> int:
    """Copy a thread to one that is not there."""
    _expect(saver, args.source)
    with _progress(saver, args):
        saver.copy_thread(args.source, args.target)
    answer = {"source_thread_id": args.source, "target_thread_id": args.target}
    _print(args, answer, f"thread {args.target!r} is a copy of {args.source!r}")
    return 0


def _remove(
    saver: DynamoDBSaver,
    args: argparse.Namespace,
    what: str,
    done: str,
    remove: Callable[[str], None],
) -> int:
    """Call *remove* for each thread that is there, if deleting *what* of it is agreed to."""
    for thread_id in args.threads:
        if found := saver.has_thread(thread_id):
            if not _is_agreed(saver, args, what.format(repr(thread_id))):
                return 1
            with _progress(saver, args):
                remove(thread_id)
        verdict = done if found else "not there"
        _print(args, {"thread_id": thread_id, done: found}, f"thread {thread_id!r} is {verdict}")
    return 0


def _run_delete(saver: DynamoDBSaver, args: argparse.Namespace) -> int:
    """Delete threads."""
    return _remove(saver, args, "thread {}", "deleted", saver.delete_thread)


def _run_prune(saver: DynamoDBSaver, args: argparse.Namespace) -> int:
    """Delete the checkpoints of threads but the newest of each namespace, or all."""
    kept = "" if args.strategy == "delete" else " but the newest of each namespace"
    options = {"strategy": args.strategy, "grace_seconds": args.grace_seconds}
    what = "all checkpoints of thread {}" + kept
    return _remove(saver, args, what, "pruned", lambda each: saver.prune([each], **options))


def _whole_number(text: str) -> int:
    if (number := int(text)) < 0:
        raise ValueError
    return number


def _parser() -> argparse.ArgumentParser:
    common = argparse.ArgumentParser(add_help=False)
    for name in ("checkpoints", "writes"):
        variable = f"{name.upper()}_TABLE"
        common.add_argument(
            f"--{name}-table",
            metavar="NAME",
            default=os.environ.get(variable, name),
            help=f"the table of {name}; default: ${variable}, else {name}",
        )
    common.add_argument("--region", help="default: as for the AWS CLI; so are the credentials")
    common.add_argument("--endpoint-url", metavar="URL", help="of DynamoDB Local, say")
    common.add_argument(
        "--serde",
        metavar="MODULE:NAME",
        help="the saver's serializer, or what returns it when called; default: LangGraph's own",
    )
    common.add_argument("--json", action="store_true", help="print each answer as a line of JSON")
    parser = argparse.ArgumentParser(
        prog="python -m langgraph_checkpoint_dynamodb",
        description="Looks after LangGraph threads in DynamoDB.",
        epilog="Exit code: 0 all is well; 1 something is damaged, not there or failed, or the "
        "answer was no; 2 the command line is wrong; 130 interrupted.",
    )
    parser.add_argument("--version", action="version", version=__version__)
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    added: dict[str, argparse.ArgumentParser] = {}
    for run, operands in (
        (_run_setup, ""),
        (_run_threads, ""),
        (_run_show, "THREAD"),
        (_run_stats, "THREAD"),
        (_run_verify, "THREAD ..."),
        (_run_copy, "SOURCE TARGET"),
        (_run_delete, "THREAD ..."),
        (_run_prune, "THREAD ..."),
    ):
        name = run.__name__.removeprefix("_run_")
        usage = f"{parser.prog} {name} [OPTION ...] {operands}"
        added[name] = commands.add_parser(
            name, parents=[common], usage=usage, help=run.__doc__, description=run.__doc__
        )
        added[name].set_defaults(run=run, command=name)
        if operands.endswith("..."):
            added[name].add_argument("threads", metavar="THREAD", nargs="+")
        else:
            for operand in operands.split():
                added[name].add_argument(operand.lower(), metavar=operand)
    number: dict[str, Any] = {"type": _whole_number, "metavar": "N"}
    grace: dict[str, Any] = {**number, "default": 3600}
    strategies = ("keep_latest", "delete")
    options: tuple[tuple[str, str, dict[str, Any]], ...] = (
        ("setup", "--ttl-seconds", {**number, "help": "as the saver has it: turns expiry on"}),
        ("setup", "--run-index", {"action": "store_true", "help": "with an index on run_id"}),
        ("show", "--namespace", {"metavar": "NS", "help": "a subgraph's; '': the root graph's"}),
        ("show", "--limit", {**number, "help": "the newest N"}),
        ("prune", "--strategy", {"choices": strategies, "default": strategies[0]}),
        (
            "prune",
            "--grace-seconds",
            {**grace, "help": "as of DynamoDBSaver.prune(); default: 3600"},
        ),
        ("prune", "--yes", {"action": "store_true", "help": "do not ask"}),
        ("delete", "--yes", {"action": "store_true", "help": "do not ask"}),
    )
    for name, option, settings in options:
        added[name].add_argument(option, **settings)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command and return its exit code.

    Raises: SystemExit: the command line is wrong, or asks for help.
    """
    parser = _parser()
    args = parser.parse_args(argv)
    if "yes" in args and not args.yes and not (sys.stdin and sys.stdin.isatty()):
        parser.error("it asks before it deletes, and here is no terminal; pass --yes")
    client_config = {"region_name": args.region, "endpoint_url": args.endpoint_url}
    try:
        serde: Any = pkgutil.resolve_name(args.serde) if args.serde else None
    except (AttributeError, ImportError, ValueError) as error:
        parser.error(f"argument --serde: {error}")
    made: Any = serde
    try:
        if callable(serde):
            made = serde()
        with DynamoDBSaver(
            args.checkpoints_table,
            args.writes_table,
            {name: value for name, value in client_config.items() if value is not None},
            serde=made,
            ttl_seconds=getattr(args, "ttl_seconds", None),
        ) as saver:
            code: int = args.run(saver, args)
            sys.stdout.flush()
    except KeyboardInterrupt:
        sys.stderr.write("interrupted; the same command can be run again\n")
        return 130
    except BrokenPipeError:
        # Whoever reads has enough; Python flushes once more when it ends.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except (
        BotoCoreError,
        ClientError,
        DynamoDBSaverError,
        ValueError,
    ) as error:
        hint = _HINTS.get(type(error).__name__)
        message = _shown(" ".join(str(error).split()))
        sys.stderr.write(
            f"error: {message.rstrip('.')}; {hint}\n" if hint else f"error: {message}\n"
        )
        return 1
    return code


if __name__ == "__main__":
    raise SystemExit(main())
