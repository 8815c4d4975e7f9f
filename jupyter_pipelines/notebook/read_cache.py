"""On-disk cache of readings: an unchanged notebook is not analysed again.

A reading depends on the text of the notebook's cells, on the answers to its file-system queries (see
:mod:`.source.recorded_queries`), on the code of this package and on the Python that reads. All of it is compared
before a reading is used again, files by their bytes, not by their times. Readings with errors are not saved.
"""

from __future__ import annotations

import hashlib
import json
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import fields, is_dataclass
from functools import cache
from pathlib import Path
from typing import Any

from jupyter_pipelines import user_cache
from jupyter_pipelines.errors import Diagnostic, SourceLocation
from jupyter_pipelines.notebook.source.document import NotebookDocument, read_document
from jupyter_pipelines.notebook.source.read_result import ReadResult, folder_of, project_root
from jupyter_pipelines.notebook.source.recorded_queries import Answer, RecordedQueries
from jupyter_pipelines.pipeline.artifacts import FileSource, Input, Output, StepOutputRef, UrlSource
from jupyter_pipelines.pipeline.foreach import ForeachAxis, ForeachSpec
from jupyter_pipelines.pipeline.graph import Pipeline
from jupyter_pipelines.pipeline.parameters import Parameter
from jupyter_pipelines.pipeline.step import ComputeResources, SharedCode, Step, StepCell, StepModule
from jupyter_pipelines.pipeline.url_inputs import is_url

KIND = "reading"
Row = Sequence[Any]
# Readings kept in memory, of documents that are being edited; each may hold a large notebook.
_MAX_RECENT = 16
_RECENT: OrderedDict[tuple[str, str], tuple[ReadResult, Sequence[Answer]]] = OrderedDict()
_LOCK = threading.Lock()


def read(source: str | Path | NotebookDocument, *, texts: Mapping[str, str] | None = None) -> ReadResult:
    """Read a notebook, or return its saved reading; see :func:`.reader.read`."""
    document = source if isinstance(source, NotebookDocument) else read_document(source)
    document = document.with_texts(texts) if texts else document
    return load(document) or _read_and_save(document)


def read_in_memory(document: NotebookDocument) -> ReadResult:
    """Read a notebook whose texts change with every keystroke: like :func:`read`, but saved in memory only."""
    key = (cache_key(document), digest_of(document))
    with _LOCK:
        recent = _RECENT.get(key)
    # Compared again although the text is the same: files that the reading asked for may have changed.
    if recent is not None and RecordedQueries().agrees(recent[1]):
        return recent[0]
    reading = load(document)
    if reading is not None:
        return reading
    from jupyter_pipelines.notebook.reader import read as read_uncached  # takes long to import

    recorded_queries = RecordedQueries()
    # Read outside the lock: two requests may read the same text twice, but none waits for another.
    reading = read_uncached(document, recorded_queries=recorded_queries)
    with _LOCK:
        _RECENT[key] = (reading, recorded_queries.answers)
        _RECENT.move_to_end(key)
        while len(_RECENT) > _MAX_RECENT:
            _RECENT.popitem(last=False)
    return reading


def load(document: NotebookDocument) -> ReadResult | None:
    """Return the saved reading of `document`, if it is still valid."""
    saved = user_cache.load(KIND, cache_key(document))
    try:
        if saved is None or saved["document"] != digest_of(document) or not RecordedQueries().agrees(saved["answers"]):
            return None
        return _decoded(saved, document)
    # A cache of another version or with damage counts as absent: it is written again.
    except (LookupError, TypeError, ValueError):
        return None


def cache_key(document: NotebookDocument) -> str:
    """Return the name under which a reading is saved: the path of the notebook, its folder and project root."""
    folder = folder_of(document)
    return json.dumps([str(document.path), str(folder), str(project_root(folder))])


def digest_of(document: NotebookDocument) -> str:
    """Return the digest of everything in a document that a reading depends on."""
    cells = [[cell.number, cell.id, cell.kind, cell.source, cell.tags] for cell in document.cells]
    content = json.dumps([document.kernel, document.language, cells], separators=(",", ":"))
    # JSON escapes everything beyond ASCII, also lone surrogates, which other encodings refuse.
    return hashlib.sha256(content.encode("ascii")).hexdigest()


def _read_and_save(document: NotebookDocument) -> ReadResult:
    from jupyter_pipelines.notebook.reader import read as read_uncached  # takes long to import

    recorded_queries = RecordedQueries()
    reading = read_uncached(document, recorded_queries=recorded_queries)
    if reading.pipeline is not None:
        _save(reading, reading.pipeline, recorded_queries)
    return reading


def _save(reading: ReadResult, pipeline: Pipeline, recorded_queries: RecordedQueries) -> None:
    # The file would hold the credentials: such a notebook is analysed each time.
    if any(
        isinstance(entry.source, UrlSource) and str(entry.source) != entry.source.url for entry in _inputs(pipeline)
    ):
        return
    saved = _encoded(reading, pipeline)
    if _survives_json(saved, reading):
        validity = {"document": digest_of(reading.document), "answers": recorded_queries.answers}
        user_cache.save(KIND, cache_key(reading.document), validity | saved)


def _inputs(pipeline: Pipeline) -> Iterator[Input]:
    return (step_input for step in pipeline for step_input in step.inputs)


