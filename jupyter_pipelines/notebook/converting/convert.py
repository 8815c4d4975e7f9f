"""Conversion of a notebook: survey its cells, split them into steps, join where a split is impossible, write."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

from jupyter_pipelines.notebook.converting import statement_features
from jupyter_pipelines.notebook.converting.cell_survey import CellSurvey, survey
from jupyter_pipelines.notebook.converting.compose import PipelineNotebookComposer, names_bound
from jupyter_pipelines.notebook.converting.conversion_types import (
    ConvertedNotebook,
    ConvertedStep,
    ConvertOptions,
    RepairHints,
)
from jupyter_pipelines.notebook.converting.converted_interfaces import StepCandidate, infer_steps, obstacles
from jupyter_pipelines.notebook.converting.display_cells import only_shows
from jupyter_pipelines.notebook.converting.global_settings import hoist_settings
from jupyter_pipelines.notebook.converting.observation import CellTrace
from jupyter_pipelines.notebook.converting.split_points import CellRange, SplitPoints, first_split_points, headings
from jupyter_pipelines.notebook.converting.step_names import name_steps
from jupyter_pipelines.notebook.source.document import NotebookDocument
from jupyter_pipelines.notebook.step_notebook import DEFAULT_KERNEL

# Each round removes at least one of the few splits: the limit only guards against an endless loop.
_MAX_ROUNDS = 200


def convert(
    document: NotebookDocument,
    *,
    seen: Mapping[int, CellTrace] | None = None,
    raises: frozenset[int] = frozenset(),
    options: ConvertOptions | None = None,
    hints: RepairHints | None = None,
) -> ConvertedNotebook:
    """Convert a notebook; nothing is executed.

    Parameters
    ----------
    document : NotebookDocument
        The notebook.
    seen : Mapping of int to CellTrace
        What its cells did in a rehearsal, by their number; without it, steps are wider.
    raises : frozenset of int
        Cells whose exceptions are part of what the notebook shows.
    options : ConvertOptions
        Options that the user gave.
    hints : RepairHints
        Findings from runs of earlier conversions.
    """
    options, hints = options or ConvertOptions(), hints or RepairHints()
    cell_survey = survey(document, seen or {}, keep_whole=hints.whole | raises, spoken=hints.spoken)
    for unit in cell_survey.units if options.drop_display else ():
        unit.dropped = unit.cell.number not in raises and only_shows(cell_survey, unit)
    split_points = _requested_splits(cell_survey, options) if options.names else first_split_points(cell_survey)
    for first, last, why in hints.joins:
        split_points.join(
            CellRange(first=_position_of(cell_survey, first), last=_position_of(cell_survey, last), why=why)
        )
    parts = _steps_without_obstacles(cell_survey, split_points, hints)
    names = _names(cell_survey, parts, options)
    writer = PipelineNotebookComposer(
        cell_survey,
        parts,
        names,
        raises=raises,
        options=options,
        imports_everywhere=hints.imports_everywhere,
        wavering=hints.wavering,
    )
    notebook = {"cells": writer.compose(), "metadata": _metadata(document), "nbformat": 4, "nbformat_minor": 5}
    return _conversion(cell_survey, parts, names, split_points, writer, notebook)


def _position_of(cell_survey: CellSurvey, cell: int) -> int:
    """Return the place among the code cells of `cell`, or of the first code cell after it."""
    return next((unit.at for unit in cell_survey.units if unit.cell.number >= cell), len(cell_survey.units) - 1)


def _requested_splits(cell_survey: CellSurvey, options: ConvertOptions) -> SplitPoints:
    return SplitPoints(at={_position_of(cell_survey, cell) for cell in options.names})


def _steps_without_obstacles(
    cell_survey: CellSurvey, split_points: SplitPoints, hints: RepairHints
) -> list[StepCandidate]:
    """Return the steps, joined until no remaining split has an obstacle."""
    forced = {_position_of(cell_survey, cell): names for cell, names in hints.forced.items()}
    for _ in range(_MAX_ROUNDS):
        # Settings were moved for the groups of the last round, which may have been joined since.
        for unit in cell_survey.units:
            unit.settle()
        hoist_settings(cell_survey, split_points.groups(cell_survey.units))
        parts = infer_steps(cell_survey, split_points.groups(cell_survey.units), forced=forced)
        # A list, as every join has to be made: `any` alone would stop at the first.
        joined = [split_points.join(join) for join in obstacles(cell_survey, parts)]
        if not any(joined) and not _join_idle(cell_survey, split_points, parts):
            break
    return parts


def _join_idle(cell_survey: CellSurvey, split_points: SplitPoints, parts: Sequence[StepCandidate]) -> bool:
    """Join a step that only sets seeds with the next step."""
    for part, following in pairwise(parts):
        chunks = [chunk for unit in part.units for chunk in unit.rest if chunk.body]
        if chunks and all(statement_features.sets_seed(chunk.body, cell_survey.imported) for chunk in chunks):
            return split_points.join(CellRange(first=part.first, last=following.first, why="a seed alone is no step"))
    return False


def _names(cell_survey: CellSurvey, parts: Sequence[StepCandidate], options: ConvertOptions) -> list[str]:
    names_by_place = {_position_of(cell_survey, cell): name for cell, name in options.names.items() if name}
    names = name_steps(parts, headings(cell_survey.document))
    for part in parts:
        candidates = [name for place, name in sorted(names_by_place.items()) if place <= part.first]
        fits = candidates and candidates[-1] not in names[: part.at]
        names[part.at] = candidates[-1] if fits else names[part.at]
    return names


def _metadata(document: NotebookDocument) -> dict[str, Any]:
    name = document.kernel or DEFAULT_KERNEL
    return {
        "kernelspec": {"display_name": name, "language": "python", "name": name},
        "language_info": {"name": "python"},
    }


def _conversion(
    cell_survey: CellSurvey,
    parts: Sequence[StepCandidate],
    names: Sequence[str],
    split_points: SplitPoints,
    writer: PipelineNotebookComposer,
    notebook: dict[str, Any],
) -> ConvertedNotebook:
    return ConvertedNotebook(
        notebook=notebook,
        steps=tuple(_converted_step(part, names, split_points, writer.uncached.get(part.at, "")) for part in parts),
        parameters=tuple(
            (name, ast_value(chunk), unit.cell.number)
            for unit in cell_survey.units
            for chunk in unit.tuned
            for name in chunk.names.binds
        ),
        shared={
            unit.cell.number: tuple(name for chunk in unit.shared for name in chunk.names.binds)
            for unit in cell_survey.units
            if unit.shared
        },
        settings=tuple(dict.fromkeys(writer.settings)),
        bound=len(set(names_bound(parts))),
        dropped=tuple(writer.dropped),
    )


def _converted_step(
    part: StepCandidate, names: Sequence[str], split_points: SplitPoints, uncached: str
) -> ConvertedStep:
    why = [join.why for join in split_points.joins if part.first <= join.last and join.first <= part.last]
    return ConvertedStep(
        name=names[part.at],
        cells=tuple(unit.cell.number for unit in part.units),
        inputs=tuple(part.inputs),
        outputs=tuple(part.outputs),
        sources={name: names[source] for name, source in part.sources.items()},
        why=tuple(dict.fromkeys(why)),
        uncached=uncached,
    )


def ast_value(chunk: Any) -> object:
    """Return the value of a literal assignment."""
    from jupyter_pipelines.notebook.parameters.literals import literal

    return literal(chunk.body[0].value)
