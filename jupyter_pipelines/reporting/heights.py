"""How high nodes stand in their columns: near what they are joined to, in the order given, without touching."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import partial
from math import inf

_ROUNDS = 4
_ALMOST = 24.0
"""Distance up to which a line is made straight by moving a node, in pixels."""

Joint = tuple[int, float]
"""A node, and how much higher than this node's centre its centre has to be for the line between them to be straight."""


def heights(
    rows: Sequence[Sequence[int]],
    sizes: Sequence[float],
    weights: Sequence[float],
    before: Sequence[Sequence[Joint]],
    after: Sequence[Sequence[Joint]],
) -> list[float]:
    """Return the centre of every node.

    Each column in turn takes the positions nearest to the ones its nodes wish for (weighted least squares under the
    minimal distances, which pooling of adjacent violators solves in one walk through the column).

    Parameters
    ----------
    rows : sequence of sequences of int
        The nodes of every layer, from top to bottom.
    sizes, weights : sequences of float
        The room that every node takes up, in pixels; how much its wish counts.
    before, after : sequences of sequences of (int, float)
        What every node is joined to on either side.
    """
    centres = [0.0] * len(sizes)
    offsets = [_offsets(row, sizes) for row in rows]
    for row, offset in zip(rows, offsets, strict=True):
        middle = offset[-1] / 2 if offset else 0.0
        for node, one in zip(row, offset, strict=True):
            centres[node] = one - middle
    columns = list(zip(rows, offsets, strict=True))
    around = [[*one, *other] for one, other in zip(before, after, strict=True)]
    for joints, walk in [*[(before, columns), (after, columns[::-1])] * _ROUNDS, *[(around, columns)] * _ROUNDS]:
        for row, offset in walk:
            _settle(row, offset, [_wish(centres, node, joints[node] or around[node]) for node in row], weights, centres)
    for row, offset in columns:
        _settle(row, offset, [_nearly(centres, node, before[node]) for node in row], weights, centres)
    return centres


def _nearly(centres: Sequence[float], node: int, joints: Sequence[Joint]) -> float:
    """Return where a line of `node` that is almost straight would be so."""
    wishes = [centres[one] + higher for one, higher in joints]
    nearest = min(wishes, key=lambda wish: abs(wish - centres[node]), default=centres[node])
    return nearest if abs(nearest - centres[node]) < _ALMOST else centres[node]


def _wish(centres: Sequence[float], node: int, joints: Sequence[Joint]) -> float:
    """Return where the lines of `node` are shortest: at their median, or as near as it is where that is a range."""
    wishes = sorted([centres[one] + higher for one, higher in joints])
    if not wishes:
        return centres[node]
    low, high = wishes[(len(wishes) - 1) // 2], wishes[len(wishes) // 2]
    return min(max(centres[node], low), high)


def _offsets(row: Sequence[int], sizes: Sequence[float]) -> list[float]:
    """Return the distance of every node from the first when they are packed as closely as they may be."""
    offsets = [0.0] * len(row)
    for position in range(1, len(row)):
        half = (sizes[row[position - 1]] + sizes[row[position]]) / 2
        offsets[position] = offsets[position - 1] + half
    return offsets


def _settle(
    row: Sequence[int],
    offsets: Sequence[float],
    wishes: Sequence[float],
    weights: Sequence[float],
    centres: list[float],
) -> None:
    """Put the nodes of a column as near to their wishes as their order and the gaps between them allow."""
    blocks: list[tuple[float, float, int]] = []  # mean position, weight, number of nodes
    for node, wish, offset in zip(row, wishes, offsets, strict=True):
        mean, weight, count = wish - offset, weights[node], 1
        while blocks and blocks[-1][0] >= mean:
            other, heavy, more = blocks.pop()
            mean = (mean * weight + other * heavy) / (weight + heavy)
            weight, count = weight + heavy, count + more
        blocks.append((mean, weight, count))
    position = 0
    for mean, _, count in blocks:
        for index in range(position, position + count):
            centres[row[index]] = mean + offsets[index]
        position += count


def level(
    rows: Sequence[Sequence[int]],
    sizes: Sequence[float],
    centres: list[float],
    chains: Iterable[tuple[float, list[int]]],
) -> None:
    """Give all nodes of a chain one height where there is room for it.

    Parameters
    ----------
    rows, sizes
        As for :func:`heights`.
    centres : list of float
        What :func:`heights` returned; changed in place.
    chains : iterable of (float, list of int)
        The height at which a chain would best be, and its nodes.
    """
    place = {node: (row, position) for row in rows for position, node in enumerate(row)}
    for wish, chain in chains:
        low, high = -inf, inf
        for node in chain:
            above, below = _room(*place[node], sizes, centres)
            low, high = max(low, above), min(high, below)
        if low <= high:
            for node in chain:
                centres[node] = min(max(wish, low), high)


def straighten(
    rows: Sequence[Sequence[int]],
    sizes: Sequence[float],
    centres: list[float],
    joints: Sequence[Sequence[Joint]],
) -> None:
    """Move every node a little where more of its lines become straight by it, and there is room.

    Parameters
    ----------
    rows, sizes, centres
        As for :func:`level`.
    joints : sequence of sequences of (int, float)
        What every node is joined to; nodes with nothing stay where they are.
    """
    for row in rows:
        for position, node in enumerate(row):
            wishes = [centres[one] + higher for one, higher in joints[node]]
            low, high = _room(row, position, sizes, centres)
            near = [wish for wish in wishes if low <= wish <= high and abs(wish - centres[node]) < _ALMOST]
            centres[node] = max([centres[node], *near], key=partial(_straight, wishes))


def _straight(wishes: Sequence[float], height: float) -> int:
    return sum(abs(wish - height) < 0.5 for wish in wishes)


def _room(row: Sequence[int], position: int, sizes: Sequence[float], centres: Sequence[float]) -> tuple[float, float]:
    """Return between which heights a node may be moved without touching its neighbours."""
    low, high, node = -inf, inf, row[position]
    if position:
        other = row[position - 1]
        low = centres[other] + (sizes[other] + sizes[node]) / 2
    if position + 1 < len(row):
        other = row[position + 1]
        high = centres[other] - (sizes[other] + sizes[node]) / 2
    return low, high
