# SPDX-License-Identifier: MIT
"""Prints the tables of the documents, and writes them into the pages of a folder.

    nox -s bench -- --pictures docs chat fanout

bench.py starts it: the folder, if any, is its argument, and JSON of all results its input. A table
stands in a page between a comment with its name and the comment "end". A cell without a new figure
stays as it was.
"""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from bench import (
    ANSWER_CHARACTERS,
    AWS,
    AWS_COMPRESSED,
    DOLLARS_PER_MILLION_READ_UNITS,
    DOLLARS_PER_MILLION_WRITE_UNITS,
    FRESH,
    GROWTH,
    LIMIT_SECONDS,
    PUTS,
    QUESTION_CHARACTERS,
    SAVERS,
    THIS,
    TURNS,
    Results,
    dollars,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

CHATS = {"chat20": "after 20 turns", "chat": "after 100 turns", "chat1000": "after 1,000 turns"}
BILLED = {
    "chat20": "chat of 20 turns",
    "chat": "chat of 100 turns",
    "chat1000": "chat of 1,000 turns",
    "window": "chat of 100 turns with a window of 40 messages",
    "delta": "chat of 25 turns, a `DeltaChannel`",
    "document": "a 200 KB document beside 50 turns",
    "fanout": "100 `Send`s, three rounds",
    "supervisor": "a supervisor with three workers, 8 turns",
    "swarm": "a swarm of three agents, 25 turns",
    "deep": "a deep agent of `DeltaChannel`s with a subagent, 12 turns",
    "subgraphs": "a graph in a graph in a graph, 20 turns",
    "interrupts": "20 interrupts with `update_state` and forks",
    "pictures": "12 pictures of 300 KB, 6 turns",
    "large": "one value of 3 MB",
    "threads": "200 threads of two turns",
    "coroutines": "64 coroutines, each a chat of three turns",
}
SHAPED = {
    "TypedDict with a list": "a `TypedDict` with a list",
    "MessagesState": "`MessagesState`",
    "StateGraph(dict)": "`StateGraph(dict)`",
    "pydantic model": "a pydantic model",
    "dataclass in a channel": "a dataclass in a channel",
    "entrypoint that saves a dict": "an `@entrypoint` that saves a dict",
    "nested dict beside a 60 KB manual": "a nested dict beside a 60 KB text",
    "dict of 80 files": "a dict of 80 small files, one changed a turn",
    "60 KB string, edited": "a 60 KB string, edited once a turn",
    "string that grows": "a string that grows",
    "TypedDict with a list, encrypted": "a `TypedDict` with a list, encrypted",
    "MessagesState, encrypted": "`MessagesState`, encrypted",
    "StateGraph(dict), encrypted": "`StateGraph(dict)`, encrypted",
}
# Label, workload, step.
COUNTED = (
    ("chat of 100 turns: stored", "chat", TURNS),
    ("chat of 1,000 turns: stored", "chat1000", TURNS),
    ("chat of 100 turns: requests", "chat", TURNS),
    ("100 `Send`s, three rounds: requests", "fanout", TURNS),
    ("`DeltaChannel`, 25 turns: requests", "delta", TURNS),
    ("`DeltaChannel`, 200 turns: requests", "delta200", TURNS),
    ("`list` of 500 checkpoints: requests", "history", "list"),
    ("`delete_thread` of 500 checkpoints: requests", "history", "delete_thread"),
    ("`delete_thread` of 500 checkpoints: write units", "history", "delete_thread"),
    ("`copy_thread` of 500 checkpoints: write units", "history", "copy_thread"),
    ("`prune` of 500 checkpoints: write units", "history", "prune"),
)
TIMED = (
    ("`list` of 500 checkpoints", "history", "list"),
    ("`list` with `limit=10`", "history", "list, limit=10"),
    ("`delete_thread` of 500", "history", "delete_thread"),
    ("chat of 20 turns", "chat20", TURNS),
    ("20 interrupts", "interrupts", TURNS),
    ("64 coroutines, three turns each", "coroutines", TURNS),
    ("200 threads of two turns, 16 at once", "threads", TURNS),
)
# Label, step of the workload cpu, call.
CALLED = (
    ("`put` of a small checkpoint", "calls, 3 KB", "put"),
    ("`put_writes` of two writes", "calls, 3 KB", "put_writes"),
    ("`get_tuple` of a small checkpoint", "calls, 3 KB", "get_tuple"),
    ("`put` that appends to 10 MB of messages", "append, 10 MB", "put"),
    ("of which LangGraph's serializer", "append, 10 MB", "dumps_typed"),
)
COUNTS: dict[str, Callable[[Any], str]] = {
    "requests": lambda cost: f"{cost['requests']:,}",
    "stored": lambda cost: f"{cost['stored_bytes'] / 1e6:,.2f} MB",
    "write units": lambda cost: f"{cost['write_units']:,.0f}",
}
# The table in docs/operating.md: a command, and the step of the workload history that measures it.
COMMANDS = {
    "`show THREAD`": "history",
    "`stats THREAD`": "stats",
    "`verify THREAD`": "verify",
    "`copy THREAD TARGET`": "copy_thread",
    "`expire THREAD --ttl-seconds 86400`": "set_ttl",
    "`prune THREAD`": "prune",
    "`prune THREAD --keep-last 10`": "prune, keep_last=10",
    "`prune THREAD --grace-seconds 0` after a `prune`": "prune, grace_seconds=0",
    "`delete THREAD`": "delete_thread",
}
COMMAND_FIGURES: dict[str, Callable[[Any], str]] = {
    "requests": COUNTS["requests"],
    "read units": lambda cost: f"{cost['read_units']:,.0f}",
    "write units": COUNTS["write units"],
}
BOTH = (THIS, AWS)
HEADS = {THIS: "this saver", AWS: "langgraph-checkpoint-aws", AWS_COMPRESSED: "compressing"}


def _bill(cost: Mapping[str, Any]) -> str:
    return f"{cost['write_units']:,.0f} / {cost['read_units']:,.1f} / ${dollars(cost) / 1000:,.2f}"


def _writes(units: float) -> str:
    return f"{units:,.1f} / ${units * DOLLARS_PER_MILLION_WRITE_UNITS:,.2f}"


def _a_put(cost: Mapping[str, Any]) -> str:
    return _writes(cost["write_units"] / PUTS)


def _a_turn(cost: Mapping[str, Any]) -> str:
    """Return the average of the last ten turns."""
    units = [each[0] for each in cost["by_turn"]]
    return _writes((units[-1] - units[-11]) / 10) if units[10:] else ""


def _a_read(cost: Mapping[str, Any]) -> str:
    return (
        f"{cost['read_units']:,.1f} / ${cost['read_units'] * DOLLARS_PER_MILLION_READ_UNITS:,.2f}"
    )


# Patterns of savers' errors, and the words for them in a cell.
REASONS = {
    "size|too large|413": "fails{}: item too large",
    "NotImplemented": "has none",
    "argument 'serde'": "takes no serializer",
    "TimeoutError": f"cut after {LIMIT_SECONDS} s{{}}",
}


def _failure(cost: Mapping[str, Any]) -> str:
    where = f" at turn {len(cost['by_turn']) + 1}" if cost["by_turn"][100:] else ""
    found = (words for reason, words in REASONS.items() if re.search(reason, cost["failure"]))
    return next(found, f"fails{{}}: {cost['failure']}").format(where)


def tables(results: Results) -> dict[str, list[list[str]]]:
    """Return the tables by their names, as lists of cells."""

    def cell(saver: str, figure: Callable[[Any], str], workload: str, step: str = "") -> str:
        """Return a figure of a step, or of the sum of all; "" if it was not measured."""
        steps = results.get(workload, {}).get(saver, {})
        if step == FRESH and steps.get(TURNS, {}).get("failure"):
            return _failure(steps[TURNS])
        if step:
            steps = {step: steps[step]} if step in steps else {}
        if failed := [_failure(cost) for cost in steps.values() if cost["failure"]]:
            return failed[0]
        if not steps:
            return ""
        names = ("write_units", "read_units", "requests")
        total = {name: sum(cost[name] for cost in steps.values()) for name in names}
        return figure({**[*steps.values()][-1], **total})

    def rows(savers: Sequence[str], labels: Iterable[tuple[Any, ...]]) -> list[list[str]]:
        lines = [[name, *(cell(each, *where) for each in savers)] for name, *where in labels]
        return [["", *(HEADS.get(each, each) for each in savers)], *lines]

    a_turn = ((_a_turn, TURNS, "a turn's writes"), (_a_read, FRESH, "a fresh read"))
    return {
        "bills": rows([*SAVERS], ((label, _bill, name) for name, label in BILLED.items())),
        "shapes": rows(BOTH, ((label, _bill, "shapes", name) for name, label in SHAPED.items())),
        "turns": rows(
            BOTH,
            (
                (f"{label}: {what}", figure, name, step)
                for name, label in CHATS.items()
                for figure, step, what in a_turn
            ),
        ),
        "reads": rows([*SAVERS], ((label, _a_read, name, FRESH) for name, label in BILLED.items())),
        "puts": rows(BOTH, ((f"{each} MB", _a_put, "growth", f"{each} MB") for each in GROWTH)),
        "counts": rows(
            [*SAVERS],
            ((label, COUNTS[label.rpartition(": ")[2]], *where) for label, *where in COUNTED),
        ),
        "times": rows(BOTH, ((label, _time, *where) for label, *where in TIMED)),
        "commands": [
            ["", *COMMAND_FIGURES],
            *(
                [label, *(cell(THIS, each, "history", step) for each in COMMAND_FIGURES.values())]
                for label, step in COMMANDS.items()
            ),
        ],
        "cpu": rows(BOTH, ((label, _cpu(call), "cpu", step) for label, step, call in CALLED)),
    }


def _cpu(call: str) -> Callable[[Mapping[str, Any]], str]:
    return lambda cost: f"{cost['cpu_ms'][call]:.2f} ms" if call in cost["cpu_ms"] else ""


def _time(cost: Mapping[str, Any]) -> str:
    return "" if cost["seconds"] is None else f"{cost['seconds']:.2f} s"


def break_even(results: Results) -> int | None:
    """Return after how many turns of a chat a fresh read costs as much as a turn's writes.

    A fresh read grows with the history; the writes of a turn are an average of fifty.
    """
    steps = results.get("chat1000", {}).get(THIS, {})
    if not steps or any(cost["failure"] for cost in steps.values()):
        return None
    units: list[float] = [each[0] for each in steps[TURNS]["by_turn"]]
    read = DOLLARS_PER_MILLION_READ_UNITS * steps[FRESH]["read_units"] / len(units)
    writes = (
        DOLLARS_PER_MILLION_WRITE_UNITS * (b - a) / 50
        for a, b in zip(units[:-50], units[50:], strict=True)
    )
    return next((turn for turn, each in enumerate(writes, 51) if turn * read >= each), None)


def _lines(table: Sequence[Sequence[str]]) -> str:
    head, *body = table
    body = [line for line in body if any(line[1:])]
    return "\n".join(f"| {' | '.join(line)} |" for line in (head, ["---"] * len(head), *body))


def write_tables(file: Path, results: Results) -> None:
    """Write the tables into a document: each row that was measured, over the row of its name."""
    text = file.read_text()
    for name, table in tables(results).items():
        start, begin, rest = text.partition(f"<!-- {name} -->\n")
        old, end, after = rest.partition("\n<!-- end -->")
        if begin and end:
            known = {line[0]: line for line in map(_cells, old.splitlines()[2:])}
            body = [_newer(line, known.get(line[0])) for line in table[1:]]
            text = f"{start}{begin}{_lines([table[0], *body])}{end}{after}"
    file.write_text(text)


def _cells(line: str) -> list[str]:
    return [cell.strip() for cell in line.strip("|").split(" | ")]


def _newer(line: list[str], old: list[str] | None) -> list[str]:
    """Return a row, in which what was not measured is as it was."""
    return [new or was for new, was in zip(line, old or line, strict=True)]


def print_tables(results: Results) -> None:
    """Print the tables."""
    for name, table in tables(results).items():
        print(f"\n## {name}, as the documents have it\n\n{_lines(table)}")
    if turns := break_even(results):
        text = turns * (QUESTION_CHARACTERS + ANSWER_CHARACTERS) / 1e6
        print(
            f"\nA fresh read costs as much as a turn's writes after {turns} turns, {text:.1f} MB."
        )


def main() -> None:
    """Print the tables, and write those of the folder's pages."""
    results: Results = json.load(sys.stdin)
    print_tables(results)
    for folder in map(Path, sys.argv[1:]):
        for name in ("costs.md", "operating.md"):
            write_tables(folder / name, results)


if __name__ == "__main__":
    main()
