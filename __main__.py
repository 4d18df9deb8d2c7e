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
from contextlib import ExitStack, contextmanager
from datetime import datetime, timezone
from itertools import count, islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple, NoReturn

from botocore.exceptions import BotoCoreError, ClientError, ProfileNotFound
from langgraph.checkpoint.base import BaseCheckpointSaver

from langgraph_checkpoint_dynamodb import (
    DamagedCheckpointError,
    DynamoDBSaver,
    DynamoDBSaverError,
    UndecodableCheckpointError,
    __version__,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from langgraph_checkpoint_dynamodb import HistoryEntry, Removal

_HINTS: Final = {
    "NoRegionError": "pass --region or set AWS_DEFAULT_REGION",
    "NoCredentialsError": "set them as for the AWS CLI",
}
# Names of the library in its messages, and an operator's words for them; quoted text stays.
_WORDS: Final = {
    "setup()": "the command setup",
    "delete_thread()": "delete",
    "copy_from()": "copy-from",
    "target_thread_id": "TARGET",
    "source_thread_id": "SOURCE",
    "thread_ids": "the command",
    "thread_id": "THREAD",
    "checkpoints_table_name": "--checkpoints-table",
    "writes_table_name": "--writes-table",
    "ttl_seconds": "--ttl-seconds",
    "grace_seconds": "--grace-seconds",
    "force=True": "--force",
    "use_index=False": "--no-index",
}
_QUOTED_OR_NAME: Final = re.compile(
    r"""'[^']*'|"[^"]*"|""" + "|".join(rf"\b{re.escape(name)}" for name in _WORDS)
)
# The variables that botocore takes a profile from, and those that it prefers to a profile.
_PROFILE_VARIABLES: Final = ("AWS_DEFAULT_PROFILE", "AWS_PROFILE")
_KEY_VARIABLES: Final = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN")
# By one of these methods MODULE:NAME is told to be what it has to be; a saver may be a context
# manager of one.
_METHODS: Final = {"serializer": ("dumps_typed",), "saver": ("get_tuple", "__enter__")}
_MIN_TEXT, _MAX_GRAPH = 8, 24
_MAX_TTL_SECONDS: Final = 100 * 365 * 86_400
_MAX_NUMBER: Final = 10**9


def _shown(text: str) -> str:
    """Return a text that neither ends a line nor moves a terminal's cursor."""
    return text if text.isprintable() else ascii(text)[1:-1]


def _line(cells: Iterable[Any], widths: Iterable[str]) -> str:
    padded = (f"{_shown(str(cell)):{width}}" for cell, width in zip(cells, widths, strict=True))
    return "  ".join(padded).rstrip()


def _counted(number: float, noun: str) -> str:
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def _amounts(removal: Removal) -> str:
    """Return the counts of a thread's items: "2 checkpoints, 1 write and 0 chunks"."""
    checkpoints, writes, chunks = removal
    return (
        f"{_counted(checkpoints, 'checkpoint')}, {_counted(writes, 'write')} and "
        f"{_counted(chunks, 'chunk')}"
    )


def _time(seconds: int) -> str:
    try:
        return f"{datetime.fromtimestamp(seconds, timezone.utc):%Y-%m-%dT%H:%M:%SZ}"
    except (OSError, OverflowError, ValueError):  # a forged item may hold any number
        return f"{seconds} seconds after 1970"


def _lifetime(found: Mapping[str, Any]) -> str:
    """Return the times of a thread, as stats() and verify() find them."""
    if found["is_pinned"]:
        return "pinned: it never expires"
    if found["shown_until"] is None:
        return "no checkpoint is shown"
    return f"shown until {_time(found['shown_until'])}, stored until {_time(found['stored_until'])}"


def _message(error: Exception) -> str:
    """Return an error as one line, in the words of the command line."""
    text = _shown(" ".join(str(error).split()))
    return _QUOTED_OR_NAME.sub(lambda found: _WORDS.get(found[0], found[0]), text)


def _print(args: argparse.Namespace, answer: Mapping[str, Any], *lines: str) -> None:
    """Print an answer: as one line of JSON, or as *lines* for people."""
    for line in [json.dumps(answer)] if args.json else lines:
        sys.stdout.write(f"{line}\n")


def _complain(message: str) -> None:
    sys.stderr.write(f"error: {message}\n")


class _Status:
    """A line on stderr, if that is a terminal, that is written over until the work is done."""

    def __init__(self) -> None:
        self._is_shown = sys.stderr.isatty()
        self._width = 0

    def show(self, line: str) -> None:
        if self._is_shown:
            line = _shown(line)
            sys.stderr.write(f"\r{line:{self._width}}")
            sys.stderr.flush()
            self._width = len(line)

    def clear(self) -> None:
        if self._width:
            sys.stderr.write(f"\r{' ' * self._width}\r")
            sys.stderr.flush()
            self._width = 0


@contextmanager
def _progress(saver: DynamoDBSaver, label: str) -> Iterator[None]:
    """Count the requests of a command on a terminal."""
    status, requests, events = _Status(), count(1), saver.client.meta.events

    def show(**_: Any) -> None:
        if (number := next(requests)) % 10 == 0:
            status.show(f"{label}: {_counted(number, 'request')}")

    events.register("after-call.dynamodb", show)
    try:
        yield
    finally:
        events.unregister("after-call.dynamodb", show)
        status.clear()


def _threads(args: argparse.Namespace) -> Iterator[tuple[str, str]]:
    """Return each thread of a command with a label for its progress: "verify 3 of 10"."""
    total = len(args.threads)
    for number, thread_id in enumerate(args.threads, 1):
        yield thread_id, args.command if total == 1 else f"{args.command} {number} of {total}"


def _place(saver: DynamoDBSaver) -> str:
    """Return where the tables are, as far as it is known without a request."""
    meta = saver.client.meta
    profile = next(filter(None, map(os.environ.get, _PROFILE_VARIABLES)), None)
    parts = [f"profile {profile!r}"] if profile else []
    return _shown(", ".join([*parts, f"region {meta.region_name!r}", f"at {meta.endpoint_url}"]))


def _is_agreed(saver: DynamoDBSaver, args: argparse.Namespace, what: str) -> bool:
    if args.yes:
        return True
    tables = f"{saver.checkpoints_table_name!r} and {saver.writes_table_name!r}"
    sys.stderr.write(f"Delete {what} in {tables} ({_place(saver)})? [y/N] ")
    sys.stderr.flush()
    is_agreed = sys.stdin.readline().strip().lower() in ("y", "yes")
    if not is_agreed:
        sys.stderr.write("aborted\n")
    return is_agreed


def _not_there(saver: DynamoDBSaver, thread_id: str) -> str:
    return f"Table {saver.checkpoints_table_name!r} has no thread {thread_id!r}"


def _expect(saver: DynamoDBSaver, thread_id: str) -> None:
    """Raise DynamoDBSaverError unless the tables have something of a thread."""
    if not saver.has_thread(thread_id):
        raise DynamoDBSaverError(_not_there(saver, thread_id))


def _graph(entries: Sequence[HistoryEntry]) -> Iterator[tuple[str, HistoryEntry | None]]:
    """Draw checkpoints, newest first, as ``git log --graph`` does: a line for each, with forks.

    A lane waits for the parent of the checkpoint drawn last in it; its key is a namespace and an
    id. If two lanes wait for the same one, a line without a checkpoint joins them.
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

    for name in ("chunks", "bytes", "time", "source"):
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
            *("time", "bytes", "chunks", "next", "namespace"),
        )
    }
    for graph, entry in _graph(entries):
        cells = (
            (
                *(entry.checkpoint_id, "" if entry.step is None else str(entry.step)),
                *(entry.source or "", entry.ts[:19], f"{entry.bytes:,}"),
                *(str(entry.chunks), ",".join(entry.next), entry.checkpoint_ns),
            )
            if entry
            else [""] * (len(columns) - 1)
        )
        for cell, column in zip((_cut(graph, _MAX_GRAPH), *cells), columns.values(), strict=True):
            column.append(_shown(cell))
    widths = _fit(columns, width)
    right = ("step", "bytes", "chunks")
    formats = [f"{'>' if name in right else '<'}{size}" for name, size in widths.items()]
    yield _line(widths, formats)
    for row in zip(*(columns[name] for name in widths), strict=True):
        cells = [_cut(cell, size) for cell, size in zip(row, widths.values(), strict=True)]
        yield _line(cells, formats)


def _run_setup(saver: DynamoDBSaver, args: argparse.Namespace) -> int:
    """Create the two tables if they do not exist. Options turn on expiry and add an index."""
    tables = [saver.checkpoints_table_name, saver.writes_table_name]
    created = [name for name in tables if not _is_there(saver, name)]
    saver.setup(run_index=args.run_index)
    meta = saver.client.meta
    answer = {
        "tables": tables,
        "created": created,
        "region": meta.region_name,
        "endpoint_url": meta.endpoint_url,
    }
    expiry = "; expiry is on" if args.ttl_seconds else ""
    extras = (f"{expiry}; index 'run_id' is there" if args.run_index else expiry, expiry)
    lines = (
        f"{'created' if name in created else 'found'} table {name!r} ({_place(saver)}){extra}"
        for name, extra in zip(tables, extras, strict=True)
    )
    _print(args, answer, *lines)
    return 0


def _is_there(saver: DynamoDBSaver, table_name: str) -> bool:
    try:
        saver.client.describe_table(TableName=table_name)
    except saver.client.exceptions.ResourceNotFoundException:
        return False
    return True


def _run_check(saver: DynamoDBSaver, args: argparse.Namespace) -> int:
    """Try the actions that a graph needs, and name those that are denied.

    The command stores nothing. If the credentials may use only some threads, name one of these
    with --thread.
    """
    denied = saver.check(args.thread)
    lines = [f"denied: {action} on table {table!r}" for action, table in denied]
    answer = {"denied": [each._asdict() for each in denied]}
    _print(args, answer, *(lines or ["allowed: all that a graph needs"]))
    return 1 if denied else 0


def _run_threads(saver: DynamoDBSaver, args: argparse.Namespace) -> int:
    """Print the ids of all threads, in no particular order."""
    for thread_id in saver.threads():
        if thread_id.startswith(args.prefix):
            _print(args, {"thread_id": thread_id}, _shown(thread_id))
    return 0


def _run_show(saver: DynamoDBSaver, args: argparse.Namespace) -> int:
    """Print the checkpoints of a thread, newest first, with its forks drawn on the left.

    The column "chunks" counts the pieces of large values that a checkpoint refers to. A narrow
    terminal shows fewer columns; --json and a pipe show all.
    """
    _expect(saver, args.thread)
    entries: list[HistoryEntry] = []
    is_empty = args.limit != 0
    try:
        for entry in islice(saver.history(args.thread, checkpoint_ns=args.namespace), args.limit):
            is_empty = False
            if args.json:
                _print(args, entry._asdict())
            else:
                entries.append(entry)
    finally:
        # Checkpoints before a damaged one are shown, too.
        if entries:
            width = shutil.get_terminal_size((0, 0)).columns
            _print(args, {}, *_history_lines(entries, width))
    if is_empty:
        where = "" if args.namespace is None else f" in namespace {args.namespace!r}"
        raise DynamoDBSaverError(
            f"Table {saver.checkpoints_table_name!r} shows no checkpoint of thread "
            f"{args.thread!r}{where}"
        )
    return 0


def _run_stats(saver: DynamoDBSaver, args: argparse.Namespace) -> int:
    """Count the items, bytes and write units of a thread by kind, and say when it expires."""
    _expect(saver, args.thread)
    with _progress(saver, args.command):
        found = saver.stats(args.thread)._asdict()
    names, widths = ("items", "bytes", "write_units"), ("<10", ">9", ">14", ">11")
    rows = {**found["kinds"], "total": found["total"]}
    unreadable = _counted(found["unreadable"], "item")
    _print(
        args,
        found,
        _line(("kind", *names), widths),
        *(_line((kind, *(f"{row[n]:,}" for n in names)), widths) for kind, row in rows.items()),
        f"items refer to chunks {_counted(found['chunk_references'], 'time')}; without sharing, "
        f"chunks would take {_counted(found['unshared_chunk_bytes'], 'byte')}",
        *(
            [f"{unreadable} can't be decoded; --serde names the serializer"]
            if found["unreadable"]
            else []
        ),
        f"a checkpoint with its writes and chunks takes "
        f"{_counted(found['write_units_per_checkpoint'], 'write unit')} and "
        f"{_counted(found['bytes_per_checkpoint'], 'byte')}",
        _lifetime(found),
    )
    return 0


def _undecodable(what: str, number: int) -> str:
    """Tell of a thread's undecodable items once: they have one reason, and nothing is lost."""
    counted = _counted(number, "item")
    return _shown(f"undecodable: {counted}, such as: {what}; --serde names the serializer")


def _run_verify(saver: DynamoDBSaver, args: argparse.Namespace) -> int:
    """Check that everything that threads have stored is complete and undamaged.

    Items that nothing needs are listed as orphans; orphans are not damage. Threads that do not
    exist are reported at the end.
    """
    missing, code = [], 0
    for thread_id, label in _threads(args):
        if not saver.has_thread(thread_id):
            missing.append(thread_id)
            continue
        with _progress(saver, label):
            found = saver.verify(thread_id)
        verdicts = ["DAMAGED"] if found.damaged else []
        if found.undecodable:
            verdicts.append("UNDECODABLE")
        if found.unfinished:
            verdicts.append(f"unfinished (under a {found.unfinished})")
        verdict = " and ".join(verdicts) or "whole"
        code = 1 if verdicts else code
        kinds = {each: f"{each} item" for each in ("other", "expired")}
        counts = ", ".join(
            _counted(number, kinds.get(kind, kind)) for kind, number in found.items.items()
        )
        _print(
            args,
            found._asdict(),
            _shown(f"thread {thread_id!r} is {verdict}: {counts}; {_lifetime(found._asdict())}"),
            *(f"damaged: {_shown(what)}" for what in found.damaged),
            *(_undecodable(each, len(found.undecodable)) for each in found.undecodable[:1]),
            *(_shown(f"orphan: {name}: {what}") for name, what in found.orphans.items()),
        )
    for thread_id in missing:
        _complain(_not_there(saver, thread_id))
    return 1 if missing else code


def _run_copy(saver: DynamoDBSaver, args: argparse.Namespace) -> int:
    """Copy a thread, with its whole history, to a thread that does not exist yet.

    The copy never expires unless you pass --ttl-seconds. A copy that was cut off starts over.
    """
    if args.source == args.target:
        raise ValueError(f"SOURCE and TARGET are both {args.source!r}")
    _expect(saver, args.source)
    saver.has_thread(args.target)  # raises ValueError if it can be no id
    with _progress(saver, args.command):
        try:
            saver.copy_thread(args.source, args.target)
        except ValueError as error:  # the values are right, but the target is not empty
            raise DynamoDBSaverError(str(error)) from error
        copied = saver.prune_preview(args.target, strategy="delete")
    answer = {"source_thread_id": args.source, "target_thread_id": args.target, **copied._asdict()}
    line = f"thread {args.target!r} is a copy of {args.source!r}: {_amounts(copied)}"
    _print(args, answer, line)
    return 0


def _run_copy_from(saver: DynamoDBSaver, args: argparse.Namespace) -> int:
    """Copy threads from a different saver: the threads that you name, or all that it lists.

    MODULE:NAME is a saver, or a function that returns a saver or a context manager of one. The
    module is in the current folder, or installed. Repeat a command that was cut off: copying
    continues where it stopped. Copies never expire unless you pass --ttl-seconds.
    """
    status = _Status()
    with ExitStack() as stack:
        stack.callback(status.clear)
        source = args.source
        if not isinstance(source, BaseCheckpointSaver):
            source = stack.enter_context(source)
        if not isinstance(source, BaseCheckpointSaver):
            what = f"a {type(source).__name__}, which is not a saver"
            raise ValueError(f"MODULE:NAME opens {what}")  # noqa: TRY004  main() says: wrong value

        def show(thread_id: str, done: int, total: int) -> None:
            counted = f"{done:,} of {_counted(total, 'checkpoint')}"
            status.show(f"{args.command}: thread {thread_id!r}: {counted}")

        try:
            report = saver.copy_from(source, args.threads or None, progress=show)
        except (NotImplementedError, ValueError) as error:  # about the source, not the command line
            hint = "" if args.threads else "; if the source can't list its threads, name them"
            raise DynamoDBSaverError(f"{error}{hint}") from error
    _print(
        args,
        report._asdict(),
        f"copied {_counted(report.copied, 'checkpoint')} of {_counted(report.threads, 'thread')}; "
        f"{report.there_before:,} were there before",
    )
    for thread_id, what in report.failed.items():
        _complain(_shown(f"The source can't show thread {thread_id!r}: {what}"))
    return 1 if report.failed else 0


def _run_expire(saver: DynamoDBSaver, args: argparse.Namespace) -> int:
    """Give threads a new time to live from now, or pin them so that they never expire.

    Stop the graphs of these threads first. Repeat a command that was cut off.
    """
    code, missing = 0, []
    for thread_id, label in _threads(args):
        if not saver.has_thread(thread_id):
            missing.append(thread_id)
            continue
        with _progress(saver, label):
            try:
                saver.set_ttl([thread_id], args.ttl_seconds)
            except (DamagedCheckpointError, UndecodableCheckpointError) as error:
                _complain(_message(error))
                code = 1
                continue
            found = saver.stats(thread_id)._asdict()
        counts = {
            f"{kind}s": found["kinds"].get(kind, {"items": 0})["items"]
            for kind in ("checkpoint", "write", "chunk")
        }
        times = {name: found[name] for name in ("shown_until", "stored_until", "is_pinned")}
        counted = ", ".join(_counted(number, kind[:-1]) for kind, number in counts.items())
        _print(
            args,
            {"thread_id": thread_id, **times, **counts},
            _shown(f"thread {thread_id!r}: {counted}; {_lifetime(found)}"),
        )
    for thread_id in missing:
        _complain(_not_there(saver, thread_id))
    return 1 if missing else code


class _Removing(NamedTuple):
    """How a command removes something of a thread."""

    #: What it has done to the thread: "deleted".
    done: str
    #: What the question adds to the counts.
    what: str
    #: Options of prune(), and of prune_preview().
    options: dict[str, Any]


def _remove(saver: DynamoDBSaver, args: argparse.Namespace, removing: _Removing) -> int:
    """Remove what there is of each thread, if that is agreed to; go on past damaged threads."""
    code = 0
    for thread_id, label in _threads(args):
        try:
            is_done = _remove_one(saver, args, removing, thread_id, label)
        except (DamagedCheckpointError, UndecodableCheckpointError) as error:
            _complain(_message(error))
            is_done = False
        code = code if is_done else 1
    return code


def _remove_one(
    saver: DynamoDBSaver, args: argparse.Namespace, removing: _Removing, thread_id: str, label: str
) -> bool:
    """Return False if it was not agreed to."""
    done, what, options = removing
    answer = {"thread_id": thread_id, "dry_run": args.dry_run, done: False}
    if not saver.has_thread(thread_id):
        _print(args, answer, _shown(f"there is no thread {thread_id!r}"))
        return True
    with _progress(saver, label):
        removal = saver.prune_preview(thread_id, **options)
    verdict = f"would lose {_amounts(removal)}"
    if not args.dry_run:
        if not _is_agreed(saver, args, f"{_amounts(removal)} of thread {thread_id!r}{what}"):
            return False
        with _progress(saver, label):
            saver.prune([thread_id], **options)
        answer[done] = True
        verdict = f"is {done}: {_amounts(removal)}"
    _print(args, {**answer, **removal._asdict()}, _shown(f"thread {thread_id!r} {verdict}"))
    return True


def _run_delete(saver: DynamoDBSaver, args: argparse.Namespace) -> int:
    """Delete threads and everything that they have stored."""
    return _remove(saver, args, _Removing("deleted", "", {"strategy": "delete"}))


def _run_prune(saver: DynamoDBSaver, args: argparse.Namespace) -> int:
    """Delete all checkpoints of threads except the newest of each namespace.

    Checkpoints from which the newest are rebuilt stay, but are hidden. Unused chunks (pieces of
    large values) are deleted by a later call, after the grace period.
    """
    options = {"strategy": args.strategy, "grace_seconds": args.grace_seconds}
    kept = ""
    if args.strategy == "keep_latest":
        options["keep_last"] = args.keep_last or 1
        newest = "newest" if options["keep_last"] == 1 else f"newest {options['keep_last']}"
        kept = f" (all but the {newest} of each namespace)"
    elif args.keep_last:
        raise ValueError("--keep-last goes with --strategy keep_latest only")
    return _remove(saver, args, _Removing("pruned", kept, options))


def _run_delete_runs(saver: DynamoDBSaver, args: argparse.Namespace) -> int:
    """Delete the checkpoints of runs, and their pending writes, in all threads."""
    runs = ", ".join(map(repr, args.runs))
    if not _is_agreed(saver, args, f"the checkpoints of {_counted(len(args.runs), 'run')} {runs}"):
        return 1
    with _progress(saver, args.command):
        saver.delete_for_runs(args.runs, force=args.force, use_index=not args.no_index)
    lines = (_shown(f"the checkpoints of run {run_id!r} are deleted") for run_id in args.runs)
    _print(args, {"run_ids": args.runs}, *lines)
    return 0


def _number(least: int, most: int) -> Callable[[str], int]:
    """Return a parser of whole numbers within bounds."""
    bounds = f"from {least} to {most:,}"

    def parse(text: str) -> int:
        # int() refuses very long numbers in words of its own.
        number = int(text) if text.isdecimal() and len(text) <= len(str(most)) else -1
        if not least <= number <= most:
            raise argparse.ArgumentTypeError(f"must be a whole number {bounds}, not {text!r}")
        return number

    return parse


def _id(text: str) -> str:
    if not text:
        raise argparse.ArgumentTypeError("is empty; give it a value")
    return text


class _Parser(argparse.ArgumentParser):
    """A parser whose errors are one line, and leave the terminal alone."""

    def __init__(self, **options: Any) -> None:
        super().__init__(allow_abbrev=False, **options)

    def error(self, message: str) -> NoReturn:
        _complain(_shown(f"{message}; try {self.prog} --help"))
        raise SystemExit(2)


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
            f"The table of {name}. The default is ${variable} if it is set, otherwise {name!r}.",
            os.environ.get(variable, name),
            metavar="NAME",
        )
    add("--profile", "The AWS profile. The default is that of the AWS CLI.", metavar="NAME")
    add("--region", "The AWS region. The default is that of the AWS CLI.")
    add("--endpoint-url", "The URL of DynamoDB, such as that of DynamoDB Local.", metavar="URL")
    add(
        "--serde",
        "The serializer that wrote the threads, or a function that returns it. The default is "
        "LangGraph's own.",
        metavar="MODULE:NAME",
    )
    add("--json", "Print each answer as one line of JSON.", default=False, action="store_true")
    return common


