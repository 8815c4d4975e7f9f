"""Preconditions of a conversion: obstacles that are reported before anything runs."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

from jupyter_pipelines.errors import Diagnostic, SourceLocation
from jupyter_pipelines.notebook.code.cell_code import parse_code
from jupyter_pipelines.notebook.converting.rewrites import RESET
from jupyter_pipelines.notebook.headers.split import split_cell
from jupyter_pipelines.notebook.source.document import NotebookCell, NotebookDocument

_PYTHON = frozenset({"python", "ipython", "python3"})
_NO_EFFECT = ("#", "%", "import ", "from ")
_NUMBERED = re.compile(r"_i?\d+|In|Out|_[iod]h|_i{1,3}")


def refusals(document: NotebookDocument) -> tuple[Diagnostic, ...]:
    """Return why a notebook cannot be converted; empty when no obstacle is known."""
    name = str(document.path) if document.path else None
    if document.language not in _PYTHON:
        return (
            _refusal(f"the notebook is in {document.language}", "steps are Python; call other programs from it", name),
        )
    cells = [cell for cell in document.cells if cell.kind == "code" and cell.source.strip()]
    if not cells:
        return (_refusal("the notebook has no code", "there is nothing to convert", name),)
    faults = [fault for cell in cells for fault in (*_cell_refusals(cell, name), *_name_resets(cell, cells[0], name))]
    # A pipeline has many steps: this is reported for the first step only.
    return tuple({(fault.message, fault.suggestion): fault for fault in reversed(faults)}.values())[::-1]


def _name_resets(cell: NotebookCell, first: NotebookCell, name: str | None) -> Iterator[Diagnostic]:
    """Yield a refusal where a cell resets the namespace; a reset before any name is bound has no effect."""
    match = RESET.search(cell.source)
    before = [line.strip() for line in cell.source[: match.start()].split("\n")] if match else []
    if match and not (cell is first and all(not line or line.startswith(_NO_EFFECT) for line in before)):
        message = f"cell {cell.number} forgets all names: a step hands on what names hold"
        place = SourceLocation(cell=cell.number, line=cell.source.count("\n", 0, match.start()) + 1)
        yield _refusal(message, "take it out, or delete single names with `del`", name, place)


def _cell_refusals(cell: NotebookCell, name: str | None) -> Iterator[Diagnostic]:
    header = split_cell(cell.source, cell.number).header
    if header is not None and header.kind == "step":
        place = SourceLocation(cell=cell.number, line=1)
        yield _refusal("the notebook has steps already", "run it: `jupyter pipelines run NOTEBOOK`", name, place)
    tree = parse_code(cell.source).tree
    for node in ast.walk(tree) if tree else ():
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load) and _NUMBERED.fullmatch(node.id):
            message = f"cell {cell.number} uses `{node.id}`: numbers of cells are others in a pipeline"
            line = cell.source.split("\n")[node.lineno - 1]
            place = SourceLocation(
                cell=cell.number, line=node.lineno, column=node.col_offset, length=len(node.id), text=line
            )
            yield _refusal(message, "give the value a name where it is computed, and use that", name, place)
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "input":
            place = SourceLocation(cell=cell.number, line=node.lineno)
            message = f"cell {cell.number} asks for input, which a run cannot answer"
            yield _refusal(message, "give the answer a name: `answer = …`; it becomes a parameter", name, place)


def _refusal(message: str, suggestion: str, notebook: str | None, place: SourceLocation | None = None) -> Diagnostic:
    return Diagnostic(code="JP701", message=message, suggestion=suggestion, notebook=notebook, place=place)
