"""Parcels: a ticket packed with the files that it needs from this machine, and the outcome that comes back.

A remote worker shares only the store with this machine. So a parcel holds the step's input files, as digests in the
store, and the source of the project's modules that it reaches; the worker lays them out at the same relative paths.
"""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from jupyter_pipelines.errors import Diagnostic, StepFailed
from jupyter_pipelines.execution.executors.remote.asked_files import AskedFiles
from jupyter_pipelines.execution.executors.remote.worker_traces import compared_trace
from jupyter_pipelines.execution.kernel_side.tracing.counted_paths import is_below
from jupyter_pipelines.execution.ticket import InputSpec, SourceFile, StepOutcome, StepTicket
from jupyter_pipelines.planning.keys.traces import STANDARD, question
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
        self._names: dict[str, None] = {}
        self._marks: dict[str, tuple[int, int]] = {}

    def parcel(self) -> Parcel:
        inputs = {name: self._input(name, given) for name, given in self._ticket.inputs.items()}
        for source in self._ticket.sources:
            self._source(source)
        self._asked()
        ticket = replace(self._ticket, inputs=inputs, sources=(), root="")
        return {
            "ticket": ticket.to_dict(),
            "cwd": self._within(self._cwd) or ".",
            "files": self._outermost(self._files),
            "folders": self._outermost(self._folders),
            "texts": self._texts,
            "names": list(self._names),
            "marks": self._marks,
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
            for folder, _, names in os.walk(path):
                for file in (Path(folder, name) for name in names):
                    self._mark(file, f"{place}/{file.relative_to(path).as_posix()}")
        else:
            self._put_files({place: path})

    def _put_files(self, paths: Mapping[str, Path]) -> None:
        stored = self._store.blobs.put_files([IncomingFile(path=path, move=False) for path in paths.values()])
        self._files |= {place: blob.digest for place, blob in zip(paths, stored, strict=True)}
        for place, path in paths.items():
            self._mark(path, place)

    def _mark(self, path: Path, place: str) -> None:
        """Note time and permissions of a file: code that asks for them gets the same answers on the worker."""
        with contextlib.suppress(OSError):
            status = path.stat()
            self._marks[place] = (status.st_mtime_ns, status.st_mode & 0o777)

    def _asked(self) -> None:
        """Pack what the step asked for in earlier runs, or in an attempt that lacked it."""
        asked = AskedFiles(str(self._root), [str(self._store.root)], self._ticket.ignored)
        files: dict[str, Path] = {}
        # Each import looks in the working directory first, also for modules of the standard library.
        imports = question("searched", self._within(self._cwd) or ".", [STANDARD])
        for path in map(Path, asked.paths([imports, *self._ticket.asked])):
            place = self._within(path) or ""
            if path.is_dir():
                self._names[place] = None
            elif place not in self._files and place not in self._texts and not is_below(place, self._folders):
                files[place] = path
        # A file that cannot be read is none that the step could have read here.
        readable = {place: path for place, path in files.items() if os.access(path, os.R_OK) and path.is_file()}
        try:
            self._put_files(readable)
        except OSError as error:
            path = Path(error.filename or self._root)
            raise StepFailed(_missing_file_fault("", path, self._ticket.step, error)) from error

    def _outermost(self, placed: Mapping[str, str]) -> dict[str, str]:
        """Return what is not in a folder that is sent as a whole."""
        folders = list(self._folders)
        return {
            place: digest
            for place, digest in placed.items()
            if not is_below(place, [folder for folder in folders if folder != place])
        }

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


class ReturnedParcel(NamedTuple):
    """What came back for a parcel.

    Parameters
    ----------
    outcome : StepOutcome
        The outcome, with a trace that this machine can check.
    lacking : dict of str to list of str
        Questions that would have been answered differently if files of this machine had been sent, with these files.
    """

    outcome: StepOutcome
    lacking: dict[str, list[str]]


def examine(brought: Mapping[str, Any], ticket: StepTicket, store: Store) -> ReturnedParcel:
    """Return what came back for a parcel, after its trace was compared with this machine.

    Parameters
    ----------
    brought : Mapping
        The document that the worker returned.
    ticket : StepTicket
        The original ticket.
    store : Store
        The store of the ticket, opened.
    """
    outcome = StepOutcome.from_dict(brought["outcome"])
    if outcome.trace is None:
        return ReturnedParcel(outcome, {})
    files = AskedFiles(ticket.root or ticket.cwd, [str(store.root)], ticket.ignored)
    trace, lacking = compared_trace(outcome.trace, ticket, files, store.digest_files)
    return ReturnedParcel(replace(outcome, trace=trace if outcome.state == "succeeded" else None), lacking)


def unpack(brought: Mapping[str, Any], outcome: StepOutcome, ticket: StepTicket, store: Store) -> StepOutcome:
    """Return an outcome with the paths of notebook and log, after all files that came back were put into their places.

    Parameters
    ----------
    brought : Mapping
        The document that the worker returned.
    outcome : StepOutcome
        The outcome in it.
    ticket : StepTicket
        The original ticket.
    store : Store
        The store of the ticket, opened.

    Raises
    ------
    StoreError
        A file is not in the store, or cannot be written.
    """
    root = Path(ticket.root or ticket.cwd)
    for named, digest in brought.get("written", {}).items():
        path = Path(os.path.normpath(root / named))
        if path.is_relative_to(root):  # what comes over the network must not lead to other files of this user
            with writing(store.root, f"`{named}`, which step `{ticket.step}` wrote"):
                _place(store, digest, path)
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
