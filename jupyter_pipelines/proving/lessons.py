"""What a failed proof teaches: which steps to join, or what a step has to make as well."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from jupyter_pipelines.errors import Fault
from jupyter_pipelines.notebook.converting.conversion import Conversion, Lessons, Made

Learnt = tuple[Lessons, str] | None
_NAME = re.compile(r"`([^`]+)`")


def learn_from_difference(made: Conversion, cell: int, lessons: Lessons) -> Learnt:
    """Return what a cell that shows something else teaches: its step is joined with the one it takes from."""
    step = made.step_of(cell)
    if cell not in lessons.spoken and (step is None or cell in made.shared or cell in made.settings):
        return learn_from_warnings(frozenset({cell}), lessons)
    if step is None:
        if cell in lessons.whole:
            return None
        return replace(lessons, whole=lessons.whole | {cell}), f"cell {cell} shows something by itself and stays whole"
    return _join(made, step, lessons, f"cell {cell} showed something else")


def learn_from_failure(made: Conversion, failed: Any, lessons: Lessons) -> Learnt:
    """Return what a step that failed teaches."""
    step = next(one for one in made.steps if one.name == failed.name)
    fault: Fault | None = failed.fault
    message = fault.message if fault else ""
    names = _NAME.findall(message)
    if fault is not None and fault.code == "JP307":
        changed = next((name for name in names if name in step.inputs), None)
        if changed is not None:
            forced = {**lessons.forced, step.cells[0]: lessons.forced.get(step.cells[0], frozenset()) | {changed}}
            return replace(lessons, forced=forced), f"step `{step.name}` changes `{changed}`"
    if fault is not None and fault.code == "JP205":
        users = [one for one in made.steps if step.name in one.sources.values() and set(names) & set(one.sources)]
        if users:
            return _joined(step, users[-1], lessons, f"`{names[0]}` cannot be stored")
    if not lessons.imports_everywhere and failed.error_type in (
        "AttributeError",
        "ValueError",
        "KeyError",
        "NameError",
    ):
        return replace(lessons, imports_everywhere=True), "what imports do may be needed in every step"
    return _join(made, step, lessons, f"step `{step.name}` failed: {message}"[:200])


def learn_from_warnings(cells: frozenset[int], lessons: Lessons) -> Learnt:
    """Return what warnings teach that are shown where shared code runs: the imports of their cells stay in the step."""
    if not cells:
        return None
    which = ", ".join(map(str, sorted(cells)))
    return replace(lessons, spoken=lessons.spoken | cells), f"what imports and settings say in cell {which} stays there"


def learn_from_fault(made: Conversion, faults: Sequence[Fault], lessons: Lessons) -> Learnt:
    """Return what a pipeline that cannot be read teaches: the steps that are named are joined."""
    for fault in faults:
        step = next((one for one in made.steps if one.name == fault.step), None)
        if step is None:
            continue
        named = [one for one in made.steps if one.name in _NAME.findall(fault.message) and one is not step]
        why = f"step `{step.name}`: {fault.message}"[:200]
        return _joined(step, named[0], lessons, why) if named else _join(made, step, lessons, why)
    return None


def _join(made: Conversion, step: Made, lessons: Lessons, why: str) -> Learnt:
    """Join a step with the nearest that it takes something from, else with the one before it."""
    at = made.steps.index(step)
    if len(made.steps) == 1:
        return None
    taken = [made.steps.index(one) for one in made.steps if one.name in step.sources.values()]
    other = max(taken) if taken else at - 1 if at else 1
    return _joined(made.steps[other], step, lessons, why)


def _joined(one: Made, other: Made, lessons: Lessons, why: str) -> Learnt:
    cells = sorted([one.cells[0], one.cells[-1], other.cells[0], other.cells[-1]])
    join = (cells[0], cells[-1], why)
    return replace(lessons, joins=(*lessons.joins, join)), f"{why}: `{one.name}` and `{other.name}` are joined"