def _operand(dest: str, metavar: str, text: str, nargs: str | None = None) -> dict[str, Any]:
    return {"dest": dest, "metavar": metavar, "help": text, "nargs": nargs, "type": _id}


_THREAD: Final = _operand("thread", "THREAD", "The id of a thread.")
_THREADS: Final = _operand("threads", "THREAD", "The id of a thread.", "+")
_COMMANDS: Final[tuple[tuple[Any, tuple[dict[str, Any], ...]], ...]] = (
    (_run_setup, ()),
    (_run_check, ()),
    (_run_threads, ()),
    (_run_show, (_THREAD,)),
    (_run_stats, (_THREAD,)),
    (_run_verify, (_THREADS,)),
    (
        _run_copy,
        (
            _operand("source", "SOURCE", "The id of the thread to copy."),
            _operand("target", "TARGET", "The id of the copy. No thread may have it yet."),
        ),
    ),
    (
        _run_copy_from,
        (
            _operand("source", "MODULE:NAME", "The saver to copy from."),
            _operand("threads", "THREAD", "The id of a thread. The default is all threads.", "*"),
        ),
    ),
    (_run_expire, (_THREADS,)),
    (_run_prune, (_THREADS,)),
    (_run_delete, (_THREADS,)),
    (_run_delete_runs, (_operand("runs", "RUN", "The id of a run.", "+"),)),
)
_COUNT: Final[dict[str, Any]] = {"type": _number(0, _MAX_NUMBER), "metavar": "N"}
_TTL: Final[dict[str, Any]] = {"type": _number(1, _MAX_TTL_SECONDS), "metavar": "N"}
_YES: Final[dict[str, Any]] = {"action": "store_true", "help": "Do not ask before deleting."}
_DRY_RUN: Final[dict[str, Any]] = {
    "action": "store_true",
    "help": "Count what would be deleted, and delete nothing.",
}
_OPTIONS: Final[tuple[tuple[str, str, dict[str, Any]], ...]] = (
    (
        "setup",
        "--ttl-seconds",
        {**_TTL, "help": "Turn on expiry. Any N will do: savers set the times."},
    ),
    (
        "setup",
        "--run-index",
        {"action": "store_true", "help": "Add the index that finds the threads of a run."},
    ),
    (
        "check",
        "--thread",
        {"metavar": "THREAD", "default": "~", "help": "Try the actions on this thread."},
    ),
    (
        "threads",
        "--prefix",
        {"metavar": "TEXT", "default": "", "help": "Print only ids that start with this text."},
    ),
    (
        "show",
        "--namespace",
        {"metavar": "NS", "help": "Show one subgraph's checkpoints; '' is the root graph."},
    ),
    ("show", "--limit", {**_COUNT, "help": "Show only the newest N checkpoints."}),
    ("copy", "--ttl-seconds", {**_TTL, "help": "Let the copy expire N seconds from now."}),
    ("copy-from", "--ttl-seconds", {**_TTL, "help": "Let the copies expire N seconds from now."}),
    (
        "prune",
        "--strategy",
        {
            "choices": ("keep_latest", "delete"),
            "default": "keep_latest",
            "help": "Keep the newest checkpoints of each namespace (the default), or none.",
        },
    ),
    (
        "prune",
        "--keep-last",
        {
            "type": _number(1, _MAX_NUMBER),
            "metavar": "N",
            "help": "Keep the newest N checkpoints of each namespace. The default is 1.",
        },
    ),
    (
        "prune",
        "--grace-seconds",
        {
            **_COUNT,
            "default": 3600,
            "help": "Keep unused chunks (pieces of large values) for N seconds, because a run may "
            "be about to use them. The default is 3600. Use 0 only if no run is under way.",
        },
    ),
    ("prune", "--dry-run", _DRY_RUN),
    ("prune", "--yes", _YES),
    ("delete", "--dry-run", _DRY_RUN),
    ("delete", "--yes", _YES),
    (
        "delete-runs",
        "--force",
        {
            "action": "store_true",
            "help": "Also delete a checkpoint from which a different run's checkpoint is rebuilt.",
        },
    ),
    (
        "delete-runs",
        "--no-index",
        {"action": "store_true", "help": "Scan the table, even if it has the index on run_id."},
    ),
    ("delete-runs", "--yes", _YES),
)
# Exactly one of these.
_EXPIRE_OPTIONS: Final[tuple[tuple[str, dict[str, Any]], ...]] = (
    (
        "--ttl-seconds",
        {**_TTL, "help": "Let everything that the threads have expire N seconds from now."},
    ),
    ("--never", {"action": "store_true", "help": "Pin the threads: they never expire."}),
)


