"""Split points of a notebook: at headings first, else where few names flow across."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from jupyter_pipelines.notebook.converting.cell_survey import CellSurvey, SurveyedCell
from jupyter_pipelines.notebook.source.document import NotebookDocument

MAX_STEPS = 10
_CELLS_PER_STEP = 5
_MIN_STEPS = 3
_HEADING = re.compile(r"^\s{0,3}(#{1,3})\s*([^#\s].*?)\s*#*\s*$|^\s*<h([1-3])[^>]*>(.*?)</h[1-3]>\s*$", re.IGNORECASE)
_FENCE = re.compile(r"^\s*(```|~~~)")


@dataclass(frozen=True, slots=True, kw_only=True)
class MarkdownHeading:
    """The headings of a Markdown cell, combined: their highest level and the text of the last."""

    cell: int
    level: int
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CellRange:
    """A range of code cells that belong into one step.

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
class SplitPoints:
    """The positions among the code cells at which steps begin.

    Parameters
    ----------
    at : set of int
        The places.
    joins : list of CellRange
        The joins, with their reasons.
    """

    at: set[int]
    joins: list[CellRange] = field(default_factory=list)

    def join(self, join: CellRange) -> bool:
        """Remove the split points inside a range, and return whether there were any."""
        inside = {place for place in self.at if join.first < place <= join.last}
        if inside:
            self.at -= inside
            self.joins.append(join)
        return bool(inside)

    def groups(self, units: Sequence[SurveyedCell]) -> list[list[SurveyedCell]]:
        """Return the cells of each step; cells of which nothing remains for a step belong to none."""
        groups: list[list[SurveyedCell]] = []
        begun = False
        for unit in units:
            begun = begun or unit.at in self.at
            if unit.is_left:
                if begun or not groups:
                    groups.append([])
                groups[-1].append(unit)
                begun = False
        return groups


def headings(document: NotebookDocument) -> list[MarkdownHeading]:
    """Return the headings of levels 1 to 3."""
    return [
        heading for cell in document.cells if cell.kind == "markdown" for heading in _headings(cell.number, cell.source)
    ]


def _headings(number: int, text: str) -> Iterator[MarkdownHeading]:
    levels_and_texts = []
    fenced = False
    for line in text.split("\n"):
        # In a code block, `#` begins a comment.
        fenced = fenced != bool(_FENCE.match(line))
        match = None if fenced else _HEADING.match(line)
        if match:
            level = len(match[1]) if match[1] else int(match[3])
            levels_and_texts.append((level, match[2] or match[4]))
    if levels_and_texts:
        yield MarkdownHeading(
            cell=number, level=min(level for level, _ in levels_and_texts), text=levels_and_texts[-1][1]
        )


def first_split_points(survey: CellSurvey) -> SplitPoints:
    """Return the first split points, before the data flow is known."""
    all_headings = headings(survey.document)
    candidates = [
        SplitPoints(
            at={_first_code_cell_after(survey, heading.cell) for heading in all_headings if heading.level <= level}
        )
        for level in (3, 2, 1)
    ]
    counts = [len(split_points.groups(survey.units)) for split_points in candidates]
    # The most detailed level with a readable number of steps, else the least detailed of those with too many.
    fitting = [
        split_points for split_points, count in zip(candidates, counts, strict=True) if _MIN_STEPS <= count <= MAX_STEPS
    ]
    large = [split_points for split_points, count in zip(candidates, counts, strict=True) if count > MAX_STEPS]
    split_points = fitting[0] if fitting else large[-1] if large else candidates[0]
    if len(split_points.groups(survey.units)) < _MIN_STEPS:
        split_points.at |= flow_split_points(survey).at
    _limit(split_points, survey.units)
    return split_points


def _first_code_cell_after(survey: CellSurvey, cell: int) -> int:
    """Return the place of the first code cell after a cell."""
    return next((unit.at for unit in survey.units if unit.cell.number > cell), len(survey.units))


def _limit(split_points: SplitPoints, units: Sequence[SurveyedCell]) -> None:
    """Join the two neighbours with the fewest cells until there are no more steps than `MAX_STEPS`."""
    while len(groups := split_points.groups(units)) > MAX_STEPS:
        sizes = [len(group) + len(following) for group, following in pairwise(groups)]
        index = sizes.index(min(sizes))
        split_points.join(
            CellRange(
                first=groups[index][0].at, last=groups[index + 1][-1].at, why="a pipeline of more steps is hard to read"
            )
        )


def flow_split_points(survey: CellSurvey) -> SplitPoints:
    """Return places at about regular distances where the fewest names are passed on."""
    remaining = [unit for unit in survey.units if unit.is_left]
    count = min(len(remaining) // _CELLS_PER_STEP, MAX_STEPS - 4)
    if count < 2:
        return SplitPoints(at=set())
    width = len(remaining) / count
    flows = [_crossing(remaining, place) for place in range(len(remaining))]
    places: set[int] = set()
    for number in range(1, count):
        middle = round(number * width)
        nearby = range(max(middle - round(width / 3), 1), min(middle + round(width / 3) + 1, len(remaining)))
        # Within a third of the distance, a cut that few names cross is worth more than steps of equal length.
        places.add(min(nearby, key=lambda place: (flows[place], abs(place - middle))))
    return SplitPoints(at={remaining[place].at for place in places})


def _crossing(units: Sequence[SurveyedCell], place: int) -> int:
    """Return how many names that are bound before a place are read after it before they are bound again."""
    bound = {name for unit in units[:place] for name in unit.names.binds}
    read: set[str] = set()
    rebound: set[str] = set()
    for unit in units[place:]:
        read |= {name for name in unit.names.reads if name in bound and name not in rebound}
        rebound |= set(unit.names.binds)
    return len(read)
