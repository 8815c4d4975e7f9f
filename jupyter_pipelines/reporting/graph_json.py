"""A pipeline as a document from which every front end draws the same graph, and a document for the states of its steps.

The first holds what stays while a pipeline runs: places, names, interfaces. The second is small and changes often.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import dropwhile
from typing import TYPE_CHECKING, Any

from jupyter_pipelines.pipeline.artifacts import FileSource, StepOutputRef, UrlSource
from jupyter_pipelines.reporting.collapse import groups_of, overview
from jupyter_pipelines.reporting.foreach_folding import fold_items
from jupyter_pipelines.reporting.layout.lanes import lanes
from jupyter_pipelines.reporting.sanitize import clean
from jupyter_pipelines.reporting.step_status import STATE_STYLES, StepStatus
from jupyter_pipelines.reporting.svg.graph_layout import FILE, place, svg_path
from jupyter_pipelines.reporting.svg.node_card import MIN_WIDTH, NAME, PAD
from jupyter_pipelines.reporting.svg.svg import MAX_DETAILED_STEPS
from jupyter_pipelines.reporting.svg.text_width import width

if TYPE_CHECKING:
    from jupyter_pipelines.pipeline.graph import Pipeline
    from jupyter_pipelines.pipeline.parameters import Parameter
    from jupyter_pipelines.pipeline.step import Step
    from jupyter_pipelines.reporting.layout.layered_layout import GraphLayout, NodeBox

GRAPH = "jupyter-pipelines/graph/1"
STATUSES = "jupyter-pipelines/statuses/1"
MIME = "application/vnd.jupyter-pipelines.graph.v1+json"
WIDE, HIGH, LOW = 208.0, 70.0, 46.0
"""Greatest width of a step's box, and its height with and without a third line, in pixels."""
_STATE_ROOM = 176.0
"""Width that the word of a state and a duration need, in pixels."""
_MAX_TEXT = 2000


def graph_document(pipeline: Pipeline, *, title: str | None = None) -> dict[str, Any]:
    """Return a pipeline as the ``graph`` document.

    Parameters
    ----------
    pipeline : Pipeline
        What to draw.
    title : str or None
        What to write above it; the notebook's name by default.
    """
    # Folded before the layout: a thousand items would make the drawing unreadable and slow.
    pipeline = fold_items(pipeline)
    detailed = len(pipeline.steps) <= MAX_DETAILED_STEPS
    widest = max((width(step.name, NAME, bold=True) for step in pipeline), default=0.0) + 2 * PAD
    breadth = round(min(max(widest, MIN_WIDTH, _STATE_ROOM), WIDE))
    layout = place(pipeline, breadth=breadth, height=HIGH if detailed else LOW, detailed=detailed)
    groups = groups_of(pipeline)
    return {
        "schema": GRAPH,
        "title": title or pipeline.name,
        "width": round(layout.width),
        "height": round(layout.height),
        "nodes": list(_nodes(pipeline, layout, groups)),
        "edges": list(_edges(pipeline, layout)),
        "rails": lanes({name: pipeline.before(name) for name in pipeline.order()}),
        "groups": [{"id": name, "name": name, "steps": list(steps)} for name, steps in groups.items()],
        "overview": overview(pipeline, groups) if groups else None,
        "parameters": [_parameter(parameter) for parameter in pipeline.parameters],
        "looks": {state: _look(state) for state in STATE_STYLES},
    }


def status_document(
    statuses: Mapping[str, StepStatus],
    *,
    run: str | None = None,
    running: bool = False,
    headline: str = "",
    more: Mapping[str, Mapping[str, Any]] | None = None,
    critical: Sequence[str] = (),
) -> dict[str, Any]:
    """Return the states of steps as the ``statuses`` document.

    Parameters
    ----------
    statuses : Mapping of str to StepStatus
        By name of the step.
    run : str or None
        The run that they come from.
    running : bool
        That run is still going on.
    headline : str
        All of it in one line.
    more : Mapping of str to Mapping
        Further fields of steps: ``decision``, ``reason``, ``origin``, ``error``, ``notebook``, ``since``, ``attempt``,
        ``cell``, ``cells``, ``text``.
    critical : sequence of str
        The steps on the longest way through the pipeline.
    """
    extra = more or {}
    return {
        "schema": STATUSES,
        "steps": {name: step_fields(status, extra.get(name, {})) for name, status in statuses.items()},
        "run": run,
        "running": running,
        "headline": headline,
        "critical": list(critical),
    }


