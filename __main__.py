# SPDX-License-Identifier: MIT
"""The command line: ``langgraph-dynamodb``, or ``python -m langgraph_checkpoint_dynamodb``."""

from __future__ import annotations

import argparse
import json
import os
import pkgutil
import re
import shutil
import sys
from contextlib import contextmanager
from itertools import count, islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NoReturn

from botocore.exceptions import BotoCoreError, ClientError

from langgraph_checkpoint_dynamodb import DynamoDBSaver, DynamoDBSaverError, __version__

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from langgraph_checkpoint_dynamodb import HistoryEntry

_HINTS: Final = {
    "NoRegionError": "pass --region or set AWS_DEFAULT_REGION",
    "NoCredentialsError": "set them as for the AWS CLI",
}
# Names of the library in its messages, and an operator's words for them; quoted text stays.
_WORDS: Final = {
    "setup()": "the command setup",
    "delete_thread()": "delete",
    "target_thread_id": "TARGET",
    "source_thread_id": "SOURCE",
    "thread_id": "THREAD",
    "checkpoints_table_name": "--checkpoints-table",
    "writes_table_name": "--writes-table",
    "ttl_seconds": "--ttl-seconds",
    "grace_seconds": "--grace-seconds",
}
_QUOTED_OR_NAME: Final = re.compile(
    r"""'[^']*'|"[^"]*"|""" + "|".join(rf"\b{re.escape(name)}" for name in _WORDS)
)
_MIN_TEXT, _MAX_GRAPH = 8, 24


def _shown(text: str) -> str:
    """Return a text that neither ends a line nor moves a terminal's cursor."""
    return text if text.isprintable() else ascii(text)[1:-1]


def _line(cells: Iterable[Any], widths: Iterable[str]) -> str:
    padded = (f"{_shown(str(cell)):{width}}" for cell, width in zip(cells, widths, strict=True))
    return "  ".join(padded).rstrip()


def _counted(number: int, noun: str) -> str:
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def _message(error: Exception) -> str:
    """Return an error as one line, in the words of the command line."""
    text = _shown(" ".join(str(error).split()))
    return _QUOTED_OR_NAME.sub(lambda found: _WORDS.get(found[0], found[0]), text)


def _print(args: argparse.Namespace, answer: Mapping[str, Any], *lines: str) -> None:
    """Print an answer: as one line of JSON, or as *lines* for people."""
    for line in [json.dumps(answer)] if args.json else lines:
        sys.stdout.write(f"{line}\n")


@contextmanager
def _progress(saver: DynamoDBSaver, args: argparse.Namespace) -> Iterator[None]:
    """Count on stderr, where that is a terminal, a command's requests."""
    requests, width = count(1), [0]

    def show(**_: Any) -> None:
        if (number := next(requests)) % 10 == 0:
            line = f"{args.command}: {_counted(number, 'request')}"
            sys.stderr.write(f"\r{line}")
            sys.stderr.flush()
            width[0] = len(line)

    if sys.stderr.isatty():
        saver.client.meta.events.register("after-call.dynamodb", show)
    try:
        yield
    finally:
        if width[0]:
            sys.stderr.write(f"\r{' ' * width[0]}\r")
            sys.stderr.flush()


def _is_agreed(saver: DynamoDBSaver, args: argparse.Namespace, what: str) -> bool:
    if args.yes:
        return True
    tables = f"{saver.checkpoints_table_name!r} and {saver.writes_table_name!r}"
    place = _shown(saver.client.meta.endpoint_url)
    sys.stderr.write(f"Delete {what} in {tables} at {place}? [y/N] ")
    sys.stderr.flush()
    return sys.stdin.readline().strip().lower() in ("y", "yes")


def _expect(saver: DynamoDBSaver, thread_id: str) -> None:
    """Raise DynamoDBSaverError unless the tables have something of a thread."""
    if not saver.has_thread(thread_id):
        table = saver.checkpoints_table_name
        raise DynamoDBSaverError(f"Table {table!r} has nothing of thread {thread_id!r}")


