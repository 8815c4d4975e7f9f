"""On-disk cache of readings: a notebook that has not changed is not read again.

A reading depends on the text of the notebook's cells, on what it asked of the files around (see :mod:`.witness`), on
our own code and on the Python that reads. All of it is compared before a reading is used again, files by their
bytes, not by their times. Readings with errors are not saved.
"""

from __future__ import annotations

import hashlib
import json
import threading
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields, is_dataclass
from functools import cache
from pathlib import Path
from typing import Any

from jupyter_pipelines.errors import Fault, Place
from jupyter_pipelines.notebook import keeping
from jupyter_pipelines.notebook.document import Document, read_document
from jupyter_pipelines.notebook.result import Reading, folder_of, project_root
from jupyter_pipelines.notebook.witness import Answer, Witness
from jupyter_pipelines.pipeline.data import FileSource, Input, Output, Upstream
from jupyter_pipelines.pipeline.foreach import Axis, Foreach
from jupyter_pipelines.pipeline.graph import Pipeline
from jupyter_pipelines.pipeline.parameters import Parameter
from jupyter_pipelines.pipeline.step import Module, Resources, SharedCode, Step, StepCell

KIND = "reading"
Row = Sequence[Any]
_GLANCES = 16
_RECENT: OrderedDict[tuple[str, str], tuple[Reading, Sequence[Answer]]] = OrderedDict()
_LOCK = threading.Lock()


def read(source: str | Path | Document, *, texts: Mapping[str, str] | None = None) -> Reading:
    """Read a notebook, or return its saved reading; see :func:`.reading.read`."""
    document = source if isinstance(source, Document) else read_document(source)
    document = document.with_texts(texts) if texts else document
    return recall(document) or _read_and_keep(document)


def glance(document: Document) -> Reading:
    """Read a notebook whose texts change with every keystroke: like :func:`read`, but saved in memory only."""
    key = (about(document), digest_of(document))
    with _LOCK:
        recent = _RECENT.get(key)
    if recent is not None and Witness().agrees(recent[1]):
        return recent[0]
    reading = recall(document)
    if reading is not None:
        return reading
    from jupyter_pipelines.notebook.reading import read as read_anew  # takes long to import

    witness = Witness()
    reading = read_anew(document, witness=witness)
    with _LOCK:
        _RECENT[key] = (reading, witness.answers)
        _RECENT.move_to_end(key)
        while len(_RECENT) > _GLANCES:
            _RECENT.popitem(last=False)
    return reading


def recall(document: Document) -> Reading | None:
    """Return the saved reading of `document`, if it is still valid."""
    kept = keeping.load(KIND, about(document))
    try:
        if kept is None or kept["document"] != digest_of(document) or not Witness().agrees(kept["answers"]):
            return None
        return _decoded(kept, document)
    except (LookupError, TypeError, ValueError):
        return None


def about(document: Document) -> str:
    """Return the name under which a reading is saved: the path of the notebook, its folder and project root."""
    folder = folder_of(document)
    return json.dumps([str(document.path), str(folder), str(project_root(folder))])


def digest_of(document: Document) -> str:
    """Return the digest of everything in a document that reading looks at."""
    cells = [[cell.number, cell.id, cell.kind, cell.source, cell.tags] for cell in document.cells]
    content = json.dumps([document.kernel, document.language, cells], separators=(",", ":"))
    return hashlib.sha256(content.encode("ascii")).hexdigest()


def _read_and_keep(document: Document) -> Reading:
    from jupyter_pipelines.notebook.reading import read as read_anew  # takes long to import

    witness = Witness()
    reading = read_anew(document, witness=witness)
    if reading.pipeline is not None:
        _keep(reading, reading.pipeline, witness)
    return reading


def _keep(reading: Reading, pipeline: Pipeline, witness: Witness) -> None:
    kept = _encoded(reading, pipeline)
    if _comes_back(kept, reading):
        checked = {"document": digest_of(reading.document), "answers": witness.answers}
        keeping.save(KIND, about(reading.document), checked | kept)