_EPILOG: Final = """\
Options may stand before the command or after it. COMMAND --help explains a command.

An encrypted table, with the key in $LANGGRAPH_AES_KEY:
  {prog} verify THREAD \\
    --serde langgraph.checkpoint.serde.encrypted:EncryptedSerializer.from_pycryptodome_aes

Exit codes:
  0    All is well. Deleting or pruning a thread that does not exist is not an error.
  1    Something failed, or is damaged, undecodable, unfinished, denied or missing; or the
       answer was no.
  2    The command line, or a value in it, is wrong.
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
        description="Inspect and manage LangGraph threads in DynamoDB.",
        epilog=_EPILOG.format(prog=prog),
    )
    parser.add_argument(
        "--version", action="version", version=__version__, help="Print the version."
    )
    commands = parser.add_subparsers(prog=prog, metavar="COMMAND", required=True)
    for run, operands in _COMMANDS:
        name = run.__name__.removeprefix("_run_").replace("_", "-")
        text = str(run.__doc__)
        forms = {None: "{}", "+": "{} ...", "*": "[{} ...]"}
        shown = " ".join(forms[each["nargs"]].format(each["metavar"]) for each in operands)
        added = commands.add_parser(
            name,
            parents=[_common(is_first=False)],
            usage=f"{prog} {name} [OPTION ...] {shown}",
            help=text.partition("\n")[0],
            description=text,
        )
        added.set_defaults(run=run, command=name)
        for operand in operands:
            added.add_argument(**operand)
        for command, option, settings in _OPTIONS:
            if command == name:
                added.add_argument(option, **settings)
        if name == "expire":
            group = added.add_mutually_exclusive_group(required=True)
            for option, settings in _EXPIRE_OPTIONS:
                group.add_argument(option, **settings)
    return parser


def _named(parser: argparse.ArgumentParser, argument: str, name: str, kind: str) -> Any:
    """Return the serializer or saver that MODULE:NAME names, or that it returns when called."""
    if not all(name.partition(":")):
        parser.error(f"argument {argument}: must be MODULE:NAME, not {name!r}")
    # Unlike python -m, a script does not look for modules in the current folder.
    if (folder := str(Path.cwd())) not in sys.path:
        sys.path.append(folder)
    try:
        found: Any = pkgutil.resolve_name(name)
    except (AttributeError, ImportError, ValueError) as error:
        parser.error(f"argument {argument}: {error}")
    if callable(found):
        try:
            found = found()
        except TypeError:
            found = None
    if not any(hasattr(found, method) for method in _METHODS[kind]):
        parser.error(f"argument {argument}: {name!r} is not a {kind}, and does not return one")
    return found


def _use_profile(name: str) -> None:
    """Have botocore take region and credentials from a profile, as with the AWS CLI's --profile."""
    for variable in _KEY_VARIABLES:
        os.environ.pop(variable, None)
    os.environ.update(dict.fromkeys(_PROFILE_VARIABLES, name))


