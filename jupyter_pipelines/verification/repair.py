"""Repair of a pipeline that differs from its original: steps to join, or outputs to add."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from jupyter_pipelines.errors import Diagnostic
from jupyter_pipelines.notebook.converting.conversion import ConvertedNotebook, ConvertedStep, RepairHints

Learnt = tuple[RepairHints, str] | None
_NAME = re.compile(r"`([^`]+)`")


def learn_from_difference(made: ConvertedNotebook, cell: int, lessons: RepairHints) -> Learnt:
    """Return the repair for a cell that shows something else: join its step with the step it takes from."""
    step = made.step_of(cell)
    if cell not in lessons.spoken and (step is None or cell in made.shared or cell in made.settings):
        return learn_from_warnings(frozenset({cell}), lessons)
    if step is None:
        if cell in lessons.whole:
            return None
        return replace(lessons, whole=lessons.whole | {cell}), f"cell {cell} shows something by itself and stays whole"
    return _join(made, step, lessons, f"cell {cell} showed something else")


def learn_from_failure(made: ConvertedNotebook, failed: Any, lessons: RepairHints) -> Learnt:
    """Return the repair for a step that failed."""
    step = next(candidate for candidate in made.steps if candidate.name == failed.name)
    fault: Diagnostic | None = failed.fault
    message = fault.message if fault else ""
    names = _NAME.findall(message)
    if fault is not None and fault.code == "JP307":
        changed = next((name for name in names if name in step.inputs), None)
        if changed is not None:
            forced = {**lessons.forced, step.cells[0]: lessons.forced.get(step.cells[0], frozenset()) | {changed}}
            return replace(lessons, forced=forced), f"step `{step.name}` changes `{changed}`"
    if fault is not None and fault.code == "JP205":
        users = [user for user in made.steps if step.name in user.sources.values() and set(names) & set(user.sources)]
        if users:
            return _join_pair(step, users[-1], lessons, f"`{names[0]}` cannot be stored")
    if not lessons.imports_everywhere and failed.error_type in (
        "AttributeError",
        "ValueError",
        "KeyError",
        "NameError",
    ):
        return replace(lessons, imports_everywhere=True), "what imports do may be needed in every step"
    return _join(made, step, lessons, f"step `{step.name}` failed: {message}"[:200])


def learn_from_warnings(cells: frozenset[int], lessons: RepairHints) -> Learnt:
    """Return the repair for warnings shown where shared code runs: the imports of their cells stay in the step."""
    if not cells:
        return None
    numbers = ", ".join(map(str, sorted(cells)))
    return replace(
        lessons, spoken=lessons.spoken | cells
    ), f"what imports and settings say in cell {numbers} stays there"


def learn_from_fault(made: ConvertedNotebook, faults: Sequence[Diagnostic], lessons: RepairHints) -> Learnt:
    """Return the repair for a pipeline that cannot be read: join the steps that its faults name."""
    for fault in faults:
        step = next((candidate for candidate in made.steps if candidate.name == fault.step), None)
        if step is None:
            continue
        named = [other for other in made.steps if other.name in _NAME.findall(fault.message) and other is not step]
        why = f"step `{step.name}`: {fault.message}"[:200]
        return _join_pair(step, named[0], lessons, why) if named else _join(made, step, lessons, why)
    return None


def _join(made: ConvertedNotebook, step: ConvertedStep, lessons: RepairHints, why: str) -> Learnt:
    """Join a step with the nearest producer of its inputs, else with the step before it."""
    index = made.steps.index(step)
    if len(made.steps) == 1:
        return None
    taken = [made.steps.index(producer) for producer in made.steps if producer.name in step.sources.values()]
    other = max(taken) if taken else index - 1 if index else 1
    return _join_pair(made.steps[other], step, lessons, why)


def _join_pair(first: ConvertedStep, second: ConvertedStep, lessons: RepairHints, why: str) -> Learnt:
    cells = sorted([first.cells[0], first.cells[-1], second.cells[0], second.cells[-1]])
    join = (cells[0], cells[-1], why)
    return replace(lessons, joins=(*lessons.joins, join)), f"{why}: `{first.name}` and `{second.name}` are joined"
