"""Connecting steps: an output becomes an input of another step, as when it is dragged onto the step."""

from __future__ import annotations

from dataclasses import replace

from jupyter_pipelines.errors import Diagnostic, PlanError
from jupyter_pipelines.notebook.editing.header_text import HeaderFields, header_fields, with_header
from jupyter_pipelines.notebook.editing.write_header import EditResult
from jupyter_pipelines.notebook.freeze import inferred_options
from jupyter_pipelines.notebook.reader import read
from jupyter_pipelines.notebook.source.document import NotebookDocument
from jupyter_pipelines.pipeline.artifacts import StepOutputRef
from jupyter_pipelines.pipeline.graph import Pipeline
from jupyter_pipelines.pipeline.step import Step


def connect(document: NotebookDocument, source: str, target: str) -> EditResult:
    """Return the cells with the output `source` (``STEP.NAME``) declared as an input of the step `target`.

    Raises
    ------
    PlanError
        There is no such output or step (JP603); the step takes it already, or takes another thing of that name
        (JP604); steps would wait for each other (JP102).
    """
    reading = read(document)
    if reading.pipeline is None:
        raise PlanError(*(fault for fault in reading.faults if fault.severity == "error"))
    producer, _, output = source.partition(".")
    pipeline = reading.pipeline
    if (
        producer not in pipeline
        or target not in pipeline
        or output not in {declared_output.name for declared_output in pipeline[producer].outputs}
    ):
        raise PlanError(_unknown(source, target))
    cell = next((cell for cell in document.cells if cell.id and cell.id == pipeline[target].cells[0].id), None)
    header = header_fields(cell.source) if cell else None
    if cell is None or cell.id is None or header is None:
        raise PlanError(_unwritable(target))
    item = _item(pipeline, target, producer, output)
    new_header = replace(header, options={**header.options, "in": [*_inputs(header, pipeline[target]), item]})
    changes = {cell.id: with_header(cell.source, new_header)}
    # Read again before anything changes: only the whole notebook shows whether the steps would form a cycle.
    after = read(document.with_texts(changes))
    errors = [fault for fault in after.faults if fault.severity == "error"]
    if errors:
        raise PlanError(*errors)
    return EditResult(cells=changes, faults=after.faults)


def _inputs(header: HeaderFields, step: Step) -> list[str]:
    """Return the inputs as header items; inferred ones, too, as they are lost once a single input is declared."""
    if "in" in header.options:
        return list(header.options["in"])
    return inferred_options(step).get("in", "").split()


def _item(pipeline: Pipeline, target: str, producer: str, output: str) -> str:
    sources = {step_input.name: step_input.source for step_input in pipeline[target].inputs}
    upstream = StepOutputRef(step=producer, output=output)
    if upstream in sources.values():
        raise PlanError(
            Diagnostic(
                code="JP604",
                message=f"step `{target}` takes `{producer}.{output}` already",
                suggestion="choose another output or another step",
            )
        )
    # Written in full where the name alone would mean something else, or nothing yet.
    return output if output not in sources else f"{producer.replace('-', '_')}_{output}={producer}.{output}"


def _unknown(source: str, target: str) -> Diagnostic:
    return Diagnostic(
        code="JP603",
        message=f"there is no output `{source}` or no step `{target}`",
        suggestion="write STEP.NAME of an output, and the name of a step",
    )


def _unwritable(target: str) -> Diagnostic:
    return Diagnostic(
        code="JP604",
        message=f"step `{target}` has no header that could be written to",
        suggestion="give its first cell a line `%%step NAME`",
    )
