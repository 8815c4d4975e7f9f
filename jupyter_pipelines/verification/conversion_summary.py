"""Summary text of a conversion: steps, parameters, shared code, reasons for joining steps, and the verdict."""

from __future__ import annotations

from collections.abc import Iterator

from jupyter_pipelines.notebook.converting.conversion_types import ConvertedNotebook, ConvertedStep
from jupyter_pipelines.verification.results import VerificationResult

_SHOWN = 12


def conversion_summary(result: VerificationResult) -> str:
    """Return the summary of a conversion, for a terminal."""
    lines = [result.verdict]
    if result.conversion is not None:
        lines += ["", *_summary_lines(result.conversion)]
    if result.joined:
        lines += ["", "joined after a trial:", *(f"  {reason}" for reason in result.joined)]
    lines += [
        line
        for cell in result.cells
        if cell.state == "differs"
        for line in _difference(cell.cell, cell.before, cell.after)
    ]
    if result.written:
        lines += ["", f"{result.written} written"]
    return "\n".join(lines)


def _summary_lines(conversion: ConvertedNotebook) -> Iterator[str]:
    steps = f"{len(conversion.steps)} step{'s' * (len(conversion.steps) != 1)}"
    yield f"{steps}; {conversion.passed} of {conversion.bound} names passed on"
    for step in conversion.steps:
        yield from _step(step)
    if conversion.parameters:
        yield "parameters: " + ", ".join(
            f"{name} = {value!r} (cell {cell})" for name, value, cell in conversion.parameters
        )
    if conversion.shared:
        names = [name for cell_names in conversion.shared.values() for name in cell_names]
        omitted = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
        yield f"shared code: {', '.join(names[:_SHOWN])}{omitted}"
    if conversion.settings:
        yield f"setup: settings of cells {', '.join(map(str, conversion.settings))}"
    if conversion.dropped:
        yield f"left out, as they only show something: cells {', '.join(map(str, conversion.dropped))}"


def _step(step: ConvertedStep) -> Iterator[str]:
    flow = [f"in: {' '.join(step.inputs)}"] if step.inputs else []
    flow += [f"out: {' '.join(step.outputs)}"] if step.outputs else []
    yield f"  {step.name} (cells {_ranges(step.cells)})  {'; '.join(flow)}".rstrip()
    yield from (f"    joined: {why}" for why in step.why)
    if step.uncached:
        yield f"    --no-cache: {step.uncached}"


def _ranges(cells: tuple[int, ...]) -> str:
    return str(cells[0]) if len(cells) == 1 else f"{cells[0]}-{cells[-1]}"


def _difference(cell: int, before: str, after: str) -> Iterator[str]:
    yield f"\ncell {cell} shows in the original:"
    yield from (f"  {line}" for line in before.split("\n")[:_SHOWN])
    yield "and in the pipeline:"
    yield from (f"  {line}" for line in after.split("\n")[:_SHOWN])
