"""Ordering of nodes within their layers with few edge crossings."""

from __future__ import annotations

import random
from bisect import bisect_left, bisect_right
from collections import deque
from collections.abc import Iterator, Sequence

_SWEEPS = 20
_TRIAL = 3
"""Number of sweeps after which the starts are compared."""
_MAX_IDLE_SWEEPS = 5
_FINALISTS = 2
# The time of a start grows with the number of nodes: large graphs get fewer starts.
_EFFORT = 3000
"""Number of nodes, added up over all starts, that are put in order before the best starts are taken."""
_MOST_STARTS = 12
_SMALL = 12
"""Product of two numbers of lines up to which it is fastest to compare each with each."""

Rows = list[list[int]]
Neighbours = Sequence[Sequence[int]]


def order_rows(rows: Rows, before: Neighbours, after: Neighbours) -> Rows:
    """Return the rows in an order with few crossings.

    Each row is sorted by the mean or median position of what its nodes are joined to, from the left, then from the
    right, over and over, and neighbours are exchanged in between as long as that helps. It begins from several starts;
    the best of them are continued.

    Parameters
    ----------
    rows : list of list of int
        The nodes of every layer.
    before, after : sequences of sequences of int
        For every node those in the layer before and in the layer after that it is joined to.

    Notes
    -----
    After E. R. Gansner, E. Koutsofios, S. C. North and K.-P. Vo, "A technique for drawing directed graphs", IEEE
    Transactions on Software Engineering 19 (1993): the medians, and exchanges that change nothing now and then, which
    lead out of many a dead end.
    """
    most = max(1, min(_MOST_STARTS, _EFFORT // len(before)))
    best = [(rows, count_crossings(rows, _places(rows, len(before)), after))]
    for start, _ in zip(_starts(rows, before, after), range(most), strict=False):
        if not best[0][1]:
            break
        best = sorted([*best, _sweep_from(start, before, after, range(_TRIAL))], key=_crossing_count)[:_FINALISTS]
    more = range(_TRIAL, _TRIAL + _SWEEPS)
    best += [
        _sweep_from(candidate, before, after, more) for candidate, crossings in best[: max(1, most // 2)] if crossings
    ]
    return min(best, key=_crossing_count)[0]


def _crossing_count(candidate: tuple[Rows, int]) -> int:
    return candidate[1]


def _starts(rows: Rows, before: Neighbours, after: Neighbours) -> Iterator[Rows]:
    """Yield rows to start from: in three orders, turned round, then as chance has it, the same in every process."""
    yield [list(row) for row in rows]
    yield _spread(rows, before, after)
    yield _spread(rows, after, before)
    yield [row[::-1] for row in rows]
    yield [row[::-1] for row in _spread(rows, before, after)]
    # A fixed seed: the same pipeline has the same drawing in every process.
    chance = random.Random(1)  # noqa: S311
    while True:
        copies = [list(row) for row in rows]
        for row in copies:
            chance.shuffle(row)
        yield copies


def _spread(rows: Rows, before: Neighbours, after: Neighbours) -> Rows:
    """Return the nodes of every row in the order in which they are reached from those that nothing is before."""
    reached: dict[int, int] = {}
    for first in (node for row in rows for node in row if not before[node]):
        waiting = deque([first])
        while waiting:
            node = waiting.popleft()
            if node not in reached:
                reached[node] = len(reached)
                waiting.extend(after[node])
    return [sorted(row, key=reached.__getitem__) for row in rows]


def _sweep_from(rows: Rows, before: Neighbours, after: Neighbours, turns: range) -> tuple[Rows, int]:
    rows = [list(row) for row in rows]
    place = _places(rows, len(before))
    best, fewest, tired = rows, count_crossings(rows, place, after), 0
    for turn in turns:
        if not fewest or tired > _MAX_IDLE_SWEEPS:
            break
        _sweep(rows, place, before, after, turn)
        _exchange(rows, place, before, after, ties=turn % 4 > 1)
        crossings = count_crossings(rows, place, after)
        # Sweeps may make the order worse for a while on the way to a better one.
        tired += 1
        if turn == turns[0] or crossings < fewest:
            best, fewest, tired = [list(row) for row in rows], crossings, 0
    return best, fewest


def count_crossings(rows: Rows, place: Sequence[int], after: Neighbours) -> int:
    """Return how many pairs of lines between neighbouring layers cross."""
    return sum(_crossings_behind(row, place, after) for row in rows)


def _crossings_behind(row: Sequence[int], place: Sequence[int], after: Neighbours) -> int:
    crossings = 0
    ends: list[int] = []
    for node in row:
        targets = [place[successor] for successor in after[node]]
        # An edge crosses all earlier edges with a target further on; counted in a sorted list instead of pair by pair.
        crossings += sum(len(ends) - bisect_right(ends, target) for target in targets)
        ends += targets
        ends.sort()
    return crossings


def _sweep(rows: Rows, place: list[int], before: Neighbours, after: Neighbours, turn: int) -> None:
    """Sort every row by where its nodes come from; every second time by where they go, from the right."""
    rightward = turn % 2 == 0
    fixed, middle = before if rightward else after, (_median, _mean)[turn // 2 % 2]
    for row in rows if rightward else reversed(rows):
        joined = [node for node in row if fixed[node]]
        if turn % 4 < 2:
            joined.reverse()  # ties would never change their order otherwise
        averages = {node: middle([place[neighbour] for neighbour in fixed[node]]) for node in joined}
        joined.sort(key=averages.__getitem__)
        in_order = iter(joined)
        row[:] = [next(in_order) if fixed[node] else node for node in row]
        _renumber(row, place)


def _mean(places: list[int]) -> float:
    return sum(places) / len(places)


def _median(places: list[int]) -> float:
    """Return the median; of an even number, weight the two in the middle by how close the others are on their sides."""
    places.sort()
    half = len(places) // 2
    if len(places) % 2:
        return places[half]
    low, high = places[half - 1] - places[0], places[-1] - places[half]
    if low == high:
        return (places[half - 1] + places[half]) / 2
    return (places[half - 1] * high + places[half] * low) / (low + high)


def _exchange(rows: Rows, place: list[int], before: Neighbours, after: Neighbours, *, ties: bool) -> None:
    """Exchange neighbours until that helps no more; `ties`, also those where it changes nothing."""
    waiting, helped = set(range(len(rows))), True
    while helped:
        helped, layers, waiting = False, sorted(waiting), set()
        for layer in layers:
            exchanged, gain = _exchange_in(rows[layer], place, before, after, ties=ties)
            helped = helped or gain > 0
            if exchanged:
                # Only layers next to a change can gain by another exchange.
                waiting |= {layer - 1, layer, layer + 1} & set(range(len(rows)))


def _exchange_in(
    row: list[int], place: list[int], before: Neighbours, after: Neighbours, *, ties: bool
) -> tuple[bool, int]:
    exchanged, gained = False, 0
    for left in range(len(row) - 1):
        first, second = row[left], row[left + 1]
        removed, added = _change(place, before[first], before[second])
        removed_after, added_after = _change(place, after[first], after[second])
        gain = removed + removed_after - added - added_after
        if gain > 0 or (ties and not gain and removed + removed_after):
            row[left], row[left + 1] = second, first
            place[first], place[second] = left + 1, left
            exchanged = True
            gained += gain
    return exchanged, gained


def _change(place: Sequence[int], first: Sequence[int], second: Sequence[int]) -> tuple[int, int]:
    """Return how many crossings go and come when two neighbours, joined to `first` and `second`, change places."""
    removed = added = 0
    # Most nodes have few edges, for which sorting takes longer than comparing all pairs.
    if len(first) * len(second) <= _SMALL:
        ends = [place[node] for node in second]
        for node in first:
            mine = place[node]
            for end in ends:
                removed += mine > end
                added += mine < end
        return removed, added
    ends = sorted([place[node] for node in second])
    for node in first:
        removed += bisect_left(ends, place[node])
        added += len(ends) - bisect_right(ends, place[node])
    return removed, added


def _places(rows: Rows, count: int) -> list[int]:
    place = [0] * count
    for row in rows:
        _renumber(row, place)
    return place


def _renumber(row: Sequence[int], place: list[int]) -> None:
    for position, node in enumerate(row):
        place[node] = position