def _graph(entries: Sequence[HistoryEntry]) -> Iterator[tuple[str, HistoryEntry | None]]:
    """Draw checkpoints, newest first, as ``git log --graph`` does: a line for each, with forks.

    A lane waits for the parent of the checkpoint drawn last in it; its key is a namespace and an
    id. Where two lanes wait for the same one, a line without a checkpoint joins them.
    """
    lanes: list[tuple[str, str] | None] = []
    for entry in entries:
        key = (entry.checkpoint_ns, entry.checkpoint_id)
        waiting = [index for index, lane in enumerate(lanes) if lane == key]
        free = [index for index, lane in enumerate(lanes) if lane is None]
        at = (waiting or free or [len(lanes)])[0]
        lanes[at:] = lanes[at:] or [None]
        for other in reversed(waiting[1:]):
            lanes[other] = None
            yield _joined(lanes, at, other), None
        cells = ["|" if lane else " " for lane in lanes]
        cells[at] = "*"
        yield " ".join(cells).rstrip(), entry
        parent = entry.parent_checkpoint_id
        lanes[at] = (entry.checkpoint_ns, parent) if parent else None
        while lanes and lanes[-1] is None:
            lanes.pop()


def _joined(lanes: Sequence[Any], at: int, other: int) -> str:
    """Draw how the lane *other* comes in to the lane *at*: ``|_|/``."""
    cells = list(" ".join("|" if lane else " " for lane in lanes))
    for gap in range(2 * at + 1, 2 * other - 1):
        cells[gap] = "_" if cells[gap] == " " else cells[gap]
    cells[2 * other - 1] = "/"
    return "".join(cells).rstrip()


def _cut(text: str, width: int) -> str:
    return text if len(text) <= width else f"{text[: width - 1]}…"


def _fit(columns: dict[str, list[str]], width: int) -> dict[str, int]:
    """Return the columns that fit a terminal, each with its width; 0 is no limit.

    Empty ones go, then, as far as needed, those that tell least; then texts are cut.
    """
    widths = {
        name: max(len(name), *map(len, cells)) for name, cells in columns.items() if any(cells)
    }
    cut = [name for name in ("next", "namespace") if name in widths]

    def excess(least: dict[str, int]) -> int:
        return sum(least.values()) + 2 * (len(least) - 1) - width if width else 0

    for name in ("segments", "bytes", "time", "source"):
        if excess(widths | {each: min(widths[each], _MIN_TEXT) for each in cut}) > 0:
            widths.pop(name, None)
    for name in reversed(cut):
        widths[name] -= min(max(excess(widths), 0), max(widths[name] - _MIN_TEXT, 0))
    return widths


def _history_lines(entries: Sequence[HistoryEntry], width: int) -> Iterator[str]:
    """Lay checkpoints out as a table with a graph; *width* is the terminal's, or 0."""
    columns: dict[str, list[str]] = {
        name: []
        for name in (
            *("", "checkpoint_id", "step", "source"),
            *("time", "bytes", "segments", "next", "namespace"),
        )
    }
    for graph, entry in _graph(entries):
        cells = (
            (
                *(entry.checkpoint_id, "" if entry.step is None else str(entry.step)),
                *(entry.source or "", entry.ts[:19], f"{entry.bytes:,}"),
                *(str(entry.segments), ",".join(entry.next), entry.checkpoint_ns),
            )
            if entry
            else [""] * (len(columns) - 1)
        )
        for cell, column in zip((_cut(graph, _MAX_GRAPH), *cells), columns.values(), strict=True):
            column.append(_shown(cell))
    widths = _fit(columns, width)
    right = ("step", "bytes", "segments")
    formats = [f"{'>' if name in right else '<'}{size}" for name, size in widths.items()]
    yield _line(widths, formats)
    for row in zip(*(columns[name] for name in widths), strict=True):
        cells = [_cut(cell, size) for cell, size in zip(row, widths.values(), strict=True)]
        yield _line(cells, formats)


def _run_setup(saver: DynamoDBSaver, args: argparse.Namespace) -> int:
    """Create the two tables where they are missing."""
    saver.setup(run_index=args.run_index)
    tables = [saver.checkpoints_table_name, saver.writes_table_name]
    _print(args, {"tables": tables}, "tables {!r} and {!r} are there".format(*tables))
    return 0