def _comes_back(kept: Mapping[str, Any], reading: Reading) -> bool:
    """Return whether a reading survives JSON unchanged: defaults of parameters may be any object."""
    try:
        return _decoded(json.loads(json.dumps(kept)), reading.document) == reading
    except (TypeError, ValueError):
        return False


# To JSON: the fields of a dataclass in their order. Shared code and modules, which many steps have, stand there once.


def _encoded(reading: Reading, pipeline: Pipeline) -> dict[str, Any]:
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
        "parameters": _plain(pipeline.parameters),
        "kernel": pipeline.kernel,
        "faults": _plain(reading.faults),
    }


def _plain(value: Any) -> Any:
    if is_dataclass(value) and not isinstance(value, type):
        return [_plain(getattr(value, name)) for name in _names(type(value))]
    if isinstance(value, tuple | frozenset):
        return [_plain(member) for member in (sorted(value) if isinstance(value, frozenset) else value)]
    return value


# From JSON


def _decoded(kept: Mapping[str, Any], document: Document) -> Reading:
    folder = folder_of(document)
    shared, modules = [_shared(row) for row in kept["shared"]], [_module(row) for row in kept["modules"]]
    faults = tuple(_fault(row) for row in kept["faults"])
    pipeline = Pipeline(
        notebook=document.path,
        folder=folder,
        root=project_root(folder),
        steps=tuple(_step(row, shared, modules) for row in kept["steps"]),
        parameters=tuple(_parameter(row) for row in kept["parameters"]),
        kernel=kept["kernel"],
        warnings=faults,
    )
    return Reading(document=document, pipeline=pipeline, faults=faults)


@cache
def _names(kind: type) -> tuple[str, ...]:
    return tuple(field.name for field in fields(kind))


def _maker(kind: Callable[..., Any], **changes: Callable[[Any], Any]) -> Callable[[Row], Any]:
    """Return a function that decodes a row into a `kind`; `changes` decode some of its fields."""
    names = _names(kind)

    def make(row: Row) -> Any:
        values = dict(zip(names, row, strict=True))
        for name, change in changes.items():
            values[name] = change(values[name])
        return kind(**values)

    return make


def _many(make: Callable[[Row], Any]) -> Callable[[Row], tuple[Any, ...]]:
    return lambda rows: tuple([make(row) for row in rows])


def _place(row: Row | None) -> Place | None:
    return None if row is None else Place(cell=row[0], line=row[1], column=row[2], length=row[3], text=row[4])


def _source(row: Row) -> Upstream | FileSource:
    return FileSource(path=row[0]) if len(row) == 1 else Upstream(step=row[0], output=row[1])


_shared = _maker(SharedCode)
_module = _maker(Module)
_fault = _maker(Fault, place=_place, notes=tuple)
_parameter = _maker(Parameter, choices=tuple, place=_place)
_STEP = _names(Step)
_FIELDS: Mapping[str, Callable[[Any], Any]] = {
    "cells": _many(_maker(StepCell)),
    "inputs": _many(_maker(Input, source=_source, place=_place)),
    "outputs": _many(_maker(Output, place=_place)),
    "parameters": tuple,
    "inferred": frozenset,
    "after": tuple,
    "packages": tuple,
    "files": tuple,
    "templates": tuple,
    "unknown": tuple,
    "resources": _maker(Resources),
    "place": _place,
}
_axes = _many(_maker(Axis, values=tuple, place=_place))


def _foreach(row: Row | None) -> Foreach | None:
    return None if row is None else Foreach(axes=_axes(row[0]), at_once=row[1], allowed=row[2])


_FIELDS = {**_FIELDS, "foreach": _foreach}
_any_step = _maker(Step, **_FIELDS)


def _step(row: Row, shared: Sequence[SharedCode], modules: Sequence[Module]) -> Step:
    row = list(row)
    for name, table in (("shared", shared), ("modules", modules)):
        row[_STEP.index(name)] = tuple([table[number] for number in row[_STEP.index(name)]])
    step: Step = _any_step(row)
    return step
