"""Layout of a pipeline for drawings: steps and input files as placed nodes, dependencies as routed edges."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from jupyter_pipelines.pipeline.artifacts import StepOutputRef
from jupyter_pipelines.reporting.format import listed
from jupyter_pipelines.reporting.layout.layered_layout import (
    EdgeRoute,
    GraphLayout,
    UnplacedNode,
    UnroutedEdge,
    arrange,
)
from jupyter_pipelines.reporting.svg.node_card import SMALL, file_width
from jupyter_pipelines.reporting.svg.text_width import width

if TYPE_CHECKING:
    from jupyter_pipelines.pipeline.graph import Pipeline
    from jupyter_pipelines.pipeline.step import Step

FILE = "file:"
"""Prefix of the names of file nodes; step names have no colon."""
LABEL_ROOM = 120.0
"""Greatest width of the names on a line, in pixels."""
_FILE_HEIGHT = 26.0


def place(pipeline: Pipeline, *, breadth: float, height: float, detailed: bool) -> GraphLayout:
    """Return where the steps of a pipeline stand, the files they take and the lines between them.

    Parameters
    ----------
    pipeline : Pipeline
        What is drawn.
    breadth, height : float
        Size of each step's box, in pixels.
    detailed : bool
        With the files that steps take, and with lines for what leaves the pipeline.
    """
    return arrange(
        list(_nodes(pipeline, breadth, height, detailed=detailed)), list(_links(pipeline, detailed=detailed))
    )


def files_of(step: Step) -> dict[str, list[str]]:
    """Return the files and URLs that `step` takes, with the names it gives them."""
    taken: dict[str, list[str]] = {}
    for step_input in step.inputs:
        if not isinstance(step_input.source, StepOutputRef):
            taken.setdefault(str(step_input.source), []).append(step_input.name)
    return taken


def svg_path(route: EdgeRoute) -> str:
    """Return a line as the path of an SVG, in one piece."""
    (x, y), *others = route.points
    commands = [f"M{x:g} {y:g}"]
    for to_x, to_y in others:
        half = (to_x - x) / 2
        if to_y != y:
            commands.append(f"c{half:g} 0 {half:g} {to_y - y:g} {2 * half:g} {to_y - y:g}")
        # Way points of the same height are joined, which makes the paths of long edges short.
        elif commands[-1][0] == "H":
            commands[-1] = f"H{to_x:g}"
        else:
            commands.append(f"H{to_x:g}")
        x, y = to_x, to_y
    return "".join(commands)


def route_pieces(route: EdgeRoute) -> Iterator[str]:
    """Yield the pieces of a line; lines of one trunk have their first pieces in common."""
    for (x, y), (to_x, to_y) in zip(route.points, route.points[1:], strict=False):
        half = (to_x - x) / 2
        yield (
            f"M{x:g} {y:g}H{to_x:g}"
            if y == to_y
            else f"M{x:g} {y:g}c{half:g} 0 {half:g} {to_y - y:g} {2 * half:g} {to_y - y:g}"
        )


def _nodes(pipeline: Pipeline, breadth: float, height: float, *, detailed: bool) -> Iterator[UnplacedNode]:
    for name in {name: None for step in pipeline for name in files_of(step)} if detailed else ():
        yield UnplacedNode(name=FILE + name, width=file_width(name), height=_FILE_HEIGHT)
    for step in pipeline:
        yield UnplacedNode(name=step.name, width=breadth, height=height)


def _links(pipeline: Pipeline, *, detailed: bool) -> Iterator[UnroutedEdge]:
    for step in pipeline if detailed else ():
        for name, names in files_of(step).items():
            yield _link(FILE + name, step.name, names)
    edges = pipeline.edges
    for edge in edges:
        yield _link(edge.source, edge.target, edge.names)
    taken = {(edge.source, name) for edge in edges for name in edge.names}
    for step in pipeline if detailed else ():
        names = [output.name for output in step.outputs if (step.name, output.name) not in taken]
        if names:
            yield _link(step.name, None, names)


def _link(source: str, target: str | None, names: Iterable[str]) -> UnroutedEdge:
    label = listed(names, 6)
    return UnroutedEdge(source=source, target=target, label=label, room=min(LABEL_ROOM, width(label, SMALL)))
