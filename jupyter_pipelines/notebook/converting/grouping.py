"""Where a notebook is cut into steps: at headings first, else where little flows."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from jupyter_pipelines.notebook.converting.survey import Survey, Unit
from jupyter_pipelines.notebook.document import Document

MOST_STEPS = 10
_CELLS_A_STEP = 5
_FEWEST = 3
_HEADING = re.compile(r"^\s{0,3}(#{1,3})\s*([^#\s].*?)\s*#*\s*$|^\s*<h([1-3])[^>]*>(.*?)</h[1-3]>\s*$", re.IGNORECASE)
_FENCE = re.compile(r"^\s*(```|~~~)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Heading:
    """A heading in a Markdown cell: the level of the first one in it, the text of the last."""

    cell: int
    level: int
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Join:
    """A stretch of code cells that belong into one step.

    Parameters
    ----------
    first, last : int
        Places among the code cells.
    why : str
        The reason, as a clause.
    """

    first: int
    last: int
    why: str


@dataclass(slots=True)
class Cuts:
    """Where steps begin, as places among the code cells.

    Parameters
    ----------
    at : set of int
        The places.
    joins : list of Join
        What was joined, and why.
    """

    at: set[int]
    joins: list[Join] = field(default_factory=list)

    def join(self, join: Join) -> bool:
        """Take away the cuts inside a stretch, and return whether there were any."""
        inside = {place for place in self.at if join.first < place <= join.last}
        if inside:
            self.at -= inside
            self.joins.append(join)
        return bool(inside)

    def groups(self, units: Sequence[Unit]) -> list[list[Unit]]:
        """Return the cells of each step; cells of which nothing is left for a step belong to none."""
        found: list[list[Unit]] = []
        begun = False
        for unit in units:
            begun = begun or unit.at in self.at
            if unit.is_left:
                if begun or not found:
                    found.append([])
                found[-1].append(unit)
                begun = False
        return found


def headings(document: Document) -> list[Heading]:
    """Return the headings of levels 1 to 3."""
    return [one for cell in document.cells if cell.kind == "markdown" for one in _headings(cell.number, cell.source)]


def _headings(number: int, text: str) -> Iterator[Heading]:
    found = []
    fenced = False
    for line in text.split("\n"):
        fenced = fenced != bool(_FENCE.match(line))
        match = None if fenced else _HEADING.match(line)
        if match:
            level = len(match[1]) if match[1] else int(match[3])
            found.append((level, match[2] or match[4]))
    if found:
        yield Heading(cell=number, level=min(level for level, _ in found), text=found[-1][1])


def first_cuts(survey: Survey) -> Cuts:
    """Return where to cut, before anything is known of what flows where."""
    found = headings(survey.document)
    ways = [Cuts(at={_next(survey, one.cell) for one in found if one.level <= level}) for level in (3, 2, 1)]
    counts = [len(cuts.groups(survey.units)) for cuts in ways]
    fitting = [cuts for cuts, count in zip(ways, counts, strict=True) if _FEWEST <= count <= MOST_STEPS]
    large = [cuts for cuts, count in zip(ways, counts, strict=True) if count > MOST_STEPS]
    cuts = fitting[0] if fitting else large[-1] if large else ways[0]
    if len(cuts.groups(survey.units)) < _FEWEST:
        cuts.at |= by_flow(survey).at
    _limit(cuts, survey.units)
    return cuts


def _next(survey: Survey, cell: int) -> int:
    """Return the place of the first code cell behind a cell."""
    return next((unit.at for unit in survey.units if unit.cell.number > cell), len(survey.units))


def _limit(cuts: Cuts, units: Sequence[Unit]) -> None:
    """Join the smallest neighbours until there are few enough."""
    while len(groups := cuts.groups(units)) > MOST_STEPS:
        sizes = [len(one) + len(other) for one, other in pairwise(groups)]
        at = sizes.index(min(sizes))
        cuts.join(
            Join(first=groups[at][0].at, last=groups[at + 1][-1].at, why="a pipeline of more steps is hard to read")
        )


def by_flow(survey: Survey) -> Cuts:
    """Return the places where the fewest names flow across, at regular distances."""
    left = [unit for unit in survey.units if unit.is_left]
    wanted = min(len(left) // _CELLS_A_STEP, MOST_STEPS - 4)
    if wanted < 2:
        return Cuts(at=set())
    width = len(left) / wanted
    flows = [_crossing(left, place) for place in range(len(left))]
    places: set[int] = set()
    for number in range(1, wanted):
        middle = round(number * width)
        near = range(max(middle - round(width / 3), 1), min(middle + round(width / 3) + 1, len(left)))
        places.add(min(near, key=lambda place: (flows[place], abs(place - middle))))
    return Cuts(at={left[place].at for place in places})


def _crossing(units: Sequence[Unit], place: int) -> int:
    """Return how many names that are bound before a place are read behind it before they are bound again."""
    bound = {name for unit in units[:place] for name in unit.names.binds}
    read: set[str] = set()
    again: set[str] = set()
    for unit in units[place:]:
        read |= {name for name in unit.names.reads if name in bound and name not in again}
        again |= set(unit.names.binds)
    return len(read)
