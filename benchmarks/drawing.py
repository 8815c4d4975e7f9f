"""The plot: how many times as fast, a bar for each peer; readable on light and on dark paper."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

from benchmarks.comparing import Row

INK = "#8a8a8a"
BAR = "#4c8fd6"
SHORT = "#d9822b"
_INCHES_PER_BAR = 0.3
_CLOSE = 1.5


def draw(rows: Sequence[Row], path: Path) -> None:
    """Draw the ratios of `rows`, as far as they are known, as an SVG file; what is asked is a mark on its bar."""
    rows = [row for row in rows if math.isfinite(row.counts)]
    with mpl.rc_context({"svg.fonttype": "none", "svg.hashsalt": "benchmarks", "text.color": INK}):
        figure = Figure(figsize=(9, 0.8 + _INCHES_PER_BAR * len(rows)), layout="constrained")
        _fill(figure.add_subplot(), rows)
        path.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(path, format="svg", transparent=True, metadata={"Date": None, "Creator": None})


def label(row: Row) -> str:
    """Return what stands beside a bar."""
    column = " (CPU)" if row.column == "cpu" else ""
    return f"{row.workload} · {row.peer}{column}"


def _fill(axes: Axes, rows: Sequence[Row]) -> None:
    ratios = [row.counts for row in rows]
    # Bars begin where both are equally fast: to the left of it we are slower.
    axes.barh(range(len(rows)), [one - 1 for one in ratios], left=1, color=[_colour(row) for row in rows], height=0.7)
    for place, row in enumerate(rows):
        axes.annotate(f"{row.counts:.3g}", (_end(row), place), (5, 0), textcoords="offset points", va="center")
        if row.asked is not None:
            axes.plot([row.asked] * 2, [place - 0.42, place + 0.42], color=INK, linewidth=2)
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


def _colour(row: Row) -> str:
    return SHORT if row.met is False else BAR


def _end(row: Row) -> float:
    """Return where the number goes: behind the bar, and behind a mark that would strike it out."""
    close = row.asked is not None and row.counts <= row.asked < _CLOSE * row.counts
    return max(1.0, row.asked if close and row.asked is not None else row.counts)