def _survives_json(saved: Mapping[str, Any], reading: ReadResult) -> bool:
    """Return whether a reading survives JSON unchanged: defaults of parameters may be any object."""
    try:
        # Decoded and compared, not trusted: tuples, NaN and keys that are not text change on the way through JSON.
        return _decoded(json.loads(json.dumps(saved)), reading.document) == reading
    except (TypeError, ValueError):
        return False


# To JSON: the fields of a dataclass in their order. Shared code and modules, which many steps have, stand there once.


def _encoded(reading: ReadResult, pipeline: Pipeline) -> dict[str, Any]:
    shared = {code: None for step in pipeline for code in step.shared}
    modules = {module: None for step in pipeline for module in step.modules}
    row_numbers = {code_or_module: number for table in (shared, modules) for number, code_or_module in enumerate(table)}
    steps = [_plain(step) for step in pipeline]
    for row, step in zip(steps, pipeline, strict=True):
        row[_STEP.index("shared")] = [row_numbers[code] for code in step.shared]
        row[_STEP.index("modules")] = [row_numbers[module] for module in step.modules]
    return {
        "shared": _plain(tuple(shared)),
        "modules": _plain(tuple(modules)),
        "steps": steps,
        "order": list(pipeline.order()),
        "parameters": _plain(pipeline.parameters),
        "kernel": pipeline.kernel,
        "faults": _plain(reading.faults),
    }


def _plain(value: Any) -> Any:
    if is_dataclass(value) and not isinstance(value, type):
        return [_plain(getattr(value, name)) for name in _names(type(value))]
    if isinstance(value, tuple | frozenset):
        # Frozensets are sorted: the order of their members differs from process to process.
        return [_plain(member) for member in (sorted(value) if isinstance(value, frozenset) else value)]
    return value


# From JSON


def _decoded(saved: Mapping[str, Any], document: NotebookDocument) -> ReadResult:
    folder = folder_of(document)
    shared, modules = [_shared(row) for row in saved["shared"]], [_module(row) for row in saved["modules"]]
    faults = tuple(_fault(row) for row in saved["faults"])
    pipeline = Pipeline(
        notebook=document.path,
        folder=folder,
        root=project_root(folder),
        steps=tuple(_step(row, shared, modules) for row in saved["steps"]),
        parameters=tuple(_parameter(row) for row in saved["parameters"]),
        kernel=saved["kernel"],
        warnings=faults,
    )
    pipeline.remember_order(saved["order"])
    return ReadResult(document=document, pipeline=pipeline, faults=faults)


@cache
def _names(kind: type) -> tuple[str, ...]:
    return tuple(field.name for field in fields(kind))


def _row_decoder(kind: Callable[..., Any], **decoders: Callable[[Any], Any]) -> Callable[[Row], Any]:
    """Return a function that decodes a row into a `kind`; `decoders` decode some of its fields."""
    names = _names(kind)

    def decode_row(row: Row) -> Any:
        values = dict(zip(names, row, strict=True))
        for name, decode_field in decoders.items():
            values[name] = decode_field(values[name])
        return kind(**values)

    return decode_row


def _rows_decoder(decode: Callable[[Row], Any]) -> Callable[[Row], tuple[Any, ...]]:
    return lambda rows: tuple([decode(row) for row in rows])


def _place(row: Row | None) -> SourceLocation | None:
    return None if row is None else SourceLocation(cell=row[0], line=row[1], column=row[2], length=row[3], text=row[4])


def _source(row: Row) -> StepOutputRef | FileSource | UrlSource:
    if len(row) == 1:
        # By what it begins with, as in the header: no path that a header names begins like a URL.
        return UrlSource(url=row[0]) if is_url(row[0]) else FileSource(path=row[0])
    return StepOutputRef(step=row[0], output=row[1])


_shared = _row_decoder(SharedCode)
_module = _row_decoder(StepModule)
_fault = _row_decoder(Diagnostic, place=_place, notes=tuple)
_parameter = _row_decoder(Parameter, choices=tuple, place=_place)
_STEP = _names(Step)
_FIELDS: Mapping[str, Callable[[Any], Any]] = {
    "cells": _rows_decoder(_row_decoder(StepCell)),
    "inputs": _rows_decoder(_row_decoder(Input, source=_source, place=_place)),
    "outputs": _rows_decoder(_row_decoder(Output, place=_place)),
    "parameters": tuple,
    "inferred": frozenset,
    "after": tuple,
    "packages": tuple,
    "files": tuple,
    "templates": tuple,
    "unknown": tuple,
    "ignore": tuple,
    "resources": _row_decoder(ComputeResources),
    "place": _place,
}
_axes = _rows_decoder(_row_decoder(ForeachAxis, values=tuple, place=_place))


def _foreach(row: Row | None) -> ForeachSpec | None:
    return None if row is None else ForeachSpec(axes=_axes(row[0]), at_once=row[1], allowed=row[2])


_FIELDS = {**_FIELDS, "foreach": _foreach}
_any_step = _row_decoder(Step, **_FIELDS)


def _step(row: Row, shared: Sequence[SharedCode], modules: Sequence[StepModule]) -> Step:
    row = list(row)
    for name, table in (("shared", shared), ("modules", modules)):
        row[_STEP.index(name)] = tuple([table[number] for number in row[_STEP.index(name)]])
    step: Step = _any_step(row)
    return step
