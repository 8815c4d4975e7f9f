"""A step as a box of a picture: its name, its state as colour, sign and word, how long it took, where it comes from."""

from __future__ import annotations

from collections.abc import Iterator
from html import escape
from typing import TYPE_CHECKING

from jupyter_pipelines.reporting.format import in_words, listed
from jupyter_pipelines.reporting.sanitize import clean
from jupyter_pipelines.reporting.step_status import StepStatus, style_of
from jupyter_pipelines.reporting.svg.shapes import icon, ink, paint, path, rect, text, tint
from jupyter_pipelines.reporting.svg.text_width import cut, fit, width

if TYPE_CHECKING:
    from jupyter_pipelines.pipeline.step import Step
    from jupyter_pipelines.reporting.layout.layered_layout import NodeBox

NAME, WORD, SMALL = 13.5, 11.5, 11.0
"""Sizes of letters, in pixels."""
MIN_WIDTH, MAX_WIDTH = 128.0, 208.0
"""Limits of a step's width, in pixels."""
PAD = 14.0
_BADGE = 18.0
_NOT_DONE = frozenset({"never run", "blocked", "skipped", "skip", "pending", "deciding", "ready", "waiting", "maybe"})


class NodeCard:
    """A step and what is said of it.

    Parameters
    ----------
    step : Step
        The step.
    status : StepStatus or None
        What is said of it.
    detailed : bool
        With the third line, and with what shows when the pointer rests on it.
    """

    def __init__(self, step: Step, status: StepStatus | None, *, detailed: bool) -> None:
        self.name = clean(step.name)
        self.state = status.state if status else None
        self.word = clean(style_of(status.state).word) if status else ""
        self.time = _time(status) if status else ""
        cells = [cell.number for cell in step.cells if cell.number]
        where = f"cell{'s' * (len(cells) > 1)} {listed(cells)}" if cells else ""
        self.detail = clean(status.detail if status and status.detail else where) if detailed else ""
        self.hint = "\n".join(_hints(step, status, where)) if detailed else ""

    @property
    def room(self) -> float:
        """The width it would like to have, in pixels."""
        head = width(self.name, NAME, bold=True)
        middle = (width(self.word, WORD, bold=True) + 36 if self.word else 0) + width(self.time, SMALL)
        return 2 * PAD + max(head, middle, width(self.detail, SMALL))

    @property
    def height(self) -> float:
        """The height it needs, in pixels."""
        return 30.0 + (24.0 if self.word else 0.0) + (16.0 if self.detail else 0.0)

    def svg(self, box: NodeBox) -> str:
        """Return it as it stands in `box`."""
        title = f"<title>{escape(self.hint)}</title>" if self.hint else ""
        return f"<g>{title}\n{''.join(self._parts(box))}</g>\n"

    def _parts(self, box: NodeBox) -> Iterator[str]:
        x, y = box.x + PAD, box.y + (box.height - self.height) / 2
        room = box.width - 2 * PAD
        dashes = ' stroke-dasharray="5 4"' if self.state in _NOT_DONE else ""
        yield rect(box.x, box.y, box.width, box.height, paint(fill="card", stroke=self._rim()), radius=8, more=dashes)
        if self.state:
            yield _stripe(box, ink(self.state))
        yield text(x, y + 20, fit(self.name, room, NAME, bold=True), NAME, "text", bold=True)
        if self.state:
            yield from self._badge(self.state, box, x, y + 28)
        below = y + (61 if self.state else 35)
        yield text(x, below, cut(self.detail, room, SMALL), SMALL, "soft")

    def _badge(self, state: str, box: NodeBox, x: float, y: float) -> Iterator[str]:
        breadth = width(self.word, WORD, bold=True) + 28
        yield rect(x - 2, y, breadth, _BADGE, paint(fill=tint(state)), radius=_BADGE / 2)
        yield icon(state, x + 4, y + 3, 12)
        yield text(x + 20, y + 13, self.word, WORD, ink(state), bold=True)
        yield text(box.x + box.width - PAD, y + 13, self.time, SMALL, "soft", end=True)

    def _rim(self) -> str:
        return ink(self.state) if self.state in ("failed", "running") else "rim"


def _time(status: StepStatus) -> str:
    if status.saved is not None:
        return f"saved {in_words(status.saved)}"
    return in_words(status.seconds) if status.seconds is not None else ""


def _hints(step: Step, status: StepStatus | None, where: str) -> Iterator[str]:
    yield clean(step.name) + (f" ({where})" if where else "")
    if status:
        yield ": ".join(part for part in (style_of(status.state).word, clean(status.detail, 1000)) if part)
        yield from (clean(note, 300) for note in status.notes[:8])
    for verb, ports in (("takes", step.inputs), ("makes", step.outputs)):
        if ports:
            yield f"{verb} {listed((port.name for port in ports), 12)}"
    if step.parameters:
        yield f"parameters {listed(step.parameters, 12)}"


def _stripe(box: NodeBox, colour: str) -> str:
    """Return the band in the state's colour along the left side of a box."""
    shape = f"M{box.x + 5:g} {box.y:g}h-.5a4.5 8 0 0 0-4.5 8v{box.height - 16:g}a4.5 8 0 0 0 4.5 8h.5z"
    return path(shape, paint(fill=colour))


def file_width(name: str) -> float:
    """Return how wide the box of a file is, in pixels."""
    return min(MAX_WIDTH, width(clean(name), SMALL) + 34)


def file_svg(name: str, box: NodeBox) -> str:
    """Return a file as it stands in `box`."""
    x, y = box.x, box.y + (box.height - 26) / 2
    sheet = f"M{x + 10:g} {y + 6:g}h6l4 4v10h-10zM{x + 16:g} {y + 6:g}v4h4"
    fitted = fit(clean(name), box.width - 34, SMALL)
    return (
        f"<g><title>{escape(f'file {clean(name)}')}</title>\n"
        + rect(box.x, box.y, box.width, box.height, paint(fill="file", stroke="rim"), radius=5)
        + path(sheet, paint(stroke="soft"), ' fill="none" stroke-linejoin="round"')
        + text(x + 26, y + 17, fitted, SMALL, "soft")
        + "</g>\n"
    )