def _run(parser: argparse.ArgumentParser, args: argparse.Namespace) -> int:
    if args.profile is not None:
        _use_profile(args.profile)
    client_config = {"region_name": args.region, "endpoint_url": args.endpoint_url}
    serde = None if args.serde is None else _named(parser, "--serde", args.serde, "serializer")
    if args.run is _run_copy_from:
        args.source = _named(parser, "MODULE:NAME", args.source, "saver")
    with DynamoDBSaver(
        args.checkpoints_table,
        args.writes_table,
        {name: value for name, value in client_config.items() if value is not None},
        serde=serde,
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
    is_asking = "yes" in args and not args.yes and not vars(args).get("dry_run")
    if is_asking and not (sys.stdin and sys.stdin.isatty()):
        parser.error("the command asks before it deletes, and there is no terminal; pass --yes")
    try:
        return _run(parser, args)
    except KeyboardInterrupt:
        sys.stderr.write("interrupted; the same command can be run again\n")
        return 130
    except BrokenPipeError:
        # Whoever reads has enough; Python flushes once more when it ends.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except (ProfileNotFound, ValueError) as error:
        _complain(_message(error))
        return 2
    except (BotoCoreError, ClientError, DynamoDBSaverError, ImportError) as error:
        message = _message(error)
        if hint := _HINTS.get(type(error).__name__):
            message = f"{message.rstrip('.')}; {hint}"
        _complain(message)
        return 1


if __name__ == "__main__":
    raise SystemExit(main())