def _run_check(saver: DynamoDBSaver, args: argparse.Namespace) -> int:
    """Try the actions that a graph needs, and name those that are denied.

    Nothing is stored. --thread names a thread for credentials that may use only some threads.
    """
    denied = saver.check(args.thread)
    lines = [f"denied: {action} on table {table!r}" for action, table in denied]
    answer = {"denied": [each._asdict() for each in denied]}
    _print(args, answer, *(lines or ["allowed: all that a graph needs"]))
    return 1 if denied else 0


def _run_threads(saver: DynamoDBSaver, args: argparse.Namespace) -> int:
    """Print the ids of all threads, in no order."""
    for thread_id in saver.threads():
        _print(args, {"thread_id": thread_id}, _shown(thread_id))
    return 0


def _run_show(saver: DynamoDBSaver, args: argparse.Namespace) -> int:
    """Print the checkpoints of a thread, newest first, with its forks drawn at the left.

    A segment is a piece of a large value. A narrow terminal gets fewer columns; --json and a pipe
    get all.
    """
    _expect(saver, args.thread)
    entries: list[HistoryEntry] = []
    try:
        for entry in islice(saver.history(args.thread, checkpoint_ns=args.namespace), args.limit):
            if args.json:
                _print(args, entry._asdict())
            else:
                entries.append(entry)
    finally:
        # Those before a damaged one are shown, too.
        if entries:
            width = shutil.get_terminal_size((0, 0)).columns
            _print(args, {}, *_history_lines(entries, width))
    return 0


def _run_stats(saver: DynamoDBSaver, args: argparse.Namespace) -> int:
    """Count the items, bytes and write units that a thread takes, by kind of item."""
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
        f"segments are named {_counted(found['segments_named'], 'time')}, and would take "
        f"{_counted(found['unshared_segment_bytes'], 'byte')} unshared",
        f"a checkpoint with its writes and segments takes "
        f"{_counted(found['write_units_per_checkpoint'], 'write unit')} and "
        f"{_counted(found['bytes_per_checkpoint'], 'byte')}",
    )
    return 0


def _undecodable(what: str, number: int) -> str:
    """Tell of a thread's undecodable items once: they have one reason, and nothing is lost."""
    counted = _counted(number, "item")
    return _shown(f"undecodable: {counted}, such as: {what}; --serde names the serializer")


def _run_verify(saver: DynamoDBSaver, args: argparse.Namespace) -> int:
    """Check that everything which threads have stored is there and undamaged.

    Items that nothing needs are listed as orphans, which is no damage.
    """
    code = 0
    for thread_id in args.threads:
        _expect(saver, thread_id)
        with _progress(saver, args):
            found = saver.verify(thread_id)
        verdicts = ["DAMAGED"] if found.damaged else []
        if found.undecodable:
            verdicts.append("UNDECODABLE")
        if found.unfinished:
            verdicts.append(f"unfinished (under a {found.unfinished})")
        verdict = " and ".join(verdicts) or "whole"
        code = 1 if verdicts else code
        kinds = {each: f"{each} item" for each in ("pruned", "other", "expired")}
        counts = ", ".join(
            _counted(number, kinds.get(kind, kind)) for kind, number in found.items.items()
        )
        _print(
            args,
            found._asdict(),
            _shown(f"thread {thread_id!r} is {verdict}: {counts}"),
            *(f"damaged: {_shown(what)}" for what in found.damaged),
            *(_undecodable(each, len(found.undecodable)) for each in found.undecodable[:1]),
            *(_shown(f"orphan: {name}: {what}") for name, what in found.orphans.items()),
        )
    return code


def _run_copy(saver: DynamoDBSaver, args: argparse.Namespace) -> int:
    """Copy a thread, with its whole history, to a thread that does not exist yet."""
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
    """Delete threads and everything that they have stored."""
    return _remove(saver, args, "thread {}", "deleted", saver.delete_thread)


