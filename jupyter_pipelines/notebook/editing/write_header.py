"""Writing the header of a cell, with the faults that the notebook has afterwards."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from jupyter_pipelines.errors import Diagnostic, PlanError
from jupyter_pipelines.notebook.editing.header_text import Form, HeaderFields, bound_names, header_fields, with_header
from jupyter_pipelines.notebook.freeze import inferred_options
from jupyter_pipelines.notebook.headers.options import BY_KEY
from jupyter_pipelines.notebook.headers.split import split_cell
from jupyter_pipelines.notebook.reader import read
from jupyter_pipelines.notebook.source.document import NotebookCell, NotebookDocument
from jupyter_pipelines.pipeline.step import Step

_HEADING = re.compile(r"^#{1,6}\s+(.*)$", re.MULTILINE)
_PLACEHOLDER_NAME = "a-step-of-this-name-there-is-not"


@dataclass(frozen=True, slots=True, kw_only=True)
class EditResult:
    """The new texts of cells, by id, and every fault that the notebook has then."""

    cells: Mapping[str, str]
    faults: tuple[Diagnostic, ...] = ()


def code_cell(document: NotebookDocument, cell_id: str) -> NotebookCell:
    """Return the cell with the id `cell_id`.

    Raises
    ------
    PlanError
        There is none, or it holds no code (JP604).
    """
    cell = next((cell for cell in document.cells if cell.id == cell_id), None)
    if cell is None or cell.kind != "code":
        message = "there is no such cell" if cell is None else "only a code cell can be a step"
        raise PlanError(Diagnostic(code="JP604", message=message, suggestion="choose a code cell of this notebook"))
    return cell


def write_header(
    document: NotebookDocument, cell_id: str, name: str, options: Mapping[str, Sequence[str] | None]
) -> EditResult:
    """Make a cell a step, or change the header it has.

    Parameters
    ----------
    document : NotebookDocument
        The notebook.
    cell_id : str
        Id of the cell.
    name : str
        Name of the step.
    options : Mapping of str to sequence of str or None
        What follows each option, by its long name; None leaves it out.

    Raises
    ------
    PlanError
        There is no such cell or option, or a word that a header cannot hold (JP604).
    """
    cell = code_cell(document, cell_id)
    _check_words(name, options)
    before = header_fields(cell.source)
    form: Form = before.form if before else "magic"
    values_by_option = {option: list(words) for option, words in options.items() if words is not None}
    text = with_header(cell.source, HeaderFields(name=name, options=values_by_option, form=form))
    return _edit_result(document, {cell_id: text}, cell.number)


def _check_words(name: str, options: Mapping[str, Sequence[str] | None]) -> None:
    unknown = [option for option in options if option not in BY_KEY]
    if unknown:
        message = f"there is no option `{unknown[0]}`"
        raise PlanError(Diagnostic(code="JP604", message=message, suggestion=f"use one of: {', '.join(BY_KEY)}"))
    words = [name, *(word for values in options.values() for word in values or ())]
    # A line break in a word would end the header, and make code of what follows.
    if any(not word.isprintable() for word in words):
        message = "a header cannot hold line breaks or characters that are not seen"
        raise PlanError(Diagnostic(code="JP604", message=message, suggestion="write names and paths in one line"))


def remove_header(document: NotebookDocument, cell_id: str) -> EditResult:
    """Make a step's cell an ordinary cell again."""
    cell = code_cell(document, cell_id)
    return _edit_result(document, {cell_id: with_header(cell.source, None)}, cell.number)


def freeze(document: NotebookDocument) -> EditResult:
    """Write inferred interfaces into the headers of all steps; no file is written."""
    reading = read(document)
    changes: dict[str, str] = {}
    cells = {cell.number: cell for cell in document.cells}
    for step in reading.pipeline or ():
        options = inferred_options(step)
        cell = cells.get(step.cells[0].number)
        header = header_fields(cell.source) if cell else None
        if options and cell and cell.id and header:
            inferred = {name: items.split() for name, items in options.items()}
            changes[cell.id] = with_header(cell.source, replace(header, options={**header.options, **inferred}))
    return EditResult(cells=changes, faults=reading.faults)


def suggest(document: NotebookDocument, cell_id: str) -> dict[str, Any]:
    """Return the initial content of a form: fields of the header, inferred options, and a default name."""
    cell = code_cell(document, cell_id)
    header = header_fields(cell.source)
    name = header.name if header else ""
    bare = HeaderFields(name=name or _PLACEHOLDER_NAME, form=header.form if header else "magic")
    reading = read(document.with_texts({cell_id: with_header(cell.source, bare)}))
    step = next(
        (step for step in reading.pipeline or () if any(step_cell.id == cell_id for step_cell in step.cells)), None
    )
    return {
        "name": name or _default_name(document, cell, step),
        "step": header is not None,
        "options": {option: list(words) for option, words in header.options.items()} if header else {},
        "inferred": _interface(step),
        "steps": [other.name for other in reading.pipeline or () if other.name != bare.name],
    }


def _interface(step: Step | None) -> dict[str, list[str]]:
    if step is None:
        return {"in": [], "out": [], "param": []}
    inferred = {name: items.split() for name, items in inferred_options(step).items()}
    return {name: inferred.get(name, []) for name in ("in", "out", "param")}


def _default_name(document: NotebookDocument, cell: NotebookCell, step: Step | None) -> str:
    """Return a name from the heading above, or from an output of the cell; one that no step has yet."""
    above = [
        markdown_cell
        for markdown_cell in document.cells
        if markdown_cell.number < cell.number and markdown_cell.kind == "markdown"
    ]
    heading = _HEADING.findall(above[-1].source)[-1:] if above and above[-1].number == cell.number - 1 else []
    produced = [output.name for output in step.outputs[:1]] if step else []
    for text in (*heading, *produced, *bound_names(cell.source)[:1], "step"):
        name = re.sub(r"[^A-Za-z0-9]+", "-", text).strip("-").lower()[:40]
        if name:
            return _unused(document, name)
    return _unused(document, "step")


def _unused(document: NotebookDocument, name: str) -> str:
    # Names of steps that differ only in case are an error.
    names = {header.name.lower() for cell in document.cells if (header := header_fields(cell.source)) is not None}
    number, candidate = 2, name
    while candidate.lower() in names:
        candidate, number = f"{name}-{number}", number + 1
    return candidate


def _edit_result(document: NotebookDocument, cells: Mapping[str, str], number: int) -> EditResult:
    """Return the edited texts with the faults of the cell: those of its header if there are any, else all."""
    (text,) = cells.values()
    header = split_cell(text, number).faults
    faults = header or tuple(
        fault for fault in read(document.with_texts(cells)).faults if fault.place and fault.place.cell == number
    )
    return EditResult(cells=cells, faults=faults)
