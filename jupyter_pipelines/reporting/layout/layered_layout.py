"""Layered layout of a graph from left to right, as positions of nodes and edges for every kind of drawing.

Edges that carry the same outputs of a node share a trunk, which branches on its way, so that the label stands only
once, at the node.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from jupyter_pipelines.reporting.layout.coordinates import Joint, align_chains, assign_heights, straighten
from jupyter_pipelines.reporting.layout.crossings import order_rows
from jupyter_pipelines.reporting.layout.layers import layers_of

MARGIN = 20.0
GAP = 18.0
"""Least vertical distance of two nodes in a column, in pixels."""
RIGHT_PORTS = 17.0
LEFT_PORTS = 11.0
"""Distance between the lines on the right and left side of a node, in pixels."""
STUB = 14.0
LEAD = 9.0
"""Straight pieces that a line has at its start and, under the arrowhead, at its end, in pixels."""
LABEL_MARGIN = 12.0
TRUNK = 14.0
"""Height that a line takes where it passes a column, in pixels."""
TRUNK_WEIGHT = 6.0

Point = tuple[float, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class UnplacedNode:
    """A node to be placed: name and size in pixels."""

    name: str
    width: float
    height: float


@dataclass(frozen=True, slots=True, kw_only=True)
class UnroutedEdge:
    """A line to be drawn.

    Parameters
    ----------
    source : str
        Name of the source node.
    target : str or None
        Name of the target node; None for an edge that ends at its label.
    label : str
        Label; edges with the same source and label share a trunk.
    room : float
        Width of the label as it will be drawn, in pixels.
    """

    source: str
    target: str | None
    label: str = ""
    room: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeBox:
    """A placed node: its upper left corner and its size, in pixels."""

    name: str
    x: float
    y: float
    width: float
    height: float


@dataclass(frozen=True, slots=True, kw_only=True)
class EdgeRoute:
    """A placed line.

    Parameters
    ----------
    source, target, label
        As in :class:`UnroutedEdge`.
    points : tuple of (float, float)
        From the source's right side to the target's left side. Between two points of the same height it is straight,
        between others it may be drawn as a curve that starts and ends horizontally.
    """

    source: str
    target: str | None
    label: str
    points: tuple[Point, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class EdgeLabel:
    """A placed label: it starts at `x`, on a line at height `y`."""

    source: str
    label: str
    x: float
    y: float


@dataclass(frozen=True, slots=True, kw_only=True)
class GraphLayout:
    """A drawing without colours: boxes, lines and labels on a canvas of `width` by `height` pixels."""

    width: float
    height: float
    boxes: tuple[NodeBox, ...]
    routes: tuple[EdgeRoute, ...]
    tags: tuple[EdgeLabel, ...]


def arrange(nodes: Sequence[UnplacedNode], links: Iterable[UnroutedEdge]) -> GraphLayout:
    """Place a graph.

    Parameters
    ----------
    nodes : sequence of UnplacedNode
        In the order that decides where the graph itself does not.
    links : iterable of UnroutedEdge
        Both ends have to be names of `nodes`.

    Raises
    ------
    ValueError
        The links make a cycle.
    """
    if not nodes:
        return GraphLayout(width=2 * MARGIN, height=2 * MARGIN, boxes=(), routes=(), tags=())
    sketch = _LayoutBuilder(nodes, tuple(links))
    sketch.order()
    sketch.attach()
    return sketch.drawn()


@dataclass(slots=True)
class _EdgeTrunk:
    """The common start of lines: one way point in every layer up to the layer before the last target's."""

    source: int
    label: str
    room: float
    targets: list[int] = field(default_factory=list)
    way: list[int] = field(default_factory=list)


