"""Columns for the nodes of a drawing: every edge goes to the right, and few of them far."""

from __future__ import annotations

from collections.abc import Sequence

_ROUNDS = 6


def layers_of(before: Sequence[Sequence[int]], after: Sequence[Sequence[int]]) -> list[int]:
    """Return a layer for every node, counted from 0, such that every edge leads to a higher layer.

    First every node goes as far left as it can; then those that have more edges on their right side go there.

    Parameters
    ----------
    before, after : sequences of sequences of int
        For every node the nodes with an edge to it, and those it has an edge to.

    Raises
    ------
    ValueError
        The edges make a cycle.
    """
    generations = _generations(after)
    order = [node for generation in generations for node in generation]
    layer = [0] * len(order)
    for number, generation in enumerate(generations):
        for node in generation:
            layer[node] = number
    costs = _costs_of_moving_right(order, before, after)
    for _ in range(_ROUNDS):
        if not _move_right(order, layer, after, costs):
            break
    return _without_gaps(layer)


def _generations(after: Sequence[Sequence[int]]) -> list[list[int]]:
    import networkx as nx

    graph = nx.DiGraph()
    graph.add_nodes_from(range(len(after)))
    graph.add_edges_from((node, follower) for node, followers in enumerate(after) for follower in followers)
    try:
        return list(nx.topological_generations(graph))
    except nx.NetworkXUnfeasible as error:
        raise ValueError("the edges make a cycle") from error


def _costs_of_moving_right(
    order: Sequence[int], before: Sequence[Sequence[int]], after: Sequence[Sequence[int]]
) -> list[int]:
    """Return how many edges grow when a node moves right; those to nodes that would follow it do not."""
    costs = [0] * len(order)
    for node in order:
        costs[node] = sum(
            min(1, costs[predecessor]) if len(after[predecessor]) == 1 else 1 for predecessor in before[node]
        )
    return costs


def _move_right(
    order: Sequence[int],
    layer: list[int],
    after: Sequence[Sequence[int]],
    costs: Sequence[int],
) -> bool:
    moved = False
    for node in reversed(order):
        if len(after[node]) > costs[node]:
            limit = min(layer[successor] for successor in after[node]) - 1
            moved = moved or limit > layer[node]
            layer[node] = limit
    return moved


def _without_gaps(layer: Sequence[int]) -> list[int]:
    rank = {number: position for position, number in enumerate(sorted(set(layer)))}
    return [rank[number] for number in layer]
