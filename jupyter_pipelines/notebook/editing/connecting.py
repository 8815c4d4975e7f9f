"""An output becomes an input of another step: what dragging one onto the other means."""

from __future__ import annotations

from dataclasses import replace

from jupyter_pipelines.errors import Fault, PlanError
from jupyter_pipelines.notebook.document import Document
from jupyter_pipelines.notebook.editing.spelling import Said, said_by, with_header
from jupyter_pipelines.notebook.editing.writing import Written
from jupyter_pipelines.notebook.freezing import inferred_options
from jupyter_pipelines.notebook.reading import read
from jupyter_pipelines.pipeline.data import Upstream
from jupyter_pipelines.pipeline.graph import Pipeline
from jupyter_pipelines.pipeline.step import Step


def connect(document: Document, source: str, target: str) -> Written:
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
    maker, _, output = source.partition(".")
    pipeline = reading.pipeline
    if maker not in pipeline or target not in pipeline or output not in {one.name for one in pipeline[maker].outputs}:
        raise PlanError(_unknown(source, target))
    cell = next((one for one in document.cells if one.id and one.id == pipeline[target].cells[0].id), None)
    said = said_by(cell.source) if cell else None
    if cell is None or cell.id is None or said is None:
        raise PlanError(_unwritable(target))
    item = _item(pipeline, target, maker, output)
    wanted = replace(said, options={**said.options, "in": [*_inputs(said, pipeline[target]), item]})
    changes = {cell.id: with_header(cell.source, wanted)}
    after = read(document.with_texts(changes))
    errors = [fault for fault in after.faults if fault.severity == "error"]
    if errors:
        raise PlanError(*errors)
    return Written(cells=changes, faults=after.faults)


def _inputs(said: Said, step: Step) -> list[str]:
    """Return the inputs as a header spells them; those that are inferred would be lost if only one were declared."""
    if "in" in said.options:
        return list(said.options["in"])
    return inferred_options(step).get("in", "").split()


def _item(pipeline: Pipeline, target: str, maker: str, output: str) -> str:
    taken = {one.name: one.source for one in pipeline[target].inputs}
    wanted = Upstream(step=maker, output=output)
    if wanted in taken.values():
        raise PlanError(
            Fault(
                code="JP604",
                message=f"step `{target}` takes `{maker}.{output}` already",
                suggestion="choose another output or another step",
            )
        )
    # Said at length where the name alone would mean something else, or nothing yet.
    return output if output not in taken else f"{maker.replace('-', '_')}_{output}={maker}.{output}"


def _unknown(source: str, target: str) -> Fault:
    return Fault(
        code="JP603",
        message=f"there is no output `{source}` or no step `{target}`",
        suggestion="write STEP.NAME of an output, and the name of a step",
    )


def _unwritable(target: str) -> Fault:
    return Fault(
        code="JP604",
        message=f"step `{target}` has no header that could be written to",
        suggestion="give its first cell a line `%%step NAME`",
    )
