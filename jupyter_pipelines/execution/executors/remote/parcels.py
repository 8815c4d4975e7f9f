"""Parcels: a ticket packed with the files that it needs from this machine, and the outcome that comes back.

A remote worker shares only the store with this machine. So a parcel holds the step's input files, as digests in the
store, and the source of the project's modules that it reaches; the worker lays them out at the same relative paths.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from jupyter_pipelines.errors import Diagnostic, StepFailed
from jupyter_pipelines.execution.ticket import InputSpec, SourceFile, StepOutcome, StepTicket
from jupyter_pipelines.storage.blobs.blobs import IncomingFile
from jupyter_pipelines.storage.files.os_errors import writing
from jupyter_pipelines.storage.store import Store

OUTSIDE = "outside"
"""Folder beside the project's in which a worker lays out files from outside of the project."""
Parcel = dict[str, Any]


def pack(ticket: StepTicket, store: Store) -> Parcel:
    """Pack a ticket with its files as a JSON document; files have been put into the store when this returns.

    Parameters
    ----------
    ticket : StepTicket
        The ticket to run on a remote worker.
    store : Store
        The store of the ticket, opened.

    Raises
    ------
    StepFailed
        An input file cannot be read (JP310).
    StoreError
        The store cannot be written.
    """
    return _ParcelBuilder(ticket, store).parcel()


class _ParcelBuilder:
    def __init__(self, ticket: StepTicket, store: Store) -> None:
        self._ticket = ticket
        self._store = store
        self._cwd = Path(os.path.abspath(ticket.cwd))  # noqa: PTH100 - links stay what they are
        self._root = Path(os.path.abspath(ticket.root)) if ticket.root else self._cwd  # noqa: PTH100
        self._files: dict[str, str] = {}
        self._folders: dict[str, str] = {}
        self._texts: dict[str, str] = {}
        self._ways: dict[str, None] = {}

    def parcel(self) -> Parcel:
        inputs = {name: self._input(name, given) for name, given in self._ticket.inputs.items()}
        for source in self._ticket.sources:
            self._source(source)
        ticket = replace(self._ticket, inputs=inputs, sources=(), root="", traced=False)
        return {
            "ticket": ticket.to_dict(),
            "cwd": self._within(self._cwd) or ".",
            "files": self._files,
            "folders": self._folders,
            "texts": self._texts,
            "ways": list(self._ways),
        }

    def _input(self, name: str, given: InputSpec) -> InputSpec:
        if given["kind"] != "file":
            return given
        path = Path(os.path.normpath(self._cwd / given["path"]))
        within = self._within(path)
        place = within or f"../{OUTSIDE}/{name}/{path.name}"
        try:
            self._put(path, place)
        except OSError as error:
            raise StepFailed(_missing_file_fault(name, path, self._ticket.step, error)) from error
        # A relative path inside of the project leads to the same file there; others are rewritten by the worker.
        return given if within and not Path(given["path"]).is_absolute() else {**given, "path": f"{{project}}/{place}"}

    def _put(self, path: Path, place: str) -> None:
        if path.is_dir():
            self._folders[place] = self._store.blobs.put_folder(path).digest
        else:
            (stored,) = self._store.blobs.put_files([IncomingFile(path=path, move=False)])
            self._files[place] = stored.digest

    def _source(self, source: SourceFile) -> None:
        path = Path(os.path.normpath(self._cwd / source["path"]))
        within = self._within(path)
        if within is None:
            return  # of another project that is installed here: workers are compared by its version
        if "text" in source:
            self._texts[within] = source["text"]
            self._module(path, source.get("name", path.stem))
            return
        try:
            if path.is_file() or path.is_dir():
                self._put(path, within)
        except OSError as error:
            raise StepFailed(_missing_file_fault("", path, self._ticket.step, error)) from error

    def _module(self, path: Path, name: str) -> None:
        """Record the `sys.path` entry of a module, and pack the ``__init__.py`` files of the packages around it."""
        depth = name.count(".") + (1 if path.name == "__init__.py" else 0)
        for folder in path.parents[: depth or 0]:
            package = folder / "__init__.py"
            within = self._within(package)
            if within and within not in self._texts and package.is_file():
                self._texts[within] = package.read_text(encoding="utf-8")
        way = self._within(path.parents[min(depth, len(path.parents) - 1)])
        if way is not None and way != self._within(self._cwd):
            self._ways[way or "."] = None

    def _within(self, path: Path) -> str | None:
        """Return a path relative to the project's folder; None if it lies outside."""
        try:
            relative = path.relative_to(self._root).as_posix()
        except ValueError:
            return None
        return "" if relative == "." else relative


def unpack(brought: Mapping[str, Any], ticket: StepTicket, store: Store) -> StepOutcome:
    """Return the outcome of a parcel, after its notebook and log were copied from the store to their final paths.

    Parameters
    ----------
    brought : Mapping
        The document that the worker returned.
    ticket : StepTicket
        The original ticket.
    store : Store
        The store of the ticket, opened.

    Raises
    ------
    StoreError
        Notebook or log is not in the store, or cannot be written.
    """
    outcome = StepOutcome.from_dict(brought["outcome"])
    paths: dict[str, str | None] = {"notebook": None, "log": None}
    for what, target in _targets(ticket):
        digest = brought.get(what)
        if digest:
            with writing(store.root, f"the {what} of step `{ticket.step}`"):
                _place(store, digest, Path(target))
            paths[what] = target
    return replace(outcome, notebook=paths["notebook"], log=paths["log"])


def _targets(ticket: StepTicket) -> Iterator[tuple[str, str]]:
    yield "notebook", ticket.publish["notebook"]
    yield "log", ticket.publish["log"]


def _place(store: Store, digest: str, target: Path) -> None:
    # The log may hold pieces that were streamed while the step ran: the complete file takes its place in one step.
    temporary = target.with_name(f".{target.name}.{os.getpid()}")
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        with store.blobs.open(digest) as source, temporary.open("wb") as file:
            shutil.copyfileobj(source, file)
        temporary.replace(target)
    finally:
        temporary.unlink(missing_ok=True)


def _missing_file_fault(name: str, path: Path, step: str, error: OSError) -> Diagnostic:
    what = f"the input `{name}`" if name else "a file"
    return Diagnostic(
        code="JP310",
        message=f"{what} of step `{step}` cannot be sent to a worker: {path}: {error.strerror or error}",
        suggestion="put the file back, and run again",
        step=step,
    )
