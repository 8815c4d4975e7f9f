"""Vertical coordinates of nodes: near the nodes that they are joined to, in the given order, without overlap."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import partial
from math import inf

_ROUNDS = 4
_NEARLY_STRAIGHT = 24.0
"""Distance up to which a line is made straight by moving a node, in pixels."""

Joint = tuple[int, float]
"""A neighbour, and the offset from its centre at which the edge to it is straight."""


def assign_heights(
    rows: Sequence[Sequence[int]],
    sizes: Sequence[float],
    weights: Sequence[float],
    before: Sequence[Sequence[Joint]],
    after: Sequence[Sequence[Joint]],
) -> list[float]:
    """Return the centre of every node.

    Each column in turn takes the positions nearest to the desired positions of its nodes (weighted least squares under
    the minimal distances, which pooling of adjacent violators solves in one walk through the column).

    Parameters
    ----------
    rows : sequence of sequences of int
        The nodes of every layer, from top to bottom.
    sizes, weights : sequences of float
        The height that every node takes up, in pixels; the weight of its desired position.
    before, after : sequences of sequences of (int, float)
        What every node is joined to on either side.
    """
    centres = [0.0] * len(sizes)
    offsets = [_offsets(row, sizes) for row in rows]
    for row, offset in zip(rows, offsets, strict=True):
        middle = offset[-1] / 2 if offset else 0.0
        for node, distance in zip(row, offset, strict=True):
            centres[node] = distance - middle
    columns = list(zip(rows, offsets, strict=True))
    around = [[*left, *right] for left, right in zip(before, after, strict=True)]
    # First in both directions in turn, then with both sides at once: either side alone pulls long chains apart.
    for joints, walk in [*[(before, columns), (after, columns[::-1])] * _ROUNDS, *[(around, columns)] * _ROUNDS]:
        for row, offset in walk:
            _place_column(
                row,
                offset,
                [_median_height(centres, node, joints[node] or around[node]) for node in row],
                weights,
                centres,
            )
    for row, offset in columns:
        _place_column(
            row, offset, [_straightening_height(centres, node, before[node]) for node in row], weights, centres
        )
    return centres


def _straightening_height(centres: Sequence[float], node: int, joints: Sequence[Joint]) -> float:
    """Return where a line of `node` that is almost straight would be so."""
    desired = [centres[neighbour] + higher for neighbour, higher in joints]
    nearest = min(desired, key=lambda height: abs(height - centres[node]), default=centres[node])
    return nearest if abs(nearest - centres[node]) < _NEARLY_STRAIGHT else centres[node]


def _median_height(centres: Sequence[float], node: int, joints: Sequence[Joint]) -> float:
    """Return where the lines of `node` are shortest: at their median, or as near as it is where that is a range."""
    desired = sorted([centres[neighbour] + higher for neighbour, higher in joints])
    if not desired:
        return centres[node]
    low, high = desired[(len(desired) - 1) // 2], desired[len(desired) // 2]
    # Every height between the two medians gives the same length; the present one moves least.
    return min(max(centres[node], low), high)


def _offsets(row: Sequence[int], sizes: Sequence[float]) -> list[float]:
    """Return the distance of every node from the first when they are packed as closely as they may be."""
    offsets = [0.0] * len(row)
    for position in range(1, len(row)):
        half = (sizes[row[position - 1]] + sizes[row[position]]) / 2
        offsets[position] = offsets[position - 1] + half
    return offsets


def _place_column(
    row: Sequence[int],
    offsets: Sequence[float],
    desired: Sequence[float],
    weights: Sequence[float],
    centres: list[float],
) -> None:
    """Put the nodes of a column as near to their desired positions as their order and the gaps between them allow."""
    blocks: list[tuple[float, float, int]] = []  # mean position, weight, number of nodes
    for node, height, offset in zip(row, desired, offsets, strict=True):
        mean, weight, count = height - offset, weights[node], 1
        # Nodes that would overlap are pooled into a block at the weighted mean of their desired positions.
        while blocks and blocks[-1][0] >= mean:
            other, other_weight, other_count = blocks.pop()
            mean = (mean * weight + other * other_weight) / (weight + other_weight)
            weight, count = weight + other_weight, count + other_count
        blocks.append((mean, weight, count))
    position = 0
    for mean, _, count in blocks:
        for index in range(position, position + count):
            centres[row[index]] = mean + offsets[index]
        position += count


def align_chains(
    rows: Sequence[Sequence[int]],
    sizes: Sequence[float],
    centres: list[float],
    chains: Iterable[tuple[float, list[int]]],
) -> None:
    """Give all nodes of a chain one height where there is space for it.

    Parameters
    ----------
    rows, sizes
        As for :func:`assign_heights`.
    centres : list of float
        What :func:`assign_heights` returned; changed in place.
    chains : iterable of (float, list of int)
        The height at which a chain would best be, and its nodes.
    """
    place = {node: (row, position) for row in rows for position, node in enumerate(row)}
    for height, chain in chains:
        low, high = -inf, inf
        for node in chain:
            above, below = _free_range(*place[node], sizes, centres)
            low, high = max(low, above), min(high, below)
        if low <= high:
            for node in chain:
                centres[node] = min(max(height, low), high)


def straighten(
    rows: Sequence[Sequence[int]],
    sizes: Sequence[float],
    centres: list[float],
    joints: Sequence[Sequence[Joint]],
) -> None:
    """Move every node a little where more of its lines become straight by it, and there is space.

    Parameters
    ----------
    rows, sizes, centres
        As for :func:`align_chains`.
    joints : sequence of sequences of (int, float)
        What every node is joined to; nodes with nothing stay where they are.
    """
    for row in rows:
        for position, node in enumerate(row):
            desired = [centres[neighbour] + higher for neighbour, higher in joints[node]]
            low, high = _free_range(row, position, sizes, centres)
            near = [
                height for height in desired if low <= height <= high and abs(height - centres[node]) < _NEARLY_STRAIGHT
            ]
            centres[node] = max([centres[node], *near], key=partial(_straight, desired))


def _straight(desired: Sequence[float], height: float) -> int:
    return sum(abs(straight_height - height) < 0.5 for straight_height in desired)


def _free_range(
    row: Sequence[int], position: int, sizes: Sequence[float], centres: Sequence[float]
) -> tuple[float, float]:
    """Return between which heights a node may be moved without touching its neighbours."""
    low, high, node = -inf, inf, row[position]
    if position:
        other = row[position - 1]
        low = centres[other] + (sizes[other] + sizes[node]) / 2
    if position + 1 < len(row):
        other = row[position + 1]
        high = centres[other] - (sizes[other] + sizes[node]) / 2
    return low, high