def _run_prune(saver: DynamoDBSaver, args: argparse.Namespace) -> int:
    """Delete all checkpoints of threads except the newest in each namespace."""
    kept = "" if args.strategy == "delete" else " but the newest of each namespace"
    options = {"strategy": args.strategy, "grace_seconds": args.grace_seconds}
    what = "all checkpoints of thread {}" + kept
    return _remove(saver, args, what, "pruned", lambda each: saver.prune([each], **options))


def _whole_number(text: str) -> int:
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"must be a whole number of at least 0, not {text!r}")
    return int(text)


class _Parser(argparse.ArgumentParser):
    """A parser whose errors leave the terminal alone, too."""

    def error(self, message: str) -> NoReturn:
        super().error(_shown(message))


def _common(*, is_first: bool) -> _Parser:
    """Return the options that stand before a command or after it; the later one counts."""
    common = _Parser(add_help=False)

    def add(option: str, description: str, default: Any = None, **settings: Any) -> None:
        kept = default if is_first else argparse.SUPPRESS
        common.add_argument(option, default=kept, help=description, **settings)

    for name in ("checkpoints", "writes"):
        variable = f"{name.upper()}_TABLE"
        add(
            f"--{name}-table",
            f"The table of {name}. The default is ${variable}, or else {name!r}.",
            os.environ.get(variable, name),
            metavar="NAME",
        )
    add("--region", "The AWS region. The default is that of the AWS CLI.")
    add("--endpoint-url", "Where DynamoDB is, such as a DynamoDB Local.", metavar="URL")
    add(
        "--serde",
        "The serializer that the threads were written with, or a function that returns it. The "
        "default is LangGraph's own.",
        metavar="MODULE:NAME",
    )
    add("--json", "Print each answer as one line of JSON.", default=False, action="store_true")
    return common


_COMMANDS: Final = (
    (_run_setup, ""),
    (_run_check, ""),
    (_run_threads, ""),
    (_run_show, "THREAD"),
    (_run_stats, "THREAD"),
    (_run_verify, "THREAD ..."),
    (_run_copy, "SOURCE TARGET"),
    (_run_delete, "THREAD ..."),
    (_run_prune, "THREAD ..."),
)
_OPERANDS: Final = {
    "THREAD": "The id of a thread.",
    "SOURCE": "The id of the thread to copy.",
    "TARGET": "The id of the copy. No thread may have it yet.",
}
_NUMBER: Final[dict[str, Any]] = {"type": _whole_number, "metavar": "N"}
_YES: Final[dict[str, Any]] = {"action": "store_true", "help": "Do not ask before deleting."}
_OPTIONS: Final[tuple[tuple[str, str, dict[str, Any]], ...]] = (
    (
        "setup",
        "--ttl-seconds",
        {**_NUMBER, "help": "Turn expiry on, as a saver with this lifetime in seconds needs it."},
    ),
    (
        "setup",
        "--run-index",
        {"action": "store_true", "help": "Add the index by which a run's threads are found."},
    ),
    (
        "check",
        "--thread",
        {"metavar": "THREAD", "default": "~", "help": "Try it with this thread's key."},
    ),
    (
        "show",
        "--namespace",
        {"metavar": "NS", "help": "Show one subgraph's checkpoints; '' is the root graph."},
    ),
    ("show", "--limit", {**_NUMBER, "help": "Show only the newest N checkpoints."}),
    (
        "prune",
        "--strategy",
        {
            "choices": ("keep_latest", "delete"),
            "default": "keep_latest",
            "help": "Keep the newest checkpoint in each namespace (the default), or none.",
        },
    ),
    (
        "prune",
        "--grace-seconds",
        {
            **_NUMBER,
            "default": 3600,
            "help": "Spare unused segments (pieces of large values) for N seconds, as a run may be "
            "about to use them. The default is 3600. Use 0 only if nobody writes to the thread.",
        },
    ),
    ("prune", "--yes", _YES),
    ("delete", "--yes", _YES),
)


