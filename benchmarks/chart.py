"""The chart: how many times as fast, a bar for each peer; readable on light and dark backgrounds."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

from benchmarks.comparison import ComparisonRow

INK = "#8a8a8a"
BAR = "#4c8fd6"
SHORT = "#d9822b"
_INCHES_PER_BAR = 0.3
_CLOSE_FACTOR = 1.5


def draw_chart(rows: Sequence[ComparisonRow], path: Path) -> None:
    """Draw the finite ratios of `rows` as an SVG file, with the target as a mark on each bar."""
    rows = [row for row in rows if math.isfinite(row.decisive_ratio)]
    with mpl.rc_context({"svg.fonttype": "none", "svg.hashsalt": "benchmarks", "text.color": INK}):
        figure = Figure(figsize=(9, 0.8 + _INCHES_PER_BAR * len(rows)), layout="constrained")
        _fill(figure.add_subplot(), rows)
        path.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(path, format="svg", transparent=True, metadata={"Date": None, "Creator": None})


def label(row: ComparisonRow) -> str:
    """Return the label of a bar."""
    column = " (CPU)" if row.column == "cpu" else ""
    return f"{row.workload} · {row.peer}{column}"


def _fill(axes: Axes, rows: Sequence[ComparisonRow]) -> None:
    ratios = [row.decisive_ratio for row in rows]
    # Bars begin at the ratio 1; to the left of it, our tool is slower.
    axes.barh(
        range(len(rows)), [ratio - 1 for ratio in ratios], left=1, color=[_colour(row) for row in rows], height=0.7
    )
    for position, row in enumerate(rows):
        axes.annotate(
            f"{row.decisive_ratio:.3g}",
            (_label_position(row), position),
            (5, 0),
            textcoords="offset points",
            va="center",
        )
        if row.target is not None:
            axes.plot([row.target] * 2, [position - 0.42, position + 0.42], color=INK, linewidth=2)
    axes.set_yticks(range(len(rows)), [label(row) for row in rows])
    axes.set_ylim(len(rows) - 0.4, -0.6)
    axes.axvline(1, color=INK, linewidth=1)
    _scale(axes, ratios)


def _scale(axes: Axes, ratios: Sequence[float]) -> None:
    axes.set_xscale("log")
    axes.set_xlim(0.9 * min([1.0, *ratios]), 2 * max([1.0, *ratios]))
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set_xlabel("times as fast; a grey mark is what is asked for, orange falls short of it", color=INK)
    axes.tick_params(colors=INK)
    for side in axes.spines.values():
        side.set_visible(False)


def _colour(row: ComparisonRow) -> str:
    return SHORT if row.met is False else BAR


def _label_position(row: ComparisonRow) -> float:
    """Return the position of the number: behind the bar, and behind a mark that would overlap it."""
    close = row.target is not None and row.decisive_ratio <= row.target < _CLOSE_FACTOR * row.decisive_ratio
    return max(1.0, row.target if close and row.target is not None else row.decisive_ratio)
