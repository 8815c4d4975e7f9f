"""A graph beside a list of steps as text: a row for each step, a lane for each step with outputs still to be used."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

MOST_LANES = 24
"""Largest number of simultaneous lanes; with more, only dots are drawn."""
_PLAIN = str.maketrans("●│─├┤┼└┘┴", "*|-+++`'+")

Lanes = list[str | None]


def rails(before: Mapping[str, Sequence[str]], *, plain: bool = False) -> dict[str, str]:
    """Return for every step the piece of the graph that stands beside it.

    Parameters
    ----------
    before : Mapping of str to sequence of str
        For every step those it waits for, in an order in which each comes after those.
    plain : bool
        ASCII only.
    """
    remaining = Counter(source for befores in before.values() for source in set(befores))
    lanes: Lanes = []
    rows: dict[str, str] = {}
    for name, befores in before.items():
        rows[name] = _row(name, set(befores), lanes, remaining)
        if len(lanes) > MOST_LANES:
            return dict.fromkeys(before, "*" if plain else "●")
    breadth = max(map(len, rows.values()), default=0)
    return {name: (row.translate(_PLAIN) if plain else row).ljust(breadth) for name, row in rows.items()}


def _row(name: str, sources: set[str], lanes: Lanes, remaining: Counter[str]) -> str:
    """Draw the row of a step, and let the lanes end that it is the last to wait for."""
    joined = {lane: str(source) for lane, source in enumerate(lanes) if source in sources}
    for source in joined.values():
        remaining[source] -= 1
    ending = {lane for lane, source in joined.items() if not remaining[source]}
    own = min(ending, default=_free(lanes))
    row = _drawn(own, joined.keys() | {own}, ending, lanes)
    for lane in ending:
        lanes[lane] = None
    lanes += [None] * (own + 1 - len(lanes))
    lanes[own] = name if remaining[name] else None
    while lanes and lanes[-1] is None:
        lanes.pop()
    return row


def _free(lanes: Lanes) -> int:
    return lanes.index(None) if None in lanes else len(lanes)


def _drawn(own: int, joined: set[int], ending: set[int], lanes: Lanes) -> str:
    first, last = min(joined), max(joined)
    signs = []
    for lane in range(max(len(lanes), own + 1)):
        within = first <= lane <= last
        if lane == own:
            sign = "●"
        elif lane in joined:
            sign = _junction(lane, first, last, lane in ending)
        else:
            sign = "│" if lane < len(lanes) and lanes[lane] else "─" if within else " "
        signs.append(sign + ("─" if first <= lane < last else " "))
    return "".join(signs).rstrip()


def _junction(lane: int, first: int, last: int, ends: bool) -> str:
    if lane == first:
        return "└" if ends else "├"
    if lane == last:
        return "┘" if ends else "┤"
    return "┴" if ends else "┼"
