"""Repair of a pipeline that differs from its original: steps to join, or outputs to add."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from jupyter_pipelines.errors import Diagnostic
from jupyter_pipelines.notebook.converting.conversion_types import ConvertedNotebook, ConvertedStep, RepairHints

Repair = tuple[RepairHints, str] | None
_NAME = re.compile(r"`([^`]+)`")


def repair_for_difference(conversion: ConvertedNotebook, cell: int, hints: RepairHints) -> Repair:
    """Return the repair for a cell with other outputs: join its step with the producer of its inputs."""
    step = conversion.step_of(cell)
    if cell not in hints.spoken and (step is None or cell in conversion.shared or cell in conversion.settings):
        return repair_for_warnings(frozenset({cell}), hints)
    if step is None:
        if cell in hints.whole:
            return None
        return replace(hints, whole=hints.whole | {cell}), f"cell {cell} shows something by itself and stays whole"
    return _join(conversion, step, hints, f"cell {cell} showed something else")


def repair_for_failure(conversion: ConvertedNotebook, failed: Any, hints: RepairHints) -> Repair:
    """Return the repair for a step that failed."""
    step = next(candidate for candidate in conversion.steps if candidate.name == failed.name)
    fault: Diagnostic | None = failed.fault
    message = fault.message if fault else ""
    names = _NAME.findall(message)
    if fault is not None and fault.code == "JP307":
        changed = next((name for name in names if name in step.inputs), None)
        if changed is not None:
            forced = {**hints.forced, step.cells[0]: hints.forced.get(step.cells[0], frozenset()) | {changed}}
            return replace(hints, forced=forced), f"step `{step.name}` changes `{changed}`"
    if fault is not None and fault.code == "JP205":
        users = [
            user for user in conversion.steps if step.name in user.sources.values() and set(names) & set(user.sources)
        ]
        if users:
            return _join_pair(step, users[-1], hints, f"`{names[0]}` cannot be stored")
    # Errors that occur when an import has a side effect, such as registering an accessor or a codec.
    if not hints.imports_everywhere and failed.error_type in (
        "AttributeError",
        "ValueError",
        "KeyError",
        "NameError",
    ):
        return replace(hints, imports_everywhere=True), "what imports do may be needed in every step"
    return _join(conversion, step, hints, f"step `{step.name}` failed: {message}"[:200])


def repair_for_warnings(cells: frozenset[int], hints: RepairHints) -> Repair:
    """Return the repair for warnings shown where shared code runs: the imports of their cells stay in the step."""
    if not cells:
        return None
    numbers = ", ".join(map(str, sorted(cells)))
    return replace(hints, spoken=hints.spoken | cells), f"what imports and settings say in cell {numbers} stays there"


def repair_for_fault(conversion: ConvertedNotebook, faults: Sequence[Diagnostic], hints: RepairHints) -> Repair:
    """Return the repair for a pipeline that cannot be read: join the steps that its faults name."""
    for fault in faults:
        step = next((candidate for candidate in conversion.steps if candidate.name == fault.step), None)
        if step is None:
            continue
        named = [
            other for other in conversion.steps if other.name in _NAME.findall(fault.message) and other is not step
        ]
        why = f"step `{step.name}`: {fault.message}"[:200]
        return _join_pair(step, named[0], hints, why) if named else _join(conversion, step, hints, why)
    return None


def _join(conversion: ConvertedNotebook, step: ConvertedStep, hints: RepairHints, why: str) -> Repair:
    """Join a step with the nearest producer of its inputs, else with the step before it."""
    index = conversion.steps.index(step)
    if len(conversion.steps) == 1:
        return None
    producer_indices = [
        conversion.steps.index(producer) for producer in conversion.steps if producer.name in step.sources.values()
    ]
    # The nearest producer: joining spans all cells between the two, and the fewer the better.
    other = max(producer_indices) if producer_indices else index - 1 if index else 1
    return _join_pair(conversion.steps[other], step, hints, why)


def _join_pair(first: ConvertedStep, second: ConvertedStep, hints: RepairHints, why: str) -> Repair:
    cells = sorted([first.cells[0], first.cells[-1], second.cells[0], second.cells[-1]])
    join = (cells[0], cells[-1], why)
    return replace(hints, joins=(*hints.joins, join)), f"{why}: `{first.name}` and `{second.name}` are joined"
