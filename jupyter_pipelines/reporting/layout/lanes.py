"""Lanes of a graph beside a list of steps: the lane of each step, and the lanes that pass, begin and end there."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

Lanes = list[str | None]


def lanes(before: Mapping[str, Sequence[str]]) -> list[dict[str, Any]]:
    """Return a row for every step: a lane leads from each step to the last step that waits for it.

    Parameters
    ----------
    before : Mapping of str to sequence of str
        For every step those it waits for, in an order in which each comes after those.

    Returns
    -------
    list of dict
        ``id``; ``lane`` of the step; ``through``, the lanes that pass by; ``from``, the lanes that reach the step from
        above; ``ends``, those of them that end there; ``to``, its own lane if it begins there.
    """
    remaining = Counter(source for befores in before.values() for source in set(befores))
    open_lanes: Lanes = []
    return [_row(name, set(befores), open_lanes, remaining) for name, befores in before.items()]


def _row(name: str, sources: set[str], open_lanes: Lanes, remaining: Counter[str]) -> dict[str, Any]:
    joined = [lane for lane, source in enumerate(open_lanes) if source in sources]
    for lane in joined:
        remaining[str(open_lanes[lane])] -= 1
    ending = [lane for lane in joined if not remaining[str(open_lanes[lane])]]
    # A lane that ends at the step is taken over, which keeps the drawing narrow.
    own = min(ending, default=open_lanes.index(None) if None in open_lanes else len(open_lanes))
    through = [
        lane for lane, source in enumerate(open_lanes) if source is not None and lane not in ending and lane != own
    ]
    for lane in ending:
        open_lanes[lane] = None
    open_lanes += [None] * (own + 1 - len(open_lanes))
    open_lanes[own] = name if remaining[name] else None
    while open_lanes and open_lanes[-1] is None:
        open_lanes.pop()
    return {
        "id": name,
        "lane": own,
        "through": through,
        "from": joined,
        "ends": ending,
        "to": [own] if remaining[name] else [],
    }
