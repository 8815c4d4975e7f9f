"""A pipeline as lines of text: for terminals, for logs, and for readers that show nothing else."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from jupyter_pipelines.pipeline.artifacts import FileSource, UrlSource
from jupyter_pipelines.reporting.foreach_folding import fold_items
from jupyter_pipelines.reporting.format import in_words, listed
from jupyter_pipelines.reporting.layout.text_lanes import rails
from jupyter_pipelines.reporting.sanitize import clean
from jupyter_pipelines.reporting.step_status import StepStatus, style_of

if TYPE_CHECKING:
    from jupyter_pipelines.pipeline.graph import Pipeline
    from jupyter_pipelines.pipeline.step import Step

Paint = Callable[[str, str], str]
"""Takes the name of a colour and a text, and returns the text in that colour."""


def without_colour(_: str, text: str) -> str:
    """Return `text` without any colour."""
    return text


def write(
    pipeline: Pipeline,
    statuses: Mapping[str, StepStatus] | None = None,
    *,
    plain: bool = False,
    paint: Paint = without_colour,
    width: int = 0,
) -> str:
    """Return the graph of a pipeline, a line for each step.

    Parameters
    ----------
    pipeline : Pipeline
        What to show.
    statuses : Mapping of str to StepStatus or None
        What to say of its steps; without it, what each takes and makes is shown.
    plain : bool
        ASCII only.
    paint : callable
        Gives the states their colours.
    width : int
        Columns of the terminal; what is longer is cut. 0 for no limit.
    """
    pipeline = fold_items(pipeline)
    before = {name: pipeline.before(name) for name in pipeline.order()}
    beside = rails(before, plain=plain)
    rows = [_StepRow(pipeline[name], (statuses or {}).get(name), beside[name], plain) for name in before]
    spans = [max((len(row.cells[column]) for row in rows), default=0) for column in range(3)]
    return "\n".join(row.line(spans, paint, width) for row in rows)


class _StepRow:
    """The line of one step."""

    def __init__(self, step: Step, status: StepStatus | None, rail: str, plain: bool) -> None:
        style = style_of(status.state) if status else None
        word = f"{style.plain if plain else style.sign} {style.word}" if style else ""
        time = in_words(status.seconds) if status and status.seconds is not None else ""
        self.rail = rail
        self.colour = style.colour if style else ""
        self.cells = clean(step.name, 60), word, time
        self.end = detail(status) if status else interface(step, plain=plain)

    def line(self, spans: Sequence[int], paint: Paint, width: int) -> str:
        name, word, time = (f"{cell:{span}}" for cell, span in zip(self.cells, spans, strict=True))
        time = time.strip().rjust(spans[2])
        # Widths are computed before colouring: escape sequences count as characters in format strings.
        middle = "  ".join(part for part in (word, time) if part)
        # Without a terminal nothing is cut to a width; 500 bounds what a notebook can print.
        room = max(16, width - len(self.rail) - spans[0] - len(middle) - 6) if width else 500
        painted = paint(self.colour, middle) if self.colour else middle
        return "  ".join(part for part in (self.rail, name, painted, clean(self.end, room)) if part).rstrip()


def detail(status: StepStatus) -> str:
    """Return what is to be said of a status beside its word and its time."""
    saved = f"saved {in_words(status.saved)}" if status.saved is not None else ""
    return ", ".join(part for part in (status.detail, saved) if part)


def interface(step: Step, *, plain: bool = False) -> str:
    """Return what a step takes and makes: ``rows -> X, y``."""
    takes = listed((_input_text(step_input.name, step_input.source) for step_input in step.inputs), 6)
    makes = listed((output.name for output in step.outputs), 6)
    arrow = "->" if plain else "→"
    return " ".join(part for part in (takes, arrow if makes else "", makes) if part)


def _input_text(name: str, source: object) -> str:
    return f"{name} ({source})" if isinstance(source, FileSource | UrlSource) else name


def table(rows: Sequence[Sequence[str]], *, right: Iterable[int] = ()) -> str:
    """Return rows of text in columns; the columns in `right` end at the same place instead of starting there."""
    spans = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))] if rows else []
    aligned = [">" if column in set(right) else "<" for column in range(len(spans))]
    lines = (
        "  ".join(f"{cell:{alignment}{span}}" for cell, alignment, span in zip(row, aligned, spans, strict=True))
        for row in rows
    )
    return "\n".join(line.rstrip() for line in lines)