class _LayoutBuilder:
    """Builds a layout; nodes are numbers, and the numbers after the given nodes are way points of trunks."""

    def __init__(self, nodes: Sequence[UnplacedNode], links: Sequence[UnroutedEdge]) -> None:
        self.nodes = nodes
        self.links = links
        self.number = {node.name: number for number, node in enumerate(nodes)}
        self.trunks = self._trunks()
        self.layer = layers_of(*self._neighbours())
        self.before: list[list[int]] = [[] for _ in nodes]
        self.after: list[list[int]] = [[] for _ in nodes]
        for trunk in self.trunks.values():
            self._add_way_points(trunk)
        self.rows: list[list[int]] = []
        self.right: dict[tuple[int, str], float] = {}
        self.left: dict[tuple[int, int, str], float] = {}
        self.sizes = [node.height for node in nodes] + [TRUNK] * (len(self.layer) - len(nodes))
        self.centres: list[float] = []

    def _trunks(self) -> dict[tuple[int, str], _EdgeTrunk]:
        trunks: dict[tuple[int, str], _EdgeTrunk] = {}
        for link in self.links:
            key = self.number[link.source], link.label
            trunk = trunks.setdefault(key, _EdgeTrunk(key[0], link.label, link.room))
            if link.target is not None:
                trunk.targets.append(self.number[link.target])
        return trunks

    def _neighbours(self) -> tuple[list[list[int]], list[list[int]]]:
        pairs = {(trunk.source, target): None for trunk in self.trunks.values() for target in trunk.targets}
        before: list[list[int]] = [[] for _ in self.nodes]
        after: list[list[int]] = [[] for _ in self.nodes]
        for source, target in pairs:
            before[target].append(source)
            after[source].append(target)
        return before, after

    def _add_way_points(self, trunk: _EdgeTrunk) -> None:
        """Give a trunk its way points, and join what it joins."""
        trunk.way = [trunk.source]
        start = self.layer[trunk.source]
        last = max((self.layer[target] for target in trunk.targets), default=start)
        # A way point in each layer that a trunk passes takes part in ordering and placing, so that nodes keep clear of
        # it.
        for layer in range(start + 1, last):
            self._join(trunk.way[-1], len(self.layer))
            trunk.way.append(len(self.layer))
            self.layer.append(layer)
        for target in trunk.targets:
            self._join(trunk.way[self.layer[target] - start - 1], target)

    def _join(self, source: int, target: int) -> None:
        for _ in range(max(source, target) + 1 - len(self.before)):
            self.before.append([])
            self.after.append([])
        self.before[target].append(source)
        self.after[source].append(target)

    def order(self) -> None:
        """Put the nodes of every layer in order."""
        rows: list[list[int]] = [[] for _ in range(max(self.layer) + 1)]
        for node in self._by_depth():
            rows[self.layer[node]].append(node)
        self.rows = order_rows(rows, self.before, self.after)

    def _by_depth(self) -> list[int]:
        """Return all nodes, those that hang together near each other."""
        seen: dict[int, None] = {}
        for start in range(len(self.nodes)):
            stack = [start]
            while stack:
                node = stack.pop()
                if node not in seen:
                    seen[node] = None
                    stack += [*reversed(self.after[node]), *reversed(self.before[node])]
        return list(seen)

    def attach(self) -> None:
        """Decide where on its nodes every line starts and ends, then how high the nodes stand."""
        place = {node: position for row in self.rows for position, node in enumerate(row)}
        leaving: dict[int, list[tuple[float, str]]] = {}
        arriving: dict[int, list[tuple[int, int, str]]] = {}
        for (source, label), trunk in self.trunks.items():
            first = [place[hop] for hop in self._first_hops(trunk)]
            leaving.setdefault(source, []).append((sum(first) / len(first) if first else float("inf"), label))
            for point, target in self._last_hops(trunk):
                arriving.setdefault(target, []).append((place[point], point, label))
        for source, lines in leaving.items():
            self._spread_right(source, [label for _, label in sorted(lines, key=lambda line: line[0])])
        for target, ends in arriving.items():
            self._spread_left(target, sorted(ends, key=lambda end: (end[0], self.right.get((end[1], end[2]), 0.0))))
        self._assign_heights()

    def _first_hops(self, trunk: _EdgeTrunk) -> list[int]:
        near = [target for target in trunk.targets if self.layer[target] == self.layer[trunk.source] + 1]
        return near + trunk.way[1:2]

    def _last_hops(self, trunk: _EdgeTrunk) -> list[tuple[int, int]]:
        start = self.layer[trunk.source]
        return [(trunk.way[self.layer[target] - start - 1], target) for target in trunk.targets]

    def _spread_right(self, node: int, labels: Sequence[str]) -> None:
        # A node with many ports grows, so that lines and arrowheads do not merge.
        self.sizes[node] = max(self.sizes[node], len(labels) * RIGHT_PORTS + 4)
        for position, label in enumerate(labels):
            self.right[node, label] = (position - (len(labels) - 1) / 2) * RIGHT_PORTS

    def _spread_left(self, node: int, ends: Sequence[tuple[int, int, str]]) -> None:
        self.sizes[node] = max(self.sizes[node], len(ends) * LEFT_PORTS + 4)
        for position, (_, point, label) in enumerate(ends):
            self.left[node, point, label] = (position - (len(ends) - 1) / 2) * LEFT_PORTS

    def _assign_heights(self) -> None:
        before: list[list[Joint]] = [[] for _ in self.layer]
        after: list[list[Joint]] = [[] for _ in self.layer]
        for trunk in self.trunks.values():
            for point, target in [*zip(trunk.way, trunk.way[1:], strict=False), *self._last_hops(trunk)]:
                higher = self._start(trunk, point) - self.left.get((target, point, trunk.label), 0.0)
                before[target].append((point, higher))
                after[point].append((target, -higher))
        # Bends of long edges catch the eye more than a node that is a little off, so way points are kept straighter.
        weights = [1.0] * len(self.nodes) + [TRUNK_WEIGHT] * (len(self.layer) - len(self.nodes))
        nodes = len(self.nodes)
        rooms = [size + GAP if number < nodes else size for number, size in enumerate(self.sizes)]
        self.centres = assign_heights(self.rows, rooms, weights, before, after)
        chains = [(self._port(trunk), trunk.way[1:]) for trunk in self.trunks.values() if len(trunk.way) > 1]
        align_chains(self.rows, rooms, self.centres, chains)
        real = [[*before[number], *after[number]] if number < nodes else [] for number in range(len(rooms))]
        straighten(self.rows, rooms, self.centres, real)
        top = min(centre - size / 2 for centre, size in zip(self.centres, self.sizes, strict=True))
        # In halves, as the distances between lines are: what is straight stays so.
        self.centres = [round(2 * (centre - top + MARGIN)) / 2 for centre in self.centres]

    def _port(self, trunk: _EdgeTrunk) -> float:
        return self.centres[trunk.source] + self.right[trunk.source, trunk.label]

    def _start(self, trunk: _EdgeTrunk, point: int) -> float:
        return self.right[point, trunk.label] if point == trunk.source else 0.0

    def drawn(self) -> GraphLayout:
        """Return the finished layout."""
        columns = self._columns()
        boxes = tuple(self._box(number, columns[self.layer[number]]) for number in range(len(self.nodes)))
        low = max(centre + size / 2 for centre, size in zip(self.centres, self.sizes, strict=True))
        return GraphLayout(
            width=round(columns[-1][2] + MARGIN - (STUB if not self._leaves(len(columns) - 1) else 0), 1),
            height=round(low + MARGIN, 1),
            boxes=boxes,
            routes=tuple(self._route(link, boxes, columns) for link in self.links),
            tags=tuple(self._tag(trunk, boxes) for trunk in self.trunks.values() if trunk.label),
        )

    def _leaves(self, layer: int) -> bool:
        return any(self.layer[trunk.source] == layer for trunk in self.trunks.values())

    def _columns(self) -> list[tuple[float, float, float]]:
        """Return for every layer where its nodes begin and end, and where the straight part behind them ends."""
        widths = [0.0] * len(self.rows)
        stubs = [STUB] * len(self.rows)
        falls = [0.0] * len(self.rows)
        for number, node in enumerate(self.nodes):
            widths[self.layer[number]] = max(widths[self.layer[number]], node.width)
        for trunk in self.trunks.values():
            layer = self.layer[trunk.source]
            stubs[layer] = max(stubs[layer], trunk.room + LABEL_MARGIN)
        for point, targets in enumerate(self.after):
            layer = self.layer[point]
            falls[layer] = max([falls[layer], *(abs(self.centres[target] - self.centres[point]) for target in targets)])
        columns, x = [], MARGIN
        for width, stub, fall in zip(widths, stubs, falls, strict=True):
            columns.append((x, x + width, x + width + stub))
            # Steep edges get more horizontal space, up to a limit that keeps wide graphs compact.
            x += width + stub + LEAD + min(80.0, 18 + fall / 4)
        return columns

    def _box(self, number: int, column: tuple[float, float, float]) -> NodeBox:
        node, height = self.nodes[number], self.sizes[number]
        # Nodes without inputs stand at the right edge of their column, so that their edges are short.
        x = column[0] if self.before[number] else column[1] - node.width
        return NodeBox(
            name=node.name,
            x=round(x, 1),
            y=round(self.centres[number] - height / 2, 1),
            width=node.width,
            height=height,
        )

    def _tag(self, trunk: _EdgeTrunk, boxes: Sequence[NodeBox]) -> EdgeLabel:
        box = boxes[trunk.source]
        y = self._port(trunk)
        return EdgeLabel(source=box.name, label=trunk.label, x=round(box.x + box.width, 1), y=round(y, 1))

    def _route(
        self, link: UnroutedEdge, boxes: Sequence[NodeBox], columns: Sequence[tuple[float, float, float]]
    ) -> EdgeRoute:
        source = self.number[link.source]
        trunk = self.trunks[source, link.label]
        box, y = boxes[source], self._port(trunk)
        points = [(box.x + box.width, y), (columns[self.layer[source]][2], y)]
        if link.target is not None:
            points += self._onward(trunk, self.number[link.target], boxes, columns)
        return EdgeRoute(
            source=link.source,
            target=link.target,
            label=link.label,
            points=tuple((round(x, 1), round(y, 1)) for x, y in points),
        )

    def _onward(
        self, trunk: _EdgeTrunk, target: int, boxes: Sequence[NodeBox], columns: Sequence[tuple[float, float, float]]
    ) -> list[Point]:
        points: list[Point] = []
        way = trunk.way[: self.layer[target] - self.layer[trunk.source]]
        for point in way[1:]:
            left, _, right = columns[self.layer[point]]
            points += [(left - LEAD, self.centres[point]), (right, self.centres[point])]
        y = self.centres[target] + self.left[target, way[-1], trunk.label]
        return [*points, (boxes[target].x - LEAD, y), (boxes[target].x, y)]
