"""The order of nodes within their columns: as few lines as possible cross each other."""

from __future__ import annotations

import random
from bisect import bisect_left, bisect_right
from collections.abc import Sequence

_SWEEPS = 16
_PATIENCE = 4
_EXCHANGES = 2
_EFFORT = 800
"""Number of nodes, added up over all attempts, that are put in order before the best attempt is taken."""
_MOST_ATTEMPTS = 12

Rows = list[list[int]]
Neighbours = Sequence[Sequence[int]]


def untangle(rows: Rows, before: Neighbours, after: Neighbours) -> Rows:
    """Return the rows in an order with few crossings.

    Each row is sorted by the mean or median position of what its nodes are joined to, from the left, then from the
    right, over and over, with neighbours exchanged in between. Small graphs are tried from several starts.

    Parameters
    ----------
    rows : list of list of int
        The nodes of every layer.
    before, after : sequences of sequences of int
        For every node those in the layer before and in the layer after that it is joined to.
    """
    best, fewest = rows, count_crossings(rows, _places(rows, len(before)), after)
    for attempt in range(max(1, min(_MOST_ATTEMPTS, _EFFORT // len(before)))):
        if not fewest:
            break
        found, crossings = _attempt(_start(rows, attempt), before, after)
        if crossings < fewest:
            best, fewest = found, crossings
    return best


def _start(rows: Rows, attempt: int) -> Rows:
    """Return rows to start from: as given, turned round, then as chance has it, but the same in every process."""
    copies = [list(row) for row in (rows if attempt != 1 else [row[::-1] for row in rows])]
    if attempt > 1:
        chance = random.Random(attempt)  # noqa: S311
        for row in copies:
            chance.shuffle(row)
    return copies


def _attempt(rows: Rows, before: Neighbours, after: Neighbours) -> tuple[Rows, int]:
    place = _places(rows, len(before))
    best, fewest, tired = rows, count_crossings(rows, place, after), 0
    for turn in range(_SWEEPS):
        if not fewest or tired > _PATIENCE:
            break
        _sweep(rows, place, before, after, turn)
        _exchange(rows, place, before, after)
        crossings = count_crossings(rows, place, after)
        tired += 1
        if turn == 0 or crossings < fewest:
            best, fewest, tired = [list(row) for row in rows], crossings, 0
    return best, fewest


def count_crossings(rows: Rows, place: Sequence[int], after: Neighbours) -> int:
    """Return how many pairs of lines between neighbouring layers cross."""
    return sum(_crossings_behind(row, place, after) for row in rows)


def _crossings_behind(row: Sequence[int], place: Sequence[int], after: Neighbours) -> int:
    crossings = 0
    ends: list[int] = []
    for node in row:
        targets = [place[one] for one in after[node]]
        crossings += sum(len(ends) - bisect_right(ends, target) for target in targets)
        ends += targets
        ends.sort()
    return crossings


def _sweep(rows: Rows, place: list[int], before: Neighbours, after: Neighbours, turn: int) -> None:
    """Sort every row by where its nodes come from; every second time by where they go, from the right."""
    rightward = turn % 2 == 0
    fixed, middle = before if rightward else after, (_mean, _median)[turn // 2 % 2]
    for row in rows if rightward else reversed(rows):
        if turn % 4 > 1:
            row.reverse()  # ties would never change their order otherwise
        wishes = {node: middle([place[one] for one in fixed[node]]) if fixed[node] else place[node] for node in row}
        row.sort(key=wishes.__getitem__)
        _renumber(row, place)


def _mean(places: list[int]) -> float:
    return sum(places) / len(places)


def _median(places: list[int]) -> float:
    """Return the median; of an even number, the one in the middle that is nearer to where most of the others are."""
    places.sort()
    half = len(places) // 2
    if len(places) % 2:
        return places[half]
    low, high = places[half - 1] - places[0], places[-1] - places[half]
    if low == high:
        return (places[half - 1] + places[half]) / 2
    return (places[half - 1] * high + places[half] * low) / (low + high)


def _exchange(rows: Rows, place: list[int], before: Neighbours, after: Neighbours) -> None:
    for _ in range(_EXCHANGES):
        exchanged = [_exchange_in(row, place, before, after) for row in rows]  # all of them, not up to the first
        if not any(exchanged):
            break


def _exchange_in(row: list[int], place: list[int], before: Neighbours, after: Neighbours) -> bool:
    exchanged = False
    for left in range(len(row) - 1):
        first, second = row[left], row[left + 1]
        gain = _gain(place, before[first], before[second]) + _gain(place, after[first], after[second])
        if gain > 0:
            row[left], row[left + 1] = second, first
            place[first], place[second] = left + 1, left
            exchanged = True
    return exchanged


def _gain(place: Sequence[int], first: Sequence[int], second: Sequence[int]) -> int:
    """Return how many crossings go away when two neighbours, joined to `first` and `second`, change places."""
    if not first or not second:
        return 0
    ends = sorted([place[node] for node in second])
    gain = 0
    for node in first:
        gain += bisect_left(ends, place[node]) - (len(ends) - bisect_right(ends, place[node]))
    return gain


def _places(rows: Rows, count: int) -> list[int]:
    place = [0] * count
    for row in rows:
        _renumber(row, place)
    return place


def _renumber(row: Sequence[int], place: list[int]) -> None:
    for position, node in enumerate(row):
        place[node] = position
