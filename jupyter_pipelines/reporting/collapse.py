"""Groups of steps for graphs that are too large to read."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from jupyter_pipelines.reporting.layout.layered_layout import UnplacedNode, UnroutedEdge, arrange
from jupyter_pipelines.reporting.svg.graph_layout import svg_path

if TYPE_CHECKING:
    from jupyter_pipelines.pipeline.graph import Pipeline

MAX_UNGROUPED_STEPS = 300
"""Steps up to which a graph is shown whole."""
MAX_GROUP_SIZE = 60
"""Steps of one group."""
_WIDE, _HIGH = 190.0, 54.0
_COUNTED = re.compile(r"[-_]?\d+$")


def groups_of(pipeline: Pipeline) -> dict[str, list[str]]:
    """Return the steps of a large pipeline in groups, by name; nothing for a smaller pipeline.

    Steps are grouped by the beginning of their names: ``fit_1``, ``fit_2``. If that gives too many groups, a group that
    is too large, or a cycle between groups, steps of neighbouring columns of the graph are grouped instead.
    """
    if len(pipeline.steps) <= MAX_UNGROUPED_STEPS:
        return {}
    named: dict[str, list[str]] = {}
    for name in pipeline.order():
        named.setdefault(_COUNTED.sub("", name) or name, []).append(name)
    # Too many groups would be as unreadable as the steps themselves.
    fits = len(named) <= MAX_UNGROUPED_STEPS and max(map(len, named.values())) <= MAX_GROUP_SIZE
    # Groups by name may depend on each other in a circle, which a layered drawing cannot show.
    return named if fits and _is_acyclic(pipeline, named) else _by_depth(pipeline)


def overview(pipeline: Pipeline, groups: Mapping[str, Sequence[str]]) -> dict[str, Any]:
    """Return the drawing in which each group is one box."""
    nodes = [UnplacedNode(name=name, width=_WIDE, height=_HIGH) for name in groups]
    links = [UnroutedEdge(source=source, target=target) for source, target in _between(pipeline, groups)]
    layout = arrange(nodes, links)
    return {
        "width": round(layout.width),
        "height": round(layout.height),
        "nodes": [
            {"id": box.name, "name": box.name, "x": round(box.x, 1), "y": round(box.y, 1), "width": round(box.width),
             "height": round(box.height), "count": len(groups[box.name])}
            for box in layout.boxes
        ],
        "edges": [{"from": route.source, "to": route.target, "path": svg_path(route)} for route in layout.routes],
    }  # fmt: skip


def _between(pipeline: Pipeline, groups: Mapping[str, Sequence[str]]) -> list[tuple[str, str]]:
    group_of = {name: group for group, steps in groups.items() for name in steps}
    pairs = ((group_of[edge.source], group_of[edge.target]) for edge in pipeline.edges)
    return list(dict.fromkeys(pair for pair in pairs if pair[0] != pair[1]))


def _is_acyclic(pipeline: Pipeline, groups: Mapping[str, Sequence[str]]) -> bool:
    import networkx as nx

    return bool(nx.is_directed_acyclic_graph(nx.DiGraph(_between(pipeline, groups))))


def _by_depth(pipeline: Pipeline) -> dict[str, list[str]]:
    """Return groups of at most ``MAX_GROUP_SIZE`` steps in the order of the topological generations."""
    import networkx as nx

    rank = {name: position for position, name in enumerate(pipeline.order())}
    generations = nx.topological_generations(pipeline.graph)
    groups: dict[str, list[str]] = {}
    members: list[str] = []
    for name in (name for generation in generations for name in sorted(generation, key=rank.__getitem__)):
        members.append(name)
        if len(members) == MAX_GROUP_SIZE:
            groups[_title(members)] = members
            members = []
    if members:
        groups[_title(members)] = members
    return groups


def _title(members: Sequence[str]) -> str:
    return f"{members[0]} … {members[-1]}" if len(members) > 1 else members[0]
