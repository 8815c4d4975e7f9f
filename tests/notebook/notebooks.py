"""Build notebooks from texts, and read them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from jupyter_pipelines.errors import Diagnostic
from jupyter_pipelines.notebook.reader import read
from jupyter_pipelines.notebook.source.document import NotebookCell, NotebookDocument
from jupyter_pipelines.notebook.source.read_result import ReadResult
from jupyter_pipelines.pipeline.graph import Pipeline
from jupyter_pipelines.pipeline.step import Step


def document(*cells: str, folder: Path | None = None) -> NotebookDocument:
    """Return a notebook of code cells; a text that begins with ``#md`` is a Markdown cell."""
    made = (
        NotebookCell(number=n, id=f"c{n}", kind="markdown" if text.startswith("#md") else "code", source=text)
        for n, text in enumerate(cells, start=1)
    )
    return NotebookDocument(path=folder / "book.ipynb" if folder else None, cells=tuple(made))


def reading(*cells: str, folder: Path | None = None, texts: Mapping[str, str] | None = None) -> ReadResult:
    return read(document(*cells, folder=folder), texts=texts)


def diagnostics(*cells: str, folder: Path | None = None) -> tuple[Diagnostic, ...]:
    return reading(*cells, folder=folder).faults


def codes(*cells: str, folder: Path | None = None) -> list[str]:
    return [diagnostic.code for diagnostic in diagnostics(*cells, folder=folder)]


def only_diagnostic(*cells: str, folder: Path | None = None) -> Diagnostic:
    """Return the only diagnostic of a notebook."""
    (diagnostic,) = diagnostics(*cells, folder=folder)
    return diagnostic


def pipeline(*cells: str, folder: Path | None = None) -> Pipeline:
    """Return what a notebook without errors was read into."""
    reading_result = reading(*cells, folder=folder)
    assert reading_result.pipeline is not None, "\n\n".join(map(str, reading_result.faults))
    return reading_result.pipeline


def step(*cells: str, folder: Path | None = None) -> Step:
    """Return the last step of a notebook without errors."""
    return pipeline(*cells, folder=folder).steps[-1]


def shape(step: Step) -> tuple[dict[str, str], list[str]]:
    """Return where each input of a step comes from, and what it makes."""
    return {item.name: str(item.source) for item in step.inputs}, [item.name for item in step.outputs]


def shared(step: Step) -> list[str]:
    """Return the names of the shared code that a step reaches."""
    return [piece.name for piece in step.shared]
