"""Functions that read any input: each takes bytes, and raises nothing but errors that have a code."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from jupyter_pipelines.errors import PipelinesError
from jupyter_pipelines.interfaces.common_options import read_values
from jupyter_pipelines.notebook.editing.completion import complete
from jupyter_pipelines.notebook.editing.header_text import header_fields
from jupyter_pipelines.notebook.headers.split import split_cell
from jupyter_pipelines.notebook.reader import read
from jupyter_pipelines.notebook.source.document import document_from_json, read_document
from jupyter_pipelines.pipeline.artifacts import Artifact
from jupyter_pipelines.pipeline.parameters import Parameter, ParameterError
from jupyter_pipelines.storage.blobs import manifests
from jupyter_pipelines.storage.step_record import RecordSignature, StepRecord, checksum_of, decode, encode

FOLDER = Path(tempfile.gettempdir())
KEY = "ab" * 32
RECORD = StepRecord(
    key=KEY,
    step="fit",
    notebook="book.ipynb",
    parts={"code": "1"},
    outputs={"x": Artifact(format="json", digest="sha256:" + "0" * 64, bytes=1)},
    run="r",
    created="2026-01-01T00:00:00Z",
    seconds=1.0,
    warnings=("one",),
    signature=RecordSignature(version=1, key="k", value=b"v"),
)
KINDS = ("int", "float", "number", "str", "bool", "list", "dict", "any", "secret")


def notebook_file(data: bytes) -> None:
    """A notebook as bytes of a file."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "book.ipynb"
        path.write_bytes(data)
        message = ""
        try:
            read(read_document(path))
        except PipelinesError as error:
            message = str(error)
        assert len(message) < 20_000


def notebook_cells(data: bytes) -> None:
    """A notebook that is JSON of the right kind, with cells of any text."""
    texts = data.decode("utf-8", "replace").split("\x1e")
    cells = [{"cell_type": "code", "source": text, "metadata": {}, "outputs": []} for text in texts]
    try:
        document = document_from_json(
            {"nbformat": 4, "nbformat_minor": 4, "metadata": {}, "cells": cells}, FOLDER / "book.ipynb"
        )
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
        header_fields(source)


def parameter_value(data: bytes) -> None:
    """A value of a parameter, as a command line gives it."""
    kind, text = KINDS[data[0] % len(KINDS)] if data else "int", data[1:].decode("utf-8", "replace")
    parameter = Parameter(name="x", kind=kind, limits={"ge": 1})
    message = ""
    try:
        parameter.fit(parameter.parse(text))
    except ParameterError as unfit:
        message = unfit.message
    assert kind != "secret" or len(text) < 12 or text not in message


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
    """The file of a record: as it comes, and a valid record with a replaced field and a fitting checksum."""
    for content in (data, _replaced(data)):
        try:
            decode(content, KEY)
        except (ValueError, RecursionError):
            continue  # what the store takes for damaged


def manifest(data: bytes) -> None:
    """The manifest of a folder: as it comes, and with one row of anything."""
    row = json.dumps({"schema": manifests.SCHEMA, "files": []}).encode().replace(b"[]", b"[[" + data + b"]]")
    for content in (data, row):
        try:
            entries = manifests.decode(content)
        except ValueError:
            continue
        assert not [member for member in entries if member.path.startswith("/") or ".." in Path(member.path).parts]


def _replaced(data: bytes) -> bytes:
    """Put JSON in a field of a record, which the first byte chooses; what is no JSON is put there as text."""
    try:
        value: Any = json.loads(data[1:])
        checksum_of(value)
    except (ValueError, RecursionError):
        value = data[1:].decode("utf-8", "replace")
    whole = json.loads(encode(RECORD))
    fields = [(node, name) for node in _nodes(whole) for name in node]
    node, name = fields[data[0] % len(fields)] if data else fields[0]
    node[name] = value
    if isinstance(whole["record"], dict) and name != "sha256":
        whole["sha256"] = checksum_of(whole["record"])
    return json.dumps(whole).encode()


def _nodes(tree: Any) -> Iterator[dict[str, Any]]:
    if isinstance(tree, dict):
        yield tree
        for child in tree.values():
            yield from _nodes(child)


TARGETS: Mapping[str, Callable[[bytes], None]] = {
    target.__name__: target
    for target in (notebook_file, notebook_cells, header, parameter_value, parameter_file, record, manifest)
}
"""By name."""
_VALUES = (b"1e999", b"-1", b"null", b"[]", b"{}", b'"text"', b'"\\ud800"', b'{"digest": [1]}', b"9" * 400)
SEEDS: Mapping[str, Iterable[bytes]] = {
    "record": [encode(RECORD), *(bytes([position]) + value for position in range(20) for value in _VALUES)],
    "manifest": [b'"a","",0,false', b'"a/b","sha256:' + b"0" * 64 + b'",1,true', b'"../a","",0,0', *_VALUES],
    "parameter_value": [bytes([kind]) + value for kind in range(len(KINDS)) for value in _VALUES],
    "parameter_file": [b'{"a": 1, "b": [1.5, null]}', b"a: 1\nb: [x, 2026-01-01]\nc: &d {e: f}\ng: *d\n"],
    "header": [
        b"fit -i X y=a.b -o model:joblib --foreach n=1,2 --retries 2 --on dask",
        b"a -p b: int = 3 --timeout 1m",
    ],
}
"""What the fuzzer begins with, for targets that it would not find a way into."""