_EPILOG: Final = """\
Options may stand before the command or after it. COMMAND --help explains a command.

An encrypted table, with the key in $LANGGRAPH_AES_KEY:
  {prog} verify THREAD \\
    --serde langgraph.checkpoint.serde.encrypted:EncryptedSerializer.from_pycryptodome_aes

Exit codes:
  0    All is well. Deleting or pruning a thread that does not exist is no error.
  1    Something failed, or is damaged, unfinished or not there; or the answer was no.
  2    The command line is wrong.
  130  The command was interrupted."""


def _parser() -> argparse.ArgumentParser:
    script = "langgraph-dynamodb"
    is_script = Path(sys.argv[0]).stem == script
    prog = script if is_script else "python -m langgraph_checkpoint_dynamodb"
    parser = _Parser(
        prog=prog,
        usage=f"{prog} [OPTION ...] COMMAND [OPTION ...] ...",
        parents=[_common(is_first=True)],
        formatter_class=argparse.RawDescriptionHelpFormatter,
        description="Look after LangGraph threads in DynamoDB.",
        epilog=_EPILOG.format(prog=prog),
    )
    parser.add_argument(
        "--version", action="version", version=__version__, help="Print the version."
    )
    commands = parser.add_subparsers(prog=prog, metavar="COMMAND", required=True)
    for run, operands in _COMMANDS:
        name, text = run.__name__.removeprefix("_run_"), str(run.__doc__)
        added = commands.add_parser(
            name,
            parents=[_common(is_first=False)],
            usage=f"{prog} {name} [OPTION ...] {operands}",
            help=text.partition("\n")[0],
            description=text,
        )
        added.set_defaults(run=run, command=name)
        if operands.endswith("..."):
            added.add_argument("threads", metavar="THREAD", nargs="+", help=_OPERANDS["THREAD"])
        else:
            for operand in operands.split():
                added.add_argument(operand.lower(), metavar=operand, help=_OPERANDS[operand])
        for command, option, settings in _OPTIONS:
            if command == name:
                added.add_argument(option, **settings)
    return parser


def _named_serde(parser: argparse.ArgumentParser, name: str) -> Any:
    """Return the serializer that MODULE:NAME names, or that it returns when called."""
    if not all(name.partition(":")):
        parser.error(f"argument --serde: must be MODULE:NAME, not {name!r}")
    try:
        serde: Any = pkgutil.resolve_name(name)
    except (AttributeError, ImportError, ValueError) as error:
        parser.error(f"argument --serde: {error}")
    if callable(serde):
        try:
            serde = serde()
        except TypeError:
            parser.error(f"argument --serde: {name!r} is no serializer, and returns none")
    if not (hasattr(serde, "dumps_typed") and hasattr(serde, "loads_typed")):
        parser.error(f"argument --serde: {name!r} is no serializer, and returns none")
    return serde


def _run(parser: argparse.ArgumentParser, args: argparse.Namespace) -> int:
    client_config = {"region_name": args.region, "endpoint_url": args.endpoint_url}
    with DynamoDBSaver(
        args.checkpoints_table,
        args.writes_table,
        {name: value for name, value in client_config.items() if value is not None},
        serde=None if args.serde is None else _named_serde(parser, args.serde),
        ttl_seconds=getattr(args, "ttl_seconds", None),
    ) as saver:
        code: int = args.run(saver, args)
        sys.stdout.flush()
    return code


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command and return its exit code.

    Raises: SystemExit: the command line is wrong, or asks for help.
    """
    parser = _parser()
    args = parser.parse_args(argv)
    if "yes" in args and not args.yes and not (sys.stdin and sys.stdin.isatty()):
        parser.error("it asks before it deletes, and here is no terminal; pass --yes")
    try:
        return _run(parser, args)
    except KeyboardInterrupt:
        sys.stderr.write("interrupted; the same command can be run again\n")
        return 130
    except BrokenPipeError:
        # Whoever reads has enough; Python flushes once more when it ends.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except (BotoCoreError, ClientError, DynamoDBSaverError, ImportError, ValueError) as error:
        message = _message(error)
        if hint := _HINTS.get(type(error).__name__):
            message = f"{message.rstrip('.')}; {hint}"
        sys.stderr.write(f"error: {message}\n")
        return 1


if __name__ == "__main__":
    raise SystemExit(main())
