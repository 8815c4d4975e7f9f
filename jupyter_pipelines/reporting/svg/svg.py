"""A pipeline as a picture: one SVG that needs nothing else, no script, no kernel and no network.

Colours are attributes of the elements, so that the picture is right where styles are removed (GitHub, e-mail). A
``<style>`` replaces them on dark pages, and by those of Jupyter's theme inside a page of Jupyter.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING

from jupyter_pipelines.reporting.foreach_folding import fold_items
from jupyter_pipelines.reporting.format import listed
from jupyter_pipelines.reporting.layout.layered_layout import EdgeRoute
from jupyter_pipelines.reporting.sanitize import clean
from jupyter_pipelines.reporting.step_status import StepStatus, style_of
from jupyter_pipelines.reporting.svg.graph_layout import FILE, LABEL_ROOM, place, route_pieces
from jupyter_pipelines.reporting.svg.node_card import MAX_WIDTH, MIN_WIDTH, SMALL, NodeCard, file_svg
from jupyter_pipelines.reporting.svg.shapes import FONT, paint, path, rect, style, text
from jupyter_pipelines.reporting.svg.text_width import cut, width

if TYPE_CHECKING:
    from jupyter_pipelines.pipeline.graph import Pipeline
    from jupyter_pipelines.pipeline.step import Step

MAX_DETAILED_STEPS = 200
"""Number of steps up to which each is drawn with all details."""
TOP = 30.0
MIN_SCALE = 0.7
"""Smallest scale to which a picture shrinks to fit its page; below that it is scrolled."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GraphHeading:
    """Heading above the graph.

    Parameters
    ----------
    title : str
        Title, in bold.
    summary : str
        Text after the title.
    """

    title: str
    summary: str = ""


def draw(
    pipeline: Pipeline, statuses: Mapping[str, StepStatus] | None = None, *, heading: GraphHeading | None = None
) -> str:
    """Return the graph of a pipeline as an SVG.

    Parameters
    ----------
    pipeline : Pipeline
        What to draw.
    statuses : Mapping of str to StepStatus or None
        What to say of its steps, by name.
    heading : GraphHeading or None
        What to write above it; by default the notebook's name.
    """
    return _SvgDrawing(fold_items(pipeline), statuses or {}, heading or GraphHeading(title=pipeline.name)).svg()


def fit_style(breadth: float) -> str:
    """Return the style with which a picture of `breadth` pixels fits into its page, as far as it can still be read."""
    return f"max-width:max(100%,{round(MIN_SCALE * breadth)}px);height:auto"


def describe(pipeline: Pipeline, statuses: Mapping[str, StepStatus]) -> str:
    """Return what the picture shows as one text, for screen readers."""
    return " ".join(f"{_describe_step(step, statuses.get(step.name))}." for step in pipeline)


def _describe_step(step: Step, status: StepStatus | None) -> str:
    words = [clean(step.name)]
    if status:
        words.append(style_of(status.state).word + (f" ({clean(status.detail)})" if status.detail else ""))
    takes = listed(step_input.name for step_input in step.inputs)
    makes = listed(output.name for output in step.outputs)
    return ", ".join([*words, *([f"takes {takes}"] if takes else []), *([f"makes {makes}"] if makes else [])])


class _SvgDrawing:
    """Builds one drawing."""

    def __init__(self, pipeline: Pipeline, statuses: Mapping[str, StepStatus], heading: GraphHeading) -> None:
        self.pipeline = pipeline
        self.statuses = statuses
        self.heading = heading
        self.detailed = len(pipeline.steps) <= MAX_DETAILED_STEPS
        self.cards = {step.name: NodeCard(step, statuses.get(step.name), detailed=self.detailed) for step in pipeline}
        room = max((card.room for card in self.cards.values()), default=0.0)
        height = max((card.height for card in self.cards.values()), default=0.0)
        breadth = round(min(max(room, MIN_WIDTH), MAX_WIDTH))
        self.layout = place(pipeline, breadth=breadth, height=height, detailed=self.detailed)

    def svg(self) -> str:
        """Return the whole picture."""
        name, summary = clean(self.heading.title), clean(self.heading.summary)
        indent = 20 + width(name, 15, bold=True) + 14
        breadth = round(max(self.layout.width, indent + width(summary, 12.5) + 20))
        top = TOP if name or summary else 0
        height = round(self.layout.height + top)
        parts = [
            self._opening(breadth, height, f"Pipeline {name}" + (f": {summary}" if summary else "")),
            rect(0.5, 0.5, breadth - 1, height - 1, paint(fill="panel", stroke="rim"), radius=10),
            text(20, 29, name, 15, "text", bold=True),
            text(indent, 29, summary, 12.5, "soft"),
            f'<g transform="translate(0 {top:g})">\n{"".join(self._graph())}</g>\n</svg>\n',
        ]
        return "".join(parts)

    def _opening(self, breadth: int, height: int, label: str) -> str:
        content = clean(describe(self.pipeline, self.statuses), 20_000)
        # ids are global in a page that holds several pictures; a checksum keeps equal pictures equal, byte by byte.
        mark = f"jpipe-{zlib.crc32((label + content).encode()):08x}"
        return (
            f'<svg xmlns="http://www.w3.org/2000/svg" class="jpipe" width="{breadth}" height="{height}" '
            f'viewBox="0 0 {breadth} {height}" role="img" aria-labelledby="{mark}-t {mark}-d" '
            f'style="{fit_style(breadth)}" font-family="{escape(FONT)}">\n'
            f'<title id="{mark}-t">{escape(label)}</title>\n'
            f'<desc id="{mark}-d">{escape(content)}</desc>\n'
            f"<style>{style(status.state for status in self.statuses.values())}</style>\n"
        )

    def _graph(self) -> Iterator[str]:
        yield from self._lines()
        for tag in self.layout.tags:
            fitted = cut(tag.label, LABEL_ROOM, SMALL)
            yield text(tag.x + 6, tag.y - 4, fitted, SMALL, "soft", hint=tag.label if fitted != tag.label else "")
        for box in self.layout.boxes:
            yield (
                self.cards[box.name].svg(box) if box.name in self.cards else file_svg(box.name.removeprefix(FILE), box)
            )

    def _lines(self) -> Iterator[str]:
        """Yield the lines; those that only keep an order are dashed."""
        for dash in ("", ' stroke-dasharray="4 4"'):
            routes = [route for route in self.layout.routes if bool(route.label) != bool(dash)]
            # Edges of a trunk share pieces; drawn once, they are not darker than others, and the file is smaller.
            shape = "".join(dict.fromkeys(piece for route in routes for piece in route_pieces(route)))
            if shape:
                yield path(shape, paint(stroke="line"), f' fill="none" stroke-width="1.5"{dash}')
        ends = "".join(map(_end, self.layout.routes))
        if ends:
            yield path(ends, paint(fill="line"))


def _end(route: EdgeRoute) -> str:
    """Return an arrowhead, or a dot for a line that leaves the graph."""
    x, y = route.points[-1]
    if route.target is None:
        return f"M{x - 3.5:g} {y:g}a3.5 3.5 0 1 1 7 0a3.5 3.5 0 1 1-7 0z"
    return f"M{x:g} {y:g}l-8-4v8z"
