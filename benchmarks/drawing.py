"""The plot: how many times as fast, a bar for each peer; readable on light and on dark paper."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import matplotlib as mpl
from matplotlib.figure import Figure

from benchmarks.comparing import Row

INK = "#8a8a8a"
BAR = "#4c8fd6"
SHORT = "#d9822b"
_INCHES_PER_BAR = 0.3


def draw(rows: Sequence[Row], path: Path) -> None:
    """Draw the ratios of `rows` as an SVG file; what is asked is a mark on its bar."""
    with mpl.rc_context({"svg.fonttype": "none", "svg.hashsalt": "benchmarks", "text.color": INK}):
        figure = Figure(figsize=(9, 1.2 + _INCHES_PER_BAR * len(rows)), layout="constrained")
        _fill(figure, rows)
        path.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(path, format="svg", transparent=True, metadata={"Date": None, "Creator": None})


def label(row: Row) -> str:
    """Return what stands beside a bar."""
    column = " (CPU)" if row.column == "cpu" else ""
    return f"{row.workload} · {row.peer}{column}"


def _fill(figure: Figure, rows: Sequence[Row]) -> None:
    axes = figure.add_subplot()
    places = range(len(rows))
    ratios = [row.counts for row in rows]
    axes.barh(places, ratios, color=[SHORT if row.met is False else BAR for row in rows], height=0.7)
    for place, row in zip(places, rows, strict=True):
        axes.annotate(f"{row.counts:.3g}", (row.counts, place), (4, 0), textcoords="offset points", va="center")
        if row.asked is not None:
            axes.plot([row.asked] * 2, [place - 0.42, place + 0.42], color=INK, linewidth=2)
    axes.set_yticks(places, [label(row) for row in rows])
    axes.set_xscale("log")
    axes.set_xlim(min([0.8, *ratios]), 2 * max([1.0, *ratios]))
    axes.invert_yaxis()
    axes.axvline(1, color=INK, linewidth=1)
    axes.set_xlabel(
        "times as fast (logarithmic); a grey mark is what is asked for, orange falls short of it", color=INK
    )
    axes.tick_params(colors=INK, which="both")
    for side in axes.spines.values():
        side.set_visible(False)
