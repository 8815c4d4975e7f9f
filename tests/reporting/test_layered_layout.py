from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jupyter_pipelines.reporting.layout.crossings import count_crossings, order_rows
from jupyter_pipelines.reporting.layout.layered_layout import GAP, GraphLayout, UnplacedNode, UnroutedEdge, arrange


def nodes(count: int) -> list[UnplacedNode]:
    return [UnplacedNode(name=str(number), width=100 + 10 * (number % 3), height=40) for number in range(count)]


def link(source: int, target: int | None, label: str = "x") -> UnroutedEdge:
    return UnroutedEdge(source=str(source), target=None if target is None else str(target), label=label, room=20)


@st.composite
def graphs(draw: st.DrawFn) -> GraphLayout:
    count = draw(st.integers(1, 14))
    pairs = list(itertools.combinations(range(count), 2))
    edges = draw(st.lists(st.sampled_from(pairs), unique=True, max_size=30)) if pairs else []
    labels = draw(st.lists(st.sampled_from(["", "x", "y"]), min_size=len(edges), max_size=len(edges)))
    leaving = draw(st.lists(st.integers(0, count - 1), unique=True, max_size=3))
    order = draw(st.permutations(range(count)))
    links = [link(order[a], order[b], label) for (a, b), label in zip(edges, labels, strict=True)]
    return arrange(nodes(count), [*links, *(link(node, None, "end") for node in leaving)])


@given(graphs())
def test_boxes_never_touch_and_lines_go_right(layout: GraphLayout) -> None:
    boxes = {box.name: box for box in layout.boxes}
    for first, second in itertools.combinations(layout.boxes, 2):
        apart = first.x + first.width < second.x or second.x + second.width < first.x
        assert apart or abs(first.y - second.y) >= min(first.height, second.height) + GAP - 1
    for route in layout.routes:
        source = boxes[route.source]
        assert route.points[0][0] == source.x + source.width
        assert all(a[0] <= b[0] for a, b in itertools.pairwise(route.points))
        if route.target is not None:
            target = boxes[route.target]
            assert route.points[-1][0] == target.x
            assert target.y <= route.points[-1][1] <= target.y + target.height


@given(graphs())
def test_everything_is_on_the_canvas_and_no_line_runs_through_a_box(layout: GraphLayout) -> None:
    for box in layout.boxes:
        assert box.x >= 0
        assert box.x + box.width <= layout.width
        assert box.y >= 0
        assert box.y + box.height <= layout.height
    for route in layout.routes:
        for (x, y), (to_x, to_y) in itertools.pairwise(route.points):
            assert 0 <= x <= to_x <= layout.width
            # What is not horizontal is between two columns; what is horizontal must not cross a box.
            if y == to_y:
                for box in layout.boxes:
                    inside = box.y < y < box.y + box.height and x < box.x + box.width - 0.5 and box.x + 0.5 < to_x
                    assert not inside, (route, box)


@given(graphs())
def test_labels_stand_apart(layout: GraphLayout) -> None:
    for first, second in itertools.combinations(layout.tags, 2):
        assert abs(first.y - second.y) >= 12 or abs(first.x - second.x) >= 20


def test_the_same_graph_is_placed_the_same() -> None:
    links = [link(0, 2), link(1, 2), link(0, 3, "y"), link(2, 4), link(3, 4)]
    assert arrange(nodes(5), links) == arrange(nodes(5), links)


def test_lines_with_one_label_start_together() -> None:
    layout = arrange(nodes(4), [link(0, 1), link(0, 2), link(0, 3), link(1, 3, "z")])
    starts = {route.points[:2] for route in layout.routes if route.label == "x"}
    assert len(starts) == 1
    assert [tag.label for tag in layout.tags] == ["x", "z"]


def test_a_chain_is_straight() -> None:
    layout = arrange(nodes(6), [link(number, number + 1) for number in range(5)])
    assert len({point[1] for route in layout.routes for point in route.points}) == 1


def test_what_only_a_late_node_takes_stands_beside_it() -> None:
    layout = arrange(nodes(5), [link(0, 1), link(1, 2), link(2, 3), link(4, 3)])
    boxes = {box.name: box for box in layout.boxes}
    assert boxes["4"].x >= boxes["2"].x


def test_cycles_are_refused() -> None:
    with pytest.raises(ValueError, match="cycle"):
        arrange(nodes(2), [link(0, 1), link(1, 0)])


def test_nothing_to_place() -> None:
    assert arrange([], []).boxes == ()


def test_long_chains_and_broad_fans_need_no_recursion() -> None:
    assert len(arrange(nodes(3000), [link(number, number + 1) for number in range(2999)]).boxes) == 3000
    assert len(arrange(nodes(500), [link(0, number) for number in range(1, 500)]).routes) == 499


def test_crossings_are_counted() -> None:
    rows, after = [[0, 1], [2, 3]], [[3], [2], [], []]
    assert count_crossings(rows, [0, 1, 0, 1], after) == 1
    assert count_crossings(rows, [0, 1, 0, 1], [[2, 3], [3], [], []]) == 0


@given(st.sets(st.tuples(st.integers(0, 4), st.integers(5, 9)), max_size=14))
def test_two_layers_are_nearly_as_untangled_as_they_can_be(edges: set[tuple[int, int]]) -> None:
    before = [[a for a, b in sorted(edges) if b == node] for node in range(10)]
    after = [[b for a, b in sorted(edges) if a == node] for node in range(10)]

    def crossings(rows: list[list[int]]) -> int:
        place = [0] * 10
        for row in rows:
            for position, node in enumerate(row):
                place[node] = position
        return count_crossings(rows, place, after)

    start = [[0, 1, 2, 3, 4], [5, 6, 7, 8, 9]]
    remaining = crossings(order_rows(start, before, after))
    best = min(
        crossings([list(upper), list(lower)])
        for upper in itertools.permutations(start[0])
        for lower in (sorted(start[1], key=lambda n: sum(upper.index(b) for b in before[n]) / (len(before[n]) or 1)),)
    )
    assert remaining <= min(crossings(start), best + 2)
