"""A notebook read into a pipeline; nothing of it is executed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from jupyter_pipelines.errors import Fault
from jupyter_pipelines.notebook.checking import check, not_known
from jupyter_pipelines.notebook.code import Code, parse_code
from jupyter_pipelines.notebook.declaring import declare
from jupyter_pipelines.notebook.document import Cell, Document, read_document
from jupyter_pipelines.notebook.drafting import Draft, fault
from jupyter_pipelines.notebook.headers import Header, Split, split_cell
from jupyter_pipelines.notebook.inferring import Inference, Interface
from jupyter_pipelines.notebook.modules import Finder
from jupyter_pipelines.notebook.shared import Index
from jupyter_pipelines.pipeline.graph import Pipeline
from jupyter_pipelines.pipeline.parameters import Parameter
from jupyter_pipelines.pipeline.step import Resources, Section, Step, StepCell

_SECTIONS: tuple[Section, ...] = ("inputs", "outputs", "parameters")
_OPTIONS = ("retries", "timeout", "cache", "always", "cpus", "gpus", "memory", "on", "kernel")


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """What reading a notebook gave.

    Parameters
    ----------
    document : Document
        The notebook.
    pipeline : Pipeline or None
        What it makes; None when there is any error.
    faults : tuple of Fault
        Errors and warnings, in the order of their places.
    """

    document: Document
    pipeline: Pipeline | None
    faults: tuple[Fault, ...]


def read(source: str | Path | Document, *, texts: Mapping[str, str] | None = None) -> Reading:
    """Read a notebook.

    Parameters
    ----------
    source : str, Path or Document
        The notebook.
    texts : Mapping of str to str
        Texts that count instead of the saved ones, by cell id.

    Raises
    ------
    NotebookError
        It cannot be read at all (JP104). A faulty pipeline raises nothing: see :attr:`Reading.faults`.
    """
    document = source if isinstance(source, Document) else read_document(source)
    document = document.with_texts(texts) if texts else document
    reader = _Reader(document)
    reader.read()
    return reader.result()


def project_root(folder: Path) -> Path:
    """Return the nearest folder upward with a ``pyproject.toml`` or ``.git``, else `folder`."""
    for one in (folder, *folder.parents):
        if (one / "pyproject.toml").exists() or (one / ".git").exists():
            return one
    return folder


@dataclass(slots=True)
class _Reader:
    document: Document
    drafts: dict[str, Draft] = field(default_factory=dict)
    parameters: dict[str, Parameter] = field(default_factory=dict)
    index: Index = field(default_factory=Index)
    faults: list[Fault] = field(default_factory=list)

    def read(self) -> None:
        for cell in self.document.cells:
            if cell.kind == "code":
                self._cell(cell)

    def _cell(self, cell: Cell) -> None:
        split = split_cell(cell.source, cell.number, cell.tags)
        self.faults += split.faults
        header = split.header
        if header is not None and header.kind == "params":
            self._declare(cell, split)
        elif header is not None and header.kind == "step":
            self._step(cell, split, header)
        else:
            code = self._parse(split.body, cell.number, split.offset, strict=header is not None)
            if header is not None:
                self.index.add_setup(cell.number, code, split.body, split.offset)
            elif "skip" not in cell.tags:
                self.index.add(cell.number, code, split.body, split.offset)

    def _parse(self, body: str, number: int, offset: int, *, strict: bool) -> Code:
        code = parse_code(body, number, offset)
        if strict and code.fault is not None:
            self.faults.append(code.fault)
        return code

    def _declare(self, cell: Cell, split: Split) -> None:
        self._parse(split.body, cell.number, split.offset, strict=True)
        parameters, faults = declare(cell, split.body)
        self.faults += faults
        for one in parameters:
            before = self.parameters.get(one.name)
            if before is not None and before.place is not None:
                self.faults.append(_declared_twice(one, before.place.cell))
            self.parameters[one.name] = one

    def _step(self, cell: Cell, split: Split, header: Header) -> None:
        if not header.name or any(one.code == "JP103" and one.place == header.place for one in split.faults):
            return
        body = StepCell(number=cell.number, id=cell.id, text=cell.source, body=split.body, offset=split.offset)
        code = self._parse(split.body, cell.number, split.offset, strict=True)
        draft = self.drafts.setdefault(header.name, Draft(header.name))
        self.faults += _contradictions(draft, header)
        draft.add(header, body, code)
        if code.opaque:
            self.faults.append(_other_language(draft, code.opaque))

    def result(self) -> Reading:
        path = self.document.path
        folder = (path.parent if path else Path()).resolve()
        root = project_root(folder)
        inference = Inference(tuple(self.drafts.values()), frozenset(self.parameters), self.index, Finder(folder, root))
        faces = inference.run()
        self.faults += check(inference, tuple(self.parameters.values()), folder)
        if not faces and not any(one.severity == "error" for one in self.faults):
            self.faults.append(_no_steps())
        steps = tuple(_step(face) for face in faces.values())
        self.faults += [
            _unknowable(faces[step.name].draft, step.unknown) for step in steps if step.unknown and step.cache
        ]
        faults = self._told()
        errors = any(one.severity == "error" for one in faults)
        pipeline = (
            None
            if errors
            else Pipeline(
                notebook=path,
                folder=folder,
                root=root,
                steps=steps,
                parameters=tuple(self.parameters.values()),
                kernel=self.document.kernel,
                warnings=faults,
            )
        )
        return Reading(document=self.document, pipeline=pipeline, faults=faults)

    def _told(self) -> tuple[Fault, ...]:
        name = str(self.document.path) if self.document.path else None
        placed = sorted(self.faults, key=lambda one: (one.place.cell, one.place.line) if one.place else (0, 0))
        return tuple(dict.fromkeys(replace(one, notebook=one.notebook or name) for one in placed))


def _step(face: Interface) -> Step:
    draft = face.draft
    options = {name: _first(draft.headers, name) for name in _OPTIONS}
    return Step(
        name=draft.name,
        cells=tuple(draft.cells),
        inputs=tuple(face.inputs.values()),
        outputs=tuple(face.outputs.values()),
        parameters=tuple(face.parameters),
        inferred=frozenset(section for section in _SECTIONS if draft.items(section) is None),
        after=tuple(dict.fromkeys(item.name for header in draft.headers for item in header.after)),
        shared=tuple(one.code for one in face.closure.definitions),
        modules=tuple(sorted(face.reached.modules.values(), key=lambda one: one.name)),
        packages=tuple(sorted(face.reached.packages)),
        unknown=not_known(face),
        resources=Resources(cpus=options["cpus"], gpus=options["gpus"], memory=options["memory"]),
        retries=options["retries"] or 0,
        timeout=options["timeout"],
        cache=options["cache"] is not False,
        always=bool(options["always"]),
        on=options["on"],
        kernel=options["kernel"],
        place=draft.headers[0].place,
    )


def _first(headers: Sequence[Header], name: str) -> Any:
    return next((getattr(one, name) for one in headers if getattr(one, name) is not None), None)


def _contradictions(draft: Draft, header: Header) -> Iterator[Fault]:
    for name in _OPTIONS:
        before, now = _first(draft.headers, name), getattr(header, name)
        if before is not None and now is not None and before != now:
            message = f"step `{draft.name}` has two values for `--{name}`: {before} and {now}"
            yield fault(draft, "JP106", message, "keep one of them", header.place)


def _declared_twice(one: Parameter, cell: int) -> Fault:
    return Fault(
        code="JP106",
        message=f"the parameter `{one.name}` is declared twice",
        suggestion="keep one of the declarations",
        place=one.place,
        notes=(f"the first stands in cell {cell}",),
    )


def _other_language(draft: Draft, name: str) -> Fault:
    message = f"step `{draft.name}` contains `%%{name}`, which is not Python"
    help_text = "call the program from Python (`subprocess.run`), or leave the cell without a header"
    return fault(draft, "JP108", message, help_text, draft.headers[-1].place)


def _no_steps() -> Fault:
    return Fault(
        code="JP105",
        message="the notebook has no steps",
        suggestion="write `%%step NAME` as the first line of each cell that belongs to the pipeline",
    )


def _unknowable(draft: Draft, unknown: tuple[str, ...]) -> Fault:
    message = f"step `{draft.name}` cannot be known completely, so it is never reused"
    help_text = "write plainly what it does, or accept that it runs every time: `--no-cache` says so without a warning"
    return fault(draft, "JP214", message, help_text, draft.headers[0].place, notes=unknown[:5], severity="warning")