def step_fields(status: StepStatus, more: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields of one step in the ``statuses`` document; unknown fields are left out."""
    fields = {
        "state": status.state,
        "detail": clean(status.detail, _MAX_TEXT),
        # Rounded, so that documents of the same state are equal and are not sent again.
        "seconds": _rounded(status.seconds),
        "saved": _rounded(status.saved),
        "notes": [clean(note, _MAX_TEXT) for note in status.notes[:8]],
        **more,
    }
    # Zero and False are kept: a step may have taken 0 s.
    return {name: value for name, value in fields.items() if value is not None and value not in ("", [])}


def critical_path(pipeline: Pipeline, statuses: Mapping[str, StepStatus]) -> list[str]:
    """Return the steps on the critical path, by the durations of earlier runs."""
    import networkx as nx

    seconds = {step.name: _known_seconds(statuses.get(step.name)) for step in pipeline}
    # dag_longest_path weighs edges, so each edge has the duration of its target; steps without inputs get an edge
    # from a start node that is not a step.
    start = ""
    graph = nx.DiGraph()
    for name in pipeline.order():
        graph.add_edges_from((before, name, {"seconds": seconds[name]}) for before in pipeline.before(name) or (start,))
    # A sum along the edges, which assumes that steps on other paths run at the same time.
    path = nx.dag_longest_path(graph, weight="seconds")
    # Steps of unknown duration at the beginning are on the path only by the order of ties.
    return list(dropwhile(lambda name: not seconds.get(name), path))


def _known_seconds(status: StepStatus | None) -> float:
    return 0.0 if status is None else status.seconds or status.saved or 0.0


def _nodes(pipeline: Pipeline, layout: GraphLayout, groups: Mapping[str, Sequence[str]]) -> Iterator[dict[str, Any]]:
    group_of = {name: group for group, steps in groups.items() for name in steps}
    orders = {name: number for number, name in enumerate(pipeline.order())}
    for box in layout.boxes:
        if box.name.startswith(FILE):
            yield {"id": box.name, "kind": "file", "name": box.name.removeprefix(FILE), **_box(box)}
        else:
            step = pipeline[box.name]
            group = {"group": group_of[box.name]} if group_of else {}
            yield {"id": box.name, "kind": "step", "name": box.name, **_box(box), **group} | _step_interface(
                step, orders[box.name]
            )


def _step_interface(step: Step, order: int) -> dict[str, Any]:
    return {
        "cells": [{"id": cell.id, "number": cell.number} for cell in step.cells],
        "inputs": [
            {
                "name": step_input.name,
                "from": _source(step_input.source),
                **({"optional": True} if step_input.optional else {}),
            }
            for step_input in step.inputs
        ],
        "outputs": [
            {"name": output.name, "kind": output.kind, **({"format": output.format} if output.format else {})}
            for output in step.outputs
        ],
        "parameters": list(step.parameters),
        "resources": _resources(step),
        "order": order,
    }


def _source(source: StepOutputRef | FileSource | UrlSource) -> str:
    return str(source) if isinstance(source, StepOutputRef) else f"{FILE}{source}"


def _resources(step: Step) -> dict[str, Any]:
    requested = {name: getattr(step.resources, name, None) for name in ("cpus", "gpus", "memory")}
    requested |= {"on": step.on, "kernel": step.kernel, "retries": step.retries, "timeout": step.timeout}
    requested |= {"always": step.always, "no-cache": not step.cache}
    return {name: value for name, value in requested.items() if value}


def _edges(pipeline: Pipeline, layout: GraphLayout) -> Iterator[dict[str, Any]]:
    names = {(edge.source, edge.target): list(edge.names) for edge in pipeline.edges}
    tags = {(tag.source, tag.label): [round(tag.x, 1), round(tag.y, 1)] for tag in layout.tags}
    for route in layout.routes:
        carried = names.get((route.source, route.target or ""))
        yield {
            "from": route.source,
            "to": route.target,
            "names": [route.label] if carried is None and route.label else carried or [],
            "path": svg_path(route),
            "label": tags.pop((route.source, route.label), None),
        }


def _box(box: NodeBox) -> dict[str, float]:
    return {"x": round(box.x, 1), "y": round(box.y, 1), "width": round(box.width), "height": round(box.height)}


def _parameter(parameter: Parameter) -> dict[str, Any]:
    document = parameter.to_dict()
    kept = ("name", "type", "default", "required", "nullable", "choices", "limits", "description", "annotation", "cell")
    return {name: document[name] for name in kept}


def _look(state: str) -> dict[str, Any]:
    look = STATE_STYLES[state]
    return {"word": look.word, "icon": look.icon, "light": list(look.light), "dark": list(look.dark)}


def _rounded(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds, 3)
