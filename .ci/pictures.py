# SPDX-License-Identifier: MIT
"""Draws what a chat of 100 turns has cost by turn, and what it has left in the tables.

    nox -s bench -- --pictures docs chat

bench.py starts it: the folder is its argument, and JSON of the chat's costs by saver its input.
"""

from __future__ import annotations

import json
import math
import sys
from pathlib import Path

import matplotlib as mpl
from matplotlib.figure import Figure

TURNS = 100
TITLES = {
    "this": "this saver",
    "aws": "langgraph-checkpoint-aws",
    "aws-compressed": "langgraph-checkpoint-aws, compressing",
    "skamalj": "langgraph-dynamodb-checkpoint",
    "amazon": "langgraph-checkpoint-amazon-dynamodb",
    "original": "langgraph-checkpoint-dynamodb 0.1.0",
}

Lines = dict[str, list[tuple[int, float]]]  # by saver: turn and figure


def main() -> None:
    """Draw both pictures."""
    folder, costs = Path(sys.argv[1]), json.load(sys.stdin)
    units: Lines = {}
    megabytes: Lines = {}
    for saver in (name for name in TITLES if name in costs):
        turns = list(enumerate(costs[saver]["by_turn"], 1))
        units[saver] = [(turn, write_units) for turn, (write_units, _) in turns]
        megabytes[saver] = [(turn, size / 1e6) for turn, (_, size) in turns]
    title = "Write units that a chat has used (log scale)"
    _draw(folder / "write-units.svg", title, units, "{:,.0f}")
    title = "MB that a chat has left in DynamoDB (log scale)"
    _draw(folder / "stored-bytes.svg", title, megabytes, "{:,.1f} MB")


def _draw(path: Path, title: str, lines: Lines, figure_format: str) -> None:
    mpl.rcParams.update({"svg.hashsalt": "", "svg.fonttype": "none", "font.size": 11})
    figure = Figure(figsize=(10, 3.8), layout="constrained")
    axes = figure.subplots()
    axes.set(yscale="log", xlabel="turns of the chat", xlim=(0, TURNS))
    figure.suptitle(title, x=0.01, horizontalalignment="left", weight="bold", fontsize=13)
    axes.spines[["top", "right"]].set_visible(False)
    axes.yaxis.set_major_formatter("{x:,g}")
    axes.grid(visible=True, axis="y", color="#e6e6e6")
    for saver, points in lines.items():
        axes.plot(*zip(*points, strict=True), color=_color(saver), linewidth=_width(saver))
    lowest, highest = (math.log10(limit) for limit in axes.get_ylim())
    # Each label at its line's end, but none over another.
    above = math.inf
    for saver, points in sorted(lines.items(), key=lambda line: -line[1][-1][1]):
        turn, value = points[-1]
        above = min((math.log10(value) - lowest) / (highest - lowest), above - 0.075)
        cut = "" if turn == TURNS else f", then fails (turn {turn})"
        axes.text(
            1.02,
            above,
            f"{figure_format.format(value)}  {TITLES[saver]}{cut}",
            transform=axes.transAxes,
            va="center",
            color=_color(saver),
            weight="bold" if saver == "this" else "normal",
        )
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, metadata={"Date": None}, facecolor="white")


def _color(saver: str) -> str:
    return "#0b7a3b" if saver == "this" else "#6e747c"


def _width(saver: str) -> float:
    return 3 if saver == "this" else 1.5


if __name__ == "__main__":
    main()
