"""How high nodes stand in their columns: near what they are joined to, in the order given, without touching."""

from __future__ import annotations

from collections.abc import Sequence

_ROUNDS = 4
_ALMOST = 16.0

Joint = tuple[int, float]
"""A node, and how much higher than this node's centre its centre has to be for the line between them to be straight."""


def heights(
    rows: Sequence[Sequence[int]],
    sizes: Sequence[float],
    weights: Sequence[float],
    before: Sequence[Sequence[Joint]],
    after: Sequence[Sequence[Joint]],
    gap: float,
) -> list[float]:
    """Return the centre of every node.

    Each column in turn takes the positions nearest to the ones its nodes wish for (weighted least squares under the
    minimal distances, which pooling of adjacent violators solves in one walk through the column).

    Parameters
    ----------
    rows : sequence of sequences of int
        The nodes of every layer, from top to bottom.
    sizes, weights : sequences of float
        Height of every node, in pixels; how much its wish counts.
    before, after : sequences of sequences of (int, float)
        What every node is joined to on either side.
    gap : float
        Least distance between two nodes, in pixels.
    """
    centres = [0.0] * len(sizes)
    offsets = [_offsets(row, sizes, gap) for row in rows]
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
        _settle(row, offset, [_straight(centres, node, before[node]) for node in row], weights, centres)
    return centres


def _straight(centres: Sequence[float], node: int, joints: Sequence[Joint]) -> float:
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


def _offsets(row: Sequence[int], sizes: Sequence[float], gap: float) -> list[float]:
    """Return the distance of every node from the first when they are packed as closely as they may be."""
    offsets = [0.0] * len(row)
    for position in range(1, len(row)):
        half = (sizes[row[position - 1]] + sizes[row[position]]) / 2
        offsets[position] = offsets[position - 1] + half + gap
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
