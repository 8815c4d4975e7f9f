"""What is fed with anything at all. Each takes bytes, and raises nothing but errors that have a code."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from jupyter_pipelines.errors import PipelinesError
from jupyter_pipelines.interfaces.cli_options import read_values
from jupyter_pipelines.notebook.document import of_json, read_document
from jupyter_pipelines.notebook.editing.completing import complete
from jupyter_pipelines.notebook.editing.spelling import said_by
from jupyter_pipelines.notebook.headers import split_cell
from jupyter_pipelines.notebook.reading import read
from jupyter_pipelines.pipeline.parameters import Parameter, Unfit
from jupyter_pipelines.storing.records import StepRecord

PLACE = Path(tempfile.gettempdir())
KINDS = ("int", "float", "number", "str", "bool", "list", "dict", "any", "secret")


def notebook_file(data: bytes) -> None:
    """A notebook as bytes of a file."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "book.ipynb"
        path.write_bytes(data)
        said = ""
        try:
            read(read_document(path))
        except PipelinesError as error:
            said = str(error)
        assert len(said) < 20_000


def notebook_cells(data: bytes) -> None:
    """A notebook that is JSON of the right kind, with cells of any text."""
    texts = data.decode("utf-8", "replace").split("\x1e")
    cells = [{"cell_type": "code", "source": text, "metadata": {}, "outputs": []} for text in texts]
    try:
        document = of_json({"nbformat": 4, "nbformat_minor": 4, "metadata": {}, "cells": cells}, PLACE / "book.ipynb")
        read(document)
        for cell in document.cells[:3]:
            complete(document, cell.id or "", 0, 5)
    except PipelinesError:
        pass


def header(data: bytes) -> None:
    """A cell with a header of any text."""
    text = data.decode("utf-8", "replace")
    for source in (text, f"%%step {text}", f"#| step: a\n#| {text}"):
        split = split_cell(source, 1)
        assert split_cell(split.body, 1).body == split.body
        said_by(source)


def parameter_value(data: bytes) -> None:
    """A value of a parameter, as a command line gives it."""
    kind, text = KINDS[data[0] % len(KINDS)] if data else "int", data[1:].decode("utf-8", "replace")
    parameter = Parameter(name="x", kind=kind, limits={"ge": 1})
    said = ""
    try:
        parameter.fit(parameter.parse(text))
    except Unfit as unfit:
        said = unfit.message
    assert kind != "secret" or len(text) < 12 or text not in said


def parameter_file(data: bytes) -> None:
    """A file of parameters, JSON or YAML."""
    with tempfile.TemporaryDirectory() as folder:
        for name in ("values.json", "values.yaml"):
            path = Path(folder) / name
            path.write_bytes(data)
            try:
                read_values(path)
            except PipelinesError:
                continue


def record(data: bytes) -> None:
    """A record of the store, as far as it is JSON."""
    try:
        document: Any = json.loads(data)
    except (ValueError, RecursionError):
        return
    if isinstance(document, dict):
        try:
            StepRecord.from_dict(document)
        except (ValueError, KeyError, TypeError, AttributeError, PipelinesError):
            return  # the store treats these as a damaged record


TARGETS: Mapping[str, Callable[[bytes], None]] = {
    one.__name__: one for one in (notebook_file, notebook_cells, header, parameter_value, parameter_file, record)
}
