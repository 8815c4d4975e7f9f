"""Notebooks made of texts, read."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from jupyter_pipelines.errors import Fault
from jupyter_pipelines.notebook.document import Cell, Document
from jupyter_pipelines.notebook.reading import read
from jupyter_pipelines.notebook.result import Reading
from jupyter_pipelines.pipeline.graph import Pipeline
from jupyter_pipelines.pipeline.step import Step


def document(*cells: str, folder: Path | None = None) -> Document:
    """Return a notebook of code cells; a text that begins with ``#md`` is a Markdown cell."""
    made = (
        Cell(number=n, id=f"c{n}", kind="markdown" if text.startswith("#md") else "code", source=text)
        for n, text in enumerate(cells, start=1)
    )
    return Document(path=folder / "book.ipynb" if folder else None, cells=tuple(made))


def reading(*cells: str, folder: Path | None = None, texts: Mapping[str, str] | None = None) -> Reading:
    return read(document(*cells, folder=folder), texts=texts)


def faults(*cells: str, folder: Path | None = None) -> tuple[Fault, ...]:
    return reading(*cells, folder=folder).faults


def codes(*cells: str, folder: Path | None = None) -> list[str]:
    return [fault.code for fault in faults(*cells, folder=folder)]


def only(*cells: str, folder: Path | None = None) -> Fault:
    """Return the one fault of a notebook that has one."""
    (fault,) = faults(*cells, folder=folder)
    return fault


def pipeline(*cells: str, folder: Path | None = None) -> Pipeline:
    """Return what a notebook without errors was read into."""
    found = reading(*cells, folder=folder)
    assert found.pipeline is not None, "\n\n".join(map(str, found.faults))
    return found.pipeline


def step(*cells: str, folder: Path | None = None) -> Step:
    """Return the last step of a notebook without errors."""
    return pipeline(*cells, folder=folder).steps[-1]


def shape(one: Step) -> tuple[dict[str, str], list[str]]:
    """Return where each input of a step comes from, and what it makes."""
    return {item.name: str(item.source) for item in one.inputs}, [item.name for item in one.outputs]


def shared(one: Step) -> list[str]:
    """Return the names of the shared code that a step reaches."""
    return [piece.name for piece in one.shared]
